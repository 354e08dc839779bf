//! Power of d choices: sample a few servers, send to the one with the fewest requests in flight for its weight.
//! Variant: nginx `random two` (distinct, weighted draws, requests / weight); Envoy's and gRPC's is `replacement = true`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalog::{self, Doc, Family};
use super::{Context, MOST_CHOICES, Pick, Request, Selector, load_per_weight, sample};
use crate::fleet::Fleet;
use crate::rng::Rng;
use crate::units::Nanos;

/// How the sample is drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Servers sampled for each request, 1 to 16.
    pub choices: usize,
    /// Whether the same server may be sampled twice.
    pub replacement: bool,
}

impl Default for Params {
    fn default() -> Params {
        Params { choices: 2, replacement: false }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Power of two choices (d choices)",
    family: Family::Load,
    aliases: &["power_of_two", "power_of_two_choices", "two_choices", "random_two", "random_choose"],
    variant: "nginx `random two`: distinct servers, drawn in proportion to weight, compared by requests / weight; \
              the first drawn wins a tie (nginx: the second), and there is no limit of 20 draws; Envoy and gRPC sample with replacement and without weights",
    idea: "Look at two servers drawn by lot and take the less busy. Two looks instead of one shorten the queues \
           exponentially; a third adds little. Since everyone looks at different servers, many balancers do not herd.",
    formula: "draw d servers; argmin of in_flight_i / weight_i among them; the first drawn on ties",
    params: &[
        ("choices", "servers sampled for each request, 1 to 16"),
        ("replacement", "allow the same server twice in a sample: one pick in n is then plain random"),
    ],
    source: "Mitzenmacher, IEEE TPDS 12(10), 2001; Vvedenskaya, Dobrushin, Karpelevich, 1996; nginx `random two`",
    cost: "O(d), and O(d log n) for unequal weights",
    fails: "With few requests per balancer and server its counts are mostly zero and most of its advantage is gone \
            (many-balancers). A server that \
            fails fast looks idle. It knows nothing of caches.",
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
        Box::new(P2c { choices: self.choices, replacement: self.replacement })
    }
}

struct P2c {
    choices: usize,
    replacement: bool,
}

impl Selector for P2c {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let sample = sample(request, cx, self.choices, self.replacement);
        let fleet = cx.fleet;
        let busier = |a: u32, b: u32| {
            let count = |slot: u32| u64::from(fleet.in_flight()[slot as usize]);
            count(a) * u64::from(fleet.weight(b)) > count(b) * u64::from(fleet.weight(a))
        };
        let slot =
            sample.as_slice().iter().copied().reduce(|best, slot| if busier(best, slot) { slot } else { best })?;
        cx.pick(slot)
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(load_per_weight(slot, fleet))
    }
}
