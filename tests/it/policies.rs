//! Policies in the simulator: each against a number that is derived by hand.

use evenkeel::measure::{Summary, summarise};
use evenkeel::scenario::Scenario;
use evenkeel::select::catalog::CATALOGUE;

/// Runs a scenario's first variant; `head` is whatever stands before the pools.
fn run(head: &str, pools: &str) -> Summary {
    let source = format!("title = \"t\"\nquestion = \"q\"\n{head}\n{pools}");
    let scenario = Scenario::parse("t", &source, &|file| Err(format!("no file {file}")))
        .unwrap_or_else(|problems| panic!("{problems:?}\n{source}"));
    let runs: Vec<_> = (0..scenario.replications)
        .map(|r| evenkeel::sim::observe(&scenario.setup(0, r), &|| false, &mut ()).unwrap())
        .collect();
    summarise(&scenario, 0, &runs)
}

fn head(strategy: &str, duration: &str, arrivals: &str, service: &str) -> String {
    format!(
        "kind = \"terminating\"\nreplications = 4\nduration = \"{duration}\"\nstrategies = [\"{strategy}\"]\narrivals = {arrivals}\nservice = {service}\n"
    )
}

fn near(got: f64, expected: f64, within: f64, what: &str) {
    assert!((got - expected).abs() <= within * expected, "{what}: {got} is not {expected}");
}

const TEN: &str = "{ constant = { value = \"10ms\" } }";

#[test]
fn five_failures_a_round_and_longer_ejections_each_time() {
    // A request every 10 ms in turn to four servers; one fails all. Its fifth failure ejects it for 10 s, the next five
    // (at 10 s) for 20 s, the next (at 30 s) for 30 s, to the end and beyond: 15 errors of 5,900 requests, 3 ejections.
    let s = run(
        &head("round_robin", "59s", "{ constant = { rate = \"100/s\" } }", TEN),
        "[[faults]]\ntarget = \"web/web-2\"\nat = \"0s\"\nkind = { errors = {} }\n[[pools]]\nname = \"web\"\n\
         outliers = { consecutive_failures = 5, base_ejection_time = \"10s\", max_ejected = \"50%\" }\n[[pools.servers]]\nname = \"web\"\ncount = 4\n",
    );
    near(s.value("errors.error"), 15.0 / 5900.0, 0.001, "errors");
    assert_eq!(s.value("ejections"), 3.0);
}

#[test]
fn a_slow_server_is_ejected_by_its_latency() {
    // At 10 s its mean of 100 ms is above three times the median of 10 ms; out it is until 40 s. Of 4 · 400 requests it
    // gets a quarter for 10 of 40 s.
    let s = run(
        &head("round_robin", "39s", "{ constant = { rate = \"20/s\" } }", TEN),
        "[[faults]]\ntarget = \"web/web-2\"\nat = \"0s\"\nkind = { slow = { factor = 10 } }\n[[pools]]\nname = \"web\"\n\
         outliers = { consecutive_failures = 0, latency = { factor = 3, min_requests = 20 } }\n\
         [[pools.servers]]\nname = \"web\"\ncount = 4\n",
    );
    assert_eq!(s.value("ejections"), 1.0);
    // A quarter of a quarter takes 90 ms more.
    near(s.value("latency.mean"), 0.010 + 0.090 * 10.0 / 39.0 / 4.0, 0.02, "mean");
}

#[test]
fn limits_of_one_and_a_queue_are_one_queue_for_all_servers() {
    // Erlang C of 5 servers at load 0.8 is 0.55411: with limits of one, M/M/5 whatever the strategy. The mean wait is
    // 0.55411/(500 − 400) = 5.541 ms, of those that wait 1/(500 − 400) = 10 ms.
    for strategy in ["random", "round_robin", "least_request"] {
        let s = run(
            &format!(
                "replications = 6\nduration = \"200s\"\nstrategies = [\"{strategy}\"]\n\
                 arrivals = {{ poisson = {{ load = \"80%\" }} }}\nservice = {{ exponential = {{ mean = \"10ms\" }} }}\n"
            ),
            "[[pools]]\nname = \"web\"\nqueue = { limit = 100000, timeout = \"1h\" }\n\
             [[pools.servers]]\nname = \"web\"\ncount = 5\nmax_in_flight = 1\n",
        );
        near(s.value("latency.mean"), 0.015541, 0.025, strategy);
        near(s.value("balancer_queue.ratio"), 0.55411, 0.025, strategy);
        near(s.value("balancer_queue.mean"), 0.010, 0.05, strategy);
    }
}

