//! `evenkeel list`: the strategies there are.

use super::{Failure, Terminal, say};
use crate::report::table;
use crate::select::catalog::CATALOGUE;

/// How to list.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// As JSON, with parameters and defaults
    #[arg(long)]
    json: bool,
}

pub fn list(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    if args.json {
        let rows: Vec<_> = CATALOGUE
            .iter()
            .map(|row| {
                serde_json::json!({
                    "name": row.name, "title": row.doc.title, "variant": row.doc.variant, "weighted": row.doc.weighted,
                    "oracle": row.doc.oracle(), "family": row.doc.family.title(), "scenario": row.doc.scenario,
                    "fails_in": row.doc.fails_in, "source": row.doc.source,
                    "defaults": (row.default)(),
                })
            })
            .collect();
        say(serde_json::Value::from(rows));
        return Ok(());
    }
    let mut table = table::plain(terminal.width);
    table.set_header(["strategy", "what it is", "weights", "shines in", "fails in"]);
    let mut family = None;
    for row in CATALOGUE {
        if family.replace(row.doc.family) != Some(row.doc.family) {
            table.add_row([terminal.bold(row.doc.family.title())]);
        }
        let weights = if row.doc.weighted { "yes" } else { "no" };
        table.add_row([row.name, row.doc.title, weights, row.doc.scenario, row.doc.fails_in]);
    }
    say(table);
    say("`evenkeel explain NAME` tells more; scenarios are in `scenarios/`.");
    Ok(())
}
