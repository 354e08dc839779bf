//! The selector contract: how a strategy is asked, told and timed, the same in the simulator and in the proxy.
//!
//! A selector is pure: no clock, no entropy, no I/O, no threads. Time, randomness and the fleet come as arguments, so the
//! object that ran a million simulated requests is the object that serves real ones. The host counts (in-flight, weights,
//! eligibility: [`Fleet`]); the strategy estimates (averages, rings, positions), in vectors indexed by slot.
//!
//! One instance serves one shard. A strategy sees what a balancer could see; an *oracle* also sees [`TrueState`], which only
//! the simulator can give.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::{Rng, Source};
use crate::units::Nanos;

pub mod catalog;
mod estimate;
mod hashing;
mod hot_cold;
mod rotation;
pub mod strategy_set;

// One file per strategy; the catalogue's rows are in `catalog.rs`.
pub mod bounded_load;
pub mod c3;
pub mod client_side_weighted_round_robin;
pub mod consistent_hash;
pub mod cost_aware_least_request;
pub mod dx_hash;
pub mod edf;
pub mod expanded_round_robin;
pub mod first_fit;
pub mod hash_subset;
pub mod interleaved_weighted_round_robin;
pub mod ip_hash;
pub mod join_idle_queue;
pub mod jump;
pub mod late_binding;
pub mod least_request;
pub mod least_time;
pub mod least_time_window;
pub mod load_report;
pub mod maglev;
pub mod modulo_hash;
pub mod multi_probe;
pub mod never_queue;
pub mod oracle_least_work;
pub mod oracle_shortest_queue;
pub mod p2c;
pub mod peak_ewma;
pub mod prequal;
pub mod prequal_synchronous;
pub mod random;
pub mod rendezvous;
pub mod round_robin;
pub mod shortest_expected_delay;
pub mod staleness_aware;
pub mod static_stride;
pub mod weighted_least_request;
pub mod weighted_random;
pub mod weighted_response_time;
pub mod weighted_round_robin;

/// What a balancer knows of a request when it must choose.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Address of the client, as far as it can be trusted.
    pub client: IpAddr,
    /// Path of the URL.
    pub path: &'a str,
    /// The key by which caches are addressed: a header, a cookie, a URL; opaque bytes.
    pub key: &'a [u8],
    /// Slots that this request may not have: those that earlier attempts of it have used, and those that the host leaves out
    /// for reasons of its own (a server at its limit, one that is still warming up). Where there are more than [`LINEAR_SCAN_MAX`] they
    /// ascend ([`insert_sorted`] keeps them so).
    pub excluded: &'a [u32],
    /// What was answered to the strategy's [`ProbeRequest`] for this request; `None` where it asked nobody.
    pub answers: Option<&'a ProbeReplies>,
}

impl Request<'_> {
    #[inline]
    fn excludes(&self, slot: u32) -> bool {
        if self.excluded.len() <= LINEAR_SCAN_MAX {
            self.excluded.contains(&slot)
        } else {
            self.excluded.binary_search(&slot).is_ok()
        }
    }
}

/// So many slots are looked through one by one sooner than by halves.
pub const LINEAR_SCAN_MAX: usize = 16;

/// Adds a slot to a list of those that a request may not have, which ascends.
pub fn insert_sorted(excluded: &mut Vec<u32>, slot: u32) {
    if let Err(at) = excluded.binary_search(&slot) {
        excluded.insert(at, slot);
    }
}

/// What the host lends for the length of a call.
pub struct Context<'a> {
    /// The present.
    pub now: Nanos,
    /// The backends, for reading.
    pub fleet: &'a Fleet,
    /// This selector's own stream of random bits.
    pub rng: &'a mut Rng,
    /// True states of the backends. `Some` only in the simulator; only oracles look.
    pub truth: Option<&'a dyn TrueState>,
}

/// What no balancer can know. Baselines use it to show what is left to win.
pub trait TrueState {
    /// Time until this backend would be idle if nothing more came, with what is on its way to it.
    fn remaining_work(&self, slot: u32) -> Nanos;

    /// Requests in this backend, served or waiting, and on their way to it, whoever sent them.
    fn number(&self, slot: u32) -> u32;
}

/// The choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Where the request goes.
    pub backend: BackendId,
    /// A word of the strategy's own, which comes back with the request's end ([`Finished::tag`]): what it expected of it, say.
    /// The host only keeps it, but for the highest bit, which is the host's. Zero where unused.
    pub tag: u64,
}

