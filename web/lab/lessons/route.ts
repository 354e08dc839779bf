// Follows the address: which lesson and which step is shown.
import { first, given } from "../begin";
import { mode, playing, scenario, settings, stopAt } from "../state";
import { format, parse, type Route } from "./address";
import { allowed, current, find, read, revealed, step, teacher, votes } from "./course";
import { note, progressOf, type Step, STEPS } from "./progress";
import { watching } from "./stage";

/** Address within the page, in the present mode. */
export const href = (lesson: number | null, to: Step | null = null): string =>
  format({ lesson: lesson == null ? null : String(lesson), step: to, teacher: teacher.value, embed: settings.embedded.value });

async function apply(route: Route): Promise<void> {
  teacher.value = route.teacher;
  settings.big.value = route.teacher;
  settings.embedded.value = route.embed;
  if (mode.value !== "lesson") settings.alone.value = true;
  mode.value = "lesson";
  playing.value = false;
  await read();
  const found = route.lesson == null ? null : find(route.lesson);
  if (current.value !== (found?.lesson.name ?? null)) {
    revealed.value = false;
    votes.value = [];
  }
  if (found) step.value = allowed(found.lesson.name, route.step);
  current.value = found?.lesson.name ?? null;
  // The other steps put their run on the stage.
  settings.alone.value = !found || (step.value === "predict" && (progressOf(found.lesson.name).guess == null || !watching(found)));
}

/** The page as it is without lessons; what is on the stage stays there. */
export function leave(): void {
  settings.alone.value = false;
  settings.mayChange.value = null;
  settings.big.value = false;
  settings.panel.value = true;
  stopAt.value = null;
  if (!scenario.value) void first();
}

function follow(): void {
  const route = parse(location.hash);
  if (route) void apply(route);
  else if (mode.value === "lesson") {
    current.value = null;
    mode.value = "explore";
  }
}

/** Goes to a step of the open lesson; the address says so, and Back leads back. */
export function go(number: number, to: Step): void {
  const name = current.value;
  if (name) note(name, { reached: STEPS.indexOf(to) });
  location.hash = href(number, to);
}

/** Whether an address is one of the lessons'. */
export const isLesson = (hash: string): boolean => parse(hash) != null;

/** Listens to the address from now on. True if lessons are asked for: by the address, or by the program that wrote the page. */
export function openLessons(): boolean {
  addEventListener("hashchange", follow);
  const wanted = given()?.lesson;
  const route = parse(location.hash) ?? (wanted == null ? null : { lesson: String(wanted), step: null, teacher: false, embed: false });
  if (!route) return false;
  void apply(route);
  return true;
}
