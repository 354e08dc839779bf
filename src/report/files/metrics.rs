//! `metrics.csv` and `replications.csv`.

use super::{number, rows};
use crate::report::Outcome;
use evenkeel_sim::measure::Metric;

/// `metrics.csv`: every metric of every strategy, mean and 95 % interval over replications. Latencies of an overloaded
/// steady state have no interval.
pub fn metrics(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    rows(outcomes, &["metric", "unit", "value", "low", "high", "replications"], |_, summary| {
        let row = |metric: &Metric| {
            let e = summary.estimate(&metric.name);
            let texts = [metric.name.clone(), metric.unit.as_str().to_owned()];
            texts.into_iter().chain([e.value, e.low, e.high].map(number)).chain([e.replications.to_string()]).collect()
        };
        summary.metrics.iter().map(row).collect()
    })
}

/// `replications.csv`: every metric in every single run (or batch of one long run), for pairing and for other analyses.
/// `workload` is the hash of the requests: runs with equal hashes are pairs.
pub fn replications(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let names: Vec<&str> = match outcomes.iter().find_map(|outcome| outcome.summaries.first()) {
        Some(summary) => summary.metrics.iter().map(|metric| metric.name.as_str()).collect(),
        None => Vec::new(),
    };
    rows(outcomes, &[&["replication", "seed", "workload"], names.as_slice()].concat(), |_, summary| {
        let runs = summary.metrics.first().map_or(0, |metric| metric.values.len());
        let row = |r: usize| {
            // Batches are parts of a run: they have its seed, and hashes that distinguish the parts.
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
