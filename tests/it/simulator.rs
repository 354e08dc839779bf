//! The engine against independently derived values: closed formulas, a second simulator that is naive on purpose, and
//! arithmetic. And a run that exceeds its memory ends with a message.

use std::collections::BTreeMap;

use evenkeel::measure::{Summary, Verdict, summarise};
use evenkeel::scenario::Scenario;
use evenkeel::sim::observer::{Arrival, Observer, Step};
use evenkeel::sim::record::{RequestOutcome, RunRecord};
use evenkeel::sim::{Stopped, observe};
use evenkeel::units::Nanos;

use crate::support::{Folder, evenkeel, scenario, text};

/// A scenario of one pool: what is before its table, its keys and those of its servers.
fn of(before: &str, pool: &str, server: &str) -> Scenario {
    scenario(&format!(
        "title = \"t\"\nquestion = \"q\"\nstrategies = [\"random\"]\n{before}\n[[pools]]\nname = \"w\"\n{pool}\n[[pools.servers]]\nname = \"w\"\n{server}\n"
    ))
}

fn run(scenario: &Scenario) -> RunRecord {
    observe(&scenario.setup(0, 0), &|| false, &mut ()).unwrap()
}

fn summary(scenario: &Scenario) -> Summary {
    let runs: Vec<RunRecord> =
        (0..scenario.replications).map(|r| observe(&scenario.setup(0, r), &|| false, &mut ()).unwrap()).collect();
    summarise(scenario, 0, &runs)
}

// ---- Closed loops ----

/// Clients that do not think keep min(clients, slots) slots busy without a gap: M/D closed, throughput min(n, c) / D.
#[test]
fn a_closed_loop_without_thinking_loses_no_time() {
    for (clients, slots, micros) in [(1, 1, 10), (3, 2, 10), (2, 5, 7), (1, 1, 1)] {
        let before = format!(
            "duration = \"200ms\"\nwarmup = \"50ms\"\nclients = {{ count = {clients} }}\n\
             arrivals = {{ closed = {{ think = {{ constant = {{ value = \"0s\" }} }} }} }}\n\
             service = {{ constant = {{ value = \"{micros}us\" }} }}"
        );
        let run = run(&of(&before, "", &format!("concurrency = {slots}")));
        let right = f64::from(clients.min(slots)) * 0.2e6 / f64::from(micros);
        let got = run.measured.all.requests() as f64;
        assert!((got - right).abs() <= f64::from(clients), "{clients} {slots} {micros}: {got}, not {right}");
    }
}

/// Time goes on where a request can end in the instant in which it began: refused, or without work.
#[test]
fn a_closed_loop_cannot_stand_still() {
    let loops = |service: &str| {
        format!(
            "duration = \"20ms\"\nwarmup = \"0s\"\nclients = {{ count = 2 }}\n\
             arrivals = {{ closed = {{ think = {{ constant = {{ value = \"0s\" }} }} }} }}\nservice = {service}"
        )
    };
    // One of two is served for 10 ms, the other is refused and comes again 10 µs later.
    let refused = run(&of(&loops("{ constant = { value = \"10ms\" } }"), "", "queue_limit = 0"));
    let (rejected, all) =
        (refused.measured.all.ends[RequestOutcome::Rejected as usize], refused.measured.all.requests());
    assert!((1995..=2005).contains(&rejected) && all - rejected <= 4, "{rejected} of {all}");
    // Nine of ten bring no work at all: 1,000 per second and slot are what the tenth leaves, ten times as many in all.
    let service = "{ bimodal = { short = \"0s\", long = \"1ms\", long_share = \"10%\" } }";
    let free = run(&of(&loops(service), "", "concurrency = 2"));
    let long = free.measured.all.latency.iter_recorded().filter(|v| v.value_iterated_to() > 1000);
    let long: u64 = long.map(|v| v.count_since_last_iteration()).sum();
    assert!((38..=42).contains(&long), "{long} of 1 ms in 20 ms and two slots");

    let source = |legs: &str| {
        format!(
            "title = \"t\"\nquestion = \"q\"\nduration = \"1s\"\narrivals = {{ closed = {{ think = {{ constant = {{ value = \"0s\" }} }} }} }}\n\
             service = {{ constant = {{ value = \"0s\" }} }}\n{legs}[[pools]]\nname = \"w\"\n[[pools.servers]]\nname = \"w\"\n"
        )
    };
    let refusals = |legs: &str| Scenario::parse("t", &source(legs), &|_| Err(String::new())).unwrap().refusals;
    let problems = refusals("");
    assert!(problems[0].message.contains("nothing takes any time") && problems[0].help.is_some(), "{problems:?}");
    assert_eq!(refusals("network = { client = \"1ms\" }\n"), []);
}

