//! Priorities, zones, subsets, admission, concurrency limits, changes of the fleet: in the engine and in simulated
//! time, each against a derived number.

use evenkeel::measure::{Summary, summarise};
use evenkeel::sim::record::RunRecord;

use crate::support::scenario;

/// A scenario's first variant: what is measured, and the runs.
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
            + "warmup = \"0s\"\n[[faults]]\ntarget = \"web/bad-1\"\nat = \"0s\"\nkind = { errors = { fails_checks = true } }\n"
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
        let got = s.value("zones.cross_ratio");
        assert!((got - crossed).abs() <= by, "{prefer}: {got}");
        near(s.value("latency.mean"), 0.001 + 0.010 * got, 0.02, prefer);
        // What is kept at home is paid for by a's servers: half of the load for a third of the servers.
        let most = s.value("fairness.max_over_mean");
        near(most, if crossed == 0.0 { 1.5 } else { 1.0 }, 0.06, prefer);
    }
    let s = run(&zoned("zones = { prefer = \"weights\", weights = { a = 2, b = 1, c = 1 } }"));
    // Half of everything goes to a, a quarter to b and c, wherever it comes from: what is in its own zone is 1/2 · 1/2 +
    // 2 · 1/4 · 1/4.
    assert!((s.value("zones.cross_ratio") - 0.625).abs() < 0.0097, "{}", s.value("zones.cross_ratio"));
}

#[test]
fn a_random_network_delay_crosses_zones_too() {
    let drawn = zoned("").replace(
        "cross_zone = \"5ms\"",
        "cross_zone = \"5ms\", server = { uniform = { from = \"1ms\", to = \"3ms\" } }",
    );
    let s = run(&drawn);
    near(s.value("latency.mean"), 0.001 + 0.004 + 0.010 * s.value("zones.cross_ratio"), 0.02, "mean");
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
    // Random: nearly always some server is drawn by six or more of ten balancers (binomial, p = 1/3: 7.7 % each).
    assert!(subsets("random", "round_robin").value("fairness.max_over_mean") > 1.4);
}

#[test]
fn a_dead_zone_is_named_once() {
    let source = zoned("zones = {}\nhealth = { interval = \"10ms\", timeout = \"5ms\", rise = 1, fall = 1 }").replace(
        "[[pools]]",
        "[[faults]]\ntarget = \"zone/a\"\nat = \"0s\"\nkind = { errors = { fails_checks = true } }\n[[pools]]",
    );
    let (s, runs) = runs(&source);
    // All go to b and c, which get half of a's each: none of a's is picked once the first checks are in.
    assert!(s.value("errors.ratio") < 0.01, "{}", s.value("errors.ratio"));
    let lost: u64 = runs.iter().flat_map(|run| &run.measured.servers[0][..4]).map(|server| server.picks).sum();
    assert!(lost < 100, "{lost}");
    near(s.value("zones.cross_ratio"), 0.5, 0.03, "what comes to a");
}

