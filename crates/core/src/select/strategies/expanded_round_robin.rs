//! Round robin over an expanded list: every server stands in the list as often as its weight says, and the list is
//! read in turn. Variants: Pingora's and Caddy's, which lose correct shares when a server is down; and one that keeps
//! them.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::upcoming;
use crate::select::rotation::Runs;
use crate::select::{Context, Explanation, Pick, Request, Selector, candidates, draw_excluding};

/// What happens when the server whose turn it is cannot be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Fallback {
    /// The list contains only eligible servers, so shares stay right.
    Weighted,
    /// Pingora: the next of all servers, weights ignored; each attempt moves the same counter.
    Pingora,
    /// Caddy: the n-th of the eligible servers for the n-th of all, so that a server gets the weight of its
    /// neighbour.
    Caddy,
}

/// How ineligible servers are skipped.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// What happens when the server whose turn it is cannot be picked.
    pub fallback: Fallback,
}

impl Default for Params {
    fn default() -> Params {
        Params { fallback: Fallback::Weighted }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Weighted round robin (expanded list)",
    family: Family::RoundRobin,
    aliases: &["expanded_list", "static_rr", "pingora_round_robin", "caddy_weighted_round_robin"],
    near: &[],
    variant: "the list of Pingora and Caddy, stored as running sums. By default it contains only eligible servers, \
              which neither product does; `fallback` selects theirs (Pingora's with the heaviest first, as one of \
              its versions has it; others sort by address)",
    idea: "Repeat every server in a list as often as its weight says and read the list in turn. Exact over a whole \
           list, and bursty: a weight of five is five requests in a row. It is here to show that, and what goes \
           wrong in other products' lists when a server is down.",
    formula: "server = list[counter++ mod sum of weights]; the list has weight_i entries of i, one after the other",
    source: "Pingora, pingora-load-balancing/src/selection/weighted.rs; Caddy, reverseproxy/selectionpolicies.go",
    cost: "O(log n); past a server that is down O(n)",
    fails: "Bursts: a heavy server gets all its turns at once and then none, and these requests wait for each other. \
            As every fixed weight it ignores load.",
    scenario: "unlike-servers",
    fails_in: "weighted-bursts",
    weighted: true,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(Expanded { fallback: self.fallback, counter: 0, list: Runs::default() })
    }
}

#[derive(Clone)]
struct Expanded {
    fallback: Fallback,
    counter: u64,
    list: Runs,
}

/// Largest number of attempts in Pingora's variant: its callers set such a bound.
const ATTEMPTS: usize = 256;

impl Expanded {
    fn count(&mut self) -> u64 {
        let at = self.counter;
        self.counter = self.counter.wrapping_add(1);
        at
    }
}

impl Selector for Expanded {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let total = self.list.total();
        if total == 0 {
            return None;
        }
        let able = |slot: u32, fleet: &Fleet| fleet.is_eligible(slot) && !request.excludes(slot);
        let turn = self.count() % total;
        let slot = match self.fallback {
            Fallback::Caddy => {
                let left = candidates(request, cx.fleet).count();
                match left {
                    0 => return None,
                    n => candidates(request, cx.fleet).nth(self.list.index(turn) % n)?,
                }
            }
            _ if able(self.list.at(turn), cx.fleet) => self.list.at(turn),
            Fallback::Weighted => draw_excluding(request, &[], cx)?,
            Fallback::Pingora => {
                let mut found = None;
                for _ in 0..ATTEMPTS {
                    let turn = self.count() as usize;
                    let slots = self.list.slots();
                    let slot = slots[turn % slots.len()];
                    if able(slot, cx.fleet) {
                        found = Some(slot);
                        break;
                    }
                }
                found.or_else(|| candidates(request, cx.fleet).next())?
            }
        };
        cx.pick(slot)
    }

    fn on_fleet(&mut self, _changes: &[Change], cx: &mut Context<'_>) {
        match self.fallback {
            Fallback::Weighted => self.list.lay(cx.fleet.eligible().iter().copied(), cx.fleet),
            Fallback::Caddy => self.list.lay(cx.fleet.members(), cx.fleet),
            Fallback::Pingora => {
                let mut slots: Vec<u32> = cx.fleet.members().collect();
                slots.sort_by_key(|&slot| std::cmp::Reverse(cx.fleet.weight(slot)));
                self.list.lay(slots.into_iter(), cx.fleet);
            }
        }
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        upcoming(self.clone(), request, cx)
    }
}
