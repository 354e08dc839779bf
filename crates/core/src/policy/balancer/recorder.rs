//! Records the changes that a host makes to a fleet and its calls to a selector, for a replay.

use crate::fleet::{BackendId, Fleet};
use crate::policy::pool::ServerPool;
use crate::policy::recording::HostEvent;
use crate::units::Nanos;

/// Recorded events not yet drained, and the state of the fleet that they lead to.
#[derive(Debug, Default)]
pub struct Recording {
    calls: Vec<HostEvent>,
    /// By slot: generation and health as last recorded.
    healthy: Vec<Option<(u32, bool)>>,
    /// Number of partitions recorded so far.
    parts: usize,
    /// By slot: generation, partitions and weight there, as last recorded.
    places: Vec<Option<Place>>,
    /// Shares of the partitions, as last recorded.
    shares: Vec<f64>,
}

/// Generation of a slot, its partitions and its weight there.
type Place = (u32, Vec<u32>, u32);

impl Recording {
    /// Events recorded since the last drain, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, HostEvent> {
        self.calls.drain(..)
    }

    /// Whether there are events to drain.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn push(&mut self, call: HostEvent) {
        self.calls.push(call);
    }

    /// Records changes of the servers' health and of the partitions since the last call.
    pub(super) fn health(&mut self, pool: &ServerPool) {
        if pool.rules().narrows() {
            self.divided(&pool.fleet);
        }
        for slot in pool.fleet.members() {
            let healthy = pool.fleet.is_healthy(slot);
            if self.health_changed(pool.fleet.id(slot), healthy) {
                self.push(HostEvent::Healthy { slot, healthy });
            }
        }
    }

    /// Whether a server's health differs from the recorded one. A server joins healthy.
    fn health_changed(&mut self, id: BackendId, healthy: bool) -> bool {
        let slot = id.slot as usize;
        if self.healthy.len() <= slot {
            self.healthy.resize(slot + 1, None);
        }
        let before = self.healthy[slot].filter(|(generation, _)| *generation == id.generation);
        self.healthy[slot] = Some((id.generation, healthy));
        before.is_none_or(|(_, healthy)| healthy) != healthy
    }

    fn divided(&mut self, fleet: &Fleet) {
        for part in &fleet.partitions()[self.parts.min(fleet.partitions().len())..] {
            self.calls.push(HostEvent::Part { level: part.level, whole: part.whole });
        }
        self.parts = fleet.partitions().len();
        self.places.resize(fleet.slots(), None);
        for slot in fleet.members() {
            let parts: Vec<u32> = fleet.partitions_of(slot).map(|part| part as u32).collect();
            let weight = parts.first().map_or(0, |&part| fleet.partitions()[part as usize].fleet.weight(slot));
            let place = Some((fleet.id(slot).generation, parts.clone(), weight));
            if self.places[slot as usize] != place {
                self.places[slot as usize] = place;
                self.calls.push(HostEvent::Assign { slot, parts, weight });
            }
        }
        let shares: Vec<f64> = fleet.partitions().iter().map(|part| part.share).collect();
        if self.shares != shares {
            self.calls.push(HostEvent::Shares { shares: shares.clone() });
            self.shares = shares;
        }
    }

    /// Records the present fleet as the events that build it, with the same slots and generations.
    pub(super) fn fleet_as_it_stands(&mut self, pool: &ServerPool, now: Nanos) {
        let fleet = &pool.fleet;
        let occupied: Vec<u32> = fleet.members().collect();
        let slots = u32::try_from(fleet.slots()).unwrap_or(u32::MAX);
        for slot in 0..slots {
            // A server takes the lowest free slot, which is this one: all before it are taken.
            for _ in 0..fleet.id(slot).generation {
                self.push(HostEvent::Join { name: String::new(), weight: 0 });
                self.push(HostEvent::Leave { slot });
            }
            self.push(HostEvent::Join { name: fleet.name(slot).to_owned(), weight: fleet.weight(slot) });
        }
        for slot in (0..slots).filter(|slot| !occupied.contains(slot)) {
            self.push(HostEvent::Leave { slot });
        }
        for &slot in &occupied {
            if pool.status(slot, now).draining {
                self.push(HostEvent::Draining { slot, draining: true });
            }
            for _ in 0..fleet.in_flight()[slot as usize] {
                self.push(HostEvent::Started { slot });
            }
        }
        self.health(pool);
    }
}
