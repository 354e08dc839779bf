//! Servers: their tables, and the servers one by one.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::require;
use crate::Spanned;
use crate::diagnostic::{Problem, Problems};
use evenkeel_core::policy::catalog::ServerFacts;
use evenkeel_core::units::{Nanos, Ratio};

/// The largest weight of a server, as gRPC's.
pub const MOST_WEIGHT: u32 = 65_535;

/// The last priority level, as Envoy's.
pub const MOST_PRIORITY: u32 = 127;

/// The largest `count` of a server table.
const MOST_COPIES: u32 = 100_000;

/// One `[[pools.servers]]`: a server, or `count` alike.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTable {
    /// Name, unique in the pool; with `count` above 1 the stem, to which `-1`, `-2`, … are added.
    pub name: Spanned<String>,
    /// Number of such servers, 1 to 100,000; default 1.
    #[serde(default = "one")]
    pub count: Spanned<u32>,
    /// Work per unit of time, above 0; default 1. A server of speed 2 needs half of the service times. The simulator's and
    /// the test servers'.
    #[serde(default = "unit")]
    pub speed: Spanned<f64>,
    /// Requests served at once, at least 1. `fcfs`: each at full speed, default 1. `ps`: the most that share the speed,
    /// unlimited unless given.
    pub concurrency: Option<Spanned<u32>>,
    /// Most requests that wait at the server for service; further ones are rejected. `None`: unlimited.
    pub queue_limit: Option<u32>,
    /// `"fcfs"` (first come, first served; the default) or `"ps"` (processor sharing).
    #[serde(default)]
    pub discipline: Discipline,
    /// Weight that the balancer uses, 0 to 65,535; default 1. A weight of 0 drains the server.
    #[serde(default = "one")]
    pub weight: Spanned<u32>,
    /// Most requests in flight from one balancer, or from one shard without shared counts; at least 1. `None`: unlimited.
    /// HAProxy's `maxconn`.
    pub max_in_flight: Option<Spanned<u32>>,
    /// Name of the zone that the server is in. `None`: in no zone.
    pub zone: Option<Spanned<String>>,
    /// Priority level, 0 to 127; default 0. Level 1 takes over when too few servers of level 0 are healthy, and so on.
    #[serde(default = "zero")]
    pub priority: Spanned<u32>,
    /// Address at which the proxy finds it: `"127.0.0.1:9001"`, `"app.internal:8080"`. Scenarios need none.
    pub address: Option<Spanned<String>>,
    /// `cache = { capacity = 1000 }`. `None`: the server has no cache.
    pub cache: Option<Spanned<CacheTable>>,
}

fn zero() -> Spanned<u32> {
    Spanned::new(0..0, 0)
}

fn one() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn unit() -> Spanned<f64> {
    Spanned::new(0..0, 1.0)
}

/// The cache of a server: LRU, by the keys of the requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheTable {
    /// Entries, at least 1; the least recently used one is evicted.
    pub capacity: u32,
    /// Age at which an entry expires. `None`: never.
    pub ttl: Option<Nanos>,
    /// Service time of a hit, as a share of that of a miss; default 10 %.
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

/// A server, checked.
#[derive(Clone, Debug)]
pub struct Server {
    /// Unique in its pool.
    pub name: String,
    /// Work done per unit of time, above 0.
    pub speed: f64,
    /// First come first served: requests served at once, each at full speed. Processor sharing: the most that share;
    /// `u32::MAX` for unlimited.
    pub concurrency: u32,
    /// Most requests that wait at the server; further ones are rejected. `None`: unlimited.
    pub queue_limit: Option<u32>,
    /// How it divides itself between its requests.
    pub discipline: Discipline,
    /// Weight that balancers use, 0 to [`MOST_WEIGHT`].
    pub weight: u32,
    /// Most requests in flight from one balancer. `None`: unlimited.
    pub max_in_flight: Option<u32>,
    /// Its zone. `None`: in no zone.
    pub zone: Option<String>,
    /// Its priority level, 0 first, at most [`MOST_PRIORITY`].
    pub priority: u32,
    /// Where the proxy finds it, as written. `None` in scenarios.
    pub address: Option<String>,
    /// Its cache. `None`: it has none.
    pub cache: Option<CacheSpec>,
}

impl Server {
    /// A server with every key at its default: speed 1, concurrency 1, first come first served.
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

    /// Capacity: work per unit of time.
    pub fn capacity(&self) -> f64 {
        match self.discipline {
            Discipline::Fcfs => self.speed * f64::from(self.concurrency),
            Discipline::Ps => self.speed,
        }
    }
}

/// A cache, checked.
#[derive(Clone, Copy, Debug)]
pub struct CacheSpec {
    /// Capacity in entries, at least 1.
    pub capacity: NonZeroUsize,
    /// Age at which an entry expires. `None`: never.
    pub ttl: Option<Nanos>,
    /// Service time of a hit, as a share of that of a miss.
    pub hit_cost: f64,
    /// Factor on the load reported to a probe for a request whose answer is cached, 0 to 1.
    pub reported_load: f64,
}

