//! `evenkeel explain`: all that a reader should know of a strategy.

use super::{Failure, Terminal, inputs, say};
use evenkeel_core::select::catalog::{self, Row};

/// Which strategy.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel explain peak_ewma
  evenkeel explain least_conn      by the name that nginx has for it")]
pub struct Args {
    /// A name from `evenkeel list`, or the name in another product
    strategy: String,
}

pub fn explain(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    // A label with parameters is of a strategy, too.
    let name = args.strategy.split('(').next().unwrap_or_default();
    let row = catalog::find(name).ok_or_else(|| inputs::unknown_strategy(name))?;
    if let Some(remark) = catalog::remark(name) {
        say(format_args!("{remark}.\n"));
    }
    say(text(row, terminal));
    Ok(())
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
    let defaults = (row.default)().parameters();
    if !doc.params.is_empty() {
        let default = |name: &str| defaults.get(name).map(ToString::to_string).unwrap_or_default();
        let lines = doc.params.iter().map(|(name, meaning)| {
            let indent = " ".repeat(6);
            format!("  {name} = {}\n{}", default(name), wrap(meaning, &indent))
        });
        section("Parameters, with their defaults", lines.collect::<Vec<_>>().join("\n"));
        let name = doc.params[0].0;
        let value = default(name);
        section("In a scenario", format!("  strategies = [{{ {} = {{ {name} = {value} }} }}]", row.name));
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
