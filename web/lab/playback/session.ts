// Everything that changes what is shown: another scenario, setting, strategy, seed, act, time. Lanes then catch up with the clock.
import { batch } from "@preact/signals";
import { RefusedError, tools } from "../client";
import type { Act, Description, OpenRequest, Refusal, TimedAct } from "../engine";
import {
  acts, catalog, type Change, changes, clock, description, end, Lane, lanes, LANES, laneStyle, playing, progress, refusal, request, type Scenario, scenario, seed, selected,
  source, speed, stopAt,
} from "../state";
import { arrive, costPerSecond, exclusive, follow, singles, step, tracing } from "./lanes";
import { presets, rate } from "./speeds";

/** A longer way back to the present time after a change is not worth the wait: the run starts again instead. */
const PATIENCE = 4000;

export const asRefusal = (error: unknown): Refusal =>
  error instanceof RefusedError ? error.refusal : { message: error instanceof Error ? error.message : String(error), help: null, line: null, column: null };

let generation = 0;

function openRequest(lane: Lane): OpenRequest {
  const { name, files } = scenario.value!;
  return { name, source: source.value, files, strategy: lane.strategy, seed: seed.value, replication: 0, acts: acts.value,
    warmup: description.value?.auto_warmup ? description.value.warmup : null };
}

/** A lane that cannot go on says why; its worker is replaced if it is lost. */
export function fail(lane: Lane, error: unknown): void {
  if (!(error instanceof RefusedError)) lane.renew();
  lane.time = null;
  lane.error.value = asRefusal(error);
}

/** What a lane needs to be at a time. */
async function bring(lane: Lane, target: number, current: () => boolean, report: () => void): Promise<void> {
  try {
    if (lane.time == null || lane.time > target + 1e-9) {
      for (const reset of lane.resets) reset();
      lane.error.value = null;
      lane.time = null;
      arrive(lane, await lane.client.open(openRequest(lane), tracing()), true);
    }
    await follow(lane, target, current, report);
  } catch (error) {
    fail(lane, error);
  }
}

/** Brings all lanes to a time; what is asked later takes precedence. */
export async function seek(target: number): Promise<void> {
  const mine = ++generation;
  const current = () => mine === generation;
  const to = Math.max(0, Math.min(target, end.value));
  await exclusive(async () => {
    if (!current() || !description.value) return;
    const all = lanes.value;
    const started = performance.now();
    const report = () => {
      const least = Math.min(...all.map((lane) => (lane.error.value ? to : lane.time ?? 0)));
      if (performance.now() - started > 150) progress.value = to > 0 ? least / to : 1;
    };
    await Promise.all(all.map((lane) => bring(lane, to, current, report)));
    if (!current()) return;
    batch(() => { clock.value = to; progress.value = null; });
  });
}

/** The present time if the way there is short, else 0. */
function keepable(): number {
  const ready = clock.value * costPerSecond();
  return ready <= PATIENCE ? clock.value : 0;
}

const reopen = (target: number): Promise<void> => {
  for (const lane of lanes.value) lane.time = null;
  return seek(target);
};

export interface Setup {
  changes?: Change[];
  strategies?: string[];
  seed?: number | null;
  acts?: TimedAct[];
  at?: number;
  play?: boolean;
  speed?: number;
  stopAt?: number | null;
}

/** Two strategies that most readers know, or what the scenario has. */
function usual(of: Description): string[] {
  const labels = of.strategies.map((one) => one.label);
  const wanted = ["random", "round_robin", "p2c", "least_request", "consistent_hash"].filter((name) => labels.includes(name));
  if (wanted.includes("random") && wanted.includes("p2c")) return ["random", "p2c"];
  return (wanted.length >= 2 ? wanted : labels).slice(0, 2);
}

function setLanes(strategies: string[]): void {
  const old = lanes.value;
  const next = strategies.slice(0, LANES).map((strategy, place) => {
    const lane = old[place] ?? new Lane(strategy, laneStyle(place));
    if (lane.strategy !== strategy) {
      lane.strategy = strategy;
      lane.time = null;
    }
    return lane;
  });
  for (const lane of old.slice(next.length)) lane.client.dispose();
  // Lanes are objects with a changing strategy: a new array tells the page.
  lanes.value = next;
}

