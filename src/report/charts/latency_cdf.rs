//! The latency distribution: the share of requests above each latency.

use plotters::style::RGBColor;

use super::canvas::*;
use super::families::{self, FAINT_NOTE, MANY, Swatch};
use super::grouping::{led_by, names, notes, same_picks};
use super::{BASELINE_NOTE, several_pools, shown_name};
use crate::report::Outcome;
use evenkeel_core::units::human_seconds;

const LEFT: f64 = 90.0;
const TOP: f64 = 84.0;
const SINGLE_HEIGHT: f64 = 470.0;
const PANEL_HEIGHT: f64 = 230.0;

/// Size of the lists of strategies that share a curve, and height of their lines.
const NOTE: f64 = 11.5;
const NOTE_LINE: f64 = 19.0;

/// The smallest share that is shown.
const LEAST: f64 = 1e-4;

const SHARES: [(f64, &str); 6] =
    [(1.0, "min"), (0.5, "p50"), (0.1, "p90"), (0.01, "p99"), (1e-3, "p99.9"), (LEAST, "p99.99")];

/// Share of requests slower than a latency, both scales logarithmic: the tail gets as much space as the body.
pub fn latency(outcome: &Outcome<'_>) -> Option<String> {
    let pools = several_pools(outcome);
    let curves = outcome.summaries.iter().flat_map(|summary| {
        let all = (pools == 0).then_some(&summary.cdf);
        all.into_iter().chain(summary.pools.iter().filter(|_| pools > 0).map(|pool| &pool.cdf))
    });
    let range = log_range(curves.flat_map(|cdf| cdf.iter().skip(3).map(|point| point.1)))?;
    if outcome.summaries.len() > MANY || pools > 0 { Some(many(outcome, range)) } else { Some(few(outcome, range)) }
}

const SUBTITLE: &str =
    "Latency percentiles: share of requests slower than a given latency. Lower is better; both scales are logarithmic.";

/// Grid and ticks of a panel.
fn grid(canvas: &Canvas<'_>, x: Scale, y: Scale, (left, right): (f64, f64), outer: bool, most: usize) {
    let (bottom, top) = (y.at(LEAST), y.at(1.0));
    for (tick, text) in labelled(&x, most, 11.5, duration_label) {
        canvas.line(&[(x.at(tick), top), (x.at(tick), bottom)], 1.0, GRID, SOLID);
        canvas.text((x.at(tick), bottom + 16.0), 11.5, Anchor::Middle, SOFT, &text);
    }
    for (share, label) in SHARES {
        canvas.line(&[(left, y.at(share)), (right, y.at(share))], 1.0, GRID, SOLID);
        if outer {
            canvas.text((left - 8.0, y.at(share)), 11.5, Anchor::Right, SOFT, label);
        }
    }
}

/// The lists of strategies that share a curve, below `y`.
fn listed(canvas: &Canvas<'_>, notes: &[String], y: f64) {
    for (line, text) in notes.iter().enumerate() {
        canvas.text((24.0, y + NOTE_LINE * (line as f64 + 1.0)), NOTE, Anchor::Left, SOFT, text);
    }
}

fn curve(canvas: &Canvas<'_>, cdf: &[(f64, f64)], x: Scale, y: Scale, width: f64, style: (RGBColor, Dash)) {
    // Shares below the minimum are not visible; the line ends where it leaves the panel.
    let end = cdf.iter().position(|&(share, _)| 1.0 - share < LEAST).map_or(cdf.len(), |i| i + 1);
    let points: Vec<(f64, f64)> = cdf[..end].iter().map(|&(share, time)| (x.at(time), y.at(1.0 - share))).collect();
    if points.len() > 1 {
        canvas.line(&points, width, style.0, style.1);
    }
}

/// Strategies by p99, the lowest first.
fn p99(outcome: &Outcome<'_>, which: usize, pool: Option<usize>) -> f64 {
    let summary = &outcome.summaries[which];
    let prefix = pool.map_or_else(String::new, |pool| format!("{}.", summary.pools[pool].name));
    Some(summary.value(&format!("{prefix}latency.p99"))).filter(|v| v.is_finite()).unwrap_or(f64::INFINITY)
}

