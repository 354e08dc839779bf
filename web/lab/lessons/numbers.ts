// Numbers of a watched run: how they are written, and how much they can be relied on.
import type { Catalog } from "../engine";
import { NONE, show, type Unit } from "../../shared/format";

export type Values = Record<string, number | null>;

/** What one strategy's run gave. */
export interface Measured { count: number; values: Values }

/** A piece of an explanation: text, or a number to be filled in. */
export type Piece = { text: string } | { metric: string; strategy: string };

const PLACE = /\{([A-Za-z0-9_.]+)\[([^\]{}]+)\]\}/g;

/** Splits at `{metric[strategy]}`. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(PLACE)) {
    if (match.index > end) found.push({ text: text.slice(end, match.index) });
    found.push({ metric: match[1], strategy: match[2] });
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push({ text: text.slice(end) });
  return found;
}

type Metric = Catalog["metrics"][number];

export const metricOf = (catalog: Catalog | null, name: string): Metric | undefined => catalog?.metrics.find((one) => one.name === name);

/** `latency.p99` where the catalogue has no better name. */
export const labelOf = (catalog: Catalog | null, name: string): string => metricOf(catalog, name)?.label ?? name;

export function valueText(catalog: Catalog | null, metric: string, value: number | null | undefined): string {
  return value == null ? NONE : show(value, (metricOf(catalog, metric)?.unit ?? "number") as Unit);
}

/** Requests beyond a quantile that are needed before it says much, and the fewest for any value. */
const BEYOND = 10;
const FEWEST = 100;

/** How many requests a value needs before it settles: of p99, ten requests must be slower. */
export function needed(metric: string): number {
  const q = /\.p(\d+)$/.exec(metric);
  if (!q) return FEWEST;
  const share = Number(`0.${q[1]}`);
  return Math.max(FEWEST, Math.ceil(BEYOND / (1 - share) - 1e-9));
}

export const few = (metric: string, count: number): boolean => count < needed(metric);

/** The strategy with the best value of a metric, where one value is better than another by more than a hundredth. */
export function best(catalog: Catalog | null, metric: string, of: Map<string, number | null | undefined>): string | null {
  const direction = metricOf(catalog, metric)?.direction;
  if (!direction || direction === "neither") return null;
  const sorted = [...of].filter((one): one is [string, number] => one[1] != null).sort((a, b) => (direction === "lower" ? a[1] - b[1] : b[1] - a[1]));
  if (sorted.length < 2) return null;
  const [first, second] = [sorted[0][1], sorted[1][1]];
  return Math.abs(first - second) > 0.01 * Math.max(Math.abs(first), Math.abs(second)) ? sorted[0][0] : null;
}
