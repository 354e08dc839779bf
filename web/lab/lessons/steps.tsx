// The four steps of a lesson: which is open, which is done.
import { type Progress, open, type Step, STEPS } from "./progress";

const NAMES: Record<Step, string> = { predict: "Predict", watch: "Watch", explain: "Explain", challenge: "Challenge" };

function done(of: Progress, place: number): boolean {
  if (STEPS[place] === "challenge") return of.solved;
  if (STEPS[place] === "predict") return of.guess != null;
  return of.reached > place;
}

export function StepBar({ step, of, go }: { step: Step; of: Progress; go: (step: Step) => void }) {
  return (
    <nav class="step-bar" aria-label="Steps of the lesson">
      <ol>
        {STEPS.map((one, i) => {
          const finished = done(of, i);
          const locked = !open(of, one);
          return (
            <li key={one}>
              <button type="button" aria-current={one === step ? "step" : undefined} disabled={locked} title={locked ? "Commit a guess first" : undefined} onClick={() => go(one)}>
                <span class={finished ? "step-mark done" : "step-mark"} aria-hidden="true">{finished ? "✓" : i + 1}</span>
                <span>{NAMES[one]}{finished && <span class="unseen"> (done)</span>}</span>
              </button>
            </li>
          );
        })}
      </ol>
    </nav>
  );
}
