//! The proxy in operation: servers die and come back, configs change, it is shut down, and no request loses its answer;
//! limits, checks, ejection, slow start and stickiness over real sockets; the admin listener.

#![allow(clippy::disallowed_methods, reason = "what talks to real sockets reads the clock")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::config::distribution::Sampler;
use evenkeel::config::fault::{Crash, Errors};
use evenkeel::testbed::{Backend, Spec};
use evenkeel::units::{Nanos, Ratio};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::front::{
    Answer, Client, Front, Load, Process, Tally, Tunnel, backend, backends, config, eventually, metric, request,
    server, servers, try_request,
};
use crate::support::Folder;

const RETRIES: &str = r#"
strategy = "round_robin"
outliers = { consecutive_failures = 2, base_ejection_time = "50ms", max_ejection_time = "100ms" }
retries = { max_retries = 2, on = ["connect", "reset"], budget = "100%", min_per_second = "1000/s", backoff = "1ms", max_backoff = "2ms" }
"#;

fn working(names: &[&str], work: Nanos) -> Vec<Backend> {
    let one = |name: &&str| {
        let mut spec = Spec::new(name).service(Sampler::Constant(work));
        spec.server.concurrency = 256;
        spec.bytes = 200;
        Backend::start(spec).unwrap()
    };
    names.iter().map(one).collect()
}

fn nothing_lost(tally: &Tally) {
    assert!(tally.failed.is_empty() && tally.ok > 0, "{tally:?}");
}

/// Sends a request on its own thread.
fn later(address: SocketAddr, path: &'static str) -> std::thread::JoinHandle<std::io::Result<Answer>> {
    std::thread::spawn(move || try_request(address, "GET", path, &[]))
}

fn in_flight(front: &Front, name: &str) -> u64 {
    front.server("web", name)["in_flight"].as_u64().unwrap()
}

// ---- Nothing is lost ----

#[test]
fn servers_die_configs_change_and_no_request_fails() {
    let servers_ = working(&["a", "b", "c", "d"], Nanos::from_millis(1));
    let sound = |pool: &str, n: usize| config("shards = 2", pool, &servers(&servers_[..n]));
    let front = Front::start(&sound(RETRIES, 4));
    let load = Load::start(front.address(), 24, "/");
    load.passes(200);
    for server in &servers_ {
        server.kill();
        load.passes(150);
        server.heal();
        load.passes(50);
    }
    let other = RETRIES.replace("round_robin", "p2c");
    for n in 0..10 {
        let pool = if n % 3 == 2 { &other } else { RETRIES };
        front.reload(&sound(pool, 3 + n % 2)).unwrap();
        load.passes(40);
        if n == 4 {
            let refused = front.reload("shards = \"many\"").unwrap_err();
            assert!(refused.contains(":1:10:"), "{refused}");
            load.passes(40);
        }
    }
    for name in ["a", "b"] {
        assert_eq!(front.ask("POST", &format!("/servers/web/{name}/drain")).status, 200);
        eventually("a server to run dry", || in_flight(&front, name) == 0);
        let before = servers_.iter().find(|server| server.name() == name).unwrap().counters().requests;
        load.passes(60);
        let after = servers_.iter().find(|server| server.name() == name).unwrap().counters().requests;
        assert_eq!(before, after, "{name} drains and gets nothing");
        assert_eq!(front.ask("POST", &format!("/servers/web/{name}/ready")).status, 200);
        load.passes(60);
    }
    let tally = load.stop();
    nothing_lost(&tally);
    println!("{tally:?}");
}

#[test]
fn processes_are_killed_and_no_request_fails() {
    // Ports are reserved by sockets that do not listen: no other process gets them while a server is dead.
    let held: Vec<(socket2::Socket, SocketAddr)> = (0..3)
        .map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            let address = socket.local_addr().unwrap().as_socket().unwrap();
            (socket, address)
        })
        .collect();
    let start = |address: SocketAddr| {
        let listen = address.to_string();
        let service = "{ constant = { value = \"1ms\" } }";
        let mut process = Process::start(&[
            "test-server",
            "--listen",
            &listen,
            "--service",
            service,
            "--concurrency",
            "99",
            "--bytes",
            "100",
        ]);
        process.told(" serves ");
        process
    };
    let mut processes: Vec<Process> = held.iter().map(|(_, address)| start(*address)).collect();
    let table = |(i, (_, address)): (usize, &(socket2::Socket, SocketAddr))| {
        format!("[[pools.servers]]\nname = \"s{i}\"\naddress = \"{address}\"\n")
    };
    let listed: String = held.iter().enumerate().map(table).collect();
    let front = Front::start(&config("shards = 2", RETRIES, &listed));
    let load = Load::start(front.address(), 12, "/");
    load.passes(100);
    for (process, (_, address)) in processes.iter_mut().zip(&held) {
        process.signal("KILL");
        assert_eq!(process.ended(), None, "killed");
        load.passes(150);
        *process = start(*address);
        load.passes(50);
    }
    nothing_lost(&load.stop());
}

