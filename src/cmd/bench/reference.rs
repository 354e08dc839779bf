//! Hand-written simulations of the benchmark's model, as references for the speed of the engine: what the same work costs
//! without anything but this model. Servers with one slot, first come first served, exponential service, Poisson arrivals, power
//! of two choices by requests in the server, and a histogram of the times in the system.
//!
//! The *bare loop* is the limit: one pending departure per server in a winner tree over single integers. The *heap loop* keeps
//! its events in the standard library's heap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use evenkeel_config::distribution::exponential;
use evenkeel_core::rng::{Rng, Source};

/// Mean service time, nanoseconds.
const SERVICE: f64 = 1e6;

/// Share of the servers that is busy on average.
const LOAD: f64 = 0.9;

/// Mean time in the system with infinitely many servers, in mean service times: the sum of 0.9^(2^i - 2) over i from 1 on
/// (Vvedenskaya, Dobrushin and Karpelevich, 1996).
const MEAN_FIELD: f64 = 2.614;

/// What keeps the departures in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loop {
    /// A winner tree with a place per server.
    Bare,
    /// The standard library's heap.
    Heap,
}

impl Loop {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Loop::Bare => "(bare loop)",
            Loop::Heap => "(heap loop)",
        }
    }
}

/// What a loop has done.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Requests that left.
    pub requests: u64,
    /// Mean time in the system, in mean service times.
    pub sojourn: f64,
    /// Mean share of busy servers.
    pub utilisation: f64,
}

impl Done {
    /// Whether this is the model's behaviour, for a run that is long enough for the load to settle: the servers are as busy as they
    /// must be, and requests take as long as in the mean-field limit for many servers, and no longer than in M/M/1 for few.
    pub fn is_right(&self, servers: u32) -> bool {
        let times =
            if servers >= 100 { 0.9 * MEAN_FIELD..1.1 * MEAN_FIELD } else { 0.9 * MEAN_FIELD..1.2 / (1.0 - LOAD) };
        (self.utilisation - LOAD).abs() < 0.05 && times.contains(&self.sojourn)
    }
}

/// Pending departures.
trait Pending {
    fn new(servers: usize) -> Self;
    fn put(&mut self, at: u64, server: usize);
    /// The time of the next departure; the largest number without one.
    fn next(&self) -> u64;
    fn take(&mut self) -> usize;
}

struct Tree {
    nodes: Vec<u64>,
    bits: u32,
}

impl Tree {
    fn set(&mut self, server: usize, time: u64) {
        let mut winner = time << self.bits | server as u64;
        let mut node = self.nodes.len() / 2 + server;
        self.nodes[node] = winner;
        while node > 1 {
            winner = winner.min(self.nodes[node ^ 1]);
            node /= 2;
            self.nodes[node] = winner;
        }
    }
}

impl Pending for Tree {
    fn new(servers: usize) -> Tree {
        let leaves = servers.next_power_of_two();
        Tree { nodes: vec![u64::MAX; 2 * leaves], bits: leaves.trailing_zeros() }
    }
    fn put(&mut self, at: u64, server: usize) {
        self.set(server, at);
    }
    fn next(&self) -> u64 {
        self.nodes[1] >> self.bits
    }
    fn take(&mut self) -> usize {
        let server = (self.nodes[1] & ((1 << self.bits) - 1)) as usize;
        self.set(server, u64::MAX >> self.bits);
        server
    }
}

struct Heap(BinaryHeap<Reverse<(u64, usize)>>);

impl Pending for Heap {
    fn new(_: usize) -> Heap {
        Heap(BinaryHeap::new())
    }
    fn put(&mut self, at: u64, server: usize) {
        self.0.push(Reverse((at, server)));
    }
    fn next(&self) -> u64 {
        self.0.peek().map_or(u64::MAX, |Reverse((at, _))| *at)
    }
    fn take(&mut self) -> usize {
        self.0.pop().map_or(0, |Reverse((_, server))| server)
    }
}

/// Simulates so many requests.
pub fn run(which: Loop, servers: u32, requests: u64, seed: u64) -> Done {
    match which {
        Loop::Bare => simulate::<Tree>(servers as usize, requests, seed),
        Loop::Heap => simulate::<Heap>(servers as usize, requests, seed),
    }
}

fn simulate<P: Pending>(servers: usize, requests: u64, seed: u64) -> Done {
    let stream = |purpose| Rng::stream(seed, purpose, 0);
    let (mut gaps, mut work, mut dice) = (stream("gaps"), stream("work"), stream("dice"));
    let gap = SERVICE / LOAD / servers as f64;
    let mut pending = P::new(servers);
    // By server, when each of its requests arrived.
    let mut inside: Vec<VecDeque<u64>> = vec![VecDeque::new(); servers];
    let mut histogram = vec![0_u64; 64 << 7];
    let (mut arrived, mut left, mut sojourns, mut busy) = (0, 0, 0_u128, 0_u128);
    let (mut now, mut next) = (0, (gap * exponential(&mut gaps)) as u64);
    while left < requests {
        if arrived < requests && next <= pending.next() {
            now = next;
            let first = dice.below(servers as u64) as usize;
            let mut second = first;
            if servers > 1 {
                second = dice.below(servers as u64 - 1) as usize;
                second += usize::from(second >= first);
            }
            let server = if inside[second].len() < inside[first].len() { second } else { first };
            inside[server].push_back(now);
            if inside[server].len() == 1 {
                let span = (SERVICE * exponential(&mut work)) as u64;
                busy += u128::from(span);
                pending.put(now + span, server);
            }
            arrived += 1;
            next = now + (gap * exponential(&mut gaps)) as u64;
        } else {
            now = pending.next();
            let server = pending.take();
            let took = now - inside[server].pop_front().unwrap_or(now);
            if !inside[server].is_empty() {
                let span = (SERVICE * exponential(&mut work)) as u64;
                busy += u128::from(span);
                pending.put(now + span, server);
            }
            left += 1;
            sojourns += u128::from(took);
            let octave = 56 - (took | 0xff).leading_zeros();
            histogram[((octave as usize) << 7) + (took >> octave) as usize] += 1;
        }
    }
    assert_eq!(histogram.iter().sum::<u64>(), requests, "a request was lost");
    Done {
        requests: left,
        sojourn: sojourns as f64 / requests as f64 / SERVICE,
        utilisation: busy as f64 / now as f64 / servers as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A single server is M/M/1: the mean time in the system is 1 / (1 - 0.9) = 10 service times.
    #[test]
    fn the_loops_agree_with_queueing_theory_and_with_each_other() {
        for (servers, sojourn, tolerance) in [(1, 10.0, 1.0), (500, MEAN_FIELD, 0.06)] {
            let bare = run(Loop::Bare, servers, 1_000_000, 3);
            assert!((bare.sojourn - sojourn).abs() < tolerance, "{servers}: {bare:?}");
            assert!((bare.utilisation - LOAD).abs() < 0.01 && bare.is_right(servers), "{servers}: {bare:?}");
            let heap = run(Loop::Heap, servers, 1_000_000, 3);
            assert!((heap.sojourn - bare.sojourn).abs() < 0.01 * bare.sojourn, "{servers}: {heap:?} {bare:?}");
        }
    }
}