// ---- Time series ----

/// A request every 10 ms that stays for 5 ms: half a request at any time. The first one comes after 10 ms, so the first bin
/// of 100 ms has nine of them.
#[test]
fn a_bin_has_the_mean_over_its_time() {
    let before = "kind = \"terminating\"\nduration = \"1s\"\nbins = 10\nreplications = 2\n\
                  arrivals = { constant = { rate = \"100/s\" } }\nservice = { constant = { value = \"5ms\" } }";
    let summary = summary(&of(before, "", ""));
    let found: Vec<f64> = summary.series.iter().map(|point| point.in_system).collect();
    let right: Vec<f64> = (0..10).map(|i| if i == 0 { 0.45 } else { 0.5 }).collect();
    assert_eq!(found, right);
    assert!((summary.series[3].time - 0.35).abs() < 1e-9, "the middle of the bin");
}

/// M(t)/M/inf with a rate of 200 t: m(t) = 200 (t / mu - (1 - e^(-mu t)) / mu²); over bins of a second, in 40 runs.
#[test]
fn a_ramp_into_infinitely_many_servers() {
    let before = "kind = \"terminating\"\nduration = \"8s\"\nbins = 8\nreplications = 40\n\
                  arrivals = { ramp = { from = \"0/s\", to = \"1600/s\" } }\nservice = { exponential = { mean = \"500ms\" } }";
    let summary = summary(&of(before, "", "concurrency = 1000000"));
    let (mu, steps) = (2.0, 1000);
    let number = |t: f64| 200.0 * (t / mu - (1.0 - evenkeel::math::exp(-mu * t)) / (mu * mu));
    for (i, point) in summary.series.iter().enumerate() {
        let mean = (0..steps).map(|j| number(i as f64 + (f64::from(j) + 0.5) / f64::from(steps))).sum::<f64>();
        let mean = mean / f64::from(steps);
        // The number is Poisson at any time; over a bin of two service times it varies less.
        let deviation = (mean / 40.0).sqrt();
        assert!((point.in_system - mean).abs() < 4.0 * deviation, "bin {i}: {}, not {mean}", point.in_system);
    }
}

// ---- Requests that give up ----

/// What came, and how it ended.
#[derive(Default)]
struct Watched {
    /// By job: the request in this place.
    here: BTreeMap<u32, u64>,
    /// By number: arrival and work.
    came: BTreeMap<u64, (Nanos, Nanos)>,
    ended: BTreeMap<u64, (RequestOutcome, Nanos)>,
}

impl Observer for Watched {
    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        self.here.insert(job, arrival.id);
        self.came.insert(arrival.id, (arrival.at, arrival.demand));
    }
    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        if let Step::Ended(end) = step {
            self.ended.insert(self.here[&job], (end, now));
        }
    }
}

/// A naive server: all that wait and all that are served in two lists, the next event is searched for. Those whose time
/// is up leave the queue, and stay where they are if they are being served.
struct Naive {
    slots: usize,
    limit: usize,
    patience: f64,
    shared: bool,
}

/// Number, time at which its client gives up, work that is left.
type Waiting = Vec<(u64, f64, f64)>;

