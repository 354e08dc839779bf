//! The servers as a selector sees them: slots with generations, weights, eligibility and in-flight counts.
//!
//! Only the host (simulator or proxy) writes here; a selector reads. A server keeps its slot, so a strategy keeps its
//! own state in vectors indexed by slot. A slot that is used again gets a new generation; a late completion for the
//! former server carries the old generation and is recognised.
//!
//! Counts and weights are separate vectors (structure of arrays): a full scan over 1,000 servers reads 4 KiB.

mod load_index;
#[cfg(test)]
mod tests;

use crate::rng::{Rng, Source};
pub(crate) use load_index::{Least, LoadIndex};

/// A server: its slot, and which of the successive servers of that slot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize))]
pub struct BackendId {
    /// Index into everything that is stored by slot.
    pub slot: u32,
    /// Number of servers that had this slot before, from 0.
    pub generation: u32,
}

/// A change of the fleet since a selector last looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Change {
    /// A new server; state that a strategy kept for this slot is void.
    Joined(BackendId),
    /// The server left; completions may still come in for it.
    Left(BackendId),
    /// It became eligible: healthy, not draining, weight above zero.
    Up(BackendId),
    /// It is no longer eligible but has not left.
    Down(BackendId),
    /// Its weight changed.
    Weight(BackendId),
}

#[derive(Clone, Debug, Default)]
struct Slot {
    name: String,
    generation: u32,
    occupied: bool,
    healthy: bool,
    draining: bool,
    /// This balancer does not use the server: it belongs to no part of a divided fleet.
    unassigned: bool,
    /// The host excludes it from picks, as it is at its limit.
    at_limit: bool,
}

/// Stands for no part.
const NO_PARTITION: u32 = u32::MAX;

/// Some servers of a divided fleet, in the same slots as in the whole. A pick is made in one part at a time, each
/// with its own selector ([`crate::policy::partition`]). A server may have another weight in a part.
#[derive(Clone, Debug)]
pub struct Partition {
    /// Its servers; no others are members.
    pub fleet: Fleet,
    /// Its priority level; 0 is used first.
    pub level: u32,
    /// Whether it is a whole priority level and not one zone of it.
    pub whole: bool,
    /// Share of the picks that start here, 0 to 1.
    pub share: f64,
}

/// The servers of one pool as one shard of a balancer counts them.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    slots: Vec<Slot>,
    weights: Vec<u32>,
    in_flight: Vec<u32>,
    /// Slots that may be picked, ascending.
    eligible: Vec<u32>,
    /// Running sums of the weights of `eligible`.
    cumulative: Vec<u64>,
    uniform: bool,
    /// Number of slots without a server.
    vacant: usize,
    changes: Vec<Change>,
    /// Empty where the fleet is not divided.
    partitions: Vec<Partition>,
    /// By slot: the parts it belongs to, where the fleet is divided; [`NO_PARTITION`] for none.
    places: Vec<[u32; 2]>,
    /// Number of servers at their limits.
    at_limit: usize,
    /// Whether a strategy uses `load_index`.
    wants_load_index: bool,
    /// The servers by requests in flight per weight, where a strategy wants it and there are many.
    load_index: Option<LoadIndex>,
    /// Whether a start or an end changes more than a count: there are parts, or an index.
    tracks_counts: bool,
}

/// Fleets with more eligible servers than this have a [`LoadIndex`], where a strategy wants one. In smaller ones a scan is as
/// fast.
pub(crate) const SCAN_MAX: usize = 256;

impl Fleet {
    /// A fleet without servers.
    pub fn new() -> Fleet {
        Fleet { uniform: true, ..Fleet::default() }
    }

    /// A healthy fleet of servers with these weights, named `s0`, `s1`, …; for tests and examples.
    pub fn of_weights(weights: &[u32]) -> Fleet {
        let mut fleet = Fleet::new();
        let names: Vec<String> = (0..weights.len()).map(|i| format!("s{i}")).collect();
        fleet.join_all(names.iter().map(String::as_str).zip(weights.iter().copied()));
        fleet
    }

    // ---- What a selector reads ----

    /// The slots that may be picked, ascending.
    #[inline]
    pub fn eligible(&self) -> &[u32] {
        &self.eligible
    }

