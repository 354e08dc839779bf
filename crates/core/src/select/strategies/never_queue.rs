//! Never queue: an idle server if there is one, else the shortest expected delay. Variant: IPVS `nq`.

use super::shortest_expected_delay::{delay, shortest};
use crate::fleet::Fleet;
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::{Context, Explanation, Pick, Request, Selector, candidates};
use crate::units::Nanos;

/// No parameters.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {}

pub(super) const DOC: Doc = Doc {
    title: "Never queue",
    family: Family::Load,
    aliases: &["nq"],
    near: &[],
    variant: "IPVS `nq`: the first idle server in the list, else as `shortest_expected_delay`",
    idea: "A request never waits while a server is idle, even the slowest. Shortest expected delay would rather let \
           it wait at a fast server; this strategy relies less on correct weights.",
    formula: "the first i with in_flight_i = 0; if none, argmin of (in_flight_i + 1) / weight_i, the first on ties",
    source: "Linux, net/netfilter/ipvs/ip_vs_nq.c",
    cost: "O(n), less while servers early in the list are idle",
    fails: "At low load the first servers in the list do all the work, and a slow one among them takes its part \
            although fast servers are idle. Several balancers see the same first server idle. A server that fails at \
            once is idle at once and attracts all requests.",
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

    fn explain(&self, _request: &Request<'_>, _cx: &mut Context<'_>) -> Explanation {
        Explanation::compares("0 for an idle server, else requests in flight, with this one, per weight")
    }
}
