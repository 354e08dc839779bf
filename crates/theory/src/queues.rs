//! One station by itself, with Poisson arrivals of rate `lam` (or, for [`repairman`], a closed loop). Where not said
//! otherwise: exponential service at rate `mu` per server, first come first served; a *sojourn* is waiting plus service.
//!
//! Formulas: L. Kleinrock, *Queueing Systems*, vol. 1 (1975); for processor sharing E. Coffman, R. Muntz and H. Trotter,
//! "Waiting time distributions for processor-sharing systems", J. ACM 17 (1970).

use super::numeric::{poisson, quantile};
use evenkeel_core::math::{cos, exp, exp_m1, ln, ln_1p, ln_gamma, sqrt};

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

/// States up to which a chain is climbed step by step; longer ones are summed in another way.
const MOST_STEPS: u32 = 1 << 16;

/// Erlang's loss formula: the share rejected by `servers` without a queue at `offered` erlangs. Any number of servers takes
/// milliseconds.
pub fn erlang_b(servers: u32, offered: f64) -> f64 {
    if servers <= MOST_STEPS {
        climb(servers, |_| offered, f64::from, |_| 0.0).0
    } else {
        erlang_b_sum(servers, offered)
    }
}

/// Erlang's loss formula for many servers: 1 / B = 1 + c / a + c (c - 1) / a² + ..., summed until terms no longer count. Around
/// the peak, at c - a, that takes a few times the square root of a. Zero where it is below what floats hold.
fn erlang_b_sum(servers: u32, offered: f64) -> f64 {
    let c = f64::from(servers);
    if offered <= 0.0 || c * ln(offered) - offered - ln_gamma(c + 1.0) < -700.0 && offered < c {
        return 0.0;
    }
    let (mut sum, mut term, mut left) = (1.0, 1.0, c);
    while left > 0.0 && (left > offered || term > 1e-18 * sum) {
        term *= left / offered;
        sum += term;
        left -= 1.0;
    }
    1.0 / sum
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
    // Service time, plus for requests that wait the excess of the sum of two exponential times.
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

/// A queue with a limit in equilibrium.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    /// Share of arrivals that is rejected, 0 to 1.
    pub blocked: f64,
    /// Accepted arrivals per unit of time.
    pub throughput: f64,
    /// Mean sojourn of the accepted.
    pub mean: f64,
}

/// M/M/c/K: `servers` servers and room for `room` in all, those in service among them; any load.
pub fn bounded(lam: f64, mu: f64, servers: u32, room: u32) -> Bounded {
    if room > MOST_STEPS {
        return bounded_sum(lam, mu, servers, room);
    }
    let (blocked, number) = climb(room, |_| lam, |k| mu * f64::from(k.min(servers)), f64::from);
    let throughput = lam * (1.0 - blocked);
    Bounded { blocked, throughput, mean: number / throughput }
}

/// The same where there is much room: the states up to `servers` are those of the loss system, with a mean of a (1 - B); those
/// above it are a geometric series with the ratio q = lam / (servers mu).
fn bounded_sum(lam: f64, mu: f64, servers: u32, room: u32) -> Bounded {
    let (servers, offered) = (servers.min(room), lam / mu);
    let (c, n) = (f64::from(servers), f64::from(room - servers));
    let full = erlang_b(servers, offered);
    let below = offered * (1.0 - full);
    let log = ln(offered / c);
    let (blocked, number) = if log <= 0.0 {
        // Weights relative to the states up to c, which have 1 together.
        let tail = full * geometric_sum(log, n);
        let total = 1.0 + tail;
        (full * exp(n * log) / total, (below + tail * (c + geometric_mean(log, n))) / total)
    } else {
        // Weights relative to the topmost state: nothing overflows, however steep the series.
        let first = exp(-n * log) / full;
        let tail = geometric_sum(-log, n) * exp(log);
        let total = first + tail;
        (1.0 / total, (first * below + tail * (c + n + 1.0 - geometric_mean(-log, n))) / total)
    };
    let throughput = lam * (1.0 - blocked);
    Bounded { blocked, throughput, mean: number / throughput }
}

/// q + q² + ... + qⁿ with q = e^log.
fn geometric_sum(log: f64, n: f64) -> f64 {
    if log == 0.0 { n } else { exp(log) * exp_m1(n * log) / exp_m1(log) }
}

/// The mean of j with the weights q^j, j = 1 to n, q = e^log; zero where n is.
fn geometric_mean(log: f64, n: f64) -> f64 {
    if n == 0.0 {
        0.0
    } else if (n * log).abs() < 1e-3 {
        // Both terms of the closed form are large there, and their difference is not.
        (n + 1.0) / 2.0 + log * (n * n - 1.0) / 12.0
    } else {
        -1.0 / exp_m1(log) - n / exp_m1(-n * log)
    }
}

/// A closed loop in equilibrium.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Closed {
    /// Answers per unit of time.
    pub throughput: f64,
    /// Mean sojourn at the servers.
    pub mean: f64,
}

