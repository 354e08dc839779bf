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

use std::sync::Arc;

use super::concurrency::{self, Limiter};
use super::outlier::{Detector, Finding, Reason};
use super::{Rules, admission, health, priority, sticky, subset, zone};
use crate::fleet::{BackendId, Fleet};
use crate::rng::{Rng, Source};
use crate::select::{Context, Outcome, Pick, ProbeRequest, Request, Selector, TrueState, insert_sorted};
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

    /// Finds limits anew, by the rules.
    fn rebuild_limiters(&mut self, now: Nanos) {
        let per = self.rules.concurrency.map(|rules| rules.per);
        self.limiter = (per == Some(concurrency::Per::Pool)).then(|| self.new_limiter(u32::MAX, now)).flatten();
        self.limiters.clear();
        let slots: Vec<u32> = self.fleet.members().collect();
        for slot in slots {
            self.regulate_server(slot, now);
        }
        self.total = self.fleet.in_flight().iter().sum();
    }

    fn regulate_server(&mut self, slot: u32, now: Nanos) {
        let per = self.rules.concurrency.map(|rules| rules.per);
        let limiter = (per == Some(concurrency::Per::Server)).then(|| self.new_limiter(slot, now)).flatten();
        if self.limiters.len() <= slot as usize {
            self.limiters.resize(slot as usize + 1, None);
        }
        self.limiters[slot as usize] = limiter;
        self.relimit(slot);
    }

    fn new_limiter(&self, slot: u32, now: Nanos) -> Option<Limiter> {
        let number = u64::from(self.shard_id.number) << 32 | u64::from(slot);
        let rules = self.rules.concurrency?;
        Some(Limiter::new(rules, Rng::stream(self.shard_id.seed, "concurrency", number), now))
    }

    /// Works out how much a server may have in flight, and whether it has it.
    fn relimit(&mut self, slot: u32) {
        let found = self.limiters.get(slot as usize).and_then(Option::as_ref).map_or(UNLIMITED, Limiter::limit);
        let member = &mut self.members[slot as usize];
        member.limit = member.configured.min(found.max(1));
        self.judge_room(slot);
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

    // ---- Who is there ----

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

    /// Changes how many requests it may have in flight; `None` for any number.
    pub fn set_limit(&mut self, id: BackendId, limit: Option<u32>) {
        if self.fleet.is_current(id) {
            self.tracks_requests |= limit.is_some();
            self.members[id.slot as usize].configured = limit_of(limit);
            self.relimit(id.slot);
        }
    }

    /// Asks a strategy that has limits how much it wants at these servers. See [`Selector::limit`] for when.
    pub fn apply_strategy_limits(&mut self, selector: &dyn Selector, slots: std::ops::Range<u32>) {
        self.tracks_requests = true;
        for slot in slots {
            let id = self.fleet.id(slot);
            if self.fleet.is_current(id) {
                self.members[slot as usize].wanted = limit_of(selector.limit(slot, &self.fleet));
                self.judge_room(slot);
            }
        }
    }

    /// Forgets what a former strategy wanted.
    pub fn forget_limits(&mut self) {
        for slot in 0..self.members.len() as u32 {
            self.members[slot as usize].wanted = UNLIMITED;
            self.judge_room(slot);
        }
    }

    fn judge_room(&mut self, slot: u32) {
        let Member { limit, wanted, .. } = self.members[slot as usize];
        self.set_full(slot, self.fleet.in_flight()[slot as usize] >= limit.min(wanted));
    }

    fn set_full(&mut self, slot: u32, full: bool) {
        if std::mem::replace(&mut self.members[slot as usize].full, full) != full {
            if full {
                insert_sorted(&mut self.full, slot);
            } else if let Ok(at) = self.full.binary_search(&slot) {
                self.full.remove(at);
            }
        }
    }

    // ---- What is known of them ----

    /// An active check's result; `Some(up)` when the verdict changes.
    pub fn checked(&mut self, id: BackendId, passed: bool, now: Nanos) -> Option<bool> {
        let rules = self.rules.health?;
        if !self.fleet.is_current(id) {
            return None;
        }
        let up = self.members[id.slot as usize].health.observe(passed, &rules)?;
        if up && self.healthy(id.slot) {
            self.warm_up(id.slot, now);
        }
        self.update_health(id.slot..id.slot + 1);
        Some(up)
    }

    /// A request was sent there.
    #[inline]
    pub fn started(&mut self, id: BackendId) {
        self.fleet.started(id);
        if self.tracks_requests {
            self.note_start(id);
        }
    }

    #[inline(never)]
    fn note_start(&mut self, id: BackendId) {
        if self.fleet.is_current(id) {
            self.total += 1;
            self.judge_room(id.slot);
        }
    }

    /// A request sent there is over: it took `latency`. What was cancelled says nothing of the server.
    #[inline]
    pub fn ended(&mut self, id: BackendId, outcome: Outcome, latency: Nanos, now: Nanos) -> Option<Event> {
        self.fleet.ended(id);
        if self.tracks_requests { self.note_end(id, outcome, latency, now) } else { None }
    }

    #[inline(never)]
    fn note_end(&mut self, id: BackendId, outcome: Outcome, latency: Nanos, now: Nanos) -> Option<Event> {
        if !self.fleet.is_current(id) {
            return None;
        }
        self.total -= u32::from(self.total > 0);
        if !self.full.is_empty() {
            self.judge_room(id.slot);
        }
        if outcome != Outcome::Cancelled {
            self.learn(id.slot, outcome == Outcome::Ok, latency, now);
        }
        let detector = self.detector.as_mut().filter(|_| outcome != Outcome::Cancelled)?;
        let finding = detector.ended(id.slot, outcome == Outcome::Ok, latency, now)?;
        self.update_health(id.slot..id.slot + 1);
        Some(self.event(finding))
    }

    /// What an answer says of how much may be in flight.
    fn learn(&mut self, slot: u32, good: bool, latency: Nanos, now: Nanos) {
        if let Some(admission) = &mut self.admission {
            admission.ended(good, now);
        }
        if let Some(limiter) = &mut self.limiter {
            limiter.ended(good, latency, self.total + 1, now);
        }
        let before = self.fleet.in_flight()[slot as usize] + 1;
        if let Some(Some(limiter)) = self.limiters.get_mut(slot as usize)
            && limiter.ended(good, latency, before, now)
        {
            self.relimit(slot);
        }
    }

    /// Whether a new request is let in: some are turned away while too many fail.
    #[inline]
    pub fn admits(&mut self, now: Nanos, policy_rng: &mut Rng) -> bool {
        self.admission.as_mut().is_none_or(|admission| admission.admits(now, policy_rng))
    }

    /// How many requests the pool may have in flight at present, where that is found out.
    pub fn pool_limit(&self) -> Option<u32> {
        self.limiter.as_ref().map(Limiter::limit)
    }

    /// Whether the pool has as much in flight as it may.
    #[inline]
    fn is_at_limit(&self) -> bool {
        self.limiter.as_ref().is_some_and(|limiter| self.total >= limiter.limit())
    }

    /// What time brings: ejections end, and at the end of an interval others begin.
    pub fn tick(&mut self, now: Nanos) -> Vec<Event> {
        let Some(detector) = &mut self.detector else { return Vec::new() };
        let findings = detector.tick(now);
        for finding in &findings {
            let (Finding::Ejected(slot, ..) | Finding::Returned(slot)) = *finding;
            if matches!(finding, Finding::Returned(_)) && self.healthy(slot) {
                self.warm_up(slot, now);
            }
            self.update_health(slot..slot + 1);
        }
        findings.into_iter().map(|finding| self.event(finding)).collect()
    }

    /// When [`ServerPool::tick`] next has something to do.
    pub fn next_tick(&self) -> Option<Nanos> {
        self.detector.as_ref().map(Detector::next_tick)
    }

    fn event(&self, finding: Finding) -> Event {
        match finding {
            Finding::Ejected(slot, reason, until) => Event::Ejected { backend: self.fleet.id(slot), reason, until },
            Finding::Returned(slot) => Event::Returned { backend: self.fleet.id(slot) },
        }
    }

    /// How a server stands.
    pub fn status(&self, slot: u32, now: Nanos) -> ServerStatus {
        let member = &self.members[slot as usize];
        let limit = member.limit.min(member.wanted);
        ServerStatus {
            up: member.health.is_up(),
            ejected_until: self.ejected_until(slot),
            ramp_factor: self.ramp_factor(slot, now),
            draining: member.draining,
            panic: self.panic,
            eligible: self.fleet.is_eligible(slot),
            limit: (limit != UNLIMITED).then_some(limit),
        }
    }

    /// Whether health is ignored at present.
    pub fn in_panic(&self) -> bool {
        self.panic
    }

    fn ejected_until(&self, slot: u32) -> Option<Nanos> {
        self.detector.as_ref().and_then(|detector| detector.ejected_until(slot))
    }

    fn up(&self, slot: u32) -> bool {
        self.members[slot as usize].health.is_up()
    }

    fn healthy(&self, slot: u32) -> bool {
        self.up(slot) && self.is_somewhere(slot) && self.ejected_until(slot).is_none()
    }

    fn is_somewhere(&self, slot: u32) -> bool {
        !self.members[slot as usize].nowhere
    }

    /// Whether it counts where shares of healthy servers are worked out.
    fn counts(&self, slot: u32) -> bool {
        let member = &self.members[slot as usize];
        !member.draining && !member.nowhere && self.fleet.weight(slot) > 0
    }

    /// Works out whether there is panic, and tells the fleet of the health of these slots; of all if panic begins or ends.
    fn update_health(&mut self, slots: std::ops::Range<u32>) {
        if self.rules.narrows() {
            return self.judge_parts();
        }
        let panic = self.rules.panic.is_some_and(|share| {
            let candidates = self.fleet.members().filter(|&slot| self.counts(slot));
            let (healthy, all) =
                candidates.fold((0, 0), |(healthy, all), slot| (healthy + u32::from(self.healthy(slot)), all + 1));
            f64::from(healthy) < share * f64::from(all)
        });
        let slots = if panic == self.panic { slots } else { 0..self.fleet.slots() as u32 };
        self.panic = panic;
        let verdicts: Vec<(BackendId, bool)> =
            slots.map(|slot| (self.fleet.id(slot), panic && self.is_somewhere(slot) || self.healthy(slot))).collect();
        self.fleet.set_healthy_all(verdicts);
    }

    // ---- Where a pick may go ----

    fn zone(&mut self, name: &str) -> u32 {
        let at = self.zones.iter().position(|zone| zone == name).unwrap_or_else(|| {
            self.zones.push(name.to_owned());
            self.zones.len() - 1
        });
        at as u32
    }

    fn part(&mut self, level: u32, zone: Option<u32>) -> u32 {
        let at = self.parts.iter().position(|&part| part == (level, zone)).unwrap_or_else(|| {
            self.parts.push((level, zone));
            self.fleet.add_partition(level, zone.is_none());
            self.parts.len() - 1
        });
        at as u32
    }

    /// Divides the servers into parts, and leaves out those that are for other balancers.
    fn assign_partitions(&mut self) {
        if !self.rules.narrows() {
            return;
        }
        let slots: Vec<u32> = self.fleet.members().collect();
        let shares = match self.rules.subset {
            None => vec![subset::WHOLE; slots.len()],
            Some(rules) => {
                let names: Vec<&str> = slots.iter().map(|&slot| self.fleet.name(slot)).collect();
                rules.shares(&names, self.shard_id.number, self.shard_id.of, self.shard_id.seed)
            }
        };
        let broken = shares.iter().any(|&share| share != 0 && share != subset::WHOLE);
        let mut dealt = Vec::with_capacity(slots.len());
        for (&slot, share) in slots.iter().zip(shares) {
            let Member { level, zone, .. } = self.members[slot as usize];
            let level = if self.rules.priorities.is_some() { level } else { 0 };
            let mut parts = Vec::new();
            if share > 0 {
                parts.push(self.part(level, None));
                if let Some(zone) = zone.filter(|_| self.rules.zones.is_some()) {
                    parts.push(self.part(level, Some(zone)));
                }
            }
            let weight = self.fleet.weight(slot);
            dealt.push((self.fleet.id(slot), parts, if broken { weight.saturating_mul(share) } else { weight }));
        }
        self.fleet.assign(dealt);
    }

    /// Works out panic by level, tells the fleet of everybody's health, and says which share of the picks goes where.
    fn judge_parts(&mut self) {
        let counts = |slot: u32| !self.fleet.is_unassigned(slot) && self.counts(slot);
        let by_level = self.rules.priorities.is_some();
        let level_of = |slot: u32| if by_level { self.members[slot as usize].level as usize } else { 0 };
        let mut levels: Vec<priority::Level> = Vec::new();
        for slot in self.fleet.members().filter(|&slot| counts(slot)) {
            let at = level_of(slot);
            if levels.len() <= at {
                levels.resize(at + 1, priority::Level::default());
            }
            levels[at].all += 1;
            levels[at].healthy += u32::from(self.healthy(slot));
        }
        let rules = self.rules.priorities.unwrap_or_default();
        // As long as all levels together can do everything, each is believed.
        let enough = by_level && rules.total(&levels) >= 1.0 - 1e-9;
        let panics = |level: &priority::Level| {
            self.rules.panic.is_some_and(|share| !enough && f64::from(level.healthy) < share * f64::from(level.all))
        };
        let panics: Vec<bool> = levels.iter().map(panics).collect();
        let panic_at = |slot: u32| panics.get(level_of(slot)).copied().unwrap_or(false);
        let verdicts: Vec<(BackendId, bool)> = (0..self.fleet.slots() as u32)
            .map(|slot| (self.fleet.id(slot), panic_at(slot) && self.is_somewhere(slot) || self.healthy(slot)))
            .collect();
        self.panic = panics.contains(&true);
        self.fleet.set_healthy_all(verdicts);
        let mut loads = Vec::new();
        rules.loads(&levels, &mut loads);
        if self.panic && loads.iter().all(|&load| load == 0.0) {
            // Nobody is healthy and that is not believed: everything goes to the first that panics.
            let first = panics.iter().position(|&panic| panic).unwrap_or(0);
            loads[first] = 1.0;
        }
        let mut shares = vec![0.0; self.parts.len()];
        let mut of_zones = Vec::new();
        for (level, load) in loads.into_iter().enumerate().filter(|(_, load)| *load > 0.0) {
            let calm = !panics[level];
            let (zones, parts) = self.zones_of(level as u32);
            let own = self.shard_id.zone.as_deref();
            let apart = self
                .rules
                .zones
                .as_ref()
                .filter(|_| calm && !zones.is_empty())
                .is_some_and(|rules| rules.shares(&zones, own, level == 0, self.overprovisioning(), &mut of_zones));
            if apart {
                parts.into_iter().zip(&of_zones).for_each(|(part, share)| shares[part] = load * share);
            } else if let Some(part) = self.parts.iter().position(|&part| part == (level as u32, None)) {
                shares[part] = load;
            }
        }
        self.fleet.set_shares(&shares);
    }

    fn overprovisioning(&self) -> f64 {
        self.rules.priorities.unwrap_or_default().overprovisioning
    }

    /// The zones of a level with what is healthy in them, and their parts.
    fn zones_of(&self, level: u32) -> (Vec<zone::Zone<'_>>, Vec<usize>) {
        let parts = self.parts.iter().enumerate().filter(|(_, part)| part.0 == level);
        let of_part = |(at, &(_, zone)): (usize, &(u32, Option<u32>))| {
            let fleet = &self.fleet.partitions()[at].fleet;
            let counts = |slot: &u32| {
                let member = &self.members[*slot as usize];
                !member.draining && !member.nowhere && fleet.weight(*slot) > 0
            };
            let all = fleet.members().filter(counts).count() as u32;
            let (healthy, weight) = (fleet.eligible().len() as u32, fleet.total_weight());
            Some((zone::Zone { name: &self.zones[zone? as usize], all, healthy, weight }, at))
        };
        parts.filter_map(of_part).unzip()
    }

    // ---- Slow start ----

    fn warm_up(&mut self, slot: u32, now: Nanos) {
        if let Some(rules) = &self.rules.slow_start {
            self.members[slot as usize].warming_since = Some(now);
            self.warm_from = self.warm_from.max(now.saturating_add(rules.window));
        }
    }

    fn ramp_factor(&self, slot: u32, now: Nanos) -> f64 {
        match (&self.rules.slow_start, self.members[slot as usize].warming_since) {
            (Some(rules), Some(since)) => rules.factor(now.saturating_sub(since)),
            _ => 1.0,
        }
    }

    // ---- Picks ----

    /// Lets the selector choose among the servers that are healthy, below their limit and not in `request.excluded`, with
    /// slow start applied. `rng` is the selector's own stream, `policy_rng` decides about warming servers. `called` is told of
    /// every call of the selector. The host then counts with [`ServerPool::started`].
    #[expect(clippy::too_many_arguments, reason = "a pick takes what a pick takes; a struct would be filled once")]
    #[inline]
    pub fn place(
        &mut self,
        selector: &mut dyn Selector,
        rng: &mut Rng,
        request: &Request<'_>,
        truth: Option<&dyn TrueState>,
        now: Nanos,
        policy_rng: &mut Rng,
        mut called: impl FnMut(SelectorCall<'_>),
    ) -> Option<Pick> {
        if self.is_at_limit() {
            return None;
        }
        if self.full.is_empty() && now >= self.warm_from {
            let pick = selector.pick(request, &mut Context { now, fleet: &self.fleet, rng, truth });
            called(SelectorCall::Pick(request.excluded, pick));
            return pick;
        }
        self.place_among(selector, rng, request, truth, now, policy_rng, &mut called)
    }

    /// Where somebody is full or warming up.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    #[inline(never)]
    fn place_among(
        &mut self,
        selector: &mut dyn Selector,
        rng: &mut Rng,
        request: &Request<'_>,
        truth: Option<&dyn TrueState>,
        now: Nanos,
        policy_rng: &mut Rng,
        called: &mut dyn FnMut(SelectorCall<'_>),
    ) -> Option<Pick> {
        if !self.has_room(request.excluded) {
            return None;
        }
        self.exclude(request.excluded);
        let mut excluded = std::mem::take(&mut self.excluded);
        let mut passed_over = None;
        let pick = loop {
            let request = Request { excluded: &excluded, ..*request };
            let pick = selector.pick(&request, &mut Context { now, fleet: &self.fleet, rng, truth });
            called(SelectorCall::Pick(&excluded, pick));
            let mut refuse = |choice: &Pick| {
                selector.on_refused(choice, &mut Context { now, fleet: &self.fleet, rng, truth });
                called(SelectorCall::Refused(choice));
            };
            // The first that was passed over is the strategy's own choice: if nobody else is left, it is that one.
            let Some(choice) = pick else { break passed_over };
            let ramp_factor = self.ramp_factor(choice.backend.slot, now);
            if ramp_factor >= 1.0 || policy_rng.unit() < ramp_factor {
                passed_over.iter().for_each(refuse);
                break pick;
            }
            match passed_over {
                None => passed_over = Some(choice),
                Some(_) => refuse(&choice),
            }
            insert_sorted(&mut excluded, choice.backend.slot);
        };
        self.excluded = excluded;
        pick
    }

    /// Lets a strategy that asks before it places a request say whom, among the servers that [`ServerPool::place`] would let it
    /// have. `called` is told of the slots that it might not ask, and its answer. `None` where the request is to be placed at
    /// once, or waits for room.
    pub fn inquire(
        &mut self,
        selector: &mut dyn Selector,
        rng: &mut Rng,
        request: &Request<'_>,
        now: Nanos,
        called: impl FnOnce(&[u32], Option<&ProbeRequest>),
    ) -> Option<ProbeRequest> {
        if !self.has_room(request.excluded) {
            return None;
        }
        let excluded = if self.full.is_empty() {
            request.excluded
        } else {
            self.exclude(request.excluded);
            &self.excluded
        };
        let request = Request { excluded, ..*request };
        let inquiry = selector.inquire(&request, &mut Context { now, fleet: &self.fleet, rng, truth: None });
        called(excluded, inquiry.as_ref());
        inquiry
    }

    /// Notes who may not be had: those at their limits, and these.
    fn exclude(&mut self, excluded: &[u32]) {
        self.excluded.clear();
        self.excluded.extend_from_slice(&self.full);
        excluded.iter().for_each(|&slot| insert_sorted(&mut self.excluded, slot));
    }

    /// Whether there is a server that may be picked and is not in `excluded`, at its limit or not.
    pub fn has_candidate(&self, excluded: &[u32]) -> bool {
        self.fleet.eligible().iter().any(|slot| !excluded.contains(slot))
    }

    /// Whether a server that may be picked, and is not in `excluded`, is below its limit.
    pub fn has_room(&self, excluded: &[u32]) -> bool {
        !self.is_at_limit()
            && self.fleet.eligible().iter().any(|&slot| !self.members[slot as usize].full && !excluded.contains(&slot))
    }

    /// Whether some server, or the pool, is at its limit.
    #[inline]
    pub fn is_crowded(&self) -> bool {
        !self.full.is_empty() || self.is_at_limit()
    }

    /// Whether a request that has used the servers in `excluded` finds no room now, but would with one more request ended:
    /// all that it could have are at their limits, and there are some.
    pub fn waiting_helps(&self, excluded: &[u32]) -> bool {
        let mut left = self.fleet.eligible().iter().filter(|slot| !excluded.contains(slot)).peekable();
        let full = |slot: u32| self.members.get(slot as usize).is_some_and(|member| member.full);
        left.peek().is_some() && (self.is_at_limit() || left.all(|&slot| full(slot)))
    }

    /// Whether a server is at its limit, or the pool is.
    pub fn is_full(&self, slot: u32) -> bool {
        self.members.get(slot as usize).is_some_and(|member| member.full) || self.is_at_limit()
    }

    /// The member that a cookie of this value names, healthy or not. `None` for a value that no member has.
    pub fn affinity_target(&self, value: &str) -> Option<BackendId> {
        self.values.find(value, &self.fleet)
    }

    /// Whether this server may serve a client with affinity to it: it is a member, healthy (draining or not) and below its
    /// limit. A client whose server is full goes elsewhere and gets a new cookie.
    pub fn keeps_affinity(&self, id: BackendId) -> bool {
        self.fleet.is_current(id) && sticky::keeps_affinity(&self.fleet, id.slot) && !self.is_full(id.slot)
    }

    /// The cookie's value for this server; `None` where clients are not tied.
    pub fn cookie_value(&self, slot: u32) -> Option<&str> {
        self.values.value(slot)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Change;
    use crate::policy::{outlier, slow_start};
    use crate::select::catalog;

    const fn secs(secs: u64) -> Nanos {
        Nanos::from_secs(secs)
    }

    fn health(initial_up: bool) -> health::Rules {
        health::Rules { interval: secs(2), timeout: secs(1), rise: 1, fall: 1, jitter: 0.0, initial_up }
    }

    fn outliers(most: f64) -> outlier::Rules {
        outlier::Rules {
            consecutive_failures: Some(1),
            success_rate: None,
            failure_percentage: None,
            latency: None,
            interval: secs(10),
            base_ejection_time: secs(30),
            max_ejection_time: secs(300),
            max_ejected: most,
            max_ejected_rule: outlier::Cap::OneAlways,
        }
    }

    fn server_pool(rules: Rules, limits: &[Option<u32>]) -> ServerPool {
        let names: Vec<String> = (0..limits.len()).map(|i| format!("s{i}")).collect();
        let mut server_pool = ServerPool::new(Arc::new(rules));
        server_pool.join_all(names.iter().zip(limits).map(|(name, &limit)| (name.as_str(), 1, limit)));
        server_pool
    }

    struct Host {
        server_pool: ServerPool,
        selector: Box<dyn Selector>,
        rng: Rng,
        policy_rng: Rng,
        calls: Vec<Vec<u32>>,
    }

    impl Host {
        fn new(strategy: &str, server_pool: ServerPool) -> Host {
            let mut rng = Rng::stream(1, "test", 0);
            let table = (catalog::find(strategy).unwrap().default)();
            let selector = table.build(&mut rng);
            Host::around(selector, rng, server_pool)
        }

        fn around(mut selector: Box<dyn Selector>, mut rng: Rng, mut server_pool: ServerPool) -> Host {
            let changes = server_pool.fleet.take_changes();
            let mut cx = Context { now: Nanos::ZERO, fleet: &server_pool.fleet, rng: &mut rng, truth: None };
            selector.on_fleet(&changes, &mut cx);
            Host { server_pool, selector, rng, policy_rng: Rng::stream(1, "luck", 0), calls: Vec::new() }
        }

        /// With a selector for each part.
        fn divided(strategy: &str, server_pool: ServerPool) -> Host {
            let table = (catalog::find(strategy).unwrap().default)();
            let mut rng = Rng::stream(1, "test", 0);
            let selector = crate::policy::partition::build(&table, server_pool.rules(), &mut rng);
            Host::around(selector, rng, server_pool)
        }

        fn pick(&mut self, excluded: &[u32], now: Nanos) -> Option<u32> {
            self.pick_for(&[7; 8], excluded, now)
        }

        fn pick_for(&mut self, key: &[u8], excluded: &[u32], now: Nanos) -> Option<u32> {
            let request = Request { client: [10, 0, 0, 1].into(), path: "/", key, excluded, answers: None };
            let calls = &mut self.calls;
            let (selector, rng, policy_rng) = (self.selector.as_mut(), &mut self.rng, &mut self.policy_rng);
            let pick = self.server_pool.place(selector, rng, &request, None, now, policy_rng, |asked| {
                if let SelectorCall::Pick(excluded, _) = asked {
                    calls.push(excluded.to_vec());
                }
            })?;
            Some(pick.backend.slot)
        }
    }

    #[test]
    fn other_rules_leave_what_is_known_of_the_servers() {
        let before = Rules { health: Some(health(true)), outliers: Some(outliers(1.0)), ..Rules::default() };
        let mut server_pool = server_pool(before, &[Some(1), None, None, None]);
        let ids: Vec<BackendId> = (0..4).map(|slot| server_pool.fleet.id(slot)).collect();
        server_pool.started(ids[0]);
        server_pool.set_draining(ids[1], true, secs(1));
        server_pool.checked(ids[2], false, secs(1));
        server_pool.started(ids[3]);
        assert!(server_pool.ended(ids[3], Outcome::Failed, secs(1), secs(2)).is_some(), "ejected");
        let other = Rules { health: Some(health(false)), slow_start: None, ..Rules::default() };
        server_pool.set_rules(Arc::new(other), secs(3));
        assert!(server_pool.is_full(0) && server_pool.fleet.in_flight() == [1, 0, 0, 0]);
        assert_eq!(server_pool.fleet.eligible(), [0, 3], "1 drains, 2 is down, and nobody ejects any more");
        server_pool.set_rules(Arc::new(Rules::default()), secs(4));
        assert_eq!(server_pool.fleet.eligible(), [0, 2, 3], "nobody checks any more");
        let sticky = sticky::Rules { cookie: "c".into(), max_age: None, secret: None };
        server_pool.set_rules(Arc::new(Rules { sticky: Some(sticky), ..Rules::default() }), secs(5));
        let value = server_pool.cookie_value(1).unwrap().to_owned();
        assert_eq!(server_pool.affinity_target(&value), Some(ids[1]), "a draining server keeps its sessions");
        assert!(server_pool.status(1, secs(5)).draining);
    }

    /// Watches servers of these (level, zone), divided as the rules say.
    fn divided(rules: Rules, shard_id: ShardId, servers: &[(u32, &'static str)]) -> ServerPool {
        let names: Vec<String> = (0..servers.len()).map(|i| format!("s{i}")).collect();
        let mut server_pool = ServerPool::new(Arc::new(rules)).for_shard(shard_id);
        server_pool.join_all(names.iter().zip(servers).map(|(name, &(priority, zone))| NewServer {
            priority,
            zone: Some(zone),
            ..NewServer::from((name.as_str(), 1, None))
        }));
        server_pool
    }

    fn shares(server_pool: &ServerPool) -> Vec<f64> {
        server_pool.fleet.partitions().iter().map(|part| (part.share * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn levels_spill_and_panic_as_envoys() {
        let rules = Rules {
            priorities: Some(priority::Rules::default()),
            health: Some(health(true)),
            panic: Some(0.5),
            ..Rules::default()
        };
        let servers: Vec<(u32, &str)> = (0..20).map(|i| (i / 10, "a")).collect();
        let mut server_pool = divided(rules, ShardId::default(), &servers);
        assert_eq!(shares(&server_pool), [1.0, 0.0]);
        let set = |server_pool: &mut ServerPool, low: u32, high: u32| {
            for slot in 0..20 {
                let up = if slot < 10 { slot < low } else { slot - 10 < high };
                let id = server_pool.fleet.id(slot);
                server_pool.checked(id, up, secs(1));
            }
        };
        // Half of level 0: 1.4 · 0.5 of the load stays; nobody panics as long as level 1 can do the rest.
        set(&mut server_pool, 5, 10);
        assert_eq!((shares(&server_pool), server_pool.in_panic()), (vec![0.7, 0.3], false));
        set(&mut server_pool, 1, 10);
        assert_eq!(
            (shares(&server_pool), server_pool.in_panic()),
            (vec![0.14, 0.86], false),
            "no panic, though only a tenth is well"
        );
        // 0.14 + 0.84 < 1: level 0 is below half and not believed, level 1 is.
        set(&mut server_pool, 1, 6);
        let low = 0.14 / 0.98;
        assert!((shares(&server_pool)[0] - low).abs() < 1e-5);
        assert!(server_pool.in_panic());
        assert_eq!(server_pool.fleet.eligible().len(), 10 + 6);
        // Nobody: everything to level 0, whatever its checks say.
        set(&mut server_pool, 0, 0);
        assert_eq!(shares(&server_pool), [1.0, 0.0]);
        assert_eq!(server_pool.fleet.eligible().len(), 20);
    }

    #[test]
    fn zones_and_levels_divide_together() {
        let zones = zone::Rules {
            prefer: zone::Prefer::Residual,
            min_servers: 6,
            traffic: vec![("a".into(), 0.5), ("b".into(), 0.5)],
        };
        let rules = Rules {
            priorities: Some(priority::Rules::default()),
            zones: Some(zones),
            health: Some(health(true)),
            ..Rules::default()
        };
        let shard_id = ShardId { zone: Some("a".to_owned()), ..ShardId::default() };
        let servers: Vec<(u32, &str)> =
            (0..12).map(|i| (u32::from(i >= 8), if i % 2 == 0 { "a" } else { "b" })).collect();
        let mut server_pool = divided(rules, shard_id, &servers);
        // Parts in the order of their first servers: level 0, its a, its b, level 1, its a, its b.
        assert_eq!(shares(&server_pool), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        // Of a's four two die: 2 of 6 healthy servers for half of the traffic: 2/3 stays. b has 2/3 and brings 1/2.
        // 6 of 8 healthy: the level is whole, 1.4 · 0.75 > 1.
        for slot in [0, 2] {
            let id = server_pool.fleet.id(slot);
            server_pool.checked(id, false, secs(1));
        }
        assert_eq!(shares(&server_pool), [0.0, 0.666667, 0.333333, 0.0, 0.0, 0.0]);
        // All of a dies: 4 of 8, so 30 % go to level 1, which knows no zones; b gets what stays.
        for slot in [4, 6] {
            let id = server_pool.fleet.id(slot);
            server_pool.checked(id, false, secs(2));
        }
        assert_eq!(shares(&server_pool), [0.0, 0.0, 0.7, 0.3, 0.0, 0.0]);
        let mut host = Host::divided("round_robin", server_pool);
        let mut picks = [0; 12];
        for _ in 0..10_000 {
            picks[host.pick(&[], secs(3)).unwrap() as usize] += 1;
        }
        // b's four share 7,000 evenly, level 1's four 3,000: four standard deviations of √(10⁴ · 0.21) are 183.
        let b: i32 = [1, 3, 5, 7].iter().map(|&slot| picks[slot]).sum();
        assert!((b - 7000).abs() < 183, "{picks:?}");
        assert!([1, 3, 5, 7].iter().all(|&slot| (picks[slot] - b / 4).abs() <= 1), "in turn within a part: {picks:?}");
        // Who has tried all of a part gets another one's; `None` only when nobody is left.
        assert!(host.pick(&[1, 3, 5, 7], secs(3)).unwrap() >= 8);
        assert_eq!(host.pick(&[1, 3, 5, 7, 8, 9, 10, 11], secs(3)), None);
    }

    #[test]
    fn a_subset_is_all_that_a_strategy_knows() {
        for kind in [subset::Kind::Random, subset::Kind::Deterministic, subset::Kind::Aperture] {
            for row in catalog::CATALOGUE.iter().filter(|row| !row.doc.oracle()) {
                let rules = Rules { subset: Some(subset::Rules { size: 3, kind }), ..Rules::default() };
                let shard_id = ShardId { number: 1, of: 4, ..ShardId::default() };
                let server_pool = divided(rules, shard_id, &[(0, "a"); 12]);
                let used = server_pool.fleet.eligible().to_vec();
                assert_eq!(used.len(), 3, "{}: a quarter of the ring is 3 of 12", row.name);
                let mut host = Host::divided(row.name, server_pool);
                for i in 0..100_u32 {
                    let slot = host.pick_for(&i.to_le_bytes(), &[], secs(1)).unwrap();
                    assert!(used.contains(&slot), "{}", row.name);
                }
                assert_eq!(host.pick(&used, secs(1)), None, "{}", row.name);
            }
        }
    }

    #[test]
    fn at_the_edges_of_an_aperture_a_server_gets_its_part() {
        // Four balancers, six servers, at least two of them: arcs of two quarters, three servers. Number 1 has
        // 1/4 … 3/4: half of server 1 on the ring, all of 2 and 3, half of 4.
        let rules = Rules { subset: Some(subset::Rules { size: 2, kind: subset::Kind::Aperture }), ..Rules::default() };
        let shard_id = ShardId { number: 1, of: 4, ..ShardId::default() };
        let mut host = Host::divided("weighted_random", divided(rules, shard_id, &[(0, "a"); 6]));
        let mut picks = [0_i32; 6];
        (0..30_000).for_each(|_| picks[host.pick(&[], secs(1)).unwrap() as usize] += 1);
        picks.sort_unstable();
        // 5,000 twice and 10,000 twice: four standard deviations are 258 and 327.
        for (picks, (expected, by)) in picks[2..].iter().zip([(5000, 258), (5000, 258), (10_000, 327), (10_000, 327)]) {
            assert!((picks - expected).abs() < by, "{picks}");
        }
    }

    #[test]
    fn a_pool_at_the_limit_it_has_found_takes_nothing_more() {
        let aimd = concurrency::Kind::Aimd(concurrency::Aimd { latency_threshold: None, backoff_ratio: 0.5 });
        let rules = |per| Rules {
            concurrency: Some(concurrency::Rules { kind: aimd, per, min_limit: 1, max_limit: 100 }),
            ..Rules::default()
        };
        let mut host = Host::new(
            "round_robin",
            server_pool(rules(concurrency::Per::Pool), &[None; 3]).for_shard(ShardId::default()),
        );
        assert_eq!(host.server_pool.pool_limit(), Some(20));
        let start = |host: &mut Host| {
            let slot = host.pick(&[], secs(1)).unwrap();
            host.server_pool.started(host.server_pool.fleet.id(slot));
        };
        (0..20).for_each(|_| start(&mut host));
        assert_eq!(host.pick(&[], secs(1)), None);
        assert!(
            host.server_pool.is_crowded() && !host.server_pool.has_room(&[]) && host.server_pool.waiting_helps(&[])
        );
        // A failure halves the limit: ten more must end before one may begin.
        let id = host.server_pool.fleet.id(0);
        host.server_pool.ended(id, Outcome::Failed, secs(1), secs(2));
        assert_eq!(host.server_pool.pool_limit(), Some(10));
        for _ in 0..9 {
            assert_eq!(host.pick(&[], secs(2)), None);
            let busiest = (0..3).max_by_key(|&slot| host.server_pool.fleet.in_flight()[slot as usize]).unwrap();
            host.server_pool.ended(host.server_pool.fleet.id(busiest), Outcome::Cancelled, secs(1), secs(2));
        }
        assert_eq!(host.pick(&[], secs(2)), None, "ten are in flight and ten may be");
        host.server_pool.ended(host.server_pool.fleet.id(1), Outcome::Cancelled, secs(1), secs(2));
        assert!(host.pick(&[], secs(2)).is_some());
        // Each server for itself: the one that fails gets less, the others go on.
        let mut host = Host::new(
            "round_robin",
            server_pool(rules(concurrency::Per::Server), &[None; 3]).for_shard(ShardId::default()),
        );
        let id = host.server_pool.fleet.id(0);
        for i in 1..=5 {
            host.server_pool.started(id);
            host.server_pool.ended(id, Outcome::Failed, Nanos(1), secs(i));
        }
        assert_eq!(host.server_pool.status(0, secs(1)).limit, Some(1), "20 · 2⁻⁵ is below one");
        assert_eq!(host.server_pool.status(1, secs(1)).limit, Some(20));
        (0..41).for_each(|_| start(&mut host));
        assert_eq!(host.server_pool.fleet.in_flight(), [1, 20, 20]);
        assert_eq!(host.pick(&[], secs(1)), None);
    }

    #[test]
    fn full_servers_are_left_out_until_one_request_ends() {
        let mut host = Host::new("round_robin", server_pool(Rules::default(), &[Some(1), Some(2), Some(1)]));
        for _ in 0..4 {
            let slot = host.pick(&[], secs(1)).unwrap();
            host.server_pool.started(host.server_pool.fleet.id(slot));
        }
        assert_eq!(host.server_pool.fleet.in_flight(), [1, 2, 1]);
        assert!(!host.server_pool.has_room(&[]));
        let calls = host.calls.len();
        assert_eq!(host.pick(&[], secs(1)), None);
        assert_eq!(host.calls.len(), calls, "a selector is not asked for what cannot be");
        let id = host.server_pool.fleet.id(1);
        host.server_pool.ended(id, Outcome::Ok, Nanos(1), secs(1));
        assert_eq!(host.pick(&[], secs(1)), Some(1));
        assert_eq!(host.calls.last().unwrap().len(), 2);
        assert_eq!(host.pick(&[1], secs(1)), None, "the only one with room was tried");
        host.server_pool.set_limit(id, Some(1));
        assert_eq!(host.pick(&[], secs(1)), None);
        host.server_pool.set_limit(id, None);
        assert_eq!(host.pick(&[], secs(1)), Some(1));
    }

    #[test]
    fn a_strategy_s_limit_counts_like_a_server_s_and_the_smaller_holds() {
        struct Wants(Option<u32>);
        impl Selector for Wants {
            fn pick(&mut self, _: &Request<'_>, _: &mut Context<'_>) -> Option<Pick> {
                None
            }
            fn has_limits(&self) -> bool {
                true
            }
            fn limit(&self, slot: u32, _: &Fleet) -> Option<u32> {
                self.0.map(|limit| limit + slot)
            }
        }
        let mut host = Host::new("round_robin", server_pool(Rules::default(), &[None, Some(1), None]));
        host.server_pool.apply_strategy_limits(&Wants(Some(1)), 0..3);
        let limits = |server_pool: &ServerPool| [0, 1, 2].map(|slot| server_pool.status(slot, secs(1)).limit);
        assert_eq!(limits(&host.server_pool), [Some(1), Some(1), Some(3)]);
        for _ in 0..5 {
            let slot = host.pick(&[], secs(1)).unwrap();
            host.server_pool.started(host.server_pool.fleet.id(slot));
        }
        assert_eq!((host.server_pool.fleet.in_flight(), host.server_pool.has_room(&[])), (&[1, 1, 3][..], false));
        assert!(host.server_pool.waiting_helps(&[]));
        host.server_pool.apply_strategy_limits(&Wants(Some(2)), 0..1);
        assert_eq!(host.pick(&[], secs(1)), Some(0), "it wants one more at server 0");
        host.server_pool.apply_strategy_limits(&Wants(Some(1)), 0..1);
        assert_eq!(host.pick(&[], secs(1)), None);
        host.server_pool.forget_limits();
        assert_eq!(limits(&host.server_pool), [None, Some(1), None]);
        assert!(host.server_pool.has_room(&[0]) && host.server_pool.is_full(1));
    }

    #[test]
    fn health_is_checks_and_ejections_and_panic_ignores_both() {
        let rules =
            Rules { health: Some(health(true)), outliers: Some(outliers(1.0)), panic: Some(0.5), ..Rules::default() };
        let mut server_pool = server_pool(rules, &[None; 4]);
        let id = |slot| BackendId { slot, generation: 0 };
        assert_eq!(server_pool.checked(id(0), false, secs(1)), Some(false));
        assert_eq!(server_pool.fleet.eligible(), [1, 2, 3]);
        server_pool.started(id(1));
        let event = server_pool.ended(id(1), Outcome::Failed, Nanos(1), secs(2));
        let reason = Reason::Consecutive;
        assert_eq!(event, Some(Event::Ejected { backend: id(1), reason, until: secs(32) }));
        assert_eq!(server_pool.fleet.eligible(), [2, 3], "a half is not below a half");
        server_pool.fleet.take_changes();
        server_pool.checked(id(2), false, secs(3));
        assert!(server_pool.in_panic());
        assert_eq!(server_pool.fleet.eligible(), [0, 1, 2, 3]);
        assert_eq!(server_pool.fleet.take_changes(), [Change::Up(id(0)), Change::Up(id(1))]);
        let status = server_pool.status(1, secs(3));
        assert_eq!((status.up, status.ejected_until, status.panic), (true, Some(secs(32)), true));
        // The drained do not count among those that could serve: one of three left is below a half still.
        server_pool.set_draining(id(0), true, secs(4));
        assert_eq!(server_pool.fleet.eligible(), [1, 2, 3]);
        // Without server 1's ejection two of three are healthy.
        assert_eq!(server_pool.next_tick(), Some(secs(10)));
        assert_eq!(server_pool.tick(secs(32)), [Event::Returned { backend: id(1) }]);
        assert!(!server_pool.in_panic());
        assert_eq!(server_pool.fleet.eligible(), [1, 3]);
    }

    #[test]
    fn cancelled_and_late_ends_say_nothing_of_a_server() {
        let mut server_pool = server_pool(Rules { outliers: Some(outliers(0.5)), ..Rules::default() }, &[None, None]);
        let old = server_pool.fleet.id(0);
        server_pool.started(old);
        assert_eq!(server_pool.ended(old, Outcome::Cancelled, Nanos(1), secs(1)), None);
        server_pool.started(old);
        server_pool.leave(old, secs(1));
        let new = server_pool.join(("new", 1, Some(1)), secs(1));
        assert_eq!(new.slot, 0);
        assert_eq!(server_pool.ended(old, Outcome::Failed, Nanos(1), secs(1)), None);
        assert_eq!(server_pool.fleet.eligible(), [0, 1]);
        server_pool.started(new);
        server_pool.ended(old, Outcome::Ok, Nanos(1), secs(1));
        assert!(server_pool.is_full(0), "the end of a former tenant's request makes no room");
    }

    #[test]
    fn servers_that_must_rise_first_do() {
        let mut server_pool = server_pool(Rules { health: Some(health(false)), ..Rules::default() }, &[None, None]);
        assert!(server_pool.fleet.eligible().is_empty());
        server_pool.checked(server_pool.fleet.id(1), true, secs(1));
        assert_eq!(server_pool.fleet.eligible(), [1]);
    }

    fn slow(window: u64) -> Rules {
        let slow_start = slow_start::Rules { window: secs(window), aggression: 1.0, min_share: 0.1 };
        Rules { slow_start: Some(slow_start), health: Some(health(true)), ..Rules::default() }
    }

    /// Of n servers that are picked alike one is warming with factor f. A pick lands on it with 1/n and is kept with f;
    /// else it goes to one of the others: the warming server gets f/n of all picks.
    #[test]
    fn a_warming_server_gets_its_factor_of_its_share_whatever_the_strategy() {
        for strategy in ["random", "round_robin", "consistent_hash", "ip_hash"] {
            let mut host = Host::new(strategy, server_pool(slow(20), &[None; 5]));
            let id = host.server_pool.fleet.id(2);
            let keys = |i: u64| i.to_le_bytes();
            let picks = |host: &mut Host, now| {
                (0..20_000).filter(|&i| host.pick_for(&keys(i % 1000), &[], now) == Some(2)).count() as f64
            };
            let warm = picks(&mut host, secs(1));
            host.server_pool.checked(id, false, secs(5));
            host.server_pool.checked(id, true, secs(10));
            assert_eq!(host.server_pool.status(2, secs(16)).ramp_factor, 0.3);
            let warming = picks(&mut host, secs(16));
            assert_eq!(host.server_pool.status(2, secs(30)).ramp_factor, 1.0);
            if warm == 0.0 || warm == 20_000.0 {
                continue; // ip_hash: one client has one server.
            }
            // Binomial with 0.3 of `warm` trials: four standard deviations of it and of `warm` itself.
            let bound = 4.0 * (2.0 * 0.3 * warm).sqrt();
            assert!((warming - 0.3 * warm).abs() < bound, "{strategy}: {warming} of {warm}");
        }
    }

    #[test]
    fn who_is_alone_serves_though_he_is_cold_and_nobody_starts_cold() {
        let mut host = Host::new("random", server_pool(slow(20), &[None; 2]));
        assert_eq!(host.server_pool.status(0, Nanos::ZERO).ramp_factor, 1.0, "those of the beginning are warm");
        let (a, b) = (host.server_pool.fleet.id(0), host.server_pool.fleet.id(1));
        host.server_pool.leave(a, secs(1));
        host.server_pool.leave(b, secs(1));
        let c = host.server_pool.join(("c", 1, None), secs(1));
        assert_eq!(host.server_pool.status(c.slot, secs(1)).ramp_factor, 0.1);
        for _ in 0..100 {
            assert_eq!(host.pick(&[], secs(1)), Some(c.slot));
        }
    }

    #[test]
    fn a_cookie_leads_back_while_the_server_may_serve() {
        let rules = sticky::Rules { cookie: "c".to_owned(), max_age: None, secret: None };
        let mut server_pool = server_pool(Rules { sticky: Some(rules), ..Rules::default() }, &[Some(1), None]);
        let value = server_pool.cookie_value(0).unwrap().to_owned();
        let id = server_pool.fleet.id(0);
        assert_eq!(server_pool.affinity_target(&value), Some(id));
        server_pool.set_draining(id, true, secs(1));
        assert_eq!((server_pool.affinity_target(&value), server_pool.keeps_affinity(id)), (Some(id), true));
        server_pool.started(id);
        assert_eq!((server_pool.affinity_target(&value), server_pool.keeps_affinity(id)), (Some(id), false), "full");
        server_pool.leave(id, secs(1));
        assert_eq!((server_pool.affinity_target(&value), server_pool.keeps_affinity(id)), (None, false));
    }
}
