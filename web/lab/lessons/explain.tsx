// Step 3: the guess beside the result, and why it came out so, with the numbers of the watched run.
import type { Catalog, Lesson } from "../engine";
import { Inline } from "../../shared/inline";
import { few, type Measured, pieces } from "./numbers";
import { letter } from "./predict";
import { Prose } from "./text";
import { type Subject, Tiles } from "./tiles";

interface Props {
  lesson: Lesson;
  catalog: Catalog | null;
  guess: number;
  /** By strategy; null while it is still measured. */
  measured: Map<string, Measured> | null;
  subjects: Subject[];
  /** Faults and changes of the load that the reader has added to the run. */
  acts: number;
  /** Hidden until asked for, in teacher mode. */
  hidden: boolean;
  reveal: () => void;
  votes?: number[];
  on: () => void;
  back: () => void;
  error: string | null;
}

/** Whether the text contains a number from so few requests that it is marked. */
function anyFew(text: string, measured: Map<string, Measured>): boolean {
  return pieces(text).some((piece) => "metric" in piece && few(piece.metric, measured.get(piece.strategy)?.count ?? 0));
}

function Result({ lesson, guess, votes }: { lesson: Lesson; guess: number; votes: number[] | undefined }) {
  const { options, answer } = lesson.predict;
  const right = guess === answer;
  const all = votes?.reduce((sum, n) => sum + n, 0) ?? 0;
  return (
    <div class={right ? "result right" : "result wrong"}>
      <dl>
        <div><dt>You guessed</dt><dd><span class="sign" aria-hidden="true">{right ? "✓" : "✗"}</span> <span class="option-letter">{letter(guess)}</span> <Inline text={options[guess] ?? ""} /></dd></div>
        <div><dt>It came out</dt><dd>{right ? <>as you guessed.</> : <><span class="sign" aria-hidden="true" /> <span class="option-letter">{letter(answer)}</span> <Inline text={options[answer] ?? ""} /></>}</dd></div>
      </dl>
      {all > 0 && (
        <ul class="vote-bars" aria-label="Votes of the class">
          {options.map((option, i) => (
            <li key={option} class={i === answer ? "right" : undefined}>
              <span class="option-letter" aria-hidden="true">{letter(i)}</span>
              <span class="vote-bar" aria-hidden="true"><span style={{ width: `${((votes?.[i] ?? 0) / all) * 100}%` }} /></span>
              <span><span class="unseen">{letter(i)}: </span>{votes?.[i] ?? 0} of {all}{i === answer && " ✓"}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

export function Explain(props: Props) {
  const { lesson, catalog, guess, measured, subjects, acts, hidden, reveal, votes, on, back, error } = props;
  if (hidden) {
    return (
      <div class="explain">
        <div class="curtain">
          <p>The result is hidden. Ask what the class thinks now.</p>
          <button type="button" class="primary" onClick={reveal}>Show the result <kbd>A</kbd></button>
        </div>
      </div>
    );
  }
  return (
    <div class="explain">
      <div>
        <Result lesson={lesson} guess={guess} votes={votes} />
        {error && <p class="lesson-error" role="alert">{error}</p>}
        <Prose text={lesson.explain} source={{ catalog, measured }} />
        <p class="note">
          {measured ? "The underlined numbers are measured in the run that you watched, until its last request was answered" : "The run is measured to its end"}
          {acts > 0 && `, with the ${acts === 1 ? "change" : `${acts} changes`} that you made`}.
          {measured && anyFew(lesson.explain, measured) && " Those with ≈ are from few requests and would be clearly different with another seed."}
        </p>
        <div class="step-actions">
          <button type="button" class="primary" onClick={on}>Take the challenge</button>
          <button type="button" class="quiet" onClick={back}>Watch again</button>
        </div>
      </div>
      <Tiles catalog={catalog} focus={lesson.watch.focus} subjects={subjects} over={measured != null} />
    </div>
  );
}
