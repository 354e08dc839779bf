//! The HTML report: its numbers are those of the tables, it is the same every time, and what is missing is left out.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use serde_json::Value;

use crate::support::{Folder, SOUND, evenkeel, rows_at, text};

/// Two pools, faults, errors; the first strategy has other picks than the second.
const POOLS: &str = r#"
title = "Two pools </script><img src=x onerror=alert(1)>"
question = "Does one notice the other?"
answer = "No."
kind = "terminating"
duration = "6s"
replications = 5
strategies = ["round_robin", "p2c", "random", "oracle_least_work"]
arrivals = { poisson = { rate = "400/s" } }
service = { exponential = { mean = "10ms" } }
clients = { timeout = "500ms" }
[[paths]]
path = "/pay"
share = 2
[[paths]]
path = "/run"
share = 1
[[pools]]
name = "payments"
[[pools.servers]]
name = "pay"
count = 4
[[pools]]
name = "run"
[[pools.servers]]
name = "run"
count = 3
[[routes]]
prefix = "/pay"
pool = "payments"
[[routes]]
prefix = "/run"
pool = "run"
[[faults]]
target = "run/run-1"
at = "2s"
for = "2s"
kind = { slow = { factor = 20 } }
"#;

/// The document in a report.
fn document(report: &Path) -> Value {
    let page = std::fs::read_to_string(report).unwrap();
    let between = |start: &str| {
        let at = page.find(start)? + start.len();
        Some(&page[at..at + page[at..].find("</script>")?])
    };
    match between("id=\"evenkeel-data-gz\">") {
        Some(packed) => {
            let packed = base64::engine::general_purpose::STANDARD.decode(packed).unwrap();
            let mut json = String::new();
            flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut json).unwrap();
            serde_json::from_str(&json).unwrap()
        }
        None => serde_json::from_str(between("id=\"evenkeel-data\">").unwrap()).unwrap(),
    }
}

fn run(folder: &Folder, arguments: &[&str]) {
    let mut command = evenkeel();
    command.current_dir(folder.path()).args(arguments).arg("--quiet").assert().success();
}

/// A cell of a table as the document has it: a number, or null where it is empty.
fn number(cell: &str) -> Value {
    cell.parse::<f64>().map_or(Value::Null, Value::from)
}

/// Where a value is in a list of the document.
fn position(list: &Value, is: impl Fn(&Value) -> bool) -> usize {
    list.as_array().unwrap().iter().position(is).unwrap()
}

/// Every number of the table, the distributions, the series and the servers is that of the CSV files.
fn agrees_with_tables(folder: &Path) -> usize {
    let document = document(&folder.join("report.html"));
    let run = &document["run"];
    let strategy = |label: &str| position(&run["strategies"], |strategy| strategy["label"] == label);
    let scope =
        |all: &Value, pool: Option<&String>| position(all, |one| one["pool"].as_str() == pool.map(String::as_str));
    let mut compared = 0;
    for row in rows_at(&folder.join("metrics.csv")) {
        let values = &run["strategies"][strategy(&row["strategy"])]["values"][&row["metric"]];
        let expected = ["value", "low", "high"].map(|end| number(&row[end]));
        assert_eq!(*values, Value::from(expected.to_vec()), "{row:?}");
        compared += 3;
    }
    for name in ["latency_cdf.csv", "latency_cdf_pools.csv"].into_iter().filter(|name| folder.join(name).exists()) {
        for row in rows_at(&folder.join(name)) {
            let cdf = &run["cdf"][scope(&run["cdf"], row.get("pool"))];
            let at = position(&cdf["quantiles"], |quantile| *quantile == number(&row["quantile"]));
            assert_eq!(cdf["latency"][strategy(&row["strategy"])][at], number(&row["latency_s"]), "{row:?}");
            compared += 1;
        }
    }
    let columns = [
        ("goodput", "goodput_per_s"),
        ("errors", "errors_per_s"),
        ("mean", "latency_mean_s"),
        ("p99", "latency_p99_s"),
        ("in_system", "in_system"),
    ];
    for name in ["timeseries.csv", "timeseries_pools.csv"].into_iter().filter(|name| folder.join(name).exists()) {
        for row in rows_at(&folder.join(name)) {
            let series = &run["series"][scope(&run["series"], row.get("pool"))];
            let at = position(&series["time"], |time| *time == number(&row["time_s"]));
            for (name, column) in columns.into_iter().filter(|(_, column)| row.contains_key(*column)) {
                assert_eq!(series[name][strategy(&row["strategy"])][at], number(&row[column]), "{column}: {row:?}");
                compared += 1;
            }
        }
    }
    for row in rows_at(&folder.join("servers.csv")) {
        let servers = &run["servers"];
        let server = position(servers, |s| s["pool"] == *row["pool"] && s["server"] == *row["server"]);
        for (name, column) in [("share", "share"), ("utilisation", "utilisation"), ("in_server", "in_server")] {
            assert_eq!(servers[server][name][strategy(&row["strategy"])], number(&row[column]), "{row:?}");
            compared += 1;
        }
    }
    compared
}

