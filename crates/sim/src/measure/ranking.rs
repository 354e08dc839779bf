//! Ranking of strategies: paired comparison on the same requests, and regret against the oracle.

use super::interval::{Estimate, LEVEL, estimate_at};
use super::stability::Verdict;
use super::summary::Summary;

/// Result of comparing a strategy with the best one, by a metric for which lower is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    /// Best: it has the lowest mean.
    Best,
    /// Tied: the interval of the paired difference from the best contains zero.
    Tied,
    /// Ratio of its mean to the best mean; the interval of the paired difference excludes zero.
    Worse(f64),
    /// Ratio of its mean to the best mean, with too few replications for an interval.
    Unknown(f64),
    /// Excess of its failed share over that of the strategy with the fewest failures: its latencies are biased towards
    /// requests that succeeded.
    Fails(f64),
    /// Overloaded: its latency depends on the length of the run.
    Overloaded,
}

/// Minimum number of pairs of replications for a verdict: with fewer, the corrected intervals are too wide.
pub const ENOUGH: usize = 5;

/// Excess share of failed requests above which a strategy's latency is not compared.
const MORE_FAILURES: f64 = 0.001;

/// Compares every strategy with the best that is not an oracle, pair by pair of replications: they ran the same workload.
///
/// The level is corrected for the number of pairs (Bonferroni): the best strategy is known only after the runs, so any pair
/// could have been the one compared, and a field of equal strategies must be reported as tied in at least 95 % of cases.
/// (Corrected only for the comparisons with a fixed best, a field of ten equals was tied in 88 %.)
pub fn compare(summaries: &[Summary], metric: &str) -> Vec<Option<Comparison>> {
    compare_in(summaries, "", metric)
}

/// The same for the requests of one pool: `prefix` is its name and a dot (`"payments."`), `metric` a metric without it.
/// Where pools serve different requests, or are variants of one fleet, a ranking over their mixture is meaningless.
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

/// Interval of the paired difference of a metric, `of` minus `from`: each pair ran the same requests. `None` where one of
/// them does not have the metric.
pub fn difference(of: &Summary, from: &Summary, metric: &str, level: f64) -> Option<Estimate> {
    let (of, from) = (of.metric(metric)?, from.metric(metric)?);
    let differences: Vec<f64> = of.values.iter().zip(&from.values).map(|(a, b)| a - b).collect();
    Some(estimate_at(&differences, level))
}

/// Regret: the paired difference from the oracle on the same workload, by a metric for which lower is better, at 95 %.
/// `None` where no oracle ran, for the oracle itself, and where the strategy is overloaded.
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

    /// Ten equal strategies, five replications that differ much in workload and little otherwise: all tied in at least 95 %
    /// of 400
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
    fn pairs_distinguish_what_means_cannot() {
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
