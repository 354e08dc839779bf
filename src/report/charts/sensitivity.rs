//! The ranking with each constant decreased and increased.

use super::canvas::*;
use super::families::{self, FAINT_NOTE, MANY, Style, Swatch};
use super::shown_name;
use crate::report::Outcome;

const TOP: f64 = 96.0;

/// Each strategy's metric relative to the best, for every changed constant: only the order matters.
struct Relative<'a, 'b> {
    outcomes: &'a [Outcome<'b>],
    metric: &'a str,
    ranked: Vec<usize>,
}

impl Relative<'_, '_> {
    fn value(&self, outcome: &Outcome<'_>, s: usize) -> Option<f64> {
        let summary = &outcome.summaries[s];
        Some(summary.value(self.metric)).filter(|v| summary.ranks() && v.is_finite() && *v > 0.0)
    }

    fn at(&self, outcome: &Outcome<'_>, s: usize) -> Option<f64> {
        let best = self.ranked.iter().filter_map(|&s| self.value(outcome, s)).fold(f64::INFINITY, f64::min);
        Some(self.value(outcome, s)? / best)
    }

    /// Grid, shaded rows and names.
    fn rows(&self, canvas: &Canvas<'_>, x: Scale, (top, height): (f64, f64), (left, right): (f64, f64), most: usize) {
        let bottom = top + height * self.outcomes.len() as f64;
        for row in (0..self.outcomes.len()).step_by(2) {
            let y = top + row as f64 * height;
            canvas.rect((left, y), (right, y + height), ROW, 1.0);
        }
        for (tick, text) in labelled(&x, most, 12.0, |tick| format!("{}×", number_label(tick))) {
            canvas.line(&[(x.at(tick), top), (x.at(tick), bottom)], 1.0, GRID, SOLID);
            canvas.text((x.at(tick), bottom + 16.0), 12.0, Anchor::Middle, SOFT, &text);
        }
    }

    fn marks(&self, canvas: &Canvas<'_>, x: Scale, (top, height): (f64, f64), s: usize, style: Option<&Style>) {
        for (row, outcome) in self.outcomes.iter().enumerate() {
            if let Some(relative) = self.at(outcome, s) {
                let at = (x.at(relative), top + (row as f64 + 0.5) * height);
                match style {
                    Some(style) => canvas.marker(style.shape, at, 4.6, style.colour, 1.0),
                    None => canvas.dot(at, 3.0, FAINT, 1.0),
                }
            }
        }
    }
}

/// A row per changed constant: every strategy's metric relative to the best in the row.
pub fn sensitivity(outcomes: &[Outcome<'_>]) -> Option<String> {
    const TALL: f64 = 30.0;
    const LOW: f64 = 20.0;
    let first = outcomes.first()?;
    let metric = first.scenario.sensitivity.as_ref()?.metric.as_str();
    let ranked: Vec<usize> = (0..first.summaries.len()).filter(|&s| !first.summaries[s].oracle).collect();
    let relative = Relative { outcomes, metric, ranked };
    let all = outcomes.iter().flat_map(|o| relative.ranked.iter().filter_map(|&s| relative.at(o, s)));
    let most = all.fold(1.0, f64::max) * 1.05;
    let rows: Vec<&str> = outcomes.iter().map(|o| if o.place.is_empty() { "as written" } else { o.point }).collect();
    let names = 40.0 + widest(rows.iter().copied(), 12.0).min(400.0);
    let row_names = |canvas: &Canvas<'_>, top: f64, height: f64| {
        for (row, name) in rows.iter().enumerate() {
            let at = (names - 16.0, top + (row as f64 + 0.5) * height);
            canvas.text(at, 12.0, Anchor::Right, INK, &fit(name, 12.0, 400.0));
        }
    };
    let subtitle =
        format!("{metric} relative to the best in the row (logarithmic), with each constant decreased and increased.");
    if first.summaries.len() > MANY {
        let base = |s: usize| relative.at(first, s);
        let note = |s: usize| base(s).map_or_else(|| "–".to_owned(), |times| format!("{times:.2}×"));
        let mut groups = families::groups(first, |s| base(s).unwrap_or(f64::INFINITY), note);
        groups.retain(|group| group.members.iter().any(|member| relative.ranked.contains(&member.which)));
        let (frames, end) = families::frames(&groups, TOP + 20.0, names, LOW * outcomes.len() as f64);
        return Some(draw(WIDTH, end, |canvas| {
            canvas.title(&first.scenario.title, &subtitle);
            let how = format!("A panel per family, with the factor as written behind the names. {FAINT_NOTE}");
            canvas.text((24.0, 76.0), 13.0, Anchor::Left, SOFT, &how);
            for (group, frame) in groups.iter().zip(&frames) {
                let x = Scale::logarithmic(0.97, most, frame.left, frame.right);
                families::heading(canvas, group, frame, Swatch::Marker);
                relative.rows(canvas, x, (frame.top, LOW), (frame.left, frame.right), 6);
                if frame.outer {
                    row_names(canvas, frame.top, LOW);
                }
                for &s in relative.ranked.iter().filter(|&&s| group.members.iter().all(|member| member.which != s)) {
                    relative.marks(canvas, x, (frame.top, LOW), s, None);
                }
                for member in group.members.iter().rev() {
                    relative.marks(canvas, x, (frame.top, LOW), member.which, Some(&member.style));
                }
            }
        }));
    }
    let labels: Vec<String> = first.summaries.iter().map(shown_name).collect();
    let room = widest(labels.iter().map(String::as_str), 12.5).clamp(140.0, 300.0);
    let right = WIDTH - 24.0 - 54.0 - room;
    let x = Scale::logarithmic(0.97, most, names, right - 20.0);
    let styles = families::styles(first);
    let bottom = TOP + TALL * outcomes.len() as f64;
    let legend_bottom = TOP + 26.0 + relative.ranked.len() as f64 * 25.0;
    Some(draw(WIDTH, bottom.max(legend_bottom) + 64.0, |canvas| {
        canvas.title(&first.scenario.title, &subtitle);
        relative.rows(canvas, x, (TOP, TALL), (16.0, right), 10);
        row_names(canvas, TOP, TALL);
        for (row, &s) in relative.ranked.iter().enumerate() {
            relative.marks(canvas, x, (TOP, TALL), s, Some(&styles[s]));
            let at = TOP + 26.0 + row as f64 * 25.0;
            canvas.marker(styles[s].shape, (right + 34.0, at), 5.0, styles[s].colour, 1.0);
            canvas.text((right + 50.0, at), 12.5, Anchor::Left, INK, &fit(&labels[s], 12.5, room));
        }
    }))
}
