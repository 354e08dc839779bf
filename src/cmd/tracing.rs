//! Running with a trace: every request of a run in a file.

use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::output::make_folder;
use crate::report::trace::Tracer;
use crate::scenario::Scenario;
use crate::sim::record::RunRecord;
use crate::sim::{Setup, Stopped, observe};

/// The name of a trace's file.
pub fn file_name(point: &str, label: &str, replication: u32) -> String {
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && !"_-.=".contains(c), "_");
    format!("{}.{}.{replication}.csv.gz", plain(point), plain(label))
}

/// Runs `setup` and writes every request to `path`. The file is put in its place whole.
pub fn run(
    scenario: &Scenario,
    setup: &Setup<'_>,
    interrupted: &dyn Fn() -> bool,
    path: &Path,
) -> Result<std::result::Result<RunRecord, Stopped>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let partial = path.with_extension("partial");
    let file = std::fs::File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let mut tracer = Tracer::new(&scenario.model, GzEncoder::new(BufWriter::new(file), Compression::fast()))?;
    let record = observe(setup, interrupted, &mut tracer);
    let failed = || format!("cannot write {}", path.display());
    if record.is_err() {
        std::fs::remove_file(&partial).with_context(failed)?;
        return Ok(record);
    }
    let mut file = tracer.finish().with_context(failed)?.finish().with_context(failed)?;
    std::io::Write::flush(&mut file).with_context(failed)?;
    std::fs::rename(&partial, path).with_context(failed)?;
    Ok(record)
}
