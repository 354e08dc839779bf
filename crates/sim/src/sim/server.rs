//! A server at work: its queue, its slots or its shared processor, its cache, and what it tells of itself.
//!
//! First come, first served keeps a linked queue through the jobs and one pending departure per busy slot. Processor
//! sharing runs in *virtual time*: V grows by speed/n per nanosecond while n share, a job that brings D of work leaves when
//! V has grown by D, so an arrival changes nobody's virtual finish. A slow obvious version is its oracle in the tests.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::cache::Cache;
use super::model::{Discipline, FaultKind, MOST_SLOWDOWN, Server};
use evenkeel_core::select::{LoadReport, ReportSource};
use evenkeel_core::units::Nanos;

/// No job.
pub const NONE: u32 = u32::MAX;

/// What faults make of a server at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    pub up: bool,
    pub silent: bool,
    pub slowdown: f64,
    pub error_ratio: f64,
    pub error_latency: Nanos,
    pub fails_checks: bool,
}

impl Condition {
    pub const GOOD: Condition = Condition {
        up: true,
        silent: false,
        slowdown: 1.0,
        error_ratio: 0.0,
        error_latency: Nanos::ZERO,
        fails_checks: false,
    };

    /// What these faults together make of a server.
    pub fn under(faults: impl Iterator<Item = FaultKind>) -> Condition {
        let mut condition = Condition::GOOD;
        for kind in faults {
            match kind {
                FaultKind::Crash { silent } => (condition.up, condition.silent) = (false, silent),
                FaultKind::Slow { factor } => {
                    condition.slowdown = (condition.slowdown * factor).clamp(1.0 / MOST_SLOWDOWN, MOST_SLOWDOWN);
                }
                FaultKind::Errors { ratio, latency, fails_checks } => {
                    (condition.error_ratio, condition.error_latency, condition.fails_checks) =
                        (ratio, latency, fails_checks);
                }
                FaultKind::Drain => {}
            }
        }
        condition
    }
}

/// See the module's text.
pub struct ServerState {
    pub discipline: Discipline,
    pub concurrency: u32,
    pub queue_limit: u32,
    speed: f64,
    pub condition: Condition,
    pub cache: Option<Cache>,
    pub hit_cost: f64,
    /// The share of its load that it tells of to who asks for a request that its cache has.
    pub reported_load: f64,

    pub in_service: u32,
    /// Queue: first and last job; the links are in the jobs.
    pub head: u32,
    pub tail: u32,
    pub queued: u32,
    /// Work that is in the queue or on its way here, at speed 1.
    pub coming_work: u128,
    /// Requests that are on their way here.
    pub coming: u32,
    /// Work of answering probes that the next request to be started pays for.
    pub owed: Nanos,
    /// Sum of the times at which the jobs in service end.
    pub sum_of_ends: u128,
    pub shared: Shared,

    totals: Totals,
    /// Where reports of the last half second to second begin, and where the next ones will.
    older: Totals,
    newer: Totals,
    /// Made when somebody first asks.
    latencies: Option<Box<Latencies>>,
    /// Measured requests that were sent here.
    pub picks: u64,
    /// Requests that found it dead: it never heard of them, so its reports know nothing.
    pub unheard: u64,
}

/// How a server's totals stood at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    totals: Totals,
    picks: u64,
    unheard: u64,
}

impl Snapshot {
    pub fn is_later_than(&self, other: &Snapshot) -> bool {
        self.totals.at > other.totals.at
    }
}

/// Running totals; differences of two of them describe a window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    at: Nanos,
    /// Integral of the busy slots, slot-nanoseconds (for processor sharing: nanoseconds with anybody in it).
    busy: u128,
    /// Integral of the number of requests here, in service or waiting.
    number: u128,
    entered: u64,
    left: u64,
    /// Sum of the times here of those that left.
    residence: u128,
    answers: u64,
    errors: u64,
    hits: u64,
    misses: u64,
}

