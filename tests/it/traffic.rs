//! Where picks may go, how load is regulated, how fleets change: in the engine and in simulated time, each against a
//! number that is derived.

use evenkeel::measure::{Summary, summarise};
use evenkeel::sim::record::RunRecord;

use crate::support::scenario;

/// A scenario's first contestant: what is measured, and the runs.
pub fn runs(source: &str) -> (Summary, Vec<RunRecord>) {
    let scenario = scenario(&format!("title = \"t\"\nquestion = \"q\"\n{source}"));
    let runs: Vec<_> = (0..scenario.replications)
        .map(|r| evenkeel::sim::observe(&scenario.setup(0, r), &|| false, &mut ()).unwrap())
        .collect();
    (summarise(&scenario, 0, &runs), runs)
}

pub fn run(source: &str) -> Summary {
    runs(source).0
}

pub fn near(got: f64, expected: f64, within: f64, what: &str) {
    assert!((got - expected).abs() <= within * expected, "{what}: {got} is not {expected}");
}

/// Light and constant work at 200/s for 50 s, four times.
fn light(strategy: &str) -> String {
    format!(
        "kind = \"terminating\"\nreplications = 4\nduration = \"50s\"\nstrategies = [\"{strategy}\"]\n\
         arrivals = {{ poisson = {{ rate = \"200/s\" }} }}\nservice = {{ constant = {{ value = \"1ms\" }} }}\n"
    )
}

#[test]
fn a_level_that_is_down_to_half_keeps_seventy_percent() {
    // Five of ten servers fail all and their checks say so, from the start: they are out after at most 2 checks. Then
    // 1.4 · 5/10 = 70 % stay with the other five, and 30 % go to the ten of level 1.
    let (_, runs) = runs(
        &(light("round_robin")
            + "warmup = \"0s\"\n[[faults]]\ntarget = \"web/bad-1\"\nat = \"0s\"\nwhat = { errors = { fails_checks = true } }\n"
            + "[[pools]]\nname = \"web\"\nhealth = { interval = \"10ms\", timeout = \"5ms\", rise = 1, fall = 1 }\n"
            + "[[pools.servers]]\nname = \"good\"\n[[pools.servers]]\nname = \"bad-1\"\n"
            + "[[pools.servers]]\nname = \"stand-in\"\ncount = 4\npriority = 1\n"),
    );
    let picks = |from: usize, to: usize| -> u64 {
        runs.iter().flat_map(|run| &run.measured.servers[0][from..to]).map(|server| server.picks).sum()
    };
    let all = picks(0, 6) as f64;
    // 40,000 requests: four standard deviations of a share of 0.3 are 0.92 %; the first checks cost next to nothing.
    assert!((picks(2, 6) as f64 / all - 0.3).abs() < 0.0092, "{} of {all}", picks(2, 6));
}

/// Half of the balancers are in zone a, a quarter each in b and c; four servers in each; 5 ms between zones.
fn zoned(prefer: &str) -> String {
    let servers: String = ["a", "b", "c"]
        .map(|zone| format!("[[pools.servers]]\nname = \"{zone}\"\nzone = \"{zone}\"\ncount = 4\n"))
        .concat();
    light("round_robin")
        + "balancers = { count = 4, zones = [\"a\", \"a\", \"b\", \"c\"] }\nnetwork = { cross_zone = \"5ms\" }\n"
        + &format!("[[pools]]\nname = \"web\"\n{prefer}\n{servers}")
}

