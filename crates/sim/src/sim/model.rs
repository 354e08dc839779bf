//! What an engine runs: the experiment with every name resolved, every file read and every number checked. A scenario
//! builds it; nothing in here is text any more, save for what reports show.

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

/// [`Model::max_in_system`] where a scenario does not say.
pub const MAX_IN_SYSTEM: u32 = 4_000_000;

/// An experiment, but for strategy and seed.
#[derive(Clone, Debug)]
pub struct Model {
    /// Requests that arrive before this are not measured.
    pub warmup: Nanos,
    /// Requests that arrive in this span after the warm-up are measured.
    pub duration: Nanos,
    /// How long to wait after that for the measured ones to end.
    pub drain: Nanos,
    /// Requests that arrive before this are not counted in cache hit ratios: caches fill by their own clock. At least
    /// `warmup`.
    pub cache_warmup: Nanos,
    /// Bins of the time series over warm-up and duration.
    pub bins: u32,
    /// Equal parts of the measured span that are recorded apart, for batch means; 0 for none.
    pub batches: u32,
    /// A run stops where it holds more requests (with attempts and calls) than this; four scheduled events, or two cache
    /// entries, weigh as much as a request. About 300 bytes each.
    pub max_in_system: u32,
    /// When requests come.
    pub arrivals: Arrivals,
    /// They come in batches of this size, at rates that `arrivals` gives for requests; `None` for one at a time. Only of arrivals
    /// that are Poisson, constant or renewals.
    pub batch: Option<BatchSize>,
    /// Who sends them.
    pub clients: Clients,
    /// What they ask for.
    pub paths: Vec<Path>,
    /// Law of choice among the paths.
    pub path_mix: Alias,
    /// Hop from client to balancer and back.
    pub client_leg: Sampler,
    /// Hop from balancer to server and back.
    pub server_leg: Sampler,
    /// What such a hop takes longer between zones.
    pub cross_zone: Nanos,
    /// Names, if clients find balancers by them.
    pub dns: Option<Dns>,
    /// The entry tier.
    pub balancers: Balancers,
    /// The servers.
    pub pools: Vec<Pool>,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
}

impl Model {
    /// How many clients there are.
    pub fn client_count(&self) -> usize {
        match &self.arrivals {
            Arrivals::Replay(replay) => replay.clients.len(),
            _ => self.clients.addresses.len(),
        }
    }

    /// Whether balancers and servers stand in zones.
    pub fn has_zones(&self) -> bool {
        let some = |pool: &Pool| pool.servers.iter().any(|server| server.zone.is_some());
        !self.balancers.zones.is_empty() && self.pools.iter().any(some)
    }

    /// Whether results are given by path, too: where there are several and not too many.
    pub fn paths_are_told_apart(&self) -> bool {
        (2..=16).contains(&self.paths.len()) && !matches!(self.arrivals, Arrivals::Replay(_))
    }
}

/// When requests come.
#[derive(Clone, Debug)]
pub enum Arrivals {
    /// Poisson with a rate that follows a curve.
    Poisson(RateCurve),
    /// One every so many nanoseconds.
    Constant {
        /// Nanoseconds from one to the next.
        gap: f64,
    },
    /// Independent gaps of one distribution.
    Renewal {
        /// Gaps, up to a factor.
        distribution: Sampler,
        /// That factor.
        scale: f64,
    },
    /// Each client sends, waits for the answer, thinks, and sends again: at once where it does not think. So that simulated
    /// time goes on, a client pauses for 10 µs after a failure that took no time, and after 1,000 good answers in a row that
    /// took none.
    Closed {
        /// How long they think.
        think: Sampler,
    },
    /// As recorded.
    Replay(Replay),
}

/// How many requests come at the same moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BatchSize {
    /// Always as many; at least 1.
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

/// Recorded requests.
#[derive(Clone, Debug)]
pub struct Replay {
    /// In order of arrival.
    pub entries: Arc<[Recorded]>,
    /// Client addresses that entries refer to.
    pub clients: Arc<[std::net::IpAddr]>,
    /// Time is divided by this.
    pub speed: f64,
    /// Span after which it starts again, at recorded speed; `None` plays once.
    pub repeat: Option<Nanos>,
}

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Since the first.
    pub arrival: Nanos,
    /// Index into the replay's clients.
    pub client: u32,
    /// Index into the model's paths.
    pub path: u32,
    /// Bytes of the answer.
    pub bytes: u32,
}

