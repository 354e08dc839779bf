//! `evenkeel bench coverage`: repeats experiments whose exact value is known and counts how often the intervals contain it.

use comfy_table::CellAlignment;

use super::super::run::Jobs;
use super::super::scheduler::{each, stopped};
use super::super::{Failure, Terminal, say};
use crate::report::table;
use evenkeel_core::rng::{Keyed, Source};
use evenkeel_sim::measure::coverage::{Count, Share, Trial, trials};

/// Experiments to repeat, and how often.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel bench coverage
  evenkeel bench coverage --repetitions 2000 --seed 7

Exit codes: 0 every share is within its bounds, 1 the 95 % interval of one lies outside.")]
pub struct Args {
    /// Number of repetitions of each experiment
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(20..=1_000_000))]
    repetitions: u32,
    /// Approximate number of requests per replication
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1000..=10_000_000))]
    requests: u32,
    /// Seed of all randomness
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    jobs: Jobs,
    /// Show no progress bar
    #[arg(long, short)]
    quiet: bool,
}

pub fn coverage(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let trials = trials(args.requests);
    let units: Vec<(usize, u32)> =
        (0..trials.len()).flat_map(|t| (0..args.repetitions).map(move |repetition| (t, repetition))).collect();
    let seeds = Keyed::new(args.seed, "coverage");
    let run = |&(t, r): &(usize, u32)| trials[t].repeat(seeds.at(u64::from(r)).bits(), &stopped);
    let counts: Vec<Vec<Count>> = each(&units, args.jobs.count(), args.quiet || args.json, run)?;

    let mut rows = table::plain(terminal.width);
    rows.set_header(["experiment", "", "share", "its 95 % interval", "should be", ""]);
    let mut sound = true;
    for (trial, counts) in trials.iter().zip(counts.chunks(args.repetitions as usize)) {
        for (i, (name, _)) in counts[0].iter().enumerate() {
            let happened = counts.iter().filter(|row| row[i].1).count() as u32;
            let share = Share::new(happened, args.repetitions);
            let bounds = trial.bounds(name);
            let holds = bounds.is_none_or(|(low, high)| share.interval.1 >= low && share.interval.0 <= high);
            sound &= holds;
            if args.json {
                say(json(trial, name, share, bounds, holds));
            } else {
                let percent = |share: f64| format!("{:.1} %", share * 100.0);
                rows.add_row([
                    trial.about.clone(),
                    (*name).to_owned(),
                    percent(share.value()),
                    format!("{} … {}", percent(share.interval.0), percent(share.interval.1)),
                    bounds
                        .map_or_else(|| "–".to_owned(), |(low, high)| format!("{} … {}", percent(low), percent(high))),
                    if holds { String::new() } else { "OUTSIDE".to_owned() },
                ]);
            }
        }
    }
    if !args.json {
        for column in [2, 3, 4] {
            if let Some(column) = rows.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        say(rows);
        say(format_args!(
            "{} repetitions each. A 95 % interval should contain the exact value in 95 % of them.",
            args.repetitions
        ));
    }
    if sound { Ok(()) } else { Err(Failure::No) }
}

fn json(trial: &Trial, name: &str, share: Share, bounds: Option<(f64, f64)>, holds: bool) -> serde_json::Value {
    serde_json::json!({
        "experiment": trial.name, "about": trial.about, "count": name, "share": share.value(), "low": share.interval.0,
        "high": share.interval.1, "repetitions": share.of, "lower_bound": bounds.map(|b| b.0),
        "upper_bound": bounds.map(|b| b.1), "holds": holds,
    })
}
