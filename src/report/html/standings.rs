//! The strategies as the rankings see them, from the files of a results folder.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};

use super::folder::{Folder, Manifest, PointEntry, Table};
use super::model;
use crate::report::answer::{Field, Place, Row};
use evenkeel_core::select::catalog;
use evenkeel_sim::measure::interval::Estimate;
use evenkeel_sim::measure::{Comparison, Verdict};

/// The metric by which strategies are ranked.
const RANKED_BY: &str = "latency.p99";

/// What the tables say of the strategies at a point.
pub struct Standings {
    /// The strategies in the rankings.
    pub field: Field,
    /// By strategy and metric.
    pub values: BTreeMap<String, BTreeMap<String, model::Estimate>>,
    /// By strategy: runs with a value of the mean latency.
    pub runs: BTreeMap<String, usize>,
    /// By strategy: the reason of its state, in words.
    pub reasons: BTreeMap<String, String>,
    /// Utilisation of the busiest pool, the lowest and the highest of all strategies, 0 to 1.
    pub busy: Option<(f64, f64)>,
}

/// Reads the standings at a point.
///
/// # Errors
/// If metrics.csv is missing, or a table is malformed.
pub fn read(folder: &Folder, manifest: &Manifest, at: &PointEntry) -> Result<Standings> {
    let metrics = folder.table("metrics.csv")?.ok_or_else(|| anyhow!("there is no metrics.csv"))?;
    metrics.need(&["metric", "value", "low", "high", "replications"])?;
    let mut values: BTreeMap<String, BTreeMap<String, model::Estimate>> = BTreeMap::new();
    let mut runs = BTreeMap::new();
    for row in metrics.at(&at.point) {
        let estimate = ["value", "low", "high"].map(|column| row.number(column));
        let (label, metric) = (row.text("strategy").to_owned(), row.text("metric").to_owned());
        if metric == "latency.mean" {
            runs.insert(label.clone(), row.number("replications").unwrap_or(0.0) as usize);
        }
        values.entry(label).or_default().insert(metric, estimate);
    }
    let (mut states, mut reasons, mut busy) = (BTreeMap::new(), BTreeMap::new(), None);
    if let Some(verdicts) = folder.table("verdicts.csv")? {
        verdicts.need(&["verdict", "reason"])?;
        for row in verdicts.at(&at.point) {
            states.insert(row.text("strategy").to_owned(), state(row.text("verdict")));
            reasons.insert(row.text("strategy").to_owned(), row.text("reason").to_owned());
            if let Some(share) = row.number("utilisation") {
                let (low, high) = busy.unwrap_or((share, share));
                busy = Some((share.min(low), share.max(high)));
            }
        }
    }
    let pools = entry_pools(&metrics, &at.point);
    let prefixes: Vec<String> = match pools.is_empty() {
        true => vec![String::new()],
        false => pools.iter().map(|pool| format!("{pool}.")).collect(),
    };
    let comparison = folder.table("comparison.csv")?;
    let rows = at.strategies.iter().map(|entry| {
        let own = values.get(&entry.label);
        let state = states.get(&entry.label).copied().unwrap_or(Verdict::Stable);
        let p99 = own.and_then(|own| own.get(RANKED_BY)).copied().unwrap_or_default();
        // Latencies of an overloaded steady state have no interval.
        let steady = manifest.steady.unwrap_or(p99[1].is_none() && at.replications > 1);
        Row {
            label: entry.label.clone(),
            strategy: entry.strategy().to_owned(),
            oracle: catalog::find(entry.strategy()).is_some_and(|row| row.doc.oracle()),
            ranks: !(steady && state == Verdict::Overloaded),
            state,
            picks: entry.pick_hashes.clone(),
            places: prefixes.iter().map(|prefix| unplaced(own, prefix)).collect(),
        }
    });
    let batches = manifest.method == "batch means";
    // The batches of one long run are rows of their own.
    let replications = if batches { runs.values().copied().max().unwrap_or(0) as u32 } else { at.replications };
    let mut field = Field { pools, rows: rows.collect(), replications, batches };
    for (ranking, prefix) in prefixes.iter().enumerate() {
        compare(&mut field, ranking, &format!("{prefix}{RANKED_BY}"), comparison.as_ref(), &at.point);
    }
    Ok(Standings { field, values, runs, reasons, busy })
}

/// The pools with latencies of their own, in the order of the file.
fn entry_pools(metrics: &Table, point: &str) -> Vec<String> {
    let names = metrics.distinct(point, "metric");
    let pools = names.iter().filter_map(|name| name.strip_suffix(&format!(".{RANKED_BY}")));
    pools.filter(|pool| !pool.starts_with("path.")).map(str::to_owned).collect()
}

fn unplaced(own: Option<&BTreeMap<String, model::Estimate>>, prefix: &str) -> Place {
    let value = |name: &str| own.and_then(|own| own.get(&format!("{prefix}{name}"))?[0]).unwrap_or(f64::NAN);
    let failed = value("errors.ratio") + value("unfinished.ratio");
    Place { stand: None, p99: value(RANKED_BY), failed, gap: None }
}

/// Fills in the comparisons of a ranking.
fn compare(field: &mut Field, ranking: usize, metric: &str, comparison: Option<&Table>, point: &str) {
    let failed = |row: &Row| Some(row.places[ranking].failed).filter(|share| share.is_finite()).unwrap_or(0.0);
    let least = field.rows.iter().filter(|row| !row.oracle).map(failed).fold(f64::INFINITY, f64::min);
    let rows = comparison.into_iter().flat_map(|table| table.at(point));
    let rows = rows.filter(|row| row.text("metric") == metric && row.text("relation") != "regret");
    let by_label: BTreeMap<&str, _> = rows.map(|row| (row.text("strategy"), row)).collect();
    for row in &mut field.rows {
        let excess = failed(row) - least;
        let place = &mut row.places[ranking];
        if !row.oracle && !row.ranks {
            place.stand = Some(Comparison::Overloaded);
        }
        let Some(found) = by_label.get(row.label.as_str()) else { continue };
        let number = |column: &str| found.number(column).unwrap_or(f64::NAN);
        place.stand = match found.text("relation") {
            "best" => Some(Comparison::Best),
            "tied" => Some(Comparison::Tied),
            "worse" => Some(Comparison::Worse(number("ratio"))),
            "too_few_runs" => Some(Comparison::Unknown(number("ratio"))),
            "fails_more" => Some(Comparison::Fails(excess)),
            "overloaded" => Some(Comparison::Overloaded),
            _ => None,
        };
        let replications = found.number("replications").unwrap_or(0.0) as usize;
        place.gap =
            Some(Estimate { value: number("difference"), low: number("low"), high: number("high"), replications });
    }
}

/// A state by its name in files.
fn state(name: &str) -> Verdict {
    let all = [Verdict::Backlogged, Verdict::Overloaded, Verdict::TooShort, Verdict::NoRequests];
    all.into_iter().find(|verdict| verdict.as_str() == name).unwrap_or(Verdict::Stable)
}
