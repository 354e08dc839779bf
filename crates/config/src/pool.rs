//! Pools, servers, checks and routes: the tables that a scenario and the proxy's config write alike.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Serialize, Serializer};
use toml::Spanned;

use super::diagnostic::{Problem, Problems};
use super::distribution::Distribution;
use super::proxy::{Protocol, UpstreamTlsTable};
use evenkeel_core::policy::{
    self, admission, concurrency, hedge, outlier, priority, queue, retry, slow_start, sticky, subset, zone,
};
use evenkeel_core::select::catalog::Strategy;
use evenkeel_core::units::{Nanos, Rate, Ratio};

/// `[[pools]]`: servers behind one strategy.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolTable {
    /// Unique; lower-case letters, digits, `-` and `_`.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Its strategy; without one the pool takes the strategy under comparison.
    #[schemars(with = "Option<Strategy>")]
    pub strategy: Option<Spanned<Strategy>>,
    /// `[[pools.servers]]`: its servers, at least one.
    #[schemars(with = "Vec<ServerTable>")]
    pub servers: Spanned<Vec<Spanned<ServerTable>>>,
    /// How the proxy speaks to the servers: `"http1"` or `"h2c"`.
    #[serde(default)]
    pub protocol: Protocol,
    /// `tls = {}`: the proxy speaks TLS to the servers.
    pub tls: Option<UpstreamTlsTable>,
    /// `[pools.health]`: active checks.
    #[schemars(with = "Option<HealthTable>")]
    pub health: Option<Spanned<HealthTable>>,
    /// `[pools.outliers]`: ejection of servers that fail or are slow.
    #[schemars(with = "Option<OutliersTable>")]
    pub outliers: Option<Spanned<OutliersTable>>,
    /// `slow_start = "30s"`, or a table: a server that comes back gets its share little by little.
    #[schemars(with = "Option<SlowStartTable>")]
    pub slow_start: Option<Spanned<SlowStartTable>>,
    /// `panic = "50%"`: with fewer healthy servers than this share health is ignored. Off unless given.
    #[schemars(with = "Option<Ratio>")]
    pub panic: Option<Spanned<Ratio>>,
    /// `[pools.queue]`: where requests wait while every server is at its `max_in_flight`.
    #[schemars(with = "Option<QueueTable>")]
    pub queue: Option<Spanned<QueueTable>>,
    /// `[pools.retries]`: another attempt at another server after a failed one.
    #[schemars(with = "Option<RetriesTable>")]
    pub retries: Option<Spanned<RetriesTable>>,
    /// `[pools.hedge]`: a second attempt beside a slow first one.
    #[schemars(with = "Option<HedgeTable>")]
    pub hedge: Option<Spanned<HedgeTable>>,
    /// `[pools.sticky]`: clients stay with their server, by a cookie.
    #[schemars(with = "Option<StickyTable>")]
    pub sticky: Option<Spanned<StickyTable>>,
    /// `subset = { size = 20 }`: each balancer uses so many of the servers.
    #[schemars(with = "Option<SubsetTable>")]
    pub subset: Option<Spanned<SubsetTable>>,
    /// `[pools.priorities]`: how servers of a higher `priority` number stand in for those of a lower.
    #[schemars(with = "Option<PrioritiesTable>")]
    pub priorities: Option<Spanned<PrioritiesTable>>,
    /// `[pools.zones]`: which zone's servers a balancer prefers.
    #[schemars(with = "Option<ZonesTable>")]
    pub zones: Option<Spanned<ZonesTable>>,
    /// `[pools.concurrency]`: how many requests may be in flight, found out from how long answers take.
    #[schemars(with = "Option<ConcurrencyTable>")]
    pub concurrency: Option<Spanned<ConcurrencyTable>>,
    /// `[pools.admission]`: some requests are turned away while too many fail.
    #[schemars(with = "Option<AdmissionTable>")]
    pub admission: Option<Spanned<AdmissionTable>>,
    /// `[pools.reports]`: load reports that servers send by themselves.
    #[schemars(with = "Option<ReportsTable>")]
    pub reports: Option<Spanned<ReportsTable>>,
    /// `[pools.probes]`: what a strategy's questions to servers cost.
    pub probes: Option<ProbesTable>,
    /// `connections = { max_requests = 1000 }`: clients hold a connection to a server each, and a pick is made for a connection
    /// and not for a request. The simulator's.
    #[schemars(with = "Option<ConnectionsTable>")]
    pub connections: Option<Spanned<ConnectionsTable>>,
    /// `[pools.autoscale]`: servers come and go with the load. The simulator's.
    #[schemars(with = "Option<AutoscaleTable>")]
    pub autoscale: Option<Spanned<AutoscaleTable>>,
    /// `[pools.backend]`: a second tier that servers call before they answer.
    #[schemars(with = "Option<BackendTable>")]
    pub backend: Option<Spanned<BackendTable>>,
    /// When this pool is a second tier: how many balancers stand before it, each with its own selector.
    #[schemars(with = "Option<u32>")]
    pub shards: Option<Spanned<u32>>,
}

/// One `[[pools.servers]]`: a server, or `count` alike.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTable {
    /// Its name; with `count` above one the stem, to which `-1`, `-2`, … are added.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// How many such servers.
    #[serde(default = "one")]
    #[schemars(with = "u32")]
    pub count: Spanned<u32>,
    /// Work per unit of time; 2 is twice as fast as the service times say.
    #[serde(default = "unit")]
    #[schemars(with = "f64")]
    pub speed: Spanned<f64>,
    /// Requests served at once (`fcfs`), or the most that share (`ps`, where it is unlimited unless given).
    #[schemars(with = "Option<u32>")]
    pub concurrency: Option<Spanned<u32>>,
    /// Requests that may wait for service; unlimited unless given.
    pub queue_limit: Option<u32>,
    /// `"fcfs"` (first come, first served) or `"ps"` (processor sharing).
    #[serde(default)]
    pub discipline: Discipline,
    /// What the balancer is told of its strength.
    #[serde(default = "one")]
    #[schemars(with = "u32")]
    pub weight: Spanned<u32>,
    /// The most requests that a balancer may have in flight to it; each balancer, or shard without shared counts, counts
    /// its own. Unlimited unless given.
    #[schemars(with = "Option<u32>")]
    pub max_in_flight: Option<Spanned<u32>>,
    /// Where it stands: a name of a zone.
    #[schemars(with = "Option<String>")]
    pub zone: Option<Spanned<String>>,
    /// Its level: 0 serves first, 1 stands in when too few of 0 are healthy, and so on.
    #[serde(default = "nought")]
    #[schemars(with = "u32")]
    pub priority: Spanned<u32>,
    /// `"127.0.0.1:9001"`: where the proxy finds it. Scenarios have no use for it.
    #[schemars(with = "Option<String>")]
    pub address: Option<Spanned<String>>,
    /// `cache = { capacity = 1000 }`.
    #[schemars(with = "Option<CacheTable>")]
    pub cache: Option<Spanned<CacheTable>>,
}

fn nought() -> Spanned<u32> {
    Spanned::new(0..0, 0)
}

fn one() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn unit() -> Spanned<f64> {
    Spanned::new(0..0, 1.0)
}

/// What a server remembers.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheTable {
    /// Entries it holds; the least recently used goes first.
    pub capacity: u32,
    /// Age at which an entry no longer counts; for ever unless given.
    pub ttl: Option<Nanos>,
    /// What a hit costs, as a share of the full service time.
    #[serde(default = "tenth")]
    pub hit_cost: Ratio,
    /// Factor on the load (requests in flight, latency) that the server reports to a probe for a request whose answer it has
    /// cached (`prequal_synchronous`): 0 to 1, default 1. Below 1 it attracts the requests it can answer from its cache.
    #[serde(default = "whole")]
    pub reported_load: Ratio,
}

fn tenth() -> Ratio {
    Ratio(0.1)
}

fn whole() -> Ratio {
    Ratio(1.0)
}

/// Active checks.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthTable {
    /// From one check to the next.
    pub interval: Nanos,
    /// A check without an answer for this long has failed.
    pub timeout: Nanos,
    /// Good checks in a row that bring a server up.
    pub rise: u32,
    /// Failed checks in a row that take it down.
    pub fall: u32,
    /// Each interval is longer or shorter by up to this share.
    pub jitter: Ratio,
    /// `"up"` until found otherwise, or `"down"` until it has risen.
    pub initial: Initial,
    /// The proxy asks for this path …
    #[schemars(with = "Option<String>")]
    pub path: Option<Spanned<String>>,
    /// … and is content with these: `"200-399"`, `"200,204"`.
    #[schemars(with = "Option<String>")]
    pub status: Option<Spanned<String>>,
    /// The proxy is content with a connection.
    #[schemars(with = "Option<bool>")]
    pub tcp: Option<Spanned<bool>>,
}

