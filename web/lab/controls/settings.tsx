// Settings of the scenario, in groups. A change is an edit of the scenario's text, as `--set` makes it.
import type { Control } from "../engine";
import { apply, change, setSeed } from "../playback/session";
import { changes, description, refusal, seed, settings } from "../state";
import { Field } from "./field";

const GROUPS: [Control["group"], string][] = [
  ["load", "Load"], ["servers", "Servers"], ["service", "Service times"], ["keys", "Keys and caches"], ["reports", "Load reports"], ["balancers", "Balancers"], ["clients", "Clients and time-outs"],
  ["retries", "Retries and hedging"], ["strategy", "Strategy"],
];

function One({ of }: { of: Control }) {
  const allowed = settings.mayChange.value;
  const changed = changes.value.some((one) => one.key === of.key);
  return (
    <Field label={of.label.charAt(0).toUpperCase() + of.label.slice(1)} doc={of.doc} value={of.value} shape={of.shape} changed={changed} disabled={allowed != null && !allowed.includes(of.key)}
      set={(value) => void change([{ key: of.key, value }])} reset={() => void apply(changes.value.filter((one) => one.key !== of.key))} />
  );
}

function Seed() {
  const own = description.value!.seed;
  return (
    <div class="field" data-changed={seed.value != null ? "" : undefined}>
      <div class="field-head"><label for="seed">Seed of all randomness</label>
        {seed.value != null && <button type="button" class="undo" aria-label="Take back: seed" title="Take back" onClick={() => void setSeed(null)}>↺</button>}
      </div>
      <div class="seed">
        <input id="seed" type="number" min={0} step={1} value={seed.value ?? own} onChange={(event) => { const value = Number(event.currentTarget.value); if (Number.isSafeInteger(value) && value >= 0) void setSeed(value === own ? null : value); }} />
        <button type="button" class="quiet" onClick={() => void setSeed((seed.value ?? own) + 1)}>Next seed</button>
      </div>
      <p class="field-doc">The same seed gives the same run. Another one shows what is chance.</p>
    </div>
  );
}

export function Settings() {
  const of = description.value;
  if (!of) return null;
  const allowed = settings.mayChange.value;
  return (
    <div class="settings">
      {refusal.value && <div class="refused" role="alert"><p><b>{refusal.value.message}</b></p>{refusal.value.help && <p>{refusal.value.help}</p>}</div>}
      {changes.value.length > 0 && (
        <p class="changed-line">{changes.value.length} {changes.value.length === 1 ? "setting differs" : "settings differ"} from the scenario. <button type="button" class="link" onClick={() => void apply([])}>Take all back</button></p>
      )}
      {GROUPS.map(([group, title]) => {
        const members = of.controls.filter((one) => one.group === group && (allowed == null || allowed.includes(one.key)));
        return members.length === 0 ? null : (
          <fieldset key={group}>
            <legend>{title}</legend>
            {members.map((one) => <One key={one.key} of={one} />)}
          </fieldset>
        );
      })}
      {allowed == null && <fieldset><legend>Randomness</legend><Seed /></fieldset>}
      {of.facts.length > 0 && (
        <details>
          <summary>The scenario in numbers</summary>
          <dl class="facts-list">{of.facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}</dl>
        </details>
      )}
    </div>
  );
}
