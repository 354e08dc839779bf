//! The files of a scenario's results, as text. Numbers have ten significant digits: more than any interval, fewer than
//! would show the last bit of a platform's arithmetic.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::Outcome;
use evenkeel_sim::measure::interval::LEVEL;
use evenkeel_sim::measure::warmup::{Clock, Settling};
use evenkeel_sim::measure::{Comparison, Summary, Verdict, compare_in, difference, regret};

/// A number as the files have it; empty where there is none.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let rounded: f64 = format!("{value:.9e}").parse().unwrap_or(value);
    format!("{rounded}")
}

/// A number of a course or a distribution, of which there are thousands: histograms know three digits of a latency,
/// these are five.
fn short(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let rounded: f64 = format!("{value:.4e}").parse().unwrap_or(value);
    format!("{rounded}")
}

/// A table with a row for each of what `each` gives for a strategy at a point, behind scenario, point and label.
fn rows(
    outcomes: &[Outcome<'_>],
    header: &[&str],
    each: impl Fn(&Outcome<'_>, &Summary) -> Vec<Vec<String>>,
) -> csv::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([&["scenario", "point", "strategy"], header].concat())?;
    for outcome in outcomes {
        for summary in &outcome.summaries {
            for row in each(outcome, summary) {
                let key = [outcome.scenario.name.as_str(), outcome.point, &summary.label];
                writer.write_record(key.into_iter().chain(row.iter().map(String::as_str)))?;
            }
        }
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// `metrics.csv`: every measure of every strategy, mean and 95 % interval over replications. Latencies of an overloaded
/// steady state have no interval.
pub fn metrics(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    rows(outcomes, &["metric", "unit", "value", "low", "high", "replications"], |_, summary| {
        let row = |metric: &evenkeel_sim::measure::Metric| {
            let e = summary.estimate(&metric.name);
            let texts = [metric.name.clone(), metric.unit.as_str().to_owned()];
            texts.into_iter().chain([e.value, e.low, e.high].map(number)).chain([e.replications.to_string()]).collect()
        };
        summary.metrics.iter().map(row).collect()
    })
}

/// `replications.csv`: every measure in every single run (or batch of one long run), for pairing and for whatever else one
/// may want to compute. `workload` is the hash of the requests that were met: where it is equal, runs are pairs.
pub fn replications(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let names: Vec<&str> = match outcomes.iter().find_map(|outcome| outcome.summaries.first()) {
        Some(summary) => summary.metrics.iter().map(|metric| metric.name.as_str()).collect(),
        None => Vec::new(),
    };
    rows(outcomes, &[&["replication", "seed", "workload"], names.as_slice()].concat(), |_, summary| {
        let runs = summary.metrics.first().map_or(0, |metric| metric.values.len());
        let row = |r: usize| {
            // Batches are pieces of a run: they have its seed, and hashes that tell the pieces apart.
            let pieces = runs / summary.seeds.len();
            let (run, piece) = (r / pieces, r % pieces);
            let workload = summary.workload_hashes[run].wrapping_add(piece as u64);
            let key = [r.to_string(), summary.seeds[run].to_string(), format!("{workload:016x}")];
            let named = names.iter().map(|name| summary.metric(name).map_or(f64::NAN, |metric| metric.values[r]));
            key.into_iter().chain(named.map(number)).collect()
        };
        (0..runs).map(row).collect()
    })
}

/// `comparison.csv`: each strategy against the best of the scenario and against the oracle, by paired differences. The
/// verdict is corrected for the number of pairs; the interval given is the plain 95 % one of this pair. Where several pools
/// are asked, each is ranked apart.
pub fn comparison(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let header = ["metric", "against", "relation", "difference", "low", "high", "ratio", "replications"];
    rows(outcomes, &header, |outcome, summary| {
        let mut found = Vec::new();
        // A mixture of pools answers no question: each is ranked apart where there are several.
        let pools = super::table::entry_pools(outcome);
        let prefixes = match pools.is_empty() {
            true => vec![String::new()],
            false => pools.iter().map(|pool| format!("{pool}.")).collect(),
        };
        for (prefix, metric) in prefixes.iter().flat_map(|p| ["latency.mean", "latency.p99"].map(|metric| (p, metric)))
        {
            let stands = compare_in(&outcome.summaries, prefix, metric);
            let metric = &*format!("{prefix}{metric}");
            let own = outcome.summaries.iter().position(|s| s.label == summary.label).and_then(|i| stands[i]);
            let best = stands.iter().position(|s| *s == Some(Comparison::Best)).map(|i| &outcome.summaries[i]);
            let mut add = |against: &Summary, relation: &str, e: evenkeel_sim::measure::interval::Estimate| {
                let ratio = summary.value(metric) / against.value(metric);
                let texts = [metric, &against.label, relation].map(str::to_owned);
                let numbers = [e.value, e.low, e.high, ratio].map(number);
                found.push(texts.into_iter().chain(numbers).chain([e.replications.to_string()]).collect());
            };
            if let (Some(best), Some(own)) = (best, own)
                && let Some(e) = difference(summary, best, metric, LEVEL)
            {
                add(best, relation(own), e);
            }
            let oracle = outcome.summaries.iter().find(|s| s.oracle);
            if let (Some(oracle), Some(e)) = (oracle, regret(&outcome.summaries, summary, metric)) {
                add(oracle, "regret", e);
            }
        }
        found
    })
}

/// A comparison's word in files.
pub fn relation(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Best => "best",
        Comparison::Tied => "tied",
        Comparison::Worse(_) => "worse",
        Comparison::Unknown(_) => "too_few_runs",
        Comparison::Fails(_) => "fails_more",
        Comparison::Overloaded => "overloaded",
    }
}

/// `verdicts.csv`: whether there is a steady state to speak of, whether the start is still felt in it, and what theory says
/// exactly, where it does.
pub fn verdicts(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let header = [
        "verdict",
        "reason",
        "growth",
        "growth_low",
        "growth_high",
        "warmup_s",
        "latency_settled_s",
        "latency_warmup",
        "cache_warmup_s",
        "cache_settled_s",
        "cache_warmup",
        "theorem",
        "exact_mean_s",
        "exact_p99_s",
        "relaxation_s",
        "offered_load",
        "utilisation",
    ];
    rows(outcomes, &header, |outcome, summary| {
        let model = &outcome.scenario.model;
        let stability = &summary.stability;
        let clock = |clock: Clock, warmup: f64| {
            let settling = summary.settling.iter().find(|s| s.clock == clock);
            let after = settling.and_then(|s| s.after).map_or_else(String::new, number);
            let word = settling.map_or("", |s| settled_word(s, summary.unsettled(clock)));
            [number(if settling.is_some() { warmup } else { f64::NAN }), after, word.to_owned()]
        };
        let theory = summary.theory.as_ref();
        let mut row = vec![stability.verdict.as_str().to_owned(), stability.reason.clone()];
        row.extend([stability.growth.value, stability.growth.low, stability.growth.high].map(number));
        row.extend(clock(Clock::Latency, model.warmup.as_secs_f64()));
        row.extend(clock(Clock::Cache, model.cache_warmup.as_secs_f64()));
        row.push(theory.map_or_else(String::new, |exact| exact.theorem.clone()));
        row.push(number(theory.map_or(f64::NAN, |exact| exact.mean)));
        row.push(number(theory.and_then(|exact| exact.p99).unwrap_or(f64::NAN)));
        row.push(number(stability.relaxation.unwrap_or(f64::NAN)));
        row.push(number(outcome.scenario.offered_load.unwrap_or(f64::NAN)));
        row.push(number(summary.utilisation(outcome.scenario)));
        vec![row]
    })
}

/// How a measure settled, in a word.
fn settled_word(settling: &Settling, unsettled: Option<Settling>) -> &'static str {
    match (unsettled, settling.after) {
        (None, _) => "settled",
        (Some(_), Some(_)) => "too_short",
        (Some(_), None) => "run_too_short",
    }
}

/// `servers.csv`: every server under every strategy, means over replications.
pub fn servers(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let header = [
        "pool",
        "server",
        "weight",
        "capacity",
        "requests",
        "share",
        "load_over_capacity",
        "utilisation",
        "in_server",
        "time_in_server_s",
        "errors",
        "cache_hit_ratio",
    ];
    rows(outcomes, &header, |_, summary| {
        let row = |s: &evenkeel_sim::measure::ServerRow| {
            let numbers = [
                f64::from(s.weight),
                s.capacity,
                s.requests,
                s.share,
                s.load,
                s.utilisation,
                s.number,
                s.residence,
                s.errors,
                s.hit_ratio,
            ];
            [s.pool.clone(), s.server.clone()].into_iter().chain(numbers.map(number)).collect()
        };
        summary.servers.iter().map(row).collect()
    })
}

/// `timeseries.csv`: the course of events, by time of completion, all replications together. `time_s` is the middle of a bin,
/// `in_system` the mean number of requests in the system over its time.
pub fn timeseries(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let header = ["time_s", "goodput_per_s", "errors_per_s", "latency_mean_s", "latency_p99_s", "in_system"];
    rows(outcomes, &header, |_, summary| {
        let row = |p: &evenkeel_sim::measure::SeriesPoint| {
            let numbers = [p.goodput, p.errors, p.mean, p.p99, p.in_system].map(short);
            std::iter::once(number(p.time)).chain(numbers).collect()
        };
        summary.series.iter().map(row).collect()
    })
}

/// `timeseries_pools.csv`: the same by pool, where several are asked or servers come and go; `None` elsewhere. `servers` are
/// those that are there at the end of a bin, draining ones among them, as a mean over replications.
pub fn timeseries_pools(outcomes: &[Outcome<'_>]) -> csv::Result<Option<Vec<u8>>> {
    if outcomes.iter().flat_map(|outcome| &outcome.summaries).all(|summary| summary.pools.is_empty()) {
        return Ok(None);
    }
    let header = ["pool", "time_s", "goodput_per_s", "errors_per_s", "latency_mean_s", "latency_p99_s", "servers"];
    let table = rows(outcomes, &header, |_, summary| {
        let row = |pool: &str, p: &evenkeel_sim::measure::SeriesPoint| {
            let numbers = [p.goodput, p.errors, p.mean, p.p99, p.servers].map(short);
            [pool.to_owned(), number(p.time)].into_iter().chain(numbers).collect()
        };
        summary.pools.iter().flat_map(|pool| pool.series.iter().map(|p| row(&pool.name, p))).collect()
    });
    table.map(Some)
}

/// `latency_cdf.csv`: the share of requests that are at most so slow; histograms of all replications merged.
pub fn latency_cdf(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    rows(outcomes, &["quantile", "latency_s"], |_, summary| {
        summary.cdf.iter().map(|&(share, latency)| vec![number(share), short(latency)]).collect()
    })
}

/// Where and how a run was made.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// This package's version.
    pub version: String,
    /// The commit it was built from, where known.
    pub commit: Option<String>,
    /// A command line that makes the same results again.
    pub command: String,
    /// The machine.
    pub machine: Machine,
}

/// A machine, as far as it matters for a result (not at all) or for its speed.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Operating system.
    pub os: String,
    /// Architecture.
    pub arch: String,
    /// Processors.
    pub cpus: usize,
}

