//! evenkeel
#![forbid(unsafe_code)]
#[cfg(feature = "cli")]
pub mod cmd;
pub mod config;
pub mod fleet;
pub mod math;
pub mod measure;
pub mod policy;
#[cfg(feature = "cli")]
pub mod report;
pub mod rng;
pub mod scenario;
pub mod select;
pub mod sim;
pub mod units;
