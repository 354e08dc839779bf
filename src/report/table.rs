//! The terminal's table: a row per strategy, the best first, with a legend.

use std::collections::BTreeMap;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, presets};

use super::Outcome;
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::interval::Estimate;
use evenkeel_sim::measure::warmup::{Clock, Settling};
use evenkeel_sim::measure::{Comparison, ENOUGH, Summary, Verdict, compare_in, regret};

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

/// The measure that ranks.
pub(super) const RANKED_BY: &str = "latency.p99";

/// How to read the table; printed once under all of them.
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
    let rankings = rankings(outcome);
    let cached = outcome.summaries.iter().any(|summary| summary.metric("cache.hit_ratio").is_some());
    // Where paths lead to several pools, what each of them feels says more than the whole.
    let pools: Vec<&str> = entry_pools(outcome);
    let theory = outcome.summaries.iter().any(|summary| summary.theory.is_some());
    let regrets = outcome.summaries.iter().any(|summary| regret(&outcome.summaries, summary, "latency.mean").is_some());
    let order = order(outcome, &rankings);
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
            let regret = regret(&outcome.summaries, summary, "latency.mean");
            regret.map_or_else(String::new, |e| signed_seconds(e.value))
        });
    }
    add("state", Some(6), &|summary| summary.stability.verdict.text().to_owned());
    add("verdict", None, &|_| String::new());
    let verdicts = |short: bool| -> Vec<String> {
        order.iter().map(|&i| verdict(&outcome.summaries[i], &rankings, i, short)).collect()
    };
    if let Some(last) = columns.last_mut() {
        last.texts = verdicts(false);
    }
    let gone = width.and_then(|width| narrow(&mut columns, verdicts(true), usize::from(width)));

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
    let sentences = rankings.iter().map(|ranking| sentence(outcome, ranking)).collect::<Vec<_>>().join("\n");
    match gone {
        None => format!("{table}\n{sentences}"),
        Some(gone) => format!("{table}\n{}{sentences}", narrow_text(&gone, &rankings)),
    }
}

/// What a narrow table leaves out, and what its short words mean; empty if nothing is to be said.
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

/// `233 ms ±2.5 %`, or the value alone where there is no interval, or one of so few runs that nothing is decided by it.
fn with_spread(estimate: Estimate) -> String {
    let value = human_seconds(estimate.value);
    let spread = estimate.relative_half_width() * 100.0;
    match spread {
        s if !s.is_finite() || estimate.replications < ENOUGH => value,
        // Histograms know a latency to a tenth of a per cent.
        s if s < 0.1 => format!("{value} ±<0.1 %"),
        s if s < 9.95 => format!("{value} ±{s:.1} %"),
        s => format!("{value} ±{s:.0} %"),
    }
}

fn signed_seconds(seconds: f64) -> String {
    let size = human_seconds(seconds.abs());
    if seconds < 0.0 { format!("−{size}") } else { format!("+{size}") }
}

/// With more reasons than these of the same kind, the largest is shown.
const MOST_REASONS: usize = 3;

