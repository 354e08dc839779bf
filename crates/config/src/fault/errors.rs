//! Errors: the server answers a share of its requests with an error, fast.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Fault};
use evenkeel_core::units::{Nanos, Ratio};

/// A share of the requests is answered with an error, without waiting in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Errors {
    /// Share of the requests, chosen at random, at most 100 %; default 100 %.
    #[serde(default = "all")]
    pub share: Ratio,
    /// Time from arrival to the error; default 1 ms.
    #[serde(default = "one_millisecond")]
    pub latency: Nanos,
    /// Health checks fail, too; default false.
    #[serde(default)]
    pub fails_checks: bool,
}

impl Fault for Errors {
    fn check(&self) -> Result<(), String> {
        match self.share.0 > 1.0 {
            true => Err("`share` is a share of the requests: at most 100 %".to_owned()),
            false => Ok(()),
        }
    }
    fn apply(&self, condition: &mut Condition) {
        (condition.error_ratio, condition.error_latency, condition.fails_checks) =
            (self.share.0, self.latency, self.fails_checks);
    }
    fn label(&self) -> String {
        format!("{} % errors", (self.share.0 * 100.0).round())
    }
}

fn all() -> Ratio {
    Ratio(1.0)
}

fn one_millisecond() -> Nanos {
    Nanos::from_millis(1)
}
