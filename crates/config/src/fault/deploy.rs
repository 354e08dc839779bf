//! A deploy: the server drains and is then down while it restarts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Crash, Drain, Fault, Step, drain};
use evenkeel_core::units::Nanos;

/// A new version is deployed: the server is drained for `drain`, then stopped with whatever is still in it, and started again
/// after `restart`, with an empty cache. Without `stagger` each group of servers follows when the one before is back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Deploy {
    /// Time for requests under way to finish; nothing new is sent meanwhile.
    pub drain: Nanos,
    /// Time from stop to start; above zero.
    pub restart: Nanos,
}

impl Fault for Deploy {
    fn check(&self) -> Result<(), String> {
        match self.restart == Nanos::ZERO {
            true => Err("`restart` must be above zero".to_owned()),
            false => Ok(()),
        }
    }
    /// Its steps are what is active.
    fn apply(&self, _: &mut Condition) {}
    fn label(&self) -> String {
        "deploy".to_owned()
    }
    fn unsupported_over_sockets(&self) -> Option<&'static str> {
        Some(drain::NEEDS_ADMIN)
    }
    fn steps(&self) -> Option<Vec<Step>> {
        let Deploy { drain, restart } = *self;
        let stopped = Crash { silent: false }.into();
        Some(vec![
            Step { after: drain, lasts: restart, kind: stopped, label: "restart" },
            Step { after: Nanos::ZERO, lasts: drain + restart, kind: Drain {}.into(), label: "deploy" },
        ])
    }
}
