//! Pools, servers, checks and routes: the tables that a scenario and the proxy's config write alike.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use serde::Deserialize;
use toml::Spanned;

use super::diagnostic::{Problem, Problems};
use super::law::Law;
use crate::policy::health::Rules;
use crate::select::catalog::Strategy;
use crate::units::{Nanos, Ratio};

/// `[[pools]]`: servers behind one strategy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolTable {
    /// Unique; lower-case letters, digits, `-` and `_`.
    pub name: Spanned<String>,
    /// Its strategy; without one the pool takes the strategy under comparison.
    pub strategy: Option<Spanned<Strategy>>,
    /// `[[pools.servers]]`.
    pub servers: Spanned<Vec<Spanned<ServerTable>>>,
    /// `[pools.health]`: active checks.
    pub health: Option<Spanned<HealthTable>>,
    /// `[pools.reports]`: load reports that servers send by themselves.
    pub reports: Option<Spanned<ReportsTable>>,
    /// `[pools.backend]`: a second tier that servers call before they answer.
    pub backend: Option<Spanned<BackendTable>>,
    /// When this pool is a second tier: how many balancers stand before it, each with its own selector.
    pub shards: Option<Spanned<u32>>,
}

/// One `[[pools.servers]]`: a server, or `count` alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTable {
    /// Its name; with `count` above one the stem, to which `-1`, `-2`, … are added.
    pub name: Spanned<String>,
    /// How many such servers.
    #[serde(default = "one")]
    pub count: Spanned<u32>,
    /// Work per unit of time; 2 is twice as fast as the service times say.
    #[serde(default = "unit")]
    pub speed: Spanned<f64>,
    /// Requests served at once (`fcfs`), or the most that share (`ps`, where it is unlimited unless given).
    pub concurrency: Option<Spanned<u32>>,
    /// Requests that may wait for service; unlimited unless given.
    pub queue_limit: Option<u32>,
    /// `"fcfs"` (first come, first served) or `"ps"` (processor sharing).
    #[serde(default)]
    pub discipline: Discipline,
    /// What the balancer is told of its strength.
    #[serde(default = "one")]
    pub weight: Spanned<u32>,
    /// `cache = { capacity = 1000 }`.
    pub cache: Option<Spanned<CacheTable>>,
    /// `"127.0.0.1:9001"`: where a real one is. The simulator has no use for it.
    pub address: Option<Spanned<String>>,
}

fn one() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn unit() -> Spanned<f64> {
    Spanned::new(0..0, 1.0)
}

/// What a server remembers.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheTable {
    /// Entries it holds; the least recently used goes first.
    pub capacity: u32,
    /// Age at which an entry no longer counts; for ever unless given.
    pub ttl: Option<Nanos>,
    /// What a hit costs, as a share of the full service time.
    #[serde(default = "tenth")]
    pub hit_cost: Ratio,
}

fn tenth() -> Ratio {
    Ratio(0.1)
}

/// Active checks.
#[derive(Clone, Debug, Deserialize)]
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
}

impl Default for HealthTable {
    /// HAProxy's: every 2 s, rise 2, fall 3.
    fn default() -> HealthTable {
        HealthTable { interval: Nanos::from_secs(2), timeout: Nanos::from_secs(1), rise: 2, fall: 3 }
    }
}

/// Load reports that servers send by themselves (answers to health checks carry one too).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportsTable {
    /// From one report to the next.
    pub interval: Nanos,
    /// Time to make, collect and distribute it, on top of the network.
    #[serde(default)]
    pub delay: Nanos,
}

/// A call to a second tier.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendTable {
    /// The pool that is called.
    pub pool: Spanned<String>,
    /// Work of a call.
    pub service: Spanned<Law>,
    /// Whether a hit in the caller's cache saves the call.
    #[serde(default)]
    pub on_miss: bool,
}

/// `[[routes]]`: a path prefix and the pool that serves it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteTable {
    /// `"/pay"` takes `/pay` and `/pay/now`; the longest prefix wins.
    pub prefix: Spanned<String>,
    /// The pool.
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
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
}

/// The largest weight of a server, as gRPC's.
pub const MOST_WEIGHT: u32 = 65_535;

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
            let cache = t.cache.as_ref().and_then(|cache| {
                let c = cache.get_ref();
                let capacity = NonZeroUsize::new(c.capacity as usize);
                positive(capacity.is_some(), cache.span(), "capacity");
                Some(CacheSpec { capacity: capacity?, ttl: c.ttl, hit_cost: c.hit_cost.0 })
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

    /// The rules of the checks.
    pub fn rules(&self, problems: &mut Problems) -> Option<Rules> {
        let table = self.health.as_ref()?;
        let HealthTable { interval, timeout, rise, fall } = *table.get_ref();
        if interval < Nanos::from_millis(1) || timeout == Nanos::ZERO || rise == 0 || fall == 0 {
            let message = "`interval` must be at least 1ms, and `timeout`, `rise` and `fall` above zero";
            problems.push(Problem::at(table.span(), message));
        }
        Some(Rules { interval, timeout, rise, fall })
    }
}
