//! Power of two choices: sample a few servers and send to the one with the fewest in-flight requests for its weight.
//! Variant: nginx `random two` (distinct servers, drawn by weight, compared by requests / weight) except for ties.
//! Parameters select the others: Envoy and gRPC `{ replacement = true, weights = "none" }`, nginx `{ ties = "second"
//! }`, HAProxy `{ replacement = true, ties = "lower_rate" }` (without the unevenness of its draw from a ring), Caddy
//! `{ ties = "random", weights = "none" }`, until 2026 with `caddy_tie_bug = true` and an uneven draw.

use crate::fleet::{Change, Fleet};
use crate::rng::{Rng, Source};
use crate::select::catalog::{self, Doc, Family};
use crate::select::estimate::fading;
use crate::select::{
    Context, Explanation, MOST_CHOICES, Pick, Request, Selector, candidates, load_per_weight, renew, sample,
    sample_evenly, sample_two,
};
use crate::units::Nanos;

/// How servers are sampled and compared.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Servers sampled for each request, 1 to 16.
    pub choices: usize,
    /// Whether the same server may be sampled twice for one request. With two choices one pick in n is then plain
    /// random.
    pub replacement: bool,
    /// Which of equally loaded sampled servers is picked.
    pub ties: Ties,
    /// Whether weights count in the draw, in the comparison, in both or in neither.
    pub weights: Weights,
    /// Keep servers among the tied after a better one was found, as Caddy did until 2026: of two servers the busier
    /// one gets a quarter of the requests.
    pub caddy_tie_bug: bool,
}

/// Which of equally loaded sampled servers is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Ties {
    /// The first drawn (Envoy, gRPC).
    First,
    /// The last drawn (nginx).
    Second,
    /// One at random (Caddy).
    Random,
    /// The one with the lower rate of requests for its weight, averaged over about a second (HAProxy).
    LowerRate,
}

/// Whether weights count in the draw, in the comparison, in both or in neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Weights {
    /// Servers are drawn in proportion to weight and compared by requests per weight (nginx, HAProxy, IPVS).
    Both,
    /// Drawn in proportion to weight, compared by requests.
    Draw,
    /// Drawn with equal probability, compared by requests per weight.
    Score,
    /// Nowhere (Envoy with equal weights, gRPC, Traefik, Caddy).
    None,
}

impl Default for Params {
    fn default() -> Params {
        Params { choices: 2, replacement: false, ties: Ties::First, weights: Weights::Both, caddy_tie_bug: false }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Power of two choices (d choices)",
    family: Family::Load,
    aliases: &[
        "power_of_two",
        "power_of_two_choices",
        "pow2",
        "two_choices",
        "random_two",
        "random_two_least_conn",
        "random_choose",
        "p2c_least_loaded",
    ],
    near: &[],
    variant: "nginx `random two`: distinct servers, drawn in proportion to weight, compared by requests / weight; \
              the first drawn wins a tie (in nginx the second), and there is no limit of 20 draws. Parameters make \
              it Envoy's, gRPC's, Caddy's, and HAProxy's (`replacement`, \"lower_rate\") except for its draw from a \
              ring",
    idea: "Draw two servers at random and take the less loaded one. Two samples instead of one shorten queues \
           exponentially; a third adds little. Each request looks at other servers, so many balancers do not all \
           pick the same one.",
    formula: "draw d servers; argmin of in_flight_i / weight_i among them; the first drawn on ties",
    source: "Mitzenmacher, IEEE TPDS 12(10), 2001; Vvedenskaya, Dobrushin, Karpelevich, 1996; nginx `random two`",
    cost: "O(d), and O(d log n) for unequal weights",
    fails: "With few requests per balancer and server its counts are mostly zero, and most of the advantage is lost \
            (many-balancers). A server that fails fast looks idle. It knows nothing of caches.",
    scenario: "even-load",
    fails_in: "many-balancers",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match self.choices {
            1..=MOST_CHOICES => Ok(()),
            n => Err(format!("`choices` is {n}: it must be from 1 to {MOST_CHOICES}")),
        }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        let weighted = matches!(self.weights, Weights::Both | Weights::Draw);
        let plain =
            self.choices == 2 && !self.replacement && self.ties == Ties::First && weighted && !self.caddy_tie_bug;
        Box::new(P2c { params: self.clone(), plain, rates: Vec::new() })
    }
}

