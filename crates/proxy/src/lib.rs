//! The reverse proxy: the selectors of the catalogue and the state machines of [`evenkeel_core::policy`] at work on real requests.
//!
//! `control` reads the config and runs the shards; a `shard` is a thread with its own listeners, selectors and connections;
//! a `host` is a pool as one shard knows it; `forward` is a request's way through. HTTP itself is hyper's, TLS rustls'.

pub mod access;
pub mod admin;
pub mod answer_timer;
pub mod body;
pub mod checks;
pub mod client_io;
pub mod clock;
pub mod coalesced_write;
pub mod control;
mod descriptors;
pub mod dns;
pub mod expect;
pub mod forward;
pub mod framing;
pub mod headers;
pub mod http2_pool;
pub mod lazy_timeout;
pub mod metrics;
pub mod orca;
pub mod pool;
pub mod record;
pub mod shard;
pub mod state;
pub mod termination;
pub mod tls;
pub mod tunnel;
pub mod upstream;
