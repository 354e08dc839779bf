//! Time series: a panel per strategy, and per pool if there are several, all with the same scale and with the faults marked.
//! Strategies with the same curve share a panel.

use plotters::style::RGBColor;

use super::canvas::*;
use super::families::MANY;
use super::grouping::{listed, names};
use super::{BASELINE_NOTE, several_pools};
use crate::report::{Outcome, format, grouped};
use evenkeel_core::units::Nanos;
use evenkeel_sim::measure::{SeriesPoint, Summary};

const TOP: f64 = 84.0;
const LEFT: f64 = 64.0;
/// Space right of the last panel for the error rate scale.
const RIGHT: f64 = 52.0;
const GAP: f64 = 18.0;
/// Height of a family's name.
const HEADING: f64 = 26.0;
/// Height of a strategy's name.
const NAME: f64 = 22.0;
/// Height of the time scale.
const TICKS: f64 = 18.0;
/// Gap between rows.
const BETWEEN: f64 = 12.0;
/// Space for the scale of servers, right of the error rate scale.
const SERVERS: f64 = 40.0;

/// A span in seconds.
type Span = (f64, f64);

/// A span to mark, and the pool that it affects; `None` for all.
struct Band<'a> {
    span: Span,
    pool: Option<&'a str>,
}

/// Description of a fault; several at once or in sequence are grouped.
struct Struck {
    /// The affected pools or other targets.
    groups: Vec<String>,
    what: String,
    first: String,
    last: String,
    span: Span,
}

/// The spans to mark, each once, and a line of text per group of equal faults.
fn faults<'a>(outcome: &'a Outcome<'_>, end: f64) -> (Vec<Band<'a>>, Vec<(String, f64, f64)>) {
    let mut bands: Vec<Band<'a>> = Vec::new();
    let mut struck: Vec<Struck> = Vec::new();
    let pools = || outcome.scenario.model.pools.iter().map(|pool| pool.name.as_str());
    for fault in &outcome.scenario.model.faults {
        let span = (fault.at.as_secs_f64(), fault.until.map_or(end, |until| until.as_secs_f64()).min(end));
        let (target, what) = fault.label.split_once(": ").unwrap_or((&fault.label, ""));
        let (group, member) = target.split_once('/').unwrap_or((target, ""));
        let pool = pools().find(|pool| *pool == group);
        if !bands.iter().any(|band| band.span == span && band.pool == pool) {
            bands.push(Band { span, pool });
        }
        let same = |other: &&mut Struck| other.groups[0] == group && other.what == what;
        match struck.iter_mut().rev().find(same) {
            // In sequence or at the same time, like a rolling deployment or a rack that loses power.
            Some(before) if before.last != member && span.0 - before.span.0 < 0.5 * end => {
                before.last = member.to_owned();
                before.span.1 = before.span.1.max(span.1);
            }
            _ => {
                let (groups, what, member) = (vec![group.to_owned()], what.to_owned(), member.to_owned());
                struck.push(Struck { groups, what, first: member.clone(), last: member, span });
            }
        }
    }
    // The same fault in several pools is listed once.
    let mut told: Vec<Struck> = Vec::new();
    for one in struck {
        let same = |other: &&mut Struck| other.what == one.what && other.span == one.span;
        match told.iter_mut().find(same).filter(|_| pools().any(|pool| pool == one.groups[0])) {
            Some(other) => other.groups.extend(one.groups),
            None => told.push(one),
        }
    }
    let label = |struck: Struck| {
        let who =
            if struck.first == struck.last { struck.first } else { format!("{} to {}", struck.first, struck.last) };
        let who = match struck.groups.as_slice() {
            [group] => format!("{group}/{who}"),
            groups if groups.len() <= 3 => groups.join(", "),
            groups => format!("{} and {} more pools", groups[0], groups.len() - 1),
        };
        (format!("{who}: {}", struck.what), struck.span.0, struck.span.1)
    };
    let mut texts: Vec<_> = told.into_iter().map(label).collect();
    for (at, until, factor) in outcome.scenario.model.load_spans() {
        let span = (at.as_secs_f64(), until.map_or(end, Nanos::as_secs_f64).min(end));
        bands.push(Band { span, pool: None });
        texts.push((format!("load: {}", format::load(factor)), span.0, span.1));
    }
    (bands, texts)
}

