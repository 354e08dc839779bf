//! A pool as one shard knows it: the servers counted and checked ([`ServerPool`]), the selector, its luck, those who wait, and
//! the connections. The simulator does the same with the same parts; here time is real and a request is a future.
//!
//! Everything in here is synchronous and on one thread: a borrow of the state never crosses an `await`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use http::HeaderValue;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};

use super::clock::{Clock, duration};
use super::metrics::{PoolMetrics, ServerMetrics};
use super::record::Recorder;
use super::termination::Reason;
use super::upstream::{Upstream, UpstreamSettings};
use evenkeel_config::proxy::{PoolConfig, ServerConfig};
use evenkeel_core::fleet::BackendId;
use evenkeel_core::fleet::Change;
use evenkeel_core::policy::pool::{Event, NewServer, SelectorCall, ServerPool, ServerStatus, ShardId};
use evenkeel_core::policy::queue::{self, Ticket, Waiting};
use evenkeel_core::policy::recording::{HostEvent, STREAM};
use evenkeel_core::policy::retry::Throttle;
use evenkeel_core::policy::{hedge, partition};
use evenkeel_core::rng::Rng;
use evenkeel_core::select::{
    Command, Context, Finished, LoadReport, Outcome, Pick, ProbeReplies, ProbeReply, ProbeRequest, ReportSource,
    Request, Selector,
};
use evenkeel_core::units::{Nanos, hex};

/// So many bytes of a request's key are told to servers that are asked for its sake.
const MOST_KEY: usize = 1024;

/// What a selector is told of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestInfo<'a> {
    /// Address of the client, as far as it can be trusted.
    pub client: IpAddr,
    /// Path of the URL.
    pub path: &'a str,
    /// By what hashes know it.
    pub key: &'a [u8],
}

/// A pool in a shard.
pub struct ShardPool {
    state: RefCell<State>,
    config: RefCell<Arc<PoolConfig>>,
    clock: Clock,
    /// What it is counted under.
    pub metrics: Arc<PoolMetrics>,
    /// What wakes it is bound to this, so that nothing keeps it alive.
    me: Weak<ShardPool>,
    woken_at: Cell<Nanos>,
    /// How many wait, as last counted.
    said_waiting: Cell<usize>,
    /// Selectors it has had: a timer of a former one wakes nobody.
    selectors: Cell<u32>,
}

struct State {
    server_pool: ServerPool,
    selector: Box<dyn Selector>,
    rng: Rng,
    policy_rng: Rng,
    servers: Vec<Option<Rc<Upstream>>>,
    waiting: Option<Waiting<Waiter>>,
    budget: Option<Throttle>,
    hedge: Option<hedge::State>,
    recorder: Option<Recorder>,
    /// The strategy limits what is at a server at once.
    limits: bool,
    /// The strategy asks servers before it places a request.
    inquires: bool,
}

struct Waiter {
    client: IpAddr,
    path: String,
    key: Vec<u8>,
    excluded: Vec<u32>,
    answers: Option<ProbeReplies>,
    tell: oneshot::Sender<InFlight>,
}

/// A request that is at a server. Dropped without a word it counts as cancelled.
pub struct InFlight {
    pool: Rc<ShardPool>,
    /// Where it is.
    pub server: Rc<Upstream>,
    backend: BackendId,
    tag: u64,
    /// Number of the selector that picked.
    picked_by: u32,
    picked: Nanos,
    first_byte: Cell<Option<Nanos>>,
    connect: Cell<Option<Nanos>>,
    over: bool,
}

/// A place in the queue, left when this is dropped.
struct QueueGuard<'a> {
    pool: &'a ShardPool,
    ticket: Ticket,
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = &mut self.pool.state.borrow_mut().waiting
            && waiting.cancel(self.ticket).is_some()
        {
            self.pool.waiting(waiting.len());
        }
    }
}

/// What a host is made with.
pub struct PoolSetup<'a> {
    /// The pool.
    pub config: Arc<PoolConfig>,
    /// Known addresses by host and port as the config writes them.
    pub addresses: &'a BTreeMap<(String, u16), Arc<[SocketAddr]>>,
    /// Which balancer this is.
    pub shard_id: ShardId,
    /// How to speak to its servers.
    pub settings: &'a UpstreamSettings,
    /// Where a server is counted.
    pub metrics: &'a dyn Fn(&str) -> Arc<ServerMetrics>,
}

/// What a selector begins its life with. The number tells its random stream from those of all others.
pub struct SelectorInit {
    /// Seed of all randomness.
    pub seed: u64,
    /// Which stream of it.
    pub number: u64,
    /// Where it is recorded.
    pub recorder: Option<Recorder>,
}

