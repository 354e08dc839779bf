//! What is wrong with a file, where, and what to do about it; drawn the way the compiler draws its errors.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::de::DeTable;

use super::schema;
use super::wording::Words;
use crate::select::catalog;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Bytes of the text it is about; `None` for the file as a whole.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// A way out.
    pub help: Option<String>,
}

impl Problem {
    /// Something wrong at a place.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Problem {
        Problem { span: Some(span), message: message.into(), help: None }
    }

    /// Something wrong with the file.
    pub fn of_file(message: impl Into<String>) -> Problem {
        Problem { span: None, message: message.into(), help: None }
    }

    /// With a way out.
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }
}

/// Everything found wrong with one file.
pub type Problems = Vec<Problem>;

/// A file and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// As the user named it.
    pub file: String,
    /// Its text.
    pub source: String,
    /// At least one.
    pub problems: Problems,
}

impl Diagnostic {
    /// The file, its lines and carets under what is meant.
    pub fn render(&self, colour: bool) -> String {
        self.render_as(Level::ERROR, colour)
    }

    /// The same as warnings: the file can be used.
    pub fn render_warnings(&self, colour: bool) -> String {
        self.render_as(Level::WARNING, colour)
    }

    fn render_as(&self, level: Level<'static>, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = Vec::new();
        for problem in &self.problems {
            let mut group = Group::with_title(level.clone().primary_title(problem.message.as_str()));
            let whole = problem.span.is_none();
            let span = problem.span.clone().unwrap_or(0..0);
            let span = span.start.min(self.source.len())..span.end.min(self.source.len());
            if whole {
                group = group.element(annotate_snippets::Origin::path(self.file.as_str()));
            } else {
                let snippet = Snippet::source(self.source.as_str()).line_start(1).path(self.file.as_str());
                group = group.element(snippet.annotation(AnnotationKind::Primary.span(span)));
            }
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(help.as_str()));
            }
            text.push(renderer.render(&[group]).to_string());
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

/// Reads TOML into `T`. Problems have their places, say what `T`'s schema takes there, with an example, and which name a
/// misspelt one was most likely meant to be. Values of a wrong kind are all found; of the rest the first.
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
    let table = DeTable::parse(source).map_err(broken)?;
    let mut problems = Problems::new();
    words.wrong_kinds(source, table.get_ref(), &mut problems);
    if !problems.is_empty() {
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
        return Err(problems);
    }
    toml::from_str(source).map_err(broken)
}

/// The name in `known` most like `wrong`, if any is as like as this (Jaro and Winkler's measure).
pub(super) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str>, least: f64) -> Option<&'a str> {
    let wrong = wrong.to_lowercase().replace('-', "_");
    known
        .map(|name| (strsim::jaro_winkler(&wrong, name), name))
        .filter(|(likeness, _)| *likeness > least)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The name in `known` most like `wrong`, as a help text; else the list of them.
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
}
