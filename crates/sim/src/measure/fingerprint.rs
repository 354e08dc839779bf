//! Fingerprints: golden picks of a strategy in a scenario, stored so that a change of behaviour is seen at once and explained
//! by the first decision that differs.
//!
//! Stored are a hash over all picks, the first [`KEPT`] picks themselves, and a hash for each further block of [`BLOCK`].
//! Whatever came before the first difference was the same on both sides, so the fleet that the selector saw there was the
//! same for both, too: one view explains both picks.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::scenario::Scenario;
use crate::sim::model::Model;
use crate::sim::observer::{Decision, Observer};
use crate::sim::{Stopped, observe};
use evenkeel_core::rng::mix;
use evenkeel_core::select::Selector;
use evenkeel_core::units::Nanos;

/// Number of picks that are stored one by one.
pub const KEPT: usize = 16_384;
/// Number of picks in a block that is stored as a hash.
pub const BLOCK: usize = 1024;
/// A pick of nobody: the selector found no server.
pub const NOBODY: u32 = u32::MAX;

/// The picks of one strategy in the scenario's first replication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The label of the variant.
    pub label: String,
    /// Decisions in all.
    pub decisions: u64,
    /// Hash over all of them.
    pub hash: u64,
    /// The first picks: servers as numbered over all pools, [`NOBODY`] for none.
    pub first: Vec<u32>,
    /// Hashes of the blocks behind them.
    pub blocks: Vec<u32>,
}

/// Where two fingerprints part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// At this decision (from 0), with the golden pick.
    At(u64, u32),
    /// Somewhere in this block of decisions, of which only a hash is stored.
    Within(Range<u64>),
    /// Nowhere in what both made: one made more decisions.
    Length,
}

/// The picks of a run, as they are made.
#[derive(Default)]
struct Picks(Vec<u32>);

impl Observer for Picks {
    fn decided(&mut self, _job: u32, server: Option<u32>, _now: Nanos) {
        self.0.push(server.unwrap_or(NOBODY));
    }
}

/// Runs the first replication of a variant and takes its fingerprint.
pub fn take(scenario: &Scenario, contestant: usize, interrupted: &dyn Fn() -> bool) -> Result<Fingerprint, Stopped> {
    let mut picks = Picks::default();
    let record = observe(&scenario.setup(contestant, 0), interrupted, &mut picks)?;
    let (first, rest) = picks.0.split_at(picks.0.len().min(KEPT));
    Ok(Fingerprint {
        label: scenario.contestants[contestant].label.clone(),
        decisions: picks.0.len() as u64,
        hash: record.pick_hash,
        first: first.to_vec(),
        blocks: rest
            .chunks(BLOCK)
            .map(|block| block.iter().fold(0, |hash, &pick| mix(hash ^ u64::from(pick))) as u32)
            .collect(),
    })
}

/// The first difference between `now` and the golden picks; `None` if they are the same.
pub fn difference(pinned: &Fingerprint, now: &Fingerprint) -> Option<Difference> {
    if (pinned.hash, pinned.decisions) == (now.hash, now.decisions) {
        return None;
    }
    let both = pinned.first.iter().zip(&now.first);
    if let Some((at, (old, _))) = both.enumerate().find(|(_, (old, new))| old != new) {
        return Some(Difference::At(at as u64, *old));
    }
    // A last block that is longer on one side says nothing.
    let whole = (pinned.decisions.min(now.decisions) as usize).saturating_sub(KEPT) / BLOCK;
    let blocks = if pinned.decisions == now.decisions { pinned.blocks.len() } else { whole };
    let block = pinned.blocks.iter().zip(&now.blocks).take(blocks).position(|(old, new)| old != new);
    Some(match block {
        Some(block) => {
            let from = (KEPT + block * BLOCK) as u64;
            Difference::Within(from..(from + BLOCK as u64).min(pinned.decisions.min(now.decisions)))
        }
        None => Difference::Length,
    })
}

/// A decision under the glass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Seen {
    /// Its number, from 0.
    pub decision: u64,
    /// When, seconds of the run.
    pub time_s: f64,
    /// Number of the request.
    pub request: u64,
    /// Who asked.
    pub client: String,
    /// For what.
    pub path: String,
    /// By what key, 16 hexadecimal digits.
    pub key: String,
    /// The selector's number among all.
    pub selector: u32,
    /// The pool.
    pub pool: String,
    /// Every backend as the selector's host counted it.
    pub backends: Vec<SeenBackend>,
    /// The pick; `None` for nobody.
    pub pick: Option<String>,
}

