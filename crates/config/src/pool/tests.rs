//! Every key of a pool sets its field, and errors have a position.

use super::*;
use crate::diagnostic::{Diagnostic, read};
use evenkeel_core::policy::{hedge, outlier, priority, queue, slow_start, subset, zone};
use evenkeel_core::units::{Nanos, Ratio};

const SERVER: &str = "[[servers]]\nname = \"a\"\nmax_in_flight = 3\n";

fn pool(keys: &str) -> (policy::Rules, Check, String) {
    let source = format!("name = \"web\"\n{keys}\n{SERVER}");
    let table: PoolTable = match read(&source) {
        Ok(table) => table,
        Err(problems) => {
            let file = "x".to_owned();
            return (policy::Rules::default(), Check::Tcp, Diagnostic { file, source, problems }.plain());
        }
    };
    let mut problems = Vec::new();
    let rules = table.policy(&source, &mut problems);
    let check = rules.health.as_ref().map_or(Check::Tcp, |health| health.check_kind());
    assert!(problems.iter().all(|problem| problem.span.as_ref().is_some_and(|span| !span.is_empty())));
    (rules, check, Diagnostic { file: "x".to_owned(), source, problems }.plain())
}

#[test]
fn absent_policies_are_not_applied() {
    let (rules, check, problems) = pool("");
    assert_eq!((rules, check, problems.as_str()), (policy::Rules::default(), Check::Tcp, ""));
}

#[test]
fn every_table_has_valid_defaults() {
    let (rules, check, problems) = pool(
        "health = {}\noutliers = {}\nslow_start = \"30s\"\npanic = \"50%\"\nqueue = {}\nretries = {}\nhedge = {}\nsticky = {}",
    );
    assert_eq!(problems, "");
    assert_eq!(check, Check::Tcp);
    let retries = rules.retries.unwrap();
    assert_eq!(retries.on, [true, true, false, false, false]);
    assert_eq!((retries.max_retries, retries.budget, retries.min_per_second), (1, 0.2, 3.0));
    assert_eq!(retries.max_backoff, Nanos::from_millis(250));
    let outliers = rules.outliers.unwrap();
    assert_eq!(
        (outliers.consecutive_failures, outliers.max_ejected, outliers.base_ejection_time),
        (Some(5), 0.5, Nanos::from_secs(30))
    );
    assert_eq!(rules.panic, Some(policy::panic::Rules(0.5)));
    let slow = slow_start::Rules { window: Nanos::from_secs(30), aggression: 1.0, min_share: 0.1 };
    assert_eq!(rules.slow_start, Some(slow));
    assert_eq!(rules.queue, Some(queue::Rules { limit: 100, timeout: Nanos::from_secs(1) }));
    assert_eq!(rules.hedge, Some(hedge::Rules { after: hedge::After::Percentile(0.95), budget: 0.1, tied: false }));
    assert_eq!(rules.sticky.unwrap().cookie, "evenkeel");
    let health = rules.health.unwrap();
    assert_eq!((health.jitter, health.initial, health.fall), (0.0, policy::health::Initial::Up, 3));
}

#[test]
fn every_key_sets_its_field() {
    let (rules, check, problems) = pool(
        "health = { jitter = \"10%\", initial = \"down\", path = \"/up\", status = \"200, 300-399\" }\n\
         outliers = { consecutive_failures = 0, latency = { factor = 2 }, success_rate = { deviations = 1 }, max_ejected = 0.3 }\n\
         slow_start = { window = \"1m\", aggression = 2, min_share = \"5%\" }\n\
         retries = { on = [\"error\", \"timeout\"], per_try_timeout = \"1s\", min_per_second = \"6/m\" }\n\
         hedge = { after = \"50ms\", budget = \"5%\" }",
    );
    assert_eq!(problems, "");
    assert_eq!(check, Check::Http { path: "/up".to_owned(), status: vec![(200, 200), (300, 399)] });
    let outliers = rules.outliers.unwrap();
    assert_eq!((outliers.consecutive_failures, outliers.max_ejected), (None, 0.3));
    assert_eq!(outliers.latency, Some(outlier::Latency { factor: 2.0, min_requests: 100 }));
    assert_eq!(outliers.success_rate.unwrap().deviations, 1.0);
    assert_eq!(rules.slow_start.unwrap().min_share, 0.05);
    let retries = rules.retries.unwrap();
    assert_eq!(retries.on, [false, false, true, true, false]);
    assert_eq!((retries.per_try_timeout, retries.min_per_second), (Some(Nanos::from_secs(1)), 0.1));
    assert_eq!(rules.hedge.unwrap().after, hedge::After::Fixed(Nanos::from_millis(50)));
    assert_eq!(rules.health.unwrap().initial, policy::health::Initial::Down);
    assert_eq!(pool("health = { tcp = true }").1, Check::Tcp);
}

