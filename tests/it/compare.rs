//! Comparing two sets of results: which differences are found, which are not, and how they are reported.

use std::path::Path;

use evenkeel::config::distribution::normal;
use evenkeel::measure::comparison::{Basis, Changes, DEFAULT_METRICS, Question, Tolerance, Verdict, compare};
use evenkeel::measure::results::{Manifest, Results};
use evenkeel::rng::Rng;

use crate::support::{evenkeel, rows};

const METRICS: [&str; 8] = [
    "latency.mean",
    "latency.p99",
    "goodput",
    "errors.ratio",
    "unfinished.ratio",
    "fairness.jain",
    "cache.hit_ratio",
    "utilisation.mean",
];

/// Around which value each measure varies, and how much of that from workload to workload.
const NORMALS: [(f64, f64); 8] =
    [(0.02, 0.1), (0.09, 0.1), (900.0, 0.01), (0.02, 0.1), (0.0, 0.0), (0.98, 0.001), (0.6, 0.02), (0.8, 0.02)];

/// What a change of code does to a measure: (label, measure) to a factor; `None` leaves the cell empty.
type Effect<'a> = &'a dyn Fn(&str, &str) -> Option<f64>;

/// A set of results that could have come from `evenkeel run`.
#[derive(Clone)]
struct Run<'a> {
    scenario: &'a str,
    labels: Vec<&'a str>,
    replications: u32,
    seed: u64,
    /// Relative noise that two versions of the code do not share although they meet the same requests.
    own: f64,
    /// Selects the noise of one version.
    version: u64,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a str, labels: &[&'a str]) -> Run<'a> {
        Run { scenario, labels: labels.to_vec(), replications: 10, seed: 1, own: 0.0, version: 0 }
    }

    fn manifest(&self) -> serde_json::Value {
        serde_json::json!({
            "schema_version": 1, "scenario": self.scenario, "title": "A test", "scenario_sha256": "ab".repeat(32),
            "seed": self.seed, "replications": self.replications, "warmup_s": 1.0, "duration_s": 10.0,
            "version": format!("0.{}.0", self.version), "commit": null, "strategies": [], "machine": { "cpus": 2 },
        })
    }

    fn csv(&self, effect: Effect<'_>) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let keys = ["scenario", "point", "strategy", "replication", "seed", "workload"];
        writer.write_record(keys.iter().chain(&METRICS)).unwrap();
        for (l, label) in self.labels.iter().enumerate() {
            for r in 0..self.replications {
                let seed = evenkeel::rng::mix(self.seed ^ (u64::from(r) << 32));
                let mut shared = Rng::stream(seed, "workload", 0);
                let mut own = Rng::stream(seed, "own", self.version * 1000 + l as u64);
                let mut record = vec![self.scenario.to_owned(), "base".to_owned(), (*label).to_owned()];
                record.extend([r.to_string(), seed.to_string(), format!("{:016x}", evenkeel::rng::mix(seed))]);
                for (metric, (middle, spread)) in METRICS.iter().zip(NORMALS) {
                    let noise = 1.0 + spread * (normal(&mut shared) + self.own * normal(&mut own));
                    let value = effect(label, metric).map(|factor| middle * noise * factor);
                    record.push(value.map_or(String::new(), |value| format!("{value:.9e}")));
                }
                writer.write_record(record).unwrap();
            }
        }
        String::from_utf8(writer.into_inner().unwrap()).unwrap()
    }

    fn write(&self, out: &Path, effect: Effect<'_>) {
        let folder = out.join(self.scenario);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("manifest.json"), self.manifest().to_string()).unwrap();
        std::fs::write(folder.join("replications.csv"), self.csv(effect)).unwrap();
    }

    fn results(&self, effect: Effect<'_>) -> Results {
        let manifest: Manifest = serde_json::from_value(self.manifest()).unwrap();
        Results::parse(manifest, self.csv(effect).as_bytes()).unwrap()
    }
}

fn nothing(_: &str, _: &str) -> Option<f64> {
    Some(1.0)
}

fn compared(old: Results, new: Results, tolerance: f64) -> Changes {
    let metrics = DEFAULT_METRICS.map(str::to_owned);
    let tolerance = Tolerance { relative: tolerance, share: 0.1 * tolerance };
    compare(&[old], &[new], &Question { metrics: &metrics, tolerance, pairs: &[] })
}

