//! `evenkeel list`: lists the strategies.

use std::collections::BTreeMap;

use comfy_table::ColumnConstraint;

use super::{Failure, Terminal, inputs, say};
use crate::report::table;
use evenkeel_core::select::catalog::{self, CATALOGUE};
use evenkeel_core::select::strategy_set::StrategySet;

/// Terminal width from which the table shows all columns.
const WIDE: u16 = 128;

/// Filter and format.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel list
  evenkeel list p2c least_conn
  evenkeel list --json | jq -r '.[] | select(.weighted) | .name'")]
pub struct Args {
    /// Only these strategies: names from the list, or names in other products
    names: Vec<String>,
    /// Print JSON, with parameters and defaults
    #[arg(long)]
    json: bool,
}

pub fn list(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let find = |name: &String| catalog::find(name).ok_or_else(|| inputs::unknown_strategy(name));
    let wanted = args.names.iter().map(|name| Ok(find(name)?.name)).collect::<Result<Vec<_>, Failure>>()?;
    let rows = || CATALOGUE.iter().filter(|row| wanted.is_empty() || wanted.contains(&row.name));
    if args.json {
        let rows: Vec<_> = rows()
            .map(|row| {
                serde_json::json!({
                    "name": row.name, "title": row.doc.title, "variant": row.doc.variant, "weighted": row.doc.weighted,
                    "oracle": row.doc.oracle(), "core": StrategySet::Core.rows().any(|core| core.name == row.name), "family": row.doc.family.title(), "scenario": row.doc.scenario,
                    "aliases": row.doc.aliases, "closest_to": row.doc.near.iter().copied().collect::<BTreeMap<_, _>>(),
                    "fails_in": row.doc.fails_in, "source": row.doc.source,
                    "defaults": (row.default)(),
                })
            })
            .collect();
        say(serde_json::Value::from(rows));
        return Ok(());
    }
    let columns = terminal.columns();
    let is_wide = columns >= WIDE;
    let mut table = table::plain(Some(columns));
    let narrow = ["strategy", "what it is", "core"];
    let wide = ["weights", "best in", "fails in"];
    table.set_header(narrow.iter().chain(wide.iter().filter(|_| is_wide)));
    // Names are there to be copied: they are never wrapped.
    table.column_mut(0).expect("there is a header").set_constraint(ColumnConstraint::ContentWidth);
    let yes = |is: bool| if is { "yes" } else { "" };
    let core: Vec<&str> = StrategySet::Core.rows().map(|row| row.name).collect();
    let mut family = None;
    for row in rows() {
        if family.replace(row.doc.family) != Some(row.doc.family) {
            table.add_row([terminal.bold(row.doc.family.title())]);
        }
        let narrow = [row.name, row.doc.title, yes(core.contains(&row.name))];
        let wide = [yes(row.doc.weighted), row.doc.scenario, row.doc.fails_in];
        table.add_row(narrow.iter().chain(wide.iter().filter(|_| is_wide)));
    }
    say(table);
    say("`evenkeel explain NAME` explains one, also by its name in another product.");
    Ok(())
}
