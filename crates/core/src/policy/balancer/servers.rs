//! The servers of a balancer: who comes and goes, and what is heard of them.

use super::{Balancer, Effect, Moment};
use crate::fleet::{BackendId, Change};
use crate::policy::pool::NewServer;
use crate::policy::recording::HostEvent;
use crate::select::{LoadReport, ReportSource};
use crate::units::Nanos;

impl Balancer {
    // ---- Membership. Selectors hear of it with the next `announce`. ----

    /// The servers that are there from the beginning: they are warm.
    pub fn join_all<'a, N: Into<NewServer<'a>>>(&mut self, servers: impl Iterator<Item = N> + Clone) {
        if self.recording.is_some() {
            for server in servers.clone().map(Into::into) {
                self.write(|| HostEvent::Join { name: server.name.to_owned(), weight: server.weight });
            }
        }
        self.pool.join_all(servers);
        self.record_health();
    }

    /// A server comes; it starts slowly if the rules say so.
    pub fn join<'a>(&mut self, server: impl Into<NewServer<'a>>, now: Nanos) -> BackendId {
        let server = server.into();
        self.write(|| HostEvent::Join { name: server.name.to_owned(), weight: server.weight });
        let id = self.pool.join(server, now);
        self.record_health();
        id
    }

    /// A server goes. What is under way there may still end.
    pub fn leave(&mut self, id: BackendId, now: Nanos) {
        if self.pool.fleet.is_current(id) {
            self.write(|| HostEvent::Leave { slot: id.slot });
            self.pool.leave(id, now);
            self.record_health();
        }
    }

    /// The administrator drains a server, or takes it back; then it starts slowly, as any that come back.
    pub fn set_draining(&mut self, id: BackendId, draining: bool, now: Nanos) {
        if self.pool.fleet.is_current(id) {
            self.write(|| HostEvent::Draining { slot: id.slot, draining });
            self.pool.set_draining(id, draining, now);
            self.record_health();
        }
    }

    /// Changes a server's weight; zero means no new requests.
    pub fn set_weight(&mut self, id: BackendId, weight: u32) {
        if self.pool.fleet.is_current(id) && self.pool.fleet.weight(id.slot) != weight {
            self.write(|| HostEvent::Weight { slot: id.slot, weight });
            self.pool.set_weight(id, weight);
            self.record_health();
        }
    }

    /// Changes how many requests a server may have in flight; `None` for any number.
    pub fn set_limit(&mut self, id: BackendId, limit: Option<u32>) {
        self.pool.set_limit(id, limit);
        self.offer_room();
    }

    /// Changes a server's priority level and its zone.
    pub fn set_place(&mut self, id: BackendId, priority: u32, zone: Option<&str>) {
        self.pool.set_place(id, priority, zone);
        self.record_health();
    }

    /// A server's name has an address, or none: then it is not picked, not even in panic.
    pub fn set_nowhere(&mut self, id: BackendId, nowhere: bool, now: Nanos) {
        self.pool.set_nowhere(id, nowhere, now);
        self.record_health();
    }

    /// Tells selectors what changed in the fleet since they last heard of it, and offers the room that it may have made.
    pub fn announce(&mut self, at: Moment<'_>) {
        let changes = self.pool.fleet.take_changes();
        if changes.is_empty() {
            return;
        }
        self.write(|| HostEvent::Fleet { now: at.now.0, changes: changes.clone() });
        for shard in 0..self.shards() {
            self.with_selector(shard, at, |selector, cx| selector.on_fleet(&changes, cx));
            self.apply_limits(shard, None);
        }
        self.effects.push_back(Effect::FleetChanged);
        self.offer_room();
    }

    /// Tells a new selector of the servers that are there.
    pub(super) fn introduce(&mut self, shard: u32, at: Moment<'_>) {
        // The former one heard of these, or need not any more.
        self.pool.fleet.take_changes();
        let fleet = &self.pool.fleet;
        let mut changes = Vec::new();
        for slot in fleet.members() {
            changes.push(Change::Joined(fleet.id(slot)));
            if !fleet.is_eligible(slot) && fleet.weight(slot) > 0 {
                changes.push(Change::Down(fleet.id(slot)));
            }
        }
        self.write(|| HostEvent::Fleet { now: at.now.0, changes: changes.clone() });
        self.with_selector(shard, at, |selector, cx| selector.on_fleet(&changes, cx));
        self.apply_limits(shard, None);
        self.effects.push_back(Effect::FleetChanged);
        self.offer_room();
    }

    // ---- What is heard of them ----

    /// A load report came, for this shard or for all.
    pub fn report(&mut self, to: Option<u32>, backend: BackendId, load: &LoadReport, at: Moment<'_>) {
        let (slot, generation) = (backend.slot, backend.generation);
        self.write(|| HostEvent::Report { now: at.now.0, slot, generation, load: *load });
        let shards = to.map_or(0..self.shards(), |shard| shard..shard + 1);
        let mut limits = false;
        for shard in shards {
            self.with_selector(shard, at, |selector, cx| selector.on_report(backend, load, cx));
            self.apply_limits(shard, Some(slot));
            limits |= self.shards[shard as usize].limits;
        }
        // Only a strategy that limits servers makes room by what it hears.
        if limits {
            self.offer_room();
        }
    }

    /// An active check has passed or failed, perhaps with a load report; `Some(up)` when the verdict changes. One of a server
    /// that has left says nothing.
    pub fn checked(
        &mut self,
        backend: BackendId,
        passed: bool,
        load: Option<&LoadReport>,
        at: Moment<'_>,
    ) -> Option<bool> {
        if !self.pool.fleet.is_current(backend) {
            return None;
        }
        if let Some(load) = load {
            self.report(None, backend, &LoadReport { by: ReportSource::Check, ..*load }, at);
        }
        let verdict = self.pool.checked(backend, passed, at.now);
        if verdict.is_some() {
            self.record_health();
            self.announce(at);
        }
        verdict
    }

    // ---- Time ----

    /// What time brings: ejections and intervals of the outlier detection end, requests have waited too long.
    pub fn tick(&mut self, at: Moment<'_>) {
        if self.pool.next_tick().is_some_and(|due| due <= at.now) {
            let events = self.pool.tick(at.now);
            self.record_health();
            self.effects.extend(events.into_iter().map(Effect::Server));
            self.announce(at);
        }
        if let Some(queue) = self.queue.as_mut().filter(|queue| queue.next_expiry().is_some_and(|due| due <= at.now)) {
            let expired = queue.expire(at.now);
            self.effects.extend(expired.into_iter().map(|waiter| Effect::Expired { token: waiter.token }));
        }
    }

    /// When [`Balancer::tick`] next has something to do; `None` where nothing is timed.
    pub fn next_tick(&self) -> Option<Nanos> {
        let expiry = self.queue.as_ref().and_then(|queue| queue.next_expiry());
        [self.pool.next_tick(), expiry].into_iter().flatten().min()
    }

    /// The time that a shard's strategy wanted to be woken at has come.
    pub fn wake(&mut self, shard: u32, at: Moment<'_>) {
        self.write(|| HostEvent::Wake { now: at.now.0 });
        self.with_selector(shard, at, |selector, cx| selector.on_wake(cx));
        self.apply_limits(shard, None);
        if self.shards[shard as usize].limits {
            self.offer_room();
        }
    }
}
