// Puts a lesson's runs on the page's stage: the one to watch, and the challenge as the reader has changed it.
import { signal } from "@preact/signals";
import { tools } from "../client";
import type { Description, Refusal } from "../engine";
import { play } from "../playback/driver";
import { asRefusal, load, seek } from "../playback/session";
import { clock, playing, scenario, settings, stopAt } from "../state";
import type { Entry } from "./course";
import { note, progressOf } from "./progress";

export const problem = signal<string | null>(null);
/** The run to watch is being put on the stage. */
export const arriving = signal(false);

const watchName = (of: Entry) => `lesson-${of.lesson.number}`;
const challengeName = (of: Entry) => `challenge-${of.lesson.number}`;

export const watching = (of: Entry): boolean => scenario.value?.name === watchName(of);

/** The run to watch, at its beginning, unless it is on the stage already. */
export async function showWatch(of: Entry): Promise<void> {
  settings.alone.value = false;
  settings.panel.value = false;
  settings.mayChange.value = [];
  const { watch } = of.lesson;
  if (watching(of)) return;
  problem.value = null;
  arriving.value = true;
  try {
    await load({ name: watchName(of), source: watch.scenario, files: {} }, { strategies: watch.strategies, seed: watch.seed, stopAt: watch.until, at: 0, speed: watch.speed });
  } catch (error) {
    problem.value = asRefusal(error).message;
  } finally {
    arriving.value = false;
  }
}

/** Plays on, or from the beginning where the end is reached. */
export async function playOn(of: Entry): Promise<void> {
  const { until } = of.lesson.watch;
  if (clock.value >= until - 1e-6) await seek(0);
  stopAt.value = until;
  play();
}

/** To the end of what is watched, without playing. */
export async function finish(of: Entry): Promise<void> {
  playing.value = false;
  if (clock.value < of.lesson.watch.until - 1e-6) await seek(of.lesson.watch.until);
}

/** The challenge: its text, whether it can be read, and its settings. */
export const text = signal("");
export const refusal = signal<Refusal | null>(null);
export const described = signal<Description | null>(null);
export const asShipped = signal<Description | null>(null);

let edits = 0;
let waiting: ReturnType<typeof setTimeout> | undefined;

const MOST_LANES = 4;

async function adopt(of: Entry, next: string): Promise<void> {
  const mine = ++edits;
  try {
    const found = await tools.describe(challengeName(of), next, {});
    if (mine !== edits) return;
    refusal.value = null;
    described.value = found;
    await load({ name: challengeName(of), source: next, files: {} }, { strategies: found.strategies.slice(0, MOST_LANES).map((one) => one.label), at: 0, speed: of.lesson.watch.speed });
  } catch (error) {
    if (mine === edits) refusal.value = asRefusal(error);
  }
}

/** A pause in typing before the text is read, in milliseconds. */
const PAUSE = 350;

/** Takes a new text over; `soon` waits for a pause in typing. */
export function setText(of: Entry, next: string, soon = false): void {
  if (next === text.value && described.value) return;
  text.value = next;
  edits += 1;
  note(of.lesson.name, { solution: next === of.lesson.challenge.scenario ? null : next });
  clearTimeout(waiting);
  if (soon) waiting = setTimeout(() => void adopt(of, next), PAUSE);
  else void adopt(of, next);
}

/** Sets keys of the text; comments and layout stay. */
export async function setKeys(of: Entry, changes: { key: string; value: string | null }[]): Promise<void> {
  try {
    setText(of, (await tools.edit(text.value, changes)).source);
  } catch (error) {
    refusal.value = asRefusal(error);
  }
}

/** The challenge as the reader left it. */
export function showChallenge(of: Entry): void {
  settings.alone.value = false;
  settings.panel.value = false;
  settings.mayChange.value = [];
  problem.value = null;
  text.value = "";
  described.value = null;
  asShipped.value = null;
  tools.describe(challengeName(of), of.lesson.challenge.scenario, {}).then((found) => { asShipped.value = found; }, () => {});
  setText(of, progressOf(of.lesson.name).solution ?? of.lesson.challenge.scenario);
}