/// Who sends.
#[derive(Clone, Debug)]
pub struct Clients {
    /// An address for each client.
    pub addresses: Arc<[std::net::IpAddr]>,
    /// Law of choice among them.
    pub mix: Alias,
    /// A client that has had no answer for so long gives up. Drawn for each request.
    pub timeout: Option<Sampler>,
    /// A client whose request has not begun service for so long abandons it. Drawn for each request.
    pub patience: Option<Sampler>,
    /// Whether servers notice that a client has given up: the request leaves the server's queue at that moment, and one that
    /// is on its way there is dropped when it arrives. What is being served goes on. The same holds of attempts that are no
    /// longer wanted.
    pub servers_see_cancel: bool,
    /// How long a client tries to reach a balancer that is not there.
    pub connect_timeout: Nanos,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Path {
    /// As in a URL.
    pub path: String,
    /// Index into the pools.
    pub pool: usize,
    /// Work it brings, at speed 1, when nothing is cached.
    pub service: Sampler,
    /// Further work for each byte of the answer, nanoseconds (replayed requests know their size).
    pub per_byte: f64,
    /// By what caches and hashes know the request.
    pub keys: Keys,
}

/// By what caches and hashes know a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// The path itself.
    Path,
    /// One of many items, the same for everyone.
    Shared(Alias),
    /// One of many items of the client's own.
    PerClient(Alias),
}

/// How clients find balancers.
#[derive(Clone, Debug)]
pub struct Dns {
    /// How long an answer is kept by a resolver.
    pub ttl: Nanos,
    /// Resolvers; each serves a share of the clients.
    pub resolvers: u32,
    /// Law by which a client belongs to a resolver.
    pub resolver_mix: Alias,
    /// A dead balancer's address is withdrawn this long after its death; `None` leaves it in for good.
    pub withdraw_after: Option<Nanos>,
    /// Whether clients use all addresses of an answer, or the first.
    pub all_addresses: bool,
}

/// The entry tier.
#[derive(Clone, Debug)]
pub struct Balancers {
    /// Machines.
    pub count: u32,
    /// Independent selectors in each.
    pub shards: u32,
    /// Whether the shards of a machine share in-flight counts.
    pub shared_in_flight: bool,
    /// Names of zones that they stand in, in turn; empty for nowhere in particular.
    pub zones: Vec<String>,
}

impl Balancers {
    /// Where one of them stands.
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
    /// Its strategy; `None` takes the one under comparison.
    pub strategy: Option<StrategyConfig>,
    /// Its servers.
    pub servers: Vec<Server>,
    /// What stands around a pick: checks, ejection, slow start, retries and the like.
    pub policy: Arc<Rules>,
    /// Servers report their load this often.
    pub reports: Option<Reports>,
    /// Work of answering a strategy's probe, at speed 1; where it is given, probes are among the measures.
    pub probes: Option<Nanos>,
    /// A second tier behind the servers of this pool.
    pub backend: Option<Backend>,
    /// Picks are made for connections.
    pub connections: Option<Connections>,
    /// Servers come and go.
    pub autoscale: Option<Autoscale>,
    /// Balancers in front of this pool when it is a second tier; each calling server uses one of them.
    pub inner_shards: u32,
}

impl Pool {
    /// Whether its requests may send more than one attempt.
    pub fn tries(&self) -> bool {
        self.policy.retries.is_some() || self.policy.hedge.is_some()
    }

    /// Whether nothing stands between a strategy and its servers: no check, limit, retry or the like.
    pub fn is_bare(&self) -> bool {
        let alone = self.connections.is_none() && self.autoscale.is_none();
        alone && *self.policy == Rules::default() && self.servers.iter().all(|server| server.max_in_flight.is_none())
    }
}

/// Reports that servers send by themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reports {
    /// From one to the next; `None` for none by the clock.
    pub interval: Option<Nanos>,
    /// All at the same moment, or each at its own.
    pub synchronised: bool,
    /// On top of the network: making, collecting, distributing.
    pub delay: Nanos,
    /// Each answer carries one, for the balancer it goes to; `None` for as the strategy wants.
    pub with_answers: Option<bool>,
    /// Who hears of a server that has become idle; `None` for as the strategy wants.
    pub idle_notifications: Option<IdleNotice>,
}

/// Connections that outlive a request.
#[derive(Clone, Copy, Debug)]
pub struct Connections {
    /// Requests until one is closed.
    pub max_requests: u32,
    /// Time until one is closed.
    pub max_lifetime: Nanos,
}

/// Servers come and go with the load.
#[derive(Clone, Copy, Debug)]
pub struct Autoscale {
    /// Busy share that is aimed at.
    pub target: f64,
    /// Never fewer.
    pub min_servers: u32,
    /// At first.
    pub initial_servers: u32,
    /// How often it is looked.
    pub interval: Nanos,
    /// From the decision until a new server is there.
    pub delay: Nanos,
    /// After any change nobody is sent away for this long.
    pub cooldown: Nanos,
}

/// A call that a server makes before it can answer.
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
    /// When it begins, since the start of the run.
    pub at: Nanos,
    /// When it ends; `None` for never.
    pub until: Option<Nanos>,
    /// What has it.
    pub target: Target,
    /// A simple fault: what it does.
    pub kind: FaultKind,
    /// Its name in charts and timelines: the target, a colon and the kind.
    pub label: String,
}

impl Fault {
    /// The fault without its target.
    pub fn timed(&self) -> TimedFault {
        TimedFault { at: self.at, until: self.until, kind: self.kind }
    }

    /// Whether it is active at this moment.
    pub fn is_active(&self, now: Nanos) -> bool {
        self.timed().is_active(now)
    }
}

/// What has a fault.
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
