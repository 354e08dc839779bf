//! Values of a series: a counter, a gauge, a histogram of times. Counting touches atomics and nothing else.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

use evenkeel_core::units::Nanos;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds 1.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `more`, which may be negative.
    pub fn add(&self, more: i64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// Adds 1.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Subtracts 1.
    pub fn dec(&self) {
        self.add(-1);
    }

    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Upper ends of the buckets for requests, in nanoseconds: 100 µs to 1 minute.
pub(super) const REQUEST_BUCKETS: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Upper ends of the buckets for picks, in nanoseconds: 50 ns to 1 ms.
pub(super) const PICK_BUCKETS: &[u64] =
    &[50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000];

/// Times, counted in buckets.
#[derive(Debug)]
pub struct Histogram {
    ends: &'static [u64],
    /// One more than there are ends: the last is for what is longer than all of them.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn new(ends: &'static [u64]) -> Histogram {
        Histogram { ends, counts: (0..=ends.len()).map(|_| AtomicU64::new(0)).collect(), nanos: AtomicU64::new(0) }
    }

    /// Counts a time in nanoseconds.
    pub fn observe(&self, time: Nanos) {
        // Less or equal, as the label `le` says.
        let bucket = self.ends.partition_point(|&end| end < time.0);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.nanos.fetch_add(time.0, Relaxed);
    }

    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let ends = self.ends.iter().map(|&end| end as f64 / 1e9).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = ends.zip(self.counts.iter().map(|count| count.load(Relaxed))).collect();
        // The count is the buckets' sum, so that the page agrees with itself while others count on.
        let count = buckets.iter().map(|bucket| bucket.1).sum();
        encoder.encode_histogram::<NoLabelSet>(self.nanos.load(Relaxed) as f64 / 1e9, count, &buckets, None)
    }
}
