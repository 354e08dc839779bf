//! `evenkeel bench proxy`: the overhead of the proxy compared with HAProxy and nginx, in one run on one machine.
//!
//! Rounds are interleaved and their order rotates, so that a disturbance of the machine affects all contenders equally;
//! ratios are computed within a round, and their median is reported. Every response is verified byte by byte, and the
//! client's count must equal the origin's: a contender with wrong responses is disqualified. Load and origin are one thread
//! on a core of its own, and there is no verdict on a proxy that this thread did not keep busy.

use std::net::SocketAddr;
use std::time::Duration;

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::super::scheduler::{stopped, watch_for_interrupt};
use super::super::{Failure, Terminal, complain, say};
use super::contenders::{Contender, Cores, Kind, Running, find, usage, version};
use super::spread::Spread;
use crate::report::table;
use evenkeel_core::select::catalog::{self, CATALOGUE};
use evenkeel_core::units::human_seconds;
use evenkeel_testbed::closed_loop::{ClosedLoop, Rig};

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel bench proxy                  what is not on PATH is left out
  evenkeel bench proxy --quick          a first look, in half a minute
  evenkeel bench proxy --only evenkeel --strategies
  evenkeel bench proxy --against /tmp/evenkeel-before     effect of a change

Everything runs on loopback: each proxy as a process with one thread on one core; the load and the origin \
(three servers, eight with --strategies) as one thread on the other cores. A closed loop: each connection \
sends its next request when it has a response. A proxy whose core was not busy to 95 % was not what limited \
the loop: its figures are shown, and no verdict is given on it.

Exit codes: 0 done, 1 a contender was refused because it answered wrongly.")]
pub struct Args {
    /// Number of rounds; medians are reported
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Measured seconds per contender and round; the warm-up takes a fifth more
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Three short rounds
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Only these contenders, separated by commas: haproxy, nginx, evenkeel, or strategies with --strategies
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Also measure every strategy but oracles, with eight servers, relative to round_robin
    #[arg(long)]
    strategies: bool,
    /// Also measure another build of this program, as `against`
    #[arg(long, value_name = "PROGRAM")]
    against: Option<std::path::PathBuf>,
    /// Also measure each proxy without forwarding headers and request ids
    #[arg(long)]
    bare: bool,
    /// Numbers of connections, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "32,128", value_parser = clap::value_parser!(u32).range(1..=4096))]
    connections: Vec<u32>,
    /// Response body sizes in bytes, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "200,65536", value_parser = clap::value_parser!(u32).range(0..=1_000_000_000))]
    bytes: Vec<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Servers of the origin, for the proxies and for the strategies.
const FEW: usize = 3;
const MANY: usize = 8;
/// Least share of the time that a proxy must have run or been ready to run; below it the proxy was not the bottleneck. Its
/// requests per second are compared only if it ran for as much.
const BUSY: f64 = 0.95;

/// One contender in one round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    round: u32,
    /// Responses per second.
    rate: f64,
    /// CPU seconds per response.
    cpu: f64,
    /// Resident bytes at the end.
    resident: f64,
    /// Median latency, seconds.
    p50: f64,
    /// 99th percentile of the latency, seconds.
    p99: f64,
    /// Share of the time that the proxy's core worked for it.
    busy: f64,
    /// Share of the time that it ran or was ready to run while the core worked for others.
    demand: f64,
    /// Share of the time that the thread of load and origin worked.
    load_busy: f64,
    /// Times that this thread waited for events, per response.
    waits: f64,
}

/// A body size and a number of connections, with the samples of each contender.
struct Case {
    bytes: u32,
    connections: u32,
    samples: Vec<Vec<Sample>>,
}

/// Why a contender is disqualified; `None` while it is not.
type Refusal = Option<String>;

