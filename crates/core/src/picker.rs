//! [`Picker`]: a strategy together with the state that it needs, for use in any balancer.
//!
//! A [`Selector`] requires a host that counts requests in flight, announces changes of the fleet, reports every end and
//! runs its timer. A picker does these for one strategy. It has no policies (health checks, retries, queues); for those
//! see [`crate::policy`].

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::fleet::{BackendId, Fleet};
use crate::rng::Rng;
use crate::select::catalog::StrategyConfig;
use crate::select::{
    Command, Context, Finished, LINEAR_SCAN_MAX, LoadReport, Outcome, ProbeRequest, Request, Selector, Signals,
};
use crate::units::Nanos;

/// Picks a server for each request by one strategy, and keeps the strategy's state.
///
/// A picker has no clock: times are arguments, counted from any fixed instant. A time earlier than the latest one it was
/// given counts as that one. It never panics on a forgotten call: a guard that is dropped ends its request as cancelled, and
/// the ends of requests at servers that have left are ignored.
///
/// ```
/// use evenkeel_core::select::Request;
/// use evenkeel_core::select::strategies::p2c;
/// use evenkeel_core::units::Nanos;
/// use evenkeel_core::Picker;
///
/// let mut picker = Picker::new(p2c::Params { choices: 2, ..Default::default() }, 42)?;
/// picker.add("10.0.0.1:8080", 1);
/// picker.add("10.0.0.2:8080", 1);
///
/// // Times come from a clock of yours, such as `Nanos::from(start.elapsed())`.
/// let guard = picker.pick(&Request::default(), Nanos::from_millis(5))?;
/// assert!(guard.name().starts_with("10.0.0."));
/// assert_eq!(picker.in_flight(guard.server()), 1);
/// // … send the request there, wait for the response …
/// guard.ok(Nanos::from_millis(17));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The strategy can also be given by name, `"p2c".parse::<StrategyConfig>()?`, or be one's own
/// ([`crate::select::CustomStrategy`]).
///
/// A guard does not borrow the picker and may end in another thread. To share a picker between threads, put it in a
/// [`std::sync::Mutex`], which is locked for a pick only. Sharing is not needed where every thread has its own picker, as
/// the worker processes of most proxies do.
pub struct Picker {
    fleet: Fleet,
    selector: Box<dyn Selector>,
    rng: Rng,
    signals: Signals,
    limits: bool,
    now: Nanos,
    /// By slot, for guards.
    names: Vec<Arc<str>>,
    ends: Arc<Ends>,
    /// Ended requests that are being processed; a reused buffer.
    taken: Vec<End>,
    wakes: Vec<Nanos>,
    probes: Vec<BackendId>,
    /// A reused buffer.
    excluded: Vec<u32>,
}

/// Ends of requests since the picker's last call. Guards write here; the lock is held for a push or a swap.
type Ends = Mutex<Vec<End>>;

#[derive(Clone, Copy, Debug)]
struct End {
    backend: BackendId,
    tag: u64,
    started: Nanos,
    /// `None`: at the time of the picker's next call.
    at: Option<Nanos>,
    outcome: Outcome,
}

/// Why a strategy cannot be used by a [`Picker`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable(String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

/// Why no server was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoServer {
    /// No server is eligible: there is none, or all are unhealthy, draining or have a weight of zero.
    NoneEligible,
    /// All eligible servers are in [`Request::excluded`].
    AllExcluded,
    /// The remaining servers are at the limit that the strategy sets ([`Selector::limit`]). Try again when a request ends.
    AllFull,
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoServer::NoneEligible => "no server is eligible",
            NoServer::AllExcluded => "all eligible servers are excluded",
            NoServer::AllFull => "all servers are at the limit of the strategy",
        })
    }
}

impl std::error::Error for NoServer {}

