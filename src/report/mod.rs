//! Output: terminal tables, CSV, JSON, charts, HTML reports, traces, manifests. This module reads results and runs nothing.

pub mod answer;
pub mod changes;
pub mod charts;
pub mod export;
pub mod files;
pub mod format;
pub mod html;
pub mod json;
pub mod table;
pub mod trace;
pub mod why;

use evenkeel_sim::measure::Summary;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::scenario::overrides::SweepPoint;

/// The numbers below `count` in groups, each under its first member: the others are `alike` it. Members ascend.
fn grouped(count: usize, alike: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for which in 0..count {
        match groups.iter_mut().find(|group| alike(group[0], which)) {
            Some(group) => group.push(which),
            None => groups.push(vec![which]),
        }
    }
    groups
}

/// The results of a scenario at one point of a sweep.
pub struct Outcome<'a> {
    /// The scenario with the values of this point.
    pub scenario: &'a Scenario,
    /// `base`, or the values that differ from the file's.
    pub point: &'a str,
    /// The changed values: for each axis its keys and their value; empty for `base`.
    pub place: &'a SweepPoint,
    /// Number of runs per strategy.
    pub replications: u32,
    /// One summary per variant, in the scenario's order.
    pub summaries: Vec<Summary>,
    /// The precision reached, where replications were added until it was; else `None`.
    pub precision: Option<Reached>,
}

/// The widest of the intervals that `--precision` covers.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Reached {
    /// Relative half width that was requested.
    pub target: f64,
    /// Relative half width of the widest interval.
    pub half_width: f64,
    /// Its metric and strategy: `latency.p99 of random`; empty where no strategy can be ranked.
    pub loosest: String,
}
