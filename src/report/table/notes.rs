//! The notes under a table: unusual states of rows, causes of failures, theory.

use std::collections::BTreeMap;

use crate::report::format::percent;
use crate::report::{Outcome, Reached};
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::interval::Estimate;
use evenkeel_sim::measure::warmup::{Clock, Settling};
use evenkeel_sim::measure::{Summary, Verdict, metrics};

/// With more strategies than this in the same state, only the one whose queue grows most is explained.
const MOST_REASONS: usize = 3;

/// A note on a result: what limits its meaning.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Note {
    /// A sentence without a full stop.
    pub text: String,
    /// Labels of the strategies concerned; empty for the whole result.
    pub strategies: Vec<String>,
}

impl Note {
    /// A line: the strategies concerned, and the text. `all` is the number of strategies in the results.
    pub fn line(&self, all: usize) -> String {
        match &self.strategies[..] {
            [] => self.text.clone(),
            labels if labels.len() == all && all > 2 => format!("all strategies: {}", self.text),
            labels => format!("{}: {}", labels.join(", "), self.text),
        }
    }
}

/// Notes: no steady state, a start that still affects the results, dependent batches, intervals wider than requested.
pub fn notes(outcome: &Outcome<'_>) -> Vec<Note> {
    let mut notes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for summary in &outcome.summaries {
        let batches = summary.metrics.first().map_or(0, |metric| metric.values.len());
        if summary.batches && summary.batch_correlation > 2.0 / evenkeel_core::math::sqrt(batches as f64) {
            let text = format!(
                "neighbouring batches are correlated ({:.2}): intervals are too narrow; use fewer or longer batches",
                summary.batch_correlation
            );
            notes.entry(text).or_default().push(&summary.label);
        }
    }
    unsteady(outcome, &mut notes);
    unsettled(outcome, &mut notes);
    let note = |(text, labels): (String, Vec<&str>)| Note {
        text,
        strategies: labels.into_iter().map(str::to_owned).collect(),
    };
    let mut notes: Vec<Note> = notes.into_iter().map(note).collect();
    let reached = outcome.precision.as_ref().map(|reached| precision(reached, outcome.replications));
    notes.extend(reached.map(|text| Note { text, strategies: Vec::new() }));
    notes
}

/// Strategies without a steady state, by state and reason.
fn unsteady<'a>(outcome: &'a Outcome<'_>, notes: &mut BTreeMap<String, Vec<&'a str>>) {
    let mut unsteady: BTreeMap<&str, Vec<&Summary>> = BTreeMap::new();
    for summary in outcome.summaries.iter().filter(|summary| summary.stability.verdict != Verdict::Stable) {
        unsteady.entry(summary.stability.verdict.text()).or_default().push(summary);
    }
    for (word, summaries) in unsteady {
        let labels = |reason: &str| {
            let with = summaries.iter().filter(|summary| summary.stability.reason == reason);
            with.map(|summary| summary.label.as_str()).collect::<Vec<_>>()
        };
        let mut reasons: Vec<&str> = summaries.iter().map(|summary| summary.stability.reason.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let most = summaries.iter().max_by(|a, b| a.stability.growth.value.total_cmp(&b.stability.growth.value));
        if let (Some(most), true) = (most, reasons.len() > MOST_REASONS) {
            let text = format!("{word}, most of all {}: {}", most.label, most.stability.reason);
            notes.entry(text).or_default().extend(summaries.iter().map(|summary| summary.label.as_str()));
        } else {
            for reason in reasons {
                notes.entry(format!("{word}: {reason}")).or_default().extend(labels(reason));
            }
        }
    }
}

/// Strategies whose latency or hit ratio had not settled when the warm-up ended.
fn unsettled<'a>(outcome: &'a Outcome<'_>, notes: &mut BTreeMap<String, Vec<&'a str>>) {
    let mut late: BTreeMap<(bool, bool), (Vec<&str>, Settling)> = BTreeMap::new();
    // Growing queues never settle; another note reports them.
    for summary in outcome.summaries.iter().filter(|summary| summary.ranks()) {
        for clock in [Clock::Latency, Clock::Cache] {
            if let Some(unsettled) = summary.unsettled(clock) {
                let key = (clock == Clock::Cache, unsettled.after.is_none());
                let (labels, latest) = late.entry(key).or_insert_with(|| (Vec::new(), unsettled));
                labels.push(&summary.label);
                // Of several, the one that needs the longest warm-up.
                if unsettled.after > latest.after {
                    *latest = unsettled;
                }
            }
        }
    }
    for (labels, unsettled) in late.into_values() {
        notes.insert(unsettled_text(outcome, &unsettled), labels);
    }
}

