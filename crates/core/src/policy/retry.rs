//! Retries: another attempt, at another server, after a failed one; and the budget that keeps retries from making an
//! overload worse. Failures cause retries, retries cause load, load causes failures: with n attempts a failing system stays
//! at n times its load after the cause is gone. A budget ties retries to the arriving requests, as in Finagle and tower: 20
//! % of them plus a few per second, over a sliding window of ten seconds. A token bucket ties them to successes, as in
//! gRPC's retry throttling (A6): every failed attempt costs a token, every successful response adds part of one, and retries
//! are allowed while more than half of the tokens are left.

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};

use super::catalog::{Doc, Issues, Policy};
use crate::rng::Source;
use crate::units::Nanos;
#[cfg(feature = "config")]
use crate::units::{Rate, Ratio};

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "retries",
    idea: "After a failed attempt, sends the request to another server, after a random pause; a budget keeps retries from making an overload worse.",
    source: "Finagle and tower (budget), gRPC A6 (tokens), Brooker 2015 (full jitter), Envoy (pauses)",
    scenario: Some("retry-storm"),
};

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// The connection broke before a response began.
    Reset,
    /// The server responded with an error (5xx).
    Error,
    /// No response within `per_try_timeout`.
    Timeout,
    /// The server was full and did not process the request.
    Rejected,
}

/// Every failure with its name in `on`.
pub const FAILURES: [(Failure, &str); 5] = [
    (Failure::Connect, "connect"),
    (Failure::Reset, "reset"),
    (Failure::Error, "error"),
    (Failure::Timeout, "timeout"),
    (Failure::Rejected, "rejected"),
];

/// When there is another attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Retries"))]
pub struct Rules {
    /// Attempts after the first one, 1 to 100; default 1. Envoy's `num_retries`.
    pub max_retries: u32,
    /// Failures after which there is another attempt: `"connect"`, `"reset"`, `"error"`, `"timeout"`, `"rejected"`; default
    /// the first two.
    #[cfg_attr(feature = "config", serde(with = "failures"))]
    #[cfg_attr(feature = "config", schemars(with = "Vec<Failure>"))]
    pub on: [bool; FAILURES.len()],
    /// Retries per request, over a sliding window of 10 s; default 20 %. Finagle's `percentCanRetry`.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub budget: f64,
    /// Retries per second that are allowed in addition to `budget`; default 3/s. Finagle's `minRetriesPerSec`.
    #[cfg_attr(feature = "config", serde(with = "super::serial::rate"))]
    #[cfg_attr(feature = "config", schemars(with = "Rate"))]
    pub min_per_second: f64,
    /// `tokens = { max_tokens = 10, ratio = 0.1 }`: a token bucket in place of `budget` and `min_per_second`, as gRPC's.
    /// `None`: the budget.
    pub tokens: Option<Tokens>,
    /// Longest pause before the first retry; the bound doubles with each retry. The pause is uniform from 0 to its bound.
    /// Default 25 ms. Envoy's `base_interval`.
    pub backoff: Nanos,
    /// Upper bound of the doubled pause, not below `backoff`; default 250 ms. Envoy's `max_interval`.
    pub max_backoff: Nanos,
    /// An attempt without a response after this time has failed (cause `"timeout"`): above 0. `None`: attempts have no
    /// timeout. Envoy's `per_try_timeout`.
    pub per_try_timeout: Option<Nanos>,
}

impl Default for Rules {
    /// One retry, after a failed connection or a reset; Finagle's budget, Envoy's backoff.
    fn default() -> Rules {
        Rules {
            max_retries: 1,
            on: [true, true, false, false, false],
            budget: 0.2,
            min_per_second: 3.0,
            tokens: None,
            backoff: Nanos::from_millis(25),
            max_backoff: Nanos::from_millis(250),
            per_try_timeout: None,
        }
    }
}

