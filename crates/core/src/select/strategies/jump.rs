//! Jump hash: a few multiplications compute which of n numbered buckets a key is in, without a table. Variant:
//! Lamping and Veach's function, number for number, on buckets in the order in which servers joined.

use crate::fleet::Change;
use crate::rng::{GOLDEN, Rng};
use crate::select::catalog::{self, Doc, Family};
use crate::select::hashing::{Down, On, last_resort, pair};
use crate::select::{Context, Explanation, Pick, Request, Selector};

/// What happens to the buckets when a server leaves that is not the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Removal {
    /// The server of the last bucket takes over the free bucket; about 2/n of the keys move.
    Swap,
    /// Every later server moves down by one, and all their keys with them, as in a list of addresses from which one
    /// is deleted.
    Shift,
}

/// Buckets and servers.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// The part of the request that is hashed.
    pub hash_on: On,
    /// What happens to the buckets when a server leaves that is not the last.
    pub removal: Removal,
    /// What happens to the keys of an unhealthy server that has not left.
    pub on_unhealthy: Down,
}

impl Default for Params {
    fn default() -> Params {
        Params { hash_on: On::Key, removal: Removal::Swap, on_unhealthy: Down::Rehash }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Jump hash",
    family: Family::Hash,
    aliases: &["jump_hash", "jump_consistent_hash"],
    near: &[],
    variant: "Lamping and Veach's function. Buckets are servers in the order of joining, weights ignored. When one \
              leaves, the server of the last bucket takes its bucket; an unhealthy one keeps its bucket and its keys \
              are hashed again",
    idea: "Imagine the fleet growing one by one: at each step a key jumps to the new server with probability 1/n. \
           The function computes the last jump directly. Perfectly even, no memory, and made for fleets that grow \
           and shrink at the end, as storage shards do.",
    formula: "while j < n: b = j; k = 2862933555777941757 k + 1; j = (b + 1) 2^31 / ((k >> 33) + 1); bucket b",
    source: "Lamping and Veach, arXiv:1406.2294, 2014",
    cost: "O(log n); up to 16 times that past ineligible servers",
    fails: "Servers are numbered and not named: when any but the last leaves, twice as many keys move as necessary, \
            and balancers with another history number them differently. It ignores weights and load.",
    scenario: "cache-affinity",
    fails_in: "hash-deploy",
    weighted: false,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(Jump { params: self.clone(), buckets: Vec::new() })
    }
}

/// The bucket of `key` among `buckets`, at least one.
fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0.0);
    while next < f64::from(buckets) {
        bucket = next as u32;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = (f64::from(bucket) + 1.0) * (2_147_483_648.0 / ((key >> 33) + 1) as f64);
    }
    bucket
}

struct Jump {
    params: Params,
    /// Slot by bucket. Holds every member, eligible or not.
    buckets: Vec<u32>,
}

/// Largest number of hashes per key: one, and more past servers that cannot be picked.
const ATTEMPTS: u64 = 16;

impl Jump {
    /// The buckets of a request's key, one for each attempt.
    #[inline]
    fn attempts(&self, request: &Request<'_>) -> impl Iterator<Item = u32> + use<> {
        let (hash, n) = (self.params.hash_on.hash(request), self.buckets.len() as u32);
        let attempts = if n == 0 { 0 } else { ATTEMPTS };
        (0..attempts)
            .map(move |attempt| if attempt == 0 { hash } else { pair(hash, attempt.wrapping_mul(GOLDEN)) })
            .map(move |hash| jump(hash, n))
    }
}

impl Selector for Jump {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        if self.buckets.is_empty() {
            return None;
        }
        let hash = self.params.hash_on.hash(request);
        let able = |&slot: &u32| cx.fleet.is_eligible(slot) && !request.excludes(slot);
        let slot = self.attempts(request).map(|bucket| self.buckets[bucket as usize]).find(able);
        let slot = match slot {
            Some(slot) => slot,
            None => last_resort(request, cx.fleet, hash)?,
        };
        cx.pick(slot)
    }

    fn on_fleet(&mut self, changes: &[Change], _cx: &mut Context<'_>) {
        for &change in changes {
            let (slot, comes) = match (change, self.params.on_unhealthy) {
                (Change::Joined(id), _) | (Change::Up(id), Down::Remap) => (id.slot, true),
                (Change::Left(id), _) | (Change::Down(id), Down::Remap) => (id.slot, false),
                _ => continue,
            };
            if let Some(at) = self.buckets.iter().position(|&other| other == slot) {
                match self.params.removal {
                    Removal::Swap => self.buckets.swap_remove(at),
                    Removal::Shift => self.buckets.remove(at),
                };
            }
            if comes {
                self.buckets.push(slot);
            }
        }
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let able = |slot: u32| cx.fleet.is_eligible(slot) && !request.excludes(slot);
        let buckets = self.buckets.len() as u32;
        let found = self.attempts(request).find(|&bucket| able(self.buckets[bucket as usize]));
        found.map_or_else(Explanation::default, |bucket| {
            Explanation::table(u64::from(buckets), u64::from(bucket), |bucket| self.buckets[bucket as usize])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that implementations of the paper test themselves with.
    #[test]
    fn values_match_the_paper() {
        let got: Vec<u32> = [(1, 1), (42, 57), (0xdead_10cc, 1), (0xdead_10cc, 666), (256, 1024)]
            .iter()
            .map(|&(k, n)| jump(k, n))
            .collect();
        assert_eq!(got, [0, 43, 0, 361, 520]);
    }

    /// A bucket more: keys stay or go to the new one, 1/n of them.
    #[test]
    fn a_key_stays_or_goes_to_the_new_bucket() {
        let mut moved = 0;
        for key in 0..20_000_u64 {
            let key = crate::rng::mix(key);
            let (before, after) = (jump(key, 9), jump(key, 10));
            assert!(after == before || after == 9);
            moved += i32::from(after != before);
        }
        // Binomial with p = 1/10: standard deviation 42.
        assert!((moved - 2000).abs() < 4 * 42, "{moved}");
    }
}
