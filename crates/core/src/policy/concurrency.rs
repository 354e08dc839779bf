//! Adaptive concurrency: a limit on requests in flight that is derived from latencies, not configured. A limit that is too
//! high is a queue in the servers, which shows as latency; one that is too low leaves them idle.
//!
//! * `gradient` (Envoy's adaptive concurrency filter): at intervals the limit drops to `min_limit` until `min_rtt_samples`
//!   responses have come; their quantile is the minimum latency (min RTT), that of a server without a queue. At the end of
//!   each interval gradient = min RTT × (1 + buffer) / quantile of the interval, kept in 0.5 … 2, and the new limit is
//!   gradient × limit + √(gradient × limit); the root leaves room for a queue to show in. A limit that stays at the minimum
//!   for five intervals is a sign of a stale min RTT: it is measured again. One difference from Envoy: a failed response
//!   counts as one that took at least twice the buffered min RTT, because a server that refuses at once would look fast.
//! * `aimd` (additive increase, multiplicative decrease, as in TCP and Netflix's concurrency-limits): each successful
//!   response while at least half of the limit is in use adds 1/limit, so one in a round trip; one that failed or was slower
//!   than `latency_threshold` multiplies the limit by `backoff_ratio`, once for all requests that were sent before that, as
//!   they report the same queue.
//!
//! The limit holds for a pool as one shard sees it, or for each of its servers: then a full server is excluded from picks, as
//! with `max_in_flight`, and a slow server is given fewer requests while the others go on.

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};

use super::catalog::{Doc, Issues, Policy};
use crate::math;
use crate::rng::{Rng, Source};
use crate::units::Nanos;
#[cfg(feature = "config")]
use crate::units::Ratio;

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "adaptive concurrency",
    idea: "Limits requests in flight, and derives the limit from latencies: it falls when responses get slower, because a queue has formed.",
    source: "Envoy's adaptive concurrency filter (gradient); Netflix's concurrency-limits (AIMD)",
    scenario: Some("overload"),
};

/// How the limit on requests in flight is found.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Concurrency"))]
pub struct Rules {
    /// `"gradient"` (ratio of the minimum latency to the present one; the default) or `"aimd"` (additive increase,
    /// multiplicative decrease).
    pub kind: Kind,
    /// `"pool"`: one limit for all servers, as each balancer or shard counts (the default); `"server"`: one for each.
    pub per: Per,
    /// Lowest limit, in requests, at least 1; default 3. `gradient` measures the minimum latency (min RTT) at this limit.
    /// Envoy's `min_concurrency`.
    pub min_limit: u32,
    /// Highest limit, in requests; default 1000. Envoy's `max_concurrency_limit`.
    pub max_limit: u32,
    /// `gradient`: time between updates of the limit, at least 1 ms; default 100 ms. Envoy's `concurrency_update_interval`.
    pub interval: Nanos,
    /// `gradient`: time between measurements of the minimum latency (min RTT), not below `interval`; default 60 s. Envoy's
    /// `min_rtt_calc_params.interval`.
    pub min_rtt_interval: Nanos,
    /// `gradient`: random extra delay before each measurement, as a share of `min_rtt_interval`; default 15 %. Envoy's
    /// `jitter`.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub jitter: f64,
    /// `gradient`: responses in a measurement of the minimum latency, at least 1; default 50. Envoy's `request_count`.
    pub min_rtt_samples: u32,
    /// `gradient`: quantile of the latencies that counts: above 0, at most 1; default 50 %. Envoy's
    /// `sample_aggregate_percentile`.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub quantile: f64,
    /// `gradient`: share by which responses may be slower than the minimum before the limit falls; default 25 %. Envoy's
    /// `buffer`.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub buffer: f64,
    /// `aimd`: a response slower than this lowers the limit, as a failure does. `None`: only failures lower it.
    pub latency_threshold: Option<Nanos>,
    /// `aimd`: factor on the limit when it is lowered, between 0 and 1; default 0.9. `backoffRatio` of concurrency-limits.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub backoff_ratio: f64,
}

