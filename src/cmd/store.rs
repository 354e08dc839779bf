//! Finished runs on disk. A unit is one (scenario, point, strategy, seed); its name is a hash of everything that decides
//! what comes out of it, so a unit that is there need not be run again, wherever and by whatever command it was made. Units
//! are kept until their scenario's results are written, and for good with `--keep-units` or as a shard.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use sha2::{Digest, Sha256};

use super::output::{self, pack, unpack};
use super::study::{Plan, Study};
use evenkeel_core::units::hex;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::record::RunRecord;

/// The folder of units in a folder of results.
const UNITS: &str = "units";
/// The plan beside them.
const PLAN: &str = "plan.json.gz";

/// Units are written often and live shortly.
const LEVEL: Compression = Compression::fast();

/// The name of a unit: 24 hexadecimal digits.
pub fn unit_id(scenario: &Scenario, contestant: usize, replication: u32) -> String {
    let model = &scenario.model;
    let contestant = &scenario.contestants[contestant];
    // What the file says is in its hash; the rest is what settings may have changed, and the program itself.
    let parts = serde_json::json!([
        evenkeel_sim::SOURCE_HASH,
        scenario.hash,
        [model.warmup.0, model.cache_warmup.0, model.duration.0, model.drain.0],
        [model.bins, model.batches],
        contestant.table,
        contestant.luck,
        scenario.replication_seed(replication),
    ]);
    hex(&Sha256::digest(parts.to_string().as_bytes()))[..24].to_owned()
}

/// A name for all of a study's units together: two studies with the same have the same results.
pub fn study_id(study: &Study) -> String {
    let mut hasher = Sha256::new();
    for point in &study.points {
        hasher.update(point.name.as_bytes());
        for c in 0..point.scenario.contestants.len() {
            hasher.update(point.scenario.contestants[c].label.as_bytes());
            (0..point.scenario.replications).for_each(|r| hasher.update(unit_id(&point.scenario, c, r).as_bytes()));
        }
    }
    hasher.update(serde_json::json!(study.plan.settings.precision.map(|p| (p.target, p.most))).to_string().as_bytes());
    hex(&hasher.finalize())[..24].to_owned()
}

/// Where a study's units are read and written.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Folders of results to look in; the first is written to.
    roots: Vec<PathBuf>,
    /// Whether anything is written.
    writes: bool,
}

impl Store {
    /// Units below `out`.
    pub fn at(out: &Path) -> Store {
        Store { roots: vec![out.to_owned()], writes: true }
    }

    /// Units of several parts, for reading.
    pub fn of_parts(parts: &[PathBuf]) -> Store {
        Store { roots: parts.to_vec(), writes: false }
    }

    fn folder(root: &Path, study: &Study) -> PathBuf {
        root.join(study.folder()).join(UNITS)
    }

    /// Makes the folder and puts the plan there; what an earlier command left is thrown away unless it is to be `kept`.
    pub fn open(&self, study: &Study, kept: bool) -> Result<()> {
        let Some(root) = self.roots.first().filter(|_| self.writes) else { return Ok(()) };
        if !kept {
            self.clear(study)?;
        }
        let folder = Store::folder(root, study);
        output::make_folder(&folder)?;
        output::write_whole(&folder.join(PLAN), &pack(&study.plan, LEVEL)?)
    }

    /// Throws away a study's units.
    pub fn clear(&self, study: &Study) -> Result<()> {
        let Some(root) = self.roots.first().filter(|_| self.writes) else { return Ok(()) };
        let folder = Store::folder(root, study);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        Ok(())
    }

    /// A finished unit, if it is there and whole.
    pub fn load(&self, study: &Study, id: &str) -> Option<RunRecord> {
        self.roots.iter().find_map(|root| open(&Store::folder(root, study).join(format!("{id}.json.gz"))).ok())
    }

    /// Writes a finished unit, whole or not at all. It is not forced to the disk: a kill loses nothing that was written, a
    /// power failure may, and then the unit is simply run again.
    pub fn save(&self, study: &Study, id: &str, record: &RunRecord) -> Result<()> {
        let Some(root) = self.roots.first().filter(|_| self.writes) else { return Ok(()) };
        let folder = Store::folder(root, study);
        let (partial, whole) = (folder.join(format!(".{id}.partial")), folder.join(format!("{id}.json.gz")));
        let attempt = || -> Result<()> {
            std::fs::write(&partial, pack(record, LEVEL)?)?;
            std::fs::rename(&partial, &whole)?;
            Ok(())
        };
        attempt().with_context(|| format!("cannot write {}", whole.display()))
    }
}

/// The plans of the units in a folder of results, by name.
pub fn plans(root: &Path) -> Result<Vec<Plan>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    for folder in folders {
        let plan = folder.join(UNITS).join(PLAN);
        if plan.exists() {
            found.push(open(&plan).with_context(|| format!("cannot read {}", plan.display()))?);
        }
    }
    Ok(found)
}

fn open<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    unpack(std::fs::File::open(path)?)
}