/// How a request that a selector placed came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Answered in good order.
    Ok,
    /// Refused, reset, answered with an error of the server's, or timed out.
    Failed,
    /// The caller went away or no longer wants the answer; says nothing about the server but how long it took so far.
    Cancelled,
}

/// The end of a request that a selector placed.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Where it was. May carry an old generation.
    pub backend: BackendId,
    /// From the pick to now.
    pub latency: Nanos,
    /// How it ended.
    pub outcome: Outcome,
    /// What the pick said ([`Pick::tag`]); zero for a request that a cookie placed.
    pub tag: u64,
}

/// What a server tells of itself, in a health check's answer or by itself. It describes the window since its last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Length of the window, seconds. What a short one says is mostly chance.
    pub window: f64,
    /// Traffic handled: answers per second.
    pub throughput: f64,
    /// How fast it answers: mean time in the server, seconds; zero when it answered nothing.
    pub response_time: f64,
    /// How much of its resources are used: busy share, 0 to 1; above 1 where a server says that it is overcommitted.
    pub utilisation: f64,
    /// Share of its answers that were errors, 0 to 1.
    pub errors: f64,
    /// Requests in the server when the report was made; `None` where the server does not say. Whoever goes by this number
    /// does not take silence for none: it has then heard nothing.
    pub in_server: Option<u32>,
    /// How long requests took lately that came when about as many others were there: the median, seconds. Zero where the
    /// server does not know; `response_time`, a mean over whatever load there was, is then the next best.
    pub latency: f64,
    /// How it came here.
    #[serde(default)]
    pub by: ReportSource,
}

/// How a report came: strategies differ in what their protocol listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportSource {
    /// With an answer, for the balancer whose request it was (ORCA per request).
    #[default]
    Answer,
    /// By the clock, for every balancer (ORCA out of band).
    Clock,
    /// With the answer to a health check.
    Check,
    /// With the answer to a [`Command::Probe`] or an [`ProbeRequest`].
    Probe,
    /// At once, because the server has become idle, for one balancer.
    Notice,
}

/// What a strategy's own protocol has servers tell by themselves. A host that can gives it unless its configuration says
/// otherwise (`[pools.reports]`): the simulator does; servers behind a proxy tell what they tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// A server that becomes idle tells one balancer ([`ReportSource::Notice`]).
    pub notices: bool,
    /// Each answer carries a report.
    pub with_answers: bool,
    /// The strategy asks servers itself ([`Command::Probe`], [`Selector::inquire`]).
    pub probes: bool,
    /// It asks before it places a request: [`Selector::inquire`] is to be called.
    pub inquires: bool,
}

/// Whom a strategy asks before it places a request, and how long the request may wait for that. See [`Selector::inquire`].
#[derive(Clone, Copy, Debug)]
pub struct ProbeRequest {
    targets: [BackendId; MOST_CHOICES],
    len: usize,
    /// The request goes on when so many have answered.
    pub quorum: usize,
    /// It goes on after this time, whoever has answered.
    pub timeout: Nanos,
    /// The part of a divided fleet in which it is to be placed; 0 where there is but one.
    pub part: u32,
}

impl ProbeRequest {
    /// Of these slots, at most [`MOST_CHOICES`].
    fn of(slots: &Sample, quorum: usize, timeout: Nanos, fleet: &Fleet) -> ProbeRequest {
        let mut targets = [BackendId { slot: 0, generation: 0 }; MOST_CHOICES];
        targets.iter_mut().zip(slots.as_slice()).for_each(|(targets, &slot)| *targets = fleet.id(slot));
        ProbeRequest { targets, len: slots.len, quorum: quorum.min(slots.len), timeout, part: 0 }
    }

    /// The servers that are asked.
    pub fn targets(&self) -> &[BackendId] {
        &self.targets[..self.len]
    }
}

/// What servers have answered to an [`ProbeRequest`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProbeReplies {
    /// As the inquiry said.
    pub part: u32,
    /// In order of arrival. Any of these servers may have gone since.
    pub given: Vec<ProbeReply>,
}

/// What a server has answered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeReply {
    /// Who.
    pub backend: BackendId,
    /// What it said.
    pub load: LoadReport,
}

/// What a selector asks of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask this backend for a [`LoadReport`]; it arrives through [`Selector::on_report`], late or never. It is no free
    /// look: it goes over the network and back, costs the server work (`[pools.probes]`) and is counted.
    Probe(BackendId),
    /// Call [`Selector::on_wake`] at this time.
    WakeAt(Nanos),
}