impl Default for HealthTable {
    /// HAProxy's: every 2 s, rise 2, fall 3.
    fn default() -> HealthTable {
        HealthTable {
            interval: Nanos::from_secs(2),
            timeout: Nanos::from_secs(1),
            rise: 2,
            fall: 3,
            jitter: Ratio(0.0),
            initial: Initial::Up,
            path: None,
            status: None,
            tcp: None,
        }
    }
}

/// What a server counts as before its first check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Initial {
    /// Up until found otherwise.
    #[default]
    Up,
    /// Down until it has risen.
    Down,
}

/// What the proxy does to check a server. The simulator's servers answer either kind alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A connection is enough.
    Tcp,
    /// GET of this path, and a status in one of these ranges.
    Http {
        /// Begins with `/`.
        path: String,
        /// First and last status of each range, both included.
        status: Vec<(u16, u16)>,
    },
}

/// `[pools.outliers]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutliersTable {
    /// Failures in a row after which a server is ejected; 0 for never. Default 5. Envoy's `consecutive_5xx`.
    pub consecutive_failures: u32,
    /// `success_rate = { deviations = 1.9, … }`; off unless given.
    #[schemars(with = "Option<SuccessRateTable>")]
    pub success_rate: Option<Spanned<SuccessRateTable>>,
    /// `failure_percentage = { threshold = "85%", … }`; off unless given.
    #[schemars(with = "Option<FailurePercentageTable>")]
    pub failure_percentage: Option<Spanned<FailurePercentageTable>>,
    /// `latency = { factor = 3, … }`; off unless given.
    #[schemars(with = "Option<LatencyTable>")]
    pub latency: Option<Spanned<LatencyTable>>,
    /// How often the last three are worked out.
    #[schemars(with = "Nanos")]
    pub interval: Spanned<Nanos>,
    /// Duration of a server's first ejection; the second lasts twice as long, the third three times. Default 30 s.
    #[schemars(with = "Nanos")]
    pub base_ejection_time: Spanned<Nanos>,
    /// Longest ejection, not below `base_ejection_time`. Default 300 s.
    #[schemars(with = "Nanos")]
    pub max_ejection_time: Spanned<Nanos>,
    /// Largest share of the servers that may be ejected at a time, 0 to 1; default 0.5. Envoy's `max_ejection_percent`.
    #[schemars(with = "Ratio")]
    pub max_ejected: Spanned<Ratio>,
    /// How `max_ejected` is rounded to a number of servers: `"one_always"` (down, but at least one; the default), `"envoy"`
    /// (down: none of nine at 10 %) or `"grpc"` (another one while the share is not reached).
    pub max_ejected_rule: CapTable,
}

/// How `max_ejected` is rounded to a number of servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CapTable {
    /// The share, and one in any case.
    #[default]
    OneAlways,
    /// Never more than the share.
    Envoy,
    /// One more while the share is not reached.
    Grpc,
}

/// Ejects who fails at least this share of its requests, whatever the others do.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FailurePercentageTable {
    /// The share.
    pub threshold: Ratio,
    /// Servers with at least `min_requests` that the comparison needs; with fewer none is ejected. Default 5.
    pub min_servers: u32,
    /// Requests in an interval below which a server is not judged. Default 50.
    pub min_requests: u32,
}

impl Default for FailurePercentageTable {
    /// Envoy's.
    fn default() -> FailurePercentageTable {
        FailurePercentageTable { threshold: Ratio(0.85), min_servers: 5, min_requests: 50 }
    }
}

impl Default for OutliersTable {
    /// Envoy's, except `max_ejected`, which is 10 % there.
    fn default() -> OutliersTable {
        let secs = |secs| Spanned::new(0..0, Nanos::from_secs(secs));
        OutliersTable {
            consecutive_failures: 5,
            success_rate: None,
            failure_percentage: None,
            latency: None,
            interval: secs(10),
            base_ejection_time: secs(30),
            max_ejection_time: secs(300),
            max_ejected: Spanned::new(0..0, Ratio(0.5)),
            max_ejected_rule: CapTable::OneAlways,
        }
    }
}

/// Ejects whose success rate lies below the mean by so many standard deviations over the servers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SuccessRateTable {
    /// How many.
    pub deviations: f64,
    /// Servers with at least `min_requests` that the comparison needs, at least 2; with fewer none is ejected. Default 5.
    pub min_servers: u32,
    /// Requests in an interval below which a server is not judged. Default 100.
    pub min_requests: u32,
}

impl Default for SuccessRateTable {
    /// Envoy's.
    fn default() -> SuccessRateTable {
        SuccessRateTable { deviations: 1.9, min_servers: 5, min_requests: 100 }
    }
}

/// Ejects whose mean latency is above so many times the median of the servers'.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LatencyTable {
    /// How many times.
    pub factor: f64,
    /// Requests in an interval below which a server is not judged. Default 100.
    pub min_requests: u32,
}

impl Default for LatencyTable {
    fn default() -> LatencyTable {
        LatencyTable { factor: 3.0, min_requests: 100 }
    }
}

/// `slow_start = "30s"` or `slow_start = { window = "30s", aggression = 1.0, min_share = "10%" }`
#[derive(Clone, Copy, Debug)]
pub struct SlowStartTable {
    /// Until a server has its full share.
    pub window: Nanos,
    /// Shape: 1 is linear, more is steeper at the start.
    pub aggression: f64,
    /// Share of its normal traffic that a server gets at the start: above 0, at most 1; default 0.1. Envoy's
    /// `min_weight_percent`.
    pub min_share: Ratio,
}

/// [`SlowStartTable`] in full.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct SlowStartFull {
    /// Until a server has its full share.
    window: Nanos,
    /// Shape: 1 is linear, more is steeper at the start.
    #[serde(default = "linear")]
    aggression: f64,
    /// Share of its normal traffic that a server gets at the start: above 0, at most 1; default 0.1. Envoy's
    /// `min_weight_percent`.
    #[serde(default = "tenth")]
    min_share: Ratio,
}

fn linear() -> f64 {
    1.0
}

impl JsonSchema for SlowStartTable {
    fn schema_name() -> Cow<'static, str> {
        "SlowStartTable".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [generator.subschema_for::<Nanos>(), generator.subschema_for::<SlowStartFull>()];
        json_schema!({ "description": "The window alone, or a table.", "anyOf": forms })
    }
}

impl<'de> Deserialize<'de> for SlowStartTable {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<SlowStartTable, D::Error> {
        struct SlowStartVisitor;
        impl<'de> Visitor<'de> for SlowStartVisitor {
            type Value = SlowStartTable;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a duration such as \"30s\", or { window = \"30s\", aggression = 1.0, min_share = \"10%\" }",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SlowStartTable, E> {
                let window = text.parse().map_err(E::custom)?;
                Ok(SlowStartTable { window, aggression: linear(), min_share: tenth() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SlowStartTable, A::Error> {
                let SlowStartFull { window, aggression, min_share } =
                    SlowStartFull::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SlowStartTable { window, aggression, min_share })
            }
        }
        from.deserialize_any(SlowStartVisitor)
    }
}

/// `[pools.queue]`
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct QueueTable {
    /// How many may wait.
    pub limit: u32,
    /// How long each may.
    pub timeout: Nanos,
}

impl Default for QueueTable {
    fn default() -> QueueTable {
        QueueTable { limit: 100, timeout: Nanos::from_secs(1) }
    }
}

/// `[pools.retries]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetriesTable {
    /// Attempts after the first one, 1 to 100; default 1. Envoy's `num_retries`.
    #[schemars(with = "u32")]
    pub max_retries: Spanned<u32>,
    /// Failures after which there is another: `"connect"`, `"reset"`, `"error"`, `"timeout"`, `"rejected"`.
    #[schemars(with = "Vec<Cause>")]
    pub on: Spanned<Vec<Cause>>,
    /// Retries per request, over ten seconds.
    #[schemars(with = "Ratio")]
    pub budget: Spanned<Ratio>,
    /// Retries per second that are allowed in addition to `budget`; default 3/s. Finagle's `minRetriesPerSec`.
    pub min_per_second: Rate,
    /// `tokens = { max_tokens = 10, ratio = 0.1 }`: a token bucket in place of `budget` and `min_per_second`, as gRPC's.
    #[schemars(with = "Option<TokensTable>")]
    pub tokens: Option<Spanned<TokensTable>>,
    /// The longest pause before the first retry; it doubles with each.
    pub backoff: Nanos,
    /// Upper bound of the doubled pause, not below `backoff`; default 250 ms.
    #[schemars(with = "Nanos")]
    pub max_backoff: Spanned<Nanos>,
    /// An attempt without an answer for this long has failed (cause `"timeout"`).
    #[schemars(with = "Option<Nanos>")]
    pub per_try_timeout: Option<Spanned<Nanos>>,
}

impl Default for RetriesTable {
    /// One, after what cannot have been done or begun to be answered; Finagle's share, Envoy's pauses.
    fn default() -> RetriesTable {
        RetriesTable {
            max_retries: Spanned::new(0..0, 1),
            on: Spanned::new(0..0, vec![Cause::Connect, Cause::Reset]),
            budget: Spanned::new(0..0, Ratio(0.2)),
            min_per_second: Rate(3.0),
            tokens: None,
            backoff: Nanos::from_millis(25),
            max_backoff: Spanned::new(0..0, Nanos::from_millis(250)),
            per_try_timeout: None,
        }
    }
}

/// Every failed attempt costs a token, every good answer brings `ratio` of one; retries while more than half are left.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokensTable {
    /// Capacity of the bucket, which starts full: above 0, at most 1,000,000; default 10. gRPC's `maxTokens`.
    pub max_tokens: f64,
    /// What a good answer brings.
    pub ratio: f64,
}

