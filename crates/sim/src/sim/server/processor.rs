//! A shared processor in *virtual time*: V grows by speed/n per nanosecond while n jobs share. A job that brings D of work leaves
//! when V has grown by D, so an arrival changes no other job's virtual finish. The test compares it with a simulation that steps
//! every job's remaining work.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use evenkeel_core::units::Nanos;

/// The jobs in service on a shared processor.
#[derive(Default)]
pub(super) struct SharedProcessor {
    /// (virtual finish as bits, job), smallest first. Finishes are positive, so their bits have the order of the numbers.
    jobs: BinaryHeap<Reverse<(u64, u32)>>,
    virtual_now: f64,
    sum_of_finishes: f64,
    at: Nanos,
    /// Number of the departure that is valid; those scheduled under an earlier number no longer are.
    pub(super) version: u32,
}

impl SharedProcessor {
    /// Moves virtual time up to `now`; call it before any other method.
    #[inline]
    pub(super) fn advance(&mut self, now: Nanos, rate: f64) {
        if !self.jobs.is_empty() {
            self.virtual_now += (now - self.at).0 as f64 * rate / self.jobs.len() as f64;
        }
        self.at = now;
    }

    /// A job begins; `advance` has been called.
    #[inline]
    pub(super) fn add(&mut self, job: u32, work: Nanos) {
        let finish = self.virtual_now + work.0 as f64;
        self.sum_of_finishes += finish;
        self.jobs.push(Reverse((finish.to_bits(), job)));
    }

    /// When the next job is done if none arrives; `None` when idle.
    #[inline]
    pub(super) fn next_departure(&self, rate: f64) -> Option<Nanos> {
        let &Reverse((finish, _)) = self.jobs.peek()?;
        let work = (f64::from_bits(finish) - self.virtual_now).max(0.0);
        Some(self.at.saturating_add(Nanos::from_nanos_f64(work * self.jobs.len() as f64 / rate)))
    }

    /// Removes the job that is done.
    #[inline]
    pub(super) fn depart(&mut self) -> Option<u32> {
        let Reverse((finish, job)) = self.jobs.pop()?;
        self.virtual_now = self.virtual_now.max(f64::from_bits(finish));
        self.sum_of_finishes -= f64::from_bits(finish);
        if self.jobs.is_empty() {
            // Reset, so that virtual time keeps its precision however long the run.
            (self.virtual_now, self.sum_of_finishes) = (0.0, 0.0);
        }
        Some(job)
    }

    /// Removes all jobs.
    pub(super) fn clear(&mut self) {
        self.jobs.clear();
        (self.virtual_now, self.sum_of_finishes) = (0.0, 0.0);
    }

    /// Work that is left, at speed 1, in nanoseconds.
    pub(super) fn remaining(&self, now: Nanos, rate: f64) -> f64 {
        let n = self.jobs.len() as f64;
        let grown = if self.jobs.is_empty() { 0.0 } else { (now - self.at).0 as f64 * rate };
        (self.sum_of_finishes - n * self.virtual_now - grown).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::rng::{Rng, Source};

    /// Every job's remaining work, stepped from event to event.
    fn obvious(arrivals: &[(u64, u64)], rate: f64) -> Vec<(u32, f64)> {
        let (mut left, mut now, mut done): (Vec<(u32, f64)>, f64, _) = (Vec::new(), 0.0, Vec::new());
        let mut next = 0;
        while next < arrivals.len() || !left.is_empty() {
            let n = left.len() as f64;
            let first = left.iter().map(|&(_, work)| work).fold(f64::INFINITY, f64::min);
            let departure = if left.is_empty() { f64::INFINITY } else { now + first * n / rate };
            let arrival = arrivals.get(next).map_or(f64::INFINITY, |a| a.0 as f64);
            let until = departure.min(arrival);
            for job in &mut left {
                job.1 -= (until - now) * rate / n;
            }
            now = until;
            if left.is_empty() || arrival <= departure {
                left.push((next as u32, arrivals[next].1 as f64));
                next += 1;
            } else {
                let at = (0..left.len()).min_by(|&a, &b| left[a].1.total_cmp(&left[b].1)).unwrap();
                done.push((left.remove(at).0, now));
            }
        }
        done
    }

    #[test]
    fn virtual_time_agrees_with_stepping_every_job() {
        let mut rng = Rng::stream(2, "test", 0);
        for round in 0..20 {
            let rate = [1.0, 2.5][round % 2];
            let mut at = 0;
            let arrivals: Vec<(u64, u64)> = (0..200)
                .map(|_| {
                    at += rng.below(3_000_000);
                    (at, 1 + rng.below(2_000_000))
                })
                .collect();
            let mut shared = SharedProcessor::default();
            let mut done = Vec::new();
            let mut next = 0;
            loop {
                let arrival = arrivals.get(next).map(|a| Nanos(a.0));
                match (shared.next_departure(rate), arrival) {
                    (Some(departure), arrival) if arrival.is_none_or(|a| departure < a) => {
                        shared.advance(departure, rate);
                        done.push((shared.depart().unwrap(), departure.0 as f64));
                    }
                    (_, Some(arrival)) => {
                        shared.advance(arrival, rate);
                        shared.add(next as u32, Nanos(arrivals[next].1));
                        next += 1;
                    }
                    _ => break,
                }
            }
            let expected = obvious(&arrivals, rate);
            assert_eq!(done.len(), expected.len());
            for (a, b) in done.iter().zip(&expected) {
                assert_eq!(a.0, b.0);
                assert!((a.1 - b.1).abs() < 1000.0, "{a:?} {b:?}");
            }
        }
    }
}
