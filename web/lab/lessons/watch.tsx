// Step 2: the page's stage plays the run; beside it stands what to look at, and the lesson's metrics.
import type { Catalog, Lesson } from "../engine";
import { Line } from "./text";
import { type Subject, Tiles } from "./tiles";

interface Props {
  lesson: Lesson;
  catalog: Catalog | null;
  subjects: Subject[];
  /** Seconds since the start of the run. */
  time: number;
  /** The run is on the stage. */
  ready: boolean;
  playing: boolean;
  over: boolean;
  toggle: () => void;
  /** To the end of the watched part, then on. */
  on: () => void;
  error: string | null;
}

const clock = (seconds: number) => `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;

export function Watch({ lesson, catalog, subjects, time, ready, playing, over, toggle, on, error }: Props) {
  const { until } = lesson.watch;
  const share = Math.min(1, until > 0 ? time / until : 1);
  return (
    <div class="watch">
      <div class="watch-for">
        <h3>What to watch</h3>
        <ol class="look-for">{lesson.watch.look_for.map((text) => <li key={text}><Line text={text} /></li>)}</ol>
        {error && <p class="lesson-error" role="alert">{error}</p>}
        <div class="step-actions">
          <button type="button" class={over ? "quiet" : "primary"} disabled={!ready} onClick={toggle}>{playing ? "Pause" : over ? "Play again" : time > 0 ? "Play on" : "Play"}</button>
          <button type="button" class={over ? "primary" : "quiet"} onClick={on}>{over ? "Explain it" : "Skip to the end"}</button>
          <p class="watch-clock"><span class="progress-track" aria-hidden="true"><span style={{ width: `${share * 100}%` }} /></span>{clock(Math.min(time, until))} of {clock(until)}</p>
        </div>
      </div>
      <Tiles catalog={catalog} focus={lesson.watch.focus} subjects={subjects} over={over} />
    </div>
  );
}
