//! Golden picks on disk: `fingerprints/NAME.csv` beside a scenario holds a hash per strategy in plain text (a diff of two
//! versions shows which strategies changed); `fingerprints/NAME.picks.gz` holds the picks themselves, so that the first
//! decision that differs can be shown.

use std::path::{Path, PathBuf};

use anyhow::Result;
use flate2::Compression;
use serde::{Deserialize, Serialize};

use super::inputs::Loaded;
use super::results_dir::{make_folder, pack, unpack, write_whole};
use super::scheduler::{each, stopped};
use super::{Failure, Terminal, say_on as say};
use crate::report::table;
use evenkeel_sim::measure::fingerprint::{self, Difference, Fingerprint, NOBODY, Seen, SeenBackend};
use evenkeel_sim::scenario::Scenario;

/// The golden picks of a scenario.
#[derive(Debug, Serialize, Deserialize)]
struct Pinned {
    schema_version: u32,
    /// Of the scenario's text and files.
    scenario_sha256: String,
    strategies: Vec<Fingerprint>,
}

/// How the picks of a scenario compare with its golden picks.
pub struct Finding {
    /// Of which scenario.
    pub scenario: String,
    /// Number of strategies whose picks match.
    pub same: usize,
    /// A sentence for each that is not.
    pub changes: Vec<Change>,
    /// The scenario has no golden picks.
    pub unpinned: bool,
    /// The scenario is embedded: it has no place for golden picks.
    pub embedded: bool,
    /// The scenario file has changed since the golden picks were written.
    pub text_changed: bool,
    now: Vec<Fingerprint>,
    hash: String,
}

/// A strategy whose picks differ.
#[derive(Serialize)]
pub struct Change {
    pub strategy: String,
    /// What is different.
    pub what: String,
    /// The first decision that differs, where the golden picks contain it.
    pub first: Option<Shown>,
}

/// A decision and what was picked then and now.
#[derive(Serialize)]
pub struct Shown {
    #[serde(flatten)]
    pub seen: Seen,
    pub golden: String,
    pub now: String,
}

fn places(scenario: &Path) -> (PathBuf, PathBuf) {
    let folder = scenario.parent().unwrap_or(Path::new("")).join("fingerprints");
    let name = scenario.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    (folder.join(format!("{name}.csv")), folder.join(format!("{name}.picks.gz")))
}

/// Computes the fingerprints of every scenario and compares them with its golden picks.
pub fn findings(loaded: &[Loaded], jobs: usize, quiet: bool) -> Result<Vec<Finding>, Failure> {
    let units: Vec<(usize, usize)> = loaded
        .iter()
        .enumerate()
        .flat_map(|(s, loaded)| (0..loaded.scenario.contestants.len()).map(move |c| (s, c)))
        .collect();
    let take = |&(s, c): &(usize, usize)| fingerprint::take(&loaded[s].scenario, c, &stopped);
    let mut taken = each(&units, jobs, quiet, take)?.into_iter();
    let mut found = Vec::new();
    for loaded in loaded {
        let now: Vec<Fingerprint> = taken.by_ref().take(loaded.scenario.contestants.len()).collect();
        found.push(compare(loaded, now)?);
    }
    Ok(found)
}

fn compare(loaded: &Loaded, now: Vec<Fingerprint>) -> Result<Finding, Failure> {
    let scenario = &loaded.scenario;
    let pinned = match &loaded.path {
        Some(path) => read(&places(path).1)?,
        // Golden picks are not embedded.
        None => None,
    };
    let mut finding = Finding {
        scenario: scenario.name.clone(),
        same: 0,
        changes: Vec::new(),
        unpinned: pinned.is_none(),
        embedded: loaded.path.is_none(),
        text_changed: pinned.as_ref().is_some_and(|pinned| pinned.scenario_sha256 != scenario.hash),
        hash: scenario.hash.clone(),
        now,
    };
    let Some(pinned) = pinned else { return Ok(finding) };
    for (c, now) in finding.now.iter().enumerate() {
        let old = pinned.strategies.iter().find(|old| old.label == now.label);
        match old.map(|old| (old, fingerprint::difference(old, now))) {
            Some((_, None)) => finding.same += 1,
            Some((old, Some(difference))) => finding.changes.push(explain(scenario, c, old, now, difference)?),
            None => finding.changes.push(Change {
                strategy: now.label.clone(),
                what: "has no golden picks".to_owned(),
                first: None,
            }),
        }
    }
    Ok(finding)
}

