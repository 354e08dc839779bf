//! Peak EWMA: two choices, compared by a pessimistic average of latency times in-flight requests. Variant: the
//! average of Finagle and tower (rises at once, falls over `decay`), Finagle's guard for servers without a sample,
//! and a penalty for failures after Linkerd's load biaser, without which a server that fails fast looks best.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::estimate::Ewma;
use crate::select::{
    Context, Explanation, Finished, MOST_CHOICES, Outcome, Pick, Request, Selector, candidates, sample,
};
use crate::units::Nanos;

/// The average and its guards.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Servers sampled for each request, 1 to 16.
    pub choices: usize,
    /// Time after which an old sample's weight has fallen by the factor e.
    pub decay: Nanos,
    /// Latency assumed of a server that has not answered yet and has nothing in flight.
    pub default_latency: Nanos,
    /// A failure counts as a response that took at least this long. `"0s"` is the classic form, which failures
    /// attract.
    pub failure_penalty: Nanos,
    /// What happens to an estimate while no sample comes.
    pub fading: Fading,
    /// A failure counts as this many times the estimate, or its own latency if that is longer. 10 in ServiceTalk; 0
    /// switches it off.
    pub failure_factor: f64,
    /// The same for a cancelled request. 5 in ServiceTalk; 0 ignores cancelled requests.
    pub cancel_factor: f64,
    /// Avoid a server that has requests in flight and has never answered (Finagle). If false, `default_latency` is
    /// assumed of it.
    pub guard: bool,
}

/// What happens to an estimate while no sample comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Fading {
    /// It falls to zero, so the server looks best in the end (tower, Finagle, Envoy).
    ToZero,
    /// It moves to the mean of the fleet, so the server looks like the others in the end (ours).
    ToMean,
    /// It stays: a server that was slow once gets no second chance.
    None,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            choices: 2,
            decay: Nanos::from_secs(10),
            default_latency: Nanos::from_millis(30),
            failure_penalty: Nanos::from_secs(5),
            fading: Fading::ToZero,
            failure_factor: 0.0,
            cancel_factor: 0.0,
            guard: true,
        }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Peak EWMA (power of two choices by latency)",
    family: Family::Latency,
    aliases: &["ewma", "p2c_ewma", "p2c_peak_ewma", "peak_exponentially_weighted_moving_average"],
    near: &[],
    variant: "cost and decay of Finagle and tower, read as Linkerd reads them: a look changes nothing (in the other \
              two it also restarts the clock that weighs the next sample). The failure penalty is an option of \
              Linkerd (`penalize-failures`, off by default there, for responses that say so; here refused and broken \
              connections as well) or ServiceTalk's (`failure_factor = 10`, `cancel_factor = 5`, `failure_penalty = \
              \"0s\"`, and `decay` its half-life / ln 2). A server before its first answer has `default_latency` \
              (tower and Linkerd average that in and let it fade). Cancelled requests are ignored, or count by a \
              factor (all three count their time). Servers are drawn by weight, which those products do not have",
    idea: "Of two servers drawn at random, take the one with the shorter expected wait: its recent latency times the \
           requests already there. The average follows bad news at once and good news slowly. A failure counts as a \
           very slow response, or a server that fails within a millisecond would look best.",
    formula: "cost_i = latency_i * (in_flight_i / w_i + 1), with w_i = weight over mean weight, by which servers are \
              also drawn; sample > latency as faded: latency := sample; else latency := latency * e^(-dt/decay) + \
              sample * (1 - e^(-dt/decay)); failed: sample := max(sample, failure_penalty)",
    source: "Finagle PeakEwma.scala; tower load/peak_ewma.rs; linkerd2-proxy load-biaser",
    cost: "O(d) with one exponential each",
    fails: "One long pause marks a server as bad for about `decay`; a failure with the penalty for longer: from 5 s \
            down to 30 ms takes five times `decay`, 50 s by default, in which a recovered server gets nothing. With \
            little traffic per balancer most estimates are old. It cannot tell a slow request from a slow server, so \
            mixed workloads disturb it.",
    scenario: "slow-server",
    fails_in: "cache-affinity",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match self.choices {
            1..=MOST_CHOICES => {}
            n => return Err(format!("`choices` is {n}: it must be from 1 to {MOST_CHOICES}")),
        }
        if self.decay == Nanos::ZERO {
            return Err("`decay` is zero: it must be longer".to_owned());
        }
        for (name, factor) in [("failure_factor", self.failure_factor), ("cancel_factor", self.cancel_factor)] {
            if !(0.0..=1e6).contains(&factor) {
                return Err(format!("`{name}` is {factor}: it must be from 0 to 1,000,000"));
            }
        }
        Ok(())
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(PeakEwma { params: self.clone(), latencies: Vec::new(), sum: 0.0, known: 0 })
    }
}

