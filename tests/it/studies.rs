//! Experiments of many runs: resumed, split into parts, joined, swept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, SystemTime};

use evenkeel::measure::{Comparison, Summary, Verdict, compare, summarise};

use crate::support::{Folder, SOUND, evenkeel, rows_at, scenario, text};

/// The output of a command.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn said(arguments: &[&str]) -> Said {
    let output = evenkeel().args(arguments).output().unwrap();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Runs it; it must succeed.
fn done(arguments: &[&str]) -> Said {
    let said = said(arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {}{}", said.out, said.err);
    said
}

/// Runs it; it must fail with exit code 2 and these words.
fn refused(arguments: &[&str], words: &[&str]) {
    let said = said(arguments);
    assert_eq!(said.code, Some(2), "{arguments:?}: {}{}", said.out, said.err);
    for words in words {
        assert!(said.err.contains(words), "{arguments:?}: no {words:?} in\n{}", said.err);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The files of a folder of results by name, without the kept units.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files
        .map(|file| (file.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&file).unwrap()))
        .collect()
}

/// Every file of two folders of results has the same bytes, and there are charts and tables among them.
fn assert_same(one: &Path, other: &Path) {
    let (one_has, other_has) = (files(one), files(other));
    assert_eq!(one_has.keys().collect::<Vec<_>>(), other_has.keys().collect::<Vec<_>>());
    for ending in ["manifest.json", ".csv", ".svg"] {
        assert!(one_has.keys().any(|name| name.ends_with(ending)), "no {ending} in {}", one.display());
    }
    for (name, bytes) in &one_has {
        assert!(*bytes == other_has[name], "{name} differs between {} and {}", one.display(), other.display());
    }
}

fn manifest(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

/// Finished units below a folder of results, with the time each was written.
fn units(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let entries = std::fs::read_dir(folder.join("runs")).into_iter().flatten().flatten();
    let units = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.ends_with(".json.gz") && name != "plan.json.gz"
    });
    units.map(|entry| (entry.path(), entry.metadata().unwrap().modified().unwrap())).collect()
}

/// Ends a process that a failed test would leave behind.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Killed without warning in the middle: what was finished is not run again, what is damaged is, and the results are
/// those of an undisturbed run.
#[test]
fn a_killed_run_is_resumed() {
    const UNITS: usize = 24;
    let folder = Folder::new();
    let source = SOUND.replace("\"2s\"", "\"80s\"").replace("replications = 2", "replications = 12");
    let file = folder.file("long.toml", &source);
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    done(&["run", path(&file), "--out", path(&whole)]);
    assert!(!whole.join("long/runs").exists(), "runs are deleted when the results are there");

    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.args(["run", path(&file), "--jobs", "2", "--out", path(&broken)]);
    let mut child = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let results = broken.join("long");
    while units(&results).len() < 4 && child.0.try_wait().unwrap().is_none() {
        #[allow(clippy::disallowed_methods, reason = "a test of a process waits for it")]
        std::thread::sleep(Duration::from_millis(5));
    }
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let finished = units(&results);
    assert!((4..UNITS).contains(&finished.len()), "{} of {UNITS} runs", finished.len());
    assert!(!results.join("manifest.json").exists(), "half results are none");

    let resume = ["run", path(&file), "--resume", "--keep-runs", "--out", path(&broken)];
    let resumed = done(&resume);
    let message = |found: usize| format!("{found} runs reused, {} run now", UNITS - found);
    assert!(resumed.err.contains(&message(finished.len())), "{}", resumed.err);
    let kept = units(&results);
    assert_eq!(kept.len(), UNITS);
    for (unit, written) in &finished {
        assert_eq!(kept[unit], *written, "{} was run again", unit.display());
    }
    assert_same(&whole.join("long"), &results);

    // Results that are complete are not made again.
    let again = done(&resume);
    assert!(again.err.contains("long: already complete"), "{}", again.err);
    assert_eq!(units(&results), kept);
    // Those of which a table is gone are put together again.
    std::fs::remove_file(results.join("metrics.csv")).unwrap();
    assert!(done(&resume).err.contains(&message(UNITS)));
    assert_same(&whole.join("long"), &results);

    // A unit that lost its end, one with a flipped byte in its middle and one that is gone are run again, no others.
    let names: Vec<&PathBuf> = kept.keys().collect();
    let bytes = std::fs::read(names[3]).unwrap();
    std::fs::write(names[3], &bytes[..bytes.len() / 2]).unwrap();
    let mut bytes = std::fs::read(names[4]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(names[4], bytes).unwrap();
    std::fs::remove_file(names[5]).unwrap();
    std::fs::remove_file(results.join("manifest.json")).unwrap();
    let repaired = done(&resume);
    assert!(repaired.err.contains(&message(UNITS - 3)), "{}", repaired.err);
    assert_same(&whole.join("long"), &results);
}

/// The name of a unit is a hash of all that decides what comes out: another scenario finds none of its own, more
/// replications of the same one find those that there are.
#[test]
fn a_changed_scenario_takes_over_nothing() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", SOUND);
    let (old, fresh) = (folder.path().join("old"), folder.path().join("fresh"));
    done(&["run", path(&file), "--keep-runs", "--out", path(&old)]);
    let more = ["run", path(&file), "--replications", "3", "--resume", "--keep-runs", "--out", path(&old)];
    let said = done(&more);
    assert!(said.err.contains("4 runs reused, 2 run now"), "{}", said.err);
    let changed = SOUND.replace("mean = \"10ms\"", "mean = \"11ms\"");
    std::fs::write(&file, changed).unwrap();
    let said = done(&["run", path(&file), "--resume", "--keep-runs", "--out", path(&old)]);
    assert!(!said.err.contains("already"), "{}", said.err);
    done(&["run", path(&file), "--out", path(&fresh)]);
    assert_same(&fresh.join("sound"), &old.join("sound"));
    // Nor does another seed.
    let said = done(&["run", path(&file), "--seed", "2", "--resume", "--out", path(&old)]);
    assert!(!said.err.contains("already"), "{}", said.err);
}

