//! Changes of a scenario's text that keep its comments and its layout.
//!
//! A key is a path as for `--set`: an element of an array goes by its name, its only key, or its number. A value that is not in
//! the text is inserted.

use evenkeel_sim::scenario::overrides;
use serde::{Deserialize, Serialize};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use crate::Refusal;

/// Changes of a text.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Edit {
    /// TOML.
    pub source: String,
    /// In their order.
    pub changes: Vec<Change>,
}

/// A change of one key.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Change {
    /// Path of the key.
    pub key: String,
    /// TOML; `None` removes the key.
    pub value: Option<String>,
}

/// The changed text.
#[derive(Debug, Serialize)]
pub(crate) struct Edited {
    pub source: String,
}

/// The text with these changes.
pub(crate) fn edit(edit: &Edit) -> Result<Edited, Refusal> {
    let mut source = edit.source.clone();
    for Change { key, value } in &edit.changes {
        source = changed(&source, key, value.as_deref())?;
    }
    Ok(Edited { source })
}

fn changed(source: &str, key: &str, value: Option<&str>) -> Result<String, Refusal> {
    let mut document = parse(source)?;
    let value = value.map(|text| parsed(key, text)).transpose()?;
    // A value in place of a value: nothing else of the text changes, not even a blank.
    if let Some(value) = &value
        && let Ok(span) = overrides::find(source, key)
        && !value.is_inline_table()
        && !value.is_array()
    {
        let mut text = source.to_owned();
        text.replace_range(span, value.to_string().trim());
        return Ok(text);
    }
    let names: Vec<&str> = key.split('.').collect();
    if names.iter().any(|name| name.trim().is_empty()) {
        return Err(Refusal::new(format!("`{key}` is no key")));
    }
    set(Place::Table(document.as_table_mut()), &names, value)
        .map_err(|problem| Refusal::new(format!("`{key}` cannot be set: {problem}")))?;
    Ok(document.to_string())
}

fn parse(source: &str) -> Result<DocumentMut, Refusal> {
    source.parse::<DocumentMut>().map_err(|error| {
        let place = error.span().map(|span| crate::refusal::place(source, span.start));
        let (line, column) = (place.map(|place| place.0), place.map(|place| place.1));
        Refusal { line, column, ..Refusal::new(error.message().trim()) }
    })
}

fn parsed(key: &str, text: &str) -> Result<Value, Refusal> {
    text.trim().parse::<Value>().map_err(|_| {
        Refusal::new(format!("`{text}` is no value for `{key}`")).help("texts need quotation marks: \"250ms\", \"80%\"")
    })
}

