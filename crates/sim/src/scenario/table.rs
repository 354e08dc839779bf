//! The tables of a scenario file, as written. Unknown keys are refused everywhere; what needs a place in an error message
//! keeps its span. Enums are tagged by their key (`arrivals = { poisson = { … } }`), so that every error points at the
//! value it is about.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use toml::Spanned;

use super::Kind;
use super::strategy_list::StrategyList;
use evenkeel_config::distribution::Distribution;
use evenkeel_config::fault::FaultTable;
use evenkeel_config::pool::{PoolTable, RouteTable};
use evenkeel_core::select::catalog::Strategy;
use evenkeel_core::units::{Nanos, Rate, Ratio};

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioTable {
    /// One line, printed above results and charts. Not empty.
    #[schemars(with = "String")]
    pub title: Spanned<String>,
    /// What the scenario asks, in prose: printed before the results, so it does not tell the answer.
    #[schemars(with = "String")]
    pub question: Spanned<String>,
    /// What the results show, in prose: printed after them.
    #[schemars(with = "Option<String>")]
    pub answer: Option<Spanned<String>>,
    /// Whether the numbers describe a long run or one course of events; default `"steady"`.
    #[serde(default)]
    pub kind: Kind,
    /// Seed of all randomness; default 1. The seeds of the replications are derived from it.
    pub seed: Option<u64>,
    /// Runs per strategy, each with a seed of its own: 1 to 10000, default 10. Intervals need at least five.
    #[schemars(with = "Option<u32>")]
    pub replications: Option<Spanned<u32>>,
    /// Simulated time that is measured, after the warm-up. Above zero.
    #[schemars(with = "Nanos")]
    pub duration: Spanned<Nanos>,
    /// Simulated time before measuring begins: a duration, or `"auto"`, which finds it by a pilot run and MSER-5. Default a tenth of
    /// `duration`. A terminating scenario has none.
    #[schemars(with = "Option<Warmup>")]
    pub warmup: Option<Spanned<Warmup>>,
    /// Warm-up of the cache hit ratio, at least `warmup`; default as `warmup`.
    #[schemars(with = "Option<Warmup>")]
    pub cache_warmup: Option<Spanned<Warmup>>,
    /// How long a run goes on after the measured time for requests that arrived in it; default as `duration`. What has not ended
    /// by then counts at its age.
    pub drain: Option<Nanos>,
    /// Time bins of `timeseries.csv` and its chart: up to 10000, default 100.
    #[schemars(with = "Option<u32>")]
    pub bins: Option<Spanned<u32>>,
    /// Whether the scenario may offer more work than the servers can do; default false: such a scenario is refused.
    #[serde(default)]
    pub allow_overload: bool,
    /// A run stops with an error where it holds more requests than this, attempts and calls to a second tier among them; four
    /// scheduled events (time-outs of requests that have ended, too) or two cache entries weigh as much as a request. From 1
    /// to 100000000; 4000000 unless given, which takes about 1.2 GB for each run at the same time.
    #[schemars(with = "Option<u32>")]
    pub max_in_system: Option<Spanned<u32>>,
    /// Instead of replications: one long run per strategy, cut into this many batches, 10 to 1000. Default: replications.
    #[schemars(with = "Option<u32>")]
    pub batches: Option<Spanned<u32>>,
    /// What is compared: `"core"` (a dozen that matter), `"all"`, or a list of names and of tables with parameters. Default: all.
    #[schemars(with = "Option<StrategyList>")]
    pub strategies: Option<Spanned<StrategyList>>,
    /// Instead of `strategies`: strategies under names of your own, each with its own random stream.
    #[serde(default)]
    pub variants: Vec<VariantTable>,
    /// When requests arrive.
    #[schemars(with = "ArrivalsTable")]
    pub arrivals: Spanned<ArrivalsTable>,
    /// Distribution of the work of a request: its service time at a server of `speed` 1. Required unless each path has its own.
    #[schemars(with = "Option<Distribution>")]
    pub service: Option<Spanned<Distribution>>,
    /// Additional work for each byte of the answer, in replays; default 0.
    pub per_byte: Option<Nanos>,
    /// Keys of requests, for caches and hashing. Default: the path is the key.
    #[schemars(with = "Option<KeysTable>")]
    pub keys: Option<Spanned<KeysTable>>,
    /// Kinds of requests, by path. Default: one kind, `/`.
    #[schemars(with = "Option<Vec<PathTable>>")]
    pub paths: Option<Spanned<Vec<Spanned<PathTable>>>>,
    /// Clients and how long they wait.
    #[serde(default)]
    pub clients: ClientsTable,
    /// Delays between clients, balancers and servers.
    #[serde(default)]
    pub network: NetworkTable,
    /// DNS round robin over several balancers. Default: each request goes to a random balancer.
    #[schemars(with = "Option<DnsTable>")]
    pub dns: Option<Spanned<DnsTable>>,
    /// Balancers, each with selectors of its own.
    #[serde(default)]
    pub balancers: BalancersTable,
    /// Pools of servers. Without routes all requests go to the first.
    #[schemars(with = "Vec<PoolTable>")]
    pub pools: Spanned<Vec<Spanned<PoolTable>>>,
    /// Which path prefixes and hosts go to which pool; the longest wins. Default: all to the first pool.
    pub routes: Option<Vec<RouteTable>>,
    /// What goes wrong, and when.
    #[serde(default)]
    #[schemars(with = "Vec<FaultTable>")]
    pub faults: Vec<Spanned<FaultTable>>,
    /// Axes of `evenkeel sweep`; several make a grid.
    #[serde(default)]
    pub sweep: Vec<SweepTable>,
    /// Settings of `evenkeel sweep --sensitivity`.
    pub sensitivity: Option<SensitivityTable>,
    /// What must hold; `evenkeel check` verifies it.
    #[serde(default)]
    #[schemars(with = "Vec<ExpectTable>")]
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
    /// Name in tables and results.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// The strategy, with parameters if needed.
    #[schemars(with = "Strategy")]
    pub strategy: Spanned<Strategy>,
}

