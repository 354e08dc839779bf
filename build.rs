//! Tells the program which commit it was built from, where that is known, and a hash of its own source. Results carry the
//! first in their manifest; finished runs on disk carry the second in their names, so that a changed program never takes
//! an old one's runs for its own.

use std::path::{Path, PathBuf};
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
    println!("cargo:rustc-env=EVENKEEL_SOURCE={:016x}", source_hash());
    for path in [".git/HEAD", ".git/logs/HEAD", "src", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
}

/// FNV-1a over the names and texts of all source files in order of their names, and over the versions of what they use.
fn source_hash() -> u64 {
    let mut files = vec![PathBuf::from("Cargo.lock")];
    collect(Path::new("src"), &mut files);
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in files {
        let name = file.to_string_lossy().replace('\\', "/");
        let text = std::fs::read(&file).unwrap_or_default();
        for byte in name.bytes().chain(text) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
