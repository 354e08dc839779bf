//! The tables of a scenario file, as they are written. Unknown keys are refused everywhere; values that an error message may
//! be about keep their span. Enums are tagged by their key (`arrivals = { poisson = { … } }`), so that every error points at
//! the value it is about.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use super::Kind;
use super::strategy_list::StrategyList;
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
    /// One line, printed above results and charts. Not empty.
    pub title: Spanned<String>,
    /// What the scenario asks, in prose: printed before the results, so it does not tell the answer.
    pub question: Spanned<String>,
    /// What the results show, in prose: printed after them.
    pub answer: Option<Spanned<String>>,
    /// Whether the numbers describe a long run or one course of events; default `"steady"`.
    #[serde(default)]
    pub kind: Kind,
    /// Seed of all randomness; default 1. The seeds of the replications are derived from it.
    pub seed: Option<u64>,
    /// Runs per strategy, each with a seed of its own: 1 to 10000, default 10. Intervals need at least five.
    pub replications: Option<Spanned<u32>>,
    /// Simulated time that is measured, after the warm-up. Above zero.
    pub duration: Spanned<Nanos>,
    /// Simulated time before measuring begins: a duration, or `"auto"`, which finds it by a pilot run and MSER-5. Default a tenth of
    /// `duration`. A terminating scenario has none.
    pub warmup: Option<Spanned<Warmup>>,
    /// Warm-up of the cache hit ratio, at least `warmup`; default as `warmup`.
    pub cache_warmup: Option<Spanned<Warmup>>,
    /// How long a run goes on after the measured time for requests that arrived in it; default as `duration`. What has not ended
    /// by then counts at its age.
    pub drain: Option<Nanos>,
    /// Time bins of `timeseries.csv` and its chart: up to 10000, default 100.
    pub bins: Option<Spanned<u32>>,
    /// Whether the scenario may offer more work than the servers can do; default false: such a scenario is refused.
    #[serde(default)]
    pub allow_overload: bool,
    /// A run stops with an error where it holds more requests than this, attempts and calls to a second tier among them; four
    /// scheduled events (time-outs of requests that have ended, too) or two cache entries weigh as much as a request. From 1
    /// to 100000000; 4000000 unless given, which takes about 1.2 GB for each run at the same time.
    pub max_in_system: Option<Spanned<u32>>,
    /// Instead of replications: one long run per strategy, cut into this many batches, 10 to 1000. Default: replications.
    pub batches: Option<Spanned<u32>>,
    /// What is compared: `"core"` (a dozen that matter), `"all"`, or a list of names and of tables with parameters. Default: all.
    pub strategies: Option<Spanned<StrategyList>>,
    /// Instead of `strategies`: strategies under names of your own, each with its own random stream.
    #[serde(default)]
    pub variants: Vec<VariantTable>,
    /// When requests arrive.
    pub arrivals: Spanned<ArrivalsTable>,
    /// Distribution of the work of a request: its service time at a server of `speed` 1. Required unless each path has its own.
    pub service: Option<Spanned<Distribution>>,
    /// Additional work for each byte of the answer, in replays; default 0.
    pub per_byte: Option<Nanos>,
    /// Keys of requests, for caches and hashing. Default: the path is the key.
    pub keys: Option<Spanned<KeysTable>>,
    /// Kinds of requests, by path. Default: one kind, `/`.
    pub paths: Option<Spanned<Vec<Spanned<PathTable>>>>,
    /// Clients and how long they wait.
    #[serde(default)]
    pub clients: ClientsTable,
    /// Delays between clients, balancers and servers.
    #[serde(default)]
    pub network: NetworkTable,
    /// DNS round robin over several balancers. Default: each request goes to a random balancer.
    pub dns: Option<Spanned<DnsTable>>,
    /// Balancers, each with selectors of its own.
    #[serde(default)]
    pub balancers: BalancersTable,
    /// Pools of servers, at least one.
    pub pools: Spanned<Vec<Spanned<PoolTable>>>,
    /// Which path prefixes and hosts go to which pool; the longest wins. Default: all to the only pool that is no
    /// second tier.
    pub routes: Option<Vec<RouteTable>>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<Spanned<FaultTable>>,
    /// Axes of `evenkeel sweep`; several make a grid.
    #[serde(default)]
    pub sweep: Vec<SweepTable>,
    /// Settings of `evenkeel sweep --sensitivity`.
    pub sensitivity: Option<SensitivityTable>,
    /// What must hold; `evenkeel check` verifies it.
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
    /// Name in tables and results.
    pub name: Spanned<String>,
    /// The strategy, with parameters if needed.
    pub strategy: Spanned<Strategy>,
}

