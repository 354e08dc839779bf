//! Consistent hash: a ring of points (ketama); a key belongs to the next point on the ring. Variant: nginx `hash KEY
//! consistent`, point for point: 160 points per unit of weight, CRC-32 chained over `host NUL port previous`, CRC-32
//! of the key; an ineligible server passes the key to the next point of the ring.

use crate::fleet::{Change, Fleet};
use crate::rng::Rng;
use crate::select::catalog::{self, Doc, Family};
use crate::select::smooth::Smooth;
use crate::select::{Context, Explanation, Pick, Request, Selector};

pub use crate::select::hashing::On;

/// The ring.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(deny_unknown_fields, default)
)]
pub struct Params {
    /// The part of the request that is hashed.
    pub hash_on: On,
    /// Points on the ring per unit of weight, 1 to 4096. More points make shares more even.
    pub points: u32,
}

impl Default for Params {
    fn default() -> Params {
        Params { hash_on: On::Key, points: 160 }
    }
}

pub(super) const DOC: Doc = Doc {
    title: "Consistent hash (ring)",
    family: Family::Hash,
    aliases: &[
        "ring_hash",
        "ring_hash_experimental",
        "ketama",
        "ring",
        "ch",
        "chash",
        "consistent",
        "consistent_hashing",
        "hash_consistent",
    ],
    near: &[],
    variant: "nginx `hash KEY consistent` (ketama with CRC-32, 160 points per weight; requests without a key go \
              round robin). nginx goes round robin after 21 points in a row of ineligible servers; this one walks on",
    idea: "Every server owns many small arcs of a circle, and a key belongs to the arc it falls on. All requests for \
           a key go to one server, whose cache holds that key and few others. When one of n servers leaves, only its \
           own keys move, about 1/n of them.",
    formula: "server = owner of the first point >= crc32(key); points of a server: h_j = crc32(host, 0, port, h_(j-1))",
    source: "Karger et al., STOC 1997; nginx, ngx_http_upstream_hash_module.c (ketama, Last.fm 2007)",
    cost: "O(log(n * points)), and a step along the ring for each point of an ineligible server",
    fails: "Arcs are uneven (standard deviation about 7 % of a share with 160 points) and keys more so: a hot key \
            overloads its server. It ignores load.",
    scenario: "cache-affinity",
    fails_in: "hot-client",
    weighted: true,
};

impl catalog::Params for Params {
    fn check(&self) -> Result<(), String> {
        match self.points {
            1..=4096 => Ok(()),
            n => Err(format!("`points` is {n}: it must be from 1 to 4096")),
        }
    }

    fn build(&self, _rng: &mut Rng) -> Box<dyn Selector> {
        Box::new(ConsistentHash { params: self.clone(), ring: Ring::default(), smooth: Smooth::default() })
    }
}

struct ConsistentHash {
    params: Params,
    ring: Ring,
    smooth: Smooth,
}

impl Selector for ConsistentHash {
    fn is_silent(&self) -> bool {
        true
    }

    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let hash = self.params.hash_on.of(request, |key| (!key.is_empty()).then(|| crc32fast::hash(key)));
        let Some(hash) = hash else { return self.smooth.next(request, cx.fleet).and_then(|slot| cx.pick(slot)) };
        let able = |slot: u32| cx.fleet.is_eligible(slot) && !request.excludes(slot);
        cx.pick(self.ring.first(hash, able)?)
    }

    fn on_fleet(&mut self, changes: &[Change], cx: &mut Context<'_>) {
        self.smooth.on_fleet(changes, cx.fleet);
        self.ring.on_fleet(changes, cx.fleet, self.params.points);
    }

    fn explain(&self, request: &Request<'_>, cx: &mut Context<'_>) -> Explanation {
        let hash = self.params.hash_on.of(request, |key| (!key.is_empty()).then(|| crc32fast::hash(key)));
        let Some(hash) = hash else { return Explanation::default() };
        self.ring.explain(hash, |slot| cx.fleet.is_eligible(slot) && !request.excludes(slot))
    }
}

