//! Traps of policies in the field, each with its known number: a rule with the trap shows it, a rule that avoids it
//! does not.

use evenkeel::policy::outlier::{Cap, Detector, FailurePercentage, Finding, Reason, Rules, SuccessRate};
use evenkeel::units::Nanos;

use crate::traffic::{near, run};

const RULES: Rules = Rules {
    consecutive_failures: None,
    success_rate: None,
    failure_percentage: None,
    latency: None,
    interval: Nanos::from_secs(10),
    base_ejection_time: Nanos::from_secs(30),
    max_ejection_time: Nanos::from_secs(300),
    max_ejected: 1.0,
    max_ejected_rule: Cap::OneAlways,
};

/// The servers that are ejected, by how many of 1,000 requests each answered successfully in an interval.
fn ejected(rules: Rules, good: &[u64]) -> Vec<u32> {
    let mut detector = Detector::new(rules, Nanos::ZERO);
    (0..good.len() as u32).for_each(|slot| detector.joined(slot));
    let mut out = Vec::new();
    let mut note = |finding: Finding| {
        if let Finding::Ejected(slot, ..) = finding {
            out.push(slot);
        }
    };
    for (slot, &good) in (0..).zip(good) {
        // Failures are spread, so that no row of them is longer than it must be.
        for i in 0..1000_u64 {
            let well = (i + 1) * good / 1000 > i * good / 1000;
            if let Some(finding) = detector.ended(slot, well, Nanos::from_millis(1), Nanos::from_secs(1)) {
                note(finding);
            }
        }
    }
    detector.tick(Nanos::from_secs(10)).into_iter().for_each(note);
    out.sort_unstable();
    out
}

/// Envoy since 1.28 lets another server go if the share holds with it as well: ⌊n/10⌋ of n. gRPC, and Envoy before, while
/// it is not reached: ⌈n/10⌉. One that may always go is enough for both.
#[test]
fn ten_percent_of_nine_servers_ejects_none() {
    let with = |cap, n: usize| {
        let rules = Rules { consecutive_failures: Some(5), max_ejected: 0.1, max_ejected_rule: cap, ..RULES };
        ejected(rules, &vec![0; n]).len()
    };
    for n in 2..=9 {
        assert_eq!(
            (with(Cap::Envoy, n), with(Cap::Grpc, n), with(Cap::OneAlways, n)),
            (0, 1, 1),
            "{n} servers, all dead"
        );
    }
    for (n, envoy, grpc, ours) in [(10, 1, 1, 1), (11, 1, 2, 1), (19, 1, 2, 1), (20, 2, 2, 2)] {
        assert_eq!((with(Cap::Envoy, n), with(Cap::Grpc, n), with(Cap::OneAlways, n)), (envoy, grpc, ours), "{n}");
    }
}

/// k equally bad of n lie √((n − k)/k) deviations below the mean, however bad they are: more than 1/(1 + 1.9²) = 21.7 % are
/// never seen, and one at 99.9 % among perfect ones is (√(n − 1) ≥ 2 from five servers on).
#[test]
fn success_rate_deviations_miss_many_equal_failures() {
    let deviations = SuccessRate { deviations: 1.9, min_servers: 5, min_requests: 100 };
    let percentage = FailurePercentage { threshold: 0.85, min_servers: 5, min_requests: 50 };
    let by_deviation = Rules { success_rate: Some(deviations), ..RULES };
    let by_percentage = Rules { failure_percentage: Some(percentage), ..RULES };
    let fleet =
        |n: usize, bad: usize, rate: u64| -> Vec<u64> { (0..n).map(|i| if i < bad { rate } else { 1000 }).collect() };
    for n in [5, 10, 20, 60, 100] {
        for bad in 1..n {
            // z = √((n − k)/k) > 1.9, in whole numbers: 100 (n − k) > 361 k.
            let seen = if 100 * (n - bad) > 361 * bad { bad } else { 0 };
            for rate in [0, 500, 999] {
                assert_eq!(ejected(by_deviation, &fleet(n, bad, rate)).len(), seen, "{bad} of {n} at {rate}/1000");
            }
            // A threshold detects all servers that fail nearly everything, however many, and no others.
            assert_eq!(ejected(by_percentage, &fleet(n, bad, 0)).len(), bad);
            assert_eq!(ejected(by_percentage, &fleet(n, bad, 999)), [0; 0]);
        }
    }
    assert_eq!(ejected(by_deviation, &fleet(100, 21, 0)).len(), 21, "79/21 = 3.76 > 3.61");
    assert_eq!(ejected(by_deviation, &fleet(100, 22, 0)), [0; 0], "78/22 = 3.55");
    // At the bound is beyond it; four servers are not enough.
    assert_eq!(ejected(by_percentage, &[150, 151, 1000, 1000, 1000]), [0]);
    assert_eq!(ejected(by_percentage, &[0, 1000, 1000, 1000]), [0; 0]);
    assert_eq!(Reason::FailurePercentage.as_str(), "failure_percentage");
}

