//! Tests whether a run measured a steady state. Every result has a verdict, because the latency of an overloaded system
//! depends only on the length of the run.
//!
//! The influence of the initial state on a queue decays within a few *relaxation times*
//! ([`evenkeel_theory::queues::relaxation_time`]). Near a load of one they are long: 20,000 seconds at 99.9 % with a service
//! time of 5 ms. A run shorter than three of them is dominated by the empty start, however narrow its intervals.

use super::interval::{Estimate, estimate};
use crate::scenario::{Kind, PoolDemand, Scenario};
use crate::sim::model::{Arrivals, Model};
use evenkeel_core::units::human_seconds;
use evenkeel_theory::queues;

/// The verdict on a strategy in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Stable: as many requests left as arrived.
    Stable,
    /// Significantly more requests were in the system late in the run than early, but without growth proportional to the
    /// arrivals.
    Backlogged,
    /// A part of the fleet is offered more than its capacity: its queues grow throughout the run, or only clients that give
    /// up keep them short.
    /// up keep them short.
    Overloaded,
    /// The measured span is too short, or has too few requests, to show a steady state.
    TooShort,
    /// No request arrived in the measured span.
    NoRequests,
}

impl Verdict {
    /// Name in files: `stable`, `overloaded`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Stable => "stable",
            Verdict::Backlogged => "backlogged",
            Verdict::Overloaded => "overloaded",
            Verdict::TooShort => "too_short",
            Verdict::NoRequests => "no_requests",
        }
    }

    /// Name in tables.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::TooShort => "run too short",
            Verdict::NoRequests => "no requests",
            other => other.as_str(),
        }
    }
}

/// A verdict with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Stability {
    /// Whether there is a steady state, and if not, why.
    pub verdict: Verdict,
    /// One sentence with the numbers; empty if it is stable.
    pub reason: String,
    /// Mean number in the system, late minus early, over replications.
    pub growth: Estimate,
    /// Relaxation time of the slowest pool, seconds: a lower bound where servers have queues of their own. `None` where the
    /// load is not known or not below one.
    pub relaxation: Option<f64>,
}

/// The inputs of a verdict, from the replications of one strategy.
pub(super) struct Evidence<'a> {
    /// Mean number in the system in each tenth of the measured span, by replication.
    pub tenths: &'a [Vec<f64>],
    /// Requests that arrived per second of the measured span.
    pub rate: f64,
    /// Requests that arrived in the measured span, per replication.
    pub requests: f64,
    /// By pool: busy share of all its servers together.
    pub utilisation: &'a [f64],
    /// Number of separately fed queues of a pool (1 where the pool acts as one queue).
    pub queues: f64,
    /// Busy share of the busiest server.
    pub busiest: f64,
    /// Share of requests that timed out or were rejected by a full queue.
    pub turned_away: f64,
    /// Share of requests that had not ended when the run did.
    pub unfinished: f64,
}

/// Backlog growth, as a share of all arrivals, from which a system counts as overloaded: at 1 % above its capacity a queue
/// grows by that share, and a stable one at 95 % load keeps far less than a thousandth of a run's arrivals.
const GROWS: f64 = 0.01;
/// Utilisation from which a server counts as saturated.
const FULL: f64 = 0.99;
/// Minimum ratio of the late to the early mean for a backlog to be reported.
const MORE: f64 = 1.25;

/// Minimum length of a run in relaxation times. At three the mean number in the system, counted from
/// empty, is some 8 % too low (Brownian motion with reflection: J. Abate and W. Whitt, 1987).
const SETTLES: f64 = 3.0;
/// Minimum number of requests in a run for a verdict on growing queues.
const FEW: f64 = 100.0;

