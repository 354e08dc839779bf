//! Charts with a row per strategy: latency percentiles, load of the servers, cache hits.

use plotters::style::RGBColor;

use super::canvas::*;
use super::families::MANY;
use super::{BASELINE_NOTE, shown_name};
use crate::measure::Summary;
use crate::report::Outcome;
use crate::report::table::{self, percent};
use crate::units::human_seconds;

const TOP: f64 = 120.0;
const NAME: f64 = 13.5;

/// Marks in a row.
const MOST_MARKS: usize = 1000;

/// Where the names end and the rows begin: as far right as the longest name needs.
fn left(outcome: &Outcome<'_>) -> f64 {
    let names: Vec<String> = outcome.summaries.iter().map(shown_name).collect();
    40.0 + widest(names.iter().map(String::as_str), NAME).clamp(140.0, 400.0)
}

fn row_height(outcome: &Outcome<'_>) -> f64 {
    if outcome.summaries.len() > MANY { 26.0 } else { 34.0 }
}

/// The sheet and the rows with their labels; `paint` adds what is in them. Gets each row's middle.
fn sheet(
    outcome: &Outcome<'_>,
    subtitle: &str,
    axis: &str,
    order: &[usize],
    scale: Scale,
    label: fn(f64) -> String,
    paint: impl FnOnce(&Canvas<'_>, &[f64]),
) -> String {
    let (left, height) = (left(outcome), row_height(outcome));
    let bottom = TOP + height * order.len() as f64;
    draw(WIDTH, bottom + 64.0, |canvas| {
        canvas.title(&outcome.scenario.title, subtitle);
        let middles: Vec<f64> = (0..order.len()).map(|i| TOP + (i as f64 + 0.5) * height).collect();
        for (i, (&which, &y)) in order.iter().zip(&middles).enumerate() {
            if i % 2 == 0 {
                canvas.rect((16.0, y - height / 2.0), (WIDTH - 16.0, y + height / 2.0), ROW, 1.0);
            }
            let summary = &outcome.summaries[which];
            let colour = if summary.oracle { SOFT } else { INK };
            let name = fit(&shown_name(summary), NAME, left - 40.0);
            canvas.text((left - 16.0, y), NAME, Anchor::Right, colour, &name);
        }
        for (tick, text) in labelled(&scale, 14, 12.0, label) {
            let x = scale.at(tick);
            canvas.line(&[(x, TOP), (x, bottom)], 1.0, GRID, SOLID);
            canvas.text((x, bottom + 16.0), 12.0, Anchor::Middle, SOFT, &text);
        }
        canvas.text(((left + WIDTH) / 2.0, bottom + 42.0), 13.0, Anchor::Middle, INK, axis);
        if order.iter().any(|&i| outcome.summaries[i].oracle) {
            canvas.text((24.0, bottom + 42.0), 11.5, Anchor::Left, SOFT, BASELINE_NOTE);
        }
        paint(canvas, &middles);
    })
}

/// Rows as the table ranks them.
fn as_ranked(outcome: &Outcome<'_>) -> Vec<usize> {
    table::order(outcome, &table::rankings(outcome))
}

/// Rows from best to worst by a measure, baselines at the bottom.
fn by(outcome: &Outcome<'_>, value: impl Fn(&Summary) -> f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..outcome.summaries.len()).collect();
    let key = |i: usize| Some(value(&outcome.summaries[i])).filter(|v| v.is_finite()).unwrap_or(f64::INFINITY);
    order.sort_by(|&a, &b| {
        outcome.summaries[a].oracle.cmp(&outcome.summaries[b].oracle).then(key(a).total_cmp(&key(b)))
    });
    order
}

const PERCENTILES: [(&str, &str, RGBColor); 4] = [
    ("latency.p50", "half are faster (p50)", SKY),
    ("latency.p90", "9 in 10 (p90)", GREEN),
    ("latency.p99", "99 in 100 (p99), with interval", BLUE),
    ("latency.p999", "999 in 1000 (p99.9)", VERMILLION),
];

/// Percentiles of the latency by strategy.
pub fn latency(outcome: &Outcome<'_>) -> Option<String> {
    let values = outcome.summaries.iter().flat_map(|s| PERCENTILES.iter().map(|(metric, ..)| s.value(metric)));
    let (low, high) = log_range(values)?;
    let left = left(outcome);
    let scale = Scale::logarithmic(low, high, left, WIDTH - 190.0);
    let order = as_ranked(outcome);
    let subtitle =
        "Time from sending a request to its answer. Further left is better (logarithmic); who fails more stands below.";
    Some(sheet(outcome, subtitle, "latency", &order, scale, duration_label, |canvas, middles| {
        let mut x = left;
        for (shape, (_, label, colour)) in PERCENTILES.iter().enumerate() {
            canvas.marker(shape, (x + 6.0, 92.0), 5.0, *colour, 1.0);
            canvas.text((x + 18.0, 92.0), 12.0, Anchor::Left, INK, label);
            x += 40.0 + text_width(label, 12.0);
        }
        canvas.text((WIDTH - 100.0, 92.0), 12.0, Anchor::Right, SOFT, "p99");
        canvas.text((WIDTH - 24.0, 92.0), 12.0, Anchor::Right, SOFT, "failed");
        for (&which, &y) in order.iter().zip(middles) {
            let summary = &outcome.summaries[which];
            let at = |metric: &str| scale.at(summary.value(metric));
            if !summary.value("latency.p50").is_finite() {
                canvas.text((left, y), 12.0, Anchor::Left, SOFT, "no request was answered");
                continue;
            }
            canvas.line(&[(at("latency.p50"), y), (at("latency.p999"), y)], 1.5, SOFT, SOLID);
            if let Some(p99) = summary.metric("latency.p99").map(|metric| metric.estimate())
                && p99.low.is_finite()
            {
                let (from, to) = (scale.at(p99.low.max(low)), scale.at(p99.high));
                canvas.rect((from, y - 8.0), (to, y + 8.0), BLUE, 0.25);
            }
            for (shape, (metric, _, colour)) in PERCENTILES.iter().enumerate() {
                canvas.marker(shape, (at(metric), y), 5.5, *colour, 1.0);
            }
            let text = human_seconds(summary.value("latency.p99"));
            canvas.text((WIDTH - 100.0, y), 13.0, Anchor::Right, INK, &text);
            let failed = summary.failed("");
            let colour = if failed > 0.001 { VERMILLION } else { SOFT };
            canvas.text((WIDTH - 24.0, y), 13.0, Anchor::Right, colour, &percent(failed));
        }
    }))
}

/// A mark and a name for each pool, above the rows, in as many as fit.
fn pool_legend(canvas: &Canvas<'_>, pools: &[&str], left: f64, right: f64) {
    let mut x = left;
    for (i, pool) in pools.iter().enumerate() {
        let room = text_width(pool, 12.0);
        if x + 18.0 + room > right {
            canvas.text((x, 92.0), 12.0, Anchor::Left, SOFT, "…");
            break;
        }
        canvas.marker(i % 4, (x + 6.0, 92.0), 5.0, PALETTE[i % PALETTE.len()], 1.0);
        canvas.text((x + 18.0, 92.0), 12.0, Anchor::Left, INK, pool);
        x += 40.0 + room;
    }
}

/// What each pool feels, where paths lead to several: p99 as a mark per pool, failures in numbers.
pub fn pools(outcome: &Outcome<'_>) -> Option<String> {
    let metric = |pool: &str, name: &str| format!("{pool}.{name}");
    let pools = table::entry_pools(outcome);
    let p99 = |summary: &Summary, pool: &str| summary.value(&metric(pool, "latency.p99"));
    let values = outcome.summaries.iter().flat_map(|s| pools.iter().map(move |pool| p99(s, pool)));
    let (low, high) = log_range(values)?;
    let left = left(outcome);
    // A column of failures for each pool that there is room for.
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
    let order = by(outcome, |summary| summary.value("latency.p99"));
    let subtitle = "What the users of each pool feel: p99 (a mark per pool, logarithmic) and the share of their requests that failed.";
    Some(sheet(outcome, subtitle, "latency, p99", &order, scale, duration_label, |canvas, middles| {
        pool_legend(canvas, &pools, left, edge - 20.0);
        canvas.text((WIDTH - 24.0, 76.0), 12.0, Anchor::Right, SOFT, "share that failed");
        for &(pool, right) in &columns {
            canvas.text((right, 96.0), 12.0, Anchor::Right, SOFT, pool);
        }
        for (&which, &y) in order.iter().zip(middles) {
            let summary = &outcome.summaries[which];
            for (i, pool) in pools.iter().enumerate() {
                if p99(summary, pool).is_finite() {
                    canvas.marker(i % 4, (scale.at(p99(summary, pool)), y), 5.5, PALETTE[i % PALETTE.len()], 1.0);
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

/// Load of every server against its strength, by strategy.
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
    let subtitle = "One mark per server: its share of the requests relative to its share of the strength. At 1 it has its fair share.";
    Some(sheet(
        outcome,
        subtitle,
        "requests, relative to the fair share",
        &order,
        scale,
        number_label,
        |canvas, middles| {
            let bottom = TOP + height * order.len() as f64;
            canvas.line(&[(scale.at(1.0), TOP), (scale.at(1.0), bottom)], 1.5, SOFT, &[6.0, 4.0]);
            if pools.len() > 1 {
                pool_legend(canvas, &pools, left, WIDTH - 220.0);
            }
            // Pools lie under each other: marks of one do not hide another's.
            let lanes = pools.len().min(3);
            let (room, radius) = if lanes > 1 { (height - 16.0, 4.0) } else { (0.0, 5.5) };
            let lane = |pool: usize| room * ((pool % lanes) as f64 / (lanes as f64 - 1.0).max(1.0) - 0.5);
            canvas.text((WIDTH - 24.0, 92.0), 12.0, Anchor::Right, SOFT, "Jain's index, entry servers");
            for (&which, &y) in order.iter().zip(middles) {
                let summary = &outcome.summaries[which];
                // Of a very large fleet every so many: the marks would only hide each other.
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
        },
    ))
}

/// Share of look-ups that found the answer, by strategy.
pub fn cache(outcome: &Outcome<'_>) -> Option<String> {
    outcome.summaries.iter().find_map(|summary| summary.metric("cache.hit_ratio"))?;
    let left = left(outcome);
    let scale = Scale::linear(0.0, 1.0, left, WIDTH - 110.0);
    let order = by(outcome, |summary| -summary.value("cache.hit_ratio"));
    let subtitle = "Share of requests whose answer was in the cache of the server they were sent to. Longer is better.";
    let label = |value: f64| format!("{:.0} %", value * 100.0);
    Some(sheet(outcome, subtitle, "cache hit ratio", &order, scale, label, |canvas, middles| {
        for (&which, &y) in order.iter().zip(middles) {
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
