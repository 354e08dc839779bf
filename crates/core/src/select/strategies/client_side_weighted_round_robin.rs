//! Client-side weighted round robin: turns in proportion to the capacity that each server's reports show. Variant:
//! gRPC's `weighted_round_robin` (A58) with its static-stride schedule; Envoy's policy of the same name has another
//! schedule.

use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::{Rng, Source};
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::upcoming;
use crate::select::{
    Command, Context, Explanation, LoadReport, Pick, ReportSource, Request, Selector, draw_evenly_excluding,
};
use crate::units::Nanos;

/// How reports become turns.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// A server's reports count only after it has reported for this long.
    pub blackout: Nanos,
    /// A report older than this no longer counts, and the blackout starts again.
    pub expiry: Nanos,
    /// Interval between schedules, at least 100 ms.
    pub update: Nanos,
    /// Factor of a server's error rate, which is added to its utilisation; at least 0.
    pub error_penalty: f64,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            blackout: Nanos::from_secs(10),
            expiry: Nanos::from_secs(180),
            update: Nanos::from_secs(1),
            error_penalty: 1.0,
        }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Client-side weighted round robin (from reports)",
    family: Family::Report,
    aliases: &["cswrr", "grpc_weighted_round_robin", "grpc_wrr", "a58", "client_side_wrr"],
    near: &[],
    variant: "gRPC's A58: weight from the last report, blackout, expiry, static stride with weights scaled to 65535. \
              Configured weights and reports of health checks do not count, as there. `utilisation` of a report is \
              A58's after its own precedence",
    idea: "A server reports its requests per second and its utilisation; the first over the second is what it could \
           handle at full use. Turns in that proportion make all servers equally busy, whatever machines they are \
           and whatever else runs there. Errors count as utilisation, so a server is not rewarded for failing \
           cheaply.",
    formula: "weight_i = throughput_i / (utilisation_i + errors_i * error_penalty); a server without one has the mean of the others; \
              turn s: i = s mod n, g = s / n, passed over when (w_i * g + i * 32767) mod 65535 < 65535 - w_i",
    source: "gRPC proposal A58; grpc-go, balancer/weightedroundrobin/scheduler.go",
    cost: "O(largest weight / mean weight) turns: about 1 for like servers; O(n) per update",
    fails: "It equalises utilisation and not waiting: a server may be as busy as the others and have a long queue. \
            It ignores in-flight requests, so bursts and expensive requests land anywhere. A report over k responses \
            has a noise of 1/sqrt(k): 10 % for a hundred responses, which matters at 80 % of capacity. In the first \
            ten seconds it is round robin.",
    scenario: "probing",
    fails_in: "stale-reports",
    weighted: false,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        if self.update < Nanos::from_millis(100) {
            return Err("`update` is below 100ms: it must be at least that".to_owned());
        }
        if !(self.error_penalty >= 0.0 && self.error_penalty <= 1000.0) {
            return Err(format!("`error_penalty` is {}: it must be from 0 to 1000", self.error_penalty));
        }
        Ok(())
    }

    fn build(&self, rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(ClientSideWeightedRoundRobin {
            params: self.clone(),
            heard: Vec::new(),
            slots: Vec::new(),
            strides: Vec::new(),
            // A random start, else all balancers would begin with the same server.
            turn: rng.below(1 << 32),
            asked: false,
        })
    }
}

/// The largest scaled weight.
const MOST: u64 = 65_535;

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    weight: f64,
    at: Nanos,
    /// Start of its uninterrupted reports; `None` when the blackout period starts again.
    since: Option<Nanos>,
}

#[derive(Clone)]
struct ClientSideWeightedRoundRobin {
    params: Params,
    heard: Vec<Heard>,
    /// The eligible slots, and their scaled weights in the same order; no weights where all are equal.
    slots: Vec<u32>,
    strides: Vec<u64>,
    turn: u64,
    asked: bool,
}

