//! Scenario files: a question, an experiment, and assertions.
//!
//! [`Scenario::parse`] reads TOML into tables, checks every name and number, and gives a [`crate::sim::model::Model`] with
//! the strategies to compare and the expectations to verify. It opens no file itself: it reads the files that a scenario
//! refers to through a function of the caller.

pub mod acts_file;
mod build;
pub mod expect;
pub mod import;
pub mod overrides;
mod strategy_list;
mod table;
pub mod workload_file;

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::sim::Setup;
use crate::sim::act::{ActError, TimedAct};
use crate::sim::model::{Arrivals, Model};
use evenkeel_config::Problems;
use evenkeel_config::pool::PoolTable;
use evenkeel_core::policy::routes::Routes;
use evenkeel_core::rng::{Keyed, Source};
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::units::{Nanos, hex};
use expect::Expect;

/// A strategy in a scenario's comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Its name in tables, charts and expectations: the catalogue's name with the parameters that differ from the defaults,
    /// or the name that the scenario gave it.
    pub label: String,
    /// The strategy with its parameters.
    pub table: StrategyConfig,
    /// Name of its random stream: empty for the default stream, or the variant's name where the scenario gave it one. Two
    /// variants with the same strategy and different names get the same requests and independent selector streams.
    pub stream_name: String,
}

impl Variant {
    /// Labels a strategy.
    pub fn new(table: StrategyConfig) -> Variant {
        let difference = table.row().map_or_else(Vec::new, |row| differences(&table, &(row.default)()));
        let name = table.name();
        let label = if difference.is_empty() { name.to_owned() } else { format!("{name}({})", difference.join(",")) };
        Variant { label, table, stream_name: String::new() }
    }

    /// A strategy under a name from the scenario.
    pub fn named(name: &str, table: StrategyConfig) -> Variant {
        Variant { label: name.to_owned(), table, stream_name: name.to_owned() }
    }
}

/// `parameter=value` for each parameter that is not at its default.
fn differences(table: &StrategyConfig, default: &StrategyConfig) -> Vec<String> {
    let defaults = default.parameters();
    let differs = |(key, value): (String, toml::Value)| {
        (defaults.get(&key) != Some(&value)).then(|| match value {
            toml::Value::String(text) => format!("{key}={text}"),
            other => format!("{key}={other}"),
        })
    };
    table.parameters().into_iter().filter_map(differs).collect()
}

/// Whether a run measures a steady state or one course of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Steady state: the same conditions throughout, after a warm-up that is not measured.
    #[default]
    Steady,
    /// One course of events, such as a failure drill: every request is measured, from the first to the last.
    Terminating,
}

/// A scenario, ready to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The name of its file without the ending, and of the folder of its results.
    pub name: String,
    /// Title, one line.
    pub title: String,
    /// The question in prose; does not reveal the answer.
    pub question: String,
    /// The findings in prose; `None` where the file has none.
    pub answer: Option<String>,
    /// Steady state or one course of events.
    pub kind: Kind,
    /// The experiment.
    pub model: Model,
    /// Whether a pilot run must still find the warm-up; until [`Scenario::settle`] the model has none.
    pub auto_warmup: bool,
    /// The same for the warm-up of caches.
    pub auto_cache_warmup: bool,
    /// The strategies to compare.
    pub variants: Vec<Variant>,
    /// Runs per strategy, each with a seed of its own.
    pub replications: u32,
    /// Seed from which the replications' seeds are derived.
    pub seed: u64,
    /// The assertions that `evenkeel check` verifies.
    pub expects: Vec<Expect>,
    /// Axes of the scenario's sweep; empty without one.
    pub sweep: Vec<overrides::Axis>,
    /// Settings of its sensitivity analysis; `None` without one.
    pub sensitivity: Option<overrides::Sensitivity>,
    /// Notes for a reader of the results.
    pub notes: Vec<String>,
    /// Differences where a strategy is named by another product's name for a similar algorithm.
    pub remarks: Vec<String>,
    /// SHA-256 of the file's text and of the files it refers to, in hexadecimal.
    pub hash: String,
    /// The traffic of each pool.
    pub demand: Vec<PoolDemand>,
    /// Warnings: valid parts of the file whose effect differs from what they suggest.
    pub warnings: Problems,
    /// Why it can only run over sockets and not in the simulator; `None` if it can be simulated.
    pub refusals: Problems,
    /// Offered work over capacity of the fullest entry pool, without cache hits; `None` where arrivals depend on responses.
    pub offered_load: Option<f64>,
    /// The pool tables as they are written, in the order of the model's pools.
    pub pools: Vec<PoolTable>,
    /// Which paths go to which pool, by its index.
    pub routes: Routes,
    /// The acts that have been added to the model, in the order of their times.
    pub acts: Vec<TimedAct>,
}

