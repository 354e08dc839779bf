//! The attempts of one request: when another one is sent, and how each affects the budgets and the hedging delay.
//!
//! The host keeps an [`Attempts`] for each request of a pool with retries or hedging and calls the balancer at each step:
//!
//! ```text
//! admit ─ begin ─ start ─ placed ──────────────── ended(Success) ───────────────── answer
//!           │       │       └─ hedge timer ─ hedge ─ start … (both under way)        │
//!           │       └────────── Retry(pause) ◀──── ended(Failed) ─ Await the other ──┤
//!           └───────────────────────────────────────────────────── nothing allowed ──┘
//! ```
//!
//! The details, with the source of each:
//!
//! * **Budgets are credited when a request is admitted**, once per request, whatever its number of attempts. Finagle
//!   deposits per request in front of its retries (`RetryFilter`, `BackupRequestFilter.apply`); Envoy's retry budget is a
//!   share of the active requests, which excludes those that admission control rejects.
//! * **The back-off and `max_retries` count retries, not attempts.** The n-th retry waits up to
//!   `backoff · 2^(n − 1)` (gRPC A6, "Exponential Backoff"; Envoy's `JitteredBackOffStrategy` takes one step for each
//!   retry). A hedge is no retry: Finagle places backup requests below its retries (`MethodBuilder.filters`), so a
//!   request that was hedged twice has not used up a retry.
//! * **Each attempt can be hedged once, retries as well**, as in Finagle, where each retry passes the backup filter again,
//!   and in Envoy, where `hedge_on_per_try_timeout` holds for each try. A hedge is not hedged: at most two attempts are in
//!   flight.
//! * **The hedging clock starts when the attempt is placed**, not while the request waits in the balancer's queue: a
//!   second copy cannot help before the first has a server. Envoy arms the per-try timer when the connection pool is
//!   ready (`UpstreamRequest::setupPerTryTimeout`); Dean and Barroso ("The tail at scale", CACM 2013) hedge what has been
//!   *outstanding* for longer than the percentile.
//! * **The hedging percentile is one of attempts**, each measured from its own placement: tower's `Latency` and Finagle's
//!   `BackupRequestFilter.record` wrap each of the two calls. Recorded are successes, attempts that reached their own
//!   timeout, and attempts that a faster copy superseded, with the time until then (Finagle's `shouldRecord`): without the
//!   last two only fast attempts would count and the delay would shrink with each hedge that wins. Other failures are fast
//!   and say nothing about latency.
//! * **A hedge neither waits in the queue nor overtakes queued requests**: it is extra work, useful only at once.
//! * **A failed attempt beside one in flight changes nothing**; when the last one fails, its failure decides.

use super::Balancer;
use crate::policy::retry::Failure;
use crate::select::{self, Outcome};
use crate::units::Nanos;

/// State of a request's attempts. The host keeps it; only the balancer changes it.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    /// Slots that attempts were sent to, sorted when longer than [`select::LINEAR_SCAN_MAX`].
    excluded: Vec<u32>,
    /// Attempts made so far, hedges included.
    made: u32,
    /// Attempts that are in flight or queued.
    live: u32,
    /// Retries made so far.
    retries: u32,
    /// Number of the last attempt that was a hedge; 0 if there was none.
    hedge: u32,
}

impl Attempts {
    /// Excluded slots of the next attempt: all that earlier ones were sent to.
    #[inline]
    pub fn excluded(&self) -> &[u32] {
        &self.excluded
    }

    /// Attempts made so far, hedges included.
    pub fn made(&self) -> u32 {
        self.made
    }

    /// Attempts that are in flight or queued, at most 2.
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

    /// Resets the state for a new request; keeps the allocated memory.
    pub fn begin(&mut self) {
        self.excluded.clear();
        (self.made, self.live, self.retries, self.hedge) = (0, 0, 0, 0);
    }

    /// Counts a new attempt, which is now to be placed; returns its number, from 1.
    pub fn start(&mut self) -> u32 {
        self.made += 1;
        self.live += 1;
        self.made
    }
}

/// Timers that the host starts for an attempt that was placed. Durations from now; `None` for no timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// After this time, if the attempt is still in flight, call [`Balancer::hedge`].
    pub hedge: Option<Nanos>,
    /// After this time an attempt without a response has failed with [`Failure::Timeout`].
    pub per_try: Option<Nanos>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// A successful response.
    Success,
    /// A failure of this kind.
    Failed(Failure),
    /// No server could take it: none is left, or the queue was full or timed out.
    Unplaced,
    /// Superseded: another attempt of the same request got a response first.
    Superseded,
    /// Cancelled by a tied copy that began service at another server.
    CalledOff,
    /// The client disconnected; `Failed` where the host attributes that to the server, else `Cancelled`.
    Abandoned(Outcome),
}

/// Whether the request may be sent again, as far as only the host knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    /// Whether the request is idempotent.
    pub idempotent: bool,
    /// Whether a part of it reached the server, so that the server may have executed it.
    pub sent: bool,
    /// Whether the host can send it again: the client is connected, and the body can be replayed.
    pub possible: bool,
}

impl Resend {
    /// Everything may be sent again.
    pub const FREELY: Resend = Resend { idempotent: true, sent: true, possible: true };
}

/// What the host does after the end of an attempt.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this attempt's response or failure to the client. All other attempts are superseded.
    Answer,
    /// Wait: another attempt is in flight.
    Await,
    /// Start another attempt after this pause.
    Retry(Nanos),
}

impl Balancer {
    /// An attempt was sent to this slot. `hedgeable` says whether the request is idempotent.
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

    /// The hedging delay of the only attempt in flight is over: the number of a second one, if one is to be sent. The host
    /// places it with [`super::Ask::hedge`]. `begun` says that the first is known to be in service, which forbids a second
    /// copy where copies are tied.
    pub fn hedge(&mut self, shard: u32, attempts: &mut Attempts, begun: bool, now: Nanos) -> Option<u32> {
        let tied = self.rules().hedge.is_some_and(|rules| rules.tied);
        let useful = attempts.live == 1 && !attempts.excluded.is_empty() && !(tied && begun);
        if !useful || self.has_queued() || !self.pool().has_room(&attempts.excluded) {
            return None;
        }
        // The budget comes last, since the check spends it.
        if !self.shards[shard as usize].hedge.as_mut().is_some_and(|hedge| hedge.withdraw(now)) {
            return None;
        }
        attempts.hedge = attempts.start();
        Some(attempts.hedge)
    }

    /// An attempt ended after `latency` from its placement (zero if it was never placed).
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
        // gRPC A6: a failure costs its token before the threshold is checked.
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

    /// The last attempt in flight has failed: decides whether there is another.
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
