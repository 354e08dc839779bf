//! The simulator and the proxy, on the same requests: `evenkeel twin`, and `proxy --demo`, which runs the same way.

use crate::support::{Folder, evenkeel, root, text};

/// Slow enough for any machine: 60 requests per second. One server in four does a third of what the others do, and a
/// strategy that ignores load overloads it.
const SLOW: &str = r#"
title = "Twin"
question = "Do both arms agree?"
duration = "7s"
warmup = "1s"
drain = "5s"
strategies = ["random", "p2c", "consistent_hash"]
arrivals = { poisson = { rate = "60/s" } }
service = { exponential = { mean = "40ms" } }
clients = { count = 200, timeout = "2s" }
keys = { count = 300, exponent = 0.8 }
network = { client = "5ms" }
allow_overload = true
[[pools]]
name = "web"
health = { interval = "1s", timeout = "500ms" }
[[pools.servers]]
name = "fast"
count = 3
cache = { capacity = 40, hit_cost = "60%" }
[[pools.servers]]
name = "slow"
speed = 0.3
cache = { capacity = 40, hit_cost = "60%" }
"#;

#[test]
fn the_simulator_and_the_proxy_agree() {
    let folder = Folder::new();
    let file = folder.file("slow.toml", SLOW);
    let output = evenkeel().args(["twin", "--json"]).arg(&file).output().unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)));
    let strategies = json["strategies"].as_array().unwrap();
    assert_eq!(strategies.len(), 3);
    for strategy in strategies {
        assert_eq!(strategy["same_requests"], true, "{strategy:#}");
        let names: Vec<&str> =
            strategy["metrics"].as_array().unwrap().iter().map(|measure| measure["name"].as_str().unwrap()).collect();
        let shares = ["share of fast-1", "share of fast-2", "share of fast-3", "share of slow"];
        assert_eq!(names[..5], ["mean", "p50", "p99", "failed", "hit ratio"]);
        assert_eq!(names[5..], shares);
    }
    if json["verdict"] == "too busy" {
        assert_eq!(output.status.code(), Some(3));
        eprintln!("no verdict: this machine is too busy");
        return;
    }
    assert_eq!(json["verdict"], "agree", "{json:#}");
    assert_eq!(output.status.code(), Some(0));
    // Hashes depend on the key alone: simulated and real send the same keys to the same servers.
    let hash = &strategies[2]["metrics"][8];
    assert!(hash["deviation"].as_f64().unwrap() < 1e-9, "{hash}");
    let by_p99 = &json["orders"][1];
    assert!(by_p99["told_apart"].as_u64().unwrap() >= 1 && by_p99["reversed"] == 0, "{by_p99}");
}

/// One policy in a short twin run with a strategy of its own.
struct Policy {
    /// Keys of the pool.
    keys: &'static str,
    /// Keys of the file.
    head: &'static str,
    /// The tables after the pool: its servers, and faults.
    servers: &'static str,
}

/// The metrics of one strategy.
struct Metrics(serde_json::Value);

impl Metrics {
    /// Simulated and real value.
    fn both(&self, name: &str) -> (f64, f64) {
        let mut metrics = self.0["metrics"].as_array().unwrap().iter();
        let metric = metrics.find(|metric| metric["name"] == name).unwrap_or_else(|| panic!("no {name}: {:#}", self.0));
        (metric["simulated"].as_f64().unwrap(), metric["real"].as_f64().unwrap())
    }

    /// Both lie in the range, and near each other. What is asserted does not depend on how fast this machine is.
    fn within(&self, name: &str, range: std::ops::RangeInclusive<f64>) {
        let (simulated, real) = self.both(name);
        assert!(range.contains(&simulated) && range.contains(&real), "{name}: {simulated} {real}, not in {range:?}");
        assert!((simulated - real).abs() < 0.15, "{name}: {simulated} {real}");
    }
}

fn policy(Policy { keys, head, servers }: &Policy) -> Metrics {
    let source = format!(
        "title = \"t\"\nquestion = \"q\"\nduration = \"3s\"\nwarmup = \"0s\"\ndrain = \"2s\"\n\
         clients = {{ count = 100, timeout = \"2s\" }}\nallow_overload = true\n{head}\n[[pools]]\nname = \"web\"\n{keys}\n{servers}\n"
    );
    let folder = Folder::new();
    let file = folder.file("policy.toml", &source);
    let output = evenkeel().args(["twin", "--json"]).arg(&file).output().unwrap();
    let json: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stderr)));
    assert_eq!(json["strategies"][0]["same_requests"], true, "{json:#}");
    Metrics(json["strategies"][0].clone())
}

