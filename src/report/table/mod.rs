//! The terminal's table: a row per strategy, the best first, with a legend, the answer in sentences, and notes.

mod columns;
mod notes;
mod ranking;
mod verdict;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, presets};

use self::columns::{Column, POOL_P99, narrow};
pub use self::notes::{Note, agreement, failures, notes, theory};
pub use self::ranking::{Ranking, entry_pools, order, rankings};
pub use self::verdict::{stand_text, verdict};
use super::Outcome;
use super::answer::{Field, sentences};
pub use super::format::percent;
use super::format::{decimal, signed_seconds, with_spread};
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::{Comparison, Summary, Verdict, regret};

/// An empty table in evenkeel's style: a line under the header and one at each end.
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

/// How to read the tables; printed once under all of them.
pub const LEGEND: &str = "\
mean, p50, p99, p99.9  latency from sending a request to its response
±                      half width of the 95 % confidence interval (Student's t), relative to the value; needs five runs
theory                 the mean by queueing theory, with the name of the theorem
failed                 share of requests without a successful response
fairness (Jain)        Jain's index of requests relative to capacity, over servers; 1 is perfectly fair
cache                  cache hit ratio
regret                 mean latency above that of the oracle on the same requests
state                  stable, backlogged (more in the system late than early), overloaded (no steady state),
                       run too short (the start still shows at this load), no requests
verdict                p99, compared in pairs of runs on the same requests; \"ties\": no significant difference;
                       pp: percentage points; +0.1 pp errors or more: not ranked; each pool is ranked separately";

/// A table for a scenario, followed by the sentences that answer its question.
pub fn render(outcome: &Outcome<'_>, colour: bool, width: Option<u16>) -> String {
    let rankings = rankings(outcome);
    let field = Field::new(outcome, &rankings);
    let order = field.order();
    let mut columns = columns(outcome, &order);
    let verdicts = |short: bool| -> Vec<String> { order.iter().map(|&i| verdict(&field, i, short)).collect() };
    columns.push(Column { head: "verdict".to_owned(), texts: verdicts(false), goes: None });
    let gone = width.and_then(|width| narrow(&mut columns, verdicts(true), usize::from(width)));
    let table = draw(outcome, &columns, &order, &rankings, colour, width);
    let sentences = sentences(&field).join("\n");
    match gone {
        None => format!("{table}\n{sentences}"),
        Some(gone) => format!("{table}\n{}{sentences}", narrow_text(&gone, &rankings)),
    }
}

/// All columns except the verdict, with a cell for each strategy in this order.
fn columns(outcome: &Outcome<'_>, order: &[usize]) -> Vec<Column> {
    let summaries = &outcome.summaries;
    let cached = summaries.iter().any(|summary| summary.metric("cache.hit_ratio").is_some());
    // With several entry pools, the results of each pool are more informative than the whole.
    let pools: Vec<&str> = entry_pools(outcome);
    let theory = summaries.iter().any(|summary| summary.theory.is_some());
    let regrets = summaries.iter().any(|summary| regret(summaries, summary, "latency.mean").is_some());
    let mut columns: Vec<Column> = Vec::new();
    let mut add = |head: &str, goes: Option<u8>, text: &dyn Fn(&Summary) -> String| {
        let texts = order.iter().map(|&i| text(&summaries[i])).collect();
        columns.push(Column { head: head.to_owned(), texts, goes });
    };
    let time = |metric: &'static str| move |summary: &Summary| human_seconds(summary.value(metric));
    add("strategy", None, &|summary| {
        if summary.oracle { format!("{} (baseline)", summary.label) } else { summary.label.clone() }
    });
    add("mean", Some(4), &time("latency.mean"));
    if theory {
        add("theory", Some(5), &|summary| {
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
    add("fairness (Jain)", Some(2), &|summary| decimal(summary.value("fairness.jain")));
    if cached {
        add("cache", Some(6), &|summary| percent(summary.value("cache.hit_ratio")));
    }
    if regrets {
        add("regret", Some(1), &|summary| {
            let regret = regret(summaries, summary, "latency.mean");
            regret.map_or_else(String::new, |e| signed_seconds(e.value))
        });
    }
    add("state", Some(6), &|summary| summary.stability.verdict.text().to_owned());
    columns
}

/// The columns as a table; with `colour` the best strategy and states that need attention are highlighted.
fn draw(
    outcome: &Outcome<'_>,
    columns: &[Column],
    order: &[usize],
    rankings: &[Ranking<'_>],
    colour: bool,
    width: Option<u16>,
) -> Table {
    let mut table = plain(width);
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(columns.iter().map(|column| bold(Cell::new(&column.head), colour)));
    for (row, &i) in order.iter().enumerate() {
        let best = rankings.iter().all(|ranking| ranking.stands[i] == Some(Comparison::Best));
        let state = outcome.summaries[i].stability.verdict;
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
    table
}

fn bold(cell: Cell, colour: bool) -> Cell {
    if colour { cell.add_attribute(Attribute::Bold) } else { cell }
}

/// The columns that a narrow table omits, and its abbreviations; empty if neither applies.
fn narrow_text(gone: &[String], rankings: &[Ranking<'_>]) -> String {
    let mut text = String::new();
    if !gone.is_empty() {
        let names: Vec<String> = gone.iter().map(|name| name.replace('\n', " ")).collect();
        text += &format!("No room for {}: see metrics.csv, or widen the terminal. ", names.join(", "));
    }
    let unknown = |ranking: &Ranking<'_>| ranking.stands.iter().any(|s| matches!(s, Some(Comparison::Unknown(_))));
    if rankings.iter().any(unknown) {
        text += "A verdict with ? comes from too few runs to tell. ";
    }
    if text.is_empty() { text } else { text.trim_end().to_owned() + "\n" }
}
