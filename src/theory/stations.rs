//! One station by itself, with Poisson arrivals of rate `lam` (or, for [`repairman`], a closed loop). Where not said
//! otherwise: exponential service at rate `mu` per server, first come first served; a *sojourn* is waiting plus service.
//!
//! Formulas: L. Kleinrock, *Queueing Systems*, vol. 1 (1975); for processor sharing E. Coffman, R. Muntz and H. Trotter,
//! "Waiting time distributions for processor-sharing systems", J. ACM 17 (1970).

use super::numeric::{poisson, quantile};
use crate::math::{exp, exp_m1, ln, ln_1p, sqrt};

/// Mean sojourn of M/M/1: 1 / (mu - lam).
pub fn mm1_mean(lam: f64, mu: f64) -> f64 {
    if lam < mu { 1.0 / (mu - lam) } else { f64::INFINITY }
}

/// Quantile of the sojourn of M/M/1, which is exponential with rate mu - lam.
pub fn mm1_quantile(lam: f64, mu: f64, q: f64) -> f64 {
    -ln_1p(-q) * mm1_mean(lam, mu)
}

/// Quantile of the waiting time of M/M/1: zero with probability 1 - rho, else exponential like the sojourn.
pub fn mm1_wait_quantile(lam: f64, mu: f64, q: f64) -> f64 {
    mmc_wait_quantile(lam, mu, 1, q)
}

/// Erlang's loss formula: the share turned away by `servers` without a queue at `offered` erlangs.
pub fn erlang_b(servers: u32, offered: f64) -> f64 {
    climb(servers, |_| offered, f64::from, |_| 0.0).0
}

/// Erlang's delay formula: the share that has to wait in M/M/c. One where the load is one or more.
pub fn erlang_c(servers: u32, offered: f64) -> f64 {
    let load = offered / f64::from(servers);
    if load >= 1.0 {
        return 1.0;
    }
    let blocked = erlang_b(servers, offered);
    blocked / (1.0 - load * (1.0 - blocked))
}

/// Mean waiting time of M/M/c.
pub fn mmc_wait(lam: f64, mu: f64, servers: u32) -> f64 {
    let spare = f64::from(servers) * mu - lam;
    if spare > 0.0 { erlang_c(servers, lam / mu) / spare } else { f64::INFINITY }
}

/// Mean sojourn of M/M/c.
pub fn mmc_mean(lam: f64, mu: f64, servers: u32) -> f64 {
    mmc_wait(lam, mu, servers) + 1.0 / mu
}

/// Quantile of the waiting time of M/M/c: zero, or exponential with the rate that is to spare.
pub fn mmc_wait_quantile(lam: f64, mu: f64, servers: u32, q: f64) -> f64 {
    let spare = f64::from(servers) * mu - lam;
    if spare <= 0.0 {
        return f64::INFINITY;
    }
    let waiting = erlang_c(servers, lam / mu);
    if waiting <= 1.0 - q { 0.0 } else { ln(waiting / (1.0 - q)) / spare }
}

/// Quantile of the sojourn of M/M/c, by the root of its exact tail.
pub fn mmc_quantile(lam: f64, mu: f64, servers: u32, q: f64) -> f64 {
    let spare = f64::from(servers) * mu - lam;
    if spare <= 0.0 {
        return f64::INFINITY;
    }
    let waiting = erlang_c(servers, lam / mu);
    // Service, and for those who wait what the sum of two exponential times lasts longer.
    let tail = |t: f64| exp(-mu * t) + waiting * mu * difference(mu, spare, t);
    quantile(tail, q, mmc_mean(lam, mu, servers))
}

/// (e^{-at} - e^{-bt}) / (b - a), which is t e^{-at} where a and b are the same.
fn difference(a: f64, b: f64, t: f64) -> f64 {
    let (slow, fast) = if a < b { (a, b) } else { (b, a) };
    let x = (fast - slow) * t;
    let shape = if x == 0.0 { 1.0 } else { -exp_m1(-x) / x };
    t * exp(-slow * t) * shape
}

/// What a station with a limit does to those who come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    /// Share of arrivals that is turned away.
    pub blocked: f64,
    /// Accepted per unit of time.
    pub throughput: f64,
    /// Mean sojourn of the accepted.
    pub mean: f64,
}

/// M/M/c/K: `servers` servers and room for `room` in all, those in service among them; any load.
pub fn bounded(lam: f64, mu: f64, servers: u32, room: u32) -> Bounded {
    let (blocked, number) = climb(room, |_| lam, |k| mu * f64::from(k.min(servers)), f64::from);
    let throughput = lam * (1.0 - blocked);
    Bounded { blocked, throughput, mean: number / throughput }
}

