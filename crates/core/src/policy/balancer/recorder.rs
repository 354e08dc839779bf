//! Writes down what a host did to a fleet and told its selector, so that a replay can do it again.

use crate::fleet::{BackendId, Fleet};
use crate::policy::pool::ServerPool;
use crate::policy::recording::HostEvent;
use crate::units::Nanos;

/// What was recorded and not yet drained, and what a replay knows of the fleet by now.
#[derive(Debug, Default)]
pub struct Recording {
    calls: Vec<HostEvent>,
    /// By slot: the tenant and the health last written down.
    healthy: Vec<Option<(u32, bool)>>,
    /// Parts of a divided fleet that are written down.
    parts: usize,
    /// By slot: the tenant, its parts and its weight there, as last written down.
    places: Vec<Option<Place>>,
    /// As last written down.
    shares: Vec<f64>,
}

/// A tenant, its parts and its weight there.
type Place = (u32, Vec<u32>, u32);

impl Recording {
    /// What was recorded since the last time, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, HostEvent> {
        self.calls.drain(..)
    }

    /// Whether something is to be drained.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(super) fn push(&mut self, call: HostEvent) {
        self.calls.push(call);
    }

    /// The servers' health and how the fleet is divided, as far as that is not what was written last.
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

    /// Whether a server's health is another than was written last. A server joins healthy.
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

    /// How the fleet stands, as the calls that make it stand so, with the same slots and generations.
    pub(super) fn fleet_as_it_stands(&mut self, pool: &ServerPool, now: Nanos) {
        let fleet = &pool.fleet;
        let occupied: Vec<u32> = fleet.members().collect();
        let slots = u32::try_from(fleet.slots()).unwrap_or(u32::MAX);
        for slot in 0..slots {
            // A server takes the lowest slot that is free, which is this one: all before are taken.
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