#[test]
fn without_a_queue_limits_are_erlangs_loss() {
    // Erlang B of 5 servers offered 4: 0.19907.
    let s = run(
        "replications = 6\nduration = \"200s\"\nstrategies = [\"random\"]\n\
         arrivals = { poisson = { load = \"80%\" } }\nservice = { exponential = { mean = \"10ms\" } }\n",
        "[[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\ncount = 5\nmax_in_flight = 1\n",
    );
    near(s.value("errors.rejected"), 0.19907, 0.02, "loss");
    near(s.value("latency.mean"), 0.010, 0.01, "who is served does not wait");
}

#[test]
fn the_queue_timeout_rejects_requests() {
    // One server, 10 ms of work every 8 ms, patience of 30 ms: those that are served have waited less, at 100/s.
    let s = run(
        &(head("random", "50s", "{ constant = { rate = \"125/s\" } }", TEN) + "allow_overload = true\n"),
        "[[pools]]\nname = \"web\"\nqueue = { limit = 100, timeout = \"30ms\" }\n\
         [[pools.servers]]\nname = \"web\"\nmax_in_flight = 1\n",
    );
    near(s.value("errors.rejected"), 0.2, 0.01, "a fifth is too much");
    assert!(s.value("latency.p999") <= 0.0401, "{}", s.value("latency.p999"));
}

const ONE_DEAD: &str =
    "[[faults]]\ntarget = \"web/web-1\"\nat = \"0s\"\nkind = { crash = {} }\n[[pools]]\nname = \"web\"\n";
const TWO: &str = "[[pools.servers]]\nname = \"web\"\ncount = 2\n";

#[test]
fn retries_go_to_another_server_as_far_as_the_budget_goes() {
    let with = |retries: &str| {
        let head = head("random", "100s", "{ poisson = { rate = \"100/s\" } }", "{ constant = { value = \"1ms\" } }");
        run(&head, &format!("{ONE_DEAD}retries = {retries}\n{TWO}"))
    };
    // One of two servers is dead: with random picks half of the requests need a second attempt. 40,000 of them: 4
    // standard errors are 1 %.
    let s = with("{ budget = \"1000%\", backoff = \"0s\", max_backoff = \"0s\" }");
    assert_eq!(s.value("errors.ratio"), 0.0);
    near(s.value("attempts.mean"), 1.5, 0.01, "attempts");
    near(s.value("retries.ratio"), 0.5, 0.02, "retries");
    // A budget of a fifth and no floor: three tenths are lost.
    let s = with("{ budget = \"20%\", min_per_second = \"0/s\" }");
    near(s.value("retries.ratio"), 0.2, 0.01, "retries");
    near(s.value("errors.reset"), 0.3, 0.03, "errors");
    // Pauses are uniform up to 20 ms: a half of the answers comes 10 ms later.
    let s = with("{ budget = \"1000%\", backoff = \"20ms\" }");
    near(s.value("latency.mean"), 0.006, 0.02, "pauses");
    // Failures that are not configured are not retried.
    let s = with("{ on = [\"error\"] }");
    near(s.value("errors.reset"), 0.5, 0.02, "a refusal is no error");
    assert_eq!(s.value("retries.ratio"), 0.0);
}