impl Default for Rules {
    /// Envoy's; `backoff_ratio` of Netflix's concurrency-limits.
    fn default() -> Rules {
        Rules {
            kind: Kind::Gradient,
            per: Per::Pool,
            min_limit: 3,
            max_limit: 1000,
            interval: Nanos::from_millis(100),
            min_rtt_interval: Nanos::from_secs(60),
            jitter: 0.15,
            min_rtt_samples: 50,
            quantile: 0.5,
            buffer: 0.25,
            latency_threshold: None,
            backoff_ratio: 0.9,
        }
    }
}

/// Algorithm that finds a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "config", schemars(rename = "ConcurrencyKind"))]
pub enum Kind {
    /// Ratio of the minimum latency to the present one (Envoy).
    #[default]
    Gradient,
    /// Additive increase, multiplicative decrease.
    Aimd,
}

/// Scope of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "config", schemars(rename = "ConcurrencyPer"))]
pub enum Per {
    /// All servers of the pool together.
    #[default]
    Pool,
    /// Each server.
    Server,
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        let sound = self.min_limit > 0 && self.min_limit <= self.max_limit;
        issues.require(sound, "min_limit", "`min_limit` must be above zero and at most `max_limit`");
        let sound = self.interval >= Nanos::from_millis(1) && self.interval <= self.min_rtt_interval;
        issues.require(sound, "interval", "`interval` must be at least 1ms and at most `min_rtt_interval`");
        issues.require(self.min_rtt_samples > 0, "min_rtt_samples", "`min_rtt_samples` must be above zero");
        let sound = self.quantile > 0.0 && self.quantile <= 1.0;
        issues.require(sound, "quantile", "`quantile` must be above zero and at most 100 %");
        let sound = self.backoff_ratio > 0.0 && self.backoff_ratio < 1.0;
        issues.require(sound, "backoff_ratio", "`backoff_ratio` must lie between 0 and 100 %");
    }
}

/// Largest number of latencies kept per interval; the latest are kept.
const MOST_SAMPLES: usize = 1000;
/// Intervals at the minimum after which the minimum round trip is measured again.
const STUCK: u32 = 5;

/// Limiter of one pool or server.
#[derive(Clone, Debug)]
pub struct Limiter {
    rules: Rules,
    rng: Rng,
    limit: f64,
    /// Latencies of the present interval or measurement.
    samples: Vec<u64>,
    seen: u64,
    minimum_round_trip: Option<Nanos>,
    /// Measurement of the minimum round trip in progress: its start, and the limit before.
    measuring: Option<(Nanos, f64)>,
    interval_ends: Nanos,
    measure_at: Nanos,
    at_minimum: u32,
    /// Time at which the limit was last lowered because of a queue.
    cut_at: Nanos,
}

impl Limiter {
    /// A limiter without measurements. `rng` draws the jitter.
    pub fn new(rules: Rules, rng: Rng, now: Nanos) -> Limiter {
        let (limit, measuring) = match rules.kind {
            Kind::Gradient => (f64::from(rules.min_limit), Some((now, f64::from(rules.min_limit)))),
            // TCP starts low as well, and doubles each round trip; this one starts where a small pool is not throttled.
            Kind::Aimd => (f64::from(rules.min_limit.max(20).min(rules.max_limit)), None),
        };
        Limiter {
            rules,
            rng,
            limit,
            samples: Vec::new(),
            seen: 0,
            minimum_round_trip: None,
            measuring,
            interval_ends: now,
            measure_at: Nanos::MAX,
            at_minimum: 0,
            cut_at: Nanos::ZERO,
        }
    }

    /// Limit on requests in flight at present.
    #[inline]
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// Minimum latency, as last measured.
    pub fn minimum_round_trip(&self) -> Option<Nanos> {
        self.minimum_round_trip
    }

    /// Records a response, successful or not, its latency, and the requests in flight before it. Returns whether the limit
    /// changed.
    pub fn ended(&mut self, good: bool, latency: Nanos, in_flight: u32, now: Nanos) -> bool {
        let before = self.limit();
        match self.rules.kind {
            Kind::Aimd => {
                if good && self.rules.latency_threshold.is_none_or(|slow| latency <= slow) {
                    if 2 * in_flight >= before {
                        self.set(self.limit + 1.0 / self.limit);
                    }
                } else if now.saturating_sub(latency) >= self.cut_at {
                    self.set(self.limit * self.rules.backoff_ratio);
                    self.cut_at = now;
                }
            }
            Kind::Gradient => self.sample(good, latency, now),
        }
        self.limit() != before
    }

