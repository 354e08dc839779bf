//! One balancer of one pool, without I/O: everything around a pick, the same in the simulator and in the proxy.
//!
//! A [`Balancer`] owns the pool's servers and their state ([`ServerPool`]), the queue, and for each of its shards the
//! selector with its random streams, the retry budget and the hedging delay. A host owns time, messages and requests: it
//! calls the balancer when an event happens, with the time as an argument, and acts on the result: a return value for the
//! present request, [`Effect`]s for the rest ([`Balancer::poll_effect`]).
//!
//! | when | the host calls |
//! |---|---|
//! | a request comes | [`Balancer::admit`], then for each attempt [`Balancer::step`] and the call that it returns |
//! | it is sent | [`Balancer::started`], and with retries or hedging [`Balancer::placed`] |
//! | it ends | [`Balancer::finished`], and with retries or hedging [`Balancer::attempt_ended`] |
//! | there is room ([`Effect::Room`]) | [`Balancer::dequeue`] until `None`; the host places each request it returns |
//! | a report, a check's result comes | [`Balancer::report`], [`Balancer::checked`] |
//! | time passes | [`Balancer::tick`] at [`Balancer::next_tick`], [`Balancer::wake`] at the time of [`Effect::WakeAt`] |
//! | servers or rules change | [`Balancer::join`] and the like, then [`Balancer::announce`] |
//!
//! Nearly always a balancer has one shard. It has several where shards share the counts of the servers (Envoy's worker
//! threads share each host's count of active requests): each shard has its own selector and budgets over the same counts.
//!
//! All randomness of the policies (admission, slow start, back-off) comes from one stream per shard, separate from the
//! selector's: draws of a policy change no pick, and a shard needs one seed.

mod attempts;
mod effect;
#[cfg(test)]
mod index_tests;
mod recorder;
mod requests;
mod servers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

pub use attempts::{AttemptEnd, Attempts, Next, Resend, Timers};
pub use effect::Effect;
pub use recorder::Recording;
pub use requests::{Ask, Dequeued, Queued, Refusal, Step};

use super::pool::{ServerPool, ShardId};
use super::queue::{self, Waiting};
use super::recording::HostEvent;
use super::retry::Throttle;
use super::{Rules, hedge};
use crate::rng::Rng;
use crate::select::catalog::StrategyConfig;
use crate::select::{Command, Context, Selector, TrueState};
use crate::units::Nanos;

/// Time of a call, and the information that only a simulator has at that time.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// Time of the call, nanoseconds of the host's clock.
    pub now: Nanos,
    /// True states of the servers, for oracles; `None` for other strategies and outside the simulator.
    pub truth: Option<&'a dyn TrueState>,
}

impl From<Nanos> for Moment<'_> {
    fn from(now: Nanos) -> Self {
        Moment { now, truth: None }
    }
}

/// A queued request: what the balancer needs to find a server for it.
#[derive(Clone, Debug)]
struct Waiter {
    token: u64,
    shard: u32,
    /// Time of its arrival in the queue.
    since: Nanos,
    /// Excluded slots.
    excluded: Vec<u32>,
}

/// State of one shard.
struct Shard {
    selector: Box<dyn Selector>,
    /// The selector's random stream.
    rng: Rng,
    /// Random stream of the policies.
    policy_rng: Rng,
    /// Whether the strategy limits requests in flight per server.
    limits: bool,
    /// Whether the strategy probes servers before a pick.
    inquires: bool,
    /// Whether the strategy ignores ends and has no commands.
    silent: bool,
    /// Whether the strategy uses the fleet's index of loads.
    uses_load_index: bool,
    /// Number of former selectors: tags of their picks mean nothing to the present one.
    epoch: u32,
    retries: Option<Throttle>,
    hedge: Option<hedge::State>,
}

/// What a shard starts with.
pub struct ShardSetup<'a> {
    /// The strategy.
    pub strategy: &'a StrategyConfig,
    /// Its selector, one per part of a divided fleet ([`super::partition::build`]).
    pub selector: Box<dyn Selector>,
    /// Random stream of the selector.
    pub rng: Rng,
    /// Random stream of the policies.
    pub policy_rng: Rng,
}

/// One balancer of one pool: servers, queue and shards, without I/O.
pub struct Balancer {
    pool: ServerPool,
    shards: Vec<Shard>,
    /// Queued requests; `None` where there is no queue.
    queue: Option<Waiting<Waiter>>,
    effects: VecDeque<Effect>,
    recording: Option<Box<Recording>>,
}

