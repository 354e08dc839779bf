//! Why a run went as it did: sentences, each computed from the events and counts of its [`Timeline`], with the time and the
//! numbers in it. The story of each strategy, the decisive difference between any two, the life of the slowest requests, and a
//! few picks with the scores beside the truth. All of it is of the first replication.
//!
//! A sentence is a [`Fact`], which has the numbers; the text is made from it alone.

mod details;
mod differences;
mod facts;
mod format;
mod incidents;
mod series;
mod story;
#[cfg(test)]
mod tests;
mod wording;

use serde::Serialize;

use crate::sim::model::Model;
use crate::sim::timeline::Timeline;

pub use details::{PickView, PickViews, PickedServer, RequestLife, Slowest, Step};
pub use differences::{Clause, Difference};
pub use facts::{By, Fact, Span};
pub use format::Ratio;

/// A strategy with the timeline of its first replication.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its index among the strategies of the report.
    pub index: usize,
    /// Its label.
    pub label: &'a str,
    /// Its first replication over time.
    pub timeline: &'a Timeline,
}

/// The explanation of a run. Strategies are referred to by [`Subject::index`].
#[derive(Clone, Debug, Default, Serialize)]
pub struct Why {
    /// One per strategy, in time order.
    pub stories: Vec<Story>,
    /// For each pair of strategies with different picks; `a` comes before `b` among the subjects.
    pub differences: Vec<Difference>,
    /// The slowest requests of each strategy.
    pub slowest: Vec<Slowest>,
    /// A few picks of each strategy.
    pub picks: Vec<PickViews>,
}

/// What happened in the run of one strategy.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    /// The strategy.
    pub index: usize,
    /// In time order.
    pub sentences: Vec<Sentence>,
}

/// A sentence of a story.
#[derive(Clone, Debug, Serialize)]
pub struct Sentence {
    /// Seconds since the start of the run.
    pub time: f64,
    /// `fault`, `share`, `queue`, `timeout`, `error`, `health`, `ejection`, `scale`, `retry`, `hedge`, `cache`, `recovery`, `latency`, `load`.
    pub kind: &'static str,
    /// The text; it begins with the time.
    pub text: String,
    /// The server concerned, `pool/server`.
    pub server: Option<String>,
    /// What it says, as numbers.
    #[serde(skip)]
    pub fact: Fact,
}

/// Explains the runs of these strategies.
pub fn why(model: &Model, subjects: &[Subject<'_>]) -> Why {
    let incidents = incidents::incidents(model);
    let stories = subjects.iter().map(|subject| Story {
        index: subject.index,
        sentences: sentences(subject, story::story(model, subject.timeline, &incidents)),
    });
    Why {
        stories: stories.collect(),
        differences: differences::differences(model, subjects, &incidents),
        slowest: subjects.iter().map(details::slowest).collect(),
        picks: subjects.iter().map(details::picks).collect(),
    }
}

fn sentences(subject: &Subject<'_>, facts: Vec<Fact>) -> Vec<Sentence> {
    let sentence = |fact: Fact| Sentence {
        time: seconds(fact.at()),
        kind: fact.kind(),
        text: fact.text(subject.label, subject.timeline),
        server: fact.server().map(|server| subject.timeline.server_name(server)),
        fact,
    };
    facts.into_iter().map(sentence).collect()
}

/// At most three lines for a terminal: what happened, and how the last of these strategies differs from the first. Give the best
/// strategy first and the worst one last.
pub fn short(model: &Model, subjects: &[Subject<'_>]) -> Vec<String> {
    let (Some(best), Some(worst)) = (subjects.first(), subjects.last()) else { return Vec::new() };
    let incidents = incidents::incidents(model);
    let facts = story::story(model, worst.timeline, &incidents);
    let mut lines = Vec::new();
    if let Some(fault) = facts.iter().find(|fact| matches!(fact, Fact::Fault { .. })) {
        lines.push(fault.text(worst.label, worst.timeline));
    }
    if subjects.len() > 1 {
        let both = differences::differences(model, &[*best, *worst], &incidents);
        lines.extend(both.into_iter().map(|difference| difference.text));
    }
    let failure = facts.iter().find(|fact| matches!(fact, Fact::Failures { .. }));
    let failure = failure.map(|fact| format!("{}, {}", worst.label, fact.text(worst.label, worst.timeline)));
    lines.extend(failure);
    lines
}

/// Nanoseconds as seconds.
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