impl Default for TokensTable {
    /// Those of gRPC's example.
    fn default() -> TokensTable {
        TokensTable { max_tokens: 10.0, ratio: 0.1 }
    }
}

/// `[pools.concurrency]`
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConcurrencyTable {
    /// `"gradient"` (what answers take against what they take at best) or `"aimd"` (up little by little, down at once).
    pub kind: ConcurrencyKind,
    /// `"pool"`: one limit for all servers, as each balancer or shard counts; `"server"`: one for each.
    pub per: ConcurrencyPer,
    /// Lowest limit, in requests, at least 1; default 3. `gradient` measures the minimum latency (min RTT) at this limit.
    pub min_limit: u32,
    /// Highest limit, in requests; default 1000. Envoy's `max_concurrency_limit`.
    pub max_limit: u32,
    /// `gradient`: how often the limit is worked out.
    pub interval: Nanos,
    /// `gradient`: time between measurements of the minimum latency (min RTT), not below `interval`; default 60 s.
    pub min_rtt_interval: Nanos,
    /// `gradient`: random extra delay before each measurement, as a share of `min_rtt_interval`; default 15 %.
    pub jitter: Ratio,
    /// `gradient`: responses in a measurement of the minimum latency, at least 1; default 50. Envoy's `request_count`.
    pub min_rtt_samples: u32,
    /// `gradient`: which quantile of the answers counts.
    pub quantile: Ratio,
    /// `gradient`: how much slower than at best answers may be.
    pub buffer: Ratio,
    /// `aimd`: a response slower than this lowers the limit, as a failure does. `None`: only failures lower it.
    pub latency_threshold: Option<Nanos>,
    /// `aimd`: factor on the limit when it is lowered, between 0 and 1; default 0.9. `backoffRatio` of concurrency-limits.
    pub backoff_ratio: Ratio,
}

impl Default for ConcurrencyTable {
    /// Envoy's; `backoff_ratio` of Netflix's concurrency-limits.
    fn default() -> ConcurrencyTable {
        ConcurrencyTable {
            kind: ConcurrencyKind::Gradient,
            per: ConcurrencyPer::Pool,
            min_limit: 3,
            max_limit: 1000,
            interval: Nanos::from_millis(100),
            min_rtt_interval: Nanos::from_secs(60),
            jitter: Ratio(0.15),
            min_rtt_samples: 50,
            quantile: Ratio(0.5),
            buffer: Ratio(0.25),
            latency_threshold: None,
            backoff_ratio: Ratio(0.9),
        }
    }
}

/// How a limit is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConcurrencyKind {
    /// Envoy's.
    #[default]
    Gradient,
    /// Additive increase, multiplicative decrease.
    Aimd,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConcurrencyPer {
    /// One for all servers.
    #[default]
    Pool,
    /// One for each server.
    Server,
}

/// `[pools.admission]`
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdmissionTable {
    /// Success rate above which every request is admitted: above 0, at most 1; default 0.95. Envoy's `sr_threshold`.
    pub success_threshold: Ratio,
    /// 1 is linear, more turns away sooner.
    pub aggression: f64,
    /// How far one looks back.
    pub window: Nanos,
    /// Largest share of requests that is rejected: above 0, at most 1; default 0.8. Envoy's `max_rejection_probability`.
    pub max_rejection: Ratio,
    /// Request rate below which none is rejected; default 0/s. Envoy's `rps_threshold`.
    pub min_request_rate: Rate,
}

impl Default for AdmissionTable {
    /// Envoy's.
    fn default() -> AdmissionTable {
        AdmissionTable {
            success_threshold: Ratio(0.95),
            aggression: 1.0,
            window: Nanos::from_secs(30),
            max_rejection: Ratio(0.8),
            min_request_rate: Rate(0.0),
        }
    }
}

/// Why an attempt failed, as a config names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No connection.
    Connect,
    /// The connection broke before an answer began.
    Reset,
    /// The server answered with an error (5xx).
    Error,
    /// No answer within `per_try_timeout`.
    Timeout,
    /// The server had no room.
    Rejected,
}

impl Cause {
    fn failure(self) -> retry::Failure {
        match self {
            Cause::Connect => retry::Failure::Connect,
            Cause::Reset => retry::Failure::Reset,
            Cause::Error => retry::Failure::Error,
            Cause::Timeout => retry::Failure::Timeout,
            Cause::Rejected => retry::Failure::Rejected,
        }
    }
}

/// `[pools.hedge]`
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HedgeTable {
    /// `"50ms"`, or `"p95"` for what 95 % of the answers took lately.
    pub after: HedgeAfter,
    /// Hedges per request, over ten seconds.
    pub budget: Ratio,
    /// Tied requests: the copy that begins first calls the other off. That takes servers that know of it: the simulator's do.
    pub tied: bool,
}

impl Default for HedgeTable {
    fn default() -> HedgeTable {
        HedgeTable { after: HedgeAfter(hedge::After::Percentile(0.95)), budget: Ratio(0.1), tied: false }
    }
}

/// How long a first attempt is given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HedgeAfter(pub hedge::After);

impl JsonSchema for HedgeAfter {
    fn schema_name() -> Cow<'static, str> {
        "HedgeAfter".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let percentile = json_schema!({ "type": "string", "pattern": "^p[0-9]+(\\.[0-9]+)?$", "examples": ["p95"] });
        let forms = [generator.subschema_for::<Nanos>(), percentile];
        json_schema!({ "description": "A duration, or a percentile of late latencies.", "anyOf": forms })
    }
}

impl Serialize for HedgeAfter {
    /// As a file says it.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            hedge::After::Fixed(delay) => delay.serialize(to),
            hedge::After::Percentile(share) => to.serialize_str(&format!("p{}", share * 100.0)),
        }
    }
}

impl<'de> Deserialize<'de> for HedgeAfter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<HedgeAfter, D::Error> {
        struct AfterVisitor;
        impl Visitor<'_> for AfterVisitor {
            type Value = HedgeAfter;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"50ms\", or a percentile such as \"p95\" or \"p99.9\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<HedgeAfter, E> {
                let Some(percent) = text.strip_prefix('p') else {
                    return text.parse().map(|delay| HedgeAfter(hedge::After::Fixed(delay))).map_err(E::custom);
                };
                match percent.parse::<f64>() {
                    Ok(percent) if percent > 0.0 && percent < 100.0 => {
                        Ok(HedgeAfter(hedge::After::Percentile(percent / 100.0)))
                    }
                    _ => Err(E::custom(format!("`{text}` is not a percentile: write \"p95\" or \"p99.9\""))),
                }
            }
        }
        from.deserialize_str(AfterVisitor)
    }
}

/// `[pools.sticky]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StickyTable {
    /// Name of the cookie.
    #[schemars(with = "String")]
    pub cookie: Spanned<String>,
    /// How long browsers keep it; for the session unless given.
    #[schemars(with = "Option<Nanos>")]
    pub max_age: Option<Spanned<Nanos>>,
    /// What makes the cookie's values hard to guess; the same on all balancers.
    pub secret: Option<String>,
}

impl Default for StickyTable {
    fn default() -> StickyTable {
        StickyTable { cookie: Spanned::new(0..0, "evenkeel".to_owned()), max_age: None, secret: None }
    }
}

/// `subset = { size = 20, kind = "random" }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubsetTable {
    /// How many servers each balancer uses; all where there are fewer.
    #[schemars(with = "u32")]
    pub size: Spanned<u32>,
    /// `"random"` (each by lot), `"deterministic"` (pieces of a shuffle that all share) or `"aperture"` (an arc of a ring).
    #[serde(default)]
    pub kind: SubsetKind,
}

/// Which servers a balancer uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubsetKind {
    /// By lot (gRPC A68).
    #[default]
    Random,
    /// Pieces of shuffles that all share (Site Reliability Engineering).
    Deterministic,
    /// Arcs of a ring, with weights at the edges (Finagle).
    Aperture,
}

