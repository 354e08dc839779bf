//! `evenkeel validate`: compares the simulator with queueing theory, quantity by quantity.

use std::path::PathBuf;

use comfy_table::{Cell, CellAlignment, Color};

use super::experiment::quote;
use super::run::Jobs;
use super::scheduler::{each, stopped};
use super::{Failure, Terminal, results_dir, say_on as say};
use crate::report::files::number;
use crate::report::html::model::{self, Document, Kind, Section, TableRow};
use crate::report::html::{Folder, page};
use crate::report::table;
use evenkeel_config::diagnostic::did_you_mean;
use evenkeel_sim::measure::validation::{Asked, Certainty, ERRORS, Finding, Gate, Outcome, VAGUE, gates};

/// Cases to validate against theory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel validate                      all cases, in one or two minutes
  evenkeel validate mm1 shortest         cases whose names begin so
  evenkeel validate mm1-90 --replications 100
  evenkeel validate --seed 7             other random numbers, same conclusions
  evenkeel validate --list               list the cases
  evenkeel validate --show mm1-80 > mm1.toml && evenkeel run mm1.toml
  evenkeel validate --report validation.html
  evenkeel validate --json | jq 'select(.outcome != \"agrees\")'

Exit codes: 0 all cases agree, 1 simulation and theory differ, or a run is too short to tell.")]
pub struct Args {
    /// Only cases whose names begin with one of these
    names: Vec<String>,
    /// Replications of each case; more make the test more sensitive [default: 20, and 400 of a ring]
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=100_000))]
    replications: Option<u32>,
    /// Seed of all randomness
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// List the cases and exit
    #[arg(long, conflicts_with = "show")]
    list: bool,
    /// Print a case as a scenario, to run it separately
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
    /// Print the results as JSON, one object per line
    #[arg(long)]
    json: bool,
    /// Also write an HTML report to a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "show"])]
    report: Option<PathBuf>,
    #[command(flatten)]
    jobs: Jobs,
    /// Show no progress bar
    #[arg(long, short)]
    quiet: bool,
}

pub fn validate(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let mut gates = gates();
    if let Some(name) = &args.show {
        let gate = gates.iter().find(|gate| gate.name == name).ok_or_else(|| unknown(name, &gates))?;
        if gate.source.is_empty() {
            return Err(Failure::Usage(format!("`{name}` runs a selector without the simulator: it has no scenario")));
        }
        say(gate.source.trim_end());
        return Ok(());
    }
    if let Some(name) = args.names.iter().find(|name| !gates.iter().any(|gate| gate.name.starts_with(name.as_str()))) {
        return Err(unknown(name, &gates));
    }
    gates.retain(|gate| args.names.is_empty() || args.names.iter().any(|name| gate.name.starts_with(name.as_str())));
    if args.list {
        for gate in &gates {
            say(format_args!("{:<24}{}", gate.name, gate.about));
        }
        return Ok(());
    }
    for gate in &mut gates {
        gate.reseed(args.seed);
        gate.replications = args.replications.unwrap_or(gate.replications);
    }

    let units: Vec<(usize, u32)> =
        gates.iter().enumerate().flat_map(|(g, gate)| (0..gate.replications).map(move |r| (g, r))).collect();
    let jobs = args.jobs.count();
    let run = |&(g, r): &(usize, u32)| gates[g].replicate(r, &stopped);
    let mut values = each(&units, jobs, args.quiet || args.json, run)?.into_iter();
    let found: Vec<(&Gate, Vec<Finding>)> = gates
        .iter()
        .map(|gate| (gate, gate.judge(&values.by_ref().take(gate.replications as usize).collect::<Vec<_>>())))
        .collect();

    let all = || found.iter().flat_map(|(_, findings)| findings);
    let agree = all().filter(|finding| finding.outcome == Outcome::Agrees).count();
    let headline = format!(
        "{agree} of {} quantities agree with theory: within {ERRORS} standard errors of the runs, plus the allowed slack.",
        all().count()
    );
    if let Some(file) = &args.report {
        let page = page(&document(args, &found, &headline), &Folder::default())?;
        results_dir::write_whole(file, &page)?;
    }
    if args.json {
        for (gate, findings) in &found {
            findings.iter().for_each(|finding| say(json(gate, finding)));
        }
    } else {
        print(&found, terminal);
        say(headline);
    }
    if agree == all().count() { Ok(()) } else { Err(Failure::No) }
}

fn unknown(name: &str, gates: &[Gate]) -> Failure {
    let hint = did_you_mean(name, gates.iter().map(|gate| gate.name));
    Failure::Usage(format!("there is no case `{name}`\n  help: {hint}\n  help: evenkeel validate --list lists all"))
}

