//! Validation of the simulator against queueing theory: cases whose exact value is known ([gates](gates())), the simulated
//! value, and whether the two agree.
//!
//! The tolerance is [`ERRORS`] standard errors of the run itself, so a longer run is a stricter test. A run with a standard
//! error above [`VAGUE`] of the value fails as well, because it would agree with almost anything. Each quantity states its
//! additional slack: percentiles are recorded in a histogram (0.1 %), and some theories are approximations.

mod abandonment;
mod arrivals;
mod cases;
mod copies;
mod networks;
mod recursion;
mod selector_only;

use super::interval::{Estimate, estimate};
use super::metrics::{metric_names, values};
use crate::scenario::Scenario;
use crate::sim::{Stopped, observe};
use evenkeel_core::math::sqrt;
use evenkeel_core::rng::{Keyed, Source};

pub use cases::gates;
pub use recursion::Recursion;

/// Maximum difference of theory and simulation in standard errors: exceeded at random once in about 1,300 quantities, with
/// the 19 degrees of freedom of 20 replications.
pub const ERRORS: f64 = 4.0;
/// Maximum standard error as a share of the value; a larger one tests nothing.
pub const VAGUE: f64 = 0.05;

/// Accuracy of the theoretical value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// A closed form, a root or a Markov chain.
    Exact,
    /// A limit or an approximation, accurate to the slack that is allowed.
    Approximate,
    /// An identity: it must hold in every replication to the last bit.
    Identity,
}

/// A quantity of a case.
#[derive(Clone, Debug)]
pub struct Asked {
    /// A metric as in `metrics.csv`, or a name that the case explains.
    pub quantity: String,
    /// The theoretical value. Latencies are in seconds.
    pub theory: f64,
    /// Accuracy of the theoretical value.
    pub certainty: Certainty,
    /// Share of the value by which theory and simulation may differ in addition to random error.
    pub slack: f64,
}

/// How a case is run.
pub enum Subject {
    /// A scenario with one strategy.
    Scenario(Box<Scenario>),
    /// A scenario with one strategy whose every request is compared with a recursion; the value is the share that agrees.
    Trace(Box<Scenario>, Recursion),
    /// A selector without a simulator: a function from a seed to the values of all quantities.
    Selector(fn(u64) -> Vec<f64>),
}

/// A case whose exact value is known.
pub struct Gate {
    /// Name on the command line.
    pub name: &'static str,
    /// The case and its theory, in one line.
    pub about: String,
    /// The scenario's text, to run it by itself; empty for a selector alone.
    pub source: String,
    /// How it is run.
    pub subject: Subject,
    /// Its quantities with known values.
    pub asked: Vec<Asked>,
    /// Number of replications.
    pub replications: u32,
    /// Seed from which the seeds of the replications come.
    seed: u64,
}

/// The result for a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Theory and simulation agree, and the run is precise enough.
    Agrees,
    /// Theory and simulation differ by more than [`ERRORS`] standard errors and the slack.
    Differs,
    /// The run is too short for a verdict.
    TooVague,
}

/// A quantity with its theoretical and simulated values.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The quantity.
    pub asked: Asked,
    /// Mean over replications with its 95 % interval.
    pub simulated: Estimate,
    /// Distance of theory and simulation, in standard errors.
    pub errors: f64,
    /// The verdict.
    pub outcome: Outcome,
}

impl Gate {
    /// Uses other seeds than its own.
    pub fn reseed(&mut self, seed: u64) {
        self.seed = seed;
        if let Subject::Scenario(scenario) | Subject::Trace(scenario, _) = &mut self.subject {
            scenario.seed = seed;
        }
    }

