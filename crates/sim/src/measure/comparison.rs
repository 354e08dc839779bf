//! What changed between two sets of results: differences with intervals, and a verdict on each against a tolerance.
//!
//! Everything compared at once is one question ("did anything get worse?"), so the intervals hold together: each is at the
//! level that Bonferroni's correction gives for the number of comparisons, and the probability that any verdict is wrong is at
//! most 5 %. The intervals shown are those that decide.
//!
//! Runs are paired by their seeds, never by their results. In an open loop the same seed means the same requests, and the hash
//! of the workload proves it. In a closed loop, or when the scenario has changed as well, the requests may differ;
//! the pairs still are independent of each other, which is all that a paired interval needs, and still share most random
//! streams. (To keep only pairs with equal hashes would keep those runs of a closed loop in which nothing changed.)

use std::collections::BTreeSet;

use super::interval::{self, LEVEL};
use super::metrics::{Direction, FAILED, Unit, nature};
use super::ranking::ENOUGH;
use super::results::{Results, Row};
use crate::scenario::Variant;
use evenkeel_core::select::catalog;

/// Metrics that are compared by default.
pub const DEFAULT_METRICS: [&str; 5] = ["latency.mean", "latency.p99", FAILED, "fairness.jain", "cache.hit_ratio"];

/// The regression that is tolerated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Of metrics with a scale, relative to the old value: 0.01 is one per cent.
    pub relative: f64,
    /// Of shares and indices, absolute: 0.001 is 0.1 percentage points.
    pub share: f64,
}

/// How the runs of both sides are matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// In pairs of runs on the same requests: Student's interval of the differences.
    SameRequests,
    /// In pairs of runs with the same seed and different requests: the same interval, mostly wider.
    SameSeeds,
    /// Not matched: Welch's interval.
    Unpaired,
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The whole interval is worse than the tolerance.
    Worse,
    /// The old results have a value and the new ones have none.
    Missing,
    /// The whole interval is better than the tolerance.
    Better,
    /// The new results have a value and the old ones have none.
    New,
    /// The interval includes a limit of the tolerance.
    Unclear,
    /// Fewer than [`ENOUGH`] runs.
    TooFew,
    /// The whole interval is within the tolerance.
    Same,
    /// Every value is equal.
    Identical,
    /// A metric without a better direction.
    Reported,
}

/// One metric of one strategy in the old and the new results.
#[derive(Clone, Debug)]
pub struct Change {
    /// Name of the scenario.
    pub scenario: String,
    /// `base`, or the point of a sweep.
    pub point: String,
    /// Label of the strategy in the old results; of a new strategy, in the new ones.
    pub strategy: String,
    /// Label in the new results; `None` if it is the same.
    pub renamed: Option<String>,
    /// Name of the metric.
    pub metric: String,
    /// Which way is better.
    pub direction: Direction,
    /// Unit of the metric.
    pub unit: Unit,
    /// How the runs were matched; `None` where one side has no value.
    pub basis: Option<Basis>,
    /// Number of runs with a value, old and new.
    pub runs: (usize, usize),
    /// Mean of the old runs; NaN without a value.
    pub old: f64,
    /// Mean of the new runs; NaN without a value.
    pub new: f64,
    /// New minus old.
    pub difference: f64,
    /// Lower end of the interval of the difference; NaN with too few runs.
    pub low: f64,
    /// Upper end of the interval; NaN with too few runs.
    pub high: f64,
    /// The tolerance in the unit of the metric.
    pub tolerance: f64,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether it is a latency that is better while more requests fail: it is biased towards requests that succeeded.
    pub flattered: bool,
}

/// Why strategies of different labels were compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pairing {
    /// Label in the old results.
    pub old: String,
    /// Label in the new ones.
    pub new: String,
    /// Whether `--pair` asks for it; otherwise both are the only ones of their name without a partner.
    pub asked: bool,
}

/// What to compare and how.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Names of the metrics, in the order of the report.
    pub metrics: &'a [String],
    /// The regression that is tolerated.
    pub tolerance: Tolerance,
    /// Pairs of labels to compare, old and new.
    pub pairs: &'a [(String, String)],
}

