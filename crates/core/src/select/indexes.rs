//! Tests: strategies that find their choice in an index make the picks, and the draws, of a plain scan.

use super::catalog::StrategyConfig;
use super::conformance::Driver;
use super::smooth::Smooth;
use super::strategies::{late_binding, least_request, rendezvous, weighted_round_robin};
use super::{Context, CustomStrategy, Finished, Outcome, Pick, Request, Selector, candidates, insert_sorted};
use crate::fleet::{Change, Fleet};
use crate::rng::{Rng, Source};
use crate::units::Nanos;

/// Two hosts of the same servers: one with indexes, one without.
struct Pair {
    with: Driver,
    without: Driver,
    in_flight: Vec<Pick>,
    /// Servers that both hosts exclude from picks because of a limit.
    full: Vec<u32>,
    joined: u32,
}

impl Pair {
    fn new(indexed: &StrategyConfig, plain: &StrategyConfig, weights: &[u32], seed: u64) -> Pair {
        let mut with = Driver::new(indexed, weights, seed);
        with.fleet.keep_load_index(true);
        let without = Driver::new(plain, weights, seed);
        Pair { with, without, in_flight: Vec::new(), full: Vec::new(), joined: 0 }
    }

    fn each(&mut self, change: impl Fn(&mut Fleet)) {
        for driver in [&mut self.with, &mut self.without] {
            change(&mut driver.fleet);
            driver.announce();
        }
    }

    /// Marks the server as its host would, which only the index sees.
    fn judge(&mut self, slot: u32, limit: u32) {
        let fleet = &mut self.with.fleet;
        let full = fleet.is_member(slot) && fleet.in_flight()[slot as usize] >= limit;
        fleet.set_at_limit(slot, full);
        match full {
            true => insert_sorted(&mut self.full, slot),
            false => self.full.retain(|&other| other != slot),
        }
    }

    fn change(&mut self, dice: &mut Rng, slot: u32) {
        let id = self.with.fleet.id(slot);
        match dice.below(6) {
            0 => self.each(|fleet| fleet.set_healthy(id, false)),
            1 => self.each(|fleet| fleet.set_healthy(id, true)),
            2 => {
                let draining = dice.below(2) == 0;
                self.each(|fleet| fleet.set_draining(id, draining));
            }
            3 => {
                let weight = dice.below(4) as u32;
                self.each(|fleet| fleet.set_weight(id, weight));
            }
            4 if self.with.fleet.eligible().len() > 200 => {
                self.each(|fleet| fleet.leave(id));
                self.full.retain(|&other| other != slot);
            }
            _ => {
                self.joined += 1;
                let (name, weight) = (format!("n{}", self.joined), 1 + dice.below(3) as u32);
                self.each(|fleet| _ = fleet.join(&name, weight));
            }
        }
    }

    /// A pick of both, which must be the same and leave the random streams in the same state.
    fn pick(&mut self, dice: &mut Rng) -> Option<Pick> {
        let slots = self.with.fleet.slots() as u64;
        let mut excluded = self.full.clone();
        let few = [0, 0, 0, 1, 2, 5, 17][dice.below(7) as usize];
        (0..few).for_each(|_| insert_sorted(&mut excluded, dice.below(slots) as u32));
        // Short lists need not be sorted, and may name a server twice.
        if excluded.len() < 8 && self.full.is_empty() {
            excluded.reverse();
            excluded.extend(excluded.first().copied());
        }
        let key = dice.bits().to_le_bytes();
        let request = Request { key: &key, excluded: &excluded, ..Request::default() };
        let (with, without) = (self.with.pick(&request), self.without.pick(&request));
        assert_eq!(with, without, "excluded: {excluded:?}");
        assert_eq!(self.with.rng, self.without.rng, "draws");
        with
    }

    fn end(&mut self, dice: &mut Rng) -> Option<u32> {
        if self.in_flight.is_empty() {
            return None;
        }
        let pick = self.in_flight.swap_remove(dice.below(self.in_flight.len() as u64) as usize);
        for driver in [&mut self.with, &mut self.without] {
            driver.finish(pick, Nanos(1), Outcome::Ok);
        }
        Some(pick.backend.slot)
    }
}

