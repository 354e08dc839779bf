//! Tells the program which commit it was built from, where that is known. Results carry it in their manifest.

use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.toml", "Cargo.lock"]);
        let mark = if changed.is_some_and(|list| !list.is_empty()) { "+changes" } else { "" };
        println!("cargo:rustc-env=EVENKEEL_COMMIT={commit}{mark}");
    }
    for path in [".git/HEAD", ".git/logs/HEAD", "src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
