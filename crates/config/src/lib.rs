//! The parts that scenarios and the proxy's config share: pools, servers, routes, policies, strategies; and diagnostics with
//! line and column.

pub mod diagnostic;
pub mod distribution;
pub mod fault;
pub mod pool;
pub mod proxy;
pub mod schema;
mod spanned;
pub mod terminal;
mod wording;

pub use diagnostic::{Diagnostic, Problem, Problems};
pub use spanned::Spanned;
