//! Rendezvous hash: a key has a score with every server, and the highest wins. No table and no state. Variant:
//! weighted highest random weight by the logarithmic method, as Traefik's `hrw`, which is exact for any weights.

use crate::fleet::{Change, Fleet};
use crate::math;
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::hashing::{On, names, pair};
use crate::select::{Context, Explanation, Pick, Request, Selector, candidates};

/// What is hashed.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// The part of the request that is hashed.
    pub hash_on: On,
}

impl Default for Params {
    fn default() -> Params {
        Params { hash_on: On::Key }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Rendezvous hash (highest random weight)",
    family: Family::Hash,
    aliases: &["hrw", "highest_random_weight", "rendezvous_hash", "rendezvous_hashing"],
    near: &[("uri_hash", "Caddy's goes by path and query, without weights: in the proxy write key = \"uri\"")],
    variant: "weighted HRW with w / -ln u (Traefik's `hrw`; Caddy's hashes are rendezvous without weights); xxHash64 \
              of the key and of the name, mixed, where Traefik uses FNV-64a",
    idea: "Key and server together have a hash; compute it for every server and take the highest. When a server \
           leaves, only its keys move to their second best, spread over all servers. Exact with weights, and no ring \
           to build.",
    formula: "u_i = (53 bits of mix(h(key) xor h(name_i)) + 1/2) / 2^53; argmax of w_i / -ln u_i",
    source: "Thaler and Ravishankar, IEEE/ACM ToN 6(1), 1998; Schindelhauer and Schomaker, SPAA 2005 (weights)",
    cost: "O(n)",
    fails: "It computes a score for every server and request: with thousands of servers that is the cost of the \
            pick. A hot key overloads its server. It ignores load.",
    scenario: "cache-affinity",
    fails_in: "hot-keys",
    weighted: true,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(Rendezvous { hash_on: self.hash_on, scores: Scores::default() })
    }
}

struct Rendezvous {
    hash_on: On,
    scores: Scores,
}

impl Selector for Rendezvous {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let hash = self.hash_on.hash(request);
        cx.pick(self.scores.first(hash, cx.fleet, candidates(request, cx.fleet))?)
    }

    fn on_fleet(&mut self, _changes: &[Change], cx: &mut Context<'_>) {
        self.scores.on_fleet(cx.fleet);
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let hash = self.hash_on.hash(request);
        self.scores.explain(hash, cx.fleet, candidates(request, cx.fleet))
    }
}

/// The part of a key's score that depends only on the server.
#[derive(Default)]
pub(super) struct Scores {
    names: Vec<u64>,
}

impl Scores {
    pub(super) fn on_fleet(&mut self, fleet: &Fleet) {
        self.names = names(fleet);
    }

    /// The key's score with this server. Only the order matters: where all weights are equal the logarithm is left out.
    #[inline]
    pub(super) fn score(&self, key: u64, slot: u32, fleet: &Fleet) -> f64 {
        let u = ((pair(key, self.names[slot as usize]) >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0);
        if fleet.uniform() { u } else { f64::from(fleet.weight(slot)) / -math::ln(u) }
    }

    /// What is compared, so that the lowest wins.
    pub(super) fn explain(&self, key: u64, fleet: &Fleet, among: impl Iterator<Item = u32>) -> Explanation {
        let scores = among.map(|slot| (slot, 1.0 / self.score(key, slot, fleet))).collect();
        Explanation::default().scored("reciprocal of the hash of key and server, weighted", scores)
    }

    /// The slots in the key's order, the best first.
    pub(super) fn order(&self, key: u64, fleet: &Fleet, among: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut order: Vec<u32> = among.collect();
        order.sort_by(|&a, &b| self.score(key, b, fleet).total_cmp(&self.score(key, a, fleet)));
        order
    }

    /// The one with the highest score, the first of equals.
    #[inline]
    pub(super) fn first(&self, key: u64, fleet: &Fleet, among: impl Iterator<Item = u32>) -> Option<u32> {
        let mut best = None;
        let mut highest = -1.0;
        for slot in among {
            let score = self.score(key, slot, fleet);
            if score > highest {
                (best, highest) = (Some(slot), score);
            }
        }
        best
    }
}
