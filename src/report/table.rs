//! The terminal's table: a row per strategy, the best first, in words that a student understands.

use std::collections::BTreeMap;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, presets};

use super::Outcome;
use crate::measure::interval::Estimate;
use crate::measure::warmup::{Clock, Settling};
use crate::measure::{Comparison, ENOUGH, Summary, Verdict, compare, regret};
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
state                  stable, backlogged (more in the system late than early), overloaded (no steady state),
                       run too short (for its load: it shows its start), no requests
verdict                by p99 and by pairs of runs that met the same requests; \"ties\" means that these runs cannot tell";

/// A column of the table.
struct Column {
    head: String,
    texts: Vec<String>,
    /// What goes first where there is no room for all; `None` stays.
    goes: Option<u8>,
}

impl Column {
    fn width(&self) -> usize {
        let lines = self.texts.iter().flat_map(|text| text.lines()).chain(self.head.lines());
        lines.map(|line| line.chars().count()).max().unwrap_or(0)
    }
}

/// When a pool's p99 goes; its failures after it.
const POOL_P99: u8 = 8;

/// Columns with what stands around each.
fn width_of(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.width() + 3).sum()
}

/// Makes columns fit: shorter verdicts, headings in two lines, and in the end fewer columns. Gives the names of those
/// that went; `None` where all fitted as they were. Words are never broken: nobody reads `least_ / reques / t`.
fn narrow(columns: &mut Vec<Column>, short_verdicts: Vec<String>, width: usize) -> Option<Vec<String>> {
    if width_of(columns) <= width {
        return None;
    }
    if let Some(verdicts) = columns.last_mut() {
        verdicts.texts = short_verdicts;
    }
    for column in columns.iter_mut().skip(1) {
        if let Some((pool, what @ ("p99" | "failed"))) = column.head.rsplit_once(' ') {
            column.head = format!("{pool}\n{what}");
        }
    }
    let mut gone = Vec::new();
    while width_of(columns) > width {
        let first = columns.iter().enumerate().filter_map(|(i, column)| Some((column.goes?, i))).min();
        let Some((rank, i)) = first else { break };
        // Intervals go before what the users of a pool feel.
        if let Some(column) = columns.iter_mut().find(|column| rank >= POOL_P99 && column.head == "p99 ±") {
            column.head = "p99".to_owned();
            column.texts.iter_mut().for_each(|text| text.truncate(text.find(" ±").unwrap_or(text.len())));
            continue;
        }
        gone.push(columns.remove(i).head);
    }
    Some(gone)
}