/// `on` as a list of names.
#[cfg(feature = "config")]
mod failures {
    use super::{FAILURES, Failure};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(on: &[bool; FAILURES.len()], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(FAILURES.iter().zip(on).filter(|(_, on)| **on).map(|(failure, _)| failure.0))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[bool; FAILURES.len()], D::Error> {
        let mut on = [false; FAILURES.len()];
        Vec::<Failure>::deserialize(from)?.into_iter().for_each(|failure| on[failure as usize] = true);
        Ok(on)
    }
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        issues
            .require((1..=100).contains(&self.max_retries), "max_retries", "`max_retries` must be from 1 to 100")
            .help("they are attempts beyond the first; leave the table out for none");
        let any = self.on.contains(&true);
        issues.require(any, "on", "`on` is empty: no failure would lead to another attempt");
        let message = format!("`max_backoff` is shorter than `backoff`, {}", self.backoff);
        issues.require(self.max_backoff >= self.backoff, "max_backoff", message);
        if let Some(timeout) = self.per_try_timeout {
            issues.require(timeout > Nanos::ZERO, "per_try_timeout", "`per_try_timeout` must be above zero");
            let used = self.on[Failure::Timeout as usize];
            let message = "after `per_try_timeout` an attempt has failed, and `on` has no \"timeout\": it would only give up sooner";
            issues.require(used, "per_try_timeout", message).help("add \"timeout\" to `on`");
        }
        if let Some(Tokens { max_tokens, ratio }) = self.tokens {
            let sound = max_tokens > 0.0 && max_tokens <= 1e6 && ratio > 0.0 && ratio <= max_tokens;
            let message = "`max_tokens` and `ratio` of the tokens must be above zero, `ratio` the smaller";
            issues.require(sound, "tokens", message).help("gRPC's example is { max_tokens = 10, ratio = 0.1 }");
        }
    }
}

impl Rules {
    /// Whether the rules (not yet the budget) allow another attempt after this failure, when `retries` were made before. The
    /// server may have executed a request that was sent: it is sent again only if it is `idempotent`.
    pub fn allows(&self, failure: Failure, retries: u32, idempotent: bool, sent: bool) -> bool {
        retries < self.max_retries && self.on[failure as usize] && (idempotent || !sent)
    }

    /// The pause before retry number `retry` (from 1): uniform in 0 … min(longest, backoff · 2^(retry − 1)), "full jitter"
    /// (Brooker, AWS Architecture Blog, 2015): requests that failed together are not retried together.
    pub fn pause(&self, retry: u32, rng: &mut impl Source) -> Nanos {
        let doublings = retry.saturating_sub(1).min(63);
        let bound = self.backoff.0.saturating_mul(1 << doublings).min(self.max_backoff.0);
        if bound == 0 { Nanos::ZERO } else { Nanos(rng.below(bound)) }
    }

    /// The limiter of retries under these rules.
    pub fn new_throttle(&self) -> Throttle {
        match self.tokens {
            Some(rules) => Throttle::Tokens(Bucket { rules, tokens: rules.max_tokens }),
            None => Throttle::Budget(Budget::new(self.budget, self.min_per_second)),
        }
    }
}

/// gRPC's retry throttling (A6): every failed attempt costs a token, every successful response adds `ratio` of one; retries
/// are allowed while more than half of the tokens are left.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "RetryTokens"))]
pub struct Tokens {
    /// Capacity of the bucket, which starts full: above 0, at most 1,000,000; default 10. gRPC's `maxTokens`.
    pub max_tokens: f64,
    /// Tokens that a successful response adds: above 0, at most `max_tokens`; default 0.1. gRPC's `tokenRatio`.
    pub ratio: f64,
}

impl Default for Tokens {
    /// The values of gRPC's example.
    fn default() -> Tokens {
        Tokens { max_tokens: 10.0, ratio: 0.1 }
    }
}

/// Token bucket of one shard for one pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Bucket {
    rules: Tokens,
    tokens: f64,
}