impl ShardPool {
    /// A pool at the start of its life in a shard.
    pub fn new(setup: &PoolSetup<'_>, metrics: Arc<PoolMetrics>, clock: Clock, start: SelectorInit) -> Rc<ShardPool> {
        let SelectorInit { seed, number, recorder } = start;
        let config = Arc::clone(&setup.config);
        let rules = &config.rules;
        let mut rng = Rng::stream(seed, STREAM, number);
        let selector = partition::build(&config.strategy, rules, &mut rng);
        let mut state = State {
            server_pool: ServerPool::new(Arc::clone(rules)).for_shard(setup.shard_id.clone()),
            selector,
            rng,
            policy_rng: Rng::stream(seed, "policy", number),
            servers: Vec::new(),
            waiting: None,
            budget: rules.retries.as_ref().map(|rules| rules.new_throttle()),
            hedge: rules.hedge.map(hedge::State::new),
            recorder,
            limits: false,
            inquires: false,
        };
        state.note_strategy();
        state.open_queue(&config, clock.now());
        let pool = Rc::new_cyclic(|me| ShardPool {
            state: RefCell::new(state),
            config: RefCell::new(Arc::clone(&config)),
            clock,
            metrics,
            me: me.clone(),
            woken_at: Cell::new(Nanos(u64::MAX)),
            said_waiting: Cell::new(0),
            selectors: Cell::new(0),
        });
        pool.update_servers(setup, true);
        pool.tell_fleet(clock.now());
        pool
    }

    /// The config it runs with.
    pub fn config(&self) -> Arc<PoolConfig> {
        Arc::clone(&self.config.borrow())
    }

    /// Takes on another config of the pool: servers join, leave, change weight; the others keep all that is known of them.
    /// With other rules that holds as far as there is still a rule for it; another strategy begins anew, in front of the
    /// same servers with the same requests in flight. `start` is called where there is another strategy.
    pub fn reconfigure(self: &Rc<Self>, setup: &PoolSetup<'_>, start: impl FnOnce() -> SelectorInit) {
        let now = self.clock.now();
        let old = self.config.replace(Arc::clone(&setup.config));
        let rules = &setup.config.rules;
        // Selectors of the parts of a divided fleet cannot go on with another division.
        let anew = old.strategy != setup.config.strategy || old.rules.division() != rules.division();
        {
            let state = &mut *self.state.borrow_mut();
            if anew && let Some(mut recorder) = state.recorder.take() {
                recorder.flush();
            }
            if old.rules != *rules {
                state.set_rules(&old, &setup.config, now);
                state.record_health();
            }
        }
        self.update_servers(setup, false);
        if anew {
            self.woken_at.set(Nanos(u64::MAX));
            self.selectors.set(self.selectors.get() + 1);
            self.state.borrow_mut().begin_anew(&setup.config, start(), now);
            self.commands(now);
        }
        self.tell_fleet(now);
        // What was too much before may have room now.
        self.serve_waiting(now);
    }

    fn update_servers(&self, setup: &PoolSetup<'_>, start: bool) {
        let now = self.clock.now();
        let config = &setup.config;
        {
            let state = &mut *self.state.borrow_mut();
            let members: Vec<u32> = state.server_pool.fleet.members().collect();
            let known: BTreeMap<String, u32> =
                members.iter().map(|&slot| (state.server_pool.fleet.name(slot).to_owned(), slot)).collect();
            for &slot in &members {
                let name = state.server_pool.fleet.name(slot);
                if !config.servers.iter().any(|server| server.name == name) {
                    let id = state.server_pool.fleet.id(slot);
                    state.record(|_| HostEvent::Leave { slot });
                    state.server_pool.leave(id, now);
                    state.record_health();
                    state.servers[slot as usize] = None;
                }
            }
            for server in &config.servers {
                let addresses = addresses_of(setup, server);
                if let Some(&slot) = known.get(&server.name) {
                    let id = state.server_pool.fleet.id(slot);
                    if state.server_pool.fleet.weight(slot) != server.weight {
                        state.record(|_| HostEvent::Weight { slot, weight: server.weight });
                        state.server_pool.set_weight(id, server.weight);
                        state.record_health();
                    }
                    state.server_pool.set_limit(id, server.limit);
                    state.server_pool.set_place(id, server.priority, server.zone.as_deref());
                    state.record_health();
                    state.server_pool.set_nowhere(id, addresses.is_empty(), now);
                    state.record_health();
                    if let Some(upstream) = &state.servers[slot as usize] {
                        upstream.set_addresses(addresses);
                        upstream.set_manner(setup.settings);
                    }
                    continue;
                }
                state.record(|_| HostEvent::Join { name: server.name.clone(), weight: server.weight });
                let new_server = NewServer {
                    name: &server.name,
                    weight: server.weight,
                    limit: server.limit,
                    priority: server.priority,
                    zone: server.zone.as_deref(),
                };
                let slot = if start {
                    // Those that are there from the beginning are warm.
                    state.server_pool.join_all([new_server].into_iter());
                    state.server_pool.fleet.slots() - 1
                } else {
                    state.server_pool.join(new_server, now).slot as usize
                };
                state.server_pool.set_nowhere(state.server_pool.fleet.id(slot as u32), addresses.is_empty(), now);
                state.record_health();
                if state.servers.len() <= slot {
                    state.servers.resize_with(slot + 1, || None);
                }
                let metrics = (setup.metrics)(&server.name);
                let upstream = Upstream::new(&server.name, addresses, setup.settings.clone(), metrics);
                state.servers[slot] = Some(Rc::new(upstream));
            }
        }
    }

