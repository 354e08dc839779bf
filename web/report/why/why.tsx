// Why it came out so: two strategies side by side, with the decisive difference on top.
import { useMemo } from "preact/hooks";
import { Chart } from "../../shared/chart";
import { at } from "../../shared/format";
import { Swatch } from "../../shared/swatch";
import { curvesOf } from "../charts/time";
import type { Run, Why } from "../model";
import { faults, group, groupName, leader, moments, pair, shortName, styleOf, subjects, timeEnd, timeRange } from "../state";
import { untimed, Words } from "../text";
import { Picks } from "./picks";
import { Slowest } from "./request";
import { Story } from "./story";

function Chooser({ side, choices }: { side: 0 | 1; choices: number[] }) {
  const chosen = pair.value[side];
  return (
    <label class="select">{side === 0 ? "Compare" : "with"} <select value={chosen} aria-label={side === 0 ? "First strategy" : "Second strategy"}
      onChange={(event) => {
        const next = Number(event.currentTarget.value);
        pair.value = side === 0 ? [next, pair.value[1]] : [pair.value[0], next];
      }}>
      {choices.map((i) => <option key={i} value={i}>{groupName(i)}</option>)}
    </select></label>
  );
}

function difference(why: Why, a: number, b: number): string {
  if (a === b) return "Choose two different strategies.";
  const found = why.differences.find((d) => (leader[d.a] === a && leader[d.b] === b) || (leader[d.a] === b && leader[d.b] === a));
  return found?.text ?? `For ${subjects[a].label} and ${subjects[b].label} no single difference stands out.`;
}

/** p99 of the two over time, so that a moment can be seen where it is told. */
function Both({ run, members }: { run: Run; members: number[] }) {
  const pool = run.pools[0] ?? null;
  const series = run.series.find((s) => s.pool === pool) ?? run.series[0];
  const curves = useMemo(() => curvesOf(series?.p99, members), [members.join()]);
  const regions = useMemo(() => faults(run, pool), [run]);
  if (!series || !curves.length) return null;
  return (
    <div class="both">
      <p class="axis-y">p99 over time, log{pool ? ` (${pool})` : ""}</p>
      <Chart x={series.time} curves={curves} label={`p99 over time of ${curves.map((c) => c.label).join(" and ")}.`} height={190}
        xAxis={{ unit: "s", label: "time", from: 0, to: timeEnd(run), tick: (v) => `${v} s` }} yAxis={{ unit: "s", label: "p99", log: true }}
        regions={regions} marks={moments} range={timeRange} sync="time" heading={(t) => `at ${at(t)}`} meaning="One in 100 requests that ended then took longer." />
    </div>
  );
}

const NO_MEMBERS: number[] = [];

export function WhySection({ run, why }: { run: Run; why: Why }) {
  const told = useMemo(() => {
    const known = new Set([...why.stories, ...why.slowest, ...why.picks].map((s) => leader[s.index]));
    return subjects.map((_, i) => i).filter((i) => known.has(i));
  }, [why]);
  if (!told.length && !why.differences.length) return null;
  const [a, b] = pair.value;
  const members = a === b ? [a] : [a, b];
  const choices = told.length ? [...new Set([...told, a, b])].sort((x, y) => x - y) : NO_MEMBERS;
  const find = <T extends { index: number }>(all: T[], which: number) => all.find((s) => group[which].includes(s.index));
  return (
    <section id="why" aria-labelledby="why-h">
      <h2 id="why-h">Why</h2>
      <div class="controls">
        <Chooser side={0} choices={choices} />
        <Chooser side={1} choices={choices} />
      </div>
      <p class="difference" aria-live="polite"><Words text={untimed(difference(why, a, b)).text} /></p>
      <Both run={run} members={members} />
      <p class="note">Select a time to mark it in all charts over time. All of this is from the first run of each strategy.</p>
      <div class={members.length > 1 ? "sides" : "sides one"}>
        {members.map((i) => (
          <div class="side" key={i}>
            <h3><Swatch style={styleOf(i)} /> {shortName(i)}</h3>
            <Story story={find(why.stories, i)?.sentences ?? null} />
          </div>
        ))}
      </div>
      <Slowest members={members} of={(i) => find(why.slowest, i)?.requests ?? []} />
      <Picks members={members} of={(i) => find(why.picks, i)?.picks ?? []} />
    </section>
  );
}
