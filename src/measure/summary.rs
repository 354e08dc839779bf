//! Everything that is reported of one strategy in one scenario.

use hdrhistogram::Histogram;

use super::interval::{Estimate, LEVEL, estimate, estimate_at};
use crate::scenario::Scenario;
use crate::sim::model::Pool;
use crate::sim::record::{ClassRecord, ENDS, End, RunRecord, ServerRecord, histogram};

/// A measure, one value per replication.
#[derive(Clone, Debug)]
pub struct Metric {
    /// As in `metrics.csv`.
    pub name: String,
    /// `s`, `1/s` or `1` (a plain number).
    pub unit: &'static str,
    /// In order of replication; NaN where it has none.
    pub values: Vec<f64>,
}

impl Metric {
    /// Mean and interval.
    pub fn estimate(&self) -> Estimate {
        estimate(&self.values)
    }
}

/// A server, means over replications.
#[derive(Clone, Debug)]
pub struct ServerRow {
    /// Name of the pool, or `balancer`.
    pub pool: String,
    /// Name of the server.
    pub server: String,
    /// Configured weight.
    pub weight: u32,
    /// Work per unit of time.
    pub capacity: f64,
    /// Measured requests.
    pub requests: f64,
    /// Share of the pool's requests.
    pub share: f64,
    /// Share of requests over share of capacity: 1 is fair.
    pub load: f64,
    /// Busy share.
    pub utilisation: f64,
    /// Mean number of requests in it.
    pub number: f64,
    /// Mean time in it, seconds.
    pub residence: f64,
    /// Requests it failed.
    pub errors: f64,
    /// Hits over look-ups; NaN without a cache.
    pub hit_ratio: f64,
}

/// A bin of the time series over all replications.
#[derive(Clone, Copy, Debug)]
pub struct SeriesPoint {
    /// Middle of the bin, seconds.
    pub time: f64,
    /// Good answers per second.
    pub goodput: f64,
    /// Failed requests per second.
    pub errors: f64,
    /// Mean latency, seconds.
    pub mean: f64,
    /// 99th percentile of the latency, seconds; histograms merged over replications.
    pub p99: f64,
    /// Requests in the system at the bin's end.
    pub in_system: f64,
}

/// One strategy in one scenario.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The contestant's label.
    pub label: String,
    /// Its name in the catalogue.
    pub strategy: &'static str,
    /// Whether it is a baseline that sees what no balancer can.
    pub oracle: bool,
    /// Measures, always in the same order.
    pub metrics: Vec<Metric>,
    /// (share of requests, latency in seconds): the share that is at most so slow; histograms merged.
    pub cdf: Vec<(f64, f64)>,
    /// Every server.
    pub servers: Vec<ServerRow>,
    /// The course of events.
    pub series: Vec<SeriesPoint>,
    /// Hash of the workload of each replication.
    pub workload_hashes: Vec<u64>,
    /// Hash of all picks of each replication.
    pub pick_hashes: Vec<u64>,
    /// Requests simulated in all replications.
    pub requests: u64,
}

impl Summary {
    /// A measure by name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// The mean of a measure; NaN where there is none.
    pub fn value(&self, name: &str) -> f64 {
        self.metric(name).map_or(f64::NAN, |metric| mean(metric.values.iter().copied().filter(|v| v.is_finite())))
    }

    /// Share of requests without a good answer: failed, or not finished when the run ended. `prefix` names a pool or path
    /// (`"payments."`), or is empty for all requests.
    pub fn failed(&self, prefix: &str) -> f64 {
        self.value(&format!("{prefix}errors.ratio")) + self.value(&format!("{prefix}unfinished.ratio"))
    }
}