/// The traffic of one pool, without cache hits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolDemand {
    /// Share of all requests that it receives; calls to a second tier that a cache may avoid are left out.
    pub share: f64,
    /// Mean work per request of the whole scenario, seconds: `share` times the mean work of a request of this pool.
    pub work: f64,
    /// Squared coefficient of variation of the work of a request of this pool.
    pub scv: f64,
    /// Capacity of its servers, work in seconds per second.
    pub capacity: f64,
    /// Requests per second, to all pools; `None` where only a run shows it.
    pub rate: Option<f64>,
}

/// Reads a file that a scenario refers to.
pub type Files<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// The JSON schema of scenario files.
pub fn schema() -> serde_json::Value {
    evenkeel_config::schema::of::<table::ScenarioTable>("A scenario of evenkeel")
}

impl Scenario {
    /// Reads a scenario. `files` returns the text of the files it refers to, by the path as written in it.
    pub fn parse(name: &str, source: &str, files: Files<'_>) -> Result<Scenario, Problems> {
        let table = evenkeel_config::diagnostic::read::<table::ScenarioTable>(source)?;
        let hasher = std::cell::RefCell::new(Sha256::new_with_prefix(source.as_bytes()));
        let read = |file: &str| {
            let text = files(file)?;
            hasher.borrow_mut().update(text.as_bytes());
            Ok(text)
        };
        let mut scenario = build::build(name, source, table, &read)?;
        scenario.hash = hex(&hasher.into_inner().finalize());
        Ok(scenario)
    }

    /// Adds a strategy to the comparison, of the catalogue or a custom one ([`evenkeel_core::select::CustomStrategy`]);
    /// returns its index among the variants.
    pub fn add_strategy(&mut self, strategy: impl Into<StrategyConfig>) -> usize {
        self.variants.push(Variant::new(strategy.into()));
        self.variants.len() - 1
    }

    /// Adds the acts of a log, ascending in time.
    ///
    /// # Errors
    /// What is wrong with the first act that is refused, and its index. The acts before it have been added.
    pub fn add_acts(&mut self, acts: &[TimedAct]) -> Result<(), (usize, ActError)> {
        for (index, act) in acts.iter().enumerate() {
            self.model.add_act(act).map_err(|error| (index, error))?;
            self.acts.push(act.clone());
        }
        Ok(())
    }