    // ---- Requests ----

    /// Sends a request to a server of the selector's choice, or of the cookie's; waits where all are at their limit.
    pub async fn place(
        self: &Rc<Self>,
        info: &RequestInfo<'_>,
        excluded: &[u32],
        cookie: Option<&str>,
    ) -> Result<InFlight, Reason> {
        let answers = self.answers_for(info, excluded, cookie).await;
        let now = self.clock.now();
        let waits = {
            let state = &*self.state.borrow();
            // Who comes now does not overtake those who wait.
            state.somebody_waits()
        };
        if !waits && let Some(in_flight) = self.try_place(info, excluded, cookie, answers.as_ref(), now) {
            return Ok(in_flight);
        }
        let (told, _turn) = {
            let state = &mut *self.state.borrow_mut();
            let full = state.server_pool.fleet.eligible().iter().any(|slot| !excluded.contains(slot));
            if !full {
                return Err(Reason::NoServer);
            }
            let Some(waiting) = &mut state.waiting else { return Err(Reason::QueueFull) };
            let (tell, told) = oneshot::channel();
            let waiter = Waiter {
                client: info.client,
                path: info.path.to_owned(),
                key: info.key.to_vec(),
                excluded: excluded.to_vec(),
                answers,
                tell,
            };
            let Ok(ticket) = waiting.push(now, waiter) else { return Err(Reason::QueueFull) };
            self.waiting(waiting.len());
            (told, QueueGuard { pool: self, ticket })
        };
        // Those who wait may all wait for other servers than this one has room for.
        self.serve_waiting(now);
        // The host drops the sender when the time is up.
        told.await.map_err(|_| Reason::QueueTimeout)
    }

    /// The same without waiting: a second copy of a request that already is somewhere.
    pub async fn place_now(self: &Rc<Self>, info: &RequestInfo<'_>, excluded: &[u32]) -> Option<InFlight> {
        let answers = self.answers_for(info, excluded, None).await;
        let waits = self.state.borrow().somebody_waits();
        if waits { None } else { self.try_place(info, excluded, None, answers.as_ref(), self.clock.now()) }
    }

    /// What servers answer to the strategy's question about this request, if it puts one.
    #[inline]
    async fn answers_for(
        &self,
        info: &RequestInfo<'_>,
        excluded: &[u32],
        cookie: Option<&str>,
    ) -> Option<ProbeReplies> {
        let asks = self.state.borrow().inquires;
        if asks { Box::pin(self.inquire(info, excluded, cookie)).await } else { None }
    }

    async fn inquire(&self, info: &RequestInfo<'_>, excluded: &[u32], cookie: Option<&str>) -> Option<ProbeReplies> {
        let now = self.clock.now();
        let inquiry = {
            let state = &mut *self.state.borrow_mut();
            if state.somebody_waits() || state.kept_by(cookie, excluded).is_some() {
                return None;
            }
            state
                .inquire(&Request { client: info.client, path: info.path, key: info.key, excluded, answers: None }, now)
        };
        self.commands(now);
        let inquiry = inquiry?;
        let whose = self.selectors.get();
        let mut answers = ProbeReplies { part: inquiry.part, given: Vec::with_capacity(inquiry.targets().len()) };
        let (tell, mut told) = mpsc::channel(inquiry.targets().len().max(1));
        let key = HeaderValue::try_from(hex(info.key.get(..MOST_KEY).unwrap_or(info.key))).ok();
        inquiry.targets().iter().for_each(|&backend| self.ask(backend, key.clone(), Some(tell.clone())));
        drop(tell);
        let gather = async {
            while answers.given.len() < inquiry.quorum {
                // Nobody tells any more: all have answered, or cannot be asked.
                let Some(answer) = told.recv().await else { break };
                answers.given.push(answer);
            }
        };
        let _ = timeout(duration(inquiry.timeout), gather).await;
        // Another selector has asked nobody.
        (whose == self.selectors.get()).then_some(answers)
    }

    /// Asks a server for a report, which the selector hears; whoever waits for it hears it as well.
    fn ask(&self, backend: BackendId, key: Option<HeaderValue>, tell: Option<mpsc::Sender<ProbeReply>>) {
        let server = {
            let state = self.state.borrow();
            let known = state.server_pool.fleet.is_current(backend).then(|| state.servers.get(backend.slot as usize));
            known.flatten().cloned().flatten()
        };
        let Some(server) = server else { return };
        let (me, check, whose) = (self.me.clone(), self.config().check.clone(), self.selectors.get());
        tokio::task::spawn_local(async move {
            let load = super::checks::ask(&server, &check, key.as_ref()).await;
            server.metrics.probed(load.is_some());
            if let (Some(pool), Some(load)) = (me.upgrade(), load) {
                let load = LoadReport { by: ReportSource::Probe, ..load };
                // A selector hears what it has asked for, and not what its predecessor did.
                if pool.selectors.get() == whose {
                    pool.reported(backend, &load);
                }
                if let Some(tell) = tell {
                    let _ = tell.try_send(ProbeReply { backend, load });
                }
            }
        });
    }

