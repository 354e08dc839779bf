//! The model of `evenkeel bench engine` in other simulators: servers with one slot, first come first served, exponential
//! service of mean one, Poisson arrivals at 90 % load, power of two choices by requests in the server.
//!
//! `evenkeel-peers desque|nexosim SERVERS REQUESTS SEED` prints what it did and how long that took as JSON.

mod with_desque;
mod with_nexosim;

use std::collections::VecDeque;
use std::time::Instant;

use rand_core::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// Nanoseconds of simulated time in a mean service time: nexosim counts in nanoseconds.
const SERVICE: f64 = 1e6;
const LOAD: f64 = 0.9;

/// The model without its events.
#[derive(Debug, Serialize, Deserialize)]
struct Cluster {
    #[serde(skip, default = "random")]
    random: Xoshiro256PlusPlus,
    /// By server, when each of its requests arrived.
    inside: Vec<VecDeque<u64>>,
    wanted: u64,
    arrived: u64,
    left: u64,
    sojourns: u128,
    busy: u128,
    now: u64,
}

fn random() -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(0)
}

impl Cluster {
    fn new(servers: usize, wanted: u64, seed: u64) -> Cluster {
        let random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let inside = vec![VecDeque::new(); servers];
        Cluster { random, inside, wanted, arrived: 0, left: 0, sojourns: 0, busy: 0, now: 0 }
    }

    fn exponential(&mut self) -> f64 {
        -(((self.random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64).ln()
    }

    fn below(&mut self, n: u64) -> usize {
        ((u128::from(self.random.next_u64()) * u128::from(n)) >> 64) as usize
    }

    fn gap(&mut self) -> u64 {
        (SERVICE / LOAD / self.inside.len() as f64 * self.exponential()) as u64 + 1
    }

    fn service(&mut self) -> u64 {
        let span = (SERVICE * self.exponential()) as u64 + 1;
        self.busy += u128::from(span);
        span
    }

    /// A request arrives: the server and the time of its departure if it starts at once, and the time to the next arrival.
    fn arrive(&mut self, now: u64) -> (Option<(usize, u64)>, Option<u64>) {
        let servers = self.inside.len() as u64;
        let first = self.below(servers);
        let mut second = first;
        if servers > 1 {
            second = self.below(servers - 1);
            second += usize::from(second >= first);
        }
        let server = if self.inside[second].len() < self.inside[first].len() { second } else { first };
        self.inside[server].push_back(now);
        let starts = (self.inside[server].len() == 1).then(|| (server, self.service()));
        self.arrived += 1;
        (starts, (self.arrived < self.wanted).then(|| self.gap()))
    }

    /// A request leaves; the service of the next one.
    fn depart(&mut self, server: usize, now: u64) -> Option<u64> {
        let since = self.inside[server].pop_front().expect("a departure without a request");
        self.sojourns += u128::from(now - since);
        self.left += 1;
        self.now = now;
        (!self.inside[server].is_empty()).then(|| self.service())
    }

    fn done(&self) -> Done {
        Done {
            requests: self.left,
            sojourn: self.sojourns as f64 / self.left.max(1) as f64 / SERVICE,
            utilisation: self.busy as f64 / self.now.max(1) as f64 / self.inside.len() as f64,
        }
    }
}

/// What a run did: requests that left, their mean time in the system in service times, and the mean share of busy servers.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    requests: u64,
    sojourn: f64,
    utilisation: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(name), Some(servers), Some(requests), Some(seed)) = (arguments.first(), number(1), number(2), number(3)) else {
        eprintln!("usage: evenkeel-peers desque|nexosim SERVERS REQUESTS SEED");
        std::process::exit(2);
    };
    let cluster = Cluster::new(servers as usize, requests, seed);
    let start = Instant::now();
    let done = match name.as_str() {
        "desque" => with_desque::run(cluster),
        "nexosim" => with_nexosim::run(cluster),
        other => {
            eprintln!("there is no `{other}` here");
            std::process::exit(2);
        }
    };
    let nanos = start.elapsed().as_nanos();
    let Done { requests, sojourn, utilisation } = done;
    println!(r#"{{"requests":{requests},"sojourn":{sojourn},"utilisation":{utilisation},"nanos":{nanos}}}"#);
}
