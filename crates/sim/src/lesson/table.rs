//! The tables of a lesson's file, and the checks of a lesson that need no run.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Deserialize;

use super::explanation::placeholders;
use super::{Challenge, Change, Lesson, Predict, Solution, Watch, changes, no_files};
use crate::measure::metric_names;
use crate::scenario::Scenario;
use crate::scenario::expect::{self, Expect};
use evenkeel_config::Spanned;
use evenkeel_config::diagnostic::{Problem, Problems, did_you_mean};
use evenkeel_core::units::Nanos;

/// A lesson.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LessonTable {
    /// Number, from 1.
    number: u32,
    /// Name in commands and links: lower-case letters, digits and `-`.
    name: Spanned<String>,
    /// Title, one line.
    title: Spanned<String>,
    /// What it teaches, one sentence.
    summary: Spanned<String>,
    /// Minutes that it takes, 1 to 10.
    minutes: Spanned<u32>,
    /// What one must know before the question.
    intro: Spanned<String>,
    /// The question to guess.
    predict: PredictTable,
    /// The run to watch.
    watch: WatchTable,
    /// What happened and why; `{latency.p99[p2c]}` is a number of the watched run.
    explain: Spanned<String>,
    /// The task.
    challenge: ChallengeTable,
    /// A solution of the task.
    solution: SolutionTable,
}

/// The question to guess.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PredictTable {
    /// The question.
    question: Spanned<String>,
    /// Possible answers, two or more.
    options: Spanned<Vec<String>>,
    /// Number of the right one, from 0.
    answer: Spanned<usize>,
    /// Assertions on the watched run that make the answer right; at least one.
    holds: Vec<Spanned<String>>,
}

/// The run to watch.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WatchTable {
    /// The scenario's text, between `'''`.
    scenario: Spanned<String>,
    /// Labels of the strategies to watch. Default: all of the scenario's, which are at most four.
    strategies: Option<Vec<Spanned<String>>>,
    /// Seed. Default: the scenario's.
    seed: Option<u64>,
    /// Simulated seconds per second of watching, above 0; default 1.
    speed: Option<Spanned<f64>>,
    /// Simulated time at which there is nothing more to watch. Default: warm-up and duration.
    until: Option<Spanned<Nanos>>,
    /// Metrics that show the effect.
    focus: Vec<Spanned<String>>,
    /// What to look at, one sentence each.
    look_for: Vec<String>,
}

/// The task.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChallengeTable {
    /// What to do.
    task: Spanned<String>,
    /// Hints; at least one.
    hints: Spanned<Vec<String>>,
    /// The scenario's text, with `[[expect]]`, between `'''`.
    scenario: Spanned<String>,
    /// Paths that may be changed; `*` stands for one part.
    may_change: Spanned<Vec<Spanned<String>>>,
}

/// A solution of the task.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SolutionTable {
    /// What it changes.
    changes: Vec<Spanned<ChangeTable>>,
    /// Why it works.
    text: Spanned<String>,
}

/// A changed value.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangeTable {
    /// Path of the key.
    key: String,
    /// The new value as TOML: `'"p2c"'`. Default: the key is removed.
    value: Option<String>,
}

/// Keys of a scenario that no challenge lets a learner change: what is asked, and how it is measured.
const FIXED: [&str; 12] = [
    "expect",
    "seed",
    "replications",
    "duration",
    "warmup",
    "cache_warmup",
    "drain",
    "batches",
    "bins",
    "kind",
    "allow_overload",
    "*",
];

/// Checks a lesson.
pub(super) fn build(source: &str, table: LessonTable) -> Result<Lesson, Problems> {
    let mut b = Checks { source, problems: Vec::new() };
    b.texts(&table);
    let watch = b.scenario(&table.name, &table.watch.scenario);
    let challenge = b.scenario(&table.name, &table.challenge.scenario);
    let (Some(watch), Some(challenge)) = (watch, challenge) else { return Err(b.problems) };
    let lesson = Lesson {
        number: table.number,
        name: table.name.into_inner(),
        title: prose(table.title),
        summary: prose(table.summary),
        minutes: table.minutes.into_inner(),
        intro: prose(table.intro),
        watch: b.watch(&table.watch, &watch),
        predict: b.predict(table.predict, &watch),
        explain: b.explain(table.explain, &watch),
        solution: b.solution(table.solution, &table.challenge.scenario),
        challenge: b.challenge(table.challenge, &challenge),
    };
    if b.problems.is_empty() { Ok(lesson) } else { Err(b.problems) }
}

