// Running text: paragraphs, and names of strategies set as code.
import type { ComponentChildren } from "preact";
import { subjects } from "./state";

let pattern: RegExp | null = null;

const escape = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** Names with an underscore, a digit or parameters; ordinary words such as `random` could mean the word. */
function names(): RegExp {
  if (!pattern) {
    const labels = subjects.map((s) => s.label).filter((label) => /[_0-9(]/.test(label));
    const sorted = [...labels].sort((a, b) => b.length - a.length).map(escape);
    pattern = new RegExp(`\`([^\`]+)\`|(?<![\\w.-])(${sorted.join("|") || "(?!)"})(?![\\w(])`, "g");
  }
  return pattern;
}

export function Words({ text }: { text: string }) {
  const parts: ComponentChildren[] = [];
  let end = 0;
  for (const match of text.matchAll(names())) {
    parts.push(text.slice(end, match.index), <code>{match[1] ?? match[2]}</code>);
    end = match.index + match[0].length;
  }
  parts.push(text.slice(end));
  return <>{parts}</>;
}

/** Paragraphs, separated by a blank line. */
export function Prose({ text }: { text: string }) {
  return <>{text.trim().split(/\n\s*\n/).map((paragraph, i) => <p key={i}><Words text={paragraph.replace(/\s*\n\s*/g, " ")} /></p>)}</>;
}
