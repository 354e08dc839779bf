//! `evenkeel bench engine`: simulator throughput, beside hand-written loops that do the same work. Rounds are interleaved, so that
//! a disturbance of the machine affects all cases equally; every run is checked for having done the expected work.

use std::path::PathBuf;
use std::time::Instant;

use comfy_table::CellAlignment;

use super::super::{Failure, Terminal, complain, inputs, say};
use super::baseline::Baseline;
use super::instructions;
use super::peers::Peer;
use super::reference::{self, Loop};
use super::spread::Spread;
use crate::report::table;
use evenkeel_core::select::catalog::{self, StrategyConfig};
use evenkeel_core::units::{Nanos, Ratio};
use evenkeel_sim::scenario::Scenario;

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel bench engine --rounds 9
  evenkeel bench engine --servers 10,100 --strategies core
  evenkeel bench engine --strategies p2c --scenarios slow-server,retry-storm
  evenkeel bench engine --strategies p2c --peers bench/peers
  evenkeel bench engine --instructions --save before.json
  evenkeel bench engine --instructions --against before.json

The model: servers with one slot each, first come first served, exponential service times, Poisson arrivals \
at 90 % load, no network, no timeouts, no caches. The latency histogram, the time series and all invariant \
checks are on. One thread. `(bare loop)` and `(heap loop)` are hand-written simulations of this model with \
p2c and a histogram: what is possible without everything else that the engine can do.")]
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
    /// Also the beginning of these scenarios, until so many requests have arrived
    #[arg(long, value_delimiter = ',')]
    scenarios: Vec<PathBuf>,
    /// Also the simulators desque, nexosim and SimPy, those that are installed in this folder: `bench/peers` of the source
    #[arg(long, value_name = "DIR")]
    peers: Option<PathBuf>,
    /// Also count instructions per request, with valgrind's callgrind: unlike times, the same on a busy machine
    #[arg(long)]
    instructions: bool,
    /// Write the results to a file, for --against
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare with the results of an earlier --save
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Fail if a case takes a larger share more instructions than before, in those of the bare loop of the same run
    #[arg(long, value_name = "SHARE", requires_all = ["against", "instructions"])]
    tolerance: Option<Ratio>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only this case, as short as asked for: what is run to count instructions
    #[arg(long, hide = true)]
    only: Option<String>,
}

/// What a case runs.
enum Work {
    Reference(Loop),
    /// Another simulator, whose programs are in this folder.
    Peer(Peer, PathBuf),
    /// The model or a scenario, with a strategy.
    Run(Box<Scenario>, StrategyConfig),
}

struct Case {
    /// Number of servers of the model; `None` for a scenario.
    servers: Option<u32>,
    /// Name of the scenario, for one.
    scenario: Option<PathBuf>,
    label: String,
    work: Work,
    /// Nanoseconds per request, by round.
    costs: Vec<f64>,
    /// Requests of the last round.
    requests: u64,
    /// Events per request; of a loop, its arrivals and departures.
    events: f64,
    /// Instructions per request, where they were counted.
    instructions: Option<f64>,
}

impl Case {
    fn spread(&self) -> Spread {
        Spread::of(self.costs.clone()).expect("there is a round")
    }

    /// What stands in the first column.
    fn setting(&self) -> String {
        match (self.servers, &self.scenario) {
            (Some(servers), _) => servers.to_string(),
            (None, scenario) => scenario.as_deref().unwrap_or("".as_ref()).display().to_string(),
        }
    }

    fn round(&mut self, round: u32, args: &Args) -> Result<(), Failure> {
        let start = Instant::now();
        let mut nanos = None;
        let (requests, events) = match &self.work {
            Work::Reference(which) => {
                let servers = self.servers.unwrap_or(1);
                let done = reference::run(*which, servers, args.requests, u64::from(round));
                if !done.is_right(servers) && args.only.is_none() {
                    return Err(broken(&format!("{} with {servers} servers: {done:?}", self.label)));
                }
                (done.requests, 2 * done.requests)
            }
            Work::Peer(peer, folder) => {
                let servers = self.servers.unwrap_or(1);
                // Enough for the load to settle.
                let requests = ((args.requests as f64 * peer.share()) as u64).max(300 * u64::from(servers));
                let (done, took) = peer.run(folder, servers, requests, u64::from(round))?;
                if !done.is_right(servers) || done.requests != requests {
                    return Err(broken(&format!("{} with {servers} servers: {done:?}", self.label)));
                }
                nanos = Some(took as f64);
                (done.requests, 2 * done.requests)
            }
            Work::Run(scenario, table) => {
                let seed = scenario.replication_seed(round);
                let record = evenkeel_sim::sim::run(&scenario.model, table, seed, &|| false)
                    .map_err(|stopped| broken(&format!("{}: {stopped:?}", self.label)))?;
                if self.servers.is_some() && args.only.is_none() {
                    verify(self, &record, args.requests)?;
                }
                (record.requests, record.events)
            }
        };
        if requests == 0 {
            return Err(broken(&format!("{}: no request arrived", self.label)));
        }
        self.costs.push(nanos.unwrap_or_else(|| start.elapsed().as_nanos() as f64) / requests as f64);
        (self.requests, self.events) = (requests, events as f64 / requests as f64);
        Ok(())
    }
}

