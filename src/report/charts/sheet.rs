//! The layout of all charts with a row per strategy: rows, labels, axis, footnote.

use super::canvas::*;
use super::families::MANY;
use super::grouping::{led_by, names, notes, same_picks};
use super::{BASELINE_NOTE, shown_name};
use crate::report::Outcome;
use evenkeel_sim::measure::Summary;

pub const TOP: f64 = 120.0;
const NAME: f64 = 13.5;
/// Size of the lists of strategies that share a row, and height of their lines.
const NOTE: f64 = 11.5;
const NOTE_LINE: f64 = 19.0;

/// Left edge of the rows, from the width of the longest name.
pub fn left(outcome: &Outcome<'_>) -> f64 {
    let name = |group: &Vec<usize>| match group.len() - 1 {
        0 => shown_name(&outcome.summaries[group[0]]),
        more => format!("{} and {more} more", shown_name(&outcome.summaries[group[0]])),
    };
    let names: Vec<String> = same_picks(outcome).iter().map(name).collect();
    40.0 + widest(names.iter().map(String::as_str), NAME).clamp(140.0, 400.0)
}

pub fn row_height(outcome: &Outcome<'_>) -> f64 {
    if outcome.summaries.len() > MANY { 26.0 } else { 34.0 }
}

/// Rows under a heading: one section for each pool, where several receive requests.
pub struct Section<'a> {
    /// Name of the pool; `None` for the rows of the whole fleet.
    pub heading: Option<&'a str>,
    /// Indices of the strategies, from top to bottom; of those with the same picks, the first ([`distinct`]).
    pub order: Vec<usize>,
}

/// The same order without strategies whose picks are those of an earlier one.
pub fn distinct(outcome: &Outcome<'_>, mut order: Vec<usize>) -> Vec<usize> {
    let groups = same_picks(outcome);
    order.retain(|&which| led_by(&groups, which).is_some());
    order
}

/// All rows, without a heading.
pub fn together<'a>(order: Vec<usize>) -> Vec<Section<'a>> {
    vec![Section { heading: None, order }]
}

/// Height of a heading.
const HEADING: f64 = 32.0;

/// Texts and scale of a sheet.
pub struct Look<'a> {
    pub subtitle: &'a str,
    pub axis: &'a str,
    /// Height of a row.
    pub height: f64,
    pub scale: Scale,
    /// Formats a tick.
    pub label: fn(f64) -> String,
}

/// Draws the sheet and the rows with their labels; `paint` draws their content. It gets the vertical middle of every row by
/// section, and the lower edge of the last row.
pub fn sheet(
    outcome: &Outcome<'_>,
    look: &Look<'_>,
    sections: &[Section<'_>],
    paint: impl FnOnce(&Canvas<'_>, &[Vec<f64>], f64),
) -> String {
    let (left, height) = (left(outcome), look.height);
    let groups = same_picks(outcome);
    let notes = notes(outcome, &groups, NOTE, WIDTH - 48.0);
    let mut bottom = TOP;
    let mut headings = Vec::new();
    let mut middles: Vec<Vec<f64>> = Vec::new();
    for section in sections {
        if section.heading.is_some() {
            headings.push(bottom + HEADING * 0.6);
            bottom += HEADING;
        }
        middles.push((0..section.order.len()).map(|i| bottom + (i as f64 + 0.5) * height).collect());
        bottom += height * section.order.len() as f64;
    }
    let lowest = bottom + 42.0 + NOTE_LINE * notes.len() as f64;
    draw(WIDTH, lowest + 22.0, |canvas| {
        canvas.title(&outcome.scenario.title, look.subtitle);
        for (heading, y) in sections.iter().filter_map(|section| section.heading).zip(headings) {
            canvas.text((24.0, y), 14.0, Anchor::Left, INK, &fit(heading, 14.0, left - 40.0));
        }
        for (section, middles) in sections.iter().zip(&middles) {
            for (i, (&which, &y)) in section.order.iter().zip(middles).enumerate() {
                if i % 2 == 0 {
                    canvas.rect((16.0, y - height / 2.0), (WIDTH - 16.0, y + height / 2.0), ROW, 1.0);
                }
                let summary = &outcome.summaries[which];
                let colour = if summary.oracle { SOFT } else { INK };
                let name = names(outcome, led_by(&groups, which).unwrap_or(&[which]), NAME, left - 40.0);
                canvas.text((left - 16.0, y), NAME, Anchor::Right, colour, &name);
            }
        }
        for (tick, text) in labelled(&look.scale, 14, 12.0, look.label) {
            let x = look.scale.at(tick);
            canvas.line(&[(x, TOP), (x, bottom)], 1.0, GRID, SOLID);
            canvas.text((x, bottom + 16.0), 12.0, Anchor::Middle, SOFT, &text);
        }
        canvas.text(((left + WIDTH) / 2.0, bottom + 42.0), 13.0, Anchor::Middle, INK, look.axis);
        if outcome.summaries.iter().any(|summary| summary.oracle) {
            canvas.text((24.0, bottom + 42.0), 11.5, Anchor::Left, SOFT, BASELINE_NOTE);
        }
        for (line, text) in notes.iter().enumerate() {
            let y = bottom + 42.0 + NOTE_LINE * (line as f64 + 1.0);
            canvas.text((24.0, y), NOTE, Anchor::Left, SOFT, text);
        }
        paint(canvas, &middles, bottom);
    })
}

/// Rows from best to worst by a metric, baselines at the bottom; one for strategies with the same picks.
pub fn by(outcome: &Outcome<'_>, value: impl Fn(&Summary) -> f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..outcome.summaries.len()).collect();
    let key = |i: usize| Some(value(&outcome.summaries[i])).filter(|v| v.is_finite()).unwrap_or(f64::INFINITY);
    order.sort_by(|&a, &b| {
        outcome.summaries[a].oracle.cmp(&outcome.summaries[b].oracle).then(key(a).total_cmp(&key(b)))
    });
    distinct(outcome, order)
}

/// A mark and a name for each pool above the rows, as many as fit.
pub fn pool_legend(canvas: &Canvas<'_>, pools: &[&str], left: f64, right: f64) {
    let mut x = left;
    for (i, pool) in pools.iter().enumerate() {
        let room = text_width(pool, 12.0);
        if x + 18.0 + room > right {
            canvas.text((x, 92.0), 12.0, Anchor::Left, SOFT, "…");
            break;
        }
        canvas.marker(i % 4, (x + 6.0, 92.0), 5.0, PALETTE[i % PALETTE.len()], 1.0);
        canvas.text((x + 18.0, 92.0), 12.0, Anchor::Left, INK, pool);
        x += 40.0 + room;
    }
}
