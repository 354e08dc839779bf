//! One balancer, two hosts: the engine of the simulator and the pool of the proxy are fed the same random sequence of events
//! and must do the same, to the nanosecond.
//!
//! The engine runs a random scenario and records its balancer: every call of the selector with its arguments, every
//! pick with the counts it was made from, every end. An observer notes what came from outside: arrivals, when and how
//! each attempt came back from its server, checks, load reports, drains, servers that come and go. The proxy's pool, in
//! tokio's paused time, is given only that; queueing, retries, back-off, hedges, ejections, slow start, limits and all
//! random draws are its own. Both recordings must be equal, event by event.
//!
//! A case that fails is made smaller, by leaving out rules and faults and by ending earlier, as long as it fails; its
//! seed and its text are printed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::config::proxy::{PoolConfig, ProxyConfig};
use evenkeel::policy::pool::ShardId;
use evenkeel::policy::recording::HostEvent;
use evenkeel::policy::retry::Failure;
use evenkeel::proxy::host::{
    Attempt, Clock, Exchange, InFlight, PoolSetup, RequestInfo, SelectorInit, ShardPool, Tape, UpstreamSettings,
};
use evenkeel::proxy::metrics::Metrics;
use evenkeel::proxy::termination::Reason;
use evenkeel::rng::{Rng, Source};
use evenkeel::scenario::Scenario;
use evenkeel::select::catalog::{self, CATALOGUE};
use evenkeel::select::{LoadReport, Outcome};
use evenkeel::sim::Setup;
use evenkeel::sim::model::Model;
use evenkeel::sim::observer::{Arrival, Observer, RunEvent, ServerChange, Step};
use evenkeel::sim::record::RequestOutcome;
use evenkeel::units::Nanos;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::support::Folder;

/// A random scenario, in parts that can be left out.
#[derive(Clone, Debug)]
struct Case {
    strategy: &'static str,
    /// Keys of the pool.
    rules: Vec<String>,
    /// Tables of faults.
    faults: Vec<String>,
    /// Keys of each server.
    servers: Vec<String>,
    rate: u64,
    millis: u64,
}

impl Case {
    fn random(seed: u64) -> Case {
        let mut rng = Rng::stream(seed, "two hosts", 0);
        let strategies: Vec<&str> = CATALOGUE
            .iter()
            .filter(|row| !row.doc.oracle() && !(row.default)().signals().probes && !(row.default)().signals().inquires)
            .map(|row| row.name)
            .collect();
        let strategy = strategies[rng.below(strategies.len() as u64) as usize];
        let limits = catalog::find(strategy).unwrap().limits;
        let rate = 150 + rng.below(250);
        let mut chance = |percent: u64| rng.below(100) < percent;
        let mut rules = Vec::new();
        for (percent, rule) in [
            (60, "queue = { limit = 30, timeout = \"43ms\" }"),
            (
                50,
                "outliers = { consecutive_failures = 3, interval = \"211ms\", base_ejection_time = \"157ms\", max_ejection_time = \"401ms\", max_ejected = \"50%\" }",
            ),
            (40, "slow_start = { window = \"307ms\", aggression = 1.0, min_share = \"10%\" }"),
            (30, "admission = { window = \"499ms\" }"),
            (30, "panic = \"50%\""),
            (50, "health = { interval = \"97ms\", timeout = \"20ms\", jitter = \"10%\", rise = 1, fall = 1 }"),
            (25, "concurrency = { kind = \"aimd\", latency_threshold = \"40ms\" }"),
            (25, "sticky = {}"),
            (
                20,
                "autoscale = { initial_servers = 5, min_servers = 2, target = \"70%\", interval = \"233ms\", delay = \"101ms\", cooldown = \"151ms\" }",
            ),
        ] {
            if chance(percent) {
                rules.push(rule.to_owned());
            }
        }
        // What happens at one instant, to two attempts that time out or of which one has won, or to two servers that come, the
        // engine lets happen before those who wait go on, and a proxy, for which there are no such instants, does not. Legs
        // are random so that nothing else coincides.
        let waits = limits || rules.iter().any(|rule| rule.starts_with("queue"));
        rules.retain(|rule| !(waits && rule.starts_with("autoscale")));
        let failures = "on = [\"connect\", \"reset\", \"error\", \"timeout\", \"rejected\"]";
        match chance(50) {
            true if chance(50) && !waits => rules.push(format!(
                "retries = {{ max_retries = 3, {failures}, per_try_timeout = \"71ms\", budget = \"60%\", backoff = \"3ms\", max_backoff = \"9ms\" }}"
            )),
            true => rules.push(format!(
                "retries = {{ max_retries = 2, {failures}, tokens = {{ max_tokens = 20, ratio = 0.2 }}, backoff = \"2ms\", max_backoff = \"9ms\" }}"
            )),
            false => {}
        }
        match chance(50) && !waits {
            true if chance(50) => rules.push("hedge = { after = \"p75\", budget = \"40%\" }".to_owned()),
            true => rules.push("hedge = { after = \"17ms\", budget = \"30%\" }".to_owned()),
            false => {}
        }
        let mut faults = Vec::new();
        for (server, fault) in [
            ("s1", "kind = { errors = { share = \"60%\", latency = \"1ms\" } }"),
            ("s2", "kind = { errors = { share = 0, fails_checks = true } }"),
            ("s0", "kind = { slow = { factor = 6 } }"),
            ("s3", "kind = { drain = {} }"),
            ("s4", "kind = { crash = {} }"),
            ("s2", "kind = { crash = {} }"),
        ] {
            if chance(50) {
                let at = 211 + 97 * faults.len();
                faults.push(format!("target = \"web/{server}\"\nat = \"{at}ms\"\nfor = \"503ms\"\n{fault}"));
            }
        }
        let limited = rules.iter().any(|rule| rule.starts_with("queue")) || chance(20);
        let servers = (0..5)
            .map(|i| {
                let weight = if chance(30) { 2 } else { 1 };
                let limit = if limited { format!("max_in_flight = {}\n", 2 + i % 3) } else { String::new() };
                format!("weight = {weight}\n{limit}")
            })
            .collect();
        Case { strategy, rules, faults, servers, rate, millis: 1500 }
    }

