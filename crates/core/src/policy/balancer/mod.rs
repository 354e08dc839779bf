//! One balancer of one pool, without I/O: everything around a pick, the same in the simulator and in the proxy.
//!
//! A [`Balancer`] owns the pool's servers with what is known of them ([`ServerPool`]), the queue, and for each of its shards
//! the selector with its random streams, the retry budget and the hedging delay. A host owns time, messages and requests:
//! it calls the balancer when something happens, with the time as an argument, and does what it is given back: a value
//! for the request at hand, [`Effect`]s for the rest ([`Balancer::poll_effect`]).
//!
//! | when | the host calls |
//! |---|---|
//! | a request comes | [`Balancer::admit`], then for each attempt [`Balancer::step`] and what it says |
//! | it is sent | [`Balancer::started`], and with retries or hedging [`Balancer::placed`] |
//! | it ends | [`Balancer::finished`], and with retries or hedging [`Balancer::attempt_ended`] |
//! | there is room ([`Effect::Room`]) | [`Balancer::dequeue`] until `None`, and places each that it gives |
//! | a report, a check's result comes | [`Balancer::report`], [`Balancer::checked`] |
//! | time passes | [`Balancer::tick`] at [`Balancer::next_tick`], [`Balancer::wake`] as asked |
//! | servers or rules change | [`Balancer::join`] and the like, then [`Balancer::announce`] |
//!
//! Nearly always a balancer has one shard. It has several where shards share one view of the servers (Envoy's worker
//! threads share each host's count of active requests): each chooses and budgets for itself over the same counts.
//!
//! All randomness of the policies (admission, slow start, back-off) comes from one stream of the shard's own, beside the
//! selector's: what a policy draws moves no pick, and a shard needs one seed.

mod attempts;
mod effect;
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
use crate::select::{Command, Context, Selector, TrueState};
use crate::units::Nanos;

/// When a call happens, and what only a simulator can know at that time.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// The present, nanoseconds of the host's clock.
    pub now: Nanos,
    /// True states of the servers, for oracles; `None` for other strategies and outside the simulator.
    pub truth: Option<&'a dyn TrueState>,
}

impl From<Nanos> for Moment<'_> {
    fn from(now: Nanos) -> Self {
        Moment { now, truth: None }
    }
}

/// A request that waits: what the balancer must know of it to see whether it fits.
#[derive(Clone, Debug)]
struct Waiter {
    token: u64,
    shard: u32,
    /// Since when.
    since: Nanos,
    /// Slots that it may not have.
    excluded: Vec<u32>,
}

/// What each shard has for itself.
struct Shard {
    selector: Box<dyn Selector>,
    /// The selector's own stream.
    rng: Rng,
    /// All that policies draw.
    policy_rng: Rng,
    /// The strategy limits what is at a server at once.
    limits: bool,
    /// The strategy asks servers before it places a request.
    inquires: bool,
    /// Selectors it has had before: what a former one noted of its picks means nothing to this one.
    epoch: u32,
    retries: Option<Throttle>,
    hedge: Option<hedge::State>,
}

/// What a shard's selector is made of.
pub struct ShardSetup {
    /// The strategy at work, one for each part of a divided fleet ([`super::partition::build`]).
    pub selector: Box<dyn Selector>,
    /// Its own random stream.
    pub rng: Rng,
    /// The stream of the policies.
    pub policy_rng: Rng,
}

/// See the module's text.
pub struct Balancer {
    pool: ServerPool,
    shards: Vec<Shard>,
    /// Requests that wait; `None` where none may.
    queue: Option<Waiting<Waiter>>,
    effects: VecDeque<Effect>,
    recording: Option<Box<Recording>>,
}

impl Balancer {
    /// A balancer of a pool with these rules, without servers and shards. `shard_id` says which of all balancers it is.
    pub fn new(rules: Arc<Rules>, shard_id: ShardId) -> Balancer {
        let queue = rules.queue.map(Waiting::new);
        let pool = ServerPool::new(rules).for_shard(shard_id);
        Balancer { pool, shards: Vec::new(), queue, effects: VecDeque::new(), recording: None }
    }

    /// Adds a shard; gives its number. Call [`Balancer::announce`] when all shards and the first servers are there.
    pub fn add_shard(&mut self, setup: ShardSetup) -> u32 {
        let rules = self.pool.rules();
        let (retries, hedge) = (rules.retries.map(|rules| rules.new_throttle()), rules.hedge.map(hedge::State::new));
        let ShardSetup { selector, rng, policy_rng } = setup;
        let (limits, inquires) = (selector.has_limits(), selector.signals().inquires);
        self.shards.push(Shard { selector, rng, policy_rng, limits, inquires, epoch: 0, retries, hedge });
        if limits {
            self.queue.get_or_insert_with(|| Waiting::new(queue::Rules::OF_STRATEGIES));
        }
        self.shards.len() as u32 - 1
    }