    fn try_place(
        self: &Rc<Self>,
        info: &RequestInfo<'_>,
        excluded: &[u32],
        cookie: Option<&str>,
        answers: Option<&ProbeReplies>,
        now: Nanos,
    ) -> Option<InFlight> {
        let request = Request { client: info.client, path: info.path, key: info.key, excluded, answers };
        let (Pick { backend, tag }, server) = {
            let state = &mut *self.state.borrow_mut();
            let pick = match state.kept_by(cookie, excluded) {
                Some(backend) => Pick { backend, tag: 0 },
                None => {
                    let began = self.clock.now();
                    let pick = state.choose(&request, now);
                    self.metrics.selector_decision.observe(self.clock.now().saturating_sub(began));
                    pick?
                }
            };
            let backend = pick.backend;
            let server = state.servers.get(backend.slot as usize)?.clone()?;
            state.server_pool.started(backend);
            state.record(|_| HostEvent::Started { slot: backend.slot });
            (pick, server)
        };
        self.commands(now);
        server.metrics.started();
        Some(InFlight {
            pool: Rc::clone(self),
            server,
            backend,
            tag,
            picked_by: self.selectors.get(),
            picked: now,
            first_byte: Cell::new(None),
            connect: Cell::new(None),
            over: false,
        })
    }

    fn ended(self: &Rc<Self>, backend: BackendId, outcome: Outcome, latency: Nanos, tag: u64) {
        let now = self.clock.now();
        {
            let state = &mut *self.state.borrow_mut();
            let event = state.server_pool.ended(backend, outcome, latency, now);
            if event.is_some() {
                // Before the selector hears of the end: it sees a fleet in which this has happened.
                state.record_health();
            }
            let finished = Finished { backend, latency, outcome, tag };
            state.record(|_| HostEvent::Finish {
                now: now.0,
                slot: backend.slot,
                generation: backend.generation,
                latency: latency.0,
                outcome,
                tag,
            });
            state.with_selector(now, |selector, cx| selector.on_finish(&finished, cx));
            state.apply_strategy_limits(Some(backend.slot));
            if let Some(throttle) = state.budget.as_mut().filter(|_| outcome != Outcome::Cancelled) {
                throttle.ended(outcome == Outcome::Ok);
            }
            if let Some(hedge) = state.hedge.as_mut().filter(|_| outcome == Outcome::Ok) {
                hedge.answered(latency, now);
            }
            if let Some(event) = event {
                state.count(&self.config.borrow().name, &event);
            }
        }
        self.tell_fleet(now);
        self.commands(now);
        self.serve_waiting(now);
    }

    /// Room came free, or a server came back: those who wait get it, in order. Who has tried all that have room keeps his
    /// place and lets others pass.
    fn serve_waiting(self: &Rc<Self>, now: Nanos) {
        loop {
            let waiter = {
                let State { server_pool, waiting, .. } = &mut *self.state.borrow_mut();
                let Some(waiting) = waiting.as_mut().filter(|waiting| !waiting.is_empty()) else { return };
                if !server_pool.has_room(&[]) {
                    return;
                }
                let waiter = waiting.pop_fitting(now, |waiter| server_pool.has_room(&waiter.excluded));
                self.waiting(waiting.len());
                waiter
            };
            let Some(waiter) = waiter else { return };
            let info = RequestInfo { client: waiter.client, path: &waiter.path, key: &waiter.key };
            // Who went away a moment ago drops the flight, and its end comes back here.
            if let Some(in_flight) = self.try_place(&info, &waiter.excluded, None, waiter.answers.as_ref(), now) {
                drop(waiter.tell.send(in_flight));
            }
        }
    }

    // ---- What the shard tells ----

    /// An active check's result, with the cause if it failed, and the load report that came with it.
    pub fn checked(self: &Rc<Self>, name: &str, failure: Option<&str>, load: Option<&LoadReport>) {
        let now = self.clock.now();
        let Some(id) = self.find(name) else { return };
        {
            let state = &mut *self.state.borrow_mut();
            if let Some(up) = state.server_pool.checked(id, failure.is_none(), now) {
                let (config, cause) = (self.config.borrow(), failure.unwrap_or("checks pass"));
                if up {
                    tracing::info!(pool = config.name, server = name, cause, "a server is up");
                } else {
                    tracing::warn!(pool = config.name, server = name, cause, "a server is down");
                }
            }
            state.record_health();
        }
        self.tell_fleet(now);
        if let Some(load) = load {
            self.reported(id, &LoadReport { by: ReportSource::Check, ..*load });
        }
        self.serve_waiting(now);
    }

