// Percentiles, failures and queue lengths over the time of the run.
import { computed, signal, useComputed, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import type { Curve, Region, Values } from "../../shared/chart-types";
import { Figure } from "../../shared/figure";
import { at, seconds, show, type Unit } from "../../shared/format";
import type { LiveMetrics } from "../engine";
import { marks } from "../playback/timeline";
import { description, end, highlight, type Lane, lanes } from "../state";
import { LiveChart, type LiveData } from "./live-chart";

type Series = LiveMetrics["series"];
type Field = "p50" | "p99" | "errors" | "in_system";

interface View { field: Field; name: string; unit: Unit; log: boolean; axis: string; meaning: string }

const LATENCY: View[] = [
  { field: "p50", name: "p50", unit: "s", log: true, axis: "p50 of the requests that ended then, log", meaning: "Half of the requests that ended then took longer." },
  { field: "p99", name: "p99", unit: "s", log: true, axis: "p99 of the requests that ended then, log", meaning: "One in 100 requests that ended then took longer." },
];
const QUEUE: View[] = [{ field: "in_system", name: "in the system", unit: "number", log: false, axis: "requests in the system", meaning: "Requests that wait or are served." }];
const ERRORS: View[] = [{ field: "errors", name: "failed", unit: "1/s", log: false, axis: "failed requests per second", meaning: "Requests that failed, per second." }];

/** Zoom of all charts over time. */
const range = signal<[number, number] | null>(null);

function values(lane: Lane, field: Field): Values {
  return (lane.metrics.value?.series[field as keyof Series] as Values | undefined) ?? [];
}

function regions(): Region[] {
  const of = description.value!;
  const faults = marks().filter((one) => !one.load).map((one): Region => ({ from: one.from, to: one.to ?? Math.min(end.value, one.from + end.value / 100), text: one.short }));
  return of.warmup > 0 ? [{ from: 0, to: of.warmup, text: "warm-up", calm: true }, ...faults] : faults;
}

function TimeFigure({ title, views, start, summary }: { title: string; views: View[]; start: number; summary: (view: View) => string }) {
  const chosen = useSignal(start);
  const view = views[chosen.value];
  const all = lanes.value;
  const whole = end.value;
  const data = useComputed<LiveData>(() => {
    const shown = lanes.value;
    const width = shown.map((lane) => lane.metrics.value?.series.width).find((w) => w) ?? end.value / 200;
    const field = views[chosen.value].field;
    const count = Math.max(2, Math.round(end.value / width));
    const x = Array.from({ length: count }, (_, n) => (n + 0.5) * width);
    const curves = shown.map((lane): Curve => {
      const got = values(lane, field);
      return { key: lane.id, label: lane.strategy, style: lane.style, values: x.map((_, n) => got[n] ?? null) };
    });
    return { x, curves, regions: regions() };
  });
  const text = summary(view);
  return (
    <Figure title={title} summary={text} range={range}
      controls={views.length > 1 && (
        <div class="segmented" role="group" aria-label="Measure">
          {views.map((v, i) => <button type="button" key={v.name} aria-pressed={i === chosen.value} onClick={() => { chosen.value = i; }}>{v.name}</button>)}
        </div>
      )}
      numbers={() => ({ columns: ["time", ...all.map((lane) => lane.strategy)], rows: data.value.x.map((t, n) => [at(t), ...data.value.curves.map((c) => show(c.values[n], view.unit))]).filter((row) => row.slice(1).some((cell) => cell !== "–")) })}>
      <p class="axis-y">{view.axis}</p>
      <LiveChart data={data.value} shape={`${all.map((lane) => `${lane.id}${lane.strategy}`).join()}|${view.field}|${whole}`} label={`${title}. ${text}`} height={220}
        xAxis={{ unit: "s", label: "time", from: 0, to: whole, tick: (v) => `${v} s` }}
        yAxis={{ unit: view.unit, label: view.axis, log: view.log, ...(view.log ? {} : { from: 0 }), ...(view.unit === "1/s" ? { tick: (v: number) => String(v) } : {}) }}
        range={range} sync="time" highlight={highlight} heading={(t) => `at ${at(t)}`} meaning={view.meaning} />
    </Figure>
  );
}

const last = (list: Values) => { for (let i = list.length - 1; i >= 0; i--) if (list[i] != null) return list[i]; return null; };

export function OverTime() {
  const failing = useMemo(() => computed(() => lanes.value.some((lane) => lane.metrics.value?.series.errors.some((v) => v > 0))), []);
  const now = (view: View) => {
    const told = lanes.value.map((lane) => [lane.strategy, last(values(lane, view.field))] as const).filter(([, v]) => v != null);
    return told.length ? `Now: ${told.map(([name, v]) => `${name} ${view.unit === "s" ? seconds(v) : show(v, view.unit)}`).join(", ")}.` : "No values yet.";
  };
  return (
    <>
      <TimeFigure title="Latency over time" views={LATENCY} start={1} summary={now} />
      <TimeFigure title="Requests in the system" views={QUEUE} start={0} summary={now} />
      {failing.value && <TimeFigure title="Failed requests over time" views={ERRORS} start={0} summary={now} />}
    </>
  );
}
