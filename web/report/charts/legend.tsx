// The legend that all charts share: a button for each strategy shows or hides its curves; a panel adds others.
import { useSignal } from "@preact/signals";
import { Swatch } from "../../shared/swatch";
import { groupName, highlight, leaders, legend, report, shortName, shown, styleOf, subjects, toggle } from "../state";

function Adder() {
  const names = report.run?.families.map((f) => f.name) ?? [...new Set(subjects.map((s) => s.family))];
  const show = (which: Iterable<number>) => {
    const next = new Set(which);
    legend.value = leaders.filter((i) => next.has(i) || legend.value.includes(i));
    shown.value = next;
  };
  return (
    <div class="adder">
      <div class="adder-top">
        <button type="button" class="quiet" onClick={() => show(leaders)}>Show all</button>
        <button type="button" class="quiet" onClick={() => show([])}>Hide all</button>
      </div>
      <div class="adder-families">
        {names.map((family) => {
          const members = leaders.filter((i) => subjects[i].family === family);
          return members.length === 0 ? null : (
            <fieldset key={family}>
              <legend>{family}</legend>
              {members.map((i) => (
                <label class="switch" key={i}>
                  <input type="checkbox" checked={shown.value.has(i)} onChange={() => toggle(i)} /> <Swatch style={styleOf(i)} /> <span>{groupName(i)}</span>
                </label>
              ))}
            </fieldset>
          );
        })}
      </div>
    </div>
  );
}

export function Legend() {
  const open = useSignal(false);
  return (
    <div class="legend-bar">
      <div class="legend" role="group" aria-label="Strategies in the charts">
        {legend.value.map((i) => (
          <button type="button" class="legend-item" key={i} aria-pressed={shown.value.has(i)} title={groupName(i)} onClick={() => toggle(i)}
            onPointerEnter={() => { highlight.value = i; }} onPointerLeave={() => { highlight.value = null; }}
            onFocus={() => { highlight.value = i; }} onBlur={() => { highlight.value = null; }}>
            <Swatch style={styleOf(i)} off={!shown.value.has(i)} /> {shortName(i)}
          </button>
        ))}
      </div>
      {leaders.length > 2 && (
          <button type="button" class="quiet more" aria-expanded={open.value} onClick={() => { open.value = !open.value; }}>
            {open.value ? "Done" : `All ${leaders.length}…`}
          </button>
        )}
      {open.value && <Adder />}
    </div>
  );
}
