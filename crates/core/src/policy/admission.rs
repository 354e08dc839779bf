//! Admission control: when too few requests are answered well, a share of the new ones is turned away before any server
//! sees them, so that those that are let in find servers that can answer (Envoy's admission control filter; the idea is
//! the adaptive throttling of Site Reliability Engineering, chapter 21).
//!
//! Over a sliding window, with `rq` requests ended and `ok` of them well, the probability of being turned away is
//! max(0, (rq − ok / success_threshold) / (rq + 1)) ^ (1 / aggression), at most `max_rejection`.
//! Rejected requests do not count: what is let in is tried, so the way back is open.
//!
//! Nobody is to blame but the servers: where half of the requests fail because they are bad requests, half of the good ones
//! are turned away. Only failures of servers count here (errors, resets, time-outs).

use crate::math;
use crate::rng::Source;
use crate::units::Nanos;

/// Who is turned away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// With a larger share of good answers nobody is.
    pub success_threshold: f64,
    /// 1 is linear; more turns away more as soon as something fails.
    pub aggression: f64,
    /// How far one looks back.
    pub window: Nanos,
    /// At most this share.
    pub max_rejection: f64,
    /// Fewer requests per second say nothing, and nobody is turned away.
    pub min_request_rate: f64,
}

/// Parts of the window.
const BUCKETS: u64 = 30;

/// What one shard knows of one pool.
#[derive(Clone, Debug)]
pub struct State {
    rules: Rules,
    /// (ended, ended well) by part of the window.
    buckets: [(u64, u64); BUCKETS as usize],
    all: u64,
    good: u64,
    /// Number of the part that the newest bucket stands for.
    part: u64,
}

impl State {
    /// Knows nothing yet.
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

    /// A request ended, well or not.
    pub fn ended(&mut self, good: bool, now: Nanos) {
        self.advance(now);
        let bucket = &mut self.buckets[(self.part % BUCKETS) as usize];
        (bucket.0, bucket.1) = (bucket.0 + 1, bucket.1 + u64::from(good));
        self.all += 1;
        self.good += u64::from(good);
    }

    /// The share of new requests that is turned away now.
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

    /// Whether a new request is let in.
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
        // Under 40 a second it looks away: 1000 in 30 s are 33.
        assert_eq!(after(Rules { min_request_rate: 40.0, ..RULES }, 1000, 0).rejection(now), 0.0);
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut state = after(RULES, 1000, 0);
        assert_eq!(state.rejection(Nanos::from_secs(30)), 0.8);
        assert_eq!(state.rejection(Nanos::from_secs(31)), 0.0);
        assert_eq!(state.rejection(Nanos::from_secs(3100)), 0.0);
    }

    #[test]
    fn that_share_is_turned_away() {
        let mut state = after(RULES, 1000, 500);
        let mut rng = Rng::stream(1, "test", 0);
        let away = (0..10_000).filter(|_| !state.admits(Nanos::from_secs(1), &mut rng)).count();
        // p = 0.4732: four standard deviations are 200.
        assert!((away as f64 - 4732.0).abs() < 200.0, "{away}");
    }
}
