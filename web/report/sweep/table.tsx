// All points of a sweep for a measure: a row for each strategy.
import { useSignal } from "@preact/signals";
import { interval, show } from "../../shared/format";
import { Swatch } from "../../shared/swatch";
import type { Sweep } from "../model";
import { Breakable } from "../text";
import { leader, shown, styleOf, toggle } from "../state";
import { Arrowed } from "../../shared/arrowed";
import { Scroll } from "../../shared/scroll";

const short = (label: string) => label.split(/,\s*/).map((part) => part.slice(part.lastIndexOf("=") + 1)).join(", ");

export function SweepTable({ sweep }: { sweep: Sweep }) {
  const measure = useSignal(sweep.metrics.find((m) => m.name === "latency.p99")?.name ?? sweep.metrics[0]?.name ?? "");
  const sort = useSignal<{ column: number; descending: boolean } | null>(null);
  const metric = sweep.metrics.find((m) => m.name === measure.value);
  if (!metric) return null;
  const value = (i: number, p: number) => sweep.strategies[i].values[metric.name]?.[p]?.[0] ?? null;
  const order = sweep.strategies.map((_, i) => i);
  const chosen = sort.value;
  if (chosen) {
    const sign = chosen.descending ? -1 : 1;
    order.sort((a, b) => {
      if (chosen.column < 0) return sign * sweep.strategies[a].label.localeCompare(sweep.strategies[b].label);
      const [x, y] = [value(a, chosen.column), value(b, chosen.column)];
      return x == null || y == null ? (x == null ? 1 : 0) - (y == null ? 1 : 0) : sign * (x - y);
    });
  }
  const press = (column: number) => {
    sort.value = chosen?.column !== column ? { column, descending: false } : chosen.descending ? null : { column, descending: true };
  };
  const head = (column: number, text: string, left = false) => {
    const mine = chosen?.column === column ? chosen : null;
    return (
      <th scope="col" key={column} class={left ? "left" : "num"} aria-sort={mine ? (mine.descending ? "descending" : "ascending") : "none"}>
        <button type="button" onClick={() => press(column)}><Arrowed text={text} state={mine ? (mine.descending ? "descending" : "ascending") : "none"} left={left} /></button>
      </th>
    );
  };
  const best = sweep.points.map((_, p) => {
    if (metric.direction === "neither") return null;
    const all = sweep.strategies.map((s, i) => (s.oracle ? null : value(i, p))).filter((v): v is number => v != null);
    return all.length ? (metric.direction === "lower" ? Math.min(...all) : Math.max(...all)) : null;
  });
  return (
    <>
      <h3 class="table-title">All points</h3>
      <div class="controls">
        <label class="select">Measure <select value={measure.value} onChange={(event) => { measure.value = event.currentTarget.value; }}>
          {sweep.metrics.map((m) => <option key={m.name} value={m.name}>{m.label}</option>)}
        </select></label>
        <span class="key">Bold: the best at a point, oracles aside.</span>
      </div>
      <Scroll label="Table of all points" kind="results">
        <table class="results-table">
          <caption class="unseen">{metric.label} by strategy and point</caption>
          <thead><tr>{head(-1, "strategy", true)}{sweep.points.map((p, i) => head(i, short(p.label)))}</tr></thead>
          <tbody>
            {order.map((i) => {
              const strategy = sweep.strategies[i];
              return (
                <tr key={strategy.label} data-strategy={strategy.label}>
                  <th scope="row"><div class="who">
                    <button type="button" class="mark" aria-pressed={shown.value.has(leader[i])} aria-label={`${strategy.label}: show in charts`} onClick={() => toggle(i)}>
                      <Swatch style={styleOf(i)} off={!shown.value.has(leader[i])} />
                    </button>
                    <span class="label"><Breakable label={strategy.label} />{strategy.oracle && <abbr title="baseline with perfect information"> †</abbr>}</span>
                  </div></th>
                  {sweep.points.map((p, n) => {
                    const [v, low, high] = strategy.values[metric.name]?.[n] ?? [null, null, null];
                    const text = show(v, metric.unit);
                    return (
                      <td key={p.label} class="num" title={interval(low, high, metric.unit) || undefined}>
                        {v == null ? <span class="none">–</span> : <data value={String(v)} data-point={p.label} data-metric={metric.name}>{v === best[n] ? <b>{text}</b> : text}</data>}
                      </td>
                    );
                  })}
                </tr>
              );
            })}
          </tbody>
        </table>
      </Scroll>
    </>
  );
}