/// `[[sweep]]`: `key = "arrivals.poisson.load"`, or `keys` that move together, and `values`. Several make a grid.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepTable {
    /// Path of the value to vary; elements of arrays go by their name: `pools.web.servers.web.count`.
    #[schemars(with = "Option<String>")]
    pub key: Option<Spanned<String>>,
    /// Paths of several values that vary together.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub keys: Vec<Spanned<String>>,
    /// The values, as they would stand in the file.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub values: Spanned<Vec<Spanned<toml::Value>>>,
}

/// `[sensitivity]`: whether the ranking survives other constants.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SensitivityTable {
    /// How much each constant is decreased and increased: above 0, below 100 %; default 30 %.
    #[schemars(with = "Option<Ratio>")]
    pub by: Option<Spanned<Ratio>>,
    /// Paths of the constants; default: every number of the model.
    #[schemars(with = "Option<Vec<String>>")]
    pub keys: Option<Vec<Spanned<String>>>,
    /// Metric that ranks the strategies; default `latency.p99`.
    #[schemars(with = "Option<String>")]
    pub metric: Option<Spanned<String>>,
}

/// When requests arrive: one of these.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ArrivalsTable {
    /// Independent of each other, at a mean rate.
    Poisson(Amount),
    /// At equal distances.
    Constant(Amount),
    /// Independent gaps of any distribution.
    Renewal {
        /// The time from one arrival to the next.
        #[schemars(with = "Distribution")]
        interarrival: Spanned<Distribution>,
        /// How much comes: gaps are scaled to it. With neither `rate` nor `load` they are as given.
        #[schemars(with = "Option<Rate>")]
        rate: Option<Spanned<Rate>>,
        /// Instead of `rate`: share of what the servers can do.
        #[schemars(with = "Option<Ratio>")]
        load: Option<Spanned<Ratio>>,
        /// Requests come in batches, as under `poisson`.
        #[schemars(with = "Option<BatchTable>")]
        batch: Option<Spanned<BatchTable>>,
    },
    /// Poisson at `base`, and every so often at `peak` for a while.
    Bursts {
        /// Rate between bursts.
        #[schemars(with = "Rate")]
        base: Spanned<Rate>,
        /// Rate in a burst.
        #[schemars(with = "Rate")]
        peak: Spanned<Rate>,
        /// Time from the start of one burst to the start of the next.
        #[schemars(with = "Nanos")]
        every: Spanned<Nanos>,
        /// Duration of a burst.
        #[schemars(with = "Nanos")]
        length: Spanned<Nanos>,
    },
    /// Poisson at a rate that rises or falls evenly from `from` to `to` over `over`, and then stays.
    Ramp {
        /// Rate at the start.
        #[schemars(with = "Rate")]
        from: Spanned<Rate>,
        /// Rate at the end of the ramp, and after it.
        #[schemars(with = "Rate")]
        to: Spanned<Rate>,
        /// Duration of the ramp, above zero; default: warm-up and `duration`.
        #[schemars(with = "Option<Nanos>")]
        over: Option<Spanned<Nanos>>,
    },
    /// Each client sends, waits for the answer, thinks and sends again: at once where `think` is zero. A client pauses for
    /// 10 µs after a failure that took no time at all, and after 1,000 good answers in a row that took none.
    Closed {
        /// Time from an answer to the client's next request.
        #[schemars(with = "Distribution")]
        think: Spanned<Distribution>,
    },
    /// As recorded in a workload file (`evenkeel import`).
    Replay {
        /// Workload file, relative to the scenario.
        #[schemars(with = "String")]
        file: Spanned<String>,
        /// How many times as fast as recorded; above zero, default 1.
        #[serde(default = "plain_speed")]
        #[schemars(with = "f64")]
        speed: Spanned<f64>,
        /// Whether the recording starts again when it is over; default false.
        #[serde(default, rename = "loop")]
        repeat: bool,
    },
}

