//! `evenkeel check`: verifies scenarios: their `[[expect]]`, the golden picks of every strategy, and whether the ranking
//! holds under other constants where a scenario asks for that.

use std::path::PathBuf;
use std::sync::Mutex;

use super::experiment::{Experiment, Settings};
use super::fingerprints::{self, Finding};
use super::inputs::Loaded;
use super::run::Common;
use super::scheduler::Options;
use super::{Failure, Terminal, inputs, lessons, say_on as say, scheduler, sweep, warmup};
use crate::report::Outcome;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::scenario::expect::Expect;

/// Scenarios to verify.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel check                       all of scenarios/
  evenkeel check mine.toml
  evenkeel check slow-server           the expectations of an embedded scenario
  evenkeel check scenarios --update    update the golden picks
  evenkeel check scenarios --json | jq 'select(.holds | not)'
  evenkeel check my-solution.toml --lesson 7

For expectations, only the strategies that they name are run. The picks of all strategies are compared with \
the golden picks in `fingerprints/` beside the scenario; embedded scenarios have none.

Exit codes: 0 every check holds, 1 one does not, 2 usage.")]
pub struct Args {
    /// Scenario files, folders of them, or names of embedded scenarios
    #[arg(default_value = "scenarios")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
    /// Print the results as JSON, one object per line
    #[arg(long)]
    json: bool,
    /// Update the golden picks to the current ones, and verify nothing else
    #[arg(long, conflicts_with_all = ["strategies", "replications", "seed"])]
    update: bool,
    /// Grade the file as a solution of this lesson's challenge: a number or name from `evenkeel lessons`
    #[arg(long, value_name = "LESSON", conflicts_with_all = ["update", "strategies", "replications", "seed"])]
    lesson: Option<String>,
}

impl Args {
    /// Whether to hide the progress bar: it must not mix with JSON.
    fn quiet(&self) -> bool {
        self.common.quiet || self.json
    }

    fn options(&self) -> Options {
        Options { jobs: self.common.jobs.count(), quiet: self.quiet(), ..Options::default() }
    }
}

/// Number of checks by result.
#[derive(Default)]
struct Count {
    held: usize,
    failed: usize,
}

impl Count {
    fn add(&mut self, holds: bool) {
        *if holds { &mut self.held } else { &mut self.failed } += 1;
    }
}

pub fn check(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    if let Some(lesson) = &args.lesson {
        return lessons::grade(lesson, &args.paths, args.json, terminal);
    }
    let (loaded, some_failed) = inputs::load(&args.paths, terminal)?;
    let settings = args.common.settings(&loaded)?;
    // Golden picks are taken at the scenario's own seed.
    let mut at_home = loaded.clone();
    at_home.iter_mut().for_each(|loaded| inputs::choose(&mut loaded.scenario, &settings.strategies));
    let findings = fingerprints::findings(&at_home, args.common.jobs.count(), args.quiet())?;
    if args.update {
        update(&findings, &loaded)?;
        return if some_failed { Err(Failure::Usage(String::new())) } else { Ok(()) };
    }
    let count = Mutex::new(Count::default());
    check_expectations(&loaded, &findings, &settings, args, terminal, &count)?;
    check_sensitivity(loaded, &settings, args, terminal, &count)?;

    let Count { held, failed } = count.into_inner().expect("no worker panics");
    if !args.json {
        say(format_args!("\n{held} of {} checks hold", held + failed));
    }
    match (failed, some_failed) {
        (0, false) => Ok(()),
        (0, true) => Err(Failure::Usage(String::new())),
        _ => Err(Failure::No),
    }
}

/// Writes the current picks as golden picks and reports the changes.
fn update(findings: &[Finding], loaded: &[Loaded]) -> Result<(), Failure> {
    if let Some(embedded) = loaded.iter().find(|loaded| loaded.path.is_none()) {
        let name = &embedded.scenario.name;
        let help = format!("evenkeel scenarios copy {name}, and check the copy");
        return Err(Failure::Usage(format!("`{name}` is embedded and has no golden picks\n  help: {help}")));
    }
    // All files are written before a line is printed: the reader of standard output may be closed.
    fingerprints::update(findings, loaded)?;
    for finding in findings {
        let what = match (finding.missing, finding.changes.len()) {
            (true, _) => "golden picks written for the first time".to_owned(),
            (_, 0) => "unchanged".to_owned(),
            (_, n) => format!("picks of {n} strategies updated"),
        };
        say(format_args!("{}: {what}", finding.scenario));
    }
    Ok(())
}

