//! Gives the crate a hash of its own source: the WebAssembly module in git says with it, and with that of the simulator, which source
//! it was built from.

use std::path::PathBuf;

fn main() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir("src").into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for file in &files {
        for byte in std::fs::read(file).unwrap_or_default() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    println!("cargo:rerun-if-changed=src");
    println!("cargo:rustc-env=EVENKEEL_LAB_SOURCE={hash:016x}");
}
