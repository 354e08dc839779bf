//! Bad input, as the page shows it: the problem, its place, and a way out.

use evenkeel_config::Problems;
use evenkeel_sim::sim::act::ActError;
use serde::Serialize;

/// Why a call is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The problem, a sentence.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
    /// Line in the scenario, from 1; `None` where the problem is in no particular place.
    pub line: Option<usize>,
    /// Column in that line, in characters, from 1.
    pub column: Option<usize>,
    /// Further problems of the same text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Refusal>,
}

impl Refusal {
    /// A problem without a place.
    pub fn new(message: impl Into<String>) -> Refusal {
        Refusal { message: message.into(), ..Refusal::default() }
    }

    /// Adds how to fix it.
    pub fn help(mut self, help: impl Into<String>) -> Refusal {
        self.help = Some(help.into());
        self
    }

    /// The problems of a text.
    pub fn of(source: &str, problems: &Problems) -> Refusal {
        let mut all = problems.iter().map(|problem| {
            let place = problem.span.as_ref().map(|span| place(source, span.start));
            Refusal {
                message: problem.message.clone(),
                help: problem.help.clone(),
                line: place.map(|place| place.0),
                column: place.map(|place| place.1),
                more: Vec::new(),
            }
        });
        let first = all.next().unwrap_or_else(|| Refusal::new("the scenario cannot be read"));
        Refusal { more: all.collect(), ..first }
    }
}

impl From<ActError> for Refusal {
    fn from(ActError { message, help }: ActError) -> Refusal {
        Refusal { message, help, ..Refusal::default() }
    }
}

impl From<String> for Refusal {
    fn from(message: String) -> Refusal {
        Refusal::new(message)
    }
}

/// Line and column of a byte in a text, from 1.
pub(crate) fn place(source: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let before = &source[..at];
    let line = before.matches('\n').count() + 1;
    (line, before.chars().rev().take_while(|&c| c != '\n').count() + 1)
}
