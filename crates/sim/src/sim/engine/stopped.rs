//! Why a run has no result.

use std::fmt;

use evenkeel_core::units::Nanos;

/// Why a run has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The caller interrupted it.
    Interrupted,
    /// It would hold more than [`crate::sim::model::Model::max_in_system`] allows.
    TooLarge(TooLarge),
}

/// What a run held when it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Simulated time of the stop, since the start of the run.
    pub at: Nanos,
    /// Requests, attempts and calls that it held.
    pub jobs: u64,
    /// Events that were scheduled: timers of requests that have ended are among them.
    pub events: u64,
    /// Entries in the caches of all servers.
    pub cached: u64,
    /// The bound, [`crate::sim::model::Model::max_in_system`].
    pub limit: u32,
}

/// Memory of a job in that of a scheduled event: 128 bytes and 32.
pub(super) const EVENTS_PER_JOB: u64 = 4;
/// Memory of a job in that of a cache entry: 128 bytes and about 75, with its place in the index.
pub(super) const ENTRIES_PER_JOB: u64 = 2;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLarge { at, jobs, events, cached, limit } = *self;
        let (timers, entries) = (events / EVENTS_PER_JOB, cached / ENTRIES_PER_JOB);
        let (what, way) = if jobs >= timers.max(entries) {
            let way = "lower the rate, add servers, bound their queues (`queue_limit`), or\n        let clients give up (`clients.timeout`, `servers_see_cancel`)";
            ("requests", way)
        } else if timers >= entries {
            ("timers", "lower the rate, or shorten the time-outs")
        } else {
            ("cache entries", "lower the `capacity` of the caches or the `count` of the keys")
        };
        writeln!(f, "too many {what} in the system, after {at} of simulated time:")?;
        writeln!(f, "  {jobs} requests, {events} timers and events, {cached} cache entries")?;
        writeln!(f, "  help: {way};")?;
        write!(f, "        or raise `max_in_system`, now {limit} (130 to 200 bytes each, per run)")
    }
}
