//! Events in no particular order, by key: the next ones sorted, the others in a 4-ary heap.
//!
//! Most runs have few events pending, one for each busy slot and some timers. While there are few, all are in one sorted list,
//! the next one last, so that taking it out is free and a new one passes the few that come before it. When the list is full, its
//! latest event goes to the heap, and what comes later than the heap's root follows it there. Every event of the list comes
//! before those of the heap.
//!
//! The heap stores keys and payloads separately, so that a sift touches few cache lines, and is filled up with keys that never
//! come, so that every node has no child or four. Most of its events are followed at once by another one (a departure by the
//! next), so the root of an event that is taken out is filled by the next event that comes, or when the heap is asked again.

use super::{Event, Key, NEVER};

/// Length of the sorted list at most.
const MOST: usize = 48;
/// When the list is empty and the heap has no more events than this, they move to the list.
const FEW: usize = 32;

/// The events; see the module's documentation.
pub(super) struct Pending {
    /// Sorted, the next one last.
    list: Vec<(Key, Event)>,
    keys: Vec<Key>,
    events: Vec<Event>,
    /// Number of events in the heap, with the root's if it has been taken out.
    heaped: usize,
    /// Whether the root's event has been taken out. The list is empty then.
    rootless: bool,
}

impl Pending {
    pub(super) fn new() -> Pending {
        Pending {
            list: Vec::with_capacity(MOST),
            keys: vec![NEVER],
            events: vec![Event::Arrival],
            heaped: 0,
            rootless: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len() + self.heaped - usize::from(self.rootless)
    }

    /// Key of the next event; `NEVER` without one.
    #[inline(always)]
    pub(super) fn next(&self) -> Key {
        debug_assert!(!self.rootless, "the root has been taken out");
        match self.list.last() {
            Some(&(key, _)) => key,
            None => self.keys[0],
        }
    }

    /// Takes the next event out. The next one is known once [`Pending::settle`] has been called.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Event {
        match self.list.pop() {
            Some((_, event)) => event,
            None => {
                self.rootless = true;
                self.events[0]
            }
        }
    }

    /// Whether the root's event has been taken out, and [`Pending::settle`] is to be called before [`Pending::next`].
    #[inline(always)]
    pub(super) fn is_rootless(&self) -> bool {
        self.rootless
    }

    /// Inserts an event after the root's has been taken out.
    #[inline(never)]
    pub(super) fn fill_root(&mut self, key: Key, event: Event) {
        if self.heaped > FEW {
            self.rootless = false;
            return self.sift_down(key, event);
        }
        self.settle();
        self.insert(key, event);
    }

    /// Inserts an event, while the heap has its root.
    #[inline]
    pub(super) fn insert(&mut self, key: Key, event: Event) {
        debug_assert!(!self.rootless, "the root has been taken out");
        if key > self.keys[0] {
            return self.sift_up(key, event);
        }
        if self.list.len() == MOST {
            let (last, latest) = self.list.remove(0);
            self.sift_up(last, latest);
            if key > last {
                return self.sift_up(key, event);
            }
        }
        self.list.push((key, event));
        if let Some((mut hole, before)) = self.list.split_last_mut() {
            for place in before.iter_mut().rev().take_while(|place| place.0 < key) {
                *hole = *place;
                hole = place;
            }
            *hole = (key, event);
        }
    }

    /// Fills the root after its event has been taken out, or moves what the heap has to the list.
    #[inline(never)]
    pub(super) fn settle(&mut self) {
        self.rootless = false;
        self.heaped -= 1;
        let last = self.heaped;
        let (key, event) = (std::mem::replace(&mut self.keys[last], NEVER), self.events[last]);
        if last > FEW {
            return self.sift_down(key, event);
        }
        if last > 0 {
            (self.keys[0], self.events[0]) = (key, event);
        }
        let heap = self.keys[..last].iter_mut().zip(&self.events);
        self.list.extend(heap.map(|(key, &event)| (std::mem::replace(key, NEVER), event)));
        self.list.sort_unstable_by_key(|&(key, _)| std::cmp::Reverse(key));
        self.heaped = 0;
    }

    fn sift_up(&mut self, key: Key, event: Event) {
        let mut hole = self.heaped;
        self.heaped += 1;
        if self.heaped > self.keys.len() {
            self.keys.resize(self.keys.len() + 4, NEVER);
            self.events.resize(self.keys.len(), Event::Arrival);
        }
        while hole > 0 {
            let parent = (hole - 1) / 4;
            if self.keys[parent] <= key {
                break;
            }
            self.keys[hole] = self.keys[parent];
            self.events[hole] = self.events[parent];
            hole = parent;
        }
        self.keys[hole] = key;
        self.events[hole] = event;
    }

    /// Puts an event below the root, which is free.
    fn sift_down(&mut self, key: Key, event: Event) {
        let (keys, events) = (&mut self.keys[..], &mut self.events[..]);
        let mut hole = 0;
        while let Some(&[a, b, c, d]) = keys.get(4 * hole + 1..).and_then(|keys| keys.first_chunk()) {
            let first = 4 * hole + 1;
            let (left, left_key) = if b < a { (first + 1, b) } else { (first, a) };
            let (right, right_key) = if d < c { (first + 3, d) } else { (first + 2, c) };
            let (child, child_key) = if right_key < left_key { (right, right_key) } else { (left, left_key) };
            if child_key >= key {
                break;
            }
            keys[hole] = child_key;
            events[hole] = events[child];
            hole = child;
        }
        keys[hole] = key;
        events[hole] = event;
    }
}
