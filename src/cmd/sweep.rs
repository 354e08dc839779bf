//! `evenkeel sweep`: runs a scenario at many points: with other values for some keys, or with each constant decreased and
//! increased.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::experiment::{Experiment, Settings};
use super::run::{Common, OutputArgs};
use super::{Failure, Terminal, complain, inputs, run, say_on as say};
use crate::report::answer::holds;
use crate::report::{Outcome, table};
use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::sensitivity::{Survival, survival};
use evenkeel_sim::measure::{Comparison, compare};
use evenkeel_sim::scenario::overrides::{self, Axis};

/// The keys to vary.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel sweep even-load --vary arrivals.poisson.load=50%,70%,90%,95%
  evenkeel sweep many-balancers --vary balancers.shards=1,3,10,30,100
  evenkeel sweep mine.toml                    with its own [[sweep]]
  evenkeel sweep mine.toml --sensitivity      each constant 30 % up and down

A key is the path of a value that the file sets; array elements are named by name or index: \
`pools.web.servers.a.count`. Keys joined by `+` vary together. Several --vary make a grid.")]
pub struct Args {
    /// Scenario file, or name of an embedded scenario
    path: PathBuf,
    /// Key to vary and its values; repeatable
    #[arg(long, value_name = "KEY=A,B,C", value_parser = axis)]
    vary: Vec<Axis>,
    /// Decrease and increase each constant, one at a time, and compare the rankings; exit 1 if one is reversed
    #[arg(long, conflicts_with = "vary")]
    sensitivity: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    output: OutputArgs,
    /// Five short replications, for a first look; durations are shortened unless faults or changes fix them
    #[arg(long)]
    quick: bool,
}

/// Parses `KEY+KEY=A,B,C` as an axis; values become TOML.
fn axis(text: &str) -> Result<Axis, String> {
    let (keys, values) = text.split_once('=').ok_or("write it as KEY=VALUE,VALUE")?;
    let keys: Vec<String> = keys.split('+').map(|key| key.trim().to_owned()).collect();
    let values: Vec<String> = values.split(',').map(|value| literal(value.trim())).collect();
    if keys.iter().any(String::is_empty) || values.iter().any(|value| overrides::plain(value).is_empty()) {
        return Err("a key or a value is empty".to_owned());
    }
    Ok(Axis { keys, values })
}

/// A value in TOML syntax: numbers and booleans as they are, all others as strings.
fn literal(value: &str) -> String {
    let bare = value.parse::<f64>().is_ok_and(f64::is_finite) || matches!(value, "true" | "false");
    if bare { value.to_owned() } else { toml::Value::String(value.to_owned()).to_string() }
}

pub fn sweep(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let loaded = inputs::load_single(&args.path, terminal)?;
    let axes = if args.vary.is_empty() { loaded.scenario.sweep.clone() } else { args.vary.clone() };
    if axes.is_empty() && !args.sensitivity {
        let constants = overrides::constants(&loaded.source).unwrap_or_default();
        let keys: Vec<String> = constants.into_iter().map(|(key, value)| format!("{key} (now {value})")).collect();
        let message = "nothing to vary: give --vary KEY=VALUE,VALUE, or [[sweep]] in the scenario";
        return Err(Failure::Usage(format!("{message}\n  help: keys in this file: {}", keys.join(", "))));
    }
    for key in axes.iter().flat_map(|axis| &axis.keys) {
        overrides::find(&loaded.source, key).map_err(Failure::Usage)?;
    }
    let settings = Settings {
        axes: if args.sensitivity { Vec::new() } else { axes },
        sensitivity: args.sensitivity,
        quick: args.quick,
        ..args.common.settings(std::slice::from_ref(&loaded))?
    };
    let experiment = Experiment::new(loaded, &settings)?;
    for (point, why) in experiment.skipped.iter().filter(|_| !args.common.quiet) {
        complain(format_args!("skipped, cannot be run: {point}: {why}"));
    }
    let survived = AtomicBool::new(true);
    run::execute(vec![experiment], &args.output, &args.common, run::Also::default(), |outcomes, json| {
        let survives = !args.sensitivity || survives(outcomes);
        survived.store(survives, Ordering::Relaxed);
        match (json, args.sensitivity) {
            (true, true) => say(serde_json::json!({ "ranking_holds": survives })),
            (true, false) => {}
            (false, true) => print_sensitivity(outcomes, terminal),
            (false, false) => print_sweep(outcomes, terminal),
        }
    })?;
    if survived.into_inner() { Ok(()) } else { Err(Failure::No) }
}

