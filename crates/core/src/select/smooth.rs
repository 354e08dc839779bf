//! Smooth weighted round robin, as nginx's `get_peer` without its failure penalty: interleaves the turns of a heavy server
//! with those of light ones.
//!
//! For each candidate: current += weight; the largest current wins (the first on ties) and is reduced by the total.
//!
//! As long as the servers and their weights stay the same, a server's current value after `t` picks is
//! `base + weight · t`, and only the winner's base changes. Of servers of equal weight the one with the largest base is ahead,
//! so a winner tree over the bases of each weight finds the next in O(weights + log n), exactly as the scan would. What a
//! request excludes keeps its current value: its base falls by its weight. The values themselves are computed when something
//! else needs them.

use super::{LINEAR_SCAN_MAX, Request, candidates};
use crate::fleet::{Change, Fleet};

/// Up to this many servers a scan is as fast.
const SCAN_MAX: usize = 64;

/// Picks in a row that the index could have served before it is built again.
const PATIENCE: u32 = 8;

/// See the module's documentation.
#[derive(Clone, Default)]
pub(super) struct Smooth {
    /// By slot; out of date for servers in the index.
    current: Vec<i64>,
    index: Option<Index>,
}

impl Smooth {
    /// With an index of many servers, for those whose every pick is among all candidates.
    pub(super) fn indexed() -> Smooth {
        Smooth { current: Vec::new(), index: Some(Index::default()) }
    }

    pub(super) fn on_fleet(&mut self, changes: &[Change], fleet: &Fleet) {
        self.leave_index();
        self.current.resize(fleet.slots(), 0);
        for change in changes {
            if let Change::Joined(id) | Change::Left(id) = change {
                self.current[id.slot as usize] = 0;
            }
        }
        if let Some(index) = &mut self.index {
            index.build(&self.current, fleet);
        }
    }

    /// How far a candidate is from its turn: the negative of its current value with its weight added.
    pub(super) fn score(&self, slot: u32, fleet: &Fleet) -> Option<f64> {
        let known = *self.current.get(slot as usize)?;
        let current = self.index.as_ref().and_then(|index| index.current(slot)).unwrap_or(known);
        Some(-((current + i64::from(fleet.weight(slot))) as f64))
    }

    pub(super) fn next(&mut self, request: &Request<'_>, fleet: &Fleet) -> Option<u32> {
        if let Some(index) = self.index.as_mut().filter(|index| index.matters(fleet)) {
            if index.serves(request, fleet) {
                return index.next(request.excluded);
            }
            let again = index.could_serve(request, fleet);
            self.leave_index();
            if let Some(index) = self.index.as_mut().filter(|_| again) {
                index.build(&self.current, fleet);
                if index.serves(request, fleet) {
                    return index.next(request.excluded);
                }
            }
        }
        self.next_among(request, fleet, |_| true)
    }

    /// The next of the candidates for which `in_turn` holds: how nginx and others break ties.
    pub(super) fn next_among(
        &mut self,
        request: &Request<'_>,
        fleet: &Fleet,
        in_turn: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let mut total = 0;
        let mut best: Option<u32> = None;
        for slot in candidates(request, fleet).filter(|&slot| in_turn(slot)) {
            let weight = i64::from(fleet.weight(slot));
            total += weight;
            let current = &mut self.current[slot as usize];
            *current += weight;
            let current = *current;
            if best.is_none_or(|b| current > self.current[b as usize]) {
                best = Some(slot);
            }
        }
        let best = best?;
        self.current[best as usize] -= total;
        Some(best)
    }

    /// Computes the current values of the servers in the index, which is then empty.
    fn leave_index(&mut self) {
        if let Some(index) = &mut self.index {
            for class in &index.classes {
                for at in class.members.clone() {
                    self.current[index.slots[at] as usize] = index.value(class, at);
                }
            }
            index.clear();
        }
    }
}

