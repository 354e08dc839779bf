//! `evenkeel merge`: joins the parts of a divided run into the results that the undivided one would have written.

use std::path::PathBuf;

use super::experiment::{Experiment, Plan};
use super::run::Jobs;
use super::scheduler::Options;
use super::{Failure, Terminal, report, results_dir, run, run_cache, say, scheduler, warmup};
use crate::report::table;

/// Parts to merge, and the output folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel run scenarios --shard 1/2 --out part1      on one machine
  evenkeel run scenarios --shard 2/2 --out part2      on another
  evenkeel merge part1 part2 --out results

The results are byte for byte those of one undivided run.")]
pub struct Args {
    /// Folders that `run --shard` or `sweep --shard` wrote, or any with kept runs
    #[arg(required = true)]
    parts: Vec<PathBuf>,
    /// Folder for the merged results
    #[arg(long, short, default_value = "results", env = "EVENKEEL_OUT")]
    out: PathBuf,
    /// Also draw every chart as PNG; SVG is always written
    #[arg(long)]
    png: bool,
    #[command(flatten)]
    jobs: Jobs,
    /// Print no tables
    #[arg(long, short)]
    quiet: bool,
}

pub fn merge(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let mut plans: Vec<Plan> = Vec::new();
    for part in &args.parts {
        if !part.is_dir() {
            return Err(Failure::Usage(format!("there is no folder `{}`", part.display())));
        }
        for plan in run_cache::plans(part)? {
            match plans.iter().find(|other| other.folder() == plan.folder()) {
                Some(other) if *other == plan => {}
                Some(_) => {
                    let message =
                        format!("`{}` in {} has another scenario or other settings", plan.folder(), part.display());
                    let help = "parts of one run have the same scenario file, seed, strategies and replications";
                    return Err(Failure::Usage(format!("{message}\n  help: {help}")));
                }
                None => plans.push(plan),
            }
        }
    }
    if plans.is_empty() {
        let help = "parts are made by `evenkeel run --shard 1/2 --out DIR`";
        return Err(Failure::Usage(format!("there are no runs to merge in these folders\n  help: {help}")));
    }
    plans.sort_by_key(Plan::folder);
    let mut experiments = plans.into_iter().map(Experiment::from_plan).collect::<Result<Vec<_>, _>>()?;
    let jobs = args.jobs.count();
    warmup::find(&mut experiments, jobs, args.quiet)?;
    let options = Options {
        jobs,
        quiet: args.quiet,
        cache: run_cache::RunCache::of_parts(&args.parts),
        stored_only: true,
        ..Options::default()
    };
    let done = scheduler::run(&experiments, &options, |experiment, outcomes, bar| {
        let folder = results_dir::folder(experiment, &outcomes, args.png)?;
        results_dir::write(experiment, &outcomes, &folder, &args.out, true)?;
        if !args.quiet {
            bar.suspend(|| outcomes.iter().for_each(|outcome| run::print(outcome, terminal)));
        }
        Ok(())
    })?;
    if done.left > 0 {
        let message = format!("{} of {} runs are in none of these folders", done.left, done.left + done.found);
        let help = "a part is missing or did not finish (run it again with --resume), or is of another version; complete scenarios have been written";
        return Err(Failure::Usage(format!("{message}\n  help: {help}")));
    }
    report::write_index(&args.out)?;
    if !args.quiet {
        say(format_args!("\n{}\n\nTables, CSV and charts are in {}.", table::LEGEND, args.out.display()));
    }
    Ok(())
}