/// Checks names of pools, servers and zones: they must be usable as a file name, a column and an expression.
pub fn check_name(name: &Spanned<String>, what: &str, problems: &mut Problems) {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | ':');
    let colon = name.get_ref().starts_with(':') || name.get_ref().ends_with(':');
    if name.get_ref().is_empty() || colon || !name.get_ref().chars().all(allowed) {
        let message = format!("`{}` cannot name a {what}", name.get_ref());
        problems
            .push(Problem::at(name.span(), message).help("use lower-case letters, digits, `-`, `_`, and `:` inside"));
    }
}

impl ServerTable {
    /// The properties that policies can read.
    pub fn facts(&self) -> ServerFacts<'_> {
        ServerFacts {
            max_in_flight: self.max_in_flight.as_ref().map(|limit| *limit.get_ref()),
            zone: self.zone.as_ref().map(|zone| zone.get_ref().as_str()),
            priority: *self.priority.get_ref(),
        }
    }

    /// Checks the values.
    fn check(&self, problems: &mut Problems) {
        check_name(&self.name, "server", problems);
        if let Some(zone) = &self.zone {
            check_name(zone, "zone", problems);
        }
        let speed = *self.speed.get_ref();
        let cache = self.cache.as_ref();
        for (sound, span, what) in [
            (*self.count.get_ref() > 0, self.count.span(), "count"),
            (speed > 0.0 && speed.is_finite(), self.speed.span(), "speed"),
            positive(self.concurrency.as_ref(), "concurrency"),
            positive(self.max_in_flight.as_ref(), "max_in_flight"),
            (cache.is_none_or(|c| c.get_ref().capacity > 0), cache.map_or(0..0, Spanned::span), "capacity"),
        ] {
            require(sound, span, format!("`{what}` must be above zero"), problems);
        }
        let (count, weight) = (*self.count.get_ref(), *self.weight.get_ref());
        let message = format!("`count` is above {MOST_COPIES}, which no run here can hold");
        require(count <= MOST_COPIES, self.count.span(), message, problems);
        let message = format!("`weight` is {weight}: at most {MOST_WEIGHT} is allowed");
        require(weight <= MOST_WEIGHT, self.weight.span(), message, problems).help("only the proportions matter");
        let message = format!("`priority` must be from 0 to {MOST_PRIORITY}");
        require(*self.priority.get_ref() <= MOST_PRIORITY, self.priority.span(), message, problems);
    }

    fn cache(&self) -> Option<CacheSpec> {
        let CacheTable { capacity, ttl, hit_cost, reported_load } = self.cache.as_ref()?.get_ref();
        let capacity = NonZeroUsize::new(*capacity as usize)?;
        Some(CacheSpec { capacity, ttl: *ttl, hit_cost: hit_cost.0, reported_load: reported_load.0 })
    }

    /// A server of this table with this name.
    fn server(&self, name: String) -> Server {
        let unlimited = if self.discipline == Discipline::Ps { u32::MAX } else { 1 };
        Server {
            name,
            speed: *self.speed.get_ref(),
            concurrency: self.concurrency.as_ref().map_or(unlimited, |c| *c.get_ref()),
            queue_limit: self.queue_limit,
            discipline: self.discipline,
            weight: *self.weight.get_ref(),
            max_in_flight: self.max_in_flight.as_ref().map(|limit| *limit.get_ref()),
            zone: self.zone.as_ref().map(|zone| zone.get_ref().clone()),
            priority: *self.priority.get_ref(),
            address: self.address.as_ref().map(|address| address.get_ref().clone()),
            cache: self.cache(),
        }
    }
}

fn positive(number: Option<&Spanned<u32>>, what: &'static str) -> (bool, std::ops::Range<usize>, &'static str) {
    (number.is_none_or(|n| *n.get_ref() > 0), number.map_or(0..0, Spanned::span), what)
}

/// The servers of these tables of a pool, one by one, with their names.
pub fn servers_of(pool: &str, tables: &Spanned<Vec<Spanned<ServerTable>>>, problems: &mut Problems) -> Vec<Server> {
    let mut servers: Vec<Server> = Vec::new();
    let mut names = BTreeSet::new();
    let mut weight = 0_u64;
    for table in tables.get_ref() {
        let t = table.get_ref();
        t.check(problems);
        weight += u64::from(*t.weight.get_ref());
        let count = *t.count.get_ref();
        if count > MOST_COPIES {
            continue;
        }
        servers.reserve_exact(count as usize);
        for i in 1..=count {
            let stem = t.name.get_ref();
            let name = if count == 1 { stem.clone() } else { format!("{stem}-{i}") };
            if !names.insert(name.clone()) {
                let message = format!("there is already a server `{name}` in this pool");
                problems.push(Problem::at(t.name.span(), message));
                break;
            }
            servers.push(t.server(name));
        }
    }
    if servers.is_empty() {
        problems.push(Problem::at(tables.span(), "this pool has no servers"));
    } else if weight == 0 {
        let first = tables.get_ref().iter().find(|table| table.get_ref().weight.span().end > 0);
        let span = first.map_or(tables.span(), |table| table.get_ref().weight.span());
        let message = format!("every server of pool `{pool}` has a weight of zero: no request could ever be sent");
        let help = "a weight of zero drains a server; give at least one a weight of 1";
        problems.push(Problem::at(span, message).help(help));
    }
    servers
}