/// `[pools.priorities]`
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrioritiesTable {
    /// A level can do so many times its healthy share: with 1.4 it is whole until fewer than 71.4 % are healthy.
    pub overprovisioning: f64,
}

impl Default for PrioritiesTable {
    /// Envoy's.
    fn default() -> PrioritiesTable {
        PrioritiesTable { overprovisioning: 1.4 }
    }
}

/// `[pools.zones]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZonesTable {
    /// `"residual"` (the own zone as far as its servers are not busier than others then), `"local"` (the own zone while
    /// somebody is healthy there) or `"weights"`.
    pub prefer: Prefer,
    /// Servers needed for zones to matter. `residual` counts those of the priority level (default 6), `local` the healthy ones in
    /// the zone (default 1).
    pub min_servers: Option<u32>,
    /// `weights = { a = 1, b = 2 }`: for `prefer = "weights"`; 1 where not given.
    #[schemars(with = "Option<BTreeMap<String, f64>>")]
    pub weights: Option<Spanned<BTreeMap<String, f64>>>,
    /// `traffic = { a = "50%", b = "50%" }`: what comes to the balancers of each zone. Evenly unless given; a scenario knows
    /// where its balancers are.
    #[schemars(with = "Option<BTreeMap<String, Ratio>>")]
    pub traffic: Option<Spanned<BTreeMap<String, Ratio>>>,
}

/// Which zone is preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Prefer {
    /// The own one as far as it can take it.
    #[default]
    Residual,
    /// The own one.
    Local,
    /// By weights.
    Weights,
}

/// Load reports that servers send by themselves (answers to health checks and probes carry one too).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportsTable {
    /// From one report to the next, to every balancer.
    pub interval: Option<Nanos>,
    /// Whether all servers report at the same moment, as a bulletin board does; default false: each has a phase of its own.
    #[serde(default)]
    pub synchronised: bool,
    /// Time to make, collect and distribute it, on top of the network.
    #[serde(default)]
    pub delay: Nanos,
    /// Each answer carries a report of the moment in which it left, for the balancer it goes to, as ORCA's header does.
    /// Unless this says, answers do where the strategy's protocol has them do so (`c3`).
    pub with_answers: Option<bool>,
    /// Which balancer is notified when a server becomes idle: `"one"`, chosen at random, or `"none"`. Default: as the strategy's
    /// protocol requires (`"one"` for `join_idle_queue`, else `"none"`).
    pub idle_notifications: Option<IdleNotice>,
}

/// Who hears of a server that has become idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdleNotice {
    /// One balancer, chosen at random.
    One,
    /// No balancer, whatever the strategy.
    None,
}

/// What answering a probe costs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbesTable {
    /// Work at speed 1: the answer is later by it, and a busy server's next request longer.
    pub work: Nanos,
}

/// Connections that outlive a request. Each client has one, and comes again by it until it is over or its server dies.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionsTable {
    /// Requests after which a connection is closed, at least 1. `None`: no limit.
    pub max_requests: Option<u32>,
    /// Age at which a connection is closed, above zero. `None`: no limit.
    pub max_lifetime: Option<Nanos>,
}

/// Servers come and go with the load, by the rule of Kubernetes' horizontal autoscaler: wanted = present × utilisation /
/// target, where that differs by more than a tenth.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutoscaleTable {
    /// Busy share of the servers that is aimed at.
    pub target: Ratio,
    /// Lowest number of servers, at least 1; default 1. The highest is the number of servers of the pool.
    pub min_servers: u32,
    /// Servers at the start of a run, from `min_servers` to all of the pool. `None`: `min_servers`.
    pub initial_servers: Option<u32>,
    /// How often it is looked.
    pub interval: Nanos,
    /// From the decision until a new server is there.
    pub delay: Nanos,
    /// After any change nobody is sent away for this long.
    pub cooldown: Nanos,
}

impl Default for AutoscaleTable {
    /// Kubernetes' interval and cooldown.
    fn default() -> AutoscaleTable {
        AutoscaleTable {
            target: Ratio(0.6),
            min_servers: 1,
            initial_servers: None,
            interval: Nanos::from_secs(15),
            delay: Nanos::from_secs(30),
            cooldown: Nanos::from_secs(300),
        }
    }
}

/// A call to a second tier.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendTable {
    /// The pool that is called.
    #[schemars(with = "String")]
    pub pool: Spanned<String>,
    /// Work of a call.
    #[schemars(with = "Distribution")]
    pub service: Spanned<Distribution>,
    /// Whether a hit in the caller's cache saves the call.
    #[serde(default)]
    pub on_miss: bool,
}

/// `[[routes]]`: a path prefix, a host if need be, and the pool that serves them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// `"/pay"` takes `/pay` and `/pay/now`; the longest prefix wins.
    #[schemars(with = "String")]
    pub prefix: Spanned<String>,
    /// `"example.org"` or `"*.example.org"`; any unless given. The most telling host wins before any prefix.
    #[schemars(with = "Option<String>")]
    pub host: Option<Spanned<String>>,
    /// The pool.
    #[schemars(with = "String")]
    pub pool: Spanned<String>,
}

/// A server.
#[derive(Clone, Debug)]
pub struct Server {
    /// Unique in its pool.
    pub name: String,
    /// Work done per unit of time.
    pub speed: f64,
    /// First come first served: requests served at once, each at full speed. Processor sharing: the most that share.
    pub concurrency: u32,
    /// Requests that may wait; more are turned away.
    pub queue_limit: Option<u32>,
    /// How it divides itself.
    pub discipline: Discipline,
    /// What balancers are told of its strength.
    pub weight: u32,
    /// The most requests that a balancer may have in flight to it.
    pub max_in_flight: Option<u32>,
    /// Where it stands.
    pub zone: Option<String>,
    /// Its priority level, 0 first.
    pub priority: u32,
    /// Where the proxy finds it.
    pub address: Option<String>,
    /// What it remembers.
    pub cache: Option<CacheSpec>,
}

impl Server {
    /// One with nothing special: speed 1, one slot, first come first served.
    pub fn new(name: &str) -> Server {
        Server {
            name: name.to_owned(),
            speed: 1.0,
            concurrency: 1,
            queue_limit: None,
            discipline: Discipline::Fcfs,
            weight: 1,
            max_in_flight: None,
            zone: None,
            priority: 0,
            address: None,
            cache: None,
        }
    }

    /// Work it can do per unit of time.
    pub fn capacity(&self) -> f64 {
        match self.discipline {
            Discipline::Fcfs => self.speed * f64::from(self.concurrency),
            Discipline::Ps => self.speed,
        }
    }
}

/// How a server divides itself between its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Discipline {
    /// First come, first served.
    #[default]
    Fcfs,
    /// Processor sharing: all at once, each at an equal share of the speed.
    Ps,
}

/// A cache.
#[derive(Clone, Copy, Debug)]
pub struct CacheSpec {
    /// Entries.
    pub capacity: NonZeroUsize,
    /// Age at which an entry no longer counts.
    pub ttl: Option<Nanos>,
    /// What a hit costs, as a share of a miss.
    pub hit_cost: f64,
    /// Factor on the load reported to a probe for a request whose answer is cached, 0 to 1.
    pub reported_load: f64,
}

/// The largest weight of a server, as gRPC's.
pub const MOST_WEIGHT: u32 = 65_535;

/// The last priority level, as Envoy's.
pub const MOST_PRIORITY: u32 = 127;

/// Names of pools and servers: what can stand in a file name, a column and an expression.
pub fn check_name(name: &Spanned<String>, what: &str, problems: &mut Problems) {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | ':');
    let colon = name.get_ref().starts_with(':') || name.get_ref().ends_with(':');
    if name.get_ref().is_empty() || colon || !name.get_ref().chars().all(allowed) {
        let message = format!("`{}` cannot name a {what}", name.get_ref());
        problems
            .push(Problem::at(name.span(), message).help("use lower-case letters, digits, `-`, `_`, and `:` inside"));
    }
}

impl PoolTable {
    /// The servers, one by one, with their names.
    pub fn servers(&self, problems: &mut Problems) -> Vec<Server> {
        PoolTable::servers_of(self.name.get_ref(), &self.servers, problems)
    }

