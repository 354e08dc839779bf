//! Faults of servers and balancers: their start and end, and the requests in a server that crashes.

use super::{Engine, Job, JobState};
use crate::sim::event::Event;
use crate::sim::model::{Discipline, Fault, Target};
use crate::sim::observer::{Observer, RunEvent, ServerChange, Step};
use crate::sim::record::RequestOutcome;
use crate::sim::server::NONE;
use evenkeel_config::fault::{Condition, Fault as _, FaultKind};

impl<'a, O: Observer> Engine<'a, O> {
    pub(super) fn fault(&mut self, index: u32, starts: bool) {
        let event =
            if starts { RunEvent::FaultStarted { fault: index } } else { RunEvent::FaultEnded { fault: index } };
        self.observer.event(&event, self.now);
        let fault = &self.model.faults[index as usize];
        match fault.target {
            Target::Balancer(balancer) => {
                self.names.balancers_up[balancer as usize] = self.struck_by(fault.target).next().is_none();
                if !self.names.balancers_up[balancer as usize] {
                    self.turn_out(balancer);
                }
                if let Some(after) = self.model.dns.as_ref().and_then(|dns| dns.withdraw_after) {
                    self.queue.push(self.now.saturating_add(after), Event::Names(balancer));
                }
            }
            Target::Server { pool, server } => {
                let number = self.bases[pool] + server as u32;
                if starts && fault.kind.loses_requests() {
                    self.kill(number, fault.kind.is_silent());
                }
                let condition = Condition::under(self.struck_by(fault.target));
                if fault.kind.condition().draining {
                    self.drain(pool, server as u32, condition.draining);
                }
                self.set_condition(number, condition);
            }
        }
    }

    /// The faults of a target that are active now; they may overlap.
    fn struck_by(&self, target: Target) -> impl Iterator<Item = FaultKind> + use<'a, O> {
        let (now, model) = (self.now, self.model);
        let active = move |fault: &&Fault| fault.target == target && fault.is_active(now);
        model.faults.iter().filter(active).map(|fault| fault.kind)
    }

    /// Gives a server the condition of its active faults, and reschedules what is in service at its new speed.
    fn set_condition(&mut self, number: u32, condition: Condition) {
        let state = &mut self.servers[number as usize];
        let change = state.set_condition(self.now, condition);
        if state.discipline() == Discipline::Ps {
            return self.schedule_shared(number);
        }
        let Some(change) = change else { return };
        for (index, job) in self.jobs.iter_mut().enumerate() {
            if job.server == number && job.state == JobState::Serving {
                job.end = state.reschedule(self.now, job.end, change);
                job.version = job.version.wrapping_add(1);
                self.queue.push(job.end, Event::Depart(index as u32, job.version));
            }
        }
    }

    /// Everything in the server is lost and its cache is empty.
    fn kill(&mut self, number: u32, silent: bool) {
        let now = self.now;
        self.cache_lost(number);
        self.servers[number as usize].crash(now);
        let inside = |job: &Job| job.server == number && job.state.is_inside();
        let victims: Vec<u32> = (0..self.jobs.len() as u32).filter(|&job| inside(&self.jobs[job as usize])).collect();
        let called_by_victim = |job: &Job| job.parent != NONE && victims.binary_search(&job.parent).is_ok();
        // The calls of the second tier have no caller left.
        let orphans: Vec<usize> = (0..self.jobs.len()).filter(|&job| called_by_victim(&self.jobs[job])).collect();
        orphans.into_iter().for_each(|job| self.orphan(job as u32));
        // All jobs are removed before the first one is answered: its consequences must not find another one in the queue.
        for &index in &victims {
            let job = &mut self.jobs[index as usize];
            let state = std::mem::replace(&mut job.state, JobState::Moving);
            job.version = job.version.wrapping_add(1);
            let waiting = (state == JobState::Queued).then_some(job.work);
            self.servers[number as usize].lost(now, job.entered, waiting);
        }
        for index in victims {
            self.observer.step(index, Step::Left, now);
            if silent {
                self.lose(index);
            } else {
                self.fail(index, RequestOutcome::Reset);
            }
        }
    }

    /// Tells the balancers to send nothing more, or that the server is back, with an empty cache.
    fn drain(&mut self, pool: usize, slot: u32, draining: bool) {
        if !draining {
            self.empty_cache(self.bases[pool] + slot);
        }
        self.server_changed(pool, slot, ServerChange::Draining(draining));
        for fleet in 0..self.views.len() as u32 {
            let view = &mut self.views[fleet as usize];
            if view.pool as usize == pool {
                let backend = view.balancer.pool().fleet.id(slot);
                view.balancer.set_draining(backend, draining, self.now);
                self.announce(fleet);
            }
        }
    }

    /// A pool's server joins, leaves or drains.
    pub(super) fn server_changed(&mut self, pool: usize, slot: u32, change: ServerChange) {
        self.observer.event(&RunEvent::ServerChanged { pool: pool as u32, slot, change }, self.now);
    }

    /// The server starts with an empty cache.
    pub(super) fn empty_cache(&mut self, server: u32) {
        self.cache_lost(server);
        self.servers[server as usize].empty_cache();
    }

    /// Tells that a server is about to lose what it has cached.
    fn cache_lost(&mut self, server: u32) {
        let entries = self.servers[server as usize].cached() as u64;
        if entries > 0 {
            self.observer.event(&RunEvent::CacheLost { server, entries }, self.now);
        }
    }
}
