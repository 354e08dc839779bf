//! The order of strategies, and the comparison of each with the best.

use crate::report::Outcome;
use crate::report::answer::Field;
use evenkeel_sim::measure::{Comparison, Summary, compare_in};

/// The metric by which strategies are ranked.
const RANKED_BY: &str = "latency.p99";

/// The pools that are ranked separately: the entry pools, if there are several.
pub fn entry_pools<'a>(outcome: &'a Outcome<'_>) -> Vec<&'a str> {
    let has = |pool: &str| outcome.summaries.iter().any(|s| s.metric(&format!("{pool}.latency.p99")).is_some());
    outcome.scenario.model.pools.iter().map(|pool| pool.name.as_str()).filter(|pool| has(pool)).collect()
}

/// How strategies compare by `RANKED_BY`, for all requests or, with several entry pools, for the requests of one of them:
/// a mixture of pools is meaningless.
pub struct Ranking<'a> {
    /// The pool; `None` for all requests.
    pub pool: Option<&'a str>,
    /// By index of the outcome's summaries.
    pub stands: Vec<Option<Comparison>>,
}

impl Ranking<'_> {
    /// The prefix of its metrics' names.
    pub fn prefix(&self) -> String {
        self.pool.map_or_else(String::new, |pool| format!("{pool}."))
    }

    /// The metric by which strategies are ranked.
    pub fn metric(&self) -> String {
        format!("{}{RANKED_BY}", self.prefix())
    }

    /// The value by which a strategy is ranked: p99, seconds.
    pub fn value(&self, summary: &Summary) -> f64 {
        summary.value(&self.metric())
    }

    /// The display order of strategies: the best first, those with more errors after all others, baselines last.
    pub fn order(&self, outcome: &Outcome<'_>) -> Vec<usize> {
        Field::new(outcome, std::slice::from_ref(self)).order()
    }
}

/// A ranking for each pool where there are several, else one for all requests.
pub fn rankings<'a>(outcome: &'a Outcome<'_>) -> Vec<Ranking<'a>> {
    let ranking = |pool: Option<&'a str>| {
        let prefix = pool.map_or_else(String::new, |pool| format!("{pool}."));
        Ranking { pool, stands: compare_in(&outcome.summaries, &prefix, RANKED_BY) }
    };
    match entry_pools(outcome) {
        pools if pools.is_empty() => vec![ranking(None)],
        pools => pools.into_iter().map(|pool| ranking(Some(pool))).collect(),
    }
}

/// The display order of strategies, as [`Field::order`].
pub fn order(outcome: &Outcome<'_>, rankings: &[Ranking<'_>]) -> Vec<usize> {
    Field::new(outcome, rankings).order()
}
