//! Picks among the servers that are healthy and have room, with slow start applied.

use super::{SelectorCall, ServerPool};
use crate::fleet::BackendId;
use crate::policy::sticky;
use crate::rng::{Rng, Source};
use crate::select::{Context, Pick, ProbeRequest, Request, Selector, TrueState, insert_sorted};
use crate::units::Nanos;

impl ServerPool {
    pub(super) fn warm_up(&mut self, slot: u32, now: Nanos) {
        if let Some(rules) = &self.rules.slow_start {
            self.members[slot as usize].warming_since = Some(now);
            self.warm_from = self.warm_from.max(now.saturating_add(rules.window));
        }
    }

    pub(super) fn ramp_factor(&self, slot: u32, now: Nanos) -> f64 {
        match (&self.rules.slow_start, self.members[slot as usize].warming_since) {
            (Some(rules), Some(since)) => rules.factor(now.saturating_sub(since)),
            _ => 1.0,
        }
    }

    /// Lets the selector choose among the servers that are healthy, below their limit and not in `request.excluded`, with
    /// slow start applied. `rng` is the selector's own stream, `policy_rng` decides about warming servers. `called` receives
    /// every call of the selector. The host then counts the request with [`ServerPool::started`].
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

    /// The path for pools with a full or warming server.
    #[expect(clippy::too_many_arguments, reason = "as above")]
    #[inline(never)]
    pub(super) fn place_among(
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
        if request.excluded.is_empty() && now >= self.warm_from {
            let request = Request { excluded: &self.full, ..*request };
            let pick = selector.pick(&request, &mut Context { now, fleet: &self.fleet, rng, truth });
            called(SelectorCall::Pick(&self.full, pick));
            return pick;
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
            // The first server that slow start skipped is the strategy's own choice; it is used if no other server is left.
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

    /// Lets a strategy that probes before a pick choose the servers to probe, among those that [`ServerPool::place`] would
    /// allow. `called` receives the excluded slots and the result. `None` where the request is to be placed without probes,
    /// or waits for a free slot.
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

    /// Sets the excluded slots: servers at their limits, and these.
    pub(super) fn exclude(&mut self, excluded: &[u32]) {
        self.excluded.clone_from(&self.full);
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

    /// Whether a request that has used the servers in `excluded` must wait for another request to end: all servers that it
    /// may use are at their limits, and there is at least one.
    pub fn waiting_helps(&self, excluded: &[u32]) -> bool {
        let mut left = self.fleet.eligible().iter().filter(|slot| !excluded.contains(slot)).peekable();
        let full = |slot: u32| self.members.get(slot as usize).is_some_and(|member| member.full);
        left.peek().is_some() && (self.is_at_limit() || left.all(|&slot| full(slot)))
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

    /// The cookie's value for this server; `None` without session affinity.
    pub fn cookie_value(&self, slot: u32) -> Option<&str> {
        self.values.value(slot)
    }
}
