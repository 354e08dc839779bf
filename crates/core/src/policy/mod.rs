//! What stands around a pick and is the same in the simulator and in the proxy: pure state machines with the discipline
//! of the selectors. Time and randomness are arguments.
//!
//! [`pool::ServerPool`] holds the servers of a pool together with what is known of them; the rest are the pieces that it, or
//! its host, is made of: [`health`] (active checks), [`outlier`] (ejection by what requests meet), [`slow_start`],
//! [`retry`], [`hedge`], [`queue`], [`sticky`], [`routes`]; how much is let in by [`concurrency`] and [`admission`]. Where a pick may go at all is narrowed by [`subset`],
//! [`priority`] and [`zone`], which [`eligible`] puts before any strategy.

pub mod admission;
pub mod balancer;
pub mod concurrency;
pub mod health;
pub mod hedge;
pub mod outlier;
pub mod partition;
pub mod pool;
pub mod priority;
pub mod queue;
pub mod recording;
pub mod retry;
pub mod routes;
pub mod slow_start;
pub mod sticky;
pub mod subset;
pub mod zone;

/// The rules of one pool. What is `None` does not happen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Active checks.
    pub health: Option<health::Rules>,
    /// Ejection of servers that fail or are slow.
    pub outliers: Option<outlier::Rules>,
    /// A server that comes (back) gets its share little by little.
    pub slow_start: Option<slow_start::Rules>,
    /// Below this share of healthy servers (0 to 1) health is ignored: all count as healthy.
    pub panic: Option<f64>,
    /// Another attempt after a failed one.
    pub retries: Option<retry::Rules>,
    /// A second attempt beside a slow one.
    pub hedge: Option<hedge::Rules>,
    /// Where requests wait while every server is at its limit; without one they are turned away.
    pub queue: Option<queue::Rules>,
    /// Clients stay with their server.
    pub sticky: Option<sticky::Rules>,
    /// Each balancer uses some of the servers.
    pub subset: Option<subset::Rules>,
    /// Servers stand in for others.
    pub priorities: Option<priority::Rules>,
    /// Which zone's servers are preferred.
    pub zones: Option<zone::Rules>,
    /// How many requests may be in flight is found out.
    pub concurrency: Option<concurrency::Rules>,
    /// Some requests are turned away while too many fail.
    pub admission: Option<admission::Rules>,
}