fn verdict(changes: &Changes, strategy: &str, metric: &str) -> Verdict {
    let found =
        changes.all.iter().find(|change| (change.strategy.as_str(), change.metric.as_str()) == (strategy, metric));
    found.unwrap_or_else(|| panic!("no {metric} of {strategy}")).verdict
}

/// Workloads differ by 10 %, versions by a two-hundredth of that: only pairs can see that one takes 1 % longer.
#[test]
fn pairs_see_one_percent_that_means_alone_could_not() {
    let before = Run { own: 0.005, ..Run::new("s", &["p2c", "random"]) };
    let after = Run { version: 1, ..before.clone() };
    let slower = |label: &str, metric: &str| Some(if (label, metric) == ("p2c", "latency.mean") { 1.01 } else { 1.0 });
    let changes = compared(before.results(&nothing), after.results(&slower), 0.002);
    assert_eq!(verdict(&changes, "p2c", "latency.mean"), Verdict::Worse);
    assert_eq!(verdict(&changes, "random", "latency.mean"), Verdict::Same);
    assert!(changes.all.iter().all(|change| change.basis == Some(Basis::SameRequests)));
    assert_eq!(changes.comparisons, 10);

    // The same with other seeds: the means of ten workloads differ by more than that from randomness alone.
    let after = Run { seed: 2, ..after };
    let changes = compared(before.results(&nothing), after.results(&slower), 0.002);
    assert_eq!(verdict(&changes, "p2c", "latency.mean"), Verdict::Unclear);
    assert!(changes.all.iter().all(|change| change.basis == Some(Basis::Unpaired)));
}

/// In a closed loop the requests depend on the answers. Pairs are by seed all the same, all of them: those that met other
/// requests are those in which something changed.
#[test]
fn pairs_are_by_seed_and_not_by_what_came_of_it() {
    let before = Run::new("s", &["p2c"]);
    let old = before.results(&nothing);
    let mut new = before.results(&|_, metric| Some(if metric == "latency.mean" { 1.1 } else { 1.0 }));
    for (r, row) in new.rows.iter_mut().enumerate() {
        if r < 6 {
            row.values = old.rows[r].values.clone();
        } else {
            row.workload = "other".to_owned();
        }
    }
    let changes = compared(old, new, 0.01);
    let mean = &changes.all[0];
    assert_eq!((mean.basis, mean.runs), (Some(Basis::SameSeeds), (10, 10)));
    assert_eq!(mean.verdict, Verdict::Unclear, "{mean:?}");
}

#[test]
fn less_or_more_is_better_by_the_measure() {
    let run = Run::new("s", &["p2c"]);
    let changes = compared(run.results(&nothing), run.results(&|_, _| Some(1.1)), 0.01);
    assert_eq!(verdict(&changes, "p2c", "latency.p99"), Verdict::Worse);
    assert_eq!(verdict(&changes, "p2c", "failed"), Verdict::Worse);
    assert_eq!(verdict(&changes, "p2c", "fairness.jain"), Verdict::Better);
    assert_eq!(verdict(&changes, "p2c", "cache.hit_ratio"), Verdict::Better);

    // A constant difference has no spread: it is beyond the tolerance or it is not.
    let mut new = run.results(&nothing);
    new.rows.iter_mut().for_each(|row| row.values[0] = 0.0205);
    let mut old = run.results(&nothing);
    old.rows.iter_mut().for_each(|row| row.values[0] = 0.02);
    assert_eq!(verdict(&compared(old.clone(), new.clone(), 0.02), "p2c", "latency.mean"), Verdict::Worse);
    assert_eq!(verdict(&compared(old, new, 0.03), "p2c", "latency.mean"), Verdict::Same);
}

/// A latency that is better only because slow requests now fail is no improvement.
#[test]
fn a_better_latency_with_more_failures_is_no_improvement() {
    let run = Run::new("s", &["p2c", "random"]);
    let effect = |label: &str, metric: &str| {
        Some(match (label, metric) {
            (_, "latency.p99") => 0.8,
            ("p2c", "errors.ratio") => 2.0,
            _ => 1.0,
        })
    };
    let changes = compared(run.results(&nothing), run.results(&effect), 0.01);
    let flattered: Vec<_> = changes.all.iter().filter(|change| change.flattered).map(|c| c.strategy.as_str()).collect();
    assert_eq!(flattered, ["p2c"]);
}