/// A run and a sweep, each in three parts and joined: every byte as if they had been run in one piece. The warm-up is
/// found by a pilot, which every part does for itself.
#[test]
fn parts_join_into_the_whole() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", &SOUND.replace("\"200ms\"", "\"auto\""));
    let whole = folder.path().join("whole");
    let parts: Vec<PathBuf> = (1..=3).map(|i| folder.path().join(format!("part{i}"))).collect();
    let verbs: [&[&str]; 2] =
        [&["run", path(&file)], &["sweep", path(&file), "--vary", "pools.web.servers.web.count=8,10"]];
    for verb in verbs {
        done(&[verb, &["--out", path(&whole)]].concat());
        for (i, part) in parts.iter().enumerate() {
            let shard = format!("{}/3", i + 1);
            let said = done(&[verb, &["--shard", &shard, "--out", path(part)]].concat());
            assert!(said.out.contains(&format!("Part {} of 3", i + 1)), "{}", said.out);
            assert!(files(&part.join(if verb[0] == "run" { "sound" } else { "sound.sweep" })).is_empty());
        }
    }
    // Every unit is in one part and in no other.
    let of_parts: Vec<String> =
        parts.iter().flat_map(|part| units(&part.join("sound")).into_keys()).map(name).collect();
    assert_eq!(of_parts.len(), 4);
    assert_eq!(of_parts.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);

    let joined = folder.path().join("joined");
    let [one, two, three] = [path(&parts[0]), path(&parts[1]), path(&parts[2])];
    // In any order.
    done(&["merge", three, one, two, "--out", path(&joined)]);
    assert_same(&whole.join("sound"), &joined.join("sound"));
    assert_same(&whole.join("sound.sweep"), &joined.join("sound.sweep"));

    let torn = folder.path().join("torn");
    // 4 runs and 8 of the sweep; a third of each is missing.
    refused(
        &["merge", one, three, "--out", path(&torn)],
        &["of 12 runs are in none of these folders", "a part is missing"],
    );
    assert!(!torn.join("sound/manifest.json").exists(), "half results are none");
    refused(&["merge", one, path(&folder.path().join("nowhere"))], &["there is no folder"]);
    refused(&["merge", path(&whole)], &["there are no runs to merge", "--shard"]);
    // A part of the same name that was run with another seed is no part of it.
    let other = folder.path().join("other");
    done(&["run", path(&file), "--seed", "7", "--shard", "2/3", "--out", path(&other)]);
    refused(&["merge", one, path(&other), three, "--out", path(&torn)], &["`sound` in", "other settings"]);
}

fn name(path: PathBuf) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Kept units of a run, a sweep and a sensitivity analysis of one scenario lie side by side and are joined each for
/// itself.
#[test]
fn studies_of_one_scenario_do_not_get_in_each_others_way() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", &format!("{SOUND}[sensitivity]\nkeys = [\"pools.web.servers.web.count\"]\n"));
    let (kept, joined) = (folder.path().join("kept"), folder.path().join("joined"));
    let place = ["--keep-runs", "--quiet", "--out", path(&kept)];
    done(&[&["run", path(&file)], &place[..]].concat());
    done(&[&["sweep", path(&file), "--vary", "pools.web.servers.web.count=8,10"], &place[..]].concat());
    done(&[&["sweep", path(&file), "--sensitivity"], &place[..]].concat());
    done(&["merge", path(&kept), "--quiet", "--out", path(&joined)]);
    for study in ["sound", "sound.sweep", "sound.sensitivity"] {
        assert_same(&kept.join(study), &joined.join(study));
    }
}

