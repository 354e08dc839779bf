//! The terminal's table: a row per strategy, the best first, in words that a student understands.

use std::collections::BTreeMap;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, presets};

use super::Outcome;
use crate::measure::interval::Estimate;
use crate::measure::warmup::{Clock, Settling};
use crate::measure::{Comparison, Summary, Verdict, compare, regret};
use crate::units::human_seconds;

/// An empty table in the house's style: a line under the header and one at each end.
pub fn plain(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()))
        .set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = width {
        table.set_width(width);
    }
    table
}

/// The measure that ranks.
pub(super) const RANKED_BY: &str = "latency.p99";

/// How to read the table; printed once under all of them.
pub const LEGEND: &str = "\
mean, p50, p99, p99.9  time from sending a request to its answer; p99: one request in a hundred takes longer
±                      half the 95 % interval of Student's t, as a share of the value
exact                  what a theorem says that the mean is
failed                 share of requests without a good answer
even                   Jain's index of requests against the strength of the servers; 1 is perfectly even
cache                  share of look-ups that found the answer in the server's cache
regret                 how much more the mean is than the oracle's on the same requests
state                  stable, backlogged (more in the system late than early), overloaded (no steady state)
verdict                by p99 and by pairs of runs that met the same requests; \"ties\" means that these runs cannot tell";

/// A table for a scenario, followed by a sentence that says what it shows.
pub fn render(outcome: &Outcome<'_>, colour: bool, width: Option<u16>) -> String {
    let stands = compare(&outcome.summaries, RANKED_BY);
    let cached = outcome.summaries.iter().any(|summary| summary.metric("cache.hit_ratio").is_some());
    let mut table = plain(width);
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    // Where paths lead to several pools, what each of them feels says more than the whole.
    let pools: Vec<&str> = entry_pools(outcome);
    let whole: &[(&str, &str)] = match pools[..] {
        [] => &[("mean", "latency.mean"), ("p50", "latency.p50"), ("p99", "latency.p99"), ("p99.9", "latency.p999")],
        _ => &[("mean", "latency.mean"), ("p99", "latency.p99")],
    };
    let exact = outcome.summaries.iter().any(|summary| summary.theory.is_some());
    let regrets = outcome.summaries.iter().any(|summary| regret(&outcome.summaries, summary, "latency.mean").is_some());
    let mut header = vec!["strategy".to_owned()];
    for (name, _) in whole {
        header.push(if *name == "p99" { "p99 ±".to_owned() } else { (*name).to_owned() });
        header.extend((exact && *name == "mean").then(|| "exact".to_owned()));
    }
    header.push("failed".to_owned());
    header.extend(pools.iter().flat_map(|pool| [format!("{pool} p99"), format!("{pool} failed")]));
    header.push("even".to_owned());
    header.extend(cached.then(|| "cache".to_owned()));
    header.extend(regrets.then(|| "regret".to_owned()));
    header.extend(["state".to_owned(), "verdict".to_owned()]);
    table.set_header(header.iter().map(|name| bold(Cell::new(name), colour)));

    for i in ranking(outcome, &stands) {
        let summary = &outcome.summaries[i];
        let best = stands[i] == Some(Comparison::Best);
        let mark =
            |cell: Cell| if best && colour { cell.fg(Color::Green).add_attribute(Attribute::Bold) } else { cell };
        let name = if summary.oracle { format!("{} (baseline)", summary.label) } else { summary.label.clone() };
        let mut texts = Vec::new();
        for (name, metric) in whole {
            texts.push(if *name == "p99" {
                with_spread(summary.estimate(metric))
            } else {
                human_seconds(summary.value(metric))
            });
            if exact && *name == "mean" {
                let theory = summary.theory.as_ref();
                texts.push(theory.map_or_else(String::new, |e| format!("{} {}", human_seconds(e.mean), e.theorem)));
            }
        }
        texts.push(percent(summary.failed("")));
        for pool in &pools {
            texts.push(human_seconds(summary.value(&format!("{pool}.latency.p99"))));
            texts.push(percent(summary.failed(&format!("{pool}."))));
        }
        texts.push(decimal(summary.value("fairness.jain")));
        texts.extend(cached.then(|| percent(summary.value("cache.hit_ratio"))));
        texts.extend(regrets.then(|| {
            regret(&outcome.summaries, summary, "latency.mean").map_or_else(String::new, |e| signed_seconds(e.value))
        }));
        let state = summary.judgement.verdict;
        let tint = |cell: Cell| match state {
            Verdict::Overloaded if colour => cell.fg(Color::Red),
            Verdict::Backlogged if colour => cell.fg(Color::Yellow),
            _ => mark(cell),
        };
        let mut cells = vec![mark(Cell::new(name)).set_alignment(CellAlignment::Left)];
        cells.extend(texts.into_iter().map(|text| mark(Cell::new(text)).set_alignment(CellAlignment::Right)));
        cells.push(tint(Cell::new(state.word())));
        cells.push(mark(Cell::new(verdict(summary, stands[i]))));
        table.add_row(cells);
    }
    format!("{table}\n{}", sentence(outcome, &stands))
}

