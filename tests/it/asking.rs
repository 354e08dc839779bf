//! Strategies that probe servers before they place a request: what the probes cost and when probing ends, in simulated
//! time and over real sockets.

#![allow(clippy::disallowed_methods, reason = "what talks to real sockets reads the clock")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use evenkeel::config::distribution::Sampler;
use evenkeel::config::pool::CacheSpec;
use evenkeel::measure::{Summary, summarise};
use evenkeel::proxy::Options;
use evenkeel::select::catalog::StrategyConfig;
use evenkeel::select::{LoadReport, Outcome, ProbeReplies, ProbeReply, ReportSource, Request};
use evenkeel::testbed::{Backend, Spec};
use evenkeel::units::Nanos;

use crate::front::{self, Front, config, request, servers};
use crate::support::{Bench, Folder, client, scenario};

/// One client who sends, waits and sends again, before three servers with a way of `leg` to each and 1 ms of work.
fn alone(strategy: &str, leg: &str, more: &str, pool: &str) -> Summary {
    let scenario = scenario(&format!(
        "title = \"t\"\nquestion = \"q\"\nkind = \"terminating\"\nduration = \"20s\"\nreplications = 1\nstrategies = [{strategy}]\n\
         clients = {{ count = 1, timeout = \"1s\" }}\narrivals = {{ closed = {{ think = {{ constant = {{ value = \"5ms\" }} }} }} }}\n\
         service = {{ constant = {{ value = \"1ms\" }} }}\nnetwork = {{ server = \"{leg}\" }}\n\
         [[pools]]\nname = \"web\"\nprobes = {{ work = \"200us\" }}\n{pool}[[pools.servers]]\nname = \"web\"\ncount = 3\n{more}"
    ));
    let run = evenkeel::sim::observe(&scenario.setup(0, 0), &|| false, &mut ()).unwrap();
    summarise(&scenario, 0, &[run])
}

fn milliseconds(summary: &Summary, metric: &str) -> f64 {
    summary.value(metric) * 1e3
}

/// There and back and the answer's work, then there and back and the work: (1 + 0.2 + 1) + (1 + 1 + 1). Replies after
/// the time-out are not waited for: 3 + 41.
#[test]
fn a_request_waits_for_a_probe_round_trip_or_its_timeout() {
    let near = |got: f64, expected: f64| assert!((got - expected).abs() < 0.005 * expected, "{got} and not {expected}");
    let one = alone("\"prequal_synchronous\"", "1ms", "", "");
    near(milliseconds(&one, "latency.mean"), 5.2);
    near(milliseconds(&one, "latency.p99"), 5.2);
    near(one.value("probes.ratio"), 3.0);
    let far = alone("\"prequal_synchronous\"", "20ms", "", "");
    near(milliseconds(&far, "latency.p99"), 3.0 + 41.0);
    let patient = alone("{ prequal_synchronous = { timeout = \"1s\" } }", "20ms", "", "");
    near(milliseconds(&patient, "latency.p99"), 40.2 + 41.0);
}

/// A refused connection counts as a reply at once; a silent server is waited for, unless the quorum is reached without
/// it.
#[test]
fn dead_servers_delay_probing_only_when_all_replies_are_required() {
    let crash = |silent: bool| {
        format!("[[faults]]\ntarget = \"web/web-1\"\nat = \"0s\"\nkind = {{ crash = {{ silent = {silent} }} }}\n")
    };
    // Once its checks have failed it is not probed any more.
    let checked = "health = { interval = \"100ms\", timeout = \"50ms\", rise = 1, fall = 1 }\n";
    let all = "{ prequal_synchronous = { wait_for = 3, timeout = \"100ms\" } }";
    let fast = alone(all, "1ms", &crash(true), checked);
    assert!((milliseconds(&fast, "latency.p50") - 5.2).abs() < 0.03, "{}", milliseconds(&fast, "latency.p50"));
    // Without checks it is probed: two replies and a refusal, or two replies and silence.
    let refused = alone(all, "1ms", &crash(false), "");
    assert!((milliseconds(&refused, "latency.p50") - 5.2).abs() < 0.03, "{}", milliseconds(&refused, "latency.p50"));
    let silent = alone(all, "1ms", &crash(true), "");
    assert!((milliseconds(&silent, "latency.p50") - 103.0).abs() < 0.6, "{}", milliseconds(&silent, "latency.p50"));
    let usual = alone("\"prequal_synchronous\"", "1ms", &crash(true), "");
    assert!((milliseconds(&usual, "latency.p50") - 5.2).abs() < 0.03, "{}", milliseconds(&usual, "latency.p50"));
    // No request is sent to a server that did not answer.
    for summary in [&fast, &refused, &silent, &usual] {
        assert!(summary.value("errors.ratio") < 0.01, "{}", summary.value("errors.ratio"));
    }
}