/// A panel: column, row and content.
struct Cell {
    /// Strategies with this curve.
    members: Vec<usize>,
    /// Index of the pool among those of each summary.
    pool: Option<usize>,
    column: usize,
    row: usize,
    /// The pool's name, for its first panel.
    heading: Option<String>,
    /// Whether it is the lowest panel of its pool in this column: it has the time scale.
    lowest: bool,
}

impl Cell {
    fn series<'a>(&self, outcome: &'a Outcome<'_>) -> &'a [SeriesPoint] {
        series(&outcome.summaries[self.members[0]], self.pool)
    }
}

/// Pools with panels of their own; also a single pool with autoscaling.
fn shown_pools(outcome: &Outcome<'_>) -> usize {
    outcome.summaries.first().map_or(0, |summary| summary.pools.len())
}

fn series(summary: &Summary, pool: Option<usize>) -> &[SeriesPoint] {
    match pool {
        Some(pool) => &summary.pools[pool].series,
        None => &summary.series,
    }
}

/// Each pool starts in a new row unless the rest of the last one has room for all of it. Strategies are in the scenario's
/// order.
fn cells(outcome: &Outcome<'_>, columns: usize, latency: (f64, f64)) -> Vec<Cell> {
    let pools = shown_pools(outcome);
    let mut cells: Vec<Cell> = Vec::new();
    let (mut column, mut row) = (0, 0);
    for pool in (0..pools.max(1)).map(|pool| (pools > 0).then_some(pool)) {
        let groups = alike(outcome, pool, latency);
        if column > 0 && groups.len() > columns - column {
            (column, row) = (0, row + 1);
        }
        let count = groups.len();
        for (i, members) in groups.into_iter().enumerate() {
            if column == columns {
                (column, row) = (0, row + 1);
            }
            let heading =
                pool.filter(|_| i == 0 && pools > 1).map(|pool| outcome.summaries[0].pools[pool].name.clone());
            cells.push(Cell { members, pool, column, row, heading, lowest: i + columns >= count });
            column += 1;
        }
    }
    cells
}

/// Thresholds for equal curves, if there are many strategies: the mean difference as a share of a panel's height, and the
/// maximum difference. With few strategies only identical curves share a panel.
const ALIKE: (f64, f64) = (0.025, 0.12);

/// Position of p99 in a panel, if there is one, and error rate.
type BinHeight = (Option<f64>, f64);

/// Groups strategies by curve, under the first one that has it. Baselines are never grouped with others.
fn alike(outcome: &Outcome<'_>, pool: Option<usize>, (low, high): (f64, f64)) -> Vec<Vec<usize>> {
    let height = Scale::logarithmic(low, high, 0.0, 1.0);
    let most = if outcome.summaries.len() > MANY { ALIKE } else { (0.0, 0.0) };
    let curve = |which: usize| {
        let points = series(&outcome.summaries[which], pool).iter();
        points.map(|p| (p.p99.is_finite().then(|| height.at(p.p99)), failed(p))).collect::<Vec<_>>()
    };
    let curves: Vec<_> = (0..outcome.summaries.len()).map(curve).collect();
    let same = |a: usize, b: usize| {
        let apart = |((p, p_failed), (q, q_failed)): (&BinHeight, &BinHeight)| {
            let line = match (p, q) {
                (Some(p), Some(q)) => (p - q).abs(),
                (None, None) => 0.0,
                _ => 1.0,
            };
            (line, (p_failed - q_failed).abs())
        };
        let apart: Vec<(f64, f64)> = curves[a].iter().zip(&curves[b]).map(apart).collect();
        let mean = |of: fn(&(f64, f64)) -> f64| apart.iter().map(of).sum::<f64>() / apart.len().max(1) as f64;
        let servers = |which: usize| series(&outcome.summaries[which], pool).iter().map(|p| p.servers.to_bits());
        mean(|a| a.0) <= most.0
            && mean(|a| a.1) <= most.0
            && apart.iter().all(|a| a.0.max(a.1) <= most.1)
            && servers(a).eq(servers(b))
    };
    let oracle = |which: usize| outcome.summaries[which].oracle;
    grouped(outcome.summaries.len(), |first, other| oracle(first) == oracle(other) && same(first, other))
}

