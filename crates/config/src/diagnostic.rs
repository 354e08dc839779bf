//! Problems in a file, with position and help text; displayed like the compiler's errors.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::schema;
use super::terminal::{one_line, printable, printable_styled};
use super::wording::Words;
use evenkeel_core::select::catalog;

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Byte range that the problem is about; `None` for the file as a whole.
    pub span: Option<Range<usize>>,
    /// Description of the problem.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at a position.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Problem {
        Problem { span: Some(span), message: message.into(), help: None }
    }

    /// A problem of the file as a whole.
    pub fn of_file(message: impl Into<String>) -> Problem {
        Problem { span: None, message: message.into(), help: None }
    }

    /// Adds how to fix it.
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// All problems of one file.
pub type Problems = Vec<Problem>;

/// A file and its problems.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Path of the file, as the user wrote it.
    pub file: String,
    /// Text of the file.
    pub source: String,
    /// At least one.
    pub problems: Problems,
}

impl Diagnostic {
    /// The file, its lines, and carets under the part in question. Control characters are escaped, so that nothing in the
    /// file moves a terminal's cursor.
    pub fn render(&self, colour: bool) -> String {
        self.render_as(Level::ERROR, colour)
    }

    /// The same problems as warnings: the file can be used.
    pub fn render_warnings(&self, colour: bool) -> String {
        self.render_as(Level::WARNING, colour)
    }

    fn render_as(&self, level: Level<'static>, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = Vec::new();
        let file = one_line(&self.file);
        for problem in &self.problems {
            let (message, help) = (printable(&problem.message), problem.help.as_deref().map(printable));
            let mut group = Group::with_title(level.clone().primary_title(&*message));
            let whole = problem.span.is_none();
            let span = problem.span.clone().unwrap_or(0..0);
            let span = span.start.min(self.source.len())..span.end.min(self.source.len());
            if whole {
                group = group.element(annotate_snippets::Origin::path(&*file));
            } else {
                let snippet = Snippet::source(self.source.as_str()).line_start(1).path(&*file);
                group = group.element(snippet.annotation(AnnotationKind::Primary.span(span)));
            }
            if let Some(help) = &help {
                group = group.element(Level::HELP.message(&**help));
            }
            // The library replaces most of the control characters of the source, not all.
            let drawn = renderer.render(&[group]).to_string();
            text.push(if colour { printable_styled(&drawn) } else { printable(&drawn) }.into_owned());
        }
        text.join("\n\n")
    }

