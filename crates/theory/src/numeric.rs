//! Numerical tools of this crate: roots, integrals, Poisson probabilities, mixtures of Erlang distributions.

use evenkeel_core::math::{exp, ln, ln_gamma};

/// The argument between `low` and `high` at which `f` changes sign, by halving until no float lies between: slower than
/// cleverer methods, but it cannot fail, and its last bit does not depend on a tolerance.
pub fn root(f: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let rising = f(high) > 0.0;
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if (f(middle) > 0.0) == rising {
            high = middle;
        } else {
            low = middle;
        }
    }
}

/// The time at which a falling `tail(t) = P(T > t)` reaches `1 - q`; `scale` is a guess of its order. Zero where the distribution
/// has at least `q` of its mass at zero.
pub fn quantile(tail: impl Fn(f64) -> f64, q: f64, scale: f64) -> f64 {
    assert!((0.0..1.0).contains(&q), "a quantile lies in [0, 1), not at {q}");
    let beyond = |t: f64| tail(t) - (1.0 - q);
    if beyond(0.0) <= 0.0 {
        return 0.0;
    }
    let mut high = scale;
    while beyond(high) > 0.0 {
        high *= 2.0;
    }
    root(beyond, 0.0, high)
}

/// The integral of a smooth function, by the Gauss-Legendre rule of eight points on each of 256 equal panels.
pub fn integral(f: impl Fn(f64) -> f64, from: f64, to: f64) -> f64 {
    /// Points of the rule in (0, 1), mirrored in (-1, 0), with their weights.
    const RULE: [(f64, f64); 4] = [
        (0.183_434_642_495_649_8, 0.362_683_783_378_362),
        (0.525_532_409_916_329, 0.313_706_645_877_887_3),
        (0.796_666_477_413_626_7, 0.222_381_034_453_374_5),
        (0.960_289_856_497_536_3, 0.101_228_536_290_376_3),
    ];
    const PANELS: u32 = 256;
    let half = 0.5 * (to - from) / f64::from(PANELS);
    let panel = |i: u32| {
        let middle = from + half * f64::from(2 * i + 1);
        RULE.iter().map(|(x, weight)| weight * (f(middle - half * x) + f(middle + half * x))).sum::<f64>()
    };
    half * (0..PANELS).map(panel).sum::<f64>()
}

/// The probabilities of 0, 1, ..., `top` of a Poisson distribution. They are computed from the largest one to both sides,
/// since e to the power of minus mean underflows where the mean is some hundreds.
pub fn poisson(mean: f64, top: usize) -> Vec<f64> {
    let mut terms = vec![0.0; top + 1];
    if mean <= 0.0 {
        terms[0] = 1.0;
        return terms;
    }
    let mode = (mean as usize).min(top);
    terms[mode] = exp(mode as f64 * ln(mean) - mean - ln_gamma(mode as f64 + 1.0));
    for k in (0..mode).rev() {
        terms[k] = terms[k + 1] * (k + 1) as f64 / mean;
    }
    for k in mode..top {
        terms[k + 1] = terms[k] * mean / (k + 1) as f64;
    }
    terms
}

/// `P(T > t)` where T is the sum of K + 1 exponential times of the given rate and `beyond[j] = P(K >= j)`: the sojourn under
/// first come first served of a request that found K others before it.
pub fn erlang_mixture_tail(beyond: &[f64], rate: f64, t: f64) -> f64 {
    if beyond.is_empty() {
        return 0.0;
    }
    poisson(rate * t, beyond.len() - 1).iter().zip(beyond).map(|(p, b)| p * b).sum()
}

/// From `P(K = k)` to `P(K >= k)`, summed from the small end, where the small terms count.
pub fn beyond(probabilities: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let mut result: Vec<f64> = probabilities
        .iter()
        .rev()
        .map(|p| {
            sum += p;
            sum
        })
        .collect();
    result.reverse();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_is_found_to_the_last_bit_or_so() {
        assert!((root(|x| x * x - 2.0, 0.0, 2.0) - std::f64::consts::SQRT_2).abs() <= f64::EPSILON);
        assert!((root(|x| 2.0 - x * x, 0.0, 2.0) - std::f64::consts::SQRT_2).abs() <= f64::EPSILON);
    }

    #[test]
    fn integrals_of_known_functions() {
        assert!((integral(|x| exp(-x), 0.0, 40.0) - 1.0).abs() < 1e-13);
        assert!((integral(|x| x * x * x, -1.0, 2.0) - 3.75).abs() < 1e-13);
        assert_eq!(integral(|x| x, 1.0, 1.0), 0.0);
    }

    #[test]
    fn poisson_sums_to_one_also_for_large_means() {
        for mean in [0.0, 0.3, 7.0, 1500.0] {
            let sum: f64 = poisson(mean, 3000).iter().sum();
            assert!((sum - 1.0).abs() < 1e-11, "{mean}: {sum}");
        }
    }

    /// No request before it: exponential. K geometric: a geometric sum of exponentials is exponential.
    #[test]
    fn erlang_mixtures() {
        assert!((erlang_mixture_tail(&[1.0], 2.0, 1.5) - exp(-3.0)).abs() < 1e-15);
        let mut geometric = vec![0.2];
        while geometric.len() < 200 {
            geometric.push(geometric[geometric.len() - 1] * 0.8);
        }
        assert!((erlang_mixture_tail(&beyond(&geometric), 1.0, 5.0) - exp(-1.0)).abs() < 1e-12);
    }
}
