//! `evenkeel import`: converts an access log to a workload that a scenario can replay.

use std::cell::Cell;
use std::io::{BufReader, Cursor, Read};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use flate2::read::MultiGzDecoder;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::results_dir::{self, Destination, Output};
use super::{Failure, Terminal, complain};
use evenkeel_sim::scenario::import::{self, BadLine, Imported};
use evenkeel_sim::scenario::workload_file;

/// Log to read, and files to write.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel import /var/log/nginx/access.log
  evenkeel import access.log.gz --output monday.csv
  evenkeel import access.log --scenario mine.toml && evenkeel run mine.toml
  zcat access.log.*.gz | evenkeel import - --output week.csv
  evenkeel import access.log --scenario real-time.toml --speed 1

Reads the formats that --format lists, plain or gzip, and removes what syslog, Docker, CRI, Compose or kubectl \
put before a line. Stamps of common and combined logs are whole seconds: requests of the same second are spread \
inside it at random, in the order of the log and always the same way. Stamps of JSON are exact. Logs hold no \
service times: the scenario says what a request costs.

The client is the first word if that is an address (with or without port; of a list such as X-Forwarded-For the \
first), or the second if a virtual host stands before it, as in vhost_combined. A host name is the client where an \
identity and a user follow it, as in public logs. Any other line is refused, counted and shown with its column and \
reason; --client says which word is the client. Paths are kept without scheme, host and query; control characters \
and bytes that are not UTF-8 are percent-encoded.")]
pub struct Args {
    /// The log; `-` reads standard input
    log: PathBuf,
    /// The workload file, `-` for standard output [default: the log's name with `.workload.csv`, in this folder]
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Also write a scenario that replays the workload, ready to run
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// Replay speed of the scenario; 1 is the recorded speed [default: the speed that keeps four servers of 20 ms
    /// per request 70 % busy]
    #[arg(long, value_name = "TIMES", requires = "scenario", value_parser = speed)]
    speed: Option<f64>,
    /// Log format [default: detected per line]
    #[arg(long, value_parser = formats(), default_value = AUTO)]
    format: String,
    /// Position of the client address in a common or combined line, from 1 [default: detected per line]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    client: Option<u16>,
    /// Keep query strings in paths
    #[arg(long)]
    keep_query: bool,
    /// Keep outliers that are years away from all other requests, such as one of 1970
    #[arg(long)]
    keep_outliers: bool,
    /// Overwrite existing files
    #[arg(long)]
    force: bool,
}

/// The value of `--format` that selects detection for each line.
const AUTO: &str = "auto";

/// The values of `--format`: detection, and the catalogue of importers.
fn formats() -> impl TypedValueParser<Value = String> {
    let auto = PossibleValue::new(AUTO).help("Detected for each line");
    let rows = import::CATALOGUE.iter().map(|row| PossibleValue::new(row.name()).help(row.logs()));
    PossibleValuesParser::new(std::iter::once(auto).chain(rows))
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (1e-6..=1e9).contains(&speed) => Ok(speed),
        _ => Err("a number from 0.000001 to 1e9; 1 is the log's own speed".to_owned()),
    }
}

