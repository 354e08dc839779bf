//! `evenkeel scenarios`: lists, prints and copies the embedded scenarios.

use std::path::PathBuf;

use super::embedded::{self, Embedded};
use super::{Failure, Terminal, inputs, results_dir, say};
use crate::report::table;

/// Actions on the embedded scenarios.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel scenarios list
  evenkeel scenarios show slow-server
  evenkeel scenarios copy slow-server        writes ./slow-server.toml
  evenkeel scenarios copy --all scenarios    all of them, into a folder

Where a command takes a scenario file, it also takes the name of an embedded scenario: `evenkeel run slow-server`. \
A file of that name takes precedence.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the embedded scenarios: name and title
    #[command(after_help = "Example:\n  evenkeel scenarios list --json | jq -r '.[].name'")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Print an embedded scenario's file
    #[command(after_help = "Example:\n  evenkeel scenarios show slow-server > mine.toml")]
    Show {
        /// Name, from `evenkeel scenarios list`
        name: String,
    },
    /// Copy an embedded scenario, with the data files that it refers to, into a folder
    #[command(after_help = "\
Examples:
  evenkeel scenarios copy slow-server              writes ./slow-server.toml
  evenkeel scenarios copy slow-server experiments
  evenkeel scenarios copy --all scenarios")]
    Copy(CopyArgs),
}

#[derive(Debug, clap::Args)]
struct CopyArgs {
    /// Name, from `evenkeel scenarios list`
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// Folder to write to, made if it does not exist [default: .]
    folder: Option<PathBuf>,
    /// Copy all embedded scenarios
    #[arg(long)]
    all: bool,
    /// Overwrite existing files
    #[arg(long)]
    force: bool,
}

pub fn scenarios(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    match &args.verb {
        Verb::List { json } => list(*json, terminal),
        Verb::Show { name } => say(named(name)?.source.trim_end()),
        Verb::Copy(args) => return copy(args),
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Embedded, Failure> {
    embedded::find(name).ok_or_else(|| {
        let help = inputs::similar_scenario(name);
        Failure::Usage(format!("there is no embedded scenario `{name}`\n  help: {help}"))
    })
}

fn list(json: bool, terminal: Terminal) {
    if json {
        let row = |scenario: &Embedded| serde_json::json!({ "name": scenario.name, "title": scenario.title() });
        return say(serde_json::Value::from(embedded::all().iter().map(row).collect::<Vec<_>>()));
    }
    let mut table = table::plain(Some(terminal.columns()));
    table.set_header(["name", "title"]);
    for scenario in embedded::all() {
        table.add_row([scenario.name.to_owned(), scenario.title()]);
    }
    say(table);
    say("`evenkeel run NAME` runs one, `evenkeel scenarios copy NAME` copies it.");
}

fn copy(args: &CopyArgs) -> Result<(), Failure> {
    let here = || PathBuf::new();
    let (scenarios, folder) = match (&args.name, &args.folder, args.all) {
        // With --all the only argument is the folder.
        (folder, None, true) => (embedded::all().iter().collect(), folder.as_ref().map_or_else(here, PathBuf::from)),
        (Some(name), folder, false) => (vec![named(name)?], folder.clone().unwrap_or_else(here)),
        _ => return Err(Failure::Usage("give the name of one embedded scenario, or --all and no name".to_owned())),
    };
    let mut files: Vec<(PathBuf, &str)> = Vec::new();
    for scenario in scenarios {
        files.push((folder.join(format!("{}.toml", scenario.name)), scenario.source));
        files.extend(scenario.files().map(|(name, text)| (folder.join(name), text)));
    }
    write_new(&files, args.force, "choose another folder, or --force")
}

/// Writes files that must not exist yet, and prints a line for each; if one exists, none is written, and `help` says what to
/// do. With `force` they may exist.
pub fn write_new(files: &[(PathBuf, &str)], force: bool, help: &str) -> Result<(), Failure> {
    if let Some((path, _)) = files.iter().find(|(path, _)| !force && path.exists()) {
        return Err(Failure::Usage(format!("`{}` exists\n  help: {help}", path.display())));
    }
    for (path, text) in files {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            results_dir::make_folder(folder)?;
        }
        results_dir::write_whole(path, text.as_bytes())?;
        say(format_args!("wrote {}", path.display()));
    }
    Ok(())
}
