// What the reader has chosen, shared by all parts of the page; and what follows from the document alone.
import { computed, signal } from "@preact/signals";
import { assign, type Style } from "../shared/palette";
import { list } from "../shared/format";
import type { Mark, Region } from "../shared/chart-types";
import type { Report, Run, Strategy, Verdict } from "./model";

/** A strategy as charts need it; of a run or of a sweep. */
export interface Subject { label: string; family: string; oracle: boolean; doc: string }

/** Shown at first if the scenario has them. */
const CLASSICS = ["round_robin", "random", "least_request", "p2c", "consistent_hash"];
const SHOWN = 8;

export let report: Report;
export let subjects: Subject[] = [];
/** For each strategy the one that stands for it: of those with the same picks the first. */
export let leader: number[] = [];
/** Strategies with the same picks as this one, itself included. */
export let group: number[][] = [];
/** One of each group, in the order of the table. */
export let leaders: number[] = [];
export let styles: Map<number, Style> = new Map();
/** Members of the legend: shown at first, and those added since. */
export const legend = signal<number[]>([]);
export const shown = signal<ReadonlySet<number>>(new Set());
export const baseline = signal<number | null>(null);
/** Pool whose results are shown; null for all requests. */
export const scope = signal<string | null>(null);
export const families = signal<ReadonlySet<string>>(new Set());
export const highlight = signal<number | string | null>(null);
/** Visible part of all charts over time. */
export const timeRange = signal<[number, number] | null>(null);
/** A moment of a story, marked in all charts over time. */
export const moment = signal<Mark | null>(null);
export const moments = computed<Mark[]>(() => (moment.value ? [moment.value] : []));
/** The two strategies whose stories are beside each other. */
export const pair = signal<[number, number]>([0, 0]);

const name = (which: number) => (report.run?.strategies[which].strategy ?? subjects[which].label);

/** Strategies of a sweep whose results are the same at every point. */
function sameResults(): number[][] {
  const found = new Map<string, number[]>();
  (report.sweep?.strategies ?? []).forEach((s, i) => {
    const key = JSON.stringify(s.values);
    found.set(key, [...(found.get(key) ?? []), i]);
  });
  return [...found.values()].filter((members) => members.length > 1);
}

function groups(run: Run | null): void {
  leader = subjects.map((_, i) => i);
  group = subjects.map((_, i) => [i]);
  for (const members of run ? run.same_picks : sameResults()) {
    const first = members.find((i) => CLASSICS.includes(name(i))) ?? Math.min(...members);
    for (const member of members) {
      leader[member] = first;
      group[member] = [first, ...members.filter((i) => i !== first).sort((a, b) => a - b)];
    }
  }
  leaders = subjects.map((_, i) => i).filter((i) => leader[i] === i);
}

/** The best of each ranking, the classics and an oracle, then others in the order of the table. */
function first(): number[] {
  const chosen: number[] = [];
  const add = (which: number | undefined) => {
    if (which != null && which >= 0 && !chosen.includes(leader[which])) chosen.push(leader[which]);
  };
  const run = report.run;
  if (!run) add(byLastPoint()[0]);
  if (run) {
    for (const pool of run.pools.length ? run.pools : [null]) {
      add(run.strategies.findIndex((s) => s.verdicts.some((v) => v.pool === pool && v.relation === "best")));
    }
  }
  CLASSICS.forEach((classic) => add(subjects.findIndex((_, i) => name(i) === classic)));
  add(subjects.findIndex((subject) => subject.oracle));
  for (const i of run ? subjects.keys() : byLastPoint()) if (chosen.length < SHOWN) add(i);
  return chosen.sort((a, b) => a - b);
}

/** Strategies of a sweep by p99 at the last point. */
function byLastPoint(): number[] {
  const sweep = report.sweep;
  const last = (sweep?.points.length ?? 0) - 1;
  const value = (i: number) => sweep?.strategies[i].values["latency.p99"]?.[last]?.[0] ?? Infinity;
  return subjects.map((_, i) => i).filter((i) => !subjects[i].oracle).sort((a, b) => value(a) - value(b));
}

export function init(loaded: Report): void {
  report = loaded;
  const { run, sweep } = report;
  subjects = run ? run.strategies : (sweep?.strategies ?? []).map((s) => ({ ...s, doc: "" }));
  groups(run);
  const chosen = first();
  const places = run?.strategies.map((s, i) => s.place ?? i) ?? sweep?.strategies.map((s, i) => s.place ?? i) ?? [];
  styles = assign([...chosen, ...leaders.filter((i) => !chosen.includes(i))], (i) => places[i] ?? i, (i) => subjects[i].oracle);
  legend.value = chosen;
  shown.value = new Set(chosen);
  scope.value = run?.pools[0] ?? null;
  pair.value = firstPair(chosen);
}