#[derive(Serialize)]
struct Manifest<'a> {
    schema_version: u32,
    scenario: &'a str,
    title: &'a str,
    scenario_sha256: &'a str,
    seed: u64,
    interval_level: f64,
    /// Where the intervals come from.
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<&'a super::Reached>,
    #[serde(flatten)]
    first: PointEntry<'a>,
    /// The other points of a sweep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    points: Vec<PointEntry<'a>>,
    /// Points that could not be built, and why.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped: &'a [(String, String)],
    /// Names all the runs that are in here.
    runs: &'a str,
    #[serde(flatten)]
    provenance: &'a Provenance,
    /// SHA-256 of every other file of the run, by name.
    files: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct PointEntry<'a> {
    point: &'a str,
    replications: u32,
    warmup_s: f64,
    cache_warmup_s: f64,
    duration_s: f64,
    offered_load: Option<f64>,
    /// By replication; the same for every strategy unless clients wait for answers (closed loop).
    workload_hashes: Vec<String>,
    workload_same_for_all: bool,
    strategies: Vec<StrategyEntry<'a>>,
}

#[derive(Serialize)]
struct StrategyEntry<'a> {
    label: &'a str,
    parameters: &'a evenkeel_core::select::catalog::StrategyConfig,
    verdict: Verdict,
    /// Busy share of the busiest pool's servers.
    utilisation: Option<f64>,
    requests_simulated: u64,
    pick_hashes: Vec<String>,
}

