// Generic sections: paragraphs and a sortable table. All that comparisons, validations and the index of reports show.
import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { show } from "../shared/format";
import type { Section } from "./model";
import { Prose, Words } from "./text";
import { Arrowed } from "../shared/arrowed";
import { Scroll } from "../shared/scroll";

type Table = NonNullable<Section["table"]>;
type Row = Table["rows"][number];

const SIGNS = { good: ["✓", "good"], bad: ["✕", "bad"], neutral: ["·", "neutral"] } as const;
const WORDS = { good: "good", bad: "bad", neutral: "neutral" };

function ordered(rows: Row[], sort: { column: number; descending: boolean } | null): Row[] {
  if (!sort) return rows;
  const sign = sort.descending ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [x, y] = [a.cells[sort.column], b.cells[sort.column]];
    if (x == null || y == null) return (x == null ? 1 : 0) - (y == null ? 1 : 0);
    return sign * (typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true }));
  });
}

function Cell({ cell, unit, href, mark }: { cell: string | number | null; unit: Table["columns"][number]["unit"]; href?: string | null; mark?: Row["mark"] }) {
  const text = cell == null ? "–" : typeof cell === "number" && unit !== "text" ? show(cell, unit) : String(cell);
  const words = <Words text={text} />;
  return (
    <>
      {mark && <span class={`sign ${SIGNS[mark][1]}`} aria-hidden="true">{SIGNS[mark][0]}</span>}
      {mark && <span class="unseen">{WORDS[mark]}: </span>}
      {href ? <a href={href}>{text}</a> : words}
    </>
  );
}

/** A cell of more characters is a sentence. */
const LONG = 60;

/** Without columns in which nothing is. */
function filled(table: Table): Table {
  const some = table.columns.map((_, i) => !table.rows.length || table.rows.some((row) => row.cells[i] != null && row.cells[i] !== ""));
  const keep = <T,>(all: T[]) => all.filter((_, i) => some[i]);
  return { columns: keep(table.columns), rows: table.rows.map((row) => ({ ...row, cells: keep(row.cells) })) };
}

function Generic({ table: given, heading }: { table: Table; heading: string }) {
  const table = useMemo(() => filled(given), [given]);
  const sort = useSignal<{ column: number; descending: boolean } | null>(null);
  const press = (column: number) => {
    const now = sort.value;
    sort.value = now?.column !== column ? { column, descending: false } : now.descending ? null : { column, descending: true };
  };
  // On a phone a table of sentences is a list.
  const wordy = table.rows.some((row) => row.cells.some((cell) => typeof cell === "string" && cell.length > LONG));
  const text = (i: number) => table.columns[i].unit === "text";
  return (
    <Scroll label={`${heading}: table`} kind="results">
      <table class={wordy ? "generic wordy" : "generic"}>
        <caption class="unseen">{heading}</caption>
        <thead>
          <tr>{table.columns.map((column, i) => {
            const mine = sort.value?.column === i ? sort.value : null;
            return (
              <th scope="col" key={column.name} class={text(i) ? "left" : "num"} title={column.doc ?? undefined} aria-sort={mine ? (mine.descending ? "descending" : "ascending") : "none"}>
                <button type="button" onClick={() => press(i)}><Arrowed text={column.name} state={mine ? (mine.descending ? "descending" : "ascending") : "none"} left={text(i)} /></button>
              </th>
            );
          })}</tr>
        </thead>
        <tbody>
          {ordered(table.rows, sort.value).map((row, r) => (
            <tr key={r} class={row.mark ?? undefined}>
              {row.cells.map((cell, i) => (i === 0
                ? <th scope="row" key={i}><Cell cell={cell} unit={table.columns[i].unit} href={row.href} mark={row.mark} /></th>
                : <td key={i} class={text(i) ? "left" : "num"} data-label={table.columns[i].name}><Cell cell={cell} unit={table.columns[i].unit} /></td>))}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

export function Sections({ sections }: { sections: Section[] }) {
  return (
    <div id="sections">
      {sections.map((section, i) => (
        <section key={i} aria-labelledby={`section-${i}`}>
          <h2 id={`section-${i}`}>{section.heading}</h2>
          <div class="prose">{section.paragraphs.map((text, n) => <Prose key={n} text={text} />)}</div>
          {section.table && <Generic table={section.table} heading={section.heading} />}
        </section>
      ))}
    </div>
  );
}
