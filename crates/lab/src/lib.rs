//! The engine of the lab: the simulator of evenkeel for a page, behind a small C ABI that WebAssembly exports.
//!
//! [`Lab`] has everything that the page can ask, in safe Rust: runs that are advanced step by step and hold their own scenario
//! ([`Lab::open`]), their state as arrays of numbers, and calls with JSON for the rest ([`Lab::call`]). [`abi`] exports it.
//! `web/lab/engine.ts` describes the interface from the page's side; its numbers are tested against the command line's.
//!
//! Nothing of this crate is linked into the program: the page brings it along as a WebAssembly module.

#[allow(unsafe_code, reason = "exported names; see the module's documentation")]
pub mod abi;
mod catalog;
mod controls;
mod describe;
mod edit;
mod frame;
mod lab;
mod live;
mod moves;
mod refusal;
mod results;
mod session;
mod summary;
mod watch;
mod why;

pub use catalog::source;
pub use frame::{HEADER, PER_SERVER};
pub use lab::Lab;
pub use live::{LiveMetrics, Series};
pub use moves::Moves;
pub use refusal::Refusal;
pub use results::RunResult;
pub use session::{OpenRequest, Session, Stepped};
pub use watch::{EVENT_VALUES, EventKind, Watch};
pub use why::{Placement, RequestText, ServerText, Why};
