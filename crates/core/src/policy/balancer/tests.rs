//! Tests of the balancer: details of budgets, retries, hedges and the queue.

use std::sync::Arc;

use super::*;
use crate::fleet::BackendId;
use crate::policy::retry::Failure;
use crate::policy::{admission, hedge, outlier, partition, retry, sticky};
use crate::select::{Finished, LoadReport, Outcome, Pick, Request, catalog};

const fn ms(millis: u64) -> Nanos {
    Nanos::from_millis(millis)
}

fn retries(max_retries: u32) -> retry::Rules {
    retry::Rules {
        max_retries,
        on: [true; retry::FAILURES.len()],
        budget: 10.0,
        min_per_second: 0.0,
        tokens: None,
        backoff: ms(10),
        max_backoff: ms(1000),
        per_try_timeout: Some(ms(500)),
    }
}

fn hedging(after: hedge::After) -> hedge::Rules {
    hedge::Rules { after, budget: 1.0, tied: false }
}

fn balancer(rules: Rules, strategy: &str, limits: &[Option<u32>]) -> Balancer {
    let table = (catalog::find(strategy).unwrap().default)();
    let mut balancer = Balancer::new(Arc::new(rules), ShardId::default());
    let names: Vec<String> = (0..limits.len()).map(|i| format!("s{i}")).collect();
    balancer.join_all(names.iter().zip(limits).map(|(name, &limit)| (name.as_str(), 1, limit)));
    let mut rng = Rng::stream(1, "select", 0);
    let selector = partition::build(&table, balancer.rules(), &mut rng);
    let policy_rng = Rng::stream(1, "policy", 0);
    balancer.add_shard(ShardSetup { strategy: &table, selector, rng, policy_rng });
    balancer.announce(Nanos::ZERO.into());
    effects(&mut balancer);
    balancer
}

fn effects(balancer: &mut Balancer) -> Vec<Effect> {
    std::iter::from_fn(|| balancer.poll_effect()).collect()
}

fn request(excluded: &[u32]) -> Request<'_> {
    Request { client: [10, 0, 0, 1].into(), path: "/", key: b"key", excluded, answers: None }
}

/// Lets the strategy choose and counts the request there.
fn send(balancer: &mut Balancer, excluded: &[u32], now: Nanos) -> Option<BackendId> {
    assert_eq!(balancer.step(0, &request(excluded), &Ask { dequeued: true, ..Ask::default() }), Step::Choose);
    let Pick { backend, .. } = balancer.choose(0, &request(excluded), now.into())?;
    balancer.started(backend);
    Some(backend)
}

fn end(balancer: &mut Balancer, backend: BackendId, outcome: Outcome, now: Nanos) {
    balancer.finished(0, &Finished { backend, latency: ms(1), outcome, tag: 0 }, now.into());
}

fn id(slot: u32) -> BackendId {
    BackendId { slot, generation: 0 }
}

#[test]
fn only_admitted_requests_add_to_budgets() {
    let admission = admission::Rules {
        success_threshold: 0.95,
        aggression: 1.0,
        window: ms(30_000),
        max_rejection: 1.0,
        min_request_rate: 0.0,
    };
    let rules = Rules {
        admission: Some(admission),
        retries: Some(retry::Rules { budget: 1.0, ..retries(1) }),
        ..Rules::default()
    };
    let mut balancer = balancer(rules, "round_robin", &[None, None]);
    // All fail: nearly every request is rejected from then on.
    for _ in 0..1000 {
        let backend = send(&mut balancer, &[], ms(1)).unwrap();
        end(&mut balancer, backend, Outcome::Failed, ms(1));
    }
    let admitted = (0..200).filter(|_| balancer.admit(0, ms(2))).count();
    assert!(admitted < 20, "{admitted}");
    let mut attempts = Attempts::default();
    let mut allowed = 0;
    for _ in 0..200 {
        attempts.begin();
        attempts.start();
        let end = AttemptEnd::Failed(Failure::Error);
        let next = balancer.attempt_ended(0, &mut attempts, end, ms(1), Resend::FREELY, ms(2));
        allowed += usize::from(matches!(next, Next::Retry(_)));
    }
    assert_eq!(allowed, admitted, "one retry for each admitted request, as the budget of 100 % says");
}

