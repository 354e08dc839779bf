//! Warm-up: how long the empty start affects the measurements.
//!
//! MSER-5 (White 1997; White, Cobb and Spratt 2000) takes means of five observations each and discards the first d of them,
//! so that the mean of the rest has the smallest estimated error: Σ (Y_i - Ȳ_d)² / (n - d)², the sum of its squared
//! deviations over the square of the remaining number, is minimal. A cut in the second half only shows that the run is too
//! short: the minimum is searched up to n / 2, and a minimum at that bound means "not settled".
//!
//! The observations here are means over equal bins of time, by time of arrival, over all replications together (Welch's
//! average). MSER-5 gives the verdict and the cut, not the intervals: those come from replications.

use crate::sim::record::ArrivalBin;

/// Observations in a batch.
const BATCH: usize = 5;

/// Where a series settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// After this many observations.
    After(usize),
    /// Not in the first half: the run is too short for this metric.
    RunTooShort,
}

/// MSER-5 of a series. With fewer than ten observations it is too short.
pub fn mser5(series: &[f64]) -> Truncation {
    let batches: Vec<f64> = series.chunks_exact(BATCH).map(|batch| batch.iter().sum::<f64>() / BATCH as f64).collect();
    let n = batches.len();
    if n < 2 {
        return Truncation::RunTooShort;
    }
    let bound = n / 2;
    // From the end, so that sum and sum of squares grow by one batch at a time; deviations are relative to the last batch,
    // so that squares of large numbers do not lose small differences.
    let anchor = batches[n - 1];
    let (mut sum, mut squares) = (0.0, 0.0);
    let mut best: Option<(usize, f64)> = None;
    for d in (0..n).rev() {
        let deviation = batches[d] - anchor;
        sum += deviation;
        squares += deviation * deviation;
        if d <= bound {
            let left = (n - d) as f64;
            let statistic = (squares - sum * sum / left).max(0.0) / (left * left);
            // Of equal values the earliest cut, which keeps the most observations.
            if best.is_none_or(|(_, least)| statistic <= least) {
                best = Some((d, statistic));
            }
        }
    }
    match best {
        Some((d, _)) if d < bound || bound == 0 => Truncation::After(d * BATCH),
        _ => Truncation::RunTooShort,
    }
}

/// The metrics that warm up separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The mean latency; its warm-up is `warmup`.
    Latency,
    /// The cache hit ratio; its warm-up is `cache_warmup`.
    Cache,
}

/// The warm-up of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settling {
    /// The metric.
    pub clock: Clock,
    /// Settling time by MSER-5, seconds from the start; `None` if it did not settle in the first half of the run.
    pub after: Option<f64>,
    /// End of the warm-up, seconds from the start.
    pub from: f64,
    /// Mean over the measured span.
    pub measured: f64,
    /// Mean from the settling time on (from half of the run on if it did not settle).
    pub settled: f64,
}

impl Settling {
    /// Whether it had not settled when measuring began, and the remaining part of the start changes the mean by more than
    /// `noise`, the half width of its interval. A cut without such an effect is random: MSER-5 finds one in any noise.
    pub fn matters(&self, noise: f64) -> bool {
        self.after.is_none_or(|after| after > self.from) && (self.measured - self.settled).abs() > noise
    }
}

