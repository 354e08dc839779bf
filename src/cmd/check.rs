//! `evenkeel check`: runs scenarios and verifies their `[[expect]]`.

use std::path::PathBuf;
use std::sync::Mutex;

use super::run::Common;
use super::{Failure, Terminal, inputs, say, work};
use crate::report::Outcome;
use crate::report::files::number;
use crate::scenario::Scenario;
use crate::scenario::expect::{Expect, Side};

/// What to verify.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel check                       all of scenarios/
  evenkeel check scenarios/crash.toml
  evenkeel check scenarios --json | jq 'select(.holds | not)'

Exits with 1 when something does not hold. Only strategies that expectations name are run.")]
pub struct Args {
    /// Scenario files, or folders of them
    #[arg(default_value = "scenarios")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
    /// Print the verdicts as JSON, one object per expectation and line
    #[arg(long)]
    json: bool,
}

/// How an expectation came out.
struct Verdict {
    holds: bool,
    /// `0.0312 < 0.0467`, or what is missing.
    values: String,
}

pub fn check(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let (mut scenarios, some_failed) = inputs::load(&args.paths, terminal)?;
    inputs::choose(&mut scenarios, &args.common.strategies)?;
    args.common.apply(&mut scenarios);
    scenarios.iter_mut().for_each(keep_what_is_named);
    let count = Mutex::new((0, 0));
    work::work(&scenarios, args.common.jobs(), args.common.quiet || args.json, |outcome, bar| {
        let scenario = outcome.scenario;
        bar.suspend(|| {
            if !args.json {
                say(format_args!("{}  {}", terminal.bold(&scenario.name), scenario.title));
                if scenario.expects.is_empty() {
                    say("  nothing is expected of it");
                }
            }
            for expect in &scenario.expects {
                let verdict = verify(expect, &outcome);
                let mut count = count.lock().expect("no worker panics");
                if verdict.holds {
                    count.0 += 1
                } else {
                    count.1 += 1
                }
                if args.json {
                    say(serde_json::json!({
                        "scenario": scenario.name, "expect": expect.text, "because": expect.because,
                        "holds": verdict.holds, "values": verdict.values,
                    }));
                } else {
                    print(expect, &verdict, terminal);
                }
            }
        });
        Ok(())
    })?;
    let (held, failed) = count.into_inner().expect("no worker panics");
    if !args.json {
        say(format_args!("\n{held} of {} expectations hold", held + failed));
    }
    match (failed, some_failed) {
        (0, false) => Ok(()),
        (0, true) => Err(Failure::Usage(String::new())),
        _ => Err(Failure::No),
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
    if scenario.contestants.is_empty() {
        scenario.replications = 0;
    }
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
        say(format_args!("         it should, because {}", expect.because));
    }
}
