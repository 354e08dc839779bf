//! Slow start: a server that joins or recovers has cold caches and cold code, and gets its share of requests gradually.
//!
//! The factor is Envoy's: `max(min_share, (elapsed / window)^(1 / aggression))`; aggression 1 is a straight line, above 1 it
//! starts more steeply. What it is applied to differs: Envoy, HAProxy and nginx scale weights, and so have slow start for
//! some strategies only. Here a pick of a warming server is kept with this probability and made again without
//! that server otherwise ([`super::pool::ServerPool::place`]): *thinning*, which is the same for every strategy, a hash or a
//! moving average alike, and rebuilds no table.

#[cfg(feature = "config")]
use std::fmt;

#[cfg(feature = "config")]
use schemars::{JsonSchema, Schema, json_schema};
#[cfg(feature = "config")]
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize, Serializer};

use super::catalog::{Doc, Issues, Policy};
use crate::math;
use crate::units::Nanos;
#[cfg(feature = "config")]
use crate::units::Ratio;

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "slow start",
    idea: "A server that joins or recovers gets its share of requests gradually, so that its caches fill before its full load comes.",
    source: "Envoy's slow_start_config; HAProxy's and nginx's slowstart",
    scenario: Some("slow-start"),
};

/// How the share of a warming server grows. Written as `"30s"` (the window alone) or as a table.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, remote = "Self"))]
#[cfg_attr(feature = "config", schemars(rename = "SlowStart", transform = window_alone))]
pub struct Rules {
    /// Time until a server has its full share: above 0. Envoy's `slow_start_window`.
    pub window: Nanos,
    /// Shape of the growth, above 0: 1 is linear, more is steeper at the start. Default 1. Envoy's `aggression`.
    #[cfg_attr(feature = "config", serde(default = "linear"))]
    pub aggression: f64,
    /// Share of its normal traffic that a server gets at the start: above 0, at most 1; default 0.1. Envoy's
    /// `min_weight_percent`.
    #[cfg_attr(feature = "config", serde(default = "tenth", with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub min_share: f64,
}

#[cfg(feature = "config")]
fn linear() -> f64 {
    1.0
}

#[cfg(feature = "config")]
fn tenth() -> f64 {
    0.1
}

/// The schema of the table, and beside it that of the window alone.
#[cfg(feature = "config")]
fn window_alone(table: &mut Schema) {
    let window = table.as_value()["properties"]["window"]["$ref"].clone();
    *table =
        json_schema!({ "description": "The window alone, or a table.", "anyOf": [{ "$ref": window }, table.clone()] });
}

#[cfg(feature = "config")]
impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // The function that the derive makes.
        Rules::serialize(self, to)
    }
}

#[cfg(feature = "config")]
impl<'de> Deserialize<'de> for Rules {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rules, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = Rules;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a duration such as \"30s\", or { window = \"30s\", aggression = 1.0, min_share = \"10%\" }",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Rules, E> {
                let window = text.parse().map_err(E::custom)?;
                Ok(Rules { window, aggression: linear(), min_share: tenth() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Rules, A::Error> {
                // The function that the derive makes.
                Rules::deserialize(MapAccessDeserializer::new(map))
            }
        }
        from.deserialize_any(Forms)
    }
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        issues
            .require(self.window > Nanos::ZERO, "window", "the window of a slow start must be above zero")
            .help("leave `slow_start` out for none");
        let sound = self.aggression > 0.0 && self.aggression.is_finite();
        issues.require(sound, "aggression", "`aggression` must be above zero");
        let share = self.min_share > 0.0 && self.min_share <= 1.0;
        issues
            .require(share, "min_share", "`min_share` must be above zero and at most 100 %")
            .help("a server without any requests never warms up");
    }
}

impl Rules {
    /// Share of its normal traffic that a server gets `elapsed` after it joined or recovered: `min_share` to 1.
    pub fn factor(&self, elapsed: Nanos) -> f64 {
        if elapsed >= self.window {
            return 1.0;
        }
        let part = elapsed.0 as f64 / self.window.0 as f64;
        // The straight line needs no `pow`, whose last bit differs between platforms.
        let grown = if self.aggression == 1.0 { part } else { math::pow(part, 1.0 / self.aggression) };
        grown.max(self.min_share).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_is_envoys() {
        let rules = Rules { window: Nanos::from_secs(30), aggression: 1.0, min_share: 0.1 };
        let at = |rules: &Rules, secs: f64| rules.factor(Nanos::from_secs_f64(secs));
        for (secs, expected) in [(0.0, 0.1), (1.5, 0.1), (6.0, 0.2), (15.0, 0.5), (30.0, 1.0), (99.0, 1.0)] {
            assert!((at(&rules, secs) - expected).abs() < 1e-12, "{secs}: {}", at(&rules, secs));
        }
        // A quarter of the window at aggression 2 is the square root of a quarter; at aggression 0.5 its square.
        assert!((at(&Rules { aggression: 2.0, ..rules }, 7.5) - 0.5).abs() < 1e-12);
        assert!((at(&Rules { aggression: 0.5, min_share: 0.0, ..rules }, 7.5) - 0.0625).abs() < 1e-12);
    }

    #[test]
    fn no_window_is_no_slow_start() {
        assert_eq!(Rules { window: Nanos::ZERO, aggression: 1.0, min_share: 0.1 }.factor(Nanos::ZERO), 1.0);
    }
}
