//! Finds and reads scenarios: files, folders of them, and embedded ones by name. Every command with a scenario argument uses
//! this module.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::FileType;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::embedded::{self, Embedded};
use super::{Failure, Terminal, complain, complain_of};
use evenkeel_config::diagnostic::did_you_mean;
use evenkeel_config::{Diagnostic, Problem, Problems, Spanned};
use evenkeel_core::select::catalog;
use evenkeel_core::select::strategy_set::StrategySet;
use evenkeel_sim::measure::metric_names;
use evenkeel_sim::measure::metrics::{self, Direction, Unit, nature};
use evenkeel_sim::scenario::expect::{Expect, Notation, Side};
use evenkeel_sim::scenario::{Scenario, Variant, acts_file, overrides};
use evenkeel_sim::sim::act::{ActError, TimedAct};

/// The source of a scenario.
enum Input {
    File(PathBuf),
    Embedded(&'static Embedded),
}

/// The folder that commands read by default; if it does not exist, the name means all embedded scenarios.
pub const ALL: &str = "scenarios";

/// Resolves the arguments: a file, the `.toml` files of a folder in order of their names, or an embedded scenario.
fn resolve(paths: &[PathBuf]) -> Result<Vec<Input>, Failure> {
    let mut inputs = Vec::new();
    for path in paths {
        let embedded = path.to_str().and_then(embedded::find);
        let kind = std::fs::metadata(path).map(|found| found.file_type());
        match (kind, embedded) {
            (Ok(kind), embedded) if kind.is_dir() => match (in_folder(path), embedded) {
                (Ok(files), _) => inputs.extend(files.into_iter().map(Input::File)),
                // A folder of that name without scenarios probably holds results.
                (Err(_), Some(scenario)) => inputs.push(Input::Embedded(scenario)),
                (Err(failure), None) => return Err(failure),
            },
            (Ok(kind), _) if kind.is_file() => inputs.push(Input::File(path.clone())),
            (Ok(kind), _) => {
                let shown = path.display();
                let what = kind_of(kind);
                return Err(Failure::Usage(format!(
                    "`{shown}` is {what}, not a file\n  help: save it to a file first"
                )));
            }
            (Err(_), Some(scenario)) => inputs.push(Input::Embedded(scenario)),
            (Err(_), None) if path == Path::new(ALL) => inputs.extend(embedded::all().iter().map(Input::Embedded)),
            (Err(_), None) => {
                let shown = path.display();
                let help = similar_scenario(&path.file_stem().unwrap_or_default().to_string_lossy());
                let message = format!("there is no file or folder `{shown}`, and no embedded scenario of that name");
                return Err(Failure::Usage(format!("{message}\n  help: {help}")));
            }
        }
    }
    Ok(inputs)
}

/// The help text for an unknown scenario name.
pub fn similar_scenario(name: &str) -> String {
    if embedded::find(name).is_some() {
        return format!("the embedded scenario is `{name}`, without folder and extension");
    }
    let nearest = did_you_mean(name, embedded::all().iter().map(|scenario| scenario.name));
    // The list of all names would be long.
    let nearest = nearest.starts_with("did you mean").then_some(nearest);
    nearest.unwrap_or_else(|| "`evenkeel scenarios list` lists the embedded scenarios".to_owned())
}

/// A folder's scenarios. An entry with a scenario's extension that is not a file is skipped with a note: reading a FIFO
/// would block.
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
            // An unreadable file is reported when it is read.
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

/// The type of a folder entry, in words.
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

/// Maximum size of a scenario or config, bytes.
pub const LONGEST: u64 = 16 << 20;
/// Maximum size of a data file (workload, measured times), bytes.
pub const LONGEST_DATA: u64 = 1 << 30;

/// The text of a regular file of at most `longest` bytes. The error is a predicate: "is a FIFO, not a file".
pub fn read_text(file: &Path, longest: u64) -> Result<String, String> {
    is_regular(file)?;
    read_given(file, longest)
}

/// The bytes of a regular file of at most `longest` bytes, for formats that are not text.
pub fn read_bytes(file: &Path, longest: u64) -> Result<Vec<u8>, String> {
    is_regular(file)?;
    let bytes = read_limited(file, longest)?;
    is_short(&bytes, longest)?;
    Ok(bytes)
}

fn is_regular(file: &Path) -> Result<(), String> {
    let kind = std::fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?;
    if kind.is_file() { Ok(()) } else { Err(format!("is {}, not a file", kind_of(kind.file_type()))) }
}

/// At most one byte more than `longest`.
fn read_limited(file: &Path, longest: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(unreadable)?;
    opened.take(longest + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn is_short(bytes: &[u8], longest: u64) -> Result<(), String> {
    if bytes.len() as u64 > longest {
        return Err(format!("is longer than {} MiB, which is the maximum here", longest >> 20));
    }
    Ok(())
}

/// The same for a file that the user has named explicitly, which may be a pipe: `--config /dev/stdin`.
pub fn read_given(file: &Path, longest: u64) -> Result<String, String> {
    let bytes = read_limited(file, longest)?;
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
    is_short(&bytes, longest)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|&&byte| byte == b'\n').count();
        format!("is not UTF-8 text (line {line})")
    })
}

