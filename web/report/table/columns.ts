// Columns of the table: what each shows of a strategy in a scope.
import { signal } from "@preact/signals";
import type { Estimate, Metric, Run, Strategy } from "../model";
import { inScope, verdict } from "../state";

export interface Column {
  key: string;
  label: string;
  doc: string;
  unit: Metric["unit"];
  direction: Metric["direction"];
  estimate: (strategy: Strategy, pool: string | null) => Estimate | null;
  /** It is a metric of metrics.csv. */
  metric?: boolean;
  /** With half the interval as a share of the value. */
  spread?: boolean;
  /** Left out on paper. */
  minor?: boolean;
}

/** Metrics of every table, in this order. */
const MAIN = ["latency.p99", "errors.ratio", "latency.mean", "latency.p50", "latency.p90", "latency.p999"];
const SOME = ["unfinished.ratio", "fairness.jain", "cache.hit_ratio", "retries.ratio", "hedges.ratio", "servers"];

const HEADS: Record<string, string> = {
  "latency.p99": "p99", "latency.mean": "mean", "latency.p50": "p50", "latency.p90": "p90", "latency.p999": "p99.9", "errors.ratio": "failed",
  "fairness.jain": "fairness (Jain)", "cache.hit_ratio": "cache hits", "retries.ratio": "retries", "hedges.ratio": "hedges",
  "utilisation.max": "busiest server", "in_server.mean": "in a server", "unfinished.ratio": "unfinished",
};

/** All metrics instead of the main ones. */
export const everything = signal(false);

function ofMetric(metric: Metric): Column {
  return {
    key: metric.name,
    label: HEADS[metric.name] ?? metric.label,
    doc: metric.doc,
    unit: metric.unit,
    direction: metric.direction,
    estimate: (strategy, pool) => strategy.values[inScope(metric.name, pool)] ?? null,
    metric: true,
    minor: ["latency.p50", "latency.p90"].includes(metric.name),
    spread: metric.name === "latency.p99",
  };
}

export function columns(run: Run, pool: string | null, all: boolean): Column[] {
  const has = (column: Column) => run.strategies.some((s) => column.estimate(s, pool)?.[0] != null);
  const byName = new Map(run.metrics.map((metric) => [metric.name, metric]));
  const pick = (names: string[]) => names.flatMap((name) => byName.get(name) ?? []).map(ofMetric).filter(has);
  const some = pick(SOME).filter((c) => c.key !== "unfinished.ratio" || run.strategies.some((s) => (c.estimate(s, pool)?.[0] ?? 0) > 0.0005));
  const columns = [...pick(MAIN), ...some];
  if (all) {
    const known = new Set(columns.map((c) => c.key));
    columns.push(...run.metrics.filter((m) => !known.has(m.name)).map(ofMetric).filter(has));
  }
  if (!pool && run.strategies.some((s) => s.theory)) {
    columns.push({ key: "theory", label: "theory", unit: "s", direction: "neither",
                   doc: "The mean latency by queueing theory, where the scenario meets the assumptions of a theorem.",
                   estimate: (s) => (s.theory ? [s.theory.mean, null, null] : null) });
  }
  if (run.strategies.some((s) => s.regret?.[0] != null) && !pool) {
    columns.push({ key: "regret", label: "regret", unit: "s", direction: "lower", estimate: (s) => s.regret,
                   doc: "How much higher the mean latency is than that of the oracle on the same requests." });
  }
  return columns;
}

export interface Sort { key: string; descending: boolean }

/** Null is the order of the ranking. */
export const sort = signal<Sort | null>(null);

const RELATIONS = ["best", "tied", "worse", "unknown", "fails_more", "overloaded", "none"];

export function ordered(run: Run, pool: string | null, columns: Column[], chosen: Sort | null): number[] {
  const order = run.strategies.map((_, i) => i);
  const text = (i: number) => run.strategies[i].label;
  if (chosen?.key === "strategy") {
    order.sort((a, b) => text(a).localeCompare(text(b)));
  } else if (!chosen || chosen.key === "verdict") {
    // The order of the document is that of the first ranking.
    if (pool !== (run.pools[0] ?? null)) {
      const rank = (i: number) => { const v = verdict(run.strategies[i], pool); return v ? RELATIONS.indexOf(v.relation) : RELATIONS.length; };
      const by = (i: number) => verdict(run.strategies[i], pool)?.by ?? 0;
      order.sort((a, b) => rank(a) - rank(b) || by(a) - by(b) || a - b);
    }
  } else if (chosen.key === "state") {
    order.sort((a, b) => run.strategies[a].state.localeCompare(run.strategies[b].state) || a - b);
  } else {
    const column = columns.find((c) => c.key === chosen.key);
    const value = (i: number) => column?.estimate(run.strategies[i], pool)?.[0] ?? null;
    const sign = chosen.descending ? -1 : 1;
    // What does not exist is last in both directions.
    order.sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x == null || y == null) return (x == null ? 1 : 0) - (y == null ? 1 : 0) || a - b;
      return sign * (x - y) || a - b;
    });
    return order;
  }
  return chosen?.descending ? order.reverse() : order;
}

/** Identical strategies in one row. */
export const grouped = signal(true);
/** Groups that the reader has opened. */
export const opened = signal<ReadonlySet<number>>(new Set());
