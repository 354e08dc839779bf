//! `evenkeel twin`: a scenario simulated and real, side by side. Seed, requests and work are the same; differences come from
//! randomness in the strategies, and from sockets, timers and the scheduler of a real machine.
//!
//! The simulator runs the same requests [`STREAMS`] times, each with another random stream in the strategy. A metric of the real
//! run agrees if it lies within [`DEVIATIONS`] standard deviations of the mean of these runs, plus an [`Allowance`] for the
//! machine. A random strategy's shares thus get their binomial error, and those of a hash almost none.

mod report;

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::CellAlignment;
use serde_json::json;

use super::loopback::{Loopback, unsupported_over_sockets, without_delays};
use super::{Failure, Terminal, complain, inputs, results_dir, say_on as say, scheduler};
use crate::report::html::{Folder, page};
use crate::report::table;
use evenkeel_core::select::catalog::Family;
use evenkeel_core::units::{Nanos, human_seconds};
use evenkeel_sim::scenario::{Scenario, Variant};
use evenkeel_sim::sim::model::Model;
use evenkeel_sim::sim::observer::{Arrival, Observer, Step};
use evenkeel_sim::sim::record::{RequestOutcome, RunRecord};
use evenkeel_sim::sim::{self, Setup};
use evenkeel_testbed::load::{LoadSummary, Options, play};

/// Scenario to run simulated and real.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel twin mine.toml
  evenkeel twin hedging --strategies p2c,random --duration 30s
  evenkeel twin mine.toml --report twin.html
  evenkeel twin mine.toml --json | jq '.strategies[].metrics[]'

The proxy has the scenario's pools with all their policies. A scenario that cannot run over sockets (closed loop, \
DNS, several balancers, second tier, `sticky`, …) is refused, with the reason and the way out. The delays of \
[network] are left out in both. Two cores can play some hundred requests per second.

Exit codes: 0 both agree, 1 they do not, 2 usage, 3 no verdict: this machine was too busy to send requests \
in time.")]
pub struct Args {
    /// Scenario file, or name of an embedded scenario
    scenario: PathBuf,
    /// Only these strategies, separated by commas (names from `evenkeel list`); oracles cannot run over sockets
    #[arg(long, value_name = "A,B")]
    strategies: Vec<String>,
    /// Measured time after the warm-up [default: the scenario's duration]
    #[arg(long, value_name = "TIME")]
    duration: Option<Nanos>,
    /// Seed of all randomness [default: that of the scenario's first run]
    #[arg(long)]
    seed: Option<u64>,
    /// Also write an HTML report to a file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show no progress bar
    #[arg(long, short)]
    quiet: bool,
}

/// Number of simulated runs with different random streams.
const STREAMS: u32 = 20;
/// Standard deviations of the simulated runs that count as randomness.
const DEVIATIONS: f64 = 4.0;
/// Attempts at a real run: one in which requests were sent too late gives no verdict.
const TRIES: u32 = 3;
/// Largest send delay, at the 99th percentile, of a run that gives a verdict.
const TOO_LATE: Duration = Duration::from_millis(4);

/// Allowance for a real machine in a metric: a share of it, and a constant.
struct Allowance {
    share: f64,
    constant: f64,
}

/// Two hops over loopback, their system calls and a timer. Measured on two cores, deterministic strategies: 0.4 ms
/// where requests went out on time, 1.2 ms where one in a hundred was 3.8 ms late.
const MIDDLE: Allowance = Allowance { share: 0.03, constant: 0.0015 };
/// One request in a hundred is delayed by the scheduler: 0.3 ms and 5.2 ms in the same runs.
const TAIL: Allowance = Allowance { share: 0.05, constant: 0.006 };
/// A pick uses counts that are slightly older.
const SHARE: Allowance = Allowance { share: 0.0, constant: 0.01 };
/// Two requests for one key that arrive at the same time may change their order.
const HITS: Allowance = Allowance { share: 0.0, constant: 0.02 };
/// Health checks happen at other times.
const FAILED: Allowance = Allowance { share: 0.10, constant: 0.005 };

/// A metric, simulated and real.
struct Measure {
    name: String,
    /// In each run of the simulator.
    simulated: Vec<f64>,
    real: f64,
    allowance: &'static Allowance,
    seconds: bool,
}

impl Measure {
    fn mean(&self) -> f64 {
        self.simulated.iter().sum::<f64>() / self.simulated.len() as f64
    }

    fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.simulated.iter().map(|value| (value - mean) * (value - mean)).sum();
        (squares / (self.simulated.len().max(2) - 1) as f64).sqrt()
    }

    /// Maximum difference.
    fn allowed(&self) -> f64 {
        DEVIATIONS * self.deviation() + self.allowance.share * self.mean() + self.allowance.constant
    }

    fn agrees(&self) -> bool {
        (self.real - self.mean()).abs() <= self.allowed()
    }

    /// Real minus simulated, as text.
    fn difference(&self) -> String {
        let (mean, real) = (self.mean(), self.real);
        format!("{}{}", if real < mean { "-" } else { "+" }, self.text((real - mean).abs()))
    }

    fn text(&self, value: f64) -> String {
        match self.seconds {
            true => human_seconds(value),
            false => format!("{:.2} %", value * 100.0),
        }
    }
}

/// A strategy, simulated and real.
struct Pair {
    label: String,
    measures: Vec<Measure>,
    /// Whether both had the same requests.
    same_requests: bool,
    requests: u64,
    /// Send delay, at the 99th percentile.
    late: Duration,
}

impl Pair {
    fn is_sound(&self) -> bool {
        self.late <= TOO_LATE
    }

    fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }
}

pub fn twin(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let loaded = inputs::load_single(&args.scenario, terminal)?;
    let strategies = inputs::named(&args.strategies, std::slice::from_ref(&loaded))?;
    let (mut scenario, source) = (loaded.scenario, loaded.source);
    inputs::choose(&mut scenario, &strategies);
    scenario.variants.retain(|variant| !variant.table.oracle());
    let mut foreign = unsupported_over_sockets(&scenario);
    if scenario.needs_pilot() {
        foreign.push("`warmup = \"auto\"`: give it a time".to_owned());
    }
    if !foreign.is_empty() {
        let name = &scenario.name;
        return Err(Failure::Usage(format!("`{name}` cannot run over sockets:\n  {}", foreign.join("\n  "))));
    }
    leave_out_reports(&mut scenario)?;
    let delays = without_delays(&mut scenario.model);
    if let Some(lasts) = args.duration {
        scenario.model.duration = lasts;
    }
    scenario.model.cache_warmup = scenario.model.cache_warmup.min(scenario.model.warmup + scenario.model.duration);
    let seed = args.seed.unwrap_or_else(|| scenario.replication_seed(0));
    scheduler::watch_for_interrupt();
    let mut pairs = Vec::new();
    for variant in &scenario.variants {
        let pair = in_both(&scenario, variant, &source, seed, args.quiet || args.json)?;
        if !args.json {
            print(&pair, pairs.is_empty().then_some((&scenario, delays)), terminal);
        }
        pairs.push(pair);
    }
    let orders = ["mean", "p99"].map(|by| order(&pairs, by));
    let differs = pairs.iter().any(|pair| pair.is_sound() && !pair.measures.iter().all(Measure::agrees))
        || pairs.iter().any(|pair| !pair.same_requests)
        || orders.iter().any(|order| order.reversed > 0);
    let unsound = pairs.iter().filter(|pair| !pair.is_sound()).count();
    let headline = match (differs, unsound) {
        (true, _) => "Simulated and real results differ.".to_owned(),
        (false, 0) => "Simulated and real results agree.".to_owned(),
        (false, n) => format!("No verdict on {n} of {}: this machine was too busy.", pairs.len()),
    };
    if let Some(file) = &args.report {
        let document = report::document(&scenario, seed, &pairs, &orders, &headline);
        results_dir::write_whole(file, &page(&document, &Folder::default())?)?;
    }
    if args.json {
        say(as_json(&scenario, &pairs, &orders, differs, unsound));
    } else {
        orders.iter().for_each(|order| say(&order.text));
        say(headline);
        say(LEGEND);
    }
    match (differs, unsound) {
        (true, _) => Err(Failure::No),
        (false, 0) => Ok(()),
        _ => Err(Failure::Broken(anyhow::anyhow!("no verdict: requests were sent too late"))),
    }
}

/// Leaves out strategies that need reports which servers send by themselves: test servers report with responses and checks.
fn leave_out_reports(scenario: &mut Scenario) -> Result<(), Failure> {
    let reports =
        scenario.model.pools.iter().any(|pool| pool.reports.is_some_and(|reports| reports.interval.is_some()));
    scenario.variants.retain(|variant| {
        let notices = variant.table.signals().notices;
        let foreign = notices || reports && variant.table.row().is_some_and(|row| row.doc.family == Family::Report);
        if foreign {
            let name = &variant.label;
            complain(format_args!(
                "{name} is left out: test servers report with responses and health checks, not periodically"
            ));
        }
        !foreign
    });
    if scenario.variants.is_empty() {
        return Err(Failure::Usage(
            "no strategy is left: oracles cannot run over sockets, and test servers send no periodic reports"
                .to_owned(),
        ));
    }
    Ok(())
}

