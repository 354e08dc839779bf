//! The results of one strategy in one scenario, accumulated run by run: a run's record can be dropped after it is added, so
//! that memory does not grow with the number of replications.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::interval::lag_one;
use super::metrics::{Metric, at_quantile, definitions, loads, mean, ratio, utilisation, values};
use super::stability::{Evidence, Stability, Verdict, judge};
use super::warmup::{Clock, Settling, settling};
use super::{exact_values, interval::Estimate, metrics};
use crate::scenario::{Kind, Scenario};
use crate::sim::record::{ARRIVAL_BINS, ArrivalBin, RequestOutcome, RunRecord, bin_width, histogram};
use crate::sim::timeline::Timeline;

/// A server under one strategy; means over replications.
#[derive(Clone, Debug)]
pub struct ServerRow {
    /// Name of the pool, or `balancer`.
    pub pool: String,
    /// Name of the server.
    pub server: String,
    /// Weight in the scenario.
    pub weight: u32,
    /// Its speed: work per unit of time, relative to a server of speed 1.
    pub capacity: f64,
    /// Requests sent to it in the measured span.
    pub requests: f64,
    /// Share of the pool's requests.
    pub share: f64,
    /// Share of requests over share of capacity: 1 is fair.
    pub load: f64,
    /// Busy share of the measured span, 0 to 1.
    pub utilisation: f64,
    /// Mean number of requests in it, those in service included.
    pub number: f64,
    /// Mean time of a request in it, seconds.
    pub residence: f64,
    /// Requests that it rejected or failed.
    pub errors: f64,
    /// Hits over look-ups; NaN without a cache.
    pub hit_ratio: f64,
}

/// A bin of the time series over all replications.
#[derive(Clone, Copy, Debug)]
pub struct SeriesPoint {
    /// Middle of the bin, seconds.
    pub time: f64,
    /// Successful responses per second.
    pub goodput: f64,
    /// Failed requests per second.
    pub errors: f64,
    /// Mean latency, seconds.
    pub mean: f64,
    /// 99th percentile of the latency, seconds; histograms merged over replications.
    pub p99: f64,
    /// Mean number of requests in the system, over the time of the bin and over replications; NaN for a single pool.
    pub in_system: f64,
    /// Servers of the pool at the end of the bin, mean over replications; NaN for all pools together.
    pub servers: f64,
}

/// The results of a pool that routes lead to.
#[derive(Clone, Debug)]
pub struct PoolSummary {
    /// Name of the pool.
    pub name: String,
    /// As [`Summary::cdf`], of its requests; empty where there is one such pool.
    pub cdf: Vec<(f64, f64)>,
    /// As [`Summary::series`], of its requests.
    pub series: Vec<SeriesPoint>,
}

/// One strategy in one scenario.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Label of the strategy or variant.
    pub label: String,
    /// Name of the strategy in the catalogue.
    pub strategy: &'static str,
    /// Whether it is a baseline with information that no balancer has.
    pub oracle: bool,
    /// Whether the scenario claims a steady state.
    pub steady: bool,
    /// Metrics in the order of the catalogue: first of all requests, then by path, then by pool.
    pub metrics: Vec<Metric>,
    /// Whether values are those of batches of one long run and not of replications.
    pub batches: bool,
    /// Correlation of each batch's mean latency with the next one's; NaN without batches. If it is not near zero, the
    /// intervals are too narrow.
    pub batch_correlation: f64,
    /// Whether there is a steady state.
    pub stability: Stability,
    /// Warm-up of latency and, with caches, of the hit ratio. Empty for a course of events.
    pub settling: Vec<Settling>,
    /// Exact values from theory; `None` where no theorem applies.
    pub theory: Option<exact_values::Exact>,
    /// (share of requests, latency in seconds): this share of requests has at most this latency; histograms merged.
    pub cdf: Vec<(f64, f64)>,
    /// Every server, pool by pool; then the balancers, where there are several.
    pub servers: Vec<ServerRow>,
    /// The time series.
    pub series: Vec<SeriesPoint>,
    /// Entry pools, if there are several or a pool has autoscaling; else empty.
    pub pools: Vec<PoolSummary>,
    /// Seed of each replication.
    pub seeds: Vec<u64>,
    /// Hash of the workload of each replication.
    pub workload_hashes: Vec<u64>,
    /// Hash of all picks of each replication.
    pub pick_hashes: Vec<u64>,
    /// Requests simulated in all replications.
    pub requests: u64,
    /// The first replication over time, where it was watched.
    pub timeline: Option<Timeline>,
}