/// What a closed loop settles to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closed {
    /// Answers per unit of time.
    pub throughput: f64,
    /// Mean sojourn at the servers.
    pub mean: f64,
}

/// The machine repairman: `clients` who each think for an exponential time with mean `think`, then ask `servers` servers that
/// have one queue. (With one server the mean is the same under processor sharing.)
pub fn repairman(clients: u32, think: f64, mu: f64, servers: u32) -> Closed {
    let birth = |k: u32| f64::from(clients - k) / think;
    let death = |k: u32| mu * f64::from(k.min(servers));
    let (_, number) = climb(clients, birth, death, f64::from);
    let (_, throughput) = climb(clients, birth, death, death);
    Closed { throughput, mean: number / throughput }
}

/// The birth-death chain on 0..=top: the probability of `top` and the mean of `value`. A state is added at a time, and what
/// is known of the smaller chain shrinks by the share that the new state takes: no weight can overflow, whatever the load.
pub(super) fn climb(
    top: u32,
    birth: impl Fn(u32) -> f64,
    death: impl Fn(u32) -> f64,
    value: impl Fn(u32) -> f64,
) -> (f64, f64) {
    let (mut last, mut mean) = (1.0, value(0));
    for k in 1..=top {
        last = 1.0 / (1.0 + death(k) / (birth(k - 1) * last));
        mean = mean * (1.0 - last) + last * value(k);
    }
    (last, mean)
}

/// Mean waiting time of M/G/1, first come first served (Pollaczek and Khinchine), for service with this mean and squared
/// coefficient of variation.
pub fn mg1_wait(lam: f64, mean: f64, scv: f64) -> f64 {
    let load = lam * mean;
    if load < 1.0 { load * mean * (1.0 + scv) / (2.0 * (1.0 - load)) } else { f64::INFINITY }
}

/// Mean sojourn of M/G/1, first come first served.
pub fn mg1_mean(lam: f64, mean: f64, scv: f64) -> f64 {
    mg1_wait(lam, mean, scv) + mean
}

/// Standard deviation of the waiting time of M/G/1 (Takács), from the first three moments of the service: the mean, the mean
/// square, the mean cube.
pub fn mg1_wait_deviation(lam: f64, moments: [f64; 3]) -> f64 {
    let spare = 1.0 - lam * moments[0];
    if spare <= 0.0 {
        return f64::INFINITY;
    }
    let mean = lam * moments[1] / (2.0 * spare);
    sqrt(mean * mean + lam * moments[2] / (3.0 * spare))
}

/// Mean sojourn of M/G/1 under processor sharing, for any law of service: it does not feel more than the mean. Someone whose
/// work is x stays x / (1 - rho) on average.
pub fn ps_mean(lam: f64, mean: f64) -> f64 {
    if lam * mean < 1.0 { mean / (1.0 - lam * mean) } else { f64::INFINITY }
}

/// Standard deviation of the sojourn of M/M/1 under processor sharing.
pub fn ps_deviation(lam: f64, mu: f64) -> f64 {
    let load = lam / mu;
    sqrt((2.0 + load) / (2.0 - load)) * ps_mean(lam, 1.0 / mu)
}

/// Quantile of the sojourn of M/M/1 under processor sharing: a tagged customer is followed through the jumps of the chain
/// that counts the others, made uniform at rate lam + mu.
pub fn ps_quantile(lam: f64, mu: f64, q: f64) -> f64 {
    if lam >= mu {
        return f64::INFINITY;
    }
    let rate = lam + mu;
    let mut high = ps_mean(lam, 1.0 / mu);
    loop {
        // Jumps in a time are Poisson; twelve deviations more than the mean is as good as all of them.
        let mean = rate * high;
        let alive = survival(lam, mu, (mean + 12.0 * sqrt(mean) + 40.0) as usize);
        let tail = |t: f64| poisson(rate * t, alive.len() - 1).iter().zip(&alive).map(|(p, s)| p * s).sum::<f64>();
        if tail(high) < 1.0 - q {
            return quantile(tail, q, high);
        }
        high *= 2.0;
    }
}