const LEGEND: &str = "\
simulated  mean over 20 runs of the simulator with the same requests and a different random stream in the strategy
allowed    4 standard deviations of these runs, plus an allowance for a real machine: mean and p50 3 % + 1.5 ms, p99 5 % + 6 ms,
           shares 1 pp, hit ratio 2 pp, errors 10 % + 0.5 pp
order      compared for pairs whose simulated difference exceeds the allowed one";

fn in_both(scenario: &Scenario, variant: &Variant, source: &str, seed: u64, quiet: bool) -> Result<Pair, Failure> {
    let model = &scenario.model;
    let mut simulated = Vec::new();
    for i in 0..STREAMS {
        let stream_name = format!("{}twin {i}", variant.stream_name);
        let setup = Setup { model, strategy: &variant.table, seed, stream_name: &stream_name };
        let mut entry_counter = EntryCounter::new(model);
        let record = sim::observe(&setup, &scheduler::stopped, &mut entry_counter).map_err(|why| match why {
            sim::Stopped::Interrupted => Failure::Stopped,
            too_large => too_large.into(),
        })?;
        simulated.push((record, entry_counter.entered));
    }
    let mut best: Option<(LoadSummary, Vec<u64>)> = None;
    for _ in 0..TRIES {
        if !quiet {
            complain(format_args!("{}: over sockets, {}", variant.label, model.warmup + model.duration));
        }
        let run = over_sockets(scenario, variant, source, seed)?;
        if best.as_ref().is_none_or(|best| late(&run.0) < late(&best.0)) {
            best = Some(run);
        }
        if best.as_ref().is_some_and(|best| late(&best.0) <= TOO_LATE) {
            break;
        }
        if !quiet {
            complain(format_args!("{}: this machine was too busy; retrying", variant.label));
        }
    }
    let Some(real) = best else { return Err(Failure::Stopped) };
    Ok(pair(model, variant, &simulated, &real))
}

fn late(report: &LoadSummary) -> Duration {
    Duration::from_nanos(report.late.value_at_quantile(0.99))
}

fn over_sockets(
    scenario: &Scenario,
    variant: &Variant,
    source: &str,
    seed: u64,
) -> Result<(LoadSummary, Vec<u64>), Failure> {
    let loopback = Loopback::start(scenario, source, &variant.table, seed)?;
    let target = format!("http://{}", loopback.address()).parse().map_err(Failure::Usage)?;
    loopback.begin();
    let report = play(&scenario.model, seed, &target, &Options::default(), |_| !scheduler::stopped());
    if scheduler::stopped() {
        return Err(Failure::Stopped);
    }
    let report = report.map_err(|error| Failure::Broken(anyhow::Error::new(error).context("the load")))?;
    let counters = loopback.backends.iter().flatten().map(|backend| backend.counters());
    Ok((report, counters.map(|c| c.requests - c.errors - c.rejected).collect()))
}

/// Counts the requests that enter each simulated server, as a test server counts.
struct EntryCounter {
    entered: Vec<u64>,
    /// End of the load: the simulator sends requests until all measured ones have ended.
    end: Nanos,
    /// For each job: whether the load generator sends it as well, and its server.
    jobs: Vec<(bool, u32)>,
}

impl EntryCounter {
    fn new(model: &Model) -> EntryCounter {
        let servers = model.pools.iter().map(|pool| pool.servers.len()).sum();
        EntryCounter { entered: vec![0; servers], end: model.warmup + model.duration, jobs: Vec::new() }
    }
}

impl Observer for EntryCounter {
    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        if self.jobs.len() <= job as usize {
            self.jobs.resize(job as usize + 1, (false, 0));
        }
        self.jobs[job as usize] = (arrival.at < self.end, 0);
    }

    fn decided(&mut self, job: u32, server: Option<u32>, _now: Nanos) {
        if let (Some(server), Some(job)) = (server, self.jobs.get_mut(job as usize)) {
            job.1 = server;
        }
    }

    fn step(&mut self, job: u32, step: Step, _now: Nanos) {
        if step == Step::Entered
            && let Some(&(true, server)) = self.jobs.get(job as usize)
        {
            self.entered[server as usize] += 1;
        }
    }
}

