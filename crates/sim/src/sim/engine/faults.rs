//! Faults of servers and balancers: their start and end, and the requests in a server that crashes.

use super::{Engine, Job, JobState};
use crate::sim::event::Event;
use crate::sim::model::{Discipline, Fault, Target};
use crate::sim::observer::{Observer, RunEvent, ServerChange, Step};
use crate::sim::record::RequestOutcome;
use crate::sim::server::NONE;
use evenkeel_config::fault::{Condition, Fault as _, FaultKind};
use evenkeel_core::units::Nanos;

impl<O: Observer> Engine<'_, O> {
    /// Schedules the faults and load changes of the model.
    pub(super) fn schedule_acts(&mut self) {
        let model = self.model;
        let mut changes = model.load_changes.iter().peekable();
        for index in 0..=model.faults.len() {
            while let Some(change) = changes.next_if(|change| change.after_faults <= index) {
                self.schedule_load(change.at, change.factor);
            }
            if index < model.faults.len() {
                self.schedule_fault(index as u32);
            }
        }
    }

    /// Adds faults during the run.
    pub(super) fn strike(&mut self, faults: Vec<Fault>) {
        let first = self.model.faults.len() + self.struck.len();
        self.struck.extend(faults);
        (first..self.model.faults.len() + self.struck.len()).for_each(|index| self.schedule_fault(index as u32));
    }

    fn schedule_fault(&mut self, index: u32) {
        let Fault { at, until, .. } = *self.fault_at(index);
        self.queue.push_first(at, Event::FaultStarts(index));
        if let Some(until) = until {
            self.queue.push_first(until, Event::FaultEnds(index));
        }
    }

    /// Schedules a change of the arrival rate.
    pub(super) fn schedule_load(&mut self, at: Nanos, factor: f64) {
        self.queue.push_first(at, Event::LoadChanges(self.load_factors.len() as u32));
        self.load_factors.push(factor);
    }

    pub(super) fn change_load(&mut self, index: u32) {
        let factor = self.load_factors[index as usize];
        self.observer.event(&RunEvent::LoadChanged { factor }, self.now);
        if factor == self.workload.load_factor() {
            return;
        }
        match self.workload.set_load(self.now, factor, self.next_origin) {
            Some((at, origin)) => {
                self.next_origin = Some(origin);
                self.queue.set_arrival(at.max(self.now));
            }
            None => self.queue.clear_arrival(),
        }
    }

    /// A fault of the model, or one of an act during the run.
    pub(super) fn fault_at(&self, index: u32) -> &Fault {
        let model = &self.model.faults;
        model.get(index as usize).unwrap_or_else(|| &self.struck[index as usize - model.len()])
    }

    pub(super) fn fault(&mut self, index: u32, starts: bool) {
        let event =
            if starts { RunEvent::FaultStarted { fault: index } } else { RunEvent::FaultEnded { fault: index } };
        self.observer.event(&event, self.now);
        let Fault { target, kind, .. } = *self.fault_at(index);
        match target {
            Target::Balancer(balancer) => {
                let up = self.struck_by(target).next().is_none();
                self.names.balancers_up[balancer as usize] = up;
                if !self.names.balancers_up[balancer as usize] {
                    self.turn_out(balancer);
                }
                if let Some(after) = self.model.dns.as_ref().and_then(|dns| dns.withdraw_after) {
                    self.queue.push(self.now.saturating_add(after), Event::Names(balancer));
                }
            }
            Target::Server { pool, server } => {
                let number = self.bases[pool] + server as u32;
                if starts && kind.loses_requests() {
                    self.kill(number, kind.is_silent());
                }
                let condition = Condition::under(self.struck_by(target));
                if kind.condition().draining {
                    self.drain(pool, server as u32, condition.draining);
                }
                self.set_condition(number, condition);
            }
        }
    }

    /// The faults of a target that are active now; they may overlap.
    fn struck_by(&self, target: Target) -> impl Iterator<Item = FaultKind> {
        let now = self.now;
        let active = move |fault: &&Fault| fault.target == target && fault.is_active(now);
        self.model.faults.iter().chain(&self.struck).filter(active).map(|fault| fault.kind)
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
                let end = state.reschedule(self.now, job.end(), change);
                job.set_end(end);
                job.version = job.version.wrapping_add(1);
                self.queue.push(end, Event::Depart(index as u32, job.version));
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
