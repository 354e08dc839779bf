//! The generated parts of the documentation: between `<!-- generated: NAME -->` and `<!-- end generated -->`.

use evenkeel::config::schema;
use evenkeel::select::catalog::{CATALOGUE, Row};

use super::{current, pages, reference};

fn generated(name: &str) -> String {
    match name {
        "strategies" => strategies(),
        "scenario" => reference::reference(&evenkeel::scenario::schema()),
        "proxy" => reference::reference(&schema::proxy()),
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
