//! The results of a run: the part of the document with the table and the charts.

use std::collections::BTreeMap;

use anyhow::Result;

use super::folder::{Folder, Manifest, PointEntry};
use super::model::{Estimate, Family, Metric, Run, Strategy, Theory, Verdict, some};
use super::standings::Standings;
use super::{series, timeline};
use crate::report::answer::{Field, Place, Row};
use crate::report::table;
use evenkeel_core::select::catalog;
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::Comparison;
use evenkeel_sim::measure::interval;
use evenkeel_sim::measure::metrics::{CATALOGUE, Definition, Unit, find};

/// The results at a point.
///
/// # Errors
/// If a table is malformed.
pub fn run(folder: &Folder, manifest: &Manifest, at: &PointEntry, standings: &Standings) -> Result<Run> {
    let field = &standings.field;
    let order = field.order();
    let labels: Vec<&str> = order.iter().map(|&i| field.rows[i].label.as_str()).collect();
    let position = |i: &usize| order.iter().position(|other| other == i);
    let (regrets, theories) = (regrets(folder, at)?, theories(folder, at)?);
    let strategies = order.iter().map(|&i| {
        let row = &field.rows[i];
        let values = standings.values.get(&row.label).cloned().unwrap_or_default();
        let theory = theories.get(&row.label).map(|exact| theory(row, &values, standings, exact));
        Strategy {
            label: row.label.clone(),
            strategy: row.strategy.clone(),
            family: family(&row.strategy).to_owned(),
            place: place(&row.strategy),
            oracle: row.oracle,
            doc: catalog::find(&row.strategy).map_or_else(String::new, |row| row.doc.title.to_owned()),
            verdicts: verdicts(field, row),
            state: row.state.as_str().to_owned(),
            state_reason: standings.reasons.get(&row.label).cloned().unwrap_or_default(),
            values,
            theory,
            regret: regrets.get(&row.label).copied(),
        }
    });
    let same = field.same_picks();
    let explanation = timeline::why(folder, &labels)?;
    let (why, why_short) = explanation.map_or((None, Vec::new()), |found| (Some(found.why), found.short));
    Ok(Run {
        metrics: metrics(standings.values.values().flat_map(|values| values.keys())),
        pools: field.pools.clone(),
        families: families(field),
        strategies: strategies.collect(),
        same_picks: same.iter().map(|group| sorted(group.iter().filter_map(position).collect())).collect(),
        cdf: series::cdf(folder, &at.point, &labels)?,
        series: series::series(folder, &at.point, &labels)?,
        servers: series::servers(folder, &at.point, &labels)?,
        faults: manifest.faults.clone(),
        warmup: at.warmup_s,
        duration: at.duration_s,
        timelines: timeline::timelines(folder, &labels)?,
        why,
        why_short,
    })
}

fn sorted(mut group: Vec<usize>) -> Vec<usize> {
    group.sort_unstable();
    group
}

/// The heading of a strategy's family; empty for a custom strategy.
pub fn family(strategy: &str) -> &'static str {
    catalog::find(strategy).map_or("", |row| row.doc.family.title())
}

/// The position of a strategy in the catalogue; `None` for a custom strategy.
pub fn place(strategy: &str) -> Option<usize> {
    catalog::CATALOGUE.iter().position(|row| row.name == strategy)
}

/// What the choices of a family are based on.
fn family_doc(family: catalog::Family) -> &'static str {
    use catalog::Family;
    match family {
        Family::Random => "Randomness alone.",
        Family::RoundRobin => "A rotation over the servers, in proportion to weights where it has them.",
        Family::Load => "In-flight requests, as this balancer counts them.",
        Family::Latency => "Latencies that this balancer measured.",
        Family::Report => "Load reports and probe answers of the servers.",
        Family::Hash => "A hash of the request's key, client address or path.",
        Family::Oracle => "The true state of the servers, which only the simulator knows. A baseline.",
    }
}

fn families(field: &Field) -> Vec<Family> {
    let rows = field.rows.iter().filter_map(|row| catalog::find(&row.strategy));
    let mut families: Vec<catalog::Family> = rows.map(|row| row.doc.family).collect();
    families.sort_unstable();
    families.dedup();
    let row = |family: catalog::Family| Family { name: family.title().to_owned(), doc: family_doc(family).to_owned() };
    families.into_iter().map(row).collect()
}

