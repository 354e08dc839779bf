// For development only: documents that results folders do not give: long labels, 1,000 servers, nulls everywhere, a comparison, an index.
//
//   node tests/dev/special.mjs RESULTS OUT
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { page } from "../page.mjs";
import { document } from "./fixture.mjs";

const [results, out] = process.argv.slice(2);
const write = (name, report, options) => {
  mkdirSync(join(out, name), { recursive: true });
  writeFileSync(join(out, name, name === "index" ? "index.html" : "report.html"), page(report, options));
};
const clone = (x) => JSON.parse(JSON.stringify(x));

const big = document(join(results, "slow-server"), { servers: 1000 });
big.title = "A thousand servers";
const five = ["round_robin", "p2c", "least_request", "oracle_least_work", "random"];
write("thousand", document(join(results, "slow-server"), { servers: 1000, strategies: five }), { gz: true });

const long = document(join(results, "crash"), { strategies: [...five, "consistent_hash", "peak_ewma"] });
long.title = "Long labels: a title that is so long that it needs several lines on a phone and two on a desk";
long.run.strategies.forEach((s, i) => { s.label = ["p2c(choices=3,load_weight=0.5)", "consistent_hash(hash_on=client,replicas=1024,load=1.25)", "least_request(active_request_bias=0.75)"][i] ?? s.label; });
long.run.strategies[3].verdicts[0].text = "not ranked: too few requests succeeded to compare";
long.warnings.push({ text: "p2c(choices=3,load_weight=0.5) has not settled when the warm-up ends.", strategies: ["p2c(choices=3,load_weight=0.5)"] });
write("long", long);

const nulls = document(join(results, "two-tiers"), { strategies: undefined });
const empty = (x) => (Array.isArray(x) ? x.map((v) => (Array.isArray(v) ? empty(v) : null)) : null);
for (const s of nulls.run.strategies) { for (const k of Object.keys(s.values)) s.values[k] = [null, null, null]; s.state = "no_requests"; s.state_reason = "no request arrived"; s.regret = null; s.verdicts = [{ pool: null, relation: "none", by: null, text: "no requests" }]; }
for (const c of nulls.run.cdf) c.latency = empty(c.latency);
for (const s of nulls.run.series) for (const k of ["goodput", "errors", "mean", "p99", "in_system"]) if (s[k]) s[k] = empty(s[k]);
for (const s of nulls.run.servers) for (const k of ["share", "load", "utilisation", "in_server", "errors", "hit_ratio"]) s[k] = empty(s[k]);
nulls.run.timelines = nulls.run.timelines.map(() => null);
nulls.run.why = null;
nulls.explanation = null;
nulls.answer = [];
nulls.repeat = { ...nulls.repeat, commit: null, seed: null, machine: null, scenario_sha256: null, scenario_source: null, files: [], workloads: [] };
write("nulls", nulls);

const bare = clone(nulls);
Object.assign(bare.run, { cdf: [], series: [], servers: [], faults: [] });
for (const s of bare.run.strategies) s.values = {};
write("bare", bare);

const grid = document(join(results, "even-load.sweep"), { strategies: five });
grid.title = "A grid of two settings, one of them in words";
grid.sweep.axes = [{ key: "clients.timeout", unit: "s", log: true }, { key: "pools.web.discipline", unit: "text", log: false }];
grid.sweep.points = [0.1, 0.3, 1].flatMap((t) => ["fcfs", "processor_sharing"].map((d) => ({ label: `clients.timeout=${t * 1000}ms, pools.web.discipline=${d}`, values: [t, null] })));
grid.sweep.crossings = [];
write("grid", grid);

const wordy = document(join(results, "even-load.sweep"), { strategies: five.slice(0, 2) });
wordy.sweep.axes = [{ key: "pools.web.discipline", unit: "text", log: false }];
wordy.sweep.points = wordy.sweep.points.map((_, i) => ({ label: `pools.web.discipline=kind_${i}`, values: [null] }));
wordy.sweep.crossings = [];
write("wordy", wordy);

const column = (name, unit, doc = null) => ({ name, unit, doc });
const shell = (kind, name, title, question) => ({ ...clone(bare), kind, name, title, question, run: null, facts: [["old", "results/slow-server"], ["new", "results/slow-server.new"], ["tolerance", "5 %"]], warnings: [] });
const compare = shell("compare", "slow-server", "Old and new results of slow-server", "Did the change of p2c make anything worse?");
compare.answer = ["Two of 39 strategies are worse: `p2c` by 12.1 % in p99, `prequal` by 0.31 pp in failed requests."];
compare.sections = [
  { heading: "What changed", paragraphs: ["Differences are over pairs of runs that met the same requests. A change counts if its 95 % interval excludes zero and it is larger than the tolerance."],
    table: { columns: [column("strategy", "text"), column("metric", "text"), column("old", "s"), column("new", "s"), column("change", "text"), column("verdict", "text")],
      rows: [["p2c", "latency.p99", 0.0914, 0.1025, "+12.1 %", "worse"], ["peak_ewma", "latency.p99", 0.0731, 0.0612, "−16.3 %", "better"], ["prequal", "latency.mean", 0.0212, null, "–", "not measured"], ["least_request", "latency.p99", 0.0635, 0.0636, "+0.2 %", "the same"]]
        .map((cells, i) => ({ cells, mark: ["bad", "good", null, "neutral"][i], href: null })) } },
  { heading: "Settings", paragraphs: ["Both results have the same scenario and the same workload."], table: null },
];
write("compare", compare);

const index = shell("index", "results", "Results of all scenarios", "What does each scenario ask, and what came out?");
index.facts = [["scenarios", "47"], ["strategies", "39"]];
index.answer = ["47 scenarios; the strategy matters in 41 of them."];
index.sections = [{ heading: "Scenarios", paragraphs: [], table: { columns: [column("scenario", "text"), column("answer", "text"), column("best p99", "s"), column("failed", "share")],
  rows: ["slow-server", "cache-affinity", "autoscale", "path-isolation", "even-load.sweep", "two-tiers", "crash", "retry-storm"].map((name, i) => ({ cells: [name, "least_time has the lowest p99, 56.1 ms. 19 strategies lose more requests, up to 7.90 %.", 0.02 * (i + 1), i % 3 ? 0 : 0.012], mark: null, href: `../${name}/report.html` })) } }];
write("index", index);