    /// The setup of one run: a variant and a replication.
    pub fn setup(&self, variant: usize, replication: u32) -> Setup<'_> {
        let Variant { table, stream_name, .. } = &self.variants[variant];
        Setup { model: &self.model, strategy: table, seed: self.replication_seed(replication), stream_name }
    }

    /// Whether a pilot run is needed before the scenario can be run.
    pub fn needs_pilot(&self) -> bool {
        self.auto_warmup || self.auto_cache_warmup
    }

    /// The pilot: the same experiment, measured from its first request, with a few replications.
    pub fn pilot(&self) -> Scenario {
        let mut pilot = self.clone();
        (pilot.model.warmup, pilot.model.cache_warmup) = (Nanos::ZERO, Nanos::ZERO);
        pilot.model.batches = 0;
        pilot.replications = self.replications.clamp(1, 5);
        (pilot.auto_warmup, pilot.auto_cache_warmup) = (false, false);
        pilot
    }

    /// Sets the warm-ups that a pilot found for latencies and caches.
    pub fn settle(&mut self, latency: Nanos, cache: Nanos) {
        if self.auto_warmup {
            self.model.warmup = latency;
        }
        self.model.cache_warmup = if self.auto_cache_warmup { cache } else { self.model.cache_warmup };
        self.model.cache_warmup = self.model.cache_warmup.max(self.model.warmup);
        (self.auto_warmup, self.auto_cache_warmup) = (false, false);
    }

    /// Makes it one long run, cut into this many batches: `replications` times as long, so that it has as many requests.
    pub fn in_batches(&mut self, batches: u32) {
        self.model.duration = Nanos(self.model.duration.0.saturating_mul(u64::from(self.replications)));
        self.model.batches = batches;
        self.replications = 1;
    }

    /// Shares large data with `other` where it is equal: addresses and shares of clients, key popularities, and recorded
    /// requests.
    pub fn share(&mut self, other: &Scenario) {
        let (mine, other) = (&mut self.model, &other.model);
        if mine.clients.addresses == other.clients.addresses {
            mine.clients.addresses = Arc::clone(&other.clients.addresses);
        }
        if mine.clients.mix == other.clients.mix {
            mine.clients.mix = other.clients.mix.clone();
        }
        for (mine, other) in mine.paths.iter_mut().zip(&other.paths) {
            if mine.keys == other.keys {
                mine.keys = other.keys.clone();
            }
        }
        if let (Arrivals::Replay(mine), Arrivals::Replay(other)) = (&mut mine.arrivals, &other.arrivals)
            && mine.clients == other.clients
            && mine.entries == other.entries
        {
            (mine.clients, mine.entries) = (Arc::clone(&other.clients), Arc::clone(&other.entries));
        }
    }

    /// The seed of a replication.
    pub fn replication_seed(&self, replication: u32) -> u64 {
        Keyed::new(self.seed, "replication").at(u64::from(replication)).bits()
    }

    /// A shorter form for a first look: at most five replications, the fewest that can distinguish strategies. Without a
    /// timeline the measured span is shorter, too: all together take as long as two with a fifth of it. The warm-up is
    /// unchanged, and at least a twentieth of the span is measured.
    pub fn quick(&mut self) {
        const RUNS: u32 = 5;
        self.replications = self.replications.min(RUNS);
        let fixed = !self.model.faults.is_empty() || !self.model.load_changes.is_empty();
        if !fixed && self.kind == Kind::Steady {
            let (span, warmup) = (self.model.duration.0, self.model.warmup.max(self.model.cache_warmup).0);
            let each = (warmup + span / 5) / u64::from(RUNS) * 2;
            self.model.duration = Nanos(each.saturating_sub(warmup).max(span / 20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(extra: &str) -> Scenario {
        let source = format!(
            "title = \"t\"\nquestion = \"q\"\n{extra}\nstrategies = [\"random\"]\n\
             arrivals = {{ poisson = {{ load = \"50%\" }} }}\nservice = {{ constant = {{ value = \"1ms\" }} }}\n\
             [[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\n"
        );
        Scenario::parse("s", &source, &|file| Err(file.to_owned())).unwrap()
    }

    /// By hand: two runs over a fifth of 200 s after 10 s are 2 (10 + 40) = 100 s, five of 20 s, 10 of them measured. After 60 s
    /// they are 200 s, which five warm-ups alone exceed: a twentieth of the span is measured then.
    #[test]
    fn quick_has_five_short_runs_with_full_warm_ups() {
        for (extra, runs, warmup, measured) in [
            ("duration = \"200s\"\nwarmup = \"10s\"", 5, 10, 10),
            ("duration = \"200s\"\nwarmup = \"60s\"", 5, 60, 10),
            ("duration = \"200s\"\nwarmup = \"10s\"\nreplications = 3", 3, 10, 10),
            ("duration = \"90s\"\nkind = \"terminating\"", 5, 0, 90),
        ] {
            let mut scenario = scenario(extra);
            scenario.quick();
            let secs = Nanos::from_secs;
            let model = &scenario.model;
            assert_eq!(
                (scenario.replications, model.warmup, model.duration),
                (runs, secs(warmup), secs(measured)),
                "{extra}"
            );
        }
    }
}
