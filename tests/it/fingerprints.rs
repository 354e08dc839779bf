//! Every pick is pinned: the hash of the pick sequence of every strategy in every scenario is that of the reference run in
//! `results/`. A change of a selector's behaviour, of the engine or of the generators fails here, and is accepted by writing
//! the reference run anew.

use evenkeel::scenario::Scenario;

use crate::support::root;

#[test]
fn picks_are_those_of_the_reference_run() {
    let mut different = Vec::new();
    let mut compared = 0;
    for entry in std::fs::read_dir(root().join("results")).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(manifest) = std::fs::read(folder.join("manifest.json")) else { continue };
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let name = manifest["scenario"].as_str().unwrap();
        let scenarios = root().join("scenarios");
        let source = std::fs::read_to_string(scenarios.join(format!("{name}.toml"))).unwrap();
        let files = |file: &str| std::fs::read_to_string(scenarios.join(file)).map_err(|e| e.to_string());
        let scenario = Scenario::parse(name, &source, &files).unwrap();
        for contestant in &scenario.contestants {
            let entries = manifest["strategies"].as_array().unwrap();
            let Some(entry) = entries.iter().find(|entry| entry["label"] == contestant.label.as_str()) else {
                different.push(format!("{name}: {} is not in the reference run", contestant.label));
                continue;
            };
            let seed = scenario.replication_seed(0);
            let record = evenkeel::sim::run(&scenario.model, &contestant.table, seed, &|| false).unwrap();
            if entry["pick_hashes"][0] != format!("{:016x}", record.pick_hash).as_str() {
                different.push(format!("{name}: {} picks differently", contestant.label));
            }
            compared += 1;
        }
    }
    assert!(different.is_empty(), "{different:#?}\nif that is intended: cargo run --release -- run scenarios");
    assert!(compared > 100, "only {compared} compared");
}