fn prose(text: Spanned<String>) -> String {
    text.into_inner().trim().to_owned()
}

struct Checks<'a> {
    source: &'a str,
    problems: Problems,
}

impl Checks<'_> {
    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Problem {
        self.problems.push(Problem::at(span, message));
        self.problems.last_mut().expect("just pushed")
    }

    fn texts(&mut self, table: &LessonTable) {
        for (text, key) in [
            (&table.title, "title"),
            (&table.summary, "summary"),
            (&table.intro, "intro"),
            (&table.predict.question, "question"),
            (&table.explain, "explain"),
            (&table.challenge.task, "task"),
            (&table.solution.text, "text"),
        ] {
            if text.get_ref().trim().is_empty() {
                self.problem(text.span(), format!("`{key}` is empty"));
            }
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if table.name.get_ref().is_empty() || !table.name.get_ref().chars().all(plain) {
            self.problem(table.name.span(), "`name` is made of lower-case letters, digits and `-`");
        }
        if !(1..=10).contains(table.minutes.get_ref()) {
            self.problem(table.minutes.span(), "`minutes` must be from 1 to 10");
        }
        if table.challenge.hints.get_ref().is_empty() {
            self.problem(table.challenge.hints.span(), "a challenge needs at least one hint");
        }
    }

    /// A scenario inside the lesson; problems get their position in the lesson.
    fn scenario(&mut self, name: &Spanned<String>, text: &Spanned<String>) -> Option<Scenario> {
        let written = &self.source[text.span()];
        let Some(inner) = written.strip_prefix("'''") else {
            let help = "there are no escapes between `'''`, so that every position inside can be named";
            self.problem(text.span(), "a lesson's scenario must be written between `'''`").help = Some(help.to_owned());
            return None;
        };
        let line_end = if inner.starts_with("\r\n") { 2 } else { usize::from(inner.starts_with('\n')) };
        let start = text.span().start + 3 + line_end;
        let fail = |mut problems: Problems| {
            for problem in &mut problems {
                problem.span = Some(problem.span.clone().map_or(text.span(), |at| start + at.start..start + at.end));
            }
            problems
        };
        let scenario = match Scenario::parse(name.get_ref(), text.get_ref(), &no_files) {
            Ok(scenario) if scenario.refusals.is_empty() => scenario,
            Ok(scenario) => {
                self.problems.extend(fail(scenario.refusals));
                return None;
            }
            Err(problems) => {
                self.problems.extend(fail(problems));
                return None;
            }
        };
        if scenario.needs_pilot() {
            self.problem(text.span(), "a lesson's scenario must give its warm-up, because it is run at once");
            return None;
        }
        Some(scenario)
    }

    fn watch(&mut self, table: &WatchTable, scenario: &Scenario) -> Watch {
        let labels = || scenario.variants.iter().map(|variant| variant.label.as_str());
        let listed = table.strategies.as_ref();
        let strategies: Vec<String> = match listed {
            None => labels().map(str::to_owned).collect(),
            Some(listed) => listed.iter().map(|label| label.get_ref().clone()).collect(),
        };
        for label in listed.into_iter().flatten() {
            if !labels().any(|known| known == label.get_ref()) {
                let help = did_you_mean(label.get_ref(), labels());
                let message = format!("strategy `{}` is not in the watched scenario", label.get_ref());
                self.problem(label.span(), message).help = Some(help);
            }
        }
        if !(1..=4).contains(&strategies.len()) {
            let message = format!("{} strategies are watched: it must be one to four", strategies.len());
            self.problem(table.scenario.span(), message);
        }
        for metric in &table.focus {
            self.metric(metric.get_ref(), metric.span(), scenario);
        }
        let speed = table.speed.as_ref().map_or(1.0, |speed| *speed.get_ref());
        if !(speed > 0.0 && speed.is_finite()) {
            self.problem(table.speed.as_ref().map_or(0..0, Spanned::span), "`speed` must be above 0");
        }
        let end = scenario.model.warmup + scenario.model.duration;
        let until = table.until.as_ref().map_or(end, |until| *until.get_ref());
        if until == Nanos::ZERO || until > end {
            let message = format!("`until` must be above zero and at most {end}, the end of the run");
            self.problem(table.until.as_ref().map_or(0..0, Spanned::span), message);
        }
        Watch {
            scenario: table.scenario.get_ref().clone(),
            strategies,
            seed: table.seed,
            speed,
            until: until.as_secs_f64(),
            focus: table.focus.iter().map(|metric| metric.get_ref().clone()).collect(),
            look_for: table.look_for.clone(),
        }
    }

    fn metric(&mut self, metric: &str, span: Range<usize>, scenario: &Scenario) {
        let names = metric_names(scenario);
        if !names.iter().any(|name| name == metric) {
            let help = did_you_mean(metric, names.iter().map(String::as_str));
            self.problem(span, format!("the watched run has no metric `{metric}`")).help = Some(help);
        }
    }

    fn strategy(&mut self, label: &str, span: Range<usize>, scenario: &Scenario) {
        let labels = || scenario.variants.iter().map(|variant| variant.label.as_str());
        if !labels().any(|known| known == label) {
            let message = format!("strategy `{label}` is not in the watched scenario");
            self.problem(span, message).help = Some(did_you_mean(label, labels()));
        }
    }

    fn predict(&mut self, table: PredictTable, scenario: &Scenario) -> Predict {
        let options = table.options.get_ref().len();
        if options < 2 {
            self.problem(table.options.span(), "a question needs at least two options");
        }
        if *table.answer.get_ref() >= options {
            self.problem(
                table.answer.span(),
                format!("`answer` is the number of an option, from 0 to {}", options - 1),
            );
        }
        if table.holds.is_empty() {
            let message = "`holds` is empty: say what must hold in the watched run so that the answer is right";
            self.problem(table.question.span(), message);
        }
        let mut holds = Vec::new();
        for assert in &table.holds {
            match expect::parse(assert.get_ref(), "the answer is right", assert.span()) {
                Err(message) => drop(self.problem(assert.span(), message)),
                Ok(expect) => {
                    self.named(&expect, scenario);
                    holds.push(expect);
                }
            }
        }
        Predict {
            question: prose(table.question),
            options: table.options.into_inner(),
            answer: table.answer.into_inner(),
            holds,
        }
    }

    /// Checks the metrics and strategies that an assertion names.
    fn named(&mut self, expect: &Expect, scenario: &Scenario) {
        for side in [&expect.left, &expect.right] {
            if let expect::Side::Metric { metric, strategy, .. } = side {
                self.metric(metric, expect.span.clone(), scenario);
                self.strategy(strategy, expect.span.clone(), scenario);
            }
        }
    }

    fn explain(&mut self, text: Spanned<String>, scenario: &Scenario) -> String {
        match placeholders(text.get_ref()) {
            Err(at) => {
                let message = format!(
                    "`{}` is no `{{metric[strategy]}}`",
                    text.get_ref()[at.start..].lines().next().unwrap_or("")
                );
                self.problem(text.span(), message);
            }
            Ok(found) => {
                for placeholder in found {
                    self.metric(&placeholder.metric, text.span(), scenario);
                    self.strategy(&placeholder.strategy, text.span(), scenario);
                }
            }
        }
        prose(text)
    }

    fn challenge(&mut self, table: ChallengeTable, scenario: &Scenario) -> Challenge {
        if scenario.expects.is_empty() {
            self.problem(table.scenario.span(), "a challenge needs `[[expect]]`: nothing says when it is solved");
        }
        if table.may_change.get_ref().is_empty() {
            self.problem(table.may_change.span(), "nothing may be changed: no learner can solve the challenge");
        }
        for pattern in table.may_change.get_ref() {
            let first = pattern.get_ref().split('.').next().unwrap_or_default();
            if FIXED.contains(&first) {
                self.problem(pattern.span(), format!("`{first}` cannot be changed in a challenge"));
            }
        }
        Challenge {
            task: prose(table.task),
            hints: table.hints.into_inner(),
            scenario: table.scenario.into_inner(),
            may_change: table.may_change.into_inner().into_iter().map(Spanned::into_inner).collect(),
            expects: scenario.expects.iter().map(|expect| expect.text.clone()).collect(),
        }
    }

    fn solution(&mut self, table: SolutionTable, challenge: &Spanned<String>) -> Solution {
        let mut changes = Vec::new();
        for change in table.changes {
            let span = change.span();
            let ChangeTable { key, value } = change.into_inner();
            let one = Change { key, value };
            if let Err(message) = changes::applied(challenge.get_ref(), std::slice::from_ref(&one)) {
                self.problem(span, message);
            } else {
                changes.push(one);
            }
        }
        Solution { changes, text: prose(table.text) }
    }
}