#[test]
fn precision_takes_as_many_replications_as_it_needs() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", &SOUND.replace("replications = 2", "replications = 3"));
    let precise = |name: &str, options: &[&str]| {
        let out = folder.path().join(name);
        let said = done(&[&["run", path(&file), "--out", path(&out)], options].concat());
        (said.out, out.join("sound"))
    };
    let (said, loose) = precise("loose", &["--precision", "30%"]);
    assert!(said.contains("Precision: ") && said.contains("the widest interval is that of latency.p99 of "), "{said}");
    let (said, tight) = precise("tight", &["--precision", "5%"]);
    let used = |folder: &Path| manifest(folder)["replications"].as_u64().unwrap();
    assert!(used(&loose) < used(&tight), "{} and {}", used(&loose), used(&tight));
    assert!(said.contains(&format!("Precision: {} replications", used(&tight))), "{said}");
    for (folder, target) in [(&loose, 0.3), (&tight, 0.05)] {
        let precision = &manifest(folder)["precision"];
        assert_eq!(precision["target"], target);
        let reached = precision["half_width"].as_f64().unwrap();
        assert!(reached <= target, "{reached}");
        // What is stated is the loosest of what the table says.
        let widths = rows_at(&folder.join("metrics.csv"))
            .into_iter()
            .filter(|row| ["latency.mean", "latency.p99"].contains(&row["metric"].as_str()));
        let number = |row: &BTreeMap<String, String>, column: &str| row[column].parse::<f64>().unwrap();
        let width =
            |row: BTreeMap<String, String>| (number(&row, "high") - number(&row, "low")) / 2.0 / number(&row, "value");
        let loosest = widths.map(width).fold(0.0, f64::max);
        assert!((loosest - reached).abs() < 1e-6, "{loosest} and {reached}");
    }

    // It stops at the given maximum, and says so.
    let (said, short) = precise("short", &["--precision", "0.1%", "--max-replications", "7"]);
    assert_eq!(used(&short), 7);
    assert!(said.contains("Precision: not reached in 7 replications: latency."), "{said}");
    assert!(said.contains("target ±0.1 %"), "{said}");
    assert_eq!(
        used(&precise("least", &["--precision", "0.1%", "--max-replications", "2"]).1),
        2,
        "fewer than the file's"
    );

    // The same runs as if so many had been asked for.
    let (_, plain) = precise("plain", &["--replications", "7"]);
    let without_manifest = |folder: &Path| {
        let mut files = files(folder);
        files.remove("manifest.json");
        // It has the command and the notes of the manifest.
        files.remove("report.html");
        files
    };
    assert!(without_manifest(&short) == without_manifest(&plain));
    let bad = ["run", path(&file), "--dry-run", "--precision"];
    refused(&[&bad[..], &["0%"]].concat(), &["between 0 and 100 %"]);
    refused(&[&bad[..], &["2%", "--shard", "1/2"]].concat(), &["cannot be used with"]);
}

/// Where there is no steady state there is nothing to be precise about; that is said and does not go on for ever.
#[test]
fn precision_of_an_overloaded_bench_is_no_precision() {
    let folder = Folder::new();
    let file = folder.file("over.toml", &overloaded());
    let said = done(&["run", path(&file), "--dry-run", "--precision", "1%"]);
    assert!(said.out.contains("Precision: 5 replications; no strategy can be ranked"), "{}", said.out);
    // Where nothing varies two replications are as tight as can be, and that is another thing.
    let clockwork = SOUND.replace("poisson", "constant").replace("exponential = { mean", "constant = { value");
    let file = folder.file("clockwork.toml", &clockwork.replace("[\"random\", \"p2c\"]", "[\"round_robin\"]"));
    let said = done(&["run", path(&file), "--dry-run", "--precision", "1%"]);
    let words = "Precision: 2 replications; the widest interval is that of latency.mean of round_robin, ±0.0 %";
    assert!(said.out.contains(words), "{}", said.out);
}