/// Error rate of the requests that ended in a bin.
fn failed(point: &SeriesPoint) -> f64 {
    let all = point.goodput + point.errors;
    if all > 0.0 { point.errors / all } else { 0.0 }
}

/// The top of each row's plots, and the lower edge.
fn tops(cells: &[Cell], plot: f64) -> (Vec<f64>, f64) {
    let rows = cells.last().map_or(0, |cell| cell.row + 1);
    let mut tops = Vec::new();
    let mut y = TOP;
    for row in 0..rows {
        let any = |what: fn(&Cell) -> bool| cells.iter().any(|cell| cell.row == row && what(cell));
        y += if any(|cell| cell.heading.is_some()) { HEADING } else { 0.0 };
        tops.push(y + NAME);
        y += NAME + plot + BETWEEN + if any(|cell| cell.lowest) { TICKS } else { 0.0 };
    }
    (tops, y)
}

/// Settings that all panels share.
struct Scales<'a> {
    end: f64,
    latency: (f64, f64),
    fails: bool,
    /// Maximum number of servers of any pool, with autoscaling.
    servers: Option<f64>,
    bands: Vec<Band<'a>>,
}

/// A panel's frame and the scales at its sides.
struct Sides {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Which scales get labels.
    left_texts: bool,
    right_texts: bool,
    below_texts: bool,
}

