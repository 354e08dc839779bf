//! The course of events: a panel per strategy, all to one scale, with the faults marked.

use plotters::style::RGBColor;

use super::canvas::*;
use super::families::{self, MANY};
use super::{BASELINE_NOTE, shown_name};
use crate::measure::Summary;
use crate::report::Outcome;

const TOP: f64 = 84.0;
const LEFT: f64 = 64.0;
/// Right of the last panel, for the scale of failures.
const RIGHT: f64 = 52.0;
const GAP: f64 = 18.0;
/// For a family's name.
const HEADING: f64 = 26.0;
/// For a strategy's name.
const NAME: f64 = 22.0;
/// For the scale of time.
const TICKS: f64 = 18.0;
/// Between rows.
const BETWEEN: f64 = 12.0;

/// A span in seconds.
type Span = (f64, f64);

/// The spans to mark, each once, and a line of text for what the same thing did to several at once or in turn.
fn faults(outcome: &Outcome<'_>, end: f64) -> (Vec<Span>, Vec<(String, f64, f64)>) {
    let mut bands: Vec<Span> = Vec::new();
    // (group, what, first struck, last struck, from, until)
    let mut groups: Vec<(String, String, String, String, f64, f64)> = Vec::new();
    for fault in &outcome.scenario.model.faults {
        let span = (fault.at.as_secs_f64(), fault.until.map_or(end, |until| until.as_secs_f64()).min(end));
        if !bands.contains(&span) {
            bands.push(span);
        }
        let (target, what) = fault.label.split_once(": ").unwrap_or((&fault.label, ""));
        let (group, member) = target.split_once('/').unwrap_or((target, ""));
        match groups.last_mut() {
            // One after the other or all at once, as a rolling deploy or a rack that loses power.
            Some(last) if last.0 == group && last.1 == what && last.3 != member && span.0 - last.4 < 0.5 * end => {
                last.3 = member.to_owned();
                last.5 = last.5.max(span.1);
            }
            _ => {
                let (group, what, member) = (group.to_owned(), what.to_owned(), member.to_owned());
                groups.push((group, what, member.clone(), member, span.0, span.1));
            }
        }
    }
    let label = |(group, what, first, last, from, until): (String, String, String, String, f64, f64)| {
        let who = if first == last { first } else { format!("{first} to {last}") };
        (format!("{group}/{who}: {what}"), from, until)
    };
    (bands, groups.into_iter().map(label).collect())
}

/// A strategy's place: columns and rows of panels.
struct Cell {
    which: usize,
    column: usize,
    row: usize,
    /// A family's name, where it begins.
    heading: Option<&'static str>,
    /// Nothing of its family is below it: here is the scale of time.
    lowest: bool,
}

/// Families one after the other, each from a new row on unless the rest of the last one has room for all of it. Few
/// strategies stand in the scenario's order.
fn cells(outcome: &Outcome<'_>, columns: usize) -> Vec<Cell> {
    let parts: Vec<(Option<&'static str>, Vec<usize>)> = if outcome.summaries.len() > MANY {
        let groups = families::groups(outcome, |which| which as f64, |_| String::new());
        let part =
            |group: &families::Group| (Some(group.title), group.members.iter().map(|member| member.which).collect());
        groups.iter().map(part).collect()
    } else {
        vec![(None, (0..outcome.summaries.len()).collect())]
    };
    let mut cells = Vec::new();
    let (mut column, mut row) = (0, 0);
    for (title, members) in parts {
        if column > 0 && members.len() > columns - column {
            (column, row) = (0, row + 1);
        }
        for (i, &which) in members.iter().enumerate() {
            if column == columns {
                (column, row) = (0, row + 1);
            }
            let lowest = i + columns >= members.len();
            cells.push(Cell { which, column, row, heading: title.filter(|_| i == 0), lowest });
            column += 1;
        }
    }
    cells
}

