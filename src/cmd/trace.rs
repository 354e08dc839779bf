//! `evenkeel trace`: converts part of a trace to the Chrome trace format, which Perfetto opens.

use std::path::PathBuf;

use flate2::read::MultiGzDecoder;

use super::{Failure, results_dir, say};
use crate::report::trace::{Line, Window, chrome, read};
use evenkeel_core::units::Nanos;

/// The trace to convert, and the part of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel run mine.toml --strategies p2c --replications 1 --trace
  evenkeel trace results/mine/trace/base.p2c.0.csv.gz --request 4711 -o t.json
  evenkeel trace results/mine/trace/base.p2c.0.csv.gz --from 20s --to 21s

Open the output at https://ui.perfetto.dev, or at chrome://tracing.")]
pub struct Args {
    /// Trace file, written by `evenkeel run --trace`
    file: PathBuf,
    /// Convert one request, by its number
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["from", "to"], required_unless_present = "from")]
    request: Option<u64>,
    /// Convert the requests from this simulated time on
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<Nanos>,
    /// Convert the requests up to this simulated time
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<Nanos>,
    /// Output file; `-` is standard output [default: standard output]
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long)]
    force: bool,
}

pub fn trace(args: &Args) -> Result<(), Failure> {
    let shown = args.file.display();
    if let Some(path) = &args.output {
        results_dir::refuse_existing(path, args.force)?;
    }
    let file =
        std::fs::File::open(&args.file).map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}")))?;
    let lines: Vec<Line> = if args.file.extension().is_some_and(|extension| extension == "gz") {
        read(MultiGzDecoder::new(file)).and_then(Iterator::collect)
    } else {
        read(file).and_then(Iterator::collect)
    }
    .map_err(|error| {
        Failure::Usage(format!("{shown} is not a trace: {error}\n  help: traces are written by `evenkeel run --trace`"))
    })?;
    let window = match (args.request, args.from, args.to) {
        (Some(request), ..) => Window::Request(request),
        (None, Some(from), Some(to)) if to > from => Window::Span(from.0, to.0),
        _ => return Err(Failure::Usage("--to must be later than --from".to_owned())),
    };
    let Some(json) = chrome(&lines, window) else {
        let last = lines.iter().map(|line| line.arrived_ns).max().unwrap_or(0);
        let help = format!("it holds {} lines, up to {}", lines.len(), Nanos(last));
        return Err(Failure::Usage(format!("no matching request in {shown}\n  help: {help}")));
    };
    match &args.output {
        Some(path) => results_dir::write_whole(path, json.as_bytes())?,
        None => say(json),
    }
    Ok(())
}
