//! Random: each request goes to a server drawn with equal probability. Variant: Envoy `random` (without host
//! weights), Caddy `random`.

use crate::rng::{Rng, Source};
use crate::select::catalog::{self, Doc, Family};
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
    title: "Random",
    family: Family::Random,
    aliases: &["rand"],
    near: &[],
    variant: "Envoy `random` and Caddy's default: uniform over the eligible servers, weights ignored",
    idea: "Draw a server at random for every request. It keeps no state and shares none, so any number of balancers \
           can do it without disturbing each other. Random arrivals come in clumps: one server has a queue while \
           another is idle.",
    formula: "P(server i) = 1 / n",
    source: "Mitzenmacher, 'The Power of Two Choices in Randomized Load Balancing', IEEE TPDS 12(10), 2001 (as its d = 1)",
    cost: "O(1)",
    fails: "At high load: with exponential service times each server is an M/M/1 queue of its own, and the mean time \
            is 1/(1-load). With unequal servers: slow servers get as many requests as fast ones and are overloaded.",
    scenario: "even-load",
    fails_in: "unlike-servers",
    weighted: false,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(Random)
    }
}

struct Random;

fn draw(request: &Request<'_>, cx: &mut Context<'_>) -> Option<u32> {
    if request.excluded.is_empty() {
        return cx.fleet.draw_uniform(cx.rng);
    }
    match candidates(request, cx.fleet).count() {
        0 => None,
        n => candidates(request, cx.fleet).nth(cx.rng.below(n as u64) as usize),
    }
}

impl Selector for Random {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let slot = draw(request, cx)?;
        cx.pick(slot)
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        Explanation::draw(draw(request, cx))
    }
}
