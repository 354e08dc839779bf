//! Numbers in the text of an explanation: `{latency.p99[p2c]}` is that metric of that strategy in the watched run.

use std::ops::Range;

use crate::measure::Summary;
use crate::measure::expectation::in_words;
use crate::measure::metrics::nature;

/// A part of an explanation that stands for a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// Its byte range in the text, braces included.
    pub range: Range<usize>,
    /// Name of the metric.
    pub metric: String,
    /// Label of the strategy.
    pub strategy: String,
}

/// The placeholders of a text, in their order. The error has the byte range of a brace that belongs to none.
pub(super) fn placeholders(text: &str) -> Result<Vec<Placeholder>, Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(open) = text[at..].find(['{', '}']).map(|open| at + open) {
        let read = || {
            let inner = text[open..].strip_prefix('{')?.split('}').next()?;
            let (metric, rest) = inner.split_once('[')?;
            let strategy = rest.strip_suffix(']')?;
            let range = open..open + inner.len() + 2;
            let sound = range.end <= text.len() && !metric.trim().is_empty() && !strategy.trim().is_empty();
            sound.then(|| Placeholder { range, metric: metric.trim().to_owned(), strategy: strategy.trim().to_owned() })
        };
        let placeholder = read().ok_or(open..open + 1)?;
        at = placeholder.range.end;
        found.push(placeholder);
    }
    Ok(found)
}

/// The text with numbers; a placeholder without a value stays.
pub(super) fn filled(text: &str, watched: &[Summary]) -> String {
    let mut filled = String::new();
    let mut at = 0;
    for Placeholder { range, metric, strategy } in placeholders(text).unwrap_or_default() {
        let value = watched.iter().find(|summary| summary.label == strategy).map(|summary| summary.value(&metric));
        let shown = value.filter(|value| value.is_finite()).map(|value| in_words(value, nature(&metric).1));
        filled += &text[at..range.start];
        filled += shown.as_deref().unwrap_or(&text[range.clone()]);
        at = range.end;
    }
    filled + &text[at..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::metrics::{Metric, Unit};

    #[test]
    fn placeholders_become_numbers() {
        let metric = Metric { name: "latency.p99".to_owned(), unit: Unit::Seconds, values: vec![0.0467] };
        let watched = [Summary { label: "p2c(choices=3)".to_owned(), metrics: vec![metric], ..Summary::default() }];
        let text = "p99 is {latency.p99[p2c(choices=3)]}, not {latency.p99[random]}.";
        assert_eq!(filled(text, &watched), "p99 is 46.7 ms, not {latency.p99[random]}.");
    }

    #[test]
    fn a_brace_alone_is_found() {
        for (text, at) in [("a {b} c", 2), ("{latency.p99[x]} }", 17), ("{latency.p99[x]", 0), ("{[x]}", 0)] {
            assert_eq!(placeholders(text), Err(at..at + 1), "{text}");
        }
    }
}
