//! The `strategies` key of a scenario: `"core"`, `"all"`, or a list.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor, value::SeqAccessDeserializer};

use evenkeel_config::Spanned;
use evenkeel_core::select::catalog::Strategy;
use evenkeel_core::select::strategy_set::StrategySet;

/// The strategies that a scenario compares, as written.
#[derive(Debug)]
pub enum StrategyList {
    /// A named set.
    Set(StrategySet),
    /// Listed one by one.
    Listed(Vec<Spanned<Strategy>>),
}

impl StrategyList {
    /// The strategies that are listed one by one.
    pub fn listed(&self) -> &[Spanned<Strategy>] {
        match self {
            StrategyList::Set(_) => &[],
            StrategyList::Listed(listed) => listed,
        }
    }
}

impl JsonSchema for StrategyList {
    fn schema_name() -> Cow<'static, str> {
        "StrategyList".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let sets: Vec<&str> = StrategySet::ALL.into_iter().map(StrategySet::as_str).collect();
        let list = generator.subschema_for::<Vec<Strategy>>();
        json_schema!({
            "description": "A list of strategies, \"core\" (a dozen that most people choose between), or \"all\".",
            "anyOf": [list, { "enum": sets }],
        })
    }
}

impl<'de> Deserialize<'de> for StrategyList {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<StrategyList, D::Error> {
        struct ListVisitor;
        impl<'de> Visitor<'de> for ListVisitor {
            type Value = StrategyList;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strategies, \"core\", or \"all\"")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<StrategyList, E> {
                StrategySet::find(name).map(StrategyList::Set).ok_or_else(|| {
                    E::custom(format!(
                        "there is no set of strategies `{name}`: write \"core\", \"all\", or a list such as [\"random\", \"p2c\"]"
                    ))
                })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<StrategyList, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(StrategyList::Listed)
            }
        }
        from.deserialize_any(ListVisitor)
    }
}
