// A control for a value: a slider with a number and its unit, a choice, or a switch.
import { useSignal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";
import type { Control } from "../engine";
import { fromNumber, fromPosition, shown, toNumber, toPosition } from "./value";

interface Props {
  label: string;
  doc: string;
  /** TOML, or null if it is not set. */
  value: string | null;
  shape: Control["shape"];
  changed?: boolean;
  disabled?: boolean;
  set: (value: string | null) => void;
  /** Takes back a change. */
  reset?: () => void;
}

/** Milliseconds without a movement after which a value is taken over. */
const REST = 180;

type NumberShape = Extract<Control["shape"], { kind: "number" }>;

function NumberField({ id, doc, value, shape, set, disabled }: Props & { id: string; shape: NumberShape }) {
  const known = toNumber(value, shape);
  const moving = useSignal<number | null>(null);
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => { moving.value = null; }, [value]);
  const now = moving.value ?? known;
  const take = (number: number, wait: number) => {
    if (!Number.isFinite(number)) return;
    moving.value = number;
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => set(fromNumber(number, shape)), wait);
  };
  return (
    <div class="field-number">
      <input type="range" min={0} max={1000} step={1} value={now == null ? 0 : toPosition(now, shape)} disabled={disabled} id={id} aria-describedby={`${id}-doc`}
        aria-valuetext={now == null ? "not set" : `${now} ${shape.unit}`} title={doc} onInput={(event) => take(fromPosition(Number(event.currentTarget.value), shape), REST)} />
      <span class="field-value">
        <input type="number" value={now == null ? "" : Number(now.toPrecision(4))} placeholder="–" min={shape.min} step="any" disabled={disabled} aria-label={`Value${shape.unit ? ` in ${shape.unit}` : ""}`}
          onChange={(event) => { if (event.currentTarget.value !== "") take(Number(event.currentTarget.value), 0); }} />
        <span class="unit">{shape.unit}</span>
      </span>
    </div>
  );
}

export function Field(props: Props) {
  const { label, doc, value, shape, set, changed, reset, disabled } = props;
  const id = useId();
  return (
    <div class="field" data-changed={changed ? "" : undefined}>
      <div class="field-head">
        {shape.kind === "switch"
          ? <label class="switch"><input type="checkbox" id={id} checked={value === "true"} disabled={disabled} aria-describedby={`${id}-doc`} onChange={(event) => set(event.currentTarget.checked ? "true" : "false")} /> {label}</label>
          : <label for={id}>{label}</label>}
        {changed && reset && <button type="button" class="undo" onClick={reset} aria-label={`Take back: ${label}`} title="Take back">↺</button>}
      </div>
      {shape.kind === "number" && <NumberField {...props} id={id} shape={shape} />}
      {shape.kind === "choice" && (
        <select id={id} value={value ?? ""} disabled={disabled} aria-describedby={`${id}-doc`} onChange={(event) => set(event.currentTarget.value === "" ? null : event.currentTarget.value)}>
          {value == null && <option value="">not set</option>}
          {value != null && !shape.options.some((one) => one.value === value) && <option value={value}>{shown(value)}</option>}
          {shape.options.map((one) => <option key={one.value} value={one.value}>{one.label}</option>)}
        </select>
      )}
      <p class="field-doc" id={`${id}-doc`}>{doc}</p>
    </div>
  );
}