#[test]
fn as_little_as_possible_crosses_zones() {
    // Blind: two thirds cross. Residual: of the half that comes to a, a third, so a sixth of all. Local: none. 40,000
    // requests: four standard deviations are 0.94 % and 0.75 %. A crossing costs 10 ms there and back.
    for (prefer, crossed, by) in
        [("", 2.0 / 3.0, 0.0094), ("zones = {}", 1.0 / 6.0, 0.0075), ("zones = { prefer = \"local\" }", 0.0, 0.0)]
    {
        let s = run(&zoned(prefer));
        let got = s.value("zones.crossed");
        assert!((got - crossed).abs() <= by, "{prefer}: {got}");
        near(s.value("latency.mean"), 0.001 + 0.010 * got, 0.02, prefer);
        // What is kept at home is paid for by a's servers: half of the load for a third of the servers.
        let most = s.value("fairness.max_over_mean");
        near(most, if crossed == 0.0 { 1.5 } else { 1.0 }, 0.06, prefer);
    }
    let s = run(&zoned("zones = { prefer = \"weights\", weights = { a = 2, b = 1, c = 1 } }"));
    // Half of everything goes to a, a quarter to b and c, wherever it comes from: what is in its own zone is 1/2 · 1/2 +
    // 2 · 1/4 · 1/4.
    assert!((s.value("zones.crossed") - 0.625).abs() < 0.0097, "{}", s.value("zones.crossed"));
}

#[test]
fn a_random_network_law_crosses_zones_too() {
    let law = zoned("").replace(
        "cross_zone = \"5ms\"",
        "cross_zone = \"5ms\", server = { uniform = { from = \"1ms\", to = \"3ms\" } }",
    );
    let s = run(&law);
    near(s.value("latency.mean"), 0.001 + 0.004 + 0.010 * s.value("zones.crossed"), 0.02, "mean");
}

fn subsets(kind: &str, strategy: &str) -> Summary {
    run(&(light(strategy)
        + &format!(
            "balancers = {{ count = 10 }}\n[[pools]]\nname = \"web\"\nsubset = {{ size = 4, kind = \"{kind}\" }}\n\
             [[pools.servers]]\nname = \"web\"\ncount = 12\n"
        )))
}

#[test]
fn subsets_are_as_even_as_their_rule() {
    // Ten balancers that use four of twelve servers each. An aperture of four tenths of the ring is 4.8 servers and covers
    // each four times: even, but for chance (40,000 requests over 12 servers: a standard deviation of 1.7 %).
    assert!(subsets("aperture", "weighted_random").value("fairness.max_over_mean") < 1.06);
    // Whole rounds of three balancers use every server once; the tenth balancer is one of a fourth round: its four
    // servers have four balancers and the rest three, of 10/3 in the mean: 1.2.
    near(subsets("deterministic", "round_robin").value("fairness.max_over_mean"), 1.2, 0.04, "deterministic");
    // By lot: somebody is drawn by six or more of ten balancers nearly always (binomial, p = 1/3: 7.7 % each).
    assert!(subsets("random", "round_robin").value("fairness.max_over_mean") > 1.4);
}

#[test]
fn a_dead_zone_is_named_once() {
    let source = zoned("zones = {}\nhealth = { interval = \"10ms\", timeout = \"5ms\", rise = 1, fall = 1 }").replace(
        "[[pools]]",
        "[[faults]]\ntarget = \"zone/a\"\nat = \"0s\"\nwhat = { errors = { fails_checks = true } }\n[[pools]]",
    );
    let (s, runs) = runs(&source);
    // All go to b and c, which get half of a's each: none of a's is picked once the first checks are in.
    assert!(s.value("errors.ratio") < 0.01, "{}", s.value("errors.ratio"));
    let lost: u64 = runs.iter().flat_map(|run| &run.measured.servers[0][..4]).map(|server| server.picks).sum();
    assert!(lost < 100, "{lost}");
    near(s.value("zones.crossed"), 0.5, 0.03, "what comes to a");
}

#[test]
fn admission_turns_away_what_the_formula_says() {
    // Servers fail half of what they get, whatever that is: (1 − 0.5/0.95) = 47.4 % are turned away once the window has
    // something in it, and half of the rest fails.
    let s = run(&(light("random").replace("200/s", "1000/s")
        + "[[faults]]\ntarget = \"web/*\"\nat = \"0s\"\nwhat = { errors = { share = \"50%\" } }\n\
           [[pools]]\nname = \"web\"\nadmission = {}\n[[pools.servers]]\nname = \"web\"\ncount = 4\n"));
    near(s.value("errors.rejected"), 1.0 - 0.5 / 0.95, 0.02, "turned away");
    near(s.value("errors.error"), 0.5 * 0.5 / 0.95, 0.02, "failed");
}

