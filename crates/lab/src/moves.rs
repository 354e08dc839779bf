//! What moves when a server leaves: the keys of a hash strategy before and after.

use std::net::{IpAddr, Ipv4Addr};

use evenkeel_core::fleet::{Change, Fleet};
use evenkeel_core::rng::Rng;
use evenkeel_core::select::catalog::{Family, StrategyConfig};
use evenkeel_core::select::{Context, Request, Selector};
use evenkeel_core::units::Nanos;
use evenkeel_sim::scenario::Scenario;
use serde::Serialize;

/// Keys that are placed.
const KEYS: u32 = 4000;

/// Keys before and after a server has left.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Moves {
    /// Keys at each server of the pool, of `KEYS` in all.
    pub before: Vec<u32>,
    /// The same without the server.
    pub after: Vec<u32>,
    /// Share of the keys that have another server now.
    pub moved: f64,
    /// Share of the keys that must move: those of the server that left.
    pub ideal: f64,
}

/// The keys of the pool of `server`, numbered over all pools; `None` where the strategy does not hash, or there is no such server.
pub(crate) fn moves(scenario: &Scenario, variant: usize, server: u32) -> Option<Moves> {
    let mut base = 0;
    let pool = scenario.model.pools.iter().find(|pool| {
        let here = server < base + pool.servers.len() as u32;
        base += if here { 0 } else { pool.servers.len() as u32 };
        here
    })?;
    let strategy = pool.strategy.as_ref().unwrap_or(&scenario.variants.get(variant)?.table);
    if strategy.row().is_none_or(|row| row.doc.family != Family::Hash) || pool.servers.len() < 2 {
        return None;
    }
    let servers: Vec<(&str, u32)> = pool.servers.iter().map(|server| (server.name.as_str(), server.weight)).collect();
    let mut fleet = Fleet::new();
    fleet.join_all(servers.iter().copied());
    let mut keys = Keys::new(strategy, &mut fleet);
    let before = keys.place(&fleet);
    fleet.leave(fleet.id(server - base));
    keys.announce(&mut fleet);
    let after = keys.place(&fleet);
    let count = |placed: &[Option<u32>]| {
        let mut counts = vec![0; pool.servers.len()];
        placed.iter().flatten().for_each(|&slot| counts[slot as usize] += 1);
        counts
    };
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    let own = before.iter().filter(|&&slot| slot == Some(server - base)).count();
    let share = |keys: usize| keys as f64 / f64::from(KEYS);
    Some(Moves { before: count(&before), after: count(&after), moved: share(moved), ideal: share(own) })
}

/// A selector without load, and its keys.
struct Keys {
    selector: Box<dyn Selector>,
    rng: Rng,
}

impl Keys {
    fn new(strategy: &StrategyConfig, fleet: &mut Fleet) -> Keys {
        let mut rng = Rng::stream(1, "moves", 0);
        let mut keys = Keys { selector: strategy.build(&mut rng), rng };
        keys.announce(fleet);
        keys
    }

    fn announce(&mut self, fleet: &mut Fleet) {
        let changes: Vec<Change> = fleet.take_changes();
        let mut cx = Context { now: Nanos::ZERO, fleet, rng: &mut self.rng, truth: None };
        self.selector.on_fleet(&changes, &mut cx);
    }

    /// The slot of each key. Client, path and key differ from request to request, whichever of them is hashed.
    fn place(&mut self, fleet: &Fleet) -> Vec<Option<u32>> {
        let place = |key: u32| {
            let (bytes, path) = (key.to_le_bytes(), format!("/{key}"));
            let client = IpAddr::V4(Ipv4Addr::from(key.wrapping_mul(0x9e37_79b9)));
            let request = Request { client, path: &path, key: &bytes, ..Request::default() };
            let mut cx = Context { now: Nanos::ZERO, fleet, rng: &mut self.rng, truth: None };
            self.selector.pick(&request, &mut cx).map(|pick| pick.backend.slot)
        };
        (0..KEYS).map(place).collect()
    }
}
