//! How durations, rates and ratios are read from and written to config files, and their JSON schemas.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::{Nanos, Rate, Ratio, TIME_UNITS, percent};

/// Reads a quantity from a string through its `FromStr`, or from a bare number where `NUMBERS` allows one.
struct Quantity<T> {
    expecting: &'static str,
    number: Option<fn(f64) -> Result<T, String>>,
}

impl<T: FromStr<Err = String>> Visitor<'_> for Quantity<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expecting)
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        match self.number {
            Some(_) if number < 0.0 => Err(E::custom(format!("`{number}` is negative: this must not be"))),
            Some(_) if !number.is_finite() => Err(E::custom(format!("`{number}` is not a finite number"))),
            Some(make) => make(number).map_err(E::custom),
            None => Err(E::custom(format!("`{number}` has no unit: expected {}", self.expecting))),
        }
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_f64(number as f64)
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_f64(number as f64)
    }
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Nanos, D::Error> {
        from.deserialize_any(Quantity { expecting: "a duration such as \"5ms\" or \"1.5s\"", number: None })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Rate, D::Error> {
        from.deserialize_any(Quantity { expecting: "a rate such as \"900/s\"", number: None })
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Ratio, D::Error> {
        from.deserialize_any(Quantity { expecting: "a ratio such as \"80%\" or 0.8", number: Some(Ratio::bare) })
    }
}

/// Pattern of a number, for schemas.
const NUMBER: &str = r"\+?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9_]+)([eE][+-]?[0-9]+)?";
/// Pattern of a unit of time, for schemas.
const UNIT: &str = "(ns|us|µs|μs|ms|s|sec|m|min|h|d)";

impl JsonSchema for Nanos {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number with a unit: ns, us, ms, s, m, h or d.",
            "type": "string",
            "pattern": format!(r"^\s*({NUMBER}\s*{UNIT}|\+?0+(\.0*)?)\s*$"),
            "examples": ["250us", "5ms", "1.5s", "2m"],
        })
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> Cow<'static, str> {
        "Rate".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number per unit of time.",
            "type": "string",
            "pattern": format!(r"^\s*{NUMBER}\s*(/|per )\s*{UNIT}\s*$"),
            "examples": ["900/s", "5/m"],
        })
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Ratio".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A percentage, or a number up to 1: \"80%\" and 0.8 are the same.",
            "anyOf": [
                { "type": "number", "minimum": 0, "maximum": 1 },
                { "type": "string", "pattern": format!(r"^\s*({NUMBER}\s*%|\+?(0*(\.[0-9_]*)?|0*1(\.[0_]*)?))\s*$") },
            ],
            "examples": ["80%", 0.8, "120%"],
        })
    }
}

impl Serialize for Nanos {
    /// The shortest exact text with a unit: `"5ms"`, `"90s"`.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let (unit, size) = TIME_UNITS[..4]
            .iter()
            .rev()
            .map(|&(unit, size)| (unit, size as u64))
            .find(|&(_, size)| self.0.is_multiple_of(size))
            .unwrap_or(("ns", 1));
        to.serialize_str(&format!("{}{unit}", self.0 / size))
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{}/s", self.0))
    }
}

impl Serialize for Ratio {
    /// A text that is read as the same ratio: a number up to 1, a percentage above.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0 > 1.0 { to.serialize_str(&percent(self.0)) } else { to.serialize_f64(self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_above_one_is_no_ratio() {
        let error = toml::from_str::<std::collections::BTreeMap<String, Ratio>>("load = 65").unwrap_err();
        assert!(error.message().contains("did you mean \"65%\"? (for 65 times as much write \"6500%\")"), "{error}");
    }

    /// A written ratio, for instance in a plan for another machine, is read as the same number.
    #[test]
    fn ratios_round_trip() {
        let percents = (1001..60_000).map(|tenths| f64::from(tenths) / 10.0 / 100.0);
        for value in [0.0, 0.1, 1.0 / 3.0, 1.0, 1e9].into_iter().chain(percents) {
            let written = serde_json::to_string(&Ratio(value)).unwrap();
            assert_eq!(serde_json::from_str::<Ratio>(&written).unwrap(), Ratio(value), "{written}");
        }
    }
}
