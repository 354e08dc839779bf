//! First fit: the second server gets requests only when the first is full. Variant: HAProxy `first`, with a number of
//! requests at which a server is full instead of its `maxconn`, and least request when all are full.

use super::least_request::least_of_candidates;
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::{Context, Explanation, Pick, Request, Selector, candidates, load_per_weight};

/// When a server is full.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// In-flight requests at which a server is full, at least 1. Usually what the server can work on at once.
    pub slots: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params { slots: 1 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "First fit (pack)",
    family: Family::Load,
    aliases: &["first", "first_available", "pack"],
    near: &[
        (
            "pick_first",
            "gRPC's keeps one server until its connection breaks, whatever the load; here the next server gets what the first has no slot for",
        ),
        ("ovf", "IPVS's fills the server of the highest weight first; here it is the first in the list"),
    ],
    variant: "HAProxy `first`, in the order of the list. When all servers are full it continues by least request and \
              does not queue (for HAProxy's queue give the servers `max_in_flight` and the pool a queue). IPVS `ovf` \
              differs: by falling weight, each up to its weight plus one, then none",
    idea: "Keep the load together: the first server with a free slot takes the request, so the last servers stay \
           idle while they are not needed and can be switched off. It does the opposite of balancing on purpose.",
    formula: "the first i with in_flight_i < slots; if none, argmin of in_flight_i / weight_i",
    source: "HAProxy configuration manual, `balance first`; Linux, net/netfilter/ipvs/ip_vs_ovf.c",
    cost: "O(n) at worst; O(filled servers) at low load",
    fails: "Each balancer packs on its own: many of them fill the same first servers repeatedly. If `slots` is more \
            than a server can work on at once, requests wait there while others are idle.",
    scenario: "idle-fleet",
    fails_in: "many-balancers",
    weighted: false,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        if self.slots == 0 { Err("`slots` is 0: it must be at least 1".to_owned()) } else { Ok(()) }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(FirstFit { slots: self.slots })
    }
}

struct FirstFit {
    slots: u32,
}

impl Selector for FirstFit {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let fit = candidates(request, cx.fleet).find(|&slot| cx.fleet.in_flight()[slot as usize] < self.slots);
        let slot = match fit {
            Some(slot) => slot,
            None => least_of_candidates(request, cx)?,
        };
        cx.pick(slot)
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let free = |slot: &u32| cx.fleet.in_flight()[*slot as usize] < self.slots;
        if !candidates(request, cx.fleet).any(|slot| free(&slot)) {
            let scores = candidates(request, cx.fleet).map(|slot| (slot, load_per_weight(slot, cx.fleet))).collect();
            return Explanation::default()
                .scored("requests in flight per weight, as no server has a free slot", scores);
        }
        let passed_over = candidates(request, cx.fleet).filter(|slot| !free(slot)).collect();
        Explanation { passed_over, ..Explanation::order(candidates(request, cx.fleet).collect()) }
    }
}
