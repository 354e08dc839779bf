//! Cache hits, a bar per strategy.

use super::canvas::*;
use super::sheet::{Look, by, left, row_height, sheet, together};
use crate::report::Outcome;
use crate::report::table::percent;

/// Cache hit ratio, by strategy.
pub fn cache(outcome: &Outcome<'_>) -> Option<String> {
    outcome.summaries.iter().find_map(|summary| summary.metric("cache.hit_ratio"))?;
    let left = left(outcome);
    let scale = Scale::linear(0.0, 1.0, left, WIDTH - 110.0);
    let order = by(outcome, |summary| -summary.value("cache.hit_ratio"));
    let subtitle = "Share of requests served from the cache of the picked server. Higher is better.";
    let label = |value: f64| format!("{:.0} %", value * 100.0);
    let look = Look { subtitle, axis: "cache hit ratio", height: row_height(outcome), scale, label };
    let sections = together(order);
    Some(sheet(outcome, &look, &sections, |canvas, middles, _| {
        for (&which, &y) in sections[0].order.iter().zip(&middles[0]) {
            let summary = &outcome.summaries[which];
            let Some(hits) = summary.metric("cache.hit_ratio").map(|metric| metric.estimate()) else { continue };
            let colour = if summary.oracle { SKY } else { BLUE };
            canvas.rect((left, y - 9.0), (scale.at(hits.value), y + 9.0), colour, 1.0);
            if hits.low.is_finite() {
                canvas.line(&[(scale.at(hits.low), y), (scale.at(hits.high), y)], 2.0, INK, SOLID);
            }
            canvas.text((WIDTH - 24.0, y), 13.0, Anchor::Right, INK, &percent(hits.value));
        }
    }))
}
