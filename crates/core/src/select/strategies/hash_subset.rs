//! Hash subset: a key belongs to a few servers instead of one, and the least loaded of them gets the request.

use super::consistent_hash::Ring;
use super::rendezvous::Scores;
use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::hashing::On;
use crate::select::{Context, Explanation, MOST_CHOICES, Pick, Request, Sample, Selector, candidates, load_per_weight};
use crate::units::Nanos;

/// Which hash orders the servers for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum By {
    /// The highest scores, as `rendezvous`.
    Rendezvous,
    /// The next servers on nginx's ring, as `consistent_hash`.
    Ring,
}

/// The subset.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// The part of the request that is hashed.
    pub hash_on: On,
    /// Which hash orders the servers for a key.
    pub by: By,
    /// Servers that share a key, 1 to 16. More of them spread load better and cache worse.
    pub replicas: usize,
}

impl Default for Params {
    fn default() -> Params {
        Params { hash_on: On::Key, by: By::Rendezvous, replicas: 2 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Hash subset (replicas of a key, least busy of them)",
    family: Family::Hash,
    aliases: &["hash_replicas", "replicated_hash", "power_of_two_hash"],
    near: &[("shuffle_sharding", "shuffle sharding gives each client servers of its own; here each key has them")],
    variant: "the first k servers of the key by weighted rendezvous or on nginx's ring, then the fewest in-flight \
              requests for the weight, the key's first server on ties. No product has it under this name",
    idea: "Between one server per key and any server for all: a key has k servers, and the least loaded gets the \
           request. The fleet's caches hold 1/k as many different keys, and a hot key has k servers. Ties go to the \
           first, so at low load affinity is complete.",
    formula: "argmin of in_flight_i / weight_i among the key's first k servers; the first of equals",
    source: "Karger et al., STOC 1997 (replicas of hot keys); Nasir et al., ICDE 2015 (two choices per key)",
    cost: "O(n replicas); on the ring O(log(n points) + steps)",
    fails: "A key that is hotter than k servers overloads k servers, where bounded loads would go on. Under load \
            every key is in k caches.",
    scenario: "hot-keys",
    fails_in: "cache-affinity",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match self.replicas {
            1..=MOST_CHOICES => Ok(()),
            n => Err(format!("`replicas` is {n}: it must be from 1 to {MOST_CHOICES}")),
        }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let placement = match self.by {
            By::Rendezvous => Placement::Rendezvous(Scores::default()),
            By::Ring => Placement::Ring(Ring::default()),
        };
        Box::new(HashSubset { hash_on: self.hash_on, replicas: self.replicas, placement })
    }
}

enum Placement {
    Rendezvous(Scores),
    Ring(Ring),
}

struct HashSubset {
    hash_on: On,
    replicas: usize,
    placement: Placement,
}

/// The key's first servers, best first.
fn highest(scores: &Scores, replicas: usize, key: u64, request: &Request<'_>, fleet: &Fleet) -> Sample {
    let mut sample = Sample { slots: [0; MOST_CHOICES], len: 0 };
    let mut best = [0.0; MOST_CHOICES];
    for slot in candidates(request, fleet) {
        let score = scores.score(key, slot, fleet);
        let mut at = sample.len;
        if at == replicas {
            if score <= best[at - 1] {
                continue;
            }
            at -= 1;
        } else {
            sample.len += 1;
        }
        // Inserts it at its rank; the last of the list is dropped.
        while at > 0 && score > best[at - 1] {
            (best[at], sample.slots[at]) = (best[at - 1], sample.slots[at - 1]);
            at -= 1;
        }
        (best[at], sample.slots[at]) = (score, slot);
    }
    sample
}

/// The next servers on the ring.
fn next_on(ring: &Ring, replicas: usize, hash: u32, request: &Request<'_>, fleet: &Fleet) -> Sample {
    let mut sample = Sample { slots: [0; MOST_CHOICES], len: 0 };
    ring.first(hash, |slot| {
        if fleet.is_eligible(slot) && !request.excludes(slot) && !sample.as_slice().contains(&slot) {
            sample.slots[sample.len] = slot;
            sample.len += 1;
        }
        sample.len == replicas
    });
    sample
}

impl HashSubset {
    /// The key's servers.
    #[inline]
    fn replicas_of(&self, request: &Request<'_>, fleet: &Fleet) -> Sample {
        match &self.placement {
            Placement::Rendezvous(scores) => highest(scores, self.replicas, self.hash_on.hash(request), request, fleet),
            Placement::Ring(ring) => {
                // At most the number of candidates, so that the walk ends within one round.
                let excluded = request.excluded.iter().filter(|&&slot| fleet.is_eligible(slot)).count();
                let replicas = self.replicas.min(fleet.eligible().len().saturating_sub(excluded).max(1));
                next_on(ring, replicas, self.hash_on.of(request, crc32fast::hash), request, fleet)
            }
        }
    }
}

impl Selector for HashSubset {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let fleet = cx.fleet;
        let sample = self.replicas_of(request, fleet);
        let busier = |a: u32, b: u32| {
            let count = |slot: u32| u64::from(fleet.in_flight()[slot as usize]);
            count(a) * u64::from(fleet.weight(b)) > count(b) * u64::from(fleet.weight(a))
        };
        let slot =
            sample.as_slice().iter().copied().reduce(|best, slot| if busier(best, slot) { slot } else { best })?;
        cx.pick(slot)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(load_per_weight(slot, fleet))
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        match &mut self.placement {
            Placement::Rendezvous(scores) => scores.on_fleet(cx.fleet),
            Placement::Ring(ring) => ring.on_fleet(changes, cx.fleet, 160),
        }
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let scores = candidates(request, cx.fleet).map(|slot| (slot, load_per_weight(slot, cx.fleet))).collect();
        Explanation::sample(&self.replicas_of(request, cx.fleet), "").scored("requests in flight per weight", scores)
    }
}
