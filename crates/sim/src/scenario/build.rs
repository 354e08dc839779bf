//! From tables to an experiment: every name looked up, every number checked, every file read. All that is wrong is
//! collected, so that one run of the tool shows all of it.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use super::strategy_list::StrategyList;
use super::table::*;
use super::{Contestant, Files, Kind, PoolDemand, Scenario, expect, overrides, workload_file};
use crate::sim::model::*;
use evenkeel_config::diagnostic::{Problem, Problems, did_you_mean};
use evenkeel_config::distribution::{self, Alias, Distribution, Sampler};
use evenkeel_config::fault::WhatTable;
use evenkeel_config::pool::{AutoscaleTable, ConnectionsTable, PoolTable, ReportsTable, check_name};
use evenkeel_core::policy::routes::Routes;
use evenkeel_core::policy::{Rules, zone};
use evenkeel_core::rng::mix;
use evenkeel_core::select::catalog::{self, CATALOGUE};
use evenkeel_core::units::{Nanos, Ratio};

/// The most (shard, server) pairs a run can hold.
const MOST_VIEWS: u64 = 2_000_000;

/// How long to run, and from when on to measure.
struct Spans {
    warmup: Nanos,
    cache_warmup: Nanos,
    duration: Nanos,
    auto_warmup: bool,
    auto_cache_warmup: bool,
}

struct Builder<'a> {
    problems: Problems,
    warnings: Problems,
    refusals: Problems,
    files: Files<'a>,
}

pub(super) fn build(name: &str, source: &str, table: ScenarioTable, files: Files<'_>) -> Result<Scenario, Problems> {
    let mut b = Builder { problems: Vec::new(), warnings: Vec::new(), refusals: Vec::new(), files };
    let scenario = b.scenario(name, source, table);
    match scenario {
        Some(scenario) if b.problems.is_empty() => Ok(scenario),
        _ => {
            if b.problems.is_empty() {
                b.problems.push(Problem::of_file("the scenario cannot be built"));
            }
            Err(b.problems)
        }
    }
}

