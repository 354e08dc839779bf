//! Strategies as text: in a scenario or a proxy's config, and on a command line.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{CATALOGUE, Row, StrategyConfig, find, no_strategy, suggestion};

/// Reads a strategy as on a command line or in a table of results: a name, or a label with parameters such as
/// `p2c(choices=3)`. The error is a sentence, with help on a line of its own.
pub fn parse(text: &str) -> Result<StrategyConfig, String> {
    let text = text.trim();
    let (name, parameters) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => {
            let inner = rest.strip_suffix(')').ok_or_else(|| {
                format!("`{text}` has no closing bracket\n  help: write it as `p2c(choices=3)`, in quotation marks")
            })?;
            (name.trim(), Some(inner))
        }
    };
    let row = find(name).ok_or_else(|| format!("{}\n  help: {}", no_strategy(name), suggestion(name, true)))?;
    let Some(parameters) = parameters else { return Ok((row.default)()) };
    let mut pairs = Vec::new();
    for pair in split(parameters) {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            format!("`{pair}` in `{text}` is no parameter\n  help: write it as {}(parameter=value)", row.name)
        })?;
        pairs.push((key.trim().to_owned(), value.trim()));
    }
    // Labels have texts without quotation marks: `5s` is one, `3` and `true` are not.
    let literal = |value: &str| {
        let read = toml::from_str::<toml::Table>(&format!("value = {value}"));
        read.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| toml::Value::String(value.to_owned()))
    };
    let inner: toml::Table = pairs.iter().map(|(key, value)| (key.clone(), literal(value))).collect();
    // As text: a program that also reads files needs one reader of strategies then, and not two.
    #[derive(Deserialize)]
    struct Written {
        strategy: Strategy,
    }
    let outer = toml::Table::from_iter([(row.name.to_owned(), toml::Value::Table(inner))]);
    let read = toml::from_str::<Written>(&format!("strategy = {}", toml::Value::Table(outer)));
    read.map(|written| written.strategy.0).map_err(|error| {
        let known: Vec<String> = (row.default)().parameters().keys().cloned().collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("`{text}`: {}\n  help: parameters of {} are: {known}", error.message().trim(), row.name)
    })
}

/// Splits a list at its commas, except those inside brackets.
pub fn split(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth <= 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

impl StrategyConfig {
    /// Its parameters by name, as they are written in a file; empty for a custom strategy.
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

/// A [`StrategyConfig`] as written in a file: `"p2c"` for the defaults, or `{ p2c = { choices = 3 } }`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Strategy(pub StrategyConfig);

impl JsonSchema for Strategy {
    fn schema_name() -> Cow<'static, str> {
        "Strategy".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let title =
            |row: &Row| format!("{}.{}", row.doc.title, if row.doc.oracle() { " Not for the proxy." } else { "" });
        let mut forms: Vec<Schema> =
            CATALOGUE.iter().map(|row| json_schema!({ "description": title(row), "const": row.name })).collect();
        forms.extend(CATALOGUE.iter().map(|row| (row, (row.schema)(generator))).map(|(row, parameters)| {
            json_schema!({
                "description": title(row),
                "type": "object",
                "properties": { row.name: parameters },
                "required": [row.name],
                "additionalProperties": false,
            })
        }));
        let others = CATALOGUE.iter().filter(|row| !row.doc.oracle()).flat_map(|row| row.doc.other_names());
        forms.push(json_schema!({
            "description": "What other balancers call one of these.",
            "enum": others.collect::<Vec<_>>(),
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
                let row = find(name).ok_or_else(|| E::custom(no_strategy(name)))?;
                Ok(Strategy((row.default)()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strategy, A::Error> {
                let one = "a strategy's table has one key, its name: { p2c = { choices = 3 } }";
                let row = map.next_key_seed(Name)?.ok_or_else(|| de::Error::custom(one))?;
                let table = StrategyConfig::with_parameters(row.name, &mut map)?;
                if map.next_key::<de::IgnoredAny>()?.is_some() {
                    return Err(de::Error::custom(one));
                }
                table.check().map_err(de::Error::custom)?;
                Ok(Strategy(table))
            }
        }
        /// A key that names a strategy.
        struct Name;
        impl<'de> de::DeserializeSeed<'de> for Name {
            type Value = &'static Row;
            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<&'static Row, D::Error> {
                let name = Cow::<str>::deserialize(from)?;
                find(&name).ok_or_else(|| de::Error::custom(no_strategy(&name)))
            }
        }
        from.deserialize_any(StrategyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_are_printed() {
        let with =
            |text: &str| toml::from_str::<std::collections::BTreeMap<String, Strategy>>(text).unwrap()["s"].0.clone();
        assert_eq!(parse("p2c(choices=3)").unwrap(), with("s = { p2c = { choices = 3 } }"));
        assert_eq!(
            parse(" random_two ( choices = 3, replacement=true )").unwrap(),
            with("s = { p2c = { choices = 3, replacement = true } }")
        );
        assert_eq!(parse("least_conn").unwrap(), with("s = \"least_request\""));
        assert_eq!(with("s = { least_conn = { ties = \"turn\" } }").name(), "least_request");
        assert_eq!(split("p2c(choices=3,replacement=true), random,"), ["p2c(choices=3,replacement=true)", "random"]);
        for (wrong, message) in [
            ("p2c(choices=3", "closing bracket"),
            ("p2c(3)", "is no parameter"),
            ("p2c(choice=3)", "parameters of p2c are: caddy_tie_bug, choices"),
            ("p2c(choices=99)", "from 1 to 16"),
            ("p3c(choices=3)", "did you mean `p2c`?"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(message), "{wrong}: {error}");
        }
    }
}
