//! The tables of the proxy's config, as they are written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Spanned;
use crate::distribution::Distribution;
use crate::pool::{PoolTable, RouteTable};
use evenkeel_core::select::catalog::Strategy;
use evenkeel_core::units::Nanos;

/// The whole file.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyTable {
    /// `[[listeners]]`: addresses on which the proxy accepts clients; at least one.
    pub listeners: Spanned<Vec<Spanned<ListenerTable>>>,
    /// Threads, each with selectors and connections of its own, 1 to 1024. `None`: one per core. Envoy's `--concurrency`.
    pub shards: Option<Spanned<u32>>,
    /// Zone that this proxy is in, for pools with `zones`. `None`: in no zone.
    pub zone: Option<Spanned<String>>,
    /// `instance = { index = 0, count = 3 }`: which of several such proxies this is, for pools with a `subset`. `None`: the
    /// only one.
    pub instance: Option<Spanned<InstanceTable>>,
    /// Strategy of pools that have none of their own.
    pub strategy: Option<Spanned<Strategy>>,
    /// What a hash strategy hashes: `"path"` (the default), `"uri"`, `{ header = "X-User" }` or `{ cookie = "session" }`.
    #[serde(default)]
    pub key: KeyTable,
    /// Networks (CIDR) whose statements about the client (`X-Forwarded-For`, `Forwarded`, …) are trusted; default none.
    #[serde(default)]
    pub trusted_proxies: Vec<Spanned<String>>,
    /// `[headers]`: header fields that the proxy adds.
    #[serde(default)]
    pub headers: HeadersTable,
    /// `[admin]`: the admin listener.
    #[serde(default)]
    pub admin: AdminTable,
    /// `[log]`: the access log and the proxy's own messages.
    #[serde(default)]
    pub log: LogTable,
    /// `[timeouts]`: bounds on every wait.
    #[serde(default)]
    pub timeouts: TimeoutsTable,
    /// `[limits]`: bounds on connections, headers and bodies.
    #[serde(default)]
    pub limits: LimitsTable,
    /// `[dns]`: how often names of servers are resolved.
    #[serde(default)]
    pub dns: DnsTable,
    /// `[[pools]]`: servers behind one strategy; at least one pool.
    pub pools: Spanned<Vec<Spanned<PoolTable>>>,
    /// `[[routes]]`: which requests go to which pool. `None`: all go to the first pool.
    pub routes: Option<Vec<RouteTable>>,
    /// Distribution of the service times of `evenkeel test-server --config`; the proxy ignores it.
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
    /// The only proxy.
    fn default() -> InstanceTable {
        InstanceTable { index: 0, count: 1 }
    }
}

/// `[[listeners]]`: an address on which the proxy accepts clients.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTable {
    /// Address and port, such as `"0.0.0.0:8080"` or `"[::]:443"`; port 0 takes any that is free.
    pub address: Spanned<String>,
    /// `tls = { certificates = [{ cert = "a.pem", key = "a.key" }] }`. `None`: plain text.
    pub tls: Option<Spanned<TlsTable>>,
    /// Whether HTTP/2 is accepted too: by ALPN with TLS, by its preface (h2c, prior knowledge) without. Default true.
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
    /// At least one; the first is for clients that send no host name (SNI).
    pub certificates: Vec<CertificateTable>,
}

/// A certificate chain and its key, PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateTable {
    /// PEM file of the chain, the server's own certificate first.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// What a hash strategy hashes of a request.
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
    /// The eight bytes that a request header has in hexadecimal: our load generator sends a scenario's keys so, and hashes
    /// have the same values as in the simulator. Not for files.
    #[serde(skip)]
    #[schemars(skip)]
    Bits(String),
}

/// `[headers]`: header fields that the proxy adds to requests and responses.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HeadersTable {
    /// Adds `X-Forwarded-For`, `-Proto` and `-Host` to requests; default true.
    pub x_forwarded: bool,
    /// Adds `Forwarded` (RFC 7239) to requests; default false.
    pub forwarded: bool,
    /// Adds `Via: 1.1 evenkeel` to requests and responses; default true.
    pub via: bool,
    /// Adds `X-Request-Id` to requests: kept from trusted proxies, else generated; default true.
    pub request_id: bool,
    /// Adds `X-Upstream: NAME` to responses, the name of the server that made them; default false.
    pub upstream: bool,
}

