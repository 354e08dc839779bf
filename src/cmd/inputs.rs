//! Finding and reading scenario files.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::FileType;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Failure, Terminal, complain, complain_of};
use evenkeel_config::diagnostic::did_you_mean;
use evenkeel_config::{Diagnostic, Problem, Problems};
use evenkeel_core::select::catalog;
use evenkeel_sim::measure::metric_names;
use evenkeel_sim::measure::metrics::{self, Direction, Unit, nature};
use evenkeel_sim::scenario::expect::{Expect, Notation, Side};
use evenkeel_sim::scenario::{Contestant, Scenario, overrides};

/// The files that the paths mean: a file itself, a folder's `.toml` files in order of their names.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let kind = std::fs::metadata(path).map(|found| found.file_type());
        match kind {
            Ok(kind) if kind.is_dir() => files.extend(in_folder(path)?),
            Ok(kind) if kind.is_file() => files.push(path.clone()),
            Ok(kind) => {
                let shown = path.display();
                let what = kind_of(kind);
                return Err(Failure::Usage(format!(
                    "`{shown}` is {what}, not a file\n  help: save it to a file first"
                )));
            }
            Err(_) => {
                let help = "give scenario files or a folder that holds some; the repository's are in `scenarios`";
                return Err(Failure::Usage(format!("there is no file or folder `{}`\n  help: {help}", path.display())));
            }
        }
    }
    Ok(files)
}

/// A folder's scenarios. What is called like one and is no file is passed over with a word: a FIFO would be waited for.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).map_err(|e| Failure::Usage(format!("cannot read {shown}: {e}")))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.sort();
    let is = |file: &Path, extension: &str| file.extension().is_some_and(|its| its.eq_ignore_ascii_case(extension));
    let mut scenarios = Vec::new();
    for file in found.iter().filter(|file| is(file, "toml")) {
        match std::fs::metadata(file).map(|found| found.file_type()) {
            Ok(kind) if !kind.is_file() => {
                complain(format_args!("skipped: {} is {}, not a file", file.display(), kind_of(kind)));
            }
            // One that cannot be read is complained of when it is read.
            _ => scenarios.push(file.clone()),
        }
    }
    if !scenarios.is_empty() {
        return Ok(scenarios);
    }
    let other = found.iter().find(|file| ["yaml", "yml", "json"].iter().any(|extension| is(file, extension)));
    let help = match other {
        Some(other) => format!("\n  help: scenarios are TOML; `{}` is not", other.display()),
        None => String::new(),
    };
    Err(Failure::Usage(format!("there are no scenarios (*.toml) in {shown}{help}")))
}

/// What something in a folder is, in words.
fn kind_of(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a FIFO";
        }
        if kind.is_socket() {
            return "a socket";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    if kind.is_dir() { "a folder" } else { "no regular file" }
}

/// The longest scenario or config that is read, bytes.
pub const LONGEST: u64 = 16 << 20;
/// The longest file of data (workload, measured times) that is read, bytes.
pub const LONGEST_DATA: u64 = 1 << 30;

/// The text of a regular file of at most `longest` bytes. The error is a predicate: "is a FIFO, not a file".
pub fn read_text(file: &Path, longest: u64) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let kind = std::fs::metadata(file).map_err(unreadable)?;
    if !kind.is_file() {
        return Err(format!("is {}, not a file", kind_of(kind.file_type())));
    }
    read_given(file, longest)
}

/// The same of a file that the user has named to be read, which may be a pipe: `--config /dev/stdin`.
pub fn read_given(file: &Path, longest: u64) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(longest + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let foreign = [
        (&b"\x1f\x8b"[..], "compressed with gzip: unpack it first"),
        (&b"\xff\xfe"[..], "UTF-16 text: save it as UTF-8"),
        (&b"\xfe\xff"[..], "UTF-16 text: save it as UTF-8"),
    ];
    if let Some((_, what)) = foreign.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(format!("is {what}"));
    }
    if bytes[..bytes.len().min(1 << 16)].contains(&0) {
        return Err("is a binary file, not text".to_owned());
    }
    if bytes.len() as u64 > longest {
        return Err(format!("is longer than {} MiB, which is the most that is read here", longest >> 20));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count();
        format!("is not UTF-8 text (line {line})")
    })
}