    /// A load report.
    pub fn reported(&self, id: BackendId, load: &LoadReport) {
        let now = self.clock.now();
        {
            let state = &mut *self.state.borrow_mut();
            state.record(|_| HostEvent::Report { now: now.0, slot: id.slot, generation: id.generation, load: *load });
            state.with_selector(now, |selector, cx| selector.on_report(id, load, cx));
            state.apply_strategy_limits(Some(id.slot));
        }
        self.commands(now);
        self.serve_waiting_if_limited(now);
    }

    /// A strategy that limits what is at a server may have changed its mind.
    fn serve_waiting_if_limited(&self, now: Nanos) {
        let limits = self.state.borrow().limits;
        if let Some(pool) = self.me.upgrade().filter(|_| limits) {
            pool.serve_waiting(now);
        }
    }

    /// Drains a server, or takes it back.
    pub fn set_draining(self: &Rc<Self>, name: &str, draining: bool) -> bool {
        let now = self.clock.now();
        let Some(id) = self.find(name) else { return false };
        {
            let state = &mut *self.state.borrow_mut();
            state.record(|_| HostEvent::Draining { slot: id.slot, draining });
            state.server_pool.set_draining(id, draining, now);
            state.record_health();
        }
        self.tell_fleet(now);
        self.serve_waiting(now);
        true
    }

    /// Changes a server's weight.
    pub fn set_weight(&self, name: &str, weight: u32) -> bool {
        let now = self.clock.now();
        let Some(id) = self.find(name) else { return false };
        {
            let state = &mut *self.state.borrow_mut();
            state.record(|_| HostEvent::Weight { slot: id.slot, weight });
            state.server_pool.set_weight(id, weight);
            state.record_health();
        }
        self.tell_fleet(now);
        true
    }

    /// A name's addresses changed.
    pub fn set_addresses(self: &Rc<Self>, host: &str, port: u16, addresses: &Arc<[SocketAddr]>) {
        let now = self.clock.now();
        let config = self.config();
        for server in config.servers.iter().filter(|server| server.host == host && server.port == port) {
            let Some(id) = self.find(&server.name) else { continue };
            let state = &mut *self.state.borrow_mut();
            if let Some(upstream) = &state.servers[id.slot as usize] {
                upstream.set_addresses(Arc::clone(addresses));
            }
            state.server_pool.set_nowhere(id, addresses.is_empty(), now);
            state.record_health();
        }
        self.tell_fleet(now);
        self.serve_waiting(now);
    }

    /// What time brings: ejections and intervals end, those who waited too long are told, old connections close.
    pub fn tick(self: &Rc<Self>) {
        let now = self.clock.now();
        let late = {
            let state = &mut *self.state.borrow_mut();
            if state.server_pool.next_tick().is_some_and(|at| at <= now) {
                let events = state.server_pool.tick(now);
                let config = self.config.borrow();
                events.iter().for_each(|event| state.count(&config.name, event));
                state.record_health();
            }
            state.waiting.as_mut().map_or_else(Vec::new, |waiting| waiting.expire(now))
        };
        drop(late);
        self.tell_fleet(now);
        self.serve_waiting(now);
    }

    /// Closes connections that have been idle for too long.
    pub fn sweep(&self) {
        let now = tokio::time::Instant::now();
        self.state.borrow().servers.iter().flatten().for_each(|server| server.sweep(now));
    }

    /// Each member's name, how it stands, its weight and requests in flight, open connections and score.
    pub fn snapshots(&self) -> Vec<ServerSnapshot> {
        let now = self.clock.now();
        let state = &*self.state.borrow();
        let fleet = &state.server_pool.fleet;
        let of = |slot: u32| ServerSnapshot {
            name: fleet.name(slot).to_owned(),
            status: state.server_pool.status(slot, now),
            eligible: fleet.is_eligible(slot),
            weight: fleet.weight(slot),
            in_flight: fleet.in_flight()[slot as usize],
            connections: state.servers[slot as usize].as_ref().map_or(0, |server| server.open()),
            address: state.servers[slot as usize].as_ref().and_then(|server| server.address()),
            score: state.selector.score(slot, fleet, now),
        };
        fleet.members().map(of).collect()
    }

    /// Writes out what has been recorded.
    pub fn flush_recording(&self) {
        if let Some(recorder) = &mut self.state.borrow_mut().recorder {
            recorder.flush();
        }
    }

    /// A first attempt begins: budgets grow with these.
    pub fn arrived(&self) {
        let state = &mut *self.state.borrow_mut();
        if state.budget.is_none() && state.hedge.is_none() {
            return;
        }
        let now = self.clock.now();
        if let Some(budget) = &mut state.budget {
            budget.deposit(now);
        }
        if let Some(hedge) = &mut state.hedge {
            hedge.arrived(now);
        }
    }

    /// Whether a new request is let in: some are turned away while too many fail.
    pub fn admits(&self) -> bool {
        let State { server_pool, policy_rng, .. } = &mut *self.state.borrow_mut();
        server_pool.admits(self.clock.now(), policy_rng)
    }

