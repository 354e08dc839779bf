//! The generated parts of the documentation: between `<!-- generated: NAME -->` and `<!-- end generated -->`.

use evenkeel::config::schema;
use evenkeel::measure::metrics::Unit;
use evenkeel::select::catalog::{CATALOGUE, Row};

use super::{current, pages, reference};

fn generated(name: &str) -> String {
    match name {
        "strategies" => strategies(),
        "scenario" => reference::reference(&evenkeel::scenario::schema()),
        "proxy" => reference::reference(&schema::proxy()),
        "metrics" => metrics(),
        "lessons" => lessons(),
        "reasons" => evenkeel::proxy::termination::reference(),
        "proxy-metrics" => evenkeel::proxy::metrics::reference(),
        "access-log" => evenkeel::proxy::access::reference(),
        other => panic!("nothing generates `{other}`"),
    }
}

#[test]
fn generated_parts_are_current() {
    for page in pages() {
        let source = std::fs::read_to_string(&page).unwrap();
        let mut should_be = String::new();
        let mut rest = source.as_str();
        while let Some((before, after)) = rest.split_once("<!-- generated: ") {
            let (name, after) = after.split_once(" -->\n").unwrap();
            let (_, after) = after.split_once("<!-- end generated -->").expect("an end");
            should_be += &format!("{before}<!-- generated: {name} -->\n{}<!-- end generated -->", generated(name));
            rest = after;
        }
        current(&page, &(should_be + rest));
    }
}

/// As one line of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn strategies() -> String {
    let mut text = String::from("## All of them\n");
    let mut family = None;
    for row in CATALOGUE {
        if family.replace(row.doc.family) != Some(row.doc.family) {
            text += &format!("\n**{}**\n\n", capital(row.doc.family.title()));
            text += "| strategy | what it is | weights | does well in | fails in |\n|---|---|---|---|---|\n";
        }
        let doc = row.doc;
        let weights = if doc.weighted { "yes" } else { "no" };
        text += &format!(
            "| [`{}`](#{}) | {} | {weights} | `{}` | `{}` |\n",
            row.name,
            row.name,
            cell(doc.title),
            doc.scenario,
            doc.fails_in
        );
    }
    CATALOGUE.iter().for_each(|row| text += &strategy(row));
    text
}

fn metrics() -> String {
    let mut text = String::from("| metric | unit | better | meaning | results that have it |\n|---|---|---|---|---|\n");
    for row in evenkeel::measure::metrics::CATALOGUE {
        let unit = match row.unit {
            Unit::Seconds => "s",
            Unit::Rate => "1/s",
            Unit::Share => "share",
            Unit::Index => "index",
            Unit::Number => "number",
        };
        let better = row.direction.as_str();
        text += &format!("| `{}` | {unit} | {better} | {} | {} |\n", row.name, cell(row.doc), cell(row.present));
    }
    text
}

/// The embedded lessons, as the program lists them.
fn lessons() -> String {
    let json = crate::support::evenkeel().args(["lessons", "--json"]).output().unwrap().stdout;
    let listed: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let mut text = String::from("| | lesson | what it teaches |\n|---|---|---|\n");
    for lesson in listed.as_array().unwrap() {
        let of = |key: &str| cell(lesson[key].as_str().unwrap());
        let file = format!("{:02}-{}", lesson["number"].as_u64().unwrap(), of("name"));
        let (title, summary) = (of("title"), of("summary"));
        text += &format!("| {} | [{title}](../lessons/{file}.toml) | {summary} |\n", lesson["number"]);
    }
    text
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn strategy(row: &Row) -> String {
    let doc = row.doc;
    let mut text = format!("\n<a id=\"{}\"></a>\n## {}: `{}`\n\n{}\n\n", row.name, doc.title, row.name, doc.idea);
    let mut item = |name: &str, value: &str| {
        if !value.is_empty() {
            text += &format!("* **{name}**: {value}\n");
        }
    };
    item("Rule", doc.formula);
    item("Variant", doc.variant);
    item("Also called", &doc.aliases.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "));
    for (name, difference) in doc.near {
        item(&format!("Closest to `{name}`"), difference);
    }
    item("Fails", doc.fails);
    item("Cost of a pick", doc.cost);
    item("Source", doc.source);
    let parameters = row.parameters();
    if !parameters.is_empty() {
        text += "\n| parameter | default | meaning |\n|---|---|---|\n";
        for parameter in parameters {
            let values = parameter.values.iter().map(|(value, meaning)| format!(" `\"{value}\"`: {meaning}"));
            let meaning = parameter.text.clone() + &values.collect::<String>();
            text += &format!("| `{}` | `{}` | {} |\n", parameter.name, parameter.default, cell(&meaning));
        }
    }
    text
}
