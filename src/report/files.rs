//! The files of a scenario's results, as text. Numbers have ten significant digits: more than any interval, fewer than
//! would show the last bit of a platform's arithmetic.

use std::io::Write;

use serde::Serialize;

use super::Outcome;

/// The one point of a scenario without a sweep.
const POINT: &str = "base";

/// A number as the files have it; empty where there is none.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let rounded: f64 = format!("{value:.9e}").parse().unwrap_or(value);
    format!("{rounded}")
}

fn rows(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> csv::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// `metrics.csv`: every measure of every strategy, mean and 95 % interval over replications.
pub fn metrics(outcome: &Outcome<'_>) -> csv::Result<Vec<u8>> {
    let name = &outcome.scenario.name;
    rows(
        &["scenario", "point", "strategy", "metric", "unit", "value", "low", "high", "replications"],
        outcome.summaries.iter().flat_map(|summary| {
            summary.metrics.iter().map(move |metric| {
                let e = metric.estimate();
                let texts = [name, POINT, &summary.label, &metric.name, metric.unit].map(str::to_owned);
                let numbers = [number(e.value), number(e.low), number(e.high), e.replications.to_string()];
                texts.into_iter().chain(numbers).collect()
            })
        }),
    )
}

/// `servers.csv`: every server under every strategy, means over replications.
pub fn servers(outcome: &Outcome<'_>) -> csv::Result<Vec<u8>> {
    let name = &outcome.scenario.name;
    rows(
        &[
            "scenario",
            "point",
            "strategy",
            "pool",
            "server",
            "weight",
            "capacity",
            "requests",
            "share",
            "load_over_capacity",
            "utilisation",
            "queue",
            "time_in_server_s",
            "errors",
            "cache_hit_ratio",
        ],
        outcome.summaries.iter().flat_map(|summary| {
            summary.servers.iter().map(move |s| {
                let texts = [name.as_str(), POINT, &summary.label, &s.pool, &s.server].map(str::to_owned);
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
                texts.into_iter().chain(numbers.map(number)).collect()
            })
        }),
    )
}

/// `timeseries.csv`: the course of events, by time of completion, all replications together.
pub fn timeseries(outcome: &Outcome<'_>) -> csv::Result<Vec<u8>> {
    let name = &outcome.scenario.name;
    rows(
        &[
            "scenario",
            "point",
            "strategy",
            "time_s",
            "goodput_per_s",
            "errors_per_s",
            "latency_mean_s",
            "latency_p99_s",
            "in_system",
        ],
        outcome.summaries.iter().flat_map(|summary| {
            summary.series.iter().map(move |p| {
                let texts = [name.as_str(), POINT, &summary.label].map(str::to_owned);
                let numbers = [p.time, p.goodput, p.errors, p.mean, p.p99, p.in_system];
                texts.into_iter().chain(numbers.map(number)).collect()
            })
        }),
    )
}

/// `latency_cdf.csv`: the share of requests that are at most so slow; histograms of all replications merged.
pub fn latency_cdf(outcome: &Outcome<'_>) -> csv::Result<Vec<u8>> {
    let name = &outcome.scenario.name;
    rows(
        &["scenario", "point", "strategy", "quantile", "latency_s"],
        outcome.summaries.iter().flat_map(|summary| {
            summary.cdf.iter().map(move |&(share, latency)| {
                vec![name.clone(), POINT.to_owned(), summary.label.clone(), number(share), number(latency)]
            })
        }),
    )
}

/// Where and how a run was made.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// This package's version.
    pub version: String,
    /// The commit it was built from, where known.
    pub commit: Option<String>,
    /// The command line.
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
    replications: u32,
    warmup_s: f64,
    duration_s: f64,
    interval_level: f64,
    /// By replication; the same for every strategy unless clients wait for answers (closed loop).
    workload_hashes: Vec<String>,
    workload_same_for_all: bool,
    strategies: Vec<StrategyEntry<'a>>,
    #[serde(flatten)]
    provenance: &'a Provenance,
}

#[derive(Serialize)]
struct StrategyEntry<'a> {
    label: &'a str,
    parameters: &'a crate::select::catalog::Table,
    requests_simulated: u64,
    pick_hashes: Vec<String>,
}

/// `manifest.json`: what is needed to make the same results again.
pub fn manifest(outcome: &Outcome<'_>, provenance: &Provenance) -> serde_json::Result<Vec<u8>> {
    let scenario = outcome.scenario;
    let hex = |hashes: &[u64]| hashes.iter().map(|hash| format!("{hash:016x}")).collect::<Vec<_>>();
    let first = outcome.summaries.first().map(|summary| summary.workload_hashes.clone()).unwrap_or_default();
    let manifest = Manifest {
        schema_version: 1,
        scenario: &scenario.name,
        title: &scenario.title,
        scenario_sha256: &scenario.hash,
        seed: scenario.seed,
        replications: scenario.replications,
        warmup_s: scenario.model.warmup.as_secs_f64(),
        duration_s: scenario.model.duration.as_secs_f64(),
        interval_level: crate::measure::interval::LEVEL,
        workload_hashes: hex(&first),
        workload_same_for_all: outcome.summaries.iter().all(|summary| summary.workload_hashes == first),
        strategies: outcome
            .summaries
            .iter()
            .zip(&scenario.contestants)
            .map(|(summary, contestant)| StrategyEntry {
                label: &summary.label,
                parameters: &contestant.table,
                requests_simulated: summary.requests,
                pick_hashes: hex(&summary.pick_hashes),
            })
            .collect(),
        provenance,
    };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    let _ = text.write_all(b"\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn ten_digits_and_nothing_for_nothing() {
        assert_eq!(number(0.1 + 0.2), "0.3");
        assert_eq!(number(1234567.123456789), "1234567.123");
        assert_eq!(number(f64::NAN), "");
        assert_eq!(number(0.0), "0");
    }
}
