//! Gives the crate a hash of the source that decides what a run yields: this crate and those below it. Finished runs on
//! disk carry it in their names, so that a changed simulator never takes an old one's runs for its own, and a changed
//! chart or command keeps them.

use std::path::{Path, PathBuf};

/// The crates that decide a run's record, as paths from this one.
const CRATES: [&str; 4] = ["../config", "../core", "../sim", "../theory"];

fn main() {
    let lock = Path::new("../../Cargo.lock");
    let mut files: Vec<PathBuf> = if lock.exists() { vec![lock.to_owned()] } else { Vec::new() };
    for folder in CRATES {
        collect(&Path::new(folder).join("src"), &mut files);
    }
    // A crate from a registry stands alone: its version says all.
    files.sort();
    for file in &files {
        println!("cargo:rerun-if-changed={}", file.display());
    }
    for folder in CRATES {
        println!("cargo:rerun-if-changed={folder}/src");
    }
    println!("cargo:rustc-env=EVENKEEL_SOURCE={:016x}", hash(&files));
}

/// FNV-1a over the version, and over the names and texts of these files.
fn hash(files: &[PathBuf]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    add(std::env::var("CARGO_PKG_VERSION").unwrap_or_default().as_bytes());
    for file in files {
        add(file.to_string_lossy().replace('\\', "/").as_bytes());
        add(&std::fs::read(file).unwrap_or_default());
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
