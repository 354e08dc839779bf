//! Curves over the points of a sweep, and the ranking under nudged constants.

use plotters::style::RGBColor;

use super::canvas::*;
use super::families::{self, FAINT_NOTE, Frame, Group, MANY, Style, Swatch};
use super::shown_name;
use crate::report::Outcome;
use crate::report::table::percent;
use evenkeel_sim::measure::interval::Estimate;
use evenkeel_sim::scenario::overrides;

const LEFT: f64 = 90.0;
const TOP: f64 = 96.0;
const PANEL: f64 = 440.0;
const GAP: f64 = 76.0;
/// A panel among many.
const SMALL: f64 = 230.0;

/// A measure's curves: file name, metric, what the axis says, whether its scale is logarithmic, how ticks are written.
type Curve = (&'static str, &'static str, &'static str, bool, fn(f64) -> String);

const CURVES: [Curve; 5] = [
    ("sweep_p99", "latency.p99", "p99 latency", true, duration_label),
    ("sweep_mean", "latency.mean", "mean latency", true, duration_label),
    ("sweep_errors", "errors.ratio", "error rate", false, percent),
    ("sweep_cache", "cache.hit_ratio", "cache hit ratio", false, percent),
    ("sweep_fairness", "fairness.jain", "fairness (Jain's index)", false, number_label),
];

/// Every chart of a study of several points.
pub fn all(outcomes: &[Outcome<'_>]) -> Vec<(String, String)> {
    if outcomes.first().is_none_or(|outcome| outcome.place.is_empty()) {
        return sensitivity(outcomes).map(|svg| ("sensitivity".to_owned(), svg)).into_iter().collect();
    }
    let draw = |curve: &Curve| Some((curve.0.to_owned(), curves(outcomes, curve)?));
    CURVES.iter().filter_map(draw).collect()
}

/// The points of one panel, which differ along the first axis alone.
struct Panel<'a, 'b> {
    title: String,
    points: Vec<(f64, &'a Outcome<'b>)>,
}

/// One panel for each combination of the other axes' values; along the first axis by its numbers, or by order where the
/// values are no numbers.
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

/// What is to be drawn of a measure: its scales, and its values.
struct Plot<'a> {
    curve: &'a Curve,
    across: (f64, f64),
    up: (f64, f64),
}

impl Plot<'_> {
    /// What is overloaded has no steady state: there is no curve there.
    fn shown(&self, outcome: &Outcome<'_>, s: usize) -> Option<Estimate> {
        let summary = outcome.summaries.get(s)?;
        Some(summary.estimate(self.curve.1)).filter(|e| summary.ranks() && e.value.is_finite())
    }

    /// At the right end of a panel; infinite where there is nothing.
    fn at_the_end(&self, panel: &Panel<'_, '_>, s: usize) -> f64 {
        panel.points.last().and_then(|(_, outcome)| self.shown(outcome, s)).map_or(f64::INFINITY, |e| e.value)
    }

    fn scales(&self, (left, right): (f64, f64), (top, bottom): (f64, f64)) -> (Scale, Scale) {
        let ((from, to), (low, high)) = (self.across, self.up);
        // Numbers that span more than a decade and a half are seen better by their ratios.
        let x = match from > 0.0 && to / from > 30.0 {
            true => Scale::logarithmic(from * 0.94, to * 1.06, left, right),
            false => Scale::linear(from - 0.02 * (to - from), to + 0.02 * (to - from), left, right),
        };
        let y = match self.curve.3 {
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
                canvas.text((left - 8.0, y.at(tick)), 12.0, Anchor::Right, SOFT, &(self.curve.4)(tick));
            }
        }
        // The values themselves are the marks, as the author wrote them, as far as there is room.
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

fn curves(outcomes: &[Outcome<'_>], curve: &Curve) -> Option<String> {
    let &(_, metric, axis, ..) = curve;
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
            // Bands first: none dulls a line.
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
            value if value.is_finite() => (plot.curve.4)(value),
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

/// A strategy's values at the points of a panel that have one, in pieces where it has none between.
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

/// Each strategy's measure relative to the best there, by constant that was nudged, so that what changes is the order.
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

/// A row per nudged constant: every strategy's measure relative to the best there, so that what changes is the order.
fn sensitivity(outcomes: &[Outcome<'_>]) -> Option<String> {
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
