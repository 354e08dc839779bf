//! The input of the engine: the experiment with every name resolved, every file read and every number checked. A scenario
//! builds it. Only names that reports show are text.

use std::net::Ipv4Addr;
use std::sync::Arc;

use evenkeel_config::distribution::{Alias, Sampler};
pub use evenkeel_config::fault::FaultKind;
use evenkeel_config::fault::TimedFault;
pub use evenkeel_config::pool::{CacheSpec, Discipline, IdleNotice, Server};
use evenkeel_core::math;
use evenkeel_core::policy::Rules;
use evenkeel_core::rng::Source;
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::units::Nanos;

/// Default of [`Model::max_in_system`].
pub const MAX_IN_SYSTEM: u32 = 4_000_000;

/// An experiment without strategy and seed.
#[derive(Clone, Debug)]
pub struct Model {
    /// Requests that arrive before this are not measured.
    pub warmup: Nanos,
    /// Requests that arrive in this span after the warm-up are measured.
    pub duration: Nanos,
    /// Time after the measured span in which measured requests may still end.
    pub drain: Nanos,
    /// Requests that arrive before this are not counted in cache hit ratios, because caches fill more slowly. At least
    /// `warmup`.
    pub cache_warmup: Nanos,
    /// Bins of the time series over warm-up and duration.
    pub bins: u32,
    /// Equal parts of the measured span that are recorded separately, for batch means; 0 for none.
    pub batches: u32,
    /// A run stops when it holds more requests (with attempts and calls) than this. Four scheduled events, or two cache
    /// entries, count as one request. 130 to 200 bytes each.
    pub max_in_system: u32,
    /// The arrival process.
    pub arrivals: Arrivals,
    /// Size of arrival batches, at rates that `arrivals` gives for requests; `None` for single arrivals. Only for Poisson,
    /// constant and renewal arrivals.
    pub batch: Option<BatchSize>,
    /// The clients.
    pub clients: Clients,
    /// The requested paths.
    pub paths: Vec<Path>,
    /// Distribution of the choice among the paths.
    pub path_mix: Alias,
    /// Delay of one hop between client and balancer, each way.
    pub client_leg: Sampler,
    /// Delay of one hop between balancer and server, each way.
    pub server_leg: Sampler,
    /// Extra delay of such a hop between zones.
    pub cross_zone: Nanos,
    /// DNS, if clients find balancers by name; else `None`.
    pub dns: Option<Dns>,
    /// The entry tier.
    pub balancers: Balancers,
    /// The pools of servers.
    pub pools: Vec<Pool>,
    /// The faults, with their times.
    pub faults: Vec<Fault>,
    /// Changes of the arrival rate, in the order in which they apply where times are equal.
    pub load_changes: Vec<LoadChange>,
}

impl Model {
    /// Number of clients.
    pub fn client_count(&self) -> usize {
        match &self.arrivals {
            Arrivals::Replay(replay) => replay.clients.len(),
            _ => self.clients.addresses.len(),
        }
    }

    /// Whether balancers and servers are in zones.
    pub fn has_zones(&self) -> bool {
        let some = |pool: &Pool| pool.servers.iter().any(|server| server.zone.is_some());
        !self.balancers.zones.is_empty() && self.pools.iter().any(some)
    }

    /// The spans in which changes of the load apply, in time order: start, end (`None` for the end of the run), and how many
    /// times the rate of [`Model::arrivals`]. Spans of the unchanged rate are left out.
    pub fn load_spans(&self) -> Vec<(Nanos, Option<Nanos>, f64)> {
        let mut changes: Vec<&LoadChange> = self.load_changes.iter().collect();
        changes.sort_by_key(|change| change.at);
        let next = changes.iter().skip(1).map(|change| Some(change.at)).chain([None]);
        let spans = changes.iter().zip(next).map(|(change, until)| (change.at, until, change.factor));
        spans.filter(|&(at, until, factor)| factor != 1.0 && until != Some(at)).collect()
    }

    /// Whether results are also given by path: from 2 to 16 paths, and no replay.
    pub fn paths_are_told_apart(&self) -> bool {
        (2..=16).contains(&self.paths.len()) && !matches!(self.arrivals, Arrivals::Replay(_))
    }
}

/// The arrival process.
#[derive(Clone, Debug)]
pub enum Arrivals {
    /// Poisson with a rate that follows a curve.
    Poisson(RateCurve),
    /// Constant gaps between arrivals.
    Constant {
        /// Nanoseconds between two arrivals.
        gap: f64,
    },
    /// Renewal process: independent gaps of one distribution.
    Renewal {
        /// Distribution of the gaps, before scaling.
        distribution: Sampler,
        /// Factor by which each gap is multiplied.
        scale: f64,
    },
    /// Closed loop: each client sends, waits for the response, thinks, and sends again (at once without a think time). So
    /// that simulated time advances, a client pauses for 10 µs after a failure that took no time, and after 1,000 successful
    /// responses in a row that took none.
    Closed {
        /// Distribution of the think time.
        think: Sampler,
    },
    /// Recorded arrivals.
    Replay(Replay),
}