impl Naive {
    fn outcomes(&self, requests: &BTreeMap<u64, (Nanos, Nanos)>, until: Nanos) -> BTreeMap<u64, (RequestOutcome, f64)> {
        let mut coming: Vec<(u64, f64, f64)> =
            requests.iter().map(|(&id, &(at, work))| (id, at.0 as f64, work.0 as f64)).collect();
        coming.sort_by(|a, b| a.1.total_cmp(&b.1));
        coming.reverse();
        let (mut queue, mut served) = (Waiting::new(), Waiting::new());
        let mut ended = BTreeMap::new();
        let mut now = 0.0;
        loop {
            while served.len() < self.slots && !queue.is_empty() {
                served.push(queue.remove(0));
            }
            let rate = if self.shared { 1.0 / served.len().max(1) as f64 } else { 1.0 };
            let arrival = coming.last().map_or(f64::INFINITY, |c| c.1);
            let done = served.iter().map(|s| now + s.2 / rate).fold(f64::INFINITY, f64::min);
            let waits = |id: &u64| !ended.contains_key(id);
            let over = queue.iter().chain(&served).filter(|s| waits(&s.0)).map(|s| s.1).fold(f64::INFINITY, f64::min);
            let next = arrival.min(done).min(over);
            if next > until.0 as f64 {
                return ended;
            }
            served.iter_mut().for_each(|s| s.2 -= (next - now) * rate);
            now = next;
            if done == next {
                let first = (0..served.len()).min_by(|&a, &b| served[a].2.total_cmp(&served[b].2)).unwrap();
                let (id, ..) = served.remove(first);
                ended.entry(id).or_insert((RequestOutcome::Ok, now));
            } else if over == next {
                let late = |s: &(u64, f64, f64)| s.1 == next;
                let ids: Vec<u64> = queue.iter().chain(&served).filter(|s| late(s)).map(|s| s.0).collect();
                for id in ids {
                    ended.entry(id).or_insert((RequestOutcome::TimedOut, now));
                }
                queue.retain(|s| !late(s));
            } else {
                let (id, at, work) = coming.pop().unwrap();
                if served.len() == self.slots && queue.len() >= self.limit {
                    ended.insert(id, (RequestOutcome::Rejected, now));
                } else {
                    queue.push((id, at + self.patience, work));
                }
            }
        }
    }
}

/// Request by request: which are served, which give up and which are rejected, at one slot and several, with a queue
/// before slots and before a shared processor. A request whose client has gone holds no place in the queue.
#[test]
fn abandoned_requests_leave_the_queue_at_once() {
    for (rate, slots, limit, patience, shared) in [
        (60, 1, 3, 20, false),
        (60, 1, 1000, 20, false),
        (250, 3, 4, 30, false),
        (90, 2, 3, 40, true),
        (150, 4, 1, 25, true),
    ] {
        let before = format!(
            "kind = \"terminating\"\nduration = \"60s\"\nallow_overload = true\nclients = {{ timeout = \"{patience}ms\", servers_see_cancel = true }}\n\
             arrivals = {{ poisson = {{ rate = \"{rate}/s\" }} }}\n\
             service = {{ bimodal = {{ short = \"1ms\", long = \"100ms\", long_share = \"10%\" }} }}"
        );
        let discipline = if shared { "ps" } else { "fcfs" };
        let server = format!("concurrency = {slots}\nqueue_limit = {limit}\ndiscipline = \"{discipline}\"");
        let scenario = of(&before, "", &server);
        let mut watched = Watched::default();
        let record = observe(&scenario.setup(0, 0), &|| false, &mut watched).unwrap();
        let naive = Naive { slots, limit, patience: patience as f64 * 1e6, shared };
        let until = Nanos::from_secs(60);
        let right = naive.outcomes(&watched.came, until);
        let counted = |end: RequestOutcome| right.values().filter(|(e, _)| *e == end).count();
        assert!(counted(RequestOutcome::Ok) > 1000 && counted(RequestOutcome::TimedOut) > 100, "{slots} {limit}");
        for (id, (end, at)) in &right {
            let Some(&(got, when)) = watched.ended.get(id) else { panic!("request {id} has not ended") };
            assert_eq!(got, *end, "request {id} of {slots} slots, limit {limit}, shared {shared}");
            assert!((when.0 as f64 - at).abs() < 2000.0, "request {id}: {when} and {at}");
        }
        assert!(record.requests as usize >= right.len());
    }
}

