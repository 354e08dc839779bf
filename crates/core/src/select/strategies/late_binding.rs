//! Late binding: a request waits at the balancer until some server has a free slot. Variant: the central queue of the
//! textbooks (M/G/n), as pull-based workers do it; the nearest thing in a proxy is HAProxy's backend queue.

use crate::select::catalog::{self, Doc, Family};
use super::least_request::least_of_candidates;
use crate::select::{Context, Pick, Request, Selector, load_per_weight};
use crate::fleet::Fleet;
use crate::rng::Rng;
use crate::units::Nanos;

/// How much may be at a server.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema), serde(deny_unknown_fields, default))]
pub struct Params {
    /// Requests that one balancer has at a server at once.
    pub slots: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params { slots: 1 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Late binding (pull from a central queue)",
    family: Family::Load,
    aliases: &["central_queue", "work_conserving"],
    near: &[
        (
            "backend_queue",
            "HAProxy's queue is part of any strategy, and here a pool's `queue`; this one has nothing but it",
        ),
        (
            "pull",
            "servers that ask for work are the same rule seen from the other side: here the balancer keeps the queue",
        ),
    ],
    variant: "ours: a limit of `slots` at each server and one queue at the balancer, first come first served; of several \
              servers with a free slot the one with the fewest requests for its weight",
    idea: "Whoever chooses a queue can choose the wrong one; so do not choose before you must. Requests wait together, and \
           the first server that is free takes the first of them. No dear request keeps a cheap one waiting while \
           another server is idle, and a slow server simply asks less often.",
    formula: "argmin of in_flight_i / weight_i over those with in_flight_i < slots; if there is none, wait in the pool's queue",
    source: "Erlang, 1917 (the shared queue); HAProxy `maxconn` and the backend's queue",
    cost: "O(n log n): each server is looked for among those at their limits",
    fails: "A server's slot is empty from its answer until the next request has come over the network: far away servers \
            with short requests idle. Several balancers each fill all slots, so the queue moves to the servers again. \
            Fast failures free their slot at once and draw what waits.",
    scenario: "mixed-costs",
    fails_in: "many-balancers",
    weighted: true,
};

impl catalog::Params for Params {
    const LIMITS: bool = true;

    fn check(&self) -> Result<(), String> {
        if self.slots == 0 { Err("`slots` is 0: it must be at least 1".to_owned()) } else { Ok(()) }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(LateBinding { slots: self.slots })
    }
}

struct LateBinding {
    slots: u32,
}

impl Selector for LateBinding {
    /// The host has left out who is at his limit.
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let slot = least_of_candidates(request, cx)?;
        cx.pick(slot)
    }

    fn has_limits(&self) -> bool {
        true
    }

    fn limit(&self, _slot: u32, _fleet: &Fleet) -> Option<u32> {
        Some(self.slots)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(load_per_weight(slot, fleet))
    }
}
