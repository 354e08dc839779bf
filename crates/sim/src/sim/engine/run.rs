//! A run that its caller advances: by an event, to a time, or to its end. Acts change it on the way.
//!
//! What happens does not depend on the steps in which a run is advanced, nor on whether a fault is struck by an act or is
//! part of the model.

use super::{Engine, Look, Setup, Stopped, TooLarge};
use crate::sim::act::{self, Act, ActError};
use crate::sim::model::{Fault, Model};
use crate::sim::observer::Observer;
use crate::sim::queue::{Key, Queue, time};
use crate::sim::record::{Bin, Measured, RunRecord};
use evenkeel_core::units::Nanos;

/// A run in progress, with its observer.
///
/// ```
/// use evenkeel_core::units::Nanos;
/// use evenkeel_sim::scenario::Scenario;
/// use evenkeel_sim::sim::Run;
/// # let source = r#"
/// # title = "Two servers"
/// # question = "Which one?"
/// # duration = "2s"
/// # strategies = ["p2c"]
/// # arrivals = { poisson = { rate = "900/s" } }
/// # service = { exponential = { mean = "1ms" } }
/// # [[pools]]
/// # name = "web"
/// # [[pools.servers]]
/// # name = "a"
/// # [[pools.servers]]
/// # name = "b"
/// # "#;
/// # let scenario = Scenario::parse("two", source, &|file| Err(file.to_owned())).unwrap();
/// let mut run = Run::new(&scenario.setup(0, 0), ());
/// run.step_until(Nanos::from_millis(500)).unwrap();
/// let look = run.look();
/// assert_eq!(look.time, Nanos::from_millis(500));
/// for pool in look.pools() {
///     for server in pool.servers() {
///         assert_eq!(server.condition.slowdown, 1.0, "{} has no fault", server.name);
///     }
/// }
/// let (record, _) = run.finish().unwrap();
/// let whole = evenkeel_sim::sim::observe(&scenario.setup(0, 0), &|| false, &mut ()).unwrap();
/// assert_eq!(record.pick_hash, whole.pick_hash);
/// ```
pub struct Run<'m, O> {
    engine: Engine<'m, O>,
    /// Whether every event before the present time has been handled, and none at it but faults and load changes.
    between: bool,
    progress: Progress,
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Going,
    Over,
    TooLarge(TooLarge),
}

impl<'m, O: Observer> Run<'m, O> {
    /// A run at its start: time 0, no event handled.
    pub fn new(setup: &Setup<'m>, observer: O) -> Run<'m, O> {
        Run { engine: Engine::new(setup, observer), between: true, progress: Progress::Going }
    }

    /// The experiment.
    pub fn model(&self) -> &'m Model {
        self.engine.model
    }

    /// The present time, since the start of the run.
    pub fn now(&self) -> Nanos {
        self.engine.now
    }

    /// Whether the run has reached its end: every measured request has ended, or the time for that is over.
    pub fn is_over(&self) -> bool {
        self.progress == Progress::Over
    }

    /// The observer.
    pub fn observer(&self) -> &O {
        &self.engine.observer
    }

    /// The observer, for example to take what it has collected.
    pub fn observer_mut(&mut self) -> &mut O {
        &mut self.engine.observer
    }

    /// A fault by the number that observers get: the model's faults come first, then those of acts.
    ///
    /// # Panics
    /// If there is no such fault.
    pub fn fault(&self, index: u32) -> &Fault {
        self.engine.fault_at(index)
    }

    /// Number of faults so far: the model's, and those of acts.
    pub fn faults(&self) -> u32 {
        (self.engine.model.faults.len() + self.engine.struck.len()) as u32
    }

    /// What has been measured so far, with the same definitions as at the end, except that requests in the system are in none of
    /// the counts yet. `None` during the warm-up. Takes time in proportion to the number of servers and classes of requests, and
    /// changes nothing in the results.
    pub fn measured(&mut self) -> Option<Measured> {
        self.engine.measured_so_far()
    }

    /// The bins of the time series that are over ([`RunRecord::series`]).
    pub fn series(&self) -> &[Bin] {
        self.engine.measuring.series.closed()
    }

