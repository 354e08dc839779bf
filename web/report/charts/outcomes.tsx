// How the requests of a strategy ended, over time: from its first run. Only where requests failed in more than one way; else the chart of
// failed requests says it all.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Chart } from "../../shared/chart";
import type { Curve } from "../../shared/chart-types";
import { Figure } from "../../shared/figure";
import { at, significant } from "../../shared/format";
import { numbered } from "../../shared/palette";
import { Swatch } from "../../shared/swatch";
import type { Run } from "../model";
import { drawn, faults, leaders, moments, pair, shortName, timeEnd, timeRange } from "../state";
import { Chosen } from "./servers";

const words = (outcome: string) => outcome.replaceAll("_", " ");

const failures = (run: Run, which: number) => Object.entries(run.timelines[which]?.outcomes ?? {}).filter(([name, bins]) => name !== "ok" && bins.some((n) => n > 0));

export function Outcomes({ run }: { run: Run }) {
  const choices = leaders.filter((i) => failures(run, i).length > 1);
  const which = useSignal<number | null>(null);
  const wanted = which.value ?? [pair.value[1], pair.value[0], ...drawn.value].find((i) => choices.includes(i)) ?? choices[0];
  const regions = useMemo(() => faults(run, null), [run]);
  const timeline = run.timelines[wanted];
  const curves = useMemo(() => (timeline ? failures(run, wanted).map(([name, bins], n): Curve =>
    ({ key: name, label: words(name), style: numbered(n), values: bins.map((count) => count / timeline.bin) })) : []), [timeline]);
  const x = useMemo(() => (timeline && curves.length ? curves[0].values.map((_, n) => (n + 0.5) * timeline.bin) : []), [curves]);
  if (!timeline || !curves.length) return null;
  const peak = (c: Curve) => Math.max(...c.values.map((v) => v ?? 0));
  const top = [...curves].sort((a, b) => peak(b) - peak(a))[0];
  const summary = `${shortName(wanted)}: most often “${top.label}”, up to ${significant(peak(top))} per second. First run only.`;
  return (
    <Figure title="Failed requests over time by cause" summary={summary} range={timeRange}
      controls={<Chosen label="Strategy" value={wanted} choices={choices} onChange={(i) => { which.value = i; }} />}
      numbers={() => ({ columns: ["time", ...curves.map((c) => c.label)], rows: x.map((t, n) => [at(t), ...curves.map((c) => significant(c.values[n]))]) })}>
      <p class="axis-y">failed requests per second</p>
      <Chart x={x} curves={curves} label={`Failed requests over time by cause. ${summary}`} height={250} regions={regions} marks={moments} range={timeRange} sync="time"
        xAxis={{ unit: "s", label: "time", from: 0, to: timeEnd(run), tick: (v) => `${v} s` }} yAxis={{ unit: "1/s", label: "failed", from: 0, tick: (v) => String(v) }}
        heading={(t) => `at ${at(t)}`} meaning="Requests that ended so, per second." />
      <p class="key">{curves.map((c) => <span key={c.label}><Swatch style={c.style} /> {c.label}</span>)}</p>
    </Figure>
  );
}
