//! Looking on while a run goes on: a trace, a record of picks, a decision put under the glass. An observer is told and
//! changes nothing; nobody looking on costs nothing, since the engine is compiled for its observer.

use std::net::IpAddr;

use super::record::RequestOutcome;
use evenkeel_core::fleet::Fleet;
use evenkeel_core::policy::recording::HostEvent;
use evenkeel_core::select::{LoadReport, Request, Selector};
use evenkeel_core::units::Nanos;

/// Is told what happens. `job` is the engine's place for a request or a call; places are used again after
/// [`Step::Released`].
pub trait Observer {
    /// A request came in, or a server calls its second tier.
    fn arrived(&mut self, _job: u32, _arrival: &Arrival<'_>) {}

    /// A selector is about to choose.
    fn deciding(&mut self, _decision: &Decision<'_>) {}

    /// It has chosen this server (numbered over all pools), or none.
    fn decided(&mut self, _job: u32, _server: Option<u32>, _now: Nanos) {}

    /// A job has come a step further.
    fn step(&mut self, _job: u32, _step: Step, _now: Nanos) {}

    /// The result of an active check is at a balancer: its pool's number, the server's slot, whether it passed, and the load
    /// report that came with it.
    fn checked(&mut self, _pool: u32, _slot: u32, _passed: bool, _load: Option<&LoadReport>, _now: Nanos) {}

    /// A load report is at a balancer that did not come with a check.
    fn reported(&mut self, _pool: u32, _slot: u32, _load: &LoadReport, _now: Nanos) {}

    /// A pool's servers change, and every balancer is told so at this time.
    fn server_changed(&mut self, _pool: u32, _slot: u32, _change: ServerChange, _now: Nanos) {}

    /// Whether balancers record what happens to their servers and is told to their selectors, for
    /// [`Observer::recorded`]. Takes memory for each call; asked once, before the run.
    fn records(&self) -> bool {
        false
    }

    /// What the balancer of this pool has recorded; after the run, before [`Observer::closed`]. Only of balancers with one
    /// shard.
    fn recorded(&mut self, _pool: u32, _events: Vec<HostEvent>) {}

    /// The run is over; jobs that were not released are where they are.
    fn closed(&mut self, _now: Nanos) {}
}

/// Nobody looks on.
impl Observer for () {}

/// A request when it comes in.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Number of the request; a call to a second tier has that of the request it serves.
    pub id: u64,
    /// Who asks.
    pub client: IpAddr,
    /// For what.
    pub path: &'a str,
    /// By what caches know it.
    pub key: u64,
    /// The balancer it was sent to, from 0.
    pub balancer: u32,
    /// For a call to a second tier: the job that calls.
    pub parent: Option<u32>,
    /// For an attempt of a request that may make several: the request's job, and which attempt it is, from 1. Such a
    /// request has had an arrival of its own, and no server.
    pub attempt: Option<(u32, u32)>,
    /// When it came.
    pub at: Nanos,
    /// Work at speed 1, nothing cached.
    pub demand: Nanos,
    /// Whether it counts.
    pub measured: bool,
}

/// A choice about to be made.
pub struct Decision<'a> {
    /// For which job.
    pub job: u32,
    /// Number of the request.
    pub id: u64,
    /// When.
    pub now: Nanos,
    /// What the selector is told of the request.
    pub request: Request<'a>,
    /// The selector's number among all.
    pub dispatcher: u32,
    /// The pool it chooses in.
    pub pool: u32,
    /// The pool's first server in the numbering over all pools.
    pub base: u32,
    /// The backends as the selector's host counts them.
    pub fleet: &'a Fleet,
    /// The selector, before it chooses.
    pub selector: &'a dyn Selector,
}

/// What becomes of a pool's server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerChange {
    /// Autoscaling has started it.
    Joined,
    /// Autoscaling has stopped it.
    Left,
    /// It drains from now on, or no longer.
    Draining(bool),
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is in its server.
    Entered,
    /// Service began; whether the cache had the answer, where there is one.
    Started(Option<bool>),
    /// It left its server, answered or not.
    Left,
    /// Its end for the client.
    Ended(RequestOutcome),
    /// The answer, good or bad, is back at the balancer or the caller.
    Returned(RequestOutcome),
    /// Nobody waits for this attempt any more: its time was up, another was faster, or the client gave up.
    Abandoned,
    /// Nothing of it is left anywhere.
    Released,
}