/// All comparisons.
#[derive(Clone, Debug)]
pub struct Changes {
    /// In the order of the old results; what is new comes last in its scenario.
    pub all: Vec<Change>,
    /// Strategies whose labels differ.
    pub pairings: Vec<Pairing>,
    /// Number of comparisons that share the probability of a false alarm.
    pub comparisons: usize,
    /// Confidence level of each interval, for example 0.9989.
    pub level: f64,
    /// The tolerance asked for.
    pub tolerance: Tolerance,
}

impl Changes {
    /// The number of comparisons with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.all.iter().filter(|change| change.verdict == verdict).count()
    }
}

/// The values of one metric on both sides, and whether the runs are equal in every metric.
struct Cell {
    change: Change,
    old: Vec<f64>,
    new: Vec<f64>,
    /// Whether all runs of this strategy are equal, so that there is nothing random about the comparison.
    repeated: bool,
}

impl Cell {
    fn is_empty(&self) -> bool {
        self.change.old.is_nan() && self.change.new.is_nan()
    }

    /// Whether it can be a false alarm.
    fn is_compared(&self) -> bool {
        let (old, new) = self.change.runs;
        let judged = self.change.basis.is_some() && self.change.direction != Direction::Neither;
        judged && !self.repeated && old.min(new) >= ENOUGH
    }
}

/// Compares two sets of results, scenario by scenario of the same name.
pub fn compare(old: &[Results], new: &[Results], question: &Question<'_>) -> Changes {
    let (mut cells, mut pairings) = (Vec::new(), BTreeSet::new());
    let nothing = Results::default();
    for before in old {
        let after = new.iter().find(|new| new.manifest.scenario == before.manifest.scenario);
        scenario(before, after.unwrap_or(&nothing), question, &mut cells, &mut pairings);
    }
    for after in new.iter().filter(|new| old.iter().all(|old| old.manifest.scenario != new.manifest.scenario)) {
        let before = Results { manifest: after.manifest.clone(), ..Results::default() };
        scenario(&before, after, question, &mut cells, &mut pairings);
    }
    let comparisons = cells.iter().filter(|cell| cell.is_compared()).count();
    let level = 1.0 - (1.0 - LEVEL) / comparisons.max(1) as f64;
    let mut all: Vec<Change> = cells.into_iter().map(|cell| judge(cell, level, question.tolerance)).collect();
    mark_flattered(&mut all);
    Changes { all, pairings: pairings.into_iter().collect(), comparisons, level, tolerance: question.tolerance }
}

/// The cells of one scenario.
fn scenario(
    old: &Results,
    new: &Results,
    question: &Question<'_>,
    cells: &mut Vec<Cell>,
    pairings: &mut BTreeSet<Pairing>,
) {
    let (before, after) = (old.strategies(), new.strategies());
    let mut points: Vec<&str> = Vec::new();
    for &(point, _) in before.iter().chain(&after) {
        if !points.contains(&point) {
            points.push(point);
        }
    }
    for point in points {
        let at = |all: &[(&str, &str)]| -> Vec<String> {
            all.iter().filter(|(p, _)| *p == point).map(|(_, label)| (*label).to_owned()).collect()
        };
        for (was, is) in partners(&at(&before), &at(&after), question.pairs, pairings) {
            let row = (old.runs(point, was.as_deref().unwrap_or("")), new.runs(point, is.as_deref().unwrap_or("")));
            let runs = Runs::new(&row.0, &row.1, old, new);
            for metric in question.metrics {
                let mut cell = runs.cell(metric);
                cell.change.scenario = old.manifest.scenario.clone();
                cell.change.point = point.to_owned();
                cell.change.renamed = is.clone().filter(|is| was.as_ref().is_some_and(|was| was != is));
                cell.change.strategy = was.clone().or_else(|| is.clone()).unwrap_or_default();
                if !cell.is_empty() {
                    cells.push(cell);
                }
            }
        }
    }
}