/// Failed lines of a JSON access log, by reason; and how many lines there are.
fn logged(text: &str) -> (BTreeMap<String, u64>, u64) {
    let (mut failed, mut all) = (BTreeMap::new(), 0);
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        all += 1;
        if line["reason"] != "ok" {
            assert_eq!(line["attempts"], 1, "{line}");
            *failed.entry(line["reason"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    (failed, all)
}

#[test]
fn without_retries_exactly_those_fail_that_a_dead_server_had_or_was_given() {
    let servers_ = working(&["a", "b", "c"], Nanos::from_millis(2));
    let folder = Folder::new();
    let log = folder.path().join("access.json");
    let top = format!("shards = 2\nlog = {{ access = \"json\", file = {:?} }}", log.to_str().unwrap());
    let pool = "strategy = \"round_robin\"\nhealth = { interval = \"30ms\", timeout = \"500ms\", rise = 1, fall = 1 }";
    let front = Front::start(&config(&top, pool, &servers(&servers_)));
    let load = Load::start(front.address(), 16, "/");
    load.passes(200);
    let before = load.failures();
    assert_eq!(before, 0);
    for server in &servers_[..2] {
        let is_eligible = |shards: u64| front.server("web", server.name())["eligible_in_shards"] == shards;
        eventually("a server to be used", || is_eligible(2));
        server.kill();
        eventually("a server to be taken out", || is_eligible(0));
        // What was under way is over now; from here on nothing fails.
        load.passes(64);
        let known = load.failures();
        assert!(known > 0, "no request failed before the recovery");
        load.passes(200);
        server.heal();
        eventually("a server to come back", || is_eligible(2));
        load.passes(100);
        assert_eq!(load.failures(), known);
    }
    let tally = load.stop();
    eventually("all to be counted", || metric(front.admin(), "evenkeel_client_connections_open") == 0.0);
    // Reasons that never came have no line there. An answer that was cut off is no answer of the proxy's own.
    let own = ["connect_failed", "upstream_reset"];
    let named = tally.failed.iter().filter(|(reason, _)| own.contains(&reason.as_str()));
    for (reason, &count) in named.clone() {
        let counted = metric(front.admin(), &format!("evenkeel_local_replies_total{{pool=\"web\",reason={reason:?}}}"));
        assert_eq!(counted, count as f64, "{reason}: {tally:?}");
    }
    let counted = metric(front.admin(), "evenkeel_local_replies_total{pool=\"web\"");
    assert_eq!(counted, named.map(|(_, &count)| count).sum::<u64>() as f64, "{tally:?}");
    drop(front.stop());
    let (reasons, all) = logged(&std::fs::read_to_string(&log).unwrap());
    let explained = ["connect_failed", "upstream_reset", "cut"];
    assert!(reasons.keys().all(|reason| explained.contains(&reason.as_str())), "{reasons:?}");
    assert_eq!(all, tally.ok + tally.failures());
    assert_eq!(reasons.values().sum::<u64>(), tally.failures(), "{reasons:?} {tally:?}");
    for reason in &explained[..2] {
        assert_eq!(reasons.get(*reason), tally.failed.get(*reason), "{reasons:?} {tally:?}");
    }
    println!("{reasons:?}, {tally:?}");
}

// ---- Reloads ----

#[test]
fn tunnels_and_streams_outlive_other_strategies_and_servers() {
    let servers_ = backends(&["a", "b"]);
    let front = Front::start(&config("shards = 1", "strategy = \"round_robin\"", &servers(&servers_[..1])));
    let mut tunnel = Tunnel::open(front.address(), "/");
    let mut stream = TcpStream::connect(front.address()).unwrap();
    stream.write_all(b"GET /?sse=60&every=10ms HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let slow = later(front.address(), "/?delay=700ms");
    eventually("all to be under way", || in_flight(&front, "a") == 3);
    for (strategy, servers_) in
        [("round_robin", &servers_[..]), ("p2c", &servers_[..]), ("least_request", &servers_[..1])]
    {
        front.reload(&config("shards = 1", &format!("strategy = {strategy:?}"), &servers(servers_))).unwrap();
        assert!(tunnel.echoes("still there"));
        assert!(in_flight(&front, "a") >= 2, "what is under way is known to the next strategy");
    }
    // Even when its server is no longer in the config.
    front.reload(&config("shards = 1", "strategy = \"random\"", &servers(&servers_[1..]))).unwrap();
    assert!(tunnel.echoes("and still"));
    assert_eq!(request(front.address(), "GET", "/", &[]).header("x-upstream"), Some("b"));
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("data:").count(), 60, "{text}");
    assert_eq!(slow.join().unwrap().unwrap().status, 200);
    drop(tunnel);
    eventually("nothing to be left", || in_flight(&front, "b") == 0);
}

#[test]
fn what_is_known_of_servers_is_carried_over_even_to_another_strategy_and_other_rules() {
    let servers_ = backends(&["a", "b", "c"]);
    let health = "health = { interval = \"20ms\", timeout = \"200ms\", rise = 1, fall = 1 }";
    let write = |strategy: &str, more: &str| {
        let pool = format!("strategy = {strategy:?}\n{health}\n{more}");
        config("shards = 1", &pool, &servers(&servers_))
    };
    let front = Front::start(&write("round_robin", ""));
    servers_[0].kill();
    eventually("a to be down", || front.server("web", "a")["up"] == false);
    assert_eq!(front.ask("POST", "/servers/web/b/drain").status, 200);
    for (strategy, more) in [
        ("round_robin", "outliers = { consecutive_failures = 3 }"),
        ("p2c", "outliers = { consecutive_failures = 3 }"),
        ("p2c", "slow_start = \"1s\"\nsticky = { cookie = \"c\" }"),
        ("consistent_hash", ""),
    ] {
        front.reload(&write(strategy, more)).unwrap();
        assert_eq!(front.server("web", "a")["up"], false, "{strategy} {more}");
        assert_eq!(front.server("web", "b")["draining"], true, "{strategy} {more}");
        for _ in 0..6 {
            assert_eq!(request(front.address(), "GET", "/", &[]).header("x-upstream"), Some("c"), "{strategy} {more}");
        }
    }
    servers_[0].heal();
    eventually("a to be up", || front.server("web", "a")["up"] == true);
    assert_eq!(front.ask("POST", "/servers/web/b/ready").status, 200);
    assert_eq!(front.server("web", "b")["eligible_in_shards"], 1);
}

#[test]
fn a_server_at_another_address_gets_no_more_on_its_old_connections() {
    let servers_ = [backend("old", 1.0), backend("new", 1.0)];
    let at = |server: &Backend| format!("[[pools.servers]]\nname = \"one\"\naddress = \"{}\"\n", server.address());
    let front = Front::start(&config("shards = 1", "strategy = \"random\"", &at(&servers_[0])));
    let slow = later(front.address(), "/?delay=200ms");
    eventually("it to be under way", || in_flight(&front, "one") == 1);
    front.reload(&config("shards = 1", "strategy = \"random\"", &at(&servers_[1]))).unwrap();
    assert_eq!(slow.join().unwrap().unwrap().header("x-server"), Some("old"));
    for _ in 0..3 {
        assert_eq!(request(front.address(), "GET", "/", &[]).header("x-server"), Some("new"));
    }
}

#[test]
fn listeners_come_and_go_and_a_file_that_changes_is_read() {
    let servers_ = backends(&["a", "b"]);
    let folder = Folder::new();
    let one =
        |n: usize, listener: &str| config("shards = 2", "strategy = \"random\"", &servers(&servers_[n..=n])) + listener;
    let file = folder.file("proxy.toml", &one(0, ""));
    let mut proxy = Process::start(&["proxy", "--config", file.to_str().unwrap()]);
    let address: SocketAddr = proxy.told("listening at ").parse().unwrap();
    let admin: SocketAddr = proxy.told("admin at ").parse().unwrap();
    let from = |address| request(address, "GET", "/", &[]).header("x-server").map(str::to_owned);
    assert_eq!(from(address).as_deref(), Some("a"));
    let load = Load::start(address, 4, "/");
    // The change is detected by the file's content, without a signal.
    std::fs::write(&file, one(1, "")).unwrap();
    eventually("the file to be read", || from(address).as_deref() == Some("b"));
    // What is broken is refused, and the old one stays.
    std::fs::write(&file, "listeners = 1").unwrap();
    proxy.signal("HUP");
    eventually("the refusal to be logged", || proxy.said().contains("not reloaded"));
    assert_eq!(from(address).as_deref(), Some("b"));
    // A second listener before the first; its port is one that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(&file, one(0, &format!("[[listeners]]\naddress = \"{free}\"\nhttp2 = false\n"))).unwrap();
    proxy.signal("HUP");
    eventually("the second listener", || TcpStream::connect(free).is_ok());
    eventually("the first server", || from(free).as_deref() == Some("a"));
    std::fs::write(&file, one(0, "")).unwrap();
    assert_eq!(request(admin, "POST", "/reload", &[]).status, 200);
    eventually("the second listener to close", || TcpStream::connect(free).is_err());
    nothing_lost(&load.stop());
    // Each change was read once, even if it was both signalled and detected.
    let reloads = proxy.said().matches("the config was reloaded").count();
    assert!(reloads == 3, "{reloads}: {}", proxy.said());
    assert_eq!(metric(admin, "evenkeel_config_reload_failures_total"), 1.0);
    assert_eq!(metric(admin, "evenkeel_config_last_reload_successful"), 1.0);
    proxy.signal("INT");
    assert_eq!(proxy.ended(), Some(0));
}

// ---- The end ----

#[test]
fn a_drain_serves_for_its_delay_and_then_finishes_open_requests() {
    let servers_ = backends(&["a"]);
    let folder = Folder::new();
    let log = folder.path().join("access.log");
    let top = format!(
        "shards = 2\ntimeouts = {{ drain_delay = \"300ms\", drain = \"700ms\" }}\n\
         log = {{ access = \"combined\", file = {:?} }}",
        log.to_str().unwrap()
    );
    let file = folder.file("proxy.toml", &config(&top, "strategy = \"random\"", &servers(&servers_)));
    let mut proxy = Process::start(&["proxy", "--config", file.to_str().unwrap(), "--no-watch"]);
    let address: SocketAddr = proxy.told("listening at ").parse().unwrap();
    let admin: SocketAddr = proxy.told("admin at ").parse().unwrap();
    // The log is moved away and reopened.
    assert_eq!(request(address, "GET", "/first", &[]).status, 200);
    eventually("a line", || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("/first")));
    std::fs::rename(&log, folder.path().join("old.log")).unwrap();
    proxy.signal("USR1");
    eventually("a new file", || {
        assert_eq!(request(address, "GET", "/second", &[]).status, 200);
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("/second"))
    });

    assert_eq!(request(admin, "GET", "/readyz", &[]).status, 200);
    let mut idle = TcpStream::connect(address).unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let mut tunnel = Tunnel::open(address, "/");
    let slow = later(address, "/slow?delay=800ms");
    eventually("it to be under way", || server(admin, "web", "a")["in_flight"] == 2);
    let told = Instant::now();
    proxy.signal("TERM");
    eventually("it to be unready", || request(admin, "GET", "/readyz", &[]).status == 503);
    assert_eq!(request(admin, "GET", "/livez", &[]).status, 200);
    assert_eq!(request(admin, "POST", "/reload", &[]).status, 422, "too late for that");
    let late = request(address, "GET", "/late", &[]);
    assert_eq!((late.status, late.header("connection")), (200, Some("close")));
    eventually("nothing new to be taken", || TcpStream::connect(address).is_err());
    assert!(told.elapsed() >= Duration::from_millis(300), "the delay is kept");
    assert!(tunnel.echoes("still there"), "until the bound");
    assert_eq!(slow.join().unwrap().unwrap().status, 200);
    let mut text = Vec::new();
    idle.read_to_end(&mut text).unwrap();
    assert!(text.starts_with(b"HTTP/1.1 200"), "answered, and closed when idle");
    assert!(tunnel.is_cut());
    assert_eq!(proxy.ended(), Some(0));
    let took = told.elapsed();
    assert!((Duration::from_millis(1000)..Duration::from_millis(2500)).contains(&took), "{took:?}");
    assert!(proxy.said().contains("cut off"), "{}", proxy.said());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("/slow") && log.contains("/late"), "{log}");
}

