//! A server, sans I/O: its queue, its slots or shared processor, its cache, its faults and its load reports.
//!
//! The engine and the test servers are its hosts. A host keeps the jobs (a slice of [`Linked`] items, named by index), the time
//! of every event and the clock; the server says what happens to a request and how long it takes. A request's calls are, in order:
//!
//! 1. [`sent`](ServerState::sent) when a balancer has chosen this server, then [`arrive`](ServerState::arrive), or
//!    [`dropped`](ServerState::dropped) where it is cancelled on the way;
//! 2. if it is admitted, [`start`](ServerState::start) at once, or [`enqueue`](ServerState::enqueue), and `start` when
//!    [`next_waiting`](ServerState::next_waiting) gives it, or [`withdraw`](ServerState::withdraw);
//! 3. [`complete`](ServerState::complete) when its work is done, and [`leave`](ServerState::leave) when it leaves with its
//!    answer, which is the same moment unless it calls a second tier in between ([`hold`](ServerState::hold)).
//!
//! First come, first served has one pending departure per busy slot, whose time `start` gives. A shared processor has one
//! pending departure in all, [`next_shared`](ServerState::next_shared), which every arrival and departure changes.
//!
//! A fault changes the server's [`Condition`] ([`set_condition`](ServerState::set_condition)), and a crash loses what is in it
//! ([`crash`](ServerState::crash)).
//!
//! ```
//! use evenkeel_core::units::Nanos;
//! use evenkeel_sim::sim::model::Server;
//! use evenkeel_sim::sim::server::{Admission, Linked, Links, ServerState};
//!
//! struct Job(Links);
//! impl Linked for Job {
//!     fn links(&mut self) -> &mut Links {
//!         &mut self.0
//!     }
//! }
//!
//! let (work, mut jobs) = (Nanos::from_millis(10), [Job(Links::NONE), Job(Links::NONE)]);
//! let mut server = ServerState::new(&Server::new("a"));
//! server.sent(work);
//! assert_eq!(server.arrive(Nanos::ZERO, work, 1.0), Admission::Admitted { found: 0, starts: true });
//! let first = server.start(Nanos::ZERO, 0, 7, work);
//! assert_eq!(first.ends, Some(work));
//! server.sent(work);
//! assert_eq!(server.arrive(Nanos::from_millis(4), work, 1.0), Admission::Admitted { found: 1, starts: false });
//! server.enqueue(1, &mut jobs);
//! server.complete(work, work, 7, first.missed());
//! server.leave(work, work, 0, true);
//! assert_eq!(server.next_waiting(&mut jobs), Some(1));
//! ```

mod latencies;
mod meter;
mod processor;
mod queue;

use super::cache::Cache;
use super::model::{Discipline, Server};
use super::record::ServerRecord;
use evenkeel_config::fault::Condition;
use evenkeel_core::select::LoadReport;
use evenkeel_core::units::Nanos;

use meter::{Level, Meter};
pub use meter::{ServerDone, Snapshot, Totals};
use processor::SharedProcessor;
use queue::WaitQueue;
pub use queue::{Linked, Links, NONE};

/// Work of answering a health check, at speed 1: a shallow check, as most are.
pub const CHECK_WORK: Nanos = Nanos::from_millis(1);

/// What a server does with a request that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The request is admitted.
    Admitted {
        /// Requests in the server on arrival, in service or waiting.
        found: u32,
        /// Whether a slot is free, so that service starts now; otherwise the request waits.
        starts: bool,
    },
    /// The queue is full.
    Rejected,
    /// A fault answers it with an error.
    Error {
        /// Time from now to the error.
        after: Nanos,
    },
    /// The server is down.
    Down {
        /// Whether the request gets no answer at all instead of a refusal.
        silent: bool,
    },
}

/// A request whose service has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// Whether the cache has its answer; `None` without a cache.
    pub hit: Option<bool>,
    /// Work to be done, at speed 1.
    pub work: Nanos,
    /// End of service if nothing changes the server's speed; `None` for a shared processor.
    pub ends: Option<Nanos>,
}

impl Started {
    /// Whether the full work is done, because the cache does not have the answer or there is none.
    #[inline]
    pub fn missed(&self) -> bool {
        self.hit != Some(true)
    }
}

/// A change of a server's speed, for the departures that its host has scheduled. See [`ServerState::reschedule`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeedChange {
    old: f64,
    new: f64,
}

