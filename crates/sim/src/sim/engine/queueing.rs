//! The queue at the balancer: jobs that wait because every server they could have is at its limit.

use super::{Engine, JobState};
use crate::sim::event::Event;
use crate::sim::observer::{Observer, Step};
use crate::sim::record::RequestOutcome;
use crate::sim::server::NONE;
use evenkeel_core::rng::mix;

impl<O: Observer> Engine<'_, O> {
    /// Every server that the job could have is at its limit: it waits, or is turned away.
    #[cold]
    pub(super) fn wait(&mut self, job: u32) {
        let now = self.now;
        let dispatcher = self.jobs[job as usize].dispatcher;
        let fleet = self.dispatchers[dispatcher as usize].fleet;
        if self.dispatchers[dispatcher as usize].inquires {
            self.ask_nobody(job);
        }
        let view = &mut self.views[fleet as usize];
        let Some(Ok(ticket)) = view.waiting.as_mut().map(|queue| queue.push(now, job)) else {
            return self.reject(job);
        };
        let rules = view.waiting.as_ref().map(|queue| queue.rules());
        if self.tickets.len() <= job as usize {
            self.tickets.resize(job as usize + 1, None);
        }
        self.tickets[job as usize] = Some(ticket);
        let j = &mut self.jobs[job as usize];
        (j.state, j.picked, j.held) = (JobState::Waiting, now, true);
        if let Some(rules) = rules {
            self.queue.push(now.saturating_add(rules.timeout), Event::Expire(fleet));
        }
    }

    pub(super) fn reject(&mut self, job: u32) {
        self.pick_hash = mix(self.pick_hash ^ u64::MAX);
        self.observer.decided(job, None, self.now);
        let j = &mut self.jobs[job as usize];
        (j.state, j.fate) = (JobState::Moving, RequestOutcome::Rejected);
        if j.parent != NONE || j.of != NONE {
            self.observer.step(job, Step::Returned(RequestOutcome::Rejected), self.now);
        }
        self.answer(job);
    }

    /// A request ended, or the fleet changed: if somebody waits, there may be room now. By an event of its own: a server
    /// that refuses at once would else be tried by everyone who waits in one deep call.
    #[inline]
    pub(super) fn wake_the_waiting(&mut self, fleet: u32) {
        if self.views[fleet as usize].waiting.as_ref().is_some_and(|queue| !queue.is_empty()) {
            self.queue.push(self.now, Event::Admit(fleet));
        }
    }

    /// Sends on who waits, as far as there is room.
    pub(super) fn admit(&mut self, fleet: u32) {
        let most = self.views[fleet as usize].waiting.as_ref().map_or(0, |queue| queue.len());
        for _ in 0..most {
            let view = &mut self.views[fleet as usize];
            if !view.server_pool.has_room(&[]) {
                return;
            }
            let Some(job) = view.waiting.as_mut().and_then(|queue| queue.pop(self.now)) else { return };
            let j = &mut self.jobs[job as usize];
            let waited = self.now - j.picked;
            j.state = JobState::Moving;
            self.count_attempts(job, |efforts| {
                efforts.waited += 1;
                efforts.wait_sum += u128::from(waited.0);
            });
            self.send(job);
        }
    }

    /// Turns away who has waited too long.
    pub(super) fn expire(&mut self, fleet: u32) {
        let late = self.views[fleet as usize].waiting.as_mut().map_or_else(Vec::new, |queue| queue.expire(self.now));
        late.into_iter().for_each(|job| self.reject(job));
    }

    /// A job no longer waits.
    pub(super) fn leave_queue(&mut self, job: u32) {
        let dispatcher = self.jobs[job as usize].dispatcher;
        let fleet = self.dispatchers[dispatcher as usize].fleet;
        if let Some(ticket) = self.tickets[job as usize].take()
            && let Some(queue) = &mut self.views[fleet as usize].waiting
        {
            queue.cancel(ticket);
        }
        self.jobs[job as usize].state = JobState::Moving;
    }

    /// A balancer has died: the connections of those who wait there died with it.
    pub(super) fn turn_out(&mut self, balancer: u32) {
        let waits = |job: &super::Job| job.state == JobState::Waiting && job.parent == NONE && job.balancer == balancer;
        let waiting: Vec<u32> = (0..self.jobs.len() as u32).filter(|&job| waits(&self.jobs[job as usize])).collect();
        for job in waiting {
            self.leave_queue(job);
            self.jobs[job as usize].fate = RequestOutcome::Reset;
            self.answer(job);
        }
    }
}
