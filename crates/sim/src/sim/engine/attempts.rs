//! Attempts: in a pool with retries or hedging a request stays at its balancer and sends jobs of its own to servers, each to
//! a different one, until one succeeds or no more may be sent.
//!
//! An attempt that is no longer awaited (it timed out, or another was faster) is over for balancer and selector. Its server
//! continues to work on it, unless the scenario's servers notice (`clients.servers_see_cancel`).

use super::{Coming, Dispatcher, Engine, Job, JobState};
use crate::sim::event::Event;
use crate::sim::observer::{Observer, RunEvent, Step};
use crate::sim::record::{AttemptStats, RequestOutcome};
use crate::sim::server::NONE;
use evenkeel_core::policy::balancer::{AttemptEnd, Attempts, Next, Resend};
use evenkeel_core::policy::retry::Failure;
use evenkeel_core::rng::Keyed;
use evenkeel_core::select::Outcome;
use evenkeel_core::units::Nanos;

/// The attempts of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestAttempts {
    /// The balancer's state of the attempts: how many were sent, which servers were tried.
    pub attempts: Attempts,
    /// Jobs of the attempts in flight.
    pub live: Vec<u32>,
}

impl<O: Observer> Engine<'_, O> {
    /// Random stream for the second and later attempts: different from the first attempt's, and the same for every strategy.
    #[cold]
    pub(super) fn draws_again(&self, purpose: &str, job: &Job) -> Keyed {
        let tier = if job.parent == NONE { "" } else { "inner " };
        Keyed::new(self.seed, &format!("{tier}{purpose} {}", job.attempt))
    }

    fn attempt_stats(&mut self, job: u32) -> Option<&mut AttemptStats> {
        let j = &self.jobs[job as usize];
        // Attempts of calls to a second tier are not counted: the client did not send them.
        if !j.measured || j.parent != NONE {
            return None;
        }
        let span = self.span_of(j.arrived);
        Some(&mut self.measuring.spans[span].efforts)
    }

    /// Adds to the attempt statistics, if the request is measured.
    pub(super) fn count_attempts(&mut self, job: u32, count: impl FnOnce(&mut AttemptStats)) {
        if let Some(efforts) = self.attempt_stats(job) {
            count(efforts);
        }
    }

    /// Starts the first attempt of a request.
    #[inline(never)]
    pub(super) fn begin_trying(&mut self, job: u32) {
        self.jobs[job as usize].state = JobState::Trying;
        if self.request_attempts.len() <= job as usize {
            self.request_attempts.resize(job as usize + 1, RequestAttempts::default());
        }
        let effort = &mut self.request_attempts[job as usize];
        effort.attempts.begin();
        effort.live.clear();
        let first = effort.attempts.start();
        self.attempt(job, first);
    }

    /// Sends an attempt of a request; `number` counts from 1.
    fn attempt(&mut self, request: u32, attempt: u32) {
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
        self.send(child, Coming::New);
    }

    /// An attempt is on its way to a server.
    #[inline(never)]
    pub(super) fn attempt_sent(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        let (number, slot, generation) = (j.attempt, j.backend.slot, j.generation);
        let Dispatcher { pool, fleet, shard, .. } = self.dispatchers[j.dispatcher as usize];
        let attempts = &mut self.request_attempts[j.of as usize].attempts;
        // Every simulated request is safe to send twice.
        let timers = self.views[fleet as usize].balancer.placed(shard, attempts, number, slot, true, self.now);
        self.count_attempts(job, |efforts| efforts.attempts += 1);
        if let Some(delay) = timers.hedge {
            self.queue.push(self.now.saturating_add(delay), Event::Hedge(job, generation));
        }
        if let Some(time) = timers.per_try {
            let at = self.now.saturating_add(time);
            match self.per_try[pool as usize] {
                Some(deadlines) => self.queue.push_deadline(deadlines, at, Event::TryOver(job, generation)),
                None => self.queue.push(at, Event::TryOver(job, generation)),
            }
        }
    }

    /// An attempt's own timeout expires.
    pub(super) fn try_over(&mut self, job: u32, generation: u32) {
        let j = &self.jobs[job as usize];
        if j.generation == generation && j.wanted {
            let request = j.of;
            self.request_attempts[request as usize].live.retain(|&live| live != job);
            let next = self.abandon(job, AttemptEnd::Failed(Failure::Timeout));
            self.go_on_trying(request, RequestOutcome::TimedOut, next);
        }
    }

    /// An attempt has returned to the balancer, or could not be sent.
    #[inline(never)]
    pub(super) fn attempt_over(&mut self, job: u32) {
        let j = self.jobs[job as usize];
        if !j.wanted {
            return self.release(job);
        }
        self.jobs[j.of as usize].held |= j.held;
        let effort = &mut self.request_attempts[j.of as usize];
        effort.live.retain(|&live| live != job);
        let end = match j.fate {
            RequestOutcome::Ok => AttemptEnd::Success,
            _ if j.server == NONE => AttemptEnd::Unplaced,
            RequestOutcome::Reset if j.refused => AttemptEnd::Failed(Failure::Connect),
            RequestOutcome::Reset => AttemptEnd::Failed(Failure::Reset),
            RequestOutcome::Error => AttemptEnd::Failed(Failure::Error),
            RequestOutcome::Rejected => AttemptEnd::Failed(Failure::Rejected),
            RequestOutcome::TimedOut | RequestOutcome::NoServer | RequestOutcome::Unreachable => AttemptEnd::Unplaced,
        };
        if end == AttemptEnd::Success && effort.attempts.is_hedge(j.attempt) {
            self.count_attempts(j.of, |efforts| efforts.hedges_won += 1);
        }
        let next = self.end_attempt(&j, end);
        if next == Next::Answer {
            self.abandon_all(j.of, AttemptEnd::Superseded);
        }
        self.finish_attempt(job, if end == AttemptEnd::Success { Outcome::Ok } else { Outcome::Failed });
        self.release(job);
        self.go_on_trying(j.of, j.fate, next);
    }

    /// Tells the balancer how an attempt ended.
    fn end_attempt(&mut self, j: &Job, end: AttemptEnd) -> Next {
        let Dispatcher { fleet, shard, .. } = self.dispatchers[j.dispatcher as usize];
        let latency = if j.server == NONE { Nanos::ZERO } else { self.now - j.picked };
        let resend = Resend { possible: self.is_balancer_up(j), ..Resend::FREELY };
        let attempts = &mut self.request_attempts[j.of as usize].attempts;
        self.views[fleet as usize].balancer.attempt_ended(shard, attempts, end, latency, resend, self.now)
    }

    /// Whether the balancer of this job is up; balancers of a second tier never fail.
    fn is_balancer_up(&self, j: &Job) -> bool {
        j.parent != NONE || self.names.balancers_up[j.balancer as usize]
    }

    /// Carries out the balancer's decision after an attempt has ended: finish, retry or wait.
    fn go_on_trying(&mut self, request: u32, fate: RequestOutcome, next: Next) {
        match next {
            Next::Await => {}
            Next::Answer => self.answer_request(request, fate),
            Next::Retry(pause) => {
                let j = &mut self.jobs[request as usize];
                j.held |= pause > Nanos::ZERO;
                let generation = j.generation;
                self.queue.push(self.now.saturating_add(pause), Event::Retry(request, generation));
            }
        }
    }

    /// The pause before a retry is over.
    pub(super) fn retry(&mut self, request: u32, generation: u32) {
        let j = &self.jobs[request as usize];
        if j.generation != generation || j.state != JobState::Trying {
            return;
        }
        if !self.is_balancer_up(j) {
            return self.answer_request(request, RequestOutcome::Reset);
        }
        self.count_attempts(request, |efforts| efforts.retries += 1);
        let pool = self.dispatchers[self.jobs[request as usize].dispatcher as usize].pool;
        self.observer.event(&RunEvent::Retried { job: request, pool }, self.now);
        let number = self.request_attempts[request as usize].attempts.start();
        self.attempt(request, number);
    }

    /// The hedging delay of an attempt is over.
    pub(super) fn hedge(&mut self, job: u32, generation: u32) {
        let j = &self.jobs[job as usize];
        if j.generation != generation || !j.wanted || !self.is_balancer_up(j) {
            return;
        }
        let (request, Dispatcher { pool, fleet, shard, .. }) = (j.of, self.dispatchers[j.dispatcher as usize]);
        let RequestAttempts { attempts, live } = &mut self.request_attempts[request as usize];
        let is_begun = |job: &u32| matches!(self.jobs[*job as usize].state, JobState::Serving | JobState::Calling);
        let begun = live.iter().any(is_begun);
        if let Some(number) = self.views[fleet as usize].balancer.hedge(shard, attempts, begun, self.now) {
            self.count_attempts(request, |efforts| efforts.hedges += 1);
            self.observer.event(&RunEvent::Hedged { job: request, pool }, self.now);
            self.attempt(request, number);
        }
    }

    /// A copy of a tied request has started service: its server notifies the server of the other copy, one hop away.
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
            // With zero network delay the notification precedes every other event of this time. Otherwise two servers that
            // finish at the same time would both start a copy of the next request and, as copies bring the same work, finish
            // together again.
            if hop == Nanos::ZERO {
                self.called_off(twin, generation);
                continue;
            }
            self.queue.push(self.now.saturating_add(hop), Event::CalledOff(twin, generation));
        }
    }

    /// The twin of this copy has started elsewhere: a copy that still waits is dropped; one in service continues.
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
        let _ = self.abandon(job, AttemptEnd::CalledOff);
    }

    /// The request has its final response, success or error.
    fn answer_request(&mut self, request: u32, fate: RequestOutcome) {
        self.abandon_all(request, AttemptEnd::Superseded);
        let j = &mut self.jobs[request as usize];
        (j.fate, j.state) = (fate, JobState::Moving);
        self.answer(request);
    }

    /// Cancels all attempts of this request: the client has given up.
    pub(super) fn abandon_all(&mut self, request: u32, end: AttemptEnd) {
        let mut live = std::mem::take(&mut self.request_attempts[request as usize].live);
        for job in live.drain(..) {
            let _ = self.abandon(job, end);
        }
        self.request_attempts[request as usize].live = live;
    }

    /// Cancels one attempt at the balancer; its server continues if the work has started.
    fn abandon(&mut self, job: u32, end: AttemptEnd) -> Next {
        let j = &mut self.jobs[job as usize];
        j.wanted = false;
        let (j, state) = (*j, j.state);
        self.observer.step(job, Step::Abandoned, self.now);
        let outcome = match end {
            AttemptEnd::Failed(_) => Outcome::Failed,
            AttemptEnd::Abandoned(outcome) => outcome,
            _ => Outcome::Cancelled,
        };
        // A copy that was never sent has no latency to report.
        let unsent = end == AttemptEnd::Superseded && j.server == NONE;
        let next = self.end_attempt(&j, if unsent { AttemptEnd::CalledOff } else { end });
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
        next
    }

    /// The job that called this one has died with its server.
    pub(super) fn orphan(&mut self, job: u32) {
        let j = &mut self.jobs[job as usize];
        if j.of != NONE {
            // Its request is an orphan as well.
            return;
        }
        j.wanted = false;
        match j.state {
            JobState::Trying => {
                self.abandon_all(job, AttemptEnd::Abandoned(Outcome::Cancelled));
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
