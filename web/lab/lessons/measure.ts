// The numbers of a watched run, to its end, and grades: both in a worker of their own, so that the page stays quick.
import { Client } from "../client";
import type { Grade, OpenRequest, RunResult, TimedAct } from "../engine";
import type { Entry } from "./course";
import type { Measured } from "./numbers";

let worker: Client | null = null;

const desk = (): Client => (worker ??= new Client());

/** Ends what the worker is doing; the next call starts another. */
export function stop(): void {
  worker?.dispose();
  worker = null;
}

const known = new Map<string, Map<string, Measured>>();

/** By strategy: the same run as on the stage, with the same acts, drained. */
export async function measure(of: Entry, acts: TimedAct[]): Promise<Map<string, Measured>> {
  const { watch, number } = of.lesson;
  const key = JSON.stringify([of.lesson.name, acts]);
  const before = known.get(key);
  if (before) return before;
  const found = new Map<string, Measured>();
  for (const strategy of watch.strategies) {
    const request: OpenRequest = { name: `lesson-${number}`, source: watch.scenario, files: {}, strategy, seed: watch.seed, replication: 0, acts, warmup: null };
    const result = await desk().call<RunResult>({ op: "replication", ...request });
    found.set(strategy, { count: result.measured, values: result.values });
  }
  known.set(key, found);
  return found;
}

export const grade = (of: Entry, solution: string): Promise<Grade> => desk().call<Grade>({ op: "grade", lesson: of.source, solution });
