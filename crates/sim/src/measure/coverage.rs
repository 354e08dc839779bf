//! Coverage of the confidence intervals: experiments whose exact value is known are repeated with other seeds, and the share
//! of 95 % intervals that contain the value is counted.

use super::interval::{Estimate, LEVEL, estimate};
use super::summary::Tally;
use super::{Comparison, compare};
use crate::scenario::Scenario;
use crate::sim::{Stopped, observe};
use evenkeel_core::math::sqrt;
use evenkeel_theory::queues;

/// An experiment that is repeated.
pub struct Trial {
    /// Name on the command line.
    pub name: &'static str,
    /// Description, one line.
    pub about: String,
    /// The scenario that is repeated.
    scenario: Scenario,
    /// What is counted in each repetition.
    counted: Counted,
}

enum Counted {
    /// Intervals that hold the exact mean and, where given, the exact 99th percentile; seconds.
    Held { mean: f64, p99: f64 },
    /// Repetitions in which no strategy was called worse than another.
    Tied,
}

/// The events that are counted, by name, and whether each happened.
pub type Count = (&'static str, bool);

/// The number of repetitions in which an event happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// Repetitions in which it happened.
    pub happened: u32,
    /// Number of repetitions.
    pub of: u32,
    /// Wilson's interval of the share at 95 %.
    pub interval: (f64, f64),
}

impl Share {
    /// A share and its interval (E. Wilson, JASA 22, 1927).
    pub fn new(happened: u32, of: u32) -> Share {
        const Z: f64 = 1.959_963_985;
        let (n, p) = (f64::from(of), f64::from(happened) / f64::from(of));
        let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z / (1.0 + Z * Z / n) * sqrt(p * (1.0 - p) / n + Z * Z / (4.0 * n * n));
        Share { happened, of, interval: (middle - half, middle + half) }
    }

    /// The share, 0 to 1.
    pub fn value(&self) -> f64 {
        f64::from(self.happened) / f64::from(self.of)
    }
}

/// Ten replications (or batches of one run) each; `requests` in a replication, about.
pub fn trials(requests: u32) -> Vec<Trial> {
    let mut all = Vec::new();
    let of = [("mm1", 1, 0.7), ("mmc", 4, 0.8)];
    for (name, servers, load) in of {
        let lam = load * f64::from(servers);
        let source = source(requests, load, servers, "strategies = [\"random\"]");
        let mean = queues::mmc_mean(lam, 1.0, servers) * 1e-3;
        let p99 = queues::mmc_quantile(lam, 1.0, servers, 0.99) * 1e-3;
        let about = format!("M/M/{servers} at load {load}, 10 replications");
        all.push(Trial { name, about, scenario: parse(&source), counted: Counted::Held { mean, p99 } });
    }
    let mut batches = parse(&source(requests, 0.7, 1, "strategies = [\"random\"]"));
    batches.in_batches(10);
    let (mean, p99) = (queues::mm1_mean(0.7, 1.0) * 1e-3, queues::mm1_quantile(0.7, 1.0, 0.99) * 1e-3);
    let about = "M/M/1 at load 0.7, one long run in 10 batches".to_owned();
    all.push(Trial { name: "batches", about, scenario: batches, counted: Counted::Held { mean, p99 } });
    let twins: String =
        ["a", "b", "c", "d"].map(|name| format!("[[variants]]\nname = \"{name}\"\nstrategy = \"p2c\"\n")).concat();
    let source = source(requests / 10, 0.8, 1, "").replace("count = 1", "count = 10") + &twins;
    let about = "one strategy under four names: none worse".to_owned();
    all.push(Trial { name: "twins", about, scenario: parse(&source), counted: Counted::Tied });
    all
}

fn source(requests: u32, load: f64, slots: u32, strategies: &str) -> String {
    let span = f64::from(requests) / (load * f64::from(slots));
    format!(
        "title = \"Coverage\"\nquestion = \"Does the interval hold the exact value?\"\nduration = \"{span:.0}ms\"\n\
         warmup = \"500ms\"\nreplications = 10\nbins = 0\n{strategies}\narrivals = {{ poisson = {{ load = {load} }} }}\n\
         service = {{ exponential = {{ mean = \"1ms\" }} }}\n[[pools]]\nname = \"q\"\n[[pools.servers]]\nname = \"s\"\n\
         count = 1\nconcurrency = {slots}\n"
    )
}

fn parse(source: &str) -> Scenario {
    Scenario::parse("coverage", source, &|file| Err(format!("there is no file {file}")))
        .unwrap_or_else(|problems| panic!("{problems:?}"))
}

impl Trial {
    /// One repetition: which events happened.
    pub fn repeat(&self, seed: u64, interrupted: &dyn Fn() -> bool) -> Result<Vec<Count>, Stopped> {
        let mut scenario = self.scenario.clone();
        scenario.seed = seed;
        let mut summaries = Vec::new();
        for variant in 0..scenario.variants.len() {
            let mut tally = Tally::new(&scenario, variant);
            for replication in 0..scenario.replications {
                let record = observe(&scenario.setup(variant, replication), interrupted, &mut ())?;
                tally.take_in(&scenario, replication, &record);
            }
            summaries.push(tally.summary(&scenario));
        }
        Ok(match self.counted {
            Counted::Held { mean, p99 } => {
                let held = |metric: &str, exact: f64| {
                    let values = summaries[0].metric(metric).map_or(&[][..], |metric| &metric.values);
                    let Estimate { low, high, .. } = estimate(values);
                    low <= exact && exact <= high
                };
                vec![("mean", held("latency.mean", mean)), ("p99", held("latency.p99", p99))]
            }
            Counted::Tied => {
                let worse = |metric| {
                    compare(&summaries, metric).iter().any(|stands| matches!(stands, Some(Comparison::Worse(_))))
                };
                vec![("tied by p99", !worse("latency.p99")), ("tied by mean", !worse("latency.mean"))]
            }
        })
    }

    /// The bounds of the share: the level of the intervals plus or minus two per cent for the mean; at least the level for
    /// ties. A percentile of a finite run is slightly biased, so its coverage is reported and has no bounds.
    pub fn bounds(&self, count: &str) -> Option<(f64, f64)> {
        match (&self.counted, count) {
            (Counted::Held { .. }, "mean") => Some((LEVEL - 0.02, LEVEL + 0.02)),
            (Counted::Tied, _) => Some((LEVEL, 1.0)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wilson's interval by hand: 8 of 10, z = 1.96: middle (0.8 + 0.19207) / 1.38415 = 0.71674, half width
    /// 1.41601 · √(0.016 + 0.0096036) = 0.22658.
    #[test]
    fn wilson_by_hand() {
        let (low, high) = Share::new(8, 10).interval;
        assert!((low - 0.49016).abs() < 1e-4 && (high - 0.94332).abs() < 1e-4, "{low} {high}");
    }
}
