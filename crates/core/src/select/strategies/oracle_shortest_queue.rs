//! Oracle, shortest queue: sees how many requests are truly at every server and sends to the fewest. A baseline:
//! "join the shortest queue" of queueing theory for any number of balancers, which by their own counts only a single
//! balancer has.

use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::{Context, Explanation, Pick, Request, Selector, candidates, least_cost};

/// No parameters.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {}

pub(super) const DOC: Doc = Doc {
    title: "Oracle: shortest queue",
    family: Family::Oracle,
    aliases: &["true_jsq", "global_least_request"],
    near: &[],
    variant: "a baseline of the simulator: true numbers of requests of all balancers, including those on their way, \
              per weight; ties drawn at random",
    idea: "Least request with the counts of all balancers, without delay. Its distance to least request is the cost \
           of not knowing the other balancers' requests; its distance to least work is the cost of not knowing how \
           long requests are.",
    formula: "argmin over i of number_i / weight_i",
    source: "Winston, 'Optimality of the shortest line discipline', 1977 (equal servers, exponential service)",
    cost: "O(n)",
    fails: "It is not available in reality. Numbers say nothing of sizes: where requests differ much, a short queue \
            may be the longer wait. A server that fails at once is empty.",
    scenario: "many-balancers",
    fails_in: "error-fast",
    weighted: false,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(OracleShortestQueue)
    }
}

struct OracleShortestQueue;

impl Selector for OracleShortestQueue {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let (fleet, truth) = (cx.fleet, cx.truth);
        // Without the true state (hosts refuse oracles there) every server looks idle and the choice is random.
        let number = |slot: u32| f64::from(truth.map_or(0, |truth| truth.number(slot)));
        let slot = least_cost(request, cx, |slot| number(slot) / f64::from(fleet.weight(slot)))?;
        cx.pick(slot)
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let number = |slot: u32| f64::from(cx.truth.map_or(0, |truth| truth.number(slot)));
        let score = |slot: u32| number(slot) / f64::from(cx.fleet.weight(slot));
        let scores = candidates(request, cx.fleet).map(|slot| (slot, score(slot))).collect();
        Explanation::default().scored("requests in the server and on their way, per weight", scores)
    }
}
