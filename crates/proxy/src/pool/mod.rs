//! A pool as one shard of the proxy knows it: a [`Balancer`] with the connections to its servers. The simulator's engine
//! is the other host of the same balancer; here time is real and a request is a future.
//!
//! Everything in here is synchronous and on one thread: a borrow of the state never crosses an `await`.

mod attempts;
mod in_flight;
mod requests;
mod servers;
mod state;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;

pub use attempts::{Attempt, Exchange};
pub use in_flight::InFlight;
pub use requests::RequestInfo;
pub use servers::ServerSnapshot;

use self::requests::SHARD;
use self::state::State;
use super::clock::Clock;
use super::metrics::{PoolMetrics, ServerMetrics};
use super::record::Recorder;
use super::upstream::{Upstream, UpstreamSettings};
use evenkeel_config::proxy::{PoolConfig, ServerConfig};
use evenkeel_core::policy::balancer::{Balancer, ShardSetup};
use evenkeel_core::policy::partition;
use evenkeel_core::policy::pool::{NewServer, ShardId};
use evenkeel_core::policy::recording::STREAM;
use evenkeel_core::rng::Rng;
use evenkeel_core::units::Nanos;

/// A pool in a shard.
pub struct ShardPool {
    state: RefCell<State>,
    config: RefCell<Arc<PoolConfig>>,
    clock: Clock,
    /// The pool's metrics.
    pub metrics: Arc<PoolMetrics>,
    /// Timers and probes hold this, so that they do not keep the pool alive.
    me: Weak<ShardPool>,
    woken_at: Cell<Nanos>,
    /// How many wait, as last counted.
    counted_waiting: Cell<usize>,
}

/// What a pool is made with.
pub struct PoolSetup<'a> {
    /// The pool's config.
    pub config: Arc<PoolConfig>,
    /// Known addresses by host and port as the config writes them.
    pub addresses: &'a BTreeMap<(String, u16), Arc<[SocketAddr]>>,
    /// Which shard the balancer belongs to, of how many: strategies and subsets divide the fleet by it.
    pub shard_id: ShardId,
    /// How to connect to its servers.
    pub settings: &'a UpstreamSettings,
    /// Returns a server's metrics, by name.
    pub metrics: &'a dyn Fn(&str) -> Arc<ServerMetrics>,
}

/// What a selector is created with. The number selects its random stream.
pub struct SelectorInit {
    /// Seed of all randomness.
    pub seed: u64,
    /// Which stream of it.
    pub number: u64,
    /// Where it is recorded; `None` where it is not.
    pub recorder: Option<Recorder>,
}

impl ShardPool {
    /// Creates a pool in a shard.
    pub fn new(setup: &PoolSetup<'_>, metrics: Arc<PoolMetrics>, clock: Clock, start: SelectorInit) -> Rc<ShardPool> {
        let SelectorInit { seed, number, recorder } = start;
        let config = Arc::clone(&setup.config);
        let mut balancer = Balancer::new(Arc::clone(&config.rules), setup.shard_id.clone());
        let mut rng = Rng::stream(seed, STREAM, number);
        let selector = partition::build(&config.strategy, &config.rules, &mut rng);
        let policy_rng = Rng::stream(seed, "policy", number);
        balancer.add_shard(ShardSetup { strategy: &config.strategy, selector, rng, policy_rng });
        if recorder.is_some() {
            balancer.record(clock.now());
        }
        let state = State { balancer, servers: Vec::new(), waiters: BTreeMap::new(), next_token: 0, recorder };
        let pool = Rc::new_cyclic(|me| ShardPool {
            state: RefCell::new(state),
            config: RefCell::new(config),
            clock,
            metrics,
            me: me.clone(),
            woken_at: Cell::new(Nanos(u64::MAX)),
            counted_waiting: Cell::new(0),
        });
        pool.act(|state, now| {
            update_servers(state, setup, true, now);
            state.balancer.announce(now.into());
        });
        pool
    }

    /// The config in force.
    pub fn config(&self) -> Arc<PoolConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// The current time on the proxy's clock, in nanoseconds.
    pub fn now(&self) -> Nanos {
        self.clock.now()
    }

