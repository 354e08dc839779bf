//! `evenkeel bench memory`: what the simulator holds for a request in flight and for a server, from the peaks of resident memory of
//! child processes that differ in one number only. No allocation is counted: what the allocator keeps is included.

use std::process::Command;

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::super::{Failure, Terminal, complain, inputs, say};
use crate::report::table;
use evenkeel_core::select::catalog;
use evenkeel_sim::scenario::Scenario;

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel bench memory
  evenkeel bench memory --servers 10000 --in-flight 1000000
  evenkeel bench memory --strategies random,p2c,least_request --json

Requests arrive for two seconds and need longer, so that all of them \
are in flight at the end. Each case runs in processes of its own: as asked \
for, with half of the requests, with half of the servers, and with hardly \
anything. The differences of their peaks of resident memory are the bytes \
per request and per server. They include what the allocator keeps and what \
growing vectors copy, so they jump where a vector doubles.

`plain` has no network and no timeout; `timeout and hops` has both, constant. \
Needs /proc (Linux).")]
pub struct Args {
    /// Number of servers
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    servers: u32,
    /// Approximate number of requests in flight
    #[arg(long, default_value_t = 900_000, value_parser = clap::value_parser!(u64).range(1000..=50_000_000))]
    in_flight: u64,
    /// Strategies, separated by commas
    #[arg(long, default_value = "p2c")]
    strategies: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only this model, in this process: what is run to measure
    #[arg(long, hide = true)]
    only: Option<String>,
}

/// The names of the models, and what they have beside arrivals and servers.
const MODELS: [(&str, &str); 2] = [
    ("plain", ""),
    ("timeout and hops", "network = { client = \"1ms\", server = \"1ms\" }\nclients = { timeout = \"1h\" }"),
];

/// Servers and requests of the run that holds hardly anything.
const LITTLE: (u32, u64) = (2, 1000);

/// What a process held at most.
#[derive(Clone, Copy, Debug)]
struct Peak {
    requests: u64,
    bytes: u64,
}

/// The four peaks of a case.
struct Case {
    model: &'static str,
    strategy: String,
    servers: u32,
    whole: Peak,
    half_of_requests: Peak,
    half_of_servers: Peak,
    little: Peak,
}

impl Case {
    fn measure(model: &'static str, strategy: &str, args: &Args) -> Result<Case, Failure> {
        let (servers, requests) = (args.servers, args.in_flight);
        let peak = |servers, requests| child(model, strategy, servers, requests);
        Ok(Case {
            model,
            strategy: strategy.to_owned(),
            servers,
            whole: peak(servers, requests)?,
            half_of_requests: peak(servers, requests / 2)?,
            half_of_servers: peak(servers / 2, requests)?,
            little: peak(LITTLE.0, LITTLE.1)?,
        })
    }

    fn per_request(&self) -> f64 {
        let requests = self.whole.requests - self.half_of_requests.requests.min(self.whole.requests);
        (self.whole.bytes as f64 - self.half_of_requests.bytes as f64) / requests.max(1) as f64
    }

    fn per_server(&self) -> f64 {
        let servers = self.servers - self.servers / 2;
        (self.whole.bytes as f64 - self.half_of_servers.bytes as f64) / f64::from(servers)
    }

    /// All that grows with servers and requests.
    fn state(&self) -> f64 {
        self.whole.bytes as f64 - self.little.bytes as f64
    }

    fn json(&self) -> Value {
        json!({
            "model": self.model, "strategy": self.strategy, "servers": self.servers, "in_flight": self.whole.requests,
            "bytes_per_request": self.per_request(), "bytes_per_server": self.per_server(),
            "state_bytes": self.state(), "peak_bytes": self.whole.bytes, "empty_bytes": self.little.bytes,
        })
    }
}

pub fn bench(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    if let Some(model) = &args.only {
        return run(model, args);
    }
    let mut cases = Vec::new();
    for strategy in inputs::named(&args.strategies, &[])? {
        for (model, _) in MODELS {
            cases.push(Case::measure(model, &strategy, args)?);
            complain(format_args!("{strategy}, {model}: measured"));
        }
    }
    if args.json {
        say(Value::from(cases.iter().map(Case::json).collect::<Vec<_>>()));
    } else {
        print(&cases, terminal);
    }
    Ok(())
}