    /// Gives a shard another strategy: it begins anew, in front of the same servers with the same requests in flight.
    /// A recording is one selector's: the host ends it before and, with [`Balancer::record`], begins another.
    pub fn set_selector(&mut self, shard: u32, selector: Box<dyn Selector>, rng: Rng, at: Moment<'_>) {
        let state = &mut self.shards[shard as usize];
        (state.limits, state.inquires) = (selector.has_limits(), selector.signals().inquires);
        (state.selector, state.rng) = (selector, rng);
        state.epoch += 1;
        self.pool.forget_limits();
        self.reopen_queue(at.now);
        self.introduce(shard, at);
    }

    /// Keeps other rules from now on. What is known of the servers, and budgets and clocks whose rules are the same, go on.
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

    /// The queue that the rules, or a strategy with limits, ask for.
    fn reopen_queue(&mut self, now: Nanos) {
        let limits = self.shards.iter().any(|shard| shard.limits);
        let rules = self.pool.rules().queue.or(limits.then_some(queue::Rules::OF_STRATEGIES));
        match (&mut self.queue, rules) {
            (Some(queue), Some(rules)) => queue.set_rules(now, rules),
            // Those who wait may do so to the end.
            (Some(queue), None) => {
                let timeout = queue.rules().timeout;
                queue.set_rules(now, queue::Rules { limit: 0, timeout });
            }
            (none, rules) => *none = rules.map(Waiting::new),
        }
    }

    // ---- What a host may look at ----

    /// The pool's servers and what is known of them.
    #[inline]
    pub fn pool(&self) -> &ServerPool {
        &self.pool
    }

    /// The rules it keeps.
    pub fn rules(&self) -> &Rules {
        self.pool.rules()
    }

    /// How many shards it has.
    pub fn shards(&self) -> u32 {
        self.shards.len() as u32
    }

    /// A shard's selector, for explanations.
    #[inline]
    pub fn selector(&self, shard: u32) -> &dyn Selector {
        self.shards[shard as usize].selector.as_ref()
    }

    /// Whether the shard's strategy asks servers before it places a request.
    #[inline]
    pub fn inquires(&self, shard: u32) -> bool {
        self.shards[shard as usize].inquires
    }

    /// Counts the strategies that the shard has had before. A pick of a former one ends with tag 0.
    pub fn epoch(&self, shard: u32) -> u32 {
        self.shards[shard as usize].epoch
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.queue.as_ref().map_or(0, Waiting::len)
    }

    #[inline]
    fn somebody_waits(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.is_empty())
    }

    // ---- Effects ----

    /// Whether there is something to do for the host.
    #[inline]
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The next thing that the host is to do; `None` when all is done. To be called after each call that is not merely a
    /// question, until it gives `None`.
    #[inline]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Says that there may be room, if somebody waits for it.
    #[inline]
    fn offer_room(&mut self) {
        if self.somebody_waits() {
            self.effects.push_back(Effect::Room);
        }
    }

    // ---- Selectors ----

    /// Calls a shard's selector, and takes note of what it then wants.
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

    /// Asks a strategy that has limits how much it wants at these servers.
    #[inline]
    fn apply_limits(&mut self, shard: u32, slot: Option<u32>) {
        let state = &self.shards[shard as usize];
        if state.limits {
            let slots = slot.map_or(0..self.pool.fleet.slots() as u32, |slot| slot..slot + 1);
            self.pool.apply_strategy_limits(state.selector.as_ref(), slots);
        }
    }

    // ---- The recording ----

    /// Records from now on what happens to the fleet and to the selector of the only shard; what was recorded comes out
    /// of [`Balancer::recording`]. Begins with the fleet as it stands.
    pub fn record(&mut self, now: Nanos) {
        let mut recording = Box::new(Recording::default());
        recording.fleet_as_it_stands(&self.pool, now);
        self.recording = Some(recording);
    }

    /// Ends the recording and hands it out with what is still in it.
    pub fn end_recording(&mut self) -> Option<Box<Recording>> {
        self.recording.take()
    }

    /// What is recorded, to be drained by the host after each call.
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

    /// Records what became of the servers' health, which a replay does not work out.
    #[inline]
    fn record_health(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.health(&self.pool);
        }
    }
}
