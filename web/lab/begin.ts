// What is shown first: what the address says, the scenario of `evenkeel lab FILE`, or the one that most readers start with.
import { scenarios } from "./gallery/scenarios";
import { isLesson, openLessons } from "./lessons/route";
import { play } from "./playback/driver";
import { load } from "./playback/session";
import { readLink } from "./share/link";
import { mode, refusal, type Scenario, scenario } from "./state";

const FIRST = "even-load";

/** As the program writes it into the page. */
interface Given extends Scenario { lesson: string | number | null }

export function given(): Given | null {
  const text = document.getElementById("evenkeel-lab")?.textContent?.trim();
  return text ? JSON.parse(text) as Given : null;
}

async function show(): Promise<void> {
  // Lessons follow the address themselves.
  if (isLesson(location.hash)) return;
  const link = await readLink(location.hash);
  if (mode.value === "lesson" && !link?.scenario) return;
  if (link?.scenario) {
    await load(link.scenario, link.setup);
    return;
  }
  const start = given();
  await load(start?.source ? start : (await scenarios()).find((one) => one.name === FIRST)!);
  if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) play();
}

const safely = (): Promise<void> => show().catch((error: unknown) => { if (!refusal.value) throw error; });

/** Loads the scenario that is shown where the address names none. */
export const first = safely;

export async function begin(): Promise<void> {
  // What is on the stage stays there, unless the new address names something else.
  window.addEventListener("hashchange", () => { if (!scenario.value || /(^|[#&])(scenario|z)=/.test(location.hash)) void safely(); });
  if (!openLessons()) await safely();
}
