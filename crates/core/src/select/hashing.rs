//! Shared by hash strategies: the part of a request that is hashed, and the hash: xxHash64, as in Envoy, gRPC and Caddy.
//! nginx's own strategies keep nginx's CRC-32.

use std::net::IpAddr;

use twox_hash::XxHash64;

use super::{Request, candidates};
use crate::fleet::Fleet;
use crate::rng::{GOLDEN, mix};

/// The part of a request that is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum On {
    /// The client's address, as bytes (nginx's `$binary_remote_addr`).
    Client,
    /// The path of the URL.
    Path,
    /// The key by which caches are addressed.
    Key,
}

/// What happens to the keys of an unhealthy server that has not left, in hashes that number the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "config",
    derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema),
    serde(rename_all = "snake_case")
)]
pub enum Down {
    /// It keeps its number, and its keys are hashed again: no other keys move.
    Rehash,
    /// Servers are numbered without it, as if it had left, until it is healthy again.
    Remap,
}

impl On {
    /// Passes the bytes that are hashed to `hash`.
    #[inline]
    pub(super) fn of<T>(self, request: &Request<'_>, hash: impl FnOnce(&[u8]) -> T) -> T {
        match (self, request.client) {
            (On::Key, _) => hash(request.key),
            (On::Path, _) => hash(request.path.as_bytes()),
            (On::Client, IpAddr::V4(address)) => hash(&address.octets()),
            (On::Client, IpAddr::V6(address)) => hash(&address.octets()),
        }
    }

    /// The request's hash.
    #[inline]
    pub(super) fn hash(self, request: &Request<'_>) -> u64 {
        self.of(request, |bytes| hash64(bytes, 0))
    }
}

/// xxHash64.
#[inline]
pub(super) fn hash64(bytes: &[u8], seed: u64) -> u64 {
    XxHash64::oneshot(seed, bytes)
}

/// A hash of a key's hash and a server's hash: 64 uniform bits for the pair.
#[inline]
pub(super) fn pair(key: u64, server: u64) -> u64 {
    mix(key ^ server)
}

/// The hash of each slot's name, by slot; zero for a slot without a server.
pub(super) fn names(fleet: &Fleet) -> Vec<u64> {
    let mut hashes = vec![0; fleet.slots()];
    for slot in fleet.members() {
        hashes[slot as usize] = hash64(fleet.name(slot).as_bytes(), 0);
    }
    hashes
}

/// The server of a key after too many failed attempts of the strategy's own search: the candidate with the highest combined
/// hash with the key, weights ignored. O(n), and spread over all servers.
#[cold]
pub(super) fn last_resort(request: &Request<'_>, fleet: &Fleet, key: u64) -> Option<u32> {
    candidates(request, fleet).max_by_key(|&slot| (pair(key, u64::from(slot + 1).wrapping_mul(GOLDEN)), slot))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test values of xxHash64: the empty input with seed 0, and "abc".
    #[test]
    fn the_hash_is_xxhash64() {
        assert_eq!(hash64(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(hash64(b"abc", 0), 0x44bc_2cf5_ad77_0999);
    }
}
