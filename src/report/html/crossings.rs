//! Where two strategies of a sweep change places.

use anyhow::Result;

use super::folder::{Folder, PointEntry};
use super::model::{Crossing, Point};
use super::replications;
use crate::report::answer::Field;
use evenkeel_sim::measure::interval::LEVEL;
use evenkeel_sim::measure::{Comparison, ENOUGH, Summary, difference};

/// The metric whose crossings are searched.
const CROSSING: &str = "latency.p99";
/// Crossings are searched among the best of every point and these strategies, at most so many in all.
const FAMILIAR: [&str; 4] = ["round_robin", "random", "p2c", "least_request"];
const MOST_PAIRED: usize = 8;

/// The single runs of a sweep along one axis.
struct Line<'a> {
    /// The points, in the order of the axis.
    order: Vec<usize>,
    fields: &'a [&'a Field],
    /// By point, by strategy.
    summaries: Vec<Vec<Summary>>,
    /// Level of each interval.
    level: f64,
}

impl Line<'_> {
    /// 1 where `a` is slower than `b` at a point, −1 where it is faster, 0 where they cannot be told apart or not be compared.
    fn sign(&self, a: usize, b: usize, p: usize) -> i8 {
        let compared = |i: usize| {
            let row = self.fields[p].rows.get(i);
            row.is_some_and(|row| row.ranks && !matches!(row.places[0].stand, Some(Comparison::Fails(_))))
        };
        let both = self.summaries[p].get(a).zip(self.summaries[p].get(b));
        let found =
            both.filter(|_| compared(a) && compared(b)).and_then(|(a, b)| difference(a, b, CROSSING, self.level));
        match found {
            Some(found) if found.replications < ENOUGH => 0,
            Some(found) => i8::from(found.low > 0.0) - i8::from(found.high < 0.0),
            None => 0,
        }
    }
}

/// Pairs of strategies whose difference changes its sign between two points of a sweep along one axis. At both points the
/// interval of the paired difference excludes zero; its level is corrected for the number of pairs and points (Bonferroni).
///
/// # Errors
/// If replications.csv is malformed.
pub fn crossings(
    folder: &Folder,
    entries: &[&PointEntry],
    points: &[Point],
    fields: &[&Field],
) -> Result<Vec<Crossing>> {
    // A grid has no order of points, and a mixture of pools is meaningless.
    let at = |(i, point): (usize, &Point)| match point.values[..] {
        [Some(value)] => Some((value, i)),
        _ => None,
    };
    let Some(mut order) = points.iter().enumerate().map(at).collect::<Option<Vec<_>>>() else { return Ok(Vec::new()) };
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    if !fields[0].pools.is_empty() {
        return Ok(Vec::new());
    }
    let Some(summaries) = replications::summaries(folder, entries, fields, &[CROSSING])? else { return Ok(Vec::new()) };
    let chosen = chosen(fields);
    let tests = (chosen.len() * chosen.len().saturating_sub(1) / 2 * points.len()).max(1);
    let order = order.into_iter().map(|(_, i)| i).collect();
    let line = Line { order, fields, summaries, level: 1.0 - (1.0 - LEVEL) / tests as f64 };
    let mut all = Vec::new();
    for (i, &a) in chosen.iter().enumerate() {
        for &b in &chosen[i + 1..] {
            // Points at which the two cannot be told apart lie between the two of a crossing.
            let signs = line.order.iter().map(|&p| (p, line.sign(a, b, p)));
            let known: Vec<(usize, i8)> = signs.filter(|(_, sign)| *sign != 0).collect();
            for pair in known.windows(2).filter(|pair| pair[0].1 != pair[1].1) {
                let (before, after) = if pair[0].1 < 0 { (a, b) } else { (b, a) };
                all.push(crossing(points, fields[0], (before, after), (pair[0].0, pair[1].0)));
            }
        }
    }
    Ok(all)
}

/// The crossing of two strategies between two points.
fn crossing(points: &[Point], field: &Field, (a, b): (usize, usize), (from, to): (usize, usize)) -> Crossing {
    let value = |p: usize| points[p].values[0].unwrap_or(f64::NAN);
    let (before, after) = (&field.rows[a].label, &field.rows[b].label);
    let text =
        format!("{before} has the lower p99 up to {}, and {after} from {}.", points[from].label, points[to].label);
    Crossing { text, metric: CROSSING.to_owned(), a, b, between: (value(from), value(to)) }
}

/// The strategies whose crossings are searched: those that are the best at a point, then familiar ones.
fn chosen(fields: &[&Field]) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    let best = fields.iter().filter_map(|field| field.best(0));
    let familiar = FAMILIAR.iter().filter_map(|name| fields[0].rows.iter().position(|row| row.strategy == *name));
    for i in best.chain(familiar) {
        if !chosen.contains(&i) && chosen.len() < MOST_PAIRED {
            chosen.push(i);
        }
    }
    chosen.sort_unstable();
    chosen
}
