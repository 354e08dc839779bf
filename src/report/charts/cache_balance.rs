//! Two metrics against each other, a mark per strategy: the benefit of affinity against its cost.

use plotters::style::RGBColor;

use super::canvas::*;
use super::{BASELINE_NOTE, shown_name};
use crate::report::Outcome;
use evenkeel_core::select::catalog::{Family, find};
use evenkeel_sim::measure::Summary;

const TOP: f64 = 112.0;
const HEIGHT: f64 = 430.0;
const LEFT: f64 = 78.0;
const GUTTER: f64 = 84.0;
const NAME: f64 = 11.0;
const MARK: f64 = 5.0;
/// Height of a line of names under the panels.
const LINE: f64 = 18.0;

/// A panel's vertical metric.
struct Measure {
    metric: &'static str,
    title: &'static str,
    label: fn(f64) -> String,
    logarithmic: bool,
}

fn family(summary: &Summary) -> Family {
    find(summary.strategy).map_or(Family::Oracle, |row| row.doc.family)
}

/// The families present, each with its index, which determines its mark.
fn families(outcome: &Outcome<'_>) -> Vec<Family> {
    let mut families: Vec<Family> = outcome.summaries.iter().map(family).collect();
    families.sort_unstable();
    families.dedup();
    families
}

fn mark(place: usize, family: Family) -> (usize, RGBColor) {
    (place % 4, if family == Family::Oracle { SOFT } else { PALETTE[place % PALETTE.len()] })
}

/// A box on the sheet: left, top, right, bottom.
type Area = (f64, f64, f64, f64);

fn apart(a: &Area, b: &Area) -> bool {
    a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1
}

/// Hit ratio to the right; upwards, in a panel each, the busiest server's load and p99.
pub fn cache_balance(outcome: &Outcome<'_>) -> Option<String> {
    let value = |which: usize, metric: &str| outcome.summaries[which].value(metric);
    let hits = |which: usize| value(which, "cache.hit_ratio");
    let shown: Vec<usize> = (0..outcome.summaries.len())
        .filter(|&i| {
            ["cache.hit_ratio", "fairness.max_over_mean", "latency.p99"].iter().all(|m| value(i, m).is_finite())
        })
        .collect();
    if shown.len() < 2 {
        return None;
    }
    let most = |metric: &str| shown.iter().map(|&i| value(i, metric)).fold(0.0, f64::max);
    let uneven = most("fairness.max_over_mean") > 3.0;
    let measures = [
        Measure {
            metric: "fairness.max_over_mean",
            title: "load of the busiest server / mean",
            label: number_label,
            logarithmic: uneven,
        },
        Measure { metric: "latency.p99", title: "p99", label: duration_label, logarithmic: true },
    ];
    let (low, high) = shown.iter().fold((1.0_f64, 0.0_f64), |(l, h), &i| (l.min(hits(i)), h.max(hits(i))));
    let margin = ((high - low) * 0.12).max(0.01);
    let range = ((low - margin).max(0.0), (high + margin).min(1.0));
    let families = families(outcome);
    let lines = legend(outcome, &families);
    let bottom = TOP + HEIGHT;
    let baseline = outcome.summaries.iter().any(|summary| summary.oracle);
    let end = bottom + 76.0 + lines.len() as f64 * LINE;
    let width = (WIDTH - LEFT - GUTTER - 24.0) / 2.0;
    Some(draw(WIDTH, end + 12.0 + if baseline { LINE } else { 0.0 }, |canvas| {
        let subtitle = "Cache hit ratio (higher is better) against load imbalance and p99 (lower is better). One mark per strategy.";
        canvas.title(&outcome.scenario.title, subtitle);
        for (i, measure) in measures.iter().enumerate() {
            let left = LEFT + i as f64 * (width + GUTTER);
            let x = Scale::linear(range.0, range.1, left, left + width);
            let values = shown.iter().map(|&which| value(which, measure.metric));
            let Some((low, high)) = log_range(values.clone()) else { continue };
            let y = match measure.logarithmic {
                true => Scale::logarithmic(low, high, bottom, TOP),
                false => {
                    let least = values.fold(f64::INFINITY, f64::min);
                    let room = (most(measure.metric) - least).max(0.01) * 0.12;
                    Scale::linear(least - room, most(measure.metric) + room, bottom, TOP)
                }
            };
            canvas.text((left, TOP - 22.0), 13.0, Anchor::Left, INK, measure.title);
            for (tick, text) in labelled(&x, 8, 11.5, |hits| format!("{} %", number_label(hits * 100.0))) {
                canvas.line(&[(x.at(tick), TOP), (x.at(tick), bottom)], 1.0, GRID, SOLID);
                canvas.text((x.at(tick), bottom + 16.0), 11.5, Anchor::Middle, SOFT, &text);
            }
            for tick in y.ticks(8) {
                canvas.line(&[(left, y.at(tick)), (left + width, y.at(tick))], 1.0, GRID, SOLID);
                canvas.text((left - 8.0, y.at(tick)), 11.5, Anchor::Right, SOFT, &(measure.label)(tick));
            }
            canvas.text((left + width / 2.0, bottom + 42.0), 13.0, Anchor::Middle, INK, "cache hit ratio");
            let points: Vec<(usize, (f64, f64))> =
                shown.iter().map(|&which| (which, (x.at(hits(which)), y.at(value(which, measure.metric))))).collect();
            marks(canvas, outcome, &families, &points, (left, TOP, left + width, bottom));
        }
        for (line, (place, text)) in lines.iter().enumerate() {
            let y = bottom + 76.0 + line as f64 * LINE;
            if let Some(place) = place {
                let (shape, colour) = mark(*place, families[*place]);
                canvas.marker(shape, (30.0, y), MARK, colour, 1.0);
            }
            canvas.text((44.0, y), 12.0, Anchor::Left, INK, text);
        }
        if baseline {
            canvas.text((24.0, end), 11.5, Anchor::Left, SOFT, BASELINE_NOTE);
        }
    }))
}

