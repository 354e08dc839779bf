// Step 4: a setup that fails as shipped. The reader changes it until what must hold holds.
import type { ComponentChildren } from "preact";
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { Lesson, Refusal } from "../engine";
import { Checks, type Checking, Meter } from "./checks";
import { CopyLine } from "./copy";
import { Editor } from "./editor";
import { Line, Prose } from "./text";

interface Props {
  lesson: Lesson;
  /** The reader's text, and the challenge as shipped. */
  text: string;
  shipped: string;
  refusal: Refusal | null;
  checking: Checking;
  hints: number;
  solved: boolean;
  /** Controls of the settings that may be changed; null where none has a control. */
  settings: ComponentChildren | null;
  /** The text has been read once: whether there are controls is known. */
  ready: boolean;
  /** Whether a solution may be shown; not in teacher mode, until asked for. */
  answers: boolean;
  next: { href: string; lesson: Lesson } | null;
  edit: (text: string) => void;
  check: () => void;
  cancel: () => void;
  hint: () => void;
  reset: () => void;
  show: () => void;
  solve: () => void;
  download: () => void;
}

export const command = (number: number): string => `evenkeel check my-solution.toml --lesson ${number} --json`;

function Hints({ lesson, hints, solved, hint, solve, answers }: Pick<Props, "lesson" | "hints" | "solved" | "hint" | "solve" | "answers">) {
  const all = lesson.challenge.hints;
  const left = all.length - hints;
  return (
    <div class="hints">
      <ol aria-live="polite">{all.slice(0, hints).map((text, i) => <li key={text}><b>Hint {i + 1}</b> <Line text={text} /></li>)}</ol>
      <div class="hint-actions">
        {left > 0 && <button type="button" class="quiet" onClick={hint}>{hints === 0 ? "Show a hint" : "Show another hint"} <span class="soft">({left} left)</span></button>}
        {left === 0 && !solved && answers && <button type="button" class="quiet" onClick={solve}>Show a solution</button>}
      </div>
    </div>
  );
}

/** The tick is drawn once, unless motion is unwanted. What is read next has the focus. */
function Solved({ lesson, next }: { lesson: Lesson; next: Props["next"] }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <section class="solved-box" aria-labelledby="solved-h">
      <svg class="solved-mark" width="44" height="44" viewBox="0 0 44 44" aria-hidden="true"><circle cx="22" cy="22" r="19" /><path d="M13 22.5l6.5 6.5L31.5 16" /></svg>
      <div>
        <h3 id="solved-h" ref={heading} tabIndex={-1}>Solved</h3>
        <Prose text={lesson.solution.text} />
        {next
          ? <a class="primary" href={next.href}>Next: lesson {next.lesson.number}, {next.lesson.title}</a>
          : <p>That was the last one. All lessons stay open, and so does the laboratory.</p>}
      </div>
    </section>
  );
}

export function Challenge(props: Props) {
  const { lesson, text, shipped, refusal, checking, hints, solved, settings, ready, answers, next, edit, check, cancel, hint, reset, show, solve, download } = props;
  const view = useSignal<"settings" | "text">("settings");
  const shown = settings || !ready ? view.value : "text";
  const passed = checking.state === "done" && checking.grade.passed && !checking.stale;
  const running = checking.state === "running";
  return (
    <div class="challenge">
      <div class="task">
        <Prose text={lesson.challenge.task} />
        <Hints lesson={lesson} hints={hints} solved={solved || passed} hint={hint} solve={solve} answers={answers} />
      </div>
      <div class="challenge-edit">
        <div class="edit-bar">
          {settings && (
            <div class="segmented" role="group" aria-label="How to change it">
              <button type="button" aria-pressed={shown === "settings"} onClick={() => { view.value = "settings"; }}>Settings</button>
              <button type="button" aria-pressed={shown === "text"} onClick={() => { view.value = "text"; }}>TOML</button>
            </div>
          )}
          <button type="button" class="quiet" disabled={text === shipped} onClick={reset}>Reset</button>
        </div>
        {shown === "settings"
          ? <div class="challenge-settings">{settings}{refusal && <p class="lesson-error" role="alert">{refusal.message}</p>}</div>
          : <Editor text={text} shipped={shipped} edit={edit} refusal={refusal} label={`Setup of the challenge of lesson ${lesson.number}, as TOML`} />}
        <p class="note">May be changed: {lesson.challenge.may_change.map((key, i) => <>{i > 0 && ", "}<code>{key}</code></>)}</p>
        <details class="outside">
          <summary>Check it on the command line</summary>
          <p><button type="button" class="quiet" onClick={download}>Download my-solution.toml</button></p>
          <CopyLine text={command(lesson.number)} label="Command" />
        </details>
      </div>
      <div class="judge">
        <div class="step-actions">
          {running ? <button type="button" class="quiet" onClick={cancel}>Stop</button> : <button type="button" class="primary" disabled={refusal != null || !ready} onClick={check}>Check</button>}
          {running && <Meter share={checking.share} seconds={checking.seconds} />}
          <button type="button" class="quiet" disabled={refusal != null || !ready} onClick={show}>Play it on the stage</button>
        </div>
        <Checks lesson={lesson} checking={checking} />
        <div role="status" class="unseen">{checking.state === "done" && !checking.stale ? (passed ? "Solved." : `Not yet: ${checking.grade.checks.filter((one) => !one.holds).length} of ${checking.grade.checks.length} do not hold.`) : ""}</div>
        {passed && <Solved lesson={lesson} next={next} />}
      </div>
    </div>
  );
}
