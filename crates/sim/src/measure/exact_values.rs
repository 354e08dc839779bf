//! Which theorem applies to a scenario, and its value. All assumptions must hold exactly: with a fault, a timeout, a cache,
//! a second tier or a changing rate there is no theorem.

use crate::scenario::{Kind, Scenario};
use crate::sim::model::{Arrivals, Model};
use evenkeel_config::distribution::Sampler;
use evenkeel_config::pool::{Discipline, Server};
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::units::Nanos;
use evenkeel_theory::chains::{self, Rule, Ties};
use evenkeel_theory::{ConstantService, dispatch, queues};

/// The exact latency of a scenario to which a theorem applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Exact {
    /// Mean latency, seconds.
    pub mean: f64,
    /// 99th percentile of the latency, seconds; `None` where theory has none.
    pub p99: Option<f64>,
    /// Name of the theorem, for example `M/M/1`.
    pub theorem: String,
    /// Number of queues with arrivals of their own: 1 where all servers share one queue.
    pub queues: f64,
}

const Q: f64 = 0.99;

/// Highest load for chains that are solved state by state: closer to 1 a solution takes minutes.
const MOST_LOAD: f64 = 0.99;

/// The exact values for a strategy in a scenario; `None` where no theorem's assumptions are met.
pub fn exact(scenario: &Scenario, strategy: &StrategyConfig) -> Option<Exact> {
    let model = &scenario.model;
    let [pool] = &model.pools[..] else { return None };
    let [path] = &model.paths[..] else { return None };
    let plain = scenario.kind == Kind::Steady
        && model.faults.is_empty()
        && model.load_changes.is_empty()
        && model.dns.is_none()
        && model.cross_zone == Nanos::ZERO
        && model.clients.timeout.is_none()
        && model.clients.patience.is_none()
        && model.batch.is_none()
        && pool.backend.is_none()
        && pool.is_bare()
        && path.per_byte == 0.0
        && pool.servers.iter().all(|server| server.cache.is_none());
    if !plain {
        return None;
    }
    // A server of weight zero gets no requests, under any strategy.
    let servers: Vec<&Server> = pool.servers.iter().filter(|server| server.weight > 0).collect();
    let legs = 2.0 * (constant(&model.client_leg)? + constant(&model.server_leg)?);
    let fleet = Fleet { model, servers: &servers, work: Work::of(&path.service), hop: constant(&model.server_leg)? };
    let found = fleet.solve(pool.strategy.as_ref().unwrap_or(strategy))?;
    let p99 = found.p99.filter(|p99| p99.is_finite());
    found.mean.is_finite().then(|| Exact { mean: found.mean + legs, p99: p99.map(|p99| p99 + legs), ..found })
}

/// A constant delay, seconds; `None` for a random one.
fn constant(sampler: &Sampler) -> Option<f64> {
    if let Sampler::Constant(value) = sampler { Some(value.as_secs_f64()) } else { None }
}

/// Moments of the work of a request, at speed 1.
#[derive(Clone, Copy)]
struct Work {
    /// Mean, seconds.
    mean: f64,
    /// Squared coefficient of variation.
    scv: f64,
    exponential: bool,
    constant: bool,
}

impl Work {
    fn of(sampler: &Sampler) -> Work {
        Work {
            mean: sampler.mean() / 1e9,
            scv: sampler.squared_variation(),
            exponential: matches!(sampler, Sampler::Exponential { .. }),
            constant: matches!(sampler, Sampler::Constant(_)),
        }
    }
}

fn known(theorem: impl Into<String>, mean: f64, p99: Option<f64>) -> Option<Exact> {
    Some(Exact { mean, p99, theorem: theorem.into(), queues: 1.0 })
}

struct Fleet<'a> {
    model: &'a Model,
    servers: &'a [&'a Server],
    work: Work,
    /// Delay from balancer to server, seconds: for this time a request is not yet counted at the server.
    hop: f64,
}