#[test]
fn with_too_few_runs_nothing_is_said() {
    let run = Run { replications: 4, ..Run::new("s", &["p2c"]) };
    let changes =
        compared(run.results(&nothing), run.results(&|_, m| Some(if m == "latency.p99" { 3.0 } else { 1.0 })), 0.01);
    assert_eq!(verdict(&changes, "p2c", "latency.p99"), Verdict::TooFew);
    assert_eq!(verdict(&changes, "p2c", "latency.mean"), Verdict::Identical);

    // The common ones count: ten before and four now are four.
    let more = Run { replications: 10, ..run.clone() };
    let changes = compared(more.results(&nothing), run.results(&|_, _| Some(3.0)), 0.01);
    assert_eq!(verdict(&changes, "p2c", "latency.p99"), Verdict::TooFew);
    assert_eq!(changes.all[0].runs, (4, 4));
}

/// One run without a value is missing, not left out: averaging only the others would be biased.
#[test]
fn a_value_that_vanished_is_missing() {
    let run = Run::new("s", &["p2c"]);
    let old = run.results(&nothing);
    let mut new = run.results(&|_, metric| Some(if metric == "latency.p99" { 0.5 } else { 1.0 }));
    new.rows[3].values[1] = f64::NAN;
    new.rows.iter_mut().for_each(|row| row.values[6] = f64::NAN);
    let changes = compared(old.clone(), new.clone(), 0.01);
    assert_eq!(verdict(&changes, "p2c", "latency.p99"), Verdict::Missing);
    assert_eq!(verdict(&changes, "p2c", "cache.hit_ratio"), Verdict::Missing);
    assert_eq!(verdict(&changes, "p2c", "latency.mean"), Verdict::Identical);
    let back = compared(new, old, 0.01);
    assert_eq!(verdict(&back, "p2c", "cache.hit_ratio"), Verdict::New);
}

/// Two sets from the same distribution, 20 comparisons, no tolerance: something is called worse in at most 5 % of 200
/// cases, plus four deviations of that count (10 + 4 · 3.08).
#[test]
fn false_alarms_are_as_rare_as_stated() {
    for paired in [true, false] {
        let mut alarms = 0;
        for case in 0..200 {
            let before = Run { seed: 1000 + case, own: 0.3, ..Run::new("s", &["a", "b", "c", "d"]) };
            let seed = if paired { before.seed } else { 5000 + case };
            let after = Run { version: 1, seed, ..before.clone() };
            let changes = compared(before.results(&nothing), after.results(&nothing), 0.0);
            assert_eq!(changes.comparisons, 20);
            alarms += u32::from(changes.count(Verdict::Worse) > 0);
        }
        assert!(alarms <= 22, "{alarms} of 200, paired: {paired}");
    }
}

/// The command: before, after, and what it says of them.
struct Case(tempfile::TempDir);

impl Case {
    fn new() -> Case {
        Case(tempfile::tempdir().unwrap())
    }

    fn old(&self) -> std::path::PathBuf {
        self.0.path().join("old")
    }

