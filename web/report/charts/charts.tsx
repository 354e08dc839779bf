// The charts of a run.
import type { Run } from "../model";
import { Cache } from "./cache";
import { Cdf } from "./cdf";
import { Errors } from "./errors";
import { Fairness } from "./fairness";
import { Legend } from "./legend";
import { Outcomes } from "./outcomes";
import { Percentiles } from "./percentiles";
import { Servers } from "./servers";
import { OverTime } from "./time";

/** Whether any request ended; else there is nothing to draw. */
export const ended = (run: Run) => run.strategies.some((s) => Object.values(s.values).some((e) => e[0] != null));

export function Charts({ run }: { run: Run }) {
  if (!ended(run)) return null;
  return (
    <section id="charts" aria-labelledby="charts-h">
      <h2 id="charts-h">Charts</h2>
      <p class="note">
        Drag across a chart to zoom, double-click to see everything again. Charts over time move together.
        {run.same_picks.length > 0 && " Strategies with the same picks share a curve: +2 says that it stands for two more."}
      </p>
      <Legend />
      <div class="figures">
        <Percentiles run={run} />
        <Cdf run={run} />
        <OverTime run={run} />
        <Servers run={run} />
        <Errors run={run} />
        <Outcomes run={run} />
        <Fairness run={run} />
        <Cache run={run} />
      </div>
    </section>
  );
}

/** Panels of a figure: one for each scope, with its name if there are several. */
export function Panels<T extends string | null>({ of, children }: { of: T[]; children: (scope: T) => preact.ComponentChildren }) {
  return (
    <div class={of.length > 1 ? "panels several" : "panels"}>
      {of.map((scope) => (
        <div class="panel" key={scope ?? ""}>
          {of.length > 1 && <h4>{scope ?? "all requests"}</h4>}
          {children(scope)}
        </div>
      ))}
    </div>
  );
}
