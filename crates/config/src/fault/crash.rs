//! A crash: the server is down, and its requests and cache are lost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Fault};

/// The server or balancer is down: everything in it is lost, and it refuses connections. It returns with an empty cache.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Crash {
    /// Requests get no answer at all, instead of a refusal; default false.
    #[serde(default)]
    pub silent: bool,
}

impl Fault for Crash {
    fn apply(&self, condition: &mut Condition) {
        (condition.up, condition.silent) = (false, self.silent);
    }
    fn label(&self) -> String {
        if self.silent { "silent crash" } else { "crash" }.to_owned()
    }
    fn loses_requests(&self) -> bool {
        true
    }
    fn strikes_balancers(&self) -> bool {
        true
    }
}
