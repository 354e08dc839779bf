//! Embeds the scenarios and the lessons in the binary, and tells a release build which commit it was made from; `--version` and the
//! manifests of results name it. A debug build does not know its commit, so that a commit recompiles nothing.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    embed_scenarios();
    embed_lessons();
    name_version();
}

/// Writes the tables that `src/cmd/embedded.rs` includes: every scenario, and the data files that scenarios refer to.
fn embed_scenarios() {
    println!("cargo:rerun-if-changed=scenarios");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("scenarios");
    let mut scenarios = String::new();
    let mut data = String::new();
    for path in sorted(&root) {
        let name = |path: &Path| path.strip_prefix(&root).expect("it is below").display().to_string();
        if path.is_dir() {
            // The golden picks are of use to `check` only where the scenarios are developed.
            let files = sorted(&path).into_iter().filter(|file| !path.ends_with("fingerprints") && is(file, "csv"));
            for file in files {
                writeln!(data, "    ({:?}, include_str!({:?})),", name(&file), file.display().to_string()).unwrap();
            }
        } else if is(&path, "toml") {
            let stem = name(&path.with_extension(""));
            let file = path.display().to_string();
            writeln!(scenarios, "    Embedded {{ name: {stem:?}, source: include_str!({file:?}) }},").unwrap();
        }
    }
    let table =
        format!("const SCENARIOS: &[Embedded] = &[\n{scenarios}];\nconst DATA: &[(&str, &str)] = &[\n{data}];\n");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("scenarios.rs");
    std::fs::write(&out, table).expect("cargo's folder can be written");
}

/// Writes the table of lessons that `src/cmd/embedded.rs` includes, in their order.
fn embed_lessons() {
    println!("cargo:rerun-if-changed=lessons");
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("lessons");
    let mut lessons = String::new();
    for path in sorted(&root).into_iter().filter(|path| is(path, "toml")) {
        let stem = path.file_stem().expect("it is a file").to_string_lossy().into_owned();
        let file = path.display().to_string();
        writeln!(lessons, "    Embedded {{ name: {stem:?}, source: include_str!({file:?}) }},").unwrap();
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it")).join("lessons.rs");
    std::fs::write(&out, format!("const LESSONS: &[Embedded] = &[\n{lessons}];\n"))
        .expect("cargo's folder can be written");
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    paths
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|its| its == extension)
}

/// Sets what `--version` prints, and the commit of a release build.
fn name_version() {
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        println!("cargo:rustc-env=EVENKEEL_VERSION={version} (debug build)");
        return;
    }
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        println!("cargo:rustc-env=EVENKEEL_VERSION={version}");
        return;
    };
    let sources = ["status", "--porcelain", "--untracked-files=no", "--", "src", "crates", "Cargo.toml", "Cargo.lock"];
    let changed = git(&sources).is_some_and(|list| !list.is_empty());
    let commit = format!("{commit}{}", if changed { "+changes" } else { "" });
    println!("cargo:rustc-env=EVENKEEL_COMMIT={commit}");
    println!("cargo:rustc-env=EVENKEEL_VERSION={version} ({commit})");
}
