//! The results of a sweep, and where strategies change places.

use std::collections::BTreeMap;

use anyhow::Result;

use super::folder::{Folder, Manifest, PointEntry};
use super::model::{Axis, Cell, Column, Estimate, Point, Section, Sweep, SweepStrategy, Table, TableRow};
use super::{crossings, run, standings};
use crate::report::answer::Field;
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::Comparison;
use evenkeel_sim::scenario::overrides;

/// Crossings in the answer; the others are in the chart and counted.
const MOST_CROSSINGS: usize = 3;
/// From this ratio of the largest to the smallest value a logarithmic axis makes sense.
const WIDE: f64 = 20.0;

/// The results of a sweep.
///
/// # Errors
/// If metrics.csv is missing, or a table is malformed.
pub fn sweep(folder: &Folder, manifest: &Manifest) -> Result<Sweep> {
    let entries = entries(manifest);
    let standings = entries.iter().map(|at| standings::read(folder, manifest, at)).collect::<Result<Vec<_>>>()?;
    let places: Vec<Vec<(String, String)>> = entries.iter().map(|at| place(at)).collect();
    let points: Vec<Point> = places
        .iter()
        .map(|place| Point {
            label: place.iter().map(|(_, value)| overrides::plain(value)).collect::<Vec<_>>().join(", "),
            values: place.iter().map(|(_, value)| overrides::number(value)).collect(),
        })
        .collect();
    let axes = places.first().map_or(0, Vec::len);
    let axes = (0..axes).map(|a| axis(&places, &points, a)).collect();
    let names = standings.iter().flat_map(|at| at.values.values().flat_map(|values| values.keys()));
    let metrics = run::metrics(names.clone());
    let rows = &standings[0].field.rows;
    let strategies = rows.iter().map(|row| {
        let of = |metric: &str| -> Vec<Estimate> {
            let at = |at: &standings::Standings| at.values.get(&row.label)?.get(metric).copied();
            standings.iter().map(|standings| at(standings).unwrap_or_default()).collect()
        };
        let own: std::collections::BTreeSet<&String> =
            standings.iter().filter_map(|at| at.values.get(&row.label)).flat_map(BTreeMap::keys).collect();
        SweepStrategy {
            label: row.label.clone(),
            family: run::family(&row.strategy).to_owned(),
            place: run::place(&row.strategy),
            oracle: row.oracle,
            values: own.into_iter().map(|metric| (metric.clone(), of(metric))).collect(),
        }
    });
    let strategies = strategies.collect();
    let fields: Vec<&Field> = standings.iter().map(|at| &at.field).collect();
    let crossings = crossings::crossings(folder, &entries, &points, &fields)?;
    Ok(Sweep { metrics, axes, points, strategies, crossings })
}

/// All points, the first one included.
pub fn entries(manifest: &Manifest) -> Vec<&PointEntry> {
    std::iter::once(&manifest.first).chain(&manifest.points).collect()
}

/// Key and value of each axis at a point. Results before version 4 have only the name `a=1 b=2`.
fn place(at: &PointEntry) -> Vec<(String, String)> {
    match &at.place {
        Some(place) => place.iter().map(|(keys, value)| (keys.join("+"), value.clone())).collect(),
        None => {
            let parts = at.point.split(' ').filter_map(|part| part.split_once('='));
            parts.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        }
    }
}

fn axis(places: &[Vec<(String, String)>], points: &[Point], a: usize) -> Axis {
    let texts = || places.iter().filter_map(|place| Some(overrides::plain(&place.get(a)?.1)));
    let ends = |ending: &str| texts().all(|text| text.ends_with(ending));
    let unit = match () {
        () if ends("%") => "share",
        () if ends("/s") => "1/s",
        () if texts().all(|text| text.parse::<f64>().is_ok()) => "number",
        () if ends("s") => "s",
        () => "text",
    };
    let values: Vec<f64> = points.iter().filter_map(|point| *point.values.get(a)?).collect();
    let (low, high) = values.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &v| (low.min(v), high.max(v)));
    let key = places.first().and_then(|place| place.get(a)).map_or_else(String::new, |(key, _)| key.clone());
    Axis { key, unit: unit.to_owned(), log: values.len() == points.len() && low > 0.0 && high / low >= WIDE }
}

