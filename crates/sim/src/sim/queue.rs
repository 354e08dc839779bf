//! The event queue: ordered by time; ties in the order in which they were scheduled.
//!
//! Three structures share one order. *Lanes* are FIFO queues for constant delays (timeouts, fixed network hops), where
//! appending costs almost nothing. The *arrival* source has one pending event. All other events go to a 4-ary heap that
//! stores keys and payloads separately, so that a sift touches few cache lines. Most events of the heap are followed at once by
//! another one (a departure by the next), so the root of an event that is taken out is filled by the next event that comes, or
//! when the heap is asked again.

use std::collections::VecDeque;

use super::event::Event;
use evenkeel_core::units::Nanos;

/// Time in the upper half, order of scheduling in the lower: one comparison decides.
pub(super) type Key = u128;

const NEVER: Key = Key::MAX;

/// Orders below this are those of [`Queue::push_first`].
const FIRST: u64 = 1 << 32;

/// A queue for one constant delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane(usize);

/// The event queue; see the module's documentation.
pub(super) struct Queue {
    keys: Vec<Key>,
    events: Vec<Event>,
    /// Whether the root's event has been taken out.
    rootless: bool,
    lanes: Vec<VecDeque<(Key, Event)>>,
    /// Key at the head of each lane, `NEVER` for an empty one.
    heads: Vec<Key>,
    arrival: Key,
    scheduled: u64,
    /// Number of events that come first at their time.
    firsts: u64,
}

impl Queue {
    pub(super) fn new() -> Queue {
        Queue {
            keys: Vec::new(),
            events: Vec::new(),
            rootless: false,
            lanes: Vec::new(),
            heads: Vec::new(),
            arrival: NEVER,
            scheduled: FIRST,
            firsts: 0,
        }
    }

    /// Adds a lane. The times pushed to it must not decrease.
    pub(super) fn lane(&mut self) -> Lane {
        self.lanes.push(VecDeque::new());
        self.heads.push(NEVER);
        Lane(self.lanes.len() - 1)
    }

    /// Number of scheduled events, without the arrival.
    pub(super) fn len(&self) -> usize {
        self.keys.len() - usize::from(self.rootless) + self.lanes.iter().map(VecDeque::len).sum::<usize>()
    }

    fn key(&mut self, at: Nanos) -> Key {
        self.scheduled += 1;
        (Key::from(at.0) << 64) | Key::from(self.scheduled)
    }

    /// Sets the one pending arrival.
    #[inline]
    pub(super) fn set_arrival(&mut self, at: Nanos) {
        self.arrival = self.key(at);
    }

    /// Removes the pending arrival, if there is one.
    pub(super) fn clear_arrival(&mut self) {
        self.arrival = NEVER;
    }

    /// Bound of the events before this time, for [`Queue::pop_before`].
    pub(super) fn before(at: Nanos) -> Key {
        Key::from(at.0) << 64
    }

    /// Bound of the events before this time and of those that [`Queue::push_first`] scheduled for it.
    pub(super) fn with_firsts(at: Nanos) -> Key {
        Queue::before(at) | Key::from(FIRST)
    }

    /// Time of the next event, and the bound of this one alone; `None` without one.
    pub(super) fn next(&mut self) -> Option<(Nanos, Key)> {
        self.settle();
        let heads = self.heads.iter().chain(self.keys.first());
        let least = heads.fold(self.arrival, |least, &key| least.min(key));
        (least != NEVER).then(|| (time(least), least + 1))
    }

    /// Schedules an event that comes before every other one at its time, except for earlier ones of this kind.
    pub(super) fn push_first(&mut self, at: Nanos, event: Event) {
        self.firsts += 1;
        debug_assert!(self.firsts < FIRST, "more faults and acts than there are places");
        self.insert(Queue::before(at) | Key::from(self.firsts), event);
    }

    #[inline]
    pub(super) fn push_lane(&mut self, lane: Lane, at: Nanos, event: Event) {
        let key = self.key(at);
        let queue = &mut self.lanes[lane.0];
        debug_assert!(queue.back().is_none_or(|&(last, _)| last < key), "a lane's times must not fall");
        if queue.is_empty() {
            self.heads[lane.0] = key;
        }
        queue.push_back((key, event));
    }

    #[inline]
    pub(super) fn push(&mut self, at: Nanos, event: Event) {
        let key = self.key(at);
        self.insert(key, event);
    }