/// Prints the result for every scenario's golden picks, runs what its `[[expect]]` name, and verifies them.
fn check_expectations(
    loaded: &[Loaded],
    findings: &[Finding],
    settings: &Settings,
    args: &Args,
    terminal: Terminal,
    count: &Mutex<Count>,
) -> Result<(), Failure> {
    let mut experiments = Vec::new();
    for (mut loaded, finding) in loaded.iter().cloned().zip(findings) {
        if loaded.scenario.expects.is_empty() {
            // Nothing to run.
            say_scenario(&loaded.scenario, finding, args, terminal, count);
            continue;
        }
        keep_what_is_named(&mut loaded.scenario);
        experiments.push(Experiment::new(loaded, settings)?);
    }
    warmup::find(&mut experiments, args.common.jobs.count(), args.quiet())?;
    scheduler::run(&experiments, &args.options(), |_, outcomes, bar| {
        bar.suspend(|| {
            for outcome in &outcomes {
                if let Some(finding) = findings.iter().find(|finding| finding.scenario == outcome.scenario.name) {
                    say_scenario(outcome.scenario, finding, args, terminal, count);
                }
                let expects = &outcome.scenario.expects;
                expects.iter().for_each(|expect| say_expectation(expect, outcome, args, terminal, count));
            }
        });
        Ok(())
    })?;
    Ok(())
}

/// Runs the sensitivity analysis of the scenarios that have one: the ranking must hold under other constants.
fn check_sensitivity(
    loaded: Vec<Loaded>,
    settings: &Settings,
    args: &Args,
    terminal: Terminal,
    count: &Mutex<Count>,
) -> Result<(), Failure> {
    let settings = Settings { sensitivity: true, ..settings.clone() };
    let mut experiments = Vec::new();
    for loaded in loaded.into_iter().filter(|loaded| loaded.scenario.sensitivity.is_some()) {
        experiments.push(Experiment::new(loaded, &settings)?);
    }
    warmup::find(&mut experiments, args.common.jobs.count(), args.quiet())?;
    scheduler::run(&experiments, &args.options(), |experiment, outcomes, bar| {
        bar.suspend(|| {
            let survived = sweep::survives(&outcomes);
            count.lock().expect("no worker panics").add(survived);
            if args.json {
                say(serde_json::json!({ "scenario": experiment.plan.name, "ranking_holds": survived, "holds": survived }));
            } else {
                sweep::print_sensitivity(&outcomes, terminal);
            }
        });
        Ok(())
    })?;
    Ok(())
}

/// A scenario's headline and the result for its golden picks.
fn say_scenario(scenario: &Scenario, finding: &Finding, args: &Args, terminal: Terminal, count: &Mutex<Count>) {
    if !finding.missing {
        count.lock().expect("no worker panics").add(finding.holds());
    }
    if args.json {
        return say(finding.json());
    }
    say(format_args!("{}  {}", terminal.bold(&scenario.name), scenario.title));
    finding.print(terminal);
    if scenario.expects.is_empty() {
        say("  no expectations");
    }
}

fn say_expectation(expect: &Expect, outcome: &Outcome<'_>, args: &Args, terminal: Terminal, count: &Mutex<Count>) {
    let verdict = expect.evaluate(&outcome.summaries);
    count.lock().expect("no worker panics").add(verdict.holds);
    if args.json {
        say(serde_json::json!({
            "scenario": outcome.scenario.name, "expect": expect.text, "reason": expect.reason,
            "holds": verdict.holds, "values": verdict.values,
        }));
    } else {
        print(&expect.text, verdict.holds, &verdict.values, &expect.reason, terminal);
    }
}

/// Leaves out strategies that no expectation refers to.
fn keep_what_is_named(scenario: &mut Scenario) {
    let named: Vec<&str> = scenario.expects.iter().flat_map(Expect::strategies).collect();
    scenario.variants.retain(|variant| named.contains(&variant.label.as_str()));
}

/// Prints the result of an expectation, with its values.
pub fn print(assert: &str, holds: bool, values: &str, reason: &str, terminal: Terminal) {
    let (mark, colour) = if holds { ("holds", 32) } else { ("FAILS", 31) };
    let mark = if terminal.out { format!("\u{1b}[{colour}m{mark}\u{1b}[0m") } else { mark.to_owned() };
    say(format_args!("  {mark}  {assert}   ({values})"));
    if !holds {
        say(format_args!("         expected because {reason}"));
    }
}
