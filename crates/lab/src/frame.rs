//! The state of a run as numbers, for a picture.

use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::model::Discipline;
use evenkeel_sim::sim::record::RequestOutcome;
use evenkeel_sim::sim::{PoolLook, Run, ServerLook};

use crate::watch::Watch;

/// Names of the first numbers of a frame.
pub const HEADER: [&str; 10] = [
    "time",
    "over",
    "events",
    "arrived",
    "in_system",
    "ended_ok",
    "ended_failed",
    "load_factor",
    "balancer_queue",
    "servers",
];

/// Names of the numbers of each server, in the order of the numbering over all pools.
pub const PER_SERVER: [&str; 16] = [
    "queued",
    "in_service",
    "coming",
    "rate",
    "speed",
    "slots",
    "condition",
    "eligible",
    "in_flight",
    "cached",
    "picked",
    "answered",
    "failed",
    "hits",
    "misses",
    "busy",
];

/// Bits of "condition".
const CRASHED: u32 = 1;
const STALLED: u32 = 2;
const SLOW: u32 = 4;
const ERRORS: u32 = 8;
const DRAINING: u32 = 16;
const NO_MEMBER: u32 = 32;

/// The present state of a run.
pub(crate) fn frame(scenario: &Scenario, run: &Run<'_, Watch<'_>>) -> Vec<f64> {
    let look = run.look();
    let servers: usize = scenario.model.pools.iter().map(|pool| pool.servers.len()).sum();
    let ok = look.ended[RequestOutcome::Ok as usize];
    let failed = look.ended.iter().sum::<u64>() - ok;
    let waiting: usize = look.pools().flat_map(|pool| pool.views()).map(|view| view.waiting).sum();
    let mut values = Vec::with_capacity(HEADER.len() + servers * PER_SERVER.len());
    values.extend([
        look.time.as_secs_f64(),
        f64::from(u8::from(look.over)),
        look.events as f64,
        look.arrived as f64,
        look.in_system as f64,
        ok as f64,
        failed as f64,
        look.load_factor,
        waiting as f64,
        servers as f64,
    ]);
    let mut picked = run.observer().picked.iter();
    for (pool, spec) in look.pools().zip(&scenario.model.pools) {
        for (slot, (server, spec)) in pool.servers().zip(&spec.servers).enumerate() {
            let picked = picked.next().copied().unwrap_or_default();
            let slots = match spec.discipline {
                Discipline::Fcfs => spec.concurrency,
                Discipline::Ps => 1,
            };
            let (eligible, member, in_flight) = seen(&pool, slot as u32);
            let ServerLook { done, .. } = server;
            values.extend([
                f64::from(server.queued),
                f64::from(server.in_service),
                f64::from(server.coming),
                server.rate,
                spec.speed,
                f64::from(slots),
                f64::from(condition(&server) | if member { 0 } else { NO_MEMBER }),
                eligible,
                f64::from(in_flight),
                server.cached as f64,
                picked as f64,
                done.answered as f64,
                done.failed as f64,
                done.hits as f64,
                done.misses as f64,
                done.busy as f64 / 1e9,
            ]);
        }
    }
    values
}

/// How the balancers see a server: the share of views in which it may be picked, whether it is a member of any, and the
/// requests in flight over all.
fn seen(pool: &PoolLook<'_>, slot: u32) -> (f64, bool, u32) {
    let (mut views, mut eligible, mut member, mut in_flight) = (0_u32, 0_u32, false, 0);
    for view in pool.views() {
        views += 1;
        eligible += u32::from(view.fleet.is_eligible(slot));
        member |= view.fleet.is_member(slot);
        in_flight += view.fleet.in_flight().get(slot as usize).copied().unwrap_or_default();
    }
    (f64::from(eligible) / f64::from(views.max(1)), member, in_flight)
}

fn condition(server: &ServerLook<'_>) -> u32 {
    let condition = server.condition;
    let down = if condition.silent { STALLED } else { CRASHED };
    [
        (!condition.up, down),
        (condition.slowdown > 1.0, SLOW),
        (condition.error_ratio > 0.0, ERRORS),
        (condition.draining, DRAINING),
    ]
    .into_iter()
    .map(|(is, bit)| if is { bit } else { 0 })
    .sum()
}