pub fn bench(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let (rounds, seconds) = if args.quick { (3, 0.5) } else { (args.rounds, args.seconds) };
    if !(0.05..=3600.0).contains(&seconds) {
        return Err(Failure::Usage("--seconds must be from 0.05 to 3600".to_owned()));
    }
    let (contenders, missing) = contenders(args)?;
    watch_for_interrupt();
    for (program, package) in &missing {
        complain(format_args!("{program} is not on PATH and is left out; on Debian: apt install {package}"));
    }
    let load_average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load_average = load_average.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    let cores = Cores::divide();
    let warmup = Duration::from_secs_f64((seconds / 5.0).max(0.05));
    let span = Duration::from_secs_f64(seconds);

    let mut refused: Vec<Refusal> = vec![None; contenders.len()];
    let mut cases = Vec::new();
    for &bytes in &args.bytes {
        let reporting = if args.strategies { MANY } else { 0 };
        let broken = |error| Failure::Broken(anyhow::Error::new(error).context("no origin"));
        let mut rig = Rig::start(bytes.into(), FEW, reporting).map_err(broken)?;
        let servers = rig.addresses().map_err(broken)?;
        let mut running = start_all(&contenders, &servers, &mut refused, cores)?;
        for &connections in &args.connections {
            let mut samples = vec![Vec::new(); contenders.len()];
            for round in 0..rounds {
                for turn in 0..contenders.len() {
                    let i = (turn + round as usize) % contenders.len();
                    let Some(proxy) = &mut running[i] else { continue };
                    let target = proxy.address;
                    let plan = ClosedLoop { target, connections: connections.into(), warmup, span };
                    let sample = measure(proxy, plan, &mut rig, round, contenders[i].probes());
                    if stopped() {
                        return Err(Failure::Stopped);
                    }
                    match sample {
                        Ok(sample) => samples[i].push(sample),
                        Err(why) => {
                            let why = if proxy.lives() { why } else { format!("it ended; {}", proxy.said()) };
                            refuse(&mut refused[i], &contenders[i].name, why);
                            running[i] = None;
                        }
                    }
                }
                complain(format_args!("{bytes} bytes, {connections} connections: round {} of {rounds}", round + 1));
            }
            cases.push(Case { bytes, connections, samples });
        }
    }
    let results = Results { contenders, missing, refused, cases, rounds, seconds, load_average, cores };
    if args.json {
        say(results.json());
    } else {
        results.print(terminal);
    }
    if results.refused.iter().any(Option::is_some) { Err(Failure::No) } else { Ok(()) }
}

/// Starts every contender that is not disqualified, in front of the origin.
fn start_all(
    contenders: &[Contender],
    servers: &[SocketAddr],
    refused: &mut [Refusal],
    cores: Option<Cores>,
) -> Result<Vec<Option<Running>>, Failure> {
    let (few, many) = servers.split_at(FEW);
    let mut running = Vec::new();
    for (contender, refused) in contenders.iter().zip(refused) {
        if refused.is_some() {
            running.push(None);
            continue;
        }
        let started = Running::start(contender, if contender.backends == FEW { few } else { many }, cores);
        if stopped() {
            return Err(Failure::Stopped);
        }
        running.push(started.map_err(|why| refuse(refused, &contender.name, why)).ok());
    }
    Ok(running)
}

fn refuse(refused: &mut Refusal, name: &str, why: String) {
    complain(format_args!("{name} is refused: {why}"));
    *refused = Some(why);
}

type Missing = Vec<(&'static str, &'static str)>;

/// The contenders, and the programs that are not on PATH.
fn contenders(args: &Args) -> Result<(Vec<Contender>, Missing), Failure> {
    let mut wanted = Vec::new();
    for bare in [false, true] {
        if !bare || args.bare {
            let end = if bare { "-bare" } else { "" };
            for kind in [Kind::Haproxy, Kind::Nginx, Kind::Evenkeel("round_robin")] {
                wanted.push((format!("{}{end}", kind.program().0), kind, bare, FEW));
            }
        }
    }
    if args.strategies {
        for row in CATALOGUE.iter().filter(|row| !row.doc.oracle()) {
            wanted.push((row.name.to_owned(), Kind::Evenkeel(row.name), false, MANY));
        }
    }
    // Strategies are accepted by any of their names.
    let canonical = |name: &String| match catalog::find(name) {
        Some(row) if !wanted.iter().any(|(known, ..)| known == name) => row.name.to_owned(),
        _ => name.clone(),
    };
    let only: Vec<String> = args.only.iter().map(canonical).collect();
    for name in &only {
        if !wanted.iter().any(|(known, ..)| known == name) {
            let known: Vec<&str> = wanted.iter().map(|(name, ..)| name.as_str()).collect();
            let help = format!("there are: {}; strategies with --strategies, -bare ones with --bare", known.join(", "));
            return Err(Failure::Usage(format!("--only: no contender is called `{name}`\n  help: {help}")));
        }
    }
    // Strategies are compared with this one; without it there are no ratios.
    let named = |name: &String| only.contains(name) || only.is_empty();
    wanted.retain(|(name, _, _, backends)| {
        named(name) || *backends == MANY && (!only.iter().any(is_strategy) || name == "round_robin")
    });
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (name, kind, bare, backends) in wanted {
        let (program, package) = kind.program();
        let place = match kind {
            Kind::Evenkeel(_) => {
                Some(std::env::current_exe().map_err(|error| Failure::Broken(anyhow::Error::new(error)))?)
            }
            _ => find(program),
        };
        match place {
            Some(place) => {
                let version = match kind {
                    Kind::Evenkeel(_) => format!("evenkeel {}", env!("CARGO_PKG_VERSION")),
                    _ => version(&place),
                };
                found.push(Contender { name, kind, bare, backends, program: place, version });
            }
            None if missing.contains(&(program, package)) => {}
            None => missing.push((program, package)),
        }
    }
    if let Some(program) = &args.against {
        let (name, kind) = ("against".to_owned(), Kind::Evenkeel("round_robin"));
        let version = format!("evenkeel at {}", program.display());
        found.push(Contender { name, kind, bare: false, backends: FEW, program: program.clone(), version });
    }
    if found.is_empty() {
        return Err(Failure::Usage("no contender is left to measure".to_owned()));
    }
    Ok((found, missing))
}