/// Looks at the first decision that differs.
fn explain(
    scenario: &Scenario,
    contestant: usize,
    old: &Fingerprint,
    now: &Fingerprint,
    difference: Difference,
) -> Result<Change, Failure> {
    let name = |pick: u32| {
        let servers = scenario.model.pools.iter().flat_map(|pool| pool.servers.iter().map(move |s| (pool, s)));
        match servers.into_iter().nth(pick as usize) {
            Some((_, server)) if pick != NOBODY => server.name.clone(),
            _ => "nobody".to_owned(),
        }
    };
    let strategy = now.label.clone();
    let of = format!("{} golden, {} now", old.decisions, now.decisions);
    Ok(match difference {
        Difference::At(decision, pick) => {
            let seen = fingerprint::look(scenario, contestant, decision, &stopped)?;
            let first = seen.map(|seen| Shown {
                golden: name(pick),
                now: seen.pick.clone().unwrap_or_else(|| "nobody".to_owned()),
                seen,
            });
            Change { strategy, what: format!("picks differ from decision {} on ({of})", decision + 1), first }
        }
        Difference::Within(block) => {
            let what = format!("picks differ from a decision between {} and {} on ({of})", block.start + 1, block.end);
            Change { strategy, what, first: None }
        }
        Difference::Length => Change {
            strategy,
            what: format!("made a different number of decisions ({of}); the common ones are the same"),
            first: None,
        },
    })
}

impl Finding {
    /// Whether all picks match. A scenario without golden picks does not fail.
    pub fn holds(&self) -> bool {
        self.changes.is_empty()
    }

    /// For people.
    pub fn print(&self, terminal: Terminal) {
        let mark = |text: &str, colour: u8| {
            if terminal.out { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        if self.unpinned {
            return say(match self.embedded {
                true => "  no golden picks: they are not embedded",
                false => "  no golden picks: evenkeel check --update writes them",
            });
        }
        if self.same > 0 {
            let strategies = if self.same == 1 { "strategy" } else { "strategies" };
            say(format_args!("  {}  picks of {} {strategies} match the golden picks", mark("holds", 32), self.same));
        }
        for change in &self.changes {
            say(format_args!("  {}  {} {}", mark("FAILS", 31), change.strategy, change.what));
            if let Some(shown) = &change.first {
                say(indent(&picture(shown)));
            }
        }
        if !self.changes.is_empty() {
            if self.text_changed {
                say("         the scenario file has changed since the golden picks were written");
            }
            say("         if this is intended: evenkeel check --update");
        }
    }

    /// For machines.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "scenario": self.scenario, "fingerprints": self.same, "missing": self.unpinned,
            "scenario_changed": self.text_changed, "changes": self.changes, "holds": self.holds(),
        })
    }

    /// Writes the current picks as golden picks.
    pub fn update(&self, scenario: &Path) -> Result<()> {
        let (plain, packed) = places(scenario);
        let folder = plain.parent().unwrap_or(Path::new("."));
        make_folder(folder)?;
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["strategy", "decisions", "hash"])?;
        for print in &self.now {
            writer.write_record([&print.label, &print.decisions.to_string(), &format!("{:016x}", print.hash)])?;
        }
        write_whole(&plain, &writer.into_inner().map_err(|error| error.into_error())?)?;
        let pinned = Pinned { schema_version: 1, scenario_sha256: self.hash.clone(), strategies: self.now.clone() };
        write_whole(&packed, &pack(&pinned, Compression::best())?)
    }
}

fn read(path: &Path) -> Result<Option<Pinned>, Failure> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::Usage(format!("cannot read {}: {error}", path.display()))),
    };
    unpack(file).map(Some).map_err(|error| {
        let help = "evenkeel check --update rewrites it";
        Failure::Usage(format!("{} is not a valid file of golden picks: {error}\n  help: {help}", path.display()))
    })
}

/// So many servers that were not picked are shown.
const ROWS: usize = 14;

/// The decision as a small table: the strategy's view, with the two picks marked.
fn picture(shown: &Shown) -> String {
    let seen = &shown.seen;
    let mut picture = table::plain(None);
    picture.force_no_tty();
    picture.set_header(["server", "weight", "in flight", "score", ""]);
    // Of a large fleet, the two picks and some of the others.
    let picked = |backend: &SeenBackend| backend.server == shown.golden || backend.server == shown.now;
    let mut others = ROWS;
    let shown_backends = seen.backends.iter().filter(|backend| {
        let show = picked(backend) || others > 0;
        others = others.saturating_sub(usize::from(!picked(backend)));
        show
    });
    for backend in shown_backends {
        let mark = match (backend.server == shown.golden, backend.server == shown.now) {
            (true, _) => "<- golden",
            (_, true) => "<- now",
            _ => "",
        };
        let eligible = if backend.eligible { "" } else { " (not eligible)" };
        picture.add_row([
            format!("{}{eligible}", backend.server),
            backend.weight.to_string(),
            backend.in_flight.to_string(),
            backend.score.map_or_else(|| "–".to_owned(), |score| format!("{score:.6}")),
            mark.to_owned(),
        ]);
    }
    let more = match seen.backends.iter().filter(|backend| !picked(backend)).count().saturating_sub(ROWS) {
        0 => String::new(),
        n => format!("\n… and {n} more"),
    };
    format!(
        "at {:.6} s, request {} of client {} for {} (key {}), selector {} of pool {}\n{picture}{more}\ngolden: {}, now: {}",
        seen.time_s, seen.request, seen.client, seen.path, seen.key, seen.selector, seen.pool, shown.golden, shown.now
    )
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("         {line}")).collect::<Vec<_>>().join("\n")
}
