//! The HTML report: one file that shows what was asked, what came out, how sure that is, why, and how to repeat it.
//!
//! A report is made from the files of a results folder ([`Folder`]), whether they were just rendered or read from disk, so
//! that its numbers are those of the CSV files. [`document`] reads them into a [`model::Document`], and [`page`] puts that
//! into the page that `web/` builds.

mod crossings;
mod folder;
mod index;
mod markdown;
pub mod model;
mod noscript;
mod page;
mod replications;
mod run;
mod sensitivity;
mod series;
mod standings;
mod sweep;
#[cfg(test)]
mod tests;
mod timeline;

pub use folder::{ACTS, Folder, MANIFEST, Manifest, SOURCE};
pub use index::index;
pub use markdown::markdown;
pub use page::page;

use anyhow::Result;

use self::folder::PointEntry;
use self::model::{Document, File, Kind, Repeat, SCHEMA_VERSION};
use self::standings::Standings;
use crate::report::answer::{NOTABLE, sentences};
use crate::report::charts::CHARTS;
use crate::report::files::FILES;
use crate::report::format::trimmed;
use crate::report::table::Note;
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::{ENOUGH, Verdict};

/// Name of a scenario's report in its folder.
pub const REPORT: &str = "report.html";
/// Name of the list of reports beside the folders.
pub const INDEX: &str = "index.html";

/// The document of a results folder.
///
/// # Errors
/// If manifest.json or metrics.csv is missing, or a file is malformed.
pub fn document(folder: &Folder) -> Result<Document> {
    let manifest = folder.manifest()?;
    let first = standings::read(folder, &manifest, &manifest.first)?;
    let swept = !manifest.points.is_empty();
    let sweep = is_sweep(&manifest).then(|| sweep::sweep(folder, &manifest)).transpose()?;
    let run = match sweep.is_some() {
        true => None,
        false => Some(run::run(folder, &manifest, &manifest.first, &first)?),
    };
    let mut answer = answer(folder, &manifest)?;
    let mut sections = Vec::new();
    if sweep.is_some() {
        sections.push(sweep::best_by_point(folder, &manifest)?);
    } else if swept && let Some((holds, section)) = sensitivity::sensitivity(folder, &manifest)? {
        answer.insert(0, holds);
        sections.push(section);
    }
    Ok(Document {
        schema_version: SCHEMA_VERSION,
        kind: if swept { Kind::Sweep } else { Kind::Run },
        name: manifest.scenario.clone(),
        title: manifest.title.clone(),
        question: manifest.question.clone(),
        answer,
        explanation: manifest.explanation.clone(),
        facts: facts(&manifest, &first, swept),
        warnings: warnings(folder, &manifest, &first),
        run,
        sweep,
        sections,
        repeat: repeat(folder, &manifest),
    })
}

/// Whether these are the points of a sweep. The first point of a sensitivity analysis is the unchanged scenario.
fn is_sweep(manifest: &Manifest) -> bool {
    !manifest.points.is_empty() && manifest.first.point != BASE
}

/// The sentences of the manifest; of a sweep, and of results before version 4, those that the tables give.
fn answer(folder: &Folder, manifest: &Manifest) -> Result<Vec<String>> {
    match &manifest.answer {
        Some(answer) => Ok(answer.clone()),
        None if is_sweep(manifest) => sweep::answer(folder, manifest),
        None => Ok(sentences(&standings::read(folder, manifest, &manifest.first)?.field)),
    }
}

/// The name of the unchanged point.
const BASE: &str = "base";

/// Settings in words.
fn facts(manifest: &Manifest, standings: &Standings, swept: bool) -> Vec<(String, String)> {
    let PointEntry { replications, warmup_s, cache_warmup_s, duration_s, offered_load, .. } = &manifest.first;
    let mut facts: Vec<(String, String)> = Vec::new();
    let mut fact = |name: &str, value: String| facts.push((name.to_owned(), value));
    if let Some(load) = offered_load.filter(|_| !swept) {
        fact("offered load", format!("{} %", trimmed((load * 1000.0).round() / 10.0)));
    }
    if let Some((low, high)) = standings.busy.filter(|_| !swept) {
        let (low, high) = (format!("{:.0}", low * 100.0), format!("{:.0}", high * 100.0));
        fact("servers busy", if low == high { format!("{low} %") } else { format!("{low} to {high} %") });
    }
    fact("measured", human_seconds(*duration_s));
    if *warmup_s > 0.0 {
        fact("warm-up", human_seconds(*warmup_s));
    }
    if cache_warmup_s > warmup_s {
        fact("warm-up of caches", human_seconds(*cache_warmup_s));
    }
    match standings.field.batches {
        true => fact("batches of one long run", standings.field.replications.to_string()),
        false => fact("replications", replications.to_string()),
    }
    fact("strategies", manifest.first.strategies.len().to_string());
    if swept {
        fact("points", (manifest.points.len() + 1).to_string());
    }
    fact("seed", manifest.seed.to_string());
    if !standings.field.pools.is_empty() {
        fact("pools", standings.field.pools.join(", "));
    }
    facts
}