/// `233 ms ±2.5 %`, or the value alone where there is no interval.
fn with_spread(estimate: Estimate) -> String {
    let value = human_seconds(estimate.value);
    let spread = estimate.relative_half_width() * 100.0;
    match spread {
        s if !s.is_finite() => value,
        s if s < 9.95 => format!("{value} ±{s:.1} %"),
        s => format!("{value} ±{s:.0} %"),
    }
}

fn signed_seconds(seconds: f64) -> String {
    let size = human_seconds(seconds.abs());
    if seconds < 0.0 { format!("−{size}") } else { format!("+{size}") }
}

/// What a reader must know of rows that are not what they seem: no steady state, a start that is still felt, batches that
/// are not independent, intervals that did not become tight. A line each.
pub fn notes(outcome: &Outcome<'_>) -> Vec<String> {
    let mut notes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut late: BTreeMap<(bool, bool), (Vec<&str>, Settling)> = BTreeMap::new();
    for summary in &outcome.summaries {
        let mut note = |text: String| notes.entry(text).or_default().push(&summary.label);
        let judgement = &summary.judgement;
        if judgement.verdict != Verdict::Stable {
            note(format!("{}: {}", judgement.verdict.word(), judgement.reason));
        }
        // Where queues grow, nothing settles, and that has been said.
        if summary.ranks() {
            for clock in [Clock::Latency, Clock::Cache] {
                if let Some(unsettled) = summary.unsettled(clock) {
                    let key = (clock == Clock::Cache, unsettled.after.is_none());
                    let (labels, latest) = late.entry(key).or_insert_with(|| (Vec::new(), unsettled));
                    labels.push(&summary.label);
                    // Of several, the one that needs most.
                    if unsettled.after > latest.after {
                        *latest = unsettled;
                    }
                }
            }
        }
        let batches = summary.metrics.first().map_or(0, |metric| metric.values.len());
        if summary.batches && summary.batch_correlation > 2.0 / crate::math::sqrt(batches as f64) {
            note(format!(
                "neighbouring batches are alike (correlation {:.2}): intervals are too narrow, take fewer or longer ones",
                summary.batch_correlation
            ));
        }
    }
    for (labels, unsettled) in late.into_values() {
        notes.insert(unsettled_text(outcome, &unsettled), labels);
    }
    let list = |labels: &[&str]| match labels {
        _ if labels.len() == outcome.summaries.len() && labels.len() > 2 => "all strategies".to_owned(),
        labels => labels.join(", "),
    };
    let mut lines: Vec<String> = notes.iter().map(|(text, labels)| format!("{}: {text}", list(labels))).collect();
    if let Some(reached) = &outcome.precision {
        let width = reached.half_width * 100.0;
        lines.push(if reached.loosest.is_empty() {
            format!(
                "Precision: {} replications; no strategy can be ranked, so no interval is to be tight",
                outcome.replications
            )
        } else if reached.half_width <= reached.target {
            let loosest = &reached.loosest;
            format!(
                "Precision: {} replications; the loosest interval is {loosest} with ±{width:.1} %",
                outcome.replications
            )
        } else {
            format!(
                "Precision: not reached in {} replications: {} is at ±{width:.1} %, wanted were ±{} %",
                outcome.replications,
                reached.loosest,
                reached.target * 100.0
            )
        });
    }
    lines
}