/// The answer of a sweep: the strategy that is the best or ties at most points, and where strategies change places.
///
/// # Errors
/// If metrics.csv is missing, or a table is malformed.
pub fn answer(folder: &Folder, manifest: &Manifest) -> Result<Vec<String>> {
    let entries = entries(manifest);
    let fields =
        entries.iter().map(|at| Ok(standings::read(folder, manifest, at)?.field)).collect::<Result<Vec<_>>>()?;
    let mut all: Vec<String> = (0..fields[0].rankings()).filter_map(|r| leads(&fields, r)).collect();
    let crossings = sweep(folder, manifest)?.crossings;
    all.extend(crossings.iter().take(MOST_CROSSINGS).map(|crossing| crossing.text.clone()));
    if crossings.len() > MOST_CROSSINGS {
        all.push(format!("{} more pairs change places.", crossings.len() - MOST_CROSSINGS));
    }
    Ok(all)
}

/// The strategy that is the best or ties at most points of a ranking; `None` if nothing can be ranked at any.
fn leads(fields: &[Field], r: usize) -> Option<String> {
    let leads = |i: usize| {
        let stand = |field: &&Field| field.rows.get(i).is_some_and(|row| row.places[r].stand.is_some_and(is_first));
        fields.iter().filter(stand).count()
    };
    let rows = &fields[0].rows;
    // Of several, the first in the order of the scenario.
    let most =
        (0..rows.len()).rev().filter(|&i| !rows[i].oracle).max_by_key(|&i| leads(i)).filter(|&i| leads(i) > 0)?;
    let pool = fields[0].pools.get(r).map_or_else(String::new, |pool| format!("In {pool}: "));
    Some(format!(
        "{pool}{} has the lowest p99, or ties with it, at {} of {} points.",
        rows[most].label,
        leads(most),
        fields.len()
    ))
}

fn is_first(stand: Comparison) -> bool {
    matches!(stand, Comparison::Best | Comparison::Tied)
}

/// A table of the best strategy at each point, of each pool where there are several.
///
/// # Errors
/// If metrics.csv is missing, or a table is malformed.
pub fn best_by_point(folder: &Folder, manifest: &Manifest) -> Result<Section> {
    let mut rows = Vec::new();
    for at in entries(manifest) {
        let field = standings::read(folder, manifest, at)?.field;
        for r in 0..field.rankings() {
            let point = match field.pools.get(r) {
                Some(pool) => format!("{}, {pool}", at.point),
                None => at.point.clone(),
            };
            let best = field.best(r).map(|i| &field.rows[i]);
            let tied = |row: &&crate::report::answer::Row| !row.oracle && row.places[r].stand == Some(Comparison::Tied);
            let ties: Vec<&str> = field.rows.iter().filter(tied).map(|row| row.label.as_str()).collect();
            rows.push(TableRow {
                cells: vec![
                    Cell::Text(point),
                    Cell::Text(best.map_or_else(|| "–".to_owned(), |row| row.label.clone())),
                    Cell::Text(best.map_or_else(|| "–".to_owned(), |row| human_seconds(row.places[r].p99))),
                    Cell::Text(crate::report::answer::list(&ties, 5)),
                ],
                ..TableRow::default()
            });
        }
    }
    let column = |name: &str| Column { name: name.to_owned(), unit: "text", doc: None };
    let columns = ["point", "best by p99", "its p99", "ties"].map(column).into();
    Ok(Section {
        heading: "The best at each point".to_owned(),
        paragraphs: Vec::new(),
        table: Some(Table { columns, rows }),
    })
}
