//! What caches hold when every look-up is an independent draw from fixed popularities.

use evenkeel_core::math::{exp_m1, pow, sqrt};

/// Zipf's distribution over `items`: the probability of the i-th is proportional to i to the power of minus `exponent`. Most
/// popular first.
pub fn zipf(items: usize, exponent: f64) -> Vec<f64> {
    let weights: Vec<f64> = (1..=items).map(|i| pow(i as f64, -exponent)).collect();
    // From the small end: a million small terms count only if they meet before the large ones.
    let total: f64 = weights.iter().rev().sum();
    weights.iter().map(|w| w / total).collect()
}

/// Hit ratio of a least-recently-used cache of `capacity` items.
///
/// **An approximation** (H. Che, Y. Tung and Z. Wang, "Hierarchical Web caching systems", IEEE JSAC 20, 2002): every item is
/// assumed to stay for the same time after its last use. The error is about 1 to 2 % of the ratio for a capacity of two or
/// three items, and vanishes as the capacity grows (C. Fricker, P. Robert and J. Roberts, 2012).
pub fn che_hit_ratio(popularities: &[f64], capacity: usize) -> f64 {
    if capacity >= popularities.len() {
        return 1.0;
    }
    let age = characteristic_time(popularities, capacity as f64);
    popularities.iter().rev().map(|p| -p * exp_m1(-p * age)).sum()
}

/// The number of look-ups for which an item stays: the expected number of distinct items in as many is the capacity. That
/// number is a concave function of time, so Newton's steps from the left never overshoot.
fn characteristic_time(popularities: &[f64], capacity: f64) -> f64 {
    let mut age = capacity;
    loop {
        let (mut missing, mut slope) = (capacity, 0.0);
        for p in popularities.iter().rev() {
            let present = -exp_m1(-p * age);
            missing -= present;
            slope += p * (1.0 - present);
        }
        let step = missing / slope;
        age += step.max(0.0);
        if step <= 1e-13 * age {
            return age;
        }
    }
}

/// Hit ratio of a cache of unlimited capacity that keeps each item for a time `ttl` after it was stored; hits do not prolong
/// it.
/// Look-ups are Poisson, `rate` per unit of time in all. Exact where a miss is stored at once: a miss is followed by
/// rate * p * ttl hits on average.
pub fn ttl_hit_ratio(popularities: &[f64], rate: f64, ttl: f64) -> f64 {
    popularities.iter().rev().map(|p| p * (rate * p * ttl) / (1.0 + rate * p * ttl)).sum()
}

/// Hit ratio of the best cache that never changes: it holds the `capacity` most popular items. No policy does better under
/// independent references; least-frequently-used tends to it.
pub fn static_hit_ratio(popularities: &[f64], capacity: usize) -> f64 {
    let mut sorted = popularities.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.truncate(capacity);
    sorted.iter().rev().sum()
}

/// Coefficient of variation of the request rates of `servers` servers when each item goes to one of them at random for good,
/// as under consistent hashing: sqrt((n - 1) sum p_i^2), exact over random placements.
pub fn affinity_deviation(popularities: &[f64], servers: usize) -> f64 {
    let squares: f64 = popularities.iter().rev().map(|p| p * p).sum();
    sqrt((servers as f64 - 1.0) * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zipf_is_a_distribution() {
        let probabilities = zipf(1000, 0.9);
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((probabilities[0] / probabilities[9] - pow(10.0, 0.9)).abs() < 1e-12);
    }

    /// Equal popularities: any cache hits as much as it holds.
    #[test]
    fn equal_items() {
        let probabilities = zipf(50, 0.0);
        assert!((che_hit_ratio(&probabilities, 20) - 0.4).abs() < 1e-12);
        assert!((static_hit_ratio(&probabilities, 20) - 0.4).abs() < 1e-12);
        assert_eq!(che_hit_ratio(&probabilities, 50), 1.0);
        assert_eq!(che_hit_ratio(&probabilities, 0), 0.0);
    }

    /// One item, one look-up per time to live on average: every other one hits.
    #[test]
    fn times_to_live() {
        assert!((ttl_hit_ratio(&[1.0], 0.5, 2.0) - 0.5).abs() < 1e-15);
        // Two items alike, each at half the rate.
        assert!((ttl_hit_ratio(&[0.5, 0.5], 1.0, 2.0) - 0.5).abs() < 1e-15);
    }

    /// Against the exact value for two items of three (W. King's formula, summed over the ordered pairs that the cache can
    /// hold): the approximation is within 2 %.
    #[test]
    fn near_the_exact_value() {
        let probabilities = zipf(3, 1.0);
        let mut exact = 0.0;
        for (i, p) in probabilities.iter().enumerate() {
            for (j, q) in probabilities.iter().enumerate() {
                if i != j {
                    exact += p * q / (1.0 - p) * (p + q);
                }
            }
        }
        let approximate = che_hit_ratio(&probabilities, 2);
        assert!((approximate / exact - 1.0).abs() < 0.02, "{approximate} {exact}");
    }

    /// One item: all its requests meet one server of n; the deviation of (n, 0, 0, ...) over its mean is sqrt(n - 1).
    #[test]
    fn one_item_makes_one_server_hot() {
        assert!((affinity_deviation(&[1.0], 10) - 3.0).abs() < 1e-15);
    }
}
