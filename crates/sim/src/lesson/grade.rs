//! The grade of a solution: what it changes, whether it may, and whether the expectations hold.

use serde::Serialize;
use toml::Table;

use super::changes::{Difference, covers, differences};
use super::{Lesson, no_files, run};
use crate::scenario::Scenario;
use crate::sim::Stopped;
use evenkeel_config::Problems;

/// The result of a solution.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grade {
    /// Number of the lesson.
    pub lesson: u32,
    /// Whether the challenge is solved.
    pub passed: bool,
    /// What the solution changes, each as `key: old -> new`.
    pub changed: Vec<String>,
    /// What it must not change, each as `key: old -> new`. Then nothing was run, and `checks` is empty.
    pub not_allowed: Vec<String>,
    /// Every expectation.
    pub checks: Vec<Check>,
    /// The result in one sentence.
    pub message: String,
    /// A hint that helps from here; `None` if the challenge is solved.
    pub hint: Option<String>,
}

/// The result of an expectation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// The expectation as written.
    pub assert: String,
    /// Whether it holds.
    pub holds: bool,
    /// Value of the left side; `None` where it is missing.
    pub left: Option<f64>,
    /// Value of the right side; `None` where it is missing.
    pub right: Option<f64>,
    /// Both values with units: `46.71ms < 50ms`.
    pub values: String,
    /// Why it must hold.
    pub reason: String,
}

/// Why a solution has no grade.
#[derive(Debug)]
pub enum GradeError {
    /// It is no valid scenario; positions are in its text.
    Invalid(Problems),
    /// A run was interrupted or became too large.
    Stopped(Stopped),
}

impl From<Stopped> for GradeError {
    fn from(stopped: Stopped) -> GradeError {
        GradeError::Stopped(stopped)
    }
}

impl Lesson {
    /// Grades a solution: the challenge's scenario with changes. Everything but the allowed keys must be as in the challenge;
    /// then all replications are run and the expectations evaluated.
    ///
    /// # Errors
    /// If it is no valid scenario, or a run did not end.
    pub fn grade(&self, solution: &str, interrupted: &dyn Fn() -> bool) -> Result<Grade, GradeError> {
        self.grade_with_seed(solution, None, interrupted)
    }

    /// As [`Lesson::grade`], with another seed than the scenario's: whether a solution depends on the seed.
    ///
    /// # Errors
    /// As [`Lesson::grade`].
    pub fn grade_with_seed(
        &self,
        solution: &str,
        seed: Option<u64>,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Grade, GradeError> {
        // Before anything is compared: problems of the text have positions.
        let parsed = Scenario::parse(&self.name, solution, &no_files).map_err(GradeError::Invalid)?;
        let table = |text: &str| toml::from_str::<Table>(text).expect("it was parsed as a scenario");
        let found = differences(&table(&self.challenge.scenario), &table(solution));
        let mut not_allowed: Vec<String> =
            found.iter().filter(|difference| !self.may_change(difference)).map(ToString::to_string).collect();
        not_allowed.extend(oracles(&parsed));
        let changed: Vec<String> = found.iter().map(ToString::to_string).collect();
        let hint = self.hint(found.iter().filter(|difference| self.may_change(difference)).count());
        let lesson = self.number;
        if !not_allowed.is_empty() {
            let message = "The solution changes what this challenge does not let you change.".to_owned();
            return Ok(Grade { lesson, passed: false, changed, not_allowed, checks: Vec::new(), message, hint });
        }
        if !parsed.refusals.is_empty() {
            return Err(GradeError::Invalid(parsed.refusals));
        }
        let mut scenario = parsed;
        scenario.seed = seed.unwrap_or(scenario.seed);
        let checks = checks(&scenario, interrupted)?;
        let held = checks.iter().filter(|check| check.holds).count();
        let passed = held == checks.len();
        let message = match (passed, changed.is_empty()) {
            (true, _) => "Solved: every expectation holds.".to_owned(),
            (false, true) => format!("Nothing has been changed yet: {held} of {} expectations hold.", checks.len()),
            (false, false) => format!("Not solved yet: {held} of {} expectations hold.", checks.len()),
        };
        Ok(Grade { lesson, passed, changed, not_allowed, checks, message, hint: hint.filter(|_| !passed) })
    }

    fn may_change(&self, difference: &Difference) -> bool {
        self.challenge.may_change.iter().any(|pattern| covers(pattern, &difference.path))
    }

    /// The first hint for an unchanged scenario, the second after one allowed change, and so on.
    fn hint(&self, changes: usize) -> Option<String> {
        let hints = &self.challenge.hints;
        hints.get(changes.min(hints.len().saturating_sub(1))).cloned()
    }
}

/// Strategies with information that no balancer has.
fn oracles(scenario: &Scenario) -> impl Iterator<Item = String> {
    let pools = scenario.pools.iter().filter_map(|pool| pool.strategy.as_ref()).map(|strategy| &strategy.get_ref().0);
    let tables = scenario.variants.iter().map(|variant| &variant.table).chain(pools);
    let refused = |name: &str| format!("strategy `{name}`: an oracle knows what no balancer can know");
    tables.filter(|table| table.oracle()).map(|table| refused(table.name())).collect::<Vec<_>>().into_iter()
}

fn checks(scenario: &Scenario, interrupted: &dyn Fn() -> bool) -> Result<Vec<Check>, Stopped> {
    let summaries = run(scenario, interrupted)?;
    let check = |expect: &crate::scenario::expect::Expect| {
        let evaluation = expect.evaluate(&summaries);
        Check {
            assert: expect.text.clone(),
            holds: evaluation.holds,
            left: evaluation.left,
            right: evaluation.right,
            values: evaluation.values,
            reason: expect.reason.clone(),
        }
    };
    Ok(scenario.expects.iter().map(check).collect())
}
