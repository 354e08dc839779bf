//! Oracle, least work left: sees the true remaining work of every server and sends where it ends first. A baseline
//! that no balancer can have. With exponential sizes and equal single servers it is the M/M/n queue.

use crate::rng::{Rng, Source};
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
    title: "Oracle: least work left",
    family: Family::Oracle,
    aliases: &["oracle", "least_work", "lwl"],
    near: &[],
    variant: "a baseline of the simulator: true remaining work, including requests on their way to the server; ties \
              drawn at random; caches are not considered",
    idea: "The choice one would make if every server told its state at once: the server where the present work ends \
           first. It is a reference and not a bound: being greedy, it ignores future arrivals, caches, queue limits \
           and failures, and where these decide, other strategies beat it.",
    formula: "argmin over i of remaining work_i / speed_i",
    source: "Least-work-left dispatching; equals the central queue M/G/n for equal first-come-first-served servers",
    cost: "O(n)",
    fails: "It is not available in reality. It minimises waiting and not cache misses, so affinity can beat it where \
            a hit is much cheaper than a miss. It does not know that a server fails.",
    scenario: "even-load",
    fails_in: "cache-affinity",
    weighted: false,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(OracleLeastWork)
    }
}

struct OracleLeastWork;

impl Selector for OracleLeastWork {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let mut best: Option<(u32, Nanos)> = None;
        let mut ties = 0;
        for slot in candidates(request, cx.fleet) {
            // Without the true state (hosts refuse oracles there) every server looks idle and the choice is random.
            let work = cx.truth.map_or(Nanos::ZERO, |truth| truth.remaining_work(slot));
            match best {
                Some((_, least)) if work > least => {}
                Some((_, least)) if work == least => {
                    ties += 1;
                    if cx.rng.below(ties) == 0 {
                        best = Some((slot, work));
                    }
                }
                _ => (best, ties) = (Some((slot, work)), 1),
            }
        }
        cx.pick(best?.0)
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let work = |slot: u32| cx.truth.map_or(0.0, |truth| truth.remaining_work(slot).as_secs_f64());
        let scores = candidates(request, cx.fleet).map(|slot| (slot, work(slot))).collect();
        Explanation::default().scored("time until the server would be idle, in seconds", scores)
    }
}
