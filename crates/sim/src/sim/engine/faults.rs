//! Faults: what strikes a server or a balancer, and what of the work in it survives.

use super::{Engine, Job, JobState};
use crate::sim::event::Event;
use crate::sim::model::{Discipline, FaultKind, Target};
use crate::sim::observer::{Observer, ServerChange, Step};
use crate::sim::record::RequestOutcome;
use crate::sim::server::{Condition, NONE};
use evenkeel_core::units::Nanos;

impl<'a, O: Observer> Engine<'a, O> {
    pub(super) fn fault(&mut self, index: u32, starts: bool) {
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
                match fault.kind {
                    FaultKind::Crash { silent } if starts => self.kill(number, silent),
                    FaultKind::Drain => {
                        let draining = self.struck_by(fault.target).any(|kind| kind == FaultKind::Drain);
                        self.drain(pool, server as u32, draining);
                    }
                    _ => {}
                }
                self.recondition(number, fault.target);
            }
        }
    }

    /// What strikes a target now: faults may overlap.
    pub(super) fn struck_by(&self, target: Target) -> impl Iterator<Item = FaultKind> + use<'a, O> {
        let (now, model) = (self.now, self.model);
        model
            .faults
            .iter()
            .filter(move |fault| {
                fault.at <= now && fault.until.is_none_or(|until| until > now) && fault.target == target
            })
            .map(|fault| fault.kind)
    }

    /// Works out a server's condition from the faults that strike it now, and lets what is in it feel the new speed.
    pub(super) fn recondition(&mut self, number: u32, target: Target) {
        let condition = Condition::under(self.struck_by(target));
        let state = &mut self.servers[number as usize];
        let old_rate = state.rate();
        match state.discipline {
            Discipline::Ps => {
                state.shared.advance(self.now, old_rate);
                state.condition = condition;
                self.schedule_shared(number);
            }
            Discipline::Fcfs => {
                state.condition = condition;
                let rate = state.rate();
                if rate == old_rate {
                    return;
                }
                for (index, job) in self.jobs.iter_mut().enumerate() {
                    if job.server == number && job.state == JobState::Serving {
                        let left = (job.end - self.now).0 as f64 * old_rate / rate;
                        let end = self.now.saturating_add(Nanos::from_nanos_f64(left));
                        state.sum_of_ends = state.sum_of_ends - u128::from(job.end.0) + u128::from(end.0);
                        job.end = end;
                        job.version = job.version.wrapping_add(1);
                        self.queue.push(end, Event::Depart(index as u32, job.version));
                    }
                }
            }
        }
    }

    /// Everything in the server is lost and its cache is empty.
    pub(super) fn kill(&mut self, number: u32, silent: bool) {
        let now = self.now;
        let server = &mut self.servers[number as usize];
        server.touch(now);
        (server.in_service, server.queued, server.sum_of_ends) = (0, 0, 0);
        (server.head, server.tail) = (NONE, NONE);
        server.shared.advance(now, server.rate());
        server.shared.clear();
        server.shared.version = server.shared.version.wrapping_add(1);
        if let Some(cache) = &mut server.cache {
            cache.clear();
        }
        let inside = |job: &Job| job.server == number && job.state.is_inside();
        let victims: Vec<u32> = (0..self.jobs.len() as u32).filter(|&job| inside(&self.jobs[job as usize])).collect();
        let called_by_victim = |job: &Job| job.parent != NONE && victims.binary_search(&job.parent).is_ok();
        // Nobody will be there when the second tier answers.
        let orphans: Vec<usize> = (0..self.jobs.len()).filter(|&job| called_by_victim(&self.jobs[job])).collect();
        orphans.into_iter().for_each(|job| self.orphan(job as u32));
        // All are out before the first is answered: what follows from that must not look for another in the queue.
        for &index in &victims {
            let job = &mut self.jobs[index as usize];
            let state = std::mem::replace(&mut job.state, JobState::Moving);
            job.version = job.version.wrapping_add(1);
            let server = &mut self.servers[number as usize];
            server.left(now - job.entered);
            server.failed();
            if state == JobState::Queued {
                server.coming_work -= u128::from(job.work.0);
            }
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

    /// Balancers are told to send nothing more, or that the server is back, with an empty cache.
    pub(super) fn drain(&mut self, pool: usize, slot: u32, draining: bool) {
        if !draining && let Some(cache) = &mut self.servers[(self.bases[pool] + slot) as usize].cache {
            cache.clear();
        }
        self.observer.server_changed(pool as u32, slot, ServerChange::Draining(draining), self.now);
        for fleet in 0..self.views.len() as u32 {
            let view = &mut self.views[fleet as usize];
            if view.pool as usize == pool {
                let backend = view.balancer.pool().fleet.id(slot);
                view.balancer.set_draining(backend, draining, self.now);
                self.announce(fleet);
            }
        }
    }
}
