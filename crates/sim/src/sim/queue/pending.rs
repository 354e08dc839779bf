//! Events in no particular order, by key: the next ones sorted, the others in buckets.
//!
//! Most runs have few events pending, one for each busy slot and some timers. While there are few, all are in one sorted list,
//! the next one last, so that taking it out is free and a new one passes the few that come before it. When the list is full, its
//! later half leaves, and what comes later than the rest follows it, to the buckets of a radix heap (Ahuja, Mehlhorn, Orlin,
//! Tarjan, JACM 37(2), 1990): a bucket holds the times whose highest bit that differs from the base is the same one, unsorted.
//! When the list is empty, the first bucket that is not becomes the list. A bucket of too many events is divided before,
//! with its earliest time as the new base. An event moves a few times in all, each time without a comparison.

use super::{Event, Key, NEVER, time};

/// Length of the sorted list at which its later half leaves.
const MOST: usize = 48;
/// Number of events with which a bucket becomes the list.
const FEW: usize = 24;
/// A bucket for times equal to the base, and one for each bit.
const BUCKETS: usize = u64::BITS as usize + 1;

/// The events; see the module's documentation.
pub(super) struct Pending {
    /// Sorted, the next one last. Not empty unless the buckets are.
    list: Vec<(Key, Event)>,
    /// Later events are in the buckets; `NEVER` while those are empty.
    boundary: Key,
    buckets: Vec<Vec<(Key, Event)>>,
    /// One bit for each bucket that is not empty.
    occupied: u128,
    /// Nanoseconds; no event in the buckets is earlier.
    base: u64,
    /// Number of events in the buckets.
    stored: usize,
}

impl Pending {
    pub(super) fn new() -> Pending {
        Pending {
            list: Vec::with_capacity(MOST),
            boundary: NEVER,
            buckets: vec![Vec::new(); BUCKETS],
            occupied: 0,
            base: 0,
            stored: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len() + self.stored
    }

    /// Takes the next event out. Returns it, and the key of the one after it: `NEVER` without one.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> (Option<Event>, Key) {
        let event = self.list.pop().map(|(_, event)| event);
        let next = match self.list.last() {
            Some(&(key, _)) => key,
            None => self.refill(),
        };
        (event, next)
    }

    #[inline]
    pub(super) fn insert(&mut self, key: Key, event: Event) {
        if key > self.boundary {
            return self.store(key, event);
        }
        self.list.push((key, event));
        if let Some((mut hole, before)) = self.list.split_last_mut() {
            for place in before.iter_mut().rev().take_while(|place| place.0 < key) {
                *hole = *place;
                hole = place;
            }
            *hole = (key, event);
        }
        if self.list.len() >= MOST {
            self.halve();
        }
    }

    /// The later half of the list moves to the buckets.
    #[cold]
    #[inline(never)]
    fn halve(&mut self) {
        let earlier = self.list.split_off(MOST / 2);
        let later = std::mem::replace(&mut self.list, earlier);
        self.boundary = self.list[0].0;
        // Events that were scheduled since the base was set can be earlier than it.
        let first = time(self.boundary).0;
        if first < self.base {
            self.base = first;
            let all: Vec<(Key, Event)> = self.buckets.iter_mut().flat_map(std::mem::take).collect();
            (self.occupied, self.stored) = (0, 0);
            all.into_iter().for_each(|(key, event)| self.store(key, event));
        }
        later.into_iter().for_each(|(key, event)| self.store(key, event));
    }

    /// Puts an event into its bucket.
    #[inline]
    fn store(&mut self, key: Key, event: Event) {
        debug_assert!(time(key).0 >= self.base, "earlier than every bucket");
        let bucket = (u64::BITS - (time(key).0 ^ self.base).leading_zeros()) as usize;
        self.buckets[bucket].push((key, event));
        self.occupied |= 1 << bucket;
        self.stored += 1;
    }

    /// The list is empty: the first events of the buckets become the list. Returns the first one's key.
    #[inline(never)]
    fn refill(&mut self) -> Key {
        while self.occupied != 0 {
            let first = self.occupied.trailing_zeros() as usize;
            self.occupied &= self.occupied - 1;
            let mut bucket = std::mem::take(&mut self.buckets[first]);
            self.stored -= bucket.len();
            if first == 0 || bucket.len() <= FEW {
                self.list.append(&mut bucket);
                self.buckets[first] = bucket;
                self.list.sort_unstable_by_key(|&(key, _)| std::cmp::Reverse(key));
                self.boundary = if self.stored == 0 { NEVER } else { self.list[0].0 };
                break;
            }
            self.base = bucket.iter().map(|&(key, _)| time(key).0).min().unwrap_or(self.base);
            bucket.drain(..).for_each(|(key, event)| self.store(key, event));
            self.buckets[first] = bucket;
        }
        self.list.last().map_or(NEVER, |&(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};
    use std::collections::BTreeSet;

    /// Pops and inserts as a run does, never before the last event that was taken out, against a sorted set.
    fn agrees_with_a_set(seed: u64, most: usize, delay: impl Fn(&mut Rng) -> u64) {
        let mut rng = Rng::stream(seed, "pending", 0);
        let (mut pending, mut set) = (Pending::new(), BTreeSet::new());
        let mut now = 0;
        for order in 0..40_000_u32 {
            // More and more events, then fewer and fewer.
            let grows = (order / 4000).is_multiple_of(2) && set.len() < most;
            if set.is_empty() || rng.below(4) < if grows { 3 } else { 1 } {
                let at = now + delay(&mut rng);
                let key = Key::from(at) << 64 | Key::from(order);
                pending.insert(key, Event::Return(order));
                set.insert((key, order));
            } else {
                let (key, number) = set.pop_first().unwrap();
                let next = set.first().map_or(NEVER, |&(key, _)| key);
                assert_eq!(pending.pop(), (Some(Event::Return(number)), next));
                now = time(key).0;
            }
            assert_eq!(pending.len(), set.len());
        }
    }

    #[test]
    fn events_come_in_the_order_of_their_keys() {
        for seed in 0..20 {
            agrees_with_a_set(seed, 30, |rng| rng.below(100));
            agrees_with_a_set(seed, 10_000, |rng| 1 << rng.below(30));
            // Many at one time, and many soon after a long pause.
            agrees_with_a_set(seed, 10_000, |rng| [0, 1, 3, 1_000_000][rng.below(4) as usize]);
        }
    }

    /// After a pause, more events come soon than the list takes, all earlier than those in the buckets and than their base.
    #[test]
    fn events_before_the_base_move_it() {
        let mut pending = Pending::new();
        let key = |at: u64| Key::from(at) << 64;
        (0..300).for_each(|i| pending.insert(key(1_000_000 + 1000 * i), Event::Arrival));
        let mut next = key(1_000_000);
        let mut now = 0;
        while pending.base <= now {
            now = time(next).0;
            next = pending.pop().1;
        }
        let base = pending.base;
        (1..=100).for_each(|i| pending.insert(key(now + i), Event::Arrival));
        assert!(pending.base < base, "{} is not below {base}", pending.base);
        for i in 2..=100 {
            assert_eq!(pending.pop().1, key(now + i));
        }
        let mut last = 0;
        while pending.len() > 0 {
            let next = time(pending.pop().1).0;
            assert!(next > last, "{next} after {last}");
            last = next;
        }
    }
}
