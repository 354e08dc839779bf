//! Everything around a pick that the simulator and the proxy share: pure state machines, like the selectors. Time and
//! randomness are arguments.
//!
//! Each policy is a file with its rules as they are written in a config, and a row of the [`catalog`]. [`pool::ServerPool`]
//! holds the servers of a pool and their state. [`health`] (active checks), [`outlier`] (ejection), [`slow_start`] and
//! [`mod@panic`] decide which servers are eligible; [`subset`], [`priority`] and [`zone`] limit a pick to a part of them, which
//! [`partition`] applies before any strategy; [`concurrency`] and [`admission`] limit how much is admitted; [`queue`],
//! [`retry`], [`hedge`] and [`sticky`] apply to a single request. [`balancer`] combines them; [`routes`] choose the pool.

pub mod admission;
pub mod balancer;
pub mod catalog;
pub mod concurrency;
pub mod health;
pub mod hedge;
pub mod outlier;
pub mod panic;
pub mod partition;
pub mod pool;
pub mod priority;
pub mod queue;
pub mod recording;
pub mod retry;
pub mod routes;
#[cfg(feature = "config")]
mod serial;
pub mod slow_start;
pub mod sticky;
pub mod subset;
pub mod zone;

pub use catalog::Rules;
