//! What the lab watches in a run: picks of each server, and on request each event for the picture.

use evenkeel_core::units::Nanos;

use crate::why::Decisions;
use evenkeel_sim::sim::model::{Model, Target};
use evenkeel_sim::sim::observer::{Arrival, Decision, Observer, RunEvent, ServerChange, Step};

/// Most values of events that are kept until they are fetched; later events are dropped and counted.
const MOST_EVENTS: usize = 200_000;

/// Numbers that describe an event: kind, time in seconds, job, server, detail, other.
pub const EVENT_VALUES: usize = 6;

/// Stands for "none" in an event.
const NONE: f64 = -1.0;

/// Kinds of events, as numbered in `web/lab/engine.ts`. What server, detail and other mean is written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the page's description of the interface has them")]
pub enum EventKind {
    Arrived,
    Picked,
    Entered,
    Started,
    Left,
    Ended,
    Queued,
    Dequeued,
    Returned,
    Abandoned,
    Released,
    FaultStarted,
    FaultEnded,
    Health,
    Ejected,
    Readmitted,
    Joined,
    LeftPool,
    LoadChanged,
    Draining,
    Failed,
    Dropped,
    AtBalancer,
}

/// How a job came to be, in the detail of [`EventKind::Arrived`].
#[derive(Clone, Copy)]
enum Origin {
    Request = 0,
    Retry = 1,
    Hedge = 2,
    Call = 3,
    FirstAttempt = 4,
}

/// The observer of a lab's run.
pub struct Watch<'m> {
    model: &'m Model,
    /// First server of each pool in the numbering over all pools.
    pub(crate) bases: Vec<u32>,
    /// Picks of each server since the start.
    pub(crate) picked: Vec<u64>,
    /// The server of each job; `u32::MAX` for none.
    server_of: Vec<u32>,
    /// Whether the attempt that arrives next is a retry or a hedge.
    next: Origin,
    collects: bool,
    explains: bool,
    pub(crate) decisions: Decisions,
    events: Vec<f64>,
    dropped: u64,
}

impl<'m> Watch<'m> {
    /// A watch over runs of this model.
    pub fn new(model: &'m Model) -> Watch<'m> {
        let mut bases = Vec::with_capacity(model.pools.len());
        let mut servers = 0;
        for pool in &model.pools {
            bases.push(servers);
            servers += pool.servers.len() as u32;
        }
        Watch {
            model,
            bases,
            picked: vec![0; servers as usize],
            server_of: Vec::new(),
            next: Origin::FirstAttempt,
            collects: false,
            explains: false,
            decisions: Decisions::default(),
            events: Vec::new(),
            dropped: 0,
        }
    }

    /// Whether events are collected, and decisions explained, from now on. Those collected before are dropped where they are not.
    pub fn collect(&mut self, events: bool, decisions: bool) {
        (self.collects, self.explains) = (events, decisions);
        if !decisions {
            self.decisions = Decisions::default();
        }
        if !events {
            (self.events, self.dropped) = (Vec::new(), 0);
        }
    }

    /// The events since the last call, [`EVENT_VALUES`] numbers each.
    pub fn take_events(&mut self, now: Nanos) -> Vec<f64> {
        let mut events = std::mem::take(&mut self.events);
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped) as f64;
            events.extend([f64::from(EventKind::Dropped as u8), now.as_secs_f64(), NONE, NONE, dropped, NONE]);
        }
        events
    }

    /// The number of a server over all pools.
    fn number(&self, pool: u32, slot: u32) -> f64 {
        f64::from(self.bases[pool as usize] + slot)
    }

    fn push(&mut self, kind: EventKind, now: Nanos, job: f64, server: f64, detail: f64, other: f64) {
        if !self.collects {
            return;
        }
        if self.events.len() >= MOST_EVENTS * EVENT_VALUES {
            self.dropped += 1;
            return;
        }
        self.events.extend([f64::from(kind as u8), now.as_secs_f64(), job, server, detail, other]);
    }

    fn of_job(&mut self, kind: EventKind, now: Nanos, job: u32, detail: f64) {
        let server = self.server_of.get(job as usize).copied().filter(|&server| server != u32::MAX);
        self.push(kind, now, f64::from(job), server.map_or(NONE, f64::from), detail, NONE);
    }
}

/// The server of a fault's target over all pools, and its balancer: one of the two is -1.
pub(crate) fn struck(bases: &[u32], target: Target) -> (f64, f64) {
    match target {
        Target::Server { pool, server } => (f64::from(bases[pool]) + server as f64, NONE),
        Target::Balancer(balancer) => (NONE, f64::from(balancer)),
    }
}

