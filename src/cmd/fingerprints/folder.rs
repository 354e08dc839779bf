//! The folder of golden picks, `fingerprints/` beside the scenarios. `STRATEGY.csv` holds the picks of one strategy in every
//! scenario, so that a new strategy adds one file; `scenarios.csv` names the scenarios that have golden picks, with the hash
//! of the text they were taken from. Both are plain text: a diff shows which strategy changed in which scenario.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use evenkeel_sim::measure::fingerprint::{Fingerprint, NO_SERVER};

use crate::cmd::Failure;
use crate::cmd::results_dir::{make_folder, write_whole};

const SCENARIOS: &str = "scenarios";
const SCENARIOS_HEADER: [&str; 2] = ["scenario", "sha256"];
const PICKS_HEADER: [&str; 6] = ["scenario", "label", "decisions", "hash", "first", "blocks"];
/// The text of a pick of no server.
const NO_SERVER_TEXT: &str = "-";

/// The golden picks of one strategy, by scenario and label.
type Strategy = BTreeMap<(String, String), Fingerprint>;

/// The golden picks of a folder of scenarios.
#[derive(Debug, Default)]
pub struct GoldenFolder {
    folder: PathBuf,
    /// Hash of the scenario's text and files when its golden picks were written, by scenario.
    scenarios: BTreeMap<String, String>,
    /// By name of the strategy.
    strategies: BTreeMap<String, Strategy>,
}

/// The name under which a scenario's golden picks are stored.
pub fn name_of(scenario: &Path) -> String {
    scenario.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

impl GoldenFolder {
    /// The folder of a scenario's golden picks.
    pub fn path_for(scenario: &Path) -> PathBuf {
        scenario.parent().unwrap_or(Path::new("")).join("fingerprints")
    }

    /// Reads a folder; one that does not exist has no golden picks.
    pub fn read(folder: PathBuf) -> Result<GoldenFolder, Failure> {
        let mut read = GoldenFolder { folder, ..GoldenFolder::default() };
        let entries = match std::fs::read_dir(&read.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(read),
            Err(error) => return Err(Failure::Usage(format!("cannot read {}: {error}", read.folder.display()))),
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|ending| ending == "csv") {
                read.read_file(&path).map_err(|error| {
                    let help = "delete it and run evenkeel check --update on the folder of scenarios";
                    let path = path.display();
                    Failure::Usage(format!("{path} is not a valid file of golden picks: {error}\n  help: {help}"))
                })?;
            }
        }
        Ok(read)
    }

    fn read_file(&mut self, path: &Path) -> Result<(), String> {
        let mut reader = csv::Reader::from_path(path).map_err(|error| error.to_string())?;
        let name = name_of(path);
        let header = reader.headers().map_err(|error| error.to_string())?;
        let expected: &[&str] = if name == SCENARIOS { &SCENARIOS_HEADER } else { &PICKS_HEADER };
        if header.iter().ne(expected.iter().copied()) {
            return Err(format!("the header is not `{}`", expected.join(",")));
        }
        for record in reader.records() {
            let record = record.map_err(|error| error.to_string())?;
            if name == SCENARIOS {
                self.scenarios.insert(record[0].to_owned(), record[1].to_owned());
                continue;
            }
            let line = record.position().map_or(0, csv::Position::line);
            let print = parse(&record).ok_or_else(|| format!("line {line} cannot be read"))?;
            let key = (record[0].to_owned(), print.label.clone());
            self.strategies.entry(name.clone()).or_default().insert(key, print);
        }
        Ok(())
    }

    /// Hash of the scenario that the golden picks were taken from; `None` if the scenario has no golden picks.
    pub fn scenario_hash(&self, scenario: &str) -> Option<&str> {
        self.scenarios.get(scenario).map(String::as_str)
    }

    /// The golden picks of a strategy in a scenario.
    pub fn get(&self, scenario: &str, strategy: &str, label: &str) -> Option<&Fingerprint> {
        self.strategies.get(strategy)?.get(&(scenario.to_owned(), label.to_owned()))
    }

    /// Replaces a scenario's golden picks: pairs of a strategy's name and its picks.
    pub fn replace<'a>(
        &mut self,
        scenario: &str,
        hash: &str,
        picks: impl IntoIterator<Item = (&'a str, &'a Fingerprint)>,
    ) {
        self.forget(scenario);
        self.scenarios.insert(scenario.to_owned(), hash.to_owned());
        for (strategy, print) in picks {
            let key = (scenario.to_owned(), print.label.clone());
            self.strategies.entry(strategy.to_owned()).or_default().insert(key, print.clone());
        }
    }

    fn forget(&mut self, scenario: &str) {
        self.scenarios.remove(scenario);
        self.strategies.values_mut().for_each(|rows| rows.retain(|(of, _), _| of != scenario));
    }

    /// Writes the folder. The golden picks of scenarios that no longer exist are dropped, files without rows deleted, and
    /// files that would not change are left alone.
    pub fn write(&mut self) -> Result<()> {
        let scenarios = self.folder.parent().unwrap_or(Path::new(""));
        let gone = |name: &&String| !scenarios.join(format!("{name}.toml")).exists();
        let gone: Vec<String> = self.scenarios.keys().filter(gone).cloned().collect();
        gone.iter().for_each(|scenario| self.forget(scenario));
        make_folder(&self.folder)?;
        let rows = self.scenarios.iter().map(|(scenario, hash)| vec![scenario.clone(), hash.clone()]);
        self.write_file(SCENARIOS, &SCENARIOS_HEADER, rows)?;
        for (strategy, prints) in &self.strategies {
            self.write_file(strategy, &PICKS_HEADER, prints.iter().map(|((scenario, _), print)| row(scenario, print)))?;
        }
        Ok(())
    }

    fn write_file(&self, name: &str, header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<()> {
        let path = self.folder.join(format!("{name}.csv"));
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(header)?;
        let mut any = false;
        for row in rows {
            any = true;
            writer.write_record(row)?;
        }
        let content = writer.into_inner().map_err(|error| error.into_error())?;
        match std::fs::read(&path) {
            Ok(before) if before == content => Ok(()),
            Ok(_) if !any => Ok(std::fs::remove_file(&path)?),
            _ if any => write_whole(&path, &content),
            _ => Ok(()),
        }
    }
}