/// Judges a settling series of a run of `seconds` whose measured span begins at `warmup` seconds. `None` if nothing was
/// observed.
pub fn settling(series: &[ArrivalBin], clock: Clock, seconds: f64, warmup: f64) -> Option<Settling> {
    let parts = |bin: &ArrivalBin| match clock {
        Clock::Latency => (bin.latency_sum as f64 / 1e9, bin.requests),
        Clock::Cache => (bin.hits as f64, bin.lookups),
    };
    // Bins without requests are left out; the positions of the others are kept.
    let seen: Vec<(usize, f64)> = series
        .iter()
        .enumerate()
        .filter(|(_, bin)| parts(bin).1 > 0)
        .map(|(i, bin)| (i, parts(bin).0 / parts(bin).1 as f64))
        .collect();
    let values: Vec<f64> = seen.iter().map(|&(_, value)| value).collect();
    let width = seconds / series.len().max(1) as f64;
    let mean_from = |bin: usize| {
        let (sum, count) = series[bin.min(series.len())..]
            .iter()
            .map(parts)
            .fold((0.0, 0), |(sum, count), (more, n)| (sum + more, count + n));
        if count > 0 { sum / count as f64 } else { f64::NAN }
    };
    let measured = mean_from((warmup / width).round() as usize);
    let (after, bin) = match mser5(&values) {
        Truncation::After(d) => {
            let bin = seen.get(d).map_or(0, |&(bin, _)| bin);
            (Some(bin as f64 * width), bin)
        }
        Truncation::RunTooShort => (None, series.len() / 2),
    };
    measured.is_finite().then(|| Settling { clock, after, from: warmup, measured, settled: mean_from(bin) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand. Batch means 9, 3, 1, 1, 1, 1, 1, 1 (n = 8, bound 4): d = 0: mean 2.25, Σ(Y-Ȳ)² = 96 - 8·2.25² = 55.5,
    /// over 64 = 0.867; d = 1: mean 9/7, 15 - 81/7 = 3.4286, over 49 = 0.0700; d = 2: 0. So the first ten observations go.
    #[test]
    fn known_answer() {
        let series: Vec<f64> = [9.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0].iter().flat_map(|&m| [m; 5]).collect();
        assert_eq!(mser5(&series), Truncation::After(10));
        // Only the batch means matter, not the values in them.
        let uneven: Vec<f64> = series.iter().enumerate().map(|(i, v)| v + [2.0, -1.0, 0.0, -1.0, 0.0][i % 5]).collect();
        assert_eq!(mser5(&uneven), Truncation::After(10));
    }

    /// The same statistic computed separately for each cut, straight from the paper's definition.
    #[test]
    fn agrees_with_a_direct_implementation() {
        let mut rng = evenkeel_core::rng::Rng::stream(3, "mser", 0);
        for round in 0..50 {
            let series: Vec<f64> = (0..203)
                .map(|i| {
                    let start = 40.0 * evenkeel_core::math::exp(-f64::from(i) / f64::from(1 + round));
                    1e6 + start + evenkeel_config::distribution::normal(&mut rng)
                })
                .collect();
            let batches: Vec<f64> = series.chunks_exact(5).map(|b| b.iter().sum::<f64>() / 5.0).collect();
            let n = batches.len();
            let statistic = |d: usize| {
                let rest = &batches[d..];
                let mean = rest.iter().sum::<f64>() / rest.len() as f64;
                rest.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / (rest.len() * rest.len()) as f64
            };
            let best = (0..=n / 2).min_by(|&a, &b| statistic(a).total_cmp(&statistic(b))).unwrap();
            let expected = if best < n / 2 { Truncation::After(best * 5) } else { Truncation::RunTooShort };
            assert_eq!(mser5(&series), expected, "round {round}");
        }
    }

    #[test]
    fn a_series_that_never_settles_is_too_short() {
        let rising: Vec<f64> = (0..200).map(f64::from).collect();
        assert_eq!(mser5(&rising), Truncation::RunTooShort);
        assert_eq!(mser5(&[1.0; 9]), Truncation::RunTooShort);
        assert_eq!(mser5(&[1.0; 100]), Truncation::After(0));
    }

    #[test]
    fn caches_and_latencies_warm_up_separately() {
        // 100 bins of a second: latency settles after 10, hits only after 40.
        let series: Vec<ArrivalBin> = (0..100)
            .map(|i| ArrivalBin {
                requests: 10,
                latency_sum: if i < 10 { 1_000_000_000 } else { 100_000_000 },
                hits: if i < 40 { i / 5 } else { 8 },
                lookups: 10,
            })
            .collect();
        let latency = settling(&series, Clock::Latency, 100.0, 5.0).unwrap();
        let cache = settling(&series, Clock::Cache, 100.0, 5.0).unwrap();
        assert_eq!(latency.after, Some(10.0));
        assert_eq!(cache.after, Some(40.0));
        assert!(latency.matters(0.001) && (latency.settled - 0.01).abs() < 1e-12, "{latency:?}");
        assert!(cache.matters(0.001) && (cache.settled - 0.8).abs() < 1e-12, "{cache:?}");
        assert!(settling(&[ArrivalBin::default(); 10], Clock::Cache, 1.0, 0.0).is_none());
    }
}
