// Load per server over time, against capacity: from the first run of a strategy. Of many servers the ten that stand out most have curves, the
// rest is a band.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Chart } from "../../shared/chart";
import type { Area, Curve, Values } from "../../shared/chart-types";
import { Figure } from "../../shared/figure";
import { at, list, significant } from "../../shared/format";
import { numbered } from "../../shared/palette";
import { Swatch } from "../../shared/swatch";
import type { Run, Timeline } from "../model";
import { drawn, faults, groupName, leaders, moments, pair, shortName, timeEnd, timeRange } from "../state";
import { Panels } from "./charts";

const MOST = 10;
/** Bins of the moving average of request rates. */
const SMOOTH = 5;

type Measure = "load" | "in_server" | "errors";
const MEASURES: Record<Measure, { name: string; axis: string; meaning: string }> = {
  load: { name: "requests against capacity", axis: "requests relative to capacity; 1 is the fair share", meaning: "1: the server gets its share of capacity. Moving average over 5 bins." },
  in_server: { name: "queue length", axis: "most requests in a server at once", meaning: "Highest number of requests in the server then, waiting and in service." },
  errors: { name: "failed", axis: "failed or refused requests per second", meaning: "Requests that failed at this server or were refused, per second." },
};

function smooth(values: number[]): number[] {
  const half = Math.floor(SMOOTH / 2);
  return values.map((_, i) => {
    const part = values.slice(Math.max(0, i - half), i + half + 1);
    return part.reduce((a, b) => a + b, 0) / part.length;
  });
}

/** Values by server of a pool, by bin. */
function values(run: Run, timeline: Timeline, pool: string, measure: Measure): { name: string; values: Values }[] {
  const members = timeline.servers.filter((s) => s.pool === pool);
  if (measure === "in_server") return members.map((s) => ({ name: s.server, values: s.in_server }));
  if (measure === "errors") return members.map((s) => ({ name: s.server, values: s.errors.map((n) => n / timeline.bin) }));
  const capacity = members.map((s) => run.servers.find((one) => one.pool === pool && one.server === s.server)?.capacity ?? 1);
  const sum = capacity.reduce((a, b) => a + b, 0);
  const picks = members.map((s) => smooth(s.picks));
  const totals = (picks[0] ?? []).map((_, n) => picks.reduce((all, one) => all + one[n], 0));
  return members.map((s, k) => ({ name: s.server, values: picks[k].map((n, b) => (totals[b] > 0 ? n / totals[b] / (capacity[k] / sum) : null)) }));
}

const peak = (all: Values) => all.reduce<number>((most, v) => Math.max(most, v ?? 0), 0);

interface Panel { curves: Curve[]; areas: Area[]; x: number[]; rest: number; top: { name: string; peak: number } | null }

function panel(run: Run, timeline: Timeline, pool: string, measure: Measure): Panel {
  const all = values(run, timeline, pool, measure);
  const order = all.map((_, i) => i).sort((a, b) => peak(all[b].values) - peak(all[a].values) || a - b);
  const chosen = new Set(order.slice(0, MOST));
  const rest = all.filter((_, i) => !chosen.has(i));
  const bins = all[0]?.values.length ?? 0;
  const end = (pick: (...all: number[]) => number): Values => Array.from({ length: bins }, (_, n) => {
    const there = rest.map((one) => one.values[n]).filter((v): v is number => v != null);
    return there.length ? there.reduce((a, b) => pick(a, b)) : null;
  });
  const areas = rest.length ? [{ low: end(Math.min), high: end(Math.max), text: `the other ${rest.length} servers` }] : [];
  const curves = all.flatMap((one, i): Curve[] => (chosen.has(i) ? [{ key: one.name, label: one.name, style: numbered([...chosen].sort((a, b) => a - b).indexOf(i)), values: one.values }] : []));
  const x = Array.from({ length: bins }, (_, n) => (n + 0.5) * timeline.bin);
  return { curves, areas, x, rest: rest.length, top: order.length ? { name: all[order[0]].name, peak: peak(all[order[0]].values) } : null };
}

/** A selection of a strategy. */
export function Chosen({ value, choices, label, onChange }: { value: number; choices: number[]; label: string; onChange: (which: number) => void }) {
  return (
    <label class="select">{label} <select value={value} onChange={(event) => onChange(Number(event.currentTarget.value))}>
      {choices.map((i) => <option key={i} value={i}>{groupName(i)}</option>)}
    </select></label>
  );
}

export function Servers({ run }: { run: Run }) {
  const choices = leaders.filter((i) => run.timelines[i]?.servers.length);
  const which = useSignal<number | null>(null);
  const measure = useSignal<Measure>("load");
  const wanted = which.value ?? [pair.value[1], pair.value[0], drawn.value[0]].find((i) => choices.includes(i)) ?? choices[0];
  const timeline = run.timelines[wanted];
  const pools = useMemo(() => [...new Set(timeline?.servers.map((s) => s.pool) ?? [])].filter((pool) => timeline!.servers.filter((s) => s.pool === pool).length > 1), [timeline]);
  const regions = useMemo(() => pools.map((pool) => faults(run, pool)), [pools]);
  const made = useMemo(() => pools.map((pool) => panel(run, timeline!, pool, measure.value)), [timeline, measure.value]);
  if (!timeline || !pools.length) return null;
  const measures = (Object.keys(MEASURES) as Measure[]).filter((m) => m !== "errors" || timeline.servers.some((s) => s.errors.some((n) => n > 0)));
  const view = MEASURES[measure.value];
  const summary = `${shortName(wanted)}: ` + list(made.flatMap((p) => (p.top ? [`${p.top.name} has the highest value, ${significant(p.top.peak)}`] : []))) + ". First run only.";
  const { value: one } = measure;
  return (
    <Figure title="Load per server over time" summary={summary} range={timeRange} wide
      controls={<>
        <Chosen label="Strategy" value={wanted} choices={choices} onChange={(i) => { which.value = i; }} />
        <div class="segmented" role="group" aria-label="Measure">
          {measures.map((m) => <button type="button" key={m} aria-pressed={m === one} onClick={() => { measure.value = m; }}>{MEASURES[m].name}</button>)}
        </div>
      </>}
      numbers={() => ({
        columns: ["time", ...made.flatMap((p) => p.curves.map((c) => c.label))],
        rows: (made[0]?.x ?? []).map((t, n) => [at(t), ...made.flatMap((p) => p.curves.map((c) => significant(c.values[n])))]),
      })}>
      <Panels of={pools}>
        {(pool) => {
          const p = made[pools.indexOf(pool)];
          return (
            <>
              <p class="axis-y">{view.axis}</p>
              <Chart x={p.x} curves={p.curves} areas={p.areas} label={`Load per server of ${pool}. ${summary}`} height={pools.length > 2 ? 220 : 270} regions={regions[pools.indexOf(pool)]}
                xAxis={{ unit: "s", label: "time", from: 0, to: timeEnd(run), tick: (v) => `${v} s` }} yAxis={{ unit: "number", label: view.axis, from: 0 }}
                marks={moments} range={timeRange} sync="time" heading={(t) => `at ${at(t)}`} meaning={view.meaning} />
              <p class="key">{p.curves.map((c) => <span key={c.label}><Swatch style={c.style} /> {c.label}</span>)}{p.rest > 0 && <span><svg width="20" height="12" aria-hidden="true"><rect class="plain" width="20" height="12" fill="var(--faint)" /></svg> the other {p.rest} servers: lowest to highest</span>}</p>
            </>
          );
        }}
      </Panels>
    </Figure>
  );
}
