// Distribution of the latency: the share of requests that are faster (CDF), and the share that are slower on a log scale (tail).
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { Chart } from "../../shared/chart";
import type { Curve, Values } from "../../shared/chart-types";
import { Figure } from "../../shared/figure";
import { percent, seconds } from "../../shared/format";
import type { Run } from "../model";
import { drawn, highlight, leaders, shortName, styleOf } from "../state";
import { Panels } from "./charts";

/** Points of the common grid. */
const POINTS = 320;

type Cdf = Run["cdf"][number];

/** Latencies from the smallest to the largest in equal steps of the logarithm. Below the 0.2th percentile is no information. */
function grid(cdfs: Cdf[], members: number[]): number[] {
  let [low, high] = [Infinity, 0];
  for (const cdf of cdfs) {
    const from = cdf.quantiles.findIndex((q) => q >= 0.002);
    for (const i of members) {
      for (const v of (cdf.latency[i] ?? []).slice(Math.max(0, from))) {
        if (v != null && v > 0) [low, high] = [Math.min(low, v), Math.max(high, v)];
      }
    }
  }
  if (!(high > 0)) return [0.001, 1];
  const step = Math.log(Math.max(high * 1.05, low * 1.5) / low) / (POINTS - 1);
  return Array.from({ length: POINTS }, (_, n) => low * Math.exp(n * step));
}

/** Share of requests at or below each latency of the grid. */
function cumulative(quantiles: number[], latency: Values, xs: number[]): Values {
  const known = quantiles.map((q, i) => [q, latency[i]] as const).filter((pair): pair is readonly [number, number] => pair[1] != null);
  let k = 0;
  return xs.map((x) => {
    if (!known.length) return null;
    while (k < known.length && known[k][1] <= x) k += 1;
    if (k === 0) return 0;
    if (k === known.length) return 1;
    const [[q0, v0], [q1, v1]] = [known[k - 1], known[k]];
    return v1 > v0 ? q0 + ((q1 - q0) * (x - v0)) / (v1 - v0) : q1;
  });
}

const TAIL_TICKS = [1, 0.1, 0.01, 0.001, 0.0001];

export function Cdf({ run }: { run: Run }) {
  const tail = useSignal(false);
  const others = useSignal(false);
  const range = useSignal<[number, number] | null>(null);
  const members = drawn.value;
  const key = `${members.join()}|${tail.value}|${others.value}`;
  const cdfs = run.cdf.filter((c) => (!run.pools.length || c.pool != null) && c.latency.some((all) => all.some((v) => v != null)));
  const x = useMemo(() => grid(cdfs, others.value ? leaders : members), [key]);
  const curves = useMemo(() => cdfs.map((cdf) => {
    const make = (i: number, faint: boolean): Curve => {
      const below = cumulative(cdf.quantiles, cdf.latency[i] ?? [], x);
      const values = tail.value ? below.map((q) => (q == null || q > 0.99995 ? null : 1 - q)) : below;
      return { key: i, label: shortName(i), style: styleOf(i), values, faint };
    };
    const grey = others.value ? leaders.filter((i) => !members.includes(i)).map((i) => make(i, true)) : [];
    return [...grey, ...members.map((i) => make(i, false))];
  }), [key, x]);
  if (!cdfs.length) return null;
  const unit = "share" as const;
  const at = (cdf: Cdf, i: number, q: number) => { const n = cdf.quantiles.findIndex((one) => one >= q - 1e-9); return n < 0 ? null : cdf.latency[i]?.[n] ?? null; };
  const first = cdfs[0];
  const spread = members.map((i) => [i, at(first, i, 0.5)] as const).filter((p): p is readonly [number, number] => p[1] != null).sort((a, b) => a[1] - b[1]);
  const summary = spread.length
    ? `${first.pool ? `${first.pool}: h` : "H"}alf of the requests are faster than ${seconds(spread[0][1])} with ${shortName(spread[0][0])}`
      + (spread.length > 1 ? `, and than ${seconds(spread[spread.length - 1][1])} with ${shortName(spread[spread.length - 1][0])}.` : ".")
    : "There are no latencies.";
  return (
    <Figure title={tail.value ? "Tail of the latency" : "Distribution of the latency"} summary={summary} range={range} wide={cdfs.length > 1}
      controls={<>
        <div class="segmented" role="group" aria-label="Form of the distribution">
          <button type="button" aria-pressed={!tail.value} onClick={() => { tail.value = false; }}>faster than (CDF)</button>
          <button type="button" aria-pressed={tail.value} onClick={() => { tail.value = true; }}>slower than (tail, log)</button>
        </div>
        {leaders.length > members.length && (
          <label class="switch"><input type="checkbox" checked={others.value} onChange={(e) => { others.value = e.currentTarget.checked; }} /> others in grey</label>
        )}
      </>}
      numbers={() => ({
        columns: ["strategy", ...(cdfs.length > 1 ? ["pool"] : []), "10 %", "25 %", "50 %", "75 %", "90 %", "99 %", "99.9 %"],
        rows: cdfs.flatMap((cdf) => members.map((i) => [shortName(i), ...(cdfs.length > 1 ? [cdf.pool ?? ""] : []),
          ...[0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999].map((q) => seconds(at(cdf, i, q)))])),
      })}>
      <Panels of={cdfs.map((c) => c.pool)}>
        {(pool) => (
          <>
            <p class="axis-y">{tail.value ? "share of requests that are slower, log" : "share of requests that are faster"}</p>
            <Chart x={x} curves={curves[cdfs.findIndex((c) => c.pool === pool)]} label={`${tail.value ? "Tail" : "Cumulative distribution"} of the latency${pool ? ` of ${pool}` : ""}. ${summary}`}
              xAxis={{ unit: "s", label: "latency", log: true }} range={range} highlight={highlight}
              yAxis={tail.value ? { unit, label: "slower", log: true, ticks: TAIL_TICKS, from: 0.0001, to: 1 } : { unit, label: "faster", from: 0, to: 1 }}
              heading={(v) => seconds(v)} value={(v) => percent(v)}
              meaning={tail.value ? "Share of requests that take longer than this." : "Share of requests that take at most this long."} />
            <p class="axis-x">latency, log</p>
          </>
        )}
      </Panels>
    </Figure>
  );
}
