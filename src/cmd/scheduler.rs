//! Runs many simulations at once: workers, a channel and one collector.
//!
//! A run is one (scenario, point, variant, replication). The collector hands runs out in order, so that experiments finish
//! one after the other; workers simulate; the collector adds the records that they send back to the point's tallies. When an
//! experiment is complete, the collector hands it to a worker to write and print, in the order of the experiments. Results
//! do not depend on the number of threads or on which runs are found on disk.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::experiment::Experiment;
use super::point_runs::{PointResult, PointRuns, Step};
use super::run_cache::RunCache;
use super::{Failure, run_id, tracing};
use crate::report::Outcome;
use evenkeel_config::terminal::one_line;
use evenkeel_sim::sim::Stopped;
use evenkeel_sim::sim::record::RunRecord;

/// Set by Ctrl-C, and when a worker fails.
static STOP: AtomicBool = AtomicBool::new(false);

/// Installs the Ctrl-C handler: the first one finishes the files being written; a second one exits at once.
pub fn watch_for_interrupt() {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(super::INTERRUPTED.into());
        }
    };
    // It fails only if a handler is installed already, which is then this one.
    let _ = ctrlc::set_handler(handler);
}

pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Options of the scheduler.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads; 0 for one per processor.
    pub jobs: usize,
    /// Whether the progress bar is hidden.
    pub quiet: bool,
    /// The cache of finished runs.
    pub cache: RunCache,
    /// Run only part `i` (from 0) of `n` of the runs.
    pub shard: Option<(u32, u32)>,
    /// Simulate nothing: every run must be in the cache.
    pub stored_only: bool,
    /// Write every request of every run below this folder.
    pub trace: Option<PathBuf>,
}

/// Number of runs, by source.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Simulated now.
    pub run: usize,
    /// Found in the cache.
    pub found: usize,
    /// Left to other shards, or missing from the cache.
    pub left: usize,
}

/// One run, by indices.
#[derive(Clone, Copy, Debug)]
struct Run {
    experiment: usize,
    point: usize,
    variant: usize,
    replication: u32,
}

/// A job of a worker.
enum Job<'a> {
    Run(Run),
    /// Write and print a complete experiment.
    Finish(&'a Experiment, Vec<Outcome<'a>>),
}

/// The result of a job: one for each.
enum Report {
    Simulated(Run, RunRecord),
    Found(Run, RunRecord),
    /// The run is not in the cache, and simulation is disabled.
    Missing,
    Interrupted,
    /// The run needs too much memory; the message names it and the reason.
    TooLarge(Run, String),
    Finished,
    /// An I/O error.
    Failed(anyhow::Error),
    /// A panic: a bug. It ends the program after the other workers have stopped.
    Panicked(Box<dyn Any + Send>),
}

/// Runs all experiments. `finish` is called for each complete experiment, in their order, on one of the workers.
pub fn run<'a>(
    experiments: &'a [Experiment],
    options: &Options,
    finish: impl Fn(&'a Experiment, Vec<Outcome<'a>>, &ProgressBar) -> anyhow::Result<()> + Sync,
) -> Result<Done, Failure> {
    watch_for_interrupt();
    let runs = all_runs(experiments);
    let mine = |i: usize| options.shard.is_none_or(|(part, of)| i as u32 % of == part);
    let pending: VecDeque<Run> = runs.iter().enumerate().filter(|(i, _)| mine(*i)).map(|(_, run)| *run).collect();
    let bar = progress(pending.len() as u64, options.quiet);
    let done = Done { left: runs.len() - pending.len(), ..Done::default() };
    let mut collector = Collector::new(experiments, pending, done, &bar);
    let threads = threads(options.jobs)?;
    let workers = threads.current_num_threads();
    let (hand_out, jobs) = mpsc::channel();
    let (send, reports) = mpsc::channel();
    let jobs = Mutex::new(jobs);
    let work = |send: mpsc::Sender<Report>| {
        // The lock is held while waiting for a job, not while running it.
        let next = || jobs.lock().expect("no worker panics while it waits").recv();
        while let Ok(job) = next() {
            let done = catch_unwind(AssertUnwindSafe(|| match job {
                Job::Run(run) => simulate(&experiments[run.experiment], run, options),
                Job::Finish(experiment, outcomes) => match finish(experiment, outcomes, &bar) {
                    Ok(()) => Report::Finished,
                    Err(error) => Report::Failed(error),
                },
            }));
            let report = done.unwrap_or_else(Report::Panicked);
            if send.send(report).is_err() {
                break;
            }
        }
    };
    threads.in_place_scope(|scope| {
        for _ in 0..workers {
            let send = send.clone();
            scope.spawn(|_| work(send));
        }
        drop(send);
        // Twice as many jobs as workers: no worker waits while the collector adds a result.
        collector.collect(&hand_out, &reports, 2 * workers);
        // Without a sender the workers end.
        drop(hand_out);
    });
    bar.finish_and_clear();
    collector.conclude()
}