impl Builder<'_> {
    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Problem {
        self.problems.push(Problem::at(span, message));
        self.problems.last_mut().expect("just pushed")
    }

    fn scenario(&mut self, name: &str, source: &str, table: ScenarioTable) -> Option<Scenario> {
        for (text, what) in [(&table.title, "title"), (&table.question, "question")] {
            if text.get_ref().trim().is_empty() {
                self.problem(text.span(), format!("`{what}` is empty: a scenario is a question, say which"));
            }
        }
        if let Some(answer) = table.answer.as_ref().filter(|answer| answer.get_ref().trim().is_empty()) {
            self.problem(answer.span(), "`answer` is empty: leave it out until the results are known");
        }
        if table.title.get_ref().chars().any(char::is_control) {
            self.problem(table.title.span(), "`title` holds a control character, which no chart can show");
        }
        let Spans { warmup, cache_warmup, duration, auto_warmup, auto_cache_warmup } = self.spans(&table);
        let pools = self.pools(&table);
        let routes = self.routes(&table, &pools);
        let mut paths = self.paths(&table, &routes);
        let mut demand = self.demand(&paths, &pools);
        let arrivals = self.arrivals(&table, &mut paths, &routes, &demand, warmup + duration);
        let clients = self.clients(&table, &arrivals);
        let faults = self.faults(&table, &pools, warmup + duration);
        let balancers = self.balancers(&table);
        let dns = self.dns(&table);
        let contestants = self.contestants(&table);
        let expects = self.expects(&table, &contestants);
        let client_leg = self.delay(table.network.client.as_ref());
        let server_leg = self.delay(table.network.server.as_ref());
        let replications = table.replications.as_ref().map_or(10, |r| *r.get_ref());
        if replications == 0 || replications > 10_000 {
            let span = table.replications.as_ref().map_or(0..0, Spanned::span);
            self.problem(span, "`replications` must be from 1 to 10000");
        }
        let bins = table.bins.as_ref().map_or(100, |bins| *bins.get_ref());
        if bins > 10_000 {
            self.problem(table.bins.as_ref().map_or(0..0, Spanned::span), "`bins` is above 10000");
        }
        if let Some(batches) = table.batches.as_ref().filter(|batches| !(10..=1000).contains(batches.get_ref())) {
            self.problem(batches.span(), "`batches` must be from 10 to 1000").help =
                Some("20 to 30 are usual; more are too short to be independent".to_owned());
        }
        let max_in_system = table.max_in_system.as_ref().map_or(MAX_IN_SYSTEM, |most| *most.get_ref());
        if !(1..=100_000_000).contains(&max_in_system) {
            let span = table.max_in_system.as_ref().map_or(0..0, Spanned::span);
            self.problem(span, "`max_in_system` must be from 1 to 100000000");
        }
        let sweep = self.sweep(&table, source);
        let sensitivity = self.sensitivity(&table, source);
        let batch = self.batch(&table);
        let arrivals = arrivals?;
        self.time_passes(&table, &arrivals, &paths, &pools, [&client_leg, &server_leg]);
        if let Arrivals::Replay(_) = &arrivals {
            // The paths are those of the recording now.
            demand = self.demand(&paths, &pools);
        }
        let offered = self.offered_load(&table, &arrivals, &mut demand, warmup + duration);
        if paths.is_empty() || pools.is_empty() || !self.problems.is_empty() {
            return None;
        }
        let shares: Vec<f64> = paths.iter().map(|path| path.1).collect();
        let mut notes = Vec::new();
        if paths.len() < 10 && paths.iter().all(|path| matches!(path.0.keys, Keys::Path)) {
            notes.push(format!(
                "requests have no `keys`: a hash by key sends all requests of a path to one server ({} in all); caches hold the answer at once",
                if paths.len() == 1 { "one path".to_owned() } else { format!("{} paths", paths.len()) }
            ));
        }
        let pools_own = table.pools.get_ref().iter().filter_map(|pool| pool.get_ref().strategy.as_ref());
        let listed = table.strategies.iter().flat_map(|strategies| strategies.get_ref().listed());
        let written = listed.chain(table.variants.iter().map(|t| &t.strategy)).chain(pools_own);
        let remarks = written.filter_map(|strategy| catalog::remark_on(source.get(strategy.span())?)).collect();
        let model = Model {
            warmup,
            duration,
            drain: table.drain.unwrap_or(duration),
            cache_warmup,
            bins,
            batches: table.batches.as_ref().map_or(0, |batches| *batches.get_ref()),
            max_in_system,
            arrivals,
            batch,
            clients,
            path_mix: Alias::new(&shares),
            paths: paths.into_iter().map(|path| path.0).collect(),
            client_leg,
            server_leg,
            cross_zone: table.network.cross_zone.unwrap_or_default(),
            dns,
            balancers,
            pools,
            faults,
        };
        Some(Scenario {
            name: name.to_owned(),
            title: table.title.into_inner(),
            question: table.question.into_inner().trim().to_owned(),
            answer: table.answer.map(|answer| answer.into_inner().trim().to_owned()),
            kind: table.kind,
            model,
            auto_warmup,
            auto_cache_warmup,
            contestants,
            replications,
            seed: table.seed.unwrap_or(1),
            expects,
            sweep,
            sensitivity,
            notes,
            remarks,
            hash: String::new(),
            demand,
            warnings: std::mem::take(&mut self.warnings),
            refusals: std::mem::take(&mut self.refusals),
            offered_load: offered,
        })
    }

    fn spans(&mut self, table: &ScenarioTable) -> Spans {
        let duration = *table.duration.get_ref();
        if duration == Nanos::ZERO {
            self.problem(table.duration.span(), "`duration` must be above zero");
        }
        let terminating = table.kind == Kind::Terminating;
        for (given, key) in [(&table.warmup, "warmup"), (&table.cache_warmup, "cache_warmup")] {
            if let Some(given) = given.as_ref().filter(|given| *given.get_ref() != Warmup::For(Nanos::ZERO))
                && terminating
            {
                let message = format!("a terminating scenario keeps everything and has no `{key}`");
                self.problem(given.span(), message).help =
                    Some("leave it out, or make the scenario `kind = \"steady\"`".to_owned());
            }
        }
        let given = |key: &Option<Spanned<Warmup>>| key.as_ref().map(|given| *given.get_ref());
        let (warmup, auto_warmup) = match given(&table.warmup) {
            _ if terminating => (Nanos::ZERO, false),
            Some(Warmup::For(warmup)) => (warmup, false),
            Some(Warmup::Auto) => (Nanos::ZERO, true),
            None => (Nanos(duration.0 / 10), false),
        };
        // Where the warm-up is found by a pilot, caches have their own clock unless the scenario sets it.
        let (cache_warmup, auto_cache_warmup) = match given(&table.cache_warmup) {
            Some(Warmup::For(cache)) => (cache, false),
            Some(Warmup::Auto) => (warmup, !terminating),
            None => (warmup, auto_warmup),
        };
        if let Some(cache) = &table.cache_warmup
            && let Warmup::For(until) = *cache.get_ref()
            && !terminating
            && (until < warmup || until >= warmup + duration)
        {
            let message = format!("`cache_warmup` must lie between `warmup` ({warmup}) and the end of the run");
            self.problem(cache.span(), message);
        }
        Spans { warmup, cache_warmup, duration, auto_warmup, auto_cache_warmup }
    }

    fn sweep(&mut self, table: &ScenarioTable, source: &str) -> Vec<overrides::Axis> {
        let mut axes = Vec::new();
        for sweep in &table.sweep {
            let keys: Vec<&Spanned<String>> = sweep.key.iter().chain(&sweep.keys).collect();
            if keys.is_empty() || sweep.values.get_ref().is_empty() {
                let message = "a sweep needs a `key` (or `keys` that move together) and `values`";
                self.problem(sweep.values.span(), message).help =
                    Some("for example key = \"arrivals.poisson.load\", values = [\"50%\", \"80%\"]".to_owned());
            }
            self.known_keys(&keys, source);
            let text = |value: &Spanned<toml::Value>| source[value.span()].to_owned();
            let keys = keys.into_iter().map(|key| key.get_ref().clone()).collect();
            axes.push(overrides::Axis { keys, values: sweep.values.get_ref().iter().map(text).collect() });
        }
        axes
    }

    fn known_keys(&mut self, keys: &[&Spanned<String>], source: &str) {
        for key in keys {
            if let Err(message) = overrides::find(source, key.get_ref()) {
                self.problem(key.span(), message);
            }
        }
    }

    fn sensitivity(&mut self, table: &ScenarioTable, source: &str) -> Option<overrides::Sensitivity> {
        let t = table.sensitivity.as_ref()?;
        let by = t.by.as_ref().map_or(0.3, |by| by.get_ref().0);
        if !(by > 0.0 && by < 1.0) {
            self.problem(t.by.as_ref().map_or(0..0, Spanned::span), "`by` must lie between 0 and 100 %");
        }
        let keys = match &t.keys {
            Some(keys) => {
                self.known_keys(&keys.iter().collect::<Vec<_>>(), source);
                keys.iter().map(|key| key.get_ref().clone()).collect()
            }
            None => overrides::constants(source).unwrap_or_default().into_iter().map(|(key, _)| key).collect(),
        };
        let metric = t.metric.as_ref().map_or_else(|| "latency.p99".to_owned(), |metric| metric.get_ref().clone());
        Some(overrides::Sensitivity { by, keys, metric })
    }

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

    /// A scenario knows where its balancers stand, and so which zone brings how much.
    fn placed(&mut self, t: &PoolTable, policy: &mut Rules, balancers: &BalancersTable) {
        let (Some(table), Some(rules)) = (&t.zones, &mut policy.zones) else { return };
        let zones = balancers.zones.get_ref();
        if zones.is_empty() {
            if rules.prefer == zone::Prefer::Residual || rules.prefer == zone::Prefer::Local {
                self.problem(table.span(), "the balancers stand in no zone: which would they prefer?").help =
                    Some("write balancers = { count = 3, zones = [\"a\", \"b\", \"c\"] }".to_owned());
            }
        } else if rules.traffic.is_empty() {
            let count = *balancers.count.get_ref() as usize;
            for name in (0..count).map(|i| zones[i % zones.len()].get_ref()) {
                let share = 1.0 / count as f64;
                match rules.traffic.iter_mut().find(|(known, _)| known == name) {
                    Some((_, sum)) => *sum += share,
                    None => rules.traffic.push((name.clone(), share)),
                }
            }
        }
    }

    fn pools(&mut self, table: &ScenarioTable) -> Vec<Pool> {
        let balancers = &table.balancers;
        let tables = table.pools.get_ref();
        if tables.is_empty() {
            self.problem(table.pools.span(), "there are no pools");
        }
        let names: Vec<String> = tables.iter().map(|t| t.get_ref().name.get_ref().clone()).collect();
        let mut pools = Vec::new();
        for (i, table) in tables.iter().enumerate() {
            let t = table.get_ref();
            check_name(&t.name, "pool", &mut self.problems);
            if names[i] == "balancer" {
                self.problem(t.name.span(), "`balancer` is what faults call the balancers: name the pool otherwise");
            }
            if names[..i].contains(&names[i]) {
                self.problem(t.name.span(), format!("there is already a pool `{}`", names[i]));
            }
            let servers = t.servers(&mut self.problems);
            let mut policy = t.policy(&mut self.problems);
            self.placed(t, &mut policy, balancers);
            t.check(&mut self.problems);
            t.warn(servers.iter().map(|server| server.weight), &policy, &mut self.warnings);
            let reports = t.reports.as_ref().map(|reports| {
                let r = reports.get_ref();
                if r.interval.is_some_and(|interval| interval < Nanos::from_millis(1)) {
                    self.problem(reports.span(), "`interval` of reports must be at least 1ms");
                }
                if r.interval.is_none() && r.with_answers.is_none() && r.idle_notifications.is_none() {
                    self.problem(reports.span(), "these reports are never sent").help =
                        Some("say `interval`, `with_answers` or `idle_notifications`".to_owned());
                }
                let ReportsTable { interval, synchronised, delay, with_answers, idle_notifications } = *r;
                Reports { interval, synchronised, delay, with_answers, idle_notifications }
            });
            let backend = t.backend.as_ref().and_then(|backend| {
                let called = &backend.get_ref().pool;
                let pool = self.find(called, &names, "pool")?;
                if pool == i {
                    self.problem(called.span(), "a pool cannot be its own second tier");
                }
                if tables[pool].get_ref().backend.is_some() {
                    self.problem(called.span(), "a second tier has no further tier behind it (two are modelled)");
                }
                let service = self.distribution(&backend.get_ref().service);
                Some(Backend { pool, on_miss: backend.get_ref().on_miss, service })
            });
            let (connections, autoscale) = (self.connections(t), self.autoscale(t, servers.len()));
            let shards = t.shards.as_ref().map_or(1, |shards| *shards.get_ref());
            if let Some(sticky) = t.sticky.as_ref().filter(|_| tables.iter().any(|other| calls(other, &names[i]))) {
                self.problem(sticky.span(), "servers that call a second tier carry no cookies").help =
                    Some("leave `sticky` out, or let a strategy hash the client".to_owned());
            }
            if let Some(shards) = t.shards.as_ref().filter(|_| !tables.iter().any(|other| calls(other, &names[i]))) {
                let message = "`shards` of a pool are the balancers before a second tier, and nothing calls this pool";
                self.problem(shards.span(), message).help =
                    Some("for the entry tier write `balancers = { shards = … }`".to_owned());
            }
            if !(1..=1000).contains(&shards) {
                self.problem(t.shards.as_ref().map_or(0..0, Spanned::span), "`shards` must be from 1 to 1000");
            }
            if let Some(strategy) = &t.strategy
                && strategy.get_ref().0.row().doc.oracle()
            {
                self.problem(
                    strategy.span(),
                    "an oracle is a baseline to compare with, not a strategy to run a pool by",
                );
            }
            pools.push(Pool {
                name: names[i].clone(),
                strategy: t.strategy.as_ref().map(|s| s.get_ref().0.clone()),
                servers,
                policy: Arc::new(policy),
                reports,
                probes: t.probes.as_ref().map(|probes| probes.work),
                backend,
                connections,
                autoscale,
                inner_shards: shards,
            });
        }
        pools
    }

    fn find(&mut self, name: &Spanned<String>, names: &[String], what: &str) -> Option<usize> {
        let found = names.iter().position(|n| n == name.get_ref());
        if found.is_none() {
            let help = did_you_mean(name.get_ref(), names.iter().map(String::as_str));
            self.problem(name.span(), format!("there is no {what} `{}`", name.get_ref())).help = Some(help);
        }
        found
    }

    fn distribution(&mut self, distribution: &Spanned<Distribution>) -> Sampler {
        let files = self.files;
        let mut read = |file: &str| distribution::numbers(file, &files(file)?);
        distribution.get_ref().sampler(&mut read).unwrap_or_else(|message| {
            self.problem(distribution.span(), message);
            Sampler::ZERO
        })
    }

    fn delay(&mut self, delay: Option<&Spanned<Delay>>) -> Sampler {
        delay.map_or(Sampler::ZERO, |delay| self.distribution(&Spanned::new(delay.span(), delay.get_ref().0.clone())))
    }

    fn routes(&mut self, table: &ScenarioTable, pools: &[Pool]) -> Routes {
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
    fn paths(&mut self, table: &ScenarioTable, routes: &Routes) -> Vec<(Path, f64)> {
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

    /// What comes to each pool. Second tiers are in it.
    fn demand(&self, paths: &[(Path, f64)], pools: &[Pool]) -> Vec<PoolDemand> {
        /// Mean and mean square are summed first.
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
            // A call that a cache may save is left out: how many there will be is what the run finds out.
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

    fn arrivals(
        &mut self,
        table: &ScenarioTable,
        paths: &mut Vec<(Path, f64)>,
        routes: &Routes,
        demand: &[PoolDemand],
        span: Nanos,
    ) -> Option<Arrivals> {
        let place = table.arrivals.span();
        let mut positive = |rate: &Spanned<evenkeel_core::units::Rate>| {
            if rate.get_ref().0 <= 0.0 {
                self.problems.push(Problem::at(rate.span(), "a rate must be above zero"));
            }
            rate.get_ref().0
        };
        match table.arrivals.get_ref() {
            ArrivalsTable::Poisson(amount) => {
                let rate = self.rate(&amount.rate, &amount.load, place, demand)?;
                Some(Arrivals::Poisson(RateCurve::constant(rate)))
            }
            ArrivalsTable::Constant(amount) => {
                Some(Arrivals::Constant { gap: 1e9 / self.rate(&amount.rate, &amount.load, place, demand)? })
            }
            ArrivalsTable::Renewal { interarrival, rate, load, .. } => {
                let distribution = self.distribution(interarrival);
                // Nanoseconds; a gap of none, or of less than the clock can tell, would never let time pass.
                let mean = distribution.mean();
                if mean < 1.0 {
                    self.problem(interarrival.span(), "the mean of `interarrival` must be at least 1ns");
                    return None;
                }
                let scale = match rate.is_some() || load.is_some() {
                    true => 1e9 / self.rate(rate, load, place, demand)? / mean,
                    false => 1.0,
                };
                Some(Arrivals::Renewal { distribution, scale })
            }
            ArrivalsTable::Bursts { base, peak, every, length } => {
                let (base, peak) = (base.get_ref().0, positive(peak));
                let (period, long) = (every.get_ref().as_secs_f64(), length.get_ref().as_secs_f64());
                if *every.get_ref() < Nanos::from_millis(1) {
                    self.problem(every.span(), "`every` must be at least 1ms");
                    return None;
                }
                if long <= 0.0 || long >= period {
                    self.problem(length.span(), "`length` must be above zero and below `every`");
                    return None;
                }
                let start = period - long;
                let points = vec![(0.0, base), (start, base), (start, peak), (period, peak)];
                Some(Arrivals::Poisson(RateCurve { points, period: Some(period) }))
            }
            ArrivalsTable::Ramp { from, to, over } => {
                if let Some(over) = over.as_ref().filter(|over| *over.get_ref() == Nanos::ZERO) {
                    self.problem(over.span(), "`over` must be above zero");
                }
                let over = over.as_ref().map_or(span, |over| *over.get_ref()).as_secs_f64();
                let points = vec![(0.0, from.get_ref().0), (over, to.get_ref().0)];
                if from.get_ref().0 <= 0.0 && to.get_ref().0 <= 0.0 {
                    self.problem(to.span(), "a ramp from zero to zero has no requests");
                }
                Some(Arrivals::Poisson(RateCurve { points, period: None }))
            }
            ArrivalsTable::Closed { think } => Some(Arrivals::Closed { think: self.distribution(think) }),
            ArrivalsTable::Replay { file, speed, repeat } => self.replay(file, speed, *repeat, paths, routes, span),
        }
    }

    /// A closed loop in which nothing takes any time is not simulated: its clients would send for ever in one instant. Over
    /// sockets everything takes time.
    fn time_passes(
        &mut self,
        table: &ScenarioTable,
        arrivals: &Arrivals,
        paths: &[(Path, f64)],
        pools: &[Pool],
        legs: [&Sampler; 2],
    ) {
        let Arrivals::Closed { think } = arrivals else { return };
        let calls = pools.iter().filter_map(|pool| pool.backend.as_ref()).map(|backend| &backend.service);
        let distributions = paths.iter().map(|(path, _)| &path.service).chain(calls).chain(legs).chain([think]);
        if distributions.into_iter().all(|distribution| distribution.mean() == 0.0) {
            let message = "nothing takes any time in this closed loop: clients do not think, requests bring no work, and the network has no delay";
            let help = "give `think`, `service` or a leg of `network` a mean above zero";
            self.refusals.push(Problem::at(table.arrivals.span(), message).help(help));
        }
    }

    /// Requests come in batches of this size.
    fn batch(&mut self, table: &ScenarioTable) -> Option<BatchSize> {
        let batch = match table.arrivals.get_ref() {
            ArrivalsTable::Poisson(amount) | ArrivalsTable::Constant(amount) => amount.batch.as_ref(),
            ArrivalsTable::Renewal { batch, .. } => batch.as_ref(),
            _ => None,
        }?;
        let size = match *batch.get_ref() {
            BatchTable::Constant { size } => BatchSize::Constant(size),
            BatchTable::Geometric { mean } => BatchSize::Geometric { mean },
        };
        if !(1.0..=1e6).contains(&size.mean()) {
            self.problem(batch.span(), "a batch has from 1 to 1000000 requests").help =
                Some("for example batch = { geometric = { mean = 4.0 } }".to_owned());
            return None;
        }
        Some(size)
    }

    fn rate(
        &mut self,
        rate: &Option<Spanned<evenkeel_core::units::Rate>>,
        load: &Option<Spanned<Ratio>>,
        place: Range<usize>,
        demand: &[PoolDemand],
    ) -> Option<f64> {
        match (rate, load) {
            (Some(rate), None) if rate.get_ref().0 > 0.0 => Some(rate.get_ref().0),
            (Some(rate), None) => {
                self.problem(rate.span(), "a rate must be above zero");
                None
            }
            (None, Some(load)) => {
                let Ratio(share) = *load.get_ref();
                if share <= 0.0 {
                    self.problem(load.span(), "`load` must be above zero");
                    return None;
                }
                let fullest = demand.iter().map(|pool| pool.work / pool.capacity).fold(0.0, f64::max);
                if fullest <= 0.0 {
                    let message = "`load` is a share of what servers can do, and these requests bring no work";
                    self.problem(load.span(), message).help =
                        Some("give a `rate`, or a `service` above zero".to_owned());
                    return None;
                }
                Some((share / fullest).min(1e9))
            }
            _ => {
                self.problem(place, "say how much comes: either `rate` or `load`").help = Some(
                    "for example { poisson = { rate = \"900/s\" } } or { poisson = { load = \"80%\" } }".to_owned(),
                );
                None
            }
        }
    }

    fn replay(
        &mut self,
        file: &Spanned<String>,
        speed: &Spanned<f64>,
        repeat: bool,
        paths: &mut Vec<(Path, f64)>,
        routes: &Routes,
        span: Nanos,
    ) -> Option<Arrivals> {
        if !(*speed.get_ref() > 0.0 && speed.get_ref().is_finite()) {
            self.problem(speed.span(), "`speed` must be above zero");
            return None;
        }
        let recording = (self.files)(file.get_ref())
            .and_then(|text| workload_file::read(&text).map_err(|error| format!("`{}`, {error}", file.get_ref())));
        let recording = match recording {
            Ok(recording) => recording,
            Err(message) => {
                self.problem(file.span(), message).help =
                    Some("`evenkeel import access.log --output FILE` makes a workload file from a log".to_owned());
                return None;
            }
        };
        // Every recorded path is a path of its own, with the work of the longest [[paths]] prefix that fits it.
        let fitting = Routes::of_prefixes(paths.iter().enumerate().map(|(i, path)| (path.0.path.clone(), i)));
        let mut counts = vec![0.0; recording.paths.len()];
        recording.entries.iter().for_each(|entry| counts[entry.2 as usize] += 1.0);
        let mut recorded = Vec::new();
        for (path, count) in recording.paths.iter().zip(counts) {
            // What is not a path of ours ("*", a full URL, a robot's rubbish) is served like the root.
            let like = |path: &str| Some((fitting.find(None, path)?, routes.find(None, path)?));
            let Some((template, pool)) = like(path).or_else(|| like("/")) else {
                self.problem(file.span(), format!("recorded path `{path}` fits no [[paths]] or no route"));
                return None;
            };
            let Path { service, per_byte, keys, .. } = paths[template].0.clone();
            recorded.push((Path { path: path.clone(), pool, service, per_byte, keys }, count));
        }
        *paths = recorded;
        let entry =
            |&(arrival, client, path, bytes): &(Nanos, u32, u32, u32)| Recorded { arrival, client, path, bytes };
        let entries: Vec<Recorded> = recording.entries.iter().map(entry).collect();
        let (first, last) = (entries.first()?.arrival, entries.last()?.arrival);
        // The next round starts one mean gap after the last request.
        let gap = (last - first).0 / (entries.len() as u64 - 1).max(1);
        let period = Nanos((last.0 + gap).max(1));
        let played = (last - first).as_secs_f64() / speed.get_ref();
        let begins = first.as_secs_f64() / speed.get_ref();
        if begins >= span.as_secs_f64() {
            let (begins, span) = (Nanos::from_secs_f64(begins), span);
            self.problem(file.span(), format!("the first request comes after {begins}, and only {span} are run"))
                .help = Some("let the arrivals begin near zero, raise `speed`, or lengthen `duration`".to_owned());
            return None;
        }
        if repeat && entries.len() as f64 / played > 1e9 {
            let message = "looping this file at this speed would be more than a request per nanosecond: its requests all come at one time";
            self.problem(file.span(), message).help = Some("record a longer log, or do not loop it".to_owned());
            return None;
        }
        if !repeat && played < 0.9 * span.as_secs_f64() {
            let (played, span) = (Nanos::from_secs_f64(played), span);
            self.problem(file.span(), format!("the recording is over after {played} of the {span} that are run"))
                .help = Some("add `loop = true`, lower `speed`, or shorten `duration` and `warmup`".to_owned());
        }
        let parse = |name: &String| name.parse::<IpAddr>().unwrap_or_else(|_| stand_in(name));
        Some(Arrivals::Replay(Replay {
            entries: entries.into(),
            clients: recording.clients.iter().map(parse).collect(),
            speed: *speed.get_ref(),
            repeat: repeat.then_some(period),
        }))
    }

    fn clients(&mut self, table: &ScenarioTable, arrivals: &Option<Arrivals>) -> Clients {
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

    /// How long clients wait.
    fn limit(&mut self, given: Option<&Spanned<Delay>>, key: &str) -> Option<Sampler> {
        let given = given?;
        let before = self.problems.len();
        let distribution = self.delay(Some(given));
        if distribution.mean() <= 0.0 && self.problems.len() == before {
            self.problem(given.span(), format!("`{key}` must be above zero"));
        }
        Some(distribution)
    }

    fn balancers(&mut self, table: &ScenarioTable) -> Balancers {
        let t = &table.balancers;
        for (number, what) in [(&t.count, "count"), (&t.shards, "shards")] {
            if !(1..=1000).contains(number.get_ref()) {
                self.problem(number.span(), format!("`{what}` must be from 1 to 1000"));
            }
        }
        // Each shard of each balancer has a fleet of its own for each server.
        let servers: u64 = table
            .pools
            .get_ref()
            .iter()
            .flat_map(|pool| pool.get_ref().servers.get_ref())
            .map(|s| u64::from(*s.get_ref().count.get_ref()))
            .sum();
        let views = u64::from(*t.count.get_ref()) * u64::from(*t.shards.get_ref()) * servers;
        if views > MOST_VIEWS {
            let message = format!("balancers × shards × servers is {views}: at most {MOST_VIEWS} can be held");
            self.problem(t.shards.span(), message);
        }
        for zone in t.zones.get_ref() {
            check_name(zone, "zone", &mut self.problems);
        }
        if t.zones.get_ref().len() > *t.count.get_ref() as usize {
            self.problem(t.zones.span(), "there are more `zones` than balancers");
        }
        Balancers {
            count: *t.count.get_ref(),
            shards: *t.shards.get_ref(),
            shared_in_flight: t.shared_in_flight,
            zones: t.zones.get_ref().iter().map(|zone| zone.get_ref().clone()).collect(),
        }
    }

    fn dns(&mut self, table: &ScenarioTable) -> Option<Dns> {
        let dns = table.dns.as_ref()?;
        let t = dns.get_ref();
        if !(1..=1_000_000).contains(&t.resolvers) || !(0.0..=10.0).contains(&t.resolver_skew) {
            self.problem(dns.span(), "`resolvers` must be from 1 to 1000000 and `resolver_skew` from 0 to 10");
            return None;
        }
        Some(Dns {
            ttl: t.ttl,
            resolvers: t.resolvers,
            resolver_mix: Alias::zipf(t.resolvers as usize, t.resolver_skew),
            withdraw_after: t.withdraw_after,
            all_addresses: t.clients_use == AddressesTable::All,
        })
    }

    fn faults(&mut self, table: &ScenarioTable, pools: &[Pool], end: Nanos) -> Vec<Fault> {
        let mut faults = Vec::new();
        for fault in &table.faults {
            let t = fault.get_ref();
            let deploy = match *t.kind.get_ref() {
                WhatTable::Deploy { drain, restart } => Some((drain, restart)),
                _ => None,
            };
            let kind = match FaultKind::of(t.kind.get_ref()) {
                Err(_) if deploy.is_some() => FaultKind::Drain,
                Ok(kind) => kind,
                Err(message) => {
                    self.problem(t.kind.span(), message);
                    continue;
                }
            };
            let targets = self.targets(&t.target, pools, &table.balancers, kind);
            if kind == (FaultKind::Crash { silent: true }) && table.clients.timeout.is_none() {
                let message = "a silent crash without client time-outs leaves requests waiting for ever";
                self.problem(t.kind.span(), message).help =
                    Some("give the clients one: clients = { timeout = \"1s\" }".to_owned());
            }
            if *t.batch_size.get_ref() == 0 {
                self.problem(t.batch_size.span(), "`batch_size` must be above zero");
            }
            let batch_size = (*t.batch_size.get_ref()).max(1) as usize;
            if let Some((_, restart)) = deploy {
                if restart == Nanos::ZERO {
                    self.problem(t.kind.span(), "`restart` must be above zero");
                }
                if let Some(lasts) = &t.lasts {
                    self.problem(lasts.span(), "a deploy lasts `drain` and `restart`, and has no `for`");
                }
            }
            let stagger = match deploy {
                Some((drain, restart)) if t.stagger == Nanos::ZERO => drain + restart,
                _ => t.stagger,
            };
            if t.lasts.as_ref().is_some_and(|lasts| *lasts.get_ref() == Nanos::ZERO) {
                self.problem(t.lasts.as_ref().map_or(0..0, Spanned::span), "`for` must be above zero");
            }
            if *t.at.get_ref() >= end {
                self.problem(t.at.span(), format!("this is after the end of the run, {end} with the warm-up"));
            }
            if t.stagger > Nanos::ZERO && targets.len() == 1 {
                self.problem(t.target.span(), "`stagger` is the time from one server to the next, and this is one")
                    .help = Some("write `pool/*` for all servers of a pool".to_owned());
            }
            for (i, target) in targets.into_iter().enumerate() {
                if matches!(target, Target::Balancer(_)) && !matches!(kind, FaultKind::Crash { .. }) {
                    self.problem(t.kind.span(), "a balancer can crash, and nothing else");
                    break;
                }
                let inner = |pool: usize| pools.iter().any(|p| p.backend.as_ref().is_some_and(|b| b.pool == pool));
                if let (Target::Server { pool, .. }, FaultKind::Crash { silent: true }) = (target, kind)
                    && inner(pool)
                {
                    let message = "a silent crash in a second tier would hold its callers for ever: calls have no time-out of their own";
                    self.problem(t.kind.span(), message);
                    break;
                }
                let at = *t.at.get_ref() + Nanos(stagger.0.saturating_mul((i / batch_size) as u64));
                let lasts = deploy.map(|(drain, restart)| drain + restart);
                let until = lasts.or(t.lasts.as_ref().map(|lasts| *lasts.get_ref())).map(|lasts| at + lasts);
                let what = match kind {
                    FaultKind::Crash { silent: false } => "crash".to_owned(),
                    FaultKind::Crash { silent: true } => "silent crash".to_owned(),
                    FaultKind::Slow { factor } => format!("{factor}× slower"),
                    FaultKind::Errors { ratio, .. } => format!("{} % errors", (ratio * 100.0).round()),
                    FaultKind::Drain => "deploy".to_owned(),
                };
                let label = match target {
                    Target::Balancer(b) => format!("balancer/{}: {what}", b + 1),
                    Target::Server { pool, server } => {
                        format!("{}/{}: {what}", pools[pool].name, pools[pool].servers[server].name)
                    }
                };
                if let Some((drain, _)) = deploy {
                    let (kind, label) = (FaultKind::Crash { silent: false }, label.replace("deploy", "restart"));
                    faults.push(Fault { at: at + drain, until, target, kind, label });
                }
                faults.push(Fault { at, until, target, kind, label });
            }
        }
        faults
    }

    /// What stands in a zone; balancers can only crash.
    fn in_zone(
        &mut self,
        place: Range<usize>,
        zone: &str,
        pools: &[Pool],
        table: &BalancersTable,
        kind: FaultKind,
    ) -> Vec<Target> {
        let mut targets = Vec::new();
        for (p, pool) in pools.iter().enumerate() {
            let there = pool.servers.iter().enumerate().filter(|(_, server)| server.zone.as_deref() == Some(zone));
            targets.extend(there.map(|(server, _)| Target::Server { pool: p, server }));
        }
        let zones = table.zones.get_ref();
        if matches!(kind, FaultKind::Crash { .. }) && !zones.is_empty() {
            let there = (0..*table.count.get_ref()).filter(|&b| zones[b as usize % zones.len()].get_ref() == zone);
            targets.extend(there.map(Target::Balancer));
        }
        if targets.is_empty() {
            let names = pools.iter().flat_map(|pool| &pool.servers).filter_map(|server| server.zone.as_deref());
            let help = did_you_mean(zone, names.collect::<Vec<_>>().into_iter());
            self.problem(place, format!("nothing stands in zone `{zone}`")).help = Some(help);
        }
        targets
    }

    fn targets(
        &mut self,
        target: &Spanned<String>,
        pools: &[Pool],
        table: &BalancersTable,
        kind: FaultKind,
    ) -> Vec<Target> {
        let balancers = *table.count.get_ref();
        let text = target.get_ref();
        let Some((group, member)) = text.split_once('/') else {
            self.problem(target.span(), format!("`{text}` is not a target")).help =
                Some("write `pool/server`, `pool/*`, `balancer/1` or `zone/a`".to_owned());
            return Vec::new();
        };
        if group == "zone" && !pools.iter().any(|pool| pool.name == "zone") {
            return self.in_zone(target.span(), member, pools, table, kind);
        }
        if group == "balancer" {
            return match member.parse::<u32>() {
                Ok(number) if (1..=balancers).contains(&number) => vec![Target::Balancer(number - 1)],
                _ => {
                    self.problem(
                        target.span(),
                        format!("there is no balancer `{member}`: they are numbered from 1 to {balancers}"),
                    );
                    Vec::new()
                }
            };
        }
        let names: Vec<String> = pools.iter().map(|pool| pool.name.clone()).collect();
        let Some(pool) = self.find(&Spanned::new(target.span(), group.to_owned()), &names, "pool") else {
            return Vec::new();
        };
        let servers = &pools[pool].servers;
        if member == "*" {
            return (0..servers.len()).map(|server| Target::Server { pool, server }).collect();
        }
        match servers.iter().position(|server| server.name == member) {
            Some(server) => vec![Target::Server { pool, server }],
            None => {
                let help = did_you_mean(member, servers.iter().map(|server| server.name.as_str()));
                self.problem(target.span(), format!("there is no server `{member}` in pool `{group}`")).help =
                    Some(help);
                Vec::new()
            }
        }
    }

    fn contestants(&mut self, table: &ScenarioTable) -> Vec<Contestant> {
        let named = table.variants.iter().map(|t| (t.name.span(), t));
        let mut contestants: Vec<Contestant> = Vec::new();
        let mut spans: Vec<Range<usize>> = Vec::new();
        match &table.strategies {
            None if !table.variants.is_empty() => {}
            None => contestants.extend(CATALOGUE.iter().map(|row| Contestant::new((row.default)()))),
            Some(strategies) => {
                if let StrategyList::Set(set) = strategies.get_ref() {
                    contestants.extend(set.rows().map(|row| Contestant::new((row.default)())));
                } else if strategies.get_ref().listed().is_empty() && table.variants.is_empty() {
                    self.problem(strategies.span(), "no strategies are listed").help =
                        Some("leave `strategies` out to compare all of them".to_owned());
                }
                for strategy in strategies.get_ref().listed() {
                    contestants.push(Contestant::new(strategy.get_ref().0.clone()));
                    spans.push(strategy.span());
                }
            }
        }
        for (span, t) in named {
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
            if t.name.get_ref().trim().is_empty() || !t.name.get_ref().chars().all(plain) {
                let message = "the `name` in `variants` is made of letters, digits, blanks and `_-.`";
                self.problem(t.name.span(), message);
            }
            contestants.push(Contestant::named(t.name.get_ref(), t.strategy.get_ref().0.clone()));
            spans.push(span);
        }
        // Those of a set have no place of their own, and stand first.
        let first = contestants.len() - spans.len();
        for (i, span) in (first..).zip(spans) {
            if contestants[..i].iter().any(|c| c.label == contestants[i].label) {
                self.problem(span, format!("`{}` is listed twice", contestants[i].label)).help =
                    Some("give the second a name of its own: [[variants]] with `name` and `strategy`".to_owned());
            }
        }
        contestants
    }

    fn expects(&mut self, table: &ScenarioTable, contestants: &[Contestant]) -> Vec<expect::Expect> {
        let mut expects = Vec::new();
        for expect in &table.expect {
            let t = expect.get_ref();
            match expect::parse(t.assert.get_ref(), &t.reason, t.assert.span()) {
                Err(message) => {
                    self.problem(t.assert.span(), message);
                }
                Ok(mut expect) => {
                    for side in [&mut expect.left, &mut expect.right] {
                        let expect::Side::Metric { strategy, .. } = side else { continue };
                        let known = |label: &str| contestants.iter().any(|c| c.label == label);
                        // By any of its names, unless it is that of a contestant.
                        if let (false, Ok(table)) = (known(strategy), catalog::parse(strategy)) {
                            *strategy = Contestant::new(table).label;
                        }
                        if !known(strategy) {
                            let help = did_you_mean(strategy, contestants.iter().map(|c| c.label.as_str()));
                            let message = format!("strategy `{strategy}` is not in this scenario's comparison");
                            self.problem(t.assert.span(), message).help = Some(help);
                        }
                    }
                    expects.push(expect);
                }
            }
        }
        expects
    }

    /// Offered work over capacity; refuses what could never drain.
    fn offered_load(
        &mut self,
        table: &ScenarioTable,
        arrivals: &Arrivals,
        demand: &mut [PoolDemand],
        span: Nanos,
    ) -> Option<f64> {
        let rate = match arrivals {
            Arrivals::Poisson(curve) if curve.points.len() == 1 => curve.points[0].1,
            Arrivals::Poisson(curve) => curve.mean(span.as_secs_f64()),
            Arrivals::Constant { gap } => 1e9 / gap,
            Arrivals::Renewal { distribution, scale } => 1e9 / (distribution.mean() * scale),
            Arrivals::Replay(_) | Arrivals::Closed { .. } => return None,
        };
        let tables = table.pools.get_ref();
        // A cache can save work, at best down to the cost of a hit.
        let relief = |pool: usize| {
            let caches =
                tables[pool].get_ref().servers.get_ref().iter().map(|server| {
                    server.get_ref().cache.as_ref().map_or(1.0, |cache| cache.get_ref().hit_cost.0.min(1.0))
                });
            caches.fold(1.0, f64::min)
        };
        for (pool, demand) in demand.iter_mut().enumerate().take(tables.len()) {
            demand.rate = Some(rate);
            let (work, capacity) = (demand.work, demand.capacity);
            let load = rate * work * relief(pool) / capacity;
            if load >= 1.0 && !table.allow_overload && capacity > 0.0 {
                let message = format!(
                    "this can never drain: pool `{}` is offered {load:.2} times what its servers can do ({} of work per second for a capacity of {capacity})",
                    tables[pool].get_ref().name.get_ref(),
                    evenkeel_core::units::human_seconds(rate * work),
                );
                let place = self.amount_span(table);
                self.problem(place, message).help = Some(
                    "lower the rate, add servers, or say `allow_overload = true` if overload is the question"
                        .to_owned(),
                );
            }
        }
        // What a cache saves the second tier nobody knows beforehand.
        if tables.iter().any(|pool| pool.get_ref().backend.as_ref().is_some_and(|backend| backend.get_ref().on_miss)) {
            return None;
        }
        demand.iter().map(|pool| rate * pool.work / pool.capacity).reduce(f64::max)
    }

    fn amount_span(&self, table: &ScenarioTable) -> Range<usize> {
        match table.arrivals.get_ref() {
            ArrivalsTable::Poisson(amount) | ArrivalsTable::Constant(amount) => {
                let rate = amount.rate.as_ref().map(Spanned::span);
                rate.or(amount.load.as_ref().map(Spanned::span)).unwrap_or_else(|| table.arrivals.span())
            }
            ArrivalsTable::Renewal { rate, load, interarrival, .. } => {
                let given = rate.as_ref().map(Spanned::span).or(load.as_ref().map(Spanned::span));
                given.unwrap_or_else(|| interarrival.span())
            }
            _ => table.arrivals.span(),
        }
    }
}

/// Whether the servers of this pool call the pool of that name.
fn calls(pool: &Spanned<evenkeel_config::pool::PoolTable>, name: &str) -> bool {
    pool.get_ref().backend.as_ref().is_some_and(|backend| backend.get_ref().pool.get_ref() == name)
}

/// An address for a client that is known by name: in 100.64.0.0/10, set aside for such use (RFC 6598).
fn stand_in(name: &str) -> IpAddr {
    let hash = name.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    IpAddr::from((0x6440_0000_u32 | (hash as u32 & 0x003f_ffff)).to_be_bytes())
}
