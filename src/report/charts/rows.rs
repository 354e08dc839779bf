//! Charts with a row per strategy: latency percentiles, load of the servers, cache hits.

use plotters::style::RGBColor;

use super::canvas::*;
use super::families::MANY;
use super::{BASELINE_NOTE, shown_name};
use crate::report::Outcome;
use crate::report::table::{self, percent};
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::{ENOUGH, Summary};

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

/// Rows under a heading: those of a pool, where each is shown apart.
struct Section<'a> {
    heading: Option<&'a str>,
    order: Vec<usize>,
}

/// All rows, without a heading.
fn together<'a>(order: Vec<usize>) -> Vec<Section<'a>> {
    vec![Section { heading: None, order }]
}

/// For a heading.
const HEADING: f64 = 32.0;

/// What a sheet with rows looks like.
struct Look<'a> {
    subtitle: &'a str,
    axis: &'a str,
    /// Of a row.
    height: f64,
    scale: Scale,
    label: fn(f64) -> String,
}

/// The sheet and the rows with their labels; `paint` adds what is in them. Gets the middles of each section's rows, and
/// where the last ends.
fn sheet(
    outcome: &Outcome<'_>,
    look: &Look<'_>,
    sections: &[Section<'_>],
    paint: impl FnOnce(&Canvas<'_>, &[Vec<f64>], f64),
) -> String {
    let (left, height) = (left(outcome), look.height);
    let mut bottom = TOP;
    let mut headings = Vec::new();
    let mut middles: Vec<Vec<f64>> = Vec::new();
    for section in sections {
        if section.heading.is_some() {
            headings.push(bottom + HEADING * 0.6);
            bottom += HEADING;
        }
        middles.push((0..section.order.len()).map(|i| bottom + (i as f64 + 0.5) * height).collect());
        bottom += height * section.order.len() as f64;
    }
    draw(WIDTH, bottom + 64.0, |canvas| {
        canvas.title(&outcome.scenario.title, look.subtitle);
        for (heading, y) in sections.iter().filter_map(|section| section.heading).zip(headings) {
            canvas.text((24.0, y), 14.0, Anchor::Left, INK, &fit(heading, 14.0, left - 40.0));
        }
        for (section, middles) in sections.iter().zip(&middles) {
            for (i, (&which, &y)) in section.order.iter().zip(middles).enumerate() {
                if i % 2 == 0 {
                    canvas.rect((16.0, y - height / 2.0), (WIDTH - 16.0, y + height / 2.0), ROW, 1.0);
                }
                let summary = &outcome.summaries[which];
                let colour = if summary.oracle { SOFT } else { INK };
                let name = fit(&shown_name(summary), NAME, left - 40.0);
                canvas.text((left - 16.0, y), NAME, Anchor::Right, colour, &name);
            }
        }
        for (tick, text) in labelled(&look.scale, 14, 12.0, look.label) {
            let x = look.scale.at(tick);
            canvas.line(&[(x, TOP), (x, bottom)], 1.0, GRID, SOLID);
            canvas.text((x, bottom + 16.0), 12.0, Anchor::Middle, SOFT, &text);
        }
        canvas.text(((left + WIDTH) / 2.0, bottom + 42.0), 13.0, Anchor::Middle, INK, look.axis);
        if outcome.summaries.iter().any(|summary| summary.oracle) {
            canvas.text((24.0, bottom + 42.0), 11.5, Anchor::Left, SOFT, BASELINE_NOTE);
        }
        paint(canvas, &middles, bottom);
    })
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
    let section = |ranking: &table::Ranking<'_>| ranking.order(outcome);
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
    let order = table::order(outcome, &table::rankings(outcome));
    // Pools lie under each other: no mark hides another's.
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
        // Pools lie under each other: marks of one do not hide another's.
        let lanes = pools.len().min(3);
        let (room, radius) = if lanes > 1 { (height - 16.0, 4.0) } else { (0.0, 5.5) };
        let lane = |pool: usize| room * ((pool % lanes) as f64 / (lanes as f64 - 1.0).max(1.0) - 0.5);
        canvas.text((WIDTH - 24.0, 92.0), 12.0, Anchor::Right, SOFT, "Jain's index, entry servers");
        for (&which, &y) in sections[0].order.iter().zip(&middles[0]) {
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
    }))
}

/// Share of look-ups that found the answer, by strategy.
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
