//! Active health checks: a server is down after `fall` failed checks in a row and up after `rise` good ones (HAProxy's
//! terms and defaults: every 2 s, rise 2, fall 3). Jitter spreads the checks of many balancers: without it, those that
//! were started together knock together for ever.

use crate::rng::Source;
use crate::units::Nanos;

/// How a server is checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// From the start of a check to the start of the next.
    pub interval: Nanos,
    /// A check without an answer for this long has failed.
    pub timeout: Nanos,
    /// Good checks in a row that bring a server up.
    pub rise: u32,
    /// Failed checks in a row that take it down.
    pub fall: u32,
    /// Each interval is longer or shorter by up to this share, 0 to 1.
    pub jitter: f64,
    /// Whether a server counts as up until found otherwise; else it must first rise.
    pub initial_up: bool,
}

impl Rules {
    /// Time to the next check: uniform in interval × (1 ± jitter). Draws nothing where there is no jitter.
    pub fn wait(&self, rng: &mut impl Source) -> Nanos {
        if self.jitter <= 0.0 {
            return self.interval;
        }
        let factor = 1.0 + self.jitter * (2.0 * rng.unit() - 1.0);
        Nanos::from_nanos_f64(self.interval.0 as f64 * factor).max(Nanos(1))
    }
}

/// What the checks say of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    up: bool,
    /// Checks in a row that speak against `up`.
    against: u32,
}

impl Default for State {
    /// Up until found otherwise: what is true where nobody checks.
    fn default() -> State {
        State { up: true, against: 0 }
    }
}

impl State {
    /// Before the first check.
    pub fn new(rules: &Rules) -> State {
        State { up: rules.initial_up, against: 0 }
    }

    /// The verdict.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Takes in a check's result; `Some(up)` when the verdict changes.
    pub fn observe(&mut self, passed: bool, rules: &Rules) -> Option<bool> {
        if passed == self.up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < if self.up { rules.fall } else { rules.rise } {
            return None;
        }
        *self = State { up: passed, against: 0 };
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const RULES: Rules =
        Rules { interval: Nanos::from_secs(2), timeout: Nanos(1), rise: 2, fall: 3, jitter: 0.0, initial_up: true };

    #[test]
    fn falls_after_three_in_a_row_and_rises_after_two() {
        let mut state = State::new(&RULES);
        let results = [false, false, true, false, false, false, true, false, true, true];
        let changes: Vec<_> = results.iter().map(|&ok| state.observe(ok, &RULES)).collect();
        let mut expected = [None; 10];
        (expected[5], expected[9]) = (Some(false), Some(true));
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_server_that_starts_down_must_rise_first() {
        let rules = Rules { initial_up: false, ..RULES };
        let mut state = State::new(&rules);
        assert!(!state.is_up());
        assert_eq!([true, true].map(|ok| state.observe(ok, &rules)), [None, Some(true)]);
    }

    #[test]
    fn jitter_spreads_evenly_around_the_interval_and_none_draws_nothing() {
        let mut rng = Rng::stream(1, "test", 0);
        let before = rng.clone();
        assert_eq!(RULES.wait(&mut rng), Nanos::from_secs(2));
        assert_eq!(rng, before);
        let rules = Rules { jitter: 0.1, ..RULES };
        let waits: Vec<f64> = (0..10_000).map(|_| rules.wait(&mut rng).as_secs_f64()).collect();
        let least = waits.iter().copied().fold(f64::INFINITY, f64::min);
        let most = waits.iter().copied().fold(0.0, f64::max);
        assert!((1.8..1.801).contains(&least) && (2.199..=2.2).contains(&most), "{least} {most}");
        // Uniform on [1.8, 2.2]: mean 2, standard error 0.4/√12/√10000 = 0.00115; four of them.
        let mean = waits.iter().sum::<f64>() / 1e4;
        assert!((mean - 2.0).abs() < 0.0047, "{mean}");
    }
}