    /// Whether the budget has room for another retry; then it is spent. How long to wait before it.
    pub fn may_retry(&self, retry: u32) -> Option<Nanos> {
        let state = &mut *self.state.borrow_mut();
        let now = self.clock.now();
        if !state.budget.as_mut()?.withdraw(now) {
            return None;
        }
        let rules = self.config.borrow();
        Some(rules.rules.retries.as_ref()?.pause(retry, &mut state.policy_rng))
    }

    /// Closes idle connections to its servers. Whether there were any.
    pub fn close_idle(&self) -> bool {
        self.state.borrow().servers.iter().flatten().filter(|server| server.close_idle()).count() > 0
    }

    /// After how long to send a second copy; `None` where there is none to send.
    pub fn hedge_delay(&self) -> Option<Nanos> {
        self.state.borrow_mut().hedge.as_mut()?.delay(self.clock.now())
    }

    /// Whether the budget has room for a second copy; then it is spent.
    pub fn may_hedge(&self) -> bool {
        let now = self.clock.now();
        self.state.borrow_mut().hedge.as_mut().is_some_and(|hedge| hedge.withdraw(now))
    }

    /// Whether a server is left that is not among `tried`, at its limit or not.
    pub fn has_other(&self, excluded: &[u32], but: u32) -> bool {
        let state = self.state.borrow();
        state.server_pool.fleet.eligible().iter().any(|slot| *slot != but && !excluded.contains(slot))
    }

    /// The cookie that keeps a client on the server in this slot.
    pub fn cookie(&self, slot: u32) -> Option<String> {
        self.state.borrow().server_pool.cookie_value(slot).map(str::to_owned)
    }

    fn waiting(&self, now: usize) {
        self.metrics.queued(now, self.said_waiting.replace(now));
    }

    fn find(&self, name: &str) -> Option<BackendId> {
        let state = self.state.borrow();
        let fleet = &state.server_pool.fleet;
        let slot = fleet.members().find(|&slot| fleet.name(slot) == name)?;
        Some(fleet.id(slot))
    }

    // ---- The selector ----

    fn tell_fleet(&self, now: Nanos) {
        let told = {
            let state = &mut *self.state.borrow_mut();
            let changes = state.server_pool.fleet.take_changes();
            if !changes.is_empty() {
                state.record(|_| HostEvent::Fleet { now: now.0, changes: changes.clone() });
                state.with_selector(now, |selector, cx| selector.on_fleet(&changes, cx));
                state.apply_strategy_limits(None);
                for (slot, server) in state.servers.iter().enumerate() {
                    if let Some(server) = server {
                        server.metrics.eligible(state.server_pool.fleet.is_eligible(slot as u32));
                    }
                }
            }
            !changes.is_empty()
        };
        if told {
            self.commands(now);
        }
    }

    /// Carries out what the selector wants.
    fn commands(&self, now: Nanos) {
        loop {
            let command = {
                let state = &mut *self.state.borrow_mut();
                state.with_selector(now, |selector, cx| selector.poll_command(cx))
            };
            match command {
                None => break,
                Some(Command::WakeAt(at)) => self.wake_at(at),
                Some(Command::Probe(id)) => self.ask(id, None, None),
            }
        }
        self.state.borrow_mut().record(|_| HostEvent::Commands { now: now.0 });
    }

    fn wake_at(&self, at: Nanos) {
        if self.woken_at.replace(at) == at {
            return;
        }
        let (me, clock, whose) = (self.me.clone(), self.clock, self.selectors.get());
        tokio::task::spawn_local(async move {
            sleep_until(clock.instant(at)).await;
            if let Some(pool) = me.upgrade().filter(|pool| pool.selectors.get() == whose) {
                pool.wake();
            }
        });
    }

    fn wake(&self) {
        let now = self.clock.now();
        {
            let state = &mut *self.state.borrow_mut();
            state.record(|_| HostEvent::Wake { now: now.0 });
            state.with_selector(now, |selector, cx| selector.on_wake(cx));
            state.apply_strategy_limits(None);
        }
        self.commands(now);
        self.serve_waiting_if_limited(now);
    }
}

/// A server as the admin page shows it.
#[derive(Clone, Debug)]
pub struct ServerSnapshot {
    /// Its name.
    pub name: String,
    /// What checks and the outlier detector say.
    pub status: ServerStatus,
    /// Whether it may be picked.
    pub eligible: bool,
    /// Its weight.
    pub weight: u32,
    /// Requests sent and not finished, by this shard.
    pub in_flight: u32,
    /// Open connections of this shard.
    pub connections: u32,
    /// Where it is.
    pub address: Option<SocketAddr>,
    /// What the strategy thinks of it, less is better.
    pub score: Option<f64>,
}

fn addresses_of(setup: &PoolSetup<'_>, server: &ServerConfig) -> Arc<[SocketAddr]> {
    if let Ok(ip) = server.host.parse::<IpAddr>() {
        return Arc::from([SocketAddr::new(ip, server.port)]);
    }
    let known = setup.addresses.get(&(server.host.clone(), server.port));
    known.cloned().unwrap_or_else(|| Arc::from([]))
}

