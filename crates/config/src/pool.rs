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
use super::law::Law;
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
    /// `[[pools.servers]]`.
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
    /// `connections = { requests = 1000 }`: clients hold a connection to a server each, and a pick is made for a connection
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
    /// The share of its load (requests, latency) that the server tells of when a strategy asks it for the sake of a request
    /// (`prequal_synchronous`) whose answer it has: what attracts requests to where they are cheap. All of it unless given.
    #[serde(default = "whole")]
    pub advertised: Ratio,
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
    /// Failures in a row that eject; 0 for never.
    pub consecutive: u32,
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
    /// How long a first ejection lasts; the second twice as long, and so on.
    #[schemars(with = "Nanos")]
    pub base: Spanned<Nanos>,
    /// How long any lasts at most.
    #[schemars(with = "Nanos")]
    pub longest: Spanned<Nanos>,
    /// Share of the servers that may be out at a time; one always may where there are several.
    #[schemars(with = "Ratio")]
    pub most: Spanned<Ratio>,
    /// How `most` is read: `"one_always"`; `"envoy"` (never more than the share: nobody of nine at 10 %); `"grpc"` (one more
    /// while the share is not reached).
    pub cap: CapTable,
}

/// How many servers `most` of them are.
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
    /// With fewer servers with enough requests nobody goes.
    pub minimum_servers: u32,
    /// Requests in an interval that say something of a server.
    pub minimum_requests: u32,
}

impl Default for FailurePercentageTable {
    /// Envoy's.
    fn default() -> FailurePercentageTable {
        FailurePercentageTable { threshold: Ratio(0.85), minimum_servers: 5, minimum_requests: 50 }
    }
}

impl Default for OutliersTable {
    /// Envoy's, but for `most`, which is 10 % there.
    fn default() -> OutliersTable {
        let secs = |secs| Spanned::new(0..0, Nanos::from_secs(secs));
        OutliersTable {
            consecutive: 5,
            success_rate: None,
            failure_percentage: None,
            latency: None,
            interval: secs(10),
            base: secs(30),
            longest: secs(300),
            most: Spanned::new(0..0, Ratio(0.5)),
            cap: CapTable::OneAlways,
        }
    }
}

/// Ejects whose success rate lies below the mean by so many standard deviations over the servers.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SuccessRateTable {
    /// How many.
    pub deviations: f64,
    /// Fewer servers with enough requests are not compared.
    pub minimum_servers: u32,
    /// Requests in an interval that say something of a server.
    pub minimum_requests: u32,
}

impl Default for SuccessRateTable {
    /// Envoy's.
    fn default() -> SuccessRateTable {
        SuccessRateTable { deviations: 1.9, minimum_servers: 5, minimum_requests: 100 }
    }
}

/// Ejects whose mean latency is above so many times the median of the servers'.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LatencyTable {
    /// How many times.
    pub factor: f64,
    /// Requests in an interval that say something of a server.
    pub minimum_requests: u32,
}

impl Default for LatencyTable {
    fn default() -> LatencyTable {
        LatencyTable { factor: 3.0, minimum_requests: 100 }
    }
}

