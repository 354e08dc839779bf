//! `evenkeel bench`: what the tool itself is worth: how fast the engine is, and whether the intervals keep their promise.

mod coverage;
mod engine;

use super::{Failure, Terminal};

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  evenkeel bench --rounds 9      requests simulated per second and core
  evenkeel bench coverage        how often a 95 % interval holds the exact value"
)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    engine: engine::Args,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Requests simulated per second and core (what `bench` alone does)
    Engine(engine::Args),
    /// How often the intervals hold the exact value, and identical strategies come out as tied
    Coverage(coverage::Args),
}

pub fn bench(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    match &args.what {
        None => engine::bench(&args.engine, terminal),
        Some(What::Engine(args)) => engine::bench(args, terminal),
        Some(What::Coverage(args)) => coverage::coverage(args, terminal),
    }
}