impl Fleet<'_> {
    fn solve(&self, strategy: &StrategyConfig) -> Option<Exact> {
        match &self.model.arrivals {
            Arrivals::Poisson(curve) => {
                let rate = curve.points.first()?.1;
                let steady = curve.points.iter().all(|(_, r)| *r == rate);
                steady.then(|| self.poisson(strategy, rate)).flatten()
            }
            Arrivals::Constant { gap } => {
                let [server] = self.servers else { return None };
                let mu = self.simple(server)?;
                let mean = dispatch::regular_mean(1e9 / gap, mu);
                // The sojourn is exponential.
                known("D/M/1", mean, Some(queues::mm1_quantile(0.0, 1.0 / mean, Q)))
            }
            Arrivals::Closed { think: Sampler::Exponential { mean } } => {
                let [server] = self.servers else { return None };
                let mu = self.work.exponential.then(|| server.speed / self.work.mean)?;
                let one_queue = server.discipline == Discipline::Fcfs && server.queue_limit.is_none();
                let near = self.hop == 0.0 && constant(&self.model.client_leg) == Some(0.0);
                let clients = self.model.clients.addresses.len() as u32;
                (one_queue && near).then(|| {
                    let closed = queues::repairman(clients, mean / 1e9, mu, server.concurrency);
                    Exact { mean: closed.mean, p99: None, theorem: "machine repairman".to_owned(), queues: 1.0 }
                })
            }
            _ => None,
        }
    }

    fn poisson(&self, strategy: &StrategyConfig, lam: f64) -> Option<Exact> {
        let n = self.servers.len() as u32;
        let balancers = &self.model.balancers;
        let alone = balancers.count * balancers.shards == 1;
        let even = self.servers.iter().all(|server| server.weight == self.servers[0].weight);
        let apart = |exact: Option<Exact>| exact.map(|exact| Exact { queues: f64::from(n), ..exact });
        match strategy {
            _ if n == 1 => self.station(lam, self.servers[0]),
            StrategyConfig::Random(_) => apart(self.split(lam, |_| 1.0)),
            StrategyConfig::WeightedRandom(_) => apart(self.split(lam, |server| f64::from(server.weight))),
            StrategyConfig::RoundRobin(_) if alone => apart(self.turns(lam)),
            StrategyConfig::WeightedRoundRobin(_) if alone && even => apart(self.turns(lam)),
            StrategyConfig::OracleLeastWork(_) if self.hop == 0.0 => self.central(lam),
            StrategyConfig::LeastRequest(_) if alone && even && self.hop == 0.0 => match self.servers {
                [a, b] if a.speed != b.speed => {
                    let rates = [self.simple(a)?, self.simple(b)?];
                    if lam > MOST_LOAD * (rates[0] + rates[1]) {
                        return None;
                    }
                    let solved = chains::unequal(Ties::Random, lam, rates)?;
                    known("shortest queue, exact chain", solved.mean, Some(solved.quantile(Q)))
                }
                _ => self.chain(Rule::Shortest, lam, 4),
            },
            // Two choices of four take seconds to solve; more choices have only a limit.
            StrategyConfig::P2c(params) if alone && even && self.hop == 0.0 && params.choices == 2 => {
                let rule = if params.replacement { Rule::TwoReplaced } else { Rule::TwoDistinct };
                self.chain(rule, lam, 3)
            }
            _ => None,
        }
    }

    /// The rate of a server that is one queue of exponential work without a limit, per second; `None` for any other server.
    fn simple(&self, server: &Server) -> Option<f64> {
        let plain = server.discipline == Discipline::Fcfs && server.concurrency == 1 && server.queue_limit.is_none();
        (plain && self.work.exponential).then(|| server.speed / self.work.mean)
    }

    /// The first server, if all servers are equal in everything that matters.
    fn alike(&self) -> Option<&Server> {
        let first = *self.servers.first()?;
        let same = |s: &&Server| {
            (s.speed, s.concurrency, s.queue_limit, s.discipline)
                == (first.speed, first.concurrency, first.queue_limit, first.discipline)
        };
        self.servers.iter().all(same).then_some(first)
    }

    /// Poisson arrivals at one server.
    fn station(&self, lam: f64, server: &Server) -> Option<Exact> {
        let Work { mean, scv, exponential, constant } = self.work;
        let (mean, slots) = (mean / server.speed, server.concurrency);
        let mu = 1.0 / mean;
        match (server.discipline, server.queue_limit) {
            (Discipline::Fcfs, Some(limit)) if exponential => {
                let room = slots.checked_add(limit)?;
                known(format!("M/M/{slots}/{room}"), queues::bounded(lam, mu, slots, room).mean, None)
            }
            (_, Some(_)) => None,
            (Discipline::Fcfs, None) if exponential => known(
                format!("M/M/{slots}"),
                queues::mmc_mean(lam, mu, slots),
                Some(queues::mmc_quantile(lam, mu, slots, Q)),
            ),
            (Discipline::Fcfs, None) if constant && slots > 1 => {
                let solved = ConstantService::solve(lam, mean, slots)?;
                known(format!("M/D/{slots}"), solved.mean(), Some(solved.quantile(Q)))
            }
            (Discipline::Fcfs, None) if constant => match ConstantService::solve(lam, mean, slots) {
                Some(solved) => known("M/D/1", solved.mean(), Some(solved.quantile(Q))),
                None => known("M/D/1", queues::mg1_mean(lam, mean, 0.0), None),
            },
            (Discipline::Fcfs, None) if slots == 1 => known("M/G/1", queues::mg1_mean(lam, mean, scv), None),
            (Discipline::Ps, None) if slots == u32::MAX => {
                let p99 = (exponential && lam / mu <= MOST_LOAD).then(|| queues::ps_quantile(lam, mu, Q));
                known("M/G/1 sharing", queues::ps_mean(lam, mean), p99)
            }
            _ => None,
        }
    }

    /// A random split: every server has Poisson arrivals of its own.
    fn split(&self, lam: f64, weight: impl Fn(&Server) -> f64) -> Option<Exact> {
        let total: f64 = self.servers.iter().map(|server| weight(server)).sum();
        let first = *self.servers.first()?;
        if self.alike().is_some() && self.servers.iter().all(|server| weight(server) == weight(first)) {
            return self.station(lam * weight(first) / total, first);
        }
        // One server rejects while another has free capacity: shares of served requests are not those of the arrivals.
        if self.servers.iter().any(|server| server.queue_limit.is_some()) {
            return None;
        }
        let mut mean = 0.0;
        for server in self.servers {
            let share = weight(server) / total;
            mean += share * self.station(lam * share, server)?.mean;
        }
        let rates: Option<Vec<f64>> = self.servers.iter().map(|server| self.simple(server)).collect();
        let branches = rates.map(|rates| {
            let branch = |(server, mu): (&&Server, f64)| dispatch::Branch { share: weight(server) / total, mu };
            self.servers.iter().zip(rates).map(branch).collect::<Vec<_>>()
        });
        let name = if self.work.exponential { "split over M/M queues" } else { "split over M/G/1" };
        known(name, mean, branches.map(|branches| dispatch::split_quantile(lam, &branches, Q)))
    }

    /// One dispatcher's round robin over equal servers.
    fn turns(&self, lam: f64) -> Option<Exact> {
        let server = self.alike()?;
        let n = self.servers.len() as u32;
        if let Some(mu) = self.simple(server) {
            let p99 = dispatch::round_robin_quantile(lam, mu, n, Q);
            return known(format!("E{n}/M/1"), dispatch::round_robin_mean(lam, mu, n), Some(p99));
        }
        self.constant_over_all(lam, server)
    }

    /// Least work left is equivalent to one queue for all servers.
    fn central(&self, lam: f64) -> Option<Exact> {
        let server = self.alike()?;
        let n = self.servers.len() as u32;
        match self.simple(server) {
            Some(mu) => {
                known(format!("M/M/{n}"), queues::mmc_mean(lam, mu, n), Some(queues::mmc_quantile(lam, mu, n, Q)))
            }
            None => self.constant_over_all(lam, server),
        }
    }

    fn constant_over_all(&self, lam: f64, server: &Server) -> Option<Exact> {
        let n = self.servers.len() as u32;
        let plain = server.discipline == Discipline::Fcfs && server.concurrency == 1 && server.queue_limit.is_none();
        if !(plain && self.work.constant) {
            return None;
        }
        let solved = ConstantService::solve(lam, self.work.mean / server.speed, n)?;
        known(format!("M/D/{n}"), solved.mean(), Some(solved.quantile(Q)))
    }

    fn chain(&self, rule: Rule, lam: f64, most: u32) -> Option<Exact> {
        let mu = self.simple(self.alike()?)?;
        let n = self.servers.len() as u32;
        if !(2..=most).contains(&n) || lam > MOST_LOAD * mu * f64::from(n) {
            return None;
        }
        let solved = chains::equal(rule, n, lam, mu)?;
        let name = if rule == Rule::Shortest { "shortest queue, exact chain" } else { "two choices, exact chain" };
        known(name, solved.mean, Some(solved.quantile(Q)))
    }
}
