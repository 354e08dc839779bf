//! Lessons read and graded, on a small one of two servers.

use super::*;
use evenkeel_config::Diagnostic;

/// Two servers, one three times as fast as the other; equal weights overload the slow one.
const LESSON: &str = include_str!("tests.toml");

fn never() -> bool {
    false
}

/// The lesson with one text replaced by another.
fn with(old: &str, new: &str) -> String {
    assert!(LESSON.contains(old), "{old}");
    LESSON.replacen(old, new, 1)
}

fn refusal(source: &str) -> String {
    let problems = Lesson::parse(source).expect_err("it is refused");
    Diagnostic { file: "l.toml".to_owned(), source: source.to_owned(), problems }.plain()
}

fn line_of(source: &str, text: &str) -> usize {
    source.lines().position(|line| line.contains(text)).expect("it is there") + 1
}

#[test]
fn a_lesson_is_what_its_page_shows() {
    let lesson = Lesson::parse(LESSON).unwrap();
    let json = serde_json::to_value(&lesson).unwrap();
    assert_eq!((json["number"].as_u64(), json["predict"]["answer"].as_u64()), (Some(1), Some(1)));
    assert_eq!(json["watch"]["strategies"], serde_json::json!(["random", "round_robin"]));
    assert_eq!(json["watch"]["until"], 11.0);
    assert_eq!(json["challenge"]["expects"], serde_json::json!(["latency.mean[mine] < 40ms"]));
    assert_eq!(json["solution"]["changes"][0]["key"], "pools.web.servers.big.weight");
    assert!(json["predict"].get("holds").is_none(), "a page could show the answer");
    let watched = lesson.watched(&never).unwrap();
    assert_eq!(watched.iter().map(|summary| summary.label.as_str()).collect::<Vec<_>>(), ["random", "round_robin"]);
    assert!(lesson.predict.holds.iter().all(|expect| expect.evaluate(&watched).holds));
    let text = lesson.explained(&watched);
    assert!(!text.contains('{') && text.contains("ms"), "{text}");
}

#[test]
fn a_challenge_is_solved_by_its_solution_only() {
    let lesson = Lesson::parse(LESSON).unwrap();
    let shipped = lesson.grade(&lesson.challenge.scenario, &never).unwrap();
    assert!(!shipped.passed && shipped.changed.is_empty() && !shipped.checks[0].holds, "{shipped:?}");
    assert_eq!(shipped.hint.as_deref(), Some("Look at the weights."));
    let solved = lesson.grade(&lesson.solved(), &never).unwrap();
    assert!(solved.passed && solved.hint.is_none(), "{solved:?}");
    assert_eq!(solved.changed, ["pools.web.servers.big.weight: 1 -> 3"]);
    let wrong =
        lesson.challenge.scenario.replacen("weight = 1", "weight = 2", 1).replacen("weight = 1", "weight = 3", 1);
    let wrong = lesson.grade(&wrong, &never).unwrap();
    assert!(!wrong.passed && wrong.changed.len() == 2, "{wrong:?}");
    assert_eq!(wrong.hint.as_deref(), Some("The strong one is three times as fast."));
}

#[test]
fn what_must_stay_is_refused_by_name() {
    let lesson = Lesson::parse(LESSON).unwrap();
    let scenario = &lesson.challenge.scenario;
    for (old, new, named) in [
        ("rate = \"300/s\"", "rate = \"10/s\"", "arrivals.poisson.rate: \"300/s\" -> \"10/s\""),
        ("seed = 5", "seed = 6", "seed: 5 -> 6"),
        ("< 40ms", "< 40s", "expect.0.assert"),
        ("speed = 1\n", "speed = 9\n", "pools.web.servers.small.speed"),
        ("weight = 1\n", "weight = 3\ncount = 2\n", "count: added, 2"),
        ("\"weighted_round_robin\"", "\"oracle_least_work\"", "variants.mine.strategy"),
    ] {
        assert!(scenario.contains(old), "{old}");
        let grade = lesson.grade(&scenario.replacen(old, new, 1), &never).unwrap();
        assert!(!grade.passed && grade.checks.is_empty(), "{new}");
        assert!(grade.not_allowed.iter().any(|change| change.contains(named)), "{new}: {:?}", grade.not_allowed);
    }
    let broken = scenario.replacen("\"300/s\"", "\"300\"", 1);
    assert!(matches!(lesson.grade(&broken, &never), Err(GradeError::Invalid(problems)) if problems[0].span.is_some()));
}

/// An oracle solves everything, also where the strategy may be changed.
#[test]
fn no_oracle_solves_a_challenge() {
    let source = with("may_change = [", "may_change = [\"variants.mine.strategy\", ");
    let lesson = Lesson::parse(&source).unwrap();
    let oracle = lesson.challenge.scenario.replacen("\"weighted_round_robin\"", "\"oracle_least_work\"", 1);
    let grade = lesson.grade(&oracle, &never).unwrap();
    assert!(!grade.passed && grade.not_allowed[0].contains("oracle"), "{grade:?}");
}

#[test]
fn an_interrupted_grade_is_no_grade() {
    let lesson =
        Lesson::parse(&with("duration = \"10s\"\nwarmup = \"1s\"\nseed", "duration = \"1000s\"\nseed")).unwrap();
    let stopped = lesson.grade(&lesson.challenge.scenario, &|| true);
    assert!(matches!(stopped, Err(GradeError::Stopped(Stopped::Interrupted))));
}

#[test]
fn a_wrong_lesson_is_refused_at_its_place() {
    for (old, new, message) in [
        ("answer = 1", "answer = 2", "`answer` is the number of an option, from 0 to 1"),
        ("{latency.mean[random]}", "{latency.maen[random]}", "no metric `latency.maen`"),
        ("{latency.mean[random]}", "{latency.mean[p2c]}", "strategy `p2c` is not in the watched scenario"),
        ("{latency.mean[random]}", "{latency.mean}", "is no `{metric[strategy]}`"),
        ("focus = [\"latency.mean\"]", "focus = [\"mean\"]", "no metric `mean`"),
        ("holds = [\"latency.mean[random]", "holds = [\"latency.mean[rnd]", "strategy `rnd`"),
        ("may_change = [", "may_change = [\"expect.0.assert\", ", "`expect` cannot be changed"),
        (
            "hints = [\"Look at the weights.\", \"The strong one is three times as fast.\"]",
            "hints = []",
            "at least one hint",
        ),
        ("servers.big.weight\"", "servers.huge.weight\"", "no such place"),
        ("warmup = \"1s\"", "warmup = \"auto\"", "must give its warm-up"),
    ] {
        let source = with(old, new);
        let refused = refusal(&source);
        assert!(refused.contains(message), "{new}: {refused}");
        assert!(!refused.starts_with("l.toml:1:1:"), "{new}: no position: {refused}");
    }
    assert!(refusal(&with("minutes = 2", "minuets = 2")).contains("unknown key `minuets`"));
}

/// Problems of a scenario inside a lesson have the line and column of the lesson's file.
#[test]
fn a_problem_of_an_inner_scenario_has_its_line_in_the_lesson() {
    let source = with("rate = \"300/s\"", "rate = \"300\"");
    let line = line_of(&source, "rate = \"300\"");
    let refused = refusal(&source);
    assert!(refused.starts_with(&format!("l.toml:{line}:")), "{refused} is not at line {line}");
}