impl Balancer {
    /// A balancer of a pool with these rules, without servers and shards. `shard_id` is its index among all balancers.
    pub fn new(rules: Arc<Rules>, shard_id: ShardId) -> Balancer {
        let queue = rules.queue.map(Waiting::new);
        let pool = ServerPool::new(rules).for_shard(shard_id);
        Balancer { pool, shards: Vec::new(), queue, effects: VecDeque::new(), recording: None }
    }

    /// Adds a shard; returns its index. Call [`Balancer::announce`] once all shards and the first servers are added.
    pub fn add_shard(&mut self, setup: ShardSetup<'_>) -> u32 {
        let rules = self.pool.rules();
        let (retries, hedge) = (rules.retries.map(|rules| rules.new_throttle()), rules.hedge.map(hedge::State::new));
        let ShardSetup { strategy, selector, rng, policy_rng } = setup;
        let (limits, inquires) = (strategy.limits(), strategy.signals().inquires);
        let (silent, uses_load_index) = (selector.is_silent(), strategy.uses_load_index());
        self.shards.push(Shard {
            selector,
            rng,
            policy_rng,
            limits,
            inquires,
            silent,
            uses_load_index,
            epoch: 0,
            retries,
            hedge,
        });
        self.keep_load_index();
        if limits {
            self.queue.get_or_insert_with(|| Waiting::new(queue::Rules::OF_STRATEGIES));
        }
        self.shards.len() as u32 - 1
    }

    /// Replaces a shard's strategy; `selector` and `rng` are as in [`ShardSetup`]. The new one starts with no history, with the same servers and requests in flight. A
    /// recording covers one selector: the host ends it before and starts another with [`Balancer::record`].
    pub fn set_selector(
        &mut self,
        shard: u32,
        strategy: &StrategyConfig,
        selector: Box<dyn Selector>,
        rng: Rng,
        at: Moment<'_>,
    ) {
        let state = &mut self.shards[shard as usize];
        (state.limits, state.inquires) = (strategy.limits(), strategy.signals().inquires);
        (state.silent, state.selector, state.rng) = (selector.is_silent(), selector, rng);
        state.uses_load_index = strategy.uses_load_index();
        state.epoch += 1;
        self.keep_load_index();
        self.pool.forget_limits();
        self.reopen_queue(at.now);
        self.introduce(shard, at);
    }

    /// Replaces the rules. Server state is kept, and so are budgets and timers whose rules did not change.
    pub fn set_rules(&mut self, rules: Arc<Rules>, now: Nanos) {
        let old = self.pool.rules().clone();
        self.pool.set_rules(rules, now);
        let rules = self.pool.rules().clone();
        self.reopen_queue(now);
        let throttle = |rules: &Rules| rules.retries.as_ref().map(|r| (r.budget, r.min_per_second, r.tokens));
        for shard in &mut self.shards {
            if throttle(&old) != throttle(&rules) {
                shard.retries = rules.retries.map(|rules| rules.new_throttle());
            }
            if old.hedge != rules.hedge {
                shard.hedge = rules.hedge.map(hedge::State::new);
            }
        }
        self.record_health();
        self.offer_room();
    }

    fn keep_load_index(&mut self) {
        self.pool.fleet.keep_load_index(self.shards.iter().any(|shard| shard.uses_load_index));
    }

    /// The queue of the rules, or the default queue of a strategy with limits.
    fn reopen_queue(&mut self, now: Nanos) {
        let limits = self.shards.iter().any(|shard| shard.limits);
        let rules = self.pool.rules().queue.or(limits.then_some(queue::Rules::OF_STRATEGIES));
        match (&mut self.queue, rules) {
            (Some(queue), Some(rules)) => queue.set_rules(now, rules),
            // Requests already queued may wait until their deadline.
            (Some(queue), None) => {
                let timeout = queue.rules().timeout;
                queue.set_rules(now, queue::Rules { limit: 0, timeout });
            }
            (none, rules) => *none = rules.map(Waiting::new),
        }
    }

    // ---- Inspection ----

    /// The pool's servers and their state.
    #[inline]
    pub fn pool(&self) -> &ServerPool {
        &self.pool
    }