#[test]
fn an_interrupt_skips_the_delay_and_a_second_signal_stops_at_once() {
    let servers_ = backends(&["a"]);
    let folder = Folder::new();
    let top = "shards = 1\ntimeouts = { drain_delay = \"60s\", drain = \"60s\" }";
    let file = folder.file("proxy.toml", &config(top, "strategy = \"random\"", &servers(&servers_)));
    let start = || {
        let mut proxy = Process::start(&["proxy", "--config", file.to_str().unwrap()]);
        let address: SocketAddr = proxy.told("listening at ").parse().unwrap();
        (proxy, address)
    };
    let (mut proxy, address) = start();
    let slow = later(address, "/?delay=300ms");
    eventually("it to be under way", || servers_[0].counters().requests == 1);
    let told = Instant::now();
    proxy.signal("INT");
    assert_eq!((slow.join().unwrap().unwrap().status, proxy.ended()), (200, Some(0)));
    assert!(told.elapsed() < Duration::from_secs(5));
    let (mut proxy, address) = start();
    let mut tunnel = Tunnel::open(address, "/");
    proxy.signal("TERM");
    eventually("it to say so", || proxy.said().contains("draining"));
    assert!(proxy.is_running() && tunnel.echoes("x"));
    proxy.signal("TERM");
    assert_eq!(proxy.ended(), Some(0));
    assert!(tunnel.is_cut());
}

