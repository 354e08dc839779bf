//! The catalogue: the description of each strategy, and how strategies are found by name.
//!
//! The list itself is in [`super::strategies`]; a new strategy is a file and a row there.

mod names;
#[cfg(feature = "config")]
mod parameters;
#[cfg(feature = "config")]
mod parse;

#[cfg(feature = "config")]
pub(crate) use names::no_strategy;
#[cfg(feature = "config")]
pub use names::suggestion;
pub use names::{find, remark, remark_on, unknown_name};
#[cfg(feature = "config")]
pub use parameters::Parameter;
#[cfg(feature = "config")]
pub use parse::{Strategy, parse, split};

pub use super::strategies::{CATALOGUE, StrategyConfig};
use super::{Selector, Signals};
use crate::rng::Rng;

/// What `evenkeel explain` and the reference documentation say of a strategy. The parameters are described where they are
/// declared, in the doc comments of the strategy's `Params`; [`Row::parameters`] gives them.
#[derive(Debug)]
pub struct Doc {
    /// The usual name of the algorithm, one line without a full stop.
    pub title: &'static str,
    /// What the choice is based on.
    pub family: Family,
    /// Names that other products and papers have for exactly this algorithm. Accepted wherever a strategy is named.
    pub aliases: &'static [&'static str],
    /// Names of similar algorithms, each with the difference. Accepted as well; the user is then told the difference.
    pub near: &'static [(&'static str, &'static str)],
    /// Which product's or paper's variant this is, and how it deviates. "Least connections" alone means several algorithms.
    pub variant: &'static str,
    /// What it does and why, for a reader who does not know it.
    pub idea: &'static str,
    /// The rule as a formula.
    pub formula: &'static str,
    /// The paper, specification or source file that defines it.
    pub source: &'static str,
    /// Time per pick with n servers, in O notation.
    pub cost: &'static str,
    /// In which conditions it performs badly.
    pub fails: &'static str,
    /// The scenario, a file name in `scenarios/` without `.toml`, that shows its strength.
    pub scenario: &'static str,
    /// The scenario in which it performs badly.
    pub fails_in: &'static str,
    /// Whether it sends traffic in proportion to the servers' configured weights.
    pub weighted: bool,
}

impl Doc {
    /// All other names: `aliases`, then the names in `near`.
    pub fn other_names(&self) -> impl Iterator<Item = &'static str> {
        self.aliases.iter().copied().chain(self.near.iter().map(|(name, _)| *name))
    }

    /// Whether it needs [`super::TrueState`], which only the simulator has. A proxy refuses oracles.
    pub fn oracle(&self) -> bool {
        self.family == Family::Oracle
    }
}

/// What a choice is based on. The order is that of lists and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Randomness alone.
    Random,
    /// A rotation over the servers, in proportion to weights where it has them.
    RoundRobin,
    /// In-flight requests, as this balancer counts them.
    Load,
    /// Latencies that this balancer measured.
    Latency,
    /// Load reports and probe answers of the servers.
    Report,
    /// A hash of the request's key, client address or path.
    Hash,
    /// The true state of the servers, which only the simulator knows. A baseline.
    Oracle,
}

impl Family {
    /// The heading in lists and charts.
    pub fn title(self) -> &'static str {
        match self {
            Family::Random => "random",
            Family::RoundRobin => "round robin",
            Family::Load => "in-flight requests",
            Family::Latency => "latency",
            Family::Report => "load reports",
            Family::Hash => "hashing",
            Family::Oracle => "oracles",
        }
    }
}

/// The parameters of a strategy. Each strategy's module has one type `Params` that implements it.
pub trait Params: Default {
    /// What servers should send or answer. It must not depend on parameters.
    const SIGNALS: Signals = Signals::NONE;

    /// Whether the selector limits the requests at a server: whether [`Selector::limit`] returns `Some` for any.
    const LIMITS: bool = false;

    /// Whether the selector uses the fleet's index of requests in flight per weight, where there is one
    /// ([`crate::fleet::Fleet::keep_load_index`]).
    const LOAD_INDEX: bool = false;

    /// Checks the ranges. The error is a sentence that names the parameter.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// A new selector with these parameters. `rng` serves draws that are made once, such as a random start.
    fn build(&self, rng: &mut Rng) -> Box<dyn Selector>;
}

/// An entry of [`CATALOGUE`].
#[derive(Debug)]
pub struct Row {
    /// The name by which files and the command line know it. It is also the name of its module.
    pub name: &'static str,
    /// Its description for `evenkeel explain` and the reference documentation.
    pub doc: &'static Doc,
    /// What it needs servers to send or answer ([`Params::SIGNALS`]).
    pub signals: Signals,
    /// Whether it limits the requests at a server ([`Params::LIMITS`]).
    pub limits: bool,
    /// The strategy with every parameter at its default.
    pub default: fn() -> StrategyConfig,
    /// The JSON schema of its parameters.
    #[cfg(feature = "config")]
    pub(super) schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

impl StrategyConfig {
    /// The strategy's row; `None` for a custom strategy.
    pub fn row(&self) -> Option<&'static Row> {
        CATALOGUE.iter().find(|row| !matches!(self, StrategyConfig::Custom(_)) && row.name == self.name())
    }

    /// Whether it needs [`super::TrueState`], which only the simulator has.
    pub fn oracle(&self) -> bool {
        match self {
            StrategyConfig::Custom(custom) => custom.oracle(),
            other => other.row().is_some_and(|row| row.doc.oracle()),
        }
    }
}