/// A request that finds all servers full waits in the queue and sends no probes: it takes a free slot at once.
#[test]
fn queued_requests_send_no_probes() {
    let scenario = scenario(
        "title = \"t\"\nquestion = \"q\"\nkind = \"terminating\"\nduration = \"20s\"\nreplications = 1\n\
         strategies = [\"prequal_synchronous\", \"random\"]\nclients = { count = 12 }\narrivals = { closed = { think = { constant = { value = \"0s\" } } } }\n\
         service = { exponential = { mean = \"10ms\" } }\nnetwork = { server = \"1ms\" }\n\
         [[pools]]\nname = \"web\"\nprobes = { work = \"0s\" }\nqueue = { limit = 100, timeout = \"5s\" }\n\
         [[pools.servers]]\nname = \"web\"\ncount = 3\nmax_in_flight = 1\n",
    );
    let run = |variant| {
        let record = evenkeel::sim::observe(&scenario.setup(variant, 0), &|| false, &mut ()).unwrap();
        (record.measured.all.ok(), summarise(&scenario, variant, &[record]))
    };
    let ((asking, summary), (random, _)) = (run(0), run(1));
    // Nine always wait: after the first three no request probes, and no more time is lost by probing than that.
    assert!(summary.value("probes.ratio") < 0.01, "{}", summary.value("probes.ratio"));
    assert!((asking as f64 / random as f64 - 1.0).abs() < 0.02, "{asking} and {random}");
}

/// Three of the servers are probed, none twice, no unavailable one. Of those that replied, the cold and fast one is
/// picked; without replies, any.
#[test]
fn the_best_server_that_replied_is_picked() {
    let mut bench = Bench::new("prequal_synchronous", "q_rif = 0.5", &[1; 8], 3);
    fn of(excluded: &[u32]) -> Request<'_> {
        Request { client: client(1), path: "/", key: b"key", excluded, answers: None }
    }
    for _ in 0..200 {
        let inquiry = bench.with(|selector, cx| selector.inquire(&of(&[2, 5]), cx)).unwrap();
        let mut slots: Vec<u32> = inquiry.targets().iter().map(|backend| backend.slot).collect();
        slots.sort_unstable();
        slots.dedup();
        assert_eq!((slots.len(), inquiry.quorum, inquiry.timeout), (3, 2, Nanos::from_millis(3)));
        assert!(!slots.contains(&2) && !slots.contains(&5), "{slots:?}");
    }
    assert!(bench.with(|selector, cx| selector.inquire(&of(&[0, 1, 2, 3, 4, 5, 6]), cx)).is_none(), "one is no choice");
    let load =
        |rif, latency| LoadReport { in_server: Some(rif), latency, by: ReportSource::Probe, ..LoadReport::default() };
    // Half of the recent reports are 4 or less.
    for rif in [2, 4, 4, 6] {
        let id = bench.fleet.id(0);
        bench.with(|selector, cx| selector.on_report(id, &load(rif, 0.0), cx));
    }
    let mut pick = |given: &[(u32, u32, f64)], excluded: &[u32]| {
        let answer = |&(slot, rif, latency): &(u32, u32, f64)| ProbeReply {
            backend: bench.fleet.id(slot),
            load: load(rif, latency),
        };
        let answers = ProbeReplies { part: 0, given: given.iter().map(answer).collect() };
        let pick = bench.pick(&Request { answers: Some(&answers), ..of(excluded) }).unwrap();
        bench.finish(pick, Nanos(1), Outcome::Cancelled);
        pick.backend.slot
    };
    assert_eq!(pick(&[(3, 4, 0.05), (6, 3, 0.07)], &[]), 3, "both are cold: the faster");
    assert_eq!(pick(&[(3, 5, 0.01), (6, 3, 0.07)], &[]), 6, "the hot only where there is no other");
    assert_eq!(pick(&[(3, 9, 0.01), (6, 7, 0.07)], &[]), 6, "both are hot: the fewer requests");
    assert_eq!(pick(&[(3, 1, 0.01), (6, 7, 0.07)], &[3]), 6, "who has been tried is not taken");
    let by_lot: std::collections::BTreeSet<u32> = (0..200).map(|_| pick(&[], &[])).collect();
    assert_eq!(by_lot.len(), 8);
}

