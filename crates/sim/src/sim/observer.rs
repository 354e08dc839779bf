//! Implement [`Observer`] to watch a run, for a trace or a record of picks. An observer changes nothing; the engine is compiled
//! for its observer, so the no-op observer `()` costs nothing.

use std::net::IpAddr;

use super::record::RequestOutcome;
use evenkeel_core::fleet::Fleet;
use evenkeel_core::policy::recording::HostEvent;
use evenkeel_core::select::{LoadReport, Request, Selector};
use evenkeel_core::units::Nanos;

/// Called as a run proceeds. `job` identifies a request, an attempt or a call; identifiers are used again after
/// [`Step::Released`].
pub trait Observer {
    /// A request arrived, an attempt was made for it, or a server calls its second tier.
    fn arrived(&mut self, _job: u32, _arrival: &Arrival<'_>) {}

    /// A selector is about to choose.
    fn deciding(&mut self, _decision: &Decision<'_>) {}

    /// The selector has chosen this server, numbered over all pools; `None` where there is no eligible one.
    fn decided(&mut self, _job: u32, _server: Option<u32>, _now: Nanos) {}

    /// A job has reached this step.
    fn step(&mut self, _job: u32, _step: Step, _now: Nanos) {}

    /// The result of an active check is at a balancer: its pool's number, the server's slot, whether it passed, and the load
    /// report that came with it.
    fn checked(&mut self, _pool: u32, _slot: u32, _passed: bool, _load: Option<&LoadReport>, _now: Nanos) {}

    /// A load report is at a balancer that did not come with a check.
    fn reported(&mut self, _pool: u32, _slot: u32, _load: &LoadReport, _now: Nanos) {}

    /// A pool's servers change; every balancer is informed at this time.
    fn server_changed(&mut self, _pool: u32, _slot: u32, _change: ServerChange, _now: Nanos) {}

    /// Whether balancers record what their hosts report to their selectors, for [`Observer::recorded`]. Takes memory for
    /// each call; read once, before the run.
    fn records(&self) -> bool {
        false
    }

    /// The recording of this pool's balancer; after the run, before [`Observer::closed`]. Only for balancers with one shard.
    /// shard.
    fn recorded(&mut self, _pool: u32, _events: Vec<HostEvent>) {}

    /// The run is over. Jobs that were not released stay where they are.
    fn closed(&mut self, _now: Nanos) {}
}

/// The no-op observer.
impl Observer for () {}

/// A request at its arrival.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Number of the request, from 0 in the order of arrival; a call to a second tier has that of the request it serves.
    pub id: u64,
    /// The client's address.
    pub client: IpAddr,
    /// The path, as in a URL.
    pub path: &'a str,
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
