//! The course of events: a panel per strategy, all to one scale, with the faults marked.

use super::canvas::*;
use super::shown_name;
use crate::report::Outcome;

const WIDTH: f64 = 1100.0;
const COLUMNS: usize = 3;
const PANEL_HEIGHT: f64 = 168.0;
const TOP: f64 = 92.0;
const LEFT: f64 = 64.0;
const GAP: f64 = 88.0;

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

/// p99 over time as a line (logarithmic, left), share of failed requests as an area (right).
pub fn timeseries(outcome: &Outcome<'_>) -> Option<String> {
    let summaries = &outcome.summaries;
    let (low, high) = log_range(summaries.iter().flat_map(|s| s.series.iter().map(|p| p.p99)))?;
    let fails = summaries.iter().any(|s| s.series.iter().any(|p| p.errors > 0.0));
    let model = &outcome.scenario.model;
    let end = (model.warmup + model.duration).as_secs_f64();
    let rows = summaries.len().div_ceil(COLUMNS);
    let (bands, labels) = faults(outcome, end);
    let notes = labels.len().min(4) as f64 * 18.0;
    let height = TOP + rows as f64 * PANEL_HEIGHT + 46.0 + notes;
    let panel = (WIDTH - LEFT - 40.0 - GAP * (COLUMNS as f64 - 1.0)) / COLUMNS as f64;
    Some(draw(WIDTH, height, |canvas| {
        let what = if fails {
            "p99 over time (line, logarithmic, left) and share of failed requests (area, right)"
        } else {
            "p99 over time (logarithmic)"
        };
        canvas.title(
            &outcome.scenario.title,
            &format!("{what}, by time of completion. All panels have the same scales."),
        );
        for (i, summary) in summaries.iter().enumerate() {
            let left = LEFT + (i % COLUMNS) as f64 * (panel + GAP);
            let top = TOP + (i / COLUMNS) as f64 * PANEL_HEIGHT;
            let (right, bottom) = (left + panel, top + PANEL_HEIGHT - 52.0);
            let x = Scale::linear(0.0, end, left, right);
            let y = Scale::logarithmic(low, high, bottom, top);
            let share = Scale::linear(0.0, 1.0, bottom, top);
            for &(from, until) in &bands {
                canvas.rect((x.at(from), top), (x.at(until), bottom), ORANGE, 0.2);
            }
            if model.warmup.0 > 0 {
                canvas.rect((left, top), (x.at(model.warmup.as_secs_f64()), bottom), SOFT, 0.08);
            }
            for tick in y.ticks(6) {
                canvas.line(&[(left, y.at(tick)), (right, y.at(tick))], 1.0, GRID, (0, 0));
                canvas.text((left - 6.0, y.at(tick)), 10.5, Anchor::Right, SOFT, &duration_label(tick));
            }
            for tick in x.ticks(5) {
                canvas.text(
                    (x.at(tick), bottom + 13.0),
                    10.5,
                    Anchor::Middle,
                    SOFT,
                    &format!("{} s", number_label(tick)),
                );
            }
            canvas.line(&[(left, bottom), (right, bottom)], 1.0, SOFT, (0, 0));
            if fails {
                for tick in [0.0, 0.5, 1.0] {
                    canvas.text(
                        (right + 4.0, share.at(tick)),
                        10.5,
                        Anchor::Left,
                        VERMILLION,
                        &format!("{:.0} %", tick * 100.0),
                    );
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
                    canvas.line(&points, 1.8, BLUE, (0, 0));
                }
            }
            let name = shown_name(summary);
            canvas.text((left, top - 10.0), 13.0, Anchor::Left, INK, &name);
        }
        let base = TOP + rows as f64 * PANEL_HEIGHT;
        let mut notes = base;
        for (label, from, until) in labels.iter().take(4) {
            let more = if labels.len() > 4 && notes > base + 50.0 {
                format!(" (and {} more)", labels.len() - 4)
            } else {
                String::new()
            };
            canvas.rect((LEFT, notes - 6.0), (LEFT + 22.0, notes + 6.0), ORANGE, 0.3);
            let text = format!("{label}, {} s to {} s{more}", number_label(*from), number_label(*until));
            canvas.text((LEFT + 30.0, notes), 12.0, Anchor::Left, INK, &text);
            notes += 18.0;
        }
        if model.warmup.0 > 0 {
            canvas.rect((LEFT + 520.0, base - 6.0), (LEFT + 542.0, base + 6.0), SOFT, 0.2);
            canvas.text((LEFT + 550.0, base), 12.0, Anchor::Left, INK, "warm-up, not measured");
        }
        if summaries.iter().any(|summary| summary.oracle) {
            canvas.text((LEFT + 760.0, base), 12.0, Anchor::Left, SOFT, "† baseline that sees true work");
        }
    }))
}
