//! What differs between two scenarios, leaf by leaf, and the application of changes.
//!
//! A path is written as `--set` takes it: an element of an array goes by its `name` (`path`, `prefix`, `target`), by its only
//! key, or else by its number from 0.

use std::collections::BTreeSet;
use std::fmt;

use toml::{Table, Value};

use super::Change;

/// A value that differs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// The parts of its path.
    pub path: Vec<String>,
    /// The value before; `None` if there was none.
    pub before: Option<Value>,
    /// The value after; `None` if there is none.
    pub after: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.path.join(".");
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{key}: {before} -> {after}"),
            (None, Some(after)) => write!(f, "{key}: added, {after}"),
            (Some(before), None) => write!(f, "{key}: removed, was {before}"),
            (None, None) => write!(f, "{key}"),
        }
    }
}

/// Everything that differs, in order of the paths.
pub(super) fn differences(before: &Table, after: &Table) -> Vec<Difference> {
    let mut found = Vec::new();
    tables(before, after, &[], &mut found);
    found
}

/// Whether a pattern covers a path: each of its parts equals that of the path or is `*`. What is below is covered, too.
pub(super) fn covers(pattern: &str, path: &[String]) -> bool {
    let parts: Vec<&str> = pattern.split('.').collect();
    parts.len() <= path.len() && parts.iter().zip(path).all(|(part, name)| *part == "*" || part == name)
}

fn tables(before: &Table, after: &Table, path: &[String], found: &mut Vec<Difference>) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for key in keys {
        values(before.get(key), after.get(key), &below(path, key), found);
    }
}

fn below(path: &[String], name: &str) -> Vec<String> {
    [path, &[name.to_owned()]].concat()
}

fn values(before: Option<&Value>, after: Option<&Value>, path: &[String], found: &mut Vec<Difference>) {
    let empty = Table::new();
    match (before, after) {
        (Some(Value::Table(before)), Some(Value::Table(after))) => tables(before, after, path, found),
        (None, Some(Value::Table(after))) if !after.is_empty() => tables(&empty, after, path, found),
        (Some(Value::Table(before)), None) if !before.is_empty() => tables(before, &empty, path, found),
        (Some(Value::Array(before)), Some(Value::Array(after))) if before != after => {
            arrays(before, after, path, found)
        }
        (before, after) if before != after => {
            found.push(Difference { path: path.to_vec(), before: before.cloned(), after: after.cloned() });
        }
        _ => {}
    }
}

/// Elements by name, where every name is there once; else by number. Arrays without tables are values, and so is an order.
fn arrays(before: &[Value], after: &[Value], path: &[String], found: &mut Vec<Difference>) {
    let whole = |names: &[String]| Some(Value::from(names.to_vec()));
    if !before.iter().chain(after).any(Value::is_table) {
        let value = |elements: &[Value]| Some(Value::Array(elements.to_vec()));
        return found.push(Difference { path: path.to_vec(), before: value(before), after: value(after) });
    }
    let (old, new) = (names(before), names(after));
    for name in old.iter().chain(new.iter().filter(|name| !old.contains(name))) {
        let element = |names: &[String], elements: &[Value]| {
            names
                .iter()
                .position(|its| its == name)
                .and_then(|i| elements.get(i))
                .map(|element| content(element).clone())
        };
        values(element(&old, before).as_ref(), element(&new, after).as_ref(), &below(path, name), found);
    }
    let kept_old: Vec<String> = old.iter().filter(|name| new.contains(name)).cloned().collect();
    let kept_new: Vec<String> = new.iter().filter(|name| old.contains(name)).cloned().collect();
    if kept_old != kept_new {
        found.push(Difference { path: path.to_vec(), before: whole(&kept_old), after: whole(&kept_new) });
    }
}

/// The names of an array's elements.
fn names(elements: &[Value]) -> Vec<String> {
    let named: Vec<Option<String>> = elements.iter().map(name_of).collect();
    let unique: BTreeSet<&String> = named.iter().flatten().collect();
    let all = unique.len() == elements.len();
    named.into_iter().enumerate().map(|(i, name)| name.filter(|_| all).unwrap_or_else(|| i.to_string())).collect()
}

fn name_of(element: &Value) -> Option<String> {
    let table = match element {
        Value::Table(table) => table,
        Value::String(text) => return Some(text.clone()),
        _ => return None,
    };
    let named = NAMES.iter().find_map(|key| table.get(*key)?.as_str());
    named.map(str::to_owned).or_else(|| only_key(element).map(str::to_owned))
}

/// The keys that name an element.
const NAMES: [&str; 4] = ["name", "path", "prefix", "target"];

/// The key of an element that has one key, and not a name alone.
fn only_key(element: &Value) -> Option<&str> {
    let table = element.as_table().filter(|table| table.len() == 1)?;
    table.keys().next().map(String::as_str).filter(|key| !NAMES.contains(key))
}

/// An element's value as its path names it: below the name of an element with one key is the value of that key.
fn content(element: &Value) -> &Value {
    only_key(element).and_then(|key| element.get(key)).unwrap_or(element)
}

/// A scenario with changed values, as TOML without comments. The error names the key that cannot be changed.
pub(super) fn applied(source: &str, changes: &[Change]) -> Result<String, String> {
    let mut table: Table = toml::from_str(source).map_err(|error| error.message().to_owned())?;
    for Change { key, value } in changes {
        let refused = |message: &str| format!("`{key}`: {message}");
        let value = match value {
            None => None,
            Some(text) => {
                let line: Table = toml::from_str(&format!("value = {text}"))
                    .map_err(|error| refused(&format!("{text} is no TOML value: {}", error.message())))?;
                let only = line.get("value").filter(|_| line.len() == 1);
                Some(only.ok_or_else(|| refused(&format!("{text} is no TOML value")))?.clone())
            }
        };
        let parts: Vec<&str> = key.split('.').collect();
        set(&mut table, &parts, value).ok_or_else(|| refused("there is no such place"))?;
    }
    toml::to_string(&table).map_err(|error| error.to_string())
}

