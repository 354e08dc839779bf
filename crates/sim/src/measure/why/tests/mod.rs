//! Every number of the timeline and of every sentence against a full trace.

mod full_trace;
mod oracle;
mod recorder;

use super::differences::Clause;
use super::format::{count, time};
use super::{Fact, Ratio, Span, Subject, Why, short, why};
use crate::scenario::Scenario;
use crate::sim::timeline::Timeline;
use full_trace::{FullTrace, parse, scenario, watch};
use oracle::Oracle;

/// Scenarios with few strategies, some of them shorter.
fn cases() -> Vec<Scenario> {
    let mut cases = vec![
        scenario("slow-server", &["p2c", "round_robin", "peak_ewma"]),
        scenario("crash", &["round_robin", "least_request"]),
        scenario("outlier-ejection", &["round_robin", "least_request"]),
        scenario("retry-storm", &["round_robin"]),
        scenario("autoscale", &["p2c"]),
        scenario("deploy", &["round_robin"]),
        scenario("panic", &["round_robin"]),
        scenario("many-balancers", &["p2c"]),
    ];
    let mut shorter = |name: &str, strategies: &[&str], by: u64| {
        let mut scenario = scenario(name, strategies);
        scenario.model.duration.0 /= by;
        cases.push(scenario);
    };
    shorter("cache-affinity", &["random", "ip_hash"], 8);
    shorter("even-load", &["random", "p2c"], 8);
    shorter("hedging", &["random"], 4);
    shorter("limits-and-queue", &["least_request"], 4);
    cases.push(recovery());
    cases
}

/// A queue that grows and is short again before the run ends.
fn recovery() -> Scenario {
    let source = "title = \"t\"\nquestion = \"q\"\nkind = \"terminating\"\nduration = \"40s\"\nstrategies = [\"round_robin\"]\n\
         arrivals = { poisson = { load = \"50%\" } }\nservice = { exponential = { mean = \"10ms\" } }\n[[pools]]\n\
         name = \"w\"\nhealth = { interval = \"1s\", timeout = \"500ms\" }\n[[pools.servers]]\nname = \"w\"\ncount = 4\n\
         [[faults]]\ntarget = \"w/w-1\"\nat = \"10s\"\nfor = \"3s\"\nkind = { slow = { factor = 10 } }\n";
    parse("recovery", source, &["round_robin"])
}

/// The runs of a scenario with all that happened.
struct Case {
    scenario: Scenario,
    runs: Vec<(Timeline, FullTrace)>,
}

impl Case {
    fn of(scenario: Scenario) -> Case {
        let run = |variant| {
            let (_, timeline, trace) = watch(&scenario, variant);
            (timeline, trace)
        };
        let runs = (0..scenario.variants.len()).map(run).collect();
        Case { scenario, runs }
    }

    fn subjects(&self) -> Vec<Subject<'_>> {
        let pairs = self.runs.iter().zip(&self.scenario.variants).enumerate();
        pairs.map(|(i, ((timeline, _), variant))| Subject { index: 10 + i, label: &variant.label, timeline }).collect()
    }

    fn why(&self) -> Why {
        why(&self.scenario.model, &self.subjects())
    }

    fn oracle(&self, index: usize) -> Oracle<'_> {
        let (timeline, trace) = &self.runs[index - 10];
        Oracle { model: &self.scenario.model, trace, bin: timeline.bin_ns }
    }
}

/// The same fact with one number changed, for each of its numbers.
fn wrong(fact: &Fact) -> Vec<Fact> {
    let more = |ratio: Ratio| Ratio { part: ratio.part + 1, ..ratio };
    let fact_ = || fact.clone();
    let mut all = Vec::new();
    macro_rules! change {
        ($variant:ident, $($field:ident: $to:expr),*) => {
            $(if let (Fact::$variant { $field, .. }, mut changed) = (fact, fact_()) {
                #[allow(clippy::redundant_closure_call)]
                let value = ($to)($field.clone());
                if let Fact::$variant { $field, .. } = &mut changed {
                    *$field = value;
                }
                all.push(changed);
            })*
        };
    }
    let later = |at: u64| at + 1;
    let next = |number: u32| number + 1;
    let shifted = |span: Span| Span { from: span.from + 100_000_000, to: span.to + 100_000_000 };
    change!(Fault, at: later, until: |until: Option<u64>| Some(until.unwrap_or(0) + 1));
    change!(MoreFaults, count: later);
    change!(ShareFalls, before: more, then: more, during: more, window: shifted);
    change!(ShareStays, before: more, during: more);
    change!(ShareReturns, before: more, then: more, window: shifted, after: later);
    change!(Queue, value: next, at: later);
    change!(Queue, before: |before: Option<u32>| Some(before.unwrap_or(1_000_000) + 1));
    change!(Failures, first: later, ended: more, before: more);
    change!(Noticed, at: later, delay: later, views: next, told: next, last: later);
    change!(Ejections, count: later, servers: later, most: next, at: later, first: later);
    change!(Back, at: later, after: later);
    change!(Panic, at: later);
    change!(Scaling, at: later, started: next, joined: |at: Option<u64>| Some(at.unwrap_or(0) + 1), before: next, most: next, most_at: later);
    change!(Attempts, then: more, window: shifted, retries: later);
    change!(Hedges, ended: more);
    change!(Waiting, value: next, at: later);
    change!(Hits, ratio: more, evictions: later);
    change!(Latency, mean: |mean: f64| mean + 1.0, before: |before: Option<f64>| Some(before.unwrap_or(0.0) + 1.0));
    change!(Recovered, after: later, at: |at: u64| at + 100_000_000);
    change!(NotRecovered, number: next, after: later);
    change!(Load, most: |load: f64| load + 0.01, least: |load: f64| load - 0.01);
    all
}