#[test]
fn http2_connections_are_told_to_go_and_their_streams_end() {
    let servers_ = backends(&["a"]);
    let front = Front::start(&config("shards = 1", "strategy = \"random\"", &servers(&servers_)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(front.address()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(connection);
        let get = |path: &str| Request::get(format!("http://t{path}")).body(Empty::<Bytes>::new()).unwrap();
        let answer = sender.send_request(get("/")).await.unwrap();
        assert_eq!(answer.status(), 200);
        let slow = sender.send_request(get("/?delay=200ms&bytes=1000"));
        let slow = tokio::spawn(slow);
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        while servers_[0].counters().requests < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let drained = front.begin_drain(Duration::ZERO);
        let answer = slow.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 1000);
        connection.await.unwrap().expect("closed in good order");
        assert_eq!(tokio::task::spawn_blocking(move || drained.recv()).await.unwrap(), Ok(0), "nothing was cut off");
        assert!(sender.send_request(get("/")).await.is_err());
    });
}

// ---- The admin listener ----

#[test]
fn the_admin_listener_answers_what_it_should_and_nothing_else() {
    let servers_ = backends(&["a", "b"]);
    let text = config("shards = 2", "strategy = \"p2c\"", &servers(&servers_))
        .replace("[admin]\n", "[admin]\ntoken = \"open-sesame\"\n");
    let front = Front::start(&text);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| request(front.admin(), method, path, headers);
    let token = ("Authorization", "Bearer open-sesame");
    for (path, body) in [("/livez", "alive\n"), ("/readyz", "ready\n")] {
        assert_eq!((ask("GET", path, &[]).status, ask("GET", path, &[]).body.as_str()), (200, body));
    }
    for path in ["/livez", "/readyz", "/metrics", "/servers", "/config", "/version"] {
        let (get, head) = (ask("GET", path, &[]), ask("HEAD", path, &[]));
        assert_eq!((get.status, head.status, head.body.as_str()), (200, 200, ""), "{path}");
        assert_eq!(get.header("content-type"), head.header("content-type"), "{path}");
        for method in ["POST", "DELETE"] {
            let refused = ask(method, path, &[token]);
            assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method} {path}");
        }
    }
    for path in ["/", "/servers/", "/servers/web", "/servers/web/a", "/livez/", "/..", "//livez"] {
        assert_eq!(ask("GET", path, &[]).status, 404, "{path}");
    }
    assert_eq!(ask("GET", "/servers/web/a/drain", &[]).header("allow"), Some("POST"));
    assert_eq!(ask("GET", "/reload", &[]).status, 405);
    // Changes: with the token, and from no page in a browser.
    let drain = "/servers/web/a/drain";
    for (headers, status) in [
        (&[][..], 401),
        (&[("Authorization", "Bearer open-sesam")][..], 401),
        (&[("Authorization", "Bearer open-sesamE")][..], 401),
        (&[("Authorization", "open-sesame")][..], 401),
        (&[token, ("Origin", "http://127.0.0.1:9901")][..], 403),
        (&[token, ("Origin", "null")][..], 403),
    ] {
        assert_eq!(ask("POST", drain, headers).status, status, "{headers:?}");
        assert_eq!(front.server("web", "a")["draining"], false, "{headers:?}");
    }
    assert_eq!(ask("POST", drain, &[token]).status, 200);
    assert_eq!(front.server("web", "a")["draining"], true);
    for (path, status) in [
        ("/servers/web/z/drain", 404),
        ("/servers/z/a/drain", 404),
        ("/servers/web/a/paint", 404),
        ("/servers/web/a/weight", 400),
        ("/servers/web/a/weight?to=", 400),
        ("/servers/web/a/weight?to=-1", 400),
        ("/servers/web/a/weight?to=65536", 400),
        ("/servers/web/a/weight?to=1e3", 400),
        ("/servers/web/a/weight?to=65535", 200),
        ("/servers/web/a/weight?to=0", 200),
        ("/servers/web/a/weight?to=3", 200),
        ("/servers/web/a/ready", 200),
        ("/reload/now", 404),
        ("/reload", 200),
    ] {
        assert_eq!(ask("POST", path, &[token]).status, status, "{path}");
    }
    assert_eq!(front.server("web", "a")["weight"], 1, "as the config has it, after a reload");
    assert_eq!(ask("POST", "/servers/web/b/weight?to=0", &[token]).status, 200);
    for _ in 0..8 {
        assert_eq!(request(front.address(), "GET", "/", &[]).header("x-upstream"), Some("a"));
    }
    let shown = ask("GET", "/config", &[]).body;
    assert!(!shown.contains("sesame") && shown.contains("[[pools.servers]]"), "{shown}");
    let version: serde_json::Value = serde_json::from_str(&ask("GET", "/version", &[]).body).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn servers_are_counted_right_under_load() {
    let servers_ = backends(&["a", "b"]);
    let front = Front::start(&config("shards = 2", "strategy = \"least_request\"", &servers(&servers_)));
    let slow: Vec<_> = (0..10).map(|_| later(front.address(), "/?delay=400ms")).collect();
    let total =
        |what: &str| -> u64 { ["a", "b"].iter().map(|name| front.server("web", name)[what].as_u64().unwrap()).sum() };
    eventually("ten to be under way", || total("in_flight") == 10);
    assert_eq!(total("connections"), 10);
    assert_eq!(servers_.iter().map(|server| server.counters().in_flight).sum::<u32>(), 0, "the delay comes after work");
    assert_eq!(front.server("web", "a")["scores"].as_array().unwrap().len(), 2, "of two shards");
    for answer in slow {
        assert_eq!(answer.join().unwrap().unwrap().status, 200);
    }
    eventually("none to be under way", || total("in_flight") == 0);
    assert_eq!(total("connections"), 10, "they are kept");
}