/// A scenario that was read, with the texts it was read from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// It.
    pub scenario: Scenario,
    /// The file's text.
    pub source: String,
    /// Texts of the files it refers to, by the name it calls them.
    pub files: BTreeMap<String, String>,
    /// Where it lies.
    pub path: PathBuf,
}

/// The scenarios that could be read and can be simulated. What is wrong with the others has been printed; `true` if
/// anything was.
pub fn load(paths: &[PathBuf], terminal: Terminal) -> Result<(Vec<Loaded>, bool), Failure> {
    load_all(paths, true, terminal)
}

/// The same for scenarios that are played over sockets.
pub fn load_to_play(paths: &[PathBuf], terminal: Terminal) -> Result<(Vec<Loaded>, bool), Failure> {
    load_all(paths, false, terminal)
}

fn load_all(paths: &[PathBuf], simulated: bool, terminal: Terminal) -> Result<(Vec<Loaded>, bool), Failure> {
    let mut scenarios: Vec<Loaded> = Vec::new();
    let mut names = BTreeSet::new();
    let mut failed = false;
    for file in files(paths)? {
        match load_one(&file) {
            Ok(loaded) if !names.insert(loaded.scenario.name.clone()) => {
                let name = &loaded.scenario.name;
                complain(format_args!(
                    "error: two scenarios are called `{name}`; their results would overwrite each other: {}\n",
                    file.display()
                ));
                failed = true;
            }
            Ok(loaded) if simulated && !loaded.scenario.refusals.is_empty() => {
                let Loaded { scenario, source, .. } = loaded;
                let file = file.display().to_string();
                complain_of(&Diagnostic { file, source, problems: scenario.refusals }, terminal);
                complain("");
                failed = true;
            }
            Ok(mut loaded) => {
                let problems = std::mem::take(&mut loaded.scenario.warnings);
                if !problems.is_empty() {
                    let source = loaded.source.clone();
                    let warned = Diagnostic { file: file.display().to_string(), source, problems };
                    complain(format_args!("{}\n", warned.render_warnings(terminal.err)));
                }
                if let Some(before) = scenarios.last() {
                    loaded.scenario.share(&before.scenario);
                }
                scenarios.push(loaded);
            }
            Err(diagnostic) => {
                complain_of(&diagnostic, terminal);
                complain("");
                failed = true;
            }
        }
    }
    Ok((scenarios, failed))
}

fn load_one(file: &Path) -> Result<Loaded, Box<Diagnostic>> {
    let shown = file.display().to_string();
    let wrong = |source: String, problems| Box::new(Diagnostic { file: shown.clone(), source, problems });
    let source = read_text(file, LONGEST)
        .map_err(|why| wrong(String::new(), vec![Problem::of_file(format!("the file {why}"))]))?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let files = RefCell::new(BTreeMap::new());
    let beside = |name: &str| {
        let path = folder.join(name);
        if !path.exists() {
            return Err(format!("there is no file `{name}` beside the scenario"));
        }
        let text = read_text(&path, LONGEST_DATA).map_err(|why| format!("`{name}` {why}"))?;
        files.borrow_mut().insert(name.to_owned(), text.clone());
        Ok(text)
    };
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let scenario = Scenario::parse(&name, &source, &beside).map_err(|problems| wrong(source.clone(), problems))?;
    let problems = unknown_metrics(&scenario, &source);
    if problems.is_empty() {
        Ok(Loaded { scenario, source, files: files.into_inner(), path: file.to_owned() })
    } else {
        Err(wrong(source, problems))
    }
}

