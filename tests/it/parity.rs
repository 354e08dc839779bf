//! Recordings made over real sockets are replayed without them: every call gives the same pick, for every strategy.

#![allow(clippy::disallowed_methods, reason = "what talks to real sockets reads the clock")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use evenkeel::config::fault::Errors;
use evenkeel::policy::recording::{HostEvent, RecordingHeader};
use evenkeel::proxy::Options;
use evenkeel::select::catalog::{CATALOGUE, StrategyConfig};
use evenkeel::sim::replay::{Difference, Replay};
use evenkeel::testbed::Backend;
use evenkeel::units::{Nanos, Ratio};

use crate::front::{self, Client, Front, eventually};
use crate::support::{Folder, evenkeel, text};

/// Every strategy that a proxy can use.
fn strategies() -> Vec<&'static str> {
    CATALOGUE.iter().filter(|row| !row.doc.oracle()).map(|row| row.name).collect()
}

/// A pool for each strategy, all in front of the same servers; pool `n` by strategy `n + turn`.
fn config(backends: &[&Backend], turn: usize, rules: &str) -> String {
    let names = strategies();
    let mut text = "shards = 2\nkey = { header = \"x-key\" }\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
                    [admin]\naddress = \"127.0.0.1:0\"\n"
        .to_owned();
    for (i, name) in names.iter().enumerate() {
        let strategy = names[(i + turn) % names.len()];
        write!(text, "[[routes]]\nprefix = \"/{name}\"\npool = {name:?}\n").unwrap();
        write!(text, "[[pools]]\nname = {name:?}\nstrategy = {strategy:?}\n{rules}\n").unwrap();
        for (n, backend) in backends.iter().enumerate() {
            let (name, address) = (backend.name(), backend.address());
            let most = if n == 0 { 2 } else { 20 };
            write!(
                text,
                "[[pools.servers]]\nname = {name:?}\naddress = \"{address}\"\nweight = {}\n\
                 max_in_flight = {most}\n",
                n + 1
            )
            .unwrap();
        }
    }
    text
}

const RULES: &str = r#"
panic = "30%"
slow_start = { window = "200ms", aggression = 1.0, min_share = "10%" }
health = { path = "/health", interval = "40ms", timeout = "500ms", rise = 1, fall = 1 }
outliers = { consecutive_failures = 3, interval = "100ms", base_ejection_time = "50ms", max_ejection_time = "100ms", max_ejected = "50%" }
retries = { max_retries = 2, on = ["connect", "reset", "error"], budget = "100%", backoff = "1ms", max_backoff = "2ms" }
queue = { limit = 1000, timeout = "5s" }
sticky = { cookie = "stay" }
"#;

/// Replays a recording: returns each selector with its picks, or the first difference.
fn play(recording: &str) -> Vec<(RecordingHeader<StrategyConfig>, Result<u64, Difference>)> {
    let mut desks: BTreeMap<u32, (RecordingHeader<StrategyConfig>, Replay, Option<Difference>)> = BTreeMap::new();
    for line in recording.lines() {
        let (desk, value): (u32, serde_json::Value) = serde_json::from_str(line).unwrap();
        if let Some(opening) = value.get("opening") {
            let opening: RecordingHeader<StrategyConfig> = serde_json::from_value(opening.clone()).unwrap();
            let replay = Replay::new(&opening).unwrap();
            desks.insert(desk, (opening, replay, None));
            continue;
        }
        // From the text, in which numbers are exact.
        let (_, call): (u32, HostEvent) = serde_json::from_str(line).unwrap();
        let (_, replay, difference) = desks.get_mut(&desk).unwrap();
        if difference.is_none() {
            *difference = replay.play(&call).err();
        }
    }
    desks.into_values().map(|(opening, replay, over)| (opening, over.map_or(Ok(replay.picks), Err))).collect()
}