    /// The servers of a pool of which only these tables are known.
    pub fn servers_of(pool: &str, tables: &Spanned<Vec<Spanned<ServerTable>>>, problems: &mut Problems) -> Vec<Server> {
        let mut servers: Vec<Server> = Vec::new();
        let mut names = BTreeSet::new();
        let mut weight = 0_u64;
        for table in tables.get_ref() {
            let t = table.get_ref();
            check_name(&t.name, "server", problems);
            if let Some(zone) = &t.zone {
                check_name(zone, "zone", problems);
            }
            let mut positive = |ok: bool, span: std::ops::Range<usize>, what: &str| {
                if !ok {
                    problems.push(Problem::at(span, format!("`{what}` must be above zero")));
                }
            };
            positive(*t.count.get_ref() > 0, t.count.span(), "count");
            let speed = *t.speed.get_ref();
            positive(speed > 0.0 && speed.is_finite(), t.speed.span(), "speed");
            if let Some(concurrency) = &t.concurrency {
                positive(*concurrency.get_ref() > 0, concurrency.span(), "concurrency");
            }
            if let Some(limit) = &t.max_in_flight {
                positive(*limit.get_ref() > 0, limit.span(), "max_in_flight");
            }
            let cache = t.cache.as_ref().and_then(|cache| {
                let c = cache.get_ref();
                let capacity = NonZeroUsize::new(c.capacity as usize);
                positive(capacity.is_some(), cache.span(), "capacity");
                let (hit_cost, reported_load) = (c.hit_cost.0, c.reported_load.0);
                Some(CacheSpec { capacity: capacity?, ttl: c.ttl, hit_cost, reported_load })
            });
            if *t.count.get_ref() > 100_000 {
                problems.push(Problem::at(t.count.span(), "`count` is above 100000, which no run here can hold"));
                continue;
            }
            weight += u64::from(*t.weight.get_ref());
            if *t.weight.get_ref() > MOST_WEIGHT {
                let message = format!("`weight` is {}: at most {MOST_WEIGHT} is allowed", t.weight.get_ref());
                problems.push(Problem::at(t.weight.span(), message).help("only the proportions matter"));
            }
            let message = format!("`priority` must be from 0 to {MOST_PRIORITY}");
            require(*t.priority.get_ref() <= MOST_PRIORITY, t.priority.span(), message, problems);
            let discipline = t.discipline;
            let unlimited = if discipline == Discipline::Ps { u32::MAX } else { 1 };
            for i in 1..=*t.count.get_ref() {
                let stem = t.name.get_ref();
                let name = if *t.count.get_ref() == 1 { stem.clone() } else { format!("{stem}-{i}") };
                if !names.insert(name.clone()) {
                    problems
                        .push(Problem::at(t.name.span(), format!("there is already a server `{name}` in this pool")));
                    break;
                }
                servers.push(Server {
                    name,
                    speed,
                    concurrency: t.concurrency.as_ref().map_or(unlimited, |c| *c.get_ref()),
                    queue_limit: t.queue_limit,
                    discipline,
                    weight: *t.weight.get_ref(),
                    max_in_flight: t.max_in_flight.as_ref().map(|limit| *limit.get_ref()),
                    zone: t.zone.as_ref().map(|zone| zone.get_ref().clone()),
                    priority: *t.priority.get_ref(),
                    address: t.address.as_ref().map(|address| address.get_ref().clone()),
                    cache,
                });
            }
        }
        if servers.is_empty() {
            problems.push(Problem::at(tables.span(), "this pool has no servers"));
        } else if weight == 0 {
            let first = tables.get_ref().iter().find(|table| table.get_ref().weight.span().end > 0);
            let span = first.map_or(tables.span(), |table| table.get_ref().weight.span());
            let message = format!("every server of pool `{pool}` has a weight of zero: nothing could ever be sent");
            problems.push(
                Problem::at(span, message).help("a weight of zero drains a server; give at least one a weight of 1"),
            );
        }
        servers
    }

    /// What stands around a pick in this pool.
    pub fn policy(&self, problems: &mut Problems) -> policy::Rules {
        policy::Rules {
            health: self.health.as_ref().map(|table| health(table, problems)),
            outliers: self.outliers.as_ref().map(|table| outliers(table, problems)),
            slow_start: self.slow_start.as_ref().map(|table| slow_start(table, problems)),
            panic: self.panic.as_ref().map(|share| {
                let within = share.get_ref().0 > 0.0 && share.get_ref().0 <= 1.0;
                require(within, share.span(), "`panic` must be above zero and at most 100 %", problems)
                    .help("leave it out for none");
                share.get_ref().0
            }),
            retries: self.retries.as_ref().map(|table| retries(table, problems)),
            hedge: self.hedge.as_ref().map(|table| {
                let HedgeTable { after, budget, tied } = *table.get_ref();
                require(budget.0 <= 1.0, table.span(), "`budget` of hedges must be at most 100 %", problems);
                hedge::Rules { after: after.0, budget: budget.0, tied }
            }),
            queue: self.queue.as_ref().map(|table| self.waiting(table, problems)),
            sticky: self.sticky.as_ref().map(|table| sticky(table, problems)),
            subset: self.subset.as_ref().map(|table| {
                let SubsetTable { size, kind } = table.get_ref();
                require(*size.get_ref() > 0, size.span(), "`size` of a subset must be above zero", problems);
                let kind = match kind {
                    SubsetKind::Random => subset::Kind::Random,
                    SubsetKind::Deterministic => subset::Kind::Deterministic,
                    SubsetKind::Aperture => subset::Kind::Aperture,
                };
                subset::Rules { size: *size.get_ref(), kind }
            }),
            priorities: self.levels(problems),
            zones: self.zones.as_ref().map(|table| self.preferred(table, problems)),
            concurrency: self.concurrency.as_ref().map(|table| concurrency(table, problems)),
            admission: self.admission.as_ref().map(|table| {
                let AdmissionTable { success_threshold, aggression, window, max_rejection, min_request_rate } =
                    *table.get_ref();
                let share = |ratio: Ratio| ratio.0 > 0.0 && ratio.0 <= 1.0;
                let message = "`success_threshold` and `max_rejection` must be above zero and at most 100 %";
                require(share(success_threshold) && share(max_rejection), table.span(), message, problems);
                let sound = aggression > 0.0 && aggression.is_finite();
                require(sound, table.span(), "`aggression` must be above zero", problems);
                require(window >= Nanos::from_millis(30), table.span(), "`window` must be at least 30ms", problems);
                admission::Rules {
                    success_threshold: success_threshold.0,
                    aggression,
                    window,
                    max_rejection: max_rejection.0,
                    min_request_rate: min_request_rate.0,
                }
            }),
        }
    }

    /// What is sound and does not do what it seems to: retries and hedges where there is no second server for them.
    pub fn warn(&self, weights: impl Iterator<Item = u32>, rules: &policy::Rules, warnings: &mut Problems) {
        let Some(message) = lonely(self.name.get_ref(), weights, rules) else { return };
        let span = self.retries.as_ref().map(Spanned::span).or(self.hedge.as_ref().map(Spanned::span));
        warnings.push(Problem { span, message, help: Some(LONELY_HELP.to_owned()) });
    }

    /// Levels matter where a server has one, or a table speaks of them.
    fn levels(&self, problems: &mut Problems) -> Option<priority::Rules> {
        let some = self.servers.get_ref().iter().any(|server| *server.get_ref().priority.get_ref() > 0);
        let Some(table) = &self.priorities else { return some.then(priority::Rules::default) };
        let PrioritiesTable { overprovisioning } = *table.get_ref();
        let sound = overprovisioning >= 1.0 && overprovisioning.is_finite();
        require(sound, table.span(), "`overprovisioning` must be at least 1", problems)
            .help("1.4 is Envoy's; a large number makes a level whole while one of its servers is healthy");
        require(some, table.span(), "all servers have priority 0: nobody stands in for them", problems)
            .help("give those that stand in `priority = 1`");
        Some(priority::Rules { overprovisioning })
    }

    fn preferred(&self, table: &Spanned<ZonesTable>, problems: &mut Problems) -> zone::Rules {
        let t = table.get_ref();
        let named = |name: &str| {
            let mut servers = self.servers.get_ref().iter();
            servers.any(|server| server.get_ref().zone.as_ref().is_some_and(|zone| zone.get_ref() == name))
        };
        let any = self.servers.get_ref().iter().any(|server| server.get_ref().zone.is_some());
        require(any, table.span(), "no server of this pool has a `zone`", problems);
        for (name, span) in t.weights.iter().flat_map(|w| w.get_ref().keys().map(|name| (name, w.span()))) {
            require(named(name), span, format!("no server stands in zone `{name}`"), problems);
        }
        let weights = t.weights.as_ref().map_or_else(Vec::new, |weights| {
            let sound = weights.get_ref().values().all(|&weight| weight >= 0.0 && weight.is_finite());
            require(sound, weights.span(), "`weights` must not be negative", problems);
            require(t.prefer == Prefer::Weights, weights.span(), "`weights` are for `prefer = \"weights\"`", problems);
            weights.get_ref().iter().map(|(name, &weight)| (name.clone(), weight)).collect()
        });
        if t.prefer == Prefer::Weights {
            require(t.weights.is_some(), table.span(), "`prefer = \"weights\"` needs `weights`", problems)
                .help("weights = { a = 2, b = 1 }");
        }
        let traffic = t.traffic.as_ref().map_or_else(Vec::new, |traffic| {
            let sum: f64 = traffic.get_ref().values().map(|share| share.0).sum();
            require((sum - 1.0).abs() < 0.01, traffic.span(), "the shares of `traffic` must add up to 100 %", problems);
            traffic.get_ref().iter().map(|(name, share)| (name.clone(), share.0)).collect()
        });
        let (prefer, min_servers) = match t.prefer {
            Prefer::Residual => (zone::Prefer::Residual, 6),
            Prefer::Local => (zone::Prefer::Local, 1),
            Prefer::Weights => (zone::Prefer::Weights(weights), 0),
        };
        zone::Rules { prefer, min_servers: t.min_servers.unwrap_or(min_servers), traffic }
    }

