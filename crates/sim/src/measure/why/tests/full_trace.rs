//! An observer that keeps everything, as a slow oracle for what is computed in bounded memory.

use std::collections::BTreeMap;

use crate::scenario::Scenario;
use crate::sim::observe;
use crate::sim::observer::{Arrival, Observer, RunEvent, ServerChange, Step};
use crate::sim::record::{RequestOutcome, RunRecord};
use crate::sim::timeline::{Recorder, Timeline};
use evenkeel_core::units::Nanos;

/// The text of a scenario of the repository.
macro_rules! sources {
    ($($name:literal),*) => {
        fn source(name: &str) -> &'static str {
            match name {
                $($name => include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/", $name, ".toml")),)*
                _ => panic!("{name} is not in the list"),
            }
        }
    };
}

sources!(
    "slow-server",
    "crash",
    "outlier-ejection",
    "retry-storm",
    "autoscale",
    "cache-affinity",
    "even-load",
    "hedging",
    "deploy",
    "panic",
    "many-balancers",
    "limits-and-queue"
);

/// A scenario of the repository, with these strategies.
pub fn scenario(name: &str, strategies: &[&str]) -> Scenario {
    parse(name, source(name), strategies)
}

/// A scenario from text, with these strategies.
pub fn parse(name: &str, source: &str, strategies: &[&str]) -> Scenario {
    let mut scenario = Scenario::parse(name, source, &|name| Err(format!("no file {name}"))).unwrap();
    scenario.variants.retain(|variant| strategies.contains(&variant.label.as_str()));
    assert_eq!(scenario.variants.len(), strategies.len(), "{strategies:?}");
    scenario
}

/// The first run of a variant: its record, its timeline, and everything that happened.
pub fn watch(scenario: &Scenario, variant: usize) -> (RunRecord, Timeline, FullTrace) {
    let mut both = (Recorder::new(&scenario.model), FullTrace::default());
    let record = observe(&scenario.setup(variant, 0), &|| false, &mut both).unwrap();
    (record, both.0.finish(), both.1)
}

/// A request, an attempt or a call.
#[derive(Clone, Debug, Default)]
pub struct Job {
    pub id: u64,
    pub path: u32,
    pub measured: bool,
    pub arrived: u64,
    /// Indices of the jobs that it belongs to.
    pub parent: Option<usize>,
    pub attempt_of: Option<usize>,
    pub server: Option<u32>,
    pub picked: Option<u64>,
    pub entered: Option<u64>,
    pub started: Option<(u64, Option<bool>)>,
    pub left: Option<u64>,
    pub failed: Option<u64>,
    pub ended: Option<(u64, RequestOutcome)>,
    /// Steps in all.
    pub steps: usize,
}

/// An event that is not a step of a job; servers are numbered over all pools.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Fault(u32, bool),
    Health {
        pool: u32,
        view: u32,
        slot: u32,
        up: bool,
    },
    Ejected {
        pool: u32,
        view: u32,
        slot: u32,
    },
    Returned {
        pool: u32,
        view: u32,
        slot: u32,
    },
    Server {
        pool: u32,
        slot: u32,
        change: ServerChange,
    },
    Booting(u32, u32),
    Waits {
        pool: u32,
        by: i64,
    },
    Retried(u32),
    Hedged(u32),
    Evicted(u32, u32),
    CacheLost(u32, u64),
    /// A server's number of requests changes.
    Number(u32, i64),
    Limit,
    Panic {
        pool: u32,
        view: u32,
        on: bool,
    },
}

/// All of a run.
#[derive(Default)]
pub struct FullTrace {
    pub jobs: Vec<Job>,
    here: BTreeMap<u32, usize>,
    pub events: Vec<(u64, Event)>,
    pub end: u64,
    /// Most jobs at once.
    pub most: usize,
}

impl FullTrace {
    fn job(&mut self, job: u32) -> &mut Job {
        &mut self.jobs[self.here[&job]]
    }