#[test]
fn partition_keys_set_their_fields() {
    let read = |source: &str| {
        let table: PoolTable = read(source).unwrap();
        let mut problems = Vec::new();
        let rules = table.policy(source, &mut problems);
        let servers = table.servers(&mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        (rules, servers)
    };
    let (rules, servers) = read(
        "name = \"web\"\nsubset = { size = 3, kind = \"aperture\" }\nzones = { traffic = { a = \"30%\", b = \"70%\" } }\n\
         [[servers]]\nname = \"a\"\nzone = \"a\"\n[[servers]]\nname = \"b\"\nzone = \"b\"\npriority = 1\n",
    );
    assert_eq!(rules.subset, Some(subset::Rules { size: 3, kind: subset::Kind::Aperture }));
    assert_eq!(rules.priorities, Some(priority::Rules { overprovisioning: 1.4 }), "a server has a level");
    let zones = rules.zones.unwrap();
    assert_eq!((zones.prefer, zones.min_servers), (zone::Prefer::Residual, None));
    assert_eq!(zones.traffic, [("a".to_owned(), Ratio(0.3)), ("b".to_owned(), Ratio(0.7))].into());
    assert_eq!((servers[0].priority, servers[1].priority), (0, 1));
    let (rules, _) = read(
        "name = \"web\"\npriorities = { overprovisioning = 2 }\nzones = { prefer = \"weights\", weights = { a = 3 } }\n\
         [[servers]]\nname = \"a\"\nzone = \"a\"\npriority = 1\n",
    );
    let zones = rules.zones.unwrap();
    assert_eq!((zones.prefer, zones.weights), (zone::Prefer::Weights, [("a".to_owned(), 3.0)].into()));
    assert_eq!(rules.priorities.unwrap().overprovisioning, 2.0);
}

#[test]
fn retries_without_a_second_server_are_warned_of() {
    let rules = policy::Rules {
        hedge: Some(hedge::Rules { after: hedge::After::Percentile(0.95), budget: 0.1, tied: false }),
        ..policy::Rules::default()
    };
    let subset = Some(subset::Rules { size: 1, kind: subset::Kind::Random });
    let said = |weights: &[u32], rules: &policy::Rules| lonely("web", weights.iter().copied(), rules);
    assert!(said(&[1], &rules).unwrap().starts_with("`hedge` do nothing: pool `web` has one server"));
    assert!(said(&[1, 0], &rules).is_some(), "nothing is ever sent to a weight of zero");
    assert!(said(&[1, 1], &policy::Rules { subset, ..rules.clone() }).unwrap().contains("subset of one"));
    assert_eq!(said(&[1, 1], &rules), None);
    assert_eq!(said(&[1], &policy::Rules::default()), None);
}

#[test]
fn errors_have_a_position() {
    for (keys, expected) in [
        ("panic = \"120%\"", "x:2:9: `panic`"),
        ("panic = 0", "x:2:9: `panic`"),
        ("slow_start = \"soon\"", "x:2:14: `soon` is not a duration"),
        ("slow_start = \"0s\"", "x:2:14: the window"),
        ("slow_start = { window = \"1s\", min_share = 0 }", "x:2:43: `min_share`"),
        ("slow_start = { windw = \"1s\" }", "x:2:16: unknown key `windw`"),
        ("health = { jitter = 1 }", "x:2:21: `jitter`"),
        ("health = { path = \"up\" }", "x:2:19: a `path`"),
        ("health = { path = \"/\", status = \"2xx\" }", "x:2:33: `2xx`"),
        ("health = { status = \"200\" }", "x:2:21: `status` has no meaning"),
        ("health = { tcp = true, path = \"/\" }", "x:2:18: a check is either"),
        ("outliers = { consecutive_failures = 0 }", "x:2:12: nothing here"),
        ("outliers = { base_ejection_time = \"9m\" }", "x:2:12: `max_ejection_time` is shorter"),
        ("outliers = { max_ejected = \"200%\" }", "x:2:28: `max_ejected`"),
        ("outliers = { max_ejected = 2 }", "x:2:28: `2` has no unit"),
        ("outliers = { latency = { factor = 1 } }", "x:2:35: `factor`"),
        ("outliers = { success_rate = { min_servers = 1 } }", "x:2:45: `min_servers`"),
        ("retries = { max_retries = 0 }", "x:2:27: `max_retries`"),
        ("retries = { on = [] }", "x:2:18: `on` is empty"),
        ("retries = { on = [\"connection\"] }", "x:2:19: unknown value `connection`"),
        ("retries = { per_try_timeout = \"1s\" }", "x:2:31: after `per_try_timeout`"),
        ("retries = { backoff = \"1s\" }", "x:2:11: `max_backoff`"),
        ("hedge = { after = \"p100\" }", "x:2:19: `p100` is not a percentile"),
        ("hedge = { budget = \"200%\" }", "x:2:20: `budget`"),
        ("sticky = { cookie = \"a b\" }", "x:2:21: `a b`"),
        ("sticky = { max_age = \"1ms\" }", "x:2:22: `max_age`"),
        ("queue = { limit = 0 }", "x:2:19: `limit`"),
        ("concurrency = { min_limit = 0 }", "x:2:29: `min_limit` must be above zero"),
        ("concurrency = { interval = \"2m\" }", "x:2:28: `interval` must be"),
        ("concurrency = { kind = \"aimd\", backoff_ratio = 1 }", "x:2:48: `backoff_ratio`"),
        ("concurrency = { per = \"zone\" }", "x:2:23: unknown value `zone`"),
        ("admission = { success_threshold = 0 }", "x:2:35: `success_threshold`"),
        ("admission = { window = \"1ms\" }", "x:2:24: `window`"),
        ("retries = { tokens = { max_tokens = 0 } }", "x:2:22: `max_tokens` and `ratio`"),
        ("outliers = { failure_percentage = { threshold = \"200%\" } }", "x:2:49: `threshold`"),
        ("outliers = { max_ejected_rule = \"haproxy\" }", "x:2:33: unknown value `haproxy`"),
        ("subset = { size = 0 }", "x:2:19: `size` of a subset"),
        ("subset = { size = 3, kind = \"some\" }", "x:2:29: unknown value `some`"),
        ("priorities = {}", "x:2:14: all servers have priority 0"),
        ("priorities = { overprovisioning = 0.5 }", "x:2:35: `overprovisioning`"),
        ("zones = {}", "x:2:9: no server of this pool has a `zone`"),
        ("zones = { weights = { a = 1 } }", "x:2:21: no server is in zone `a`"),
        ("zones = { prefer = \"weights\" }", "x:2:9: `prefer = \"weights\"` needs"),
        ("zones = { traffic = { a = \"40%\" } }", "x:2:21: the shares of `traffic`"),
    ] {
        let (_, _, problems) = pool(keys);
        assert!(problems.contains(expected), "{keys}: {problems}");
    }
    let source = "name = \"web\"\nqueue = {}\n[[servers]]\nname = \"a\"\nmax_in_flight = 0\n[[servers]]\nname = \"b\"\nzone = \"A\"\n";
    let table: PoolTable = read(source).unwrap();
    let mut problems = Vec::new();
    table.policy(source, &mut problems);
    table.servers(&mut problems);
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(messages[0].contains("no request would ever wait"), "{messages:?}");
    assert!(messages[1].contains("`max_in_flight` must be above zero"), "{messages:?}");
    assert!(messages[2].contains("`A` cannot name a zone"), "{messages:?}");
}
