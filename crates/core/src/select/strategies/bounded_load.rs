//! Consistent hashing with bounded loads: a key belongs to a server, but no server may have more than its share of
//! the in-flight requests plus a quarter; the excess goes to other servers, in the same order for the same key.
//! Variants: HAProxy's `hash-balance-factor` (walks on to the next server) and Envoy's (jumps, in an order that the
//! key's hash seeds).

use super::consistent_hash::Ring;
use super::maglev::{TABLE_SIZE, Table};
use super::rendezvous::Scores;
use crate::fleet::{Change, Fleet};
use crate::rng::{Keyed, Rng, Source};
use crate::select::catalog::{self, Doc, Family};
use crate::select::hashing::{On, hash64};
use crate::select::{Context, Explanation, Pick, Request, Selector, candidates, load_per_weight};
use crate::units::Nanos;

/// Which hash orders the servers for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Hash {
    /// nginx's ring, as `consistent_hash`.
    Ring,
    /// Envoy's table, as `maglev`.
    Maglev,
    /// The highest score, as `rendezvous`.
    Rendezvous,
}

/// Where a request goes whose server is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Overflow {
    /// To the next server with room on the ring or in the table, or the next best score (HAProxy). On a ring with few
    /// points that is the same neighbour for all keys, which then fills up as well.
    Walk,
    /// To the first server with room in an order of all servers that the key's hash seeds (Envoy).
    Jump,
}

/// The hash and the bound.
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
    pub hash: Hash,
    /// The most in-flight requests of a server, in multiples of its share, 1 to 100. 1.2 to 2 is usual.
    pub factor: f64,
    /// Where a request goes whose server is full.
    pub overflow: Overflow,
    /// Points on the ring per unit of weight, 1 to 4096 (HAProxy: 16). Only for `hash = "ring"`.
    pub points: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params { hash_on: On::Key, hash: Hash::Ring, factor: 1.25, overflow: Overflow::Jump, points: 160 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Consistent hash with bounded loads",
    family: Family::Hash,
    aliases: &[
        "bounded_loads",
        "chbl",
        "consistent_hash_bounded",
        "consistent_hash_with_bounded_loads",
        "hash_balance_factor",
    ],
    near: &[],
    variant: "\"walk\" is HAProxy's rule (a server is full at its slots) on nginx's ring (in HAProxy a key's own \
              server is the nearer of its two neighbours); \"jump\" is Envoy's (full above its slots, and the least \
              overloaded where all are full). Each has its own formula of slots. A retry takes the next in a key's \
              order (in Envoy another hash). Envoy shuffles with mt19937, this with SplitMix64. Counts are those of \
              one balancer or of all its shards, as the host keeps them",
    idea: "A hash ignores load, and a hot key overloads its server. Give every server a bound, its share of all \
           in-flight requests times a factor, and send the excess elsewhere. Nearly all keys stay where their data \
           is cached, and a hot key is served by as many servers as it needs.",
    formula: "total = ceil((in flight + 1) factor); slots_i = total w_i / W, 1 at least (walk: rounded down, the rest handed out in \
              order; jump: rounded up); the key's server if in_flight_i < slots_i (jump: <=), else the next in its order that has room",
    source: "Mirrokni, Thorup, Zadimoghaddam, arXiv:1608.01350; Chen, Coleman, Shrivastava, arXiv:1908.08762 (jump); HAProxy, \
             lb_chash.c; Envoy, thread_aware_lb_impl.cc",
    cost: "O(n): it sums the requests in flight, and a jump shuffles",
    fails: "With few requests in flight the bound is one or two requests and breaks affinity where nothing is hot. \
            Counts are each balancer's own. A slow server reaches its bound with little traffic, and its keys move.",
    scenario: "hot-keys",
    fails_in: "cache-affinity",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match (self.factor, self.points) {
            (factor, _) if !(1.0..=100.0).contains(&factor) => {
                Err(format!("`factor` is {factor}: it must be from 1 to 100"))
            }
            (_, points) if !(1..=4096).contains(&points) => {
                Err(format!("`points` is {points}: it must be from 1 to 4096"))
            }
            _ => Ok(()),
        }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let placement = match self.hash {
            Hash::Ring => Placement::Ring(Ring::default()),
            Hash::Maglev => Placement::Maglev(Table::new(TABLE_SIZE)),
            Hash::Rendezvous => Placement::Rendezvous(Scores::default()),
        };
        // Whole percents, as both products have them.
        let percent = (self.factor * 100.0).round() as u64;
        Box::new(BoundedLoad {
            hash_on: self.hash_on,
            overflow: self.overflow,
            bound: Bound { percent, before: Vec::new() },
            placement,
            points: self.points,
            order: Vec::new(),
        })
    }
}

