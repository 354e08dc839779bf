//! DxHash: more numbered places than servers; a key draws numbers from its own sequence until it hits an occupied
//! place. Preferred to AnchorHash, which serves the same purpose: AnchorHash's state depends on the order in which
//! servers left, so two balancers agree only if they saw the same changes. Here the present fleet alone decides, and
//! the places are the slots of the fleet.

use crate::fleet::Change;
use crate::rng::{GOLDEN, Rng};
use crate::select::catalog::{self, Doc, Family};
use crate::select::explain::NO_SLOT;
use crate::select::hashing::{On, last_resort, pair};
use crate::select::{Context, Explanation, Pick, Request, Selector};

/// The places.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// The part of the request that is hashed.
    pub hash_on: On,
    /// Places per server at the start, 1 to 64, rounded up to a power of two in all: how far the fleet can grow
    /// before the places must double, which moves half of the keys. A pick draws places / servers numbers on average.
    pub room: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params { hash_on: On::Key, room: 2 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "DxHash",
    family: Family::Hash,
    aliases: &["dx"],
    near: &[
        ("anchor_hash", "AnchorHash is another algorithm to the same end"),
        ("anchor", "AnchorHash is another algorithm to the same end"),
    ],
    variant: "Dong and Wang's, without weights. A place is the slot that a server has in its fleet, and an \
              ineligible server is an empty place. After 16 times the mean number of draws the key goes to any \
              server, by its hash",
    idea: "Number more places than there are servers, and leave some empty. A key draws places at random, always in \
           the same sequence, and stays at the first occupied one. When a server leaves, its keys draw on and spread \
           over all; when one joins, it takes keys from all. One bit of memory per place, no ring, no table.",
    formula: "for j = 1, 2, ...: place = mix(h(key) xor j g) mod places; the first that has an eligible server (g: \
              the golden ratio's 64 bits)",
    source: "Dong and Wang, arXiv:2107.07930, 2021; compare Mendelson et al., AnchorHash, IEEE/ACM ToN 29(2), 2021",
    cost: "O(places / servers) draws",
    fails: "Servers are numbered and not named, as in jump hash. Outgrowing the places moves half of the keys at \
            once, and a fleet that has shrunk much needs many draws. It ignores load.",
    scenario: "cache-affinity",
    fails_in: "hot-keys",
    weighted: false,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match self.room {
            1..=64 => Ok(()),
            n => Err(format!("`room` is {n}: it must be from 1 to 64")),
        }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(DxHash { params: self.clone(), places: 0, draws: 0 })
    }
}

struct DxHash {
    params: Params,
    /// Number of places: a power of two, or zero before the first server.
    places: u64,
    /// Largest number of draws per pick.
    draws: u64,
}

impl DxHash {
    /// The places that a request's key draws.
    #[inline]
    fn draws(&self, request: &Request<'_>) -> impl Iterator<Item = u64> + use<> {
        // The low bits: after a doubling every second draw is at the same place as before.
        let (hash, mask) = (self.params.hash_on.hash(request), self.places.saturating_sub(1));
        (1..=self.draws).map(move |j| pair(hash, j.wrapping_mul(GOLDEN)) & mask)
    }
}

impl Selector for DxHash {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let hash = self.params.hash_on.hash(request);
        let able = |&slot: &u32| cx.fleet.is_eligible(slot) && !request.excludes(slot);
        let slot = match self.draws(request).map(|place| place as u32).find(able) {
            Some(slot) => slot,
            None => last_resort(request, cx.fleet, hash)?,
        };
        cx.pick(slot)
    }

    fn on_fleet(&mut self, _changes: &[Change], cx: &mut Context<'_>) {
        let slots = cx.fleet.slots() as u64;
        if slots > self.places {
            let room = if self.places == 0 { u64::from(self.params.room) } else { 1 };
            self.places = (slots * room).next_power_of_two();
        }
        self.draws = 16 * self.places / cx.fleet.eligible().len().max(1) as u64;
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let able = |place: &u64| cx.fleet.is_eligible(*place as u32) && !request.excludes(*place as u32);
        let found = self.draws(request).find(able);
        found.map_or_else(Explanation::default, |place| {
            let slot = |place: u64| if cx.fleet.is_eligible(place as u32) { place as u32 } else { NO_SLOT };
            Explanation::table(self.places, place, slot)
        })
    }
}
