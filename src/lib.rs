//! evenkeel
#![forbid(unsafe_code)]
pub mod fleet;
pub mod math;
pub mod rng;
pub mod select;
pub mod units;
pub mod policy;
pub mod sim;
pub mod config;
pub mod scenario;
pub mod measure;
#[cfg(feature = "cli")]
pub mod report;
#[cfg(feature = "cli")]
pub mod cmd;
