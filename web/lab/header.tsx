// The bar at the top.
import { choice, choose, type Choice } from "../shared/theme";
import { overlay } from "./overlay";
import { mode, scenario } from "./state";

const THEMES: [Choice, string, string][] = [["auto", "◐", "as the system"], ["light", "○", "light"], ["dark", "●", "dark"]];

export function Header() {
  const now = Math.max(0, THEMES.findIndex(([key]) => key === choice.value));
  const next = (now + 1) % THEMES.length;
  return (
    <header class="bar">
      <div class="bar-in">
        <span class="brand">evenkeel <span class="soft">lab</span></span>
        <button type="button" class="scenario-button" onClick={() => { overlay.value = "gallery"; }}><span class="mono">{scenario.value?.name ?? "scenarios"}</span> <span aria-hidden="true">▾</span><span class="unseen"> choose a scenario</span></button>
        <nav class="segmented modes" aria-label="Mode">
          <a href="#" aria-current={mode.value === "explore" ? "page" : undefined}>Explore</a>
          <a href="#lessons" aria-current={mode.value === "lesson" ? "page" : undefined}>Lessons</a>
        </nav>
        <span class="gap" />
        <button type="button" class="quiet" onClick={() => { overlay.value = "share"; }}>Share</button>
        <button type="button" class="quiet help-button" aria-label="Help and keys" title="Help and keys (?)" onClick={() => { overlay.value = "help"; }}>?</button>
        <button type="button" class="quiet theme" aria-label={`Colour theme: ${THEMES[now][2]}. Change to ${THEMES[next][2]}.`} title={`Colours: ${THEMES[now][2]}`} onClick={() => choose(THEMES[next][0])}><span aria-hidden="true">{THEMES[now][1]}</span></button>
      </div>
    </header>
  );
}
