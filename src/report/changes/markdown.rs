//! Changes as a comment on a pull request: the verdict, the relevant changes, and the others folded.

use super::{Compared, Line, groups, lines, place};
use crate::report::export::{Exporter, Layout};
use evenkeel_sim::measure::comparison::{Change, Verdict};

/// Size limit: GitHub and others refuse comments longer than 65 536 characters. Tables are cut before that, with a note.
const ROOM: usize = 60_000;

/// `compare` as Markdown.
pub struct Markdown;

impl Exporter<Compared<'_>> for Markdown {
    fn flag(&self) -> &'static str {
        "export-markdown"
    }

    fn purpose(&self) -> &'static str {
        "Markdown to a file, for a comment on a pull request"
    }

    fn render(&self, compared: &Compared<'_>, _layout: Layout) -> anyhow::Result<String> {
        Ok(render(compared))
    }
}

/// The text of the comment.
fn render(compared: &Compared<'_>) -> String {
    let mut text = format!("### {}\n\n{}.\n", compared.headline(), compared.counts());
    text += &format!("Before: {}. After: {}.\n", code(&compared.old), code(&compared.new));
    for note in compared.notes() {
        text += &format!("* {}\n", escape(&note));
    }
    let (first, rest): (Vec<&Change>, Vec<&Change>) =
        compared.changes.all.iter().partition(|change| matches!(change.verdict, Verdict::Worse | Verdict::Missing));
    let (better, rest): (Vec<&Change>, Vec<&Change>) =
        rest.into_iter().partition(|change| change.verdict == Verdict::Better);
    let folded = rest.len();
    let rest: Vec<&Change> = rest.into_iter().filter(|change| change.verdict != Verdict::Identical).collect();
    let how = format!("\nHow to read this: {}\n", escape(&compared.reading().join(" ")));
    // The explanation, and the tags around the folded part, always fit.
    let mut room = ROOM.saturating_sub(text.len() + how.len() + 1000);
    for changes in [&first, &better] {
        text += &table(changes, &mut room);
    }
    if folded > 0 {
        text += &format!("\n<details>\n<summary>The other {folded}</summary>\n");
        text += &identical(compared, &mut room);
        text += &table(&rest, &mut room);
        text += "\n</details>\n";
    }
    text + &how
}

/// A table of changes, cut at the size limit.
fn table(changes: &[&Change], room: &mut usize) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let mut text = "\n| scenario | strategy | metric | before | after | change | verdict | runs |\n".to_owned();
    text += "|---|---|---|--:|--:|--:|---|---|\n";
    let rows: Vec<String> = groups(changes.iter().copied())
        .into_iter()
        .flat_map(|(key, changes)| lines(&changes).into_iter().map(move |line| row(&place(key), &line)))
        .collect();
    let mut left = rows.len();
    for row in rows {
        if row.len() > *room {
            break;
        }
        *room -= row.len();
        left -= 1;
        text += &row;
    }
    if left > 0 {
        text += &format!("\n… and {left} more, which do not fit in a comment.\n");
    }
    text
}

fn row(place: &str, line: &Line) -> String {
    let verdict = match line.verdict {
        Verdict::Worse | Verdict::Missing => format!("**{}**", line.words),
        _ => line.words.to_owned(),
    };
    let cells = [place, &line.strategy, &line.metric, &line.before, &line.after, &line.change].map(escape);
    format!("| {} | {verdict} | {} |\n", cells.join(" | "), escape(&line.runs))
}

/// Identical results, by scenario: strategies that are identical in all metrics, and for the others the identical metrics.
fn identical(compared: &Compared<'_>, room: &mut usize) -> String {
    let mut text = String::new();
    for (key, changes) in groups(compared.changes.all.iter()) {
        let names: Vec<String> = changes
            .chunk_by(|a, b| a.strategy == b.strategy)
            .filter_map(|all| {
                let same = all.iter().filter(|change| change.verdict == Verdict::Identical);
                let metrics: Vec<&str> = same.map(|change| change.metric.as_str()).collect();
                let name = super::strategy(all[0]);
                match metrics.len() {
                    0 => None,
                    n if n == all.len() => Some(name),
                    _ => Some(format!("{name} ({})", metrics.join(", "))),
                }
            })
            .collect();
        if names.is_empty() {
            continue;
        }
        let line = format!("* {}: {}\n", escape(&place(key)), escape(&names.join(", ")));
        if line.len() > *room {
            text += "* … and more, which do not fit in a comment.\n";
            break;
        }
        *room -= line.len();
        text += &line;
    }
    if text.is_empty() {
        text
    } else {
        format!("\nIdentical in every run, in all metrics or in those named:\n\n{text}")
    }
}

/// Escapes Markdown; labels come from files.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' | '@' | '!' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A path as code.
fn code(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() || c == '`' { ' ' } else { c }).collect();
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a|b<c>&`_"), "a\\|b&lt;c&gt;&amp;\\`\\_");
        assert_eq!(code("a`b\n"), "`a b `");
    }
}
