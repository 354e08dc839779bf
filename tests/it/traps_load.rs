//! Known traps of strategies by load, latency and reports, each with a number derived beforehand: the variant with the
//! trap shows it, the one that avoids it does not.

use evenkeel::select::strategies::client_side_weighted_round_robin as reports;
use evenkeel::select::strategies::prequal;
use evenkeel::select::{Command, LoadReport, Outcome, Pick, ReportSource, Request};
use evenkeel::units::Nanos;

use crate::support::{Bench, client, scenario};

fn pick(bench: &mut Bench, n: u64) -> Pick {
    let key = n.to_le_bytes();
    bench.pick(&Request { client: client(n), path: "/", key: &key, excluded: &[], answers: None }).unwrap()
}

const PICKS: u64 = 40_000;

/// Share of picks at each server that hold these requests and go on holding them.
fn shares(strategy: &str, parameters: &str, loads: &[u32]) -> Vec<f64> {
    let weights = vec![1; loads.len()];
    let mut bench = Bench::new(strategy, parameters, &weights, 7);
    for (slot, &load) in loads.iter().enumerate() {
        let id = bench.fleet.id(slot as u32);
        (0..load).for_each(|_| bench.fleet.started(id));
    }
    let mut counts = vec![0.0; loads.len()];
    for n in 0..PICKS {
        bench.now = Nanos::from_millis(n);
        let pick = pick(&mut bench, n);
        counts[pick.backend.slot as usize] += 1.0;
        bench.finish(pick, Nanos::from_millis(1), Outcome::Ok);
    }
    counts.iter().map(|count| count / PICKS as f64).collect()
}

/// Five standard deviations of a share of 40,000 independent picks.
fn noise(share: f64) -> f64 {
    5.0 * (share * (1.0 - share) / PICKS as f64).sqrt()
}

