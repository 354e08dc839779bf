//! The servers of a pool as one balancer (in the simulator) or one shard (in the proxy) counts, checks and chooses among
//! them: a [`Fleet`] and the policies that decide which of its servers may be picked.
//!
//! A server is *healthy* when it passes its checks and is not ejected, or when there is *panic*: when less than a given
//! share of the usable servers is healthy, health is ignored, since sending everything to the few healthy ones would
//! overload them too (Envoy's and Finagle's rule). Drain and weight are set by the administrator and apply in a panic as
//! well.
//!
//! A limit on requests in flight is applied by excluding full servers from a pick, through [`crate::select::Request::excluded`]; slow start
//! by repeating the pick ([`super::slow_start`]). Neither changes the fleet, so no strategy rebuilds a table for it.
//!
//! The host (simulator or proxy) reports events, calls [`ServerPool::tick`] when [`ServerPool::next_tick`] says, and passes
//! `fleet.take_changes()` to its selectors after each call that may change the fleet.

mod division;
mod limits;
mod observations;
mod placement;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::fleet::{BackendId, Fleet};
use crate::policy::concurrency::Limiter;
use crate::policy::outlier::{Detector, Reason};
use crate::policy::{Rules, admission, health, sticky};

use crate::select::Pick;
use crate::units::Nanos;

/// No limit on requests in flight.
const UNLIMITED: u32 = u32::MAX;

/// A change of a server's ejection, for logs and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server was ejected.
    Ejected {
        /// Slot of the server.
        backend: BackendId,
        /// Detector that ejected the server.
        reason: Reason,
        /// Duration of the ejection.
        until: Nanos,
    },
    /// The ejection of a server has ended.
    Returned {
        /// Slot of the server.
        backend: BackendId,
    },
}

/// Status of a server, for pages and metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServerStatus {
    /// Result of the active checks; true where there are none.
    pub up: bool,
    /// End of the ejection; `None` while the server is not ejected.
    pub ejected_until: Option<Nanos>,
    /// Share of its picks that the server keeps under slow start: 0 to 1, and 1 when it is warm.
    pub ramp_factor: f64,
    /// Whether the administrator drains the server.
    pub draining: bool,
    /// Whether health is ignored at present.
    pub panic: bool,
    /// Whether the server can be picked, apart from limits.
    pub eligible: bool,
    /// Limit on requests in flight at present: the server's own or the strategy's.
    pub limit: Option<u32>,
}

/// A server that joins.
#[derive(Clone, Copy, Debug)]
pub struct NewServer<'a> {
    /// Name of the server.
    pub name: &'a str,
    /// Weight of the server.
    pub weight: u32,
    /// Limit on requests in flight.
    pub limit: Option<u32>,
    /// Priority level, 0 first.
    pub priority: u32,
    /// Zone of the server.
    pub zone: Option<&'a str>,
}

impl<'a> From<(&'a str, u32, Option<u32>)> for NewServer<'a> {
    fn from((name, weight, limit): (&'a str, u32, Option<u32>)) -> NewServer<'a> {
        NewServer { name, weight, limit, priority: 0, zone: None }
    }
}

/// Identity of the balancer (or shard) that owns the pool's state, and its zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardId {
    /// Index among all shards of all balancers that count separately.
    pub number: u32,
    /// Number of such shards.
    pub of: u32,
    /// Zone of the balancer.
    pub zone: Option<String>,
    /// Seed of random subsets.
    pub seed: u64,
}

