// The clock: while the page plays, every picture asks the workers for the next moment. Hidden pages stand still.
import { effect, signal } from "@preact/signals";
import type { Trace } from "../engine/abi";
import { eventText } from "../stage/words";
import { clock, description, end, lanes, playing, reached, speed, stopAt } from "../state";
import { arrive, exclusive, idle, singles, step, stepSize, tracing } from "./lanes";
import { fail, seek } from "./session";

/** Milliseconds between two sets of metrics. */
const METRICS = 250;
/** A longer pause between two pictures is not made up for. */
const LONGEST = 100;

/** Whether the page can be seen: the tab is in front, and the lab is in the window. */
export const seen = signal(true);
/** Pictures that are drawn after each moment of the clock. */
export const painters = new Set<(now: number) => void>();

/** What the last single event was, in words. */
export const lastEvent = signal("");

let before = 0;
let metricsAt = 0;
let metricsCost = 0;

const target = (): number => Math.min(stopAt.value != null && stopAt.value > clock.value ? stopAt.value : Infinity, end.value);

async function moment(now: number, wall: number): Promise<void> {
  const from = clock.peek();
  const wanted = (wall / 1000) * speed.peek();
  const until = Math.min(target(), from + Math.min(wanted, stepSize()));
  const metrics = now - metricsAt > METRICS + 4 * metricsCost || until >= target();
  const events = singles();
  const started = performance.now();
  const ready = lanes.peek().filter((lane) => lane.time != null && !lane.error.peek());
  await Promise.all(ready.map(async (lane) => {
    try {
      arrive(lane, await step(lane, until, { events, metrics }));
    } catch (error) {
      fail(lane, error);
    }
  }));
  if (metrics) {
    metricsAt = now;
    metricsCost = performance.now() - started;
  }
  clock.value = until;
  reached.value += 0.1 * ((until - from) / (wall / 1000) - reached.peek());
  if (until >= target() - 1e-9) playing.value = false;
}

function picture(now: number): void {
  requestAnimationFrame(picture);
  const wall = Math.min(LONGEST, now - before);
  if (playing.peek() && seen.peek() && idle() && wall > 0) {
    before = now;
    exclusive(() => moment(now, wall)).catch((error) => { playing.value = false; console.error(error); });
  } else if (!playing.peek() || !seen.peek()) before = now;
  if (seen.peek()) for (const paint of painters) paint(now);
}

/** Starts the clock; `watched` is the element that must be in the window. */
export function drive(watched: Element): void {
  let inWindow = true;
  const look = () => { seen.value = inWindow && document.visibilityState === "visible"; };
  new IntersectionObserver((entries) => { inWindow = entries[entries.length - 1].isIntersecting; look(); }).observe(watched);
  document.addEventListener("visibilitychange", look);
  let before: Trace | null = null;
  effect(() => {
    void speed.value;
    const level = tracing();
    if (level !== before) for (const lane of lanes.peek()) void lane.client.trace(level).catch(() => {});
    before = level;
  });
  requestAnimationFrame(picture);
}

export function play(): void {
  lastEvent.value = "";
  if (clock.value >= end.value - 1e-9) void seek(0).then(() => { playing.value = true; });
  else playing.value = true;
  reached.value = speed.value;
}

export function pause(): void {
  playing.value = false;
}

export const toggle = (): void => (playing.value ? pause() : play());

/** The next visible event of the first lane; the others follow to its time. */
export async function oneEvent(): Promise<void> {
  pause();
  await exclusive(async () => {
    const [first, ...others] = lanes.value.filter((lane) => lane.time != null && !lane.error.value);
    if (!first) return;
    const want = { events: true, metrics: true };
    const advance = await first.client.event(want);
    arrive(first, advance);
    if (description.value && advance.events) lastEvent.value = eventText(description.value, advance.events);
    await Promise.all(others.map(async (lane) => arrive(lane, await step(lane, first.time!, want))));
    clock.value = first.time!;
  });
}

export const restart = (): Promise<void> => seek(0);
