//! The files of a scenario's results, as text. Numbers have ten significant digits: more precise than any interval, and too
//! few to show rounding differences between platforms.

mod comparison;
mod manifest;
mod metrics;
mod servers;
pub mod timeline;
mod timeseries;
mod verdicts;
pub mod why;

pub use manifest::{Machine, Provenance, manifest};

use super::Outcome;
use evenkeel_sim::measure::Summary;

/// A table in a folder of results.
pub struct ResultFile {
    /// Name of the file.
    pub name: &'static str,
    /// Its content, one sentence.
    pub doc: &'static str,
    /// Which results have it, as text.
    pub present: &'static str,
    /// Writes it; `None` where the results have no data for it.
    pub render: fn(&[Outcome<'_>]) -> csv::Result<Option<Vec<u8>>>,
}

/// All tables of a folder of results. A new one is a file with a function that makes it, and a row here.
pub const FILES: [ResultFile; 11] = [
    ResultFile {
        name: "metrics.csv",
        doc: "Every metric of every strategy: mean and 95 % interval over replications.",
        present: "always",
        render: |outcomes| metrics::metrics(outcomes).map(Some),
    },
    ResultFile {
        name: "replications.csv",
        doc: "Every metric of every single run, with its seed and the hash of its workload.",
        present: "always",
        render: |outcomes| metrics::replications(outcomes).map(Some),
    },
    ResultFile {
        name: "comparison.csv",
        doc: "Every strategy against the best and against the oracle (regret): paired differences with intervals.",
        present: "always",
        render: |outcomes| comparison::comparison(outcomes).map(Some),
    },
    ResultFile {
        name: "verdicts.csv",
        doc: "Whether there is a steady state, whether the warm-up was long enough, and what theory says.",
        present: "always",
        render: |outcomes| verdicts::verdicts(outcomes).map(Some),
    },
    ResultFile {
        name: "servers.csv",
        doc: "Every server under every strategy, means over replications.",
        present: "always",
        render: |outcomes| servers::servers(outcomes).map(Some),
    },
    ResultFile {
        name: "timeseries.csv",
        doc: "Goodput, errors, latency and requests in the system over time, all replications together.",
        present: "always",
        render: |outcomes| timeseries::timeseries(outcomes).map(Some),
    },
    ResultFile {
        name: "timeseries_pools.csv",
        doc: "The same by pool, with the number of servers.",
        present: "if routes lead to several pools, or servers come and go",
        render: timeseries::timeseries_pools,
    },
    ResultFile {
        name: "latency_cdf.csv",
        doc: "The latency at each quantile, all replications together.",
        present: "always",
        render: |outcomes| timeseries::latency_cdf(outcomes).map(Some),
    },
    ResultFile {
        name: "latency_cdf_pools.csv",
        doc: "The same by pool.",
        present: "if routes lead to several pools",
        render: timeseries::latency_cdf_pools,
    },
    ResultFile {
        name: timeline::NAME,
        doc: "The first replication of every strategy over time: requests by server, exact events, the slowest requests.",
        present: "for a run, not for a sweep",
        render: timeline::timeline,
    },
    ResultFile {
        name: why::NAME,
        doc: "What the timelines explain: the story of every strategy, differences, the slowest requests, a few picks.",
        present: "for a run, not for a sweep",
        render: why::why,
    },
];

/// The catalogue as a Markdown table, for the documentation.
pub fn reference() -> String {
    let mut text = String::from("| file | content | present |\n|---|---|---|\n");
    for file in &FILES {
        text += &format!("| `{}` | {} | {} |\n", file.name, file.doc, file.present);
    }
    text
}

/// A number with ten significant digits; empty if it is not finite.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let rounded: f64 = format!("{value:.9e}").parse().unwrap_or(value);
    format!("{rounded}")
}

/// A number of a time series or a distribution, of which there are thousands, with five significant digits: histograms have
/// a precision of three.
fn short(value: f64) -> String {
    if !value.is_finite() {
        return String::new();
    }
    let rounded: f64 = format!("{value:.4e}").parse().unwrap_or(value);
    format!("{rounded}")
}

/// A table with the rows that `each` makes for a strategy at a point; scenario, point and label come first in each row.
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

#[cfg(test)]
mod tests {
    use super::{number, short};

    #[test]
    fn ten_digits_and_empty_for_nan() {
        assert_eq!(number(0.1 + 0.2), "0.3");
        assert_eq!(number(1234567.123456789), "1234567.123");
        assert_eq!(number(f64::NAN), "");
        assert_eq!(number(0.0), "0");
        assert_eq!(short(0.106954751), "0.10695");
        assert_eq!(short(f64::NAN), "");
    }
}
