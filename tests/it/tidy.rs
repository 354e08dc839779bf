//! Checks of the repository itself: import direction, unfinished code, scenarios, results, file sizes.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::support::root;

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All source files of the workspace.
fn sources() -> Vec<PathBuf> {
    let mut found = files(&root().join("src"), "rs");
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        found.extend(files(&entry.unwrap().path().join("src"), "rs"));
    }
    found
}

/// The modules of the crates that have several, each with the modules of its own crate that it may import. Which crate may
/// import which is in their `Cargo.toml`.
const MAY_IMPORT: [(&str, &str, &[&str]); 13] = [
    ("crates/core/src", "units", &[]),
    ("crates/core/src", "math", &[]),
    ("crates/core/src", "rng", &[]),
    ("crates/core/src", "fleet", &["rng"]),
    ("crates/core/src", "select", &["units", "rng", "math", "fleet"]),
    ("crates/core/src", "policy", &["units", "rng", "math", "fleet", "select"]),
    ("crates/core/src", "picker", &["units", "rng", "fleet", "select"]),
    ("crates/sim/src", "sim", &[]),
    ("crates/sim/src", "scenario", &["sim"]),
    ("crates/sim/src", "measure", &["sim", "scenario"]),
    ("crates/sim/src", "lesson", &["sim", "scenario", "measure"]),
    ("src", "report", &[]),
    ("src", "cmd", &["report"]),
];

#[test]
fn imports_run_one_way() {
    for folder in ["crates/core/src", "crates/sim/src", "src"] {
        let source = root().join(folder);
        for file in files(&source, "rs") {
            let relative = file.strip_prefix(&source).unwrap();
            let module =
                relative.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned();
            if matches!(module.as_str(), "lib" | "main") {
                continue;
            }
            let (.., allowed) =
                MAY_IMPORT.iter().find(|(at, name, _)| *at == folder && *name == module).unwrap_or_else(|| {
                    panic!("{} is in no known module: add it to this table", file.display());
                });
            let text = std::fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap();
                for piece in code.split("crate::").skip(1) {
                    let target: String = piece.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    let known = MAY_IMPORT.iter().any(|(at, name, _)| *at == folder && *name == target);
                    assert!(
                        !known || target == module || allowed.contains(&target.as_str()),
                        "{}:{}: `{module}` must not import `{target}`",
                        file.display(),
                        number + 1
                    );
                }
            }
        }
    }
}

/// Theory cannot agree with the simulator by sharing its mistakes: it has the arithmetic, and nothing else, in common.
#[test]
fn theory_shares_arithmetic_only() {
    for file in files(&root().join("crates/theory/src"), "rs") {
        let text = std::fs::read_to_string(&file).unwrap();
        for piece in text.split("evenkeel_core::").skip(1) {
            assert!(piece.starts_with("math"), "{}: evenkeel_core::{}", file.display(), &piece[..20]);
        }
        for line in text.lines().filter(|line| line.starts_with("use evenkeel_")) {
            assert!(line.starts_with("use evenkeel_core::math"), "{}: {line}", file.display());
        }
    }
}

#[test]
fn pure_crates_know_no_clock_no_thread_and_no_entropy() {
    for name in ["core", "config", "theory", "sim"] {
        let folder = root().join("crates").join(name);
        for file in files(&folder.join("src"), "rs") {
            let text = std::fs::read_to_string(&file).unwrap();
            for banned in
                ["std::time", "std::thread", "std::fs", "std::net::Tcp", "std::env", "rayon", "getrandom", "println!"]
            {
                assert!(!text.contains(banned), "{}: {banned}", file.display());
            }
        }
        let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        for banned in ["tokio", "rayon", "getrandom", "ctrlc", "indicatif"] {
            assert!(!dependencies.contains(banned), "{name}: {banned}");
        }
    }
}

/// Words that mark unfinished code.
#[test]
fn no_stubs() {
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        for banned in ["todo!", "unimplemented!", "FIXME", "TODO", "XXX", "dbg!"] {
            assert!(!text.contains(banned), "{}: {banned}", file.display());
        }
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//!"), "{}: a file opens with what it is", file.display());
    }
}

/// These panic where standard output or standard error is closed or full: `cmd` has functions that do not.
#[test]
fn no_print_macros() {
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        for banned in ["eprintln!", "println!", "eprint!", " print!", "dbg!"] {
            assert!(!text.contains(banned), "{}: {banned}", file.display());
        }
    }
}