impl Default for ShardId {
    /// The only shard, in no zone.
    fn default() -> ShardId {
        ShardId { number: 0, of: 1, zone: None, seed: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Member {
    health: health::State,
    /// Configured limit.
    configured: u32,
    /// Limit at present: at most the configured one, less where the concurrency rules found a lower one.
    limit: u32,
    /// Limit that the strategy asks for.
    wanted: u32,
    /// Whether the server is at its limit and so in `full`.
    full: bool,
    /// Start of its slow start; `None` for servers that were warm from the start.
    warming_since: Option<Nanos>,
    draining: bool,
    /// The name has no address: no request can be sent to the server, whatever its health.
    nowhere: bool,
    /// Priority level.
    level: u32,
    /// Index into the pool's zones.
    zone: Option<u32>,
}

/// A call that [`ServerPool::place`] made to the selector.
pub enum SelectorCall<'a> {
    /// A pick: the excluded slots, and the slot picked.
    Pick(&'a [u32], Option<Pick>),
    /// A pick was not used.
    Refused(&'a Pick),
}

/// The servers of one pool with their health, limits and partitions, as one shard counts them.
#[derive(Clone, Debug)]
pub struct ServerPool {
    /// The servers, for selectors and for inspection.
    pub fleet: Fleet,
    rules: Arc<Rules>,
    /// By slot.
    members: Vec<Member>,
    detector: Option<Detector>,
    values: sticky::Values,
    /// Whether starts and ends need more than counting: a server has (or had) a limit, or there is a detector.
    tracks_requests: bool,
    /// Slots at their limit.
    full: Vec<u32>,
    /// Time from which no server is warming up.
    warm_from: Nanos,
    panic: bool,
    /// Slots excluded from a pick; a reused buffer.
    excluded: Vec<u32>,
    shard_id: ShardId,
    /// Names of the servers' zones.
    zones: Vec<String>,
    /// Content of each part of a divided fleet: a level, or one zone of it.
    parts: Vec<(u32, Option<u32>)>,
    /// Requests in flight at all servers, where the pool has a limiter.
    total: u32,
    /// Limiter of the whole pool.
    limiter: Option<Limiter>,
    /// Limiters of single servers, by slot; empty where the rules have none.
    limiters: Vec<Option<Limiter>>,
    admission: Option<admission::State>,
}

impl ServerPool {
    /// A pool without servers.
    pub fn new(rules: Arc<Rules>) -> ServerPool {
        ServerPool {
            fleet: Fleet::new(),
            detector: rules.outliers.map(|rules| Detector::new(rules, Nanos::ZERO)),
            tracks_requests: must_track_requests(&rules),
            limiter: None,
            limiters: Vec::new(),
            total: 0,
            admission: rules.admission.map(admission::State::new),
            rules,
            members: Vec::new(),
            values: sticky::Values::default(),
            full: Vec::new(),
            warm_from: Nanos::ZERO,
            panic: false,
            excluded: Vec::new(),
            shard_id: ShardId::default(),
            zones: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// A pool for this balancer, before any server has joined.
    pub fn for_shard(self, shard_id: ShardId) -> ServerPool {
        let mut server_pool = ServerPool { shard_id, ..self };
        server_pool.rebuild_limiters(Nanos::ZERO);
        server_pool
    }

    /// Slots of the servers at their limit, ascending.
    pub fn full(&self) -> &[u32] {
        &self.full
    }

    /// The rules of the pool.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Replaces the rules. The state of the servers is kept as far as a rule still applies to it: health, drain, limits,
    /// requests in flight. A detector with changed rules starts with no history, and so do checks where there were none.
    pub fn set_rules(&mut self, rules: Arc<Rules>, now: Nanos) {
        let old = std::mem::replace(&mut self.rules, rules);
        let slots: Vec<u32> = self.fleet.members().collect();
        if old.outliers != self.rules.outliers {
            self.detector = self.rules.outliers.map(|rules| Detector::new(rules, now));
            if let Some(detector) = &mut self.detector {
                slots.iter().for_each(|&slot| detector.joined(slot));
            }
        }
        if old.sticky != self.rules.sticky {
            self.values = sticky::Values::default();
        }
        for &slot in &slots {
            match &self.rules.health {
                None => self.members[slot as usize].health = health::State::default(),
                // The checks have no result yet; a server in service stays in service until a check fails.
                Some(_) if old.health.is_none() => self.members[slot as usize].health = health::State::default(),
                Some(_) => {}
            }
            if let (true, Some(rules)) = (old.sticky != self.rules.sticky, &self.rules.sticky) {
                self.values.joined(slot, rules.value(self.fleet.name(slot)));
            }
        }
        if old.slow_start != self.rules.slow_start {
            self.members.iter_mut().for_each(|member| member.warming_since = None);
            self.warm_from = Nanos::ZERO;
        }
        if old.concurrency != self.rules.concurrency {
            self.rebuild_limiters(now);
        }
        if old.admission != self.rules.admission {
            self.admission = self.rules.admission.map(admission::State::new);
        }
        self.tracks_requests |= must_track_requests(&self.rules);
        if old.division() != self.rules.division() {
            self.parts.clear();
            self.fleet.unite();
            self.assign_partitions();
        }
        self.update_health(0..self.fleet.slots() as u32);
    }

    /// Adds a server. It starts slowly if the rules say so.
    pub fn join<'a>(&mut self, server: impl Into<NewServer<'a>>, now: Nanos) -> BackendId {
        let server = server.into();
        let id = self.fleet.join(server.name, server.weight);
        self.settle_in(id, &server);
        if self.up(id.slot) {
            self.warm_up(id.slot, now);
        }
        self.assign_partitions();
        self.update_health(id.slot..id.slot + 1);
        id
    }

    /// Adds the servers of the initial configuration: they are warm.
    pub fn join_all<'a, N: Into<NewServer<'a>>>(&mut self, servers: impl Iterator<Item = N> + Clone) {
        let before = self.fleet.slots() as u32;
        debug_assert_eq!(before as usize, self.fleet.members().count(), "only where no slot is free");
        self.fleet.join_all(servers.clone().map(Into::into).map(|server| (server.name, server.weight)));
        self.members.reserve_exact(self.fleet.slots() - self.members.len());
        for (slot, server) in (before..).zip(servers) {
            self.settle_in(self.fleet.id(slot), &server.into());
        }
        self.assign_partitions();
        self.update_health(before..self.fleet.slots() as u32);
    }

    fn settle_in(&mut self, id: BackendId, server: &NewServer<'_>) {
        let health = self.rules.health.as_ref().map_or_else(health::State::default, health::State::new);
        let limit = server.limit;
        let (level, zone) = (server.priority, server.zone.map(|zone| self.zone(zone)));
        let configured = limit_of(limit);
        let member = Member {
            health,
            configured,
            limit: configured,
            wanted: UNLIMITED,
            full: false,
            warming_since: None,
            draining: false,
            nowhere: false,
            level,
            zone,
        };
        self.tracks_requests |= limit.is_some();
        if self.members.len() <= id.slot as usize {
            self.members.resize(id.slot as usize + 1, member);
        }
        self.members[id.slot as usize] = member;
        self.regulate_server(id.slot, Nanos::ZERO);
        if let Some(detector) = &mut self.detector {
            detector.joined(id.slot);
        }
        if let Some(rules) = &self.rules.sticky {
            self.values.joined(id.slot, rules.value(self.fleet.name(id.slot)));
        }
    }

    /// Removes a server. Requests in flight there may still end.
    pub fn leave(&mut self, id: BackendId, _now: Nanos) {
        if !self.fleet.is_current(id) {
            return;
        }
        self.total -= self.total.min(self.fleet.in_flight()[id.slot as usize]);
        self.fleet.leave(id);
        if let Some(detector) = &mut self.detector {
            detector.left(id.slot);
        }
        if self.rules.sticky.is_some() {
            self.values.joined(id.slot, String::new());
        }
        self.members[id.slot as usize].warming_since = None;
        self.set_full(id.slot, false);
        self.assign_partitions();
        self.update_health(0..0);
    }

    /// Drains a server, or ends its drain; slow start then applies.
    pub fn set_draining(&mut self, id: BackendId, draining: bool, now: Nanos) {
        if !self.fleet.is_current(id) {
            return;
        }
        let member = &mut self.members[id.slot as usize];
        let was = std::mem::replace(&mut member.draining, draining);
        self.fleet.set_draining(id, draining);
        if was && !draining && self.healthy(id.slot) {
            self.warm_up(id.slot, now);
        }
        self.update_health(0..0);
    }

    /// Sets whether the server's name has an address. Without one the server is not picked, not even in panic, and does not
    /// count there. When it gets one, slow start applies.
    pub fn set_nowhere(&mut self, id: BackendId, nowhere: bool, now: Nanos) {
        if !self.fleet.is_current(id) || self.members[id.slot as usize].nowhere == nowhere {
            return;
        }
        self.members[id.slot as usize].nowhere = nowhere;
        if self.healthy(id.slot) {
            self.warm_up(id.slot, now);
        }
        self.update_health(id.slot..id.slot + 1);
    }

    /// Changes a server's weight; zero means no new requests.
    pub fn set_weight(&mut self, id: BackendId, weight: u32) {
        self.fleet.set_weight(id, weight);
        self.assign_partitions();
        self.update_health(0..0);
    }

    /// Changes a server's priority level and zone.
    pub fn set_place(&mut self, id: BackendId, priority: u32, zone: Option<&str>) {
        if !self.fleet.is_current(id) {
            return;
        }
        let zone = zone.map(|zone| self.zone(zone));
        let member = &mut self.members[id.slot as usize];
        let before = (member.level, member.zone);
        (member.level, member.zone) = (priority, zone);
        if before != (priority, zone) {
            self.assign_partitions();
            self.update_health(0..0);
        }
    }
}

/// Whether starts and ends need more than counting.
fn must_track_requests(rules: &Rules) -> bool {
    rules.outliers.is_some() || rules.concurrency.is_some() || rules.admission.is_some()
}

/// A limit of zero would exclude the server permanently; a weight of zero does that.
fn limit_of(limit: Option<u32>) -> u32 {
    limit.map_or(UNLIMITED, |limit| limit.clamp(1, UNLIMITED - 1))
}