fn is_strategy(name: &String) -> bool {
    CATALOGUE.iter().any(|row| row.name == name)
}

/// Measures one contender for one round. The error is the reason for its disqualification.
fn measure(proxy: &Running, plan: ClosedLoop, rig: &mut Rig, round: u32, probes: bool) -> Result<Sample, String> {
    let mut edges = Vec::with_capacity(2);
    let came = rig.run(plan, || edges.push((proxy.usage(), usage("self"))), stopped).map_err(|e| e.to_string())?;
    if stopped() {
        return Err("interrupted".to_owned());
    }
    // Probes reach the origin, too.
    if came.reached < came.answers || came.reached > came.answers && !probes {
        return Err(format!("{} responses came, but {} requests reached the origin", came.answers, came.reached));
    }
    if came.measured == 0 {
        return Err("no response came in the measured time".to_owned());
    }
    let [(theirs, own), (theirs_after, own_after)] = edges[..] else { return Err("not measured".to_owned()) };
    let wall = came.span.as_secs_f64();
    let between = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64();
    let cpu = between(theirs.cpu, theirs_after.cpu);
    let latency = |quantile: f64| came.latency.value_at_quantile(quantile) as f64 / 1e9;
    Ok(Sample {
        round,
        rate: came.measured as f64 / wall,
        cpu: cpu / came.measured as f64,
        resident: theirs_after.resident as f64,
        p50: latency(0.5),
        p99: latency(0.99),
        busy: cpu / wall,
        demand: ((cpu + between(theirs.waited, theirs_after.waited)) / wall).min(1.0),
        load_busy: between(own.cpu, own_after.cpu) / wall,
        waits: came.waits as f64 / came.measured as f64,
    })
}

struct Results {
    contenders: Vec<Contender>,
    missing: Missing,
    refused: Vec<Refusal>,
    cases: Vec<Case>,
    rounds: u32,
    seconds: f64,
    load_average: Option<f64>,
    cores: Option<Cores>,
}

/// One sample over another.
type Ratio = fn(&Sample, &Sample) -> f64;

/// Ratios to the base contender. Above 1 is better for the first two, worse for the others.
const RATIOS: [(&str, Ratio); 4] = [
    ("rate", |sample, base| sample.rate / base.rate),
    ("per_cpu_second", |sample, base| base.cpu / sample.cpu),
    ("p99", |sample, base| sample.p99 / base.p99),
    ("resident", |sample, base| sample.resident / base.resident),
];

/// Whether there is a verdict on what a request costs, and on requests per second.
fn verdict(samples: &[Sample]) -> (bool, bool) {
    let enough = |figure: fn(&Sample) -> f64| {
        Spread::of(samples.iter().map(figure).collect()).is_some_and(|share| share.median >= BUSY)
    };
    (enough(|sample| sample.demand), enough(|sample| sample.busy))
}

impl Results {
    /// The contender that another is relative to: the first proxy (HAProxy if it is there), or round_robin for strategies.
    fn base(&self, of: usize) -> usize {
        let alike = |i: &usize| self.contenders[*i].backends == self.contenders[of].backends;
        let many = self.contenders[of].backends == MANY;
        let mut all = (0..self.contenders.len()).filter(alike).filter(|&i| self.refused[i].is_none());
        all.find(|&i| !many || self.contenders[i].name == "round_robin").unwrap_or(of)
    }