#[test]
fn an_attempt_that_takes_too_long_is_made_elsewhere() {
    // One of two is dead and silent: half of the requests lose 50 ms and are answered by the other after 1 ms.
    let head = head("random", "100s", "{ poisson = { rate = \"100/s\" } }", "{ constant = { value = \"1ms\" } }");
    let pool = ONE_DEAD.replace("crash = {}", "crash = { silent = true }");
    let s = run(
        &(head + "clients = { timeout = \"1s\" }\n"),
        &format!(
            "{pool}retries = {{ on = [\"timeout\"], per_try_timeout = \"50ms\", budget = \"1000%\", backoff = \"0s\" }}\n{TWO}"
        ),
    );
    assert_eq!(s.value("errors.ratio"), 0.0);
    near(s.value("latency.mean"), 0.001 + 0.5 * 0.050, 0.03, "mean");
    // With no attempt left, the balancer gives up.
    let dead = "[[faults]]\ntarget = \"web/web-2\"\nat = \"0s\"\nkind = { crash = { silent = true } }\n";
    let s = run(
        "kind = \"terminating\"\nduration = \"10s\"\nreplications = 1\nstrategies = [\"random\"]\n\
         arrivals = { constant = { rate = \"10/s\" } }\nservice = { constant = { value = \"1ms\" } }\n\
         clients = { timeout = \"1s\" }\n",
        &format!(
            "{dead}{pool}retries = {{ on = [\"timeout\"], per_try_timeout = \"50ms\", budget = \"1000%\", backoff = \"0s\" }}\n{TWO}"
        ),
    );
    assert_eq!(s.value("errors.timed_out"), 1.0);
    near(s.value("latency.mean"), 0.100, 0.001, "two attempts of 50 ms");
}

#[test]
fn a_hedge_answers_for_a_slow_server_and_the_loser_works_on() {
    // One of two needs 100 ms, the other 10. With random picks half of the requests are hedged after 20 ms and take 30.
    // The load: 2/s · 10 ms on the fast one, which serves all in the end; 1/s · 100 ms on the slow one, whose work no
    // client waits for.
    let s = run(
        &head("random", "500s", "{ poisson = { rate = \"2/s\" } }", TEN),
        &format!(
            "[[faults]]\ntarget = \"web/web-1\"\nat = \"0s\"\nkind = {{ slow = {{ factor = 10 }} }}\n[[pools]]\nname = \"web\"\n\
             hedge = {{ after = \"20ms\", budget = \"100%\" }}\n{TWO}"
        ),
    );
    near(s.value("hedges.ratio"), 0.5, 0.07, "hedges");
    near(s.value("latency.mean"), 0.010 + 0.020 * s.value("hedges.ratio"), 0.04, "mean");
    assert!(s.value("hedges.win_ratio") > 0.97, "{}", s.value("hedges.win_ratio"));
    near(s.value("utilisation.max"), 0.1, 0.15, "the slow one works on");
    assert!(s.value("latency.p99") < 0.045);
}

#[test]
fn a_hedging_budget_holds() {
    let s = run(
        &head("random", "200s", "{ poisson = { rate = \"50/s\" } }", TEN),
        &format!("[[pools]]\nname = \"web\"\nhedge = {{ after = \"1ms\", budget = \"5%\" }}\n{TWO}"),
    );
    near(s.value("hedges.ratio"), 0.05, 0.02, "every request would be hedged");
}

#[test]
fn a_server_that_comes_back_gets_the_integral_of_its_factor() {
    // Out from 0 to 10 s, then warming for 40 s: max(0.1, t/40) integrates to 0.4 + (1600 − 16)/80 = 20.2 s of its share.
    // Of 200/s, random over five servers that is 40/s · 20.2 s = 808, of 10,000 requests; to 50 s the run lasts.
    let source = head("random", "50s", "{ poisson = { rate = \"200/s\" } }", "{ constant = { value = \"1ms\" } }");
    let text = format!(
        "title = \"t\"\nquestion = \"q\"\n{source}[[faults]]\ntarget = \"web/web-3\"\nat = \"0s\"\nfor = \"10s\"\nkind = {{ drain = {{}} }}\n\
         [[pools]]\nname = \"web\"\nslow_start = \"40s\"\n[[pools.servers]]\nname = \"web\"\ncount = 5\n"
    );
    let scenario = Scenario::parse("t", &text, &|_| Err(String::new())).unwrap();
    let picks: u64 = (0..4)
        .map(|r| {
            evenkeel::sim::observe(&scenario.setup(0, r), &|| false, &mut ()).unwrap().measured.servers[0][2].picks
        })
        .sum();
    let expected = 4.0 * 808.0;
    assert!((picks as f64 - expected).abs() < 4.0 * expected.sqrt(), "{picks} of {expected}");
}

