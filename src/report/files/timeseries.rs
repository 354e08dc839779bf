//! `timeseries.csv`, `latency_cdf.csv`, and both by pool.

use super::{number, rows, short};
use crate::report::Outcome;
use evenkeel_sim::measure::SeriesPoint;

/// `timeseries.csv`: the time series, by time of completion, all replications together. `time_s` is the middle of a bin,
/// `in_system` the mean number of requests in the system over its time.
pub fn timeseries(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let header = ["time_s", "goodput_per_s", "errors_per_s", "latency_mean_s", "latency_p99_s", "in_system"];
    rows(outcomes, &header, |_, summary| {
        let row = |p: &SeriesPoint| {
            let numbers = [p.goodput, p.errors, p.mean, p.p99, p.in_system].map(short);
            std::iter::once(number(p.time)).chain(numbers).collect()
        };
        summary.series.iter().map(row).collect()
    })
}

/// `timeseries_pools.csv`: the same by pool, with several entry pools or autoscaling; `None` otherwise. `servers` is the
/// number of servers at the end of a bin, draining ones included, as a mean over replications.
pub fn timeseries_pools(outcomes: &[Outcome<'_>]) -> csv::Result<Option<Vec<u8>>> {
    if outcomes.iter().flat_map(|outcome| &outcome.summaries).all(|summary| summary.pools.is_empty()) {
        return Ok(None);
    }
    let header = ["pool", "time_s", "goodput_per_s", "errors_per_s", "latency_mean_s", "latency_p99_s", "servers"];
    let table = rows(outcomes, &header, |_, summary| {
        let row = |pool: &str, p: &SeriesPoint| {
            let numbers = [p.goodput, p.errors, p.mean, p.p99, p.servers].map(short);
            [pool.to_owned(), number(p.time)].into_iter().chain(numbers).collect()
        };
        summary.pools.iter().flat_map(|pool| pool.series.iter().map(|p| row(&pool.name, p))).collect()
    });
    table.map(Some)
}

/// `latency_cdf.csv`: the share of requests with at most this latency; histograms of all replications merged.
pub fn latency_cdf(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    rows(outcomes, &["quantile", "latency_s"], |_, summary| {
        summary.cdf.iter().map(|&(share, latency)| vec![number(share), short(latency)]).collect()
    })
}

/// `latency_cdf_pools.csv`: the same by pool, with several entry pools; `None` otherwise.
pub fn latency_cdf_pools(outcomes: &[Outcome<'_>]) -> csv::Result<Option<Vec<u8>>> {
    let mut pools = outcomes.iter().flat_map(|outcome| &outcome.summaries).flat_map(|summary| &summary.pools);
    if pools.all(|pool| pool.cdf.is_empty()) {
        return Ok(None);
    }
    let table = rows(outcomes, &["pool", "quantile", "latency_s"], |_, summary| {
        let row = |pool: &str, (share, latency): (f64, f64)| vec![pool.to_owned(), number(share), short(latency)];
        summary.pools.iter().flat_map(|pool| pool.cdf.iter().map(|&at| row(&pool.name, at))).collect()
    });
    table.map(Some)
}
