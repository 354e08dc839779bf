//! The abstract suite: what every strategy in the catalogue must keep, whatever it is.

use evenkeel::fleet::BackendId;
use evenkeel::rng::{Rng, Source};
use evenkeel::select::catalog::{CATALOGUE, Family};
use evenkeel::select::{Command, LoadReport, Outcome, Pick, ProbeReplies, ProbeReply, ReportSource, Request};
use evenkeel::units::Nanos;

use crate::support::{Bench, client};

fn request<'a>(n: u64, key: &'a [u8; 8], excluded: &'a [u32]) -> Request<'a> {
    Request { client: client(n), path: "/", key, excluded, answers: None }
}

/// A report with anything in it, by any channel.
fn any_report(dice: &mut Rng) -> LoadReport {
    LoadReport {
        window: dice.unit() * 3.0,
        throughput: dice.unit() * 1000.0,
        response_time: dice.unit(),
        utilisation: dice.unit(),
        errors: dice.unit(),
        in_server: (dice.below(4) > 0).then(|| dice.below(10) as u32),
        latency: dice.unit(),
        by: [ReportSource::Answer, ReportSource::Clock, ReportSource::Check, ReportSource::Probe, ReportSource::Notice]
            [dice.below(5) as usize],
    }
}

/// Random operations in any order: inquire, pick, finish, fail, cancel, refuse, report, join, leave, up, down, weight, drain,
/// wake. A pick is eligible and untried; `None` only when nothing is left. Whoever is asked could be picked.
#[test]
fn survives_any_order_of_events_and_never_picks_what_it_must_not() {
    for row in CATALOGUE {
        for seed in 0..6 {
            let mut dice = Rng::stream(seed, "operations", 0);
            let mut bench = Bench::new(row.name, "", &[1, 2, 3, 1, 5], seed);
            let mut under_way = Vec::new();
            // What was asked, and is answered by some of those asked when the pick comes: perhaps late, perhaps never.
            let mut asked: Vec<Vec<BackendId>> = Vec::new();
            let mut picks = 0;
            for step in 0..4000_u64 {
                bench.now += Nanos::from_millis(dice.below(20));
                match dice.below(14) {
                    12 => {
                        let excluded: Vec<u32> = (0..dice.below(4)).map(|_| dice.below(6) as u32).collect();
                        let key = dice.below(50).to_le_bytes();
                        let request = request(dice.below(40), &key, &excluded);
                        let inquiry = bench.with(|selector, cx| selector.inquire(&request, cx));
                        assert!(inquiry.is_none() || bench.selector.signals().inquires, "{}: unasked", row.name);
                        if let Some(inquiry) = inquiry {
                            let targets = inquiry.targets();
                            let could =
                                |id: &BackendId| bench.fleet.is_eligible(id.slot) && !excluded.contains(&id.slot);
                            assert!(targets.iter().all(could), "{}: asked whom it must not", row.name);
                            assert!((1..=targets.len()).contains(&inquiry.quorum), "{}: {inquiry:?}", row.name);
                            let once = targets.iter().collect::<std::collections::BTreeSet<_>>().len();
                            assert_eq!(once, targets.len(), "{}: asked twice", row.name);
                            asked.push(targets.to_vec());
                        }
                    }
                    13 if !under_way.is_empty() => {
                        // Slow start does not follow a pick.
                        let pick: Pick = under_way.swap_remove(dice.below(under_way.len() as u64) as usize);
                        bench.fleet.ended(pick.backend);
                        bench.with(|selector, cx| selector.on_refused(&pick, cx));
                    }
                    0..=3 => {
                        let excluded: Vec<u32> = (0..dice.below(4)).map(|_| dice.below(6) as u32).collect();
                        let key = dice.below(50).to_le_bytes();
                        let left = bench.fleet.eligible().iter().filter(|slot| !excluded.contains(slot)).count();
                        let targets = if asked.is_empty() { None } else { Some(asked.swap_remove(0)) };
                        let answers = targets.map(|targets| ProbeReplies {
                            part: 0,
                            given: targets
                                .into_iter()
                                .filter(|_| dice.below(3) > 0)
                                .map(|backend| ProbeReply {
                                    backend,
                                    load: any_report(&mut Rng::stream(step, "answer", 0)),
                                })
                                .collect(),
                        });
                        let request = Request { answers: answers.as_ref(), ..request(dice.below(40), &key, &excluded) };
                        match bench.pick(&request) {
                            Some(pick) => {
                                let slot = pick.backend.slot;
                                assert!(
                                    bench.fleet.is_eligible(slot),
                                    "{}: picked ineligible {slot} at step {step}",
                                    row.name
                                );
                                assert!(!excluded.contains(&slot), "{}: picked tried {slot} at step {step}", row.name);
                                assert!(bench.fleet.is_current(pick.backend), "{}: old generation", row.name);
                                under_way.push(pick);
                                picks += 1;
                            }
                            None => assert_eq!(left, 0, "{}: gave up with {left} left at step {step}", row.name),
                        }
                    }
                    4..=6 if !under_way.is_empty() => {
                        let pick = under_way.swap_remove(dice.below(under_way.len() as u64) as usize);
                        let outcome = [Outcome::Ok, Outcome::Failed, Outcome::Cancelled][dice.below(3) as usize];
                        bench.finish(pick, Nanos::from_millis(dice.below(500)), outcome);
                    }
                    7 => {
                        // Also for slots whose tenant has changed since.
                        let slot = dice.below(bench.fleet.slots() as u64) as u32;
                        let mut backend = bench.fleet.id(slot);
                        backend.generation = backend.generation.saturating_sub(dice.below(2) as u32);
                        let load = any_report(&mut dice);
                        bench.with(|selector, cx| selector.on_report(backend, &load, cx));
                    }
                    8 => {
                        let slot = dice.below(bench.fleet.slots() as u64) as u32;
                        let id = bench.fleet.id(slot);
                        match dice.below(4) {
                            0 => bench.fleet.set_healthy(id, dice.below(2) == 0),
                            1 => bench.fleet.set_draining(id, dice.below(2) == 0),
                            2 => bench.fleet.set_weight(id, dice.below(4) as u32),
                            _ => bench.fleet.leave(id),
                        }
                        bench.tell();
                    }
                    9 if bench.fleet.members().count() < 6 => {
                        bench.fleet.join(&format!("n{step}"), 1 + dice.below(4) as u32);
                        bench.tell();
                    }
                    10 => while bench.with(|selector, cx| selector.poll_command(cx)).is_some() {},
                    11 => bench.with(|selector, cx| selector.on_wake(cx)),
                    _ => {}
                }
            }
            assert!(picks > 500, "{}: the test hardly picked", row.name);
        }
    }
}