fn broken(what: &str) -> Failure {
    Failure::Broken(anyhow::anyhow!("the benchmark did not do the expected work: {what}"))
}

pub fn bench(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let most = args.servers.iter().copied().max().unwrap_or(1);
    if args.requests < 1000 * u64::from(most) && args.only.is_none() {
        let help = format!("--requests {}, or fewer --servers", 1000 * u64::from(most));
        let why = "too few requests per server for the load to settle, and for the run to be checked";
        return Err(Failure::Usage(format!("{why}\n  help: {help}")));
    }
    let before = args.against.as_deref().map(Baseline::read).transpose()?;
    let mut cases = cases(args, terminal)?;
    for round in 0..args.rounds {
        cases.iter_mut().try_for_each(|case| case.round(round, args))?;
        complain(format_args!("round {} of {}", round + 1, args.rounds));
    }
    if args.instructions {
        for case in cases.iter_mut().filter(|case| !matches!(case.work, Work::Peer(..))) {
            case.instructions = Some(instructions::per_request(&case.label, case.servers, case.scenario.as_deref())?);
            complain(format_args!("{} {}: instructions counted", case.setting(), case.label));
        }
    }
    let rows: Vec<serde_json::Value> = cases.iter().map(|case| json(case, &cases, args.rounds)).collect();
    if let Some(file) = &args.save {
        Baseline::of(&rows).write(file)?;
    }
    if args.json {
        say(serde_json::Value::from(rows.clone()));
    } else {
        print(&cases, before.as_ref(), terminal);
    }
    let slower = args.tolerance.zip(before).map_or_else(Vec::new, |(share, before)| before.slower(&rows, share.0));
    slower.iter().for_each(complain);
    if slower.is_empty() { Ok(()) } else { Err(Failure::No) }
}

fn cases(args: &Args, terminal: Terminal) -> Result<Vec<Case>, Failure> {
    let labels = inputs::named(&args.strategies, &[])?;
    let peers = installed(args);
    let mut cases = Vec::new();
    let mut add = |servers, scenario: Option<&PathBuf>, label: &str, work| {
        let (scenario, label) = (scenario.cloned(), label.to_owned());
        cases.push(Case {
            servers,
            scenario,
            label,
            work,
            costs: Vec::new(),
            requests: 0,
            events: 0.0,
            instructions: None,
        });
    };
    for &servers in &args.servers {
        for which in [Loop::Bare, Loop::Heap] {
            add(Some(servers), None, which.name(), Work::Reference(which));
        }
        for label in &labels {
            let table = catalog::parse(label).map_err(Failure::Usage)?;
            add(Some(servers), None, label, Work::Run(Box::new(scenario(servers, args.requests)?), table));
        }
        for &(peer, folder) in &peers {
            add(Some(servers), None, peer.name(), Work::Peer(peer, folder.clone()));
        }
    }
    for path in &args.scenarios {
        let loaded = inputs::load_single(path, terminal)?;
        let begun = beginning(loaded.scenario, args.requests)?;
        for label in &labels {
            let table = catalog::parse(label).map_err(Failure::Usage)?;
            add(None, Some(path), label, Work::Run(Box::new(begun.clone()), table));
        }
    }
    if let Some(only) = &args.only {
        cases.retain(|case| case.label == *only && case.scenario.is_some() != args.scenarios.is_empty());
    }
    Ok(cases)
}

/// The peers that run; of the others it says how to install them.
fn installed(args: &Args) -> Vec<(Peer, &PathBuf)> {
    let Some(folder) = &args.peers else { return Vec::new() };
    let runs = |peer: &Peer| match peer.run(folder, 2, 100, 1) {
        Ok(_) => true,
        Err(Failure::Usage(why)) => {
            complain(why);
            false
        }
        Err(_) => false,
    };
    Peer::ALL.into_iter().filter(runs).map(|peer| (peer, folder)).collect()
}