/// The metrics of the catalogue that have values, in its order; those of other versions come last.
pub fn metrics<'a>(names: impl Iterator<Item = &'a String>) -> Vec<Metric> {
    let mut rows: Vec<&'static Definition> = Vec::new();
    for name in names {
        if let Some(row) = find(name).filter(|row| !rows.iter().any(|other| other.name == row.name)) {
            rows.push(row);
        }
    }
    rows.sort_by_key(|row| CATALOGUE.iter().position(|other| other.name == row.name));
    let metric = |row: &Definition| Metric {
        name: row.name.to_owned(),
        label: row.label.to_owned(),
        unit: unit(row.unit),
        direction: row.direction.as_str(),
        doc: row.doc.to_owned(),
    };
    rows.into_iter().map(metric).collect()
}

/// A unit in the document.
pub fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "s",
        Unit::Rate => "1/s",
        Unit::Share => "share",
        Unit::Index => "index",
        Unit::Number => "number",
    }
}

fn verdicts(field: &Field, row: &Row) -> Vec<Verdict> {
    let verdict = |(r, place): (usize, &Place)| {
        let (relation, by) = match place.stand {
            _ if row.oracle => ("none", None),
            Some(Comparison::Best) => ("best", None),
            Some(Comparison::Tied) => ("tied", None),
            Some(Comparison::Worse(times)) => ("worse", some(times)),
            Some(Comparison::Unknown(times)) => ("unknown", some(times)),
            Some(Comparison::Fails(more)) => ("fails_more", some(more)),
            Some(Comparison::Overloaded) => ("overloaded", None),
            None => ("none", None),
        };
        let text = match row.oracle {
            true => "baseline with perfect information".to_owned(),
            false => table::stand_text(place.stand, false),
        };
        Verdict { pool: field.pools.get(r).cloned(), relation, by, text }
    };
    row.places.iter().enumerate().map(verdict).collect()
}

/// Regret of the mean latency, by strategy.
fn regrets(folder: &Folder, at: &PointEntry) -> Result<BTreeMap<String, Estimate>> {
    let Some(table) = folder.table("comparison.csv")? else { return Ok(BTreeMap::new()) };
    table.need(&["metric", "relation", "difference", "low", "high"])?;
    let rows = table.at(&at.point);
    let rows = rows.filter(|row| row.text("relation") == "regret" && row.text("metric") == "latency.mean");
    let estimate = |row: super::folder::Row<'_>| ["difference", "low", "high"].map(|column| row.number(column));
    Ok(rows.map(|row| (row.text("strategy").to_owned(), estimate(row))).collect())
}

/// Theorem, mean and p99, by strategy.
type Exact = (String, Option<f64>, Option<f64>);

fn theories(folder: &Folder, at: &PointEntry) -> Result<BTreeMap<String, Exact>> {
    let Some(table) = folder.table("verdicts.csv")? else { return Ok(BTreeMap::new()) };
    let rows = table.at(&at.point).filter(|row| !row.text("theorem").is_empty());
    let exact = |row: super::folder::Row<'_>| {
        (row.text("theorem").to_owned(), row.number("exact_mean_s"), row.number("exact_p99_s"))
    };
    Ok(rows.map(|row| (row.text("strategy").to_owned(), exact(row))).collect())
}

fn theory(row: &Row, values: &BTreeMap<String, Estimate>, standings: &Standings, exact: &Exact) -> Theory {
    let (theorem, mean, p99) = exact;
    let runs = standings.runs.get(&row.label).copied().unwrap_or(0);
    let side = |metric: &str, name: &str, exact: f64| {
        let [value, low, high] = values.get(metric).copied().unwrap_or_default().map(|end| end.unwrap_or(f64::NAN));
        let estimate = interval::Estimate { value, low, high, replications: runs };
        let word = table::agreement(row.state, row.ranks, estimate, exact);
        format!("{name} {} in theory, {} simulated, {word}", human_seconds(exact), human_seconds(value))
    };
    let mean_text = mean.map(|exact| side("latency.mean", "mean", exact));
    let p99_text = p99.map(|exact| side("latency.p99", "p99", exact));
    let text = mean_text.into_iter().chain(p99_text).collect::<Vec<_>>().join("; ");
    Theory { theorem: theorem.clone(), mean: *mean, p99: *p99, text }
}