/// What a reader must know of rows that are not what they seem: no steady state, a start that is still felt, batches that
/// are not independent, intervals that did not become tight. A line each.
pub fn notes(outcome: &Outcome<'_>) -> Vec<String> {
    let mut notes: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut unsteady: BTreeMap<&str, Vec<&Summary>> = BTreeMap::new();
    let mut late: BTreeMap<(bool, bool), (Vec<&str>, Settling)> = BTreeMap::new();
    for summary in &outcome.summaries {
        let mut note = |text: String| notes.entry(text).or_default().push(&summary.label);
        let stability = &summary.stability;
        if stability.verdict != Verdict::Stable {
            unsteady.entry(stability.verdict.text()).or_default().push(summary);
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
        if summary.batches && summary.batch_correlation > 2.0 / evenkeel_core::math::sqrt(batches as f64) {
            note(format!(
                "neighbouring batches are correlated ({:.2}): intervals are too narrow; use fewer or longer batches",
                summary.batch_correlation
            ));
        }
    }
    for (word, summaries) in unsteady {
        let labels = |reason: &str| {
            let with = summaries.iter().filter(|summary| summary.stability.reason == reason);
            with.map(|summary| summary.label.as_str()).collect::<Vec<_>>()
        };
        let mut reasons: Vec<&str> = summaries.iter().map(|summary| summary.stability.reason.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let most = summaries.iter().max_by(|a, b| a.stability.growth.value.total_cmp(&b.stability.growth.value));
        if let (Some(most), true) = (most, reasons.len() > MOST_REASONS) {
            let text = format!("{word}, most of all {}: {}", most.label, most.stability.reason);
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
                "Precision: {} replications; no strategy can be ranked, so no interval was tightened",
                outcome.replications
            )
        } else if reached.half_width <= reached.target {
            let loosest = &reached.loosest;
            format!(
                "Precision: {} replications; the widest interval is that of {loosest}, ±{width:.1} %",
                outcome.replications
            )
        } else {
            format!(
                "Precision: not reached in {} replications: {} has ±{width:.1} %, target ±{} %",
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
            "warm-up too short: {what} settles after {} (MSER-5), but the warm-up is {warmup}; set {key} = \"auto\"",
            human_seconds(after)
        ),
        None => format!("run too short: {what} did not settle in the first half of the run (MSER-5)"),
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
            format!("{name} {} in theory, {}{interval} simulated, {word}", human_seconds(exact), human_seconds(e.value))
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
        _ if summary.stability.verdict == Verdict::TooShort => {
            format!("{off:+.0} %: the run is too short to compare with a steady state")
        }
        _ if !summary.ranks() => "no interval: overloaded".to_owned(),
        0 => "no run has a value".to_owned(),
        1 => "one run has no interval".to_owned(),
        _ if (e.low..=e.high).contains(&exact) => "inside the 95 % interval".to_owned(),
        _ => format!("outside the 95 % interval, {off:+.2} % from theory"),
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

/// Where strategies stand by the measure that ranks: among all requests or, where several pools are asked, among those of
/// one of them. Pools are then variants of the question, or other questions, and a mixture of them answers none.
pub struct Ranking<'a> {
    /// The pool; `None` for all requests.
    pub pool: Option<&'a str>,
    /// In the order of the outcome's summaries.
    pub stands: Vec<Option<Comparison>>,
}

impl Ranking<'_> {
    /// Before the names of its measures.
    fn prefix(&self) -> String {
        self.pool.map_or_else(String::new, |pool| format!("{pool}."))
    }

    /// A strategy's value of the measure that ranks: p99 in seconds.
    pub fn value(&self, summary: &Summary) -> f64 {
        summary.value(&format!("{}{RANKED_BY}", self.prefix()))
    }

    /// In which order strategies are shown: the best first, those with more errors after all others, baselines last.
    pub(super) fn order(&self, outcome: &Outcome<'_>) -> Vec<usize> {
        let key = |i: usize| match self.stands[i] {
            _ if outcome.summaries[i].oracle => (3, 0.0),
            Some(Comparison::Overloaded) => (2, self.value(&outcome.summaries[i])),
            Some(Comparison::Fails(more)) => (1, more),
            _ => (0, finite_or(self.value(&outcome.summaries[i]), f64::INFINITY)),
        };
        sorted(outcome, key)
    }
}

fn finite_or(value: f64, otherwise: f64) -> f64 {
    if value.is_finite() { value } else { otherwise }
}

fn sorted(outcome: &Outcome<'_>, key: impl Fn(usize) -> (u8, f64)) -> Vec<usize> {
    let mut order: Vec<usize> = (0..outcome.summaries.len()).collect();
    order.sort_by(|&a, &b| key(a).0.cmp(&key(b).0).then(key(a).1.total_cmp(&key(b).1)));
    order
}

/// One for each pool where there are several, else one for all requests.
pub fn rankings<'a>(outcome: &'a Outcome<'_>) -> Vec<Ranking<'a>> {
    let ranking = |pool: Option<&'a str>| {
        let prefix = pool.map_or_else(String::new, |pool| format!("{pool}."));
        Ranking { pool, stands: compare_in(&outcome.summaries, &prefix, RANKED_BY) }
    };
    match entry_pools(outcome) {
        pools if pools.is_empty() => vec![ranking(None)],
        pools => pools.into_iter().map(|pool| ranking(Some(pool))).collect(),
    }
}

/// In which order strategies are shown. With several pools: by the mean of the ratios to each pool's best (geometric);
/// those with more errors in any pool after all others, by how many in all pools together.
pub(super) fn order(outcome: &Outcome<'_>, rankings: &[Ranking<'_>]) -> Vec<usize> {
    if let [only] = rankings {
        return only.order(outcome);
    }
    let best = |ranking: &Ranking<'_>| {
        let at = ranking.stands.iter().position(|stands| *stands == Some(Comparison::Best));
        at.map_or(f64::NAN, |i| ranking.value(&outcome.summaries[i]))
    };
    let best: Vec<f64> = rankings.iter().map(best).collect();
    let key = |i: usize| {
        let summary = &outcome.summaries[i];
        let more = rankings.iter().filter_map(|ranking| match ranking.stands[i] {
            Some(Comparison::Fails(more)) => Some(more),
            _ => None,
        });
        let more: Vec<f64> = more.collect();
        let ratios = rankings.iter().zip(&best).map(|(ranking, best)| ranking.value(summary) / best);
        let ratios = ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0).map(evenkeel_core::math::ln);
        match summary {
            _ if summary.oracle => (3, 0.0),
            _ if !summary.ranks() => (2, ratios.sum()),
            _ if !more.is_empty() => (1, more.iter().sum()),
            _ => (0, ratios.sum()),
        }
    };
    sorted(outcome, key)
}

