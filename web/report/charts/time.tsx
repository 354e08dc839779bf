// Charts over time, with the faults marked: latency, failed requests, goodput, requests in the system, number of servers, retries.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Chart } from "../../shared/chart";
import type { Curve, Values } from "../../shared/chart-types";
import { Figure } from "../../shared/figure";
import { at, show, type Unit } from "../../shared/format";
import type { Run, Series } from "../model";
import { drawn, faults, highlight, moments, scopes, shortName, styleOf, timeEnd, timeRange } from "../state";
import { Panels } from "./charts";

type Field = "p99" | "mean" | "errors" | "goodput" | "in_system" | "servers";

interface View { field: Field; name: string; peak: string; unit: Unit; log?: boolean; axis: string; meaning: string; stepped?: boolean }

const VIEWS: Record<Field, View> = {
  p99: { field: "p99", name: "p99", peak: "p99", unit: "s", log: true, axis: "p99 of the requests that ended then, log", meaning: "One in 100 requests that ended then took longer." },
  mean: { field: "mean", name: "mean", peak: "mean", unit: "s", log: true, axis: "mean latency of the requests that ended then, log", meaning: "Mean over the requests that ended then." },
  errors: { field: "errors", name: "failed", peak: "rate of failed requests", unit: "1/s", axis: "failed requests per second", meaning: "Requests that failed, per second, for any cause." },
  goodput: { field: "goodput", name: "goodput", peak: "goodput", unit: "1/s", axis: "good responses per second", meaning: "Requests with a good response, per second." },
  in_system: { field: "in_system", name: "requests in the system", peak: "number of requests in the system", unit: "number", axis: "requests in the system", meaning: "Mean number of requests that wait or are served." },
  servers: { field: "servers", name: "servers", peak: "number of servers", unit: "number", axis: "number of servers", meaning: "Servers of the pool, draining ones included.", stepped: true },
};

const series = (run: Run, pool: string | null): Series | undefined => run.series.find((s) => s.pool === pool);
const present = (values: Values[] | null | undefined) => values?.some((v) => v?.some((x) => x != null)) ?? false;
const changes = (values: Values[] | null | undefined) => values?.some((v) => new Set(v?.filter((x) => x != null)).size > 1) ?? false;
const positive = (values: Values[] | null | undefined) => values?.some((v) => v?.some((x) => x != null && x > 0)) ?? false;

function peak(run: Run, field: Field, pool: string | null): { which: number; value: number; time: number } | null {
  const one = series(run, pool);
  let best: { which: number; value: number; time: number } | null = null;
  for (const which of drawn.value) {
    (one?.[field]?.[which] ?? []).forEach((value, n) => {
      if (value != null && (!best || value > best.value)) best = { which, value, time: one!.time[n] };
    });
  }
  return best;
}

function sentence(run: Run, view: View, panels: (string | null)[]): string {
  return panels.map((pool) => {
    const top = peak(run, view.field, pool);
    if (!top) return "";
    const words = view.field === "errors" && top.value === 0 ? "no request fails."
      : `the highest ${view.peak} is ${show(top.value, view.unit)}: ${shortName(top.which)} at ${at(top.time)}.`;
    return pool ? `${pool}: ${words}` : words.charAt(0).toUpperCase() + words.slice(1);
  }).filter(Boolean).join(" ");
}

export function curvesOf(values: Values[] | null | undefined, members: number[], stepped = false): Curve[] {
  return members.filter((i) => values?.[i]).map((i) => ({ key: i, label: shortName(i), style: styleOf(i), values: values![i], stepped }));
}

function TimeFigure({ run, title, views, panels }: { run: Run; title: string; views: View[]; panels: (string | null)[] }) {
  const chosen = useSignal(0);
  const view = views[chosen.value];
  const members = drawn.value;
  const regions = useMemo(() => panels.map((pool) => faults(run, pool)), [panels.join()]);
  const curves = useMemo(() => panels.map((pool) => curvesOf(series(run, pool)?.[view.field], members, view.stepped)), [members, view]);
  const summary = sentence(run, view, panels);
  return (
    <Figure title={title} summary={summary} range={timeRange} wide={panels.length > 1}
      controls={views.length > 1 && (
        <div class="segmented" role="group" aria-label="Measure">
          {views.map((v, i) => <button type="button" key={v.name} aria-pressed={i === chosen.value} onClick={() => { chosen.value = i; }}>{v.name}</button>)}
        </div>
      )}
      numbers={() => ({
        columns: [...(panels.length > 1 ? ["pool"] : []), "time", ...members.map(shortName)],
        rows: panels.flatMap((pool) => (series(run, pool)?.time ?? []).map((t, n) => [...(panels.length > 1 ? [pool ?? ""] : []), at(t),
          ...members.map((i) => show(series(run, pool)?.[view.field]?.[i]?.[n], view.unit))])),
      })}>
      <Panels of={panels}>
        {(pool) => (
          <>
            <p class="axis-y">{view.axis}</p>
            <Chart x={series(run, pool)!.time} curves={curves[panels.indexOf(pool)]} label={`${title}${pool ? ` of ${pool}` : ""}. ${summary}`}
              xAxis={{ unit: "s", label: "time", from: 0, to: timeEnd(run), tick: (v) => `${v} s` }} height={panels.length > 1 ? 220 : 250}
              yAxis={{ unit: view.unit, label: view.axis, log: !!view.log, tick: view.unit === "1/s" ? (v) => String(v) : undefined, ...(view.log ? {} : { from: 0 }) }}
              regions={regions[panels.indexOf(pool)]} marks={moments} range={timeRange} sync="time" highlight={highlight} heading={(t) => `at ${at(t)}`} meaning={view.meaning} />
          </>
        )}
      </Panels>
    </Figure>
  );
}