fn unsettled_text(outcome: &Outcome<'_>, unsettled: &Settling) -> String {
    let model = &outcome.scenario.model;
    let (what, warmup, key) = match unsettled.clock {
        Clock::Latency => ("latency", model.warmup, "warmup"),
        Clock::Cache => ("the hit ratio", model.cache_warmup, "cache_warmup"),
    };
    match unsettled.after {
        Some(after) => format!(
            "warm-up too short: {what} settles only after {} (MSER-5) and is measured from {warmup} on; write {key} = \"auto\"",
            human_seconds(after)
        ),
        None => format!("run too short: {what} had not settled in the first half of it (MSER-5)"),
    }
}

/// What theory says, a line for each strategy that a theorem applies to: exact, simulated, and whether they agree.
pub fn theory(outcome: &Outcome<'_>) -> Vec<String> {
    let line = |summary: &Summary| {
        let exact = summary.theory.as_ref()?;
        let side = |metric: &str, name: &str, exact: f64| {
            let e = summary.estimate(metric);
            let word = if !e.low.is_finite() {
                "one run has no interval"
            } else if (e.low..=e.high).contains(&exact) {
                "inside the interval"
            } else {
                "outside the 95 % interval, as one in twenty is by chance"
            };
            let interval = if e.low.is_finite() {
                format!(" [{}, {}]", human_seconds(e.low), human_seconds(e.high))
            } else {
                String::new()
            };
            format!("{name} {} exact, {}{interval} simulated, {word}", human_seconds(exact), human_seconds(e.value))
        };
        let mut text = format!("{} is {}: {}", summary.label, exact.theorem, side("latency.mean", "mean", exact.mean));
        if let Some(p99) = exact.p99 {
            text += &format!("; {}", side("latency.p99", "p99", p99));
        }
        Some(text)
    };
    outcome.summaries.iter().filter_map(line).collect()
}

/// Pools that have latencies of their own.
pub(super) fn entry_pools<'a>(outcome: &'a Outcome<'_>) -> Vec<&'a str> {
    let has = |pool: &str| outcome.summaries.iter().any(|s| s.metric(&format!("{pool}.latency.p99")).is_some());
    outcome.scenario.model.pools.iter().map(|pool| pool.name.as_str()).filter(|pool| has(pool)).collect()
}

fn bold(cell: Cell, colour: bool) -> Cell {
    if colour { cell.add_attribute(Attribute::Bold) } else { cell }
}

/// The best first, those that fail more after all others, baselines last.
pub(super) fn ranking(outcome: &Outcome<'_>, stands: &[Option<Comparison>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..outcome.summaries.len()).collect();
    let key = |i: usize| match stands[i] {
        _ if outcome.summaries[i].oracle => (3, 0.0),
        Some(Comparison::Overloaded) => (2, outcome.summaries[i].value(RANKED_BY)),
        Some(Comparison::Fails(more)) => (1, more),
        _ => (0, Some(outcome.summaries[i].value(RANKED_BY)).filter(|v| v.is_finite()).unwrap_or(f64::INFINITY)),
    };
    order.sort_by(|&a, &b| key(a).0.cmp(&key(b).0).then(key(a).1.total_cmp(&key(b).1)));
    order
}

fn verdict(summary: &Summary, stands: Option<Comparison>) -> String {
    match stands {
        _ if summary.oracle => "sees what no balancer can".to_owned(),
        Some(Comparison::Best) => "best".to_owned(),
        Some(Comparison::Tied) => "ties with the best".to_owned(),
        Some(Comparison::Worse(times)) => format!("{} slower", times_text(times)),
        Some(Comparison::Unknown(times)) => format!("{} slower, but too few runs to tell", times_text(times)),
        Some(Comparison::Fails(more)) => format!("loses {} more requests", percent(more)),
        Some(Comparison::Overloaded) => "not ranked: overloaded".to_owned(),
        None => "nothing to compare".to_owned(),
    }
}