/// The probability that a customer of M/M/1 under processor sharing is still there after 0, 1, ..., `jumps` jumps.
fn survival(lam: f64, mu: f64, jumps: usize) -> Vec<f64> {
    let (up, down) = (lam / (lam + mu), mu / (lam + mu));
    // More others than this are found with a probability below the rounding of floats.
    let most = (-40.0 / ln(lam / mu)) as usize + 2;
    let found: Vec<f64> = (0..=most).scan(1.0 - lam / mu, |p, _| Some(std::mem::replace(p, *p * lam / mu))).collect();
    let mut here = vec![1.0; most + 1];
    let mut alive = Vec::with_capacity(jumps + 1);
    for _ in 0..=jumps {
        alive.push(found.iter().zip(&here).map(|(p, s)| p * s).sum());
        let mut below = 0.0;
        for k in 0..=most {
            let above = here[(k + 1).min(most)];
            let stay = down * k as f64 / (k + 1) as f64;
            (below, here[k]) = (here[k], up * above + stay * below);
        }
    }
    alive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-10 * expected.abs().max(1e-3), "{value} is not {expected}");
    }

    #[test]
    fn one_exponential_server() {
        close(mm1_mean(0.8, 1.0), 5.0);
        close(mm1_quantile(0.8, 1.0, 0.5), 5.0 * std::f64::consts::LN_2);
        assert_eq!(mm1_wait_quantile(0.4, 1.0, 0.5), 0.0, "60 % do not wait");
        assert_eq!(mm1_mean(1.0, 1.0), f64::INFINITY);
    }

    /// B(0) = 1, B(c) = a B(c-1) / (c + a B(c-1)): for a = 3 that is 3/4, 9/17, 9/26; Erlang C(2, 1) = 1/3; the published
    /// table gives B(10, 5) = 0.01838.
    #[test]
    fn erlang() {
        close(erlang_b(1, 3.0), 3.0 / 4.0);
        close(erlang_b(2, 3.0), 9.0 / 17.0);
        close(erlang_b(3, 3.0), 9.0 / 26.0);
        assert!((erlang_b(10, 5.0) - 0.018_384_57).abs() < 1e-8);
        close(erlang_c(2, 1.0), 1.0 / 3.0);
        assert_eq!(erlang_c(2, 2.5), 1.0);
    }

    /// One server of M/M/c is M/M/1; where mu is the rate to spare the tail is (1 + C mu t) e^{-mu t}.
    #[test]
    fn several_servers() {
        close(mmc_mean(0.8, 1.0, 1), 5.0);
        close(mmc_quantile(0.8, 1.0, 1, 0.99), mm1_quantile(0.8, 1.0, 0.99));
        close(mmc_mean(1.0, 1.0, 2), 4.0 / 3.0);
        let t = mmc_quantile(1.0, 1.0, 2, 0.9);
        close((1.0 + t / 3.0) * exp(-t), 0.1);
    }

    /// M/M/1/1 is Erlang's loss; M/M/1/2 at load one has three equal states.
    #[test]
    fn a_queue_with_a_limit() {
        close(bounded(3.0, 1.0, 1, 1).blocked, 0.75);
        let equal = bounded(1.0, 1.0, 1, 2);
        close(equal.blocked, 1.0 / 3.0);
        close(equal.mean, 1.5);
        close(bounded(3.0, 1.0, 1, 5000).throughput, 1.0);
    }

    /// One client never waits; very many keep the server busy. Two with think time 1 at one server: weights 1, 2, 2.
    #[test]
    fn a_closed_loop() {
        close(repairman(1, 4.0, 1.0, 1).throughput, 0.2);
        close(repairman(1, 4.0, 1.0, 1).mean, 1.0);
        close(repairman(2, 1.0, 1.0, 1).throughput, 0.8);
        close(repairman(2, 1.0, 1.0, 1).mean, 1.5);
        close(repairman(9, 0.0, 1.0, 3).mean, 3.0);
        let many = repairman(1000, 4.0, 1.0, 3);
        close(many.throughput, 3.0);
        close(many.mean, 1000.0 / 3.0 - 4.0);
    }

    #[test]
    fn any_service() {
        close(mg1_mean(0.8, 1.0, 1.0), 5.0);
        close(mg1_mean(0.8, 1.0, 0.0), 3.0);
        close(mg1_mean(0.8, 1.0, 4.0), 11.0);
        // Exponential: P(W > t) = 0.8 e^{-0.2 t} has E[W^2] = 40, E[W] = 4.
        close(mg1_wait_deviation(0.8, [1.0, 2.0, 6.0]), sqrt(24.0));
    }

    #[test]
    fn processor_sharing() {
        close(ps_mean(0.8, 1.0), 5.0);
        close(ps_deviation(0.0, 1.0), 1.0);
        close(ps_quantile(1e-12, 1.0, 0.5), std::f64::consts::LN_2);
        // The mean is the area under the tail, that is the sum over quantiles: a coarse check of the law as a whole.
        let mean = (0..500).map(|i| ps_quantile(0.5, 1.0, (f64::from(i) + 0.5) / 500.0)).sum::<f64>() / 500.0;
        assert!((mean - 2.0).abs() < 0.01, "{mean}");
    }
}
