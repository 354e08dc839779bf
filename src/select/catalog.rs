//! The one catalogue: a row per strategy, from which the command line, the docs, the tests and the scenario language
//! all take what they know. A new strategy is a file beside this one and a row in the macro call below.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize};

use super::{Selector, Wants};
use crate::rng::Rng;

/// What a reader must know of a strategy. The text of `evenkeel explain`.
#[derive(Debug)]
pub struct Doc {
    /// The field's name for it, in one line.
    pub title: &'static str,
    /// What it goes by.
    pub family: Family,
    /// What others call it, or something like it: for suggestions, not for files.
    pub aliases: &'static [&'static str],
    /// Whose variant this is: names such as "least connections" mean several algorithms.
    pub variant: &'static str,
    /// What it does and why, for a reader who meets it for the first time.
    pub idea: &'static str,
    /// The rule, as one would write it on a board.
    pub formula: &'static str,
    /// Each parameter's meaning; names and defaults come from the code.
    pub params: &'static [(&'static str, &'static str)],
    /// Paper or system.
    pub source: &'static str,
    /// Time per pick with n backends.
    pub cost: &'static str,
    /// When it disappoints.
    pub fails: &'static str,
    /// The file in `scenarios/` that shows it best.
    pub scenario: &'static str,
    /// The file in `scenarios/` in which it disappoints.
    pub fails_in: &'static str,
    /// Whether weights of the servers are honoured.
    pub weighted: bool,
}

impl Doc {
    /// Whether it needs truths that no balancer has: a baseline, refused by the proxy.
    pub fn oracle(&self) -> bool {
        self.family == Family::Oracle
    }
}

/// What a strategy goes by, in the order in which lists show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// Chance.
    Lot,
    /// Turns, in proportion to weights.
    Turn,
    /// Requests in flight, as the balancer counts them.
    Load,
    /// How long answers took.
    Latency,
    /// What servers say of themselves.
    Report,
    /// What of the request decides where it goes.
    Hash,
    /// Truths that no balancer has.
    Oracle,
}

impl Family {
    /// A heading.
    pub fn title(self) -> &'static str {
        match self {
            Family::Lot => "by lot",
            Family::Turn => "by turns",
            Family::Load => "by requests in flight",
            Family::Latency => "by latency",
            Family::Report => "by what servers report",
            Family::Hash => "by hash",
            Family::Oracle => "oracles",
        }
    }
}

/// What every strategy's parameters can do.
pub trait Params: Default + Serialize {
    /// Refuses values that make no sense, with a sentence that names the parameter.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// A selector with these parameters, knowing nothing yet. `rng` serves draws that are made once, at the start.
    fn build(&self, rng: &mut Rng) -> Box<dyn Selector>;
}

/// A row of the catalogue.
#[derive(Debug)]
pub struct Row {
    /// The name by which files and the command line know it.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static Doc,
    /// It, with every parameter at its default.
    pub default: fn() -> Table,
}

macro_rules! catalogue {
    ($($name:literal $variant:ident $module:ident)*) => {
        /// A strategy with its parameters: the strategy table of a scenario or of the proxy's config.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Table {
            $(#[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $variant(super::$module::Params),)*
        }

        /// Every strategy there is.
        pub const CATALOGUE: &[Row] = &[
            $(Row { name: $name, doc: &super::$module::DOC, default: || Table::$variant(Default::default()) },)*
        ];

        impl Table {
            /// The strategy's name in the catalogue.
            pub fn name(&self) -> &'static str {
                match self { $(Table::$variant(_) => $name,)* }
            }

            /// Refuses parameters that make no sense.
            pub fn check(&self) -> Result<(), String> {
                match self { $(Table::$variant(params) => params.check(),)* }
            }

            /// The schema of each strategy's parameters, in the order of the catalogue.
            fn parameter_schemas(generator: &mut SchemaGenerator) -> Vec<Schema> {
                vec![$(super::$module::Params::json_schema(generator),)*]
            }

            /// A selector at the start of its life.
            pub fn build(&self, rng: &mut Rng) -> Box<dyn Selector> {
                match self { $(Table::$variant(params) => params.build(rng),)* }
            }
        }
    };
}

