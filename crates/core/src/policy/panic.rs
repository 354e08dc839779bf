//! Panic threshold: with too few healthy servers, those that are left would be overloaded by all requests. Below the
//! threshold health is ignored, and every server counts as healthy (Envoy's panic mode).

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};

use super::catalog::{Doc, Issues, Policy};
#[cfg(feature = "config")]
use crate::units::Ratio;

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "panic threshold",
    idea: "With a smaller share of healthy servers than this, ignores health: requests to servers that fail are lost, but the healthy rest is not overloaded by the load of all.",
    source: "Envoy's healthy_panic_threshold (50 % by default there)",
    scenario: Some("panic"),
};

/// Share of healthy servers below which health is ignored: above 0, at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(transparent))]
#[cfg_attr(feature = "config", schemars(rename = "Panic"))]
pub struct Rules(
    /// The share.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub f64,
);

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        issues
            .require(self.0 > 0.0 && self.0 <= 1.0, "", "`panic` must be above zero and at most 100 %")
            .help("leave it out for none");
    }
}
