// What a chart of curves takes.
import type { ReadonlySignal, Signal } from "@preact/signals";
import type { Unit } from "./format";
import type { Style } from "./palette";

export type Values = (number | null)[];

export interface Curve {
  key: number | string;
  label: string;
  style: Style;
  values: Values;
  /** Lower and upper end of an interval, drawn as a band. */
  low?: Values;
  high?: Values;
  /** Grey and thin, only for comparison; not in the tooltip. */
  faint?: boolean;
  stepped?: boolean;
}

export interface Axis {
  unit: Unit;
  label: string;
  log?: boolean;
  /** The axis contains these. */
  from?: number;
  to?: number;
  tick?: (value: number) => string;
  /** Only these ticks. */
  ticks?: number[];
}

/** A span to be marked, such as a fault. */
export interface Region { from: number; to: number; text: string; /** Nothing bad, such as a warm-up. */ calm?: boolean }

/** A vertical line with a label. */
export interface Mark { at: number; text: string }

/** An area between two curves, such as the servers that have no curve of their own. */
export interface Area { low: Values; high: Values; text: string }

export interface ChartProps {
  x: number[];
  curves: Curve[];
  xAxis: Axis;
  yAxis: Axis;
  /** Says what the chart is, for screen readers. */
  label: string;
  height?: number;
  regions?: Region[];
  marks?: ReadonlySignal<Mark[]> | undefined;
  areas?: Area[];
  /** The visible part of the horizontal axis, shared by charts on the same axis. */
  range: Signal<[number, number] | null>;
  /** Charts with the same name share the cursor. */
  sync?: string | undefined;
  /** Key of a curve to emphasise. */
  highlight?: ReadonlySignal<number | string | null>;
  /** First line of the tooltip. */
  heading?: (x: number, index: number) => string;
  /** Last line of the tooltip: what the values mean. */
  meaning?: string;
  /** Value in the tooltip, if not in the unit of the axis. */
  value?: (value: number) => string;
}