/// Sums up the runs of one contestant, one per replication and in their order.
pub fn summarise(scenario: &Scenario, contestant: usize, runs: &[RunRecord]) -> Summary {
    let contestant = &scenario.contestants[contestant];
    let row = contestant.table.row();
    let mut all = histogram();
    for run in runs {
        all.add(&run.all.latency).expect("histograms of one kind");
    }
    Summary {
        label: contestant.label.clone(),
        strategy: row.name,
        oracle: row.doc.oracle,
        metrics: metrics(scenario, runs),
        cdf: cdf(&all),
        servers: servers(scenario, runs),
        series: series(scenario, runs),
        workload_hashes: runs.iter().map(|run| run.workload_hash).collect(),
        pick_hashes: runs.iter().map(|run| run.pick_hash).collect(),
        requests: runs.iter().map(|run| run.requests).sum(),
    }
}

/// The name of every measure that a scenario's results will have.
pub fn metric_names(scenario: &Scenario) -> Vec<String> {
    metrics(scenario, &[]).into_iter().map(|metric| metric.name).collect()
}

fn metrics(scenario: &Scenario, runs: &[RunRecord]) -> Vec<Metric> {
    let model = &scenario.model;
    let span = model.duration.as_secs_f64();
    let mut metrics = Vec::new();
    let mut add = |name: &str, unit: &'static str, of: &dyn Fn(&RunRecord) -> f64| {
        metrics.push(Metric { name: name.to_owned(), unit, values: runs.iter().map(of).collect() });
    };
    class_metrics("", span, &|run| &run.all, &mut add);
    let entry: Vec<usize> = {
        let mut pools: Vec<usize> = model.paths.iter().map(|path| path.pool).collect();
        pools.sort_unstable();
        pools.dedup();
        pools
    };
    let every: Vec<usize> = (0..model.pools.len()).collect();
    add("fairness.jain", "1", &|run| jain(&loads(&model.pools, &run.servers, &entry)));
    add("fairness.max_over_mean", "1", &|run| max_over_mean(&loads(&model.pools, &run.servers, &entry)));
    if model.pools.iter().any(|pool| pool.servers.iter().any(|server| server.cache.is_some())) {
        add("cache.hit_ratio", "1", &|run| ratio(run.all.hits, run.all.hits + run.all.misses));
    }
    add("utilisation.mean", "1", &|run| utilisation(&model.pools, &run.servers, &every));
    add("utilisation.max", "1", &|run| run.servers.iter().flatten().map(|s| s.utilisation).fold(0.0, f64::max));
    add("queue.mean", "1", &|run| mean(run.servers.iter().flatten().map(|s| s.number)));
    if model.paths_are_told_apart() {
        for (p, path) in model.paths.iter().enumerate() {
            let name = path.path.trim_matches('/').replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_lowercase();
            let name = if name.is_empty() { "root" } else { &name };
            class_metrics(&format!("path.{name}."), span, &|run| &run.paths[p], &mut add);
        }
    }
    if model.pools.len() > 1 {
        for (p, pool) in model.pools.iter().enumerate() {
            let name = |metric: &str| format!("{}.{metric}", pool.name);
            if entry.contains(&p) && entry.len() > 1 {
                class_metrics(&format!("{}.", pool.name), span, &|run| &run.pools[p], &mut add);
            }
            add(&name("fairness.jain"), "1", &|run| jain(&loads(&model.pools, &run.servers, &[p])));
            add(&name("utilisation.mean"), "1", &|run| utilisation(&model.pools, &run.servers, &[p]));
            add(&name("queue.mean"), "1", &|run| mean(run.servers[p].iter().map(|s| s.number)));
            if pool.servers.iter().any(|server| server.cache.is_some()) {
                add(&name("cache.hit_ratio"), "1", &|run| {
                    let (hits, misses) = run.servers[p].iter().fold((0, 0), |(h, m), s| (h + s.hits, m + s.misses));
                    ratio(hits, hits + misses)
                });
            }
        }
    }
    metrics
}

