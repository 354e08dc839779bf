//! What a server counts: integrals for utilisation and Little's law, and the windows of its load reports.

use super::latencies::Latencies;
use crate::sim::record::ServerRecord;
use evenkeel_core::select::{LoadReport, ReportSource};
use evenkeel_core::units::Nanos;

/// Running totals of a server. The difference of two of them describes a window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    at: Nanos,
    /// Integral of the busy slots, slot-nanoseconds; for processor sharing, nanoseconds with any request in service.
    busy: u128,
    /// Integral of the requests in the server, in service or waiting.
    number: u128,
    entered: u64,
    left: u64,
    /// Sum of the times in the server of the requests that left.
    residence: u128,
    answers: u64,
    errors: u64,
    hits: u64,
    misses: u64,
}

/// A server's totals at a moment, and the requests that failed without reaching it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    totals: Totals,
    picks: u64,
    unheard: u64,
}

impl Snapshot {
    /// Whether this one was taken later.
    pub fn is_later_than(&self, other: &Snapshot) -> bool {
        self.totals.at > other.totals.at
    }
}

/// What a server has done since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerDone {
    /// Time of busy slots, summed over slots, nanoseconds; for processor sharing, time with any request in service.
    pub busy: u128,
    /// Responses without an error.
    pub answered: u64,
    /// Requests that it rejected or failed, those that found it down included.
    pub failed: u64,
    /// Cache look-ups that hit.
    pub hits: u64,
    /// Cache look-ups that missed.
    pub misses: u64,
}

/// The state of a server when it reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Requests in it, in service or waiting.
    pub number: u32,
    /// Slots that are busy; 1 for a shared processor with any request in service.
    pub busy: u32,
    /// Slots; 1 for a shared processor.
    pub slots: u32,
}

/// What only reports over recent windows need.
#[derive(Debug, Default)]
struct Recent {
    /// Start of the window of the next report, and of the one after it.
    older: Totals,
    newer: Totals,
    latencies: Latencies,
}

/// The counters of a server; see the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Meter {
    totals: Totals,
    /// Created when the first report over a recent window is requested.
    recent: Option<Box<Recent>>,
    /// Measured requests that were sent here.
    picks: u64,
    /// Requests that found the server down. It does not see them, so its reports do not count them.
    unheard: u64,
}

impl Meter {
    /// Advances the integrals to now; call it before any change of the level.
    #[inline]
    pub(super) fn touch(&mut self, now: Nanos, level: Level) {
        let span = u128::from(now.0 - self.totals.at.0);
        self.totals.busy += u128::from(level.busy) * span;
        self.totals.number += u128::from(level.number) * span;
        self.totals.at = now;
    }

    #[inline]
    pub(super) fn entered(&mut self) {
        self.totals.entered += 1;
    }

    #[inline]
    pub(super) fn left(&mut self, after: Nanos) {
        self.totals.left += 1;
        self.totals.residence += u128::from(after.0);
    }

    /// A success after `took` in the server, for a request that had `found` others on arrival.
    #[inline]
    pub(super) fn answered(&mut self, now: Nanos, took: Nanos, found: u32) {
        self.totals.answers += 1;
        if let Some(recent) = &mut self.recent {
            recent.latencies.note(now, took, found);
        }
    }

    /// A success whose latency says nothing about the load.
    pub(super) fn answered_at_once(&mut self) {
        self.totals.answers += 1;
    }

    #[inline]
    pub(super) fn failed(&mut self) {
        self.totals.answers += 1;
        self.totals.errors += 1;
    }

    #[inline]
    pub(super) fn looked_up(&mut self, hit: bool) {
        if hit {
            self.totals.hits += 1;
        } else {
            self.totals.misses += 1;
        }
    }

    #[inline]
    pub(super) fn picked(&mut self, measured: bool) {
        self.picks += u64::from(measured);
    }

    pub(super) fn unheard(&mut self) {
        self.unheard += 1;
    }

    /// The window from `since` to now; `since` is moved up to now. The integrals are up to date.
    pub(super) fn report(&mut self, now: Nanos, since: &mut Totals, level: Level) -> LoadReport {
        let report = LoadReport { latency: self.latency(now, level), ..self.window(now, since, level) };
        *since = self.totals;
        report
    }

