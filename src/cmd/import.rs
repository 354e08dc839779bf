//! `evenkeel import`: an access log becomes a workload that a scenario can replay.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Failure, output};
use crate::scenario::import::{self, Imported, import as read_log};
use crate::scenario::workload_file;

/// What to read and where to write.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel import /var/log/nginx/access.log
  evenkeel import access.log.gz --output monday.csv
  zcat access.log.*.gz | evenkeel import - --output week.csv --scenario week.toml && evenkeel run week.toml

Reads the common and combined formats of nginx and Apache, and what `evenkeel proxy` logs in either of its formats,
plain or gzip. Stamps of common and combined logs are whole seconds: requests of the same second are spread inside it at
random, in the order of the log and always the same way; those of JSON are exact. Logs hold no service times: what a
request costs is for the scenario to say.")]
pub struct Args {
    /// The log; `-` reads standard input
    log: PathBuf,
    /// The workload file [default: the log's name with `.workload.csv`, in this folder]
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Also write a scenario that replays it, ready to run
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// How its lines look; found out for each line unless said
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    format: Format,
    /// Keep the query in paths
    #[arg(long)]
    keep_query: bool,
    /// Overwrite files that exist
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// Found out for each line
    Auto,
    /// Common or combined, with whatever stands behind
    Combined,
    /// A JSON object per line, as the proxy writes it
    Json,
}

impl From<Format> for import::Format {
    fn from(format: Format) -> import::Format {
        match format {
            Format::Auto => import::Format::Auto,
            Format::Combined => import::Format::Combined,
            Format::Json => import::Format::Json,
        }
    }
}

pub fn import(args: &Args) -> Result<(), Failure> {
    if args.log == Path::new("-") && args.output.is_none() {
        return Err(Failure::Usage(
            "the log comes from standard input and has no name\n  help: say --output FILE".to_owned(),
        ));
    }
    let output = args.output.clone().unwrap_or_else(|| default_output(&args.log));
    for path in [Some(&output), args.scenario.as_ref()].into_iter().flatten() {
        if path.exists() && !args.force {
            return Err(Failure::Usage(format!(
                "`{}` exists\n  help: choose another name, or --force",
                path.display()
            )));
        }
    }
    let log = read(&args.log)?;
    let imported = read_log(&log, args.format.into(), args.keep_query);
    report(&imported);
    if imported.lines.is_empty() {
        let what = "no line could be read as an entry of an access log";
        return Err(Failure::Usage(format!("`{}`: {what}", args.log.display())));
    }
    let text = workload_file::write(&imported.lines).map_err(|error| Failure::Broken(error.into()))?;
    output::write_whole(&output, text.as_bytes())?;
    eprintln!("wrote {}", output.display());
    if let Some(scenario) = &args.scenario {
        output::write_whole(scenario, template(&imported, &output, scenario).as_bytes())?;
        eprintln!(
            "wrote {}: set the service times to what you know of your servers, then `evenkeel run {0}`",
            scenario.display()
        );
    } else {
        eprintln!(
            "replay it with `arrivals = {{ replay = {{ file = \"{}\", speed = 10, loop = true }} }}`",
            file_name(&output)
        );
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

fn read(log: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let result = if log == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(log).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    result.map_err(|error| Failure::Usage(format!("cannot read `{}`: {error}", log.display())))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .read_to_end(&mut plain)
            .map_err(|error| Failure::Usage(format!("`{}` is not a sound gzip file: {error}", log.display())))?;
        return Ok(plain);
    }
    Ok(bytes)
}

/// What was found and what was done to it, on standard error.
fn report(imported: &Imported) {
    let distinct = |of: fn(&workload_file::Line) -> &str| {
        imported.lines.iter().map(of).collect::<std::collections::BTreeSet<_>>().len()
    };
    let span = imported.lines.last().map_or(0.0, |line| line.arrival);
    eprintln!(
        "{} requests over {span:.0} s from {} clients for {} paths",
        imported.lines.len(),
        distinct(|line| &line.client),
        distinct(|line| &line.path),
    );
    if imported.whole_seconds > 0 {
        eprintln!(
            "stamps are whole seconds: every request was given a place inside its second, at random but in the log's order ({} seconds hold more than one)",
            imported.shared_seconds
        );
    }
    if imported.out_of_order > 0 {
        eprintln!(
            "{} lines stood after a later stamp (logs are written when requests end) and were put in order",
            imported.out_of_order
        );
    }
    if imported.blank > 0 {
        eprintln!("{} blank lines", imported.blank);
    }
    if imported.malformed > 0 {
        eprintln!("{} lines could not be read and are not in the workload, the first of them:", imported.malformed);
        for (line, reason) in &imported.examples {
            eprintln!("  line {line}: {reason}");
        }
    }
}

/// A scenario for this workload: fast enough to be interesting, small enough to run at once.
fn template(imported: &Imported, workload: &Path, scenario: &Path) -> String {
    let span = imported.lines.last().map_or(1.0, |line| line.arrival).max(1.0);
    let rate = imported.lines.len() as f64 / span;
    // 4 servers of 20 ms per request are 70 % busy at 140 requests per second.
    let speed = (140.0 / rate * 100.0).round() / 100.0;
    let beside = workload.parent().unwrap_or(Path::new("")) == scenario.parent().unwrap_or(Path::new(""));
    let file = if beside { file_name(workload) } else { workload.display().to_string() };
    format!(
        r#"title = "A replayed access log"
question = """
Which strategy would serve the recorded requests best? The log has {requests} requests over {span:.0} seconds, {rate:.3} per
second; `speed` plays it so much faster. It holds no service times: those below are a guess, put in what you know.
"""
duration = "60s"
warmup = "10s"
replications = 10

arrivals = {{ replay = {{ file = {file:?}, speed = {speed}, loop = true }} }}
clients = {{ timeout = "2s" }}

# Work of a request when its answer is not cached, and more for each byte of the answer.
service = {{ exponential = {{ mean = "20ms" }} }}
per_byte = "20ns"

[[pools]]
name = "web"
health = {{ interval = "1s" }}

[[pools.servers]]
name = "web"
count = 4
cache = {{ capacity = 200, ttl = "60s", hit_cost = "10%" }}
"#,
        requests = imported.lines.len(),
    )
}
