// The numbers of the run so far, as the command line names them, beside theory and the intervals of replications.
import { Scroll } from "../../shared/scroll";
import { interval, show, type Unit } from "../../shared/format";
import { Swatch } from "../../shared/swatch";
import { catalog, description, lanes } from "../state";
import { summary } from "./replications";

/** Shown first, if there are values. */
const FIRST = ["latency.mean", "latency.p50", "latency.p90", "latency.p99", "latency.p999", "errors.ratio", "throughput", "goodput", "fairness.jain", "cache.hit_ratio", "utilisation.mean", "utilisation.max", "in_server.mean"];

interface Row { name: string; label: string; unit: Unit; doc: string; better: "lower" | "higher" | "neither" }

function rows(all: boolean): Row[] {
  const values = lanes.value.map((lane) => lane.metrics.value?.values ?? {});
  const names = [...new Set(values.flatMap((one) => Object.keys(one)))].filter((name) => values.some((one) => one[name] != null));
  const shown = all ? names : FIRST.filter((name) => names.includes(name));
  return shown.map((name) => {
    const known = catalog.value?.metrics.find((one) => one.name === name || name.endsWith(`.${one.name}`));
    return { name, label: known?.label ?? name, unit: known?.unit ?? "number", doc: known?.doc ?? "", better: known?.direction ?? "neither" };
  });
}

export function NumbersTable() {
  const all = lanes.value;
  const theory = description.value?.theory ?? [];
  const listed = rows(false);
  if (!listed.length) return <p class="note">No request has been measured yet.</p>;
  return (
    <>
    {summary.value && <p class="note">Beneath the numbers of this run: 95 % intervals of the mean of ten whole runs.</p>}
    <Scroll label="Numbers of the run so far">
      <table class="numbers lab-numbers">
        <thead><tr><th scope="col">metric</th>{all.map((lane) => <th scope="col" key={lane.id}><Swatch style={lane.style} /> {lane.strategy}</th>)}</tr></thead>
        <tbody>
          {listed.map((row) => (
            <tr key={row.name} data-metric={row.name}>
              <th scope="row" title={row.doc}>{row.label}</th>
              {all.map((lane) => {
                const value = lane.metrics.value?.values[row.name];
                const exact = theory.find((one) => one.metric === row.name && one.strategy === lane.strategy);
                const spread = summary.value?.metrics.find((one) => one.name === row.name)?.strategies.find((one) => one.strategy === lane.strategy);
                return (
                  <td key={lane.id}><data value={value ?? ""}>{show(value, row.unit)}</data>
                    {exact && <small title={exact.source}>theory {show(exact.value, row.unit)}</small>}
                    {spread?.low != null && <small title={interval(spread.low, spread.high, row.unit)}>{show(spread.low, row.unit)} to {show(spread.high, row.unit)}{spread.tied_with.length > 0 && ", tied"}</small>}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
    </>
  );
}
