//! Metrics: the list for a scenario, and their values in one run or batch.

use hdrhistogram::Histogram;

use super::interval::{Estimate, estimate};
use crate::scenario::Scenario;
use crate::sim::model::{Model, Pool};
use crate::sim::record::{ClassRecord, ENDS, Measured, RequestOutcome, ServerRecord};

/// A metric, one value per replication (or per batch of one long run).
#[derive(Clone, Debug)]
pub struct Metric {
    /// As in `metrics.csv`.
    pub name: String,
    /// `s`, `1/s` or `1` (a plain number).
    pub unit: &'static str,
    /// In order of replication; NaN if a replication has no value.
    pub values: Vec<f64>,
}

impl Metric {
    /// Mean and interval.
    pub fn estimate(&self) -> Estimate {
        estimate(&self.values)
    }
}

/// Names of all metrics in the results of a scenario.
pub fn metric_names(scenario: &Scenario) -> Vec<String> {
    definitions(scenario).into_iter().map(|(name, _)| name).collect()
}

/// Name and unit of every metric, in output order.
pub(super) fn definitions(scenario: &Scenario) -> Vec<(String, &'static str)> {
    let mut names = Vec::new();
    walk(&scenario.model, 1.0, &mut |name, unit, _| names.push((name, unit)));
    names
}

/// The value of every metric over a span of `seconds`, in the same order.
pub(super) fn values(scenario: &Scenario, measured: &Measured, seconds: f64) -> Vec<f64> {
    let mut values = Vec::new();
    walk(&scenario.model, seconds, &mut |_, _, of| values.push(of(measured)));
    values
}

/// Receives name, unit and formula of a metric.
type Add<'a> = &'a mut dyn FnMut(String, &'static str, &dyn Fn(&Measured) -> f64);

/// Visits every metric of a model.
fn walk(model: &Model, seconds: f64, add: Add<'_>) {
    class_metrics("", seconds, &|m| &m.all, add);
    let entry: Vec<usize> = {
        let mut pools: Vec<usize> = model.paths.iter().map(|path| path.pool).collect();
        pools.sort_unstable();
        pools.dedup();
        pools
    };
    let every: Vec<usize> = (0..model.pools.len()).collect();
    let cached = |pool: &Pool| pool.servers.iter().any(|server| server.cache.is_some());
    add("fairness.jain".into(), "1", &|m| jain(&loads(&model.pools, &m.servers, &entry)));
    add("fairness.max_over_mean".into(), "1", &|m| max_over_mean(&loads(&model.pools, &m.servers, &entry)));
    if model.pools.iter().any(cached) {
        add("cache.hit_ratio".into(), "1", &|m| ratio(m.all.hits, m.all.hits + m.all.misses));
    }
    add("utilisation.mean".into(), "1", &|m| utilisation(&model.pools, &m.servers, &every));
    add("utilisation.max".into(), "1", &|m| m.servers.iter().flatten().map(|s| s.utilisation).fold(0.0, f64::max));
    add("in_server.mean".into(), "1", &|m| mean(m.servers.iter().flatten().map(|s| s.number)));
    let any = |what: fn(&Pool) -> bool| entry.iter().any(|&p| what(&model.pools[p]));
    // Requests of the pools where it can happen; where there is one pool, all.
    let requests = |m: &Measured, what: fn(&Pool) -> bool| match m.pools.len() {
        0 => m.all.requests(),
        _ => entry.iter().filter(|&&p| what(&model.pools[p])).map(|&p| m.pools[p].requests()).sum(),
    };
    if any(Pool::tries) {
        add("attempts.mean".into(), "1", &|m| ratio(m.efforts.attempts, requests(m, Pool::tries)));
    }
    if any(|pool| pool.policy.retries.is_some()) {
        add("retries.ratio".into(), "1", &|m| {
            ratio(m.efforts.retries, requests(m, |pool| pool.policy.retries.is_some()))
        });
    }
    if any(|pool| pool.policy.hedge.is_some()) {
        add("hedges.ratio".into(), "1", &|m| ratio(m.efforts.hedges, requests(m, |pool| pool.policy.hedge.is_some())));
        add("hedges.win_ratio".into(), "1", &|m| ratio(m.efforts.hedges_won, m.efforts.hedges));
    }
    if any(|pool| pool.policy.queue.is_some()) {
        add("balancer_queue.ratio".into(), "1", &|m| {
            ratio(m.efforts.waited, requests(m, |pool| pool.policy.queue.is_some()))
        });
        add("balancer_queue.mean".into(), "s", &|m| match m.efforts.waited {
            0 => 0.0,
            n => m.efforts.wait_sum as f64 / 1e9 / n as f64,
        });
    }
    if model.pools.iter().any(|pool| pool.policy.outliers.is_some()) {
        add("ejections".into(), "1", &|m| m.efforts.ejections as f64);
    }
    if any(|pool| pool.probes.is_some()) {
        add("probes.ratio".into(), "1", &|m| ratio(m.efforts.probes, m.all.requests()));
    }
    for (p, pool) in model.pools.iter().enumerate().filter(|(_, pool)| pool.autoscale.is_some()) {
        let name = if model.pools.len() > 1 { format!("{}.servers", pool.name) } else { "servers".to_owned() };
        add(name, "1", &|m| m.server_time.get(p).map_or(f64::NAN, |&time| time as f64 / 1e9 / seconds));
    }
    if model.has_zones() {
        add("zones.cross_ratio".into(), "1", &|m| {
            let picks = entry.iter().filter_map(|&p| m.servers.get(p)).flatten().map(|server| server.picks);
            ratio(m.efforts.crossed, picks.sum())
        });
    }
    if model.paths_are_told_apart() {
        for (p, path) in model.paths.iter().enumerate() {
            let name = path.path.trim_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_lowercase();
            let name = if name.is_empty() { "root" } else { &name };
            class_metrics(&format!("path.{name}."), seconds, &|m| &m.paths[p], add);
        }
    }
    if model.pools.len() > 1 {
        for (p, pool) in model.pools.iter().enumerate() {
            let name = |metric: &str| format!("{}.{metric}", pool.name);
            if entry.contains(&p) && entry.len() > 1 {
                class_metrics(&format!("{}.", pool.name), seconds, &|m| &m.pools[p], add);
            }
            add(name("fairness.jain"), "1", &|m| jain(&loads(&model.pools, &m.servers, &[p])));
            add(name("utilisation.mean"), "1", &|m| utilisation(&model.pools, &m.servers, &[p]));
            add(name("in_server.mean"), "1", &|m| mean(m.servers[p].iter().map(|s| s.number)));
            if cached(pool) {
                add(name("cache.hit_ratio"), "1", &|m| {
                    let (hits, misses) = m.servers[p].iter().fold((0, 0), |(h, m), s| (h + s.hits, m + s.misses));
                    ratio(hits, hits + misses)
                });
            }
        }
    }
}

fn class_metrics(prefix: &str, seconds: f64, class: &dyn Fn(&Measured) -> &ClassRecord, add: Add<'_>) {
    let mut metric = |name: &str, unit, of: &dyn Fn(&ClassRecord) -> f64| {
        add(format!("{prefix}{name}"), unit, &|measured| of(class(measured)));
    };
    metric("latency.mean", "s", &|c| match c.latency.len() {
        0 => f64::NAN,
        n => c.latency_sum as f64 / 1e9 / n as f64,
    });
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
        metric(&format!("latency.{name}"), "s", &|c| at_quantile(&c.latency, quantile));
    }
    metric("throughput", "1/s", &|c| (c.requests() - c.unfinished) as f64 / seconds);
    metric("goodput", "1/s", &|c| c.ok() as f64 / seconds);
    metric("errors.ratio", "1", &|c| ratio(c.requests() - c.unfinished - c.ok(), c.requests()));
    for &(end, name) in ENDS.iter().filter(|(end, _)| *end != RequestOutcome::Ok) {
        metric(&format!("errors.{name}"), "1", &|c| ratio(c.ends[end as usize], c.requests()));
    }
    metric("unfinished.ratio", "1", &|c| ratio(c.unfinished, c.requests()));
}

pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += value;
        count += 1;
    }
    if count == 0 { f64::NAN } else { sum / f64::from(count) }
}

pub(super) fn at_quantile(latency: &Histogram<u64>, quantile: f64) -> f64 {
    if latency.is_empty() { f64::NAN } else { latency.value_at_quantile(quantile) as f64 / 1e9 }
}

/// Each server's share of its pool's requests over its share of the pool's capacity: 1 is fair.
pub(super) fn loads(pools: &[Pool], servers: &[Vec<ServerRecord>], which: &[usize]) -> Vec<f64> {
    let mut loads = Vec::new();
    for &p in which {
        let requests: u64 = servers[p].iter().map(|server| server.picks).sum();
        let capacity: f64 = pools[p].servers.iter().map(|server| server.capacity()).sum();
        for (server, spec) in servers[p].iter().zip(&pools[p].servers) {
            loads.push(ratio(server.picks, requests) / (spec.capacity() / capacity));
        }
    }
    loads
}

/// Jain's index: (Σx)² / (n Σx²), 1 when all are equal, 1/n when one has all.
fn jain(x: &[f64]) -> f64 {
    let (sum, squares) = x.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    if squares > 0.0 { sum * sum / (x.len() as f64 * squares) } else { f64::NAN }
}

fn max_over_mean(x: &[f64]) -> f64 {
    let average = mean(x.iter().copied());
    x.iter().copied().fold(0.0, f64::max) / average
}

/// Used capacity over capacity.
pub(super) fn utilisation(pools: &[Pool], servers: &[Vec<ServerRecord>], which: &[usize]) -> f64 {
    let (mut used, mut capacity) = (0.0, 0.0);
    for &p in which {
        for (server, spec) in servers[p].iter().zip(&pools[p].servers) {
            used += server.utilisation * spec.capacity();
            capacity += spec.capacity();
        }
    }
    used / capacity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_by_hand() {
        // (1+2+3)² / (3 · 14)
        assert!((jain(&[1.0, 2.0, 3.0]) - 36.0 / 42.0).abs() < 1e-12);
        assert_eq!(jain(&[0.0, 0.0, 4.0, 0.0]), 0.25);
        assert_eq!(max_over_mean(&[1.0, 2.0, 3.0]), 1.5);
    }
}