/// A backend as a selector saw it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeenBackend {
    /// Its name.
    pub server: String,
    /// Its number over all pools.
    #[serde(skip)]
    pub number: u32,
    /// Its weight.
    pub weight: u32,
    /// Whether it could be chosen.
    pub eligible: bool,
    /// Requests under way to it, as this selector's host counts them.
    pub in_flight: u32,
    /// What the strategy thought of it, less is better, where it has a number for that.
    pub score: Option<f64>,
}

/// Waits for one decision and writes down what was seen.
struct Glass<'a> {
    model: &'a Model,
    wanted: u64,
    next: u64,
    seen: Option<Seen>,
    chosen: bool,
}

impl Observer for Glass<'_> {
    fn deciding(&mut self, decision: &Decision<'_>) {
        if self.next == self.wanted {
            self.seen = Some(see(self.model, self.wanted, decision));
        }
    }

    fn decided(&mut self, _job: u32, server: Option<u32>, _now: Nanos) {
        self.next += 1;
        if let Some(seen) = self.seen.as_mut().filter(|_| !self.chosen) {
            let name = |number| seen.backends.iter().find(|backend| backend.number == number).map(|b| b.server.clone());
            seen.pick = server.and_then(name);
            self.chosen = true;
        }
    }
}

fn see(model: &Model, number: u64, decision: &Decision<'_>) -> Seen {
    let selector: &dyn Selector = decision.selector;
    let fleet = decision.fleet;
    let backend = |slot: u32| SeenBackend {
        server: fleet.name(slot).to_owned(),
        number: decision.base + slot,
        weight: fleet.weight(slot),
        eligible: fleet.is_eligible(slot),
        in_flight: fleet.in_flight()[slot as usize],
        score: selector.score(slot, fleet, decision.now).filter(|score| score.is_finite()),
    };
    Seen {
        decision: number,
        time_s: decision.now.as_secs_f64(),
        request: decision.id,
        client: decision.request.client.to_string(),
        path: decision.request.path.to_owned(),
        key: decision.request.key.iter().rev().map(|byte| format!("{byte:02x}")).collect(),
        selector: decision.dispatcher,
        pool: model.pools[decision.pool as usize].name.clone(),
        backends: fleet.members().map(backend).collect(),
        pick: None,
    }
}

/// Runs the first replication of a variant again and looks at one decision.
pub fn look(
    scenario: &Scenario,
    contestant: usize,
    decision: u64,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<Seen>, Stopped> {
    let mut glass = Glass { model: &scenario.model, wanted: decision, next: 0, seen: None, chosen: false };
    observe(&scenario.setup(contestant, 0), interrupted, &mut glass)?;
    Ok(glass.seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(picks: &[u32]) -> Fingerprint {
        let (first, rest) = picks.split_at(picks.len().min(KEPT));
        let hash = |picks: &[u32]| picks.iter().fold(0, |hash, &pick| mix(hash ^ u64::from(pick)));
        Fingerprint {
            label: "x".to_owned(),
            decisions: picks.len() as u64,
            hash: hash(picks),
            first: first.to_vec(),
            blocks: rest.chunks(BLOCK).map(|block| hash(block) as u32).collect(),
        }
    }

    #[test]
    fn the_first_difference_is_found() {
        let picks: Vec<u32> = (0..20_000).map(|i| i % 7).collect();
        let pinned = fingerprint(&picks);
        assert_eq!(difference(&pinned, &pinned), None);
        let changed = |at: usize| {
            let mut other = picks.clone();
            other[at] = 99;
            fingerprint(&other)
        };
        assert_eq!(difference(&pinned, &changed(17)), Some(Difference::At(17, 3)));
        assert_eq!(difference(&pinned, &changed(18_000)), Some(Difference::Within(17_408..18_432)));
        assert_eq!(difference(&pinned, &changed(19_900)), Some(Difference::Within(19_456..20_000)));
        assert_eq!(difference(&pinned, &fingerprint(&picks[..100])), Some(Difference::Length));
        assert_eq!(difference(&pinned, &fingerprint(&picks[..19_990])), Some(Difference::Length));
    }
}
