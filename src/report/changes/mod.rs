//! Changes between two sets of results: a terminal table, Markdown for a pull request, JUnit for a CI server, CSV and JSON
//! for programs.

mod csv;
mod html;
mod json;
mod junit;
mod markdown;
mod table;

pub use json::Json;
pub use markdown::escape as markdown_text;
pub use table::Table;

use crate::report::export::Exporter;

use crate::report::format::{trimmed, value};
use evenkeel_sim::measure::ENOUGH;
use evenkeel_sim::measure::comparison::{Basis, Change, Changes, Verdict};
use evenkeel_sim::measure::metrics::Unit;
use evenkeel_sim::measure::results::Difference;

/// Every format of `compare`. Each has a flag of its own that writes it to a file.
pub const EXPORTERS: [&dyn for<'a> Exporter<Compared<'a>>; 6] =
    [&Json, &markdown::Markdown, &junit::Junit, &csv::Csv, &Table, &html::Html];

/// A comparison, with notes for the reader.
pub struct Compared<'a> {
    /// The folder of the old results, as the user named it.
    pub old: String,
    /// The folder of the new ones.
    pub new: String,
    /// The comparison.
    pub changes: &'a Changes,
    /// Differences in how the two were made.
    pub differences: &'a [Difference],
    /// Other remarks on the input.
    pub remarks: &'a [String],
    /// Whether missing strategies and metrics are accepted.
    pub allow_missing: bool,
    /// Whether an undecided comparison is accepted.
    pub allow_undecided: bool,
}

impl Compared<'_> {
    /// Whether this change makes the comparison fail.
    pub fn fails(&self, change: &Change) -> bool {
        match change.verdict {
            Verdict::Worse => true,
            Verdict::Missing => !self.allow_missing,
            _ => false,
        }
    }

    /// Whether any change does.
    pub fn failed(&self) -> bool {
        self.changes.all.iter().any(|change| self.fails(change))
    }

    /// Whether no comparison could have come out as worse: then nothing was checked.
    pub fn undecided(&self) -> bool {
        self.why_undecided().is_some()
    }

    /// Why nothing could be decided, and what to do about it; `None` if something could.
    pub fn why_undecided(&self) -> Option<String> {
        let count = |verdict| self.changes.count(verdict);
        let both = self.changes.all.len() - count(Verdict::New) - count(Verdict::Missing);
        if self.changes.comparisons > 0 || self.failed() || (both > 0 && count(Verdict::Identical) == both) {
            return None;
        }
        Some(if count(Verdict::TooFew) > 0 {
            format!("too few runs.\n  help: run both sides with --replications {ENOUGH} or more, and the same seed")
        } else if both == 0 {
            "the two have no strategy and measure in common.\n  help: compare the same strategies, or name pairs with \
             --pair OLD=NEW"
                .to_owned()
        } else {
            "for these metrics neither direction is better.\n  help: add --metrics with some that are, such as latency.p99"
                .to_owned()
        })
    }

    /// "2 of 44 comparisons got worse, 1 is missing", or that nothing did.
    pub fn headline(&self) -> String {
        let count = |verdict| self.changes.count(verdict);
        let (worse, few, all) = (count(Verdict::Worse), count(Verdict::TooFew), self.changes.all.len());
        let missing = if self.allow_missing { 0 } else { count(Verdict::Missing) };
        let are = if missing == 1 { "is" } else { "are" };
        match (worse, missing) {
            (0, 0) if self.undecided() && few > 0 => "Too few runs to tell whether anything got worse".to_owned(),
            (0, 0) if self.undecided() => "Nothing could be decided".to_owned(),
            (0, 0) if count(Verdict::Identical) == all => "Nothing has changed".to_owned(),
            (0, 0) => "Nothing is shown to have got worse".to_owned(),
            (0, missing) => format!("{missing} of {all} comparisons {are} missing"),
            (worse, 0) => format!("{worse} of {all} comparisons got worse"),
            (worse, missing) => format!("{worse} of {all} comparisons got worse, {missing} {are} missing"),
        }
    }

    /// The number of each verdict: "2 worse, 1 better, 8 the same, 30 identical".
    pub fn counts(&self) -> String {
        let order = [
            (Verdict::Worse, "worse"),
            (Verdict::Missing, "missing"),
            (Verdict::Better, "better"),
            (Verdict::New, "new"),
            (Verdict::Unclear, "unclear"),
            (Verdict::TooFew, "with too few runs"),
            (Verdict::Same, "the same within the tolerance"),
            (Verdict::Identical, "identical"),
            (Verdict::Reported, "informational"),
        ];
        let parts = order.into_iter().map(|(verdict, word)| (self.changes.count(verdict), word));
        parts.filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect::<Vec<_>>().join(", ")
    }

    /// Differences in how the two sides were made, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.remarks.to_vec();
        let every = scenarios(self.changes.all.iter()).len();
        let mut texts: Vec<&str> = Vec::new();
        for difference in self.differences {
            if difference.what == "scenario text" {
                texts.extend(difference.scenarios.iter().map(String::as_str));
                continue;
            }
            let place = match difference.scenarios.len() {
                n if n >= every => String::new(),
                _ => format!(" ({})", some(&difference.scenarios)),
            };
            notes.push(format!("{}: {} before, {} after{place}", difference.what, difference.old, difference.new));
        }
        if !texts.is_empty() {
            notes.push(format!("the scenario itself differs: {}", some(&texts)));
        }
        for pairing in &self.changes.pairings {
            let why = if pairing.asked { "as asked" } else { "the only ones of this name without a partner" };
            notes.push(format!("{} is compared with {}: {why}", pairing.old, pairing.new));
        }
        notes
    }

    /// How to read the numbers, a sentence each.
    pub fn reading(&self) -> Vec<String> {
        let Changes { comparisons, level, tolerance, .. } = self.changes;
        let mut lines = vec![
            "Change is after minus before, in percent of before (pp: percentage points).".to_owned(),
            match comparisons {
                0 => "There are no intervals: no metric that could be decided has changed.".to_owned(),
                1 => "The interval is a 95 % confidence interval.".to_owned(),
                n => format!(
                    "Intervals have 95 % simultaneous coverage over {n} comparisons: each is at {:.3} % (Bonferroni). \
                     Strategies with identical runs do not count.",
                    level * 100.0
                ),
            },
            format!(
                "Worse: the whole interval lies beyond the tolerance of {} % (shares and fairness: {} pp). The same: inside \
                 it. Unclear: more replications are needed.",
                trimmed(tolerance.relative * 100.0),
                trimmed(tolerance.share * 100.0),
            ),
        ];
        let uses = |basis| self.changes.all.iter().any(|change| change.basis == Some(basis));
        if uses(Basis::SameRequests) {
            lines.push("Pairs: runs on the same requests before and after; Student's t of the differences.".into());
        }
        if uses(Basis::SameSeeds) {
            let why = "the scenario differs, or clients wait for answers";
            lines.push(format!(
                "By seed: pairs with the same seed but different requests ({why}); Student's t as well."
            ));
        }
        if uses(Basis::Unpaired) {
            lines.push(
                "Unpaired: the seeds differ, so the random streams differ; Welch's t, wider intervals.".to_owned(),
            );
        }
        lines
    }
}

