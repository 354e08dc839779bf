//! JSON schemas of scenarios and of the proxy's config, generated from the tables that read them: an editor completes keys and
//! shows their meaning and default. Conditions on more than one key (does that pool exist?) are for `--check`.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::proxy::ProxyTable;
use evenkeel_core::select::catalog::CATALOGUE;

/// The schema of the proxy's config.
pub fn proxy() -> Value {
    let mut schema = of::<ProxyTable>("A config of evenkeel proxy");
    // Oracles need information that only the simulator has.
    let oracle = |form: &Value| {
        let mut names = CATALOGUE.iter().filter(|row| row.doc.oracle()).map(|row| row.name);
        names.any(|name| form["const"] == name || form["properties"].get(name).is_some())
    };
    if let Some(forms) = schema["definitions"]["Strategy"]["oneOf"].as_array_mut() {
        forms.retain(|form| !oracle(form));
    }
    schema
}

/// The schema of a table, in the draft that TOML editors support.
pub fn of<T: JsonSchema>(title: &str) -> Value {
    let mut schema = Value::from(SchemaSettings::draft07().into_generator().into_root_schema_for::<T>());
    tidy(&mut schema);
    schema["title"] = title.into();
    schema
}

/// [`of`] a type, cached in each thread: files may be read by the thousand.
pub fn cached<T: JsonSchema + 'static>() -> Rc<Value> {
    thread_local! {
        static MADE: RefCell<BTreeMap<TypeId, Rc<Value>>> = const { RefCell::new(BTreeMap::new()) };
    }
    MADE.with_borrow_mut(|made| Rc::clone(made.entry(TypeId::of::<T>()).or_insert_with(|| Rc::new(of::<T>("")))))
}

/// Removes nulls, which TOML does not have, and formats such as `uint32`, which no editor supports.
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
                    // Keep the rest: keys beside a reference are ignored in this draft.
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
