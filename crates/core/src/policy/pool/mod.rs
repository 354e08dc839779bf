//! The servers of a pool as one balancer (in the simulator) or one shard (in the proxy) counts, checks and chooses among
//! them: a [`Fleet`] and all that decides who in it may be picked.
//!
//! A server is *healthy* when its checks say so and it is not ejected, or when there is *panic*: when fewer than a given
//! share of those that could serve are healthy, health is ignored, since sending everything to the few that are left would
//! fell them, too (Envoy's and Finagle's rule). Drain and weight are the administrator's and hold in a panic as well.
//!
//! A limit on requests in flight is kept by leaving full servers out of a pick, through [`Request::excluded`]; slow start by
//! picking again ([`super::slow_start`]). Neither changes the fleet, so no strategy rebuilds a table for it.
//!
//! The host (simulator or proxy) tells what happens, calls [`ServerPool::tick`] when [`ServerPool::next_tick`] says, and hands
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

/// What became of a server, for logs and counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Out until then.
    Ejected {
        /// Who.
        backend: BackendId,
        /// Why.
        reason: Reason,
        /// How long.
        until: Nanos,
    },
    /// Its ejection is over.
    Returned {
        /// Who.
        backend: BackendId,
    },
}

/// How a server stands, for pages and metrics.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServerStatus {
    /// What its active checks say; true where there are none.
    pub up: bool,
    /// Until when it is ejected.
    pub ejected_until: Option<Nanos>,
    /// The share of its picks that it is given, 1 when it is warm.
    pub ramp_factor: f64,
    /// The administrator lets it run dry.
    pub draining: bool,
    /// Health is ignored at present.
    pub panic: bool,
    /// Whether it can be picked, limits aside.
    pub eligible: bool,
    /// Requests it may have in flight at present, by its own limit or the strategy's.
    pub limit: Option<u32>,
}

/// A server that comes.
#[derive(Clone, Copy, Debug)]
pub struct NewServer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its weight.
    pub weight: u32,
    /// Requests it may have in flight.
    pub limit: Option<u32>,
    /// Its priority level, 0 first.
    pub priority: u32,
    /// Where it stands.
    pub zone: Option<&'a str>,
}

impl<'a> From<(&'a str, u32, Option<u32>)> for NewServer<'a> {
    fn from((name, weight, limit): (&'a str, u32, Option<u32>)) -> NewServer<'a> {
        NewServer { name, weight, limit, priority: 0, zone: None }
    }
}

/// Which of the balancers it is that watches, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardId {
    /// Its number among all shards of all balancers that count for themselves.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// Its zone.
    pub zone: Option<String>,
    /// What subsets by lot are drawn from.
    pub seed: u64,
}

impl Default for ShardId {
    /// The only one.
    fn default() -> ShardId {
        ShardId { number: 0, of: 1, zone: None, seed: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Member {
    health: health::State,
    /// As the config says.
    configured: u32,
    /// At present: at most what is configured, less where it is found out.
    limit: u32,
    /// What the strategy wants at it.
    wanted: u32,
    /// It has as much in flight as it may: it is in `full`.
    full: bool,
    /// When its slow start began; `None` for those that are warm from the beginning.
    warming_since: Option<Nanos>,
    draining: bool,
    /// Its name has no address: nothing can be sent to it, whatever else is known of it.
    nowhere: bool,
    /// Priority level.
    level: u32,
    /// Index into the watch's zones.
    zone: Option<u32>,
}

/// What [`ServerPool::place`] asked of the selector, or told it.
pub enum SelectorCall<'a> {
    /// To pick: the slots that it might not have, and its answer.
    Pick(&'a [u32], Option<Pick>),
    /// That a pick is not followed.
    Refused(&'a Pick),
}

/// See the module's text.
#[derive(Clone, Debug)]
pub struct ServerPool {
    /// The servers, for selectors and for reading.
    pub fleet: Fleet,
    rules: Arc<Rules>,
    /// By slot.
    members: Vec<Member>,
    detector: Option<Detector>,
    values: sticky::Values,
    /// Whether starts and ends are more than counted: some server has (or had) a limit, or there is a detector.
    tracks_requests: bool,
    /// Slots that have as much in flight as they may.
    full: Vec<u32>,
    /// From then on nobody is warming up.
    warm_from: Nanos,
    panic: bool,
    /// The slots that a pick may not have: kept for its memory.
    excluded: Vec<u32>,
    shard_id: ShardId,
    /// Names of the zones that servers stand in.
    zones: Vec<String>,
    /// What each part of a divided fleet holds: a level, or a zone of it.
    parts: Vec<(u32, Option<u32>)>,
    /// In flight at all servers, where there is a limiter for the pool.
    total: u32,
    /// Finds the limit of the pool.
    limiter: Option<Limiter>,
    /// Find the limits of servers, by slot.
    limiters: Vec<Option<Limiter>>,
    admission: Option<admission::State>,
}

impl ServerPool {
    /// Nobody yet.
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

    /// Of this balancer; before any server has joined.
    pub fn for_shard(self, shard_id: ShardId) -> ServerPool {
        let mut server_pool = ServerPool { shard_id, ..self };
        server_pool.rebuild_limiters(Nanos::ZERO);
        server_pool
    }

    /// The rules it keeps.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Keeps other rules from now on. What is known of the servers stays, as far as there is still a rule for it: who is
    /// up, draining, at its limit, how much it has in flight. A detector with other rules begins anew, and so do checks
    /// where there were none.
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
                // Nobody knows anything of it yet; a server that served is not taken out until the checks say so.
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

    /// A server comes; it starts slowly if the rules say so.
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

    /// The servers that are there from the beginning: they are warm.
    pub fn join_all<'a, N: Into<NewServer<'a>>>(&mut self, servers: impl Iterator<Item = N> + Clone) {
        let before = self.fleet.slots() as u32;
        debug_assert_eq!(before as usize, self.fleet.members().count(), "only where no slot is free");
        self.fleet.join_all(servers.clone().map(Into::into).map(|server| (server.name, server.weight)));
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

    /// A server goes. What is under way there may still end.
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

    /// The administrator lets it run dry, or takes it back; then it starts slowly, as any that come back.
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

    /// Its name has an address, or none: then it is not picked, not even in panic, and does not count there. When it gets
    /// one it starts slowly, as any that come back.
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

    /// Changes its weight; zero means no new requests.
    pub fn set_weight(&mut self, id: BackendId, weight: u32) {
        self.fleet.set_weight(id, weight);
        self.assign_partitions();
        self.update_health(0..0);
    }

    /// Changes its priority level and its zone.
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

/// Whether more than a count is to be kept of starts and ends.
fn must_track_requests(rules: &Rules) -> bool {
    rules.outliers.is_some() || rules.concurrency.is_some() || rules.admission.is_some()
}

/// A limit of zero would be a server that never serves; the weight says that.
fn limit_of(limit: Option<u32>) -> u32 {
    limit.map_or(UNLIMITED, |limit| limit.clamp(1, UNLIMITED - 1))
}
