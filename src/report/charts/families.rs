//! Curves of many strategies: a panel for each family on the same scales, with its members in colour and labelled, and the
//! curves of all others in grey. A few strategies share one panel.

use plotters::style::RGBColor;

use super::canvas::*;
use super::grouping::names;
use super::{several_pools, shown_name};
use crate::report::Outcome;
use evenkeel_core::select::catalog::{CATALOGUE, Family, find};

/// More strategies than this cannot be distinguished in one panel.
pub const MANY: usize = 10;

const MARGIN: f64 = 24.0;
const GUTTER: f64 = 36.0;
const HEADING: f64 = 24.0;
const ENTRY: f64 = 17.0;
const SWATCH: f64 = 32.0;
/// Gap between a name and its note.
const NOTE_GAP: f64 = 6.0;
/// Gap between columns of a legend.
const ENTRY_GAP: f64 = 12.0;
const NAME: f64 = 11.0;
/// Space for the names of members that share a curve.
const MERGED_NAME: f64 = 230.0;
/// Gap between the legend and the plot under it.
const LEGEND_GAP: f64 = 8.0;
/// Space below a plot: ticks, and a margin.
const BELOW: f64 = 46.0;

/// Line style of a strategy.
#[derive(Clone, Copy)]
pub struct Style {
    pub colour: RGBColor,
    pub dash: Dash,
    pub shape: usize,
}

/// Styles by number. Dash and marker change with the colour, so that a curve that coincides with another shows through its
/// gaps.
fn numbered(number: usize) -> Style {
    let colour = PALETTE[number % PALETTE.len()];
    let turn = number + number / PALETTE.len();
    Style { colour, dash: DASHES[turn % DASHES.len()], shape: turn % 4 }
}

/// Number of different styles of [`numbered`].
const STYLES: usize = 24;

/// Style of a baseline, by its number among them.
fn baseline(number: usize) -> Style {
    Style { colour: SOFT, dash: DASHES[(number + 2) % DASHES.len()], shape: number % 4 }
}

/// A style for each strategy of a chart with a single panel. A strategy has the same style in every scenario, unless an
/// earlier one has that style or its colour already.
pub fn styles(outcome: &Outcome<'_>) -> Vec<Style> {
    let mut taken: Vec<usize> = Vec::new();
    let mut baselines = 0;
    let style = |summary: &evenkeel_sim::measure::Summary| {
        if summary.oracle {
            baselines += 1;
            return baseline(baselines - 1);
        }
        let place = CATALOGUE.iter().position(|row| row.name == summary.strategy).unwrap_or(0);
        // A repeated colour gets other dashes; an unused colour is preferred.
        let used =
            |number: usize| taken.iter().filter(|other| *other % PALETTE.len() == number % PALETTE.len()).count();
        let free = (place..place + STYLES).map(|number| number % STYLES).filter(|number| !taken.contains(number));
        let number = free.min_by_key(|&number| used(number)).unwrap_or(place % STYLES);
        taken.push(number);
        numbered(number)
    };
    outcome.summaries.iter().map(style).collect()
}

/// A member of a family: index of the strategy, its style, and its note in the legend.
pub struct Member {
    pub which: usize,
    pub style: Style,
    name: String,
    note: String,
}

/// The strategies of a family, of a pool, or of a family in a pool, in the order of the legend.
pub struct Group {
    pub title: String,
    /// Index of the pool among those of each summary.
    pub pool: Option<usize>,
    pub members: Vec<Member>,
}

/// Groups strategies by family, by pool if there are several, or by both. `order` sorts legends, the lowest value first;
/// `note` follows a name; both get a strategy and a pool.
pub fn panels(
    outcome: &Outcome<'_>,
    order: impl Fn(usize, Option<usize>) -> f64,
    note: impl Fn(usize, Option<usize>) -> String,
) -> Vec<Group> {
    let pools = several_pools(outcome);
    let mut panels = Vec::new();
    for pool in (0..pools.max(1)).map(|pool| (pools > 0).then_some(pool)) {
        let name = pool.map(|pool| outcome.summaries[0].pools[pool].name.clone());
        let (order, note) = (|which| order(which, pool), |which| note(which, pool));
        if outcome.summaries.len() <= MANY {
            let styles = styles(outcome);
            let member = |which: usize| {
                let name = shown_name(&outcome.summaries[which]);
                Member { which, style: styles[which], name, note: note(which) }
            };
            let mut members: Vec<Member> = (0..outcome.summaries.len()).map(member).collect();
            members.sort_by(|a, b| order(a.which).total_cmp(&order(b.which)));
            panels.push(Group { title: name.unwrap_or_default(), pool, members });
            continue;
        }
        for group in groups(outcome, order, note) {
            let title = match &name {
                Some(name) => format!("{name}: {}", group.title),
                None => group.title,
            };
            panels.push(Group { title, pool, ..group });
        }
    }
    panels
}

/// Merges the members of each group whose picks are the same ([`super::grouping::same_picks`]) under the first of them.
pub fn merge(outcome: &Outcome<'_>, groups: &mut [Group], same: &[Vec<usize>]) {
    for group in groups {
        let own: Vec<usize> = group.members.iter().map(|member| member.which).collect();
        group.members.retain_mut(|member| {
            let with = same.iter().find(|with| with.contains(&member.which));
            // The members of this group among them, in the order of its legend.
            let with: Vec<usize> =
                own.iter().copied().filter(|which| with.is_some_and(|w| w.contains(which))).collect();
            if with.len() > 1 {
                member.name = names(outcome, &with, NAME, MERGED_NAME);
            }
            with.first().is_none_or(|&first| first == member.which)
        });
    }
}

