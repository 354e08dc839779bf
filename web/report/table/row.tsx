// A row of the table: a strategy, or several with the same picks.
import { interval, list, relative, show, spread } from "../../shared/format";
import { Swatch } from "../../shared/swatch";
import type { Run, Strategy, Verdict } from "../model";
import { baseline, group, inScope, leader, shown, styleOf, subjects, toggle, verdict } from "../state";
import { Breakable } from "../text";
import { grouped, opened, type Column } from "./columns";
import { Span } from "./span";

const SIGNS: Record<Verdict["relation"], [string, string]> = {
  best: ["★", "good"], tied: ["=", "good"], worse: ["▼", "plain"], unknown: ["?", "plain"], fails_more: ["✕", "bad"],
  overloaded: ["!", "bad"], none: ["–", "plain"],
};

/** Longer verdicts may break. */
const LONG = 26;

export function VerdictCell({ verdict }: { verdict: Verdict | undefined }) {
  if (!verdict) return <span class="none">–</span>;
  const [sign, tone] = SIGNS[verdict.relation] ?? SIGNS.none;
  return <span class={`verdict ${tone} ${verdict.text.length > LONG ? "long" : ""}`}><span class="sign" aria-hidden="true">{sign}</span>{verdict.text}</span>;
}

/** A value; and, with a baseline, how it compares. */
function Value({ column, strategy, base, pool }: { column: Column; strategy: Strategy; base: Strategy | null; pool: string | null }) {
  const estimate = column.estimate(strategy, pool);
  const value = estimate?.[0] ?? null;
  if (value == null) return <td class={column.minor ? "num minor" : "num"}><span class="none">–</span></td>;
  const [, low, high] = estimate!;
  const alarming = column.key.startsWith("errors.") && value > 0;
  const title = [interval(low, high, column.unit), column.key === "theory" ? strategy.theory?.text : ""].filter(Boolean).join("; ");
  return (
    <td class={`num${alarming ? " alarming" : ""}${column.minor ? " minor" : ""}`} title={title || undefined}>
      <data value={String(value)} data-metric={column.metric ? inScope(column.key, pool) : undefined}>{show(value, column.unit)}</data>
      {column.spread && <small class="spread"> {spread(value, low, high)}</small>}
      {base && base !== strategy && <Relative column={column} value={value} mine={estimate!} base={column.estimate(base, pool)} />}
      {base === strategy && <small class="rel"> </small>}
    </td>
  );
}

function Relative({ column, value, mine, base }: { column: Column; value: number; mine: (number | null)[]; base: (number | null)[] | null }) {
  const other = base?.[0];
  if (other == null) return <small class="rel"> </small>;
  const overlap = mine[1] != null && base![1] != null && mine[1]! <= base![2]! && base![1]! <= mine[2]!;
  const better = column.direction === "neither" || value === other ? null : (value < other) === (column.direction === "lower");
  const tone = overlap || better == null ? "same" : better ? "good" : "bad";
  const sign = overlap ? "≈ " : better == null ? "" : better ? "▲ " : "▼ ";
  const words = overlap ? "the intervals overlap" : better == null ? "" : better ? "better than the baseline" : "worse than the baseline";
  return <small class={`rel ${tone}`} title={words}><span aria-hidden="true">{sign}</span>{relative(value, other, column.unit)}<span class="unseen"> {words}</span></small>;
}

export function Row({ run, which, pool, columns, range }: { run: Run; which: number; pool: string | null; columns: Column[]; range: [number, number] | null }) {
  const strategy = run.strategies[which];
  const base = baseline.value == null ? null : run.strategies[baseline.value];
  const isBase = baseline.value === which;
  const inCharts = shown.value.has(leader[which]);
  const others = grouped.value ? group[which].filter((i) => i !== which) : [];
  const open = opened.value.has(which);
  const choose = () => { baseline.value = isBase ? null : which; };
  const clicked = (event: MouseEvent) => {
    if (!(event.target as HTMLElement).closest("button, a") && !window.getSelection()?.toString()) choose();
  };
  return (
    <tr class={isBase ? "base" : undefined} onClick={clicked} data-strategy={strategy.label}>
      <th scope="row">
        <div class="who">
          <button type="button" class="mark" aria-pressed={inCharts} aria-label={`${strategy.label}: show in charts`} onClick={() => toggle(which)}>
            <Swatch style={styleOf(which)} off={!inCharts} />
          </button>
          <div>
            <button type="button" class="name" aria-pressed={isBase} aria-label={`${strategy.label}: compare all with it`}
              title={`${strategy.doc}${isBase ? "" : "  Select to compare all with it."}`} onClick={choose}>
              <Breakable label={strategy.label} />{strategy.oracle && <abbr title="baseline with perfect information"> †</abbr>}
            </button>
            {isBase && <><span class="tag">baseline</span><span class="doc">{strategy.doc}</span></>}
            <span class="narrow-only"><VerdictCell verdict={verdict(strategy, pool)} /></span>
            {others.length > 0 && (
              <button type="button" class="same" aria-expanded={open} onClick={() => {
                const next = new Set(opened.value);
                if (!next.delete(which)) next.add(which);
                opened.value = next;
              }}>
                {open ? `same picks: ${list(others.map((i) => subjects[i].label))}` : `+ ${others.length} with the same picks`}
              </button>
            )}
          </div>
        </div>
      </th>
      <td class="left not-narrow"><VerdictCell verdict={verdict(strategy, pool)} /></td>
      {range && <td class="left wide-only"><Span strategy={strategy} pool={pool} range={range} /></td>}
      {columns.map((column) => <Value key={column.key} column={column} strategy={strategy} base={base} pool={pool} />)}
      <td class="left state" title={strategy.state_reason || undefined}>
        {strategy.state_reason && <span class="unseen">{strategy.state_reason}: </span>}
        {strategy.state === "stable" ? "stable" : <b>{strategy.state.replaceAll("_", " ")}</b>}
      </td>
    </tr>
  );
}
