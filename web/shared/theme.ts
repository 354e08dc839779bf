// Light or dark: what the system says, unless the reader chooses otherwise. Paper is always light.
import { computed, effect, signal } from "@preact/signals";

export type Choice = "auto" | "light" | "dark";

const KEY = "evenkeel-theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

/** Reading and writing fail where a browser allows a file no storage; the choice then lasts as long as the page. */
function stored(): Choice {
  try {
    const word = localStorage.getItem(KEY);
    return word === "light" || word === "dark" ? word : "auto";
  } catch {
    return "auto";
  }
}

export const choice = signal<Choice>(stored());
const systemDark = signal(system.matches);
export const printing = signal(false);
export const dark = computed(() => !printing.value && (choice.value === "auto" ? systemDark.value : choice.value === "dark"));

system.addEventListener("change", (event) => { systemDark.value = event.matches; });
window.addEventListener("beforeprint", () => { printing.value = true; });
window.addEventListener("afterprint", () => { printing.value = false; });

export function choose(next: Choice): void {
  choice.value = next;
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // See `stored`.
  }
}

effect(() => { document.documentElement.dataset.theme = dark.value ? "dark" : "light"; });