/// The machine repairman: `clients` who each think for an exponential time with mean `think`, then send a request
/// to `servers` servers that have one queue. (With one server the mean is the same under processor sharing.)
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

/// The relaxation time of a queue that serves `rate` per unit of time at a load below one: after a few of these its initial
/// state no longer matters. `variability` is half the sum of the squared coefficients of variation of the times between
/// arrivals and of service; `room` is the largest number of requests that it holds.
///
/// Exact for M/M/1 and M/M/1/K, whose slowest mode falls at the rate mu ((1 - sqrt rho)² + 2 sqrt rho (1 - cos(pi / (K + 1))))
/// (P. Morse, 1955); scaled by the variability, as in heavy traffic, **an approximation** for all others. Several servers with
/// one queue are taken as one that is as fast as all of them.
pub fn relaxation_time(rate: f64, load: f64, variability: f64, room: Option<f64>) -> f64 {
    let spare = 1.0 - sqrt(load);
    let walls = room.map_or(0.0, |room| 2.0 * sqrt(load) * (1.0 - cos(std::f64::consts::PI / (room.max(0.0) + 1.0))));
    1.0 / (rate * (spare * spare / variability + variability * walls))
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

/// Mean sojourn of M/G/1 under processor sharing, for any distribution of service: it depends on the mean only. A
/// request whose work is x stays x / (1 - rho) on average.
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

    /// The sums agree with the chains that are climbed, on both sides of a load of one, and what is far out is at its limit.
    #[test]
    fn large_systems_agree_with_climbed_chains() {
        let climbed = |lam: f64, mu: f64, servers: u32, room: u32| {
            climb(room, |_| lam, |k| mu * f64::from(k.min(servers)), f64::from)
        };
        for (servers, offered) in
            [(50_000, 49_000.0), (50_000, 50_000.0), (50_000, 51_500.0), (60_000, 9_000.0), (3, 2.0)]
        {
            let (expected, _) = climb(servers, |_| offered, f64::from, |_| 0.0);
            close(erlang_b_sum(servers, offered), if expected < 1e-300 { 0.0 } else { expected });
        }
        for load in [0.3, 0.9, 0.999_999, 1.0, 1.000_001, 1.5] {
            for (servers, room) in [(1, 1), (1, 2), (1, 900), (7, 7), (7, 60_000), (2_000, 2_100)] {
                let lam = load * f64::from(servers);
                let (blocked, number) = climbed(lam, 1.0, servers, room);
                let found = bounded_sum(lam, 1.0, servers, room);
                close(found.blocked, blocked);
                close(found.mean * found.throughput, number);
            }
        }
    }

    /// Every number that a file can hold gives a result at once; step by step these would take minutes each.
    #[test]
    fn the_largest_numbers_have_answers() {
        for offered in [0.5, 1e3, 1e6, 1e9, 4_294_967_295.0, 4.3e9, 1e12] {
            for servers in [1, 70_000, 1_000_000_000, u32::MAX] {
                let (b, c) = (erlang_b(servers, offered), erlang_c(servers, offered));
                assert!((0.0..=1.0).contains(&b) && (b..=1.0).contains(&c), "{servers} {offered}: {b} {c}");
                let all = bounded(offered, 1.0, servers, u32::MAX);
                assert!(all.mean >= 1.0 - 1e-9 && all.throughput <= offered, "{servers} {offered}: {all:?}");
            }
        }
        // Erlang's own asymptote: at an offered load of as many erlangs as servers B is near sqrt(2 / (pi c)).
        let near = sqrt(2.0 / (std::f64::consts::PI * f64::from(u32::MAX)));
        assert!((erlang_b(u32::MAX, f64::from(u32::MAX)) / near - 1.0).abs() < 1e-4);
        close(mmc_mean(100.0, 200.0, u32::MAX), 0.005);
        close(bounded(2.0, 1.0, 1, u32::MAX).blocked, 0.5);
    }

    /// By hand: at a load of 1/4 a half is to spare; M/M/1/1 has one mode, which falls at lam + mu.
    #[test]
    fn relaxation() {
        close(relaxation_time(1.0, 0.25, 1.0, None), 4.0);
        close(relaxation_time(10.0, 0.25, 1.0, None), 0.4);
        close(relaxation_time(1.0, 0.25, 1.0, Some(1.0)), 1.0 / 1.25);
        close(relaxation_time(1.0, 0.25, 3.0, None), 12.0);
        // 99.9 %, 5 ms: five and a half hours.
        assert!((relaxation_time(200.0, 0.999, 1.0, None) / 19_985.0 - 1.0).abs() < 1e-3);
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
        // The mean is the area under the tail, that is the sum over quantiles: a coarse check of the whole distribution.
        let mean = (0..500).map(|i| ps_quantile(0.5, 1.0, (f64::from(i) + 0.5) / 500.0)).sum::<f64>() / 500.0;
        assert!((mean - 2.0).abs() < 0.01, "{mean}");
    }
}