/// Little's law holds in every run or it panics; here with everything that can take a request out of a queue: per-try
/// time-outs, hedges that are called off, crashes, clients that give up.
#[test]
fn littles_law_holds_however_requests_leave_the_queue() {
    for pool in [
        "retries = { on = [\"timeout\", \"reset\", \"rejected\"], per_try_timeout = \"15ms\", max_retries = 3, budget = \"100%\" }",
        "hedge = { after = \"5ms\", budget = \"50%\", tied = true }",
        "hedge = { after = \"p90\", budget = \"20%\" }\nretries = { on = [\"connect\", \"reset\"], budget = \"50%\" }",
    ] {
        for discipline in ["fcfs", "ps"] {
            let before = "kind = \"terminating\"\nduration = \"20s\"\nallow_overload = true\nclients = { timeout = \"60ms\", servers_see_cancel = true }\n\
                 network = { server = \"500us\" }\narrivals = { poisson = { load = \"105%\" } }\nservice = { exponential = { mean = \"10ms\" } }\n\
                 [[faults]]\ntarget = \"w/*\"\nat = \"5s\"\nfor = \"1s\"\nstagger = \"2s\"\nkind = { crash = {} }";
            let server = format!("count = 3\nconcurrency = 2\nqueue_limit = 6\ndiscipline = \"{discipline}\"");
            let record = run(&of(before, pool, &server));
            let all = &record.measured.all;
            assert!(
                all.ok() > 1000 && all.ends[RequestOutcome::TimedOut as usize] > 50,
                "{pool} {discipline}: {:?}",
                all.ends
            );
        }
    }
}

// ---- Failures that take time ----

/// One of two balancers is dead, and half of the clients have only its address: their waiting counts in the latency.
#[test]
fn waiting_for_a_dead_address_counts_in_the_latency() {
    let before = "kind = \"terminating\"\nduration = \"20s\"\nreplications = 2\nclients = { connect_timeout = \"1s\" }\n\
        arrivals = { poisson = { rate = \"200/s\" } }\nservice = { constant = { value = \"1ms\" } }\nbalancers = { count = 2 }\n\
        dns = { ttl = \"1h\", resolvers = 2 }\n[[faults]]\ntarget = \"balancer/2\"\nat = \"0s\"\nkind = { crash = {} }";
    let summary = summary(&of(before, "", ""));
    let lost = summary.value("errors.unreachable");
    assert!((lost - 0.5).abs() < 0.05, "{lost}");
    assert!((summary.value("latency.p99") - 1.0).abs() < 0.001, "{}", summary.value("latency.p99"));
    let mean = lost + (1.0 - lost) * 0.00125;
    assert!((summary.value("latency.mean") / mean - 1.0).abs() < 0.01, "{}", summary.value("latency.mean"));
    assert!(summary.series.iter().any(|point| point.p99 > 0.99), "and in its course");
}

/// A failure counts where it was held for longer than its work takes, and not where it was refused or came sooner.
#[test]
fn slow_failures_count_and_quick_ones_do_not() {
    let latency = |more: &str, pool: &str, server: &str| {
        let before = format!(
            "kind = \"terminating\"\nduration = \"10s\"\nreplications = 1\nallow_overload = true\n\
             service = {{ constant = {{ value = \"10ms\" }} }}\n{more}"
        );
        summary(&of(&before, pool, server))
    };
    let arrivals = "arrivals = { constant = { rate = \"50/s\" } }\n";
    let errors = |took: &str| {
        format!(
            "{arrivals}[[faults]]\ntarget = \"w/w\"\nat = \"0s\"\nkind = {{ errors = {{ share = \"20%\", latency = \"{took}\" }} }}"
        )
    };
    for (took, p99) in [("500ms", 0.5), ("11ms", 0.011), ("9ms", 0.010), ("0s", 0.010)] {
        let s = latency(&errors(took), "", "");
        assert!((s.value("errors.error") - 0.2).abs() < 0.05);
        assert!((s.value("latency.p99") - p99).abs() < 0.001, "{took}: {}", s.value("latency.p99"));
    }
    // Twice what the server can do, and room for one: half are refused at once and are not in it.
    let busy = "arrivals = { constant = { rate = \"200/s\" } }\n";
    let s = latency(busy, "", "queue_limit = 0");
    assert!(s.value("errors.rejected") > 0.3 && (s.value("latency.mean") - 0.010).abs() < 1e-4);
    // At the balancer, before a server that has become very slow: rejected after 50 ms of waiting.
    let slow = format!("{busy}[[faults]]\ntarget = \"w/w\"\nat = \"0s\"\nkind = {{ slow = {{ factor = 1000 }} }}");
    let s = latency(&slow, "queue = { limit = 100, timeout = \"50ms\" }", "max_in_flight = 1");
    assert!(s.value("errors.rejected") > 0.9, "{}", s.value("errors.rejected"));
    assert!((s.value("latency.p50") - 0.050).abs() < 1e-4, "{}", s.value("latency.p50"));
    // A server dies with what is in it: those that had waited for long count, the connections that are refused do not.
    let crash = "arrivals = { constant = { rate = \"120/s\" } }\n[[faults]]\ntarget = \"w/w\"\nat = \"5s\"\nkind = { crash = {} }";
    let s = latency(crash, "", "");
    assert!((s.value("errors.reset") - 0.58).abs() < 0.03, "{}", s.value("errors.reset"));
    assert!((s.value("latency.p99") - 0.83).abs() < 0.05, "{}", s.value("latency.p99"));
}

