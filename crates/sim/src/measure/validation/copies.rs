//! Requests that are sent to two servers: tied requests, and hedges without queues.

use super::Gate;
use super::cases::{Setup, UNIT, about, add, add_source, exact, mean, percentile, poisson};
use evenkeel_theory::{copies, queues};

pub(super) fn cases(all: &mut Vec<Gate>) {
    // A copy is in each queue, and the first free server takes the first copy: equivalent to one queue.
    let hedge = "hedge = { after = \"0ms\", budget = \"100%\", tied = true }";
    let asked = vec![mean(queues::mmc_mean(1.6, 1.0, 2)), percentile("p99", queues::mmc_quantile(1.6, 1.0, 2, 0.99))];
    let text = "tied requests over 2 servers, load 0.8: a copy in either queue is one queue, M/M/2";
    add(all, "tied-2-80", text, &Setup { span: 60_000, pool: hedge, ..poisson("\"random\"", 0.8, "count = 2") }, asked);

    let asked = vec![
        about("latency.mean", copies::tied_mean(0.9, 2) * UNIT, 0.02),
        about("latency.p99", copies::tied_quantile(0.9, 2, 0.99) * UNIT, 0.03),
    ];
    let text = "tied requests to 2 of 100, load 0.9: the least work of two among infinitely many, about 1 % below";
    // Many servers reach the steady state quickly, and each request is two attempts: runs are shorter and fewer.
    let setup = Setup { span: 1_200, pool: hedge, ..poisson("\"random\"", 0.9, "count = 100") };
    let source = setup.source().replace("warmup = \"3s\"", "warmup = \"300ms\"").replace("= 20\n", "= 5\n");
    add_source(all, "tied-of-100-90", text, source, asked);

    // No work: the latency is that of two hops, drawn independently for each attempt.
    let hops = |t: f64| copies::two_hops_tail(1.0, t);
    for (name, after) in [("hedge-at-once", 0.0), ("hedge-after-3", 3.0)] {
        let hedge = format!("hedge = {{ after = \"{after}ms\", budget = \"100%\" }}");
        let asked = vec![
            mean(copies::hedged_mean(hops, after, 80.0)),
            percentile("p99", copies::hedged_quantile(hops, after, 0.99, 1.0)),
            exact("hedges.ratio", hops(after)),
        ];
        let text = format!(
            "no work, two hops of 1 ms (exponential), a second copy after {after} ms: the earlier of two answers"
        );
        let setup = Setup {
            arrivals: "{ poisson = { rate = \"5000/s\" } }".to_owned(),
            service: r#"{ constant = { value = "0ms" } }"#,
            more: "network = { server = { exponential = { mean = \"1ms\" } } }",
            pool: &hedge,
            ..poisson("\"random\"", 0.0, "count = 2")
        };
        add(all, name, &text, &setup, asked);
    }
}