#[test]
fn batches_give_intervals_from_one_run() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", &SOUND.replace("replications = 2", "replications = 5"));
    let out = folder.path().join("out");
    let said = done(&["run", path(&file), "--batches", "20", "--out", path(&out)]);
    assert!(said.out.contains("10.0 s measured") && said.out.contains("1 run in 20 batches"), "{}", said.out);
    let results = out.join("sound");
    let manifest = manifest(&results);
    assert_eq!(manifest["method"], "batch means");
    assert_eq!((manifest["replications"].as_u64(), manifest["duration_s"].as_f64()), (Some(1), Some(10.0)));
    assert!(manifest["command"].as_str().unwrap().ends_with("--batches 20"));
    let p99 = rows_at(&results.join("metrics.csv")).into_iter().find(|row| row["metric"] == "latency.p99").unwrap();
    assert_eq!(p99["replications"], "20");
    let number = |column: &str| p99[column].parse::<f64>().unwrap();
    assert!(number("low") < number("value") && number("value") < number("high"), "{p99:?}");
    // A row per batch, all of one seed; the batches of all strategies are pairs.
    let batches = rows_at(&results.join("replications.csv"));
    assert_eq!(batches.len(), 40);
    assert!(batches.iter().all(|row| row["seed"] == batches[0]["seed"]));
    let workloads = |strategy: &str| {
        let of = batches.iter().filter(|row| row["strategy"] == strategy);
        of.map(|row| row["workload"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(workloads("random"), workloads("p2c"));
    // Requests of all batches are all requests.
    let json = done(&["run", path(&file), "--batches", "20", "--dry-run", "--json"]).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let throughput = json["strategies"][0]["metrics"]["throughput"]["value"].as_f64().unwrap();
    assert!((throughput - 500.0).abs() < 25.0, "{throughput}");
}

/// Near its limit a queue remembers for longer than a short batch lasts.
#[test]
fn correlated_batches_are_reported() {
    let folder = Folder::new();
    let source = SOUND.replace("500/s", "950/s").replace("[\"random\", \"p2c\"]", "[\"random\"]");
    let file = folder.file("slow.toml", &source);
    let alike = "random: neighbouring batches are correlated (0.";
    let said = done(&["run", path(&file), "--batches", "50", "--dry-run"]);
    assert!(said.out.contains(alike) && said.out.contains("use fewer or longer batches"), "{}", said.out);
    // Long batches of a quiet one are not.
    let quiet = folder.file("quiet.toml", &source.replace("950/s", "300/s").replace("\"2s\"", "\"20s\""));
    let said = done(&["run", path(&quiet), "--batches", "20", "--dry-run"]);
    assert!(!said.out.contains("correlated"), "{}", said.out);
}

/// Batches in several replications: each row names the run that its batch is a piece of.
#[test]
fn batches_of_several_runs_are_told_apart() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", &SOUND.replace("replications = 2", "replications = 2\nbatches = 10"));
    let out = folder.path().join("out");
    done(&["run", path(&file), "--quiet", "--out", path(&out)]);
    let rows = rows_at(&out.join("sound/replications.csv"));
    assert_eq!(rows.len(), 40);
    let expected = scenario(SOUND);
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row["seed"], expected.replication_seed(i as u32 % 20 / 10).to_string(), "row {i}");
    }
}

