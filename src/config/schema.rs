//! JSON schemas of the files that people write, made from the tables that read them: an editor completes keys and shows
//! what they mean and what they are unless given. What depends on more than one key (does that pool exist?) is for
//! `--check`.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::proxy::ProxyTable;

/// The schema of the proxy's config.
pub fn proxy() -> Value {
    of::<ProxyTable>("A config of evenkeel proxy")
}

/// The schema of a table, in the draft that editors of TOML know.
pub fn of<T: JsonSchema>(title: &str) -> Value {
    let mut schema = Value::from(SchemaSettings::draft07().into_generator().into_root_schema_for::<T>());
    tidy(&mut schema);
    schema["title"] = title.into();
    schema
}

/// TOML has no null, and formats such as `uint32` are nobody else's.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|key, value| match key.as_str() {
                "default" => !value.is_null(),
                "format" => !value.is_string(),
                _ => true,
            });
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|of| of != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(forms)) = object.get_mut("anyOf") {
                forms.retain(|form| form.get("type").is_none_or(|of| of != "null"));
                if let [only] = forms.as_slice() {
                    // Not in place of the rest: what stands beside a reference does not count in this draft.
                    let only = only.clone();
                    object.remove("anyOf");
                    object.insert("allOf".to_owned(), Value::Array(vec![only]));
                }
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(values) => values.iter_mut().for_each(tidy),
        _ => {}
    }
}
