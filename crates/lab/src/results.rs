//! The result of a run, as the command line writes it.

use std::collections::BTreeMap;

use evenkeel_sim::measure::metrics;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::record::RunRecord;
use evenkeel_sim::sim::{Stopped, observe};
use serde::Serialize;

use crate::Refusal;
use crate::session::{OpenRequest, Plan};

/// A metric by name; `None` where it has no value.
pub type Values = BTreeMap<String, Option<f64>>;

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunResult {
    /// Hash of all picks in order, 16 hexadecimal digits.
    pub pick_hash: String,
    /// Hash of the workload, 16 hexadecimal digits: equal for every strategy of an open-loop experiment.
    pub workload_hash: String,
    /// Requests simulated, measured or not.
    pub requests: u64,
    /// Measured requests, those that did not end included.
    pub measured: u64,
    /// Events that the engine handled.
    pub events: u64,
    /// The metrics of `replications.csv`.
    pub values: Values,
}

impl RunResult {
    pub(crate) fn of(scenario: &Scenario, record: &RunRecord) -> RunResult {
        let seconds = scenario.model.duration.as_secs_f64();
        RunResult {
            pick_hash: format!("{:016x}", record.pick_hash),
            workload_hash: format!("{:016x}", record.workload_hash),
            requests: record.requests,
            measured: record.measured.all.requests(),
            events: record.events,
            values: finite(metrics::of_run(scenario, &record.measured, seconds)),
        }
    }

    /// A whole run, without steps.
    ///
    /// # Errors
    /// What is wrong with the request, or why the run has no result.
    pub fn whole(request: &OpenRequest) -> Result<RunResult, Refusal> {
        let Plan { scenario, variant, replication } = request.plan()?;
        let record = observe(&scenario.setup(variant, replication), &|| false, &mut ());
        let record = record.map_err(|error| Refusal::new(stopped(&error)))?;
        Ok(RunResult::of(&scenario, &record))
    }
}

/// Why a run has no result.
pub(crate) fn stopped(stopped: &Stopped) -> String {
    match stopped {
        Stopped::Interrupted => "the run was interrupted".to_owned(),
        Stopped::TooLarge(size) => size.to_string(),
    }
}

/// Values by name; those that are no numbers are `None`.
pub(crate) fn finite(values: Vec<(String, f64)>) -> Values {
    values.into_iter().map(|(name, value)| (name, Some(value).filter(|value| value.is_finite()))).collect()
}