#[test]
fn a_cookie_keeps_a_client_at_its_server_while_it_is_there() {
    let alone = |sticky: &str, faults: &str| {
        let head = head("random", "40s", "{ constant = { rate = \"100/s\" } }", "{ constant = { value = \"1ms\" } }");
        run(
            &(head + "clients = { count = 1 }\n"),
            &format!("{faults}[[pools]]\nname = \"web\"\n{sticky}\n[[pools.servers]]\nname = \"web\"\ncount = 4\n"),
        )
    };
    assert_eq!(alone("sticky = {}", "").value("fairness.max_over_mean"), 4.0);
    assert!(alone("", "").value("fairness.max_over_mean") < 1.2);
    // A drain does not end a session.
    let drain = "[[faults]]\ntarget = \"web/*\"\nat = \"10s\"\nkind = { drain = {} }\n";
    let s = alone("sticky = {}", drain);
    assert_eq!((s.value("fairness.max_over_mean"), s.value("errors.ratio")), (4.0, 0.0));
    near(alone("", drain).value("errors.no_healthy_server"), 0.75, 0.01, "without cookies the drained get nothing");
}

#[test]
fn panic_mode_ignores_health() {
    let lying = "[[faults]]\ntarget = \"web/*\"\nat = \"0s\"\nkind = { errors = { share = 0, fails_checks = true } }\n[[pools]]\nname = \"web\"\nhealth = { interval = \"1s\" }\n";
    let head = head("random", "40s", "{ constant = { rate = \"100/s\" } }", "{ constant = { value = \"1ms\" } }");
    assert!(run(&head, &format!("{lying}{TWO}")).value("errors.no_healthy_server") > 0.9);
    assert_eq!(run(&head, &format!("{lying}panic = \"50%\"\n{TWO}")).value("errors.ratio"), 0.0);
}

#[test]
fn checks_have_jitter_and_servers_can_start_down() {
    let head = head("random", "20s", "{ constant = { rate = \"100/s\" } }", "{ constant = { value = \"1ms\" } }");
    let s = run(
        &head,
        &format!(
            "[[pools]]\nname = \"web\"\nhealth = {{ interval = \"2s\", rise = 2, initial = \"down\", jitter = \"20%\" }}\n{TWO}"
        ),
    );
    // The first server is up by its second check: between 1.6 s and 2 + 2.4 s; the earlier of two.
    let lost = s.value("errors.no_healthy_server") * 20.0;
    assert!((1.6..4.4).contains(&lost), "{lost}");
}

