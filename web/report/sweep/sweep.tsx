// A sweep: how each strategy's results change with a setting; curves with intervals, crossing points, and a table of all points.
import { useSignal } from "@preact/signals";
import type { Sweep } from "../model";
import { Legend } from "../charts/legend";
import { legend, leader, leaders, pair, shown, subjects } from "../state";
import { Words } from "../text";
import { SweepFigure } from "./figure";
import { SweepTable } from "./table";

/** Measures with a chart of their own, in this order; if the sweep has them. */
const CHARTS = ["latency.p99", "latency.mean", "errors.ratio", "fairness.jain", "cache.hit_ratio", "goodput", "utilisation.max"];
/** More sentences than this are folded. */
const CROSSINGS = 6;

function Crossings({ sweep }: { sweep: Sweep }) {
  const all = useSignal(false);
  if (!sweep.crossings.length) return null;
  const view = (a: number, b: number) => {
    const members = [leader[a], leader[b]];
    legend.value = leaders.filter((i) => legend.value.includes(i) || members.includes(i));
    shown.value = new Set(members);
    pair.value = [members[0], members[1]];
  };
  const visible = all.value ? sweep.crossings : sweep.crossings.slice(0, CROSSINGS);
  return (
    <div class="crossings">
      <h3>Crossing points</h3>
      <ul>
        {visible.map((crossing, i) => (
          <li key={i}><span><Words text={crossing.text} /></span> <button type="button" class="quiet" aria-label={`Show the two: ${subjects[crossing.a].label} and ${subjects[crossing.b].label}`}
            onClick={() => view(crossing.a, crossing.b)}>Show the two</button></li>
        ))}
      </ul>
      {sweep.crossings.length > CROSSINGS && (
        <button type="button" class="quiet" aria-expanded={all.value} onClick={() => { all.value = !all.value; }}>
          {all.value ? "Show fewer" : `Show all ${sweep.crossings.length}`}
        </button>
      )}
    </div>
  );
}

/** Whether strategies differ by more than one part in a hundred somewhere; else a chart shows nothing. */
function differs(sweep: Sweep, name: string): boolean {
  return sweep.points.some((_, p) => {
    const all = sweep.strategies.map((s) => s.values[name]?.[p]?.[0]).filter((v): v is number => v != null);
    return all.length > 0 && (sweep.strategies.length === 1 || Math.max(...all) - Math.min(...all) > 0.01 * Math.max(...all));
  });
}

export function SweepSection({ sweep }: { sweep: Sweep }) {
  const metrics = CHARTS.flatMap((name) => sweep.metrics.filter((m) => m.name === name && differs(sweep, name)));
  return (
    <section id="sweep" aria-labelledby="sweep-h">
      <h2 id="sweep-h">How the results change with {sweep.axes.map((axis) => axis.key).join(" and ")}</h2>
      <p class="note">Bands are 95 % intervals.{leaders.length < subjects.length && " Strategies with the same results share a curve: +2 says that it stands for two more."} Drag across a chart to zoom, double-click to see everything again.</p>
      <Crossings sweep={sweep} />
      <Legend />
      <div class="figures">{metrics.map((metric, i) => <SweepFigure key={metric.name} sweep={sweep} metric={metric} wide={i === 0} />)}</div>
      <SweepTable sweep={sweep} />
    </section>
  );
}
