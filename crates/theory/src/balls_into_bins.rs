//! Balls into bins: how even the counts are when nothing ever leaves. Tests of a selector's core alone, and of hash rings.

use evenkeel_core::math::sqrt;

use super::numeric::poisson;

/// Share of bins with at least `k` balls when `balls_per_bin` times as many balls as bins are thrown at random: Poisson.
///
/// **A limit**: the error at n bins is of the order of 1/n.
pub fn random_share(balls_per_bin: f64, k: usize) -> f64 {
    // The tail, not one minus the rest: it may be very small. Forty deviations on, nothing is left of it.
    let top = k + balls_per_bin as usize + (40.0 * sqrt(balls_per_bin + 1.0)) as usize + 40;
    poisson(balls_per_bin, top)[k..].iter().rev().sum()
}

/// Shares of bins with at least 0, 1, 2, ... balls when each ball goes to the emptiest of `choices` (at least two) bins drawn
/// with replacement; as long as they are above 1e-300. The steps are fine enough for ten digits of all of them.
///
/// **A limit**, the fluid one, for many bins (M. Mitzenmacher, "Studying balanced allocations with differential equations",
/// 1999): ds_k/dt = s_{k-1}^d - s_k^d up to t = `balls_per_bin`. For one choice use [`random_share`].
pub fn greedy_shares(balls_per_bin: f64, choices: u32) -> Vec<f64> {
    assert!(choices >= 2, "with one choice the shares are Poisson's");
    // Far above the mean a share is the square (or more) of the one below: a dozen levels reach beyond what floats hold.
    let levels = balls_per_bin as usize + 14;
    let steps = (balls_per_bin * 8192.0) as usize + 1;
    let h = balls_per_bin / steps as f64;
    let mut s = vec![0.0; levels];
    s[0] = 1.0;
    for _ in 0..steps {
        runge_kutta(&mut s, h, choices);
    }
    s.into_iter().take_while(|&share| share > 1e-300).collect()
}

/// One step of the classic fourth-order method.
fn runge_kutta(s: &mut [f64], h: f64, d: u32) {
    let slope = |s: &[f64]| -> Vec<f64> {
        let powers: Vec<f64> = s.iter().map(|&x| (1..d).fold(x, |power, _| power * x)).collect();
        (0..s.len()).map(|k| if k == 0 { 0.0 } else { powers[k - 1] - powers[k] }).collect()
    };
    let ahead =
        |s: &[f64], slope: &[f64], h: f64| -> Vec<f64> { s.iter().zip(slope).map(|(x, v)| x + h * v).collect() };
    let first = slope(s);
    let second = slope(&ahead(s, &first, 0.5 * h));
    let third = slope(&ahead(s, &second, 0.5 * h));
    let fourth = slope(&ahead(s, &third, h));
    for (k, x) in s.iter_mut().enumerate() {
        *x += h / 6.0 * (first[k] + 2.0 * (second[k] + third[k]) + fourth[k]);
    }
}

/// Jain's index of the counts when `requests` go to `servers` at random. The mean squared variation is exactly
/// (n - 1) / m; **the index at that mean** is a little below the mean of the index (by convexity).
pub fn random_jain(requests: u64, servers: u32) -> f64 {
    1.0 / (1.0 + (f64::from(servers) - 1.0) / requests as f64)
}

/// Coefficient of variation of a server's share of the key space on a ring with `points` random points per server: its share
/// has the Beta distribution with parameters k and k (n - 1).
pub fn ring_deviation(servers: u32, points: u32) -> f64 {
    let (n, k) = (f64::from(servers), f64::from(points));
    sqrt((n - 1.0) / (k * n + 1.0))
}

/// Jain's index of those shares **at the mean squared variation**: (n k + 1) / (n (k + 1)).
pub fn ring_jain(servers: u32, points: u32) -> f64 {
    let (n, k) = (f64::from(servers), f64::from(points));
    (n * k + 1.0) / (n * (k + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::math::exp;

    /// One ball per bin and two choices: the share of bins that are not empty is tanh 1 (the equation of level one can be
    /// solved by hand).
    #[test]
    fn two_choices() {
        let tanh = (exp(2.0) - 1.0) / (exp(2.0) + 1.0);
        let shares = greedy_shares(1.0, 2);
        assert!((shares[1] - tanh).abs() < 1e-12, "{shares:?}");
        // Every ball is somewhere: the levels sum to the balls per bin.
        let sum: f64 = greedy_shares(3.0, 3).iter().skip(1).sum();
        assert!((sum - 3.0).abs() < 1e-12, "{sum}");
    }

    #[test]
    fn one_choice() {
        assert!((random_share(1.0, 1) - (1.0 - exp(-1.0))).abs() < 1e-14);
        assert!((random_share(1.0, 2) - (1.0 - 2.0 * exp(-1.0))).abs() < 1e-14);
        assert!((random_share(200.0, 0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn evenness() {
        assert!((random_jain(1000, 10) - 1.0 / 1.009).abs() < 1e-15);
        assert!((ring_jain(10, 1) - 0.55).abs() < 1e-15);
        let deviation = ring_deviation(10, 100);
        assert!((ring_jain(10, 100) - 1.0 / (1.0 + deviation * deviation)).abs() < 1e-15);
    }
}
