//! Why the strategies of a run differ: the facts of their timelines, in the order of the table.

use serde::{Deserialize, Serialize};

use super::Outcome;
use super::table::{order, rankings};
use evenkeel_sim::measure::why::{self, Subject};

/// The content of `why.json`. Strategies are referred to by their index in `strategies`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// Labels, in the order of the table.
    pub strategies: Vec<String>,
    /// At most three lines: what happened, and how the last strategy differs from the first.
    pub short: Vec<String>,
    /// Stories, differences, slowest requests and picks ([`why::Why`]).
    pub why: serde_json::Value,
}

/// The strategies that were recorded, in the order of the table, with their index in the outcome.
fn recorded<'a>(outcome: &'a Outcome<'_>) -> impl Iterator<Item = (usize, Subject<'a>)> {
    let order = order(outcome, &rankings(outcome));
    let subject = |(index, i): (usize, usize)| {
        let summary = &outcome.summaries[i];
        let timeline = summary.timeline.as_ref()?;
        Some((i, Subject { index, label: &summary.label, timeline }))
    };
    order.into_iter().enumerate().filter_map(subject).collect::<Vec<_>>().into_iter()
}

/// At most three lines for a terminal; none where no run was recorded. Baselines are left out.
pub fn short(outcome: &Outcome<'_>) -> Vec<String> {
    let deployable = recorded(outcome).filter(|(i, _)| !outcome.summaries[*i].oracle);
    let deployable: Vec<Subject<'_>> = deployable.map(|(_, subject)| subject).collect();
    match &deployable[..] {
        [first, .., last] => why::short(&outcome.scenario.model, &[*first, *last]),
        few => why::short(&outcome.scenario.model, few),
    }
}

/// The explanation of a run; `None` where no run was recorded.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn explanation(outcome: &Outcome<'_>) -> serde_json::Result<Option<Explanation>> {
    let subjects: Vec<Subject<'_>> = recorded(outcome).map(|(_, subject)| subject).collect();
    if subjects.is_empty() {
        return Ok(None);
    }
    let order = order(outcome, &rankings(outcome));
    Ok(Some(Explanation {
        strategies: order.into_iter().map(|i| outcome.summaries[i].label.clone()).collect(),
        short: short(outcome),
        why: serde_json::to_value(why::why(&outcome.scenario.model, &subjects))?,
    }))
}
