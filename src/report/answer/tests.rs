//! Tests of the sentences, on fields made by hand.

use super::{Field, Place, Row, sentences};
use evenkeel_sim::measure::interval::Estimate;
use evenkeel_sim::measure::{Comparison, Verdict};

const BEST: Option<Comparison> = Some(Comparison::Best);
const TIED: Option<Comparison> = Some(Comparison::Tied);
const OVERLOADED: Option<Comparison> = Some(Comparison::Overloaded);

fn worse(times: f64) -> Option<Comparison> {
    Some(Comparison::Worse(times))
}

fn fails(more: f64) -> Option<Comparison> {
    Some(Comparison::Fails(more))
}

/// A place with a p99 in milliseconds. The interval of the gap excludes zero where the strategy is worse or fails more.
fn place(stand: Option<Comparison>, p99: f64, failed: f64) -> Place {
    let gap = match stand {
        Some(Comparison::Worse(_) | Comparison::Fails(_)) => (0.001, 0.002),
        _ => (-0.001, 0.002),
    };
    let gap = Estimate { value: 0.0015, low: gap.0, high: gap.1, replications: 10 };
    Place { stand, p99: p99 / 1e3, failed, gap: Some(gap) }
}

fn row(label: &str, places: &[Place]) -> Row {
    let ranks = places.iter().all(|place| place.stand != OVERLOADED);
    Row {
        label: label.to_owned(),
        strategy: label.to_owned(),
        oracle: label.starts_with("oracle"),
        ranks,
        state: if ranks { Verdict::Stable } else { Verdict::Overloaded },
        picks: vec![label.to_owned()],
        places: places.to_vec(),
    }
}

fn field(rows: &[(&str, Option<Comparison>, f64, f64)]) -> Field {
    let rows = rows.iter().map(|(label, stand, p99, failed)| row(label, &[place(*stand, *p99, *failed)])).collect();
    Field { rows, replications: 10, ..Field::default() }
}

fn answer(rows: &[(&str, Option<Comparison>, f64, f64)]) -> String {
    sentences(&field(rows)).join(" | ")
}

#[test]
fn the_best_is_compared_with_the_strategy_that_everyone_knows() {
    let rows =
        [("random", worse(40.0), 3600.0, 0.0), ("round_robin", worse(22.2), 2000.0, 0.0), ("p2c", BEST, 90.0, 0.0)];
    assert_eq!(answer(&rows), "p2c's p99 is 90.0 ms, 22 times lower than round_robin's 2.00 s.");
    let rows = [("random", worse(2.0), 180.0, 0.0), ("p2c", BEST, 90.0, 0.0)];
    assert_eq!(answer(&rows), "p2c's p99 is 90.0 ms, 2.0 times lower than random's 180 ms.");
}

#[test]
fn without_one_the_slowest_is_named() {
    let rows = [("p2c", BEST, 90.0, 0.0), ("jump", worse(2.3), 207.0, 0.0), ("maglev", worse(1.2), 108.0, 0.0)];
    assert_eq!(answer(&rows), "p2c has the lowest p99, 90.0 ms; jump's is 207 ms, 2.3 times higher.");
}

#[test]
fn the_known_strategy_may_be_the_best() {
    let rows = [("round_robin", BEST, 90.0, 0.0), ("p2c", worse(1.04), 93.6, 0.0)];
    assert_eq!(answer(&rows), "round_robin has the lowest p99, 90.0 ms; p2c's is 93.6 ms, 4.0 % higher.");
}

#[test]
fn ties_cannot_be_told_apart() {
    let rows = [
        ("round_robin", worse(2.0), 180.0, 0.0),
        ("p2c", BEST, 90.0, 0.0),
        ("c3", TIED, 92.0, 0.0),
        ("least_time", TIED, 91.0, 0.0),
    ];
    assert_eq!(
        answer(&rows),
        "p2c's p99 is 90.0 ms, 2.0 times lower than round_robin's 180 ms; on these 10 replications p2c, least_time and c3 \
         cannot be told apart."
    );
}

#[test]
fn a_known_strategy_that_ties_is_named_first_and_not_called_slower() {
    let rows = [
        ("p2c", BEST, 90.0, 0.0),
        ("c3", TIED, 91.0, 0.0),
        ("jump", TIED, 91.5, 0.0),
        ("a", TIED, 91.6, 0.0),
        ("round_robin", TIED, 92.0, 0.0),
        ("maglev", worse(3.0), 270.0, 0.0),
    ];
    let text = answer(&rows);
    assert_eq!(
        text,
        "p2c has the lowest p99, 90.0 ms; maglev's is 270 ms, 3.0 times higher; on these 10 replications p2c, round_robin, c3 \
         and 2 more cannot be told apart."
    );
}

