//! Keys of scenarios have the effect that their documentation states.

use evenkeel::scenario::Scenario;
use evenkeel::sim::record::RunRecord;

fn run(arrivals: &str, service: &str, more: &str, pool: &str) -> RunRecord {
    let source = format!(
        "title = \"t\"\nquestion = \"q\"\nduration = \"20s\"\nwarmup = \"1s\"\nreplications = 1\narrivals = {arrivals}\nservice = {service}\n{more}\n[[pools]]\nname = \"web\"\n{pool}\n[[pools.servers]]\nname = \"web\"\ncount = 4\nconcurrency = 4\n"
    );
    let files = |name: &str| match name {
        "measured.txt" => Ok("5\n10\n\n15\n".to_owned()),
        _ => Err(format!("no file {name}")),
    };
    let scenario = Scenario::parse("t", &source, &files).unwrap_or_else(|problems| panic!("{problems:?}\n{source}"));
    let table = (evenkeel::select::catalog::find("least_request").unwrap().default)();
    evenkeel::sim::run(&scenario.model, &table, scenario.replication_seed(0), &|| false).unwrap()
}

/// Mean latency in milliseconds; at low load with least request that is the mean of the distribution, as no request waits.
fn mean(run: &RunRecord) -> f64 {
    run.measured.all.latency_sum as f64 / 1e6 / run.measured.all.latency.len() as f64
}

const RATE: &str = "{ poisson = { rate = \"100/s\" } }";
const SERVICE: &str = "{ exponential = { mean = \"10ms\" } }";

#[test]
fn every_distribution_of_service_has_its_mean() {
    for (distribution, expected, spread) in [
        ("{ constant = { value = \"10ms\" } }", 10.0, 0.0),
        ("{ uniform = { from = \"5ms\", to = \"15ms\" } }", 10.0, 2.9),
        (SERVICE, 10.0, 10.0),
        ("{ erlang = { mean = \"10ms\", stages = 4 } }", 10.0, 5.0),
        ("{ hyperexponential = { mean = \"10ms\", scv = 4.0 } }", 10.0, 20.0),
        ("{ lognormal = { mean = \"10ms\", sigma = 0.5 } }", 10.0, 5.3),
        ("{ bimodal = { short = \"5ms\", long = \"55ms\", long_share = \"10%\" } }", 10.0, 15.0),
        // alpha = 1.5, 1 to 100 ms: 3/(1-10^-3) (1-10^-1) = 2.7027 ms.
        ("{ bounded_pareto = { shape = 1.5, low = \"1ms\", high = \"100ms\" } }", 2.7027, 4.5),
        ("{ empirical = { file = \"measured.txt\", unit = \"1ms\" } }", 10.0, 4.1),
    ] {
        let got = mean(&run(RATE, distribution, "", ""));
        // About 2,000 requests: four standard errors, and one percent for the few that wait.
        assert!((got - expected).abs() < 4.0 * spread / 44.0 + 0.01 * expected, "{distribution}: {got}");
    }
}

#[test]
fn every_kind_of_arrival_brings_what_it_says() {
    for (arrivals, expected) in [
        (RATE, 2000.0),
        ("{ constant = { rate = \"100/s\" } }", 2000.0),
        ("{ poisson = { load = \"10%\" } }", 3200.0),
        // 20 s of 50/s, of which a fifth at 300/s.
        ("{ bursts = { base = \"50/s\", peak = \"300/s\", every = \"5s\", length = \"1s\" } }", 2000.0),
        // From 1 s to 21 s of a ramp over 21 s from 0 to 210/s: 10/s² (21² - 1²)/2.
        ("{ ramp = { from = \"0/s\", to = \"210/s\" } }", 2200.0),
    ] {
        let got = run(arrivals, SERVICE, "", "").measured.all.requests() as f64;
        assert!((got - expected).abs() < 4.5 * expected.sqrt(), "{arrivals}: {got}");
    }
}

#[test]
fn delays_add_up_there_and_back() {
    let constant = "{ constant = { value = \"10ms\" } }";
    let with = |network: &str| mean(&run("{ constant = { rate = \"50/s\" } }", constant, network, ""));
    assert!((with("network = { client = \"2ms\", server = \"500us\" }") - 15.0).abs() < 1e-9);
    let drawn = with("network = { client = { exponential = { mean = \"2ms\" } } }");
    // 1,000 sums of two exponential hops.
    assert!((drawn - 14.0).abs() < 4.0 * 2.83 / 31.6, "{drawn}");
}

/// Clients that give up: with `servers_see_cancel` their requests do not burden the servers any more.
#[test]
fn cancelled_requests_cost_nothing() {
    let busy = |cancel: bool| {
        let clients =
            format!("clients = {{ timeout = \"20ms\", servers_see_cancel = {cancel} }}\nallow_overload = true");
        let run = run("{ poisson = { rate = \"3200/s\" } }", SERVICE, &clients, "");
        run.measured.all.ok() as f64 / run.measured.all.requests() as f64
    };
    let (kept, cancelled) = (busy(false), busy(true));
    // Twice the capacity, first come first served: without cancelling every response is too late. With it the queue is as
    // long as the patience of those in it, and only what is served in the last moment is in time.
    assert!(kept < 0.01 && cancelled > 0.05, "{kept} {cancelled}");
}
