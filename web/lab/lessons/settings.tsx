// Controls for the settings that a challenge allows: those of the engine, and a choice of strategy.
import { useId } from "preact/hooks";
import type { Catalog, Control, Description } from "../engine";

/** Whether a key is at or below one of the allowed paths; `*` stands for one part of a path. */
export function permitted(key: string, allowed: string[]): boolean {
  const parts = key.split(".");
  return allowed.some((path) => path.split(".").every((part, i) => i < parts.length && (part === "*" || part === parts[i])));
}

/** Number of a TOML value such as `"80%"`, `"5ms"`, `3`; null if it is none. */
export function numberOf(value: string | null): number | null {
  const m = value == null ? null : /^"?\s*([\d_.]+)/.exec(value);
  return m ? Number(m[1].replaceAll("_", "")) : null;
}

/** Units of durations that a control's own unit can replace. */
const SIZES: Record<string, number> = { us: 1e-6, "µs": 1e-6, ms: 1e-3, s: 1, m: 60, min: 60 };

/** The value in the control's unit: `"0.5s"` is 500 where the unit is ms. */
export function inUnit(value: string | null, unit: string): number | null {
  const number = numberOf(value);
  const own = /([a-zµ]+)"?\s*$/.exec(value ?? "")?.[1];
  return number != null && own && SIZES[own] && SIZES[unit] ? (number * SIZES[own]) / SIZES[unit] : number;
}

const toml = (number: number, unit: string): string => (unit === "" ? String(number) : `"${number}${unit}"`);

interface FieldProps { control: Control; set: (value: string | null) => void }

function NumberField({ control, set }: FieldProps) {
  const id = useId();
  const shape = control.shape as Extract<Control["shape"], { kind: "number" }>;
  const value = inUnit(control.value, shape.unit);
  const [low, high] = [Math.log(Math.max(shape.min, 1e-9)), Math.log(Math.max(shape.max, 1e-9))];
  const toSlider = (v: number) => (shape.log ? ((Math.log(Math.max(v, shape.min, 1e-9)) - low) / (high - low)) * 1000 : v);
  const fromSlider = (v: number) => {
    const raw = shape.log ? Math.exp(low + (v / 1000) * (high - low)) : v;
    return Number((Math.round(raw / shape.step) * shape.step).toPrecision(6));
  };
  const put = (v: number) => { if (Number.isFinite(v)) set(toml(Math.min(shape.max, Math.max(shape.min, v)), shape.unit)); };
  return (
    <div class="field">
      <label for={id} title={control.doc}>{control.label}</label>
      <input class="field-slider" type="range" aria-label={`${control.label}, slider`} min={shape.log ? 0 : shape.min} max={shape.log ? 1000 : shape.max} step={shape.log ? 1 : shape.step} value={toSlider(value ?? shape.min)}
        onChange={(event) => put(fromSlider(Number(event.currentTarget.value)))} />
      <span class="field-value">
        <input id={id} type="number" min={shape.min} max={shape.max} step="any" value={value ?? ""} placeholder="none" onChange={(event) => (event.currentTarget.value === "" ? set(null) : put(Number(event.currentTarget.value)))} />
        {shape.unit && <span class="soft">{shape.unit}</span>}
      </span>
      <p class="note">{control.doc}</p>
    </div>
  );
}

function ChoiceField({ control, set }: FieldProps) {
  const id = useId();
  const shape = control.shape as Extract<Control["shape"], { kind: "choice" }>;
  const known = shape.options.some((one) => one.value === control.value);
  return (
    <div class="field">
      <label for={id}>{control.label}</label>
      <span class="field-value wide">
        <select id={id} value={control.value ?? ""} onChange={(event) => set(event.currentTarget.value || null)}>
          {!known && <option value={control.value ?? ""}>{control.value ?? "not set"}</option>}
          {shape.options.map((one) => <option key={one.value} value={one.value}>{one.label}</option>)}
        </select>
      </span>
      <p class="note">{control.doc}</p>
    </div>
  );
}

function SwitchField({ control, set }: FieldProps) {
  return (
    <div class="field">
      <label class="switch"><input type="checkbox" checked={control.value === "true"} onChange={(event) => set(event.currentTarget.checked ? "true" : "false")} /> {control.label}</label>
      <p class="note">{control.doc}</p>
    </div>
  );
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

export function Settings({ controls, set }: { controls: Control[]; set: (key: string, value: string | null) => void }) {
  return (
    <>
      {controls.map((control) => {
        const props = { control, set: (value: string | null) => set(control.key, value) };
        return control.shape.kind === "number" ? <NumberField key={control.key} {...props} /> : control.shape.kind === "choice" ? <ChoiceField key={control.key} {...props} /> : <SwitchField key={control.key} {...props} />;
      })}
    </>
  );
}
