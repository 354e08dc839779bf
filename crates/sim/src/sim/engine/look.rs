//! The state of a run at one moment, borrowed from the engine.

use super::{Engine, View};
use crate::sim::model::Model;
use crate::sim::observer::Observer;
use crate::sim::record::ENDS;
use crate::sim::server::{ServerDone, ServerState};
use evenkeel_config::fault::Condition;
use evenkeel_core::fleet::Fleet;
use evenkeel_core::units::Nanos;

/// The state of a run at one moment. Taking it copies a few numbers; servers and balancers are read on demand.
#[derive(Clone, Copy)]
pub struct Look<'r> {
    /// The present time, since the start of the run.
    pub time: Nanos,
    /// Whether the run is over.
    pub over: bool,
    /// Events handled since the start.
    pub events: u64,
    /// Requests that arrived since the start, the warm-up included.
    pub arrived: u64,
    /// Requests that have arrived and not ended for their clients.
    pub in_system: u64,
    /// Requests that ended since the start by outcome, in the order of [`ENDS`].
    pub ended: [u64; ENDS.len()],
    /// Arrivals come at this many times the model's rate.
    pub load_factor: f64,
    model: &'r Model,
    servers: &'r [ServerState],
    bases: &'r [u32],
    views: &'r [View],
}

/// A pool at that moment.
#[derive(Clone, Copy)]
pub struct PoolLook<'r> {
    /// Its name.
    pub name: &'r str,
    /// Index of the pool in the model.
    pub index: u32,
    look: Look<'r>,
}

/// A server at that moment.
#[derive(Clone, Copy, Debug)]
pub struct ServerLook<'r> {
    /// Its name.
    pub name: &'r str,
    /// Requests that wait in its queue.
    pub queued: u32,
    /// Requests in service. A request that waits for a second tier is in service.
    pub in_service: u32,
    /// Requests on their way from a balancer to the server.
    pub coming: u32,
    /// Work per unit of time and slot: its speed, divided by the slowdown of its faults.
    pub rate: f64,
    /// Its condition under the faults that are active.
    pub condition: &'r Condition,
    /// Entries of its cache, expired ones included; 0 without a cache.
    pub cached: usize,
    /// What it has done since the start.
    pub done: ServerDone,
}

/// What one balancer, or one of its shards where shards share no counts, knows of a pool.
#[derive(Clone, Copy)]
pub struct ViewLook<'r> {
    /// Index of the balancer; `None` for a balancer in front of a second tier.
    pub balancer: Option<u32>,
    /// The pool's servers as this balancer sees them, by slot: in-flight counts ([`Fleet::in_flight`]), members, health.
    pub fleet: &'r Fleet,
    /// Requests that wait in the balancer's own queue.
    pub waiting: usize,
}

impl<'r> Look<'r> {
    /// The pools, in the order of the model.
    pub fn pools(&self) -> impl Iterator<Item = PoolLook<'r>> + use<'r> {
        let look = *self;
        let pools = look.model.pools.iter().enumerate();
        pools.map(move |(index, pool)| PoolLook { name: &pool.name, index: index as u32, look })
    }
}

impl<'r> PoolLook<'r> {
    /// Its servers, by slot. With autoscaling all of the scenario's servers are among them; members are those of
    /// [`ViewLook::fleet`].
    pub fn servers(&self) -> impl Iterator<Item = ServerLook<'r>> + use<'r> {
        let (p, look) = (self.index as usize, self.look);
        let specs = look.model.pools[p].servers.iter();
        specs.zip(&look.servers[look.bases[p] as usize..]).map(move |(spec, server)| ServerLook {
            name: &spec.name,
            queued: server.number() - server.in_service(),
            in_service: server.in_service(),
            coming: server.number_with_coming() - server.number(),
            rate: server.rate(),
            condition: server.condition(),
            cached: server.cached(),
            done: server.done(look.time),
        })
    }

    /// The balancers' views of the pool.
    pub fn views(&self) -> impl Iterator<Item = ViewLook<'r>> + use<'r> {
        let (index, views) = (self.index, self.look.views.iter());
        views.filter(move |view| view.pool == index).map(|view| ViewLook {
            balancer: (view.owner != u32::MAX).then_some(view.owner),
            fleet: &view.balancer.pool().fleet,
            waiting: view.balancer.waiting(),
        })
    }
}

impl<O: Observer> Engine<'_, O> {
    pub(super) fn look(&self, over: bool) -> Look<'_> {
        Look {
            time: self.now,
            over,
            events: self.events + self.answered,
            arrived: self.totals.arrived,
            in_system: self.totals.in_system,
            ended: self.totals.ended,
            load_factor: self.workload.load_factor(),
            model: self.model,
            servers: &self.servers,
            bases: &self.bases,
            views: &self.views,
        }
    }
}
