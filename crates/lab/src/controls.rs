//! Settings that the page can change, and their ranges.

use evenkeel_core::select::catalog::Parameter;
use serde::Serialize;

/// How a setting is changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Shape {
    /// A slider. Values are in units of `unit` as shown: 80 for `80%`.
    Number { min: f64, max: f64, step: f64, unit: &'static str, log: bool },
    /// One of several.
    Choice { options: Vec<Choice> },
    /// On or off.
    Switch,
}

/// A value of a choice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Choice {
    pub label: String,
    /// TOML.
    pub value: String,
}

/// The control of a strategy's parameter; `None` where it is neither a number, a name nor a switch.
pub(crate) fn parameter_shape(parameter: &Parameter) -> Option<Shape> {
    if !parameter.values.is_empty() {
        let option = |(value, _): &(String, String)| Choice { label: value.clone(), value: format!("\"{value}\"") };
        return Some(Shape::Choice { options: parameter.values.iter().map(option).collect() });
    }
    match &parameter.default {
        toml::Value::Boolean(_) => Some(Shape::Switch),
        toml::Value::Integer(default) => Some(whole(*default, &parameter.text)),
        toml::Value::Float(default) => Some(real(*default, &parameter.text)),
        toml::Value::String(text) => with_unit(text),
        _ => None,
    }
}

/// The range that a parameter's text gives: `1 to 16`, `from 1 to 65,535`, `0 to 1`.
fn range_in(text: &str) -> Option<(f64, f64)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| {
        let digits = word.trim_matches(|c: char| !c.is_ascii_digit()).replace(',', "");
        digits.parse::<f64>().ok()
    };
    let range = words.windows(3).filter(|three| three[1] == "to");
    range.filter_map(|three| Some((number(three[0])?, number(three[2])?))).find(|(low, high)| low < high)
}

fn whole(default: i64, text: &str) -> Shape {
    let default = default as f64;
    let (min, most) = range_in(text).unwrap_or((if default >= 1.0 { 1.0 } else { 0.0 }, f64::INFINITY));
    let max = most.min((default.abs() * 10.0).max(16.0));
    Shape::Number { min, max, step: 1.0, unit: "", log: max / min.max(1.0) > 200.0 }
}

fn real(default: f64, text: &str) -> Shape {
    let max = (default.abs() * 5.0).max(1.0);
    let (min, max) = range_in(text).map_or((0.0, max), |(low, high)| (low, high.min(max)));
    Shape::Number { min, max, step: (max - min) / 100.0, unit: "", log: false }
}

/// A quantity in its own unit: `5s`, `20%`.
fn with_unit(text: &str) -> Option<Shape> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (value, unit) = (text[..at].parse::<f64>().ok()?, &text[at..]);
    let shape = |min, max, step, unit, log| Shape::Number { min, max, step, unit, log };
    match unit {
        "%" => Some(shape(0.0, 100.0_f64.max(value * 2.0), 1.0, "%", false)),
        "ms" => Some(shape(0.0, (value * 10.0).max(10.0), (value / 10.0).max(0.1), "ms", false)),
        "s" => Some(shape(0.0, (value * 6.0).max(10.0), (value / 10.0).max(0.1), "s", false)),
        _ => None,
    }
}