struct PeakEwma {
    params: Params,
    latencies: Vec<Ewma>,
    /// Sum of the estimates at their last samples, and their number.
    sum: f64,
    known: u32,
}

/// Cost of a server that has requests in flight and has never responded: above any measured cost, below infinity.
const UNPROVEN: f64 = 1e15;

impl PeakEwma {
    /// A server's present estimate of latency; `None` before its first response.
    fn latency(&self, slot: u32, now: Nanos) -> Option<f64> {
        let estimate = &self.latencies[slot as usize];
        match self.params.fading {
            Fading::ToZero => estimate.faded(now, self.params.decay),
            Fading::ToMean => estimate.fallen_back(now, self.params.decay, self.sum / f64::from(self.known.max(1))),
            Fading::None => estimate.value(),
        }
    }

    fn cost(&self, slot: u32, fleet: &Fleet, now: Nanos) -> f64 {
        // Weights are in the draw already. Here they only scale in-flight requests to load: dividing the whole cost by them
        // would count them twice, and a light server would never be picked while all are idle.
        let mean_weight = fleet.total_weight() as f64 / fleet.eligible().len() as f64;
        let in_flight = f64::from(fleet.in_flight()[slot as usize]) * mean_weight / f64::from(fleet.weight(slot));
        match self.latency(slot, now) {
            Some(latency) => latency * (in_flight + 1.0),
            None if in_flight > 0.0 && self.params.guard => UNPROVEN + in_flight,
            None => self.params.default_latency.0 as f64 * (in_flight + 1.0),
        }
    }
}

impl Selector for PeakEwma {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let sample = sample(request, cx, self.params.choices, false);
        let mut best: Option<(u32, f64)> = None;
        for &slot in sample.as_slice() {
            let cost = self.cost(slot, cx.fleet, cx.now);
            if best.is_none_or(|(_, least)| cost < least) {
                best = Some((slot, cost));
            }
        }
        cx.pick(best?.0)
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        if !cx.fleet.is_current(finished.backend) {
            return;
        }
        let Params { decay, failure_penalty, failure_factor, cancel_factor, .. } = self.params;
        let peak = self.latency(finished.backend.slot, cx.now).unwrap_or(0.0);
        let estimate = &mut self.latencies[finished.backend.slot as usize];
        let before = estimate.value();
        let took = finished.latency.0 as f64;
        let times = |factor: f64| before.unwrap_or(0.0).max(took) * factor;
        let latency = match finished.outcome {
            Outcome::Ok => took,
            Outcome::Failed => took.max(failure_penalty.0 as f64).max(times(failure_factor)),
            // The full latency is unknown; it was at least this long.
            Outcome::Cancelled if cancel_factor == 0.0 => return,
            Outcome::Cancelled => times(cancel_factor),
        };
        // Repeated factors of ten must not reach infinity.
        const DAY: f64 = 86_400e9;
        estimate.observe(latency.min(DAY), cx.now, decay, peak);
        self.sum += estimate.value().unwrap_or(0.0) - before.unwrap_or(0.0);
        self.known += u32::from(before.is_none());
    }

    fn score(&self, slot: u32, fleet: &Fleet, now: Nanos) -> Option<f64> {
        Some(self.cost(slot, fleet, now))
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.latencies.resize(cx.fleet.slots(), Ewma::default());
        for change in changes {
            if let Change::Joined(id) | Change::Left(id) = change {
                self.latencies[id.slot as usize] = Ewma::default();
            }
        }
        let known = || self.latencies.iter().filter_map(Ewma::value);
        (self.sum, self.known) = (known().sum(), known().count() as u32);
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let cost = |slot: u32| (slot, self.cost(slot, cx.fleet, cx.now) / 1e9);
        let scores = candidates(request, cx.fleet).map(cost).collect();
        let sample = sample(request, cx, self.params.choices, false);
        Explanation::sample(&sample, "").scored("estimated latency times (requests in flight + 1), in seconds", scores)
    }
}
