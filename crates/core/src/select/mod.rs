//! The selector contract: the calls between a host and a strategy, the same in the simulator, in the proxy and in a
//! [`crate::Picker`].
//!
//! A selector is pure: no clock, no entropy, no I/O, no threads. Time, randomness and the fleet come as arguments, so
//! the object that ran a million simulated requests is the object that serves real ones. The host counts (in-flight
//! requests, weights, eligibility: [`Fleet`]); the strategy estimates (averages, rings, positions), in vectors
//! indexed by slot.
//!
//! One instance serves one shard. A strategy sees what a balancer can see; an *oracle* also sees [`TrueState`], which
//! only the simulator can give.

use std::net::IpAddr;

use crate::fleet::{BackendId, Change, Fleet};
use crate::rng::{Rng, Source};
use crate::units::Nanos;

pub mod catalog;
pub mod conformance;
mod custom;
mod estimate;
pub mod explain;
mod hashing;
mod hot_cold;
#[cfg(test)]
mod indexes;
mod rotation;
mod smooth;
pub mod strategies;
pub mod strategy_set;

pub use custom::CustomStrategy;
pub use explain::{Explanation, Placement};

/// Properties of a request that a balancer knows when it picks a server. [`Request::default`] is a request without any known
/// property.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Address of the client, as far as it can be trusted. Hash strategies with `hash_on = "client"` use it.
    pub client: IpAddr,
    /// Path of the URL.
    pub path: &'a str,
    /// The key by which caches are addressed: a header, a cookie, a URL. Any bytes, may be empty.
    pub key: &'a [u8],
    /// Excluded slots: already tried, full, or still ramping. Sorted when longer than [`LINEAR_SCAN_MAX`]
    /// ([`insert_sorted`] keeps it sorted).
    pub excluded: &'a [u32],
    /// Answers to the strategy's [`ProbeRequest`] for this request; `None` if it made none.
    pub answers: Option<&'a ProbeReplies>,
}

impl Default for Request<'_> {
    /// A request without known properties: client `0.0.0.0`, path `/`, an empty key, no server excluded.
    fn default() -> Self {
        let client = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        Request { client, path: "/", key: &[], excluded: &[], answers: None }
    }
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

/// Up to this many excluded slots are searched one by one; longer lists by binary search.
pub const LINEAR_SCAN_MAX: usize = 16;

/// Adds a slot to a sorted list of excluded slots, unless it is there already.
#[inline]
pub fn insert_sorted(excluded: &mut Vec<u32>, slot: u32) {
    if let Err(at) = excluded.binary_search(&slot) {
        excluded.insert(at, slot);
    }
}

/// Arguments that the host lends for the duration of a call.
pub struct Context<'a> {
    /// The present time. Never earlier than in the call before.
    pub now: Nanos,
    /// The servers, read-only.
    pub fleet: &'a Fleet,
    /// The selector's own random stream.
    pub rng: &'a mut Rng,
    /// True state of the servers. `Some` only in the simulator and only for oracles.
    pub truth: Option<&'a dyn TrueState>,
}

/// The true state of the servers, which no balancer can know. Oracles use it as a reference.
pub trait TrueState {
    /// Time until this server would be idle if nothing more came, including requests on their way to it.
    fn remaining_work(&self, slot: u32) -> Nanos;

    /// Requests in service, queued, and on their way to this server, of all balancers.
    fn number(&self, slot: u32) -> u32;
}

/// The result of a pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The server that gets the request.
    pub backend: BackendId,
    /// A number for the strategy's own use, which comes back with the request's end ([`Finished::tag`]). The highest
    /// bit belongs to the host and must be zero. Zero where unused.
    pub tag: u64,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Outcome {
    /// A response that is no error of the server's.
    Ok,
    /// Refused, reset, answered with a server error, or timed out.
    Failed,
    /// The client disconnected or the response is no longer needed. Says nothing about the server except that the request
    /// took at least this long.
    Cancelled,
}

/// The end of a request that a selector placed.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// The server it was at. May be a former server of the slot (an old generation).
    pub backend: BackendId,
    /// Time from the pick to the end.
    pub latency: Nanos,
    /// How it ended.
    pub outcome: Outcome,
    /// The tag of the pick ([`Pick::tag`]); zero for a request that session affinity placed.
    pub tag: u64,
}

/// A load report of a server. Rates and means describe the window since its last report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize))]
pub struct LoadReport {
    /// Length of the window, seconds. Values over a short window are noisy.
    pub window: f64,
    /// Responses per second.
    pub throughput: f64,
    /// Mean time in the server, seconds; zero if it answered nothing.
    pub response_time: f64,
    /// Utilisation, 0 to 1; above 1 where a server reports that it is overcommitted.
    pub utilisation: f64,
    /// Share of errors among the responses, 0 to 1.
    pub errors: f64,
    /// Requests in the server when the report was made; `None` where the server does not say, which does not mean
    /// zero.
    pub in_server: Option<u32>,
    /// Median latency, seconds, of recent requests that arrived while about as many others were there. Zero where
    /// unknown; then `response_time`, a mean over any load, is the next best.
    pub latency: f64,
    /// How the report came.
    #[cfg_attr(feature = "config", serde(default))]
    pub by: ReportSource,
}

