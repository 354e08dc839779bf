//! Subsetting: each balancer uses only some of the servers, so that n balancers in front of m servers do not keep n · m
//! connections. Each balancer computes its subset by itself, without communication; kinds differ in how evenly the servers
//! are used.
//!
//! * `random` (gRPC A68): the servers in the order of a hash of their name and the balancer's seed, the first `size` of
//!   them. A server that comes or goes moves few; how many balancers use a server is by chance: binomial, with a variance
//!   of n·p·(1 − p). A68 hashes addresses with XXH64, this one names with a mixer of ours.
//! * `deterministic` (Site Reliability Engineering, chapter 20): balancers in groups of ⌊m / size⌋, a *round*. Within a
//!   round all have one shuffle of the servers and cut it into pieces, so that no server is used twice; m mod `size`
//!   servers are left over in a round, others in each round. A server that comes or goes moves many.
//! * `aperture` (Finagle's deterministic aperture): balancers and servers stand on rings of circumference 1. Each balancer
//!   begins at its coordinate and takes an arc that is a whole multiple of the distance between balancers and spans at
//!   least `size` servers. So every point of the ring is covered equally often, and a server at the edge of an arc has the
//!   weight of the part that lies in it: the servers are used evenly to the last, by strategies that honour weights.
//!
//! A subset does not change with health: if all its servers are unhealthy, no other is used (as in A68).

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};

use super::catalog::{Doc, Issues, Policy};
use crate::rng::{Rng, Source, mix};

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "subsetting",
    idea: "Each balancer uses only some of the servers, so that many balancers before many servers do not keep a connection for each pair.",
    source: "gRPC A68 (random); Site Reliability Engineering, chapter 20 (deterministic); Finagle (aperture)",
    scenario: Some("subsets"),
};

/// Which servers a balancer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields))]
#[cfg_attr(feature = "config", schemars(rename = "Subset"))]
pub struct Rules {
    /// Servers that each balancer uses, at least 1; all where there are fewer.
    pub size: u32,
    /// `"random"` (the default), `"deterministic"` (pieces of a shuffle that all balancers share) or `"aperture"` (an arc of
    /// a ring).
    #[cfg_attr(feature = "config", serde(default))]
    pub kind: Kind,
}

/// How a subset is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "config", schemars(rename = "SubsetKind"))]
pub enum Kind {
    /// Random for each balancer (gRPC A68).
    #[default]
    Random,
    /// Pieces of shuffles that all balancers share (Site Reliability Engineering).
    Deterministic,
    /// Arcs of a ring, with weights at the edges (Finagle).
    Aperture,
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        issues.require(self.size > 0, "size", "`size` of a subset must be above zero");
    }
}

/// A server's weight in a subset, in so many parts of its own.
pub const WHOLE: u32 = 100;

impl Rules {
    /// For each of these servers its share of its weight that balancer `number` of `of` uses, 0 to [`WHOLE`]. The result
    /// does not depend on the order of the names.
    pub fn shares(&self, names: &[&str], number: u32, of: u32, seed: u64) -> Vec<u32> {
        let (n, size) = (names.len(), self.size as usize);
        if n <= size {
            return vec![WHOLE; n];
        }
        let mut shares = vec![0; n];
        match self.kind {
            Kind::Random => {
                let seed = mix(seed ^ mix(u64::from(number)));
                ordered(names, seed).into_iter().take(size).for_each(|at| shares[at] = WHOLE);
            }
            Kind::Deterministic => {
                let pieces = (n / size) as u32;
                let (round, piece) = (number / pieces, (number % pieces) as usize);
                let mut order = ordered(names, 0);
                let mut rng = Rng::stream(0, "subset round", u64::from(round));
                for i in (1..n).rev() {
                    order.swap(i, rng.below(i as u64 + 1) as usize);
                }
                order[piece * size..(piece + 1) * size].iter().for_each(|&at| shares[at] = WHOLE);
            }
            Kind::Aperture => {
                let ring = ordered(names, 0);
                let part = arc(number, of, n, size);
                ring.into_iter().zip(part).for_each(|(at, part)| {
                    shares[at] = (part * f64::from(WHOLE)).round() as u32;
                });
            }
        }
        shares
    }
}

/// The servers in a pseudorandom order that every balancer with this seed computes.
fn ordered(names: &[&str], seed: u64) -> Vec<usize> {
    let score = |name: &str| name.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)));
    let mut order: Vec<(u64, &str, usize)> =
        names.iter().enumerate().map(|(at, name)| (score(name), *name, at)).collect();
    order.sort_unstable();
    order.into_iter().map(|(.., at)| at).collect()
}