/// A scenario with its source texts.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The scenario.
    pub scenario: Scenario,
    /// The file's text.
    pub source: String,
    /// Texts of the files it refers to, by name as written in it.
    pub files: BTreeMap<String, String>,
    /// Path of the file; `None` when the scenario is embedded, or comes from a plan.
    pub path: Option<PathBuf>,
}

/// The scenarios that could be read and can be simulated. Errors in the others have been printed; `true` if there were any.
pub fn load(paths: &[PathBuf], terminal: Terminal) -> Result<(Vec<Loaded>, bool), Failure> {
    load_all(paths, true, terminal)
}

/// The one scenario that an argument names. Errors in it have been printed.
pub fn load_single(path: &Path, terminal: Terminal) -> Result<Loaded, Failure> {
    single(path, true, terminal)
}

/// As [`load_single`], for a scenario whose requests are sent over sockets: it may be one that cannot be simulated.
pub fn load_to_play(path: &Path, terminal: Terminal) -> Result<Loaded, Failure> {
    single(path, false, terminal)
}

fn single(path: &Path, simulated: bool, terminal: Terminal) -> Result<Loaded, Failure> {
    let embedded = path.to_str().is_some_and(|name| embedded::find(name).is_some());
    if path.is_dir() && !embedded {
        return Err(Failure::Usage(format!("{} is a folder\n  help: give one scenario", path.display())));
    }
    let (mut loaded, _) = load_all(&[path.to_owned()], simulated, terminal)?;
    match (loaded.pop(), loaded.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(Failure::Usage(format!("{} holds several scenarios: give one", path.display()))),
        (None, _) => Err(Failure::Usage(String::new())),
    }
}

