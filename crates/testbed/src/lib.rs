//! Test servers and load generators over real sockets, with the simulator's own distributions, servers and faults.
//!
//! [`backend`] serves HTTP/1.1 and HTTP/2 like a simulated server: requests wait in a queue, take the time of their work,
//! hit or miss a cache, and are affected by faults. Work is virtual: it takes time but no CPU. [`load`] is an open-loop load
//! generator: it sends a scenario's requests to any HTTP server, each at its intended time. Together they compare a real
//! proxy with the simulator's prediction. [`closed_loop`] is a closed-loop load generator for benchmarks of proxies.

#![allow(clippy::disallowed_methods, reason = "servers and load generators over sockets read the clock")]

pub mod backend;
pub mod closed_loop;
mod connection;
pub mod file;
mod handler;
pub mod load;
mod payload;
mod precise_timer;
mod server_model;
mod shared;
mod spec;

pub use backend::{Backend, Counters, Spec, TimedFault};
