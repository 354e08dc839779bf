//! The simulator against queueing theory: every set-up of `evenkeel validate`, in the same form, and the values that theory is
//! expected to give, written out, so that neither can drift. The tolerance is four standard errors of the run's own
//! replications; a more precise run is a sharper test.

use std::collections::BTreeMap;

use evenkeel::measure::coverage::{Share, trials};
use evenkeel::measure::validation::{ERRORS, Gate, Outcome, gates};
use evenkeel::measure::{Tally, exact_values};
use evenkeel::scenario::Scenario;
use rayon::prelude::*;

use crate::support::{SOUND, root, scenario};

/// All set-ups in one test: threads are never idle, and the failure names all that differ.
#[test]
fn the_simulator_agrees_with_theory() {
    let gates = gates();
    let units: Vec<(usize, u32)> =
        gates.iter().enumerate().flat_map(|(g, gate)| (0..gate.replications).map(move |r| (g, r))).collect();
    let values: Vec<Vec<f64>> = units
        .par_iter()
        .with_max_len(1)
        .map(|&(g, replication)| gates[g].replicate(replication, &|| false).unwrap())
        .collect();
    let mut values = values.into_iter();
    let (mut quantities, mut apart) = (0, Vec::new());
    for gate in &gates {
        let values: Vec<Vec<f64>> = values.by_ref().take(gate.replications as usize).collect();
        for finding in gate.judge(&values) {
            quantities += 1;
            if finding.outcome != Outcome::Agrees {
                let (name, quantity, theory) = (gate.name, &finding.asked.quantity, finding.asked.theory);
                apart.push(format!(
                    "{name} ({}): {quantity} is {} [{}, {}], theory says {theory}: {:?}",
                    gate.about, finding.simulated.value, finding.simulated.low, finding.simulated.high, finding.outcome
                ));
            }
        }
    }
    assert!(apart.is_empty(), "beyond {ERRORS} standard errors or too vague:\n{}", apart.join("\n"));
    assert!(quantities >= 145, "only {quantities} quantities were compared");
}

/// What theory says of the set-ups, in service times (latencies), as others have computed or published it.
#[test]
fn theory_has_the_known_values() {
    let known = [
        ("mm1-80", "latency.mean", 5.0),
        ("mm1-80", "latency.p50", 3.46574),
        ("mm1-80", "latency.p99", 23.0259),
        ("mg1-hyperexponential", "latency.mean", 11.0),
        ("mg1-constant", "latency.mean", 3.0),
        ("mg1-uniform", "latency.mean", 3.66667),
        ("mg1-erlang", "latency.mean", 3.5),
        ("mg1-lognormal", "latency.mean", 6.43656),
        ("mg1-bimodal", "latency.mean", 7.5),
        ("ps-lognormal", "latency.mean", 5.0),
        ("round-robin", "latency.mean", 2.922269),
        ("round-robin", "latency.p99", 13.4575),
        ("round-robin-constant", "latency.mean", 1.109828),
        ("round-robin-constant", "latency.p99", 1.91741),
        ("shortest-2-90", "latency.mean", 5.474913),
        ("shortest-2-90", "latency.p99", 24.5077),
        ("shortest-4-80", "latency.mean", 1.953134),
        ("two-distinct-of-3-90", "latency.mean", 4.274087),
        ("two-replaced-of-3-90", "latency.mean", 4.617903),
        ("two-of-100-90", "latency.mean", 2.61406),
        ("least-work-4-90", "latency.mean", 2.96938),
        ("least-work-4-90", "latency.p99", 12.1932),
        ("mmc-10-90", "latency.mean", 1.66873),
        ("unlike-weighted", "latency.mean", 5.0),
        ("unlike-shortest", "latency.mean", 3.414021),
        ("erlang-loss", "errors.rejected", 0.1216611),
        ("mmck-4-16", "errors.rejected", 0.0278188),
        ("mmck-overload", "latency.mean", 6.92614),
        ("balls-two-choices", "bins with 1 or more", 0.761594),
        ("balls-two-choices", "bins with 2 or more", 0.229505),
        ("balls-two-choices", "bins with 3 or more", 0.008895),
        ("erlang-loss-lognormal", "errors.rejected", 0.1216611),
        // Two exponential times one after the other: the published percentile of M/E2/1 at load 0.7.
        ("held-slot", "latency.mean", 2.75),
        ("held-slot", "latency.p99", 11.4418),
        ("renewal-hyperexponential", "latency.mean", 6.573052),
        ("round-robin-hyperexponential", "latency.mean", 9.241023),
        ("renewal-erlang", "latency.mean", 9.241023),
        ("tied-2-80", "latency.mean", 2.77778),
        ("tied-2-80", "latency.p99", 11.9374),
        ("tied-of-100-90", "latency.mean", 2.050285),
        ("tied-of-100-90", "latency.p99", 6.257768),
        ("batch-geometric", "latency.mean", 13.33333),
        ("tandem", "latency.mean", 4.102564),
        ("closed-busy", "throughput", 992.1260),
        ("hedge-at-once", "latency.mean", 1.25),
        ("cache-random", "cache.hit_ratio", 0.342061),
        ("cache-ring", "cache.hit_ratio", 0.605230),
    ];
    let gates: BTreeMap<&str, Gate> = gates().into_iter().map(|gate| (gate.name, gate)).collect();
    for (name, quantity, expected) in known {
        let asked = gates[name].asked.iter().find(|asked| asked.quantity == quantity).unwrap();
        let scale = if quantity.starts_with("latency.") { 1e3 } else { 1.0 };
        let theory = asked.theory * scale;
        // The reference has six digits, and fewer of small numbers.
        assert!((theory / expected - 1.0).abs() < 6e-5, "{name} {quantity}: {theory}, known is {expected}");
    }
}

