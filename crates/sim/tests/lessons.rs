//! Every lesson of the repository: its numbers, its prediction, its challenge and its solution hold.

use std::path::{Path, PathBuf};

use evenkeel_sim::lesson::{Change, Check, Grade, Lesson};
use evenkeel_sim::scenario::expect::Relation;
use evenkeel_sim::scenario::{Scenario, expect};

/// Least distance of both sides of an expectation that holds when solved: relative to the larger side, or as a part of the way
/// to the value as shipped.
const MARGIN: f64 = 0.05;

/// Further seeds with which a solution must pass.
const OTHER_SEEDS: [u64; 2] = [11, 12];

fn never() -> bool {
    false
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lessons");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

fn lessons() -> Vec<Lesson> {
    let read = |path: &PathBuf| {
        let source = std::fs::read_to_string(path).unwrap();
        Lesson::parse(&source).unwrap_or_else(|problems| {
            panic!(
                "{}",
                evenkeel_config::Diagnostic { file: path.display().to_string(), source, problems }.render(false)
            )
        })
    };
    files().iter().map(read).collect()
}

/// Runs a check of each lesson on a thread of its own, and reports all that fail.
fn each(check: impl Fn(&Lesson) -> Vec<String> + Sync) {
    let lessons = lessons();
    let problems: Vec<String> = std::thread::scope(|scope| {
        let check = &check;
        let running: Vec<_> = lessons.iter().map(|lesson| scope.spawn(move || check(lesson))).collect();
        let of = |(lesson, problems): (&Lesson, Vec<String>)| {
            problems
                .into_iter()
                .map(|problem| format!("{} {}: {problem}", lesson.number, lesson.name))
                .collect::<Vec<_>>()
        };
        lessons.iter().zip(running).flat_map(|(lesson, run)| of((lesson, run.join().unwrap()))).collect()
    });
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// How far an expectation is from the other result, relative to the larger side: above zero if it holds, below if not.
fn margin(check: &Check) -> f64 {
    let relation = expect::parse(&check.assert, "", 0..0).unwrap().relation;
    let (Some(left), Some(right)) = (check.left, check.right) else { return f64::NEG_INFINITY };
    let apart = match relation {
        Relation::Below | Relation::AtMost => right - left,
        Relation::Above | Relation::AtLeast => left - right,
        Relation::Within(share) => share * right.abs() - (left - right).abs(),
    };
    apart / left.abs().max(right.abs())
}

/// Whether an expectation holds by more than [`MARGIN`].
fn is_clear(solved: &Check, shipped: &Check) -> bool {
    let (margin, way) = (margin(solved), margin(solved) - margin(shipped));
    solved.holds && (margin > MARGIN || (way > 0.0 && margin / way > MARGIN))
}

fn grade(lesson: &Lesson, solution: &str, seed: Option<u64>) -> Grade {
    lesson.grade_with_seed(solution, seed, &never).unwrap_or_else(|_| panic!("{}: no grade", lesson.name))
}

#[test]
fn numbers_and_names_are_those_of_the_files() {
    let lessons = lessons();
    assert!(lessons.len() >= 14, "{}", lessons.len());
    for (i, (lesson, file)) in lessons.iter().zip(files()).enumerate() {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert_eq!(lesson.number as usize, i + 1, "{stem}: numbers have no gaps");
        assert_eq!(stem, format!("{:02}-{}", lesson.number, lesson.name));
        let named = lessons.iter().filter(|other| other.name == lesson.name || other.title == lesson.title).count();
        assert_eq!(named, 1, "{stem}: name or title is there twice");
        assert!(!lesson.watch.look_for.is_empty() && !lesson.watch.focus.is_empty(), "{stem}: nothing to look for");
        assert!(lesson.predict.options.len() >= 3, "{stem}: a guess needs three options");
        assert!((20.0..=75.0).contains(&lesson.watch.until), "{stem}: {} s to watch", lesson.watch.until);
    }
    let answers: Vec<usize> = lessons.iter().map(|lesson| lesson.predict.answer).collect();
    for option in 0..3 {
        let count = answers.iter().filter(|answer| **answer == option).count();
        assert!(count >= 3 && count <= lessons.len() / 2, "option {option} is right {count} times: {answers:?}");
    }
}

/// The watched run says what the lesson claims: every number of the explanation exists, and the right answer is right.
#[test]
fn the_watched_run_supports_the_answer() {
    each(|lesson| {
        let watched = lesson.watched(&never).unwrap_or_else(|_| panic!("{}: stopped", lesson.name));
        let mut problems = Vec::new();
        let text = lesson.explained(&watched);
        if text.contains('{') || text == lesson.explain {
            problems.push(format!("no number, or one without a value, in: {text}"));
        }
        for metric in &lesson.watch.focus {
            problems.extend(
                watched.iter().filter(|s| !s.value(metric).is_finite()).map(|s| format!("{metric} of {}", s.label)),
            );
        }
        for expect in &lesson.predict.holds {
            let evaluation = expect.evaluate(&watched);
            if !evaluation.holds {
                problems.push(format!("{} does not hold: {}", expect.text, evaluation.values));
            }
        }
        problems
    });
}

#[test]
fn a_challenge_fails_as_shipped_by_a_clear_margin() {
    each(|lesson| {
        let shipped = grade(lesson, &lesson.challenge.scenario, None);
        let clear = shipped.checks.iter().any(|check| margin(check) < -2.0 * MARGIN);
        if shipped.passed || !clear || !shipped.changed.is_empty() || shipped.hint.is_none() {
            return vec![format!("{shipped:?}")];
        }
        Vec::new()
    });
}

#[test]
fn a_solution_passes_by_a_margin_with_any_seed() {
    each(|lesson| {
        let solved = lesson.solved();
        let shipped = grade(lesson, &lesson.challenge.scenario, None);
        let seeds = std::iter::once(None).chain(OTHER_SEEDS.map(Some));
        let mut problems = Vec::new();
        for seed in seeds {
            let grade = grade(lesson, &solved, seed);
            problems.extend(grade.not_allowed.iter().map(|change| format!("seed {seed:?}: {change}")));
            let close = grade.checks.iter().zip(&shipped.checks).filter(|(check, shipped)| !is_clear(check, shipped));
            problems.extend(close.map(|(check, _)| format!("seed {seed:?}: {} ({})", check.assert, check.values)));
            if !grade.passed || grade.changed.is_empty() {
                problems.push(format!("seed {seed:?}: {}", grade.message));
            }
        }
        problems
    });
}

/// Without any one of its changes a solution passes no more: none is superfluous. Weights are an exception: their ratio counts.
#[test]
fn every_change_of_a_solution_is_needed() {
    each(|lesson| {
        let needless = |left_out: &usize| {
            let mut fewer = lesson.clone();
            fewer.solution.changes.remove(*left_out);
            // Some scenarios are refused with one change alone.
            lesson.grade(&fewer.solved(), &never).is_ok_and(|grade| grade.passed)
        };
        let changes = &lesson.solution.changes;
        let is_weight = |i: &usize| changes[*i].key.ends_with(".weight");
        let needless = (0..changes.len()).filter(|i| !is_weight(i)).filter(needless);
        needless.map(|i| format!("`{}` need not be changed", changes[i].key)).collect()
    });
}

/// Allowed changes that miss the point of a lesson: lesson, key, value (nothing removes the key).
const MISSES: [(&str, &str, Option<&str>); 25] = [
    ("one-server-or-four", "pools.web.servers.web.count", Some("6")),
    ("one-server-or-four", "pools.web.servers.web.count", Some("8")),
    ("random", "pools.web.servers.web.count", Some("12")),
    ("random", "pools.web.servers.web.speed", Some("2.0")),
    ("round-robin", "variants.mine.strategy", Some("\"least_request\"")),
    ("round-robin", "variants.mine.strategy", Some("\"p2c\"")),
    ("least-request", "variants.mine.strategy", Some("\"random\"")),
    ("least-request", "variants.mine.strategy", Some("\"round_robin\"")),
    ("health-checks", "pools.web.health.interval", Some("\"5s\"")),
    ("health-checks", "pools.web.health", None),
    ("ip-hash", "variants.mine.strategy", Some("\"random\"")),
    ("ip-hash", "variants.mine.strategy", Some("\"least_request\"")),
    ("consistent-hashing", "variants.mine.strategy", Some("\"random\"")),
    ("bounded-load", "variants.mine.strategy.bounded_load.factor", Some("20.0")),
    ("dns-round-robin", "dns.ttl", Some("\"1s\"")),
    ("two-tiers", "pools.web.strategy", Some("\"least_request\"")),
    (
        "outlier-ejection",
        "pools.web.outliers",
        Some("{ consecutive_failures = 5, base_ejection_time = \"100ms\", max_ejection_time = \"100ms\" }"),
    ),
    ("hedging", "pools.web.hedge", None),
    ("hedging", "pools.web.hedge.after", Some("\"p75\"")),
    ("retry-storm", "pools.web.retries", None),
    ("retry-storm", "pools.web.retries.max_retries", Some("1")),
    ("many-balancers", "variants.mine.strategy", Some("\"p2c\"")),
    ("slow-start", "pools.web.slow_start", None),
    ("deploys", "faults.web/*.batch_size", Some("1")),
    ("deploys", "faults.web/*.kind.deploy.drain", Some("\"2s\"")),
];

/// What a learner may try first must not pass without the idea of the lesson.
#[test]
fn a_change_that_misses_the_point_does_not_pass() {
    each(|lesson| {
        let misses = MISSES.iter().filter(|(name, ..)| *name == lesson.name);
        let problem = |(_, key, value): &(&str, &str, Option<&str>)| {
            let mut missed = lesson.clone();
            missed.solution.changes = vec![Change { key: (*key).to_owned(), value: value.map(str::to_owned) }];
            match lesson.grade(&missed.solved(), &never) {
                Ok(grade) if grade.passed => Some(format!("{key} = {value:?} passes: {:?}", grade.checks)),
                Ok(grade) if !grade.not_allowed.is_empty() => Some(format!("{:?}", grade.not_allowed)),
                Ok(_) => None,
                Err(_) => Some(format!("{key} = {value:?} is no scenario")),
            }
        };
        misses.filter_map(problem).collect()
    });
}

/// Load, fleet, seed and expectations are no way to solve a challenge.
#[test]
fn what_a_challenge_measures_cannot_be_changed() {
    each(|lesson| {
        let mut problems = Vec::new();
        let scenario = &lesson.challenge.scenario;
        let reason =
            Scenario::parse(&lesson.name, scenario, &|file| Err(file.to_owned())).unwrap().expects[0].reason.clone();
        for (key, changed) in [
            ("seed", format!("seed = 77\n{scenario}")),
            ("replications", scenario.replacen("replications = 3", "replications = 2", 1)),
            ("duration", scenario.replacen("duration = \"", "duration = \"1", 1)),
            ("arrivals", scenario.replacen("poisson = {", "constant = {", 1)),
            ("service", scenario.replacen("mean = \"", "mean = \"0.5", 1)),
            ("expect.0.reason", scenario.replacen(&reason, "no reason", 1)),
        ] {
            let grade = grade(lesson, &changed, None);
            let named =
                grade.not_allowed.iter().any(|change| change.starts_with(key) || change.contains(&format!(".{key}")));
            if changed == *scenario || grade.passed || !named || !grade.checks.is_empty() {
                problems.push(format!("{key}: {:?}", grade.not_allowed));
            }
        }
        problems
    });
}
