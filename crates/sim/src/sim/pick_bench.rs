//! A micro-benchmark host for selectors: a constant number of requests in flight, one completion and one pick per iteration.
//! It measures what a pick costs in time and memory. The simulator measures how good a strategy is.
//!
//! In each iteration a random request in flight ends: the host counts it, and the selector receives the load report of the
//! response and then the end of the request. Then the next request is picked and counted. Commands are executed as in the
//! simulator: background probes are answered in the next iteration, probes before a pick at once, and timers fire when they
//! are due. There is no clock: the length of an iteration makes requests take [`Setting::mean`] on average. As each of them
//! is equally likely to end next, their times are exponential.
//!
//! One request in a thousand fails and is retried elsewhere in the next iteration; one in a thousand is cancelled.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use evenkeel_core::fleet::{BackendId, Fleet};
use evenkeel_core::policy::Rules;
use evenkeel_core::policy::balancer::{Balancer, Effect, Moment, ShardSetup};
use evenkeel_core::policy::pool::ShardId;
use evenkeel_core::rng::{Rng, Source, mix};
use evenkeel_core::select::catalog::StrategyConfig;
use evenkeel_core::select::{
    Finished, LoadReport, MOST_CHOICES, Outcome, ProbeReplies, ProbeReply, ReportSource, Request, TrueState,
};
use evenkeel_core::units::Nanos;

/// Number of keys, of clients and of requested paths.
const KEYS: u64 = 100_000;
const PATHS: [&str; 8] =
    ["/", "/search", "/cart", "/login", "/img/logo.png", "/api/v1/items", "/api/v1/orders", "/about"];
/// One request in this many fails and another one is cancelled.
const FAILS_ONE_IN: u64 = 1000;
/// Index of the balancer's only shard.
const SHARD: u32 = 0;

/// Parameters of a benchmark.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Weight of each server.
    pub weights: Vec<u32>,
    /// Mean time of a request.
    pub mean: Nanos,
    /// Seed of all random streams.
    pub seed: u64,
}

impl Setting {
    /// This many servers; every fourth has twice the weight of the others.
    pub fn unlike(servers: u32, mean: Nanos) -> Setting {
        Setting { weights: (0..servers).map(|i| if i % 4 == 3 { 2 } else { 1 }).collect(), mean, seed: 1 }
    }

    /// Requests in flight: four for five servers, so that there is always an idle server.
    pub fn in_flight(&self) -> usize {
        (self.weights.len() * 4 / 5).max(1)
    }
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
struct Job {
    backend: BackendId,
    tag: u64,
    sent: Nanos,
}

/// True state of the servers, for oracles: requests by slot, each with one mean of work left.
struct Servers {
    jobs: Vec<u32>,
    weights: Vec<u32>,
    mean: Nanos,
}

impl TrueState for Servers {
    fn remaining_work(&self, slot: u32) -> Nanos {
        let slot = slot as usize;
        Nanos(self.mean.0 * u64::from(self.jobs[slot]) / u64::from(self.weights[slot].max(1)))
    }

    fn number(&self, slot: u32) -> u32 {
        self.jobs[slot as usize]
    }
}

/// Counters of a benchmark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Picks of eligible servers.
    pub picks: u64,
    /// Iterations in which the selector picked no server or an excluded one; 0 for a correct selector.
    pub wrong: u64,
    /// Hash over all picks: the same for the same setting and strategy.
    pub hash: u64,
}

/// The benchmark host; see the module's documentation.
pub struct PickBench {
    balancer: Balancer,
    /// Whether servers send idle notifications.
    notices: bool,
    oracle: bool,
    servers: Servers,
    dice: Rng,
    now: Nanos,
    turn: Nanos,
    jobs: Vec<Job>,
    /// The server at which the last request failed; `None` if it did not fail.
    failed: Option<u32>,
    /// Slots of the servers that have been probed.
    asked: Vec<BackendId>,
    /// Time at which the selector's timer is due.
    wakes: Vec<Nanos>,
    /// A buffer that is reused.
    answers: ProbeReplies,
    tally: Tally,
}

