//! One server, first come first served, whose arrivals are not Poisson: renewals with hyperexponential gaps (H2/M/1), every
//! n-th of a Poisson stream before service of two phases (E_n/H2/1, E_n/E2/1), and Poisson arrivals of batches (M^X/G/1).
//!
//! Sources: L. Kleinrock, *Queueing Systems*, vol. 1 (1975), chapters 6 and 8 (G/M/1, spectral factorisation); M. Chaudhry and
//! J. Templeton, *A First Course in Bulk Queues* (1983).

use super::dispatch::renewal_rate;
use super::numeric::{quantile, root};
use super::queues::mg1_wait;
use evenkeel_core::math::{exp, exp_m1, ln_1p, sqrt};

/// A hyperexponential distribution with balanced means: two kinds, each with half of the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperexponential {
    /// Probability of the first kind, the shorter.
    pub p: f64,
    /// Rates of both kinds, the larger first.
    pub rates: [f64; 2],
}

impl Hyperexponential {
    /// With this mean and squared coefficient of variation, which must be above one.
    pub fn balanced(mean: f64, scv: f64) -> Self {
        let p = 0.5 * (1.0 + sqrt((scv - 1.0) / (scv + 1.0)));
        Self { p, rates: [2.0 * p / mean, 2.0 * (1.0 - p) / mean] }
    }

    /// One less its Laplace transform at `s`.
    fn absent(&self, s: f64) -> f64 {
        self.p * s / (self.rates[0] + s) + (1.0 - self.p) * s / (self.rates[1] + s)
    }
}

/// Mean sojourn of H2/M/1: renewals at rate `lam` whose gaps have this squared coefficient of variation, above one.
pub fn bursty_mean(lam: f64, mu: f64, scv: f64) -> f64 {
    let gaps = Hyperexponential::balanced(1.0 / lam, scv);
    if lam < mu { 1.0 / renewal_rate(mu, |s| gaps.absent(s)) } else { f64::INFINITY }
}

/// Quantile of the sojourn of H2/M/1, which is exponential.
pub fn bursty_quantile(lam: f64, mu: f64, scv: f64, q: f64) -> f64 {
    -ln_1p(-q) * bursty_mean(lam, mu, scv)
}

/// Service of two phases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Service {
    /// Hyperexponential with balanced means.
    Hyperexponential {
        /// Mean of the service time.
        mean: f64,
        /// Squared coefficient of variation, above one.
        scv: f64,
    },
    /// The sum of two exponential times alike.
    Erlang2 {
        /// Mean of the sum.
        mean: f64,
    },
}

/// Round robin of a Poisson stream over servers whose service has two phases, solved: the sojourn is a mixture (with weights of
/// either sign) of two exponential distributions.
#[derive(Clone, Copy, Debug)]
pub struct RoundRobin {
    rates: [f64; 2],
    weights: [f64; 2],
}

impl RoundRobin {
    /// A stream of rate `lam` in all over `servers` servers; `None` where the load is one or more.
    ///
    /// The transform of the sojourn has the poles -z of A(z) B(-z) = 1, A and B the transforms of gap and service. With
    /// B(s) = (n0 + n1 s) / ((s + r1) (s + r2)) they are the roots of `excess` below, one under the smaller rate and one above it.
    pub fn solve(lam: f64, servers: u32, service: Service) -> Option<Self> {
        let n = f64::from(servers);
        let (mean, [r1, r2], n1, high) = match service {
            Service::Hyperexponential { mean, scv } => {
                let Hyperexponential { p, rates } = Hyperexponential::balanced(mean, scv);
                (mean, rates, p * rates[0] + (1.0 - p) * rates[1], rates[0])
            }
            Service::Erlang2 { mean } => (mean, [2.0 / mean; 2], 0.0, 4.0 / mean),
        };
        if lam * mean >= n {
            return None;
        }
        let n0 = r1 * r2;
        // (A(z) N(-z) - D(-z)) / z, in the form in which one is not taken from one.
        let absent = |z: f64| -exp_m1(-n * ln_1p(z / lam));
        let excess = |z: f64| r1 + r2 - n1 - z - absent(z) / z * (n0 - n1 * z);
        let mut low = r2;
        while excess(low) > 0.0 {
            low *= 0.5;
        }
        let rates = [root(excess, low, 2.0 * low), root(excess, r2, high)];
        let factor = rates[0] * rates[1] / n0;
        let weight = |z: f64, other: f64| factor * (n0 - n1 * z) / (other - z) / z;
        Some(Self { rates, weights: [weight(rates[0], rates[1]), weight(rates[1], rates[0])] })
    }