/// A scenario that ends when about so many requests have arrived, or as written; measured from the start.
fn beginning(mut scenario: Scenario, requests: u64) -> Result<Scenario, Failure> {
    scenario.settle(Nanos::ZERO, Nanos::ZERO);
    let mut probe = scenario.clone();
    (probe.model.warmup, probe.model.cache_warmup) = (Nanos::ZERO, Nanos::ZERO);
    let span = scenario.model.warmup + scenario.model.duration;
    probe.model.duration = Nanos(span.0 / 20).max(Nanos(1));
    let record = evenkeel_sim::sim::run(&probe.model, &probe.variants[0].table, probe.replication_seed(0), &|| false)
        .map_err(|stopped| broken(&format!("{}: {stopped:?}", scenario.name)))?;
    let rate = record.requests.max(1) as f64 / probe.model.duration.0 as f64;
    probe.model.duration = Nanos((requests as f64 / rate) as u64).clamp(Nanos(1), span);
    Ok(probe)
}

fn json(case: &Case, cases: &[Case], rounds: u32) -> serde_json::Value {
    let Spread { min, median, max, .. } = case.spread();
    let rate = |nanos: f64| 1e9 / nanos;
    serde_json::json!({
        "servers": case.servers, "scenario": case.scenario, "strategy": case.label, "unit": "requests/s per core",
        "min": rate(max), "median": rate(median), "max": rate(min), "rounds": rounds, "requests": case.requests, "ns_per_request": median,
        "events_per_request": case.events, "instructions_per_request": case.instructions,
        "times_bare_loop": of_bare(case, cases).map(|(times, _)| times),
        "instructions_times_bare_loop": of_bare(case, cases).and_then(|(_, instructions)| instructions),
    })
}

/// Cost of a case in that of the bare loop with as many servers (for a scenario, with the first number of servers), by the median
/// of the rounds' ratios, and by instructions.
fn of_bare(case: &Case, cases: &[Case]) -> Option<(f64, Option<f64>)> {
    let is_bare = |other: &&Case| matches!(other.work, Work::Reference(Loop::Bare));
    let bare =
        cases.iter().filter(is_bare).find(|bare| case.servers.is_none_or(|servers| bare.servers == Some(servers)))?;
    let ratios = case.costs.iter().zip(&bare.costs).map(|(cost, bare)| cost / bare);
    let instructions = case.instructions.zip(bare.instructions).map(|(own, bare)| own / bare);
    Some((Spread::of(ratios.collect())?.median, instructions))
}

fn print(cases: &[Case], before: Option<&Baseline>, terminal: Terminal) {
    let counted = cases.iter().any(|case| case.instructions.is_some());
    let mut table = table::plain(terminal.width);
    let mut header = vec!["servers", "strategy", "million requests/s per core", "slowest", "fastest", "ns per request"];
    header.extend(["events per request", "times bare loop"]);
    header.extend(counted.then_some(["instructions per request", "times bare loop"]).into_iter().flatten());
    header.extend(before.map(|_| "before = 1"));
    let columns = header.len();
    table.set_header(header);
    for case in cases {
        let Spread { min, median, max, .. } = case.spread();
        let ratio = of_bare(case, cases);
        let shown =
            |value: Option<f64>, digits: usize| value.map_or(String::new(), |value| format!("{value:.digits$}"));
        let mut texts = vec![
            case.setting(),
            case.label.clone(),
            format!("{:.2}", 1e3 / median),
            format!("{:.2}", 1e3 / max),
            format!("{:.2}", 1e3 / min),
            format!("{median:.0}"),
            format!("{:.1}", case.events),
            shown(ratio.map(|(times, _)| times), 1),
        ];
        if counted {
            texts.extend([shown(case.instructions, 0), shown(ratio.and_then(|(_, times)| times), 1)]);
        }
        if let Some(before) = before {
            texts.push(before.compare(&case.setting(), &case.label, median, case.instructions));
        }
        table.add_row(texts);
    }
    for column in (0..columns).filter(|&column| column != 1) {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(table);
    say("Medians over interleaved rounds; each run was checked for arrivals, utilisation and Little's law.");
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
    super::own_scenario("bench", &source)
}

/// Checks the number of arrivals and the utilisation. (Little's law and conservation are asserted by the simulator.)
fn verify(case: &Case, record: &evenkeel_sim::sim::record::RunRecord, requests: u64) -> Result<(), Failure> {
    let servers = &record.measured.servers[0];
    let busy = servers.iter().map(|server| server.utilisation).sum::<f64>() / servers.len() as f64;
    let arrivals = record.requests as f64 / requests as f64;
    // Both have a relative standard deviation of about 1/√requests, below 1 % from 10,000 requests on.
    if (busy - 0.9).abs() > 0.05 || (arrivals - 1.0).abs() > 0.1 {
        let (name, servers) = (&case.label, case.setting());
        return Err(broken(&format!("{name} with {servers} servers: utilisation {busy}, arrivals {arrivals}")));
    }
    Ok(())
}
