//! Load report: servers report how much they handle, how fast they answer and how busy they are, and each gets
//! traffic in proportion to the capacity this shows. Variant: ours, combined from known parts: the capacity estimate
//! is that of gRPC's and Envoy's client-side weighted round robin (A58), the choice of two by own in-flight requests
//! that of Netflix's edge balancer.

use crate::fleet::{BackendId, Change, Fleet};
use crate::math;
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::estimate::WeightTable;
use crate::select::{
    Command, Context, Explanation, Finished, LoadReport, MOST_CHOICES, Outcome, Pick, Request, Selector, renew,
};
use crate::units::Nanos;

/// How reports become weights.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Servers drawn by learned weight, 1 to 16; the one with the fewest own requests per weight is picked. 1 relies
    /// on the reports alone.
    pub choices: usize,
    /// Weight of the newest second of reports in an average, above 0 and below 1.
    pub smoothing: f64,
    /// Exponent of the response-time factor, at least 0: how strongly a response time above the fleet's median
    /// reduces traffic. 0 ignores response times.
    pub latency_bias: f64,
    /// Interval between computations of the weights.
    pub update: Nanos,
    /// A server that has reported and then sends no report for this long is assumed to be in trouble and gets the
    /// least weight.
    pub expiry: Nanos,
    /// The least weight of a server, as a share of the mean weight, so that its recovery is noticed.
    pub min_weight: f64,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            choices: 2,
            smoothing: 0.5,
            latency_bias: 0.5,
            update: Nanos::from_millis(500),
            expiry: Nanos::from_secs(10),
            min_weight: 0.01,
        }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Load report (selection by performance)",
    family: Family::Report,
    aliases: &[],
    near: &[
        ("least_load", "this one goes by capacity learned from load reports"),
        ("performance", "this one goes by capacity learned from load reports"),
        ("orca", "ORCA is the format of the reports; gRPC's own policy on it is `client_side_weighted_round_robin`"),
    ],
    variant: "ours: A58's capacity estimate, a response-time factor, and a choice of two by own requests per learned \
              weight",
    idea: "Health checks and reports say what each server handled, how fast, and how busy that made it. Traffic over \
           utilisation is what it could handle at full use: that is its weight, learned and not configured. A server \
           slower than the others gets less, one that fails or sends no reports next to nothing. Reports are old \
           when they arrive, so of two servers drawn by weight the one with fewer own requests is picked.",
    formula: "capacity_i = throughput_i * (1 - errors_i) / utilisation_i; \
              weight_i = capacity_i * min(1, median response time / response_time_i)^latency_bias, at least min_weight * mean; \
              draw d by weight, take argmin of in_flight_i / weight_i",
    source: "gRPC proposal A58 (client-side weighted round robin); Netflix, 'Rethinking Netflix's Edge Load Balancing', 2018",
    cost: "O(d log n) per pick, O(n log n) per update",
    fails: "When reports are late or rare compared with how fast load changes: all balancers then react to the same \
            old state at once. Without health checks or reports it has only the configured weights.",
    scenario: "slow-server",
    fails_in: "cache-affinity",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        if !(1..=MOST_CHOICES).contains(&self.choices) {
            return Err(format!("`choices` is {}: it must be from 1 to {MOST_CHOICES}", self.choices));
        }
        if !(self.smoothing > 0.0 && self.smoothing < 1.0) {
            return Err(format!("`smoothing` is {}: it must be above 0 and below 1", self.smoothing));
        }
        if !(self.latency_bias >= 0.0 && self.latency_bias <= 10.0) {
            return Err(format!("`latency_bias` is {}: it must be from 0 to 10", self.latency_bias));
        }
        if !(self.min_weight > 0.0 && self.min_weight <= 1.0) {
            return Err(format!("`min_weight` is {}: it must be above 0 and at most 1", self.min_weight));
        }
        if self.update < Nanos::from_millis(1) {
            return Err("`update` is below 1ms: it must be at least that".to_owned());
        }
        Ok(())
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(Performance {
            params: self.clone(),
            heard: Vec::new(),
            table: WeightTable::default(),
            times: Vec::new(),
            wake: Wake::Unset,
        })
    }
}

/// State of one server.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// Averages over reports; `None` before the first report with data.
    capacity: Option<f64>,
    response_time: Option<f64>,
    errors: f64,
    /// Time of the last report.
    at: Option<Nanos>,
    /// Whether a request failed here since the last update and no report has cleared it.
    failed: bool,
}

enum Wake {
    Unset,
    Asked,
}

