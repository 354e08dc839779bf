//! Runs with a trace: writes every request of a run to a file.

use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::results_dir::{Output, make_folder};
use crate::report::trace::Tracer;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::record::RunRecord;
use evenkeel_sim::sim::{Setup, Stopped, observe};

/// The name of a trace's file.
pub fn file_name(point: &str, label: &str, replication: u32) -> String {
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && !"_-.=".contains(c), "_");
    format!("{}.{}.{replication}.csv.gz", plain(point), plain(label))
}

/// Runs `setup` and writes every request to `path`, atomically.
pub fn run(
    scenario: &Scenario,
    setup: &Setup<'_>,
    interrupted: &dyn Fn() -> bool,
    path: &Path,
) -> Result<std::result::Result<RunRecord, Stopped>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let output = Output::create(path)?;
    let mut tracer = Tracer::new(&scenario.model, GzEncoder::new(output, Compression::fast()))?;
    let record = observe(setup, interrupted, &mut tracer);
    if record.is_err() {
        return Ok(record);
    }
    let failed = || format!("cannot write {}", path.display());
    tracer.finish().with_context(failed)?.finish().with_context(failed)?.finish()?;
    Ok(record)
}