const RANDOM: &str = "strategies = [\"random\"]\narrivals = { poisson = { rate = \"60/s\" } }\nservice = { constant = { value = \"5ms\" } }";
const TWO: &str = "[[pools.servers]]\nname = \"a\"\n[[pools.servers]]\nname = \"b\"\n";

/// If only one side applied a policy, the two would differ widely; each range excludes the result without the policy.
#[test]
fn health_checks_act_in_both() {
    let servers = "[[pools.servers]]\nname = \"a\"\n[[pools.servers]]\nname = \"b\"\n[[faults]]\ntarget = \"web/b\"\nat = \"0s\"\nkind = { crash = {} }\n";
    let keys = "health = { interval = \"100ms\", timeout = \"100ms\", fall = 1, rise = 1 }";
    // Without checks half of the requests fail.
    policy(&Policy { keys, head: RANDOM, servers }).within("failed", 0.0..=0.2);
}

#[test]
fn outlier_ejection_acts_in_both() {
    let servers = "[[pools.servers]]\nname = \"a\"\n[[pools.servers]]\nname = \"b\"\n[[faults]]\ntarget = \"web/b\"\nat = \"0s\"\nkind = { errors = {} }\n";
    policy(&Policy { keys: "outliers = { consecutive_failures = 3 }", head: RANDOM, servers })
        .within("failed", 0.005..=0.2);
}

#[test]
fn slow_start_acts_in_both() {
    // b comes back after 0.5 s and would have half of the requests; in 2.5 of 60 s it gets a few percent of that.
    let servers = "[[pools.servers]]\nname = \"a\"\n[[pools.servers]]\nname = \"b\"\n[[faults]]\ntarget = \"web/b\"\nat = \"0s\"\nfor = \"500ms\"\nkind = { crash = {} }\n";
    let keys = "health = { interval = \"100ms\", timeout = \"100ms\", fall = 1, rise = 1 }\nslow_start = { window = \"60s\", min_share = \"1%\" }";
    policy(&Policy { keys, head: RANDOM, servers }).within("share of b", 0.0..=0.15);
}

#[test]
fn panic_acts_in_both() {
    // Two of three fail their checks and answer well: without panic, a gets everything.
    let servers = "[[pools.servers]]\nname = \"a\"\n[[pools.servers]]\nname = \"b\"\n[[pools.servers]]\nname = \"c\"\n\
        [[faults]]\ntarget = \"web/b\"\nat = \"0s\"\nkind = { errors = { share = \"0%\", fails_checks = true } }\n\
        [[faults]]\ntarget = \"web/c\"\nat = \"0s\"\nkind = { errors = { share = \"0%\", fails_checks = true } }\n";
    let health = "health = { interval = \"100ms\", timeout = \"100ms\", fall = 1, rise = 1 }";
    policy(&Policy { keys: health, head: RANDOM, servers }).within("share of a", 0.8..=1.0);
    let keys = "health = { interval = \"100ms\", timeout = \"100ms\", fall = 1, rise = 1 }\npanic = \"50%\"";
    policy(&Policy { keys, head: RANDOM, servers }).within("share of a", 0.15..=0.5);
}

/// 20 requests at once, every second, for one server that takes one at a time.
const BATCHES: &str = "strategies = [\"random\"]\narrivals = { constant = { rate = \"20/s\", batch = { constant = { size = 20 } } } }\nservice = { constant = { value = \"5ms\" } }";
const ONE_AT_A_TIME: &str = "[[pools.servers]]\nname = \"a\"\nmax_in_flight = 1\n";

#[test]
fn limits_and_a_queue_act_in_both() {
    // 1 of 20 has room, and without a queue the others are rejected. With one all are served: nine wait for each ten.
    policy(&Policy { keys: "", head: BATCHES, servers: ONE_AT_A_TIME }).within("failed", 0.8..=1.0);
    policy(&Policy { keys: "queue = { limit = 100 }", head: BATCHES, servers: ONE_AT_A_TIME })
        .within("failed", 0.0..=0.05);
    policy(&Policy { keys: "queue = { limit = 9 }", head: BATCHES, servers: ONE_AT_A_TIME })
        .within("failed", 0.3..=0.6);
}

