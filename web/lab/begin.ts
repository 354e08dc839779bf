// What is shown first: what the address says, the scenario of `evenkeel lab FILE`, or the one that most readers start with.
import { scenarios } from "./gallery/scenarios";
import { play } from "./playback/driver";
import { load } from "./playback/session";
import { readLink } from "./share/link";
import { mode, refusal, type Scenario } from "./state";

const FIRST = "even-load";

/** As the program writes it into the page. */
interface Given extends Scenario { lesson: string | number | null }

export function given(): Given | null {
  const text = document.getElementById("evenkeel-lab")?.textContent?.trim();
  return text ? JSON.parse(text) as Given : null;
}

async function show(): Promise<void> {
  const link = await readLink(location.hash);
  const start = given();
  if (start?.lesson != null) mode.value = "lesson";
  if (mode.value === "lesson" && !link?.scenario) return;
  if (link?.scenario) {
    await load(link.scenario, link.setup);
    return;
  }
  await load(start?.source ? start : (await scenarios()).find((one) => one.name === FIRST)!);
  play();
}

export async function begin(): Promise<void> {
  const safely = () => show().catch((error: unknown) => { if (!refusal.value) throw error; });
  window.addEventListener("hashchange", () => void safely());
  await safely();
}
