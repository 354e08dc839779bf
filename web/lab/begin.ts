// What is shown first: the scenario of `evenkeel lab FILE`, or the one that most readers start with.
import { scenarios } from "./gallery/scenarios";
import { openLessons } from "./lessons/route";
import { load } from "./playback/session";
import { refusal, type Scenario } from "./state";

const FIRST = "even-load";

/** As the program writes it into the page. */
interface Given extends Scenario { lesson: string | number | null }

export function given(): Given | null {
  const text = document.getElementById("evenkeel-lab")?.textContent?.trim();
  return text ? JSON.parse(text) as Given : null;
}

/** Loads the scenario that is shown first. */
export async function first(): Promise<void> {
  const start = given();
  try {
    if (start?.source) await load(start);
    else await load((await scenarios()).find((one) => one.name === FIRST)!);
  } catch (error) {
    if (!refusal.value) throw error;
  }
}

export async function begin(): Promise<void> {
  if (!openLessons()) await first();
}
