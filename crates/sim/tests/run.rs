//! Tests of runs that are advanced in steps, and of acts.

use evenkeel_config::fault::{Crash, Deploy, Drain, Errors, FaultKind, Slow};
use evenkeel_core::rng::{Rng, Source};
use evenkeel_core::units::Nanos;
use evenkeel_core::units::Ratio;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::act::{Act, SetLoad, Strike, TimedAct};
use evenkeel_sim::sim::model::Model;
use evenkeel_sim::sim::observer::{Arrival, Observer};
use evenkeel_sim::sim::record::RunRecord;
use evenkeel_sim::sim::{Run, Stopped, observe};

macro_rules! scenarios {
    ($($name:literal,)*) => {
        /// Scenarios that need no other file.
        const SCENARIOS: &[(&str, &str)] = &[
            $(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/", $name, ".toml"))),)*
        ];
    };
}

scenarios! {
    "autoscale",
    "cache-affinity",
    "closed-loop",
    "crash",
    "deploy",
    "dns-round-robin",
    "hedging",
    "limits-and-queue",
    "many-balancers",
    "outlier-ejection",
    "overload",
    "probing",
    "retry-storm",
    "slow-start",
    "stale-reports",
    "sticky-sessions",
    "two-tiers",
    "zone-failure",
}

/// The scenario, its span at most 3 s, with the faults inside it.
fn short(source: &str) -> Scenario {
    let mut scenario = Scenario::parse("s", source, &|file| Err(file.to_owned())).unwrap();
    let model = &mut scenario.model;
    (model.warmup, model.cache_warmup) = (Nanos::from_millis(100), Nanos::from_millis(100));
    let span = model.duration;
    model.duration = model.duration.min(Nanos::from_secs(3));
    let scale = |at: Nanos| Nanos((at.0 as f64 * model.duration.0 as f64 / span.0 as f64) as u64);
    for fault in &mut model.faults {
        (fault.at, fault.until) = (scale(fault.at), fault.until.map(scale));
    }
    scenario
}

fn json(record: &RunRecord) -> String {
    serde_json::to_string(record).unwrap()
}

fn whole(scenario: &Scenario) -> RunRecord {
    observe(&scenario.setup(0, 0), &|| false, &mut ()).unwrap()
}

#[test]
fn steps_change_nothing() {
    let mut rng = Rng::stream(7, "steps", 0);
    for (name, source) in SCENARIOS {
        let scenario = short(source);
        let expected = json(&whole(&scenario));
        let mut run = Run::new(&scenario.setup(0, 0), ());
        let mut frame = 0_u64;
        while !run.is_over() {
            frame += 1;
            let time = Nanos(frame * 1_000_000_000 / 60);
            run.step_until(time).unwrap();
            assert!(run.is_over() || run.now() == time);
            let look = run.look();
            assert_eq!(look.arrived, look.in_system + look.ended.iter().sum::<u64>(), "{name}");
        }
        assert!(frame > 60, "{name}");
        assert!(json(&run.finish().unwrap().0) == expected, "{name}: frames");

        let mut run = Run::new(&scenario.setup(0, 0), ());
        let mut last = Nanos::ZERO;
        while let Some(at) = run.step().unwrap() {
            assert!(at >= last, "{name}");
            last = at;
        }
        assert!(json(&run.finish().unwrap().0) == expected, "{name}: events");

        let mut run = Run::new(&scenario.setup(0, 0), ());
        while !run.is_over() && rng.below(200) > 0 {
            match rng.below(3) {
                0 => drop(run.step().unwrap()),
                1 => run.step_until(run.now()).unwrap(),
                _ => run.step_until(run.now() + Nanos(rng.below(100_000_000))).unwrap(),
            }
        }
        assert!(json(&run.finish().unwrap().0) == expected, "{name}: random steps");
    }
}

/// Any act that the scenario accepts.
fn random_act(model: &Model, rng: &mut Rng) -> Act {
    let kinds: [FaultKind; 5] = [
        Crash { silent: false }.into(),
        Slow { factor: 1.0 + rng.below(8) as f64 }.into(),
        Errors { share: Ratio(0.5), latency: Nanos::from_millis(1), fails_checks: false }.into(),
        Drain {}.into(),
        Deploy { drain: Nanos::from_millis(50), restart: Nanos::from_millis(70) }.into(),
    ];
    let kind = kinds[rng.below(5) as usize];
    let pool = &model.pools[rng.below(model.pools.len() as u64) as usize];
    let server = &pool.servers[rng.below(pool.servers.len() as u64) as usize].name;
    let compound = matches!(kind, FaultKind::Deploy(_));
    match rng.below(5) {
        0 => Act::Strike(Strike {
            target: format!("{}/*", pool.name),
            lasts: (!compound).then(|| Nanos::from_millis(1 + rng.below(900))),
            stagger: Nanos(rng.below(3) * 10_000_000),
            batch_size: 1 + rng.below(2) as u32,
            kind,
        }),
        1 => Act::Strike(strike("balancer/1", Some(Nanos::from_millis(1 + rng.below(200))), Crash { silent: false })),
        2 => Act::SetLoad(SetLoad { factor: [0.0, 0.5, 1.0, 1.5][rng.below(4) as usize] }),
        _ => Act::Strike(Strike {
            lasts: (!compound && rng.below(4) > 0).then(|| Nanos::from_millis(1 + rng.below(900))),
            ..strike(&format!("{}/{server}", pool.name), None, kind)
        }),
    }
}

fn strike(target: &str, lasts: Option<Nanos>, kind: impl Into<FaultKind>) -> Strike {
    Strike { target: target.to_owned(), lasts, stagger: Nanos::ZERO, batch_size: 1, kind: kind.into() }
}

/// Acts during a run, in random steps, several at one time; the log of them as part of the model gives the same bytes, and so
/// does the log in another run with other steps.
#[test]
fn a_log_repeats_the_run() {
    let mut rng = Rng::stream(8, "acts", 0);
    let mut acts_of_all = 0;
    for (name, source) in SCENARIOS {
        let mut scenario = short(source);
        let mut run = Run::new(&scenario.setup(0, 0), ());
        let mut log: Vec<TimedAct> = Vec::new();
        for _ in 0..12 {
            match rng.below(3) {
                0 => drop(run.step().unwrap()),
                1 => {}
                // Multiples of the frame, where deterministic events are.
                _ => run
                    .step_until(Nanos(run.now().0.div_ceil(1_000_000) * 1_000_000 + rng.below(20) * 20_000_000))
                    .unwrap(),
            }
            let act = random_act(&scenario.model, &mut rng);
            match run.act(&act) {
                Ok(at) => log.push(TimedAct { at, act }),
                Err(error) => assert!(
                    error.message.contains("cannot be set") || error.message.contains("is the time from one server"),
                    "{name}: {error}"
                ),
            }
        }
        acts_of_all += log.len();
        let (record, ()) = run.finish().unwrap();
        assert!(record.pick_hash != whole(&scenario).pick_hash, "{name}: the acts changed nothing");
        let mut again = Run::new(&scenario.setup(0, 0), ());
        for TimedAct { at, act } in &log {
            again.step_until(*at).unwrap();
            assert_eq!(again.act(act).unwrap(), *at, "{name}");
        }
        assert!(json(&again.finish().unwrap().0) == json(&record), "{name}: repeated");
        let text: Vec<String> = log.iter().map(|act| serde_json::to_string(act).unwrap()).collect();
        for (line, act) in text.iter().zip(&log) {
            let read: TimedAct = serde_json::from_str(line).unwrap();
            assert_eq!(read, *act, "{line}");
            scenario.model.add_act(&read).unwrap();
        }
        assert!(json(&whole(&scenario)) == json(&record), "{name}: as part of the model");
    }
    assert!(acts_of_all > 120, "{acts_of_all}");
}

const WEB: &str = r#"
title = "Acts"
question = "Which?"
kind = "terminating"
duration = "10s"
strategies = ["p2c"]
service = { constant = { value = "1ms" } }
clients = { timeout = "1s" }
[[pools]]
name = "web"
[[pools.servers]]
name = "a"
[[pools.servers]]
name = "b"
"#;

fn web(arrivals: &str, rest: &str) -> Scenario {
    let source = format!("allow_overload = true\narrivals = {arrivals}\n{WEB}{rest}");
    Scenario::parse("web", &source, &|file| Err(file.to_owned())).unwrap_or_else(|problems| panic!("{problems:?}"))
}

#[test]
fn a_strike_is_the_same_as_the_fault_in_the_file() {
    let kind = "kind = { slow = { factor = 4 } }";
    let file = web(
        "{ poisson = { load = \"70%\" } }",
        &format!("[[faults]]\ntarget = \"web/b\"\nat = \"2s\"\nfor = \"3s\"\n{kind}"),
    );
    let plain = web("{ poisson = { load = \"70%\" } }", "");
    let mut run = Run::new(&plain.setup(0, 0), ());
    run.step_until(Nanos::from_secs(2)).unwrap();
    let act = toml::from_str(&format!("strike = {{ target = \"web/b\", for = \"3s\", {kind} }}")).unwrap();
    assert_eq!(run.act(&act).unwrap(), Nanos::from_secs(2));
    let slowed = |run: &Run<'_, ()>| run.look().pools().next().unwrap().servers().nth(1).unwrap().rate;
    assert_eq!(slowed(&run), 0.25);
    assert_eq!(run.fault(0).label, "web/b: 4× slower");
    run.step_until(Nanos::from_millis(5_001)).unwrap();
    assert_eq!(slowed(&run), 1.0);
    let (record, ()) = run.finish().unwrap();
    assert!(json(&record) == json(&whole(&file)));
    assert_ne!(record.pick_hash, whole(&plain).pick_hash);
}

/// Without network delay, timeouts and retries a balancer has in flight what its servers have.
#[test]
fn a_look_shows_servers_and_balancers() {
    let scenario = web("{ poisson = { load = \"90%\" } }", "");
    let mut run = Run::new(&scenario.setup(0, 0), ());
    let mut most = 0;
    for ms in 1..2000 {
        run.step_until(Nanos::from_millis(ms)).unwrap();
        let look = run.look();
        let pool = look.pools().next().unwrap();
        let inside: Vec<u32> = pool.servers().map(|server| server.queued + server.in_service).collect();
        let views: Vec<_> = pool.views().collect();
        assert_eq!((views.len(), views[0].balancer, views[0].waiting), (1, Some(0), 0));
        assert_eq!(views[0].fleet.in_flight(), inside);
        assert_eq!(u64::from(inside.iter().sum::<u32>()), look.in_system);
        assert!(pool.servers().all(|server| server.in_service <= 1 && server.coming == 0 && server.cached == 0));
        most = most.max(inside[0]);
    }
    assert!(most > 2 && run.look().ended[0] > 3000, "{most}");
}

/// Times of arrival.
#[derive(Default)]
struct Times(Vec<Nanos>);

impl Observer for Times {
    fn arrived(&mut self, _job: u32, arrival: &Arrival<'_>) {
        self.0.push(arrival.at);
    }
}

/// The arrivals with these load factors set at these times.
fn arrivals(scenario: &Scenario, loads: &[(f64, f64)]) -> Vec<f64> {
    let mut run = Run::new(&scenario.setup(0, 0), Times::default());
    for &(at, factor) in loads {
        run.step_until(Nanos::from_secs_f64(at)).unwrap();
        run.act(&Act::SetLoad(SetLoad { factor })).unwrap();
        assert_eq!(run.look().load_factor, factor);
    }
    let (_, times) = run.finish().unwrap();
    times.0.iter().map(|at| at.as_secs_f64()).collect()
}

/// By hand: arrivals each 0.1 s; at 0.55 s half the gap is left, which takes 0.025 s at twice the rate, 0.05 s gaps follow; from
/// 0.7 s on there are none, with 0.025 s of a gap left (0.05 s at load factor 1), and from 5 s on the rest takes 0.1 s at half
/// the rate.
#[test]
fn the_rest_of_a_gap_passes_at_the_new_rate() {
    let expected = [0.1, 0.2, 0.3, 0.4, 0.5, 0.575, 0.625, 0.675, 5.1, 5.3, 5.5];
    let loads = [(0.55, 2.0), (0.7, 0.0), (5.0, 0.5)];
    for process in
        ["{ constant = { rate = \"10/s\" } }", "{ renewal = { interarrival = { constant = { value = \"100ms\" } } } }"]
    {
        let times = arrivals(&web(process, ""), &loads);
        for (time, expected) in times.iter().zip(expected) {
            assert!((time - expected).abs() < 1e-8, "{process}: {times:?}");
        }
        assert!(times.len() > expected.len());
    }
}

/// Counts in windows against the integral of rate and factor; 4.5 standard deviations of a Poisson count. A curve that goes to
/// zero has requests left when the factor rises; those of a batch stay together.
#[test]
fn the_rate_follows_the_factor() {
    let count = |times: &[f64], from: f64, to: f64| times.iter().filter(|&&at| at >= from && at < to).count() as f64;
    let near = |found: f64, expected: f64, dispersion: f64| {
        assert!((found - expected).abs() <= 4.5 * (dispersion * expected).sqrt(), "{found} for {expected}");
    };
    let poisson = web("{ poisson = { rate = \"1000/s\" } }", "");
    let times = arrivals(&poisson, &[(2.0, 3.0), (4.0, 0.0), (6.0, 0.25)]);
    near(count(&times, 0.0, 2.0), 2000.0, 1.0);
    near(count(&times, 2.0, 4.0), 6000.0, 1.0);
    assert_eq!(count(&times, 4.0, 6.0), 0.0);
    near(count(&times, 6.0, 10.0), 1000.0, 1.0);
    // From 2000/s to zero over 10 s, at a thousandth of it from the start: at 8 s 200 more are to come at factor 1.
    let ramp = web("{ ramp = { from = \"2000/s\", to = \"0/s\" } }", "");
    let times = arrivals(&ramp, &[(0.0, 0.0001), (8.0, 1.0)]);
    near(count(&times, 8.0, 10.0), 400.0, 1.0);
    let times = arrivals(&ramp, &[(0.0, 1e-9), (5.0, 1e-8), (8.0, 1.0)]);
    assert_eq!(count(&times, 0.0, 8.0), 0.0);
    near(count(&times, 8.0, 10.0), 400.0, 1.0);
    let bursts = web("{ bursts = { base = \"100/s\", peak = \"2000/s\", every = \"1s\", length = \"500ms\" } }", "");
    let times = arrivals(&bursts, &[(3.25, 2.0)]);
    near(count(&times, 4.0, 4.5), 100.0, 1.0);
    near(count(&times, 4.5, 5.0), 2000.0, 1.0);
    let batches = web("{ poisson = { rate = \"1000/s\", batch = { constant = { size = 5 } } } }", "");
    let times = arrivals(&batches, &[(2.0, 0.0), (4.0, 2.0)]);
    near(count(&times, 4.0, 10.0), 12_000.0, 5.0);
    assert!(times.chunks(5).all(|batch| batch.iter().all(|at| at == &batch[0])));
}

#[test]
fn the_present_factor_changes_no_request() {
    for process in ["{ poisson = { rate = \"500/s\" } }", "{ constant = { rate = \"500/s\" } }"] {
        let scenario = web(process, "");
        let mut run = Run::new(&scenario.setup(0, 0), ());
        run.step_until(Nanos::from_secs(3)).unwrap();
        run.act(&Act::SetLoad(SetLoad { factor: 1.0 })).unwrap();
        let (record, ()) = run.finish().unwrap();
        let plain = whole(&scenario);
        assert_eq!((record.workload_hash, record.pick_hash), (plain.workload_hash, plain.pick_hash));
    }
}

#[test]
fn wrong_acts_are_refused() {
    let poisson = web("{ poisson = { rate = \"500/s\" } }", "");
    let closed = web("{ closed = { think = { constant = { value = \"1ms\" } } } }", "");
    let set = |factor| Act::SetLoad(SetLoad { factor });
    let crash = |target: &str| Act::Strike(strike(target, None, Crash { silent: false }));
    let slow = Slow { factor: 2.0 };
    for (scenario, at, act, message) in [
        (&closed, 1, set(2.0), "clients of a closed loop"),
        (&poisson, 1, set(-1.0), "from 0 to 1000"),
        (&poisson, 1, set(f64::NAN), "from 0 to 1000"),
        (&poisson, 10, set(1.0), "after the end of the run"),
        (&poisson, 1, crash("web/c"), "no server `c`"),
        (&poisson, 1, crash("wep/a"), "no pool `wep`"),
        (&poisson, 1, crash("balancer/2"), "no balancer `2`"),
        (&poisson, 1, Act::Strike(strike("balancer/1", None, slow)), "is a crash"),
        (&poisson, 1, Act::Strike(strike("web/a", Some(Nanos::ZERO), slow)), "above zero"),
        (&poisson, 1, Act::Strike(strike("web/a", None, Slow { factor: 0.0 })), "`factor` must be"),
    ] {
        let mut run = Run::new(&scenario.setup(0, 0), ());
        run.step_until(Nanos::from_secs(at)).unwrap();
        let error = run.act(&act).unwrap_err();
        assert!(error.message.contains(message), "{error}");
        let mut model = scenario.model.clone();
        assert_eq!(model.add_act(&TimedAct { at: Nanos::from_secs(at), act }).unwrap_err(), error);
        if at < 10 {
            assert!(json(&run.finish().unwrap().0) == json(&whole(scenario)), "{message}: the run has changed");
        }
    }
    let mut run = Run::new(&poisson.setup(0, 0), ());
    run.complete(&|| false).unwrap();
    assert!(run.act(&set(1.0)).unwrap_err().message.contains("is over"));
}

#[test]
fn a_run_that_is_too_large_stays_so() {
    let mut scenario = web("{ poisson = { rate = \"100000/s\" } }", "");
    scenario.model.max_in_system = 1000;
    let mut run = Run::new(&scenario.setup(0, 0), ());
    let first = run.step_until(Nanos::from_secs(5)).unwrap_err();
    assert!(matches!(first, Stopped::TooLarge(_)));
    assert_eq!(run.step().unwrap_err(), first);
    assert_eq!(run.step_until(Nanos::from_secs(6)).unwrap_err(), first);
    assert!(run.act(&Act::SetLoad(SetLoad { factor: 1.0 })).unwrap_err().message.contains("too many"));
    assert_eq!(run.finish().unwrap_err(), first);
}
