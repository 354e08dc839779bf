//! What happened in a run, over time and in bounded memory: [`Recorder`] watches a run and gives a [`Timeline`].
//!
//! Three things bound the memory, whatever the run does: a fixed number of cells for the series (bins are merged in pairs when
//! the run is longer), a fixed number of exact events (others are counted), and a record of fixed size for each job that is in
//! the system. Times are whole nanoseconds since the start of the run; servers, pools, faults and views are indices:
//! into [`Timeline::servers`], [`Timeline::pools`], the faults of the model, and the balancers (or shards) that count on their own.
//!
//! A folder of results has the timelines of its first replication as `timeline.jsonl.gz`: one [`Line`] per strategy.

mod bins;
mod lives;
mod recorder;
mod views;

use std::collections::BTreeMap;
use std::io::{self, BufRead};

use serde::{Deserialize, Serialize};

pub use recorder::Recorder;

/// Version of the format; a change that a reader must know of increases it.
pub const SCHEMA_VERSION: u32 = 1;
/// Most exact events that a timeline keeps.
pub const MOST_EVENTS: usize = 2000;
/// Most changes of limits among them: an adaptive limit changes all the time.
pub const MOST_LIMITS: usize = 400;
/// Most phases of a run.
pub const MOST_PHASES: usize = 24;
/// Number of slowest requests that are kept.
pub const SLOWEST: usize = 3;
/// Most picks that are kept with what the strategy saw.
pub const MOST_PICKS: usize = 8;
/// Picks are kept only in pools of at most so many servers.
pub const MOST_SEEN: usize = 64;

/// A line of `timeline.jsonl.gz`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Label of the strategy or variant.
    pub strategy: String,
    /// Its first replication.
    pub timeline: Timeline,
}

/// One run over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Version of the format.
    pub schema_version: u32,
    /// Width of a bin: 0.1 s, doubled as often as needed. Bin `i` covers `[i × bin_ns, (i + 1) × bin_ns)`.
    pub bin_ns: u64,
    /// Number of bins.
    pub bins: u32,
    /// End of the warm-up.
    pub warmup_ns: u64,
    /// End of the measured span; what arrives later is not measured.
    pub measured_until_ns: u64,
    /// End of the run.
    pub end_ns: u64,
    /// Every server, pool by pool.
    pub servers: Vec<ServerSeries>,
    /// Every pool.
    pub pools: Vec<PoolSeries>,
    /// The run in parts, in time order: they begin at its start, at the end of the warm-up, at the start and the end of each
    /// fault, and at the end of the measured span. At most [`MOST_PHASES`]; later parts are in the last one.
    pub phases: Vec<Phase>,
    /// Rare events, exactly, in time order; at most [`MOST_EVENTS`].
    pub events: Vec<Exact>,
    /// How many such events are not in `events`, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, u64>,
    /// The measured requests with the highest latency, the slowest first; among equal ones the earliest.
    pub slowest: Vec<Life>,
    /// A few picks with what the strategy saw, in time order.
    pub picks: Vec<PickSeen>,
}

/// A server, by bin. A series that is zero throughout is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerSeries {
    /// Name of the pool.
    pub pool: String,
    /// Name of the server.
    pub server: String,
    /// Requests (attempts, calls) that were sent to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub picks: Vec<u32>,
    /// Highest number of requests in it, waiting or in service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_server: Vec<u32>,
    /// Requests that it failed: refused, answered with an error, lost in a crash, or never answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<u32>,
    /// Cache look-ups that hit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hits: Vec<u32>,
    /// Cache look-ups that missed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub misses: Vec<u32>,
    /// Entries that its cache evicted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evictions: Vec<u32>,
}

/// A pool, by bin. A series that is zero throughout is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolSeries {
    /// Its name.
    pub pool: String,
    /// Number of views: balancers, or shards of them, that count and check its servers on their own.
    pub views: u32,
    /// Requests that arrived for it; for a second tier the calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arrivals: Vec<u32>,
    /// Its requests that ended, by outcome (`ok`, `timed_out`, …). Outcomes that never happened are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outcomes: BTreeMap<String, Vec<u32>>,
    /// Retries that were sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retries: Vec<u32>,
    /// Hedges that were sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hedges: Vec<u32>,
    /// Highest number of requests that waited at balancers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<u32>,
    /// Number of servers at the end of the bin, draining ones included; empty where it never changes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<u32>,
}

