//! Shortest expected delay: the server where one more request gives the least requests per weight. Variant: IPVS
//! `sed`, which counts the request to be placed; the first server in the list wins a tie.

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
    title: "Shortest expected delay",
    family: Family::Load,
    aliases: &["sed"],
    near: &[],
    variant: "IPVS `sed`: (active + 1) / weight, the first in the list on ties; requests in place of connections",
    idea: "If weights are speeds, a request that joins n others at a server of speed w is done after about (n + 1) / \
           w. So the new request is counted as well: an idle slow server may be worse than a fast one with little to \
           do. Least request, which compares n / w, sees no difference between idle servers of any speed.",
    formula: "argmin over i of (in_flight_i + 1) / weight_i, the first on ties",
    source: "Linux, net/netfilter/ipvs/ip_vs_sed.c",
    cost: "O(n)",
    fails: "It depends on correct weights: with wrong ones requests wait while other servers are idle. With equal \
            weights it is least request whose ties go to the first server, so several balancers send to the same \
            server at once.",
    scenario: "unlike-servers",
    fails_in: "many-balancers",
    weighted: true,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(ShortestExpectedDelay)
    }
}

struct ShortestExpectedDelay;

/// The first candidate with the shortest expected delay.
pub(super) fn shortest(request: &Request<'_>, fleet: &Fleet) -> Option<u32> {
    let with_one_more = |slot: u32| u64::from(fleet.in_flight()[slot as usize]) + 1;
    let weight = |slot: u32| u64::from(fleet.weight(slot));
    // Cross-multiplied: exact, and no division.
    let sooner = |a: u32, b: u32| with_one_more(a) * weight(b) < with_one_more(b) * weight(a);
    candidates(request, fleet).reduce(|best, slot| if sooner(slot, best) { slot } else { best })
}

/// The compared value.
pub(super) fn delay(slot: u32, fleet: &Fleet) -> Option<f64> {
    let in_flight = fleet.in_flight().get(slot as usize)?;
    Some((f64::from(*in_flight) + 1.0) / f64::from(fleet.weight(slot).max(1)))
}

impl Selector for ShortestExpectedDelay {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let slot = shortest(request, cx.fleet)?;
        cx.pick(slot)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        delay(slot, fleet)
    }

    fn explain(&self, _request: &Request<'_>, _cx: &mut Context<'_>) -> Explanation {
        Explanation::compares("requests in flight, with this one, per weight")
    }
}