impl Summary {
    /// A metric by name.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// The mean of a metric; NaN where there is none.
    pub fn value(&self, name: &str) -> f64 {
        self.metric(name).map_or(f64::NAN, |metric| mean(metric.values.iter().copied().filter(|v| v.is_finite())))
    }

    /// Mean and interval of a metric; NaN if it does not exist. Latencies of an overloaded steady state have no interval:
    /// they estimate nothing.
    pub fn estimate(&self, name: &str) -> Estimate {
        let Some(metric) = self.metric(name) else { return Estimate::NONE };
        let estimate = metric.estimate();
        let meaningless = !self.ranks() && metrics::find(name).is_some_and(|row| row.needs_steady_state);
        if meaningless { Estimate { low: f64::NAN, high: f64::NAN, ..estimate } } else { estimate }
    }

    /// Utilisation of the busiest pool, mean over replications.
    pub fn utilisation(&self, scenario: &Scenario) -> f64 {
        match &scenario.model.pools[..] {
            [_] => self.value("utilisation.mean"),
            pools => pools.iter().map(|p| self.value(&format!("{}.utilisation.mean", p.name))).fold(f64::NAN, f64::max),
        }
    }

    /// Share of requests without a successful response: failed, or not finished when the run ended. `prefix` names a pool or
    /// path (`"payments."`), or is empty for all requests.
    pub fn failed(&self, prefix: &str) -> f64 {
        self.value(&format!("{prefix}errors.ratio")) + self.value(&format!("{prefix}unfinished.ratio"))
    }

    /// The remaining influence of the start on the measured span; `None` if the metric settled within the warm-up.
    pub fn unsettled(&self, clock: Clock) -> Option<Settling> {
        let metric = match clock {
            Clock::Latency => "latency.mean",
            Clock::Cache => "cache.hit_ratio",
        };
        let estimate = self.metric(metric)?.estimate();
        // Without an interval, 1 % of the value.
        let half = (estimate.high - estimate.low) / 2.0;
        let noise = if half.is_finite() { half } else { 0.01 * estimate.value };
        self.settling.iter().copied().find(|s| s.clock == clock && s.matters(noise))
    }
}

impl Default for Stability {
    fn default() -> Stability {
        Stability { verdict: Verdict::Stable, reason: String::new(), growth: Estimate::NONE, relaxation: None }
    }
}

/// Sums up the runs of one variant, one per replication and in their order.
pub fn summarise(scenario: &Scenario, variant: usize, runs: &[RunRecord]) -> Summary {
    let mut tally = Tally::new(scenario, variant);
    runs.iter().enumerate().for_each(|(r, run)| tally.take_in(scenario, r as u32, run));
    tally.summary(scenario)
}

/// The part of a run's record that is kept.
struct Kept {
    /// Values of the whole run, or of each of its batches.
    values: Vec<Vec<f64>>,
    servers: Vec<ServerRow>,
    tenths: Vec<f64>,
    workload_hash: u64,
    pick_hash: u64,
    requests: u64,
    measured: u64,
    turned_away: u64,
    unfinished: u64,
    busiest: f64,
    /// Utilisation by pool.
    utilisation: Vec<f64>,
}

/// Accumulates a variant's runs, in any order.
pub struct Tally {
    variant: usize,
    runs: BTreeMap<u32, Kept>,
    latency: Histogram<u64>,
    series: Vec<MergedBin>,
    /// By pool; empty where pools are not reported separately.
    pool_latency: Vec<Histogram<u64>>,
    pool_series: Vec<Vec<MergedBin>>,
    settling: Vec<ArrivalBin>,
    /// Of the first replication.
    timeline: Option<Timeline>,
}

