//! The tables of a scenario file, as they are written. Unknown keys are refused everywhere; values that an error message may
//! be about keep their span. Enums are tagged by their key (`arrivals = { poisson = { … } }`), so that every error points at
//! the value it is about.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use super::Kind;
use evenkeel_config::Spanned;
use evenkeel_config::distribution::Distribution;
use evenkeel_config::fault::FaultTable;
use evenkeel_config::pool::{PoolTable, RouteTable};
use evenkeel_core::select::catalog::Strategy;
use evenkeel_core::units::{Nanos, Rate, Ratio};

/// A scenario file: a question, an experiment, and what must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioTable {
    /// Title of tables and charts: one line.
    pub title: Spanned<String>,
    /// The question that the scenario asks, in prose.
    pub question: Spanned<String>,
    /// `"steady"` (the same conditions throughout, after a warm-up; the default) or `"terminating"` (a course of events,
    /// measured from the first request to the last).
    #[serde(default)]
    pub kind: Kind,
    /// Seed of all randomness. `None`: 1.
    pub seed: Option<u64>,
    /// Runs per strategy, each with its own seed, 1 to 10,000. `None`: 10.
    pub replications: Option<Spanned<u32>>,
    /// Simulated time that is measured, after the warm-up: above 0.
    pub duration: Spanned<Nanos>,
    /// Simulated time before the measurement, or `"auto"` (MSER-5, from a pilot run). `None`: a tenth of `duration`. A
    /// terminating scenario has none.
    pub warmup: Option<Spanned<Warmup>>,
    /// Time before cache hits are measured, from `warmup` to the end of the run, or `"auto"`. `None`: `warmup`.
    pub cache_warmup: Option<Spanned<Warmup>>,
    /// Time after the measurement in which measured requests may end; those that do not are unfinished. `None`: `duration`.
    pub drain: Option<Nanos>,
    /// Bins of the time series, at most 10,000. `None`: 100.
    pub bins: Option<Spanned<u32>>,
    /// Whether a load above the capacity of a pool is intended; default false: it is refused.
    #[serde(default)]
    pub allow_overload: bool,
    /// A run stops with an error where it holds more requests than this, attempts and calls to a second tier among them; four
    /// scheduled events (time-outs of requests that have ended, too) or two cache entries weigh as much as a request. From 1
    /// to 100000000; 4000000 unless given, which takes about 1.2 GB for each run at the same time.
    pub max_in_system: Option<Spanned<u32>>,
    /// Equal parts of the measured time for batch means, 10 to 1000. `None`: none are recorded.
    pub batches: Option<Spanned<u32>>,
    /// Strategies that are compared, at least one. `None`: all of the catalogue, or only `variants` where there are some.
    pub strategies: Option<Spanned<Vec<Spanned<Strategy>>>>,
    /// `[[variants]]`: strategies with names of their own; default none.
    #[serde(default)]
    pub variants: Vec<VariantTable>,
    /// When requests come, such as `{ poisson = { load = "80%" } }`.
    pub arrivals: Spanned<ArrivalsTable>,
    /// Distribution of the work of a request, at speed 1, for paths without one of their own. `None`: every path has its own.
    pub service: Option<Spanned<Distribution>>,
    /// Further work for each byte of the response, in replayed requests. `None`: 0.
    pub per_byte: Option<Nanos>,
    /// Items that requests are for, known to caches and hashes. `None`: the path is the item.
    pub keys: Option<Spanned<KeysTable>>,
    /// `[[paths]]`: kinds of requests. `None`: one path, `/`.
    pub paths: Option<Spanned<Vec<Spanned<PathTable>>>>,
    /// `[clients]`: who sends requests.
    #[serde(default)]
    pub clients: ClientsTable,
    /// `[network]`: delays between clients, balancers and servers.
    #[serde(default)]
    pub network: NetworkTable,
    /// `[dns]`: clients find balancers by a name. `None`: each request goes to a random balancer.
    pub dns: Option<Spanned<DnsTable>>,
    /// `[balancers]`: the entry tier.
    #[serde(default)]
    pub balancers: BalancersTable,
    /// `[[pools]]`: servers behind one strategy; at least one pool.
    pub pools: Spanned<Vec<Spanned<PoolTable>>>,
    /// `[[routes]]`: which paths go to which pool. `None`: all go to the only pool that is no second tier.
    pub routes: Option<Vec<RouteTable>>,
    /// `[[faults]]`: what fails, and when; default none.
    #[serde(default)]
    pub faults: Vec<Spanned<FaultTable>>,
    /// `[[sweep]]`: keys that are varied, each value a point; default none.
    #[serde(default)]
    pub sweep: Vec<SweepTable>,
    /// `[sensitivity]`: whether the ranking depends on constants of the scenario. `None`: is not examined.
    pub sensitivity: Option<SensitivityTable>,
    /// `[[expect]]`: what must hold; `evenkeel check` verifies it. Default none.
    #[serde(default)]
    pub expect: Vec<Spanned<ExpectTable>>,
}