    fn waiting(&self, table: &Spanned<QueueTable>, problems: &mut Problems) -> queue::Rules {
        let QueueTable { limit, timeout } = *table.get_ref();
        let sound = limit > 0 && timeout > Nanos::ZERO;
        require(sound, table.span(), "`limit` and `timeout` of a queue must be above zero", problems)
            .help("leave the queue out and requests are turned away at once");
        let mut servers = self.servers.get_ref().iter();
        let found = self.concurrency.is_some();
        if sound && !found && servers.any(|server| server.get_ref().max_in_flight.is_none()) {
            problems.push(
                Problem::at(table.span(), "nobody would ever wait: a server without `max_in_flight` always has room")
                    .help("give every server of the pool a `max_in_flight`"),
            );
        }
        queue::Rules { limit, timeout }
    }

    /// How the proxy checks servers; a connection where nothing else is said.
    pub fn check(&self, problems: &mut Problems) -> Check {
        let Some(table) = self.health.as_ref().map(Spanned::get_ref) else { return Check::Tcp };
        if let Some(tcp) = table.tcp.as_ref().filter(|tcp| *tcp.get_ref()) {
            let other = table.path.as_ref().or(table.status.as_ref()).is_some();
            require(!other, tcp.span(), "a check is either `tcp` or has a `path`", problems);
            return Check::Tcp;
        }
        let statuses = |text: &str| {
            let number = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
            let range = |part: &str| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some((first, last))
            };
            text.split(',').map(range).collect::<Option<Vec<_>>>()
        };
        let status = match &table.status {
            None => vec![(200, 399)],
            Some(text) => statuses(text.get_ref()).unwrap_or_else(|| {
                let message = format!("`{}` are no statuses", text.get_ref());
                problems.push(Problem::at(text.span(), message).help("write \"200-399\" or \"200,204\""));
                Vec::new()
            }),
        };
        match (&table.path, &table.status) {
            (Some(path), _) => {
                let sound = path.get_ref().starts_with('/') && path.get_ref().bytes().all(|b| b.is_ascii_graphic());
                require(sound, path.span(), "a `path` begins with `/` and has neither blanks nor umlauts", problems);
                Check::Http { path: path.get_ref().clone(), status }
            }
            (None, Some(text)) => {
                problems.push(
                    Problem::at(text.span(), "`status` of what? There is no `path`").help("add `path = \"/health\"`"),
                );
                Check::Tcp
            }
            (None, None) => Check::Tcp,
        }
    }
}

/// The way out of [`lonely`].
pub const LONELY_HELP: &str = "add a server, or leave them out: an attempt goes to a server that has not been tried";

/// Says so where a pool whose servers have these weights has retries or hedges and never a second server for them.
pub fn lonely(pool: &str, weights: impl Iterator<Item = u32>, rules: &policy::Rules) -> Option<String> {
    let able = weights.filter(|&weight| weight > 0).count();
    let size = rules.subset.as_ref().map_or(usize::MAX, |subset| subset.size as usize);
    let what = match (rules.retries.is_some(), rules.hedge.is_some()) {
        (true, true) => "`retries` and `hedge`",
        (true, false) => "`retries`",
        (false, true) => "`hedge`",
        (false, false) => return None,
    };
    let why = match (able, size) {
        (0 | 1, _) => "has one server that can be picked",
        (_, 1) => "gives each balancer a subset of one server",
        _ => return None,
    };
    Some(format!("{what} do nothing: pool `{pool}` {why}, and each further attempt needs another one"))
}

/// A problem just noted, if there was one.
struct Noted<'a>(Option<&'a mut Problem>);

impl Noted<'_> {
    /// With a way out.
    fn help(self, help: &str) {
        if let Some(problem) = self.0 {
            problem.help = Some(help.to_owned());
        }
    }
}

/// Notes a problem unless `ok`.
fn require(ok: bool, span: Range<usize>, message: impl Into<String>, problems: &mut Problems) -> Noted<'_> {
    if ok {
        return Noted(None);
    }
    problems.push(Problem::at(span, message));
    Noted(problems.last_mut())
}

/// The place of a key, or of its table where the key is not written.
fn place<T>(key: &Spanned<T>, table: Range<usize>) -> Range<usize> {
    if key.span().end > 0 { key.span() } else { table }
}

fn health(table: &Spanned<HealthTable>, problems: &mut Problems) -> policy::health::Rules {
    let HealthTable { interval, timeout, rise, fall, jitter, initial, .. } = *table.get_ref();
    let sound = interval >= Nanos::from_millis(1) && timeout > Nanos::ZERO && rise > 0 && fall > 0;
    let message = "`interval` must be at least 1ms, and `timeout`, `rise` and `fall` above zero";
    require(sound, table.span(), message, problems);
    require(jitter.0 < 1.0, table.span(), "`jitter` must be below 100 %", problems);
    policy::health::Rules { interval, timeout, rise, fall, jitter: jitter.0, initial_up: initial == Initial::Up }
}

fn outliers(table: &Spanned<OutliersTable>, problems: &mut Problems) -> outlier::Rules {
    let t = table.get_ref();
    let (interval, base_ejection_time, max_ejection_time) =
        (*t.interval.get_ref(), *t.base_ejection_time.get_ref(), *t.max_ejection_time.get_ref());
    let at = |key: &Spanned<Nanos>| place(key, table.span());
    require(interval >= Nanos::from_millis(1), at(&t.interval), "`interval` must be at least 1ms", problems);
    require(
        base_ejection_time > Nanos::ZERO,
        at(&t.base_ejection_time),
        "`base_ejection_time` must be above zero",
        problems,
    );
    require(
        max_ejection_time >= base_ejection_time,
        at(&t.max_ejection_time),
        format!("`max_ejection_time` is shorter than `base_ejection_time`, {base_ejection_time}"),
        problems,
    )
    .help("an ejection lasts `base_ejection_time` times how often the server was ejected, up to `max_ejection_time`");
    let max_ejected = t.max_ejected.get_ref().0;
    require(
        max_ejected <= 1.0,
        place(&t.max_ejected, table.span()),
        "`max_ejected` is a share of the servers: at most 100 %",
        problems,
    );
    let success_rate = t.success_rate.as_ref().map(|table| {
        let SuccessRateTable { deviations, min_servers, min_requests } = *table.get_ref();
        let sound = deviations > 0.0 && deviations.is_finite();
        require(sound, table.span(), "`deviations` must be above zero", problems);
        require(min_servers > 1, table.span(), "`min_servers` must be at least 2", problems)
            .help("one server has nobody to be compared with");
        outlier::SuccessRate { deviations, min_servers, min_requests: u64::from(min_requests) }
    });
    let failure_percentage = t.failure_percentage.as_ref().map(|table| {
        let FailurePercentageTable { threshold, min_servers, min_requests } = *table.get_ref();
        let sound = threshold.0 > 0.0 && threshold.0 <= 1.0;
        require(sound, table.span(), "`threshold` must be above zero and at most 100 %", problems);
        let min_requests = u64::from(min_requests);
        outlier::FailurePercentage { threshold: threshold.0, min_servers, min_requests }
    });
    let latency = t.latency.as_ref().map(|table| {
        let LatencyTable { factor, min_requests } = *table.get_ref();
        require(factor > 1.0 && factor.is_finite(), table.span(), "`factor` must be above 1", problems);
        outlier::Latency { factor, min_requests: u64::from(min_requests) }
    });
    let consecutive_failures = (t.consecutive_failures > 0).then_some(t.consecutive_failures);
    let any =
        consecutive_failures.is_some() || success_rate.is_some() || failure_percentage.is_some() || latency.is_some();
    require(any, table.span(), "nothing here would ever eject a server", problems)
        .help("give `consecutive_failures`, `success_rate`, `failure_percentage` or `latency`, or leave the table out");
    let max_ejected_rule = match t.max_ejected_rule {
        CapTable::OneAlways => outlier::Cap::OneAlways,
        CapTable::Envoy => outlier::Cap::Envoy,
        CapTable::Grpc => outlier::Cap::Grpc,
    };
    outlier::Rules {
        consecutive_failures,
        success_rate,
        failure_percentage,
        latency,
        interval,
        base_ejection_time,
        max_ejection_time,
        max_ejected,
        max_ejected_rule,
    }
}

