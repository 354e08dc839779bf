//! The recorder against an observer that keeps everything, and its bounds.

use std::collections::BTreeMap;

use super::full_trace::{self, Event, FullTrace, parse, scenario, watch};
use crate::measure::run_all;
use crate::scenario::Scenario;
use crate::sim::observe;
use crate::sim::record::ENDS;
use crate::sim::timeline::{Change, Line, MOST_EVENTS, MOST_LIMITS, Recorder, SLOWEST, StepKind, Timeline};

/// Scenarios that show every kind of event, with few strategies, some of them shorter.
fn cases() -> Vec<Scenario> {
    let mut cases = vec![
        scenario("slow-server", &["p2c", "round_robin"]),
        scenario("crash", &["least_request"]),
        scenario("outlier-ejection", &["round_robin"]),
        scenario("retry-storm", &["round_robin"]),
        scenario("autoscale", &["p2c"]),
    ];
    let mut cache = scenario("cache-affinity", &["ip_hash"]);
    cache.model.duration.0 /= 8;
    let mut hedging = scenario("hedging", &["random"]);
    hedging.model.duration.0 /= 4;
    cases.extend([cache, hedging, queues()]);
    cases
}

/// Few slots, a limit that adapts, and a queue at the balancer.
fn queues() -> Scenario {
    let source = "title = \"t\"\nquestion = \"q\"\nkind = \"terminating\"\nduration = \"20s\"\nallow_overload = true\n\
         strategies = [\"least_request\"]\narrivals = { poisson = { rate = \"700/s\" } }\n\
         service = { exponential = { mean = \"10ms\" } }\nclients = { timeout = \"1s\" }\n[[pools]]\nname = \"w\"\n\
         concurrency = { kind = \"aimd\", per = \"server\", latency_threshold = \"30ms\" }\nqueue = { limit = 200, timeout = \"500ms\" }\n\
         [[pools.servers]]\nname = \"w\"\ncount = 8\n[[faults]]\ntarget = \"w/w-2\"\nat = \"5s\"\nfor = \"5s\"\n\
         kind = { crash = { silent = true } }\n";
    parse("queues", source, &["least_request"])
}

fn at(series: &[u32], bin: usize) -> u64 {
    series.get(bin).copied().map_or(0, u64::from)
}

/// The parts of a run in which something is counted: every bin, or every phase.
fn spans(timeline: &Timeline, trace: &FullTrace) -> Vec<(u64, u64)> {
    let end = trace.end + 1;
    let bins = (0..u64::from(timeline.bins)).map(|i| (i * timeline.bin_ns, ((i + 1) * timeline.bin_ns).min(end)));
    bins.collect()
}

/// Counts jobs by server and span.
fn tally(
    spans: &[(u64, u64)],
    servers: usize,
    trace: &FullTrace,
    when: impl Fn(&full_trace::Job) -> Option<u64>,
) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; servers]; spans.len()];
    for job in &trace.jobs {
        let (Some(at), Some(server)) = (when(job), job.server) else { continue };
        let span = spans.partition_point(|&(_, to)| to <= at);
        counts[span][server as usize] += 1;
    }
    counts
}

fn look_up(job: &full_trace::Job, hit: bool) -> Option<u64> {
    job.started.filter(|&(_, found)| found == Some(hit)).map(|(at, _)| at)
}

