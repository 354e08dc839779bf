//! Curves over the points of a sweep.

use plotters::style::RGBColor;

use super::canvas::*;
use super::families::{self, FAINT_NOTE, Frame, Group, MANY, Style, Swatch};
use super::shown_name;
use crate::report::Outcome;
use crate::report::format::percent;
use evenkeel_sim::measure::interval::Estimate;
use evenkeel_sim::measure::metrics::{self, Unit};
use evenkeel_sim::scenario::overrides;

const LEFT: f64 = 90.0;
const TOP: f64 = 96.0;
const PANEL: f64 = 440.0;
const GAP: f64 = 76.0;
/// Height of a panel among many.
const SMALL: f64 = 230.0;

/// How a metric is drawn over the points of a sweep.
#[derive(Clone, Copy)]
struct Curve {
    /// Name of the metric.
    metric: &'static str,
    /// Name of the vertical axis.
    axis: &'static str,
    /// Whether the vertical scale is logarithmic.
    logarithmic: bool,
    /// Formats a value of the vertical axis.
    label: fn(f64) -> String,
}

impl Curve {
    /// From the catalogue of metrics; `None` for a name that is not in it.
    fn of(metric: &'static str) -> Option<Curve> {
        let row = metrics::find(metric)?;
        let label = match row.unit {
            Unit::Seconds => duration_label,
            Unit::Share => percent,
            Unit::Rate | Unit::Index | Unit::Number => number_label,
        };
        Some(Curve { metric, axis: row.label, logarithmic: row.unit == Unit::Seconds, label })
    }
}

/// The points of one panel, which differ only along the first axis.
struct Panel<'a, 'b> {
    title: String,
    points: Vec<(f64, &'a Outcome<'b>)>,
}

/// One panel for each combination of the other axes' values; the horizontal scale is the first axis, by number, or by order
/// if its values are not numbers.
fn panels<'a, 'b>(outcomes: &'a [Outcome<'b>]) -> Vec<Panel<'a, 'b>> {
    let mut panels: Vec<Panel<'a, 'b>> = Vec::new();
    let numeric = outcomes.iter().all(|outcome| overrides::number(&outcome.place[0].1).is_some());
    for outcome in outcomes {
        let title = overrides::name(&outcome.place[1..].to_vec());
        let at = panels.iter().position(|panel| panel.title == title).unwrap_or_else(|| {
            panels.push(Panel { title, points: Vec::new() });
            panels.len() - 1
        });
        let points = &mut panels[at].points;
        let x = overrides::number(&outcome.place[0].1).filter(|_| numeric).unwrap_or(points.len() as f64);
        points.push((x, outcome));
    }
    panels.iter_mut().for_each(|panel| panel.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    panels
}

/// The data of a metric: its scales and its values.
struct Plot<'a> {
    curve: &'a Curve,
    across: (f64, f64),
    up: (f64, f64),
}

impl Plot<'_> {
    /// Overloaded points have no steady state, so the curve has a gap there.
    fn shown(&self, outcome: &Outcome<'_>, s: usize) -> Option<Estimate> {
        let summary = outcome.summaries.get(s)?;
        Some(summary.estimate(self.curve.metric)).filter(|e| summary.ranks() && e.value.is_finite())
    }

    /// The value at the right end of a panel; infinite if there is none.
    fn at_the_end(&self, panel: &Panel<'_, '_>, s: usize) -> f64 {
        panel.points.last().and_then(|(_, outcome)| self.shown(outcome, s)).map_or(f64::INFINITY, |e| e.value)
    }

    fn scales(&self, (left, right): (f64, f64), (top, bottom): (f64, f64)) -> (Scale, Scale) {
        let ((from, to), (low, high)) = (self.across, self.up);
        // A logarithmic scale if the values span more than a decade and a half.
        let x = match from > 0.0 && to / from > 30.0 {
            true => Scale::logarithmic(from * 0.94, to * 1.06, left, right),
            false => Scale::linear(from - 0.02 * (to - from), to + 0.02 * (to - from), left, right),
        };
        let y = match self.curve.logarithmic {
            true => Scale::logarithmic(low, high, bottom, top),
            false => Scale::linear(0.0, (high * 1.02).min(if high > 1.0 { f64::INFINITY } else { 1.0 }), bottom, top),
        };
        (x, y)
    }

    fn grid(
        &self,
        canvas: &Canvas<'_>,
        panel: &Panel<'_, '_>,
        (left, right): (f64, f64),
        x: Scale,
        y: Scale,
        outer: bool,
    ) {
        let (bottom, top) = (y.start(), y.end());
        for tick in y.ticks(10) {
            canvas.line(&[(left, y.at(tick)), (right, y.at(tick))], 1.0, GRID, SOLID);
            if outer {
                canvas.text((left - 8.0, y.at(tick)), 12.0, Anchor::Right, SOFT, &(self.curve.label)(tick));
            }
        }
        // Ticks are at the points, labelled as in the scenario, as far as there is room.
        let mut free = f64::NEG_INFINITY;
        for &(at, outcome) in &panel.points {
            let text = overrides::plain(&outcome.place[0].1);
            let half = text_width(text, 12.0) / 2.0;
            canvas.line(&[(x.at(at), top), (x.at(at), bottom)], 1.0, GRID, SOLID);
            if x.at(at) - half > free {
                canvas.text((x.at(at), bottom + 16.0), 12.0, Anchor::Middle, SOFT, text);
                free = x.at(at) + half + 6.0;
            }
        }
    }
}

