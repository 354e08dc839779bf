/** @jsxImportSource preact */
// For development only: parts of the lab with sample data. `?inspector=ring_hash` shows one decision, `?lesson=watch` one step.
import { render, type ComponentChildren } from "preact";
import { useSignal } from "@preact/signals";
import "../../../shared/tokens.css";
import "../../../shared/base.css";
import "../../../report/report.css";
import "../../../lab/inspector/inspector.css";
import "../../../lab/lessons/lessons.css";
import "../../../lab/lessons/challenge.css";
import { moved } from "../../../lab/inspector/shares";
import { Panel } from "../../../lab/inspector/panel";
import { Challenge } from "../../../lab/lessons/challenge";
import type { Checking } from "../../../lab/lessons/checks";
import { Explain } from "../../../lab/lessons/explain";
import { LessonList } from "../../../lab/lessons/list";
import { Predict } from "../../../lab/lessons/predict";
import { note, type Step } from "../../../lab/lessons/progress";
import { Sheets } from "../../../lab/lessons/sheet";
import { StepBar } from "../../../lab/lessons/steps";
import { TeacherBar } from "../../../lab/lessons/teacher";
import { Watch } from "../../../lab/lessons/watch";
import { numbered } from "../../../shared/palette";
import { catalog, grade, lesson, lessons, measured } from "../../lab/lesson";
import { moves, whys } from "../../lab/whys";

const asked = new URLSearchParams(location.search);
const nothing = () => {};

function Inspector({ name }: { name: string }) {
  const leaving = useSignal<number | null>(asked.has("leave") ? 2 : null);
  return <><h2 style={{ margin: "2rem 0 1rem" }}>Why this server? {name}</h2><Panel why={whys[name]} leaving={leaving.value} moves={leaving.value == null ? null : moved(moves, 0)} leave={(server) => { leaving.value = server; }} /></>;
}

function OneStep({ step }: { step: Step }) {
  const subjects = lesson.watch.strategies.map((strategy, i) => ({ strategy, style: numbered(i), run: measured.get(strategy)! }));
  const votes = asked.has("teacher") ? { votes: [4, 11, 9, 2], vote: nothing } : {};
  const checking: Checking = asked.has("running") ? { state: "running", share: 0.4, seconds: 3 } : asked.has("passed") ? { state: "done", stale: false, grade: { ...grade, passed: true, not_allowed: [], message: "Both hold.", checks: grade.checks.map((c) => ({ ...c, holds: true })) } }
    : asked.has("graded") ? { state: "done", stale: false, grade } : { state: "idle" };
  const parts: Record<Step, ComponentChildren> = {
    predict: <Predict lesson={lesson} guess={asked.has("guessed") ? 1 : null} commit={nothing} again={nothing} {...votes} />,
    watch: <Watch lesson={lesson} catalog={catalog} subjects={subjects} time={23} ready playing over={false} toggle={nothing} on={nothing} error={null} />,
    explain: <Explain lesson={lesson} catalog={catalog} guess={asked.has("right") ? 2 : 1} measured={measured} subjects={subjects} acts={0} hidden={asked.has("hidden")} reveal={nothing} {...(asked.has("teacher") ? { votes: [4, 11, 9, 2] } : {})} on={nothing} back={nothing} error={null} />,
    challenge: <Challenge lesson={lesson} text={lesson.challenge.scenario.replace("shards = 8", asked.has("graded") ? "shards = 4" : "shards = 8")} shipped={lesson.challenge.scenario} refusal={asked.has("refused") ? { message: "unknown key `shard`", help: "Did you mean `shards`?", line: 6, column: 3 } : null}
      checking={checking} hints={asked.has("graded") ? 2 : 0} solved={false} settings={null} ready answers next={{ href: "#", lesson: lessons[8] }} edit={nothing} check={nothing} cancel={nothing} hint={nothing} reset={nothing} show={nothing} solve={nothing} download={nothing} />,
  };
  return (
    <div class="lesson">
      <p class="kicker"><a href="#">Lessons</a> · 8 of 12 · {lesson.minutes} min</p>
      <h1>{lesson.title}</h1>
      {asked.has("teacher") && <TeacherBar title={lesson.title} address="https://example.org/lab.html#lesson=8&embed" revealed={false} reveal={nothing} leave={nothing} print={nothing} />}
      <StepBar step={step} of={{ guess: step === "predict" && !asked.has("guessed") ? null : 1, reached: 1, solved: false, solution: null, hints: 0 }} go={nothing} />
      {parts[step]}
    </div>
  );
}

note("lesson-1", { guess: 1, solved: true });
note("lesson-2", { guess: 1, reached: 2 });
const name = asked.get("inspector");
const step = asked.get("lesson") as Step | null;
if (asked.has("sheet")) document.documentElement.classList.add("printing-sheets");
render(
  <main class={asked.has("column") ? "" : "wrap"} style={{ paddingBottom: "3rem", ...(asked.has("column") ? { maxWidth: "29rem", margin: "0 1rem" } : {}) }}>
    <div class={name ? "inspector" : "lessons"}>
    {name ? <Inspector name={name} /> : asked.has("sheet") ? <Sheets lesson={lesson} catalog={catalog} measured={measured} /> : step ? <OneStep step={step} /> : <LessonList lessons={lessons} hrefOf={(one) => `#${one.name}`} loading={false} failure={null} teacher={false} />}
    </div>
  </main>, document.getElementById("page")!);
