//! Latency percentiles, a row per strategy.

use plotters::style::RGBColor;

use super::canvas::*;
use super::sheet::{Look, Section, distinct, left, row_height, sheet};
use crate::report::Outcome;
use crate::report::table::{self, percent};
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::{ENOUGH, Summary};

const PERCENTILES: [(&str, &str, RGBColor); 4] = [
    ("latency.p50", "p50", SKY),
    ("latency.p90", "p90", GREEN),
    ("latency.p99", "p99 (95 % interval)", BLUE),
    ("latency.p999", "p99.9", VERMILLION),
];

/// Percentiles of the latency by strategy, in a section for each pool where there are several.
pub fn latency(outcome: &Outcome<'_>) -> Option<String> {
    let rankings = table::rankings(outcome);
    let prefix = |pool: Option<&str>| pool.map_or_else(String::new, |pool| format!("{pool}."));
    let values = rankings.iter().flat_map(|ranking| {
        let prefix = prefix(ranking.pool);
        let of = move |s: &Summary| PERCENTILES.map(|(metric, ..)| s.value(&format!("{prefix}{metric}")));
        outcome.summaries.iter().flat_map(of)
    });
    let (low, high) = log_range(values)?;
    let left = left(outcome);
    let scale = Scale::logarithmic(low, high, left, WIDTH - 190.0);
    let section = |ranking: &table::Ranking<'_>| distinct(outcome, ranking.order(outcome));
    let sections: Vec<Section<'_>> =
        rankings.iter().map(|ranking| Section { heading: ranking.pool, order: section(ranking) }).collect();
    let subtitle = "Latency from sending a request to its response; lower is better (logarithmic). Strategies with more errors are listed last.";
    let look = Look { subtitle, axis: "latency", height: row_height(outcome), scale, label: duration_label };
    Some(sheet(outcome, &look, &sections, |canvas, middles, _| {
        let mut x = left;
        for (shape, (_, label, colour)) in PERCENTILES.iter().enumerate() {
            canvas.marker(shape, (x + 6.0, 92.0), 5.0, *colour, 1.0);
            canvas.text((x + 18.0, 92.0), 12.0, Anchor::Left, INK, label);
            x += 40.0 + text_width(label, 12.0);
        }
        canvas.text((WIDTH - 100.0, 92.0), 12.0, Anchor::Right, SOFT, "p99");
        canvas.text((WIDTH - 24.0, 92.0), 12.0, Anchor::Right, SOFT, "failed");
        for (section, middles) in sections.iter().zip(middles) {
            let prefix = prefix(section.heading);
            let metric = |name: &str| format!("{prefix}{name}");
            for (&which, &y) in section.order.iter().zip(middles) {
                let summary = &outcome.summaries[which];
                let at = |name: &str| scale.at(summary.value(&metric(name)));
                if !summary.value(&metric("latency.p50")).is_finite() {
                    canvas.text((left, y), 12.0, Anchor::Left, SOFT, "no responses");
                    continue;
                }
                canvas.line(&[(at("latency.p50"), y), (at("latency.p999"), y)], 1.5, SOFT, SOLID);
                let p99 = summary.estimate(&metric("latency.p99"));
                if p99.low.is_finite() && p99.replications >= ENOUGH {
                    let (from, to) = (scale.at(p99.low.max(low)), scale.at(p99.high));
                    canvas.rect((from, y - 8.0), (to, y + 8.0), BLUE, 0.25);
                }
                for (shape, (name, _, colour)) in PERCENTILES.iter().enumerate() {
                    canvas.marker(shape, (at(name), y), 5.5, *colour, 1.0);
                }
                let text = human_seconds(p99.value);
                canvas.text((WIDTH - 100.0, y), 13.0, Anchor::Right, INK, &text);
                let failed = summary.failed(&prefix);
                let colour = if failed > 0.001 { VERMILLION } else { SOFT };
                canvas.text((WIDTH - 24.0, y), 13.0, Anchor::Right, colour, &percent(failed));
            }
        }
    }))
}
