//! Whether the ranking holds when each constant is decreased and increased.

use anyhow::Result;

use super::folder::{Folder, Manifest};
use super::model::{Cell, Column, Section, Table, TableRow};
use super::{replications, standings, sweep};
use crate::report::answer::{Field, holds};
use evenkeel_sim::measure::sensitivity::{Survival, survival};
use evenkeel_sim::measure::{Summary, compare};

/// The metric by which the ranking is compared, unless the manifest names another.
const RANKED_BY: &str = "latency.p99";

/// The conclusion, and a row per changed constant; `None` without the single runs.
///
/// # Errors
/// If a table is malformed.
pub fn sensitivity(folder: &Folder, manifest: &Manifest) -> Result<Option<(String, Section)>> {
    let entries = sweep::entries(manifest);
    let fields =
        entries.iter().map(|at| Ok(standings::read(folder, manifest, at)?.field)).collect::<Result<Vec<_>>>()?;
    let fields: Vec<&Field> = fields.iter().collect();
    let metric = manifest.sensitivity.as_ref().map_or(RANKED_BY, |sensitivity| sensitivity.metric.as_str());
    let metrics = [metric, "errors.ratio", "unfinished.ratio"];
    let Some(summaries) = replications::summaries(folder, &entries, &fields, &metrics)? else { return Ok(None) };
    let base = &summaries[0];
    let found: Vec<Survival> = summaries.iter().map(|here| survival(base, here, metric)).collect();
    let rows =
        entries.iter().zip(&summaries).zip(&found).map(|((at, here), found)| row(&at.point, here, found, metric));
    let reversed = found.iter().map(|found| found.reversed.len()).sum();
    let column = |name: &str| Column { name: name.to_owned(), unit: "text", doc: None };
    let columns = ["constant", "best", "pairs in the same order", "now tied", "reversed"].map(column).into();
    let by = manifest.sensitivity.as_ref().map(|sensitivity| format!(" by {:.0} %", sensitivity.by * 100.0));
    let section = Section {
        heading: "Does the ranking hold with other constants?".to_owned(),
        paragraphs: vec![format!(
            "Each constant is decreased and increased{}, one at a time; the ranking is by {metric}.",
            by.unwrap_or_default()
        )],
        table: Some(Table { columns, rows: rows.collect() }),
    };
    Ok(Some((holds(found[0].told_apart, reversed), section)))
}

fn row(point: &str, here: &[Summary], found: &Survival, metric: &str) -> TableRow {
    let best = compare(here, metric).iter().position(|stand| *stand == Some(evenkeel_sim::measure::Comparison::Best));
    let pairs: Vec<String> =
        found.reversed.iter().map(|pair| format!("{} beats {}", pair.is_better, pair.was_better)).collect();
    let cells = [
        if point == super::BASE { "as written".to_owned() } else { point.to_owned() },
        best.map_or_else(|| "–".to_owned(), |i| here[i].label.clone()),
        format!("{} of {}", found.kept, found.told_apart),
        found.tied.to_string(),
        pairs.join(", "),
    ];
    let mark = if pairs.is_empty() { "neutral" } else { "bad" };
    TableRow { cells: cells.map(Cell::Text).into(), mark: Some(mark), href: None }
}
