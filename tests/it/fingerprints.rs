//! Golden picks: those of the shipped scenarios in `scenarios/fingerprints`. A change of a selector's behaviour, of
//! the engine or of the generators fails here, and is accepted with `evenkeel check --update`.

use std::process::Output;

use crate::support::{Folder, SOUND, evenkeel, root, text};

/// `cargo test` reports a regression as `evenkeel check` does: the strategy, and the first decision that differs.
#[test]
fn the_shipped_scenarios_hold() {
    let output = evenkeel().args(["check", "--quiet"]).arg(root().join("scenarios")).output().unwrap();
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}{}", text(&output.stderr));
    assert!(!out.contains("no golden picks"), "write them with `evenkeel check --update`:\n{out}");
    let pinned = out.lines().filter(|line| line.contains("match the golden picks")).count();
    let scenarios = std::fs::read_dir(root().join("scenarios")).unwrap().flatten();
    let scenarios = scenarios.filter(|entry| entry.path().extension().is_some_and(|ending| ending == "toml")).count();
    assert_eq!(pinned, scenarios, "{out}");
}

/// Two strategies of which one will be edited.
fn two_under_test(choices: u32) -> String {
    let variants = format!(
        "[[variants]]\nname = \"steady\"\nstrategy = \"round_robin\"\n\
         [[variants]]\nname = \"edited\"\nstrategy = {{ p2c = {{ choices = {choices} }} }}\n"
    );
    SOUND.replace("strategies = [\"random\", \"p2c\"]\n", "") + &variants
}

fn check(arguments: &[&str], file: &std::path::Path) -> (Option<i32>, String, Output) {
    let output = evenkeel().arg("check").arg(file).args(arguments).output().unwrap();
    (output.status.code(), text(&output.stdout), output)
}

#[test]
fn a_change_is_explained_and_accepted() {
    let folder = Folder::new();
    let file = folder.file("two.toml", &two_under_test(2));
    let (code, out, _) = check(&[], &file);
    assert_eq!(code, Some(0));
    assert!(out.contains("no golden picks") && out.contains("--update"), "{out}");
    let (code, out, _) = check(&["--update"], &file);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("two: golden picks written for the first time"), "{out}");
    let (code, out, _) = check(&[], &file);
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains("picks of 2 strategies match the golden picks") && out.contains("1 of 1 checks hold"),
        "{out}"
    );

    // The selector behind `edited` now looks at three.
    folder.file("two.toml", &two_under_test(3));
    let (code, out, _) = check(&[], &file);
    assert_eq!(code, Some(1), "{out}");
    for expected in ["FAILS", "edited picks differ from decision", "in flight", "golden", "now", "--update"] {
        assert!(out.contains(expected), "{expected:?} is missing:\n{out}");
    }
    assert!(out.contains("picks of 1 strategy match the golden picks"), "{out}");

    // The same for machines: the decision is one of the first, and its two picks are servers that it saw.
    let (code, out, _) = check(&["--json"], &file);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    let first = &json["changes"][0]["first"];
    assert_eq!(json["changes"][0]["strategy"], "edited");
    assert!(first["decision"].as_u64().unwrap() < 100, "{first}");
    let servers: Vec<&str> =
        first["backends"].as_array().unwrap().iter().map(|backend| backend["server"].as_str().unwrap()).collect();
    assert_eq!(servers.len(), 10);
    let (old, new) = (first["golden"].as_str().unwrap(), first["now"].as_str().unwrap());
    assert!(servers.contains(&old) && servers.contains(&new) && old != new, "{first}");
    assert!(first["time_s"].as_f64().unwrap() > 0.0 && first["request"].as_u64().is_some(), "{first}");

    let (code, out, _) = check(&["--update"], &file);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("strategies updated"), "{out}");
    assert_eq!(check(&[], &file).0, Some(0));

    // A damaged file is an error, not a change of picks.
    folder.file("fingerprints/p2c.csv", "scenario,label\n");
    let (code, _, output) = check(&[], &file);
    assert_eq!(code, Some(2));
    assert!(text(&output.stderr).contains("not a valid file of golden picks"), "{}", text(&output.stderr));
}
