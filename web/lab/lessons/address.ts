// Addresses of lessons: `#lessons`, `#lesson-7`, `#lesson-7/challenge`, each with `&teacher` or `&embed`; `#teacher` is the list for
// teachers.
import { type Step, STEPS } from "./progress";

export interface Route { lesson: string | null; step: Step | null; teacher: boolean; embed: boolean }

export function parse(hash: string): Route | null {
  const [place, ...flags] = hash.replace(/^#/, "").split("&");
  const m = /^(?:lessons|teacher|lesson-([a-z0-9-]+?)(?:\/([a-z]+))?)$/.exec(place);
  if (!m) return null;
  return {
    lesson: m[1] ?? null, step: STEPS.find((one) => one === m[2]) ?? null,
    teacher: place === "teacher" || flags.includes("teacher"), embed: flags.includes("embed"),
  };
}

export function format(route: Partial<Route>): string {
  const place = route.lesson == null ? "lessons" : `lesson-${route.lesson}${route.step && route.step !== "predict" ? `/${route.step}` : ""}`;
  return `#${place}${route.teacher ? "&teacher" : ""}${route.embed ? "&embed" : ""}`;
}