/// Stands for no server in a tree.
const NO_SERVER: i64 = i64::MIN;

/// The servers of one weight.
#[derive(Clone, Debug)]
struct Class {
    weight: i64,
    /// Their places in [`Index::slots`].
    members: std::ops::Range<usize>,
    /// Their tree in [`Index::nodes`] begins here: its root has the number 1.
    tree: usize,
    /// Number of its leaves, a power of two.
    leaves: usize,
}

/// The servers as of the last change of the fleet, by weight. Empty while it does not serve.
#[derive(Clone, Debug, Default)]
struct Index {
    /// By weight, ascending.
    classes: Vec<Class>,
    /// Slots by weight, then ascending.
    slots: Vec<u32>,
    /// By slot: class and place in `slots`; [`NO_PLACE`] for none.
    places: Vec<(u32, u32)>,
    /// The classes' winner trees over the bases: the largest wins.
    nodes: Vec<i64>,
    /// Picks since it was built.
    turns: i64,
    /// Picks after which the bases could overflow.
    most_turns: i64,
    /// Sum of the weights.
    total: i64,
    /// Picks in a row that it could have served.
    waited: u32,
    /// Whether these servers have too many different weights for it.
    useless: bool,
}

const NO_PLACE: (u32, u32) = (u32::MAX, u32::MAX);

impl Index {
    fn clear(&mut self) {
        self.classes.clear();
        self.slots.clear();
        self.places.clear();
    }

    /// Starts from these current values; stays empty where a scan is as good.
    fn build(&mut self, current: &[i64], fleet: &Fleet) {
        self.clear();
        self.useless = false;
        (self.turns, self.waited, self.total) = (0, 0, fleet.total_weight() as i64);
        // A base falls by at most the total in a pick, and starts at a few totals.
        self.most_turns = (1 << 60) / self.total.max(1);
        if fleet.eligible().len() <= SCAN_MAX {
            return;
        }
        self.slots.extend_from_slice(fleet.eligible());
        self.slots.sort_unstable_by_key(|&slot| (fleet.weight(slot), slot));
        let (mut start, mut nodes) = (0, 0);
        for class in self.slots.chunk_by(|&a, &b| fleet.weight(a) == fleet.weight(b)) {
            let (members, leaves) = (start..start + class.len(), class.len().next_power_of_two());
            self.classes.push(Class { weight: i64::from(fleet.weight(class[0])), members, tree: nodes, leaves });
            (start, nodes) = (start + class.len(), nodes + 2 * leaves);
        }
        // With about as many weights as servers it would be a scan.
        self.useless = self.classes.len() > self.slots.len() / 8;
        if self.useless {
            return self.clear();
        }
        self.places.resize(fleet.slots(), NO_PLACE);
        self.nodes.clear();
        self.nodes.resize(nodes, NO_SERVER);
        for (number, class) in self.classes.iter().enumerate() {
            let tree = &mut self.nodes[class.tree..class.tree + 2 * class.leaves];
            for (leaf, at) in class.members.clone().enumerate() {
                let slot = self.slots[at];
                tree[class.leaves + leaf] = current[slot as usize];
                self.places[slot as usize] = (number as u32, at as u32);
            }
            (1..class.leaves).rev().for_each(|node| tree[node] = tree[2 * node].max(tree[2 * node + 1]));
        }
    }

    /// Whether it holds servers, or could: not in front of a few.
    #[inline]
    fn matters(&self, fleet: &Fleet) -> bool {
        fleet.eligible().len() > SCAN_MAX || !self.slots.is_empty()
    }

    /// Whether it holds the servers and can leave out those that the request excludes.
    fn serves(&self, request: &Request<'_>, fleet: &Fleet) -> bool {
        !self.slots.is_empty()
            && request.excluded.len() <= LINEAR_SCAN_MAX
            && self.turns < self.most_turns
            && self.slots.len() == fleet.eligible().len()
            && self.total == fleet.total_weight() as i64
    }