/// `slow_start = "30s"` or `slow_start = { window = "30s", aggression = 1.0, least = "10%" }`
#[derive(Clone, Copy, Debug)]
pub struct SlowStartTable {
    /// Until a server has its full share.
    pub window: Nanos,
    /// Shape: 1 is linear, more is steeper at the start.
    pub aggression: f64,
    /// The share it has from the start.
    pub least: Ratio,
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
    /// The share it has from the start.
    #[serde(default = "tenth")]
    least: Ratio,
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
                f.write_str("a duration such as \"30s\", or { window = \"30s\", aggression = 1.0, least = \"10%\" }")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SlowStartTable, E> {
                let window = text.parse().map_err(E::custom)?;
                Ok(SlowStartTable { window, aggression: linear(), least: tenth() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SlowStartTable, A::Error> {
                let SlowStartFull { window, aggression, least } =
                    SlowStartFull::deserialize(MapAccessDeserializer::new(map))?;
                Ok(SlowStartTable { window, aggression, least })
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
    /// Attempts beyond the first.
    #[schemars(with = "u32")]
    pub attempts: Spanned<u32>,
    /// Failures after which there is another: `"connect"`, `"reset"`, `"error"`, `"timeout"`, `"rejected"`.
    #[schemars(with = "Vec<Cause>")]
    pub on: Spanned<Vec<Cause>>,
    /// Retries per request, over ten seconds.
    #[schemars(with = "Ratio")]
    pub budget: Spanned<Ratio>,
    /// Retries per second that are allowed besides.
    pub floor: Rate,
    /// `tokens = { most = 10, ratio = 0.1 }`: a token bucket in place of `budget` and `floor`, as gRPC's.
    #[schemars(with = "Option<TokensTable>")]
    pub tokens: Option<Spanned<TokensTable>>,
    /// The longest pause before the first retry; it doubles with each.
    pub backoff: Nanos,
    /// Where the doubling ends.
    #[schemars(with = "Nanos")]
    pub longest_backoff: Spanned<Nanos>,
    /// An attempt without an answer for this long has failed (cause `"timeout"`).
    #[schemars(with = "Option<Nanos>")]
    pub per_try_timeout: Option<Spanned<Nanos>>,
}

impl Default for RetriesTable {
    /// One, after what cannot have been done or begun to be answered; Finagle's share, Envoy's pauses.
    fn default() -> RetriesTable {
        RetriesTable {
            attempts: Spanned::new(0..0, 1),
            on: Spanned::new(0..0, vec![Cause::Connect, Cause::Reset]),
            budget: Spanned::new(0..0, Ratio(0.2)),
            floor: Rate(3.0),
            tokens: None,
            backoff: Nanos::from_millis(25),
            longest_backoff: Spanned::new(0..0, Nanos::from_millis(250)),
            per_try_timeout: None,
        }
    }
}

/// Every failed attempt costs a token, every good answer brings `ratio` of one; retries while more than half are left.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokensTable {
    /// Tokens there are at first, and at most.
    pub most: f64,
    /// What a good answer brings.
    pub ratio: f64,
}

impl Default for TokensTable {
    /// Those of gRPC's example.
    fn default() -> TokensTable {
        TokensTable { most: 10.0, ratio: 0.1 }
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
    /// The limit is never below; `gradient` measures with it what answers take at best.
    pub minimum: u32,
    /// It is never above.
    pub most: u32,
    /// `gradient`: how often the limit is worked out.
    pub interval: Nanos,
    /// `gradient`: how often it is measured what answers take at best.
    pub recalculate: Nanos,
    /// `gradient`: each such wait is longer by up to this share.
    pub jitter: Ratio,
    /// `gradient`: answers that make a measurement.
    pub samples: u32,
    /// `gradient`: which quantile of the answers counts.
    pub quantile: Ratio,
    /// `gradient`: how much slower than at best answers may be.
    pub buffer: Ratio,
    /// `aimd`: an answer that takes longer takes the limit down, as a failure does; failures alone unless given.
    pub slow: Option<Nanos>,
    /// `aimd`: what is left of the limit then.
    pub decrease: Ratio,
}

impl Default for ConcurrencyTable {
    /// Envoy's; `decrease` of Netflix's concurrency-limits.
    fn default() -> ConcurrencyTable {
        ConcurrencyTable {
            kind: ConcurrencyKind::Gradient,
            per: ConcurrencyPer::Pool,
            minimum: 3,
            most: 1000,
            interval: Nanos::from_millis(100),
            recalculate: Nanos::from_secs(60),
            jitter: Ratio(0.15),
            samples: 50,
            quantile: Ratio(0.5),
            buffer: Ratio(0.25),
            slow: None,
            decrease: Ratio(0.9),
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
    /// Nobody is turned away while a larger share is answered well.
    pub threshold: Ratio,
    /// 1 is linear, more turns away sooner.
    pub aggression: f64,
    /// How far one looks back.
    pub window: Nanos,
    /// At most this share is turned away.
    pub most: Ratio,
    /// With fewer requests a second nobody is.
    pub floor: Rate,
}

impl Default for AdmissionTable {
    /// Envoy's.
    fn default() -> AdmissionTable {
        AdmissionTable {
            threshold: Ratio(0.95),
            aggression: 1.0,
            window: Nanos::from_secs(30),
            most: Ratio(0.8),
            floor: Rate(0.0),
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
    /// With fewer servers (`residual`: 6 unless given; `local`: healthy ones in the zone, 1 unless given) zones do not matter.
    pub minimum: Option<u32>,
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
    /// Whether all servers report at the same moment, as on a board that is posted; each at its own unless given.
    #[serde(default)]
    pub together: bool,
    /// Time to make, collect and distribute it, on top of the network.
    #[serde(default)]
    pub delay: Nanos,
    /// Each answer carries a report of the moment in which it left, for the balancer it goes to, as ORCA's header does.
    /// Unless this says, answers do where the strategy's protocol has them do so (`c3`).
    pub with_answers: Option<bool>,
    /// Who hears at once of a server that has become idle. Unless this says, one balancer does where the strategy's protocol
    /// has it so (`join_idle_queue`).
    pub idle: Option<IdleNotice>,
}

/// Who hears of a server that has become idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdleNotice {
    /// One balancer, drawn by lot.
    One,
    /// Nobody, whatever the strategy.
    Nobody,
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
    /// Requests until it is closed; any number unless given.
    pub requests: Option<u32>,
    /// Time until it is closed; for ever unless given.
    pub lifetime: Option<Nanos>,
}

/// Servers come and go with the load, by the rule of Kubernetes' horizontal autoscaler: wanted = present × utilisation /
/// target, where that differs by more than a tenth.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutoscaleTable {
    /// Busy share of the servers that is aimed at.
    pub target: Ratio,
    /// Never fewer servers; so many there are at first unless `start` says otherwise.
    pub minimum: u32,
    /// Servers that there are at first.
    pub start: Option<u32>,
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
            minimum: 1,
            start: None,
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
    #[schemars(with = "Law")]
    pub service: Spanned<Law>,
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
    /// The share of its load that a server tells of to who asks for a request whose answer it has.
    pub advertised: f64,
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
                let (hit_cost, advertised) = (c.hit_cost.0, c.advertised.0);
                Some(CacheSpec { capacity: capacity?, ttl: c.ttl, hit_cost, advertised })
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
                let AdmissionTable { threshold, aggression, window, most, floor } = *table.get_ref();
                let share = |ratio: Ratio| ratio.0 > 0.0 && ratio.0 <= 1.0;
                let message = "`threshold` and `most` must be above zero and at most 100 %";
                require(share(threshold) && share(most), table.span(), message, problems);
                let sound = aggression > 0.0 && aggression.is_finite();
                require(sound, table.span(), "`aggression` must be above zero", problems);
                require(window >= Nanos::from_millis(30), table.span(), "`window` must be at least 30ms", problems);
                admission::Rules { threshold: threshold.0, aggression, window, most: most.0, floor: floor.0 }
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
        let (prefer, minimum) = match t.prefer {
            Prefer::Residual => (zone::Prefer::Residual, 6),
            Prefer::Local => (zone::Prefer::Local, 1),
            Prefer::Weights => (zone::Prefer::Weights(weights), 0),
        };
        zone::Rules { prefer, minimum: t.minimum.unwrap_or(minimum), traffic }
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
    let (interval, base, longest) = (*t.interval.get_ref(), *t.base.get_ref(), *t.longest.get_ref());
    let at = |key: &Spanned<Nanos>| place(key, table.span());
    require(interval >= Nanos::from_millis(1), at(&t.interval), "`interval` must be at least 1ms", problems);
    require(base > Nanos::ZERO, at(&t.base), "`base` must be above zero", problems);
    require(longest >= base, at(&t.longest), format!("`longest` is shorter than `base`, {base}"), problems)
        .help("an ejection lasts `base` times how often the server was ejected, up to `longest`");
    let most = t.most.get_ref().0;
    require(most <= 1.0, place(&t.most, table.span()), "`most` is a share of the servers: at most 100 %", problems);
    let success_rate = t.success_rate.as_ref().map(|table| {
        let SuccessRateTable { deviations, minimum_servers, minimum_requests } = *table.get_ref();
        let sound = deviations > 0.0 && deviations.is_finite();
        require(sound, table.span(), "`deviations` must be above zero", problems);
        require(minimum_servers > 1, table.span(), "`minimum_servers` must be at least 2", problems)
            .help("one server has nobody to be compared with");
        outlier::SuccessRate { deviations, minimum_servers, minimum_requests: u64::from(minimum_requests) }
    });
    let failure_percentage = t.failure_percentage.as_ref().map(|table| {
        let FailurePercentageTable { threshold, minimum_servers, minimum_requests } = *table.get_ref();
        let sound = threshold.0 > 0.0 && threshold.0 <= 1.0;
        require(sound, table.span(), "`threshold` must be above zero and at most 100 %", problems);
        let minimum_requests = u64::from(minimum_requests);
        outlier::FailurePercentage { threshold: threshold.0, minimum_servers, minimum_requests }
    });
    let latency = t.latency.as_ref().map(|table| {
        let LatencyTable { factor, minimum_requests } = *table.get_ref();
        require(factor > 1.0 && factor.is_finite(), table.span(), "`factor` must be above 1", problems);
        outlier::Latency { factor, minimum_requests: u64::from(minimum_requests) }
    });
    let consecutive = (t.consecutive > 0).then_some(t.consecutive);
    let any = consecutive.is_some() || success_rate.is_some() || failure_percentage.is_some() || latency.is_some();
    require(any, table.span(), "nothing here would ever eject a server", problems)
        .help("give `consecutive`, `success_rate`, `failure_percentage` or `latency`, or leave the table out");
    let cap = match t.cap {
        CapTable::OneAlways => outlier::Cap::OneAlways,
        CapTable::Envoy => outlier::Cap::Envoy,
        CapTable::Grpc => outlier::Cap::Grpc,
    };
    outlier::Rules { consecutive, success_rate, failure_percentage, latency, interval, base, longest, most, cap }
}

fn slow_start(table: &Spanned<SlowStartTable>, problems: &mut Problems) -> slow_start::Rules {
    let SlowStartTable { window, aggression, least } = *table.get_ref();
    require(window > Nanos::ZERO, table.span(), "the window of a slow start must be above zero", problems)
        .help("leave `slow_start` out for none");
    require(aggression > 0.0 && aggression.is_finite(), table.span(), "`aggression` must be above zero", problems);
    let share = least.0 > 0.0 && least.0 <= 1.0;
    require(share, table.span(), "`least` must be above zero and at most 100 %", problems)
        .help("a server without any requests never gets warm");
    slow_start::Rules { window, aggression, least: least.0 }
}

fn retries(table: &Spanned<RetriesTable>, problems: &mut Problems) -> retry::Rules {
    let t = table.get_ref();
    let attempts = *t.attempts.get_ref();
    let sound = (1..=100).contains(&attempts);
    require(sound, place(&t.attempts, table.span()), "`attempts` must be from 1 to 100", problems)
        .help("they are attempts beyond the first; leave the table out for none");
    let mut on = [false; retry::FAILURES.len()];
    t.on.get_ref().iter().for_each(|cause| on[cause.failure() as usize] = true);
    let any = on.contains(&true);
    require(any, place(&t.on, table.span()), "`on` is empty: nothing would ever be tried again", problems);
    let (backoff, longest) = (t.backoff, *t.longest_backoff.get_ref());
    let message = format!("`longest_backoff` is shorter than `backoff`, {backoff}");
    require(longest >= backoff, place(&t.longest_backoff, table.span()), message, problems);
    if let Some(timeout) = &t.per_try_timeout {
        require(*timeout.get_ref() > Nanos::ZERO, timeout.span(), "`per_try_timeout` must be above zero", problems);
        let used = on[retry::Failure::Timeout as usize];
        let message =
            "after `per_try_timeout` an attempt has failed, and `on` has no \"timeout\": it would only give up sooner";
        require(used, timeout.span(), message, problems).help("add \"timeout\" to `on`");
    }
    let tokens = t.tokens.as_ref().map(|table| {
        let TokensTable { most, ratio } = *table.get_ref();
        let sound = most > 0.0 && most <= 1e6 && ratio > 0.0 && ratio <= most;
        require(
            sound,
            table.span(),
            "`most` and `ratio` of the tokens must be above zero, `ratio` the smaller",
            problems,
        );
        retry::Tokens { most, ratio }
    });
    retry::Rules {
        attempts,
        on,
        budget: t.budget.get_ref().0,
        floor: t.floor.0,
        tokens,
        backoff,
        longest_backoff: longest,
        per_try_timeout: t.per_try_timeout.as_ref().map(|timeout| *timeout.get_ref()),
    }
}

fn concurrency(table: &Spanned<ConcurrencyTable>, problems: &mut Problems) -> concurrency::Rules {
    let t = *table.get_ref();
    let sound = t.minimum > 0 && t.minimum <= t.most;
    require(sound, table.span(), "`minimum` must be above zero and at most `most`", problems);
    let sound = t.interval >= Nanos::from_millis(1) && t.recalculate >= t.interval && t.samples > 0;
    let message = "`interval` must be at least 1ms and at most `recalculate`, and `samples` above zero";
    require(sound, table.span(), message, problems);
    let sound = t.quantile.0 > 0.0 && t.quantile.0 <= 1.0;
    require(sound, table.span(), "`quantile` must be above zero and at most 100 %", problems);
    let sound = t.decrease.0 > 0.0 && t.decrease.0 < 1.0;
    require(sound, table.span(), "`decrease` must lie between 0 and 100 %", problems);
    let kind = match t.kind {
        ConcurrencyKind::Gradient => concurrency::Kind::Gradient(concurrency::Gradient {
            interval: t.interval,
            recalculate: t.recalculate,
            jitter: t.jitter.0,
            samples: t.samples,
            quantile: t.quantile.0,
            buffer: t.buffer.0,
        }),
        ConcurrencyKind::Aimd => concurrency::Kind::Aimd(concurrency::Aimd { slow: t.slow, decrease: t.decrease.0 }),
    };
    let per = match t.per {
        ConcurrencyPer::Pool => concurrency::Per::Pool,
        ConcurrencyPer::Server => concurrency::Per::Server,
    };
    concurrency::Rules { kind, per, minimum: t.minimum, most: t.most }
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
        assert_eq!((retries.attempts, retries.budget, retries.floor), (1, 0.2, 3.0));
        assert_eq!(retries.longest_backoff, Nanos::from_millis(250));
        let outliers = rules.outliers.unwrap();
        assert_eq!((outliers.consecutive, outliers.most, outliers.base), (Some(5), 0.5, Nanos::from_secs(30)));
        assert_eq!(rules.panic, Some(0.5));
        let slow = slow_start::Rules { window: Nanos::from_secs(30), aggression: 1.0, least: 0.1 };
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
             outliers = { consecutive = 0, latency = { factor = 2 }, success_rate = { deviations = 1 }, most = 0.3 }\n\
             slow_start = { window = \"1m\", aggression = 2, least = \"5%\" }\n\
             retries = { on = [\"error\", \"timeout\"], per_try_timeout = \"1s\", floor = \"6/m\" }\n\
             hedge = { after = \"50ms\", budget = \"5%\" }",
        );
        assert_eq!(problems, "");
        assert_eq!(check, Check::Http { path: "/up".to_owned(), status: vec![(200, 200), (300, 399)] });
        let outliers = rules.outliers.unwrap();
        assert_eq!((outliers.consecutive, outliers.most), (None, 0.3));
        assert_eq!(outliers.latency, Some(outlier::Latency { factor: 2.0, minimum_requests: 100 }));
        assert_eq!(outliers.success_rate.unwrap().deviations, 1.0);
        assert_eq!(rules.slow_start.unwrap().least, 0.05);
        let retries = rules.retries.unwrap();
        assert_eq!(retries.on, [false, false, true, true, false]);
        assert_eq!((retries.per_try_timeout, retries.floor), (Some(Nanos::from_secs(1)), 0.1));
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
        assert_eq!((zones.prefer, zones.minimum), (zone::Prefer::Residual, 6));
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
            ("slow_start = { window = \"1s\", least = 0 }", "x:2:14: `least`"),
            ("slow_start = { windw = \"1s\" }", "x:2:16: unknown key `windw`"),
            ("health = { jitter = 1 }", "x:2:10: `jitter`"),
            ("health = { path = \"up\" }", "x:2:19: a `path`"),
            ("health = { path = \"/\", status = \"2xx\" }", "x:2:33: `2xx`"),
            ("health = { status = \"200\" }", "x:2:21: `status` of what?"),
            ("health = { tcp = true, path = \"/\" }", "x:2:18: a check is either"),
            ("outliers = { consecutive = 0 }", "x:2:12: nothing here"),
            ("outliers = { base = \"9m\" }", "x:2:12: `longest` is shorter"),
            ("outliers = { most = \"200%\" }", "x:2:21: `most`"),
            ("outliers = { most = 2 }", "x:2:21: `2` has no unit"),
            ("outliers = { latency = { factor = 1 } }", "x:2:24: `factor`"),
            ("outliers = { success_rate = { minimum_servers = 1 } }", "x:2:29: `minimum_servers`"),
            ("retries = { attempts = 0 }", "x:2:24: `attempts`"),
            ("retries = { on = [] }", "x:2:18: `on` is empty"),
            ("retries = { on = [\"connection\"] }", "x:2:19: unknown value `connection`"),
            ("retries = { per_try_timeout = \"1s\" }", "x:2:31: after `per_try_timeout`"),
            ("retries = { backoff = \"1s\" }", "x:2:11: `longest_backoff`"),
            ("hedge = { after = \"p100\" }", "x:2:19: `p100` is not a percentile"),
            ("hedge = { budget = \"200%\" }", "x:2:9: `budget`"),
            ("sticky = { cookie = \"a b\" }", "x:2:21: `a b`"),
            ("sticky = { max_age = \"1ms\" }", "x:2:22: `max_age`"),
            ("queue = { limit = 0 }", "x:2:9: `limit` and `timeout`"),
            ("concurrency = { minimum = 0 }", "x:2:15: `minimum` must be above zero"),
            ("concurrency = { interval = \"2m\" }", "x:2:15: `interval` must be"),
            ("concurrency = { kind = \"aimd\", decrease = 1 }", "x:2:15: `decrease`"),
            ("concurrency = { per = \"zone\" }", "x:2:23: unknown value `zone`"),
            ("admission = { threshold = 0 }", "x:2:13: `threshold` and `most`"),
            ("admission = { window = \"1ms\" }", "x:2:13: `window`"),
            ("retries = { tokens = { most = 0 } }", "x:2:22: `most` and `ratio`"),
            ("outliers = { failure_percentage = { threshold = \"200%\" } }", "x:2:35: `threshold`"),
            ("outliers = { cap = \"haproxy\" }", "x:2:20: unknown value `haproxy`"),
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
