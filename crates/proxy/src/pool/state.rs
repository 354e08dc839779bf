//! The balancer of a pool in one shard, with the connections and waiting requests that belong to it; executes the
//! balancer's effects.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::oneshot;
use tokio::time::sleep_until;

use super::requests::SHARD;
use super::{InFlight, ShardPool};
use crate::record::Recorder;
use crate::upstream::Upstream;
use evenkeel_core::fleet::BackendId;
use evenkeel_core::policy::balancer::{Balancer, Effect};
use evenkeel_core::policy::pool::Event;
use evenkeel_core::select::ProbeReplies;
use evenkeel_core::units::Nanos;

pub(super) struct State {
    pub balancer: Balancer,
    /// By slot: the connections to its server.
    pub servers: Vec<Option<Rc<Upstream>>>,
    /// Requests in the balancer's queue, by the token that it knows them by.
    pub waiters: BTreeMap<u64, Waiter>,
    pub next_token: u64,
    pub recorder: Option<Recorder>,
}

/// A request in the queue.
pub(super) struct Waiter {
    pub client: IpAddr,
    pub path: String,
    pub key: Vec<u8>,
    pub excluded: Vec<u32>,
    pub affinity: Option<BackendId>,
    pub answers: Option<ProbeReplies>,
    pub tell: oneshot::Sender<InFlight>,
}

impl State {
    /// The connections to the server in this slot.
    pub fn server(&self, slot: u32) -> Option<Rc<Upstream>> {
        self.servers.get(slot as usize)?.clone()
    }

    /// The member with this name.
    pub fn find(&self, name: &str) -> Option<BackendId> {
        let fleet = &self.balancer.pool().fleet;
        let slot = fleet.members().find(|&slot| fleet.name(slot) == name)?;
        Some(fleet.id(slot))
    }

    /// Passes on what was recorded.
    pub fn write_recording(&mut self) {
        if let (Some(recording), Some(recorder)) = (self.balancer.recording(), &mut self.recorder) {
            recording.drain().for_each(|event| recorder.write(&event));
        }
    }

    /// Counts and logs what became of a server.
    fn count(&self, pool: &str, event: &Event) {
        let (Event::Ejected { backend, .. } | Event::Returned { backend }) = event;
        let Some(server) = self.server(backend.slot) else { return };
        match event {
            Event::Ejected { reason, .. } => {
                server.metrics.ejected(*reason);
                tracing::warn!(pool, server = server.name, cause = reason.as_str(), "a server is ejected");
            }
            Event::Returned { .. } => {
                let cause = "its time is over";
                tracing::info!(pool, server = server.name, cause, "a server is back from ejection");
            }
        }
    }
}

impl ShardPool {
    /// Calls the balancer, and executes the effects that it returns.
    pub(super) fn act<T>(&self, call: impl FnOnce(&mut State, Nanos) -> T) -> T {
        let now = self.now();
        let (result, effects) = {
            let state = &mut *self.state.borrow_mut();
            let result = call(state, now);
            state.write_recording();
            (result, state.balancer.has_effects())
        };
        if effects {
            self.execute_effects();
        }
        self.count_waiting();
        result
    }

    fn execute_effects(&self) {
        loop {
            let effect = self.state.borrow_mut().balancer.poll_effect();
            match effect {
                None => return,
                Some(Effect::WakeAt { at, .. }) => self.wake_at(at),
                Some(Effect::Probe { backend, .. }) => self.probe(backend, None, None),
                Some(Effect::Room) => {
                    if let Some(pool) = self.me.upgrade() {
                        pool.serve_waiting();
                    }
                }
                // Its sender is dropped, and the request answered.
                Some(Effect::Expired { token }) => drop(self.state.borrow_mut().waiters.remove(&token)),
                Some(Effect::Server(event)) => self.state.borrow().count(&self.config.borrow().name, &event),
                Some(Effect::FleetChanged) => {
                    let state = self.state.borrow();
                    for (slot, server) in state.servers.iter().enumerate() {
                        if let Some(server) = server {
                            server.metrics.eligible(state.balancer.pool().fleet.is_eligible(slot as u32));
                        }
                    }
                }
            }
        }
    }

    fn count_waiting(&self) {
        let waiting = self.state.borrow().balancer.waiting();
        let before = self.counted_waiting.replace(waiting);
        if before != waiting {
            self.metrics.queued(waiting, before);
        }
    }

    fn wake_at(&self, at: Nanos) {
        if self.woken_at.replace(at) == at {
            return;
        }
        let (me, clock) = (self.me.clone(), self.clock);
        let epoch = self.state.borrow().balancer.epoch(SHARD);
        tokio::task::spawn_local(async move {
            sleep_until(clock.instant(at)).await;
            let Some(pool) = me.upgrade() else { return };
            pool.act(|state, now| {
                // A timer of a replaced selector wakes no request.
                if state.balancer.epoch(SHARD) == epoch {
                    state.balancer.wake(SHARD, now.into());
                }
            });
        });
    }
}
