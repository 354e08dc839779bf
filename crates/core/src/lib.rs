//! The load-balancing algorithms of evenkeel as pure state machines: selection strategies ([`select`]) and the policies
//! around a pick ([`policy`]: health checks, outlier ejection, retries, hedging, queues, concurrency limits, zones). Nothing
//! here reads a clock, draws entropy, does I/O or starts a thread. Time and randomness are arguments, so the same code runs
//! in the simulator, in the proxy and in a test.
//!
//! To use a strategy in a balancer of one's own, take a [`Picker`]:
//!
//! ```
//! use evenkeel_core::select::{Request, catalog::StrategyConfig};
//! use evenkeel_core::{Picker, units::Nanos};
//!
//! let mut picker = Picker::new("p2c".parse::<StrategyConfig>()?, 42)?;
//! picker.add_all([("10.0.0.1:8080", 1), ("10.0.0.2:8080", 3)]);
//! let guard = picker.pick(&Request::default(), Nanos::ZERO)?;
//! // … send the request to guard.name() …
//! guard.ok(Nanos::from_millis(12));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! To write a strategy, implement [`select::Selector`], check it with [`select::conformance`], and give it a name with
//! [`select::CustomStrategy`]; the simulator (`evenkeel-sim`) then compares it with the catalogue.
//!
//! The feature `config` (off by default) adds serde, JSON schemas and TOML to strategies and quantities.

pub mod fleet;
pub mod math;
mod picker;
pub mod policy;
pub mod rng;
pub mod select;
pub mod units;

pub use picker::{NoServer, PickGuard, Picker, Unusable};
