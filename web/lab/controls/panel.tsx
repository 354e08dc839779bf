// The panel beside the lanes: settings, faults, and what is inside a lane.
import { Inspector } from "../inspector";
import { lanes, selected, settings } from "../state";
import { Faults } from "./faults";
import { Settings } from "./settings";

const TABS = [["settings", "Settings"], ["faults", "Faults"], ["inspector", "Inspector"]] as const;

export function Panel() {
  if (!settings.panel.value || !lanes.value.length) return null;
  const now = settings.tab.value;
  const keyed = (event: KeyboardEvent) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const next = TABS[(TABS.findIndex(([key]) => key === now) + step + TABS.length) % TABS.length][0];
    settings.tab.value = next;
    document.getElementById(`tab-${next}`)?.focus();
  };
  const lane = lanes.value[selected.value?.lane ?? 0] ?? lanes.value[0];
  return (
    <aside class="panel-side" id="panel" tabIndex={-1} aria-label="Settings, faults and inspector">
      <div class="tabs" role="tablist" aria-label="Panel" onKeyDown={keyed}>
        {TABS.map(([key, text]) => (
          <button type="button" role="tab" id={`tab-${key}`} key={key} aria-selected={key === now} aria-controls="panel-body" tabIndex={key === now ? 0 : -1} onClick={() => { settings.tab.value = key; }}>{text}</button>
        ))}
      </div>
      <div id="panel-body" role="tabpanel" aria-labelledby={`tab-${now}`} class="panel-body" tabIndex={0}>
        {now === "settings" && <Settings />}
        {now === "faults" && <Faults />}
        {now === "inspector" && <Inspector lane={lane} />}
      </div>
    </aside>
  );
}
