//! Mixed load on a proxy process: afterwards it must hold no more resources than after warming up.
//!
//! `EVENKEEL_SOAK=600 cargo test --test it soak -- --nocapture` runs it for ten minutes; without the variable it takes a few
//! seconds. It prints what it measured.
//!
//! Bands. After the load has gone the proxy must hold what it held after warming up: descriptors as many but for the
//! connections to servers that a pool may keep (at most 16 each, by its config) and a few of the moment; client
//! connections, requests and tunnels none; memory within 8 MiB and a tenth, which is the allocator's own coming and going
//! (measured: see the last line that it prints), while a leak of 1 KiB per request would show as more than ten times that
//! in ten minutes.

#![allow(clippy::disallowed_methods, reason = "what talks to real sockets reads the clock")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel::testbed::Backend;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::front::{Client, Load, Process, Tunnel, backends, config, eventually, metric, request, server, servers};
use crate::support::Folder;

const POOL: &str = r#"
strategy = "p2c"
outliers = { consecutive_failures = 2, base_ejection_time = "50ms", max_ejection_time = "100ms" }
retries = { max_retries = 3, on = ["connect", "reset"], budget = "100%", min_per_second = "1000/s", backoff = "1ms", max_backoff = "2ms" }
health = { interval = "200ms", timeout = "1s", rise = 1, fall = 2 }
"#;

const TOP: &str = "shards = 2\nlimits = { idle_connections = 16 }\ntimeouts = { drain_delay = \"0s\", drain = \"5s\" }";

/// The resources of a process.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Resident, KiB.
    memory: u64,
    descriptors: usize,
    threads: u64,
}

fn held(process: u32) -> Held {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    };
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    Held { memory: number("VmRSS"), descriptors, threads: number("Threads") }
}

/// Does something over and over on a thread of its own; counts how often.
struct Worker(JoinHandle<()>, Arc<AtomicU64>);

fn over_and_over(stop: &Arc<AtomicBool>, mut work: impl FnMut(u64) + Send + 'static) -> Worker {
    let (stop, count) = (stop.clone(), Arc::new(AtomicU64::new(0)));
    let counted = count.clone();
    let run = move || {
        while !stop.load(Relaxed) {
            work(counted.fetch_add(1, Relaxed));
        }
    };
    Worker(std::thread::spawn(run), count)
}

