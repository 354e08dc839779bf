// For development only: makes the document of a report (report/model.ts) from a results folder, and writes it into the built page. Stories,
// timelines and picks are INVENTED here; the program has the real ones.
//
//   node tests/dev/fixture.mjs RESULTS_FOLDER OUT.html [--scenario FILE] [--docs DOCS_FOLDER] [--strategies a,b] [--servers 1000] [--no-nulls]
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { page } from "../page.mjs";

const here = dirname(fileURLToPath(import.meta.url));

export function csv(path) {
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").trim().split("\n");
  const cells = (line) => [...line.matchAll(/("([^"]|"")*"|[^,]*)(,|$)/g)].map((m) => m[1].replace(/^"|"$/g, "").replaceAll('""', '"'));
  const names = cells(lines[0]);
  return lines.slice(1).map((line) => { const row = cells(line); return Object.fromEntries(names.map((n, i) => [n, row[i]])); });
}
const num = (text) => (text === "" || text == null || !Number.isFinite(Number(text)) ? null : Number(text));
const by = (rows, key) => { const map = new Map(); for (const r of rows) { const k = typeof key === "function" ? key(r) : r[key]; if (!map.has(k)) map.set(k, []); map.get(k).push(r); } return map; };

function catalogue(docs) {
  const families = [];
  const place = new Map();
  for (const line of readFileSync(join(docs, "strategies.md"), "utf8").split("\n")) {
    const family = /^\*\*([A-Z][\w -]+)\*\*$/.exec(line);
    if (family) families.push({ name: family[1].toLowerCase(), doc: `Strategies of the family ${family[1]}.` });
    const row = /^\| \[`(\w+)`\]\(#\w+\) \| ([^|]+) \|/.exec(line);
    if (row && families.length) place.set(row[1], { place: place.size, family: families[families.length - 1].name, doc: `${row[2].trim()}.` });
  }
  return { families, place };
}

function metricDocs(docs) {
  const all = [];
  for (const line of readFileSync(join(docs, "reading-results.md"), "utf8").split("\n")) {
    const m = /^\| `([\w.]+)` \| (s|1\/s|share|index|number) \| (lower|higher|neither) \| ([^|]+) \|/.exec(line);
    if (m) all.push({ name: m[1], label: label(m[1]), unit: m[2], direction: m[3], doc: m[4].trim() });
  }
  return all;
}
const LABELS = { "latency.mean": "mean latency", "latency.p50": "p50 latency", "latency.p90": "p90 latency", "latency.p99": "p99 latency", "latency.p999": "p99.9 latency", "errors.ratio": "failed requests", "fairness.jain": "fairness (Jain)", "cache.hit_ratio": "cache hit ratio" };
const label = (name) => LABELS[name] ?? name.replaceAll(".", " ").replaceAll("_", " ");

const human = (s) => (s < 0.9995 ? `${(s * 1e3).toPrecision(3)} ms` : `${s.toFixed(2)} s`);
const scramble = (seed) => () => { seed = (seed * 1664525 + 1013904223) % 4294967296; return seed / 4294967296; };

/** Verdicts by scope, from comparison.csv: against the best by p99. */
function verdicts(comparison, pools, label) {
  return (pools.length ? pools : [null]).map((pool) => {
    const metric = pool ? `${pool}.latency.p99` : "latency.p99";
    const row = comparison.find((r) => r.strategy === label && r.metric === metric && r.relation !== "regret");
    if (!row) return { pool, relation: "none", by: null, text: "not ranked" };
    const ratio = num(row.ratio);
    if (row.relation === "best") return { pool, relation: "best", by: null, text: "best" };
    if (row.relation === "tied") return { pool, relation: "tied", by: null, text: "ties with the best" };
    if (row.relation === "fails_more") return { pool, relation: "fails_more", by: null, text: "more errors" };
    if (row.relation === "worse") return { pool, relation: "worse", by: ratio, text: `${ratio?.toFixed(ratio < 10 ? 2 : 1)}x slower` };
    return { pool, relation: "unknown", by: ratio, text: "too few runs" };
  });
}

function timelineOf(which, label, run, duration, servers, faults) {
  const random = scramble(which * 7919 + 13);
  const bins = 180, bin = duration / bins;
  const mine = servers.filter((s) => s.share[which] != null).map((s, k) => {
    const picks = [], inside = [], errors = [];
    let queue = 1;
    for (let b = 0; b < bins; b++) {
      const bad = faults.some((f) => f.target.endsWith(s.server) && b * bin >= f.start && b * bin < (f.end ?? duration));
      const aware = !/random|round|hash|edf|stride|maglev|jump|rendezvous|probe/.test(label);
      const share = (s.share[which] || 0.1) * (bad && aware ? 0.25 : 1);
      picks.push(Math.max(0, Math.round(share * 60 * servers.length * bin * (0.8 + 0.4 * random()))));
      queue = Math.max(0, bad && !aware ? queue + 4 + 4 * random() : queue * 0.8 + random());
      inside.push(Math.round(queue + 3 * random()));
      errors.push(bad && !aware && queue > 200 ? Math.round(10 * random()) : 0);
    }
    return { pool: s.pool, server: s.server, picks, in_server: inside, errors };
  });
  const series = run.series.find((s) => s.pool === null);
  const ok = Array.from({ length: bins }, (_, b) => Math.round(((series?.goodput[which] ?? [])[Math.floor((b / bins) * series?.time.length)] ?? 0) * bin));
  return { bin, servers: mine, outcomes: faults.length ? { ok, timed_out: ok.map((n, b) => (b > 50 && b < 110 ? Math.round(n * 0.1 * random()) : 0)), reset: ok.map((n, b) => (b > 60 && b < 80 ? Math.round(n * 0.2 * random()) : 0)) } : { ok }, retries: /retry/.test(run.__name) ? ok.map((n) => Math.round(n * 0.2 * random())) : null, hedges: null, balancer_queue: null };
}

function why(run, duration, faults) {
  const f = faults[0] ?? { start: duration * 0.2, end: duration * 0.6, target: "web/web-3", text: "web-3 becomes slower" };
  const server = f.target.split("/").pop();
  const chosen = run.strategies.map((_, i) => i).filter((i) => i < 6 || ["round_robin", "random", "p2c", "least_request", "consistent_hash"].includes(run.strategies[i].strategy));
  const stories = chosen.map((index) => {
    const s = run.strategies[index];
    const bad = ["fails_more", "overloaded"].includes(s.verdicts[0]?.relation);
    return { index, sentences: [
      { time: f.start, kind: "fault", text: `Fault: ${f.text}.`, server: f.target },
      { time: f.start + 0.31, kind: "queue", text: `The queue of ${server} grows from 2 to ${bad ? 41 : 6} requests within 300 ms.`, server: f.target },
      { time: f.start + 0.9, kind: "share", text: bad ? `${s.label} still sends 10.0 % of the requests to ${server}: it does not look at servers.` : `${s.label} sends 1.9 % of the requests to ${server} now, 10.0 % before.`, server: f.target },
      ...(bad ? [{ time: f.start + 3.4, kind: "timeout", text: `The first requests time out after 2 s in the queue of ${server}; from now on 58 per second.`, server: f.target }] : []),
      { time: (f.end ?? duration * 0.7) + (bad ? 0 : 0.2), kind: "recovery", text: `${server} is as fast as before; ${bad ? "its queue is empty 11.2 s later." : "it gets its share again 1.1 s later."}`, server: f.target },
    ] };
  });
  const differences = [];
  for (const a of chosen) for (const b of chosen) if (a < b) {
    const [x, y] = [run.strategies[a], run.strategies[b]];
    differences.push({ a, b, text: `While ${server} is slow ${y.label} sends it 10.0 % of the requests and ${x.label} 1.9 %: with ${y.label} 41 requests wait there at the worst moment, with ${x.label} 6.` });
  }
  const slowest = chosen.map((index) => ({ index, requests: [0, 1, 2].map((k) => {
    const t = f.start + 2 + k * 3.1;
    return { id: String(12_400 + k * 977), path: "/cart", latency: 2.0 - k * 0.2, outcome: k === 0 ? "timed_out" : "ok", steps: [
      { at: t, text: "The client sends the request.", place: "network", server: null },
      { at: t + 0.002, text: "The balancer receives it.", place: "balancer", server: null },
      { at: t + 0.0021, text: `${run.strategies[index].label} picks ${server}: it counts 3 requests there, really there are 41.`, place: "network", server: f.target },
      { at: t + 0.0023, text: `It joins the queue of ${server} as number 42.`, place: "server queue", server: f.target },
      { at: t + 1.7 - k * 0.2, text: `${server} begins to work on it.`, place: "service", server: f.target },
      { at: t + 2.0 - k * 0.2, text: k === 0 ? "The client gives up after 2.00 s." : "The client has the answer.", place: "client", server: null },
    ] };
  }) }));
  const names = run.servers.filter((s) => s.pool === run.servers[0]?.pool).slice(0, 24);
  const picks = chosen.map((index) => ({ index, picks: [0, 1, 2, 3].map((k) => ({
    time: f.start + k * 4.2 + 0.5, request: String(12_400 + k), pool: names[0]?.pool ?? "web", picked: names[(index + k) % Math.max(1, names.length)]?.server ?? null,
    text: `${run.strategies[index].label} picks ${names[(index + k) % Math.max(1, names.length)]?.server}: the lowest score of two candidates.`,
    servers: names.map((s, n) => ({ server: s.server, eligible: n !== 5, weight: s.weight, in_flight: (n * 7 + k) % 5, truth: n === 2 ? 41 : (n * 5 + k) % 7, score: k === 3 ? null : ((n * 13 + k) % 17) / 3 })),
  })) }));
  return { stories, differences, slowest, picks };
}

function faultsOf(scenario, servers) {
  const seconds = (t) => (t == null ? null : t.endsWith("ms") ? parseFloat(t) / 1e3 : parseFloat(t));
  const faults = [];
  for (const block of scenario.split(/^\[\[faults\]\]/m).slice(1)) {
    const text = block.split(/^\[/m)[0];
    const get = (key) => new RegExp(`^${key} *= *"([^"]*)"`, "m").exec(text)?.[1] ?? null;
    const start = seconds(get("at")) ?? 0;
    const length = seconds(get("for"));
    const target = get("target") ?? `${servers[0]?.pool}/${servers[0]?.server}`;
    const kind = /kind *= *\{ *(\w+)/.exec(text)?.[1] ?? "fault";
    faults.push({ start, end: length == null ? null : start + length, target, text: `${target}: ${kind.replaceAll("_", " ")}` });
  }
  return faults;
}

export function document(folder, options = {}) {
  const docs = options.docs ?? join(here, "../../../docs");
  const { families, place } = catalogue(docs);
  const manifest = JSON.parse(readFileSync(join(folder, "manifest.json"), "utf8"));
  const scenarioPath = options.scenario ?? join(here, `../../../scenarios/${manifest.scenario}.toml`);
  const scenario = existsSync(scenarioPath) ? readFileSync(scenarioPath, "utf8") : "";
  const paragraph = (key) => new RegExp(`^${key} = """\\n([\\s\\S]*?)"""`, "m").exec(scenario)?.[1] ?? null;
  const metrics = csv(join(folder, "metrics.csv"));
  const points = [...new Set(metrics.map((r) => r.point))];
  const labels = [...new Set(metrics.map((r) => r.strategy))].filter((l) => !options.strategies || options.strategies.includes(l));
  const info = (l) => place.get(l.replace(/\(.*/, "")) ?? { place: 0, family: "random", doc: "A strategy." };
  const base = { schema_version: 1, kind: points.length > 1 ? "sweep" : "run", name: basename(folder), title: manifest.title, question: paragraph("question") ?? "Which strategy is best?",
    answer: [], explanation: paragraph("answer"), warnings: [], run: null, sweep: null, sections: [],
    facts: [["offered load", manifest.offered_load == null ? "–" : `${Math.round(manifest.offered_load * 100)} %`], ["measured", `${manifest.duration_s} s`], ["runs per strategy", String(manifest.replications)], ["strategies", String(labels.length)], ["seed", String(manifest.seed)]],
    repeat: { command: manifest.command, version: manifest.version, commit: manifest.commit, seed: String(manifest.seed), machine: `${manifest.machine.os} ${manifest.machine.arch}, ${manifest.machine.cpus} CPUs`,
      scenario_sha256: manifest.scenario_sha256, scenario_source: scenario || null, workloads: manifest.workload_hashes ?? [],
      files: Object.entries(manifest.files).map(([name, sha256]) => ({ name, sha256, doc: name.endsWith("svg") ? "A chart." : "Data as CSV." })) } };
  const wanted = metricDocs(docs);
  const perStrategy = by(metrics, "strategy");
  if (points.length > 1) return sweepOf(base, points, labels, perStrategy, wanted, info);

  const firstSeries = csv(join(folder, "timeseries.csv"));
  const poolSeries = csv(join(folder, "timeseries_pools.csv"));
  const serverRows = by(csv(join(folder, "servers.csv")), (r) => `${r.pool}\n${r.server}`);
  const comparison = csv(join(folder, "comparison.csv"));
  const states = by(csv(join(folder, "verdicts.csv")), "strategy");
  const pools = [...new Set(poolSeries.map((r) => r.pool))].filter((p) => metrics.some((m) => m.metric === `${p}.latency.p99`));
  const entry = pools.length > 1 ? pools : [];
  const estimates = (l) => Object.fromEntries(perStrategy.get(l).map((r) => [r.metric, [num(r.value), num(r.low), num(r.high)]]));
  const regret = (l) => { const r = comparison.find((c) => c.strategy === l && c.metric === "latency.mean" && c.relation === "regret"); return r ? [num(r.difference), num(r.low), num(r.high)] : null; };
  let strategies = labels.map((l) => {
    const v = (states.get(l) ?? [{}])[0];
    return { label: l, strategy: l.replace(/\(.*/, ""), family: info(l).family, place: info(l).place, oracle: info(l).family === "oracles", doc: info(l).doc, verdicts: verdicts(comparison, entry, l),
      state: v.verdict ?? "stable", state_reason: v.reason ?? "", values: estimates(l), regret: regret(l),
      theory: v.theorem ? { theorem: v.theorem, mean: num(v.exact_mean_s), p99: num(v.exact_p99_s), text: `${v.theorem}: exact mean` } : null };
  });
  const failing = (s, pool) => s.values[pool ? `${pool}.errors.ratio` : "errors.ratio"]?.[0] ?? 0;
  const least = (pool) => Math.min(...strategies.map((s) => failing(s, pool)));
  for (const s of strategies) for (const v of s.verdicts) if (v.relation === "fails_more") { v.by = failing(s, v.pool) - least(v.pool); v.text = `+${(v.by * 100).toFixed(2)} pp errors`; }
  const rank = (s) => ["best", "tied", "worse", "unknown", "fails_more", "overloaded", "none"].indexOf(s.verdicts[0].relation);
  const p99 = (s) => s.values[entry[0] ? `${entry[0]}.latency.p99` : "latency.p99"]?.[0] ?? Infinity;
  strategies.sort((a, b) => rank(a) - rank(b) || (a.verdicts[0].by ?? 0) - (b.verdicts[0].by ?? 0) || p99(a) - p99(b));
  const index = new Map(strategies.map((s, i) => [s.label, i]));
  const hashes = by(manifest.strategies.filter((s) => index.has(s.label)), (s) => s.pick_hashes.join());
  const same_picks = [...hashes.values()].filter((g) => g.length > 1).map((g) => g.map((s) => index.get(s.label)).sort((a, b) => a - b));
  const seriesOf = (rows, pool) => {
    const mine = by(rows, "strategy");
    const get = (field) => strategies.map((s) => (mine.get(s.label) ?? []).map((r) => num(r[field])));
    const servers = rows[0]?.servers !== undefined ? get("servers") : null;
    return { pool, time: (mine.get(strategies[0].label) ?? []).map((r) => Number(r.time_s)), goodput: get("goodput_per_s"), errors: get("errors_per_s"), mean: get("latency_mean_s"), p99: get("latency_p99_s"), in_system: rows[0]?.in_system !== undefined ? get("in_system") : null, servers };
  };
  const servers = [...serverRows.values()].map((rows) => {
    const of = (field) => { const m = new Map(rows.map((r) => [r.strategy, num(r[field])])); return strategies.map((s) => m.get(s.label) ?? null); };
    return { pool: rows[0].pool, server: rows[0].server, weight: Number(rows[0].weight), capacity: Number(rows[0].capacity), share: of("share"), load: of("load_over_capacity"), utilisation: of("utilisation"), in_server: of("in_server"), errors: of("errors"), hit_ratio: of("cache_hit_ratio") };
  });
  if (options.servers) {
    const random = scramble(5);
    while (servers.length < options.servers) {
      const model = servers[servers.length % 10];
      servers.push({ ...model, server: `web-${servers.length + 1}`, load: model.load.map((v) => (v == null ? null : v * (0.9 + 0.2 * random()))) });
    }
    for (const s of servers) s.share = s.load.map((v) => (v == null ? null : v / servers.length));
  }
  const quantileRows = by(csv(join(folder, "latency_cdf.csv")), "strategy");
  const quantiles = [...(quantileRows.values().next().value ?? [])].map((r) => Number(r.quantile));
  const faults = faultsOf(scenario, servers);
  const names = new Set(metrics.map((m) => m.metric));
  const run = { __name: base.name, metrics: wanted.filter((m) => names.has(m.name) || [...names].some((n) => n.endsWith(`.${m.name}`))), pools: entry, families, strategies, same_picks,
    cdf: (entry.length ? entry : [null]).map((pool, k) => ({ pool, quantiles, latency: strategies.map((s) => (quantileRows.get(s.label) ?? []).map((r) => num(r.latency_s) * (1 + 0.3 * k))) })),
    series: [seriesOf(firstSeries, null), ...pools.map((p) => seriesOf(poolSeries.filter((r) => r.pool === p), entry.length ? p : null)).filter((s) => s.pool)],
    servers, faults, warmup: manifest.warmup_s, duration: manifest.duration_s, timelines: [], why: null };
  if (!entry.length && pools.length === 1) run.series[0].servers = seriesOf(poolSeries, null).servers;
  run.timelines = strategies.map((s, i) => (i < 10 || /^(round_robin|random|p2c|least_request|consistent_hash)$/.test(s.strategy) ? timelineOf(i, s.label, run, run.duration, servers, faults) : null));
  run.why = why(run, run.duration, faults);
  delete run.__name;
  base.run = run;
  for (const pool of entry.length ? entry : [null]) {
    const sorted = [...strategies].filter((s) => !s.oracle).sort((a, b) => rank2(a, pool) - rank2(b, pool));
    const best = sorted[0];
    const value = best.values[pool ? `${pool}.latency.p99` : "latency.p99"]?.[0];
    const worse = strategies.filter((s) => ["fails_more"].includes(s.verdicts.find((v) => v.pool === pool)?.relation));
    base.answer.push(`${pool ? `${pool}: ` : ""}${best.label} has the lowest p99, ${human(value)}.${worse.length ? ` ${worse.length} strategies lose more requests, up to ${(Math.max(...worse.map((s) => failing(s, pool))) * 100).toFixed(2)} %.` : ""}`);
  }
  const backlogged = strategies.filter((s) => s.state !== "stable");
  if (backlogged.length) base.warnings.push({ text: `${backlogged[0].state}: ${backlogged[0].state_reason}.`, strategies: backlogged.map((s) => s.label) });
  return base;
}
const rank2 = (s, pool) => ["best", "tied", "worse", "unknown", "fails_more", "overloaded", "none"].indexOf(s.verdicts.find((v) => v.pool === pool)?.relation);

function sweepOf(base, points, labels, perStrategy, wanted, info) {
  const parts = points[0].split(/, ?/).map((p) => p.split("="));
  const number = (t) => (Number.isFinite(parseFloat(t)) ? (t.endsWith("%") ? parseFloat(t) / 100 : parseFloat(t)) : null);
  const names = new Set([...perStrategy.values()].flat().map((m) => m.metric));
  const metrics = wanted.filter((m) => names.has(m.name));
  const strategies = labels.map((l) => {
    const rows = by(perStrategy.get(l), "metric");
    const values = {};
    for (const m of metrics) { const at = new Map((rows.get(m.name) ?? []).map((r) => [r.point, r])); values[m.name] = points.map((p) => { const r = at.get(p); return r ? [num(r.value), num(r.low), num(r.high)] : [null, null, null]; }); }
    return { label: l, family: info(l).family, place: info(l).place, oracle: info(l).family === "oracles", values };
  });
  const sweep = { metrics, axes: parts.map(([key]) => ({ key, unit: "share", log: false })), points: points.map((p) => ({ label: p, values: p.split(/, ?/).map((one) => number(one.split("=")[1])) })), strategies, crossings: [] };
  const at = (l) => strategies.findIndex((s) => s.label === l);
  const pairs = [["round_robin", "p2c"], ["round_robin", "least_request"], ["random", "peak_ewma"], ["p2c", "prequal"]];
  for (const [x, y] of pairs) {
    const [a, b] = [at(x), at(y)];
    if (a < 0 || b < 0) continue;
    for (const metric of ["latency.p99", "latency.mean"]) for (let i = 1; i < points.length; i++) {
      const d = (k) => strategies[a].values[metric][k][0] - strategies[b].values[metric][k][0];
      if (d(i - 1) * d(i) < 0) { const between = [sweep.points[i - 1].values[0], sweep.points[i].values[0]]; sweep.crossings.push({ text: `${x} and ${y} cross between ${between[0]} and ${between[1]} (${label(metric)}).`, metric, a, b, between }); }
    }
  }
  if (!sweep.crossings.length && strategies.length > 1) sweep.crossings.push({ text: `${strategies[at("round_robin")]?.label ?? labels[0]} and ${labels[1]} cross between 0.7 and 0.8.`, metric: "latency.p99", a: Math.max(0, at("round_robin")), b: 1, between: [0.7, 0.8] });
  base.sweep = sweep;
  base.answer = ["least_request has the lowest p99 at every point; the higher the load the larger the difference."];
  return base;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [folder, out] = process.argv.slice(2);
  const option = (name) => { const i = process.argv.indexOf(`--${name}`); return i < 0 ? undefined : process.argv[i + 1]; };
  const report = document(folder, { scenario: option("scenario"), docs: option("docs"), strategies: option("strategies")?.split(","), servers: Number(option("servers") ?? 0) });
  mkdirSync(dirname(out), { recursive: true });
  const html = page(report, { gz: process.argv.includes("--gz") });
  writeFileSync(out, html);
  console.log(`${out}: ${(html.length / 1e3).toFixed(0)} kB`);
}
