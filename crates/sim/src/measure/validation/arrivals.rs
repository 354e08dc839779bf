//! Non-Poisson arrivals: batches, and renewal processes with gaps that are not exponential.

use super::Gate;
use super::cases::{CONSTANT, HYPEREXPONENTIAL, Setup, add, mean, percentile, poisson};
use evenkeel_theory::renewal::{self, RoundRobin, Service};

pub(super) fn cases(all: &mut Vec<Gate>) {
    let long = Setup { span: 160_000, ..poisson("\"random\"", 0.0, "count = 1") };
    let asked = vec![
        mean(renewal::batch_mean(0.7, renewal::geometric(4.0), 1.0, 1.0)),
        percentile("p99", renewal::geometric_batch_quantile(0.7, 4.0, 1.0, 0.99)),
    ];
    let arrivals = "{ poisson = { load = 0.7, batch = { geometric = { mean = 4.0 } } } }".to_owned();
    let text = "one server, geometric batches of 4 on average, load 0.7: M^X/M/1";
    add(all, "batch-geometric", text, &Setup { arrivals, ..long }, asked);

    let asked = vec![mean(renewal::batch_mean(0.7, [3.0, 9.0], 1.0, 0.0))];
    let arrivals = "{ poisson = { load = 0.7, batch = { constant = { size = 3 } } } }".to_owned();
    let text = "one server, batches of 3, constant service, load 0.7: M^X/D/1";
    let long = Setup { span: 80_000, ..poisson("\"random\"", 0.0, "count = 1") };
    add(all, "batch-constant", text, &Setup { arrivals, service: CONSTANT, ..long }, asked);

    let asked = vec![
        mean(renewal::bursty_mean(0.7, 1.0, 4.0)),
        percentile("p99", renewal::bursty_quantile(0.7, 1.0, 4.0, 0.99)),
    ];
    let arrivals = format!("{{ renewal = {{ interarrival = {HYPEREXPONENTIAL}, load = 0.7 }} }}");
    let text = "one server, hyperexponential gaps with squared variation 4, load 0.7: H2/M/1";
    let long = Setup { span: 160_000, ..poisson("\"random\"", 0.0, "count = 1") };
    add(all, "renewal-hyperexponential", text, &Setup { arrivals, ..long }, asked);

    // The same queue twice: once from Erlang gaps, once because round robin takes every fourth of a Poisson stream.
    let service = Service::Hyperexponential { mean: 1.0, scv: 4.0 };
    let solved = RoundRobin::solve(3.2, 4, service).expect("the load is below one");
    let asked = vec![mean(solved.mean()), percentile("p99", solved.quantile(0.99))];
    let erlang = r#"{ erlang = { mean = "1ms", stages = 4 } }"#;
    let arrivals = format!("{{ renewal = {{ interarrival = {erlang}, load = 0.8 }} }}");
    let text = "one server, Erlang gaps of 4 stages, service with squared variation 4, load 0.8: E4/H2/1";
    let long = Setup { span: 160_000, ..poisson("\"random\"", 0.0, "count = 1") };
    add(all, "renewal-erlang", text, &Setup { arrivals, service: HYPEREXPONENTIAL, ..long }, asked.clone());
    let text = "round robin over 4 servers, service with squared variation 4, load 0.8: each is E4/H2/1";
    let setup = Setup { service: HYPEREXPONENTIAL, span: 40_000, ..poisson("\"round_robin\"", 0.8, "count = 4") };
    add(all, "round-robin-hyperexponential", text, &setup, asked);
}