/// Of N servers one is idle. It is sampled by two draws with replacement with 1 - ((N-1)/N)², without with 2/N.
#[test]
fn sampling_with_replacement_misses_the_idle_server_more_often() {
    for n in [3_usize, 10] {
        let mut loads = vec![5; n];
        loads[1] = 0;
        let missed = (n as f64 - 1.0) / n as f64;
        for (parameters, expected) in [
            (r#"replacement = true, weights = "none""#, 1.0 - missed * missed),
            ("", 2.0 / n as f64),
            (r#"weights = "none""#, 2.0 / n as f64),
        ] {
            let share = shares("p2c", parameters, &loads)[1];
            assert!(
                (share - expected).abs() < noise(expected),
                "{n} servers, {parameters}: {share} and not {expected}"
            );
        }
    }
    // The published figures of the trap.
    assert!((1.0 - (2.0_f64 / 3.0) * (2.0 / 3.0) - 0.556).abs() < 1e-3 && (1.0_f64 - 0.81 - 0.19).abs() < 1e-12);
}

/// Two servers with 2 and 5 requests. Half of the time the busier is looked at first; the better one is then added to it and
/// not put in its place, and a coin decides: 1/2 · 1/2.
#[test]
fn a_best_that_is_not_reset_gives_the_busier_a_quarter() {
    let caddy = r#"ties = "random", caddy_tie_bug = true, weights = "none""#;
    let share = shares("p2c", caddy, &[2, 5])[1];
    assert!((share - 0.25).abs() < noise(0.25), "{share}");
    assert_eq!(shares("p2c", r#"ties = "random", weights = "none""#, &[2, 5])[1], 0.0);
    // Where one of them is idle it is taken at once, which hides the slip at low load.
    assert_eq!(shares("p2c", caddy, &[0, 5])[1], 0.0);
}

/// Ties of two choices among equals: the draw decides. The first of two servers is drawn first half of the time, and so is the second.
#[test]
fn ties_are_broken_as_documented() {
    for ties in ["first", "second", "random", "lower_rate"] {
        let share = shares("p2c", &format!("ties = {ties:?}"), &[3, 3])[0];
        assert!((share - 0.5).abs() < noise(0.5), "{ties}: {share}");
    }
    // By lower rate the two servers alternate: no run is longer than one.
    let mut bench = Bench::new("p2c", r#"ties = "lower_rate""#, &[1, 1], 3);
    let slots: Vec<u32> = (0..100)
        .map(|n| {
            bench.now = Nanos::from_millis(n);
            let pick = pick(&mut bench, n);
            bench.finish(pick, Nanos(1), Outcome::Ok);
            pick.backend.slot
        })
        .collect();
    assert!(slots.windows(2).all(|pair| pair[0] != pair[1]), "{slots:?}");
    assert_eq!(shares("least_request", r#"ties = "first""#, &[0, 0, 0]), [1.0, 0.0, 0.0]);
    let turns = shares("least_request", r#"ties = "turn""#, &[0, 0, 4]);
    assert_eq!((turns[0], turns[1]), (0.5, 0.5));
}

/// Of `servers` equal servers, 10 ms each, the last is slow once and normal from then on. Returns how many of the picks
/// it gets.
fn after_one_slow_spell(strategy: &str, parameters: &str, servers: usize, slow: Nanos, picks: u64) -> u64 {
    let mut bench = Bench::new(strategy, parameters, &vec![1; servers], 11);
    let last = servers as u32 - 1;
    let mut its = 0;
    for n in 0..picks {
        bench.now = Nanos::from_millis(20 * n);
        let pick = pick(&mut bench, n);
        let here = pick.backend.slot == last;
        its += u64::from(here);
        let took = if here && its == 1 { slow } else { Nanos::from_millis(10) };
        bench.finish(pick, took, Outcome::Ok);
    }
    its
}

/// One of five servers is slow (200 ms) once, and fast again: an average over answers never learns that, one that
/// decays with time does. 20,000 requests over 400 s, of which a fair share would be 4000. Traefik's users counted 5 of
/// 1500; here it is 1.
///
/// nginx's 200 ms, halved every 10 s, are in the bucket of 20 ms after four halvings (12.5 ms): it is tried again every 40 s, and
/// each answer takes off a twentieth of what is above 10 ms. After five (157 ms) three halvings do (19.7 ms), and in 400 s
/// there are 6 of 40 s and 5 of 30 s, after the first.
#[test]
fn an_average_without_decay_starves_a_server_that_was_slow_once() {
    let slow = Nanos::from_millis(200);
    assert_eq!(after_one_slow_spell("least_time_window", "", 5, slow, 20_000), 1);
    assert_eq!(after_one_slow_spell("least_time", r#"halving = "0s""#, 5, slow, 20_000), 1);
    let nginx = after_one_slow_spell("least_time", "", 5, slow, 20_000);
    assert!((11..=13).contains(&nginx), "{nginx}");
}

/// Peak EWMA with decay τ: an estimate of 2 s is down to the others' 20 ms after τ·ln(2 s / 20 ms) = 4.6 τ: 46 s with
/// τ = 10 s. Without fading it never is; falling back to the mean of the fleet of ten it never is below it, but the others' times are: it
/// has a chance only where in flight differ.
#[test]
fn a_decay_to_zero_tries_the_slow_server_again_after_its_time() {
    let first_return = |fading: &str| {
        let mut bench = Bench::new("peak_ewma", &format!("fading = {fading:?}"), &[1, 1], 5);
        // Both are known; the second was slow.
        for (slot, took) in [(0, 20), (1, 2000)] {
            let backend = bench.fleet.id(slot);
            bench.fleet.started(backend);
            bench.finish(Pick { backend, tag: 0 }, Nanos::from_millis(took), Outcome::Ok);
        }
        (1..100_000_u64).find(|&n| {
            bench.now = Nanos::from_millis(20 * n);
            let pick = pick(&mut bench, n);
            // The other's estimate is always fresh: 20 ms.
            bench.finish(pick, Nanos::from_millis(20), Outcome::Ok);
            pick.backend.slot == 1
        })
    };
    let after = first_return("to_zero").unwrap() as f64 * 0.02;
    assert!((after - 46.05).abs() < 0.5, "{after}");
    assert_eq!(first_return("none"), None, "never again in 2000 s");
    assert_eq!(first_return("to_mean"), None, "the mean of the two is above the faster");
}

/// A server that fails in 1 ms beside three that take 20 ms. Its share: nearly all that two choices let it have (half: it is in
/// half of the samples of two of four) without a penalty, next to nothing with either form of it.
#[test]
fn latency_without_a_penalty_is_drawn_to_what_fails_fast() {
    let share = |strategy: &str, parameters: &str| {
        let mut bench = Bench::new(strategy, parameters, &[1; 4], 3);
        let mut failing = 0.0;
        for n in 0..4000 {
            bench.now = Nanos::from_millis(n);
            let pick = pick(&mut bench, n);
            let fails = pick.backend.slot == 2;
            failing += f64::from(u8::from(fails));
            let (took, outcome) = if fails { (1, Outcome::Failed) } else { (20, Outcome::Ok) };
            bench.finish(pick, Nanos::from_millis(took), outcome);
        }
        failing / 4000.0
    };
    let classic = share("peak_ewma", r#"failure_penalty = "0s""#);
    assert!((classic - 0.5).abs() < 0.05, "{classic}");
    assert!(share("peak_ewma", "") < 0.01);
    // Ten times 1 ms is 10 ms: less than what the others take. Failures multiply while they go on, and then it is shunned.
    assert!(share("peak_ewma", r#"failure_penalty = "0s", failure_factor = 10"#) < 0.1);
    // The mean of the last answers counts failures as answers.
    assert!(share("least_time_window", "") > 0.9);
}

/// Ribbon's weights: a server ten times slower than the others of n has (n-1)/(n+8) of a healthy one's share: with
/// t = 10 for it and 1 for the n-1 others, the sum is n + 9; weights n - 1 against n + 8.
#[test]
fn ribbon_s_correction_fades_with_the_number_of_servers() {
    for (n, expected) in [(5_usize, 4.0 / 13.0), (20, 19.0 / 28.0)] {
        let mut bench = Bench::new("weighted_response_time", "", &vec![1; n], 3);
        let count = |bench: &mut Bench, picks: u64| {
            let mut counts = vec![0.0; n];
            for i in 0..picks {
                let pick = pick(bench, i);
                counts[pick.backend.slot as usize] += 1.0;
                let took = if pick.backend.slot == 0 { 100 } else { 10 };
                bench.finish(pick, Nanos::from_millis(took), Outcome::Ok);
            }
            counts[0] / (counts[1..].iter().sum::<f64>() / (n as f64 - 1.0))
        };
        count(&mut bench, 2000);
        bench.with(|selector, cx| selector.on_wake(cx));
        let ratio = count(&mut bench, 200_000);
        // Binomial noise of its count, five standard deviations as a share of the ratio.
        let bound = 5.0 * expected / (200_000.0 * expected / n as f64).sqrt();
        assert!((ratio - expected).abs() < bound, "{n}: {ratio} and not {expected}");
    }
    assert!((4.0_f64 / 13.0 - 0.31).abs() < 5e-3 && (19.0_f64 / 28.0 - 0.68).abs() < 5e-3);
}

/// The paper's formula for how often a probe's answer is used, max(1, (1+δ) / ((1 - m/n)·r_probe - r_remove)): 2/(0.84·3 - 1) =
/// 1.316 for its defaults and 100 servers. With m = 16 it has no value for n <= 24 and is 25 at n = 25; here m is at most n/4 (and
/// at least 3), so that from 12 servers on 0.75·3 - 1 = 1.25 is the least there is to divide by, and 1.6 the most that comes out.
#[test]
fn answers_are_used_as_the_formula_says_and_no_more_in_small_fleets() {
    let defaults = prequal::Params::default();
    assert!((prequal::uses(&defaults, 100) - 1.316).abs() < 1e-3);
    let formula = |n: f64| 2.0 / ((1.0 - 16.0 / n) * 3.0 - 1.0);
    assert!(formula(24.0) <= 0.0 || formula(24.0).is_infinite(), "the trap");
    assert!((formula(25.0) - 25.0).abs() < 1e-9 && (formula(30.0) - 5.0).abs() < 1e-9);
    for n in 1..=1000 {
        let uses = prequal::uses(&defaults, n);
        assert!((1.0..=4.0).contains(&uses), "{n}: {uses}");
        if n >= 12 {
            assert!(uses <= 1.6 + 1e-9, "{n}: {uses}");
        }
    }
    // More dropped than come in: as often as allowed.
    assert_eq!(prequal::uses(&prequal::Params { remove: 3.0, ..defaults }, 100), 4.0);
}

/// Three probes per request, none twice at once, and an answer that was used says one request more.
#[test]
fn prequal_asks_ahead_and_takes_the_cold_and_fast() {
    let mut bench = Bench::new("prequal", "probes = 3, remove = 0", &[1; 8], 3);
    pick(&mut bench, 0);
    let mut asked = Vec::new();
    while let Some(command) = bench.with(|selector, cx| selector.poll_command(cx)) {
        let Command::Probe(backend) = command else { panic!("{command:?}") };
        assert!(!asked.contains(&backend));
        asked.push(backend);
    }
    assert_eq!(asked.len(), 3);
    let answer =
        |rif, latency| LoadReport { in_server: Some(rif), latency, by: ReportSource::Probe, ..LoadReport::default() };
    // Unrequested replies are ignored, and so is a reply without the number of requests in flight.
    let stranger = (0..8).map(|slot| bench.fleet.id(slot)).find(|id| !asked.contains(id)).unwrap();
    bench.with(|selector, cx| selector.on_report(stranger, &answer(0, 0.0), cx));
    let silent = LoadReport { in_server: None, ..answer(0, 0.001) };
    for (backend, load) in [(asked[0], answer(2, 0.05)), (asked[1], answer(2, 0.01)), (asked[2], silent)] {
        bench.with(|selector, cx| selector.on_report(backend, &load, cx));
    }
    assert_eq!(pick(&mut bench, 1).backend, asked[1], "both are cold: the faster");
}

/// A58's weights by its formula, and what a report without traffic or use is worth: nothing.
#[test]
fn weights_from_reports_are_those_of_a58() {
    let load =
        |throughput, utilisation, errors| LoadReport { throughput, utilisation, errors, ..LoadReport::default() };
    assert_eq!(reports::weight(&load(100.0, 0.5, 0.0), 1.0), Some(200.0));
    // A fifth of the answers are errors: 100 / (0.5 + 0.2).
    let weight = reports::weight(&load(100.0, 0.5, 0.2), 1.0).unwrap();
    assert!((weight - 100.0 / 0.7).abs() < 1e-9);
    assert_eq!(reports::weight(&load(100.0, 0.5, 0.2), 0.0), Some(200.0));
    assert_eq!(reports::weight(&load(0.0, 0.5, 0.0), 1.0), None);
    assert_eq!(reports::weight(&load(100.0, 0.0, 0.0), 1.0), None);
}

/// Weights 3:1:2:2 by reports. Not before the blackout is over, and not after the reports have expired: even turns then.
#[test]
fn turns_from_reports_wait_for_the_blackout_and_end_with_the_reports() {
    let mut bench = Bench::new("client_side_weighted_round_robin", "", &[1; 4], 3);
    let count = |bench: &mut Bench| {
        bench.with(|selector, cx| selector.on_wake(cx));
        let mut counts = [0; 4];
        (0..8000).for_each(|n| {
            let pick = pick(bench, n);
            counts[pick.backend.slot as usize] += 1;
            bench.finish(pick, Nanos(1), Outcome::Ok);
        });
        counts
    };
    let report = |bench: &mut Bench, second| {
        bench.now = Nanos::from_secs(second);
        for (slot, throughput) in [30.0, 10.0, 20.0, 20.0].into_iter().enumerate() {
            let backend = bench.fleet.id(slot as u32);
            let load = LoadReport { throughput, utilisation: 0.5, ..LoadReport::default() };
            bench.with(|selector, cx| selector.on_report(backend, &load, cx));
        }
    };
    report(&mut bench, 1);
    assert_eq!(count(&mut bench), [2000; 4], "within the blackout");
    report(&mut bench, 11);
    let counts = count(&mut bench);
    // Static strides are exact over 65535 rounds; over some thousand picks within one or two turns of each.
    for (count, share) in counts.into_iter().zip([3000_i32, 1000, 2000, 2000]) {
        assert!((count - share).abs() <= 4, "{counts:?}");
    }
    bench.now = Nanos::from_secs(11 + 180);
    assert_eq!(count(&mut bench), [2000; 4], "the reports have expired");
}

/// One balancer, no network, one place at each of n servers: the central queue M/M/n. Erlang C for n = 4 at 80 %: ρ = 0.8,
/// a = 3.2; C = 0.5964, so the mean wait is C / (n - a) services = 0.7455 of 10 ms, and the mean time 17.45 ms.
#[test]
fn late_binding_is_the_central_queue() {
    let source = r#"
        title = "Four servers"
        question = "One queue?"
        duration = "600s"
        warmup = "10s"
        arrivals = { poisson = { load = "80%" } }
        service = { exponential = { mean = "10ms" } }
        [[pools]]
        name = "web"
        [[pools.servers]]
        name = "web"
        count = 4
    "#;
    let scenario = scenario(source);
    let mean = |strategy: &str| {
        let table = (evenkeel::select::catalog::find(strategy).unwrap().default)();
        let record = evenkeel::sim::run(&scenario.model, &table, scenario.replication_seed(0), &|| false).unwrap();
        record.measured.all.latency_sum as f64 / 1e6 / record.measured.all.latency.len() as f64
    };
    let a: f64 = 3.2;
    let terms = [1.0, a, a * a / 2.0, a * a * a / 6.0];
    let last = a * a * a * a / 24.0 / (1.0 - 0.8);
    let erlang_c = last / (terms.iter().sum::<f64>() + last);
    let exact = 10.0 * (1.0 + erlang_c / (4.0 - a));
    let late = mean("late_binding");
    // 192,000 requests in busy periods of some dozens: a standard error of about 1 %.
    assert!((late / exact - 1.0).abs() < 0.04, "{late} and not {exact}");
    assert!(mean("least_request") > 1.02 * late, "who chooses early chooses wrongly now and then");
}

/// Answers carry reports where the pool says so, an idle server notifies one balancer, and probe replies take both
/// legs.
#[test]
fn reports_come_with_answers_and_idle_servers_tell_one_balancer() {
    let source = |reports: &str| {
        format!(
            r#"
        title = "Many balancers"
        question = "Who is idle?"
        duration = "60s"
        warmup = "5s"
        arrivals = {{ poisson = {{ load = "70%" }} }}
        service = {{ exponential = {{ mean = "10ms" }} }}
        balancers = {{ shards = 10 }}
        [[pools]]
        name = "web"
        {reports}
        [[pools.servers]]
        name = "web"
        count = 10
    "#
        )
    };
    let mean = |reports: &str, strategy: &str| {
        let scenario = scenario(&source(reports));
        let table = (evenkeel::select::catalog::find(strategy).unwrap().default)();
        let record = evenkeel::sim::run(&scenario.model, &table, scenario.replication_seed(0), &|| false).unwrap();
        let m = &record.measured;
        (m.all.latency_sum as f64 / 1e6 / m.all.latency.len() as f64, m.efforts.probes as f64 / m.all.requests() as f64)
    };
    // M/M/1 at 70 %: 33 ms; nine in ten servers would have to be busy for an idle one not to be known.
    let told = mean(r#"reports = { idle_notifications = "one" }"#, "join_idle_queue").0;
    let random = mean("", "random").0;
    assert!((random / 33.3 - 1.0).abs() < 0.15, "{random}");
    assert!(told < 0.75 * random, "{told} against {random}");
    // Idle notifications are the strategy's protocol: they are on by default, and other reports do not replace them.
    assert_eq!(mean("", "join_idle_queue").0, told);
    assert_eq!(mean(r#"reports = { interval = "500ms" }"#, "join_idle_queue").0, told);
    let alone = mean(r#"reports = { idle_notifications = "none" }"#, "join_idle_queue").0;
    assert!(alone > 1.04 * told, "{alone} and {told}");
    assert_eq!(mean("reports = { with_answers = true }", "c3"), mean("", "c3"));
    assert_ne!(mean("reports = { with_answers = false }", "c3"), mean("", "c3"));
    let (_, probes) = mean("", "prequal");
    assert!((probes - 3.0).abs() < 0.01, "{probes} probes per request");
    // Without reports it draws by weight, as random does.
    let (with, without) =
        (mean("reports = { with_answers = true }", "staleness_aware").0, mean("", "staleness_aware").0);
    assert!(with < 0.9 * without, "{with} and {without}: what answers carry is of use");
}

/// A board on which all servers post their queues together, every ten mean services; a hundred servers, 90 % busy. The
/// mean sojourn in mean services, by published simulations (Mitzenmacher's model, "How useful is old information?",
/// TPDS 11(1), 2000): two choices 5.125, three 6.307, the least loaded of all 23.61; random needs 10.
#[test]
fn the_least_loaded_on_a_stale_board_is_worse_than_random() {
    let source = r#"
        title = "A stale board"
        question = "What is old information good for?"
        duration = "6000s"
        warmup = "500s"
        strategies = [
            { staleness_aware = { interpret = false, choices = 2 } },
            { staleness_aware = { interpret = false, choices = 3 } },
            { staleness_aware = { interpret = false, update = "1ms" } },
            { staleness_aware = { update = "1ms" } },
        ]
        arrivals = { poisson = { load = "90%" } }
        service = { exponential = { mean = "1s" } }
        network = { client = "0s", server = "0s" }
        [[pools]]
        name = "web"
        reports = { interval = "10s", synchronised = true }
        [[pools.servers]]
        name = "web"
        count = 100
    "#;
    let scenario = scenario(source);
    let means: Vec<f64> = (scenario.variants.iter())
        .map(|variant| {
            let record =
                evenkeel::sim::run(&scenario.model, &variant.table, scenario.replication_seed(0), &|| false).unwrap();
            record.measured.all.latency_sum as f64 / 1e9 / record.measured.all.latency.len() as f64
        })
        .collect();
    for (got, (expected, within)) in means.iter().zip([(5.125, 0.02), (6.307, 0.02), (23.61, 0.04)]) {
        assert!((got / expected - 1.0).abs() < within, "{means:?}: {got} and not {expected}");
    }
    assert!(means[3] < 7.0, "who reckons with what has come since the board was posted looks at all, too: {means:?}");
}

/// A rejected pick changes nothing: an idle server is still the first, and a server that was drawn at random does not
/// become idle.
#[test]
fn a_rejected_pick_makes_no_server_idle() {
    let mut bench = Bench::new("join_idle_queue", "", &[1; 3], 3);
    let refuse = |bench: &mut Bench, pick: Pick| bench.with(|selector, cx| selector.on_refused(&pick, cx));
    let idle = pick(&mut bench, 0);
    refuse(&mut bench, idle);
    for n in 1..4 {
        let next = pick(&mut bench, n);
        assert_eq!(next.backend == idle.backend, n == 1);
    }
    // All three were idle when they joined and are busy now: the other picks are random, a third of them the same
    // server again.
    let again = (0..60).filter(|&n| {
        let drawn = pick(&mut bench, n);
        refuse(&mut bench, drawn);
        pick(&mut bench, n).backend == drawn.backend
    });
    assert!((8..=32).contains(&again.count()));
}

/// A periodic report covers the time since the last periodic report, whatever health checks have read meanwhile. With
/// one window for both, turns by reports go by the slivers between them: here p99 goes from 165 ms to seconds.
#[test]
fn checks_do_not_cut_the_windows_of_reports() {
    let run = |checks: &str| {
        let scenario = scenario(&format!(
            "title = \"t\"\nquestion = \"q\"\nduration = \"30s\"\nreplications = 1\nstrategies = [\"client_side_weighted_round_robin\"]\n\
             arrivals = {{ poisson = {{ load = \"70%\" }} }}\nservice = {{ exponential = {{ mean = \"10ms\" }} }}\n[[pools]]\nname = \"web\"\n\
             reports = {{ interval = \"500ms\", with_answers = false }}\n{checks}[[pools.servers]]\nname = \"web\"\ncount = 10\n"
        ));
        let record = evenkeel::sim::observe(&scenario.setup(0, 0), &|| false, &mut ()).unwrap();
        (record.pick_hash, record.events)
    };
    let (without, with) = (run(""), run("health = { interval = \"510ms\", timeout = \"200ms\" }\n"));
    assert_eq!(with.0, without.0, "the same picks");
    assert!(with.1 > without.1, "and there were checks");
}