/// Limiter of retries: a budget or a token bucket.
#[derive(Clone, Debug, PartialEq)]
pub enum Throttle {
    /// Retries as a share of the requests.
    Budget(Budget),
    /// Tokens: failures cost them, successes add to them.
    Tokens(Bucket),
}

impl Throttle {
    /// Records a request (not a retry).
    pub fn deposit(&mut self, now: Nanos) {
        if let Throttle::Budget(budget) = self {
            budget.deposit(now);
        }
    }

    /// Records the end of an attempt, successful or not; cancelled attempts are not recorded.
    pub fn ended(&mut self, good: bool) {
        if let Throttle::Tokens(Bucket { rules, tokens }) = self {
            *tokens = (*tokens + if good { rules.ratio } else { -1.0 }).clamp(0.0, rules.max_tokens);
        }
    }

    /// Takes one retry; returns whether it was allowed.
    pub fn withdraw(&mut self, now: Nanos) -> bool {
        match self {
            Throttle::Budget(budget) => budget.withdraw(now),
            Throttle::Tokens(Bucket { rules, tokens }) => *tokens > rules.max_tokens / 2.0,
        }
    }
}

/// Buckets of a budget's window.
const BUCKETS: usize = 10;
/// Length of a bucket.
const BUCKET: u64 = 1_000_000_000;

/// Budget of extra attempts: over the last ten seconds, `ratio` for each request plus `floor` for each second.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    ratio: f64,
    floor: f64,
    /// (deposits, withdrawals) by second.
    buckets: [(u64, u64); BUCKETS],
    deposits: u64,
    withdrawals: u64,
    /// Second that the newest bucket covers.
    second: u64,
}

impl Budget {
    /// A budget that allows `ratio` extra attempts per request and `floor` per second.
    pub fn new(ratio: f64, floor: f64) -> Budget {
        Budget { ratio, floor, buckets: [(0, 0); BUCKETS], deposits: 0, withdrawals: 0, second: 0 }
    }

    /// Removes buckets older than the window.
    fn advance(&mut self, now: Nanos) {
        let second = now.0 / BUCKET;
        if second <= self.second {
            return;
        }
        for passed in self.second + 1..=second.min(self.second + BUCKETS as u64) {
            let (deposits, withdrawals) = std::mem::take(&mut self.buckets[(passed % BUCKETS as u64) as usize]);
            self.deposits -= deposits;
            self.withdrawals -= withdrawals;
        }
        self.second = second;
    }

    fn bucket(&mut self) -> &mut (u64, u64) {
        &mut self.buckets[(self.second % BUCKETS as u64) as usize]
    }

    /// Records a request (not a retry).
    pub fn deposit(&mut self, now: Nanos) {
        self.advance(now);
        self.bucket().0 += 1;
        self.deposits += 1;
    }

    /// Extra attempts that the budget allows now.
    pub fn balance(&mut self, now: Nanos) -> f64 {
        self.advance(now);
        self.deposits as f64 * self.ratio + self.floor * BUCKETS as f64 - self.withdrawals as f64
    }

