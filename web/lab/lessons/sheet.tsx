// What teacher mode prints: a sheet for the class without the answers, and one with them.
import type { Catalog, Lesson } from "../engine";
import { Inline } from "../../shared/inline";
import { command } from "./challenge";
import type { Measured } from "./numbers";
import { letter } from "./predict";
import { Line, Prose } from "./text";

const Lines = ({ count }: { count: number }) => <div class="write" aria-hidden="true">{Array.from({ length: count }, (_, i) => <span key={i} />)}</div>;

interface Props { lesson: Lesson; catalog: Catalog | null; measured: Map<string, Measured> | null }

function Head({ lesson, what }: { lesson: Lesson; what: string }) {
  return (
    <header class="sheet-head">
      <p class="kicker">evenkeel · lesson {lesson.number} · {what}</p>
      <h2>{lesson.title}</h2>
      {what === "worksheet" && <p class="sheet-name">Name <span /> Date <span /></p>}
    </header>
  );
}

export function Sheets({ lesson, catalog, measured }: Props) {
  const { predict, watch, challenge, solution } = lesson;
  return (
    <div class="sheets" aria-hidden="true">
      <section class="sheet">
        <Head lesson={lesson} what="worksheet" />
        <Prose text={lesson.intro} />
        <h3>1. Predict</h3>
        <p><Line text={predict.question} /></p>
        <ul class="sheet-options">{predict.options.map((option, i) => <li key={option}><span class="box" /> <b>{letter(i)}</b> <Inline text={option} /></li>)}</ul>
        <p>Why do you think so?</p>
        <Lines count={2} />
        <h3>2. Watch</h3>
        <p>Strategies: {watch.strategies.map((one, i) => <>{i > 0 && ", "}<code>{one}</code></>)}. Write down what you see.</p>
        <ul class="sheet-watch">{watch.look_for.map((text) => <li key={text}><Line text={text} /><Lines count={1} /></li>)}</ul>
        <h3>3. Explain</h3>
        <p>What happened, and why?</p>
        <Lines count={3} />
        <h3>4. Challenge</h3>
        <Prose text={challenge.task} />
        <p>What did you change, and why does it help?</p>
        <Lines count={2} />
      </section>
      <section class="sheet">
        <Head lesson={lesson} what="answers" />
        <h3>1. Predict</h3>
        <p><Line text={predict.question} /></p>
        <ul class="sheet-options">{predict.options.map((option, i) => <li key={option} class={i === predict.answer ? "answer" : undefined}><span class="box">{i === predict.answer ? "✓" : ""}</span> <b>{letter(i)}</b> <Inline text={option} /></li>)}</ul>
        <h3>3. Explain</h3>
        <Prose text={lesson.explain} source={{ catalog, measured }} />
        <h3>4. Challenge</h3>
        <ul class="sheet-changes">{solution.changes.map((change) => <li key={change.key}><code>{change.key}{change.value == null ? " removed" : ` = ${change.value}`}</code></li>)}</ul>
        <Prose text={solution.text} />
        <p>Must hold: {challenge.expects.map((one, i) => <>{i > 0 && "; "}<code>{one}</code></>)}.</p>
        <p>The same on the command line: <code>{command(lesson.number)}</code></p>
      </section>
    </div>
  );
}
