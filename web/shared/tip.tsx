// The tooltip of a chart: what is at the cursor, with intervals, and what it means. Screen readers hear it, too.
import type { Signal } from "@preact/signals";
import type { ChartProps } from "./chart-types";
import { interval, show } from "./format";
import { Swatch } from "./swatch";

export interface TipState { index: number; left: number; top: number; width: number; nearest: number | null }

const MOST = 10;

export function Tip({ state, chart }: { state: Signal<TipState | null>; chart: ChartProps }) {
  const tip = state.value;
  if (!tip || tip.index >= chart.x.length) return <div class="tip-live" aria-live="polite" />;
  const { unit } = chart.yAxis;
  const value = chart.value ?? ((v: number) => show(v, unit));
  const x = chart.x[tip.index];
  const rows = chart.curves
    .map((curve, i) => ({ curve, value: curve.values[tip.index], near: i === tip.nearest }))
    .filter((row) => !row.curve.faint && row.value != null)
    .sort((a, b) => b.value! - a.value!);
  const start = Math.max(0, Math.min(rows.length - MOST, rows.findIndex((row) => row.near) - 4));
  const region = chart.regions?.filter((r) => x >= r.from && x <= r.to).map((r) => (r.calm ? r.text : `Fault: ${r.text}`)) ?? [];
  const right = tip.left > tip.width / 2;
  return (
    <div class="tip-live" aria-live="polite">
      <div class="tip" style={right ? { right: `${tip.width - tip.left + 14}px` } : { left: `${tip.left + 14}px` }}>
        <div class="tip-head">{chart.heading ? chart.heading(x, tip.index) : show(x, chart.xAxis.unit)}</div>
        {rows.slice(start, start + MOST).map((row) => (
          <div class={row.near ? "tip-row near" : "tip-row"} key={row.curve.key}>
            <Swatch style={row.curve.style} /> <span class="tip-name">{row.curve.label}</span> <b>{value(row.value!)}</b>
            {row.curve.low && <small> {interval(row.curve.low[tip.index], row.curve.high![tip.index], unit)}</small>}
          </div>
        ))}
        {rows.length === 0 && <div class="tip-row">no values here</div>}
        {rows.length > MOST && <div class="tip-note">and {rows.length - MOST} more</div>}
        {region.map((text) => <div class="tip-note" key={text}>{text}</div>)}
        {chart.areas?.map((area) => area.low[tip.index] != null && (
          <div class="tip-note" key={area.text}>{area.text}: {value(area.low[tip.index]!)} to {value(area.high[tip.index]!)}</div>
        ))}
        {chart.meaning && <div class="tip-note">{chart.meaning}</div>}
      </div>
    </div>
  );
}
