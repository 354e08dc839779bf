//! Attempts: in a pool with retries or hedging a request stays at its balancer and sends jobs of its own to servers, each
//! to another one, until one is answered well or no more may be sent.
//!
//! An attempt that nobody waits for any more (its time was up, another was faster) is over for balancer and selector; its
//! server goes on working on it, unless the scenario's servers notice (`clients.servers_see_cancel`).

use super::{Engine, Job, JobState};
use crate::sim::event::Event;
use crate::sim::observer::{Observer, Step};
use crate::sim::record::{AttemptStats, RequestOutcome};
use crate::sim::server::NONE;
use evenkeel_core::policy::retry::Failure;
use evenkeel_core::rng::Keyed;
use evenkeel_core::select::{self, Outcome};
use evenkeel_core::units::Nanos;

/// What has been done for a request.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestAttempts {
    /// Slots that attempts were sent to.
    pub excluded: Vec<u32>,
    /// Attempts that are awaited.
    pub live: Vec<u32>,
    /// Attempts made.
    attempts: u32,
    /// The attempt that is a hedge.
    hedge: u32,
    /// Retries, for their pauses.
    retries: u32,
    began: Nanos,
}

impl<O: Observer> Engine<'_, O> {
    /// A family of draws for a second or later attempt: another than the first one's, and the same for every strategy.
    #[cold]
    pub(super) fn draws_again(&self, purpose: &str, job: &Job) -> Keyed {
        let tier = if job.parent == NONE { "" } else { "inner " };
        Keyed::new(self.seed, &format!("{tier}{purpose} {}", job.attempt))
    }

    fn attempt_stats(&mut self, job: u32) -> Option<&mut AttemptStats> {
        let j = &self.jobs[job as usize];
        // A second tier's efforts are not the client's.
        if !j.measured || j.parent != NONE {
            return None;
        }
        let span = self.span_of(j.arrived);
        Some(&mut self.spans[span].efforts)
    }

    /// Counts in the results of a measured request.
    pub(super) fn count_attempts(&mut self, job: u32, count: impl FnOnce(&mut AttemptStats)) {
        if let Some(efforts) = self.attempt_stats(job) {
            count(efforts);
        }
    }

    /// A request begins to try.
    #[inline(never)]
    pub(super) fn begin_trying(&mut self, job: u32) {
        let now = self.now;
        let j = &mut self.jobs[job as usize];
        j.state = JobState::Trying;
        let generation = j.generation;
        let d = &mut self.dispatchers[j.dispatcher as usize];
        if let Some(budget) = &mut d.retries {
            budget.deposit(now);
        }
        let delay = d.hedge.as_mut().and_then(|hedge| {
            hedge.arrived(now);
            hedge.delay(now)
        });
        if self.request_attempts.len() <= job as usize {
            self.request_attempts.resize(job as usize + 1, RequestAttempts::default());
        }
        let effort = &mut self.request_attempts[job as usize];
        effort.excluded.clear();
        effort.live.clear();
        (effort.attempts, effort.retries, effort.hedge, effort.began) = (0, 0, NONE, now);
        if let Some(delay) = delay {
            self.queue.push(now.saturating_add(delay), Event::Hedge(job, generation));
        }
        self.attempt(job);
    }

    /// Another attempt.
    fn attempt(&mut self, request: u32) {
        let effort = &mut self.request_attempts[request as usize];
        effort.attempts += 1;
        let attempt = effort.attempts;
        let child = self.place(Job {
            of: request,
            attempt,
            picked: self.now,
            state: JobState::Moving,
            begun: false,
            ..self.jobs[request as usize]
        });
        self.request_attempts[request as usize].live.push(child);
        self.observe_arrival(child);
        self.send(child);
    }

    /// An attempt is on its way to a server.
    #[inline(never)]
    pub(super) fn attempt_sent(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        let (slot, generation, pool) = (j.backend.slot, j.generation, self.dispatchers[j.dispatcher as usize].pool);
        select::insert_sorted(&mut self.request_attempts[j.of as usize].excluded, slot);
        self.count_attempts(job, |efforts| efforts.attempts += 1);
        if let Some(time) = self.model.pools[pool as usize].policy.retries.and_then(|rules| rules.per_try_timeout) {
            self.queue.push(self.now.saturating_add(time), Event::TryOver(job, generation));
        }
    }

    /// An attempt's own time is up.
    pub(super) fn try_over(&mut self, job: u32, generation: u32) {
        let j = &self.jobs[job as usize];
        if j.generation == generation && j.wanted {
            let request = j.of;
            self.request_attempts[request as usize].live.retain(|&live| live != job);
            self.abandon(job, Outcome::Failed);
            self.failed(request, RequestOutcome::TimedOut, Some(Failure::Timeout));
        }
    }

    /// An attempt has come back to the balancer, or could not be sent.
    #[inline(never)]
    pub(super) fn attempt_over(&mut self, job: u32) {
        let j = self.jobs[job as usize];
        self.release(job);
        if !j.wanted {
            return;
        }
        self.jobs[j.of as usize].held |= j.held;
        let effort = &mut self.request_attempts[j.of as usize];
        effort.live.retain(|&live| live != job);
        let failure = match j.fate {
            RequestOutcome::Ok => {
                let (latency, won) = (self.now - effort.began, effort.hedge == job);
                if let Some(hedge) = &mut self.dispatchers[j.dispatcher as usize].hedge {
                    hedge.answered(latency, self.now);
                }
                if won {
                    self.count_attempts(j.of, |efforts| efforts.hedges_won += 1);
                }
                return self.answer_request(j.of, RequestOutcome::Ok);
            }
            // Whom no server took has nobody to be tried again for it.
            _ if j.server == NONE => None,
            RequestOutcome::Reset if j.refused => Some(Failure::Connect),
            RequestOutcome::Reset => Some(Failure::Reset),
            RequestOutcome::Error => Some(Failure::Error),
            RequestOutcome::Rejected => Some(Failure::Rejected),
            RequestOutcome::TimedOut | RequestOutcome::NoServer | RequestOutcome::Unreachable => None,
        };
        self.failed(j.of, j.fate, failure);
    }

    /// An attempt of this request has failed: is there another?
    fn failed(&mut self, request: u32, fate: RequestOutcome, failure: Option<Failure>) {
        let effort = &self.request_attempts[request as usize];
        if !effort.live.is_empty() {
            // A hedge, or the first attempt beside it, may still be answered.
            return;
        }
        let j = &self.jobs[request as usize];
        let (generation, attempts) = (j.generation, effort.attempts);
        let alive = j.parent != NONE || self.balancers_up[j.balancer as usize];
        let d = &mut self.dispatchers[j.dispatcher as usize];
        // A scenario's requests may all be done twice.
        let rules = self.model.pools[d.pool as usize].policy.retries;
        let rules = rules.filter(|rules| failure.is_some_and(|failure| rules.allows(failure, attempts, true, true)));
        if let Some(rules) = rules.filter(|_| alive)
            && self.views[d.fleet as usize].server_pool.has_candidate(&effort.excluded)
            && d.retries.as_mut().is_some_and(|budget| budget.withdraw(self.now))
        {
            let effort = &mut self.request_attempts[request as usize];
            effort.retries += 1;
            let pause = rules.pause(effort.retries, &mut d.pauses);
            self.jobs[request as usize].held |= pause > Nanos::ZERO;
            self.queue.push(self.now.saturating_add(pause), Event::Retry(request, generation));
            return;
        }
        self.answer_request(request, fate);
    }

    /// The pause before a retry is over.
    pub(super) fn retry(&mut self, request: u32, generation: u32) {
        let j = &self.jobs[request as usize];
        if j.generation != generation || j.state != JobState::Trying {
            return;
        }
        if j.parent == NONE && !self.balancers_up[j.balancer as usize] {
            return self.answer_request(request, RequestOutcome::Reset);
        }
        self.count_attempts(request, |efforts| efforts.retries += 1);
        self.attempt(request);
    }

    /// The first attempt takes longer than most.
    pub(super) fn hedge(&mut self, request: u32, generation: u32) {
        let j = &self.jobs[request as usize];
        if j.generation != generation || j.state != JobState::Trying {
            return;
        }
        let effort = &self.request_attempts[request as usize];
        let d = &mut self.dispatchers[j.dispatcher as usize];
        // Only beside a first attempt that is with its server; and a hedge does not wait for room.
        let alone = effort.attempts == 1 && effort.live.len() == 1 && !effort.excluded.is_empty();
        // Of tied copies the second would be called off at once where the first has begun.
        let tied = self.model.pools[d.pool as usize].policy.hedge.is_some_and(|rules| rules.tied);
        let begun = |job: &u32| matches!(self.jobs[*job as usize].state, JobState::Serving | JobState::Calling);
        if tied && effort.live.iter().any(begun) {
            return;
        }
        let alive = j.parent != NONE || self.balancers_up[j.balancer as usize];
        if alone
            && alive
            && self.views[d.fleet as usize].server_pool.has_room(&effort.excluded)
            && d.hedge.as_mut().is_some_and(|hedge| hedge.withdraw(self.now))
        {
            self.count_attempts(request, |efforts| efforts.hedges += 1);
            self.attempt_hedge(request);
        }
    }

    /// A copy of a tied request has begun to be served: its server tells the other's, a hop away.
    pub(super) fn call_off_twin(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        let pool = self.dispatchers[j.dispatcher as usize].pool as usize;
        if !j.wanted || self.model.pools[pool].policy.hedge.is_none_or(|rules| !rules.tied) {
            return;
        }
        let hop = Nanos::from_nanos_f64(self.model.server_leg.mean());
        let twins = self.request_attempts[j.of as usize].live.iter().filter(|&&live| live != job);
        let told: Vec<(u32, u32)> = twins.map(|&twin| (twin, self.jobs[twin as usize].generation)).collect();
        for (twin, generation) in told {
            // Where the news takes no time it comes before anything else of this moment. Else two servers that end their work
            // together would begin both copies of the next request, and, as copies bring the same work, end it together again.
            if hop == Nanos::ZERO {
                self.called_off(twin, generation);
                continue;
            }
            self.queue.push(self.now.saturating_add(hop), Event::CalledOff(twin, generation));
        }
    }

    /// A twin has begun elsewhere: what still waits is dropped; what has begun as well goes on.
    pub(super) fn called_off(&mut self, job: u32, generation: u32) {
        let j = &mut self.jobs[job as usize];
        if j.generation != generation
            || !j.wanted
            || !matches!(j.state, JobState::Moving | JobState::Queued)
            || j.fate != RequestOutcome::Ok
        {
            return;
        }
        j.called_off = true;
        let request = j.of;
        self.request_attempts[request as usize].live.retain(|&live| live != job);
        self.abandon(job, Outcome::Cancelled);
    }

    fn attempt_hedge(&mut self, request: u32) {
        // Its place is known beforehand: the next that is free.
        let place = self.free.last().copied().unwrap_or(self.jobs.len() as u32);
        self.request_attempts[request as usize].hedge = place;
        self.attempt(request);
    }

    /// The request has its answer, good or bad.
    fn answer_request(&mut self, request: u32, fate: RequestOutcome) {
        self.abandon_all(request, Outcome::Cancelled);
        let j = &mut self.jobs[request as usize];
        (j.fate, j.state) = (fate, JobState::Moving);
        self.answer(request);
    }

    /// Nobody waits for any attempt of this request.
    pub(super) fn abandon_all(&mut self, request: u32, outcome: Outcome) {
        let mut live = std::mem::take(&mut self.request_attempts[request as usize].live);
        live.drain(..).for_each(|job| self.abandon(job, outcome));
        self.request_attempts[request as usize].live = live;
    }

    /// Nobody waits for this attempt; what is under way goes on.
    fn abandon(&mut self, job: u32, outcome: Outcome) {
        let state = self.jobs[job as usize].state;
        self.jobs[job as usize].wanted = false;
        self.observer.step(job, Step::Abandoned, self.now);
        self.finish_attempt(job, outcome);
        match state {
            JobState::Lost => self.release(job),
            JobState::Waiting => {
                self.leave_queue(job);
                self.release(job);
            }
            JobState::Queued => self.cancel_queued(job),
            _ => {}
        }
    }

    /// The job that called this one has died with its server.
    pub(super) fn orphan(&mut self, job: u32) {
        let j = &mut self.jobs[job as usize];
        if j.of != NONE {
            // Its request is an orphan, too.
            return;
        }
        j.wanted = false;
        match j.state {
            JobState::Trying => {
                self.abandon_all(job, Outcome::Cancelled);
                self.release(job);
            }
            JobState::Waiting => {
                self.leave_queue(job);
                self.release(job);
            }
            _ => {}
        }
    }
}
