// Speeds that make sense for a scenario: slow enough to see requests, or fast enough to see results.
import { computed, signal } from "@preact/signals";
import { end } from "../state";

export const SLOWEST = 0.001;
export const FASTEST = 1000;
/** Requests per second of the reader's time that can be followed with the eyes. */
const FOLLOWED = 18;
/** Seconds in which the fast preset shows a whole run. */
const WHOLE = 30;

/** Requests per second at the start of the run; 0 until it is known. */
export const rate = signal(0);

const limit = (value: number) => Math.min(FASTEST, Math.max(SLOWEST, value));
/** Two digits are enough for a speed. */
const plain = (value: number) => Number(value.toPrecision(value < 1 ? 1 : 2));

export const presets = computed<{ name: string; speed: number; doc: string }[]>(() => [
  { name: "requests", speed: limit(plain(FOLLOWED / Math.max(rate.value, 0.02))), doc: "slow: single requests can be followed" },
  { name: "real time", speed: 1, doc: "a second of the run per second" },
  { name: "results", speed: limit(plain(Math.max(1, end.value / WHOLE))), doc: `fast: the whole run in ${WHOLE} s` },
]);

export const speedText = (value: number): string => `${Number(value.toPrecision(value < 1 ? 2 : 3))}x`;