/// The source of a report. Strategies differ in which of these they use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum ReportSource {
    /// With a response, for the balancer whose request it was (ORCA per request).
    #[default]
    Answer,
    /// Periodically, for every balancer (ORCA out of band).
    Clock,
    /// With the answer to a health check.
    Check,
    /// With the answer to a [`Command::Probe`] or a [`ProbeRequest`].
    Probe,
    /// At once when the server becomes idle, for one balancer.
    Notice,
}

/// What a strategy needs servers to send or answer. A host that can provides it unless its configuration says
/// otherwise (`[pools.reports]`): the simulator does; servers behind a proxy send what they send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// A server that becomes idle notifies one balancer ([`ReportSource::Notice`]).
    pub notices: bool,
    /// Each response carries a load report.
    pub with_answers: bool,
    /// The strategy probes servers ([`Command::Probe`] or [`Selector::inquire`]).
    pub probes: bool,
    /// The strategy probes servers before it places a request: the host must call [`Selector::inquire`].
    pub inquires: bool,
}

impl Signals {
    /// Nothing: the strategy uses only what the balancer itself sees.
    pub const NONE: Signals = Signals { notices: false, with_answers: false, probes: false, inquires: false };
}

/// Which servers are probed before a request is placed, and how long the request waits. See [`Selector::inquire`].
#[derive(Clone, Copy, Debug)]
pub struct ProbeRequest {
    targets: [BackendId; MOST_CHOICES],
    len: usize,
    /// The request goes on when this many servers have answered, at least 1.
    pub quorum: usize,
    /// The request goes on after this time at the latest.
    pub timeout: Nanos,
    /// The part of a divided fleet in which the request is placed; 0 if the fleet is not divided.
    pub part: u32,
}

impl ProbeRequest {
    /// Probes these slots, at most [`MOST_CHOICES`].
    fn of(slots: &Sample, quorum: usize, timeout: Nanos, fleet: &Fleet) -> ProbeRequest {
        let mut targets = [BackendId { slot: 0, generation: 0 }; MOST_CHOICES];
        targets.iter_mut().zip(slots.as_slice()).for_each(|(targets, &slot)| *targets = fleet.id(slot));
        ProbeRequest { targets, len: slots.len, quorum: quorum.min(slots.len), timeout, part: 0 }
    }

    /// The servers to probe, each once.
    #[inline]
    pub fn targets(&self) -> &[BackendId] {
        &self.targets[..self.len]
    }
}

/// Answers to a [`ProbeRequest`].
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize))]
pub struct ProbeReplies {
    /// [`ProbeRequest::part`].
    pub part: u32,
    /// In order of arrival. Any of these servers may have left since.
    pub given: Vec<ProbeReply>,
}

/// The answer of one server.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(serde::Serialize, serde::Deserialize))]
pub struct ProbeReply {
    /// The server that replied.
    pub backend: BackendId,
    /// Its load report at the time of the reply.
    pub load: LoadReport,
}

/// What a selector asks its host to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask this server for a [`LoadReport`]; it arrives through [`Selector::on_report`], late or never. A probe
    /// crosses the network, costs the server work (`[pools.probes]`) and is counted.
    Probe(BackendId),
    /// Call [`Selector::on_wake`] at this time.
    WakeAt(Nanos),
}

/// A strategy with its state.
///
/// The host calls [`Selector::on_fleet`] first and after every change of the fleet, [`Selector::pick`] for each
/// request, and [`Selector::on_finish`] when a request ends. After each call it takes commands with
/// [`Selector::poll_command`] until there is none. [`crate::Picker`] is such a host;
/// `evenkeel_core::select::conformance` checks the rules that a selector must keep.
pub trait Selector: Send {
    /// Which servers to probe before this request is placed, among those that [`Selector::pick`] could pick; `None`
    /// to place it at once. Called before each pick if the strategy's [`Signals::inquires`] is set, except for a
    /// request that session affinity places or that finds all servers full. The servers are asked for a
    /// [`LoadReport`] as by [`Command::Probe`]. Every answer goes to [`Selector::on_report`], also late ones; those
    /// in time come with the pick as well ([`Request::answers`]). Other calls, picks among them, may come between the
    /// two.
    fn inquire(&mut self, _request: &Request<'_>, _cx: &mut Context<'_>) -> Option<ProbeRequest> {
        None
    }

    /// Picks one of the eligible slots that are not in `request.excluded`; `None` only when there is none
    /// ([`candidates`] lists them).
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick>;

