//! Networks of stations, each with one exponential server (first come first served, or processor sharing with any distribution
//! of service), which have a product form.
//!
//! Sources: J. Jackson, "Jobshop-like queueing systems", Management Science 10 (1963); F. Baskett, K. Chandy, R. Muntz and
//! F. Palacios, "Open, closed, and mixed networks of queues", J. ACM 22 (1975); M. Reiser and S. Lavenberg, "Mean-value analysis
//! of closed multichain queuing networks", J. ACM 27 (1980).

use super::queues::mm1_mean;

/// A closed network in equilibrium.
#[derive(Clone, Debug, PartialEq)]
pub struct Cycle {
    /// Cycles per unit of time, all clients together.
    pub throughput: f64,
    /// Mean time at each station in a cycle, waiting and service.
    pub times: Vec<f64>,
}

impl Cycle {
    /// Mean time at all stations in a cycle.
    pub fn mean(&self) -> f64 {
        self.times.iter().sum()
    }
}

/// Mean value analysis of a closed network: `clients` clients (at least one), each of which thinks for a mean time `think` (any
/// distribution) and then visits the stations. `demands` are the mean service times of a cycle at each, all visits taken
/// together; not all times may be zero.
pub fn mva(demands: &[f64], think: f64, clients: u32) -> Cycle {
    let mut found = Cycle { throughput: 0.0, times: vec![0.0; demands.len()] };
    for n in 1..=clients {
        // An arrival sees the network with one client less; the mean number at a station follows from its throughput
        // (Little's law).
        for (time, demand) in found.times.iter_mut().zip(demands) {
            *time = demand * (1.0 + found.throughput * *time);
        }
        found.throughput = f64::from(n) / (think + found.mean());
    }
    found
}

/// Mean sojourn in stations one after the other, `rates` their service rates, with Poisson arrivals of rate `lam`: departures of
/// M/M/1 are Poisson again (P. Burke, 1956).
pub fn tandem_mean(lam: f64, rates: &[f64]) -> f64 {
    rates.iter().map(|&mu| mm1_mean(lam, mu)).sum()
}

/// A server whose requests hold a slot during their calls, in equilibrium.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldSlots {
    /// Share of arrivals that find no free slot, 0 to 1.
    pub blocked: f64,
    /// Mean sojourn of the accepted: own work, wait for the second tier and its work.
    pub mean: f64,
}

/// A server with `slots` slots and no queue, Poisson arrivals of rate `lam`. A request works for a mean time `own` (any
/// distribution), then calls a second tier with one exponential server of mean `called`, and holds its slot throughout.
///
/// Slots go round a closed network: they are free (a station of rate `lam`), at work (no station: each for itself), at the
/// second tier.
pub fn held_slots(lam: f64, own: f64, called: f64, slots: u32) -> HeldSlots {
    let ring = mva(&[1.0 / lam, called], own, slots);
    HeldSlots { blocked: 1.0 - ring.throughput / lam, mean: own + ring.times[1] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::{erlang_b, repairman};

    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() <= 1e-10 * expected.abs().max(1e-3), "{value} is not {expected}");
    }

    /// The same by another method: the normalising constants of the product form (J. Buzen, "Computational algorithms for
    /// closed
    /// queueing networks with exponential servers", CACM 16, 1973). Throughput is the ratio of two of them.
    fn buzen(demands: &[f64], think: f64, clients: usize) -> f64 {
        let mut constants = vec![1.0];
        for n in 1..=clients {
            constants.push(constants[n - 1] * think / n as f64);
        }
        for demand in demands {
            for n in 1..=clients {
                constants[n] += demand * constants[n - 1];
            }
        }
        constants[clients - 1] / constants[clients]
    }

    #[test]
    fn mean_values_and_normalising_constants_agree() {
        for (demands, think) in
            [(vec![1.0], 4.0), (vec![1.0, 0.5, 0.25], 0.0), (vec![0.3; 4], 2.0), (vec![1.0, 1.0], 10.0)]
        {
            for clients in [1, 2, 7, 40] {
                close(mva(&demands, think, clients).throughput, buzen(&demands, think, clients as usize));
            }
        }
    }

    /// One station is the machine repairman. Two equal ones without thinking: n / (n + 1) of the time each is busy.
    #[test]
    fn known_cycles() {
        let (network, known) = (mva(&[1.0], 4.0, 10), repairman(10, 4.0, 1.0, 1));
        close(network.throughput, known.throughput);
        close(network.mean(), known.mean);
        close(mva(&[1.0, 1.0], 0.0, 9).throughput, 9.0 / 10.0);
        close(mva(&[2.0], 0.0, 50).throughput, 0.5);
    }

    /// A call that takes no time is Erlang's loss; one slot is a server with the sum of both times.
    #[test]
    fn slots_held() {
        close(held_slots(8.0, 1.0, 0.0, 10).blocked, erlang_b(10, 8.0));
        let one = held_slots(0.5, 1.0, 2.0, 1);
        close(one.blocked, erlang_b(1, 1.5));
        close(one.mean, 3.0);
        // Two slots, no work of its own: the second tier is M/M/1/2.
        close(held_slots(3.0, 0.0, 1.0, 2).blocked, 9.0 / 13.0);
        close(tandem_mean(0.5, &[1.0, 2.0]), 2.0 + 1.0 / 1.5);
    }
}
