//! Is what was measured a steady state at all? Beside every row stands one of three words, since the latency of an
//! overloaded bench says how long it was run and nothing else.

use super::interval::{Estimate, estimate};
use crate::scenario::{Kind, Scenario};
use crate::sim::model::Arrivals;

/// How a strategy came through a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// What came in went out.
    Stable,
    /// There was more in the system late in the run than early, beyond chance, but it is not a stream that never ends.
    Backlogged,
    /// A part of the fleet was offered more than it can do: queues grow as long as the run lasts, or only clients that give
    /// up keep them short.
    Overloaded,
}

impl Verdict {
    /// As in files.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Stable => "stable",
            Verdict::Backlogged => "backlogged",
            Verdict::Overloaded => "overloaded",
        }
    }
}

/// A verdict and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// One sentence with the numbers; empty if all is well.
    pub reason: String,
    /// Mean number in the system, late minus early, over replications.
    pub growth: Estimate,
}

/// What a judgement looks at, from the replications of one strategy.
pub(super) struct Evidence<'a> {
    /// Mean number in the system in each tenth of the measured span, by replication.
    pub tenths: &'a [Vec<f64>],
    /// Requests that arrived per second of the measured span.
    pub rate: f64,
    /// Busy share of the busiest server.
    pub busiest: f64,
    /// Share of requests that timed out or met a full queue.
    pub turned_away: f64,
    /// Share of requests that had not ended when the run did.
    pub unfinished: f64,
}

/// A backlog that takes in this share of all arrivals is a stream that never ends: at 1 % above what it can do a queue
/// grows by that share, and a stable one at 95 % load keeps far less than a thousandth of a run's arrivals.
const GROWS: f64 = 0.01;
/// A server that is busy for this share of the time is full.
const FULL: f64 = 0.99;
/// Early and late must differ by this factor for a backlog to be worth a word.
const MORE: f64 = 1.25;

/// Judges a strategy.
pub(super) fn judge(scenario: &Scenario, evidence: &Evidence<'_>) -> Judgement {
    // A steady run is compared by halves; a course of events by its first and last tenth: is it over when it ends?
    let steady = scenario.kind == Kind::Steady;
    let (early, late) = if steady { (0..5, 5..10) } else { (0..1, 9..10) };
    let mean = |tenths: &[f64], part: std::ops::Range<usize>| {
        let part = tenths.get(part).unwrap_or_default();
        if part.is_empty() { f64::NAN } else { part.iter().sum::<f64>() / part.len() as f64 }
    };
    let each =
        |part: &std::ops::Range<usize>| evidence.tenths.iter().map(|t| mean(t, part.clone())).collect::<Vec<_>>();
    let (early, late) = (each(&early), each(&late));
    let growth = estimate(&late.iter().zip(&early).map(|(late, early)| late - early).collect::<Vec<_>>());
    // With one replication there is no interval; then the difference itself must do.
    let significant = if growth.low.is_finite() { growth.low > 0.0 } else { growth.value > 0.0 };
    let apart = scenario.model.duration.as_secs_f64() * if steady { 0.5 } else { 0.9 };
    let share = growth.value / (evidence.rate * apart);
    let closed = matches!(scenario.model.arrivals, Arrivals::Closed { .. });
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let all = |values: &[f64]| estimate(values).value;

    let (verdict, reason) = if !closed && significant && share > GROWS {
        (Verdict::Overloaded, format!("of all requests that came, {} stayed behind in growing queues", percent(share)))
    } else if !closed && steady && evidence.busiest >= FULL && evidence.turned_away > GROWS {
        let reason = format!(
            "a server is busy {} of the time and {} of the requests time out or are turned away",
            percent(evidence.busiest),
            percent(evidence.turned_away)
        );
        (Verdict::Overloaded, reason)
    } else if significant && all(&late) > MORE * all(&early) && growth.value > 0.5 {
        let reason = format!("{:.1} requests in the system late in the run, {:.1} early", all(&late), all(&early));
        (Verdict::Backlogged, reason)
    } else if evidence.unfinished > GROWS {
        (
            Verdict::Backlogged,
            format!("{} of the requests had not ended when the run did", percent(evidence.unfinished)),
        )
    } else {
        (Verdict::Stable, String::new())
    };
    Judgement { verdict, reason, growth }
}
