//! A job at its server, and the return of its response through the balancer to the client or to the calling job.

use super::queueing::NO_LIMITS;
use super::{Engine, INSTANT_PAUSE, Job, JobState, MOST_INSTANT};
use crate::sim::event::Event;
use crate::sim::model::Arrivals;
use crate::sim::observer::{Observer, RunEvent, Step};
use crate::sim::record::RequestOutcome;
use crate::sim::server::{Admission, NONE};
use evenkeel_config::distribution::Sampler;
use evenkeel_core::policy::balancer::AttemptEnd;
use evenkeel_core::rng::Source;
use evenkeel_core::select::{Finished, Outcome};
use evenkeel_core::units::Nanos;

impl<O: Observer> Engine<'_, O> {
    pub(super) fn at_server(&mut self, job: u32) {
        let now = self.now;
        let j = &self.jobs[job as usize];
        let server = &mut self.servers[j.server as usize];
        if !j.wanted && (j.called_off || j.parent == NONE && self.model.clients.servers_see_cancel) {
            server.dropped(j.work);
            return self.release(job);
        }
        let error_draw = if server.draws_errors() { self.error_draw(job) } else { 1.0 };
        let j = &mut self.jobs[job as usize];
        let server = &mut self.servers[j.server as usize];
        match server.arrive(now, j.work, error_draw) {
            Admission::Admitted { found, starts } => {
                (j.found, j.entered, j.held) = (found, now, true);
                self.observer.step(job, Step::Entered, now);
                if starts {
                    self.serve(job);
                } else {
                    j.state = JobState::Queued;
                    server.enqueue(job, &mut self.jobs);
                }
            }
            Admission::Rejected => self.fail(job, RequestOutcome::Rejected),
            Admission::Error { after } => {
                (j.fate, j.held) = (RequestOutcome::Error, after > Nanos::ZERO);
                let failed = RunEvent::ServerFailed { job, server: j.server, outcome: Some(RequestOutcome::Error) };
                self.observer.event(&failed, now);
                self.queue.push(now.saturating_add(after), Event::Erred(job));
            }
            Admission::Down { silent: true } => self.lose(job),
            Admission::Down { silent: false } => {
                j.refused = true;
                self.fail(job, RequestOutcome::Reset);
            }
        }
    }

    /// Random number that decides whether a fault answers this attempt with an error; uniform in [0, 1).
    #[cold]
    fn error_draw(&self, job: u32) -> f64 {
        let j = &self.jobs[job as usize];
        let draws = match j.attempt {
            2.. => self.draws_again("luck", j),
            _ if j.parent == NONE => self.draws,
            _ => self.inner_draws,
        };
        draws.at(j.id << 2 | 2).unit()
    }

    /// Starts service; the job is admitted and has a slot.
    #[inline(always)]
    pub(super) fn serve(&mut self, job: u32) {
        let now = self.now;
        let j = &mut self.jobs[job as usize];
        let server = &mut self.servers[j.server as usize];
        let started = server.start(now, job, j.key, j.work);
        j.missed = started.missed();
        j.work = started.work;
        j.state = JobState::Serving;
        j.begun = true;
        match started.ends {
            Some(end) => {
                j.set_end(end);
                j.version = j.version.wrapping_add(1);
                self.queue.push(end, Event::Depart(job, j.version));
            }
            None => {
                let server = j.server;
                self.schedule_shared(server);
            }
        }
        self.observer.step(job, Step::Started(started.hit), now);
        let j = &self.jobs[job as usize];
        if let (Some(hit), true) = (started.hit, j.parent == NONE) {
            let (path, arrived, counts) = (j.path, j.arrived, j.measured && j.arrived >= self.model.cache_warmup);
            if let Some(bin) = self.arrival_bin_of(arrived) {
                bin.hits += u64::from(hit);
                bin.lookups += 1;
            }
            if counts {
                self.count_in_classes(path, arrived, |class| {
                    class.hits += u64::from(hit);
                    class.misses += u64::from(!hit);
                });
            }
        }
        let Job { of: request, wanted, .. } = self.jobs[job as usize];
        // An attempt that is no longer wanted may outlive its request, whose slot has another job then.
        if request != NONE && wanted {
            self.jobs[request as usize].begun = true;
            self.call_off_twin(job);
        }
    }

    pub(super) fn schedule_shared(&mut self, server: u32) {
        let state = &mut self.servers[server as usize];
        let version = state.new_shared_version();
        if let Some(at) = state.next_shared() {
            self.queue.push(at.max(self.now), Event::SharedDepart(server, version));
        }
    }

    pub(super) fn shared_depart(&mut self, server: u32, version: u32) {
        let state = &mut self.servers[server as usize];
        if state.shared_version() != version {
            return;
        }
        if let Some(job) = state.finish_shared(self.now) {
            self.served(job);
            self.schedule_shared(server);
        }
    }

    /// The server's own work is done: fill the cache, then call the second tier or respond.
    pub(super) fn served(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        let Job { server, key, missed, dispatcher, .. } = *j;
        if self.servers[server as usize].complete(self.now, j.end(), key, missed) {
            self.observer.event(&RunEvent::Evicted { server, entries: 1 }, self.now);
        }
        let pool = self.dispatchers[dispatcher as usize].pool as usize;
        match &self.model.pools[pool].backend {
            Some(backend) if missed || !backend.on_miss => self.call(job, backend.pool, &backend.service),
            _ => self.leave(job),
        }
    }

    /// Calls the second tier. The job keeps its slot, like a thread that waits for a database.
    pub(super) fn call(&mut self, job: u32, pool: usize, service: &Sampler) {
        let j = &mut self.jobs[job as usize];
        j.state = JobState::Calling;
        let caller = *j;
        self.servers[caller.server as usize].hold(self.now);
        self.jobs[job as usize].set_end(self.now);
        let child = self.place(Job {
            work: service.sample(&mut self.inner_work[pool].at(caller.id)),
            parent: job,
            of: NONE,
            attempt: 1,
            state: JobState::Moving,
            counted: false,
            server: NONE,
            dispatcher: NONE,
            arrived: self.now,
            picked: self.now,
            measured: caller.measured,
            wanted: true,
            fate: RequestOutcome::Ok,
            ..caller
        });
        self.observe_arrival(child);
        let shards = self.model.pools[pool].inner_shards;
        self.dispatch(child, self.first_dispatcher[pool] + caller.server % shards);
    }

    /// A job leaves its server with a response; the next one starts.
    #[inline(always)]
    pub(super) fn leave(&mut self, job: u32) {
        let now = self.now;
        let j = &mut self.jobs[job as usize];
        j.state = JobState::Moving;
        let (number, entered, found, ok) = (j.server, j.entered, j.found, j.fate == RequestOutcome::Ok);
        self.servers[number as usize].leave(now, entered, found, ok);
        self.observer.step(job, Step::Left, now);
        self.start_next(number);
        self.notify_idle(number);
        self.answer_from_server(job);
    }

    #[inline(always)]
    pub(super) fn start_next(&mut self, number: u32) {
        while let Some(next) = self.servers[number as usize].next_waiting(&mut self.jobs) {
            self.serve(next);
        }
    }

    /// Removes a job that is no longer wanted from its server's queue, if the server learns of it: at the client's timeout
    /// where servers see cancellations (`clients.servers_see_cancel`), or a tied copy that has started elsewhere. Frees its
    /// slot.
    pub(super) fn cancel_queued(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        let heard = j.called_off || self.model.clients.servers_see_cancel && j.parent == NONE;
        if j.state != JobState::Queued || !heard {
            return;
        }
        let (number, entered, work) = (j.server, j.entered, j.work);
        self.servers[number as usize].withdraw(self.now, job, entered, work, &mut self.jobs);
        self.observer.step(job, Step::Left, self.now);
        self.release(job);
    }

    /// The server refuses the job, or the job is lost with its server.
    pub(super) fn fail(&mut self, job: u32, fate: RequestOutcome) {
        let j = &mut self.jobs[job as usize];
        j.fate = fate;
        let failed = RunEvent::ServerFailed { job, server: j.server, outcome: Some(fate) };
        self.observer.event(&failed, self.now);
        self.answer_from_server(job);
    }

    #[inline(always)]
    pub(super) fn answer_from_server(&mut self, job: u32) {
        if self.carries {
            self.load_answer(job);
        }
        if self.arrives_at_once(self.network.server_hop, job, 2, Event::Return(job)) {
            self.at_balancer_again(job);
        }
    }

    pub(super) fn lose(&mut self, job: u32) {
        let j = &mut self.jobs[job as usize];
        self.observer.event(&RunEvent::ServerFailed { job, server: j.server, outcome: None }, self.now);
        if j.wanted {
            j.state = JobState::Lost;
        } else {
            self.release(job);
        }
    }

    /// The response is back at the balancer (or at the caller of the second tier).
    #[inline]
    pub(super) fn at_balancer_again(&mut self, job: u32) {
        let j = &mut self.jobs[job as usize];
        if j.parent == NONE && !self.names.balancers_up[j.balancer as usize] {
            // The connection was closed when its balancer failed.
            j.fate = RequestOutcome::Reset;
        }
        let fate = j.fate;
        let outcome = if fate == RequestOutcome::Ok { Outcome::Ok } else { Outcome::Failed };
        if self.carries {
            self.unload_answer(job);
        }
        self.observer.step(job, Step::Returned(fate), self.now);
        if self.uses_affinity && fate == RequestOutcome::Ok {
            self.set_affinity(job);
        }
        // The balancer's reaction to the end of an attempt is decided before its server is told that the attempt is
        // cancelled.
        if self.jobs[job as usize].of == NONE {
            self.settle_attempt(job, outcome);
        }
        self.pass_answer(job);
    }

    /// Takes the job out of the in-flight count and reports its outcome to the selector. Only the first call counts.
    #[inline(never)]
    pub(super) fn finish_attempt(&mut self, job: u32, outcome: Outcome) {
        self.settle_attempt(job, outcome);
    }

    /// [`Engine::finish_attempt`], in its caller: most requests have one attempt, which ends at one place.
    #[inline(always)]
    fn settle_attempt(&mut self, job: u32, outcome: Outcome) {
        let j = &mut self.jobs[job as usize];
        if !std::mem::replace(&mut j.counted, false) {
            return;
        }
        let (dispatcher, backend, latency, tag) = (j.dispatcher, j.backend, self.now - j.picked, j.tag);
        self.totals.settled += 1;
        let finished = Finished { backend, latency, outcome, tag };
        let before = if O::WATCHES_LIMITS { self.limits(dispatcher, backend.slot) } else { NO_LIMITS };
        self.at_shard(dispatcher, |balancer, shard, at| balancer.finished(shard, &finished, at));
        if O::WATCHES_LIMITS {
            self.tell_limits(dispatcher, backend.slot, before);
        }
    }

    /// From the balancer to the client, or to the calling job.
    #[inline(never)]
    pub(super) fn answer(&mut self, job: u32) {
        self.pass_answer(job);
    }

    /// [`Engine::answer`], in its caller.
    #[inline(always)]
    fn pass_answer(&mut self, job: u32) {
        let Job { of, parent: caller, wanted, fate, .. } = self.jobs[job as usize];
        if of != NONE {
            return self.attempt_over(job);
        }
        if caller != NONE {
            // The caller may have died with its server meanwhile; the call is then dropped.
            self.release(job);
            if wanted {
                self.jobs[caller as usize].fate = fate;
                let state = &self.jobs[caller as usize];
                let (server, end) = (state.server, state.end());
                self.servers[server as usize].release(end);
                self.leave(caller);
            }
            return;
        }
        if !wanted {
            return self.release(job);
        }
        if let Some(delay) = self.network.answer_hop {
            self.queue.push_answer(self.now.saturating_add(delay), job);
        } else if self.arrives_at_once(self.network.client_hop, job, 3, Event::AtClient(job)) {
            self.at_client(job);
        }
    }

    /// The answers that have reached their clients before the present event.
    #[inline(always)]
    pub(super) fn take_answers(&mut self) {
        if !O::WATCHES && self.queue.has_answer(self.key) {
            self.take_all_answers();
        }
    }

    #[inline(never)]
    fn take_all_answers(&mut self) {
        let now = self.now;
        while self.take_answer().is_some() {}
        self.now = now;
    }

    /// The next of these answers, and its time.
    #[inline(always)]
    pub(super) fn take_answer(&mut self) -> Option<Nanos> {
        if !self.queue.has_answer(self.key) {
            return None;
        }
        let (at, job) = self.queue.pop_answer()?;
        self.now = at;
        self.answered += 1;
        self.at_client(job);
        Some(at)
    }

    #[inline]
    pub(super) fn at_client(&mut self, job: u32) {
        self.end_at_client(job);
        self.free(job);
    }

    /// The request has ended without an answer that reached its client.
    #[inline(never)]
    pub(super) fn end(&mut self, job: u32) {
        self.take_answers();
        self.end_at_client(job);
    }

    /// The request has ended for its client, with success or error. Only the first call counts.
    #[inline(always)]
    fn end_at_client(&mut self, job: u32) {
        let j = &mut self.jobs[job as usize];
        if !std::mem::replace(&mut j.wanted, false) {
            return;
        }
        let (arrived, fate, measured, client, path) = (j.arrived, j.fate, j.measured, j.client, j.path);
        let latency = self.now - arrived;
        let counts = match fate {
            RequestOutcome::Ok | RequestOutcome::TimedOut | RequestOutcome::Unreachable => true,
            RequestOutcome::Error | RequestOutcome::Rejected | RequestOutcome::NoServer | RequestOutcome::Reset => {
                j.held && latency > self.mean_work[path as usize]
            }
        };
        self.observer.step(job, Step::Ended(fate), self.now);
        self.count_system(-1);
        self.totals.ended[fate as usize] += 1;
        self.totals.sojourns += u128::from(latency.0);
        self.measuring.series.end(fate, latency, counts, self.model.paths[path as usize].pool);
        if measured {
            self.totals.measured_left -= 1;
            self.count_in_classes(path, arrived, |class| class.end(fate, latency, counts));
        }
        if counts && let Some(bin) = self.arrival_bin_of(arrived) {
            bin.requests += 1;
            bin.latency_sum += latency.0;
        }
        if let Arrivals::Closed { think } = &self.model.arrivals {
            let sent = self.sent[client as usize];
            let mut pause = think.sample(&mut self.thinking.at(u64::from(client) << 32 | sent));
            if latency == Nanos::ZERO && pause == Nanos::ZERO {
                let instant = &mut self.instant[client as usize];
                *instant += 1;
                if fate != RequestOutcome::Ok || *instant >= MOST_INSTANT {
                    (pause, *instant) = (INSTANT_PAUSE, 0);
                }
            } else {
                self.instant[client as usize] = 0;
            }
            self.queue.push(self.now.saturating_add(pause), Event::Thought(client));
        }
    }

    pub(super) fn timeout(&mut self, job: u32, generation: u32) {
        let j = &mut self.jobs[job as usize];
        if j.generation != generation || !j.wanted {
            return;
        }
        let answer = std::mem::replace(&mut j.fate, RequestOutcome::TimedOut);
        let state = j.state;
        self.end(job);
        // The work done still counts for the server, even if the response is no longer wanted.
        self.jobs[job as usize].fate = answer;
        self.finish_attempt(job, Outcome::Failed);
        match state {
            JobState::Lost => self.release(job),
            // The balancer sees that the client has disconnected.
            JobState::Waiting => {
                self.leave_queue(job);
                self.release(job);
            }
            JobState::Trying => {
                self.abandon_all(job, AttemptEnd::Abandoned(Outcome::Failed));
                self.release(job);
            }
            JobState::Queued => self.cancel_queued(job),
            _ => {}
        }
    }
}
