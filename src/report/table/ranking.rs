//! The order of strategies, and the comparison of each with the best.

use crate::report::Outcome;
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
    fn prefix(&self) -> String {
        self.pool.map_or_else(String::new, |pool| format!("{pool}."))
    }

    /// The value by which a strategy is ranked: p99, seconds.
    pub fn value(&self, summary: &Summary) -> f64 {
        summary.value(&format!("{}{RANKED_BY}", self.prefix()))
    }

    /// The display order of strategies: the best first, those with more errors after all others, baselines last.
    pub fn order(&self, outcome: &Outcome<'_>) -> Vec<usize> {
        let key = |i: usize| match self.stands[i] {
            _ if outcome.summaries[i].oracle => (3, 0.0),
            Some(Comparison::Overloaded) => (2, self.value(&outcome.summaries[i])),
            Some(Comparison::Fails(more)) => (1, more),
            _ => (0, finite_or(self.value(&outcome.summaries[i]), f64::INFINITY)),
        };
        sorted(outcome, key)
    }
}

fn finite_or(value: f64, otherwise: f64) -> f64 {
    if value.is_finite() { value } else { otherwise }
}

fn sorted(outcome: &Outcome<'_>, key: impl Fn(usize) -> (u8, f64)) -> Vec<usize> {
    let mut order: Vec<usize> = (0..outcome.summaries.len()).collect();
    order.sort_by(|&a, &b| key(a).0.cmp(&key(b).0).then(key(a).1.total_cmp(&key(b).1)));
    order
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

/// The display order of strategies. With several pools: by the mean of the ratios to each pool's best (geometric); those
/// with more errors in any pool after all others, by their number over all pools.
pub fn order(outcome: &Outcome<'_>, rankings: &[Ranking<'_>]) -> Vec<usize> {
    if let [only] = rankings {
        return only.order(outcome);
    }
    let best = |ranking: &Ranking<'_>| {
        let at = ranking.stands.iter().position(|stands| *stands == Some(Comparison::Best));
        at.map_or(f64::NAN, |i| ranking.value(&outcome.summaries[i]))
    };
    let best: Vec<f64> = rankings.iter().map(best).collect();
    let key = |i: usize| {
        let summary = &outcome.summaries[i];
        let more = rankings.iter().filter_map(|ranking| match ranking.stands[i] {
            Some(Comparison::Fails(more)) => Some(more),
            _ => None,
        });
        let more: Vec<f64> = more.collect();
        let ratios = rankings.iter().zip(&best).map(|(ranking, best)| ranking.value(summary) / best);
        let ratios = ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0).map(evenkeel_core::math::ln);
        match summary {
            _ if summary.oracle => (3, 0.0),
            _ if !summary.ranks() => (2, ratios.sum()),
            _ if !more.is_empty() => (1, more.iter().sum()),
            _ => (0, ratios.sum()),
        }
    };
    sorted(outcome, key)
}
