//! Maglev: a table with a prime number of entries that the servers fill in turn, each in an order of its own; a key
//! belongs to the server of its entry. Variant: Envoy's: xxHash64, servers in the order of their names, weights by
//! skipped turns, a new hash for each attempt.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::NO_SLOT;
use crate::select::hashing::{On, hash64, last_resort};
use crate::select::{Context, Explanation, Pick, Request, Selector};

/// The table.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// The part of the request that is hashed.
    pub hash_on: On,
    /// Entries of the table, a prime number up to 5,000,011. A hundred per server make shares even to 1 %.
    pub table_size: u32,
}

/// Envoy's and the paper's.
pub(super) const TABLE_SIZE: u32 = 65_537;

impl Default for Params {
    fn default() -> Params {
        Params { hash_on: On::Key, table_size: TABLE_SIZE }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Maglev",
    family: Family::Hash,
    aliases: &["maglev_hash", "mh"],
    near: &[],
    variant: "Envoy's: 65537 entries, xxHash64, order of turns by name, a server of weight w has w / max w of the \
              turns. The table contains only eligible servers, so it is rebuilt when one becomes unhealthy. Attempt \
              a hashes with h xor (2^64 - a). After 16 attempts (in Envoy as many as a retry may ask for) the key \
              goes to any remaining server, by its hash",
    idea: "Every server has a list of preferred entries, in an order that its name decides. The servers take one \
           free entry each in turn until the table is full. So all have the same number of entries within one, and a \
           look-up is one read.",
    formula: "offset = h(name) mod M, skip = h1(name) mod (M - 1) + 1; wishes (offset + j skip) mod M; server = table[h(key) mod M]",
    source: "Eisenbud et al., NSDI 2016; Envoy, maglev_lb.cc",
    cost: "O(1); a change of the fleet costs O(M log M)",
    fails: "When the fleet changes, some keys move that need not: entries are taken before the servers that prefer \
            them have their turn. A hot key overloads its server. It ignores load.",
    scenario: "cache-affinity",
    fails_in: "hot-keys",
    weighted: true,
};

/// Whether `n` is a prime.
fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match self.table_size {
            n if n > 5_000_011 || !is_prime(n) => {
                Err(format!("`table_size` is {n}: it must be a prime number up to 5000011, such as 65537"))
            }
            _ => Ok(()),
        }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(Maglev { hash_on: self.hash_on, table: Table::new(self.table_size) })
    }
}

struct Maglev {
    hash_on: On,
    table: Table,
}

/// Largest number of attempts, each with its own hash.
const ATTEMPTS: u64 = 16;

impl Selector for Maglev {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let hash = self.hash_on.hash(request);
        let able = |&slot: &u32| cx.fleet.is_eligible(slot) && !request.excludes(slot);
        let mut attempts = (0..ATTEMPTS)
            .filter_map(|attempt| self.table.at(if attempt == 0 { hash } else { hash ^ attempt.wrapping_neg() }));
        let slot = match attempts.find(able) {
            Some(slot) => slot,
            None => last_resort(request, cx.fleet, hash)?,
        };
        cx.pick(slot)
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        if !changes.is_empty() {
            self.table.fill(cx.fleet);
        }
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let hash = self.hash_on.hash(request);
        let able = |slot: &u32| cx.fleet.is_eligible(*slot) && !request.excludes(*slot);
        let hashes = (0..ATTEMPTS).map(|attempt| if attempt == 0 { hash } else { hash ^ attempt.wrapping_neg() });
        let decides = hashes.into_iter().find(|&hash| self.table.at(hash).is_some_and(|slot| able(&slot)));
        decides.map_or_else(Explanation::default, |hash| self.table.explain(hash))
    }
}

/// The lookup table of the eligible servers.
pub(super) struct Table {
    size: u32,
    /// Slot by entry; empty while there is no server.
    places: Vec<u32>,
}

impl Table {
    pub(super) fn new(size: u32) -> Table {
        Table { size, places: Vec::new() }
    }

    /// The slot of this hash's entry.
    #[inline]
    pub(super) fn at(&self, hash: u64) -> Option<u32> {
        self.places.get((hash % u64::from(self.size)) as usize).copied()
    }

    /// The table, and the entry of this hash in it.
    pub(super) fn explain(&self, hash: u64) -> Explanation {
        let size = u64::from(self.size);
        Explanation::table(size, hash % size, |entry| self.places.get(entry as usize).copied().unwrap_or(NO_SLOT))
    }

    /// The table, and in it the first entry from this hash's on that `able` allows.
    pub(super) fn explain_from(&self, hash: u64, able: impl Fn(u32) -> bool) -> Explanation {
        let next = self.from(hash).position(able).unwrap_or(0) as u64;
        self.explain(hash % u64::from(self.size) + next)
    }

    /// The slots of the entries from this hash's on, once round.
    pub(super) fn from(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let start = self.places.len().min((hash % u64::from(self.size)) as usize);
        self.places[start..].iter().chain(&self.places[..start]).copied()
    }

