//! The attempts of one request: when another is sent, and what each teaches the budgets and the hedging delay.
//!
//! The host keeps an [`Attempts`] for each request of a pool with retries or hedging and asks the balancer at each turn:
//!
//! ```text
//! admit ─ begin ─ start ─ placed ──────────────── ended(Success) ───────────────── answer
//!           │       │       └─ hedge timer ─ hedge ─ start … (both under way)        │
//!           │       └────────── Retry(pause) ◀──── ended(Failed) ─ Await the other ──┤
//!           └───────────────────────────────────────────────────── nothing allowed ──┘
//! ```
//!
//! The details, each decided by what the field does:
//!
//! * **Budgets get their share when a request is admitted**, and once, whatever its number of attempts. Finagle deposits
//!   per request in front of its retries (`RetryFilter`, `BackupRequestFilter.apply`); Envoy's retry budget is a share of
//!   the requests that are active, which those that admission control rejects never are.
//! * **The back-off and `max_retries` count retries, not attempts.** The n-th retry waits up to
//!   `backoff · 2^(n − 1)` (gRPC A6, "Exponential Backoff"; Envoy's `JitteredBackOffStrategy` takes one step for each
//!   retry). A hedge is no retry: Finagle places backup requests below its retries (`MethodBuilder.filters`), so a
//!   request that was hedged twice has not used up a retry.
//! * **Each attempt can be hedged once, retries as well**, as in Finagle, where each retry passes the backup filter anew,
//!   and in Envoy, where `hedge_on_per_try_timeout` holds for each try. A hedge is not hedged: at most two attempts are
//!   under way.
//! * **The hedging clock starts when the attempt is placed**, not while the request waits in the balancer's queue: a
//!   second copy cannot help before the first has a server. Envoy arms the per-try timer when the connection pool is
//!   ready (`UpstreamRequest::setupPerTryTimeout`); Dean and Barroso ("The tail at scale", CACM 2013) hedge what has been
//!   *outstanding* for longer than the percentile.
//! * **The hedging percentile is one of attempts**, each measured from its own placement: tower's `Latency` and Finagle's
//!   `BackupRequestFilter.record` wrap each of the two calls. Recorded are successes, attempts that ran into their own
//!   time-out, and those that a faster copy superseded, for as long as they took until then (Finagle's `shouldRecord`):
//!   without the last two only fast attempts would count and the delay would shrink with each hedge that wins. Other
//!   failures are quick and say nothing.
//! * **A hedge neither waits in the queue nor overtakes those who do**: it is extra work, and only worth it at once.
//! * **A failed attempt beside one that is under way changes nothing**; when the last one fails, its failure decides.

use super::Balancer;
use crate::policy::retry::Failure;
use crate::select::{self, Outcome};
use crate::units::Nanos;

/// What is known of a request's attempts. The host keeps it; only the balancer changes it.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    /// Slots that attempts were sent to, sorted when longer than [`select::LINEAR_SCAN_MAX`].
    excluded: Vec<u32>,
    /// Attempts made so far, hedges included.
    made: u32,
    /// Attempts that are under way or wait for a place.
    live: u32,
    /// Retries made so far.
    retries: u32,
    /// Number of the last attempt that was a hedge; 0 where there was none.
    hedge: u32,
}

impl Attempts {
    /// Slots that the next attempt may not have: all that earlier ones were sent to.
    #[inline]
    pub fn excluded(&self) -> &[u32] {
        &self.excluded
    }

    /// Attempts made so far, hedges included.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Attempts that are under way or wait for a place, at most 2.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Retries made so far.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Whether the attempt with this number is a hedge.
    pub fn is_hedge(&self, number: u32) -> bool {
        number != 0 && self.hedge == number
    }

    /// Begins with a new request; keeps only memory.
    pub fn begin(&mut self) {
        self.excluded.clear();
        (self.made, self.live, self.retries, self.hedge) = (0, 0, 0, 0);
    }

    /// Counts a new attempt, which is now to be placed; gives its number, from 1.
    pub fn start(&mut self) -> u32 {
        self.made += 1;
        self.live += 1;
        self.made
    }
}

/// What the host is to time for an attempt that was placed. Lengths from now; `None` where there is nothing to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// After this, if the attempt is still under way, call [`Balancer::hedge`].
    pub hedge: Option<Nanos>,
    /// After this, an attempt without an answer has failed with [`Failure::Timeout`].
    pub per_try: Option<Nanos>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// Answered well.
    Success,
    /// It failed so.
    Failed(Failure),
    /// No server could take it: none is left, or the queue was full or took too long.
    Unplaced,
    /// Another attempt of the same request was answered first.
    Superseded,
    /// A tied copy began elsewhere and called this one off.
    CalledOff,
    /// The client went away; `Failed` where the host blames the server for that, else `Cancelled`.
    Abandoned(Outcome),
}

