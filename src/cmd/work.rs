//! Doing many runs at once. The unit of work is (scenario, strategy, replication); units are taken in order, so scenarios
//! finish one after the other, and each is handed on as soon as its last unit is done. How many threads there are changes
//! nothing in any result.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Failure;
use crate::measure::{Summary, summarise};
use crate::report::Outcome;
use crate::scenario::Scenario;
use crate::sim::record::RunRecord;

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Lets Ctrl-C finish what is being written; a second one ends at once.
fn watch_for_interrupt() {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(super::INTERRUPTED.into());
        }
    };
    // It fails only if a handler is already there, which then is ours.
    let _ = ctrlc::set_handler(handler);
}

fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Runs everything on `jobs` threads (0: one per processor). `done` is called for each scenario in their order, as they
/// finish, and may fail.
pub fn work<'a>(
    scenarios: &'a [Scenario],
    jobs: usize,
    quiet: bool,
    done: impl Fn(Outcome<'a>, &ProgressBar) -> anyhow::Result<()> + Sync,
) -> Result<(), Failure> {
    watch_for_interrupt();
    let units: Vec<(usize, usize, u32)> = scenarios
        .iter()
        .enumerate()
        .flat_map(|(s, scenario)| {
            (0..scenario.contestants.len()).flat_map(move |c| (0..scenario.replications).map(move |r| (s, c, r)))
        })
        .collect();
    let bar = progress(units.len() as u64, quiet);
    let desks: Vec<Mutex<Desk>> = scenarios.iter().map(|scenario| Mutex::new(Desk::new(scenario))).collect();
    let gate = Mutex::new(Gate { next: 0, waiting: scenarios.iter().map(|_| None).collect(), error: None });
    let next = AtomicUsize::new(0);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(jobs)
        .build()
        .map_err(|error| Failure::Broken(anyhow::anyhow!("cannot start threads: {error}")))?;
    let worker = || {
        while !stopped() {
            let Some(&(s, c, r)) = units.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            let scenario = &scenarios[s];
            bar.set_message(scenario.name.clone());
            let table = &scenario.contestants[c].table;
            let Ok(record) = crate::sim::run(&scenario.model, table, scenario.replication_seed(r), &stopped) else {
                return;
            };
            let finished = desks[s].lock().expect("no worker panics").take_in(scenario, c, r, record);
            bar.inc(1);
            if let Some(summaries) = finished {
                let mut gate = gate.lock().expect("no worker panics");
                gate.waiting[s] = Some(Outcome { scenario, summaries });
                gate.let_through(&bar, &done);
                if gate.error.is_some() {
                    STOP.store(true, Ordering::SeqCst);
                }
            }
        }
    };
    pool.scope(|scope| (0..pool.current_num_threads()).for_each(|_| scope.spawn(|_| worker())));
    bar.finish_and_clear();
    match gate.into_inner().expect("no worker panics").error {
        Some(error) => Err(Failure::Broken(error)),
        None if stopped() => Err(Failure::Interrupted),
        None => Ok(()),
    }
}

/// Where a scenario's runs come together.
struct Desk {
    /// By contestant, then by replication.
    records: Vec<Vec<Option<RunRecord>>>,
    summaries: Vec<Option<Summary>>,
}

impl Desk {
    fn new(scenario: &Scenario) -> Desk {
        let n = scenario.contestants.len();
        let rows = || (0..scenario.replications).map(|_| None).collect();
        Desk { records: (0..n).map(|_| rows()).collect(), summaries: (0..n).map(|_| None).collect() }
    }

    /// Sums up a contestant when its last run comes in; all summaries when that was the last contestant.
    fn take_in(&mut self, scenario: &Scenario, c: usize, r: u32, record: RunRecord) -> Option<Vec<Summary>> {
        self.records[c][r as usize] = Some(record);
        if self.records[c].iter().any(Option::is_none) {
            return None;
        }
        let runs: Vec<RunRecord> = std::mem::take(&mut self.records[c]).into_iter().flatten().collect();
        self.summaries[c] = Some(summarise(scenario, c, &runs));
        if self.summaries.iter().any(Option::is_none) {
            return None;
        }
        Some(std::mem::take(&mut self.summaries).into_iter().flatten().collect())
    }
}

/// Lets finished scenarios through in their order.
struct Gate<'a> {
    next: usize,
    waiting: Vec<Option<Outcome<'a>>>,
    error: Option<anyhow::Error>,
}

impl<'a> Gate<'a> {
    fn let_through(&mut self, bar: &ProgressBar, done: &impl Fn(Outcome<'a>, &ProgressBar) -> anyhow::Result<()>) {
        while let Some(outcome) = self.waiting.get_mut(self.next).and_then(Option::take) {
            self.next += 1;
            if self.error.is_none() {
                self.error = done(outcome, bar).err();
            }
        }
    }
}

fn progress(units: u64, quiet: bool) -> ProgressBar {
    // On standard error and only where that is a terminal: results and logs stay clean.
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(units), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}