    /// `file:line:column: message` for machines and tests, a line per problem.
    pub fn plain(&self) -> String {
        let line = |problem: &Problem| {
            let at = problem.span.as_ref().map_or(0, |span| span.start).min(self.source.len());
            let before = &self.source[..at];
            let row = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
            format!("{}:{row}:{column}: {}", self.file, problem.message)
        };
        self.problems.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Reads TOML into `T`. Problems have positions, say what `T`'s schema accepts there, with an example, and suggest the most
/// similar name for a misspelt one. All values of a wrong type are found; of other problems only the first. A file in
/// another format is reported as that format, and text with control characters is rejected because names are printed.
pub fn read<T: DeserializeOwned + JsonSchema + 'static>(source: &str) -> Result<T, Problems> {
    let schema = schema::cached::<T>();
    let words = Words::new(&schema);
    let broken = |error: toml::de::Error| {
        let message = error.message().trim();
        let mut problem = words.said(source, message, error.span());
        if let (None, Some(name)) = (&problem.help, catalog::unknown_name(message)) {
            problem.help = Some(catalog::suggestion(name, true));
        }
        vec![problem]
    };
    let table = DeTable::parse(source).map_err(|error| {
        let mut problems = broken(error);
        if let Some(format) = foreign(source) {
            problems[0].help =
                Some(format!("this looks like {format}; evenkeel reads TOML: key = \"value\" and [tables]"));
        }
        problems
    })?;
    let mut problems = Problems::new();
    words.wrong_kinds(source, table.get_ref(), &mut problems);
    if !problems.is_empty() {
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
        return Err(problems);
    }
    let value = toml::from_str(source).map_err(broken)?;
    // Without a backslash TOML cannot contain a control character.
    if source.contains('\\') {
        control_characters_of(table.get_ref(), &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
    }
    Ok(value)
}

/// Position of a key inside a table, such as `tokens.ratio`: that of its value, or else of the innermost part that is
/// written. `table` is the position of the table's value.
pub fn place_of_key(source: &str, table: Range<usize>, key: &str) -> Range<usize> {
    fn find<'t>(value: &'t Spanned<DeValue<'t>>, at: &Range<usize>) -> Option<&'t Spanned<DeValue<'t>>> {
        if value.span() == *at {
            return Some(value);
        }
        match value.get_ref() {
            DeValue::Table(table) => table.values().find_map(|inner| find(inner, at)),
            DeValue::Array(array) => array.iter().find_map(|inner| find(inner, at)),
            _ => None,
        }
    }
    if key.is_empty() {
        return table;
    }
    let Ok(whole) = DeTable::parse(source) else { return table };
    let Some(mut found) = whole.get_ref().values().find_map(|value| find(value, &table)) else { return table };
    for part in key.split('.') {
        match found.get_ref().as_table().and_then(|table| table.get(part)) {
            Some(inner) => found = inner,
            None => break,
        }
    }
    found.span()
}

/// The format that a text appears to have, if it is not TOML: JSON, YAML or XML.
pub fn foreign(source: &str) -> Option<&'static str> {
    let mut lines = source.trim_start_matches('\u{feff}').lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.find(|line| !line.starts_with('#') || line.starts_with("#!"))?;
    let yaml_key = |line: &str| {
        let name = |name: &str| !name.is_empty() && !name.contains(['=', '[', '{']);
        line.strip_suffix(':').or_else(|| Some(line.split_once(": ")?.0)).is_some_and(name)
    };
    match first {
        _ if first.starts_with('{') => Some("JSON"),
        _ if first.starts_with('<') => Some("XML"),
        _ if first.starts_with("---") || first.starts_with("%YAML") || first.starts_with("- ") => Some("YAML"),
        _ if yaml_key(first) => Some("YAML"),
        // A JSON array; TOML's tables have a name between brackets.
        _ if first == "[" || first.starts_with("[{") => Some("JSON"),
        _ => None,
    }
}

/// Strings and keys with characters that a terminal interprets. Line ends and tabs are allowed.
fn control_characters_of(table: &DeTable<'_>, problems: &mut Problems) {
    fn text(text: &str, span: Range<usize>, problems: &mut Problems) {
        let plain = text.replace("\r\n", "\n");
        if let Some(c) = plain.chars().find(|&c| c.is_control() && !matches!(c, '\n' | '\t')) {
            let message = format!("the text holds the control character U+{:04X}", u32::from(c));
            problems.push(Problem::at(span, message).help("names and titles are printed: leave it out"));
        }
    }
    fn value(found: &Spanned<DeValue<'_>>, problems: &mut Problems) {
        match found.get_ref() {
            DeValue::String(string) => text(string, found.span(), problems),
            DeValue::Array(array) => array.iter().for_each(|element| value(element, problems)),
            DeValue::Table(table) => control_characters_of(table, problems),
            _ => {}
        }
    }
    for (key, found) in table {
        text(key.get_ref(), key.span(), problems);
        // File names may contain any character.
        if key.get_ref() != "file" {
            value(found, problems);
        }
    }
}

/// The name in `known` most similar to `wrong`, if the similarity reaches this bound (Jaro-Winkler).
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>, least: f64) -> Option<&'a str> {
    let wrong = wrong.to_lowercase().replace('-', "_");
    known
        .map(|name| (strsim::jaro_winkler(&wrong, name), name))
        .filter(|(likeness, _)| *likeness > least)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// A help text with the name in `known` most similar to `wrong`; else with the list of all.