/// The weight that a report yields; `None` where it has no usable data.
pub fn weight(load: &LoadReport, error_penalty: f64) -> Option<f64> {
    let busy = load.utilisation + load.errors * error_penalty;
    (load.throughput > 0.0 && load.utilisation > 0.0).then(|| load.throughput / busy)
}

impl ClientSideWeightedRoundRobin {
    /// A server's present weight; zero where it has none.
    fn weight_now(&mut self, slot: u32, now: Nanos) -> f64 {
        let Params { blackout, expiry, .. } = self.params;
        let heard = &mut self.heard[slot as usize];
        let Some(since) = heard.since else { return 0.0 };
        if now.saturating_sub(heard.at) >= expiry {
            heard.since = None;
            return 0.0;
        }
        if now.saturating_sub(since) < blackout { 0.0 } else { heard.weight }
    }

    fn rebuild(&mut self, cx: &Context<'_>) {
        self.slots.clear();
        self.slots.extend_from_slice(cx.fleet.eligible());
        self.strides.clear();
        let (mut sum, mut most, mut count) = (0.0, 0.0_f64, 0);
        for at in 0..self.slots.len() {
            let weight = self.weight_now(self.slots[at], cx.now);
            (sum, most, count) = (sum + weight, most.max(weight), count + i32::from(weight > 0.0));
        }
        if count < 2 {
            return;
        }
        let mean = sum / f64::from(count);
        for at in 0..self.slots.len() {
            let weight = match self.weight_now(self.slots[at], cx.now) {
                0.0 => mean,
                weight => weight,
            };
            self.strides.push((((weight / most) * MOST as f64 + 0.5) as u64).clamp(1, MOST));
        }
    }
}

impl Selector for ClientSideWeightedRoundRobin {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        const OFFSET: u64 = MOST / 2;
        let n = self.slots.len() as u64;
        // The heaviest server is skipped in no round; the bound applies when the heaviest is excluded.
        for _ in 0..4 * n {
            let (at, round) = (self.turn % n, self.turn / n);
            self.turn += 1;
            let slot = self.slots[at as usize];
            let stride = self.strides.get(at as usize).copied().unwrap_or(MOST);
            let passes = (stride * (round % MOST) + at * OFFSET) % MOST < MOST - stride;
            if !passes && !request.excludes(slot) {
                return cx.pick(slot);
            }
        }
        let slot = draw_evenly_excluding(request, &[], cx)?;
        cx.pick(slot)
    }

    fn on_report(&mut self, backend: BackendId, load: &LoadReport, cx: &mut Context<'_>) {
        if !matches!(load.by, ReportSource::Answer | ReportSource::Clock) || !cx.fleet.is_current(backend) {
            return;
        }
        if let Some(weight) = weight(load, self.params.error_penalty) {
            let heard = &mut self.heard[backend.slot as usize];
            heard.since.get_or_insert(cx.now);
            (heard.weight, heard.at) = (weight, cx.now);
        }
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.heard.resize(cx.fleet.slots(), Heard::default());
        self.strides.reserve(cx.fleet.slots().saturating_sub(self.strides.len()));
        for change in changes {
            match change {
                Change::Joined(id) => self.heard[id.slot as usize] = Heard::default(),
                // A server that comes back starts its blackout again.
                Change::Up(id) => self.heard[id.slot as usize].since = None,
                _ => {}
            }
        }
        self.rebuild(cx);
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Option<Command> {
        if std::mem::replace(&mut self.asked, true) { None } else { Some(Command::WakeAt(cx.now + self.params.update)) }
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) {
        self.asked = false;
        self.rebuild(cx);
    }

    fn score(&self, slot: u32, _fleet: &Fleet, _now: Nanos) -> Option<f64> {
        match self.heard.get(slot as usize)?.weight {
            0.0 => None,
            weight => Some(1.0 / weight),
        }
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        upcoming(self.clone(), request, cx)
    }
}
