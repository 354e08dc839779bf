//! Doing many runs at once. The unit of work is (scenario, point, strategy, replication); units are taken in order, so
//! studies finish one after the other, and each is handed on as soon as its last unit is done. How many threads there are
//! changes nothing in any result; nor does it matter which units are run now and which were found on disk.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::experiment::{Experiment, Point, Precision};
use super::run_cache::{RunCache, unit_id};
use super::{Failure, tracing};
use crate::report::{Outcome, Reached};
use evenkeel_config::terminal::one_line;
use evenkeel_core::units::Nanos;
use evenkeel_sim::measure::warmup::{self, Clock};
use evenkeel_sim::measure::{Summary, Tally};
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::Stopped;
use evenkeel_sim::sim::record::RunRecord;

/// Set by Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Lets Ctrl-C finish what is being written; a second one ends at once.
pub fn watch_for_interrupt() {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(super::INTERRUPTED.into());
        }
    };
    // It fails only if a handler is already there, which then is ours.
    let _ = ctrlc::set_handler(handler);
}

pub fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// How to go about it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Threads; 0 for one per processor.
    pub jobs: usize,
    /// No progress.
    pub quiet: bool,
    /// Where finished units are kept.
    pub cache: RunCache,
    /// Run only part `i` (from 0) of `n` of the units.
    pub shard: Option<(u32, u32)>,
    /// Run nothing: everything must be in the store.
    pub stored_only: bool,
    /// Write every request of every run below this folder.
    pub trace: Option<PathBuf>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Units that were run now.
    pub run: usize,
    /// Units that were found in the store.
    pub found: usize,
    /// Units that were left to other shards, or are missing.
    pub left: usize,
}

#[derive(Clone, Copy, Debug)]
struct Unit {
    experiment: usize,
    point: usize,
    contestant: usize,
    replication: u32,
}

/// Runs all of it. `done` is called for each study in their order, as they finish, and may fail.
pub fn run<'a>(
    experiments: &'a [Experiment],
    options: &Options,
    done: impl Fn(&'a Experiment, Vec<Outcome<'a>>, &ProgressBar) -> anyhow::Result<()> + Sync,
) -> Result<Done, Failure> {
    watch_for_interrupt();
    let units = all_units(experiments);
    let mine = |i: usize| options.shard.is_none_or(|(part, of)| i as u32 % of == part);
    let pending: VecDeque<Unit> = units.iter().enumerate().filter(|(i, _)| mine(*i)).map(|(_, unit)| *unit).collect();
    let left = units.len() - pending.len();
    let bar = progress(pending.len() as u64, options.quiet);
    let scheduler = Scheduler {
        experiments,
        options,
        bar: &bar,
        states: experiments
            .iter()
            .map(|experiment| experiment.points.iter().map(|_| Mutex::new(PointState::Empty)).collect())
            .collect(),
        unfinished: experiments.iter().map(|experiment| AtomicUsize::new(experiment.points.len())).collect(),
        queue: Mutex::new(WorkQueue {
            pending,
            busy: 0,
            done: Done { left, ..Done::default() },
            too_large: BTreeMap::new(),
            error: None,
        }),
        changed: Condvar::new(),
        in_order: Mutex::new(InOrder { next: 0, waiting: experiments.iter().map(|_| Slot::Open).collect() }),
    };
    let pool = threads(options.jobs)?;
    pool.scope(|scope| (0..pool.current_num_threads()).for_each(|_| scope.spawn(|_| scheduler.work(&done))));
    bar.finish_and_clear();
    let queue = scheduler.queue.into_inner().expect("no worker panics");
    match queue.error {
        Some(error) => Err(Failure::Broken(error)),
        None if stopped() => Err(Failure::Interrupted),
        None if queue.too_large.is_empty() => Ok(queue.done),
        None => {
            let each = queue
                .too_large
                .into_iter()
                .map(|(experiment, text)| format!("{}: {text}", experiments[experiment].folder()));
            Err(Failure::TooLarge(each.collect::<Vec<_>>().join("\nerror: ")))
        }
    }
}