impl PickBench {
    /// A benchmark of a strategy. An oracle reads the true state. The requests in flight at the start are placed at random, as
    /// if by cookies.
    pub fn new(strategy: &StrategyConfig, setting: &Setting) -> PickBench {
        let mut rng = Rng::stream(setting.seed, "mill selector", 0);
        let (selector, oracle) = (strategy.build(&mut rng), strategy.oracle());
        let mut balancer = Balancer::new(Arc::new(Rules::default()), ShardId::default());
        let names: Vec<String> = (0..setting.weights.len()).map(|i| format!("s{i}:80")).collect();
        balancer.join_all(names.iter().zip(&setting.weights).map(|(name, &weight)| (name.as_str(), weight, None)));
        let notices = strategy.signals().notices;
        let policy_rng = Rng::stream(setting.seed, "mill luck", 0);
        balancer.add_shard(ShardSetup { strategy, selector, rng, policy_rng });
        let weights = setting.weights.clone();
        let servers = Servers { jobs: vec![0; weights.len()], weights, mean: setting.mean };
        let in_flight = setting.in_flight();
        let mut bench = PickBench {
            balancer,
            notices,
            oracle,
            servers,
            dice: Rng::stream(setting.seed, "mill dice", 0),
            now: Nanos::ZERO,
            turn: Nanos((setting.mean.0 / in_flight as u64).max(1)),
            jobs: Vec::with_capacity(in_flight),
            failed: None,
            asked: Vec::with_capacity(64),
            wakes: Vec::with_capacity(8),
            answers: ProbeReplies { part: 0, given: Vec::with_capacity(MOST_CHOICES) },
            tally: Tally::default(),
        };
        bench.at_balancer(|balancer, at| balancer.announce(at));
        while bench.jobs.len() < in_flight {
            let Some(slot) = bench.balancer.pool().fleet.draw_weighted(&mut bench.dice) else { break };
            let backend = bench.balancer.pool().fleet.id(slot);
            bench.send(Job { backend, tag: 0, sent: Nanos::ZERO });
        }
        bench
    }

    /// The counters so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The servers, as the host counts them.
    pub fn fleet(&self) -> &Fleet {
        &self.balancer.pool().fleet
    }

    /// Runs this many iterations.
    pub fn run(&mut self, turns: u64) {
        (0..turns).for_each(|_| self.turn());
    }

    /// One iteration: a request ends, and another one is picked.
    #[inline]
    pub fn turn(&mut self) {
        self.now += self.turn;
        if !self.wakes.is_empty() {
            self.wake();
        }
        if !self.asked.is_empty() {
            self.answer_probes();
        }
        if !self.jobs.is_empty() {
            self.end();
        }
        self.pick();
    }

    fn end(&mut self) {
        let at = self.dice.below(self.jobs.len() as u64) as usize;
        let Job { backend, tag, sent } = self.jobs.swap_remove(at);
        let outcome = match self.dice.below(FAILS_ONE_IN) {
            0 => Outcome::Failed,
            1 => Outcome::Cancelled,
            _ => Outcome::Ok,
        };
        self.failed = (outcome == Outcome::Failed).then_some(backend.slot);
        self.servers.jobs[backend.slot as usize] -= 1;
        if outcome == Outcome::Ok {
            let load = self.report(backend.slot, ReportSource::Answer);
            self.at_balancer(|balancer, at| balancer.report(Some(SHARD), backend, &load, at));
        }
        if self.notices && self.servers.jobs[backend.slot as usize] == 0 {
            let load = self.report(backend.slot, ReportSource::Notice);
            self.at_balancer(|balancer, at| balancer.report(Some(SHARD), backend, &load, at));
        }
        let latency = self.now.saturating_sub(sent);
        let finished = Finished { backend, latency, outcome, tag };
        self.at_balancer(|balancer, at| balancer.finished(SHARD, &finished, at));
    }

