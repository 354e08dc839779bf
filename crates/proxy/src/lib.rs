//! The reverse proxy: the selectors of the catalogue and the state machines of [`evenkeel_core::policy`] at work on real requests.
//!
//! [`Proxy`] is what a program starts. `control` reads the config and runs the shards; a `shard` is a thread with its own
//! listeners, selectors and connections; `pool` is a pool as one shard knows it; `forward` is a request's way through. Imports
//! go one way: `proxy`, `admin`, `control`, `shard`, `front`, `forward`, `state`, `pool`, `upstream`. HTTP itself is hyper's, TLS
//! rustls', but for HTTP/1.1 towards servers ([`http1_client`]) and, for requests that are [`plain`], towards clients (`front`).

pub mod access;
pub mod admin;
mod body;
mod checks;
mod client_io;
mod clock;
mod coalesced_write;
mod control;
mod descriptors;
pub mod dns;
mod encode;
mod expect;
mod forward;
pub mod framing;
mod front;
pub mod headers;
pub mod http1_client;
pub mod http2_pool;
mod lazy_timeout;
pub mod metrics;
pub mod orca;
pub mod plain;
mod pool;
mod proxy;
mod record;
mod request_stream;
mod response_timer;
mod server_body;
mod shard;
mod socket;
mod state;
pub mod termination;
mod tls;
mod tunnel;
mod upstream;
mod upstream_error;

pub use control::{Control, LastCheck, Options, ProxyError, check_files, read};
pub use proxy::Proxy;

/// A pool in a shard as the host of a balancer, without the sockets: for tests that hold it against the simulator's engine.
pub mod host {
    pub use crate::clock::Clock;
    pub use crate::pool::{
        Attempt, Exchange, InFlight, PoolSetup, RequestInfo, SelectorInit, ServerSnapshot, ShardPool,
    };
    pub use crate::record::{Recorder, Tape};
    pub use crate::upstream::{Upstream, UpstreamSettings};
}
