// The charts below the lanes. They stand on the same numbers as the command line's tables.
import { lanes } from "../state";
import { Balance } from "./balance";
import { Cdf } from "./cdf";
import { NumbersTable } from "./table";
import { Theory } from "./theory";
import { OverTime } from "./time";

export function Charts() {
  if (!lanes.value.length) return null;
  return (
    <section class="charts" aria-labelledby="charts-h">
      <h2 id="charts-h">The run so far</h2>
      <NumbersTable />
      <div class="figures">
        <OverTime />
        <Cdf />
        <Balance />
        <Theory />
      </div>
    </section>
  );
}