/// `manifest.json`: what is needed to make the same results again. `runs` identifies all runs; `files` has the SHA-256 of
/// every other file of the run by name, in hexadecimal digits.
pub fn manifest(
    outcomes: &[Outcome<'_>],
    skipped: &[(String, String)],
    runs: &str,
    provenance: &Provenance,
    files: &BTreeMap<String, String>,
) -> serde_json::Result<Vec<u8>> {
    let Some(first) = outcomes.first() else { return Ok(Vec::new()) };
    let scenario = first.scenario;
    let manifest = Manifest {
        schema_version: 3,
        scenario: &scenario.name,
        title: &scenario.title,
        scenario_sha256: &scenario.hash,
        seed: scenario.seed,
        interval_level: LEVEL,
        method: if scenario.model.batches > 1 { "batch means" } else { "replications" },
        precision: first.precision.as_ref(),
        first: point(first),
        points: outcomes[1..].iter().map(point).collect(),
        skipped,
        runs,
        provenance,
        files,
    };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    let _ = text.write_all(b"\n");
    Ok(text)
}

fn point<'a>(outcome: &'a Outcome<'_>) -> PointEntry<'a> {
    let model = &outcome.scenario.model;
    let hex = |hashes: &[u64]| hashes.iter().map(|hash| format!("{hash:016x}")).collect::<Vec<_>>();
    let workload = outcome.summaries.first().map(|summary| summary.workload_hashes.clone()).unwrap_or_default();
    let strategies = outcome.summaries.iter().zip(&outcome.scenario.contestants);
    PointEntry {
        point: outcome.point,
        replications: outcome.replications,
        warmup_s: model.warmup.as_secs_f64(),
        cache_warmup_s: model.cache_warmup.as_secs_f64(),
        duration_s: model.duration.as_secs_f64(),
        offered_load: outcome.scenario.offered_load,
        workload_hashes: hex(&workload),
        workload_same_for_all: outcome.summaries.iter().all(|summary| summary.workload_hashes == workload),
        strategies: strategies
            .map(|(summary, contestant)| StrategyEntry {
                label: &summary.label,
                parameters: &contestant.table,
                verdict: summary.stability.verdict,
                utilisation: number(summary.utilisation(outcome.scenario)).parse().ok(),
                requests_simulated: summary.requests,
                pick_hashes: hex(&summary.pick_hashes),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{number, short};

    #[test]
    fn ten_digits_and_nothing_for_nothing() {
        assert_eq!(number(0.1 + 0.2), "0.3");
        assert_eq!(number(1234567.123456789), "1234567.123");
        assert_eq!(number(f64::NAN), "");
        assert_eq!(number(0.0), "0");
        assert_eq!(short(0.106954751), "0.10695");
        assert_eq!(short(f64::NAN), "");
    }
}