/// A duration, or `"auto"`: as MSER-5 finds it in a pilot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warmup {
    For(Nanos),
    Auto,
}

impl JsonSchema for Warmup {
    fn schema_name() -> Cow<'static, str> {
        "Warmup".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [generator.subschema_for::<Nanos>(), json_schema!({ "const": "auto" })];
        json_schema!({ "description": "A duration, or \"auto\": as MSER-5 finds it in a pilot run.", "anyOf": forms })
    }
}

impl<'de> Deserialize<'de> for Warmup {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Warmup, D::Error> {
        struct WarmupVisitor;
        impl Visitor<'_> for WarmupVisitor {
            type Value = Warmup;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"20s\", or \"auto\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Warmup, E> {
                if text == "auto" { Ok(Warmup::Auto) } else { text.parse().map(Warmup::For).map_err(E::custom) }
            }
        }
        from.deserialize_any(WarmupVisitor)
    }
}

/// `[[variants]]`: a strategy under its own name, with its own random stream; the same strategy may appear several times.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantTable {
    /// Name in tables and charts: letters, digits, blanks and `_-.`.
    pub name: Spanned<String>,
    /// The strategy, with parameters.
    pub strategy: Spanned<Strategy>,
}

/// `[[sweep]]`: `key = "arrivals.poisson.load"`, or `keys` that move together, and `values`. Several make a grid.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepTable {
    /// A key of the scenario, as a path such as `arrivals.poisson.load`. `None`: `keys` says which.
    pub key: Option<Spanned<String>>,
    /// Keys that take each value together; default none.
    #[serde(default)]
    pub keys: Vec<Spanned<String>>,
    /// The values, as they would be written under the key; at least one.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub values: Spanned<Vec<Spanned<toml::Value>>>,
}

/// `[sensitivity]`: whether the ranking survives other constants.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensitivityTable {
    /// Share by which each constant is made smaller and larger, between 0 and 1. `None`: 30 %.
    pub by: Option<Spanned<Ratio>>,
    /// Keys of the constants, varied one at a time. `None`: all numbers of the scenario that describe the model.
    pub keys: Option<Vec<Spanned<String>>>,
    /// Metric by which strategies are ranked. `None`: `latency.p99`.
    pub metric: Option<Spanned<String>>,
}

