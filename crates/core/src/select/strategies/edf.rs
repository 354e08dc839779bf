//! Weighted round robin by earliest deadline first: a server is due again 1 / weight after its last turn, and the
//! server with the earliest deadline is next. Variant: Envoy's `EdfScheduler`, the weighted form of its round robin:
//! first in, first out on equal deadlines, and a new schedule whenever the set of eligible servers changes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::fleet::{Change, Fleet};
use crate::rng::{Rng, Source};
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::upcoming;
use crate::select::{Context, Explanation, Pick, Request, Selector};
use crate::units::Nanos;

/// Where in its cycle a new schedule starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Start {
    /// At the beginning: every server is first due after 1 / weight, so heavy servers come first.
    Beginning,
    /// After a random number of turns, fewer than there are servers: Envoy before its pull request 29953.
    Offset,
    /// At a random place of the cycle: Envoy since that pull request.
    Anywhere,
}

/// How the schedule starts.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Where in its cycle a new schedule starts. `offset` and `beginning` begin with the heavy servers: a fleet that
    /// changes more often than a cycle lasts never reaches the light ones.
    pub start: Start,
}

impl Default for Params {
    fn default() -> Params {
        Params { start: Start::Anywhere }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Weighted round robin by earliest deadline",
    family: Family::RoundRobin,
    aliases: &["earliest_deadline_first", "edf_wrr", "traefik_wrr", "envoy_round_robin"],
    near: &[],
    variant: "Envoy's weighted round robin (Traefik's `wrr` and grpc-go's are close): deadline += 1 / weight, first \
              in, first out on ties, and a new schedule whenever a server joins, leaves, changes health or weight. \
              For equal weights Envoy uses a plain rotation, which gives the same shares",
    idea: "Every server has a deadline for its next turn: light servers rarely, heavy servers often. The earliest \
           deadline is next. A pick costs log n instead of nginx's n. Servers of equal weight are due at the same \
           time, so weights 4, 1, 1, 1, 1 give a a a b c d e a where nginx gives a b a c d a e a.",
    formula: "pick argmin deadline (the longest waiting on ties); its deadline += 1 / weight; at the start deadline \
              = 1 / weight",
    source: "Envoy, source/common/upstream/edf_scheduler.h; its pull requests 3271 (offset) and 29953 (anywhere), issues 14597 and 31378",
    cost: "O(log n); after 16 excluded servers in a row O(n)",
    fails: "Shares are fixed, as in every weighted round robin: a server that slows down keeps receiving its own. \
            Every change of the fleet restarts the schedule.",
    scenario: "unlike-servers",
    fails_in: "slow-server",
    weighted: true,
};

impl catalog::Params for Params {
    fn build(&self, rng: &mut Rng) -> Box<dyn Selector> {
        // One seed per selector, as in Envoy: a rebuilt schedule for the same fleet is the same schedule.
        let picks = rng.below(u64::from(u32::MAX) / 10);
        Box::new(Edf { start: self.start, picks, next_order: 0, queue: BinaryHeap::new() })
    }
}

/// Deadline, sequence number, slot. Deadlines are positive, so their bits have the order of their values.
type Entry = Reverse<(u64, u64, u32)>;

#[derive(Clone)]
struct Edf {
    start: Start,
    /// The seed: number of turns already over when a schedule is built.
    picks: u64,
    next_order: u64,
    queue: BinaryHeap<Entry>,
}

/// The entry after its turn.
fn after(deadline: u64, weight: u32) -> u64 {
    (f64::from_bits(deadline) + 1.0 / f64::from(weight)).to_bits()
}

impl Edf {
    /// The slot that is next; its next deadline is set.
    fn turn(&mut self, fleet: &Fleet) -> Option<u32> {
        let mut top = self.queue.peek_mut()?;
        let Reverse((deadline, _, slot)) = *top;
        *top = Reverse((after(deadline, fleet.weight(slot)), self.next_order, slot));
        self.next_order += 1;
        Some(slot)
    }

    fn schedule(&mut self, fleet: &Fleet) {
        self.queue.clear();
        self.next_order = 0;
        let eligible = fleet.eligible();
        let total = fleet.total_weight();
        let mut done = 0;
        for &slot in eligible {
            let weight = fleet.weight(slot);
            let over = match self.start {
                Start::Anywhere => (u128::from(weight) * u128::from(self.picks) / u128::from(total.max(1))) as u64,
                Start::Beginning | Start::Offset => 0,
            };
            done += over;
            let deadline = ((over + 1) as f64 / f64::from(weight.max(1))).to_bits();
            self.queue.push(Reverse((deadline, self.next_order, slot)));
            self.next_order += 1;
        }
        let rest = match self.start {
            Start::Beginning => 0,
            Start::Offset => self.picks % eligible.len().max(1) as u64,
            // The remainder of rounding down: fewer than there are servers.
            Start::Anywhere => self.picks - done,
        };
        for _ in 0..rest.min(eligible.len() as u64) {
            self.turn(fleet);
        }
    }
}

impl Selector for Edf {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        // A server excluded from this request loses its turn, as in Envoy: one that was full for long does not get a burst
        // afterwards.
        const TURNS: usize = 16;
        for _ in 0..TURNS {
            let slot = self.turn(cx.fleet)?;
            if !request.excludes(slot) && cx.fleet.is_eligible(slot) {
                return cx.pick(slot);
            }
        }
        // The remaining candidates may be due much later: scan all.
        let left = |entry: &&Entry| cx.fleet.is_eligible(entry.0.2) && !request.excludes(entry.0.2);
        let Reverse((_, _, slot)) = *self.queue.iter().filter(left).max()?;
        cx.pick(slot)
    }

    /// Its next deadline, in turns of a server of weight one.
    fn score(&self, slot: u32, _fleet: &Fleet, _now: Nanos) -> Option<f64> {
        self.queue.iter().find(|entry| entry.0.2 == slot).map(|entry| f64::from_bits(entry.0.0))
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        if !changes.is_empty() {
            self.schedule(cx.fleet);
        }
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        upcoming(self.clone(), request, cx)
    }
}
