// Ten whole runs per strategy in the background, each with its own randomness: what one run cannot say.
import { effect, signal } from "@preact/signals";
import { Client, tools } from "../client";
import type { OpenRequest, RunResult, Summary } from "../engine";
import { acts, description, lanes, scenario, seed, source } from "../state";

const RUNS = 10;

export const summary = signal<Summary | null>(null);
const done = signal<number | null>(null);
const problem = signal<string | null>(null);
let generation = 0;

// Another scenario, setting, strategy or act makes the results void.
effect(() => {
  void [source.value, seed.value, acts.value, lanes.value, scenario.value];
  generation += 1;
  summary.value = null;
  done.value = null;
  problem.value = null;
});

const workers = () => Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1));

async function replicate(): Promise<void> {
  const mine = ++generation;
  const { name, files } = scenario.value!;
  const strategies = lanes.value.map((lane) => lane.strategy);
  const base = { name, files, source: source.value, seed: seed.value, acts: acts.value, warmup: description.value?.auto_warmup ? description.value.warmup : null };
  const queue: OpenRequest[] = [];
  for (let replication = 0; replication < RUNS; replication++) for (const strategy of strategies) queue.push({ ...base, strategy, replication });
  const results: RunResult[][] = strategies.map(() => []);
  const total = queue.length;
  done.value = 0;
  let finished = 0;
  const clients = Array.from({ length: Math.min(workers(), total) }, () => new Client());
  try {
    await Promise.all(clients.map(async (client) => {
      for (let next = queue.shift(); next && mine === generation; next = queue.shift()) {
        results[strategies.indexOf(next.strategy)][next.replication] = await client.call<RunResult>({ op: "replication", ...next });
        finished += 1;
        if (mine === generation) done.value = finished / total;
      }
    }));
    if (mine !== generation) return;
    const told = await tools.summary(name, base.source, files, strategies.map((strategy, i) => ({ strategy, values: results[i].map((one) => one.values) })));
    if (mine === generation) summary.value = told;
  } catch (error) {
    if (mine === generation) problem.value = error instanceof Error ? error.message : String(error);
  } finally {
    clients.forEach((client) => client.dispose());
    if (mine === generation) done.value = null;
  }
}

export function Replications() {
  const told = summary.value;
  return (
    <div class="replications">
      {told
        ? <ul class="short" role="status">{told.answer.map((text) => <li key={text}>{text}</li>)}</ul>
        : done.value == null
          ? <button type="button" class="quiet" onClick={() => void replicate()}>{RUNS} replications</button>
          : <p class="note running" role="status"><progress max={1} value={done.value} aria-label="Replications" /> {Math.round(100 * done.value)} % of {RUNS} runs per strategy <button type="button" class="link" onClick={() => { generation += 1; done.value = null; }}>Stop</button></p>}
      {!told && done.value == null && <span class="note">Whole runs with other randomness, for intervals: one run is one sample.</span>}
      {problem.value && <p class="refused" role="alert">{problem.value}</p>}
    </div>
  );
}