#[test]
fn back_off_and_the_number_of_retries_count_retries_and_not_hedges() {
    let rules =
        Rules { retries: Some(retries(2)), hedge: Some(hedging(hedge::After::Fixed(ms(5)))), ..Rules::default() };
    let mut balancer = balancer(rules, "round_robin", &[None; 8]);
    (0..100).for_each(|_| assert!(balancer.admit(0, ms(1))));
    let mut pauses = [0_u64; 2];
    for _ in 0..40 {
        let mut attempts = Attempts::default();
        attempts.begin();
        for (retry, longest) in pauses.iter_mut().enumerate() {
            let first = attempts.start();
            let timers = balancer.placed(0, &mut attempts, first, 2 * retry as u32, true, ms(1));
            assert_eq!(timers, Timers { hedge: Some(ms(5)), per_try: Some(ms(500)) }, "each attempt has its clocks");
            let second = balancer.hedge(0, &mut attempts, false, ms(6)).expect("each attempt can be hedged");
            let timers = balancer.placed(0, &mut attempts, second, 2 * retry as u32 + 1, true, ms(6));
            assert_eq!(timers.hedge, None, "a hedge is not hedged");
            assert_eq!(balancer.hedge(0, &mut attempts, false, ms(7)), None, "two at once are enough");
            let failed = AttemptEnd::Failed(Failure::Error);
            let next = balancer.attempt_ended(0, &mut attempts, failed, ms(9), Resend::FREELY, ms(10));
            assert_eq!(next, Next::Await);
            match balancer.attempt_ended(0, &mut attempts, failed, ms(9), Resend::FREELY, ms(11)) {
                Next::Retry(pause) => *longest = (*longest).max(pause.0),
                next => panic!("retry {retry} is the {}th attempt and not allowed: {next:?}", attempts.made()),
            }
        }
        attempts.start();
        let failed = AttemptEnd::Failed(Failure::Error);
        let next = balancer.attempt_ended(0, &mut attempts, failed, ms(9), Resend::FREELY, ms(12));
        assert_eq!((next, attempts.retries(), attempts.made()), (Next::Answer, 2, 5));
        assert_eq!(attempts.excluded(), [0, 1, 2, 3]);
    }
    // Uniform up to 10 and 20 ms; of forty draws the longest is above 0.8 of the bound but for 0.8^40 = 0.01 %.
    assert!(pauses[0] > ms(8).0 && pauses[0] <= ms(10).0, "{pauses:?}");
    assert!(pauses[1] > ms(16).0 && pauses[1] <= ms(20).0, "{pauses:?}");
}

#[test]
fn requests_that_cannot_be_replayed_are_not_retried() {
    let mut balancer = balancer(Rules { retries: Some(retries(3)), ..Rules::default() }, "random", &[None; 2]);
    (0..10).for_each(|_| assert!(balancer.admit(0, ms(1))));
    let mut next = |excluded: &[u32], resend| {
        let mut attempts = Attempts::default();
        let mut next = Next::Answer;
        for &slot in excluded {
            let number = attempts.start();
            balancer.placed(0, &mut attempts, number, slot, true, ms(1));
            let failed = AttemptEnd::Failed(Failure::Reset);
            next = balancer.attempt_ended(0, &mut attempts, failed, ms(1), resend, ms(2));
        }
        next
    };
    assert!(matches!(next(&[0], Resend::FREELY), Next::Retry(_)));
    assert_eq!(next(&[0], Resend { idempotent: false, ..Resend::FREELY }), Next::Answer);
    assert!(matches!(next(&[0], Resend { idempotent: false, sent: false, possible: true }), Next::Retry(_)));
    assert_eq!(next(&[0], Resend { possible: false, ..Resend::FREELY }), Next::Answer);
    assert_eq!(next(&[0, 1], Resend::FREELY), Next::Answer, "no server is left");
}

#[test]
fn the_hedging_percentile_includes_superseded_attempts() {
    let rules = Rules { hedge: Some(hedging(hedge::After::Percentile(0.5))), ..Rules::default() };
    let delay = |ends: &[(AttemptEnd, u64)]| {
        let mut balancer = balancer(rules.clone(), "random", &[None; 2]);
        for _ in 0..100 {
            for &(end, latency) in ends {
                let mut attempts = Attempts::default();
                attempts.start();
                let _ = balancer.attempt_ended(0, &mut attempts, end, ms(latency), Resend::FREELY, ms(100));
            }
        }
        let mut attempts = Attempts::default();
        let number = attempts.start();
        let delay = balancer.placed(0, &mut attempts, number, 0, true, ms(200)).hedge;
        delay.map(|delay| (delay.as_secs_f64() * 1e3).round())
    };
    use AttemptEnd::{Abandoned, CalledOff, Failed, Success, Superseded, Unplaced};
    assert_eq!(delay(&[(Success, 10)]), Some(10.0));
    assert_eq!(delay(&[(Success, 10), (Superseded, 50), (Superseded, 50)]), Some(50.0));
    assert_eq!(delay(&[(Success, 10), (Failed(Failure::Timeout), 500), (Failed(Failure::Timeout), 500)]), Some(501.0));
    let quick = [Failed(Failure::Error), Failed(Failure::Connect), CalledOff, Unplaced, Abandoned(Outcome::Failed)];
    for end in quick {
        assert_eq!(delay(&[(Success, 10), (end, 1), (end, 1)]), Some(10.0), "{end:?}");
        assert_eq!(delay(&[(end, 1)]), None, "{end:?}");
    }
}