/// A part of the run with exact counts: `[from_ns, to_ns)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Its start.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
    /// By pool.
    pub pools: Vec<PoolPhase>,
    /// By server.
    pub servers: Vec<ServerPhase>,
}

/// A pool in a phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PoolPhase {
    /// Requests that arrived for it; for a second tier the calls.
    pub arrivals: u64,
    /// Its requests that ended, by outcome.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ends: BTreeMap<String, Ends>,
    /// Sum of the latencies of the requests that ended, nanoseconds.
    pub latency_sum_ns: u64,
    /// Retries that were sent.
    pub retries: u64,
    /// Hedges that were sent.
    pub hedges: u64,
    /// Highest number of requests that waited at balancers, and when first.
    pub waiting: Peak,
}

/// The requests of a pool that ended with one outcome in a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// How many.
    pub count: u64,
    /// When the first of them ended.
    pub first_ns: u64,
    /// The number of that request.
    pub request: u64,
    /// The server that it was last sent to; `None` if none.
    pub server: Option<u32>,
}

/// A highest value, and when it was reached first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// The value.
    pub value: u32,
    /// The time; the start of the phase where the value was reached before.
    pub at_ns: u64,
}

/// A server in a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerPhase {
    /// Requests (attempts, calls) that were sent to it.
    pub picks: u64,
    /// Requests that it failed.
    pub errors: u64,
    /// When it failed the first of them.
    pub first_error_ns: Option<u64>,
    /// Cache look-ups that hit.
    pub hits: u64,
    /// Cache look-ups that missed.
    pub misses: u64,
    /// Entries that its cache evicted.
    pub evictions: u64,
    /// Highest number of requests in it.
    pub in_server: Peak,
}

/// A rare event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exact {
    /// When.
    pub at_ns: u64,
    /// What.
    #[serde(flatten)]
    pub change: Change,
}

/// What happened; see [`super::observer::RunEvent`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are explained at `RunEvent`")]
pub enum Change {
    FaultStarted { fault: u32 },
    FaultEnded { fault: u32 },
    Down { server: u32, view: u32 },
    Up { server: u32, view: u32 },
    Ejected { server: u32, view: u32, reason: String, until_ns: u64 },
    Returned { server: u32, view: u32 },
    Panic { pool: u32, view: u32, on: bool },
    Limit { pool: u32, view: u32, server: Option<u32>, limit: Option<u32> },
    Booting { pool: u32, servers: u32 },
    Joined { server: u32 },
    Left { server: u32 },
    Draining { server: u32, on: bool },
    CacheLost { server: u32, entries: u64 },
}

impl Change {
    /// Its kind, as in files.
    pub fn kind(&self) -> &'static str {
        match self {
            Change::FaultStarted { .. } => "fault_started",
            Change::FaultEnded { .. } => "fault_ended",
            Change::Down { .. } => "down",
            Change::Up { .. } => "up",
            Change::Ejected { .. } => "ejected",
            Change::Returned { .. } => "returned",
            Change::Panic { .. } => "panic",
            Change::Limit { .. } => "limit",
            Change::Booting { .. } => "booting",
            Change::Joined { .. } => "joined",
            Change::Left { .. } => "left",
            Change::Draining { .. } => "draining",
            Change::CacheLost { .. } => "cache_lost",
        }
    }
}

/// A request from its arrival to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Life {
    /// Number of the request.
    pub request: u64,
    /// Its path.
    pub path: String,
    /// Its arrival.
    pub arrived_ns: u64,
    /// Time from its arrival to its end; to the end of the run if it did not end.
    pub latency_ns: u64,
    /// Its outcome, or `unfinished`.
    pub outcome: String,
    /// What happened to it, in time order.
    pub steps: Vec<LifeStep>,
    /// Attempts and calls that are not among the steps: only the first few are kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_attempts: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A step of a request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LifeStep {
    /// When.
    pub at_ns: u64,
    /// What.
    pub what: StepKind,
    /// Which part of the request took it.
    pub of: Part,
    /// The server, once one has been picked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<u32>,
}

