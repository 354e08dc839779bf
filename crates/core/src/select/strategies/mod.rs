//! The strategies: one file each, and one row each in the list at the end of this file.
//!
//! A row is `module::Variant`. It declares the module, whose name is the strategy's name, and generates the variant of
//! [`StrategyConfig`] and the entry in [`CATALOGUE`]. The command line, the scenario language, the documentation and the
//! tests use that entry. The module defines `Params` (which implements [`super::catalog::Params`]) and `DOC`. Rows are
//! grouped by [`super::catalog::Family`].

use super::catalog::{Params, Row};
use super::custom::CustomStrategy;
use super::{Selector, Signals};
use crate::rng::Rng;

macro_rules! strategies {
    ($($module:ident::$variant:ident)*) => {
        $(pub mod $module;)*

        /// A strategy with its parameters.
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
        pub enum StrategyConfig {
            $(#[doc = concat!("`", stringify!($module), "`: [`", stringify!($module), "`].")] $variant($module::Params),)*
            /// A strategy that is not in the catalogue. It exists only in memory: no file can name it.
            #[cfg_attr(feature = "config", serde(skip_deserializing))]
            Custom(CustomStrategy),
        }

        /// Every strategy of this crate, grouped by family.
        pub const CATALOGUE: &[Row] = &[
            $(Row {
                name: stringify!($module),
                doc: &$module::DOC,
                signals: <$module::Params as Params>::SIGNALS,
                limits: <$module::Params as Params>::LIMITS,
                default: || StrategyConfig::$variant(Default::default()),
                #[cfg(feature = "config")]
                schema: <$module::Params as schemars::JsonSchema>::json_schema,
            },)*
        ];

        $(impl From<$module::Params> for StrategyConfig {
            fn from(params: $module::Params) -> StrategyConfig {
                StrategyConfig::$variant(params)
            }
        })*

        impl StrategyConfig {
            /// The strategy's name: that of its row in [`CATALOGUE`], or the name of a custom strategy.
            pub fn name(&self) -> &'static str {
                match self {
                    $(StrategyConfig::$variant(_) => stringify!($module),)*
                    StrategyConfig::Custom(custom) => custom.name(),
                }
            }

            /// Checks the ranges of the parameters. The error is a sentence that names the parameter.
            pub fn check(&self) -> Result<(), String> {
                match self {
                    $(StrategyConfig::$variant(params) => params.check(),)*
                    StrategyConfig::Custom(_) => Ok(()),
                }
            }

            /// A new selector with these parameters. `rng` serves draws that are made once, such as a random start.
            pub fn build(&self, rng: &mut Rng) -> Box<dyn Selector> {
                match self {
                    $(StrategyConfig::$variant(params) => params.build(rng),)*
                    StrategyConfig::Custom(custom) => custom.build(rng),
                }
            }

            /// What the strategy needs servers to send or answer.
            pub fn signals(&self) -> Signals {
                match self {
                    $(StrategyConfig::$variant(_) => <$module::Params as Params>::SIGNALS,)*
                    StrategyConfig::Custom(custom) => custom.signals(),
                }
            }

            /// Whether the strategy limits the requests at a server ([`Selector::limit`]).
            pub fn limits(&self) -> bool {
                match self {
                    $(StrategyConfig::$variant(_) => <$module::Params as Params>::LIMITS,)*
                    StrategyConfig::Custom(custom) => custom.limits(),
                }
            }

            /// Whether the strategy uses an index of the servers by requests in flight per weight: the host then tells its
            /// fleet to keep one ([`crate::fleet::Fleet::keep_load_index`]).
            pub fn uses_load_index(&self) -> bool {
                match self {
                    $(StrategyConfig::$variant(_) => <$module::Params as Params>::LOAD_INDEX,)*
                    StrategyConfig::Custom(_) => false,
                }
            }

            /// Reads the parameters of the strategy `name`, which are the next value of a map.
            #[cfg(feature = "config")]
            pub(super) fn with_parameters<'de, A: serde::de::MapAccess<'de>>(
                name: &str,
                map: &mut A,
            ) -> Result<StrategyConfig, A::Error> {
                match name {
                    $(stringify!($module) => Ok(StrategyConfig::$variant(map.next_value()?)),)*
                    other => Err(serde::de::Error::custom(super::catalog::no_strategy(other))),
                }
            }
        }
    };
}

strategies! {
    random::Random
    weighted_random::WeightedRandom
    round_robin::RoundRobin
    weighted_round_robin::WeightedRoundRobin
    edf::Edf
    static_stride::StaticStride
    interleaved_weighted_round_robin::InterleavedWeightedRoundRobin
    expanded_round_robin::ExpandedRoundRobin
    least_request::LeastRequest
    p2c::P2c
    weighted_least_request::WeightedLeastRequest
    shortest_expected_delay::ShortestExpectedDelay
    never_queue::NeverQueue
    first_fit::FirstFit
    late_binding::LateBinding
    cost_aware_least_request::CostAwareLeastRequest
    peak_ewma::PeakEwma
    least_time::LeastTime
    least_time_window::LeastTimeWindow
    weighted_response_time::WeightedResponseTime
    load_report::LoadReport
    client_side_weighted_round_robin::ClientSideWeightedRoundRobin
    join_idle_queue::JoinIdleQueue
    prequal::Prequal
    prequal_synchronous::PrequalSynchronous
    c3::C3
    staleness_aware::StalenessAware
    ip_hash::IpHash
    modulo_hash::ModuloHash
    consistent_hash::ConsistentHash
    maglev::Maglev
    rendezvous::Rendezvous
    jump::Jump
    multi_probe::MultiProbe
    dx_hash::DxHash
    bounded_load::BoundedLoad
    hash_subset::HashSubset
    oracle_least_work::OracleLeastWork
    oracle_shortest_queue::OracleShortestQueue
}