export function OverTime({ run }: { run: Run }) {
  const panels = scopes().filter((pool) => series(run, pool));
  const within = (field: Field, test: typeof present) => panels.filter((pool) => test(series(run, pool)?.[field]));
  const overall = series(run, null) ? [null] : [];
  const waiting = within("in_system", present).length ? within("in_system", present) : overall.filter(() => present(series(run, null)?.in_system));
  const latency = panels.filter((pool) => present(series(run, pool)?.p99) || present(series(run, pool)?.mean));
  const counts = within("servers", changes);
  return (
    <>
      {latency.length > 0 && <TimeFigure run={run} title="Latency over time" views={[VIEWS.p99, VIEWS.mean]} panels={latency} />}
      {within("errors", positive).length > 0 && <TimeFigure run={run} title="Failed requests over time" views={[VIEWS.errors]} panels={within("errors", positive)} />}
      {within("goodput", present).length > 0 && <TimeFigure run={run} title="Goodput over time" views={[VIEWS.goodput]} panels={within("goodput", present)} />}
      {waiting.length > 0 && <TimeFigure run={run} title="Queue length over time" views={[VIEWS.in_system]} panels={waiting} />}
      {counts.length > 0 && <TimeFigure run={run} title="Number of servers" views={[VIEWS.servers]} panels={counts} />}
      <Attempts run={run} />
    </>
  );
}

const ATTEMPTS = [
  { field: "retries", title: "Retries over time", axis: "retries per second", meaning: "Retries of the first run, per second." },
  { field: "hedges", title: "Hedged requests over time", axis: "hedged requests per second", meaning: "Hedged requests of the first run, per second." },
  { field: "balancer_queue", title: "Queue in the balancers", axis: "requests in the balancers' queues", meaning: "Requests that wait in a balancer, in the first run." },
] as const;

/** What only the first replication tells: retries, hedges, queues in balancers. */
function Attempts({ run }: { run: Run }) {
  const members = drawn.value;
  const regions = useMemo(() => faults(run, null), [run]);
  const made = useMemo(() => ATTEMPTS.map((view) => {
    const with_ = members.filter((i) => run.timelines[i]?.[view.field]);
    const bin = run.timelines[with_[0]]?.bin ?? 1;
    const length = Math.max(0, ...with_.map((i) => run.timelines[i]![view.field]!.length));
    const scale = view.field === "balancer_queue" ? 1 : 1 / bin;
    const curves = with_.map((i): Curve => ({ key: i, label: shortName(i), style: styleOf(i), values: run.timelines[i]![view.field]!.map((v) => v * scale) }));
    return { view, curves, x: Array.from({ length }, (_, n) => (n + 0.5) * bin) };
  }), [members]);
  return (
    <>
      {made.filter(({ curves }) => positive(curves.map((c) => c.values))).map(({ view, curves, x }) => {
        const most = curves.map((c) => [Math.max(...c.values.map((v) => v ?? 0)), c.label] as const).sort((a, b) => b[0] - a[0])[0];
        const summary = `The most are ${show(most[0], view.field === "balancer_queue" ? "number" : "1/s")}, with ${most[1]}.`;
        return (
          <Figure key={view.field} title={view.title} summary={summary} range={timeRange}
            numbers={() => ({ columns: ["time", ...curves.map((c) => c.label)], rows: x.map((t, n) => [at(t), ...curves.map((c) => show(c.values[n], "number"))]) })}>
            <p class="axis-y">{view.axis}</p>
            <Chart x={x} curves={curves} label={`${view.title}. ${summary}`} xAxis={{ unit: "s", label: "time", from: 0, to: timeEnd(run), tick: (v) => `${v} s` }} height={250}
              yAxis={{ unit: view.field === "balancer_queue" ? "number" : "1/s", label: view.axis, from: 0, tick: (v) => String(v) }} regions={regions} marks={moments} range={timeRange} sync="time"
              highlight={highlight} heading={(t) => `at ${at(t)}`} meaning={view.meaning} />
          </Figure>
        );
      })}
    </>
  );
}