#[test]
fn every_number_of_every_sentence_is_in_the_trace() {
    let mut kinds = std::collections::BTreeMap::new();
    for scenario in cases() {
        let case = Case::of(scenario);
        let name = &case.scenario.name;
        for story in case.why().stories {
            let oracle = case.oracle(story.index);
            let label = &case.scenario.variants[story.index - 10].label;
            assert!(!story.sentences.is_empty() && story.sentences.len() <= 12, "{name}, {label}");
            assert!(story.sentences.is_sorted_by_key(|sentence| sentence.time));
            for sentence in &story.sentences {
                let fact = &sentence.fact;
                let checked = oracle.check(fact);
                assert_eq!(checked, Ok(()), "{name}, {label}: {} {fact:?}", sentence.text);
                let kind = format!("{fact:?}");
                *kinds.entry(kind.split([' ', '{']).next().unwrap().to_owned()).or_insert(0) += 1;
                for wrong in wrong(fact) {
                    assert!(oracle.check(&wrong).is_err(), "{name}, {label}: {wrong:?} is not noticed");
                }
            }
        }
    }
    let wanted = [
        "Fault",
        "MoreFaults",
        "ShareFalls",
        "ShareStays",
        "ShareReturns",
        "Queue",
        "Failures",
        "Noticed",
        "NotNoticed",
        "Ejections",
        "Back",
        "Panic",
        "Scaling",
        "Attempts",
        "Hedges",
        "Waiting",
        "Hits",
        "NotRecovered",
        "Recovered",
        "Latency",
        "Load",
    ];
    let missing: Vec<&str> = wanted.into_iter().filter(|&kind| !kinds.contains_key(kind)).collect();
    assert!(missing.is_empty(), "no case has {missing:?}: {kinds:?}");
}

/// Both numbers of a clause, as the oracle has them.
fn clause(case: &Case, index: usize, clause: &Clause) -> Vec<f64> {
    let oracle = case.oracle(index);
    let pools = 0..case.scenario.model.pools.len() as u32;
    let entry = |&pool: &u32| case.scenario.model.paths.iter().any(|path| path.pool == pool as usize);
    let servers = 0..case.runs[0].0.servers.len() as u32;
    let sum = |ratios: Vec<Ratio>| ratios.into_iter().fold(Ratio::default(), |sum, ratio| sum + ratio).value();
    vec![match clause {
        Clause::Share { servers, span, .. } => oracle.picks(servers, *span).value(),
        Clause::Queue { servers, span, .. } => {
            servers.iter().map(|&server| f64::from(oracle.peak(server, *span).0)).fold(0.0, f64::max)
        }
        Clause::Longest { span, .. } => {
            servers.map(|server| f64::from(oracle.peak(server, *span).0)).fold(0.0, f64::max)
        }
        Clause::Failed { span, .. } => oracle.failed(None, *span).value(),
        Clause::Hits { span, .. } => sum(pools.map(|pool| oracle.hits(pool, *span)).collect()),
        Clause::Attempts { span, .. } => sum(pools.filter(entry).map(|pool| oracle.attempts(pool, *span)).collect()),
        Clause::Mean { span, .. } => oracle.mean(None, *span),
        Clause::Load { span, .. } => pools.map(|pool| oracle.loads(pool, *span).1).fold(0.0, f64::max),
        Clause::Noticed { .. } => f64::NAN,
    }]
}

fn numbers(clause: &Clause) -> (f64, f64) {
    match clause {
        Clause::Share { a, b, .. }
        | Clause::Failed { a, b, .. }
        | Clause::Hits { a, b, .. }
        | Clause::Attempts { a, b, .. } => (a.value(), b.value()),
        Clause::Queue { a, b, .. } | Clause::Longest { a, b, .. } => (f64::from(*a), f64::from(*b)),
        Clause::Mean { a, b, .. } | Clause::Load { a, b, .. } => (*a, *b),
        Clause::Noticed { a, b } => (*a as f64, *b as f64),
    }
}