    /// Mean sojourn, in the unit of the service times.
    pub fn mean(&self) -> f64 {
        self.weights[0] / self.rates[0] + self.weights[1] / self.rates[1]
    }

    /// Quantile `q`, from 0 to 1, of the sojourn.
    pub fn quantile(&self, q: f64) -> f64 {
        let tail = |t: f64| self.weights[0] * exp(-self.rates[0] * t) + self.weights[1] * exp(-self.rates[1] * t);
        quantile(tail, q, self.mean())
    }
}

/// Mean sojourn of M^X/G/1: batches come in a Poisson process, `lam` requests per unit of time in all, with the mean and the mean
/// square of the batch size; service with this mean and squared coefficient of variation.
pub fn batch_mean(lam: f64, [size, square]: [f64; 2], mean: f64, scv: f64) -> f64 {
    // A request waits for what was there before its batch, and for those of its batch that are before it.
    let others = square / size - 1.0;
    mean + mg1_wait(lam, mean, scv) + others * mean / (2.0 * (1.0 - lam * mean).max(0.0))
}

/// Mean and mean square of a geometric batch size, which is at least one.
pub fn geometric(mean: f64) -> [f64; 2] {
    [mean, mean * (2.0 * mean - 1.0)]
}

/// Quantile of the sojourn of M^X/M/1 with geometric batches of mean `size`. It is exponential: the work of a geometric batch is,
/// and so is that of a request and those of its batch before it.
pub fn geometric_batch_quantile(lam: f64, size: f64, mu: f64, q: f64) -> f64 {
    if lam < mu { -ln_1p(-q) * size / (mu - lam) } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::round_robin_mean;
    use crate::queues::mg1_mean;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-10 * expected.abs(), "{value} is not {expected}");
    }

    /// H2/M/1 at load 1/2 with scv 2 has sigma = 1 - 1 / sqrt 6, with scv 4 it is 1 - 1 / sqrt 10.
    #[test]
    fn bursty_arrivals() {
        close(bursty_mean(0.5, 1.0, 2.0), sqrt(6.0));
        close(bursty_mean(0.5, 1.0, 4.0), sqrt(10.0));
        close(bursty_quantile(0.5, 1.0, 2.0, 0.5), sqrt(6.0) * std::f64::consts::LN_2);
        assert_eq!(bursty_mean(1.0, 1.0, 2.0), f64::INFINITY);
    }

    /// One server is M/G/1; hyperexponential service of hardly any surplus variation is E_n/M/1.
    #[test]
    fn round_robin_of_two_phases() {
        for scv in [1.5, 4.0, 10.0] {
            let one = RoundRobin::solve(0.8, 1, Service::Hyperexponential { mean: 1.0, scv }).unwrap();
            close(one.mean(), mg1_mean(0.8, 1.0, scv));
            close(one.weights[0] + one.weights[1], 1.0);
        }
        close(RoundRobin::solve(0.8, 1, Service::Erlang2 { mean: 1.0 }).unwrap().mean(), 4.0);
        let nearly = RoundRobin::solve(8.0, 10, Service::Hyperexponential { mean: 1.0, scv: 1.0 + 1e-9 }).unwrap();
        assert!((nearly.mean() / round_robin_mean(8.0, 1.0, 10) - 1.0).abs() < 1e-6);
        assert!(RoundRobin::solve(2.0, 2, Service::Erlang2 { mean: 1.0 }).is_none());
        // Erlang-2 at load 0.8: the published percentiles of M/E2/1.
        let one = RoundRobin::solve(0.8, 1, Service::Erlang2 { mean: 1.0 }).unwrap();
        assert!((one.quantile(0.99) - 17.2059).abs() < 1e-4);
    }

    /// Batches of one are M/G/1. Two at a time to one exponential server: the second waits for the first as well.
    #[test]
    fn batches() {
        close(batch_mean(0.8, [1.0, 1.0], 1.0, 4.0), 11.0);
        close(batch_mean(1e-12, [2.0, 4.0], 1.0, 1.0), 1.5);
        let geometric = geometric(4.0);
        close(batch_mean(0.5, geometric, 1.0, 1.0), 4.0 / 0.5);
        close(geometric_batch_quantile(0.5, 4.0, 1.0, 0.5), 8.0 * std::f64::consts::LN_2);
        assert_eq!(batch_mean(1.0, geometric, 1.0, 1.0), f64::INFINITY);
    }
}