    fn pick(&mut self) {
        let key = mix(self.dice.below(KEYS));
        let client = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | (key as u32 & 0x00ff_ffff)));
        let path = PATHS[(key >> 32) as usize % PATHS.len()];
        let failed = self.failed;
        let excluded = failed.as_slice();
        let key = key.to_le_bytes();
        let mut request = Request { client, path, key: &key, excluded, answers: None };
        let mut answers = std::mem::take(&mut self.answers);
        if self.balancer.inquires(SHARD)
            && let Some(inquiry) = self.at_balancer(|balancer, at| balancer.inquire(SHARD, &request, at))
        {
            answers.given.clear();
            for &backend in &inquiry.targets()[..inquiry.quorum] {
                let load = self.report(backend.slot, ReportSource::Probe);
                self.at_balancer(|balancer, at| balancer.report(Some(SHARD), backend, &load, at));
                answers.given.push(ProbeReply { backend, load });
            }
            request.answers = Some(&answers);
        }
        let pick = self.at_balancer(|balancer, at| balancer.choose(SHARD, &request, at));
        let pool = self.balancer.pool();
        let fleet = &pool.fleet;
        let good = |id: BackendId| {
            fleet.is_current(id) && fleet.is_eligible(id.slot) && !excluded.contains(&id.slot) && !pool.is_full(id.slot)
        };
        match pick.filter(|pick| good(pick.backend)) {
            Some(pick) => {
                self.tally.picks += 1;
                self.tally.hash = mix(self.tally.hash ^ u64::from(pick.backend.slot));
                self.send(Job { backend: pick.backend, tag: pick.tag, sent: self.now });
            }
            None => self.tally.wrong += 1,
        }
        self.answers = answers;
    }

    fn send(&mut self, job: Job) {
        self.balancer.started(job.backend);
        self.servers.jobs[job.backend.slot as usize] += 1;
        self.jobs.push(job);
    }

    /// Calls the balancer, and stores the commands of its strategy.
    #[inline]
    fn at_balancer<T>(&mut self, call: impl FnOnce(&mut Balancer, Moment<'_>) -> T) -> T {
        let at = Moment { now: self.now, truth: self.oracle.then_some(&self.servers as &dyn TrueState) };
        let result = call(&mut self.balancer, at);
        while let Some(effect) = self.balancer.poll_effect() {
            match effect {
                Effect::Probe { backend, .. } => self.asked.push(backend),
                Effect::WakeAt { at, .. } => self.wakes.push(at),
                // No request waits, and there are no health checks or ejections.
                Effect::Room | Effect::Expired { .. } | Effect::Server(_) | Effect::FleetChanged => {}
            }
        }
        result
    }

    fn wake(&mut self) {
        let before = self.wakes.len();
        let now = self.now;
        self.wakes.retain(|&at| at > now);
        for _ in self.wakes.len()..before {
            self.at_balancer(|balancer, at| balancer.wake(SHARD, at));
        }
    }

    /// Probes sent meanwhile are answered in the next iteration.
    fn answer_probes(&mut self) {
        let due = self.asked.len();
        for at in 0..due {
            let backend = self.asked[at];
            let load = self.report(backend.slot, ReportSource::Probe);
            self.at_balancer(|balancer, at| balancer.report(Some(SHARD), backend, &load, at));
        }
        self.asked.drain(..due);
    }

    /// The load report of a server with its share of the load, with some randomness.
    fn report(&mut self, slot: u32, by: ReportSource) -> LoadReport {
        let (jobs, weight) = (self.servers.jobs[slot as usize], f64::from(self.servers.weights[slot as usize]));
        let chance = 0.75 + 0.5 * self.dice.unit();
        let latency = self.servers.mean.as_secs_f64() * chance;
        LoadReport {
            window: 0.1,
            throughput: weight / self.servers.mean.as_secs_f64() * chance,
            response_time: latency,
            utilisation: (f64::from(jobs) + 0.5) / (f64::from(jobs) + 0.5 + weight),
            errors: 1.0 / FAILS_ONE_IN as f64,
            in_server: Some(jobs),
            latency,
            by,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use evenkeel_core::select::catalog::{CATALOGUE, Family};
    use evenkeel_core::select::{Command, Context, CustomStrategy, Pick, Selector};

    fn setting() -> Setting {
        Setting::unlike(20, Nanos::from_millis(10))
    }

    #[test]
    fn every_strategy_runs_in_the_benchmark() {
        for row in CATALOGUE {
            let run = |seed| {
                let mut bench = PickBench::new(&(row.default)(), &Setting { seed, ..setting() });
                bench.run(3000);
                assert_eq!(bench.fleet().in_flight().iter().sum::<u32>(), 16, "{}: as many as before", row.name);
                assert_eq!(bench.fleet().in_flight(), bench.servers.jobs, "{}", row.name);
                bench.tally()
            };
            let tally = run(1);
            assert_eq!((tally.picks, tally.wrong), (3000, 0), "{}", row.name);
            assert_eq!(run(1), tally, "{}", row.name);
            // The number of iterations is independent of what is drawn.
            assert!(row.doc.family == Family::RoundRobin || run(2).hash != tally.hash, "{}", row.name);
        }
    }

    /// Sends a probe, sets a timer, picks no server once and an invalid one once, and counts reports, successes and timers.
    struct Odd {
        picks: u32,
        wanted: Option<Command>,
        heard: Arc<[AtomicU64; 3]>,
    }

    impl Odd {
        fn hear(&self, what: usize) {
            self.heard[what].fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Selector for Odd {
        fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
            self.picks += 1;
            self.wanted = match self.picks {
                10 => Some(Command::Probe(cx.fleet.id(3))),
                20 => Some(Command::WakeAt(cx.now + Nanos::from_millis(1))),
                _ => None,
            };
            let backend = match self.picks {
                50 => return None,
                60 => BackendId { slot: 1, generation: 7 },
                _ => cx.fleet.id(u32::from(request.excluded.contains(&0))),
            };
            Some(Pick { backend, tag: 0 })
        }

        fn on_report(&mut self, _: BackendId, _: &LoadReport, _: &mut Context<'_>) {
            self.hear(0);
        }

        fn on_finish(&mut self, finished: &Finished, _: &mut Context<'_>) {
            if finished.outcome == Outcome::Ok {
                self.hear(1);
            }
        }

        fn on_wake(&mut self, _: &mut Context<'_>) {
            self.hear(2);
        }

        fn poll_command(&mut self, _: &mut Context<'_>) -> Option<Command> {
            self.wanted.take()
        }
    }

    #[test]
    fn errors_are_counted_and_commands_are_executed() {
        let heard: Arc<[AtomicU64; 3]> = Arc::default();
        let by = Arc::clone(&heard);
        let odd = move |_: &mut Rng| -> Box<dyn Selector> {
            Box::new(Odd { picks: 0, wanted: None, heard: Arc::clone(&by) })
        };
        let odd = CustomStrategy::new("odd", odd);
        let mut bench = PickBench::new(&odd.into(), &setting());
        bench.run(100);
        let Tally { picks, wrong, .. } = bench.tally();
        assert_eq!((picks, wrong), (98, 2));
        assert_eq!(bench.fleet().in_flight().iter().sum::<u32>(), 16 - 2);
        let [reports, good_ends, wakes] = [0, 1, 2].map(|at| heard[at].load(Ordering::Relaxed));
        assert_eq!((reports, wakes), (good_ends + 1, 1), "one with each good answer and one that was asked for");
    }
}
