//! A reference in Markdown, made from a JSON schema: a section for each table, a row for each key.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a key takes.
enum Kind {
    /// A value, by its description.
    Value(String),
    /// One of these words, each with its meaning.
    Words(Vec<(String, String)>),
    /// A table with these keys.
    Table(Value),
    /// A list of such tables.
    Tables(Value),
    /// One of these tables, by its key.
    OneOf(Value),
}

/// Makes the reference of a schema.
pub struct Reference<'a> {
    schema: &'a Value,
    /// Sections still to be written: path, whether a list of tables, the schema.
    waiting: Vec<(String, bool, Value)>,
    /// Definitions that have a section already, and its anchor.
    written: BTreeMap<String, String>,
    text: String,
}

/// Definitions that are described by hand, and how.
const KNOWN: [(&str, &str); 7] = [
    ("Duration", "duration"),
    ("Rate", "rate"),
    ("Ratio", "share"),
    ("Warmup", "duration or `\"auto\"`"),
    ("Strategy", "[strategy](strategies.md)"),
    ("Distribution", "[distribution](scenario.md#distributions)"),
    ("Delay", "duration or [distribution](scenario.md#distributions)"),
];

pub fn reference(schema: &Value) -> String {
    let mut reference = Reference {
        schema,
        waiting: Vec::new(),
        written: BTreeMap::new(),
        text: String::from("## Keys at the top\n\n"),
    };
    reference.rows("", schema);
    while !reference.waiting.is_empty() {
        let (path, list, table) = reference.waiting.remove(0);
        let title = if list { format!("[[{path}]]") } else { format!("[{path}]") };
        reference.text += &format!("\n## `{title}`\n\n");
        let about = sentence(table["description"].as_str().unwrap_or_default());
        if !about.is_empty() {
            reference.text += &format!("{about}\n\n");
        }
        match table["oneOf"].as_array() {
            Some(forms) => reference.forms(&path, forms),
            None => reference.rows(&path, &table),
        }
    }
    reference.text
}

/// A description as one line of a table; without links that only Rust's documentation has.
fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
    // What only names the table is in the heading already.
    let rest = text.strip_prefix('`').and_then(|rest| rest.split_once('`')).filter(|(name, _)| name.starts_with('['));
    let text = rest.map_or(text.as_str(), |(_, rest)| rest.trim_start_matches([':', ';', ',', ' ']));
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A value as TOML writes it.
fn toml(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let pairs = table.iter().filter(|(_, value)| !value.is_null());
            format!(
                "{{ {} }}",
                pairs.map(|(key, value)| format!("{key} = {}", toml(value))).collect::<Vec<_>>().join(", ")
            )
        }
        other => other.to_string(),
    }
}