fn all_runs(experiments: &[Experiment]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (experiment, e) in experiments.iter().enumerate() {
        for (point, p) in e.points.iter().enumerate() {
            for variant in 0..p.scenario.variants.len() {
                let run = |replication| Run { experiment, point, variant, replication };
                runs.extend((0..p.scenario.replications).map(run));
            }
        }
    }
    runs
}

pub fn threads(jobs: usize) -> Result<rayon::ThreadPool, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
    pool.map_err(|error| Failure::Broken(anyhow::anyhow!("cannot start threads: {error}")))
}

/// Finds a run in the cache, or simulates it and stores it there.
fn simulate(experiment: &Experiment, run: Run, options: &Options) -> Report {
    if stopped() {
        return Report::Interrupted;
    }
    let point = &experiment.points[run.point];
    let scenario = &point.scenario;
    let id = run_id::of_run(scenario, run.variant, run.replication);
    // The results of a run have the timelines of its first replication; those of sweeps and checks do not.
    let timed = run.replication == 0 && experiment.plan.settings.is_run() && options.cache.writes();
    // A trace needs a simulation.
    if options.trace.is_none()
        && let Some(record) = options.cache.load(experiment, &id)
        && (!timed || record.timeline.is_some())
    {
        return Report::Found(run, record);
    }
    if options.stored_only {
        return Report::Missing;
    }
    let label = &scenario.variants[run.variant].label;
    let setup = scenario.setup(run.variant, run.replication);
    let record = match &options.trace {
        Some(folder) => {
            let name = tracing::file_name(&point.name, label, run.replication);
            let path = folder.join(experiment.folder()).join("trace").join(name);
            tracing::run(scenario, &setup, &stopped, &path, timed)
        }
        None if timed => Ok(tracing::with_timeline(&setup, &stopped, ()).map(|(record, ())| record)),
        None => Ok(evenkeel_sim::sim::observe(&setup, &stopped, &mut ())),
    };
    match record {
        Err(error) => Report::Failed(error),
        Ok(Err(Stopped::Interrupted)) => Report::Interrupted,
        Ok(Err(Stopped::TooLarge(size))) => {
            Report::TooLarge(run, format!("{label}, run {}: {size}", run.replication + 1))
        }
        Ok(Ok(record)) => match options.cache.save(experiment, &id, &record) {
            Ok(()) => Report::Simulated(run, record),
            Err(error) => Report::Failed(error),
        },
    }
}

/// Hands out jobs and collects their results. Only the collector knows the progress of everything.
struct Collector<'a, 'b> {
    experiments: &'a [Experiment],
    bar: &'b ProgressBar,
    /// Runs that have not been handed out.
    pending: VecDeque<Run>,
    /// Jobs in progress.
    under_way: usize,
    /// By experiment.
    states: Vec<State>,
    /// The next experiment to write.
    next: usize,
    /// Whether a worker is writing one now.
    finishing: bool,
    done: Done,
    /// By experiment: the first of its runs that was too large.
    too_large: BTreeMap<usize, String>,
    error: Option<anyhow::Error>,
    panic: Option<Box<dyn Any + Send>>,
}

/// The progress of an experiment: for each point its runs, then its result.
struct State {
    points: Vec<(PointRuns, Option<PointResult>)>,
}

impl State {
    fn new(experiment: &Experiment) -> State {
        State { points: experiment.points.iter().map(|point| (PointRuns::new(&point.scenario), None)).collect() }
    }

    fn is_complete(&self) -> bool {
        self.points.iter().all(|(_, result)| result.is_some())
    }
}

impl<'a, 'b> Collector<'a, 'b> {
    fn new(
        experiments: &'a [Experiment],
        pending: VecDeque<Run>,
        done: Done,
        bar: &'b ProgressBar,
    ) -> Collector<'a, 'b> {
        Collector {
            experiments,
            bar,
            pending,
            under_way: 0,
            states: experiments.iter().map(State::new).collect(),
            next: 0,
            finishing: false,
            done,
            too_large: BTreeMap::new(),
            error: None,
            panic: None,
        }
    }

    /// Runs until everything is done or cannot continue, with at most `most` jobs in progress.
    fn collect(&mut self, jobs: &mpsc::Sender<Job<'a>>, reports: &mpsc::Receiver<Report>, most: usize) {
        loop {
            while self.under_way < most
                && let Some(job) = self.next_job()
            {
                self.under_way += 1;
                if jobs.send(job).is_err() {
                    return;
                }
            }
            if self.under_way == 0 {
                return;
            }
            let Ok(report) = reports.recv() else { return };
            self.under_way -= 1;
            self.take_in(report);
        }
    }

