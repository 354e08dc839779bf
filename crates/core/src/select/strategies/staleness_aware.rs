//! Staleness-aware choice: load reports are interpreted together with their age. Variant: Dahlin's basic load
//! interpretation: probabilities such that all servers would be equally loaded by the time the report is twice as
//! old.

use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::estimate::WeightTable;
use crate::select::{
    Command, Context, Explanation, LoadReport, MOST_CHOICES, Pick, Request, Selector, candidates, renew, sample,
};
use crate::units::Nanos;

/// How old reports are, and how often they are used.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Age of a report on arrival: the time to make, collect and distribute it.
    pub delay: Nanos,
    /// Interval between computations of the probabilities.
    pub update: Nanos,
    /// Whether the age of reports counts. If false, the shortest reported queue gets all requests until the next
    /// report.
    pub interpret: bool,
    /// With `interpret = false`: of this many servers drawn by weight the one with the shortest reported queue, 1 to
    /// 16 (2: YARP's power of two choices over polled load); 0 compares all.
    pub choices: usize,
}

impl Default for Params {
    fn default() -> Params {
        Params { delay: Nanos::ZERO, update: Nanos::from_millis(20), interpret: true, choices: 0 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Staleness-aware choice (load interpretation)",
    family: Family::Report,
    aliases: &["load_interpretation", "basic_load_interpretation", "stale_load", "dahlin"],
    near: &[],
    variant: "Dahlin's basic load interpretation, with the mean age of all reports as the period of the bulletin \
              board, the arrival rate that servers report instead of one known beforehand, and capacity in \
              proportion to weight",
    idea: "A report says how long a queue was, and all balancers read it. If all send to the shortest queue, it is \
           the longest when the next report comes. So include what will have arrived by then: fill the short queues \
           up to a common level, like water, and give each server a probability in proportion to what it takes to \
           reach it. Fresh reports send all requests to the shortest queue, old ones spread them evenly.",
    formula: "K = arrivals per second * (mean age + delay + update); probability_i in proportion to max(0, level * \
              weight_i - queue_i), with the level at which these sum to K",
    source: "Dahlin, 'Interpreting Stale Load Information', IEEE TPDS 11(10), 2000; Mitzenmacher, 'How Useful is Old Information?', 2000",
    cost: "O(log n) per pick, O(n log n) per update",
    fails: "With fresh reports it does what least request does, at a higher cost; without reports it is random by \
            weight. It does not use the balancer's own in-flight requests, which for a single balancer are the \
            freshest information there is.",
    scenario: "stale-reports",
    fails_in: "even-load",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        if self.update < Nanos::from_millis(1) {
            return Err("`update` is below 1ms: it must be at least that".to_owned());
        }
        if self.choices > MOST_CHOICES {
            return Err(format!("`choices` is {}: it must be from 0 to {MOST_CHOICES}", self.choices));
        }
        if self.choices > 0 && self.interpret {
            return Err("`choices` looks at reports as they are: say `interpret = false`, too".to_owned());
        }
        Ok(())
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let (heard, order, table) = (Vec::new(), Vec::new(), WeightTable::default());
        Box::new(StalenessAware { params: self.clone(), heard, order, table, asked: false })
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// Requests at the server and responses per second in the last report; `None` before the first.
    said: Option<(f64, f64)>,
    at: Nanos,
}

struct StalenessAware {
    params: Params,
    heard: Vec<Heard>,
    /// Queue per weight and weight of each eligible server, ascending; a reused buffer.
    order: Vec<(f64, f64)>,
    table: WeightTable,
    asked: bool,
}

/// The level to which K more requests fill queues of these (length per weight, weight), shortest first.
fn level(queues: &[(f64, f64)], more: f64) -> f64 {
    let (mut weights, mut filled) = (0.0, 0.0);
    for (i, &(height, weight)) in queues.iter().enumerate() {
        weights += weight;
        filled += height * weight;
        let level = (more + filled) / weights;
        if queues.get(i + 1).is_none_or(|&(next, _)| level <= next) {
            return level;
        }
    }
    0.0
}

impl StalenessAware {
    /// Requests in a server's last report, per weight; 0 before the first.
    fn queue(&self, slot: u32, fleet: &Fleet) -> f64 {
        let said = self.heard[slot as usize].said.map_or(0.0, |(queue, _)| queue);
        said / f64::from(fleet.weight(slot).max(1))
    }

    fn rebuild(&mut self, cx: &Context<'_>) {
        let known = || {
            let heard = cx.fleet.eligible().iter().map(|&slot| self.heard[slot as usize]);
            heard.filter_map(|heard| heard.said.map(|said| (said, cx.now.saturating_sub(heard.at).as_secs_f64())))
        };
        let count = known().count();
        if count == 0 {
            return self.table.rebuild(cx.fleet, |slot| f64::from(cx.fleet.weight(slot)));
        }
        let (mut queues, mut rate, mut age) = (0.0, 0.0, 0.0);
        for ((queue, throughput), old) in known() {
            (queues, rate, age) = (queues + queue, rate + throughput, age + old);
        }
        // A server without a report counts as the mean.
        let (usual, scale) = (queues / count as f64, cx.fleet.eligible().len() as f64 / count as f64);
        let horizon = age / count as f64 + (self.params.delay + self.params.update).as_secs_f64();
        let queue = |heard: &[Heard], slot: u32| heard[slot as usize].said.map_or(usual, |(queue, _)| queue);
        self.order.clear();
        for &slot in cx.fleet.eligible() {
            let weight = f64::from(cx.fleet.weight(slot));
            self.order.push((queue(&self.heard, slot) / weight, weight));
        }
        self.order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // At least one: the request that is to be placed.
        let coming = if self.params.interpret { (rate * scale * horizon).max(1.0) } else { 1.0 };
        let level = level(&self.order, coming);
        let heard = &self.heard;
        self.table.rebuild(cx.fleet, |slot| (level * f64::from(cx.fleet.weight(slot)) - queue(heard, slot)).max(0.0));
    }
}

impl Selector for StalenessAware {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let slot = if self.params.choices == 0 {
            self.table.draw(request, &[], cx)?
        } else {
            let sample = sample(request, cx, self.params.choices, false);
            let queue = |slot: u32| self.queue(slot, cx.fleet);
            *sample.as_slice().iter().min_by(|a, b| queue(**a).total_cmp(&queue(**b)))?
        };
        cx.pick(slot)
    }

    fn on_report(&mut self, backend: BackendId, load: &LoadReport, cx: &mut Context<'_>) {
        if let (true, Some(in_server)) = (cx.fleet.is_current(backend), load.in_server) {
            let said = Some((f64::from(in_server), load.throughput.max(0.0)));
            self.heard[backend.slot as usize] = Heard { said, at: cx.now };
        }
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        renew(&mut self.heard, changes, cx.fleet);
        self.order.reserve(cx.fleet.slots().saturating_sub(self.order.len()));
        self.rebuild(cx);
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Option<Command> {
        if std::mem::replace(&mut self.asked, true) { None } else { Some(Command::WakeAt(cx.now + self.params.update)) }
    }

    fn on_wake(&mut self, cx: &mut Context<'_>) {
        self.asked = false;
        self.rebuild(cx);
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(self.heard.get(slot as usize)?.said?.0 / f64::from(fleet.weight(slot).max(1)))
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        match self.params.choices {
            0 => Explanation {
                meaning: "reported requests per weight: the fewer, the likelier a draw",
                ..Explanation::draw(self.table.draw(request, &[], cx))
            },
            choices => {
                let sample = sample(request, cx, choices, false);
                let queue = |slot: u32| (slot, self.queue(slot, cx.fleet));
                let scores = candidates(request, cx.fleet).map(queue).collect();
                Explanation::sample(&sample, "").scored("reported requests per weight", scores)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_fill_to_a_common_level() {
        // Queues 0, 2, 7 of weight 1: 4 more fill the first two to 3 each.
        let queues = [(0.0, 1.0), (2.0, 1.0), (7.0, 1.0)];
        assert_eq!(level(&queues, 4.0), 3.0);
        assert_eq!(level(&queues, 1.0), 1.0, "all to the shortest");
        assert_eq!(level(&queues, 30.0), 13.0, "old reports: to all servers");
        // Twice the weight takes twice as much: 0 and 1 per weight, 5 more: (5 + 0 + 2) / 3.
        assert!((level(&[(0.0, 1.0), (1.0, 2.0)], 5.0) - 7.0 / 3.0).abs() < 1e-12);
    }
}
