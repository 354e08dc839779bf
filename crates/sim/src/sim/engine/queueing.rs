//! The queue at the balancer: jobs that wait because every eligible server is at its limit.

use super::{Coming, Dispatcher, Engine, JobState, request_view};
use crate::sim::event::Event;
use crate::sim::observer::{Observer, RunEvent, Step};
use crate::sim::record::RequestOutcome;
use crate::sim::server::NONE;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::policy::balancer::Dequeued;
use evenkeel_core::policy::queue::Ticket;
use evenkeel_core::rng::mix;

/// A job's place in a balancer's queue.
#[derive(Clone, Copy)]
pub(super) struct Place {
    ticket: Ticket,
    /// The server that the request's cookie names.
    affinity: Option<BackendId>,
}

/// Limits on requests in flight; `None` for no limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    server: Option<u32>,
    pool: Option<u32>,
}

/// No limit.
pub(super) const NO_LIMITS: Limits = Limits { server: None, pool: None };

impl<O: Observer> Engine<'_, O> {
    /// Every eligible server is at its limit: the job waits, or is rejected.
    #[cold]
    pub(super) fn wait(&mut self, job: u32, affinity: Option<BackendId>) {
        let now = self.now;
        let Dispatcher { pool, fleet, shard, .. } = self.dispatchers[self.jobs[job as usize].dispatcher as usize];
        if self.views[fleet as usize].balancer.inquires(shard) {
            self.ask_nobody(job);
        }
        let j = &self.jobs[job as usize];
        let key = j.key.to_le_bytes();
        let request = request_view(self.model, &self.workload, &self.request_attempts, j, &key);
        let balancer = &mut self.views[fleet as usize].balancer;
        let Ok(queued) = balancer.enqueue(shard, u64::from(job), request.excluded, now) else {
            return self.reject(job);
        };
        if self.tickets.len() <= job as usize {
            self.tickets.resize(job as usize + 1, None);
        }
        self.tickets[job as usize] = Some(Place { ticket: queued.ticket, affinity });
        let j = &mut self.jobs[job as usize];
        (j.state, j.picked, j.held) = (JobState::Waiting, now, true);
        self.observer.event(&RunEvent::Queued { job, pool }, now);
        self.queue.push(queued.deadline, Event::Expire(fleet));
        self.execute_effects(fleet);
    }

    pub(super) fn reject(&mut self, job: u32) {
        self.totals.pick_hash = mix(self.totals.pick_hash ^ u64::MAX);
        self.observer.decided(job, None, self.now);
        let j = &mut self.jobs[job as usize];
        (j.state, j.fate) = (JobState::Moving, RequestOutcome::Rejected);
        if j.parent != NONE || j.of != NONE {
            self.observer.step(job, Step::Returned(RequestOutcome::Rejected), self.now);
        }
        self.answer(job);
    }

    /// Sends waiting jobs as far as there is capacity.
    pub(super) fn admit(&mut self, fleet: u32) {
        for _ in 0..self.views[fleet as usize].balancer.waiting() {
            let waiter = self.views[fleet as usize].balancer.dequeue(self.now);
            let Some(Dequeued { token, waited, .. }) = waiter else { return };
            let (job, pool) = (token as u32, self.views[fleet as usize].pool);
            self.observer.event(&RunEvent::Dequeued { job, pool }, self.now);
            self.jobs[job as usize].state = JobState::Moving;
            self.count_attempts(job, |efforts| {
                efforts.waited += 1;
                efforts.wait_sum += u128::from(waited.0);
            });
            let affinity = self.tickets[job as usize].take().and_then(|place| place.affinity);
            self.send(job, Coming::Dequeued(affinity));
        }
    }

    /// Removes waiting jobs whose timeout is over.
    pub(super) fn expire(&mut self, fleet: u32) {
        self.at_view(fleet, |balancer, at| balancer.tick(at));
    }

    /// Removes a job from the queue.
    pub(super) fn leave_queue(&mut self, job: u32) {
        let dispatcher = self.jobs[job as usize].dispatcher;
        let Dispatcher { pool, fleet, .. } = self.dispatchers[dispatcher as usize];
        if let Some(Place { ticket, .. }) = self.tickets[job as usize].take() {
            self.views[fleet as usize].balancer.leave_queue(ticket);
            self.observer.event(&RunEvent::Dequeued { job, pool }, self.now);
        }
        self.jobs[job as usize].state = JobState::Moving;
    }

    /// A balancer has failed: the connections of the jobs in its queue are closed.
    pub(super) fn turn_out(&mut self, balancer: u32) {
        let waits = |job: &super::Job| job.state == JobState::Waiting && job.parent == NONE && job.balancer == balancer;
        let waiting: Vec<u32> = (0..self.jobs.len() as u32).filter(|&job| waits(&self.jobs[job as usize])).collect();
        for job in waiting {
            self.leave_queue(job);
            self.jobs[job as usize].fate = RequestOutcome::Reset;
            self.answer(job);
        }
    }

    /// The limits on requests in flight that a shard applies to a server and to the whole pool.
    pub(super) fn limits(&self, dispatcher: u32, slot: u32) -> Limits {
        let pool = self.views[self.dispatchers[dispatcher as usize].fleet as usize].balancer.pool();
        Limits { server: pool.limit(slot), pool: pool.pool_limit() }
    }

    /// Tells of limits that differ from those before.
    pub(super) fn tell_limits(&mut self, dispatcher: u32, slot: u32, before: Limits) {
        let now = self.limits(dispatcher, slot);
        let Dispatcher { pool, fleet: view, .. } = self.dispatchers[dispatcher as usize];
        let both = [(Some(slot), now.server, before.server), (None, now.pool, before.pool)];
        for (slot, limit, _) in both.into_iter().filter(|(_, limit, before)| limit != before) {
            self.observer.event(&RunEvent::LimitChanged { pool, view, slot, limit }, self.now);
        }
    }
}
