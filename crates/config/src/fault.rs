//! Faults as they are written in a file, for simulated servers and test servers alike.

use crate::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

use evenkeel_core::units::{Nanos, Ratio};

/// `[[faults]]`: a target, a time, and exactly one of `crash`, `slow`, `errors`, `drain`, `deploy`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultTable {
    /// `"pool/server"`, `"pool/*"`, `"balancer/2"` or `"zone/a"` (its servers, and for a crash its balancers).
    pub target: Spanned<String>,
    /// Time of the fault, from the start of the run.
    pub at: Spanned<Nanos>,
    /// Duration, above 0. `None`: to the end of the run. Not for `deploy`.
    #[serde(rename = "for")]
    pub lasts: Option<Spanned<Nanos>>,
    /// With `"pool/*"`: time from one server (or group of `batch_size`) to the next, as in a rolling deployment; default 0.
    #[serde(default)]
    pub stagger: Nanos,
    /// With `"pool/*"`: servers that the fault hits at the same time, at least 1; default 1.
    #[serde(default = "alone")]
    pub batch_size: Spanned<u32>,
    /// The fault: `crash`, `slow`, `errors`, `drain` or `deploy`, each a table.
    pub kind: Spanned<WhatTable>,
}

/// A kind of fault.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WhatTable {
    /// The server or balancer stops; what is in it is lost, its cache is empty when it comes back.
    Crash {
        /// Whether it does not respond at all, where others refuse connections; default false.
        #[serde(default)]
        silent: bool,
    },
    /// The server is slower by a factor.
    Slow {
        /// Factor on service times, 0.000001 to 1,000,000.
        factor: f64,
    },
    /// The server fails a share of the requests at once.
    Errors {
        /// Share of the requests, 0 to 1; default 1.
        #[serde(default = "all")]
        share: Ratio,
        /// Time until the error; default 1 ms.
        #[serde(default = "one_millisecond")]
        latency: Nanos,
        /// Whether health checks fail, too; default false.
        #[serde(default)]
        fails_checks: bool,
    },
    /// The server gets no new requests and finishes those it has; it comes back with an empty cache.
    Drain {},
    /// A deployment: the server drains for `drain`, stops with whatever is still in it, and starts again after `restart` with an
    /// empty cache. Without `stagger` each group follows when the one before is back.
    Deploy {
        /// Time in which requests in the server may end; no new ones come.
        drain: Nanos,
        /// Time from stop to start, above 0.
        restart: Nanos,
    },
}

fn alone() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn all() -> Ratio {
    Ratio(1.0)
}

fn one_millisecond() -> Nanos {
    Nanos::from_millis(1)
}
