// Acts of the reader in words.
import type { Act } from "../engine";

export const kindName = (kind: Record<string, unknown> | string): string => (typeof kind === "string" ? kind : Object.keys(kind)[0] ?? "fault");

export function actText(act: Act): string {
  if ("set_load" in act) return `load ${act.set_load.factor}x`;
  const { target, kind } = act.strike;
  return `${kindName(kind).replaceAll("_", " ")}: ${target}${act.strike.for ? ` for ${act.strike.for}` : ""}`;
}
