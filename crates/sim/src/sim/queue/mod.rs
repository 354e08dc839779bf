//! The event queue: ordered by time; ties in the order in which they were scheduled.
//!
//! Four structures share one order. The *arrival* source has one pending event. *Lanes* are FIFO queues for constant delays
//! (fixed network hops), where appending costs almost nothing. *Deadlines* are FIFO queues for timeouts of one length, most of
//! which have no effect when their time comes: only the first one of each is scheduled, and those behind it that are known to
//! have no effect by then are dropped. *Answers* on their way to clients are a lane of their own, which its user may empty at
//! the moments at which it matters, instead of one event after the other. All other events are in [`Pending`].

mod pending;

use std::collections::VecDeque;

use super::event::Event;
use evenkeel_core::units::Nanos;
use pending::Pending;

/// Time in the upper half, order of scheduling in the lower: one comparison decides.
pub(super) type Key = u128;

const NEVER: Key = Key::MAX;

/// Orders below this are those of [`Queue::push_first`].
const FIRST: u64 = 1 << 32;

/// The sources of events: the arrival, what is pending, and after them the lanes.
const ARRIVAL: usize = 0;
const PENDING: usize = 1;
const LANES: usize = 2;
const ANSWERS: usize = 7;
const SOURCES: usize = 8;

/// A queue for one constant delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane(u8);

/// A queue for timeouts of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadlines(pub(super) u32);

/// The event queue; see the module's documentation.
pub(super) struct Queue {
    pending: Pending,
    /// Key of the next event of each source; `NEVER` without one.
    heads: [Key; SOURCES],
    answers: VecDeque<(Key, u32)>,
    /// Whether answers are events.
    answers_come: bool,
    /// Number of sources to compare: 2, 4 or all.
    sources: usize,
    lanes: Vec<VecDeque<(Key, Event)>>,
    deadlines: Vec<VecDeque<(Key, Event)>>,
    scheduled: u64,
    /// Number of events that come first at their time.
    firsts: u64,
}

impl Queue {
    pub(super) fn new() -> Queue {
        Queue {
            pending: Pending::new(),
            heads: [NEVER; SOURCES],
            answers: VecDeque::new(),
            answers_come: false,
            sources: 2,
            lanes: Vec::new(),
            deadlines: Vec::new(),
            scheduled: FIRST,
            firsts: 0,
        }
    }

    /// Adds a lane. The times pushed to it must not decrease.
    ///
    /// # Panics
    /// With more lanes than there are sources.
    pub(super) fn lane(&mut self) -> Lane {
        self.lanes.push(VecDeque::new());
        assert!(LANES + self.lanes.len() <= ANSWERS, "more lanes than sources");
        self.sources = self.sources.max(if LANES + self.lanes.len() > 4 { SOURCES } else { 4 });
        Lane(self.lanes.len() as u8 - 1)
    }

    /// Adds a queue of deadlines. The times pushed to it must not decrease.
    pub(super) fn deadlines(&mut self) -> Deadlines {
        self.deadlines.push(VecDeque::new());
        Deadlines(self.deadlines.len() as u32 - 1)
    }

    /// Number of scheduled events, without the arrival.
    pub(super) fn len(&self) -> usize {
        let queued = self.lanes.iter().map(VecDeque::len).sum::<usize>();
        // The first of each queue of deadlines is pending.
        let behind = self.deadlines.iter().map(|queue| queue.len().saturating_sub(1)).sum::<usize>();
        self.pending.len() + queued + behind + self.answers.len()
    }

    #[inline(always)]
    fn key(&mut self, at: Nanos) -> Key {
        self.scheduled += 1;
        (Key::from(at.0) << 64) | Key::from(self.scheduled)
    }

    /// Sets the one pending arrival.
    #[inline]
    pub(super) fn set_arrival(&mut self, at: Nanos) {
        self.heads[ARRIVAL] = self.key(at);
    }

