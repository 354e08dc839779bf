// A chart with a row for each strategy and a horizontal scale: dots, spans and bars. Drawn as SVG.
import type { ComponentChildren, JSX } from "preact";
import { useSignal, type Signal } from "@preact/signals";
import type { Axis } from "./chart-types";
import { tick } from "./format";
import { Swatch } from "./swatch";
import type { Style } from "./palette";
import { linearTicks, logTicks } from "./ticks";
import { useWidth } from "./width";

export type ToX = (value: number) => number;

export interface PlotRow {
  key: number;
  label: string;
  style: Style;
  /** Drawn with y = 0 in the middle of the row. */
  draw: (x: ToX) => JSX.Element | JSX.Element[] | null;
  /** At the right edge. */
  note: string;
  tip: ComponentChildren;
}

interface Props {
  rows: PlotRow[];
  axis: Axis;
  domain: [number, number];
  /** A value to mark on the scale, such as 1 for fair. */
  reference?: { value: number; text: string };
  highlight: Signal<number | string | null>;
  label: string;
}

/** Below this width names are above their rows. */
const NARROW = 470;

const size = (text: string) => text.length * 7.2;

export function Rows({ rows, axis, domain, reference, highlight, label }: Props) {
  const { host, width } = useWidth<HTMLDivElement>(640);
  const tip = useSignal<{ row: number; x: number } | null>(null);
  const narrow = width < NARROW;
  const notes = Math.max(40, ...rows.map((row) => size(row.note))) + 10;
  const names = narrow ? 0 : Math.min(width * 0.42, Math.max(80, ...rows.map((row) => size(row.label))) + 42);
  const [left, right] = [names + 8, width - notes - 8];
  const height = narrow ? 46 : 28;
  const top = 26;
  const bottom = top + rows.length * height;
  const [low, high] = domain;
  const x: ToX = (value) => {
    const share = axis.log ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low);
    return left + Math.min(1, Math.max(0, share)) * (right - left);
  };
  const most = Math.max(2, Math.floor((right - left) / 72));
  const ticks = axis.ticks ?? (axis.log ? logTicks(low, high, most) : linearTicks(low, high, most));
  const look = (row: number, event: PointerEvent) => {
    tip.value = { row, x: event.clientX - host.current!.getBoundingClientRect().left };
    highlight.value = rows[row].key;
  };
  const chosen = tip.value && rows[tip.value.row];
  return (
    <div class="rows" ref={host} role="group" aria-roledescription="chart" aria-label={label} onPointerLeave={(event) => { if (event.pointerType !== "touch") { tip.value = null; highlight.value = null; } }}>
      <svg width={width} height={bottom + 8} aria-hidden="true" class="rows-svg">
        {ticks.map((at) => (
          <g key={at}>
            <line class="grid" x1={x(at)} x2={x(at)} y1={top} y2={bottom} />
            <text class="tick" x={x(at)} y={14} text-anchor="middle">{axis.tick ? axis.tick(at) : tick(at, axis.unit)}</text>
          </g>
        ))}
        {reference && <line class="reference" x1={x(reference.value)} x2={x(reference.value)} y1={top - 4} y2={bottom} />}
        {rows.map((row, i) => {
          const y = top + i * height + (narrow ? height - 14 : height / 2);
          const faded = highlight.value != null && highlight.value !== row.key && rows.some((r) => r.key === highlight.value);
          return (
            <g key={row.key} class={faded ? "row faded" : "row"}
              onPointerMove={(event) => look(i, event)} onPointerDown={(event) => look(i, event)}>
              <rect class="hit" x="0" y={top + i * height} width={width} height={height} />
              {i > 0 && <line class="divide" x1="0" x2={width} y1={top + i * height} y2={top + i * height} />}
              <foreignObject x="0" y={narrow ? y - 31 : y - 11} width={narrow ? width - notes : names} height="22">
                <div class="rows-name"><Swatch style={row.style} /> <span>{row.label}</span></div>
              </foreignObject>
              <g transform={`translate(0 ${y})`}>{row.draw(x)}</g>
              <text class="row-note" x={width - 2} y={y + 4} text-anchor="end">{row.note}</text>
            </g>
          );
        })}
      </svg>
      {chosen && (
        <div class="tip" style={{ top: `${top + (tip.value!.row + 1) * height + 2}px`, ...(tip.value!.x > width / 2 ? { right: `${width - tip.value!.x}px` } : { left: `${tip.value!.x}px` }) }}>
          <div class="tip-head">{chosen.label}</div>
          {chosen.tip}
        </div>
      )}
    </div>
  );
}
