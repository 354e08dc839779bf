//! The answer to a scenario's question, in sentences that the statistics support. The terminal, Markdown, `manifest.json` and
//! the HTML report all show these sentences.
//!
//! They are made from a [`Field`]: the strategies as the rankings see them. A field comes from results in memory
//! ([`Field::new`]), or from the files of a results folder.

mod sentences;
#[cfg(test)]
mod tests;
mod words;

pub use sentences::{NOTABLE, holds, sentences};
pub use words::list;

use super::table::Ranking;
use super::{Outcome, grouped};
use evenkeel_sim::measure::interval::{Estimate, LEVEL};
use evenkeel_sim::measure::{Comparison, Summary, Verdict, difference};

/// The strategies of a scenario as its rankings see them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Field {
    /// The pools that are ranked separately; empty if there is one ranking of all requests.
    pub pools: Vec<String>,
    /// A row per strategy, in the order of the scenario.
    pub rows: Vec<Row>,
    /// Runs per strategy, or batches of one long run.
    pub replications: u32,
    /// Whether they are batches.
    pub batches: bool,
}

/// A strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its label.
    pub label: String,
    /// Name in the catalogue.
    pub strategy: String,
    /// Whether it is a baseline with perfect information.
    pub oracle: bool,
    /// Whether it can be ranked: an overloaded steady state cannot.
    pub ranks: bool,
    /// Whether there is a steady state.
    pub state: Verdict,
    /// Hash of all picks, by replication, in hexadecimal.
    pub picks: Vec<String>,
    /// Its place in each ranking: one per pool, or one.
    pub places: Vec<Place>,
}

/// The place of a strategy in a ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Comparison with the best; `None` if there is nothing to compare.
    pub stand: Option<Comparison>,
    /// The value by which it is ranked: p99, seconds; NaN without a value.
    pub p99: f64,
    /// Share of requests without a successful response, 0 to 1; NaN without requests.
    pub failed: f64,
    /// Paired difference of p99 from the best, at 95 %; `None` where there is none.
    pub gap: Option<Estimate>,
}

impl Field {
    /// The field of results in memory.
    pub fn new(outcome: &Outcome<'_>, rankings: &[Ranking<'_>]) -> Field {
        let summaries = &outcome.summaries;
        let row = |(i, summary): (usize, &Summary)| Row {
            label: summary.label.clone(),
            strategy: summary.strategy.to_owned(),
            oracle: summary.oracle,
            ranks: summary.ranks(),
            state: summary.stability.verdict,
            picks: summary.pick_hashes.iter().map(|hash| format!("{hash:016x}")).collect(),
            places: rankings.iter().map(|ranking| place(ranking, summaries, i)).collect(),
        };
        let batches = outcome.scenario.model.batches;
        Field {
            pools: rankings.iter().filter_map(|ranking| ranking.pool.map(str::to_owned)).collect(),
            rows: summaries.iter().enumerate().map(row).collect(),
            replications: if batches > 1 { batches } else { outcome.replications },
            batches: batches > 1,
        }
    }

    /// Number of rankings.
    pub fn rankings(&self) -> usize {
        self.pools.len().max(1)
    }

    /// The index of the best strategy in a ranking; `None` where none could be compared.
    pub fn best(&self, ranking: usize) -> Option<usize> {
        self.rows.iter().position(|row| row.places[ranking].stand == Some(Comparison::Best))
    }

    /// The display order of strategies. With one ranking: the best first, those with more errors after all others, baselines
    /// last. With several: by the mean of the ratios to each pool's best (geometric); those with more errors in any pool after
    /// all others, by their number over all pools.
    pub fn order(&self) -> Vec<usize> {
        let best: Vec<f64> =
            (0..self.rankings()).map(|r| self.best(r).map_or(f64::NAN, |i| self.rows[i].places[r].p99)).collect();
        let key = |row: &Row| match &row.places[..] {
            [only] => only_key(row, only),
            places => {
                let more = places.iter().filter_map(|place| match place.stand {
                    Some(Comparison::Fails(more)) => Some(more),
                    _ => None,
                });
                let more: Vec<f64> = more.collect();
                let ratios = places.iter().zip(&best).map(|(place, best)| place.p99 / best);
                let ratios = ratios.filter(|ratio| ratio.is_finite() && *ratio > 0.0).map(evenkeel_core::math::ln);
                match row {
                    _ if row.oracle => (3, 0.0),
                    _ if !row.ranks => (2, ratios.sum()),
                    _ if !more.is_empty() => (1, more.iter().sum()),
                    _ => (0, ratios.sum()),
                }
            }
        };
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        let keys: Vec<(u8, f64)> = self.rows.iter().map(key).collect();
        order.sort_by(|&a, &b| keys[a].0.cmp(&keys[b].0).then(keys[a].1.total_cmp(&keys[b].1)));
        order
    }

    /// Groups of strategies, by index, that picked the same servers in every run; only groups of two or more.
    pub fn same_picks(&self) -> Vec<Vec<usize>> {
        let picks = |i: usize| &self.rows[i].picks;
        let mut groups =
            grouped(self.rows.len(), |first, other| !picks(other).is_empty() && picks(first) == picks(other));
        groups.retain(|group| group.len() > 1);
        groups
    }
}

/// The key of the order in a single ranking.
fn only_key(row: &Row, place: &Place) -> (u8, f64) {
    match place.stand {
        _ if row.oracle => (3, 0.0),
        Some(Comparison::Overloaded) => (2, place.p99),
        Some(Comparison::Fails(more)) => (1, more),
        _ => (0, if place.p99.is_finite() { place.p99 } else { f64::INFINITY }),
    }
}

fn place(ranking: &Ranking<'_>, summaries: &[Summary], which: usize) -> Place {
    let best = ranking.stands.iter().position(|stands| *stands == Some(Comparison::Best));
    let summary = &summaries[which];
    Place {
        stand: ranking.stands[which],
        p99: ranking.value(summary),
        failed: summary.failed(&ranking.prefix()),
        gap: best.and_then(|best| difference(summary, &summaries[best], &ranking.metric(), LEVEL)),
    }
}
