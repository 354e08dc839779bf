//! Zones: which zone a pick goes to. A hop between zones costs time and, at most providers, money; but a zone that gets all
//! requests of its own balancers is overloaded where it has many balancers and few servers.
//!
//! * `residual` (Envoy's zone-aware routing): a balancer's zone brings some share of the traffic and holds some share of
//!   the healthy servers. If its servers are at least as large a share, all stays in the zone. Else as much as they can
//!   take stays (servers' share / traffic's share), and the rest goes to other zones in proportion to what their own
//!   traffic leaves free there. So every server gets the same, and as little as possible crosses zones.
//! * `local`: everything stays while any server of the zone is healthy, whatever the load (Envoy's `force_local_zone`).
//! * `weights` (Envoy's locality-weighted): zones by given weights, each times min(1, `overprovisioning` × healthy share).
//!
//! Only the first priority level prefers its zone, as in Envoy; weights apply in all.

use std::collections::BTreeMap;

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};

use super::catalog::{Doc, Issues, Policy, PoolFacts};
use crate::units::Ratio;

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "zone preference",
    idea: "Prefers servers in the balancer's own zone, because a hop between zones costs time and money, without overloading that zone.",
    source: "Envoy's zone-aware routing and locality weights; Kubernetes' topology-aware routing",
    scenario: Some("zone-spill"),
};

/// Which zone a pick goes to.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Zones"))]
pub struct Rules {
    /// `"residual"` (the local zone, up to its fair share of capacity; the default), `"local"` (the local zone while any of
    /// its servers is healthy) or `"weights"`.
    pub prefer: Prefer,
    /// Servers below which zones are ignored. `residual` counts the servers of the priority level (`None`: 6, Envoy's
    /// `min_cluster_size`), `local` the healthy ones in the zone (`None`: 1).
    pub min_servers: Option<u32>,
    /// `weights = { a = 1, b = 2 }`: share of each zone, relative to the others, for `prefer = "weights"`: not negative; 1
    /// where not given.
    #[cfg_attr(feature = "config", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub weights: BTreeMap<String, f64>,
    /// `traffic = { a = "50%", b = "50%" }`: share of the requests that comes to the balancers of each zone; they add up to
    /// 100 %. Even unless given; a scenario knows where its balancers are.
    #[cfg_attr(feature = "config", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub traffic: BTreeMap<String, Ratio>,
}

/// How zones are preferred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "config", schemars(rename = "ZonePreference"))]
pub enum Prefer {
    /// The local zone, up to its fair share of capacity.
    #[default]
    Residual,
    /// The local zone.
    Local,
    /// By weights; a zone without one has 1.
    Weights,
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        let by_weights = self.prefer == Prefer::Weights;
        let sound = self.weights.values().all(|&weight| weight >= 0.0 && weight.is_finite());
        issues.require(sound, "weights", "`weights` must not be negative");
        let message = "`weights` are for `prefer = \"weights\"`";
        issues.require(by_weights || self.weights.is_empty(), "weights", message);
        let message = "`prefer = \"weights\"` needs `weights`";
        issues.require(!by_weights || !self.weights.is_empty(), "", message).help("weights = { a = 2, b = 1 }");
        let sum: f64 = self.traffic.values().map(|share| share.0).sum();
        let sound = self.traffic.is_empty() || (sum - 1.0).abs() < 0.01;
        issues.require(sound, "traffic", "the shares of `traffic` must add up to 100 %");
    }

    fn check_pool(&self, pool: &PoolFacts<'_>, issues: &mut Issues) {
        let any = pool.servers.iter().any(|server| server.zone.is_some());
        issues.require(any, "", "no server of this pool has a `zone`").help("give the servers one: zone = \"a\"");
        for name in self.weights.keys() {
            let known = pool.servers.iter().any(|server| server.zone == Some(name));
            issues.require(known, "weights", format!("no server is in zone `{name}`"));
        }
    }
}

