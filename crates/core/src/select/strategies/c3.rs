//! C3: rank servers by response time and the cube of their queue length, as their responses report it. Variant: the
//! ranking of the paper, without its rate control and back-pressure, among a few servers drawn at random as the
//! replica group.

use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::{
    Context, Explanation, Finished, LoadReport, MOST_CHOICES, Outcome, Pick, ReportSource, Request, Selector, Signals,
    renew, sample,
};
use crate::units::Nanos;

/// The ranking.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Servers ranked for each request, 1 to 16: the replica group.
    pub choices: usize,
    /// Factor of this balancer's own in-flight requests: the number of balancers assumed to behave as this one.
    pub clients: f64,
    /// Exponent of the queue length: 3 in the paper; 1 would trust fast servers with any queue.
    pub exponent: u32,
    /// Weight of a new value in the averages, above 0 and at most 1.
    pub smoothing: f64,
}

impl Default for Params {
    fn default() -> Params {
        Params { choices: 3, clients: 1.0, exponent: 3, smoothing: 0.9 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "C3 (cubic replica ranking)",
    family: Family::Report,
    aliases: &["cubic_replica_selection", "replica_ranking"],
    near: &[],
    variant: "the paper's ranking alone: no rate control per server and no back-pressure. Any `choices` servers, \
              drawn by weight, are the replica group. `clients` is 1 by default, where the paper has the number of \
              balancers. Only reports with this balancer's own responses count. The service time is a report's \
              utilisation over its throughput, and without reports the latency that the balancer measures",
    idea: "Responses carry the length of the queue they left behind. The wait that a queue promises is its length \
           times the service time; the cube of the length makes the balancer leave long queues early, also those of \
           fast servers. Its own in-flight requests stand for those of all balancers that do the same.",
    formula: "q_i = 1 + clients * in_flight_i + queue_i; argmin of R_i - s_i + q_i^exponent * s_i, with averages R \
              of latency, queue of requests reported, s of service time",
    source: "Suresh, Canini, Schmid, Feldmann, 'C3: Cutting Tail Latency in Cloud Data Stores via Adaptive Replica Selection', NSDI 2015",
    cost: "O(choices)",
    fails: "What it knows of a server is as old as the last response from there, and a server that gets no traffic \
            keeps its bad estimate: with few requests per balancer it reacts to the past. Without reports in \
            responses it has its own counts and latencies only, and with `clients` at 1 in a group of many balancers \
            it underestimates what the others send.",
    scenario: "probing",
    fails_in: "cache-affinity",
    weighted: true,
};

impl catalog::Params for Params {
    const SIGNALS: Signals = Signals { with_answers: true, ..Signals::NONE };

    fn check(&self) -> Result<(), String> {
        if !(1..=MOST_CHOICES).contains(&self.choices) {
            return Err(format!("`choices` is {}: it must be from 1 to {MOST_CHOICES}", self.choices));
        }
        if !(self.clients >= 0.0 && self.clients <= 1e6) {
            return Err(format!("`clients` is {}: it must be from 0 to 1,000,000", self.clients));
        }
        if !(1..=6).contains(&self.exponent) {
            return Err(format!("`exponent` is {}: it must be from 1 to 6", self.exponent));
        }
        if !(self.smoothing > 0.0 && self.smoothing <= 1.0) {
            return Err(format!("`smoothing` is {}: it must be above 0 and at most 1", self.smoothing));
        }
        Ok(())
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(C3 { params: self.clone(), heard: Vec::new() })
    }
}

/// Averages, in seconds and requests; zero before the first response.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    latency: f64,
    service: f64,
    queue: f64,
}

struct C3 {
    params: Params,
    heard: Vec<Heard>,
}

impl C3 {
    fn cost(&self, slot: u32, fleet: &Fleet) -> f64 {
        let Heard { latency, service, queue } = self.heard[slot as usize];
        let service = if service > 0.0 { service } else { latency };
        let long = 1.0 + self.params.clients * f64::from(fleet.in_flight()[slot as usize]) + queue;
        let power = (1..self.params.exponent).fold(long, |power, _| power * long);
        // A small constant is added to the queue, so that servers without responses differ by their requests in flight.
        latency - service + power * service.max(1e-9)
    }

    fn learn(&self, average: f64, new: f64) -> f64 {
        if average == 0.0 { new } else { average + self.params.smoothing * (new - average) }
    }
}

impl Selector for C3 {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let sample = sample(request, cx, self.params.choices, false);
        let cost = |slot: &&u32| self.cost(**slot, cx.fleet);
        let slot = *sample.as_slice().iter().min_by(|a, b| cost(a).total_cmp(&cost(b)))?;
        cx.pick(slot)
    }

    fn on_report(&mut self, backend: BackendId, load: &LoadReport, cx: &mut Context<'_>) {
        if load.by != ReportSource::Answer || !cx.fleet.is_current(backend) {
            return;
        }
        let mut heard = self.heard[backend.slot as usize];
        if let Some(in_server) = load.in_server {
            heard.queue += self.params.smoothing * (f64::from(in_server) - heard.queue);
        }
        if load.throughput > 0.0 && load.utilisation > 0.0 {
            heard.service = self.learn(heard.service, load.utilisation / load.throughput);
        }
        self.heard[backend.slot as usize] = heard;
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        if finished.outcome == Outcome::Ok && cx.fleet.is_current(finished.backend) {
            let slot = finished.backend.slot as usize;
            self.heard[slot].latency = self.learn(self.heard[slot].latency, finished.latency.as_secs_f64());
        }
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        renew(&mut self.heard, changes, cx.fleet);
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        self.heard.get(slot as usize)?;
        Some(self.cost(slot, fleet))
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let sample = sample(request, cx, self.params.choices, false);
        Explanation::sample(&sample, "expected delay with the queue to the third power (C3's rank)")
    }
}