/// Over real sockets: of three servers one has a hundred requests and gets no more; one that does not answer is waited
/// for no longer than the strategy's time-out.
#[test]
fn the_proxy_probes_and_waits() {
    let backends = front::backends(&["a", "b", "c"]);
    let rules = "strategy = { prequal_synchronous = { wait_for = 3, timeout = \"300ms\", q_rif = 0.5 } }";
    let front = Front::start(&config("shards = 1", rules, &servers(&backends)));
    // Requests sent directly to the server, unknown to the proxy.
    let busy = backends[0].address();
    let others: Vec<_> = (0..20)
        .map(|_| std::thread::spawn(move || front::try_request(busy, "GET", "/", &[("x-demand", "1500000000")])))
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..30 {
        let answer = request(front.address(), "GET", "/", &[]);
        assert_eq!(answer.status, 200);
        *shares.entry(answer.header("x-upstream").unwrap().to_owned()).or_default() += 1;
    }
    assert!(!shares.contains_key("a") && shares.len() == 2, "{shares:?}");
    others.into_iter().for_each(|other| assert_eq!(other.join().unwrap().unwrap().status, 200));

    // A listener that never answers.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut list = servers(&backends);
    let address = mute.local_addr().unwrap();
    list.push_str(&format!("[[pools.servers]]\nname = \"mute\"\naddress = \"{address}\"\n"));
    let rules = "strategy = { prequal_synchronous = { probes = 4, wait_for = 4, timeout = \"150ms\" } }";
    front.reload(&config("shards = 1", rules, &list)).unwrap();
    for _ in 0..3 {
        let began = std::time::Instant::now();
        let answer = request(front.address(), "GET", "/", &[]);
        assert_eq!(answer.status, 200, "sent to one of those that answered");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(150) && took < Duration::from_millis(900), "{took:?}");
    }
    let probes = |server: &str, outcome: &str| {
        let labels = format!("pool=\"web\",server=\"{server}\",outcome=\"{outcome}\"");
        front::metric(front.admin(), &format!("evenkeel_probes_total{{{labels}}}"))
    };
    assert_eq!((probes("b", "reported"), probes("b", "silent")), (33.0, 0.0));
    let decisions = front::metric(front.admin(), "evenkeel_selector_decision_seconds_count{pool=\"web\"}");
    assert_eq!(decisions, 33.0, "each pick is timed, and no wait for answers is a pick");
    front::eventually("the mute one's questions to be over", || probes("mute", "silent") == 3.0);
}