/// When requests come.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ArrivalsTable {
    /// Independent arrivals at a mean rate.
    Poisson(Amount),
    /// Arrivals at equal intervals.
    Constant(Amount),
    /// Independent gaps of any distribution.
    Renewal {
        /// Distribution of the time between arrivals, with a mean of at least 1 ns.
        interarrival: Spanned<Distribution>,
        /// Mean rate, to which gaps are scaled. `None`, without `load`: gaps are as given.
        rate: Option<Spanned<Rate>>,
        /// Mean rate as a share of the capacity of the fullest pool. `None`: `rate` counts.
        load: Option<Spanned<Ratio>>,
        /// Requests come in batches, as under `poisson`.
        batch: Option<Spanned<BatchTable>>,
    },
    /// Poisson at `base`, with bursts at `peak` at equal intervals.
    Bursts {
        /// Rate between bursts.
        base: Spanned<Rate>,
        /// Rate in bursts: above 0.
        peak: Spanned<Rate>,
        /// Time from the end of a burst to the end of the next, at least 1 ms.
        every: Spanned<Nanos>,
        /// Length of a burst: above 0, below `every`.
        length: Spanned<Nanos>,
    },
    /// Poisson at a rate that rises or falls evenly from `from` to `to` over `over`, and then stays.
    Ramp {
        /// Rate at the start.
        from: Spanned<Rate>,
        /// Rate at the end.
        to: Spanned<Rate>,
        /// Time of the change, above 0. `None`: the whole run.
        over: Option<Spanned<Nanos>>,
    },
    /// Each client sends, waits for the answer, thinks and sends again: at once where `think` is zero. A client pauses for
    /// 10 µs after a failure that took no time at all, and after 1,000 good answers in a row that took none.
    Closed {
        /// Distribution of the time between a response and the client's next request.
        think: Spanned<Distribution>,
    },
    /// As recorded in a workload file (`evenkeel import`).
    Replay {
        /// Workload file, relative to the scenario.
        file: Spanned<String>,
        /// Factor on the recorded speed, above 0; default 1.
        #[serde(default = "plain_speed")]
        speed: Spanned<f64>,
        /// Whether the recording starts again when it is over; default false.
        #[serde(default, rename = "loop")]
        repeat: bool,
    },
}

fn plain_speed() -> Spanned<f64> {
    Spanned::new(0..0, 1.0)
}

/// How many requests come: `rate`, or `load` as a share of the capacity of the servers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// Mean rate: above 0. `None`: `load` counts.
    pub rate: Option<Spanned<Rate>>,
    /// Mean rate as a share of the capacity of the fullest pool: above 0. `None`: `rate` counts.
    pub load: Option<Spanned<Ratio>>,
    /// Batches: several requests arrive at the same moment. `rate` and `load` count requests, not batches.
    pub batch: Option<Spanned<BatchTable>>,
}

/// Number of requests that arrive at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BatchTable {
    /// Always the same number.
    Constant {
        /// Requests of a batch, 1 to 1,000,000.
        size: u32,
    },
    /// One or more; each further one with the same probability.
    Geometric {
        /// Mean number of requests, 1 to 1,000,000.
        mean: f64,
    },
}

/// `[[paths]]`: a kind of requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathTable {
    /// The path, beginning with `/`.
    pub path: Spanned<String>,
    /// Share of the requests, relative to the other paths: above 0; default 1.
    #[serde(default = "one")]
    pub share: Spanned<f64>,
    /// Distribution of the work of a request, at speed 1. `None`: that of the file.
    pub service: Option<Spanned<Distribution>>,
    /// Further work for each byte of the response, in replayed requests. `None`: that of the file.
    pub per_byte: Option<Nanos>,
    /// Items that requests for this path are for. `None`: those of the file.
    pub keys: Option<Spanned<KeysTable>>,
}

fn one() -> Spanned<f64> {
    Spanned::new(0..0, 1.0)
}

/// `keys = { count = 10000, exponent = 0.9 }`: the items that requests are for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysTable {
    /// Number of items, 1 to 10,000,000.
    pub count: u32,
    /// Zipf exponent of their popularity, 0 to 10; default 0: all equally popular.
    #[serde(default)]
    pub exponent: f64,
    /// Whether every client has items of its own; default false.
    #[serde(default)]
    pub per_client: bool,
}

/// `[clients]`: who sends requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientsTable {
    /// Number of clients, 1 to 1,000,000; default 1000.
    pub count: Spanned<u32>,
    /// Zipf exponent of the share that each sends, 0 to 10; default 0: all alike.
    pub skew: Spanned<f64>,
    /// Share of all requests that one further client sends, below 1. `None`: there is none.
    pub hot_share: Option<Spanned<Ratio>>,
    /// Time after which a client without a response gives up, whether its request is in service or not: a duration, or a
    /// distribution from which each request draws. `None`: never.
    pub timeout: Option<Spanned<Delay>>,
    /// Time after which a client abandons a request that has not begun service (reneging, as in Erlang A); once service has
    /// begun, it waits for the response. A duration or a distribution. `None`: never.
    pub patience: Option<Spanned<Delay>>,
    /// Whether servers notice that a client has given up; default false. If so, its request leaves the server's queue at that
    /// moment. A request in service is finished.
    pub servers_see_cancel: bool,
    /// Time after which a client gives up connecting to a balancer that has failed; default 1 s.
    pub connect_timeout: Nanos,
}

