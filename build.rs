//! Tells a release build which commit it was made from; `--version` and the manifests of results name it. A debug build
//! does not know its commit, so that a commit does not make cargo compile anything anew while one develops.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
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
