//! What a balancer wants its host to do: values, not callbacks.

use crate::fleet::BackendId;
use crate::policy::pool;
use crate::units::Nanos;

/// Something that the host is to do. [`super::Balancer::poll_effect`] hands them out in the order in which they arose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// Send a probe to this server for a shard's strategy; its reply comes back through [`super::Balancer::report`].
    Probe {
        /// The shard whose strategy asks.
        shard: u32,
        /// The server to ask.
        backend: BackendId,
    },
    /// Call [`super::Balancer::wake`] for this shard at this time, or as soon after it as possible.
    WakeAt {
        /// The shard whose strategy wants to be woken.
        shard: u32,
        /// When.
        at: Nanos,
    },
    /// There may be room for requests that wait: call [`super::Balancer::dequeue`] until it gives `None`.
    Room,
    /// A request has waited for as long as the queue allows and is no longer in the queue: answer it with an error.
    Expired {
        /// The host's name for the request, as given to [`super::Balancer::enqueue`].
        token: u64,
    },
    /// A server was ejected, or its ejection is over.
    Server(pool::Event),
    /// Servers joined, left, or changed health or weight; selectors know of it already.
    FleetChanged,
}
