//! Runs that are watched: with a trace, which has every request of a run, and with a timeline, which is part of the results.

use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::results_dir::{Output, make_folder};
use crate::report::trace::Tracer;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::observer::Observer;
use evenkeel_sim::sim::record::RunRecord;
use evenkeel_sim::sim::timeline::Recorder;
use evenkeel_sim::sim::{Setup, Stopped, observe};

/// The name of a trace's file.
pub fn file_name(point: &str, label: &str, replication: u32) -> String {
    let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && !"_-.=".contains(c), "_");
    format!("{}.{}.{replication}.csv.gz", plain(point), plain(label))
}

/// Runs `setup` with an observer, which is returned, and with a recorder: the record has the run's timeline.
pub fn with_timeline<O: Observer>(
    setup: &Setup<'_>,
    interrupted: &dyn Fn() -> bool,
    observer: O,
) -> std::result::Result<(RunRecord, O), Stopped> {
    let mut both = (observer, Recorder::new(setup.model));
    let record = observe(setup, interrupted, &mut both)?;
    let (observer, recorder) = both;
    Ok((RunRecord { timeline: Some(recorder.finish()), ..record }, observer))
}

/// Runs `setup` and writes every request to `path`, atomically. The record has the run's timeline if it is `timed`.
pub fn run(
    scenario: &Scenario,
    setup: &Setup<'_>,
    interrupted: &dyn Fn() -> bool,
    path: &Path,
    timed: bool,
) -> Result<std::result::Result<RunRecord, Stopped>> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let output = Output::create(path)?;
    let mut tracer = Tracer::new(&scenario.model, GzEncoder::new(output, Compression::fast()))?;
    let record = if timed {
        with_timeline(setup, interrupted, tracer)
    } else {
        observe(setup, interrupted, &mut tracer).map(|record| (record, tracer))
    };
    let (record, tracer) = match record {
        Ok(both) => both,
        Err(stopped) => return Ok(Err(stopped)),
    };
    let failed = || format!("cannot write {}", path.display());
    tracer.finish().with_context(failed)?.finish().with_context(failed)?.finish()?;
    Ok(Ok(record))
}
