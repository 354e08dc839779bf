//! The files of a results folder, whether they were just rendered or read from disk.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use super::model::Fault;
use crate::report::table::Note;
use evenkeel_sim::scenario::overrides::SweepPoint;

/// Name of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// Name of the scenario's text.
pub const SOURCE: &str = "scenario.toml";
/// The acts that every run repeated, as `evenkeel run --acts` reads them; there is no such file without acts.
pub const ACTS: &str = "acts.jsonl";

/// The files of a scenario's results, by name.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// Content by name.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// What a report needs of `manifest.json`. Results of earlier versions lack some of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Name of the scenario.
    pub scenario: String,
    /// Title of the scenario.
    pub title: String,
    /// The question.
    pub question: String,
    /// What the scenario's author explains.
    pub explanation: Option<String>,
    /// The sentences that the statistics support; `None` in results before version 4.
    pub answer: Option<Vec<String>>,
    /// Notes on the results; `None` in results before version 4.
    pub notes: Option<Vec<Note>>,
    /// Whether the scenario claims a steady state; `None` in results before version 4.
    pub steady: Option<bool>,
    /// Faults of the scenario.
    pub faults: Vec<Fault>,
    /// Hash of the scenario's text and of the files it reads.
    pub scenario_sha256: String,
    /// Seed.
    pub seed: u64,
    /// `replications` or `batch means`.
    pub method: String,
    /// The first point.
    #[serde(flatten)]
    pub first: PointEntry,
    /// The other points.
    pub points: Vec<PointEntry>,
    /// The settings of a sensitivity analysis; `None` in results before version 4.
    pub sensitivity: Option<Sensitivity>,
    /// Points that could not be built, with the errors.
    pub skipped: Vec<(String, String)>,
    /// Version of evenkeel.
    pub version: String,
    /// The commit it was built from.
    pub commit: Option<String>,
    /// The command line.
    pub command: String,
    /// The machine.
    pub machine: Option<Machine>,
    /// SHA-256 of every other file, by name.
    pub files: BTreeMap<String, String>,
}

/// The settings of a sensitivity analysis.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sensitivity {
    /// The metric of the ranking.
    pub metric: String,
    /// Share by which each constant is decreased and increased.
    pub by: f64,
}

/// A point of the results.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PointEntry {
    /// Its name.
    pub point: String,
    /// The changed values; `None` in results before version 4.
    pub place: Option<SweepPoint>,
    /// Runs per strategy.
    pub replications: u32,
    /// Warm-up, seconds.
    pub warmup_s: f64,
    /// Warm-up of caches, seconds.
    pub cache_warmup_s: f64,
    /// Measured span, seconds.
    pub duration_s: f64,
    /// Offered work over capacity.
    pub offered_load: Option<f64>,
    /// Hashes of the workloads.
    pub workload_hashes: Vec<String>,
    /// In the order of the scenario.
    pub strategies: Vec<StrategyEntry>,
}

/// A strategy at a point.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StrategyEntry {
    /// Its label.
    pub label: String,
    /// Its name in the catalogue, with its parameters.
    pub parameters: serde_json::Value,
    /// Hashes of the picks.
    pub pick_hashes: Vec<String>,
}

impl StrategyEntry {
    /// Its name in the catalogue; the label where the manifest does not say it.
    pub fn strategy(&self) -> &str {
        match &self.parameters {
            serde_json::Value::Object(map) => map.keys().next().map_or(&self.label, String::as_str),
            serde_json::Value::String(name) => name,
            _ => &self.label,
        }
    }
}

/// The machine that ran it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Machine {
    os: String,
    arch: String,
    cpus: usize,
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}, {} processors", self.os, self.arch, self.cpus)
    }
}

impl Folder {
    /// The manifest.
    ///
    /// # Errors
    /// If it is missing or malformed.
    pub fn manifest(&self) -> Result<Manifest> {
        let bytes = self.files.get(MANIFEST).ok_or_else(|| anyhow!("there is no {MANIFEST}"))?;
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|error| anyhow!("{MANIFEST}:{}: {error}", error.line()))?;
        if manifest.scenario.is_empty() {
            bail!("{MANIFEST} names no scenario");
        }
        Ok(manifest)
    }

    /// A file as text; `None` if it is missing or not UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.files.get(name)?).ok()
    }

    /// A table; `None` if the file is missing.
    ///
    /// # Errors
    /// If it is malformed.
    pub fn table(&self, name: &'static str) -> Result<Option<Table>> {
        self.files.get(name).map(|bytes| Table::parse(name, bytes)).transpose()
    }
}

/// A CSV file of the results.
pub struct Table {
    name: &'static str,
    columns: BTreeMap<String, usize>,
    rows: Vec<csv::StringRecord>,
}

/// A row of a table.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    table: &'a Table,
    record: &'a csv::StringRecord,
}

impl Table {
    fn parse(name: &'static str, bytes: &[u8]) -> Result<Table> {
        let mut reader = csv::Reader::from_reader(bytes);
        let header = reader.headers().with_context(|| format!("cannot read {name}"))?.clone();
        let columns: BTreeMap<String, usize> =
            header.iter().enumerate().map(|(i, name)| (name.to_owned(), i)).collect();
        for key in ["scenario", "point", "strategy"] {
            if !columns.contains_key(key) {
                bail!("{name} has no column `{key}`");
            }
        }
        let rows = reader.records().collect::<Result<Vec<_>, _>>().with_context(|| format!("cannot read {name}"))?;
        Ok(Table { name, columns, rows })
    }

    /// Verifies that it has these columns.
    pub fn need(&self, columns: &[&str]) -> Result<()> {
        match columns.iter().find(|column| !self.columns.contains_key(**column)) {
            Some(column) => bail!("{} has no column `{column}`", self.name),
            None => Ok(()),
        }
    }

    /// Names of its columns, in their order.
    pub fn header(&self) -> Vec<&str> {
        let mut header: Vec<(&usize, &str)> = self.columns.iter().map(|(name, i)| (i, name.as_str())).collect();
        header.sort_unstable();
        header.into_iter().map(|(_, name)| name).collect()
    }

    /// Its rows.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|record| Row { table: self, record })
    }

    /// The rows of a point.
    pub fn at<'a>(&'a self, point: &'a str) -> impl Iterator<Item = Row<'a>> {
        self.rows().filter(move |row| row.text("point") == point)
    }

    /// The values of a column at a point, each once, in the order of the file.
    pub fn distinct<'a>(&'a self, point: &'a str, column: &'a str) -> Vec<&'a str> {
        let mut seen = BTreeSet::new();
        self.at(point).map(|row| row.text(column)).filter(|value| seen.insert(*value)).collect()
    }
}

impl<'a> Row<'a> {
    /// A cell; empty if there is no such column.
    pub fn text(self, column: &str) -> &'a str {
        self.table.columns.get(column).and_then(|&i| self.record.get(i)).unwrap_or("")
    }

    /// A cell as a number; `None` where it is empty or not a finite number.
    pub fn number(self, column: &str) -> Option<f64> {
        self.text(column).parse::<f64>().ok().filter(|value| value.is_finite())
    }
}