/// One metric over the points of a sweep, a panel for each combination of the other axes.
pub fn curves(outcomes: &[Outcome<'_>], metric: &'static str) -> Option<String> {
    let curve = &Curve::of(metric)?;
    let axis = curve.axis;
    let panels = panels(outcomes);
    let first = outcomes.first()?;
    let strategies = first.summaries.len();
    let mut plot = Plot { curve, across: (0.0, 1.0), up: (0.0, 1.0) };
    let every: Vec<f64> = outcomes
        .iter()
        .flat_map(|outcome| (0..strategies).filter_map(|s| plot.shown(outcome, s)))
        .map(|e| e.value)
        .collect();
    if every.is_empty() || (metric == "errors.ratio" && every.iter().all(|value| *value == 0.0)) {
        return None;
    }
    let xs = panels.iter().flat_map(|panel| panel.points.iter().map(|point| point.0));
    plot.across = xs.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
    plot.up = log_range(every.into_iter()).unwrap_or((0.0, 1.0));
    let subtitle = format!("{axis}, with the 95 % interval as a band. A curve ends where its strategy is overloaded.");
    Some(if strategies > MANY { many(first, &panels, &plot, &subtitle) } else { few(first, &panels, &plot, &subtitle) })
}

/// What varies along a panel.
fn key(first: &Outcome<'_>) -> String {
    first.place[0].0.join(" + ")
}

fn few(first: &Outcome<'_>, panels: &[Panel<'_, '_>], plot: &Plot<'_>, subtitle: &str) -> String {
    let names: Vec<String> = first.summaries.iter().map(shown_name).collect();
    let room = widest(names.iter().map(String::as_str), 12.5).clamp(140.0, 300.0);
    let right = WIDTH - 24.0 - 74.0 - room;
    let styles = families::styles(first);
    draw(WIDTH, TOP + panels.len() as f64 * (PANEL + GAP) + 10.0, |canvas| {
        canvas.title(&first.scenario.title, subtitle);
        for (p, panel) in panels.iter().enumerate() {
            let top = TOP + p as f64 * (PANEL + GAP);
            let bottom = top + PANEL;
            let (x, y) = plot.scales((LEFT, right), (top, bottom));
            plot.grid(canvas, panel, (LEFT, right), x, y, true);
            canvas.text(((LEFT + right) / 2.0, bottom + 38.0), 13.0, Anchor::Middle, INK, &key(first));
            canvas.text((LEFT, top - 14.0), 13.0, Anchor::Left, INK, &panel.title);
            // Bands first, so that none covers a line.
            for (s, style) in styles.iter().enumerate() {
                band(canvas, &pieces(panel, plot, s, x), y, style.colour, 0.16);
            }
            for (s, style) in styles.iter().enumerate() {
                line(canvas, &pieces(panel, plot, s, x), y, Some(style));
            }
            // Names in the order of the curves' right ends, those without one first.
            let mut order: Vec<usize> = (0..names.len()).collect();
            order.sort_by(|&a, &b| plot.at_the_end(panel, b).total_cmp(&plot.at_the_end(panel, a)));
            canvas.text((right + 24.0, top), 12.0, Anchor::Left, SOFT, "ordered by the last value");
            for (row, s) in order.into_iter().enumerate() {
                let at = top + 26.0 + row as f64 * 25.0;
                families::sample(canvas, (right + 24.0, at), 40.0, &styles[s], Swatch::LineAndMarker);
                canvas.text((right + 74.0, at), 12.5, Anchor::Left, INK, &fit(&names[s], 12.5, room));
            }
        }
    })
}

fn many(first: &Outcome<'_>, panels: &[Panel<'_, '_>], plot: &Plot<'_>, subtitle: &str) -> String {
    let mut top = TOP + 20.0;
    let mut parts: Vec<(f64, Vec<Group>, Vec<Frame>)> = Vec::new();
    for panel in panels {
        let note = |s: usize| match plot.at_the_end(panel, s) {
            value if value.is_finite() => (plot.curve.label)(value),
            _ => "–".to_owned(),
        };
        let groups = families::groups(first, |s| -plot.at_the_end(panel, s), note);
        let title = if panel.title.is_empty() { 0.0 } else { 30.0 };
        let (frames, end) = families::frames(&groups, top + title, LEFT, SMALL);
        parts.push((top, groups, frames));
        top = end + 30.0;
    }
    draw(WIDTH, top, |canvas| {
        canvas.title(&first.scenario.title, subtitle);
        let how = format!("A panel per family; names ordered by the last value. {FAINT_NOTE}");
        canvas.text((24.0, 76.0), 13.0, Anchor::Left, SOFT, &how);
        for (panel, (top, groups, frames)) in panels.iter().zip(&parts) {
            canvas.text((24.0, *top), 15.0, Anchor::Left, INK, &panel.title);
            for (group, frame) in groups.iter().zip(frames) {
                let sides = (frame.left, frame.right);
                let (x, y) = plot.scales(sides, (frame.top, frame.bottom));
                families::heading(canvas, group, frame, Swatch::LineAndMarker);
                plot.grid(canvas, panel, sides, x, y, frame.outer);
                let own = |s: usize| group.members.iter().any(|member| member.which == s);
                for s in (0..first.summaries.len()).filter(|&s| !own(s)) {
                    line(canvas, &pieces(panel, plot, s, x), y, None);
                }
                let members = families::painting_order(&group.members);
                for member in &members {
                    band(canvas, &pieces(panel, plot, member.which, x), y, member.style.colour, 0.1);
                }
                for member in members {
                    line(canvas, &pieces(panel, plot, member.which, x), y, Some(&member.style));
                }
            }
            let end = frames.iter().map(|frame| frame.bottom).fold(0.0, f64::max);
            canvas.text((WIDTH / 2.0, end + 40.0), 13.0, Anchor::Middle, INK, &key(first));
        }
    })
}

/// A strategy's values in a panel, split into pieces at points without a value.
fn pieces(panel: &Panel<'_, '_>, plot: &Plot<'_>, s: usize, x: Scale) -> Vec<Vec<(f64, Estimate)>> {
    let points: Vec<Option<(f64, Estimate)>> =
        panel.points.iter().map(|&(at, outcome)| Some((x.at(at), plot.shown(outcome, s)?))).collect();
    points.split(Option::is_none).map(|piece| piece.iter().flatten().copied().collect()).collect()
}

/// The interval of one strategy as a band.
fn band(canvas: &Canvas<'_>, pieces: &[Vec<(f64, Estimate)>], y: Scale, colour: RGBColor, opacity: f64) {
    for piece in pieces.iter().filter(|piece| piece.len() > 1 && piece.iter().all(|(_, e)| e.low.is_finite())) {
        let upper = piece.iter().map(|(at, e)| (*at, y.at(e.high)));
        let lower = piece.iter().rev().map(|(at, e)| (*at, y.at(e.low)));
        canvas.area(&upper.chain(lower).collect::<Vec<_>>(), colour, opacity);
    }
}

/// Line and marks of one strategy; faint and without marks where it has no style.
fn line(canvas: &Canvas<'_>, pieces: &[Vec<(f64, Estimate)>], y: Scale, style: Option<&Style>) {
    for piece in pieces {
        let line: Vec<(f64, f64)> = piece.iter().map(|(at, e)| (*at, y.at(e.value))).collect();
        if line.len() > 1 {
            let (width, colour, dash) = style.map_or((1.0, FAINT, SOLID), |style| (2.0, style.colour, style.dash));
            canvas.line(&line, width, colour, dash);
        }
        if let Some(style) = style {
            line.iter().for_each(|&at| canvas.marker(style.shape, at, 3.4, style.colour, 1.0));
        }
    }
}
