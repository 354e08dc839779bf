// A chart of curves: uPlot with what the report needs on top. Drag to zoom; with the keyboard, arrow keys move the cursor, + and - zoom,
// 0 or Escape shows everything.
import { effect, signal, useSignal, type Signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { bands, markers, regionNames, regions, token, verticals } from "./chart-draw";
import { touches } from "./chart-touch";
import type { Axis, ChartProps, Curve } from "./chart-types";
import { tick } from "./format";
import { DASHES, hex } from "./palette";
import { dark, printing } from "./theme";
import { linearTicks, logRange, logTicks } from "./ticks";
import { Tip, type TipState } from "./tip";

/** Width of a chart on paper. */
const PAPER = 660;

const measure = document.createElement("canvas").getContext("2d")!;

function textWidth(text: string): number {
  measure.font = `12px ${token("--font")}`;
  return measure.measureText(text).width;
}

/** Ticks whose labels do not touch; the last has priority. */
function apart(u: uPlot, ticks: number[], label: (value: number) => string): number[] {
  const room = (a: number, b: number) => Math.abs(u.valToPos(b, "x") - u.valToPos(a, "x")) - (textWidth(label(a)) + textWidth(label(b))) / 2;
  const kept: number[] = [];
  for (const at of [...ticks].reverse()) if (!kept.length || room(at, kept[kept.length - 1]) > 8) kept.push(at);
  return kept.reverse();
}

function axis(spec: Axis, vertical: boolean): uPlot.Axis {
  const label = spec.tick ?? ((value: number) => tick(value, spec.unit));
  return {
    stroke: () => token("--soft"),
    font: `12px ${token("--font")}`,
    grid: { stroke: () => token("--grid"), width: 1, show: vertical },
    ticks: { stroke: () => token("--line-strong"), width: 1, size: vertical ? 0 : 5 },
    gap: vertical ? 8 : 4,
    size: vertical
      ? (_u, values) => Math.ceil(Math.max(24, ...(values ?? []).map((text) => textWidth(text ?? "")))) + 12
      : 30,
    splits: (u, _axis, min, max) => {
      if (spec.ticks) return apart(u, spec.ticks.filter((at) => at >= min && at <= max), label);
      const length = (vertical ? u.bbox.height : u.bbox.width) / (devicePixelRatio || 1);
      const most = Math.max(2, Math.floor(length / (vertical ? 42 : spec.log ? 74 : 56)));
      return spec.log ? logTicks(min, max, most) : linearTicks(min, max, most);
    },
    filter: (_u, splits) => splits,
    values: (_u, splits) => splits.map((value) => (value == null ? "" : label(value))),
  };
}

/** Range of the values that are visible, bands included. */
function extent(curves: Curve[], areas: ChartProps["areas"], x: number[], from: number, to: number, log: boolean): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  const all = [...curves.flatMap((c) => [c.values, c.low ?? [], c.high ?? []]), ...(areas ?? []).flatMap((a) => [a.low, a.high])];
  for (const values of all) {
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      if (value == null || (log && value <= 0) || x[i] < from || x[i] > to) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return [low, high];
}

function vertical(spec: Axis, low: number, high: number): [number, number] {
  if (!Number.isFinite(low)) return spec.log ? [0.001, 1] : [spec.from ?? 0, spec.to ?? 1];
  low = Math.min(low, spec.from ?? low);
  high = Math.max(high, spec.to ?? high);
  if (spec.log) return logRange(low, high);
  if (spec.from == null && low >= 0) low = 0;
  if (high <= low) high = low + (low ? Math.abs(low) : 1);
  return [low, spec.to != null && high <= spec.to ? spec.to : high + (high - low) * 0.06];
}

/** Space at the right, for half of the last label. */
function rightOf(spec: Axis): number {
  const last = spec.ticks?.[spec.ticks.length - 1];
  return last == null ? 20 : Math.max(20, Math.ceil(textWidth(spec.tick?.(last) ?? tick(last, spec.unit)) / 2) + 4);
}

export interface Handles { tip: Signal<TipState | null>; active: { on: boolean } }

export function options(props: ChartProps, width: number, handles: Handles): uPlot.Options {
  const { curves, xAxis, yAxis } = props;
  const areas = props.areas ?? [];
  return {
    width,
    height: props.height ?? 280,
    legend: { show: false },
    padding: [props.regions?.length || props.marks ? 22 : 8, rightOf(xAxis), 0, 0],
    focus: { alpha: 0.22 },
    cursor: {
      ...(props.sync ? { sync: { key: props.sync, setSeries: false } } : {}),
      drag: { x: true, y: false, setScale: false, dist: 6 },
      points: { size: 7, width: 1.5, stroke: (u, i) => hex(curves[i - 1].style, dark.peek()) || u.series[i].label as string, fill: () => token("--ground") },
      focus: { prox: -1 },
    },
    scales: {
      x: { time: false, distr: xAxis.log ? 3 : 1, range: (_u, min, max) => props.range.peek() ?? [xAxis.from ?? min, xAxis.to ?? max] },
      y: {
        distr: yAxis.log ? 3 : 1,
        range: (u) => vertical(yAxis, ...extent(curves, areas, props.x, u.scales.x.min ?? -Infinity, u.scales.x.max ?? Infinity, !!yAxis.log)),
      },
    },
    axes: [axis(xAxis, false), axis(yAxis, true)],
    series: [
      {},
      ...curves.map((curve): uPlot.Series => ({
        label: curve.label,
        stroke: () => (curve.faint ? token("--faint") : hex(curve.style, dark.peek())),
        width: curve.faint ? 1 : 2,
        dash: curve.faint ? [] : DASHES[curve.style.dash].map((length) => length * 0.8),
        points: { show: false },
        spanGaps: false,
        ...(curve.stepped ? { paths: uPlot.paths.stepped!({ align: 1 }) } : {}),
      })),
    ],
    hooks: {
      drawClear: [(u) => { regions(u, props.regions ?? []); bands(u, curves, areas, dark.peek()); }],
      drawSeries: [(u, i) => { if (i > 0) markers(u, i, curves[i - 1], curves.length, dark.peek()); }],
      draw: [(u) => verticals(u, props.marks?.peek() ?? [], regionNames(u, props.regions ?? []))],
      setSelect: [(u) => {
        if (u.select.width < 6) return;
        props.range.value = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")];
        u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
      }],
      setCursor: [(u) => {
        const index = u.cursor.idx;
        if (!handles.active.on || index == null || (u.cursor.left ?? -1) < 0) { handles.tip.value = null; return; }
        handles.tip.value = { index, left: u.cursor.left! + u.bbox.left / devicePixelRatio, top: u.cursor.top ?? 0, width: u.width, nearest: nearest(u) };
      }],
    },
  };
}

/** Index of the curve that is nearest to the cursor, if one is near. */
function nearest(u: uPlot): number | null {
  const { idx, top } = u.cursor;
  let best: number | null = null;
  let distance = 28;
  for (let i = 1; i < u.data.length && idx != null && top != null; i++) {
    const value = u.data[i][idx];
    const far = value == null ? Infinity : Math.abs(u.valToPos(value, "y") - top);
    if (far < distance) [best, distance] = [i - 1, far];
  }
  return best;
}

/** All of the horizontal axis. */
export const whole = (props: ChartProps): [number, number] => [props.xAxis.from ?? props.x[0], props.xAxis.to ?? props.x[props.x.length - 1]];

export function zoom(u: uPlot, props: ChartProps, factor: number): void {
  const { min, max } = u.scales.x;
  if (min == null || max == null) return;
  const log = !!props.xAxis.log;
  const [to, from] = log ? [Math.log, Math.exp] : [(v: number) => v, (v: number) => v];
  const middle = to(u.cursor.idx != null ? props.x[u.cursor.idx] : from((to(min) + to(max)) / 2));
  const [low, high] = [to(min), to(max)].map((end) => from(middle + (end - middle) * factor));
  const [first, last] = whole(props);
  props.range.value = low <= first && high >= last ? null : [Math.max(low, first), Math.min(high, last)];
}

export function Chart(props: ChartProps) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const active = useRef({ on: false });
  const tip = useSignal<TipState | null>(null);

  useLayoutEffect(() => {
    const node = host.current!;
    const width = () => (printing.peek() ? Math.min(PAPER, 660) : Math.max(200, node.clientWidth));
    const clean = (values: Curve["values"]) => (props.yAxis.log ? values.map((v) => (v != null && v > 0 ? v : null)) : values);
    const data = [props.x, ...props.curves.map((curve) => clean(curve.values))] as uPlot.AlignedData;
    const u = new uPlot(options(props, width(), { tip, active: active.current }), data, node);
    plot.current = u;
    u.root.querySelectorAll("canvas").forEach((canvas) => canvas.setAttribute("aria-hidden", "true"));
    const observer = new ResizeObserver(() => {
      if (width() !== u.width) u.setSize({ width: width(), height: u.height });
    });
    observer.observe(node);
    // Charts out of sight are not drawn again for an emphasis.
    const seen = signal(false);
    const sight = new IntersectionObserver((entries) => { seen.value = entries.some((entry) => entry.isIntersecting); });
    sight.observe(node);
    let emphasised: number | string | null = null;
    const stops = [
      () => sight.disconnect(),
      effect(() => { void props.range.value; const [min, max] = whole(props); u.setScale("x", { min, max }); }),
      effect(() => { void dark.value; if (printing.value || u.width !== width()) u.setSize({ width: width(), height: u.height }); u.redraw(false, true); }),
      effect(() => { void props.marks?.value; u.redraw(false, false); }),
      effect(() => {
        if (!seen.value) return;
        const key = props.highlight?.value ?? null;
        if (key === emphasised) return;
        emphasised = key;
        const index = key == null ? -1 : props.curves.findIndex((curve) => curve.key === key);
        u.setSeries(index < 0 ? null as unknown as number : index + 1, { focus: true });
      }),
    ];
    stops.push(touches(node, { plot: () => plot.current, log: !!props.xAxis.log, full: whole(props), set: (range) => { props.range.value = range; } }));
    return () => {
      stops.forEach((stop) => stop());
      observer.disconnect();
      u.destroy();
      plot.current = null;
    };
  }, [props.x, props.curves, props.regions, props.areas, props.yAxis.log, props.xAxis.log, props.height]);

  const keyed = (event: KeyboardEvent) => {
    const u = plot.current;
    if (!u) return;
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step) {
      const length = props.x.length;
      const next = Math.min(length - 1, Math.max(0, (u.cursor.idx ?? (step > 0 ? -1 : length)) + step * (event.shiftKey ? 10 : 1)));
      const first = u.data.slice(1).map((values) => values[next]).find((value) => value != null);
      u.setCursor({ left: u.valToPos(props.x[next], "x"), top: first == null ? 10 : u.valToPos(first, "y") });
    } else if (event.key === "+" || event.key === "=") zoom(u, props, 0.5);
    else if (event.key === "-") zoom(u, props, 2);
    else if (event.key === "0" || event.key === "Escape") props.range.value = null;
    else return;
    event.preventDefault();
  };
  const leave = () => { active.current.on = false; tip.value = null; };
  return (
    <div class="chart" role="group" aria-roledescription="chart" aria-label={`${props.label} Arrow keys read values; plus, minus and 0 zoom.`}
      tabIndex={0} onKeyDown={keyed} onFocus={() => { active.current.on = true; }} onBlur={leave}
      onPointerEnter={() => { active.current.on = true; }} onPointerLeave={(event) => { if (event.pointerType !== "touch") leave(); }} onDblClick={() => { props.range.value = null; }}>
      <div ref={host} class="chart-host" style={{ minHeight: `${props.height ?? 280}px` }} />
      <Tip state={tip} chart={props} />
    </div>
  );
}