struct P2c {
    params: Params,
    /// Two distinct servers in proportion to weight, and the first one wins a tie: the default.
    plain: bool,
    /// By slot, only for ties by rate: number of requests sent, decayed by the factor e per second, and the time of the last
    /// one.
    rates: Vec<(f64, Nanos)>,
}

impl P2c {
    fn weight(&self, slot: u32, fleet: &Fleet) -> u64 {
        match self.params.weights {
            Weights::Both | Weights::Score => u64::from(fleet.weight(slot)),
            Weights::Draw | Weights::None => 1,
        }
    }

    fn rate(&self, slot: u32, now: Nanos) -> f64 {
        const SECOND: Nanos = Nanos::from_secs(1);
        let (count, at) = self.rates[slot as usize];
        count * fading(now.saturating_sub(at), SECOND)
    }

    /// Whether `slot` is preferred to `best`, which was drawn before.
    fn beats(&self, slot: u32, best: u32, cx: &mut Context<'_>) -> bool {
        let load = |slot: u32| u64::from(cx.fleet.in_flight()[slot as usize]);
        let (a, b) = (load(slot) * self.weight(best, cx.fleet), load(best) * self.weight(slot, cx.fleet));
        if a != b {
            return a < b;
        }
        match self.params.ties {
            Ties::First => false,
            Ties::Second => true,
            Ties::Random => cx.rng.below(2) == 0,
            Ties::LowerRate => {
                let rate = |slot: u32| self.rate(slot, cx.now) / self.weight(slot, cx.fleet).max(1) as f64;
                rate(slot) < rate(best)
            }
        }
    }

    /// Caddy's bug: a server that was ever among the best stays in the draw.
    fn one_of_the_kept(&self, sample: &[u32], cx: &mut Context<'_>) -> Option<u32> {
        let load = |slot: u32| cx.fleet.in_flight()[slot as usize];
        if let Some(&idle) = sample.iter().find(|&&slot| load(slot) == 0) {
            return Some(idle);
        }
        let mut kept = [0; MOST_CHOICES];
        let (mut count, mut least) = (0, u32::MAX);
        for &slot in sample {
            if load(slot) <= least {
                least = load(slot);
                kept[count] = slot;
                count += 1;
            }
        }
        (count > 0).then(|| kept[cx.rng.below(count as u64) as usize])
    }
}

impl Selector for P2c {
    fn is_silent(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        if self.plain
            && let Some((first, second)) = sample_two(request, cx)
        {
            // Of equal weight.
            let in_flight = cx.fleet.in_flight();
            return cx.pick(if in_flight[second as usize] < in_flight[first as usize] { second } else { first });
        }
        let Params { choices, replacement, weights, .. } = self.params;
        let sample = match weights {
            Weights::Both | Weights::Draw => sample(request, cx, choices, replacement),
            Weights::Score | Weights::None => sample_evenly(request, cx, choices, replacement),
        };
        let sample = sample.as_slice();
        let slot = if self.params.caddy_tie_bug {
            self.one_of_the_kept(sample, cx)?
        } else {
            let (&first, others) = sample.split_first()?;
            others.iter().fold(first, |best, &slot| if self.beats(slot, best, cx) { slot } else { best })
        };
        if self.params.ties == Ties::LowerRate {
            self.rates[slot as usize] = (self.rate(slot, cx.now) + 1.0, cx.now);
        }
        cx.pick(slot)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(load_per_weight(slot, fleet))
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        if self.params.ties == Ties::LowerRate {
            renew(&mut self.rates, changes, cx.fleet);
        }
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let Params { choices, replacement, weights, .. } = self.params;
        let sample = match weights {
            Weights::Both | Weights::Draw => sample(request, cx, choices, replacement),
            Weights::Score | Weights::None => sample_evenly(request, cx, choices, replacement),
        };
        let load =
            |slot: u32| f64::from(cx.fleet.in_flight()[slot as usize]) / self.weight(slot, cx.fleet).max(1) as f64;
        let scores = candidates(request, cx.fleet).map(|slot| (slot, load(slot))).collect();
        let meaning = match weights {
            Weights::Both | Weights::Score => "requests in flight per weight",
            Weights::Draw | Weights::None => "requests in flight",
        };
        Explanation::sample(&sample, meaning).scored(meaning, scores)
    }
}
