//! `evenkeel explain`: documentation of a strategy or a policy.

use super::{Failure, Terminal, inputs, say};
use evenkeel_core::policy::catalog as policies;
use evenkeel_core::select::catalog::{self, Row};

/// The strategy or policy to explain.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel explain peak_ewma
  evenkeel explain least_conn      by the name that nginx has for it
  evenkeel explain retries         a policy, by its key in [[pools]]")]
pub struct Args {
    /// A name from `evenkeel list`, the name in another product, or the key of a policy in `[[pools]]`
    strategy: String,
}

pub fn explain(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    // A label with parameters names a strategy as well.
    let name = args.strategy.split('(').next().unwrap_or_default();
    if let (None, Some(row)) = (catalog::find(name), policies::find(name)) {
        say(policy(row, terminal));
        return Ok(());
    }
    let row = catalog::find(name).ok_or_else(|| inputs::unknown_strategy(name))?;
    if let Some(remark) = catalog::remark(name) {
        say(format_args!("{remark}.\n"));
    }
    say(text(row, terminal));
    Ok(())
}

/// A policy: its description, and its keys as in the schema.
fn policy(row: &policies::Row, terminal: Terminal) -> String {
    let doc = row.doc;
    let width = usize::from(terminal.columns()).clamp(40, 100);
    let wrap = |text: &str, indent: &str| {
        textwrap::fill(text, textwrap::Options::new(width).initial_indent(indent).subsequent_indent(indent))
    };
    let mut text = format!("{}  ({})\n", terminal.bold(doc.title), row.key);
    let mut section = |name: &str, body: String| text += &format!("\n{}\n{body}\n", terminal.bold(name));
    section("Idea", wrap(doc.idea, "  "));
    section("In a pool", wrap(&plain(row.summary), "  "));
    let keys: Vec<String> =
        row.keys().iter().map(|(key, meaning)| format!("  {key}\n{}", wrap(&plain(meaning), "      "))).collect();
    if !keys.is_empty() {
        section("Keys", keys.join("\n"));
    }
    section("Source", wrap(doc.source, "  "));
    if let Some(scenario) = doc.scenario {
        section("See it", format!("  evenkeel run scenarios/{scenario}.toml"));
    }
    text.trim_end().to_owned()
}

/// The text of a doc comment on one line.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text(row: &Row, terminal: Terminal) -> String {
    let doc = row.doc;
    let width = usize::from(terminal.columns()).clamp(40, 100);
    let wrap = |text: &str, indent: &str| {
        textwrap::fill(text, textwrap::Options::new(width).initial_indent(indent).subsequent_indent(indent))
    };
    let mut text = format!("{}  ({})\n", terminal.bold(doc.title), row.name);
    if doc.oracle() {
        text += "A baseline: it has perfect information that no balancer has.\n";
    }
    let mut section = |name: &str, body: String| text += &format!("\n{}\n{body}\n", terminal.bold(name));
    section("Idea", wrap(doc.idea, "  "));
    section("Rule", wrap(doc.formula, "  "));
    let parameters = row.parameters();
    if let Some(first) = parameters.first() {
        let lines = parameters.iter().flat_map(|parameter| {
            let head =
                format!("  {} = {}\n{}", parameter.name, parameter.default, wrap(&parameter.text, &" ".repeat(6)));
            let value = |(value, meaning): &(String, String)| wrap(&format!("\"{value}\": {meaning}"), &" ".repeat(8));
            std::iter::once(head).chain(parameter.values.iter().map(value))
        });
        section("Parameters, with their defaults", lines.collect::<Vec<_>>().join("\n"));
        section(
            "In a scenario",
            format!("  strategies = [{{ {} = {{ {} = {} }} }}]", row.name, first.name, first.default),
        );
    }
    section("Variant", wrap(doc.variant, "  "));
    if !doc.aliases.is_empty() {
        section("Other names", wrap(&doc.aliases.join(", "), "  "));
    }
    if !doc.near.is_empty() {
        let line = |(name, difference): &(&str, &str)| wrap(&format!("{name}: {difference}"), "  ");
        section("Closest to", doc.near.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    section("When it fails", wrap(doc.fails, "  "));
    section("Cost of a pick, n servers", wrap(doc.cost, "  "));
    section("Source", wrap(doc.source, "  "));
    section("See it", format!("  evenkeel run {}", doc.scenario));
    section("See it fail", format!("  evenkeel run {}", doc.fails_in));
    text.trim_end().to_owned()
}
