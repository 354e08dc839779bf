//! `evenkeel lab`: the page in which the simulator runs itself. One file that needs no network, written and opened in a browser.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{Failure, Terminal, inputs, say};

/// What the page shows first, and where it is written.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel lab                         write the page and open it
  evenkeel lab crash                   begin with this scenario
  evenkeel lab fleet.toml
  evenkeel lab --lesson 7
  evenkeel lab --out site/index.html --no-open      one file, for a web server

Every number of the page is that of `evenkeel run` with the same scenario, seed and acts.")]
pub struct Args {
    /// Scenario to begin with: a file, or the name of an embedded one
    scenario: Option<PathBuf>,
    /// Begin with this lesson
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=999), conflicts_with = "scenario")]
    lesson: Option<u32>,
    /// File to write the page to [default: a temporary file]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Do not open a browser
    #[arg(long)]
    no_open: bool,
}

/// The page as built from `web/`. It is checked in, so that the program builds without Node.
const PAGE: &str = include_str!("../../web/dist/lab.html");

/// Where the page takes what it begins with.
const PLACE: &str = "<!--evenkeel:lab-->";

pub fn lab(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let scenario = args.scenario.as_deref().map(|path| inputs::load_single(path, terminal)).transpose()?;
    let begin = serde_json::json!({
        "name": scenario.as_ref().map_or("", |loaded| &loaded.scenario.name),
        "source": scenario.as_ref().map_or("", |loaded| &loaded.source),
        "files": scenario.as_ref().map(|loaded| &loaded.files).unwrap_or(&Default::default()),
        "lesson": args.lesson,
    });
    let asks = scenario.is_some() || args.lesson.is_some();
    let page = page(PAGE, asks.then_some(&begin))?;
    let path = match &args.out {
        Some(path) => {
            std::fs::write(path, page).with_context(|| format!("cannot write {}", path.display()))?;
            path.clone()
        }
        None => temporary(&page)?,
    };
    say(path.display());
    if !args.no_open && !open(&path) {
        say("no browser could be started: open this file in one");
    }
    Ok(())
}

/// The page with what it begins with.
fn page(template: &str, begin: Option<&serde_json::Value>) -> Result<String> {
    let at = template.find(PLACE).with_context(|| format!("web/dist/lab.html has no `{PLACE}`"))?;
    // `<` begins a tag wherever it stands; in JSON it can be written without one.
    let data = begin.map_or_else(String::new, |begin| {
        let json = begin.to_string().replace('<', "\\u003c");
        format!("<script type=\"application/json\" id=\"evenkeel-lab\">{json}</script>")
    });
    Ok([&template[..at], &data, &template[at + PLACE.len()..]].concat())
}

/// Writes the page to a temporary file that stays: the browser reads it after this program has ended.
fn temporary(page: &str) -> Result<PathBuf> {
    let mut file = tempfile::Builder::new().prefix("evenkeel-lab-").suffix(".html").tempfile()?;
    file.write_all(page.as_bytes())?;
    let (_, path) = file.keep()?;
    Ok(path)
}

/// Opens a file in the user's browser; whether a program for that could be started.
fn open(path: &Path) -> bool {
    let (program, arguments): (&str, &[&str]) = match std::env::consts::OS {
        "macos" => ("open", &[]),
        "windows" => ("cmd", &["/C", "start", ""]),
        _ => ("xdg-open", &[]),
    };
    let mut command = Command::new(program);
    command.args(arguments).arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_its_place_once() {
        assert_eq!(PAGE.matches(PLACE).count(), 1);
    }

    #[test]
    fn what_the_page_begins_with_is_no_markup() {
        let begin = serde_json::json!({ "source": "</script><b>" });
        let filled = page(&format!("a{PLACE}b"), Some(&begin)).unwrap();
        let data = r#"{"source":"\u003c/script>\u003cb>"}"#;
        assert_eq!(filled, format!(r#"a<script type="application/json" id="evenkeel-lab">{data}</script>b"#));
        assert_eq!(page(&format!("a{PLACE}b"), None).unwrap(), "ab");
        assert!(page("nothing", None).is_err());
    }
}