fn few(outcome: &Outcome<'_>, (low, high): (f64, f64)) -> String {
    let single: Vec<String> = outcome.summaries.iter().map(shown_name).collect();
    let room = widest(single.iter().map(String::as_str), 12.5).clamp(140.0, 300.0);
    let right = WIDTH - 24.0 - 74.0 - room;
    let bottom = TOP + SINGLE_HEIGHT;
    let (x, y) = (Scale::logarithmic(low, high, LEFT, right), Scale::logarithmic(LEAST, 1.0, bottom, TOP));
    let mut order: Vec<usize> = (0..outcome.summaries.len()).collect();
    let same = same_picks(outcome);
    order.retain(|&which| led_by(&same, which).is_some());
    order.sort_by(|&a, &b| p99(outcome, a, None).total_cmp(&p99(outcome, b, None)));
    let notes = notes(outcome, &same, NOTE, WIDTH - 48.0);
    let styles = families::styles(outcome);
    draw(WIDTH, bottom + 66.0 + NOTE_LINE * notes.len() as f64, |canvas| {
        canvas.title(&outcome.scenario.title, SUBTITLE);
        listed(canvas, &notes, bottom + 46.0);
        grid(canvas, x, y, (LEFT, right), true, 12);
        canvas.text(((LEFT + right) / 2.0, bottom + 46.0), 13.0, Anchor::Middle, INK, "latency");
        // The best strategy is drawn last, on top of the others.
        for &which in order.iter().rev() {
            let cdf = &outcome.summaries[which].cdf;
            curve(canvas, cdf, x, y, 2.2, (styles[which].colour, styles[which].dash));
        }
        canvas.text((right + 24.0, TOP), 12.0, Anchor::Left, SOFT, "ordered by p99");
        for (row, &which) in order.iter().enumerate() {
            let at = TOP + 26.0 + row as f64 * 25.0;
            families::sample(canvas, (right + 24.0, at), 40.0, &styles[which], Swatch::Line);
            let name = names(outcome, led_by(&same, which).unwrap_or(&[which]), 12.5, room);
            canvas.text((right + 74.0, at), 12.5, Anchor::Left, INK, &name);
        }
        if outcome.summaries.iter().any(|summary| summary.oracle) {
            canvas.text((right + 24.0, bottom), 11.5, Anchor::Left, SOFT, BASELINE_NOTE);
        }
    })
}

fn many(outcome: &Outcome<'_>, (low, high): (f64, f64)) -> String {
    let note = |which: usize, pool: Option<usize>| human_seconds(p99(outcome, which, pool));
    let mut groups = families::panels(outcome, |which, pool| p99(outcome, which, pool), note);
    let same = same_picks(outcome);
    families::merge(outcome, &mut groups, &same);
    let notes = notes(outcome, &same, NOTE, WIDTH - 48.0);
    let cdf = |which: usize, pool: Option<usize>| match pool {
        Some(pool) => &outcome.summaries[which].pools[pool].cdf,
        None => &outcome.summaries[which].cdf,
    };
    let (frames, end) = families::frames(&groups, TOP + 30.0, LEFT, PANEL_HEIGHT);
    draw(WIDTH, end + 20.0 + NOTE_LINE * notes.len() as f64, |canvas| {
        canvas.title(&outcome.scenario.title, SUBTITLE);
        listed(canvas, &notes, end);
        let how = match (several_pools(outcome) > 0, outcome.summaries.len() > MANY) {
            (true, false) => "A panel per pool, names ordered by p99, with its value.".to_owned(),
            (true, true) => {
                format!("A panel per pool and family, names ordered by p99, with its value. {FAINT_NOTE}")
            }
            _ => format!("A panel per family, names ordered by p99, with its value. {FAINT_NOTE}"),
        };
        canvas.text((24.0, 76.0), 13.0, Anchor::Left, SOFT, &how);
        for (group, frame) in groups.iter().zip(&frames) {
            let x = Scale::logarithmic(low, high, frame.left, frame.right);
            let y = Scale::logarithmic(LEAST, 1.0, frame.bottom, frame.top);
            families::heading(canvas, group, frame, Swatch::Line);
            grid(canvas, x, y, (frame.left, frame.right), frame.outer, 10);
            let own = |which: usize| group.members.iter().any(|member| member.which == which);
            for which in (0..outcome.summaries.len()).filter(|&which| !own(which)) {
                curve(canvas, cdf(which, group.pool), x, y, 1.0, (FAINT, SOLID));
            }
            for member in families::painting_order(&group.members) {
                let style = (member.style.colour, member.style.dash);
                curve(canvas, cdf(member.which, group.pool), x, y, 2.2, style);
            }
        }
        canvas.text((WIDTH / 2.0, end), 13.0, Anchor::Middle, INK, "latency");
        if outcome.summaries.iter().any(|summary| summary.oracle) {
            canvas.text((24.0, end), 11.5, Anchor::Left, SOFT, BASELINE_NOTE);
        }
    })
}