    fn scenario(&self) -> String {
        let mut text = format!(
            "title = \"t\"\nquestion = \"q\"\nkind = \"terminating\"\nduration = \"{}ms\"\nallow_overload = true\n\
             strategies = [{:?}]\narrivals = {{ poisson = {{ rate = \"{}/s\" }} }}\n\
             service = {{ exponential = {{ mean = \"11ms\" }} }}\nkeys = {{ count = 50, exponent = 0.9 }}\n\
             clients = {{ count = 40 }}\nnetwork = {{ server = {{ exponential = {{ mean = \"311us\" }} }} }}\n",
            self.millis, self.strategy, self.rate
        );
        self.faults.iter().for_each(|fault| write!(text, "[[faults]]\n{fault}\n").unwrap());
        text.push_str("[[pools]]\nname = \"web\"\nreports = { with_answers = false }\n");
        self.rules.iter().for_each(|rule| writeln!(text, "{rule}").unwrap());
        for (i, server) in self.servers.iter().enumerate() {
            write!(text, "[[pools.servers]]\nname = \"s{i}\"\n{server}").unwrap();
        }
        text
    }

    fn proxy(&self) -> String {
        let mut text = format!(
            "[[listeners]]\naddress = \"127.0.0.1:0\"\n[[pools]]\nname = \"web\"\nstrategy = {:?}\n",
            self.strategy
        );
        for (i, server) in self.servers.iter().enumerate() {
            write!(text, "[[pools.servers]]\nname = \"s{i}\"\naddress = \"127.0.0.1:{}\"\n{server}", i + 1).unwrap();
        }
        text
    }

    /// Whether it is a scenario: a fault may begin after the end of a shorter one.
    fn is_sound(&self) -> bool {
        Scenario::parse("t", &self.scenario(), &|_| Err(String::new())).is_ok()
    }

    /// Cases that are a little smaller.
    fn smaller(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        if self.millis > 100 {
            cases.push(Case { millis: self.millis / 2, ..self.clone() });
            cases.push(Case { millis: self.millis * 9 / 10, ..self.clone() });
        }
        for i in 0..self.rules.len() {
            let mut case = self.clone();
            case.rules.remove(i);
            cases.push(case);
        }
        for i in 0..self.faults.len() {
            let mut case = self.clone();
            case.faults.remove(i);
            cases.push(case);
        }
        cases.retain(Case::is_sound);
        cases
    }
}