impl Default for HeadersTable {
    fn default() -> HeadersTable {
        HeadersTable { x_forwarded: true, forwarded: false, via: true, request_id: true, upstream: false }
    }
}

/// `[admin]`: liveness, readiness, metrics, servers. It can also drain servers, so it belongs on loopback.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminTable {
    /// Address and port, such as `"127.0.0.1:9901"`. `None`: there is no admin listener.
    pub address: Option<Spanned<String>>,
    /// Token that requests which change anything need in `Authorization: Bearer …`. `token = "${ADMIN_TOKEN}"` takes it from
    /// the environment. Required where the address is not loopback. `None`: no token.
    pub token: Option<Spanned<String>>,
}

/// `[log]`: the access log and the proxy's own messages.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogTable {
    /// Format of the access log: `"combined"`, `"json"` or `"none"` (the default).
    pub access: AccessFormat,
    /// File of the access log. `None`: standard output.
    pub file: Option<PathBuf>,
    /// Whether the query is logged with the path; default false, because it may hold secrets.
    pub query: bool,
    /// Logs one of this many requests, at least 1; failures are always logged. `None`: all.
    pub sample: Option<Spanned<u32>>,
    /// Format of the proxy's own messages, on standard error: `"text"` (the default) or `"json"`.
    pub messages: MessageFormat,
}

/// Format of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccessFormat {
    /// No access log.
    #[default]
    None,
    /// Apache's combined format with further fields at the end.
    Combined,
    /// A JSON object per line.
    Json,
}

/// Format of the proxy's own messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessageFormat {
    /// Text for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

/// `[timeouts]`: bounds on every wait; all above zero but `drain_delay` and `drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsTable {
    /// From a request's first byte to the end of its header; default 10 s. nginx's `client_header_timeout`.
    pub header: Nanos,
    /// Between two reads of a request's body; default 30 s. nginx's `client_body_timeout`.
    pub body: Nanos,
    /// Idle time of a client connection between requests; default 75 s. nginx's `keepalive_timeout`.
    pub keep_alive: Nanos,
    /// TLS handshake with a client; default 10 s.
    pub handshake: Nanos,
    /// Connecting to a server, with TLS where it is used; default 1 s. nginx's `proxy_connect_timeout`.
    pub connect: Nanos,
    /// From the end of the request to the complete header of the response (time to first byte); default 60 s. nginx's
    /// `proxy_read_timeout` before the header.
    pub response_header: Nanos,
    /// Between two reads of a response's body or of a tunnel; default 300 s.
    pub idle: Nanos,
    /// The whole request, from its header to the last byte of the response. `None`: no bound. Envoy's `timeout` of a route.
    pub total: Option<Nanos>,
    /// Idle time of a connection to a server; default 60 s. Envoy's `idle_timeout`.
    pub upstream_keep_alive: Nanos,
    /// After SIGTERM: time in which connections are still accepted while `/readyz` already fails; default 5 s.
    pub drain_delay: Nanos,
    /// After that: time in which requests may end; default 30 s. Envoy's `--drain-time-s`.
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

/// `[limits]`: bounds on connections, headers and bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsTable {
    /// Client connections at a time, over all shards, at least 1; default 10,000. HAProxy's `maxconn`.
    pub connections: u32,
    /// Bytes of a request's header, 1024 to 1,048,576; default 65,536.
    pub header_bytes: u32,
    /// Header fields of a request, 1 to 10,000; default 100. A response may have as many, and always 256.
    pub headers: u32,
    /// Bytes of a request's body. `None`: no bound. nginx's `client_max_body_size`.
    pub body_bytes: Option<u64>,
    /// Bytes of a request's body that are kept for a retry; a longer body is not sent again. Default 65,536.
    pub replay_bytes: u32,
    /// Streams at a time in an HTTP/2 connection of a client, 1 to 32,767; default 128. Its uploads that no server has read
    /// yet hold at most 8 MiB, or 64 KiB for each stream where that is more; so do responses that the client has not read.
    pub streams: u32,
    /// Idle connections, HTTP/1.1 or HTTP/2, kept for each server, in each shard; default 256. nginx's `keepalive`.
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

/// `[dns]`: how often names of servers are resolved.
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
