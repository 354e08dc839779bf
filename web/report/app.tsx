// The page: the question, the answer, the table, the charts, why, how to repeat it.
import { Answer, hasAnswer, Header, Question, Warnings } from "./opening";
import { Charts, ended } from "./charts/charts";
import { RepeatSection } from "./repeat";
import { Sections } from "./sections";
import { report } from "./state";
import { SweepSection } from "./sweep/sweep";
import { Results } from "./table/results";
import { WhySection } from "./why/why";

export function App() {
  const { run, sweep, sections } = report;
  const parts: [string, string][] = hasAnswer() ? [["answer", "Answer"]] : [];
  if (run) parts.push(["table", "Results"]);
  if (run && ended(run)) parts.push(["charts", "Charts"]);
  if (sweep) parts.push(["sweep", "Sweep"]);
  if (sections.length) parts.push(["sections", report.kind === "index" ? "Reports" : "Details"]);
  if (run?.why) parts.push(["why", "Why"]);
  if (report.repeat.command || report.repeat.scenario_source || report.repeat.files.length) parts.push(["repeat", "Reproduce"]);
  return (
    <>
      <a class="skip" href="#main">Skip to content</a>
      <Header parts={parts} />
      <main id="main" class="wrap" tabIndex={-1}>
        <Question />
        <Answer />
        <Warnings />
        {run && <Results run={run} />}
        {run && <Charts run={run} />}
        {sweep && <SweepSection sweep={sweep} />}
        {sections.length > 0 && <Sections sections={sections} />}
        {run?.why && <WhySection run={run} why={run.why} />}
        <RepeatSection repeat={report.repeat} />
      </main>
      <footer class="wrap foot">Made by evenkeel {report.repeat.version}. This file needs no network.</footer>
    </>
  );
}
