//! `evenkeel report`: makes the HTML report of results on disk.

use std::path::{Path, PathBuf};

use super::{Failure, complain, inputs, results_dir, say};
use crate::report::charts::CHARTS;
use crate::report::files::FILES;
use crate::report::html::{self, Folder, INDEX, MANIFEST, REPORT, SOURCE};

/// The results to report.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel report results                  every scenario, and index.html
  evenkeel report results/slow-server      one scenario
  evenkeel run slow-server                 writes its report by itself

A report is one file that needs no network. Parts whose files are missing are left out, with a note in the \
report.")]
pub struct Args {
    /// Results: what `evenkeel run --out` wrote, or the folder of one scenario in it
    #[arg(default_value = "results")]
    results: PathBuf,
}

pub fn report(args: &Args) -> Result<(), Failure> {
    let folder = &args.results;
    let shown = folder.display();
    let help = "give a folder that `evenkeel run --out FOLDER` wrote";
    if !folder.is_dir() {
        let what = if folder.exists() { "is a file, not a folder of results" } else { "does not exist" };
        return Err(Failure::Usage(format!("`{shown}` {what}\n  help: {help}")));
    }
    if folder.join(MANIFEST).exists() {
        write(folder)?;
        say(format_args!("Report: {}", folder.join(REPORT).display()));
        return Ok(());
    }
    let folders = below(folder)?;
    if folders.is_empty() {
        let message = format!("`{shown}` has no {MANIFEST}, and no folder in it has one");
        return Err(Failure::Usage(format!("{message}\n  help: {help}")));
    }
    let mut failed = false;
    for (_, path) in &folders {
        match write(path) {
            Ok(()) => {}
            Err(Failure::Usage(message)) => {
                complain(format_args!("error: {message}"));
                failed = true;
            }
            Err(other) => return Err(other),
        }
    }
    write_index(folder)?;
    say(format_args!("Report: {}", folder.join(INDEX).display()));
    if failed { Err(Failure::Usage(String::new())) } else { Ok(()) }
}

/// Makes the report of one scenario's folder.
fn write(path: &Path) -> Result<(), Failure> {
    let folder = read(path)?;
    let document = html::document(&folder).map_err(|error| unusable(path, &error))?;
    results_dir::write_whole(&path.join(REPORT), &html::page(&document, &folder)?)?;
    Ok(())
}

fn unusable(path: &Path, error: &anyhow::Error) -> Failure {
    let help = "run the scenario again: its command, seed and replications are in manifest.json";
    Failure::Usage(format!("`{}`: {error:#}\n  help: {help}", path.display()))
}

/// Makes the list of all reports below a folder; a folder without results gets none.
pub fn write_index(out: &Path) -> Result<(), Failure> {
    let mut folders = Vec::new();
    for (name, path) in below(out)? {
        let manifest = read_files(&path, [MANIFEST.to_owned()].into_iter())?;
        // Where the manifest does not have the answer, the tables do.
        let complete = manifest.manifest().is_ok_and(|manifest| manifest.answer.is_some());
        let mut folder = if complete { manifest } else { read(&path)? };
        if path.join(REPORT).exists() {
            folder.files.insert(REPORT.to_owned(), Vec::new());
        }
        folders.push((name, folder));
    }
    if !folders.is_empty() {
        let page = html::page(&html::index(&folders), &Folder::default())?;
        results_dir::write_whole(&out.join(INDEX), &page)?;
    }
    Ok(())
}

/// The folders of results in a folder, by name.
fn below(folder: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", folder.display())))?;
    let mut found: Vec<(String, PathBuf)> = entries
        .filter_map(Result::ok)
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(_, path)| path.join(MANIFEST).exists())
        .collect();
    found.sort();
    Ok(found)
}

/// Every file of a folder that a report needs.
fn read(path: &Path) -> Result<Folder, Failure> {
    let tables = FILES.iter().map(|file| file.name.to_owned());
    let charts = CHARTS.iter().map(|chart| format!("{}.svg", chart.name));
    read_files(path, tables.chain(charts).chain([MANIFEST.to_owned(), SOURCE.to_owned()]))
}

fn read_files(path: &Path, names: impl Iterator<Item = String>) -> Result<Folder, Failure> {
    let mut folder = Folder::default();
    for name in names {
        let file = path.join(&name);
        if !file.exists() {
            continue;
        }
        let unusable = |why: String| Failure::Usage(format!("`{}` {why}", file.display()));
        let bytes = match name.ends_with(".gz") {
            true => inputs::read_bytes(&file, inputs::LONGEST_DATA),
            false => inputs::read_text(&file, inputs::LONGEST_DATA).map(String::into_bytes),
        };
        folder.files.insert(name, bytes.map_err(unusable)?);
    }
    Ok(folder)
}