#[test]
fn retries_act_in_both() {
    let servers = "[[pools.servers]]\nname = \"a\"\n[[pools.servers]]\nname = \"b\"\n[[faults]]\ntarget = \"web/b\"\nat = \"0s\"\nkind = { crash = {} }\n";
    policy(&Policy { keys: "retries = { budget = \"1000%\" }", head: RANDOM, servers }).within("failed", 0.0..=0.05);
}

#[test]
fn hedges_act_in_both() {
    // b needs 500 ms: without hedges it has the slower half. With them no answer takes longer than 100 ms and a few.
    let servers = "[[pools.servers]]\nname = \"a\"\nconcurrency = 100\n[[pools.servers]]\nname = \"b\"\nconcurrency = 100\n[[faults]]\ntarget = \"web/b\"\nat = \"0s\"\nkind = { slow = { factor = 100 } }\n";
    let keys = "hedge = { after = \"100ms\", budget = \"100%\" }";
    policy(&Policy { keys, head: RANDOM, servers }).within("p99", 0.1..=0.25);
}

#[test]
fn subsets_act_in_both() {
    let servers = "[[pools.servers]]\nname = \"a\"\ncount = 5\n";
    let metrics = policy(&Policy { keys: "subset = { size = 1 }", head: RANDOM, servers });
    let shares: Vec<(f64, f64)> = (1..=5).map(|i| metrics.both(&format!("share of a-{i}"))).collect();
    let whole = shares.iter().filter(|both| **both == (1.0, 1.0)).count();
    assert_eq!(whole, 1, "the same server in both: {shares:?}");
}

#[test]
fn priorities_act_in_both() {
    let servers = "[[pools.servers]]\nname = \"a\"\n[[pools.servers]]\nname = \"b\"\npriority = 1\n";
    policy(&Policy { keys: "", head: RANDOM, servers }).within("share of b", 0.0..=0.0);
    // Half of level 0 is healthy, which is 70 % of its load with a factor of 1.4, and half with a factor of 1.
    let servers = "[[pools.servers]]\nname = \"a\"\n[[pools.servers]]\nname = \"dead\"\n[[pools.servers]]\nname = \"b\"\npriority = 1\n\
        [[faults]]\ntarget = \"web/dead\"\nat = \"0s\"\nkind = { crash = {} }\n";
    let keys = "health = { interval = \"100ms\", timeout = \"100ms\", fall = 1, rise = 1 }\npriorities = { overprovisioning = 1.0 }";
    policy(&Policy { keys, head: RANDOM, servers }).within("share of b", 0.35..=0.65);
}

#[test]
fn zones_act_in_both() {
    let servers =
        "[[pools.servers]]\nname = \"a\"\nzone = \"here\"\n[[pools.servers]]\nname = \"b\"\nzone = \"there\"\n";
    let here = "balancers = { zones = [\"here\"] }\nstrategies = [\"random\"]\narrivals = { poisson = { rate = \"60/s\" } }\nservice = { constant = { value = \"5ms\" } }";
    policy(&Policy { keys: "zones = { prefer = \"local\" }", head: here, servers }).within("share of b", 0.0..=0.0);
    let keys = "zones = { prefer = \"weights\", weights = { here = 1, there = 9 } }";
    policy(&Policy { keys, head: here, servers }).within("share of b", 0.8..=1.0);
}

#[test]
fn concurrency_limits_act_in_both() {
    // 20 requests at once and a limit of 4: without the limit all are served.
    let servers = "[[pools.servers]]\nname = \"a\"\n";
    let keys = "concurrency = { kind = \"aimd\", min_limit = 4, max_limit = 4 }";
    policy(&Policy { keys, head: BATCHES, servers }).within("failed", 0.65..=0.9);
}

#[test]
fn admission_control_acts_in_both() {
    // 60 % of the admitted requests fail. Then 1 − 0.4/0.95 = 58 % are rejected, and 83 % fail in all.
    let servers = "[[pools.servers]]\nname = \"a\"\n[[faults]]\ntarget = \"web/a\"\nat = \"0s\"\nkind = { errors = { share = \"60%\" } }\n";
    policy(&Policy { keys: "admission = {}", head: RANDOM, servers }).within("failed", 0.7..=0.95);
}

