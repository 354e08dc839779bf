//! Changes as CSV, a row per comparison, for a spreadsheet or a script.

use super::{Compared, json};
use crate::report::export::{Exporter, Layout};
use crate::report::files::number;

/// `compare` as CSV.
pub struct Csv;

const HEADER: [&str; 15] = [
    "scenario",
    "point",
    "strategy",
    "strategy_new",
    "metric",
    "unit",
    "better",
    "runs_old",
    "runs_new",
    "old",
    "new",
    "difference",
    "low",
    "high",
    "verdict",
];

impl Exporter<Compared<'_>> for Csv {
    fn flag(&self) -> &'static str {
        "export-csv"
    }

    fn purpose(&self) -> &'static str {
        "CSV to a file, a row per comparison"
    }

    fn render(&self, compared: &Compared<'_>, _layout: Layout) -> anyhow::Result<String> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(HEADER)?;
        for change in &compared.changes.all {
            let renamed = change.renamed.as_ref().unwrap_or(&change.strategy);
            let labels = [&change.scenario, &change.point, &change.strategy, renamed, &change.metric];
            let runs = [change.runs.0, change.runs.1].map(|runs| runs.to_string());
            let numbers = [change.old, change.new, change.difference, change.low, change.high].map(number);
            let row = labels.into_iter().map(String::as_str);
            let row = row.chain([change.unit.as_str(), change.direction.as_str()]);
            let row = row.chain(runs.iter().map(String::as_str)).chain(numbers.iter().map(String::as_str));
            writer.write_record(row.chain([json::name(change.verdict)]))?;
        }
        Ok(String::from_utf8(writer.into_inner().map_err(|error| error.into_error())?)?)
    }
}
