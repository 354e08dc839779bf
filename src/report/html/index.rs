//! The list of all reports below a folder of results.

use super::REPORT;
use super::folder::Folder;
use super::model::{Cell, Column, Document, Kind, Section, Table, TableRow};

/// The document of the list. `folders` are the results below it by the name of their folder; those that cannot be read have a
/// row that says so, and those without a report no link.
pub fn index(folders: &[(String, Folder)]) -> Document {
    let rows = folders.iter().map(|(name, folder)| row(name, folder)).collect();
    let column = |name: &str| Column { name: name.to_owned(), unit: "text", doc: None };
    let columns = ["scenario", "question", "answer", "replications"].map(column).into();
    let count = folders.len();
    let scenarios = if count == 1 { "one scenario".to_owned() } else { format!("{count} scenarios") };
    let mut document = Document::new(Kind::Index, "index", &format!("Results of {scenarios}"));
    document.answer = vec![match count {
        1 => "Its report answers its question.".to_owned(),
        _ => "Each has a report that answers its question.".to_owned(),
    }];
    document.sections.push(Section {
        heading: "Scenarios".to_owned(),
        paragraphs: Vec::new(),
        table: Some(Table { columns, rows }),
    });
    document
}

fn row(name: &str, folder: &Folder) -> TableRow {
    let text = |text: &str| Cell::Text(text.to_owned());
    let manifest = match folder.manifest() {
        Ok(manifest) => manifest,
        Err(error) => {
            let cells = vec![text(name), text(""), text(&format!("cannot be read: {error}")), text("")];
            return TableRow { cells, mark: Some("bad"), href: None };
        }
    };
    let answer = super::answer(folder, &manifest).unwrap_or_default();
    TableRow {
        cells: vec![
            text(&format!("{} ({name})", manifest.title)),
            text(last_paragraph(&manifest.question)),
            text(&answer.join(" ")),
            text(&manifest.first.replications.to_string()),
        ],
        mark: None,
        href: folder.files.contains_key(REPORT).then(|| format!("{name}/{REPORT}")),
    }
}

/// A question's last paragraph: the one that asks.
fn last_paragraph(text: &str) -> &str {
    text.trim().rsplit("\n\n").next().unwrap_or_default()
}
