//! Other simulators on the benchmark's model: programs in a folder beside evenkeel (`bench/peers` of the source), which depends
//! on none of them. Each runs in a process of its own, says what it did, and is checked like the loops; the time is that of
//! its simulation alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::super::Failure;
use super::reference::Done;

/// A simulator of another project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A Rust crate: boxed events in a heap.
    Desque,
    /// A Rust crate: models that exchange messages.
    Nexosim,
    /// A Python package: processes.
    Simpy,
}

impl Peer {
    /// In the order of the table.
    pub const ALL: [Peer; 3] = [Peer::Desque, Peer::Nexosim, Peer::Simpy];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Desque => "desque",
            Peer::Nexosim => "nexosim",
            Peer::Simpy => "simpy",
        }
    }

    /// Share of the requests of a run that it simulates: a slow one would hold up all others.
    pub fn share(self) -> f64 {
        match self {
            Peer::Desque | Peer::Nexosim => 1.0,
            Peer::Simpy => 0.1,
        }
    }

    /// Runs so many requests: what was done, and the nanoseconds that it took. The error says how to install it.
    pub fn run(self, folder: &Path, servers: u32, requests: u64, seed: u64) -> Result<(Done, u64), Failure> {
        let numbers = [u64::from(servers), requests, seed].map(|number| number.to_string());
        let mut command = match self {
            Peer::Desque | Peer::Nexosim => {
                let mut command = Command::new(program(folder));
                command.arg(self.name());
                command
            }
            Peer::Simpy => {
                let mut command = Command::new("python3");
                command.arg(folder.join("simpy_p2c.py"));
                command
            }
        };
        let output = command.args(numbers).output().map_err(|error| self.missing(folder, &error.to_string()))?;
        let found: Value = serde_json::from_slice(&output.stdout)
            .map_err(|_| self.missing(folder, String::from_utf8_lossy(&output.stderr).trim()))?;
        let number = |field: &str| found[field].as_f64().unwrap_or(0.0);
        let done = Done {
            requests: number("requests") as u64,
            sojourn: number("sojourn"),
            utilisation: number("utilisation"),
        };
        Ok((done, number("nanos") as u64))
    }

    fn missing(self, folder: &Path, why: &str) -> Failure {
        let how = match self {
            Peer::Desque | Peer::Nexosim => {
                format!("cargo build --release --manifest-path {}/Cargo.toml", folder.display())
            }
            Peer::Simpy => "pip install simpy".to_owned(),
        };
        Failure::Usage(format!("{} is not installed: {}\n  help: {how}", self.name(), why.lines().last().unwrap_or("")))
    }
}

fn program(folder: &Path) -> PathBuf {
    folder.join("target/release/evenkeel-peers").with_extension(std::env::consts::EXE_EXTENSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_not_installed_says_how_to_install_it() {
        let folder = tempfile::tempdir().unwrap();
        for (peer, how) in [(Peer::Desque, "cargo build --release"), (Peer::Simpy, "pip install simpy")] {
            let Err(Failure::Usage(text)) = peer.run(folder.path(), 10, 1000, 1) else { panic!("it ran") };
            assert!(text.contains("is not installed") && text.contains(how), "{text}");
        }
    }
}
