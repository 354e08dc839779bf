// The list of lessons with how far the reader is.
import type { Lesson } from "../engine";
import { Inline } from "../../shared/inline";
import { type Progress, progressOf, words } from "./progress";

/** Four marks for four steps; the text beside them says the same. */
function Steps({ of }: { of: Progress }) {
  const done = of.solved ? 4 : of.guess == null ? 0 : Math.max(1, of.reached);
  return (
    <svg class="step-marks" width="46" height="10" viewBox="0 0 46 10" aria-hidden="true">
      {[0, 1, 2, 3].map((i) => <rect key={i} x={i * 12 + 0.5} y="1.5" width="9" height="7" rx="2" class={i < done ? "done" : undefined} />)}
    </svg>
  );
}

function Card({ lesson, href }: { lesson: Lesson; href: string }) {
  const of = progressOf(lesson.name);
  return (
    <li class={of.solved ? "lesson-card solved" : "lesson-card"}>
      <a href={href} aria-describedby={`lesson-${lesson.number}`}>
        <span class="lesson-number" aria-hidden="true">{of.solved ? "✓" : lesson.number}</span>
        <span class="lesson-title"><span class="unseen">Lesson {lesson.number}: </span>{lesson.title}</span>
      </a>
      <p class="lesson-summary"><Inline text={lesson.summary} /></p>
      <p class="lesson-state" id={`lesson-${lesson.number}`}><Steps of={of} /> {words(of)} · {lesson.minutes} min</p>
    </li>
  );
}

interface Props { lessons: Lesson[]; hrefOf: (lesson: Lesson) => string; /** Lessons that are still being read. */ loading: boolean; failure: string | null; teacher: boolean }

export function LessonList({ lessons, hrefOf, loading, failure, teacher }: Props) {
  const solved = lessons.filter((one) => progressOf(one.name).solved).length;
  const next = lessons.find((one) => !progressOf(one.name).solved);
  return (
    <section class="lesson-list" aria-labelledby="lessons-h">
      <p class="kicker">Lessons</p>
      <h1 id="lessons-h" tabIndex={-1}>Learn load balancing by predicting it</h1>
      <p class="lead">
        Each lesson takes two or three minutes. You commit a guess, watch the simulator run, read why it came out so, and then repair a
        setup that fails. The numbers are measured in your run, not written into the text.
      </p>
      {failure ? <p class="lesson-error" role="alert">{failure}</p> : loading ? <p class="note" role="status">Reading the lessons …</p> : (
        <>
          <div class="lesson-top">
            <p class="lesson-progress" role="status">
              <span class="progress-track" aria-hidden="true"><span style={{ width: `${lessons.length ? (solved / lessons.length) * 100 : 0}%` }} /></span>
              {solved === 0 ? `${lessons.length} lessons` : `${solved} of ${lessons.length} solved`}
            </p>
            {next && <a class="primary" href={hrefOf(next)}>{solved === 0 && progressOf(next.name).guess == null ? "Start with" : "Continue with"} lesson {next.number}</a>}
          </div>
          <p class="note teacher-link">{teacher ? <>Teacher mode is on. <a href="#lessons">Leave it</a></> : <>For a class: <a href="#teacher">teacher mode</a> has big type, hidden answers and sheets to print.</>}</p>
          <ol class="lesson-cards">{lessons.map((lesson) => <Card key={lesson.name} lesson={lesson} href={hrefOf(lesson)} />)}</ol>
        </>
      )}
    </section>
  );
}
