//! `evenkeel run`: runs every strategy in every scenario, with replications.

use std::path::PathBuf;
use std::sync::Mutex;

use super::experiment::{Experiment, Precision, Settings};
use super::inputs::Loaded;
use super::scheduler::{Done, Options};
use super::{Failure, Terminal, complain, inputs, report as reports, results_dir, run_cache, say, scheduler, warmup};
use crate::report::{self, Outcome, html, table};
use evenkeel_core::units::Ratio;
use evenkeel_sim::scenario::Scenario;

/// Scenarios to run, and the output folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel run slow-server                    an embedded scenario
  evenkeel run mine.toml --quick              five short runs, a first look
  evenkeel run mine.toml --strategies core    a dozen strategies
  evenkeel run mine.toml --strategies p2c,random --replications 20
  evenkeel run mine.toml --precision 2%       as many runs as needed
  evenkeel run scenarios --out /tmp/results   every scenario of a folder
  evenkeel run scenarios --resume             continue an interrupted run
  evenkeel run mine.toml --trace              also write every request
  evenkeel run crash --acts acts.jsonl        repeat the acts of a run
  evenkeel run mine.toml --export-markdown comment.md

To divide a run between machines:
  evenkeel run scenarios --shard 1/2 --out part1
  evenkeel run scenarios --shard 2/2 --out part2
  evenkeel merge part1 part2 --out results")]
pub struct Args {
    /// Scenario files, folders of them, or names of embedded scenarios
    #[arg(default_value = "scenarios")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    output: OutputArgs,
    /// Five short replications, for a first look; durations are shortened unless faults or changes fix them
    #[arg(long)]
    quick: bool,
    /// Add replications until the relative half width of the 95 % interval of mean and p99 is at most this, for every strategy
    #[arg(long, value_name = "SHARE", conflicts_with_all = ["shard", "batches"])]
    precision: Option<Ratio>,
    /// With --precision: maximum number of replications
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    max_replications: u32,
    /// One long run divided into N batches, instead of replications: as many requests, one warm-up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1000))]
    batches: Option<u32>,
    /// Write every request of every run to OUT/SCENARIO/trace as CSV
    #[arg(long, conflicts_with_all = ["dry_run", "resume", "shard"])]
    trace: bool,
    /// Also write question, answer and table as Markdown to a file, for a comment on a pull request
    #[arg(long, value_name = "FILE")]
    export_markdown: Option<PathBuf>,
    /// Faults and changes of the load at given times, in addition to the scenario's: TOML or JSON lines, as logged by an
    /// interactive run
    #[arg(long, value_name = "FILE")]
    acts: Option<PathBuf>,
    /// Print the JSON schema of scenario files
    #[arg(long, exclusive = true)]
    schema: bool,
}

/// Output folder and division of the work: the options that `run` and `sweep` share.
#[derive(Debug, clap::Args)]
pub struct OutputArgs {
    /// Output folder; each scenario gets a subfolder
    #[arg(long, short, default_value = "results", env = "EVENKEEL_OUT")]
    pub out: PathBuf,
    /// Reuse finished runs of an earlier command that was interrupted
    #[arg(long)]
    pub resume: bool,
    /// Run only part I of N (1/3, 2/3, 3/3) and keep its runs for `evenkeel merge`
    #[arg(long, value_name = "I/N", value_parser = shard)]
    pub shard: Option<(u32, u32)>,
    /// Keep every finished run on disk, in OUT/SCENARIO/runs
    #[arg(long)]
    pub keep_runs: bool,
    /// Also draw every chart as PNG; SVG is always written
    #[arg(long, conflicts_with = "dry_run")]
    pub png: bool,
    /// Write no HTML report
    #[arg(long)]
    pub no_report: bool,
    /// Print the results as JSON, one object per scenario and line, and no tables
    #[arg(long)]
    pub json: bool,
    /// Write no files
    #[arg(long, conflicts_with_all = ["resume", "shard", "keep_runs"])]
    pub dry_run: bool,
}

/// `2/3` as (1, 3).
fn shard(text: &str) -> Result<(u32, u32), String> {
    let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    match parts {
        Some((part, of)) if (1..=of).contains(&part) && of <= 10_000 => Ok((part - 1, of)),
        _ => Err("write it as part/parts, from 1/3 to 3/3".to_owned()),
    }
}

/// Options of every command that runs scenarios.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Only these strategies, separated by commas: names from `evenkeel list`, with parameters as in 'p2c(choices=3)', `core`
    /// (a dozen that most people choose between) or `all`
    #[arg(long, value_name = "A,B")]
    pub strategies: Vec<String>,
    /// Runs per strategy, each with its own seed; more give narrower intervals [default: the scenario's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub replications: Option<u32>,
    /// Seed of all randomness [default: the scenario's]
    #[arg(long)]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub jobs: Jobs,
    /// Show no progress bar
    #[arg(long, short)]
    pub quiet: bool,
}