/// Sets or removes the value at a path; tables on the way are made. `None` where an element is not there.
fn set(table: &mut Table, path: &[&str], value: Option<Value>) -> Option<()> {
    let (first, rest) = path.split_first()?;
    if rest.is_empty() {
        match value {
            Some(value) => table.insert((*first).to_owned(), value),
            None => Some(table.remove(*first)?),
        };
        return Some(());
    }
    let inner = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
    set_in(inner, rest, value)
}

fn set_in(inner: &mut Value, path: &[&str], value: Option<Value>) -> Option<()> {
    match inner {
        Value::Table(table) => set(table, path, value),
        Value::Array(elements) => {
            let (name, rest) = path.split_first()?;
            let by_name = names(elements).iter().position(|its| its == name);
            let at = by_name.or_else(|| name.parse().ok().filter(|&at: &usize| at < elements.len()))?;
            match (rest, value) {
                ([], None) => drop(elements.remove(at)),
                ([], Some(value)) => elements[at] = value,
                (rest, value) => {
                    let element = &mut elements[at];
                    match only_key(element).map(str::to_owned) {
                        Some(key) => set_in(element.get_mut(key)?, rest, value)?,
                        None => set_in(element, rest, value)?,
                    }
                }
            }
            Some(())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "
        strategies = [\"random\", { p2c = { choices = 2 } }]
        [[pools]]
        name = \"web\"
        retries = { on = [\"reset\"] }
        [[pools.servers]]
        name = \"a\"
        weight = 1
        [[pools.servers]]
        name = \"b\"
        weight = 1
    ";

    fn changed(changes: &[(&str, Option<&str>)]) -> Vec<String> {
        let change =
            |&(key, value): &(&str, Option<&str>)| Change { key: key.to_owned(), value: value.map(str::to_owned) };
        let changes: Vec<Change> = changes.iter().map(change).collect();
        let table = |text: &str| toml::from_str::<Table>(text).unwrap();
        let after = applied(BEFORE, &changes).unwrap();
        differences(&table(BEFORE), &table(&after)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn differences_are_leaves_with_readable_paths() {
        assert!(changed(&[]).is_empty());
        assert_eq!(changed(&[("pools.web.servers.b.weight", Some("3"))]), ["pools.web.servers.b.weight: 1 -> 3"]);
        assert_eq!(changed(&[("pools.web.servers.a.weight", None)]), ["pools.web.servers.a.weight: removed, was 1"]);
        assert_eq!(
            changed(&[("pools.web.health", Some("{ interval = \"1s\", fall = 2 }"))]),
            ["pools.web.health.fall: added, 2", "pools.web.health.interval: added, \"1s\""]
        );
        assert_eq!(
            changed(&[("pools.web.retries.on", Some("[\"reset\", \"error\"]"))]),
            ["pools.web.retries.on: [\"reset\"] -> [\"reset\", \"error\"]"]
        );
        assert_eq!(changed(&[("pools.web.servers.a", None)]).len(), 2, "name and weight");
    }

    /// An element of another name is another element, and a changed order is a change.
    #[test]
    fn elements_are_told_apart_by_name() {
        let table = |text: &str| toml::from_str::<Table>(text).unwrap();
        let turned = "x = [{ name = \"b\", n = 1 }, { name = \"a\", n = 2 }]";
        let straight = "x = [{ name = \"a\", n = 2 }, { name = \"b\", n = 1 }]";
        let found = differences(&table(straight), &table(turned));
        assert_eq!(found[0].to_string(), "x: [\"a\", \"b\"] -> [\"b\", \"a\"]");
        let kind = differences(&table("s = \"random\""), &table("s = { p2c = { choices = 3 } }"));
        assert_eq!(kind[0].path, ["s"]);
        let expects = "expect = [{ assert = \"a\", reason = \"r\" }, { assert = \"b\", reason = \"r\" }]";
        let fewer = "expect = [{ assert = \"a\", reason = \"r\" }]";
        assert_eq!(differences(&table(expects), &table(fewer))[0].path, ["expect", "1", "assert"]);
        assert_eq!(differences(&table(expects), &table(""))[0].path, ["expect"]);
    }

    #[test]
    fn a_pattern_covers_what_is_below_it() {
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        assert!(covers("pools.web.servers.*.weight", &path("pools.web.servers.a.weight")));
        assert!(covers("variants.mine.strategy", &path("variants.mine.strategy.p2c.choices")));
        assert!(!covers("pools.web.servers.*.weight", &path("pools.web.servers.a.speed")));
        assert!(!covers("pools.web.servers.*.weight", &path("pools.web.servers.a")));
        assert!(!covers("pools.web.retries", &path("pools.web")));
    }

    #[test]
    fn a_change_needs_its_place() {
        let change =
            |key: &str, value: &str| applied(BEFORE, &[Change { key: key.to_owned(), value: Some(value.to_owned()) }]);
        assert!(change("pools.db.health", "1").is_err());
        assert!(change("pools.web.name.x", "1").is_err());
        assert!(change("pools.web.health", "{").is_err());
        assert!(change("pools.web.health", "1\nother = 2").is_err());
        assert!(change("strategies.p2c.choices", "3").unwrap().contains("choices = 3"));
    }
}
