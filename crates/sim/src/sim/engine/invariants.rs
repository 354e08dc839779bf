//! The end of a run: unfinished requests count at their age, and the invariants are checked.

use super::{Engine, Job, JobState};
use crate::sim::observer::Observer;
use crate::sim::record::{Bin, ENDS, Little, Measured, RunRecord};
use crate::sim::server::NONE;
use evenkeel_core::units::Nanos;

/// What is counted over the whole run, for its invariants and its fingerprint.
#[derive(Default)]
pub(super) struct RunTotals {
    /// Sent to servers, and finished: the difference is in flight.
    pub(super) placed: u64,
    pub(super) settled: u64,
    pub(super) in_system: u64,
    pub(super) arrived: u64,
    pub(super) area: u128,
    pub(super) area_at: Nanos,
    pub(super) sojourns: u128,
    /// By outcome, in the order of [`ENDS`].
    pub(super) ended: [u64; ENDS.len()],
    pub(super) measured_left: u64,
    pub(super) workload_hash: u64,
    pub(super) pick_hash: u64,
}

/// The requests in the system at the end.
#[derive(Default)]
struct Present {
    requests: u64,
    measured: u64,
    /// Sum of the times since their arrivals, nanoseconds.
    ages: u128,
}

impl<O: Observer> Engine<'_, O> {
    pub(super) fn close(mut self) -> (RunRecord, O) {
        self.count_system(0);
        let now = self.now;
        let present = self.count_present();
        self.prove_books(&present);
        for view in &mut self.views {
            if let Some(mut recording) = view.balancer.end_recording() {
                self.observer.recorded(view.pool, recording.drain().collect());
            }
        }
        self.observer.closed(now);
        let number = if now > Nanos::ZERO { self.totals.area as f64 / now.0 as f64 } else { 0.0 };
        let seconds = now.as_secs_f64();
        let little = Little {
            arrived: self.totals.arrived,
            number,
            rate: if seconds > 0.0 { self.totals.arrived as f64 / seconds } else { 0.0 },
            time: if self.totals.arrived > 0 {
                (self.totals.sojourns + present.ages) as f64 / 1e9 / self.totals.arrived as f64
            } else {
                0.0
            },
        };
        let series: Vec<Bin> = self.measuring.series.finish(self.totals.area);
        let tenth = self.model.duration.0 as f64 / 10.0;
        let tenths = self.measuring.tenths.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / tenth).collect();
        self.measuring.spans.iter_mut().for_each(Measured::pour);
        let mut spans = self.measuring.spans.into_iter();
        let mut measured = spans.next().unwrap_or_default();
        let mut batches: Vec<Measured> = Vec::new();
        if self.model.batches > 1 {
            batches.push(measured.clone());
            batches.extend(spans);
            batches[1..].iter().for_each(|batch| measured.add_requests(batch));
        }
        measured.servers = self.measuring.measured_servers;
        let record = RunRecord {
            measured,
            batches,
            series,
            settling: self.measuring.settling,
            tenths,
            little,
            workload_hash: self.totals.workload_hash,
            pick_hash: self.totals.pick_hash,
            requests: self.totals.arrived,
            events: self.events + self.answered,
            timeline: None,
        };
        (record, self.observer)
    }

    /// Requests that are in the system at the end count at their age.
    fn count_present(&mut self) -> Present {
        let mut present = Present::default();
        // By index: the jobs can be most of the memory, so that there is no list of them.
        for index in 0..self.jobs.len() {
            let Job { wanted, parent, of, arrived, measured, path, .. } = self.jobs[index];
            if !wanted || parent != NONE || of != NONE {
                continue;
            }
            let age = self.now - arrived;
            present.requests += 1;
            present.measured += u64::from(measured);
            present.ages += u128::from(age.0);
            if measured {
                self.count_in_classes(path, arrived, |class| class.unfinished(age));
            }
            if let Some(bin) = self.arrival_bin_of(arrived) {
                bin.requests += 1;
                bin.latency_sum += age.0;
            }
        }
        present
    }

    /// Asserts conservation of requests and Little's law, in whole nanoseconds. A failure is a bug in the simulator and
    /// panics.
    fn prove_books(&mut self, present: &Present) {
        let Present { requests, measured, ages } = *present;
        assert_eq!(
            self.totals.arrived,
            self.totals.ended.iter().sum::<u64>() + requests,
            "a request was lost or counted twice"
        );
        assert_eq!(self.totals.in_system, requests, "the system miscounts what is in it");
        assert_eq!(self.totals.area, self.totals.sojourns + ages, "Little's law fails for the system");
        assert_eq!(measured, self.totals.measured_left, "a measured request was lost");
        let now = self.now;
        let mut inside = vec![(0_u64, 0_u128); self.servers.len()];
        let mut in_flight: Vec<Vec<u32>> =
            self.views.iter().map(|view| vec![0; view.balancer.pool().fleet.slots()]).collect();
        for job in &self.jobs {
            if job.state.is_inside() {
                let (count, ages) = &mut inside[job.server as usize];
                *count += 1;
                *ages += u128::from((now - job.entered).0);
            }
            if job.counted {
                let fleet = self.dispatchers[job.dispatcher as usize].fleet;
                in_flight[fleet as usize][job.backend.slot as usize] += 1;
            }
        }
        for (server, (count, ages)) in self.servers.iter_mut().zip(inside) {
            server.check_invariants(now, count, ages);
        }
        for (view, expected) in self.views.iter().zip(in_flight) {
            assert_eq!(view.balancer.pool().fleet.in_flight(), expected, "in-flight counts are off");
        }
        let counted = self.jobs.iter().filter(|job| job.counted).count() as u64;
        assert_eq!(self.totals.placed, self.totals.settled + counted, "an attempt was lost or settled twice");
        let waiting = self.jobs.iter().filter(|job| job.state == JobState::Waiting).count();
        let places: usize = self.views.iter().map(|view| view.balancer.waiting()).sum();
        assert_eq!(waiting, places, "a balancer's queue miscounts who waits");
        let mut live = vec![0; self.request_attempts.len()];
        for job in self.jobs.iter().filter(|job| job.of != NONE && job.wanted) {
            live[job.of as usize] += 1;
        }
        for (index, job) in self.jobs.iter().enumerate().filter(|(_, job)| job.state == JobState::Trying) {
            let effort = &self.request_attempts[index];
            assert_eq!(
                effort.live.len(),
                effort.attempts.live() as usize,
                "attempts of request {} are miscounted",
                job.id
            );
            assert_eq!(effort.live.len(), live[index], "attempts of request {} are lost", job.id);
        }
    }
}