catalogue! {
    "random" Random random
    "weighted_random" WeightedRandom weighted_random
    "round_robin" RoundRobin round_robin
    "weighted_round_robin" WeightedRoundRobin weighted_round_robin
    "edf" Edf edf
    "static_stride" StaticStride static_stride
    "interleaved_weighted_round_robin" InterleavedWeightedRoundRobin interleaved_weighted_round_robin
    "expanded_round_robin" ExpandedRoundRobin expanded_round_robin
    "least_request" LeastRequest least_request
    "p2c" P2c p2c
    "weighted_least_request" WeightedLeastRequest weighted_least_request
    "shortest_expected_delay" ShortestExpectedDelay shortest_expected_delay
    "never_queue" NeverQueue never_queue
    "first_fit" FirstFit first_fit
    "late_binding" LateBinding late_binding
    "cost_aware_least_request" CostAwareLeastRequest cost_aware_least_request
    "peak_ewma" PeakEwma peak_ewma
    "least_time" LeastTime least_time
    "least_time_window" LeastTimeWindow least_time_window
    "weighted_response_time" WeightedResponseTime weighted_response_time
    "load_report" LoadReport load_report
    "client_side_weighted_round_robin" ClientSideWeightedRoundRobin client_side_weighted_round_robin
    "join_idle_queue" JoinIdleQueue join_idle_queue
    "prequal" Prequal prequal
    "prequal_synchronous" PrequalSynchronous prequal_synchronous
    "c3" C3 c3
    "staleness_aware" StalenessAware staleness_aware
    "ip_hash" IpHash ip_hash
    "modulo_hash" ModuloHash modulo_hash
    "consistent_hash" ConsistentHash consistent_hash
    "maglev" Maglev maglev
    "rendezvous" Rendezvous rendezvous
    "jump" Jump jump
    "multi_probe" MultiProbe multi_probe
    "dx_hash" DxHash dx_hash
    "bounded_load" BoundedLoad bounded_load
    "hash_subset" HashSubset hash_subset
    "oracle_least_work" OracleLeastWork oracle_least_work
    "oracle_shortest_queue" OracleShortestQueue oracle_shortest_queue
}

/// The row with this name.
pub fn find(name: &str) -> Option<&'static Row> {
    CATALOGUE.iter().find(|row| row.name == name)
}

/// The name in the catalogue that `name` was most likely meant to be.
pub fn nearest(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase().replace(['-', ' '], "_");
    if let Some(row) = CATALOGUE.iter().find(|row| row.doc.aliases.contains(&plain.as_str())) {
        return Some(row.name);
    }
    CATALOGUE
        .iter()
        .map(|row| (strsim::jaro_winkler(&plain, row.name), row.name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

impl Table {
    /// The row of this strategy.
    pub fn row(&self) -> &'static Row {
        find(self.name()).expect("the macro makes a row for each variant")
    }

    /// What servers should tell for it ([`Selector::wants`]).
    pub fn wants(&self) -> Wants {
        self.build(&mut Rng::stream(0, "wants", 0)).wants()
    }

    /// Its parameters by name, as one would write them in a file.
    pub fn parameters(&self) -> toml::Table {
        match toml::Value::try_from(self) {
            Ok(toml::Value::Table(outer)) => match outer.into_iter().next() {
                Some((_, toml::Value::Table(inner))) => inner,
                _ => toml::Table::new(),
            },
            _ => toml::Table::new(),
        }
    }
}

/// A [`Table`] as a file gives it: `"p2c"` for the defaults, or `{ p2c = { choices = 3 } }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Strategy(pub Table);

impl JsonSchema for Strategy {
    fn schema_name() -> Cow<'static, str> {
        "Strategy".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let title =
            |row: &Row| format!("{}.{}", row.doc.title, if row.doc.oracle() { " Not for the proxy." } else { "" });
        let mut forms: Vec<Schema> =
            CATALOGUE.iter().map(|row| json_schema!({ "description": title(row), "const": row.name })).collect();
        forms.extend(CATALOGUE.iter().zip(Table::parameter_schemas(generator)).map(|(row, parameters)| {
            json_schema!({
                "description": title(row),
                "type": "object",
                "properties": { row.name: parameters },
                "required": [row.name],
                "additionalProperties": false,
            })
        }));
        json_schema!({ "description": "A strategy by its name, or with parameters.", "oneOf": forms })
    }
}

impl<'de> Deserialize<'de> for Strategy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Strategy, D::Error> {
        struct StrategyVisitor;
        impl<'de> Visitor<'de> for StrategyVisitor {
            type Value = Strategy;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a strategy's name, or a table such as { p2c = { choices = 3 } }")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Strategy, E> {
                match find(name) {
                    Some(row) => Ok(Strategy((row.default)())),
                    None => {
                        // Through the enum, so that the message lists what there is, as for every other unknown name.
                        let error = Table::deserialize(IntoDeserializer::<E>::into_deserializer(name));
                        Err(error.err().unwrap_or_else(|| E::custom("no such strategy")))
                    }
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Strategy, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                table.check().map_err(de::Error::custom)?;
                Ok(Strategy(table))
            }
        }
        from.deserialize_any(StrategyVisitor)
    }
}