fn all_units(experiments: &[Experiment]) -> Vec<Unit> {
    let mut units = Vec::new();
    for (experiment, s) in experiments.iter().enumerate() {
        for (point, p) in s.points.iter().enumerate() {
            for contestant in 0..p.scenario.contestants.len() {
                let unit = |replication| Unit { experiment, point, contestant, replication };
                units.extend((0..p.scenario.replications).map(unit));
            }
        }
    }
    units
}

pub fn threads(jobs: usize) -> Result<rayon::ThreadPool, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build();
    pool.map_err(|error| Failure::Broken(anyhow::anyhow!("cannot start threads: {error}")))
}

/// Where the workers meet.
struct Scheduler<'a, 'b> {
    experiments: &'a [Experiment],
    options: &'b Options,
    bar: &'b ProgressBar,
    /// By study, then by point.
    states: Vec<Vec<Mutex<PointState>>>,
    /// By study: points that are not complete.
    unfinished: Vec<AtomicUsize>,
    queue: Mutex<WorkQueue>,
    /// There is more to do, or nothing will ever be.
    changed: Condvar,
    in_order: Mutex<InOrder<'a>>,
}

/// What is still to do.
struct WorkQueue {
    pending: VecDeque<Unit>,
    /// Units that are being worked on: they may bring more.
    busy: usize,
    done: Done,
    /// By study: the first of its runs that was too large.
    too_large: BTreeMap<usize, String>,
    error: Option<anyhow::Error>,
}

