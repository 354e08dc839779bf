//! The engine: pops the next event, lets it happen, schedules what follows.
//!
//! The life of a request: it arrives at a client; a name leads to a balancer; the route of its path to a pool; a shard's
//! selector to a server; there it waits, is served (from the cache or in full), may call a second tier; the answer goes
//! back through the balancer, which tells the selector, to the client. A client that gives up is counted at that moment;
//! what it asked for goes on being worked on, as in life, unless the scenario says that servers notice.
//!
//! In a pool with retries or hedging a request stays at its balancer and sends *attempts*, which are jobs of their own
//! (`trying.rs`); where all servers are at their limits, jobs wait at the balancer (`waiting.rs`); some strategies ask
//! servers first, and the job waits for what they answer (`asking.rs`).
//!
//! Every run proves its books at the end: Little's law to the nanosecond, for the system and for each server, and that
//! every request that arrived has ended or is still there.

mod attempts;
mod autoscale;
mod faults;
mod health_reports;
mod invariants;
mod probing;
mod queueing;
mod service;

use std::fmt;
use std::sync::Arc;

use crate::sim::event::Event;
use crate::sim::model::{Arrivals, IdleNotice, Model, Pool, Reports};
use crate::sim::observer::{Arrival, Decision, Observer, Step};
use crate::sim::queue::{Lane, Queue};
use crate::sim::record::{
    ARRIVAL_BINS, ArrivalBin, ClassRecord, Measured, RequestOutcome, RunRecord, SeriesRecorder, ServerRecord,
};
use crate::sim::server::{NONE, ServerState, Snapshot, Totals};
use crate::sim::workload::{Origin, Workload};
use evenkeel_config::distribution::Sampler;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::policy::balancer::{Ask, Balancer, Effect, Moment, ShardSetup, Step as Route};
use evenkeel_core::policy::partition;
use evenkeel_core::policy::pool::{NewServer, ShardId};
use evenkeel_core::rng::{Keyed, Rng, Source, mix};
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::select::{LoadReport, Pick, Request, Signals, TrueState};
use evenkeel_core::units::Nanos;

/// The pause of a closed-loop client that sent, was answered and thought within one instant, and may not do so again at once:
/// without it, simulated time would stand still. See [`Arrivals::Closed`].
const INSTANT_PAUSE: Nanos = Nanos(10_000);

/// Good answers in a row that a closed-loop client may get within one instant.
const MOST_INSTANT: u32 = 1000;

/// Why a run has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The caller no longer wants it.
    Interrupted,
    /// It would hold more than [`Model::max_in_system`] allows.
    TooLarge(TooLarge),
}

/// What a run held when it was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// When, since the start of the run.
    pub at: Nanos,
    /// Requests, attempts and calls that it held.
    pub jobs: u64,
    /// Events that were scheduled: timers of requests that have ended are among them.
    pub events: u64,
    /// Entries in the caches of all servers.
    pub cached: u64,
    /// The bound, [`Model::max_in_system`].
    pub limit: u32,
}

/// Memory of a job in that of a scheduled event: 136 bytes and 32.
const EVENTS_PER_JOB: u64 = 4;
/// Memory of a job in that of a cache entry: 136 bytes and about 75, with its place in the index.
const ENTRIES_PER_JOB: u64 = 2;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooLarge { at, jobs, events, cached, limit } = *self;
        let (timers, entries) = (events / EVENTS_PER_JOB, cached / ENTRIES_PER_JOB);
        let (what, way) = if jobs >= timers.max(entries) {
            let way = "lower the rate, add servers, bound their queues (`queue_limit`), or\n        let clients give up (`clients.timeout`, `servers_see_cancel`)";
            ("requests", way)
        } else if timers >= entries {
            ("timers", "lower the rate, or shorten the time-outs")
        } else {
            ("cache entries", "lower the `capacity` of the caches or the `count` of the keys")
        };
        writeln!(f, "too many {what} in the system, after {at} of simulated time:")?;
        writeln!(f, "  {jobs} requests, {events} timers and events, {cached} cache entries")?;
        writeln!(f, "  help: {way};")?;
        write!(f, "        or raise `max_in_system`, now {limit} (some 300 bytes each, per run)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JobState {
    /// On its way; an event will find it.
    Moving,
    /// In a server's queue.
    Queued,
    /// Being served.
    Serving,
    /// Its server waits for the second tier.
    Calling,
    /// Swallowed by a server that died silently; nobody will hear of it.
    Lost,
    /// In the balancer's queue: every server is at its limit.
    Waiting,
    /// At the balancer, while attempts are made on its behalf.
    Trying,
}

impl JobState {
    /// Whether a job at this stage is in its server, waiting or held.
    fn is_inside(self) -> bool {
        matches!(self, JobState::Queued | JobState::Serving | JobState::Calling)
    }
}

#[derive(Clone, Copy, Debug)]
struct Job {
    id: u64,
    key: u64,
    arrived: Nanos,
    picked: Nanos,
    entered: Nanos,
    /// Work at speed 1; from the start of service on, what is really to be done (less if the cache helps).
    work: Nanos,
    end: Nanos,
    /// The selector's word about its pick.
    tag: u64,
    client: u32,
    path: u32,
    balancer: u32,
    dispatcher: u32,
    backend: BackendId,
    server: u32,
    /// The job of the first tier on whose behalf this one runs.
    parent: u32,
    /// The request that this job is an attempt of; none where the job is the request itself.
    of: u32,
    /// Which attempt it is, from 1.
    attempt: u32,
    /// Next in the server's queue.
    next: u32,
    /// The one before it in the server's queue; means nothing at the head.
    before: u32,
    /// How many were in the server when it came.
    found: u32,
    /// Counts the tenants of this place, so that old time-outs are recognised.
    generation: u32,
    /// Counts the departures scheduled for it.
    version: u32,
    state: JobState,
    fate: RequestOutcome,
    /// Somebody still wants the answer.
    wanted: bool,
    /// It is in the fleet's in-flight count and the selector expects to hear of its end.
    counted: bool,
    measured: bool,
    /// The cache missed, or there is none.
    missed: bool,
    /// Service has begun for it, or for one of its attempts.
    begun: bool,
    /// The server was not there to be connected to.
    refused: bool,
    /// Its twin has begun: its server drops it.
    called_off: bool,
    /// It was held somewhere, and not only refused: in a server, in a balancer's queue, in a pause before a retry, or by an
    /// address that did not answer. If it then fails, its latency counts where it is longer than the mean work of its path.
    held: bool,
    /// Addresses at which nobody was reached.
    turned: u8,
}