impl Worker {
    fn join(self) -> u64 {
        self.0.join().unwrap();
        self.1.load(Relaxed)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Reads an answer in small pieces.
fn sip(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /steady/sip?bytes=200000 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").unwrap();
    let (mut sum, mut sips) = (0, 0);
    let mut buffer = [0; 8192];
    loop {
        match stream.read(&mut buffer).expect("a slow client gets all of it") {
            0 => break,
            n => sum += n,
        }
        sips += 1;
        if sips % 5 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(sum > 200_000, "{sum}");
}

/// Goes away: before the head is complete, before the answer, in the answer, in the body of the request.
fn abort(address: SocketAddr, n: u64) {
    let mut stream = TcpStream::connect(address).unwrap();
    let text: &[u8] = match n % 4 {
        0 => b"GET /aborted HTT",
        1 => b"GET /aborted?delay=50ms HTTP/1.1\r\nHost: t\r\n\r\n",
        2 => b"GET /aborted?bytes=3000000 HTTP/1.1\r\nHost: t\r\n\r\n",
        _ => b"POST /aborted HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\nbegun",
    };
    stream.write_all(text).unwrap();
    if n % 4 == 2 {
        let _ = stream.read(&mut [0; 4096]);
    }
    std::thread::sleep(Duration::from_millis(2));
}

/// Clients of every kind, until they are stopped.
struct Crowd {
    stop: Arc<AtomicBool>,
    plain: Load,
    workers: Vec<(&'static str, Worker)>,
}

impl Crowd {
    fn start(address: SocketAddr) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let plain = Load::start(address, 12, "/?bytes=500");
        let uploads = runtime();
        let http2 = runtime();
        let workers = vec![
            ("slow clients", over_and_over(&stop, move |_| sip(address))),
            ("aborts", over_and_over(&stop, move |n| abort(address, n))),
            (
                "uploads",
                over_and_over(&stop, move |n| {
                    uploads.block_on(async {
                        let mut client = Client::new(address);
                        let body = Bytes::from(vec![b'.'; 1000 * (1 + n as usize % 300)]);
                        let length = body.len();
                        let put = Request::put("/steady/up").header("host", "t").header("x-echo", "1");
                        let (status, _, text) = client.send(put.body(Full::new(body)).unwrap()).await.unwrap();
                        let text = String::from_utf8_lossy(&text).into_owned();
                        assert!(status == 200 && text.contains(&format!("\"length\":{length}")), "{status} {text}");
                    });
                }),
            ),
            (
                "tunnels",
                over_and_over(&stop, move |_| {
                    let mut tunnel = Tunnel::open(address, "/steady/tunnel");
                    for _ in 0..20 {
                        assert!(tunnel.echoes("a few bytes there and back"));
                    }
                }),
            ),
            (
                "HTTP/2 connections",
                over_and_over(&stop, move |_| {
                    http2.block_on(async {
                        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
                        let (sender, connection) =
                            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                                .await
                                .unwrap();
                        tokio::spawn(connection);
                        let mut streams = Vec::new();
                        for _ in 0..10 {
                            let mut sender = sender.clone();
                            streams.push(tokio::spawn(async move {
                                let get = Request::get("http://t/?bytes=700").body(Full::<Bytes>::default()).unwrap();
                                let answer = sender.send_request(get).await.unwrap();
                                assert_eq!(answer.status(), 200);
                                assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 700);
                            }));
                        }
                        for stream in streams {
                            stream.await.unwrap();
                        }
                    });
                }),
            ),
        ];
        Crowd { stop, plain, workers }
    }

    fn leave(self) -> Vec<(&'static str, u64)> {
        self.stop.store(true, Relaxed);
        let mut counts: Vec<_> = self.workers.into_iter().map(|(what, worker)| (what, worker.join())).collect();
        let tally = self.plain.stop();
        assert!(tally.failed.is_empty(), "lost: {tally:?}");
        counts.push(("plain requests", tally.ok));
        counts
    }
}

#[test]
fn under_mixed_load_for_a_while_nothing_is_lost_and_nothing_grows() {
    let seconds = std::env::var("EVENKEEL_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(8.0_f64);
    // Answers of several pieces cannot be sent again once begun, so no server dies while it sends them: the two that are
    // killed answer at once, and what is long goes to the third and fourth.
    let mortal = backends(&["a", "b"]);
    let steady = backends(&["c", "d"]);
    let written = |n: u64| {
        let strategy = if n.is_multiple_of(2) { "p2c" } else { "least_request" };
        let all: Vec<&Backend> = mortal.iter().chain(&steady[..1 + n as usize % 2]).collect();
        let plain = POOL.replace("p2c", strategy);
        let rest = format!(
            "[[pools]]\nname = \"steady\"\nstrategy = \"round_robin\"\n{}[[routes]]\nprefix = \"/\"\npool = \"web\"\n\
             [[routes]]\nprefix = \"/steady\"\npool = \"steady\"\n",
            servers(&steady)
        );
        config(TOP, &plain, &servers(all)) + &rest
    };
    let folder = Folder::new();
    let file = folder.file("proxy.toml", &written(0));
    let mut proxy =
        Process::start(&["proxy", "--config", file.to_str().unwrap(), "--no-watch", "--log-level", "error"]);
    let address: SocketAddr = proxy.told("listening at ").parse().unwrap();
    let admin: SocketAddr = proxy.told("admin at ").parse().unwrap();
    let quiet = || {
        eventually("nothing to be under way", || {
            let names = [("web", "a"), ("web", "b"), ("web", "c"), ("steady", "c"), ("steady", "d")];
            names.iter().all(|(pool, name)| server(admin, pool, name)["in_flight"] == 0)
        });
        eventually("no client to be left", || metric(admin, "evenkeel_client_connections_open") == 0.0);
        // A moment for connections that clients have closed.
        let mut last = held(proxy.id());
        eventually("descriptors to settle", || {
            std::thread::sleep(Duration::from_millis(100));
            let now = held(proxy.id());
            std::mem::replace(&mut last, now).descriptors == now.descriptors
        });
        last
    };
    let reload = |n: u64| {
        std::fs::write(&file, written(n)).unwrap();
        assert_eq!(request(admin, "POST", "/reload", &[]).status, 200);
    };
    let rounds = |until: Instant| {
        let mut n = 0;
        while Instant::now() < until || n < 2 {
            n += 1;
            let victim = &mortal[n as usize % 2];
            victim.kill();
            std::thread::sleep(Duration::from_millis(150));
            victim.heal();
            reload(n);
            std::thread::sleep(Duration::from_millis(150));
        }
        reload(0);
        n
    };
    // Everything that happens later happens once: caches fill, arenas grow.
    let began = Instant::now();
    let crowd = Crowd::start(address);
    rounds(began + Duration::from_secs_f64(seconds * 0.3));
    crowd.leave();
    // Shards count their tasks once a second.
    let tasks = || {
        std::thread::sleep(Duration::from_millis(2100));
        metric(admin, "evenkeel_tasks")
    };
    let (warm, warm_tasks) = (quiet(), tasks());

    let crowd = Crowd::start(address);
    let turns = rounds(began + Duration::from_secs_f64(seconds));
    let busy = held(proxy.id());
    let counts = crowd.leave();
    let (after, after_tasks) = (quiet(), tasks());
    println!(
        "{counts:?}, {turns} servers killed and configs read\n  warm {warm:?}, {warm_tasks} tasks\n  busy {busy:?}\n  \
         after {after:?}, {after_tasks} tasks"
    );

    assert!(counts.iter().all(|(_, count)| *count > 0), "{counts:?}");
    // Five servers' idle connections in each of two shards come and go.
    assert!(after.descriptors <= warm.descriptors.max(5 * 2 * 16) + 10, "descriptors: {warm:?} {after:?}");
    assert_eq!(warm.threads, after.threads);
    // One for each of those connections, a few for each shard.
    assert!(warm_tasks >= 4.0, "{warm_tasks}");
    assert!(after_tasks <= warm_tasks.max(5.0 * 2.0 * 16.0) + 10.0, "tasks: {warm_tasks} {after_tasks}");
    let band = 8 * 1024 + warm.memory / 10;
    assert!(after.memory <= warm.memory + band, "memory: {warm:?} {after:?}");
    // No request, tunnel, connection or task is left that would have to be cut off: it ends by itself, well before its bound.
    let told = Instant::now();
    proxy.signal("TERM");
    assert_eq!(proxy.ended(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(4) && !proxy.said().contains("cut off"), "{}", proxy.said());
    println!("  ended {:?} after it was told", told.elapsed());
}