    /// The rules of the pool.
    pub fn rules(&self) -> &Rules {
        self.pool.rules()
    }

    /// Number of shards.
    pub fn shards(&self) -> u32 {
        self.shards.len() as u32
    }

    /// A shard's selector, for explanations of picks.
    #[inline]
    pub fn selector(&self, shard: u32) -> &dyn Selector {
        self.shards[shard as usize].selector.as_ref()
    }

    /// The random stream of a shard's selector, for explanations of picks: a clone of it gives the next draws.
    #[inline]
    pub fn selector_rng(&self, shard: u32) -> &Rng {
        &self.shards[shard as usize].rng
    }

    /// Whether the shard's strategy probes servers before a pick.
    #[inline]
    pub fn inquires(&self, shard: u32) -> bool {
        self.shards[shard as usize].inquires
    }

    /// Number of former strategies of the shard. A pick of a former one ends with tag 0.
    pub fn epoch(&self, shard: u32) -> u32 {
        self.shards[shard as usize].epoch
    }

    /// Number of queued requests.
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, Waiting::len)
    }

    #[inline]
    fn has_queued(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.is_empty())
    }

    // ---- Effects ----

    /// Whether there is an effect for the host.
    #[inline]
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The next effect; `None` when there is none. Call it until it returns `None`, after each call that changes state.
    #[inline]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Emits [`Effect::Room`] if requests are queued.
    #[inline]
    fn offer_room(&mut self) {
        if self.has_queued() {
            self.effects.push_back(Effect::Room);
        }
    }

    // ---- Selectors ----

    /// Calls a shard's selector, and collects its commands.
    #[inline(always)]
    fn with_selector<T>(
        &mut self,
        shard: u32,
        at: Moment<'_>,
        call: impl FnOnce(&mut dyn Selector, &mut Context<'_>) -> T,
    ) -> T {
        let state = &mut self.shards[shard as usize];
        let mut cx = Context { now: at.now, fleet: &self.pool.fleet, rng: &mut state.rng, truth: at.truth };
        let result = call(state.selector.as_mut(), &mut cx);
        if let Some(command) = state.selector.poll_command(&mut cx) {
            self.note_commands(shard, command, at);
        }
        if let Some(recording) = &mut self.recording {
            recording.push(HostEvent::Commands { now: at.now.0 });
        }
        result
    }

    #[cold]
    fn note_commands(&mut self, shard: u32, first: Command, at: Moment<'_>) {
        let state = &mut self.shards[shard as usize];
        let mut cx = Context { now: at.now, fleet: &self.pool.fleet, rng: &mut state.rng, truth: at.truth };
        let mut next = Some(first);
        while let Some(command) = next {
            self.effects.push_back(match command {
                Command::Probe(backend) => Effect::Probe { shard, backend },
                Command::WakeAt(at) => Effect::WakeAt { shard, at },
            });
            next = state.selector.poll_command(&mut cx);
        }
    }

    /// Asks a strategy that has limits for its limit at these servers.
    #[inline]
    fn apply_limits(&mut self, shard: u32, slot: Option<u32>) {
        let state = &self.shards[shard as usize];
        if state.limits {
            let slots = slot.map_or(0..self.pool.fleet.slots() as u32, |slot| slot..slot + 1);
            self.pool.apply_strategy_limits(state.selector.as_ref(), slots);
        }
    }

    // ---- The recording ----

    /// Starts a recording of the changes of the fleet and the calls of the only shard's selector; [`Balancer::recording`]
    /// returns the events. It begins with the present fleet.
    pub fn record(&mut self, now: Nanos) {
        let mut recording = Box::new(Recording::default());
        recording.fleet_as_it_stands(&self.pool, now);
        self.recording = Some(recording);
    }

    /// Ends the recording and returns its remaining events.
    pub fn end_recording(&mut self) -> Option<Box<Recording>> {
        self.recording.take()
    }

    /// The recorded events, which the host drains after each call.
    #[inline]
    pub fn recording(&mut self) -> Option<&mut Recording> {
        self.recording.as_deref_mut()
    }

    #[inline]
    fn write(&mut self, call: impl FnOnce() -> HostEvent) {
        if let Some(recording) = &mut self.recording {
            recording.push(call());
        }
    }

    /// Records changes of the servers' health, which a replay does not compute.
    #[inline]
    fn record_health(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.health(&self.pool);
        }
    }
}