/// The values of one side (simulated or real), in the order of `pair`'s names.
fn of_simulator((record, entered): &(RunRecord, Vec<u64>)) -> Vec<f64> {
    let all = &record.measured.all;
    let ended = all.ends.iter().sum::<u64>() + all.unfinished;
    let quantile = |quantile| all.latency.value_at_quantile(quantile) as f64 / 1e9;
    let mean = all.latency_sum as f64 / all.latency.len().max(1) as f64 / 1e9;
    let failed = share(ended - all.ends[RequestOutcome::Ok as usize], ended);
    let mut values = vec![mean, quantile(0.5), quantile(0.99), failed, share(all.hits, all.hits + all.misses)];
    values.extend(shares(entered));
    values
}

fn of_sockets((report, entered): &(LoadSummary, Vec<u64>)) -> Vec<f64> {
    let quantile = |quantile| report.latency.value_at_quantile(quantile) as f64 / 1e9;
    let failed = share(report.requests - report.ok, report.requests);
    let hits = share(report.hits, report.hits + report.misses);
    let mut values = vec![report.latency.mean() / 1e9, quantile(0.5), quantile(0.99), failed, hits];
    values.extend(shares(entered));
    values
}

/// Each server's share of all requests that entered servers, with the warm-up and abandoned attempts.
fn shares(entered: &[u64]) -> impl Iterator<Item = f64> {
    let sum = entered.iter().sum();
    entered.iter().map(move |&count| share(count, sum))
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn pair(model: &Model, variant: &Variant, simulated: &[(RunRecord, Vec<u64>)], real: &(LoadSummary, Vec<u64>)) -> Pair {
    let servers: Vec<&str> =
        model.pools.iter().flat_map(|pool| &pool.servers).map(|server| server.name.as_str()).collect();
    let runs: Vec<Vec<f64>> = simulated.iter().map(of_simulator).collect();
    let measured = of_sockets(real);
    let cached = model.pools.iter().flat_map(|pool| &pool.servers).any(|server| server.cache.is_some());
    let kinds = [("mean", &MIDDLE), ("p50", &MIDDLE), ("p99", &TAIL), ("failed", &FAILED), ("hit ratio", &HITS)];
    let kinds = kinds.into_iter().map(|(name, allowance)| (name.to_owned(), allowance));
    let kinds = kinds.chain(servers.iter().map(|server| (format!("share of {server}"), &SHARE)));
    let measures = kinds
        .enumerate()
        .filter(|(_, (name, _))| cached || name != "hit ratio")
        .map(|(i, (name, allowance))| Measure {
            simulated: runs.iter().map(|run| run[i]).collect(),
            real: measured[i],
            allowance,
            seconds: i < 3,
            name,
        })
        .collect();
    Pair {
        label: variant.label.clone(),
        measures,
        same_requests: simulated.iter().all(|(record, _)| record.workload_hash == real.0.workload_hash),
        requests: real.0.requests,
        late: late(&real.0),
    }
}

/// Whether simulated and real results rank the strategies in the same order.
struct Order {
    by: &'static str,
    told_apart: usize,
    reversed: usize,
    text: String,
}

fn order(pairs: &[Pair], by: &'static str) -> Order {
    let of: Vec<(&Pair, &Measure)> = pairs
        .iter()
        .filter(|pair| pair.is_sound())
        .filter_map(|pair| pair.measure(by).map(|measure| (pair, measure)))
        .collect();
    let (mut told_apart, mut reversed, mut wrong) = (0, 0, Vec::new());
    for (i, (a, x)) in of.iter().enumerate() {
        for (b, y) in &of[i + 1..] {
            if (x.mean() - y.mean()).abs() <= x.allowed() + y.allowed() {
                continue;
            }
            told_apart += 1;
            if (x.mean() < y.mean()) != (x.real < y.real) {
                reversed += 1;
                wrong.push(format!("{} and {}", a.label, b.label));
            }
        }
    }
    let listed = |value: &dyn Fn(&Measure) -> f64| {
        let mut sorted = of.clone();
        sorted.sort_by(|(_, a), (_, b)| value(a).total_cmp(&value(b)));
        sorted.iter().map(|(pair, _)| pair.label.as_str()).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("By {by}: simulated {}; real {}.", listed(&Measure::mean), listed(&|measure| measure.real));
    text += &match (told_apart, reversed) {
        (0, _) => " No pair differs by more than the tolerance in the simulator.".to_owned(),
        (n, 0) => {
            format!(" {n} of {} pairs differ significantly, all in the same order.", of.len() * (of.len() - 1) / 2)
        }
        _ => format!(" REVERSED: {}.", wrong.join("; ")),
    };
    Order { by, told_apart, reversed, text }
}

fn print(pair: &Pair, first: Option<(&Scenario, bool)>, terminal: Terminal) {
    if let Some((scenario, delays)) = first {
        say(format_args!("{}  {}", terminal.bold(&scenario.name), scenario.title));
        if delays {
            say("The delays of [network] are left out in both.");
        }
    }
    let late = human_seconds(pair.late.as_secs_f64());
    say("");
    say(format_args!("{}  {} requests, send delay {late} (p99)", terminal.bold(&pair.label), pair.requests));
    if !pair.same_requests {
        say("Simulated and real requests were NOT the same.");
    }
    let mut shown = table::plain(terminal.width);
    shown.set_header(["", "simulated", "real", "difference", "allowed", ""]);
    for measure in &pair.measures {
        let (mean, real) = (measure.mean(), measure.real);
        let verdict = match (pair.is_sound(), measure.agrees()) {
            (false, _) => "no verdict",
            (true, true) => "agrees",
            (true, false) => "DIFFERS",
        };
        shown.add_row([
            measure.name.clone(),
            measure.text(mean),
            measure.text(real),
            measure.difference(),
            measure.text(measure.allowed()),
            verdict.to_owned(),
        ]);
    }
    for column in 1..5 {
        if let Some(column) = shown.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(shown);
}

fn as_json(scenario: &Scenario, pairs: &[Pair], orders: &[Order], differs: bool, unsound: usize) -> serde_json::Value {
    let verdict = match (differs, unsound) {
        (true, _) => "differ",
        (false, 0) => "agree",
        _ => "too busy",
    };
    let strategies: Vec<_> = pairs
        .iter()
        .map(|pair| {
            let measures: Vec<_> = pair
                .measures
                .iter()
                .map(|measure| {
                    json!({
                        "name": measure.name, "simulated": measure.mean(), "deviation": measure.deviation(),
                        "real": measure.real, "allowed": measure.allowed(), "agrees": measure.agrees(),
                    })
                })
                .collect();
            json!({
                "strategy": pair.label, "requests": pair.requests, "same_requests": pair.same_requests,
                "late_p99": pair.late.as_secs_f64(), "sound": pair.is_sound(), "metrics": measures,
            })
        })
        .collect();
    let orders: Vec<_> = orders
        .iter()
        .map(|order| json!({ "by": order.by, "told_apart": order.told_apart, "reversed": order.reversed }))
        .collect();
    json!({
        "schema_version": 1, "scenario": scenario.name, "verdict": verdict, "strategies": strategies, "orders": orders,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(name: &str, simulated: &[f64], real: f64) -> Measure {
        Measure { name: name.to_owned(), simulated: simulated.to_vec(), real, allowance: &SHARE, seconds: false }
    }

    fn strategy(label: &str, simulated: f64, real: f64, late: Duration) -> Pair {
        let measures = vec![measure("p99", &[simulated, simulated], real)];
        Pair { label: label.to_owned(), measures, same_requests: true, requests: 1, late }
    }

    #[test]
    fn the_tolerance_covers_randomness_and_the_machine_only() {
        // A standard deviation of 0.01, so 0.04, plus one percentage point.
        let spread = [0.24, 0.25, 0.26];
        assert!((measure("share", &spread, 0.25).allowed() - 0.05).abs() < 1e-12);
        assert!(measure("share", &spread, 0.299).agrees() && measure("share", &spread, 0.201).agrees());
        assert!(!measure("share", &spread, 0.301).agrees() && !measure("share", &spread, 0.199).agrees());
        assert!(!measure("share", &[0.25, 0.25], 0.27).agrees(), "a hash is deterministic");
    }

    #[test]
    fn an_order_counts_where_it_is_significant() {
        let zero = Duration::ZERO;
        let found = order(&[strategy("a", 0.1, 0.1, zero), strategy("b", 0.9, 0.8, zero)], "p99");
        assert_eq!((found.told_apart, found.reversed), (1, 0), "{}", found.text);
        let found = order(&[strategy("a", 0.1, 0.9, zero), strategy("b", 0.9, 0.8, zero)], "p99");
        assert_eq!((found.told_apart, found.reversed), (1, 1), "{}", found.text);
        assert!(found.text.contains("REVERSED: a and b"), "{}", found.text);
        let near = order(&[strategy("a", 0.100, 0.2, zero), strategy("b", 0.115, 0.1, zero)], "p99");
        assert_eq!((near.told_apart, near.reversed), (0, 0), "{}", near.text);
        let late = Duration::from_millis(50);
        let found = order(&[strategy("a", 0.1, 0.9, late), strategy("b", 0.9, 0.8, zero)], "p99");
        assert_eq!(found.told_apart, 0, "what was sent late says nothing: {}", found.text);
    }
}