fn plain_speed() -> Spanned<f64> {
    Spanned::new(0..0, 1.0)
}

/// How much comes: `rate`, or `load` as a share of what the servers can do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// Requests per second. Exactly one of `rate` and `load` is given.
    #[schemars(with = "Option<Rate>")]
    pub rate: Option<Spanned<Rate>>,
    /// Requests as a share of what the servers can do, nothing cached: the rate follows from work and servers.
    #[schemars(with = "Option<Ratio>")]
    pub load: Option<Spanned<Ratio>>,
    /// Requests come in batches: so many at the same moment. `rate` and `load` count requests, not batches.
    #[schemars(with = "Option<BatchTable>")]
    pub batch: Option<Spanned<BatchTable>>,
}

/// How many requests come at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BatchTable {
    /// Always as many.
    Constant {
        /// 1 to 1,000,000.
        size: u32,
    },
    /// One or more; each further one with the same probability.
    Geometric {
        /// Mean, from 1 to 1,000,000.
        mean: f64,
    },
}

/// `[[paths]]`: a kind of request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathTable {
    /// The path.
    #[schemars(with = "String")]
    pub path: Spanned<String>,
    /// Its part of the requests, relative to the other paths' shares; default 1.
    #[serde(default = "one")]
    #[schemars(with = "f64")]
    pub share: Spanned<f64>,
    /// Distribution of its requests' work; default: the scenario's.
    #[schemars(with = "Option<Distribution>")]
    pub service: Option<Spanned<Distribution>>,
    /// Additional work for each byte of its answers; default: the scenario's.
    pub per_byte: Option<Nanos>,
    /// Its keys; default: the scenario's.
    #[schemars(with = "Option<KeysTable>")]
    pub keys: Option<Spanned<KeysTable>>,
}

fn one() -> Spanned<f64> {
    Spanned::new(0..0, 1.0)
}

/// `keys = { count = 10000, exponent = 0.9 }`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeysTable {
    /// Different items.
    pub count: u32,
    /// Zipf's exponent of their popularity; 0 is all alike.
    #[serde(default)]
    pub exponent: f64,
    /// Whether every client has items of its own.
    #[serde(default)]
    pub per_client: bool,
}