fn print(found: &[(&Gate, Vec<Finding>)], terminal: Terminal) {
    for (gate, findings) in found {
        say(format_args!("{}  {}", terminal.bold(gate.name), gate.about));
        let mut rows = table::plain(terminal.width);
        if terminal.out {
            rows.enforce_styling();
        } else {
            rows.force_no_tty();
        }
        rows.set_header(["quantity", "theory", "simulated", "95 % interval", "errors apart", "allowed", "verdict"]);
        for finding in findings {
            let Finding { asked, simulated, errors, outcome } = finding;
            let (word, colour) = match outcome {
                Outcome::Agrees => ("agrees", Color::Green),
                Outcome::Differs => ("DIFFERS", Color::Red),
                Outcome::TooVague => ("TOO VAGUE", Color::Yellow),
            };
            let certain = if asked.certainty == Certainty::Approximate { "≈ " } else { "" };
            let errors_allowed = if asked.certainty == Certainty::Identity { 0.0 } else { ERRORS };
            let slack = if asked.slack > 0.0 { format!(" + {:.1} %", asked.slack * 100.0) } else { String::new() };
            rows.add_row([
                Cell::new(&asked.quantity),
                Cell::new(format!("{certain}{}", value(asked, asked.theory))),
                Cell::new(value(asked, simulated.value)),
                Cell::new(format!("{} … {}", value(asked, simulated.low), value(asked, simulated.high))),
                Cell::new(format!("{errors:.1}")),
                Cell::new(format!("{errors_allowed}{slack}")),
                Cell::new(word).fg(colour),
            ]);
        }
        for column in [1, 2, 3, 4] {
            if let Some(column) = rows.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        say(rows);
        for finding in findings.iter().filter(|finding| finding.outcome == Outcome::TooVague) {
            say(format_args!(
                "  {}: the standard error is above {} % of the value; use more --replications",
                finding.asked.quantity,
                VAGUE * 100.0
            ));
        }
        say("");
    }
}

/// The report: a section for each case.
fn document(args: &Args, found: &[(&Gate, Vec<Finding>)], headline: &str) -> Document {
    let mut document = Document::new(Kind::Validate, "validate", "The simulator against queueing theory");
    document.question = "Does the simulator give the values that queueing theory gives?".to_owned();
    document.answer = vec![headline.to_owned()];
    document.facts = vec![("cases".to_owned(), found.len().to_string()), ("seed".to_owned(), args.seed.to_string())];
    document.sections = found.iter().map(|(gate, findings)| section(gate, findings)).collect();
    let replications = args.replications.map(|n| format!(" --replications {n}")).unwrap_or_default();
    let names: String = args.names.iter().map(|name| format!(" {}", quote(name))).collect();
    document.repeat.command = format!("evenkeel validate{names} --seed {}{replications}", args.seed);
    document.repeat.seed = Some(args.seed.to_string());
    document
}

fn section(gate: &Gate, findings: &[Finding]) -> Section {
    let column = |name: &str| model::Column { name: name.to_owned(), unit: "text", doc: None };
    let columns = ["quantity", "theory", "simulated", "95 % interval", "errors apart", "verdict"].map(column).into();
    let row = |finding: &Finding| {
        let Finding { asked, simulated, errors, outcome } = finding;
        let (word, mark) = match outcome {
            Outcome::Agrees => ("agrees", "good"),
            Outcome::Differs => ("differs", "bad"),
            Outcome::TooVague => ("too vague: use more replications", "neutral"),
        };
        let certain = if asked.certainty == Certainty::Approximate { "≈ " } else { "" };
        let cells = [
            asked.quantity.clone(),
            format!("{certain}{}", value(asked, asked.theory)),
            value(asked, simulated.value),
            format!("{} … {}", value(asked, simulated.low), value(asked, simulated.high)),
            format!("{errors:.1}"),
            word.to_owned(),
        ];
        TableRow { cells: cells.map(model::Cell::Text).into(), mark: Some(mark), href: None }
    };
    Section {
        heading: gate.name.to_owned(),
        paragraphs: vec![format!("{}. {} replications.", gate.about.trim_end_matches('.'), gate.replications)],
        table: Some(model::Table { columns, rows: findings.iter().map(row).collect() }),
    }
}

/// Five digits, and a unit where the quantity has one.
fn value(asked: &Asked, value: f64) -> String {
    if asked.quantity.starts_with("latency.") {
        return format!("{} ms", digits(value * 1e3));
    }
    digits(value)
}

fn digits(value: f64) -> String {
    number(format!("{value:.4e}").parse().unwrap_or(value))
}

fn json(gate: &Gate, finding: &Finding) -> serde_json::Value {
    let Finding { asked, simulated, errors, outcome } = finding;
    serde_json::json!({
        "name": gate.name, "about": gate.about, "quantity": asked.quantity, "theory": asked.theory,
        "certainty": asked.certainty, "allowed_share": asked.slack, "simulated": simulated.value,
        "low": simulated.low, "high": simulated.high, "replications": simulated.replications,
        "standard_errors_apart": errors, "outcome": outcome,
    })
}