impl ServerState {
    pub fn new(spec: &Server) -> ServerState {
        ServerState {
            discipline: spec.discipline,
            concurrency: spec.concurrency,
            queue_limit: spec.queue_limit.unwrap_or(u32::MAX),
            speed: spec.speed,
            condition: Condition::GOOD,
            cache: spec.cache.map(|cache| Cache::new(cache.capacity, cache.ttl)),
            hit_cost: spec.cache.map_or(1.0, |cache| cache.hit_cost),
            reported_load: spec.cache.map_or(1.0, |cache| cache.reported_load),
            in_service: 0,
            head: NONE,
            tail: NONE,
            queued: 0,
            coming_work: 0,
            coming: 0,
            owed: Nanos::ZERO,
            sum_of_ends: 0,
            shared: Shared::default(),
            totals: Totals::default(),
            older: Totals::default(),
            newer: Totals::default(),
            latencies: None,
            picks: 0,
            unheard: 0,
        }
    }

    /// Work per nanosecond at present.
    #[inline]
    pub fn rate(&self) -> f64 {
        self.speed / self.condition.slowdown
    }

    /// How long this much work takes one slot.
    #[inline]
    pub fn span(&self, work: Nanos) -> Nanos {
        let rate = self.rate();
        if rate == 1.0 { work } else { Nanos::from_nanos_f64(work.0 as f64 / rate) }
    }

    /// Brings the integrals up to now; call before any change of counts.
    #[inline]
    pub fn touch(&mut self, now: Nanos) {
        let span = u128::from(now.0 - self.totals.at.0);
        let busy = match self.discipline {
            Discipline::Fcfs => self.in_service,
            Discipline::Ps => self.in_service.min(1),
        };
        self.totals.busy += u128::from(busy) * span;
        self.totals.number += u128::from(self.in_service + self.queued) * span;
        self.totals.at = now;
    }

    /// One has come; how many it finds here.
    pub fn entered(&mut self) -> u32 {
        self.totals.entered += 1;
        self.in_service + self.queued
    }

    /// Notes how long one was here that has been answered well, for reports; it had found so many others.
    #[inline]
    pub fn note(&mut self, now: Nanos, took: Nanos, found: u32) {
        if let Some(latencies) = &mut self.latencies {
            latencies.note(now, took, found);
        }
    }

    pub fn left(&mut self, after: Nanos) {
        self.totals.left += 1;
        self.totals.residence += u128::from(after.0);
    }

    pub fn answered(&mut self) {
        self.totals.answers += 1;
    }

    pub fn failed(&mut self) {
        self.totals.answers += 1;
        self.totals.errors += 1;
    }

    /// Whether the key is in the cache; counts the look-up. `None` without a cache.
    pub fn look_up(&mut self, key: u64, now: Nanos) -> Option<bool> {
        let hit = self.cache.as_mut()?.get(key, now);
        if hit {
            self.totals.hits += 1;
        } else {
            self.totals.misses += 1;
        }
        Some(hit)
    }

    /// Time until it would be idle if nothing more came.
    pub fn remaining_work(&self, now: Nanos) -> Nanos {
        let coming = self.coming_work as f64;
        let nanos = match self.discipline {
            Discipline::Fcfs => {
                // Saturating: a slot that waits for a second tier has no known end.
                let in_service = self.sum_of_ends.saturating_sub(u128::from(self.in_service) * u128::from(now.0));
                (in_service as f64 + coming / self.rate()) / f64::from(self.concurrency)
            }
            Discipline::Ps => (coming + self.shared.remaining(now, self.rate())) / self.rate(),
        };
        Nanos::from_nanos_f64(nanos)
    }