/// `[clients]`: how many there are and how long they wait.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientsTable {
    /// Clients, each with an address of its own: 1 to 1000000, default 1000.
    #[schemars(with = "u32")]
    pub count: Spanned<u32>,
    /// Zipf's exponent of how much each sends; 0 is all alike.
    #[schemars(with = "f64")]
    pub skew: Spanned<f64>,
    /// One more address that sends this share of all requests.
    #[schemars(with = "Option<Ratio>")]
    pub hot_share: Option<Spanned<Ratio>>,
    /// A client without an answer for so long after its request gives up, in service or not: a duration for all, or a
    /// distribution from which each request draws. Never unless given.
    #[schemars(with = "Option<Delay>")]
    pub timeout: Option<Spanned<Delay>>,
    /// A client whose request has not begun service for so long abandons it (reneging, as in Erlang A); once service has begun,
    /// it waits for the answer. A duration or a distribution; never unless given.
    #[schemars(with = "Option<Delay>")]
    pub patience: Option<Spanned<Delay>>,
    /// Whether servers notice that a client has given up; default false. If so, its request leaves the server's queue at that
    /// moment. A request in service is finished.
    pub servers_see_cancel: bool,
    /// How long a client waits for an address that does not answer; default 1 s. Then it tries another, or fails.
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

/// `[network]`: one way, each leg.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkTable {
    /// One-way delay between client and balancer: a duration or a distribution; default 0.
    #[schemars(with = "Option<Delay>")]
    pub client: Option<Spanned<Delay>>,
    /// One-way delay between balancer and server: a duration or a distribution; default 0.
    #[schemars(with = "Option<Delay>")]
    pub server: Option<Spanned<Delay>>,
    /// Added to the hop between a balancer and a server of another zone.
    pub cross_zone: Option<Nanos>,
}

/// A constant such as `"1ms"`, or a law.
#[derive(Clone, Debug)]
pub struct Delay(pub Distribution);

impl JsonSchema for Delay {
    fn schema_name() -> Cow<'static, str> {
        "Delay".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [generator.subschema_for::<Nanos>(), generator.subschema_for::<Distribution>()];
        json_schema!({ "description": "A duration, or a law.", "anyOf": forms })
    }
}

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Delay, D::Error> {
        struct DelayVisitor;
        impl<'de> Visitor<'de> for DelayVisitor {
            type Value = Delay;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"1ms\", or a law such as { exponential = { mean = \"1ms\" } }")
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

/// `[dns]`: DNS round robin over the balancers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsTable {
    /// How long a resolver uses an answer.
    pub ttl: Nanos,
    /// Resolvers, each with its share of the clients: 1 to 1000000, default 50.
    #[serde(default = "fifty")]
    pub resolvers: u32,
    /// Zipf's exponent of how many clients each resolver serves; 0 is all alike.
    #[serde(default)]
    pub resolver_skew: f64,
    /// When the address of a dead balancer is removed from answers, after its death; default: never.
    pub withdraw_after: Option<Nanos>,
    /// What a client does with an answer of several addresses: it uses the `"first"`, or `"all"`, one by lot for each
    /// request and another when it cannot be reached.
    #[serde(default)]
    pub clients_use: AddressesTable,
}

/// What a client does with several addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddressesTable {
    /// The first, until the answer has run out.
    #[default]
    First,
    /// Any of them, and the others after it.
    All,
}

fn fifty() -> u32 {
    50
}

/// `[balancers]`: how many there are, and where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BalancersTable {
    /// Balancers, 1 to 1000; default 1.
    #[schemars(with = "u32")]
    pub count: Spanned<u32>,
    /// Independent selectors in each balancer, such as threads: 1 to 1000; default 1.
    #[schemars(with = "u32")]
    pub shards: Spanned<u32>,
    /// Whether the shards of a balancer share their in-flight counts; default false.
    pub shared_in_flight: bool,
    /// Where they stand, in turn: with two names balancers 1, 3, 5, … are in the first.
    #[schemars(with = "Vec<String>")]
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

/// `[[expect]]`: an assertion that `evenkeel check` verifies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectTable {
    /// A comparison of two metrics, or of a metric and a value: `latency.p99[p2c] < 0.5 * latency.p99[random]`.
    #[schemars(with = "String")]
    pub assert: Spanned<String>,
    /// Why it must hold; printed by `evenkeel check` when it does not.
    pub reason: String,
}
