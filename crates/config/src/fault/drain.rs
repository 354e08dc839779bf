//! A drain: the server asks for no new requests and finishes those that it has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Fault};

/// The server is taken out of service in an orderly way, as for a deploy: balancers send it nothing new, it finishes what it
/// has, and it returns with an empty cache.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Drain {}

pub(super) const NEEDS_ADMIN: &str =
    "faults that drain or deploy: request a drain at the proxy's admin listener instead";

impl Fault for Drain {
    fn apply(&self, condition: &mut Condition) {
        condition.draining = true;
    }
    fn label(&self) -> String {
        "deploy".to_owned()
    }
    fn unsupported_over_sockets(&self) -> Option<&'static str> {
        Some(NEEDS_ADMIN)
    }
}
