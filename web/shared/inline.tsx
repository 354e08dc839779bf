// Running text with `code`, **bold** and *emphasis*; nothing else of Markdown.
import type { ComponentChildren } from "preact";

const PATTERN = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*/g;

export function Inline({ text }: { text: string }) {
  const parts: ComponentChildren[] = [];
  let end = 0;
  for (const match of text.matchAll(PATTERN)) {
    parts.push(text.slice(end, match.index));
    parts.push(match[1] != null ? <code>{match[1]}</code> : match[2] != null ? <b>{match[2]}</b> : <em>{match[3]}</em>);
    end = match.index + match[0].length;
  }
  parts.push(text.slice(end));
  return <>{parts}</>;
}