#[test]
fn every_scenario_asks_expects_and_has_its_reference_results() {
    let scenarios = files(&root().join("scenarios"), "toml");
    assert!(scenarios.len() >= 10);
    for file in scenarios {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(text.contains("question = \"\"\"\n"), "{name}: no prose");
        assert!(text.contains("?\n\"\"\"\n"), "{name}: a question ends with a question mark");
        assert!(text.contains("answer = \"\"\"\n"), "{name}: no answer");
        assert!(text.contains("[[expect]]"), "{name}: nothing is expected");
        let results = root().join("results").join(&name);
        for part in ["metrics.csv", "comparison.csv", "verdicts.csv", "manifest.json", "latency.svg"] {
            assert!(results.join(part).exists(), "{name}: the reference run has no {part}");
        }
    }
}

/// The results in the repository are of the scenarios in the repository.
#[test]
fn reference_results_are_of_these_scenarios() {
    for file in files(&root().join("scenarios"), "toml") {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let source = std::fs::read_to_string(&file).unwrap();
        let beside =
            |other: &str| std::fs::read_to_string(file.parent().unwrap().join(other)).map_err(|e| e.to_string());
        let scenario = evenkeel::scenario::Scenario::parse(&name, &source, &beside).unwrap();
        let manifest = std::fs::read(root().join("results").join(&name).join("manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(
            manifest["scenario_sha256"],
            scenario.hash.as_str(),
            "{name}: run `cargo run --release -- run scenarios`"
        );
    }
}

/// Every file in `results/` has the hash that its manifest gives. Of the tables, those that other tables sum up are not kept.
#[test]
fn reference_results_are_those_of_their_manifests() {
    let ignored = std::fs::read_to_string(root().join(".gitignore")).unwrap();
    for folder in std::fs::read_dir(root().join("results")).unwrap().map(|entry| entry.unwrap().path()) {
        // A run that was interrupted has none.
        let Ok(manifest) = std::fs::read(folder.join("manifest.json")) else { continue };
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let written = manifest["files"].as_object().unwrap();
        for (name, hash) in written {
            let path = folder.join(name);
            let kept = !ignored.lines().any(|line| line == format!("/results/*/{name}"));
            assert!(path.exists() || !kept, "{} is missing", path.display());
            if path.exists() {
                let found = evenkeel::units::hex(&Sha256::digest(std::fs::read(&path).unwrap()));
                assert_eq!(*hash, found, "{} is not the file that the manifest names", path.display());
            }
        }
        for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
        {
            let name = file.file_name().unwrap().to_string_lossy();
            assert!(
                written.contains_key(&*name) || ["manifest.json", "report.html"].contains(&&*name),
                "{}: {name}",
                folder.display()
            );
        }
    }
}

/// One small file per strategy: a new strategy changes its own file, and a change of all of them is not half a megabyte.
#[test]
fn golden_picks_are_small_and_kept_per_strategy() {
    let mut total = 0;
    for file in files(&root().join("scenarios/fingerprints"), "csv") {
        total += std::fs::metadata(&file).unwrap().len();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(name == "scenarios" || evenkeel::select::catalog::find(&name).is_some(), "{}", file.display());
    }
    assert!(total < 500_000, "{total} bytes of golden picks");
}

/// The most lines of a file, and of a function, that one can live in.
const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Files and functions that are longer, each with its length. The list may only shrink: an entry that is not needed fails,
/// and so does one that could be smaller.
const LONG_FILES: [(&str, usize); 1] = [("crates/core/src/policy/outlier.rs", 609)];
const LONG_FUNCTIONS: [(&str, &str, usize); 10] = [
    ("crates/sim/src/measure/validation/recursion.rs", "cases", 71),
    ("crates/sim/src/sim/engine/setup.rs", "new", 107),
    ("crates/sim/src/sim/engine/dispatch.rs", "place_job", 78),
    ("crates/proxy/src/framing/chunk.rs", "chunk", 89),
    ("crates/sim/src/sim/replay.rs", "play", 84),
    ("crates/sim/src/sim/engine/setup.rs", "build_pools", 80),
    (
        "crates/proxy/src/framing/tests.rs",
        "the_first_byte_that_cannot_be_read_in_one_way_is_found_wherever_it_stands",
        82,
    ),
    ("crates/proxy/src/metrics/page.rs", "the_page_says_what_was_counted", 76),
    ("src/report/charts/cache_balance.rs", "cache_balance", 74),
    ("crates/proxy/src/pool/attempts.rs", "hedged", 71),
];

/// The functions of formatted source, with their lengths: a body ends where a bracket closes at the indentation of its `fn`.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = &line[..line.len() - code.len()];
        let mut words = code
            .split_whitespace()
            .skip_while(|word| matches!(*word, "pub" | "const" | "async" | "unsafe") || word.starts_with("pub("));
        if words.next() != Some("fn") || code.ends_with([';', '}']) {
            continue;
        }
        let name = words.next().unwrap_or_default();
        let name = name.split(['(', '<']).next().unwrap_or_default().to_owned();
        let end = format!("{indent}}}");
        // A declaration in a trait has no body; its arguments may stand on several lines.
        let declared = format!("{indent})");
        let last = lines[start..]
            .iter()
            .position(|line| **line == end || (line.starts_with(&declared) && line.ends_with(';')));
        if let Some(length) = last.filter(|&length| lines[start + length] == end) {
            found.push((name, length + 1));
        }
    }
    found
}

