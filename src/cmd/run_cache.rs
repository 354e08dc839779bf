//! Finished runs on disk. A file is named by the run's hash ([`super::run_id`]), so a run that is found is not repeated,
//! whichever command wrote it. Runs are deleted when their scenario's results are written, unless `--keep-runs` or `--shard`
//! is given.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;

use super::experiment::{Experiment, Plan};
use super::results_dir::{self, pack, unpack};
use evenkeel_sim::sim::record::RunRecord;

/// The folder of finished runs in a folder of results.
const RUNS: &str = "runs";
/// File name of the plan.
const PLAN: &str = "plan.json.gz";

/// Fast compression: runs are written often and deleted soon.
const LEVEL: Compression = Compression::fast();

/// The folders in which an experiment's runs are read and written.
#[derive(Clone, Debug, Default)]
pub struct RunCache {
    /// Folders of results to look in; the first is written to.
    roots: Vec<PathBuf>,
    /// Whether runs are written.
    writes: bool,
}

impl RunCache {
    /// Runs below `out`.
    pub fn at(out: &Path) -> RunCache {
        RunCache { roots: vec![out.to_owned()], writes: true }
    }

    /// Runs of several parts, for reading.
    pub fn of_parts(parts: &[PathBuf]) -> RunCache {
        RunCache { roots: parts.to_vec(), writes: false }
    }

    /// Whether runs are written.
    pub fn writes(&self) -> bool {
        self.writes
    }

    fn folder(root: &Path, experiment: &Experiment) -> PathBuf {
        root.join(experiment.folder()).join(RUNS)
    }

    /// Makes the folder and writes the plan; runs of an earlier command are deleted unless `kept`.
    pub fn open(&self, experiment: &Experiment, kept: bool) -> Result<()> {
        let Some(root) = self.roots.first().filter(|_| self.writes) else { return Ok(()) };
        if !kept {
            self.clear(experiment)?;
        }
        let folder = RunCache::folder(root, experiment);
        results_dir::make_folder(&folder)?;
        results_dir::write_whole(&folder.join(PLAN), &pack(&experiment.plan, LEVEL)?)
    }

    /// Deletes an experiment's runs.
    pub fn clear(&self, experiment: &Experiment) -> Result<()> {
        let Some(root) = self.roots.first().filter(|_| self.writes) else { return Ok(()) };
        let folder = RunCache::folder(root, experiment);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        Ok(())
    }

    /// A finished run, if it exists and is complete.
    pub fn load(&self, experiment: &Experiment, id: &str) -> Option<RunRecord> {
        self.roots.iter().find_map(|root| open(&RunCache::folder(root, experiment).join(format!("{id}.json.gz"))).ok())
    }

    /// Writes a finished run atomically. There is no fsync: a kill loses nothing that was written; a power failure may, and
    /// then the run is repeated.
    pub fn save(&self, experiment: &Experiment, id: &str, record: &RunRecord) -> Result<()> {
        let Some(root) = self.roots.first().filter(|_| self.writes) else { return Ok(()) };
        let folder = RunCache::folder(root, experiment);
        let (partial, whole) = (folder.join(format!(".{id}.partial")), folder.join(format!("{id}.json.gz")));
        let attempt = || -> Result<()> {
            std::fs::write(&partial, pack(record, LEVEL)?)?;
            std::fs::rename(&partial, &whole)?;
            Ok(())
        };
        attempt().with_context(|| format!("cannot write {}", whole.display()))
    }
}

/// The plans of the runs in a folder of results, by name.
pub fn plans(root: &Path) -> Result<Vec<Plan>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    for folder in folders {
        let plan = folder.join(RUNS).join(PLAN);
        if plan.exists() {
            found.push(open(&plan).with_context(|| format!("cannot read {}", plan.display()))?);
        }
    }
    Ok(found)
}

fn open<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    unpack(std::fs::File::open(path)?)
}
