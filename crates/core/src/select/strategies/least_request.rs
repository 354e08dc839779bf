//! Least request: a full scan for the server with the fewest in-flight requests for its weight, ties drawn at random.
//! Variant: nginx `least_conn` for the score (requests / weight), Caddy and Envoy `FULL_SCAN` for the random ties.

use std::cmp::Ordering;

use crate::fleet::{Change, Fleet, Least, LoadIndex, SCAN_MAX};
use crate::rng::{Rng, Source};
use crate::select::catalog::{self, Doc, Family};
use crate::select::smooth::Smooth;
use crate::select::{Context, Explanation, LINEAR_SCAN_MAX, Pick, Request, Selector, candidates, load_per_weight};
use crate::units::Nanos;

/// How ties are broken.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Which of several least loaded servers is picked.
    pub ties: Ties,
}

/// Which of several least loaded servers is picked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Ties {
    /// One drawn at random, in proportion to weight.
    #[default]
    Random,
    /// The first in the list. At low load it gets all the traffic.
    First,
    /// In turn, by smooth weighted round robin among the tied (nginx).
    Turn,
}

pub(super) const DOC: Doc = Doc {
    title: "Least request (least connections)",
    family: Family::Load,
    aliases: &[
        "least_conn",
        "least_connections",
        "least_connection",
        "lc",
        "wlc",
        "weighted_least_connections",
        "weighted_least_connection",
        "least_outstanding_requests",
        "jsq",
        "join_shortest_queue",
        "full_scan",
    ],
    near: &[
        (
            "LEAST_REQUEST",
            "Envoy's looks at two servers drawn at random unless its option FULL_SCAN is set, which is this strategy; without it, it is `p2c`",
        ),
        ("least_request_experimental", "gRPC's looks at two servers drawn at random: `p2c` with `replacement = true`"),
    ],
    variant: "full scan; score as nginx `least_conn` (in-flight requests / weight); ties drawn at random in \
              proportion to weight (Envoy's FULL_SCAN and Caddy draw them with equal probability; nginx uses round \
              robin, as `ties = \"turn\"` does)",
    idea: "Send the request to the server with the fewest requests in flight. A slow server keeps its requests \
           longer, so its count stays high and it gets less traffic, without any measurement. With one balancer this \
           is \"join the shortest queue\" of queueing theory.",
    formula: "argmin over i of in_flight_i / weight_i",
    source: "nginx, ngx_http_upstream_least_conn_module.c; Envoy least_request.proto (FULL_SCAN)",
    cost: "O(n) up to 256 eligible servers, then O(log n) with an index that the fleet keeps",
    fails: "Each of several balancers knows only its own requests: with thirty of them the mean latency is nearly \
            three times that with one (many-balancers), little better than round robin. A server that fails fast has \
            nothing in flight and attracts all requests. It knows nothing of caches.",
    scenario: "slow-server",
    fails_in: "error-fast",
    weighted: true,
};

impl catalog::Params for Params {
    const LOAD_INDEX: bool = true;

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(LeastRequest { ties: self.ties, smooth: Smooth::default() })
    }
}

struct LeastRequest {
    ties: Ties,
    smooth: Smooth,
}

impl Selector for LeastRequest {
    fn is_silent(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let fleet = cx.fleet;
        let slot = match self.ties {
            Ties::Random
                if fleet.load_index().is_none()
                    && fleet.uniform()
                    && fleet.all_eligible()
                    && request.excluded.is_empty() =>
            {
                least_of_all(fleet.in_flight(), cx.rng)?
            }
            Ties::Random => least_of_candidates(request, cx)?,
            Ties::First => first_of_least(request, fleet)?,
            Ties::Turn => {
                let least = first_of_least(request, fleet)?;
                let tied = |slot| compare(fleet, slot, least).is_eq();
                self.smooth.next_among(request, fleet, tied)?
            }
        };
        cx.pick(slot)
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.smooth.on_fleet(changes, cx.fleet);
    }

    fn score(&self, slot: u32, fleet: &Fleet, _now: Nanos) -> Option<f64> {
        Some(load_per_weight(slot, fleet))
    }

    fn explain(&self, _request: &Request<'_>, _cx: &mut Context<'_>) -> Explanation {
        Explanation::compares("requests in flight per weight")
    }
}

