//! The whole distribution of the latency: which share of the requests is slower than what.

use super::canvas::*;
use super::shown_name;
use crate::report::Outcome;
use crate::select::catalog::CATALOGUE;

const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 620.0;
const LEFT: f64 = 90.0;
const RIGHT: f64 = 810.0;
const TOP: f64 = 84.0;
const BOTTOM: f64 = HEIGHT - 66.0;

/// A strategy keeps its colour and dash in every scenario; several variants of one are told apart by their place.
pub(super) fn style(outcome: &Outcome<'_>, which: usize) -> (plotters::style::RGBColor, (i32, i32)) {
    let names: Vec<&str> = outcome.summaries.iter().map(|summary| summary.strategy).collect();
    let unique = names.iter().all(|name| names.iter().filter(|other| *other == name).count() == 1);
    let place = CATALOGUE.iter().position(|row| row.name == names[which]).unwrap_or(which);
    let number = if unique { place } else { which };
    if outcome.summaries[which].oracle {
        return (SOFT, DASHES[2]);
    }
    (PALETTE[number % PALETTE.len()], DASHES[number / PALETTE.len() % DASHES.len()])
}

/// Share of requests slower than a latency, both scales logarithmic: the tail is as wide as the body.
pub fn latency(outcome: &Outcome<'_>) -> Option<String> {
    let (low, high) = log_range(outcome.summaries.iter().flat_map(|s| s.cdf.iter().skip(3).map(|point| point.1)))?;
    let x = Scale::logarithmic(low, high, LEFT, RIGHT);
    let y = Scale::logarithmic(1e-4, 1.0, BOTTOM, TOP);
    let mut order: Vec<usize> = (0..outcome.summaries.len()).collect();
    let value = |i: usize| outcome.summaries[i].value("latency.p99");
    order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
    Some(draw(WIDTH, HEIGHT, |canvas| {
        let subtitle = "Share of requests that take longer than a given time. Lower and further left is better; both scales are logarithmic.";
        canvas.title(&outcome.scenario.title, subtitle);
        for tick in x.ticks(12) {
            canvas.line(&[(x.at(tick), TOP), (x.at(tick), BOTTOM)], 1.0, GRID, (0, 0));
            canvas.text((x.at(tick), BOTTOM + 18.0), 12.0, Anchor::Middle, SOFT, &duration_label(tick));
        }
        for (share, label) in [
            (1.0, "all"),
            (0.5, "half"),
            (0.1, "1 in 10"),
            (0.01, "1 in 100"),
            (1e-3, "1 in 1000"),
            (1e-4, "1 in 10000"),
        ] {
            canvas.line(&[(LEFT, y.at(share)), (RIGHT, y.at(share))], 1.0, GRID, (0, 0));
            canvas.text((LEFT - 8.0, y.at(share)), 12.0, Anchor::Right, SOFT, label);
        }
        canvas.text(((LEFT + RIGHT) / 2.0, BOTTOM + 46.0), 13.0, Anchor::Middle, INK, "latency");
        // The best is drawn last and lies on top.
        for &which in order.iter().rev() {
            let (colour, dash) = style(outcome, which);
            let points: Vec<(f64, f64)> = outcome.summaries[which]
                .cdf
                .iter()
                .map(|&(share, latency)| (x.at(latency), y.at(1.0 - share)))
                .collect();
            if points.len() > 1 {
                canvas.line(&points, 2.2, colour, dash);
            }
        }
        canvas.text((RIGHT + 24.0, TOP), 12.0, Anchor::Left, SOFT, "by p99, the least first");
        for (row, &which) in order.iter().enumerate() {
            let summary = &outcome.summaries[which];
            let at = TOP + 26.0 + row as f64 * 25.0;
            let (colour, dash) = style(outcome, which);
            canvas.line(&[(RIGHT + 24.0, at), (RIGHT + 64.0, at)], 3.0, colour, dash);
            let name = shown_name(summary);
            canvas.text((RIGHT + 74.0, at), 12.5, Anchor::Left, INK, &name);
        }
    }))
}