/// The groups of a report, in its order: every scenario at every point.
fn groups<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<((&'a str, &'a str), Vec<&'a Change>)> {
    let mut groups: Vec<((&str, &str), Vec<&Change>)> = Vec::new();
    for change in changes {
        let key = (change.scenario.as_str(), change.point.as_str());
        match groups.last_mut().filter(|(last, _)| *last == key) {
            Some((_, members)) => members.push(change),
            None => groups.push((key, vec![change])),
        }
    }
    groups
}

/// A group's name.
fn place((scenario, point): (&str, &str)) -> String {
    if point == "base" { scenario.to_owned() } else { format!("{scenario}, {point}") }
}

fn scenarios<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<&'a str> {
    let mut names: Vec<&str> = changes.map(|change| change.scenario.as_str()).collect();
    names.dedup();
    names
}

/// The first few of a list.
fn some<T: AsRef<str>>(names: &[T]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(AsRef::as_ref).collect();
    let more = names.len() - shown.len();
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// A row of a table: a change, or all changes of a strategy with the same verdict.
struct Line {
    verdict: Verdict,
    strategy: String,
    metric: String,
    before: String,
    after: String,
    change: String,
    words: &'static str,
    runs: String,
}

/// A row for each change, but a single one for a strategy of which everything is missing or new.
fn lines(changes: &[&Change]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for strategy in changes.chunk_by(|a, b| a.strategy == b.strategy && a.renamed == b.renamed) {
        let first = strategy[0];
        let gone = matches!(first.verdict, Verdict::Missing | Verdict::New) && (first.runs.0 == 0 || first.runs.1 == 0);
        if gone && strategy.len() > 1 && strategy.iter().all(|c| c.verdict == first.verdict && c.basis.is_none()) {
            let empty = String::new;
            lines.push(Line {
                verdict: first.verdict,
                strategy: first.strategy.clone(),
                metric: format!("all {} metrics", strategy.len()),
                before: empty(),
                after: empty(),
                change: empty(),
                words: words(first),
                runs: runs(first),
            });
        } else {
            lines.extend(strategy.iter().map(|change| line(change)));
        }
    }
    lines
}

fn line(change: &Change) -> Line {
    Line {
        verdict: change.verdict,
        strategy: strategy(change),
        metric: change.metric.clone(),
        before: value(change.old, change.unit),
        after: value(change.new, change.unit),
        change: difference(change),
        words: words(change),
        runs: runs(change),
    }
}

/// The label, or both where they differ.
fn strategy(change: &Change) -> String {
    match &change.renamed {
        Some(new) => format!("{} → {new}", change.strategy),
        None => change.strategy.clone(),
    }
}

/// A verdict in words.
pub fn words(change: &Change) -> &'static str {
    match change.verdict {
        Verdict::Worse => "worse",
        Verdict::Missing => "missing",
        Verdict::Better if change.flattered => "better, but more fail",
        Verdict::Better => "better",
        Verdict::New => "new",
        Verdict::Unclear => "unclear",
        Verdict::TooFew => "too few runs",
        Verdict::Same => "the same",
        Verdict::Identical => "identical",
        Verdict::Reported => "informational",
    }
}

