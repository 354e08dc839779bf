//! Late binding: a request waits at the balancer until a server has a free slot. Variant: the central queue of
//! queueing theory (M/G/n), as in pull-based workers; the nearest feature of a proxy is HAProxy's backend queue.

use super::least_request::least_of_candidates;
use crate::fleet::Fleet;
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::{Context, Explanation, Pick, Request, Selector, load_per_weight};
use crate::units::Nanos;

/// How many requests a server gets at once.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Requests that one balancer sends to a server at once, at least 1: what the server can work on at once, and one
    /// or two more where the network delay is long compared with a request.
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
    variant: "ours: a limit of `slots` at each server and one first-in, first-out queue at the balancer. Of several \
              servers with a free slot it picks the one with the fewest requests for its weight",
    idea: "A choice of a queue can be wrong, so do not choose before you must. Requests wait together, and the first \
           free server takes the first of them. No expensive request holds up a cheap one while another server is \
           idle, and a slow server takes fewer requests.",
    formula: "argmin of in_flight_i / weight_i over those with in_flight_i < slots; if there is none, wait in the pool's queue",
    source: "Erlang, 1917 (the shared queue); HAProxy `maxconn` and the backend's queue",
    cost: "O(n log n) up to 256 eligible servers, as each is looked up among those at their limits; then O(log n) with an index that the fleet keeps, apart from moves in the sorted list of those at their limits",
    fails: "A server's slot is empty from its response until the next request has crossed the network: distant \
            servers with short requests are partly idle. Several balancers each fill all slots, so the queues move \
            to the servers again. Fast failures free their slot at once and attract what waits.",
    scenario: "mixed-costs",
    fails_in: "many-balancers",
    weighted: true,
};

impl catalog::Params for Params {
    const LIMITS: bool = true;
    const LOAD_INDEX: bool = true;

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
    fn is_silent(&self) -> bool {
        true
    }

    /// The host has excluded servers at their limits.
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let slot = least_of_candidates(request, cx)?;
        cx.pick(slot)
    }

    fn limit(&self, _slot: u32, _fleet: &Fleet) -> Option<u32> {
        Some(self.slots)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(load_per_weight(slot, fleet))
    }

    fn explain(&self, _request: &Request<'_>, _cx: &mut Context<'_>) -> Explanation {
        Explanation::compares("requests in flight per weight")
    }
}
