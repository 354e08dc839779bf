// Running text: paragraphs, and names of strategies set as code.
import type { ComponentChildren } from "preact";
import { subjects } from "./state";

let pattern: RegExp | null = null;

const escape = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");

/** These names are ordinary words as well, and mostly mean the word. */
const WORDS = new Set(["random", "jump"]);

function names(): RegExp {
  if (!pattern) {
    const labels = subjects.map((s) => s.label).filter((label) => !WORDS.has(label));
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

/** A sentence without the time that it begins with: `20.4 s: p2c sends …`, `20.0 s to 60.0 s: …`. */
export function untimed(text: string): { time: string | null; text: string } {
  const m = /^([\d.,]+) s(?: to ([\d.,]+) s)?: (?=\S)/.exec(text);
  return m ? { time: m[2] ? `${m[1]}–${m[2]} s` : `${m[1]} s`, text: capital(text.slice(m[0].length)) } : { time: null, text: capital(text) };
}

/** With a capital letter, unless the first word is a name. */
export function capital(text: string): string {
  const first = text.split(/[\s,:;.]/, 1)[0];
  return /^[a-z]+$/.test(first) && !subjects.some((s) => s.label === first) ? first.charAt(0).toUpperCase() + text.slice(1) : text;
}

/** A warning or note as a sentence: with a capital letter and a full stop. */
export const sentence = (text: string): string => capital(/[.!?:]$/.test(text.trim()) ? text.trim() : `${text.trim()}.`);

/** A label that may break after `(` and `,`, and on a phone after `_`. */
export function Breakable({ label }: { label: string }) {
  const parts = label.split(/(?<=[_(,])/);
  return <>{parts.map((part, i) => <>{i > 0 && <wbr class={parts[i - 1].endsWith("_") ? "fine" : undefined} />}{part}</>)}</>;
}

/** Paragraphs, separated by a blank line. */
export function Prose({ text }: { text: string }) {
  return <>{text.trim().split(/\n\s*\n/).map((paragraph, i) => <p key={i}><Words text={paragraph.replace(/\s*\n\s*/g, " ")} /></p>)}</>;
}