impl Observer for Watch<'_> {
    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        if self.server_of.len() <= job as usize {
            self.server_of.resize(job as usize + 1, u32::MAX);
        }
        self.server_of[job as usize] = u32::MAX;
        let attempt = std::mem::replace(&mut self.next, Origin::FirstAttempt);
        let (origin, parent) = match (arrival.attempt, arrival.parent) {
            (Some((request, _)), _) => (attempt, f64::from(request)),
            (None, Some(caller)) => (Origin::Call, f64::from(caller)),
            (None, None) => (Origin::Request, NONE),
        };
        let detail = f64::from(arrival.path_index.min(65_535)) + 65_536.0 * f64::from(origin as u8);
        self.push(EventKind::Arrived, arrival.at, f64::from(job), f64::from(arrival.balancer), detail, parent);
    }

    fn deciding(&mut self, decision: &Decision<'_>) {
        if self.explains {
            self.decisions.deciding(self.model, decision);
        }
    }

    fn decided(&mut self, job: u32, server: Option<u32>, now: Nanos) {
        if self.explains {
            self.decisions.decided(job, server);
        }
        if let Some(server) = server {
            self.picked[server as usize] += 1;
            if let Some(of) = self.server_of.get_mut(job as usize) {
                *of = server;
            }
        }
        self.push(EventKind::Picked, now, f64::from(job), server.map_or(NONE, f64::from), 0.0, NONE);
    }

    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        if !self.collects {
            return;
        }
        match step {
            Step::AtBalancer => self.of_job(EventKind::AtBalancer, now, job, 0.0),
            Step::Entered => self.of_job(EventKind::Entered, now, job, 0.0),
            Step::Started(hit) => {
                self.of_job(EventKind::Started, now, job, hit.map_or(NONE, |hit| f64::from(u8::from(hit))))
            }
            Step::Left => self.of_job(EventKind::Left, now, job, 0.0),
            Step::Ended(outcome) => self.of_job(EventKind::Ended, now, job, f64::from(outcome as u8)),
            Step::Returned(outcome) => self.of_job(EventKind::Returned, now, job, f64::from(outcome as u8)),
            Step::Abandoned => self.of_job(EventKind::Abandoned, now, job, 0.0),
            Step::Released => self.of_job(EventKind::Released, now, job, 0.0),
        }
    }

    fn event(&mut self, event: &RunEvent<'_>, now: Nanos) {
        use EventKind as Kind;
        match *event {
            RunEvent::Retried { .. } => self.next = Origin::Retry,
            RunEvent::Hedged { .. } => self.next = Origin::Hedge,
            _ if !self.collects => {}
            // The session adds the target: it knows the fault.
            RunEvent::FaultStarted { fault } => self.push(Kind::FaultStarted, now, f64::from(fault), NONE, NONE, NONE),
            RunEvent::FaultEnded { fault } => self.push(Kind::FaultEnded, now, f64::from(fault), NONE, NONE, NONE),
            RunEvent::LoadChanged { factor } => self.push(Kind::LoadChanged, now, NONE, NONE, factor, NONE),
            RunEvent::Health { pool, view, slot, up } => {
                let server = self.number(pool, slot);
                self.push(Kind::Health, now, NONE, server, f64::from(u8::from(up)), f64::from(view));
            }
            RunEvent::Ejected { pool, view, slot, until, .. } => {
                let server = self.number(pool, slot);
                self.push(Kind::Ejected, now, NONE, server, until.as_secs_f64(), f64::from(view));
            }
            RunEvent::Returned { pool, view, slot } => {
                let server = self.number(pool, slot);
                self.push(Kind::Readmitted, now, NONE, server, 0.0, f64::from(view));
            }
            RunEvent::ServerChanged { pool, slot, change } => {
                let server = self.number(pool, slot);
                let (kind, detail) = match change {
                    ServerChange::Joined => (Kind::Joined, 0.0),
                    ServerChange::Left => (Kind::LeftPool, 0.0),
                    ServerChange::Draining(on) => (Kind::Draining, f64::from(u8::from(on))),
                };
                self.push(kind, now, NONE, server, detail, NONE);
            }
            RunEvent::Queued { job, pool } => self.push(Kind::Queued, now, f64::from(job), NONE, f64::from(pool), NONE),
            RunEvent::Dequeued { job, pool } => {
                self.push(Kind::Dequeued, now, f64::from(job), NONE, f64::from(pool), NONE)
            }
            RunEvent::ServerFailed { job, server, outcome } => {
                let detail = outcome.map_or(NONE, |outcome| f64::from(outcome as u8));
                self.push(Kind::Failed, now, f64::from(job), f64::from(server), detail, NONE);
            }
            _ => {}
        }
    }
}