impl Reference<'_> {
    /// Follows references; the name of the last definition on the way.
    fn resolve(&self, node: &Value) -> (Option<String>, Value) {
        let mut name = None;
        let mut node = node.clone();
        loop {
            if let Some(target) = node["$ref"].as_str() {
                let target = target.rsplit('/').next().unwrap().to_owned();
                node = self.schema["definitions"][&target].clone();
                name = Some(target);
            } else if let Some([only]) = node["allOf"].as_array().map(Vec::as_slice) {
                node = only.clone();
            } else {
                return (name, node);
            }
        }
    }

    fn kind(&self, node: &Value) -> (Option<String>, Kind) {
        let (name, node) = self.resolve(node);
        if let Some((_, known)) = KNOWN.iter().find(|(known, _)| name.as_deref() == Some(known)) {
            return (None, Kind::Value((*known).to_owned()));
        }
        let kind = if let Some(forms) = node["oneOf"].as_array() {
            let word =
                |form: &Value| Some((form["const"].as_str()?.to_owned(), sentence(form["description"].as_str()?)));
            let words: Option<Vec<_>> = forms.iter().map(word).collect();
            words.map_or(Kind::OneOf(node), Kind::Words)
        } else if let Some(words) = node["enum"].as_array() {
            Kind::Words(words.iter().filter_map(Value::as_str).map(|word| (word.to_owned(), String::new())).collect())
        } else if let Some(forms) = node["anyOf"].as_array() {
            // A value, or a table in full.
            let kinds: Vec<_> = forms.iter().map(|form| self.kind(form).1).collect();
            let table = kinds.iter().find_map(|kind| match kind {
                Kind::Table(table) | Kind::OneOf(table) => Some(table.clone()),
                _ => None,
            });
            match (kinds.first(), table) {
                (Some(Kind::Value(_)), Some(table)) => Kind::Table(table),
                _ => Kind::Value(kinds.iter().filter_map(of_value).collect::<Vec<_>>().join(" or ")),
            }
        } else if node["type"] == "array" {
            let (inner, kind) = self.kind(&node["items"]);
            match kind {
                Kind::Table(table) => return (inner, Kind::Tables(table)),
                Kind::Value(value) => Kind::Value(format!("list of {value}")),
                Kind::Words(words) => Kind::Words(words),
                Kind::OneOf(table) | Kind::Tables(table) => return (inner, Kind::Tables(table)),
            }
        } else if node["properties"].is_object() {
            Kind::Table(node)
        } else if node["type"] == "object" {
            Kind::Value("table".to_owned())
        } else {
            Kind::Value(node["type"].as_str().unwrap_or("any value").to_owned())
        };
        (name, kind)
    }

    fn rows(&mut self, path: &str, table: &Value) {
        self.text += "| key | takes | default | meaning |\n|---|---|---|---|\n";
        self.keys(path, "", table);
    }

    /// A row for each key of a table; `before` stands before each.
    fn keys(&mut self, path: &str, before: &str, table: &Value) {
        let required: Vec<_> = table["required"].as_array().into_iter().flatten().cloned().collect();
        for (key, node) in table["properties"].as_object().into_iter().flatten() {
            let (name, kind) = self.kind(node);
            let mut about = sentence(node["description"].as_str().unwrap_or_default());
            if about.is_empty() {
                about = sentence(table_description(&kind).unwrap_or_default());
            }
            assert!(!about.is_empty(), "`{path}`: `{before}{key}` has no documentation");
            let parts = [path, before.trim_end_matches('.'), key];
            let inner = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".");
            let takes = match kind {
                Kind::Value(takes) => takes,
                Kind::Words(words) => {
                    for (word, meaning) in words.iter().filter(|(_, meaning)| !meaning.is_empty()) {
                        about += &format!(" `\"{word}\"`: {meaning}");
                    }
                    words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
                }
                Kind::Table(table) => self.section(name, &inner, false, table, "table"),
                Kind::OneOf(table) => self.section(name, &inner, false, table, "one of"),
                Kind::Tables(table) => self.section(name, &inner, true, table, "tables"),
            };
            let default = if required.contains(&Value::from(key.as_str())) {
                "required".to_owned()
            } else {
                match toml(&node["default"]) {
                    // A table's own rows say what its keys are unless given.
                    none if none.is_empty() || none.starts_with('{') || none == "[]" => String::new(),
                    value => format!("`{value}`"),
                }
            };
            self.text += &format!("| `{before}{key}` | {takes} | {default} | {} |\n", about.trim());
        }
    }

    /// Puts a table's section on the list, unless it has one, and links to it.
    fn section(&mut self, name: Option<String>, path: &str, list: bool, table: Value, word: &str) -> String {
        let anchor: String = path.chars().filter(|c| c.is_alphanumeric() || *c == '_' || *c == '-').collect();
        if let Some(anchor) = name.as_ref().and_then(|name| self.written.get(name)) {
            return format!("[{word}](#{anchor})");
        }
        self.written.extend(name.map(|name| (name, anchor.clone())));
        self.waiting.push((path.to_owned(), list, table));
        format!("[{word}](#{anchor})")
    }

    /// A row for each of several tables, and one for each key of theirs.
    fn forms(&mut self, path: &str, forms: &[Value]) {
        self.text += "| key | takes | default | meaning |\n|---|---|---|---|\n";
        for form in forms {
            let about = sentence(form["description"].as_str().unwrap_or_default());
            if let Some(word) = form["const"].as_str() {
                self.text += &format!("| `\"{word}\"` | | | {about} |\n");
            }
            for (key, node) in form["properties"].as_object().into_iter().flatten() {
                let (_, node) = self.resolve(node);
                self.text += &format!("| `{key}` | {} | | {about} |\n", self.form_takes(&node));
                self.keys(path, &format!("{key}."), &node);
            }
        }
    }

    fn form_takes(&self, node: &Value) -> String {
        match self.kind(node).1 {
            Kind::Value(takes) => takes,
            _ => "table".to_owned(),
        }
    }
}

fn of_value(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Value(value) => Some(value.clone()),
        Kind::Words(words) => {
            Some(words.iter().map(|(word, _)| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "))
        }
        _ => None,
    }
}

fn table_description(kind: &Kind) -> Option<&str> {
    match kind {
        Kind::Table(table) | Kind::Tables(table) | Kind::OneOf(table) => table["description"].as_str(),
        _ => None,
    }
}
