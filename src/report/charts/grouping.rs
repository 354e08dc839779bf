//! Strategies that picked the same servers in every run: they have the same results, and share a row or a curve.

use super::canvas::{fit, text_width};
use super::shown_name;
use crate::report::{Outcome, grouped};

/// Groups of strategies with the same picks, each in the order of the scenario, under the first one. A strategy with picks of
/// its own is a group of one. Baselines are never grouped with others.
pub fn same_picks(outcome: &Outcome<'_>) -> Vec<Vec<usize>> {
    let picks = |which: usize| {
        let summary = &outcome.summaries[which];
        (summary.oracle, &summary.workload_hashes, &summary.pick_hashes)
    };
    grouped(outcome.summaries.len(), |first, other| {
        !outcome.summaries[other].pick_hashes.is_empty() && picks(first) == picks(other)
    })
}

/// The strategies whose picks are the same as this one's, itself included, if it is the first of them; else `None`.
pub fn led_by(groups: &[Vec<usize>], which: usize) -> Option<&[usize]> {
    groups.iter().find(|group| group[0] == which).map(Vec::as_slice)
}

/// "round_robin, edf and 4 more": as many names as fit into `room` at this size.
pub fn names(outcome: &Outcome<'_>, members: &[usize], size: f64, room: f64) -> String {
    let all: Vec<String> = members.iter().map(|&which| shown_name(&outcome.summaries[which])).collect();
    let text = |shown: usize| match all.len() - shown {
        0 => all.join(", "),
        more => format!("{} and {more} more", all[..shown].join(", ")),
    };
    let fits = (1..=all.len()).rev().map(text).find(|text| text_width(text, size) <= room);
    fits.unwrap_or_else(|| match all.len() {
        1 => fit(&all[0], size, room),
        n => {
            let rest = format!(" and {} more", n - 1);
            fit(&all[0], size, room - text_width(&rest, size)) + &rest
        }
    })
}

/// `heading` and all names of a group, in lines of at most `room` at this size.
pub fn listed(outcome: &Outcome<'_>, heading: &str, members: &[usize], size: f64, room: f64) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = heading.to_owned();
    for (i, &which) in members.iter().enumerate() {
        let name = shown_name(&outcome.summaries[which]) + if i + 1 < members.len() { ", " } else { "" };
        if text_width(&line, size) + text_width(&name, size) > room {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        line += &name;
    }
    lines.push(line);
    lines
}

/// A list of names for each group of two or more.
pub fn notes(outcome: &Outcome<'_>, groups: &[Vec<usize>], size: f64, room: f64) -> Vec<String> {
    let several = groups.iter().filter(|group| group.len() > 1);
    several.flat_map(|group| listed(outcome, "The same picks: ", group, size, room)).collect()
}