/// Each row's top of the plots, and where all end.
fn tops(cells: &[Cell], plot: f64) -> (Vec<f64>, f64) {
    let rows = cells.last().map_or(0, |cell| cell.row + 1);
    let mut tops = Vec::new();
    let mut y = TOP;
    for row in 0..rows {
        let any = |what: fn(&Cell) -> bool| cells.iter().any(|cell| cell.row == row && what(cell));
        y += if any(|cell| cell.heading.is_some()) { HEADING } else { 0.0 };
        tops.push(y + NAME);
        y += NAME + plot + BETWEEN + if any(|cell| cell.lowest) { TICKS } else { 0.0 };
    }
    (tops, y)
}

/// What all panels share.
struct Scales {
    end: f64,
    latency: (f64, f64),
    fails: bool,
}

/// A panel's frame and the scales at its sides.
struct Sides {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Whose texts are written.
    left_texts: bool,
    right_texts: bool,
    below_texts: bool,
}

fn panel(
    canvas: &Canvas<'_>,
    outcome: &Outcome<'_>,
    summary: &Summary,
    shared: &Scales,
    bands: &[Span],
    sides: &Sides,
) {
    let Sides { left, right, top, bottom, .. } = *sides;
    let x = Scale::linear(0.0, shared.end, left, right);
    let y = Scale::logarithmic(shared.latency.0, shared.latency.1, bottom, top);
    let share = Scale::linear(0.0, 1.0, bottom, top);
    for &(from, until) in bands {
        canvas.rect((x.at(from), top), (x.at(until), bottom), ORANGE, 0.2);
    }
    let warmup = outcome.scenario.model.warmup;
    if warmup.0 > 0 {
        canvas.rect((left, top), (x.at(warmup.as_secs_f64()), bottom), SOFT, 0.08);
    }
    for tick in y.ticks(6) {
        canvas.line(&[(left, y.at(tick)), (right, y.at(tick))], 1.0, GRID, SOLID);
        if sides.left_texts {
            canvas.text((left - 6.0, y.at(tick)), 10.5, Anchor::Right, SOFT, &duration_label(tick));
        }
    }
    for (tick, text) in labelled(&x, 5, 10.5, |tick| format!("{} s", number_label(tick))) {
        canvas.line(&[(x.at(tick), bottom), (x.at(tick), bottom + 3.0)], 1.0, SOFT, SOLID);
        if sides.below_texts {
            // At the right end it must not run into the next panel's zero.
            let at = x.at(tick).min(right + 4.0 - text_width(&text, 10.5) / 2.0);
            canvas.text((at, bottom + 13.0), 10.5, Anchor::Middle, SOFT, &text);
        }
    }
    canvas.line(&[(left, bottom), (right, bottom)], 1.0, SOFT, SOLID);
    if shared.fails {
        if sides.right_texts {
            for tick in [0.0, 0.5, 1.0] {
                let text = format!("{:.0} %", tick * 100.0);
                canvas.text((right + 6.0, share.at(tick)), 10.5, Anchor::Left, VERMILLION, &text);
            }
        }
        let failed = |p: &crate::measure::SeriesPoint| {
            let all = p.goodput + p.errors;
            if all > 0.0 { p.errors / all } else { 0.0 }
        };
        let mut points = vec![(left, bottom)];
        points.extend(summary.series.iter().map(|p| (x.at(p.time), share.at(failed(p)))));
        points.push((right, bottom));
        canvas.area(&points, VERMILLION, 0.55);
    }
    for piece in summary.series.split(|p| !p.p99.is_finite()) {
        let points: Vec<(f64, f64)> = piece.iter().map(|p| (x.at(p.time), y.at(p.p99))).collect();
        if points.len() > 1 {
            canvas.line(&points, 1.8, BLUE, SOLID);
        }
    }
    let (name, colour) = (shown_name(summary), if summary.oracle { SOFT } else { INK });
    canvas.text((left, top - 10.0), 12.0, Anchor::Left, colour, &fit(&name, 12.0, right - left));
}

