// The table of results: sortable, with a filter by family, and a baseline that all others are compared with.
import { signal } from "@preact/signals";
import type { Run } from "../model";
import { baseline, families, leader, report, scope } from "../state";
import { columns, everything, grouped, ordered, sort, type Column } from "./columns";
import { Row } from "./row";
import { scale } from "./span";
import { Arrowed } from "../../shared/arrowed";
import { Scroll } from "../../shared/scroll";

function Head({ id, label, doc, wide, only = "" }: { id: string; label: string; doc?: string; wide?: boolean; only?: string }) {
  const mine = sort.value?.key === id ? sort.value : null;
  const first = id === "verdict" && !sort.value;
  const state = mine ? (mine.descending ? "descending" : "ascending") : first ? "ascending" : "none";
  const next = () => {
    if (!mine) sort.value = { key: id, descending: false };
    else sort.value = mine.descending ? null : { key: id, descending: true };
  };
  return (
    <th scope="col" aria-sort={state} class={`${wide ? "left" : "num"} ${only}`} title={doc}>
      <button type="button" onClick={next}><Arrowed text={label} state={state} left={!!wide} /></button>
    </th>
  );
}

export function Scopes({ pools, all }: { pools: string[]; all: boolean }) {
  if (!pools.length) return null;
  const choices: (string | null)[] = all ? [...pools, null] : pools;
  return (
    <div class="segmented" role="group" aria-label="Requests">
      {choices.map((pool) => (
        <button type="button" key={pool ?? ""} aria-pressed={scope.value === pool} onClick={() => { scope.value = pool; }}>{pool ?? "all requests"}</button>
      ))}
    </div>
  );
}

function Filters({ run }: { run: Run }) {
  const present = run.families.filter((family) => run.strategies.some((s) => s.family === family.name));
  const toggleFamily = (name: string) => {
    const next = new Set(families.value);
    if (!next.delete(name)) next.add(name);
    families.value = next;
  };
  const groups = run.same_picks.length;
  return (
    <div class="controls">
      <Scopes pools={run.pools} all />
      {present.length > 1 && (
        <div class="chips" role="group" aria-label="Families">
          <button type="button" class="chip" aria-pressed={families.value.size === 0} onClick={() => { families.value = new Set(); }}>All families</button>
          {present.map((family) => (
            <button type="button" class="chip" key={family.name} title={family.doc} aria-pressed={families.value.has(family.name)}
              onClick={() => toggleFamily(family.name)}>{family.name}</button>
          ))}
        </div>
      )}
      {families.value.size === 1 && <p class="note">{present.find((family) => families.value.has(family.name))?.doc}</p>}
      <div class="switches">
        {groups > 0 && <Switch state={grouped} text="One row for strategies with the same picks" />}
        <Switch state={everything} text="All metrics" />
      </div>
    </div>
  );
}

export function Switch({ state, text }: { state: typeof everything; text: string }) {
  return (
    <label class="switch"><input type="checkbox" checked={state.value} onChange={(event) => { state.value = event.currentTarget.checked; }} /> {text}</label>
  );
}

/** What the columns mean, for readers who cannot hover. */
function Meanings({ run, columns }: { run: Run; columns: Column[] }) {
  const theorems = [...new Set(run.strategies.flatMap((s) => s.theory?.text ?? []))];
  return (
    <details class="meanings">
      <summary>What the columns mean</summary>
      <dl>
        {columns.map((c) => <div key={c.key}><dt>{c.label}</dt><dd>{c.doc}{c.direction !== "neither" && ` ${c.direction === "lower" ? "Lower" : "Higher"} is better.`}{c.key === "theory" && ` ${theorems.join("; ")}`}</dd></div>)}
        <div><dt>verdict</dt><dd>Comparison with the best by p99 over pairs of runs that met the same requests. Strategies with more errors are not ranked.</dd></div>
        <div><dt>state</dt><dd>Whether the run describes a steady state.</dd></div>
      </dl>
    </details>
  );
}

/** Announced when the order or the baseline changes. */
const spoken = signal("");

function announce(columns: Column[], run: Run): string {
  const by = sort.value ? (columns.find((c) => c.key === sort.value!.key)?.label ?? sort.value.key) : "the ranking";
  const base = baseline.value == null ? "" : `; compared with ${run.strategies[baseline.value].label}`;
  return `Sorted by ${by}${sort.value?.descending ? ", descending" : ""}${base}.`;
}

export function Results({ run }: { run: Run }) {
  const pool = scope.value;
  const cols = columns(run, pool, everything.value);
  const range = scale(run, pool);
  const visible = ordered(run, pool, cols, sort.value)
    .filter((i) => families.value.size === 0 || families.value.has(run.strategies[i].family))
    .filter((i) => !grouped.value || leader[i] === i);
  const words = announce(cols, run);
  if (spoken.peek() !== words) queueMicrotask(() => { spoken.value = words; });
  const oracle = run.strategies.some((s) => s.oracle);
  return (
    <section id="table" aria-labelledby="table-h">
      <h2 id="table-h">Results{run.pools.length > 0 && <span class="of"> {pool ? `of the pool ${pool}` : "of all requests"}</span>}</h2>
      <p class="note">
        Select a row to compare all others with it. The mark at the left of a name shows or hides the strategy in the charts.
      </p>
      <Filters run={run} />
      <p class="unseen" aria-live="polite">{spoken.value}</p>
      {baseline.value != null && (
        <p class="comparing">Compared with <b>{run.strategies[baseline.value].label}</b> <button type="button" class="quiet" onClick={() => { baseline.value = null; }}>Stop comparing</button></p>
      )}
      <Scroll label="Table of results" kind="results">
        <table class="results-table">
          <caption class="unseen">{report.title}: results by strategy</caption>
          <thead>
            <tr>
              <Head id="strategy" label="strategy" wide />
              <Head id="verdict" label="verdict" doc="Comparison with the best by p99 over pairs of runs that met the same requests." wide only="not-narrow" />
              {range && <th scope="col" class="left wide-only">p50 to p99.9 <small>(log; dot: p99)</small></th>}
              {cols.map((c) => <Head key={c.key} id={c.key} label={c.label} doc={c.doc} only={c.minor ? "minor" : ""} />)}
              <Head id="state" label="state" doc="Whether the run describes a steady state." wide />
            </tr>
          </thead>
          <tbody>{visible.map((which) => <Row key={which} run={run} which={which} pool={pool} columns={cols} range={range} />)}</tbody>
        </table>
      </Scroll>
      <p class="note">
        {baseline.value != null && <>▲ better, ▼ worse than the baseline; ≈ the 95 % intervals overlap. </>}
        ± is half the 95 % interval. {oracle && "† Baseline with perfect information. "}
        {run.pools.length > 0 && "Requests of several pools together are a mixture: the results of the pools say more."}
      </p>
      <Meanings run={run} columns={cols} />
    </section>
  );
}