    /// A report over the last 0.5 s to 1 s.
    pub(super) fn recent_report(&mut self, now: Nanos, level: Level) -> LoadReport {
        /// A report covers at least this much time, once the server has run for that long, and at most twice as much.
        const WINDOW: Nanos = Nanos::from_millis(500);
        let Recent { older, .. } = **self.recent.get_or_insert_default();
        let report = LoadReport { latency: self.latency(now, level), ..self.window(now, &older, level) };
        if let Some(recent) = &mut self.recent
            && now - recent.newer.at >= WINDOW
        {
            recent.older = std::mem::replace(&mut recent.newer, self.totals);
        }
        report
    }

    fn latency(&mut self, now: Nanos, level: Level) -> f64 {
        self.recent.as_mut().map_or(0.0, |recent| recent.latencies.at(now, level.number))
    }

    /// A report of the time from `old` to now, without latency.
    fn window(&self, now: Nanos, old: &Totals, level: Level) -> LoadReport {
        let seconds = (now - old.at).as_secs_f64();
        if seconds <= 0.0 {
            return LoadReport { in_server: Some(level.number), ..LoadReport::default() };
        }
        let answers = self.totals.answers - old.answers;
        let left = self.totals.left - old.left;
        LoadReport {
            window: seconds,
            throughput: answers as f64 / seconds,
            response_time: per(self.totals.residence - old.residence, left) / 1e9,
            utilisation: as_f64(self.totals.busy - old.busy) / 1e9 / seconds / f64::from(level.slots),
            errors: per((self.totals.errors - old.errors).into(), answers),
            in_server: Some(level.number),
            latency: 0.0,
            by: ReportSource::Answer,
        }
    }

    /// What the server has done up to now.
    pub(super) fn done(&self, now: Nanos, level: Level) -> ServerDone {
        let Totals { at, busy, answers, errors, hits, misses, .. } = self.totals;
        let span = u128::from(now.saturating_sub(at).0);
        let busy = busy + u128::from(level.busy) * span;
        ServerDone { busy, answered: answers - errors, failed: errors + self.unheard, hits, misses }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { totals: self.totals, picks: self.picks, unheard: self.unheard }
    }

    /// The window from one snapshot to now; cache look-ups since another one, because caches warm up more slowly.
    pub(super) fn measured(&self, now: Nanos, from: Snapshot, cache_from: Snapshot, level: Level) -> ServerRecord {
        let since = from.totals;
        let errors = self.totals.errors - since.errors;
        let (hits, misses) = (self.totals.hits - cache_from.totals.hits, self.totals.misses - cache_from.totals.misses);
        let (number, span) = (since.number, since.at);
        let report = self.window(now, &since, level);
        ServerRecord {
            picks: self.picks - from.picks,
            errors: errors + self.unheard - from.unheard,
            utilisation: report.utilisation,
            number: per(self.totals.number - number, (now - span).0),
            residence: report.response_time,
            hits,
            misses,
        }
    }

    /// Asserts Little's law for this server, exactly: the integral of the number in it is the sum of the times spent in it.
    /// `count` requests are in it now, and `ages` is the sum of the times they have spent in it.
    pub(super) fn check_invariants(&self, count: u64, ages: u128) {
        assert_eq!(self.totals.entered, self.totals.left + count, "a server lost or invented a request");
        assert_eq!(self.totals.number, self.totals.residence + ages, "Little's law fails for a server");
    }
}

fn per(sum: u128, count: u64) -> f64 {
    if count == 0 { 0.0 } else { as_f64(sum) / count as f64 }
}

/// The nearest number. Nearly all fit into 64 bits, for which the processor has an instruction.
#[inline]
fn as_f64(number: u128) -> f64 {
    // In a function of its own, or else the compiler does both and chooses.
    #[cold]
    #[inline(never)]
    fn long(number: u128) -> f64 {
        number as f64
    }
    match u64::try_from(number) {
        Ok(short) => short as f64,
        Err(_) => long(number),
    }
}
