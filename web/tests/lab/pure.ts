// Checks of what needs no engine, run in the browser by lessons.mjs: each returns what is wrong.
import { layout } from "../../lab/inspector/grid";
import { identities } from "../../lab/inspector/identity";
import { arcs, owner } from "../../lab/inspector/ring";
import { moved, movesSentence } from "../../lab/inspector/shares";
import { hindsight, ordinal } from "../../lab/inspector/servers";
import { format, parse } from "../../lab/lessons/address";
import { changedLines } from "../../lab/lessons/diff";
import { best, needed, pieces } from "../../lab/lessons/numbers";
import { forget, note, open, progressOf } from "../../lab/lessons/progress";
import { permitted } from "../../lab/lessons/settings";
import { strategyToml, writtenParameters, writtenStrategy } from "../../lab/lessons/strategy";
import { catalog } from "./lesson";
import { whys } from "./whys";

const problems: string[] = [];

function same(what: string, found: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) problems.push(`${what}: ${a}, not ${b}`);
}

// Ring: the arc before a point is its own; positions before the first point belong to it as well.
const points: [number, number][] = [[0.1, 0], [0.4, 1], [0.5, 0], [0.9, 2]];
same("owner between points", [0.05, 0.1, 0.11, 0.45, 0.95].map((at) => points[owner(points, at)][1]), [0, 0, 1, 0, 0]);
same("shares of the circle", [...arcs(points)].map(([server, one]) => [server, Math.round(one.share * 1000) / 1000]), [[0, 0.3], [1, 0.3], [2, 0.4]]);
same("one point has the whole circle", Math.round([...arcs([[0.3, 5]])][0][1].share * 1000), 1000);
const { columns, cell } = layout(65537, 400);
if (columns * cell > 401) problems.push("the table is wider than its place");

// Labels that nothing else has.
same("labels by number", [...identities([{ server: 3, name: "web-1" }, { server: 4, name: "web-2" }]).values()].map((one) => one.short), ["1", "2"]);
same("labels where numbers repeat", [...identities([{ server: 0, name: "fast-1" }, { server: 1, name: "slow-1" }]).values()].map((one) => one.short), ["f1", "s1"]);
same("labels without numbers", [...identities([{ server: 0, name: "a" }, { server: 1, name: "a" }]).values()].map((one) => one.short), ["1", "2"]);
same("ordinals", [1, 2, 3, 4, 11, 12, 21, 102].map(ordinal), ["1st", "2nd", "3rd", "4th", "11th", "12th", "21st", "102nd"]);
const idle = structuredClone(whys.random);
for (const s of idle.servers) s.truth.work = s.server === idle.picked ? 0.5 : 0.5;
same("equal work is no fault", hindsight(idle)?.includes("was the best"), true);

const leaves = moved({ before: [10, 30], after: [40, 0], moved: 0.75, ideal: 0.75 }, 4);
same("shares by server", [...leaves.before, ...leaves.after], [[4, 0.25], [5, 0.75], [4, 1], [5, 0]]);
same("what moves, in words", movesSentence(leaves, "web-2", 2), "If web-2 leaves: 75.0 % of the keys are at web-2 and must move (1/2 is 50.0 %); no other key moves.");

// Numbers in explanations.
same("pieces of a text", pieces("a {latency.p99[p2c(choices=3)]}, b"), [{ text: "a " }, { metric: "latency.p99", strategy: "p2c(choices=3)" }, { text: ", b" }]);
same("requests needed", ["latency.mean", "latency.p50", "latency.p99", "latency.p999"].map(needed), [100, 100, 1000, 10000]);
same("the lower latency wins", best(catalog, "latency.p99", new Map([["a", 0.2], ["b", 0.1]])), "b");
same("the higher fairness wins", best(catalog, "fairness.jain", new Map([["a", 0.9], ["b", 0.5]])), "a");
same("equal values have no winner", best(catalog, "latency.p99", new Map([["a", 0.1], ["b", 0.1004]])), null);

// Challenges.
same("changed lines", changedLines("a\nb\nc", "a\nx\nb\nc"), [false, true, false, false]);
same("changed last line", changedLines("a\nb", "a\nc"), [false, true]);
same("permitted keys", ["pools.web.servers.big.weight", "pools.web.servers.big.speed", "pools.web.health.interval", "pools"].map((key) => permitted(key, ["pools.web.servers.*.weight", "pools.web.health"])), [true, false, true, false]);

const setup = `[[variants]]
name = "other"
strategy = "random"

[[variants]]
name = "mine"
strategy = { p2c = { choices = 1, hash_on = "a b" } }

[[pools]]
name = "web"
choices = 9
`;
const p2c = { parameters: [{ name: "choices" }, { name: "hash_on" }, { name: "keeps" }] } as Parameters<typeof writtenParameters>[1];
same("parameters as written", [...writtenParameters(writtenStrategy(setup, "mine")!, p2c)], [["choices", "1"], ["hash_on", '"a b"']]);
same("parameters of another variant", [...writtenParameters(writtenStrategy(setup, "other")!, p2c)], []);
same("no such variant", writtenStrategy(setup, "none"), null);
same("a strategy as TOML", [strategyToml("p2c", new Map([["choices", "2"]])), strategyToml("random", new Map())], ["{ p2c = { choices = 2 } }", '"random"']);

// Addresses.
same("address of a step", parse("#lesson-7/challenge&teacher"), { lesson: "7", step: "challenge", teacher: true, embed: false });
same("address by name", parse("#lesson-power-of-two&embed"), { lesson: "power-of-two", step: null, teacher: false, embed: true });
same("teacher mode", parse("#teacher"), { lesson: null, step: null, teacher: true, embed: false });
same("another address", parse("#s=abc"), null);
same("there and back", parse(format({ lesson: "3", step: "watch", embed: true })), { lesson: "3", step: "watch", teacher: false, embed: true });

// Progress: nothing but the guess is open at first; it never goes back by itself.
same("locked at first", (["predict", "watch", "explain", "challenge"] as const).map((step) => open(progressOf("none"), step)), [true, false, false, false]);
note("one", { guess: 0, reached: 1 });
note("one", { reached: 3 });
note("one", { reached: 1 });
same("the farthest step stays", [progressOf("one").reached, progressOf("one").guess], [3, 0]);
forget("one");
same("a lesson starts again", [progressOf("one").reached, progressOf("one").guess], [0, null]);

(window as unknown as { pureProblems: string[] }).pureProblems = problems;