/// The number of runs behind it.
fn runs(change: &Change) -> String {
    let (old, new) = change.runs;
    match change.basis {
        Some(Basis::SameRequests) => format!("{old} pairs"),
        Some(Basis::SameSeeds) => format!("{old} by seed"),
        Some(Basis::Unpaired) => format!("{old} and {new}, unpaired"),
        None if old > 0 && new > 0 => format!("{old}, now {new}"),
        None => String::new(),
    }
}

/// `+12.3 % [+10.1, +14.6]`: the difference and its interval, relative where the old value is not zero.
pub fn difference(change: &Change) -> String {
    if !change.difference.is_finite() {
        return String::new();
    }
    if change.verdict == Verdict::Identical {
        return "0".to_owned();
    }
    let (scale, unit) = match change.unit {
        Unit::Share => (100.0, " pp"),
        Unit::Index => (1.0, ""),
        Unit::Seconds if change.old == 0.0 => (1000.0, " ms"),
        _ if change.old == 0.0 => (1.0, ""),
        _ => (100.0 / change.old.abs(), " %"),
    };
    let [value, low, high] = [change.difference, change.low, change.high].map(|x| x * scale);
    let largest = [value, low, high].into_iter().filter(|x| x.is_finite()).fold(0.0, |a: f64, x| a.max(x.abs()));
    let digits = match largest {
        x if x >= 99.95 => 0,
        x if x >= 9.995 => 1,
        x if x >= 0.9995 => 2,
        x if x >= 0.09995 => 3,
        _ => 4,
    };
    let signed = |x: f64| {
        let text = format!("{x:+.digits$}");
        // A difference of zero has no sign.
        if text.chars().any(|c| c.is_ascii_digit() && c != '0') { text } else { text[1..].to_owned() }
    };
    match low.is_finite() {
        true => format!("{}{unit} [{}, {}]", signed(value), signed(low), signed(high)),
        false => format!("{}{unit}", signed(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_sim::measure::metrics::Direction;

    fn change(unit: Unit, old: f64, difference: f64, half: f64) -> Change {
        Change {
            scenario: "s".into(),
            point: "base".into(),
            strategy: "p2c".into(),
            renamed: None,
            metric: "m".into(),
            direction: Direction::Lower,
            unit,
            basis: Some(Basis::SameRequests),
            runs: (10, 10),
            old,
            new: old + difference,
            difference,
            low: difference - half,
            high: difference + half,
            tolerance: 0.0,
            verdict: Verdict::Worse,
            flattered: false,
        }
    }

    #[test]
    fn changes_in_words() {
        for (unit, old, diff, half, text) in [
            (Unit::Seconds, 0.1, 0.0123, 0.0022, "+12.3 % [+10.1, +14.5]"),
            (Unit::Seconds, 0.1, -0.0005, 0.0005, "-0.50 % [-1.00, 0.00]"),
            (Unit::Share, 0.001, 0.004, 0.001, "+0.400 pp [+0.300, +0.500]"),
            (Unit::Index, 0.99, -0.02, f64::NAN, "-0.0200"),
            (Unit::Seconds, 0.0, 0.004, 0.001, "+4.00 ms [+3.00, +5.00]"),
            (Unit::Rate, 900.0, 1800.0, 0.0, "+200 % [+200, +200]"),
        ] {
            assert_eq!(difference(&change(unit, old, diff, half)), text);
        }
    }
}