pub fn import(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    if args.log == Path::new("-") && args.output.is_none() {
        return Err(Failure::Usage(
            "the log comes from standard input and has no name\n  help: use --output FILE".to_owned(),
        ));
    }
    let output = args.output.clone().unwrap_or_else(|| default_output(&args.log));
    check_outputs(args, &output)?;
    let options = import::Options {
        format: import::find(&args.format),
        keep_query: args.keep_query,
        client: args.client.map(usize::from),
        keep_outliers: args.keep_outliers,
    };
    let imported = read(&args.log, &options)?;
    report(&imported);
    if imported.requests.is_empty() {
        let what = "no line could be read as an entry of an access log";
        return Err(Failure::Usage(format!("`{}`: {what}", args.log.display())));
    }
    let mut workload = Output::create(&output)?;
    let written = workload_file::write(imported.lines(), &mut workload);
    written.map_err(|error| {
        Failure::Broken(anyhow::Error::new(error).context(format!("cannot write {}", output.display())))
    })?;
    workload.finish()?;
    let to_file = matches!(results_dir::destination(&output), Ok(Destination::File(_)));
    if to_file {
        complain(format_args!("wrote {}", output.display()));
    }
    let Some(scenario) = &args.scenario else {
        if to_file {
            let file = quoted(&file_name(&output));
            complain("replay it in a loop at its recorded speed, with");
            complain(format_args!("  arrivals = {{ replay = {{ file = {file}, speed = 1, loop = true }} }}"));
        }
        return Ok(());
    };
    let played = Played::of(&imported, args.speed);
    let file = reference(&output, scenario)?;
    results_dir::write_whole(scenario, template(&imported, &played, &file).as_bytes())?;
    complain(format_args!("wrote {}", scenario.display()));
    complain(format_args!("{}: it replays the log {}.", terminal.bold_err("note"), played.plainly()));
    if args.speed.is_none() {
        complain("  --speed 1 makes a scenario that replays it as recorded.");
    }
    complain(format_args!(
        "set the service times to those of your servers, then:\n  evenkeel run {}",
        scenario.display()
    ));
    Ok(())
}

/// Checks the outputs before a long log is read.
fn check_outputs(args: &Args, output: &Path) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    results_dir::refuse_existing(output, args.force)?;
    if results_dir::same_file(&args.log, output) {
        return usage("the workload would overwrite the log\n  help: use --output FILE");
    }
    let Some(scenario) = &args.scenario else { return Ok(()) };
    results_dir::refuse_existing(scenario, args.force)?;
    if !matches!(results_dir::destination(output), Ok(Destination::File(_))) {
        return usage(
            "a scenario reads its workload from a file, and --output is not a file\n  help: give it the name of a file",
        );
    }
    if results_dir::same_file(output, scenario) {
        return usage("the scenario would overwrite the workload\n  help: give them two names");
    }
    if results_dir::same_file(&args.log, scenario) {
        return usage("the scenario would overwrite the log\n  help: give it another name");
    }
    if output.to_str().is_none() {
        return usage("a scenario is UTF-8 and cannot contain the workload's name\n  help: give --output such a name");
    }
    Ok(())
}

fn default_output(log: &Path) -> PathBuf {
    let name = file_name(log);
    let stem = name.trim_end_matches(".gz").trim_end_matches(".log");
    PathBuf::from(format!("{}.workload.csv", if stem.is_empty() || stem == "-" { "log" } else { stem }))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A string in TOML syntax.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// The path of a workload as its scenario refers to it: absolute as given, or else relative to the scenario's folder.
fn reference(workload: &Path, scenario: &Path) -> Result<String, Failure> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    if workload.is_absolute() || !matches!(results_dir::destination(scenario), Ok(Destination::File(_))) {
        return Ok(text(workload));
    }
    let folder = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        folder.canonicalize().map_err(|error| Failure::Usage(format!("cannot write `{}`: {error}", path.display())))
    };
    let (to, from) = (folder(workload)?, folder(scenario)?);
    let common = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(to.components().skip(common)).collect();
    Ok(text(&path.join(file_name(workload))))
}

/// Counts the bytes that are read.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(into)?;
        self.count.set(self.count.get() + length as u64);
        Ok(length)
    }
}

