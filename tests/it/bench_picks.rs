//! `bench picks` measures every strategy of the catalogue, and what it says of growth is so.

use evenkeel::select::catalog::CATALOGUE;
use serde_json::Value;

use crate::support::{evenkeel, text};

fn bench(arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = evenkeel().args(["bench", "picks", "--json"]).args(arguments).output().unwrap();
    let found = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), found, text(&output.stderr))
}

#[test]
fn all_strategies_are_measured() {
    let (code, found, said) = bench(&["--servers", "5", "--rounds", "1"]);
    assert_eq!(code, Some(0), "{said}");
    let rows = found.as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["strategy"].as_str().unwrap()).collect();
    let mut all = vec!["(host alone)"];
    all.extend(CATALOGUE.iter().map(|row| row.name));
    assert_eq!(names, all);
    for row in rows {
        assert!(row["median"].as_f64().unwrap() > 0.0 && row["picks"].as_u64().unwrap() > 0, "{row}");
        assert_eq!((&row["servers"], &row["unit"], &row["rounds"]), (&5.into(), &"ns/pick".into(), &1.into()));
    }
    assert!(said.contains("round 1 of 1"), "{said}");
}

/// A strategy that asks every server against one that asks two, with three hundred times as many of them: far enough apart for
/// the busiest machine.
#[test]
fn a_scan_of_all_servers_grows_and_two_choices_do_not() {
    let (code, found, said) = bench(&["--strategies", "rendezvous,p2c", "--servers", "10,3000", "--rounds", "3"]);
    assert_eq!(code, Some(0), "{said}");
    let least = |strategy: &str, servers: u32| {
        let is = |row: &&Value| row["strategy"] == strategy && row["servers"] == servers;
        found.as_array().unwrap().iter().find(is).unwrap()["min"].as_f64().unwrap()
    };
    let growth = |strategy| least(strategy, 3000) / least(strategy, 10);
    assert!(growth("rendezvous") > 10.0 && growth("p2c") < 10.0, "{found}");
}

#[test]
fn the_table_stands_by_strategy_and_unknown_ones_are_refused() {
    let output = evenkeel()
        .args(["bench", "picks", "--strategies", "maglev", "--servers", "3,7", "--rounds", "2", "--equal"])
        .output()
        .unwrap();
    let table = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    for words in ["7 servers", "7 / 3", "(host alone)", "maglev", "O(1); a change of the fleet", "same picks"] {
        assert!(table.contains(words), "no {words:?} in\n{table}");
    }
    let (code, _, said) = bench(&["--strategies", "maglef"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("did you mean `maglev`?"), "{said}");
}
