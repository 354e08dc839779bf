//! Priority levels with gradual spill: servers of level 0 get everything while enough of them are healthy, and the next
//! level takes over as much as they can no longer do. Envoy's rule: a level can do `overprovisioning` times its healthy
//! share, at most all; what is left goes to the next. A level counts by the share of its servers that is healthy and not by
//! their number: each must be able to stand in for the one before.
//!
//! `backup` servers of other balancers are a second level with `overprovisioning` so large that one healthy server of the
//! first is enough.

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};

use super::catalog::{Doc, Issues, Policy, PoolFacts, ServerFacts};

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "priority levels",
    idea: "Servers of level 0 get all requests while enough of them are healthy; the next level takes over as much as they cannot serve.",
    source: "Envoy's priority levels and overprovisioning factor; backup servers of nginx and HAProxy",
    scenario: Some("priorities"),
};

/// How levels take over from each other. A pool with a server of a level above 0 has these rules by default.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Priorities"))]
pub struct Rules {
    /// Capacity of a level, as a multiple of its healthy share, at least 1; default 1.4: a level serves its whole load while
    /// at least 71.4 % of its servers are healthy. Envoy's `overprovisioning_factor`.
    pub overprovisioning: f64,
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        let sound = self.overprovisioning >= 1.0 && self.overprovisioning.is_finite();
        issues
            .require(sound, "overprovisioning", "`overprovisioning` must be at least 1")
            .help("1.4 is Envoy's; with a large number one healthy server serves the whole load of its level");
    }

    fn check_pool(&self, pool: &PoolFacts<'_>, issues: &mut Issues) {
        let some = pool.servers.iter().any(|server| server.priority > 0);
        issues
            .require(some, "", "all servers have priority 0: there is no other level")
            .help("give the servers that take over `priority = 1`");
    }

    fn implied(servers: &[ServerFacts<'_>]) -> Option<Rules> {
        servers.iter().any(|server| server.priority > 0).then(Rules::default)
    }
}

impl Default for Rules {
    /// Envoy's.
    fn default() -> Rules {
        Rules { overprovisioning: 1.4 }
    }
}

/// The servers of a level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Number of healthy servers.
    pub healthy: u32,
    /// Number of servers.
    pub all: u32,
}

impl Rules {
    /// Share of the whole load that the level can serve, 0 to 1.
    pub fn health(&self, level: Level) -> f64 {
        if level.all == 0 {
            return 0.0;
        }
        (self.overprovisioning * f64::from(level.healthy) / f64::from(level.all)).min(1.0)
    }

    /// Share of the whole load that all levels together can serve, at most 1: Envoy's normalised total health. Below 1 there
    /// may be panic.
    pub fn total(&self, levels: &[Level]) -> f64 {
        levels.iter().map(|&level| self.health(level)).sum::<f64>().min(1.0)
    }

    /// Writes each level's share of the picks to `loads`; they add up to 1, or to 0 where no server is healthy.
    pub fn loads(&self, levels: &[Level], loads: &mut Vec<f64>) {
        let total = self.total(levels);
        let mut left = 1.0;
        loads.clear();
        loads.extend(levels.iter().map(|&level| {
            let load = if total > 0.0 { (self.health(level) / total).min(left) } else { 0.0 };
            left -= load;
            // A remainder this small is a rounding error.
            if load < 1e-9 { 0.0 } else { load }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of Envoy's documentation ("Priority levels"): healthy percent of each level and the resulting shares.
    /// Envoy calculates in whole percents.
    #[test]
    fn the_documented_examples_hold() {
        for (healthy, expected) in [
            (&[100, 100][..], &[100.0, 0.0][..]),
            (&[72, 100], &[100.0, 0.0]),
            (&[71, 100], &[99.0, 1.0]),
            (&[50, 100], &[70.0, 30.0]),
            (&[25, 100], &[35.0, 65.0]),
            (&[0, 100], &[0.0, 100.0]),
            (&[72, 72], &[100.0, 0.0]),
            (&[71, 71], &[99.0, 1.0]),
            (&[50, 50], &[70.0, 30.0]),
            (&[25, 25], &[50.0, 50.0]),
            (&[5, 65], &[7.0, 93.0]),
            (&[71, 71, 100], &[99.0, 1.0, 0.0]),
            (&[25, 100, 100], &[35.0, 65.0, 0.0]),
            (&[25, 25, 100], &[35.0, 35.0, 30.0]),
            (&[25, 25, 20], &[36.0, 36.0, 28.0]),
        ] {
            let levels: Vec<Level> = healthy.iter().map(|&healthy| Level { healthy, all: 100 }).collect();
            let mut loads = Vec::new();
            Rules::default().loads(&levels, &mut loads);
            assert!((loads.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{loads:?}");
            for (load, expected) in loads.iter().zip(expected) {
                assert!((100.0 * load - expected).abs() < 1.0, "{healthy:?}: {loads:?}");
            }
        }
    }

    #[test]
    fn without_healthy_servers_no_level_has_load() {
        let mut loads = vec![1.0];
        Rules::default().loads(&[Level { healthy: 0, all: 3 }, Level::default()], &mut loads);
        assert_eq!(loads, [0.0, 0.0]);
        // A backup takes over only when no server of level 0 is healthy: overprovisioning is huge.
        let backup = Rules { overprovisioning: 1e9 };
        backup.loads(&[Level { healthy: 1, all: 100 }, Level { healthy: 5, all: 5 }], &mut loads);
        assert_eq!(loads, [1.0, 0.0]);
    }
}
