//! `evenkeel list`: the strategies there are.

use std::collections::BTreeMap;

use super::{Failure, Terminal, inputs, say};
use crate::report::table;
use evenkeel_core::select::catalog::{self, CATALOGUE};

/// Filter and format.
#[derive(Debug, clap::Args)]
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
                    "oracle": row.doc.oracle(), "family": row.doc.family.title(), "scenario": row.doc.scenario,
                    "aliases": row.doc.aliases, "closest_to": row.doc.near.iter().copied().collect::<BTreeMap<_, _>>(),
                    "fails_in": row.doc.fails_in, "source": row.doc.source,
                    "defaults": (row.default)(),
                })
            })
            .collect();
        say(serde_json::Value::from(rows));
        return Ok(());
    }
    let mut table = table::plain(terminal.width);
    table.set_header(["strategy", "what it is", "weights", "best in", "fails in"]);
    let mut family = None;
    for row in rows() {
        if family.replace(row.doc.family) != Some(row.doc.family) {
            table.add_row([terminal.bold(row.doc.family.title())]);
        }
        let weights = if row.doc.weighted { "yes" } else { "no" };
        table.add_row([row.name, row.doc.title, weights, row.doc.scenario, row.doc.fails_in]);
    }
    say(table);
    say("`evenkeel explain NAME` explains one, also by its name in another product; scenarios are in `scenarios/`.");
    Ok(())
}
