//! The simulator against queueing theory. Time is measured in mean service times (1 ms here); the values are exact, and the
//! tolerance is four standard errors of the run's own replications, so a more precise run is a sharper test. Percentiles are
//! allowed the histogram's resolution of 0.1 % on top.

use evenkeel::math::sqrt;
use evenkeel::sim::record::RunRecord;

use crate::support::{replications, scenario};

/// A scenario with `service` (mean 1 ms), `servers` and one strategy; a million and a half requests in all, about.
fn runs(strategy: &str, arrivals: &str, service: &str, servers: &str, more: &str) -> Vec<RunRecord> {
    let source = format!(
        r#"
        title = "theory"
        question = "Does it agree?"
        duration = "16s"
        warmup = "3s"
        replications = 20
        bins = 0
        strategies = [{strategy}]
        arrivals = {arrivals}
        service = {service}
        {more}
        [[pools]]
        name = "q"
        {servers}
        "#
    );
    replications(&scenario(&source))
}

const EXPONENTIAL: &str = r#"{ exponential = { mean = "1ms" } }"#;

fn poisson(load: f64) -> String {
    format!(r#"{{ poisson = {{ load = {load} }} }}"#)
}

fn servers(n: u32) -> String {
    format!("[[pools.servers]]\nname = \"s\"\ncount = {n}")
}

fn mean_ms(run: &RunRecord) -> f64 {
    run.measured.all.latency_sum as f64 / 1e6 / run.measured.all.latency.len() as f64
}

fn quantile_ms(q: f64) -> impl Fn(&RunRecord) -> f64 {
    move |run| run.measured.all.latency.value_at_quantile(q) as f64 / 1e6
}

/// The mean over replications lies within four standard errors (and `slack` of the value) of theory.
#[track_caller]
fn agrees(what: &str, runs: &[RunRecord], of: impl Fn(&RunRecord) -> f64, theory: f64, slack: f64) {
    let values: Vec<f64> = runs.iter().map(of).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let error = sqrt(values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0) / n);
    let off = (mean - theory).abs();
    assert!(off <= 4.0 * error + slack * theory, "{what}: simulated {mean} ± {error}, theory {theory}");
    // The run must be able to tell: an interval as wide as the value proves nothing.
    assert!(error < 0.05 * theory, "{what}: the standard error {error} is too large to test {theory}");
}

const RESOLUTION: f64 = 0.001;

/// Row 1: a random split of Poisson arrivals makes each server an M/M/1 queue; T is exponential with mean 1/(1-0.8).
#[test]
fn random_is_m_m_1() {
    let runs = runs("\"random\"", &poisson(0.8), EXPONENTIAL, &servers(10), "");
    agrees("mean", &runs, mean_ms, 5.0, 0.0);
    agrees("p50", &runs, quantile_ms(0.5), 3.46574, RESOLUTION);
    agrees("p99", &runs, quantile_ms(0.99), 23.0259, RESOLUTION);
}

/// Row 2: Pollaczek and Khinchine: E[T] = 1 + rho (1 + scv) / (2 (1 - rho)).
#[test]
fn random_is_m_g_1() {
    let h2 = r#"{ hyperexponential = { mean = "1ms", scv = 4.0 } }"#;
    let fixed = r#"{ constant = { value = "1ms" } }"#;
    agrees("scv 4", &runs("\"random\"", &poisson(0.8), h2, &servers(10), ""), mean_ms, 11.0, 0.0);
    agrees("constant", &runs("\"random\"", &poisson(0.8), fixed, &servers(10), ""), mean_ms, 3.0, 0.0);
}

/// Row 3: processor sharing does not feel the law of the sizes, only their mean.
#[test]
fn processor_sharing_is_insensitive() {
    let shared = "[[pools.servers]]\nname = \"s\"\ncount = 10\ndiscipline = \"ps\"";
    for service in [
        r#"{ constant = { value = "1ms" } }"#,
        EXPONENTIAL,
        r#"{ hyperexponential = { mean = "1ms", scv = 4.0 } }"#,
        r#"{ lognormal = { mean = "1ms", sigma = 1.0 } }"#,
    ] {
        agrees(service, &runs("\"random\"", &poisson(0.8), service, shared, ""), mean_ms, 5.0, 0.0);
    }
}

/// Row 4: under round robin each of ten servers is an E10/M/1 queue.
#[test]
fn round_robin_is_e_n_m_1() {
    let runs = runs("\"round_robin\"", &poisson(0.8), EXPONENTIAL, &servers(10), "");
    agrees("mean", &runs, mean_ms, 2.922269, 0.0);
    agrees("p99", &runs, quantile_ms(0.99), 13.4575, RESOLUTION);
}