    /// Whether this slot may be picked now.
    #[inline]
    pub fn is_eligible(&self, slot: u32) -> bool {
        let Some(state) = self.slots.get(slot as usize) else { return false };
        state.occupied && state.healthy && !state.draining && !state.unassigned && self.weights[slot as usize] > 0
    }

    /// Whether this slot has a server that the host counts as healthy, draining ones and those of weight zero included.
    #[inline]
    pub fn is_healthy(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(|state| state.occupied && state.healthy)
    }

    /// Whether this slot has a server, eligible or not.
    pub fn is_member(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(|state| state.occupied)
    }

    /// The slots that have a server, eligible or not, ascending.
    #[inline]
    pub fn members(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.slots.len() as u32).filter(|&slot| self.is_member(slot))
    }

    /// One more than the highest slot ever used: the length of a vector indexed by slot.
    #[inline]
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The present server of a slot. Panics if the slot was never used.
    #[inline]
    pub fn id(&self, slot: u32) -> BackendId {
        BackendId { slot, generation: self.slots[slot as usize].generation }
    }

    /// Whether this server still has its slot.
    #[inline]
    pub fn is_current(&self, id: BackendId) -> bool {
        self.slots.get(id.slot as usize).is_some_and(|s| s.occupied && s.generation == id.generation)
    }

    /// The server's name. Names are the same across restarts and balancers, so hash strategies place servers by them.
    #[inline]
    pub fn name(&self, slot: u32) -> &str {
        &self.slots[slot as usize].name
    }

    /// The configured weight; 0 means no new requests.
    #[inline]
    pub fn weight(&self, slot: u32) -> u32 {
        self.weights[slot as usize]
    }

    /// Requests sent and not finished, by slot.
    #[inline]
    pub fn in_flight(&self) -> &[u32] {
        &self.in_flight
    }

    /// Whether all eligible servers have the same weight.
    #[inline]
    pub fn uniform(&self) -> bool {
        self.uniform
    }

    /// Whether every slot is eligible: then `in_flight()` can be scanned as one contiguous slice.
    #[inline]
    pub fn all_eligible(&self) -> bool {
        self.eligible.len() == self.slots.len()
    }

    /// The sum of the weights of the eligible servers.
    #[inline]
    pub fn total_weight(&self) -> u64 {
        self.cumulative.last().copied().unwrap_or(0)
    }

    /// An eligible slot, drawn with probability in proportion to weight; `None` if there is none. O(1) for equal
    /// weights, else O(log n).
    #[inline]
    pub fn draw_weighted(&self, rng: &mut Rng) -> Option<u32> {
        if self.uniform {
            return self.draw_uniform(rng);
        }
        let total = self.total_weight();
        if total == 0 {
            return None;
        }
        let point = rng.below(total);
        Some(self.eligible[self.cumulative.partition_point(|&sum| sum <= point)])
    }

    /// An eligible slot, drawn with equal probability; `None` if there is none.
    #[inline]
    pub fn draw_uniform(&self, rng: &mut Rng) -> Option<u32> {
        match self.eligible.len() {
            0 => None,
            n => Some(self.eligible[rng.below(n as u64) as usize]),
        }
    }

    /// The parts of a divided fleet; empty where it is not divided.
    #[inline]
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The parts that this slot's server belongs to, at most two.
    #[inline]
    pub fn partitions_of(&self, slot: u32) -> impl Iterator<Item = usize> + use<> {
        let places = self.places.get(slot as usize).copied().unwrap_or([NO_PARTITION; 2]);
        places.into_iter().filter(|&part| part != NO_PARTITION).map(|part| part as usize)
    }

    /// Whether this balancer does not use the slot's server: it is in no part of a divided fleet.
    #[inline]
    pub fn is_unassigned(&self, slot: u32) -> bool {
        self.slots[slot as usize].unassigned
    }

    /// A part, drawn with probability equal to its share; the first if no share is above zero.
    #[inline]
    pub fn draw_partition(&self, rng: &mut Rng) -> usize {
        let mut used = self.partitions.iter().enumerate().filter(|(_, part)| part.share > 0.0);
        let first = used.next().map_or(0, |(at, _)| at);
        // With a single part nothing is drawn.
        if used.next().is_none() {
            return first;
        }
        let mut point = rng.unit();
        let mut last = first;
        for (at, part) in self.partitions.iter().enumerate().filter(|(_, part)| part.share > 0.0) {
            if point < part.share {
                return at;
            }
            point -= part.share;
            last = at;
        }
        last
    }

    /// Number of servers at their limits ([`Fleet::set_at_limit`]), eligible or not.
    #[inline]
    pub(crate) fn at_limit(&self) -> usize {
        self.at_limit
    }

    /// The eligible servers below their limits, by requests in flight per weight; `None` where a scan is as good.
    #[inline]
    pub(crate) fn load_index(&self) -> Option<&LoadIndex> {
        self.load_index.as_ref()
    }

    // ---- What only the host writes ----

    /// Whether to keep an index of the servers by requests in flight per weight. Strategies that use it
    /// ([`crate::select::catalog::StrategyConfig::uses_load_index`]) make the same picks without it, in time that grows with
    /// the number of servers. Default: no.
    pub fn keep_load_index(&mut self, keep: bool) {
        if self.wants_load_index != keep {
            self.wants_load_index = keep;
            self.partitions.iter_mut().for_each(|part| part.fleet.keep_load_index(keep));
            self.refresh();
        }
    }

    /// Says whether the server of a slot is at its limit. The host then has it in [`crate::select::Request::excluded`] of every pick: this
    /// mark only saves a strategy the search.
    pub(crate) fn set_at_limit(&mut self, slot: u32, at_limit: bool) {
        let id = self.id(slot);
        let state = &mut self.slots[slot as usize];
        if state.occupied && state.at_limit != at_limit {
            state.at_limit = at_limit;
            self.at_limit = if at_limit { self.at_limit + 1 } else { self.at_limit - 1 };
            let weight = self.weight_in_index(slot);
            if let Some(index) = &mut self.load_index {
                index.set_weight(slot, weight, &self.in_flight);
            }
            self.mirror(id, |fleet| fleet.set_at_limit(slot, at_limit));
        }
    }

    /// The weight of a server that may be picked and is below its limit; zero for others.
    fn weight_in_index(&self, slot: u32) -> u32 {
        let may = self.is_eligible(slot) && !self.slots[slot as usize].at_limit;
        if may { self.weights[slot as usize] } else { 0 }
    }

    /// Adds a part without servers; returns its number.
    pub fn add_partition(&mut self, level: u32, whole: bool) -> u32 {
        let fleet = Fleet { wants_load_index: self.wants_load_index, ..Fleet::new() };
        self.partitions.push(Partition { fleet, level, whole, share: 0.0 });
        self.tracks_counts = true;
        self.partitions.len() as u32 - 1
    }

    /// Ends the division: one selector picks among all servers again.
    pub fn unite(&mut self) {
        self.partitions.clear();
        self.places.clear();
        self.tracks_counts = self.load_index.is_some();
        for slot in self.members().collect::<Vec<_>>() {
            self.alter(self.id(slot), |slot| slot.unassigned = false);
        }
    }

    /// Puts servers into parts (at most two; none excludes a server from this balancer), in which they have this
    /// weight. A server that changes parts counts as one that has just joined.
    pub fn assign<P: AsRef<[u32]>>(&mut self, servers: impl IntoIterator<Item = (BackendId, P, u32)>) {
        let mut touched = vec![false; self.partitions.len()];
        let mut moved: Vec<(BackendId, bool)> = Vec::new();
        let mut weighed = Vec::new();
        self.places.resize(self.slots.len(), [NO_PARTITION; 2]);
        for (id, parts, weight) in servers {
            let parts = parts.as_ref();
            debug_assert!(parts.len() <= 2, "a level and a zone of it");
            if !self.is_current(id) {
                continue;
            }
            let slot = id.slot as usize;
            let was = self.is_eligible(id.slot);
            let mut places = [NO_PARTITION; 2];
            places.iter_mut().zip(parts).for_each(|(place, &part)| *place = part);
            let before = std::mem::replace(&mut self.places[slot], places);
            for part in before.into_iter().filter(|part| *part != NO_PARTITION && !parts.contains(part)) {
                self.partitions[part as usize].fleet.vacate(id);
                touched[part as usize] = true;
            }
            for &part in parts {
                let whole = &self.slots[slot];
                let fleet = &mut self.partitions[part as usize].fleet;
                if !fleet.is_current(id) {
                    fleet.settle_at(id, whole, self.in_flight[slot]);
                    touched[part as usize] = true;
                }
                if fleet.weights[slot] != weight {
                    fleet.weights[slot] = weight;
                    touched[part as usize] = true;
                    weighed.push(id);
                }
            }
            if before != places || self.slots[slot].unassigned != parts.is_empty() {
                self.slots[slot].unassigned = parts.is_empty();
                moved.push((id, was));
            }
        }
        for (part, _) in self.partitions.iter_mut().zip(touched).filter(|(_, touched)| *touched) {
            part.fleet.refresh();
        }
        if !moved.is_empty() {
            self.refresh();
        }
        for (id, was) in moved {
            self.changes.push(Change::Joined(id));
            self.note_eligibility(id, was);
        }
        self.changes.extend(weighed.into_iter().map(Change::Weight));
    }

    /// Sets the share of the picks that start in each part.
    pub fn set_shares(&mut self, shares: &[f64]) {
        self.partitions.iter_mut().zip(shares).for_each(|(part, &share)| part.share = share);
    }

    /// Applies a change of a server to its entries in the parts.
    #[inline]
    fn mirror(&mut self, id: BackendId, deed: impl Fn(&mut Fleet)) {
        for part in self.partitions_of(id.slot) {
            let fleet = &mut self.partitions[part].fleet;
            deed(fleet);
            fleet.changes.clear();
        }
    }

    /// Adds the server of this slot of the whole fleet, without a weight yet.
    fn settle_at(&mut self, id: BackendId, tenant: &Slot, in_flight: u32) {
        let slot = id.slot as usize;
        while self.slots.len() <= slot {
            self.slots.push(Slot::default());
            self.weights.push(0);
            self.in_flight.push(0);
            self.vacant += 1;
        }
        self.vacant -= usize::from(!self.slots[slot].occupied);
        self.at_limit += usize::from(tenant.at_limit);
        self.slots[slot] = Slot { unassigned: false, ..tenant.clone() };
        (self.weights[slot], self.in_flight[slot]) = (0, in_flight);
    }

    /// Frees the slot of a server; derived data is not refreshed yet.
    fn vacate(&mut self, id: BackendId) {
        if self.is_current(id) {
            let state = &mut self.slots[id.slot as usize];
            state.occupied = false;
            self.at_limit -= usize::from(std::mem::take(&mut state.at_limit));
            self.vacant += 1;
            self.in_flight[id.slot as usize] = 0;
        }
    }

    /// Adds a healthy server in the lowest free slot.
    pub fn join(&mut self, name: &str, weight: u32) -> BackendId {
        let id = self.settle_in(name, weight);
        self.refresh();
        id
    }

    /// Adds many servers at once.
    pub fn join_all<'a>(&mut self, backends: impl IntoIterator<Item = (&'a str, u32)>) {
        for (name, weight) in backends {
            self.settle_in(name, weight);
        }
        self.refresh();
    }

    fn settle_in(&mut self, name: &str, weight: u32) -> BackendId {
        let vacant = self.vacant > 0;
        let slot = match vacant.then(|| self.slots.iter().position(|s| !s.occupied)).flatten() {
            Some(free) => {
                self.vacant -= 1;
                let state = &mut self.slots[free];
                state.generation += 1;
                state.name = name.to_owned();
                (state.occupied, state.healthy, state.draining, state.unassigned) = (true, true, false, false);
                (self.weights[free], self.in_flight[free]) = (weight, 0);
                free
            }
            None => {
                let name = name.to_owned();
                self.slots.push(Slot { name, occupied: true, healthy: true, ..Slot::default() });
                self.weights.push(weight);
                self.in_flight.push(0);
                self.slots.len() - 1
            }
        };
        let id = self.id(slot as u32);
        self.changes.push(Change::Joined(id));
        id
    }

    /// Removes a server. Completions that still come in for it are ignored.
    pub fn leave(&mut self, id: BackendId) {
        if self.is_current(id) {
            self.mirror(id, |fleet| fleet.leave(id));
            if let Some(places) = self.places.get_mut(id.slot as usize) {
                *places = [NO_PARTITION; 2];
            }
            self.vacate(id);
            self.refresh();
            self.changes.push(Change::Left(id));
        }
    }

    /// Sets whether the server is healthy.
    pub fn set_healthy(&mut self, id: BackendId, healthy: bool) {
        self.mirror(id, |fleet| fleet.set_healthy(id, healthy));
        self.alter(id, |slot| slot.healthy = healthy);
    }

    /// Sets the health of many servers at once.
    pub fn set_healthy_all(&mut self, verdicts: impl IntoIterator<Item = (BackendId, bool)>) {
        let mut changed = Vec::new();
        for (id, healthy) in verdicts {
            if self.is_current(id) && self.slots[id.slot as usize].healthy != healthy {
                self.mirror(id, |fleet| fleet.set_healthy(id, healthy));
                let was = self.is_eligible(id.slot);
                self.slots[id.slot as usize].healthy = healthy;
                changed.push((id, was));
            }
        }
        if !changed.is_empty() {
            self.refresh();
            changed.into_iter().for_each(|(id, was)| self.note_eligibility(id, was));
        }
    }

    /// Sets whether the server is draining: it finishes what it has and gets no new requests.
    pub fn set_draining(&mut self, id: BackendId, draining: bool) {
        self.mirror(id, |fleet| fleet.set_draining(id, draining));
        self.alter(id, |slot| slot.draining = draining);
    }

    /// Sets the weight; zero means no new requests. For the weights in parts of a divided fleet see
    /// [`Fleet::assign`].
    pub fn set_weight(&mut self, id: BackendId, weight: u32) {
        if self.is_current(id) && self.weights[id.slot as usize] != weight {
            let was = self.is_eligible(id.slot);
            self.weights[id.slot as usize] = weight;
            self.refresh();
            self.changes.push(Change::Weight(id));
            self.note_eligibility(id, was);
        }
    }

    /// A request was sent to the server.
    #[inline]
    pub fn started(&mut self, id: BackendId) {
        if self.is_current(id) {
            self.in_flight[id.slot as usize] += 1;
            if self.tracks_counts {
                self.index_count(id.slot);
                self.mirror(id, |fleet| fleet.started(id));
            }
        }
    }

    /// A request at the server ended, however it ended. Ignored for a server that has left.
    #[inline]
    pub fn ended(&mut self, id: BackendId) {
        if self.is_current(id) {
            let count = &mut self.in_flight[id.slot as usize];
            debug_assert!(*count > 0, "more requests ended than started");
            *count = count.saturating_sub(1);
            if self.tracks_counts {
                self.index_count(id.slot);
                self.mirror(id, |fleet| fleet.ended(id));
            }
        }
    }

    /// Passes a changed count to the index.
    fn index_count(&mut self, slot: u32) {
        if let Some(index) = &mut self.load_index {
            index.update(slot, &self.in_flight);
        }
    }

    /// Whether anything changed since the last [`Fleet::take_changes`].
    #[inline]
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Takes the changes since the last call; the host passes them to [`crate::select::Selector::on_fleet`].
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    fn alter(&mut self, id: BackendId, alteration: impl FnOnce(&mut Slot)) {
        if self.is_current(id) {
            let was = self.is_eligible(id.slot);
            alteration(&mut self.slots[id.slot as usize]);
            self.refresh();
            self.note_eligibility(id, was);
        }
    }

    fn note_eligibility(&mut self, id: BackendId, was: bool) {
        match (was, self.is_eligible(id.slot)) {
            (false, true) => self.changes.push(Change::Up(id)),
            (true, false) => self.changes.push(Change::Down(id)),
            _ => {}
        }
    }

    /// Rebuilds derived data. Membership changes are rare compared with picks.
    fn refresh(&mut self) {
        let eligible = (0..self.slots.len() as u32).filter(|&slot| self.is_eligible(slot)).collect::<Vec<_>>();
        let mut sum = 0;
        self.cumulative.clear();
        self.cumulative.extend(eligible.iter().map(|&slot| {
            sum += u64::from(self.weights[slot as usize]);
            sum
        }));
        self.uniform = eligible.windows(2).all(|w| self.weights[w[0] as usize] == self.weights[w[1] as usize]);
        self.eligible = eligible;
        self.load_index = (self.wants_load_index && self.eligible.len() > SCAN_MAX).then(|| {
            let weights = (0..self.slots.len() as u32).map(|slot| self.weight_in_index(slot)).collect();
            LoadIndex::new(weights, &self.in_flight)
        });
        self.tracks_counts = self.load_index.is_some() || !self.partitions.is_empty();
    }
}
