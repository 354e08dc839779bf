//! Builds an experiment from tables: resolves every name, checks every number, reads every file. All problems are collected,
//! so that one run of the tool shows all of them.

mod arrivals;
mod balancers;
mod comparison;
mod faults;
mod pools;
mod traffic;

use std::ops::Range;

use super::table::*;
use super::{Files, Kind, PoolDemand, Scenario};
use crate::sim::model::*;
use evenkeel_config::Spanned;
use evenkeel_config::diagnostic::{Problem, Problems, did_you_mean};
use evenkeel_config::distribution::{self, Alias, Distribution, Sampler};
use evenkeel_core::policy::routes::Routes;
use evenkeel_core::select::catalog;
use evenkeel_core::units::Nanos;

/// Maximum number of (shard, server) pairs of a run.
const MOST_VIEWS: u64 = 2_000_000;

/// Duration and warm-up of a run.
struct Spans {
    warmup: Nanos,
    cache_warmup: Nanos,
    duration: Nanos,
    auto_warmup: bool,
    auto_cache_warmup: bool,
}

/// Number of replications and resolution of the records.
struct Counts {
    replications: u32,
    bins: u32,
    batches: u32,
    max_in_system: u32,
}

/// The traffic of each pool.
struct Traffic {
    pools: Vec<Pool>,
    routes: Routes,
    /// Paths with their shares.
    paths: Vec<(Path, f64)>,
    demand: Vec<PoolDemand>,
    /// `None` where they are invalid, which has been reported.
    arrivals: Option<Arrivals>,
}

struct Builder<'a> {
    /// The text of the file.
    source: &'a str,
    problems: Problems,
    warnings: Problems,
    refusals: Problems,
    files: Files<'a>,
}

pub(super) fn build(name: &str, source: &str, table: ScenarioTable, files: Files<'_>) -> Result<Scenario, Problems> {
    let mut b = Builder { source, problems: Vec::new(), warnings: Vec::new(), refusals: Vec::new(), files };
    let scenario = b.scenario(name, table);
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
    fn scenario(&mut self, name: &str, table: ScenarioTable) -> Option<Scenario> {
        self.texts(&table);
        let Spans { warmup, cache_warmup, duration, auto_warmup, auto_cache_warmup } = self.spans(&table);
        let Traffic { pools, routes, paths, mut demand, arrivals } = self.traffic(&table, warmup + duration);
        let clients = self.clients(&table, &arrivals);
        let faults = self.faults(&table, &pools, warmup + duration);
        let (balancers, dns) = (self.balancers(&table), self.dns(&table));
        let variants = self.variants(&table);
        let expects = self.expects(&table, &variants);
        let client_leg = self.delay(table.network.client.as_ref());
        let server_leg = self.delay(table.network.server.as_ref());
        let Counts { replications, bins, batches, max_in_system } = self.counts(&table);
        let (sweep, sensitivity) = (self.sweep(&table), self.sensitivity(&table));
        let batch = self.batch(&table);
        let arrivals = arrivals?;
        self.time_passes(&table, &arrivals, &paths, &pools, [&client_leg, &server_leg]);
        let offered_load = self.offered_load(&table, &arrivals, &mut demand, warmup + duration);
        if paths.is_empty() || pools.is_empty() || !self.problems.is_empty() {
            return None;
        }
        let (notes, remarks) = (notes(&paths), self.remarks(&table));
        let model = Model {
            warmup,
            duration,
            drain: table.drain.unwrap_or(duration),
            cache_warmup,
            bins,
            batches,
            max_in_system,
            arrivals,
            batch,
            clients,
            path_mix: Alias::new(&paths.iter().map(|path| path.1).collect::<Vec<_>>()),
            paths: paths.into_iter().map(|path| path.0).collect(),
            client_leg,
            server_leg,
            cross_zone: table.network.cross_zone.unwrap_or_default(),
            dns,
            balancers,
            pools,
            faults,
            load_changes: Vec::new(),
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
            variants,
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
            offered_load,
            pools: table.pools.into_inner().into_iter().map(Spanned::into_inner).collect(),
            routes,
            acts: Vec::new(),
        })
    }

    /// The traffic of each pool, up to the end of the run.
    fn traffic(&mut self, table: &ScenarioTable, end: Nanos) -> Traffic {
        let pools = self.pools(table);
        let routes = self.routes(table, &pools);
        let mut paths = self.paths(table, &routes);
        let mut demand = self.demand(&paths, &pools);
        let arrivals = self.arrivals(table, &mut paths, &routes, &demand, end);
        if let Some(Arrivals::Replay(_)) = &arrivals {
            // The paths are those of the recording from here on.
            demand = self.demand(&paths, &pools);
        }
        Traffic { pools, routes, paths, demand, arrivals }
    }

    fn texts(&mut self, table: &ScenarioTable) {
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
    }

    fn counts(&mut self, table: &ScenarioTable) -> Counts {
        let place = |key: &Option<Spanned<u32>>| key.as_ref().map_or(0..0, Spanned::span);
        let value = |key: &Option<Spanned<u32>>, default| key.as_ref().map_or(default, |key| *key.get_ref());
        let replications = value(&table.replications, 10);
        if replications == 0 || replications > 10_000 {
            self.problem(place(&table.replications), "`replications` must be from 1 to 10000");
        }
        let bins = value(&table.bins, 100);
        if bins > 10_000 {
            self.problem(place(&table.bins), "`bins` is above 10000");
        }
        if let Some(batches) = table.batches.as_ref().filter(|batches| !(10..=1000).contains(batches.get_ref())) {
            self.problem(batches.span(), "`batches` must be from 10 to 1000").help =
                Some("20 to 30 are usual; more are too short to be independent".to_owned());
        }
        let max_in_system = value(&table.max_in_system, MAX_IN_SYSTEM);
        if !(1..=100_000_000).contains(&max_in_system) {
            self.problem(place(&table.max_in_system), "`max_in_system` must be from 1 to 100000000");
        }
        Counts { replications, bins, batches: value(&table.batches, 0), max_in_system }
    }

    /// Differences where a strategy is named by another product's name for a similar algorithm.
    fn remarks(&self, table: &ScenarioTable) -> Vec<String> {
        let pools_own = table.pools.get_ref().iter().filter_map(|pool| pool.get_ref().strategy.as_ref());
        let listed = table.strategies.iter().flat_map(|strategies| strategies.get_ref().listed());
        let written = listed.chain(table.variants.iter().map(|t| &t.strategy)).chain(pools_own);
        written.filter_map(|strategy| catalog::remark_on(self.source.get(strategy.span())?)).collect()
    }

    fn problem(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Problem {
        self.problems.push(Problem::at(span, message));
        self.problems.last_mut().expect("just pushed")
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
        // Where a pilot finds the warm-up, it finds the caches' warm-up as well, unless the scenario sets it.
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
}

/// Notes for a reader of the results.
fn notes(paths: &[(Path, f64)]) -> Vec<String> {
    let few = paths.len() < 10 && paths.iter().all(|path| matches!(path.0.keys, Keys::Path));
    let note = || {
        format!(
            "requests have no `keys`: a hash by key sends all requests of a path to one server ({} in all); caches hold the answer at once",
            if paths.len() == 1 { "one path".to_owned() } else { format!("{} paths", paths.len()) }
        )
    };
    few.then(note).into_iter().collect()
}
