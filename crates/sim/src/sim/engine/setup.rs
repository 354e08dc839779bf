//! Builds the engine and schedules the first events.

use std::sync::Arc;

use super::{Dispatcher, Engine, LinkDelay, Resolver, Setup, View, dns, invariants, job, measuring, network};
use crate::sim::event::Event;
use crate::sim::model::{Arrivals, IdleNotice, Model, Pool, Reports};
use crate::sim::observer::Observer;
use crate::sim::queue::{Deadlines, Queue};
use crate::sim::record::{ARRIVAL_BINS, ArrivalBin, ClassRecord, Measured, SeriesRecorder};
use crate::sim::server::ServerState;
use crate::sim::workload::Workload;
use evenkeel_config::distribution::Sampler;
use evenkeel_core::policy::balancer::{Balancer, ShardSetup};
use evenkeel_core::policy::partition;
use evenkeel_core::policy::pool::{NewServer, ShardId};
use evenkeel_core::rng::{Keyed, Rng, Source};
use evenkeel_core::select::Signals;
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::units::Nanos;

/// Whether clients of this pool have affinity to servers.
fn has_affinity(pool: &Pool) -> bool {
    pool.policy.sticky.is_some() || pool.connections.is_some()
}

/// By pool: deadlines for its attempts' own timeouts, where it has them.
fn per_try_deadlines(model: &Model, queue: &mut Queue) -> Vec<Option<Deadlines>> {
    let tries = |pool: &Pool| pool.policy.retries.and_then(|rules| rules.per_try_timeout).is_some();
    model.pools.iter().map(|pool| tries(pool).then(|| queue.deadlines())).collect()
}

/// The reports that a pool's servers send, of those that the strategy wants.
fn signals_of(pool: &Pool, wanted: Signals) -> Signals {
    let reports = pool.reports.unwrap_or_default();
    Signals {
        notices: reports.idle_notifications.map_or(wanted.notices, |idle| idle == IdleNotice::One),
        with_answers: reports.with_answers.unwrap_or(wanted.with_answers),
        ..wanted
    }
}

/// Deadlines for limits that are all of one length.
fn deadlines(limit: Option<&Sampler>, queue: &mut Queue) -> Option<Deadlines> {
    matches!(limit, Some(Sampler::Constant(_))).then(|| queue.deadlines())
}

/// The delays of the network, with a lane for each that is constant.
fn network(model: &Model, seed: u64, queue: &mut Queue) -> network::Network {
    let mut hop = |distribution: &Sampler| match *distribution {
        Sampler::Constant(Nanos::ZERO) => LinkDelay::None,
        Sampler::Constant(delay) => LinkDelay::Constant(delay, queue.lane()),
        _ => LinkDelay::Drawn,
    };
    let (client_hop, server_hop) = (hop(&model.client_leg), hop(&model.server_leg));
    let cross_hop = match server_hop {
        same if model.cross_zone == Nanos::ZERO => same,
        LinkDelay::None => hop(&Sampler::Constant(model.cross_zone)),
        LinkDelay::Constant(delay, _) => hop(&Sampler::Constant(delay.saturating_add(model.cross_zone))),
        LinkDelay::Drawn => LinkDelay::Drawn,
    };
    network::Network {
        client_hop,
        answer_hop: match client_hop {
            LinkDelay::Constant(delay, _) => Some(delay),
            LinkDelay::None | LinkDelay::Drawn => None,
        },
        server_hop,
        cross_hop,
        balancer_zones: Vec::new(),
        server_zones: Vec::new(),
        legs: Keyed::new(seed, "network"),
        inner_legs: Keyed::new(seed, "inner network"),
    }
}

