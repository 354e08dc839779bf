//! Slow start: a server that comes, or comes back, has cold caches and cold code, and gets its share little by little.
//!
//! The factor is Envoy's: `max(min_share, (elapsed / window)^(1 / aggression))`; aggression 1 is a straight line, above 1 it
//! starts more steeply. What it is applied to differs: Envoy, HAProxy and nginx scale weights, and so have slow start for
//! some strategies only. Here a pick that lands on a warming server is kept with this probability and made again without
//! that server otherwise ([`super::pool::ServerPool::place`]): *thinning*, which is the same for every strategy, a hash or a
//! moving average alike, and rebuilds no table.

use crate::math;
use crate::units::Nanos;

/// How a server warms up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Until it has its full share.
    pub window: Nanos,
    /// Shape: 1 is linear, more is steeper at the start. Above zero.
    pub aggression: f64,
    /// The share it has from the start, 0 to 1.
    pub min_share: f64,
}

impl Rules {
    /// The share of what it would get that a server gets `elapsed` after it came: from `min_share` to 1.
    pub fn factor(&self, elapsed: Nanos) -> f64 {
        if elapsed >= self.window {
            return 1.0;
        }
        let part = elapsed.0 as f64 / self.window.0 as f64;
        // The straight line without `pow`, whose last bit is nobody's business.
        let grown = if self.aggression == 1.0 { part } else { math::pow(part, 1.0 / self.aggression) };
        grown.max(self.min_share).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_is_envoys() {
        let rules = Rules { window: Nanos::from_secs(30), aggression: 1.0, min_share: 0.1 };
        let at = |rules: &Rules, secs: f64| rules.factor(Nanos::from_secs_f64(secs));
        for (secs, expected) in [(0.0, 0.1), (1.5, 0.1), (6.0, 0.2), (15.0, 0.5), (30.0, 1.0), (99.0, 1.0)] {
            assert!((at(&rules, secs) - expected).abs() < 1e-12, "{secs}: {}", at(&rules, secs));
        }
        // A quarter of the window at aggression 2 is the square root of a quarter; at aggression 0.5 its square.
        assert!((at(&Rules { aggression: 2.0, ..rules }, 7.5) - 0.5).abs() < 1e-12);
        assert!((at(&Rules { aggression: 0.5, min_share: 0.0, ..rules }, 7.5) - 0.0625).abs() < 1e-12);
    }

    #[test]
    fn no_window_is_no_slow_start() {
        assert_eq!(Rules { window: Nanos::ZERO, aggression: 1.0, min_share: 0.1 }.factor(Nanos::ZERO), 1.0);
    }
}
