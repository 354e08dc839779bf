// A lesson as the engine describes it, with invented numbers: for work on the design without the engine.
import type { Catalog, Grade, Lesson } from "../../lab/engine";

export const lesson: Lesson = {
  number: 8, name: "power-of-two", title: "Two looks are almost as good as all", minutes: 3,
  summary: "Random picks blindly, least-request looks at everyone. What does looking at **two** servers buy?",
  intro: "Ten servers, 80 % busy. One balancer sends each request to a server picked at random. Another draws **two** servers at random and takes the one with fewer requests in flight. A third looks at all ten.\n\nLooking costs something: with a thousand servers nobody wants to compare a thousand counters for every request.",
  predict: { question: "How much of the way from `random` to `least_request` does a look at two servers go, in the 99th percentile of latency?", options: ["About a fifth: two of ten servers", "About half", "More than three quarters", "All of it: they are the same"], answer: 2 },
  watch: { scenario: "even-load", strategies: ["random", "p2c", "least_request"], seed: null, speed: 5, until: 60, focus: ["latency.p99", "latency.mean", "fairness.jain"], look_for: [
    "With `random` some servers have long queues while others are idle. Watch how long a long queue lasts.",
    "With `p2c` no queue grows long: a server that has many requests loses every comparison.",
    "Compare the columns of p99, not those of the mean."] },
  explain: "Under `random` the slowest hundredth takes {latency.p99[random]}. With two looks it is {latency.p99[p2c]}, with ten {latency.p99[least_request]}.\n\nA long queue is only chosen when *both* draws hit servers at least as long. The share of servers with queues of length k falls **doubly** exponentially, where random's falls only exponentially.\n\n- The first extra look removes the tail.\n- Each further one removes little of what is left.",
  challenge: { task: "The setup below has the right strategy, and still its p99 is too high: its balancers do not share what they count. Bring the p99 below 120 ms **without** more servers.", hints: ["How many balancers are there, and how many requests does each of them see?", "`balancers.shards` may be changed.", "With one balancer the counts are complete."], scenario: 'title = "Two looks, eight balancers"\nduration = "60s"\n\narrivals = { poisson = { load = "80%" } }\nservice = { exponential = { mean = "20ms" } }\nbalancers = { shards = 8 }\n\n[[pools]]\nname = "web"\n\n[[pools.servers]]\nname = "web"\ncount = 10\n', may_change: ["balancers.shards", "strategies"], expects: ["latency.p99[p2c] < 120ms", "fairness.jain[p2c] > 0.99"] },
  solution: { changes: [{ key: "balancers.shards", value: "1" }], text: "One balancer sees every request, so its counts are the truth. In production the same is reached by fewer, larger balancers, or by sharing counts." },
};

export const lessons: Lesson[] = ["What a balancer is", "Random", "Round robin", "Weights", "Load and health", "IP hash and caches", "Paths and blast radius", "Two looks are almost as good as all", "Stale information", "The herd", "Tails and hedging", "The retry storm"].map((title, i) => ({ ...lesson, number: i + 1, name: i === 7 ? lesson.name : `lesson-${i + 1}`, title }));

const metric = (name: string, label: string, unit: "s" | "share" | "index", direction: "lower" | "higher"): Catalog["metrics"][number] => ({ name, label, unit, direction, doc: label });
export const catalog: Catalog = { families: [], strategies: [], faults: [], outcomes: ["ok"], metrics: [metric("latency.p99", "p99 latency", "s", "lower"), metric("latency.mean", "mean latency", "s", "lower"), metric("fairness.jain", "fairness (Jain)", "index", "higher")] };

export const measured = new Map([["random", { count: 24113, values: { "latency.p99": 0.412, "latency.mean": 0.0991, "fairness.jain": 0.9871 } }], ["p2c", { count: 24113, values: { "latency.p99": 0.131, "latency.mean": 0.0443, "fairness.jain": 0.9989 } }], ["least_request", { count: 612, values: { "latency.p99": 0.098, "latency.mean": 0.0361, "fairness.jain": 0.9991 } }]]);

export const grade: Grade = { lesson: 8, passed: false, changed: ["balancers.shards"], not_allowed: ["pools.servers.count"], message: "One of two does not hold yet.", checks: [
  { assert: "latency.p99[p2c] < 120ms", holds: false, left: 0.184, right: 0.12, values: "184 ms is not below 120 ms", reason: "complete counts remove the tail" },
  { assert: "fairness.jain[p2c] > 0.99", holds: true, left: 0.998, right: 0.99, values: "0.998 is above 0.99", reason: "and no server gets more than its share" }] };