impl State {
    /// Counts and tells what became of a server.
    fn count(&self, pool: &str, event: &Event) {
        let (Event::Ejected { backend, .. } | Event::Returned { backend }) = event;
        let Some(server) = self.servers.get(backend.slot as usize).and_then(Option::as_ref) else { return };
        match event {
            Event::Ejected { reason, .. } => {
                server.metrics.ejected(*reason);
                tracing::warn!(pool, server = server.name, cause = reason.as_str(), "a server is ejected");
            }
            Event::Returned { .. } => {
                tracing::info!(
                    pool,
                    server = server.name,
                    cause = "its time is over",
                    "a server is back from ejection"
                );
            }
        }
    }

    /// Keeps other rules. Budgets and clocks whose rules are the same go on.
    fn set_rules(&mut self, old: &PoolConfig, new: &PoolConfig, now: Nanos) {
        let (before, rules) = (&old.rules, &new.rules);
        self.server_pool.set_rules(Arc::clone(rules), now);
        self.open_queue(new, now);
        let ratios = |rules: &evenkeel_core::policy::Rules| {
            rules.retries.as_ref().map(|r| (r.budget, r.min_per_second, r.tokens))
        };
        if ratios(before) != ratios(rules) {
            self.budget = rules.retries.as_ref().map(|rules| rules.new_throttle());
        }
        if before.hedge != rules.hedge {
            self.hedge = rules.hedge.map(hedge::State::new);
        }
    }

    /// What is asked of a selector but once.
    fn note_strategy(&mut self) {
        (self.limits, self.inquires) = (self.selector.has_limits(), self.selector.signals().inquires);
    }

    /// The queue that the pool's rules, or a strategy with limits, ask for.
    fn open_queue(&mut self, config: &PoolConfig, now: Nanos) {
        let rules = config.rules.queue.or(self.limits.then_some(queue::Rules::OF_STRATEGIES));
        match (&mut self.waiting, rules) {
            (Some(waiting), Some(rules)) => waiting.set_rules(now, rules),
            // Those who wait may do so to the end.
            (Some(waiting), None) => {
                waiting.set_rules(now, queue::Rules { limit: 0, timeout: waiting.rules().timeout });
            }
            (none, rules) => *none = rules.map(Waiting::new),
        }
    }

    /// Another strategy, told of the servers that are there.
    fn begin_anew(&mut self, config: &PoolConfig, start: SelectorInit, now: Nanos) {
        self.rng = Rng::stream(start.seed, STREAM, start.number);
        self.selector = partition::build(&config.strategy, &config.rules, &mut self.rng);
        self.server_pool.forget_limits();
        self.note_strategy();
        self.open_queue(config, now);
        self.recorder = start.recorder;
        self.record_fleet(now);
        // The former one heard of these, or need not any more.
        self.server_pool.fleet.take_changes();
        let fleet = &self.server_pool.fleet;
        let mut changes = Vec::new();
        for slot in fleet.members() {
            changes.push(Change::Joined(fleet.id(slot)));
            if !fleet.is_eligible(slot) && fleet.weight(slot) > 0 {
                changes.push(Change::Down(fleet.id(slot)));
            }
        }
        self.record(|_| HostEvent::Fleet { now: now.0, changes: changes.clone() });
        self.with_selector(now, |selector, cx| selector.on_fleet(&changes, cx));
        self.apply_strategy_limits(None);
    }

    /// Asks a strategy that has limits how much it wants: at one server, or at all.
    #[inline]
    fn apply_strategy_limits(&mut self, slot: Option<u32>) {
        if self.limits {
            let slots = slot.map_or(0..self.server_pool.fleet.slots() as u32, |slot| slot..slot + 1);
            self.server_pool.apply_strategy_limits(self.selector.as_ref(), slots);
        }
    }

    /// Writes down how the fleet stands, as the calls that make it stand so, with the same slots and generations.
    fn record_fleet(&mut self, now: Nanos) {
        let Some(recorder) = &mut self.recorder else { return };
        let fleet = &self.server_pool.fleet;
        let occupied: Vec<u32> = fleet.members().collect();
        let slots = u32::try_from(fleet.slots()).unwrap_or(u32::MAX);
        for slot in 0..slots {
            // A server takes the lowest slot that is free, which is this one: all before are taken.
            for _ in 0..fleet.id(slot).generation {
                recorder.write(&HostEvent::Join { name: String::new(), weight: 0 });
                recorder.write(&HostEvent::Leave { slot });
            }
            recorder.write(&HostEvent::Join { name: fleet.name(slot).to_owned(), weight: fleet.weight(slot) });
        }
        for slot in (0..slots).filter(|slot| !occupied.contains(slot)) {
            recorder.write(&HostEvent::Leave { slot });
        }
        for &slot in &occupied {
            if self.server_pool.status(slot, now).draining {
                recorder.write(&HostEvent::Draining { slot, draining: true });
            }
            for _ in 0..fleet.in_flight()[slot as usize] {
                recorder.write(&HostEvent::Started { slot });
            }
        }
        self.record_health();
    }

