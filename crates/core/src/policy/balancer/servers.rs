//! The servers of a balancer: membership, load reports and checks.

use super::{Balancer, Effect, Moment};
use crate::fleet::{BackendId, Change};
use crate::policy::pool::NewServer;
use crate::policy::recording::HostEvent;
use crate::select::{LoadReport, ReportSource};
use crate::units::Nanos;

impl Balancer {
    // ---- Membership. Selectors receive the changes with the next `announce`. ----

    /// Adds the servers of the initial configuration: they are warm.
    pub fn join_all<'a, N: Into<NewServer<'a>>>(&mut self, servers: impl Iterator<Item = N> + Clone) {
        if self.recording.is_some() {
            for server in servers.clone().map(Into::into) {
                self.write(|| HostEvent::Join { name: server.name.to_owned(), weight: server.weight });
            }
        }
        self.pool.join_all(servers);
        self.record_health();
    }

    /// Adds a server. It starts slowly if the rules say so.
    pub fn join<'a>(&mut self, server: impl Into<NewServer<'a>>, now: Nanos) -> BackendId {
        let server = server.into();
        self.write(|| HostEvent::Join { name: server.name.to_owned(), weight: server.weight });
        let id = self.pool.join(server, now);
        self.record_health();
        id
    }

    /// Removes a server. Requests in flight there may still end.
    pub fn leave(&mut self, id: BackendId, now: Nanos) {
        if self.pool.fleet.is_current(id) {
            self.write(|| HostEvent::Leave { slot: id.slot });
            self.pool.leave(id, now);
            self.record_health();
        }
    }

    /// Drains a server, or ends its drain; slow start then applies.
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

    /// Changes a server's limit on requests in flight; `None` for unlimited.
    pub fn set_limit(&mut self, id: BackendId, limit: Option<u32>) {
        self.pool.set_limit(id, limit);
        self.offer_room();
    }

    /// Changes a server's priority level and its zone.
    pub fn set_place(&mut self, id: BackendId, priority: u32, zone: Option<&str>) {
        self.pool.set_place(id, priority, zone);
        self.record_health();
    }

    /// Sets whether a server's name has an address. Without one the server is not picked, not even in panic.
    pub fn set_nowhere(&mut self, id: BackendId, nowhere: bool, now: Nanos) {
        self.pool.set_nowhere(id, nowhere, now);
        self.record_health();
    }

    /// Passes pending changes of the fleet to the selectors, and offers room that they may have made.
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

    /// Passes the present servers to a new selector.
    pub(super) fn introduce(&mut self, shard: u32, at: Moment<'_>) {
        // The former selector received these changes, or no longer needs them.
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

    // ---- Load reports and checks ----

    /// Handles a load report, for one shard or for all.
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
        // Only a strategy that limits servers can make room because of a report.
        if limits {
            self.offer_room();
        }
    }

    /// Records an active check, which may carry a load report; returns `Some(up)` when the state changes. A check of a
    /// server that has left is ignored.
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

    /// Handles the timers that are due: ejections and intervals of the outlier detection end, queued requests time out.
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

    /// When [`Balancer::tick`] is next due; `None` when nothing is timed.
    pub fn next_tick(&self) -> Option<Nanos> {
        let expiry = self.queue.as_ref().and_then(|queue| queue.next_expiry());
        [self.pool.next_tick(), expiry].into_iter().flatten().min()
    }

    /// The timer of a shard's strategy has fired.
    pub fn wake(&mut self, shard: u32, at: Moment<'_>) {
        self.write(|| HostEvent::Wake { now: at.now.0 });
        self.with_selector(shard, at, |selector, cx| selector.on_wake(cx));
        self.apply_limits(shard, None);
        if self.shards[shard as usize].limits {
            self.offer_room();
        }
    }
}