/// The common case, over contiguous memory: the smallest count, the number of servers that have it, and a random one of
/// them. Each pass is a loop without branches that the compiler vectorises.
fn least_of_all(counts: &[u32], rng: &mut Rng) -> Option<u32> {
    const CHUNK: usize = 64;
    // Signed, because baseline x86-64 compares only signed integers in vectors; counts stay far below 2^31.
    let least = counts.iter().fold(i32::MAX, |least, &count| if (count as i32) < least { count as i32 } else { least });
    let with_least = |counts: &[u32]| counts.iter().map(|&count| u32::from(count as i32 == least)).sum::<u32>();
    let ties = with_least(counts);
    if ties == 0 {
        return None;
    }
    let mut which = if ties == 1 { 0 } else { rng.below(u64::from(ties)) as u32 };
    for (i, chunk) in counts.chunks(CHUNK).enumerate() {
        let here = with_least(chunk);
        if which < here {
            let mut tied = chunk.iter().enumerate().filter(|(_, count)| **count as i32 == least);
            return tied.nth(which as usize).map(|(at, _)| (i * CHUNK + at) as u32);
        }
        which -= here;
    }
    None
}

/// Compares requests per weight of `a` and `b`, cross-multiplied: exact, and no division.
fn compare(fleet: &Fleet, a: u32, b: u32) -> Ordering {
    let count = |slot: u32| u64::from(fleet.in_flight()[slot as usize]);
    (count(a) * u64::from(fleet.weight(b))).cmp(&(count(b) * u64::from(fleet.weight(a))))
}

fn first_of_least(request: &Request<'_>, fleet: &Fleet) -> Option<u32> {
    let mut few = [0; LINEAR_SCAN_MAX];
    match fleet.load_index().and_then(|index| Some((index, beyond_limits(request, fleet, index, &mut few)?))) {
        Some((index, excluded)) => index.slot(fleet.in_flight(), excluded, index.least(fleet.in_flight(), excluded), 0),
        None => {
            candidates(request, fleet).reduce(|best, slot| if compare(fleet, slot, best).is_lt() { slot } else { best })
        }
    }
}

/// Any weights, any eligibility: one of the least loaded, drawn in proportion to weight. Small fleets are scanned once, with a
/// draw for each tie; in large ones all ties are known before the one draw.
pub(super) fn least_of_candidates(request: &Request<'_>, cx: &mut Context<'_>) -> Option<u32> {
    let fleet = cx.fleet;
    if fleet.eligible().len() > SCAN_MAX {
        return least_of_many(request, cx);
    }
    let mut best: Option<u32> = None;
    let mut tied_weight = 0;
    for slot in candidates(request, fleet) {
        let weight = u64::from(fleet.weight(slot));
        match best.map_or(Ordering::Less, |best| compare(fleet, slot, best)) {
            Ordering::Less => (best, tied_weight) = (Some(slot), weight),
            Ordering::Equal => {
                tied_weight += weight;
                if cx.rng.below(tied_weight) < weight {
                    best = Some(slot);
                }
            }
            Ordering::Greater => {}
        }
    }
    best
}

/// By the fleet's index, or without one in two scans that make the same draw and the same pick.
fn least_of_many(request: &Request<'_>, cx: &mut Context<'_>) -> Option<u32> {
    let fleet = cx.fleet;
    let mut few = [0; LINEAR_SCAN_MAX];
    if let Some(index) = fleet.load_index()
        && let Some(excluded) = beyond_limits(request, fleet, index, &mut few)
    {
        let least = index.least(fleet.in_flight(), excluded);
        return index.slot(fleet.in_flight(), excluded, least, draw_place(least, cx)?);
    }
    let load = |slot: u32| Least::of(fleet.in_flight()[slot as usize], fleet.weight(slot));
    let least = candidates(request, fleet).fold(Least::NONE, |least, slot| least.or(load(slot)));
    let mut place = draw_place(least, cx)?;
    candidates(request, fleet).filter(|&slot| least.is_load_of(load(slot))).find(|&slot| {
        let weight = u64::from(fleet.weight(slot));
        let found = place < weight;
        place = place.wrapping_sub(weight);
        found
    })
}

/// A place among the least loaded, each of which has as many as its weight; `None` where there is no server. Equal weights
/// count as one: then this is the draw of [`least_of_all`].
fn draw_place(least: Least, cx: &mut Context<'_>) -> Option<u64> {
    let weight = u64::from(least.weight());
    match least.tied() {
        0 => None,
        tied if tied == weight => Some(0),
        tied if cx.fleet.uniform() => Some(cx.rng.below(tied / weight) * weight),
        tied => Some(cx.rng.below(tied)),
    }
}

/// The slots in the index that a request excludes, sorted; `None` if they are too many for the index. Servers at their limits
/// are not in the index: they are excluded anyway.
fn beyond_limits<'a>(
    request: &Request<'_>,
    fleet: &Fleet,
    index: &LoadIndex,
    few: &'a mut [u32; LINEAR_SCAN_MAX],
) -> Option<&'a [u32]> {
    // The servers at their limits are in the list, each once.
    if request.excluded.len() == fleet.at_limit() {
        return Some(&[]);
    }
    let mut len = 0;
    for &slot in request.excluded.iter().filter(|&&slot| index.holds(slot)) {
        *few.get_mut(len)? = slot;
        len += 1;
    }
    few[..len].sort_unstable();
    Some(&few[..len])
}
