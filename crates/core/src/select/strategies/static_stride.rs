//! Weighted round robin by static stride: a counter walks over the servers in rounds, and in each round a server is
//! taken or skipped so that it is taken in proportion to its weight. The state is one growing number; no queue and no
//! lock. Variant: grpc-go's scheduler, number for number: weights scaled to 65535, an offset of half of that per
//! server.

use crate::fleet::Change;
use crate::rng::{Rng, Source};
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::upcoming;
use crate::select::{Context, Explanation, Pick, Request, Selector, draw_excluding};

/// Where the counter starts.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Start the counter at a random number instead of zero. Balancers that all start at zero send to the same
    /// servers at the same time.
    pub random_start: bool,
}

impl Default for Params {
    fn default() -> Params {
        Params { random_start: true }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Weighted round robin by static stride",
    family: Family::RoundRobin,
    aliases: &["stride", "stride_scheduling", "static_stride_scheduler"],
    near: &[],
    variant: "grpc-go's weighted round robin scheduler with configured weights (gRPC takes them from load reports, \
              and its C++ version first clamps them to between a hundredth and ten times their mean). A scaled \
              weight is at least 1 (in grpc-go a server of less than 1/131070 of the heaviest is never taken)",
    idea: "Number the requests. The remainder of the number says which server, the quotient which round, and a sum \
           modulo 65535 whether the server is taken in that round. Threads need to share one counter and nothing \
           else.",
    formula: "i = s mod n, g = s div n; w scaled so that the largest is 65535; taken if (w_i g + 32767 i) mod 65535 \
              >= 65535 - w_i, else s += 1 and again; equal weights: s mod n",
    source: "grpc-go, balancer/weightedroundrobin/scheduler.go; gRPC, static_stride_scheduler.cc",
    cost: "O(largest weight / mean weight), n at most",
    fails: "Shares are fixed, as in every weighted round robin: a server that slows down keeps receiving its own. A \
            few heavy servers among many light ones make searches long.",
    scenario: "unlike-servers",
    fails_in: "slow-server",
    weighted: true,
};

impl catalog::Params for Params {
    fn build(&self, rng: &mut Rng) -> Box<dyn Selector> {
        let sequence = if self.random_start { rng.bits() as u32 } else { 0 };
        Box::new(StaticStride { sequence, slots: Vec::new(), weights: None })
    }
}

const MOST: u64 = u16::MAX as u64;
const OFFSET: u64 = MOST / 2;

#[derive(Clone)]
struct StaticStride {
    sequence: u32,
    slots: Vec<u32>,
    /// Scaled weights, parallel to `slots`; `None` while all are equal.
    weights: Option<Vec<u16>>,
}

impl StaticStride {
    /// Whether place `i` is taken in round `g`.
    fn taken(&self, i: u64, g: u64) -> bool {
        match &self.weights {
            None => true,
            Some(weights) => {
                let weight = u64::from(weights[i as usize]);
                (weight * g + i * OFFSET) % MOST >= MOST - weight
            }
        }
    }
}

impl Selector for StaticStride {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let n = self.slots.len() as u64;
        // The heaviest server is taken in every round, so two rounds always find a server, also when the counter wraps. More
        // are needed only when the heaviest ones are excluded.
        for _ in 0..2 * n {
            let s = u64::from(self.sequence);
            self.sequence = self.sequence.wrapping_add(1);
            let slot = self.slots[(s % n) as usize];
            if self.taken(s % n, s / n) && !request.excludes(slot) && cx.fleet.is_eligible(slot) {
                return cx.pick(slot);
            }
        }
        let slot = draw_excluding(request, &[], cx)?;
        cx.pick(slot)
    }

    fn on_fleet(&mut self, _changes: &[Change], cx: &mut Context<'_>) {
        self.slots.clear();
        self.slots.extend_from_slice(cx.fleet.eligible());
        let heaviest = self.slots.iter().map(|&slot| cx.fleet.weight(slot)).max().unwrap_or(1);
        // Rounded to the nearest, in whole numbers.
        let scaled = |&slot: &u32| {
            let (weight, heaviest) = (u64::from(cx.fleet.weight(slot)), u64::from(heaviest));
            ((2 * weight * MOST + heaviest) / (2 * heaviest)).max(1) as u16
        };
        self.weights = (!cx.fleet.uniform()).then(|| self.slots.iter().map(scaled).collect());
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        upcoming(self.clone(), request, cx)
    }
}