/// What may be sent again, of what the balancer cannot know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    /// The request may be done twice.
    pub idempotent: bool,
    /// Something of it reached the server, so that it may have been done.
    pub sent: bool,
    /// The host can send it again: it is still there itself, and the body can be replayed.
    pub possible: bool,
}

impl Resend {
    /// Everything may be sent again.
    pub const FREELY: Resend = Resend { idempotent: true, sent: true, possible: true };
}

/// What follows from the end of an attempt.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The client gets this attempt's answer or failure. All other attempts are superseded.
    Answer,
    /// Another attempt is under way: wait for it.
    Await,
    /// Start another attempt after this pause.
    Retry(Nanos),
}

impl Balancer {
    /// An attempt was placed in this slot. `hedgeable` says whether the request may be done twice.
    pub fn placed(
        &mut self,
        shard: u32,
        attempts: &mut Attempts,
        number: u32,
        slot: u32,
        hedgeable: bool,
        now: Nanos,
    ) -> Timers {
        select::insert_sorted(&mut attempts.excluded, slot);
        let per_try = self.rules().retries.and_then(|rules| rules.per_try_timeout);
        let alone = hedgeable && attempts.live == 1 && !attempts.is_hedge(number);
        let hedge = self.shards[shard as usize].hedge.as_mut().filter(|_| alone).and_then(|hedge| hedge.delay(now));
        Timers { hedge, per_try }
    }

    /// The hedging delay of the only attempt under way is over: the number of a second one, if there is to be one. It
    /// is to be placed with [`super::Ask::hedge`]. `begun` says that the first is known to be served already, which
    /// forbids a second copy where copies are tied.
    pub fn hedge(&mut self, shard: u32, attempts: &mut Attempts, begun: bool, now: Nanos) -> Option<u32> {
        let tied = self.rules().hedge.is_some_and(|rules| rules.tied);
        let useful = attempts.live == 1 && !attempts.excluded.is_empty() && !(tied && begun);
        if !useful || self.somebody_waits() || !self.pool().has_room(&attempts.excluded) {
            return None;
        }
        // The budget is asked last, for asking spends it.
        if !self.shards[shard as usize].hedge.as_mut().is_some_and(|hedge| hedge.withdraw(now)) {
            return None;
        }
        attempts.hedge = attempts.start();
        Some(attempts.hedge)
    }

    /// An attempt ended after `latency` from its placement (zero where it was never placed).
    pub fn attempt_ended(
        &mut self,
        shard: u32,
        attempts: &mut Attempts,
        end: AttemptEnd,
        latency: Nanos,
        resend: Resend,
        now: Nanos,
    ) -> Next {
        attempts.live = attempts.live.saturating_sub(1);
        let state = &mut self.shards[shard as usize];
        let good = match end {
            AttemptEnd::Success => Some(true),
            AttemptEnd::Failed(_) | AttemptEnd::Abandoned(Outcome::Failed) => Some(false),
            AttemptEnd::Abandoned(_) | AttemptEnd::Unplaced | AttemptEnd::Superseded | AttemptEnd::CalledOff => None,
        };
        // gRPC A6: a failure costs its token before the threshold is looked at.
        if let (Some(throttle), Some(good)) = (&mut state.retries, good) {
            throttle.ended(good);
        }
        let telling =
            matches!(end, AttemptEnd::Success | AttemptEnd::Superseded | AttemptEnd::Failed(Failure::Timeout));
        if let Some(hedge) = state.hedge.as_mut().filter(|_| telling) {
            hedge.record(latency, now);
        }
        match end {
            AttemptEnd::Success => Next::Answer,
            _ if attempts.live > 0 => Next::Await,
            AttemptEnd::Failed(failure) => self.retry(shard, attempts, failure, resend, now),
            _ => Next::Answer,
        }
    }

    /// The last attempt under way has failed: is there another?
    fn retry(&mut self, shard: u32, attempts: &mut Attempts, failure: Failure, resend: Resend, now: Nanos) -> Next {
        let Resend { idempotent, sent, possible } = resend;
        let rules = self.rules().retries;
        let Some(rules) = rules.filter(|rules| possible && rules.allows(failure, attempts.retries, idempotent, sent))
        else {
            return Next::Answer;
        };
        if !self.pool().has_candidate(&attempts.excluded) {
            return Next::Answer;
        }
        let state = &mut self.shards[shard as usize];
        if !state.retries.as_mut().is_some_and(|throttle| throttle.withdraw(now)) {
            return Next::Answer;
        }
        attempts.retries += 1;
        Next::Retry(rules.pause(attempts.retries, &mut state.policy_rng))
    }
}