/// The part of a request that took a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The request itself.
    Request,
    /// An attempt, by number from 1.
    Attempt(u32),
    /// An attempt that is a hedge.
    Hedge(u32),
    /// A call of a server to its second tier.
    Call,
}

/// What happened to a request, an attempt or a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// The client sent it, the balancer started the attempt, or the server made the call.
    Arrived,
    /// It is at the balancer.
    AtBalancer,
    /// It waits at the balancer.
    Queued,
    /// It no longer waits there.
    Dequeued,
    /// A server is picked.
    Picked,
    /// The server has admitted it.
    Entered,
    /// Service begins, without a cache.
    Started,
    /// The server fails it.
    Failed,
    /// It has left the server.
    Left,
    /// Its answer is at the balancer, or at the server that made the call.
    Returned,
    /// The attempt is no longer wanted.
    Abandoned,
    /// The request has ended for its client.
    Ended,
    /// Service begins; the cache has the answer.
    StartedHit,
    /// Service begins; the cache does not have the answer.
    StartedMiss,
}

/// A pick with what the strategy saw and what was true.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PickSeen {
    /// When.
    pub at_ns: u64,
    /// The fault one second after whose start this is the first pick in its pool; `None` for the middle of the measured span.
    pub fault: Option<u32>,
    /// Number of the request.
    pub request: u64,
    /// The pool.
    pub pool: u32,
    /// Number of the selector among all selectors of the run.
    pub selector: u32,
    /// The servers of the pool.
    pub servers: Vec<ServerSeen>,
    /// The server that was picked; `None` if there was none.
    pub picked: Option<u32>,
}

/// A server at a pick.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSeen {
    /// The server.
    pub server: u32,
    /// Whether it could be picked for this request.
    pub eligible: bool,
    /// Its weight.
    pub weight: u32,
    /// Requests in flight to it as the balancer counts them.
    pub in_flight: u32,
    /// Requests that were in it, those of other balancers included; not those on their way.
    pub in_server: u32,
    /// The strategy's score, lower is better; `None` if the strategy has no such number.
    pub score: Option<f64>,
}

impl Timeline {
    /// Reads the lines of an unpacked `timeline.jsonl.gz`: label and timeline of each strategy, in the order of the file.
    ///
    /// # Errors
    /// A line that cannot be read, or of a later version of the format.
    pub fn read(from: impl BufRead) -> io::Result<Vec<(String, Timeline)>> {
        let parse = |line: io::Result<String>| {
            let Line { strategy, timeline } = serde_json::from_str(&line?)?;
            if timeline.schema_version > SCHEMA_VERSION {
                let message = format!("version {} of the format is not known", timeline.schema_version);
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
            Ok((strategy, timeline))
        };
        from.lines().map(parse).collect()
    }

    /// A server's name with its pool, `pool/server`.
    pub fn server_name(&self, server: u32) -> String {
        self.servers.get(server as usize).map_or_else(String::new, |s| format!("{}/{}", s.pool, s.server))
    }

    /// The indices of a pool's servers.
    pub fn servers_of<'a>(&'a self, pool: &'a str) -> impl Iterator<Item = u32> + 'a {
        (0..self.servers.len() as u32).filter(move |&server| self.servers[server as usize].pool == pool)
    }

    /// Requests that ended in each bin, all pools together, by outcome.
    pub fn outcomes(&self) -> BTreeMap<String, Vec<u64>> {
        let mut all: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (name, series) in self.pools.iter().flat_map(|pool| &pool.outcomes) {
            let sum = all.entry(name.clone()).or_insert_with(|| vec![0; self.bins as usize]);
            sum.iter_mut().zip(series).for_each(|(sum, &more)| *sum += u64::from(more));
        }
        all
    }
}