/// Random picks, ends and changes, in front of a few hundred servers, so that there are times with an index and times
/// without.
fn same_picks(indexed: &StrategyConfig, plain: &StrategyConfig, weights: u64, limit: Option<u32>) {
    for seed in 0..3 {
        let mut dice = Rng::stream(seed, "indexes", weights);
        let weights: Vec<u32> = (0..320).map(|_| 1 + dice.below(weights) as u32).collect();
        let mut pair = Pair::new(indexed, plain, &weights, seed);
        let mut picks = [0; 2];
        for step in 0..12_000 {
            // Long stretches without a change, and changes in a row.
            let changes = if step / 1000 % 4 == 3 { 10 } else { 0 };
            let crowded = pair.in_flight.len() > 150 + 300 * (step / 2000 % 2);
            let touched = match dice.below(60) {
                at if at < changes => {
                    let slot = dice.below(pair.with.fleet.slots() as u64) as u32;
                    pair.change(&mut dice, slot);
                    // A server that has just joined may have taken the slot.
                    (pair.with.fleet.slots() as u64 > 0).then_some(slot)
                }
                at if at < 25 || crowded => pair.end(&mut dice),
                _ => {
                    let pick = pair.pick(&mut dice);
                    picks[usize::from(pair.with.fleet.load_index().is_some())] += 1;
                    pair.in_flight.extend(pick);
                    pick.map(|pick| pick.backend.slot)
                }
            };
            if let (Some(limit), Some(slot)) = (limit, touched) {
                pair.judge(slot, limit);
            }
            if step % 64 == 0 {
                let (a, b) = (&pair.with, &pair.without);
                let score = |driver: &Driver, slot| driver.selector.score(slot, &driver.fleet, driver.now);
                let slots = 0..a.fleet.slots() as u32;
                assert!(slots.into_iter().all(|slot| score(a, slot) == score(b, slot)), "scores at step {step}");
            }
        }
        assert!(picks[0] > 200 && picks[1] > 3000, "without and with an index: {picks:?}");
    }
}

#[test]
fn least_request_finds_the_server_of_a_scan() {
    for ties in [least_request::Ties::Random, least_request::Ties::First] {
        let strategy = least_request::Params { ties }.into();
        for weights in [1, 2, 7] {
            same_picks(&strategy, &strategy, weights, None);
        }
        same_picks(&strategy, &strategy, 3, Some(2));
    }
}

#[test]
fn late_binding_finds_the_server_of_a_scan() {
    for slots in [1, 3] {
        let strategy = late_binding::Params { slots }.into();
        for weights in [1, 4] {
            same_picks(&strategy, &strategy, weights, Some(slots));
        }
    }
}

/// The plain rule of smooth weighted round robin.
#[derive(Default)]
struct PlainSmooth(Smooth);

impl Selector for PlainSmooth {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let slot = self.0.next_among(request, cx.fleet, |_| true)?;
        Some(Pick { backend: cx.fleet.id(slot), tag: 0 })
    }
    fn on_finish(&mut self, _: &Finished, _: &mut Context<'_>) {}
    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.0.on_fleet(changes, cx.fleet);
    }
    fn score(&self, slot: u32, fleet: &Fleet, _: Nanos) -> Option<f64> {
        self.0.score(slot, fleet)
    }
}

#[test]
fn smooth_weighted_round_robin_takes_the_turns_of_a_scan() {
    let plain = CustomStrategy::new("plain", |_| Box::new(PlainSmooth::default())).into();
    let indexed = weighted_round_robin::Params::default().into();
    for weights in [1, 2, 20, 1000] {
        same_picks(&indexed, &plain, weights, None);
    }
    // Long lists of excluded servers, between which the index serves.
    same_picks(&indexed, &plain, 3, Some(3));
}

/// The plain rule of rendezvous hashing.
struct PlainRendezvous(rendezvous::Scores);

impl Selector for PlainRendezvous {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let hash = super::hashing::On::Key.hash(request);
        let slot = self.0.first(hash, cx.fleet, candidates(request, cx.fleet))?;
        Some(Pick { backend: cx.fleet.id(slot), tag: 0 })
    }
    fn on_fleet(&mut self, _: &[Change], cx: &mut Context<'_>) {
        self.0.on_fleet(cx.fleet);
    }
}

#[test]
fn rendezvous_finds_the_server_of_a_scan() {
    let plain = CustomStrategy::new("plain", |_| Box::new(PlainRendezvous(rendezvous::Scores::default()))).into();
    let indexed = rendezvous::Params::default().into();
    for weights in [1, 5] {
        same_picks(&indexed, &plain, weights, None);
    }
}
