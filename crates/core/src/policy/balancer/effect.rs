//! Actions that a balancer asks its host to perform: values, not callbacks.

use crate::fleet::BackendId;
use crate::policy::pool;
use crate::units::Nanos;

/// An action for the host. [`super::Balancer::poll_effect`] returns them in the order in which they arose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Send a probe to this server for a shard's strategy; pass its reply to [`super::Balancer::report`].
    Probe {
        /// Index of the shard whose strategy sends the probe.
        shard: u32,
        /// The server to probe.
        backend: BackendId,
    },
    /// Call [`super::Balancer::wake`] for this shard at this time, or as soon after it as possible.
    WakeAt {
        /// Index of the shard whose strategy set the timer.
        shard: u32,
        /// Time of the host's clock.
        at: Nanos,
    },
    /// There may be room for queued requests: call [`super::Balancer::dequeue`] until it returns `None`.
    Room,
    /// A request reached the queue's timeout and was removed: respond with an error.
    Expired {
        /// The host's identifier of the request, as passed to [`super::Balancer::enqueue`].
        token: u64,
    },
    /// A server was ejected, or its ejection is over.
    Server(pool::Event),
    /// Servers joined, left, or changed health or weight; selectors have been informed.
    FleetChanged,
}
