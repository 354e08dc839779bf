//! What the page gets: the shapes of the answers, and refusals of bad input. Nothing that a page can send may panic: in the module a
//! panic is the end.

use evenkeel_lab::{EVENT_VALUES, EventKind, HEADER, Lab, OpenRequest, PER_SERVER, RunResult, Stepped};
use serde_json::{Value, json};

fn file(name: &str) -> String {
    std::fs::read_to_string(format!("{}/../../{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn crash() -> String {
    file("scenarios/crash.toml")
}

fn request(source: &str, strategy: &str) -> Value {
    json!({ "name": "s", "source": source, "strategy": strategy })
}

fn open(lab: &mut Lab, request: &Value) -> u32 {
    let handle = lab.open(request.to_string().as_bytes());
    assert!(handle > 0, "{}", lab.text());
    handle
}

fn call(lab: &mut Lab, request: &Value) -> Value {
    assert!(lab.call(request.to_string().as_bytes()), "{}", lab.text());
    serde_json::from_str(lab.text()).unwrap()
}

fn refusal(lab: &Lab) -> (String, Value) {
    let refusal: Value = serde_json::from_str(lab.text()).unwrap();
    (refusal["message"].as_str().unwrap().to_owned(), refusal)
}

#[test]
fn a_scenario_is_described() {
    let mut lab = Lab::new();
    let described = call(&mut lab, &json!({ "op": "describe", "name": "crash", "source": crash(), "files": {} }));
    assert_eq!(described["title"], "A crash, with health checks");
    assert_eq!((&described["duration"], &described["load"]), (&json!(80.0), &json!(0.5)));
    assert_eq!(described["kind"], "terminating");
    let pool = &described["pools"][0];
    assert_eq!((&pool["name"], &pool["tier"], &pool["first"]), (&json!("web"), &json!(1), &json!(0)));
    assert_eq!(pool["servers"].as_array().unwrap().len(), 6);
    assert_eq!(pool["policies"], json!(["health"]));
    let fault = &described["faults"][0];
    assert_eq!((&fault["target"], &fault["server"], &fault["for"]), (&json!("web/web-2"), &json!(1), &json!(30.0)));
    assert_eq!(fault["sentence"], "web/web-2: crash at 20.0 s, for 30.0 s");
    assert!(described["strategies"].as_array().unwrap().len() > 10);
    for fact in described["facts"].as_array().unwrap() {
        assert!(fact[0].is_string() && !fact[1].as_str().unwrap().is_empty(), "{fact}");
    }
    // Two servers with a queue each, split at random: two M/M/1.
    let source = "title = \"t\"\nquestion = \"q?\"\nduration = \"9s\"\nstrategies = [\"random\", \"p2c\"]\n\
                  arrivals = { poisson = { load = \"50%\" } }\nservice = { exponential = { mean = \"10ms\" } }\n\
                  [[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\ncount = 2\n";
    let described = call(&mut lab, &json!({ "op": "describe", "name": "s", "source": source }));
    let theory = &described["theory"][0];
    assert_eq!((&theory["metric"], &theory["strategy"]), (&json!("latency.mean"), &json!("random")));
    assert!((theory["value"].as_f64().unwrap() - 0.02).abs() < 1e-9, "{theory}");
}

#[test]
fn every_scenario_is_described_and_opened() {
    let mut lab = Lab::new();
    for entry in std::fs::read_dir(format!("{}/../../scenarios", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let source = std::fs::read_to_string(&path).unwrap();
        let log = "logs/shop.workload.csv";
        let files = if source.contains(log) { json!({ log: file(&format!("scenarios/{log}")) }) } else { json!({}) };
        let described = call(&mut lab, &json!({ "op": "describe", "name": name, "source": source, "files": files }));
        let servers: usize =
            described["pools"].as_array().unwrap().iter().map(|pool| pool["servers"].as_array().unwrap().len()).sum();
        let opened = json!({ "name": name, "source": source, "files": files, "strategy": "p2c" });
        let handle = open(&mut lab, &opened);
        assert_eq!(lab.step_until(handle, 1e8), Stepped::Going, "{name}: {}", lab.text());
        lab.frame(handle);
        assert_eq!(lab.numbers().len(), HEADER.len() + servers * PER_SERVER.len(), "{name}");
        lab.close(handle);
    }
}

#[test]
fn the_catalogue_has_everything() {
    let mut lab = Lab::new();
    let catalog = call(&mut lab, &json!({ "op": "catalog" }));
    let strategies = catalog["strategies"].as_array().unwrap();
    assert_eq!(strategies.len(), evenkeel_core::select::catalog::CATALOGUE.len());
    let families: Vec<&Value> = catalog["families"].as_array().unwrap().iter().map(|family| &family["name"]).collect();
    for strategy in strategies {
        assert!(families.contains(&&strategy["family"]), "{strategy}");
        for key in ["title", "idea", "rule", "signals", "weakness", "source"] {
            assert!(!strategy[key].as_str().unwrap().is_empty(), "{key}: {strategy}");
        }
    }
    let p2c = strategies.iter().find(|strategy| strategy["name"] == "p2c").unwrap();
    let choices = p2c["parameters"].as_array().unwrap().iter().find(|p| p["name"] == "choices").unwrap();
    assert_eq!((&choices["default"], &choices["control"]["kind"]), (&json!("2"), &json!("number")));
    assert!(choices["control"]["max"].as_f64().unwrap() <= 16.0, "{choices}");
    assert_eq!(catalog["outcomes"][0], "ok");
    // Every example of a fault is one that a run accepts.
    let handle = open(&mut lab, &request(&crash(), "p2c"));
    for fault in catalog["faults"].as_array().unwrap() {
        let mut strike = json!({ "target": "web/web-1", "kind": fault["example"] });
        if fault["lasts"] == true {
            strike["for"] = json!("1s");
        }
        let act = json!({ "strike": strike }).to_string();
        assert!(lab.act(handle, act.as_bytes()), "{fault}: {}", lab.text());
        let acted: Value = serde_json::from_str(lab.text()).unwrap();
        assert!(acted["at"].is_u64() && acted["faults"][0]["server"] == 0, "{acted}");
    }
}

#[test]
fn a_run_is_watched_from_its_start_to_its_record() {
    let mut lab = Lab::new();
    let run = request(&crash(), "least_request");
    let handle = open(&mut lab, &run);
    lab.trace(handle, true, true);
    assert!(lab.why(handle, -1) && lab.text() == "null");
    assert_eq!(lab.step(handle), Stepped::Going);
    assert_eq!(lab.step_until(handle, 25e9), Stepped::Going);
    lab.frame(handle);
    let frame = lab.numbers().to_vec();
    let of = |server: usize, name: &str| {
        let column = PER_SERVER.iter().position(|column| *column == name).unwrap();
        frame[HEADER.len() + server * PER_SERVER.len() + column]
    };
    assert_eq!((frame[0], frame[9]), (25.0, 6.0));
    assert_eq!((of(1, "condition"), of(1, "in_service"), of(0, "condition")), (1.0, 0.0, 0.0));
    let picked: f64 = (0..6).map(|server| of(server, "picked")).sum();
    assert!(picked > 1000.0 && picked <= frame[3], "{picked} of {}", frame[3]);
    assert!(of(0, "busy") > 5.0 && of(0, "busy") < 25.0 && of(1, "failed") > 0.0);
    lab.events(handle);
    let events = lab.numbers().to_vec();
    assert_eq!(events.len() % EVENT_VALUES, 0);
    let of_kind =
        |kind: EventKind| events.chunks_exact(EVENT_VALUES).filter(move |event| event[0] == f64::from(kind as u8));
    let fault = of_kind(EventKind::FaultStarted).next().unwrap();
    assert_eq!(fault, [11.0, 20.0, 0.0, 1.0, -1.0, -1.0]);
    assert!(of_kind(EventKind::Health).any(|event| event[3] == 1.0 && event[4] == 0.0), "the check that fails");
    assert_eq!(of_kind(EventKind::Picked).filter(|event| event[3] >= 0.0).count() as f64, picked);
    assert!(lab.metrics(handle));
    let metrics: Value = serde_json::from_str(lab.text()).unwrap();
    assert!(metrics["count"].as_u64().unwrap() > 1000 && metrics["values"]["latency.p99"].is_f64());
    assert_eq!(metrics["series"]["p99"].as_array().unwrap().len(), 62, "25 of 80 s in 200 bins");
    let cdf = metrics["cdf"].as_array().unwrap();
    assert!(cdf.windows(2).all(|pair| pair[0][1].as_f64() <= pair[1][1].as_f64()));
    assert!(!lab.record(handle) && refusal(&lab).0 == "the run is not over");
    assert_eq!(lab.step_until(handle, 1e18), Stepped::Over);
    assert!(lab.record(handle));
    let record = lab.text().to_owned();
    let whole = RunResult::whole(&serde_json::from_value::<OpenRequest>(run).unwrap()).unwrap();
    assert_eq!(record, serde_json::to_string(&whole).unwrap());
    assert!(lab.metrics(handle));
    let last: Value = serde_json::from_str(lab.text()).unwrap();
    assert_eq!(last["values"], serde_json::from_str::<Value>(&record).unwrap()["values"]);
    assert!(lab.why(handle, -1) && lab.text().contains("\"sentence\""));
    assert!(!lab.act(handle, br#"{"set_load":{"factor":2}}"#) && refusal(&lab).0 == "the run is over");
}

#[test]
fn events_that_are_not_fetched_are_bounded() {
    let mut lab = Lab::new();
    let handle = open(&mut lab, &request(&crash(), "random"));
    lab.trace(handle, true, false);
    assert_eq!(lab.step_until(handle, 1e18), Stepped::Over);
    lab.events(handle);
    assert_eq!(lab.numbers().len(), (200_000 + 1) * EVENT_VALUES);
    let last = &lab.numbers()[200_000 * EVENT_VALUES..];
    assert!(last[0] == f64::from(EventKind::Dropped as u8) && last[4] > 0.0, "{last:?}");
    lab.events(handle);
    assert!(lab.numbers().is_empty());
}

#[test]
fn decisions_are_explained_in_sentences() {
    let mut lab = Lab::new();
    let source = crash();
    for (strategy, kind, sentence) in [
        ("p2c", json!("sample"), "the lowest requests in flight per weight"),
        ("round_robin", json!("order"), "'s turn; after it comes web-"),
        ("consistent_hash", json!("ring"), "of the ring, and the next point belongs to web-"),
        ("maglev", json!("table"), "one of 65537, belongs to web-"),
        ("least_request", Value::Null, "has the lowest requests in flight per weight"),
        ("random", json!("sample"), "was drawn at random."),
    ] {
        let handle = open(&mut lab, &request(&source, strategy));
        lab.trace(handle, true, true);
        lab.step_until(handle, 5e9);
        assert!(lab.why(handle, -1));
        let why: Value = serde_json::from_str(lab.text()).unwrap();
        assert_eq!(why["placement"]["kind"], kind, "{strategy}");
        assert!(why["sentence"].as_str().unwrap().contains(sentence), "{strategy}: {}", why["sentence"]);
        assert_eq!(why["servers"].as_array().unwrap().len(), 6);
        let job = why["job"].as_i64().unwrap() as i32;
        assert!(lab.why(handle, job) && serde_json::from_str::<Value>(lab.text()).unwrap() == why);
        let moves = call(&mut lab, &json!({ "op": "moves", "handle": handle, "server": 2 }));
        match kind == json!("ring") || kind == json!("table") {
            true => {
                let (moved, ideal) = (moves["moved"].as_f64().unwrap(), moves["ideal"].as_f64().unwrap());
                assert!((0.1..0.25).contains(&ideal) && moved >= ideal && moved < 2.0 * ideal, "{strategy}: {moves}");
                assert_eq!(moves["after"][2], 0);
            }
            false => assert_eq!(moves, Value::Null, "{strategy}"),
        }
        lab.close(handle);
    }
}

#[test]
fn lessons_are_read_and_graded() {
    let mut lab = Lab::new();
    let folder = std::fs::read_dir(format!("{}/../../lessons", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut paths: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let text = std::fs::read_to_string(&paths[0]).unwrap();
    let lesson = call(&mut lab, &json!({ "op": "lesson", "source": text }));
    assert_eq!(lesson["number"], 1);
    let challenge = lesson["challenge"]["scenario"].as_str().unwrap();
    let edit = json!({ "op": "edit", "source": challenge, "changes": lesson["solution"]["changes"] });
    let edited = call(&mut lab, &edit);
    for (solution, passed) in [(challenge, false), (edited["source"].as_str().unwrap(), true)] {
        let grade = call(&mut lab, &json!({ "op": "grade", "lesson": text, "solution": solution }));
        assert_eq!(grade["passed"], passed, "{grade}");
        assert!(!grade["checks"].as_array().unwrap().is_empty() && !grade["message"].as_str().unwrap().is_empty());
    }
    let broken = json!({ "op": "grade", "lesson": text, "solution": "a = \n" });
    assert!(!lab.call(broken.to_string().as_bytes()) && refusal(&lab).1["line"] == 1);
    assert!(!lab.call(json!({ "op": "lesson", "source": "x" }).to_string().as_bytes()));
}

#[test]
fn bad_input_is_refused_at_its_place() {
    let mut lab = Lab::new();
    let source = crash();
    let broken = source.replace("load = \"50%\"", "load = \"x%\"");
    assert_eq!(lab.open(request(&broken, "p2c").to_string().as_bytes()), 0);
    let (message, refused) = refusal(&lab);
    let line = broken.lines().position(|line| line.contains("x%")).unwrap() + 1;
    assert!(refused["line"] == line && refused["column"].as_u64().unwrap() > 1, "{refused}");
    assert!(!message.is_empty());
    let with = |key: &str, value: Value| {
        let mut request = request(&source, "p2c");
        request[key] = value;
        request
    };
    let late = json!([{ "at": "900s", "act": { "set_load": { "factor": 1 } } }]);
    for (bad, expected) in [
        (json!(null), "cannot be read"),
        (json!({ "name": "s", "source": source }), "strategy"),
        (request(&source, ""), "no strategy"),
        (request(&source, "p2c(choices=99)"), "from 1 to 16"),
        (with("seed", json!(-1)), "-1"),
        (with("acts", json!([{ "at": 5, "act": { "set_load": { "factor": 1 } } }])), "no unit"),
        (with("acts", late), "act 1 of the log: 900 s is after the end"),
        (request(&file("scenarios/replayed-log.toml"), "p2c"), "there is no file"),
    ] {
        assert_eq!(lab.open(bad.to_string().as_bytes()), 0, "{bad}");
        assert!(lab.text().contains(expected), "{bad}: {}", lab.text());
    }
    assert!(!lab.call(b"\xff\xfe") && !lab.call(b"") && !lab.call(br#"{"op":"describe"}"#));
    assert!(!lab.call(br#"{"op":"moves","handle":9,"server":0}"#));
    let handle = open(&mut lab, &request(&source, "maglev"));
    for act in [
        json!({ "set_load": { "factor": -1 } }),
        json!({ "set_load": { "factor": 1e300 } }),
        json!({ "strike": { "target": "web/web-9", "kind": { "crash": {} } } }),
        json!({ "strike": { "target": "balancer/7", "kind": { "crash": {} } } }),
        json!({ "strike": { "target": "web/*", "kind": { "slow": { "factor": 0 } } } }),
        json!({ "strike": { "target": "web/*", "for": "0s", "kind": { "crash": {} } } }),
        json!({ "strike": 1 }),
    ] {
        assert!(!lab.act(handle, act.to_string().as_bytes()), "{act}");
        assert!(!refusal(&lab).0.is_empty());
    }
    for time in [f64::NAN, f64::NEG_INFINITY, -1.0] {
        assert_eq!(lab.step_until(handle, time), Stepped::Going);
    }
    let far = json!({ "op": "moves", "handle": handle, "server": u32::MAX });
    assert_eq!(call(&mut lab, &far), Value::Null);
    assert!(lab.why(handle, i32::MIN) && lab.text() == "null");
    for unknown in [0, 2, u32::MAX] {
        assert_eq!(lab.step(unknown), Stepped::Failed);
        assert!(!lab.record(unknown) && !lab.metrics(unknown) && !lab.why(unknown, 0) && !lab.act(unknown, b"{}"));
        lab.frame(unknown);
        lab.events(unknown);
        lab.trace(unknown, true, true);
        lab.close(unknown);
        assert!(lab.numbers().is_empty());
    }
    // As many runs as there may be, and no more.
    while lab.open(request(&source, "p2c").to_string().as_bytes()) > 0 {}
    assert!(refusal(&lab).0.contains("64 runs are open"));
}

#[test]
fn a_run_that_grows_too_large_says_so() {
    let mut lab = Lab::new();
    let source = "title = \"t\"\nquestion = \"q?\"\nduration = \"100s\"\nallow_overload = true\nmax_in_system = 100\n\
                  arrivals = { poisson = { rate = \"9000/s\" } }\nservice = { constant = { value = \"10ms\" } }\n\
                  [[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"web\"\n";
    let handle = open(&mut lab, &request(source, "random"));
    assert_eq!(lab.step_until(handle, 1e18), Stepped::Failed);
    assert!(refusal(&lab).0.contains("requests"), "{}", lab.text());
    assert_eq!(lab.step(handle), Stepped::Failed);
    assert!(!lab.record(handle));
    lab.frame(handle);
    assert!(lab.numbers().len() > HEADER.len());
}
