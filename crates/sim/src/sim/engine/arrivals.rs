//! Request arrivals: generates a request and sends it to a balancer.

use super::{Engine, Job, JobState};
use crate::sim::event::Event;
use crate::sim::observer::{Arrival, Observer};
use crate::sim::queue::Deadlines;
use crate::sim::record::RequestOutcome;
use crate::sim::server::{Links, NONE};
use crate::sim::workload::Origin;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::units::Nanos;

impl<O: Observer> Engine<'_, O> {
    #[inline]
    pub(super) fn schedule_arrival(&mut self) {
        if let Some((at, origin)) = self.workload.next_arrival() {
            self.next_origin = Some(origin);
            self.queue.set_arrival(at.max(self.now));
        }
    }

    #[inline(never)]
    pub(super) fn arrive(&mut self, origin: Origin) {
        let now = self.now;
        let draft = self.workload.draft(origin, now);
        let measured = now >= self.model.warmup && !self.measuring.over;
        self.totals.arrived += 1;
        self.totals.measured_left += u64::from(measured);
        self.count_system(1);
        let job = self.place(Job {
            id: draft.id,
            key: draft.key,
            arrived: now,
            picked: now,
            entered: now,
            work: draft.demand,
            tag: 0,
            client: draft.client,
            path: draft.path,
            balancer: 0,
            dispatcher: NONE,
            backend: BackendId { slot: 0, generation: 0 },
            server: NONE,
            parent: NONE,
            of: NONE,
            attempt: 1,
            links: Links::NONE,
            found: 0,
            generation: 0,
            version: 0,
            state: JobState::Moving,
            fate: RequestOutcome::Ok,
            wanted: true,
            counted: false,
            measured,
            missed: true,
            begun: false,
            refused: false,
            called_off: false,
            held: false,
            turned: 0,
        });
        let generation = self.jobs[job as usize].generation;
        self.limit(self.timeouts, draft.timeout, Event::Timeout(job, generation));
        self.limit(self.patience, draft.patience, Event::Abandon(job, generation));
        let balancer = self.find_balancer(draft.client, draft.id);
        self.jobs[job as usize].balancer = balancer;
        self.observe_arrival(job);
        self.set_out(job);
    }

    /// Schedules the client's timeout or its patience, if it has one.
    #[inline]
    pub(super) fn limit(&mut self, deadlines: Option<Deadlines>, length: Option<Nanos>, event: Event) {
        let Some(length) = length else { return };
        let at = self.now.saturating_add(length);
        match deadlines {
            Some(deadlines) => self.queue.push_deadline(deadlines, at, event),
            None => self.queue.push(at, event),
        }
    }

    /// A deadline is due.
    pub(super) fn deadline(&mut self, deadlines: Deadlines) {
        let jobs = &self.jobs;
        let is_over = |event| match event {
            Event::Timeout(job, generation) | Event::TryOver(job, generation) => {
                let j = &jobs[job as usize];
                j.generation != generation || !j.wanted
            }
            Event::Abandon(job, generation) => {
                let j = &jobs[job as usize];
                j.generation != generation || !j.wanted || j.begun
            }
            _ => false,
        };
        if let Some(event) = self.queue.take_deadline(deadlines, is_over) {
            self.handle_other(event);
        }
    }

    /// Sends the request to its balancer; handles a balancer that is down.
    #[inline(always)]
    pub(super) fn set_out(&mut self, job: u32) {
        let (now, balancer) = (self.now, self.jobs[job as usize].balancer);
        if !self.names.balancers_up[balancer as usize] {
            let at = now.saturating_add(self.model.clients.connect_timeout);
            self.queue.push(at, Event::Unreachable(job));
            return;
        }
        if self.arrives_at_once(self.network.client_hop, job, 0, Event::AtBalancer(job)) {
            self.at_balancer(job);
        }
    }

    /// Whether a client whose connection attempt timed out tries another address.
    pub(super) fn turns_elsewhere(&mut self, job: u32) -> bool {
        let Some(balancer) = self.next_address(job) else { return false };
        let j = &mut self.jobs[job as usize];
        (j.balancer, j.held) = (balancer, true);
        self.set_out(job);
        true
    }

    #[inline]
    pub(super) fn observe_arrival(&mut self, job: u32) {
        if !O::WATCHES {
            return;
        }
        let j = &self.jobs[job as usize];
        let arrival = Arrival {
            id: j.id,
            client: self.workload.address(j.client),
            path: &self.model.paths[j.path as usize].path,
            path_index: j.path,
            key: j.key,
            balancer: j.balancer,
            parent: (j.parent != NONE).then_some(j.parent),
            attempt: (j.of != NONE).then_some((j.of, j.attempt)),
            at: if j.of == NONE { j.arrived } else { j.picked },
            demand: j.work,
            measured: j.measured,
        };
        self.observer.arrived(job, &arrival);
    }
}