/// Matches labels of the old and the new results: the one asked for, the same one, or the only one left of the same name. A
/// label without a partner is alone.
fn partners(
    old: &[String],
    new: &[String],
    asked: &[(String, String)],
    pairings: &mut BTreeSet<Pairing>,
) -> Vec<(Option<String>, Option<String>)> {
    let mut found: Vec<Option<String>> = old
        .iter()
        .map(|label| {
            let wanted = asked.iter().find(|(a, b)| a == label && new.contains(b)).map(|(_, b)| b.clone());
            wanted.or_else(|| new.iter().find(|other| *other == label).cloned())
        })
        .collect();
    let name = |label: &str| label.split('(').next().unwrap_or_default().to_owned();
    let alone: Vec<usize> = (0..old.len()).filter(|&i| found[i].is_none()).collect();
    let free: Vec<&String> = new.iter().filter(|label| !found.iter().flatten().any(|taken| taken == *label)).collect();
    for &i in &alone {
        let namesakes = alone.iter().filter(|&&j| name(&old[j]) == name(&old[i])).count();
        let mut others = free.iter().filter(|label| name(label) == name(&old[i]));
        if let (1, Some(only), None) = (namesakes, others.next(), others.next()) {
            found[i] = Some((*only).clone());
        }
    }
    for (was, is) in old.iter().zip(&found) {
        if let Some(is) = is.as_ref().filter(|is| *is != was) {
            let asked = asked.iter().any(|(a, b)| a == was && b == is);
            pairings.insert(Pairing { old: was.clone(), new: is.clone(), asked });
        }
    }
    let extra = new.iter().filter(|label| !found.iter().flatten().any(|taken| taken == *label)).cloned();
    let extra: Vec<_> = extra.map(|label| (None, Some(label))).collect();
    old.iter().cloned().map(Some).zip(found).chain(extra).collect()
}

/// The runs of a strategy on both sides.
struct Runs<'a> {
    old: (&'a Results, Vec<&'a Row>),
    new: (&'a Results, Vec<&'a Row>),
    basis: Basis,
    repeated: bool,
}

impl<'a> Runs<'a> {
    /// In pairs if any replication has the same seed on both sides.
    fn new(old: &[&'a Row], new: &[&'a Row], before: &'a Results, after: &'a Results) -> Runs<'a> {
        let partner = |row: &Row| new.iter().find(|r| (r.replication, r.seed) == (row.replication, row.seed)).copied();
        let pairs: Vec<(&Row, &Row)> = old.iter().filter_map(|row| Some((*row, partner(row)?))).collect();
        if pairs.is_empty() {
            let (old, new) = ((before, old.to_vec()), (after, new.to_vec()));
            return Runs { old, new, basis: Basis::Unpaired, repeated: false };
        }
        let same = pairs.iter().all(|(a, b)| a.workload == b.workload);
        let shared: Vec<(usize, usize)> = (before.metrics.iter().enumerate())
            .filter_map(|(i, metric)| Some((i, after.metrics.iter().position(|other| other == metric)?)))
            .collect();
        let equal = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan());
        let repeated = same && pairs.iter().all(|(a, b)| shared.iter().all(|&(i, j)| equal(a.values[i], b.values[j])));
        let (old, new) = pairs.into_iter().unzip();
        let basis = if same { Basis::SameRequests } else { Basis::SameSeeds };
        Runs { old: (before, old), new: (after, new), basis, repeated }
    }

    /// The values of a metric; its verdict is still open, and [`Verdict::Reported`] until then.
    fn cell(&self, metric: &str) -> Cell {
        let values = |(results, rows): &(&Results, Vec<&Row>)| -> Vec<f64> {
            let column = results.column(metric);
            rows.iter().map(|row| column.map_or(f64::NAN, |column| column.of(row))).collect()
        };
        let (mut old, mut new) = (values(&self.old), values(&self.new));
        let verdict = presence(&old, &new, self.basis);
        if verdict == Verdict::Reported && self.basis != Basis::Unpaired {
            let both = old.iter().zip(&new).filter(|(a, b)| a.is_finite() && b.is_finite());
            (old, new) = both.map(|(&a, &b)| (a, b)).unzip();
        } else {
            old.retain(|v| v.is_finite());
            new.retain(|v| v.is_finite());
        }
        let (direction, unit) = nature(metric);
        let mean = |values: &[f64]| interval::estimate(values).value;
        let change = Change {
            scenario: String::new(),
            point: String::new(),
            strategy: String::new(),
            renamed: None,
            metric: metric.to_owned(),
            direction,
            unit,
            basis: (verdict == Verdict::Reported).then_some(self.basis),
            runs: (old.len(), new.len()),
            old: mean(&old),
            new: mean(&new),
            difference: f64::NAN,
            low: f64::NAN,
            high: f64::NAN,
            tolerance: f64::NAN,
            verdict,
            flattered: false,
        };
        Cell { change, old, new, repeated: self.repeated }
    }
}