#[test]
fn a_gradient_finds_the_concurrency_of_a_server() {
    // A server that serves ten at once in 10 ms, offered twice what it can do. With L in flight an answer takes L ms, and
    // 10 ms at best, so that gradient · L = 12.5 and L = 12.5 + √12.5 = 16: half is turned away. A place that comes free is
    // free for half a millisecond, one each millisecond: 15.5 are in flight, and answers take 15.5 ms.
    // (Three in flight at first, and for 50 answers each minute.)
    let source = |keys: &str| {
        format!(
            "kind = \"terminating\"\nreplications = 2\nduration = \"50s\"\nallow_overload = true\nstrategies = [\"random\"]\n\
             arrivals = {{ poisson = {{ rate = \"2000/s\" }} }}\nservice = {{ constant = {{ value = \"10ms\" }} }}\n\
             [[pools]]\nname = \"web\"\n{keys}\n[[pools.servers]]\nname = \"web\"\nconcurrency = 10\n"
        )
    };
    for per in ["pool", "server"] {
        let s = run(&source(&format!("concurrency = {{ per = \"{per}\" }}")));
        near(s.value("latency.p50"), 0.0155, 0.02, per);
        near(s.value("goodput"), 1000.0, 0.02, per);
        near(s.value("errors.rejected"), 0.5, 0.02, per);
    }
    // With a queue before it the rest waits there instead, as long as it may.
    let s = run(&source("concurrency = {}\nqueue = { limit = 1000, timeout = \"50ms\" }"));
    near(s.value("goodput"), 1000.0, 0.02, "queue");
    assert!(s.value("latency.p50") > 0.05, "{}", s.value("latency.p50"));
}

#[test]
fn additive_increase_settles_where_answers_get_slow() {
    // The same server; an answer above 20 ms takes a tenth off. The limit saws between 18 and 22 (it grows by one while the
    // first late answer is under way), and answers with it.
    let s = run(
        "kind = \"terminating\"\nreplications = 2\nduration = \"50s\"\nallow_overload = true\nstrategies = [\"random\"]\n\
         arrivals = { poisson = { rate = \"2000/s\" } }\nservice = { constant = { value = \"10ms\" } }\n\
         [[pools]]\nname = \"web\"\nconcurrency = { kind = \"aimd\", slow = \"20ms\" }\n\
         [[pools.servers]]\nname = \"web\"\nconcurrency = 10\n",
    );
    assert!((0.012..=0.021).contains(&s.value("latency.p50")), "{}", s.value("latency.p50"));
    assert!(s.value("latency.p999") < 0.026, "{}", s.value("latency.p999"));
    near(s.value("goodput"), 1000.0, 0.03, "no server idles");
}

#[test]
fn tied_requests_are_one_queue() {
    // Every request that finds its server busy is queued at the other as well, and the first to begin calls the other copy
    // off: both servers have the same queue, which is M/M/2. At load 0.8 the mean is 10 ms/(1 − 0.64) = 27.8 ms, whatever
    // the strategy; by lot and alone it would be 50 ms.
    let s = run("replications = 6\nduration = \"200s\"\nstrategies = [\"random\"]\n\
         arrivals = { poisson = { load = \"80%\" } }\nservice = { exponential = { mean = \"10ms\" } }\n\
         [[pools]]\nname = \"web\"\nhedge = { after = \"0s\", budget = \"100%\", tied = true }\n\
         [[pools.servers]]\nname = \"web\"\ncount = 2\n");
    near(s.value("latency.mean"), 0.010 / 0.36, 0.03, "M/M/2");
    near(s.value("utilisation.mean"), 0.8, 0.02, "no copy is served twice");
}
