//! The proxy's config: listeners, limits, time-outs, logs, and the pools, servers, routes and strategy tables of a scenario.
//! What is only the simulator's (`speed`, `cache`, `service`, …) may stand in the file too: `evenkeel test-server` starts test
//! servers from the same file.
//!
//! Defaults are those of careful deployments: nothing waits for ever, nothing grows without bound, the admin listener is on
//! loopback.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::diagnostic::{self, Problem, Problems, did_you_mean};
use super::distribution::Distribution;
use super::pool::{Check, PoolTable, Prefer, RouteTable, check_name};
use evenkeel_core::policy::Rules;
use evenkeel_core::policy::routes::Routes;
use evenkeel_core::select::catalog::{self, CATALOGUE, Strategy, StrategyConfig};
use evenkeel_core::units::Nanos;

/// An annotated example of the proxy's config, with each key at its default.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The whole file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyTable {
    /// `[[listeners]]`: where clients come in.
    #[schemars(with = "Vec<ListenerTable>")]
    pub listeners: Spanned<Vec<Spanned<ListenerTable>>>,
    /// Threads, each with selectors and connections of its own; as many as there are cores unless given.
    #[schemars(with = "Option<u32>")]
    pub shards: Option<Spanned<u32>>,
    /// The zone that this proxy stands in, for pools with `zones`.
    #[schemars(with = "Option<String>")]
    pub zone: Option<Spanned<String>>,
    /// `instance = { index = 0, count = 3 }`: which of several such proxies it is, for pools with a `subset`.
    #[schemars(with = "Option<InstanceTable>")]
    pub instance: Option<Spanned<InstanceTable>>,
    /// The strategy of pools that have none of their own.
    #[schemars(with = "Option<Strategy>")]
    pub strategy: Option<Spanned<Strategy>>,
    /// By what a hash strategy knows a request; its path unless given.
    #[serde(default)]
    pub key: KeyTable,
    /// Networks (CIDR) whose word about the client (`X-Forwarded-For`, `Forwarded`, …) is taken.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<Spanned<String>>,
    /// `[headers]`: header fields that the proxy adds.
    #[serde(default)]
    pub headers: HeadersTable,
    /// `[admin]`: listener for liveness, readiness, metrics and control; none unless it has an address.
    #[serde(default)]
    pub admin: AdminTable,
    /// `[log]`: access log and messages.
    #[serde(default)]
    pub log: LogTable,
    /// `[timeouts]`: how long each phase of a request may take.
    #[serde(default)]
    pub timeouts: TimeoutsTable,
    /// `[limits]`: bounds on connections, heads, bodies and streams.
    #[serde(default)]
    pub limits: LimitsTable,
    /// `[dns]`: how often names of servers are resolved again.
    #[serde(default)]
    pub dns: DnsTable,
    /// `[[pools]]`: servers behind one strategy, as in a scenario.
    #[schemars(with = "Vec<PoolTable>")]
    pub pools: Spanned<Vec<Spanned<PoolTable>>>,
    /// `[[routes]]`: which host and path prefix goes to which pool. Default: everything to the first pool.
    pub routes: Option<Vec<RouteTable>>,
    /// What `evenkeel test-server --config` draws the service times of its test servers from; the proxy does not look.
    #[schemars(with = "Option<Distribution>")]
    pub service: Option<Spanned<Distribution>>,
}

/// Which of several proxies in front of the same servers this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceTable {
    /// Index of this proxy, from 0 to `count` - 1.
    pub index: u32,
    /// Number of proxies, at least 1.
    pub count: u32,
}

impl Default for InstanceTable {
    /// The only one.
    fn default() -> InstanceTable {
        InstanceTable { index: 0, count: 1 }
    }
}

/// `[[listeners]]`: an address at which clients connect.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTable {
    /// `"0.0.0.0:8080"`, `"[::]:443"`; port 0 takes any that is free.
    #[schemars(with = "String")]
    pub address: Spanned<String>,
    /// `tls = { certificates = [{ cert = "a.pem", key = "a.key" }] }`
    #[schemars(with = "Option<TlsTable>")]
    pub tls: Option<Spanned<TlsTable>>,
    /// Whether HTTP/2 is spoken too: by ALPN with TLS, by its preface (h2c, prior knowledge) without.
    #[serde(default = "yes")]
    pub http2: bool,
}

fn yes() -> bool {
    true
}