impl Common {
    /// The settings of these options alone. The strategies are those of these scenarios, or of the catalogue.
    pub fn settings(&self, loaded: &[Loaded]) -> Result<Settings, Failure> {
        let strategies = inputs::named(&self.strategies, loaded)?;
        Ok(Settings { strategies, replications: self.replications, seed: self.seed, ..Settings::default() })
    }
}

/// Number of threads: an option of every command that runs simulations.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Jobs {
    /// Number of threads; results do not depend on it [default: one per processor]
    #[arg(long, short, env = "EVENKEEL_JOBS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Jobs {
    /// Threads, 0 for one per processor.
    pub fn count(self) -> usize {
        self.jobs.unwrap_or(0).into()
    }
}

pub fn run(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    if args.schema {
        say(format!("{:#}", evenkeel_sim::scenario::schema()));
        return Ok(());
    }
    if let Some(Ratio(target)) = args.precision
        && !(target > 0.0 && target < 1.0)
    {
        return Err(Failure::Usage("--precision must be between 0 and 100 %, for example 2%".to_owned()));
    }
    let (loaded, some_failed) = inputs::load(&args.paths, terminal)?;
    let acts = args.acts.as_ref().map_or(Ok(Vec::new()), |file| inputs::read_acts(file, &loaded, terminal))?;
    let settings = Settings {
        acts,
        quick: args.quick,
        batches: args.batches,
        precision: args.precision.map(|Ratio(target)| Precision { target, most: args.max_replications }),
        ..args.common.settings(&loaded)?
    };
    let experiments =
        loaded.into_iter().map(|loaded| Experiment::new(loaded, &settings)).collect::<Result<Vec<_>, _>>()?;
    let also = Also { trace: args.trace.then(|| args.output.out.clone()), markdown: args.export_markdown.clone() };
    execute(experiments, &args.output, &args.common, also, |outcomes, json| {
        if !json {
            print(&outcomes[0], terminal);
        }
    })?;
    if some_failed { Err(Failure::Usage(String::new())) } else { Ok(()) }
}

/// What a run may write besides its results.
#[derive(Default)]
pub struct Also {
    /// The folder for traces of every request.
    pub trace: Option<PathBuf>,
    /// The file for Markdown of all scenarios.
    pub markdown: Option<PathBuf>,
}

