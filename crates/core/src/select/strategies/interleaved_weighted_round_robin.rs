//! Interleaved weighted round robin: rounds over the servers with a falling threshold; servers whose weight reaches
//! the threshold are taken. Variant: IPVS `wrr`, whose threshold falls by the greatest common divisor of the weights,
//! from the largest weight down.

use crate::fleet::Change;
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::upcoming;
use crate::select::{Context, Explanation, Pick, Request, Selector, candidates};

/// No parameters.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {}

pub(super) const DOC: Doc = Doc {
    title: "Weighted round robin (interleaved)",
    family: Family::RoundRobin,
    aliases: &["iwrr", "ipvs_wrr", "lvs_wrr"],
    near: &[],
    variant: "IPVS `wrr`: weights 4, 3, 2 give a a b a b c a b c. Rounds without an eligible server are skipped at \
              once, and an ineligible server does not count (IPVS learns that from a weight of zero)",
    idea: "The first round takes only the heaviest server, each later round also those one step lighter, the last \
           round all. Simple, exact and cheap. The heaviest servers are alone in the first rounds, so their turns \
           come in a burst.",
    formula: "level k from max/gcd down to 1 and round again; in each round, in order, every i with weight_i / gcd >= k",
    source: "Linux, net/netfilter/ipvs/ip_vs_wrr.c; Katevenis, Sidiropoulos, Courcoubetis, IEEE JSAC 9(8), 1991",
    cost: "O(n)",
    fails: "Weights 5, 1, 1 give five requests in a row to one server: with weights that differ much it is no \
            smoother than a list with each server repeated by its weight. A retry that excludes the heaviest server \
            lowers the threshold for all later requests, and the heaviest loses the turns of that cycle. Shares are \
            fixed.",
    scenario: "unlike-servers",
    fails_in: "weighted-bursts",
    weighted: true,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(Interleaved { next: 0, level: 0, step: 1 })
    }
}

#[derive(Clone)]
struct Interleaved {
    /// The first slot to consider in this round.
    next: u32,
    /// The threshold, in steps; zero before the first round.
    level: u32,
    /// Greatest common divisor of the weights.
    step: u32,
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Selector for Interleaved {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let steps = |slot: u32| cx.fleet.weight(slot) / self.step;
        let (level, next) = (self.level, self.next);
        // One scan: the next server in this round, and the first of the next round that has any.
        let mut here = None;
        let mut top = 0;
        for slot in candidates(request, cx.fleet) {
            let steps = steps(slot);
            if level > 0 && slot >= next && steps >= level {
                here = Some(slot);
                break;
            }
            top = top.max(steps);
        }
        let slot = match here {
            Some(slot) => slot,
            None => {
                // The threshold falls, skipping rounds without servers; below one it starts again at the highest weight.
                self.level = match level.saturating_sub(1) {
                    0 => top,
                    lower => lower.min(top),
                };
                let level = self.level;
                candidates(request, cx.fleet).find(|&slot| steps(slot) >= level)?
            }
        };
        self.next = slot + 1;
        cx.pick(slot)
    }

    fn on_fleet(&mut self, _changes: &[Change], cx: &mut Context<'_>) {
        // The lowest weight that passes, which is the value that IPVS keeps; zero before the first round.
        let bar = match self.level {
            0 => 0,
            level => u64::from(level - 1) * u64::from(self.step) + 1,
        };
        let weights = || cx.fleet.eligible().iter().map(|&slot| cx.fleet.weight(slot));
        self.step = weights().fold(0, gcd).max(1);
        let top = weights().max().unwrap_or(0) / self.step;
        // As in IPVS: back to the first server; the threshold keeps its weight, converted to the new steps, unless it is too
        // high.
        self.next = 0;
        self.level = match (bar, self.step) {
            (0, _) => top,
            (bar, 1) => (bar as u32).min(top),
            (bar, step) => ((bar / u64::from(step)) as u32 + 1).min(top),
        };
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        upcoming(self.clone(), request, cx)
    }
}