#[derive(Clone, Default)]
struct MergedBin {
    ok: u64,
    bad: u64,
    latency_sum: u128,
    /// Recorded values and their counts, by value.
    latency: Vec<(u64, u64)>,
    in_system_area: u128,
    servers: u64,
}

/// Adds counts of values to others; both are in the order of the values.
fn add_counts(sum: &mut Vec<(u64, u64)>, more: &[(u64, u64)]) {
    let (mut at, known) = (0, sum.len());
    for &(value, count) in more {
        at += sum[at..known].iter().take_while(|&&(other, _)| other < value).count();
        match sum[..known].get_mut(at) {
            Some((other, total)) if *other == value => *total += count,
            _ => sum.push((value, count)),
        }
    }
    if sum.len() > known {
        // Two runs in order, which a stable sort merges.
        sum.sort_by_key(|&(value, _)| value);
    }
}

impl Tally {
    /// An empty tally of this variant.
    pub fn new(scenario: &Scenario, variant: usize) -> Tally {
        Tally {
            variant,
            runs: BTreeMap::new(),
            latency: histogram(),
            series: vec![MergedBin::default(); scenario.model.bins as usize],
            pool_latency: Vec::new(),
            pool_series: Vec::new(),
            settling: vec![ArrivalBin::default(); ARRIVAL_BINS],
            timeline: None,
        }
    }

    /// Adds one replication. The order of calls does not matter: the sums are integers.
    pub fn take_in(&mut self, scenario: &Scenario, replication: u32, run: &RunRecord) {
        self.latency.add(&run.measured.all.latency).expect("histograms of one kind");
        for (sum, bin) in self.series.iter_mut().zip(&run.series) {
            sum.ok += bin.ok;
            sum.bad += bin.bad;
            sum.latency_sum += bin.latency_sum;
            sum.in_system_area += bin.in_system_area;
            add_counts(&mut sum.latency, &bin.latency);
        }
        self.pool_latency.resize_with(run.measured.pools.len(), histogram);
        for (sum, pool) in self.pool_latency.iter_mut().zip(&run.measured.pools) {
            sum.add(&pool.latency).expect("histograms of one kind");
        }
        let pools = run.series.first().map_or(0, |bin| bin.pools.len());
        self.pool_series.resize_with(pools, || vec![MergedBin::default(); scenario.model.bins as usize]);
        for (i, bin) in run.series.iter().enumerate() {
            for (sums, pool) in self.pool_series.iter_mut().zip(&bin.pools) {
                let sum = &mut sums[i];
                sum.ok += pool.ok;
                sum.bad += pool.bad;
                sum.latency_sum += pool.latency_sum;
                sum.servers += u64::from(pool.servers);
                add_counts(&mut sum.latency, &pool.latency);
            }
        }
        for (sum, bin) in self.settling.iter_mut().zip(&run.settling) {
            sum.requests += bin.requests;
            sum.latency_sum += bin.latency_sum;
            sum.hits += bin.hits;
            sum.lookups += bin.lookups;
        }
        let seconds = scenario.model.duration.as_secs_f64();
        let all = &run.measured.all;
        let of_batches = run.batches.iter().map(|batch| values(scenario, batch, seconds / run.batches.len() as f64));
        let kept = Kept {
            values: if run.batches.is_empty() {
                vec![values(scenario, &run.measured, seconds)]
            } else {
                of_batches.collect()
            },
            servers: servers(scenario, run),
            tenths: run.tenths.clone(),
            workload_hash: run.workload_hash,
            pick_hash: run.pick_hash,
            requests: run.requests,
            measured: all.requests(),
            turned_away: all.ends[RequestOutcome::TimedOut as usize] + all.ends[RequestOutcome::Rejected as usize],
            unfinished: all.unfinished,
            utilisation: (0..scenario.model.pools.len())
                .map(|p| utilisation(&scenario.model.pools, &run.measured.servers, &[p]))
                .collect(),
            busiest: run.measured.servers.iter().flatten().map(|s| s.utilisation).fold(0.0, f64::max),
        };
        if replication == 0 {
            self.timeline.clone_from(&run.timeline);
        }
        let before = self.runs.insert(replication, kept);
        debug_assert!(before.is_none(), "a replication came in twice");
    }