/// The relaxation time of the slowest pool, with its load: seconds.
fn relaxation(scenario: &Scenario, evidence: &Evidence<'_>) -> Option<(f64, f64)> {
    let model = &scenario.model;
    let arrivals = match &model.arrivals {
        Arrivals::Closed { .. } => return None,
        Arrivals::Constant { .. } => 0.0,
        Arrivals::Renewal { distribution, .. } => distribution.squared_variation(),
        Arrivals::Poisson(_) | Arrivals::Replay(_) => 1.0,
    };
    // Index of dispersion of counts over long spans: variance over mean.
    let arrivals = model.batch.map_or(arrivals, |batch| arrivals * batch.mean() + batch.dispersion());
    let of_pool = |(p, demand): (usize, &PoolDemand)| {
        let pool = &model.pools[p];
        let all = demand.rate.unwrap_or(evidence.rate);
        let (rate, offered) = (all * demand.share, all * demand.work / demand.capacity);
        // Only the servers show how much work caches save.
        let cached = pool.servers.iter().any(|server| server.cache.is_some());
        let load = if cached { offered.min(evidence.utilisation[p]) } else { offered };
        let variability = (arrivals + demand.scv) / 2.0;
        (load > 0.0 && load < 1.0 && variability > 0.0).then(|| {
            let (queues, capacity) = (evidence.queues, rate / load);
            let room = room(model, p, capacity).map(|room| room / queues);
            (queues::relaxation_time(capacity / queues, load, variability, room), load)
        })
    };
    scenario.demand.iter().enumerate().filter_map(of_pool).max_by(|a, b| a.0.total_cmp(&b.0))
}

/// Maximum number of requests in a pool with this capacity (per second): where its queues have limits, or where requests
/// leave them when their clients give up. `None` for no bound.
fn room(model: &Model, pool: usize, capacity: f64) -> Option<f64> {
    let limit =
        |server: &crate::sim::model::Server| Some(f64::from(server.queue_limit?) + f64::from(server.concurrency));
    let limits = model.pools[pool].servers.iter().map(limit).sum::<Option<f64>>();
    let clients = &model.clients;
    let leaves = [&clients.timeout, &clients.patience].map(|limit| {
        let limit = limit.as_ref().filter(|_| clients.servers_see_cancel)?;
        Some(limit.mean() / 1e9 * capacity)
    });
    leaves.into_iter().chain([limits]).flatten().reduce(f64::min)
}

/// The verdict on a strategy.
pub(super) fn judge(scenario: &Scenario, evidence: &Evidence<'_>) -> Stability {
    // A steady run is compared by halves; a course of events by its first and last tenth, which shows whether it is over at
    // the end.
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
    // One replication gives no interval; the difference itself decides.
    let significant = if growth.low.is_finite() { growth.low > 0.0 } else { growth.value > 0.0 };
    let apart = scenario.model.duration.as_secs_f64() * if steady { 0.5 } else { 0.9 };
    let share = growth.value / (evidence.rate * apart);
    let closed = matches!(scenario.model.arrivals, Arrivals::Closed { .. });
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let all = |values: &[f64]| estimate(values).value;

    let measured = scenario.model.duration.as_secs_f64();
    let relaxation = relaxation(scenario, evidence);
    let unsettled = relaxation.filter(|(time, _)| steady && measured < SETTLES * time);
    let few = steady && evidence.requests < FEW;

    let (verdict, reason) = if evidence.requests == 0.0 {
        (Verdict::NoRequests, "no request arrived in the measured span".to_owned())
    } else if let Some((time, load)) = unsettled {
        let reason = format!(
            "at a load of {} the relaxation time is about {}, but only {} were measured",
            percent(load),
            human_seconds(SETTLES * time),
            human_seconds(measured)
        );
        (Verdict::TooShort, reason)
    } else if !closed && significant && share > GROWS {
        (Verdict::Overloaded, format!("{} of all requests were left in growing queues", percent(share)))
    } else if !closed && steady && evidence.busiest >= FULL && evidence.turned_away > GROWS {
        let reason = format!(
            "a server is busy {} of the time, and {} of the requests time out or are rejected",
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
            format!("{} of the requests were unfinished at the end of the run", percent(evidence.unfinished)),
        )
    } else {
        (Verdict::Stable, String::new())
    };
    let judged = Stability { verdict, reason, growth, relaxation: relaxation.map(|(time, _)| time) };
    match judged.verdict {
        Verdict::Overloaded | Verdict::Backlogged if few => {
            let reason = format!(
                "{:.0} requests per run are too few to distinguish growing queues from chance",
                evidence.requests
            );
            Stability { verdict: Verdict::TooShort, reason, ..judged }
        }
        _ => judged,
    }
}
