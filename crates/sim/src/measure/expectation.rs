//! The evaluation of expectations on summaries: one rule for `evenkeel check`, for lessons and for use from Rust.

use super::metrics::{Unit, nature};
use super::summary::Summary;
use crate::scenario::expect::{Expect, Side};

/// What an expectation comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Whether it holds; false where a value is missing.
    pub holds: bool,
    /// Value of the left side, its factor included: seconds, per second, or a plain number. `None` where it is missing.
    pub left: Option<f64>,
    /// Value of the right side.
    pub right: Option<f64>,
    /// Both values with units, `31.2ms < 46.7ms`, or what is missing.
    pub values: String,
}

impl Expect {
    /// Evaluates the expectation on the means over replications.
    pub fn evaluate(&self, summaries: &[Summary]) -> Evaluation {
        let lookup = |metric: &str, strategy: &str| {
            let summary = summaries.iter().find(|summary| summary.label == strategy)?;
            Some(summary.value(metric)).filter(|value| value.is_finite())
        };
        let unit = self.unit();
        match (self.left.value(&lookup), self.right.value(&lookup)) {
            (Ok(left), Ok(right)) => Evaluation {
                holds: self.relation.holds(left, right),
                left: Some(left),
                right: Some(right),
                values: format!("{} {} {}", in_unit(left, unit), self.relation, in_unit(right, unit)),
            },
            (left, right) => Evaluation {
                holds: false,
                left: left.as_ref().ok().copied(),
                right: right.as_ref().ok().copied(),
                values: left.err().or(right.err()).unwrap_or_default(),
            },
        }
    }

    /// The unit of the metric that it is about.
    pub fn unit(&self) -> Unit {
        let metric = [&self.left, &self.right].into_iter().find_map(|side| match side {
            Side::Metric { metric, .. } => Some(metric),
            Side::Number { .. } => None,
        });
        metric.map_or(Unit::Number, |metric| nature(metric).1)
    }

    /// The labels of the strategies that it names.
    pub fn strategies(&self) -> impl Iterator<Item = &str> {
        [&self.left, &self.right].into_iter().filter_map(|side| match side {
            Side::Metric { strategy, .. } => Some(strategy.as_str()),
            Side::Number { .. } => None,
        })
    }
}

/// A value with four significant digits, in the notation of expectations: `46.71ms`, `3.125%`, `899.6/s`.
pub fn in_unit(value: f64, unit: Unit) -> String {
    let (value, unit) = scaled(value, unit);
    format!("{}{unit}", digits(value, 4))
}

/// A value with three significant digits, as in a text: `46.7 ms`, `3.13 %`, `900/s`.
pub fn in_words(value: f64, unit: Unit) -> String {
    let (value, unit) = scaled(value, unit);
    let space = if matches!(unit, "" | "/s") { "" } else { " " };
    format!("{}{space}{unit}", digits(value, 3))
}

/// A value in a unit that keeps it short, and that unit.
fn scaled(value: f64, unit: Unit) -> (f64, &'static str) {
    match unit {
        Unit::Seconds if value.abs() < 1e-3 => (value * 1e6, "us"),
        Unit::Seconds if value.abs() < 1.0 => (value * 1e3, "ms"),
        Unit::Seconds => (value, "s"),
        Unit::Share => (value * 100.0, "%"),
        Unit::Rate => (value, "/s"),
        Unit::Index | Unit::Number => (value, ""),
    }
}

/// A number rounded to so many significant digits, without trailing zeros.
fn digits(value: f64, significant: usize) -> String {
    let rounded: f64 = format!("{value:.*e}", significant - 1).parse().unwrap_or(value);
    format!("{rounded}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::metrics::Metric;
    use crate::scenario::expect;

    fn summary(label: &str, p99: f64) -> Summary {
        let metric = Metric { name: "latency.p99".to_owned(), unit: Unit::Seconds, values: vec![p99, 3.0 * p99] };
        Summary { label: label.to_owned(), metrics: vec![metric], ..Summary::default() }
    }

    /// By hand: the mean of 20 and 60 ms is 40 ms, and half of it is 20 ms; p2c has 10 and 30 ms, which is 20 ms.
    #[test]
    fn both_sides_are_means_over_replications() {
        let summaries = [summary("random", 0.02), summary("p2c", 0.01)];
        let evaluate = |text: &str| expect::parse(text, "", 0..0).unwrap().evaluate(&summaries);
        let equal = evaluate("latency.p99[p2c] <= 0.5 * latency.p99[random]");
        assert_eq!((equal.holds, equal.values.as_str()), (true, "20ms <= 20ms"));
        assert!(!evaluate("latency.p99[p2c] < 0.5 * latency.p99[random]").holds);
        assert_eq!(evaluate("latency.p99[random] > 39.5ms").values, "40ms > 39.5ms");
    }

    #[test]
    fn what_is_missing_is_named_and_never_holds() {
        let summaries = [summary("random", f64::NAN)];
        for (text, missing) in [
            ("latency.p99[random] < 1s", "`latency.p99` of `random`"),
            ("errors.ratio[random] < 1%", "`errors.ratio` of `random`"),
            ("1s > latency.p99[p2c]", "`latency.p99` of `p2c`"),
        ] {
            let missed = expect::parse(text, "", 0..0).unwrap().evaluate(&summaries);
            assert!(!missed.holds && missed.values.contains(missing), "{text}: {missed:?}");
        }
    }

    #[test]
    fn values_are_short_and_have_their_unit() {
        assert_eq!(in_unit(0.046712, Unit::Seconds), "46.71ms");
        assert_eq!(in_unit(0.031254, Unit::Share), "3.125%");
        assert_eq!(in_words(0.046712, Unit::Seconds), "46.7 ms");
        assert_eq!(in_words(0.9, Unit::Share), "90 %");
        assert_eq!(in_words(899.6, Unit::Rate), "900/s");
        assert_eq!(in_words(1.0, Unit::Index), "1");
    }
}