type Add<'a> = &'a mut dyn FnMut(&str, &'static str, &dyn Fn(&RunRecord) -> f64);

fn class_metrics(prefix: &str, span: f64, class: &dyn Fn(&RunRecord) -> &ClassRecord, add: Add<'_>) {
    let mut metric = |name: &str, unit, of: &dyn Fn(&ClassRecord) -> f64| {
        add(&format!("{prefix}{name}"), unit, &|run| of(class(run)));
    };
    metric("latency.mean", "s", &|c| match c.latency.len() {
        0 => f64::NAN,
        n => c.latency_sum as f64 / 1e9 / n as f64,
    });
    for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)] {
        metric(&format!("latency.{name}"), "s", &|c| at_quantile(&c.latency, quantile));
    }
    metric("throughput", "1/s", &|c| (c.requests() - c.unfinished) as f64 / span);
    metric("goodput", "1/s", &|c| c.ok() as f64 / span);
    metric("errors.ratio", "1", &|c| ratio(c.requests() - c.unfinished - c.ok(), c.requests()));
    for &(end, name) in ENDS.iter().filter(|(end, _)| *end != End::Ok) {
        metric(&format!("errors.{name}"), "1", &|c| ratio(c.ends[end as usize], c.requests()));
    }
    metric("unfinished.ratio", "1", &|c| ratio(c.unfinished, c.requests()));
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for value in values {
        sum += value;
        count += 1;
    }
    if count == 0 { f64::NAN } else { sum / f64::from(count) }
}

fn at_quantile(latency: &Histogram<u64>, quantile: f64) -> f64 {
    if latency.is_empty() { f64::NAN } else { latency.value_at_quantile(quantile) as f64 / 1e9 }
}