    fn new_side(&self) -> std::path::PathBuf {
        self.0.path().join("new")
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    /// Exit code, standard output, standard error.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = evenkeel();
        command.current_dir(self.0.path()).args(["compare", "old", "new"]).args(arguments);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn the_same_folder_twice_is_identical() {
    let case = Case::new();
    for side in [case.old(), case.new_side()] {
        Run::new("s", &["p2c", "random"]).write(&side, &nothing);
    }
    let (code, out, err) = case.run(&["--all"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("Nothing has changed.\nIn all 10: 10 identical."), "{out}");
    assert!(!out.contains("note:") && !out.contains('\u{1b}'), "{out}");
    let (code, out, _) = case.run(&["--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["passed"], &json["counts"]["identical"]), (Some(0), &true.into(), &10.into()));
}

/// The text of the elements of that name, and each element's attributes; panics where the XML is not well-formed.
fn elements(xml: &str, name: &str) -> Vec<Vec<(String, String)>> {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(xml);
    let (mut depth, mut found) = (0, Vec::new());
    loop {
        let event = reader.read_event().unwrap();
        depth += match &event {
            Event::Start(_) => 1,
            Event::End(_) => -1,
            _ => 0,
        };
        match event {
            Event::Start(e) | Event::Empty(e) if e.name().as_ref() == name => {
                let attributes = e.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    let value = quick_xml::escape::unescape(&attribute.value).unwrap().into_owned();
                    (attribute.key.as_ref().to_owned(), value)
                });
                found.push(attributes.collect());
            }
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(depth, 0, "{xml}");
    found
}

#[test]
fn a_degraded_strategy_is_named_everywhere() {
    let case = Case::new();
    let nasty = "p2c(name=<&\">|_x_)";
    let run = Run { own: 0.01, ..Run::new("s", &[nasty, "random"]) };
    run.write(&case.old(), &nothing);
    let slower = |label: &str, metric: &str| Some(if label == nasty && metric == "latency.p99" { 1.123 } else { 1.0 });
    Run { version: 1, ..run }.write(&case.new_side(), &slower);
    let exports = ["--export-json", "c.json", "--export-markdown", "c.md", "--export-junit", "c.xml"];
    let more = ["--export-csv", "c.csv", "--export-table", "c.txt"];
    let (code, out, err) = case.run(&[&exports[..], &more].concat());
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.contains("1 of 10 comparisons got worse") && out.contains("+12.") && out.contains("10 pairs"), "{out}");
    assert!(out.contains("note: version: 0.0.0 before, 0.1.0 after"), "{out}");
    assert!(!out.contains("random"), "only what matters is shown:\n{out}");

    let json: serde_json::Value = serde_json::from_str(&case.file("c.json")).unwrap();
    let worse: Vec<_> = json["changes"].as_array().unwrap().iter().filter(|c| c["verdict"] == "worse").collect();
    assert_eq!(worse.len(), 1);
    assert_eq!((&worse[0]["strategy"], &worse[0]["metric"]), (&nasty.into(), &"latency.p99".into()));
    let relative = worse[0]["relative"]["difference"].as_f64().unwrap();
    assert!((relative - 0.123).abs() < 0.01, "{relative}");
    assert_eq!(json["passed"], false);

    let csv = rows(case.file("c.csv").as_bytes());
    assert_eq!(csv.len(), 10);
    let worse: Vec<_> = csv.iter().filter(|row| row["verdict"] == "worse").collect();
    assert_eq!(worse.len(), 1);
    for (column, value) in [("strategy", nasty), ("metric", "latency.p99"), ("unit", "s"), ("better", "lower")] {
        assert_eq!(worse[0][column], value, "{column}");
    }
    assert!(worse[0]["low"].parse::<f64>().unwrap() > 0.0);
    assert_eq!(case.file("c.txt"), out, "the tables in a file are those of a pipe");

    let markdown = case.file("c.md");
    assert!(markdown.starts_with("### 1 of 10 comparisons got worse\n"), "{markdown}");
    assert!(markdown.contains("| s | p2c(name=&lt;&amp;\"&gt;\\|\\_x\\_) | latency.p99 |"), "{markdown}");
    assert!(markdown.contains("<details>") && markdown.contains("Bonferroni"), "{markdown}");

    let xml = case.file("c.xml");
    assert_eq!(elements(&xml, "testcase").len(), 10);
    let suite = elements(&xml, "testsuite");
    assert!(suite[0].contains(&("failures".to_owned(), "1".to_owned())), "{suite:?}");
    let failures = elements(&xml, "failure");
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0][1], ("type".to_owned(), "worse".to_owned()));
    let names = elements(&xml, "testcase");
    assert!(names.iter().any(|a| a.contains(&("name".to_owned(), format!("{nasty} latency.p99")))), "{names:?}");

    // A tolerance that allows it, and standard output for the comment.
    let (code, out, _) = case.run(&["--tolerance", "30%", "--export-markdown", "-"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.starts_with("### Nothing is shown to have got worse\n"), "{out}");
    let (code, out, _) = case.run(&["--color", "always"]);
    assert_eq!(code, Some(1));
    assert!(out.contains('\u{1b}'), "{out}");
}

#[test]
fn missing_values_fail_the_comparison() {
    let case = Case::new();
    Run::new("kept", &["p2c", "random"]).write(&case.old(), &nothing);
    Run::new("gone", &["p2c"]).write(&case.old(), &nothing);
    Run::new("kept", &["p2c"]).write(&case.new_side(), &nothing);
    Run::new("added", &["p2c"]).write(&case.new_side(), &nothing);
    let (code, out, _) = case.run(&[]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("10 missing") && out.contains("5 new") && out.contains("all 5 metrics"), "{out}");
    let (code, out, _) = case.run(&["--allow-missing", "--export-junit", "-"]);
    assert_eq!(code, Some(0), "{out}");
    assert_eq!((elements(&out, "failure").len(), elements(&out, "skipped").len()), (0, 10));
}

#[test]
fn strategies_of_other_labels_find_each_other() {
    let case = Case::new();
    Run::new("s", &["p2c(choices=2)", "random"]).write(&case.old(), &nothing);
    Run::new("s", &["p2c(choices=3)", "random"]).write(&case.new_side(), &nothing);
    let (code, out, _) = case.run(&[]);
    assert_eq!(code, Some(0), "{out}");
    let note = "p2c(choices=2) is compared with p2c(choices=3): the only ones of this name without a partner";
    assert!(out.contains(note), "{out}");

    let (_, out, _) = case.run(&["--pair", "random=p2c(choices=3)", "--pair", "p2c(choices=2)=random", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let pairs: Vec<_> =
        json["pairings"].as_array().unwrap().iter().map(|p| (&p["old"], &p["new"], &p["asked"])).collect();
    let expected = [("p2c(choices=2)", "random"), ("random", "p2c(choices=3)")];
    assert_eq!(pairs.len(), 2, "{out}");
    for ((old, new), pair) in expected.into_iter().zip(pairs) {
        assert_eq!(pair, (&old.into(), &new.into(), &true.into()));
    }
    let (code, _, err) = case.run(&["--pair", "random=p3c"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("NEW has: p2c(choices=3), random"), "{err}");
}

#[test]
fn two_scenario_folders_are_compared_whatever_their_names() {
    let case = Case::new();
    Run::new("old", &["p2c"]).write(case.0.path(), &nothing);
    Run::new("new", &["p2c"]).write(case.0.path(), &nothing);
    let (code, out, err) = case.run(&[]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("the scenario old is compared with new"), "{out}");
}

#[test]
fn other_seeds_and_few_runs_are_reported() {
    let case = Case::new();
    let run = Run::new("s", &["p2c"]);
    run.write(&case.old(), &nothing);
    Run { seed: 7, ..run.clone() }.write(&case.new_side(), &nothing);
    let (code, out, _) = case.run(&["--all"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("note: seed: 1 before, 7 after") && out.contains("10 and 10, unpaired"), "{out}");
    assert!(out.contains("Welch"), "{out}");

    Run { replications: 2, ..run }.write(&case.new_side(), &|_, _| Some(2.0));
    let (code, out, err) = case.run(&["--export-junit", "c.xml"]);
    assert_eq!(code, Some(4), "{out}");
    assert!(out.contains("Too few runs to tell") && err.contains("--replications 5"), "{out}{err}");
    assert_eq!(elements(&case.file("c.xml"), "skipped").len(), 5);
}

/// A comparison that could not have failed is no check: it has its own exit code, unless that is accepted.
#[test]
fn a_comparison_that_could_judge_nothing_does_not_pass() {
    let case = Case::new();
    let run = Run { own: 0.01, ..Run::new("s", &["p2c"]) };
    let later = Run { version: 1, ..run.clone() };
    // Each gives the old side, the new side, arguments and what the message says.
    type Sides<'a> = (Run<'a>, Run<'a>);
    let few = |run: &Run<'static>, replications| Run { replications, ..run.clone() };
    let cases: [(Sides<'_>, &[&str], &str); 4] = [
        ((few(&run, 4), few(&later, 4)), &[], "too few runs"),
        ((few(&run, 1), few(&later, 10)), &[], "--replications 5"),
        ((run.clone(), later.clone()), &["--metrics", "utilisation.mean"], "neither direction is better"),
        ((Run::new("s", &["p2c"]), Run::new("s", &["random"])), &["--allow-missing"], "--pair OLD=NEW"),
    ];
    for ((old, new), arguments, why) in cases {
        old.write(&case.old(), &nothing);
        new.write(&case.new_side(), &nothing);
        let (code, out, err) = case.run(arguments);
        assert_eq!(code, Some(4), "{why}: {out}{err}");
        assert!(err.starts_with("error: nothing could be decided") && err.contains(why), "{why}: {err}");
        assert!(err.contains("--allow-undecided"), "{err}");
        let (code, out, err) = case.run(&[arguments, &["--allow-undecided", "--json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, &json["passed"], &json["decided"]), (Some(0), &true.into(), &false.into()), "{why}");
        assert!(err.starts_with("warning: "), "{err}");
        let (_, out, _) = case.run(&[arguments, &["--json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["passed"], false, "{why}");
    }
    // Two runs that repeat each other to the last digit are as sure as can be, however few they are.
    few(&run, 1).write(&case.old(), &nothing);
    few(&run, 1).write(&case.new_side(), &nothing);
    assert_eq!(case.run(&[]).0, Some(0));
    // With enough runs there is a verdict, and a decline is what it says.
    run.write(&case.old(), &nothing);
    later.write(&case.new_side(), &|_, metric| Some(if metric == "latency.mean" { 2.0 } else { 1.0 }));
    assert_eq!(case.run(&[]).0, Some(1));
}

#[test]
fn bad_input_is_explained() {
    let case = Case::new();
    let write = |name: &str, text: &str| std::fs::write(case.0.path().join(name), text).unwrap();
    let expect = |arguments: &[&str], expected: &str| {
        let (code, out, err) = case.run(arguments);
        assert_eq!(code, Some(2), "{expected}: {out}{err}");
        assert!(err.contains(expected), "no {expected} in\n{err}");
    };
    expect(&[], "there is no folder `old`");
    write("old", "");
    expect(&[], "is a file, not a folder of results");
    std::fs::remove_file(case.old()).unwrap();
    std::fs::create_dir(case.old()).unwrap();
    expect(&[], "there are no results in `old`");

    let run = Run::new("s", &["p2c"]);
    run.write(&case.old(), &nothing);
    Run::new("t", &["p2c"]).write(&case.new_side(), &nothing);
    expect(&[], "no scenario in common");
    run.write(&case.new_side(), &nothing);
    expect(&["--metrics", "latency.p98"], "did you mean `latency.p99`?");
    expect(&["--tolerance", "much"], "not a ratio");
    expect(&["--tolerance", "5"], "did you mean \"5%\"?");
    expect(&["--json", "--export-junit", "/dev/stdout"], "only one output can go to standard output");
    expect(&["--export-json", "x", "--export-junit", "./x"], "two exports would go to");
    expect(&["--json", "--export-junit", "-"], "only one output can go to standard output");
    let broken = run.csv(&nothing).replacen("s,base,p2c,3,", "s,base,p2c,three,", 1);
    write("new/s/replications.csv", &broken);
    expect(&[], "new/s/replications.csv:5: `three` is not a whole number");
    std::fs::remove_file(case.new_side().join("s/replications.csv")).unwrap();
    expect(&[], "run the scenario again");
    write("new/s/manifest.json", "{\n\"scenario\": 5}");
    expect(&[], "new/s/manifest.json:2:");
}

#[test]
fn a_comment_is_not_longer_than_forges_take() {
    let case = Case::new();
    let labels: Vec<String> = (0..400).map(|i| format!("p2c(choices={i},something=long)")).collect();
    let run = Run { own: 0.3, ..Run::new("s", &labels.iter().map(String::as_str).collect::<Vec<_>>()) };
    run.write(&case.old(), &nothing);
    Run { version: 1, ..run }
        .write(&case.new_side(), &|_, metric| Some(if metric == "latency.p99" { 9.0 } else { 1.0 }));
    let (code, out, _) = case.run(&["--export-markdown", "-"]);
    assert_eq!(code, Some(1));
    assert!(out.chars().count() < 65_536, "{}", out.len());
    assert!(out.contains("which do not fit in a comment") && out.trim_end().ends_with('.'), "{out}");
    assert_eq!(out.matches("<details>").count(), out.matches("</details>").count());
}
