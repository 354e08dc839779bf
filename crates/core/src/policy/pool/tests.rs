//! Tests of the pool: health, panic, limits, partitions, slow start, affinity.

use super::*;
use crate::fleet::Change;
use crate::policy::outlier::Reason;
use crate::policy::{concurrency, panic, priority, subset, zone};
use crate::policy::{outlier, slow_start};
use crate::rng::Rng;
use crate::select::catalog;
use crate::select::{Context, Outcome, Pick, Request, Selector};

const fn secs(secs: u64) -> Nanos {
    Nanos::from_secs(secs)
}

fn health(initial_up: bool) -> health::Rules {
    let initial = if initial_up { health::Initial::Up } else { health::Initial::Down };
    health::Rules { rise: 1, fall: 1, initial, ..health::Rules::default() }
}

fn outliers(most: f64) -> outlier::Rules {
    outlier::Rules {
        consecutive_failures: Some(1),
        success_rate: None,
        failure_percentage: None,
        latency: None,
        interval: secs(10),
        base_ejection_time: secs(30),
        max_ejection_time: secs(300),
        max_ejected: most,
        max_ejected_rule: outlier::Cap::OneAlways,
    }
}

fn server_pool(rules: Rules, limits: &[Option<u32>]) -> ServerPool {
    let names: Vec<String> = (0..limits.len()).map(|i| format!("s{i}")).collect();
    let mut server_pool = ServerPool::new(Arc::new(rules));
    server_pool.join_all(names.iter().zip(limits).map(|(name, &limit)| (name.as_str(), 1, limit)));
    server_pool
}

struct Host {
    server_pool: ServerPool,
    selector: Box<dyn Selector>,
    rng: Rng,
    policy_rng: Rng,
    calls: Vec<Vec<u32>>,
}

impl Host {
    fn new(strategy: &str, server_pool: ServerPool) -> Host {
        let mut rng = Rng::stream(1, "test", 0);
        let table = (catalog::find(strategy).unwrap().default)();
        let selector = table.build(&mut rng);
        Host::around(selector, rng, server_pool)
    }

    fn around(mut selector: Box<dyn Selector>, mut rng: Rng, mut server_pool: ServerPool) -> Host {
        let changes = server_pool.fleet.take_changes();
        let mut cx = Context { now: Nanos::ZERO, fleet: &server_pool.fleet, rng: &mut rng, truth: None };
        selector.on_fleet(&changes, &mut cx);
        Host { server_pool, selector, rng, policy_rng: Rng::stream(1, "luck", 0), calls: Vec::new() }
    }

    /// With a selector for each part.
    fn divided(strategy: &str, server_pool: ServerPool) -> Host {
        let table = (catalog::find(strategy).unwrap().default)();
        let mut rng = Rng::stream(1, "test", 0);
        let selector = crate::policy::partition::build(&table, server_pool.rules(), &mut rng);
        Host::around(selector, rng, server_pool)
    }

    fn pick(&mut self, excluded: &[u32], now: Nanos) -> Option<u32> {
        self.pick_for(&[7; 8], excluded, now)
    }

    fn pick_for(&mut self, key: &[u8], excluded: &[u32], now: Nanos) -> Option<u32> {
        let request = Request { client: [10, 0, 0, 1].into(), path: "/", key, excluded, answers: None };
        let calls = &mut self.calls;
        let (selector, rng, policy_rng) = (self.selector.as_mut(), &mut self.rng, &mut self.policy_rng);
        let pick = self.server_pool.place(selector, rng, &request, None, now, policy_rng, |asked| {
            if let SelectorCall::Pick(excluded, _) = asked {
                calls.push(excluded.to_vec());
            }
        })?;
        Some(pick.backend.slot)
    }
}

