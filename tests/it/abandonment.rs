//! Clients that give up: `timeout` and `patience` in `[clients]`, as durations and as distributions; and arrivals that
//! are batches or renewals. What theory says of them is in `evenkeel validate`; here is what must hold for every
//! request.

use std::collections::BTreeMap;

use evenkeel::scenario::Scenario;
use evenkeel::sim::observer::{Arrival, Observer, Step};
use evenkeel::sim::record::{RequestOutcome, RunRecord};
use evenkeel::units::Nanos;

use crate::support::scenario;

/// The outcome of each request, by its number.
#[derive(Default)]
struct Fates {
    /// The request for which a job runs; none for calls to a second tier.
    numbers: BTreeMap<u32, u64>,
    requests: BTreeMap<u64, Fate>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Fate {
    arrived: Nanos,
    demand: Nanos,
    /// The first attempt of it that began service did so then.
    begun: Option<Nanos>,
    ended: Option<(Nanos, RequestOutcome)>,
}

impl Observer for Fates {
    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        if arrival.parent.is_some() {
            self.numbers.remove(&job);
            return;
        }
        self.numbers.insert(job, arrival.id);
        if arrival.attempt.is_none() {
            let fate = Fate { arrived: arrival.at, demand: arrival.demand, ..Fate::default() };
            self.requests.insert(arrival.id, fate);
        }
    }

    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        let Some(fate) = self.numbers.get(&job).and_then(|number| self.requests.get_mut(number)) else { return };
        match step {
            Step::Started(_) => _ = fate.begun.get_or_insert(now),
            Step::Ended(end) => fate.ended = Some((now, end)),
            _ => {}
        }
    }
}

fn observe(scenario: &Scenario) -> (Fates, RunRecord) {
    let mut fates = Fates::default();
    let record = evenkeel::sim::observe(&scenario.setup(0, 0), &|| false, &mut fates).unwrap();
    (fates, record)
}

const MS: u64 = 1_000_000;

/// Three servers whose queues grow, with clients as given; what stands under the pool, and under its servers.
fn overloaded(clients: &str, pool: &str, servers: &str) -> String {
    format!(
        "title = \"t\"\nquestion = \"q\"\nduration = \"3s\"\nwarmup = \"100ms\"\nreplications = 1\nallow_overload = true\n\
         strategies = [\"random\"]\narrivals = {{ poisson = {{ rate = \"900/s\" }} }}\n\
         service = {{ exponential = {{ mean = \"4ms\" }} }}\nclients = {{ {clients} }}\n\
         [[pools]]\nname = \"web\"\n{pool}\n[[pools.servers]]\nname = \"web\"\ncount = 3\n{servers}\n"
    )
}

/// The set-ups around a pool in which clients can lose patience.
fn surroundings() -> Vec<(&'static str, String)> {
    let patient = "patience = \"5ms\"";
    let both = "patience = \"5ms\", servers_see_cancel = true";
    let closed = overloaded(&format!("{both}, count = 60"), "", "").replace(
        "{ poisson = { rate = \"900/s\" } }",
        "{ closed = { think = { exponential = { mean = \"30ms\" } } } }",
    );
    let tiers = overloaded(both, "backend = { pool = \"db\", service = { exponential = { mean = \"2ms\" } } }", "")
        + "[[pools]]\nname = \"db\"\n[[pools.servers]]\nname = \"db\"\ncount = 3\n";
    let queue = "queue = { limit = 100, timeout = \"1s\" }";
    let retries = "retries = { max_retries = 2, on = [\"rejected\"], budget = \"50%\" }";
    let hedge = "hedge = { after = \"2ms\", budget = \"50%\" }";
    let tied = "hedge = { after = \"0ms\", budget = \"100%\", tied = true }";
    vec![
        ("alone", overloaded(patient, "", "")),
        ("servers see it", overloaded(both, "", "")),
        ("several slots", overloaded(both, "", "concurrency = 2\nspeed = 0.5")),
        ("sharing", overloaded(both, "", "discipline = \"ps\"\nconcurrency = 2")),
        ("closed", closed),
        ("tiers", tiers),
        ("queue at the balancer", overloaded(patient, queue, "max_in_flight = 1")),
        ("retries", overloaded(both, retries, "queue_limit = 2")),
        ("hedges", overloaded(both, hedge, "")),
        ("tied", overloaded(both, tied, "")),
        ("network", format!("network = {{ client = \"1ms\", server = \"500us\" }}\n{}", overloaded(both, "", ""))),
    ]
}

