//! The observer that makes a [`Timeline`].

use super::bins::{Bins, Levels};
use super::lives::{Ended, Lives};
use super::views::Views;
use super::{
    Change, Ends, Exact, MOST_EVENTS, MOST_LIMITS, MOST_PHASES, Peak, Phase, PoolPhase, PoolSeries, SCHEMA_VERSION,
    ServerPhase, ServerSeries, StepKind, Timeline,
};
use crate::sim::model::Model;
use crate::sim::observer::{Arrival, Decision, Observer, RunEvent, ServerChange, Step};
use crate::sim::record::{ENDS, RequestOutcome};
use evenkeel_core::units::Nanos;

/// A pool in the current phase.
#[derive(Clone, Copy, Default)]
struct PoolCounts {
    arrivals: u64,
    ends: [Ends; ENDS.len()],
    latency_sum: u64,
    retries: u64,
    hedges: u64,
    waiting: Peak,
}

/// Watches a run and makes its timeline.
pub struct Recorder<'a> {
    model: &'a Model,
    bins: Bins,
    lives: Lives<'a>,
    views: Views,
    /// First server of each pool, and the pool of each server.
    bases: Vec<u32>,
    pool_of: Vec<u32>,
    /// Requests in each server.
    in_server: Vec<u32>,
    /// By pool: requests that wait at balancers, servers, and views.
    waiting: Vec<u32>,
    members: Vec<u32>,
    seen_views: Vec<Vec<u32>>,
    /// By view: whether it is in panic.
    panic: Vec<bool>,
    /// The current phase.
    servers: Vec<ServerPhase>,
    pools: Vec<PoolCounts>,
    phase_from: u64,
    /// Starts of later phases, the latest first.
    later_phases: Vec<u64>,
    /// Next end of a bin or a phase.
    next: u64,
    limits: usize,
    timeline: Timeline,
}