fn panel(canvas: &Canvas<'_>, outcome: &Outcome<'_>, cell: &Cell, shared: &Scales<'_>, sides: &Sides) {
    let Sides { left, right, top, bottom, .. } = *sides;
    let x = Scale::linear(0.0, shared.end, left, right);
    let y = Scale::logarithmic(shared.latency.0, shared.latency.1, bottom, top);
    let share = Scale::linear(0.0, 1.0, bottom, top);
    let series = cell.series(outcome);
    let pool = cell.pool.map(|pool| outcome.summaries[0].pools[pool].name.as_str());
    let mut marked: Vec<Span> = Vec::new();
    for band in &shared.bands {
        let strikes = pool.is_none() || band.pool.is_none() || band.pool == pool;
        if strikes && !marked.contains(&band.span) {
            marked.push(band.span);
            canvas.rect((x.at(band.span.0), top), (x.at(band.span.1), bottom), ORANGE, 0.2);
        }
    }
    let warmup = outcome.scenario.model.warmup;
    if warmup.0 > 0 {
        canvas.rect((left, top), (x.at(warmup.as_secs_f64()), bottom), SOFT, 0.08);
    }
    for tick in y.ticks(6) {
        canvas.line(&[(left, y.at(tick)), (right, y.at(tick))], 1.0, GRID, SOLID);
        if sides.left_texts {
            canvas.text((left - 6.0, y.at(tick)), 10.5, Anchor::Right, SOFT, &duration_label(tick));
        }
    }
    for (tick, text) in labelled(&x, 5, 10.5, |tick| format!("{} s", number_label(tick))) {
        canvas.line(&[(x.at(tick), bottom), (x.at(tick), bottom + 3.0)], 1.0, SOFT, SOLID);
        if sides.below_texts {
            // At the right end it must not overlap the next panel's zero.
            let at = x.at(tick).min(right + 4.0 - text_width(&text, 10.5) / 2.0);
            canvas.text((at, bottom + 13.0), 10.5, Anchor::Middle, SOFT, &text);
        }
    }
    canvas.line(&[(left, bottom), (right, bottom)], 1.0, SOFT, SOLID);
    if shared.fails {
        if sides.right_texts {
            for tick in [0.0, 0.5, 1.0] {
                let text = format!("{:.0} %", tick * 100.0);
                canvas.text((right + 6.0, share.at(tick)), 10.5, Anchor::Left, VERMILLION, &text);
            }
        }
        let mut points = vec![(left, bottom)];
        points.extend(series.iter().map(|p| (x.at(p.time), share.at(failed(p)))));
        points.push((right, bottom));
        canvas.area(&points, VERMILLION, 0.55);
    }
    if let Some(most) = shared.servers {
        let count = Scale::linear(0.0, most, bottom, top);
        if sides.right_texts {
            let at = right + 6.0 + if shared.fails { SERVERS } else { 0.0 };
            for tick in [0.0, most / 2.0, most] {
                canvas.text((at, count.at(tick)), 10.5, Anchor::Left, GREEN, &number_label(tick));
            }
        }
        let points: Vec<(f64, f64)> = series.iter().map(|p| (x.at(p.time), count.at(p.servers))).collect();
        canvas.line(&points, 1.8, GREEN, &[5.0, 3.0]);
    }
    for piece in series.split(|p| !p.p99.is_finite()) {
        let points: Vec<(f64, f64)> = piece.iter().map(|p| (x.at(p.time), y.at(p.p99))).collect();
        if points.len() > 1 {
            canvas.line(&points, 1.8, BLUE, SOLID);
        }
    }
    let colour = if outcome.summaries[cell.members[0]].oracle { SOFT } else { INK };
    let name = names(outcome, &cell.members, 12.0, right - left);
    canvas.text((left, top - 10.0), 12.0, Anchor::Left, colour, &name);
}

/// The legend of the shades: colour, opacity and description, wrapped into lines. Returns the positions and the lower edge.
fn notes(outcome: &Outcome<'_>, labels: &[(String, f64, f64)], cells: &[Cell], top: f64) -> (Vec<Note>, f64) {
    let mut texts: Vec<(Option<(RGBColor, f64)>, String)> = Vec::new();
    for (i, (label, from, until)) in labels.iter().take(4).enumerate() {
        let more = labels.len().saturating_sub(4);
        let more = if i == 3 && more > 0 { format!(" (and {more} more)") } else { String::new() };
        let text = format!("{label}, {} s to {} s{more}", number_label(*from), number_label(*until));
        texts.push((Some((ORANGE, 0.3)), text));
    }
    if outcome.scenario.model.warmup.0 > 0 {
        texts.push((Some((SOFT, 0.2)), "warm-up, not measured".to_owned()));
    }
    if outcome.summaries.iter().any(|summary| summary.oracle) {
        texts.push((None, BASELINE_NOTE.to_owned()));
    }
    for line in shared_panels(outcome, cells) {
        texts.push((None, line));
    }
    let (mut x, mut y) = (LEFT, top);
    let mut notes = Vec::new();
    for (shade, text) in texts {
        let text = fit(&text, 12.0, WIDTH - LEFT - 54.0);
        let width = text_width(&text, 12.0) + if shade.is_some() { 30.0 } else { 0.0 };
        if x > LEFT && x + width > WIDTH - 24.0 {
            (x, y) = (LEFT, y + 20.0);
        }
        notes.push(Note { at: (x, y), shade, text });
        x += width + 40.0;
    }
    (notes, y)
}

