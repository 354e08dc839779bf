//! Weighted random: each request goes to a server drawn with probability in proportion to its weight. Variant: nginx
//! `random` (binary search over running sums of weights).

use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::{Context, Explanation, Pick, Request, Selector, draw_excluding};

/// No parameters.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {}

pub(super) const DOC: Doc = Doc {
    title: "Weighted random",
    family: Family::Random,
    aliases: &["random_weighted", "nginx_random"],
    near: &[],
    variant: "nginx `random`: binary search over the running sums of the weights",
    idea: "As `random`, but a server of weight 3 is drawn three times as often as one of weight 1. Correct weights \
           give unequal servers the same utilisation. Random arrivals still come in clumps.",
    formula: "P(server i) = weight_i / sum of weights",
    source: "nginx, src/http/modules/ngx_http_upstream_random_module.c",
    cost: "O(1) for equal weights, else O(log n)",
    fails: "When weights are wrong or a server slows down: weights are fixed numbers in a file. Equal utilisation \
            does not mean equal waiting: at the same load requests stay longer at a slow server.",
    scenario: "unlike-servers",
    fails_in: "slow-server",
    weighted: true,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(WeightedRandom)
    }
}

struct WeightedRandom;

impl Selector for WeightedRandom {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let slot = draw_excluding(request, &[], cx)?;
        cx.pick(slot)
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        Explanation::draw(draw_excluding(request, &[], cx))
    }
}
