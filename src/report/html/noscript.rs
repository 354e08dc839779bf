//! The report without JavaScript: the sentences, the table and the static charts.

use base64::Engine;

use super::folder::Folder;
use super::model::{Cell, Document, Run, Section};
use super::page::escape;
use crate::report::format::{percent, value};
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::metrics::Unit;

/// Static charts in the page are at most this long together, in bytes; the others are named.
const CHARTS_SIZE: usize = 220_000;
/// The charts, the most important first.
const CHARTS: [&str; 9] = [
    "latency.svg",
    "sweep_p99.svg",
    "pools.svg",
    "sweep_errors.svg",
    "sensitivity.svg",
    "timeseries.svg",
    "fairness.svg",
    "cache.svg",
    "sweep_mean.svg",
];

/// The static part of the page, as HTML.
pub fn noscript(document: &Document, folder: &Folder) -> String {
    let mut html = format!("<h1>{}</h1>\n", escape(&document.title));
    html += &paragraphs(&document.question);
    for sentence in &document.answer {
        html += &format!("<p><strong>{}</strong></p>\n", escape(sentence));
    }
    for warning in &document.warnings {
        html += &format!("<p>{}.</p>\n", escape(&warning.line(usize::MAX)));
    }
    html += &document.run.as_ref().map_or_else(String::new, table);
    for line in document.run.iter().flat_map(|run| &run.why_short) {
        html += &format!("<p>Why: {}</p>\n", escape(line));
    }
    html += &document.sections.iter().map(section).collect::<String>();
    html += &charts(folder);
    html += &document.explanation.as_deref().map_or_else(String::new, paragraphs);
    if !document.repeat.command.is_empty() {
        html += &format!("<p>To repeat it: <code>{}</code></p>\n", escape(&document.repeat.command));
    }
    html
}

fn paragraphs(text: &str) -> String {
    text.split("\n\n")
        .filter(|text| !text.trim().is_empty())
        .map(|text| format!("<p>{}</p>\n", escape(text.trim())))
        .collect()
}

fn head(names: &[String]) -> String {
    let cells: String = names.iter().map(|name| format!("<th>{}</th>", escape(name))).collect();
    format!("<thead><tr>{cells}</tr></thead>\n")
}

fn row(cells: &[String]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escape(cell))).collect();
    format!("<tr>{cells}</tr>\n")
}

/// The strategies of a run: latency, errors, verdict. With several pools, p99 and verdict of each.
fn table(run: &Run) -> String {
    let scopes: Vec<Option<&String>> = match run.pools.is_empty() {
        true => vec![None],
        false => run.pools.iter().map(Some).collect(),
    };
    let mut names = vec!["strategy".to_owned()];
    for pool in &scopes {
        let of = pool.map_or_else(String::new, |pool| format!("{pool} "));
        names.extend(["mean", "p99", "failed", "verdict"].map(|name| format!("{of}{name}")));
    }
    names.push("state".to_owned());
    let rows: String = run
        .strategies
        .iter()
        .map(|strategy| {
            let mut cells = vec![strategy.label.clone()];
            for (r, pool) in scopes.iter().enumerate() {
                let prefix = pool.map_or_else(String::new, |pool| format!("{pool}."));
                let value = |name: &str| {
                    strategy.values.get(&format!("{prefix}{name}")).and_then(|estimate| estimate[0]).unwrap_or(f64::NAN)
                };
                cells.extend(["latency.mean", "latency.p99"].map(|name| human_seconds(value(name))));
                cells.push(percent(value("errors.ratio") + value("unfinished.ratio")));
                cells.push(strategy.verdicts.get(r).map_or_else(String::new, |verdict| verdict.text.clone()));
            }
            cells.push(strategy.state.replace('_', " "));
            row(&cells)
        })
        .collect();
    format!("<table>\n{}<tbody>\n{rows}</tbody></table>\n", head(&names))
}

/// A section with its table.
fn section(section: &Section) -> String {
    let mut html = format!("<h2>{}</h2>\n", escape(&section.heading));
    html += &section.paragraphs.iter().map(|text| paragraphs(text)).collect::<String>();
    let Some(table) = &section.table else { return html };
    let names: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
    html += &format!("<table>\n{}<tbody>\n", head(&names));
    for line in &table.rows {
        let cells = line.cells.iter().zip(&table.columns).enumerate().map(|(i, (cell, column))| {
            let text = escape(&cell_text(cell, column.unit));
            match &line.href {
                Some(href) if i == 0 => format!("<td><a href=\"{}\">{text}</a></td>", escape(href)),
                _ => format!("<td>{text}</td>"),
            }
        });
        html += &format!("<tr>{}</tr>\n", cells.collect::<String>());
    }
    html + "</tbody></table>\n"
}

/// A cell as text.
pub fn cell_text(cell: &Cell, unit: &str) -> String {
    let unit = match unit {
        "s" => Unit::Seconds,
        "1/s" => Unit::Rate,
        "share" => Unit::Share,
        "index" => Unit::Index,
        _ => Unit::Number,
    };
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Number(number) => value(number.unwrap_or(f64::NAN), unit),
    }
}

/// The charts as images in the page, as far as there is room.
fn charts(folder: &Folder) -> String {
    let (mut html, mut room, mut left_out) = (String::new(), CHARTS_SIZE, Vec::new());
    for name in CHARTS {
        let Some(svg) = folder.files.get(name) else { continue };
        // Base64 makes four characters of three bytes.
        if svg.len() * 4 / 3 > room {
            left_out.push(name);
            continue;
        }
        let data = base64::engine::general_purpose::STANDARD.encode(svg);
        room -= data.len();
        let title = name.trim_end_matches(".svg").replace('_', " ");
        html += &format!("<p><img alt=\"{title}\" src=\"data:image/svg+xml;base64,{data}\"></p>\n");
    }
    if !left_out.is_empty() {
        html += &format!("<p>Further charts are beside this file: {}.</p>\n", left_out.join(", "));
    }
    html
}
