// A chart with its heading, a sentence that says what it shows, and its numbers as a table on request.
import type { ComponentChildren } from "preact";
import { useSignal, type Signal } from "@preact/signals";
import { useId } from "preact/hooks";

export interface Numbers { columns: string[]; rows: (string | number)[][] }

interface Props {
  title: string;
  /** What the chart shows, in a sentence: its text alternative. */
  summary: ComponentChildren;
  /** The chart's numbers; made only when they are to be shown. */
  numbers?: () => Numbers;
  range?: Signal<[number, number] | null>;
  /** Buttons and selections above the chart. */
  controls?: ComponentChildren;
  wide?: boolean;
  children: ComponentChildren;
}

/** More rows than this are not shown at once. */
const MOST = 400;

function NumbersTable({ numbers, title }: { numbers: Numbers; title: string }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={`${title}: numbers`}>
      <table class="numbers">
        <caption class="unseen">{title}</caption>
        <thead><tr>{numbers.columns.map((name) => <th scope="col" key={name}>{name}</th>)}</tr></thead>
        <tbody>
          {numbers.rows.slice(0, MOST).map((row, i) => (
            <tr key={i}>{row.map((cell, j) => (j ? <td key={j}>{cell}</td> : <th scope="row" key={j}>{cell}</th>))}</tr>
          ))}
        </tbody>
      </table>
      {numbers.rows.length > MOST && <p class="note">The first {MOST} of {numbers.rows.length} rows; the CSV files have all.</p>}
    </div>
  );
}

export function Figure({ title, summary, numbers, range, controls, wide, children }: Props) {
  const open = useSignal(false);
  const id = useId();
  return (
    <figure class={wide ? "figure wide" : "figure"} aria-labelledby={id}>
      <figcaption>
        <h3 id={id}>{title}</h3>
        <p class="summary">{summary}</p>
      </figcaption>
      {controls && <div class="controls">{controls}</div>}
      {open.value && numbers ? <NumbersTable numbers={numbers()} title={title} /> : children}
      <div class="figure-foot">
        {numbers && (
          <button type="button" class="quiet" aria-pressed={open.value} onClick={() => { open.value = !open.value; }}>
            {open.value ? "Show as chart" : "Show as table"}
          </button>
        )}
        {range?.value && <button type="button" class="quiet" onClick={() => { range.value = null; }}>Reset zoom</button>}
      </div>
    </figure>
  );
}
