//! Metrics of a run in progress.

use std::collections::BTreeMap;

use evenkeel_sim::measure::metrics;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::Run;
use evenkeel_sim::sim::record::{Bin, bin_width};
use serde::Serialize;

use crate::results::{Values, finite};
use crate::session::BINS;
use crate::watch::Watch;

/// What has been measured so far, by the definitions of the results.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LiveMetrics {
    /// Measured requests that have ended.
    pub count: u64,
    /// The metrics of `replications.csv` over the part of the measured span that is over; empty during the warm-up.
    pub values: Values,
    /// (share of requests, latency in seconds) at about 60 quantiles, ascending; empty before the first latency.
    pub cdf: Vec<(f64, f64)>,
    /// The time series.
    pub series: Series,
}

/// Bins of the run that are over, from its start.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// Width of a bin, seconds.
    pub width: f64,
    /// Median latency, seconds; `None` in a bin without a latency.
    pub p50: Vec<Option<f64>>,
    /// 99th percentile of the latency, seconds.
    pub p99: Vec<Option<f64>>,
    /// Requests answered without an error, per second.
    pub rate: Vec<f64>,
    /// Requests that ended otherwise, per second.
    pub errors: Vec<f64>,
    /// Mean number of requests in the system.
    pub in_system: Vec<f64>,
}

impl LiveMetrics {
    /// `series` has the bins that were over at the last call.
    pub(crate) fn of(scenario: &Scenario, run: &mut Run<'_, Watch<'_>>, series: &mut Series) -> LiveMetrics {
        let model = &scenario.model;
        let width = bin_width(model.warmup + model.duration, BINS);
        series.width = width.as_secs_f64();
        for bin in &run.series()[series.rate.len()..] {
            series.push(bin);
        }
        let Some(measured) = run.measured() else {
            return LiveMetrics { series: series.clone(), ..LiveMetrics::default() };
        };
        let seconds = run.now().min(model.warmup + model.duration).saturating_sub(model.warmup).as_secs_f64();
        let latency = &measured.all.latency;
        let cdf = if latency.is_empty() {
            Vec::new()
        } else {
            quantiles().map(|q| (q, latency.value_at_quantile(q) as f64 / 1e9)).collect()
        };
        let values =
            if seconds > 0.0 { finite(metrics::of_run(scenario, &measured, seconds)) } else { BTreeMap::new() };
        LiveMetrics { count: measured.all.requests(), values, cdf, series: series.clone() }
    }
}

/// Every second percent, then finer towards 1.
fn quantiles() -> impl Iterator<Item = f64> {
    let percents = (0..=49).map(|i| f64::from(i) / 50.0);
    percents.chain((985..=999).step_by(2).map(|i| f64::from(i) / 1000.0)).chain([0.9995, 0.9999, 1.0])
}

impl Series {
    fn push(&mut self, bin: &Bin) {
        self.p50.push(at_quantile(&bin.latency, 0.5));
        self.p99.push(at_quantile(&bin.latency, 0.99));
        self.rate.push(bin.ok as f64 / self.width);
        self.errors.push(bin.bad as f64 / self.width);
        self.in_system.push(bin.in_system_area as f64 / 1e9 / self.width);
    }
}

/// A quantile of (nanoseconds, count), ascending, in seconds.
fn at_quantile(latency: &[(u64, u64)], q: f64) -> Option<f64> {
    let total: u64 = latency.iter().map(|(_, count)| count).sum();
    let rank = ((total as f64 * q).ceil() as u64).max(1);
    let mut seen = 0;
    let found = latency.iter().find(|(_, count)| {
        seen += count;
        seen >= rank
    });
    found.map(|(value, _)| *value as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_counts_by_hand() {
        let latency = [(1_000_000_000, 98), (2_000_000_000, 1), (3_000_000_000, 1)];
        assert_eq!(at_quantile(&latency, 0.5), Some(1.0));
        assert_eq!(at_quantile(&latency, 0.99), Some(2.0));
        assert_eq!(at_quantile(&latency, 1.0), Some(3.0));
        assert_eq!(at_quantile(&[], 0.5), None);
        let all: Vec<f64> = quantiles().collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]) && all.len() > 55, "{all:?}");
    }
}
