// Distribution of the latency so far, with what theory says where a theorem applies.
import { signal, useComputed, useSignal } from "@preact/signals";
import type { Curve } from "../../shared/chart-types";
import { Figure } from "../../shared/figure";
import { percent, seconds } from "../../shared/format";
import { highlight, lanes } from "../state";
import { LiveChart, type LiveData } from "./live-chart";

const POINTS = 100;
const range = signal<[number, number] | null>(null);

/** Share of requests that are at most as slow as x, by interpolation between quantiles. */
function below(cdf: [number, number][], x: number[]): (number | null)[] {
  let k = 0;
  return x.map((value) => {
    if (!cdf.length) return null;
    while (k < cdf.length && cdf[k][1] <= value) k += 1;
    if (k === 0) return 0;
    if (k === cdf.length) return 1;
    const [[q0, v0], [q1, v1]] = [cdf[k - 1], cdf[k]];
    return v1 > v0 ? q0 + ((q1 - q0) * (value - v0)) / (v1 - v0) : q1;
  });
}

export function Cdf() {
  const tail = useSignal(false);
  const data = useComputed<LiveData>(() => {
    const all = lanes.value.map((lane) => ({ lane, cdf: lane.metrics.value?.cdf ?? [] }));
    // Without the fastest percent, which would fill half of a logarithmic axis.
    const known = all.flatMap(({ cdf }) => cdf.filter(([q]) => q >= 0.01).map(([, v]) => v)).filter((v) => v > 0);
    const [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0.001, 1];
    const x = Array.from({ length: POINTS }, (_, n) => low * (Math.max(high / low, 1.5)) ** (n / (POINTS - 1)));
    const curves = all.map(({ lane, cdf }): Curve => {
      const share = below(cdf, x);
      return { key: lane.id, label: lane.strategy, style: lane.style, values: tail.value ? share.map((q) => (q == null || q > 0.99995 ? null : 1 - q)) : share };
    });
    return { x, curves };
  });
  const at = (q: number) => lanes.value.map((lane) => [lane.strategy, lane.metrics.value?.cdf.find(([one]) => one >= q - 1e-9)?.[1] ?? null] as const).filter(([, v]) => v != null);
  const half = at(0.5);
  const summary = half.length ? `Half of the requests are faster than ${half.map(([name, v]) => `${seconds(v)} with ${name}`).join(", ")}.` : "No request has been measured yet.";
  return (
    <Figure title={tail.value ? "Tail of the latency" : "Distribution of the latency"} summary={summary} range={range}
      controls={(
        <div class="segmented" role="group" aria-label="Form of the distribution">
          <button type="button" aria-pressed={!tail.value} onClick={() => { tail.value = false; }}>faster than (CDF)</button>
          <button type="button" aria-pressed={tail.value} onClick={() => { tail.value = true; }}>slower than (tail, log)</button>
        </div>
      )}
      numbers={() => ({ columns: ["strategy", "50 %", "90 %", "99 %", "99.9 %"], rows: lanes.value.map((lane) => [lane.strategy, ...[0.5, 0.9, 0.99, 0.999].map((q) => seconds(lane.metrics.value?.cdf.find(([one]) => one >= q - 1e-9)?.[1]))]) })}>
      <p class="axis-y">{tail.value ? "share of requests that are slower, log" : "share of requests that are faster"}</p>
      <LiveChart data={data.value} shape={`${lanes.value.map((lane) => `${lane.id}${lane.strategy}`).join()}|${tail.value}`} label={`${summary}`} height={220} range={range} highlight={highlight}
        xAxis={{ unit: "s", label: "latency", log: true }}
        yAxis={tail.value ? { unit: "share", label: "slower", log: true, ticks: [1, 0.1, 0.01, 0.001, 0.0001], from: 0.0001, to: 1 } : { unit: "share", label: "faster", from: 0, to: 1 }}
        heading={(v) => seconds(v)} value={(v) => percent(v)} meaning={tail.value ? "Share of requests that take longer than this." : "Share of requests that take at most this long."} />
      <p class="axis-x">latency, log</p>
    </Figure>
  );
}
