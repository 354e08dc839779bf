//! `evenkeel bench picks`: the cost of a pick for each strategy, by number of servers. Rounds are interleaved and their
//! order rotates, so that a disturbance of the machine affects all cases equally; every round starts from the same seed and
//! must make the same picks.

use std::time::{Duration, Instant};

use comfy_table::CellAlignment;

use super::super::{Failure, Terminal, complain, inputs, say};
use super::spread::Spread;
use crate::report::table;
use evenkeel_core::select::catalog::{self, CATALOGUE, Row};
use evenkeel_core::select::strategy_set::StrategySet;
use evenkeel_core::select::{Context, CustomStrategy, Pick, Request, Selector};
use evenkeel_core::units::Nanos;
use evenkeel_sim::sim::pick_bench::{PickBench, Setting, Tally};

/// What to measure.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  evenkeel bench picks                     all strategies, about a minute
  evenkeel bench picks --strategies p2c,maglev --servers 1000 --rounds 15

One iteration is everything that a balancer does for a request, by the code that simulator and proxy share: \
a request ends and is reported to the strategy, the next is picked and counted, and probes and timed updates \
that the strategy asks for are made. Four requests are in flight for five servers and take 10 ms on average; \
one in a thousand fails, and one is cancelled. Every fourth server has twice the weight. Keys, clients and \
paths are random.

Nothing is subtracted. The row `(host alone)` takes the next eligible server: what an iteration costs \
without a strategy. Rebuilding tables after a change of the fleet is not included. One thread.")]
pub struct Args {
    /// Number of rounds; the median is reported
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Numbers of servers, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000", value_parser = clap::value_parser!(u32).range(3..=100_000))]
    servers: Vec<u32>,
    /// Strategies, separated by commas; `core` and `all` are sets [default: all, oracles too]
    #[arg(long)]
    strategies: Vec<String>,
    /// Give all servers the same weight; some strategies are faster then
    #[arg(long)]
    equal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Approximate time of a case in one round.
const TIMED: Duration = Duration::from_millis(15);
/// Approximate maximum warm-up time of a case.
const WARMED: Duration = Duration::from_millis(60);
/// Minimum number of iterations of the warm-up.
const LEAST_WARM: u64 = 2000;
/// Iterations between two readings of the clock while the number of iterations is determined.
const STEP: u64 = 16;

/// The case that is timed.
#[derive(Clone, Copy)]
enum Candidate {
    /// The next eligible server, without a strategy.
    Host,
    /// A strategy with its defaults.
    Strategy(&'static Row),
}

/// Iterations of a case in each round.
#[derive(Clone, Copy)]
struct Size {
    warm: u64,
    timed: u64,
}

struct Case {
    candidate: Candidate,
    setting: Setting,
    size: Size,
    /// The check that every round did the same: the picks are equal.
    tally: Tally,
    /// Nanoseconds per iteration, by round.
    costs: Vec<f64>,
}

/// Picks the next eligible server.
struct Next(usize);

impl Selector for Next {
    fn pick(&mut self, request: &Request<'_>, cx: &mut Context<'_>) -> Option<Pick> {
        let eligible = cx.fleet.eligible();
        for _ in 0..eligible.len() {
            self.0 = if self.0 + 1 < eligible.len() { self.0 + 1 } else { 0 };
            let slot = eligible[self.0];
            if !request.excluded.contains(&slot) {
                return Some(Pick { backend: cx.fleet.id(slot), tag: 0 });
            }
        }
        None
    }
}

impl Candidate {
    fn name(self) -> &'static str {
        match self {
            Candidate::Host => "(host alone)",
            Candidate::Strategy(row) => row.name,
        }
    }

    fn cost(self) -> &'static str {
        match self {
            Candidate::Host => "O(1)",
            Candidate::Strategy(row) => row.doc.cost,
        }
    }

    fn bench(self, setting: &Setting) -> PickBench {
        match self {
            Candidate::Host => PickBench::new(&CustomStrategy::new("next", |_| Box::new(Next(0))).into(), setting),
            Candidate::Strategy(row) => PickBench::new(&(row.default)(), setting),
        }
    }
}

impl Case {
    /// Finds how many iterations fill the time; all rounds run that many.
    fn new(candidate: Candidate, setting: Setting) -> Case {
        let mut bench = candidate.bench(&setting);
        // Until nearly all requests of the initial state are over, unless that takes too long.
        let enough = (3 * setting.in_flight() as u64).max(LEAST_WARM);
        let (start, mut warm) = (Instant::now(), 0);
        while warm < enough && start.elapsed() < WARMED {
            bench.run(STEP);
            warm += STEP;
        }
        let (start, mut timed) = (Instant::now(), 0);
        while start.elapsed() < TIMED {
            bench.run(STEP);
            timed += STEP;
        }
        Case { candidate, setting, size: Size { warm, timed }, tally: bench.tally(), costs: Vec::new() }
    }