#[test]
fn numbers_are_those_of_the_tables() {
    let folder = Folder::new();
    folder.file("sound.toml", SOUND);
    folder.file("pools.toml", POOLS);
    run(&folder, &["run", "sound.toml", "pools.toml", "--out", "out"]);
    for (name, least) in [("sound", 1000), ("pools", 4000)] {
        let compared = agrees_with_tables(&folder.path().join("out").join(name));
        assert!(compared > least, "{name}: {compared}");
    }
    let pools = document(&folder.path().join("out/pools/report.html"));
    assert_eq!(pools["title"], "Two pools </script><img src=x onerror=alert(1)>");
    assert_eq!(pools["run"]["pools"], serde_json::json!(["payments", "run"]));
    assert_eq!(pools["answer"].as_array().unwrap().len(), 2, "{}", pools["answer"]);
    assert!(pools["answer"][0].as_str().unwrap().starts_with("In payments: "));
    assert_eq!(pools["explanation"], "No.");
    assert_eq!(pools["repeat"]["scenario_source"], POOLS);
    let fault = &pools["run"]["faults"][0];
    assert_eq!((&fault["start"], &fault["end"], &fault["target"]), (&2.0.into(), &4.0.into(), &"run/run-1".into()));
    let timeline = &pools["run"]["timelines"][0];
    assert_eq!(timeline["servers"].as_array().unwrap().len(), 7);
    let page = std::fs::read_to_string(folder.path().join("out/pools/report.html")).unwrap();
    assert!(!page.contains("<img src=x"), "a title is text");
    assert!(page.contains("<noscript>") && page.contains("data:image/svg+xml;base64,"));
}

#[test]
fn a_report_is_the_same_however_it_is_made() {
    let folder = Folder::new();
    folder.file("pools.toml", POOLS);
    run(&folder, &["run", "pools.toml", "--out", "a", "--jobs", "1"]);
    run(&folder, &["run", "pools.toml", "--out", "b", "--jobs", "3"]);
    let read = |path: &str| std::fs::read(folder.path().join(path)).unwrap();
    for file in ["pools/report.html", "index.html"] {
        assert_eq!(read(&format!("a/{file}")), read(&format!("b/{file}")), "{file}");
    }
    // Made again from what is on disk, whether one folder or all are asked for.
    for asked in ["b", "b/pools"] {
        std::fs::remove_file(folder.path().join("b/pools/report.html")).unwrap();
        let mut command = evenkeel();
        command.current_dir(folder.path()).args(["report", asked]).assert().success();
        assert_eq!(read("a/pools/report.html"), read("b/pools/report.html"), "{asked}");
    }
    assert_eq!(read("a/index.html"), read("b/index.html"));
}

#[test]
fn what_is_missing_is_left_out_or_named() {
    let folder = Folder::new();
    folder.file("sound.toml", SOUND);
    run(&folder, &["run", "sound.toml", "--out", "out"]);
    let results = folder.path().join("out/sound");
    let complete = document(&results.join("report.html"));
    let report = || {
        let mut command = evenkeel();
        let output = command.current_dir(folder.path()).args(["report", "out/sound"]).output().unwrap();
        (output.status.code().unwrap(), text(&output.stderr))
    };
    // What is not kept in git.
    for name in
        ["replications.csv", "servers.csv", "timeseries.csv", "latency_cdf.csv", "timeline.jsonl.gz", "scenario.toml"]
    {
        std::fs::remove_file(results.join(name)).unwrap();
    }
    assert_eq!(report().0, 0);
    let lean = document(&results.join("report.html"));
    assert_eq!(lean["answer"], complete["answer"]);
    assert_eq!(lean["run"]["strategies"], complete["run"]["strategies"]);
    assert_eq!(lean["run"]["series"], serde_json::json!([]));
    assert_eq!(lean["run"]["timelines"], serde_json::json!([null, null]));
    assert!(lean["warnings"].to_string().contains("left out"), "{}", lean["warnings"]);
    // Results before version 4 have no answer: the tables give the same sentences.
    let manifest = std::fs::read_to_string(results.join("manifest.json")).unwrap();
    let mut old: Value = serde_json::from_str(&manifest).unwrap();
    for key in ["answer", "notes", "steady", "question", "explanation", "faults"] {
        old.as_object_mut().unwrap().remove(key);
    }
    std::fs::write(results.join("manifest.json"), old.to_string()).unwrap();
    assert_eq!(report().0, 0);
    assert_eq!(document(&results.join("report.html"))["answer"], complete["answer"]);
    // Without these there is nothing to report.
    std::fs::write(results.join("metrics.csv"), "scenario,point,strategy\n").unwrap();
    let (code, message) = report();
    assert_eq!(code, 2);
    assert!(
        message.contains("out/sound") && message.contains("metrics.csv has no column") && message.contains("help:"),
        "{message}"
    );
    std::fs::remove_file(results.join("metrics.csv")).unwrap();
    assert!(report().1.contains("there is no metrics.csv"));
    std::fs::remove_file(results.join("manifest.json")).unwrap();
    let (code, message) = report();
    assert_eq!(code, 2);
    assert!(message.contains("manifest.json") && message.contains("help:"), "{message}");
}