impl<'a, O: Observer> Engine<'a, O> {
    pub(super) fn new(setup: &Setup<'a>, observer: O) -> Engine<'a, O> {
        let Setup { model, strategy, seed, stream_name } = *setup;
        let mut queue = Queue::new();
        let network = network(model, seed, &mut queue);
        let answers_come = O::WATCHES || matches!(model.arrivals, Arrivals::Closed { .. });
        if network.answer_hop.is_some() && answers_come {
            queue.let_answers_come();
        }
        let timeouts = deadlines(model.clients.timeout.as_ref(), &mut queue);
        let patience = deadlines(model.clients.patience.as_ref(), &mut queue);
        let per_try = per_try_deadlines(model, &mut queue);
        let inner: Vec<bool> = (0..model.pools.len())
            .map(|p| model.pools.iter().any(|q| q.backend.as_ref().is_some_and(|b| b.pool == p)))
            .collect();
        let entries = model.pools.len() - inner.iter().filter(|&&i| i).count();
        let span = model.warmup + model.duration;
        let requests = Measured {
            pools: vec![ClassRecord::default(); if entries > 1 { model.pools.len() } else { 0 }],
            paths: vec![ClassRecord::default(); if model.paths_are_told_apart() { model.paths.len() } else { 0 }],
            balancers: vec![0; model.balancers.count as usize],
            server_time: vec![
                0;
                if model.pools.iter().any(|pool| pool.autoscale.is_some()) {
                    model.pools.len()
                } else {
                    0
                }
            ],
            ..Measured::default()
        };
        // Pools have a time series each if there are several entry pools or a pool has autoscaling.
        let told_apart = entries > 1 || model.pools.iter().any(|pool| pool.autoscale.is_some());
        let at_first = |pool: &Pool| pool.autoscale.map_or(pool.servers.len() as u32, |rules| rules.initial_servers);
        let servers_at_first = if told_apart { model.pools.iter().map(at_first).collect() } else { Vec::new() };
        let mut engine = Engine {
            model,
            observer,
            now: Nanos::ZERO,
            key: 0,
            events: 0,
            answered: 0,
            queue,
            workload: Workload::new(model, seed),
            jobs: job::slots(model.max_in_system),
            free: Vec::new(),
            servers: Vec::new(),
            bases: Vec::new(),
            dispatchers: Vec::new(),
            first_dispatcher: Vec::new(),
            routes: Vec::new(),
            views: Vec::new(),
            request_attempts: Vec::new(),
            inquiries: Vec::new(),
            tickets: Vec::new(),
            carried: Vec::new(),
            carries: false,
            idle_notices: false,
            signals: Vec::new(),
            idle_rng: Rng::stream(seed, "idle notices", 0),
            affinities: Vec::new(),
            uses_affinity: model.pools.iter().any(has_affinity),
            closing: Keyed::new(seed, "connection"),
            scalers: Vec::new(),
            jitter: Rng::stream(seed, "check jitter", 0),
            seed,
            messages: Vec::new(),
            free_messages: Vec::new(),
            timeouts,
            patience,
            per_try,
            draws: Keyed::new(seed, "luck"),
            inner_draws: Keyed::new(seed, "inner luck"),
            thinking: Keyed::new(seed, "think"),
            inner_work: (0..model.pools.len()).map(|p| Keyed::new(seed, &format!("inner {p}"))).collect(),
            sent: Vec::new(),
            mean_work: model.paths.iter().map(|path| Nanos::from_nanos_f64(path.service.mean())).collect(),
            instant: Vec::new(),
            next_origin: None,
            struck: Vec::new(),
            load_factors: Vec::new(),
            measuring: measuring::Measuring {
                over: false,
                spans: vec![requests; model.batches.max(1) as usize],
                batches_over: 0,
                measured_from: Vec::new(),
                cached_from: Vec::new(),
                batch_from: Vec::new(),
                measured_servers: Vec::new(),
                series: SeriesRecorder::new(span, model.bins, servers_at_first),
                settling: vec![ArrivalBin::default(); ARRIVAL_BINS],
                settling_scale: ARRIVAL_BINS as f64 / span.0.max(1) as f64,
                tenths: Vec::new(),
            },
            totals: invariants::RunTotals::default(),
            names: dns::Names {
                balancers_up: vec![true; model.balancers.count as usize],
                listed: vec![true; model.balancers.count as usize],
                resolvers: Vec::new(),
                resolver_of: Vec::new(),
                rotation: 0,
            },
            network,
        };
        engine.build_pools(strategy, seed, stream_name, &inner);
        engine.begin(seed);
        engine
    }

    /// Servers, fleets and selectors.
    pub(super) fn build_pools(&mut self, strategy: &StrategyConfig, seed: u64, stream_name: &str, inner: &[bool]) {
        if self.model.has_zones() {
            self.number_zones();
        }
        let stream = if stream_name.is_empty() { "select".to_owned() } else { format!("select {stream_name}") };
        for (p, pool) in self.model.pools.iter().enumerate() {
            self.bases.push(self.servers.len() as u32);
            self.servers.extend(pool.servers.iter().map(ServerState::new));
            self.first_dispatcher.push(self.dispatchers.len() as u32);
            let table = pool.strategy.as_ref().unwrap_or(strategy);
            let wanted = table.signals();
            let balancers = &self.model.balancers;
            let dispatchers: Vec<u32> = if inner[p] {
                vec![u32::MAX; pool.inner_shards as usize]
            } else {
                (0..balancers.count).flat_map(|b| (0..balancers.shards).map(move |_| b)).collect()
            };
            for (i, &balancer) in dispatchers.iter().enumerate() {
                let shared =
                    balancers.shared_in_flight && balancer != u32::MAX && i > 0 && dispatchers[i - 1] == balancer;
                if !shared {
                    let per_balancer = if balancers.shared_in_flight { 1 } else { balancers.shards };
                    let shard_id = match balancer {
                        u32::MAX => ShardId { number: i as u32, of: pool.inner_shards, zone: None, seed },
                        _ => ShardId {
                            number: if balancers.shared_in_flight { balancer } else { i as u32 },
                            of: balancers.count * per_balancer,
                            zone: balancers.zone(balancer).map(str::to_owned),
                            seed,
                        },
                    };
                    let mut core = Balancer::new(Arc::clone(&pool.policy), shard_id);
                    if self.observer.records() && (!balancers.shared_in_flight || balancers.shards == 1) {
                        core.record(Nanos::ZERO);
                    }
                    core.join_all(pool.servers.iter().map(|server| NewServer {
                        name: &server.name,
                        weight: server.weight,
                        limit: server.max_in_flight,
                        priority: server.priority,
                        zone: server.zone.as_deref(),
                    }));
                    self.views.push(View {
                        balancer: core,
                        pool: p as u32,
                        owner: balancer,
                        reported: Vec::new(),
                        checked: Vec::new(),
                        dispatchers: Vec::new(),
                        tick_at: Nanos::MAX,
                    });
                }
                let number = self.dispatchers.len() as u32;
                let fleet = self.views.len() as u32 - 1;
                self.views[fleet as usize].dispatchers.push(number);
                let mut rng = Rng::stream(seed, &stream, u64::from(number));
                let selector = partition::build(table, &pool.policy, &mut rng);
                let oracle = table.oracle();
                if i == 0 {
                    let signals = signals_of(pool, wanted);
                    self.carries |= signals.with_answers;
                    self.idle_notices |= signals.notices;
                    self.signals.push(signals);
                }
                let policy_rng = Rng::stream(seed, "policy", u64::from(number));
                let view = &mut self.views[fleet as usize];
                let shard = view.balancer.add_shard(ShardSetup { strategy: table, selector, rng, policy_rng });
                let tries = pool.tries();
                let base = self.bases[p];
                self.dispatchers.push(Dispatcher { pool: p as u32, base, fleet, shard, oracle, tries });
            }
            self.affinities.push(vec![None; if has_affinity(pool) { self.model.client_count() } else { 0 }]);
        }
        self.routes = self.model.paths.iter().map(|path| self.first_dispatcher[path.pool]).collect();
        self.furnish_scalers();
        for fleet in 0..self.views.len() as u32 {
            self.announce(fleet);
            self.schedule_tick(fleet);
        }
    }

    /// Schedules the first events.
    pub(super) fn begin(&mut self, seed: u64) {
        let phases = Keyed::new(seed, "phase");
        for f in 0..self.views.len() as u32 {
            let view = &self.views[f as usize];
            if let Some(rules) = &self.model.pools[view.pool as usize].policy.health {
                for slot in 0..view.balancer.pool().fleet.slots() as u32 {
                    let phase = phases.at(u64::from(f) << 20 | u64::from(slot)).unit();
                    let at = Nanos::from_nanos_f64(rules.interval.0 as f64 * phase);
                    self.queue.push(at, Event::Check(f, slot));
                }
            }
        }
        for (p, pool) in self.model.pools.iter().enumerate() {
            if let Some(Reports { interval: Some(interval), synchronised, .. }) = pool.reports {
                for server in self.bases[p]..self.bases[p] + pool.servers.len() as u32 {
                    let phase = if synchronised { 1.0 } else { phases.at(1 << 50 | u64::from(server)).unit() };
                    let at = Nanos::from_nanos_f64(interval.0 as f64 * phase);
                    self.queue.push(at, Event::Report(server));
                }
            }
        }
        self.schedule_acts();
        if let Some(dns) = &self.model.dns {
            let draws = Keyed::new(seed, "resolver");
            // Resolvers queried at different times before the run began, so their entries expire at different times.
            let ages = Keyed::new(seed, "answer age");
            let answered = |i: u32| {
                let left = dns.ttl.0 as f64 * ages.at(u64::from(i)).unit();
                Resolver {
                    balancer: i % self.model.balancers.count,
                    addresses: if dns.all_addresses { (0..self.model.balancers.count).collect() } else { Vec::new() },
                    expires: Nanos::from_nanos_f64(left),
                }
            };
            self.names.resolvers = (0..dns.resolvers).map(answered).collect();
            self.names.rotation = dns.resolvers;
            self.names.resolver_of = (0..self.model.client_count() as u64)
                .map(|client| dns.resolver_mix.sample(&mut draws.at(client)))
                .collect();
        }
        if let Arrivals::Closed { think } = &self.model.arrivals {
            self.sent = vec![0; self.model.clients.addresses.len()];
            self.instant = vec![0; self.sent.len()];
            for client in 0..self.sent.len() as u32 {
                let at = think.sample(&mut self.thinking.at(u64::from(client) << 32));
                self.queue.push(at, Event::Thought(client));
            }
        }
        let (warmup, duration) = (self.model.warmup, self.model.duration);
        self.queue.push(warmup, Event::Measure);
        self.queue.push(self.model.cache_warmup.clamp(warmup, warmup + duration), Event::CachesWarm);
        let part = |i: u32, of: u32| warmup + Nanos((u128::from(duration.0) * u128::from(i) / u128::from(of)) as u64);
        (1..10).for_each(|i| self.queue.push(part(i, 10), Event::Tenth));
        (1..self.model.batches).for_each(|i| self.queue.push(part(i, self.model.batches), Event::BatchEnds));
        self.queue.push(warmup + duration, Event::Over);
        self.schedule_arrival();
    }
}
