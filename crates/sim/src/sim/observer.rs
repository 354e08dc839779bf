//! Implement [`Observer`] to watch a run, for a trace or a record of picks. An observer changes nothing; the engine is compiled
//! for its observer, so the no-op observer `()` costs nothing.

use std::net::IpAddr;

use super::record::RequestOutcome;
use super::server::ServerState;
use evenkeel_core::fleet::{BackendId, Fleet};
use evenkeel_core::policy::outlier::Reason;
use evenkeel_core::policy::recording::HostEvent;
use evenkeel_core::rng::Rng;
use evenkeel_core::select::{LoadReport, Request, Selector, TrueState};
use evenkeel_core::units::Nanos;

/// Called as a run proceeds. `job` identifies a request, an attempt or a call; identifiers are used again after
/// [`Step::Released`].
pub trait Observer {
    /// Whether it watches at all. Where it does not, the engine does not collect what an observer would get, and may end requests
    /// in fewer steps.
    const WATCHES: bool = true;

    /// Whether the engine looks for changes that only [`Observer::event`] reports and that cost a comparison to find: limits.
    /// A constant, so that nothing of it is left for an observer that does not want them.
    const WATCHES_LIMITS: bool = false;

    /// A request arrived, an attempt was made for it, or a server calls its second tier.
    fn arrived(&mut self, _job: u32, _arrival: &Arrival<'_>) {}

    /// A selector is about to choose.
    fn deciding(&mut self, _decision: &Decision<'_>) {}

    /// The selector has chosen this server, numbered over all pools; `None` where there is no eligible one.
    fn decided(&mut self, _job: u32, _server: Option<u32>, _now: Nanos) {}

    /// A job has reached this step.
    fn step(&mut self, _job: u32, _step: Step, _now: Nanos) {}

    /// Anything else that happens in the run.
    fn event(&mut self, _event: &RunEvent<'_>, _now: Nanos) {}

    /// Whether balancers record what their hosts report to their selectors, for [`Observer::recorded`]. Takes memory for
    /// each call; read once, before the run.
    fn records(&self) -> bool {
        false
    }

    /// The recording of this pool's balancer; after the run, before [`Observer::closed`]. Only for balancers with one shard.
    fn recorded(&mut self, _pool: u32, _events: Vec<HostEvent>) {}

    /// The run is over. Jobs that were not released stay where they are.
    fn closed(&mut self, _now: Nanos) {}
}

/// The no-op observer.
impl Observer for () {
    const WATCHES: bool = false;
}

/// An observer that its caller keeps.
impl<O: Observer> Observer for &mut O {
    const WATCHES: bool = O::WATCHES;
    const WATCHES_LIMITS: bool = O::WATCHES_LIMITS;

    #[inline]
    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        (**self).arrived(job, arrival);
    }
    #[inline]
    fn deciding(&mut self, decision: &Decision<'_>) {
        (**self).deciding(decision);
    }
    #[inline]
    fn decided(&mut self, job: u32, server: Option<u32>, now: Nanos) {
        (**self).decided(job, server, now);
    }
    #[inline]
    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        (**self).step(job, step, now);
    }
    #[inline]
    fn event(&mut self, event: &RunEvent<'_>, now: Nanos) {
        (**self).event(event, now);
    }
    fn records(&self) -> bool {
        (**self).records()
    }
    fn recorded(&mut self, pool: u32, events: Vec<HostEvent>) {
        (**self).recorded(pool, events);
    }
    fn closed(&mut self, now: Nanos) {
        (**self).closed(now);
    }
}

/// Two observers of one run; the first one is called first.
impl<A: Observer, B: Observer> Observer for (A, B) {
    const WATCHES: bool = A::WATCHES || B::WATCHES;
    const WATCHES_LIMITS: bool = A::WATCHES_LIMITS || B::WATCHES_LIMITS;

    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        self.0.arrived(job, arrival);
        self.1.arrived(job, arrival);
    }
    fn deciding(&mut self, decision: &Decision<'_>) {
        self.0.deciding(decision);
        self.1.deciding(decision);
    }
    fn decided(&mut self, job: u32, server: Option<u32>, now: Nanos) {
        self.0.decided(job, server, now);
        self.1.decided(job, server, now);
    }
    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        self.0.step(job, step, now);
        self.1.step(job, step, now);
    }
    fn event(&mut self, event: &RunEvent<'_>, now: Nanos) {
        self.0.event(event, now);
        self.1.event(event, now);
    }
    fn records(&self) -> bool {
        self.0.records() || self.1.records()
    }
    fn recorded(&mut self, pool: u32, events: Vec<HostEvent>) {
        if self.0.records() {
            self.0.recorded(pool, events.clone());
        }
        if self.1.records() {
            self.1.recorded(pool, events);
        }
    }
    fn closed(&mut self, now: Nanos) {
        self.0.closed(now);
        self.1.closed(now);
    }
}

/// A request at its arrival.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Number of the request, from 0 in the order of arrival; a call to a second tier has that of the request it serves.
    pub id: u64,
    /// The client's address.
    pub client: IpAddr,
    /// The path, as in a URL.
    pub path: &'a str,
    /// Index of the path in the model; a call to a second tier has that of the request it serves.
    pub path_index: u32,
    /// The key by which caches and hashing strategies know the request.
    pub key: u64,
    /// Index of the balancer that it was sent to.
    pub balancer: u32,
    /// For a call to a second tier, the job that calls; else `None`.
    pub parent: Option<u32>,
    /// For an attempt in a pool with retries or hedging, the request's job and the number of the attempt, from 1; else `None`.
    /// Such a request has had an arrival of its own, without a server.
    pub attempt: Option<(u32, u32)>,
    /// Time of arrival, since the start of the run.
    pub at: Nanos,
    /// Work at speed 1 when nothing is cached.
    pub demand: Nanos,
    /// Whether it arrived in the measured span.
    pub measured: bool,
}

