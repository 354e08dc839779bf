//! How check results, requests and time change the state of the servers.

use super::{Event, ServerPool, ServerStatus};
use crate::fleet::BackendId;
use crate::policy::outlier::{Detector, Finding};
use crate::policy::panic;
use crate::rng::Rng;
use crate::select::Outcome;
use crate::units::Nanos;
use std::sync::Arc;

impl ServerPool {
    /// Records an active check's result; returns `Some(up)` when the state changes.
    pub fn checked(&mut self, id: BackendId, passed: bool, now: Nanos) -> Option<bool> {
        let rules = Arc::clone(&self.rules);
        let rules = rules.health.as_ref()?;
        if !self.fleet.is_current(id) {
            return None;
        }
        let up = self.members[id.slot as usize].health.observe(passed, rules)?;
        if up && self.healthy(id.slot) {
            self.warm_up(id.slot, now);
        }
        self.update_health(id.slot..id.slot + 1);
        Some(up)
    }

    /// Records that a request was sent to a server.
    #[inline]
    pub fn started(&mut self, id: BackendId) {
        self.fleet.started(id);
        if self.tracks_requests {
            self.note_start(id);
        }
    }

    #[inline(never)]
    pub(super) fn note_start(&mut self, id: BackendId) {
        if self.fleet.is_current(id) {
            self.total += 1;
            self.judge_room(id.slot);
        }
    }

    /// Records that a request ended after `latency`. A cancelled request says nothing about the server.
    #[inline]
    pub fn ended(&mut self, id: BackendId, outcome: Outcome, latency: Nanos, now: Nanos) -> Option<Event> {
        self.fleet.ended(id);
        if self.tracks_requests { self.note_end(id, outcome, latency, now) } else { None }
    }

    #[inline(never)]
    pub(super) fn note_end(&mut self, id: BackendId, outcome: Outcome, latency: Nanos, now: Nanos) -> Option<Event> {
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

    /// Passes a response to the concurrency limiters.
    pub(super) fn learn(&mut self, slot: u32, good: bool, latency: Nanos, now: Nanos) {
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

    /// Whether a new request is admitted: a share is rejected while too many fail.
    #[inline]
    pub fn admits(&mut self, now: Nanos, policy_rng: &mut Rng) -> bool {
        self.admission.as_mut().is_none_or(|admission| admission.admits(now, policy_rng))
    }

    /// Handles the timers that are due: ejections end, and at the end of an interval servers are ejected.
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

    /// When [`ServerPool::tick`] is next due; `None` when nothing is timed.
    pub fn next_tick(&self) -> Option<Nanos> {
        self.detector.as_ref().map(Detector::next_tick)
    }

    pub(super) fn event(&self, finding: Finding) -> Event {
        match finding {
            Finding::Ejected(slot, reason, until) => Event::Ejected { backend: self.fleet.id(slot), reason, until },
            Finding::Returned(slot) => Event::Returned { backend: self.fleet.id(slot) },
        }
    }

    /// Status of a server.
    pub fn status(&self, slot: u32, now: Nanos) -> ServerStatus {
        let member = &self.members[slot as usize];
        ServerStatus {
            up: member.health.is_up(),
            ejected_until: self.ejected_until(slot),
            ramp_factor: self.ramp_factor(slot, now),
            draining: member.draining,
            panic: self.panic,
            eligible: self.fleet.is_eligible(slot),
            limit: self.limit(slot),
        }
    }

    /// Whether health is ignored at present.
    pub fn in_panic(&self) -> bool {
        self.panic
    }

    pub(super) fn ejected_until(&self, slot: u32) -> Option<Nanos> {
        self.detector.as_ref().and_then(|detector| detector.ejected_until(slot))
    }

    pub(super) fn up(&self, slot: u32) -> bool {
        self.members[slot as usize].health.is_up()
    }

    pub(super) fn healthy(&self, slot: u32) -> bool {
        self.up(slot) && self.is_somewhere(slot) && self.ejected_until(slot).is_none()
    }

    pub(super) fn is_somewhere(&self, slot: u32) -> bool {
        !self.members[slot as usize].nowhere
    }

    /// Whether the server counts in shares of healthy servers.
    pub(super) fn counts(&self, slot: u32) -> bool {
        let member = &self.members[slot as usize];
        !member.draining && !member.nowhere && self.fleet.weight(slot) > 0
    }

    /// Updates panic and the fleet's health of these slots; of all slots if panic begins or ends.
    pub(super) fn update_health(&mut self, slots: std::ops::Range<u32>) {
        if self.rules.narrows() {
            return self.judge_parts();
        }
        let panic = self.rules.panic.is_some_and(|panic::Rules(share)| {
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
}
