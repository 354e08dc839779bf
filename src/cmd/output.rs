//! Putting a scenario's results on disk. Everything is made in memory first; each file is written beside its place and
//! moved there whole, the manifest last, so that a folder with a manifest is complete.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::store;
use super::study::Study;
use crate::report::Outcome;
use crate::report::charts;
use crate::report::files::{self, Machine, Provenance};

/// Its presence says that a folder is complete.
const MANIFEST: &str = "manifest.json";

/// Makes a table of outcomes.
type Table = fn(&[Outcome<'_>]) -> csv::Result<Vec<u8>>;

/// Every folder of results has these.
const TABLES: [(&str, Table); 7] = [
    ("metrics.csv", files::metrics),
    ("replications.csv", files::replications),
    ("comparison.csv", files::comparison),
    ("verdicts.csv", files::verdicts),
    ("servers.csv", files::servers),
    ("timeseries.csv", files::timeseries),
    ("latency_cdf.csv", files::latency_cdf),
];

/// Where and how a study is run now.
fn provenance(study: &Study) -> Provenance {
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("EVENKEEL_COMMIT").filter(|commit| !commit.is_empty()).map(str::to_owned),
        command: study.plan.settings.command(&study.plan.name),
        machine: Machine {
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        },
    }
}

/// Writes a study's folder below `out`.
pub fn write(study: &Study, outcomes: &[Outcome<'_>], out: &Path) -> Result<()> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, table) in TABLES {
        all.push((name.to_owned(), table(outcomes)?));
    }
    if let Some(pools) = files::timeseries_pools(outcomes)? {
        all.push(("timeseries_pools.csv".to_owned(), pools));
    }
    for (name, svg) in charts::all(outcomes) {
        let png = charts::png::from_svg(&svg).map_err(anyhow::Error::msg)?;
        all.push((format!("{name}.svg"), svg.into_bytes()));
        all.push((format!("{name}.png"), png));
    }
    let provenance = provenance(study);
    let manifest = files::manifest(outcomes, &study.skipped, &store::study_id(study), &provenance)?;

    let folder = out.join(study.folder());
    make_folder(&folder)?;
    let manifest_file = folder.join(MANIFEST);
    if manifest_file.exists() {
        std::fs::remove_file(&manifest_file).with_context(|| format!("cannot replace {}", manifest_file.display()))?;
    }
    all.push((MANIFEST.to_owned(), manifest));
    for (name, content) in all {
        write_whole(&folder.join(name), &content)?;
    }
    Ok(())
}

/// Whether the results of exactly this study are below `out`, complete.
pub fn is_complete(study: &Study, out: &Path) -> bool {
    let folder = out.join(study.folder());
    let manifest = std::fs::read(folder.join(MANIFEST)).ok();
    let value = manifest.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let same = value.is_some_and(|value| value["units"] == store::study_id(study).as_str());
    // Somebody may have tidied up.
    same && TABLES.iter().all(|(name, _)| folder.join(name).exists())
}

/// Makes a folder and those above it, where they are not there.
pub fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// As JSON, packed.
pub fn pack<T: serde::Serialize>(value: &T, level: Compression) -> Result<Vec<u8>> {
    // In one piece: the encoder clears its buffer at every write, and serde_json writes a few bytes at a time.
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(&serde_json::to_vec(value)?)?;
    Ok(encoder.finish()?)
}

/// Reads what [`pack`] wrote.
pub fn unpack<T: serde::de::DeserializeOwned>(file: std::fs::File) -> Result<T> {
    let mut text = Vec::new();
    GzDecoder::new(file).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Writes a file whole or not at all.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let attempt = || -> std::io::Result<()> {
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