    /// Removes the pending arrival, if there is one.
    pub(super) fn clear_arrival(&mut self) {
        self.heads[ARRIVAL] = NEVER;
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
    pub(super) fn next(&self) -> Option<(Nanos, Key)> {
        let (least, _) = self.least();
        let least = self.answers.front().map_or(least, |&(key, _)| key.min(least));
        (least != NEVER).then(|| (time(least), least + 1))
    }

    /// From now on answers are events like any other.
    pub(super) fn let_answers_come(&mut self) {
        (self.answers_come, self.sources) = (true, SOURCES);
        let next = self.answers.front().map_or(NEVER, |&(key, _)| key);
        self.heads[ANSWERS] = next;
    }

    /// An answer is on its way to the client of this job; the times must not fall. It comes as [`Event::AtClient`] where
    /// answers do ([`Queue::let_answers_come`]), else when it is asked for.
    #[inline]
    pub(super) fn push_answer(&mut self, at: Nanos, job: u32) {
        let key = self.key(at);
        debug_assert!(self.answers.back().is_none_or(|&(last, _)| last < key), "answers' times must not fall");
        if self.answers_come && self.answers.is_empty() {
            self.heads[ANSWERS] = key;
        }
        self.answers.push_back((key, job));
    }

    /// Whether an answer arrives before `bound` that is to be asked for.
    #[inline(always)]
    pub(super) fn has_answer(&self, bound: Key) -> bool {
        !self.answers_come && self.answers.front().is_some_and(|&(key, _)| key < bound)
    }

    /// Takes the first answer.
    #[inline]
    pub(super) fn pop_answer(&mut self) -> Option<(Nanos, u32)> {
        self.answers.pop_front().map(|(key, job)| (time(key), job))
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
        let queue = &mut self.lanes[usize::from(lane.0)];
        debug_assert!(queue.back().is_none_or(|&(last, _)| last < key), "a lane's times must not fall");
        let first = queue.is_empty();
        queue.push_back((key, event));
        if first {
            self.heads[(LANES + usize::from(lane.0)) % SOURCES] = key;
        }
    }

    /// Schedules a deadline. When the first one of its queue is due, [`Event::Deadline`] comes, and
    /// [`Queue::take_deadline`] gives it.
    #[inline]
    pub(super) fn push_deadline(&mut self, deadlines: Deadlines, at: Nanos, event: Event) {
        let key = self.key(at);
        let queue = &mut self.deadlines[deadlines.0 as usize];
        debug_assert!(queue.back().is_none_or(|&(last, _)| last < key), "deadlines must not fall");
        let first = queue.is_empty();
        queue.push_back((key, event));
        if first {
            self.insert(key, Event::Deadline(deadlines.0));
        }
    }

    /// The deadline that is due. Those behind it that have no effect any more are dropped.
    pub(super) fn take_deadline(&mut self, deadlines: Deadlines, is_over: impl Fn(Event) -> bool) -> Option<Event> {
        let queue = &mut self.deadlines[deadlines.0 as usize];
        let (_, due) = queue.pop_front()?;
        while queue.front().is_some_and(|&(_, event)| is_over(event)) {
            queue.pop_front();
        }
        if let Some(&(key, _)) = queue.front() {
            self.insert(key, Event::Deadline(deadlines.0));
        }
        Some(due)
    }

    #[inline]
    pub(super) fn push(&mut self, at: Nanos, event: Event) {
        let key = self.key(at);
        self.insert(key, event);
    }

    #[inline]
    fn insert(&mut self, key: Key, event: Event) {
        self.pending.insert(key, event);
        self.heads[PENDING] = self.heads[PENDING].min(key);
    }

    /// The key of the next event, and its source.
    #[inline(always)]
    fn least(&self) -> (Key, usize) {
        let [a, b, c, d, further @ ..] = &self.heads;
        let (mut least, mut source) = if b < a { (*b, 1) } else { (*a, 0) };
        if self.sources == 2 {
            return (least, source);
        }
        let (right, second) = if d < c { (*d, 3) } else { (*c, 2) };
        if right < least {
            (least, source) = (right, second);
        }
        if self.sources == SOURCES {
            for (i, &head) in further.iter().enumerate() {
                if head < least {
                    (least, source) = (head, 4 + i);
                }
            }
        }
        (least, source)
    }

    /// The next event before `bound`, and its key.
    #[inline(always)]
    pub(super) fn pop_before(&mut self, bound: Key) -> Option<(Key, Event)> {
        let (key, source) = self.least();
        if key >= bound {
            return None;
        }
        let event = match source {
            ARRIVAL => {
                self.heads[ARRIVAL] = NEVER;
                Event::Arrival
            }
            PENDING => {
                let (event, next) = self.pending.pop();
                self.heads[PENDING] = next;
                event?
            }
            ANSWERS => {
                let (_, job) = self.answers.pop_front()?;
                let next = self.answers.front().map_or(NEVER, |&(key, _)| key);
                self.heads[ANSWERS] = next;
                Event::AtClient(job)
            }
            lane => {
                let queue = &mut self.lanes[lane - LANES];
                let (_, event) = queue.pop_front()?;
                let next = queue.front().map_or(NEVER, |&(key, _)| key);
                self.heads[lane] = next;
                event
            }
        };
        Some((key, event))
    }
}

/// The time of a key.
#[inline(always)]
pub(super) fn time(key: Key) -> Nanos {
    Nanos((key >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};

    const HOPS: [u64; 5] = [5, 40, 7, 40, 90];
    const LIMITS: [u64; 2] = [100, 37];

    /// Of the deadlines, every third has an effect when it is due.
    fn is_over(event: Event) -> bool {
        matches!(event, Event::Timeout(step, _) if step % 3 != 0)
    }

    /// A queue, and a simple reference implementation: a list, searched for the smallest (time, order).
    struct Pair {
        queue: Queue,
        lanes: [Lane; HOPS.len()],
        deadlines: [Deadlines; LIMITS.len()],
        list: Vec<(u64, u32, Event)>,
        now: u64,
        arrives: bool,
        dropped: u32,
    }

    impl Pair {
        fn new() -> Pair {
            let mut queue = Queue::new();
            let (lanes, deadlines) = (HOPS.map(|_| queue.lane()), LIMITS.map(|_| queue.deadlines()));
            Pair { queue, lanes, deadlines, list: Vec::new(), now: 0, arrives: false, dropped: 0 }
        }

        /// Schedules an event of some kind; its number is its order.
        fn push(&mut self, number: u32, rng: &mut Rng) {
            let (now, queue) = (self.now, &mut self.queue);
            let later = |delay: u64| Nanos(now + delay);
            let (at, event) = match rng.below(10) as usize {
                0 if !self.arrives => {
                    let at = later(rng.below(50));
                    queue.set_arrival(at);
                    self.arrives = true;
                    (at, Event::Arrival)
                }
                lane @ 1..=5 => {
                    let (at, event) = (later(HOPS[lane - 1]), Event::Return(number));
                    queue.push_lane(self.lanes[lane - 1], at, event);
                    (at, event)
                }
                6 => {
                    queue.push_answer(later(13), number);
                    (later(13), Event::AtClient(number))
                }
                which @ 7..=8 => {
                    let (at, event) = (later(LIMITS[which - 7]), Event::Timeout(number, 0));
                    queue.push_deadline(self.deadlines[which - 7], at, event);
                    (at, event)
                }
                _ => {
                    let (at, event) = (later(rng.below(30)), Event::Return(number));
                    queue.push(at, event);
                    (at, event)
                }
            };
            self.list.push((at.0, number, event));
        }

        /// The next event of the queue: an answer that comes before all else if it is asked for.
        fn pop(&mut self) -> Option<(Nanos, Event)> {
            let bound = self.queue.next().map_or(0, |(_, bound)| bound);
            if self.queue.has_answer(bound) {
                return self.queue.pop_answer().map(|(at, job)| (at, Event::AtClient(job)));
            }
            match self.queue.pop_before(NEVER)? {
                (key, Event::Deadline(which)) => {
                    Some((time(key), self.queue.take_deadline(Deadlines(which), is_over)?))
                }
                (key, event) => Some((time(key), event)),
            }
        }

        /// Takes the next event out of both. Those without effect are dropped, unless they are the first of their queue when they
        /// are due.
        fn agree(&mut self) {
            let got = self.pop();
            let expected = loop {
                let list = &mut self.list;
                let next = (0..list.len()).min_by_key(|&i| (list[i].0, list[i].1)).map(|i| list.swap_remove(i));
                match next {
                    Some((at, _, event)) if is_over(event) && got != Some((Nanos(at), event)) => self.dropped += 1,
                    next => break next,
                }
            };
            assert_eq!(got, expected.map(|(at, _, event)| (Nanos(at), event)));
            if let Some((at, event)) = got {
                self.now = at.0;
                self.arrives &= event != Event::Arrival;
            }
        }
    }

    #[test]
    fn agrees_with_a_sorted_list() {
        let mut rng = Rng::stream(1, "test", 0);
        let mut pair = Pair::new();
        for step in 0..60_000_u32 {
            // Sometimes more and more events, sometimes few.
            let pops = match step % 10_000 {
                _ if step >= 57_000 => true,
                0..3_000 => rng.below(3) == 0,
                3_000..5_000 => rng.below(2) == 0,
                _ => rng.below(3) > 0,
            };
            if step == 30_000 {
                pair.queue.let_answers_come();
            }
            if pops { pair.agree() } else { pair.push(step, &mut rng) }
        }
        assert!(pair.dropped > 1000, "{} deadlines were dropped", pair.dropped);
        assert_eq!(pair.queue.len(), 0);
    }
}
