//! Parameters as the documentation shows them: names, defaults and meanings, from the doc comments in the code.

use std::fmt;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::Row;

/// A parameter of a strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// The key in a scenario or a proxy's config.
    pub name: String,
    /// The default, as it is written there.
    pub default: toml::Value,
    /// Its meaning, unit and range: the doc comment of the field, on one line.
    pub text: String,
    /// The values it can take and what each means; empty unless it is a choice among names.
    pub values: Vec<(String, String)>,
}

impl Row {
    /// The strategy's parameters, in the order of the fields.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut generator = SchemaGenerator::new(SchemaSettings::draft07().with(|with| with.inline_subschemas = true));
        let schema = serde_json::Value::from((self.schema)(&mut generator));
        let defaults = (self.default)().parameters();
        let text = |of: &serde_json::Value| {
            let lines = of["description"].as_str().unwrap_or_default().lines();
            lines.map(str::trim).collect::<Vec<_>>().join(" ")
        };
        let value = |form: &serde_json::Value| Some((form["const"].as_str()?.to_owned(), text(form)));
        let fields = schema["properties"].as_object().into_iter().flatten();
        let mut parameters: Vec<Parameter> = fields
            .filter_map(|(name, field)| {
                // A reference beside a description is wrapped in `allOf`.
                let forms = field["oneOf"].as_array().or_else(|| field["allOf"][0]["oneOf"].as_array());
                Some(Parameter {
                    name: name.clone(),
                    default: defaults.get(name)?.clone(),
                    text: text(field),
                    values: forms.into_iter().flatten().filter_map(value).collect(),
                })
            })
            .collect();
        let order = self.parameter_names();
        parameters.sort_by_key(|parameter| order.iter().position(|name| *name == parameter.name));
        parameters
    }

    /// Names in the order of the fields. Maps sort their keys; the text of a serialised value does not.
    fn parameter_names(&self) -> Vec<String> {
        let text = serde_json::to_string(&(self.default)()).unwrap_or_default();
        let read = serde_json::from_str::<std::collections::BTreeMap<String, Keys>>(&text);
        read.ok().and_then(|map| map.into_values().next()).map(|keys| keys.0).unwrap_or_default()
    }
}

/// The keys of a map in their order.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Keys, D::Error> {
        struct KeysVisitor;
        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        from.deserialize_map(KeysVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CATALOGUE, find};

    #[test]
    fn every_parameter_is_described_and_has_a_default() {
        for row in CATALOGUE {
            let described = row.parameters();
            let defaults = (row.default)().parameters();
            assert_eq!(described.len(), defaults.len(), "{}", row.name);
            for parameter in described {
                let name = format!("{}.{}", row.name, parameter.name);
                assert_eq!(defaults.get(&parameter.name), Some(&parameter.default), "{name}");
                assert!(parameter.text.len() > 20 && parameter.text.ends_with('.'), "{name}: {:?}", parameter.text);
                assert!(parameter.values.iter().all(|(_, text)| !text.is_empty()), "{name}: {:?}", parameter.values);
                if !parameter.values.is_empty() {
                    let default = parameter.default.as_str();
                    assert!(parameter.values.iter().any(|(value, _)| Some(value.as_str()) == default), "{name}");
                }
            }
        }
    }

    #[test]
    fn choices_among_names_are_listed() {
        let parameters = find("p2c").unwrap().parameters();
        let ties = parameters.iter().find(|parameter| parameter.name == "ties").unwrap();
        let values: Vec<&str> = ties.values.iter().map(|(value, _)| value.as_str()).collect();
        assert_eq!(values, ["first", "second", "random", "lower_rate"]);
    }
}
