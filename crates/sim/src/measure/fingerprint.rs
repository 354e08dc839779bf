//! Golden picks: what a strategy picked in the first run of a scenario, stored so that a change of behaviour is noticed and
//! located.
//!
//! A [`Fingerprint`] holds a hash over all picks, the first [`VERBATIM`] picks themselves, and a hash for each block of later
//! picks. Blocks grow with their distance from the start, so that a fingerprint has about 600 bytes however long the run is,
//! and a difference is located to within an eighth of its position. Everything before the first difference is the same on
//! both sides, including the fleet as the selector saw it: one view explains both picks.

use std::ops::Range;

use super::decision::Seen;
use crate::scenario::Scenario;
use crate::sim::model::Model;
use crate::sim::observer::{Decision, Observer};
use crate::sim::{Stopped, observe};
use evenkeel_core::rng::mix;
use evenkeel_core::units::Nanos;

/// Number of picks that are stored one by one.
pub const VERBATIM: usize = 128;
/// A block has as many picks as there are before it, divided by this.
const GROWTH: usize = 8;
/// Stands for "no server": the selector found none.
pub const NO_SERVER: u32 = u32::MAX;

/// The picks of one strategy in the first run of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Label of the strategy or variant.
    pub label: String,
    /// Number of decisions in the run.
    pub decisions: u64,
    /// Hash over all picks.
    pub hash: u64,
    /// The first [`VERBATIM`] picks: servers as numbered over all pools, [`NO_SERVER`] for none.
    pub first: Vec<u32>,
    /// A hash for each block of later picks, in order; the last block ends with the run. Two different blocks have the same
    /// hash in one case of 65,536; the hash over all picks notices the difference then.
    pub blocks: Vec<u16>,
}

impl Fingerprint {
    /// Summarises a run's picks; `hash` is the hash over all of them.
    pub fn of(label: &str, picks: &[u32], hash: u64) -> Fingerprint {
        let block = |range: Range<u64>| {
            let picks = &picks[range.start as usize..range.end as usize];
            picks.iter().fold(0, |hash, &pick| mix(hash ^ u64::from(pick))) as u16
        };
        Fingerprint {
            label: label.to_owned(),
            decisions: picks.len() as u64,
            hash,
            first: picks[..picks.len().min(VERBATIM)].to_vec(),
            blocks: blocks(picks.len() as u64).map(block).collect(),
        }
    }
}

/// The blocks of a run of so many decisions.
pub fn blocks(decisions: u64) -> impl Iterator<Item = Range<u64>> {
    let mut start = VERBATIM as u64;
    std::iter::from_fn(move || {
        let end = (start + start / GROWTH as u64).min(decisions);
        let block = (start < end).then_some(start..end);
        start = end;
        block
    })
}

/// Where two fingerprints differ first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// At this decision (from 0), with the golden pick.
    At(u64, u32),
    /// Somewhere in this block of decisions, of which only a hash is stored.
    Within(Range<u64>),
    /// Nowhere in the decisions that both made: one run made more of them.
    Length,
}

/// The picks of a run, as they are made.
#[derive(Default)]
struct Picks(Vec<u32>);

impl Observer for Picks {
    fn decided(&mut self, _job: u32, server: Option<u32>, _now: Nanos) {
        self.0.push(server.unwrap_or(NO_SERVER));
    }
}

/// Runs the first replication of a variant and takes its fingerprint.
pub fn take(scenario: &Scenario, variant: usize, interrupted: &dyn Fn() -> bool) -> Result<Fingerprint, Stopped> {
    let mut picks = Picks::default();
    let record = observe(&scenario.setup(variant, 0), interrupted, &mut picks)?;
    Ok(Fingerprint::of(&scenario.variants[variant].label, &picks.0, record.pick_hash))
}

