//! A report as Markdown, for a comment on a pull request.

use super::model::{Document, Run, Strategy};
use crate::report::changes::markdown_text as escape;
use crate::report::format::percent;
use evenkeel_core::units::human_seconds;

/// Rows of the table; the others are counted.
const ROWS: usize = 12;

/// Question, answer, the first rows of the table, warnings and the command.
pub fn markdown(document: &Document) -> String {
    let mut text = format!("### {}\n\n", escape(&document.title));
    for paragraph in document.question.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        text += &format!("{}\n\n", escape(&one_line(paragraph)));
    }
    for sentence in &document.answer {
        text += &format!("**{}**\n\n", escape(sentence));
    }
    if let Some(run) = &document.run {
        text += &table(run);
        for line in &run.why_short {
            text += &format!("Why: {}\n\n", escape(line));
        }
    }
    let facts: Vec<String> = document.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    text += &format!("{}.\n", escape(&facts.join(", ")));
    for warning in &document.warnings {
        text += &format!("* {}\n", escape(&warning.line(usize::MAX)));
    }
    if !document.repeat.command.is_empty() {
        let repeat = &document.repeat;
        text += &format!("\nTo repeat it (evenkeel {}):\n\n    {}\n", repeat.version, one_line(&repeat.command));
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first strategies. With several pools, the p99 of each.
fn table(run: &Run) -> String {
    let prefixes: Vec<String> = match run.pools.is_empty() {
        true => vec![String::new()],
        false => run.pools.iter().map(|pool| format!("{pool}.")).collect(),
    };
    let mut text = String::from("| strategy |");
    for prefix in &prefixes {
        let of = prefix.replace('.', " ");
        text += &format!(" {}p99 | {}failed | {}verdict |", escape(&of), escape(&of), escape(&of));
    }
    text += &format!("\n|---|{}\n", "--:|--:|---|".repeat(prefixes.len()));
    for strategy in run.strategies.iter().take(ROWS) {
        text += &row(strategy, &prefixes);
    }
    let more = run.strategies.len().saturating_sub(ROWS);
    if more > 0 {
        text += &format!("\n… and {more} more strategies.\n");
    }
    text + "\n"
}

fn row(strategy: &Strategy, prefixes: &[String]) -> String {
    let mut text = format!("| {} |", escape(&strategy.label));
    for (r, prefix) in prefixes.iter().enumerate() {
        let value = |name: &str| {
            strategy.values.get(&format!("{prefix}{name}")).and_then(|estimate| estimate[0]).unwrap_or(f64::NAN)
        };
        let failed = value("errors.ratio") + value("unfinished.ratio");
        let verdict = strategy.verdicts.get(r).map_or("", |verdict| &verdict.text);
        text += &format!(" {} | {} | {} |", human_seconds(value("latency.p99")), percent(failed), escape(verdict));
    }
    text + "\n"
}