fn times_text(times: f64) -> String {
    if times < 1.095 { format!("{:.0} %", (times - 1.0) * 100.0) } else { format!("{times:.1} times") }
}

/// "Lowest p99: p2c, 45 ms. The highest, random, is 2.3 times that. …"
fn sentence(outcome: &Outcome<'_>, stands: &[Option<Comparison>]) -> String {
    let Some(best) = stands.iter().position(|s| *s == Some(Comparison::Best)) else {
        let overloaded = stands.contains(&Some(Comparison::Overloaded));
        return match overloaded {
            true => "Every strategy is overloaded: there is nothing to rank.".to_owned(),
            false => "No strategy finished any request in good order.".to_owned(),
        };
    };
    let best = &outcome.summaries[best];
    let mut text = format!("Lowest p99: {} with {}", best.label, human_seconds(best.value(RANKED_BY)));
    let ties: Vec<&str> = outcome
        .summaries
        .iter()
        .zip(stands)
        .filter(|(summary, s)| **s == Some(Comparison::Tied) && !summary.oracle)
        .map(|(summary, _)| summary.label.as_str())
        .collect();
    if !ties.is_empty() {
        text += &format!(" (tied: {})", ties.join(", "));
    }
    let unknown = |s: &Option<Comparison>| matches!(s, Some(Comparison::Unknown(_)));
    if stands.iter().any(unknown) {
        text += "; with so few runs per strategy the order may be chance";
    }
    let worst = outcome
        .summaries
        .iter()
        .zip(stands)
        .filter_map(|(summary, s)| match s {
            Some(Comparison::Worse(times)) if !summary.oracle => Some((*times, summary)),
            _ => None,
        })
        .max_by(|a, b| a.0.total_cmp(&b.0));
    if let Some((times, summary)) = worst {
        let much = if times < 1.095 {
            format!("{:.0} % more", (times - 1.0) * 100.0)
        } else {
            format!("{times:.1} times as much")
        };
        text += &format!("; {} needs {much}", summary.label);
    }
    let failing = stands.iter().filter(|s| matches!(s, Some(Comparison::Fails(_)))).count();
    let overloaded = stands.iter().filter(|s| **s == Some(Comparison::Overloaded)).count();
    if overloaded > 0 {
        text += &format!("; {overloaded} overloaded and not ranked");
    }
    if failing > 0 {
        let words = if failing == 1 { "one strategy loses" } else { "others lose" };
        text += &format!("; {words} more requests and {} not ranked", if failing == 1 { "is" } else { "are" });
    }
    text + "."
}

/// `0.12 %`, with a dash for what does not exist.
pub fn percent(share: f64) -> String {
    match share {
        s if !s.is_finite() => "–".to_owned(),
        0.0 => "0".to_owned(),
        s if s < 0.0001 => "<0.01 %".to_owned(),
        s if s < 0.1 => format!("{:.2} %", s * 100.0),
        s => format!("{:.1} %", s * 100.0),
    }
}

fn decimal(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "–".to_owned() }
}

/// Where it failed, by cause, over all strategies: for the note under a table whose failures need an explanation.
pub fn failures(outcome: &Outcome<'_>) -> Option<String> {
    let mut causes: BTreeMap<&str, f64> = BTreeMap::new();
    for summary in &outcome.summaries {
        for metric in &summary.metrics {
            let cause = match metric.name.as_str() {
                "errors.error" => "answered with an error",
                "errors.rejected" => "turned away by a full queue",
                "errors.no_server" => "no server left to try",
                "errors.reset" => "connection refused or reset",
                "errors.timed_out" => "timed out",
                "errors.unreachable" => "balancer not reachable",
                "unfinished.ratio" => "not finished when the run ended",
                _ => continue,
            };
            let worst = causes.entry(cause).or_default();
            *worst = worst.max(metric.estimate().value);
        }
    }
    let list: Vec<String> = causes
        .iter()
        .filter(|(_, share)| **share > 0.0)
        .map(|(cause, share)| format!("{cause} (up to {})", percent(*share)))
        .collect();
    (!list.is_empty()).then(|| format!("Failed: {}.", list.join(", ")))
}
