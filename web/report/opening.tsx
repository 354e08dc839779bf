// The top of the page: navigation, the question, the answer, warnings.
import { choice, choose, type Choice } from "../shared/theme";
import { list } from "../shared/format";
import { report, subjects } from "./state";
import { Prose, sentence, Words } from "./text";

const THEMES: [Choice, string, string][] = [["auto", "◐", "as the system"], ["light", "○", "light"], ["dark", "●", "dark"]];

const KINDS: Record<typeof report.kind, string> = {
  run: "Simulation", sweep: "Sweep", compare: "Comparison", validate: "Validation", twin: "Simulated and real", index: "All reports",
};

export function Header({ parts }: { parts: [string, string][] }) {
  const now = Math.max(0, THEMES.findIndex(([key]) => key === choice.value));
  const next = (now + 1) % THEMES.length;
  return (
    <header class="bar">
      <div class="bar-in">
        <span class="brand">evenkeel</span>
        <nav aria-label="Sections"><ul>{parts.map(([id, text]) => <li key={id}><a href={`#${id}`}>{text}</a></li>)}</ul></nav>
        <button type="button" class="quiet theme" aria-label={`Colour theme: ${THEMES[now][2]}. Change to ${THEMES[next][2]}.`} title={`Colours: ${THEMES[now][2]}`}
          onClick={() => choose(THEMES[next][0])}>
          <span aria-hidden="true">{THEMES[now][1]}</span>
        </button>
      </div>
    </header>
  );
}

/** Reports that rank strategies have an answer, if only that there is none. */
export const hasAnswer = () => report.answer.length > 0 || report.explanation != null || report.run != null;

export function Question() {
  return (
    <section class="question">
      <p class="kicker">{KINDS[report.kind]} · <span class="mono">{report.name}</span></p>
      <h1>{report.title}</h1>
      {report.question.trim() && <div class="lead"><Prose text={report.question} /></div>}
      {report.facts.length > 0 && (
        <dl class="facts">
          {report.facts.map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
        </dl>
      )}
    </section>
  );
}

export function Answer() {
  if (!hasAnswer()) return null;
  return (
    <section id="answer" class="answer" aria-labelledby="answer-h">
      <h2 id="answer-h">Answer</h2>
      {report.answer.map((sentence, i) => <p key={i}><Words text={sentence} /></p>)}
      {report.answer.length === 0 && <p>The results give no ranking.</p>}
      {!!report.run?.why_short?.length && (
        <ul class="short">{report.run.why_short.map((text) => <li key={text}><Words text={text} /></li>)}</ul>
      )}
      {report.explanation && (
        <details>
          <summary>Explanation by the scenario's author</summary>
          <div class="prose"><Prose text={report.explanation} /></div>
        </details>
      )}
    </section>
  );
}

/** More names than this are counted. */
const NAMED = 4;

function concerned(labels: string[]): string {
  if (labels.length > 2 && labels.length === subjects.length) return "all strategies";
  const names = labels.map((label) => `\`${label}\``);
  return names.length <= NAMED ? list(names) : `${names.slice(0, NAMED - 1).join(", ")} and ${names.length - NAMED + 1} more`;
}

export function Warnings() {
  if (!report.warnings.length) return null;
  return (
    <section class="warnings" aria-labelledby="warnings-h">
      <h2 id="warnings-h" class="small">Warnings</h2>
      <ul>
        {report.warnings.map((warning, i) => (
          <li key={i} title={warning.strategies.length > NAMED ? warning.strategies.join(", ") : undefined}>
            <Words text={sentence(warning.text)} />
            {warning.strategies.length > 0 && <span class="concerned"> Concerns <Words text={concerned(warning.strategies)} />.</span>}
          </li>
        ))}
      </ul>
    </section>
  );
}
