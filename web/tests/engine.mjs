// The lab's engine in WebAssembly against the native one: runs with and without acts have the same hash of picks, the same number of
// events, and the same value of every metric, whether in one go or in steps of 1/60 s.
//
//   node web/tests/engine.mjs MODULE NATIVE [EVENKEEL]
//
// MODULE: lab.wasm or lab.wasm.gz. NATIVE: the built example `native` of crates/lab. EVENKEEL: the program; with it one run is
// compared from end to end.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { load } from "./engine-module.mjs";

const [modulePath, native, evenkeel] = process.argv.slice(2);
const scenarios = resolve(import.meta.dirname, "../../scenarios");
const engine = load(modulePath);

const source = (name) => readFileSync(join(scenarios, `${name}.toml`), "utf8");
/** The files that a scenario refers to, by the path as written. */
const filesOf = (text) => {
  const names = [...text.matchAll(/"([\w./-]+\.(?:log|csv|jsonl|json|txt))"/g)].map((match) => match[1]);
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(scenarios, name), "utf8")]));
};
const run = (name, strategy, acts = [], replication = 0) => {
  const text = source(name);
  return { name, source: text, files: filesOf(text), strategy, seed: null, replication, acts, warmup: null };
};
const strike = (at, target, kind, rest = {}) => ({ at, act: { strike: { target, ...rest, kind } } });
const load_ = (at, factor) => ({ at, act: { set_load: { factor } } });

const cases = [
  run("even-load", "p2c"),
  run("even-load", "round_robin", [load_("20s", 1.2), load_("60s", 0.5)]),
  run("crash", "least_request"),
  run("crash", "random", [strike("10s", "web/web-4", { crash: { silent: true } }, { for: "5s" }), load_("40s", 1.5)]),
  run("slow-server", "peak_ewma"),
  run("cache-affinity", "consistent_hash"),
  run("hot-keys", "bounded_load"),
  run("two-tiers", "weighted_least_request"),
  run("retry-storm", "p2c(choices=3)"),
  run("hedging", "random", [], 1),
  run("probing", "prequal_synchronous"),
  run("autoscale", "least_request"),
  run("replayed-log", "maglev"),
  run("stale-reports", "load_report"),
  run("deploy", "join_idle_queue", [strike("15s", "gentle/*", { slow: { factor: 3 } }, { for: "4s", stagger: "1s" })]),
];

const expected = execFileSync(native, { input: cases.map((one) => `${JSON.stringify(one)}\n`).join(""), maxBuffer: 1 << 28 })
  .toString().trim().split("\n");
assert.equal(expected.length, cases.length);

for (const [index, one] of cases.entries()) {
  const what = `${one.name} ${one.strategy}${one.acts.length ? " with acts" : ""}`;
  const started = performance.now();
  engine.call({ op: "replication", ...one });
  assert.equal(engine.output(), expected[index], `${what}: in one go`);
  const took = performance.now() - started;
  const handle = engine.open(one);
  engine.trace(handle, true);
  let over = 0;
  for (let step = 1; !over; step++) {
    over = engine.stepUntil(handle, step / 60);
    if (step % 60 === 0) {
      engine.frame(handle);
      engine.metrics(handle);
      engine.events(handle);
    }
  }
  assert.equal(over, 1, what);
  engine.record(handle);
  assert.equal(engine.output(), expected[index], `${what}: in steps of 1/60 s`);
  engine.close(handle);
  const values = Object.keys(JSON.parse(expected[index]).values).length;
  console.log(`${what}: ${JSON.parse(expected[index]).pick_hash}, ${values} metrics, ${took.toFixed(0)} ms in one go`);
}

// Acts during a run have the effect of the same acts in a log.
{
  const plain = cases.find((one) => one.name === "crash" && one.acts.length);
  const handle = engine.open({ ...plain, acts: [] });
  for (const { at, act } of plain.acts) {
    engine.stepUntil(handle, Number.parseFloat(at));
    const acted = engine.act(handle, act);
    assert.equal(acted.at, Number.parseFloat(at) * 1e9);
  }
  assert.equal(engine.stepUntil(handle, 1e9), 1);
  engine.record(handle);
  assert.equal(engine.output(), expected[cases.indexOf(plain)]);
  engine.close(handle);
}

// Opening again and again, as for scrubbing, takes no more memory.
{
  const one = cases[0];
  const cycle = () => {
    const handle = engine.open(one);
    engine.trace(handle, true);
    engine.stepUntil(handle, 20);
    engine.events(handle);
    engine.close(handle);
  };
  for (let i = 0; i < 5; i++) cycle();
  const before = engine.memory();
  for (let i = 0; i < 30; i++) cycle();
  assert.equal(engine.memory(), before, "memory grows with every run that is opened and closed");
}

// Bad input is refused and changes nothing.
{
  const refused = (call) => {
    try {
      call();
    } catch (error) {
      return error.refusal ?? assert.fail(error);
    }
    return assert.fail("accepted");
  };
  assert.deepEqual(refused(() => engine.open({ ...cases[0], source: 'title = "x"\nduration = "1x"\n' })).line, 2);
  assert.match(refused(() => engine.open({ ...cases[0], strategy: "p3c" })).help, /did you mean/);
  assert.match(refused(() => engine.open("{")).message, /cannot be read/);
  assert.match(refused(() => engine.call({ op: "nothing" })).message, /cannot be read/);
  assert.match(refused(() => engine.record(99)).message, /handle 99/);
  engine.frame(99);
  assert.match(engine.output(), /handle 99/);
  assert.equal(engine.exports.lab_open(12345, 10), 0);
  const handle = engine.open(cases[0]);
  assert.match(refused(() => engine.act(handle, { set_load: { factor: 1e9 } })).message, /factor/);
  assert.match(refused(() => engine.act(handle, { strike: { target: "web/nobody", kind: { crash: {} } } })).message, /./);
  assert.match(refused(() => engine.record(handle)).message, /not over/);
  engine.close(handle);
  engine.close(handle);
  engine.close(12);
}

if (evenkeel) {
  const folder = mkdtempSync(join(tmpdir(), "evenkeel-lab-"));
  const { acts } = cases[3];
  const toml = acts.map(({ at, act }) => `[[acts]]\nat = "${at}"\nact = ${inline(act)}\n`).join("");
  writeFileSync(join(folder, "acts.toml"), toml);
  const words = ["run", join(scenarios, "crash.toml"), "--strategies", "random", "--replications", "1", "--quiet",
    "--acts", join(folder, "acts.toml"), "--out", folder];
  execFileSync(evenkeel, words, { stdio: ["ignore", "ignore", "inherit"] });
  const [header, row] = readFileSync(join(folder, "crash", "replications.csv"), "utf8").trim().split("\n").map((line) => line.split(","));
  const { values } = JSON.parse(expected[3]);
  const names = header.slice(6);
  assert.deepEqual(names.filter((name) => !(name in values)), [], "metrics that the engine does not have");
  for (const [at, name] of names.entries()) {
    const written = row[at + 6] === "" ? null : Number(row[at + 6]);
    // Files have ten significant digits.
    const value = values[name] === null ? null : Number(values[name].toPrecision(10));
    assert.equal(written, value, `${name}: the command line`);
  }
  console.log(`the command line: ${names.length} metrics are equal`);
  rmSync(folder, { recursive: true });
}

function inline(value) {
  if (value !== null && typeof value === "object") {
    return `{ ${Object.entries(value).map(([key, inner]) => `${key} = ${inline(inner)}`).join(", ")} }`;
  }
  return JSON.stringify(value);
}
console.log("the engine in WebAssembly gives the native numbers");
