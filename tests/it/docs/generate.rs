//! The generated parts of the documentation: between `<!-- generated: NAME -->` and `<!-- end generated -->`.

use evenkeel::config::schema;
use evenkeel::select::catalog::{CATALOGUE, Row};

use super::{current, pages, reference};

fn generated(name: &str) -> String {
    match name {
        "strategies" => strategies(),
        "scenario" => reference::reference(&evenkeel::scenario::schema()),
        "proxy" => reference::reference(&schema::proxy()),
        "reasons" => reasons(),
        "proxy-metrics" => proxy_metrics(),
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
    let defaults = (row.default)().parameters();
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
    if !doc.params.is_empty() {
        text += "\n| parameter | default | meaning |\n|---|---|---|\n";
        for (name, meaning) in doc.params {
            let default = defaults.get(*name).map(ToString::to_string).unwrap_or_default();
            text += &format!("| `{name}` | `{default}` | {} |\n", cell(meaning));
        }
    }
    text
}

fn reasons() -> String {
    let mut text = String::from("| reason | status | fault | meaning |\n|---|---|---|---|\n");
    for (reason, status, fault, word, meaning) in evenkeel::proxy::termination::REASONS {
        let status = if reason.is_local_reply() { status.as_u16().to_string() } else { "the server's".to_owned() };
        text += &format!("| `{word}` | {status} | {} | {meaning} |\n", fault.as_str());
    }
    text
}

fn proxy_metrics() -> String {
    let mut text = String::from("| metric | kind | meaning |\n|---|---|---|\n");
    let page = evenkeel::proxy::metrics::Metrics::new("0", "0").encode();
    for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE evenkeel_")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let help =
            page.lines().find_map(|line| line.strip_prefix(&format!("# HELP evenkeel_{name} "))).expect("a help");
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        text += &format!("| `{name}{suffix}` | {kind} | {help} |\n");
    }
    text
}
