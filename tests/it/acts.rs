//! `evenkeel run --acts`: a log of acts repeats an interactive run.

use std::path::Path;

use evenkeel::scenario::{Scenario, acts_file};
use evenkeel::sim::Run;
use evenkeel::sim::act::TimedAct;
use evenkeel::units::Nanos;

use crate::support::{Folder, SOUND, evenkeel, text};

const ACTS: &str = r#"{"at": "900ms", "act": {"set_load": {"factor": 1.5}}}
{"at": "500ms", "act": {"strike": {"target": "web/web-3", "for": "300ms", "kind": {"slow": {"factor": 4}}}}}
"#;

/// Runs `evenkeel` with these arguments; it must succeed. What it writes on standard error.
fn done(arguments: &[&str]) -> String {
    let output = evenkeel().args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

fn manifest(out: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(out.join("small/manifest.json")).unwrap()).unwrap()
}

#[test]
fn the_log_of_a_run_plays_to_the_same_numbers() {
    let folder = Folder::new();
    let (file, acts) = (folder.file("small.toml", SOUND), folder.file("acts.jsonl", ACTS));
    let out = folder.path().join("r");
    let [file, acts] = [file, acts].map(|path| path.to_str().unwrap().to_owned());
    done(&["run", &file, "--acts", &acts, "--quiet", "--no-report", "--out", out.to_str().unwrap()]);
    let written = manifest(&out);
    let scenario = Scenario::parse("small", SOUND, &|name| Err(name.to_owned())).unwrap();
    for variant in 0..2 {
        for replication in 0..2 {
            let mut run = Run::new(&scenario.setup(variant, replication), ());
            let mut frame = 0;
            let mut log: Vec<TimedAct> =
                acts_file::parse(ACTS).unwrap().into_iter().map(|act| act.into_inner()).collect();
            while !run.is_over() {
                frame += 1;
                run.step_until(Nanos(frame * 1_000_000_000 / 60)).unwrap();
                // Both times are multiples of 1/60 s.
                while log.first().is_some_and(|act| act.at == run.now()) {
                    assert_eq!(run.act(&log[0].act).unwrap(), log.remove(0).at);
                }
            }
            assert!(log.is_empty());
            let (record, ()) = run.finish().unwrap();
            let of_strategy = &written["strategies"][variant];
            let hash = |hash: u64| format!("{hash:016x}");
            assert_eq!(of_strategy["pick_hashes"][replication as usize], hash(record.pick_hash));
            assert_eq!(written["workload_hashes"][replication as usize], hash(record.workload_hash));
        }
    }
    assert_eq!(written["faults"][0]["target"], "web/web-3");
    let load = serde_json::json!({ "start": 0.9, "end": null, "target": "load", "text": "1.5 times the rate" });
    assert_eq!(written["faults"][1], load);
    assert!(written["command"].as_str().unwrap().contains("--acts acts.jsonl"));
    // The results repeat themselves: their scenario with their acts.
    let again = folder.path().join("again");
    std::fs::rename(out.join("small/scenario.toml"), out.join("small/small.toml")).unwrap();
    let [file, acts] =
        ["small.toml", "acts.jsonl"].map(|name| out.join("small").join(name).to_str().unwrap().to_owned());
    done(&["run", &file, "--acts", &acts, "--quiet", "--no-report", "--out", again.to_str().unwrap()]);
    assert_eq!(manifest(&again)["runs"], written["runs"]);
    assert_eq!(manifest(&again)["files"], written["files"]);
}

/// Runs with other acts, or with none, have other names: they are neither reused nor merged.
#[test]
fn acts_are_part_of_what_names_a_run() {
    let folder = Folder::new();
    let file = folder.file("small.toml", SOUND);
    let first = folder.file("first.jsonl", ACTS);
    let second = folder.file("second.toml", "[[acts]]\nat = \"1s\"\nact = { set_load = { factor = 0.5 } }\n");
    let out = folder.path().join("r");
    let [file, first, second, out] = [&file, &first, &second, &out].map(|path| path.to_str().unwrap());
    let run = |acts: &[&str], out: &str| {
        let fixed = ["run", file, "--no-report", "--keep-runs", "--resume", "--out", out];
        let said = done(&[&fixed[..], acts].concat());
        (manifest(Path::new(out)), said)
    };
    let (plain, _) = run(&[], out);
    let (with_first, said) = run(&["--acts", first], out);
    assert!(!said.contains("already complete") && !said.contains("reused"), "{said}");
    let (with_second, said) = run(&["--acts", second], out);
    assert!(!said.contains("already complete") && !said.contains("reused"), "{said}");
    for (one, other) in [(&plain, &with_first), (&plain, &with_second), (&with_first, &with_second)] {
        assert_ne!(one["runs"], other["runs"]);
        assert_ne!(one["strategies"][0]["pick_hashes"], other["strategies"][0]["pick_hashes"]);
    }
    let (_, said) = run(&["--acts", second], out);
    assert!(said.contains("already complete"), "{said}");
    let (again, _) = run(&[], out);
    assert_eq!(again["runs"], plain["runs"]);
    assert!(!Path::new(out).join("small/acts.jsonl").exists());

    let parts =
        ["1/2", "2/2"].map(|part| (part, folder.path().join(part.replace('/', "of")).to_str().unwrap().to_owned()));
    for (part, out) in &parts {
        done(&["run", file, "--acts", first, "--quiet", "--shard", part, "--out", out]);
    }
    let merged = folder.path().join("merged");
    done(&["merge", &parts[0].1, &parts[1].1, "--quiet", "--out", merged.to_str().unwrap()]);
    assert_eq!(manifest(&merged)["runs"], with_first["runs"]);
    assert_eq!(manifest(&merged)["files"], with_first["files"]);
}

#[test]
fn wrong_acts_are_shown_with_their_lines() {
    let folder = Folder::new();
    let file = folder.file("small.toml", SOUND);
    let closed = folder.file(
        "closed.toml",
        &SOUND.replace("poisson = { rate = \"500/s\" }", "closed = { think = { constant = { value = \"1s\" } } }"),
    );
    let act = |at: &str, act: &str| format!("{{\"at\": \"{at}\", \"act\": {{{act}}}}}\n");
    let load = r#""set_load": {"factor": 2}"#;
    for (scenario, acts, words) in [
        (&file, act("1s", load) + "{\"at\": \"1s\"}\n", ["acts:2:", "missing field `act`"]),
        (&file, act("1s", load) + &act("9s", load), ["acts:2:", "after the end of the run"]),
        (&file, act("1s", r#""strike": {"target": "web/x", "kind": {"crash": {}}}"#), ["acts:1:", "no server `x`"]),
        (
            &file,
            "[[acts]]\nat = \"1s\"\nact = { set_load = { factor = -1 } }\n".to_owned(),
            ["acts:1:", "from 0 to 1000"],
        ),
        (&file, "[[acts]]\nat = 1\nact = { set_load = { factor = 1 } }\n".to_owned(), ["acts:2:6", "takes a duration"]),
        (&closed, act("1s", load), ["acts:1:", "closed loop"]),
    ] {
        let bad = folder.file("acts", &acts);
        let output = evenkeel().args(["run", "--dry-run"]).arg(scenario).arg("--acts").arg(&bad).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{acts}: {said}");
        assert!(words.iter().all(|words| said.contains(words)), "{acts}: no {words:?} in {said}");
    }
    let output = evenkeel().args(["run", "--dry-run"]).arg(&file).args(["--acts", "none"]).output().unwrap();
    assert!(text(&output.stderr).contains("`none` cannot be read"));
}
