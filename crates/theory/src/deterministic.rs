//! M/D/c: Poisson arrivals, constant service, `c` servers with one queue, first come first served. Round robin of constant
//! work over c servers is the same system: the request c places earlier leaves first.
//!
//! The number waiting, observed once per service time, is a random walk that does not go below zero: c requests leave, a
//! Poisson number arrives (C. Crommelin, 1932). Its distribution is found by the elimination of Grassmann, Taksar and Heyman
//! (1985), which neither subtracts nor divides by small numbers; quantiles follow from it by the formula of G. Franx, "A
//! simple solution for the M/D/c waiting time distribution", Oper. Res. Letters 29 (2001), whose terms are all positive.

use super::numeric::{poisson, root};
use evenkeel_core::math::ln;

/// Largest number of states of the walk: they are a matrix.
const MOST_STATES: f64 = 4096.0;
/// Largest number of servers whose steps are tabled.
const MOST_SERVERS: f64 = 1e5;
/// Largest number of products and sums in the elimination.
const MOST_WORK: f64 = 1e9;

/// M/D/c in equilibrium.
#[derive(Clone, Debug)]
pub struct ConstantService {
    lam: f64,
    service: f64,
    servers: usize,
    /// P(number waiting <= j), by j.
    waiting: Vec<f64>,
    wait: f64,
}

impl ConstantService {
    /// Solves the queue; `None` where the load is one or more, or where the computation would take too long because the load
    /// is too near to one or the servers are too many: the work grows as the square of 1 / (1 - load), negligible at 0.95
    /// and about half a second at 0.995.
    pub fn solve(lam: f64, service: f64, servers: u32) -> Option<Self> {
        let offered = lam * service;
        let c = f64::from(servers);
        if offered >= c {
            return None;
        }
        // Chernoff's bound on P(Poisson(offered) >= c): where floats cannot hold it, no request waits.
        let probabilities = if offered <= 0.0 || c - offered + c * ln(offered / c) < -700.0 {
            vec![1.0]
        } else {
            let size = walk_size(offered, c);
            if size > MOST_STATES || c > MOST_SERVERS || size * size * c.min(size) > MOST_WORK {
                return None;
            }
            walk(offered, servers as usize, size as usize)
        };
        let number: f64 = probabilities.iter().enumerate().map(|(j, p)| j as f64 * p).sum();
        let waiting = probabilities
            .iter()
            .scan(0.0, |sum, p| {
                *sum += p;
                Some(*sum)
            })
            .collect();
        Some(Self {
            lam,
            service,
            servers: servers as usize,
            waiting,
            wait: if lam > 0.0 { number / lam } else { 0.0 },
        })
    }

    /// Mean waiting time, from the mean number waiting (Little's law).
    pub fn mean_wait(&self) -> f64 {
        self.wait
    }

    /// Mean sojourn, in the unit of the service times.
    pub fn mean(&self) -> f64 {
        self.wait + self.service
    }

    /// Probability that a request waits.
    pub fn waiting_share(&self) -> f64 {
        1.0 - self.wait_within(0.0)
    }

    /// P(wait <= t). With t between (k - 1) and k service times: an arrival has started service by t if the requests waiting
    /// k service times before that, and those that arrived since, fill fewer than k rounds of the servers.
    pub fn wait_within(&self, t: f64) -> f64 {
        if self.waiting.len() == 1 {
            return 1.0;
        }
        let rounds = (t / self.service) as usize + 1;
        let places = rounds * self.servers - 1;
        let later = poisson(self.lam * (rounds as f64 * self.service - t), places);
        let last = self.waiting.len() - 1;
        later.iter().enumerate().map(|(j, p)| p * self.waiting[(places - j).min(last)]).sum()
    }

    /// Quantile `q`, from 0 to 1, of the sojourn.
    pub fn quantile(&self, q: f64) -> f64 {
        assert!((0.0..1.0).contains(&q), "a quantile lies in [0, 1), not at {q}");
        if self.wait_within(0.0) >= q {
            return self.service;
        }
        let mut high = self.service;
        while self.wait_within(high) < q {
            high *= 2.0;
        }
        self.service + root(|t| self.wait_within(t) - q, 0.0, high)
    }
}