enum Placement {
    Ring(Ring),
    Maglev(Table),
    Rendezvous(Scores),
}

/// A key's position on nginx's ring, and its hash for all other purposes.
#[derive(Clone, Copy)]
struct Key {
    ring: u32,
    hash: u64,
}

impl Placement {
    /// The first candidate with room in the key's order.
    fn first(&self, key: Key, fleet: &Fleet, request: &Request<'_>, will_do: impl Fn(u32) -> bool) -> Option<u32> {
        let able = |slot: u32| fleet.is_eligible(slot) && !request.excludes(slot) && will_do(slot);
        match self {
            Placement::Ring(ring) => ring.first(key.ring, able),
            Placement::Maglev(table) => table.from(key.hash).find(|&slot| able(slot)),
            Placement::Rendezvous(scores) => {
                scores.first(key.hash, fleet, candidates(request, fleet).filter(|&slot| will_do(slot)))
            }
        }
    }
}

impl Placement {
    /// What decides in the key's order, among the candidates that `will_do` allows.
    fn explain(&self, key: Key, fleet: &Fleet, request: &Request<'_>, will_do: impl Fn(u32) -> bool) -> Explanation {
        let able = |slot: u32| fleet.is_eligible(slot) && !request.excludes(slot) && will_do(slot);
        match self {
            Placement::Ring(ring) => ring.explain(key.ring, able),
            Placement::Maglev(table) => table.explain_from(key.hash, able),
            Placement::Rendezvous(scores) => {
                Explanation::order(scores.order(key.hash, fleet, candidates(request, fleet)))
            }
        }
    }
}

/// The bound on in-flight requests per server.
struct Bound {
    percent: u64,
    /// By slot: weights of the eligible servers before it. HAProxy distributes the remainder of a division in that order.
    before: Vec<u64>,
}

impl Bound {
    /// Slots of all servers together, for one request more than there are.
    fn total(&self, fleet: &Fleet) -> u64 {
        let in_flight: u64 = fleet.in_flight().iter().map(|&count| u64::from(count)).sum();
        ((in_flight + 1) * self.percent).div_ceil(100)
    }

    /// HAProxy's slots of one server.
    fn slots_down(&self, slot: u32, total: u64, fleet: &Fleet) -> u64 {
        let all = fleet.total_weight().max(1);
        let (weight, before) = (u64::from(fleet.weight(slot)), self.before[slot as usize]);
        let handed_out = |weights: u64| (u128::from(weights) * u128::from(total % all) / u128::from(all)) as u64;
        (weight * (total / all) + handed_out(before + weight) - handed_out(before)).max(1)
    }

    /// Envoy's slots of one server.
    fn slots_up(&self, slot: u32, total: u64, fleet: &Fleet) -> u64 {
        let share = u128::from(total) * u128::from(fleet.weight(slot));
        (share.div_ceil(u128::from(fleet.total_weight().max(1))) as u64).max(1)
    }
}

struct BoundedLoad {
    hash_on: On,
    overflow: Overflow,
    bound: Bound,
    placement: Placement,
    points: u32,
    /// Buffer for the shuffle.
    order: Vec<u32>,
}

/// The slots in the order in which an overflow tries them.
fn shuffled(key: u64, slots: &[u32]) -> impl Iterator<Item = u32> {
    let mut order = slots.to_vec();
    let mut draws = Keyed::new(key, "overflow").at(0);
    (0..order.len()).map(move |at| {
        let other = at + draws.below((order.len() - at) as u64) as usize;
        order.swap(at, other);
        order[at]
    })
}

impl BoundedLoad {
    #[inline]
    fn key(&self, request: &Request<'_>) -> Key {
        self.hash_on.of(request, |bytes| Key { ring: crc32fast::hash(bytes), hash: hash64(bytes, 0) })
    }
}