#[test]
fn a_run_can_leave_it_out_and_write_markdown() {
    let folder = Folder::new();
    folder.file("sound.toml", SOUND);
    run(&folder, &["run", "sound.toml", "--out", "out", "--no-report", "--export-markdown", "comment.md"]);
    assert!(!folder.path().join("out/sound/report.html").exists());
    assert!(!folder.path().join("out/index.html").exists());
    let markdown = std::fs::read_to_string(folder.path().join("comment.md")).unwrap();
    for part in
        ["### Sound", "Is it?", "| strategy | p99 | failed | verdict |", "| p2c | ", "    evenkeel run sound.toml"]
    {
        assert!(markdown.contains(part), "{part}: {markdown}");
    }
    // The terminal says the same.
    let mut command = evenkeel();
    let arguments = ["run", "sound.toml", "--dry-run", "--quiet", "--export-markdown", "dry.md"];
    let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
    let manifest = std::fs::read(folder.path().join("out/sound/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for sentence in manifest["answer"].as_array().unwrap() {
        assert!(text(&output.stdout).contains(sentence.as_str().unwrap()), "{sentence}");
    }
    // Without files there are no timelines, which say why.
    let without_why = |text: &str| {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("Why: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let dry = std::fs::read_to_string(folder.path().join("dry.md")).unwrap();
    assert_eq!(without_why(&dry), without_why(&markdown));
}

#[test]
fn other_commands_write_reports() {
    let folder = Folder::new();
    folder.file("sound.toml", SOUND);
    run(
        &folder,
        &["sweep", "sound.toml", "--vary", "arrivals.poisson.rate=300/s,600/s", "--replications", "5", "--out", "out"],
    );
    let sweep = document(&folder.path().join("out/sound.sweep/report.html"));
    assert_eq!(sweep["kind"], "sweep");
    assert_eq!(sweep["sweep"]["points"][1]["values"], serde_json::json!([600.0]));
    assert_eq!(sweep["sweep"]["axes"][0]["key"], "arrivals.poisson.rate");
    let p99 = |label: &str, point: &str| {
        let rows = rows_at(&folder.path().join("out/sound.sweep/metrics.csv"));
        let is = |row: &&crate::support::Row| {
            row["strategy"] == label && row["point"].ends_with(point) && row["metric"] == "latency.p99"
        };
        number(&rows.iter().find(is).unwrap()["value"])
    };
    assert_eq!(sweep["sweep"]["strategies"][1]["values"]["latency.p99"][0][0], p99("p2c", "=300/s"));
    run(&folder, &["run", "sound.toml", "--replications", "5", "--out", "a"]);
    run(&folder, &["run", "sound.toml", "--replications", "5", "--seed", "2", "--out", "b"]);
    let mut command = evenkeel();
    command.current_dir(folder.path()).args(["compare", "a", "b", "--report", "c.html", "--allow-undecided"]);
    command.output().unwrap();
    let compare = document(&folder.path().join("c.html"));
    assert_eq!((&compare["kind"], &compare["sections"][0]["heading"]), (&"compare".into(), &"sound".into()));
    assert!(compare["sections"][0]["table"]["rows"].as_array().unwrap().len() > 2);
    let mut command = evenkeel();
    let arguments = ["validate", "ring-shares", "--replications", "3", "--quiet", "--report", "v.html"];
    command.current_dir(folder.path()).args(arguments).output().unwrap();
    let validate = document(&folder.path().join("v.html"));
    assert_eq!(validate["kind"], "validate");
    assert!(
        validate["sections"][0]["heading"].as_str().unwrap().starts_with("ring-shares"),
        "{}",
        validate["sections"]
    );
}

/// The limit of the issue: a report is under 1 MB.
#[test]
fn a_report_of_every_strategy_is_under_a_megabyte() {
    let folder = Folder::new();
    run(&folder, &["run", "slow-server", "--replications", "1", "--out", "out"]);
    let report = folder.path().join("out/slow-server/report.html");
    let document = document(&report);
    assert!(document["run"]["strategies"].as_array().unwrap().len() >= 39);
    assert!(document["run"]["timelines"][0].is_object());
    let size = std::fs::metadata(&report).unwrap().len();
    assert!(size < 1_000_000, "{size} bytes");
}