fn check_servers(name: &str, timeline: &Timeline, trace: &FullTrace) {
    let servers = timeline.servers.len();
    let phases: Vec<(u64, u64)> = timeline.phases.iter().map(|phase| (phase.from_ns, phase.to_ns)).collect();
    let whole: Vec<(u64, u64)> = {
        let mut phases = phases.clone();
        phases.last_mut().unwrap().1 = u64::MAX;
        phases
    };
    let bins = spans(timeline, trace);
    for (spans, by_phase) in [(&bins, false), (&whole, true)] {
        let of = |when: &dyn Fn(&full_trace::Job) -> Option<u64>| tally(spans, servers, trace, when);
        let (picks, errors) = (of(&|job| job.picked), of(&|job| job.failed));
        let (hits, misses) = (of(&|job| look_up(job, true)), of(&|job| look_up(job, false)));
        for (i, &(from, to)) in spans.iter().enumerate() {
            for server in 0..servers {
                let series = &timeline.servers[server];
                let got = if by_phase {
                    let phase = &timeline.phases[i].servers[server];
                    [phase.picks, phase.errors, phase.hits, phase.misses]
                } else {
                    [&series.picks, &series.errors, &series.hits, &series.misses].map(|series| at(series, i))
                };
                let wanted = [&picks, &errors, &hits, &misses].map(|counts| counts[i][server]);
                assert_eq!(got, wanted, "{name}, server {server} from {from} to {to}");
            }
        }
    }
    for (phase, &(from, to)) in timeline.phases.iter().zip(&whole) {
        for (server, counts) in phase.servers.iter().enumerate() {
            let change = |event: &Event| match event {
                Event::Number(of, by) if *of == server as u32 => *by,
                _ => 0,
            };
            let peak = trace.peak(from, to, change);
            assert_eq!((i64::from(counts.in_server.value), counts.in_server.at_ns), peak, "{name}, server {server}");
            let evicted = |event: &Event| match event {
                Event::Evicted(of, entries) if *of == server as u32 => u64::from(*entries),
                _ => 0,
            };
            assert_eq!(counts.evictions, trace.count(from, to, evicted), "{name}");
        }
    }
    // Peaks by bin, for a few servers: each takes a walk through the whole trace.
    let changes: Vec<(u64, u32, i64)> = trace
        .events
        .iter()
        .filter_map(|(at, event)| if let Event::Number(of, by) = event { Some((*at, *of, *by)) } else { None })
        .collect();
    let mut levels = vec![0_i64; servers];
    let mut next = 0;
    for (i, &(_, to)) in bins.iter().enumerate() {
        let mut most = levels.clone();
        while next < changes.len() && (changes[next].0 < to || i + 1 == bins.len()) {
            let (_, server, by) = changes[next];
            levels[server as usize] += by;
            most[server as usize] = most[server as usize].max(levels[server as usize]);
            next += 1;
        }
        for (server, most) in most.into_iter().enumerate() {
            assert_eq!(at(&timeline.servers[server].in_server, i) as i64, most, "{name}, server {server}, bin {i}");
        }
    }
}

fn check_pools(name: &str, scenario: &Scenario, timeline: &Timeline, trace: &FullTrace) {
    let model = &scenario.model;
    let pool_of = |job: &full_trace::Job| model.paths[job.path as usize].pool;
    let request = |job: &&full_trace::Job| job.parent.is_none() && job.attempt_of.is_none();
    let requests: Vec<&full_trace::Job> = trace.jobs.iter().filter(request).collect();
    for (i, phase) in timeline.phases.iter().enumerate() {
        let to = if i + 1 == timeline.phases.len() { u64::MAX } else { phase.to_ns };
        let here = |at: u64| (phase.from_ns..to).contains(&at);
        let ended: Vec<&full_trace::Job> =
            requests.iter().copied().filter(|job| job.ended.is_some_and(|(at, _)| here(at))).collect();
        for (p, pool) in phase.pools.iter().enumerate() {
            if model.paths.iter().any(|path| path.pool == p) {
                let arrived = |job: &&&full_trace::Job| pool_of(job) == p && here(job.arrived);
                assert_eq!(pool.arrivals, requests.iter().filter(arrived).count() as u64, "{name}");
            }
            let of_pool = || ended.iter().filter(|job| pool_of(job) == p).filter_map(|job| Some((job, job.ended?)));
            for (outcome, label) in ENDS {
                let so = || of_pool().filter(|(_, (_, end))| *end == outcome);
                let ends = pool.ends.get(label).copied().unwrap_or_default();
                assert_eq!(ends.count, so().count() as u64, "{name}: {label}");
                let first = so().map(|(_, (at, _))| at).min();
                assert_eq!(ends.first_ns, first.unwrap_or(0), "{name}: {label}");
            }
            let sum: u64 = of_pool().map(|(job, (at, _))| at - job.arrived).sum();
            assert_eq!(pool.latency_sum_ns, sum, "{name}");
            let of = |pool: &u32| *pool as usize == p;
            let retries = |event: &Event| u64::from(matches!(event, Event::Retried(pool) if of(pool)));
            let hedges = |event: &Event| u64::from(matches!(event, Event::Hedged(pool) if of(pool)));
            assert_eq!(pool.retries, trace.count(phase.from_ns, to, retries), "{name}");
            assert_eq!(pool.hedges, trace.count(phase.from_ns, to, hedges), "{name}");
            let waits = |event: &Event| {
                if let Event::Waits { pool, by } = event
                    && of(pool)
                {
                    *by
                } else {
                    0
                }
            };
            let peak = trace.peak(phase.from_ns, to, waits);
            assert_eq!((i64::from(pool.waiting.value), pool.waiting.at_ns), peak, "{name}");
        }
    }
    let mut ends: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, end) in trace.jobs.iter().filter_map(|job| job.ended) {
        *ends.entry(ENDS[end as usize].1).or_default() += 1;
    }
    let series = timeline.outcomes();
    let sums: BTreeMap<&str, u64> = series.iter().map(|(name, series)| (name.as_str(), series.iter().sum())).collect();
    assert_eq!(sums, ends, "{name}");
}