impl Selector for BoundedLoad {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let fleet = cx.fleet;
        let key = self.key(request);
        let total = self.bound.total(fleet);
        let served = |slot: u32| u64::from(fleet.in_flight()[slot as usize]);
        let slot = match self.overflow {
            Overflow::Walk => {
                let room = |slot: u32| served(slot) < self.bound.slots_down(slot, total, fleet);
                // Some server always has room, unless this request excludes it.
                match self.placement.first(key, fleet, request, room) {
                    Some(slot) => slot,
                    None => self.placement.first(key, fleet, request, |_| true)?,
                }
            }
            Overflow::Jump => {
                let home = self.placement.first(key, fleet, request, |_| true);
                let home = match home {
                    Some(home) => home,
                    None => candidates(request, fleet).next()?,
                };
                let full = |slot: u32| served(slot) as f64 / self.bound.slots_up(slot, total, fleet) as f64;
                let mut best = (full(home), home);
                if best.0 > 1.0 {
                    self.order.clear();
                    self.order.extend_from_slice(fleet.eligible());
                    let mut draws = Keyed::new(key.hash, "overflow").at(0);
                    for at in 0..self.order.len() {
                        let other = at + draws.below((self.order.len() - at) as u64) as usize;
                        self.order.swap(at, other);
                        let slot = self.order[at];
                        if request.excludes(slot) {
                            continue;
                        }
                        let full = full(slot);
                        if full < best.0 {
                            best = (full, slot);
                        }
                        if full <= 1.0 {
                            best = (full, slot);
                            break;
                        }
                    }
                }
                best.1
            }
        };
        cx.pick(slot)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(load_per_weight(slot, fleet))
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        match &mut self.placement {
            Placement::Ring(ring) => ring.on_fleet(changes, cx.fleet, self.points),
            Placement::Maglev(table) if !changes.is_empty() => table.fill(cx.fleet),
            Placement::Maglev(_) => {}
            Placement::Rendezvous(scores) => scores.on_fleet(cx.fleet),
        }
        self.bound.before.clear();
        self.bound.before.resize(cx.fleet.slots(), 0);
        let mut sum = 0;
        for &slot in cx.fleet.eligible() {
            self.bound.before[slot as usize] = sum;
            sum += u64::from(cx.fleet.weight(slot));
        }
        self.order.reserve(cx.fleet.slots().saturating_sub(self.order.len()));
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let fleet = cx.fleet;
        let key = self.key(request);
        let total = self.bound.total(fleet);
        let load = |slot: u32| {
            let slots = match self.overflow {
                Overflow::Walk => self.bound.slots_down(slot, total, fleet),
                Overflow::Jump => self.bound.slots_up(slot, total, fleet),
            };
            f64::from(fleet.in_flight()[slot as usize]) / slots as f64
        };
        let full = |slot: u32| match self.overflow {
            Overflow::Walk => load(slot) >= 1.0,
            Overflow::Jump => load(slot) > 1.0,
        };
        let all = || candidates(request, fleet);
        let scores: Vec<(u32, f64)> = all().map(|slot| (slot, load(slot))).collect();
        let meaning = "requests in flight over the bound";
        let Some(home) = self.placement.first(key, fleet, request, |_| true) else { return Explanation::default() };
        let explained = match self.overflow {
            Overflow::Jump if full(home) => {
                if all().all(full) {
                    return Explanation::default().scored(meaning, scores);
                }
                let mut order = vec![home];
                order.extend(shuffled(key.hash, fleet.eligible()).filter(|&slot| !request.excludes(slot)));
                Explanation::order(order)
            }
            // Where all are full the walk takes the key's own server.
            Overflow::Walk if all().all(full) => self.placement.explain(key, fleet, request, |_| true),
            _ => self.placement.explain(key, fleet, request, |slot| !full(slot)),
        };
        let passed_over = if all().all(full) { Vec::new() } else { all().filter(|&slot| full(slot)).collect() };
        Explanation { passed_over, ..explained.scored(meaning, scores) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(fleet: &Fleet, percent: u64) -> Bound {
        let mut before = Vec::new();
        let mut sum = 0;
        for slot in 0..fleet.slots() as u32 {
            before.push(sum);
            sum += u64::from(fleet.weight(slot));
        }
        Bound { percent, before }
    }

    /// Worked by hand: 9 in flight, factor 1.25: (9 + 1) 125 + 99 over 100 is 13 slots, for weights 1, 1, 2.
    #[test]
    fn slots_are_those_of_the_formulas() {
        let mut fleet = Fleet::of_weights(&[1, 1, 2]);
        let first = fleet.id(0);
        (0..9).for_each(|_| fleet.started(first));
        let bound = bound(&fleet, 125);
        assert_eq!(bound.total(&fleet), 13);
        // 13 div 4 = 3 each; the remainder of 1 goes to the last: floor(4/4) - floor(2/4) = 1.
        assert_eq!([0, 1, 2].map(|slot| bound.slots_down(slot, 13, &fleet)), [3, 3, 7]);
        // ceil(13/4), ceil(13/4), ceil(26/4)
        assert_eq!([0, 1, 2].map(|slot| bound.slots_up(slot, 13, &fleet)), [4, 4, 7]);
        // With nothing in flight every server still has one.
        assert_eq!([0, 1, 2].map(|slot| bound.slots_down(slot, 2, &fleet)), [1, 1, 1]);
    }
}
