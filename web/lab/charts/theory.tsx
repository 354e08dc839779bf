// Measured values beside those of queueing theory, where a theorem applies.
import { Figure } from "../../shared/figure";
import { seconds, show } from "../../shared/format";
import { hex } from "../../shared/palette";
import { type PlotRow, Rows } from "../../shared/rows";
import { dark } from "../../shared/theme";
import { catalog, description, highlight, lanes } from "../state";

export function Theory() {
  const known = description.value?.theory ?? [];
  const found = lanes.value.flatMap((lane) => known.filter((one) => one.strategy === lane.strategy && one.metric.startsWith("latency")).map((theory) => ({ lane, theory, measured: lane.metrics.value?.values[theory.metric] ?? null })));
  const values = found.flatMap((one) => [one.theory.value, ...(one.measured ? [one.measured] : [])]);
  if (!found.length) return null;
  const [low, high] = [Math.min(...values) / 1.25, Math.max(...values) * 1.25];
  const label = (metric: string) => catalog.value?.metrics.find((one) => one.name === metric)?.label ?? metric;
  const rows = found.map(({ lane, theory, measured }, key): PlotRow => ({
    key, label: lane.strategy, style: lane.style, note: measured == null ? "–" : `${(100 * (measured / theory.value - 1)).toFixed(1).replace("-", "−")} %`,
    draw: (x) => (
      <g>
        <path d={`M${x(theory.value)} -9V9`} stroke="currentColor" stroke-width="2" />
        {measured != null && <path d={`M${x(measured) - 5} 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0Z`} fill={hex(lane.style, dark.value)} />}
      </g>
    ),
    tip: <><div class="tip-row">{label(theory.metric)}: {seconds(measured)}</div><div class="tip-note">theory {seconds(theory.value)} ({theory.source})</div></>,
  }));
  const text = found.map(({ lane, theory }) => `${lane.strategy} ${seconds(theory.value)} (${theory.source})`).join(", ");
  return (
    <Figure title="Measured and theory" summary={`${label(found[0].theory.metric)} in the long run by queueing theory, as a line: ${text}. The dot is this run; at the right is how far it is off.`}
      numbers={() => ({ columns: ["strategy", "metric", "measured", "theory", "theorem"], rows: found.map(({ lane, theory, measured }) => [lane.strategy, theory.metric, show(measured, "s"), show(theory.value, "s"), theory.source]) })}>
      <Rows rows={rows} axis={{ unit: "s", label: "latency", log: true }} domain={[low, high]} highlight={highlight} label={`Measured values and theory. ${text}`} />
    </Figure>
  );
}
