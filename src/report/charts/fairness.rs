//! The load of every server relative to its capacity, a row per strategy.

use super::canvas::*;
use super::sheet::{Look, TOP, by, left, pool_legend, row_height, sheet, together};
use crate::report::Outcome;

/// Maximum number of marks in a row.
const MOST_MARKS: usize = 1000;

/// Load of every server against its capacity, by strategy.
pub fn fairness(outcome: &Outcome<'_>) -> Option<String> {
    let highest = outcome.summaries.iter().flat_map(|s| &s.servers).map(|server| server.load).fold(1.0, f64::max);
    if !highest.is_finite() {
        return None;
    }
    let (left, height) = (left(outcome), row_height(outcome));
    let scale = Scale::linear(0.0, (highest * 1.05).max(1.5), left, WIDTH - 120.0);
    let order = by(outcome, |summary| -summary.value("fairness.jain"));
    let mut pools: Vec<&str> = Vec::new();
    for server in outcome.summaries.iter().flat_map(|summary| &summary.servers) {
        if !pools.contains(&server.pool.as_str()) {
            pools.push(&server.pool);
        }
    }
    let subtitle = "One mark per server: its share of requests relative to its share of capacity; 1 is fair.";
    let look = Look { subtitle, axis: "requests relative to fair share", height, scale, label: number_label };
    let sections = together(order);
    Some(sheet(outcome, &look, &sections, |canvas, middles, bottom| {
        canvas.line(&[(scale.at(1.0), TOP), (scale.at(1.0), bottom)], 1.5, SOFT, &[6.0, 4.0]);
        if pools.len() > 1 {
            pool_legend(canvas, &pools, left, WIDTH - 220.0);
        }
        // Rows are separated by pool, so that marks of one pool do not hide another's.
        let lanes = pools.len().min(3);
        let (room, radius) = if lanes > 1 { (height - 16.0, 4.0) } else { (0.0, 5.5) };
        let lane = |pool: usize| room * ((pool % lanes) as f64 / (lanes as f64 - 1.0).max(1.0) - 0.5);
        canvas.text((WIDTH - 24.0, 92.0), 12.0, Anchor::Right, SOFT, "Jain's index, entry servers");
        for (&which, &y) in sections[0].order.iter().zip(&middles[0]) {
            let summary = &outcome.summaries[which];
            // For a very large fleet, a sample of the servers: more marks would overlap.
            let step = summary.servers.len().div_ceil(MOST_MARKS);
            for server in summary.servers.iter().step_by(step.max(1)) {
                if server.load.is_finite() {
                    let pool = pools.iter().position(|pool| *pool == server.pool).unwrap_or(0);
                    let at = (scale.at(server.load), y + lane(pool));
                    canvas.marker(pool % 4, at, radius, PALETTE[pool % PALETTE.len()], 0.55);
                }
            }
            let text = format!("{:.3}", summary.value("fairness.jain"));
            canvas.text((WIDTH - 24.0, y), 13.0, Anchor::Right, INK, &text);
        }
    }))
}
