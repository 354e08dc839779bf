//! The simulator and the proxy, on the same requests: `evenkeel twin`, and `proxy --demo`, which stands on the same stage.

use crate::support::{Folder, evenkeel, root, text};

/// Slow enough for any machine: 60 requests per second. One server in four does a third of what the others do, and who does
/// not look overloads it.
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
    // Hashes are decided by the key alone: both arms put the same keys at the same servers.
    let hash = &strategies[2]["metrics"][8];
    assert!(hash["deviation"].as_f64().unwrap() < 1e-9, "{hash}");
    let by_p99 = &json["orders"][1];
    assert!(by_p99["told_apart"].as_u64().unwrap() >= 1 && by_p99["reversed"] == 0, "{by_p99}");
}

#[test]
fn what_is_not_on_the_wire_is_refused_with_the_reason() {
    for (name, reason) in [
        ("closed-loop", "a closed loop"),
        ("dns-round-robin", "`[dns]`"),
        ("many-balancers", "`shards`"),
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

/// Ctrl-C ends it with the table.
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
    // The first fault has struck: the load is under way.
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