/// What the shades mean, each with its colour and opacity, one after the other in lines. Gives the places, and the end.
fn notes(outcome: &Outcome<'_>, labels: &[(String, f64, f64)], top: f64) -> (Vec<Note>, f64) {
    let mut texts: Vec<(Option<(RGBColor, f64)>, String)> = Vec::new();
    for (i, (label, from, until)) in labels.iter().take(4).enumerate() {
        let more = labels.len().saturating_sub(4);
        let more = if i == 3 && more > 0 { format!(" (and {more} more)") } else { String::new() };
        let text = format!("{label}, {} s to {} s{more}", number_label(*from), number_label(*until));
        texts.push((Some((ORANGE, 0.3)), text));
    }
    if outcome.scenario.model.warmup.0 > 0 {
        texts.push((Some((SOFT, 0.2)), "warm-up, not measured".to_owned()));
    }
    if outcome.summaries.iter().any(|summary| summary.oracle) {
        texts.push((None, BASELINE_NOTE.to_owned()));
    }
    let (mut x, mut y) = (LEFT, top);
    let mut notes = Vec::new();
    for (shade, text) in texts {
        let text = fit(&text, 12.0, WIDTH - LEFT - 54.0);
        let width = text_width(&text, 12.0) + if shade.is_some() { 30.0 } else { 0.0 };
        if x > LEFT && x + width > WIDTH - 24.0 {
            (x, y) = (LEFT, y + 20.0);
        }
        notes.push(Note { at: (x, y), shade, text });
        x += width + 40.0;
    }
    (notes, y)
}

struct Note {
    at: (f64, f64),
    shade: Option<(RGBColor, f64)>,
    text: String,
}

/// p99 over time as a line (logarithmic, left), share of failed requests as an area (right).
pub fn timeseries(outcome: &Outcome<'_>) -> Option<String> {
    let summaries = &outcome.summaries;
    let latency = log_range(summaries.iter().flat_map(|s| s.series.iter().map(|p| p.p99)))?;
    let fails = summaries.iter().any(|s| s.series.iter().any(|p| p.errors > 0.0));
    let model = &outcome.scenario.model;
    let end = (model.warmup + model.duration).as_secs_f64();
    let (columns, plot) = if summaries.len() > MANY { (4, 84.0) } else { (3, 116.0) };
    let cells = cells(outcome, columns);
    let (tops, below) = tops(&cells, plot);
    let (bands, labels) = faults(outcome, end);
    let (notes, last) = notes(outcome, &labels, below + 16.0);
    let right = if fails { RIGHT } else { 24.0 };
    let width = (WIDTH - LEFT - right - GAP * (columns as f64 - 1.0)) / columns as f64;
    let shared = Scales { end, latency, fails };
    Some(draw(WIDTH, last + 24.0, |canvas| {
        let what = if fails {
            "p99 over time (line, logarithmic, left) and share of failed requests (area, right)"
        } else {
            "p99 over time (logarithmic)"
        };
        let subtitle = format!("{what}, by time of completion. All panels have the same scales.");
        canvas.title(&outcome.scenario.title, &subtitle);
        for (i, cell) in cells.iter().enumerate() {
            let left = LEFT + cell.column as f64 * (width + GAP);
            let top = tops[cell.row];
            let sides = Sides {
                left,
                right: left + width,
                top,
                bottom: top + plot,
                left_texts: cell.column == 0,
                right_texts: cells.get(i + 1).is_none_or(|next| next.row != cell.row),
                below_texts: cell.lowest,
            };
            if let Some(heading) = cell.heading {
                canvas.text((left, top - NAME - 10.0), 14.0, Anchor::Left, INK, heading);
            }
            panel(canvas, outcome, &summaries[cell.which], &shared, &bands, &sides);
        }
        for Note { at: (x, y), shade, text } in &notes {
            let mut left = *x;
            if let Some((colour, opacity)) = shade {
                canvas.rect((left, y - 6.0), (left + 22.0, y + 6.0), *colour, *opacity);
                left += 30.0;
            }
            canvas.text((left, *y), 12.0, Anchor::Left, if shade.is_some() { INK } else { SOFT }, text);
        }
    }))
}
