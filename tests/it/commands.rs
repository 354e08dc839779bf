//! The commands that need no files: embedded scenarios, `init`, completions, man pages, sets of strategies.

use assert_cmd::Command;

use crate::support::{Folder, SOUND, evenkeel, root, text};

/// The command in a folder of its own, where nothing of the repository is.
fn elsewhere(folder: &Folder) -> Command {
    let mut command = evenkeel();
    command.current_dir(folder.path()).env_remove("EVENKEEL_OUT");
    command
}

fn lines_fit(shown: &str, columns: usize) {
    for line in shown.lines() {
        assert!(line.chars().count() <= columns, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn an_embedded_scenario_runs_from_anywhere_by_its_name() {
    let folder = Folder::new();
    let run = |arguments: &[&str]| {
        let output = elsewhere(&folder).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let quick = ["--quick", "--replications", "2", "--strategies", "p2c"];
    run(&[&["run", "unlike-servers", "--out", "."], &quick[..]].concat());
    let manifest = std::fs::read_to_string(folder.path().join("unlike-servers/manifest.json")).unwrap();
    // A folder of results has the scenario's name now, and is not taken for scenarios.
    run(&[&["run", "unlike-servers", "--out", "."], &quick[..]].concat());
    // The same bytes as from the repository's file.
    let file = root().join("scenarios/unlike-servers.toml");
    run(&[&["run", file.to_str().unwrap(), "--out", "other"], &quick[..]].concat());
    assert_eq!(std::fs::read_to_string(folder.path().join("other/unlike-servers/manifest.json")).unwrap(), manifest);
    // One with a data file.
    let json = run(&["run", "replayed-log", "--dry-run", "--json", "--quick", "--strategies", "random"]);
    assert!(json.contains("\"scenario\":\"replayed-log\""), "{json}");
    let swept = run(&[
        "sweep",
        "even-load",
        "--dry-run",
        "--quick",
        "--strategies",
        "random",
        "--replications",
        "1",
        "--vary",
        "arrivals.poisson.load=50%,60%",
    ]);
    assert!(swept.contains("load=60%"), "{swept}");
}

#[test]
fn a_file_takes_precedence_over_an_embedded_scenario() {
    let folder = Folder::new();
    folder.file("slow-server", SOUND);
    let output = elsewhere(&folder).args(["run", "slow-server", "--dry-run"]).output().unwrap();
    assert!(text(&output.stdout).contains("Sound"), "{}", text(&output.stderr));
}

#[test]
fn names_that_no_scenario_has_get_a_way_out() {
    let folder = Folder::new();
    for (arguments, message, help) in [
        (vec!["run", "slow-sever"], "there is no file or folder `slow-sever`", "did you mean `slow-server`?"),
        (vec!["check", "scenarios/crash.toml"], "`scenarios/crash.toml`", "the embedded scenario is `crash`"),
        (vec!["sweep", "qqqq"], "there is no file or folder `qqqq`", "evenkeel scenarios list"),
        (vec!["twin", "hedgin"], "`hedgin`", "did you mean `hedging`?"),
        (vec!["load", "http://127.0.0.1:1", "--scenario", "crahs"], "`crahs`", "did you mean `crash`?"),
        (vec!["proxy", "--demo", "crahs"], "`crahs`", "did you mean `crash`?"),
        (vec!["scenarios", "show", "slow-sever"], "no embedded scenario `slow-sever`", "did you mean `slow-server`?"),
        (vec!["scenarios", "copy", "slow-sever"], "no embedded scenario `slow-sever`", "did you mean `slow-server`?"),
        (vec!["scenarios", "copy", "--all", "a", "b"], "--all and no name", ""),
        (vec!["scenarios", "copy"], "required", ""),
        (vec!["check", "crash", "--update", "--strategies"], "a value is required", ""),
        (vec!["completions", "csh"], "possible values: bash", ""),
    ] {
        let output = elsewhere(&folder).args(&arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(message) && said.contains(help), "{arguments:?}: {said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
}

#[test]
fn embedded_scenarios_are_listed_shown_and_copied() {
    let folder = Folder::new();
    let run = |arguments: &[&str]| {
        let output = elsewhere(&folder).args(arguments).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, listed, _) = run(&["scenarios", "list"]);
    assert_eq!(code, Some(0));
    lines_fit(&listed, 80);
    let original = std::fs::read_to_string(root().join("scenarios/slow-server.toml")).unwrap();
    assert!(listed.contains(" slow-server ") && listed.contains("A server slows down"), "{listed}");
    let (_, json, _) = run(&["scenarios", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(json.as_array().unwrap().len() > 40);
    assert!(json.as_array().unwrap().iter().any(|row| row["name"] == "slow-server"));
    let (_, shown, _) = run(&["scenarios", "show", "slow-server"]);
    assert_eq!(shown.trim_end(), original.trim_end());

    let (code, said, _) = run(&["scenarios", "copy", "replayed-log", "mine"]);
    assert_eq!(code, Some(0));
    assert!(said.contains("mine/replayed-log.toml") && said.contains("mine/logs/shop.workload.csv"), "{said}");
    let copied = std::fs::read(folder.path().join("mine/logs/shop.workload.csv")).unwrap();
    assert!(copied == std::fs::read(root().join("scenarios/logs/shop.workload.csv")).unwrap());
    // Nothing is overwritten unless asked; then all is.
    std::fs::write(folder.path().join("mine/replayed-log.toml"), "changed").unwrap();
    let (code, _, said) = run(&["scenarios", "copy", "replayed-log", "mine"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("`mine/replayed-log.toml` exists") && said.contains("--force"), "{said}");
    assert_eq!(std::fs::read_to_string(folder.path().join("mine/replayed-log.toml")).unwrap(), "changed");
    assert_eq!(run(&["scenarios", "copy", "replayed-log", "mine", "--force"]).0, Some(0));
    assert!(std::fs::read_to_string(folder.path().join("mine/replayed-log.toml")).unwrap().contains("title"));
    let (code, said, _) = run(&["scenarios", "copy", "--all", "all"]);
    assert_eq!(code, Some(0));
    assert_eq!(said.lines().count(), json.as_array().unwrap().len() + 1, "and one data file: {said}");
}

#[test]
fn golden_picks_of_embedded_scenarios_are_neither_compared_nor_written() {
    let folder = Folder::new();
    let output = elsewhere(&folder).args(["check", "mixed-costs", "--update"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("evenkeel scenarios copy mixed-costs"), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// What a new user does first: `init`, and each of the three commands that it prints.
#[test]
fn what_init_writes_runs_as_it_is() {
    let folder = Folder::new();
    let output = elsewhere(&folder).args(["init", "my fleet"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    lines_fit(&said, 80);
    let commands: Vec<&str> = said.lines().filter_map(|line| line.trim().strip_prefix("evenkeel ")).collect();
    assert_eq!(commands.len(), 3, "{said}");
    for command in commands {
        let arguments: Vec<String> = command
            .replace("'my fleet/", "'my+fleet/")
            .split(' ')
            .map(|word| word.trim_matches('\'').replace("my+fleet", "my fleet"))
            .collect();
        let mut run = elsewhere(&folder);
        run.args(&arguments);
        if arguments[0] != "proxy" {
            run.args(["--strategies", "random,p2c", "--replications", "1", "--quiet"]);
        }
        let output = run.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
    }
    let before = std::fs::read_to_string(folder.path().join("my fleet/fleet.toml")).unwrap();
    std::fs::remove_file(folder.path().join("my fleet/fleet.toml")).unwrap();
    let output = elsewhere(&folder).args(["init", "my fleet"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "proxy.toml is still there");
    assert!(text(&output.stderr).contains("proxy.toml` exists"), "{}", text(&output.stderr));
    assert!(!folder.path().join("my fleet/fleet.toml").exists(), "all or nothing");
    assert!(before.contains("YOURS"));
}

#[test]
fn sets_of_strategies_go_where_lists_do() {
    let folder = Folder::new();
    let labels = |source: &str, arguments: &[&str]| -> Vec<String> {
        let file = folder.file("sets.toml", source);
        let mut command = evenkeel();
        command.arg("run").arg(&file).args(["--json", "--dry-run", "--replications", "1"]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        value["strategies"].as_array().unwrap().iter().map(|s| s["strategy"].as_str().unwrap().to_owned()).collect()
    };
    let catalogue = evenkeel::select::catalog::CATALOGUE.len();
    let core = labels(&SOUND.replace("[\"random\", \"p2c\"]", "\"core\""), &[]);
    assert_eq!(core.len(), 12, "{core:?}");
    assert!(core.contains(&"p2c".to_owned()) && core.contains(&"oracle_least_work".to_owned()), "{core:?}");
    assert_eq!(labels(&SOUND.replace("[\"random\", \"p2c\"]", "\"all\""), &[]).len(), catalogue);
    assert_eq!(labels(SOUND, &["--strategies", "core"]), core);
    assert_eq!(labels(SOUND, &["--strategies", "core,p2c,edf"]).len(), core.len() + 1, "p2c is there once");
    assert_eq!(labels(SOUND, &["--strategies", "all"]).len(), catalogue);
    let variant = "\"core\"\nvariants = [{ name = \"three\", strategy = { p2c = { choices = 3 } } }]";
    assert_eq!(labels(&SOUND.replace("[\"random\", \"p2c\"]", variant), &[]).len(), 13);

    for (written, said) in [
        ("\"cor\"", "there is no set of strategies `cor`"),
        ("\"p2c\"", "a list such as [\"random\", \"p2c\"]"),
        ("5", "\"core\""),
        ("[\"core\"]", "there is no strategy `core`"),
        ("\"core\"\nvariants = [{ name = \"p2c\", strategy = \"random\" }]", "`p2c` is listed twice"),
    ] {
        let file = folder.file("bad.toml", &SOUND.replace("[\"random\", \"p2c\"]", written));
        let output = evenkeel().arg("run").arg(&file).args(["--dry-run"]).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{written}: {message}");
        assert!(message.contains(said) && message.contains("bad.toml:"), "{written}: {message}");
    }
}

#[test]
fn lists_fit_eighty_columns_in_a_pipe_and_break_no_name() {
    let list = text(&evenkeel().arg("list").output().unwrap().stdout);
    lines_fit(&list, 80);
    for row in evenkeel::select::catalog::CATALOGUE {
        assert!(list.lines().any(|line| line.split_whitespace().next() == Some(row.name)), "{}:\n{list}", row.name);
    }
    for row in evenkeel::select::catalog::CATALOGUE {
        lines_fit(&text(&evenkeel().args(["explain", row.name]).output().unwrap().stdout), 100);
    }
}

#[test]
fn completions_and_man_pages_know_every_command() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = elsewhere(&folder).args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = text(&output.stdout);
        for word in ["test-server", "scenarios", "expect-no-errors"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let output = elsewhere(&folder).args(["man", "man/man1"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for page in ["evenkeel", "evenkeel-run", "evenkeel-bench-picks", "evenkeel-scenarios-copy"] {
        let page = std::fs::read_to_string(folder.path().join(format!("man/man1/{page}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains("Example"), "{page}");
    }
    let blocked = folder.file("file", "");
    let output = elsewhere(&folder).arg("man").arg(&blocked).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
}

#[test]
fn the_version_says_which_build_it_is() {
    let output = evenkeel().arg("--version").output().unwrap();
    let version = text(&output.stdout);
    let expected = if cfg!(debug_assertions) { "(debug build)" } else { " (" };
    assert!(version.starts_with(&format!("evenkeel {}", env!("CARGO_PKG_VERSION"))), "{version}");
    assert!(version.contains(expected), "{version}");
}