/// The empty start of a loaded queue is found and cut off, and as little more as can be.
#[test]
fn a_pilot_finds_the_warm_up() {
    let folder = Folder::new();
    // 95 % load on two servers: it takes some hundred requests until the queues are as long as they will be.
    let source = SOUND.replace("500/s", "190/s").replace("count = 10", "count = 2").replace("\"2s\"", "\"60s\"");
    let source = source.replace("replications = 2", "replications = 5");
    let auto = folder.file("auto.toml", &source.replace("\"200ms\"", "\"auto\""));
    let out = folder.path().join("out");
    let said = done(&["run", path(&auto), "--out", path(&out)]);
    let found = manifest(&out.join("auto"));
    let warmup = found["warmup_s"].as_f64().unwrap();
    assert!(warmup > 0.0 && warmup < 30.0, "{warmup}");
    assert_eq!(found["duration_s"], 60.0, "the warm-up is not taken from what is measured");
    assert!(said.out.contains("of warm-up"), "{}", said.out);
    for row in rows_at(&out.join("auto/verdicts.csv")) {
        assert_eq!(row["warmup_s"].parse::<f64>().unwrap(), warmup, "one for all strategies");
    }

    // The same warm-up written down is the same experiment.
    let written =
        folder.file("written.toml", &source.replace("\"200ms\"", &format!("\"{}ns\"", (warmup * 1e9).round())));
    done(&["run", path(&written), "--out", path(&out)]);
    let values = |name: &str| {
        let row =
            |row: BTreeMap<String, String>| [row["strategy"].clone(), row["metric"].clone(), row["value"].clone()];
        rows_at(&out.join(name).join("metrics.csv")).into_iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(values("auto"), values("written"));
}

/// A cache that fills for as long as the run lasts has no steady state to be found.
const FILLING: &str = r#"
title = "Filling"
question = "Is it full?"
duration = "10s"
warmup = "1s"
replications = 5
strategies = ["random"]
arrivals = { poisson = { rate = "5000/s" } }
service = { exponential = { mean = "1ms" } }
keys = { count = 10000 }
[[pools]]
name = "web"
[[pools.servers]]
name = "web"
count = 10
cache = { capacity = 10000, hit_cost = "100%" }
"#;

#[test]
fn a_run_that_is_too_short_is_reported() {
    let folder = Folder::new();
    let file = folder.file("filling.toml", FILLING);
    let out = folder.path().join("out");
    let said = done(&["run", path(&file), "--out", path(&out)]);
    assert!(said.out.contains("run too short: the hit ratio did not settle"), "{}", said.out);
    assert!(!said.out.contains("latency did not settle"), "hits cost as much as misses: {}", said.out);
    for row in rows_at(&out.join("filling/verdicts.csv")) {
        assert_eq!(
            (row["cache_warmup"].as_str(), row["latency_warmup"].as_str()),
            ("run_too_short", "settled"),
            "{row:?}"
        );
    }
}

/// Caches warm up by a clock of their own: latencies are measured over everything after `warmup`, hits later.
#[test]
fn the_hit_ratio_has_its_own_clock() {
    let folder = Folder::new();
    // Few keys, so that a hash has met them all in five seconds.
    let cold = FILLING.replace("count = 10000", "count = 3000");
    let own = cold.replace("warmup = \"1s\"", "warmup = \"1s\"\ncache_warmup = \"6s\"");
    let (cold, own) = (folder.file("cold.toml", &cold), folder.file("own.toml", &own));
    let out = folder.path().join("out");
    done(&["run", path(&cold), path(&own), "--quiet", "--strategies", "consistent_hash", "--out", path(&out)]);
    let value = |name: &str, metric: &str| {
        let rows = rows_at(&out.join(name).join("metrics.csv"));
        rows.into_iter().find(|row| row["metric"] == metric).unwrap()["value"].parse::<f64>().unwrap()
    };
    for metric in ["latency.mean", "latency.p99", "throughput", "fairness.jain"] {
        assert_eq!(value("cold", metric), value("own", metric), "{metric}");
    }
    assert!(value("cold", "cache.hit_ratio") < value("own", "cache.hit_ratio"));
    assert!(value("own", "cache.hit_ratio") > 0.9999, "every key has been met by then");
    let manifest = manifest(&out.join("own"));
    assert_eq!((manifest["warmup_s"].as_f64(), manifest["cache_warmup_s"].as_f64()), (Some(1.0), Some(6.0)));

    // Found by a pilot, too.
    let auto = std::fs::read_to_string(&cold).unwrap().replace("\"1s\"", "\"auto\"");
    let auto = folder.file("auto.toml", &auto);
    let said = done(&["run", path(&auto), "--strategies", "consistent_hash", "--out", path(&out)]);
    let manifest = self::manifest(&out.join("auto"));
    let (latency, cache) = (manifest["warmup_s"].as_f64().unwrap(), manifest["cache_warmup_s"].as_f64().unwrap());
    assert!(latency < cache && cache < 5.0, "{latency} and {cache}");
    assert!(said.out.contains("for caches)"), "{}", said.out);

    refused(
        &["run", path(&folder.file("bad.toml", &own_clock("100ms"))), "--dry-run"],
        &["`cache_warmup` must lie between `warmup` (1.00 s) and the end of the run"],
    );
}

fn own_clock(at: &str) -> String {
    FILLING.replace("warmup = \"1s\"", &format!("warmup = \"1s\"\ncache_warmup = {at:?}"))
}

/// A fifth more than ten servers can do.
fn overloaded() -> String {
    let source = SOUND.replace("rate = \"500/s\"", "load = \"120%\"").replace("replications = 2", "replications = 5");
    format!("allow_overload = true\n{source}")
}

#[test]
fn an_overloaded_bench_is_called_so_and_not_ranked() {
    let folder = Folder::new();
    let over = folder.file("over.toml", &overloaded());
    let fine = folder.file("fine.toml", &overloaded().replace("120%", "50%"));
    let out = folder.path().join("out");
    let said = done(&["run", path(&over), path(&fine), "--out", path(&out)]).out;
    assert!(said.contains("Every strategy is overloaded: there is nothing to rank."), "{said}");
    assert!(said.contains("not ranked: overloaded") && said.contains("were left in growing queues"), "{said}");
    for (name, verdict) in [("over", "overloaded"), ("fine", "stable")] {
        let results = out.join(name);
        for strategy in manifest(&results)["strategies"].as_array().unwrap() {
            assert_eq!(strategy["verdict"], verdict);
        }
        for row in rows_at(&results.join("verdicts.csv")) {
            assert_eq!(row["verdict"], verdict);
            assert_eq!(row["reason"].is_empty(), verdict == "stable", "{row:?}");
        }
        for row in rows_at(&results.join("metrics.csv")) {
            // What says how long it was run has no interval; what is bounded keeps it.
            if row["metric"].contains("latency.") {
                assert_eq!(row["low"].is_empty() && row["high"].is_empty(), verdict == "overloaded", "{row:?}");
            } else if row["metric"] == "utilisation.mean" {
                assert!(!row["low"].is_empty(), "{row:?}");
            }
        }
        let ranked = rows_at(&results.join("comparison.csv")).iter().any(|row| row["relation"] == "best");
        assert_eq!(ranked, verdict == "stable");
    }
    // The same from the library: one that can cope beside one that cannot is the best, and the other is not ranked.
    let source = overloaded().replace("load = \"120%\"", "rate = \"400/s\"");
    let source =
        source.replace("[\"random\", \"p2c\"]", "[\"weighted_random\", \"random\"]").replace("\"2s\"", "\"10s\"");
    let source = source.replace(
        "count = 10\nweight = 1",
        "count = 5\nweight = 5\n[[pools.servers]]\nname = \"slow\"\ncount = 5\nspeed = 0.2\nweight = 1",
    );
    let summaries = summaries(&source);
    assert_eq!(summaries[0].stability.verdict, Verdict::Stable, "{:?}", summaries[0].stability);
    assert_eq!(summaries[1].stability.verdict, Verdict::Overloaded, "{:?}", summaries[1].stability);
    assert_eq!(compare(&summaries, "latency.p99"), [Some(Comparison::Best), Some(Comparison::Overloaded)]);
}

/// Every variant of a scenario over all replications, through the library alone.
fn summaries(source: &str) -> Vec<Summary> {
    let scenario = scenario(source);
    let run = |c: usize, r: u32| evenkeel::sim::observe(&scenario.setup(c, r), &|| false, &mut ()).unwrap();
    let of = |c: usize| summarise(&scenario, c, &(0..scenario.replications).map(|r| run(c, r)).collect::<Vec<_>>());
    (0..scenario.variants.len()).map(of).collect()
}

/// One strategy under four names, with random streams of their own on the same requests: any difference that is found
/// is a false one. With 95 % intervals one field in twenty may have one; 200 fields of five replications are tried.
#[test]
fn equals_are_tied() {
    const FIELDS: u64 = 200;
    let mut source = SOUND.replace("strategies = [\"random\", \"p2c\"]\n", "");
    source =
        source.replace("replications = 2", "replications = 5").replace("\"2s\"", "\"500ms\"").replace("200ms", "50ms");
    for name in ["a", "b", "c", "d"] {
        source += &format!("[[variants]]\nname = {name:?}\nstrategy = \"p2c\"\n");
    }
    let (mut tied, mut differ) = (0, 0);
    for seed in 1..=FIELDS {
        let field = summaries(&format!("seed = {seed}\n{source}"));
        for summary in &field {
            assert_eq!(summary.workload_hashes, field[0].workload_hashes, "{} met other requests", summary.label);
        }
        // A name selects a random stream: otherwise there would be nothing to compare.
        differ += u64::from(field[1..].iter().all(|summary| summary.pick_hashes != field[0].pick_hashes));
        let stands = compare(&field, "latency.p99");
        let fair = |s: &Option<Comparison>| matches!(s, Some(Comparison::Best | Comparison::Tied));
        tied += u64::from(stands.iter().all(fair));
    }
    assert_eq!(differ, FIELDS);
    assert!(tied * 100 >= FIELDS * 95, "{tied} of {FIELDS}");
}

/// The values of a study at a point: strategy, metric, value and interval.
fn values(folder: &Path, point: &str) -> Vec<Vec<String>> {
    let rows = rows_at(&folder.join("metrics.csv")).into_iter().filter(|row| row["point"] == point);
    let columns = ["strategy", "metric", "unit", "value", "low", "high", "replications"];
    rows.map(|row| columns.iter().map(|column| row[*column].clone()).collect()).collect()
}

/// One key, two keys and joined keys: at each point what a run of the scenario with these values gives.
#[test]
fn a_sweep_is_a_run_at_every_point() {
    let folder = Folder::new();
    let source = SOUND.replace("rate = \"500/s\"", "load = \"50%\"");
    let file = folder.file("sound.toml", &source);
    let out = folder.path().join("out");
    let results = out.join("sound.sweep");
    let run_at = |name: &str, changes: &[(&str, &str)]| {
        let changed = changes.iter().fold(source.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let file = folder.file(&format!("{name}.toml"), &changed);
        done(&["run", path(&file), "--quiet", "--out", path(&out)]);
        values(&out.join(name), "base")
    };
    let sweep = |over: &[&str]| {
        let over: Vec<&str> = over.iter().flat_map(|axis| ["--vary", axis]).collect();
        let _ = std::fs::remove_dir_all(&results);
        let said = done(&[&["sweep", path(&file), "--out", path(&out)], &over[..]].concat());
        let names: Vec<String> = files(&results).into_keys().collect();
        for name in ["metrics.csv", "replications.csv", "comparison.csv", "verdicts.csv", "sweep_p99.svg"] {
            assert!(names.iter().any(|n| n == name), "no {name} in {names:?}");
        }
        let points: Vec<String> =
            rows_at(&results.join("comparison.csv")).into_iter().map(|row| row["point"].clone()).collect();
        let points: std::collections::BTreeSet<String> = points.into_iter().collect();
        (said.out, points.into_iter().collect::<Vec<_>>())
    };

    let (said, points) = sweep(&["arrivals.poisson.load=60%,80%"]);
    assert_eq!(points, ["arrivals.poisson.load=60%", "arrivals.poisson.load=80%"]);
    assert!(said.contains("best by p99") && points.iter().all(|point| said.contains(point)), "{said}");
    let plain = run_at("one", &[("50%", "80%")]);
    assert!(!plain.is_empty());
    assert_eq!(values(&results, "arrivals.poisson.load=80%"), plain);
    let manifest = manifest(&results);
    assert_eq!(manifest["point"], "arrivals.poisson.load=60%");
    assert_eq!(manifest["points"][0]["offered_load"], 0.8);
    assert_eq!(manifest["command"], "evenkeel sweep sound.toml --vary arrivals.poisson.load=60%,80%");

    let grid = ["arrivals.poisson.load=60%,80%", "pools.web.servers.web.count=5,10"];
    let (_, points) = sweep(&grid);
    assert_eq!(points.len(), 4);
    let plain = run_at("two", &[("50%", "80%"), ("count = 10", "count = 5")]);
    assert_eq!(values(&results, "arrivals.poisson.load=80% pools.web.servers.web.count=5"), plain);

    let (_, points) = sweep(&["pools.web.servers.web.count+pools.web.servers.web.weight=4,6"]);
    assert_eq!(points.len(), 2);
    let plain = run_at("joined", &[("count = 10", "count = 6"), ("weight = 1", "weight = 6")]);
    assert_eq!(values(&results, "pools.web.servers.web.count+pools.web.servers.web.weight=6"), plain);
}

/// A scenario can ask for its sweep itself, and gets what the command line would have got; the command line goes first.
#[test]
fn a_scenario_can_ask_for_its_sweep() {
    let folder = Folder::new();
    let tables = "[[sweep]]\nkey = \"arrivals.poisson.rate\"\nvalues = [\"300/s\", \"600/s\"]\n\
                  [[sweep]]\nkeys = [\"pools.web.servers.web.count\", \"pools.0.servers.0.weight\"]\nvalues = [8, 9]\n";
    let file = folder.file("sound.toml", &format!("{SOUND}{tables}"));
    let (own, given, other) = (folder.path().join("own"), folder.path().join("given"), folder.path().join("other"));
    done(&["sweep", path(&file), "--out", path(&own)]);
    let over = ["arrivals.poisson.rate=300/s,600/s", "pools.web.servers.web.count+pools.0.servers.0.weight=8,9"];
    done(&["sweep", path(&file), "--vary", over[0], "--vary", over[1], "--out", path(&given)]);
    assert_same(&own.join("sound.sweep"), &given.join("sound.sweep"));
    assert_eq!(manifest(&own.join("sound.sweep"))["points"].as_array().unwrap().len(), 3);
    let said =
        done(&["sweep", path(&file), "--json", "--vary", "pools.web.servers.web.count=8,9", "--out", path(&other)]);
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["points"].as_array().unwrap().len(), 2);
    assert_eq!(json["points"][1]["point"], "pools.web.servers.web.count=9");
    // A plain run of it is not a sweep.
    done(&["run", path(&file), "--quiet", "--out", path(&other)]);
    assert!(values(&other.join("sound"), "base").len() > 10);
}

#[test]
fn a_sweep_that_cannot_be_is_explained() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", SOUND);
    let sweep = |over: &[&str], words: &[&str]| {
        let over: Vec<&str> = over.iter().flat_map(|axis| ["--vary", axis]).collect();
        refused(&[&["sweep", path(&file), "--dry-run"], &over[..]].concat(), words);
    };
    let count = "pools.web.servers.web.count";
    sweep(
        &["arrivals.poisson.raet=300/s"],
        &["sets no `arrivals.poisson.raet`", "did you mean `arrivals.poisson.rate`?"],
    );
    sweep(&["arrivals.poisson.rate=300/s,fast"], &["at arrivals.poisson.rate=fast", "sound.toml:8:33", "fast"]);
    // What could never drain is found before anything is run.
    sweep(&[&format!("{count}=10,2")], &["at pools.web.servers.web.count=2", "this can never drain"]);
    sweep(&[&format!("{count}=2.5")], &["at pools.web.servers.web.count=2.5", "sound.toml:14:9"]);
    sweep(&[count], &["KEY=VALUE,VALUE"]);
    sweep(&[&format!("{count}=8,,9")], &["a key or a value is empty"]);
    sweep(&[&format!("{count}=8,9"), "pools.0.servers.0.count=8,9"], &["is set twice"]);
    sweep(&[&format!("{count}=8,9,8")], &["pools.web.servers.web.count=8", "twice"]);
    sweep(&[], &["nothing to vary", "arrivals.poisson.rate (now \"500/s\")", "pools.web.servers.web.count (now 10)"]);
    refused(&["sweep", path(folder.path()), "--vary", "a=1"], &["is a folder"]);
    refused(
        &["sweep", path(&file), "--sensitivity", "--dry-run"],
        &["does not say which constants to vary", "sensitivity"],
    );
    let bad = folder.file("bad.toml", &format!("{SOUND}[[sweep]]\nkey = \"arrivals.poisson.raet\"\nvalues = [1]\n"));
    refused(&["sweep", path(&bad), "--dry-run"], &["bad.toml:17:7", "did you mean `arrivals.poisson.rate`?"]);
    let none = folder.file("none.toml", &format!("{SOUND}[[sweep]]\nvalues = []\n"));
    refused(&["sweep", path(&none), "--dry-run"], &["none.toml:17:10", "needs a `key`"]);
    let source = format!("{SOUND}[sensitivity]\nby = \"20%\"\nmetric = \"latency.p98\"\n");
    let unknown = folder.file("unknown.toml", &source);
    refused(
        &["sweep", path(&unknown), "--sensitivity", "--dry-run"],
        &["unknown.toml:18:10", "no metric `latency.p98`", "did you mean `latency.p9"],
    );
    let wrong_way = folder.file("more.toml", &source.replace("latency.p98", "goodput"));
    refused(
        &["sweep", path(&wrong_way), "--sensitivity", "--dry-run"],
        &["more.toml:18:10", "lower is better, not `goodput`"],
    );
}

