//! `evenkeel check`: verifies scenarios: their `[[expect]]`, the golden picks of every strategy, and whether the ranking
//! holds under other constants where a scenario asks for that.

use std::path::PathBuf;
use std::sync::Mutex;

use super::experiment::{Experiment, Settings};
use super::fingerprints::{self, Finding};
use super::run::Common;
use super::scheduler::Options;
use super::{Failure, Terminal, inputs, say_on as say, scheduler, sweep, warmup};
use crate::report::Outcome;
use crate::report::files::number;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::scenario::expect::{Expect, Side};

/// Scenarios to verify.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel check                       all of scenarios/
  evenkeel check mine.toml
  evenkeel check slow-server           the expectations of an embedded scenario
  evenkeel check scenarios --update    update the golden picks
  evenkeel check scenarios --json | jq 'select(.holds | not)'

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
}

/// How an expectation came out.
struct Verdict {
    holds: bool,
    /// `0.0312 < 0.0467`, or what is missing.
    values: String,
}

/// What held and what did not.
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
    let (loaded, some_failed) = inputs::load(&args.paths, terminal)?;
    let settings = args.common.settings(&loaded)?;
    // Golden picks are taken at the scenario's own seed.
    let mut at_home = loaded.clone();
    at_home.iter_mut().for_each(|loaded| inputs::choose(&mut loaded.scenario, &settings.strategies));
    let quiet = args.common.quiet || args.json;
    let findings = fingerprints::findings(&at_home, args.common.jobs.count(), quiet)?;
    if args.update {
        if let Some(embedded) = loaded.iter().find(|loaded| loaded.path.is_none()) {
            let name = &embedded.scenario.name;
            let help = format!("evenkeel scenarios copy {name}, and check the copy");
            return Err(Failure::Usage(format!("`{name}` is embedded and has no golden picks\n  help: {help}")));
        }
        // All are written before any is printed: the reader of the output may go away.
        for (finding, path) in findings.iter().zip(loaded.iter().filter_map(|loaded| loaded.path.as_deref())) {
            finding.update(path)?;
        }
        for finding in &findings {
            let what = match (finding.unpinned, finding.changes.len()) {
                (true, _) => "golden picks written for the first time".to_owned(),
                (_, 0) => "unchanged".to_owned(),
                (_, n) => format!("picks of {n} strategies updated"),
            };
            say(format_args!("{}: {what}", finding.scenario));
        }
        return if some_failed { Err(Failure::Usage(String::new())) } else { Ok(()) };
    }

    let asked: Vec<Settings> = loaded
        .iter()
        .map(|loaded| Settings { sensitivity: loaded.scenario.sensitivity.is_some(), ..settings.clone() })
        .collect();
    let count = Mutex::new(Count::default());
    let mut experiments = Vec::new();
    for (mut loaded, finding) in loaded.clone().into_iter().zip(&findings) {
        if loaded.scenario.expects.is_empty() {
            // Nothing to run: said at once.
            say_scenario(&loaded.scenario, finding, args, terminal, &count);
            continue;
        }
        keep_what_is_named(&mut loaded.scenario);
        experiments.push(Experiment::new(loaded, &settings)?);
    }
    warmup::find(&mut experiments, args.common.jobs.count(), quiet)?;
    let options = Options { jobs: args.common.jobs.count(), quiet, ..Options::default() };
    scheduler::run(&experiments, &options, |_, outcomes, bar| {
        bar.suspend(|| {
            for outcome in &outcomes {
                if let Some(finding) = findings.iter().find(|finding| finding.scenario == outcome.scenario.name) {
                    say_scenario(outcome.scenario, finding, args, terminal, &count);
                }
                outcome
                    .scenario
                    .expects
                    .iter()
                    .for_each(|expect| say_expectation(expect, outcome, args, terminal, &count));
            }
        });
        Ok(())
    })?;

    let mut sensitive = Vec::new();
    for (loaded, settings) in loaded.into_iter().zip(asked).filter(|(_, settings)| settings.sensitivity) {
        sensitive.push(Experiment::new(loaded, &settings)?);
    }
    warmup::find(&mut sensitive, args.common.jobs.count(), quiet)?;
    scheduler::run(&sensitive, &options, |experiment, outcomes, bar| {
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

/// A scenario's headline and the result for its golden picks.
fn say_scenario(scenario: &Scenario, finding: &Finding, args: &Args, terminal: Terminal, count: &Mutex<Count>) {
    if !finding.unpinned {
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
    let verdict = verify(expect, outcome);
    count.lock().expect("no worker panics").add(verdict.holds);
    if args.json {
        say(serde_json::json!({
            "scenario": outcome.scenario.name, "expect": expect.text, "reason": expect.reason,
            "holds": verdict.holds, "values": verdict.values,
        }));
    } else {
        print(expect, &verdict, terminal);
    }
}

/// Leaves out strategies that no expectation looks at.
fn keep_what_is_named(scenario: &mut Scenario) {
    let named: Vec<&str> = scenario
        .expects
        .iter()
        .flat_map(|expect| [&expect.left, &expect.right])
        .filter_map(|side| match side {
            Side::Metric { strategy, .. } => Some(strategy.as_str()),
            Side::Number(_) => None,
        })
        .collect();
    scenario.contestants.retain(|contestant| named.contains(&contestant.label.as_str()));
}

fn verify(expect: &Expect, outcome: &Outcome<'_>) -> Verdict {
    let lookup = |metric: &str, strategy: &str| {
        let summary = outcome.summaries.iter().find(|summary| summary.label == strategy)?;
        Some(summary.metric(metric)?.estimate().value).filter(|value| value.is_finite())
    };
    match (expect.left.value(&lookup), expect.right.value(&lookup)) {
        (Ok(left), Ok(right)) => Verdict {
            holds: expect.relation.holds(left, right),
            values: format!("{} {} {}", short(left), expect.relation, short(right)),
        },
        (Err(message), _) | (_, Err(message)) => Verdict { holds: false, values: message },
    }
}

/// Four significant digits.
fn short(value: f64) -> String {
    number(format!("{value:.3e}").parse().unwrap_or(value))
}

fn print(expect: &Expect, verdict: &Verdict, terminal: Terminal) {
    let (mark, colour) = if verdict.holds { ("holds", 32) } else { ("FAILS", 31) };
    let mark = if terminal.out { format!("\u{1b}[{colour}m{mark}\u{1b}[0m") } else { mark.to_owned() };
    say(format_args!("  {mark}  {}   ({})", expect.text, verdict.values));
    if !verdict.holds {
        say(format_args!("         expected because {}", expect.reason));
    }
}
