//! Collects the runs of a point: the tally of each variant, and how many replications `--precision` needs.

use std::ops::Range;

use super::experiment::Precision;
use crate::report::Reached;
use evenkeel_sim::measure::{Summary, Tally};
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::record::RunRecord;

/// The runs of a point, added in any order.
pub struct PointRuns {
    /// By variant.
    columns: Vec<Column>,
    /// Replications of each variant.
    wanted: u32,
}

/// The runs of a variant. A tally is large, so it exists only from the first run to the last.
enum Column {
    Empty,
    Tally(Box<Tally>),
    Summary(Box<Summary>),
}

/// A point with all its runs.
pub struct PointResult {
    /// By variant.
    pub summaries: Vec<Summary>,
    /// Replications of each variant.
    pub replications: u32,
    /// The precision that was reached; `None` unless one was requested.
    pub precision: Option<Reached>,
}

/// The state of a point after a run was added.
pub enum Step {
    /// More runs are missing.
    Wait,
    /// The intervals are too wide: these replications of every variant are also needed.
    More(Range<u32>),
    /// The point is complete.
    Complete(PointResult),
}

impl PointRuns {
    pub fn new(scenario: &Scenario) -> PointRuns {
        let columns = scenario.variants.iter().map(|_| Column::Empty).collect();
        PointRuns { columns, wanted: scenario.replications }
    }

    /// Adds a run.
    pub fn add(
        &mut self,
        scenario: &Scenario,
        precision: Option<Precision>,
        (variant, replication): (usize, u32),
        record: &RunRecord,
    ) -> Step {
        let column = &mut self.columns[variant];
        if matches!(column, Column::Empty) {
            *column = Column::Tally(Box::new(Tally::new(scenario, variant)));
        }
        let Column::Tally(tally) = column else { unreachable!("a variant with all its runs gets no more") };
        tally.take_in(scenario, replication, record);
        if tally.replications() < self.wanted {
            return Step::Wait;
        }
        match precision {
            Some(precision) => self.judge(scenario, precision),
            None => {
                *column = Column::Summary(Box::new(tally.summary(scenario)));
                self.complete()
            }
        }
    }

    /// Without a precision: the result, where this was the last variant.
    fn complete(&mut self) -> Step {
        if self.columns.iter().any(|column| !matches!(column, Column::Summary(_))) {
            return Step::Wait;
        }
        let summaries = self.columns.drain(..).filter_map(|column| match column {
            Column::Summary(summary) => Some(*summary),
            _ => None,
        });
        let summaries = summaries.collect();
        Step::Complete(PointResult { summaries, replications: self.wanted, precision: None })
    }

    /// With a precision: where all variants have the replications of this round, the result or the next round.
    fn judge(&mut self, scenario: &Scenario, precision: Precision) -> Step {
        let tallies: Vec<&Tally> = self
            .columns
            .iter()
            .filter_map(|column| match column {
                Column::Tally(tally) if tally.replications() >= self.wanted => Some(&**tally),
                _ => None,
            })
            .collect();
        if tallies.len() < self.columns.len() {
            return Step::Wait;
        }
        let summaries: Vec<Summary> = tallies.iter().map(|tally| tally.summary(scenario)).collect();
        let reached = reached(&summaries, precision);
        let from = self.wanted;
        match further(&reached, precision, from) {
            Some(to) => {
                self.wanted = to;
                Step::More(from..to)
            }
            None => {
                self.columns.clear();
                Step::Complete(PointResult { summaries, replications: from, precision: Some(reached) })
            }
        }
    }
}

/// The relative half width of the widest interval that `--precision` covers.
fn reached(summaries: &[Summary], precision: Precision) -> Reached {
    let mut worst = Reached { target: precision.target, half_width: 0.0, loosest: String::new() };
    // A course of events has no steady state, so overload is no reason to skip a strategy.
    for summary in summaries.iter().filter(|summary| summary.ranks()) {
        for metric in ["latency.mean", "latency.p99"] {
            let half_width = summary.estimate(metric).relative_half_width();
            // A missing interval counts as infinitely wide.
            let half_width = if half_width.is_finite() { half_width } else { f64::INFINITY };
            let loosest = worst.loosest.is_empty() || half_width > worst.half_width;
            if loosest && summary.value(metric).is_finite() {
                worst = Reached { half_width, loosest: format!("{metric} of {}", summary.label), ..worst };
            }
        }
    }
    worst
}

/// The next number of replications; `None` when the intervals are narrow enough or the maximum is reached.
fn further(reached: &Reached, precision: Precision, now: u32) -> Option<u32> {
    if reached.half_width <= precision.target || now >= precision.most {
        return None;
    }
    // Half widths decrease as 1/√n. The number at most doubles, because early estimates of the variance are rough.
    let factor = (reached.half_width / precision.target) * (reached.half_width / precision.target);
    let guess = (f64::from(now) * factor).min(f64::from(now) * 2.0).ceil() as u32;
    Some(guess.max(now + 1).min(precision.most))
}