#[test]
fn admission_turns_away_what_the_formula_says() {
    // Servers fail half of what they get, whatever that is: (1 − 0.5/0.95) = 47.4 % are turned away once the window has
    // something in it, and half of the rest fails.
    let s = run(&(light("random").replace("200/s", "1000/s")
        + "[[faults]]\ntarget = \"web/*\"\nat = \"0s\"\nkind = { errors = { share = \"50%\" } }\n\
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
         [[pools]]\nname = \"web\"\nconcurrency = { kind = \"aimd\", latency_threshold = \"20ms\" }\n\
         [[pools.servers]]\nname = \"web\"\nconcurrency = 10\n",
    );
    assert!((0.012..=0.021).contains(&s.value("latency.p50")), "{}", s.value("latency.p50"));
    assert!(s.value("latency.p999") < 0.026, "{}", s.value("latency.p999"));
    near(s.value("goodput"), 1000.0, 0.03, "no server idles");
}

#[test]
fn tied_requests_are_one_queue() {
    // Every request that finds its server busy is queued at the other as well, and the first to begin calls the other
    // copy off: both servers have the same queue, which is M/M/2. At load 0.8 the mean is 10 ms/(1 − 0.64) = 27.8 ms,
    // whatever the strategy; random picks without the second copy would give 50 ms.
    let s = run("replications = 6\nduration = \"200s\"\nstrategies = [\"random\"]\n\
         arrivals = { poisson = { load = \"80%\" } }\nservice = { exponential = { mean = \"10ms\" } }\n\
         [[pools]]\nname = \"web\"\nhedge = { after = \"0s\", budget = \"100%\", tied = true }\n\
         [[pools.servers]]\nname = \"web\"\ncount = 2\n");
    near(s.value("latency.mean"), 0.010 / 0.36, 0.03, "M/M/2");
    near(s.value("utilisation.mean"), 0.8, 0.02, "no copy is served twice");
}

#[test]
fn a_rolling_deploy_loses_what_its_drain_is_too_short_for() {
    // Requests of 500 ms, 25/s for each of four servers, two deployed at a time, 5 s apart. A drain of 100 ms is 400 ms too
    // short: ten requests of each server die with it, 40 of 5,000. A drain of a second loses none.
    let with = |drain: &str| {
        run(&format!(
            "kind = \"terminating\"\nreplications = 1\nduration = \"50s\"\nstrategies = [\"round_robin\"]\n\
             arrivals = {{ constant = {{ rate = \"100/s\" }} }}\nservice = {{ constant = {{ value = \"500ms\" }} }}\n\
             [[faults]]\ntarget = \"web/*\"\nat = \"10s\"\nbatch_size = 2\nstagger = \"5s\"\n\
             kind = {{ deploy = {{ drain = \"{drain}\", restart = \"2s\" }} }}\n\
             [[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\ncount = 4\nconcurrency = 100\n"
        ))
    };
    assert!(
        (with("100ms").value("errors.reset") * 5000.0 - 40.0).abs() <= 4.0,
        "{}",
        with("100ms").value("errors.reset")
    );
    assert_eq!(with("1s").value("errors.ratio"), 0.0);
}

#[test]
fn servers_come_and_go_with_the_load() {
    let with = |rate: u32, delay: &str| {
        run(&format!(
            "kind = \"terminating\"\nreplications = 2\nduration = \"100s\"\nstrategies = [\"round_robin\"]\n\
             arrivals = {{ constant = {{ rate = \"{rate}/s\" }} }}\nservice = {{ constant = {{ value = \"100ms\" }} }}\n\
             [[pools]]\nname = \"web\"\n\
             autoscale = {{ target = \"50%\", initial_servers = 8, min_servers = 2, interval = \"10s\", delay = \"{delay}\", cooldown = \"20s\" }}\n\
             [[pools.servers]]\nname = \"web\"\ncount = 16\n"
        ))
    };
    // 60/s of 100 ms keep six busy: 75 % of eight. Twelve are wanted for 50 %, and are paid from 10 s on.
    let s = with(60, "100ms");
    near(s.value("servers"), (8.0 * 10.0 + 12.0 * 90.0) / 100.0, 0.01, "up");
    near(s.value("utilisation.max"), (0.75 * 10.0 + 0.5 * 90.0) / 100.0, 0.03, "eight until the new ones are there");
    // 20/s keep two busy, a quarter of eight: four are too many from the end of the cooldown on.
    // Those that are busy at that moment leave when it is looked again.
    let down = with(20, "5s").value("servers");
    assert!(((8.0 * 20.0 + 4.0 * 80.0) / 100.0..=(8.0 * 30.0 + 4.0 * 70.0) / 100.0).contains(&down), "{down}");
    assert_eq!(with(20, "5s").value("errors.ratio"), 0.0, "no request is cut off");
    // A tenth more or less is left alone.
    assert_eq!(with(42, "5s").value("servers"), 8.0);
}

#[test]
fn clients_with_all_addresses_fail_over() {
    // One of three balancers is dead and its address stays. A client that uses only the first address fails if it is
    // the dead one, a third of the time; a client that tries all loses 200 ms and uses another.
    let with = |uses: &str| {
        run(&(light("random")
            + &format!(
                "clients = {{ connect_timeout = \"200ms\" }}\nbalancers = {{ count = 3 }}\ndns = {{ ttl = \"1s\", clients_use = \"{uses}\" }}\n\
                 [[faults]]\ntarget = \"balancer/2\"\nat = \"0s\"\nkind = {{ crash = {{}} }}\n\
                 [[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\ncount = 4\n"
            )))
    };
    near(with("first").value("errors.unreachable"), 1.0 / 3.0, 0.06, "first");
    let s = with("all");
    assert_eq!(s.value("errors.ratio"), 0.0);
    near(s.value("latency.mean"), 0.001 + 0.200 / 3.0, 0.03, "all");
}

#[test]
fn a_connection_keeps_its_server_until_it_is_over() {
    let alone = |connections: &str, faults: &str| {
        run(&format!(
            "kind = \"terminating\"\nreplications = 2\nduration = \"40s\"\nstrategies = [\"round_robin\"]\nclients = {{ count = 1 }}\n\
             arrivals = {{ constant = {{ rate = \"100/s\" }} }}\nservice = {{ constant = {{ value = \"1ms\" }} }}\n{faults}\
             [[pools]]\nname = \"web\"\nconnections = {connections}\n[[pools.servers]]\nname = \"web\"\ncount = 4\n"
        ))
    };
    // One client: all at one server for ever; 10 or a second's requests at each in turn.
    assert_eq!(alone("{}", "").value("fairness.max_over_mean"), 4.0);
    assert!(alone("{ max_requests = 10 }", "").value("fairness.max_over_mean") < 1.02);
    assert!(alone("{ max_lifetime = \"1s\" }", "").value("fairness.max_over_mean") < 1.11, "40 connections over four");
    // A drain closes no connection.
    let drain = "[[faults]]\ntarget = \"web/*\"\nat = \"20s\"\nkind = { drain = {} }\n";
    assert_eq!(alone("{}", drain).value("fairness.max_over_mean"), 4.0);
    // A crash does, and the next request opens another. Of two servers one is dead from 20 to 25 s, the other from 30 to
    // 35 s: whichever it begins with, 30 s are spent at one and 10 s at the other.
    let crash = |server: u32, at: u32| {
        format!("[[faults]]\ntarget = \"web/web-{server}\"\nat = \"{at}s\"\nfor = \"5s\"\nkind = {{ crash = {{}} }}\n")
    };
    let s = run(&format!(
        "kind = \"terminating\"\nreplications = 2\nduration = \"40s\"\nstrategies = [\"round_robin\"]\nclients = {{ count = 1 }}\n\
         arrivals = {{ constant = {{ rate = \"100/s\" }} }}\nservice = {{ constant = {{ value = \"1ms\" }} }}\n{}{}\
         [[pools]]\nname = \"web\"\nconnections = {{}}\n[[pools.servers]]\nname = \"web\"\ncount = 2\n",
        crash(1, 20),
        crash(2, 30)
    ));
    near(s.value("fairness.max_over_mean"), 1.5, 0.01, "30 of 40 s at one of two");
    assert!(s.value("errors.ratio") < 0.002, "{}", s.value("errors.ratio"));
}

/// Everything of this file at once, with crashes and deploys: the invariants must hold, and the results are the same
/// with any observer. (A run verifies its invariants at its end and panics if they do not hold.)
#[test]
fn invariants_hold_with_all_policies_at_once() {
    let names: Vec<String> = evenkeel::select::catalog::CATALOGUE.iter().map(|row| format!("{:?}", row.name)).collect();
    for (cancel, per, kind, shared) in [(false, "pool", "gradient", false), (true, "server", "aimd", true)] {
        let source = format!(
            "kind = \"terminating\"\nreplications = 1\nduration = \"15s\"\nallow_overload = true\ndrain = \"20ms\"\nstrategies = [{}]\n\
             arrivals = {{ bursts = {{ base = \"300/s\", peak = \"1500/s\", every = \"5s\", length = \"2s\" }} }}\n\
             service = {{ exponential = {{ mean = \"8ms\" }} }}\nkeys = {{ count = 300, exponent = 0.9 }}\n\
             clients = {{ count = 100, timeout = \"150ms\", servers_see_cancel = {cancel}, connect_timeout = \"20ms\" }}\n\
             network = {{ client = \"1ms\", server = {{ exponential = {{ mean = \"300us\" }} }}, cross_zone = \"1ms\" }}\n\
             balancers = {{ count = 3, shards = 2, shared_in_flight = {shared}, zones = [\"a\", \"b\"] }}\n\
             dns = {{ ttl = \"500ms\", resolvers = 20, withdraw_after = \"200ms\", clients_use = \"all\" }}\n\
             [[pools]]\nname = \"web\"\nsubset = {{ size = 8, kind = \"aperture\" }}\nzones = {{ min_servers = 2 }}\npanic = \"40%\"\n\
             connections = {{ max_requests = 20, max_lifetime = \"3s\" }}\nslow_start = \"1s\"\nqueue = {{ limit = 20, timeout = \"50ms\" }}\n\
             concurrency = {{ kind = \"{kind}\", per = \"{per}\", latency_threshold = \"60ms\", min_rtt_interval = \"2s\" }}\nadmission = {{ window = \"2s\" }}\n\
             retries = {{ max_retries = 2, on = [\"connect\", \"reset\", \"error\", \"timeout\", \"rejected\"], per_try_timeout = \"60ms\", tokens = {{ max_tokens = 100, ratio = 0.5 }} }}\n\
             hedge = {{ after = \"2ms\", budget = \"30%\", tied = true }}\nhealth = {{ interval = \"300ms\", timeout = \"100ms\", rise = 1, fall = 1 }}\n\
             outliers = {{ consecutive_failures = 4, failure_percentage = {{ min_servers = 2, min_requests = 10 }}, base_ejection_time = \"1s\", interval = \"1s\", max_ejected_rule = \"grpc\" }}\n\
             autoscale = {{ target = \"50%\", initial_servers = 6, min_servers = 3, interval = \"500ms\", delay = \"700ms\", cooldown = \"1s\" }}\n\
             [[pools.servers]]\nname = \"a\"\nzone = \"a\"\ncount = 5\nqueue_limit = 5\ncache = {{ capacity = 60 }}\n\
             [[pools.servers]]\nname = \"b\"\nzone = \"b\"\ncount = 5\nconcurrency = 2\n\
             [[pools.servers]]\nname = \"c\"\nzone = \"c\"\ncount = 3\npriority = 1\ndiscipline = \"ps\"\n\
             [[faults]]\ntarget = \"zone/a\"\nat = \"4s\"\nfor = \"1s\"\nkind = {{ crash = {{}} }}\n\
             [[faults]]\ntarget = \"web/*\"\nat = \"6s\"\nbatch_size = 3\nstagger = \"1s\"\nkind = {{ deploy = {{ drain = \"200ms\", restart = \"500ms\" }} }}\n\
             [[faults]]\ntarget = \"web/b-1\"\nat = \"3s\"\nfor = \"6s\"\nkind = {{ errors = {{ share = \"90%\" }} }}\n",
            names.join(", ")
        );
        let scenario = scenario(&format!("title = \"t\"\nquestion = \"q\"\n{source}"));
        for (variant, name) in names.iter().enumerate() {
            let setup = scenario.setup(variant, 0);
            let once = evenkeel::sim::observe(&setup, &|| false, &mut ()).unwrap();
            let again = evenkeel::sim::observe(&setup, &|| false, &mut ()).unwrap();
            assert_eq!((once.pick_hash, once.events), (again.pick_hash, again.events));
            assert!(once.measured.all.ok() > 1000, "{name}: {}", once.measured.all.ok());
        }
    }
}