/// Two balancers of which one is better by far stay in order when a constant is nudged; two that a constant decides
/// between do not, and that is an answer: exit code 1.
#[test]
fn sensitivity_says_whether_the_ranking_holds() {
    let folder = Folder::new();
    let source = SOUND.replace("replications = 2", "replications = 5").replace("500/s", "700/s");
    let firm = folder.file("firm.toml", &format!("{source}[sensitivity]\nby = \"20%\"\n"));
    let out = folder.path().join("out");
    let said = done(&["sweep", path(&firm), "--sensitivity", "--out", path(&out)]);
    assert!(said.out.contains("does the ranking by latency.p99 hold at ±20 %?"), "{}", said.out);
    assert!(said.out.contains("The ranking holds"), "{}", said.out);
    let results = out.join("firm.sensitivity");
    assert!(results.join("sensitivity.svg").exists() && !results.join("sensitivity.png").exists());
    let manifest = manifest(&results);
    assert_eq!(manifest["point"], "base");
    assert!(manifest["points"].as_array().unwrap().iter().any(|p| p["point"] == "arrivals.poisson.rate=560/s"));
    // The middle is a run of the scenario as it is written.
    done(&["run", path(&firm), "--quiet", "--out", path(&out)]);
    assert_eq!(values(&results, "base"), values(&out.join("firm"), "base"));

    // Half of the servers are slow. By weight they get what they can do, until a slip of the weights sends them more
    // than random does.
    let source = source
        .replace("[\"random\", \"p2c\"]", "[\"weighted_random\", \"random\"]")
        .replace("700/s", "400/s")
        .replace("\"2s\"", "\"10s\"");
    let source = source.replace(
        "count = 10\nweight = 1",
        "count = 5\nweight = 10\n[[pools.servers]]\nname = \"slow\"\ncount = 5\nspeed = 0.5\nweight = 5",
    );
    let keys = "keys = [\"pools.web.servers.web.weight\"]\n";
    let frail = folder.file("frail.toml", &format!("{source}[sensitivity]\nby = \"60%\"\n{keys}"));
    let said = self::said(&["sweep", path(&frail), "--sensitivity", "--dry-run"]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.out.contains("The ranking does not hold"), "{}", said.out);
    assert!(said.out.contains("random beats weighted_random"), "{}", said.out);
    let said = self::said(&["sweep", path(&frail), "--sensitivity", "--dry-run", "--json"]);
    let last: serde_json::Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    assert_eq!(last["ranking_holds"], false);
}