    #[inline]
    fn insert(&mut self, key: Key, event: Event) {
        if self.rootless {
            self.rootless = false;
            return self.sift_down(key, event);
        }
        let mut hole = self.keys.len();
        self.keys.push(key);
        self.events.push(event);
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

    /// The next event before `bound`, and its time.
    #[inline]
    pub(super) fn pop_before(&mut self, bound: Key) -> Option<(Nanos, Event)> {
        self.settle();
        let mut least = self.keys.first().copied().unwrap_or(NEVER);
        let mut lane = None;
        for (i, &head) in self.heads.iter().enumerate() {
            if head < least {
                (least, lane) = (head, Some(i));
            }
        }
        if self.arrival < least {
            if self.arrival >= bound {
                return None;
            }
            let key = std::mem::replace(&mut self.arrival, NEVER);
            return Some((time(key), Event::Arrival));
        }
        if least >= bound {
            return None;
        }
        let event = match lane {
            Some(i) => {
                let (_, event) = self.lanes[i].pop_front()?;
                self.heads[i] = self.lanes[i].front().map_or(NEVER, |&(key, _)| key);
                event
            }
            None => {
                self.rootless = true;
                self.events[0]
            }
        };
        Some((time(least), event))
    }

    /// Fills the root if its event has been taken out.
    #[inline(always)]
    fn settle(&mut self) {
        if self.rootless {
            self.close();
        }
    }

    fn close(&mut self) {
        self.rootless = false;
        if let (Some(key), Some(event)) = (self.keys.pop(), self.events.pop())
            && !self.keys.is_empty()
        {
            self.sift_down(key, event);
        }
    }

    /// Puts an event below the root, which is free.
    fn sift_down(&mut self, key: Key, event: Event) {
        let (keys, events) = (&mut self.keys[..], &mut self.events[..]);
        let mut hole = 0;
        loop {
            let first = 4 * hole + 1;
            let (child, child_key) = if let Some(&[a, b, c, d]) = keys.get(first..).and_then(|keys| keys.first_chunk())
            {
                let (left, left_key) = if b < a { (first + 1, b) } else { (first, a) };
                let (right, right_key) = if d < c { (first + 3, d) } else { (first + 2, c) };
                if right_key < left_key { (right, right_key) } else { (left, left_key) }
            } else {
                let last = keys.iter().copied().enumerate().skip(first);
                match last.reduce(|least, child| if child.1 < least.1 { child } else { least }) {
                    Some(child) => child,
                    None => break,
                }
            };
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

fn time(key: Key) -> Nanos {
    Nanos((key >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};

    /// A simple reference implementation: a list, searched for the smallest (time, order).
    #[test]
    fn agrees_with_a_sorted_list() {
        let mut rng = Rng::stream(1, "test", 0);
        let mut queue = Queue::new();
        let lanes = [queue.lane(), queue.lane()];
        let delays = [5, 40];
        let mut list: Vec<(u64, u64, Event)> = Vec::new();
        let (mut now, mut order, mut arrival_pending) = (0, 0, false);
        for step in 0..20_000_u32 {
            let pops = if step < 15_000 { rng.below(3) == 0 } else { true };
            order += 1;
            if !pops {
                let event = Event::Return(step);
                match rng.below(4) {
                    0 if !arrival_pending => {
                        let at = now + rng.below(50);
                        queue.set_arrival(Nanos(at));
                        list.push((at, order, Event::Arrival));
                        arrival_pending = true;
                    }
                    lane @ (1 | 2) => {
                        let at = now + delays[lane as usize - 1];
                        queue.push_lane(lanes[lane as usize - 1], Nanos(at), event);
                        list.push((at, order, event));
                    }
                    _ => {
                        let at = now + rng.below(30);
                        queue.push(Nanos(at), event);
                        list.push((at, order, event));
                    }
                }
                continue;
            }
            let expected = (0..list.len()).min_by_key(|&i| (list[i].0, list[i].1)).map(|i| list.swap_remove(i));
            let got = queue.pop_before(NEVER);
            assert_eq!(got, expected.map(|(at, _, event)| (Nanos(at), event)));
            if let Some((at, event)) = got {
                now = at.0;
                arrival_pending &= event != Event::Arrival;
            }
        }
    }
}