/// One shard that chooses in one pool.
#[derive(Clone, Copy)]
struct Dispatcher {
    pool: u32,
    /// The view that it chooses in, and its number there.
    fleet: u32,
    shard: u32,
    /// The strategy is told the servers' true states.
    oracle: bool,
    /// Requests send attempts: there are retries or hedges.
    tries: bool,
}

/// How a job comes to be placed. The cookie that it brings is the one that its client had when it sent the request.
#[derive(Clone, Copy)]
enum Coming {
    /// It is new at its balancer.
    New,
    /// Servers were asked for it; with the server that its cookie names.
    Asked(Option<BackendId>),
    /// It has waited; with the server that its cookie names.
    Dequeued(Option<BackendId>),
}

/// A balancer's view of a pool, with what only the simulator knows of it.
struct View {
    /// Chooses, counts, checks and lets wait.
    balancer: Balancer,
    pool: u32,
    /// The simulated balancer whose view this is; `u32::MAX` for the balancers of a second tier, which do not die.
    owner: u32,
    /// Where each server's last report by the clock to this view left its account.
    reported: Vec<Totals>,
    /// The same of its answers to checks: each tells of all the time since the one before.
    checked: Vec<Totals>,
    dispatchers: Vec<u32>,
    /// When the balancer is ticked next, as far as that is scheduled.
    tick_at: Nanos,
}

/// What ties a client to a server: a cookie, or a connection until it is over.
#[derive(Clone, Copy)]
struct Affinity {
    backend: BackendId,
    /// Requests that it still takes.
    left: u32,
    until: Nanos,
}

/// A message under way: a check's result, a report, or a probe on its way to the server.
#[derive(Clone, Copy)]
struct Message {
    fleet: u32,
    slot: u32,
    /// The one dispatcher it is for; `NONE` for all of the fleet.
    to: u32,
    passed: Option<bool>,
    load: Option<LoadReport>,
    /// The job for whose sake the server is asked, and its generation.
    asker: Option<(u32, u32)>,
}

struct Resolver {
    balancer: u32,
    /// All addresses of the answer, where clients use all.
    addresses: Vec<u32>,
    expires: Nanos,
}

/// How a delay is scheduled: nothing to wait, a lane for a constant, the heap for a law.
#[derive(Clone, Copy)]
enum LinkDelay {
    None,
    Constant(Nanos, Lane),
    Drawn,
}

struct Engine<'a, O> {
    model: &'a Model,
    observer: &'a mut O,
    now: Nanos,
    queue: Queue,
    workload: Workload<'a>,
    jobs: Vec<Job>,
    free: Vec<u32>,
    servers: Vec<ServerState>,
    /// First server of each pool.
    bases: Vec<u32>,
    dispatchers: Vec<Dispatcher>,
    /// First dispatcher of each pool.
    first_dispatcher: Vec<u32>,
    views: Vec<View>,
    /// By job: what has been tried for it, where its pool has retries or hedges.
    request_attempts: Vec<attempts::RequestAttempts>,
    /// By job: what is asked and answered before it is placed, where its strategy asks.
    inquiries: Vec<probing::Inquiring>,
    /// By job: its place in a balancer's queue.
    tickets: Vec<Option<queueing::Place>>,
    /// By job: the report that its answer carries, where a pool's answers do.
    carried: Vec<Option<LoadReport>>,
    /// Whether any do.
    carries: bool,
    /// Whether servers of any pool tell that they are idle.
    idle_notices: bool,
    /// By pool: what its servers tell because the strategy wants it or the scenario says so.
    signals: Vec<Signals>,
    /// Draws the balancer that hears of an idle server.
    idle_rng: Rng,
    /// By pool: the server that each client is tied to, where clients are.
    affinities: Vec<Vec<Option<Affinity>>>,
    /// Whether any are.
    uses_affinity: bool,
    /// How old connections are at the start.
    closing: Keyed,
    /// Of the pools whose servers come and go.
    scalers: Vec<autoscale::Scaler>,
    /// Jitter of the checks.
    jitter: Rng,
    seed: u64,
    messages: Vec<Message>,
    free_messages: Vec<u32>,
    balancers_up: Vec<bool>,
    listed: Vec<bool>,
    resolvers: Vec<Resolver>,
    resolver_of: Vec<u32>,
    rotation: u32,
    client_hop: LinkDelay,
    server_hop: LinkDelay,
    /// The hop between a balancer and a server of another zone; as drawn with `cross_zone` on top where the law is no
    /// constant.
    cross_hop: LinkDelay,
    /// Numbers of the zones of balancers and servers; empty where there are none.
    balancer_zones: Vec<u32>,
    server_zones: Vec<u32>,
    /// How the ends of clients' timeouts and of their patience are scheduled.
    timeouts: LinkDelay,
    patience: LinkDelay,
    legs: Keyed,
    draws: Keyed,
    /// Calls to a second tier have the number of the request they serve, and luck and legs of their own.
    inner_draws: Keyed,
    inner_legs: Keyed,
    thinking: Keyed,
    inner_work: Vec<Keyed>,
    sent: Vec<u64>,
    /// By path: the mean of its work, at speed 1.
    mean_work: Vec<Nanos>,
    /// By client of a closed loop: good answers in a row that took no time.
    instant: Vec<u32>,
    /// Sent to servers, and settled: what is between is in flight.
    placed: u64,
    settled: u64,
    next_origin: Option<Origin>,
    // The books.
    in_system: u64,
    arrived: u64,
    area: u128,
    area_at: Nanos,
    sojourns: u128,
    ended: u64,
    measured_left: u64,
    workload_hash: u64,
    pick_hash: u64,
    over: bool,
    /// One for each batch of the measured span; one in all where there are none.
    spans: Vec<Measured>,
    /// Batches whose end has come.
    batches_over: usize,
    /// How each server stood when measuring began, when caches counted as warm, when the present batch began.
    measured_from: Vec<Snapshot>,
    cached_from: Vec<Snapshot>,
    batch_from: Vec<Snapshot>,
    /// The servers over the whole measured span.
    measured_servers: Vec<Vec<ServerRecord>>,
    series: SeriesRecorder,
    settling: Vec<ArrivalBin>,
    /// Bins of the settling series per nanosecond.
    settling_scale: f64,
    /// The integral of the number in the system when measuring began, and after each tenth of the measured span.
    tenths: Vec<u128>,
}

