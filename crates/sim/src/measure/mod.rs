//! From runs to results: a statistic per replication, intervals over replications, paired comparison between strategies and
//! between versions, and whether there is a steady state to speak of. Percentiles are never averaged over servers; where a
//! distribution over all replications is shown, histograms are merged.

pub mod change;
pub mod coverage;
pub mod fingerprint;
pub mod interval;
mod metrics;
pub mod results;
pub mod sensitivity;
mod standing;
mod summary;
pub mod theorem;
pub mod validation;
mod verdict;
pub mod warmup;

pub use metrics::{Metric, metric_names};
pub use standing::{Comparison, ENOUGH, compare, compare_in, difference, regret};
pub use summary::{PoolSummary, SeriesPoint, ServerRow, Summary, Tally, summarise};
pub use verdict::{Judgement, Verdict};