#[test]
fn files_and_functions_are_short() {
    let (mut problems, mut long_files, mut long_functions) = (Vec::new(), Vec::new(), Vec::new());
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        let lines = text.lines().count();
        if lines > FILE_LINES {
            long_files.push((name.clone(), lines));
        }
        for (function, lines) in functions(&text) {
            if lines > FUNCTION_LINES {
                long_functions.push((name.clone(), function, lines));
            }
        }
    }
    for (file, lines) in &long_files {
        let known = LONG_FILES.iter().any(|(name, most)| name == file && most >= lines);
        if !known {
            problems.push(format!("{file} has {lines} lines; the most is {FILE_LINES}: divide it by what it owns"));
        }
    }
    for (file, function, lines) in &long_functions {
        let known = LONG_FUNCTIONS.iter().any(|(at, name, most)| at == file && name == function && most >= lines);
        if !known {
            problems.push(format!("{file}: `{function}` has {lines} lines; the most is {FUNCTION_LINES}"));
        }
    }
    for (file, most) in LONG_FILES {
        if !long_files.iter().any(|(name, lines)| name == file && *lines == most) {
            problems.push(format!("{file} no longer has {most} lines: shorten or remove its exception"));
        }
    }
    for (file, function, most) in LONG_FUNCTIONS {
        if !long_functions.iter().any(|(at, name, lines)| at == file && name == function && *lines == most) {
            problems.push(format!("{file}: `{function}` no longer has {most} lines: shorten or remove its exception"));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Words that make a reader stop: archaic, poetic, or our own where the field has a term. Each with what to write instead.
const BANNED: [(&str, &str); 14] = [
    ("by lot", "at random"),
    ("by turns", "round robin"),
    ("whoever", "who, or name the role"),
    ("somebody", "a client, a server, a caller"),
    ("heed", "apply"),
    ("anew", "again"),
    ("dear requests", "expensive requests"),
    ("the books", "invariants"),
    ("contestant", "variant"),
    ("pinned picks", "golden picks"),
    ("as in life", "as in production"),
    ("luck", "randomness, random stream"),
    ("law of duration", "distribution"),
    ("nobody is left", "no server is eligible"),
];

/// Comments, messages and documents use the field's words. Names of random streams are part of the results and stay.
#[test]
fn plain_words() {
    let mut texts = sources();
    texts.extend(files(&root().join("docs"), "md"));
    texts.extend(files(&root().join("scenarios"), "toml"));
    texts.extend(files(&root().join("lessons"), "toml"));
    texts.push(root().join("README.md"));
    let mut problems = Vec::new();
    for file in texts {
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let lower = line.to_lowercase();
            for (word, better) in BANNED {
                let stream = word == "luck" && lower.contains('"');
                let found = lower.match_indices(word).any(|(at, _)| {
                    let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
                    boundary(lower[..at].chars().next_back()) && boundary(lower[at + word.len()..].chars().next())
                });
                if found && !stream {
                    problems.push(format!("{}:{}: `{word}`: {better}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
