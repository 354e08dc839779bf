// The keyboard: one key for each thing that playback can do. `HELP` documents them; the overlay shows it.
import { overlay } from "../overlay";
import { clock, end, mode, settings, speed } from "../state";
import { oneEvent, restart, toggle } from "./driver";
import { seek } from "./session";
import { FASTEST, presets, SLOWEST } from "./speeds";

export const HELP: [string, string][] = [
  ["space", "play or pause"], [".", "one event"], ["R", "back to the start"], ["End", "to the end of the run"],
  ["← →", "1 % of the run back or forward; with shift 10 %"], ["[ ]", "half or twice the speed"], ["1 2 3", "speed: single requests, real time, results"],
  ["Tab, then ↓ ↑", "choose a server in a lane; Enter looks into it, Escape leaves it"],
  ["S F I", "panel: settings, faults, inspector"], ["G", "scenarios"], ["L", "lessons"], ["H", "share"], ["?", "this help"],
];

const setSpeed = (value: number) => { speed.value = Number(Math.min(FASTEST, Math.max(SLOWEST, value)).toPrecision(2)); };
const panel = (tab: typeof settings.tab.value) => {
  settings.panel.value = true;
  settings.tab.value = tab;
  document.getElementById("panel")?.focus();
};

const ACTIONS: Record<string, (event: KeyboardEvent) => void> = {
  " ": () => toggle(),
  k: () => toggle(),
  ".": () => void oneEvent(),
  r: () => void restart(),
  Home: () => void restart(),
  End: () => void seek(end.value),
  ArrowLeft: (event) => void seek(clock.value - end.value * (event.shiftKey ? 0.1 : 0.01)),
  ArrowRight: (event) => void seek(clock.value + end.value * (event.shiftKey ? 0.1 : 0.01)),
  "[": () => setSpeed(speed.value / 2),
  "]": () => setSpeed(speed.value * 2),
  "1": () => { speed.value = presets.value[0].speed; },
  "2": () => { speed.value = presets.value[1].speed; },
  "3": () => { speed.value = presets.value[2].speed; },
  s: () => panel("settings"),
  f: () => panel("faults"),
  i: () => panel("inspector"),
  g: () => { overlay.value = "gallery"; },
  h: () => { overlay.value = "share"; },
  l: () => { location.hash = mode.value === "lesson" ? "" : "lessons"; },
  "?": () => { overlay.value = "help"; },
};

/** Elements that use keys themselves. */
const typing = (target: EventTarget | null): boolean => target instanceof HTMLElement && (target.isContentEditable || target.matches("input:not([type=checkbox]), select, textarea, [role=slider]"));
const pressing = (target: EventTarget | null): boolean => target instanceof HTMLElement && target.matches("button, a, summary, input");

function keyed(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || overlay.value) return;
  if (typing(event.target) || (pressing(event.target) && (event.key === " " || event.key === "Enter"))) return;
  if (event.target instanceof HTMLElement && event.target.closest(".chart, .lane-picture") && event.key.startsWith("Arrow")) return;
  const action = ACTIONS[event.key] ?? ACTIONS[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action(event);
}

export function keys(): () => void {
  document.addEventListener("keydown", keyed);
  return () => document.removeEventListener("keydown", keyed);
}