fn slow_start(table: &Spanned<SlowStartTable>, problems: &mut Problems) -> slow_start::Rules {
    let SlowStartTable { window, aggression, min_share } = *table.get_ref();
    require(window > Nanos::ZERO, table.span(), "the window of a slow start must be above zero", problems)
        .help("leave `slow_start` out for none");
    require(aggression > 0.0 && aggression.is_finite(), table.span(), "`aggression` must be above zero", problems);
    let share = min_share.0 > 0.0 && min_share.0 <= 1.0;
    require(share, table.span(), "`min_share` must be above zero and at most 100 %", problems)
        .help("a server without any requests never gets warm");
    slow_start::Rules { window, aggression, min_share: min_share.0 }
}

fn retries(table: &Spanned<RetriesTable>, problems: &mut Problems) -> retry::Rules {
    let t = table.get_ref();
    let max_retries = *t.max_retries.get_ref();
    let sound = (1..=100).contains(&max_retries);
    require(sound, place(&t.max_retries, table.span()), "`max_retries` must be from 1 to 100", problems)
        .help("they are attempts beyond the first; leave the table out for none");
    let mut on = [false; retry::FAILURES.len()];
    t.on.get_ref().iter().for_each(|cause| on[cause.failure() as usize] = true);
    let any = on.contains(&true);
    require(any, place(&t.on, table.span()), "`on` is empty: nothing would ever be tried again", problems);
    let (backoff, max_backoff) = (t.backoff, *t.max_backoff.get_ref());
    let message = format!("`max_backoff` is shorter than `backoff`, {backoff}");
    require(max_backoff >= backoff, place(&t.max_backoff, table.span()), message, problems);
    if let Some(timeout) = &t.per_try_timeout {
        require(*timeout.get_ref() > Nanos::ZERO, timeout.span(), "`per_try_timeout` must be above zero", problems);
        let used = on[retry::Failure::Timeout as usize];
        let message =
            "after `per_try_timeout` an attempt has failed, and `on` has no \"timeout\": it would only give up sooner";
        require(used, timeout.span(), message, problems).help("add \"timeout\" to `on`");
    }
    let tokens = t.tokens.as_ref().map(|table| {
        let TokensTable { max_tokens, ratio } = *table.get_ref();
        let sound = max_tokens > 0.0 && max_tokens <= 1e6 && ratio > 0.0 && ratio <= max_tokens;
        require(
            sound,
            table.span(),
            "`max_tokens` and `ratio` of the tokens must be above zero, `ratio` the smaller",
            problems,
        );
        retry::Tokens { max_tokens, ratio }
    });
    retry::Rules {
        max_retries,
        on,
        budget: t.budget.get_ref().0,
        min_per_second: t.min_per_second.0,
        tokens,
        backoff,
        max_backoff,
        per_try_timeout: t.per_try_timeout.as_ref().map(|timeout| *timeout.get_ref()),
    }
}

fn concurrency(table: &Spanned<ConcurrencyTable>, problems: &mut Problems) -> concurrency::Rules {
    let t = *table.get_ref();
    let sound = t.min_limit > 0 && t.min_limit <= t.max_limit;
    require(sound, table.span(), "`min_limit` must be above zero and at most `max_limit`", problems);
    let sound = t.interval >= Nanos::from_millis(1) && t.min_rtt_interval >= t.interval && t.min_rtt_samples > 0;
    let message = "`interval` must be at least 1ms and at most `min_rtt_interval`, and `min_rtt_samples` above zero";
    require(sound, table.span(), message, problems);
    let sound = t.quantile.0 > 0.0 && t.quantile.0 <= 1.0;
    require(sound, table.span(), "`quantile` must be above zero and at most 100 %", problems);
    let sound = t.backoff_ratio.0 > 0.0 && t.backoff_ratio.0 < 1.0;
    require(sound, table.span(), "`backoff_ratio` must lie between 0 and 100 %", problems);
    let kind = match t.kind {
        ConcurrencyKind::Gradient => concurrency::Kind::Gradient(concurrency::Gradient {
            interval: t.interval,
            min_rtt_interval: t.min_rtt_interval,
            jitter: t.jitter.0,
            min_rtt_samples: t.min_rtt_samples,
            quantile: t.quantile.0,
            buffer: t.buffer.0,
        }),
        ConcurrencyKind::Aimd => concurrency::Kind::Aimd(concurrency::Aimd {
            latency_threshold: t.latency_threshold,
            backoff_ratio: t.backoff_ratio.0,
        }),
    };
    let per = match t.per {
        ConcurrencyPer::Pool => concurrency::Per::Pool,
        ConcurrencyPer::Server => concurrency::Per::Server,
    };
    concurrency::Rules { kind, per, min_limit: t.min_limit, max_limit: t.max_limit }
}

