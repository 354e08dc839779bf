//! Cookie stickiness: a client comes back to the server that served it first, as long as that one is healthy. A draining
//! server still serves its old sessions and gets no new ones.
//!
//! The cookie does not tell the server's name but a truncated SHA-256 of a secret and the name: the same on every
//! balancer and after every restart, nothing to be shared, and nobody outside who can choose a server (Caddy does
//! likewise with an HMAC). The secret comes behind its length, so that no two pairs of secret and name give one text.

use sha2::{Digest, Sha256};

use crate::fleet::{BackendId, Fleet};
use crate::units::{Nanos, hex};

/// How clients stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Name of the cookie.
    pub cookie: String,
    /// How long browsers keep it; for the session unless given.
    pub max_age: Option<Nanos>,
    /// What makes values hard to guess.
    pub secret: Option<String>,
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

/// The values of a fleet's servers, by slot.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<String>);

impl Values {
    /// A server has come into this slot.
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

    /// The member that a cookie of this value names, healthy or not; `None` for a value that no member has. Whether it may
    /// be used is for [`keeps_affinity`] to say.
    pub fn find(&self, value: &str, fleet: &Fleet) -> Option<BackendId> {
        let slot = self.0.iter().position(|known| known == value && !known.is_empty())? as u32;
        Some(fleet.id(slot)).filter(|&id| fleet.is_current(id))
    }
}

/// Whether a server keeps its old sessions: it is there and healthy, draining or not.
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
    fn a_draining_server_keeps_its_sessions_and_a_dead_one_does_not() {
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
