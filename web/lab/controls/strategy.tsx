// Chooses a lane's strategy, and sets its parameters.
import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";
import type { Catalog } from "../engine";
import { catalog, description, lanes, LANES } from "../state";
import { setStrategies } from "../playback/session";
import { Field } from "./field";

type Strategy = Catalog["strategies"][number];

/** Name and parameters of `p2c(choices=3)`. */
export function parse(notation: string): { name: string; parameters: Record<string, string> } {
  const m = /^([^(]+)\((.*)\)$/.exec(notation);
  if (!m) return { name: notation, parameters: {} };
  const pairs = m[2].split(",").map((part) => part.split("=").map((text) => text.trim())).filter((pair) => pair.length === 2);
  return { name: m[1].trim(), parameters: Object.fromEntries(pairs) };
}

const write = (name: string, parameters: Record<string, string>): string => {
  const set = Object.entries(parameters);
  return set.length ? `${name}(${set.map(([key, value]) => `${key}=${value}`).join(",")})` : name;
};

const unquoted = (value: string) => value.replace(/^"(.*)"$/, "$1");

export const strategies = (): string[] => lanes.value.map((lane) => lane.strategy);

const put = (place: number, strategy: string) => setStrategies(strategies().map((old, i) => (i === place ? strategy : old)));

/** What a label stands for in the catalogue: labels of variants are the scenario's own. */
function entry(label: string): Strategy | undefined {
  const name = description.value?.strategies.find((one) => one.label === label)?.name ?? parse(label).name;
  return catalog.value?.strategies.find((one) => one.name === name || one.aliases.includes(name));
}

export function Options() {
  const all = catalog.value;
  const own = description.value?.strategies.filter((one) => !all?.strategies.some((known) => known.name === one.label)) ?? [];
  if (!all) return null;
  return (
    <>
      {own.length > 0 && <optgroup label="of this scenario">{own.map((one) => <option key={one.label} value={one.label}>{one.label}</option>)}</optgroup>}
      {all.families.map((family) => (
        <optgroup key={family.name} label={family.name}>
          {all.strategies.filter((one) => one.family === family.name).map((one) => <option key={one.name} value={one.name}>{one.name}</option>)}
        </optgroup>
      ))}
    </>
  );
}

function Details({ of, place, strategy }: { of: Strategy; place: number; strategy: string }) {
  const { parameters } = parse(strategy);
  const fixed = description.value?.strategies.some((one) => one.label === strategy && one.name !== strategy) && !strategy.includes("(");
  const set = (name: string, value: string | null, standard: string) => {
    const next = { ...parameters };
    if (value == null || unquoted(value) === unquoted(standard)) delete next[name];
    else next[name] = unquoted(value);
    void put(place, write(of.name, next));
  };
  return (
    <div class="strategy-details">
      <p><b>{of.title}.</b> {of.idea}</p>
      <dl>
        <div><dt>rule</dt><dd>{of.rule}</dd></div>
        <div><dt>knows</dt><dd>{of.signals}</dd></div>
        <div><dt>weak when</dt><dd>{of.weakness}</dd></div>
      </dl>
      {fixed && <p class="note">The scenario sets the parameters of this variant.</p>}
      {!fixed && of.parameters.map((one) => {
        const control = one.control;
        const value = parameters[one.name];
        if (!control) return null;
        return <Field key={one.name} label={one.name} doc={one.doc} shape={control} changed={value != null} reset={() => set(one.name, null, one.default)}
          value={value == null ? one.default : control.kind === "choice" ? `"${value}"` : value} set={(next) => set(one.name, next, one.default)} />;
      })}
    </div>
  );
}

export function StrategyPicker({ place, strategy, removable }: { place: number; strategy: string; removable: boolean }) {
  const open = useSignal(false);
  const id = useId();
  const of = entry(strategy);
  const { name, parameters } = parse(strategy);
  const plain = !Object.keys(parameters).length;
  return (
    <>
      <select class="strategy" value={plain ? name : strategy} aria-label={`Strategy of lane ${place + 1}`} onChange={(event) => void put(place, event.currentTarget.value)}>
        {!plain && <option value={strategy}>{strategy}</option>}
        <Options />
      </select>
      <span class="lane-tools">
        {of && <button type="button" class="icon" aria-expanded={open.value} aria-controls={id} aria-label={`About ${strategy}, and its parameters`} title="About it, and its parameters" onClick={() => { open.value = !open.value; }}>{open.value ? "▴" : "▾"}</button>}
        {removable && <button type="button" class="icon" aria-label={`Remove the lane of ${strategy}`} title="Remove this lane" onClick={() => void setStrategies(strategies().filter((_, i) => i !== place))}>×</button>}
      </span>
      {open.value && of && <div id={id} class="strategy-open"><Details of={of} place={place} strategy={strategy} /></div>}
    </>
  );
}

/** A lane more, with a strategy that is not there yet. */
export function AddLane() {
  if (lanes.value.length >= LANES || !lanes.value.length) return null;
  return (
    <label class="select add-lane"><span class="unseen">Add a strategy</span>
      <select value="" onChange={(event) => { const chosen = event.currentTarget.value; event.currentTarget.value = ""; if (chosen) void setStrategies([...strategies(), chosen]); }}>
        <option value="">+ strategy</option>
        <Options />
      </select>
    </label>
  );
}