impl Picker {
    /// A picker without servers. All randomness comes from `seed`: the same seed and the same calls give the same picks.
    /// Give each balancer another one.
    ///
    /// Refuses parameters that are out of range, and strategies that need the simulator's knowledge (oracles).
    pub fn new(strategy: impl Into<StrategyConfig>, seed: u64) -> Result<Picker, Unusable> {
        let strategy = strategy.into();
        strategy.check().map_err(|problem| Unusable(format!("{}: {problem}", strategy.name())))?;
        if strategy.oracle() {
            let message =
                format!("{}: it needs the true state of the servers, which only a simulator has", strategy.name());
            return Err(Unusable(message));
        }
        let mut rng = Rng::stream(seed, "select", 0);
        let mut fleet = Fleet::new();
        fleet.keep_load_index(strategy.uses_load_index());
        Ok(Picker {
            fleet,
            selector: strategy.build(&mut rng),
            rng,
            signals: strategy.signals(),
            limits: strategy.limits(),
            now: Nanos::ZERO,
            names: Vec::new(),
            ends: Arc::default(),
            taken: Vec::new(),
            wakes: Vec::new(),
            probes: Vec::new(),
            excluded: Vec::new(),
        })
    }

    // ---- Servers ----

    /// Adds a healthy server. Hash strategies place it by its name, so a name should be the same in every balancer, and no
    /// two servers should have the same. A weight of zero means no new requests.
    pub fn add(&mut self, name: &str, weight: u32) -> BackendId {
        let id = self.fleet.join(name, weight);
        self.name_slots();
        id
    }