    /// The state of the run now.
    pub fn look(&self) -> Look<'_> {
        self.engine.look(self.is_over())
    }

    /// Handles one event, and returns its time; `None` if the run is over.
    ///
    /// # Errors
    /// [`Stopped::TooLarge`], also on every later call.
    pub fn step(&mut self) -> Result<Option<Nanos>, Stopped> {
        if !self.goes_on()? {
            return Ok(None);
        }
        match self.engine.queue.next() {
            Some((at, alone)) if at <= self.limit() => {
                self.advance(alone, &|| false)?;
                self.between = false;
                Ok(Some(self.engine.now))
            }
            next => {
                self.end(next.is_some());
                Ok(None)
            }
        }
    }

    /// Handles every event before `time`, which is then the present time unless the run is over before. A time that has passed
    /// changes nothing.
    ///
    /// # Errors
    /// [`Stopped::TooLarge`], also on every later call.
    pub fn step_until(&mut self, time: Nanos) -> Result<(), Stopped> {
        self.run_until(time, &|| false)
    }

    /// Runs to the end. `interrupted` is polled periodically; an interrupted run can be continued.
    ///
    /// # Errors
    /// Why it has no result.
    pub fn complete(&mut self, interrupted: &dyn Fn() -> bool) -> Result<(), Stopped> {
        self.run_until(Nanos::MAX, interrupted)
    }

    /// Runs to the end if it is not there yet. Returns the result and the observer.
    ///
    /// # Errors
    /// [`Stopped::TooLarge`].
    pub fn finish(mut self) -> Result<(RunRecord, O), Stopped> {
        self.complete(&|| false)?;
        Ok(self.engine.close())
    }

    /// Applies an act now, before any other event at this time, and returns the time: the same act at this time in a log has
    /// the same effect. If events at the present time have been handled already, as after [`Run::step`], the run advances by
    /// 1 ns first.
    ///
    /// # Errors
    /// What is wrong with the act; the run is unchanged then, except for that nanosecond.
    pub fn act(&mut self, act: &Act) -> Result<Nanos, ActError> {
        let stopped = |stopped| match stopped {
            Stopped::Interrupted => ActError::of_run("the run was interrupted"),
            Stopped::TooLarge(size) => ActError::of_run(size.to_string()),
        };
        if !self.between {
            self.step_until(Nanos(self.engine.now.0 + 1)).map_err(stopped)?;
        }
        if !self.goes_on().map_err(stopped)? {
            return Err(ActError::of_run("the run is over"));
        }
        let now = self.engine.now;
        match act {
            Act::Strike(strike) => {
                let faults = act::faults(self.engine.model, now, strike)?;
                self.engine.strike(faults);
            }
            Act::SetLoad(load) => {
                act::check_load(self.engine.model, now, load)?;
                self.engine.schedule_load(now, load.factor);
            }
        }
        self.advance(Queue::with_firsts(now), &|| false).map_err(stopped)?;
        Ok(now)
    }

    /// The last time at which an event may happen.
    fn limit(&self) -> Nanos {
        let model = self.engine.model;
        model.warmup + model.duration + model.drain
    }

    fn goes_on(&self) -> Result<bool, Stopped> {
        match self.progress {
            Progress::Going => Ok(true),
            Progress::Over => Ok(false),
            Progress::TooLarge(size) => Err(Stopped::TooLarge(size)),
        }
    }

    fn run_until(&mut self, time: Nanos, interrupted: &dyn Fn() -> bool) -> Result<(), Stopped> {
        if !self.goes_on()? || time <= self.engine.now {
            return Ok(());
        }
        let end = Nanos(self.limit().0.saturating_add(1));
        self.advance(Queue::before(time.min(end)), interrupted)?;
        if self.progress != Progress::Going {
            return Ok(());
        }
        match self.engine.queue.next() {
            Some(_) if time < end => (self.engine.now, self.between) = (time, true),
            next => self.end(next.is_some()),
        }
        Ok(())
    }

    /// The run ends without a further event: at its limit if there are later events, else with the last one.
    fn end(&mut self, at_limit: bool) {
        if at_limit {
            self.engine.now = self.limit();
        }
        self.progress = Progress::Over;
    }

    /// Handles every event before `bound`, or until the run is over. Checked periodically: an interruption, and the size.
    fn advance(&mut self, bound: Key, interrupted: &dyn Fn() -> bool) -> Result<(), Stopped> {
        let engine = &mut self.engine;
        while let Some((key, event)) = engine.queue.pop_before(bound) {
            let at = time(key);
            debug_assert!(at >= engine.now, "time runs backwards");
            (engine.now, engine.key) = (at, key);
            engine.events += 1;
            engine.handle(event);
            if engine.measuring.over && engine.totals.measured_left == 0 {
                self.progress = Progress::Over;
                return Ok(());
            }
            if engine.events.is_multiple_of(1 << 16) {
                engine.take_answers();
                if interrupted() {
                    self.between = false;
                    return Err(Stopped::Interrupted);
                }
                if let Err(size) = engine.check_size() {
                    self.progress = Progress::TooLarge(size);
                    return Err(Stopped::TooLarge(size));
                }
            }
        }
        engine.key = bound;
        while let Some(at) = engine.take_answer() {
            engine.now = at;
        }
        Ok(())
    }
}
