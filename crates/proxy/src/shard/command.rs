//! The parameters that a shard starts with, and the commands that it gets while it runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use crate::access;
use crate::clock::Clock;
use crate::headers::Trust;
use crate::metrics::{PoolMetrics, ProxyMetrics, ServerMetrics};
use crate::pool::ServerSnapshot;
use crate::record::Tape;
use crate::upstream::UpstreamSettings;
use evenkeel_config::proxy::ProxyConfig;
use evenkeel_core::select::LoadReport;

/// Addresses that names were last found to have, by host and port.
pub type Addresses = BTreeMap<(String, u16), Arc<[SocketAddr]>>;

/// The config in force, shared by all shards of a proxy. A reload makes a new one.
#[derive(Clone)]
pub struct ShardConfig {
    /// The config as it was read.
    pub config: Arc<ProxyConfig>,
    /// The networks of trusted proxies, whose `X-Forwarded-*` headers are used.
    pub trust: Arc<Trust>,
    /// Known addresses of names.
    pub addresses: Arc<Addresses>,
    /// How to connect to the servers of each pool, in the order of the config.
    pub upstream_settings: Arc<[UpstreamSettings]>,
    /// Where each pool, and each server of it, is counted, in the order of the config.
    pub counters: Arc<[Arc<PoolCounters>]>,
    /// TLS for each listener, in the order of the config; `None` where the listener speaks plain text.
    pub acceptors: Arc<[Option<TlsAcceptor>]>,
}

/// Where a pool is counted, by all shards.
pub struct PoolCounters {
    /// The pool's counters.
    pub pool: Arc<PoolMetrics>,
    /// Its servers' counters by server name.
    pub servers: BTreeMap<String, Arc<ServerMetrics>>,
}

/// What a shard starts with.
pub struct ShardInit {
    /// Index of the shard, from 0.
    pub number: u32,
    /// How many shards there are.
    pub of: u32,
    /// The proxy's clock.
    pub clock: Clock,
    /// Seed of all random streams.
    pub seed: u64,
    /// Counters of the proxy.
    pub metrics: Arc<ProxyMetrics>,
    /// Client connections over all shards.
    pub connections: Arc<AtomicU32>,
    /// The most client connections that the limit of descriptors has room for beside connections to servers. The lesser of
    /// this and `limits.connections` counts.
    pub most_connections: u32,
    /// The access log, if there is one.
    pub log: Option<Arc<access::Log>>,
    /// The recording, if there is one.
    pub tape: Option<Tape>,
}

/// A command to a shard.
pub enum Command {
    /// Put this config into force. The list has one entry for each listener of the config: a socket for this shard
    /// where the listener is new.
    Reconfigure(Box<ShardConfig>, Vec<Option<std::net::TcpListener>>),
    /// An active check's result.
    Checked {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// Why it failed; `None` if it passed.
        failure: Option<Arc<str>>,
        /// The load report in the check's response; `None` if there was none.
        load: Option<LoadReport>,
    },
    /// A name's addresses have changed: host, port, addresses.
    Addresses(String, u16, Arc<[SocketAddr]>),
    /// Drain a server, or take it back.
    Drain {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// Whether it gets nothing new.
        draining: bool,
    },
    /// Change a server's weight until the next reload.
    Weight {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// From 0 to 65,535.
        weight: u32,
    },
    /// Report the state of all servers, by pool name.
    Snapshots(oneshot::Sender<Vec<(String, Vec<ServerSnapshot>)>>),
    /// Ask clients to close their connections, but still accept requests.
    Leave,
    /// Accept nothing new and finish open requests; respond when none is left.
    Drained(oneshot::Sender<()>),
    /// End everything; respond with how many requests and tunnels were cut.
    Cut(oneshot::Sender<u32>),
}