fn check_events(name: &str, scenario: &Scenario, timeline: &Timeline, trace: &FullTrace) {
    let bases: Vec<u32> = scenario
        .model
        .pools
        .iter()
        .scan(0, |sum, pool| {
            let base = *sum;
            *sum += pool.servers.len() as u32;
            Some(base)
        })
        .collect();
    let known = |(at, event): &(u64, Event)| {
        let server = |pool: &u32, slot: &u32| bases[*pool as usize] + slot;
        let kind = match event {
            Event::Fault(fault, true) => ("fault_started", *fault),
            Event::Fault(fault, false) => ("fault_ended", *fault),
            Event::Health { pool, slot, up: true, .. } => ("up", server(pool, slot)),
            Event::Health { pool, slot, up: false, .. } => ("down", server(pool, slot)),
            Event::Ejected { pool, slot, .. } => ("ejected", server(pool, slot)),
            Event::Returned { pool, slot, .. } => ("returned", server(pool, slot)),
            Event::Booting(pool, _) => ("booting", *pool),
            Event::CacheLost(server, _) => ("cache_lost", *server),
            Event::Server { pool, slot, change } => match change {
                crate::sim::observer::ServerChange::Joined => ("joined", server(pool, slot)),
                crate::sim::observer::ServerChange::Left => ("left", server(pool, slot)),
                crate::sim::observer::ServerChange::Draining(_) => ("draining", server(pool, slot)),
            },
            _ => return None,
        };
        Some((*at, kind.0, kind.1))
    };
    let wanted: Vec<(u64, &str, u32)> = trace.events.iter().filter_map(known).collect();
    let got = timeline.events.iter().filter_map(|exact| {
        let of = match exact.change {
            Change::FaultStarted { fault } | Change::FaultEnded { fault } => fault,
            Change::Down { server, .. } | Change::Up { server, .. } => server,
            Change::Ejected { server, .. } | Change::Returned { server, .. } => server,
            Change::Joined { server } | Change::Left { server } | Change::Draining { server, .. } => server,
            Change::Booting { pool, .. } => pool,
            Change::CacheLost { server, .. } => server,
            Change::Panic { .. } | Change::Limit { .. } => return None,
        };
        Some((exact.at_ns, exact.change.kind(), of))
    });
    assert_eq!(got.collect::<Vec<_>>(), wanted, "{name}");
    let limits = trace.events.iter().filter(|(_, event)| *event == Event::Limit).count() as u64;
    let kept = timeline.events.iter().filter(|exact| exact.change.kind() == "limit").count() as u64;
    assert_eq!(kept + timeline.left_out.get("limit").copied().unwrap_or(0), limits, "{name}");
    assert!(kept <= MOST_LIMITS as u64 && timeline.events.len() <= MOST_EVENTS);
}

fn check_slowest(name: &str, timeline: &Timeline, trace: &FullTrace) {
    let mut all: Vec<(std::cmp::Reverse<u64>, u64, u64)> = trace
        .jobs
        .iter()
        .filter(|job| job.measured && job.parent.is_none() && job.attempt_of.is_none())
        .map(|job| (std::cmp::Reverse(job.ended.map_or(trace.end, |(at, _)| at) - job.arrived), job.arrived, job.id))
        .collect();
    all.sort_unstable();
    let got: Vec<_> = timeline
        .slowest
        .iter()
        .map(|life| (std::cmp::Reverse(life.latency_ns), life.arrived_ns, life.request))
        .collect();
    assert_eq!(got, all[..SLOWEST], "{name}");
    for life in &timeline.slowest {
        let times: Vec<u64> = life.steps.iter().map(|step| step.at_ns).collect();
        assert!(times.is_sorted() && times[0] == life.arrived_ns, "{name}: {life:?}");
        assert_eq!(*times.last().unwrap(), life.arrived_ns + life.latency_ns);
        let count = |what: StepKind| life.steps.iter().filter(|step| step.what == what).count();
        let parts: Vec<&full_trace::Job> = trace.jobs.iter().filter(|job| job.id == life.request).collect();
        let until = life.arrived_ns + life.latency_ns;
        let before = |at: Option<u64>| at.is_some_and(|at| at <= until);
        assert_eq!(count(StepKind::Entered), parts.iter().filter(|job| before(job.entered)).count(), "{name}");
        assert_eq!(count(StepKind::Picked), parts.iter().filter(|job| before(job.picked)).count(), "{name}");
    }
}

