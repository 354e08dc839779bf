//! The first replication of each strategy over time, and why it came out so.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use super::folder::Folder;
use super::model::{Timeline, TimelineServer};
use crate::report::files::timeline::{NAME, read};
use crate::report::files::why::NAME as WHY;
use crate::report::why::Explanation;
use evenkeel_sim::sim::timeline::{self, ServerSeries};

/// A page has at most so many bins.
const MOST_BINS: usize = 200;
/// Fewest bins: below that the course of events is lost.
const FEWEST_BINS: usize = 60;
/// Servers times strategies times bins are at most this, as far as [`FEWEST_BINS`] allow it.
const MOST_CELLS: usize = 100_000;

/// The timelines of these strategies, in this order; `None` where the results have none.
///
/// # Errors
/// If the file is malformed.
pub fn timelines(folder: &Folder, labels: &[&str]) -> Result<Vec<Option<Timeline>>> {
    let Some(bytes) = folder.files.get(NAME) else { return Ok(vec![None; labels.len()]) };
    let all = read(&bytes[..]).with_context(|| format!("cannot read {NAME}"))?;
    let all: BTreeMap<&str, &timeline::Timeline> =
        all.iter().map(|(label, timeline)| (label.as_str(), timeline)).collect();
    let cells = all.values().map(|timeline| timeline.servers.len()).sum::<usize>().max(1);
    let most = (MOST_CELLS / cells).clamp(FEWEST_BINS, MOST_BINS);
    Ok(labels.iter().map(|label| all.get(label).map(|timeline| shorter(timeline, most))).collect())
}

/// Why these strategies differ, with the few lines of the terminal; `None` where the results do not say it. Strategies are
/// referred to by their index in `labels`.
///
/// # Errors
/// If the file is malformed.
pub fn why(folder: &Folder, labels: &[&str]) -> Result<Option<Explanation>> {
    let Some(bytes) = folder.files.get(WHY) else { return Ok(None) };
    let mut found: Explanation = serde_json::from_slice(bytes).with_context(|| format!("cannot read {WHY}"))?;
    let index: Vec<Option<usize>> =
        found.strategies.iter().map(|label| labels.iter().position(|other| other == label)).collect();
    for part in ["stories", "differences", "slowest", "picks"] {
        if let Some(entries) = found.why.get_mut(part).and_then(Value::as_array_mut) {
            entries.retain_mut(|entry| renumber(entry, &index));
        }
    }
    Ok(Some(found))
}

/// Renumbers the strategies of an entry, with `a` before `b`; `false` if one of them is not there.
fn renumber(entry: &mut Value, index: &[Option<usize>]) -> bool {
    for key in ["index", "a", "b"] {
        let Some(old) = entry.get(key).and_then(Value::as_u64) else { continue };
        let Some(new) = index.get(old as usize).copied().flatten() else { return false };
        entry[key] = new.into();
    }
    if let (Some(a), Some(b)) = (entry.get("a").and_then(Value::as_u64), entry.get("b").and_then(Value::as_u64)) {
        (entry["a"], entry["b"]) = (a.min(b).into(), a.max(b).into());
    }
    true
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
    fn strategies_are_renumbered() {
        let mut folder = Folder::default();
        let file = serde_json::json!({
            "strategies": ["a", "b", "gone"], "short": ["x"],
            "why": {
                "stories": [{ "index": 0, "sentences": [] }, { "index": 2, "sentences": [] }],
                "differences": [{ "a": 0, "b": 1, "text": "t" }, { "a": 1, "b": 2, "text": "u" }],
            },
        });
        folder.files.insert(WHY.to_owned(), file.to_string().into_bytes());
        let found = why(&folder, &["b", "a"]).unwrap().unwrap();
        assert_eq!(found.why["stories"], serde_json::json!([{ "index": 1, "sentences": [] }]));
        assert_eq!(found.why["differences"], serde_json::json!([{ "a": 0, "b": 1, "text": "t" }]));
        folder.files.insert(WHY.to_owned(), b"{".to_vec());
        assert!(why(&folder, &[]).unwrap_err().to_string().contains("why.json"));
    }

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
