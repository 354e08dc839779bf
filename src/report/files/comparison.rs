//! `comparison.csv`.

use super::{number, rows};
use crate::report::Outcome;
use crate::report::table::entry_pools;
use evenkeel_sim::measure::interval::{Estimate, LEVEL};
use evenkeel_sim::measure::{Comparison, Summary, compare_in, difference, regret};

/// `comparison.csv`: each strategy against the best of the scenario and against the oracle, by paired differences. The
/// verdict is corrected for the number of pairs; the interval is the plain 95 % one of this pair. With several entry pools
/// each pool is ranked separately.
pub fn comparison(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let header = ["metric", "against", "relation", "difference", "low", "high", "ratio", "replications"];
    rows(outcomes, &header, |outcome, summary| {
        let mut found = Vec::new();
        // A mixture of pools is meaningless: with several, each is ranked separately.
        let pools = entry_pools(outcome);
        let prefixes = match pools.is_empty() {
            true => vec![String::new()],
            false => pools.iter().map(|pool| format!("{pool}.")).collect(),
        };
        for (prefix, metric) in prefixes.iter().flat_map(|p| ["latency.mean", "latency.p99"].map(|metric| (p, metric)))
        {
            let stands = compare_in(&outcome.summaries, prefix, metric);
            let metric = &*format!("{prefix}{metric}");
            let own = outcome.summaries.iter().position(|s| s.label == summary.label).and_then(|i| stands[i]);
            let best = stands.iter().position(|s| *s == Some(Comparison::Best)).map(|i| &outcome.summaries[i]);
            let mut add = |against: &Summary, relation: &str, e: Estimate| {
                let ratio = summary.value(metric) / against.value(metric);
                let texts = [metric, &against.label, relation].map(str::to_owned);
                let numbers = [e.value, e.low, e.high, ratio].map(number);
                found.push(texts.into_iter().chain(numbers).chain([e.replications.to_string()]).collect());
            };
            if let (Some(best), Some(own)) = (best, own)
                && let Some(e) = difference(summary, best, metric, LEVEL)
            {
                add(best, relation(own), e);
            }
            let oracle = outcome.summaries.iter().find(|s| s.oracle);
            if let (Some(oracle), Some(e)) = (oracle, regret(&outcome.summaries, summary, metric)) {
                add(oracle, "regret", e);
            }
        }
        found
    })
}

/// The name of a comparison in the file.
fn relation(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Best => "best",
        Comparison::Tied => "tied",
        Comparison::Worse(_) => "worse",
        Comparison::Unknown(_) => "too_few_runs",
        Comparison::Fails(_) => "fails_more",
        Comparison::Overloaded => "overloaded",
    }
}
