//! Which theorem applies to a scenario, and what it says.

use crate::scenario::Scenario;
use crate::select::catalog::Table;

/// An exact value.
#[derive(Clone, Debug, PartialEq)]
pub struct Exact {
    /// Mean latency, seconds.
    pub mean: f64,
    /// 99th percentile, where known.
    pub p99: Option<f64>,
    /// Its name.
    pub theorem: String,
}

/// None yet.
pub fn exact(_scenario: &Scenario, _table: &Table) -> Option<Exact> {
    None
}
