//! Tests for the author of a strategy: conformance, a property of its own, a comparison, golden picks.

use custom_strategy::{SCENARIO, memory};
use evenkeel_core::select::Request;
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::select::conformance::{self, Driver};
use evenkeel_core::units::Nanos;
use evenkeel_sim::measure::{Comparison, compare, fingerprint, run_all};
use evenkeel_sim::scenario::{Scenario, expect};

fn scenario() -> Scenario {
    Scenario::parse("memory", SCENARIO, &|file| Err(format!("no file {file}"))).unwrap()
}

/// The rules of every strategy: eligible servers only, deterministic, no trace of refused picks.
#[test]
fn it_conforms() {
    conformance::check(&memory().into()).unwrap();
}

/// A property of its own: where nothing ends (balls into bins), memory keeps the servers far closer together than a single
/// random choice, whose counts have a standard deviation of about 11 here.
#[test]
fn servers_stay_close_together() {
    let spread = |strategy: StrategyConfig| {
        let mut driver = Driver::new(&strategy, &[1; 8], 1);
        for n in 0..1000 {
            driver.now = Nanos::from_millis(n);
            driver.pick(&Request::default()).unwrap();
        }
        let counts = driver.fleet.in_flight();
        counts.iter().max().unwrap() - counts.iter().min().unwrap()
    };
    let (own, random) = (spread(memory().into()), spread("random".parse().unwrap()));
    assert!(own <= 8 && own * 2 < random, "{own} against {random}");
}

/// In a scenario beside the catalogue: the same requests, intervals, ranking, and expectations as a scenario file has them.
#[test]
fn it_is_between_random_and_p2c_or_better() {
    let mut scenario = scenario();
    scenario.quick();
    let own = scenario.add_strategy(memory());
    let summaries = run_all(&scenario, &|| false).unwrap();
    assert_eq!(summaries[own].workload_hashes, summaries[0].workload_hashes, "all strategies get the same requests");
    let expect =
        expect::parse("latency.p99[memory] < 0.5 * latency.p99[random]", "two choices beat one", 0..0).unwrap();
    assert_eq!(expect.holds_in(&summaries), Ok(true));
    let ranks = compare(&summaries, "latency.mean");
    assert!(matches!(ranks[0], Some(Comparison::Worse(times)) if times > 1.5), "random: {ranks:?}");
}

/// Golden picks: a hash over every decision of a run. A change of the strategy's behaviour changes it. If the
/// change is intended, write the new value here.
#[test]
fn picks_have_golden_values() {
    let mut scenario = scenario();
    let own = scenario.add_strategy(memory());
    let now = fingerprint::take(&scenario, own, &|| false).unwrap();
    assert_eq!((now.decisions, now.hash), GOLDEN, "first picks: {:?}", &now.first[..8]);
}

const GOLDEN: (u64, u64) = (28_278, 11_074_502_112_259_444_310);
