//! From runs to results: a statistic per replication, intervals over replications, paired comparison between strategies.
//! Percentiles are never averaged over servers; where a distribution over all replications is shown, histograms are merged.

pub mod interval;
mod summary;

pub use summary::{Comparison, Metric, SeriesPoint, ServerRow, Summary, compare, metric_names, summarise};
