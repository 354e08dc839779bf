//! Weighted round robin, smooth: nginx's algorithm, which interleaves the turns of a heavy server with those of the
//! others.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::upcoming;
use crate::select::smooth::Smooth;
use crate::select::{Context, Explanation, Pick, Request, Selector};
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
    title: "Weighted round robin (smooth)",
    family: Family::RoundRobin,
    aliases: &["wrr", "swrr", "smooth_wrr", "smooth_weighted_round_robin"],
    near: &[],
    variant: "nginx's default (\"smooth\"): weights 5, 1, 1 give a a b a c a a and not a a a a a b c; without \
              nginx's failure penalty, which belongs to passive health checks",
    idea: "In turn, but a server of higher weight has more turns. The smooth form interleaves them, so a heavy \
           server does not get a burst of five requests and then a pause.",
    formula: "each pick: current_i += weight_i for all i; the largest current wins (first on ties); current_winner -= sum of weights",
    source: "nginx, src/http/ngx_http_upstream_round_robin.c, ngx_http_upstream_get_peer",
    cost: "O(n) up to 64 eligible servers, then O(log n) for a few different weights",
    fails: "As round robin when requests are unequal. As every fixed weight when a server slows down: it keeps \
            receiving its full share. Each shard has a rotation of its own.",
    scenario: "unlike-servers",
    fails_in: "slow-server",
    weighted: true,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(WeightedRoundRobin { smooth: Smooth::indexed() })
    }
}

#[derive(Clone)]
struct WeightedRoundRobin {
    smooth: Smooth,
}

impl Selector for WeightedRoundRobin {
    fn is_silent(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let slot = self.smooth.next(request, cx.fleet)?;
        cx.pick(slot)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        self.smooth.score(slot, fleet)
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.smooth.on_fleet(changes, cx.fleet);
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        upcoming(self.clone(), request, cx)
    }
}