    fn round(&mut self) -> Result<(), Failure> {
        let mut bench = self.candidate.bench(&self.setting);
        bench.run(self.size.warm);
        let start = Instant::now();
        bench.run(self.size.timed);
        let took = start.elapsed();
        self.verify(&bench)?;
        self.costs.push(took.as_secs_f64() * 1e9 / self.size.timed as f64);
        Ok(())
    }

    /// Each iteration picked an eligible server, the same as in every other round, and in-flight counts are exact.
    fn verify(&self, bench: &PickBench) -> Result<(), Failure> {
        let (tally, turns) = (bench.tally(), self.size.warm + self.size.timed);
        let in_flight = bench.fleet().in_flight().iter().map(|&count| count as usize).sum::<usize>();
        let good = tally.picks == turns && tally.wrong == 0 && in_flight == self.setting.in_flight();
        if good && tally == self.tally {
            return Ok(());
        }
        let (name, servers, first) = (self.candidate.name(), self.setting.weights.len(), self.tally);
        let what = format!(
            "{name} with {servers} servers: {tally:?}, at first {first:?}, of {turns} iterations; {in_flight} in flight"
        );
        Err(Failure::Broken(anyhow::anyhow!("the benchmark did not do the expected work: {what}")))
    }

    fn spread(&self) -> Spread {
        Spread::of(self.costs.clone()).expect("there is a round")
    }
}

pub fn bench(args: &Args, terminal: Terminal) -> Result<(), Failure> {
    let mut candidates = vec![Candidate::Host];
    if args.strategies.is_empty() {
        candidates.extend(CATALOGUE.iter().map(Candidate::Strategy));
    }
    for name in args.strategies.iter().flat_map(|list| catalog::split(list)) {
        if let Some(set) = StrategySet::find(name) {
            candidates.extend(set.rows().map(Candidate::Strategy));
            continue;
        }
        inputs::remark(name);
        candidates.push(Candidate::Strategy(catalog::find(name).ok_or_else(|| inputs::unknown_strategy(name))?));
    }
    let mut cases = Vec::new();
    for &servers in &args.servers {
        for &candidate in &candidates {
            let mut setting = Setting::unlike(servers, Nanos::from_millis(10));
            if args.equal {
                setting.weights.fill(1);
            }
            cases.push(Case::new(candidate, setting));
        }
        complain(format_args!("{servers} servers: sized"));
    }
    for round in 0..args.rounds {
        for turn in 0..cases.len() {
            let at = (turn + round as usize) % cases.len();
            cases[at].round()?;
        }
        complain(format_args!("round {} of {}", round + 1, args.rounds));
    }
    if args.json {
        say(serde_json::Value::from(cases.iter().map(|case| json(case, args.rounds)).collect::<Vec<_>>()));
    } else {
        print(args, &candidates, &cases, terminal);
    }
    Ok(())
}

fn json(case: &Case, rounds: u32) -> serde_json::Value {
    let Spread { min, median, max, .. } = case.spread();
    serde_json::json!({
        "servers": case.setting.weights.len(), "strategy": case.candidate.name(), "unit": "ns/pick", "min": min, "median": median,
        "max": max, "rounds": rounds, "picks": case.size.timed, "warmup": case.size.warm, "cost": case.candidate.cost(),
    })
}

/// A row for each strategy, a column for each number of servers.
fn print(args: &Args, candidates: &[Candidate], cases: &[Case], terminal: Terminal) {
    let sizes = args.servers.len();
    let growth = sizes > 1;
    let mut table = table::plain(terminal.width);
    let mut header = vec!["strategy".to_owned()];
    header.extend(args.servers.iter().map(|servers| format!("{servers} servers")));
    header.extend(growth.then(|| format!("{} / {}", args.servers[sizes - 1], args.servers[0])));
    header.push("cost (explain)".to_owned());
    let last = header.len() - 1;
    table.set_header(header);
    for (at, candidate) in candidates.iter().enumerate() {
        // Cases are sorted by number of servers.
        let of_size = |size: usize| &cases[size * (cases.len() / sizes) + at];
        let mut texts = vec![candidate.name().to_owned()];
        texts.extend((0..sizes).map(|size| {
            let Spread { min, median, max, .. } = of_size(size).spread();
            format!("{} ({} … {})", nanos(median), nanos(min), nanos(max))
        }));
        texts.extend(growth.then(|| {
            let (few, many) = (&of_size(0).costs, &of_size(sizes - 1).costs);
            let ratios = few.iter().zip(many).map(|(few, many)| many / few);
            format!("{:.1}", Spread::of(ratios.collect()).expect("there is a round").median)
        }));
        texts.push(candidate.cost().to_owned());
        table.add_row(texts);
    }
    for column in 1..last {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    say(table);
    say(format_args!(
        "Nanoseconds per pick, with the bookkeeping until the request ends (see --help): medians over {} interleaved \
         rounds (min … max){}. Every pick was of an eligible server, and every round made the same picks.",
        args.rounds,
        if growth { ", and how they grow" } else { "" }
    ));
}

/// Three significant digits, or more before the decimal point.
fn nanos(nanos: f64) -> String {
    if nanos < 99.95 { format!("{nanos:.1}") } else { format!("{nanos:.0}") }
}