#[test]
fn a_queued_request_without_a_server_keeps_its_place_and_timeout() {
    let queue = queue::Rules { limit: 10, timeout: ms(100) };
    let mut balancer = balancer(Rules { queue: Some(queue), ..Rules::default() }, "random", &[Some(1), Some(1)]);
    for _ in 0..2 {
        send(&mut balancer, &[], ms(0)).unwrap();
    }
    assert_eq!(balancer.step(0, &request(&[]), &Ask::default()), Step::Queue);
    let first = balancer.enqueue(0, 70, &[0], ms(0)).unwrap();
    let second = balancer.enqueue(0, 71, &[], ms(10)).unwrap();
    assert_eq!((first.deadline, second.deadline), (ms(100), ms(110)));
    assert_eq!(effects(&mut balancer), []);
    // Server 0 has room: the first has tried it, the second has not.
    end(&mut balancer, id(0), Outcome::Ok, ms(20));
    assert_eq!(effects(&mut balancer), [Effect::Room]);
    assert_eq!(balancer.dequeue(ms(20)), Some(Dequeued { token: 71, shard: 0, waited: ms(10) }));
    assert_eq!(balancer.dequeue(ms(20)), None);
    // A new request does not overtake it, and is queued behind it.
    assert_eq!(balancer.step(0, &request(&[]), &Ask::default()), Step::Queue);
    assert_eq!(balancer.step(0, &request(&[0, 1]), &Ask::default()), Step::Choose, "no server is left for it anyway");
    balancer.enqueue(0, 72, &[], ms(30)).unwrap();
    assert_eq!(effects(&mut balancer), [Effect::Room], "but it fits where the other does not");
    assert_eq!(balancer.dequeue(ms(30)).map(|waiter| waiter.token), Some(72));
    assert_eq!(send(&mut balancer, &[], ms(30)), Some(id(0)));
    // Its deadline has not changed.
    assert_eq!(balancer.next_tick(), Some(ms(100)));
    balancer.tick(ms(99).into());
    assert_eq!(effects(&mut balancer), []);
    balancer.tick(ms(100).into());
    assert_eq!(effects(&mut balancer), [Effect::Expired { token: 70 }]);
    assert!(!balancer.leave_queue(first.ticket) && balancer.waiting() == 0);
}

#[test]
fn only_requests_with_affinity_overtake_the_queue() {
    let rules = Rules {
        queue: Some(queue::Rules { limit: 1, timeout: ms(100) }),
        sticky: Some(sticky::Rules { cookie: "c".to_owned(), max_age: None, secret: None }),
        hedge: Some(hedging(hedge::After::Fixed(ms(1)))),
        ..Rules::default()
    };
    let mut balancer = balancer(rules, "random", &[Some(1), Some(1)]);
    let affinity = balancer.affinity(balancer.pool().cookie_value(1).unwrap());
    assert_eq!(affinity, Some(id(1)));
    assert!(balancer.admit(0, ms(0)));
    send(&mut balancer, &[1], ms(0)).unwrap();
    let with_cookie = Ask { affinity, ..Ask::default() };
    assert_eq!(balancer.step(0, &request(&[]), &with_cookie), Step::Affinity(id(1)));
    assert_eq!(balancer.step(0, &request(&[1]), &with_cookie), Step::Queue, "another attempt goes elsewhere");
    let waiting = balancer.enqueue(0, 5, &[1], ms(0)).unwrap();
    assert_eq!(balancer.step(0, &request(&[]), &with_cookie), Step::Affinity(id(1)));
    assert_eq!(balancer.enqueue(0, 6, &[], ms(0)), Err(Refusal::QueueFull));
    // A hedge neither waits nor overtakes, and its budget is not spent.
    let mut attempts = Attempts::default();
    let number = attempts.start();
    balancer.placed(0, &mut attempts, number, 0, true, ms(0));
    assert_eq!(balancer.hedge(0, &mut attempts, false, ms(1)), None);
    assert_eq!(balancer.step(0, &request(&[0]), &Ask { hedge: true, ..Ask::default() }), Step::NoRoom);
    assert!(balancer.leave_queue(waiting.ticket));
    let second = balancer.hedge(0, &mut attempts, false, ms(1)).unwrap();
    assert!(attempts.is_hedge(second) && !attempts.is_hedge(number));
    assert_eq!(balancer.step(0, &request(&[0]), &Ask { hedge: true, ..Ask::default() }), Step::Choose);
    // Affinity does not apply to a full server.
    balancer.started(id(1));
    assert_eq!(balancer.step(0, &request(&[]), &with_cookie), Step::Queue);
}