/// Everything at once, two tiers, crashes of servers and balancers: the invariants must hold, and the results are the
/// same with any observer. (A run verifies its invariants at its end and panics where they do not hold.)
#[test]
fn invariants_hold_with_all_policies_at_once() {
    let everything = "outliers = { consecutive_failures = 3, base_ejection_time = \"1s\", interval = \"1s\", latency = {}, success_rate = {} }\n\
        slow_start = \"2s\"\npanic = \"40%\"\nqueue = { limit = 20, timeout = \"50ms\" }\n\
        retries = { max_retries = 2, on = [\"connect\", \"reset\", \"error\", \"timeout\", \"rejected\"], per_try_timeout = \"60ms\", budget = \"50%\" }\n\
        hedge = { after = \"p90\", budget = \"20%\" }\nhealth = { interval = \"500ms\", timeout = \"100ms\", jitter = \"10%\", rise = 1, fall = 1 }\n";
    let names: Vec<String> = CATALOGUE.iter().map(|row| format!("{:?}", row.name)).collect();
    for cancel in [false, true] {
        for (shared, replication) in [(false, 0), (true, 1)] {
            let source = format!(
                "title = \"t\"\nquestion = \"q\"\nkind = \"terminating\"\nduration = \"12s\"\nallow_overload = true\ndrain = \"20ms\"\n\
                 strategies = [{}]\narrivals = {{ poisson = {{ rate = \"700/s\" }} }}\nservice = {{ exponential = {{ mean = \"5ms\" }} }}\n\
                 keys = {{ count = 300, exponent = 0.9 }}\nclients = {{ count = 100, timeout = \"150ms\", servers_see_cancel = {cancel} }}\n\
                 network = {{ client = \"1ms\", server = {{ exponential = {{ mean = \"300us\" }} }} }}\n\
                 balancers = {{ count = 2, shards = 2, shared_in_flight = {shared} }}\n\
                 [[pools]]\nname = \"web\"\nsticky = {{}}\n{everything}backend = {{ pool = \"db\", service = {{ exponential = {{ mean = \"4ms\" }} }}, on_miss = true }}\n\
                 [[pools.servers]]\nname = \"web\"\ncount = 5\nconcurrency = 3\nqueue_limit = 5\nmax_in_flight = 4\ncache = {{ capacity = 60 }}\n\
                 [[pools.servers]]\nname = \"shared\"\ncount = 2\ndiscipline = \"ps\"\nmax_in_flight = 6\n\
                 [[pools]]\nname = \"db\"\nshards = 2\n{everything}[[pools.servers]]\nname = \"db\"\ncount = 3\nmax_in_flight = 3\n\
                 [[faults]]\ntarget = \"web/web-1\"\nat = \"1s\"\nfor = \"2s\"\nkind = {{ crash = {{}} }}\n\
                 [[faults]]\ntarget = \"web/web-2\"\nat = \"2s\"\nfor = \"2s\"\nkind = {{ crash = {{ silent = true }} }}\n\
                 [[faults]]\ntarget = \"web/*\"\nat = \"5s\"\nfor = \"300ms\"\nstagger = \"400ms\"\nkind = {{ drain = {{}} }}\n\
                 [[faults]]\ntarget = \"web/web-4\"\nat = \"3s\"\nfor = \"5s\"\nkind = {{ slow = {{ factor = 10 }} }}\n\
                 [[faults]]\ntarget = \"web/shared-1\"\nat = \"4s\"\nfor = \"5s\"\nkind = {{ errors = {{ share = \"70%\" }} }}\n\
                 [[faults]]\ntarget = \"db/db-1\"\nat = \"6s\"\nfor = \"1s\"\nkind = {{ crash = {{}} }}\n\
                 [[faults]]\ntarget = \"db/*\"\nat = \"8s\"\nfor = \"200ms\"\nkind = {{ crash = {{}} }}\n\
                 [[faults]]\ntarget = \"balancer/1\"\nat = \"7s\"\nfor = \"1s\"\nkind = {{ crash = {{}} }}\n",
                names.join(", ")
            );
            let scenario = Scenario::parse("t", &source, &|_| Err(String::new())).unwrap_or_else(|p| panic!("{p:?}"));
            for variant in 0..scenario.variants.len() {
                let setup = scenario.setup(variant, replication);
                let record = evenkeel::sim::observe(&setup, &|| false, &mut ()).unwrap();
                let efforts = record.measured.efforts;
                let label = &scenario.variants[variant].label;
                assert!(efforts.retries > 0 && efforts.hedges > 0 && efforts.ejections > 0, "{label}: {efforts:?}");
                assert!(efforts.waited > 0 && efforts.attempts > record.measured.all.ok() / 2, "{label}: {efforts:?}");
            }
        }
    }
}