/// A table for a scenario, followed by a sentence that says what it shows.
pub fn render(outcome: &Outcome<'_>, colour: bool, width: Option<u16>) -> String {
    let stands = compare(&outcome.summaries, RANKED_BY);
    let cached = outcome.summaries.iter().any(|summary| summary.metric("cache.hit_ratio").is_some());
    // Where paths lead to several pools, what each of them feels says more than the whole.
    let pools: Vec<&str> = entry_pools(outcome);
    let exact = outcome.summaries.iter().any(|summary| summary.theory.is_some());
    let regrets = outcome.summaries.iter().any(|summary| regret(&outcome.summaries, summary, "latency.mean").is_some());
    let order = ranking(outcome, &stands);
    let mut columns: Vec<Column> = Vec::new();
    let mut add = |head: &str, goes: Option<u8>, text: &dyn Fn(&Summary) -> String| {
        let texts = order.iter().map(|&i| text(&outcome.summaries[i])).collect();
        columns.push(Column { head: head.to_owned(), texts, goes });
    };
    let time = |metric: &'static str| move |summary: &Summary| human_seconds(summary.value(metric));
    add("strategy", None, &|summary| {
        if summary.oracle { format!("{} (baseline)", summary.label) } else { summary.label.clone() }
    });
    add("mean", Some(4), &time("latency.mean"));
    if exact {
        add("exact", Some(5), &|summary| {
            let theory = summary.theory.as_ref();
            theory.map_or_else(String::new, |e| format!("{} {}", human_seconds(e.mean), e.theorem))
        });
    }
    if pools.is_empty() {
        add("p50", Some(0), &time("latency.p50"));
    }
    add("p99 ±", None, &|summary| with_spread(summary.estimate("latency.p99")));
    if pools.is_empty() {
        add("p99.9", Some(3), &time("latency.p999"));
    }
    add("failed", (!pools.is_empty()).then_some(7), &|summary| percent(summary.failed("")));
    for pool in &pools {
        let p99 = format!("{pool}.latency.p99");
        add(&format!("{pool} p99"), Some(POOL_P99), &|summary| human_seconds(summary.value(&p99)));
        add(&format!("{pool} failed"), Some(POOL_P99 + 1), &|summary| percent(summary.failed(&format!("{pool}."))));
    }
    add("even", Some(2), &|summary| decimal(summary.value("fairness.jain")));
    if cached {
        add("cache", Some(6), &|summary| percent(summary.value("cache.hit_ratio")));
    }
    if regrets {
        add("regret", Some(1), &|summary| {
            let regret = regret(&outcome.summaries, summary, "latency.mean");
            regret.map_or_else(String::new, |e| signed_seconds(e.value))
        });
    }
    add("state", Some(6), &|summary| summary.judgement.verdict.text().to_owned());
    add("verdict", None, &|_| String::new());
    let verdicts = |text: fn(&Summary, Option<Comparison>) -> String| -> Vec<String> {
        order.iter().map(|&i| text(&outcome.summaries[i], stands[i])).collect()
    };
    if let Some(last) = columns.last_mut() {
        last.texts = verdicts(verdict);
    }
    let gone = width.and_then(|width| narrow(&mut columns, verdicts(short_verdict), usize::from(width)));

    let mut table = plain(width);
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(columns.iter().map(|column| bold(Cell::new(&column.head), colour)));
    for (row, &i) in order.iter().enumerate() {
        let best = stands[i] == Some(Comparison::Best);
        let state = outcome.summaries[i].judgement.verdict;
        let cell = |column: &Column| {
            let cell = Cell::new(&column.texts[row]);
            let cell = match (column.head.as_str(), state) {
                ("state", Verdict::Overloaded) if colour => cell.fg(Color::Red),
                ("state", Verdict::Backlogged | Verdict::TooShort | Verdict::NoRequests) if colour => {
                    cell.fg(Color::Yellow)
                }
                _ if best && colour => cell.fg(Color::Green).add_attribute(Attribute::Bold),
                _ => cell,
            };
            match column.head.as_str() {
                "strategy" | "state" | "verdict" => cell.set_alignment(CellAlignment::Left),
                _ => cell.set_alignment(CellAlignment::Right),
            }
        };
        table.add_row(columns.iter().map(cell));
    }
    let sentence = sentence(outcome, &stands);
    match gone {
        None => format!("{table}\n{sentence}"),
        Some(gone) => format!("{table}\n{}{sentence}", narrow_text(&gone, &stands)),
    }
}

/// What a narrow table leaves out, and what its short words mean; empty if nothing is to be said.
fn narrow_text(gone: &[String], stands: &[Option<Comparison>]) -> String {
    let mut text = String::new();
    if !gone.is_empty() {
        let names: Vec<String> = gone.iter().map(|name| name.replace('\n', " ")).collect();
        text += &format!("No room for {}: see metrics.csv, or widen the terminal. ", names.join(", "));
    }
    if stands.iter().any(|stands| matches!(stands, Some(Comparison::Unknown(_)))) {
        text += "A verdict with ? comes from too few runs to tell. ";
    }
    if text.is_empty() { text } else { text.trim_end().to_owned() + "\n" }
}

/// `233 ms ±2.5 %`, or the value alone where there is no interval, or one of so few runs that nothing is decided by it.
fn with_spread(estimate: Estimate) -> String {
    let value = human_seconds(estimate.value);
    let spread = estimate.relative_half_width() * 100.0;
    match spread {
        s if !s.is_finite() || estimate.replications < ENOUGH => value,
        s if s < 0.05 => format!("{value} ±<0.1 %"),
        s if s < 9.95 => format!("{value} ±{s:.1} %"),
        s => format!("{value} ±{s:.0} %"),
    }
}

fn signed_seconds(seconds: f64) -> String {
    let size = human_seconds(seconds.abs());
    if seconds < 0.0 { format!("−{size}") } else { format!("+{size}") }
}

/// With more reasons than these of the same kind, the strongest is told.
const MOST_REASONS: usize = 3;