fn print(cases: &[Case], terminal: Terminal) {
    let mut table = table::plain(terminal.width);
    let columns = [
        "model",
        "strategy",
        "servers",
        "in flight",
        "bytes per request",
        "bytes per server",
        "together, MB",
        "process, MB",
    ];
    table.set_header(columns);
    for case in cases {
        table.add_row([
            case.model.to_owned(),
            case.strategy.clone(),
            case.servers.to_string(),
            case.whole.requests.to_string(),
            format!("{:.0}", case.per_request()),
            format!("{:.0}", case.per_server()),
            format!("{:.1}", case.state() / 1e6),
            format!("{:.1}", case.whole.bytes as f64 / 1e6),
        ]);
    }
    for column in 2..columns.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(table);
    say("Peaks of resident memory; `together` is without what a run of two servers and a thousand requests holds.");
}

/// Runs a case in a process of its own.
fn child(model: &str, strategy: &str, servers: u32, requests: u64) -> Result<Peak, Failure> {
    let itself = std::env::current_exe().map_err(|error| Failure::Broken(error.into()))?;
    let output = Command::new(itself)
        .args(["bench", "memory", "--json", "--only", model, "--strategies", strategy])
        .args(["--servers", &servers.to_string(), "--in-flight", &requests.to_string()])
        .output()
        .map_err(|error| Failure::Broken(error.into()))?;
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    match (found["requests"].as_u64(), found["bytes"].as_u64()) {
        (Some(requests), Some(bytes)) => Ok(Peak { requests, bytes }),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(Failure::Broken(anyhow::anyhow!(
                "{model}, {strategy}, {servers} servers: nothing was measured\n{said}"
            )))
        }
    }
}

/// Runs the model in this process, and says what it held at most.
fn run(model: &str, args: &Args) -> Result<(), Failure> {
    let broken = |what: String| Failure::Broken(anyhow::anyhow!("the benchmark did not do the expected work: {what}"));
    let strategy = args.strategies.first().map_or("p2c", String::as_str);
    let strategy = catalog::parse(strategy).map_err(Failure::Usage)?;
    let scenario = scenario(model, args.servers, args.in_flight)?;
    let record = evenkeel_sim::sim::run(&scenario.model, &strategy, 1, &|| false)
        .map_err(|stopped| broken(format!("{model}: {stopped:?}")))?;
    // The standard deviation of the number of arrivals is its square root: at most 3.2 % of a thousand.
    let off = (record.requests as f64 / args.in_flight as f64 - 1.0).abs();
    let (measured, unfinished) = (record.measured.all.requests(), record.measured.all.unfinished);
    if off > 0.2 || unfinished == 0 || unfinished != measured {
        return Err(broken(format!("{} requests for {}, {unfinished} in flight", record.requests, args.in_flight)));
    }
    let bytes = peak()
        .ok_or_else(|| Failure::Usage("`bench memory` reads /proc/self/status, which is not there".to_owned()))?;
    say(json!({ "requests": record.requests, "bytes": bytes }));
    Ok(())
}

/// The most that this process has held in memory so far, bytes.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Requests that arrive within two seconds and are served for a day: while measured requests are in flight, a run goes on for as
/// long again.
fn scenario(model: &str, servers: u32, requests: u64) -> Result<Scenario, Failure> {
    let more = MODELS.iter().find(|(name, _)| *name == model).map_or("", |(_, more)| more);
    let rate = requests / 2;
    let source = format!(
        r#"
        title = "memory"
        question = "How much memory does a request take?"
        duration = "1s"
        warmup = "0s"
        replications = 1
        max_in_system = 100000000
        allow_overload = true
        arrivals = {{ poisson = {{ rate = "{rate}/s" }} }}
        service = {{ constant = {{ value = "24h" }} }}
        {more}
        [[pools]]
        name = "web"
        [[pools.servers]]
        name = "web"
        count = {servers}
        "#
    );
    super::own_scenario("memory", &source)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peaks of a process of 10 MB that holds 100 bytes per request and 1,000 per server.
    #[test]
    fn differences_of_peaks_are_bytes_per_request_and_server() {
        let peak = |servers: u64, requests| Peak { requests, bytes: 10_000_000 + 1000 * servers + 100 * requests };
        let case = Case {
            model: "plain",
            strategy: "p2c".to_owned(),
            servers: 501,
            whole: peak(501, 9000),
            half_of_requests: peak(501, 4400),
            half_of_servers: peak(250, 9000),
            little: peak(0, 0),
        };
        assert_eq!((case.per_request(), case.per_server()), (100.0, 1000.0));
        assert_eq!(case.state(), 501_000.0 + 900_000.0);
        assert!(MODELS.iter().all(|(model, _)| scenario(model, 5, 1000).is_ok()));
    }
}
