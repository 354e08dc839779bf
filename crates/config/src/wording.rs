//! Messages about values of a wrong type, for a reader who knows only the file: the schema of a table lists the values of
//! each key, so messages name these, with an example, and no type of this program.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Problem, Problems, nearest};

/// A schema with resolved references.
#[derive(Clone, Copy)]
pub struct Words<'a> {
    root: &'a Value,
}

/// The values accepted at a position: the forms of its schema, each without references and alternatives.
type Forms<'a> = Vec<Form<'a>>;

#[derive(Clone, Copy)]
struct Form<'a> {
    /// The definition's name, where it has one: `Duration`.
    name: Option<&'a str>,
    schema: &'a Value,
}

/// A position in a file.
struct Place<'a> {
    /// Keys from the top of the file, without indices of elements.
    path: Vec<String>,
    /// The accepted values.
    forms: Forms<'a>,
    /// The actual value; `None` for a key.
    value: Option<&'a DeValue<'a>>,
}

/// Quantities and strategies, which have long schemas.
const NAMED: [(&str, &str, &str); 5] = [
    ("Duration", "a duration such as \"5ms\" or \"1.5s\"", "\"5ms\""),
    ("Rate", "a rate such as \"900/s\"", "\"900/s\""),
    ("Ratio", "a share such as \"80%\" or 0.8", "\"80%\""),
    ("Strategy", "a strategy's name, or a table such as { p2c = { choices = 3 } }", "\"p2c\""),
    ("HedgeAfter", "a duration such as \"50ms\", or a percentile such as \"p95\"", "\"p95\""),
];

/// Depth of nested tables in an example.
const DEEP: usize = 3;