// ---- Numbers that are too large ----

/// Every number that a file can hold gets a result or an error at once.
#[test]
fn theory_is_asked_for_at_any_size() {
    let exact = |load: &str, service: &str, server: &str| {
        let before = format!("duration = \"1s\"\narrivals = {{ poisson = {{ {load} }} }}\nservice = {service}");
        let scenario = of(&before, "", server);
        evenkeel::measure::exact_values::exact(&scenario, &scenario.variants[0].table)
    };
    let (exponential, constant) = ("{ exponential = { mean = \"5ms\" } }", "{ constant = { value = \"5ms\" } }");
    let rate = "rate = \"100/s\"";
    for service in [exponential, constant] {
        let found = exact(rate, service, "concurrency = 4294967295").unwrap();
        assert!((found.mean - 0.005).abs() < 1e-9 && found.theorem.ends_with("/4294967295"), "{found:?}");
    }
    let found = exact(rate, exponential, "queue_limit = 4294967294").unwrap();
    assert!((found.mean - 0.010).abs() < 1e-9, "{found:?}");
    let found = exact("load = \"99.99999%\"", constant, "").unwrap();
    assert!((found.mean / 25_000.0 - 1.0).abs() < 1e-6 && found.p99.is_none(), "{found:?}");
    let found = exact("load = \"99.99999%\"", exponential, "discipline = \"ps\"").unwrap();
    assert!((found.mean / 50_000.0 - 1.0).abs() < 1e-6 && found.p99.is_none(), "{found:?}");
    let found = exact("load = \"99.99999%\"", exponential, "queue_limit = 4294967294").unwrap();
    assert!((found.mean / 50_000.0 - 1.0).abs() < 1e-6, "{found:?}");
    let _ = exact("load = \"99.9999999%\"", constant, "concurrency = 4294967295");
    let _ = exact("load = \"99.9999999%\"", exponential, "concurrency = 4294967295\nqueue_limit = 1");
}

const FLOOD: &str = "title = \"t\"\nquestion = \"q\"\nduration = \"100s\"\nwarmup = \"0s\"\nreplications = 2\nstrategies = [\"random\"]\n\
    allow_overload = true\nmax_in_system = 100000\narrivals = { poisson = { rate = \"1e7/s\" } }\nservice = { exponential = { mean = \"5ms\" } }\n\
    [[pools]]\nname = \"w\"\n[[pools.servers]]\nname = \"w\"\n";

/// Requests, timers that outlive them, and caches: each ends the run with its own advice, at the same event everywhere.
#[test]
fn a_run_that_holds_too_much_is_given_up() {
    let end = |source: &str| observe(&scenario(source).setup(0, 0), &|| false, &mut ()).unwrap_err();
    let Stopped::TooLarge(size) = end(FLOOD) else { panic!("interrupted") };
    assert!(size.jobs > 100_000 && size.jobs < 200_000 && size.at < Nanos::from_millis(20), "{size:?}");
    assert_eq!(end(FLOOD), Stopped::TooLarge(size));
    assert!(
        size.to_string().contains("max_in_system") && size.to_string().contains("too many requests in the system"),
        "{size}"
    );
    let timers = FLOOD.replace("mean = \"5ms\"", "mean = \"50ns\"") + "\n[clients]\ntimeout = \"1h\"\n";
    let Stopped::TooLarge(size) = end(&timers) else { panic!("interrupted") };
    assert!(size.jobs < 1000 && size.events > 400_000 && size.to_string().contains("too many timers"), "{size}");
    let cached = FLOOD.replace("mean = \"5ms\"", "mean = \"50ns\"")
        + "cache = { capacity = 4000000000 }\n[keys]\ncount = 10000000\n";
    let Stopped::TooLarge(size) = end(&cached) else { panic!("interrupted") };
    assert!(size.cached > 190_000 && size.to_string().contains("help: lower the `capacity`"), "{size}");
    assert!(run(&scenario(&FLOOD.replace("1e7/s", "100/s"))).requests > 9000, "what fits is run");
}

