// A measure of a sweep over its first axis that is a number; a grid has a panel for each value of the other axes.
import { useMemo } from "preact/hooks";
import { computed, signal } from "@preact/signals";
import { Chart } from "../../shared/chart";
import type { Curve, Mark } from "../../shared/chart-types";
import { Figure } from "../../shared/figure";
import { show, tick } from "../../shared/format";
import type { Metric, Sweep } from "../model";
import { drawn, highlight, leader, shortName, styleOf } from "../state";
import { Panels } from "../charts/charts";

/** The visible part of the axis, the same in all charts of the sweep. */
const range = signal<[number, number] | null>(null);
/** More panels than this are left to the table. */
const PANELS = 8;

/** Index of the axis across; -1 if none is a number: points are then in their order. */
const across = (sweep: Sweep): number => sweep.axes.findIndex((_, a) => sweep.points.every((p) => p.values[a] != null) && new Set(sweep.points.map((p) => p.values[a])).size > 1);

interface Panel { name: string; points: number[] }

function panels(sweep: Sweep, axis: number): Panel[] {
  const all = new Map<string, number[]>();
  sweep.points.forEach((point, i) => {
    const parts = point.label.split(/,\s*/);
    const name = sweep.axes.length > 1 ? parts.filter((_, a) => a !== axis).join(", ") : "";
    all.set(name, [...(all.get(name) ?? []), i]);
  });
  return [...all].map(([name, points]) => ({ name, points: axis < 0 ? points : points.sort((a, b) => sweep.points[a].values[axis]! - sweep.points[b].values[axis]!) }));
}

const short = (label: string) => label.split(/,\s*/).map((part) => part.slice(part.lastIndexOf("=") + 1)).join(", ");

/** Where the drawn lines of the two cross: between two points, on a log scale where the axis has one. */
function where(sweep: Sweep, metric: Metric, crossing: Sweep["crossings"][number]): number {
  const axis = across(sweep);
  const [from, to] = crossing.between;
  const log = axis >= 0 && sweep.axes[axis].log && from > 0;
  const distance = (x: number) => {
    const p = sweep.points.findIndex((point) => point.values[axis] === x);
    const [a, b] = [crossing.a, crossing.b].map((i) => sweep.strategies[i].values[metric.name]?.[p]?.[0]);
    return a == null || b == null || a <= 0 || b <= 0 ? null : metric.unit === "s" ? Math.log(a / b) : a - b;
  };
  const [d0, d1] = [distance(from), distance(to)];
  const share = d0 != null && d1 != null && d0 * d1 < 0 ? d0 / (d0 - d1) : 0.5;
  return log ? from * (to / from) ** share : from + share * (to - from);
}

function crossingMarks(sweep: Sweep, metric: Metric, several: boolean): Mark[] {
  if (several) return [];
  const visible = drawn.value;
  return sweep.crossings.filter((c) => c.metric === metric.name && visible.includes(leader[c.a]) && visible.includes(leader[c.b])).slice(0, 4)
    .map((c) => ({ at: where(sweep, metric, c), text: visible.length <= 3 ? "crossing" : `${shortName(c.a)} × ${shortName(c.b)}` }));
}

export function SweepFigure({ sweep, metric, wide }: { sweep: Sweep; metric: Metric; wide: boolean }) {
  const axis = across(sweep);
  const made = useMemo(() => panels(sweep, axis).slice(0, PANELS), [sweep]);
  const members = drawn.value;
  const log = metric.unit === "s";
  const data = useMemo(() => made.map((panel) => {
    const x = panel.points.map((p, n) => (axis < 0 ? n : sweep.points[p].values[axis]!));
    const curves = members.map((i): Curve => {
      const estimates = panel.points.map((p) => sweep.strategies[i].values[metric.name]?.[p] ?? [null, null, null]);
      const part = (k: number) => estimates.map((e) => (log && e[k] != null && e[k]! <= 0 ? null : e[k]));
      return { key: i, label: shortName(i), style: styleOf(i), values: part(0), low: part(1), high: part(2) };
    });
    return { x, curves };
  }), [made, members, metric]);
  // Panels have the same scale, to be compared.
  const ends = useMemo(() => {
    const all = made.length > 1 ? data.flatMap((d) => d.curves.flatMap((c) => c.values)).filter((v): v is number => v != null) : [];
    return all.length ? { from: log ? Math.min(...all) : Math.min(0, ...all), to: Math.max(...all) } : {};
  }, [data]);
  const lowest = Math.min(1, ...data.flatMap((d) => d.curves.flatMap((c) => c.values)).filter((v): v is number => v != null));
  const marks = useMemo(() => computed(() => crossingMarks(sweep, metric, made.length > 1)), [sweep, metric]);
  const key = sweep.axes[Math.max(0, axis)];
  const ticks = made[0]?.points.length <= 14 ? data[0]?.x : undefined;
  const label = (v: number) => {
    const n = data[0].x.indexOf(v);
    if (n < 0) return tick(v, "number");
    const name = short(sweep.points[made[0].points[n]].label).split(", ");
    return name[Math.max(0, axis)] ?? name[0];
  };
  const end = (i: number) => data[0]?.curves.find((c) => c.key === i)?.values.filter((v) => v != null).pop() ?? null;
  const order = [...members].filter((i) => end(i) != null).sort((a, b) => end(a)! - end(b)!);
  const last = made[0] ? short(sweep.points[made[0].points[made[0].points.length - 1]].label) : "";
  const summary = order.length === 0 ? "No values for the strategies shown."
    : `At ${last}: ${show(end(order[0]), metric.unit)} (${shortName(order[0])})` + (order.length > 1 ? ` to ${show(end(order[order.length - 1]), metric.unit)} (${shortName(order[order.length - 1])}).` : ".");
  return (
    <Figure title={metric.label} summary={summary} range={range} wide={wide || made.length > 1}
      numbers={() => ({
        columns: ["point", ...members.map(shortName)],
        rows: sweep.points.map((p, n) => [p.label, ...members.map((i) => show(sweep.strategies[i].values[metric.name]?.[n]?.[0], metric.unit))]),
      })}>
      <Panels of={made.map((p) => p.name)}>
        {(name) => {
          const { x, curves } = data[made.findIndex((p) => p.name === name)];
          return (
            <>
              <p class="axis-y">{metric.label}{log ? ", log" : ""}</p>
              <Chart x={x} curves={curves} label={`${metric.label}${name ? ` for ${name}` : ""}. ${summary}`} height={wide && made.length === 1 ? 360 : 250}
                xAxis={{ unit: "number", label: key.key, log: axis >= 0 && key.log, ticks, tick: label }} yAxis={{ unit: metric.unit, label: metric.label, log, ...(log ? {} : { from: metric.unit === "index" ? lowest : 0 }), ...ends }}
                marks={marks} range={range} sync="sweep" highlight={highlight} heading={(v) => `${key.key} = ${label(v)}`} meaning={metric.doc} />
              <p class="axis-x">{key.key}{axis >= 0 && key.log ? ", log" : ""}</p>
            </>
          );
        }}
      </Panels>
    </Figure>
  );
}