// ---- Limits and what stands around a pick ----

#[test]
fn the_connection_limit_counts_tunnels() {
    let servers_ = backends(&["a"]);
    let front =
        Front::start(&config("shards = 2\nlimits = { connections = 2 }", "strategy = \"random\"", &servers(&servers_)));
    let mut tunnel = Tunnel::open(front.address(), "/");
    let mut other = TcpStream::connect(front.address()).unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let mut start = [0; 12];
    other.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    for _ in 0..3 {
        assert!(try_request(front.address(), "GET", "/", &[]).is_err(), "closed without an answer");
    }
    assert!(tunnel.echoes("unharmed"));
    assert_eq!(metric(front.admin(), "evenkeel_client_connections_refused_total"), 3.0);
    assert_eq!(metric(front.admin(), "evenkeel_client_connections_open"), 2.0);
    drop(tunnel);
    eventually("room again", || try_request(front.address(), "GET", "/", &[]).is_ok());
}

#[test]
fn requests_wait_for_a_full_server_up_to_a_number_and_a_time() {
    let server_ = backend("a", 1.0);
    let write = |timeout: &str| {
        let pool = format!("strategy = \"random\"\nqueue = {{ limit = 2, timeout = {timeout:?} }}");
        config("shards = 1", &pool, &(servers([&server_]) + "max_in_flight = 1\n"))
    };
    let front = Front::start(&write("10s"));
    let result = |answer: Answer| (answer.status, answer.header("x-evenkeel-reason").unwrap_or("").to_owned());
    let first = later(front.address(), "/?delay=400ms");
    eventually("the first", || in_flight(&front, "a") == 1);
    // Two wait, and the third finds no place.
    let waiting = || metric(front.admin(), "evenkeel_queue_depth{pool=\"web\"}");
    let more: Vec<_> = (0..2).map(|_| later(front.address(), "/?delay=10ms")).collect();
    eventually("two to wait", || waiting() == 2.0);
    assert_eq!(result(request(front.address(), "GET", "/", &[])), (503, "queue_full".to_owned()));
    for answer in more {
        assert_eq!(answer.join().unwrap().unwrap().status, 200);
    }
    assert_eq!(first.join().unwrap().unwrap().status, 200);
    assert_eq!(server_.counters().most_in_flight, 1);
    // A client that goes away frees its place in the queue.
    let first = later(front.address(), "/?delay=900ms");
    eventually("the first", || in_flight(&front, "a") == 1);
    let gone = [(); 2].map(|()| {
        let mut gone = TcpStream::connect(front.address()).unwrap();
        gone.write_all(b"GET /gone HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        gone
    });
    eventually("two to wait", || waiting() == 2.0);
    drop(gone);
    eventually("an empty queue", || waiting() == 0.0);
    assert_eq!(in_flight(&front, "a"), 1, "and not because the first is over");
    assert_eq!(first.join().unwrap().unwrap().status, 200);
    // A request that waits for too long gets the reason.
    front.reload(&write("100ms")).unwrap();
    let first = later(front.address(), "/?delay=500ms");
    eventually("the first", || in_flight(&front, "a") == 1);
    assert_eq!(result(request(front.address(), "GET", "/", &[])), (503, "queue_timeout".to_owned()));
    assert_eq!(first.join().unwrap().unwrap().status, 200);
    eventually("none to be left", || in_flight(&front, "a") == 0);
}

/// Sends this number of requests one after another; returns how many each server answered.
fn shares(address: SocketAddr, requests: usize) -> BTreeMap<String, usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = Client::new(address);
        let mut shares = BTreeMap::new();
        for _ in 0..requests {
            let (_, headers, _) = client.get("/", &[]).await.unwrap();
            let server = headers.get("x-upstream").map_or("", |name| name.to_str().unwrap());
            *shares.entry(server.to_owned()).or_default() += 1;
        }
        shares
    })
}