/// How a strategy stands, in words; the short ones are for a narrow terminal.
fn verdict(summary: &Summary, rankings: &[Ranking<'_>], which: usize, short: bool) -> String {
    if summary.oracle {
        return if short { "–".to_owned() } else { "baseline with perfect information".to_owned() };
    }
    if let [only] = rankings {
        return stand_text(only.stands[which], short);
    }
    if !summary.ranks() {
        return stand_text(Some(Comparison::Overloaded), short);
    }
    let mut parts = Vec::new();
    let pools = |is: fn(&Comparison) -> bool| -> Vec<&str> {
        let stands = rankings.iter().filter(|ranking| ranking.stands[which].as_ref().is_some_and(is));
        stands.filter_map(|ranking| ranking.pool).collect()
    };
    let mut count = |verb: &str, pools: Vec<&str>| match pools.len() {
        0 => {}
        n if n == rankings.len() => parts.push(format!("{verb} in all pools")),
        n if short || rankings.len() > MOST_NAMED => parts.push(format!("{verb} in {n}")),
        _ => parts.push(format!("{verb} in {}", pools.join(", "))),
    };
    count("best", pools(|stands| *stands == Comparison::Best));
    count("ties", pools(|stands| *stands == Comparison::Tied));
    // Of what is worse, the most.
    let most = |of: fn(Comparison) -> Option<f64>| {
        let all = rankings.iter().filter_map(|ranking| Some((of(ranking.stands[which]?)?, ranking)));
        all.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let worse = most(|stands| match stands {
        Comparison::Worse(times) | Comparison::Unknown(times) => Some(times),
        _ => None,
    });
    let failing = most(|stands| match stands {
        Comparison::Fails(more) => Some(more),
        _ => None,
    });
    for (_, ranking) in worse.iter().chain(&failing) {
        let text = stand_text(ranking.stands[which], true);
        let pool = ranking.pool.unwrap_or_default();
        parts.push(if short { text } else { format!("{text} in {pool}") });
    }
    if parts.is_empty() { stand_text(None, short) } else { parts.join("; ") }
}

/// With more pools than these a verdict counts them and does not name them.
const MOST_NAMED: usize = 3;

fn stand_text(stands: Option<Comparison>, short: bool) -> String {
    match (stands, short) {
        (Some(Comparison::Best), _) => "best".to_owned(),
        (Some(Comparison::Tied), false) => "ties with the best".to_owned(),
        (Some(Comparison::Tied), true) => "ties".to_owned(),
        (Some(Comparison::Worse(times)), false) => format!("{} slower", times_text(times)),
        (Some(Comparison::Worse(times)), true) => times_text(times),
        (Some(Comparison::Unknown(times)), false) if times < 1.0005 => "as fast, but too few runs to tell".to_owned(),
        (Some(Comparison::Unknown(times)), true) if times < 1.0005 => "ties?".to_owned(),
        (Some(Comparison::Unknown(times)), false) => format!("{} slower, but too few runs to tell", times_text(times)),
        (Some(Comparison::Unknown(times)), true) => format!("{}?", times_text(times)),
        (Some(Comparison::Fails(more)), _) => errors_text(more),
        (Some(Comparison::Overloaded), false) => "not ranked: overloaded".to_owned(),
        (Some(Comparison::Overloaded), true) => "overloaded".to_owned(),
        (None, _) => "nothing to compare".to_owned(),
    }
}

/// `3.4x`, `1.07x`: three digits at most, and never 1.00.
fn times_text(times: f64) -> String {
    match times {
        t if t >= 9.95 => format!("{t:.0}x"),
        t if t >= 1.995 => format!("{t:.1}x"),
        t if t >= 1.005 => format!("{t:.2}x"),
        t => format!("{t:.3}x"),
    }
}

/// `+7.69 pp errors`.
fn errors_text(more: f64) -> String {
    let points = more * 100.0;
    if points >= 9.995 { format!("+{points:.1} pp errors") } else { format!("+{points:.2} pp errors") }
}

/// "Lowest p99: p2c with 45 ms. The highest, random, is 2.3x slower. …", of all requests or of a pool's. What is lower in
/// the table and not ranked is named with the reason.
fn sentence(outcome: &Outcome<'_>, ranking: &Ranking<'_>) -> String {
    let stands = &ranking.stands;
    let place = ranking.pool.map_or_else(String::new, |pool| format!(" in {pool}"));
    let Some(best) = stands.iter().position(|s| *s == Some(Comparison::Best)) else {
        let overloaded = stands.contains(&Some(Comparison::Overloaded));
        let none = |summary: &Summary| summary.stability.verdict == Verdict::NoRequests;
        return match overloaded {
            true => format!("Every strategy is overloaded{place}: there is nothing to rank."),
            false if outcome.summaries.iter().all(none) => {
                "No request arrived in the measured span: there is nothing to compare.".to_owned()
            }
            false => format!("No strategy completed a request successfully{place}."),
        };
    };
    let best = &outcome.summaries[best];
    let lowest = ranking.value(best);
    let all = || outcome.summaries.iter().zip(stands);
    // Of those that are left out for a reason, the lowest, if it is below the best.
    let lower = |is: &dyn Fn(&Summary, Option<Comparison>) -> bool| {
        let left_out = all().filter(|(summary, stands)| is(summary, **stands) && ranking.value(summary) < lowest);
        left_out.map(|(summary, _)| summary).min_by(|a, b| ranking.value(a).total_cmp(&ranking.value(b)))
    };
    let shown = |summary: &Summary| format!("{} with {}", summary.label, human_seconds(ranking.value(summary)));
    let failing = lower(&|summary, stands| !summary.oracle && matches!(stands, Some(Comparison::Fails(_))));
    let overloaded = lower(&|_, stands| stands == Some(Comparison::Overloaded));
    let among = match (failing.is_some(), overloaded.is_some()) {
        (true, true) => " among stable strategies with the fewest errors",
        (true, false) => " among the strategies with the fewest errors",
        (false, true) => " among the stable strategies",
        (false, false) => "",
    };
    let mut text = format!("Lowest p99{place}{among}: {}", shown(best));
    let ties: Vec<&str> = all()
        .filter(|(summary, s)| **s == Some(Comparison::Tied) && !summary.oracle)
        .map(|(summary, _)| summary.label.as_str())
        .collect();
    if !ties.is_empty() {
        text += &format!(" (tied: {})", ties.join(", "));
    }
    let unknown = |s: &Option<Comparison>| matches!(s, Some(Comparison::Unknown(_)));
    if stands.iter().any(unknown) {
        text += "; with so few runs per strategy the order may be due to chance";
    }
    let worst = all().filter_map(|(summary, s)| match s {
        Some(Comparison::Worse(times)) if !summary.oracle => Some((*times, summary)),
        _ => None,
    });
    if let Some((times, summary)) = worst.max_by(|a, b| a.0.total_cmp(&b.0)) {
        text += &format!("; {} is {} slower", summary.label, times_text(times));
    }
    let count = |is: fn(&Comparison) -> bool| {
        all().filter(|(summary, stands)| !summary.oracle && stands.as_ref().is_some_and(is)).count()
    };
    let mut left_out = |n: usize, what: &str, lowest: Option<&Summary>| {
        if n > 0 {
            let lowest = lowest.map_or_else(String::new, |summary| format!(" (the lowest: {})", shown(summary)));
            text += &format!("; not ranked: {n} {what}{lowest}");
        }
    };
    left_out(count(|s| *s == Comparison::Overloaded), "overloaded", overloaded);
    let mut with_errors = all().filter_map(|(summary, s)| match s {
        Some(Comparison::Fails(more)) if !summary.oracle => Some((summary, *more)),
        _ => None,
    });
    match (with_errors.next(), with_errors.count()) {
        (Some((only, more)), 0) => {
            let value =
                failing.map_or_else(String::new, |summary| format!(" with {}", human_seconds(ranking.value(summary))));
            text += &format!("; not ranked: {}{value}, {}", only.label, errors_text(more));
        }
        (first, others) => left_out(others + usize::from(first.is_some()), "with more errors", failing),
    }
    if let Some(baseline) = lower(&|summary, _| summary.oracle) {
        text += &format!("; the baseline {}", shown(baseline));
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
                "errors.error" => "error response",
                "errors.rejected" => "rejected by a full queue",
                "errors.no_healthy_server" => "no healthy server",
                "errors.reset" => "connection refused or reset",
                "errors.timed_out" => "timed out",
                "errors.unreachable" => "balancer unreachable",
                "unfinished.ratio" => "unfinished at the end of the run",
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
            column("verdict", "1.10x slower, but too few runs to tell", None),
        ]
    }

    #[test]
    fn what_has_room_stays_and_what_has_none_goes_in_order() {
        let narrowed = |width: usize| {
            let mut columns = columns();
            let gone = narrow(&mut columns, vec!["1.10x?".to_owned()], width);
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