/// One line per point and strategy would be long: a line per point (and pool, where there are several) with the best
/// strategy and the ratios of the others.
fn print_sweep(outcomes: &[Outcome<'_>], terminal: Terminal) {
    say(format_args!("\n{}", terminal.bold(&outcomes[0].scenario.title)));
    let mut shown = table::plain(terminal.width);
    let labels = outcomes[0].summaries.iter().map(|summary| summary.label.clone());
    shown.set_header(["point".to_owned(), "best by p99".to_owned()].into_iter().chain(labels));
    for outcome in outcomes {
        for ranking in table::rankings(outcome) {
            let best = ranking.stands.iter().position(|stands| *stands == Some(Comparison::Best));
            let cells = outcome.summaries.iter().zip(&ranking.stands).map(|(summary, stands)| match stands {
                _ if !summary.ranks() => "overloaded".to_owned(),
                Some(Comparison::Tied) => format!("{} (ties)", human_seconds(ranking.value(summary))),
                _ => human_seconds(ranking.value(summary)),
            });
            let best = best.map_or("–", |i| outcome.summaries[i].label.as_str()).to_owned();
            let point =
                ranking.pool.map_or_else(|| outcome.point.to_owned(), |pool| format!("{} {pool}", outcome.point));
            shown.add_row([point, best].into_iter().chain(cells));
        }
    }
    say(shown);
}

/// Whether no significant pair of strategies is reversed at any point.
pub fn survives(outcomes: &[Outcome<'_>]) -> bool {
    outcomes.first().is_none_or(|base| {
        let metric = base.scenario.sensitivity.as_ref().map_or("latency.p99", |s| s.metric.as_str());
        outcomes.iter().all(|o| survival(&base.summaries, &o.summaries, metric).reversed.is_empty())
    })
}

/// Prints a sensitivity analysis as text.
pub fn print_sensitivity(outcomes: &[Outcome<'_>], terminal: Terminal) {
    let base = &outcomes[0];
    let Some(sensitivity) = &base.scenario.sensitivity else { return };
    let percent = sensitivity.by * 100.0;
    say(format_args!(
        "\n{}: does the ranking by {} hold at ±{percent:.0} %?",
        terminal.bold(&base.scenario.title),
        sensitivity.metric
    ));
    let mut shown = table::plain(terminal.width);
    shown.set_header(["constant", "best", "pairs in the same order", "now tied", "reversed"]);
    let mut reversed = 0;
    let ranked = survival(&base.summaries, &base.summaries, &sensitivity.metric).told_apart;
    for outcome in outcomes {
        let Survival { told_apart, kept, tied, reversed: pairs } =
            survival(&base.summaries, &outcome.summaries, &sensitivity.metric);
        let stands = compare(&outcome.summaries, &sensitivity.metric);
        let best = stands.iter().position(|stands| *stands == Some(Comparison::Best));
        let list = pairs.iter().map(|pair| format!("{} beats {}", pair.is_better, pair.was_better));
        reversed += pairs.len();
        shown.add_row([
            if outcome.place.is_empty() { "as written".to_owned() } else { outcome.point.to_owned() },
            best.map_or("–", |i| outcome.summaries[i].label.as_str()).to_owned(),
            format!("{kept} of {told_apart}"),
            tied.to_string(),
            list.collect::<Vec<_>>().join(", "),
        ]);
    }
    say(shown);
    say(holds(ranked, reversed));
}
