//! What people read: terminal tables, CSV, charts, the manifest. Reads results and never runs anything.

pub mod charts;
pub mod files;
pub mod table;

use crate::measure::Summary;
use crate::scenario::Scenario;

/// A scenario and what came of it.
pub struct Outcome<'a> {
    /// The experiment.
    pub scenario: &'a Scenario,
    /// What came of each contestant, in the scenario's order.
    pub summaries: Vec<Summary>,
}