/// TLS for clients.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsTable {
    /// At least one; the first serves clients that name no host.
    pub certificates: Vec<CertificateTable>,
}

/// A certificate chain and its key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateTable {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// By what a hash strategy knows a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyTable {
    /// The path without its query.
    #[default]
    Path,
    /// Path and query.
    Uri,
    /// A request header's value; the path where it is missing.
    Header(String),
    /// A cookie's value; the path where it is missing.
    Cookie(String),
    /// The eight bytes that a request header writes in hexadecimal, as the load tells a scenario's keys: then hashes fall
    /// as in the simulator. Not for files.
    #[serde(skip)]
    #[schemars(skip)]
    Bits(String),
}

/// `[headers]`: what is told to servers and clients.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadersTable {
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `Via: 1.1 evenkeel`.
    pub via: bool,
    /// `X-Request-Id`: taken from trusted proxies, else made.
    pub request_id: bool,
    /// Whether answers name the server that made them: `X-Upstream: NAME`.
    pub upstream: bool,
}

impl Default for HeadersTable {
    fn default() -> HeadersTable {
        HeadersTable { x_forwarded: true, forwarded: false, via: true, request_id: true, upstream: false }
    }
}

/// `[admin]`: liveness, readiness, metrics, servers; who may connect may also drain servers, so it is on loopback.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminTable {
    /// `"127.0.0.1:9901"`; no admin listener unless given.
    #[schemars(with = "Option<String>")]
    pub address: Option<Spanned<String>>,
    /// What must stand in `Authorization: Bearer …` to change anything. `token = "${ADMIN_TOKEN}"` takes it from the
    /// environment. Needed where the address is not loopback.
    #[schemars(with = "Option<String>")]
    pub token: Option<Spanned<String>>,
}

/// `[log]`: access log and messages.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogTable {
    /// `"combined"`, `"json"` or `"none"`.
    pub access: AccessFormat,
    /// Where the access log goes; standard output unless given.
    pub file: Option<PathBuf>,
    /// Whether the query is logged with the path. It may hold secrets, so not unless asked for.
    pub query: bool,
    /// One of so many requests is logged; failures always are.
    #[schemars(with = "Option<u32>")]
    pub sample: Option<Spanned<u32>>,
    /// The proxy's own messages: `"text"` or `"json"`, on standard error.
    pub messages: MessageFormat,
}

/// How access log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessFormat {
    /// No access log.
    #[default]
    None,
    /// Apache's combined format with fields of ours at the end.
    Combined,
    /// An object per line.
    Json,
}

/// How the proxy's own messages look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageFormat {
    /// For people.
    #[default]
    Text,
    /// An object per line.
    Json,
}

/// `[timeouts]`: how long each phase of a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsTable {
    /// From a request's first byte to the end of its head.
    pub header: Nanos,
    /// From one piece of a request's body to the next.
    pub body: Nanos,
    /// A client connection without a request.
    pub keep_alive: Nanos,
    /// TLS handshake with a client.
    pub handshake: Nanos,
    /// TCP (and TLS) to a server.
    pub connect: Nanos,
    /// From the end of the request to the complete header of the response (time to first byte); default 60 s. nginx's
    /// `proxy_read_timeout` before the header.
    pub response_header: Nanos,
    /// From one piece of an answer's body to the next, and from one piece of a tunnel to the next.
    pub idle: Nanos,
    /// The whole request, from its head to the last byte of the answer; no bound unless given.
    pub total: Option<Nanos>,
    /// A connection to a server without a request.
    pub upstream_keep_alive: Nanos,
    /// After SIGTERM: how long new connections are still taken while `/readyz` already says no.
    pub drain_delay: Nanos,
    /// After that: how long requests may take to end.
    pub drain: Nanos,
}

impl Default for TimeoutsTable {
    fn default() -> TimeoutsTable {
        TimeoutsTable {
            header: Nanos::from_secs(10),
            body: Nanos::from_secs(30),
            keep_alive: Nanos::from_secs(75),
            handshake: Nanos::from_secs(10),
            connect: Nanos::from_secs(1),
            response_header: Nanos::from_secs(60),
            idle: Nanos::from_secs(300),
            total: None,
            upstream_keep_alive: Nanos::from_secs(60),
            drain_delay: Nanos::from_secs(5),
            drain: Nanos::from_secs(30),
        }
    }
}

