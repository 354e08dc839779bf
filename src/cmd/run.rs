//! `evenkeel run`: every strategy over every scenario and replication.

use std::path::PathBuf;

use super::{Failure, Terminal, inputs, output, say, work};
use crate::report::table;
use crate::scenario::Scenario;

/// What to run and where to put it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel run                                     all of scenarios/ into results/
  evenkeel run scenarios/crash.toml --out /tmp/r   one scenario
  evenkeel run mine.toml --strategies p2c,random --replications 20
  evenkeel run scenarios --quick                   a first look: two replications, shorter spans")]
pub struct Args {
    /// Scenario files, or folders of them
    #[arg(default_value = "scenarios")]
    paths: Vec<PathBuf>,
    /// Where results go, a folder per scenario
    #[arg(long, short, default_value = "results", env = "EVENKEEL_OUT")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
    /// A first look: two replications, and a fifth of the span where no timeline forbids it
    #[arg(long)]
    quick: bool,
    /// Print the results as JSON, one object per scenario and line, and no tables
    #[arg(long)]
    json: bool,
    /// Write no files
    #[arg(long)]
    dry_run: bool,
}

/// What `run` and `check` share.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// Only these strategies, separated by commas (names from `evenkeel list`)
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub strategies: Vec<String>,
    /// Runs per strategy, each with its own seed; more give narrower intervals [default: the scenario's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub replications: Option<u32>,
    /// The seed from which all randomness comes [default: the scenario's]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Threads; the results do not depend on it [default: one per processor]
    #[arg(long, short, env = "EVENKEEL_JOBS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub jobs: Option<u16>,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}

impl Common {
    /// Applies seed and replications.
    pub fn apply(&self, scenarios: &mut [Scenario]) {
        for scenario in scenarios {
            scenario.replications = self.replications.unwrap_or(scenario.replications);
            scenario.seed = self.seed.unwrap_or(scenario.seed);
        }
    }

    /// Threads, 0 for one per processor.
    pub fn jobs(&self) -> usize {
        self.jobs.unwrap_or(0).into()
    }
}

pub fn run(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let (mut scenarios, some_failed) = inputs::load(&args.paths, terminal)?;
    inputs::choose(&mut scenarios, &args.common.strategies)?;
    if args.quick {
        scenarios.iter_mut().for_each(Scenario::quick);
    }
    args.common.apply(&mut scenarios);
    let provenance = output::provenance();
    work::work(&scenarios, args.common.jobs(), args.common.quiet || args.json, |outcome, bar| {
        if !args.dry_run {
            output::write(&outcome, &args.out, &provenance)?;
        }
        bar.suspend(|| {
            if args.json {
                say(json(&outcome));
                return;
            }
            let scenario = outcome.scenario;
            say(format_args!("\n{}  ({})", terminal.bold(&scenario.title), scenario.name));
            say(describe(scenario));
            let hashes = |label: &str| label.starts_with("consistent_hash") && !label.contains("on=");
            if scenario.contestants.iter().any(|contestant| hashes(&contestant.label)) {
                scenario.notes.iter().for_each(|note| say(format_args!("note: {note}")));
            }
            say(table::render(&outcome, terminal.out, terminal.width));
            if let Some(failures) = table::failures(&outcome) {
                say(failures);
            }
        });
        Ok(())
    })?;
    if !args.json && !scenarios.is_empty() {
        say(format_args!("\n{}", table::LEGEND));
        if !args.dry_run {
            say(format_args!("\nTables, CSV and charts are in {}.", args.out.display()));
        }
    }
    if some_failed { Err(Failure::Usage(String::new())) } else { Ok(()) }
}

/// Under the title: how it was measured.
fn describe(scenario: &Scenario) -> String {
    let load = match scenario.offered_load {
        Some(load) => format!("offered load {:.0} %, ", load * 100.0),
        None => String::new(),
    };
    let warmup = match scenario.model.warmup.0 {
        0 => String::new(),
        _ => format!(" after {} of warm-up", scenario.model.warmup),
    };
    let runs = if scenario.replications == 1 { "1 run" } else { &format!("{} runs", scenario.replications) };
    format!("{load}{} measured{warmup}, {runs} per strategy, seed {}", scenario.model.duration, scenario.seed)
}

fn json(outcome: &crate::report::Outcome<'_>) -> serde_json::Value {
    let number = |value: f64| if value.is_finite() { serde_json::json!(value) } else { serde_json::Value::Null };
    let strategies: Vec<_> = outcome
        .summaries
        .iter()
        .map(|summary| {
            let metrics: serde_json::Map<String, serde_json::Value> = summary
                .metrics
                .iter()
                .map(|metric| {
                    let e = metric.estimate();
                    let value = serde_json::json!({
                        "unit": metric.unit, "value": number(e.value), "low": number(e.low), "high": number(e.high),
                        "replications": e.replications,
                    });
                    (metric.name.clone(), value)
                })
                .collect();
            serde_json::json!({ "strategy": summary.label, "oracle": summary.oracle, "metrics": metrics })
        })
        .collect();
    serde_json::json!({
        "schema_version": 1, "scenario": outcome.scenario.name, "seed": outcome.scenario.seed, "strategies": strategies,
    })
}