#[test]
fn every_number_of_every_difference_is_in_the_trace() {
    for scenario in cases().into_iter().filter(|scenario| scenario.variants.len() > 1) {
        let case = Case::of(scenario);
        let why = case.why();
        let pairs = case.runs.len() * (case.runs.len() - 1) / 2;
        assert_eq!(why.differences.len(), pairs, "{}", case.scenario.name);
        for difference in &why.differences {
            for of in &difference.clauses {
                let (a, b) = numbers(of);
                assert_eq!(clause(&case, difference.a, of), [a], "{} {of:?}", case.scenario.name);
                assert_eq!(clause(&case, difference.b, of), [b], "{} {of:?}", case.scenario.name);
                assert_ne!(a, b);
            }
        }
    }
}

/// The sentences have the numbers of their facts, and the famous case is told as it should be.
#[test]
fn the_slow_server_is_explained() {
    let case = Case::of(scenario("slow-server", &["p2c", "round_robin"]));
    let why = case.why();
    let story = |label: &str| {
        let index = case.scenario.variants.iter().position(|variant| variant.label == label).unwrap();
        &why.stories[index].sentences
    };
    let (blind, sees) = (story("round_robin"), story("p2c"));
    assert_eq!(blind[0].text, "20.0 s: web-3 becomes 6 times slower, for 40.0 s.");
    let stays = blind.iter().find(|sentence| sentence.kind == "share").unwrap();
    assert!(stays.text.contains("goes on sending 10.0 % of the requests to web-3"), "{}", stays.text);
    let queue = blind.iter().find(|sentence| sentence.kind == "queue").unwrap();
    let Fact::Queue { value, at, .. } = queue.fact else { panic!("{queue:?}") };
    assert!(
        value > 1000 && queue.text.starts_with(&format!("{}: web-3 holds {} requests", time(at), count(value.into())))
    );
    let timeout = blind.iter().find(|sentence| sentence.kind == "timeout").unwrap();
    let Fact::Failures { ended, first, .. } = timeout.fact else { panic!("{timeout:?}") };
    assert!(timeout.text.contains(&count(ended.part)) && timeout.text.starts_with(&time(first)));
    let falls = sees.iter().find(|sentence| sentence.kind == "share").unwrap();
    let Fact::ShareFalls { then, during, window, .. } = falls.fact else { panic!("{falls:?}") };
    assert!(falls.text.contains(&then.percent()) && falls.text.contains(&during.percent()));
    assert!((20_000_000_000..23_000_000_000).contains(&window.to));
    assert_eq!(falls.server.as_deref(), Some("web/web-3"));
    assert!(sees.iter().all(|sentence| sentence.kind != "timeout"));

    let subjects = case.subjects();
    let lines = short(&case.scenario.model, &subjects);
    assert!((2..=3).contains(&lines.len()), "{lines:?}");
    // The life of a request: its steps lead from the client to the client.
    let life = &why.slowest[0].requests[0];
    assert_eq!((life.steps[0].text.as_str(), life.steps.last().unwrap().place), ("the client sends it", "client"));
    assert!((life.steps.last().unwrap().at - life.steps[0].at - life.latency).abs() < 1e-9);
    // A pick: one second after the fault began, and in the middle of the measured span.
    let picks = &why.picks[0].picks;
    assert_eq!(picks.iter().map(|pick| pick.time as u64).collect::<Vec<_>>(), [21, 45]);
    assert!(picks.iter().all(|pick| pick.servers.len() == 10 && pick.text.contains(pick.picked.as_ref().unwrap())));
}

/// The types are those that a report's page reads.
#[test]
fn the_json_has_the_page_s_names() {
    let case = Case::of(scenario("crash", &["least_request"]));
    let json = serde_json::to_value(case.why()).unwrap();
    let keys = |pointer: &str| {
        let mut keys: Vec<String> = json.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(keys(""), "differences picks slowest stories");
    assert_eq!(keys("/stories/0"), "index sentences");
    assert_eq!(keys("/stories/0/sentences/0"), "kind server text time");
    assert_eq!(keys("/slowest/0"), "index requests");
    assert_eq!(keys("/slowest/0/requests/0"), "id latency outcome path steps");
    assert_eq!(keys("/slowest/0/requests/0/steps/0"), "at place server text");
    assert_eq!(keys("/picks/0"), "index picks");
    assert_eq!(keys("/picks/0/picks/0"), "picked pool request servers text time");
    assert_eq!(keys("/picks/0/picks/0/servers/0"), "eligible in_flight score server truth weight");
}
