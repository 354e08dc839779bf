//! The vocabulary that scenarios and the proxy share: pools, servers, routes, checks, strategy tables; and diagnostics that
//! point at line and column.

pub mod diagnostic;
pub mod distribution;
pub mod fault;
pub mod pool;
pub mod proxy;
pub mod schema;
pub mod terminal;
mod wording;

pub use diagnostic::{Diagnostic, Problem, Problems};