#[test]
fn nothing_is_the_best_where_all_tie() {
    let rows = [("random", TIED, 92.0, 0.0), ("p2c", BEST, 90.0, 0.0), ("c3", TIED, 91.0, 0.0)];
    assert_eq!(
        answer(&rows),
        "The p99 of 3 strategies cannot be told apart on these 10 replications: it is 90.0 ms (p2c) to 92.0 ms (random)."
    );
    let mut field = field(&rows);
    (field.replications, field.batches) = (20, true);
    assert!(sentences(&field)[0].contains("on these 20 batches"));
    let rows = [("random", TIED, 92.0, 0.0), ("p2c", BEST, 90.0, 0.0)];
    assert_eq!(
        answer(&rows),
        "p2c has the lowest p99, 90.0 ms; on these 10 replications p2c and random cannot be told apart."
    );
}

#[test]
fn identical_picks_are_one_strategy_among_ties_and_named_once() {
    let mut field = field(&[
        ("round_robin", worse(2.0), 180.0, 0.0),
        ("edf", worse(2.0), 180.0, 0.0),
        ("static_stride", worse(2.0), 180.0, 0.0),
        ("expanded", worse(2.0), 180.0, 0.0),
        ("p2c", BEST, 90.0, 0.0),
        ("p2c-named", TIED, 90.0, 0.0),
        ("c3", worse(1.5), 135.0, 0.0),
        ("c3-named", worse(1.5), 135.0, 0.0),
    ]);
    for (i, picks) in [0, 0, 0, 0, 1, 1, 2, 2].into_iter().enumerate() {
        field.rows[i].picks = vec![picks.to_string()];
    }
    let all = sentences(&field);
    assert_eq!(all[0], "p2c's p99 is 90.0 ms, 2.0 times lower than round_robin's 180 ms.");
    assert_eq!(all[1], "round_robin, edf and 2 more picked the same servers in every run.");
    assert_eq!(all[2], "p2c and p2c-named picked the same servers in every run.");
    assert_eq!(all.len(), 3, "c3 is not in the answer: {all:?}");
    assert_eq!(field.same_picks().len(), 3);
}

#[test]
fn errors_come_first() {
    let rows = [("p2c", BEST, 90.0, 0.0), ("c3", worse(2.0), 180.0, 0.0005), ("jump", fails(0.031), 60.0, 0.0312)];
    assert_eq!(
        answer(&rows),
        "jump fails 3.12 % of its requests and is not ranked. Of the others, p2c has the lowest p99, 90.0 ms; c3's is 180 ms, \
         2.0 times higher."
    );
    let rows = [("p2c", BEST, 90.0, 0.02), ("c3", worse(2.0), 180.0, 0.02), ("jump", fails(0.031), 95.0, 0.051)];
    assert!(answer(&rows).starts_with(
        "jump fails 5.10 % of its requests, 3.10 percentage points more than the fewest, and is not ranked."
    ));
}

#[test]
fn a_strategy_that_fails_more_is_slower_only_where_the_interval_says_so() {
    let mut field =
        field(&[("p2c", BEST, 90.0, 0.0), ("c3", TIED, 91.0, 0.0), ("round_robin", fails(0.05), 2000.0, 0.05)]);
    assert!(sentences(&field)[0].contains("p2c's p99 is 90.0 ms, 22 times lower than round_robin's 2.00 s"));
    let gap = field.rows[2].places[0].gap.as_mut().unwrap();
    gap.low = -0.001;
    assert!(!sentences(&field)[0].contains("lower than"), "{:?}", sentences(&field));
}

#[test]
fn many_that_fail_are_counted() {
    let rows = [
        ("a", fails(0.002), 95.0, 0.002),
        ("round_robin", fails(0.077), 2000.0, 0.077),
        ("b", fails(0.03), 97.0, 0.03),
        ("c", fails(0.123), 98.0, 0.123),
        ("p2c", BEST, 90.0, 0.0),
    ];
    assert!(answer(&rows).starts_with(
        "4 of 5 strategies fail 0.20 to 12.3 % of their requests and are not ranked (round_robin: 7.70 %). p2c's p99"
    ));
    let rows = [("a", fails(0.02), 95.0, 0.02), ("b", fails(0.03), 97.0, 0.03), ("p2c", BEST, 90.0, 0.0)];
    assert!(
        answer(&rows)
            .starts_with("a and b fail 2.00 to 3.00 % of their requests and are not ranked. Of the others, p2c")
    );
    let rows = [("a", fails(0.02), 95.0, 0.03), ("b", fails(0.03), 97.0, 0.04), ("p2c", BEST, 90.0, 0.01)];
    assert!(
        answer(&rows).starts_with("a and b fail 2.00 to 3.00 percentage points more requests than the fewest and are")
    );
}

#[test]
fn errors_of_all_are_said_where_they_do_not_differ() {
    let rows = [("p2c", BEST, 90.0, 0.236), ("c3", worse(2.0), 180.0, 0.237)];
    assert!(answer(&rows).starts_with("Every strategy fails at least 23.6 % of its requests. p2c has the lowest p99"));
    let rows = [("p2c", BEST, 90.0, 0.236)];
    assert_eq!(answer(&rows), "p2c fails 23.6 % of its requests. p2c's p99 is 90.0 ms.");
}

