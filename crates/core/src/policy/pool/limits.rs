//! Limits on requests in flight: configured, found by the concurrency rules, or set by the strategy.

use super::{Member, ServerPool, UNLIMITED, limit_of};
use crate::fleet::BackendId;
use crate::policy::concurrency::{self, Limiter};
use crate::rng::Rng;
use crate::select::{Selector, insert_sorted};
use crate::units::Nanos;

impl ServerPool {
    /// Rebuilds the concurrency limiters from the rules.
    pub(super) fn rebuild_limiters(&mut self, now: Nanos) {
        let per = self.rules.concurrency.map(|rules| rules.per);
        self.limiter = (per == Some(concurrency::Per::Pool)).then(|| self.new_limiter(u32::MAX, now)).flatten();
        self.limiters.clear();
        let slots: Vec<u32> = self.fleet.members().collect();
        for slot in slots {
            self.regulate_server(slot, now);
        }
        self.total = self.fleet.in_flight().iter().sum();
    }

    pub(super) fn regulate_server(&mut self, slot: u32, now: Nanos) {
        let per = self.rules.concurrency.map(|rules| rules.per);
        let limiter = (per == Some(concurrency::Per::Server)).then(|| self.new_limiter(slot, now)).flatten();
        if self.limiters.len() <= slot as usize && limiter.is_some() {
            self.limiters.resize(slot as usize + 1, None);
        }
        if let Some(place) = self.limiters.get_mut(slot as usize) {
            *place = limiter;
        }
        self.relimit(slot);
    }

    pub(super) fn new_limiter(&self, slot: u32, now: Nanos) -> Option<Limiter> {
        let number = u64::from(self.shard_id.number) << 32 | u64::from(slot);
        let rules = self.rules.concurrency?;
        Some(Limiter::new(rules, Rng::stream(self.shard_id.seed, "concurrency", number), now))
    }

    /// Updates a server's limit and whether the server is at it.
    pub(super) fn relimit(&mut self, slot: u32) {
        let found = self.limiters.get(slot as usize).and_then(Option::as_ref).map_or(UNLIMITED, Limiter::limit);
        let member = &mut self.members[slot as usize];
        member.limit = member.configured.min(found.max(1));
        self.judge_room(slot);
    }

    /// Changes a server's configured limit on requests in flight; `None` for unlimited.
    pub fn set_limit(&mut self, id: BackendId, limit: Option<u32>) {
        if self.fleet.is_current(id) {
            self.tracks_requests |= limit.is_some();
            self.members[id.slot as usize].configured = limit_of(limit);
            self.relimit(id.slot);
        }
    }

    /// Asks a strategy that has limits for its limit at these servers. See [`Selector::limit`] for when.
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

    /// Removes the limits of a former strategy.
    pub fn forget_limits(&mut self) {
        for slot in 0..self.members.len() as u32 {
            self.members[slot as usize].wanted = UNLIMITED;
            self.judge_room(slot);
        }
    }

    pub(super) fn judge_room(&mut self, slot: u32) {
        let Member { limit, wanted, .. } = self.members[slot as usize];
        self.set_full(slot, self.fleet.in_flight()[slot as usize] >= limit.min(wanted));
    }

    pub(super) fn set_full(&mut self, slot: u32, full: bool) {
        if std::mem::replace(&mut self.members[slot as usize].full, full) != full {
            if full {
                insert_sorted(&mut self.full, slot);
            } else if let Ok(at) = self.full.binary_search(&slot) {
                self.full.remove(at);
            }
            self.fleet.set_at_limit(slot, full);
        }
    }

    /// Limit on requests in flight of a server at present: its own, one that the concurrency rules found, or the strategy's;
    /// `None` for no limit.
    #[inline]
    pub fn limit(&self, slot: u32) -> Option<u32> {
        let member = &self.members[slot as usize];
        Some(member.limit.min(member.wanted)).filter(|&limit| limit != UNLIMITED)
    }

    /// Limit on requests in flight of the whole pool at present; `None` without a limiter.
    pub fn pool_limit(&self) -> Option<u32> {
        self.limiter.as_ref().map(Limiter::limit)
    }

    /// Whether the pool is at its limit.
    #[inline]
    pub(super) fn is_at_limit(&self) -> bool {
        self.limiter.as_ref().is_some_and(|limiter| self.total >= limiter.limit())
    }

    /// Whether a server is at its limit, or the pool is.
    pub fn is_full(&self, slot: u32) -> bool {
        self.members.get(slot as usize).is_some_and(|member| member.full) || self.is_at_limit()
    }

    /// Whether some server, or the pool, is at its limit.
    #[inline]
    pub fn is_crowded(&self) -> bool {
        !self.full.is_empty() || self.is_at_limit()
    }
}