/// Runs experiments, writes and prints the results, and keeps finished ones even after an error. `show` is called for each
/// experiment; its flag says that the results have been printed as JSON already.
pub fn execute(
    mut experiments: Vec<Experiment>,
    output: &OutputArgs,
    common: &Common,
    also: Also,
    show: impl Fn(&[Outcome<'_>], bool) + Sync,
) -> Result<(), Failure> {
    let quiet = common.quiet || output.json;
    warmup::find(&mut experiments, common.jobs.count(), quiet)?;
    if output.resume {
        experiments.retain(|experiment| {
            let complete = results_dir::is_complete(experiment, &output.out, output.png);
            if complete && !common.quiet {
                complain(format_args!("{}: already complete", experiment.folder()));
            }
            !complete
        });
    }
    let cache = if output.dry_run { run_cache::RunCache::default() } else { run_cache::RunCache::at(&output.out) };
    for experiment in &experiments {
        cache.open(experiment, output.resume || output.shard.is_some() || output.keep_runs)?;
    }
    let options = Options {
        jobs: common.jobs.count(),
        quiet,
        cache: cache.clone(),
        shard: output.shard,
        stored_only: false,
        trace: also.trace,
    };
    let markdown = Mutex::new(String::new());
    let keep = output.keep_runs || output.shard.is_some();
    let done = scheduler::run(&experiments, &options, |experiment, outcomes, bar| {
        if !output.dry_run || also.markdown.is_some() {
            let folder = results_dir::folder(experiment, &outcomes, output.png)?;
            if also.markdown.is_some() {
                let mut all = markdown.lock().expect("no worker panics while it writes");
                all.push_str(&html::markdown(&html::document(&folder)?));
                all.push('\n');
            }
            if !output.dry_run {
                results_dir::write(experiment, &outcomes, &folder, &output.out, !output.no_report)?;
            }
        }
        if !output.dry_run && !keep {
            cache.clear(experiment)?;
        }
        bar.suspend(|| {
            if output.json {
                say(report::json::render(&outcomes));
            }
            show(&outcomes, output.json);
        });
        Ok(())
    })?;
    if let Some(file) = &also.markdown {
        let text = markdown.into_inner().expect("no worker panics while it writes");
        results_dir::write_whole(file, format!("{}\n", text.trim_end()).as_bytes())?;
    }
    let reported = !output.dry_run && !output.no_report && done.left == 0;
    if reported {
        reports::write_index(&output.out)?;
    }
    conclude(&experiments, output, done, quiet);
    Ok(())
}

/// The last lines: how to read the tables, and the output folder.
fn conclude(experiments: &[Experiment], output: &OutputArgs, done: Done, quiet: bool) {
    if output.resume && !quiet && done.found > 0 {
        complain(format_args!("{} runs reused, {} run now", done.found, done.run));
    }
    let out = output.out.display();
    if let Some((part, of)) = output.shard
        && done.left > 0
    {
        if !quiet {
            say(format_args!(
                "Part {} of {of} is done: {} runs are in {out}. When all parts are: evenkeel merge PART PART … --out DIR",
                part + 1,
                done.run + done.found
            ));
        }
        return;
    }
    if !output.json && !experiments.is_empty() {
        // The output of a sweep has no such columns.
        if experiments.iter().all(|experiment| experiment.points.len() == 1) {
            say(format_args!("\n{}", table::LEGEND));
        }
        if !output.dry_run {
            say(format_args!("\nTables, CSV and charts are in {out}."));
            if let Some(report) = report_path(experiments, output) {
                say(format_args!("Report: {}", report.display()));
            }
        }
    }
}

/// The report of the only scenario, or the list of all; `None` without reports.
fn report_path(experiments: &[Experiment], output: &OutputArgs) -> Option<PathBuf> {
    let path = match experiments {
        [only] => output.out.join(only.folder()).join(html::REPORT),
        _ => output.out.join(html::INDEX),
    };
    (!output.no_report).then_some(path)
}

/// A scenario's table with its notes.
pub fn print(outcome: &Outcome<'_>, terminal: Terminal) {
    let scenario = outcome.scenario;
    say(format_args!("\n{}  ({})", terminal.bold(&scenario.title), scenario.name));
    say(format_args!("\n{}\n", prose(&scenario.question, terminal)));
    say(describe(outcome));
    let hashes = |label: &str| label.starts_with("consistent_hash") && !label.contains("on=");
    if scenario.variants.iter().any(|variant| hashes(&variant.label)) {
        scenario.notes.iter().for_each(|note| say(format_args!("note: {note}")));
    }
    scenario.remarks.iter().for_each(|remark| say(format_args!("note: {remark}")));
    say(table::render(outcome, terminal.out, terminal.width));
    report::why::short(outcome).into_iter().for_each(|line| say(format_args!("Why: {line}")));
    if let Some(failures) = table::failures(outcome) {
        say(failures);
    }
    table::theory(outcome).into_iter().for_each(|line| say(format_args!("Theory: {line}.")));
    let strategies = outcome.summaries.len();
    table::notes(outcome).iter().for_each(|note| say(format_args!("Note: {}.", note.line(strategies))));
    if let Some(answer) = &scenario.answer {
        say(format_args!("\n{}\n{}", terminal.bold("Answer"), prose(answer, terminal)));
    }
}

/// Paragraphs of a scenario file, wrapped to the terminal's width; 80 columns in a pipe.
pub fn prose(text: &str, terminal: Terminal) -> String {
    let width = usize::from(terminal.width.unwrap_or(80)).clamp(40, 100);
    let fill = |paragraph: &str| textwrap::fill(&paragraph.split_whitespace().collect::<Vec<_>>().join(" "), width);
    text.split("\n\n").map(fill).collect::<Vec<_>>().join("\n\n")
}

/// Under the title: the settings of the measurement.
fn describe(outcome: &Outcome<'_>) -> String {
    let Scenario { model, offered_load, seed, .. } = outcome.scenario;
    let cached = model.pools.iter().flat_map(|pool| &pool.servers).any(|server| server.cache.is_some());
    let load = match offered_load {
        Some(load) => format!("offered load {:.0} %{}, ", load * 100.0, if cached { " without caches" } else { "" }),
        None => String::new(),
    };
    let load = load + &busy(outcome);
    let warmup = match (model.warmup.0, model.cache_warmup > model.warmup) {
        (0, false) => String::new(),
        (0, true) => format!(" ({} of warm-up for caches)", model.cache_warmup),
        (_, false) => format!(" after {} of warm-up", model.warmup),
        (_, true) => format!(" after {} of warm-up ({} for caches)", model.warmup, model.cache_warmup),
    };
    let runs = match outcome.replications {
        1 if model.batches > 1 => format!("1 run in {} batches", model.batches),
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    };
    format!("{load}{} measured{warmup}, {runs} per strategy, seed {seed}", model.duration)
}

/// Measured utilisation of the busiest pool, from the lowest to the highest of all strategies, next to the offered load.
fn busy(outcome: &Outcome<'_>) -> String {
    let (least, most) = outcome
        .summaries
        .iter()
        .map(|summary| summary.utilisation(outcome.scenario))
        .filter(|busy| busy.is_finite())
        .fold((f64::INFINITY, 0.0_f64), |(least, most), busy| (least.min(busy), most.max(busy)));
    let percent = |share: f64| format!("{:.0}", share * 100.0);
    match (percent(least), percent(most)) {
        _ if !least.is_finite() => String::new(),
        (least, most) if least == most => format!("servers {most} % busy, "),
        (least, most) => format!("servers {least} to {most} % busy, "),
    }
}
