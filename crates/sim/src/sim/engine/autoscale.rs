//! Autoscaling: a pool's servers are added and removed with its load. The servers of the scenario are the maximum; the
//! members are always a prefix of that list. A new server joins each fleet as one that a proxy discovers at run time does,
//! with an empty cache. A surplus server is drained and leaves when it has no requests.

use super::Engine;
use crate::sim::event::Event;
use crate::sim::model::Autoscale;
use crate::sim::observer::{Observer, RunEvent, ServerChange};
use crate::sim::server::Totals;
use evenkeel_core::policy::pool::NewServer;
use evenkeel_core::units::Nanos;

/// Relative deviation from the target that triggers no change: the tolerance of Kubernetes' horizontal pod autoscaler.
const TOLERANCE: f64 = 0.1;

/// The autoscaler of one pool.
pub(super) struct Scaler {
    pool: usize,
    rules: Autoscale,
    /// Servers that are members; the last `leaving` of them drain.
    members: u32,
    leaving: u32,
    /// Servers that are starting.
    coming: u32,
    changed: Nanos,
    /// Snapshot of each server's totals at the last check.
    totals: Vec<Totals>,
    paid_until: Nanos,
}

impl<O: Observer> Engine<'_, O> {
    /// Removes the servers that are not members at the start.
    pub(super) fn furnish_scalers(&mut self) {
        for (p, pool) in self.model.pools.iter().enumerate() {
            let Some(rules) = pool.autoscale else { continue };
            let most = pool.servers.len() as u32;
            for view in self.views.iter_mut().filter(|view| view.pool as usize == p) {
                for slot in (rules.initial_servers..most).rev() {
                    let id = view.balancer.pool().fleet.id(slot);
                    view.balancer.leave(id, Nanos::ZERO);
                }
            }
            self.queue.push(rules.interval, Event::Scale(self.scalers.len() as u32));
            self.scalers.push(Scaler {
                pool: p,
                rules,
                members: rules.initial_servers,
                leaving: 0,
                coming: 0,
                changed: Nanos::ZERO,
                totals: vec![Totals::default(); pool.servers.len()],
                paid_until: Nanos::ZERO,
            });
        }
    }

    /// Adds the cost of a pool's servers since the last change; starting servers cost as much as running ones.
    pub(super) fn pay(&mut self, scaler: usize) {
        let (pool, unpaid) = self.unpaid(scaler);
        self.scalers[scaler].paid_until = self.now;
        if unpaid > 0 {
            let span = self.span_of(self.now);
            self.measuring.spans[span].server_time[pool] += unpaid;
        }
    }

    /// The pool of an autoscaler, and the cost of its servers since the last change within the measured span.
    pub(super) fn unpaid(&self, scaler: usize) -> (usize, u128) {
        let s = &self.scalers[scaler];
        let from = s.paid_until.max(self.model.warmup);
        let span = if self.measuring.over { Nanos::ZERO } else { self.now.saturating_sub(from) };
        (s.pool, u128::from(s.members + s.coming) * u128::from(span.0))
    }

    /// Compares the load with the target and adds or drains servers.
    pub(super) fn scale(&mut self, scaler: u32) {
        let at = scaler as usize;
        self.pay(at);
        self.let_go(at);
        let now = self.now;
        let Scaler { pool, rules, members, leaving, coming, changed, .. } = self.scalers[at];
        self.queue.push(now.saturating_add(rules.interval), Event::Scale(scaler));
        let serving = members - leaving;
        let base = self.bases[pool];
        let mut busy = 0.0;
        for slot in 0..members {
            let totals = &mut self.scalers[at].totals[slot as usize];
            busy += self.servers[(base + slot) as usize].report(now, totals).utilisation;
        }
        let ratio = busy / f64::from(serving) / rules.target;
        if (ratio - 1.0).abs() <= TOLERANCE {
            return;
        }
        let most = self.model.pools[pool].servers.len() as u32;
        let wanted = (f64::from(serving) * ratio).ceil().clamp(f64::from(rules.min_servers), f64::from(most)) as u32;
        if wanted > serving + coming {
            let mut more = wanted - serving - coming;
            // Servers that drain are kept before new ones are started.
            while more > 0 && self.scalers[at].leaving > 0 {
                let s = &mut self.scalers[at];
                let slot = s.members - s.leaving;
                s.leaving -= 1;
                more -= 1;
                self.drain_member(pool, slot, false);
            }
            let more = more.min(most - self.scalers[at].members - coming);
            self.scalers[at].coming += more;
            if more > 0 {
                self.observer.event(&RunEvent::Booting { pool: pool as u32, servers: more }, now);
            }
            self.scalers[at].changed = now;
            (0..more).for_each(|_| self.queue.push(now.saturating_add(rules.delay), Event::Boots(scaler)));
        } else if wanted < serving && coming == 0 && now >= changed.saturating_add(rules.cooldown) {
            for slot in (wanted..serving).rev() {
                self.scalers[at].leaving += 1;
                self.drain_member(pool, slot, true);
            }
            self.scalers[at].changed = now;
            self.let_go(at);
        }
    }

    fn drain_member(&mut self, pool: usize, slot: u32, draining: bool) {
        self.server_changed(pool, slot, ServerChange::Draining(draining));
        for fleet in 0..self.views.len() as u32 {
            let view = &mut self.views[fleet as usize];
            if view.pool as usize == pool {
                let id = view.balancer.pool().fleet.id(slot);
                view.balancer.set_draining(id, draining, self.now);
                self.announce(fleet);
            }
        }
    }

    /// A starting server is ready.
    pub(super) fn boots(&mut self, scaler: u32) {
        self.pay(scaler as usize);
        let s = &mut self.scalers[scaler as usize];
        let (pool, slot) = (s.pool, s.members);
        s.coming -= 1;
        s.members += 1;
        let members = s.members;
        let now = self.now;
        self.count_servers(pool, members);
        let number = self.bases[pool] + slot;
        self.empty_cache(number);
        // Its totals from an earlier membership are not part of the present load.
        let totals = &mut self.scalers[scaler as usize].totals[slot as usize];
        self.servers[number as usize].report(now, totals);
        self.server_changed(pool, slot, ServerChange::Joined);
        let spec = &self.model.pools[pool].servers[slot as usize];
        for fleet in 0..self.views.len() as u32 {
            let view = &mut self.views[fleet as usize];
            if view.pool as usize == pool {
                let new_server = NewServer {
                    name: &spec.name,
                    weight: spec.weight,
                    limit: spec.max_in_flight,
                    priority: spec.priority,
                    zone: spec.zone.as_deref(),
                };
                let id = view.balancer.join(new_server, now);
                debug_assert_eq!(id.slot, slot, "members are the first so many");
                self.announce(fleet);
            }
        }
    }

    /// Removes drained servers that have no requests left, the last one first.
    fn let_go(&mut self, scaler: usize) {
        while self.scalers[scaler].leaving > 0 {
            let Scaler { pool, members, .. } = self.scalers[scaler];
            let slot = members - 1;
            let idle = |view: &super::View| {
                view.pool as usize != pool || view.balancer.pool().fleet.in_flight()[slot as usize] == 0
            };
            if !self.views.iter().all(idle) {
                return;
            }
            self.server_changed(pool, slot, ServerChange::Left);
            for fleet in 0..self.views.len() as u32 {
                let view = &mut self.views[fleet as usize];
                if view.pool as usize == pool {
                    let id = view.balancer.pool().fleet.id(slot);
                    view.balancer.leave(id, self.now);
                    self.announce(fleet);
                }
            }
            self.scalers[scaler].members -= 1;
            self.scalers[scaler].leaving -= 1;
            self.count_servers(pool, members - 1);
        }
    }

    /// Sets the number of servers in the time series from now on.
    fn count_servers(&mut self, pool: usize, servers: u32) {
        self.count_system(0);
        self.measuring.series.set_servers(pool, servers);
    }
}