/// `[limits]`: bounds on connections, heads, bodies and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsTable {
    /// Client connections at once, over all shards.
    pub connections: u32,
    /// Bytes of a request's head.
    pub header_bytes: u32,
    /// Header fields of a request; an answer may have as many, and 256 in any case.
    pub headers: u32,
    /// Bytes of a request's body; no bound unless given.
    pub body_bytes: Option<u64>,
    /// Bytes of a request's body that are kept so that it can be sent again.
    pub replay_bytes: u32,
    /// Streams at once in an HTTP/2 connection of a client, 1 to 32767. Its uploads that no server has taken yet hold at most
    /// 8 MiB, or 64 KiB for each stream where that is more; so do its answers that the client has not taken.
    pub streams: u32,
    /// Idle connections, HTTP/1.1 or HTTP/2, kept for each server, in each shard.
    pub idle_connections: u32,
}

/// Largest `limits.streams`: with 64 KiB for each stream, the window of the connection has its largest value (RFC 9113, 6.9.1).
pub const MOST_STREAMS: u32 = 32_767;

impl Default for LimitsTable {
    fn default() -> LimitsTable {
        LimitsTable {
            connections: 10_000,
            header_bytes: 65_536,
            headers: 100,
            body_bytes: None,
            replay_bytes: 65_536,
            streams: 128,
            idle_connections: 256,
        }
    }
}

/// `[dns]`: bounds for how long an address of a server's name is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DnsTable {
    /// Shortest time before a name is resolved again, also when the record's TTL is shorter: above zero; default 1 s.
    pub min_ttl: Nanos,
    /// Longest time before a name is resolved again, also when the record's TTL is longer; default 60 s.
    pub max_ttl: Nanos,
}

impl Default for DnsTable {
    fn default() -> DnsTable {
        DnsTable { min_ttl: Nanos::from_secs(1), max_ttl: Nanos::from_secs(60) }
    }
}

/// A config with every name resolved and every number checked.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where clients come in.
    pub listeners: Vec<Listener>,
    /// Threads; `None` for one per core.
    pub shards: Option<u32>,
    /// The zone that it stands in.
    pub zone: Option<String>,
    /// Which of several proxies it is.
    pub instance: InstanceTable,
    /// By what hash strategies know a request.
    pub key: KeyTable,
    /// Whose word about the client is taken.
    pub trusted_proxies: Vec<Network>,
    /// What is told to servers and clients.
    pub headers: HeadersTable,
    /// The admin listener.
    pub admin: Option<Admin>,
    /// Logs.
    pub log: LogTable,
    /// Time-outs.
    pub timeouts: TimeoutsTable,
    /// Limits.
    pub limits: LimitsTable,
    /// Names.
    pub dns: DnsTable,
    /// The pools.
    pub pools: Vec<PoolConfig>,
    /// Which requests go to which pool, by index.
    pub routes: Routes,
    /// What is not the same where a strategy goes by another algorithm's name.
    pub remarks: Vec<String>,
}

/// A network: an address and how many of its leading bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address of it.
    pub address: IpAddr,
    /// Leading bits that count.
    pub bits: u8,
}

/// Where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Port 0 takes any that is free.
    pub address: SocketAddr,
    /// Certificates; plain text without.
    pub tls: Option<Vec<CertificateTable>>,
    /// Whether HTTP/2 is spoken too.
    pub http2: bool,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where.
    pub address: SocketAddr,
    /// What changes need.
    pub token: Option<String>,
}

/// A pool.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    /// Its name.
    pub name: String,
    /// Its strategy with parameters.
    pub strategy: StrategyConfig,
    /// What stands around a pick.
    pub rules: Arc<Rules>,
    /// How servers are checked.
    pub check: Check,
    /// How servers are spoken to.
    pub protocol: Protocol,
    /// TLS to its servers.
    pub tls: Option<UpstreamTlsTable>,
    /// Its servers.
    pub servers: Vec<ServerConfig>,
}

/// How servers are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// `tls = { … }` of a pool: servers are spoken to through TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamTlsTable {
    /// PEM file of the authorities that are believed; those that browsers believe unless given.
    pub ca: Option<PathBuf>,
    /// The name that a server must prove; the host of its pool's first address unless given.
    pub name: Option<String>,
    /// PEM file with a certificate for servers that ask for one.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Unique in its pool, stable: state is carried over a reload by it, and hashes place by it.
    pub name: String,
    /// Host (a literal address or a name) and port.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its strength.
    pub weight: u32,
    /// Requests at once, in each shard's count.
    pub limit: Option<u32>,
    /// Where it stands.
    pub zone: Option<String>,
    /// Its priority level, 0 first.
    pub priority: u32,
}

