//! Cost-aware least request: in-flight requests, each counted with the usual cost of its kind. Variant: ours; no
//! product has it. Costs are learned by path from the latencies that the balancer measures.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::{
    Context, Explanation, Finished, Outcome, Pick, Request, Selector, candidates, least_cost, renew, sample,
};
use crate::units::Nanos;

/// How costs are learned.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Servers sampled for each request, 2 to 16; 0 compares all.
    pub choices: usize,
    /// Weight of a new latency in a path's average, above 0 and at most 1.
    pub smoothing: f64,
}

impl Default for Params {
    fn default() -> Params {
        Params { choices: 0, smoothing: 0.1 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Cost-aware least request",
    family: Family::Load,
    aliases: &["weighted_in_flight"],
    near: &[
        (
            "size_aware",
            "there are several that go by size; this one counts each request in flight by its expected cost",
        ),
        (
            "sita",
            "SITA gives each server the requests of a range of sizes; this one counts each request in flight by its expected cost",
        ),
    ],
    variant: "ours: least request, where a request counts as the average latency of its path, learned mostly from \
              requests that met few others",
    idea: "Ten logins and ten reports are both ten requests in flight, but reports are far more work. Learn from the \
           responses what each path costs, and count that instead. The remaining work at a server is then known \
           better than by a count, without asking a server.",
    formula: "argmin of (sum of cost(path) over requests in flight at i + cost(path)) / weight_i; \
              cost(path): average of latency / (k + 1), each counting 1 / (k + 1), for k in flight there when it was sent",
    source: "ours; after size-based assignment (Harchol-Balter, Crovella, Murta, 1999), with learned sizes",
    cost: "O(n), or O(choices)",
    fails: "A latency includes waiting: where many balancers fill the servers, all paths seem to cost about the \
            same. Where paths do not distinguish costs it is least request; so it is with more than a few hundred \
            paths, which share averages. Requests of other balancers count only where the balancer counts them, and \
            with the usual cost.",
    scenario: "mixed-costs",
    fails_in: "many-balancers",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        if !matches!(self.choices, 0 | 2..=16) {
            return Err(format!("`choices` is {}: it must be 0 or from 2 to 16", self.choices));
        }
        if !(self.smoothing > 0.0 && self.smoothing <= 1.0) {
            return Err(format!("`smoothing` is {}: it must be above 0 and at most 1", self.smoothing));
        }
        Ok(())
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let (costs, mine) = (vec![0.0; PATHS], Vec::new());
        Box::new(CostAware { params: self.clone(), costs, overall: 0.0, mine })
    }
}

/// Average cost by path; paths whose hashes collide share one.
const PATHS: usize = 1 << 10;

struct CostAware {
    params: Params,
    /// By hash of the path, nanoseconds; zero before the first response.
    costs: Vec<f32>,
    /// Average over all paths: the assumed cost of an unknown path.
    overall: f32,
    /// By slot: in-flight requests of this selector's picks.
    mine: Vec<Mine>,
}

/// In-flight requests of a selector's own picks, and their assumed cost.
#[derive(Clone, Copy, Debug, Default)]
struct Mine {
    cost: f64,
    count: u32,
}

impl Mine {
    fn take(&mut self, cost: f32) {
        self.count = self.count.saturating_sub(1);
        self.cost = if self.count == 0 { 0.0 } else { (self.cost - f64::from(cost)).max(0.0) };
    }
}

/// Content of a pick's tag: the expected cost, the index of its path's average, and the number of requests in flight.
struct Expectation {
    cost: f32,
    place: u16,
    found: u16,
}

impl Expectation {
    fn tag(&self) -> u64 {
        u64::from(self.cost.to_bits()) << 32 | u64::from(self.place) << 16 | u64::from(self.found)
    }

    fn of(tag: u64) -> Expectation {
        Expectation { cost: f32::from_bits((tag >> 32) as u32), place: (tag >> 16) as u16, found: tag as u16 }
    }
}

impl CostAware {
    fn expected(&self, place: u16) -> f32 {
        match self.costs[usize::from(place)] {
            0.0 => self.overall.max(1.0),
            cost => cost,
        }
    }

    fn load(&self, slot: u32, fleet: &Fleet, cost: f32) -> f64 {
        let mine = self.mine[slot as usize];
        // Requests placed by other means (session affinity, a former selector) are assumed to have the average cost.
        let others = fleet.in_flight()[slot as usize].saturating_sub(mine.count);
        let usual = f64::from(self.overall.max(1.0));
        (mine.cost + f64::from(others) * usual + f64::from(cost)) / f64::from(fleet.weight(slot).max(1))
    }
}

impl Selector for CostAware {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let place = (crc32fast::hash(request.path.as_bytes()) as usize % PATHS) as u16;
        let cost = self.expected(place);
        let fleet = cx.fleet;
        let slot = if self.params.choices == 0 {
            least_cost(request, cx, |slot| self.load(slot, fleet, cost))?
        } else {
            let sample = sample(request, cx, self.params.choices, false);
            let load = |slot: &&u32| self.load(**slot, fleet, cost);
            *sample.as_slice().iter().min_by(|a, b| load(a).total_cmp(&load(b)))?
        };
        let in_flight = fleet.in_flight()[slot as usize];
        let mine = &mut self.mine[slot as usize];
        (mine.cost, mine.count) = (mine.cost + f64::from(cost), mine.count + 1);
        let found = in_flight.min(u32::from(u16::MAX)) as u16;
        cx.pick_tagged(slot, Expectation { cost, place, found }.tag())
    }

    fn on_refused(&mut self, pick: &Pick, _cx: &mut Context<'_>) {
        self.mine[pick.backend.slot as usize].take(Expectation::of(pick.tag).cost);
    }

    fn on_finish(&mut self, finished: &Finished, cx: &mut Context<'_>) {
        if !cx.fleet.is_current(finished.backend) || finished.tag == 0 {
            return;
        }
        let slot = finished.backend.slot as usize;
        let Expectation { cost, place, found } = Expectation::of(finished.tag);
        self.mine[slot].take(cost);
        if finished.outcome != Outcome::Ok {
            return;
        }
        let before = f64::from(found) + 1.0;
        let sample = (finished.latency.0 as f64 / before).max(1.0);
        let learn = |average: &mut f32, share: f64| {
            let old = if *average == 0.0 { sample } else { f64::from(*average) };
            *average = (old + share * (sample - old)) as f32;
        };
        learn(&mut self.costs[usize::from(place) % PATHS], self.params.smoothing / before);
        learn(&mut self.overall, self.params.smoothing / before);
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        renew(&mut self.mine, changes, cx.fleet);
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        self.mine.get(slot as usize)?;
        Some(self.load(slot, fleet, 0.0) / 1e9)
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let place = (crc32fast::hash(request.path.as_bytes()) as usize % PATHS) as u16;
        let cost = self.expected(place);
        let load = |slot: u32| (slot, self.load(slot, cx.fleet, cost) / 1e9);
        let scores = candidates(request, cx.fleet).map(load).collect();
        let explained = match self.params.choices {
            0 => Explanation::default(),
            choices => Explanation::sample(&sample(request, cx, choices, false), ""),
        };
        explained.scored("expected cost of the requests in flight, with this one, per weight, in seconds", scores)
    }
}
