//! A balancer before servers that are exponential queues, first come first served: round robin, random splits, and the limit
//! of two (or d) choices among very many servers.

use super::numeric::{erlang_mixture_tail, quantile, root};
use super::queues::{mg1_mean, mm1_mean};
use evenkeel_core::math::{exp, exp_m1, ln_1p, pow, sqrt};

/// The rate of the (exponential) sojourn at a server whose arrivals are renewals: mu times the root in (0, 1) of
/// 1 - delta = A(mu delta), where `absent(s) = 1 - A(s)` and A is the transform of the time between arrivals.
///
/// The argument is `absent` rather than A, since delta is small at high load and 1 - A would lose its digits.
pub(super) fn renewal_rate(mu: f64, absent: impl Fn(f64) -> f64) -> f64 {
    // 1 - A(mu delta) - delta rises from zero and falls below it once.
    let excess = |delta: f64| absent(mu * delta) - delta;
    let mut high = 1.0;
    while excess(0.5 * high) <= 0.0 {
        high *= 0.5;
        if high < 1e-12 {
            return 0.0;
        }
    }
    mu * root(excess, 0.5 * high, high)
}

/// Round robin sends every n-th of a Poisson stream to each server: E_n/M/1. `lam` is the rate of the whole stream.
fn round_robin_rate(lam: f64, mu: f64, servers: u32) -> f64 {
    let n = f64::from(servers);
    if lam >= n * mu {
        return 0.0;
    }
    renewal_rate(mu, |s| -exp_m1(-n * ln_1p(s / lam)))
}

/// Mean sojourn under round robin of a Poisson stream of rate `lam` (in all) over `servers` exponential servers. It is the
/// same under processor sharing.
pub fn round_robin_mean(lam: f64, mu: f64, servers: u32) -> f64 {
    1.0 / round_robin_rate(lam, mu, servers)
}

/// Quantile of the sojourn under round robin, which is exponential under first come first served.
pub fn round_robin_quantile(lam: f64, mu: f64, servers: u32, q: f64) -> f64 {
    -ln_1p(-q) / round_robin_rate(lam, mu, servers)
}

/// Mean sojourn of D/M/1, deterministic arrivals at rate `lam`: the limit of round robin for many servers (then `lam` is the
/// rate at each).
pub fn regular_mean(lam: f64, mu: f64) -> f64 {
    if lam < mu { 1.0 / renewal_rate(mu, |s| -exp_m1(-s / lam)) } else { f64::INFINITY }
}

/// One way that a random split can send a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch {
    /// Probability of this server.
    pub share: f64,
    /// Its rate of service.
    pub mu: f64,
}

/// Servers of these rates with shares in proportion to them: the same load everywhere.
pub fn by_speed(rates: &[f64]) -> Vec<Branch> {
    let total: f64 = rates.iter().sum();
    rates.iter().map(|&mu| Branch { share: mu / total, mu }).collect()
}

/// Servers of these rates, each with the same share.
pub fn by_count(rates: &[f64]) -> Vec<Branch> {
    rates.iter().map(|&mu| Branch { share: 1.0 / rates.len() as f64, mu }).collect()
}

/// The random split with the smallest mean sojourn: the spare rate of each server goes with the square root of its own.
/// Servers so slow that their share would be negative get nothing. The load must be below one.
pub fn best_split(lam: f64, rates: &[f64]) -> Vec<Branch> {
    let mut used: Vec<f64> = rates.to_vec();
    used.sort_by(|a, b| b.total_cmp(a));
    // Drop the slowest until the slowest that is left gets a share; `factor` is spare rate per root.
    let factor = loop {
        let factor = (used.iter().sum::<f64>() - lam) / used.iter().map(|&mu| sqrt(mu)).sum::<f64>();
        match used.last() {
            Some(&slowest) if used.len() > 1 && sqrt(slowest) <= factor => used.pop(),
            _ => break factor,
        };
    };
    rates.iter().map(|&mu| Branch { share: (mu - sqrt(mu) * factor).max(0.0) / lam, mu }).collect()
}

/// Mean sojourn where a Poisson stream of rate `lam` is split at random over exponential servers; infinite where one of them
/// is overloaded.
pub fn split_mean(lam: f64, branches: &[Branch]) -> f64 {
    let used = branches.iter().filter(|b| b.share > 0.0);
    used.map(|b| b.share * mm1_mean(lam * b.share, b.mu)).sum()
}

/// Quantile of the same sojourn: a mixture of exponential distributions.
pub fn split_quantile(lam: f64, branches: &[Branch], q: f64) -> f64 {
    let mean = split_mean(lam, branches);
    if mean.is_infinite() {
        return mean;
    }
    quantile(|t| branches.iter().map(|b| b.share * exp(-(b.mu - lam * b.share) * t)).sum(), q, mean)
}