/// External events of a balancer, in order.
#[derive(Clone, Debug)]
enum Outside {
    Arrival {
        id: u64,
        client: IpAddr,
        path: String,
        key: u64,
    },
    Checked {
        slot: u32,
        passed: bool,
        load: Option<LoadReport>,
    },
    Report {
        slot: u32,
        load: LoadReport,
    },
    Server {
        slot: u32,
        change: ServerChange,
    },
    /// An attempt is back from its server.
    Returned {
        attempt: (u64, u32),
        outcome: RequestOutcome,
    },
}

/// Observes a run of the engine.
#[derive(Default)]
struct World {
    outside: Vec<(Nanos, Outside)>,
    /// By the engine's place for it: the request and the number of its attempt.
    jobs: HashMap<u32, (u64, u32)>,
    /// When requests ended for their clients, and whether well.
    ends: BTreeMap<u64, (Nanos, bool)>,
    recorded: Vec<HostEvent>,
}

impl Observer for World {
    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        self.jobs.insert(job, (arrival.id, arrival.attempt.map_or(1, |(_, number)| number)));
        if arrival.attempt.is_none() {
            let (id, client, key) = (arrival.id, arrival.client, arrival.key);
            self.outside.push((arrival.at, Outside::Arrival { id, client, path: arrival.path.to_owned(), key }));
        }
    }

    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        let attempt = self.jobs[&job];
        match step {
            Step::Returned(outcome) => self.outside.push((now, Outside::Returned { attempt, outcome })),
            Step::Ended(outcome) => drop(self.ends.insert(attempt.0, (now, outcome == RequestOutcome::Ok))),
            _ => {}
        }
    }

    fn event(&mut self, event: &RunEvent<'_>, now: Nanos) {
        let outside = match *event {
            RunEvent::Checked { slot, passed, load, .. } => Outside::Checked { slot, passed, load: load.copied() },
            RunEvent::Reported { slot, load, .. } => Outside::Report { slot, load: *load },
            RunEvent::ServerChanged { slot, change, .. } => Outside::Server { slot, change },
            _ => return,
        };
        self.outside.push((now, outside));
    }

    fn records(&self) -> bool {
        true
    }

    fn recorded(&mut self, _: u32, events: Vec<HostEvent>) {
        self.recorded = events;
    }
}

/// Attempts at servers, by request and number, with the channel for their result.
type Pending = Rc<RefCell<HashMap<(u64, u32), oneshot::Sender<RequestOutcome>>>>;

/// A request whose attempts end as the engine's did.
struct Treated {
    pending: Pending,
    clock: Clock,
    id: u64,
    attempts: Cell<u32>,
    per_try: Option<Nanos>,
}

impl Exchange for Treated {
    type Answer = RequestOutcome;

    fn is_hedgeable(&self) -> bool {
        true
    }

    fn is_idempotent(&self) -> bool {
        true
    }

    fn can_be_sent_again(&self) -> bool {
        true
    }

    fn failure(answer: &RequestOutcome) -> Option<Failure> {
        match answer {
            RequestOutcome::Ok => None,
            RequestOutcome::Rejected => Some(Failure::Rejected),
            _ => Some(Failure::Error),
        }
    }

    async fn attempt(&self, in_flight: InFlight) -> Attempt<RequestOutcome> {
        self.attempts.set(self.attempts.get() + 1);
        let (tell, told) = oneshot::channel();
        self.pending.borrow_mut().insert((self.id, self.attempts.get()), tell);
        let long = Nanos(1 << 40);
        let outcome = match timeout(self.clock.duration(self.per_try.unwrap_or(long)), told).await {
            Ok(outcome) => outcome.unwrap(),
            Err(_) => {
                let (failure, reason) = (Failure::Timeout, Reason::FirstByteTimeout);
                return Attempt::Failed { failure, reason, sent: true, in_flight };
            }
        };
        match outcome {
            RequestOutcome::Reset => {
                Attempt::Failed { failure: Failure::Reset, reason: Reason::UpstreamReset, sent: true, in_flight }
            }
            answer => {
                in_flight.answered();
                Attempt::Answered { answer, in_flight }
            }
        }
    }
}