fn unsettled_text(outcome: &Outcome<'_>, unsettled: &Settling) -> String {
    let model = &outcome.scenario.model;
    let (what, warmup, key) = match unsettled.clock {
        Clock::Latency => ("latency", model.warmup, "warmup"),
        Clock::Cache => ("the hit ratio", model.cache_warmup, "cache_warmup"),
    };
    match unsettled.after {
        Some(after) => format!(
            "warm-up too short: {what} settles after {} (MSER-5), but the warm-up is {warmup}; set {key} = \"auto\"",
            human_seconds(after)
        ),
        None => format!("run too short: {what} did not settle in the first half of the run (MSER-5)"),
    }
}

/// The precision that `--precision` reached.
fn precision(reached: &Reached, replications: u32) -> String {
    let width = reached.half_width * 100.0;
    let loosest = &reached.loosest;
    if loosest.is_empty() {
        format!("Precision: {replications} replications; no strategy can be ranked, so no interval was tightened")
    } else if reached.half_width <= reached.target {
        format!("Precision: {replications} replications; the widest interval is that of {loosest}, ±{width:.1} %")
    } else {
        let target = reached.target * 100.0;
        format!(
            "Precision: not reached in {replications} replications: {loosest} has ±{width:.1} %, target ±{target} %"
        )
    }
}

/// Theory, a line for each strategy that a theorem applies to: the exact value, the simulated one, and whether they agree.
pub fn theory(outcome: &Outcome<'_>) -> Vec<String> {
    let line = |summary: &Summary| {
        let exact = summary.theory.as_ref()?;
        let side = |metric: &str, name: &str, exact: f64| {
            let e = summary.estimate(metric);
            let word = agreement(summary.stability.verdict, summary.ranks(), e, exact);
            let interval = if e.low.is_finite() {
                format!(" [{}, {}]", human_seconds(e.low), human_seconds(e.high))
            } else {
                String::new()
            };
            format!("{name} {} in theory, {}{interval} simulated, {word}", human_seconds(exact), human_seconds(e.value))
        };
        let mut text = format!("{} is {}: {}", summary.label, exact.theorem, side("latency.mean", "mean", exact.mean));
        if let Some(p99) = exact.p99 {
            text += &format!("; {}", side("latency.p99", "p99", p99));
        }
        Some(text)
    };
    outcome.summaries.iter().filter_map(line).collect()
}

/// Whether a simulated value of a strategy in this state agrees with an exact one.
pub fn agreement(state: Verdict, ranks: bool, e: Estimate, exact: f64) -> String {
    let off = (e.value / exact - 1.0) * 100.0;
    match e.replications {
        _ if state == Verdict::TooShort => {
            format!("{off:+.0} %: the run is too short to compare with a steady state")
        }
        _ if !ranks => "no interval: overloaded".to_owned(),
        0 => "no run has a value".to_owned(),
        1 => "one run has no interval".to_owned(),
        _ if (e.low..=e.high).contains(&exact) => "inside the 95 % interval".to_owned(),
        _ => format!("outside the 95 % interval, {off:+.2} % from theory"),
    }
}

/// The causes of failed requests, each with its largest share over all strategies; `None` if no request failed.
pub fn failures(outcome: &Outcome<'_>) -> Option<String> {
    let mut causes: BTreeMap<&str, f64> = BTreeMap::new();
    for metric in outcome.summaries.iter().flat_map(|summary| &summary.metrics) {
        let name = metric.name.as_str();
        let is_cause = (name.starts_with("errors.") && name != "errors.ratio") || name == "unfinished.ratio";
        if let Some(row) = metrics::find(name).filter(|_| is_cause) {
            let worst = causes.entry(row.label).or_default();
            *worst = worst.max(metric.estimate().value);
        }
    }
    let list: Vec<String> = causes
        .iter()
        .filter(|(_, share)| **share > 0.0)
        .map(|(cause, share)| format!("{cause} (up to {})", percent(*share)))
        .collect();
    (!list.is_empty()).then(|| format!("Failed: {}.", list.join(", ")))
}
