//! Scenario files: a question, an experiment, and what must hold.
//!
//! [`Scenario::parse`] reads TOML into tables, checks every name and number against every other, and gives a
//! [`crate::sim::model::Model`] with the strategies to compare and the expectations to verify. It opens no file itself:
//! what a scenario refers to is read through a function that the caller lends.

mod build;
pub mod expect;
pub mod import;
mod table;
pub mod workload_file;

use sha2::{Digest, Sha256};

use crate::config::Problems;
use crate::rng::{Keyed, Source};
use crate::select::catalog::Table;
use crate::sim::model::Model;
use crate::units::Nanos;
use expect::Expect;

/// A strategy in a scenario's comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Contestant {
    /// Its name in tables, charts and expectations: the catalogue's, with the parameters that differ from the defaults.
    pub label: String,
    /// It.
    pub table: Table,
}

impl Contestant {
    /// Labels a strategy.
    pub fn new(table: Table) -> Contestant {
        let default = (table.row().default)();
        let difference = differences(&table, &default);
        let name = table.name();
        let label = if difference.is_empty() { name.to_owned() } else { format!("{name}({})", difference.join(",")) };
        Contestant { label, table }
    }
}

/// `parameter=value` for each parameter that is not at its default.
fn differences(table: &Table, default: &Table) -> Vec<String> {
    let defaults = default.parameters();
    let differs = |(key, value): (String, toml::Value)| {
        (defaults.get(&key) != Some(&value)).then(|| match value {
            toml::Value::String(text) => format!("{key}={text}"),
            other => format!("{key}={other}"),
        })
    };
    table.parameters().into_iter().filter_map(differs).collect()
}

/// Whether the numbers describe a long run or one course of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The same conditions throughout, after a warm-up that is not measured.
    #[default]
    Steady,
    /// A course of events, a failure drill: everything counts, from the first request to the last.
    Terminating,
}

/// A scenario, ready to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name of its file without the ending, and of the folder of its results.
    pub name: String,
    /// One line.
    pub title: String,
    /// What it asks and what it shows, in prose.
    pub question: String,
    /// Long run or course of events.
    pub kind: Kind,
    /// The experiment.
    pub model: Model,
    /// What is compared.
    pub contestants: Vec<Contestant>,
    /// Runs per strategy, each with a seed of its own.
    pub replications: u32,
    /// From which the seeds of the replications come.
    pub seed: u64,
    /// What must hold.
    pub expects: Vec<Expect>,
    /// What a reader of the results must know.
    pub notes: Vec<String>,
    /// SHA-256 of the file's text, in hexadecimal.
    pub hash: String,
    /// Offered work over capacity of the fullest entry pool, nothing cached; `None` where arrivals depend on answers.
    pub offered_load: Option<f64>,
}

/// Reads a file that a scenario refers to.
pub type Files<'a> = &'a dyn Fn(&str) -> Result<String, String>;

impl Scenario {
    /// Reads a scenario. `files` gives the text of files it refers to, by the path as written in it.
    pub fn parse(name: &str, source: &str, files: Files<'_>) -> Result<Scenario, Problems> {
        let table = crate::config::diagnostic::read::<table::ScenarioTable>(source)?;
        let hash = Sha256::digest(source.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        build::build(name, table, hash, files)
    }

    /// The seed of a replication.
    pub fn replication_seed(&self, replication: u32) -> u64 {
        Keyed::new(self.seed, "replication").at(u64::from(replication)).bits()
    }

    /// A smaller form for a first look: two replications, and a fifth of the span where no timeline forbids it.
    pub fn quick(&mut self) {
        self.replications = self.replications.min(2);
        if self.model.faults.is_empty() && self.kind == Kind::Steady {
            self.model.duration = Nanos(self.model.duration.0 / 5);
        }
    }
}