/// The distribution of the walk N' = max(0, N + Poisson(offered) - c), cut where its tail is below the rounding of floats.
fn walk(offered: f64, c: usize, size: usize) -> Vec<f64> {
    let steps = poisson(offered, size + c);
    // rows[j][n] with n >= j - c: from j to n without visiting anything above the states that are still there.
    let mut rows: Vec<Vec<f64>> = (0..size)
        .map(|j| {
            let mut row: Vec<f64> = (0..size).map(|n| if n + c < j { 0.0 } else { steps[n + c - j] }).collect();
            row[0] = steps[..(c + 1).saturating_sub(j)].iter().sum();
            row
        })
        .collect();
    for n in (1..size).rev() {
        let low = n.saturating_sub(c);
        let (earlier, rest) = rows.split_at_mut(n);
        let row = &rest[0][low..n];
        let leaving: f64 = row.iter().sum();
        for from in earlier {
            let share = from[n] / leaving;
            from[n] = share;
            for (target, down) in from[low..n].iter_mut().zip(row) {
                *target += share * down;
            }
        }
    }
    let mut probabilities = vec![1.0];
    for n in 1..size {
        probabilities.push(probabilities.iter().zip(&rows).map(|(p, row)| p * row[n]).sum());
    }
    let total: f64 = probabilities.iter().sum();
    probabilities.iter().map(|p| p / total).collect()
}

/// The number of states to keep: the tail falls as z^-n with the z > 1 that solves offered (z - 1) = c ln z.
fn walk_size(offered: f64, c: f64) -> f64 {
    let offered = offered.max(1e-3);
    let pull = |z: f64| offered * (z - 1.0) - c * ln(z);
    // Left of c / offered the two curves draw apart, right of it they meet again.
    let mut high = 2.0 * c / offered;
    while pull(high) < 0.0 {
        high *= 2.0;
    }
    let decay = ln(root(pull, c / offered, high));
    (-ln(1e-17) / decay).floor() + 3.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::math::exp;

    /// Pollaczek and Khinchine; and Erlang: P(W = 0) = 1 - rho, P(W <= t) = (1 - rho) e^{lam t} within the first service.
    #[test]
    fn one_server() {
        let queue = ConstantService::solve(0.8, 1.0, 1).unwrap();
        assert!((queue.mean() - 3.0).abs() < 1e-12);
        assert!((queue.waiting_share() - 0.8).abs() < 1e-12);
        assert!((queue.wait_within(0.5) - 0.2 * exp(0.4)).abs() < 1e-12);
    }

    /// The unit of time does not matter, and a request that does not wait stays for the service time alone.
    #[test]
    fn units_and_zero_load() {
        let queue = ConstantService::solve(8.0, 1.0, 10).unwrap();
        let slower = ConstantService::solve(0.8, 10.0, 10).unwrap();
        assert!((slower.mean() - 10.0 * queue.mean()).abs() < 1e-11);
        assert!((slower.quantile(0.99) - 10.0 * queue.quantile(0.99)).abs() < 1e-9);
        let idle = ConstantService::solve(0.01, 1.0, 4).unwrap();
        assert_eq!(idle.quantile(0.99), 1.0);
        assert!(ConstantService::solve(2.0, 1.0, 2).is_none());
        assert_eq!(ConstantService::solve(0.0, 1.0, 2).unwrap().mean(), 1.0);
    }

    /// Far more servers than work: no request waits. A load so near to one that the matrix would fill the memory has no solution.
    #[test]
    fn expensive_cases_have_a_closed_form_or_none() {
        for servers in [2_000, 1_000_000, u32::MAX] {
            let queue = ConstantService::solve(100.0, 1.0, servers).unwrap();
            assert_eq!((queue.mean(), queue.quantile(0.999), queue.waiting_share()), (1.0, 1.0, 0.0));
        }
        for (lam, servers) in [(0.999_999, 1), (0.999_999_999, 1), (4_294_967_290.0, u32::MAX), (999_990.0, 1_000_000)]
        {
            assert!(ConstantService::solve(lam, 1.0, servers).is_none(), "{lam} {servers}");
        }
    }

    /// By Spitzer's identity the mean number waiting is the sum over i of E[max(0, Poisson(i a) - i c)] / i: an independent
    /// method.
    #[test]
    fn agrees_with_spitzer() {
        let queue = ConstantService::solve(2.4, 1.0, 3).unwrap();
        let mut number = 0.0;
        for i in 1..2000usize {
            let terms = poisson(2.4 * i as f64, 3 * i + 400);
            number += terms.iter().enumerate().skip(3 * i).map(|(k, p)| (k - 3 * i) as f64 * p).sum::<f64>() / i as f64;
        }
        assert!((queue.mean_wait() - number / 2.4).abs() < 1e-10, "{} {}", queue.mean_wait(), number / 2.4);
    }
}
