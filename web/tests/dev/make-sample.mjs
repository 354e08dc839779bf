// For development only: makes tests/sample from results folders: three small documents on which .ci/web tests the page without the program.
// Timelines, stories and picks in them are INVENTED (see fixture.mjs).
//
//   node tests/dev/make-sample.mjs RESULTS
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { document } from "./fixture.mjs";

const results = process.argv[2];
const out = new URL("../sample/", import.meta.url).pathname;
const short = (_, v) => (typeof v === "number" ? Number(v.toPrecision(4)) : v);
/** Writes a document, and of metrics.csv the rows that it shows. */
function write(name, report, folder, keep) {
  mkdirSync(join(out, name), { recursive: true });
  const exact = JSON.stringify(report, (key, v) => (key === "values" ? { exact: v } : v));
  writeFileSync(join(out, name, "document.json"), `${JSON.stringify(JSON.parse(exact), (key, v) => (v && typeof v === "object" && "exact" in v ? JSON.parse(JSON.stringify(v.exact, (_, n) => (typeof n === "number" ? Number(n.toPrecision(7)) : n))) : short(key, v)))}\n`);
  if (!folder) return;
  const [head, ...rows] = readFileSync(join(folder, "metrics.csv"), "utf8").trim().split("\n");
  writeFileSync(join(out, name, "metrics.csv"), `${[head, ...rows.filter(keep)].join("\n")}\n`);
}
const half = (values) => values.filter((_, i) => i % 3 === 0);

const folder = join(results, "crash");
const strategies = ["round_robin", "edf", "random", "weighted_random", "p2c", "least_request", "peak_ewma", "consistent_hash", "oracle_least_work"];
const run = document(folder, { strategies });
run.title = "Sample of a run, for tests";
run.repeat.files = run.repeat.files.slice(0, 2);
for (const cdf of run.run.cdf) { cdf.latency = cdf.latency.map(half); cdf.quantiles = half(cdf.quantiles); }
for (const series of run.run.series) for (const [key, value] of Object.entries(series)) if (Array.isArray(value)) series[key] = Array.isArray(value[0]) ? value.map(half) : half(value);
run.run.timelines = run.run.timelines.map((t, i) => (t && i < 4 ? { ...t, bin: t.bin * 3, servers: t.servers.map((s) => ({ ...s, picks: half(s.picks), in_server: half(s.in_server), errors: half(s.errors) })), outcomes: Object.fromEntries(Object.entries(t.outcomes).map(([k, v]) => [k, half(v)])) } : null));
const few = new Set(run.run.why.stories.slice(0, 4).map((s) => s.index));
for (const key of ["stories", "slowest", "picks"]) run.run.why[key] = run.run.why[key].filter((s) => few.has(s.index));
run.run.why.differences = run.run.why.differences.filter((d) => few.has(d.a) && few.has(d.b));
write("run", run, folder, (row) => strategies.includes(row.split(",")[2]));

const some = ["round_robin", "random", "p2c", "least_request", "oracle_least_work"];
const sweep = document(join(results, "even-load.sweep"), { strategies: some });
sweep.title = "Sample of a sweep, for tests";
sweep.repeat.files = [];
const metrics = ["latency.p99", "latency.mean", "errors.ratio", "fairness.jain"];
sweep.sweep.metrics = sweep.sweep.metrics.filter((m) => metrics.includes(m.name));
for (const s of sweep.sweep.strategies) s.values = Object.fromEntries(metrics.map((m) => [m, s.values[m]]));
write("sweep", sweep, join(results, "even-load.sweep"), (row) => some.includes(row.split(",")[2]) && metrics.includes(row.split(",")[3]));

const column = (name, unit) => ({ name, unit, doc: null });
write("compare", { ...run, kind: "compare", name: "compare", title: "Sample of a comparison, for tests", question: "Is the new version slower?", answer: ["`p2c` is slower by 12.1 %."], run: null, warnings: [], explanation: null,
  repeat: { ...run.repeat, scenario_source: null, workloads: [] },
  sections: [{ heading: "What changed", paragraphs: ["A change counts if its 95 % interval excludes zero."], table: { columns: [column("strategy", "text"), column("old", "s"), column("new", "s"), column("change", "text")],
    rows: [{ cells: ["p2c", 0.0914, 0.1025, "+12.1 %"], mark: "bad", href: null }, { cells: ["peak_ewma", 0.0731, 0.0612, "−16.3 %"], mark: "good", href: null }, { cells: ["random", 0.05, null, null], mark: "neutral", href: "../run/report.html" }] } }] });