impl<'a> Recorder<'a> {
    /// A recorder for one run of this model.
    pub fn new(model: &'a Model) -> Recorder<'a> {
        let mut bases = Vec::new();
        let mut pool_of = Vec::new();
        for (p, pool) in model.pools.iter().enumerate() {
            bases.push(pool_of.len() as u32);
            pool_of.extend(pool.servers.iter().map(|_| p as u32));
        }
        let initial = |pool: &crate::sim::model::Pool| {
            pool.autoscale.map_or(pool.servers.len() as u32, |rules| rules.initial_servers)
        };
        let members: Vec<u32> = model.pools.iter().map(initial).collect();
        let (in_server, waiting) = (vec![0; pool_of.len()], vec![0; bases.len()]);
        let bins = Bins::new(&Levels { in_server: &in_server, waiting: &waiting, members: &members });
        let timeline = Timeline {
            schema_version: SCHEMA_VERSION,
            warmup_ns: model.warmup.0,
            measured_until_ns: (model.warmup + model.duration).0,
            ..Timeline::default()
        };
        let mut recorder = Recorder {
            model,
            bins,
            lives: Lives::new(model),
            views: Views::new(model),
            servers: vec![ServerPhase::default(); pool_of.len()],
            pools: vec![PoolCounts::default(); bases.len()],
            seen_views: vec![Vec::new(); bases.len()],
            bases,
            pool_of,
            in_server,
            waiting,
            members,
            panic: Vec::new(),
            phase_from: 0,
            later_phases: phases(model),
            next: 0,
            limits: 0,
            timeline,
        };
        recorder.find_next();
        recorder
    }

    /// The timeline, after the run.
    pub fn finish(self) -> Timeline {
        self.timeline
    }

    /// Number of records of jobs, free ones included.
    #[cfg(test)]
    pub(crate) fn records(&self) -> usize {
        self.lives.records()
    }

    fn find_next(&mut self) {
        self.next = self.bins.end().min(self.later_phases.last().copied().unwrap_or(u64::MAX));
    }

    /// Ends the bins and phases that are over.
    #[inline]
    fn advance(&mut self, now: Nanos) {
        while now.0 >= self.next {
            self.turn();
        }
    }

    #[cold]
    fn turn(&mut self) {
        if self.bins.end() == self.next {
            self.bins.open(&Levels { in_server: &self.in_server, waiting: &self.waiting, members: &self.members });
        }
        if self.later_phases.last() == Some(&self.next) {
            self.later_phases.pop();
            self.end_phase(self.next);
        }
        self.find_next();
    }

    fn end_phase(&mut self, to: u64) {
        let servers = self
            .in_server
            .iter()
            .map(|&value| ServerPhase { in_server: Peak { value, at_ns: to }, ..ServerPhase::default() });
        let servers = std::mem::replace(&mut self.servers, servers.collect());
        let pools = self
            .waiting
            .iter()
            .map(|&value| PoolCounts { waiting: Peak { value, at_ns: to }, ..PoolCounts::default() });
        let pools = std::mem::replace(&mut self.pools, pools.collect());
        let pool = |counts: PoolCounts| PoolPhase {
            arrivals: counts.arrivals,
            ends: ENDS
                .iter()
                .map(|&(end, name)| (name.to_owned(), counts.ends[end as usize]))
                .filter(|(_, ends)| ends.count > 0)
                .collect(),
            latency_sum_ns: counts.latency_sum,
            retries: counts.retries,
            hedges: counts.hedges,
            waiting: counts.waiting,
        };
        let from_ns = std::mem::replace(&mut self.phase_from, to);
        let pools = pools.into_iter().map(pool).collect();
        self.timeline.phases.push(Phase { from_ns, to_ns: to, pools, servers });
    }

    fn exact(&mut self, change: Change, now: Nanos) {
        let limit = matches!(change, Change::Limit { .. });
        self.limits += usize::from(limit);
        if self.timeline.events.len() >= MOST_EVENTS || limit && self.limits > MOST_LIMITS {
            *self.timeline.left_out.entry(change.kind().to_owned()).or_default() += 1;
        } else {
            self.timeline.events.push(Exact { at_ns: now.0, change });
        }
    }

    #[inline]
    fn entered(&mut self, server: u32, now: Nanos) {
        let number = &mut self.in_server[server as usize];
        *number += 1;
        let cell = self.bins.server(server);
        cell.in_server = cell.in_server.max(*number);
        let peak = &mut self.servers[server as usize].in_server;
        if *number > peak.value {
            *peak = Peak { value: *number, at_ns: now.0 };
        }
    }

    #[inline]
    fn looked_up(&mut self, server: u32, hit: bool) {
        let (cell, phase) = (self.bins.server(server), &mut self.servers[server as usize]);
        if hit {
            (cell.hits, phase.hits) = (cell.hits + 1, phase.hits + 1);
        } else {
            (cell.misses, phase.misses) = (cell.misses + 1, phase.misses + 1);
        }
    }

    fn ended(&mut self, job: u32, outcome: RequestOutcome, now: Nanos) {
        let Some(Ended { path, server, id, latency }) = self.lives.ended(job, outcome, now) else { return };
        let pool = self.model.paths[path as usize].pool;
        self.bins.pool(pool as u32).ends[outcome as usize] += 1;
        let counts = &mut self.pools[pool];
        counts.latency_sum += latency;
        let ends = &mut counts.ends[outcome as usize];
        if ends.count == 0 {
            *ends = Ends { count: 0, first_ns: now.0, request: id, server };
        }
        ends.count += 1;
    }

    fn failed(&mut self, job: u32, server: u32, now: Nanos) {
        self.lives.took(job, StepKind::Failed, now);
        self.bins.server(server).errors += 1;
        let phase = &mut self.servers[server as usize];
        phase.errors += 1;
        phase.first_error_ns.get_or_insert(now.0);
    }

    fn waits(&mut self, pool: u32, now: Nanos) {
        let number = &mut self.waiting[pool as usize];
        *number += 1;
        let cell = self.bins.pool(pool);
        cell.waiting = cell.waiting.max(*number);
        let peak = &mut self.pools[pool as usize].waiting;
        if *number > peak.value {
            *peak = Peak { value: *number, at_ns: now.0 };
        }
    }

    fn fleet_changed(&mut self, pool: u32, view: u32, on: bool, now: Nanos) {
        if !self.seen_views[pool as usize].contains(&view) {
            self.seen_views[pool as usize].push(view);
        }
        if self.panic.len() <= view as usize {
            self.panic.resize(view as usize + 1, false);
        }
        if std::mem::replace(&mut self.panic[view as usize], on) != on {
            self.exact(Change::Panic { pool, view, on }, now);
        }
    }

    fn server_changed(&mut self, pool: u32, server: u32, change: ServerChange, now: Nanos) {
        let members = &mut self.members[pool as usize];
        let change = match change {
            ServerChange::Joined => {
                *members += 1;
                Change::Joined { server }
            }
            ServerChange::Left => {
                *members -= 1;
                Change::Left { server }
            }
            ServerChange::Draining(on) => Change::Draining { server, on },
        };
        let members = *members;
        self.bins.pool(pool).servers = members;
        self.exact(change, now);
    }

    /// An event that changes a count.
    fn counted(&mut self, event: &RunEvent<'_>, now: Nanos) {
        match *event {
            RunEvent::FleetChanged { pool, view, panic, .. } => self.fleet_changed(pool, view, panic, now),
            RunEvent::ServerChanged { pool, slot, change } => {
                self.server_changed(pool, self.bases[pool as usize] + slot, change, now);
            }
            RunEvent::Queued { job, pool } => {
                self.waits(pool, now);
                self.lives.took_first(job, StepKind::Queued, now);
            }
            RunEvent::Dequeued { job, pool } => {
                self.waiting[pool as usize] -= 1;
                self.lives.took(job, StepKind::Dequeued, now);
            }
            RunEvent::Retried { pool, .. } => {
                self.bins.pool(pool).retries += 1;
                self.pools[pool as usize].retries += 1;
            }
            RunEvent::Hedged { job, pool } => {
                self.bins.pool(pool).hedges += 1;
                self.pools[pool as usize].hedges += 1;
                self.lives.hedging(job);
            }
            RunEvent::ServerFailed { job, server, .. } => self.failed(job, server, now),
            RunEvent::Evicted { server, entries } => {
                self.bins.server(server).evictions += entries;
                self.servers[server as usize].evictions += u64::from(entries);
            }
            _ => {}
        }
    }

    /// The event as one that is kept exactly, if it is one.
    fn rare(&self, event: &RunEvent<'_>) -> Option<Change> {
        let at = |pool: u32, slot: u32| self.bases[pool as usize] + slot;
        Some(match *event {
            RunEvent::FaultStarted { fault } => Change::FaultStarted { fault },
            RunEvent::FaultEnded { fault } => Change::FaultEnded { fault },
            RunEvent::Health { pool, view, slot, up: true } => Change::Up { server: at(pool, slot), view },
            RunEvent::Health { pool, view, slot, up: false } => Change::Down { server: at(pool, slot), view },
            RunEvent::Ejected { pool, view, slot, reason, until } => {
                Change::Ejected { server: at(pool, slot), view, reason: reason.as_str().to_owned(), until_ns: until.0 }
            }
            RunEvent::Returned { pool, view, slot } => Change::Returned { server: at(pool, slot), view },
            RunEvent::LimitChanged { pool, view, slot, limit } => {
                Change::Limit { pool, view, server: slot.map(|slot| at(pool, slot)), limit }
            }
            RunEvent::Booting { pool, servers } => Change::Booting { pool, servers },
            RunEvent::CacheLost { server, entries } => Change::CacheLost { server, entries },
            _ => return None,
        })
    }

    fn close(&mut self, now: Nanos) {
        self.end_phase(now.0);
        let (bins, model) = (&self.bins, self.model);
        self.timeline.bin_ns = bins.width();
        self.timeline.bins = bins.count();
        self.timeline.end_ns = now.0;
        let servers = model.pools.iter().flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)));
        let servers = servers.enumerate().map(|(i, (pool, server))| ServerSeries {
            pool: pool.name.clone(),
            server: server.name.clone(),
            ..bins.server_series(i)
        });
        self.timeline.servers = servers.collect();
        let pools = model.pools.iter().enumerate().map(|(p, pool)| PoolSeries {
            pool: pool.name.clone(),
            views: self.seen_views[p].len() as u32,
            ..bins.pool_series(p)
        });
        self.timeline.pools = pools.collect();
        self.timeline.slowest = self.lives.close(now);
        self.timeline.picks = self.views.close();
    }
}