/// A choice that a selector is about to make.
pub struct Decision<'a> {
    /// The job that is to be placed.
    pub job: u32,
    /// Number of the request, from 0 in the order of arrival.
    pub id: u64,
    /// The present time, since the start of the run.
    pub now: Nanos,
    /// The request as the selector sees it.
    pub request: Request<'a>,
    /// The selector's number among all selectors of the run.
    pub dispatcher: u32,
    /// Index of the pool that it chooses from.
    pub pool: u32,
    /// The pool's first server in the numbering over all pools.
    pub base: u32,
    /// The servers as the selector sees them: in-flight counts, weights, who is eligible.
    pub fleet: &'a Fleet,
    /// The selector, before it chooses.
    pub selector: &'a dyn Selector,
    /// The selector's random stream, before it chooses: a clone of it gives the draws of this choice.
    pub rng: &'a Rng,
    /// Slots of servers at their limit, which the selector may not choose, ascending.
    pub full: &'a [u32],
    /// True states of the servers, where the strategy may read them; else `None`.
    pub truth: Option<&'a dyn TrueState>,
    /// The server that gets the request without a choice of the selector: by a cookie or an open connection.
    pub kept: Option<BackendId>,
    /// The pool's servers as they are, by slot: what no balancer sees.
    pub servers: &'a [ServerState],
}

/// An event of the run that is not a step of a single job. Pools, faults and views are indices; a server is a pool and a slot,
/// its index in the pool. A *view* is what counts and checks servers on its own: a balancer, or a shard of it that shares no
/// counts. Views are numbered over all pools.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are explained above")]
pub enum RunEvent<'a> {
    /// A fault begins; the requests that a crash loses have not left yet. Faults of an act during the run are numbered after
    /// those of the model ([`crate::sim::Run::fault`]).
    FaultStarted { fault: u32 },
    /// It ends.
    FaultEnded { fault: u32 },
    /// The arrival rate is now this many times the scenario's.
    LoadChanged { factor: f64 },
    /// The result of an active check is at a balancer, with the load report that came with it.
    Checked { pool: u32, view: u32, slot: u32, passed: bool, load: Option<&'a LoadReport> },
    /// A load report is at a balancer that did not come with a check.
    Reported { pool: u32, view: u32, slot: u32, load: &'a LoadReport },
    /// A strategy's probe is on its way to a server.
    ProbeSent { pool: u32, view: u32, slot: u32 },
    /// By its active checks, a server is up or down for a view from now on.
    Health { pool: u32, view: u32, slot: u32, up: bool },
    /// Outlier detection ejects a server, until this time at the latest.
    Ejected { pool: u32, view: u32, slot: u32, reason: Reason, until: Nanos },
    /// An ejection is over.
    Returned { pool: u32, view: u32, slot: u32 },
    /// Servers joined or left a view, or changed their health; also at the start. `eligible` of them can be picked now;
    /// `panic`: because too few are healthy, health is ignored.
    FleetChanged { pool: u32, view: u32, eligible: u32, panic: bool },
    /// A limit on requests in flight that a view adapts has changed: of a server, or of the whole pool (`slot` is `None`).
    /// `limit` is `None` for no limit. Compared when a request ends, and only for observers with
    /// [`Observer::WATCHES_LIMITS`].
    LimitChanged { pool: u32, view: u32, slot: Option<u32>, limit: Option<u32> },
    /// A pool's servers change; every balancer is informed at this time.
    ServerChanged { pool: u32, slot: u32, change: ServerChange },
    /// Autoscaling starts so many servers, which join later.
    Booting { pool: u32, servers: u32 },
    /// A job waits at its balancer, because every server is at its limit.
    Queued { job: u32, pool: u32 },
    /// It no longer waits: a server is chosen for it, its wait has expired, or it is no longer wanted.
    Dequeued { job: u32, pool: u32 },
    /// The next attempt of this request's job is a retry. Its arrival follows.
    Retried { job: u32, pool: u32 },
    /// The next attempt of this request's job is a hedge. Its arrival follows.
    Hedged { job: u32, pool: u32 },
    /// A server fails a job: it is full, answers with an error, refuses the connection, or has crashed with the job in it;
    /// `None` if there will be no answer. Servers are numbered over all pools here and below.
    ServerFailed { job: u32, server: u32, outcome: Option<RequestOutcome> },
    /// A server's cache has evicted entries to make space.
    Evicted { server: u32, entries: u32 },
    /// A server's cache is empty now, after a crash or a restart; it had so many entries.
    CacheLost { server: u32, entries: u64 },
}

/// A change of a pool's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerChange {
    /// Autoscaling has started it.
    Joined,
    /// Autoscaling has stopped it.
    Left,
    /// It starts or stops draining.
    Draining(bool),
}

/// A step of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is at its balancer, or a call is at that of its second tier.
    AtBalancer,
    /// Its server has admitted it.
    Entered,
    /// Service began; whether the cache had the answer, `None` without a cache.
    Started(Option<bool>),
    /// It left its server, answered or not.
    Left,
    /// The request has ended for its client.
    Ended(RequestOutcome),
    /// The response, possibly an error, is back at the balancer or the caller.
    Returned(RequestOutcome),
    /// The attempt is no longer wanted: it timed out, another was faster, or the client gave up.
    Abandoned,
    /// The job is finished; its identifier may be used again.
    Released,
}
