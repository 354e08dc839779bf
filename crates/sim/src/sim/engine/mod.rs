//! The engine: takes the next event, handles it, schedules what follows.
//!
//! The life of a request: it arrives at a client (`arrivals.rs`); a name leads to a balancer (`dns.rs`); the route of its path
//! leads to a pool, and the shard's strategy to a server (`dispatch.rs`); there it waits, is served (from the cache or in
//! full) and may call a second tier; the answer goes back through the balancer to the client (`service.rs`). A client that
//! gives up is counted at that moment; servers go on working on its request unless the scenario says that they notice.
//!
//! The balancer itself is [`evenkeel_core::policy::balancer`], the same as in the proxy: the engine is its host, with
//! simulated time. In a pool with retries or hedging a request stays at its balancer and sends *attempts*, which are jobs of
//! their own (`attempts.rs`); where all servers are at their limits, jobs wait there (`queueing.rs`); some strategies probe
//! servers first, and the job waits for the replies (`probing.rs`).
//!
//! Every run proves its invariants at the end: Little's law to the nanosecond, for the system and for each server, and
//! that every request that arrived has ended or is still there (`invariants.rs`).

mod arrivals;
mod attempts;
mod autoscale;
mod dispatch;
mod dns;
mod faults;
mod health_reports;
mod invariants;
mod job;
mod look;
mod measuring;
mod network;
mod probing;
mod queueing;
mod run;
mod service;
mod setup;
mod stopped;

use crate::sim::event::Event;
use crate::sim::model::{Fault, Model};
use crate::sim::observer::Observer;
use crate::sim::queue::{Deadlines, Key, Queue};
use crate::sim::record::{RequestOutcome, RunRecord};
use crate::sim::server::ServerState;
use crate::sim::workload::{Origin, Workload};
use evenkeel_core::rng::{Keyed, Rng};
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::select::{LoadReport, Signals};
use evenkeel_core::units::Nanos;

pub use look::{Look, PoolLook, ServerLook, ViewLook};
pub use run::Run;
pub use stopped::{Stopped, TooLarge};

use dispatch::{Affinity, Coming, Dispatcher, View, request_view};
use dns::Resolver;
use health_reports::Message;
use job::{Job, JobState};
use network::LinkDelay;
use stopped::{ENTRIES_PER_JOB, EVENTS_PER_JOB};

/// Pause of a closed-loop client that sent, was answered and thought within one instant. Without the pause, simulated time
/// would not advance. See [`crate::sim::model::Arrivals::Closed`].
const INSTANT_PAUSE: Nanos = Nanos(10_000);

/// Successful responses in a row that a closed-loop client may get within one instant.
const MOST_INSTANT: u32 = 1000;

struct Engine<'a, O> {
    model: &'a Model,
    observer: O,
    now: Nanos,
    /// Key of the present event.
    key: Key,
    /// Events handled so far, and answers that reached their clients.
    events: u64,
    answered: u64,
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
    /// By path: the first dispatcher of its pool.
    routes: Vec<u32>,
    views: Vec<View>,
    /// By job: its attempts, where its pool has retries or hedges.
    request_attempts: Vec<attempts::RequestAttempts>,
    /// By job: its probes and their replies, where its strategy probes.
    inquiries: Vec<probing::Inquiring>,
    /// By job: its place in a balancer's queue.
    tickets: Vec<Option<queueing::Place>>,
    /// By job: the load report that its response carries, where the pool's responses do.
    carried: Vec<Option<LoadReport>>,
    /// Whether any pool's responses do.
    carries: bool,
    /// Whether any pool has idle notifications.
    idle_notices: bool,
    /// By pool: the reports that its servers send, because of the strategy or the scenario.
    signals: Vec<Signals>,
    /// Draws the balancer that receives an idle notification.
    idle_rng: Rng,
    /// By pool: the server of each client, where the pool has affinity.
    affinities: Vec<Vec<Option<Affinity>>>,
    /// Whether any pool has affinity.
    uses_affinity: bool,
    /// Draws the ages of connections at the start.
    closing: Keyed,
    /// Autoscalers of the pools that have one.
    scalers: Vec<autoscale::Scaler>,
    /// Jitter of the checks.
    jitter: Rng,
    seed: u64,
    messages: Vec<Message>,
    free_messages: Vec<u32>,
    /// Deadlines of clients' timeouts and of their patience, where they are all of one length.
    timeouts: Option<Deadlines>,
    patience: Option<Deadlines>,
    /// By pool: the deadlines of its attempts' own timeouts, which are all of one length.
    per_try: Vec<Option<Deadlines>>,
    draws: Keyed,
    /// Calls to a second tier have the number of the request they serve, with random streams of their own.
    inner_draws: Keyed,
    thinking: Keyed,
    inner_work: Vec<Keyed>,
    sent: Vec<u64>,
    /// By path: the mean of its work, at speed 1.
    mean_work: Vec<Nanos>,
    /// By client of a closed loop: successful responses in a row that took no time.
    instant: Vec<u32>,
    /// Origin of the pending arrival.
    next_origin: Option<Origin>,
    /// Faults of acts during the run; they are numbered after the model's.
    struck: Vec<Fault>,
    /// Factors of the load changes: the model's, then those of acts during the run.
    load_factors: Vec<f64>,
    measuring: measuring::Measuring,
    totals: invariants::RunTotals,
    names: dns::Names,
    network: network::Network,
}