/// Each policy of the catalogue has a test above, or is refused.
#[test]
fn every_policy_is_played_or_refused_by_name() {
    use evenkeel::policy::catalog::CATALOGUE;
    let tested = [
        "health",
        "outliers",
        "slow_start",
        "panic",
        "queue",
        "retries",
        "hedge",
        "subset",
        "priorities",
        "zones",
        "concurrency",
        "admission",
    ];
    let refused = ["sticky"];
    let known: Vec<&str> = CATALOGUE.iter().map(|row| row.key).collect();
    for key in &known {
        assert!(tested.contains(key) || refused.contains(key), "write a test in which `{key}` acts in both");
    }
    assert_eq!(known.len(), tested.len() + refused.len());
    let folder = Folder::new();
    for (pool, reason, way_out) in [
        ("sticky = {}", "`sticky`", "leave `sticky` out"),
        ("hedge = { tied = true }", "`hedge.tied`", "leave `tied` out"),
        ("tls = {}", "`tls`", "leave it out"),
        ("protocol = \"h2c\"", "`protocol`", "leave it out"),
        ("probes = { work = \"1ms\" }", "`probes`", "leave it out"),
        ("autoscale = {}", "`autoscale`", "leave it out"),
    ] {
        let source = format!(
            "title = \"t\"\nquestion = \"q\"\nduration = \"1s\"\n{RANDOM}\n[[pools]]\nname = \"web\"\n{pool}\n{TWO}"
        );
        let file = folder.file("refused.toml", &source);
        for arguments in [vec!["twin"], vec!["proxy", "--demo"]] {
            let output = evenkeel().args(&arguments).arg(&file).output().unwrap();
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{pool}: {message}");
            assert!(message.contains(reason) && message.contains(way_out), "{pool}: {message}");
        }
    }
}

#[test]
fn what_cannot_run_over_sockets_is_refused_with_the_reason() {
    for (name, reason) in [
        ("closed-loop", "a closed loop"),
        ("dns-round-robin", "`[dns]`"),
        ("many-balancers", "shards`"),
        ("two-tiers", "a second tier"),
        ("sticky-sessions", "`sticky`"),
    ] {
        let file = root().join(format!("scenarios/{name}.toml"));
        for arguments in [vec!["twin"], vec!["proxy", "--demo"]] {
            let output = evenkeel().args(&arguments).arg(&file).output().unwrap();
            let message = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{name}: {message}");
            assert!(message.contains(reason), "{name}: {message}");
        }
    }
}

#[test]
fn the_demonstration_says_where_it_is_and_what_came_of_it() {
    let folder = Folder::new();
    let file = folder.file(
        "slow.toml",
        &format!("{SLOW}[[faults]]\ntarget = \"web/slow\"\nat = \"1s\"\nfor = \"500ms\"\nkind = {{ crash = {{}} }}\n"),
    );
    let output =
        evenkeel().args(["proxy", "--duration", "2s", "--strategy", "random", "--demo"]).arg(&file).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for words in [
        "proxy   http://127.0.0.1:",
        "/metrics",
        "fast-3 at http",
        "web/slow: crash",
        "is over",
        "mean time in server",
        "p99",
    ] {
        assert!(said.contains(words), "no {words} in {said}");
    }
    assert!(!said.contains('\u{1b}'), "a pipe gets no cursor movements");
    assert_eq!(said.matches("mean time in server").count(), 1, "and one table: {said}");
    let built_in = evenkeel().args(["proxy", "--demo", "--duration", "1s"]).output().unwrap();
    assert!(text(&built_in.stdout).contains("strong-2"), "{}", text(&built_in.stderr));
    let unknown = evenkeel().args(["proxy", "--demo", "--strategy", "p3c"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("did you mean `p2c`?"));
}

/// Ctrl-C ends it and prints the table.
#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_demonstration_in_good_order() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .args(["proxy", "--demo", "--duration", "1h"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    // The first fault has begun: the load is running.
    let mut line = String::new();
    while !line.contains("slower") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "it has ended by itself");
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(rest.contains("mean time in server") && rest.contains("requests in"), "{rest}");
}
