//! `evenkeel bench`: speed of the simulator, of picks and of the proxy, and coverage of the confidence intervals.

mod baseline;
mod contenders;
mod coverage;
mod engine;
mod instructions;
mod memory;
mod peers;
mod picks;
mod proxy;
mod reference;
mod spread;

use super::{Failure, Terminal};
use evenkeel_sim::scenario::Scenario;

/// What to measure.
#[derive(Debug, clap::Args)]
// clap would make two groups of one name: the engine's arguments are part of these.
#[group(skip)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  evenkeel bench                 requests simulated per second and core
  evenkeel bench picks           nanoseconds per pick of every strategy
  evenkeel bench memory          bytes per simulated request and server
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
    /// Measure requests simulated per second and core (the default)
    Engine(engine::Args),
    /// Measure nanoseconds per pick of every strategy, by number of servers
    Picks(picks::Args),
    /// Measure what the simulator holds per request in flight and per server
    Memory(memory::Args),
    /// Measure how often intervals contain the exact value, and identical strategies tie
    Coverage(coverage::Args),
    /// Measure proxy overhead against HAProxy and nginx, one core each
    Proxy(proxy::Args),
}

pub fn bench(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    match &args.what {
        None => engine::bench(&args.engine, terminal),
        Some(What::Engine(args)) => engine::bench(args, terminal),
        Some(What::Picks(args)) => picks::bench(args, terminal),
        Some(What::Memory(args)) => memory::bench(args, terminal),
        Some(What::Coverage(args)) => coverage::coverage(args, terminal),
        Some(What::Proxy(args)) => proxy::bench(args, terminal),
    }
}

/// A benchmark's own scenario, which has no files beside it.
fn own_scenario(name: &str, source: &str) -> Result<Scenario, Failure> {
    Scenario::parse(name, source, &|_| Err("no files".to_owned()))
        .map_err(|problems| Failure::Broken(anyhow::anyhow!("the benchmark's own scenario is invalid: {problems:?}")))
}
