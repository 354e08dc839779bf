//! `evenkeel bench`: what the tool itself is worth: how fast engine, picks and proxy are, and whether the intervals keep their
//! promise.

mod contenders;
mod coverage;
mod engine;
mod picks;
mod proxy;
mod spread;

use super::{Failure, Terminal};

/// What to measure.
#[derive(Debug, clap::Args)]
// The engine's are among these, and a group of the same name.
#[group(skip)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  evenkeel bench                 requests simulated per second and core
  evenkeel bench picks           nanoseconds per pick of every strategy
  evenkeel bench coverage        how often intervals hold the exact value
  evenkeel bench proxy           proxy overhead against HAProxy and nginx

Without a subcommand: `bench engine`, with its options."
)]
pub struct Args {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    engine: engine::Args,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Requests simulated per second and core (the default)
    Engine(engine::Args),
    /// Nanoseconds per pick of every strategy, and how they grow with the servers
    Picks(picks::Args),
    /// How often intervals contain the exact value and identical strategies come out as tied
    Coverage(coverage::Args),
    /// Proxy overhead compared with HAProxy and nginx, one core each
    Proxy(proxy::Args),
}

pub fn bench(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    match &args.what {
        None => engine::bench(&args.engine, terminal),
        Some(What::Engine(args)) => engine::bench(args, terminal),
        Some(What::Picks(args)) => picks::bench(args, terminal),
        Some(What::Coverage(args)) => coverage::coverage(args, terminal),
        Some(What::Proxy(args)) => proxy::bench(args, terminal),
    }
}