#[test]
fn every_number_agrees_with_the_full_trace() {
    for scenario in cases() {
        for variant in 0..scenario.variants.len() {
            let (_, timeline, trace) = watch(&scenario, variant);
            let name = &scenario.name;
            check_servers(name, &timeline, &trace);
            check_pools(name, &scenario, &timeline, &trace);
            check_events(name, &scenario, &timeline, &trace);
            check_slowest(name, &timeline, &trace);
        }
    }
}

/// The cases are of use only if they have the events.
#[test]
fn the_cases_have_every_kind_of_event() {
    let (mut kinds, mut series) = (BTreeMap::new(), BTreeMap::new());
    for scenario in cases() {
        let (_, timeline, _) = watch(&scenario, 0);
        timeline.events.iter().for_each(|exact| *kinds.entry(exact.change.kind()).or_insert(0) += 1);
        let mut sums = |name, values: &[u32]| {
            *series.entry(name).or_insert(0) += values.iter().map(|&v| u64::from(v)).sum::<u64>()
        };
        for pool in &timeline.pools {
            sums("retries", &pool.retries);
            sums("hedges", &pool.hedges);
            sums("waiting", &pool.waiting);
        }
        for server in &timeline.servers {
            sums("evictions", &server.evictions);
            sums("hits", &server.hits);
            sums("errors", &server.errors);
        }
    }
    let wanted = [
        "booting",
        "down",
        "draining",
        "ejected",
        "fault_ended",
        "fault_started",
        "joined",
        "left",
        "limit",
        "returned",
        "up",
    ];
    assert!(wanted.iter().all(|kind| kinds.contains_key(kind)), "{kinds:?}");
    assert!(series.values().all(|&sum| sum > 0), "{series:?}");
}

#[test]
fn the_recorder_changes_nothing_and_is_deterministic() {
    for scenario in cases() {
        let (record, timeline, _) = watch(&scenario, 0);
        let plain = observe(&scenario.setup(0, 0), &|| false, &mut ()).unwrap();
        let text = |value: &_| serde_json::to_string(value).unwrap();
        assert_eq!(text(&record), text(&plain), "{}", scenario.name);
        let mut recorder = Recorder::new(&scenario.model);
        observe(&scenario.setup(0, 0), &|| false, &mut recorder).unwrap();
        assert_eq!(recorder.finish(), timeline);
        let line = Line { strategy: "s".to_owned(), timeline };
        let text = serde_json::to_string(&line).unwrap();
        let read = Timeline::read(text.as_bytes()).unwrap();
        assert_eq!(read, [(line.strategy, line.timeline)], "{}", scenario.name);
        let later = text.replace("\"schema_version\":1", "\"schema_version\":2");
        assert!(Timeline::read(later.as_bytes()).is_err());
    }
    assert!(run_all(&queues(), &|| false).unwrap()[0].timeline.is_none(), "only where it is asked for");
}

/// Memory depends on the jobs that are there at once and on the number of servers, not on the length of the run.
#[test]
fn memory_is_bounded() {
    let mut sizes = Vec::new();
    for seconds in [40, 160, 640] {
        let source = format!(
            "title = \"t\"\nquestion = \"q\"\nkind = \"terminating\"\nduration = \"{seconds}s\"\nstrategies = [\"random\"]\n\
             arrivals = {{ poisson = {{ rate = \"200/s\" }} }}\nservice = {{ exponential = {{ mean = \"10ms\" }} }}\n\
             [[pools]]\nname = \"w\"\nretries = {{ max_retries = 3, per_try_timeout = \"15ms\", on = [\"timeout\"], budget = \"1000%\" }}\n\
             [[pools.servers]]\nname = \"w\"\ncount = 200\n"
        );
        let scenario = parse("long", &source, &["random"]);
        let mut both = (Recorder::new(&scenario.model), FullTrace::default());
        observe(&scenario.setup(0, 0), &|| false, &mut both).unwrap();
        let records = both.0.records();
        let (timeline, trace) = (both.0.finish(), both.1);
        assert!(records <= 5 * trace.most, "{records} records for {} jobs", trace.most);
        assert!(timeline.bins as usize * timeline.servers.len() <= 1 << 16);
        check_servers("long", &timeline, &trace);
        check_pools("long", &scenario, &timeline, &trace);
        sizes.push((timeline.bin_ns, records));
    }
    let widths: Vec<u64> = sizes.iter().map(|size| size.0 / 100_000_000).collect();
    assert_eq!(widths, [2, 8, 32]);
    assert!(sizes[2].1 < 2 * sizes[0].1, "{sizes:?}");
}