/// The starts of the phases after the first one, the latest first.
fn phases(model: &Model) -> Vec<u64> {
    let end = model.warmup + model.duration;
    let limit = end + model.drain;
    let faults = model.faults.iter().flat_map(|fault| [Some(fault.at), fault.until]).flatten();
    let mut starts: Vec<u64> = faults.chain([model.warmup, end]).map(|at| at.0).collect();
    starts.retain(|&at| at > 0 && at < limit.0);
    starts.sort_unstable();
    starts.dedup();
    starts.truncate(MOST_PHASES - 1);
    starts.reverse();
    starts
}

impl Observer for Recorder<'_> {
    const WATCHES_LIMITS: bool = true;

    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        self.advance(arrival.at);
        if arrival.attempt.is_none() {
            let pool = match arrival.parent {
                None => Some(self.model.paths[arrival.path_index as usize].pool),
                Some(caller) => {
                    let server = self.lives.server(caller);
                    let pool = server.map(|server| self.pool_of[server as usize] as usize);
                    pool.and_then(|pool| self.model.pools[pool].backend.as_ref()).map(|backend| backend.pool)
                }
            };
            if let Some(pool) = pool {
                self.bins.pool(pool as u32).arrivals += 1;
                self.pools[pool].arrivals += 1;
            }
        }
        self.lives.arrived(job, arrival);
    }

    fn deciding(&mut self, decision: &Decision<'_>) {
        self.views.deciding(decision, &self.in_server);
    }

    fn decided(&mut self, job: u32, server: Option<u32>, now: Nanos) {
        self.advance(now);
        self.views.decided(job, server);
        if let Some(server) = server {
            self.bins.server(server).picks += 1;
            self.servers[server as usize].picks += 1;
            self.lives.picked(job, server, now);
        }
    }

    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        self.advance(now);
        match step {
            Step::AtBalancer => self.lives.took(job, StepKind::AtBalancer, now),
            Step::Entered => {
                self.lives.took(job, StepKind::Entered, now);
                if let Some(server) = self.lives.server(job) {
                    self.entered(server, now);
                }
            }
            Step::Started(hit) => {
                let server = self.lives.started(job, hit, now);
                if let (Some(server), Some(hit)) = (server, hit) {
                    self.looked_up(server, hit);
                }
            }
            Step::Left => {
                self.lives.took(job, StepKind::Left, now);
                if let Some(server) = self.lives.server(job) {
                    self.in_server[server as usize] -= 1;
                }
            }
            Step::Ended(outcome) => self.ended(job, outcome, now),
            Step::Returned(_) => self.lives.took(job, StepKind::Returned, now),
            Step::Abandoned => self.lives.took(job, StepKind::Abandoned, now),
            Step::Released => self.lives.released(job),
        }
    }

    fn event(&mut self, event: &RunEvent<'_>, now: Nanos) {
        self.advance(now);
        match self.rare(event) {
            Some(change) => self.exact(change, now),
            None => self.counted(event, now),
        }
    }

    fn closed(&mut self, now: Nanos) {
        self.advance(now);
        self.close(now);
    }
}
