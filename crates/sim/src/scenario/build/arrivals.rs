//! Arrivals: rates, batches, closed loops, replayed logs; and whether the servers can serve them.

use std::net::IpAddr;
use std::ops::Range;

use super::super::table::*;
use super::super::{PoolDemand, workload_file};
use super::Builder;
use crate::sim::model::*;
use evenkeel_config::Spanned;
use evenkeel_config::diagnostic::Problem;
use evenkeel_config::distribution::Sampler;
use evenkeel_core::policy::routes::Routes;
use evenkeel_core::rng::mix;
use evenkeel_core::units::{Nanos, Rate, Ratio};

impl Builder<'_> {
    pub(super) fn arrivals(
        &mut self,
        table: &ScenarioTable,
        paths: &mut Vec<(Path, f64)>,
        routes: &Routes,
        demand: &[PoolDemand],
        span: Nanos,
    ) -> Option<Arrivals> {
        let place = table.arrivals.span();
        let mut positive = |rate: &Spanned<Rate>| {
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
                // Nanoseconds; gaps of zero, or shorter than the clock's resolution, would stop simulated time.
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

    /// Rejects a closed loop in which nothing takes any time: its clients would send for ever in one instant. Over sockets
    /// every request takes time.
    pub(super) fn time_passes(
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

    /// The batch size distribution.
    pub(super) fn batch(&mut self, table: &ScenarioTable) -> Option<BatchSize> {
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
        rate: &Option<Spanned<Rate>>,
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
        self.recorded_paths(&recording, file, paths, routes)?;
        let entry =
            |&(arrival, client, path, bytes): &(Nanos, u32, u32, u32)| Recorded { arrival, client, path, bytes };
        let entries: Vec<Recorded> = recording.entries.iter().map(entry).collect();
        let (first, last) = (entries.first()?.arrival, entries.last()?.arrival);
        // The next round starts one mean gap after the last request.
        let gap = (last - first).0 / (entries.len() as u64 - 1).max(1);
        let period = Nanos((last.0 + gap).max(1));
        self.replay_fits(file, *speed.get_ref(), repeat, &entries, span)?;
        let parse = |name: &String| name.parse::<IpAddr>().unwrap_or_else(|_| stand_in(name));
        Some(Arrivals::Replay(Replay {
            entries: entries.into(),
            clients: recording.clients.iter().map(parse).collect(),
            speed: *speed.get_ref(),
            repeat: repeat.then_some(period),
        }))
    }

    /// Every recorded path becomes a path of its own, with the work of the longest matching `[[paths]]` prefix.
    fn recorded_paths(
        &mut self,
        recording: &workload_file::Recording,
        file: &Spanned<String>,
        paths: &mut Vec<(Path, f64)>,
        routes: &Routes,
    ) -> Option<()> {
        let fitting = Routes::of_prefixes(paths.iter().enumerate().map(|(i, path)| (path.0.path.clone(), i)));
        let mut counts = vec![0.0; recording.paths.len()];
        recording.entries.iter().for_each(|entry| counts[entry.2 as usize] += 1.0);
        let mut recorded = Vec::new();
        for (path, count) in recording.paths.iter().zip(counts) {
            // A target that matches no path of the file ("*", a full URL, invalid requests of bots) is served like the root.
            let like = |path: &str| Some((fitting.find(None, path)?, routes.find(None, path)?));
            let Some((template, pool)) = like(path).or_else(|| like("/")) else {
                self.problem(file.span(), format!("recorded path `{path}` fits no [[paths]] or no route"));
                return None;
            };
            let Path { service, per_byte, keys, .. } = paths[template].0.clone();
            recorded.push((Path { path: path.clone(), pool, service, per_byte, keys }, count));
        }
        *paths = recorded;
        Some(())
    }

    /// Whether the recording has requests for the whole run of length `span`.
    fn replay_fits(
        &mut self,
        file: &Spanned<String>,
        speed: f64,
        repeat: bool,
        entries: &[Recorded],
        span: Nanos,
    ) -> Option<()> {
        let (first, last) = (entries.first()?.arrival, entries.last()?.arrival);
        let played = (last - first).as_secs_f64() / speed;
        let begins = first.as_secs_f64() / speed;
        if begins >= span.as_secs_f64() {
            let begins = Nanos::from_secs_f64(begins);
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
            let played = Nanos::from_secs_f64(played);
            self.problem(file.span(), format!("the recording is over after {played} of the {span} that are run"))
                .help = Some("add `loop = true`, lower `speed`, or shorten `duration` and `warmup`".to_owned());
        }
        Some(())
    }

    /// Offered work over capacity; refuses scenarios that are overloaded.
    pub(super) fn offered_load(
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
        // A cache can reduce work, at best down to the cost of a hit.
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
        // How much a cache reduces the load of the second tier is known only after a run.
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

/// An address for a client that is logged by host name: in 100.64.0.0/10, shared address space (RFC 6598).
fn stand_in(name: &str) -> IpAddr {
    let hash = name.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    IpAddr::from((0x6440_0000_u32 | (hash as u32 & 0x003f_ffff)).to_be_bytes())
}
