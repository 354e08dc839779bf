// How far the reader is in each lesson. Kept in memory, and in the browser's storage where that is allowed.
import { signal } from "@preact/signals";

export const STEPS = ["predict", "watch", "explain", "challenge"] as const;
export type Step = (typeof STEPS)[number];

export interface Progress {
  /** Place of the option that was chosen before the run; null: none yet. */
  guess: number | null;
  /** The farthest step that was reached, as its place in STEPS. */
  reached: number;
  solved: boolean;
  /** The challenge's text as the reader has left it; null: as shipped. */
  solution: string | null;
  hints: number;
}

const KEY = "evenkeel-lessons";
const FRESH: Progress = { guess: null, reached: 0, solved: false, solution: null, hints: 0 };

function valid(one: unknown): one is Partial<Progress> {
  return typeof one === "object" && one !== null;
}

function read(): Record<string, Progress> {
  try {
    const all = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Record<string, unknown>;
    return Object.fromEntries(Object.entries(all).filter(([, one]) => valid(one)).map(([name, one]) => {
      const p = one as Partial<Progress>;
      return [name, {
        guess: typeof p.guess === "number" ? p.guess : null, reached: typeof p.reached === "number" ? Math.min(3, Math.max(0, p.reached)) : 0,
        solved: p.solved === true, solution: typeof p.solution === "string" ? p.solution : null, hints: typeof p.hints === "number" ? p.hints : 0,
      }];
    }));
  } catch {
    return {};
  }
}

/** By the lesson's name. */
const all = signal<Record<string, Progress>>(read());

export const progressOf = (lesson: string): Progress => all.value[lesson] ?? FRESH;

export function note(lesson: string, more: Partial<Progress>): void {
  const old = progressOf(lesson);
  const next = { ...old, ...more, reached: Math.max(more.guess === null ? 0 : old.reached, more.reached ?? 0) };
  all.value = { ...all.value, [lesson]: next };
  try {
    localStorage.setItem(KEY, JSON.stringify(all.value));
  } catch {
    // The progress then lasts as long as the page.
  }
}

/** The lesson as if it had never been opened. */
export function forget(lesson: string): void {
  const { [lesson]: _, ...rest } = all.value;
  all.value = rest;
  try {
    localStorage.setItem(KEY, JSON.stringify(rest));
  } catch {
    // As above.
  }
}

/** Whether a step may be opened: nothing runs before a guess is committed. */
export const open = (of: Progress, step: Step): boolean => step === "predict" || of.guess != null;

/** `solved`, `2 of 4 steps`, `not begun`. */
export function words(of: Progress): string {
  if (of.solved) return "solved";
  if (of.guess == null) return "not begun";
  return `${Math.max(1, of.reached)} of 4 steps`;
}