/// Where `${NAME}` is looked up; `None` when there is no such variable.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl ProxyConfig {
    /// Reads a config; all that is wrong is collected.
    pub fn parse(source: &str, environment: Environment<'_>) -> Result<ProxyConfig, Problems> {
        let no_oracle = |problem: Problem| match catalog::unknown_name(&problem.message) {
            Some(name) => Problem { help: Some(catalog::suggestion(name, false)), ..problem },
            None => problem,
        };
        let read = diagnostic::read::<ProxyTable>(source);
        let table = read.map_err(|problems| problems.into_iter().map(no_oracle).collect::<Problems>())?;
        let mut b = Builder { problems: Vec::new(), environment };
        let mut config = b.config(&table);
        let pools = table.pools.get_ref().iter().filter_map(|pool| pool.get_ref().strategy.as_ref());
        let written = table.strategy.iter().chain(pools);
        config.remarks = written.filter_map(|strategy| catalog::remark_on(source.get(strategy.span())?)).collect();
        if b.problems.is_empty() { Ok(config) } else { Err(b.problems) }
    }
}

struct Builder<'a> {
    problems: Problems,
    environment: Environment<'a>,
}

impl Builder<'_> {
    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Problem {
        self.problems.push(Problem::at(span, message));
        self.problems.last_mut().expect("just pushed")
    }

    fn config(&mut self, table: &ProxyTable) -> ProxyConfig {
        let listeners = self.listeners(table);
        if let Some(shards) = table.shards.as_ref().filter(|shards| !(1..=1024).contains(shards.get_ref())) {
            self.problem(shards.span(), "`shards` must be from 1 to 1024");
        }
        if let Some(sample) = table.log.sample.as_ref().filter(|sample| *sample.get_ref() == 0) {
            self.problem(sample.span(), "`sample` must be above zero: one of so many requests is logged");
        }
        if let Some(zone) = &table.zone {
            check_name(zone, "zone", &mut self.problems);
        }
        if let Some(instance) = table.instance.as_ref().filter(|i| i.get_ref().index >= i.get_ref().count) {
            self.problem(instance.span(), "`index` of an instance must be below `count`: instances count from 0");
        }
        self.bounds(table);
        let trusted_proxies = table.trusted_proxies.iter().filter_map(|text| self.network(text)).collect();
        let admin = self.admin(&table.admin);
        let pools = self.pools(table);
        let routes = self.routes(table, &pools);
        ProxyConfig {
            listeners,
            shards: table.shards.as_ref().map(|shards| *shards.get_ref()),
            zone: table.zone.as_ref().map(|zone| zone.get_ref().clone()),
            instance: table.instance.as_ref().map_or_else(InstanceTable::default, |instance| *instance.get_ref()),
            key: table.key.clone(),
            trusted_proxies,
            headers: table.headers.clone(),
            admin,
            log: table.log.clone(),
            timeouts: table.timeouts,
            limits: table.limits,
            dns: table.dns,
            pools,
            routes,
            remarks: Vec::new(),
        }
    }

    fn bounds(&mut self, table: &ProxyTable) {
        let t = &table.timeouts;
        for (value, what) in [
            (t.header, "header"),
            (t.body, "body"),
            (t.keep_alive, "keep_alive"),
            (t.handshake, "handshake"),
            (t.connect, "connect"),
            (t.response_header, "response_header"),
            (t.idle, "idle"),
            (t.upstream_keep_alive, "upstream_keep_alive"),
            (t.total.unwrap_or(Nanos(1)), "total"),
        ] {
            if value == Nanos::ZERO {
                self.problems.push(Problem::of_file(format!("`timeouts.{what}` must be above zero")));
            }
        }
        let l = &table.limits;
        if l.connections == 0 || l.headers == 0 || l.streams == 0 {
            self.problems.push(Problem::of_file("`limits.connections`, `headers` and `streams` must be above zero"));
        }
        if l.streams > MOST_STREAMS {
            self.problems.push(Problem::of_file(format!("`limits.streams` must be at most {MOST_STREAMS}")));
        }
        if !(1024..=1 << 20).contains(&l.header_bytes) || l.headers > 10_000 {
            let message = "`limits.header_bytes` must be from 1024 to 1048576, and `limits.headers` at most 10000";
            self.problems.push(Problem::of_file(message));
        }
        if table.dns.min_ttl == Nanos::ZERO || table.dns.min_ttl > table.dns.max_ttl {
            self.problems.push(Problem::of_file("`dns.min_ttl` must be above zero and at most `dns.max_ttl`"));
        }
    }

    fn listeners(&mut self, table: &ProxyTable) -> Vec<Listener> {
        let mut listeners: Vec<Listener> = Vec::new();
        for listener in table.listeners.get_ref() {
            let t = listener.get_ref();
            let Some(address) = self.socket(&t.address) else { continue };
            if address.port() != 0 && listeners.iter().any(|other| other.address == address) {
                self.problem(t.address.span(), format!("there is already a listener at {address}"));
            }
            if let Some(tls) = t.tls.as_ref().filter(|tls| tls.get_ref().certificates.is_empty()) {
                self.problem(tls.span(), "`tls` has no certificates").help =
                    Some("certificates = [{ cert = \"site.pem\", key = \"site.key\" }]".to_owned());
            }
            let tls = t.tls.as_ref().map(|tls| tls.get_ref().certificates.clone());
            listeners.push(Listener { address, tls, http2: t.http2 });
        }
        if listeners.is_empty() && self.problems.is_empty() {
            self.problem(table.listeners.span(), "there are no listeners: nobody could come in");
        }
        listeners
    }

    fn socket(&mut self, text: &Spanned<String>) -> Option<SocketAddr> {
        match text.get_ref().parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let message = format!("`{}` is not an address with a port", text.get_ref());
                self.problem(text.span(), message).help =
                    Some("write \"127.0.0.1:8080\", \"0.0.0.0:80\" or \"[::1]:8080\"".to_owned());
                None
            }
        }
    }

    fn network(&mut self, text: &Spanned<String>) -> Option<Network> {
        let (address, bits) = match text.get_ref().split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text.get_ref().as_str(), None),
        };
        let network = address.parse::<IpAddr>().ok().and_then(|address| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|&bits| bits <= most))?;
            Some(Network { address, bits })
        });
        if network.is_none() {
            self.problem(text.span(), format!("`{}` is not a network", text.get_ref())).help =
                Some("write \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\"".to_owned());
        }
        network
    }

    fn admin(&mut self, t: &AdminTable) -> Option<Admin> {
        let token = t.token.as_ref().and_then(|token| self.substituted(token));
        let place = t.address.as_ref()?;
        let address = self.socket(place)?;
        if !address.ip().is_loopback() && t.token.is_none() {
            self.problem(place.span(), "an admin listener that is not on loopback needs a `token`").help =
                Some("anyone who reaches it could drain servers; token = \"${ADMIN_TOKEN}\"".to_owned());
        }
        Some(Admin { address, token })
    }

    /// A secret: as it stands, or `${NAME}` from the environment.
    fn substituted(&mut self, text: &Spanned<String>) -> Option<String> {
        let Some(name) = text.get_ref().strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
            return Some(text.get_ref().clone());
        };
        let value = (self.environment)(name).filter(|value| !value.is_empty());
        if value.is_none() {
            self.problem(text.span(), format!("the environment has no variable `{name}`"));
        }
        value
    }

    fn pools(&mut self, table: &ProxyTable) -> Vec<PoolConfig> {
        let mut pools: Vec<PoolConfig> = Vec::new();
        for pool in table.pools.get_ref() {
            let t = pool.get_ref();
            check_name(&t.name, "pool", &mut self.problems);
            if pools.iter().any(|other| other.name == *t.name.get_ref()) {
                self.problem(t.name.span(), format!("there is already a pool `{}`", t.name.get_ref()));
            }
            let strategy = t.strategy.as_ref().or(table.strategy.as_ref());
            let chosen = strategy.map_or_else(|| (CATALOGUE[0].default)(), |strategy| strategy.get_ref().0.clone());
            if strategy.is_none() {
                self.problem(t.name.span(), format!("pool `{}` has no `strategy`", t.name.get_ref())).help =
                    Some("give it one, or all of them one at the top of the file: strategy = \"p2c\"".to_owned());
            }
            if let (Some(strategy), true) = (strategy, chosen.oracle()) {
                let message = format!("`{}` needs truths that only the simulator has", chosen.name());
                self.problem(strategy.span(), message).help =
                    Some("`evenkeel list` shows which are oracles".to_owned());
            }
            for (span, key) in [
                (t.connections.as_ref().map(Spanned::span), "connections"),
                (t.autoscale.as_ref().map(Spanned::span), "autoscale"),
            ] {
                if let Some(span) = span {
                    self.problem(span, format!("`{key}` is the simulator's"));
                }
            }
            if let Some(backend) = &t.backend {
                self.problem(backend.span(), "`backend` is the simulator's: a server calls its second tier by itself");
            }
            let rules = Arc::new(t.policy(&mut self.problems));
            if let Some(hedge) = t.hedge.as_ref().filter(|hedge| hedge.get_ref().tied) {
                self.problem(hedge.span(), "tied requests need servers that call each other's copies off").help =
                    Some("the simulator's do; leave `tied` out here, and the slower copy is called off when the other has answered".to_owned());
            }
            if let Some(zones) = t.zones.as_ref().filter(|zones| zones.get_ref().prefer != Prefer::Weights)
                && table.zone.is_none()
            {
                self.problem(zones.span(), "which zone does the proxy itself stand in?").help =
                    Some("write it at the top of the file: zone = \"a\"".to_owned());
            }
            let servers = self.servers(t);
            let name = t.name.get_ref().clone();
            let (check, protocol, tls) = (t.check(&mut self.problems), t.protocol.clone(), t.tls.clone());
            pools.push(PoolConfig { name, strategy: chosen, rules, check, protocol, tls, servers });
        }
        if pools.is_empty() {
            self.problem(table.pools.span(), "there are no pools: requests would have nowhere to go");
        }
        pools
    }

    fn servers(&mut self, pool: &PoolTable) -> Vec<ServerConfig> {
        let before = self.problems.len();
        let named = pool.servers(&mut self.problems);
        if self.problems.len() > before {
            return Vec::new();
        }
        let tables = pool.servers.get_ref().iter().map(Spanned::get_ref);
        let copies = tables.flat_map(|t| (0..*t.count.get_ref()).map(move |i| (t, i)));
        let mut servers = Vec::with_capacity(named.len());
        for (server, (t, i)) in named.into_iter().zip(copies) {
            let Some(address) = &t.address else {
                self.problem(t.name.span(), format!("server `{}` has no `address`", t.name.get_ref())).help =
                    Some("address = \"10.0.0.1:8080\", or a name: \"app.internal:8080\"".to_owned());
                continue;
            };
            let Some((host, port)) = split_host(address.get_ref()) else {
                let message = format!("`{}` is not a host with a port", address.get_ref());
                self.problem(address.span(), message).help =
                    Some("write \"10.0.0.1:8080\", \"[::1]:8080\" or \"app.internal:8080\"".to_owned());
                continue;
            };
            let Some(port) = u16::try_from(i).ok().and_then(|i| port.checked_add(i)) else {
                self.problem(address.span(), "servers of a `count` take ports one after another, and these end");
                continue;
            };
            let limit = server.max_in_flight;
            let zone = server.zone.clone();
            let (weight, priority) = (server.weight, server.priority);
            servers.push(ServerConfig { name: server.name, host, port, weight, limit, zone, priority });
        }
        servers
    }

    fn routes(&mut self, table: &ProxyTable, pools: &[PoolConfig]) -> Routes {
        let Some(routes) = &table.routes else {
            return Routes::new([(None, "/".to_owned(), 0)]);
        };
        let mut found = Vec::new();
        for route in routes {
            if !route.prefix.get_ref().starts_with('/') {
                self.problem(route.prefix.span(), "`prefix` begins with a `/`");
            }
            match pools.iter().position(|pool| pool.name == *route.pool.get_ref()) {
                Some(pool) => {
                    let host = route.host.as_ref().map(|host| host.get_ref().clone());
                    found.push((host, route.prefix.get_ref().clone(), pool));
                }
                None => {
                    let help = did_you_mean(route.pool.get_ref(), pools.iter().map(|pool| pool.name.as_str()));
                    self.problem(route.pool.span(), format!("there is no pool `{}`", route.pool.get_ref())).help =
                        Some(help);
                }
            }
        }
        Routes::new(found)
    }
}

/// Host and port; brackets around an IPv6 address are taken off.
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