/** Shows a scenario; everything that is not given starts from the scenario's own values. */
export async function load(next: Scenario, setup: Setup = {}): Promise<void> {
  ++generation;
  playing.value = false;
  try {
    catalog.value ??= await tools.catalog();
    const text = setup.changes?.length ? (await tools.edit(next.source, setup.changes)).source : next.source;
    const found = await tools.describe(next.name, text, next.files);
    batch(() => {
      scenario.value = next;
      changes.value = setup.changes ?? [];
      source.value = text;
      description.value = found;
      refusal.value = null;
      seed.value = setup.seed ?? null;
      acts.value = setup.acts ?? [];
      stopAt.value = setup.stopAt ?? null;
      selected.value = null;
      request.value = null;
      clock.value = 0;
      setLanes(setup.strategies?.length ? setup.strategies : usual(found));
    });
  } catch (error) {
    refusal.value = asRefusal(error);
    throw error;
  }
  await survey();
  speed.value = setup.speed ?? presets.value[0].speed;
  await reopen(setup.at ?? opening());
  if (setup.play) playing.value = true;
}

/** Finds the rate of the arrivals and how fast the workers are, by a glance at the beginning of the run. */
async function survey(): Promise<void> {
  const [lane] = lanes.value;
  const known = rate.value;
  rate.value = 0;
  for (let share = 0.002; share < 0.2; share *= 3) {
    await seek(end.value * share);
    const frame = lane?.frame.value;
    if (!frame || lane.error.value) break;
    if (frame.arrived >= 60 || share >= 0.05) {
      rate.value = frame.time > 0 ? frame.arrived / frame.time : known;
      break;
    }
  }
}

/** Milliseconds of simulation before the first picture. */
const FIRST_PICTURE = 600;

/** Where a reader starts: when there are numbers already, and before anything breaks. */
function opening(): number {
  const of = description.value!;
  const first = Math.min(...of.faults.map((one) => one.at), Infinity);
  const wanted = Math.min(of.warmup + 0.25 * of.duration, Math.max(0, first - 0.02 * of.duration));
  return wanted * costPerSecond() <= FIRST_PICTURE ? wanted : Math.min(wanted, FIRST_PICTURE / costPerSecond());
}

/** Sets keys of the scenario; the run goes on from the present time where that is near. */
export async function change(more: Change[]): Promise<void> {
  const base = scenario.value;
  if (!base) return;
  const next = [...changes.value.filter((old) => !more.some((one) => one.key === old.key)), ...more];
  await apply(next);
}

/** Replaces all changes; [] is the scenario as it was. */
export async function apply(next: Change[]): Promise<void> {
  const base = scenario.value;
  if (!base) return;
  const mine = ++generation;
  try {
    const text = next.length ? (await tools.edit(base.source, next)).source : base.source;
    const found = await tools.describe(base.name, text, base.files);
    if (mine !== generation) return;
    const at = keepable();
    batch(() => {
      changes.value = next;
      source.value = text;
      description.value = found;
      refusal.value = null;
      if (selected.value && selected.value.server >= found.pools.reduce((sum, pool) => sum + pool.servers.length, 0)) selected.value = null;
      clock.value = Math.min(at, end.value);
    });
    await reopen(at);
  } catch (error) {
    if (mine === generation) refusal.value = asRefusal(error);
  }
}

/** Strategies of the lanes, in order; lanes that keep theirs go on. */
export async function setStrategies(strategies: string[]): Promise<void> {
  const at = keepable();
  setLanes(strategies);
  if (at < clock.value) await reopen(at);
  else await seek(clock.value);
}

export async function setSeed(next: number | null): Promise<void> {
  seed.value = next;
  await reopen(keepable());
}

const nanoseconds = (one: TimedAct): number => {
  const m = /^([\d.]+)\s*(ns|us|µs|ms|s|m|min|h)?$/.exec(one.at);
  const unit: Record<string, number> = { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9, m: 60e9, min: 60e9, h: 3600e9 };
  return m ? Number(m[1]) * unit[m[2] ?? "s"] : 0;
};

/** Time of an act in seconds. */
export const actTime = (one: TimedAct): number => nanoseconds(one) / 1e9;

/** A fault or a change of the load now, in all lanes. Throws what the engine refuses. */
export async function act(what: Act): Promise<void> {
  await exclusive(async () => {
    const ready = lanes.value.filter((lane) => lane.time != null);
    const [first] = await Promise.all(ready.map((lane) => lane.client.act(what)));
    if (!first) return;
    const timed: TimedAct = { at: `${first.at}ns`, act: what };
    acts.value = [...acts.value, timed].sort((a, b) => nanoseconds(a) - nanoseconds(b));
    // What it changes is shown at once, also while the clock stands still.
    await Promise.all(ready.map(async (lane) => arrive(lane, await step(lane, lane.time!, { events: singles(), metrics: true }))));
  });
}

/** Takes back an act, or all of them. */
export async function setActs(next: TimedAct[]): Promise<void> {
  acts.value = next;
  await reopen(keepable());
}