fn replay(file: &Path) -> (Option<i32>, String) {
    let output = evenkeel().arg("replay").arg(file).output().unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// 160 clients, each with a connection that visits every pool in turn.
fn load(address: std::net::SocketAddr, done: Arc<AtomicU64>, stop: Arc<AtomicU64>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let mut tasks = Vec::new();
            for n in 0..160_u64 {
                let (done, stop) = (done.clone(), stop.clone());
                tasks.push(tokio::spawn(async move {
                    let (mut client, mut failed) = (Client::new(address), 0);
                    let mut cookie = String::new();
                    for round in 0.. {
                        if stop.load(Relaxed) > 0 {
                            break;
                        }
                        let names = strategies();
                        let name = names[(n as usize + round) % names.len()];
                        let key = format!("key-{}", (n * 7 + round as u64) % 97);
                        // Work from a half to four milliseconds; some clients stay, some go away before the answer.
                        let work = (500_000 * (1 + (n + round as u64) % 8)).to_string();
                        let path = format!("/{name}/{}?n={n}", n % 13);
                        let mut headers = vec![("x-key", key.as_str()), ("x-demand", work.as_str())];
                        if n % 10 == 0 && !cookie.is_empty() {
                            headers.push(("cookie", cookie.as_str()));
                        }
                        let patience = Duration::from_millis(if n % 16 == 3 && round % 4 == 1 { 2 } else { 20_000 });
                        match tokio::time::timeout(patience, client.get(&path, &headers)).await {
                            Ok(Ok((200, headers, _))) => {
                                let set = headers.get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
                                cookie = set.and_then(|set| set.split(';').next().map(str::to_owned)).unwrap_or(cookie);
                            }
                            Ok(_) => failed += 1,
                            Err(_) => client = Client::new(address),
                        }
                        done.fetch_add(1, Relaxed);
                    }
                    failed
                }));
            }
            let mut failed = 0;
            for task in tasks {
                failed += task.await.unwrap();
            }
            failed
        })
    })
}

#[test]
fn every_strategy_picks_again_as_it_did_over_real_sockets() {
    let speeds = [("a", 1.0), ("b", 2.0), ("c", 0.5), ("d", 1.5), ("e", 1.0)];
    let [a, b, c, d, e] = speeds.map(|(name, speed)| front::backend(name, speed));
    let folder = Folder::new();
    let file = folder.path().join("picks.jsonl");
    let options = Options { record: Some(file.clone()), seed: Some(42), ..Options::default() };
    let front = Front::with(&config(&[&a, &b, &c, &d], 0, RULES), options);
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let loading = load(front.address(), done.clone(), stop.clone());
    let passes = |more: u64| {
        let until = done.load(Relaxed) + more;
        eventually("requests to pass", || done.load(Relaxed) >= until);
    };
    let everywhere = |what: &str| {
        for pool in strategies() {
            assert_eq!(front.ask("POST", &format!("/servers/{pool}/{what}")).status, 200);
        }
    };
    passes(500);
    b.inject_fault(Errors { share: Ratio(0.3), latency: Nanos::ZERO, fails_checks: true }, None);
    passes(400);
    everywhere("c/drain");
    everywhere("d/weight?to=9");
    passes(400);
    b.heal();
    everywhere("c/ready");
    a.kill();
    passes(400);
    a.heal();
    // One goes and one comes, into its place; then it comes back, into another.
    front.reload(&config(&[&b, &c, &d, &e], 0, RULES)).unwrap();
    passes(400);
    everywhere("e/drain");
    front.reload(&config(&[&c, &a, &e, &d], 0, RULES)).unwrap();
    passes(400);
    // All strategies change in front of the same servers, then the rules.
    front.reload(&config(&[&c, &a, &e, &d], 1, RULES)).unwrap();
    passes(400);
    front.reload(&config(&[&c, &a, &e, &d], 1, "queue = { limit = 1000, timeout = \"5s\" }")).unwrap();
    passes(400);
    stop.store(1, Relaxed);
    let failed = loading.join().unwrap();
    drop(front.stop());

    let recording = std::fs::read_to_string(&file).unwrap();
    let played = play(&recording);
    let mut picks: BTreeMap<&str, u64> = BTreeMap::new();
    for (opening, result) in &played {
        let name = opening.strategy.name();
        match result {
            Ok(more) => *picks.entry(name).or_default() += more,
            Err(difference) => panic!("{name} in pool {}, stream {:x}: {difference}", opening.pool, opening.stream),
        }
    }
    // Two shards, each with two selectors for each pool.
    assert_eq!(played.len(), 4 * strategies().len());
    for name in strategies() {
        assert!(picks.get(name).is_some_and(|&picks| picks > 100), "{name}: {picks:?}");
    }
    println!("{picks:?}; {failed} of {} requests failed; {} lines", done.load(Relaxed), recording.lines().count());

    let (code, said) = replay(&file);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("all the same").count(), played.len(), "{said}");

    // One pick is another one.
    let at = recording.match_indices("\"pick\":1,").nth(200).expect("so many picks of slot 1").0;
    let tampered = format!("{}\"pick\":2,{}", &recording[..at], &recording[at + "\"pick\":1,".len()..]);
    let number = recording[..at].lines().count();
    let (code, said) = replay(&folder.file("tampered.jsonl", &tampered));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a difference") && said.contains(&format!("tampered.jsonl:{number}:")), "{said}");
    // What is no recording, or ends within a line, is not taken for one.
    let (code, said) = replay(&folder.file("cut.jsonl", &recording[..recording.len() - 5]));
    assert_eq!(code, Some(2), "{said}");
}

