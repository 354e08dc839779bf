//! Ranking of strategies: paired comparison on the same requests, and regret against the oracle.

use super::interval::{Estimate, LEVEL, estimate_at};
use super::stability::Verdict;
use super::summary::Summary;

/// Result of comparing a strategy with the best one, by a metric for which lower is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    /// It has the least mean.
    Best,
    /// The paired differences cannot tell it from the best.
    Tied,
    /// So many times the best, and the interval of the paired difference leaves zero out.
    Worse(f64),
    /// So many times the best, with too few replications to tell by.
    Unknown(f64),
    /// It fails this share of requests more than the one that fails least: its latencies are biased towards requests that succeeded.
    Fails(f64),
    /// It is offered more than it can do: its latency says how long it was run.
    Overloaded,
}

/// With fewer pairs of replications than this nothing is called better or worse: the corrected intervals would be too wide
/// to tell anything.
pub const ENOUGH: usize = 5;

/// A strategy that fails this share of requests more than another is not compared with it by latency.
const MORE_FAILURES: f64 = 0.001;

/// Compares every strategy with the best that is no oracle, pair by pair of replications: they met the same workload.
///
/// The level is corrected for the number of pairs (Bonferroni): which one is the best is known only after the fact, so any
/// pair could have been the one compared, and a field of equals is to come out as tied in at least 95 % of cases. (Over the
/// others alone, as if the best were given, a field of ten equals was tied in 88 %.)
pub fn compare(summaries: &[Summary], metric: &str) -> Vec<Option<Comparison>> {
    compare_in(summaries, "", metric)
}

/// The same among the requests of one pool: `prefix` is its name and a dot (`"payments."`), `metric` a metric without it.
/// Where pools answer different requests, or are variants of one fleet, a ranking over their mixture answers no question.
pub fn compare_in(summaries: &[Summary], prefix: &str, metric: &str) -> Vec<Option<Comparison>> {
    let metric = &*format!("{prefix}{metric}");
    let failed = |summary: &Summary| Some(summary.failed(prefix)).filter(|v| v.is_finite()).unwrap_or(0.0);
    let least = summaries.iter().filter(|s| !s.oracle).map(failed).fold(f64::INFINITY, f64::min);
    let excess = |summary: &Summary| failed(summary) - least;
    let in_the_field =
        |s: &&Summary| !s.oracle && s.ranks() && s.value(metric).is_finite() && excess(s) <= MORE_FAILURES;
    let best = summaries.iter().filter(in_the_field).min_by(|a, b| a.value(metric).total_cmp(&b.value(metric)));
    let overloaded = |s: &Summary| (!s.oracle && !s.ranks()).then_some(Comparison::Overloaded);
    let Some(best) = best else {
        return summaries.iter().map(overloaded).collect();
    };
    let ranked = summaries.iter().filter(in_the_field).count().max(2);
    let level = 1.0 - (1.0 - LEVEL) / (ranked * (ranked - 1) / 2) as f64;
    let stands = |summary: &Summary| {
        if summary.label == best.label {
            return Some(Comparison::Best);
        }
        if overloaded(summary).is_some() {
            return overloaded(summary);
        }
        if excess(summary) > MORE_FAILURES {
            return Some(Comparison::Fails(excess(summary)));
        }
        let times = summary.value(metric) / best.value(metric);
        let difference = difference(summary, best, metric, level)?;
        Some(if !times.is_finite() {
            return None;
        } else if difference.replications < ENOUGH {
            Comparison::Unknown(times)
        } else if difference.low > 0.0 {
            Comparison::Worse(times)
        } else {
            Comparison::Tied
        })
    };
    summaries.iter().map(stands).collect()
}

/// Interval of the paired difference of a metric, `of` minus `from`: they met the same requests in each replication.
/// `None` where one of them does not have the metric.
pub fn difference(of: &Summary, from: &Summary, metric: &str, level: f64) -> Option<Estimate> {
    let (of, from) = (of.metric(metric)?, from.metric(metric)?);
    let differences: Vec<f64> = of.values.iter().zip(&from.values).map(|(a, b)| a - b).collect();
    Some(estimate_at(&differences, level))
}

/// How far a strategy is from the oracle on the same workload, by a metric for which lower is better: the paired difference
/// at 95 %. `None` where no oracle ran, for the oracle itself, and where latencies say nothing (overloaded).
pub fn regret(summaries: &[Summary], of: &Summary, metric: &str) -> Option<Estimate> {
    let oracle = summaries.iter().find(|summary| summary.oracle)?;
    (!of.oracle && of.ranks() && oracle.ranks()).then(|| difference(of, oracle, metric, LEVEL)).flatten()
}

impl Summary {
    /// Whether its latencies can be ranked: a steady state that is overloaded has none.
    pub fn ranks(&self) -> bool {
        !(self.steady && self.stability.verdict == Verdict::Overloaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::metrics::{Metric, Unit};

    fn summary(label: &str, values: &[f64]) -> Summary {
        let metrics = vec![Metric { name: "m".to_owned(), unit: Unit::Seconds, values: values.to_vec() }];
        Summary { label: label.to_owned(), metrics, ..Summary::default() }
    }

    /// Ten equals, five replications that differ much in workload and little in randomness: all tied in at least 95 % of 400
    /// fields. (The count is binomial: 95 % of 400 is 380; were the level exact, 362 would be four deviations below.)
    #[test]
    fn a_field_of_equals_is_tied() {
        let mut rng = evenkeel_core::rng::Rng::stream(1, "equals", 0);
        let mut tied = 0;
        for _ in 0..400 {
            let workloads: Vec<f64> =
                (0..5).map(|_| 100.0 + 10.0 * evenkeel_config::distribution::normal(&mut rng)).collect();
            let field: Vec<Summary> = (0..10)
                .map(|i| {
                    let values: Vec<f64> =
                        workloads.iter().map(|w| w + evenkeel_config::distribution::normal(&mut rng)).collect();
                    summary(&format!("s{i}"), &values)
                })
                .collect();
            let stands = compare(&field, "m");
            tied += u32::from(!stands.iter().any(|s| matches!(s, Some(Comparison::Worse(_)))));
        }
        assert!(tied >= 380, "{tied} of 400");
    }

    #[test]
    fn pairs_tell_apart_what_means_alone_could_not() {
        // The workloads differ far more than the strategies do, but b is slower on each of them.
        let a = summary("a", &[1.0, 5.0, 9.0, 3.0, 7.0]);
        let b = summary("b", &[1.1, 5.11, 9.09, 3.1, 7.1]);
        let c = summary("c", &[1.5, 4.6, 9.3, 2.9, 7.1]);
        let stands = compare(&[a, b, c], "m");
        assert_eq!(stands[0], Some(Comparison::Best));
        assert!(matches!(stands[1], Some(Comparison::Worse(_))), "{stands:?}");
        assert_eq!(stands[2], Some(Comparison::Tied));
    }
}
