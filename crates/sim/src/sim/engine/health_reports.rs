//! Health checks and load reports: which balancer receives them, and with what delay.

use super::{Affinity, Dispatcher, Engine};
use crate::sim::event::Event;
use crate::sim::observer::{Observer, RunEvent};
use crate::sim::record::RequestOutcome;
use crate::sim::server::{CHECK_WORK, NONE, Totals};
use evenkeel_config::fault::Condition;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::policy::pool;
use evenkeel_core::rng::Source;
use evenkeel_core::select::{LoadReport, ProbeReply, ReportSource};
use evenkeel_core::units::Nanos;

/// A message under way: a check's result, a report, or a probe on its way to the server.
#[derive(Clone, Copy)]
pub(super) struct Message {
    pub(super) fleet: u32,
    pub(super) slot: u32,
    /// The one dispatcher that receives it; `NONE` for all of the fleet.
    pub(super) to: u32,
    pub(super) passed: Option<bool>,
    pub(super) load: Option<LoadReport>,
    /// The job that caused the probe, and its generation.
    pub(super) asker: Option<(u32, u32)>,
}

impl<O: Observer> Engine<'_, O> {
    fn leg(&self) -> Nanos {
        Nanos::from_nanos_f64(self.model.server_leg.mean())
    }

    pub(super) fn round_trip(&self) -> Nanos {
        let leg = self.model.server_leg.mean();
        Nanos::from_nanos_f64(2.0 * leg)
    }

    pub(super) fn check(&mut self, fleet: u32, slot: u32) {
        let view = &self.views[fleet as usize];
        let (pool, owner) = (view.pool as usize, view.owner);
        let Some(rules) = &self.model.pools[pool].policy.health else { return };
        let next = self.now.saturating_add(rules.wait(&mut self.jitter));
        self.queue.push(next, Event::Check(fleet, slot));
        if owner != u32::MAX && !self.names.balancers_up[owner as usize] {
            return;
        }
        let server = &self.servers[(self.bases[pool] + slot) as usize];
        let condition = *server.condition();
        let took = self.round_trip() + server.span(CHECK_WORK);
        let (passed, after) = match condition {
            Condition { up: false, silent: true, .. } => (false, rules.timeout),
            Condition { up: false, .. } => (false, self.round_trip()),
            Condition { fails_checks: true, .. } => (false, took),
            _ if took > rules.timeout => (false, rules.timeout),
            _ => (true, took),
        };
        let load = passed.then(|| self.take_report(fleet, slot, ReportSource::Check));
        self.post(
            self.now.saturating_add(after),
            Message { fleet, slot, to: NONE, passed: Some(passed), load, asker: None },
        );
    }

    pub(super) fn report(&mut self, server: u32) {
        let pool = self.bases.partition_point(|&base| base <= server) - 1;
        let Some(reports) = self.model.pools[pool].reports else { return };
        let Some(interval) = reports.interval else { return };
        self.queue.push(self.now.saturating_add(interval), Event::Report(server));
        if !self.servers[server as usize].condition().up {
            return;
        }
        let leg = Nanos::from_nanos_f64(self.model.server_leg.mean());
        let at = self.now.saturating_add(reports.delay).saturating_add(leg);
        let slot = server - self.bases[pool];
        for fleet in 0..self.views.len() as u32 {
            if self.views[fleet as usize].pool as usize == pool {
                let load = self.take_report(fleet, slot, ReportSource::Clock);
                self.post(at, Message { fleet, slot, to: NONE, passed: None, load: Some(load), asker: None });
            }
        }
    }

    /// The server's load report for the time since its last report through this channel.
    pub(super) fn take_report(&mut self, fleet: u32, slot: u32, by: ReportSource) -> LoadReport {
        let view = &mut self.views[fleet as usize];
        let server = self.bases[view.pool as usize] + slot;
        let since = if by == ReportSource::Check { &mut view.checked } else { &mut view.reported };
        if since.is_empty() {
            since.resize(self.model.pools[view.pool as usize].servers.len(), Totals::default());
        }
        LoadReport { by, ..self.servers[server as usize].report(self.now, &mut since[slot as usize]) }
    }

    /// Sends a selector's probe to a server, which makes its report and replies. A probe to a dead server gets no reply; one
    /// that is refused returns that the server is down.
    pub(super) fn probe(&mut self, dispatcher: u32, backend: BackendId, asker: Option<(u32, u32)>) {
        let d = self.dispatchers[dispatcher as usize];
        let fleet = d.fleet;
        if !self.views[fleet as usize].balancer.pool().fleet.is_current(backend) {
            return;
        }
        if self.now >= self.model.warmup && !self.measuring.over {
            let span = self.span_of(self.now);
            self.measuring.spans[span].efforts.probes += 1;
        }
        let sent = RunEvent::ProbeSent { pool: d.pool, view: fleet, slot: backend.slot };
        self.observer.event(&sent, self.now);
        let message = self.keep(Message { fleet, slot: backend.slot, to: dispatcher, passed: None, load: None, asker });
        self.queue.push(self.now.saturating_add(self.leg()), Event::Probed(message));
    }

    pub(super) fn probed(&mut self, message: u32) {
        let Message { fleet, slot, asker, .. } = self.messages[message as usize];
        let pool = self.views[fleet as usize].pool as usize;
        let key = asker.and_then(|(job, generation)| {
            let j = &self.jobs[job as usize];
            (j.generation == generation).then_some(j.key)
        });
        let server = &mut self.servers[(self.bases[pool] + slot) as usize];
        if !server.condition().up {
            if server.condition().silent {
                self.free_messages.push(message);
            } else {
                self.queue.push(self.now.saturating_add(self.leg()), Event::Delivered(message));
            }
            return;
        }
        let work = self.model.pools[pool].probes.unwrap_or(Nanos::ZERO);
        let took = server.probe(work);
        self.messages[message as usize].load =
            Some(LoadReport { by: ReportSource::Probe, ..server.recent_report(self.now, key) });
        let at = self.now.saturating_add(took).saturating_add(self.leg());
        self.queue.push(at, Event::Delivered(message));
    }

    /// A response leaves its server, with a load report if the pool's responses carry one.
    #[cold]
    pub(super) fn load_answer(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        let pool = self.dispatchers[j.dispatcher as usize].pool as usize;
        let has = j.fate != RequestOutcome::Reset && self.signals[pool].with_answers;
        let load = has.then(|| self.servers[j.server as usize].recent_report(self.now, None));
        if self.carried.len() <= job as usize {
            self.carried.resize(job as usize + 1, None);
        }
        self.carried[job as usize] = load;
    }

    /// The response is at the balancer: its selector receives the report before the end of the request.
    #[cold]
    pub(super) fn unload_answer(&mut self, job: u32) {
        let Some(load) = self.carried.get_mut(job as usize).and_then(Option::take) else { return };
        let (dispatcher, backend) = (self.jobs[job as usize].dispatcher, self.jobs[job as usize].backend);
        let Dispatcher { pool, fleet: view, .. } = self.dispatchers[dispatcher as usize];
        self.observer.event(&RunEvent::Reported { pool, view, slot: backend.slot, load: &load }, self.now);
        self.at_shard(dispatcher, |balancer, shard, at| balancer.report(Some(shard), backend, &load, at));
    }

    /// A request has left this server. If the server is idle now and the pool has idle notifications, one balancer is
    /// notified.
    pub(super) fn notify_idle(&mut self, server: u32) {
        let state = &self.servers[server as usize];
        if state.in_service() > 0 || !self.idle_notices {
            return;
        }
        let pool = self.bases.partition_point(|&base| base <= server) - 1;
        if !self.signals[pool].notices {
            return;
        }
        let delay = self.model.pools[pool].reports.map_or(Nanos::ZERO, |reports| reports.delay);
        let first = self.first_dispatcher[pool];
        let last = self.first_dispatcher.get(pool + 1).map_or(self.dispatchers.len() as u32, |&next| next);
        let to = first + self.idle_rng.below(u64::from(last - first)) as u32;
        let load =
            LoadReport { by: ReportSource::Notice, ..self.servers[server as usize].recent_report(self.now, None) };
        let at = self.now.saturating_add(delay).saturating_add(self.leg());
        let (fleet, slot) = (self.dispatchers[to as usize].fleet, server - self.bases[pool]);
        self.post(at, Message { fleet, slot, to, passed: None, load: Some(load), asker: None });
    }

    pub(super) fn post(&mut self, at: Nanos, message: Message) {
        let index = self.keep(message);
        self.queue.push(at, Event::Delivered(index));
    }

    fn keep(&mut self, message: Message) -> u32 {
        match self.free_messages.pop() {
            Some(index) => {
                self.messages[index as usize] = message;
                index
            }
            None => {
                self.messages.push(message);
                self.messages.len() as u32 - 1
            }
        }
    }

    pub(super) fn receive(&mut self, index: u32) {
        let Message { fleet, slot, to, passed, load, asker } = self.messages[index as usize];
        self.free_messages.push(index);
        let backend = self.views[fleet as usize].balancer.pool().fleet.id(slot);
        let pool = self.views[fleet as usize].pool;
        match (passed, &load) {
            (Some(passed), load) => {
                let load = load.as_ref();
                self.observer.event(&RunEvent::Checked { pool, view: fleet, slot, passed, load }, self.now);
            }
            (None, Some(load)) => self.observer.event(&RunEvent::Reported { pool, view: fleet, slot, load }, self.now),
            (None, None) => {}
        }
        match (passed, load) {
            (Some(passed), load) => {
                let verdict = self.at_view(fleet, |balancer, at| balancer.checked(backend, passed, load.as_ref(), at));
                if let Some(up) = verdict {
                    self.observer.event(&RunEvent::Health { pool, view: fleet, slot, up }, self.now);
                }
            }
            (None, Some(load)) => {
                let shard = (to != NONE).then(|| self.dispatchers[to as usize].shard);
                self.at_view(fleet, |balancer, at| balancer.report(shard, backend, &load, at));
            }
            (None, None) => {}
        }
        if let Some((job, generation)) = asker {
            self.answered(job, generation, load.map(|load| ProbeReply { backend, load }));
        }
    }

    /// Runs the balancer's periodic work.
    pub(super) fn tick(&mut self, fleet: u32) {
        self.views[fleet as usize].tick_at = Nanos::MAX;
        self.at_view(fleet, |balancer, at| balancer.tick(at));
        self.schedule_tick(fleet);
    }

    /// Schedules the next tick that the balancer's outlier detection wants. Each request that waits has an event of its own
    /// ([`Event::Expire`]).
    pub(super) fn schedule_tick(&mut self, fleet: u32) {
        let view = &mut self.views[fleet as usize];
        if let Some(at) = view.balancer.pool().next_tick().filter(|&at| at < view.tick_at) {
            view.tick_at = at;
            self.queue.push(at.max(self.now), Event::Tick(fleet));
        }
    }

    /// Sets the client's affinity to the server that answered without an error, in pools with affinity.
    pub(super) fn set_affinity(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        if j.counted {
            let pool = self.dispatchers[j.dispatcher as usize].pool as usize;
            if let Some(affinity) = self.affinities[pool].get_mut(j.client as usize)
                && self.model.pools[pool].connections.is_none()
            {
                *affinity = Some(Affinity { backend: j.backend, left: u32::MAX, until: Nanos::MAX });
            }
        }
    }

    /// Tells of an ejection or its end, and counts it if it happens in the measured span.
    pub(super) fn note(&mut self, view: u32, event: pool::Event) {
        let pool = self.views[view as usize].pool;
        let told = match event {
            pool::Event::Ejected { backend, reason, until } => {
                RunEvent::Ejected { pool, view, slot: backend.slot, reason, until }
            }
            pool::Event::Returned { backend } => RunEvent::Returned { pool, view, slot: backend.slot },
        };
        self.observer.event(&told, self.now);
        if let pool::Event::Ejected { .. } = event
            && self.now >= self.model.warmup
            && !self.measuring.over
        {
            let span = self.span_of(self.now);
            self.measuring.spans[span].efforts.ejections += 1;
        }
    }
}