/// Expectations about metrics, and a ranking by one, that the results will not have; and comparisons of different units.
fn unknown_metrics(scenario: &Scenario, source: &str) -> Problems {
    let names = metric_names(scenario);
    let mut problems = Problems::new();
    let unknown = |span, metric: &str| {
        let help = did_you_mean(metric, names.iter().map(String::as_str));
        Problem::at(span, format!("there is no metric `{metric}`")).help(help)
    };
    for expect in &scenario.expects {
        for side in [&expect.left, &expect.right] {
            if let Side::Metric { metric, .. } = side
                && !names.contains(metric)
            {
                problems.push(unknown(expect.span.clone(), metric));
            }
        }
        problems.extend(different_units(expect));
    }
    if let Some(sensitivity) = &scenario.sensitivity {
        // Only one that is written can be wrong.
        let span = || overrides::find(source, "sensitivity.metric").unwrap_or_default();
        if !names.contains(&sensitivity.metric) {
            problems.push(unknown(span(), &sensitivity.metric));
        } else if nature(&sensitivity.metric).0 != Direction::Lower {
            let message = format!("a ranking needs a metric for which lower is better, not `{}`", sensitivity.metric);
            problems.push(Problem::at(span(), message).help("such as `latency.p99` or `errors.ratio`"));
        }
    }
    problems
}

/// A comparison that can only be a mistake: a latency with a percentage, an error rate with a latency.
fn different_units(expect: &Expect) -> Option<Problem> {
    let unit = |side: &Side| match side {
        Side::Metric { metric, .. } => Some(metrics::find(metric)?.unit),
        Side::Number { notation, .. } => match notation {
            Notation::Plain => None,
            Notation::Percent => Some(Unit::Share),
            Notation::Time => Some(Unit::Seconds),
            Notation::Rate => Some(Unit::Rate),
        },
    };
    let (left, right) = (unit(&expect.left)?, unit(&expect.right)?);
    if left.as_str() == right.as_str() {
        return None;
    }
    let name = |unit: Unit| match unit {
        Unit::Seconds => "a time",
        Unit::Rate => "a rate",
        Unit::Share | Unit::Index | Unit::Number => "a share or number",
    };
    let message = format!("`{}` compares {} with {}", expect.text, name(left), name(right));
    Some(Problem::at(expect.span.clone(), message).help("times are written as 50ms, rates as 100/s, shares as 3%"))
}

/// The strategies that a command line lists, separated by commas: labels of these scenarios, names from the catalogue or
/// from elsewhere, names with parameters. Gives the labels that results have, and says on standard error where a name is
/// of an algorithm that the catalogue's is only close to.
pub fn named(lists: &[String], scenarios: &[Loaded]) -> Result<Vec<String>, Failure> {
    let mut labels = Vec::new();
    for name in lists.iter().flat_map(|list| catalog::split(list)) {
        let known = |loaded: &Loaded| loaded.scenario.contestants.iter().any(|contestant| contestant.label == name);
        if scenarios.iter().any(known) {
            labels.push(name.to_owned());
            continue;
        }
        let table = catalog::parse(name).map_err(Failure::Usage)?;
        remark(name);
        labels.push(Contestant::new(table).label);
    }
    Ok(labels)
}

/// Says on standard error what is not the same, where a name is of an algorithm that the catalogue's is only close to.
pub fn remark(name: &str) {
    if let Some(remark) = catalog::remark(name.split('(').next().unwrap_or_default()) {
        complain(format_args!("note: {remark}"));
    }
}

/// Keeps only the strategies with these labels ([`named`]); one that a scenario does not list is added.
pub fn choose(scenario: &mut Scenario, labels: &[String]) {
    if labels.is_empty() {
        return;
    }
    let mut chosen = Vec::new();
    for label in labels {
        let matches = |c: &&Contestant| c.label == *label || (c.stream_name.is_empty() && c.table.name() == label);
        let matching: Vec<Contestant> = scenario.contestants.iter().filter(matches).cloned().collect();
        match (matching.is_empty(), catalog::parse(label)) {
            (true, Ok(table)) => chosen.push(Contestant::new(table)),
            _ => chosen.extend(matching),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    chosen.retain(|contestant| seen.insert(contestant.label.clone()));
    scenario.contestants = chosen;
}

/// The message for a strategy that does not exist.
pub fn unknown_strategy(name: &str) -> Failure {
    Failure::Usage(format!("there is no strategy `{name}`\n  help: {}", catalog::suggestion(name, true)))
}