/** The best beside the worst of the classics. */
function firstPair(chosen: number[]): [number, number] {
  const best = report.run?.strategies.findIndex((s) => !s.oracle) ?? 0;
  const a = leader[Math.max(0, best)] ?? 0;
  const told = report.run?.why?.differences.find((d) => leader[d.a] === a || leader[d.b] === a);
  const classic = [...chosen].reverse().find((i) => i !== a && !subjects[i].oracle && CLASSICS.includes(name(i)));
  const other = classic ?? (told ? (leader[told.a] === a ? leader[told.b] : leader[told.a]) : chosen.find((i) => i !== a));
  return [a, other ?? a];
}

export const styleOf = (which: number): Style => styles.get(leader[which])!;

/** `round_robin, edf and 4 more`; the label alone without strategies of the same picks. */
export function groupName(which: number): string {
  const names = group[which].map((i) => subjects[i].label);
  return names.length <= 2 ? list(names) : `${names[0]}, ${names[1]} and ${names.length - 2} more`;
}

/** `round_robin +5`. */
export const shortName = (which: number): string =>
  subjects[which].label + (group[which].length > 1 ? ` +${group[which].length - 1}` : "") + (subjects[which].oracle ? " †" : "");

/** Shows or hides a strategy in the charts. */
export function toggle(which: number): void {
  const one = leader[which];
  const next = new Set(shown.value);
  if (!next.delete(one)) {
    next.add(one);
    if (!legend.value.includes(one)) legend.value = [...legend.value, one].sort((a, b) => a - b);
  }
  shown.value = next;
}

/** Strategies in the charts, in the order of the table. */
export const drawn = computed<number[]>(() => leaders.filter((i) => shown.value.has(i)));

export const verdict = (strategy: Strategy, pool: string | null): Verdict | undefined =>
  strategy.verdicts.find((v) => v.pool === pool) ?? strategy.verdicts.find((v) => v.pool === null);

/** Name of a metric in a scope. */
export const inScope = (metric: string, pool: string | null): string => (pool ? `${pool}.${metric}` : metric);

/** Scopes with panels of their own: the pools, or all requests. */
export const scopes = (): (string | null)[] => (report.run?.pools.length ? report.run.pools : [null]);

/** End of all charts over time: a series starts with the warm-up, which `duration` may leave out. */
export function timeEnd(run: Run): number {
  const ends = [...run.series.map((s) => s.time), ...run.timelines.map((t) => (t ? Array.from(t.outcomes.ok ?? [], (_, n) => (n + 0.5) * t.bin) : []))]
    .filter((times) => times.length > 1).map((times) => times[times.length - 1] + (times[1] - times[0]) / 2);
  // Rounded times of the last bin must not move the end.
  return Math.max(run.duration, ...ends.map((end) => (Math.abs(end - run.duration) < 0.02 * run.duration ? run.duration : Number(end.toPrecision(3)))));
}

/** `web-3: 6× slower`; a fault of a whole pool has the pool's name. */
function named(fault: Run["faults"][number]): string {
  const [pool, server] = fault.target.split("/");
  const target = !server || server === "*" ? pool : server;
  return !target || fault.text.includes(target) ? fault.text : `${target}: ${fault.text}`;
}

/** Spans that charts over time mark: the warm-up, and faults; of a pool those that can concern it. Faults at the same time are one span. */
export function faults(run: Run, pool: string | null): Region[] {
  const spans = new Map<string, Region>();
  const names = new Map<string, string[]>();
  const others = run.pools.filter((name) => pool != null && name !== pool);
  for (const fault of run.faults) {
    if (others.includes(fault.target.split("/")[0])) continue;
    const [from, to] = [fault.start, fault.end ?? timeEnd(run)];
    const key = `${from} ${to}`;
    names.set(key, [...new Set([...(names.get(key) ?? []), named(fault)])]);
    const all = names.get(key)!;
    spans.set(key, { from, to, text: all.length <= 2 ? list(all) : `${all[0]} and ${all.length - 1} more` });
  }
  const warmup = run.warmup > 0 ? [{ from: 0, to: run.warmup, text: "warm-up, not counted", calm: true }] : [];
  return [...warmup, ...spans.values()];
}
