//! Metrics: those of a scenario, and their values in one run or batch.

mod catalog;
mod view;

pub use catalog::{CATALOGUE, Definition, Direction, FAILED, Unit, find, nature};
pub(super) use view::{at_quantile, loads, mean, ratio, utilisation};

use self::view::{Part, View};
use super::interval::{Estimate, estimate};
use crate::scenario::Scenario;
use crate::sim::model::Model;
use crate::sim::record::Measured;

/// A metric, one value per replication (or per batch of one long run).
#[derive(Clone, Debug)]
pub struct Metric {
    /// As in `metrics.csv`: with the path or pool before the name.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// In order of replication; NaN if a replication has no value.
    pub values: Vec<f64>,
}

impl Metric {
    /// Mean and interval.
    pub fn estimate(&self) -> Estimate {
        estimate(&self.values)
    }
}

/// The catalogue as a Markdown table, for the documentation.
pub fn reference() -> String {
    let mut text = String::from("| metric | unit | better | meaning | present |\n|---|---|---|---|---|\n");
    for row in &CATALOGUE {
        let unit = match row.unit {
            Unit::Seconds | Unit::Rate => row.unit.as_str(),
            Unit::Share => "share",
            Unit::Index => "index",
            Unit::Number => "number",
        };
        let better = if row.direction == Direction::Neither { "" } else { row.direction.as_str() };
        text += &format!("| `{}` | {unit} | {better} | {} | {} |\n", row.name, row.doc, row.present);
    }
    text
}

/// Names of all metrics in the results of a scenario.
pub fn metric_names(scenario: &Scenario) -> Vec<String> {
    definitions(scenario).into_iter().map(|(name, _)| name).collect()
}

/// Name and unit of every metric of a scenario, in output order.
pub(super) fn definitions(scenario: &Scenario) -> Vec<(String, Unit)> {
    let mut names = Vec::new();
    visit(&scenario.model, |_, prefix, row, _| names.push((format!("{prefix}{}", row.name), row.unit)));
    names
}

/// The value of every metric over a span of `seconds`, in the same order.
pub(super) fn values(scenario: &Scenario, measured: &Measured, seconds: f64) -> Vec<f64> {
    let model = &scenario.model;
    let mut values = Vec::new();
    visit(model, |part, _, _, value| values.push(value(&View { model, measured, seconds, part })));
    values
}

/// Name and value of every metric of a run, in output order; NaN where there is no value. `seconds` is the length of the measured
/// span, or of the part of it that is over.
pub fn of_run(scenario: &Scenario, measured: &Measured, seconds: f64) -> Vec<(String, f64)> {
    let names = definitions(scenario).into_iter().map(|(name, _)| name);
    names.zip(values(scenario, measured, seconds)).collect()
}

/// Visits every metric of a model: its part, the prefix of its name, its row and its formula.
fn visit(model: &Model, mut visitor: impl FnMut(Part, &str, &'static Definition, fn(&View<'_>) -> f64)) {
    for (part, prefix) in Part::all(model) {
        for row in &CATALOGUE {
            if let Some(value) = row.value.filter(|_| (row.is_present)(model, part)) {
                visitor(part, &prefix, row, value);
            }
        }
    }
}