/// Number of requests that arrive at the same moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BatchSize {
    /// Constant size; at least 1.
    Constant(u32),
    /// Geometric on 1, 2, …; the mean is at least 1.
    Geometric {
        /// Mean.
        mean: f64,
    },
}

impl BatchSize {
    /// The mean.
    pub fn mean(self) -> f64 {
        match self {
            BatchSize::Constant(size) => f64::from(size),
            BatchSize::Geometric { mean } => mean,
        }
    }

    /// Variance over mean: what batches add to the variability of arrivals that come one at a time.
    pub fn dispersion(self) -> f64 {
        match self {
            BatchSize::Constant(_) => 0.0,
            BatchSize::Geometric { mean } => mean - 1.0,
        }
    }

    /// The size of one batch.
    pub fn sample(self, source: &mut impl Source) -> u32 {
        match self {
            BatchSize::Constant(size) => size,
            BatchSize::Geometric { mean } if mean <= 1.0 => 1,
            // By inversion: P(size > k) = (1 - 1 / mean)^k.
            BatchSize::Geometric { mean } => {
                1 + (math::ln(source.open_unit()) / math::ln_1p(-1.0 / mean)).min(1e9) as u32
            }
        }
    }
}

/// A rate that changes linearly between points; it repeats with `period` if given, else the last one stays.
#[derive(Clone, Debug)]
pub struct RateCurve {
    /// (seconds from the start, events per second), ascending in time, the first at 0. A jump is two points at one time.
    pub points: Vec<(f64, f64)>,
    /// Seconds after which the curve starts again.
    pub period: Option<f64>,
}

/// Recorded requests to replay.
#[derive(Clone, Debug)]
pub struct Replay {
    /// In order of arrival.
    pub entries: Arc<[Recorded]>,
    /// Client addresses that entries refer to.
    pub clients: Arc<[std::net::IpAddr]>,
    /// Speed: recorded times are divided by this.
    pub speed: f64,
    /// Period after which the recording starts again, at recorded speed; `None` plays it once.
    pub repeat: Option<Nanos>,
}

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Time since the first request.
    pub arrival: Nanos,
    /// Index into the replay's clients.
    pub client: u32,
    /// Index into the model's paths.
    pub path: u32,
    /// Bytes of the response.
    pub bytes: u32,
}

/// The population of clients.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Address of each client, by index.
    pub addresses: Arc<[std::net::IpAddr]>,
    /// Distribution of the choice among the clients.
    pub mix: Alias,
    /// Timeout: a client without a response after this time gives up. Drawn for each request; `None` for none.
    pub timeout: Option<Sampler>,
    /// Patience: a client whose request has not started service after this time abandons it. Drawn for each request; `None`
    /// for none.
    pub patience: Option<Sampler>,
    /// Whether servers notice that a client has given up: the request leaves the server's queue at that moment, and one in
    /// transit is dropped on arrival. A request in service continues. The same holds for attempts that are no longer wanted.
    pub servers_see_cancel: bool,
    /// Connect timeout of a client whose balancer is down.
    pub connect_timeout: Nanos,
}

/// A requested path.
#[derive(Clone, Debug)]
pub struct Path {
    /// The path, as in a URL.
    pub path: String,
    /// Index into the pools.
    pub pool: usize,
    /// Work of a request, at speed 1, on a cache miss.
    pub service: Sampler,
    /// Further work for each byte of the response, nanoseconds (only for replayed requests, whose size is known).
    pub per_byte: f64,
    /// The key of the request for caches and hashing.
    pub keys: Keys,
}

/// How the key of a request for caches and hashing is made.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// From the path itself.
    Path,
    /// From one of many items, common to all clients.
    Shared(Alias),
    /// From one of many items of the client's own.
    PerClient(Alias),
}

/// DNS: how clients find balancers.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Time to live of a response in a resolver's cache.
    pub ttl: Nanos,
    /// Number of resolvers; each serves a share of the clients.
    pub resolvers: u32,
    /// Distribution that assigns a client to a resolver.
    pub resolver_mix: Alias,
    /// Time after a balancer's failure at which its address is withdrawn; `None` if it never is.
    pub withdraw_after: Option<Nanos>,
    /// Whether clients use all addresses of a response, or only the first.
    pub all_addresses: bool,
}

/// The entry tier of balancers.
#[derive(Clone, Debug)]
pub struct Balancers {
    /// Number of balancers.
    pub count: u32,
    /// Independent selectors per balancer.
    pub shards: u32,
    /// Whether the shards of a balancer share in-flight counts.
    pub shared_in_flight: bool,
    /// Zones of the balancers, assigned round robin; empty without zones.
    pub zones: Vec<String>,
}

