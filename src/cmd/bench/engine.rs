//! `evenkeel bench engine`: simulator throughput. Rounds are interleaved, so that a disturbance of the machine affects all
//! cases equally; every run is checked for having done the expected work.

use std::time::Instant;

use comfy_table::CellAlignment;

use super::super::{Failure, Terminal, complain, inputs, say};
use super::spread::Spread;
use crate::report::table;
use evenkeel_core::select::catalog::{self, StrategyConfig};
use evenkeel_sim::scenario::Scenario;

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel bench engine --rounds 9
  evenkeel bench engine --servers 10,100 --strategies core

The model: servers with one slot each, first come first served, exponential service times, Poisson arrivals \
at 90 % load, no network, no timeouts, no caches. The latency histogram, the time series and all invariant \
checks are on. One thread.")]
pub struct Args {
    /// Number of rounds; the median is reported
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Approximate number of requests per run
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(10_000..=1_000_000_000))]
    requests: u64,
    /// Numbers of servers, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "10,1000", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    servers: Vec<u32>,
    /// Strategies, separated by commas; `core` and `all` are sets
    #[arg(long, default_value = "random,p2c,least_request")]
    strategies: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

struct Case {
    servers: u32,
    label: String,
    table: StrategyConfig,
    scenario: Scenario,
    /// Million requests per second, by round.
    rates: Vec<f64>,
}

impl Case {
    fn spread(&self) -> Spread {
        Spread::of(self.rates.clone()).expect("there is a round")
    }
}

pub fn bench(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let most = args.servers.iter().copied().max().unwrap_or(1);
    if args.requests < 1000 * u64::from(most) {
        let help = format!("--requests {}, or fewer --servers", 1000 * u64::from(most));
        let why = "too few requests per server for the load to settle, and for the run to be checked";
        return Err(Failure::Usage(format!("{why}\n  help: {help}")));
    }
    let labels = inputs::named(&args.strategies, &[])?;
    let mut cases = Vec::new();
    for &servers in &args.servers {
        for label in &labels {
            let table = catalog::parse(label).map_err(Failure::Usage)?;
            let scenario = scenario(servers, args.requests)?;
            cases.push(Case { servers, label: label.clone(), table, scenario, rates: Vec::new() });
        }
    }
    for round in 0..args.rounds {
        for case in &mut cases {
            let seed = case.scenario.replication_seed(round);
            let start = Instant::now();
            let record = evenkeel_sim::sim::run(&case.scenario.model, &case.table, seed, &|| false)
                .expect("it is not interrupted");
            let seconds = start.elapsed().as_secs_f64();
            verify(case, &record, args.requests)?;
            case.rates.push(record.requests as f64 / seconds / 1e6);
        }
        complain(format_args!("round {} of {}", round + 1, args.rounds));
    }
    if args.json {
        let rows: Vec<_> = cases
            .iter()
            .map(|case| {
                let Spread { min, median, max, .. } = case.spread();
                serde_json::json!({
                    "servers": case.servers, "strategy": case.label, "unit": "requests/s per core",
                    "min": min * 1e6, "median": median * 1e6, "max": max * 1e6, "rounds": args.rounds,
                })
            })
            .collect();
        say(serde_json::Value::from(rows));
        return Ok(());
    }
    let mut table = table::plain(terminal.width);
    table.set_header(["servers", "strategy", "million requests/s per core", "slowest", "fastest", "ns per request"]);
    for case in &cases {
        let Spread { min, median, max, .. } = case.spread();
        let texts = [
            case.servers.to_string(),
            case.label.clone(),
            format!("{median:.2}"),
            format!("{min:.2}"),
            format!("{max:.2}"),
            format!("{:.0}", 1e3 / median),
        ];
        table.add_row(texts);
    }
    for column in [0, 2, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(table);
    say("Medians over interleaved rounds; each run was checked for arrivals, utilisation and Little's law.");
    Ok(())
}

/// The model, as a scenario.
fn scenario(servers: u32, requests: u64) -> Result<Scenario, Failure> {
    // 0.9 · servers requests per millisecond.
    let duration = requests as f64 / (0.9 * f64::from(servers)) / 1e3;
    let source = format!(
        r#"
        title = "bench"
        question = "How fast is the engine?"
        duration = "{duration}s"
        warmup = "0s"
        replications = 1
        arrivals = {{ poisson = {{ load = "90%" }} }}
        service = {{ exponential = {{ mean = "1ms" }} }}
        [[pools]]
        name = "web"
        [[pools.servers]]
        name = "web"
        count = {servers}
        "#
    );
    Scenario::parse("bench", &source, &|_| Err("no files".to_owned()))
        .map_err(|problems| Failure::Broken(anyhow::anyhow!("the benchmark's own scenario is invalid: {problems:?}")))
}

/// Checks the number of arrivals and the utilisation. (Little's law and conservation are asserted by the simulator.)
fn verify(case: &Case, record: &evenkeel_sim::sim::record::RunRecord, requests: u64) -> Result<(), Failure> {
    let servers = &record.measured.servers[0];
    let busy = servers.iter().map(|server| server.utilisation).sum::<f64>() / servers.len() as f64;
    let arrivals = record.requests as f64 / requests as f64;
    // Both have a relative standard deviation of about 1/√requests, below 1 % from 10,000 requests on.
    if (busy - 0.9).abs() > 0.05 || (arrivals - 1.0).abs() > 0.1 {
        let (name, servers) = (&case.label, case.servers);
        let what = format!("{name} with {servers} servers: utilisation {busy}, arrivals {arrivals}");
        return Err(Failure::Broken(anyhow::anyhow!("the benchmark did not do the expected work: {what}")));
    }
    Ok(())
}
