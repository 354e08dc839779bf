//! Multi-probe consistent hash: one point per server on a ring and several probes per key; the probe that is nearest
//! to its next point decides.

use crate::fleet::Change;
use crate::rng::{GOLDEN, Rng};
use crate::select::catalog::{self, Doc, Family};
use crate::select::hashing::{On, hash64, pair};
use crate::select::{Context, Explanation, Pick, Request, Selector};

/// The probes.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// The part of the request that is hashed.
    pub hash_on: On,
    /// Probes per key, 1 to 64. The largest share is about 1 + 1/(probes - 1) of the mean; with one probe there is no
    /// bound.
    pub probes: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params { hash_on: On::Key, probes: 21 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Multi-probe consistent hash",
    family: Family::Hash,
    aliases: &["mpch", "multi_probe_consistent_hash"],
    near: &[],
    variant: "Appleton and O'Reilly's with 21 probes. Probes come from the key's hash by SplitMix64, where the paper \
              combines two hashes. Weights are ignored, as there",
    idea: "A ring needs many points per server for even arcs. Here a server has one point and the key many probes: \
           it belongs to the server to which a probe comes closest. A long arc catches many probes but few of them \
           near its end, so the busiest server has about 1 + 1/(probes - 1) of the mean, with a ring a hundred times \
           smaller.",
    formula: "argmin over probes p of distance(h_p(key), next point); the owner of that point",
    source: "Appleton and O'Reilly, arXiv:1505.00062, 2015",
    cost: "O(probes log n)",
    fails: "Only the largest share is bounded: a server whose point lies close behind another's gets next to \
            nothing. It ignores weights and load, and needs 21 searches for a pick.",
    scenario: "cache-affinity",
    fails_in: "hot-keys",
    weighted: false,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match self.probes {
            1..=64 => Ok(()),
            n => Err(format!("`probes` is {n}: it must be from 1 to 64")),
        }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(MultiProbe { params: self.clone(), points: Vec::new() })
    }
}

struct MultiProbe {
    params: Params,
    /// (hash of the name, slot) of the eligible servers, ascending.
    points: Vec<(u64, u32)>,
}

impl MultiProbe {
    /// The probe that comes closest to a point, and that point's slot.
    #[inline]
    fn nearest(&self, request: &Request<'_>, able: impl Fn(u32) -> bool) -> Option<(u64, u32)> {
        let hash = self.params.hash_on.hash(request);
        let mut best: Option<(u64, u64, u32)> = None;
        for probe in 1..=u64::from(self.params.probes) {
            let at = pair(hash, probe.wrapping_mul(GOLDEN));
            let start = self.points.partition_point(|&(point, _)| point < at);
            let round = self.points[start..].iter().chain(&self.points[..start]);
            let &(point, slot) = round.into_iter().find(|&&(_, slot)| able(slot))?;
            let distance = point.wrapping_sub(at);
            if best.is_none_or(|(least, ..)| distance < least) {
                best = Some((distance, at, slot));
            }
        }
        best.map(|(_, at, slot)| (at, slot))
    }
}

impl Selector for MultiProbe {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let able = |slot: u32| cx.fleet.is_eligible(slot) && !request.excludes(slot);
        let (_, slot) = self.nearest(request, able)?;
        cx.pick(slot)
    }

    fn on_fleet(&mut self, _changes: &[Change], cx: &mut Context<'_>) {
        let point = |&slot: &u32| (hash64(cx.fleet.name(slot).as_bytes(), 0), slot);
        self.points.clear();
        self.points.extend(cx.fleet.eligible().iter().map(point));
        self.points.sort_unstable();
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let able = |slot: u32| cx.fleet.is_eligible(slot) && !request.excludes(slot);
        let position = |hash: u64| (hash >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0);
        let Some((probe, _)) = self.nearest(request, able) else { return Explanation::default() };
        let points = self.points.iter().map(|&(point, slot)| (position(point), slot)).collect();
        Explanation::ring(position(probe), points, able)
    }
}
