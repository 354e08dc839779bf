//! The jobs that are in the system, each in a record of fixed size, and the slowest requests so far.
//!
//! A request keeps the records of its first attempts and calls until it is released, also of those that are over.

use super::{Life, LifeStep, Part, SLOWEST, StepKind};
use crate::sim::model::Model;
use crate::sim::observer::Arrival;
use crate::sim::record::{ENDS, RequestOutcome};
use evenkeel_core::units::Nanos;

const NONE: u32 = u32::MAX;
/// A step that was not taken.
const NEVER: u64 = u64::MAX;
/// Most attempts and calls that a request keeps.
const MOST_PARTS: u32 = 12;

/// The steps with a time, in the order in which a job takes them; each has the number of its place (`as usize`).
const STEPS: [StepKind; 11] = [
    StepKind::Arrived,
    StepKind::AtBalancer,
    StepKind::Queued,
    StepKind::Dequeued,
    StepKind::Picked,
    StepKind::Entered,
    StepKind::Started,
    StepKind::Failed,
    StepKind::Left,
    StepKind::Returned,
    StepKind::Abandoned,
];

/// A job: a request, an attempt or a call.
#[derive(Clone, Copy)]
struct Record {
    id: u64,
    path: u32,
    server: u32,
    part: Part,
    /// By step; [`NEVER`] for one that was not taken.
    times: [u64; STEPS.len()],
    hit: Option<bool>,
    measured: bool,
    /// The request has ended for its client.
    ended: bool,
    /// The engine no longer has the job.
    released: bool,
    /// The next attempt is a hedge.
    hedging: bool,
    /// The request that it is a part of; `NONE` for a request, and for a part that is not kept.
    root: u32,
    /// Of a request: its latest part. Of a part: the one before.
    part_before: u32,
    /// Of a request: its parts that are kept, and the others.
    parts: u32,
    more: u32,
}

/// All jobs in the system.
pub(super) struct Lives<'a> {
    model: &'a Model,
    /// By the engine's number of a job.
    of_job: Vec<u32>,
    records: Vec<Record>,
    free: Vec<u32>,
    /// The slowest requests so far, the slowest first.
    slowest: Vec<Life>,
}

/// A request that has ended.
pub(super) struct Ended {
    /// Index of its path.
    pub(super) path: u32,
    /// The server that it was last sent to.
    pub(super) server: Option<u32>,
    pub(super) id: u64,
    pub(super) latency: u64,
}

impl<'a> Lives<'a> {
    pub(super) fn new(model: &'a Model) -> Lives<'a> {
        Lives { model, of_job: Vec::new(), records: Vec::new(), free: Vec::new(), slowest: Vec::new() }
    }

    /// Number of records, free ones included.
    #[cfg(test)]
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }

    #[inline]
    fn of(&mut self, job: u32) -> Option<&mut Record> {
        let index = *self.of_job.get(job as usize)?;
        self.records.get_mut(index as usize)
    }

    /// The server of a job.
    #[inline]
    pub(super) fn server(&mut self, job: u32) -> Option<u32> {
        self.of(job).map(|record| record.server).filter(|&server| server != NONE)
    }