impl<'a> Scheduler<'a, '_> {
    fn queue(&self) -> MutexGuard<'_, WorkQueue> {
        self.queue.lock().expect("no worker panics")
    }

    fn work(&self, done: &(impl Fn(&'a Experiment, Vec<Outcome<'a>>, &ProgressBar) -> anyhow::Result<()> + Sync)) {
        while let Some(unit) = self.next() {
            let result = self.unit(unit, done);
            let mut queue = self.queue();
            queue.busy -= 1;
            if let Err(error) = result {
                queue.error.get_or_insert(error);
                STOP.store(true, Ordering::SeqCst);
            }
            self.changed.notify_all();
        }
    }

    /// The next unit; waits while others may bring more.
    fn next(&self) -> Option<Unit> {
        let mut queue = self.queue();
        loop {
            if stopped() {
                return None;
            }
            if let Some(unit) = queue.pending.pop_front() {
                queue.busy += 1;
                return Some(unit);
            }
            if queue.busy == 0 {
                return None;
            }
            // Woken now and then to see an interrupt.
            queue = self.changed.wait_timeout(queue, Duration::from_millis(100)).expect("no worker panics").0;
        }
    }

    fn unit(
        &self,
        unit: Unit,
        done: &impl Fn(&'a Experiment, Vec<Outcome<'a>>, &ProgressBar) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let experiment = &self.experiments[unit.experiment];
        let point = &experiment.points[unit.point];
        self.bar.set_message(one_line(&experiment.plan.name).into_owned());
        let Some(record) = self.record(experiment, point, unit, done)? else { return Ok(()) };
        let next = self.point_state(unit.experiment, unit.point).take_in(experiment, point, unit, &record);
        self.bar.inc(1);
        match next {
            Next::Wait => {}
            Next::More(from, to) => {
                let contestants = point.scenario.contestants.len();
                let mut queue = self.queue();
                // In front of all others, in their order.
                for contestant in (0..contestants).rev() {
                    for replication in (from..to).rev() {
                        queue.pending.push_front(Unit { contestant, replication, ..unit });
                    }
                }
                self.bar.inc_length(u64::from(to - from) * contestants as u64);
            }
            Next::Finished => self.finish(unit.experiment, done)?,
        }
        Ok(())
    }

    fn point_state(&self, experiment: usize, point: usize) -> MutexGuard<'_, PointState> {
        self.states[experiment][point].lock().expect("no worker panics")
    }

    /// Runs a unit or finds it. `None` when interrupted, when it is too large, or when it is missing and nothing may be run.
    fn record(
        &self,
        experiment: &Experiment,
        point: &Point,
        unit: Unit,
        done: &impl Fn(&'a Experiment, Vec<Outcome<'a>>, &ProgressBar) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<RunRecord>> {
        let scenario = &point.scenario;
        let id = unit_id(scenario, unit.contestant, unit.replication);
        // A trace is written by running.
        if self.options.trace.is_none()
            && let Some(record) = self.options.cache.load(experiment, &id)
        {
            self.queue().done.found += 1;
            return Ok(Some(record));
        }
        if self.options.stored_only {
            self.queue().done.left += 1;
            return Ok(None);
        }
        let setup = scenario.setup(unit.contestant, unit.replication);
        let record = match &self.options.trace {
            Some(folder) => {
                let label = &scenario.contestants[unit.contestant].label;
                let name = tracing::file_name(&point.name, label, unit.replication);
                tracing::run(scenario, &setup, &stopped, &folder.join(experiment.folder()).join("trace").join(name))?
            }
            None => evenkeel_sim::sim::observe(&setup, &stopped, &mut ()),
        };
        let record = match record {
            Ok(record) => record,
            Err(Stopped::Interrupted) => return Ok(None),
            Err(Stopped::TooLarge(size)) => {
                let label = &scenario.contestants[unit.contestant].label;
                self.give_up(unit.experiment, format!("{label}, run {}: {size}", unit.replication + 1), done)?;
                return Ok(None);
            }
        };
        self.options.cache.save(experiment, &id, &record)?;
        self.queue().done.run += 1;
        Ok(Some(record))
    }

    /// A study cannot be completed: what is left of it is not run, the others go on.
    fn give_up(
        &self,
        experiment: usize,
        why: String,
        done: &impl Fn(&'a Experiment, Vec<Outcome<'a>>, &ProgressBar) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut queue = self.queue();
        queue.too_large.entry(experiment).or_insert(why);
        let before = queue.pending.len();
        queue.pending.retain(|unit| unit.experiment != experiment);
        self.bar.inc((before - queue.pending.len()) as u64);
        drop(queue);
        self.hand_on(experiment, Slot::GivenUp, done)
    }

    /// A point is complete; its study may be, too.
    fn finish(
        &self,
        experiment: usize,
        done: &impl Fn(&'a Experiment, Vec<Outcome<'a>>, &ProgressBar) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.unfinished[experiment].fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        let outcome = |(i, point): (usize, &'a Point)| {
            let PointState::Complete(complete) =
                std::mem::replace(&mut *self.point_state(experiment, i), PointState::Empty)
            else {
                unreachable!("every point of the study is complete")
            };
            Outcome {
                scenario: &point.scenario,
                point: &point.name,
                place: &point.place,
                replications: complete.replications,
                summaries: complete.summaries,
                precision: complete.reached,
            }
        };
        let outcomes = self.experiments[experiment].points.iter().enumerate().map(outcome).collect();
        self.hand_on(experiment, Slot::Complete(outcomes), done)
    }

    /// A study is at its end; those whose turn it is are handed on.
    fn hand_on(
        &self,
        experiment: usize,
        slot: Slot<'a>,
        done: &impl Fn(&'a Experiment, Vec<Outcome<'a>>, &ProgressBar) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut in_order = self.in_order.lock().expect("no worker panics");
        if in_order.next > experiment {
            // Two runs of it were too large.
            return Ok(());
        }
        in_order.waiting[experiment] = slot;
        while let Some(slot @ (Slot::Complete(_) | Slot::GivenUp)) = in_order.take() {
            let experiment = &self.experiments[in_order.next - 1];
            if let Slot::Complete(outcomes) = slot {
                done(experiment, outcomes, self.bar)?;
            }
        }
        Ok(())
    }
}

/// Lets finished studies through in their order.
struct InOrder<'a> {
    next: usize,
    waiting: Vec<Slot<'a>>,
}

/// How far a study is.
enum Slot<'a> {
    /// Not at its end.
    Open,
    Complete(Vec<Outcome<'a>>),
    /// One of its runs was too large.
    GivenUp,
}

impl<'a> InOrder<'a> {
    /// The next study, where it is at its end.
    fn take(&mut self) -> Option<Slot<'a>> {
        let slot = self.waiting.get_mut(self.next)?;
        if matches!(slot, Slot::Open) {
            return None;
        }
        self.next += 1;
        Some(std::mem::replace(slot, Slot::Open))
    }
}