    /// A request that this selector placed has ended.
    fn on_finish(&mut self, _finished: &Finished, _cx: &mut Context<'_>) {}

    /// The host does not use a pick: the server is in slow start and does not get this request. A pick that excludes this
    /// server comes next. A strategy that counts at its pick reverts that count.
    fn on_refused(&mut self, _pick: &Pick, _cx: &mut Context<'_>) {}

    /// A load report of a server came in. The server may have left since.
    fn on_report(&mut self, _backend: BackendId, _load: &LoadReport, _cx: &mut Context<'_>) {}

    /// The fleet changed. Tables are rebuilt here and not in `pick`. The first call has a `Joined` for each server.
    fn on_fleet(&mut self, _changes: &[Change], _cx: &mut Context<'_>) {}

    /// The next command for the host; `None` when there is no more. Called after each other call until it returns
    /// `None`.
    fn poll_command(&mut self, _cx: &mut Context<'_>) -> Option<Command> {
        None
    }

    /// The time of a [`Command::WakeAt`] has come.
    fn on_wake(&mut self, _cx: &mut Context<'_>) {}

    /// Whether the strategy does nothing in [`Selector::on_finish`] and never has a command: a host that asked it once need
    /// not make these calls. A strategy that says so keeps only to what the fleet counts and to its own picks.
    fn is_silent(&self) -> bool {
        false
    }

    /// The most requests that the strategy wants at a server at once; `None` for no limit. The host enforces it like
    /// the server's own `max_in_flight` (the smaller counts): a request that finds all servers at their limits waits
    /// at the balancer, and the first free slot goes to the first request in the queue. Late binding needs no more
    /// than this. Called for every server after `on_fleet` and `on_wake`, and for the server concerned after
    /// `on_finish` and `on_report`.
    fn limit(&self, _slot: u32, _fleet: &Fleet) -> Option<u32> {
        None
    }

    /// How the strategy rates a server now, lower is better: for explanations, never for picks. `None` if it has no
    /// such number.
    fn score(&self, _slot: u32, _fleet: &Fleet, _now: Nanos) -> Option<f64> {
        None
    }

    /// How the strategy comes to its choice for this request, for explanations: changes no state. `cx` must be as for the
    /// pick that follows, with a clone of its random stream. Empty where the strategy has nothing to say.
    fn explain(&self, _request: &Request<'_>, _cx: &mut Context<'_>) -> Explanation {
        Explanation::default()
    }
}

/// Extends the state to every slot, and resets that of new servers.
fn renew<T: Clone + Default>(kept: &mut Vec<T>, changes: &[Change], fleet: &Fleet) {
    kept.resize(fleet.slots(), T::default());
    for change in changes {
        if let Change::Joined(id) = change {
            kept[id.slot as usize] = T::default();
        }
    }
}

/// In-flight requests per weight: what counting strategies compare.
#[inline]
fn load_per_weight(slot: u32, fleet: &Fleet) -> f64 {
    f64::from(fleet.in_flight()[slot as usize]) / f64::from(fleet.weight(slot).max(1))
}

impl Context<'_> {
    #[inline]
    fn pick(&self, slot: u32) -> Option<Pick> {
        self.pick_tagged(slot, 0)
    }

    #[inline]
    fn pick_tagged(&self, slot: u32, tag: u64) -> Option<Pick> {
        Some(Pick { backend: self.fleet.id(slot), tag })
    }
}

/// The slots that may be picked for `request`, ascending: eligible and not excluded.
#[inline]
pub fn candidates<'a>(request: &'a Request<'_>, fleet: &'a Fleet) -> impl Iterator<Item = u32> + 'a {
    fleet.eligible().iter().copied().filter(|&slot| !request.excludes(slot))
}

/// The candidate with the smallest cost, in one scan; ties are broken at random with equal probability.
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

/// The most slots that a strategy may sample for one pick.
pub const MOST_CHOICES: usize = 16;

/// A few slots, on the stack.
#[derive(Clone, Copy, Debug)]
struct Sample {
    slots: [u32; MOST_CHOICES],
    len: usize,
}

impl Sample {
    #[inline]
    fn as_slice(&self) -> &[u32] {
        &self.slots[..self.len]
    }
}

/// Draws up to `choices` candidates with probability in proportion to weight, distinct unless `replacement`. Returns
/// fewer only where fewer candidates are left. Exact: rejection first, and a scan where that keeps failing.
#[inline]
fn sample(request: &Request<'_>, cx: &mut Context<'_>, choices: usize, replacement: bool) -> Sample {
    let mut sample = Sample { slots: [0; MOST_CHOICES], len: 0 };
    if choices == 2
        && !replacement
        && let Some((first, second)) = sample_two(request, cx)
    {
        (sample.slots[0], sample.slots[1], sample.len) = (first, second, 2);
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

/// Two distinct candidates, drawn without rejection: the second draw leaves out the first one's place. `None` where weights
/// differ, a slot is excluded or there are not two.
#[inline(always)]
fn sample_two(request: &Request<'_>, cx: &mut Context<'_>) -> Option<(u32, u32)> {
    let eligible = cx.fleet.eligible();
    let n = eligible.len() as u64;
    if n < 2 || !request.excluded.is_empty() || !cx.fleet.uniform() {
        return None;
    }
    let first = cx.rng.below(n);
    let second = cx.rng.below(n - 1);
    let second = second + u64::from(second >= first);
    Some((eligible[first as usize], eligible[second as usize]))
}

/// As [`sample`], with equal probabilities.
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

/// One candidate with equal probability, none of `taken`.
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
