// Step 1: a guess, committed before anything runs.
import { useSignal } from "@preact/signals";
import type { Lesson } from "../engine";
import { Inline } from "../../shared/inline";
import { Line, Prose } from "./text";

export const letter = (place: number): string => String.fromCharCode(65 + place);

interface Props {
  lesson: Lesson;
  guess: number | null;
  commit: (option: number) => void;
  again: () => void;
  /** Votes of a class per option; absent outside teacher mode. */
  votes?: number[];
  vote?: (option: number, by: number) => void;
}

function Votes({ count, option, vote }: { count: number; option: number; vote: (option: number, by: number) => void }) {
  return (
    <span class="votes">
      <button type="button" class="quiet" aria-label={`One vote less for ${letter(option)}`} disabled={count === 0} onClick={() => vote(option, -1)}>−</button>
      <output aria-label={`Votes for ${letter(option)}`}>{count}</output>
      <button type="button" class="quiet" aria-label={`One vote more for ${letter(option)}`} onClick={() => vote(option, 1)}>+</button>
    </span>
  );
}

export function Predict({ lesson, guess, commit, again, votes, vote }: Props) {
  const chosen = useSignal<number | null>(guess);
  const committed = guess != null;
  return (
    <div class="predict">
      <Prose text={lesson.intro} />
      <form onSubmit={(event) => { event.preventDefault(); if (!committed && chosen.value != null) commit(chosen.value); }}>
        <fieldset class="options" disabled={committed}>
          <legend><Line text={lesson.predict.question} /></legend>
          {lesson.predict.options.map((option, i) => (
            <div class="option-row" key={option}>
              <label class={`option ${(committed ? guess : chosen.value) === i ? "chosen" : ""}`}>
                <input type="radio" name={`guess-${lesson.number}`} value={i} checked={(committed ? guess : chosen.value) === i} onChange={() => { chosen.value = i; }} />
                <span class="option-letter" aria-hidden="true">{letter(i)}</span>
                <span class="option-text"><Inline text={option} /></span>
                {committed && guess === i && <span class="tag">your guess</span>}
              </label>
              {votes && vote && <Votes count={votes[i] ?? 0} option={i} vote={vote} />}
            </div>
          ))}
        </fieldset>
        <div class="step-actions">
          {committed
            ? <><p class="note">Your guess is kept. The result comes after you have watched.</p><button type="button" class="quiet" onClick={again}>Start this lesson again</button></>
            : <><button type="submit" class="primary" disabled={chosen.value == null}>Commit and watch</button>
              <p class="note">{chosen.value == null ? "Choose one first: a wrong guess teaches more than none." : "You cannot change it afterwards."}</p></>}
        </div>
      </form>
    </div>
  );
}