/// `[[sweep]]`: `key = "arrivals.poisson.load"`, or `keys` that move together, and `values`. Several make a grid.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepTable {
    /// Path of the value to vary; elements of arrays go by their name: `pools.web.servers.web.count`.
    pub key: Option<Spanned<String>>,
    /// Paths of several values that vary together.
    #[serde(default)]
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
    pub by: Option<Spanned<Ratio>>,
    /// Paths of the constants; default: every number of the model.
    pub keys: Option<Vec<Spanned<String>>>,
    /// Metric that ranks the strategies; default `latency.p99`.
    pub metric: Option<Spanned<String>>,
}

/// When requests arrive: one of these.
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
        /// Instead of `rate`: share of what the servers can do.
        load: Option<Spanned<Ratio>>,
        /// Requests come in batches, as under `poisson`.
        batch: Option<Spanned<BatchTable>>,
    },
    /// Poisson at `base`, and every so often at `peak` for a while.
    Bursts {
        /// Rate between bursts.
        base: Spanned<Rate>,
        /// Rate in a burst.
        peak: Spanned<Rate>,
        /// Time from the start of one burst to the start of the next.
        every: Spanned<Nanos>,
        /// Duration of a burst.
        length: Spanned<Nanos>,
    },
    /// Poisson at a rate that rises or falls evenly from `from` to `to` over `over`, and then stays.
    Ramp {
        /// Rate at the start.
        from: Spanned<Rate>,
        /// Rate at the end of the ramp, and after it.
        to: Spanned<Rate>,
        /// Duration of the ramp, above zero; default: warm-up and `duration`.
        over: Option<Spanned<Nanos>>,
    },
    /// Each client sends, waits for the answer, thinks and sends again: at once where `think` is zero. A client pauses for
    /// 10 µs after a failure that took no time at all, and after 1,000 good answers in a row that took none.
    Closed {
        /// Time from an answer to the client's next request.
        think: Spanned<Distribution>,
    },
    /// As recorded in a workload file (`evenkeel import`).
    Replay {
        /// Workload file, relative to the scenario.
        file: Spanned<String>,
        /// How many times as fast as recorded; above zero, default 1.
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
    /// Requests per second. Exactly one of `rate` and `load` is given.
    pub rate: Option<Spanned<Rate>>,
    /// Requests as a share of what the servers can do, nothing cached: the rate follows from work and servers.
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

/// `[[paths]]`: a kind of request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathTable {
    /// The path.
    pub path: Spanned<String>,
    /// Its part of the requests, relative to the other paths' shares; default 1.
    #[serde(default = "one")]
    pub share: Spanned<f64>,
    /// Distribution of its requests' work; default: the scenario's.
    pub service: Option<Spanned<Distribution>>,
    /// Additional work for each byte of its answers; default: the scenario's.
    pub per_byte: Option<Nanos>,
    /// Its keys; default: the scenario's.
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

/// `[clients]`: how many there are and how long they wait.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientsTable {
    /// Clients, each with an address of its own: 1 to 1000000, default 1000.
    pub count: Spanned<u32>,
    /// Zipf exponent of the share that each sends, 0 to 10; default 0: all equal.
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

/// `[network]`: one-way delays.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkTable {
    /// One-way delay between client and balancer: a duration or a distribution; default 0.
    pub client: Option<Spanned<Delay>>,
    /// One-way delay between balancer and server: a duration or a distribution; default 0.
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

/// `[dns]`: DNS round robin over the balancers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsTable {
    /// How long a resolver uses an answer.
    pub ttl: Nanos,
    /// Resolvers, each with its share of the clients: 1 to 1000000, default 50.
    #[serde(default = "fifty")]
    pub resolvers: u32,
    /// Zipf exponent of the share of clients that each resolver serves, 0 to 10; default 0: all equal.
    #[serde(default)]
    pub resolver_skew: f64,
    /// When the address of a dead balancer is removed from answers, after its death; default: never.
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

/// `[balancers]`: how many there are, and where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BalancersTable {
    /// Balancers, 1 to 1000; default 1.
    pub count: Spanned<u32>,
    /// Independent selectors in each balancer, such as threads: 1 to 1000; default 1.
    pub shards: Spanned<u32>,
    /// Whether the shards of a balancer share their in-flight counts; default false.
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

/// `[[expect]]`: an assertion that `evenkeel check` verifies.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectTable {
    /// A comparison of two metrics, or of a metric and a value: `latency.p99[p2c] < 0.5 * latency.p99[random]`.
    pub assert: Spanned<String>,
    /// Why it must hold; printed by `evenkeel check` when it does not.
    pub reason: String,
}
