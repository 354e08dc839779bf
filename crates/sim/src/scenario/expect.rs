//! Expectations: `latency.p99[p2c] < 0.5 * latency.p99[random]`, `latency.mean[random] ~ 50ms within 3%`.
//!
//! A side is a metric of a strategy, with an optional factor before it, or a quantity. `evenkeel check` evaluates both sides
//! on the means over replications and prints them, whether the expectation holds or not.

use std::fmt;
use std::ops::Range;

use evenkeel_core::units::{Nanos, Rate, Ratio};

/// An expectation as written in a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Expect {
    /// The text as written.
    pub text: String,
    /// The reason given in the scenario; printed when the expectation does not hold.
    pub reason: String,
    /// Left of the comparison.
    pub left: Side,
    /// The comparison.
    pub relation: Relation,
    /// Right of the comparison.
    pub right: Side,
    /// Its byte range in the file.
    pub span: Range<usize>,
}

/// A side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Side {
    /// `factor * metric[strategy]`.
    Metric {
        /// The factor before it; 1 if none is written.
        factor: f64,
        /// Name as in `metrics.csv`.
        metric: String,
        /// Label of the strategy or variant.
        strategy: String,
    },
    /// A quantity.
    Number {
        /// In seconds, per second, or as a plain number (1 % is 0.01).
        value: f64,
        /// Its notation.
        notation: Notation,
    },
}

/// The notation of a quantity, which decides which metrics it can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// `0.5`: of any unit.
    Plain,
    /// `50%`.
    Percent,
    /// `50ms`.
    Time,
    /// `100/s`.
    Rate,
}

/// The operator between two sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Relation {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `~ … within 3%`: the distance is at most this share of the right side.
    Within(f64),
}

impl Relation {
    /// Whether it holds; false if a value is NaN.
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Relation::Below => left < right,
            Relation::AtMost => left <= right,
            Relation::Above => left > right,
            Relation::AtLeast => left >= right,
            Relation::Within(share) => (left - right).abs() <= share * right.abs(),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Relation::Below => "<",
            Relation::AtMost => "<=",
            Relation::Above => ">",
            Relation::AtLeast => ">=",
            Relation::Within(_) => "~",
        })
    }
}

impl Side {
    /// Its value, given the value of a metric of a strategy. `Err` names what is missing.
    pub fn value(&self, lookup: &dyn Fn(&str, &str) -> Option<f64>) -> Result<f64, String> {
        match self {
            Side::Number { value, .. } => Ok(*value),
            Side::Metric { factor, metric, strategy } => match lookup(metric, strategy) {
                Some(value) => Ok(factor * value),
                None => Err(format!("there is no `{metric}` of `{strategy}` in the results")),
            },
        }
    }
}

/// Reads an expectation; the error is a sentence.
pub fn parse(text: &str, reason: &str, span: Range<usize>) -> Result<Expect, String> {
    const RELATIONS: [&str; 5] = ["<=", ">=", "<", ">", "~"];
    let shape = "write it as `latency.p99[p2c] < 0.5 * latency.p99[random]` or `latency.mean[random] ~ 50ms within 3%`";
    // The relation outside brackets: a label may hold one in its parameters.
    let mut depth = 0;
    let at = text.char_indices().find(|&(_, c)| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        depth == 0 && matches!(c, '<' | '>' | '~')
    });
    let (at, _) = at.ok_or_else(|| format!("`{text}` compares nothing: {shape}"))?;
    let sign = RELATIONS.iter().find(|sign| text[at..].starts_with(**sign)).copied().unwrap_or("<");
    let (left, mut right) = (text[..at].trim(), text[at + sign.len()..].trim());
    let relation = match sign {
        "<" => Relation::Below,
        "<=" => Relation::AtMost,
        ">" => Relation::Above,
        ">=" => Relation::AtLeast,
        _ => {
            let (value, tolerance) =
                right.split_once(" within ").ok_or_else(|| format!("`~` needs a tolerance: {shape}"))?;
            right = value.trim();
            Relation::Within(tolerance.parse::<Ratio>()?.0)
        }
    };
    let side = |text: &str| side(text).ok_or_else(|| format!("`{text}` is neither a metric nor a number: {shape}"));
    let (left, right) = (side(left)?, side(right)?);
    Ok(Expect { text: text.to_owned(), reason: reason.to_owned(), left, relation, right, span })
}

fn side(text: &str) -> Option<Side> {
    if let Some(rest) = text.strip_suffix(']') {
        let (head, strategy) = rest.split_once('[')?;
        let (factor, metric) = match head.split_once('*') {
            Some((factor, metric)) => (factor.trim().parse().ok()?, metric.trim()),
            None => (1.0, head.trim()),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | ':');
        let sound = !metric.is_empty() && metric.chars().all(plain);
        return sound.then(|| Side::Metric { factor, metric: metric.to_owned(), strategy: strategy.trim().to_owned() });
    }
    if let Ok(number) = text.replace('_', "").parse::<f64>() {
        return number.is_finite().then_some(Side::Number { value: number, notation: Notation::Plain });
    }
    let percent = || text.parse::<Ratio>().ok().map(|ratio| (ratio.0, Notation::Percent));
    let time = || text.parse::<Nanos>().ok().map(|time| (time.as_secs_f64(), Notation::Time));
    let rate = || text.parse::<Rate>().ok().map(|rate| (rate.0, Notation::Rate));
    let (value, notation) = percent().or_else(time).or_else(rate)?;
    Some(Side::Number { value, notation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_comparisons_and_evaluates_them() {
        let lookup = |metric: &str, strategy: &str| match (metric, strategy) {
            ("latency.p99", "p2c(choices=3)") => Some(0.04),
            ("pay.latency.p99", "random") => Some(0.1),
            _ => None,
        };
        let e = parse("latency.p99[p2c(choices=3)] < 0.5 * pay.latency.p99[random]", "", 0..0).unwrap();
        let (left, right) = (e.left.value(&lookup).unwrap(), e.right.value(&lookup).unwrap());
        assert!(e.relation.holds(left, right) && !e.relation.holds(right, left));
        let e = parse("latency.p99[p2c(choices=3)] ~ 39ms within 3%", "", 0..0).unwrap();
        assert!(e.relation.holds(0.04, e.right.value(&lookup).unwrap()));
        assert!(!e.relation.holds(0.05, e.right.value(&lookup).unwrap()));
        assert!(parse("errors.ratio[x] <= 0.1%", "", 0..0).unwrap().left.value(&lookup).is_err());
    }

    #[test]
    fn refuses_what_it_cannot_read() {
        for text in ["latency", "latency.p99[p2c] < fast", "latency.p99[p2c] ~ 5ms", "LATENCY[p2c] < 1"] {
            assert!(parse(text, "", 0..0).is_err(), "{text}");
        }
    }
}