/// Reads the log, piece by piece.
fn read(log: &Path, options: &import::Options) -> Result<Imported, Failure> {
    let shown = log.display();
    let cannot = |error: std::io::Error| Failure::Usage(format!("cannot read `{shown}`: {error}"));
    let (input, length): (Box<dyn Read>, Option<u64>) = if log == Path::new("-") {
        (Box::new(std::io::stdin()), None)
    } else {
        let file = std::fs::File::open(log).map_err(cannot)?;
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|found| found.len());
        (Box::new(file), length)
    };
    let count = Rc::new(Cell::new(0));
    let (head, input) = peeked(Counted { inner: input, count: Rc::clone(&count) }).map_err(cannot)?;
    if let Some((what, way)) = packed(&head) {
        return Err(Failure::Usage(format!("`{shown}` is {what}\n  help: {way} {shown} | evenkeel import - …")));
    }
    let mut bar = Bar::new(length, count);
    let read = if head.starts_with(&[0x1f, 0x8b]) {
        let broken = |error| Failure::Usage(format!("`{shown}` is not a valid gzip file: {error}"));
        let (head, input) = peeked(MultiGzDecoder::new(input)).map_err(broken)?;
        if let Some((what, _)) = packed(&head) {
            return Err(Failure::Usage(format!("`{shown}` holds, packed with gzip, what is {what}")));
        }
        import::read(BufReader::with_capacity(1 << 16, input), options, &mut |lines| bar.show(lines)).map_err(broken)
    } else {
        import::read(BufReader::with_capacity(1 << 16, input), options, &mut |lines| bar.show(lines)).map_err(cannot)
    };
    bar.end();
    read
}

/// The first bytes of a reader, and a reader of all its bytes.
fn peeked<R: Read>(mut input: R) -> std::io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    input.by_ref().take(4096).read_to_end(&mut head)?;
    Ok((head.clone(), Cursor::new(head).chain(input)))
}

/// Detects by a file's first bytes what it is if it is neither text nor gzip, and the command that converts it to text.
fn packed(head: &[u8]) -> Option<(&'static str, &'static str)> {
    const UTF_16: (&str, &str) = ("UTF-16 text", "iconv -f UTF-16 -t UTF-8");
    let known: [(&[u8], (&str, &str)); 7] = [
        (b"BZh", ("packed with bzip2", "bzcat")),
        (b"\xfd7zXZ\0", ("packed with xz", "xzcat")),
        (b"\x28\xb5\x2f\xfd", ("packed with zstd", "zstdcat")),
        (b"\x04\x22\x4d\x18", ("packed with lz4", "lz4cat")),
        (b"PK\x03\x04", ("a zip archive", "unzip -p")),
        (b"\xff\xfe", UTF_16),
        (b"\xfe\xff", UTF_16),
    ];
    // Without a byte order mark: every second byte of ASCII text is zero.
    let zeros = |from: usize| head.iter().skip(from).step_by(2).filter(|&&byte| byte == 0).count();
    let is_utf_16 = head.len() >= 32 && (zeros(0) == 0) != (zeros(1) == 0) && zeros(0) + zeros(1) > head.len() / 4;
    let found = known.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, what)| what);
    found.or_else(|| is_utf_16.then_some(("UTF-16 text", "iconv -f UTF-16LE -t UTF-8")))
}

/// Progress on a terminal, once reading takes more than a second.
struct Bar {
    bar: Option<ProgressBar>,
    began: Instant,
    length: Option<u64>,
    count: Rc<Cell<u64>>,
}

impl Bar {
    fn new(length: Option<u64>, count: Rc<Cell<u64>>) -> Bar {
        Bar { bar: None, began: Instant::now(), length, count }
    }

    fn show(&mut self, lines: u64) {
        if self.bar.is_none() && self.began.elapsed() > Duration::from_secs(1) {
            let bar = ProgressBar::with_draw_target(self.length, ProgressDrawTarget::stderr());
            let template = if self.length.is_some() { "{bar:30} {percent} %  {msg}" } else { "{spinner} {msg}" };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.count.get());
            bar.set_message(format!("{} read, {lines} lines", HumanBytes(self.count.get())));
        }
    }

    fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A duration in words: "45 years".
