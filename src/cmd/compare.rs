//! `evenkeel compare`: compares two folders of results, before and after: regressions, improvements, and their significance.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Failure, Terminal, complain, inputs, results_dir, say_on as say};
use crate::report::changes::{Compared, EXPORTERS, Json, Table};
use crate::report::export::{Exporter, Layout};
use evenkeel_config::diagnostic::did_you_mean;
use evenkeel_config::terminal::is_stdout;
use evenkeel_core::units::Ratio;
use evenkeel_sim::measure::comparison::{self, Question, Tolerance};
use evenkeel_sim::measure::results::{Manifest, Results, differences};

/// What to compare, how strictly, and where to write it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel run scenarios --out before          then change something, and
  evenkeel run scenarios --out after
  evenkeel compare before after                regressions and improvements
  evenkeel compare before after --all --metrics latency.p50,goodput
  evenkeel compare before after --tolerance 3% --export-markdown comment.md
  evenkeel compare before after --allow-undecided     for too few runs
  evenkeel compare a b --pair 'p2c(choices=2)=p2c(choices=3)'
  evenkeel compare a b --json | jq '.changes[] | select(.verdict == \"worse\")'

Runs of the same seed are compared in pairs: they met the same requests, so that a change of one per cent is \
found that the means alone would hide. Run both sides with the same --seed and at least five --replications; \
fewer are never judged. A metric is called worse only if its whole interval lies beyond the tolerance; all \
intervals hold together with 95 %.

Exit codes: 0 no regression, 1 something got worse than is tolerated or is missing in NEW, 4 nothing could \
be decided: too few runs, only metrics without a better direction, or only new strategies and metrics.")]
pub struct Args {
    /// Results before: what `evenkeel run --out` wrote, or the folder of one scenario in it
    old: PathBuf,
    /// Results after
    new: PathBuf,
    /// Metrics to compare, separated by commas (columns of replications.csv, or `failed`)
    #[arg(long, value_delimiter = ',', value_name = "A,B", default_values = comparison::DEFAULT_METRICS)]
    metrics: Vec<String>,
    /// Tolerated regression, relative to before. Latencies are recorded to 0.1 %, so smaller values mean
    /// little
    #[arg(long, value_parser = tolerance, default_value = "1%")]
    tolerance: Ratio,
    /// Tolerated regression of shares and fairness (error rate, cache hits, Jain's index), in percentage points
    #[arg(long, value_parser = tolerance, default_value = "0.1%", value_name = "POINTS")]
    tolerance_share: Ratio,
    /// Compare strategies of different labels; repeatable
    #[arg(long, value_name = "OLD=NEW")]
    pair: Vec<String>,
    /// Do not fail if NEW lacks something that OLD has
    #[arg(long)]
    allow_missing: bool,
    /// Exit 0 instead of 4 when nothing could be decided
    #[arg(long)]
    allow_undecided: bool,
    /// Show every comparison, also unchanged ones
    #[arg(long)]
    all: bool,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    exports: Exports,
    /// Overwrite existing exported files
    #[arg(long)]
    force: bool,
}

fn tolerance(text: &str) -> Result<Ratio, String> {
    let ratio: Ratio = text.parse()?;
    if ratio.0 < 1.0 { Ok(ratio) } else { Err(format!("`{text}` must be below 1: one per cent is \"1%\" or 0.01")) }
}

