//! Curves over the points of a sweep, and the ranking under nudged constants.

use super::canvas::*;
use super::curves::style;
use super::shown_name;
use crate::measure::interval::Estimate;
use crate::report::Outcome;
use crate::report::table::percent;
use crate::scenario::vary;

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 810.0;
const TOP: f64 = 96.0;
const PANEL: f64 = 440.0;
const GAP: f64 = 76.0;

/// A measure's curves: file name, metric, what the axis says, whether its scale is logarithmic, how ticks are written.
type Curve = (&'static str, &'static str, &'static str, bool, fn(f64) -> String);

const CURVES: [Curve; 5] = [
    ("sweep_p99", "latency.p99", "p99 of the latency", true, duration_label),
    ("sweep_mean", "latency.mean", "mean latency", true, duration_label),
    ("sweep_errors", "errors.ratio", "share of requests that failed", false, percent),
    ("sweep_cache", "cache.hit_ratio", "cache hit ratio", false, percent),
    ("sweep_fairness", "fairness.jain", "evenness (Jain's index)", false, number_label),
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
    let numeric = outcomes.iter().all(|outcome| vary::number(&outcome.place[0].1).is_some());
    for outcome in outcomes {
        let title = vary::name(&outcome.place[1..].to_vec());
        let at = panels.iter().position(|panel| panel.title == title).unwrap_or_else(|| {
            panels.push(Panel { title, points: Vec::new() });
            panels.len() - 1
        });
        let points = &mut panels[at].points;
        let x = vary::number(&outcome.place[0].1).filter(|_| numeric).unwrap_or(points.len() as f64);
        points.push((x, outcome));
    }
    panels.iter_mut().for_each(|panel| panel.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    panels
}

fn curves(outcomes: &[Outcome<'_>], curve: &Curve) -> Option<String> {
    let &(_, metric, axis, logarithmic, label) = curve;
    let panels = panels(outcomes);
    let first = outcomes.first()?;
    // What is overloaded has no steady state: there is no curve there.
    let shown = |outcome: &Outcome<'_>, s: usize| {
        let summary = outcome.summaries.get(s)?;
        Some(summary.estimate(metric)).filter(|e| summary.ranks() && e.value.is_finite())
    };
    let strategies = first.summaries.len();
    let every = || outcomes.iter().flat_map(|outcome| (0..strategies).filter_map(move |s| shown(outcome, s)));
    let (low, high) = log_range(every().map(|e| e.value)).or_else(|| every().next().map(|_| (0.0, 1.0)))?;
    if metric == "errors.ratio" && every().all(|e| e.value == 0.0) {
        return None;
    }
    let xs: Vec<f64> = panels.iter().flat_map(|panel| panel.points.iter().map(|point| point.0)).collect();
    let (from, to) = xs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    // Numbers that span more than a decade and a half are seen better by their ratios.
    let wide = from > 0.0 && to / from > 30.0;
    let height = TOP + panels.len() as f64 * (PANEL + GAP) + 10.0;
    Some(draw(WIDTH, height, |canvas| {
        let subtitle = format!(
            "{axis}, with the 95 % interval as a band. Where a curve is missing the strategy is overloaded there."
        );
        canvas.title(&first.scenario.title, &subtitle);
        for (p, panel) in panels.iter().enumerate() {
            let top = TOP + p as f64 * (PANEL + GAP);
            let bottom = top + PANEL;
            let x = match wide {
                true => Scale::logarithmic(from * 0.94, to * 1.06, LEFT, RIGHT),
                false => Scale::linear(from - 0.02 * (to - from), to + 0.02 * (to - from), LEFT, RIGHT),
            };
            let y = match logarithmic {
                true => Scale::logarithmic(low, high, bottom, top),
                false => {
                    Scale::linear(0.0, (high * 1.02).min(if high > 1.0 { f64::INFINITY } else { 1.0 }), bottom, top)
                }
            };
            for tick in y.ticks(10) {
                canvas.line(&[(LEFT, y.at(tick)), (RIGHT, y.at(tick))], 1.0, GRID, (0, 0));
                canvas.text((LEFT - 8.0, y.at(tick)), 12.0, Anchor::Right, SOFT, &label(tick));
            }
            // The values themselves are the marks, as the author wrote them; of many every so many.
            let step = panel.points.len().div_ceil(14);
            for &(at, outcome) in panel.points.iter().step_by(step.max(1)) {
                canvas.line(&[(x.at(at), top), (x.at(at), bottom)], 1.0, GRID, (0, 0));
                let text = vary::plain(&outcome.place[0].1);
                canvas.text((x.at(at), bottom + 16.0), 12.0, Anchor::Middle, SOFT, text);
            }
            let key = first.place[0].0.join(" + ");
            canvas.text(((LEFT + RIGHT) / 2.0, bottom + 38.0), 13.0, Anchor::Middle, INK, &key);
            canvas.text((LEFT, top - 14.0), 13.0, Anchor::Left, INK, &panel.title);
            for s in 0..strategies {
                strategy_curve(canvas, panel, first, s, &|outcome| shown(outcome, s), x, y);
            }
            legend(canvas, panel, first, top, &shown);
        }
    }))
}

/// Band, line and marks of one strategy, broken where it has no value.
fn strategy_curve(
    canvas: &Canvas<'_>,
    panel: &Panel<'_, '_>,
    first: &Outcome<'_>,
    s: usize,
    shown: &dyn Fn(&Outcome<'_>) -> Option<Estimate>,
    x: Scale,
    y: Scale,
) {
    let (colour, dash) = style(first, s);
    let points: Vec<Option<(f64, Estimate)>> =
        panel.points.iter().map(|&(at, outcome)| Some((x.at(at), shown(outcome)?))).collect();
    for piece in points.split(Option::is_none) {
        let piece: Vec<(f64, Estimate)> = piece.iter().flatten().copied().collect();
        if piece.len() > 1 && piece.iter().all(|(_, e)| e.low.is_finite()) {
            let upper = piece.iter().map(|(at, e)| (*at, y.at(e.high)));
            let lower = piece.iter().rev().map(|(at, e)| (*at, y.at(e.low)));
            canvas.area(&upper.chain(lower).collect::<Vec<_>>(), colour, 0.16);
        }
        let line: Vec<(f64, f64)> = piece.iter().map(|(at, e)| (*at, y.at(e.value))).collect();
        if line.len() > 1 {
            canvas.line(&line, 2.0, colour, dash);
        }
        line.iter().for_each(|&at| canvas.dot(at, 3.2, colour, 1.0));
    }
}

/// Names at the right, in the order of the curves' right ends, those without one last.
fn legend(
    canvas: &Canvas<'_>,
    panel: &Panel<'_, '_>,
    first: &Outcome<'_>,
    top: f64,
    shown: &dyn Fn(&Outcome<'_>, usize) -> Option<Estimate>,
) {
    let at_the_end =
        |s: usize| panel.points.last().and_then(|(_, outcome)| shown(outcome, s)).map_or(f64::INFINITY, |e| e.value);
    let mut order: Vec<usize> = (0..first.summaries.len()).collect();
    order.sort_by(|&a, &b| at_the_end(b).total_cmp(&at_the_end(a)));
    canvas.text((RIGHT + 24.0, top), 12.0, Anchor::Left, SOFT, "as at the right end, from the top");
    for (row, s) in order.into_iter().enumerate() {
        let at = top + 26.0 + row as f64 * 25.0;
        let (colour, dash) = style(first, s);
        canvas.line(&[(RIGHT + 24.0, at), (RIGHT + 64.0, at)], 3.0, colour, dash);
        canvas.text((RIGHT + 74.0, at), 12.5, Anchor::Left, INK, &shown_name(&first.summaries[s]));
    }
}

/// A row per nudged constant: every strategy's measure relative to the best there, so that what changes is the order.
fn sensitivity(outcomes: &[Outcome<'_>]) -> Option<String> {
    const ROW: f64 = 30.0;
    const NAMES: f64 = 360.0;
    let first = outcomes.first()?;
    let metric = first.scenario.sensitivity.as_ref()?.metric.as_str();
    let ranked: Vec<usize> = (0..first.summaries.len()).filter(|&s| !first.summaries[s].oracle).collect();
    let value = |outcome: &Outcome<'_>, s: usize| {
        let summary = &outcome.summaries[s];
        Some(summary.value(metric)).filter(|v| summary.ranks() && v.is_finite() && *v > 0.0)
    };
    let best = |outcome: &Outcome<'_>| ranked.iter().filter_map(|&s| value(outcome, s)).fold(f64::INFINITY, f64::min);
    let relative = |outcome: &Outcome<'_>, s: usize| Some(value(outcome, s)? / best(outcome));
    let most = outcomes.iter().flat_map(|o| ranked.iter().filter_map(move |&s| relative(o, s))).fold(1.0, f64::max);
    let x = Scale::logarithmic(0.97, most * 1.05, NAMES, RIGHT + 20.0);
    let bottom = TOP + ROW * outcomes.len() as f64;
    let legend_bottom = TOP + 26.0 + ranked.len() as f64 * 25.0;
    Some(draw(WIDTH, bottom.max(legend_bottom) + 64.0, |canvas| {
        let subtitle = format!(
            "{metric} relative to the best in the row (logarithmic), each constant smaller and greater. Does the order stay?"
        );
        canvas.title(&first.scenario.title, &subtitle);
        for tick in x.ticks(10) {
            canvas.line(&[(x.at(tick), TOP), (x.at(tick), bottom)], 1.0, GRID, (0, 0));
            canvas.text((x.at(tick), bottom + 16.0), 12.0, Anchor::Middle, SOFT, &format!("{}×", number_label(tick)));
        }
        for (row, outcome) in outcomes.iter().enumerate() {
            let y = TOP + (row as f64 + 0.5) * ROW;
            if row % 2 == 0 {
                canvas.rect((16.0, y - ROW / 2.0), (RIGHT + 40.0, y + ROW / 2.0), super::canvas::ROW, 1.0);
            }
            let name = if outcome.place.is_empty() { "as written" } else { outcome.point };
            canvas.text((NAMES - 16.0, y), 12.0, Anchor::Right, INK, name);
            for &s in &ranked {
                if let Some(relative) = relative(outcome, s) {
                    let (colour, dash) = style(first, s);
                    canvas.marker(usize::from(dash.0 != 0), (x.at(relative), y), 5.0, colour);
                }
            }
        }
        for (row, &s) in ranked.iter().enumerate() {
            let at = TOP + 26.0 + row as f64 * 25.0;
            let (colour, dash) = style(first, s);
            canvas.marker(usize::from(dash.0 != 0), (RIGHT + 64.0, at), 5.0, colour);
            canvas.text((RIGHT + 78.0, at), 12.5, Anchor::Left, INK, &shown_name(&first.summaries[s]));
        }
    }))
}