    /// Whether it should be built for this request. Not after each pick that excludes many: building costs more than a scan.
    fn could_serve(&mut self, request: &Request<'_>, fleet: &Fleet) -> bool {
        let could = !self.useless && fleet.eligible().len() > SCAN_MAX;
        self.waited = if could && request.excluded.len() <= LINEAR_SCAN_MAX { self.waited + 1 } else { 0 };
        self.waited >= PATIENCE
    }

    fn leaf(&self, class: &Class, at: usize) -> usize {
        class.tree + class.leaves + at - class.members.start
    }

    /// The current value of a server at a place of a class.
    fn value(&self, class: &Class, at: usize) -> i64 {
        self.nodes[self.leaf(class, at)] + class.weight * self.turns
    }

    /// The current value of a slot's server; `None` where it is not in the index.
    fn current(&self, slot: u32) -> Option<i64> {
        let &(class, at) = self.places.get(slot as usize).filter(|&&place| place != NO_PLACE)?;
        Some(self.value(&self.classes[class as usize], at as usize))
    }

    fn set(&mut self, class: usize, at: usize, base: i64) {
        let class = &self.classes[class];
        let mut node = class.leaves + at - class.members.start;
        let tree = &mut self.nodes[class.tree..class.tree + 2 * class.leaves];
        let mut winner = base;
        tree[node] = winner;
        while node > 1 {
            winner = winner.max(tree[node ^ 1]);
            node /= 2;
            tree[node] = winner;
        }
    }

    /// The place of the first server of a class with the largest base.
    fn first(&self, class: &Class) -> usize {
        let tree = &self.nodes[class.tree..class.tree + 2 * class.leaves];
        let mut node = 1;
        while node < class.leaves {
            node = 2 * node + usize::from(tree[2 * node] != tree[node]);
        }
        class.members.start + node - class.leaves
    }

    fn next(&mut self, excluded: &[u32]) -> Option<u32> {
        let mut total = self.total;
        let mut left_out = [(NO_PLACE, 0); LINEAR_SCAN_MAX];
        let mut count = 0;
        for &slot in excluded {
            let place = self.places.get(slot as usize).copied().unwrap_or(NO_PLACE);
            if place == NO_PLACE || left_out[..count].iter().any(|&(other, _)| other == place) {
                continue;
            }
            let class = &self.classes[place.0 as usize];
            total -= class.weight;
            left_out[count] = (place, self.nodes[self.leaf(class, place.1 as usize)]);
            count += 1;
            self.set(place.0 as usize, place.1 as usize, NO_SERVER);
        }
        let best = self.best(self.turns + 1);
        if let Some((class, at)) = best {
            self.turns += 1;
            let base = self.nodes[self.leaf(&self.classes[class], at)];
            self.set(class, at, base - total);
        }
        for &((class, at), base) in &left_out[..count] {
            // Its current value stays the same, although a turn has passed.
            let weight = if best.is_some() { self.classes[class as usize].weight } else { 0 };
            self.set(class as usize, at as usize, base - weight);
        }
        best.map(|(_, at)| self.slots[at])
    }

    /// Class and place of the server with the largest current value in this turn, the first slot on ties.
    fn best(&self, turn: i64) -> Option<(usize, usize)> {
        let mut best: Option<(i64, usize)> = None;
        for (number, class) in self.classes.iter().enumerate() {
            let base = self.nodes[class.tree + 1];
            if base == NO_SERVER {
                continue;
            }
            let value = base + class.weight * turn;
            let wins = |(most, other): (i64, usize)| {
                let slot = |class: &Class| self.slots[self.first(class)];
                value > most || value == most && slot(class) < slot(&self.classes[other])
            };
            if best.is_none_or(wins) {
                best = Some((value, number));
            }
        }
        best.map(|(_, class)| (class, self.first(&self.classes[class])))
    }
}
