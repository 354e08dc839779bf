//! The first replication of each strategy over time, and why it came out so.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::folder::Folder;
use super::model::{Timeline, TimelineServer};
use crate::report::files::timeline::{NAME, read};
use evenkeel_sim::sim::timeline::{self, ServerSeries};

/// A page has at most so many bins.
const MOST_BINS: usize = 200;
/// Fewest bins: below that the course of events is lost.
const FEWEST_BINS: usize = 60;
/// Servers times strategies times bins are at most this, as far as [`FEWEST_BINS`] allow it.
const MOST_CELLS: usize = 100_000;

/// Timelines and explanation of these strategies, in this order.
pub struct Course {
    /// `None` where the results have no timeline of the strategy.
    pub timelines: Vec<Option<Timeline>>,
    /// Why the strategies differ; `None` where the results have no timelines.
    pub why: Option<serde_json::Value>,
}

/// Reads the course of events of these strategies.
///
/// # Errors
/// If the file is malformed.
pub fn course(folder: &Folder, labels: &[&str]) -> Result<Course> {
    let Some(bytes) = folder.files.get(NAME) else {
        return Ok(Course { timelines: vec![None; labels.len()], why: None });
    };
    let all = read(&bytes[..]).with_context(|| format!("cannot read {NAME}"))?;
    let all: BTreeMap<&str, &timeline::Timeline> =
        all.iter().map(|(label, timeline)| (label.as_str(), timeline)).collect();
    let cells = all.values().map(|timeline| timeline.servers.len()).sum::<usize>().max(1);
    let most = (MOST_CELLS / cells).clamp(FEWEST_BINS, MOST_BINS);
    let timelines = labels.iter().map(|label| all.get(label).map(|timeline| shorter(timeline, most))).collect();
    Ok(Course { timelines, why: None })
}

/// A timeline with at most so many bins.
fn shorter(from: &timeline::Timeline, most: usize) -> Timeline {
    let bins = from.bins as usize;
    let factor = bins.div_ceil(most).max(1);
    let sum = |series: &[u32]| merged(series, bins, factor, |all| all.iter().map(|&n| u64::from(n)).sum());
    let highest = |series: &[u32]| merged(series, bins, factor, |all| all.iter().copied().max().unwrap_or(0).into());
    let server = |server: &ServerSeries| TimelineServer {
        pool: server.pool.clone(),
        server: server.server.clone(),
        picks: sum(&server.picks),
        in_server: highest(&server.in_server),
        errors: sum(&server.errors),
    };
    let mut outcomes: BTreeMap<String, Vec<u64>> = BTreeMap::from([("ok".to_owned(), vec![0; bins.div_ceil(factor)])]);
    for (name, series) in from.pools.iter().flat_map(|pool| &pool.outcomes) {
        add(outcomes.entry(name.clone()).or_default(), &sum(series));
    }
    // `None` where it never happened in any pool.
    let all_pools = |of: fn(&timeline::PoolSeries) -> &[u32], highest_of: bool| {
        let mut total: Option<Vec<u64>> = None;
        for series in from.pools.iter().map(of).filter(|series| !series.is_empty()) {
            let shorter = if highest_of { highest(series) } else { sum(series) };
            add(total.get_or_insert_default(), &shorter);
        }
        total
    };
    Timeline {
        bin: (from.bin_ns * factor as u64) as f64 / 1e9,
        servers: from.servers.iter().map(server).collect(),
        outcomes,
        retries: all_pools(|pool| &pool.retries, false),
        hedges: all_pools(|pool| &pool.hedges, false),
        balancer_queue: all_pools(|pool| &pool.waiting, true),
    }
}

fn add(total: &mut Vec<u64>, more: &[u64]) {
    total.resize(more.len().max(total.len()), 0);
    total.iter_mut().zip(more).for_each(|(total, more)| *total += more);
}

/// A series with `factor` bins made into one. A series that is zero throughout is stored empty.
fn merged(series: &[u32], bins: usize, factor: usize, of: impl Fn(&[u32]) -> u64) -> Vec<u64> {
    let mut all = series.to_vec();
    all.resize(bins, 0);
    all.chunks(factor).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_summed_and_queues_keep_their_peaks() {
        let server = ServerSeries {
            pool: "web".to_owned(),
            server: "a".to_owned(),
            picks: vec![1, 2, 3, 4, 5],
            in_server: vec![1, 9, 2, 3, 1],
            ..ServerSeries::default()
        };
        let pool = |waiting: Vec<u32>| timeline::PoolSeries { waiting, ..Default::default() };
        let from = timeline::Timeline {
            bin_ns: 100_000_000,
            bins: 5,
            servers: vec![server],
            pools: vec![pool(vec![1, 2, 0, 0, 7]), pool(vec![0, 5, 0, 0, 0]), pool(Vec::new())],
            ..Default::default()
        };
        let found = shorter(&from, 3);
        assert_eq!(found.bin, 0.2);
        assert_eq!(found.servers[0].picks, [3, 7, 5]);
        assert_eq!(found.servers[0].in_server, [9, 3, 1]);
        assert_eq!(found.servers[0].errors, [0, 0, 0]);
        assert_eq!(found.balancer_queue, Some(vec![7, 0, 7]), "the sum of both pools' peaks");
        assert_eq!(found.retries, None);
        assert_eq!(found.outcomes["ok"], [0, 0, 0]);
    }
}