/// Whether values went missing. One run without a value is enough: using only the others would be survivorship bias.
fn presence(old: &[f64], new: &[f64], basis: Basis) -> Verdict {
    let none = |values: &[f64]| values.iter().all(|v| v.is_nan());
    let lost = match basis {
        Basis::Unpaired => {
            let share = |values: &[f64]| values.iter().filter(|v| v.is_nan()).count() as f64 / values.len() as f64;
            share(new) > share(old)
        }
        _ => old.iter().zip(new).any(|(a, b)| a.is_finite() && b.is_nan()),
    };
    match (none(old), none(new)) {
        (true, _) => Verdict::New,
        (false, true) => Verdict::Missing,
        _ if lost => Verdict::Missing,
        _ => Verdict::Reported,
    }
}

/// The interval of a cell at a level, and the verdict that follows from it.
fn judge(cell: Cell, level: f64, tolerance: Tolerance) -> Change {
    let Cell { mut change, old, new, .. } = cell;
    let Some(basis) = change.basis else {
        return change;
    };
    change.tolerance = if change.unit.relative() { tolerance.relative * change.old.abs() } else { tolerance.share };
    let estimate = if basis == Basis::Unpaired {
        interval::welch_at(&old, &new, level)
    } else {
        let differences: Vec<f64> = new.iter().zip(&old).map(|(new, old)| new - old).collect();
        interval::estimate_at(&differences, level)
    };
    change.difference = estimate.value;
    let equal = match basis {
        Basis::Unpaired => old.iter().chain(&new).all(|v| *v == old[0]),
        _ => old == new,
    };
    if equal || estimate.replications >= ENOUGH {
        (change.low, change.high) = (estimate.low, estimate.high);
    }
    change.verdict = if equal {
        Verdict::Identical
    } else if change.direction == Direction::Neither {
        Verdict::Reported
    } else if estimate.replications < ENOUGH {
        Verdict::TooFew
    } else {
        against(change.low, change.high, change.tolerance, change.direction)
    };
    change
}

/// The verdict on an interval of a difference.
fn against(low: f64, high: f64, tolerance: f64, direction: Direction) -> Verdict {
    let (low, high) = if direction == Direction::Higher { (-high, -low) } else { (low, high) };
    if low > tolerance {
        Verdict::Worse
    } else if high < -tolerance {
        Verdict::Better
    } else if -tolerance <= low && high <= tolerance {
        Verdict::Same
    } else {
        Verdict::Unclear
    }
}

/// Marks latencies that are better where more requests fail.
fn mark_flattered(all: &mut [Change]) {
    let row = |change: &Change| (change.scenario.clone(), change.point.clone(), change.strategy.clone());
    let fails = |change: &&Change| nature(&change.metric).1 == Unit::Share && change.direction == Direction::Lower;
    let worse = all.iter().filter(fails).filter(|change| change.verdict == Verdict::Worse);
    let failing: BTreeSet<_> = worse.map(row).collect();
    for change in all.iter_mut().filter(|change| change.verdict == Verdict::Better && change.unit == Unit::Seconds) {
        change.flattered = failing.contains(&row(change));
    }
}

