// Failed requests by cause: a bar for each strategy; causes differ in colour and in pattern.
import { Figure } from "../../shared/figure";
import { percent } from "../../shared/format";
import { hex } from "../../shared/palette";
import { Rows, type PlotRow } from "../../shared/rows";
import { dark } from "../../shared/theme";
import type { Metric, Run } from "../model";
import { drawn, highlight, inScope, scopes, shortName, styleOf } from "../state";
import { Panels } from "./charts";

const NAMES: Record<string, string> = {
  timed_out: "timed out", error: "error response", rejected: "rejected", reset: "connection reset", no_healthy_server: "no healthy server", unreachable: "unreachable",
};

const name = (metric: Metric) => (metric.name === "unfinished.ratio" ? "unfinished" : NAMES[metric.name.slice(7)] ?? metric.label);
const value = (run: Run, which: number, metric: string, pool: string | null) => run.strategies[which].values[inScope(metric, pool)]?.[0] ?? 0;

/** Fill of a cause: its colour under stripes whose direction and distance belong to the cause. */
function Pattern({ id, index }: { id: string; index: number }) {
  const colour = hex({ colour: index % 6, dash: 0, shape: 0 }, dark.value);
  const angle = [0, 45, 135, 90, 0, 45][index % 6];
  const size = [0, 6, 6, 5, 7, 10][index % 6];
  return (
    <pattern id={id} width={size || 8} height={size || 8} patternUnits="userSpaceOnUse" patternTransform={`rotate(${angle})`}>
      <rect width="10" height="10" fill={colour} />
      {size > 0 && <line x1="0" x2="10" y1="1" y2="1" stroke="var(--ground)" stroke-width="2" opacity="0.7" />}
    </pattern>
  );
}

export function Errors({ run }: { run: Run }) {
  const panels = scopes();
  const causes = run.metrics.filter((m) => (m.name.startsWith("errors.") && m.name !== "errors.ratio") || m.name === "unfinished.ratio")
    .filter((m) => panels.some((pool) => run.strategies.some((_, i) => value(run, i, m.name, pool) > 0.0005 || (m.name !== "unfinished.ratio" && value(run, i, m.name, pool) > 0))));
  if (!causes.length) return null;
  const total = (i: number, pool: string | null) => causes.reduce((sum, m) => sum + value(run, i, m.name, pool), 0);
  const order = (pool: string | null) => [...drawn.value].sort((a, b) => total(a, pool) - total(b, pool) || a - b);
  const most = Math.max(0.0001, ...panels.flatMap((pool) => drawn.value.map((i) => total(i, pool))));
  const row = (i: number, pool: string | null): PlotRow => ({
    key: i,
    label: shortName(i),
    style: styleOf(i),
    note: percent(total(i, pool)),
    draw: (x) => {
      let sum = 0;
      return causes.map((m, n) => {
        const from = sum;
        sum += value(run, i, m.name, pool);
        return <rect key={m.name} x={x(from)} y="-7" width={Math.max(0, x(sum) - x(from))} height="14" fill={`url(#cause-${n})`} />;
      });
    },
    tip: causes.filter((m) => value(run, i, m.name, pool) > 0).map((m) => (
      <div class="tip-row" key={m.name}><span class="tip-name">{name(m)}</span> <b>{percent(value(run, i, m.name, pool))}</b><div class="tip-note">{m.doc}</div></div>
    )),
  });
  const worst = panels.flatMap((pool) => drawn.value.map((i) => ({ i, pool, value: total(i, pool) }))).sort((a, b) => b.value - a.value)[0];
  const none = drawn.value.filter((i) => panels.every((pool) => total(i, pool) === 0)).length;
  const summary = worst && worst.value > 0
    ? `Of the strategies shown, ${shortName(worst.i)} has the most failures: ${percent(worst.value)} of the requests${worst.pool ? ` of ${worst.pool}` : ""}.` + (none ? ` ${none} of ${drawn.value.length} have none.` : "")
    : "The strategies shown have no failed requests.";
  return (
    <Figure title="Failed requests by cause" summary={summary} wide={panels.length > 1}
      controls={<>
        <svg width="0" height="0" aria-hidden="true" class="defs"><defs>{causes.map((_, n) => <Pattern key={n} id={`cause-${n}`} index={n} />)}</defs></svg>
        <span class="key">{causes.map((m, n) => <span key={m.name}><svg width="16" height="12" aria-hidden="true"><rect class="plain" width="16" height="12" fill={`url(#cause-${n})`} /></svg> {name(m)}</span>)}</span>
      </>}
      numbers={() => ({
        columns: ["strategy", ...(panels.length > 1 ? ["pool"] : []), ...causes.map(name), "sum"],
        rows: panels.flatMap((pool) => order(pool).map((i) => [shortName(i), ...(panels.length > 1 ? [pool ?? ""] : []),
          ...causes.map((m) => percent(value(run, i, m.name, pool))), percent(total(i, pool))])),
      })}>
      <Panels of={panels}>
        {(pool) => <Rows rows={order(pool).map((i) => row(i, pool))} axis={{ unit: "share", label: "failed", from: 0 }} domain={[0, most * 1.04]} highlight={highlight}
          label={`Failed requests by cause${pool ? ` of ${pool}` : ""}. ${summary}`} />}
      </Panels>
    </Figure>
  );
}