fn sticky(table: &Spanned<StickyTable>, problems: &mut Problems) -> sticky::Rules {
    let StickyTable { cookie, max_age, secret } = table.get_ref();
    let name = cookie.get_ref();
    // RFC 6265: a cookie's name is a token.
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let sound = !name.is_empty() && name.bytes().all(token);
    let message = format!("`{name}` cannot name a cookie");
    require(sound, place(cookie, table.span()), message, problems).help("use letters, digits, `-` and `_`");
    if let Some(age) = max_age {
        let sound = *age.get_ref() >= Nanos::from_secs(1);
        require(sound, age.span(), "`max_age` must be at least 1s: cookies count in seconds", problems);
    }
    sticky::Rules { cookie: name.clone(), max_age: max_age.as_ref().map(|age| *age.get_ref()), secret: secret.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Diagnostic, read};

    const SERVER: &str = "[[servers]]\nname = \"a\"\nmax_in_flight = 3\n";

    fn pool(keys: &str) -> (policy::Rules, Check, String) {
        let source = format!("name = \"web\"\n{keys}\n{SERVER}");
        let table: PoolTable = match read(&source) {
            Ok(table) => table,
            Err(problems) => {
                let file = "x".to_owned();
                return (policy::Rules::default(), Check::Tcp, Diagnostic { file, source, problems }.plain());
            }
        };
        let mut problems = Vec::new();
        let (rules, check) = (table.policy(&mut problems), table.check(&mut problems));
        assert!(problems.iter().all(|problem| problem.span.as_ref().is_some_and(|span| !span.is_empty())));
        (rules, check, Diagnostic { file: "x".to_owned(), source, problems }.plain())
    }

    #[test]
    fn nothing_written_is_nothing_done() {
        let (rules, check, problems) = pool("");
        assert_eq!((rules, check, problems.as_str()), (policy::Rules::default(), Check::Tcp, ""));
    }

    #[test]
    fn every_table_has_defaults_that_are_sound() {
        let (rules, check, problems) = pool(
            "health = {}\noutliers = {}\nslow_start = \"30s\"\npanic = \"50%\"\nqueue = {}\nretries = {}\nhedge = {}\nsticky = {}",
        );
        assert_eq!(problems, "");
        assert_eq!(check, Check::Tcp);
        let retries = rules.retries.unwrap();
        assert_eq!(retries.on, [true, true, false, false, false]);
        assert_eq!((retries.max_retries, retries.budget, retries.min_per_second), (1, 0.2, 3.0));
        assert_eq!(retries.max_backoff, Nanos::from_millis(250));
        let outliers = rules.outliers.unwrap();
        assert_eq!(
            (outliers.consecutive_failures, outliers.max_ejected, outliers.base_ejection_time),
            (Some(5), 0.5, Nanos::from_secs(30))
        );
        assert_eq!(rules.panic, Some(0.5));
        let slow = slow_start::Rules { window: Nanos::from_secs(30), aggression: 1.0, min_share: 0.1 };
        assert_eq!(rules.slow_start, Some(slow));
        assert_eq!(rules.queue, Some(queue::Rules { limit: 100, timeout: Nanos::from_secs(1) }));
        assert_eq!(rules.hedge, Some(hedge::Rules { after: hedge::After::Percentile(0.95), budget: 0.1, tied: false }));
        assert_eq!(rules.sticky.unwrap().cookie, "evenkeel");
        let health = rules.health.unwrap();
        assert_eq!((health.jitter, health.initial_up, health.fall), (0.0, true, 3));
    }

    #[test]
    fn every_key_arrives_where_it_is_meant() {
        let (rules, check, problems) = pool(
            "health = { jitter = \"10%\", initial = \"down\", path = \"/up\", status = \"200, 300-399\" }\n\
             outliers = { consecutive_failures = 0, latency = { factor = 2 }, success_rate = { deviations = 1 }, max_ejected = 0.3 }\n\
             slow_start = { window = \"1m\", aggression = 2, min_share = \"5%\" }\n\
             retries = { on = [\"error\", \"timeout\"], per_try_timeout = \"1s\", min_per_second = \"6/m\" }\n\
             hedge = { after = \"50ms\", budget = \"5%\" }",
        );
        assert_eq!(problems, "");
        assert_eq!(check, Check::Http { path: "/up".to_owned(), status: vec![(200, 200), (300, 399)] });
        let outliers = rules.outliers.unwrap();
        assert_eq!((outliers.consecutive_failures, outliers.max_ejected), (None, 0.3));
        assert_eq!(outliers.latency, Some(outlier::Latency { factor: 2.0, min_requests: 100 }));
        assert_eq!(outliers.success_rate.unwrap().deviations, 1.0);
        assert_eq!(rules.slow_start.unwrap().min_share, 0.05);
        let retries = rules.retries.unwrap();
        assert_eq!(retries.on, [false, false, true, true, false]);
        assert_eq!((retries.per_try_timeout, retries.min_per_second), (Some(Nanos::from_secs(1)), 0.1));
        assert_eq!(rules.hedge.unwrap().after, hedge::After::Fixed(Nanos::from_millis(50)));
        assert!(!rules.health.unwrap().initial_up);
        assert_eq!(pool("health = { tcp = true }").1, Check::Tcp);
    }

    #[test]
    fn what_narrows_picks_arrives_where_it_is_meant() {
        let read = |source: &str| {
            let table: PoolTable = read(source).unwrap();
            let mut problems = Vec::new();
            let rules = table.policy(&mut problems);
            let servers = table.servers(&mut problems);
            assert!(problems.is_empty(), "{problems:?}");
            (rules, servers)
        };
        let (rules, servers) = read(
            "name = \"web\"\nsubset = { size = 3, kind = \"aperture\" }\nzones = { traffic = { a = \"30%\", b = \"70%\" } }\n\
             [[servers]]\nname = \"a\"\nzone = \"a\"\n[[servers]]\nname = \"b\"\nzone = \"b\"\npriority = 1\n",
        );
        assert_eq!(rules.subset, Some(subset::Rules { size: 3, kind: subset::Kind::Aperture }));
        assert_eq!(rules.priorities, Some(priority::Rules { overprovisioning: 1.4 }), "a server has a level");
        let zones = rules.zones.unwrap();
        assert_eq!((zones.prefer, zones.min_servers), (zone::Prefer::Residual, 6));
        assert_eq!(zones.traffic, [("a".to_owned(), 0.3), ("b".to_owned(), 0.7)]);
        assert_eq!((servers[0].priority, servers[1].priority), (0, 1));
        let (rules, _) = read(
            "name = \"web\"\npriorities = { overprovisioning = 2 }\nzones = { prefer = \"weights\", weights = { a = 3 } }\n\
             [[servers]]\nname = \"a\"\nzone = \"a\"\npriority = 1\n",
        );
        assert_eq!(rules.zones.unwrap().prefer, zone::Prefer::Weights(vec![("a".to_owned(), 3.0)]));
        assert_eq!(rules.priorities.unwrap().overprovisioning, 2.0);
    }

    #[test]
    fn attempts_that_need_another_server_are_warned_of() {
        let rules = policy::Rules {
            hedge: Some(hedge::Rules { after: hedge::After::Percentile(0.95), budget: 0.1, tied: false }),
            ..policy::Rules::default()
        };
        let subset = Some(subset::Rules { size: 1, kind: subset::Kind::Random });
        let said = |weights: &[u32], rules: &policy::Rules| lonely("web", weights.iter().copied(), rules);
        assert!(said(&[1], &rules).unwrap().starts_with("`hedge` do nothing: pool `web` has one server"));
        assert!(said(&[1, 0], &rules).is_some(), "nothing is ever sent to a weight of zero");
        assert!(said(&[1, 1], &policy::Rules { subset, ..rules.clone() }).unwrap().contains("subset of one"));
        assert_eq!(said(&[1, 1], &rules), None);
        assert_eq!(said(&[1], &policy::Rules::default()), None);
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        for (keys, expected) in [
            ("panic = \"120%\"", "x:2:9: `panic`"),
            ("panic = 0", "x:2:9: `panic`"),
            ("slow_start = \"soon\"", "x:2:14: `soon` is not a duration"),
            ("slow_start = \"0s\"", "x:2:14: the window"),
            ("slow_start = { window = \"1s\", min_share = 0 }", "x:2:14: `min_share`"),
            ("slow_start = { windw = \"1s\" }", "x:2:16: unknown key `windw`"),
            ("health = { jitter = 1 }", "x:2:10: `jitter`"),
            ("health = { path = \"up\" }", "x:2:19: a `path`"),
            ("health = { path = \"/\", status = \"2xx\" }", "x:2:33: `2xx`"),
            ("health = { status = \"200\" }", "x:2:21: `status` of what?"),
            ("health = { tcp = true, path = \"/\" }", "x:2:18: a check is either"),
            ("outliers = { consecutive_failures = 0 }", "x:2:12: nothing here"),
            ("outliers = { base_ejection_time = \"9m\" }", "x:2:12: `max_ejection_time` is shorter"),
            ("outliers = { max_ejected = \"200%\" }", "x:2:28: `max_ejected`"),
            ("outliers = { max_ejected = 2 }", "x:2:28: `2` has no unit"),
            ("outliers = { latency = { factor = 1 } }", "x:2:24: `factor`"),
            ("outliers = { success_rate = { min_servers = 1 } }", "x:2:29: `min_servers`"),
            ("retries = { max_retries = 0 }", "x:2:27: `max_retries`"),
            ("retries = { on = [] }", "x:2:18: `on` is empty"),
            ("retries = { on = [\"connection\"] }", "x:2:19: unknown value `connection`"),
            ("retries = { per_try_timeout = \"1s\" }", "x:2:31: after `per_try_timeout`"),
            ("retries = { backoff = \"1s\" }", "x:2:11: `max_backoff`"),
            ("hedge = { after = \"p100\" }", "x:2:19: `p100` is not a percentile"),
            ("hedge = { budget = \"200%\" }", "x:2:9: `budget`"),
            ("sticky = { cookie = \"a b\" }", "x:2:21: `a b`"),
            ("sticky = { max_age = \"1ms\" }", "x:2:22: `max_age`"),
            ("queue = { limit = 0 }", "x:2:9: `limit` and `timeout`"),
            ("concurrency = { min_limit = 0 }", "x:2:15: `min_limit` must be above zero"),
            ("concurrency = { interval = \"2m\" }", "x:2:15: `interval` must be"),
            ("concurrency = { kind = \"aimd\", backoff_ratio = 1 }", "x:2:15: `backoff_ratio`"),
            ("concurrency = { per = \"zone\" }", "x:2:23: unknown value `zone`"),
            ("admission = { success_threshold = 0 }", "x:2:13: `success_threshold` and `max_rejection`"),
            ("admission = { window = \"1ms\" }", "x:2:13: `window`"),
            ("retries = { tokens = { max_tokens = 0 } }", "x:2:22: `max_tokens` and `ratio`"),
            ("outliers = { failure_percentage = { threshold = \"200%\" } }", "x:2:35: `threshold`"),
            ("outliers = { max_ejected_rule = \"haproxy\" }", "x:2:33: unknown value `haproxy`"),
            ("subset = { size = 0 }", "x:2:19: `size` of a subset"),
            ("subset = { size = 3, kind = \"some\" }", "x:2:29: unknown value `some`"),
            ("priorities = {}", "x:2:14: all servers have priority 0"),
            ("priorities = { overprovisioning = 0.5 }", "x:2:14: `overprovisioning`"),
            ("zones = {}", "x:2:9: no server of this pool has a `zone`"),
            ("zones = { weights = { a = 1 } }", "x:2:21: no server stands in zone `a`"),
            ("zones = { prefer = \"weights\" }", "x:2:9: `prefer = \"weights\"` needs"),
            ("zones = { traffic = { a = \"40%\" } }", "x:2:21: the shares of `traffic`"),
        ] {
            let (_, _, problems) = pool(keys);
            assert!(problems.contains(expected), "{keys}: {problems}");
        }
        let source = "name = \"web\"\nqueue = {}\n[[servers]]\nname = \"a\"\nmax_in_flight = 0\n[[servers]]\nname = \"b\"\nzone = \"A\"\n";
        let table: PoolTable = read(source).unwrap();
        let mut problems = Vec::new();
        table.policy(&mut problems);
        table.servers(&mut problems);
        let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(messages[0].contains("nobody would ever wait"), "{messages:?}");
        assert!(messages[1].contains("`max_in_flight` must be above zero"), "{messages:?}");
        assert!(messages[2].contains("`A` cannot name a zone"), "{messages:?}");
    }
}
