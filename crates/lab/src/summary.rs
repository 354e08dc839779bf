//! Replications summed up: intervals, ranks, and which differences are real.

use std::collections::BTreeMap;

use evenkeel_sim::measure::interval::LEVEL;
use evenkeel_sim::measure::metrics::{self, Direction, Unit};
use evenkeel_sim::measure::{ENOUGH, Metric, Summary as Runs, difference};
use serde::{Deserialize, Serialize};

/// Results of replications, by strategy.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Results {
    results: Vec<StrategyResults>,
}

#[derive(Clone, Debug, Deserialize)]
struct StrategyResults {
    strategy: String,
    /// In the order of the replications: the same number means the same requests.
    values: Vec<BTreeMap<String, Option<f64>>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    metrics: Vec<MetricText>,
    answer: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MetricText {
    name: String,
    strategies: Vec<StrategyText>,
}

#[derive(Debug, Serialize)]
struct StrategyText {
    strategy: String,
    mean: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    rank: Option<u32>,
    tied_with: Vec<String>,
}

/// Sums up. Differences are those of pairs of runs with the same requests, at a level that is corrected for the number of pairs.
pub(crate) fn summary(results: &Results) -> Summary {
    let mut names: Vec<&String> = Vec::new();
    for name in results.results.iter().flat_map(|strategy| strategy.values.iter().flat_map(BTreeMap::keys)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let metric = |strategy: &StrategyResults, name: &str| Metric {
        name: name.to_owned(),
        unit: metrics::nature(name).1,
        values: strategy.values.iter().map(|run| run.get(name).copied().flatten().unwrap_or(f64::NAN)).collect(),
    };
    let runs: Vec<Runs> = results
        .results
        .iter()
        .map(|strategy| Runs {
            label: strategy.strategy.clone(),
            metrics: names.iter().map(|name| metric(strategy, name)).collect(),
            ..Runs::default()
        })
        .collect();
    let metrics: Vec<MetricText> = names.iter().map(|name| compared(&runs, name)).collect();
    let answer = metrics.iter().filter_map(sentence).collect();
    Summary { metrics, answer }
}

fn compared(runs: &[Runs], name: &str) -> MetricText {
    let (direction, _) = metrics::nature(name);
    let pairs = (runs.len() * runs.len().saturating_sub(1) / 2).max(1);
    let level = 1.0 - (1.0 - LEVEL) / pairs as f64;
    let better = |a: f64, b: f64| match direction {
        Direction::Higher => a > b,
        Direction::Lower | Direction::Neither => a < b,
    };
    let finite = |value: f64| Some(value).filter(|value| value.is_finite());
    let strategies = runs.iter().map(|run| {
        let estimate = run.estimate(name);
        let others = runs.iter().filter(|other| other.label != run.label);
        let tied = |other: &&Runs| {
            let difference = difference(run, other, name, level);
            difference.is_some_and(|d| d.replications >= ENOUGH && d.low <= 0.0 && d.high >= 0.0)
        };
        let above = runs.iter().filter(|other| better(other.value(name), run.value(name))).count() as u32;
        StrategyText {
            strategy: run.label.clone(),
            mean: finite(estimate.value),
            low: finite(estimate.low),
            high: finite(estimate.high),
            rank: finite(estimate.value).filter(|_| direction != Direction::Neither).map(|_| above + 1),
            tied_with: others.filter(tied).map(|other| other.label.clone()).collect(),
        }
    });
    MetricText { name: name.to_owned(), strategies: strategies.collect() }
}

/// A comparison of the first and the last in words, for the metrics that most people ask for.
fn sentence(metric: &MetricText) -> Option<String> {
    if !["latency.mean", "latency.p99", "errors.ratio"].contains(&metric.name.as_str()) {
        return None;
    }
    let (row, of) = (metrics::find(&metric.name)?, |s: &StrategyText| Some((s.mean?, s.low?, s.high?)));
    let mut ranked: Vec<&StrategyText> =
        metric.strategies.iter().filter(|s| s.rank.is_some() && of(s).is_some()).collect();
    ranked.sort_by_key(|strategy| strategy.rank);
    let (first, last) = (*ranked.first()?, *ranked.last()?);
    let value = |s: &StrategyText| {
        let (mean, low, high) = of(s).unwrap_or_default();
        format!("{} ({} to {})", quantity(row.unit, mean), quantity(row.unit, low), quantity(row.unit, high))
    };
    if ranked.len() < 2 {
        return Some(format!("{}: the {} is {}.", first.strategy, row.label, value(first)));
    }
    let what = format!("The {} is lowest for {}, {}", row.label, first.strategy, value(first));
    let tied = if first.tied_with.is_empty() {
        String::new()
    } else {
        format!("; tied with it: {}", first.tied_with.join(", "))
    };
    if first.tied_with.contains(&last.strategy) {
        return Some(format!("{what}{tied}. No difference is certain."));
    }
    let times = last.mean.unwrap_or(f64::NAN) / first.mean.unwrap_or(f64::NAN);
    let times = if times.is_finite() { format!(", {times:.2} times as much") } else { String::new() };
    Some(format!("{what}{tied}. It is highest for {}, {}{times}.", last.strategy, value(last)))
}

fn quantity(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Seconds => crate::describe::time(value * 1e9),
        Unit::Rate => format!("{value:.1}/s"),
        Unit::Share => format!("{:.2} %", value * 100.0),
        Unit::Index | Unit::Number => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(strategies: &[(&str, &[f64])]) -> Summary {
        let of = |values: &[f64]| {
            values.iter().map(|&value| BTreeMap::from([("latency.p99".to_owned(), Some(value))])).collect()
        };
        let results = strategies
            .iter()
            .map(|(name, values)| StrategyResults { strategy: (*name).to_owned(), values: of(values) });
        summary(&Results { results: results.collect() })
    }

    /// The same strategies as in the test of paired comparisons.
    #[test]
    fn pairs_distinguish_what_means_cannot() {
        let a = [1.0, 5.0, 9.0, 3.0, 7.0];
        let summary = results(&[("b", &a.map(|v| v + 0.1 + 0.001 * v)), ("a", &a), ("c", &[1.5, 4.6, 9.3, 2.9, 7.1])]);
        let [b, a, c] = &summary.metrics[0].strategies[..] else { panic!("{summary:?}") };
        assert_eq!((a.rank, b.rank, c.rank), (Some(1), Some(3), Some(2)), "{summary:?}");
        assert_eq!((a.tied_with.clone(), b.tied_with.clone()), (vec!["c".to_owned()], vec!["c".to_owned()]));
        assert_eq!((a.mean, a.low.is_some_and(|low| low < 5.0)), (Some(5.0), true));
        assert!(
            summary.answer[0].contains("lowest for a, 5 s") && summary.answer[0].contains("tied with it: c"),
            "{summary:?}"
        );
    }

    #[test]
    fn few_replications_tie_nothing() {
        let summary = results(&[("a", &[1.0]), ("b", &[2.0])]);
        let [a, b] = &summary.metrics[0].strategies[..] else { panic!("{summary:?}") };
        assert!(a.low.is_none() && a.tied_with.is_empty() && b.rank == Some(2) && summary.answer.is_empty());
    }
}