/// A zone of a priority level, as one balancer counts it.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone<'a> {
    /// Name of the zone.
    pub name: &'a str,
    /// Number of servers in the zone.
    pub all: u32,
    /// Number of healthy servers in the zone.
    pub healthy: u32,
    /// Sum of the weights of the servers.
    pub weight: u64,
}

impl Rules {
    /// Writes each zone's share of the picks of a balancer in zone `own` to `shares`; returns `false` where zones are
    /// ignored. `whole` is the capacity of a zone's servers as a multiple of their healthy share.
    pub fn shares(
        &self,
        zones: &[Zone<'_>],
        own: Option<&str>,
        first_level: bool,
        whole: f64,
        shares: &mut Vec<f64>,
    ) -> bool {
        shares.clear();
        match self.prefer {
            Prefer::Weights => {
                let weight = |zone: &Zone<'_>| {
                    let given = self.weights.get(zone.name).copied().unwrap_or(1.0);
                    let available = whole * f64::from(zone.healthy) / f64::from(zone.all.max(1));
                    given * available.min(1.0)
                };
                shares.extend(zones.iter().map(weight));
            }
            Prefer::Local => {
                let Some(at) = self.here(zones, own).filter(|_| first_level) else { return false };
                if zones[at].healthy < self.min_servers.unwrap_or(1).max(1) {
                    return false;
                }
                shares.extend((0..zones.len()).map(|i| f64::from(u8::from(i == at))));
            }
            Prefer::Residual => {
                let Some(at) = self.here(zones, own).filter(|_| first_level) else { return false };
                if zones.iter().map(|zone| zone.all).sum::<u32>() < self.min_servers.unwrap_or(6) {
                    return false;
                }
                self.residual(zones, at, shares);
            }
        }
        let sum: f64 = shares.iter().sum();
        if sum <= 0.0 {
            return false;
        }
        shares.iter_mut().for_each(|share| *share /= sum);
        true
    }