fn load_all(paths: &[PathBuf], simulated: bool, terminal: Terminal) -> Result<(Vec<Loaded>, bool), Failure> {
    let mut scenarios: Vec<Loaded> = Vec::new();
    let mut names = BTreeSet::new();
    let mut failed = false;
    for input in resolve(paths)? {
        let shown = input.shown();
        match input.load() {
            Ok(loaded) if !names.insert(loaded.scenario.name.clone()) => {
                let name = &loaded.scenario.name;
                complain(format_args!(
                    "error: two scenarios are called `{name}`; their results would overwrite each other: {shown}\n"
                ));
                failed = true;
            }
            Ok(loaded) if simulated && !loaded.scenario.refusals.is_empty() => {
                let Loaded { scenario, source, .. } = loaded;
                complain_of(&Diagnostic { file: shown, source, problems: scenario.refusals }, terminal);
                complain("");
                failed = true;
            }
            Ok(mut loaded) => {
                let problems = std::mem::take(&mut loaded.scenario.warnings);
                if !problems.is_empty() {
                    let warned = Diagnostic { file: shown, source: loaded.source.clone(), problems };
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

impl Input {
    /// Its name in messages.
    fn shown(&self) -> String {
        match self {
            Input::File(path) => path.display().to_string(),
            Input::Embedded(scenario) => scenario.shown(),
        }
    }

    fn load(&self) -> Result<Loaded, Box<Diagnostic>> {
        match self {
            Input::File(path) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                let unreadable = |why| vec![Problem::of_file(format!("the file {why}"))];
                let source = read_text(path, LONGEST).map_err(|why| {
                    Box::new(Diagnostic { file: self.shown(), source: String::new(), problems: unreadable(why) })
                })?;
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                self.parse(&name, source, &|name| data_beside(folder, name))
            }
            Input::Embedded(scenario) => self.parse(scenario.name, scenario.source.to_owned(), &|name| {
                embedded::data(name).map(str::to_owned).ok_or_else(|| format!("`{name}` is not embedded"))
            }),
        }
    }

    fn parse(
        &self,
        name: &str,
        source: String,
        data: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<Loaded, Box<Diagnostic>> {
        let files = RefCell::new(BTreeMap::new());
        let kept = |name: &str| {
            let text = data(name)?;
            files.borrow_mut().insert(name.to_owned(), text.clone());
            Ok(text)
        };
        let parsed = Scenario::parse(name, &source, &kept);
        let checked = parsed.and_then(|scenario| {
            let problems = unknown_metrics(&scenario, &source);
            if problems.is_empty() { Ok(scenario) } else { Err(problems) }
        });
        let path = match self {
            Input::File(path) => Some(path.clone()),
            Input::Embedded(_) => None,
        };
        match checked {
            Ok(scenario) => Ok(Loaded { scenario, source, files: files.into_inner(), path }),
            Err(problems) => Err(Box::new(Diagnostic { file: self.shown(), source, problems })),
        }
    }
}

/// The acts of a file, ascending in time. Each of these scenarios must accept all of them; errors have been printed.
pub fn read_acts(file: &Path, scenarios: &[Loaded], terminal: Terminal) -> Result<Vec<TimedAct>, Failure> {
    let shown = file.display().to_string();
    let source = read_given(file, LONGEST).map_err(|why| Failure::Usage(format!("`{shown}` {why}")))?;
    let acts = acts_file::parse(&source).and_then(|acts| {
        let refused = |loaded: &Loaded| refused_acts(&acts, &loaded.scenario, scenarios.len() > 1);
        let problems: Problems = scenarios.iter().flat_map(refused).collect();
        if problems.is_empty() { Ok(acts) } else { Err(problems) }
    });
    match acts {
        Ok(acts) => Ok(acts.into_iter().map(Spanned::into_inner).collect()),
        Err(problems) => {
            complain_of(&Diagnostic { file: shown, source, problems }, terminal);
            Err(Failure::Usage(String::new()))
        }
    }
}

/// The acts that a scenario refuses; whether its name is part of the messages.
fn refused_acts(acts: &[Spanned<TimedAct>], scenario: &Scenario, named: bool) -> Problems {
    let mut model = scenario.model.clone();
    let mut problems = Problems::new();
    for act in acts {
        if let Err(ActError { message, help }) = model.add_act(act.get_ref()) {
            let message = if named { format!("{}: {message}", scenario.name) } else { message };
            problems.push(Problem { help, ..Problem::at(act.span(), message) });
        }
    }
    problems
}

/// The text of a data file next to a scenario.
fn data_beside(folder: &Path, name: &str) -> Result<String, String> {
    let path = folder.join(name);
    if !path.exists() {
        return Err(format!("there is no file `{name}` beside the scenario"));
    }
    read_text(&path, LONGEST_DATA).map_err(|why| format!("`{name}` {why}"))
}

/// Checks that results have the metrics of expectations and of rankings, and that the units of comparisons match.
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
        // Only an explicit one can be wrong.
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

/// Detects comparisons of different units: a latency with a percentage, an error rate with a latency.
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

/// The strategies that a command line lists, separated by commas: labels of these scenarios, names of the catalogue or of
/// other products, names with parameters, `core` and `all`. Returns the labels used in results. Prints a note on standard
/// error where another product's name is for an algorithm that differs from the catalogue's.
/// of an algorithm that the catalogue's is only close to.
pub fn named(lists: &[String], scenarios: &[Loaded]) -> Result<Vec<String>, Failure> {
    let mut labels = Vec::new();
    for name in lists.iter().flat_map(|list| catalog::split(list)) {
        if let Some(set) = StrategySet::find(name) {
            labels.extend(set.rows().map(|row| row.name.to_owned()));
            continue;
        }
        let known = |loaded: &Loaded| loaded.scenario.variants.iter().any(|variant| variant.label == name);
        if scenarios.iter().any(known) {
            labels.push(name.to_owned());
            continue;
        }
        let table = catalog::parse(name).map_err(Failure::Usage)?;
        remark(name);
        labels.push(Variant::new(table).label);
    }
    // `core,p2c` names p2c twice.
    let mut seen = BTreeSet::new();
    labels.retain(|label| seen.insert(label.clone()));
    Ok(labels)
}

/// Prints a note on standard error where another product's name is for an algorithm that differs from the catalogue's.
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
        let matches = |c: &&Variant| c.label == *label || (c.stream_name.is_empty() && c.table.name() == label);
        let matching: Vec<Variant> = scenario.variants.iter().filter(matches).cloned().collect();
        match (matching.is_empty(), catalog::parse(label)) {
            (true, Ok(table)) => chosen.push(Variant::new(table)),
            _ => chosen.extend(matching),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    chosen.retain(|variant| seen.insert(variant.label.clone()));
    scenario.variants = chosen;
}

/// The message for a strategy that does not exist.
pub fn unknown_strategy(name: &str) -> Failure {
    Failure::Usage(format!("there is no strategy `{name}`\n  help: {}", catalog::suggestion(name, true)))
}