#[test]
fn new_rules_keep_server_state() {
    let before = Rules { health: Some(health(true)), outliers: Some(outliers(1.0)), ..Rules::default() };
    let mut server_pool = server_pool(before, &[Some(1), None, None, None]);
    let ids: Vec<BackendId> = (0..4).map(|slot| server_pool.fleet.id(slot)).collect();
    server_pool.started(ids[0]);
    server_pool.set_draining(ids[1], true, secs(1));
    server_pool.checked(ids[2], false, secs(1));
    server_pool.started(ids[3]);
    assert!(server_pool.ended(ids[3], Outcome::Failed, secs(1), secs(2)).is_some(), "ejected");
    let other = Rules { health: Some(health(false)), slow_start: None, ..Rules::default() };
    server_pool.set_rules(Arc::new(other), secs(3));
    assert!(server_pool.is_full(0) && server_pool.fleet.in_flight() == [1, 0, 0, 0]);
    assert_eq!(server_pool.fleet.eligible(), [0, 3], "1 drains, 2 is down, and outlier ejection is off");
    server_pool.set_rules(Arc::new(Rules::default()), secs(4));
    assert_eq!(server_pool.fleet.eligible(), [0, 2, 3], "health checks are off");
    let sticky = sticky::Rules { cookie: "c".into(), max_age: None, secret: None };
    server_pool.set_rules(Arc::new(Rules { sticky: Some(sticky), ..Rules::default() }), secs(5));
    let value = server_pool.cookie_value(1).unwrap().to_owned();
    assert_eq!(server_pool.affinity_target(&value), Some(ids[1]), "a draining server keeps its sessions");
    assert!(server_pool.status(1, secs(5)).draining);
}

