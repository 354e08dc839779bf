//! Results from runs: a statistic per replication, intervals over replications, paired comparison of strategies and of
//! versions, and tests for a steady state. Percentiles are never averaged over servers; a distribution over all replications
//! is computed from merged histograms.

pub mod comparison;
pub mod coverage;
pub mod decision;
pub mod exact_values;
pub mod expectation;
pub mod fingerprint;
pub mod interval;
pub mod metrics;
mod ranking;
pub mod results;
mod run_all;
pub mod sensitivity;
mod stability;
mod summary;
pub mod validation;
pub mod warmup;
pub mod why;

pub use metrics::{Metric, metric_names};
pub use ranking::{Comparison, ENOUGH, compare, compare_in, difference, regret};
pub use run_all::run_all;
pub use stability::{Stability, Verdict};
pub use summary::{PoolSummary, SeriesPoint, ServerRow, Summary, Tally, summarise};