    /// The highest value of a level in `[from, to)`, the one at `from` included, and when it is there first.
    pub fn peak(&self, from: u64, to: u64, change: impl Fn(&Event) -> i64) -> (i64, u64) {
        let (mut level, mut peak) = (0, None);
        for (at, event) in &self.events {
            if *at >= to {
                break;
            }
            if *at >= from && peak.is_none() {
                peak = Some((level, from));
            }
            level += change(event);
            if *at >= from && peak.is_some_and(|(most, _)| level > most) {
                peak = Some((level, *at));
            }
        }
        peak.unwrap_or((level, from))
    }

    /// How many events in `[from, to)` are such.
    pub fn count(&self, from: u64, to: u64, which: impl Fn(&Event) -> u64) -> u64 {
        self.events.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, event)| which(event)).sum()
    }
}

impl Observer for FullTrace {
    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        let index = |job: u32| self.here[&job];
        let new = Job {
            id: arrival.id,
            path: arrival.path_index,
            measured: arrival.measured,
            arrived: arrival.at.0,
            parent: arrival.parent.map(index),
            attempt_of: arrival.attempt.map(|(request, _)| index(request)),
            ..Job::default()
        };
        self.here.insert(job, self.jobs.len());
        self.most = self.most.max(self.here.len());
        self.jobs.push(new);
    }

    fn decided(&mut self, job: u32, server: Option<u32>, now: Nanos) {
        if server.is_some() {
            let job = self.job(job);
            (job.server, job.picked) = (server, Some(now.0));
            job.steps += 1;
        }
    }

    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        let index = self.here[&job];
        let job_ = &mut self.jobs[index];
        job_.steps += 1;
        match step {
            Step::Entered => job_.entered = Some(now.0),
            Step::Started(hit) => job_.started = Some((now.0, hit)),
            Step::Left => job_.left = Some(now.0),
            Step::Ended(outcome) => job_.ended = Some((now.0, outcome)),
            Step::AtBalancer | Step::Returned(_) | Step::Abandoned => {}
            Step::Released => {
                job_.steps -= 1;
                self.here.remove(&job);
            }
        }
        let by = i64::from(step == Step::Entered) - i64::from(step == Step::Left);
        if by != 0 {
            let server = self.jobs[index].server.unwrap();
            self.events.push((now.0, Event::Number(server, by)));
        }
    }

    fn event(&mut self, event: &RunEvent<'_>, now: Nanos) {
        let event = match *event {
            RunEvent::FaultStarted { fault } => Event::Fault(fault, true),
            RunEvent::FaultEnded { fault } => Event::Fault(fault, false),
            RunEvent::Health { pool, view, slot, up } => Event::Health { pool, view, slot, up },
            RunEvent::Ejected { pool, view, slot, .. } => Event::Ejected { pool, view, slot },
            RunEvent::Returned { pool, view, slot } => Event::Returned { pool, view, slot },
            RunEvent::ServerChanged { pool, slot, change } => Event::Server { pool, slot, change },
            RunEvent::Booting { pool, servers } => Event::Booting(pool, servers),
            RunEvent::Queued { job, pool } => {
                self.job(job).steps += 1;
                Event::Waits { pool, by: 1 }
            }
            RunEvent::Dequeued { job, pool } => {
                self.job(job).steps += 1;
                Event::Waits { pool, by: -1 }
            }
            RunEvent::Retried { pool, .. } => Event::Retried(pool),
            RunEvent::Hedged { pool, .. } => Event::Hedged(pool),
            RunEvent::Evicted { server, entries } => Event::Evicted(server, entries),
            RunEvent::CacheLost { server, entries } => Event::CacheLost(server, entries),
            RunEvent::ServerFailed { job, .. } => {
                let job = self.job(job);
                job.failed = Some(now.0);
                job.steps += 1;
                return;
            }
            RunEvent::LimitChanged { .. } => Event::Limit,
            RunEvent::FleetChanged { pool, view, panic: on, .. } => Event::Panic { pool, view, on },
            _ => return,
        };
        self.events.push((now.0, event));
    }

    fn closed(&mut self, now: Nanos) {
        self.end = now.0;
    }
}
