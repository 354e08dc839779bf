//! p99 and errors of each pool, a row per strategy.

use super::canvas::*;
use super::sheet::{Look, distinct, left, pool_legend, row_height, sheet, together};
use crate::report::Outcome;
use crate::report::table::{self, percent};
use evenkeel_sim::measure::Summary;

/// p99 and error rate of each pool, where routes lead to several.
pub fn pools(outcome: &Outcome<'_>) -> Option<String> {
    let metric = |pool: &str, name: &str| format!("{pool}.{name}");
    let pools = table::entry_pools(outcome);
    let p99 = |summary: &Summary, pool: &str| summary.value(&metric(pool, "latency.p99"));
    let values = outcome.summaries.iter().flat_map(|s| pools.iter().map(move |pool| p99(s, pool)));
    let (low, high) = log_range(values)?;
    let left = left(outcome);
    // A column of errors for each pool, as far as there is room.
    let mut columns: Vec<(&str, f64)> = Vec::new();
    let mut edge = WIDTH - 24.0;
    for pool in pools.iter().rev() {
        let width = text_width(pool, 12.0).max(58.0) + 22.0;
        if edge - width < left + 360.0 {
            break;
        }
        columns.push((pool, edge));
        edge -= width;
    }
    let scale = Scale::logarithmic(low, high, left, edge - 20.0);
    let order = distinct(outcome, table::order(outcome, &table::rankings(outcome)));
    // Rows are separated by pool, so that no mark hides another's.
    const LANE: f64 = 13.0;
    let height = row_height(outcome).max(LANE * pools.len() as f64 + 8.0);
    let lane = |pool: usize| LANE * (pool as f64 - (pools.len() as f64 - 1.0) / 2.0);
    let subtitle = "p99 (one mark per pool, logarithmic) and error rate of each pool.";
    let look = Look { subtitle, axis: "latency, p99", height, scale, label: duration_label };
    let sections = together(order);
    Some(sheet(outcome, &look, &sections, |canvas, middles, _| {
        pool_legend(canvas, &pools, left, edge - 20.0);
        canvas.text((WIDTH - 24.0, 76.0), 12.0, Anchor::Right, SOFT, "error rate");
        for &(pool, right) in &columns {
            canvas.text((right, 96.0), 12.0, Anchor::Right, SOFT, pool);
        }
        for (&which, &y) in sections[0].order.iter().zip(&middles[0]) {
            let summary = &outcome.summaries[which];
            for (i, pool) in pools.iter().enumerate() {
                if p99(summary, pool).is_finite() {
                    let at = (scale.at(p99(summary, pool)), y + lane(i));
                    canvas.marker(i % 4, at, 5.0, PALETTE[i % PALETTE.len()], 1.0);
                }
            }
            for &(pool, right) in &columns {
                let failed = summary.value(&metric(pool, "errors.ratio"));
                let colour = if failed > 0.001 { VERMILLION } else { SOFT };
                canvas.text((right, y), 13.0, Anchor::Right, colour, &percent(failed));
            }
        }
    }))
}
