//! Lessons: a question to guess, a run to watch, an explanation with measured numbers, and a challenge that is graded.
//!
//! A lesson is a TOML file. [`Lesson::parse`] reads it and checks everything that can be known without a run: both
//! scenarios, every metric and strategy that the text names, and that the solution changes only what a learner may change.
//! Serialised, a [`Lesson`] and a [`Grade`] are what a page shows. A challenge is graded by its `[[expect]]`, with the same
//! code as `evenkeel check`.

mod changes;
mod explanation;
mod grade;
mod table;

#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::measure::{Summary, run_all};
use crate::scenario::Scenario;
use crate::scenario::expect::Expect;
use crate::sim::Stopped;
use evenkeel_config::Problems;
use evenkeel_config::diagnostic;

pub use grade::{Check, Grade, GradeError};

/// A lesson, ready to be shown and graded.
#[derive(Clone, Debug, Serialize)]
pub struct Lesson {
    /// Number, from 1 without gaps.
    pub number: u32,
    /// Name in commands and links: lower-case letters, digits and `-`.
    pub name: String,
    /// Title, one line.
    pub title: String,
    /// What it teaches, one sentence.
    pub summary: String,
    /// Minutes that it takes, 1 to 10.
    pub minutes: u32,
    /// What one must know before the question; paragraphs are separated by an empty line.
    pub intro: String,
    /// The question to guess.
    pub predict: Predict,
    /// The run to watch.
    pub watch: Watch,
    /// What happened and why. `{latency.p99[p2c]}` stands for that metric of that strategy in the watched run.
    pub explain: String,
    /// The task.
    pub challenge: Challenge,
    /// A solution of the task.
    pub solution: Solution,
}

/// A question with one right answer, to be answered before the run.
#[derive(Clone, Debug, Serialize)]
pub struct Predict {
    /// The question.
    pub question: String,
    /// Possible answers, two or more.
    pub options: Vec<String>,
    /// Index of the right one, from 0.
    pub answer: usize,
    /// What must hold in the watched run so that the answer is right; at least one.
    #[serde(skip)]
    pub holds: Vec<Expect>,
}

/// The run to watch: the first replication of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Watch {
    /// The scenario's text.
    pub scenario: String,
    /// Labels of the strategies to watch, one to four.
    pub strategies: Vec<String>,
    /// Seed; `None`: the scenario's own.
    pub seed: Option<u64>,
    /// Simulated seconds per second of watching, above 0.
    pub speed: f64,
    /// Simulated time at which there is nothing more to watch, seconds: unless the lesson says less, warm-up and duration.
    pub until: f64,
    /// Metrics that show the effect, the most important first.
    pub focus: Vec<String>,
    /// What to look at, one sentence each.
    pub look_for: Vec<String>,
}

/// A task: a scenario whose expectations do not hold until the learner has changed it.
#[derive(Clone, Debug, Serialize)]
pub struct Challenge {
    /// What to do.
    pub task: String,
    /// Hints, each gives away more than the one before; at least one.
    pub hints: Vec<String>,
    /// The scenario's text, with `[[expect]]`.
    pub scenario: String,
    /// What may be changed: paths of keys, as `--set` takes them. `*` stands for one part of a path; what is below a path may
    /// be changed and added, too.
    pub may_change: Vec<String>,
    /// The assertions of the scenario.
    pub expects: Vec<String>,
}

/// A solution of a challenge.
#[derive(Clone, Debug, Serialize)]
pub struct Solution {
    /// What it changes.
    pub changes: Vec<Change>,
    /// Why it works.
    pub text: String,
}

/// A changed value of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Path of the key.
    pub key: String,
    /// The new value as TOML; `None` removes the key.
    pub value: Option<String>,
}

/// Lessons refer to no files.
fn no_files(file: &str) -> Result<String, String> {
    Err(format!("a lesson's scenario cannot read `{file}`"))
}

impl Lesson {
    /// Reads a lesson.
    ///
    /// # Errors
    /// Everything that is wrong, with positions in `source`.
    pub fn parse(source: &str) -> Result<Lesson, Problems> {
        table::build(source, diagnostic::read::<table::LessonTable>(source)?)
    }

    /// The scenario of the watched run: one replication of the watched strategies, with the lesson's seed.
    pub fn watch_scenario(&self) -> Scenario {
        let mut scenario = parsed(&self.name, &self.watch.scenario);
        scenario.variants.retain(|variant| self.watch.strategies.contains(&variant.label));
        scenario.variants.sort_by_key(|variant| self.watch.strategies.iter().position(|label| *label == variant.label));
        scenario.seed = self.watch.seed.unwrap_or(scenario.seed);
        scenario.replications = 1;
        scenario
    }

    /// Runs what is watched, to its end: one summary per strategy, in the order of [`Watch::strategies`].
    ///
    /// # Errors
    /// If the run was interrupted or became too large.
    pub fn watched(&self, interrupted: &dyn Fn() -> bool) -> Result<Vec<Summary>, Stopped> {
        run(&self.watch_scenario(), interrupted)
    }

    /// The explanation with the numbers of the watched run in place of their names.
    pub fn explained(&self, watched: &[Summary]) -> String {
        explanation::filled(&self.explain, watched)
    }

    /// The scenario of the challenge with the solution's changes, as TOML without comments.
    pub fn solved(&self) -> String {
        changes::applied(&self.challenge.scenario, &self.solution.changes).expect("checked when the lesson was read")
    }
}

/// A scenario of a lesson, which has been checked.
fn parsed(name: &str, source: &str) -> Scenario {
    Scenario::parse(name, source, &no_files).expect("checked when the lesson was read")
}

/// Runs every replication of every strategy on this thread.
fn run(scenario: &Scenario, interrupted: &dyn Fn() -> bool) -> Result<Vec<Summary>, Stopped> {
    run_all(scenario, interrupted)
}
