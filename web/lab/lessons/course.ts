// The lessons, which one is open, and at which step. `stage.ts` puts its runs on the stage.
import { computed, signal } from "@preact/signals";
import packed from "virtual:lab-lessons";
import { tools } from "../client";
import type { Lesson } from "../engine";
import { unpackText } from "../engine/unpack";
import { open, progressOf, type Step, STEPS } from "./progress";

/** A lesson with its file's text, which the engine grades by. */
export interface Entry { source: string; lesson: Lesson }

export const entries = signal<Entry[]>([]);
export const loading = signal(true);
export const failure = signal<string | null>(null);
/** Name of the open lesson; null: the list. */
export const current = signal<string | null>(null);
export const step = signal<Step>("predict");
export const teacher = signal(false);
/** Answers are shown in teacher mode. */
export const revealed = signal(false);
/** Votes of a class, by option; as long as the page. */
export const votes = signal<number[]>([]);

export const entry = computed(() => entries.value.find((one) => one.lesson.name === current.value) ?? null);
export const following = computed(() => entries.value[entries.value.findIndex((one) => one.lesson.name === current.value) + 1] ?? null);

let reading: Promise<void> | null = null;

async function readAll(): Promise<void> {
  try {
    const texts = Object.values(JSON.parse(await unpackText(packed)) as Record<string, string>);
    const found = await Promise.all(texts.map(async (source) => ({ source, lesson: await tools.lesson(source) })));
    entries.value = found.sort((a, b) => a.lesson.number - b.lesson.number);
    if (!found.length) failure.value = "This page was built without lessons.";
  } catch (error) {
    failure.value = error instanceof Error ? error.message : String(error);
  } finally {
    loading.value = false;
  }
}

/** Reads the lessons once. */
export const read = (): Promise<void> => (reading ??= readAll());

/** The entry for a number, as a link has it, or a name. */
export const find = (which: string): Entry | null =>
  entries.value.find((one) => String(one.lesson.number) === which || one.lesson.name === which) ?? null;

/** The step that is asked for, or the farthest one that is open. */
export function allowed(name: string, wanted: Step | null): Step {
  const of = progressOf(name);
  if (wanted) return open(of, wanted) ? wanted : "predict";
  return of.guess == null ? "predict" : STEPS[Math.min(of.reached, STEPS.length - 1)];
}
