//! Compares the picks of every strategy with the golden picks in `fingerprints/` beside the scenario, and explains the first
//! decision that differs.

mod folder;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use self::folder::{GoldenFolder, name_of};
use super::inputs::Loaded;
use super::scheduler::{each, stopped};
use super::{Failure, Terminal, say_on as say};
use crate::report::table;
use evenkeel_sim::measure::decision::{Seen, SeenBackend};
use evenkeel_sim::measure::fingerprint::{self, Difference, Fingerprint, NO_SERVER};
use evenkeel_sim::scenario::Scenario;

/// How the picks of a scenario compare with its golden picks.
pub struct Finding {
    /// Name of the scenario.
    pub scenario: String,
    /// Number of strategies whose picks match.
    pub same: usize,
    /// Strategies whose picks differ, or that have no golden picks.
    pub changes: Vec<Change>,
    /// The scenario has no golden picks.
    pub missing: bool,
    /// The scenario is embedded: it has no folder for golden picks.
    pub embedded: bool,
    /// The scenario file has changed since the golden picks were written.
    pub text_changed: bool,
    now: Vec<Fingerprint>,
}

/// A strategy whose picks differ.
#[derive(Serialize)]
pub struct Change {
    /// Label of the strategy.
    pub strategy: String,
    /// The difference, in a few words.
    pub what: String,
    /// The first decision that differs, where the golden picks contain it.
    pub first: Option<Shown>,
}

/// The first decision that differs, with both picks.
#[derive(Serialize)]
pub struct Shown {
    /// The selector's view.
    #[serde(flatten)]
    pub seen: Seen,
    /// Name of the golden pick's server.
    pub golden: String,
    /// Name of the present pick's server.
    pub now: String,
}

/// Computes the fingerprints of every scenario and compares them with its golden picks.
pub fn findings(loaded: &[Loaded], jobs: usize, quiet: bool) -> Result<Vec<Finding>, Failure> {
    // All files are read before any strategy runs: errors in one are reported at once.
    let folders = folders(loaded)?;
    let units: Vec<(usize, usize)> = loaded
        .iter()
        .enumerate()
        .flat_map(|(s, loaded)| (0..loaded.scenario.variants.len()).map(move |c| (s, c)))
        .collect();
    let take = |&(s, c): &(usize, usize)| fingerprint::take(&loaded[s].scenario, c, &stopped);
    let mut taken = each(&units, jobs, quiet, take)?.into_iter();
    let mut found = Vec::new();
    for loaded in loaded {
        let now: Vec<Fingerprint> = taken.by_ref().take(loaded.scenario.variants.len()).collect();
        let golden = loaded.path.as_ref().map(|path| &folders[&GoldenFolder::path_for(path)]);
        found.push(compare(loaded, now, golden)?);
    }
    Ok(found)
}

/// The golden picks beside the scenarios, by folder.
fn folders(loaded: &[Loaded]) -> Result<BTreeMap<PathBuf, GoldenFolder>, Failure> {
    let mut folders = BTreeMap::new();
    for path in loaded.iter().filter_map(|loaded| loaded.path.as_deref()) {
        let path = GoldenFolder::path_for(path);
        if !folders.contains_key(&path) {
            folders.insert(path.clone(), GoldenFolder::read(path)?);
        }
    }
    Ok(folders)
}

/// `golden` is `None` for an embedded scenario.
fn compare(loaded: &Loaded, now: Vec<Fingerprint>, golden: Option<&GoldenFolder>) -> Result<Finding, Failure> {
    let scenario = &loaded.scenario;
    let name = loaded.path.as_deref().map_or_else(|| scenario.name.clone(), name_of);
    let hash = golden.and_then(|golden| golden.scenario_hash(&name));
    let mut finding = Finding {
        scenario: scenario.name.clone(),
        same: 0,
        changes: Vec::new(),
        missing: hash.is_none(),
        embedded: golden.is_none(),
        text_changed: hash.is_some_and(|hash| hash != scenario.hash),
        now,
    };
    let Some(golden) = golden.filter(|_| !finding.missing) else { return Ok(finding) };
    for (c, now) in finding.now.iter().enumerate() {
        let old = golden.get(&name, scenario.variants[c].table.name(), &now.label);
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

/// Writes the current picks of all these scenarios as golden picks.
pub fn update(findings: &[Finding], loaded: &[Loaded]) -> Result<(), Failure> {
    let mut folders = folders(loaded)?;
    for (finding, loaded) in findings.iter().zip(loaded) {
        let Some(path) = &loaded.path else { continue };
        let strategies = loaded.scenario.variants.iter().map(|variant| variant.table.name());
        if let Some(folder) = folders.get_mut(&GoldenFolder::path_for(path)) {
            folder.replace(&name_of(path), &loaded.scenario.hash, strategies.zip(&finding.now));
        }
    }
    folders.values_mut().try_for_each(GoldenFolder::write).map_err(Failure::from)
}

/// Looks at the first decision that differs.
fn explain(
    scenario: &Scenario,
    variant: usize,
    old: &Fingerprint,
    now: &Fingerprint,
    difference: Difference,
) -> Result<Change, Failure> {
    let name = |pick: u32| {
        let servers = scenario.model.pools.iter().flat_map(|pool| pool.servers.iter().map(move |s| (pool, s)));
        match servers.into_iter().nth(pick as usize) {
            Some((_, server)) if pick != NO_SERVER => server.name.clone(),
            _ => "none".to_owned(),
        }
    };
    let strategy = now.label.clone();
    let of = format!("{} golden, {} now", old.decisions, now.decisions);
    Ok(match difference {
        Difference::At(decision, pick) => {
            let seen = fingerprint::look(scenario, variant, decision, &stopped)?;
            let first = seen.map(|seen| Shown {
                golden: name(pick),
                now: seen.pick.clone().unwrap_or_else(|| "none".to_owned()),
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

    /// Prints the result as text.
    pub fn print(&self, terminal: Terminal) {
        let mark = |text: &str, colour: u8| {
            if terminal.out { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
        };
        if self.missing {
            return say(if self.embedded {
                "  no golden picks: they are not embedded"
            } else {
                "  no golden picks: evenkeel check --update writes them"
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

    /// The result as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "scenario": self.scenario, "fingerprints": self.same, "missing": self.missing,
            "scenario_changed": self.text_changed, "changes": self.changes, "holds": self.holds(),
        })
    }
}

/// Number of servers shown that neither side picked.
const ROWS: usize = 14;

/// The decision as a small table: the strategy's view, with the two picks marked.
fn picture(shown: &Shown) -> String {
    let seen = &shown.seen;
    let mut picture = table::plain(None);
    picture.force_no_tty();
    picture.set_header(["server", "weight", "in flight", "score", ""]);
    // For a large fleet, the two picks and some of the other servers.
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
