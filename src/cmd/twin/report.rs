//! The HTML report of `evenkeel twin`.

use super::{LEGEND, Measure, Order, Pair};
use crate::report::html::model::{Cell, Column, Document, Kind, Section, Table, TableRow};
use evenkeel_core::units::human_seconds;
use evenkeel_sim::scenario::Scenario;

/// The report: a section for each strategy.
pub fn document(scenario: &Scenario, seed: u64, pairs: &[Pair], orders: &[Order], headline: &str) -> Document {
    let title = format!("Simulated and real: {}", scenario.title);
    let mut document = Document::new(Kind::Twin, &scenario.name, &title);
    document.question =
        "Does the scenario give the same results in the simulator and over sockets on this machine?".to_owned();
    // Without a sound pair there is no order.
    let orders = orders.iter().filter(|_| pairs.iter().any(Pair::is_sound));
    document.answer = std::iter::once(headline.to_owned()).chain(orders.map(|order| order.text.clone())).collect();
    let model = &scenario.model;
    document.facts = vec![
        ("measured".to_owned(), model.duration.to_string()),
        ("warm-up".to_owned(), model.warmup.to_string()),
        ("seed".to_owned(), seed.to_string()),
    ];
    document.sections = pairs.iter().map(section).collect();
    document.sections.push(Section {
        heading: "How to read the numbers".to_owned(),
        paragraphs: vec![LEGEND.split_whitespace().collect::<Vec<_>>().join(" ")],
        table: None,
    });
    document.repeat.command = format!("evenkeel twin {}.toml --seed {seed}", scenario.name);
    document.repeat.seed = Some(seed.to_string());
    document.repeat.scenario_sha256 = Some(scenario.hash.clone());
    document
}

fn section(pair: &Pair) -> Section {
    let column = |name: &str| Column { name: name.to_owned(), unit: "text", doc: None };
    let columns = ["metric", "simulated", "real", "difference", "allowed", "verdict"].map(column).into();
    let row = |measure: &Measure| {
        let (verdict, mark) = match (pair.is_sound(), measure.agrees()) {
            (false, _) => ("no verdict", "neutral"),
            (true, true) => ("agrees", "good"),
            (true, false) => ("differs", "bad"),
        };
        let cells = [
            measure.name.clone(),
            measure.text(measure.mean()),
            measure.text(measure.real),
            measure.difference(),
            measure.text(measure.allowed()),
            verdict.to_owned(),
        ];
        TableRow { cells: cells.map(Cell::Text).into(), mark: Some(mark), href: None }
    };
    let late = human_seconds(pair.late.as_secs_f64());
    let mut paragraphs = vec![format!("{} requests, send delay {late} (p99).", pair.requests)];
    if !pair.same_requests {
        paragraphs.push("Simulated and real requests were not the same.".to_owned());
    }
    let table = Table { columns, rows: pair.measures.iter().map(row).collect() };
    Section { heading: pair.label.clone(), paragraphs, table: Some(table) }
}