#[test]
fn an_empty_fleet_gives_none_and_a_single_server_gets_all() {
    let key = [7; 8];
    for row in CATALOGUE {
        let mut bench = Bench::new(row.name, "", &[], 1);
        assert_eq!(bench.pick(&request(1, &key, &[])), None, "{}", row.name);
        let mut bench = Bench::new(row.name, "", &[3], 1);
        for n in 0..100 {
            assert_eq!(bench.pick(&request(n, &key, &[])).map(|pick| pick.backend.slot), Some(0), "{}", row.name);
            assert_eq!(bench.pick(&request(n, &key, &[0])), None, "{}", row.name);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_picks() {
    for row in CATALOGUE {
        let run = |seed| {
            let mut bench = Bench::new(row.name, "", &[1, 2, 3, 4], seed);
            (0..500_u64)
                .map(|n| {
                    bench.now = Nanos::from_millis(n);
                    let key = (n % 31).to_le_bytes();
                    let pick = bench.pick(&request(n % 17, &key, &[])).unwrap();
                    if n % 3 == 0 {
                        bench.finish(pick, Nanos::from_millis(5 + n % 7), Outcome::Ok);
                    }
                    pick.backend.slot
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(run(4), run(4), "{}", row.name);
    }
}

/// Shares of 60,000 picks, each finished at once, against weights 1:2:3:4. A share p has a standard deviation of
/// √(p(1-p)/60000) ≤ 0.002 for independent picks; 5 of them are allowed. Hashes get a key per request; the ring's own
/// unevenness (standard deviation 7 % of a share at 160 points, less for heavier servers) is allowed on top, 4 of it.
#[test]
fn weights_are_honoured_where_that_is_promised() {
    const PICKS: u64 = 60_000;
    for row in CATALOGUE.iter().filter(|row| !PACKS.contains(&row.name) && !BY_DELAY.contains(&row.name)) {
        let mut bench = Bench::new(row.name, "", &[1, 2, 3, 4], 5);
        let mut counts = [0.0; 4];
        for n in 0..PICKS {
            bench.now = Nanos(n * 1000);
            let key = n.to_le_bytes();
            let pick = bench.pick(&request(n, &key, &[])).unwrap();
            counts[pick.backend.slot as usize] += 1.0;
            bench.finish(pick, Nanos::from_millis(1), Outcome::Ok);
        }
        let shares: Vec<f64> = counts.iter().map(|count| count / PICKS as f64).collect();
        let fair: [f64; 4] = if row.doc.weighted { [0.1, 0.2, 0.3, 0.4] } else { [0.25; 4] };
        for (share, fair) in shares.iter().zip(fair) {
            let ring = if ["consistent_hash", "bounded_load"].contains(&row.name) { 4.0 * 0.07 * fair } else { 0.0 };
            // One point per server: the largest share is bounded, the smallest is not (`traps_hash`); here 15 % is one deviation.
            let probes = if row.name == "multi_probe" { 3.0 * 0.15 * fair } else { 0.0 };
            // A latency-based choice of two also looks at how old an estimate is; with latencies that never vary, as here,
            // that decides alone and favours the light. Weights are a tendency for it: nobody starves, heavier gets more.
            let bias = if row.name == "peak_ewma" { 0.1 } else { 0.0 };
            // The mod-6271 table of nginx's ip_hash has a grain of its own: 1/√(6271·p) of a share.
            let grain = if row.name == "ip_hash" { 4.0 * fair / (6271.0 * fair).sqrt() } else { 0.0 };
            assert!((share - fair).abs() < 0.01 + ring + probes + bias + grain, "{}: {shares:?}", row.name);
        }
    }
}

/// Those that fill the first servers on purpose.
const PACKS: [&str; 2] = ["never_queue", "first_fit"];

/// Those that count the request to be placed: while all are idle, the heaviest server is the best for each. Their weights
/// show where there is something in flight.
const BY_DELAY: [&str; 4] = ["shortest_expected_delay", "least_time", "least_time_window", "cost_aware_least_request"];

/// With 100 requests in flight that all take the same time, (n_i + 1) / w_i even out: 10 of 104 for the first with weights
/// 1:2:3:4, less its one, and so on. As each stays equally long, shares of picks are as the n_i: 9.4, 19.8, 30.2, 40.6 of
/// 100, give or take the request that is at issue.
#[test]
fn those_that_count_the_newcomer_honour_weights_under_load() {
    for name in BY_DELAY {
        let mut bench = Bench::new(name, "", &[1, 2, 3, 4], 5);
        let mut under_way = std::collections::VecDeque::new();
        let mut counts = [0.0; 4];
        for n in 0..60_000_u64 {
            bench.now = Nanos::from_millis(n);
            let key = n.to_le_bytes();
            let pick = bench.pick(&request(n, &key, &[])).unwrap();
            counts[pick.backend.slot as usize] += 1.0;
            under_way.push_back(pick);
            if under_way.len() > 100 {
                bench.finish(under_way.pop_front().unwrap(), Nanos::from_millis(100), Outcome::Ok);
            }
        }
        for (count, share) in counts.iter().zip([0.094_f64, 0.198, 0.302, 0.406]) {
            assert!((count / 60_000.0 - share).abs() < 0.015, "{name}: {counts:?}");
        }
    }
}

/// A pick that is not followed (slow start) leaves no trace: servers stand as before in the eyes of every strategy that has a
/// number for them.
#[test]
fn a_refused_pick_leaves_no_trace_in_the_scores() {
    let mut seen = 0;
    for row in CATALOGUE {
        // By requests alone: an answer that counts as used would show.
        let parameters = if row.name == "prequal" { "q_rif = 0.0, remove = 0.0" } else { "" };
        let mut bench = Bench::new(row.name, parameters, &[1, 2, 3, 1], 9);
        let mut under_way = Vec::new();
        for n in 0..400_u64 {
            bench.now = Nanos::from_millis(10 * n + 1);
            let key = n.to_le_bytes();
            let request = request(n, &key, &[]);
            let scores = |bench: &Bench| {
                (0..4).map(|slot| bench.selector.score(slot, &bench.fleet, bench.now)).collect::<Vec<_>>()
            };
            let before = scores(&bench);
            let refused = bench.with(|selector, cx| selector.pick(&request, cx)).unwrap();
            bench.with(|selector, cx| selector.on_refused(&refused, cx));
            let after = scores(&bench);
            let same = |(a, b): (&Option<f64>, &Option<f64>)| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()),
                // Turns that a look at the state has begun.
                (None, _) => true,
                (Some(_), None) => false,
            };
            let by_turns = matches!(row.doc.family, Family::RoundRobin) || row.name == "weighted_least_request";
            assert!(by_turns || before.iter().zip(&after).all(same), "{}: {before:?}, {after:?}", row.name);
            seen += u32::from(before.iter().any(Option::is_some));
            let pick = bench.pick(&request).unwrap();
            under_way.push(pick);
            while let Some(command) = bench.with(|selector, cx| selector.poll_command(cx)) {
                if let Command::Probe(backend) = command {
                    let in_server = Some(bench.fleet.in_flight()[backend.slot as usize]);
                    let load =
                        LoadReport { in_server, latency: 0.01, by: ReportSource::Probe, ..LoadReport::default() };
                    bench.with(|selector, cx| selector.on_report(backend, &load, cx));
                }
            }
            if n % 3 > 0 {
                let pick = under_way.remove(0);
                bench.finish(pick, Nanos::from_millis(15 + n % 7), Outcome::Ok);
            }
        }
    }
    assert!(seen > 3000, "scores were there to be compared: {seen}");
}

#[test]
fn every_strategy_is_explained() {
    assert!(CATALOGUE.is_sorted_by_key(|row| row.doc.family), "rows stand by family");
    for row in CATALOGUE {
        let doc = row.doc;
        for (what, text) in [
            ("title", doc.title),
            ("variant", doc.variant),
            ("idea", doc.idea),
            ("formula", doc.formula),
            ("source", doc.source),
            ("cost", doc.cost),
            ("fails", doc.fails),
            ("scenario", doc.scenario),
        ] {
            assert!(text.len() > 3, "{} has no {what}", row.name);
        }
        (row.default)().check().unwrap();
        for (what, name) in [("shown", doc.scenario), ("seen to fail", doc.fails_in)] {
            let file = crate::support::root().join("scenarios").join(format!("{name}.toml"));
            let scenario =
                std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {}: {e}", row.name, file.display()));
            let names = |word: &str| {
                scenario.match_indices(word).any(|(at, _)| {
                    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                    !part(scenario[..at].chars().next_back()) && !part(scenario[at + word.len()..].chars().next())
                })
            };
            let runs = !scenario.contains("\nstrategies = ") || names(row.name);
            assert!(runs, "{} is {what} in {name} which does not run it", row.name);
        }
    }
}

/// Fast failures must not attract: of two servers, one failing at once, the failing one gets next to nothing.
#[test]
fn peak_ewma_stays_away_from_failures_and_its_classic_form_does_not() {
    let share = |parameters: &str| {
        let mut bench = Bench::new("peak_ewma", parameters, &[1, 1, 1, 1], 3);
        let mut failing = 0;
        for n in 0..4000_u64 {
            bench.now = Nanos::from_millis(n);
            let key = n.to_le_bytes();
            let pick = bench.pick(&request(n, &key, &[])).unwrap();
            if pick.backend.slot == 2 {
                failing += 1;
                bench.finish(pick, Nanos::from_millis(1), Outcome::Failed);
            } else {
                bench.finish(pick, Nanos::from_millis(20), Outcome::Ok);
            }
        }
        f64::from(failing) / 4000.0
    };
    assert!(share("") < 0.01, "{}", share(""));
    assert!(share("failure_penalty = \"0s\"") > 0.4, "{}", share("failure_penalty = \"0s\""));
}

/// Health checks and reports together cut windows into slivers whose figures are chance: they must not move the weights.
#[test]
fn slivers_of_reports_do_not_shake_the_weights() {
    let mut bench = Bench::new("load_report", "", &[1, 1], 1);
    let backends = [bench.fleet.id(0), bench.fleet.id(1)];
    let report = |window, utilisation| LoadReport {
        window,
        throughput: 50.0,
        response_time: 0.02,
        utilisation,
        errors: 0.0,
        in_server: Some(1),
        latency: 0.02,
        by: ReportSource::Clock,
    };
    for backend in backends {
        bench.with(|selector, cx| selector.on_report(backend, &report(1.0, 0.5), cx));
    }
    // A hundredth of a second in which server 0 happened to do its work with a hundredth of itself.
    bench.with(|selector, cx| selector.on_report(backends[0], &report(0.01, 0.005), cx));
    bench.with(|selector, cx| selector.on_wake(cx));
    let mut first = 0;
    for n in 0..4000_u64 {
        let key = n.to_le_bytes();
        let pick = bench.pick(&request(n, &key, &[])).unwrap();
        first += u32::from(pick.backend.slot == 0);
        bench.finish(pick, Nanos::from_millis(1), Outcome::Ok);
    }
    // Even, but for the sliver's 0.7 % of a hundredfold: 0.63 at most, and not 0.98.
    assert!((1800..2600).contains(&first), "{first}");
}

/// Of n keys, those of the removed server move and no others; of the ring's keys the removed server had about 1/10.
#[test]
fn a_ring_moves_only_the_keys_of_the_server_that_goes() {
    let mut bench = Bench::new("consistent_hash", "", &[1; 10], 1);
    let place = |bench: &mut Bench| {
        (0..20_000_u64)
            .map(|n| {
                let key = n.to_le_bytes();
                let pick = bench.pick(&request(n, &key, &[])).unwrap();
                bench.finish(pick, Nanos(1), Outcome::Ok);
                pick.backend.slot
            })
            .collect::<Vec<u32>>()
    };
    let before = place(&mut bench);
    let gone = bench.fleet.id(4);
    bench.fleet.leave(gone);
    bench.tell();
    let after = place(&mut bench);
    let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert!(before.iter().zip(&after).all(|(&a, &b)| a == b || a == 4));
    let share = moved as f64 / before.len() as f64;
    // 1/10 with the ring's own spread: standard deviation 7 % of it, 4 of them.
    assert!((share - 0.1).abs() < 4.0 * 0.007, "{share}");
}
