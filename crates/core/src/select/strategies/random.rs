//! Random: every request to a server drawn at once, without a thought for weights. The baseline of all theory.
//! Variant: Envoy `random` (no host weights), Caddy `random`.

use crate::select::catalog::{self, Doc, Family};
use crate::select::{Context, Pick, Request, Selector, candidates};
use crate::rng::{Rng, Source};

/// None.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema), serde(deny_unknown_fields, default))]
pub struct Params {}

pub(super) const DOC: Doc = Doc {
    title: "Random",
    family: Family::Random,
    aliases: &["rand"],
    near: &[],
    variant: "Envoy's `random` and Caddy's default: uniform over the healthy servers, weights ignored",
    idea: "Draw a server by lot for every request. Nothing is remembered and nothing is shared, so any number of \
           balancers may do it without making each other worse. But chance makes clumps: while one server has a queue, \
           another stands idle, and the requests in the queue pay.",
    formula: "P(server i) = 1 / n",
    source: "Mitzenmacher, 'The Power of Two Choices in Randomized Load Balancing', IEEE TPDS 12(10), 2001 (as its d = 1)",
    cost: "O(1)",
    fails: "At high load: with exponential work each server is an M/M/1 queue of its own, and the mean time is 1/(1-load). \
            With unequal servers: the weak ones are sent as much as the strong ones and drown.",
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

impl Selector for Random {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        if request.excluded.is_empty() {
            let slot = cx.fleet.draw_uniform(cx.rng)?;
            return cx.pick(slot);
        }
        let left = candidates(request, cx.fleet).count();
        let slot = match left {
            0 => return None,
            n => candidates(request, cx.fleet).nth(cx.rng.below(n as u64) as usize)?,
        };
        cx.pick(slot)
    }
}