pub fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let nearest = known
        .clone()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => format!("known are: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Anything = serde_json::Map<String, serde_json::Value>;

    #[test]
    fn a_misspelt_key_gets_its_place_and_a_suggestion() {
        #[derive(Debug, serde::Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code)]
        struct Server {
            name: String,
            weight: u32,
        }
        let source = "name = \"a\"\nwieght = 3\n";
        let problems = read::<Server>(source).unwrap_err();
        let diagnostic = Diagnostic { file: "x.toml".into(), source: source.into(), problems };
        assert!(diagnostic.plain().starts_with("x.toml:2:1: unknown key `wieght`"), "{}", diagnostic.plain());
        let text = diagnostic.render(false);
        assert!(text.contains("did you mean `weight`?") && text.contains("x.toml:2:1"), "{text}");
    }

    fn help_for(source: &str) -> String {
        let problems = read::<Anything>(source).unwrap_err();
        problems[0].help.clone().unwrap_or_default()
    }

    #[test]
    fn other_formats_are_named() {
        for (source, format) in [
            ("title: x\npools:\n  - name: web\n", "YAML"),
            ("# comment\n\n---\ntitle: x\n", "YAML"),
            ("pools:\n  - a\n", "YAML"),
            ("- a\n- b\n", "YAML"),
            ("{ \"title\": \"x\" }", "JSON"),
            ("[\n  { \"a\": 1 }\n]\n", "JSON"),
            ("<?xml version=\"1.0\"?>\n", "XML"),
        ] {
            assert!(help_for(source).contains(&format!("looks like {format};")), "{source}: {}", help_for(source));
        }
        for toml in ["title = \n", "[a\nb = 1\n", "# only: a comment\nx = \n", "a = { b: 1 }\n"] {
            assert!(!help_for(toml).contains("looks like"), "{toml}: {}", help_for(toml));
        }
    }

    #[test]
    fn control_characters_in_names_are_refused_at_their_place() {
        for source in
            ["a = \"x\\u001b[31m\"\n", "a = [{ b = \"\\u009b2J\" }]\n", "\"\\u0007\" = 1\n", "a = \"x\\ry\"\n"]
        {
            let problems = read::<Anything>(source).unwrap_err();
            assert!(problems[0].message.contains("control character U+"), "{source}: {problems:?}");
            assert!(problems[0].span.clone().is_some_and(|span| !span.is_empty()), "{source}");
        }
        let sound = "a = \"tab\\tline\\nend\\r\\n\\\\\"\nfile = \"\\u0007\"\n";
        assert!(read::<Anything>(sound).is_ok());
    }

    /// Whatever a file contains, its diagnostics move no cursor.
    #[test]
    fn a_diagnostic_holds_no_escape_sequences() {
        let source = "title = \"\u{1b}[2J\u{9b}1m\u{7}\" \u{1b}]0;x\u{7}\n";
        for colour in [false, true] {
            let file = "a\u{1b}[2J\nb.toml".to_owned();
            let mut problems = read::<Anything>(source).unwrap_err();
            problems.push(Problem::of_file("\u{1b}c").help("\u{9b}c"));
            let text = Diagnostic { file, source: source.to_owned(), problems }.render(colour);
            let odd: Vec<&str> = text.split('\u{1b}').skip(1).filter(|rest| !rest.starts_with('[')).collect();
            assert!(odd.is_empty() && !text.contains("[2J\u{9b}"), "{text:?}");
            assert!(!text.contains(['\u{9b}', '\u{7}']) && (colour || !text.contains('\u{1b}')), "{text:?}");
            assert!(!text.contains("\u{1b}[2J"), "{text:?}");
        }
    }
}