/// Rules that never take effect change nothing: the same picks, the same answers.
#[test]
fn rules_that_do_not_act_change_nothing() {
    let run = |rules: &str, limit: &str| {
        let source = format!(
            "title = \"t\"\nquestion = \"q\"\nduration = \"20s\"\nstrategies = [\"p2c\"]\narrivals = {{ poisson = {{ load = \"60%\" }} }}\n\
             service = {{ exponential = {{ mean = \"10ms\" }} }}\nnetwork = {{ client = \"1ms\", server = {{ exponential = {{ mean = \"1ms\" }} }} }}\n\
             [[pools]]\nname = \"web\"\n{rules}[[pools.servers]]\nname = \"web\"\ncount = 5\n{limit}"
        );
        let scenario = Scenario::parse("t", &source, &|_| Err(String::new())).unwrap_or_else(|p| panic!("{p:?}"));
        let record = evenkeel::sim::observe(&scenario.setup(0, 0), &|| false, &mut ()).unwrap();
        (record.pick_hash, record.measured.all.latency_sum, record.workload_hash)
    };
    let bare = run("", "");
    let idle =
        "outliers = {}\nslow_start = \"10s\"\npanic = \"50%\"\nretries = {}\nhedge = { after = \"1h\" }\nqueue = {}\n";
    assert_eq!(run(idle, "max_in_flight = 1000\n"), bare);
}

/// In a trace a request that tries has a line of its own, without server, and each attempt one: the lines agree with the
/// record.
#[test]
fn a_trace_tells_requests_from_attempts() {
    let source = "title = \"t\"\nquestion = \"q\"\nkind = \"terminating\"\nduration = \"20s\"\nstrategies = [\"random\"]\n\
        arrivals = { poisson = { rate = \"100/s\" } }\nservice = { exponential = { mean = \"10ms\" } }\n\
        clients = { timeout = \"200ms\" }\nnetwork = { client = \"1ms\", server = \"1ms\" }\n\
        [[faults]]\ntarget = \"web/web-1\"\nat = \"5s\"\nfor = \"10s\"\nkind = { crash = { silent = true } }\n\
        [[pools]]\nname = \"web\"\nqueue = { limit = 5 }\nhedge = { after = \"20ms\", budget = \"50%\" }\n\
        retries = { on = [\"connect\", \"timeout\"], per_try_timeout = \"50ms\", budget = 1 }\n\
        [[pools.servers]]\nname = \"web\"\ncount = 3\nmax_in_flight = 3\n";
    let scenario = Scenario::parse("t", source, &|_| Err(String::new())).unwrap_or_else(|p| panic!("{p:?}"));
    let mut tracer = evenkeel::report::trace::Tracer::new(&scenario.model, Vec::new()).unwrap();
    let record = evenkeel::sim::observe(&scenario.setup(0, 0), &|| false, &mut tracer).unwrap();
    let text = tracer.finish().unwrap();
    let lines: Vec<_> = evenkeel::report::trace::read(&text[..]).unwrap().map(Result::unwrap).collect();
    let (requests, attempts): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.ended_ns.is_some());
    assert_eq!(requests.len() as u64, record.requests);
    assert!(requests.iter().all(|line| line.attempt == 0 && line.server.is_empty()));
    let sent = attempts.iter().filter(|line| line.measured && !line.server.is_empty()).count() as u64;
    let efforts = record.measured.efforts;
    assert_eq!(sent, efforts.attempts);
    let again = attempts.iter().filter(|line| line.measured && line.attempt > 1).count() as u64;
    assert_eq!(again, efforts.retries + efforts.hedges);
    assert!(efforts.retries > 100 && efforts.hedges > 100 && efforts.hedges_won > 50, "{efforts:?}");
    // A successful request had exactly one attempt that succeeded and was waited for; all others were abandoned or
    // failed.
    for request in requests.iter().filter(|line| line.outcome == "ok") {
        let good = attempts.iter().filter(|line| line.request == request.request && line.outcome == "ok").count();
        assert_eq!(good, 1, "request {}", request.request);
    }
    assert!(
        attempts.iter().any(|line| line.outcome == "abandoned" && line.returned_ns.is_some()),
        "the loser works on"
    );
}
