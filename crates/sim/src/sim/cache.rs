//! A server's cache: least recently used eviction, and a time to live after which entries are misses.

use std::hash::{BuildHasherDefault, Hasher};
use std::num::NonZeroUsize;

use lru::LruCache;

use evenkeel_core::rng::mix;
use evenkeel_core::units::Nanos;

/// Hashes a 64-bit key without a random seed, so that no run depends on one.
#[derive(Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = mix(self.0 ^ u64::from(byte));
        }
    }
    fn write_u64(&mut self, key: u64) {
        self.0 = mix(key);
    }
}

/// A cache of keys; it holds no answers.
pub struct Cache {
    /// Unbounded, because a bounded one takes the memory of all its entries at once.
    entries: LruCache<u64, Nanos, BuildHasherDefault<KeyHasher>>,
    capacity: NonZeroUsize,
    ttl: Option<Nanos>,
}

fn is_fresh(ttl: Option<Nanos>, stored: Nanos, now: Nanos) -> bool {
    ttl.is_none_or(|ttl| now.saturating_sub(stored) < ttl)
}

impl Cache {
    /// An empty cache for `capacity` entries that are fresh for `ttl` after they were stored; with `None` they never expire.
    pub fn new(capacity: NonZeroUsize, ttl: Option<Nanos>) -> Cache {
        Cache { entries: LruCache::unbounded_with_hasher(BuildHasherDefault::default()), capacity, ttl }
    }

    /// Whether the key is cached and fresh. A hit becomes the most recently used entry and is not refreshed.
    pub fn get(&mut self, key: u64, now: Nanos) -> bool {
        let ttl = self.ttl;
        self.entries.get(&key).is_some_and(|&stored| is_fresh(ttl, stored, now))
    }

    /// Whether the key is cached and fresh, without an effect on the order of eviction.
    pub fn has(&self, key: u64, now: Nanos) -> bool {
        self.entries.peek(&key).is_some_and(|&stored| is_fresh(self.ttl, stored, now))
    }

    /// Stores the key, and evicts the least recently used one if the cache is full; whether it did.
    pub fn put(&mut self, key: u64, now: Nanos) -> bool {
        self.entries.put(key, now);
        let full = self.entries.len() > self.capacity.get();
        if full {
            self.entries.pop_lru();
        }
        full
    }

    /// Number of entries, fresh or not.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Removes all entries.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};

    /// Compares with a list in order of use.
    #[test]
    fn agrees_with_a_list_in_order_of_use() {
        let (capacity, ttl) = (8, Nanos(50));
        let mut cache = Cache::new(NonZeroUsize::new(capacity).unwrap(), Some(ttl));
        let mut list: Vec<(u64, u64)> = Vec::new();
        let mut rng = Rng::stream(1, "test", 0);
        let (mut hits, mut evicted) = (0, 0);
        for now in 0..20_000_u64 {
            let key = rng.below(14);
            let expected = match list.iter().position(|&(k, _)| k == key) {
                Some(at) => {
                    let entry = list.remove(at);
                    list.push(entry);
                    now - entry.1 < ttl.0
                }
                None => false,
            };
            assert_eq!(cache.get(key, Nanos(now)), expected);
            hits += u32::from(expected);
            if !expected {
                list.retain(|&(k, _)| k != key);
                list.push((key, now));
                let full = list.len() > capacity;
                if full {
                    list.remove(0);
                }
                assert_eq!(cache.put(key, Nanos(now)), full);
                evicted += u32::from(full);
            }
        }
        assert!(hits > 1000 && evicted > 1000);
    }
}