/// Points of every member, eligible or not, so that a server that is unhealthy for a while moves only its own keys.
#[derive(Default)]
pub(super) struct Ring {
    /// (hash, slot), ascending by hash.
    points: Vec<(u32, u32)>,
}

impl Ring {
    /// The points from `hash` on, once round, each with its slot. Neighbours may belong to the same.
    pub(super) fn from(&self, hash: u32) -> impl Iterator<Item = u32> + '_ {
        let start = self.points.partition_point(|&(point, _)| point < hash);
        self.points[start..].iter().chain(&self.points[..start]).map(|&(_, slot)| slot)
    }

    /// The ring, and the position of `hash` on it.
    pub(super) fn explain(&self, hash: u32, able: impl Fn(u32) -> bool) -> Explanation {
        let position = |hash: u32| f64::from(hash) / 4_294_967_296.0;
        let points = self.points.iter().map(|&(hash, slot)| (position(hash), slot)).collect();
        Explanation::ring(position(hash), points, able)
    }

    /// The first candidate on the ring from `hash` on.
    #[inline]
    pub(super) fn first(&self, hash: u32, mut will_do: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut last = u32::MAX;
        self.from(hash).find(|&slot| {
            let new = slot != last;
            last = slot;
            new && will_do(slot)
        })
    }

    pub(super) fn on_fleet(&mut self, changes: &[Change], fleet: &Fleet, points: u32) {
        let stays = |change: &Change| matches!(change, Change::Up(_) | Change::Down(_));
        if !changes.iter().all(stays) {
            self.points = ketama(fleet, points);
        }
    }
}

/// A ring with more points than this is thinned out in proportion: 16 MiB are enough for any fleet.
const MOST_POINTS: u64 = 1 << 21;

/// Splits host and port as nginx does: the text after the last colon is a port if it is a number; a socket's path has none.
fn host_and_port(name: &str) -> (&str, &str) {
    const UNIX: &str = "unix:";
    if let Some((_, path)) = name.split_at_checked(UNIX.len()).filter(|(start, _)| start.eq_ignore_ascii_case(UNIX)) {
        return (path, "");
    }
    let number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    name.rsplit_once(':').filter(|(_, port)| number(port)).unwrap_or((name, ""))
}

/// The ring as nginx builds it.
fn ketama(fleet: &Fleet, points: u32) -> Vec<(u32, u32)> {
    let wanted = |slot: u32| u64::from(points) * u64::from(fleet.weight(slot));
    let total: u64 = fleet.members().map(wanted).sum();
    let allowed = |slot: u32| match wanted(slot) {
        n if total <= MOST_POINTS || n == 0 => n,
        n => (n as u128 * MOST_POINTS as u128 / total as u128).max(1) as u64,
    };
    let mut ring = Vec::new();
    for slot in fleet.members() {
        let name = fleet.name(slot);
        let (host, port) = host_and_port(name);
        let mut base = crc32fast::Hasher::new();
        base.update(host.as_bytes());
        base.update(&[0]);
        base.update(port.as_bytes());
        let mut previous = 0_u32;
        for _ in 0..allowed(slot) {
            let mut chained = base.clone();
            chained.update(&previous.to_le_bytes());
            previous = chained.finalize();
            ring.push((previous, slot));
        }
    }
    ring.sort_unstable();
    ring.dedup_by_key(|&mut (hash, _)| hash);
    ring
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_as_in_nginx() {
        for (name, host, port) in [
            ("10.0.0.1:80", "10.0.0.1", "80"),
            ("web-1", "web-1", ""),
            ("[2001:db8::1]:443", "[2001:db8::1]", "443"),
            ("[2001:db8::1]", "[2001:db8::1]", ""),
            ("a:b", "a:b", ""),
            ("unix:/run/app.sock", "/run/app.sock", ""),
            ("UNIX:/run/a:1", "/run/a:1", ""),
        ] {
            assert_eq!(host_and_port(name), (host, port), "{name}");
        }
    }
}