/// The inputs of a run: experiment, strategy and seed.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// The experiment.
    pub model: &'a Model,
    /// Strategy of every pool that has none of its own.
    pub strategy: &'a StrategyConfig,
    /// Seed of all random streams.
    pub seed: u64,
    /// Names the selectors' own random streams. Two variants with one strategy and two names get the same requests and
    /// independent selector streams. Empty for the strategy's usual stream.
    pub stream_name: &'a str,
}

/// Runs `model` with `strategy` in every pool that has none of its own. `interrupted` is polled periodically.
pub fn run(
    model: &Model,
    strategy: &StrategyConfig,
    seed: u64,
    interrupted: &dyn Fn() -> bool,
) -> Result<RunRecord, Stopped> {
    observe(&Setup { model, strategy, seed, stream_name: "" }, interrupted, &mut ())
}

/// Runs `setup` with an observer. The observer does not affect the result.
pub fn observe<O: Observer>(
    setup: &Setup<'_>,
    interrupted: &dyn Fn() -> bool,
    observer: &mut O,
) -> Result<RunRecord, Stopped> {
    let mut run = Run::new(setup, observer);
    run.complete(interrupted)?;
    Ok(run.finish()?.0)
}

impl<'a, O: Observer> Engine<'a, O> {
    /// Whether the run is within its memory limit. Checked periodically: the memory depends only on model, strategy and
    /// seed, so the outcome is the same on every machine.
    fn check_size(&self) -> Result<(), TooLarge> {
        let (jobs, events) = ((self.jobs.len() - self.free.len()) as u64, self.queue.len() as u64);
        let cached: u64 = self.servers.iter().map(|server| server.cached() as u64).sum();
        let held = jobs + events / EVENTS_PER_JOB + cached / ENTRIES_PER_JOB;
        if held <= u64::from(self.model.max_in_system) {
            return Ok(());
        }
        let limit = self.model.max_in_system;
        Err(TooLarge { at: self.now, jobs, events, cached, limit })
    }

    /// Handles an event. Answers that reach their clients change only what the clients wait for and what is measured; so they
    /// are looked after at the events that could notice, which are all but those of a request on its way.
    #[inline(always)]
    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrival => {
                self.take_answers();
                if let Some(origin) = self.next_origin.take() {
                    self.schedule_arrival();
                    self.arrive(origin);
                }
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
            event => self.handle_other(event),
        }
    }

    /// Handles an event that is not one of the usual steps of a request.
    #[inline(never)]
    fn handle_other(&mut self, event: Event) {
        self.take_answers();
        match event {
            Event::Thought(client) => {
                let sent = self.sent[client as usize];
                self.sent[client as usize] += 1;
                self.arrive(Origin::Client(client, sent));
            }
            Event::Arrival
            | Event::AtBalancer(_)
            | Event::AtServer(_)
            | Event::Depart(..)
            | Event::SharedDepart(..)
            | Event::Return(_) => unreachable!("handled with the usual steps"),
            Event::AtClient(job) => {
                (self.events, self.answered) = (self.events - 1, self.answered + 1);
                self.at_client(job);
            }
            Event::Timeout(job, generation) => self.timeout(job, generation),
            Event::Abandon(job, _) if self.jobs[job as usize].begun => {}
            Event::Abandon(job, generation) => self.timeout(job, generation),
            Event::Deadline(deadlines) => self.deadline(Deadlines(deadlines)),
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
            Event::LoadChanges(index) => self.change_load(index),
            // The state at this time: DNS never shows an outage that is over by then.
            Event::Names(balancer) => self.names.listed[balancer as usize] = self.names.balancers_up[balancer as usize],
            Event::Erred(job) => self.answer_from_server(job),
            Event::Measure => self.begin_measuring(),
            Event::CachesWarm => self.caches_are_warm(),
            Event::Tenth => self.end_tenth(),
            Event::BatchEnds => self.end_batch(),
            Event::Over => {
                (0..self.scalers.len()).for_each(|scaler| self.pay(scaler));
                self.measuring.over = true;
                // The run may end with any of them.
                if self.network.answer_hop.is_some() {
                    self.queue.let_answers_come();
                }
                self.totals.workload_hash = self.workload.hash;
                self.end_tenth();
                if self.model.batches > 1 {
                    self.end_batch();
                }
                let from = std::mem::take(&mut self.measuring.measured_from);
                self.measuring.measured_servers = self.servers_since(&from);
            }
        }
    }
}