struct Performance {
    params: Params,
    heard: Vec<Heard>,
    table: WeightTable,
    /// Response times for the median; a reused buffer.
    times: Vec<f64>,
    wake: Wake,
}

impl Performance {
    /// Computes the weights from the reports.
    fn rebuild(&mut self, cx: &Context<'_>) {
        let members = cx.fleet.eligible();
        self.times.clear();
        self.times.extend(members.iter().filter_map(|&slot| self.heard[slot as usize].response_time));
        let median = median(&mut self.times);
        let learned = |heard: &Heard| {
            let slowness = match (median, heard.response_time) {
                (Some(median), Some(time)) if time > median && median > 0.0 => median / time,
                _ => 1.0,
            };
            heard.capacity.map(|capacity| {
                let bias = if slowness < 1.0 { math::pow(slowness, self.params.latency_bias) } else { 1.0 };
                capacity * (1.0 - heard.errors) * bias
            })
        };
        let known = || members.iter().filter_map(|&slot| learned(&self.heard[slot as usize]));
        let count = known().count();
        let mean = if count == 0 { 0.0 } else { known().sum::<f64>() / count as f64 };
        let expired = |heard: &Heard| heard.at.is_some_and(|at| cx.now.saturating_sub(at) > self.params.expiry);

        let heard = &self.heard;
        let params = &self.params;
        self.table.rebuild(cx.fleet, |slot| {
            let heard = &heard[slot as usize];
            let weight = match learned(heard) {
                // No reports yet: the configured weights.
                _ if mean <= 0.0 => f64::from(cx.fleet.weight(slot)),
                _ if expired(heard) || heard.failed => 0.0,
                Some(weight) => weight,
                None => mean,
            };
            weight.max(if mean > 0.0 { mean * params.min_weight } else { f64::MIN_POSITIVE })
        });
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

impl Selector for Performance {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let mut drawn = [0; MOST_CHOICES];
        let mut best: Option<(u32, f64)> = None;
        for i in 0..self.params.choices {
            let Some(slot) = self.table.draw(request, &drawn[..i], cx) else { break };
            drawn[i] = slot;
            let load = f64::from(cx.fleet.in_flight()[slot as usize]) / self.table.weight(slot);
            if best.is_none_or(|(_, least)| load < least) {
                best = Some((slot, load));
            }
        }
        cx.pick(best?.0)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(f64::from(fleet.in_flight().get(slot as usize).copied()?) / self.table.weight(slot))
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        if finished.outcome == Outcome::Failed && cx.fleet.is_current(finished.backend) {
            let heard = &mut self.heard[finished.backend.slot as usize];
            if !std::mem::replace(&mut heard.failed, true) {
                self.rebuild(cx);
            }
        }
    }

    fn on_report(&mut self, backend: BackendId, load: &LoadReport, cx: &mut Context<'_>) {
        if !cx.fleet.is_current(backend) {
            return;
        }
        // Reports and health check replies shorten each other's windows, down to a few requests. The share of a report grows
        // with its window, since otherwise a single short window could attract the whole fleet's traffic.
        let share = 1.0 - math::pow(1.0 - self.params.smoothing, load.window.max(0.0));
        let average = |old: Option<f64>, new: f64| Some(old.map_or(new, |old| old + share * (new - old)));
        let heard = &mut self.heard[backend.slot as usize];
        heard.at = Some(cx.now);
        heard.failed = false;
        heard.errors += share * (load.errors - heard.errors);
        // A window without traffic says nothing about the server's capacity.
        if load.throughput > 0.0 && load.utilisation > 0.0 {
            heard.capacity = average(heard.capacity, load.throughput / load.utilisation);
        }
        if load.response_time > 0.0 {
            heard.response_time = average(heard.response_time, load.response_time);
        }
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        renew(&mut self.heard, changes, cx.fleet);
        self.times.reserve(cx.fleet.slots().saturating_sub(self.times.len()));
        self.rebuild(cx);
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Option<Command> {
        if let Wake::Unset = self.wake {
            self.wake = Wake::Asked;
            return Some(Command::WakeAt(cx.now + self.params.update));
        }
        None
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) {
        self.wake = Wake::Unset;
        self.rebuild(cx);
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let mut drawn = Vec::with_capacity(self.params.choices);
        for _ in 0..self.params.choices {
            let Some(slot) = self.table.draw(request, &drawn, cx) else { break };
            drawn.push(slot);
        }
        Explanation::drawn(drawn, "requests in flight per weight learned from reports")
    }
}