    fn set(&mut self, limit: f64) {
        self.limit = limit.clamp(f64::from(self.rules.min_limit), f64::from(self.rules.max_limit));
    }

    fn sample(&mut self, good: bool, latency: Nanos, now: Nanos) {
        let rules = self.rules;
        if self.measuring.is_none() && now >= self.measure_at {
            self.begin_measuring(now);
        }
        let sent = now.saturating_sub(latency);
        if let Some((since, before)) = self.measuring {
            // What was sent before the limit went down says nothing of a server without a queue; a failure, nothing either.
            if sent < since || !good {
                return;
            }
            self.keep(latency);
            if self.seen >= u64::from(rules.min_rtt_samples) {
                self.minimum_round_trip = self.quantile(rules.quantile);
                self.measuring = None;
                self.set(before);
                self.interval_ends = now.saturating_add(rules.interval);
                let longer = 1.0 + rules.jitter * self.rng.unit();
                let wait = Nanos::from_nanos_f64(rules.min_rtt_interval.0 as f64 * longer);
                self.measure_at = now.saturating_add(wait);
            }
            return;
        }
        let least = self.minimum_round_trip.unwrap_or_default().0 as f64 * (1.0 + rules.buffer);
        self.keep(if good { latency } else { latency.max(Nanos::from_nanos_f64(2.0 * least)) });
        if now < self.interval_ends {
            return;
        }
        self.interval_ends = now.saturating_add(rules.interval);
        let Some(took) = self.quantile(rules.quantile) else { return };
        let gradient = (least / took.0.max(1) as f64).clamp(0.5, 2.0);
        let kept = gradient * self.limit;
        self.set((kept + math::sqrt(kept)).floor());
        self.at_minimum = if self.limit() == self.rules.min_limit { self.at_minimum + 1 } else { 0 };
        if self.at_minimum >= STUCK {
            self.begin_measuring(now);
        }
    }

    fn begin_measuring(&mut self, now: Nanos) {
        self.measuring = Some((now, self.limit));
        self.at_minimum = 0;
        self.forget();
        self.set(f64::from(self.rules.min_limit));
    }

    fn keep(&mut self, latency: Nanos) {
        match self.samples.len() {
            n if n < MOST_SAMPLES => self.samples.push(latency.0),
            n => self.samples[(self.seen % n as u64) as usize] = latency.0,
        }
        self.seen += 1;
    }

    fn forget(&mut self) {
        self.samples.clear();
        self.seen = 0;
    }

