// Running text of lessons: paragraphs, lists, and numbers measured in the watched run.
import type { ComponentChildren } from "preact";
import type { Catalog } from "../engine";
import { Inline } from "../../shared/inline";
import { few, labelOf, type Measured, pieces, valueText } from "./numbers";

interface Source {
  catalog: Catalog | null;
  /** By strategy; null while nothing is measured. */
  measured: Map<string, Measured> | null;
}

function Number({ metric, strategy, catalog, measured }: Source & { metric: string; strategy: string }) {
  const run = measured?.get(strategy);
  const what = `${labelOf(catalog, metric)}, ${strategy}`;
  if (!run) return <span class="measured missing" title={what}>{measured ? "–" : "…"}</span>;
  const unsure = few(metric, run.count);
  const text = valueText(catalog, metric, run.values[metric]);
  return <span class={unsure ? "measured few" : "measured"} title={`${what}: from ${run.count.toLocaleString("en")} requests${unsure ? "; too few for a settled value" : ""}`}>{unsure && "≈ "}{text}</span>;
}

/** A paragraph's text with its numbers. */
function Filled({ text, source }: { text: string; source: Source | undefined }) {
  if (!source) return <Inline text={text} />;
  return <>{pieces(text).map((piece, i) => ("text" in piece ? <Inline key={i} text={piece.text} /> : <Number key={i} {...piece} {...source} />))}</>;
}

const ITEM = /^\s*(?:[-*]|\d+[.)])\s+/;

/** Paragraphs separated by a blank line; a block of lines that begin with `- ` is a list. */
export function Prose({ text, source }: { text: string; source?: Source }) {
  const blocks: ComponentChildren[] = text.trim().split(/\n\s*\n/).map((block, i) => {
    const lines = block.split("\n");
    if (!ITEM.test(lines[0])) return <p key={i}><Filled text={block.replace(/\s*\n\s*/g, " ")} source={source} /></p>;
    const items: string[] = [];
    for (const line of lines) {
      if (ITEM.test(line)) items.push(line.replace(ITEM, ""));
      else items[items.length - 1] += ` ${line.trim()}`;
    }
    return <ul key={i} class="bullets">{items.map((item) => <li key={item}><Filled text={item} source={source} /></li>)}</ul>;
  });
  return <div class="prose">{blocks}</div>;
}

/** One line of text with its numbers. */
export const Line = ({ text, source }: { text: string; source?: Source }) => <Filled text={text.replace(/\s*\n\s*/g, " ").trim()} source={source} />;
