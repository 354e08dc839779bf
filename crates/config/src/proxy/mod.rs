//! The proxy's config: listeners, limits, timeouts, logs, and the pools, servers, routes and strategies of a scenario.
//! Keys that only the simulator uses (`speed`, `cache`, `service`, …) may be in the file too: `evenkeel test-server` starts
//! test servers from the same file.
//!
//! Defaults are those of careful deployments: every wait and every buffer is bounded, the admin listener is on loopback.

mod build;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::diagnostic::{self, Problem, Problems};
use super::pool::{Check, Server};
use evenkeel_core::policy::Rules;
use evenkeel_core::policy::health;
use evenkeel_core::policy::routes::Routes;
use evenkeel_core::select::catalog::{self, StrategyConfig};

pub use super::pool::{Protocol, UpstreamTlsTable};
pub use table::*;

/// An annotated example of the proxy's config, with each key at its default.
pub const EXAMPLE: &str = include_str!("../example.toml");

/// A config with every name resolved and every number checked.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Listeners for clients.
    pub listeners: Vec<Listener>,
    /// Number of threads. `None`: one per core.
    pub shards: Option<u32>,
    /// The proxy's zone. `None`: in no zone.
    pub zone: Option<String>,
    /// Index of this proxy and number of proxies.
    pub instance: InstanceTable,
    /// The part of a request that hash strategies hash.
    pub key: KeyTable,
    /// Networks whose statements about the client are trusted.
    pub trusted_proxies: Vec<Network>,
    /// Header fields that the proxy adds.
    pub headers: HeadersTable,
    /// The admin listener. `None`: there is none.
    pub admin: Option<Admin>,
    /// Access log and the proxy's own messages.
    pub log: LogTable,
    /// Bounds on every wait.
    pub timeouts: TimeoutsTable,
    /// Bounds on connections, headers and bodies.
    pub limits: LimitsTable,
    /// How often names are resolved.
    pub dns: DnsTable,
    /// The pools, at least one.
    pub pools: Vec<PoolConfig>,
    /// Which requests go to which pool, by its index in `pools`.
    pub routes: Routes,
    /// Differences where a strategy is named by another product's name for a similar algorithm.
    pub remarks: Vec<String>,
}

/// A network: an address and its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of the network.
    pub address: IpAddr,
    /// Prefix length in bits: at most 32 (IPv4) or 128 (IPv6).
    pub bits: u8,
}

/// A listener for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Address and port; port 0 takes any free port.
    pub address: SocketAddr,
    /// Certificates. `None`: plain text.
    pub tls: Option<Vec<CertificateTable>>,
    /// Whether HTTP/2 is accepted too.
    pub http2: bool,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Address and port.
    pub address: SocketAddr,
    /// Token that requests which change anything need. `None`: no token.
    pub token: Option<String>,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Name, unique in the config.
    pub name: String,
    /// Strategy with its parameters.
    pub strategy: StrategyConfig,
    /// Policies of the pool.
    pub rules: Arc<Rules>,
    /// How servers are checked; used only if `rules` has checks.
    pub check: Check,
    /// Protocol to the servers.
    pub protocol: Protocol,
    /// TLS to the servers. `None`: without.
    pub tls: Option<UpstreamTlsTable>,
    /// Servers of the pool.
    pub servers: Vec<ServerConfig>,
}

impl PoolConfig {
    /// A pool with these policies and servers, HTTP/1.1 without TLS to them.
    pub fn new(name: &str, strategy: StrategyConfig, rules: Arc<Rules>, servers: Vec<ServerConfig>) -> PoolConfig {
        let check = rules.health.as_ref().map_or(Check::Tcp, health::Rules::check_kind);
        let name = name.to_owned();
        PoolConfig { name, strategy, rules, check, protocol: Protocol::default(), tls: None, servers }
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Name, unique in its pool. It identifies the server across reloads, and hash strategies place the server by it.
    pub name: String,
    /// A literal address or a name.
    pub host: String,
    /// Port of the server.
    pub port: u16,
    /// Weight; 0 drains the server.
    pub weight: u32,
    /// Limit on requests in flight, in each shard's count. `None`: unlimited.
    pub limit: Option<u32>,
    /// Its zone. `None`: in no zone.
    pub zone: Option<String>,
    /// Its priority level, 0 first.
    pub priority: u32,
}

impl ServerConfig {
    /// A server at this address with every other property at its default.
    pub fn new(server: &Server, host: String, port: u16) -> ServerConfig {
        ServerConfig {
            name: server.name.clone(),
            host,
            port,
            weight: server.weight,
            limit: server.max_in_flight,
            zone: server.zone.clone(),
            priority: server.priority,
        }
    }
}

/// Looks up `${NAME}`; `None` when there is no such variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl ProxyConfig {
    /// A config with one listener in plain text and these pools; everything else at its default.
    pub fn new(listener: SocketAddr, pools: Vec<PoolConfig>, routes: Routes) -> ProxyConfig {
        ProxyConfig {
            listeners: vec![Listener { address: listener, tls: None, http2: true }],
            shards: None,
            zone: None,
            instance: InstanceTable::default(),
            key: KeyTable::default(),
            trusted_proxies: Vec::new(),
            headers: HeadersTable::default(),
            admin: None,
            log: LogTable::default(),
            timeouts: TimeoutsTable::default(),
            limits: LimitsTable::default(),
            dns: DnsTable::default(),
            pools,
            routes,
            remarks: Vec::new(),
        }
    }

    /// Reads a config; all problems are collected.
    pub fn parse(source: &str, environment: Environment<'_>) -> Result<ProxyConfig, Problems> {
        let no_oracle = |problem: Problem| match catalog::unknown_name(&problem.message) {
            Some(name) => Problem { help: Some(catalog::suggestion(name, false)), ..problem },
            None => problem,
        };
        let read = diagnostic::read::<ProxyTable>(source);
        let table = read.map_err(|problems| problems.into_iter().map(no_oracle).collect::<Problems>())?;
        let mut config = build::build(source, &table, environment)?;
        let pools = table.pools.get_ref().iter().filter_map(|pool| pool.get_ref().strategy.as_ref());
        let written = table.strategy.iter().chain(pools);
        config.remarks = written.filter_map(|strategy| catalog::remark_on(source.get(strategy.span())?)).collect();
        Ok(config)
    }
}

/// Splits `host:port`; brackets around an IPv6 address are removed. `None`: it is not a host with a port above 0.
pub fn split_host(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|&port| port > 0)?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(v6) = bare {
        return v6.parse::<std::net::Ipv6Addr>().is_ok().then(|| (v6.to_owned(), port));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (!host.is_empty() && host.chars().all(plain)).then(|| (host.to_owned(), port))
}