/// The notes of the manifest; of results before version 4 what the tables say. Parts that are missing are named.
fn warnings(folder: &Folder, manifest: &Manifest, standings: &Standings) -> Vec<Note> {
    let mut notes = manifest.notes.clone().unwrap_or_else(|| states(standings));
    for (point, why) in &manifest.skipped {
        notes.push(Note { text: format!("{point} could not be run: {why}"), strategies: Vec::new() });
    }
    let failing = |row: &crate::report::answer::Row| row.places.iter().any(|place| place.failed > NOTABLE);
    if !standings.field.batches && (1..ENOUGH as u32).contains(&standings.field.replications) {
        let text = "too few runs: verdicts need five replications".to_owned();
        notes.push(Note { text, strategies: Vec::new() });
    }
    let fails = standings.field.rows.iter().filter(|row| failing(row)).count();
    let latencies = "latencies are those of successful requests only, where a strategy fails requests they are too low";
    if fails > 0 && fails < standings.field.rows.len() {
        notes.push(Note { text: latencies.to_owned(), strategies: Vec::new() });
    }
    let missing = ["comparison.csv", "verdicts.csv", "servers.csv", "timeseries.csv", "latency_cdf.csv", SOURCE];
    let missing: Vec<&str> = missing.into_iter().filter(|name| !folder.files.contains_key(*name)).collect();
    if !missing.is_empty() {
        let text = format!(
            "parts of this report are left out, because the results have no {}: run the scenario again for all of it",
            missing.join(", ")
        );
        notes.push(Note { text, strategies: Vec::new() });
    }
    notes
}

/// A note for each reason why there is no steady state.
fn states(standings: &Standings) -> Vec<Note> {
    let mut notes: Vec<Note> = Vec::new();
    for row in standings.field.rows.iter().filter(|row| row.state != Verdict::Stable) {
        let reason = standings.reasons.get(&row.label).map_or("", String::as_str);
        let text = format!("{}: {reason}", row.state.text());
        match notes.iter_mut().find(|note| note.text == text) {
            Some(note) => note.strategies.push(row.label.clone()),
            None => notes.push(Note { text, strategies: vec![row.label.clone()] }),
        }
    }
    notes
}

fn repeat(folder: &Folder, manifest: &Manifest) -> Repeat {
    let files = manifest.files.iter().map(|(name, sha256)| File {
        name: name.clone(),
        doc: file_doc(name),
        sha256: Some(sha256.clone()),
    });
    Repeat {
        command: manifest.command.clone(),
        version: manifest.version.clone(),
        commit: manifest.commit.clone(),
        seed: Some(manifest.seed.to_string()),
        machine: manifest.machine.as_ref().map(ToString::to_string),
        scenario_sha256: Some(manifest.scenario_sha256.clone()).filter(|hash| !hash.is_empty()),
        scenario_source: folder.text(SOURCE).map(str::to_owned),
        files: files.collect(),
        workloads: manifest.first.workload_hashes.clone(),
    }
}

/// The content of a file of the results, one sentence; empty if it is not known.
fn file_doc(name: &str) -> String {
    if name == SOURCE {
        return "The scenario's text.".to_owned();
    }
    if name == ACTS {
        return "The acts that every run repeated, for `evenkeel run --acts`.".to_owned();
    }
    let table = FILES.iter().find(|file| file.name == name).map(|file| file.doc);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let chart = || CHARTS.iter().find(|chart| chart.name == stem).map(|chart| chart.question);
    table.or_else(chart).unwrap_or_default().to_owned()
}