    pub(super) fn fill(&mut self, fleet: &Fleet) {
        struct Wishes {
            slot: u32,
            weight: u64,
            /// Weight at which its next turn comes.
            due: u64,
            place: u64,
            skip: u64,
        }
        const FREE: u32 = u32::MAX;
        self.places.clear();
        let mut order: Vec<u32> = fleet.eligible().to_vec();
        // Every balancer must build the same table: slots differ between balancers, names do not.
        order.sort_by_key(|&slot| (fleet.name(slot), slot));
        let size = u64::from(self.size);
        let mut servers: Vec<Wishes> = order
            .iter()
            .map(|&slot| {
                let name = fleet.name(slot).as_bytes();
                let place = hash64(name, 0) % size;
                let skip = hash64(name, 1) % (size - 1) + 1;
                Wishes { slot, weight: u64::from(fleet.weight(slot)), due: 0, place, skip }
            })
            .collect();
        let Some(most) = servers.iter().map(|server| server.weight).max() else { return };
        self.places.resize(self.size as usize, FREE);
        let mut left = size;
        for round in 1.. {
            for server in &mut servers {
                if left == 0 {
                    return;
                }
                if round * server.weight < server.due {
                    continue;
                }
                server.due += most;
                while self.places[server.place as usize] != FREE {
                    server.place = (server.place + server.skip) % size;
                }
                self.places[server.place as usize] = server.slot;
                left -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(weights: &[u32], size: u32) -> Vec<usize> {
        let mut table = Table::new(size);
        table.fill(&Fleet::of_weights(weights));
        (0..weights.len() as u32).map(|slot| table.places.iter().filter(|&&s| s == slot).count()).collect()
    }

    /// Turns are taken one after the other, so no server can have two entries more than another.
    #[test]
    fn equal_servers_differ_by_at_most_one_entry() {
        for n in [1, 2, 3, 10, 100] {
            let counts = counts(&vec![1; n], TABLE_SIZE);
            assert_eq!(counts.iter().sum::<usize>(), TABLE_SIZE as usize);
            assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        }
    }

    /// In k rounds a server of weight w has had its turn between k w / max w and one more times.
    #[test]
    fn places_are_in_proportion_to_weight() {
        let counts = counts(&[1, 2, 3, 4], TABLE_SIZE);
        for (i, count) in counts.iter().enumerate() {
            assert!((*count as f64 - (i + 1) as f64 * 6553.7).abs() <= 2.0, "{counts:?}");
        }
    }

    /// Comparison with the paper's listing: complete preference lists, the first free entry searched from the start of the
    /// list each time, and weights as shares, as in Envoy.
    #[test]
    fn the_table_equals_a_naive_construction() {
        use crate::rng::Source;
        const SIZE: u64 = 251;
        let mut dice = Rng::stream(1, "test", 0);
        for _ in 0..50 {
            // Powers of two, so that shares have no rounding to differ in.
            let weights: Vec<u32> = (0..1 + dice.below(8)).map(|_| 1 << dice.below(4)).collect();
            let fleet = Fleet::of_weights(&weights);
            let wishes: Vec<Vec<usize>> = (0..weights.len() as u32)
                .map(|slot| {
                    let name = fleet.name(slot).as_bytes();
                    let (offset, skip) = (hash64(name, 0) % SIZE, hash64(name, 1) % (SIZE - 1) + 1);
                    (0..SIZE).map(|j| ((offset + j * skip) % SIZE) as usize).collect()
                })
                .collect();
            let most = f64::from(*weights.iter().max().unwrap());
            let mut due = vec![0.0; weights.len()];
            let mut places: Vec<Option<u32>> = vec![None; SIZE as usize];
            let mut round = 0.0;
            while places.contains(&None) {
                round += 1.0;
                for (slot, wishes) in wishes.iter().enumerate() {
                    let free = wishes.iter().find(|&&place| places[place].is_none());
                    if let Some(&place) = free
                        && round * f64::from(weights[slot]) / most >= due[slot]
                    {
                        due[slot] += 1.0;
                        places[place] = Some(slot as u32);
                    }
                }
            }
            let mut table = Table::new(SIZE as u32);
            table.fill(&fleet);
            assert!(table.places.iter().copied().map(Some).eq(places), "{weights:?}");
        }
    }

    #[test]
    fn only_primes_are_sizes() {
        let primes: Vec<u32> = (0..60).filter(|&n| is_prime(n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59]);
        assert!(is_prime(65_537) && is_prime(5_000_011) && !is_prime(65_536) && !is_prime(257 * 257));
    }

    /// Two balancers that list the servers in different orders build the same table.
    #[test]
    fn the_order_of_joining_does_not_matter() {
        let build = |names: [&str; 4]| {
            let mut fleet = Fleet::new();
            fleet.join_all(names.iter().map(|&name| (name, 1)));
            let mut table = Table::new(251);
            table.fill(&fleet);
            table.places.iter().map(|&slot| fleet.name(slot).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(build(["a", "b", "c", "d"]), build(["c", "a", "d", "b"]));
    }
}
