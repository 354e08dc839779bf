//! Keys of a pool that only the simulator applies.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::Spanned;
use crate::distribution::Distribution;
use evenkeel_core::units::{Nanos, Ratio};

/// Load reports that servers send by themselves (answers to health checks and probes carry one too).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportsTable {
    /// Time between the reports of a server to every balancer, at least 1 ms. `None`: none at intervals.
    pub interval: Option<Nanos>,
    /// Whether all servers report at the same moment, as a bulletin board does; default false: each has a phase of its own.
    #[serde(default)]
    pub synchronised: bool,
    /// Time to make, collect and distribute a report, in addition to the network's delay; default 0.
    #[serde(default)]
    pub delay: Nanos,
    /// Whether each response carries a report of the moment in which it left, as ORCA's header does. `None`: where the
    /// strategy's protocol requires it (`c3`).
    pub with_answers: Option<bool>,
    /// Which balancer is notified when a server becomes idle: `"one"`, chosen at random, or `"none"`. `None`: as the strategy's
    /// protocol requires (`"one"` for `join_idle_queue`, else `"none"`).
    pub idle_notifications: Option<IdleNotice>,
}

/// Which balancers are notified of a server that has become idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdleNotice {
    /// One balancer, chosen at random.
    One,
    /// No balancer, whatever the strategy.
    None,
}

/// Cost of answering a strategy's probe.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProbesTable {
    /// Work of a probe at speed 1; default 0. It delays the probe's answer, and the next request of a busy server.
    pub work: Nanos,
}

/// Connections that outlive a request. Each client has one, and sends on it until it is closed or its server fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionsTable {
    /// Requests after which a connection is closed, at least 1. `None`: no limit.
    pub max_requests: Option<u32>,
    /// Age at which a connection is closed, above zero. `None`: no limit.
    pub max_lifetime: Option<Nanos>,
}

/// Adds and removes servers with the load, by the rule of Kubernetes' horizontal autoscaler: wanted = present × utilisation /
/// target, where that differs by more than a tenth.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AutoscaleTable {
    /// Utilisation of the servers that is aimed at: above 0, at most 1; default 60 %.
    pub target: Ratio,
    /// Lowest number of servers, at least 1; default 1. The highest is the number of servers of the pool.
    pub min_servers: u32,
    /// Servers at the start of a run, from `min_servers` to all of the pool. `None`: `min_servers`.
    pub initial_servers: Option<u32>,
    /// Time between decisions, at least 100 ms; default 15 s. Kubernetes' `horizontal-pod-autoscaler-sync-period`.
    pub interval: Nanos,
    /// Time from the decision until a new server serves; default 30 s.
    pub delay: Nanos,
    /// Time after any change in which no server is removed; default 300 s. Kubernetes' `stabilizationWindowSeconds`.
    pub cooldown: Nanos,
}

impl Default for AutoscaleTable {
    /// Kubernetes' interval and cooldown.
    fn default() -> AutoscaleTable {
        AutoscaleTable {
            target: Ratio(0.6),
            min_servers: 1,
            initial_servers: None,
            interval: Nanos::from_secs(15),
            delay: Nanos::from_secs(30),
            cooldown: Nanos::from_secs(300),
        }
    }
}

/// A call to a second tier.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackendTable {
    /// Name of the pool that is called.
    pub pool: Spanned<String>,
    /// Work of a call, at speed 1.
    pub service: Spanned<Distribution>,
    /// Whether a hit in the caller's cache saves the call; default false.
    #[serde(default)]
    pub on_miss: bool,
}
