// An open lesson: its steps with the page's state and the engine's answers.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { asRefusal } from "../playback/session";
import { pause } from "../playback/driver";
import { acts, catalog, clock, lanes, playing, settings } from "../state";
import { type Entry, following, revealed, step, teacher, votes } from "./course";
import { Explain } from "./explain";
import { arrived } from "./focus";
import { ChallengeStep } from "./grading";
import { measure } from "./measure";
import type { Measured } from "./numbers";
import { Predict } from "./predict";
import { PrintSheets } from "./print";
import { forget, note, progressOf, type Step, STEPS } from "./progress";
import { go, href } from "./route";
import { arriving, finish, playOn, problem, showWatch, watching } from "./stage";
import { StepBar } from "./steps";
import { TeacherBar } from "./teacher";
import type { Subject } from "./tiles";
import { Watch } from "./watch";

const TITLES: Record<Step, string> = { predict: "Predict", watch: "Watch", explain: "Explain", challenge: "Challenge" };

/** Lanes of the watched run with their live metrics. */
const live = (): Subject[] => lanes.value.map((lane) => ({
  strategy: lane.strategy, style: lane.style,
  run: lane.metrics.value && lane.metrics.value.count > 0 ? { count: lane.metrics.value.count, values: lane.metrics.value.values } : null,
}));

function PredictStep({ of }: { of: Entry }) {
  const { lesson } = of;
  const vote = (option: number, by: number) => { votes.value = lesson.predict.options.map((_, i) => Math.max(0, (votes.value[i] ?? 0) + (i === option ? by : 0))); };
  const commit = (option: number) => {
    note(lesson.name, { guess: option, reached: 1 });
    go(lesson.number, "watch");
  };
  return <Predict key={progressOf(lesson.name).guess} lesson={lesson} guess={progressOf(lesson.name).guess} commit={commit} again={() => { forget(lesson.name); settings.alone.value = true; }} {...(teacher.value ? { votes: votes.value, vote } : {})} />;
}

function WatchStep({ of }: { of: Entry }) {
  const { lesson } = of;
  useEffect(() => { void showWatch(of); }, [of]);
  const ready = watching(of) && !arriving.value;
  const over = ready && clock.value >= lesson.watch.until - 1e-6;
  return <Watch lesson={lesson} catalog={catalog.value} subjects={ready ? live() : []} time={ready ? clock.value : 0} ready={ready} playing={playing.value} over={over} error={problem.value}
    toggle={() => { if (playing.value) pause(); else void playOn(of); }} on={() => go(lesson.number, "explain")} />;
}

function ExplainStep({ of }: { of: Entry }) {
  const { lesson } = of;
  const found = useSignal<Map<string, Measured> | null>(null);
  const error = useSignal<string | null>(null);
  useEffect(() => {
    let here = true;
    const bring = async () => {
      await showWatch(of);
      await finish(of);
      const measured = await measure(of, acts.value);
      if (here) found.value = measured;
    };
    bring().catch((reason) => { if (here) error.value = asRefusal(reason).message; });
    return () => { here = false; };
  }, [of]);
  const subjects = watching(of) ? lanes.value.map((lane) => ({ strategy: lane.strategy, style: lane.style, run: found.value?.get(lane.strategy) ?? null })) : [];
  return <Explain lesson={lesson} catalog={catalog.value} guess={progressOf(lesson.name).guess ?? 0} measured={found.value} subjects={subjects} acts={watching(of) ? acts.value.length : 0}
    hidden={teacher.value && !revealed.value} reveal={() => { revealed.value = true; }} {...(teacher.value ? { votes: votes.value } : {})}
    on={() => go(lesson.number, "challenge")} back={() => go(lesson.number, "watch")} error={error.value ?? problem.value} />;
}

const PARTS: Record<Step, (props: { of: Entry }) => preact.ComponentChild> = {
  predict: PredictStep, watch: WatchStep, explain: ExplainStep, challenge: ChallengeStep,
};

/** Keys of teacher mode: those of a presenter's remote control, and A for the answers. */
function teacherKeys(event: KeyboardEvent, of: Entry): void {
  const target = event.target as Element;
  if (!teacher.value || event.ctrlKey || event.metaKey || event.altKey || target.matches("textarea, select, input:not([type=radio])")) return;
  const place = STEPS.indexOf(step.value);
  if (event.key === "a" || event.key === "A") revealed.value = !revealed.value;
  else if (event.key === "PageDown" && place < 3 && progressOf(of.lesson.name).guess != null) go(of.lesson.number, STEPS[place + 1]);
  else if (event.key === "PageUp" && place > 0) go(of.lesson.number, STEPS[place - 1]);
  else return;
  event.preventDefault();
}

export function OpenLesson({ of, count }: { of: Entry; count: number }) {
  const { lesson } = of;
  const heading = useRef<HTMLHeadingElement>(null);
  const now = step.value;
  useEffect(() => arrived(heading.current), [now, lesson.name]);
  useEffect(() => {
    const listen = (event: KeyboardEvent) => teacherKeys(event, of);
    addEventListener("keydown", listen);
    return () => removeEventListener("keydown", listen);
  }, [of]);
  const Part = PARTS[now];
  const address = `${location.href.split("#")[0]}#lesson-${lesson.number}&embed`;
  return (
    <article class="lesson" aria-labelledby="lesson-h">
      {!settings.embedded.value && <p class="kicker"><a href={href(null)}>Lessons</a> · {lesson.number} of {count} · {lesson.minutes} min</p>}
      <h1 id="lesson-h" tabIndex={-1}>{lesson.title}</h1>
      {teacher.value && <TeacherBar title={lesson.title} address={address} revealed={revealed.value} reveal={() => { revealed.value = !revealed.value; }} print={() => window.print()} leave={() => { location.hash = `#lesson-${lesson.number}`; }} />}
      <StepBar step={now} of={progressOf(lesson.name)} go={(to) => go(lesson.number, to)} />
      <h2 class="unseen" ref={heading} tabIndex={-1}>{TITLES[now]}: {lesson.title}</h2>
      <Part key={`${lesson.name} ${now}`} of={of} />
      {teacher.value && <PrintSheets of={of} catalog={catalog.value} />}
      <p class="lesson-foot">
        {!teacher.value && !settings.embedded.value && <a href={`#lesson-${lesson.number}${now === "predict" ? "" : `/${now}`}&teacher`}>Teacher mode</a>}
        {following.value && <a href={href(following.value.lesson.number)}>Next lesson: {following.value.lesson.title}</a>}
      </p>
    </article>
  );
}
