//! Session affinity by a cookie: a client returns to the server that served it first, as long as that server is healthy. A
//! draining server still serves its old sessions and gets no new ones.
//!
//! The cookie's value is a truncated SHA-256 of a secret and the server's name: the same on every balancer and after every
//! restart, without shared state, and clients cannot choose a server (Caddy uses an HMAC for this). The secret is hashed
//! after its length, so that different pairs of secret and name never give the same input.

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::catalog::{Doc, Host, Invalid, Issues, Policy};
use crate::fleet::{BackendId, Fleet};
use crate::units::{Nanos, hex};

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "sticky sessions",
    idea: "A cookie keeps a client at the server that served it first, as long as that server is healthy; a draining server keeps its old sessions.",
    source: "HAProxy (cookie), nginx (sticky cookie), Caddy (lb_policy cookie)",
    scenario: Some("sticky-sessions"),
};

/// How a client is kept at its server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Sticky"))]
pub struct Rules {
    /// Name of the cookie: letters, digits, `-`, `_` and the other characters of a token; default `"evenkeel"`.
    pub cookie: String,
    /// How long browsers keep the cookie, at least 1 s. `None`: until the browser is closed.
    pub max_age: Option<Nanos>,
    /// Secret that makes the cookie's values hard to guess; the same on all balancers. `None`: no secret.
    pub secret: Option<String>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { cookie: "evenkeel".to_owned(), max_age: None, secret: None }
    }
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        // RFC 6265: a cookie's name is a token.
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let sound = !self.cookie.is_empty() && self.cookie.bytes().all(token);
        let message = format!("`{}` cannot name a cookie", self.cookie);
        issues.require(sound, "cookie", message).help("use letters, digits, `-` and `_`");
        let sound = self.max_age.is_none_or(|age| age >= Nanos::from_secs(1));
        issues.require(sound, "max_age", "`max_age` must be at least 1s: cookies count in seconds");
    }

    fn unsupported(&self, host: Host) -> Option<Invalid> {
        let cookies = "`sticky`: the load generator keeps no cookies";
        (host == Host::Loopback).then(|| Invalid::new("", cookies).help("leave `sticky` out, or hash the client"))
    }
}

impl Rules {
    /// The cookie's value for a server: 32 hexadecimal digits.
    pub fn value(&self, server: &str) -> String {
        let secret = self.secret.as_deref().unwrap_or("");
        let mut hash = Sha256::new();
        hash.update((secret.len() as u64).to_le_bytes());
        hash.update(secret);
        hash.update(server);
        hex(&hash.finalize()[..16])
    }
}

/// Cookie values of a fleet's servers, by slot.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<String>);

impl Values {
    /// Adds the server of this slot.
    pub fn joined(&mut self, slot: u32, value: String) {
        let slot = slot as usize;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, String::new());
        }
        self.0[slot] = value;
    }

    /// The value for this slot.
    pub fn value(&self, slot: u32) -> Option<&str> {
        self.0.get(slot as usize).map(String::as_str)
    }

    /// The member that a cookie of this value names, healthy or not; `None` for a value that no member has.
    /// [`keeps_affinity`] says whether it may be used.
    pub fn find(&self, value: &str, fleet: &Fleet) -> Option<BackendId> {
        let slot = self.0.iter().position(|known| known == value && !known.is_empty())? as u32;
        Some(fleet.id(slot)).filter(|&id| fleet.is_current(id))
    }
}

/// Whether a server serves its existing sessions: it is a member and healthy, draining or not.
pub fn keeps_affinity(fleet: &Fleet, slot: u32) -> bool {
    fleet.is_healthy(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_published_hash_and_depend_on_the_secret() {
        let rules = Rules { cookie: "evenkeel".into(), max_age: None, secret: None };
        // Eight zero bytes and "web-1" through sha256sum, the first 32 digits.
        assert_eq!(rules.value("web-1"), "105ed8068d86aa536cf79b5be9972ca6");
        let with = |secret: &str| Rules { secret: Some(secret.into()), ..rules.clone() };
        assert_ne!(with("a").value("web-1"), rules.value("web-1"));
        assert_ne!(with("a").value("bc"), with("ab").value("c"));
    }

    #[test]
    fn a_draining_server_keeps_its_sessions_and_an_unhealthy_one_does_not() {
        let rules = Rules { cookie: "evenkeel".into(), max_age: None, secret: Some("s".into()) };
        let mut fleet = Fleet::of_weights(&[1, 1]);
        let mut values = Values::default();
        (0..2).for_each(|slot| values.joined(slot, rules.value(fleet.name(slot))));
        let find = |fleet: &Fleet| {
            let id = values.find(&rules.value("s1"), fleet)?;
            keeps_affinity(fleet, id.slot).then_some(id.slot)
        };
        assert_eq!(find(&fleet), Some(1));
        fleet.set_draining(fleet.id(1), true);
        assert_eq!(find(&fleet), Some(1));
        fleet.set_healthy(fleet.id(1), false);
        assert_eq!(find(&fleet), None);
        assert_eq!(values.find("", &fleet), None);
        assert_eq!(values.find("web-1", &fleet), None, "names are no values");
        fleet.leave(fleet.id(0));
        assert_eq!(values.find(&rules.value("s0"), &fleet), None);
    }
}