/// One scenario of three cannot be held: the others are written, and the exit code says that something is missing.
#[test]
fn other_scenarios_go_on() {
    let folder = Folder::new();
    let small = FLOOD.replace("1e7/s", "100/s").replace("\"100s\"", "\"2s\"");
    let files = [("a", small.as_str()), ("b", FLOOD), ("c", &small)]
        .map(|(name, source)| folder.file(&format!("{name}.toml"), source));
    for jobs in ["1", "3"] {
        let out = folder.path().join(format!("out{jobs}"));
        let output =
            evenkeel().arg("run").args(&files).args(["-q", "--jobs", jobs, "--out"]).arg(&out).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
        let said = text(&output.stderr);
        assert!(
            said.contains("error: b: random, run") && said.contains("help: ") && !said.contains("error: a"),
            "{said}"
        );
        let whole = |name: &str| out.join(name).join("manifest.json").exists();
        assert!(whole("a") && !whole("b") && whole("c"));
    }
}

// ---- Verdicts ----

fn judged(before: &str, server: &str) -> Summary {
    summary(&of(before, "", server))
}

/// M/M/1 with 5 ms of work, so many runs of one length.
fn mm1(load: &str, mean: &str, duration: &str, warmup: &str, runs: u32) -> Summary {
    let before = format!(
        "duration = \"{duration}\"\nwarmup = \"{warmup}\"\nreplications = {runs}\narrivals = {{ poisson = {{ load = \"{load}\" }} }}\n\
         service = {{ exponential = {{ mean = \"{mean}\" }} }}"
    );
    judged(&before, "")
}

#[test]
fn a_run_that_is_short_for_its_load_is_called_so() {
    for (load, mean, duration, warmup) in [
        ("99.9%", "5ms", "60s", "1s"),
        ("99%", "5ms", "60s", "1s"),
        ("50%", "10ms", "100ms", "10ms"),
        ("90%", "10ms", "2s", "0s"),
    ] {
        let s = mm1(load, mean, duration, warmup, 10);
        assert_eq!(s.stability.verdict, Verdict::TooShort, "{load}: {:?}", s.stability);
        assert!(s.stability.reason.contains("relaxation time"), "{}", s.stability.reason);
    }
    for (load, mean, duration, warmup) in
        [("50%", "10ms", "20s", "1s"), ("80%", "5ms", "60s", "5s"), ("95%", "1ms", "60s", "5s")]
    {
        let s = mm1(load, mean, duration, warmup, 5);
        assert_eq!(s.stability.verdict, Verdict::Stable, "{load}: {:?}", s.stability);
    }
    // Few requests and queues that seem to grow: nothing is said, whatever the load.
    let before = "duration = \"200ms\"\nwarmup = \"0s\"\nreplications = 10\nallow_overload = true\n\
                  arrivals = { poisson = { rate = \"200/s\" } }\nservice = { exponential = { mean = \"10ms\" } }";
    let s = judged(before, "");
    assert_eq!(s.stability.verdict, Verdict::TooShort, "{:?}", s.stability);
    assert!(s.stability.reason.contains("too few"), "{}", s.stability.reason);
    // Queues that are bounded settle soon, whatever the load.
    let bounded = "duration = \"20s\"\nwarmup = \"1s\"\nreplications = 5\narrivals = { poisson = { load = \"99.9%\" } }\n\
                   service = { exponential = { mean = \"5ms\" } }";
    assert_eq!(judged(bounded, "queue_limit = 10").stability.verdict, Verdict::Stable);
}