/// A row of a strategy's file: picks in decimal, separated by spaces, block hashes as four hexadecimal digits each.
fn row(scenario: &str, print: &Fingerprint) -> Vec<String> {
    let pick = |&pick: &u32| if pick == NO_SERVER { NO_SERVER_TEXT.to_owned() } else { pick.to_string() };
    vec![
        scenario.to_owned(),
        print.label.clone(),
        print.decisions.to_string(),
        format!("{:016x}", print.hash),
        print.first.iter().map(pick).collect::<Vec<_>>().join(" "),
        print.blocks.iter().map(|hash| format!("{hash:04x}")).collect(),
    ]
}

fn parse(record: &csv::StringRecord) -> Option<Fingerprint> {
    let pick = |text: &str| if text == NO_SERVER_TEXT { Some(NO_SERVER) } else { text.parse().ok() };
    let blocks = &record[5];
    let block = |i: usize| u16::from_str_radix(blocks.get(i * 4..i * 4 + 4)?, 16).ok();
    Some(Fingerprint {
        label: record[1].to_owned(),
        decisions: record[2].parse().ok()?,
        hash: u64::from_str_radix(&record[3], 16).ok()?,
        first: record[4].split_whitespace().map(pick).collect::<Option<_>>()?,
        blocks: (0..blocks.len().div_ceil(4)).map(block).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(format!("{name}.toml")), "").unwrap();
        }
        let picks: Vec<u32> = (0..3000).map(|i| if i % 11 == 0 { NO_SERVER } else { i % 7 }).collect();
        let print = |label: &str, picks: &[u32]| Fingerprint::of(label, picks, 7);
        let place = folder.path().join("fingerprints");
        let mut golden = GoldenFolder::read(place.clone()).unwrap();
        let two = [print("p2c", &picks), print("x", &picks[..100])];
        golden.replace("a", "hash a", [("p2c", &two[0]), ("random", &two[1])]);
        golden.replace("b", "hash b", [("p2c", &two[0])]);
        golden.replace("no such file", "hash", [("p2c", &two[0])]);
        golden.write().unwrap();
        let mut read = GoldenFolder::read(place.clone()).unwrap();
        assert_eq!(read.scenario_hash("a"), Some("hash a"));
        assert_eq!(read.scenario_hash("no such file"), None);
        assert_eq!(read.get("a", "p2c", "p2c"), Some(&two[0]));
        assert_eq!(read.get("a", "random", "x"), Some(&two[1]));
        assert_eq!(read.get("a", "p2c", "x"), None);
        // A strategy without rows has no file.
        read.replace("a", "hash a", [("p2c", &two[0])]);
        read.write().unwrap();
        assert!(!place.join("random.csv").exists());
        assert_eq!(GoldenFolder::read(place).unwrap().get("b", "p2c", "p2c"), Some(&two[0]));
    }
}
