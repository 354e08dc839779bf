//! Putting a scenario's results on disk. Everything is made in memory first; each file is written beside its place and
//! moved there whole, the manifest last, so that a folder with a manifest is complete.

use std::path::Path;

use anyhow::{Context, Result};

use crate::report::Outcome;
use crate::report::charts;
use crate::report::files::{self, Machine, Provenance};

/// Where and how this program runs now.
pub fn provenance() -> Provenance {
    let arguments = std::env::args().skip(1).map(|argument| quote(&argument));
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("EVENKEEL_COMMIT").filter(|commit| !commit.is_empty()).map(str::to_owned),
        command: ["evenkeel".to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" "),
        machine: Machine {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        },
    }
}

/// As one would type it into a shell.
fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:%+".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// Writes a scenario's folder below `out`.
pub fn write(outcome: &Outcome<'_>, out: &Path, provenance: &Provenance) -> Result<()> {
    let mut all: Vec<(String, Vec<u8>)> = vec![
        ("metrics.csv".to_owned(), files::metrics(outcome)?),
        ("servers.csv".to_owned(), files::servers(outcome)?),
        ("timeseries.csv".to_owned(), files::timeseries(outcome)?),
        ("latency_cdf.csv".to_owned(), files::latency_cdf(outcome)?),
    ];
    for (name, svg) in charts::all(outcome) {
        let png = charts::png::from_svg(&svg).map_err(anyhow::Error::msg)?;
        all.push((format!("{name}.svg"), svg.into_bytes()));
        all.push((format!("{name}.png"), png));
    }
    all.push(("manifest.json".to_owned(), files::manifest(outcome, provenance)?));

    let folder = out.join(&outcome.scenario.name);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let manifest = folder.join("manifest.json");
    if manifest.exists() {
        std::fs::remove_file(&manifest).with_context(|| format!("cannot replace {}", manifest.display()))?;
    }
    for (name, content) in all {
        write_whole(&folder.join(name), &content)?;
    }
    Ok(())
}

/// Writes a file whole or not at all.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
        use std::io::Write;
        let mut file = tempfile::Builder::new().prefix(".evenkeel-").suffix(".partial").tempfile_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_data()?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Temporary files are private; results are as other new files.
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().with_context(|| format!("cannot write {}", path.display()))
}
