//! Changes as an HTML report.

use super::{Compared, difference, groups, place, runs, strategy, words};
use crate::report::export::{Exporter, Layout};
use crate::report::format::value;
use crate::report::html::model::{Cell, Column, Document, Kind, Section, Table, TableRow};
use crate::report::html::{Folder, page};
use crate::report::table::Note;
use evenkeel_sim::measure::comparison::{Change, Verdict};

/// `compare` as an HTML report.
pub struct Html;

impl Exporter<Compared<'_>> for Html {
    fn flag(&self) -> &'static str {
        "report"
    }

    fn purpose(&self) -> &'static str {
        "an HTML report to a file"
    }

    fn render(&self, compared: &Compared<'_>, _layout: Layout) -> anyhow::Result<String> {
        Ok(String::from_utf8(page(&document(compared), &Folder::default())?)?)
    }
}

fn document(compared: &Compared<'_>) -> Document {
    let note = |text: String| Note { text, strategies: Vec::new() };
    let mut document = Document::new(Kind::Compare, "compare", "Results before and after");
    document.question = format!("What has changed between {} and {}?", compared.old, compared.new);
    document.answer = vec![format!("{}.", compared.headline()), format!("{}.", compared.counts())];
    document.facts = vec![("before".to_owned(), compared.old.clone()), ("after".to_owned(), compared.new.clone())];
    document.warnings = compared.notes().into_iter().map(note).collect();
    document
        .sections
        .extend(groups(compared.changes.all.iter()).into_iter().map(|(key, all)| section(compared, key, &all)));
    document.sections.push(Section {
        heading: "How to read the numbers".to_owned(),
        paragraphs: compared.reading(),
        table: None,
    });
    document.repeat.command = format!("evenkeel compare {} {}", compared.old, compared.new);
    document
}

/// The changes of a scenario at a point: those that matter first.
fn section(compared: &Compared<'_>, key: (&str, &str), changes: &[&Change]) -> Section {
    let column = |name: &str| Column { name: name.to_owned(), unit: "text", doc: None };
    let columns = ["strategy", "metric", "before", "after", "change", "verdict", "runs"].map(column).into();
    let mut sorted: Vec<&&Change> = changes.iter().filter(|change| change.verdict != Verdict::Identical).collect();
    sorted.sort_by_key(|change| change.verdict);
    let identical = changes.len() - sorted.len();
    let row = |change: &&Change| {
        let cells = [
            strategy(change),
            change.metric.clone(),
            value(change.old, change.unit),
            value(change.new, change.unit),
            difference(change),
            words(change).to_owned(),
            runs(change),
        ];
        let mark = match change.verdict {
            _ if compared.fails(change) => "bad",
            Verdict::Better => "good",
            _ => "neutral",
        };
        TableRow { cells: cells.map(Cell::Text).into(), mark: Some(mark), href: None }
    };
    let paragraphs = match identical {
        0 => Vec::new(),
        n => vec![format!("{n} of {} comparisons are identical in every run.", changes.len())],
    };
    let rows: Vec<TableRow> = sorted.into_iter().map(row).collect();
    let table = (!rows.is_empty()).then_some(Table { columns, rows });
    Section { heading: place(key), paragraphs, table }
}