/// Constants are what the model is made of, not how long it is run or what it is compared with.
#[test]
fn only_the_model_is_nudged() {
    let source = SOUND.replace("replications = 2", "batches = 20\nreplications = 2");
    let source =
        format!("{source}[[variants]]\nname = \"three\"\nstrategy = {{ p2c = {{ choices = 3 }} }}\n[sensitivity]\n");
    let keys = scenario(&source).sensitivity.unwrap().keys;
    let expected = [
        "arrivals.poisson.rate",
        "pools.web.servers.web.count",
        "pools.web.servers.web.weight",
        "service.exponential.mean",
    ];
    assert_eq!(keys, expected);
}

/// However many threads: every file of a run and of a sweep has the same bytes.
#[test]
fn threads_change_nothing() {
    let folder = Folder::new();
    let source = SOUND.replace("\"200ms\"", "\"auto\"").replace("replications = 2", "replications = 5");
    let (file, filling) = (folder.file("sound.toml", &source), folder.file("filling.toml", FILLING));
    for jobs in ["1", "8"] {
        let out = folder.path().join(jobs);
        let rest = ["-j", jobs, "--quiet", "--out", path(&out)];
        done(&[&["run", path(&file), path(&filling)], &rest[..]].concat());
        done(&[&["sweep", path(&file), "--vary", "pools.web.servers.web.count=7,8,10"], &rest[..]].concat());
    }
    for study in ["sound", "filling", "sound.sweep"] {
        assert_same(&folder.path().join("1").join(study), &folder.path().join("8").join(study));
    }
    let out = |jobs: &str| {
        let out = folder.path().join(format!("precise{jobs}"));
        done(&["run", path(&file), "-j", jobs, "--precision", "8%", "--quiet", "--out", path(&out)]);
        out.join("sound")
    };
    assert_same(&out("1"), &out("8"));
}
