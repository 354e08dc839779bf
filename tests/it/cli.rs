//! The command line: valid input, invalid input, exit codes, files on disk.

use crate::support::{Folder, SOUND, evenkeel, root, text};

#[test]
fn a_run_writes_everything_it_promises() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", SOUND);
    let out = folder.path().join("out");
    let output = evenkeel().arg("run").arg(&file).arg("--png").arg("--out").arg(&out).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("p2c has the lowest p99"), "{}", text(&output.stdout));
    let metrics = std::fs::read_to_string(out.join("sound/metrics.csv")).unwrap();
    assert!(metrics.starts_with("scenario,point,strategy,metric,unit,value,low,high,replications\n"));
    for metric in [
        "latency.mean,s",
        "latency.p50,s",
        "latency.p90,s",
        "latency.p99,s",
        "latency.p999,s",
        "throughput,1/s",
        "goodput,1/s",
        "errors.ratio,1",
        "fairness.jain,1",
        "fairness.max_over_mean,1",
        "utilisation.mean,1",
        "in_server.mean,1",
    ] {
        assert!(metrics.contains(&format!("sound,base,p2c,{metric},")), "no {metric}:\n{metrics}");
    }
    for name in ["latency", "latency_cdf", "fairness", "timeseries"] {
        let svg = std::fs::read_to_string(out.join(format!("sound/{name}.svg"))).unwrap();
        assert!(svg.contains("<svg") && svg.contains("Sound"), "{name}");
        let png = std::fs::read(out.join(format!("sound/{name}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 5000, "{name}: {} bytes", png.len());
    }
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("sound/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["workload_same_for_all"], true);
    assert_eq!(manifest["seed"], 1);
    assert_eq!(manifest["scenario_sha256"].as_str().unwrap().len(), 64);
    let left: Vec<_> = std::fs::read_dir(out.join("sound")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}

#[test]
fn json_is_all_there_is_on_standard_output() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", SOUND);
    let output = evenkeel().arg("run").arg(&file).args(["--json", "--dry-run"]).output().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["scenario"], "sound");
    assert!(value["strategies"][0]["metrics"]["latency.p99"]["value"].as_f64().unwrap() > 0.0);
}

/// Each mistake gets exit code 2 and one message with file, line, column and a way out; the sound scenario beside it runs.
#[test]
fn mistakes_are_explained_and_the_others_still_run() {
    let cases = [
        ("unknown key", SOUND.replace("weight = 1", "wieght = 1"), "bad.toml:15:1", "did you mean `weight`?"),
        ("negative rate", SOUND.replace("500/s", "-500/s"), "bad.toml:8:33", "negative"),
        ("no unit", SOUND.replace("\"2s\"", "2"), "bad.toml:4:12", "a duration such as"),
        ("weight of zero", SOUND.replace("weight = 1", "weight = 0"), "bad.toml:15:10", "at least one a weight of 1"),
        ("unknown strategy", SOUND.replace("\"p2c\"", "\"p2cc\""), "bad.toml:7:25", "did you mean `p2c`?"),
        (
            "unknown parameter",
            SOUND.replace("\"p2c\"", "{ p2c = { choice = 3 } }"),
            "bad.toml:7:",
            "did you mean `choices`?",
        ),
        ("bad parameter", SOUND.replace("\"p2c\"", "{ p2c = { choices = 99 } }"), "bad.toml:7:", "from 1 to 16"),
        ("never drains", SOUND.replace("500/s", "5000/s"), "bad.toml:8:33", "allow_overload"),
        (
            "missing file",
            SOUND.replace("poisson = { rate = \"500/s\" }", "replay = { file = \"gone.csv\" }"),
            "bad.toml:8:",
            "no file `gone.csv` beside the scenario",
        ),
        ("syntax", SOUND.replace("[[pools]]", "[[pools]"), "bad.toml:10:", ""),
        (
            "unknown target",
            format!("{SOUND}[[faults]]\ntarget = \"web/wbe-3\"\nat = \"1s\"\nkind = {{ crash = {{}} }}\n"),
            "bad.toml:17:10",
            "did you mean `web-3`?",
        ),
        (
            "unknown metric",
            format!("{SOUND}[[expect]]\nassert = \"latency.p98[p2c] < 1s\"\nreason = \"x\"\n"),
            "bad.toml:17:10",
            "did you mean `latency.p9",
        ),
        (
            "unlike units",
            format!("{SOUND}[[expect]]\nassert = \"latency.p99[p2c] < 5%\"\nreason = \"x\"\n"),
            "bad.toml:17:10",
            "times are written as 50ms",
        ),
        ("one bracket", format!("{SOUND}[faults]\nat = \"1s\"\n"), "bad.toml:16:1", "[[faults]]"),
        (
            "expectation of an unknown strategy",
            format!("{SOUND}[[expect]]\nassert = \"latency.p99[p3c] < 1s\"\nreason = \"x\"\n"),
            "bad.toml:17:10",
            "did you mean `p2c`?",
        ),
    ];
    for (what, source, place, way_out) in cases {
        let folder = Folder::new();
        let (bad, good) = (folder.file("bad.toml", &source), folder.file("good.toml", SOUND));
        let out = folder.path().join("out");
        let output = evenkeel().arg("run").args([&bad, &good]).arg("--out").arg(&out).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{what}: {message}");
        assert!(message.contains(place), "{what}: no {place} in\n{message}");
        assert!(message.contains(way_out), "{what}: no way out in\n{message}");
        assert_eq!(message.matches("error:").count(), 1, "{what}: one message, not\n{message}");
        assert!(out.join("good/manifest.json").exists(), "{what}: the sound scenario did not run");
        assert!(!out.join("bad").exists(), "{what}");
    }
}

#[test]
fn usage_errors_have_exit_code_2() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", SOUND);
    let missing = folder.path().join("nowhere");
    for (arguments, expected) in [
        (vec!["run", missing.to_str().unwrap()], "there is no file or folder"),
        (vec!["run", folder.path().to_str().unwrap(), "--strategies", "least_con"], "did you mean `least_request`?"),
        (vec!["run", file.to_str().unwrap(), "--strategies", "p2c(choices=99)"], "from 1 to 16"),
        (vec!["list", "p3c"], "did you mean `p2c`?"),
        (vec!["explain", "p3c"], "did you mean `p2c`?"),
        (vec!["run", file.to_str().unwrap(), "--replications", "0"], "0"),
        (vec!["frobnicate"], "unrecognized"),
    ] {
        let output = evenkeel().args(&arguments).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
    }
}

#[test]
fn a_disk_that_cannot_be_written_is_exit_code_3() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", SOUND);
    let blocked = folder.file("blocked", "a file where a folder should be");
    let output = evenkeel().arg("run").arg(&file).arg("--out").arg(&blocked).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn check_says_no_with_exit_code_1() {
    let folder = Folder::new();
    let expect = |that: &str| format!("{SOUND}[[expect]]\nassert = \"{that}\"\nreason = \"of theory\"\n");
    let holds = folder.file("holds.toml", &expect("latency.p99[p2c] < latency.p99[random]"));
    let output = evenkeel().arg("check").arg(&holds).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains("1 of 1 checks hold"), "{}", text(&output.stdout));
    let fails = folder.file("fails.toml", &expect("latency.p99[p2c] > latency.p99[random]"));
    let output = evenkeel().arg("check").args([&holds, &fails]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let out = text(&output.stdout);
    assert!(out.contains("FAILS") && out.contains("because of theory") && out.contains("1 of 2"), "{out}");
}

#[test]
fn strategies_are_listed_and_explained() {
    let list = text(&evenkeel().arg("list").output().unwrap().stdout);
    for row in evenkeel::select::catalog::CATALOGUE {
        assert!(list.contains(row.name), "{}", row.name);
        let output = evenkeel().args(["explain", row.name]).output().unwrap();
        assert!(output.status.success());
        let explained = text(&output.stdout);
        for section in ["Idea", "Rule", "Variant", "When it fails", "Source", "See it fail", "evenkeel run "] {
            assert!(explained.contains(section), "{}: no {section}", row.name);
        }
        for name in row.parameters().into_iter().map(|parameter| parameter.name) {
            assert!(explained.contains(&name), "{}: {name}", row.name);
        }
    }
}

#[test]
fn colours_respect_the_environment() {
    let folder = Folder::new();
    let file = folder.file("sound.toml", SOUND);
    let run = |arguments: &[&str], variable: Option<(&str, &str)>| {
        let mut command = evenkeel();
        command.arg("run").arg(&file).arg("--dry-run").args(arguments);
        if let Some((name, value)) = variable {
            command.env(name, value);
        }
        text(&command.output().unwrap().stdout).contains('\u{1b}')
    };
    assert!(!run(&[], None), "a pipe gets no colours");
    assert!(run(&["--color", "always"], None));
    assert!(run(&[], Some(("CLICOLOR_FORCE", "1"))));
    let mut both = evenkeel();
    both.arg("run").arg(&file).arg("--dry-run").env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    assert!(!text(&both.output().unwrap().stdout).contains('\u{1b}'), "NO_COLOR wins");
}

/// An import of the repository's own log gives the workload that lies beside it, byte for byte.
#[test]
fn the_log_in_the_repository_gives_the_workload_beside_it() {
    let folder = Folder::new();
    let workload = folder.path().join("shop.csv");
    let output = evenkeel()
        .arg("import")
        .arg(root().join("scenarios/logs/shop-access.log.gz"))
        .arg("--output")
        .arg(&workload)
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for words in ["4000 requests", "whole seconds", "2 lines could not be read", "line 701", "line 2901"] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    let committed = std::fs::read(root().join("scenarios/logs/shop.workload.csv")).unwrap();
    assert!(std::fs::read(&workload).unwrap() == committed);
    // It does not overwrite what is there.
    let again = evenkeel()
        .arg("import")
        .arg(root().join("scenarios/logs/shop-access.log.gz"))
        .arg("-o")
        .arg(&workload)
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--force"));
}

#[test]
fn an_import_with_a_scenario_runs_as_it_is() {
    let folder = Folder::new();
    let output = evenkeel()
        .current_dir(folder.path())
        .args(["import", "-", "--output", "w.csv", "--scenario", "mine.toml"])
        .write_stdin("10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET /a HTTP/1.1\" 200 5\n10.0.0.2 - - [17/May/2015:10:05:04 +0000] \"GET /b HTTP/1.1\" 200 5\n")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = evenkeel().current_dir(folder.path()).args(["run", "mine.toml", "--quick"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn a_file_that_is_no_log_is_refused() {
    let folder = Folder::new();
    let output = evenkeel()
        .current_dir(folder.path())
        .args(["import", "-", "--output", "w.csv"])
        .write_stdin("hello\nworld\n")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("2 lines could not be read"), "{}", text(&output.stderr));
    assert!(!folder.path().join("w.csv").exists());
}

/// A real log, where it is at hand: all 7,000 lines of it are read or accounted for.
#[test]
fn a_real_log_is_read() {
    let log = root().join("../shared/data/access-combined.log");
    if !log.exists() {
        eprintln!("skipped: {} is not here", log.display());
        return;
    }
    use evenkeel::scenario::import::import;
    let imported = import(&std::fs::read(&log).unwrap(), None, false);
    assert_eq!(imported.requests.len() as u64 + imported.malformed + imported.blank, 7000);
    assert!(imported.malformed < 10, "{:?}", imported.examples);
    assert!(imported.requests.windows(2).all(|pair| pair[0].arrival <= pair[1].arrival));
}

/// Ctrl-C: what was finished stays, what was not leaves no results, and the exit code says so.
#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_is_finished() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};
    let folder = Folder::new();
    let short = folder.file("a-short.toml", SOUND);
    let long = folder.file("b-long.toml", &SOUND.replace("\"2s\"", "\"1000000s\""));
    let out = folder.path().join("out");
    let mut child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
        .arg("run")
        .args([&short, &long])
        .arg("--out")
        .arg(&out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let manifest = out.join("a-short/manifest.json");
    #[allow(clippy::disallowed_methods, reason = "a test of a process waits for it")]
    {
        let start = Instant::now();
        while !manifest.exists() && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(manifest.exists());
    let left: Vec<_> = std::fs::read_dir(out.join("b-long"))
        .map(|all| all.flatten().map(|e| e.file_name()).collect())
        .unwrap_or_default();
    assert!(left.iter().all(|name| name == "runs"), "no half results: {left:?}");
}

/// A strategy can be named by its aliases everywhere, and results have the catalogue's name.
#[test]
fn a_strategy_goes_by_any_of_its_names() {
    let folder = Folder::new();
    let source = SOUND.replace("\"p2c\"", "\"least_conn\", { \"random-two\" = { choices = 3 } }");
    let expect = "[[expect]]\nassert = \"latency.p99[leastconn] < latency.p99[RANDOM]\"\nreason = \"it counts\"\n";
    let file = folder.file("names.toml", &format!("{source}{expect}"));
    let run = |arguments: &[&str]| {
        let output = evenkeel().args(arguments).arg(&file).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr))
    };
    let labels = |arguments: &[&str]| -> Vec<String> {
        let (out, _) = run(&[&["run", "--json", "--dry-run", "--replications", "1"], arguments].concat());
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        let strategies = value["strategies"].as_array().unwrap();
        strategies.iter().map(|strategy| strategy["strategy"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(labels(&[]), ["random", "least_request", "p2c(choices=3)"]);
    // By a name, by a label as it is printed, and by a name of the field with parameters; several in one list.
    assert_eq!(labels(&["--strategies", "p2c(choices=3),wlc"]), ["p2c(choices=3)", "least_request"]);
    assert_eq!(labels(&["--strategies", "power_of_two(choices=3)"]), ["p2c(choices=3)"]);
    assert_eq!(labels(&["--strategies", "sed,p2c(choices=4,replacement=true)"]).len(), 2);
    assert_eq!(labels(&["--strategies", "P2C"]), ["p2c(choices=3)"], "what the scenario has of that name");
    let (out, _) = run(&["check"]);
    assert!(out.contains("1 of 1 checks hold") || out.contains("2 of 2 checks hold"), "{out}");
    // What is not quite the same is said.
    let (_, err) = run(&["run", "--dry-run", "--quiet", "--replications", "1", "--strategies", "source"]);
    assert!(err.contains("note: `ip_hash` is the closest to `source`"), "{err}");

    for (name, canonical) in
        [("sed", "(shortest_expected_delay)"), ("LEAST_CONN", "(least_request)"), ("swrr", "(weighted_round_robin)")]
    {
        let output = evenkeel().args(["explain", name]).output().unwrap();
        assert!(output.status.success(), "{name}");
        assert!(text(&output.stdout).contains(canonical), "{name}: {}", text(&output.stdout));
    }
    let listed = text(&evenkeel().args(["list", "nq"]).output().unwrap().stdout);
    assert!(listed.contains("never_queue") && !listed.contains("round_robin"), "{listed}");
}