/// Splits `OLD=NEW` where both sides are labels that exist, or other names of strategies that have them: labels may hold
/// `=` themselves.
pub fn split_pair(text: &str, old: &BTreeSet<&str>, new: &BTreeSet<&str>) -> Result<(String, String), String> {
    let label = |text: &str, known: &BTreeSet<&str>| match known.contains(text) {
        true => Some(text.to_owned()),
        false => {
            let named = catalog::parse(text).ok().map(|table| Variant::new(table).label);
            named.filter(|label| known.contains(label.as_str()))
        }
    };
    let splits = text.match_indices('=').map(|(i, _)| (&text[..i], &text[i + 1..]));
    let good: Vec<_> = splits.filter_map(|(a, b)| Some((label(a, old)?, label(b, new)?))).collect();
    match &good[..] {
        [one] => Ok(one.clone()),
        [] if !text.contains('=') => Err("it has no `=` between the old label and the new one".to_owned()),
        [] => {
            let list = |labels: &BTreeSet<&str>| labels.iter().copied().collect::<Vec<_>>().join(", ");
            let message = "no `=` in it has a label of OLD before and one of NEW after it";
            Err(format!("{message}\n  OLD has: {}\n  NEW has: {}", list(old), list(new)))
        }
        _ => Err("more than one `=` in it could be the one between the labels".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_follows_from_the_interval() {
        for (low, high, less) in [
            (1.1, 2.0, Verdict::Worse),
            (1.0, 2.0, Verdict::Unclear),
            (-1.0, 1.0, Verdict::Same),
            (-1.1, 1.0, Verdict::Unclear),
            (-3.0, -1.1, Verdict::Better),
            (-3.0, 3.0, Verdict::Unclear),
        ] {
            assert_eq!(against(low, high, 1.0, Direction::Lower), less, "{low} {high}");
            assert_eq!(against(-high, -low, 1.0, Direction::Higher), less, "{low} {high} mirrored");
        }
    }

    fn labels(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn labels_find_their_partners() {
        for (old, new, asked, expected) in [
            ("a b", "b a", "", "a:a b:b"),
            ("p2c(choices=2) a", "p2c(choices=3) a", "", "p2c(choices=2):p2c(choices=3) a:a"),
            ("p2c", "p2c p2c(choices=3)", "", "p2c:p2c :p2c(choices=3)"),
            ("p2c(x=1) p2c(x=2)", "p2c(x=3)", "", "p2c(x=1): p2c(x=2): :p2c(x=3)"),
            ("p2c(x=1)", "p2c(x=2) p2c(x=3)", "", "p2c(x=1): :p2c(x=2) :p2c(x=3)"),
            ("a b", "a b", "a:b", "a:b b:b :a"),
            ("a", "b", "", "a: :b"),
        ] {
            let asked: Vec<_> = asked.split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).into_iter().collect();
            let mut pairings = BTreeSet::new();
            let found = partners(&labels(old), &labels(new), &asked, &mut pairings);
            let shown: Vec<_> = found
                .iter()
                .map(|(a, b)| format!("{}:{}", a.as_deref().unwrap_or(""), b.as_deref().unwrap_or("")))
                .collect();
            assert_eq!(shown.join(" "), expected);
            assert_eq!(pairings.iter().all(|pairing| pairing.asked), !asked.is_empty() || pairings.is_empty());
        }
    }

    #[test]
    fn pairs_are_split_between_labels() {
        let (old, new) = (BTreeSet::from(["p2c(choices=2)", "a"]), BTreeSet::from(["p2c(choices=3)", "b"]));
        assert_eq!(
            split_pair("p2c(choices=2)=p2c(choices=3)", &old, &new),
            Ok(("p2c(choices=2)".into(), "p2c(choices=3)".into()))
        );
        // By other names of theirs.
        let (named, both) = (BTreeSet::from(["least_request"]), BTreeSet::from(["p2c(choices=3)", "p2c"]));
        assert_eq!(split_pair("least_conn=power_of_two", &named, &both), Ok(("least_request".into(), "p2c".into())));
        assert_eq!(
            split_pair("wlc=random_two(choices=3)", &named, &both),
            Ok(("least_request".into(), "p2c(choices=3)".into()))
        );
        assert!(split_pair("a", &old, &new).unwrap_err().contains("no `=`"));
        assert!(split_pair("a=c", &old, &new).unwrap_err().contains("NEW has: b, p2c(choices=3)"));
        let twice = (BTreeSet::from(["a", "a=b"]), BTreeSet::from(["b=c", "c"]));
        assert!(split_pair("a=b=c", &twice.0, &twice.1).unwrap_err().contains("more than one"));
    }
}
