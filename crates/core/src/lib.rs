//! The heart of evenkeel: strategies that choose a server ([`select`]) and the policies around a choice ([`policy`]), as
//! pure state machines. Nothing here reads a clock, draws entropy, does I/O or starts a thread: time and randomness are
//! arguments, so the same code runs in a simulator, in a proxy and in a test.

pub mod fleet;
pub mod math;
mod picker;
pub mod policy;
pub mod rng;
pub mod select;
pub mod units;

pub use picker::{NoServer, PickGuard, Picker, Unusable};