#[test]
fn a_server_that_comes_back_gets_its_share_little_by_little() {
    let servers_ = backends(&["a", "b"]);
    let pool = "strategy = \"round_robin\"\nslow_start = { window = \"1s\", aggression = 1.0, min_share = \"10%\" }";
    let front = Front::start(&config("shards = 1", pool, &servers(&servers_)));
    assert_eq!(shares(front.address(), 100)["b"], 50, "warm from the beginning");
    front.ask("POST", "/servers/web/b/drain");
    assert_eq!(shares(front.address(), 20)["a"], 20);
    let since = Instant::now();
    front.ask("POST", "/servers/web/b/ready");
    let cold = shares(front.address(), 100).get("b").copied().unwrap_or(0);
    let warmth = front.server("web", "b")["warmth"].as_f64().unwrap();
    // On a machine that is too slow the shares cannot be judged.
    if since.elapsed() < Duration::from_millis(300) {
        assert!(cold < 35 && warmth < 0.5, "{cold} {warmth}");
    }
    eventually("b to be warm", || front.server("web", "b")["warmth"] == 1.0);
    assert_eq!(shares(front.address(), 100)["b"], 50);
}

#[test]
fn a_failing_server_is_ejected_and_returns() {
    let servers_ = backends(&["a", "b"]);
    let pool = "strategy = \"round_robin\"\noutliers = { consecutive_failures = 3, base_ejection_time = \"300ms\" }";
    let front = Front::start(&config("shards = 1", pool, &servers(&servers_)));
    servers_[1].inject_fault(Errors { share: Ratio(1.0), latency: Nanos::ZERO, fails_checks: false }, None);
    let statuses: Vec<u16> = (0..12).map(|_| request(front.address(), "GET", "/", &[]).status).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 500).count(), 3, "three and no more: {statuses:?}");
    assert_eq!(front.server("web", "b")["ejected"], true);
    servers_[1].heal();
    eventually("b to return", || front.server("web", "b")["ejected"] == false);
    assert_eq!(shares(front.address(), 10)["b"], 5);
}