/// What a reader must know of rows that are not what they seem: no steady state, a start that is still felt, batches that
/// are not independent, intervals that did not become tight. A line each.
pub fn notes(outcome: &Outcome<'_>) -> Vec<String> {
    let mut notes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut unsteady: BTreeMap<&str, Vec<&Summary>> = BTreeMap::new();
    let mut late: BTreeMap<(bool, bool), (Vec<&str>, Settling)> = BTreeMap::new();
    for summary in &outcome.summaries {
        let mut note = |text: String| notes.entry(text).or_default().push(&summary.label);
        let judgement = &summary.judgement;
        if judgement.verdict != Verdict::Stable {
            unsteady.entry(judgement.verdict.text()).or_default().push(summary);
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
    for (word, summaries) in unsteady {
        let labels = |reason: &str| {
            let with = summaries.iter().filter(|summary| summary.judgement.reason == reason);
            with.map(|summary| summary.label.as_str()).collect::<Vec<_>>()
        };
        let mut reasons: Vec<&str> = summaries.iter().map(|summary| summary.judgement.reason.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let most = summaries.iter().max_by(|a, b| a.judgement.growth.value.total_cmp(&b.judgement.growth.value));
        if let (Some(most), true) = (most, reasons.len() > MOST_REASONS) {
            let text = format!("{word}, most of all {}: {}", most.label, most.judgement.reason);
            notes.entry(text).or_default().extend(summaries.iter().map(|summary| summary.label.as_str()));
        } else {
            for reason in reasons {
                notes.entry(format!("{word}: {reason}")).or_default().extend(labels(reason));
            }
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
            let word = agreement(summary, e, exact);
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

/// How a simulated value stands to an exact one.
fn agreement(summary: &Summary, e: Estimate, exact: f64) -> String {
    let off = (e.value / exact - 1.0) * 100.0;
    match e.replications {
        _ if summary.judgement.verdict == Verdict::TooShort => {
            format!("{off:+.0} %: the run is too short to compare with a steady state")
        }
        _ if !summary.ranks() => "no interval: overloaded".to_owned(),
        0 => "no run has a value".to_owned(),
        1 => "one run has no interval".to_owned(),
        _ if (e.low..=e.high).contains(&exact) => "inside the interval".to_owned(),
        _ => format!("outside the 95 % interval, {off:+.2} % from exact"),
    }
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

/// The same in a narrow terminal.
fn short_verdict(summary: &Summary, stands: Option<Comparison>) -> String {
    match stands {
        _ if summary.oracle => "–".to_owned(),
        Some(Comparison::Tied) => "ties".to_owned(),
        Some(Comparison::Worse(times)) if times < 1.095 => format!("+{}", times_text(times)),
        Some(Comparison::Worse(times)) => times_text(times),
        Some(Comparison::Unknown(times)) => short_verdict(summary, Some(Comparison::Worse(times))) + "?",
        Some(Comparison::Fails(more)) => format!("loses {}", percent(more)),
        Some(Comparison::Overloaded) => "overloaded".to_owned(),
        Some(Comparison::Best) | None => verdict(summary, stands),
    }
}

fn times_text(times: f64) -> String {
    if times < 1.095 { format!("{:.0} %", (times - 1.0) * 100.0) } else { format!("{times:.1} times") }
}

/// "Lowest p99: p2c, 45 ms. The highest, random, is 2.3 times that. …"
fn sentence(outcome: &Outcome<'_>, stands: &[Option<Comparison>]) -> String {
    let Some(best) = stands.iter().position(|s| *s == Some(Comparison::Best)) else {
        let overloaded = stands.contains(&Some(Comparison::Overloaded));
        let none = |summary: &Summary| summary.judgement.verdict == Verdict::NoRequests;
        return match overloaded {
            true => "Every strategy is overloaded: there is nothing to rank.".to_owned(),
            false if outcome.summaries.iter().all(none) => {
                "No request arrived in the measured span: there is nothing to compare.".to_owned()
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        let column =
            |head: &str, text: &str, goes| Column { head: head.to_owned(), texts: vec![text.to_owned()], goes };
        vec![
            column("strategy", "interleaved_weighted_round_robin", None),
            column("mean", "12.3 ms", Some(4)),
            column("p50", "12.3 ms", Some(0)),
            column("p99 ±", "12.3 ms ±9.9 %", None),
            column("payments p99", "12.3 ms", Some(POOL_P99)),
            column("verdict", "1.1 times slower, but too few runs to tell", None),
        ]
    }

    #[test]
    fn what_has_room_stays_and_what_has_none_goes_in_order() {
        let narrowed = |width: usize| {
            let mut columns = columns();
            let gone = narrow(&mut columns, vec!["1.1 times?".to_owned()], width);
            (gone, width_of(&columns), columns)
        };
        assert_eq!(narrowed(1000).0, None);
        assert_eq!(narrowed(120).0, Some(vec![]), "short words are enough");
        let (gone, width, _) = narrowed(90);
        assert_eq!(gone, Some(vec!["p50".to_owned()]));
        assert!(width <= 90);
        let (gone, width, columns) = narrowed(72);
        assert_eq!(gone, Some(vec!["p50".to_owned(), "mean".to_owned()]));
        assert!(width <= 72);
        assert_eq!((columns[1].head.as_str(), columns[1].texts[0].as_str()), ("p99", "12.3 ms"));
        assert_eq!(columns[2].head, "payments\np99");
    }
}