/// The same with partitions: the parts of the fleet, and which share of the picks begins in each, are in the recording,
/// through deaths, drains and reloads.
#[test]
fn partitioned_picks_are_replayed_exactly() {
    let speeds = [("a", 1.0), ("b", 2.0), ("c", 0.5), ("d", 1.5), ("e", 1.0)];
    let [a, b, c, d, e] = speeds.map(|(name, speed)| front::backend(name, speed));
    let narrowed = |backends: &[&Backend], rules: &str| {
        let rules =
            format!("{}\nsubset = {{ size = 3, kind = \"aperture\" }}\n{rules}\n", RULES.replace("sticky", "# sticky"));
        let mut text = format!("zone = \"x\"\n{}", config(backends, 0, &rules));
        for (name, place) in [
            ("a", "zone = \"x\""),
            ("b", "zone = \"y\""),
            ("c", "zone = \"x\""),
            ("d", "zone = \"y\"\npriority = 1"),
            ("e", "zone = \"x\""),
        ] {
            text =
                text.replace(&format!("name = \"{name}\"\naddress"), &format!("name = \"{name}\"\n{place}\naddress"));
        }
        text
    };
    let folder = Folder::new();
    let file = folder.path().join("picks.jsonl");
    let options = Options { record: Some(file.clone()), seed: Some(7), ..Options::default() };
    let zones = "zones = { min_servers = 1 }\nconcurrency = { per = \"server\" }\nadmission = { window = \"1s\" }";
    let front = Front::with(&narrowed(&[&a, &b, &c, &d], zones), options);
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let loading = load(front.address(), done.clone(), stop.clone());
    let passes = |more: u64| {
        let until = done.load(Relaxed) + more;
        eventually("requests to pass", || done.load(Relaxed) >= until);
    };
    passes(500);
    b.inject_fault(Errors { share: Ratio(0.3), latency: Nanos::ZERO, fails_checks: true }, None);
    passes(400);
    for pool in strategies() {
        assert_eq!(front.ask("POST", &format!("/servers/{pool}/c/drain")).status, 200);
    }
    passes(400);
    b.heal();
    a.kill();
    passes(400);
    a.heal();
    front.reload(&narrowed(&[&b, &c, &d, &e], zones)).unwrap();
    passes(400);
    front.reload(&narrowed(&[&c, &a, &e, &d], "")).unwrap();
    passes(400);
    stop.store(1, Relaxed);
    loading.join().unwrap();
    drop(front.stop());
    let recording = std::fs::read_to_string(&file).unwrap();
    let played = play(&recording);
    for (opening, result) in &played {
        assert!(opening.narrows);
        let name = opening.strategy.name();
        if let Err(difference) = result {
            panic!("{name} in pool {}, stream {:x}: {difference}", opening.pool, opening.stream);
        }
    }
    assert!(recording.contains("\"assign\"") && recording.contains("\"shares\""));
    // Two shards, each with two selectors for each pool: without zones a fleet is divided otherwise.
    assert_eq!(played.len(), 4 * strategies().len());
    assert!(played.iter().filter_map(|(_, result)| result.as_ref().ok()).sum::<u64>() > 1000);
}