/// Draws the marks, each with its name if there is room: those with the most hits are labelled first.
fn marks(canvas: &Canvas<'_>, outcome: &Outcome<'_>, families: &[Family], points: &[(usize, (f64, f64))], frame: Area) {
    let mut taken: Vec<Area> = points.iter().map(|(_, (x, y))| (x - MARK, y - MARK, x + MARK, y + MARK)).collect();
    for &(which, at) in points {
        let family = family(&outcome.summaries[which]);
        let place = families.iter().position(|other| *other == family).unwrap_or(0);
        let (shape, colour) = mark(place, family);
        canvas.marker(shape, at, MARK, colour, 0.8);
    }
    let mut order: Vec<&(usize, (f64, f64))> = points.iter().collect();
    order.sort_by(|a, b| b.1.0.total_cmp(&a.1.0).then(a.1.1.total_cmp(&b.1.1)));
    for &&(which, (x, y)) in &order {
        let name = shown_name(&outcome.summaries[which]);
        let (wide, high) = (text_width(&name, NAME), NAME + 3.0);
        let gap = MARK + 4.0;
        let middles = [
            (x + gap + wide / 2.0, y),
            (x - gap - wide / 2.0, y),
            (x, y - gap - high / 2.0),
            (x, y + gap + high / 2.0),
        ];
        let free = |&(cx, cy): &(f64, f64)| {
            let own = (cx - wide / 2.0 - 2.0, cy - high / 2.0, cx + wide / 2.0 + 2.0, cy + high / 2.0);
            let inside = own.0 >= frame.0 && own.1 >= frame.1 && own.2 <= frame.2 && own.3 <= frame.3;
            (inside && taken.iter().all(|other| apart(&own, other))).then_some(own)
        };
        if let Some((middle, own)) = middles.iter().find_map(|middle| Some((*middle, free(middle)?))) {
            taken.push(own);
            canvas.text(middle, NAME, Anchor::Middle, INK, &name);
        }
    }
}

/// Lines of names, the first of each family with the family's index.
fn legend(outcome: &Outcome<'_>, families: &[Family]) -> Vec<(Option<usize>, String)> {
    let mut lines = Vec::new();
    for (place, of) in families.iter().enumerate() {
        let mut line = format!("{}: ", of.title());
        let mut first = Some(place);
        let mut names = outcome.summaries.iter().filter(|summary| family(summary) == *of).map(shown_name).peekable();
        while let Some(name) = names.next() {
            let name = if names.peek().is_some() { format!("{name}, ") } else { name };
            if text_width(&line, 12.0) + text_width(&name, 12.0) > WIDTH - 68.0 {
                lines.push((first.take(), line.trim_end().to_owned()));
                line = String::new();
            }
            line += &name;
        }
        lines.push((first, line));
    }
    lines
}