    /// Applies a new config of the pool: servers join, leave, change weight; the others keep their state. State of
    /// rules that are no longer configured is dropped. A new strategy starts without state, with the same servers and
    /// the same requests in flight. `start` is called only when the strategy changes.
    pub fn reconfigure(&self, setup: &PoolSetup<'_>, start: impl FnOnce() -> SelectorInit) {
        let old = self.config.replace(Arc::clone(&setup.config));
        let rules = &setup.config.rules;
        // Selectors of partitions cannot be kept when the partitioning changes.
        let restart = old.strategy != setup.config.strategy || old.rules.division() != rules.division();
        if restart {
            self.woken_at.set(Nanos(u64::MAX));
        }
        self.act(|state, now| {
            if restart {
                state.balancer.end_recording();
                if let Some(mut recorder) = state.recorder.take() {
                    recorder.flush();
                }
            }
            if old.rules != *rules {
                state.balancer.set_rules(Arc::clone(rules), now);
            }
            update_servers(state, setup, false, now);
            if restart {
                let SelectorInit { seed, number, recorder } = start();
                if recorder.is_some() {
                    state.balancer.record(now);
                }
                state.recorder = recorder;
                let mut rng = Rng::stream(seed, STREAM, number);
                let strategy = &setup.config.strategy;
                let selector = partition::build(strategy, rules, &mut rng);
                state.balancer.set_selector(SHARD, strategy, selector, rng, now.into());
            }
            state.balancer.announce(now.into());
        });
    }

    /// Writes out what has been recorded.
    pub fn flush_recording(&self) {
        if let Some(recorder) = &mut self.state.borrow_mut().recorder {
            recorder.flush();
        }
    }
}

/// Brings members and connections into line with a config. `start` says that these are the first servers.
fn update_servers(state: &mut State, setup: &PoolSetup<'_>, start: bool, now: Nanos) {
    let config = &setup.config;
    let fleet = &state.balancer.pool().fleet;
    let known: BTreeMap<String, u32> = fleet.members().map(|slot| (fleet.name(slot).to_owned(), slot)).collect();
    for (name, &slot) in &known {
        if !config.servers.iter().any(|server| server.name == *name) {
            let id = state.balancer.pool().fleet.id(slot);
            state.balancer.leave(id, now);
            state.servers[slot as usize] = None;
        }
    }
    for server in &config.servers {
        let addresses = addresses_of(setup, server);
        if let Some(&slot) = known.get(&server.name) {
            let id = state.balancer.pool().fleet.id(slot);
            state.balancer.set_weight(id, server.weight);
            state.balancer.set_limit(id, server.limit);
            state.balancer.set_place(id, server.priority, server.zone.as_deref());
            state.balancer.set_nowhere(id, addresses.is_empty(), now);
            if let Some(upstream) = &state.servers[slot as usize] {
                upstream.set_addresses(addresses);
                upstream.set_manner(setup.settings);
            }
            continue;
        }
        let new_server = NewServer {
            name: &server.name,
            weight: server.weight,
            limit: server.limit,
            priority: server.priority,
            zone: server.zone.as_deref(),
        };
        let id = if start {
            // Servers of the first config do not ramp up.
            state.balancer.join_all([new_server].into_iter());
            let fleet = &state.balancer.pool().fleet;
            fleet.id(fleet.slots() as u32 - 1)
        } else {
            state.balancer.join(new_server, now)
        };
        state.balancer.set_nowhere(id, addresses.is_empty(), now);
        let slot = id.slot as usize;
        if state.servers.len() <= slot {
            state.servers.resize_with(slot + 1, || None);
        }
        let metrics = (setup.metrics)(&server.name);
        let upstream = Upstream::new(&server.name, addresses, setup.settings.clone(), metrics);
        state.servers[slot] = Some(Rc::new(upstream));
    }
}

fn addresses_of(setup: &PoolSetup<'_>, server: &ServerConfig) -> Arc<[SocketAddr]> {
    if let Ok(ip) = server.host.parse::<IpAddr>() {
        return Arc::from([SocketAddr::new(ip, server.port)]);
    }
    let known = setup.addresses.get(&(server.host.clone(), server.port));
    known.cloned().unwrap_or_else(|| Arc::from([]))
}