/// A request that has not begun service when its patience ends leaves at that moment and, where servers see it, never
/// begins; one that has begun is served to its end.
#[test]
fn patience_ends_when_service_begins() {
    for (name, source) in surroundings() {
        let sees = source.contains("servers_see_cancel = true");
        let (fates, record) = observe(&scenario(&source));
        let (mut abandoned, mut late) = (0, 0);
        for (number, fate) in &fates.requests {
            match fate.ended {
                Some((at, RequestOutcome::TimedOut)) => {
                    abandoned += 1;
                    assert_eq!(at, fate.arrived + Nanos(5 * MS), "{name}: {number} left at another moment");
                    assert!(fate.begun.is_none_or(|begun| begun >= at), "{name}: {number} left in service");
                    assert!(!sees || fate.begun.is_none(), "{name}: {number} had left and was served");
                }
                Some((at, RequestOutcome::Ok)) => {
                    let begun = fate.begun.unwrap_or_else(|| panic!("{name}: {number} was answered unserved"));
                    assert!(begun <= fate.arrived + Nanos(5 * MS), "{name}: {number} waited beyond its patience");
                    late += u64::from(at > fate.arrived + Nanos(5 * MS));
                }
                _ => {}
            }
        }
        assert!(abandoned > 50, "{name}: {abandoned} abandoned");
        assert!(late > 10, "{name}: {late} were served beyond their patience");
        assert!(record.measured.all.ends[RequestOutcome::TimedOut as usize] > 0, "{name}");
    }
}

/// A timeout that is drawn: no client waits longer, those that give up do so within the bounds of the distribution, and different
/// requests at different ages.
#[test]
fn timeouts_are_drawn_for_each_request() {
    for (name, source) in surroundings() {
        let drawn = "timeout = { uniform = { from = \"6ms\", to = \"12ms\" } }";
        let source = source.replace("patience = \"5ms\"", drawn);
        let (fates, _) = observe(&scenario(&source));
        let age = |fate: &Fate| fate.ended.map(|(at, end)| (end, (at - fate.arrived).0));
        let ages: Vec<(RequestOutcome, u64)> = fates.requests.values().filter_map(age).collect();
        let mut gave_up: Vec<u64> =
            ages.iter().filter(|(end, _)| *end == RequestOutcome::TimedOut).map(|(_, age)| *age).collect();
        gave_up.sort_unstable();
        gave_up.dedup();
        assert!(gave_up.len() > 50, "{name}: {} ages", gave_up.len());
        assert!(gave_up[0] >= 6 * MS && gave_up[gave_up.len() - 1] <= 12 * MS, "{name}");
        assert!(ages.iter().all(|(_, age)| *age <= 12 * MS), "{name}: one waited longer");
    }
}

/// A duration, and the distribution that is always that duration, are one thing, to the last byte of the results.
#[test]
fn a_duration_is_a_constant_distribution() {
    let plain = overloaded("timeout = \"9ms\", servers_see_cancel = true", "", "");
    let run = |source: &str| serde_json::to_string(&observe(&scenario(source)).1).unwrap();
    let long = plain.replace("timeout = \"9ms\"", "timeout = { constant = { value = \"9ms\" } }");
    assert_eq!(run(&plain), run(&long));
    assert_ne!(run(&plain), run(&plain.replace("\"9ms\"", "\"9.1ms\"")));
}