    pub(super) fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        let outer = arrival.attempt.map(|(request, _)| request).or(arrival.parent);
        let outer = outer.map(|job| self.of_job[job as usize]);
        let part = match (arrival.attempt, outer) {
            (Some((_, number)), Some(request)) => {
                let hedge = std::mem::take(&mut self.records[request as usize].hedging);
                if hedge { Part::Hedge(number) } else { Part::Attempt(number) }
            }
            (_, Some(_)) => Part::Call,
            (_, None) => Part::Request,
        };
        let mut times = [NEVER; STEPS.len()];
        times[StepKind::Arrived as usize] = arrival.at.0;
        let mut record = Record {
            id: arrival.id,
            path: arrival.path_index,
            server: NONE,
            part,
            times,
            hit: None,
            measured: arrival.measured,
            ended: false,
            released: false,
            hedging: false,
            root: NONE,
            part_before: NONE,
            parts: 0,
            more: 0,
        };
        let index = self.free.pop().unwrap_or(self.records.len() as u32);
        if let Some(root) = outer.map(|outer| self.root_of(outer)).filter(|&root| root != NONE) {
            let request = &mut self.records[root as usize];
            if request.parts < MOST_PARTS {
                (record.root, record.part_before) = (root, request.part_before);
                request.part_before = index;
                request.parts += 1;
            } else {
                request.more += 1;
            }
        }
        match self.records.get_mut(index as usize) {
            Some(free) => *free = record,
            None => self.records.push(record),
        }
        if self.of_job.len() <= job as usize {
            self.of_job.resize(job as usize + 1, NONE);
        }
        self.of_job[job as usize] = index;
    }

    /// The request of a record; `NONE` if it is not kept.
    fn root_of(&self, index: u32) -> u32 {
        let record = &self.records[index as usize];
        if record.part == Part::Request { index } else { record.root }
    }

    pub(super) fn hedging(&mut self, job: u32) {
        if let Some(record) = self.of(job) {
            record.hedging = true;
        }
    }

    #[inline]
    pub(super) fn took(&mut self, job: u32, step: StepKind, now: Nanos) {
        if let Some(record) = self.of(job) {
            record.times[step as usize] = now.0;
        }
    }

    /// The same, unless it has taken the step before.
    #[inline]
    pub(super) fn took_first(&mut self, job: u32, step: StepKind, now: Nanos) {
        if let Some(record) = self.of(job) {
            let time = &mut record.times[step as usize];
            *time = now.0.min(*time);
        }
    }

    #[inline]
    pub(super) fn picked(&mut self, job: u32, server: u32, now: Nanos) {
        let Some(record) = self.of(job) else { return };
        record.server = server;
        record.times[StepKind::Picked as usize] = now.0;
        let root = record.root;
        // A request whose attempts are sent has no server of its own.
        if matches!(record.part, Part::Attempt(_) | Part::Hedge(_))
            && let Some(request) = self.records.get_mut(root as usize)
            && request.times[StepKind::Picked as usize] == NEVER
        {
            request.server = server;
        }
    }

    #[inline]
    pub(super) fn started(&mut self, job: u32, hit: Option<bool>, now: Nanos) -> Option<u32> {
        let record = self.of(job)?;
        (record.hit, record.times[StepKind::Started as usize]) = (hit, now.0);
        Some(record.server)
    }

    /// A request has ended for its client.
    pub(super) fn ended(&mut self, job: u32, outcome: RequestOutcome, now: Nanos) -> Option<Ended> {
        let index = *self.of_job.get(job as usize)?;
        let record = self.records.get_mut(index as usize)?;
        record.ended = true;
        let Record { path, server, id, measured, times, .. } = *record;
        let latency = now.0 - times[StepKind::Arrived as usize];
        if measured {
            self.consider(index, ENDS[outcome as usize].1, now);
        }
        Some(Ended { path, server: Some(server).filter(|&server| server != NONE), id, latency })
    }

    /// Keeps the request's life if it is among the slowest.
    fn consider(&mut self, index: u32, outcome: &str, now: Nanos) {
        let Record { id, path, times, .. } = self.records[index as usize];
        let arrived = times[StepKind::Arrived as usize];
        let latency = now.0 - arrived;
        let order = |latency: u64, arrived: u64, id: u64| (std::cmp::Reverse(latency), arrived, id);
        let before = |life: &Life| order(life.latency_ns, life.arrived_ns, life.request) < order(latency, arrived, id);
        let place = self.slowest.partition_point(before);
        if place == SLOWEST {
            return;
        }
        let life = Life {
            request: id,
            path: self.model.paths[path as usize].path.clone(),
            arrived_ns: arrived,
            latency_ns: latency,
            outcome: outcome.to_owned(),
            steps: self.steps(index, now),
            more_attempts: self.records[index as usize].more,
        };
        self.slowest.insert(place, life);
        self.slowest.truncate(SLOWEST);
    }

    /// The steps of a request and its parts, in time order.
    fn steps(&self, index: u32, now: Nanos) -> Vec<LifeStep> {
        let request = &self.records[index as usize];
        let mut parts = Vec::new();
        let mut next = request.part_before;
        while next != NONE {
            parts.push(next);
            next = self.records[next as usize].part_before;
        }
        parts.push(index);
        let mut steps: Vec<LifeStep> =
            parts.iter().rev().flat_map(|&part| steps_of(&self.records[part as usize])).collect();
        // Stable: what happens at the same time stays in the order of the parts and their steps.
        steps.sort_by_key(|step| step.at_ns);
        let server = Some(request.server).filter(|&server| server != NONE);
        steps.push(LifeStep { at_ns: now.0, what: StepKind::Ended, of: Part::Request, server });
        steps
    }

    /// The engine no longer has the job.
    pub(super) fn released(&mut self, job: u32) {
        let Some(&index) = self.of_job.get(job as usize).filter(|&&index| index != NONE) else { return };
        self.of_job[job as usize] = NONE;
        let record = &mut self.records[index as usize];
        record.released = true;
        if record.root != NONE {
            return;
        }
        let mut next = record.part_before;
        self.free.push(index);
        while next != NONE {
            let part = &mut self.records[next as usize];
            let before = std::mem::replace(&mut part.part_before, NONE);
            part.root = NONE;
            if part.released {
                self.free.push(next);
            }
            next = before;
        }
    }

    /// The run is over: the slowest requests, also among those that have not ended.
    pub(super) fn close(&mut self, now: Nanos) -> Vec<Life> {
        let mut present = self.of_job.clone();
        present.retain(|&index| index != NONE);
        for index in present {
            let record = &self.records[index as usize];
            if record.part == Part::Request && record.measured && !record.ended {
                self.consider(index, "unfinished", now);
            }
        }
        std::mem::take(&mut self.slowest)
    }
}

/// The steps that a job has taken.
fn steps_of(record: &Record) -> impl Iterator<Item = LifeStep> + '_ {
    let server = Some(record.server).filter(|&server| server != NONE);
    let taken = STEPS.iter().zip(record.times).filter(|&(_, at_ns)| at_ns != NEVER);
    taken.map(move |(&what, at_ns)| {
        let what = match (what, record.hit) {
            (StepKind::Started, Some(true)) => StepKind::StartedHit,
            (StepKind::Started, Some(false)) => StepKind::StartedMiss,
            _ => what,
        };
        let server = server.filter(|_| what >= StepKind::Picked);
        LifeStep { at_ns, what, of: record.part, server }
    })
}