/// A pool with servers of these (level, zone), divided as the rules say.
fn divided(rules: Rules, shard_id: ShardId, servers: &[(u32, &'static str)]) -> ServerPool {
    let names: Vec<String> = (0..servers.len()).map(|i| format!("s{i}")).collect();
    let mut server_pool = ServerPool::new(Arc::new(rules)).for_shard(shard_id);
    server_pool.join_all(names.iter().zip(servers).map(|(name, &(priority, zone))| NewServer {
        priority,
        zone: Some(zone),
        ..NewServer::from((name.as_str(), 1, None))
    }));
    server_pool
}

fn shares(server_pool: &ServerPool) -> Vec<f64> {
    server_pool.fleet.partitions().iter().map(|part| (part.share * 1e6).round() / 1e6).collect()
}

#[test]
fn levels_spill_and_panic_as_envoys() {
    let rules = Rules {
        priorities: Some(priority::Rules::default()),
        health: Some(health(true)),
        panic: Some(panic::Rules(0.5)),
        ..Rules::default()
    };
    let servers: Vec<(u32, &str)> = (0..20).map(|i| (i / 10, "a")).collect();
    let mut server_pool = divided(rules, ShardId::default(), &servers);
    assert_eq!(shares(&server_pool), [1.0, 0.0]);
    let set = |server_pool: &mut ServerPool, low: u32, high: u32| {
        for slot in 0..20 {
            let up = if slot < 10 { slot < low } else { slot - 10 < high };
            let id = server_pool.fleet.id(slot);
            server_pool.checked(id, up, secs(1));
        }
    };
    // Half of level 0: 1.4 · 0.5 of the load stays; no level panics as long as level 1 can serve the rest.
    set(&mut server_pool, 5, 10);
    assert_eq!((shares(&server_pool), server_pool.in_panic()), (vec![0.7, 0.3], false));
    set(&mut server_pool, 1, 10);
    assert_eq!(
        (shares(&server_pool), server_pool.in_panic()),
        (vec![0.14, 0.86], false),
        "no panic, though only a tenth is well"
    );
    // 0.14 + 0.84 < 1: level 0 is below half and its health is ignored, that of level 1 is not.
    set(&mut server_pool, 1, 6);
    let low = 0.14 / 0.98;
    assert!((shares(&server_pool)[0] - low).abs() < 1e-5);
    assert!(server_pool.in_panic());
    assert_eq!(server_pool.fleet.eligible().len(), 10 + 6);
    // No server is healthy: everything to level 0, whatever its checks say.
    set(&mut server_pool, 0, 0);
    assert_eq!(shares(&server_pool), [1.0, 0.0]);
    assert_eq!(server_pool.fleet.eligible().len(), 20);
}

#[test]
fn zones_and_levels_divide_together() {
    let half = |zone: &str| (zone.to_owned(), crate::units::Ratio(0.5));
    let zones = zone::Rules { traffic: [half("a"), half("b")].into(), ..zone::Rules::default() };
    let rules = Rules {
        priorities: Some(priority::Rules::default()),
        zones: Some(zones),
        health: Some(health(true)),
        ..Rules::default()
    };
    let shard_id = ShardId { zone: Some("a".to_owned()), ..ShardId::default() };
    let servers: Vec<(u32, &str)> = (0..12).map(|i| (u32::from(i >= 8), if i % 2 == 0 { "a" } else { "b" })).collect();
    let mut server_pool = divided(rules, shard_id, &servers);
    // Parts in the order of their first servers: level 0, its a, its b, level 1, its a, its b.
    assert_eq!(shares(&server_pool), [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    // Two of a's four servers fail: 2 of 6 healthy servers for half of the traffic: 2/3 stays. b has 2/3 and brings 1/2.
    // 6 of 8 healthy: the level is whole, 1.4 · 0.75 > 1.
    for slot in [0, 2] {
        let id = server_pool.fleet.id(slot);
        server_pool.checked(id, false, secs(1));
    }
    assert_eq!(shares(&server_pool), [0.0, 0.666667, 0.333333, 0.0, 0.0, 0.0]);
    // All servers of a fail: 4 of 8 are healthy, so 30 % go to level 1, where zones do not apply; b gets the rest.
    for slot in [4, 6] {
        let id = server_pool.fleet.id(slot);
        server_pool.checked(id, false, secs(2));
    }
    assert_eq!(shares(&server_pool), [0.0, 0.0, 0.7, 0.3, 0.0, 0.0]);
    let mut host = Host::divided("round_robin", server_pool);
    let mut picks = [0; 12];
    for _ in 0..10_000 {
        picks[host.pick(&[], secs(3)).unwrap() as usize] += 1;
    }
    // b's four share 7,000 evenly, level 1's four 3,000: four standard deviations of √(10⁴ · 0.21) are 183.
    let b: i32 = [1, 3, 5, 7].iter().map(|&slot| picks[slot]).sum();
    assert!((b - 7000).abs() < 183, "{picks:?}");
    assert!([1, 3, 5, 7].iter().all(|&slot| (picks[slot] - b / 4).abs() <= 1), "in turn within a part: {picks:?}");
    // A request that has tried all servers of a part gets one of another part; `None` only when no server is left.
    assert!(host.pick(&[1, 3, 5, 7], secs(3)).unwrap() >= 8);
    assert_eq!(host.pick(&[1, 3, 5, 7, 8, 9, 10, 11], secs(3)), None);
}

#[test]
fn a_strategy_sees_only_its_subset() {
    for kind in [subset::Kind::Random, subset::Kind::Deterministic, subset::Kind::Aperture] {
        for row in catalog::CATALOGUE.iter().filter(|row| !row.doc.oracle()) {
            let rules = Rules { subset: Some(subset::Rules { size: 3, kind }), ..Rules::default() };
            let shard_id = ShardId { number: 1, of: 4, ..ShardId::default() };
            let server_pool = divided(rules, shard_id, &[(0, "a"); 12]);
            let used = server_pool.fleet.eligible().to_vec();
            assert_eq!(used.len(), 3, "{}: a quarter of the ring is 3 of 12", row.name);
            let mut host = Host::divided(row.name, server_pool);
            for i in 0..100_u32 {
                let slot = host.pick_for(&i.to_le_bytes(), &[], secs(1)).unwrap();
                assert!(used.contains(&slot), "{}", row.name);
            }
            assert_eq!(host.pick(&used, secs(1)), None, "{}", row.name);
        }
    }
}

#[test]
fn servers_at_the_edge_of_an_aperture_get_a_fraction() {
    // Four balancers, six servers, at least two of them: arcs of two quarters, three servers. Number 1 has
    // 1/4 … 3/4: half of server 1 on the ring, all of 2 and 3, half of 4.
    let rules = Rules { subset: Some(subset::Rules { size: 2, kind: subset::Kind::Aperture }), ..Rules::default() };
    let shard_id = ShardId { number: 1, of: 4, ..ShardId::default() };
    let mut host = Host::divided("weighted_random", divided(rules, shard_id, &[(0, "a"); 6]));
    let mut picks = [0_i32; 6];
    (0..30_000).for_each(|_| picks[host.pick(&[], secs(1)).unwrap() as usize] += 1);
    picks.sort_unstable();
    // 5,000 twice and 10,000 twice: four standard deviations are 258 and 327.
    for (picks, (expected, by)) in picks[2..].iter().zip([(5000, 258), (5000, 258), (10_000, 327), (10_000, 327)]) {
        assert!((picks - expected).abs() < by, "{picks}");
    }
}

#[test]
fn a_pool_at_its_adaptive_limit_accepts_no_request() {
    let rules = |per| Rules {
        concurrency: Some(concurrency::Rules {
            kind: concurrency::Kind::Aimd,
            per,
            min_limit: 1,
            max_limit: 100,
            backoff_ratio: 0.5,
            ..concurrency::Rules::default()
        }),
        ..Rules::default()
    };
    let mut host =
        Host::new("round_robin", server_pool(rules(concurrency::Per::Pool), &[None; 3]).for_shard(ShardId::default()));
    assert_eq!(host.server_pool.pool_limit(), Some(20));
    let start = |host: &mut Host| {
        let slot = host.pick(&[], secs(1)).unwrap();
        host.server_pool.started(host.server_pool.fleet.id(slot));
    };
    (0..20).for_each(|_| start(&mut host));
    assert_eq!(host.pick(&[], secs(1)), None);
    assert!(host.server_pool.is_crowded() && !host.server_pool.has_room(&[]) && host.server_pool.waiting_helps(&[]));
    // A failure halves the limit: ten more must end before one may begin.
    let id = host.server_pool.fleet.id(0);
    host.server_pool.ended(id, Outcome::Failed, secs(1), secs(2));
    assert_eq!(host.server_pool.pool_limit(), Some(10));
    for _ in 0..9 {
        assert_eq!(host.pick(&[], secs(2)), None);
        let busiest = (0..3).max_by_key(|&slot| host.server_pool.fleet.in_flight()[slot as usize]).unwrap();
        host.server_pool.ended(host.server_pool.fleet.id(busiest), Outcome::Cancelled, secs(1), secs(2));
    }
    assert_eq!(host.pick(&[], secs(2)), None, "ten are in flight and ten may be");
    host.server_pool.ended(host.server_pool.fleet.id(1), Outcome::Cancelled, secs(1), secs(2));
    assert!(host.pick(&[], secs(2)).is_some());
    // Each server has its own limit: the one that fails gets less, the others are not affected.
    let mut host = Host::new(
        "round_robin",
        server_pool(rules(concurrency::Per::Server), &[None; 3]).for_shard(ShardId::default()),
    );
    let id = host.server_pool.fleet.id(0);
    for i in 1..=5 {
        host.server_pool.started(id);
        host.server_pool.ended(id, Outcome::Failed, Nanos(1), secs(i));
    }
    assert_eq!(host.server_pool.status(0, secs(1)).limit, Some(1), "20 · 2⁻⁵ is below one");
    assert_eq!(host.server_pool.status(1, secs(1)).limit, Some(20));
    (0..41).for_each(|_| start(&mut host));
    assert_eq!(host.server_pool.fleet.in_flight(), [1, 20, 20]);
    assert_eq!(host.pick(&[], secs(1)), None);
}

#[test]
fn full_servers_are_excluded_until_a_request_ends() {
    let mut host = Host::new("round_robin", server_pool(Rules::default(), &[Some(1), Some(2), Some(1)]));
    for _ in 0..4 {
        let slot = host.pick(&[], secs(1)).unwrap();
        host.server_pool.started(host.server_pool.fleet.id(slot));
    }
    assert_eq!(host.server_pool.fleet.in_flight(), [1, 2, 1]);
    assert!(!host.server_pool.has_room(&[]));
    let calls = host.calls.len();
    assert_eq!(host.pick(&[], secs(1)), None);
    assert_eq!(host.calls.len(), calls, "a selector is not called when no server has room");
    let id = host.server_pool.fleet.id(1);
    host.server_pool.ended(id, Outcome::Ok, Nanos(1), secs(1));
    assert_eq!(host.pick(&[], secs(1)), Some(1));
    assert_eq!(host.calls.last().unwrap().len(), 2);
    assert_eq!(host.pick(&[1], secs(1)), None, "the only one with room was tried");
    host.server_pool.set_limit(id, Some(1));
    assert_eq!(host.pick(&[], secs(1)), None);
    host.server_pool.set_limit(id, None);
    assert_eq!(host.pick(&[], secs(1)), Some(1));
}

#[test]
fn a_strategy_s_limit_counts_like_a_server_s_and_the_smaller_holds() {
    struct Wants(Option<u32>);
    impl Selector for Wants {
        fn pick(&mut self, _: &Request<'_>, _: &mut Context<'_>) -> Option<Pick> {
            None
        }
        fn limit(&self, slot: u32, _: &Fleet) -> Option<u32> {
            self.0.map(|limit| limit + slot)
        }
    }
    let mut host = Host::new("round_robin", server_pool(Rules::default(), &[None, Some(1), None]));
    host.server_pool.apply_strategy_limits(&Wants(Some(1)), 0..3);
    let limits = |server_pool: &ServerPool| [0, 1, 2].map(|slot| server_pool.status(slot, secs(1)).limit);
    assert_eq!(limits(&host.server_pool), [Some(1), Some(1), Some(3)]);
    for _ in 0..5 {
        let slot = host.pick(&[], secs(1)).unwrap();
        host.server_pool.started(host.server_pool.fleet.id(slot));
    }
    assert_eq!((host.server_pool.fleet.in_flight(), host.server_pool.has_room(&[])), (&[1, 1, 3][..], false));
    assert!(host.server_pool.waiting_helps(&[]));
    host.server_pool.apply_strategy_limits(&Wants(Some(2)), 0..1);
    assert_eq!(host.pick(&[], secs(1)), Some(0), "it wants one more at server 0");
    host.server_pool.apply_strategy_limits(&Wants(Some(1)), 0..1);
    assert_eq!(host.pick(&[], secs(1)), None);
    host.server_pool.forget_limits();
    assert_eq!(limits(&host.server_pool), [None, Some(1), None]);
    assert!(host.server_pool.has_room(&[0]) && host.server_pool.is_full(1));
}

#[test]
fn health_is_checks_and_ejections_and_panic_ignores_both() {
    let rules = Rules {
        health: Some(health(true)),
        outliers: Some(outliers(1.0)),
        panic: Some(panic::Rules(0.5)),
        ..Rules::default()
    };
    let mut server_pool = server_pool(rules, &[None; 4]);
    let id = |slot| BackendId { slot, generation: 0 };
    assert_eq!(server_pool.checked(id(0), false, secs(1)), Some(false));
    assert_eq!(server_pool.fleet.eligible(), [1, 2, 3]);
    server_pool.started(id(1));
    let event = server_pool.ended(id(1), Outcome::Failed, Nanos(1), secs(2));
    let reason = Reason::Consecutive;
    assert_eq!(event, Some(Event::Ejected { backend: id(1), reason, until: secs(32) }));
    assert_eq!(server_pool.fleet.eligible(), [2, 3], "a half is not below a half");
    server_pool.fleet.take_changes();
    server_pool.checked(id(2), false, secs(3));
    assert!(server_pool.in_panic());
    assert_eq!(server_pool.fleet.eligible(), [0, 1, 2, 3]);
    assert_eq!(server_pool.fleet.take_changes(), [Change::Up(id(0)), Change::Up(id(1))]);
    let status = server_pool.status(1, secs(3));
    assert_eq!((status.up, status.ejected_until, status.panic), (true, Some(secs(32)), true));
    // The drained do not count among those that could serve: one of three left is below a half still.
    server_pool.set_draining(id(0), true, secs(4));
    assert_eq!(server_pool.fleet.eligible(), [1, 2, 3]);
    // Without server 1's ejection two of three are healthy.
    assert_eq!(server_pool.next_tick(), Some(secs(10)));
    assert_eq!(server_pool.tick(secs(32)), [Event::Returned { backend: id(1) }]);
    assert!(!server_pool.in_panic());
    assert_eq!(server_pool.fleet.eligible(), [1, 3]);
}

#[test]
fn cancelled_and_late_ends_do_not_affect_health() {
    let mut server_pool = server_pool(Rules { outliers: Some(outliers(0.5)), ..Rules::default() }, &[None, None]);
    let old = server_pool.fleet.id(0);
    server_pool.started(old);
    assert_eq!(server_pool.ended(old, Outcome::Cancelled, Nanos(1), secs(1)), None);
    server_pool.started(old);
    server_pool.leave(old, secs(1));
    let new = server_pool.join(("new", 1, Some(1)), secs(1));
    assert_eq!(new.slot, 0);
    assert_eq!(server_pool.ended(old, Outcome::Failed, Nanos(1), secs(1)), None);
    assert_eq!(server_pool.fleet.eligible(), [0, 1]);
    server_pool.started(new);
    server_pool.ended(old, Outcome::Ok, Nanos(1), secs(1));
    assert!(server_pool.is_full(0), "the end of a former server's request makes no room");
}

#[test]
fn servers_that_start_down_must_pass_checks_first() {
    let mut server_pool = server_pool(Rules { health: Some(health(false)), ..Rules::default() }, &[None, None]);
    assert!(server_pool.fleet.eligible().is_empty());
    server_pool.checked(server_pool.fleet.id(1), true, secs(1));
    assert_eq!(server_pool.fleet.eligible(), [1]);
}

fn slow(window: u64) -> Rules {
    let slow_start = slow_start::Rules { window: secs(window), aggression: 1.0, min_share: 0.1 };
    Rules { slow_start: Some(slow_start), health: Some(health(true)), ..Rules::default() }
}

/// Of n servers that are picked alike one is warming with factor f. A pick lands on it with 1/n and is kept with f;
/// else it goes to one of the others: the warming server gets f/n of all picks.
#[test]
fn a_warming_server_gets_its_factor_of_its_share_whatever_the_strategy() {
    for strategy in ["random", "round_robin", "consistent_hash", "ip_hash"] {
        let mut host = Host::new(strategy, server_pool(slow(20), &[None; 5]));
        let id = host.server_pool.fleet.id(2);
        let keys = |i: u64| i.to_le_bytes();
        let picks = |host: &mut Host, now| {
            (0..20_000).filter(|&i| host.pick_for(&keys(i % 1000), &[], now) == Some(2)).count() as f64
        };
        let warm = picks(&mut host, secs(1));
        host.server_pool.checked(id, false, secs(5));
        host.server_pool.checked(id, true, secs(10));
        assert_eq!(host.server_pool.status(2, secs(16)).ramp_factor, 0.3);
        let warming = picks(&mut host, secs(16));
        assert_eq!(host.server_pool.status(2, secs(30)).ramp_factor, 1.0);
        if warm == 0.0 || warm == 20_000.0 {
            continue; // ip_hash: one client has one server.
        }
        // Binomial with 0.3 of `warm` trials: four standard deviations of it and of `warm` itself.
        let bound = 4.0 * (2.0 * 0.3 * warm).sqrt();
        assert!((warming - 0.3 * warm).abs() < bound, "{strategy}: {warming} of {warm}");
    }
}

#[test]
fn a_single_warming_server_serves_and_initial_servers_are_warm() {
    let mut host = Host::new("random", server_pool(slow(20), &[None; 2]));
    assert_eq!(host.server_pool.status(0, Nanos::ZERO).ramp_factor, 1.0, "initial servers are warm");
    let (a, b) = (host.server_pool.fleet.id(0), host.server_pool.fleet.id(1));
    host.server_pool.leave(a, secs(1));
    host.server_pool.leave(b, secs(1));
    let c = host.server_pool.join(("c", 1, None), secs(1));
    assert_eq!(host.server_pool.status(c.slot, secs(1)).ramp_factor, 0.1);
    for _ in 0..100 {
        assert_eq!(host.pick(&[], secs(1)), Some(c.slot));
    }
}

#[test]
fn a_cookie_applies_while_its_server_can_serve() {
    let rules = sticky::Rules { cookie: "c".to_owned(), max_age: None, secret: None };
    let mut server_pool = server_pool(Rules { sticky: Some(rules), ..Rules::default() }, &[Some(1), None]);
    let value = server_pool.cookie_value(0).unwrap().to_owned();
    let id = server_pool.fleet.id(0);
    assert_eq!(server_pool.affinity_target(&value), Some(id));
    server_pool.set_draining(id, true, secs(1));
    assert_eq!((server_pool.affinity_target(&value), server_pool.keeps_affinity(id)), (Some(id), true));
    server_pool.started(id);
    assert_eq!((server_pool.affinity_target(&value), server_pool.keeps_affinity(id)), (Some(id), false), "full");
    server_pool.leave(id, secs(1));
    assert_eq!((server_pool.affinity_target(&value), server_pool.keeps_affinity(id)), (None, false));
}