impl Balancers {
    /// Zone of a balancer.
    pub fn zone(&self, balancer: u32) -> Option<&str> {
        let zones = self.zones.len();
        (zones > 0).then(|| self.zones[balancer as usize % zones].as_str())
    }
}

/// A group of servers behind one strategy.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its strategy; `None` for the strategy under comparison.
    pub strategy: Option<StrategyConfig>,
    /// Its servers.
    pub servers: Vec<Server>,
    /// The policies around a pick: health checks, ejection, slow start, retries and the like.
    pub policy: Arc<Rules>,
    /// The load reports that its servers send.
    pub reports: Option<Reports>,
    /// Work of answering a strategy's probe, at speed 1; if set, the number of probes is among the metrics.
    pub probes: Option<Nanos>,
    /// The second tier that the servers of this pool call; `None` for none.
    pub backend: Option<Backend>,
    /// Connection affinity, if picks are made per connection; else `None`.
    pub connections: Option<Connections>,
    /// Autoscaling; `None` for a fixed number of servers.
    pub autoscale: Option<Autoscale>,
    /// Balancers in front of this pool when it is a second tier; each calling server uses one of them.
    pub inner_shards: u32,
}

impl Pool {
    /// Whether its requests may send more than one attempt.
    pub fn tries(&self) -> bool {
        self.policy.retries.is_some() || self.policy.hedge.is_some()
    }

    /// Whether the strategy alone decides: no health check, limit, retry or other policy.
    pub fn is_bare(&self) -> bool {
        let alone = self.connections.is_none() && self.autoscale.is_none();
        alone && *self.policy == Rules::default() && self.servers.iter().all(|server| server.max_in_flight.is_none())
    }
}

/// The load reports of a pool's servers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reports {
    /// Interval of periodic reports; `None` for no periodic reports.
    pub interval: Option<Nanos>,
    /// Whether all servers report at the same moment, or each at its own offset.
    pub synchronised: bool,
    /// Delay of a report on top of the network: to make, collect and distribute it.
    pub delay: Nanos,
    /// Whether each response carries a report to its balancer; `None` for what the strategy wants.
    pub with_answers: Option<bool>,
    /// Which balancers are notified of an idle server; `None` for what the strategy wants.
    pub idle_notifications: Option<IdleNotice>,
}

/// Lifetime of connections that carry more than one request.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// Number of requests after which a connection closes.
    pub max_requests: u32,
    /// Time after which a connection closes.
    pub max_lifetime: Nanos,
}

/// Autoscaling of a pool.
#[derive(Clone, Copy, Debug)]
pub struct Autoscale {
    /// Target utilisation, as a share.
    pub target: f64,
    /// Minimum number of servers.
    pub min_servers: u32,
    /// Number of servers at the start.
    pub initial_servers: u32,
    /// Interval between two checks of the load.
    pub interval: Nanos,
    /// Time from the decision until a new server is ready.
    pub delay: Nanos,
    /// Time after any change during which no server is removed.
    pub cooldown: Nanos,
}

/// A call that a server makes before it can respond.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Index of the pool that is called.
    pub pool: usize,
    /// Whether a cache hit saves the call.
    pub on_miss: bool,
    /// Work of a call, at speed 1.
    pub service: Sampler,
}

/// A fault of a server or a balancer.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Start, since the start of the run.
    pub at: Nanos,
    /// End, since the start of the run; `None` for a fault that never ends.
    pub until: Option<Nanos>,
    /// The server, pool or balancer that has the fault.
    pub target: Target,
    /// Effect of the fault.
    pub kind: FaultKind,
    /// Its name in charts and timelines: the target, a colon and the kind.
    pub label: String,
}

impl Fault {
    /// The fault's name without its target.
    pub fn timed(&self) -> TimedFault {
        TimedFault { at: self.at, until: self.until, kind: self.kind }
    }

    /// Whether it is active at this time.
    pub fn is_active(&self, now: Nanos) -> bool {
        self.timed().is_active(now)
    }
}

/// A change of the arrival rate. Only for Poisson, constant and renewal arrivals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadChange {
    /// Time, since the start of the run.
    pub at: Nanos,
    /// Arrivals come at this many times the rate of [`Model::arrivals`] from now on; 0 stops them.
    pub factor: f64,
    /// Number of the model's faults that come before it where times are equal.
    pub after_faults: usize,
}

/// The target of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A server: pool and index.
    Server {
        /// Index of the pool.
        pool: usize,
        /// Index of the server in it.
        server: usize,
    },
    /// A balancer.
    Balancer(u32),
}

/// The address of client number `i` when the scenario gives none: distinct, spread over 10.0.0.0/8.
pub fn address(i: u32) -> Ipv4Addr {
    // An odd multiplier permutes the 2^24 host parts.
    let host = i.wrapping_mul(0x009e_3779) & 0x00ff_ffff;
    Ipv4Addr::from(0x0a00_0000 | host)
}