    /// Adds many servers at once, which costs less than one by one.
    pub fn add_all<'a>(&mut self, servers: impl IntoIterator<Item = (&'a str, u32)>) {
        self.fleet.join_all(servers);
        self.name_slots();
    }

    fn name_slots(&mut self) {
        let fleet = &self.fleet;
        self.names.resize_with(fleet.slots(), || Arc::from(""));
        for slot in fleet.members() {
            let name = &mut self.names[slot as usize];
            if **name != *fleet.name(slot) {
                *name = fleet.name(slot).into();
            }
        }
    }

    /// Removes a server. Requests in flight there may still end, without any effect.
    pub fn remove(&mut self, server: BackendId) {
        self.fleet.leave(server);
    }

    /// Changes a server's weight; zero means no new requests.
    pub fn set_weight(&mut self, server: BackendId, weight: u32) {
        self.fleet.set_weight(server, weight);
    }

    /// Says whether a server is healthy. Unhealthy servers are not picked.
    pub fn set_healthy(&mut self, server: BackendId, healthy: bool) {
        self.fleet.set_healthy(server, healthy);
    }

    /// Says whether a server is draining. Draining servers finish what they have and are not picked.
    pub fn set_draining(&mut self, server: BackendId, draining: bool) {
        self.fleet.set_draining(server, draining);
    }

    /// The servers, to look up names, weights and eligibility. In-flight counts here include requests whose guards have
    /// ended since the picker's last call; [`Picker::in_flight`] does not count those.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The server of this name.
    pub fn find(&self, name: &str) -> Option<BackendId> {
        self.fleet.members().find(|&slot| self.fleet.name(slot) == name).map(|slot| self.fleet.id(slot))
    }

    /// Requests in flight at a server; zero once it has left.
    pub fn in_flight(&mut self, server: BackendId) -> u32 {
        self.catch_up(self.now);
        if self.fleet.is_current(server) { self.fleet.in_flight()[server.slot as usize] } else { 0 }
    }

    // ---- Requests ----

    /// Picks a server for a request and counts the request there until the guard ends.
    pub fn pick(&mut self, request: &Request<'_>, now: Nanos) -> Result<PickGuard, NoServer> {
        self.catch_up(now);
        let mut excluded = std::mem::take(&mut self.excluded);
        // Long lists are searched by bisection and must be sorted.
        let unsorted = request.excluded.len() > LINEAR_SCAN_MAX && !request.excluded.is_sorted();
        let pick = if self.limits || unsorted {
            excluded.clear();
            excluded.extend_from_slice(request.excluded);
            if self.limits {
                let (fleet, selector) = (&self.fleet, &self.selector);
                let in_flight = |slot: u32| fleet.in_flight()[slot as usize];
                let full = |slot: &u32| selector.limit(*slot, fleet).is_some_and(|limit| in_flight(*slot) >= limit);
                excluded.extend(fleet.eligible().iter().copied().filter(full));
            }
            excluded.sort_unstable();
            excluded.dedup();
            let request = Request { excluded: &excluded, ..*request };
            self.with(|selector, cx| selector.pick(&request, cx))
        } else {
            self.with(|selector, cx| selector.pick(request, cx))
        };
        self.excluded = excluded;
        self.run_commands();
        let Some(pick) = pick else { return Err(self.why_none(request)) };
        self.fleet.started(pick.backend);
        Ok(PickGuard {
            name: Arc::clone(&self.names[pick.backend.slot as usize]),
            end: Some(End {
                backend: pick.backend,
                tag: pick.tag,
                started: self.now,
                at: None,
                outcome: Outcome::Cancelled,
            }),
            backend: pick.backend,
            ends: Arc::clone(&self.ends),
        })
    }

    fn why_none(&self, request: &Request<'_>) -> NoServer {
        let eligible = self.fleet.eligible();
        if eligible.is_empty() {
            NoServer::NoneEligible
        } else if eligible.iter().all(|slot| request.excluded.contains(slot)) {
            NoServer::AllExcluded
        } else {
            NoServer::AllFull
        }
    }

    // ---- Calls that only some strategies need ----

    /// Signals that the strategy needs from servers: load reports with responses, idle notifications, probes. A strategy
    /// that does not get them works with less information.
    pub fn signals(&self) -> Signals {
        self.signals
    }

    /// Passes on a load report of a server. [`LoadReport::by`] says how it came; the answer to a probe is one as well.
    pub fn report(&mut self, server: BackendId, load: &LoadReport, now: Nanos) {
        self.catch_up(now);
        self.with(|selector, cx| selector.on_report(server, load, cx));
        self.run_commands();
    }

    /// Servers that the strategy wants probed, since the last call. Send each a request for its load, and pass the answer to
    /// [`Picker::report`] with [`crate::select::ReportSource::Probe`]. Empty for strategies that do not probe.
    pub fn take_probes(&mut self) -> Vec<BackendId> {
        std::mem::take(&mut self.probes)
    }

    /// Which servers to probe before the pick for this request; `None` to pick at once, as nearly all strategies do
    /// ([`Signals::inquires`]). The replies go into [`Request::answers`] of the pick. Without them the strategy picks as if
    /// no server had replied.
    pub fn inquire(&mut self, request: &Request<'_>, now: Nanos) -> Option<ProbeRequest> {
        self.catch_up(now);
        let inquiry = self.with(|selector, cx| selector.inquire(request, cx));
        self.run_commands();
        inquiry
    }

    /// Runs the strategy's timer if it is due, for instance to recompute weights. Each other call does this as well; a
    /// balancer that may be idle for long calls it at [`Picker::next_wake`].
    pub fn tick(&mut self, now: Nanos) {
        self.catch_up(now);
    }

    /// When [`Picker::tick`] should be called at the latest; `None` if the strategy has no timer.
    pub fn next_wake(&self) -> Option<Nanos> {
        self.wakes.iter().copied().min()
    }

    // ---- Inside ----

    #[inline]
    fn with<T>(&mut self, call: impl FnOnce(&mut dyn Selector, &mut Context<'_>) -> T) -> T {
        let mut cx = Context { now: self.now, fleet: &self.fleet, rng: &mut self.rng, truth: None };
        call(self.selector.as_mut(), &mut cx)
    }

    /// Passes everything that has happened up to `now` to the selector.
    fn catch_up(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        if self.fleet.has_changes() {
            let changes = self.fleet.take_changes();
            self.with(|selector, cx| selector.on_fleet(&changes, cx));
            self.run_commands();
        }
        let mut taken = std::mem::take(&mut self.taken);
        std::mem::swap(&mut taken, &mut *self.ends.lock().unwrap_or_else(PoisonError::into_inner));
        for End { backend, tag, started, at, outcome } in taken.drain(..) {
            let latency = at.unwrap_or(self.now).saturating_sub(started);
            self.fleet.ended(backend);
            self.with(|selector, cx| selector.on_finish(&Finished { backend, latency, outcome, tag }, cx));
            self.run_commands();
        }
        self.taken = taken;
        if self.wakes.iter().any(|&at| at <= self.now) {
            let now = self.now;
            self.wakes.retain(|&at| at > now);
            self.with(|selector, cx| selector.on_wake(cx));
            self.run_commands();
        }
    }

    fn run_commands(&mut self) {
        while let Some(command) = self.with(|selector, cx| selector.poll_command(cx)) {
            match command {
                Command::WakeAt(at) => self.wakes.push(at),
                // If the host does not take them, the oldest are useless.
                Command::Probe(_) if self.probes.len() >= MAX_PROBES => {}
                Command::Probe(server) => self.probes.push(server),
            }
        }
    }
}