/// Each server's share of its pool's requests over its share of the pool's capacity: 1 is fair.
fn loads(pools: &[Pool], servers: &[Vec<ServerRecord>], which: &[usize]) -> Vec<f64> {
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
fn utilisation(pools: &[Pool], servers: &[Vec<ServerRecord>], which: &[usize]) -> f64 {
    let (mut used, mut capacity) = (0.0, 0.0);
    for &p in which {
        for (server, spec) in servers[p].iter().zip(&pools[p].servers) {
            used += server.utilisation * spec.capacity();
            capacity += spec.capacity();
        }
    }
    used / capacity
}

/// The quantiles that the curves are drawn through: every percent, then every permille, then every tenth of one.
fn cdf(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    if latency.is_empty() {
        return Vec::new();
    }
    let percents = (0..=99).map(|i| f64::from(i) / 100.0);
    let permilles = (991..=999).map(|i| f64::from(i) / 1000.0);
    let tenths = (9991..=9999).map(|i| f64::from(i) / 10000.0);
    percents.chain(permilles).chain(tenths).map(|q| (q, at_quantile(latency, q))).collect()
}

fn servers(scenario: &Scenario, runs: &[RunRecord]) -> Vec<ServerRow> {
    let model = &scenario.model;
    let over = |of: &dyn Fn(&RunRecord) -> f64| mean(runs.iter().map(of).filter(|v| v.is_finite()));
    let mut rows = Vec::new();
    if model.balancers.count > 1 {
        let total = |run: &RunRecord| run.balancers.iter().sum::<u64>();
        for b in 0..model.balancers.count as usize {
            let share = over(&|run| ratio(run.balancers[b], total(run)));
            rows.push(ServerRow {
                pool: "balancer".to_owned(),
                server: (b + 1).to_string(),
                weight: 1,
                capacity: f64::NAN,
                requests: over(&|run| run.balancers[b] as f64),
                share,
                load: share * f64::from(model.balancers.count),
                utilisation: f64::NAN,
                number: f64::NAN,
                residence: f64::NAN,
                errors: f64::NAN,
                hit_ratio: f64::NAN,
            });
        }
    }
    for (p, pool) in model.pools.iter().enumerate() {
        // By run: the pool's picks, and each server's load.
        let picks: Vec<u64> = runs.iter().map(|run| run.servers[p].iter().map(|server| server.picks).sum()).collect();
        let loads: Vec<Vec<f64>> = runs.iter().map(|run| loads(&model.pools, &run.servers, &[p])).collect();
        let finite = |values: &mut dyn Iterator<Item = f64>| mean(values.filter(|v| v.is_finite()));
        for (s, spec) in pool.servers.iter().enumerate() {
            rows.push(ServerRow {
                pool: pool.name.clone(),
                server: spec.name.clone(),
                weight: spec.weight,
                capacity: spec.capacity(),
                requests: over(&|run| run.servers[p][s].picks as f64),
                share: finite(&mut runs.iter().zip(&picks).map(|(run, &all)| ratio(run.servers[p][s].picks, all))),
                load: finite(&mut loads.iter().map(|loads| loads[s])),
                utilisation: over(&|run| run.servers[p][s].utilisation),
                number: over(&|run| run.servers[p][s].number),
                residence: over(&|run| run.servers[p][s].residence),
                errors: over(&|run| run.servers[p][s].errors as f64),
                hit_ratio: over(&|run| {
                    let server = &run.servers[p][s];
                    ratio(server.hits, server.hits + server.misses)
                }),
            });
        }
    }
    rows
}

fn series(scenario: &Scenario, runs: &[RunRecord]) -> Vec<SeriesPoint> {
    let bins = runs.iter().map(|run| run.series.len()).min().unwrap_or(0);
    let span = (scenario.model.warmup + scenario.model.duration).as_secs_f64();
    let width = span / bins.max(1) as f64;
    let time = width * runs.len() as f64;
    let mut merged = Histogram::<u64>::new(2).expect("two digits are allowed");
    let mut points = Vec::new();
    for i in 0..bins {
        let bin = || runs.iter().map(|run| &run.series[i]);
        merged.reset();
        for &(value, count) in bin().flat_map(|bin| &bin.latency) {
            merged.record_n(value, count).expect("a histogram that resizes takes any value");
        }
        points.push(SeriesPoint {
            time: (i as f64 + 0.5) * width,
            goodput: bin().map(|bin| bin.ok).sum::<u64>() as f64 / time,
            errors: bin().map(|bin| bin.bad).sum::<u64>() as f64 / time,
            mean: match merged.len() {
                0 => f64::NAN,
                n => bin().map(|bin| bin.latency_sum).sum::<u128>() as f64 / 1e9 / n as f64,
            },
            p99: at_quantile(&merged, 0.99),
            in_system: bin().map(|bin| bin.in_system).sum::<u64>() as f64 / runs.len() as f64,
        });
    }
    points
}

/// How a strategy stands to the best one on a measure of which less is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    /// It has the least mean.
    Best,
    /// The paired differences cannot tell it from the best.
    Tied,
    /// So many times the best, and the interval of the paired difference leaves zero out.
    Worse(f64),
    /// So many times the best, with too few replications to tell by.
    Unknown(f64),
    /// It fails this share of requests more than the one that fails least: its latencies are those of the lucky.
    Fails(f64),
}

/// With fewer replications than this nothing is called better or worse: the corrected intervals would be as wide as a barn.
const ENOUGH: usize = 5;

/// A strategy that fails this share of requests more than another is not compared with it by latency.
const MORE_FAILURES: f64 = 0.001;

