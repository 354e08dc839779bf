//! Round robin: the servers in turn, weights ignored. Variant: Envoy and Caddy with equal weights: a cursor over
//! slots that skips ineligible servers, so the others keep equal shares.

use crate::rng::{Rng, Source};
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::upcoming;
use crate::select::{Context, Explanation, Pick, Request, Selector, candidates};

/// Where the rotation starts.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Start at a random server instead of the first. Balancers that all start at the first server send to the same
    /// servers at the same time; Envoy seeds its workers for this reason.
    pub random_start: bool,
}

impl Default for Params {
    fn default() -> Params {
        Params { random_start: true }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Round robin",
    family: Family::RoundRobin,
    aliases: &["rr", "cyclic"],
    near: &[],
    variant: "Envoy with equal weights: a cursor per shard from a random start; ineligible servers are skipped",
    idea: "One after the other. Every server gets the same number of requests, evenly spaced in time. That is why it \
           beats `random`: arrivals at one server are n times less variable.",
    formula: "server = (cursor := cursor + 1) mod n, skipping the ineligible",
    source: "Envoy, load_balancer_impl.cc; theory: each of n servers is an E_n/M/1 queue",
    cost: "O(log n), plus one step for each ineligible or excluded server that is skipped",
    fails: "It counts requests and not work: after two expensive requests in a row, or at one slow server, a queue \
            grows while other servers are idle. With many balancers, each with its own rotation, most of the \
            regularity is lost (many-balancers).",
    scenario: "even-load",
    fails_in: "slow-server",
    weighted: false,
};

impl catalog::Params for Params {
    fn build(&self, rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(RoundRobin { next: 0, start: self.random_start.then(|| rng.bits()) })
    }
}

#[derive(Clone)]
struct RoundRobin {
    /// The first slot to consider.
    next: u32,
    /// Random bits for the start, used at the first pick, when the number of servers is known.
    start: Option<u64>,
}

impl Selector for RoundRobin {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let eligible = cx.fleet.eligible();
        if eligible.is_empty() {
            return None;
        }
        if let Some(bits) = self.start.take() {
            self.next = eligible[((u128::from(bits) * eligible.len() as u128) >> 64) as usize];
        }
        let slot = if request.excluded.is_empty() {
            let at = eligible.partition_point(|&slot| slot < self.next);
            eligible[if at == eligible.len() { 0 } else { at }]
        } else {
            let mut left = candidates(request, cx.fleet);
            let first = left.next()?;
            if first >= self.next { first } else { left.find(|&slot| slot >= self.next).unwrap_or(first) }
        };
        self.next = slot + 1;
        cx.pick(slot)
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        upcoming(self.clone(), request, cx)
    }
}
