//! Explanations of picks: what a strategy draws, looks up or compares for a request, before it chooses.
//!
//! [`super::Selector::explain`] gives one. It changes nothing, and with a clone of the selector's random stream it makes the
//! draws of the pick that follows. Slots are those of the fleet.

use super::{Context, Request, Sample, Selector};
use crate::fleet::Fleet;
use crate::units::Nanos;

/// Most points of a ring, and most entries of a table, in an explanation: enough for a picture. Larger ones are thinned out.
pub const MOST_SHOWN: usize = 4096;

/// Most turns of a rotation in an explanation.
const MOST_TURNS: usize = 64;

/// Stands for an entry of a table that belongs to no server.
pub const NO_SLOT: u32 = u32::MAX;

/// How a strategy comes to its choice for a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// What the choice is made from; `None` where it is made among all servers.
    pub placement: Option<Placement>,
    /// Slots that may be picked and that the rule passes over for this request.
    pub passed_over: Vec<u32>,
    /// What is compared for this request, by slot, lower is better. Empty where [`super::Selector::score`] is compared, or
    /// nothing.
    pub scores: Vec<(u32, f64)>,
    /// What the compared number is, a phrase with its unit; empty where nothing is compared.
    pub meaning: &'static str,
}

/// What a choice is made from.
#[derive(Clone, Debug, PartialEq)]
pub enum Placement {
    /// Slots drawn at random, or chosen by a hash, for this request. Of several the one with the lowest score is picked.
    Sample(Vec<u32>),
    /// A circle on which servers own points.
    Ring {
        /// The request's position, in [0, 1). The next point of a server that can be picked decides.
        at: f64,
        /// (position, slot), ascending.
        points: Vec<(f64, u32)>,
    },
    /// A table whose entries belong to servers.
    Table {
        /// Number of entries.
        size: u64,
        /// Index of the request's entry among those shown.
        at: usize,
        /// Slot of each entry, [`NO_SLOT`] for none; of a large table, [`MOST_SHOWN`] of them.
        entries: Vec<u32>,
    },
    /// A rotation: the slots in the order of their turns. The first that is not passed over is picked.
    Order(Vec<u32>),
}

impl Explanation {
    /// All candidates are compared.
    pub(super) fn compares(meaning: &'static str) -> Explanation {
        Explanation { meaning, ..Explanation::default() }
    }

    /// These are drawn, and compared.
    pub(super) fn sample(sample: &Sample, meaning: &'static str) -> Explanation {
        Explanation::drawn(sample.as_slice().to_vec(), meaning)
    }

    /// As [`Explanation::sample`]. Nothing is drawn where there is no candidate.
    pub(super) fn drawn(slots: Vec<u32>, meaning: &'static str) -> Explanation {
        let placement = (!slots.is_empty()).then_some(Placement::Sample(slots));
        Explanation { placement, meaning, ..Explanation::default() }
    }

    /// A single random draw decides.
    pub(super) fn draw(slot: Option<u32>) -> Explanation {
        Explanation::drawn(slot.into_iter().collect(), "")
    }

    /// A rotation with these turns.
    pub(super) fn order(turns: Vec<u32>) -> Explanation {
        Explanation { placement: Some(Placement::Order(turns)), ..Explanation::default() }
    }

    /// The entry number `at` of a table with `size` entries decides.
    pub(super) fn table(size: u64, at: u64, slot: impl Fn(u64) -> u32) -> Explanation {
        let most = MOST_SHOWN as u64;
        let shown = size.min(most);
        // Of several entries that share a place the request's own is shown, else the first.
        let place = |entry: u64| (u128::from(entry) * u128::from(shown) / u128::from(size.max(1))) as u64;
        let first = |shown_at: u64| (u128::from(shown_at) * u128::from(size)).div_ceil(u128::from(shown.max(1))) as u64;
        let mut entries: Vec<u32> = (0..shown).map(|shown_at| slot(first(shown_at))).collect();
        let at_shown = place(at) as usize;
        if let Some(entry) = entries.get_mut(at_shown) {
            *entry = slot(at);
        }
        Explanation { placement: Some(Placement::Table { size, at: at_shown, entries }), ..Explanation::default() }
    }

    /// The first point from `at` on decides, among those of slots that `able` allows. Positions are in [0, 1), ascending.
    pub(super) fn ring(at: f64, points: Vec<(f64, u32)>, able: impl Fn(u32) -> bool) -> Explanation {
        let start = points.partition_point(|point| point.0 < at);
        let next = (start..points.len()).chain(0..start).find(|&index| able(points[index].1));
        let step = points.len().div_ceil(MOST_SHOWN).max(1);
        // Thinning out may not remove the point that decides; those that it skips may stay away.
        let keep = |index: usize| index.is_multiple_of(step) || Some(index) == next;
        let shown = points.iter().enumerate().filter(|(index, _)| keep(*index)).map(|(_, point)| *point).collect();
        Explanation { placement: Some(Placement::Ring { at, points: shown }), ..Explanation::default() }
    }

    /// Adds the scores of a strategy that compares its [`Selector::score`], and leaves out those that are not finite.
    pub fn completed(mut self, selector: &dyn Selector, fleet: &Fleet, now: Nanos) -> Explanation {
        if self.scores.is_empty() {
            let score = |slot: u32| Some((slot, selector.score(slot, fleet, now)?));
            self.scores = fleet.members().filter_map(score).collect();
        }
        self.scores.retain(|(_, score)| score.is_finite());
        self
    }

    /// Adds what is compared.
    pub(super) fn scored(self, meaning: &'static str, scores: Vec<(u32, f64)>) -> Explanation {
        Explanation { meaning, scores, ..self }
    }
}

/// The next turns of a rotation, if nothing changes in between: picks of a copy of its selector.
pub(super) fn upcoming(mut copy: impl Selector, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
    let turns = (2 * cx.fleet.eligible().len()).min(MOST_TURNS);
    Explanation::order((0..turns).map_while(|_| copy.pick(request, cx)).map(|pick| pick.backend.slot).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_shows_the_entry_that_decides() {
        for (size, at) in [(1, 0), (7, 6), (4096, 4095), (65_537, 0), (65_537, 17), (65_537, 65_536)] {
            let explained = Explanation::table(size, at, |entry| if entry == at { 1 } else { 0 });
            let Some(Placement::Table { at: shown, entries, .. }) = explained.placement else { panic!("no table") };
            assert_eq!(entries[shown], 1, "{at} of {size}");
            assert!(entries.len() as u64 == size.min(4096) && entries.iter().sum::<u32>() == 1, "{at} of {size}");
        }
    }

    #[test]
    fn a_large_ring_keeps_the_point_that_decides() {
        let points: Vec<(f64, u32)> = (0..100_000).map(|i| (f64::from(i) / 100_000.0, i % 50)).collect();
        let able = |slot: u32| slot == 33;
        for at in [0.0, 0.123_456, 0.999_99] {
            let Some(Placement::Ring { points: shown, .. }) = Explanation::ring(at, points.clone(), able).placement
            else {
                panic!("no ring")
            };
            let next = |points: &[(f64, u32)]| {
                let from = points.iter().position(|point| point.0 >= at).unwrap_or(0);
                points[from..].iter().chain(&points[..from]).find(|point| able(point.1)).copied()
            };
            assert_eq!(next(&shown), next(&points), "{at}");
            assert!(shown.len() <= MOST_SHOWN + 1);
        }
    }
}
