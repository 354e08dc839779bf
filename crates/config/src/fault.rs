//! What goes wrong, as a file says it: the same words strike a simulated server and a test server on the wire.

use crate::Spanned;
use schemars::JsonSchema;
use serde::Deserialize;

use evenkeel_core::units::{Nanos, Ratio};

/// `[[faults]]`: a target, a time, and exactly one of `crash`, `slow`, `errors`, `drain`, `deploy`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultTable {
    /// `"pool/server"`, `"pool/*"`, `"balancer/2"` or `"zone/a"`: all that stands there, of balancers only for a crash.
    pub target: Spanned<String>,
    /// When.
    pub at: Spanned<Nanos>,
    /// How long it lasts; to the end unless given.
    #[serde(rename = "for")]
    pub lasts: Option<Spanned<Nanos>>,
    /// With `"pool/*"`: each server (or group of `batch_size`) so much later than the one before, as in a rolling deploy.
    #[serde(default)]
    pub stagger: Nanos,
    /// With `"pool/*"`: servers that the fault hits at the same time, at least 1; default 1.
    #[serde(default = "alone")]
    pub batch_size: Spanned<u32>,
    /// The fault: `crash`, `slow`, `errors`, `drain` or `deploy`, each a table.
    pub kind: Spanned<WhatTable>,
}

/// What goes wrong.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum WhatTable {
    /// Dies.
    Crash {
        /// Answers nothing at all, where others refuse connections.
        #[serde(default)]
        silent: bool,
    },
    /// Slower by a factor.
    Slow {
        /// How many times slower.
        factor: f64,
    },
    /// Fails a share of requests at once.
    Errors {
        /// Of the requests.
        #[serde(default = "all")]
        share: Ratio,
        /// Time to fail.
        #[serde(default = "one_millisecond")]
        latency: Nanos,
        /// Whether health checks see it.
        #[serde(default)]
        fails_checks: bool,
    },
    /// Taken out in good order, as for a deploy, and back with an empty cache.
    Drain {},
    /// A new version: drained for `drain`, then stopped with whatever is still in it, and started again after `restart`,
    /// with an empty cache. Without `stagger` one group follows when the one before is back.
    Deploy {
        /// How long what is under way may take to end; nothing new comes meanwhile.
        drain: Nanos,
        /// From stop to start.
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