/// The overlap of each of `n` equal arcs of a ring with the arc of balancer `number` of `of`, which starts at number/of; its
/// length is the smallest multiple of 1/of that spans `size` of the n arcs, at most the whole ring.
fn arc(number: u32, of: u32, n: usize, size: usize) -> Vec<f64> {
    let (of, n) = (u64::from(of.max(1)), n as u64);
    // All values in units of 1/(of · n), so that nothing is rounded.
    let units = (size as u64 * of).div_ceil(n).min(of);
    let (begin, width, all) = (u64::from(number) % of * n, units * n, of * n);
    let overlap = |a: (u64, u64), b: (u64, u64)| a.1.min(b.1).saturating_sub(a.0.max(b.0));
    let of_server = |i: u64| {
        let server = (i * of, (i + 1) * of);
        // The arc may pass the end of the ring and continue at its start.
        let here = overlap(server, (begin, (begin + width).min(all)));
        let wrapped = overlap(server, (0, (begin + width).saturating_sub(all)));
        (here + wrapped) as f64 / of as f64
    };
    (0..n).map(of_server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("s{i}")).collect()
    }

    /// How often each of n servers is used by `of` balancers, in hundredths.
    fn used(kind: Kind, size: u32, n: usize, of: u32) -> Vec<u32> {
        let names = names(n);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut used = vec![0; n];
        for number in 0..of {
            let shares = Rules { size, kind }.shares(&names, number, of, 7);
            used.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share);
        }
        used
    }

    #[test]
    fn a_random_subset_gives_a_server_a_binomial_number_of_balancers() {
        // 300 balancers that use 20 of 100: mean 60, variance 300 · 0.2 · 0.8 = 48 over the servers (whose sum is fixed: a
        // factor 100/99). The estimate of a variance from 100 has a standard error of √(2/99) = 14 %.
        let used = used(Kind::Random, 20, 100, 300);
        assert_eq!(used.iter().sum::<u32>(), 300 * 20 * WHOLE);
        let variance =
            used.iter().map(|&u| (f64::from(u / WHOLE) - 60.0) * (f64::from(u / WHOLE) - 60.0)).sum::<f64>() / 99.0;
        assert!((variance / 48.0 - 1.0).abs() < 4.0 * 0.142, "{variance}");
    }

    #[test]
    fn random_subsets_change_little_when_a_server_leaves() {
        let all = names(100);
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let rules = Rules { size: 20, kind: Kind::Random };
        for number in 0..50 {
            let (before, after) = (rules.shares(&all, number, 50, 7), rules.shares(&all[..99], number, 50, 7));
            let gone = (0..99).filter(|&i| before[i] > 0 && after[i] == 0).count();
            let come = (0..99).filter(|&i| before[i] == 0 && after[i] > 0).count();
            assert_eq!(
                (gone, come),
                (0, usize::from(before[99] > 0)),
                "the one that went is replaced, and no other moves"
            );
        }
    }

    #[test]
    fn whole_rounds_use_every_server_equally_often() {
        // 12 servers in pieces of 3: a round is 4 balancers. After 5 rounds each server was used 5 times.
        assert_eq!(used(Kind::Deterministic, 3, 12, 20), [5 * WHOLE; 12]);
        // The chapter's own example of remainders: 12 servers, size 10, so one balancer a round and two left over in each.
        let used = used(Kind::Deterministic, 10, 12, 300);
        assert_eq!(used.iter().sum::<u32>(), 300 * 10 * WHOLE);
        // Each is left out of a round with 1/6: 250 ± 4 · √(300 · 5/36) = ± 26.
        assert!(used.iter().all(|&u| (224..=276).contains(&(u / WHOLE))), "{used:?}");
    }

    #[test]
    fn arcs_cover_every_server_equally() {
        // 10 balancers, 12 servers, at least 4 of them: arcs of ⌈4/12 / (1/10)⌉ = 4 tenths, 4.8 servers, and each server is
        // covered by four balancers.
        let mut sums = vec![0.0; 12];
        for number in 0..10 {
            let part = arc(number, 10, 12, 4);
            assert!((part.iter().sum::<f64>() - 4.8).abs() < 1e-12);
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        assert!(sums.iter().all(|sum| (sum - 4.0).abs() < 1e-12), "{sums:?}");
        // Number 9 begins at 0.9 · 12 = 10.8 and ends at 15.6 − 12 = 3.6.
        let part = arc(9, 10, 12, 4);
        for (i, expected) in [1.0, 1.0, 1.0, 0.6].into_iter().enumerate() {
            assert!((part[i] - expected).abs() < 1e-12, "{part:?}");
        }
        assert!((part[10] - 0.2).abs() < 1e-12 && part[11] == 1.0 && part[4..10].iter().all(|&p| p == 0.0), "{part:?}");
        // A single balancer has all of the ring.
        assert_eq!(arc(0, 1, 5, 2), [1.0; 5]);
    }

    #[test]
    fn the_order_of_the_names_does_not_matter_and_few_servers_are_all_used() {
        for kind in [Kind::Random, Kind::Deterministic, Kind::Aperture] {
            let rules = Rules { size: 3, kind };
            let (there, back) = (["a", "b", "c", "d", "e"], ["e", "d", "c", "b", "a"]);
            let mut reversed = rules.shares(&back, 1, 4, 9);
            reversed.reverse();
            assert_eq!(rules.shares(&there, 1, 4, 9), reversed);
            assert_eq!(rules.shares(&there[..3], 1, 4, 9), [WHOLE; 3]);
        }
    }
}