/// The first difference between `now` and the golden picks; `None` if they are the same.
pub fn difference(golden: &Fingerprint, now: &Fingerprint) -> Option<Difference> {
    if (golden.hash, golden.decisions) == (now.hash, now.decisions) {
        return None;
    }
    let mut both = golden.first.iter().zip(&now.first).enumerate();
    if let Some((at, (old, _))) = both.find(|(_, (old, new))| old != new) {
        return Some(Difference::At(at as u64, *old));
    }
    let decisions = golden.decisions.min(now.decisions);
    let same_length = golden.decisions == now.decisions;
    // Where the runs differ in length, the block in which the shorter one ends says nothing.
    let whole = |end: u64| same_length || end < decisions;
    let mut hashes = blocks(decisions).zip(golden.blocks.iter().zip(&now.blocks));
    let differs = hashes.find(|(block, (old, new))| whole(block.end) && old != new);
    Some(match differs {
        Some((block, _)) => Difference::Within(block),
        None if same_length => Difference::Within(VERBATIM as u64..decisions),
        None => Difference::Length,
    })
}

/// Records what the selector sees at one decision.
struct DecisionProbe<'a> {
    model: &'a Model,
    wanted: u64,
    next: u64,
    seen: Option<Seen>,
    chosen: bool,
}

impl Observer for DecisionProbe<'_> {
    fn deciding(&mut self, decision: &Decision<'_>) {
        if self.next == self.wanted {
            self.seen = Some(Seen::of(self.model, self.wanted, decision));
        }
    }

    fn decided(&mut self, _job: u32, server: Option<u32>, _now: Nanos) {
        self.next += 1;
        if let Some(seen) = self.seen.as_mut().filter(|_| !self.chosen) {
            seen.chosen(server);
            self.chosen = true;
        }
    }
}

/// Repeats the first replication of a variant and returns what the selector saw at one decision; `None` if the run has
/// fewer decisions.
pub fn look(
    scenario: &Scenario,
    variant: usize,
    decision: u64,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<Seen>, Stopped> {
    let mut probe = DecisionProbe { model: &scenario.model, wanted: decision, next: 0, seen: None, chosen: false };
    observe(&scenario.setup(variant, 0), interrupted, &mut probe)?;
    Ok(probe.seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(picks: &[u32]) -> Fingerprint {
        Fingerprint::of("x", picks, picks.iter().fold(0, |hash, &pick| mix(hash ^ u64::from(pick))))
    }

    #[test]
    fn blocks_cover_the_rest_of_the_run() {
        for decisions in [0, 1, 128, 129, 144, 145, 20_000, 1_000_000] {
            let all: Vec<_> = blocks(decisions).collect();
            let mut next = VERBATIM as u64;
            for block in &all {
                assert!(block.start == next && block.end > block.start);
                assert!(block.end - block.start <= block.start / 8);
                next = block.end;
            }
            assert!(next == decisions || (all.is_empty() && decisions <= 128), "{decisions}: {all:?}");
            assert!(all.len() < 80, "{decisions}: {}", all.len());
        }
    }

    #[test]
    fn the_first_difference_is_found() {
        let picks: Vec<u32> = (0..20_000).map(|i| i % 7).collect();
        let golden = fingerprint(&picks);
        assert_eq!(difference(&golden, &golden), None);
        let changed = |at: usize| {
            let mut other = picks.clone();
            other[at] = 99;
            difference(&golden, &fingerprint(&other))
        };
        assert_eq!(changed(17), Some(Difference::At(17, 3)));
        for at in [128, 18_000, 19_999] {
            let Some(Difference::Within(block)) = changed(at) else { panic!("not found: {at}") };
            assert!(block.contains(&(at as u64)) && block.end - block.start <= at as u64 / 8, "{at}: {block:?}");
        }
        let shorter = |length: usize| difference(&golden, &fingerprint(&picks[..length]));
        assert_eq!(shorter(100), Some(Difference::Length));
        assert_eq!(shorter(19_990), Some(Difference::Length));
        // Shorter, and different before that.
        let mut other = picks[..19_000].to_vec();
        other[1000] = 99;
        let Some(Difference::Within(block)) = difference(&golden, &fingerprint(&other)) else { panic!("not found") };
        assert!(block.contains(&1000), "{block:?}");
    }
}