    /// Takes one extra attempt out of the budget; returns whether it was allowed.
    pub fn withdraw(&mut self, now: Nanos) -> bool {
        // A tolerance of 1e-9 for rounding: ten tenths are one.
        let there = self.balance(now) >= 1.0 - 1e-9;
        if there {
            self.bucket().1 += 1;
            self.withdrawals += 1;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const RULES: Rules = Rules {
        max_retries: 2,
        on: [true, true, false, false, false],
        budget: 0.2,
        min_per_second: 3.0,
        tokens: None,
        backoff: Nanos::from_millis(25),
        max_backoff: Nanos::from_millis(40),
        per_try_timeout: None,
    };

    #[test]
    fn which_failures_are_retried() {
        assert!(RULES.allows(Failure::Connect, 0, false, false));
        assert!(RULES.allows(Failure::Reset, 1, true, true));
        assert!(!RULES.allows(Failure::Reset, 2, true, true), "two more than the first, and no more");
        assert!(!RULES.allows(Failure::Reset, 0, false, true), "it may have been done");
        assert!(!RULES.allows(Failure::Error, 0, true, true), "not in `on`");
        for (i, (failure, _)) in FAILURES.into_iter().enumerate() {
            assert_eq!(failure as usize, i);
        }
    }

    #[test]
    fn pauses_double_up_to_the_maximum_and_are_uniform_below_it() {
        let mut rng = Rng::stream(1, "test", 0);
        for (retry, bound) in [(1, 25.0), (2, 40.0), (3, 40.0), (200, 40.0)] {
            let pauses: Vec<f64> = (0..10_000).map(|_| RULES.pause(retry, &mut rng).as_secs_f64() * 1e3).collect();
            let most = pauses.iter().copied().fold(0.0, f64::max);
            assert!(most < bound && most > 0.99 * bound, "{retry}: {most}");
            // Uniform: the mean is half the bound; four standard errors are 4 · bound/√12/100.
            let mean = pauses.iter().sum::<f64>() / 1e4;
            assert!((mean - bound / 2.0).abs() < 4.0 * bound / 346.4, "{retry}: {mean}");
        }
    }

    #[test]
    fn the_budget_is_a_share_of_requests_plus_a_minimum_rate() {
        let mut budget = Budget::new(RULES.budget, RULES.min_per_second);
        let second = Nanos::from_secs;
        // No requests: 3 per second over ten seconds.
        let free = (0..100).filter(|_| budget.withdraw(second(0))).count();
        assert_eq!(free, 30);
        // 100 requests allow 20 more.
        (0..100).for_each(|_| budget.deposit(second(5)));
        assert_eq!((0..100).filter(|_| budget.withdraw(second(5))).count(), 20);
        // At 10 s the first thirty have left the window, at 15 s everything has.
        assert_eq!(budget.balance(second(10)), 30.0);
        assert_eq!(budget.balance(second(14)), 30.0);
        (0..10).for_each(|_| assert!(budget.withdraw(second(14))));
        assert_eq!(budget.balance(second(15)), 30.0 - 10.0);
        assert_eq!(budget.balance(second(1000)), 30.0);
    }

    #[test]
    fn tokens_are_grpcs() {
        let rules = Rules { tokens: Some(Tokens { max_tokens: 10.0, ratio: 0.1 }), ..RULES };
        let mut throttle = rules.new_throttle();
        // Ten tokens and retries above five: after five failures no retry is allowed.
        for left in (5..=9).rev() {
            assert!(throttle.withdraw(Nanos::ZERO));
            throttle.ended(false);
            assert_eq!(throttle, Throttle::Tokens(Bucket { rules: rules.tokens.unwrap(), tokens: f64::from(left) }));
        }
        assert!(!throttle.withdraw(Nanos::ZERO));
        throttle.ended(true);
        assert!(throttle.withdraw(Nanos::ZERO), "5.1 is more than half");
        (0..1000).for_each(|_| throttle.ended(true));
        assert_eq!(throttle, rules.new_throttle(), "never more than there are at first");
        // A tenth of a token for a success: with 10 % failures or more the bucket becomes empty and stays empty.
        (0..1000).for_each(|i| throttle.ended(i % 9 != 0));
        assert!(!throttle.withdraw(Nanos::ZERO));
    }

    #[test]
    fn under_steady_traffic_retries_are_the_ratio_of_requests() {
        // 1000 requests a second that all fail, each wanting one retry, for 60 s: 20 % of 60,000 and 3/s · 60 s, and the
        // floor of the window that is there from the start: at most 30 more.
        let mut budget = Budget::new(RULES.budget, RULES.min_per_second);
        let mut retries = 0;
        for i in 0..60_000 {
            let now = Nanos::from_millis(i);
            budget.deposit(now);
            retries += i32::from(budget.withdraw(now));
        }
        assert!((12_150..=12_240).contains(&retries), "{retries}");
    }
}
