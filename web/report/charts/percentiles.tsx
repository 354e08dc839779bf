// Percentiles of the latency: a row for each strategy, from p50 to p99.9, with the interval of p99.
import { Figure } from "../../shared/figure";
import { interval, seconds } from "../../shared/format";
import { hex, markerPath } from "../../shared/palette";
import { Rows, type PlotRow } from "../../shared/rows";
import { dark } from "../../shared/theme";
import { logRange } from "../../shared/ticks";
import type { Run } from "../model";
import { drawn, highlight, inScope, scopes, shortName, styleOf } from "../state";
import { Panels } from "./charts";

const NAMES = ["latency.p50", "latency.p90", "latency.p99", "latency.p999"];
const LABELS = ["p50", "p90", "p99", "p99.9"];
const MEANINGS = ["half of the requests are faster", "9 of 10 are faster", "99 of 100 are faster", "999 of 1,000 are faster"];

const estimates = (run: Run, which: number, pool: string | null) =>
  NAMES.map((name) => run.strategies[which].values[inScope(name, pool)] ?? [null, null, null]);

function row(run: Run, which: number, pool: string | null): PlotRow {
  const all = estimates(run, which, pool);
  const values = all.map((e) => e[0]);
  const [, low, high] = all[2];
  const style = styleOf(which);
  const colour = hex(style, dark.value);
  return {
    key: which,
    label: shortName(which),
    style,
    note: seconds(values[2]),
    draw: (x) => {
      const at = values.map((v) => (v == null || v <= 0 ? null : x(v)));
      const there = at.filter((v): v is number => v != null);
      if (!there.length) return null;
      return (
        <g>
          <line x1={Math.min(...there)} x2={Math.max(...there)} y1="0" y2="0" stroke={colour} stroke-width="1.5" />
          {low != null && high != null && low > 0 && <line x1={x(low)} x2={x(high)} y1="0" y2="0" stroke={colour} stroke-width="7" opacity="0.3" />}
          {at[0] != null && <circle cx={at[0]} cy="0" r="3.4" fill="var(--ground)" stroke={colour} stroke-width="1.6" />}
          {at[1] != null && <line x1={at[1]} x2={at[1]} y1="-5" y2="5" stroke={colour} stroke-width="1.6" />}
          {at[3] != null && <path d={`M${at[3] - 4} -5h4v10h-4`} fill="none" stroke={colour} stroke-width="1.6" />}
          {at[2] != null && <path d={markerPath(style.shape, at[2], 0, 4.8)} fill={colour} stroke="var(--ground)" stroke-width="1" />}
        </g>
      );
    },
    tip: all.map((e, i) => (
      <div class="tip-row" key={LABELS[i]}><span class="tip-name">{LABELS[i]}</span> <b>{seconds(e[0])}</b> <small>{interval(e[1], e[2], "s")}</small>
        <div class="tip-note">{MEANINGS[i]}</div></div>
    )),
  };
}

const byP99 = (run: Run, pool: string | null) => {
  const value = (i: number) => estimates(run, i, pool)[2][0] ?? Infinity;
  return [...drawn.value].sort((a, b) => value(a) - value(b) || a - b);
};

function sentence(run: Run): string {
  return scopes().map((pool) => {
    const order = byP99(run, pool).filter((i) => estimates(run, i, pool)[2][0] != null);
    if (!order.length) return "";
    const [first, last] = [order[0], order[order.length - 1]];
    const value = (i: number) => seconds(estimates(run, i, pool)[2][0]);
    const range = value(first) === value(last) && order.length > 1 ? `p99 is ${value(first)} for all that are shown.`
      : first === last ? `p99 of ${shortName(first)} is ${value(first)}.`
      : `p99 goes from ${value(first)} (${shortName(first)}) to ${value(last)} (${shortName(last)}).`;
    return pool ? `${pool}: ${range}` : range;
  }).filter(Boolean).join(" ");
}

export function Percentiles({ run }: { run: Run }) {
  const panels = scopes();
  if (!panels.some((pool) => run.strategies.some((_, i) => estimates(run, i, pool).some((e) => e[0] != null)))) return null;
  const all = panels.flatMap((pool) => drawn.value.flatMap((i) => estimates(run, i, pool).map((e) => e[0]))).filter((v): v is number => v != null && v > 0);
  const domain = all.length ? logRange(Math.min(...all), Math.max(...all)) : ([0.001, 1] as [number, number]);
  return (
    <Figure title="Latency percentiles" summary={sentence(run)} wide
      numbers={() => ({
        columns: ["strategy", ...(panels.length > 1 ? ["pool"] : []), ...LABELS, "95 % interval of p99"],
        rows: panels.flatMap((pool) => byP99(run, pool).map((i) => {
          const e = estimates(run, i, pool);
          return [shortName(i), ...(panels.length > 1 ? [pool ?? ""] : []), ...e.map((v) => seconds(v[0])), `${seconds(e[2][1])} to ${seconds(e[2][2])}`];
        })),
      })}
      controls={
        <span class="key" aria-hidden="true">
          <svg width="12" height="12"><circle cx="6" cy="6" r="3.4" /></svg> p50
          <svg width="8" height="12"><path d="M4 1v10" /></svg> p90
          <svg width="14" height="12"><path class="solid" d={markerPath(0, 7, 6, 4.6)} /></svg> p99, with 95 % interval
          <svg width="9" height="12"><path d="M2 1h4v10h-4" /></svg> p99.9 <span class="soft">· log scale</span>
        </span>
      }>
      <Panels of={panels}>
        {(pool) => <Rows rows={byP99(run, pool).map((i) => row(run, i, pool))} axis={{ unit: "s", label: "latency", log: true }} domain={domain}
          highlight={highlight} label={`Latency percentiles${pool ? ` of ${pool}` : ""}`} />}
      </Panels>
    </Figure>
  );
}