/// What is known of a point. Only those that are being worked on hold tallies.
enum PointState {
    Empty,
    Working(PointRuns),
    Complete(Complete),
}

/// A point whose last run has come in.
struct Complete {
    summaries: Vec<Summary>,
    /// Replications of each variant.
    replications: u32,
    reached: Option<Reached>,
}

impl PointState {
    fn take_in(&mut self, experiment: &Experiment, point: &Point, unit: Unit, record: &RunRecord) -> Next {
        if matches!(self, PointState::Empty) {
            *self = PointState::Working(PointRuns::new(point));
        }
        let PointState::Working(runs) = self else { unreachable!("a complete point has no runs left") };
        match runs.take_in(experiment, point, unit, record) {
            Step::Wait => Next::Wait,
            Step::More(from, to) => Next::More(from, to),
            Step::Complete(complete) => {
                *self = PointState::Complete(complete);
                Next::Finished
            }
        }
    }
}

/// Where a point's runs come together.
struct PointRuns {
    /// By variant.
    columns: Vec<Column>,
    /// Replications that each is to have.
    wanted: u32,
}

/// A variant's runs. Tallies are large, so there is one from the first run to the last.
enum Column {
    Empty,
    Tally(Box<Tally>),
    Summary(Box<Summary>),
}

/// What a run's record leads to at its desk.
enum Step {
    Wait,
    /// Replications from, up to but not.
    More(u32, u32),
    Complete(Complete),
}

enum Next {
    Wait,
    /// Replications from, up to but not.
    More(u32, u32),
    Finished,
}

impl PointRuns {
    fn new(point: &Point) -> PointRuns {
        let scenario = &point.scenario;
        let columns = scenario.contestants.iter().map(|_| Column::Empty).collect();
        PointRuns { columns, wanted: scenario.replications }
    }

    fn take_in(&mut self, experiment: &Experiment, point: &Point, unit: Unit, record: &RunRecord) -> Step {
        let scenario = &point.scenario;
        let column = &mut self.columns[unit.contestant];
        if matches!(column, Column::Empty) {
            *column = Column::Tally(Box::new(Tally::new(scenario, unit.contestant)));
        }
        let Column::Tally(tally) = column else { unreachable!("a contestant with all its runs gets no more") };
        tally.take_in(scenario, unit.replication, record);
        let Some(precision) = experiment.plan.settings.precision else {
            if tally.replications() >= self.wanted {
                *column = Column::Summary(Box::new(tally.summary(scenario)));
            }
            if self.columns.iter().any(|column| !matches!(column, Column::Summary(_))) {
                return Step::Wait;
            }
            let summaries = self.columns.drain(..).filter_map(|column| match column {
                Column::Summary(summary) => Some(*summary),
                _ => None,
            });
            let summaries = summaries.collect();
            return Step::Complete(Complete { summaries, replications: self.wanted, reached: None });
        };
        let tallies: Vec<&Tally> = self
            .columns
            .iter()
            .filter_map(|column| match column {
                Column::Tally(tally) if tally.replications() >= self.wanted => Some(&**tally),
                _ => None,
            })
            .collect();
        if tallies.len() < self.columns.len() {
            return Step::Wait;
        }
        let summaries: Vec<Summary> = tallies.iter().map(|tally| tally.summary(scenario)).collect();
        let reached = reached(&summaries, precision);
        let from = self.wanted;
        match further(&reached, precision, from) {
            Some(to) => {
                self.wanted = to;
                Step::More(from, to)
            }
            None => Step::Complete(Complete { summaries, replications: self.wanted, reached: Some(reached) }),
        }
    }
}

/// How tight the loosest interval is that is to be tight.
fn reached(summaries: &[Summary], precision: Precision) -> Reached {
    let mut worst = Reached { target: precision.target, half_width: 0.0, loosest: String::new() };
    // A course of events has no steady state to be overloaded in; there every strategy counts.
    for summary in summaries.iter().filter(|summary| summary.ranks()) {
        for metric in ["latency.mean", "latency.p99"] {
            let half_width = summary.estimate(metric).relative_half_width();
            // No interval yet is looser than any.
            let half_width = if half_width.is_finite() { half_width } else { f64::INFINITY };
            let loosest = worst.loosest.is_empty() || half_width > worst.half_width;
            if loosest && summary.value(metric).is_finite() {
                worst = Reached { half_width, loosest: format!("{metric} of {}", summary.label), ..worst };
            }
        }
    }
    worst
}