#[test]
fn a_lower_p99_that_is_not_ranked_has_its_reason() {
    let mut rows = field(&[("p2c", BEST, 90.0, 0.0), ("jump", fails(0.031), 60.0, 0.031)]);
    let gap = rows.rows[1].places[0].gap.as_mut().unwrap();
    (gap.low, gap.high) = (-0.031, -0.029);
    let text = sentences(&rows).join(" ");
    assert!(
        text.ends_with("jump's p99 is lower, 60.0 ms, but it fails 3.10 percentage points more requests."),
        "{text}"
    );
    let rows = [("p2c", BEST, 90.0, 0.0), ("jump", OVERLOADED, 60.0, 0.0)];
    let text = answer(&rows);
    assert!(text.contains("jump's p99 is lower, 60.0 ms, but it is overloaded."), "{text}");
    assert!(text.starts_with("jump is overloaded and not ranked. Of the others, p2c has"), "{text}");
}

#[test]
fn too_few_runs_are_not_a_verdict() {
    let unknown = Some(Comparison::Unknown(2.0));
    let mut field = field(&[("p2c", BEST, 90.0, 0.0), ("round_robin", unknown, 180.0, 0.0)]);
    field.replications = 2;
    assert_eq!(
        sentences(&field)[0],
        "p2c has the lowest p99, 90.0 ms; round_robin's is 180 ms. With 2 replications the order may be due to chance: a verdict needs 5."
    );
    field.replications = 1;
    assert!(sentences(&field)[0].contains("With one replication the order"));
}

#[test]
fn each_pool_has_an_answer() {
    let mut field = Field { pools: vec!["pay".to_owned(), "run".to_owned()], replications: 10, ..Field::default() };
    field.rows = vec![
        row("p2c", &[place(BEST, 10.0, 0.0), place(worse(2.0), 400.0, 0.0)]),
        row("round_robin", &[place(worse(3.0), 30.0, 0.0), place(BEST, 200.0, 0.0)]),
    ];
    assert_eq!(
        sentences(&field),
        [
            "In pay: p2c's p99 is 10.0 ms, 3.0 times lower than round_robin's 30.0 ms.",
            "In run: round_robin has the lowest p99, 200 ms; p2c's is 400 ms, 2.0 times higher.",
        ]
    );
}

#[test]
fn after_the_pool_a_sentence_begins_small() {
    let mut field = Field { pools: vec!["pay".to_owned(), "run".to_owned()], replications: 10, ..Field::default() };
    field.rows = vec![row("Custom", &[place(BEST, 10.0, 0.5), place(None, f64::NAN, 1.0)])];
    assert_eq!(
        sentences(&field),
        [
            "In pay: Custom fails 50.0 % of its requests. Custom's p99 is 10.0 ms.",
            "In run: no strategy completed a request successfully."
        ]
    );
}

#[test]
fn without_a_best_the_reason_is_said() {
    let overloaded = [("p2c", OVERLOADED, 90.0, 0.0), ("jump", OVERLOADED, 60.0, 0.0)];
    assert_eq!(answer(&overloaded), "Every strategy is overloaded: there is nothing to rank.");
    let none = [("p2c", None, f64::NAN, 1.0), ("jump", None, f64::NAN, 1.0)];
    assert_eq!(answer(&none), "No strategy completed a request successfully.");
    let mut no_requests = field(&none);
    no_requests.rows.iter_mut().for_each(|row| row.state = Verdict::NoRequests);
    assert!(sentences(&no_requests)[0].starts_with("No request arrived in the measured span"));
    let mixed = [("p2c", OVERLOADED, 90.0, 0.0), ("jump", None, f64::NAN, 1.0)];
    assert!(answer(&mixed).starts_with("No strategy can be ranked"));
    let oracles = [("oracle_least_work", None, 50.0, 0.0)];
    assert!(answer(&oracles).starts_with("Only baselines"));
}

#[test]
fn the_baseline_is_named_only_where_it_is_faster() {
    let rows = [("p2c", BEST, 90.0, 0.0), ("c3", worse(2.0), 180.0, 0.0), ("oracle_least_work", worse(0.9), 80.0, 0.0)];
    let text = answer(&rows);
    assert!(text.ends_with("With perfect information, oracle_least_work has 80.0 ms."), "{text}");
    let rows = [("p2c", BEST, 90.0, 0.0), ("c3", worse(2.0), 180.0, 0.0), ("oracle_least_work", TIED, 91.0, 0.0)];
    assert!(!answer(&rows).contains("oracle"), "{}", answer(&rows));
}

#[test]
fn those_with_errors_come_after_all_others_and_baselines_last() {
    let field = field(&[
        ("oracle_least_work", TIED, 80.0, 0.0),
        ("jump", OVERLOADED, 60.0, 0.0),
        ("a", fails(0.2), 50.0, 0.2),
        ("b", fails(0.1), 70.0, 0.1),
        ("c3", worse(2.0), 180.0, 0.0),
        ("p2c", BEST, 90.0, 0.0),
        ("none", None, f64::NAN, 0.0),
    ]);
    let labels: Vec<&str> = field.order().into_iter().map(|i| field.rows[i].label.as_str()).collect();
    assert_eq!(labels, ["p2c", "c3", "none", "b", "a", "jump", "oracle_least_work"]);
}
