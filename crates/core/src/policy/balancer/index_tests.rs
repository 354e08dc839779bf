//! A balancer whose fleet keeps an index makes the picks of one whose fleet does not: with limits, slow start, zones and servers
//! that come and go.

use std::sync::Arc;

use super::*;
use crate::policy::pool::NewServer;
use crate::policy::{partition, slow_start, zone};
use crate::rng::Source;
use crate::select::strategies::{late_binding, least_request};
use crate::select::{Finished, Outcome, Request};

fn balancer(strategy: &StrategyConfig, rules: &Arc<Rules>, indexed: bool) -> Balancer {
    let shard_id = ShardId { zone: Some("a".into()), ..ShardId::default() };
    let mut balancer = Balancer::new(Arc::clone(rules), shard_id);
    let names: Vec<String> = (0..700).map(|n| format!("s{n}")).collect();
    balancer.join_all(names.iter().enumerate().map(|(n, name)| NewServer {
        zone: Some(["a", "b"][n % 2]),
        ..NewServer::from((name.as_str(), 1 + n as u32 % 3, (n % 5 == 0).then_some(1)))
    }));
    let mut rng = Rng::stream(1, "select", 0);
    let selector = partition::build(strategy, rules, &mut rng);
    balancer.add_shard(ShardSetup { strategy, selector, rng, policy_rng: Rng::stream(1, "policy", 0) });
    balancer.pool.fleet.keep_load_index(indexed);
    balancer.announce(Nanos(1).into());
    balancer
}

fn same_picks(strategy: impl Into<StrategyConfig>, rules: Rules) {
    let (strategy, rules) = (strategy.into(), Arc::new(rules));
    let mut both = [true, false].map(|indexed| balancer(&strategy, &rules, indexed));
    let mut dice = Rng::stream(2, "test", 0);
    let (mut in_flight, mut picks, mut crowded) = (Vec::new(), 0, 0);
    for step in 1..8000_u64 {
        let now = Nanos::from_millis(step);
        let slot = dice.below(700) as u32;
        match dice.below(100) {
            0 => {
                let (healthy, weight) = (dice.below(2) == 0, dice.below(4) as u32);
                for balancer in &mut both {
                    let id = balancer.pool.fleet.id(slot);
                    balancer.set_draining(id, healthy, now);
                    balancer.set_weight(balancer.pool.fleet.id(slot / 2), weight);
                    balancer.announce(now.into());
                }
            }
            1 => {
                for balancer in &mut both {
                    balancer.leave(balancer.pool.fleet.id(slot), now);
                    let name = format!("n{step}");
                    balancer.join(NewServer { zone: Some("a"), ..NewServer::from((name.as_str(), 2, None)) }, now);
                    balancer.announce(now.into());
                }
            }
            2..45 if !in_flight.is_empty() => {
                let (backend, tag) = in_flight.swap_remove(dice.below(in_flight.len() as u64) as usize);
                let end = Finished { backend, latency: Nanos(1), outcome: Outcome::Ok, tag };
                both.iter_mut().for_each(|balancer| balancer.finished(0, &end, now.into()));
            }
            _ if in_flight.len() < 500 => {
                let excluded: Vec<u32> = (0..dice.below(3)).map(|_| dice.below(700) as u32).collect();
                let request = Request { excluded: &excluded, ..Request::default() };
                let [with, without] = &mut both;
                let pick = with.choose(0, &request, now.into());
                assert_eq!(pick, without.choose(0, &request, now.into()), "step {step}");
                assert_eq!(with.shards[0].rng, without.shards[0].rng, "step {step}");
                if let Some(pick) = pick {
                    both.iter_mut().for_each(|balancer| balancer.started(pick.backend));
                    in_flight.push((pick.backend, pick.tag));
                    picks += 1;
                    crowded += u32::from(both[0].pool.full().len() > 16);
                }
            }
            _ => {}
        }
    }
    let indexes = |balancer: &Balancer| {
        let fleet = &balancer.pool.fleet;
        let parts = fleet.partitions().iter().filter(|part| part.fleet.load_index().is_some()).count();
        (fleet.load_index().is_some(), parts)
    };
    let parts = if rules.narrows() { 2 } else { 0 };
    assert!(indexes(&both[0]).0 && indexes(&both[0]).1 >= parts, "{:?}", indexes(&both[0]));
    assert_eq!(indexes(&both[1]), (false, 0));
    assert!(picks > 3000 && crowded > 500, "{picks} {crowded}");
}

#[test]
fn an_index_changes_no_pick_of_a_balancer() {
    let slow_start = slow_start::Rules { window: Nanos::from_secs(2), aggression: 1.0, min_share: 0.1 };
    let slow = Rules { slow_start: Some(slow_start), ..Rules::default() };
    same_picks(late_binding::Params { slots: 1 }, slow.clone());
    same_picks(least_request::Params::default(), slow);
    let zones = zone::Rules { min_servers: Some(1), ..zone::Rules::default() };
    same_picks(late_binding::Params { slots: 1 }, Rules { zones: Some(zones), ..Rules::default() });
}
