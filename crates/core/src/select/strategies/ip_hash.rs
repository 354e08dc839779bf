//! IP hash: the client's address selects the server, so a client keeps its server. Variant: nginx `ip_hash`, bit for
//! bit: modulus 6271, the first three octets of IPv4 or all of IPv6, up to twenty rehashes past ineligible servers,
//! then round robin.

use std::net::IpAddr;

use crate::fleet::Change;
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::rotation::Runs;
use crate::select::smooth::Smooth;
use crate::select::{Context, Explanation, Pick, Request, Selector};

/// How much of the address counts.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// Octets of an IPv4 address that are hashed, 1 to 4. nginx hashes 3, so a client whose address changes within a
    /// /24 keeps its server.
    pub octets: usize,
}

impl Default for Params {
    fn default() -> Params {
        Params { octets: 3 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "IP hash",
    family: Family::Hash,
    aliases: &["nginx_ip_hash"],
    near: &[
        (
            "source",
            "HAProxy's hashes the whole address into a map by weight; this is nginx's hash, of an IPv4 address's first three octets",
        ),
        (
            "source_hash",
            "products hash addresses each in its own way; this is nginx's hash, of an IPv4 address's first three octets",
        ),
        (
            "source_ip",
            "products hash addresses each in its own way; this is nginx's hash, of an IPv4 address's first three octets",
        ),
        (
            "client_ip",
            "products hash addresses each in its own way; this is nginx's hash, of an IPv4 address's first three octets",
        ),
        (
            "client_ip_hash",
            "Caddy's ranks servers by their hashes with the address, as `rendezvous` does; this is nginx's hash",
        ),
        (
            "sh",
            "IPVS's looks the whole address up in a table of 256 places; this is nginx's hash, of an IPv4 address's first three octets",
        ),
    ],
    variant: "nginx `ip_hash`: 113-multiplier hash modulo 6271 over the first three octets of IPv4 or all of IPv6. \
              An ineligible server is passed by hashing again, up to 20 times, then by smooth round robin",
    idea: "The same client address always leads to the same server, which has its data cached and its session. No \
           state, no cookie. The load is as even as the addresses are.",
    formula: "h := (h * 113 + octet) mod 6271 over the octets, from h = 89; server by h mod sum of weights",
    source: "nginx, src/http/modules/ngx_http_upstream_ip_hash_module.c",
    cost: "O(log n)",
    fails: "One address can be a thousand users (an office, a proxy, a mobile network): their server gets all of \
            them. Adding a server moves nearly every client, as with any hash by modulus. It ignores load.",
    scenario: "cache-affinity",
    fails_in: "hot-client",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match self.octets {
            1..=4 => Ok(()),
            n => Err(format!("`octets` is {n}: it must be from 1 to 4")),
        }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(IpHash { octets: self.octets, members: Runs::default(), smooth: Smooth::default() })
    }
}

struct IpHash {
    octets: usize,
    /// Every member, eligible or not, so that a server that is unhealthy for a while moves only its own clients.
    members: Runs,
    smooth: Smooth,
}

/// One round of nginx's hash over the bytes, from `hash`.
fn rehash(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash * 113 + u64::from(byte)) % 6271)
}

/// The hashes of an address, one for each attempt.
#[inline]
fn hashes(client: IpAddr, octets: usize) -> impl Iterator<Item = u64> {
    const ATTEMPTS: usize = 21;
    let mut bytes = [0; 16];
    let length = match client {
        IpAddr::V4(address) => {
            bytes[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => {
            bytes = address.octets();
            bytes.len()
        }
    };
    let mut hash = 89;
    (0..ATTEMPTS).map(move |_| {
        hash = rehash(hash, &bytes[..length]);
        hash
    })
}

impl Selector for IpHash {
    fn is_silent(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let total = self.members.total();
        if total == 0 {
            return None;
        }
        for hash in hashes(request.client, self.octets) {
            let point = hash % total;
            let slot = self.members.at(point);
            if cx.fleet.is_eligible(slot) && !request.excludes(slot) {
                return cx.pick(slot);
            }
        }
        let slot = self.smooth.next(request, cx.fleet)?;
        cx.pick(slot)
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.smooth.on_fleet(changes, cx.fleet);
        self.members.lay(cx.fleet.members(), cx.fleet);
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let total = self.members.total();
        let found = hashes(request.client, self.octets).map(|hash| hash % total.max(1));
        let able = |slot: u32| cx.fleet.is_eligible(slot) && !request.excludes(slot);
        match found.filter(|_| total > 0).find(|&place| able(self.members.at(place))) {
            Some(place) => Explanation::table(total, place, |place| self.members.at(place)),
            None => Explanation::default(),
        }
    }
}