/// Row 5: with constant work round robin is M/D/10, path by path.
#[test]
fn round_robin_of_constant_work_is_m_d_n() {
    let runs = runs("\"round_robin\"", &poisson(0.8), r#"{ constant = { value = "1ms" } }"#, &servers(10), "");
    agrees("mean", &runs, mean_ms, 1.109828, 0.0);
    agrees("p99", &runs, quantile_ms(0.99), 1.91741, RESOLUTION);
}

/// Rows 6 and 7: one balancer's least request is join-the-shortest-queue; exact Markov chains for 2 and 4 servers.
#[test]
fn least_request_is_jsq() {
    let two = runs("\"least_request\"", &poisson(0.9), EXPONENTIAL, &servers(2), "");
    agrees("2 servers, mean", &two, mean_ms, 5.474913, 0.0);
    agrees("2 servers, p99", &two, quantile_ms(0.99), 24.5077, RESOLUTION);
    let four = runs("\"least_request\"", &poisson(0.8), EXPONENTIAL, &servers(4), "");
    agrees("4 servers, mean", &four, mean_ms, 1.953134, 0.0);
}

/// Row 8: two choices of three, distinct or with replacement: exact chains that tell the two apart by 8 %.
#[test]
fn two_choices_of_three() {
    let distinct = runs("\"p2c\"", &poisson(0.9), EXPONENTIAL, &servers(3), "");
    agrees("distinct", &distinct, mean_ms, 4.274087, 0.0);
    let replaced = runs("{ p2c = { replacement = true } }", &poisson(0.9), EXPONENTIAL, &servers(3), "");
    agrees("with replacement", &replaced, mean_ms, 4.617903, 0.0);
}

/// Row 11: least work left over equal servers is the central queue M/M/4.
#[test]
fn the_oracle_is_m_m_n() {
    let runs = runs("\"oracle_least_work\"", &poisson(0.9), EXPONENTIAL, &servers(4), "");
    agrees("mean", &runs, mean_ms, 2.96938, 0.0);
    agrees("p99", &runs, quantile_ms(0.99), 12.1932, RESOLUTION);
}

/// Row 12: speeds 1.5 and 0.5 at 80 %: weights in proportion give two M/M/1 queues; counting does better (exact chain).
#[test]
fn unequal_servers() {
    let servers = "[[pools.servers]]\nname = \"fast\"\nspeed = 1.5\nweight = WF\n[[pools.servers]]\nname = \"slow\"\nspeed = 0.5\nweight = WS";
    let weighted = servers.replace("WF", "3").replace("WS", "1");
    agrees(
        "weighted random",
        &runs("\"weighted_random\"", &poisson(0.8), EXPONENTIAL, &weighted, ""),
        mean_ms,
        5.0,
        0.0,
    );
    let equal = servers.replace("WF", "1").replace("WS", "1");
    agrees(
        "JSQ, random ties",
        &runs("\"least_request\"", &poisson(0.8), EXPONENTIAL, &equal, ""),
        mean_ms,
        3.414021,
        0.0,
    );
}

/// Row 14: a server with 4 slots and room for 12 more is M/M/4/16: the share turned away at 3.6 erlangs.
#[test]
fn a_bounded_server_blocks_as_erlang_says() {
    let bounded = "[[pools.servers]]\nname = \"s\"\nconcurrency = 4\nqueue_limit = 12";
    let runs = runs("\"random\"", &poisson(0.9), EXPONENTIAL, bounded, "");
    agrees(
        "blocked",
        &runs,
        |run| run.measured.all.ends[2] as f64 / run.measured.all.requests() as f64,
        0.0278188,
        0.0,
    );
}

/// Row 17: LRU under Zipf's law by Che's approximation, ten caches of 1000 for 100,000 items: every cache sees everything
/// (random), or each item has its cache (ring). The approximation is good to about 1 %; the ring is not even, so 2 %.
#[test]
fn caches_hit_as_che_says() {
    let cached = "[[pools.servers]]\nname = \"s\"\ncount = 10\ncache = { capacity = 1000, hit_cost = 1.0 }";
    let keys = "keys = { count = 100000, exponent = 0.9 }";
    let hits =
        |run: &RunRecord| run.measured.all.hits as f64 / (run.measured.all.hits + run.measured.all.misses) as f64;
    let random = runs("\"random\"", &poisson(0.5), EXPONENTIAL, cached, keys);
    agrees("random", &random, hits, 0.342061, 0.01);
    let ring = runs("\"consistent_hash\"", &poisson(0.5), EXPONENTIAL, cached, keys);
    agrees("by key", &ring, hits, 0.605230, 0.02);
}

/// A closed loop of N people is the machine-repairman model: with one server, think time 4 and N = 10, exact throughput
/// from the birth-death chain (worked out beside).
#[test]
fn a_closed_loop_is_the_machine_repairman() {
    let (people, think) = (10, 4.0);
    // pi_k ∝ N!/(N-k)! (1/think)^k with k at the server, service 1; throughput = 1 - pi_0.
    let mut weights = vec![1.0];
    for k in 0..people {
        weights.push(weights[k] * (people - k) as f64 / think);
    }
    let throughput = 1.0 - 1.0 / weights.iter().sum::<f64>();
    let arrivals = r#"{ closed = { think = { exponential = { mean = "4ms" } } } }"#;
    let runs = runs("\"random\"", arrivals, EXPONENTIAL, &servers(1), "clients = { count = 10 }");
    agrees("throughput", &runs, |run| run.measured.all.ok() as f64 / 16_000.0, throughput, 0.0);
    // By Little's law the time in the system is N / throughput - think.
    agrees("response", &runs, mean_ms, people as f64 / throughput - think, 0.0);
}

/// Utilisation is load, whatever the strategy; and Little's law (asserted to the nanosecond in every run) is reported.
#[test]
fn work_is_conserved() {
    for strategy in ["\"random\"", "\"p2c\"", "\"least_request\""] {
        let runs = runs(strategy, &poisson(0.7), EXPONENTIAL, &servers(5), "");
        let busy = |run: &RunRecord| run.measured.servers[0].iter().map(|server| server.utilisation).sum::<f64>() / 5.0;
        agrees("utilisation", &runs, busy, 0.7, 0.0);
        for run in &runs {
            let little = &run.little;
            assert!((little.number - little.rate * little.time).abs() < 1e-6 * little.number);
        }
    }
}
