//! Never queue: an idle server if there is one, else the shortest expected delay. Variant: IPVS `nq`.

use crate::select::catalog::{self, Doc, Family};
use super::shortest_expected_delay::{delay, shortest};
use crate::select::{Context, Pick, Request, Selector, candidates};
use crate::fleet::Fleet;
use crate::rng::Rng;
use crate::units::Nanos;

/// None.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema), serde(deny_unknown_fields, default))]
pub struct Params {}

pub(super) const DOC: Doc = Doc {
    title: "Never queue",
    family: Family::Load,
    aliases: &["nq"],
    near: &[],
    variant: "IPVS `nq`: the first idle server in the list, else as `shortest_expected_delay`",
    idea: "A request never waits while a server stands idle, be it the slowest. Shortest expected delay would rather let \
           it wait behind another at a fast server; this one is for those who do not trust the weights that far.",
    formula: "the first i with in_flight_i = 0; if none, argmin of (in_flight_i + 1) / weight_i, the first on ties",
    source: "Linux, net/netfilter/ipvs/ip_vs_nq.c",
    cost: "O(n), less while servers early in the list are idle",
    fails: "At low load the first servers do all the work, and a slow one among them does its part though fast ones are \
            free. Several balancers see the same first server idle. What fails at once is idle at once, and draws everything.",
    scenario: "idle-fleet",
    fails_in: "error-fast",
    weighted: false,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(NeverQueue)
    }
}

struct NeverQueue;

impl Selector for NeverQueue {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let idle = candidates(request, cx.fleet).find(|&slot| cx.fleet.in_flight()[slot as usize] == 0);
        let slot = idle.or_else(|| shortest(request, cx.fleet))?;
        cx.pick(slot)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        match fleet.in_flight().get(slot as usize)? {
            0 => Some(0.0),
            _ => delay(slot, fleet),
        }
    }
}