const HALF_DEAD: &str = "kind = \"terminating\"\nreplications = 4\nduration = \"60s\"\nstrategies = [\"round_robin\"]\n\
    arrivals = { poisson = { rate = \"200/s\" } }\nservice = { constant = { value = \"1ms\" } }\n";

/// The same in the engine: one server of nine fails everything for good. With Envoy's reading of 10 % a ninth of the
/// requests fails to the end; where one may always go, for the five that it takes to see it, twice (30 s and 60 s).
#[test]
fn a_dead_server_of_nine_stays_in() {
    let with = |cap: &str| {
        run(&format!(
            "{HALF_DEAD}[[faults]]\ntarget = \"web/web-1\"\nat = \"0s\"\nkind = {{ errors = {{}} }}\n\
             [[pools]]\nname = \"web\"\noutliers = {{ max_ejected = \"10%\", max_ejected_rule = \"{cap}\" }}\n\
             [[pools.servers]]\nname = \"web\"\ncount = 9\n"
        ))
    };
    let s = with("envoy");
    assert_eq!(s.value("ejections"), 0.0);
    near(s.value("errors.error"), 1.0 / 9.0, 0.01, "to the end");
    for cap in ["grpc", "one_always"] {
        let s = with(cap);
        assert_eq!(s.value("ejections"), 2.0, "{cap}");
        // Five in a row, twice, of 12,000 requests (and the few that were on their way).
        assert!((s.value("errors.error") - 10.0 / 12_000.0).abs() < 0.0003, "{cap}: {}", s.value("errors.error"));
    }
}

/// When everything fails, a retry is only load. Without a bound there are four attempts for a request; with a budget of a
/// fifth (and no floor) 1.2; with tokens one, but for the few until half of them are gone.
#[test]
fn at_total_failure_retries_are_only_load() {
    let with = |throttle: &str| {
        run(&format!(
            "{HALF_DEAD}[[faults]]\ntarget = \"web/*\"\nat = \"0s\"\nkind = {{ errors = {{}} }}\n[[pools]]\nname = \"web\"\n\
             retries = {{ max_retries = 3, on = [\"error\"], backoff = \"0s\", {throttle} }}\n\
             [[pools.servers]]\nname = \"web\"\ncount = 9\n"
        ))
        .value("attempts.mean")
    };
    near(with("budget = \"1000%\""), 4.0, 0.001, "no bound");
    near(with("budget = \"20%\", min_per_second = \"0/s\""), 1.2, 0.002, "a budget");
    near(with("tokens = { max_tokens = 10, ratio = 0.1 }"), 1.0, 0.001, "tokens");
}

/// Tokens run dry for good where more than ratio/(1 + ratio) of the attempts fail: 9.1 % for a tenth. One server of twenty
/// that is dead (5 %) is retried away; three are not, though that is when retries are wanted.
#[test]
fn tokens_end_where_a_tenth_fails() {
    let with = |dead: u32, ratio: f64| {
        let faults: String = (1..=dead)
            .map(|i| format!("[[faults]]\ntarget = \"web/web-{i}\"\nat = \"0s\"\nkind = {{ errors = {{}} }}\n"))
            .collect();
        run(&format!(
            "{}{faults}[[pools]]\nname = \"web\"\nretries = {{ on = [\"error\"], backoff = \"0s\", tokens = {{ max_tokens = 100, ratio = {ratio} }} }}\n\
             [[pools.servers]]\nname = \"web\"\ncount = 20\n",
            HALF_DEAD.replace("round_robin", "random")
        ))
        .value("errors.error")
    };
    assert!(with(1, 0.1) < 0.003, "one of twenty, and a second attempt finds another: {}", with(1, 0.1));
    // 15 % of first attempts fail, and 2/19 of second ones: with retries a request loses 0.15 + 0.15 · 2/19 tokens and
    // brings 0.1 · (0.85 + 0.15 · 17/19). 100 tokens are 50 after 50/0.0673 = 743 of 12,000 requests, of which 0.15 · 2/19
    // fail; then there are no retries any more, the balance is 0.085 − 0.15, and 15 % fail.
    let first = 743.0 / 12_000.0;
    near(with(3, 0.1), 0.15 * (1.0 - first) + 0.15 * 2.0 / 19.0 * first, 0.05, "three of twenty");
    // With three tenths for a success the balance is above zero, and only two failures in a row are failures.
    near(with(3, 0.3), 0.15 * 2.0 / 19.0, 0.15, "more for a success");
}
