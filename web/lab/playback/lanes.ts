// How lanes move in time: results of their workers, one operation at a time, in steps that a worker finishes quickly.
import type { Trace } from "../engine/abi";
import type { Advance, Want } from "../engine/messages";
import { Frame } from "../frame";
import { end, type Lane, settings, speed } from "../state";
import { rate } from "./speeds";

/** A step should take a worker this long, in milliseconds. */
const STEP = 40;
/** Below this many requests per second of the reader's time single requests are shown. */
export const VISIBLE_RATE = 400;

/** Milliseconds of a worker's time per second of the run; a moving average over all lanes. */
let cost = 0.5;

export const costPerSecond = (): number => cost;

/** Seconds of the run that a worker simulates in one step. */
export const stepSize = (): number => STEP / Math.max(cost, 1e-6);

/** Whether requests are shown one by one at the present speed. */
export function singles(): boolean {
  return rate.value * speed.value <= VISIBLE_RATE;
}

/** What the workers collect: decisions for the inspector, events for pictures of single requests. */
export const tracing = (): Trace => (settings.trace.value ? 1 : singles() ? 2 : 0);

/** Takes over what a worker has answered. */
export function arrive(lane: Lane, advance: Advance, jumped = false): void {
  const frame = new Frame(advance.frame);
  const before = lane.time;
  if (jumped) for (const reset of lane.resets) reset();
  else if (advance.events?.length) for (const listener of lane.listeners) listener(advance.events, frame);
  lane.time = advance.over ? Math.min(frame.time, end.peek()) : frame.time;
  lane.frame.value = frame;
  lane.over.value = advance.over;
  if (advance.metrics) lane.metrics.value = advance.metrics;
  const passed = frame.time - (before ?? 0);
  if (before != null && passed > 0 && advance.cost > 0.05) cost += 0.15 * (advance.cost / passed - cost);
}

/** Time in which requests that are under way at the end of a run end, in seconds; a run is over as soon as there are none. */
const DRAIN = 1e5;

/** A step of a lane; a step to the end of the run lets the last requests end, as the command line does. */
export const step = (lane: Lane, until: number, want: Want): Promise<Advance> =>
  lane.client.stepUntil(until >= end.peek() - 1e-9 ? until + DRAIN : until, want);

/** Simulates a lane up to a time, in steps. */
export async function follow(lane: Lane, target: number, current: () => boolean, report: () => void): Promise<void> {
  let jumped = false;
  while (current() && lane.time != null && lane.time < target - 1e-9 && !lane.over.value) {
    const until = Math.min(target, lane.time + Math.max(stepSize(), 1e-4));
    arrive(lane, await step(lane, until, { events: false, metrics: until >= target }), true);
    jumped = true;
    report();
  }
  if (!jumped && current() && lane.time != null) arrive(lane, await step(lane, lane.time, { events: false, metrics: true }));
}

let last: Promise<unknown> = Promise.resolve();
let waiting = 0;

/** Runs after what came before it: lanes are at one time, or on the way to it, never both. */
export function exclusive<T>(work: () => Promise<T>): Promise<T> {
  waiting += 1;
  const mine = last.then(work).finally(() => { waiting -= 1; });
  last = mine.catch(() => {});
  return mine;
}

export const idle = (): boolean => waiting === 0;
