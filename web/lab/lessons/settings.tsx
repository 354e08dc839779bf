// Controls for the settings that a challenge allows: those of the engine, and those of a variant's strategy.
import { Field } from "../controls/field";
import type { Catalog, Control, Description } from "../engine";
import { strategyControls } from "./strategy";

/** Whether a key is at or below one of the allowed paths; `*` stands for one part of a path. */
export function permitted(key: string, allowed: string[]): boolean {
  const parts = key.split(".");
  return allowed.some((path) => path.split(".").every((part, i) => i < parts.length && (part === "*" || part === parts[i])));
}

/** A control, and the change of the text for a value of it. */
export interface Setting { control: Control; change: (value: string | null) => { key: string; value: string | null } }

/** Settings of what may be changed, the strategy first. */
export function allowedSettings(description: Description, catalog: Catalog | null, allowed: string[], text: string): Setting[] {
  const given = description.controls.filter((one) => permitted(one.key, allowed));
  const strategies = catalog ? strategyControls(description, catalog, allowed, text).filter((own) => !given.some((one) => one.key === own.control.key)) : [];
  return [...strategies, ...given.map((control) => ({ control, change: (value: string | null) => ({ key: control.key, value }) }))];
}

interface Props { settings: Setting[]; /** Values as shipped, by key. */ shipped: Map<string, string | null>; set: (change: { key: string; value: string | null }) => void }

export function Settings({ settings, shipped, set }: Props) {
  return (
    <>
      {settings.map(({ control, change }) => {
        const before = shipped.get(control.key);
        const changed = shipped.has(control.key) && before !== control.value;
        return <Field key={control.key} label={control.label} doc={control.doc} value={control.value} shape={control.shape} changed={changed} set={(value) => set(change(value))} reset={() => set(change(before ?? null))} />;
      })}
    </>
  );
}