/// Where a report says what a theorem gives, it is what validation gives for the same set-up.
#[test]
fn reports_quote_the_same_theory() {
    let mut quoted = 0;
    for gate in gates() {
        if gate.source.is_empty() {
            continue;
        }
        let scenario = Scenario::parse(gate.name, &gate.source, &|_| Err("no files".to_owned())).unwrap();
        let Some(exact) = exact_values::exact(&scenario, &scenario.variants[0].table) else { continue };
        let asked = |quantity: &str| gate.asked.iter().find(|asked| asked.quantity == quantity);
        let near = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-6, "{}: {a} {b}", gate.name);
        if let Some(asked) = asked("latency.mean") {
            near(exact.mean, asked.theory);
            quoted += 1;
        }
        if let (Some(asked), Some(p99)) = (asked("latency.p99"), exact.p99) {
            near(p99, asked.theory);
        }
    }
    assert!(quoted >= 25, "only {quoted} set-ups have a theorem in their reports");
}

/// The shipped scenarios: a theorem where one applies and none where its assumptions are broken.
#[test]
fn theorems_are_quoted_only_where_they_hold() {
    let read = |name: &str| {
        let folder = root().join("scenarios");
        let source = std::fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
        let files = |file: &str| std::fs::read_to_string(folder.join(file)).map_err(|e| e.to_string());
        Scenario::parse(name, &source, &files).unwrap()
    };
    let quoted = |name: &str| {
        let scenario = read(name);
        let of = |c: &evenkeel::scenario::Variant| exact_values::exact(&scenario, &c.table).map(|_| c.table.name());
        scenario.variants.iter().filter_map(of).collect::<Vec<_>>()
    };
    let even = quoted("even-load");
    for strategy in ["random", "round_robin", "weighted_round_robin", "oracle_least_work"] {
        assert!(even.contains(&strategy), "{strategy}: {even:?}");
    }
    // A server of weight zero gets nothing and changes nothing.
    let strategies = "strategies = [\"random\", \"weighted_random\", \"round_robin\", \"oracle_least_work\"]";
    let source = SOUND.replace("strategies = [\"random\", \"p2c\"]", strategies);
    let idle = format!("{source}[[pools.servers]]\nname = \"idle\"\nweight = 0\nspeed = 3.0\n");
    let (plain, with_idle) = (scenario(&source), scenario(&idle));
    for variant in &plain.variants {
        let exact = exact_values::exact(&plain, &variant.table);
        assert!(exact.is_some(), "{}", variant.label);
        assert_eq!(exact, exact_values::exact(&with_idle, &variant.table), "{}", variant.label);
    }
    // Faults, caches, time-outs, a closed loop, paths of several pools, bursts.
    for name in ["crash", "slow-server", "cache-affinity", "closed-loop", "path-isolation", "rush-hour", "replayed-log"]
    {
        assert_eq!(quoted(name), Vec::<&str>::new(), "{name}");
    }
}

/// Linkerd's drill: of three strategies the published success rates are about 95, 99 and 99.9 %. The first is
/// arithmetic and in the set-ups; the others depend on what was not published, so only what they say is held: that
/// counting requests loses some to the slow server, and that latency-based strategies lose far fewer.
#[test]
fn least_request_and_peak_ewma_avoid_the_slow_server() {
    let gates = gates();
    let drill = gates.iter().find(|gate| gate.name == "linkerd-round-robin").unwrap();
    let failed = |strategy: &str| {
        let scenario = scenario(&drill.source.replace("\"round_robin\"", &format!("\"{strategy}\"")));
        let mut tally = Tally::new(&scenario, 0);
        for replication in 0..5 {
            let record = evenkeel::sim::observe(&scenario.setup(0, replication), &|| false, &mut ()).unwrap();
            tally.take_in(&scenario, replication, &record);
        }
        tally.summary(&scenario).value("errors.ratio")
    };
    let (taking_turns, counting, timing) = (failed("round_robin"), failed("least_request"), failed("peak_ewma"));
    assert!((0.043..0.047).contains(&taking_turns), "{taking_turns}");
    assert!(counting < 0.012, "{counting}");
    assert!(timing < 0.0015 && timing < counting / 3.0, "{timing} {counting}");
}

/// The smaller form of `evenkeel bench coverage`: over 500 repetitions the 95 % interval of the mean holds the exact value in
/// 93 to 97 % of cases, and equals come out as tied in at least 95 %.
#[test]
fn intervals_keep_their_promise() {
    const REPETITIONS: u32 = 500;
    for trial in trials(5000) {
        let repetitions: Vec<u32> = (0..REPETITIONS).collect();
        let counts: Vec<_> =
            repetitions.par_iter().map(|&r| trial.repeat(u64::from(r) + 1, &|| false).unwrap()).collect();
        for (i, (count, _)) in counts[0].iter().enumerate() {
            let share = Share::new(counts.iter().filter(|row| row[i].1).count() as u32, REPETITIONS);
            let Some((low, high)) = trial.bounds(count) else { continue };
            // What must lie above the level and does not by chance alone is within the share's own interval.
            let holds = if high < 1.0 { (low..=high).contains(&share.value()) } else { share.interval.1 >= low };
            assert!(holds, "{}, {count}: {share:?}", trial.about);
        }
    }
}
