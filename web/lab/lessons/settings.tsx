// Controls for the settings that a challenge allows: those of the engine, and a choice of strategy.
import { Field } from "../controls/field";
import type { Catalog, Control, Description } from "../engine";

/** Whether a key is at or below one of the allowed paths; `*` stands for one part of a path. */
export function permitted(key: string, allowed: string[]): boolean {
  const parts = key.split(".");
  return allowed.some((path) => path.split(".").every((part, i) => i < parts.length && (part === "*" || part === parts[i])));
}

/** A choice of strategy for a variant that may have another one, where the engine gives no control for it. */
function strategyControls(description: Description, catalog: Catalog | null, allowed: string[], given: Control[]): Control[] {
  if (!catalog) return [];
  const options = catalog.strategies.map((one) => ({ label: one.name, value: `"${one.name}"` }));
  return description.strategies.flatMap((variant) => {
    const key = `variants.${variant.label}.strategy`;
    if (!permitted(key, allowed) || given.some((one) => one.key === key)) return [];
    const about = catalog.strategies.find((one) => one.name === variant.name);
    return [{ key, group: "strategy" as const, label: `Strategy of ${variant.label}`, doc: about?.idea ?? "", value: `"${variant.name}"`, shape: { kind: "choice" as const, options } }];
  });
}

/** Controls of what may be changed, the strategy first. */
export function allowedControls(description: Description, catalog: Catalog | null, allowed: string[]): Control[] {
  const given = description.controls.filter((one) => permitted(one.key, allowed));
  return [...strategyControls(description, catalog, allowed, given), ...given];
}

export function Settings({ controls, shipped, set }: { controls: Control[]; /** Values as shipped, by key. */ shipped: Map<string, string | null>; set: (key: string, value: string | null) => void }) {
  return (
    <>
      {controls.map((one) => {
        const before = shipped.get(one.key);
        const changed = shipped.has(one.key) && before !== one.value;
        return <Field key={one.key} label={one.label} doc={one.doc} value={one.value} shape={one.shape} changed={changed} set={(value) => set(one.key, value)} reset={() => set(one.key, before ?? null)} />;
      })}
    </>
  );
}
