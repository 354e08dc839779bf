//! Charts, drawn as SVG: one question each. Colours can be distinguished with any colour vision, and no chart relies on colour
//! alone.

mod cache;
mod cache_balance;
mod canvas;
mod fairness;
mod families;
mod grouping;
mod latency;
mod latency_cdf;
mod pools;
mod sensitivity;
mod sheet;
mod sweep;
mod timeseries;

pub mod png;

pub use canvas::text_width;

use super::Outcome;
use evenkeel_sim::measure::Summary;

/// A strategy's label, with the mark of the footnote on baselines.
fn shown_name(summary: &Summary) -> String {
    if summary.oracle { format!("{} †", summary.label) } else { summary.label.clone() }
}

/// The number of pools that receive requests, 0 for a single one: several are shown separately, because a mixture of them is
/// meaningless.
fn several_pools(outcome: &Outcome<'_>) -> usize {
    match outcome.summaries.first().map_or(0, |summary| summary.pools.len()) {
        1 => 0,
        pools => pools,
    }
}

/// The footnote that explains the mark.
const BASELINE_NOTE: &str = "† baseline with perfect information";

/// The studies that a chart is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Study {
    /// The scenario as written.
    Run,
    /// The points of a sweep.
    Sweep,
    /// The scenario with each constant decreased and increased.
    Sensitivity,
}

impl Study {
    fn of(outcomes: &[Outcome<'_>]) -> Study {
        match outcomes {
            [_] => Study::Run,
            [first, ..] if !first.place.is_empty() => Study::Sweep,
            _ => Study::Sensitivity,
        }
    }
}

/// A kind of chart.
pub struct Chart {
    /// File name without its ending.
    pub name: &'static str,
    /// Title in the documentation.
    pub title: &'static str,
    /// The question that the chart answers.
    pub question: &'static str,
    /// The studies that it is drawn for.
    pub study: Study,
    /// Which of these studies have it, as text.
    pub present: &'static str,
    /// Draws it as SVG; `None` where the results have nothing to show.
    draw: fn(&[Outcome<'_>]) -> Option<String>,
}

/// All charts. A new one is a file with a function that draws it, and a row here.
pub const CHARTS: [Chart; 13] = [
    Chart {
        name: "latency",
        title: "Latency percentiles",
        question: "How long do requests take with each strategy, and how many fail?",
        study: Study::Run,
        present: "always",
        draw: |outcomes| latency::latency(&outcomes[0]),
    },
    Chart {
        name: "latency_cdf",
        title: "Latency distribution",
        question: "Which share of requests is slower than a given latency?",
        study: Study::Run,
        present: "always",
        draw: |outcomes| latency_cdf::latency(&outcomes[0]),
    },
    Chart {
        name: "pools",
        title: "Latency and errors by pool",
        question: "What do the clients of each pool get?",
        study: Study::Run,
        present: "if routes lead to several pools",
        draw: |outcomes| pools::pools(&outcomes[0]),
    },
    Chart {
        name: "fairness",
        title: "Load by server",
        question: "Does every server get requests in proportion to its capacity?",
        study: Study::Run,
        present: "always",
        draw: |outcomes| fairness::fairness(&outcomes[0]),
    },
    Chart {
        name: "cache",
        title: "Cache hits",
        question: "Which share of requests finds its response in the server's cache?",
        study: Study::Run,
        present: "if a server has a cache",
        draw: |outcomes| cache::cache(&outcomes[0]),
    },
    Chart {
        name: "cache_balance",
        title: "Cache hits against balance",
        question: "What do cache hits cost in load on the busiest server, and what is left in p99?",
        study: Study::Run,
        present: "if a server has a cache",
        draw: |outcomes| cache_balance::cache_balance(&outcomes[0]),
    },
    Chart {
        name: "timeseries",
        title: "Latency and errors over time",
        question: "What happens during a fault or a peak, and how long does recovery take?",
        study: Study::Run,
        present: "always",
        draw: |outcomes| timeseries::timeseries(&outcomes[0]),
    },
    Chart {
        name: "sweep_p99",
        title: "p99 over a sweep",
        question: "How does p99 depend on the parameter?",
        study: Study::Sweep,
        present: "always",
        draw: |outcomes| sweep::curves(outcomes, "latency.p99"),
    },
    Chart {
        name: "sweep_mean",
        title: "Mean latency over a sweep",
        question: "How does the mean latency depend on the parameter?",
        study: Study::Sweep,
        present: "always",
        draw: |outcomes| sweep::curves(outcomes, "latency.mean"),
    },
    Chart {
        name: "sweep_errors",
        title: "Error rate over a sweep",
        question: "How does the error rate depend on the parameter?",
        study: Study::Sweep,
        present: "if a request failed",
        draw: |outcomes| sweep::curves(outcomes, "errors.ratio"),
    },
    Chart {
        name: "sweep_cache",
        title: "Cache hits over a sweep",
        question: "How does the cache hit ratio depend on the parameter?",
        study: Study::Sweep,
        present: "if a server has a cache",
        draw: |outcomes| sweep::curves(outcomes, "cache.hit_ratio"),
    },
    Chart {
        name: "sweep_fairness",
        title: "Fairness over a sweep",
        question: "How does the balance between servers depend on the parameter?",
        study: Study::Sweep,
        present: "always",
        draw: |outcomes| sweep::curves(outcomes, "fairness.jain"),
    },
    Chart {
        name: "sensitivity",
        title: "Sensitivity of the ranking",
        question: "Does the ranking hold when each constant is decreased and increased?",
        study: Study::Sensitivity,
        present: "always",
        draw: sensitivity::sensitivity,
    },
];

/// The catalogue as a Markdown table, for the documentation.
pub fn reference() -> String {
    let mut text = String::from("| chart | drawn for | question | present |\n|---|---|---|---|\n");
    for chart in &CHARTS {
        let study = match chart.study {
            Study::Run => "a run",
            Study::Sweep => "a sweep",
            Study::Sensitivity => "a sensitivity analysis",
        };
        text += &format!("| `{}` | {study} | {} | {} |\n", chart.name, chart.question, chart.present);
    }
    text
}

/// Every chart of a study that has something to show: file name without ending, and SVG.
pub fn all(outcomes: &[Outcome<'_>]) -> Vec<(&'static str, String)> {
    of(Study::of(outcomes)).filter_map(|chart| Some((chart.name, (chart.draw)(outcomes)?))).collect()
}

/// The names of all charts that such a study may have.
pub fn names(outcomes: &[Outcome<'_>]) -> impl Iterator<Item = &'static str> {
    of(Study::of(outcomes)).map(|chart| chart.name)
}

fn of(study: Study) -> impl Iterator<Item = &'static Chart> {
    CHARTS.iter().filter(move |chart| chart.study == study)
}