/// Up to how many replications to go on; `None` when the intervals are tight enough or there are no more to be had.
fn further(reached: &Reached, precision: Precision, now: u32) -> Option<u32> {
    if reached.half_width <= precision.target || now >= precision.most {
        return None;
    }
    // Half widths fall as 1/√n. In steps of at most twice as many, since the first guesses of a spread are rough.
    let factor = (reached.half_width / precision.target) * (reached.half_width / precision.target);
    let guess = (f64::from(now) * factor).min(f64::from(now) * 2.0).ceil() as u32;
    Some(guess.max(now + 1).min(precision.most))
}

/// Finds the warm-up of every scenario that leaves it to MSER-5: a pilot from the first request on, the cut averaged over its
/// replications, the latest of all strategies, so that all are measured over the same requests.
pub fn find_warmup(experiments: &mut [Experiment], jobs: usize, quiet: bool) -> Result<(), Failure> {
    let mut waiting: Vec<&mut Scenario> = experiments
        .iter_mut()
        .flat_map(|experiment| experiment.points.iter_mut().map(|point| &mut point.scenario))
        .filter(|scenario| scenario.needs_pilot())
        .collect();
    if waiting.is_empty() {
        return Ok(());
    }
    let pilots: Vec<Scenario> = waiting.iter().map(|scenario| scenario.pilot()).collect();
    let units: Vec<(usize, usize)> =
        pilots.iter().enumerate().flat_map(|(p, pilot)| (0..pilot.contestants.len()).map(move |c| (p, c))).collect();
    let mut cuts = each(&units, jobs, quiet, |&(p, contestant)| cut(&pilots[p], contestant))?.into_iter();
    for (scenario, pilot) in waiting.iter_mut().zip(&pilots) {
        let cuts: Vec<(f64, f64)> = cuts.by_ref().take(pilot.contestants.len()).collect();
        let latest = |of: fn(&(f64, f64)) -> f64| cuts.iter().map(of).fold(0.0, f64::max);
        scenario.settle(Nanos::from_secs_f64(latest(|c| c.0)), Nanos::from_secs_f64(latest(|c| c.1)));
    }
    Ok(())
}

/// When latency and hit ratio of a variant settle, seconds; half of the run where they do not.
fn cut(pilot: &Scenario, contestant: usize) -> Result<(f64, f64), Stopped> {
    let mut tally = Tally::new(pilot, contestant);
    for replication in 0..pilot.replications {
        let record = evenkeel_sim::sim::observe(&pilot.setup(contestant, replication), &stopped, &mut ())?;
        tally.take_in(pilot, replication, &record);
    }
    let half = pilot.model.duration.as_secs_f64() / 2.0;
    let settling: Vec<warmup::Settling> = tally.settling(pilot);
    let of = |clock: Clock| settling.iter().find(|s| s.clock == clock).map_or(0.0, |s| s.after.unwrap_or(half));
    Ok((of(Clock::Latency), of(Clock::Cache)))
}

/// Runs `run` for each of `units` on all threads, with progress; what it gives is in their order.
pub fn each<T: Sync, R: Send>(
    units: &[T],
    jobs: usize,
    quiet: bool,
    run: impl Fn(&T) -> Result<R, Stopped> + Sync,
) -> Result<Vec<R>, Failure> {
    use rayon::prelude::*;
    watch_for_interrupt();
    let bar = progress(units.len() as u64, quiet);
    let all: Result<Vec<R>, Stopped> = threads(jobs)?.install(|| {
        let run = |unit| {
            let result = if stopped() { Err(Stopped::Interrupted) } else { run(unit) };
            bar.inc(1);
            result
        };
        // One at a time: they differ in size, and the last ones should not wait for each other.
        units.par_iter().with_max_len(1).map(run).collect()
    });
    bar.finish_and_clear();
    Ok(all?)
}

fn progress(units: u64, quiet: bool) -> ProgressBar {
    // On standard error and only where that is a terminal: results and logs stay clean.
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(units), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left  {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