/// Probes kept until [`Picker::take_probes`]; further ones are dropped.
const MAX_PROBES: usize = 1024;

impl fmt::Debug for Picker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picker").field("fleet", &self.fleet).field("now", &self.now).finish_non_exhaustive()
    }
}

/// A request in flight. Say how it ended with [`PickGuard::ok`] or [`PickGuard::failed`]; a guard that is dropped ends as
/// [`PickGuard::cancelled`], at the time of the picker's next call.
#[derive(Debug)]
#[must_use = "a dropped guard ends its request as cancelled"]
pub struct PickGuard {
    backend: BackendId,
    name: Arc<str>,
    /// `None` once it is reported.
    end: Option<End>,
    ends: Arc<Ends>,
}

impl PickGuard {
    /// The server. Its `slot` is what [`Request::excluded`] takes for a retry elsewhere.
    #[inline]
    pub fn server(&self) -> BackendId {
        self.backend
    }

    /// The server's name, as it was given to [`Picker::add`].
    #[inline]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A response came, and it is not a server error.
    pub fn ok(self, now: Nanos) {
        self.finish(Outcome::Ok, now);
    }

    /// The server refused, reset, timed out or answered with an error of its own.
    pub fn failed(self, now: Nanos) {
        self.finish(Outcome::Failed, now);
    }

    /// The client disconnected, or the response is no longer needed. Does not count against the server.
    pub fn cancelled(self, now: Nanos) {
        self.finish(Outcome::Cancelled, now);
    }

    /// Ends the request in the given way.
    pub fn finish(mut self, outcome: Outcome, now: Nanos) {
        if let Some(end) = &mut self.end {
            (end.outcome, end.at) = (outcome, Some(now));
        }
    }
}

impl Drop for PickGuard {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            self.ends.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Source;
    use crate::select::catalog::CATALOGUE;
    use crate::select::strategies::{late_binding, least_request, p2c, prequal, round_robin};
    use crate::select::{CustomStrategy, Pick, ReportSource};

    fn picker(strategy: impl Into<StrategyConfig>, servers: usize) -> Picker {
        let mut picker = Picker::new(strategy, 1).unwrap();
        (0..servers).for_each(|n| _ = picker.add(&format!("s{n}"), 1));
        picker
    }

    const AT: fn(u64) -> Nanos = Nanos::from_millis;

