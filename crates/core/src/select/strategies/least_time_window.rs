//! Least time over a window: the mean latency of the last hundred responses, whatever their age. Variant: Traefik
//! `leasttime`, with its flaw: a server that was slow once gets no requests, so its slow samples never leave the
//! window.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::smooth::Smooth;
use crate::select::{Context, Explanation, Finished, Outcome, Pick, Request, Selector, candidates, renew};
use crate::units::Nanos;

/// The window.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Responses that are averaged, 1 to 10,000.
    pub samples: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params { samples: 100 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Least time over the last answers (never forgets)",
    family: Family::Latency,
    aliases: &["leasttime", "traefik_least_time"],
    near: &[],
    variant: "Traefik `leasttime`: mean of the last 100 responses, no decay. Ties take turns (in Traefik by an \
              earliest-deadline schedule), and times are not truncated to whole milliseconds (Traefik's are, so \
              below one it sees no difference). A refused or broken connection leaves a sample here and none in \
              Traefik. Prefer `least_time` or `peak_ewma`",
    idea: "As `least_time`, from the mean of the last hundred responses, in the simplest form. It works while \
           servers stay as they are, and shows why an average needs a clock: a server without requests has no \
           responses, and without responses its average stays.",
    formula: "argmin of mean(last answers_i) * (1 + in_flight_i) / weight_i, ties by smooth weighted round robin; 0 before the first answer",
    source: "Traefik, pkg/server/service/loadbalancer/leasttime/leasttime.go; issue traefik/traefik#12306",
    cost: "O(n), two passes",
    fails: "A server that was slow once is starved for good: 5 of 1500 requests went to one of five equal servers, \
            as Traefik's users found. A server without a response costs nothing, whatever it has in flight: a new \
            server gets everything until its first response. A server that fails fast is fast.",
    scenario: "unlike-servers",
    fails_in: "crash",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match self.samples {
            1..=10_000 => Ok(()),
            n => Err(format!("`samples` is {n}: it must be from 1 to 10,000")),
        }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let size = self.samples as usize;
        Box::new(LeastTimeWindow {
            size,
            windows: Vec::new(),
            answers: Vec::new(),
            costs: Vec::new(),
            smooth: Smooth::default(),
        })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    sum: u64,
    len: usize,
    next: usize,
}

struct LeastTimeWindow {
    size: usize,
    windows: Vec<Window>,
    /// Latencies, nanoseconds: `size` for each slot.
    answers: Vec<u64>,
    /// Scores by slot, computed for each pick; a reused buffer.
    costs: Vec<f64>,
    smooth: Smooth,
}

impl LeastTimeWindow {
    fn cost(&self, slot: u32, fleet: &Fleet) -> f64 {
        let window = &self.windows[slot as usize];
        let mean = if window.len == 0 { 0.0 } else { window.sum as f64 / window.len as f64 };
        mean * (1.0 + f64::from(fleet.in_flight()[slot as usize])) / f64::from(fleet.weight(slot).max(1))
    }
}

impl Selector for LeastTimeWindow {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let mut least = f64::INFINITY;
        let mut costs = std::mem::take(&mut self.costs);
        for slot in candidates(request, cx.fleet) {
            let cost = self.cost(slot, cx.fleet);
            costs[slot as usize] = cost;
            least = least.min(cost);
        }
        let slot = self.smooth.next_among(request, cx.fleet, |slot| costs[slot as usize] <= least);
        self.costs = costs;
        cx.pick(slot?)
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        if finished.outcome == Outcome::Cancelled || !cx.fleet.is_current(finished.backend) {
            return;
        }
        let slot = finished.backend.slot as usize;
        let window = &mut self.windows[slot];
        let place = &mut self.answers[slot * self.size + window.next];
        // Sums of at most 10,000 latencies, each capped at a day, do not overflow.
        let latency = finished.latency.min(Nanos::from_secs(86_400)).0;
        if window.len == self.size {
            window.sum -= *place;
        } else {
            window.len += 1;
        }
        window.sum += latency;
        *place = latency;
        window.next = (window.next + 1) % self.size;
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.smooth.on_fleet(changes, cx.fleet);
        renew(&mut self.windows, changes, cx.fleet);
        self.answers.resize(cx.fleet.slots() * self.size, 0);
        self.costs.resize(cx.fleet.slots(), 0.0);
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        self.windows.get(slot as usize)?;
        Some(self.cost(slot, fleet) / 1e9)
    }

    fn explain(&self, _request: &Request<'_>, _cx: &mut Context<'_>) -> Explanation {
        Explanation::compares("average latency times (requests in flight + 1), per weight, in seconds")
    }
}
