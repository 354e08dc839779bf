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
    cost: "O(n): a hash per server, about a nanosecond, and a logarithm per different weight",
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
    fn is_silent(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let hash = self.hash_on.hash(request);
        cx.pick(self.scores.first_candidate(hash, request, cx.fleet)?)
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
pub(in crate::select) struct Scores {
    names: Vec<u64>,
    /// Hash of the name and slot of the eligible servers, by weight, then ascending.
    servers: Vec<(u64, u32)>,
    /// Where the servers of each weight end.
    ends: Vec<usize>,
}

/// Of servers of equal weight, the one with the highest hash has the highest score if the next is lower by more than this.
///
/// A score is w / -ln u with u = (hash + 1/2) / 2⁵³. Rounding makes an error of at most 2⁻⁵⁴ in u, of 2⁻⁵² of the logarithm and
/// of 2⁻⁵³ of the quotient. A distance of d between hashes is one of at least d · 2⁻⁵³ / (-u ln u) of the score, relatively, and
/// -u ln u is at most 1/e: ten would be enough.
const CLOSE: i64 = 1024;

impl Scores {
    pub(in crate::select) fn on_fleet(&mut self, fleet: &Fleet) {
        self.names = names(fleet);
        self.servers.clear();
        self.servers.extend(fleet.eligible().iter().map(|&slot| (self.names[slot as usize], slot)));
        self.servers.sort_unstable_by_key(|&(_, slot)| (fleet.weight(slot), slot));
        self.ends.clear();
        let mut end = 0;
        for class in self.servers.chunk_by(|&(_, a), &(_, b)| fleet.weight(a) == fleet.weight(b)) {
            end += class.len();
            self.ends.push(end);
        }
    }

    /// The candidate with the highest score, the first of equals: by one hash for each server, and one score for each weight.
    #[inline]
    fn first_candidate(&self, key: u64, request: &Request<'_>, fleet: &Fleet) -> Option<u32> {
        let mut best: Option<(f64, u32)> = None;
        let mut start = 0;
        for &end in &self.ends {
            let (mut highest, mut second, mut winner) = (-1, -1, 0);
            for &(name, slot) in &self.servers[start..end] {
                let hash = (pair(key, name) >> 11) as i64;
                // Rare, as there are few records in a random sequence.
                if hash > second && !request.excludes(slot) {
                    if hash > highest {
                        (highest, second, winner) = (hash, highest, slot);
                    } else {
                        second = hash;
                    }
                }
            }
            start = end;
            if highest < 0 {
                continue;
            }
            let score = self.score(key, winner, fleet);
            // The negative score is that of the highest hash of all, whose u is rounded to one.
            if highest - second <= CLOSE || score < 0.0 {
                return self.first(key, fleet, candidates(request, fleet));
            }
            if best.is_none_or(|(most, slot)| score > most || score == most && winner < slot) {
                best = Some((score, winner));
            }
        }
        best.map(|(_, slot)| slot)
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
    pub(in crate::select) fn first(&self, key: u64, fleet: &Fleet, among: impl Iterator<Item = u32>) -> Option<u32> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Source;

    /// The inverse of [`crate::rng::mix`].
    fn unmix(hash: u64) -> u64 {
        let unshift = |z: u64, by: u32| (0..64 / by).fold(z, |seen, _| z ^ (seen >> by));
        // The inverses of the two odd factors modulo 2^64.
        let z = unshift(hash, 31).wrapping_mul(0x3196_42b2_d24d_8ec3);
        unshift(unshift(z, 27).wrapping_mul(0x96de_1b17_3f11_9089), 30)
    }

    /// Servers whose hashes with one key are close together, around one and at the highest, among others of any weights: the
    /// pick is always that of the plain comparison of all scores.
    #[test]
    fn close_hashes_are_compared_by_their_scores() {
        let mut dice = Rng::stream(3, "test", 0);
        let (mut close, mut ties) = (0, 0);
        for round in 0..3000 {
            let weights: Vec<u32> = (0..12).map(|_| 1 + dice.below(1 + round % 3) as u32).collect();
            let fleet = Fleet::of_weights(&weights);
            let mut scores = Scores::default();
            scores.on_fleet(&fleet);
            let key = dice.bits();
            let around = [u64::MAX - (40_000 << 11), dice.bits() | 1 << 63, dice.bits(), u64::MAX][round as usize % 4];
            for slot in 0..12 {
                let hash = around.saturating_sub(dice.below(6) << (11 + dice.below(9)));
                let hash = if dice.below(3) == 0 { dice.bits() >> dice.below(3) } else { hash };
                let name = key ^ unmix(hash);
                assert_eq!(pair(key, name), hash);
                scores.names[slot] = name;
                let server = scores.servers.iter_mut().find(|server| server.1 as usize == slot);
                server.unwrap().0 = name;
            }
            let excluded: Vec<u32> = (0..dice.below(4)).map(|_| dice.below(12) as u32).collect();
            let request = Request { excluded: &excluded, ..Request::default() };
            let plain = scores.first(key, &fleet, candidates(&request, &fleet));
            assert_eq!(scores.first_candidate(key, &request, &fleet), plain, "round {round}");
            let hash = |slot: u32| pair(key, scores.names[slot as usize]) >> 11;
            let hashes: Vec<u64> = candidates(&request, &fleet).map(hash).collect();
            let winner = hash(plain.unwrap());
            ties += u32::from(hashes.iter().filter(|hash| hash.abs_diff(winner) <= 1).count() > 1);
            close += u32::from(hashes.iter().filter(|hash| hash.abs_diff(winner) < 100).count() > 1);
        }
        assert!(close > 500 && ties > 200, "{close} {ties}");
    }
}