#[test]
fn panic_mode_ignores_health() {
    let servers_ = backends(&["a", "b", "c"]);
    let pool = "strategy = \"round_robin\"\npanic = \"50%\"\n\
                health = { tcp = true, interval = \"20ms\", timeout = \"200ms\", rise = 1, fall = 2 }\n\
                retries = { max_retries = 2, on = [\"connect\"], budget = \"100%\", min_per_second = \"100/s\", backoff = \"0ns\", max_backoff = \"0ns\" }";
    let front = Front::start(&config("shards = 1", pool, &servers(&servers_)));
    servers_[0].kill();
    eventually("a to be down", || front.server("web", "a")["up"] == false);
    let a = front.server("web", "a");
    assert_eq!((&a["panic"], &a["eligible_in_shards"]), (&false.into(), &0.into()));
    servers_[1].kill();
    eventually("panic", || front.server("web", "a")["panic"] == true);
    let a = front.server("web", "a");
    assert_eq!((&a["up"], &a["eligible_in_shards"]), (&false.into(), &1.into()), "it is tried");
    assert_eq!(shares(front.address(), 12)["c"], 12, "and retries find the one that lives");
    servers_[0].heal();
    eventually("no more panic", || front.server("web", "a")["panic"] == false);
    assert_eq!(front.server("web", "b")["eligible_in_shards"], 0);
}

