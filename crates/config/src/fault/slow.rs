//! A slowdown: service takes several times as long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Fault};

/// The largest slowdown or speed-up of a server, all faults together. Within this bound no work is lost to rounding.
pub const MAX_SLOWDOWN: f64 = 1e6;

/// Service takes longer by a factor. Requests in service at the begin or end of the fault change speed at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Slow {
    /// How many times longer, from 1e-6 to 1e6; below 1 is faster. Factors of overlapping faults multiply.
    pub factor: f64,
}

impl Fault for Slow {
    fn check(&self) -> Result<(), String> {
        const MIN: f64 = 1.0 / MAX_SLOWDOWN;
        match (MIN..=MAX_SLOWDOWN).contains(&self.factor) {
            true => Ok(()),
            false => Err(format!("`factor` must be from {MIN} to {MAX_SLOWDOWN}")),
        }
    }
    fn apply(&self, condition: &mut Condition) {
        condition.slowdown = (condition.slowdown * self.factor).clamp(1.0 / MAX_SLOWDOWN, MAX_SLOWDOWN);
    }
    fn label(&self) -> String {
        format!("{}× slower", self.factor)
    }
}