    /// What it says of the window since `since`, which is moved up to now.
    pub fn report(&mut self, now: Nanos, since: &mut Totals) -> LoadReport {
        self.touch(now);
        let latency = self.latencies.as_ref().map_or(0.0, |all| all.at(now, self.in_service + self.queued));
        let old = std::mem::replace(since, self.totals);
        let seconds = (now - old.at).as_secs_f64();
        if seconds <= 0.0 {
            return LoadReport { in_server: Some(self.in_service + self.queued), latency, ..LoadReport::default() };
        }
        let answers = self.totals.answers - old.answers;
        let left = self.totals.left - old.left;
        LoadReport {
            window: seconds,
            throughput: answers as f64 / seconds,
            response_time: per(self.totals.residence - old.residence, left) / 1e9,
            utilisation: (self.totals.busy - old.busy) as f64 / 1e9 / seconds / f64::from(self.slots()),
            errors: per((self.totals.errors - old.errors).into(), answers),
            in_server: Some(self.in_service + self.queued),
            latency,
            by: ReportSource::Answer,
        }
    }

    /// What it says of the last half second to second, to whoever asks: what answers and probes carry. To who asks for the
    /// sake of a request whose answer its cache has (the key) it may make less of its load.
    pub fn fresh_report(&mut self, now: Nanos, key: Option<u64>) -> LoadReport {
        /// Reports look back at least this far, once the server has been there so long, and at most twice as far.
        const WINDOW: Nanos = Nanos::from_millis(500);
        self.latencies.get_or_insert_default();
        let mut totals = self.older;
        let report = self.report(now, &mut totals);
        if now - self.newer.at >= WINDOW {
            self.older = self.newer;
            self.newer = totals;
        }
        match (key, &self.cache) {
            (Some(key), Some(cache)) if cache.has(key, now) => LoadReport {
                in_server: report.in_server.map(|number| (f64::from(number) * self.reported_load).round() as u32),
                response_time: report.response_time * self.reported_load,
                latency: report.latency * self.reported_load,
                ..report
            },
            _ => report,
        }
    }

    fn slots(&self) -> u32 {
        match self.discipline {
            Discipline::Fcfs => self.concurrency,
            Discipline::Ps => 1,
        }
    }

    /// A mark from which a window is measured.
    pub fn snapshot(&mut self, now: Nanos) -> Snapshot {
        self.touch(now);
        Snapshot { totals: self.totals, picks: self.picks, unheard: self.unheard }
    }

    /// The window from a mark to now; look-ups from another mark on, since caches warm up by their own clock.
    pub fn measured(&mut self, now: Nanos, from: Snapshot, cache_from: Snapshot) -> super::record::ServerRecord {
        let mut since = from.totals;
        let errors = self.totals.errors - since.errors;
        let (hits, misses) = (self.totals.hits - cache_from.totals.hits, self.totals.misses - cache_from.totals.misses);
        let (number, span) = (since.number, since.at);
        let report = self.report(now, &mut since);
        super::record::ServerRecord {
            picks: self.picks - from.picks,
            errors: errors + self.unheard - from.unheard,
            utilisation: report.utilisation,
            number: per(self.totals.number - number, (now - span).0),
            residence: report.response_time,
            hits,
            misses,
        }
    }

    /// Little's law for this server alone, exact: the integral of the number here is the sum of the times spent here.
    /// `count` are here now, and `ages` is the sum of the times they have been.
    pub fn check_books(&mut self, now: Nanos, count: u64, ages: u128) {
        self.touch(now);
        assert_eq!(self.totals.entered, self.totals.left + count, "a server lost or invented a request");
        assert_eq!(u64::from(self.in_service + self.queued), count, "a server miscounts what is in it");
        assert_eq!(self.totals.number, self.totals.residence + ages, "Little's law fails for a server");
    }
}