#[test]
fn no_tied_copy_is_sent_once_the_first_is_in_service() {
    let rules = hedge::Rules { tied: true, ..hedging(hedge::After::Fixed(ms(1))) };
    let mut balancer = balancer(Rules { hedge: Some(rules), ..Rules::default() }, "random", &[None; 3]);
    assert!(balancer.admit(0, ms(0)));
    let mut attempts = Attempts::default();
    let number = attempts.start();
    balancer.placed(0, &mut attempts, number, 0, true, ms(0));
    assert_eq!(balancer.hedge(0, &mut attempts, true, ms(1)), None);
    assert!(balancer.hedge(0, &mut attempts, false, ms(1)).is_some());
}

#[test]
fn an_ejection_is_an_effect_after_selectors_were_informed() {
    let outliers = outlier::Rules {
        consecutive_failures: Some(1),
        success_rate: None,
        failure_percentage: None,
        latency: None,
        interval: ms(10_000),
        base_ejection_time: ms(1000),
        max_ejection_time: ms(1000),
        max_ejected: 1.0,
        max_ejected_rule: outlier::Cap::OneAlways,
    };
    let rules = Rules { outliers: Some(outliers), ..Rules::default() };
    let mut balancer = balancer(rules, "round_robin", &[None, None]);
    let backend = send(&mut balancer, &[], ms(1)).unwrap();
    end(&mut balancer, backend, Outcome::Failed, ms(2));
    let told = effects(&mut balancer);
    assert!(matches!(told[..], [Effect::FleetChanged, Effect::Server(crate::policy::pool::Event::Ejected { .. })]));
    for _ in 0..4 {
        assert_ne!(send(&mut balancer, &[], ms(3)), Some(backend));
    }
    assert_eq!(balancer.next_tick(), Some(ms(1002)));
    balancer.tick(ms(1002).into());
    let told = effects(&mut balancer);
    assert_eq!(told, [Effect::Server(crate::policy::pool::Event::Returned { backend }), Effect::FleetChanged]);
}

/// A selector's command is an effect for its shard; a new selector starts a new epoch.
#[test]
fn commands_are_effects_of_their_shard() {
    let mut balancer = balancer(Rules::default(), "weighted_response_time", &[None, None]);
    let table = (catalog::find("prequal").unwrap().default)();
    let mut rng = Rng::stream(1, "select", 1);
    let selector = table.build(&mut rng);
    assert_eq!(balancer.epoch(0), 0);
    balancer.set_selector(0, &table, selector, rng, ms(5).into());
    assert_eq!(balancer.epoch(0), 1);
    effects(&mut balancer);
    let mut probes = 0;
    for _ in 0..20 {
        let pick = balancer.choose(0, &request(&[]), ms(6).into()).unwrap();
        balancer.started(pick.backend);
        for effect in effects(&mut balancer) {
            let Effect::Probe { shard: 0, backend } = effect else { panic!("{effect:?}") };
            balancer.report(
                Some(0),
                backend,
                &LoadReport { in_server: Some(1), ..LoadReport::default() },
                ms(7).into(),
            );
            probes += 1;
        }
    }
    assert!(probes >= 20, "{probes}");
    let table = (catalog::find("weighted_response_time").unwrap().default)();
    let selector = table.build(&mut Rng::stream(1, "x", 0));
    balancer.set_selector(0, &table, selector, Rng::stream(1, "x", 0), ms(8).into());
    let told = effects(&mut balancer);
    assert!(told.iter().any(|effect| matches!(effect, Effect::WakeAt { shard: 0, .. })), "{told:?}");
}

/// A strategy with limits gets a queue without a configured one, and makes room when a request ends.
#[test]
fn a_strategy_with_limits_waits_at_the_balancer() {
    let mut balancer = balancer(Rules::default(), "late_binding", &[None, None]);
    let mut sent = Vec::new();
    while balancer.step(0, &request(&[]), &Ask::default()) == Step::Choose {
        sent.push(balancer.choose(0, &request(&[]), ms(1).into()).unwrap().backend);
        balancer.started(*sent.last().unwrap());
        assert!(sent.len() < 1000, "no limit");
    }
    balancer.enqueue(0, 9, &[], ms(1)).unwrap();
    end(&mut balancer, sent[0], Outcome::Ok, ms(2));
    assert_eq!(effects(&mut balancer), [Effect::Room]);
    assert_eq!(balancer.dequeue(ms(2)).map(|waiter| waiter.token), Some(9));
}
