// What the challenge expects, and how the last check came out.
import type { Grade, Lesson } from "../engine";
import { Inline } from "../../shared/inline";
import { Line } from "./text";

export type Checking =
  | { state: "idle" }
  | { state: "running"; /** Estimated from the last check; null at the first. */ share: number | null; seconds: number }
  | { state: "done"; grade: Grade; /** The text has been changed since. */ stale: boolean }
  | { state: "failed"; message: string };

type One = Grade["checks"][number];

function Goal({ assert, check, stale }: { assert: string; check: One | undefined; stale: boolean }) {
  const state = check == null ? "open" : check.holds ? "holds" : "fails";
  return (
    <li class={`goal ${state} ${stale ? "stale" : ""}`}>
      <span class="goal-sign" aria-hidden="true">{state === "holds" ? "✓" : state === "fails" ? "✗" : "○"}</span>
      <div>
        <p class="goal-assert"><span class="unseen">{state === "holds" ? "Holds: " : state === "fails" ? "Does not hold: " : "Not checked: "}</span><code>{assert}</code></p>
        {check?.values && <p class="goal-values">{check.values}</p>}
        {check?.reason && <p class="note"><Inline text={check.reason} /></p>}
      </div>
    </li>
  );
}

export function Checks({ lesson, checking }: { lesson: Lesson; checking: Checking }) {
  const grade = checking.state === "done" ? checking.grade : null;
  const stale = checking.state === "done" && checking.stale;
  const goals = grade?.checks.length ? grade.checks.map((check) => ({ assert: check.assert, check })) : lesson.challenge.expects.map((assert) => ({ assert, check: undefined }));
  return (
    <div class="checks">
      <h3>What must hold</h3>
      <ul class="goals">{goals.map((goal) => <Goal key={goal.assert} {...goal} stale={stale} />)}</ul>
      {grade && grade.not_allowed.length > 0 && (
        <p class="lesson-error">
          Only these settings may be changed: {lesson.challenge.may_change.map((key, i) => <>{i > 0 && ", "}<code>{key}</code></>)}. Changed as well: {grade.not_allowed.map((key, i) => <>{i > 0 && ", "}<code>{key}</code></>)}.
        </p>
      )}
      {grade && !grade.passed && <p class="verdict-text"><Line text={grade.message} /></p>}
      {grade && grade.checks.length > 0 && grade.changed.length > 0 && <p class="note">Changed: {grade.changed.map((one, i) => <>{i > 0 && "; "}<code>{one}</code></>)}</p>}
      {stale && <p class="note">The setup has changed since this check.</p>}
      {checking.state === "failed" && <p class="lesson-error" role="alert">{checking.message}</p>}
    </div>
  );
}

export function Meter({ share, seconds }: { /** Estimated from the last check; null at the first. */ share: number | null; seconds: number }) {
  const text = share == null ? `Simulating … ${seconds.toFixed(0)} s` : `Simulating … about ${Math.round(share * 100)} %`;
  return (
    <div class="meter">
      <div class={share == null ? "progress-track waiting" : "progress-track"} role="progressbar" aria-label="Check" aria-valuemin={0} aria-valuemax={100} {...(share == null ? {} : { "aria-valuenow": Math.round(share * 100) })}>
        <span style={share == null ? {} : { width: `${share * 100}%` }} />
      </div>
      <span>{text}</span>
    </div>
  );
}
