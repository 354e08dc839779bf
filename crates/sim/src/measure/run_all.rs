//! A whole scenario on one thread, for use from Rust.

use super::summary::{Summary, Tally};
use crate::scenario::Scenario;
use crate::scenario::expect::Expect;
use crate::sim::{Stopped, observe};

/// Runs all replications of all strategies of a scenario, one after the other, and gives a summary of each strategy in
/// their order. A warm-up that is to be found by a pilot run must have been settled before ([`Scenario::settle`]).
pub fn run_all(scenario: &Scenario, interrupted: &dyn Fn() -> bool) -> Result<Vec<Summary>, Stopped> {
    let summarise = |variant| {
        let mut tally = Tally::new(scenario, variant);
        for replication in 0..scenario.replications {
            let record = observe(&scenario.setup(variant, replication), interrupted, &mut ())?;
            tally.take_in(scenario, replication, &record);
        }
        Ok(tally.summary(scenario))
    };
    (0..scenario.variants.len()).map(summarise).collect()
}

impl Expect {
    /// Whether the expectation holds for these summaries, by means over replications. The error names a missing metric or
    /// strategy.
    pub fn holds_in(&self, summaries: &[Summary]) -> Result<bool, String> {
        let evaluation = self.evaluate(summaries);
        match (evaluation.left, evaluation.right) {
            (Some(_), Some(_)) => Ok(evaluation.holds),
            _ => Err(evaluation.values),
        }
    }
}
