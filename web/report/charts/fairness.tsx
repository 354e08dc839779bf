// Fairness: each server's load relative to its capacity, a dot per server; 1 is the fair share.
import { Figure } from "../../shared/figure";
import { significant } from "../../shared/format";
import { hex } from "../../shared/palette";
import { Rows, type PlotRow } from "../../shared/rows";
import { dark } from "../../shared/theme";
import type { Run } from "../model";
import { drawn, highlight, inScope, shortName, styleOf } from "../state";
import { Panels } from "./charts";

/** With more servers than this the middle ones are a bar. */
const DOTS = 60;
const NAMED = 6;

interface Loaded { server: string; load: number }

function loads(run: Run, which: number, pool: string): Loaded[] {
  return run.servers.filter((s) => s.pool === pool && s.load[which] != null).map((s) => ({ server: s.server, load: s.load[which]! })).sort((a, b) => b.load - a.load);
}

const jain = (run: Run, which: number, pool: string, single: boolean): number | null => {
  const { values } = run.strategies[which];
  return (values[inScope("fairness.jain", pool)] ?? (single ? values["fairness.jain"] : undefined))?.[0] ?? null;
};

function row(run: Run, which: number, pool: string, single: boolean): PlotRow {
  const all = loads(run, which, pool);
  const style = styleOf(which);
  const colour = hex(style, dark.value);
  const index = jain(run, which, pool, single);
  const many = all.length > DOTS;
  const dots = many ? [...all.slice(0, 10), ...all.slice(-10)] : all;
  const at = (share: number) => all[Math.min(all.length - 1, Math.round(share * (all.length - 1)))]?.load ?? 0;
  return {
    key: which,
    label: shortName(which),
    style,
    note: index == null ? "" : index.toFixed(3),
    draw: (x) => (all.length === 0 ? null : (
      <g>
        <line x1={x(all[all.length - 1].load)} x2={x(all[0].load)} y1="0" y2="0" stroke={colour} stroke-width="1.5" opacity="0.5" />
        {many && <rect x={x(at(0.9))} width={Math.max(1, x(at(0.1)) - x(at(0.9)))} y="-4" height="8" fill={colour} opacity="0.45" />}
        {dots.map((one) => <circle key={one.server} cx={x(one.load)} cy="0" r="4" fill={colour} fill-opacity="0.45" stroke={colour} stroke-width="1" />)}
      </g>
    )),
    tip: (
      <>
        {index != null && <div class="tip-row"><span class="tip-name">Jain's index</span> <b>{index.toFixed(3)}</b><div class="tip-note">1 is fair, 1/n is all on one server</div></div>}
        {all.slice(0, NAMED).map((one) => <div class="tip-row" key={one.server}><span class="tip-name">{one.server}</span> <b>{significant(one.load)}</b></div>)}
        {all.length > NAMED && <div class="tip-note">and {all.length - NAMED} more, down to {significant(all[all.length - 1].load)}</div>}
        <div class="tip-note">Requests relative to capacity; 1 is the fair share.</div>
      </>
    ),
  };
}

export function Fairness({ run }: { run: Run }) {
  const pools = [...new Set(run.servers.map((s) => s.pool))].filter((pool) => run.servers.filter((s) => s.pool === pool && s.load.some((v) => v != null)).length > 1);
  if (!pools.length) return null;
  const single = pools.length === 1;
  const order = (pool: string) => [...drawn.value].sort((a, b) => (loads(run, a, pool)[0]?.load ?? 0) - (loads(run, b, pool)[0]?.load ?? 0) || a - b);
  const summary = pools.map((pool) => {
    const ranked = order(pool).filter((i) => loads(run, i, pool).length);
    if (!ranked.length) return "";
    const last = ranked[ranked.length - 1];
    const top = loads(run, last, pool)[0];
    return `${single ? "" : `${pool}: `}${top.server} gets the most, ${significant(top.load)} times its fair share, with ${shortName(last)}.`;
  }).filter(Boolean).join(" ");
  const domain = (pool: string): [number, number] => [0, Math.max(1.2, ...drawn.value.map((i) => loads(run, i, pool)[0]?.load ?? 0)) * 1.04];
  return (
    <Figure title="Fairness" summary={summary} wide={!single}
      controls={<span class="key">A dot is a server: its requests relative to its capacity. At the right: Jain's index. Using a slow server less is unfair and right.</span>}
      numbers={() => ({
        columns: ["server", ...(single ? [] : ["pool"]), "capacity", ...drawn.value.map(shortName)],
        rows: run.servers.map((s) => [s.server, ...(single ? [] : [s.pool]), significant(s.capacity), ...drawn.value.map((i) => significant(s.load[i]))]),
      })}>
      <Panels of={pools}>
        {(pool) => <Rows rows={order(pool).map((i) => row(run, i, pool, single))} axis={{ unit: "number", label: "load relative to capacity" }} domain={domain(pool)}
          reference={{ value: 1, text: "fair" }} highlight={highlight} label={`Fairness of ${pool}. ${summary}`} />}
      </Panels>
    </Figure>
  );
}
