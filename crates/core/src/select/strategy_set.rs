//! Named sets of strategies: `core` and `all`, accepted wherever a list of strategies is.

use super::catalog::{CATALOGUE, Row};

/// A named set of strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategySet {
    /// [`CORE`]: the strategies that most users choose between.
    Core,
    /// The whole catalogue.
    All,
}

/// The strategies of `core`: the defaults of nginx, HAProxy, Envoy, gRPC and Linkerd, one or two of each family, and the
/// baseline that the regret is relative to.
pub const CORE: [&str; 12] = [
    "random",
    "round_robin",
    "weighted_round_robin",
    "least_request",
    "p2c",
    "peak_ewma",
    "least_time",
    "client_side_weighted_round_robin",
    "prequal",
    "consistent_hash",
    "bounded_load",
    "oracle_least_work",
];

impl StrategySet {
    /// All sets: `core` and `all`.
    pub const ALL: [StrategySet; 2] = [StrategySet::Core, StrategySet::All];

    /// The set of this name.
    pub fn find(name: &str) -> Option<StrategySet> {
        StrategySet::ALL.into_iter().find(|set| set.as_str() == name)
    }

    /// Its name: `core` or `all`.
    pub fn as_str(self) -> &'static str {
        match self {
            StrategySet::Core => "core",
            StrategySet::All => "all",
        }
    }

    /// Its strategies, in the order of the catalogue.
    pub fn rows(self) -> impl Iterator<Item = &'static Row> {
        CATALOGUE.iter().filter(move |row| self == StrategySet::All || CORE.contains(&row.name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog;
    use super::*;

    #[test]
    fn sets_contain_the_named_strategies() {
        let core: Vec<&str> = StrategySet::Core.rows().map(|row| row.name).collect();
        assert_eq!(core.len(), CORE.len(), "{core:?} lacks one of {CORE:?}");
        assert_eq!(StrategySet::All.rows().count(), CATALOGUE.len());
        for set in StrategySet::ALL {
            assert_eq!(StrategySet::find(set.as_str()), Some(set));
            assert!(catalog::find(set.as_str()).is_none(), "a strategy has the name of the set {}", set.as_str());
        }
        assert_eq!(StrategySet::find("p2c"), None);
    }
}