/// Lines that list all names that do not fit above their panel.
fn shared_panels(outcome: &Outcome<'_>, cells: &[Cell]) -> Vec<String> {
    let room = WIDTH - LEFT - 54.0;
    let mut lines = Vec::new();
    for cell in cells.iter().filter(|cell| cell.members.len() > 1) {
        let pool = cell.pool.filter(|_| several_pools(outcome) > 0);
        let place = pool.map_or_else(String::new, |pool| format!(" in {}", outcome.summaries[0].pools[pool].name));
        lines.extend(listed(outcome, &format!("The same curve{place}: "), &cell.members, 12.0, room));
    }
    lines
}

struct Note {
    at: (f64, f64),
    shade: Option<(RGBColor, f64)>,
    text: String,
}

/// p99 over time as a line (logarithmic, left), error rate as an area (right), servers as a dashed line with autoscaling.
pub fn timeseries(outcome: &Outcome<'_>) -> Option<String> {
    let summaries = &outcome.summaries;
    let pools = shown_pools(outcome);
    let every = || {
        let pool = |pool: usize| (pools > 0).then_some(pool);
        summaries.iter().flat_map(move |s| (0..pools.max(1)).map(move |p| series(s, pool(p))))
    };
    let latency = log_range(every().flat_map(|series| series.iter().map(|p| p.p99)))?;
    let fails = every().any(|series| series.iter().any(|p| p.errors > 0.0));
    let model = &outcome.scenario.model;
    let end = (model.warmup + model.duration).as_secs_f64();
    let (columns, plot) = match summaries.len() {
        n if n > MANY => (4, 84.0),
        // Two pools side by side.
        1 | 2 | 4 if pools > 1 => (4, 116.0),
        _ => (3, 116.0),
    };
    let cells = cells(outcome, columns, latency);
    let (tops, below) = tops(&cells, plot);
    let (bands, labels) = faults(outcome, end);
    let (notes, last) = notes(outcome, &labels, &cells, below + 16.0);
    let scaled = pools > 0 && model.pools.iter().any(|pool| pool.autoscale.is_some());
    let servers = scaled.then(|| model.pools.iter().map(|pool| pool.servers.len()).max().unwrap_or(1) as f64);
    let right = if fails { RIGHT } else { 24.0 } + if scaled { SERVERS } else { 0.0 };
    let width = (WIDTH - LEFT - right - GAP * (columns as f64 - 1.0)) / columns as f64;
    let shared = Scales { end, latency, fails, servers, bands };
    Some(draw(WIDTH, last + 24.0, |canvas| {
        let mut what = "p99 over time (line, logarithmic, left)".to_owned();
        if fails {
            what += ", error rate (area, right)";
        }
        if scaled {
            what += ", servers (green, right)";
        }
        let subtitle = format!("{what}, by completion time. All panels share the same scales.");
        canvas.title(&outcome.scenario.title, &subtitle);
        for (i, cell) in cells.iter().enumerate() {
            let left = LEFT + cell.column as f64 * (width + GAP);
            let top = tops[cell.row];
            let sides = Sides {
                left,
                right: left + width,
                top,
                bottom: top + plot,
                left_texts: cell.column == 0,
                right_texts: cells.get(i + 1).is_none_or(|next| next.row != cell.row),
                below_texts: cell.lowest,
            };
            if let Some(heading) = &cell.heading {
                canvas.text((left, top - NAME - 10.0), 14.0, Anchor::Left, INK, heading);
            }
            panel(canvas, outcome, cell, &shared, &sides);
        }
        for Note { at: (x, y), shade, text } in &notes {
            let mut left = *x;
            if let Some((colour, opacity)) = shade {
                canvas.rect((left, y - 6.0), (left + 22.0, y + 6.0), *colour, *opacity);
                left += 30.0;
            }
            canvas.text((left, *y), 12.0, Anchor::Left, if shade.is_some() { INK } else { SOFT }, text);
        }
    }))
}