    fn spread(case: &Case, i: usize, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(case.samples[i].iter().map(figure).collect())
    }

    /// Ratio of a contender's figure to its base's, within each round that has both.
    fn ratio(&self, case: &Case, i: usize, figure: impl Fn(&Sample, &Sample) -> f64) -> Option<Spread> {
        let base = &case.samples[self.base(i)];
        let pairs = case.samples[i].iter().filter_map(|sample| {
            let same = base.iter().find(|base| base.round == sample.round)?;
            Some(figure(sample, same)).filter(|ratio| ratio.is_finite())
        });
        Spread::of(pairs.collect())
    }

    fn json(&self) -> Value {
        let named = |i: usize| {
            let Contender { name, kind, bare, backends, version, .. } = &self.contenders[i];
            json!({
                "name": name, "version": version, "bare": bare, "backends": backends, "knobs": kind.knobs(),
                "refused": self.refused[i],
            })
        };
        let row = |case: &Case, i: usize| {
            let of = |figure: fn(&Sample) -> f64| Self::spread(case, i, figure).map(Spread::json);
            let ratios = RATIOS.iter().map(|(name, figure)| {
                ((*name).to_owned(), self.ratio(case, i, figure).map_or(Value::Null, Spread::json))
            });
            json!({
                "name": self.contenders[i].name, "rounds": case.samples[i].len(),
                "requests_per_second": of(|s| s.rate), "cpu_seconds_per_request": of(|s| s.cpu),
                "resident_bytes": of(|s| s.resident), "p50_seconds": of(|s| s.p50), "p99_seconds": of(|s| s.p99),
                "core_busy": of(|s| s.busy), "saturated": of(|s| s.demand), "load_core_busy": of(|s| s.load_busy),
                "load_waits_per_request": of(|s| s.waits), "verdict": verdict(&case.samples[i]).0,
                "base": self.contenders[self.base(i)].name, "ratios": Value::Object(ratios.collect()),
            })
        };
        let cases = self.cases.iter().map(|case| {
            let rows: Vec<Value> = self.rows(case).map(|i| row(case, i)).collect();
            json!({ "bytes": case.bytes, "connections": case.connections, "contenders": rows })
        });
        let missing = self.missing.iter().map(|(name, package)| json!({ "name": name, "package": package }));
        json!({
            "rounds": self.rounds, "seconds": self.seconds, "pinned": self.cores.is_some(),
            "load_average": self.load_average,
            "contenders": (0..self.contenders.len()).map(named).collect::<Vec<_>>(),
            "missing": missing.collect::<Vec<_>>(), "cases": cases.collect::<Vec<_>>(),
        })
    }

    fn rows<'a>(&'a self, case: &'a Case) -> impl Iterator<Item = usize> + 'a {
        (0..self.contenders.len()).filter(|&i| self.refused[i].is_none() && !case.samples[i].is_empty())
    }

