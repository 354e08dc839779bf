//! Test servers and load over real sockets, by the simulator's own laws.
//!
//! [`backend`] serves HTTP/1.1 and HTTP/2 as a simulated server would: requests wait their turn, take the time their work
//! takes, hit or miss a cache, and are struck by faults. Work is virtual: it takes time and no processor. [`load`] plays a
//! scenario's requests against anything that speaks HTTP, each at the moment it was meant for. Together they let a proxy
//! meet on the wire what the simulator predicts for it. [`flood`] is for benchmarks of proxies: as much as they can take.

#![allow(clippy::disallowed_methods, reason = "what serves and measures on the wire reads the clock")]

pub mod backend;
pub mod closed_loop;
pub mod file;
mod handler;
pub mod load;
mod payload;
mod precise_timer;
mod server_model;

pub use backend::{Backend, Counters, Spec, TimedFault};