/// Common random numbers: what is drawn for patience moves nothing else, and every strategy meets the same.
#[test]
fn patience_has_a_stream_of_its_own() {
    let workload = |clients: &str| {
        let (fates, record) = observe(&scenario(&overloaded(clients, "", "")));
        let mut all: Vec<(Nanos, Nanos)> = fates.requests.values().map(|fate| (fate.arrived, fate.demand)).collect();
        all.sort_unstable();
        (all, record.workload_hash)
    };
    let (plain, hash) = workload("count = 1000");
    for clients in [
        "patience = { exponential = { mean = \"5ms\" } }",
        "timeout = { lognormal = { mean = \"9ms\", sigma = 1.0 } }",
        "timeout = { exponential = { mean = \"9ms\" } }, patience = { exponential = { mean = \"5ms\" } }",
    ] {
        let (drawn, other) = workload(clients);
        let common = plain.len().min(drawn.len());
        assert_eq!(plain[..common], drawn[..common], "{clients}");
        assert_ne!(hash, other, "{clients}: it is part of the workload");
    }
    // The same for a duration is not drawn, and the hash is as it was.
    assert_eq!(workload("timeout = \"9ms\", patience = \"5ms\"").1, hash);
    let two = overloaded("patience = { exponential = { mean = \"5ms\" } }", "", "")
        .replace("[\"random\"]", "[\"random\", \"least_request\"]");
    let two = scenario(&two);
    let hash = |variant| {
        let record = evenkeel::sim::observe(&two.setup(variant, 0), &|| false, &mut ()).unwrap();
        (record.workload_hash, record.pick_hash)
    };
    assert_eq!(hash(0).0, hash(1).0);
    assert_ne!(hash(0).1, hash(1).1);
}

/// Arrival times of all requests, in order.
fn arrivals(table: &str) -> Vec<Nanos> {
    let source = overloaded("count = 1000", "", "").replace("{ poisson = { rate = \"900/s\" } }", table);
    let (fates, _) = observe(&scenario(&source));
    let mut all: Vec<Nanos> = fates.requests.values().map(|fate| fate.arrived).collect();
    all.sort_unstable();
    all
}

/// Batches: the rate is of requests, and a batch comes at one moment.
#[test]
fn batches_come_at_one_moment_and_keep_the_rate() {
    let sizes = |table: &str| {
        let all = arrivals(table);
        let count = all.len() as f64;
        assert!((count / all[all.len() - 1].as_secs_f64() / 900.0 - 1.0).abs() < 0.15, "{table}: {count} requests");
        let mut sizes: Vec<usize> = all.chunk_by(|a, b| a == b).map(<[Nanos]>::len).collect();
        // The last one may be cut.
        sizes.pop();
        sizes
    };
    for process in [
        "poisson = { rate = \"900/s\"",
        "constant = { rate = \"900/s\"",
        "renewal = { interarrival = { erlang = { mean = \"1s\", stages = 4 } }, rate = \"900/s\"",
    ] {
        let fixed = sizes(&format!("{{ {process}, batch = {{ constant = {{ size = 5 }} }} }} }}"));
        assert!(fixed.len() > 300 && fixed.iter().all(|&size| size == 5), "{process}: {fixed:?}");
        let drawn = sizes(&format!("{{ {process}, batch = {{ geometric = {{ mean = 4.0 }} }} }} }}"));
        let mean = drawn.iter().sum::<usize>() as f64 / drawn.len() as f64;
        // The standard deviation of a size is 3.5; 600 batches.
        assert!((mean - 4.0).abs() < 0.6, "{process}: {mean}");
        let ones = drawn.iter().filter(|&&size| size == 1).count() as f64 / drawn.len() as f64;
        assert!((ones - 0.25).abs() < 0.07, "{process}: {ones} of one");
    }
    // A batch of one is no batch: the same requests at the same moments.
    assert_eq!(
        arrivals("{ poisson = { rate = \"900/s\", batch = { constant = { size = 1 } } } }"),
        arrivals("{ poisson = { rate = \"900/s\" } }")
    );
}