    fn here(&self, zones: &[Zone<'_>], own: Option<&str>) -> Option<usize> {
        let own = own?;
        zones.iter().position(|zone| zone.name == own)
    }

    fn residual(&self, zones: &[Zone<'_>], own: usize, shares: &mut Vec<f64>) {
        let sum = zones.iter().map(|zone| zone.weight).sum::<u64>().max(1) as f64;
        let servers = |zone: &Zone<'_>| zone.weight as f64 / sum;
        let traffic = |zone: &Zone<'_>| match self.traffic.get(zone.name) {
            Some(share) => share.0,
            None if self.traffic.is_empty() => 1.0 / zones.len() as f64,
            None => 0.0,
        };
        let (here, brought) = (servers(&zones[own]), traffic(&zones[own]));
        // Equal shares may differ by rounding.
        let stays = if brought <= here + 1e-12 { 1.0 } else { here / brought };
        let free = |i: usize| if i == own { 0.0 } else { (servers(&zones[i]) - traffic(&zones[i])).max(0.0) };
        let total: f64 = (0..zones.len()).map(free).sum();
        let rest = 1.0 - stays;
        shares.extend((0..zones.len()).map(|i| match (i == own, total > 1e-12) {
            (true, _) => stays,
            (false, true) => rest * free(i) / total,
            // No zone has spare capacity: the rest is split by the number of servers.
            (false, false) => rest * servers(&zones[i]),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(counts: &[(u32, u32)]) -> Vec<Zone<'static>> {
        let names = ["a", "b", "c"];
        let zone = |(&(healthy, all), name)| Zone { name, all, healthy, weight: u64::from(healthy) };
        counts.iter().zip(names).map(zone).collect()
    }

    fn shares(prefer: Prefer, traffic: &[f64], counts: &[(u32, u32)], own: &str) -> Option<Vec<f64>> {
        let traffic =
            traffic.iter().zip(["a", "b", "c"]).map(|(&share, name)| (name.to_owned(), Ratio(share))).collect();
        let mut shares = Vec::new();
        let weights = [("a".to_owned(), 1.0), ("b".to_owned(), 2.0)].into();
        let rules = Rules { prefer, min_servers: Some(6), weights, traffic };
        rules.shares(&zones(counts), Some(own), true, 1.4, &mut shares).then_some(shares)
    }

    #[test]
    fn servers_get_equal_shares_with_minimal_cross_zone_traffic() {
        // Half of the traffic arrives in zone a, which has 4 of 12 servers: two thirds stay. b and c bring a quarter each
        // and have a third of the servers each: a twelfth is free in both, so each gets a sixth of the traffic of a.
        let traffic = [0.5, 0.25, 0.25];
        let even = [(4, 4), (4, 4), (4, 4)];
        let of_a = shares(Prefer::Residual, &traffic, &even, "a").unwrap();
        for (share, expected) in of_a.iter().zip([2.0 / 3.0, 1.0 / 6.0, 1.0 / 6.0]) {
            assert!((share - expected).abs() < 1e-12, "{of_a:?}");
        }
        assert_eq!(shares(Prefer::Residual, &traffic, &even, "b").unwrap(), [0.0, 1.0, 0.0]);
        // Whatever the counts: over all zones each server gets 1/healthy of the traffic.
        for counts in [[(4, 4), (4, 4), (4, 4)], [(2, 4), (6, 6), (3, 9)], [(1, 1), (8, 8), (9, 9)]] {
            let mut got = [0.0; 3];
            for (own, brings) in ["a", "b", "c"].into_iter().zip(traffic) {
                let of_own = shares(Prefer::Residual, &traffic, &counts, own).unwrap();
                got.iter_mut().zip(of_own).for_each(|(sum, share)| *sum += brings * share);
            }
            let all: u32 = counts.iter().map(|c| c.0).sum();
            for (got, (healthy, _)) in got.iter().zip(counts) {
                assert!((got - f64::from(healthy) / f64::from(all)).abs() < 1e-12, "{counts:?}: {got}");
            }
        }
    }

    #[test]
    fn locality_weights_are_envoys_documented_examples() {
        // Weights 1 and 2, zone b whole; healthy percent of zone a and what both get.
        for (healthy, a, b) in
            [(100, 33.0, 67.0), (70, 33.0, 67.0), (69, 32.0, 68.0), (50, 26.0, 74.0), (25, 15.0, 85.0), (0, 0.0, 100.0)]
        {
            let got = shares(Prefer::Weights, &[], &[(healthy, 100), (100, 100)], "a").unwrap();
            assert!((100.0 * got[0] - a).abs() < 1.0 && (100.0 * got[1] - b).abs() < 1.0, "{healthy}: {got:?}");
        }
    }

    #[test]
    fn a_local_zone_takes_all_until_none_of_its_servers_is_healthy() {
        let rules = Rules { prefer: Prefer::Local, min_servers: Some(1), ..Rules::default() };
        let mut shares = Vec::new();
        assert!(rules.shares(&zones(&[(1, 9), (9, 9)]), Some("a"), true, 1.4, &mut shares));
        assert_eq!(shares, [1.0, 0.0]);
        assert!(!rules.shares(&zones(&[(0, 9), (9, 9)]), Some("a"), true, 1.4, &mut shares));
        assert!(!rules.shares(&zones(&[(9, 9), (9, 9)]), Some("a"), false, 1.4, &mut shares), "a lower level");
        assert!(!rules.shares(&zones(&[(9, 9), (9, 9)]), None, true, 1.4, &mut shares), "no zone of its own");
    }

    #[test]
    fn with_few_servers_zones_are_ignored() {
        assert_eq!(shares(Prefer::Residual, &[], &[(2, 2), (3, 3)], "a"), None, "five are fewer than six");
        assert!(shares(Prefer::Residual, &[], &[(2, 3), (3, 3)], "a").is_some());
    }
}