    /// The quantile of the kept latencies, which are then cleared.
    fn quantile(&mut self, quantile: f64) -> Option<Nanos> {
        let n = self.samples.len();
        if n == 0 {
            return None;
        }
        let rank = ((quantile * n as f64).ceil() as usize).clamp(1, n) - 1;
        let value = *self.samples.select_nth_unstable(rank).1;
        self.forget();
        Some(Nanos(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn gradient() -> Rules {
        Rules { jitter: 0.0, ..Rules::default() }
    }

    fn limiter(rules: Rules) -> Limiter {
        Limiter::new(rules, Rng::stream(1, "test", 0), Nanos::ZERO)
    }

    /// Sends responses of this latency, one each millisecond for this time; returns the limit at the end.
    fn answers(limiter: &mut Limiter, latency: u64, from: u64, millis: u64) -> u32 {
        for at in from..from + millis {
            limiter.ended(true, Nanos(latency * MS), 1000, Nanos((at + latency) * MS));
        }
        limiter.limit()
    }

    #[test]
    fn the_gradient_is_envoys() {
        let mut l = limiter(gradient());
        assert_eq!(l.limit(), 3, "the minimum, while the round trip is measured");
        // 50 answers of 10 ms. Then each interval without a queue: the gradient is 1.25, and with L = 1.25 · limit the new
        // limit is ⌊L + √L⌋: 3 → 5 → 8 → 13 → 20.
        answers(&mut l, 10, 0, 50);
        assert_eq!((l.minimum_round_trip(), l.limit()), (Some(Nanos(10 * MS)), 3));
        let mut at = 50;
        for expected in [5, 8, 13, 20] {
            assert_eq!(answers(&mut l, 10, at, 100), expected);
            at += 100;
        }
        // Twice as long: 12.5/20 = 0.625, and ⌊12.5 + √12.5⌋ = 16.
        answers(&mut l, 20, at, 100);
        // (The interval's last ten answers before were sent earlier; the median is of the new ones.)
        assert_eq!(l.limit(), 16);
        // Ten times as long is 0.5 and no less. The first interval is still of those of 20 ms: ⌊10 + √10⌋ = 13, and then
        // ⌊6.5 + √6.5⌋ = 9.
        assert_eq!(answers(&mut l, 100, at + 100, 110), 9);
    }

    #[test]
    fn the_fixed_point_uses_up_the_buffer() {
        // A station that serves 100 at once in 10 ms, and in limit/100 · 10 ms where there are more: the limit L settles
        // where L = g·L + √(g·L), g = 12.5 ms / latency. With latency = L/10 ms: g·L = 125 for all L above 100, so at once
        // L = 125 + √125 = 136.2.
        let mut l = limiter(gradient());
        answers(&mut l, 10, 0, 50);
        let mut now = 60.0;
        for _ in 0..60 {
            let latency = (f64::from(l.limit()) / 10.0).max(10.0);
            for _ in 0..101 {
                now += 1.0;
                l.ended(true, Nanos((latency * 1e6) as u64), 1000, Nanos((now * 1e6) as u64));
            }
        }
        assert!((135..=137).contains(&l.limit()), "{}", l.limit());
    }

    #[test]
    fn a_limit_at_the_minimum_triggers_a_new_measurement() {
        let mut l = limiter(gradient());
        answers(&mut l, 10, 0, 50);
        // The servers are three times slower permanently. Gradient ½: 3 → ⌊1.5 + 1.2⌋ = 2, so 3; five times over, and then
        // fifty answers make a new minimum.
        answers(&mut l, 30, 50, 700);
        assert_eq!(l.minimum_round_trip(), Some(Nanos(30 * MS)));
        assert!(answers(&mut l, 30, 750, 300) > 3);
    }

    #[test]
    fn each_measurement_lowers_the_limit_for_fifty_responses() {
        let mut l = limiter(gradient());
        answers(&mut l, 10, 0, 50);
        assert!(answers(&mut l, 10, 50, 59_000) > 100);
        answers(&mut l, 10, 59_050, 1_020);
        assert_eq!(l.limit(), 3);
        assert!(answers(&mut l, 10, 60_070, 60) > 100, "and is what it was");
    }

    #[test]
    fn fast_failures_do_not_count_as_fast_responses() {
        let mut l = limiter(gradient());
        answers(&mut l, 10, 0, 50);
        answers(&mut l, 10, 50, 1000);
        let before = l.limit();
        for at in 1100..1300 {
            l.ended(false, Nanos(MS), 1000, Nanos(at * MS));
        }
        assert!(l.limit() < before, "{} is not below {before}", l.limit());
    }

    #[test]
    fn aimd_adds_one_per_round_trip_and_subtracts_a_tenth() {
        let mut l = limiter(Rules { kind: Kind::Aimd, latency_threshold: Some(Nanos(50 * MS)), ..Rules::default() });
        assert_eq!(l.limit(), 20);
        // Twenty answers are a round trip of twenty in flight: Σ 1/limit is a little below one.
        for _ in 0..21 {
            l.ended(true, Nanos(MS), 20, Nanos(MS));
        }
        assert_eq!(l.limit(), 21);
        l.ended(true, Nanos(60 * MS), 20, Nanos(100 * MS));
        assert_eq!(l.limit(), 18, "0.9 · 21.0");
        l.ended(true, Nanos(60 * MS), 20, Nanos(101 * MS));
        assert_eq!(l.limit(), 18, "sent before the limit came down");
        l.ended(false, Nanos(MS), 20, Nanos(101 * MS));
        assert_eq!(l.limit(), 17, "0.9 · 18.9");
        // An unused limit does not grow.
        for _ in 0..1000 {
            l.ended(true, Nanos(MS), 5, Nanos(MS));
        }
        assert_eq!(l.limit(), 17);
        for i in 0..1000 {
            l.ended(false, Nanos(MS), 5, Nanos((200 + 2 * i) * MS));
        }
        assert_eq!(l.limit(), 3);
    }
}