pub fn compare(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    one_standard_output(args)?;
    for (i, path) in exports(args).enumerate() {
        results_dir::refuse_existing(path, args.force)?;
        if exports(args).take(i).any(|other| results_dir::same_file(other, path)) {
            return Err(Failure::Usage(format!(
                "two exports would go to `{}`\n  help: give each a name",
                path.display()
            )));
        }
    }
    let mut remarks = Vec::new();
    let (old, mut new) = (read(&args.old, &mut remarks)?, read(&args.new, &mut remarks)?);
    same_names(args, &old, &mut new, &mut remarks);
    let matched: Vec<(&Results, &Results)> = old
        .iter()
        .filter_map(|old| Some((old, new.iter().find(|new| new.manifest.scenario == old.manifest.scenario)?)))
        .collect();
    if matched.is_empty() {
        let names = |all: &[Results]| all.iter().map(|r| r.manifest.scenario.as_str()).collect::<Vec<_>>().join(", ");
        let message = "the two folders have no scenario in common";
        return Err(Failure::Usage(format!("{message}\n  OLD has: {}\n  NEW has: {}", names(&old), names(&new))));
    }
    known_metrics(&args.metrics, &old, &new)?;
    let pairs = pairs(&args.pair, &old, &new)?;
    let mut seen = BTreeSet::new();
    let metrics: Vec<String> = args.metrics.iter().filter(|metric| seen.insert(*metric)).cloned().collect();
    let tolerance = Tolerance { relative: args.tolerance.0, share: args.tolerance_share.0 };
    let changes = comparison::compare(&old, &new, &Question { metrics: &metrics, tolerance, pairs: &pairs });
    if changes.all.is_empty() {
        return Err(Failure::Usage("no strategy has a value of these metrics".to_owned()));
    }
    let differences = differences(&matched);
    let compared = Compared {
        old: args.old.display().to_string(),
        new: args.new.display().to_string(),
        changes: &changes,
        differences: &differences,
        remarks: &remarks,
        allow_missing: args.allow_missing,
        allow_undecided: args.allow_undecided,
    };
    tell(args, &compared, terminal)?;
    if compared.failed() {
        Err(Failure::No)
    } else if compared.undecided() && !args.allow_undecided {
        Err(Failure::Undecided)
    } else {
        Ok(())
    }
}

/// Files to export to, each with its format: a flag for each of [`EXPORTERS`].
#[derive(Clone, Debug, Default)]
struct Exports(Vec<(usize, PathBuf)>);