/// What is run: an experiment, who chooses, and with which luck.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The experiment.
    pub model: &'a Model,
    /// Chooses in every pool that has no strategy of its own.
    pub strategy: &'a StrategyConfig,
    /// All randomness comes from it.
    pub seed: u64,
    /// Names the selectors' own streams. Two contestants with one strategy and two names meet the same requests and have
    /// luck of their own; empty for the strategy's usual stream.
    pub stream_name: &'a str,
}

/// Runs `model` with `strategy` in every pool that has none of its own. `interrupted` is asked now and then.
pub fn run(
    model: &Model,
    strategy: &StrategyConfig,
    seed: u64,
    interrupted: &dyn Fn() -> bool,
) -> Result<RunRecord, Stopped> {
    observe(&Setup { model, strategy, seed, stream_name: "" }, interrupted, &mut ())
}

/// Runs `setup` while `observer` looks on. What comes out is the same whoever does.
pub fn observe<O: Observer>(
    setup: &Setup<'_>,
    interrupted: &dyn Fn() -> bool,
    observer: &mut O,
) -> Result<RunRecord, Stopped> {
    let model = setup.model;
    let mut engine = Engine::new(setup, observer);
    let mut events = 0_u64;
    let limit = model.warmup + model.duration + model.drain;
    while let Some((at, event)) = engine.queue.pop() {
        if at > limit {
            engine.now = limit;
            break;
        }
        debug_assert!(at >= engine.now, "time runs backwards");
        engine.now = at;
        engine.handle(event);
        events += 1;
        if engine.over && engine.measured_left == 0 {
            break;
        }
        if events.is_multiple_of(1 << 16) {
            if interrupted() {
                return Err(Stopped::Interrupted);
            }
            engine.check_size()?;
        }
    }
    Ok(engine.close(events))
}

/// Whether clients of this pool are tied to servers.
fn has_affinity(pool: &Pool) -> bool {
    pool.policy.sticky.is_some() || pool.connections.is_some()
}

/// What a balancer is told of a job.
#[inline]
fn request_view<'a>(
    model: &'a Model,
    workload: &Workload<'_>,
    request_attempts: &'a [attempts::RequestAttempts],
    job: &Job,
    key: &'a [u8],
) -> Request<'a> {
    Request {
        client: workload.address(job.client),
        path: &model.paths[job.path as usize].path,
        key,
        excluded: if job.of == NONE { &[] } else { request_attempts[job.of as usize].attempts.excluded() },
        answers: None,
    }
}

struct Peek<'a> {
    servers: &'a [ServerState],
    now: Nanos,
}

impl TrueState for Peek<'_> {
    fn remaining_work(&self, slot: u32) -> Nanos {
        self.servers[slot as usize].remaining_work(self.now)
    }
    fn number(&self, slot: u32) -> u32 {
        let server = &self.servers[slot as usize];
        server.in_service + server.queued + server.coming
    }
}

