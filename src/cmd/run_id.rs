//! Names of runs: hashes of everything that determines their results. A run is one (scenario, point, strategy, seed).

use sha2::{Digest, Sha256};

use super::experiment::Experiment;
use evenkeel_core::units::hex;
use evenkeel_sim::scenario::Scenario;

/// The name of a run: 24 hexadecimal digits.
pub fn of_run(scenario: &Scenario, variant: usize, replication: u32) -> String {
    let model = &scenario.model;
    let variant = &scenario.variants[variant];
    // The hash covers the file's content; the rest is what settings may have changed, and the program itself.
    let parts = serde_json::json!([
        evenkeel_sim::SOURCE_HASH,
        scenario.hash,
        [model.warmup.0, model.cache_warmup.0, model.duration.0, model.drain.0],
        [model.bins, model.batches],
        variant.table,
        variant.stream_name,
        scenario.replication_seed(replication),
        scenario.acts,
    ]);
    hex(&Sha256::digest(parts.to_string().as_bytes()))[..24].to_owned()
}

/// The name of all runs of an experiment together: experiments of the same name have the same results.
pub fn of_experiment(experiment: &Experiment) -> String {
    let mut hasher = Sha256::new();
    for point in &experiment.points {
        hasher.update(point.name.as_bytes());
        for c in 0..point.scenario.variants.len() {
            hasher.update(point.scenario.variants[c].label.as_bytes());
            (0..point.scenario.replications).for_each(|r| hasher.update(of_run(&point.scenario, c, r).as_bytes()));
        }
    }
    hasher.update(
        serde_json::json!(experiment.plan.settings.precision.map(|p| (p.target, p.most))).to_string().as_bytes(),
    );
    hex(&hasher.finalize())[..24].to_owned()
}
