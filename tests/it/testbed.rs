//! Test servers and load over real sockets. Bands are wide where a busy machine may delay, and exact where it may not.

#![allow(clippy::disallowed_methods, reason = "what is served and sent takes real time")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use evenkeel::config::distribution::Sampler;
use evenkeel::config::fault::{Crash, Drain, Errors, Slow};
use evenkeel::sim::model::{CacheSpec, Discipline, Model, Server};
use evenkeel::testbed::load::{LoadSummary, Options, Target, play};
use evenkeel::testbed::{Backend, Spec, TimedFault};
use evenkeel::units::{Nanos, Ratio};

use crate::support::{Folder, evenkeel, root, scenario, text};

fn ms(millis: u64) -> Nanos {
    Nanos::from_millis(millis)
}

fn constant(millis: u64) -> Sampler {
    Sampler::Constant(ms(millis))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends one request as it is written, and gives all that comes back until the connection ends.
fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    text(&answer)
}

fn get(server: &Backend, target: &str, fields: &str) -> String {
    raw(server.address(), &format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{fields}\r\n"))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// A model from its arrivals and further keys.
fn model(arrivals: &str, duration: &str, more: &str) -> Model {
    let source = format!(
        "title = \"t\"\nquestion = \"q\"\nwarmup = \"0s\"\ndrain = \"10s\"\nallow_overload = true\nduration = \"{duration}\"\n\
         arrivals = {arrivals}\n{more}\n[[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\n"
    );
    scenario(&source).model
}

const NO_WORK: &str = "service = { constant = { value = \"0s\" } }";

/// So many connections that send again at once.
fn closed(server: &Backend, connections: u32, requests: u64) -> LoadSummary {
    let clients = format!("{NO_WORK}\nclients = {{ count = {connections} }}");
    let model = model("{ closed = { think = { constant = { value = \"0s\" } } } }", "20s", &clients);
    let options = Options { requests: Some(requests), tell_demand: false, ..Options::default() };
    play(&model, 1, &target(server), &options, |_| true).unwrap()
}

fn target(server: &Backend) -> Target {
    server.url().parse().unwrap()
}

fn seconds(report: &LoadSummary, quantile: f64) -> f64 {
    report.latency.value_at_quantile(quantile) as f64 / 1e9
}

/// 32 slots for 16 connections: no request waits, so the time in the server depends on the distribution alone, not on
/// the machine.
#[test]
fn service_times_follow_the_configured_distribution() {
    let distribution = Sampler::Exponential { mean: 3e6 };
    let spec = Spec { server: Server { concurrency: 32, ..Server::new("a") }, ..Spec::new("a") }.service(distribution);
    let server = Backend::start(spec).unwrap();
    let report = closed(&server, 16, 600);
    let counters = server.stop();
    assert_eq!((report.ok, counters.ok, counters.requests), (600, 600, 600));
    let mean = counters.time_here.0 as f64 / 600.0 / 1e6;
    // Four standard errors.
    assert!((mean - 3.0).abs() < 4.0 * 3.0 / 600f64.sqrt(), "{mean} ms");
    assert!(counters.most_in_flight <= 16);
    let seen = report.latency.mean() / 1e6;
    assert!(seen > mean, "{seen} ms at the client, {mean} ms in the server");
}

/// Eight at a time for four slots of 20 ms: every request waits for one round and is served in the next.
#[test]
fn slots_and_speed_are_honoured() {
    let server = Server { concurrency: 4, speed: 2.0, ..Server::new("a") };
    let server = Backend::start(Spec { server, ..Spec::new("a") }.service(constant(40))).unwrap();
    let started = Instant::now();
    let report = closed(&server, 8, 80);
    let took = started.elapsed().as_secs_f64();
    assert_eq!((report.ok, server.counters().most_in_flight), (80, 8));
    // 80 requests in 20 rounds.
    assert!((0.4..0.8).contains(&took), "{took}");
    let median = seconds(&report, 0.5);
    assert!((0.039..0.06).contains(&median), "{median}");
}

#[test]
fn a_shared_processor_is_shared() {
    let server = Server { discipline: Discipline::Ps, concurrency: u32::MAX, ..Server::new("a") };
    let server = Backend::start(Spec { server, ..Spec::new("a") }.service(constant(10))).unwrap();
    let report = closed(&server, 4, 20);
    let median = seconds(&report, 0.5);
    assert!((0.038..0.07).contains(&median), "four at once, each at a quarter: {median}");
}

/// The same requests, simulated and sent: same arrivals, same work, the same queue. Sockets only add their own delay.
#[test]
fn simulator_and_sockets_agree_on_the_same_requests() {
    let more = r#"
        service = { exponential = { mean = "30ms" } }
        keys = { count = 30, exponent = 0.8 }
    "#;
    let mut model = model("{ poisson = { rate = \"80/s\" } }", "2500ms", more);
    let cache = CacheSpec { capacity: NonZeroUsize::new(10).unwrap(), ttl: None, hit_cost: 0.2, reported_load: 1.0 };
    let server = Server { concurrency: 2, cache: Some(cache), ..Server::new("web") };
    model.pools[0].servers = vec![server.clone()];
    let strategy = (evenkeel::select::catalog::find("random").unwrap().default)();
    let simulated = evenkeel::sim::run(&model, &strategy, 7, &|| false).unwrap();
    let real = Backend::start(Spec { server, ..Spec::new("web") }).unwrap();
    let report = play(&model, 7, &target(&real), &Options::default(), |_| true).unwrap();
    let all = &simulated.measured.all;
    assert_eq!(report.workload_hash, simulated.workload_hash);
    assert_eq!((report.ok, report.requests), (all.latency.len(), all.latency.len()));
    let apart = report.hits.abs_diff(all.hits);
    assert!(all.hits > 20 && apart <= 4, "{} hits simulated, {} real", all.hits, report.hits);
    let (expected, found) = (all.latency.mean() / 1e6, report.latency.mean() / 1e6);
    assert!(found > 0.97 * expected && found < 1.1 * expected + 5.0, "{expected} ms simulated, {found} ms real");
}

#[test]
fn caches_hit_by_key_or_path() {
    let cache = CacheSpec { capacity: NonZeroUsize::new(2).unwrap(), ttl: None, hit_cost: 0.0, reported_load: 1.0 };
    let server = Backend::start(Spec { server: Server { cache: Some(cache), ..Server::new("a") }, ..Spec::new("a") });
    let server = server.unwrap();
    let mut seen = Vec::new();
    for (path, key) in [("/1", ""), ("/1", ""), ("/2", "x-key: k\r\n"), ("/3", "x-key: k\r\n"), ("/4", ""), ("/1", "")]
    {
        let answer = get(&server, path, key);
        seen.push(if answer.contains("x-cache: hit") {
            'h'
        } else if answer.contains("x-cache: miss") {
            'm'
        } else {
            '-'
        });
    }
    assert_eq!(seen.iter().collect::<String>(), "mhmhmm");
    let counters = server.counters();
    assert_eq!((counters.hits, counters.misses), (2, 4));
}

#[test]
fn a_full_queue_turns_away() {
    let server = Server { queue_limit: Some(1), ..Server::new("a") };
    let server = Backend::start(Spec { server, ..Spec::new("a") }.service(constant(60_000))).unwrap();
    let address = server.address();
    let request = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let mut inside = Vec::new();
    for n in 1..=2 {
        inside.push(std::thread::spawn(move || raw(address, request)));
        while server.counters().in_flight < n {
            std::thread::yield_now();
        }
    }
    let third = raw(address, request);
    assert_eq!((status(&third), third.contains("x-server: a")), ("503", true));
    assert_eq!(server.counters().rejected, 1);
    server.kill();
    inside.into_iter().for_each(|request| assert_eq!(request.join().unwrap(), ""));
}

#[test]
fn a_killed_server_resets_refuses_and_comes_back() {
    let server = Backend::start(Spec::new("a").service(constant(10_000))).unwrap();
    let mut under_way = connect(server.address());
    under_way.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    while server.counters().in_flight < 1 {
        std::thread::yield_now();
    }
    let idle = connect(server.address());
    while server.counters().connections < 2 {
        std::thread::yield_now();
    }
    server.kill();
    assert_eq!(TcpStream::connect(server.address()).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    for mut stream in [under_way, idle] {
        let error = stream.read(&mut [0]).expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!((server.counters().lost, server.counters().in_flight), (1, 0));
    server.heal();
    assert_eq!(status(&get(&server, "/health", "")), "200");
}

#[test]
fn a_silent_server_takes_connections_and_says_nothing() {
    let server = Backend::start(Spec::new("a")).unwrap();
    let mut before = connect(server.address());
    before.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(before.read(&mut [0; 4096]).unwrap() > 0);
    server.inject_fault(Crash { silent: true }, None);
    for stream in [&mut before, &mut connect(server.address())] {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let error = stream.read(&mut [0]).expect_err("silence");
        assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
    }
    server.heal();
    assert_eq!(status(&get(&server, "/", "")), "200");
    // It knows nothing of connections from before.
    before.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert!(before.read(&mut [0]).is_err());
}

#[test]
fn errors_slowness_and_deploys_are_as_in_a_scenario() {
    let errors = |fails_checks| Errors { share: Ratio(1.0), latency: ms(1), fails_checks };
    let soon = TimedFault { at: Nanos::ZERO, until: Some(ms(100)), kind: errors(true).into() };
    let spec = Spec { faults: vec![soon], ..Spec::new("a") }.service(constant(5));
    let server = Backend::start(spec).unwrap();
    let started = Instant::now();
    let (health, any) = (get(&server, "/health", ""), get(&server, "/", ""));
    if started.elapsed() < Duration::from_millis(90) {
        assert_eq!((status(&health), status(&any)), ("503", "500"));
    }
    while started.elapsed() < Duration::from_millis(120) {
        std::thread::yield_now();
    }
    assert_eq!((status(&get(&server, "/health", "")), status(&get(&server, "/", ""))), ("200", "200"));
    server.inject_fault(errors(false), None);
    assert_eq!((status(&get(&server, "/health", "")), status(&get(&server, "/", ""))), ("200", "500"));
    server.heal();
    server.inject_fault(Slow { factor: 20.0 }, None);
    let started = Instant::now();
    assert_eq!(status(&get(&server, "/", "")), "200");
    assert!(started.elapsed() >= Duration::from_millis(100));
    server.heal();
    server.inject_fault(Drain {}, None);
    assert_eq!((status(&get(&server, "/health", "")), status(&get(&server, "/", ""))), ("503", "200"));
}

#[test]
fn faults_over_http_only_where_that_is_allowed() {
    let order = |server: &Backend, method: &str, body: &str| {
        let head =
            format!("{method} /_fault HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}", body.len());
        raw(server.address(), &format!("{head}\r\n\r\n{body}"))
    };
    let errors = "kind = { errors = {} }";
    let plain = Backend::start(Spec::new("plain")).unwrap();
    assert_eq!(status(&order(&plain, "POST", errors)), "200");
    assert_eq!(status(&get(&plain, "/", "")), "200");
    let server = Backend::start(Spec { control: true, ..Spec::new("a") }).unwrap();
    assert_eq!(status(&order(&server, "POST", errors)), "200");
    assert_eq!(status(&get(&server, "/", "")), "500");
    assert_eq!(status(&order(&server, "DELETE", "")), "200");
    assert_eq!(status(&get(&server, "/", "")), "200");
    let wrong = order(&server, "POST", "kind = { slow = { factor = 0 } }");
    assert!(status(&wrong) == "400" && wrong.contains("`factor` must be"), "{wrong}");
    let crash = order(&server, "POST", "kind = { crash = {} }");
    assert_eq!(status(&crash), "200", "the answer goes before the crash");
    while TcpStream::connect(server.address()).is_ok() {
        std::thread::yield_now();
    }
    // Errors can be cleared and set again where no crash is possible.
    let control = server.control_address().unwrap();
    let heal = "DELETE /_fault HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for _ in 0..2 {
        assert_eq!(status(&raw(control, heal)), "200");
        let started = Instant::now();
        while TcpStream::connect(server.address()).is_err() {
            assert!(started.elapsed() < Duration::from_secs(5), "it does not come back");
            std::thread::yield_now();
        }
        assert_eq!(status(&get(&server, "/", "")), "200");
        server.kill();
    }
    assert_eq!(status(&raw(control, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")), "404");
    assert_eq!(plain.control_address(), None);
}

#[test]
fn an_echo_tells_what_was_received() {
    let server = Backend::start(Spec::new("a")).unwrap();
    let request = "POST /a/b?c=d HTTP/1.1\r\nHost: me\r\nX-Second: 2\r\nX-First: 1\r\nconnection: close\r\n\
                   x-echo: 1\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n3\r\nabc\r\n0\r\nx-t: end\r\n\r\n";
    let answer = raw(server.address(), request);
    let value: serde_json::Value = serde_json::from_str(body(&answer)).unwrap_or_else(|_| panic!("{answer}"));
    assert_eq!((value["method"].as_str(), value["target"].as_str()), (Some("POST"), Some("/a/b?c=d")));
    let names: Vec<&str> = value["headers"].as_array().unwrap().iter().map(|pair| pair[0].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["host", "x-second", "x-first"]);
    assert_eq!(value["body"]["length"], 3);
    assert_eq!(value["body"]["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(value["trailers"][0], serde_json::json!(["x-t", "end"]));
}

#[test]
fn queries_shape_the_answer() {
    let server = Backend::start(Spec { bytes: 3, ..Spec::new("a") }).unwrap();
    let plain = get(&server, "/", "");
    assert!(plain.contains("content-length: 3") && body(&plain) == "eve", "{plain}");
    assert!(plain.contains("endpoint-load-metrics: TEXT rps_fractional="), "{plain}");
    assert_eq!(body(&get(&server, "/?bytes=200000", "")).len(), 200_000);
    assert_eq!(status(&get(&server, "/?status=404", "")), "404");
    let wrong = get(&server, "/?delay=soon", "");
    assert!(status(&wrong) == "400" && wrong.contains("`soon` is not a duration"), "{wrong}");
    let started = Instant::now();
    get(&server, "/?delay=40ms", "");
    assert!(started.elapsed() >= Duration::from_millis(40));
    let head = raw(server.address(), "HEAD /?bytes=9 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(head.contains("content-length: 9") && body(&head).is_empty(), "{head}");
    let chunked = get(&server, "/?bytes=10&chunked=1", "");
    assert!(
        chunked.contains("transfer-encoding: chunked") && chunked.ends_with("5\r\n.....\r\n5\r\n.....\r\n0\r\n\r\n")
    );
    let trailers = get(&server, "/?bytes=2&trailers=1", "te: trailers\r\n");
    assert!(trailers.contains("trailer: x-bytes") && trailers.ends_with("0\r\nx-bytes: 2\r\n\r\n"), "{trailers}");
    let started = Instant::now();
    let events = get(&server, "/?sse=3&every=20ms", "");
    assert!(events.contains("content-type: text/event-stream") && events.contains("data: event 3\n\n"), "{events}");
    assert!(started.elapsed() >= Duration::from_millis(40));
}

#[test]
fn an_upgrade_is_a_tunnel_that_a_kill_cuts() {
    let server = Backend::start(Spec::new("a")).unwrap();
    let mut stream = connect(server.address());
    let request = b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    for message in ["hello", "and again"] {
        stream.write_all(message.as_bytes()).unwrap();
        let mut back = vec![0; message.len()];
        reader.read_exact(&mut back).unwrap();
        assert_eq!(text(&back), message);
    }
    server.kill();
    assert!(reader.read(&mut [0]).is_err());
}

#[test]
fn http2_is_served_and_sent() {
    let server = Backend::start(Spec { bytes: 100_000, ..Spec::new("a") }.service(constant(1))).unwrap();
    let model = model("{ constant = { rate = \"200/s\" } }", "500ms", NO_WORK);
    let options = Options { http2: true, body_bytes: 100_000, tell_demand: false, ..Options::default() };
    let report = play(&model, 1, &target(&server), &options, |_| true).unwrap();
    assert_eq!((report.ok, report.connections, report.bytes), (99, 1, 9_900_000), "{report:?}");
}

/// A server that stands still for 300 ms. Every request that arrives meanwhile has to wait, and an open loop shows
/// that; a closed loop of one sends only one request in that time.
#[test]
fn a_stall_is_in_the_tail_of_an_open_loop() {
    let stall = TimedFault { at: ms(400), until: Some(ms(700)), kind: Slow { factor: 1e6 }.into() };
    let start = || Backend::start(Spec { faults: vec![stall], ..Spec::new("a") }.service(constant(1))).unwrap();
    let options = Options { tell_demand: false, ..Options::default() };
    let server = start();
    let open = model("{ constant = { rate = \"200/s\" } }", "1200ms", NO_WORK);
    let open = play(&open, 1, &target(&server), &options, |_| true).unwrap();
    let server = start();
    let think = "{ closed = { think = { constant = { value = \"5ms\" } } } }";
    let lazy = model(think, "1200ms", &format!("{NO_WORK}\nclients = {{ count = 1 }}"));
    let lazy = play(&lazy, 1, &target(&server), &options, |_| true).unwrap();
    assert_eq!((open.ok, lazy.failed()), (239, 0));
    // A quarter of the requests came in those 300 ms; of them, the earliest sixth waited for 250 ms and more.
    assert!((0.25..0.4).contains(&seconds(&open, 0.98)), "{}", seconds(&open, 0.98));
    assert!(seconds(&open, 0.9) > 0.1, "{}", seconds(&open, 0.9));
    assert!(lazy.requests > 80 && seconds(&lazy, 1.0) > 0.25, "{lazy:?}");
    assert!(seconds(&lazy, 0.98) < 0.1, "{}", seconds(&lazy, 0.98));
}

/// Answers in turn: as `a` with a hit, as `b` with a miss, and then closes the connection without having said so.
fn two_faced() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            for (name, cache) in [("a", "hit"), ("b", "miss")] {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let answer =
                    format!("HTTP/1.1 200 OK\r\nx-server: {name}\r\nx-cache: {cache}\r\ncontent-length: 1\r\n\r\n.");
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    address
}

#[test]
fn shares_and_hits_are_counted_and_stale_connections_cost_nothing() {
    let target: Target = format!("http://{}", two_faced()).parse().unwrap();
    let model = model(
        "{ closed = { think = { constant = { value = \"1ms\" } } } }",
        "20s",
        &format!("{NO_WORK}\nclients = {{ count = 1 }}"),
    );
    let options = Options { requests: Some(20), ..Options::default() };
    let report = play(&model, 1, &target, &options, |_| true).unwrap();
    assert_eq!((report.ok, report.failed(), report.connections), (20, 0, 10), "{report:?}");
    let shares: Vec<(&str, u64)> = report.servers.iter().map(|(name, &count)| (name.as_str(), count)).collect();
    assert_eq!(shares, [("a", 10), ("b", 10)]);
    assert_eq!(report.hit_ratio(), Some(0.5));
    assert_eq!(report.bytes, 20);
}

#[test]
fn failures_are_counted_by_kind() {
    let arrivals = "{ constant = { rate = \"200/s\" } }";
    let model = model(arrivals, "155ms", NO_WORK);
    let send = |server: &Backend, path: Option<&str>, options: &Options| {
        let target = Target { path: path.map(str::to_owned), ..target(server) };
        play(&model, 1, &target, options, |_| true).unwrap()
    };
    let options = Options::default();
    let server = Backend::start(Spec::new("a")).unwrap();
    let failed = send(&server, Some("/?status=503"), &options);
    assert_eq!((failed.ok, failed.errors.get("503"), failed.statuses.get(&503)), (0, Some(&30), Some(&30)));
    assert_eq!((failed.latency.len(), failed.servers.get("a")), (0, Some(&30)));
    let slow = Options { timeout: Some(Duration::from_millis(30)), ..options.clone() };
    let late = send(&server, Some("/?delay=10s"), &slow);
    assert_eq!((late.errors.get("timed_out"), late.latency.len()), (Some(&30), 30));
    assert!((seconds(&late, 1.0) - 0.03).abs() < 0.001, "at their time-out: {}", seconds(&late, 1.0));
    server.kill();
    let refused = send(&server, None, &options);
    assert_eq!((refused.errors.get("refused"), refused.connections), (Some(&30), 0));
    assert!(refused.example.unwrap().contains("refused"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target: Target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
        }
    });
    let reset = play(&model, 1, &target, &options, |_| true).unwrap();
    assert_eq!((reset.errors.get("reset"), reset.connections), (Some(&30), 30), "{reset:?}");
}

#[test]
fn one_connection_makes_requests_wait_and_a_watcher_can_end_it() {
    let server = Backend::start(Spec::new("a").service(constant(20))).unwrap();
    let model = model("{ constant = { rate = \"100/s\" } }", "310ms", NO_WORK);
    let options = Options { connections: Some(1), tell_demand: false, ..Options::default() };
    let report = play(&model, 1, &target(&server), &options, |_| true).unwrap();
    assert_eq!((report.ok, report.connections, server.counters().most_in_flight), (30, 1, 1));
    // The last of thirty came after 0.3 s and could start after 0.58 s.
    assert!((0.25..0.5).contains(&(report.waited.max() as f64 / 1e9)), "{}", report.waited.max());
    assert!(report.warnings().iter().any(|warning| warning.contains("wait for a connection")));
    let started = Instant::now();
    let report = play(&model, 1, &target(&server), &options, |_| false).unwrap();
    assert!(started.elapsed() < Duration::from_millis(250) && report.unfinished > 0, "{report:?}");
}

#[test]
fn clients_keys_and_fields_are_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target: Target = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while !head.ends_with("\r\n\r\n") {
            reader.read_line(&mut head).unwrap();
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        head
    });
    let more = r#"
        service = { constant = { value = "7ms" } }
        clients = { count = 9 }
        keys = { count = 100 }
        [[paths]]
        path = "/only"
    "#;
    let model = model("{ constant = { rate = \"100/s\" } }", "1s", more);
    let name = "x-extra".parse().unwrap();
    let options = Options { requests: Some(1), headers: vec![(name, "yes".parse().unwrap())], ..Options::default() };
    let report = play(&model, 1, &target, &options, |_| true).unwrap();
    assert_eq!((report.requests, report.ok), (1, 1));
    let head = heard.join().unwrap();
    assert!(head.starts_with("GET /only HTTP/1.1\r\n"), "{head}");
    let draft = {
        let mut workload = evenkeel::sim::workload::Workload::new(&model, 1);
        let (at, origin) = workload.next_arrival().unwrap();
        let draft = workload.draft(origin, at);
        (workload.address(draft.client).to_string(), draft.key)
    };
    for line in [
        format!("x-forwarded-for: {}\r\n", draft.0),
        format!("x-key: {:016x}\r\n", draft.1),
        "x-demand: 7000000\r\n".to_owned(),
        "x-extra: yes\r\n".to_owned(),
        format!("host: {}\r\n", target.authority),
    ] {
        assert!(head.contains(&line), "no {line}in\n{head}");
    }
}

/// A server of the command line, ended with SIGTERM.
struct Served {
    child: Child,
    urls: Vec<String>,
}

impl Served {
    fn start(arguments: &[&str], servers: usize) -> Served {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command.arg("test-server").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut reader = BufReader::new(child.stdout.as_mut().unwrap());
        let mut urls = Vec::new();
        for _ in 0..servers {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            urls.push(line.trim().rsplit(' ').next().unwrap().to_owned());
        }
        assert!(reader.buffer().is_empty());
        Served { child, urls }
    }

    fn end(self) -> (String, Option<i32>) {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        let output = self.child.wait_with_output().unwrap();
        (text(&output.stdout) + &text(&output.stderr), output.status.code())
    }
}

#[test]
fn the_commands_work_together() {
    let service = "{ constant = { value = \"2ms\" } }";
    let served = Served::start(&["--listen", "127.0.0.1:0", "--count", "2", "--name", "t", "--service", service], 2);
    let output = evenkeel()
        .args(["load", &format!("{}/x", served.urls[1]), "--rate", "200/s", "--constant", "--requests", "20", "--json"])
        .args(["--expect-no-errors"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((value["ok"].as_u64(), value["servers"]["t-2"].as_u64()), (Some(20), Some(20)));
    assert!(value["latency"]["p50"].as_f64().unwrap() >= 0.002);
    let output = evenkeel()
        .args(["load", &format!("{}/?status=500", served.urls[0]), "--closed", "--requests", "5", "--expect-no-errors"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(100), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("Failed: 500 5."), "{}", text(&output.stdout));
    let (printed, code) = served.end();
    assert_eq!(code, Some(0), "{printed}");
    let row = |name: &str| {
        printed.lines().find(|line| line.contains(name)).unwrap().split_whitespace().nth(1).map(str::to_owned)
    };
    assert_eq!((row("t-1"), row("t-2")), (Some("5".to_owned()), Some("20".to_owned())), "{printed}");
}

#[test]
fn a_scenario_is_served_and_sent() {
    let folder = Folder::new();
    let file = folder.file(
        "wire.toml",
        r#"
title = "Over sockets"
question = "Is it so?"
duration = "600ms"
warmup = "100ms"
arrivals = { poisson = { rate = "100/s" } }
service = { exponential = { mean = "5ms" } }
keys = { count = 10 }
[[pools]]
name = "web"
[[pools.servers]]
name = "web"
address = "127.0.0.1:0"
cache = { capacity = 100 }
"#,
    );
    let served = Served::start(&["--config", file.to_str().unwrap()], 1);
    let output = evenkeel().args(["load", &served.urls[0], "--json", "--scenario"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["ok"], value["requests"]);
    assert_eq!(value["servers"]["web"], value["requests"]);
    assert!(value["hit_ratio"].as_f64().unwrap() > 0.3, "{value}");
    served.end();
}

#[test]
fn the_commands_explain_mistakes() {
    for (arguments, code, message) in [
        (&["load", "127.0.0.1:80"][..], 2, "write it as http://"),
        (&["load", "https://127.0.0.1"], 2, "`https` is not spoken"),
        (&["load", "http://127.0.0.1:9", "--rate", "5"], 2, "is not a rate"),
        (&["load", "http://127.0.0.1:9", "-H", "nothing"], 2, "write it as `name: value`"),
        (&["load", "http://127.0.0.1:9", "--demand", "{ exponential = { mean = 3 } }"], 2, "--demand:1:26"),
        (&["load", "http://127.0.0.1:9", "--arrivals", "{ bursts = {} }"], 2, "`base` is missing"),
        (&["load", "http://127.0.0.1:9", "--scenario", "/none.toml"], 2, "no file or folder"),
        (&["load", "http://no.such.host.invalid", "--requests", "1"], 2, "cannot send to"),
        (&["test-server", "--service", "{ exponentail = { mean = \"1ms\" } }"], 2, "did you mean `exponential`?"),
        (&["test-server", "--service", "{ erlang = { mean = \"1ms\", stages = 0 } }"], 2, "it must be from 1 to 100"),
        (&["test-server", "--fault", "{ kind = { slow = { factor = 0 } } }"], 2, "`factor` must be"),
        (&["test-server", "--speed", "0"], 2, "--speed must be above zero"),
        (&["test-server", "--listen", "127.0.0.1:65535", "--count", "2"], 2, "not enough ports"),
        (&["test-server", "--config", "/none.toml"], 2, "cannot be read"),
        (&["test-server", "--config", "scenarios/crash.toml"], 2, "no server has an address"),
    ] {
        let output = evenkeel().current_dir(root()).args(arguments).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
    let dead = Backend::start(Spec::new("x")).unwrap();
    dead.kill();
    let output = evenkeel().args(["load", &dead.url(), "--requests", "2", "--rate", "1000/s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no response from"), "{}", text(&output.stderr));
    let taken = Backend::start(Spec::new("x")).unwrap();
    let output = evenkeel().args(["test-server", "--listen", &taken.address().to_string()]).output().unwrap();
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("the port is in use"));
}
