// Faults by button, the load by slider: acts at the present time, in all lanes, each on the timeline.
import { useSignal } from "@preact/signals";
import { at } from "../../shared/format";
import type { Act } from "../engine";
import { act, actTime, asRefusal, setActs } from "../playback/session";
import { acts, catalog, clock, description, lanes } from "../state";
import { actText } from "./acts";

const LENGTHS = ["1s", "5s", "20s", "60s"];

function targets(): { value: string; text: string }[] {
  const of = description.value!;
  const all = of.pools.flatMap((pool) => [
    ...pool.servers.map((server) => ({ value: `${pool.name}/${server.name}`, text: server.name })),
    { value: `${pool.name}/*`, text: `all servers of ${pool.name}` },
  ]);
  const zones = [...new Set(of.pools.flatMap((pool) => pool.servers.map((server) => server.zone)).filter((zone) => zone != null))];
  return [...all, ...zones.map((zone) => ({ value: `zone/${zone}`, text: `zone ${zone}` })), ...Array.from({ length: of.balancers > 1 ? of.balancers : 0 }, (_, i) => ({ value: `balancer/${i + 1}`, text: `balancer ${i + 1}` }))];
}

function Load({ fail }: { fail: (error: unknown) => void }) {
  const now = lanes.value[0]?.frame.value?.load ?? 1;
  const moving = useSignal<number | null>(null);
  const take = (factor: number) => { moving.value = null; act({ set_load: { factor } }).catch(fail); };
  const value = moving.value ?? now;
  return (
    <div class="field">
      <div class="field-head"><label for="load-now">Load from now on</label></div>
      <div class="field-number">
        <input id="load-now" type="range" min={0} max={3} step={0.05} value={value} aria-valuetext={`${value.toFixed(2)} times the scenario's rate`}
          onInput={(event) => { moving.value = Number(event.currentTarget.value); }} onChange={(event) => take(Number(event.currentTarget.value))} />
        <span class="field-value"><output for="load-now">{Number(value.toFixed(2))}x</output></span>
      </div>
      <p class="field-doc">Multiple of the scenario's arrival rate. 0 stops arrivals.</p>
    </div>
  );
}

export function Faults() {
  const of = description.value;
  const target = useSignal("");
  const length = useSignal("5s");
  const problem = useSignal<string | null>(null);
  if (!of || !catalog.value) return null;
  const places = targets();
  const chosen = places.some((one) => one.value === target.value) ? target.value : places[0]?.value ?? "";
  const fail = (error: unknown) => { const told = asRefusal(error); problem.value = [told.message, told.help].filter(Boolean).join(" "); };
  const strike = (kind: Record<string, unknown>, lasts: boolean) => {
    problem.value = null;
    const what: Act = { strike: { target: chosen, ...(lasts ? { for: length.value } : {}), kind } };
    act(what).catch(fail);
  };
  const label = (one: { kind: string; label: string }) => (catalog.value!.faults.filter((other) => other.label === one.label).length > 1 ? one.kind : one.label);
  const balancer = chosen.startsWith("balancer/");
  const burst = () => {
    problem.value = null;
    const [start, stop] = [clock.value, clock.value + 5];
    const load = lanes.value[0]?.frame.value?.load ?? 1;
    const nanos = (time: number) => `${Math.round(time * 1e9)}ns`;
    const more = [{ at: nanos(start), act: { set_load: { factor: load * 3 } } }, { at: nanos(stop), act: { set_load: { factor: load } } }];
    setActs([...acts.value, ...more].sort((a, b) => actTime(a) - actTime(b))).catch(fail);
  };
  return (
    <div class="faults">
      <div class="fault-where">
        <label class="select">Where <select value={chosen} onChange={(event) => { target.value = event.currentTarget.value; }}>{places.map((one) => <option key={one.value} value={one.value}>{one.text}</option>)}</select></label>
        <label class="select">For <select value={length.value} onChange={(event) => { length.value = event.currentTarget.value; }}>{LENGTHS.map((one) => <option key={one} value={one}>{one.replace("s", " s")}</option>)}</select></label>
      </div>
      <div class="fault-buttons">
        {catalog.value.faults.map((one) => (
          <button type="button" key={one.kind} class="fault" disabled={balancer && !one.balancer} title={one.doc} onClick={() => strike(one.example, one.lasts)}>
            <b>{label(one)}</b><span>{one.doc}</span>
          </button>
        ))}
        {of.load_can_change && <button type="button" class="fault" onClick={burst}><b>burst</b><span>Three times the requests for 5 s.</span></button>}
      </div>
      {problem.value && <p class="refused" role="alert">{problem.value}</p>}
      {of.load_can_change && <Load fail={fail} />}
      <Log />
    </div>
  );
}

function Log() {
  const of = description.value!;
  if (!acts.value.length && !of.faults.length) return <p class="note">What happens here is logged: the link, and a file for the command line, repeat it.</p>;
  return (
    <div class="act-log">
      {of.faults.length > 0 && <><h4>In the scenario</h4><ul>{of.faults.slice(0, 12).map((one, i) => <li key={i}><span class="when">{at(one.at)}</span> {one.sentence}</li>)}{of.faults.length > 12 && <li class="soft">and {of.faults.length - 12} more</li>}</ul></>}
      {acts.value.length > 0 && (
        <>
          <h4>By you <button type="button" class="link" onClick={() => void setActs([])}>Remove all</button></h4>
          <ul>{acts.value.map((one, i) => (
            <li key={`${one.at}-${i}`}><span class="when">{at(actTime(one))}</span> {actText(one.act)}
              <button type="button" class="undo" aria-label={`Remove: ${actText(one.act)} at ${at(actTime(one))}`} title="Remove" onClick={() => void setActs(acts.value.filter((_, n) => n !== i))}>×</button></li>
          ))}</ul>
        </>
      )}
    </div>
  );
}
