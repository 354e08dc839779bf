//! Same seed, same bytes, whatever the number of threads; same workload, whatever the strategy.

use std::path::Path;

use evenkeel::scenario::Scenario;

use crate::support::evenkeel;
use crate::support::root;

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn one_thread_and_eight_write_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["crash", "two-tiers", "dns-round-robin", "closed-loop", "replayed-log", "cache-affinity"];
    for jobs in ["1", "8"] {
        let mut command = evenkeel();
        command.arg("run").args(names.map(|name| root().join(format!("scenarios/{name}.toml"))));
        command
            .args(["--quick", "--replications", "2", "--png", "--quiet", "--jobs", jobs, "--out"])
            .arg(folder.path().join(jobs));
        command.assert().success();
    }
    for name in names {
        for file in ["metrics.csv", "servers.csv", "timeseries.csv", "latency_cdf.csv", "latency.svg", "timeseries.png"]
        {
            let (one, eight) =
                (folder.path().join("1").join(name).join(file), folder.path().join("8").join(name).join(file));
            assert!(read(&one) == read(&eight), "{name}/{file} depends on the number of threads");
        }
    }
}

/// Common random numbers: in every open-loop scenario of the repository, every strategy met the same requests.
#[test]
fn every_strategy_meets_the_same_workload() {
    let mut scenarios = 0;
    for entry in std::fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let files = |name: &str| std::fs::read_to_string(path.parent().unwrap().join(name)).map_err(|e| e.to_string());
        let mut scenario =
            Scenario::parse("s", &source, &files).unwrap_or_else(|p| panic!("{}: {p:?}", path.display()));
        scenario.quick();
        if matches!(scenario.model.arrivals, evenkeel::sim::model::Arrivals::Closed { .. }) {
            continue;
        }
        let hash = |c: usize| {
            let table = &scenario.variants[c].table;
            let run = evenkeel::sim::run(&scenario.model, table, scenario.replication_seed(0), &|| false).unwrap();
            (run.workload_hash, run.measured.all.requests())
        };
        let first = hash(0);
        for c in 1..scenario.variants.len() {
            assert_eq!(hash(c), first, "{}: {}", path.display(), scenario.variants[c].label);
        }
        scenarios += 1;
    }
    assert!(scenarios >= 10);
}

/// Another seed is another workload and another result.
#[test]
fn seeds_matter() {
    let source = std::fs::read_to_string(root().join("scenarios/even-load.toml")).unwrap();
    let mut scenario = Scenario::parse("s", &source, &|_| Err(String::new())).unwrap();
    scenario.quick();
    let table = &scenario.variants[0].table;
    let run = |seed| evenkeel::sim::run(&scenario.model, table, seed, &|| false).unwrap();
    let (a, b, c) = (run(1), run(2), run(1));
    assert_ne!((a.workload_hash, a.pick_hash), (b.workload_hash, b.pick_hash));
    assert_eq!(
        (a.workload_hash, a.pick_hash, a.measured.all.latency_sum),
        (c.workload_hash, c.pick_hash, c.measured.all.latency_sum)
    );
}

/// The caller can cancel a run.
#[test]
fn a_run_can_be_interrupted() {
    let source = std::fs::read_to_string(root().join("scenarios/even-load.toml")).unwrap();
    let scenario = Scenario::parse("s", &source, &|_| Err(String::new())).unwrap();
    let table = &scenario.variants[0].table;
    assert!(evenkeel::sim::run(&scenario.model, table, 1, &|| true).is_err());
}
