//! `evenkeel lessons` and `check --lesson`, from the outside. What the lessons say is held in `crates/sim/tests/lessons.rs`.

use crate::support::{Folder, evenkeel, text};

/// Runs the command in a folder: exit code, standard output, standard error.
fn run(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = evenkeel().current_dir(folder.path()).args(arguments).output().unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn lessons_are_listed_and_shown() {
    let folder = Folder::new();
    let (code, listed, _) = run(&folder, &["lessons"]);
    assert_eq!(code, Some(0));
    assert!(listed.contains(" Weights ") && listed.lines().all(|line| line.chars().count() <= 90), "{listed}");
    let (_, json, _) = run(&folder, &["lessons", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let numbers: Vec<u64> = json.as_array().unwrap().iter().map(|lesson| lesson["number"].as_u64().unwrap()).collect();
    assert!(numbers.len() >= 14 && numbers == (1..=numbers.len() as u64).collect::<Vec<_>>(), "{numbers:?}");
    let (_, shown, _) = run(&folder, &["lessons", "show", "weights"]);
    let (_, by_number, _) = run(&folder, &["lessons", "show", "4"]);
    assert!(shown == by_number && shown.contains("You may change: pools.web.servers.*.weight"), "{shown}");
    assert!(!shown.contains("What happened") && !shown.contains("=>"), "{shown}");
    let (_, answered, _) = run(&folder, &["lessons", "show", "4", "--answers"]);
    assert!(answered.contains("=> b)") && answered.contains("With equal shares p99 was 9.84 s"), "{answered}");
    let (_, all, _) = run(&folder, &["lessons", "show", "4", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    assert_eq!((all["name"].as_str(), all["predict"]["answer"].as_u64()), (Some("weights"), Some(1)));
    for (arguments, help) in [(["show", "wieghts"], "did you mean `weights`?"), (["copy", "99"], "numbers 1 to ")] {
        let (code, _, said) = run(&folder, &[&["lessons"], &arguments[..]].concat());
        assert!(code == Some(2) && said.contains(help), "{arguments:?}: {said}");
    }
}

#[test]
fn a_challenge_is_copied_changed_and_graded() {
    let folder = Folder::new();
    let file = folder.path().join("lesson-04.toml");
    let grade = |more: &[&str]| run(&folder, &[&["check", "lesson-04.toml", "--lesson", "4"], more].concat());
    let (code, said, _) = run(&folder, &["lessons", "copy", "4"]);
    assert!(code == Some(0) && said.contains("evenkeel check lesson-04.toml --lesson 4"), "{said}");
    let shipped = std::fs::read_to_string(&file).unwrap();

    let (code, said, _) = grade(&[]);
    assert!(code == Some(1) && said.contains("FAILS") && said.contains("Hint: `speed`"), "{said}");
    let solved = shipped.replacen("weight = 1", "weight = 10", 1).replacen("weight = 1\n", "weight = 5\n", 1);
    let solved = solved.replacen("weight = 1\n", "weight = 2\n", 1);
    std::fs::write(&file, &solved).unwrap();
    let (code, said, _) = grade(&[]);
    assert!(code == Some(0) && said.contains("changed      pools.web.servers.mid.weight: 1 -> 5"), "{said}");
    let (code, said, _) = grade(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert!(code == Some(0) && json["passed"] == true && json["checks"][0]["holds"] == true, "{said}");

    std::fs::write(&file, solved.replacen("75/s", "7/s", 1)).unwrap();
    let (code, said, _) = grade(&[]);
    assert!(code == Some(1) && said.contains("not allowed  arrivals.poisson.rate: \"75/s\" -> \"7/s\""), "{said}");
    std::fs::write(&file, solved.replacen("75/s", "75", 1)).unwrap();
    let (code, _, said) = grade(&[]);
    assert!(code == Some(2) && said.contains("lesson-04.toml:7:"), "{said}");

    // Nothing is overwritten unless asked.
    let (code, _, said) = run(&folder, &["lessons", "copy", "4"]);
    assert!(code == Some(2) && said.contains("--force"), "{said}");
    assert_eq!(run(&folder, &["lessons", "copy", "4", "--force"]).0, Some(0));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), shipped);
}

/// What is watched is a scenario for `run`, and its first replication has the numbers of the explanation.
#[test]
fn the_command_line_repeats_a_lesson() {
    let folder = Folder::new();
    assert_eq!(run(&folder, &["lessons", "copy", "4", "--watched"]).0, Some(0));
    let (code, said, _) = run(&folder, &["run", "lesson-04-watched.toml", "-q", "--replications", "1", "--dry-run"]);
    assert!(code == Some(0) && said.contains("539 ms") && said.contains("9.84 s"), "{said}");
}
