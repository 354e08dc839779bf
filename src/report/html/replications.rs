//! The single runs, from `replications.csv`, for paired comparisons.

use std::collections::BTreeMap;

use anyhow::Result;

use super::folder::{Folder, PointEntry};
use crate::report::answer::Field;
use evenkeel_sim::measure::metrics::nature;
use evenkeel_sim::measure::{Metric, Stability, Summary};

/// Summaries with these metrics alone, by point and in the order of its field; `None` if the file is missing.
///
/// # Errors
/// If the file is malformed.
pub fn summaries(
    folder: &Folder,
    entries: &[&PointEntry],
    fields: &[&Field],
    metrics: &[&str],
) -> Result<Option<Vec<Vec<Summary>>>> {
    let Some(table) = folder.table("replications.csv")? else { return Ok(None) };
    table.need(metrics)?;
    let mut runs: BTreeMap<(&str, &str), Vec<Vec<f64>>> = BTreeMap::new();
    for row in table.rows() {
        let values =
            runs.entry((row.text("point"), row.text("strategy"))).or_insert_with(|| vec![Vec::new(); metrics.len()]);
        for (values, metric) in values.iter_mut().zip(metrics) {
            values.push(row.number(metric).unwrap_or(f64::NAN));
        }
    }
    let at = |(entry, field): (&&PointEntry, &&Field)| -> Vec<Summary> {
        let summary = |row: &crate::report::answer::Row| {
            let values = runs.get(&(entry.point.as_str(), row.label.as_str()));
            let metric = |(i, name): (usize, &&str)| Metric {
                name: (*name).to_owned(),
                unit: nature(name).1,
                values: values.map_or_else(Vec::new, |values| values[i].clone()),
            };
            Summary {
                label: row.label.clone(),
                oracle: row.oracle,
                // Together with the verdict this says whether it can be ranked.
                steady: !row.ranks,
                stability: Stability { verdict: row.state, ..Stability::default() },
                metrics: metrics.iter().enumerate().map(metric).collect(),
                ..Summary::default()
            }
        };
        field.rows.iter().map(summary).collect()
    };
    Ok(Some(entries.iter().zip(fields).map(at).collect()))
}
