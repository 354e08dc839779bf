//! Weighted response time: a random draw in which slower servers are less likely. Variant: Ribbon's
//! `WeightedResponseTimeRule`, whose weight is the sum of the response times of all other servers.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::estimate::WeightTable;
use crate::select::{Command, Context, Explanation, Finished, Outcome, Pick, Request, Selector, renew};
use crate::units::Nanos;

/// How often weights change.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Interval between computations of the weights.
    pub update: Nanos,
}

impl Default for Params {
    fn default() -> Params {
        Params { update: Nanos::from_secs(30) }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Weighted response time",
    family: Family::Latency,
    aliases: &["ribbon", "weighted_response_time_rule"],
    near: &[(
        "response_time",
        "this one is Ribbon's: servers are drawn at random, the more often the faster they answered",
    )],
    variant: "Ribbon's rule. Means are over the responses since the update before the last (in Ribbon over all \
              ever), and before the first update servers are drawn by weight (Ribbon uses round robin, and again \
              from each change of the fleet to the next update). A server without responses counts as the mean (in \
              Ribbon as infinitely fast). Configured weights count (Ribbon has none)",
    idea: "Every half minute each server gets a weight: the sum of the mean response times of all other servers. \
           Slow servers get less, and every server gets some. The more servers there are, the less the rule reacts \
           to a slow one, since its own time is a small part of the sum.",
    formula: "weight_i = (sum over j of t_j - t_i) * configured weight_i, every `update`; drawn in proportion",
    source: "Netflix Ribbon, WeightedResponseTimeRule.java",
    cost: "O(log n) per pick, O(n) per update",
    fails: "Among n servers, one that is ten times slower than the others still gets (n - 1) / (n + 8) of their \
            share: 31 % of five, 68 % of twenty. Half a minute is a long reaction time. It looks at no queue.",
    scenario: "unlike-servers",
    fails_in: "slow-server",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        if self.update < Nanos::from_millis(1) {
            return Err("`update` is below 1ms: it must be at least that".to_owned());
        }
        Ok(())
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let (times, table) = (Vec::new(), WeightTable::default());
        Box::new(WeightedResponseTime { update: self.update, times, table, asked: false })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    /// Mean of the last interval with responses, nanoseconds.
    mean: Option<f64>,
    sum: f64,
    count: u32,
}

struct WeightedResponseTime {
    update: Nanos,
    times: Vec<Times>,
    table: WeightTable,
    asked: bool,
}

impl WeightedResponseTime {
    fn rebuild(&mut self, cx: &Context<'_>) {
        let known = || cx.fleet.eligible().iter().filter_map(|&slot| self.times[slot as usize].mean);
        let (sum, count) = known().fold((0.0, 0), |(sum, count), mean| (sum + mean, count + 1));
        // A server without responses counts as the mean.
        let typical = if count == 0 { 0.0 } else { sum / f64::from(count) };
        let total = typical * cx.fleet.eligible().len() as f64;
        let times = &self.times;
        self.table.rebuild(cx.fleet, |slot| {
            let others = total - times[slot as usize].mean.unwrap_or(typical);
            // A single server has no others, and before the first update there are no means.
            let lots = if others > 0.0 { others } else { 1.0 };
            lots * f64::from(cx.fleet.weight(slot))
        });
    }
}

impl Selector for WeightedResponseTime {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let slot = self.table.draw(request, &[], cx)?;
        cx.pick(slot)
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        if finished.outcome != Outcome::Cancelled && cx.fleet.is_current(finished.backend) {
            let times = &mut self.times[finished.backend.slot as usize];
            times.sum += finished.latency.0 as f64;
            times.count += 1;
        }
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        renew(&mut self.times, changes, cx.fleet);
        self.rebuild(cx);
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Option<Command> {
        if std::mem::replace(&mut self.asked, true) { None } else { Some(Command::WakeAt(cx.now + self.update)) }
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) {
        self.asked = false;
        for times in &mut self.times {
            if times.count > 0 {
                *times = Times { mean: Some(times.sum / f64::from(times.count)), sum: 0.0, count: 0 };
            }
        }
        self.rebuild(cx);
    }

    fn score(&self, slot: u32, _fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(self.times.get(slot as usize)?.mean? / 1e9)
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        Explanation {
            meaning: "mean latency in the last interval, in seconds: the lower, the likelier a draw",
            ..Explanation::draw(self.table.draw(request, &[], cx))
        }
    }
}
