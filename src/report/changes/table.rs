//! Changes as tables in a terminal, one per scenario in which something matters.

use comfy_table::{Attribute, Cell, CellAlignment, Color};

use super::{Compared, Line, groups, lines, place};
use crate::report::export::{Exporter, Layout};
use crate::report::table::plain;
use evenkeel_sim::measure::comparison::Verdict;

/// Prose is not wider than this, however wide the terminal.
const WIDTH: u16 = 110;

/// `compare` as tables in a terminal.
pub struct Table;

impl Exporter<Compared<'_>> for Table {
    fn flag(&self) -> &'static str {
        "export-table"
    }

    fn purpose(&self) -> &'static str {
        "the tables to a file"
    }

    fn render(&self, compared: &Compared<'_>, layout: Layout) -> anyhow::Result<String> {
        Ok(render(compared, layout))
    }
}

/// Tables, a line with the counts, and how to read them. Without `all`, only worse, better, missing or new results are
/// shown.
fn render(compared: &Compared<'_>, layout: Layout) -> String {
    let Layout { colour, width, all } = layout;
    let bold = |text: &str| if colour { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() };
    let mut text = format!("before: {}\nafter:  {}\n", compared.old, compared.new);
    for note in compared.notes() {
        text += &format!("note: {note}\n");
    }
    let mut hidden = false;
    for (key, changes) in groups(compared.changes.all.iter()) {
        let mut lines = lines(&changes);
        let before = lines.len();
        lines.retain(|line| all || matters(line.verdict));
        hidden |= lines.len() < before;
        if lines.is_empty() {
            continue;
        }
        text += &format!("\n{}\n", bold(&place(key)));
        text += &table(&lines, colour, width);
        text += "\n";
    }
    text +=
        &format!("\n{}.\nIn all {}: {}.", bold(&compared.headline()), compared.changes.all.len(), compared.counts());
    if hidden {
        text += " --all shows every one.";
    }
    let wide = usize::from(width.unwrap_or(WIDTH).clamp(40, WIDTH));
    let reading = compared.reading().into_iter().map(|line| textwrap::fill(&line, wide));
    text + "\n\n" + &reading.collect::<Vec<_>>().join("\n")
}

/// Whether it is shown without `all`.
fn matters(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Worse | Verdict::Missing | Verdict::Better | Verdict::New)
}

fn table(lines: &[Line], colour: bool, width: Option<u16>) -> String {
    let mut table = plain(width);
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let bold = |name| if colour { Cell::new(name).add_attribute(Attribute::Bold) } else { Cell::new(name) };
    table.set_header(["strategy", "metric", "before", "after", "change", "verdict", "runs"].map(bold));
    for line in lines {
        let tint = match line.verdict {
            Verdict::Worse | Verdict::Missing => Some(Color::Red),
            Verdict::Better => Some(Color::Green),
            _ => None,
        };
        let verdict = match tint.filter(|_| colour) {
            Some(tint) => Cell::new(line.words).fg(tint).add_attribute(Attribute::Bold),
            None => Cell::new(line.words),
        };
        let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
        table.add_row(vec![
            Cell::new(&line.strategy),
            Cell::new(&line.metric),
            right(&line.before),
            right(&line.after),
            right(&line.change),
            verdict,
            Cell::new(&line.runs),
        ]);
    }
    table.to_string()
}