#[test]
fn no_request_is_no_steady_state() {
    let before = "duration = \"1s\"\nwarmup = \"0s\"\nreplications = 3\narrivals = { poisson = { rate = \"1/h\" } }\n\
                  service = { exponential = { mean = \"10ms\" } }";
    let s = judged(before, "");
    assert_eq!(s.stability.verdict, Verdict::NoRequests);
    let folder = Folder::new();
    let source = format!(
        "title = \"t\"\nquestion = \"q\"\nstrategies = [\"random\", \"p2c\"]\n{before}\n[[pools]]\nname = \"w\"\n[[pools.servers]]\nname = \"w\"\n"
    );
    let file = folder.file("none.toml", &source);
    let output = evenkeel().arg("run").arg(&file).args(["-q", "--dry-run"]).output().unwrap();
    let said = text(&output.stdout);
    assert!(said.contains("No request arrived in the measured span") && said.contains("no requests"), "{said}");
    assert!(!said.contains("stable\n") && !said.contains("│ stable"), "{said}");
}

/// What is said beside a theorem is true: of one run, of many, of those that are too short.
#[test]
fn what_is_said_of_theory_is_so() {
    let folder = Folder::new();
    let said = |name: &str, load: &str, duration: &str, runs: u32| {
        let source = format!(
            "title = \"t\"\nquestion = \"q\"\nstrategies = [\"random\"]\nduration = \"{duration}\"\nwarmup = \"1s\"\nreplications = {runs}\n\
             arrivals = {{ poisson = {{ load = \"{load}\" }} }}\nservice = {{ exponential = {{ mean = \"5ms\" }} }}\n\
             [[pools]]\nname = \"w\"\n[[pools.servers]]\nname = \"w\"\n"
        );
        let file = folder.file(name, &source);
        text(&evenkeel().arg("run").arg(&file).args(["-q", "--dry-run"]).output().unwrap().stdout)
    };
    let short = said("short.toml", "99.9%", "10s", 10);
    assert!(short.contains("Note: random: run too short: at a load of 99.9 %"), "{short}");
    assert!(short.contains("too short to compare with a steady state") && !short.contains("chance"), "{short}");
    let one = said("one.toml", "50%", "10s", 1);
    assert!(one.contains("one run has no interval"), "{one}");
    let two = said("two.toml", "50%", "10s", 2);
    assert!(two.contains("interval") && !two.contains("one run has no interval"), "{two}");
    assert!(!two.contains('±') || !two.contains("±0"), "two runs decide nothing: {two}");
    assert!(two.contains("offered load 50 %, servers 5") || two.contains("offered load 50 %, servers 4"), "{two}");
}

/// A warning and no error: the file is sound, and its retries can do nothing.
#[test]
fn retries_without_another_server_are_warned_of() {
    let folder = Folder::new();
    let source = |pool: &str| {
        format!(
            "title = \"t\"\nquestion = \"q\"\nstrategies = [\"random\"]\nduration = \"1s\"\nreplications = 1\narrivals = {{ poisson = {{ rate = \"10/s\" }} }}\n\
             service = {{ exponential = {{ mean = \"5ms\" }} }}\n[[pools]]\nname = \"w\"\nretries = {{ on = [\"error\"] }}\n{pool}"
        )
    };
    for (name, pool, warned) in [
        ("one.toml", "[[pools.servers]]\nname = \"a\"\n", true),
        ("two.toml", "[[pools.servers]]\nname = \"a\"\ncount = 2\n", false),
        ("drained.toml", "[[pools.servers]]\nname = \"a\"\n[[pools.servers]]\nname = \"b\"\nweight = 0\n", true),
        ("subset.toml", "subset = { size = 1 }\n[[pools.servers]]\nname = \"a\"\ncount = 2\n", true),
    ] {
        let file = folder.file(name, &source(pool));
        let output = evenkeel().arg("run").arg(&file).args(["-q", "--dry-run"]).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.contains("warning: `retries` do nothing: pool `w`"), warned, "{name}: {said}");
        assert_eq!(
            said.contains(&format!("{name}:10:")) && said.contains("help: add a server"),
            warned,
            "{name}: {said}"
        );
    }
}