impl<'a> Words<'a> {
    /// The root of a file.
    pub fn new(root: &'a Value) -> Words<'a> {
        Words { root }
    }

    fn forms(self, schema: &'a Value) -> Forms<'a> {
        let mut forms = Vec::new();
        self.collect(None, schema, &mut forms);
        forms
    }

    fn collect(self, name: Option<&'a str>, schema: &'a Value, forms: &mut Forms<'a>) {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.trim_start_matches("#/definitions/");
            if NAMED.iter().any(|(known, ..)| *known == name) {
                forms.push(Form { name: Some(name), schema: &self.root["definitions"][name] });
                return;
            }
            return self.collect(Some(name), &self.root["definitions"][name], forms);
        }
        for several in ["anyOf", "oneOf", "allOf"] {
            if let Some(all) = schema[several].as_array() {
                return all.iter().for_each(|form| self.collect(name, form, forms));
            }
        }
        forms.push(Form { name, schema });
    }

    /// The types of values that a form accepts, by their JSON names; `None` for any.
    fn kinds(self, form: Form<'a>) -> Option<Vec<&'a str>> {
        let name = form.name.filter(|name| NAMED.iter().any(|(known, ..)| known == name));
        if name.is_some() {
            let mut inner = Vec::new();
            for several in ["anyOf", "oneOf"] {
                for form in form.schema[several].as_array().into_iter().flatten() {
                    let mut forms = Vec::new();
                    self.collect(None, form, &mut forms);
                    inner.extend(forms.into_iter().filter_map(|form| self.kinds(form)).flatten());
                }
            }
            if !inner.is_empty() {
                return Some(inner);
            }
        }
        match &form.schema["type"] {
            Value::String(one) => Some(vec![one]),
            Value::Array(several) => Some(several.iter().filter_map(Value::as_str).collect()),
            _ if form.schema["const"].is_string() || form.schema["enum"].is_array() => Some(vec!["string"]),
            _ => None,
        }
    }

    /// The values accepted under a key of a table.
    fn under(self, forms: &Forms<'a>, key: &str) -> Forms<'a> {
        let mut found = Vec::new();
        for form in forms {
            let strategy = form.name == Some("Strategy");
            let tables: Vec<&Value> = match form.schema["oneOf"].as_array() {
                Some(all) if strategy => all.iter().collect(),
                _ => vec![form.schema],
            };
            for table in tables {
                if let Some(inner) = table["properties"].get(key) {
                    self.collect(None, inner, &mut found);
                } else if table["additionalProperties"].is_object() {
                    self.collect(None, &table["additionalProperties"], &mut found);
                }
            }
        }
        found
    }

    /// The values accepted in a list.
    fn elements(self, forms: &Forms<'a>) -> Forms<'a> {
        let mut found = Vec::new();
        forms.iter().filter(|form| !form.schema["items"].is_null()).for_each(|form| {
            self.collect(None, &form.schema["items"], &mut found);
        });
        found
    }

    /// All values of a type that their key does not accept.
    pub fn wrong_kinds(self, source: &str, table: &DeTable<'_>, problems: &mut Problems) {
        self.table_kinds(source, table, &self.forms(self.root), &mut Vec::new(), problems);
    }

    fn table_kinds(
        self,
        source: &str,
        table: &DeTable<'_>,
        forms: &Forms<'a>,
        path: &mut Vec<String>,
        problems: &mut Problems,
    ) {
        for (key, value) in table {
            let inner = self.under(forms, key.get_ref());
            path.push(key.get_ref().to_string());
            self.value_kinds(source, value, &inner, path, problems);
            path.pop();
        }
    }

    fn value_kinds(
        self,
        source: &str,
        value: &Spanned<DeValue<'_>>,
        forms: &Forms<'a>,
        path: &mut Vec<String>,
        problems: &mut Problems,
    ) {
        // An unknown key has no schema.
        if forms.is_empty() {
            return;
        }
        let fits = |form: &Form<'a>| self.kinds(*form).is_none_or(|kinds| kinds.iter().any(|k| is(value.get_ref(), k)));
        let fitting: Forms<'a> = forms.iter().copied().filter(fits).collect();
        if fitting.is_empty() {
            problems.push(self.wrong_kind(source, value, forms, path));
            return;
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table_kinds(source, table, &fitting, path, problems),
            DeValue::Array(array) => {
                let inner = self.elements(&fitting);
                array.iter().for_each(|element| self.value_kinds(source, element, &inner, path, problems));
            }
            _ => {}
        }
    }

    fn wrong_kind(self, source: &str, value: &Spanned<DeValue<'_>>, forms: &Forms<'a>, path: &[String]) -> Problem {
        let (key, span) = (path.join("."), value.span());
        let takes = |kind: &str| forms.iter().any(|form| self.kinds(*form).is_some_and(|kinds| kinds.contains(&kind)));
        let found = written(source, value.get_ref(), &span);
        let help = format!("such as {}", self.setting(path, forms));
        let tables = |array: &[Spanned<DeValue<'_>>]| array.iter().all(|e| matches!(e.get_ref(), DeValue::Table(_)));
        match value.get_ref() {
            DeValue::Table(_) if takes("array") && !takes("object") => {
                let message = format!("`{key}` takes a list, not a table");
                if self.elements(forms).iter().any(|form| form.schema["properties"].is_object()) {
                    let several = "there can be several of these: write the table's name in two pairs of brackets";
                    return Problem::at(span, message).help(format!("{several}, as [[{key}]]"));
                }
                Problem::at(span, message).help(help)
            }
            DeValue::Array(array) if takes("object") && !array.is_empty() && tables(array) => {
                let message = format!("`{key}` is one table, not a list of them");
                Problem::at(span, message).help(format!("write its name in one pair of brackets, as [{key}]"))
            }
            _ => Problem::at(span, format!("`{key}` takes {}, not {found}", self.takes(forms))).help(help),
        }
    }

    /// Description of the accepted values: "a duration such as "5ms"", "a whole number", ""fcfs" or "ps"".
    fn takes(self, forms: &Forms<'a>) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut tables = Vec::new();
        for form in forms {
            if let Some((_, words, _)) = NAMED.iter().find(|(name, ..)| form.name == Some(name)) {
                parts.push((*words).to_owned());
                continue;
            }
            for word in words_of(form.schema) {
                parts.push(format!("{word:?}"));
            }
            let own = words_of(form.schema).is_empty();
            for kind in self.kinds(*form).unwrap_or_default() {
                match kind {
                    "string" if own => match form.schema["examples"][0].as_str() {
                        Some(example) => parts.push(format!("a text such as {example:?}")),
                        None => parts.push("a text in quotation marks".to_owned()),
                    },
                    "integer" => parts.push(whole_number(form.schema)),
                    "number" => parts.push("a number".to_owned()),
                    "boolean" => parts.push("true or false".to_owned()),
                    "array" => {
                        let inner = self.elements(&vec![*form]);
                        let plain = inner.iter().any(|form| form.name == Some("Strategy"));
                        parts.push(if plain { "a list of strategies" } else { "a list" }.to_owned());
                    }
                    "object" => match form.schema["required"].as_array().map(Vec::as_slice) {
                        // One key of several names the kind.
                        Some([only]) if form.schema["properties"].as_object().is_some_and(|keys| keys.len() == 1) => {
                            tables.extend(only.as_str().map(|key| format!("`{key}`")));
                        }
                        _ => parts.push("a table".to_owned()),
                    },
                    _ => {}
                }
            }
        }
        match tables.as_slice() {
            [] => {}
            [one] => parts.push(format!("a table with the key {one}")),
            several => parts.push(format!("a table with one of the keys {}", several.join(", "))),
        }
        parts.dedup();
        match parts.split_last() {
            None => "something else".to_owned(),
            Some((last, [])) => last.clone(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        }
    }

    /// A line that sets the key: `[balancers]` and below `count = 1`, or `weight = 1`.
    fn setting(self, path: &[String], forms: &Forms<'a>) -> String {
        let key = path.last().map_or("", String::as_str);
        format!("{key} = {}", self.example(forms, DEEP))
    }

    /// A valid value, as TOML.
    fn example(self, forms: &Forms<'a>, deep: usize) -> String {
        let Some(form) = forms.first() else { return "…".to_owned() };
        if let Some((.., example)) = NAMED.iter().find(|(name, ..)| form.name == Some(name)) {
            return (*example).to_owned();
        }
        if let Some(word) = words_of(form.schema).first() {
            return format!("{word:?}");
        }
        let schema = form.schema;
        if let Some(example) = schema["examples"].get(0).or(schema.get("default")).and_then(plain_toml) {
            return example;
        }
        match self.kinds(*form).unwrap_or_default().first().copied() {
            Some("integer") => schema["minimum"].as_u64().unwrap_or(1).max(1).to_string(),
            Some("number") => "1.5".to_owned(),
            Some("boolean") => "true".to_owned(),
            Some("array") if deep == 0 => "[]".to_owned(),
            Some("array") => format!("[{}]", self.example(&self.elements(&vec![*form]), deep - 1)),
            Some("object") if deep == 0 => "{ … }".to_owned(),
            Some("object") => {
                let required: Vec<&str> =
                    schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                let first = schema["properties"].as_object().and_then(|keys| keys.keys().next());
                let keys = if required.is_empty() { first.map(String::as_str).into_iter().collect() } else { required };
                let pair = |key: &str| {
                    let inner = self.under(&vec![*form], key);
                    // A key's default is written beside the reference to its schema.
                    let own = schema["properties"][key].get("default").and_then(plain_toml);
                    format!("{key} = {}", own.unwrap_or_else(|| self.example(&inner, deep - 1)))
                };
                match keys.is_empty() {
                    true => "{}".to_owned(),
                    false => format!("{{ {} }}", keys.into_iter().map(pair).collect::<Vec<_>>().join(", ")),
                }
            }
            _ => "\"…\"".to_owned(),
        }
    }

    /// The element at these bytes: a value, a key, or else the smallest value that contains them.
    fn place<'t>(self, table: &'t DeTable<'t>, span: &Range<usize>) -> Option<Place<'t>>
    where
        'a: 't,
    {
        let mut best: Option<(usize, Place<'t>)> = None;
        let mut offer = |size: usize, place: Place<'t>| {
            if best.as_ref().is_none_or(|(smallest, _)| size < *smallest) {
                best = Some((size, place));
            }
        };
        self.search(table, span, &self.forms(self.root), &mut Vec::new(), &mut offer);
        best.map(|(_, place)| place)
    }

    fn search<'t>(
        self,
        table: &'t DeTable<'t>,
        span: &Range<usize>,
        forms: &Forms<'a>,
        path: &mut Vec<String>,
        offer: &mut dyn FnMut(usize, Place<'t>),
    ) where
        'a: 't,
    {
        for (key, value) in table {
            let inner = self.under(forms, key.get_ref());
            if key.span() == *span {
                let forms = forms.clone();
                offer(0, Place { path: [path.as_slice(), &[key.get_ref().to_string()]].concat(), forms, value: None });
            }
            path.push(key.get_ref().to_string());
            self.search_value(value, span, &inner, path, offer);
            path.pop();
        }
    }

    fn search_value<'t>(
        self,
        value: &'t Spanned<DeValue<'t>>,
        span: &Range<usize>,
        forms: &Forms<'a>,
        path: &mut Vec<String>,
        offer: &mut dyn FnMut(usize, Place<'t>),
    ) where
        'a: 't,
    {
        let own = value.span();
        if own.start <= span.start && span.end <= own.end {
            let (forms, value) = (forms.clone(), Some(value.get_ref()));
            offer(1 + own.len() - span.len(), Place { path: path.clone(), forms, value });
        }
        match value.get_ref() {
            DeValue::Table(table) => self.search(table, span, forms, path, offer),
            DeValue::Array(array) => {
                let inner = self.elements(forms);
                array.iter().for_each(|element| self.search_value(element, span, &inner, path, offer));
            }
            _ => {}
        }
    }

    /// Rewrites a message of the parser library for a reader who knows only the file.
    pub fn said(self, source: &str, message: &str, span: Option<Range<usize>>) -> Problem {
        let table = DeTable::parse(source).ok();
        let place = table.as_ref().zip(span.as_ref()).and_then(|(table, span)| self.place(table.get_ref(), span));
        let problem = |message: String| Problem { span: span.clone(), message, help: None };
        let key = place.as_ref().map(|place| place.path.join(".")).filter(|key| !key.is_empty());
        let this = key.as_ref().map_or_else(|| "this".to_owned(), |key| format!("`{key}`"));
        let such_as = |problem: Problem| match &place {
            Some(place) if !place.forms.is_empty() && !place.path.is_empty() && place.value.is_some() => {
                problem.help(format!("such as {}", self.setting(&place.path, &place.forms)))
            }
            _ => problem,
        };
        let mut names = message.split('`').skip(1).step_by(2);
        if message.starts_with("unknown field ") || message.starts_with("unknown variant ") {
            // A string as a value, or a key that names the kind of a table.
            let word = place.as_ref().is_some_and(|place| matches!(place.value, Some(DeValue::String(_))));
            let what = if message.starts_with("unknown variant") && word { "value" } else { "key" };
            return unknown(what, message, span);
        }
        if message.starts_with("missing field ") {
            return self.missing(names.next().unwrap_or_default(), place.as_ref(), key.as_deref(), span);
        }
        if message.starts_with("duplicate field ") {
            return problem(format!("`{}` is written twice", names.next().unwrap_or_default()));
        }
        if message.contains("exactly 1 e") {
            let keys = place.as_ref().map_or_else(Vec::new, |place| self.only_keys(&place.forms));
            let list = if keys.is_empty() { String::new() } else { format!(": one of {}", keys.join(", ")) };
            return such_as(problem(format!("{this} takes exactly one key{list}")));
        }
        if message.contains("number overflowed") {
            return problem(format!("the number of {this} is too large"));
        }
        let kind = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
        if let Some((found, expected)) = kind.and_then(|rest| rest.rsplit_once(", expected ")) {
            // Expectations of this program's own parsers are plain text already.
            let own = expected.starts_with("a ") && !LIBRARYS.contains(&expected);
            let takes = match number_range(expected) {
                Some(range) => range,
                None if own => expected.to_owned(),
                None => match place.as_ref().filter(|place| !place.forms.is_empty() && place.value.is_some()) {
                    Some(place) => self.takes(&place.forms),
                    None => plain_expectation(expected).to_owned(),
                },
            };
            return such_as(problem(format!("{this} takes {takes}, not {}", plain_found(found))));
        }
        if ["invalid length", "expected empty", "expected table", "wanted string", "unexpected keys", "expected tuple"]
            .iter()
            .any(|start| message.starts_with(start))
        {
            let takes = match place.as_ref().filter(|place| !place.forms.is_empty() && place.value.is_some()) {
                Some(place) => self.takes(&place.forms),
                None => "something else".to_owned(),
            };
            return such_as(problem(format!("{this} takes {takes}")));
        }
        problem(message.to_owned())
    }

    /// A required key that is missing.
    fn missing(self, name: &str, place: Option<&Place<'_>>, key: Option<&str>, span: Option<Range<usize>>) -> Problem {
        let outer = place.map_or_else(|| self.forms(self.root), |place| place.forms.clone());
        let inner = self.under(&outer, name);
        let inside = key.map_or_else(String::new, |key| format!(" in `{key}`"));
        let help = match inner.is_empty() {
            true => format!("add {name} = …"),
            false if self.is_list_of_tables(&inner) => format!("add [[{name}]] and its keys below it"),
            false => format!("add {name} = {}", self.example(&inner, DEEP)),
        };
        Problem { span, message: format!("`{name}` is missing{inside}"), help: Some(help) }
    }

    fn is_list_of_tables(self, forms: &Forms<'a>) -> bool {
        self.elements(forms).iter().any(|form| form.schema["properties"].is_object())
    }

    /// The keys of a table that accepts exactly one of them.
    fn only_keys(self, forms: &Forms<'a>) -> Vec<String> {
        let one = |form: &Form<'a>| {
            let keys = form.schema["properties"].as_object()?;
            (keys.len() == 1).then(|| keys.keys().next().map(|key| format!("`{key}`"))).flatten()
        };
        forms.iter().filter_map(one).collect()
    }
}

/// An unknown key or value, from the library's list of known ones.
fn unknown(what: &str, message: &str, span: Option<Range<usize>>) -> Problem {
    let mut names = message.split('`').skip(1).step_by(2);
    let wrong = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let listed = || known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let list = match known.len() {
        0 if message.contains("there are no") => ": none is known here".to_owned(),
        0 => String::new(),
        1 => format!(", expected {}", listed()),
        _ => format!(", expected one of {}", listed()),
    };
    let help = nearest(wrong, known.iter().copied(), 0.7).map(|near| format!("did you mean `{near}`?"));
    Problem { span, message: format!("unknown {what} `{wrong}`{list}"), help }
}

/// Expectations of the library that start like ours.
const LIBRARYS: [&str; 5] = ["a map", "a sequence", "a string", "a boolean", "a borrowed string"];

/// The string values of a form.
fn words_of(schema: &Value) -> Vec<&str> {
    match (schema["const"].as_str(), schema["enum"].as_array()) {
        (Some(word), _) => vec![word],
        (None, Some(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Whether a value has a type, by its JSON name.
fn is(value: &DeValue<'_>, kind: &str) -> bool {
    match value {
        DeValue::String(_) => kind == "string",
        DeValue::Integer(_) => matches!(kind, "integer" | "number"),
        DeValue::Float(_) => kind == "number",
        DeValue::Boolean(_) => kind == "boolean",
        DeValue::Array(_) => kind == "array",
        DeValue::Table(_) => kind == "object",
        DeValue::Datetime(_) => false,
    }
}

/// A value as written in the file, or its type where it is long.
fn written(source: &str, value: &DeValue<'_>, span: &Range<usize>) -> String {
    match value {
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
        _ => match source.get(span.clone()) {
            Some(text) if text.len() <= 40 && !text.contains('\n') => text.to_owned(),
            _ => "a long text".to_owned(),
        },
    }
}

/// A default or example value of a schema as TOML, if it is short.
fn plain_toml(value: &Value) -> Option<String> {
    match value {
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::String(text) => Some(format!("{text:?}")),
        _ => None,
    }
}

fn whole_number(schema: &Value) -> String {
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(low), Some(high)) => format!("a whole number from {low} to {high}"),
        (Some(low), None) => format!("a whole number from {low} on"),
        _ => "a whole number".to_owned(),
    }
}

/// A range of whole numbers, from the library's name for the type.
fn number_range(expected: &str) -> Option<String> {
    let most = match expected {
        "u8" => u64::from(u8::MAX),
        "u16" => u64::from(u16::MAX),
        "u32" => u64::from(u32::MAX),
        "u64" | "usize" => return Some("a whole number from 0 on".to_owned()),
        "i8" | "i16" | "i32" | "i64" | "isize" => return Some("a whole number".to_owned()),
        "f32" | "f64" => return Some("a number".to_owned()),
        _ => return None,
    };
    Some(format!("a whole number from 0 to {most}"))
}

fn plain_expectation(expected: &str) -> &str {
    match expected {
        "a map" => "a table",
        "a sequence" => "a list",
        "a string" | "a borrowed string" | "path string" => "a text in quotation marks",
        "a boolean" => "true or false",
        other if other.starts_with("struct ") => "a table",
        _ => "something else",
    }
}

/// The actual value, from the library's description: "integer `3`", "string \"x\"", "map".
fn plain_found(found: &str) -> String {
    let inside = |found: &str| found.split('`').nth(1).map(str::to_owned);
    match found {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        other if other.starts_with("string ") => other["string ".len()..].to_owned(),
        other => inside(other).unwrap_or_else(|| "this".to_owned()),
    }
}
