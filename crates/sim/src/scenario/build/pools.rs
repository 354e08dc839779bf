//! Pools: servers, policies, and the settings that only the simulator has.

use std::sync::Arc;

use super::super::table::{BalancersTable, ScenarioTable};
use super::Builder;
use crate::sim::model::{Autoscale, Backend, Connections, Pool, Reports};
use evenkeel_config::Spanned;
use evenkeel_config::pool::{AutoscaleTable, ConnectionsTable, PoolTable, ReportsTable, check_name};
use evenkeel_core::policy::catalog::Host;
use evenkeel_core::policy::{Rules, zone};
use evenkeel_core::units::Nanos;

impl Builder<'_> {
    pub(super) fn pools(&mut self, table: &ScenarioTable) -> Vec<Pool> {
        let tables = table.pools.get_ref();
        if tables.is_empty() {
            self.problem(table.pools.span(), "there are no pools");
        }
        let names: Vec<String> = tables.iter().map(|t| t.get_ref().name.get_ref().clone()).collect();
        (0..tables.len()).map(|i| self.pool(table, i, &names)).collect()
    }

    /// The pool at this index; `names` are those of all pools.
    fn pool(&mut self, table: &ScenarioTable, i: usize, names: &[String]) -> Pool {
        let tables = table.pools.get_ref();
        let t = tables[i].get_ref();
        check_name(&t.name, "pool", &mut self.problems);
        if names[i] == "balancer" {
            self.problem(t.name.span(), "`balancer` is what faults call the balancers: name the pool otherwise");
        }
        if names[..i].contains(&names[i]) {
            self.problem(t.name.span(), format!("there is already a pool `{}`", names[i]));
        }
        let servers = t.servers(&mut self.problems);
        let mut policy = t.policy(self.source, &mut self.problems);
        self.problems.extend(t.unsupported(self.source, Host::Simulator));
        self.place_zones(t, &mut policy, &table.balancers);
        t.warn(servers.iter().map(|server| server.weight), &policy, &mut self.warnings);
        let reports = self.reports(t);
        let backend = self.backend(t, i, tables, names);
        let (connections, autoscale) = (self.connections(t), self.autoscale(t, servers.len()));
        let called = tables.iter().any(|other| calls(other, &names[i]));
        let inner_shards = self.second_tier(t, called);
        if let Some(strategy) = t.strategy.as_ref().filter(|strategy| strategy.get_ref().0.oracle()) {
            self.problem(strategy.span(), "an oracle is a baseline to compare with, not a strategy to run a pool by");
        }
        Pool {
            name: names[i].clone(),
            strategy: t.strategy.as_ref().map(|s| s.get_ref().0.clone()),
            servers,
            policy: Arc::new(policy),
            reports,
            probes: t.probes.as_ref().map(|probes| probes.work),
            backend,
            connections,
            autoscale,
            inner_shards,
        }
    }

    fn reports(&mut self, t: &PoolTable) -> Option<Reports> {
        let reports = t.reports.as_ref()?;
        let ReportsTable { interval, synchronised, delay, with_answers, idle_notifications } = *reports.get_ref();
        if interval.is_some_and(|interval| interval < Nanos::from_millis(1)) {
            self.problem(reports.span(), "`interval` of reports must be at least 1ms");
        }
        if interval.is_none() && with_answers.is_none() && idle_notifications.is_none() {
            self.problem(reports.span(), "these reports are never sent").help =
                Some("say `interval`, `with_answers` or `idle_notifications`".to_owned());
        }
        Some(Reports { interval, synchronised, delay, with_answers, idle_notifications })
    }

    /// The second tier that the servers of pool `i` call.
    fn backend(&mut self, t: &PoolTable, i: usize, tables: &[Spanned<PoolTable>], names: &[String]) -> Option<Backend> {
        let backend = t.backend.as_ref()?.get_ref();
        let called = &backend.pool;
        let pool = self.find(called, names, "pool")?;
        if pool == i {
            self.problem(called.span(), "a pool cannot be its own second tier");
        }
        if tables[pool].get_ref().backend.is_some() {
            self.problem(called.span(), "a second tier has no further tier behind it (two are modelled)");
        }
        let service = self.distribution(&backend.service);
        Some(Backend { pool, on_miss: backend.on_miss, service })
    }

    /// Balancers in front of this pool when it is a second tier; reports settings that are invalid for a second tier
    /// (`called`) or for an entry pool.
    fn second_tier(&mut self, t: &PoolTable, called: bool) -> u32 {
        let shards = t.shards.as_ref().map_or(1, |shards| *shards.get_ref());
        if let Some(sticky) = t.sticky.as_ref().filter(|_| called) {
            self.problem(sticky.span(), "servers that call a second tier carry no cookies").help =
                Some("leave `sticky` out, or let a strategy hash the client".to_owned());
        }
        if let Some(shards) = t.shards.as_ref().filter(|_| !called) {
            let message = "`shards` of a pool are the balancers before a second tier, and nothing calls this pool";
            self.problem(shards.span(), message).help =
                Some("for the entry tier write `balancers = { shards = … }`".to_owned());
        }
        if !(1..=1000).contains(&shards) {
            self.problem(t.shards.as_ref().map_or(0..0, Spanned::span), "`shards` must be from 1 to 1000");
        }
        shards
    }

    /// Connection affinity.
    fn connections(&mut self, t: &PoolTable) -> Option<Connections> {
        let table = t.connections.as_ref()?;
        let ConnectionsTable { max_requests, max_lifetime } = *table.get_ref();
        if max_requests == Some(0) || max_lifetime == Some(Nanos::ZERO) {
            self.problem(table.span(), "`max_requests` and `max_lifetime` of connections must be above zero");
        }
        if t.sticky.is_some() {
            self.problem(table.span(), "a pool has `connections` or is `sticky`: either ties a client to a server");
        }
        Some(Connections {
            max_requests: max_requests.unwrap_or(u32::MAX),
            max_lifetime: max_lifetime.unwrap_or(Nanos::MAX),
        })
    }

    /// Autoscaling.
    fn autoscale(&mut self, t: &PoolTable, servers: usize) -> Option<Autoscale> {
        let table = t.autoscale.as_ref()?;
        let AutoscaleTable { target, min_servers, initial_servers, interval, delay, cooldown } = *table.get_ref();
        let initial_servers = initial_servers.unwrap_or(min_servers);
        if !(target.0 > 0.0 && target.0 <= 1.0) {
            self.problem(table.span(), "`target` must be above zero and at most 100 %");
        }
        if min_servers == 0 || initial_servers < min_servers || initial_servers as usize > servers {
            let message = format!(
                "`min_servers` must be above zero, and `initial_servers` between it and the pool's {servers} servers"
            );
            self.problem(table.span(), message).help =
                Some("the servers of the pool are the most there can be".to_owned());
        }
        if interval < Nanos::from_millis(100) {
            self.problem(table.span(), "`interval` must be at least 100ms");
        }
        Some(Autoscale { target: target.0, min_servers, initial_servers, interval, delay, cooldown })
    }

    /// Share of the requests that each zone receives, by the zones of the balancers.
    fn place_zones(&mut self, t: &PoolTable, policy: &mut Rules, balancers: &BalancersTable) {
        let (Some(table), Some(rules)) = (&t.zones, &mut policy.zones) else { return };
        let zones = balancers.zones.get_ref();
        if zones.is_empty() {
            if rules.prefer != zone::Prefer::Weights {
                self.problem(table.span(), "the balancers are in no zone, and cannot prefer their own").help =
                    Some("write balancers = { count = 3, zones = [\"a\", \"b\", \"c\"] }".to_owned());
            }
        } else if rules.traffic.is_empty() {
            let count = *balancers.count.get_ref() as usize;
            for name in (0..count).map(|i| zones[i % zones.len()].get_ref()) {
                let share = 1.0 / count as f64;
                rules.traffic.entry(name.clone()).or_default().0 += share;
            }
        }
    }
}

/// Whether the servers of this pool call the pool of that name.
fn calls(pool: &Spanned<PoolTable>, name: &str) -> bool {
    pool.get_ref().backend.as_ref().is_some_and(|backend| backend.get_ref().pool.get_ref() == name)
}
