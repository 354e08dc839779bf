//! Admission control: while too few requests succeed, a share of the new ones is rejected before any server sees them, so
//! that the servers can answer those that are admitted (Envoy's admission control filter; adaptive throttling in Site
//! Reliability Engineering, chapter 21).
//!
//! Over a sliding window with `rq` completed requests, `ok` of them successful, the rejection probability is
//! max(0, (rq − ok / success_threshold) / (rq + 1)) ^ (1 / aggression), at most `max_rejection`. Rejected requests do not
//! count, so the success rate recovers as soon as the servers do.
//!
//! Only server failures count (errors, resets, timeouts); client errors do not.

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};

use super::catalog::{Doc, Issues, Policy};
use crate::math;
use crate::rng::Source;
use crate::units::Nanos;
#[cfg(feature = "config")]
use crate::units::{Rate, Ratio};

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "admission control",
    idea: "While too few requests succeed, rejects a share of the new ones before any server sees them, so that the servers can answer the rest.",
    source: "Envoy's admission control filter; Site Reliability Engineering, chapter 21 (adaptive throttling)",
    scenario: Some("overload"),
};

/// Which share of the requests is rejected.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Admission"))]
pub struct Rules {
    /// Success rate above which every request is admitted: above 0, at most 1; default 0.95. Envoy's `sr_threshold`.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub success_threshold: f64,
    /// Exponent of the rejection curve, above 0; default 1 (linear). Larger values reject more as soon as requests fail.
    /// Envoy's `aggression`.
    pub aggression: f64,
    /// Length of the sliding window of completed requests, at least 30 ms; default 30 s. Envoy's `sampling_window`.
    pub window: Nanos,
    /// Largest share of requests that is rejected: above 0, at most 1; default 0.8. Envoy's `max_rejection_probability`.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub max_rejection: f64,
    /// Request rate below which none is rejected; default 0/s. Envoy's `rps_threshold`.
    #[cfg_attr(feature = "config", serde(with = "super::serial::rate"))]
    #[cfg_attr(feature = "config", schemars(with = "Rate"))]
    pub min_request_rate: f64,
}

impl Default for Rules {
    /// Envoy's.
    fn default() -> Rules {
        Rules {
            success_threshold: 0.95,
            aggression: 1.0,
            window: Nanos::from_secs(30),
            max_rejection: 0.8,
            min_request_rate: 0.0,
        }
    }
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        let share = |share: f64| share > 0.0 && share <= 1.0;
        let message = "`success_threshold` must be above zero and at most 100 %";
        issues.require(share(self.success_threshold), "success_threshold", message);
        let message = "`max_rejection` must be above zero and at most 100 %";
        issues.require(share(self.max_rejection), "max_rejection", message);
        let sound = self.aggression > 0.0 && self.aggression.is_finite();
        issues.require(sound, "aggression", "`aggression` must be above zero");
        issues.require(self.window >= Nanos::from_millis(BUCKETS), "window", "`window` must be at least 30ms");
    }
}

/// Buckets of the window.
const BUCKETS: u64 = 30;

/// Success rate of one pool as one shard counts it.
#[derive(Clone, Debug)]
pub struct State {
    rules: Rules,
    /// (completed, successful) requests by bucket of the window.
    buckets: [(u64, u64); BUCKETS as usize],
    all: u64,
    good: u64,
    /// Index of the newest bucket.
    part: u64,
}

impl State {
    /// An empty window.
    pub fn new(rules: Rules) -> State {
        State { rules, buckets: [(0, 0); BUCKETS as usize], all: 0, good: 0, part: 0 }
    }

    fn advance(&mut self, now: Nanos) {
        let part = now.0 / (self.rules.window.0 / BUCKETS).max(1);
        for passed in self.part + 1..=part.min(self.part + BUCKETS) {
            let (all, good) = std::mem::take(&mut self.buckets[(passed % BUCKETS) as usize]);
            self.all -= all;
            self.good -= good;
        }
        self.part = self.part.max(part);
    }

    /// Records the end of a request; `good` if no server failed.
    pub fn ended(&mut self, good: bool, now: Nanos) {
        self.advance(now);
        let bucket = &mut self.buckets[(self.part % BUCKETS) as usize];
        (bucket.0, bucket.1) = (bucket.0 + 1, bucket.1 + u64::from(good));
        self.all += 1;
        self.good += u64::from(good);
    }

    /// Present rejection probability, 0 to `max_rejection`.
    pub fn rejection(&mut self, now: Nanos) -> f64 {
        self.advance(now);
        let Rules { success_threshold, aggression, window, max_rejection, min_request_rate } = self.rules;
        if (self.all as f64) < min_request_rate * window.as_secs_f64() {
            return 0.0;
        }
        let all = self.all as f64;
        let share = ((all - self.good as f64 / success_threshold) / (all + 1.0)).max(0.0);
        let share = if aggression == 1.0 || share == 0.0 { share } else { math::pow(share, 1.0 / aggression) };
        share.min(max_rejection)
    }

    /// Whether a new request is admitted.
    pub fn admits(&mut self, now: Nanos, rng: &mut impl Source) -> bool {
        let rejection = self.rejection(now);
        rejection == 0.0 || rng.unit() >= rejection
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const RULES: Rules = Rules {
        success_threshold: 0.95,
        aggression: 1.0,
        window: Nanos::from_secs(30),
        max_rejection: 0.8,
        min_request_rate: 0.0,
    };

    fn after(rules: Rules, all: u64, good: u64) -> State {
        let mut state = State::new(rules);
        (0..all).for_each(|i| state.ended(i < good, Nanos::from_secs(1)));
        state
    }

    #[test]
    fn the_probability_is_envoys() {
        let now = Nanos::from_secs(1);
        for (all, good, expected) in [
            (1000, 1000, 0.0),
            (1000, 950, 0.0),
            // (1000 − 800/0.95)/1001
            (1000, 800, 0.157_737),
            (1000, 500, 0.473_211),
            (1000, 0, 0.8),
        ] {
            let got = after(RULES, all, good).rejection(now);
            assert!((got - expected).abs() < 1e-6, "{all} {good}: {got}");
        }
        // Aggression 2 is the root.
        let got = after(Rules { aggression: 2.0, ..RULES }, 1000, 800).rejection(now);
        assert!((got - 0.157_737_f64.sqrt()).abs() < 1e-5, "{got}");
        // Below 40 requests per second none is rejected: 1000 in 30 s are 33 per second.
        assert_eq!(after(Rules { min_request_rate: 40.0, ..RULES }, 1000, 0).rejection(now), 0.0);
    }

    #[test]
    fn requests_older_than_the_window_do_not_count() {
        let mut state = after(RULES, 1000, 0);
        assert_eq!(state.rejection(Nanos::from_secs(30)), 0.8);
        assert_eq!(state.rejection(Nanos::from_secs(31)), 0.0);
        assert_eq!(state.rejection(Nanos::from_secs(3100)), 0.0);
    }

    #[test]
    fn the_computed_share_is_rejected() {
        let mut state = after(RULES, 1000, 500);
        let mut rng = Rng::stream(1, "test", 0);
        let away = (0..10_000).filter(|_| !state.admits(Nanos::from_secs(1), &mut rng)).count();
        // p = 0.4732: four standard deviations are 200.
        assert!((away as f64 - 4732.0).abs() < 200.0, "{away}");
    }
}