impl clap::Args for Exports {
    fn augment_args(command: clap::Command) -> clap::Command {
        EXPORTERS.iter().fold(command, |command, exporter| {
            let help = format!("Also write {}; `-` is standard output in place of the tables", exporter.purpose());
            let path = clap::value_parser!(PathBuf);
            let argument = clap::Arg::new(exporter.flag()).long(exporter.flag());
            command.arg(argument.value_name("FILE").value_parser(path).help(help))
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Exports::augment_args(command)
    }
}

impl clap::FromArgMatches for Exports {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Exports, clap::Error> {
        let given = |(i, flag): (usize, &str)| Some((i, matches.get_one::<PathBuf>(flag)?.clone()));
        let flags = EXPORTERS.iter().map(|exporter| exporter.flag());
        Ok(Exports(flags.enumerate().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Exports::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The files to export to.
fn exports(args: &Args) -> impl Iterator<Item = &Path> {
    args.exports.0.iter().map(|(_, path)| path.as_path())
}

/// Refuses two outputs that both need all of standard output.
fn one_standard_output(args: &Args) -> Result<(), Failure> {
    let dashes = exports(args).filter(|path| is_stdout(path)).count();
    if dashes + usize::from(args.json) > 1 {
        let message = "only one output can go to standard output";
        return Err(Failure::Usage(format!("{message}\n  help: give the others the name of a file")));
    }
    Ok(())
}

/// Files first: they are complete even if standard output is closed.
fn tell(args: &Args, compared: &Compared<'_>, terminal: Terminal) -> Result<(), Failure> {
    let layout = Layout { colour: terminal.out, width: terminal.width, all: args.all };
    // A file has neither colours nor a width limit.
    let in_file = Layout { all: args.all, ..Layout::default() };
    let mut shown = if args.json { Some(Json.render(compared, in_file)?) } else { None };
    for (exporter, path) in &args.exports.0 {
        let text = EXPORTERS[*exporter].render(compared, in_file)?;
        if is_stdout(path) {
            shown = Some(text);
        } else {
            results_dir::write_whole(path, format!("{}\n", text.trim_end()).as_bytes())?;
        }
    }
    match shown {
        Some(text) => say(text.trim_end()),
        None => say(Table.render(compared, layout)?),
    }
    if let Some(why) = compared.why_undecided() {
        let severity = if args.allow_undecided { "warning" } else { "error" };
        let accept = if args.allow_undecided { "" } else { ";\n  --allow-undecided accepts it" };
        complain(format_args!("{severity}: nothing could be decided: {why}{accept}"));
    }
    Ok(())
}

/// The results in a folder: of one scenario, or a folder for each. Unfinished ones are left out with a note.
fn read(folder: &Path, remarks: &mut Vec<String>) -> Result<Vec<Results>, Failure> {
    let shown = folder.display();
    let help = "give a folder that `evenkeel run --out FOLDER` wrote";
    if !folder.exists() {
        return Err(Failure::Usage(format!("there is no folder `{shown}`\n  help: {help}")));
    }
    if !folder.is_dir() {
        return Err(Failure::Usage(format!("`{shown}` is a file, not a folder of results\n  help: {help}")));
    }
    if folder.join("manifest.json").exists() {
        return Ok(vec![read_one(folder)?]);
    }
    let entries = std::fs::read_dir(folder).map_err(|e| Failure::Usage(format!("cannot read {shown}: {e}")))?;
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    let mut found: Vec<Results> = Vec::new();
    for folder in folders {
        if folder.join("manifest.json").exists() {
            found.push(read_one(&folder)?);
        } else if folder.join("metrics.csv").exists() {
            remarks.push(format!("{} has no manifest: its run was not finished; it is left out", folder.display()));
        }
    }
    if found.is_empty() {
        return Err(Failure::Usage(format!("there are no results in `{shown}`\n  help: {help}")));
    }
    let mut names = BTreeSet::new();
    match found.iter().find(|results| !names.insert(&results.manifest.scenario)) {
        Some(twice) => {
            let name = &twice.manifest.scenario;
            Err(Failure::Usage(format!("`{shown}` has two folders with results of the scenario `{name}`")))
        }
        None => Ok(found),
    }
}

fn read_one(folder: &Path) -> Result<Results, Failure> {
    let bytes = |file: &Path| {
        let text = inputs::read_text(file, inputs::LONGEST_DATA);
        text.map(String::into_bytes).map_err(|why| Failure::Usage(format!("`{}` {why}", file.display())))
    };
    let path = folder.join("manifest.json");
    let manifest: Manifest = serde_json::from_slice(&bytes(&path)?)
        .map_err(|error| Failure::Usage(format!("{}:{}: {error}", path.display(), error.line())))?;
    if manifest.scenario.is_empty() {
        return Err(Failure::Usage(format!("{}: this manifest names no scenario", path.display())));
    }
    let path = folder.join("replications.csv");
    if !path.exists() {
        return Err(Failure::Usage(format!(
            "`{}` has no replications.csv, the table of the single runs that are compared\n  help: run the scenario again \
             (seed, replications and command are in its manifest.json), and keep that file",
            folder.display()
        )));
    }
    Results::parse(manifest, &bytes(&path)?).map_err(|error| Failure::Usage(format!("{}:{error}", path.display())))
}

/// Two folders of one scenario each are compared even if the names of the scenarios differ.
fn same_names(args: &Args, old: &[Results], new: &mut [Results], remarks: &mut Vec<String>) {
    let one = |path: &Path| path.join("manifest.json").exists();
    if let ([old], [new]) = (old, new)
        && one(&args.old)
        && one(&args.new)
        && old.manifest.scenario != new.manifest.scenario
    {
        let (was, is) = (&old.manifest.scenario, &new.manifest.scenario);
        remarks.push(format!("the scenario {was} is compared with {is}: both folders are of one scenario each"));
        new.manifest.scenario.clone_from(was);
    }
}

/// A metric that no scenario has is an error, unless it is one of the defaults.
fn known_metrics(metrics: &[String], old: &[Results], new: &[Results]) -> Result<(), Failure> {
    let known: BTreeSet<String> = old.iter().chain(new).flat_map(Results::known).collect();
    let default = |metric: &str| comparison::DEFAULT_METRICS.contains(&metric);
    match metrics.iter().find(|metric| !known.contains(*metric) && !default(metric)) {
        None => Ok(()),
        Some(metric) => {
            let help = did_you_mean(metric, known.iter().map(String::as_str));
            Err(Failure::Usage(format!("there is no metric `{metric}` in these results\n  help: {help}")))
        }
    }
}

/// `--pair`, split into labels.
fn pairs(texts: &[String], old: &[Results], new: &[Results]) -> Result<Vec<(String, String)>, Failure> {
    fn labels(all: &[Results]) -> BTreeSet<&str> {
        all.iter().flat_map(|results| results.rows.iter().map(|row| row.strategy.as_str())).collect()
    }
    let (old, new) = (labels(old), labels(new));
    let split = |text: &String| {
        comparison::split_pair(text, &old, &new).map_err(|why| Failure::Usage(format!("--pair `{text}`: {why}")))
    };
    texts.iter().map(split).collect()
}
