//! Modulo hash: the key's hash modulo the sum of the weights. Variant: nginx `hash KEY` without `consistent`, bit for
//! bit: 15 bits of CRC-32, summed over up to twenty rehashes past ineligible servers, then round robin.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::hashing::{Down, On};
use crate::select::rotation::Runs;
use crate::select::smooth::Smooth;
use crate::select::{Context, Explanation, Pick, Request, Selector};

/// What is hashed.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// The part of the request that is hashed.
    pub hash_on: On,
    /// What happens to the keys of an unhealthy server that has not left.
    pub on_unhealthy: Down,
}

impl Default for Params {
    fn default() -> Params {
        Params { hash_on: On::Key, on_unhealthy: Down::Rehash }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Modulo hash",
    family: Family::Hash,
    aliases: &["hash", "mod_hash", "hash_mod", "generic_hash"],
    near: &[
        (
            "uri",
            "HAProxy's hashes the URI into a map by weight: `on_unhealthy = \"remap\"` here, by nginx's hash; in the proxy write key = \"uri\"",
        ),
        ("map_based", "HAProxy's map is `on_unhealthy = \"remap\"` here, by nginx's hash"),
        ("dh", "IPVS's goes by the address that is asked for; here it is the request's key"),
    ],
    variant: "nginx `hash KEY`: bits 16 to 30 of CRC-32; an ineligible server is passed by hashing again with the \
              number of the attempt in front, up to 20 times, then by smooth round robin; an empty key goes round \
              robin at once. With `on_unhealthy = \"remap\"` servers are counted as in HAProxy's map (`hash-type \
              map-based`), with nginx's hash",
    idea: "The remainder of the hash by the number of servers: nothing is simpler and nothing divides keys more \
           evenly, and while the fleet stays the same every key has its server.",
    formula: "h += (crc32([attempt] key) >> 16) & 0x7fff; server by h mod sum of weights",
    source: "nginx, src/http/modules/ngx_http_upstream_hash_module.c, ngx_http_upstream_get_hash_peer",
    cost: "O(log n)",
    fails: "One server more or less, or one changed weight, and (n - 1)/n of all keys belong to another server: \
            every cache is cold at once (`on_unhealthy = \"remap\"` shows it). With more than 32768 units of weight \
            the last servers get nothing. It ignores load.",
    scenario: "cache-affinity",
    fails_in: "hash-deploy",
    weighted: true,
};

impl catalog::Params for Params {
    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(ModuloHash { params: self.clone(), members: Runs::default(), smooth: Smooth::default() })
    }
}

struct ModuloHash {
    params: Params,
    /// Every member, eligible or not, so that a server that is unhealthy for a while moves only its own keys; with "remap" only eligible ones.
    members: Runs,
    smooth: Smooth,
}

/// Rehashes before the fallback to round robin.
const REHASHES: u8 = 20;

/// Bytes that attempt number `attempt` adds to the hash: the attempt as a decimal number (except the first) and the key.
fn part(attempt: u8, key: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if attempt >= 10 {
        crc.update(&[b'0' + attempt / 10]);
    }
    if attempt > 0 {
        crc.update(&[b'0' + attempt % 10]);
    }
    crc.update(key);
    (crc.finalize() >> 16) & 0x7fff
}

impl ModuloHash {
    /// The place in the list of the first attempt that finds a candidate.
    #[inline]
    fn place(&self, request: &Request<'_>, fleet: &Fleet) -> Option<u64> {
        let total = self.members.total();
        self.params.hash_on.of(request, |key| {
            let mut hash = 0_u32;
            let attempts = if key.is_empty() || total == 0 { 0 } else { REHASHES + 1 };
            (0..attempts).find_map(|attempt| {
                hash += part(attempt, key);
                let place = u64::from(hash) % total;
                let slot = self.members.at(place);
                (fleet.is_eligible(slot) && !request.excludes(slot)).then_some(place)
            })
        })
    }
}

impl Selector for ModuloHash {
    fn is_silent(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        if self.members.total() == 0 {
            return None;
        }
        let slot = match self.place(request, cx.fleet) {
            Some(place) => self.members.at(place),
            None => self.smooth.next(request, cx.fleet)?,
        };
        cx.pick(slot)
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.smooth.on_fleet(changes, cx.fleet);
        match self.params.on_unhealthy {
            Down::Rehash => self.members.lay(cx.fleet.members(), cx.fleet),
            Down::Remap => self.members.lay(cx.fleet.eligible().iter().copied(), cx.fleet),
        }
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        match self.place(request, cx.fleet) {
            Some(place) => Explanation::table(self.members.total(), place, |place| self.members.at(place)),
            None => Explanation::default(),
        }
    }
}
