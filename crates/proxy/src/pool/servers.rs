//! The servers of a pool: health checks, load reports, changes by an administrator, status.

use std::net::SocketAddr;
use std::sync::Arc;

use super::ShardPool;
use super::requests::SHARD;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::policy::pool::ServerStatus;
use evenkeel_core::select::LoadReport;
use evenkeel_core::units::Nanos;

/// A server as the admin page shows it.
#[derive(Clone, Debug)]
pub struct ServerSnapshot {
    /// Its name in the pool.
    pub name: String,
    /// Health, by checks and the outlier detector.
    pub status: ServerStatus,
    /// Whether it may be picked.
    pub eligible: bool,
    /// Its present weight, 0 to 65,535.
    pub weight: u32,
    /// Requests sent and not finished, by this shard.
    pub in_flight: u32,
    /// Open connections of this shard.
    pub connections: u32,
    /// Its present address; `None` while its name has none.
    pub address: Option<SocketAddr>,
    /// The strategy's score, less is better; `None` where the strategy has none.
    pub score: Option<f64>,
}

impl ShardPool {
    /// An active check's result, with the cause if it failed, and the load report that came with it.
    pub fn checked(&self, name: &str, failure: Option<&str>, load: Option<&LoadReport>) {
        self.act(|state, now| {
            let Some(id) = state.find(name) else { return };
            let verdict = state.balancer.checked(id, failure.is_none(), load, now.into());
            let (config, cause) = (self.config.borrow(), failure.unwrap_or("checks pass"));
            match verdict {
                Some(true) => tracing::info!(pool = config.name, server = name, cause, "a server is up"),
                Some(false) => tracing::warn!(pool = config.name, server = name, cause, "a server is down"),
                None => {}
            }
        });
    }

    /// Passes a server's load report to the balancer.
    pub fn reported(&self, id: BackendId, load: &LoadReport) {
        self.act(|state, now| state.balancer.report(Some(SHARD), id, load, now.into()));
    }

    /// Drains a server, or ends its drain. Returns whether there is a server of this name.
    pub fn set_draining(&self, name: &str, draining: bool) -> bool {
        self.act(|state, now| {
            let Some(id) = state.find(name) else { return false };
            state.balancer.set_draining(id, draining, now);
            state.balancer.announce(now.into());
            true
        })
    }

    /// Changes a server's weight. Returns whether there is a server of this name.
    pub fn set_weight(&self, name: &str, weight: u32) -> bool {
        self.act(|state, now| {
            let Some(id) = state.find(name) else { return false };
            state.balancer.set_weight(id, weight);
            state.balancer.announce(now.into());
            true
        })
    }

    /// A name's addresses changed.
    pub fn set_addresses(&self, host: &str, port: u16, addresses: &Arc<[SocketAddr]>) {
        let config = self.config();
        self.act(|state, now| {
            for server in config.servers.iter().filter(|server| server.host == host && server.port == port) {
                let Some(id) = state.find(&server.name) else { continue };
                if let Some(upstream) = state.server(id.slot) {
                    upstream.set_addresses(Arc::clone(addresses));
                }
                state.balancer.set_nowhere(id, addresses.is_empty(), now);
            }
            state.balancer.announce(now.into());
        });
    }

    /// Runs what is due: ends ejections, times out queued requests.
    pub fn tick(&self) {
        let now = self.now();
        if self.next_tick().is_some_and(|at| at <= now) {
            self.act(|state, now| state.balancer.tick(now.into()));
        }
    }

    /// When [`ShardPool::tick`] next has something to do.
    pub fn next_tick(&self) -> Option<Nanos> {
        self.state.borrow().balancer.next_tick()
    }

    /// The member with this name.
    pub fn backend(&self, name: &str) -> Option<BackendId> {
        self.state.borrow().find(name)
    }

    /// Closes connections that have been idle for too long.
    pub fn sweep(&self) {
        let now = tokio::time::Instant::now();
        self.state.borrow().servers.iter().flatten().for_each(|server| server.sweep(now));
    }

    /// Closes idle connections to its servers. Returns whether there were any.
    pub fn close_idle(&self) -> bool {
        self.state.borrow().servers.iter().flatten().filter(|server| server.close_idle()).count() > 0
    }

    /// The status of each member.
    pub fn snapshots(&self) -> Vec<ServerSnapshot> {
        let now = self.now();
        let state = &*self.state.borrow();
        let pool = state.balancer.pool();
        let fleet = &pool.fleet;
        let of = |slot: u32| ServerSnapshot {
            name: fleet.name(slot).to_owned(),
            status: pool.status(slot, now),
            eligible: fleet.is_eligible(slot),
            weight: fleet.weight(slot),
            in_flight: fleet.in_flight()[slot as usize],
            connections: state.servers[slot as usize].as_ref().map_or(0, |server| server.open()),
            address: state.servers[slot as usize].as_ref().and_then(|server| server.address()),
            score: state.balancer.selector(SHARD).score(slot, fleet, now),
        };
        fleet.members().map(of).collect()
    }
}