/// Compares every strategy with the best that is no oracle, pair by pair of replications: they met the same workload.
///
/// The level is corrected for the number of pairs (Bonferroni): which one is the best is known only after the fact, so any
/// pair could have been the one compared, and a field of equals is to come out as tied in at least 95 % of cases. (Over the
/// others alone, as if the best were given, a field of ten equals was tied in 88 %.)
pub fn compare(summaries: &[Summary], metric: &str) -> Vec<Option<Comparison>> {
    let failed = |summary: &Summary| Some(summary.failed("")).filter(|v| v.is_finite()).unwrap_or(0.0);
    let least = summaries.iter().filter(|s| !s.oracle).map(failed).fold(f64::INFINITY, f64::min);
    let excess = |summary: &Summary| failed(summary) - least;
    let best = summaries
        .iter()
        .filter(|s| !s.oracle && s.value(metric).is_finite() && excess(s) <= MORE_FAILURES)
        .min_by(|a, b| a.value(metric).total_cmp(&b.value(metric)));
    let Some((best, reference)) = best.and_then(|best| Some((best, best.metric(metric)?))) else {
        return vec![None; summaries.len()];
    };
    let ranked =
        summaries.iter().filter(|s| !s.oracle && s.value(metric).is_finite() && excess(s) <= MORE_FAILURES).count();
    let pairs = ranked.max(2) * (ranked.max(2) - 1) / 2;
    let level = 1.0 - (1.0 - LEVEL) / pairs as f64;
    let stands = |summary: &Summary| {
        if summary.label == best.label {
            return Some(Comparison::Best);
        }
        if excess(summary) > MORE_FAILURES {
            return Some(Comparison::Fails(excess(summary)));
        }
        let values = &summary.metric(metric)?.values;
        let times = summary.value(metric) / best.value(metric);
        if !times.is_finite() {
            return None;
        }
        let differences: Vec<f64> = values.iter().zip(&reference.values).map(|(a, b)| a - b).collect();
        let difference = estimate_at(&differences, level);
        Some(if difference.replications < ENOUGH {
            Comparison::Unknown(times)
        } else if difference.low > 0.0 {
            Comparison::Worse(times)
        } else {
            Comparison::Tied
        })
    };
    summaries.iter().map(stands).collect()
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

    fn summary(label: &str, values: &[f64]) -> Summary {
        Summary {
            label: label.to_owned(),
            strategy: "random",
            oracle: false,
            metrics: vec![Metric { name: "m".to_owned(), unit: "s", values: values.to_vec() }],
            cdf: Vec::new(),
            servers: Vec::new(),
            series: Vec::new(),
            workload_hashes: Vec::new(),
            pick_hashes: Vec::new(),
            requests: 0,
        }
    }

    /// Ten equals, five replications that differ much in workload and a little in luck: all tied in at least 95 % of 400
    /// fields. (The count is binomial: 95 % of 400 is 380; were the level exact, 362 would be four deviations below.)
    #[test]
    fn a_field_of_equals_is_tied() {
        let mut rng = crate::rng::Rng::stream(1, "equals", 0);
        let mut tied = 0;
        for _ in 0..400 {
            let workloads: Vec<f64> = (0..5).map(|_| 100.0 + 10.0 * crate::config::law::normal(&mut rng)).collect();
            let field: Vec<Summary> = (0..10)
                .map(|i| {
                    let values: Vec<f64> = workloads.iter().map(|w| w + crate::config::law::normal(&mut rng)).collect();
                    summary(&format!("s{i}"), &values)
                })
                .collect();
            let stands = compare(&field, "m");
            tied += u32::from(!stands.iter().any(|s| matches!(s, Some(Comparison::Worse(_)))));
        }
        assert!(tied >= 380, "{tied} of 400");
    }

    #[test]
    fn pairs_tell_apart_what_means_alone_could_not() {
        // The workloads differ far more than the strategies do, but b is slower on each of them.
        let a = summary("a", &[1.0, 5.0, 9.0, 3.0, 7.0]);
        let b = summary("b", &[1.1, 5.11, 9.09, 3.1, 7.1]);
        let c = summary("c", &[1.5, 4.6, 9.3, 2.9, 7.1]);
        let stands = compare(&[a, b, c], "m");
        assert_eq!(stands[0], Some(Comparison::Best));
        assert!(matches!(stands[1], Some(Comparison::Worse(_))), "{stands:?}");
        assert_eq!(stands[2], Some(Comparison::Tied));
    }
}