    #[test]
    fn requests_are_counted_until_their_guards_end() {
        let mut picker = picker(least_request::Params::default(), 2);
        let first = picker.pick(&Request::default(), AT(0)).unwrap();
        let second = picker.pick(&Request::default(), AT(1)).unwrap();
        assert_ne!(first.server(), second.server(), "the idle server");
        let (a, b) = (first.server(), second.server());
        assert_eq!((picker.in_flight(a), picker.in_flight(b)), (1, 1));
        first.ok(AT(5));
        drop(second);
        assert_eq!((picker.in_flight(a), picker.in_flight(b)), (0, 0));
    }

    /// Checks the latencies and outcomes that the strategy receives.
    #[test]
    fn the_strategy_receives_each_end_once() {
        type Heard = Arc<Mutex<Vec<(u32, u64, Outcome, u64)>>>;
        struct Spy(Heard, u64);
        impl Selector for Spy {
            fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
                self.1 += 1;
                let slot = crate::select::candidates(request, cx.fleet).next()?;
                Some(Pick { backend: cx.fleet.id(slot), tag: self.1 })
            }
            fn on_finish(&mut self, end: &Finished, _: &mut Context<'_>) {
                self.0.lock().unwrap().push((end.backend.slot, end.latency.0 / 1_000_000, end.outcome, end.tag));
            }
        }
        let heard = Heard::default();
        let shared = Arc::clone(&heard);
        let mut picker = picker(CustomStrategy::new("spy", move |_| Box::new(Spy(Arc::clone(&shared), 0))), 1);
        let guards: Vec<PickGuard> = (0..4).map(|n| picker.pick(&Request::default(), AT(n)).unwrap()).collect();
        let mut guards = guards.into_iter();
        guards.next().unwrap().ok(AT(10));
        guards.next().unwrap().failed(AT(21));
        guards.next().unwrap().cancelled(AT(5));
        drop(guards);
        picker.tick(AT(40));
        picker.tick(AT(50));
        let expected = [(0, 10, Outcome::Ok, 1), (0, 20, Outcome::Failed, 2), (0, 3, Outcome::Cancelled, 3)];
        assert_eq!(heard.lock().unwrap()[..3], expected);
        assert_eq!(
            heard.lock().unwrap()[3..],
            [(0, 37, Outcome::Cancelled, 4)],
            "dropped: the end is noticed at 40 ms"
        );
    }

    #[test]
    fn guards_and_pickers_are_send() {
        fn sendable<T: Send>() {}
        sendable::<Picker>();
        sendable::<PickGuard>();
    }

    #[test]
    fn servers_come_and_go() {
        let mut picker = picker(round_robin::Params { random_start: false }, 0);
        assert_eq!(picker.pick(&Request::default(), AT(0)).unwrap_err(), NoServer::NoneEligible);
        let a = picker.add("a", 1);
        let b = picker.add("b", 1);
        let guard = picker.pick(&Request { excluded: &[a.slot], ..Request::default() }, AT(0)).unwrap();
        assert_eq!((guard.server(), guard.name()), (b, "b"));
        assert_eq!(
            picker.pick(&Request { excluded: &[0, 1], ..Request::default() }, AT(0)).unwrap_err(),
            NoServer::AllExcluded
        );
        picker.remove(b);
        let c = picker.add("c", 1);
        assert_eq!((c.slot, picker.find("c"), picker.find("b")), (b.slot, Some(c), None));
        // The end of a request at the former server of that slot.
        guard.ok(AT(1));
        assert_eq!((picker.in_flight(b), picker.in_flight(c)), (0, 0));
        picker.set_healthy(a, false);
        assert_eq!(picker.pick(&Request::default(), AT(2)).unwrap().name(), "c");
        picker.set_weight(c, 0);
        assert_eq!(picker.pick(&Request::default(), AT(3)).unwrap_err(), NoServer::NoneEligible);
        picker.set_healthy(a, true);
        picker.set_draining(a, true);
        assert_eq!(picker.pick(&Request::default(), AT(4)).unwrap_err(), NoServer::NoneEligible);
    }

    #[test]
    fn limits_of_a_strategy_are_kept() {
        let mut picker = picker(late_binding::Params { slots: 2 }, 2);
        let guards: Vec<PickGuard> = (0..4).map(|_| picker.pick(&Request::default(), AT(0)).unwrap()).collect();
        assert_eq!(picker.pick(&Request::default(), AT(0)).unwrap_err(), NoServer::AllFull);
        drop(guards);
        assert!(picker.pick(&Request::default(), AT(1)).is_ok());
    }

    #[test]
    fn probes_are_asked_for_and_answered() {
        let mut picker = picker(prequal::Params::default(), 12);
        assert!(picker.signals().probes);
        drop(picker.pick(&Request::default(), AT(0)));
        let probes = picker.take_probes();
        assert!(!probes.is_empty() && picker.take_probes().is_empty());
        for (n, &server) in probes.iter().enumerate() {
            let load = LoadReport {
                in_server: Some(n as u32),
                latency: 0.01,
                by: ReportSource::Probe,
                ..LoadReport::default()
            };
            picker.report(server, &load, AT(1));
        }
        assert_eq!(
            picker.pick(&Request::default(), AT(2)).unwrap().server(),
            probes[0],
            "the least loaded that answered"
        );
        (0..5000).for_each(|n| drop(picker.pick(&Request::default(), AT(n))));
        assert_eq!(picker.take_probes().len(), MAX_PROBES, "no memory without end");
    }

    #[test]
    fn invalid_inputs_are_rejected() {
        let refusal = |strategy: StrategyConfig| Picker::new(strategy, 1).unwrap_err().to_string();
        assert!(refusal(p2c::Params { choices: 99, ..Default::default() }.into()).starts_with("p2c: `choices` is 99"));
        assert!(refusal("oracle_least_work".parse().unwrap()).contains("only a simulator"));
    }

    /// Every strategy, with a host that makes mistakes: time that runs backwards, guards dropped late or never, unsorted
    /// exclusions, reports of servers that have left.
    #[test]
    fn forgotten_values_do_not_panic() {
        for row in CATALOGUE.iter().filter(|row| !row.doc.oracle()) {
            let mut dice = Rng::stream(7, "test", 0);
            let mut picker = Picker::new((row.default)(), 7).unwrap();
            let mut guards = Vec::new();
            let mut gone = Vec::new();
            for step in 0..2000_u64 {
                let now = Nanos::from_millis(dice.below(step + 100));
                match dice.below(8) {
                    0 if picker.fleet().members().count() < 24 => {
                        gone.push(picker.add(&format!("s{step}"), 1 + dice.below(3) as u32));
                    }
                    1 if gone.len() > 20 => {
                        let server = gone[dice.below(gone.len() as u64) as usize];
                        picker.remove(server);
                        picker.report(server, &LoadReport { in_server: Some(3), ..LoadReport::default() }, now);
                    }
                    2 => drop(guards.pop()),
                    3 => picker.tick(now),
                    4 => _ = picker.take_probes(),
                    _ => {
                        let excluded: Vec<u32> = (0..dice.below(20)).map(|_| dice.below(24) as u32).collect();
                        let key = dice.below(40).to_le_bytes();
                        let request = Request { key: &key, excluded: &excluded, ..Request::default() };
                        _ = picker.inquire(&request, now);
                        match picker.pick(&request, now) {
                            Ok(guard) => {
                                assert!(!excluded.contains(&guard.server().slot), "{}", row.name);
                                assert!(picker.fleet().is_current(guard.server()), "{}", row.name);
                                guards.push(guard);
                            }
                            Err(NoServer::AllFull) => assert!(picker.limits, "{}", row.name),
                            Err(_) => {}
                        }
                    }
                }
            }
            assert!(!guards.is_empty(), "{}", row.name);
        }
    }
}