#[test]
fn checks_take_a_server_out_after_so_many_and_back_after_so_many() {
    let servers_ = backends(&["a", "b"]);
    let pool = "strategy = \"round_robin\"\n\
                health = { path = \"/health\", status = \"200\", interval = \"20ms\", jitter = \"0%\", timeout = \"1s\", rise = 3, fall = 2 }";
    let front = Front::start(&config("shards = 1", pool, &servers(&servers_)));
    eventually("checks", || servers_[1].counters().checks > 2);
    assert_eq!(servers_[1].counters().requests, 0, "checks are no requests");
    let sick = Errors { share: Ratio(1.0), latency: Nanos::ZERO, fails_checks: true };
    let count = |up: bool| {
        let before = servers_[1].counters().checks;
        eventually("a verdict", || front.server("web", "b")["up"] == up);
        servers_[1].counters().checks - before
    };
    servers_[1].inject_fault(sick, None);
    let fell = count(false);
    assert_eq!(shares(front.address(), 6)["a"], 6);
    servers_[1].heal();
    let rose = count(true);
    assert!((1..60).contains(&fell) && (2..60).contains(&rose), "{fell} {rose}");
    assert_eq!(shares(front.address(), 6)["b"], 3);
    // It listens but never answers: the check's own time-out.
    let quick = pool.replace("timeout = \"1s\"", "timeout = \"10ms\"");
    front.reload(&config("shards = 1", &quick, &servers(&servers_))).unwrap();
    servers_[1].inject_fault(Crash { silent: true }, None);
    eventually("b to be down", || front.server("web", "b")["up"] == false);
}

#[test]
fn a_draining_server_keeps_its_sessions() {
    let servers_ = backends(&["a", "b"]);
    let pool = "strategy = \"round_robin\"\nsticky = { cookie = \"stay\", secret = \"s\" }";
    let front = Front::start(&config("shards = 1", pool, &servers(&servers_)));
    let first = request(front.address(), "GET", "/", &[]);
    let home = first.header("x-upstream").unwrap().to_owned();
    let cookie = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let with = |cookie: &str| {
        let answer = request(front.address(), "GET", "/", &[("Cookie", cookie)]);
        (answer.header("x-upstream").unwrap().to_owned(), answer.header("set-cookie").map(str::to_owned))
    };
    for _ in 0..4 {
        assert_eq!(with(&cookie), (home.clone(), None), "no new cookie for who has one");
    }
    front.ask("POST", &format!("/servers/web/{home}/drain"));
    assert_eq!(with(&cookie), (home.clone(), None));
    for _ in 0..4 {
        assert_ne!(request(front.address(), "GET", "/", &[]).header("x-upstream"), Some(home.as_str()));
    }
    let dead = servers_.iter().find(|server| server.name() == home).unwrap();
    let checked = format!("{pool}\nhealth = {{ tcp = true, interval = \"20ms\", rise = 1, fall = 1 }}");
    front.reload(&config("shards = 1", &checked, &servers(&servers_))).unwrap();
    assert_eq!(with(&cookie), (home.clone(), None), "over a reload");
    dead.kill();
    eventually("it to be found dead", || front.server("web", &home)["up"] == false);
    let (server, set) = with(&cookie);
    assert!(server != home && set.is_some(), "elsewhere, with a new cookie");
}
