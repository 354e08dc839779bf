//! Weighted least request: a rotation by weight in which a server's weight shrinks with its in-flight requests.
//! Variant: Envoy's `least_request` for unequal weights: an earliest-deadline-first schedule with the weights `weight
//! / (active + 1)^bias`, computed at a server's turn and not in between.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::fleet::{Change, Fleet};
use crate::math;
use crate::rng::{Rng, Source};
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::upcoming;
use crate::select::{Context, Explanation, Pick, Request, Selector};
use crate::units::Nanos;

/// How strongly load counts.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Exponent of the in-flight requests, at least 0: 0 is weighted round robin, 1 is Envoy's default.
    pub active_request_bias: f64,
}

impl Default for Params {
    fn default() -> Params {
        Params { active_request_bias: 1.0 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Weighted least request (turns by power weights)",
    family: Family::Load,
    aliases: &["active_request_bias", "envoy_weighted_least_request"],
    near: &[],
    variant: "Envoy's `least_request` for unequal weights, here also for equal ones (Envoy then uses two choices \
              unless its bias is set). A server that is excluded for a request keeps its turn (in Envoy it loses \
              it). First deadlines are random; Envoy skips a number of first picks instead",
    idea: "Each server has its next turn after 1 / weight; in-flight requests reduce the weight and delay the turn. \
           Weights and load both count, without a scan and without a sample, at the cost of a heap operation.",
    formula: "take the earliest deadline; deadline := deadline + (in_flight_i + 1)^bias / weight_i",
    source: "Envoy, least_request.proto (`active_request_bias`) and pull request 3526",
    cost: "O(log n)",
    fails: "A weight is as old as the server's last turn: load that came or went since is not seen, and a slow \
            server has its next turn whatever it has in flight. Every change of the fleet restarts the schedule.",
    scenario: "unlike-servers",
    fails_in: "slow-server",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        if self.active_request_bias >= 0.0 && self.active_request_bias <= 10.0 {
            return Ok(());
        }
        Err(format!("`active_request_bias` is {}: it must be from 0 to 10", self.active_request_bias))
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let (turns, passed_over) = (BinaryHeap::new(), Vec::new());
        Box::new(WeightedLeastRequest { bias: self.active_request_bias, turns, passed_over, turn: 0 })
    }
}

/// A deadline (its bits: deadlines are positive, so their bits have the same order), the number of the turn that set it, and
/// the slot.
type Turn = Reverse<(u64, u64, u32)>;

#[derive(Clone)]
struct WeightedLeastRequest {
    bias: f64,
    turns: BinaryHeap<Turn>,
    /// Servers whose turn came while they were excluded; a reused buffer.
    passed_over: Vec<Turn>,
    turn: u64,
}

impl WeightedLeastRequest {
    fn pause(&self, slot: u32, fleet: &Fleet) -> f64 {
        let active = f64::from(fleet.in_flight()[slot as usize]) + 1.0;
        let load = match self.bias {
            1.0 => active,
            0.0 => 1.0,
            bias => math::pow(active, bias),
        };
        load / f64::from(fleet.weight(slot).max(1))
    }
}

impl Selector for WeightedLeastRequest {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let mut found = None;
        while let Some(turn) = self.turns.pop() {
            let Reverse((deadline, _, slot)) = turn;
            if request.excludes(slot) {
                self.passed_over.push(turn);
                continue;
            }
            self.turn += 1;
            let next = f64::from_bits(deadline) + self.pause(slot, cx.fleet);
            self.turns.push(Reverse((next.to_bits(), self.turn, slot)));
            found = Some(slot);
            break;
        }
        self.turns.extend(self.passed_over.drain(..));
        cx.pick(found?)
    }

    fn on_fleet(&mut self, _changes: &[Change], cx: &mut Context<'_>) {
        self.turns.clear();
        self.passed_over.reserve(cx.fleet.slots());
        for &slot in cx.fleet.eligible() {
            // Start at random positions, else the heavy servers would come first after every change, with all their turns.
            let first = self.pause(slot, cx.fleet) * cx.rng.unit();
            self.turn += 1;
            self.turns.push(Reverse((first.to_bits(), self.turn, slot)));
        }
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        fleet.in_flight().get(slot as usize)?;
        Some(self.pause(slot, fleet))
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        upcoming(self.clone(), request, cx)
    }
}