    /// The values of all quantities in one replication.
    pub fn replicate(&self, replication: u32, interrupted: &dyn Fn() -> bool) -> Result<Vec<f64>, Stopped> {
        match &self.subject {
            Subject::Selector(run) => Ok(run(Keyed::new(self.seed, "validation").at(u64::from(replication)).bits())),
            Subject::Trace(scenario, recursion) => Ok(vec![recursion.agreement(scenario, replication, interrupted)?]),
            Subject::Scenario(scenario) => {
                let record = observe(&scenario.setup(0, replication), interrupted, &mut ())?;
                let values = values(scenario, &record.measured, scenario.model.duration.as_secs_f64());
                let names = metric_names(scenario);
                let of = |asked: &Asked| {
                    names.iter().position(|name| *name == asked.quantity).map_or(f64::NAN, |at| values[at])
                };
                Ok(self.asked.iter().map(of).collect())
            }
        }
    }

    /// The verdicts on the replications; `values` by replication, each in the order of the quantities.
    pub fn judge(&self, values: &[Vec<f64>]) -> Vec<Finding> {
        let judge = |(i, asked): (usize, &Asked)| {
            let column: Vec<f64> = values.iter().map(|row| row[i]).collect();
            finding(asked.clone(), &column)
        };
        self.asked.iter().enumerate().map(judge).collect()
    }
}

fn finding(asked: Asked, values: &[f64]) -> Finding {
    let simulated = estimate(values);
    let n = values.len() as f64;
    let squares: f64 = values.iter().map(|v| (v - simulated.value) * (v - simulated.value)).sum();
    let error = sqrt(squares / (n - 1.0) / n);
    let apart = (simulated.value - asked.theory).abs();
    // In this order, because NaN must agree with nothing.
    let near = apart <= ERRORS * error + asked.slack * asked.theory.abs();
    let near = near && (asked.certainty != Certainty::Identity || values.iter().all(|value| *value == asked.theory));
    let outcome = match (near, error > VAGUE * asked.theory.abs()) {
        (false, _) => Outcome::Differs,
        (true, true) => Outcome::TooVague,
        (true, false) => Outcome::Agrees,
    };
    // A quantity without variance and with the correct value has distance 0.
    let errors = if apart == 0.0 { 0.0 } else { apart / error };
    Finding { asked, simulated, errors, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(theory: f64, slack: f64) -> Asked {
        Asked { quantity: "x".to_owned(), theory, certainty: Certainty::Exact, slack }
    }

    /// 9, 10, 11: mean 10, variance 1, standard error 1/√3 = 0.577; four of them are 2.31.
    #[test]
    fn the_tolerance_is_the_runs_own() {
        let of = |theory: f64, slack: f64, scale: f64| {
            finding(asked(theory, slack), &[10.0 - scale, 10.0, 10.0 + scale]).outcome
        };
        assert_eq!(of(10.2, 0.0, 0.1), Outcome::Agrees);
        assert_eq!(of(10.3, 0.0, 0.1), Outcome::Differs);
        assert_eq!(of(10.3, 0.01, 0.1), Outcome::Agrees);
        // It would agree with almost anything.
        assert_eq!(of(11.0, 0.0, 1.0), Outcome::TooVague);
        // A missing value agrees with nothing.
        assert_eq!(finding(asked(1.0, 0.5), &[f64::NAN, f64::NAN]).outcome, Outcome::Differs);
        assert_eq!(finding(asked(1.0, 0.0), &[1.0, 1.0]).outcome, Outcome::Agrees);
        // One deviating request in one replication is within the error of the mean, but violates an identity.
        let identity = || Asked { certainty: Certainty::Identity, ..asked(1.0, 0.0) };
        let values = [1.0, 1.0, 1.0, 1.0 - 1e-9];
        assert_eq!(finding(asked(1.0, 0.0), &values).outcome, Outcome::Agrees);
        assert_eq!(finding(identity(), &values).outcome, Outcome::Differs);
        assert_eq!(finding(identity(), &[1.0, 1.0]).outcome, Outcome::Agrees);
    }

    #[test]
    fn gates_have_names_of_their_own() {
        let gates = gates();
        let mut names: Vec<&str> = gates.iter().map(|gate| gate.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), gates.len());
        assert!(gates.iter().all(|gate| !gate.asked.is_empty() && gate.asked.iter().all(|a| a.theory > 0.0)));
    }
}