    /// A complete experiment has priority over runs, also after an interrupt: finished results must be written.
    fn next_job(&mut self) -> Option<Job<'a>> {
        while self.too_large.contains_key(&self.next) {
            self.next += 1;
        }
        if !self.finishing && self.error.is_none() && self.states.get(self.next).is_some_and(State::is_complete) {
            self.finishing = true;
            let experiment = &self.experiments[self.next];
            return Some(Job::Finish(experiment, self.outcomes(experiment)));
        }
        let run = if stopped() { None } else { self.pending.pop_front() }?;
        self.bar.set_message(one_line(&self.experiments[run.experiment].plan.name).into_owned());
        Some(Job::Run(run))
    }

    /// The results of the next experiment, which is complete.
    fn outcomes(&mut self, experiment: &'a Experiment) -> Vec<Outcome<'a>> {
        let points = std::mem::take(&mut self.states[self.next].points);
        let complete = experiment.points.iter().zip(points).filter_map(|(point, (_, result))| Some((point, result?)));
        complete
            .map(|(point, result)| Outcome {
                scenario: &point.scenario,
                point: &point.name,
                place: &point.place,
                replications: result.replications,
                summaries: result.summaries,
                precision: result.precision,
            })
            .collect()
    }

    fn take_in(&mut self, report: Report) {
        match report {
            Report::Simulated(run, record) => {
                self.done.run += 1;
                self.add(run, &record);
            }
            Report::Found(run, record) => {
                self.done.found += 1;
                self.add(run, &record);
            }
            Report::Missing => self.done.left += 1,
            Report::Interrupted => {}
            Report::TooLarge(run, why) => self.give_up(run.experiment, why),
            Report::Finished => {
                self.finishing = false;
                self.next += 1;
            }
            Report::Failed(error) => {
                self.error.get_or_insert(error);
                STOP.store(true, Ordering::SeqCst);
            }
            Report::Panicked(panic) => {
                self.panic.get_or_insert(panic);
                STOP.store(true, Ordering::SeqCst);
            }
        }
    }

    fn add(&mut self, run: Run, record: &RunRecord) {
        self.bar.inc(1);
        if self.too_large.contains_key(&run.experiment) {
            return;
        }
        let experiment = &self.experiments[run.experiment];
        let scenario = &experiment.points[run.point].scenario;
        let precision = experiment.plan.settings.precision;
        let (runs, result) = &mut self.states[run.experiment].points[run.point];
        match runs.add(scenario, precision, (run.variant, run.replication), record) {
            Step::Wait => {}
            Step::Complete(complete) => *result = Some(complete),
            Step::More(replications) => {
                let variants = scenario.variants.len();
                self.bar.inc_length(replications.len() as u64 * variants as u64);
                // Ahead of all others, in their order.
                for variant in (0..variants).rev() {
                    for replication in replications.clone().rev() {
                        self.pending.push_front(Run { variant, replication, ..run });
                    }
                }
            }
        }
    }

    /// An experiment cannot be completed: its other runs are dropped, other experiments continue.
    fn give_up(&mut self, experiment: usize, why: String) {
        self.bar.inc(1);
        self.too_large.entry(experiment).or_insert(why);
        let before = self.pending.len();
        self.pending.retain(|run| run.experiment != experiment);
        self.bar.inc((before - self.pending.len()) as u64);
        self.states[experiment].points.clear();
    }

    fn conclude(self) -> Result<Done, Failure> {
        if let Some(panic) = self.panic {
            resume_unwind(panic);
        }
        match self.error {
            Some(error) => Err(Failure::Broken(error)),
            None if stopped() => Err(Failure::Interrupted),
            None if self.too_large.is_empty() => Ok(self.done),
            None => {
                let named =
                    |(experiment, why): (usize, String)| format!("{}: {why}", self.experiments[experiment].folder());
                let each: Vec<String> = self.too_large.into_iter().map(named).collect();
                Err(Failure::TooLarge(each.join("\nerror: ")))
            }
        }
    }
}

/// Runs `run` for each of `items` on all threads, with a progress bar; results are in the order of the items.
pub fn each<T: Sync, R: Send>(
    items: &[T],
    jobs: usize,
    quiet: bool,
    run: impl Fn(&T) -> Result<R, Stopped> + Sync,
) -> Result<Vec<R>, Failure> {
    use rayon::prelude::*;
    watch_for_interrupt();
    let bar = progress(items.len() as u64, quiet);
    let all: Result<Vec<R>, Stopped> = threads(jobs)?.install(|| {
        let run = |item| {
            let result = if stopped() { Err(Stopped::Interrupted) } else { run(item) };
            bar.inc(1);
            result
        };
        // One at a time: they differ in size, and the last ones should run in parallel.
        items.par_iter().with_max_len(1).map(run).collect()
    });
    bar.finish_and_clear();
    Ok(all?)
}

fn progress(runs: u64, quiet: bool) -> ProgressBar {
    // On standard error and only where that is a terminal: results and logs stay clean.
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(runs), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
