//! The reverse proxy: what takes real requests to real servers with the selectors of the simulator.

pub mod access;
pub mod headers;
pub mod metrics;
pub mod orca;
pub mod resolve;
pub mod tls;