    fn print(&self, terminal: Terminal) {
        for case in &self.cases {
            say(terminal.bold(&format!("{} bytes, {} connections", case.bytes, case.connections)));
            let mut rows = table::plain(terminal.width);
            rows.set_header([
                "proxy",
                "requests/s",
                "CPU/request",
                "p50",
                "p99",
                "memory",
                "busy",
                "load busy",
                "waits",
                "per CPU second",
                "per second",
                "p99",
                "of",
            ]);
            for i in self.rows(case) {
                rows.add_row(self.row(case, i));
            }
            for column in 1..12 {
                if let Some(column) = rows.column_mut(column) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            say(rows);
            self.idle(case);
        }
        self.notes();
    }

    /// A line of the table. What there is no verdict on stays empty.
    fn row(&self, case: &Case, i: usize) -> [String; 13] {
        let of = |figure: fn(&Sample) -> f64| Self::spread(case, i, figure).map_or(f64::NAN, |s| s.median);
        let base = self.base(i);
        let (own, others) = (verdict(&case.samples[i]), verdict(&case.samples[base]));
        let ratio = |place: usize, verdict: bool| {
            let spread = self.ratio(case, i, RATIOS[place].1).filter(|_| base != i && verdict);
            spread.map_or_else(String::new, |Spread { low, median, high, .. }| {
                format!("{median:.2} ({low:.2} … {high:.2})")
            })
        };
        [
            self.contenders[i].name.clone(),
            format!("{:.0}", of(|s| s.rate)),
            human_seconds(of(|s| s.cpu)),
            human_seconds(of(|s| s.p50)),
            human_seconds(of(|s| s.p99)),
            format!("{:.1} MB", of(|s| s.resident) / 1e6),
            format!("{:.0} %", of(|s| s.busy) * 100.0),
            format!("{:.0} %", of(|s| s.load_busy) * 100.0),
            format!("{:.2}", of(|s| s.waits)),
            ratio(1, own.0 && others.0),
            ratio(0, own.1 && others.1),
            ratio(2, own.1 && others.1),
            if base == i { String::new() } else { self.contenders[base].name.clone() },
        ]
    }

    /// Says on which contenders there is no verdict, and why.
    fn idle(&self, case: &Case) {
        let share = |i: usize, figure: fn(&Sample) -> f64| {
            format!("{:.0} %", Self::spread(case, i, figure).map_or(0.0, |s| s.median) * 100.0)
        };
        for i in self.rows(case) {
            let (name, (saturated, undisturbed)) = (&self.contenders[i].name, verdict(&case.samples[i]));
            if !saturated {
                say(format_args!(
                    "No verdict on {name}: it ran or was ready to run for {} of the time, less than 95 %, with load and \
                     origin at {} of their core. It was not what limited the loop.",
                    share(i, |s| s.demand),
                    share(i, |s| s.load_busy)
                ));
            } else if !undisturbed {
                say(format_args!(
                    "No verdict on requests per second and p99 of {name}: its core worked for it for {} of the time and for \
                     other processes for most of the rest. What a request costs stands.",
                    share(i, |s| s.busy)
                ));
            }
        }
    }

    fn notes(&self) {
        say("");
        say(format_args!(
            "Medians over {} interleaved rounds of {} s; ratios within the same round, median (quartiles): for requests per \
             CPU second and per second, higher is better; for p99, lower is better.",
            self.rounds, self.seconds
        ));
        say(
            "Every answer was a 200 of the right length with the origin's bytes for this request, and as many requests reached the origin as the client counted (more, where a strategy sends probes).",
        );
        say(
            "busy, load busy: shares of their cores for the proxy, and for the thread of load and origin; waits: times that this thread waited for events (epoll), per request.",
        );
        match self.cores {
            Some(cores) => {
                say(format_args!("Proxies ran on core {}, load and origin on the others.", cores.proxy_core))
            }
            None => say("No process was pinned to a core: there is only one, or the system does not support it."),
        }
        if let Some(load) = self.load_average {
            say(format_args!("Load average at the start: {load}. Other processes disturb all figures, ratios least."));
        }
        let mut told: Vec<(&str, &str)> = Vec::new();
        for contender in &self.contenders {
            let line = (contender.version.as_str(), contender.kind.knobs());
            if !told.contains(&line) {
                told.push(line);
                say(format_args!("{}: {}.", line.0, line.1));
            }
        }
        for (contender, why) in self.contenders.iter().zip(&self.refused) {
            if let Some(why) = why {
                say(format_args!("{} was refused: {why}", contender.name));
            }
        }
        for (program, package) in &self.missing {
            say(format_args!("{program} is not on PATH and was left out; on Debian: apt install {package}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(busy: f64, demand: f64) -> Sample {
        Sample {
            round: 0,
            rate: 1.0,
            cpu: 1.0,
            resident: 1.0,
            p50: 1.0,
            p99: 1.0,
            busy,
            demand,
            load_busy: 0.5,
            waits: 0.1,
        }
    }

    #[test]
    fn a_proxy_that_waited_for_the_load_gets_no_verdict() {
        let of = |shares: [(f64, f64); 3]| verdict(&shares.map(|(busy, demand)| sample(busy, demand)));
        assert_eq!(of([(0.97, 0.99), (0.96, 0.97), (0.5, 0.6)]), (true, true));
        assert_eq!(of([(0.94, 0.99), (0.6, 0.97), (0.97, 0.98)]), (true, false), "other processes took its core");
        assert_eq!(of([(0.94, 0.94), (0.6, 0.7), (0.97, 0.98)]), (false, false), "it was idle");
        assert_eq!(verdict(&[]), (false, false));
    }
}