/// Groups strategies by family.
pub fn groups(outcome: &Outcome<'_>, order: impl Fn(usize) -> f64, note: impl Fn(usize) -> String) -> Vec<Group> {
    let family = |which: usize| find(outcome.summaries[which].strategy).map_or(Family::Random, |row| row.doc.family);
    let mut families: Vec<Family> = (0..outcome.summaries.len()).map(family).collect();
    families.sort_unstable();
    families.dedup();
    let group = |of: Family| {
        let mut members: Vec<usize> = (0..outcome.summaries.len()).filter(|&which| family(which) == of).collect();
        let rows: Vec<&str> = CATALOGUE.iter().filter(|row| row.doc.family == of).map(|row| row.name).collect();
        let strategies: Vec<&str> = members.iter().map(|&which| outcome.summaries[which].strategy).collect();
        let once = strategies.iter().all(|name| strategies.iter().filter(|other| *other == name).count() == 1);
        let member = |(place, which): (usize, usize)| {
            let summary = &outcome.summaries[which];
            // The same in every scenario, unless a strategy is listed twice.
            let number = if once { rows.iter().position(|name| *name == summary.strategy) } else { None };
            let number = number.unwrap_or(place);
            let style = if summary.oracle { baseline(number) } else { numbered(number) };
            Member { which, style, name: shown_name(summary), note: note(which) }
        };
        let mut members: Vec<Member> = members.drain(..).enumerate().map(member).collect();
        members.sort_by(|a, b| order(a.which).total_cmp(&order(b.which)));
        Group { title: of.title().to_owned(), pool: None, members }
    };
    families.into_iter().map(group).collect()
}

/// Position of a group's panel.
#[derive(Clone, Copy)]
pub struct Frame {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    /// Draws the labels of the vertical scale at the left edge.
    pub outer: bool,
    heading: f64,
}

/// Layout of a legend: number of rows, and the width of each column.
fn legend_columns(group: &Group, room: f64) -> (usize, Vec<f64>) {
    let entry = |member: &Member| {
        SWATCH + text_width(&member.name, NAME) + NOTE_GAP + text_width(&member.note, NAME) + ENTRY_GAP
    };
    let widths: Vec<f64> = group.members.iter().map(entry).collect();
    for columns in [3, 2] {
        let rows = widths.len().div_ceil(columns);
        let columns: Vec<f64> = widths.chunks(rows.max(1)).map(|c| c.iter().copied().fold(0.0, f64::max)).collect();
        if columns.iter().sum::<f64>() <= room + ENTRY_GAP {
            return (rows, columns);
        }
    }
    (widths.len(), vec![room])
}

/// Lays out panels of this height, two per row, from `top` down, with `labels` of space at the left edge. Returns also the
/// lower edge.
pub fn frames(groups: &[Group], top: f64, labels: f64, height: f64) -> (Vec<Frame>, f64) {
    let columns = groups.len().min(2);
    let width = (WIDTH - labels - MARGIN - GUTTER * (columns as f64 - 1.0)) / columns as f64;
    let mut frames = Vec::new();
    let mut heading = top;
    for row in groups.chunks(columns.max(1)) {
        let entries = row.iter().map(|group| legend_columns(group, width).0).max().unwrap_or(0);
        let top = heading + HEADING + entries as f64 * ENTRY + LEGEND_GAP;
        for column in 0..row.len() {
            let left = labels + column as f64 * (width + GUTTER);
            frames.push(Frame { left, right: left + width, top, bottom: top + height, outer: column == 0, heading });
        }
        heading = top + height + BELOW;
    }
    (frames, heading)
}

/// The legend's sample of a strategy's line and mark.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Swatch {
    Line,
    LineAndMarker,
    Marker,
}

/// A group's name, and under it its members' names.
pub fn heading(canvas: &Canvas<'_>, group: &Group, frame: &Frame, swatch: Swatch) {
    canvas.text((frame.left, frame.heading + 4.0), 14.0, Anchor::Left, INK, &group.title);
    let (rows, columns) = legend_columns(group, frame.right - frame.left);
    let mut left = frame.left;
    for (members, width) in group.members.chunks(rows.max(1)).zip(columns) {
        for (row, member) in members.iter().enumerate() {
            let y = frame.heading + HEADING + (row as f64 + 0.25) * ENTRY;
            sample(canvas, (left, y), SWATCH - 8.0, &member.style, swatch);
            let note = text_width(&member.note, NAME);
            let name = fit(&member.name, NAME, frame.right - left - SWATCH - note - NOTE_GAP);
            canvas.text((left + SWATCH, y), NAME, Anchor::Left, INK, &name);
            let behind = left + SWATCH + text_width(&name, NAME) + NOTE_GAP;
            canvas.text((behind, y), NAME, Anchor::Left, SOFT, &member.note);
        }
        left += width;
    }
}

/// A piece of a strategy's line.
pub fn sample(canvas: &Canvas<'_>, (left, y): (f64, f64), length: f64, style: &Style, swatch: Swatch) {
    if swatch != Swatch::Marker {
        canvas.line(&[(left, y), (left + length, y)], 2.4, style.colour, style.dash);
    }
    if swatch != Swatch::Line {
        canvas.marker(style.shape, (left + length / 2.0, y), 3.8, style.colour, 1.0);
    }
}

/// Drawing order: solid lines first, then dashed ones, whose gaps show the lines below.
pub fn painting_order(members: &[Member]) -> Vec<&Member> {
    let mut order: Vec<&Member> = members.iter().rev().collect();
    order.sort_by_key(|member| DASHES.iter().position(|dash| *dash == member.style.dash));
    order
}

/// Text above the panels that applies to all of them.
pub const FAINT_NOTE: &str = "Grey: all other strategies.";