/// State that one strategy attached to its pick is not passed to another strategy after a reload.
#[test]
fn tags_of_a_former_strategy_do_not_reach_the_next() {
    let backends = front::backends(&["a", "b"]);
    let folder = Folder::new();
    let file = folder.path().join("picks.jsonl");
    let options = Options { record: Some(file.clone()), seed: Some(1), ..Options::default() };
    let write = |strategy: &str| config("shards = 1", &format!("strategy = {strategy:?}"), &servers(&backends));
    let front = Front::with(&write("least_time"), options);
    let address = front.address();
    let slow = std::thread::spawn(move || front::try_request(address, "GET", "/", &[("x-demand", "600000000")]));
    front::eventually("it to be under way", || {
        ["a", "b"].iter().any(|name| front.server("web", name)["in_flight"].as_u64() == Some(1))
    });
    front.reload(&write("cost_aware_least_request")).unwrap();
    assert_eq!(request(address, "GET", "/", &[]).status, 200);
    assert_eq!(slow.join().unwrap().unwrap().status, 200);
    drop(front.stop());
    let mut strategies: BTreeMap<u32, String> = BTreeMap::new();
    let mut ends: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in std::fs::read_to_string(&file).unwrap().lines() {
        let (desk, value): (u32, serde_json::Value) = serde_json::from_str(line).unwrap();
        if let Some(opening) = value.get("opening") {
            let table: StrategyConfig = serde_json::from_value(opening["strategy"].clone()).unwrap();
            strategies.insert(desk, table.name().to_owned());
        } else if let Some(finish) = value.get("finish") {
            ends.entry(strategies[&desk].clone()).or_default().push(finish["tag"].as_u64().unwrap());
        }
    }
    // Its own request first, then the one that least_time had placed.
    let heard = &ends["cost_aware_least_request"];
    assert!(heard.len() == 2 && heard[0] != 0 && heard[1] == 0, "{ends:?}");
}

/// Four servers that remember 60 of 200 keys each. Servers that report no load to probes for a cached key get all
/// requests for it: a key stays where it was. If servers do not report that, hits are random: 60 of 200.
#[test]
fn cached_keys_attract_their_requests() {
    let hits = |reported_load: &str| {
        let scenario = scenario(&format!(
            "title = \"t\"\nquestion = \"q\"\nduration = \"40s\"\nwarmup = \"20s\"\nreplications = 1\n\
             strategies = [{{ prequal_synchronous = {{ probes = 4, wait_for = 4, q_rif = 1.0 }} }}]\n\
             arrivals = {{ poisson = {{ rate = \"100/s\" }} }}\nservice = {{ exponential = {{ mean = \"5ms\" }} }}\n\
             keys = {{ count = 200, exponent = 0.0 }}\nnetwork = {{ server = \"100us\" }}\n[[pools]]\nname = \"web\"\n\
             [[pools.servers]]\nname = \"web\"\ncount = 4\n\
             cache = {{ capacity = 60, hit_cost = \"100%\", reported_load = \"{reported_load}\" }}\n"
        ));
        let run = evenkeel::sim::observe(&scenario.setup(0, 0), &|| false, &mut ()).unwrap();
        summarise(&scenario, 0, &[run]).value("cache.hit_ratio")
    };
    assert!(hits("0%") > 0.98, "{}", hits("0%"));
    assert!((hits("100%") - 0.3).abs() < 0.04, "{}", hits("100%"));
}

/// The same over real sockets: a key cached by one server goes back to it, and a key that no server has goes to any.
#[test]
fn cached_keys_attract_their_requests_through_the_proxy() {
    let one = |name: &str| {
        let mut spec = Spec::new(name).service(Sampler::Constant(Nanos::from_millis(1)));
        let capacity = NonZeroUsize::new(1000).unwrap();
        spec.server.cache = Some(CacheSpec { capacity, ttl: None, hit_cost: 1.0, reported_load: 0.0 });
        Backend::start(spec).unwrap()
    };
    let backends = ["a", "b", "c"].map(one);
    let pool = "strategy = { prequal_synchronous = { wait_for = 3, timeout = \"2s\", q_rif = 1.0 } }\n\
                health = { path = \"/health\", interval = \"1s\", timeout = \"500ms\", rise = 1, fall = 3 }";
    let front = Front::start(&config("shards = 1\nkey = { header = \"x-key\" }", pool, &servers(&backends)));
    let ask = |key: &str| {
        let answer = request(front.address(), "GET", "/", &[("x-key", key)]);
        assert_eq!(answer.status, 200);
        answer.header("x-upstream").unwrap().to_owned()
    };
    let first: Vec<String> = (0..40).map(|n| ask(&format!("key {n}"))).collect();
    let used: std::collections::BTreeSet<&String> = first.iter().collect();
    assert_eq!(used.len(), 3, "{first:?}");
    // All have served recently and report a latency; the server that has the key reports none.
    for (n, server) in first.iter().enumerate().skip(20) {
        assert_eq!(&ask(&format!("key {n}")), server, "key {n}");
    }
}