/// Something that has keys or elements.
enum Place<'a> {
    Table(&'a mut dyn TableLike),
    Array(&'a mut Array),
    Tables(&'a mut ArrayOfTables),
}

fn set(place: Place<'_>, names: &[&str], value: Option<Value>) -> Result<(), String> {
    match place {
        Place::Table(table) => set_in_table(table, names, value),
        Place::Array(array) => set_in_array(array, names, value),
        Place::Tables(tables) => {
            let (index, rest) =
                element(names, tables.len(), |index| tables.get(index).map(names_of).unwrap_or_default())?;
            match (rest.is_empty(), value) {
                (true, None) => tables.remove(index),
                (true, Some(_)) => return Err("it is a whole table".to_owned()),
                (false, value) => {
                    let table = tables.get_mut(index).ok_or("there is no such element")?;
                    return set_in_table(inner(table, rest), rest, value);
                }
            };
            Ok(())
        }
    }
}

fn set_in_table(table: &mut dyn TableLike, names: &[&str], value: Option<Value>) -> Result<(), String> {
    let [first, rest @ ..] = names else { return Err("the key is empty".to_owned()) };
    if rest.is_empty() {
        match value {
            None => {
                table.remove(first);
            }
            Some(value) => match table.get_mut(first).and_then(Item::as_value_mut) {
                // What stands around the old value stays: blanks, and a comment behind it.
                Some(old) => {
                    let decor = old.decor().clone();
                    *old = value;
                    *old.decor_mut() = decor;
                }
                None => {
                    table.insert(first, Item::Value(value));
                }
            },
        }
        return Ok(());
    }
    if !table.contains_key(first) {
        if value.is_none() {
            return Ok(());
        }
        table.insert(first, Item::Value(Value::InlineTable(InlineTable::new())));
    }
    match table.get_mut(first) {
        Some(Item::Table(inner)) => set(Place::Table(inner), rest, value),
        Some(Item::ArrayOfTables(tables)) => set(Place::Tables(tables), rest, value),
        Some(Item::Value(Value::InlineTable(inner))) => set(Place::Table(inner), rest, value),
        Some(Item::Value(Value::Array(array))) => set(Place::Array(array), rest, value),
        _ => Err(format!("`{first}` is no table")),
    }
}

fn set_in_array(array: &mut Array, names: &[&str], value: Option<Value>) -> Result<(), String> {
    let names_of_value = |value: &Value| match value {
        Value::InlineTable(table) => names_of(table),
        Value::String(text) => vec![text.value().clone()],
        _ => Vec::new(),
    };
    let (index, rest) = element(names, array.len(), |index| array.get(index).map(names_of_value).unwrap_or_default())?;
    match (rest.is_empty(), value) {
        (true, None) => {
            array.remove(index);
        }
        (true, Some(value)) => {
            array.replace(index, value);
        }
        (false, value) => {
            let element = array.get_mut(index).ok_or("there is no such element")?;
            // A name stands for a table with every key at its default.
            if let Value::String(name) = element {
                let mut table = InlineTable::new();
                table.insert(name.value(), Value::InlineTable(InlineTable::new()));
                let decor = name.decor().clone();
                *element = Value::InlineTable(table);
                *element.decor_mut() = decor;
            }
            let table = element.as_inline_table_mut().ok_or("it is no table")?;
            return set_in_table(inner(table, rest), rest, value);
        }
    }
    Ok(())
}

/// The content of a table with one key that is itself a table, as in `{ p2c = { choices = 3 } }`; else the table.
fn inner<'a>(table: &'a mut dyn TableLike, rest: &[&str]) -> &'a mut dyn TableLike {
    let only = match table.len() {
        1 => table.iter().next().map(|(key, _)| key.to_owned()),
        _ => None,
    };
    match only {
        Some(only) if rest.first() != Some(&&*only) && table.get(&only).is_some_and(Item::is_table_like) => {
            table.get_mut(&only).and_then(Item::as_table_like_mut).expect("just seen")
        }
        _ => table,
    }
}

/// The names of an element that is a table.
fn names_of<T: TableLike>(table: &T) -> Vec<String> {
    let named = ["name", "path", "prefix", "target"].iter().find_map(|key| table.get(key)?.as_str());
    let only = (table.len() == 1).then(|| table.iter().next().map(|(key, _)| key.to_owned())).flatten();
    named.map(str::to_owned).or(only).into_iter().collect()
}

/// The element that the first names mean, and the other names. A name may contain dots.
fn element<'n, 'k>(
    names: &'n [&'k str],
    count: usize,
    of: impl Fn(usize) -> Vec<String>,
) -> Result<(usize, &'n [&'k str]), String> {
    for length in (1..=names.len()).rev() {
        let name = names[..length].join(".");
        let number = name.parse::<usize>().ok().filter(|&index| index < count);
        let named = (0..count).find(|&index| of(index).contains(&name));
        if let Some(index) = named.or(number) {
            return Ok((index, &names[length..]));
        }
    }
    Err(format!("there is no element `{}`", names.first().copied().unwrap_or_default()))
}

/// A key's value as it is written, of any kind; `None` where the text does not have it.
pub(crate) fn written(document: &DocumentMut, key: &str) -> Option<String> {
    let item = document.as_table().get(key)?;
    match item {
        Item::Value(value) => Some(value.to_string().trim().to_owned()),
        Item::Table(table) => Some(inline(table).to_string().trim().to_owned()),
        _ => None,
    }
}