    /// Number of replications added so far.
    pub fn replications(&self) -> u32 {
        self.runs.len() as u32
    }

    /// The summary of the replications added.
    pub fn summary(&self, scenario: &Scenario) -> Summary {
        let variant = &scenario.variants[self.variant];
        let model = &scenario.model;
        let runs = || self.runs.values();
        let metrics: Vec<Metric> = definitions(scenario)
            .into_iter()
            .enumerate()
            .map(|(m, (name, unit))| Metric {
                name,
                unit,
                values: runs().flat_map(|r| &r.values).map(|v| v[m]).collect(),
            })
            .collect();
        let total = |of: fn(&Kept) -> u64| runs().map(of).sum::<u64>();
        let tenths: Vec<Vec<f64>> = runs().map(|run| run.tenths.clone()).collect();
        let measured = total(|run| run.measured);
        let theory = exact_values::exact(scenario, &variant.table);
        let per_run = measured as f64 / self.runs.len().max(1) as f64;
        let pools = 0..model.pools.len();
        let stability = judge(
            scenario,
            &Evidence {
                tenths: &tenths,
                rate: per_run / model.duration.as_secs_f64(),
                requests: per_run,
                utilisation: &pools.map(|p| mean(runs().map(|run| run.utilisation[p]))).collect::<Vec<_>>(),
                queues: theory.as_ref().map_or(1.0, |exact| exact.queues),
                busiest: mean(runs().map(|run| run.busiest)),
                turned_away: ratio(total(|run| run.turned_away), measured),
                unfinished: ratio(total(|run| run.unfinished), measured),
            },
        );
        let batches = model.batches > 1;
        let means = metrics.iter().find(|metric| metric.name == "latency.mean");
        Summary {
            label: variant.label.clone(),
            strategy: variant.table.name(),
            oracle: variant.table.oracle(),
            steady: scenario.kind == Kind::Steady,
            batches,
            batch_correlation: if batches { means.map_or(f64::NAN, |m| lag_one(&m.values)) } else { f64::NAN },
            stability,
            settling: self.settling(scenario),
            theory,
            cdf: cdf(&self.latency),
            servers: self.servers(),
            series: self.series(scenario, &self.series, false),
            pools: self.pools(scenario),
            seeds: self.runs.keys().map(|&r| scenario.replication_seed(r)).collect(),
            workload_hashes: runs().map(|run| run.workload_hash).collect(),
            pick_hashes: runs().map(|run| run.pick_hash).collect(),
            requests: total(|run| run.requests),
            timeline: self.timeline.clone(),
            metrics,
        }
    }

    /// The warm-up of latency and hit ratio; a course of events has none.
    pub fn settling(&self, scenario: &Scenario) -> Vec<Settling> {
        if scenario.kind == Kind::Terminating {
            return Vec::new();
        }
        let model = &scenario.model;
        let seconds = (model.warmup + model.duration).as_secs_f64();
        [(Clock::Latency, model.warmup), (Clock::Cache, model.cache_warmup)]
            .into_iter()
            .filter_map(|(clock, warmup)| settling(&self.settling, clock, seconds, warmup.as_secs_f64()))
            .collect()
    }

    /// The servers, with means over replications.
    fn servers(&self) -> Vec<ServerRow> {
        let rows = self.runs.values().next().map_or(0, |run| run.servers.len());
        (0..rows)
            .map(|i| {
                let over = |of: fn(&ServerRow) -> f64| {
                    mean(self.runs.values().map(|run| of(&run.servers[i])).filter(|v| v.is_finite()))
                };
                let first = self.runs.values().next().map(|run| run.servers[i].clone());
                ServerRow {
                    requests: over(|s| s.requests),
                    share: over(|s| s.share),
                    load: over(|s| s.load),
                    utilisation: over(|s| s.utilisation),
                    number: over(|s| s.number),
                    residence: over(|s| s.residence),
                    errors: over(|s| s.errors),
                    hit_ratio: over(|s| s.hit_ratio),
                    ..first.expect("there is a run, or there are no rows")
                }
            })
            .collect()
    }

