//! The reverse proxy: the selectors of the catalogue and the state machines of [`evenkeel_core::policy`] at work on real requests.
//!
//! `control` reads the config and runs the shards; a `shard` is a thread with its own listeners, selectors and connections;
//! a `host` is a pool as one shard knows it; `forward` is a request's way through. HTTP itself is hyper's, TLS rustls'.

pub mod access;
pub mod admin;
pub mod answer_timer;
pub mod body;
pub mod checks;
pub mod clock;
pub mod control;
mod descriptors;
pub mod expect;
pub mod forward;
pub mod framing;
pub mod headers;
pub mod host;
pub mod http2_pool;
pub mod metrics;
pub mod orca;
pub mod patience;
pub mod pieces;
pub mod reason;
pub mod record;
pub mod resolve;
pub mod shard;
pub mod tls;
pub mod tunnel;
pub mod upstream;
pub mod wire;