impl Default for ClientsTable {
    fn default() -> ClientsTable {
        ClientsTable {
            count: Spanned::new(0..0, 1000),
            skew: Spanned::new(0..0, 0.0),
            hot_share: None,
            timeout: None,
            patience: None,
            servers_see_cancel: false,
            connect_timeout: Nanos::from_secs(1),
        }
    }
}

/// `[network]`: one-way delays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkTable {
    /// Delay between a client and a balancer, one way. `None`: 0.
    pub client: Option<Spanned<Delay>>,
    /// Delay between a balancer and a server, one way. `None`: 0.
    pub server: Option<Spanned<Delay>>,
    /// Further delay between a balancer and a server of another zone, one way. `None`: 0.
    pub cross_zone: Option<Nanos>,
}

/// A constant such as `"1ms"`, or a distribution.
#[derive(Clone, Debug)]
pub struct Delay(pub Distribution);

impl JsonSchema for Delay {
    fn schema_name() -> Cow<'static, str> {
        "Delay".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [generator.subschema_for::<Nanos>(), generator.subschema_for::<Distribution>()];
        json_schema!({ "description": "A duration, or a distribution.", "anyOf": forms })
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Delay, D::Error> {
        struct DelayVisitor;
        impl<'de> Visitor<'de> for DelayVisitor {
            type Value = Delay;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a duration such as \"1ms\", or a distribution such as { exponential = { mean = \"1ms\" } }",
                )
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Delay, E> {
                Ok(Delay(Distribution::Constant { value: text.parse().map_err(E::custom)? }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Delay, A::Error> {
                Distribution::deserialize(MapAccessDeserializer::new(map)).map(Delay)
            }
        }
        from.deserialize_any(DelayVisitor)
    }
}

/// `[dns]`: clients find balancers by a name.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsTable {
    /// Time for which a resolver keeps an answer.
    pub ttl: Nanos,
    /// Number of resolvers, 1 to 1,000,000; default 50. Each serves a share of the clients.
    #[serde(default = "fifty")]
    pub resolvers: u32,
    /// Zipf exponent of the share of clients that each resolver serves, 0 to 10; default 0: all alike.
    #[serde(default)]
    pub resolver_skew: f64,
    /// Time after which the address of a failed balancer is withdrawn. `None`: never.
    pub withdraw_after: Option<Nanos>,
    /// Which of several addresses in an answer a client uses: the `"first"` (the default), or `"all"`: a random one for each
    /// request, and another when it cannot be reached.
    #[serde(default)]
    pub clients_use: AddressesTable,
}

/// Which of several addresses a client uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddressesTable {
    /// The first, until the answer expires.
    #[default]
    First,
    /// Any of them, and the others after it.
    All,
}

fn fifty() -> u32 {
    50
}

/// `[balancers]`: the entry tier.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BalancersTable {
    /// Number of balancers, 1 to 1000; default 1.
    pub count: Spanned<u32>,
    /// Shards (threads) of a balancer, each with its own selector, 1 to 1000; default 1.
    pub shards: Spanned<u32>,
    /// Whether the shards of a balancer share in-flight counts; default false.
    pub shared_in_flight: bool,
    /// Zones of the balancers, in turn: with two names balancers 1, 3, 5, … are in the first. Default none.
    pub zones: Spanned<Vec<Spanned<String>>>,
}

impl Default for BalancersTable {
    fn default() -> BalancersTable {
        BalancersTable {
            count: Spanned::new(0..0, 1),
            shards: Spanned::new(0..0, 1),
            shared_in_flight: false,
            zones: Spanned::new(0..0, Vec::new()),
        }
    }
}

/// `[[expect]]`: what must hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectTable {
    /// A comparison of two metrics, or of a metric and a value: `latency.p99[p2c] < 0.5 * latency.p99[random]`.
    pub assert: Spanned<String>,
    /// Why it must hold; printed by `evenkeel check` when it does not.
    pub reason: String,
}
