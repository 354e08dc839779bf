// What is shown first: the scenario of `evenkeel lab FILE`, or the one that most readers start with.
import { scenarios } from "./gallery/scenarios";
import { load } from "./playback/session";
import { mode, refusal, type Scenario } from "./state";

const FIRST = "even-load";

/** As the program writes it into the page. */
interface Given extends Scenario { lesson: string | number | null }

export function given(): Given | null {
  const text = document.getElementById("evenkeel-lab")?.textContent?.trim();
  return text ? JSON.parse(text) as Given : null;
}

export async function begin(): Promise<void> {
  const start = given();
  if (start?.lesson != null) mode.value = "lesson";
  try {
    if (start?.source) await load(start);
    else await load((await scenarios()).find((one) => one.name === FIRST)!);
  } catch (error) {
    if (!refusal.value) throw error;
  }
}
