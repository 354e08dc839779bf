// The lab: the question, lanes with strategies, the clock, charts, and a panel to change things.
import { useEffect, useRef } from "preact/hooks";
import { Charts } from "./charts/charts";
import { Panel } from "./controls/panel";
import { AddLane } from "./controls/strategy";
import { Gallery } from "./gallery/gallery";
import { Header } from "./header";
import { Lessons } from "./lessons";
import { overlay } from "./overlay";
import { drive } from "./playback/driver";
import { Help } from "./playback/help";
import { keys } from "./playback/keys";
import { Transport } from "./playback/transport";
import { Share } from "./share/share";
import { Stage } from "./stage/stage";
import { changes, description, lanes, mode, refusal, settings } from "./state";

function Question() {
  const of = description.value;
  if (!of) return null;
  const paragraphs = of.question.trim().split(/\n\s*\n/).map((text) => text.replace(/\s*\n\s*/g, " "));
  return (
    <section class="question">
      <div class="question-text">
        <h1>{of.title}{changes.value.length > 0 && <span class="tag">changed</span>}</h1>
        <p class="lead">{paragraphs[0]}{paragraphs.length > 1 && <span class="asks"> {paragraphs[paragraphs.length - 1]}</span>}</p>
      </div>
      <AddLane />
    </section>
  );
}

function Opening() {
  return refusal.value
    ? <section class="opening"><h1>The scenario cannot be read</h1><p class="lead">{refusal.value.message}</p>{refusal.value.help && <p>{refusal.value.help}</p>}</section>
    : <section class="opening" aria-busy="true"><p class="soft">The simulator starts…</p></section>;
}

export function App() {
  const main = useRef<HTMLElement>(null);
  useEffect(() => drive(main.current!), []);
  useEffect(keys, []);
  const lesson = mode.value === "lesson";
  const { alone, embedded, big } = settings;
  return (
    <div class="lab" data-mode={mode.value} data-embedded={embedded.value ? "" : undefined} data-big={big.value ? "" : undefined} data-alone={alone.value ? "" : undefined}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); main.current?.focus(); }}>Skip to the lanes</a>
      {!embedded.value && <Header />}
      <main id="main" ref={main} tabIndex={-1}>
        <div class="columns" data-panel={settings.panel.value && lanes.value.length && !alone.value ? "" : undefined}>
          {lesson && <div class="lesson-column"><Lessons /></div>}
          {!alone.value && (
            <div class="main-column">
              {!lesson && <Question />}
              {!description.value && <Opening />}
              <Stage />
              <Charts />
            </div>
          )}
          {!alone.value && <Panel />}
        </div>
      </main>
      {!alone.value && <Transport />}
      {overlay.value === "help" && <Help />}
      {overlay.value === "gallery" && <Gallery />}
      {overlay.value === "share" && <Share />}
    </div>
  );
}