/// Mean sojourn of a random split over servers with any distribution of service: `(share, mean, squared coefficient of
/// variation)` of each.
pub fn split_mean_general(lam: f64, branches: &[(f64, f64, f64)]) -> f64 {
    let used = branches.iter().filter(|b| b.0 > 0.0);
    used.map(|&(share, mean, scv)| share * mg1_mean(lam * share, mean, scv)).sum()
}

/// The shortest of d queues sampled with replacement, among infinitely many exponential servers, first come first served: the
/// supermarket model (N. Vvedenskaya, R. Dobrushin and F. Karpelevich, 1996; M. Mitzenmacher, IEEE TPDS 12, 2001).
///
/// **An approximation** of a fleet of n, from below, with an error of the order of 1/n that grows with the load: about 1 % at
/// n = 100 and load 0.9.
#[derive(Clone, Debug)]
pub struct MeanField {
    choices: f64,
    load: f64,
    mu: f64,
    /// Probability that an arrival joins a queue of at least k.
    joined: Vec<f64>,
}

impl MeanField {
    /// At `load` per server; `None` where it is one or more. With d = 1 this is M/M/1, and exact.
    pub fn solve(choices: u32, load: f64, mu: f64) -> Option<Self> {
        if load >= 1.0 {
            return None;
        }
        let choices = f64::from(choices);
        let (mut joined, mut last) = (vec![1.0], 1.0);
        while last > 1e-18 * (1.0 - load) {
            last = pow(load * last, choices);
            joined.push(last);
        }
        Some(Self { choices, load, mu, joined })
    }

    /// Share of servers with at least `k` requests: s(k) = load s(k-1)^d.
    pub fn share(&self, k: usize) -> f64 {
        (0..k).fold(1.0, |share, _| self.load * pow(share, self.choices))
    }

    /// Mean sojourn, in the unit of the service times.
    pub fn mean(&self) -> f64 {
        self.joined.iter().rev().sum::<f64>() / self.mu
    }

    /// Quantile `q`, from 0 to 1, of the sojourn.
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(|t| erlang_mixture_tail(&self.joined, self.mu, t), q, self.mean())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-10 * expected.abs(), "{value} is not {expected}");
    }

    /// One server: M/M/1. Two at load 1/2: sigma = (1 / (2 - sigma))^2 has the root (3 - sqrt 5) / 2, so T has the golden
    /// ratio as its mean. D/M/1 is below all of them.
    #[test]
    fn round_robin() {
        close(round_robin_mean(0.8, 1.0, 1), 5.0);
        close(round_robin_mean(1.0, 1.0, 2), 0.5 * (1.0 + sqrt(5.0)));
        close(round_robin_quantile(0.8, 1.0, 1, 0.5), 5.0 * std::f64::consts::LN_2);
        assert!(regular_mean(0.5, 1.0) < round_robin_mean(500.0, 1.0, 1000));
        assert_eq!(round_robin_mean(2.0, 1.0, 2), f64::INFINITY);
    }

    /// With shares by speed the mean is n / (sum of rates - lam), whatever the rates; a single server gets all.
    #[test]
    fn random_splits() {
        let rates = [1.5, 0.5];
        close(split_mean(1.6, &by_speed(&rates)), 5.0);
        close(split_quantile(1.6, &by_count(&[1.0, 1.0]), 0.9), 5.0 * std::f64::consts::LN_10);
        assert_eq!(split_mean(1.6, &by_count(&rates)), f64::INFINITY);
        close(split_mean_general(1.6, &[(0.5, 1.0, 0.0), (0.5, 1.0, 4.0)]), 0.5 * 3.0 + 0.5 * 11.0);
    }

    /// No neighbouring split is better, and a server that is too slow to help gets nothing.
    #[test]
    fn the_best_split_is_the_best() {
        let best = best_split(1.6, &[1.5, 0.5]);
        let at = |share: f64| split_mean(1.6, &[Branch { share, mu: 1.5 }, Branch { share: 1.0 - share, mu: 0.5 }]);
        let share = best[0].share;
        assert!(at(share) <= at(share + 1e-4) && at(share) <= at(share - 1e-4));
        close(best.iter().map(|b| b.share).sum(), 1.0);
        let alone = best_split(0.1, &[1.0, 0.01]);
        assert_eq!(alone[1].share, 0.0);
        close(alone[0].share, 1.0);
    }

    /// One choice is M/M/1; two at load lam: 1 + lam^2 + lam^6 + lam^14 + ...
    #[test]
    fn two_choices_among_many() {
        let one = MeanField::solve(1, 0.8, 1.0).unwrap();
        close(one.mean(), 5.0);
        close(one.quantile(0.5), 5.0 * std::f64::consts::LN_2);
        let two = MeanField::solve(2, 0.5, 2.0).unwrap();
        let sum: f64 = [0.0, 2.0, 6.0, 14.0, 30.0, 62.0].map(|k| pow(0.5, k)).iter().sum();
        close(two.mean(), 0.5 * sum);
        close(two.share(2), 0.125);
    }
}