/// A server; see the [module's documentation](self).
pub struct ServerState {
    discipline: Discipline,
    concurrency: u32,
    queue_limit: u32,
    speed: f64,
    condition: Condition,
    cache: Option<Cache>,
    hit_cost: f64,
    /// Factor applied to the load reported to a probe whose key is cached.
    reported_load: f64,

    in_service: u32,
    waiting: WaitQueue,
    /// Work of requests that wait or are on their way here, at speed 1.
    coming_work: u128,
    /// Requests on their way here.
    coming: u32,
    /// Work of answering probes, which delays the next request that starts.
    owed: Nanos,
    /// First come, first served: sum of the times at which the jobs in service end.
    sum_of_ends: u128,
    shared: SharedProcessor,
    meter: Meter,
}

impl ServerState {
    /// An idle server with an empty cache, without faults.
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
            waiting: WaitQueue::EMPTY,
            coming_work: 0,
            coming: 0,
            owed: Nanos::ZERO,
            sum_of_ends: 0,
            shared: SharedProcessor::default(),
            meter: Meter::default(),
        }
    }

    // ---- State ----

    /// Its discipline: slots or a shared processor.
    #[inline]
    pub fn discipline(&self) -> Discipline {
        self.discipline
    }

    /// The condition that its active faults cause.
    #[inline]
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Requests in service.
    #[inline]
    pub fn in_service(&self) -> u32 {
        self.in_service
    }

    /// Requests in the server, in service or waiting.
    #[inline]
    pub fn number(&self) -> u32 {
        self.in_service + self.waiting.len()
    }

    /// Requests in the server, with those in transit to it.
    #[inline]
    pub fn number_with_coming(&self) -> u32 {
        self.number() + self.coming
    }

    /// Work per nanosecond at present: its speed, divided by the slowdown of its faults.
    #[inline]
    pub fn rate(&self) -> f64 {
        self.speed / self.condition.slowdown
    }

    /// Time that this much work takes on one slot at present.
    #[inline]
    pub fn span(&self, work: Nanos) -> Nanos {
        let rate = self.rate();
        if rate == 1.0 { work } else { Nanos::from_nanos_f64(work.0 as f64 / rate) }
    }

    /// Entries of its cache, fresh or not; 0 without a cache.
    pub fn cached(&self) -> usize {
        self.cache.as_ref().map_or(0, Cache::len)
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

    /// What it has done since the start.
    pub fn done(&self, now: Nanos) -> ServerDone {
        self.meter.done(now, self.level())
    }

    #[inline]
    fn level(&self) -> Level {
        let (busy, slots) = match self.discipline {
            Discipline::Fcfs => (self.in_service, self.concurrency),
            Discipline::Ps => (self.in_service.min(1), 1),
        };
        Level { number: self.number(), busy, slots }
    }

    #[inline]
    fn touch(&mut self, now: Nanos) {
        let level = self.level();
        self.meter.touch(now, level);
    }

    // ---- Arrivals ----

    /// A request with this much work is on its way here. `measured` requests count in [`measured`](ServerState::measured).
    #[inline]
    pub fn sent(&mut self, work: Nanos) {
        self.coming_work += u128::from(work.0);
        self.coming += 1;
    }

    /// Counts a pick of this server for a request that is measured.
    #[inline]
    pub fn picked(&mut self, measured: bool) {
        self.meter.picked(measured);
    }

    /// A request that was sent is cancelled before it arrives.
    #[inline]
    pub fn dropped(&mut self, work: Nanos) {
        self.coming -= 1;
        self.coming_work -= u128::from(work.0);
    }

    /// Whether `arrive` looks at its `error_draw`: a fault answers some requests with errors.
    #[inline]
    pub fn draws_errors(&self) -> bool {
        self.condition.error_ratio > 0.0
    }

    /// A request that was sent arrives. `error_draw`, uniform in [0, 1), decides whether a fault answers it with an error.
    #[inline]
    pub fn arrive(&mut self, now: Nanos, work: Nanos, error_draw: f64) -> Admission {
        self.coming -= 1;
        let refused = if !self.condition.up {
            self.meter.unheard();
            Admission::Down { silent: self.condition.silent }
        } else if error_draw < self.condition.error_ratio {
            self.meter.failed();
            Admission::Error { after: self.condition.error_latency }
        } else {
            let starts = self.in_service < self.concurrency;
            if starts || self.waiting.len() < self.queue_limit {
                self.touch(now);
                self.meter.entered();
                return Admission::Admitted { found: self.number(), starts };
            }
            self.meter.failed();
            Admission::Rejected
        };
        self.coming_work -= u128::from(work.0);
        refused
    }

    /// An admitted request waits at the end of the queue.
    #[inline]
    pub fn enqueue(&mut self, job: u32, jobs: &mut [impl Linked]) {
        self.waiting.push(job, jobs);
    }

    /// The request whose service starts next, removed from the queue; `None` where none waits or no slot is free.
    #[inline]
    pub fn next_waiting(&mut self, jobs: &mut [impl Linked]) -> Option<u32> {
        if self.in_service >= self.concurrency {
            return None;
        }
        self.waiting.pop(jobs)
    }

    /// A waiting request, admitted at `entered`, leaves the queue without service: its client no longer wants it.
    pub fn withdraw(&mut self, now: Nanos, job: u32, entered: Nanos, work: Nanos, jobs: &mut [impl Linked]) {
        self.touch(now);
        self.waiting.remove(job, jobs);
        self.coming_work -= u128::from(work.0);
        self.meter.left(now - entered);
    }

    /// A request that needs no service arrives and is answered at once. It has not been announced with `sent`.
    pub fn pass_through(&mut self, now: Nanos) {
        self.touch(now);
        self.meter.entered();
        self.meter.left(Nanos::ZERO);
        self.meter.answered_at_once();
    }

    // ---- Service ----

    /// Service of an admitted request begins. Its cache look-up and the probes answered before it change its work.
    #[inline(always)]
    pub fn start(&mut self, now: Nanos, job: u32, key: u64, work: Nanos) -> Started {
        self.coming_work -= u128::from(work.0);
        let hit = self.look_up(key, now);
        let mut work = work;
        if hit == Some(true) {
            work = Nanos::from_nanos_f64(work.0 as f64 * self.hit_cost);
        }
        work += std::mem::take(&mut self.owed);
        self.in_service += 1;
        let ends = match self.discipline {
            Discipline::Fcfs => {
                let ends = now.saturating_add(self.span(work));
                self.sum_of_ends += u128::from(ends.0);
                Some(ends)
            }
            Discipline::Ps => {
                let rate = self.rate();
                self.shared.advance(now, rate);
                self.shared.add(job, work);
                None
            }
        };
        Started { hit, work, ends }
    }

    #[inline]
    fn look_up(&mut self, key: u64, now: Nanos) -> Option<bool> {
        let hit = self.cache.as_mut()?.get(key, now);
        self.meter.looked_up(hit);
        Some(hit)
    }

    /// When the next request of a shared processor is done if none arrives; `None` when idle.
    #[inline]
    pub fn next_shared(&self) -> Option<Nanos> {
        self.shared.next_departure(self.rate())
    }

    /// Number of the departure of a shared processor that is valid: every departure scheduled before has another number.
    #[inline]
    pub fn shared_version(&self) -> u32 {
        self.shared.version
    }

    /// Makes all departures of a shared processor scheduled so far invalid, and returns the new number.
    #[inline]
    pub fn new_shared_version(&mut self) -> u32 {
        self.shared.version = self.shared.version.wrapping_add(1);
        self.shared.version
    }

    /// The next request of a shared processor is done now, at the time that `next_shared` gave; call `complete` for it.
    #[inline]
    pub fn finish_shared(&mut self, now: Nanos) -> Option<u32> {
        let rate = self.rate();
        self.shared.advance(now, rate);
        self.shared.depart()
    }

    /// A request's work is done: its answer goes to the cache if it `missed`. `ends` is what `start` or the last
    /// `reschedule` gave. Returns whether the cache evicted an entry for it.
    #[inline]
    pub fn complete(&mut self, now: Nanos, ends: Nanos, key: u64, missed: bool) -> bool {
        if self.discipline == Discipline::Fcfs {
            self.sum_of_ends -= u128::from(ends.0);
        }
        match &mut self.cache {
            Some(cache) if missed => cache.put(key, now),
            _ => false,
        }
    }

    /// A completed request keeps its slot while it calls a second tier. How long is not known, so
    /// [`remaining_work`](ServerState::remaining_work) counts nothing for it.
    pub fn hold(&mut self, now: Nanos) {
        self.sum_of_ends += u128::from(now.0);
    }

    /// The call made at `since` has returned; `leave` follows.
    pub fn release(&mut self, since: Nanos) {
        self.sum_of_ends -= u128::from(since.0);
    }

    /// A request leaves with an answer, `ok` or not, and frees its slot. It had been admitted at `entered` and had `found`
    /// so many others.
    #[inline]
    pub fn leave(&mut self, now: Nanos, entered: Nanos, found: u32, ok: bool) {
        self.touch(now);
        self.in_service -= 1;
        self.meter.left(now - entered);
        if ok {
            self.meter.answered(now, now - entered, found);
        } else {
            self.meter.failed();
        }
    }

    /// Answers a probe now, before waiting requests: its `work` is added to the next request that starts. On an idle server
    /// the reply delays no request. Returns the time until the reply.
    pub fn probe(&mut self, work: Nanos) -> Nanos {
        if self.in_service > 0 {
            self.owed += work;
        }
        self.span(work)
    }

    // ---- Faults ----

    /// Sets the condition that faults cause from now on. `Some` where the speed of a first-come-first-served server changes:
    /// its host moves every scheduled departure with [`reschedule`](ServerState::reschedule). For a shared processor, the
    /// host calls [`next_shared`](ServerState::next_shared) again.
    pub fn set_condition(&mut self, now: Nanos, condition: Condition) -> Option<SpeedChange> {
        let old = self.rate();
        if self.discipline == Discipline::Ps {
            self.shared.advance(now, old);
        }
        self.condition = condition;
        let new = self.rate();
        (self.discipline == Discipline::Fcfs && new != old).then_some(SpeedChange { old, new })
    }

    /// The end of a request in service after a change of speed now; `ends` is its end before the change.
    pub fn reschedule(&mut self, now: Nanos, ends: Nanos, change: SpeedChange) -> Nanos {
        let left = (ends - now).0 as f64 * change.old / change.new;
        let new = now.saturating_add(Nanos::from_nanos_f64(left));
        self.sum_of_ends = self.sum_of_ends - u128::from(ends.0) + u128::from(new.0);
        new
    }

    /// The server crashes: slots, queue and cache are emptied, and no departure is valid. Call [`lost`](ServerState::lost)
    /// for each request that was in it.
    pub fn crash(&mut self, now: Nanos) {
        self.touch(now);
        (self.in_service, self.sum_of_ends) = (0, 0);
        self.waiting = WaitQueue::EMPTY;
        let rate = self.rate();
        self.shared.advance(now, rate);
        self.shared.clear();
        self.new_shared_version();
        self.empty_cache();
    }

    /// A request, admitted at `entered`, was in the server when it died; `waiting` is its work if service had not begun.
    pub fn lost(&mut self, now: Nanos, entered: Nanos, waiting: Option<Nanos>) {
        self.meter.left(now - entered);
        self.meter.failed();
        self.coming_work -= waiting.map_or(0, |work| u128::from(work.0));
    }

    /// Empties the cache: it is a new process.
    pub fn empty_cache(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.clear();
        }
    }

    // ---- Reports ----

    /// Its load over the window from `since`, which is moved up to now.
    pub fn report(&mut self, now: Nanos, since: &mut Totals) -> LoadReport {
        self.touch(now);
        self.meter.report(now, since, self.level())
    }

    /// Its load over the last 0.5 s to 1 s, as responses and probes carry it. For a probe whose `key` is cached, the load is
    /// multiplied by `reported_load`.
    pub fn recent_report(&mut self, now: Nanos, key: Option<u64>) -> LoadReport {
        self.touch(now);
        let level = self.level();
        let report = self.meter.recent_report(now, level);
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

    /// A snapshot from which a window is measured.
    pub fn snapshot(&mut self, now: Nanos) -> Snapshot {
        self.touch(now);
        self.meter.snapshot()
    }

    /// The window from a snapshot to now; cache look-ups from another snapshot, because caches warm up more slowly.
    pub fn measured(&mut self, now: Nanos, from: Snapshot, cache_from: Snapshot) -> ServerRecord {
        self.touch(now);
        self.meter.measured(now, from, cache_from, self.level())
    }

    /// Asserts Little's law for this server, to the nanosecond. `count` requests are in it now, and `ages` is the sum of the
    /// times they have spent in it.
    ///
    /// # Panics
    /// If it does not hold, which is a bug in the host or in this module.
    pub fn check_invariants(&mut self, now: Nanos, count: u64, ages: u128) {
        self.touch(now);
        assert_eq!(u64::from(self.number()), count, "a server miscounts what is in it");
        self.meter.check_invariants(count, ages);
    }
}
