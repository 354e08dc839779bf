//! A request at a server, and the report of its end.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;

use super::ShardPool;
use crate::upstream::Upstream;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::select::{Finished, Outcome, Pick};
use evenkeel_core::units::Nanos;

/// A request that was sent to a server. Dropped without [`InFlight::finish`] it ends as cancelled.
pub struct InFlight {
    pool: Rc<ShardPool>,
    /// The server's connections.
    pub server: Rc<Upstream>,
    pick: Pick,
    /// Number of the selector that picked ([`evenkeel_core::policy::balancer::Balancer::epoch`]).
    epoch: u32,
    picked: Nanos,
    first_byte: Cell<Option<Nanos>>,
    connect: Cell<Option<Nanos>>,
    over: bool,
}

impl InFlight {
    pub(super) fn new(pool: Rc<ShardPool>, server: Rc<Upstream>, pick: Pick, epoch: u32, picked: Nanos) -> InFlight {
        server.metrics.started();
        InFlight {
            pool,
            server,
            pick,
            epoch,
            picked,
            first_byte: Cell::new(None),
            connect: Cell::new(None),
            over: false,
        }
    }

    /// The slot of its server.
    pub fn slot(&self) -> u32 {
        self.pick.backend.slot
    }

    /// The server that it was sent to.
    pub fn backend(&self) -> BackendId {
        self.pick.backend
    }

    /// The pool that placed it.
    pub fn pool(&self) -> &Rc<ShardPool> {
        &self.pool
    }

    /// When it was placed, on the proxy's clock.
    pub fn picked(&self) -> Nanos {
        self.picked
    }

    /// Records that the head of the response has arrived. This is the server's latency: what follows depends on how
    /// fast the client reads.
    pub fn answered(&self) {
        let now = self.pool.now();
        self.first_byte.set(Some(now));
        self.server.metrics.answered(now - self.picked);
    }

    /// From the pick to the head of the response; `None` before that.
    pub fn time_to_first_byte(&self) -> Option<Nanos> {
        self.first_byte.get().map(|at| at - self.picked)
    }

    /// Takes the time of a connection's opening.
    pub async fn connecting<T, E>(&self, opening: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let began = self.pool.now();
        let opened = opening.await;
        if opened.is_ok() {
            self.connect.set(Some(self.pool.now() - began));
        }
        opened
    }

    /// How long it took to connect, TLS included; `None` on a connection that was open before.
    pub fn connect_time(&self) -> Option<Nanos> {
        self.connect.get()
    }

    /// Ends the request. Returns its latency: to the head of the response, or to now where there is none.
    pub fn finish(mut self, outcome: Outcome) -> Nanos {
        self.end(outcome)
    }

    fn end(&mut self, outcome: Outcome) -> Nanos {
        let end = self.first_byte.get().unwrap_or_else(|| self.pool.now());
        let latency = end.saturating_sub(self.picked);
        if !std::mem::replace(&mut self.over, true) {
            self.server.metrics.ended();
            let Pick { backend, tag } = self.pick;
            self.pool.finished(Finished { backend, latency, outcome, tag }, self.epoch);
        }
        latency
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}
