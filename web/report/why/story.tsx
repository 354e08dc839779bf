// What happened with a strategy, in time order. Each time is a button that marks the moment in the charts.
import { at } from "../../shared/format";
import type { Sentence } from "../model";
import { moment } from "../state";
import { untimed, Words } from "../text";

/** A sign for each kind of event; the sentence says the rest. */
const SIGNS: Record<string, string> = {
  fault: "⚡", share: "⇄", queue: "☰", timeout: "✕", ejection: "⊘", health: "♥", scale: "±", retry: "↻", limit: "▮", recovery: "✓",
};

export function Story({ story }: { story: Sentence[] | null }) {
  if (!story) return <p class="note">Not recorded for this strategy.</p>;
  if (!story.length) return <p class="note">Nothing unusual happened.</p>;
  return (
    <ol class="story">
      {story.map((sentence, i) => {
        const on = moment.value?.at === sentence.time;
        const { time, text } = untimed(sentence.text);
        return (
          <li key={i} class={on ? "on" : undefined}>
            <button type="button" class="time" aria-pressed={on} aria-label={`${time ?? at(sentence.time)}: mark in the charts`}
              onClick={() => { moment.value = on ? null : { at: sentence.time, text: at(sentence.time) }; }}>{time ?? at(sentence.time)}</button>
            <span class="kind" title={sentence.kind} aria-hidden="true">{SIGNS[sentence.kind] ?? "•"}</span>
            <span class="what"><Words text={text} /></span>
          </li>
        );
      })}
    </ol>
  );
}
