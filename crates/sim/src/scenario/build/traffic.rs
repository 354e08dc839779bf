//! Traffic: routes, paths, keys, clients, and the traffic of each pool.

use std::net::IpAddr;

use super::super::PoolDemand;
use super::super::table::*;
use super::Builder;
use crate::sim::model::*;
use evenkeel_config::Spanned;
use evenkeel_config::distribution::{Alias, Sampler};
use evenkeel_core::policy::routes::Routes;

impl Builder<'_> {
    pub(super) fn routes(&mut self, table: &ScenarioTable, pools: &[Pool]) -> Routes {
        let names: Vec<String> = pools.iter().map(|pool| pool.name.clone()).collect();
        let inner: Vec<usize> = pools.iter().filter_map(|pool| pool.backend.as_ref().map(|b| b.pool)).collect();
        match &table.routes {
            Some(routes) => {
                let mut pairs = Vec::new();
                for route in routes {
                    if let Some(host) = &route.host {
                        self.problem(
                            host.span(),
                            "requests of a scenario are for no host: this route would take none",
                        )
                        .help = Some("leave `host` out and tell the routes apart by `prefix`".to_owned());
                    }
                    if !route.prefix.get_ref().starts_with('/') {
                        self.problem(route.prefix.span(), "a `prefix` begins with `/`");
                    }
                    if let Some(pool) = self.find(&route.pool, &names, "pool") {
                        if inner.contains(&pool) {
                            self.problem(route.pool.span(), "this pool is a second tier and takes no routes");
                        }
                        pairs.push((route.prefix.get_ref().clone(), pool));
                    }
                }
                Routes::of_prefixes(pairs)
            }
            None => {
                let entries: Vec<usize> = (0..pools.len()).filter(|p| !inner.contains(p)).collect();
                match entries[..] {
                    [only] => Routes::of_prefixes([("/".to_owned(), only)]),
                    _ => {
                        let message = "there are several pools and no [[routes]] that say which path goes where";
                        self.problem(table.pools.span(), message).help =
                            Some("add [[routes]] with `prefix` and `pool`".to_owned());
                        Routes::default()
                    }
                }
            }
        }
    }

    fn keys(&mut self, table: Option<&Spanned<KeysTable>>) -> Keys {
        let Some(keys) = table else { return Keys::Path };
        let KeysTable { count, exponent, per_client } = *keys.get_ref();
        if !(1..=10_000_000).contains(&count) || !(0.0..=10.0).contains(&exponent) {
            self.problem(keys.span(), "`count` must be from 1 to 10000000 and `exponent` from 0 to 10");
            return Keys::Path;
        }
        let items = Alias::zipf(count as usize, exponent);
        if per_client { Keys::PerClient(items) } else { Keys::Shared(items) }
    }

    /// Paths with their shares.
    pub(super) fn paths(&mut self, table: &ScenarioTable, routes: &Routes) -> Vec<(Path, f64)> {
        let default_path = || PathTable {
            path: Spanned::new(0..0, "/".to_owned()),
            share: Spanned::new(0..0, 1.0),
            service: None,
            per_byte: None,
            keys: None,
        };
        let synthetic;
        let tables: Vec<&PathTable> = match &table.paths {
            Some(paths) => paths.get_ref().iter().map(Spanned::get_ref).collect(),
            None => {
                synthetic = default_path();
                vec![&synthetic]
            }
        };
        let mut paths = Vec::new();
        for t in tables {
            let path = t.path.get_ref();
            let share = *t.share.get_ref();
            if !path.starts_with('/') {
                self.problem(t.path.span(), "a `path` begins with `/`");
            }
            if !(share > 0.0 && share.is_finite()) {
                self.problem(t.share.span(), "`share` must be above zero");
                continue;
            }
            let Some(distribution) = t.service.as_ref().or(table.service.as_ref()) else {
                let message = format!("path `{path}` has no `service`: how much work does it bring?");
                self.problem(t.path.span(), message).help =
                    Some("add `service = { exponential = { mean = \"10ms\" } }` here or for the whole file".to_owned());
                continue;
            };
            let service = self.distribution(distribution);
            let Some(pool) = routes.find(None, path) else {
                if !self.problems.iter().any(|p| p.message.contains("[[routes]]")) {
                    self.problem(t.path.span(), format!("no route leads from `{path}` to a pool"));
                }
                continue;
            };
            let keys = self.keys(t.keys.as_ref().or(table.keys.as_ref()));
            let per_byte = t.per_byte.or(table.per_byte).unwrap_or_default().0 as f64;
            paths.push((Path { path: path.clone(), pool, service, per_byte, keys }, share));
        }
        paths
    }

    /// The traffic of each pool, second tiers included.
    pub(super) fn demand(&self, paths: &[(Path, f64)], pools: &[Pool]) -> Vec<PoolDemand> {
        /// Sums of mean and mean square first, divided later.
        fn add(demand: &mut PoolDemand, share: f64, service: &Sampler) {
            let mean = service.mean() / 1e9;
            demand.share += share;
            demand.work += share * service.mean() / 1e9;
            demand.scv += share * mean * mean * (1.0 + service.squared_variation());
        }
        let total: f64 = paths.iter().map(|path| path.1).sum();
        let capacity = |pool: &Pool| pool.servers.iter().map(Server::capacity).sum();
        let mut demand: Vec<PoolDemand> =
            pools.iter().map(|pool| PoolDemand { capacity: capacity(pool), ..PoolDemand::default() }).collect();
        for (path, share) in paths {
            let share = share / total;
            add(&mut demand[path.pool], share, &path.service);
            let Some(pool) = pools.get(path.pool) else { continue };
            // A call that a cache may avoid is left out: only a run shows how many there are.
            let saved = |backend: &Backend| backend.on_miss && pool.servers.iter().all(|server| server.cache.is_some());
            if let Some(backend) = pool.backend.as_ref().filter(|backend| !saved(backend)) {
                add(&mut demand[backend.pool], share, &backend.service);
            }
        }
        for pool in demand.iter_mut().filter(|pool| pool.share > 0.0) {
            let mean = pool.work / pool.share;
            pool.scv = if mean > 0.0 { pool.scv / pool.share / (mean * mean) - 1.0 } else { 0.0 };
        }
        demand
    }

    pub(super) fn clients(&mut self, table: &ScenarioTable, arrivals: &Option<Arrivals>) -> Clients {
        let t = &table.clients;
        if let ArrivalsTable::Replay { .. } = table.arrivals.get_ref() {
            let given = [
                (t.count.span(), "count"),
                (t.skew.span(), "skew"),
                (t.hot_share.as_ref().map_or(0..0, Spanned::span), "hot_share"),
            ];
            for (span, what) in given.into_iter().filter(|(span, _)| span.end > 0) {
                self.problem(span, format!("clients are those of the recording: `{what}` has no meaning in a replay"));
            }
        }
        let count = *t.count.get_ref();
        if !(1..=1_000_000).contains(&count) {
            self.problem(t.count.span(), "`count` must be from 1 to 1000000");
        }
        let count = count.clamp(1, 1_000_000);
        let skew = *t.skew.get_ref();
        if !(0.0..=10.0).contains(&skew) {
            self.problem(t.skew.span(), "`skew` must be from 0 to 10");
        }
        let mut addresses: Vec<IpAddr> = (0..count).map(|i| IpAddr::V4(address(i))).collect();
        let mut weights: Vec<f64> =
            (1..=count).map(|rank| evenkeel_core::math::pow(f64::from(rank), -skew.clamp(0.0, 10.0))).collect();
        if let Some(hot) = &t.hot_share {
            let share = hot.get_ref().0;
            if share >= 1.0 {
                self.problem(hot.span(), "`hot_share` must be below 100 %");
            } else if matches!(arrivals, Some(Arrivals::Closed { .. })) {
                self.problem(hot.span(), "in a closed loop every client sends for itself: `hot_share` has no meaning");
            } else {
                let rest: f64 = weights.iter().sum();
                weights.push(rest * share / (1.0 - share));
                // 203.0.113.7, an address for documentation (RFC 5737).
                addresses.push(IpAddr::from([203, 0, 113, 7]));
            }
        }
        Clients {
            addresses: addresses.into(),
            mix: Alias::new(&weights),
            timeout: self.limit(t.timeout.as_ref(), "timeout"),
            patience: self.limit(t.patience.as_ref(), "patience"),
            servers_see_cancel: t.servers_see_cancel,
            connect_timeout: t.connect_timeout,
        }
    }

    /// The clients' timeouts.
    fn limit(&mut self, given: Option<&Spanned<Delay>>, key: &str) -> Option<Sampler> {
        let given = given?;
        let before = self.problems.len();
        let distribution = self.delay(Some(given));
        if distribution.mean() <= 0.0 && self.problems.len() == before {
            self.problem(given.span(), format!("`{key}` must be above zero"));
        }
        Some(distribution)
    }
}