    /// The entry pools.
    fn pools(&self, scenario: &Scenario) -> Vec<PoolSummary> {
        let model = &scenario.model;
        let entry = |&p: &usize| model.paths.iter().any(|path| path.pool == p);
        let pool = |p: usize| PoolSummary {
            name: model.pools[p].name.clone(),
            cdf: self.pool_latency.get(p).map_or_else(Vec::new, cdf),
            series: self.series(scenario, &self.pool_series[p], true),
        };
        (0..self.pool_series.len()).filter(entry).map(pool).collect()
    }

    fn series(&self, scenario: &Scenario, bins: &[MergedBin], of_pool: bool) -> Vec<SeriesPoint> {
        let runs = self.runs.len().max(1) as f64;
        let span = scenario.model.warmup + scenario.model.duration;
        let width = span.as_secs_f64() / bins.len().max(1) as f64;
        let time = width * runs;
        let nanos = bin_width(span, scenario.model.bins).0 as f64;
        let mut merged = Histogram::<u64>::new(2).expect("two digits are allowed");
        let mut point = |(i, bin): (usize, &MergedBin)| {
            merged.reset();
            for &(value, count) in &bin.latency {
                merged.record_n(value, count).expect("a histogram that resizes takes any value");
            }
            SeriesPoint {
                time: (i as f64 + 0.5) * width,
                goodput: bin.ok as f64 / time,
                errors: bin.bad as f64 / time,
                mean: match merged.len() {
                    0 => f64::NAN,
                    n => bin.latency_sum as f64 / 1e9 / n as f64,
                },
                p99: at_quantile(&merged, 0.99),
                in_system: if of_pool { f64::NAN } else { bin.in_system_area as f64 / nanos / runs },
                servers: if of_pool { bin.servers as f64 / runs } else { f64::NAN },
            }
        };
        bins.iter().enumerate().map(&mut point).collect()
    }
}

/// The quantiles of the curves: every percent, then every 0.1 %, then every 0.01 %.
fn cdf(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    if latency.is_empty() {
        return Vec::new();
    }
    let percents = (0..=99).map(|i| f64::from(i) / 100.0);
    let permilles = (991..=999).map(|i| f64::from(i) / 1000.0);
    let tenths = (9991..=9999).map(|i| f64::from(i) / 10000.0);
    percents.chain(permilles).chain(tenths).map(|q| (q, at_quantile(latency, q))).collect()
}

/// Every balancer, where there are several, and every server, in one run.
fn servers(scenario: &Scenario, run: &RunRecord) -> Vec<ServerRow> {
    let model = &scenario.model;
    let measured = &run.measured;
    let mut rows = Vec::new();
    if model.balancers.count > 1 {
        let total = measured.balancers.iter().sum::<u64>();
        for (b, &requests) in measured.balancers.iter().enumerate() {
            let share = ratio(requests, total);
            rows.push(ServerRow {
                pool: "balancer".to_owned(),
                server: (b + 1).to_string(),
                weight: 1,
                capacity: f64::NAN,
                requests: requests as f64,
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
        let picks: u64 = measured.servers[p].iter().map(|server| server.picks).sum();
        let loads = loads(&model.pools, &measured.servers, &[p]);
        for ((spec, server), load) in pool.servers.iter().zip(&measured.servers[p]).zip(loads) {
            rows.push(ServerRow {
                pool: pool.name.clone(),
                server: spec.name.clone(),
                weight: spec.weight,
                capacity: spec.capacity(),
                requests: server.picks as f64,
                share: ratio(server.picks, picks),
                load,
                utilisation: server.utilisation,
                number: server.number,
                residence: server.residence,
                errors: server.errors as f64,
                hit_ratio: ratio(server.hits, server.hits + server.misses),
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::add_counts;

    #[test]
    fn counts_are_added_in_the_order_of_their_values() {
        let mut sum = Vec::new();
        add_counts(&mut sum, &[(3, 1), (9, 2)]);
        add_counts(&mut sum, &[]);
        add_counts(&mut sum, &[(1, 1), (3, 4), (5, 1), (9, 1), (12, 7)]);
        add_counts(&mut sum, &[(5, 2)]);
        assert_eq!(sum, [(1, 1), (3, 5), (5, 3), (9, 3), (12, 7)]);
    }
}