impl<'a, O: Observer> Engine<'a, O> {
    fn new(setup: &Setup<'a>, observer: &'a mut O) -> Engine<'a, O> {
        let Setup { model, strategy, seed, stream_name } = *setup;
        let mut queue = Queue::new();
        let mut hop = |distribution: &Sampler| match *distribution {
            Sampler::Constant(Nanos::ZERO) => LinkDelay::None,
            Sampler::Constant(delay) => LinkDelay::Constant(delay, queue.lane()),
            _ => LinkDelay::Drawn,
        };
        let mut limit = |distribution: &Option<Sampler>| distribution.as_ref().map_or(LinkDelay::None, &mut hop);
        let (timeouts, patience) = (limit(&model.clients.timeout), limit(&model.clients.patience));
        let (client_hop, server_hop) = (hop(&model.client_leg), hop(&model.server_leg));
        let cross_hop = match server_hop {
            same if model.cross_zone == Nanos::ZERO => same,
            LinkDelay::None => hop(&Sampler::Constant(model.cross_zone)),
            LinkDelay::Constant(delay, _) => hop(&Sampler::Constant(delay.saturating_add(model.cross_zone))),
            LinkDelay::Drawn => LinkDelay::Drawn,
        };
        let inner: Vec<bool> = (0..model.pools.len())
            .map(|p| model.pools.iter().any(|q| q.backend.as_ref().is_some_and(|b| b.pool == p)))
            .collect();
        let entries = model.pools.len() - inner.iter().filter(|&&i| i).count();
        let span = model.warmup + model.duration;
        let requests = Measured {
            pools: vec![ClassRecord::default(); if entries > 1 { model.pools.len() } else { 0 }],
            paths: vec![ClassRecord::default(); if model.paths_are_told_apart() { model.paths.len() } else { 0 }],
            balancers: vec![0; model.balancers.count as usize],
            server_time: vec![
                0;
                if model.pools.iter().any(|pool| pool.autoscale.is_some()) {
                    model.pools.len()
                } else {
                    0
                }
            ],
            ..Measured::default()
        };
        // Pools have a time series each where requests come to several, or where servers come and go.
        let told_apart = entries > 1 || model.pools.iter().any(|pool| pool.autoscale.is_some());
        let at_first = |pool: &Pool| pool.autoscale.map_or(pool.servers.len() as u32, |rules| rules.initial_servers);
        let servers_at_first = if told_apart { model.pools.iter().map(at_first).collect() } else { Vec::new() };
        let mut engine = Engine {
            model,
            observer,
            now: Nanos::ZERO,
            queue,
            workload: Workload::new(model, seed),
            jobs: Vec::new(),
            free: Vec::new(),
            servers: Vec::new(),
            bases: Vec::new(),
            dispatchers: Vec::new(),
            first_dispatcher: Vec::new(),
            views: Vec::new(),
            request_attempts: Vec::new(),
            inquiries: Vec::new(),
            tickets: Vec::new(),
            carried: Vec::new(),
            carries: false,
            idle_notices: false,
            signals: Vec::new(),
            idle_rng: Rng::stream(seed, "idle notices", 0),
            affinities: Vec::new(),
            uses_affinity: model.pools.iter().any(has_affinity),
            closing: Keyed::new(seed, "connection"),
            scalers: Vec::new(),
            jitter: Rng::stream(seed, "check jitter", 0),
            seed,
            messages: Vec::new(),
            free_messages: Vec::new(),
            balancers_up: vec![true; model.balancers.count as usize],
            listed: vec![true; model.balancers.count as usize],
            resolvers: Vec::new(),
            resolver_of: Vec::new(),
            rotation: 0,
            client_hop,
            server_hop,
            cross_hop,
            balancer_zones: Vec::new(),
            server_zones: Vec::new(),
            timeouts,
            patience,
            legs: Keyed::new(seed, "network"),
            draws: Keyed::new(seed, "luck"),
            inner_draws: Keyed::new(seed, "inner luck"),
            inner_legs: Keyed::new(seed, "inner network"),
            thinking: Keyed::new(seed, "think"),
            inner_work: (0..model.pools.len()).map(|p| Keyed::new(seed, &format!("inner {p}"))).collect(),
            sent: Vec::new(),
            mean_work: model.paths.iter().map(|path| Nanos::from_nanos_f64(path.service.mean())).collect(),
            instant: Vec::new(),
            placed: 0,
            settled: 0,
            next_origin: None,
            in_system: 0,
            arrived: 0,
            area: 0,
            area_at: Nanos::ZERO,
            sojourns: 0,
            ended: 0,
            measured_left: 0,
            workload_hash: 0,
            pick_hash: 0,
            over: false,
            spans: vec![requests; model.batches.max(1) as usize],
            batches_over: 0,
            measured_from: Vec::new(),
            cached_from: Vec::new(),
            batch_from: Vec::new(),
            measured_servers: Vec::new(),
            series: SeriesRecorder::new(span, model.bins, servers_at_first),
            settling: vec![ArrivalBin::default(); ARRIVAL_BINS],
            settling_scale: ARRIVAL_BINS as f64 / span.0.max(1) as f64,
            tenths: Vec::new(),
        };
        engine.build_pools(strategy, seed, stream_name, &inner);
        engine.begin(seed);
        engine
    }

    /// Whether the run still fits the memory that it may take. Asked now and then: what it holds depends on nothing but
    /// model, strategy and seed, so the answer is the same everywhere.
    fn check_size(&self) -> Result<(), Stopped> {
        let (jobs, events) = ((self.jobs.len() - self.free.len()) as u64, self.queue.len() as u64);
        let cached: u64 =
            self.servers.iter().filter_map(|server| server.cache.as_ref()).map(|cache| cache.len() as u64).sum();
        let held = jobs + events / EVENTS_PER_JOB + cached / ENTRIES_PER_JOB;
        if held <= u64::from(self.model.max_in_system) {
            return Ok(());
        }
        let limit = self.model.max_in_system;
        Err(Stopped::TooLarge(TooLarge { at: self.now, jobs, events, cached, limit }))
    }

    fn number_zones(&mut self) {
        let (model, mut names) = (self.model, Vec::new());
        let mut number = |zone: Option<&'a str>| match zone {
            None => NONE,
            Some(zone) => names.iter().position(|&known| known == zone).unwrap_or_else(|| {
                names.push(zone);
                names.len() - 1
            }) as u32,
        };
        self.balancer_zones = (0..model.balancers.count).map(|b| number(model.balancers.zone(b))).collect();
        let servers = model.pools.iter().flat_map(|pool| &pool.servers);
        self.server_zones = servers.map(|server| number(server.zone.as_deref())).collect();
    }

    /// Whether a job of the first tier stands in another zone at its server than at its balancer.
    #[inline]
    fn crosses(&self, j: &Job) -> bool {
        if self.balancer_zones.is_empty() || j.parent != NONE || j.server == NONE {
            return false;
        }
        let (from, to) = (self.balancer_zones[j.balancer as usize], self.server_zones[j.server as usize]);
        from != to && from != NONE && to != NONE
    }

    /// Servers, fleets and selectors.
    fn build_pools(&mut self, strategy: &StrategyConfig, seed: u64, stream_name: &str, inner: &[bool]) {
        if self.model.has_zones() {
            self.number_zones();
        }
        let stream = if stream_name.is_empty() { "select".to_owned() } else { format!("select {stream_name}") };
        for (p, pool) in self.model.pools.iter().enumerate() {
            self.bases.push(self.servers.len() as u32);
            self.servers.extend(pool.servers.iter().map(ServerState::new));
            self.first_dispatcher.push(self.dispatchers.len() as u32);
            let table = pool.strategy.as_ref().unwrap_or(strategy);
            let wanted = table.signals();
            let balancers = &self.model.balancers;
            let dispatchers: Vec<u32> = if inner[p] {
                vec![u32::MAX; pool.inner_shards as usize]
            } else {
                (0..balancers.count).flat_map(|b| (0..balancers.shards).map(move |_| b)).collect()
            };
            for (i, &balancer) in dispatchers.iter().enumerate() {
                let shared =
                    balancers.shared_in_flight && balancer != u32::MAX && i > 0 && dispatchers[i - 1] == balancer;
                if !shared {
                    let per_balancer = if balancers.shared_in_flight { 1 } else { balancers.shards };
                    let shard_id = match balancer {
                        u32::MAX => ShardId { number: i as u32, of: pool.inner_shards, zone: None, seed },
                        _ => ShardId {
                            number: if balancers.shared_in_flight { balancer } else { i as u32 },
                            of: balancers.count * per_balancer,
                            zone: balancers.zone(balancer).map(str::to_owned),
                            seed,
                        },
                    };
                    let mut core = Balancer::new(Arc::clone(&pool.policy), shard_id);
                    if self.observer.records() && (!balancers.shared_in_flight || balancers.shards == 1) {
                        core.record(Nanos::ZERO);
                    }
                    core.join_all(pool.servers.iter().map(|server| NewServer {
                        name: &server.name,
                        weight: server.weight,
                        limit: server.max_in_flight,
                        priority: server.priority,
                        zone: server.zone.as_deref(),
                    }));
                    self.views.push(View {
                        balancer: core,
                        pool: p as u32,
                        owner: balancer,
                        reported: vec![Totals::default(); pool.servers.len()],
                        checked: vec![Totals::default(); pool.servers.len()],
                        dispatchers: Vec::new(),
                        tick_at: Nanos::MAX,
                    });
                }
                let number = self.dispatchers.len() as u32;
                let fleet = self.views.len() as u32 - 1;
                self.views[fleet as usize].dispatchers.push(number);
                let mut rng = Rng::stream(seed, &stream, u64::from(number));
                let selector = partition::build(table, &pool.policy, &mut rng);
                let oracle = table.row().doc.oracle();
                if i == 0 {
                    let reports = pool.reports.unwrap_or_default();
                    let signals = Signals {
                        notices: reports.idle_notifications.map_or(wanted.notices, |idle| idle == IdleNotice::One),
                        with_answers: reports.with_answers.unwrap_or(wanted.with_answers),
                        ..wanted
                    };
                    self.carries |= signals.with_answers;
                    self.idle_notices |= signals.notices;
                    self.signals.push(signals);
                }
                let policy_rng = Rng::stream(seed, "policy", u64::from(number));
                let view = &mut self.views[fleet as usize];
                let shard = view.balancer.add_shard(ShardSetup { selector, rng, policy_rng });
                let tries = pool.tries();
                self.dispatchers.push(Dispatcher { pool: p as u32, fleet, shard, oracle, tries });
            }
            self.affinities.push(vec![None; if has_affinity(pool) { self.model.client_count() } else { 0 }]);
        }
        self.furnish_scalers();
        for fleet in 0..self.views.len() as u32 {
            self.announce(fleet);
            self.schedule_tick(fleet);
        }
    }

    /// The first events.
    fn begin(&mut self, seed: u64) {
        let phases = Keyed::new(seed, "phase");
        for f in 0..self.views.len() as u32 {
            let view = &self.views[f as usize];
            if let Some(rules) = &self.model.pools[view.pool as usize].policy.health {
                for slot in 0..view.balancer.pool().fleet.slots() as u32 {
                    let phase = phases.at(u64::from(f) << 20 | u64::from(slot)).unit();
                    let at = Nanos::from_nanos_f64(rules.interval.0 as f64 * phase);
                    self.queue.push(at, Event::Check(f, slot));
                }
            }
        }
        for (p, pool) in self.model.pools.iter().enumerate() {
            if let Some(Reports { interval: Some(interval), synchronised, .. }) = pool.reports {
                for server in self.bases[p]..self.bases[p] + pool.servers.len() as u32 {
                    let phase = if synchronised { 1.0 } else { phases.at(1 << 50 | u64::from(server)).unit() };
                    let at = Nanos::from_nanos_f64(interval.0 as f64 * phase);
                    self.queue.push(at, Event::Report(server));
                }
            }
        }
        for (i, fault) in self.model.faults.iter().enumerate() {
            self.queue.push(fault.at, Event::FaultStarts(i as u32));
            if let Some(until) = fault.until {
                self.queue.push(until, Event::FaultEnds(i as u32));
            }
        }
        if let Some(dns) = &self.model.dns {
            let draws = Keyed::new(seed, "resolver");
            // Resolvers asked at different times before the run began, so their answers run out at different times.
            let ages = Keyed::new(seed, "answer age");
            let answered = |i: u32| {
                let left = dns.ttl.0 as f64 * ages.at(u64::from(i)).unit();
                Resolver {
                    balancer: i % self.model.balancers.count,
                    addresses: if dns.all_addresses { (0..self.model.balancers.count).collect() } else { Vec::new() },
                    expires: Nanos::from_nanos_f64(left),
                }
            };
            self.resolvers = (0..dns.resolvers).map(answered).collect();
            self.rotation = dns.resolvers;
            self.resolver_of = (0..self.model.client_count() as u64)
                .map(|client| dns.resolver_mix.sample(&mut draws.at(client)))
                .collect();
        }
        if let Arrivals::Closed { think } = &self.model.arrivals {
            self.sent = vec![0; self.model.clients.addresses.len()];
            self.instant = vec![0; self.sent.len()];
            for client in 0..self.sent.len() as u32 {
                let at = think.sample(&mut self.thinking.at(u64::from(client) << 32));
                self.queue.push(at, Event::Thought(client));
            }
        }
        let (warmup, duration) = (self.model.warmup, self.model.duration);
        self.queue.push(warmup, Event::Measure);
        self.queue.push(self.model.cache_warmup.clamp(warmup, warmup + duration), Event::CachesWarm);
        let part = |i: u32, of: u32| warmup + Nanos((u128::from(duration.0) * u128::from(i) / u128::from(of)) as u64);
        (1..10).for_each(|i| self.queue.push(part(i, 10), Event::Tenth));
        (1..self.model.batches).for_each(|i| self.queue.push(part(i, self.model.batches), Event::BatchEnds));
        self.queue.push(warmup + duration, Event::Over);
        self.schedule_arrival();
    }

    #[inline]
    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrival => {
                if let Some(origin) = self.next_origin.take() {
                    self.schedule_arrival();
                    self.arrive(origin);
                }
            }
            Event::Thought(client) => {
                let sent = self.sent[client as usize];
                self.sent[client as usize] += 1;
                self.arrive(Origin::Client(client, sent));
            }
            Event::AtBalancer(job) => self.at_balancer(job),
            Event::AtServer(job) => self.at_server(job),
            Event::Depart(job, version) => {
                let j = &self.jobs[job as usize];
                if j.version == version && j.state == JobState::Serving {
                    self.served(job);
                }
            }
            Event::SharedDepart(server, version) => self.shared_depart(server, version),
            Event::Return(job) => self.at_balancer_again(job),
            Event::AtClient(job) => self.at_client(job),
            Event::Timeout(job, generation) => self.timeout(job, generation),
            Event::Abandon(job, _) if self.jobs[job as usize].begun => {}
            Event::Abandon(job, generation) => self.timeout(job, generation),
            Event::Unreachable(job) if self.turns_elsewhere(job) => {}
            Event::Unreachable(job) => {
                self.jobs[job as usize].fate = RequestOutcome::Unreachable;
                self.end(job);
                self.release(job);
            }
            Event::Check(fleet, slot) => self.check(fleet, slot),
            Event::Delivered(message) => self.receive(message),
            Event::Probed(message) => self.probed(message),
            Event::Unanswered(job, generation) => self.unanswered(job, generation),
            Event::Tick(fleet) => self.tick(fleet),
            Event::Admit(fleet) => self.admit(fleet),
            Event::Expire(fleet) => self.expire(fleet),
            Event::Retry(job, generation) => self.retry(job, generation),
            Event::Hedge(job, generation) => self.hedge(job, generation),
            Event::TryOver(job, generation) => self.try_over(job, generation),
            Event::CalledOff(job, generation) => self.called_off(job, generation),
            Event::Report(server) => self.report(server),
            Event::Scale(scaler) => self.scale(scaler),
            Event::Boots(scaler) => self.boots(scaler),
            Event::Wake(dispatcher) => self.at_shard(dispatcher, |balancer, shard, at| balancer.wake(shard, at)),
            Event::FaultStarts(fault) => self.fault(fault, true),
            Event::FaultEnds(fault) => self.fault(fault, false),
            // What has passed by then was too short for anyone to see.
            Event::Names(balancer) => self.listed[balancer as usize] = self.balancers_up[balancer as usize],
            Event::Erred(job) => self.answer_from_server(job),
            Event::Measure => {
                self.measured_from = self.snapshots();
                self.batch_from.clone_from(&self.measured_from);
                self.end_tenth();
            }
            Event::CachesWarm => self.cached_from = self.snapshots(),
            Event::Tenth => self.end_tenth(),
            Event::BatchEnds => self.end_batch(),
            Event::Over => {
                (0..self.scalers.len()).for_each(|scaler| self.pay(scaler));
                self.over = true;
                self.workload_hash = self.workload.hash;
                self.end_tenth();
                if self.model.batches > 1 {
                    self.end_batch();
                }
                let from = std::mem::take(&mut self.measured_from);
                self.measured_servers = self.servers_since(&from);
            }
        }
    }

    // ---- Arrival ----

    #[inline]
    fn schedule_arrival(&mut self) {
        if let Some((at, origin)) = self.workload.next_arrival() {
            self.next_origin = Some(origin);
            self.queue.set_arrival(at.max(self.now));
        }
    }

    #[inline]
    fn arrive(&mut self, origin: Origin) {
        let now = self.now;
        let draft = self.workload.draft(origin, now);
        let measured = now >= self.model.warmup && !self.over;
        self.arrived += 1;
        self.measured_left += u64::from(measured);
        self.count_system(1);
        let job = self.place(Job {
            id: draft.id,
            key: draft.key,
            arrived: now,
            picked: now,
            entered: now,
            work: draft.demand,
            end: Nanos::ZERO,
            tag: 0,
            client: draft.client,
            path: draft.path,
            balancer: 0,
            dispatcher: NONE,
            backend: BackendId { slot: 0, generation: 0 },
            server: NONE,
            parent: NONE,
            of: NONE,
            attempt: 1,
            next: NONE,
            before: NONE,
            found: 0,
            generation: 0,
            version: 0,
            state: JobState::Moving,
            fate: RequestOutcome::Ok,
            wanted: true,
            counted: false,
            measured,
            missed: true,
            begun: false,
            refused: false,
            called_off: false,
            held: false,
            turned: 0,
        });
        let generation = self.jobs[job as usize].generation;
        self.limit(self.timeouts, draft.timeout, Event::Timeout(job, generation));
        self.limit(self.patience, draft.patience, Event::Abandon(job, generation));
        let balancer = self.find_balancer(draft.client, draft.id);
        self.jobs[job as usize].balancer = balancer;
        self.observe_arrival(job);
        self.set_out(job);
    }

    /// Schedules the end of a client's timeout or patience, if it has one.
    #[inline]
    fn limit(&mut self, hop: LinkDelay, length: Option<Nanos>, event: Event) {
        let Some(length) = length else { return };
        let at = self.now.saturating_add(length);
        match hop {
            LinkDelay::Constant(_, lane) => self.queue.push_lane(lane, at, event),
            LinkDelay::None | LinkDelay::Drawn => self.queue.push(at, event),
        }
    }

    /// On the way to a balancer, if it is there.
    #[inline]
    fn set_out(&mut self, job: u32) {
        let (now, balancer) = (self.now, self.jobs[job as usize].balancer);
        if !self.balancers_up[balancer as usize] {
            let at = now.saturating_add(self.model.clients.connect_timeout);
            self.queue.push(at, Event::Unreachable(job));
            return;
        }
        if self.arrives_at_once(self.client_hop, job, 0, Event::AtBalancer(job)) {
            self.at_balancer(job);
        }
    }

    /// Whether a client who has waited in vain tries another address.
    fn turns_elsewhere(&mut self, job: u32) -> bool {
        let Some(balancer) = self.next_address(job) else { return false };
        let j = &mut self.jobs[job as usize];
        (j.balancer, j.held) = (balancer, true);
        self.set_out(job);
        true
    }

    #[inline]
    pub(super) fn observe_arrival(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        let arrival = Arrival {
            id: j.id,
            client: self.workload.address(j.client),
            path: &self.model.paths[j.path as usize].path,
            key: j.key,
            balancer: j.balancer,
            parent: (j.parent != NONE).then_some(j.parent),
            attempt: (j.of != NONE).then_some((j.of, j.attempt)),
            at: if j.of == NONE { j.arrived } else { j.picked },
            demand: j.work,
            measured: j.measured,
        };
        self.observer.arrived(job, &arrival);
    }

    fn place(&mut self, mut job: Job) -> u32 {
        match self.free.pop() {
            Some(index) => {
                let old = &mut self.jobs[index as usize];
                (job.generation, job.version) = (old.generation, old.version);
                *old = job;
                index
            }
            None => {
                self.jobs.push(job);
                self.jobs.len() as u32 - 1
            }
        }
    }

    fn release(&mut self, job: u32) {
        let j = &mut self.jobs[job as usize];
        debug_assert!(!j.counted, "a job is gone and its selector was not told");
        j.generation = j.generation.wrapping_add(1);
        j.version = j.version.wrapping_add(1);
        j.wanted = false;
        j.state = JobState::Moving;
        j.server = NONE;
        self.observer.step(job, Step::Released, self.now);
        self.free.push(job);
    }

    #[inline]
    fn count_system(&mut self, by: i64) {
        self.area += u128::from(self.in_system) * u128::from((self.now - self.area_at).0);
        self.area_at = self.now;
        self.series.advance(self.now, self.in_system, self.area);
        self.in_system = self.in_system.wrapping_add_signed(by);
    }

    /// Sends an event over a leg of the network. `true` where there is nothing to wait for: the caller goes on by itself,
    /// which is what makes a model without network delays as fast as one without legs.
    #[inline]
    #[must_use]
    fn arrives_at_once(&mut self, hop: LinkDelay, job: u32, leg: u64, event: Event) -> bool {
        let crosses = !leg.is_multiple_of(3) && self.crosses(&self.jobs[job as usize]);
        match if crosses { self.cross_hop } else { hop } {
            LinkDelay::None => return true,
            LinkDelay::Constant(delay, lane) => self.queue.push_lane(lane, self.now.saturating_add(delay), event),
            LinkDelay::Drawn => {
                let distribution = if leg.is_multiple_of(3) { &self.model.client_leg } else { &self.model.server_leg };
                let j = &self.jobs[job as usize];
                let legs = match j.attempt {
                    2.. => self.draws_again("network", j),
                    _ if j.parent == NONE => self.legs,
                    _ => self.inner_legs,
                };
                let further = if crosses { self.model.cross_zone } else { Nanos::ZERO };
                let delay = distribution.sample(&mut legs.at(j.id << 2 | leg)).saturating_add(further);
                self.queue.push(self.now.saturating_add(delay), event);
            }
        }
        false
    }

    // ---- What is measured ----

    /// The span that a measured request belongs to.
    #[inline]
    pub(super) fn span_of(&self, arrived: Nanos) -> usize {
        if self.model.batches <= 1 {
            return 0;
        }
        let batches = u128::from(self.model.batches);
        let part = u128::from((arrived - self.model.warmup).0) * batches / u128::from(self.model.duration.0);
        part.min(batches - 1) as usize
    }

    /// The classes in which a measured request counts.
    #[inline]
    pub(super) fn classes_of(&mut self, path: u32, arrived: Nanos) -> impl Iterator<Item = &mut ClassRecord> {
        let (span, path) = (self.span_of(arrived), path as usize);
        self.spans[span].classes_of(self.model.paths[path].pool, path)
    }

    /// The bin of the settling series that a request belongs to; none after the measured span.
    #[inline]
    pub(super) fn arrival_bin_of(&mut self, arrived: Nanos) -> Option<&mut ArrivalBin> {
        self.settling.get_mut((arrived.0 as f64 * self.settling_scale) as usize)
    }

    fn snapshots(&mut self) -> Vec<Snapshot> {
        let now = self.now;
        self.servers.iter_mut().map(|server| server.snapshot(now)).collect()
    }

    fn servers_since(&mut self, from: &[Snapshot]) -> Vec<Vec<ServerRecord>> {
        let now = self.now;
        // Where caches are not yet warm, nothing has been looked up that counts.
        let warm = if self.cached_from.is_empty() { self.snapshots() } else { self.cached_from.clone() };
        let mut records = self.servers.iter_mut().zip(from).zip(warm).map(|((server, &from), warm)| {
            let cache_from = if warm.is_later_than(&from) { warm } else { from };
            server.measured(now, from, cache_from)
        });
        self.model.pools.iter().map(|pool| records.by_ref().take(pool.servers.len()).collect()).collect()
    }

    fn end_tenth(&mut self) {
        self.count_system(0);
        self.tenths.push(self.area);
    }

    fn end_batch(&mut self) {
        let from = std::mem::take(&mut self.batch_from);
        self.spans[self.batches_over].servers = self.servers_since(&from);
        self.batches_over += 1;
        self.batch_from = self.snapshots();
    }

    // ---- Names and balancers ----

    #[inline]
    fn find_balancer(&mut self, client: u32, id: u64) -> u32 {
        let count = self.model.balancers.count;
        let Some(dns) = &self.model.dns else {
            return if count == 1 { 0 } else { self.draws.at(id << 2).below(u64::from(count)) as u32 };
        };
        let resolver = self.resolver_of[client as usize] as usize;
        if self.now >= self.resolvers[resolver].expires {
            // The authority rotates its answers; clients use the first address.
            let listed: Vec<u32> = (0..count).filter(|&b| self.listed[b as usize]).collect();
            let answers = if listed.is_empty() { (0..count).collect() } else { listed };
            let balancer = answers[self.rotation as usize % answers.len()];
            self.rotation = self.rotation.wrapping_add(1);
            let addresses = if dns.all_addresses { answers } else { Vec::new() };
            self.resolvers[resolver] = Resolver { balancer, addresses, expires: self.now.saturating_add(dns.ttl) };
        }
        let Resolver { balancer, addresses, .. } = &self.resolvers[resolver];
        match addresses.len() {
            0 => *balancer,
            n => addresses[self.draws.at(id << 2).below(n as u64) as usize],
        }
    }

    /// Where a client turns who could not reach a balancer: to the next of the addresses that he knows, as long as he has
    /// not been round them.
    fn next_address(&mut self, job: u32) -> Option<u32> {
        if !self.model.dns.as_ref()?.all_addresses {
            return None;
        }
        let j = &mut self.jobs[job as usize];
        let addresses = &self.resolvers[self.resolver_of[j.client as usize] as usize].addresses;
        j.turned += 1;
        let at = addresses.iter().position(|&address| address == j.balancer).unwrap_or(0);
        (j.wanted && (j.turned as usize) < addresses.len()).then(|| addresses[(at + 1) % addresses.len()])
    }

    fn at_balancer(&mut self, job: u32) {
        let j = &self.jobs[job as usize];
        let (balancer, id, path, measured) = (j.balancer, j.id, j.path, j.measured);
        if !j.wanted {
            return self.release(job);
        }
        if !self.balancers_up[balancer as usize] {
            self.jobs[job as usize].fate = RequestOutcome::Reset;
            self.end(job);
            return self.release(job);
        }
        if measured {
            let span = self.span_of(self.jobs[job as usize].arrived);
            self.spans[span].balancers[balancer as usize] += 1;
        }
        let shards = self.model.balancers.shards;
        let shard = if shards == 1 { 0 } else { self.draws.at(id << 2 | 1).below(u64::from(shards)) as u32 };
        let pool = self.model.paths[path as usize].pool;
        self.dispatch(job, self.first_dispatcher[pool] + balancer * shards + shard);
    }

    /// A job for a pool has come to the shard that chooses.
    #[inline]
    fn dispatch(&mut self, job: u32, dispatcher: u32) {
        self.jobs[job as usize].dispatcher = dispatcher;
        let Dispatcher { fleet, shard, tries, .. } = self.dispatchers[dispatcher as usize];
        if !self.views[fleet as usize].balancer.admit(shard, self.now) {
            return self.reject(job);
        }
        if tries {
            self.begin_trying(job);
        } else {
            self.send(job, Coming::New);
        }
    }

    /// Lets the job's dispatcher choose a server and sends the job there; where every server is at its limit, it waits.
    #[inline]
    fn send(&mut self, job: u32, coming: Coming) {
        let j = &self.jobs[job as usize];
        let dispatcher = j.dispatcher;
        let Dispatcher { pool, fleet, shard, oracle, .. } = self.dispatchers[dispatcher as usize];
        let base = self.bases[pool as usize];
        let balancer = &mut self.views[fleet as usize].balancer;
        let inquires = balancer.inquires(shard);
        let key = j.key.to_le_bytes();
        let request = Request {
            answers: if inquires { probing::answers(&self.inquiries, job, j.generation) } else { None },
            ..request_view(self.model, &self.workload, &self.request_attempts, j, &key)
        };
        // An open connection stands until somebody closes it, whatever a balancer thinks of its server.
        let mut kept = None;
        let mut affinity = None;
        if self.uses_affinity && request.excluded.is_empty() {
            let tie = self.affinities[pool as usize].get_mut(j.client as usize).and_then(Option::as_mut);
            if self.model.pools[pool as usize].connections.is_none() {
                affinity = match coming {
                    // A cookie names its server, which may have left and come back.
                    Coming::New => tie.map(|tie| balancer.pool().fleet.id(tie.backend.slot)),
                    Coming::Asked(affinity) | Coming::Dequeued(affinity) => affinity,
                };
            } else if let Some(tie) = tie {
                let condition = &self.servers[(base + tie.backend.slot) as usize].condition;
                let open = condition.up || condition.silent;
                let current = balancer.pool().fleet.is_current(tie.backend);
                if tie.left > 0 && self.now < tie.until && open && current {
                    tie.left = tie.left.saturating_sub(u32::from(tie.left != u32::MAX));
                    kept = Some(tie.backend);
                }
            }
        }
        if kept.is_none() {
            let hedge = j.of != NONE && self.request_attempts[j.of as usize].attempts.is_hedge(j.attempt);
            let inquired = inquires && probing::is_settled(&self.inquiries, job, j.generation);
            let dequeued = matches!(coming, Coming::Dequeued(_));
            match balancer.step(shard, &request, &Ask { affinity, hedge, inquired, dequeued }) {
                Route::Choose => {}
                Route::Affinity(backend) => kept = Some(backend),
                Route::Queue => return self.wait(job, affinity),
                Route::Inquire => return self.inquire(job, affinity),
                Route::NoRoom => return self.reject(job),
            }
        }
        let peek = Peek { servers: &self.servers[base as usize..], now: self.now };
        let at = Moment { now: self.now, truth: oracle.then_some(&peek as &dyn TrueState) };
        self.observer.deciding(&Decision {
            job,
            id: j.id,
            now: self.now,
            request,
            dispatcher,
            pool,
            base,
            fleet: &balancer.pool().fleet,
            selector: balancer.selector(shard),
        });
        let pick = match kept {
            Some(backend) => Some(Pick { backend, tag: 0 }),
            None => balancer.choose(shard, &request, at),
        };
        self.observer.decided(job, pick.map(|pick| base + pick.backend.slot), self.now);
        let Some(pick) = pick else {
            self.pick_hash = mix(self.pick_hash ^ u64::MAX);
            self.jobs[job as usize].fate = RequestOutcome::NoServer;
            self.execute_effects(fleet);
            return self.answer(job);
        };
        if kept.is_none()
            && j.of == NONE
            && let Some(rules) = self.model.pools[pool as usize].connections
        {
            // Those that are there at the start are as old as any: else all would close at the same time.
            let affinity = &mut self.affinities[pool as usize][j.client as usize];
            let age = if affinity.is_none() { self.closing.at(u64::from(j.client)).unit() } else { 1.0 };
            let left =
                if rules.max_requests == u32::MAX { u32::MAX } else { (f64::from(rules.max_requests) * age) as u32 };
            let life = Nanos::from_nanos_f64(rules.max_lifetime.0 as f64 * age);
            *affinity = Some(Affinity { backend: pick.backend, left, until: self.now.saturating_add(life) });
        }
        debug_assert!(
            kept.is_some() || balancer.pool().fleet.is_eligible(pick.backend.slot),
            "picked an ineligible server"
        );
        balancer.started(pick.backend);
        self.placed += 1;
        self.pick_hash = mix(self.pick_hash ^ u64::from(base + pick.backend.slot));
        let j = &mut self.jobs[job as usize];
        (j.backend, j.tag) = (pick.backend, pick.tag);
        j.server = base + pick.backend.slot;
        j.picked = self.now;
        j.counted = true;
        let server = &mut self.servers[j.server as usize];
        server.picks += u64::from(j.measured);
        server.coming_work += u128::from(j.work.0);
        server.coming += 1;
        if j.of != NONE {
            self.attempt_sent(job);
        }
        if !self.balancer_zones.is_empty() && self.crosses(&self.jobs[job as usize]) {
            self.count_attempts(job, |efforts| efforts.crossed += 1);
        }
        self.execute_effects(fleet);
        if self.arrives_at_once(self.server_hop, job, 1, Event::AtServer(job)) {
            self.at_server(job);
        }
    }

    // ---- Balancers ----

    /// Calls the balancer of a shard, and does what it then wants.
    #[inline(always)]
    fn at_shard<T>(&mut self, dispatcher: u32, call: impl FnOnce(&mut Balancer, u32, Moment<'_>) -> T) -> T {
        let Dispatcher { pool, fleet, shard, oracle, .. } = self.dispatchers[dispatcher as usize];
        let base = self.bases[pool as usize] as usize;
        let peek = Peek { servers: &self.servers[base..], now: self.now };
        let at = Moment { now: self.now, truth: oracle.then_some(&peek as &dyn TrueState) };
        let result = call(&mut self.views[fleet as usize].balancer, shard, at);
        self.execute_effects(fleet);
        result
    }

    /// The same where it concerns all shards of a view.
    fn at_view<T>(&mut self, fleet: u32, call: impl FnOnce(&mut Balancer, Moment<'_>) -> T) -> T {
        let first = self.views[fleet as usize].dispatchers[0];
        self.at_shard(first, |balancer, _, at| call(balancer, at))
    }

    /// Tells a view's strategies what has changed among the servers.
    fn announce(&mut self, fleet: u32) {
        self.at_view(fleet, |balancer, at| balancer.announce(at));
    }

    #[inline(always)]
    fn execute_effects(&mut self, fleet: u32) {
        if self.views[fleet as usize].balancer.has_effects() {
            self.execute_all(fleet);
        }
    }

    /// Does what a balancer wants, in order.
    #[inline(never)]
    fn execute_all(&mut self, fleet: u32) {
        while let Some(effect) = self.views[fleet as usize].balancer.poll_effect() {
            match effect {
                Effect::WakeAt { shard, at } => {
                    let dispatcher = self.views[fleet as usize].dispatchers[shard as usize];
                    self.queue.push(at.max(self.now), Event::Wake(dispatcher));
                }
                Effect::Probe { shard, backend } => {
                    let dispatcher = self.views[fleet as usize].dispatchers[shard as usize];
                    self.probe(dispatcher, backend, None);
                }
                // By an event of its own: a server that refuses at once would else be tried by everyone who waits in one
                // deep call.
                Effect::Room => self.queue.push(self.now, Event::Admit(fleet)),
                Effect::Expired { token } => self.reject(token as u32),
                Effect::Server(event) => {
                    self.note(event);
                    self.schedule_tick(fleet);
                }
                Effect::FleetChanged => {}
            }
        }
    }
}
