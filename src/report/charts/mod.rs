//! Charts, drawn as SVG: one question each. Colours are told apart with any colour vision, and no chart relies on colour
//! alone.

mod canvas;
mod curves;
mod families;
mod rows;
mod scatter;
mod sweep;
mod timeseries;

pub mod png;

pub use canvas::text_width;

use super::Outcome;
use evenkeel_sim::measure::Summary;

/// A strategy's label, with the mark of the footnote that says what a baseline is.
fn shown_name(summary: &Summary) -> String {
    if summary.oracle { format!("{} †", summary.label) } else { summary.label.clone() }
}

/// How many pools are asked, where several are: each is shown apart, since a mixture of them answers no question.
fn several_pools(outcome: &Outcome<'_>) -> usize {
    match outcome.summaries.first().map_or(0, |summary| summary.pools.len()) {
        1 => 0,
        pools => pools,
    }
}

/// The footnote.
const BASELINE_NOTE: &str = "† baseline with perfect information";

/// Every chart that has something to show: file name without ending, and SVG. A study of one point is shown in detail, one
/// of several as curves over its points.
pub fn all(outcomes: &[Outcome<'_>]) -> Vec<(String, String)> {
    let [outcome] = outcomes else { return sweep::all(outcomes) };
    let charts = [
        ("latency", rows::latency(outcome)),
        ("latency_cdf", curves::latency(outcome)),
        ("pools", rows::pools(outcome)),
        ("fairness", rows::fairness(outcome)),
        ("cache", rows::cache(outcome)),
        ("cache_balance", scatter::cache_balance(outcome)),
        ("timeseries", timeseries::timeseries(outcome)),
    ];
    charts.into_iter().filter_map(|(name, svg)| Some((name.to_owned(), svg?))).collect()
}
