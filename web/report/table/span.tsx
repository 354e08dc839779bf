// A strategy's latency from p50 to p99.9 on a log scale, as a small drawing in its row; all rows have the same scale.
import { seconds } from "../../shared/format";
import type { Run, Strategy } from "../model";
import { inScope } from "../state";

const WIDTH = 104;
const PAD = 5;
const NAMES = ["latency.p50", "latency.p90", "latency.p99", "latency.p999"];

const values = (strategy: Strategy, pool: string | null) => NAMES.map((name) => strategy.values[inScope(name, pool)]?.[0] ?? null);

/** Range of all rows. */
export function scale(run: Run, pool: string | null): [number, number] | null {
  const all = run.strategies.flatMap((s) => values(s, pool)).filter((v): v is number => v != null && v > 0);
  return all.length ? [Math.min(...all), Math.max(...all) * 1.001] : null;
}

export function Span({ strategy, pool, range }: { strategy: Strategy; pool: string | null; range: [number, number] }) {
  const [p50, p90, p99, p999] = values(strategy, pool);
  const x = (v: number | null) =>
    v == null || v <= 0 ? null : PAD + (Math.log(v / range[0]) / Math.log(range[1] / range[0])) * (WIDTH - 2 * PAD);
  const [a, b, c, d] = [p50, p90, p99, p999].map(x);
  if (a == null || d == null) return <span class="none">–</span>;
  const label = `p50 ${seconds(p50)}, p90 ${seconds(p90)}, p99 ${seconds(p99)}, p99.9 ${seconds(p999)}`;
  return (
    <svg class="span" width={WIDTH} height="16" viewBox={`0 0 ${WIDTH} 16`} role="img" aria-label={label}>
      <title>{label}</title>
      <line class="span-axis" x1={PAD} x2={WIDTH - PAD} y1="8" y2="8" />
      <line class="span-range" x1={a} x2={d} y1="8" y2="8" />
      {b != null && c != null && <rect class="span-body" x={a} y="5.5" width={Math.max(1, b - a)} height="5" />}
      <line class="span-end" x1={d} x2={d} y1="5" y2="11" />
      {c != null && <circle class="span-p99" cx={c} cy="8" r="3.6" />}
    </svg>
  );
}