/// Renewals: gaps have the distribution that is given, and the rate that is asked for.
#[test]
fn renewals_have_the_gaps_that_are_given() {
    let gaps = |table: &str| {
        let all = arrivals(table);
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let square = gaps.iter().map(|gap| gap * gap).sum::<f64>() / gaps.len() as f64;
        (mean, square / mean / mean - 1.0)
    };
    // As given, and scaled to a rate and to a load: 3 servers, work of 4 ms, 90 % are 675 per second.
    for (more, mean) in [("", 1e-3), (", rate = \"500/s\"", 2e-3), (", load = \"90%\"", 1.0 / 675.0)] {
        let of = |gap: &str| gaps(&format!("{{ renewal = {{ interarrival = {gap}{more} }} }}"));
        let (uniform, scv) = of("{ uniform = { from = \"500us\", to = \"1500us\" } }");
        assert!((uniform / mean - 1.0).abs() < 0.03 && (scv - 1.0 / 12.0).abs() < 0.01, "{more}: {uniform} {scv}");
        let (bursty, scv) = of("{ hyperexponential = { mean = \"1ms\", scv = 4.0 } }");
        assert!((bursty / mean - 1.0).abs() < 0.2 && scv > 2.0, "{more}: {bursty} {scv}");
    }
}

/// What makes no sense is refused where it stands, with a way out where there is one.
#[test]
fn invalid_values_are_refused_with_their_position() {
    let sound = overloaded("count = 1000", "", "");
    let poisson = "{ poisson = { rate = \"900/s\" } }";
    for (from, to, place, why) in [
        ("count = 1000", "timeout = \"0s\"", "\"0s\"", "`timeout` must be above zero"),
        ("count = 1000", "patience = \"0s\"", "\"0s\"", "`patience` must be above zero"),
        (
            "count = 1000",
            "patience = { constant = { value = \"0ms\" } }",
            "{ constant",
            "`patience` must be above zero",
        ),
        ("count = 1000", "patience = { erlang = { mean = \"1s\", stages = 0 } }", "{ erlang", "`stages` is 0"),
        (
            poisson,
            "{ poisson = { rate = \"9/s\", batch = { constant = { size = 0 } } } }",
            "{ constant",
            "1 to 1000000",
        ),
        (
            poisson,
            "{ constant = { rate = \"9/s\", batch = { geometric = { mean = 0.5 } } } }",
            "{ geometric",
            "1 to 1000000",
        ),
        (
            poisson,
            "{ renewal = { interarrival = { constant = { value = \"0ms\" } } } }",
            "{ constant = { value",
            "at least 1ns",
        ),
        (
            poisson,
            "{ renewal = { interarrival = { constant = { value = \"1ms\" } }, rate = \"9/s\", load = \"50%\" } }",
            "{ renewal",
            "either `rate` or `load`",
        ),
    ] {
        let source = sound.replacen(from, to, 1);
        let problems = Scenario::parse("t", &source, &|_| Err(String::new())).unwrap_err();
        assert_eq!(problems.len(), 1, "{to}: {problems:?}");
        assert!(problems[0].message.contains(why), "{to}: {}", problems[0].message);
        let span = problems[0].span.clone().unwrap();
        assert!(source[span.clone()].starts_with(place), "{to}: points at {}", &source[span]);
    }
    // A word for a number of milliseconds: the message says what can stand there.
    let source = sound.replacen("count = 1000", "patience = \"long\"", 1);
    let message = Scenario::parse("t", &source, &|_| Err(String::new())).unwrap_err()[0].message.clone();
    assert!(message.contains("long"), "{message}");
}