    fn somebody_waits(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.is_empty())
    }

    /// The server that a cookie keeps its client at.
    fn kept_by(&self, cookie: Option<&str>, excluded: &[u32]) -> Option<BackendId> {
        let target = self.server_pool.affinity_target(cookie?)?;
        (self.server_pool.keeps_affinity(target) && !excluded.contains(&target.slot)).then_some(target)
    }

    fn inquire(&mut self, request: &Request<'_>, now: Nanos) -> Option<ProbeRequest> {
        let State { server_pool, selector, rng, recorder, .. } = self;
        server_pool.inquire(selector.as_mut(), rng, request, now, |excluded, inquiry| {
            if let Some(recorder) = recorder {
                recorder.write(&HostEvent::Inquire {
                    now: now.0,
                    client: request.client,
                    path: request.path.to_owned(),
                    key: hex(request.key),
                    tried: excluded.to_vec(),
                    whom: inquiry.iter().flat_map(|inquiry| inquiry.targets()).map(|backend| backend.slot).collect(),
                });
            }
        })
    }

    fn choose(&mut self, request: &Request<'_>, now: Nanos) -> Option<Pick> {
        let State { server_pool, selector, rng, policy_rng, recorder, .. } = self;
        let Some(recorder) = recorder else {
            return server_pool.place(selector.as_mut(), rng, request, None, now, policy_rng, |_| {});
        };
        let in_flight = server_pool.fleet.in_flight().to_vec();
        server_pool.place(selector.as_mut(), rng, request, None, now, policy_rng, |asked| match asked {
            SelectorCall::Refused(pick) => {
                recorder.write(&HostEvent::Refused { now: now.0, slot: pick.backend.slot, tag: pick.tag })
            }
            SelectorCall::Pick(excluded, pick) => recorder.write(&HostEvent::Pick {
                now: now.0,
                client: request.client,
                path: request.path.to_owned(),
                key: hex(request.key),
                tried: excluded.to_vec(),
                answers: request.answers.cloned(),
                in_flight: in_flight.clone(),
                pick: pick.map(|pick| pick.backend.slot),
                tag: pick.map_or(0, |pick| pick.tag),
            }),
        })
    }

    fn with_selector<T>(&mut self, now: Nanos, call: impl FnOnce(&mut dyn Selector, &mut Context<'_>) -> T) -> T {
        let mut cx = Context { now, fleet: &self.server_pool.fleet, rng: &mut self.rng, truth: None };
        call(self.selector.as_mut(), &mut cx)
    }

    #[inline]
    fn record(&mut self, call: impl FnOnce(&ServerPool) -> HostEvent) {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&call(&self.server_pool));
        }
    }

    /// Writes down what became of the servers' health: it follows from checks, ejections and panic, which a replay does not
    /// repeat.
    fn record_health(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        if self.server_pool.rules().narrows() {
            recorder.divided(&self.server_pool.fleet);
        }
        for slot in self.server_pool.fleet.members() {
            let healthy = self.server_pool.fleet.is_healthy(slot);
            if recorder.health_changed(self.server_pool.fleet.id(slot), healthy) {
                recorder.write(&HostEvent::Healthy { slot, healthy });
            }
        }
    }
}

impl InFlight {
    /// The slot it is in.
    pub fn slot(&self) -> u32 {
        self.backend.slot
    }

    /// The backend it is at.
    pub fn backend(&self) -> BackendId {
        self.backend
    }

    /// The pool.
    pub fn pool(&self) -> &Rc<ShardPool> {
        &self.pool
    }

    /// The head of the answer is in: as far as the server's speed goes this is its latency. What comes after depends on how
    /// fast the client reads.
    pub fn answered(&self) {
        let now = self.pool.clock.now();
        self.first_byte.set(Some(now));
        self.server.metrics.answered(now - self.picked);
    }

    /// From the pick to the head of the answer, if it came.
    pub fn time_to_first_byte(&self) -> Option<Nanos> {
        self.first_byte.get().map(|at| at - self.picked)
    }

    /// Takes the time of a connection's opening.
    pub async fn connecting<T, E>(&self, opening: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = self.pool.clock.now();
        let opened = opening.await;
        if opened.is_ok() {
            self.connect.set(Some(self.pool.clock.now() - began));
        }
        opened
    }

    /// How long it took to connect, TLS included; `None` on a connection that was open before.
    pub fn connect_time(&self) -> Option<Nanos> {
        self.connect.get()
    }

    /// It is over.
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.over, true) {
            let end = self.first_byte.get().unwrap_or_else(|| self.pool.clock.now());
            self.server.metrics.ended();
            let pool = Rc::clone(&self.pool);
            // What one selector noted of its pick means nothing to another.
            let tag = if self.picked_by == pool.selectors.get() { self.tag } else { 0 };
            pool.ended(self.backend, outcome, end.saturating_sub(self.picked), tag);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}