fn long(seconds: f64) -> String {
    let units = [(31_557_600.0, "years"), (86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds")];
    let (unit, name) = units.into_iter().find(|(unit, _)| seconds >= 2.0 * unit).unwrap_or((1.0, "s"));
    format!("{} {name}", significant(seconds / unit, 2))
}

/// A number rounded to this many significant digits, without an exponent and never zero.
fn significant(value: f64, digits: usize) -> String {
    let rounded: f64 = format!("{value:.*e}", digits.saturating_sub(1)).parse().unwrap_or(value);
    format!("{rounded}")
}

/// Reports the lines read and the corrections made, on standard error.
fn report(imported: &Imported) {
    let (requests, span) = (imported.requests.len(), imported.span());
    complain(format_args!(
        "{requests} requests over {span:.0} s from {} clients for {} paths",
        imported.clients.len(),
        imported.paths.len(),
    ));
    if imported.whole_seconds > 0 {
        complain(format_args!(
            "stamps are whole seconds: every request was placed at random within its second,\n\
             at random but in the log's order ({} seconds hold more than one)",
            imported.shared_seconds
        ));
    }
    if imported.out_of_order > 0 {
        complain(format_args!(
            "{} lines came after a later stamp (logs are written when requests end)\nand were sorted",
            imported.out_of_order
        ));
    }
    // Longer than the duration of a request. Outliers are reported below.
    let (back, line) = imported.greatest_step_back;
    if back > 600 && imported.outliers.1 == 0 {
        complain(format_args!(
            "warning: line {line} is {} earlier than the one before it: files in the wrong\n\
             order, or files that overlap after a rotation? Requests that stand in two\nof them count twice",
            long(back as f64)
        ));
    }
    let (gap, after) = imported.longest_gap;
    if gap > 86_400 && gap as f64 > 0.5 * span {
        complain(format_args!("warning: before {after} are {} without a request", long(gap as f64)));
    }
    let (outliers, count) = &imported.outliers;
    if *count > 0 {
        complain(format_args!(
            "warning: {count} requests are far in time from all others and were left out of the workload:"
        ));
        for (line, stamp) in outliers {
            complain(format_args!("  line {line}: {stamp}"));
        }
        complain("  help: --keep-outliers keeps them, which makes the workload longer");
    }
    if imported.capped > 0 {
        complain(format_args!("{} answers of more than 4 GiB count as 4 GiB", imported.capped));
    }
    if imported.blank > 0 {
        complain(format_args!("{} blank lines", imported.blank));
    }
    if imported.malformed > 0 {
        complain(format_args!(
            "{} lines could not be read and are not in the workload, the first of them:",
            imported.malformed
        ));
        for BadLine { line, column, reason } in &imported.examples {
            complain(format_args!("  line {line}, column {column}: {reason}"));
        }
        if imported.malformed > imported.examples.len() as u64 {
            complain("all of them, by reason:");
            for (reason, count) in &imported.reasons {
                complain(format_args!("  {count} lines: {reason}"));
            }
        }
    }
}

/// Parameters of the scenario that replays the log.
struct Played {
    /// Requests per second as recorded.
    recorded: f64,
    /// Time is divided by this.
    speed: String,
    factor: f64,
    /// Servers of 20 ms per request.
    servers: u64,
    /// Duration of the measured span, seconds.
    duration: u64,
}

/// Work of a request, seconds.
const WORK: f64 = 0.02;
/// Requests per second for which four such servers are 70 % busy.
const COMFORTABLE: f64 = 4.0 * 0.7 / WORK;
/// Number of requests that a scenario measures.
const MEASURED: f64 = 60.0 * COMFORTABLE;

impl Played {
    fn of(imported: &Imported, speed: Option<f64>) -> Played {
        let span = imported.span().max(1.0);
        let recorded = imported.requests.len() as f64 / span;
        let speed = match speed {
            Some(speed) => format!("{speed}"),
            None => significant(COMFORTABLE / recorded, 3),
        };
        let factor: f64 = speed.parse().unwrap_or(1.0);
        let rate = recorded * factor;
        let servers = (rate * WORK / 0.7).ceil().clamp(4.0, 10_000.0) as u64;
        // As many requests as in a minute at the default speed, but at most a day and at most the whole log.
        let duration = (MEASURED / rate).min(span / factor).clamp(60.0, 86_400.0) as u64;
        let servers = if rate <= 1.01 * COMFORTABLE { 4 } else { servers };
        Played { recorded, speed, factor, servers, duration }
    }

    /// "1,234 times as fast as …", in full words.
    fn plainly(&self) -> String {
        let Played { recorded, factor, .. } = *self;
        let rate = |rate: f64| significant(rate, 3);
        if (0.999..1.001).contains(&factor) {
            return format!("at the speed of the recording ({} requests per second)", rate(recorded));
        }
        let (times, way) = if factor > 1.0 { (factor, "FASTER") } else { (1.0 / factor, "SLOWER") };
        format!(
            "{} TIMES {way} than it was recorded:\n\
             {} requests per second become {}, and a minute of the scenario is\n\
             {} of the log. Pauses of clients, bursts and the age of what caches hold\n\
             shrink or grow by as much; service times and time-outs do not",
            significant(times, 3),
            rate(recorded),
            rate(recorded * factor),
            long(60.0 * factor)
        )
    }
}

/// A scenario for this workload: with enough load for queues to form, and short enough to run at once.
fn template(imported: &Imported, played: &Played, file: &str) -> String {
    let (requests, span) = (imported.requests.len(), imported.span());
    let Played { ref speed, servers, duration, recorded, .. } = *played;
    format!(
        r#"title = "A replayed access log"
question = """
Which strategy would serve the recorded requests best? The log has {requests} requests over {span:.0} seconds, {rate} per
second. This scenario plays it {plainly}.
With `speed = 1` it is played as it was recorded. It holds no service times: those below are a guess, put in what you know.
"""
duration = "{duration}s"
warmup = "10s"
replications = 10

arrivals = {{ replay = {{ file = {file}, speed = {speed}, loop = true }} }}
clients = {{ timeout = "2s" }}

# Work of a request when its answer is not cached, and more for each byte of the answer.
service = {{ exponential = {{ mean = "20ms" }} }}
per_byte = "20ns"

[[pools]]
name = "web"
health = {{ interval = "1s" }}

[[pools.servers]]
name = "web"
count = {servers}
cache = {{ capacity = 200, ttl = "60s", hit_cost = "10%" }}
"#,
        rate = significant(recorded, 3),
        plainly = played.plainly(),
        file = quoted(file),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_significant_digits() {
        for (value, text) in
            [(0.004_666_7, "0.00467"), (3043.478, "3040"), (140.0, "140"), (1.0, "1"), (6.7e10, "67000000000")]
        {
            assert_eq!(significant(value, 3), text);
        }
        for (seconds, text) in
            [(45.0 * 31_557_600.0, "45 years"), (182_608.7, "2.1 days"), (0.28, "0.28 s"), (90.0, "90 seconds")]
        {
            assert_eq!(long(seconds), text);
        }
    }

    #[test]
    fn packed_files_are_detected_by_their_first_bytes() {
        let utf_16: Vec<u8> = "192.0.2.1 - - [17/May/2015".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(packed(&utf_16).is_some_and(|(what, _)| what == "UTF-16 text"));
        assert!(packed(b"BZh91AY").is_some() && packed(b"\x28\xb5\x2f\xfd..").is_some());
        for plain in [&b""[..], b"192.0.2.1 - - [17/May/2015:10:05:03 +0000]", b"\x1f\x8b\x08", &[0; 4096]] {
            assert_eq!(packed(plain), None);
        }
    }

    #[test]
    fn a_workload_is_named_from_the_scenario_s_folder() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        for name in ["a/b", "c"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        // Absolute paths are kept.
        let absolute = at("c/w.csv");
        assert_eq!(reference(&absolute, &at("a/s.toml")).unwrap_or_default(), absolute.to_str().unwrap());
        assert_eq!(reference(Path::new("w.csv"), Path::new("s.toml")).unwrap_or_default(), "w.csv");
        let scenario = at("s.toml");
        let up = reference(Path::new("w.csv"), &scenario).unwrap_or_default();
        assert!(up.starts_with("../") && up.ends_with("/w.csv"), "{up}");
        assert_eq!(
            scenario.parent().unwrap().join(up).parent().unwrap().canonicalize().unwrap(),
            Path::new(".").canonicalize().unwrap()
        );
    }
}
