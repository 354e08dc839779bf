//! The discrete-event simulator: clients, DNS, balancers, servers with caches, faults; one thread per run.
//!
//! [`run`] takes a [`model::Model`], a strategy and a seed, and gives a [`record::RunRecord`]. It reads no clock and no
//! entropy: the same arguments give the same record on any machine. [`observe`] does the same and calls an
//! [`observer::Observer`]. A [`Run`] is advanced in steps, shows its state, and takes [`act::Act`]s.

pub mod act;
mod buckets;
mod cache;
mod engine;
mod event;
pub mod model;
pub mod observer;
pub mod pick_bench;
mod queue;
pub mod record;
pub mod replay;
pub mod server;
pub mod targets;
pub mod timeline;
pub mod workload;

pub use engine::{Look, PoolLook, Run, ServerLook, Setup, Stopped, TooLarge, ViewLook, observe, run};