fn inline(table: &Table) -> Value {
    Value::InlineTable(table.clone().into_inline_table())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"# first
arrivals = { poisson = { load = "80%" } }   # a comment
strategies = ["random", { p2c = { choices = 2 } }]
service = { exponential = { mean = "10ms" } }

[[pools]]
name = "web"   # the pool
reports = { interval = "1s" }
[[pools.servers]]
name = "a"
speed = 1.5
[[pools.servers]]
name = "b"

[[variants]]
name = "mine"
strategy = "random"
"#;

    fn apply(changes: &[(&str, Option<&str>)]) -> Result<String, Refusal> {
        let changes =
            changes.iter().map(|&(key, value)| Change { key: key.to_owned(), value: value.map(str::to_owned) });
        edit(&Edit { source: SOURCE.to_owned(), changes: changes.collect() }).map(|edited| edited.source)
    }

    fn one(key: &str, value: &str) -> String {
        apply(&[(key, Some(value))]).unwrap_or_else(|refusal| panic!("{key}: {refusal:?}"))
    }

    #[test]
    fn values_change_in_place_and_nothing_else_does() {
        for (key, value, old, new) in [
            ("arrivals.poisson.load", "\"50%\"", "load = \"80%\" } }   # a", "load = \"50%\" } }   # a"),
            ("pools.web.servers.a.speed", "2.0", "speed = 1.5", "speed = 2.0"),
            ("pools.0.servers.0.speed", "2.0", "speed = 1.5", "speed = 2.0"),
            ("variants.mine.strategy", "\"p2c\"", "strategy = \"random\"", "strategy = \"p2c\""),
            ("variants.mine.strategy", "{ p2c = {} }", "strategy = \"random\"", "strategy = { p2c = {} }"),
            ("strategies.p2c.choices", "3", "choices = 2", "choices = 3"),
            ("strategies.random", "\"edf\"", "[\"random\",", "[\"edf\","),
            (
                "service",
                "{ constant = { value = \"10ms\" } }",
                "service = { exponential = { mean = \"10ms\" } }",
                "service = { constant = { value = \"10ms\" } }",
            ),
        ] {
            assert_eq!(one(key, value), SOURCE.replace(old, new), "{key}");
        }
    }

    #[test]
    fn keys_that_are_not_there_are_inserted() {
        for (key, value, at, new) in [
            ("pools.web.servers.b.weight", "3", "name = \"b\"\n", "name = \"b\"\nweight = 3\n"),
            (
                "pools.web.outliers",
                "{ consecutive_failures = 5 }",
                "reports = { interval = \"1s\" }\n",
                "reports = { interval = \"1s\" }\noutliers = { consecutive_failures = 5 }\n",
            ),
            ("pools.web.reports.delay", "\"1s\"", "{ interval = \"1s\" }", "{ interval = \"1s\" , delay = \"1s\" }"),
            (
                "clients.timeout",
                "\"2s\"",
                "service = { exponential = { mean = \"10ms\" } }\n",
                "service = { exponential = { mean = \"10ms\" } }\nclients = { timeout = \"2s\" }\n",
            ),
        ] {
            assert_eq!(one(key, value), SOURCE.replace(at, new), "{key}");
        }
        let source = one("strategies.random.x", "1");
        assert!(source.contains("[{ random = { x = 1 } }, { p2c"), "{source}");
    }

    #[test]
    fn keys_and_elements_are_removed() {
        let source = apply(&[("pools.web.servers.a.speed", None), ("strategies.p2c", None), ("seed", None)]).unwrap();
        assert_eq!(source, SOURCE.replace("speed = 1.5\n", "").replace(", { p2c = { choices = 2 } }", ""));
        let source = apply(&[("pools.web.servers.b", None)]).unwrap();
        assert!(!source.contains("name = \"b\""), "{source}");
    }

    #[test]
    fn what_cannot_be_changed_is_refused() {
        for (key, value) in [
            ("pools.db.servers", "1"),
            ("title.x", "a b"),
            ("", "1"),
            ("arrivals.poisson.load.x", "1"),
            ("pools.web", "1"),
        ] {
            assert!(apply(&[(key, Some(value))]).is_err(), "{key}");
        }
        let broken = Edit { source: "a = \nb".to_owned(), changes: vec![Change { key: "a".to_owned(), value: None }] };
        let refusal = edit(&broken).unwrap_err();
        assert_eq!((refusal.line, refusal.column), (Some(2), Some(2)), "{refusal:?}");
    }
}
