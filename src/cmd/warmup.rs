//! Finds the warm-up of scenarios that leave it to a pilot run.

use super::Failure;
use super::experiment::Experiment;
use super::scheduler::{each, stopped};
use evenkeel_core::units::Nanos;
use evenkeel_sim::measure::Tally;
use evenkeel_sim::measure::warmup::{self, Clock};
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::Stopped;

/// Finds the warm-up of every scenario that leaves it to MSER-5: a pilot measured from the first request, the cut averaged
/// over its replications, and the latest of all strategies, so that all are measured over the same requests.
pub fn find(experiments: &mut [Experiment], jobs: usize, quiet: bool) -> Result<(), Failure> {
    let mut waiting: Vec<&mut Scenario> = experiments
        .iter_mut()
        .flat_map(|experiment| experiment.points.iter_mut().map(|point| &mut point.scenario))
        .filter(|scenario| scenario.needs_pilot())
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let pilots: Vec<Scenario> = waiting.iter().map(|scenario| scenario.pilot()).collect();
    let variants: Vec<(usize, usize)> =
        pilots.iter().enumerate().flat_map(|(p, pilot)| (0..pilot.variants.len()).map(move |c| (p, c))).collect();
    let mut cuts = each(&variants, jobs, quiet, |&(p, variant)| cut(&pilots[p], variant))?.into_iter();
    for (scenario, pilot) in waiting.iter_mut().zip(&pilots) {
        let cuts: Vec<(f64, f64)> = cuts.by_ref().take(pilot.variants.len()).collect();
        let latest = |of: fn(&(f64, f64)) -> f64| cuts.iter().map(of).fold(0.0, f64::max);
        scenario.settle(Nanos::from_secs_f64(latest(|c| c.0)), Nanos::from_secs_f64(latest(|c| c.1)));
    }
    Ok(())
}

/// Settling times of latency and hit ratio of a variant, seconds; half of the run where they do not settle.
fn cut(pilot: &Scenario, variant: usize) -> Result<(f64, f64), Stopped> {
    let mut tally = Tally::new(pilot, variant);
    for replication in 0..pilot.replications {
        let record = evenkeel_sim::sim::observe(&pilot.setup(variant, replication), &stopped, &mut ())?;
        tally.take_in(pilot, replication, &record);
    }
    let half = pilot.model.duration.as_secs_f64() / 2.0;
    let settling: Vec<warmup::Settling> = tally.settling(pilot);
    let of = |clock: Clock| settling.iter().find(|s| s.clock == clock).map_or(0.0, |s| s.after.unwrap_or(half));
    Ok((of(Clock::Latency), of(Clock::Cache)))
}
