//! The expanded list of weighted round robin and modulo hashes, stored as running sums: a server has as many consecutive
//! places as its weight.

use crate::fleet::Fleet;

/// Slots in order, each with as many places as its weight. Products store the list itself; this stores sums.
#[derive(Clone, Default)]
pub(super) struct Runs {
    slots: Vec<u32>,
    /// Running sums of their weights.
    sums: Vec<u64>,
}

impl Runs {
    /// Builds the list of those `slots` that have a weight above zero.
    pub(super) fn lay(&mut self, slots: impl Iterator<Item = u32>, fleet: &Fleet) {
        self.slots.clear();
        self.slots.extend(slots.filter(|&slot| fleet.weight(slot) > 0));
        let mut sum = 0;
        self.sums.clear();
        self.sums.extend(self.slots.iter().map(|&slot| {
            sum += u64::from(fleet.weight(slot));
            sum
        }));
    }

    /// The sum of the weights.
    pub(super) fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// The slots in their order, each once.
    pub(super) fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// The index in [`Runs::slots`] of this place. `place` must be below the total.
    pub(super) fn index(&self, place: u64) -> usize {
        self.sums.partition_point(|&sum| sum <= place)
    }

    /// The slot that has this place. `place` must be below the total.
    pub(super) fn at(&self, place: u64) -> u32 {
        self.slots[self.index(place)]
    }
}