/// A strategy at work. See the module's text for the rules.
pub trait Selector: Send {
    /// Whom to ask before this request is placed, among those that [`Selector::pick`] could choose; `None` to place it at
    /// once. Called before each pick, but not for a request that a cookie places or that finds all servers full, where the
    /// strategy [`Signals::inquires`]. The servers are asked for a [`LoadReport`] as by [`Command::Probe`]. Each that comes in
    /// goes to [`Selector::on_report`], late ones as well; those that come in time come with the pick
    /// ([`Request::answers`]). Between the two calls anything may happen, other requests' picks among it.
    fn inquire(&mut self, _request: &Request<'_>, _cx: &mut Context<'_>) -> Option<ProbeRequest> {
        None
    }

    /// Chooses among the eligible slots that are not in `request.excluded`. `None` only when there is none.
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick>;

    /// A request that was placed by this selector is over.
    fn on_finish(&mut self, _finished: &Finished, _cx: &mut Context<'_>) {}

    /// A pick is not followed: its server is warming up and this request is not among those that it is given yet. Another
    /// pick without that server comes next. Whoever counts at its pick takes that back.
    fn on_refused(&mut self, _pick: &Pick, _cx: &mut Context<'_>) {}

    /// A backend's report came in.
    fn on_report(&mut self, _backend: BackendId, _load: &LoadReport, _cx: &mut Context<'_>) {}

    /// The fleet changed; tables are rebuilt here and never in `pick`. The first call has a `Joined` for each backend.
    fn on_fleet(&mut self, _changes: &[Change], _cx: &mut Context<'_>) {}

    /// The next thing the selector wants of its host; called until it gives `None`, after each other call.
    fn poll_command(&mut self, _cx: &mut Context<'_>) -> Option<Command> {
        None
    }

    /// The time asked for has come.
    fn on_wake(&mut self, _cx: &mut Context<'_>) {}

    /// What servers should tell for this strategy. Asked once, when the selector is built.
    fn signals(&self) -> Signals {
        Signals::default()
    }

    /// Whether [`Selector::limit`] ever says anything. Asked once, when the selector is built.
    fn has_limits(&self) -> bool {
        false
    }

    /// The most requests that the strategy wants at a backend at once; the host keeps it as if it were the server's own
    /// `max_in_flight` (the smaller counts): who finds all servers at their limits waits at the balancer, and the first
    /// server with room takes the first that waits. This is how a strategy binds late. Asked about every backend after
    /// `on_fleet` and `on_wake`, and about the backend concerned after `on_finish` and `on_report`.
    fn limit(&self, _slot: u32, _fleet: &Fleet) -> Option<u32> {
        None
    }

    /// What the strategy thinks of a backend at this moment, less is better: for explanations, never for picks. `None`
    /// where it has no number for that.
    fn score(&self, _slot: u32, _fleet: &Fleet, _now: Nanos) -> Option<f64> {
        None
    }
}

/// Makes room for what is kept of each slot, and forgets what was kept of those before the newcomers.
fn renew<T: Clone + Default>(kept: &mut Vec<T>, changes: &[Change], fleet: &Fleet) {
    kept.resize(fleet.slots(), T::default());
    for change in changes {
        if let Change::Joined(id) = change {
            kept[id.slot as usize] = T::default();
        }
    }
}

/// Requests in flight for a backend's weight: what strategies that count compare.
fn load_per_weight(slot: u32, fleet: &Fleet) -> f64 {
    f64::from(fleet.in_flight()[slot as usize]) / f64::from(fleet.weight(slot).max(1))
}

impl Context<'_> {
    fn pick(&self, slot: u32) -> Option<Pick> {
        self.pick_tagged(slot, 0)
    }

    fn pick_tagged(&self, slot: u32, tag: u64) -> Option<Pick> {
        Some(Pick { backend: self.fleet.id(slot), tag })
    }
}

/// The slots that may be chosen for `request`, ascending: the one place where eligibility and attempts are put together.
pub fn candidates<'a>(request: &'a Request<'_>, fleet: &'a Fleet) -> impl Iterator<Item = u32> + 'a {
    fleet.eligible().iter().copied().filter(|&slot| !request.excludes(slot))
}

/// The candidate of least cost, in one scan; ties are drawn evenly.
#[inline]
fn least_cost(request: &Request<'_>, cx: &mut Context<'_>, cost: impl Fn(u32) -> f64) -> Option<u32> {
    let (mut best, mut ties): (Option<(u32, f64)>, u64) = (None, 0);
    for slot in candidates(request, cx.fleet) {
        let cost = cost(slot);
        match best {
            Some((_, least)) if cost > least => {}
            Some((_, least)) if cost == least => {
                ties += 1;
                if cx.rng.below(ties) == 0 {
                    best = Some((slot, cost));
                }
            }
            _ => (best, ties) = (Some((slot, cost)), 1),
        }
    }
    best.map(|(slot, _)| slot)
}

/// The most slots a strategy may sample for one pick.
pub const MOST_CHOICES: usize = 16;

/// A handful of slots on the stack.
#[derive(Clone, Copy, Debug)]
struct Sample {
    slots: [u32; MOST_CHOICES],
    len: usize,
}

impl Sample {
    fn as_slice(&self) -> &[u32] {
        &self.slots[..self.len]
    }
}

/// Draws up to `choices` candidates with probability in proportion to their weight, distinct unless `replacement`.
/// Fewer come back only where fewer are left. Exact: rejection first, and a scan where that keeps failing.
#[inline]
fn sample(request: &Request<'_>, cx: &mut Context<'_>, choices: usize, replacement: bool) -> Sample {
    let mut sample = Sample { slots: [0; MOST_CHOICES], len: 0 };
    let n = cx.fleet.eligible().len() as u64;
    if choices == 2 && n >= 2 && !replacement && request.excluded.is_empty() && cx.fleet.uniform() {
        // The common case without rejection: the second draw leaves out the first's place.
        let first = cx.rng.below(n);
        let second = cx.rng.below(n - 1);
        let second = second + u64::from(second >= first);
        let slot = |at: u64| cx.fleet.eligible()[at as usize];
        (sample.slots[0], sample.slots[1], sample.len) = (slot(first), slot(second), 2);
        return sample;
    }
    while sample.len < choices.min(MOST_CHOICES) {
        let taken = if replacement { &[] } else { sample.as_slice() };
        let Some(slot) = draw_excluding(request, taken, cx) else { break };
        sample.slots[sample.len] = slot;
        sample.len += 1;
    }
    sample
}

/// As [`sample`], but each candidate is drawn alike, whatever its weight.
#[inline]
fn sample_evenly(request: &Request<'_>, cx: &mut Context<'_>, choices: usize, replacement: bool) -> Sample {
    let mut sample = Sample { slots: [0; MOST_CHOICES], len: 0 };
    while sample.len < choices.min(MOST_CHOICES) {
        let taken = if replacement { &[] } else { sample.as_slice() };
        let Some(slot) = draw_evenly_excluding(request, taken, cx) else { break };
        sample.slots[sample.len] = slot;
        sample.len += 1;
    }
    sample
}

/// One candidate, each alike, none of `taken`.
#[inline]
fn draw_evenly_excluding(request: &Request<'_>, taken: &[u32], cx: &mut Context<'_>) -> Option<u32> {
    const TRIES: usize = 8;
    for _ in 0..TRIES {
        let slot = cx.fleet.draw_uniform(cx.rng)?;
        if !request.excludes(slot) && !taken.contains(&slot) {
            return Some(slot);
        }
    }
    let left = || candidates(request, cx.fleet).filter(|slot| !taken.contains(slot));
    match left().count() {
        0 => None,
        n => left().nth(cx.rng.below(n as u64) as usize),
    }
}

/// One candidate in proportion to weight, none of `taken`.
#[inline]
fn draw_excluding(request: &Request<'_>, taken: &[u32], cx: &mut Context<'_>) -> Option<u32> {
    const TRIES: usize = 8;
    for _ in 0..TRIES {
        let slot = cx.fleet.draw_weighted(cx.rng)?;
        if !request.excludes(slot) && !taken.contains(&slot) {
            return Some(slot);
        }
    }
    let left = || candidates(request, cx.fleet).filter(|slot| !taken.contains(slot));
    let total: u64 = left().map(|slot| u64::from(cx.fleet.weight(slot))).sum();
    if total == 0 {
        return None;
    }
    let mut point = cx.rng.below(total);
    left().find(|&slot| {
        let weight = u64::from(cx.fleet.weight(slot));
        let here = point < weight;
        point = point.wrapping_sub(weight);
        here
    })
}
