//! First fit: fill the first server before the second gets anything. Variant: HAProxy `first`, with a number of requests at
//! which a server counts as filled in place of its `maxconn`, and least request for what is beyond that.

use crate::select::catalog::{self, Doc, Family};
use super::least_request::least_of_candidates;
use crate::select::{Context, Pick, Request, Selector, candidates};
use crate::rng::Rng;

/// When a server is filled.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema), serde(deny_unknown_fields, default))]
pub struct Params {
    /// Requests in flight at which the next server in the list gets the next one.
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
    variant: "HAProxy `first`, by the order of the list; where all are filled it goes on by least request and does not queue \
              (for HAProxy's queue give the servers `max_in_flight` and the pool a queue). IPVS `ovf` is another: by falling weight, each \
              filled up to its weight and one, and then nobody",
    idea: "Keep the load together: the first server with a free slot takes the request, so the last ones stay idle as long \
           as they are not needed, and can be switched off. It is the opposite of balancing, and meant to be.",
    formula: "the first i with in_flight_i < slots; if none, argmin of in_flight_i / weight_i",
    source: "HAProxy configuration manual, `balance first`; Linux, net/netfilter/ipvs/ip_vs_ovf.c",
    cost: "O(n) at worst; O(filled servers) at low load",
    fails: "Each balancer packs by itself: many of them fill the same first servers again and again. If `slots` is more than \
            a server can serve at once, requests wait there while others are idle.",
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
}