/// The recorded events of a proxy's pool.
struct Played {
    recorded: Vec<HostEvent>,
    ends: BTreeMap<u64, (Nanos, bool)>,
}

/// Feeds the external events to a pool of the proxy.
fn play(case: &Case, model: &Model, seed: u64, world: World) -> (Rc<World>, Played) {
    let config = ProxyConfig::parse(&case.proxy(), &|_| None).unwrap_or_else(|e| panic!("{e:?}"));
    let config = PoolConfig { rules: Arc::clone(&model.pools[0].policy), ..config.pools[0].clone() };
    let world = Rc::new(world);
    let folder = Folder::new();
    let file = folder.path().join("recording.jsonl");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let local = tokio::task::LocalSet::new();
    let ends = local.block_on(&runtime, feed(config, seed, Rc::clone(&world), &file));
    drop((local, runtime));
    let recording = std::fs::read_to_string(&file).unwrap();
    let recorded = recording.lines().skip(1).map(|line| serde_json::from_str::<(u32, HostEvent)>(line).unwrap().1);
    let recorded = recorded.collect();
    (world, Played { recorded, ends })
}

async fn feed(config: PoolConfig, seed: u64, world: Rc<World>, file: &Path) -> BTreeMap<u64, (Nanos, bool)> {
    let clock = Clock::slowed(1_000_000);
    let (tape, metrics) = (Tape::create(file).unwrap(), Metrics::new("", ""));
    let settings = UpstreamSettings {
        protocol: config.protocol.clone(),
        tls: None,
        connect: Duration::from_secs(1),
        keep_alive: Duration::from_secs(1),
        most_idle: 1,
        header_bytes: 1 << 16,
        headers: 100,
        own_http1: false,
    };
    let addresses: BTreeMap<(String, u16), Arc<[SocketAddr]>> = BTreeMap::new();
    let metrics_of = |name: &str| metrics.server("web", name);
    let setup = |config: &PoolConfig| PoolSetup {
        config: Arc::new(config.clone()),
        addresses: &addresses,
        shard_id: ShardId { seed, ..ShardId::default() },
        settings: &settings,
        metrics: &metrics_of,
    };
    let start = || SelectorInit { seed, number: 0, recorder: Some(tape.open(&config, seed, 0)) };
    let pool = ShardPool::new(&setup(&config), metrics.pool("web"), clock, start());
    let ticker = Rc::clone(&pool);
    tokio::task::spawn_local(async move {
        // Whatever is timed later than now is timed for a millisecond from now or later.
        loop {
            let soon = clock.now().saturating_add(Nanos::from_millis(1));
            let at = ticker.next_tick().map_or(soon, |at| at.min(soon)).max(clock.now());
            tokio::time::sleep_until(clock.instant(at)).await;
            ticker.tick();
            tokio::task::yield_now().await;
        }
    });
    let ends = Rc::new(RefCell::new(BTreeMap::new()));
    let pending = Pending::default();
    let cookies: Rc<RefCell<HashMap<IpAddr, String>>> = Rc::default();
    let per_try = config.rules.retries.and_then(|rules| rules.per_try_timeout);
    let mut members: Vec<bool> = vec![true; config.servers.len()];
    for (at, outside) in &world.outside {
        tokio::time::sleep_until(clock.instant(*at)).await;
        match outside.clone() {
            Outside::Arrival { id, client, path, key } => {
                let exchange = Treated { pending: Rc::clone(&pending), clock, id, attempts: Cell::new(0), per_try };
                let (pool, ends, cookies) = (Rc::clone(&pool), Rc::clone(&ends), Rc::clone(&cookies));
                tokio::task::spawn_local(async move {
                    let key = key.to_le_bytes();
                    let info = RequestInfo { client, path: &path, key: &key };
                    let cookie = cookies.borrow().get(&client).cloned();
                    let result = pool.dispatch(&exchange, &info, cookie.as_deref(), &mut 0).await;
                    let good = matches!(result, Ok((RequestOutcome::Ok, _)));
                    if let Ok((_, in_flight)) = result {
                        if good && let Some(cookie) = pool.cookie(in_flight.slot()) {
                            cookies.borrow_mut().insert(client, cookie);
                        }
                        in_flight.finish(if good { Outcome::Ok } else { Outcome::Failed });
                    }
                    ends.borrow_mut().insert(id, (clock.now(), good));
                });
            }
            Outside::Checked { slot, passed, load } => {
                let failure = (!passed).then_some("it fails");
                pool.checked(&format!("s{slot}"), failure, load.as_ref());
            }
            Outside::Report { slot, load } => {
                let id = pool.backend(&format!("s{slot}"));
                id.into_iter().for_each(|id| pool.reported(id, &load));
            }
            Outside::Returned { attempt, outcome } => {
                // The pool may have given it up, as the engine has.
                if let Some(tell) = pending.borrow_mut().remove(&attempt) {
                    let _ = tell.send(outcome);
                }
            }
            Outside::Server { slot, change: ServerChange::Draining(draining) } => {
                pool.set_draining(&format!("s{slot}"), draining);
            }
            Outside::Server { slot, change } => {
                members[slot as usize] = change == ServerChange::Joined;
                let servers = config.servers.iter().zip(&members).filter(|(_, member)| **member);
                let servers = servers.map(|(server, _)| server.clone()).collect();
                pool.reconfigure(&setup(&PoolConfig { servers, ..config.clone() }), start);
            }
        }
        // Its consequences come before other events of this instant.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    let last = world.ends.values().map(|(at, _)| *at).max().unwrap_or(Nanos::ZERO);
    tokio::time::sleep_until(clock.instant(last.saturating_add(Nanos(1)))).await;
    pool.flush_recording();
    ends.take()
}

/// The first difference between the two hosts, or how many events were equal and how many of them picks.
fn compare(case: &Case) -> Result<(usize, usize), String> {
    let scenario = Scenario::parse("t", &case.scenario(), &|_| Err(String::new()))
        .unwrap_or_else(|problems| panic!("{problems:?}\n{}", case.scenario()));
    let setup = Setup { stream_name: "", ..scenario.setup(0, 0) };
    let mut world = World::default();
    evenkeel::sim::observe(&setup, &|| false, &mut world).unwrap();
    let (world, played) = play(case, setup.model, setup.seed, world);
    for (at, (engine, proxy)) in world.recorded.iter().zip(&played.recorded).enumerate() {
        if engine != proxy {
            let before = &world.recorded[at.saturating_sub(6)..at];
            return Err(format!("event {at}: the engine had {engine:?}\nthe proxy had {proxy:?}\nbefore: {before:#?}"));
        }
    }
    let (engine, proxy) = (world.recorded.len(), played.recorded.len());
    if proxy < engine {
        return Err(format!("the engine had {engine} events, the proxy {proxy}: {:?}", world.recorded[proxy]));
    }
    for (id, engine) in &world.ends {
        if played.ends.get(id) != Some(engine) {
            return Err(format!("request {id} ended {engine:?} in the engine, {:?} in the proxy", played.ends.get(id)));
        }
    }
    let picks = world.recorded.iter().filter(|event| matches!(event, HostEvent::Pick { .. })).count();
    Ok((engine, picks))
}

#[test]
fn both_hosts_do_the_same_with_the_same_events() {
    let cases: u64 = std::env::var("EVENKEEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    let (mut events, mut picks) = (0, 0);
    for seed in 1..=cases {
        let case = Case::random(seed);
        let mut difference = match compare(&case) {
            Ok((more, picked)) => {
                (events, picks) = (events + more, picks + picked);
                continue;
            }
            Err(difference) => difference,
        };
        let mut case = case;
        while let Some((smaller, found)) =
            case.smaller().into_iter().find_map(|case| compare(&case).err().map(|difference| (case, difference)))
        {
            (case, difference) = (smaller, found);
        }
        panic!("seed {seed}: {difference}\n{}", case.scenario());
    }
    println!("{cases} cases, {events} events, {picks} picks");
    assert!(picks as u64 > 200 * cases, "{picks} picks are too few to show anything");
}