fn per(sum: u128, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

/// How long requests took lately, by how many others each found: what Prequal's servers tell. Numbers below 32 have a ring
/// each, larger ones share four to an octave.
#[derive(Debug)]
struct Latencies {
    rings: Vec<Ring>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ring {
    nanos: [u64; Ring::SIZE],
    count: u32,
    at: Nanos,
}

impl Ring {
    const SIZE: usize = 8;
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { rings: vec![Ring::default(); Latencies::ring_of(u32::MAX) + 1] }
    }
}

impl Latencies {
    /// What is older than this says nothing of now.
    const GOOD_FOR: Nanos = Nanos::from_secs(10);

    fn ring_of(found: u32) -> usize {
        if found < 32 {
            return found as usize;
        }
        let octave = found.ilog2();
        (32 + (octave - 5) * 4 + (found >> (octave - 2) & 3)) as usize
    }

    fn note(&mut self, now: Nanos, took: Nanos, found: u32) {
        let ring = &mut self.rings[Latencies::ring_of(found)];
        if now.saturating_sub(ring.at) > Latencies::GOOD_FOR {
            ring.count = 0;
        }
        ring.nanos[ring.count as usize % Ring::SIZE] = took.0;
        ring.count = ring.count.wrapping_add(1).max(1);
        ring.at = now;
    }

    /// The median of those that found this many, or the number next to it of which anything is known; seconds, zero where
    /// nothing is.
    fn at(&self, now: Nanos, number: u32) -> f64 {
        let middle = Latencies::ring_of(number);
        let known = |ring: &&Ring| ring.count > 0 && now.saturating_sub(ring.at) <= Latencies::GOOD_FOR;
        let near = (0..self.rings.len()).find_map(|off| {
            let below = middle.checked_sub(off).and_then(|at| self.rings.get(at)).filter(known);
            below.or_else(|| self.rings.get(middle + off).filter(known))
        });
        let Some(ring) = near else { return 0.0 };
        let mut nanos = ring.nanos;
        let sorted = &mut nanos[..Ring::SIZE.min(ring.count as usize)];
        sorted.sort_unstable();
        Nanos(sorted[sorted.len() / 2]).as_secs_f64()
    }
}

/// The shared processor. See the module's text.
#[derive(Default)]
pub struct Shared {
    /// (virtual finish as ordered bits, job), least first. Finishes are positive, so their bits order as they do.
    jobs: BinaryHeap<Reverse<(u64, u32)>>,
    virtual_now: f64,
    sum_of_finishes: f64,
    at: Nanos,
    /// Which of the departures scheduled for this server is the valid one.
    pub version: u32,
}

impl Shared {
    /// Moves virtual time up to `now`; call before anything else.
    pub fn advance(&mut self, now: Nanos, rate: f64) {
        if !self.jobs.is_empty() {
            self.virtual_now += (now - self.at).0 as f64 * rate / self.jobs.len() as f64;
        }
        self.at = now;
    }

    pub fn add(&mut self, job: u32, work: Nanos) {
        let finish = self.virtual_now + work.0 as f64;
        self.sum_of_finishes += finish;
        self.jobs.push(Reverse((finish.to_bits(), job)));
    }

    /// When the next one is done if nobody comes.
    pub fn next_departure(&self, rate: f64) -> Option<Nanos> {
        let &Reverse((finish, _)) = self.jobs.peek()?;
        let work = (f64::from_bits(finish) - self.virtual_now).max(0.0);
        Some(self.at.saturating_add(Nanos::from_nanos_f64(work * self.jobs.len() as f64 / rate)))
    }

    /// Takes out the one that is done.
    pub fn depart(&mut self) -> Option<u32> {
        let Reverse((finish, job)) = self.jobs.pop()?;
        self.virtual_now = self.virtual_now.max(f64::from_bits(finish));
        self.sum_of_finishes -= f64::from_bits(finish);
        if self.jobs.is_empty() {
            // Start over: virtual time keeps its precision however long the run.
            (self.virtual_now, self.sum_of_finishes) = (0.0, 0.0);
        }
        Some(job)
    }

    pub fn clear(&mut self) {
        self.jobs.clear();
        (self.virtual_now, self.sum_of_finishes) = (0.0, 0.0);
    }

    fn remaining(&self, now: Nanos, rate: f64) -> f64 {
        let n = self.jobs.len() as f64;
        let grown = if self.jobs.is_empty() { 0.0 } else { (now - self.at).0 as f64 * rate };
        (self.sum_of_finishes - n * self.virtual_now - grown).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};

    /// The slow obvious version: every job's remaining work, stepped from event to event.
    fn obvious(arrivals: &[(u64, u64)], rate: f64) -> Vec<(u32, f64)> {
        let (mut left, mut now, mut done): (Vec<(u32, f64)>, f64, _) = (Vec::new(), 0.0, Vec::new());
        let mut next = 0;
        while next < arrivals.len() || !left.is_empty() {
            let n = left.len() as f64;
            let first = left.iter().map(|&(_, work)| work).fold(f64::INFINITY, f64::min);
            let departure = if left.is_empty() { f64::INFINITY } else { now + first * n / rate };
            let arrival = arrivals.get(next).map_or(f64::INFINITY, |a| a.0 as f64);
            let until = departure.min(arrival);
            for job in &mut left {
                job.1 -= (until - now) * rate / n;
            }
            now = until;
            if left.is_empty() || arrival <= departure {
                left.push((next as u32, arrivals[next].1 as f64));
                next += 1;
            } else {
                let at = (0..left.len()).min_by(|&a, &b| left[a].1.total_cmp(&left[b].1)).unwrap();
                done.push((left.remove(at).0, now));
            }
        }
        done
    }

    #[test]
    fn latencies_are_told_by_how_many_were_there() {
        let mut all = Latencies::default();
        let ms = Nanos::from_millis;
        assert_eq!(all.at(ms(0), 3), 0.0, "nothing is known");
        for took in [10, 90, 20] {
            all.note(ms(1), ms(took), 2);
        }
        all.note(ms(1), ms(500), 6);
        assert_eq!(all.at(ms(1), 2), 0.02);
        assert_eq!((all.at(ms(1), 4), all.at(ms(1), 5)), (0.02, 0.5), "the nearest, the lower of two");
        (0..8).for_each(|_| all.note(ms(2), ms(70), 2));
        assert_eq!(all.at(ms(2), 0), 0.07, "the newest count");
        assert_eq!(all.at(ms(10_003), 0), 0.0, "nothing of the last ten seconds is known");
        all.note(ms(11_000), ms(5), u32::MAX);
        assert_eq!(all.at(ms(11_000), u32::MAX), 0.005);
        // Rings follow each other without a gap.
        let rings: Vec<usize> = (0..100_000).map(Latencies::ring_of).collect();
        assert!(rings.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    }

    #[test]
    fn virtual_time_agrees_with_stepping_every_job() {
        let mut rng = Rng::stream(2, "test", 0);
        for round in 0..20 {
            let rate = [1.0, 2.5][round % 2];
            let mut at = 0;
            let arrivals: Vec<(u64, u64)> = (0..200)
                .map(|_| {
                    at += rng.below(3_000_000);
                    (at, 1 + rng.below(2_000_000))
                })
                .collect();
            let mut shared = Shared::default();
            let mut done = Vec::new();
            let mut next = 0;
            loop {
                let arrival = arrivals.get(next).map(|a| Nanos(a.0));
                match (shared.next_departure(rate), arrival) {
                    (Some(departure), arrival) if arrival.is_none_or(|a| departure < a) => {
                        shared.advance(departure, rate);
                        done.push((shared.depart().unwrap(), departure.0 as f64));
                    }
                    (_, Some(arrival)) => {
                        shared.advance(arrival, rate);
                        shared.add(next as u32, Nanos(arrivals[next].1));
                        next += 1;
                    }
                    _ => break,
                }
            }
            let expected = obvious(&arrivals, rate);
            assert_eq!(done.len(), expected.len());
            for (a, b) in done.iter().zip(&expected) {
                assert_eq!(a.0, b.0);
                assert!((a.1 - b.1).abs() < 1000.0, "{a:?} {b:?}");
            }
        }
    }
}
