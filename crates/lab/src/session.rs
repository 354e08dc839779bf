//! A run that the page advances, together with the scenario that it runs.

use std::collections::BTreeMap;

use evenkeel_core::select::catalog;
use evenkeel_core::units::Nanos;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::sim::act::{Act, TimedAct};
use evenkeel_sim::sim::model::Fault;
use evenkeel_sim::sim::{Run, Stopped};
use self_cell::self_cell;
use serde::Deserialize;

use crate::live::{LiveMetrics, Series};
use crate::moves::{Moves, moves};
use crate::watch::{EVENT_VALUES, EventKind, Watch, struck};
use crate::why::Why;
use crate::{Refusal, RunResult, frame};

/// Bins of the time series of a run in the lab, over warm-up and measured span. Metrics do not depend on it.
pub(crate) const BINS: u32 = 200;

/// A run to be opened, as in `web/lab/engine.ts`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenRequest {
    /// File name of the scenario without its ending. Nothing that is random depends on it.
    pub name: String,
    /// The scenario as TOML.
    pub source: String,
    /// Text of the files that it refers to, by the path as written in it.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Label of one of the scenario's strategies, or any strategy as on the command line (`p2c(choices=3)`).
    pub strategy: String,
    /// Seed of the experiment; `None` for the scenario's.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Number of the replication; 0 is the first of `evenkeel run`.
    #[serde(default)]
    pub replication: u32,
    /// Log of acts, ascending in time.
    #[serde(default)]
    pub acts: Vec<TimedAct>,
    /// Warm-up in seconds for a scenario that leaves it to a pilot run; otherwise without effect.
    #[serde(default)]
    pub warmup: Option<f64>,
}

/// A scenario with the variant and the replication that are to run.
pub(crate) struct Plan {
    pub scenario: Scenario,
    pub variant: usize,
    pub replication: u32,
}

impl OpenRequest {
    /// Reads the scenario and finds the strategy.
    pub(crate) fn plan(&self) -> Result<Plan, Refusal> {
        let mut scenario = read(&self.name, &self.source, &self.files)?;
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        if scenario.needs_pilot() {
            let tenth = Nanos(scenario.model.duration.0 / 10);
            let warmup = self.warmup.filter(|seconds| (0.0..1e9).contains(seconds));
            let warmup = warmup.map_or(tenth, Nanos::from_secs_f64);
            scenario.settle(warmup, warmup);
        }
        scenario.add_acts(&self.acts).map_err(|(index, error)| {
            let refusal = Refusal::from(error);
            Refusal { message: format!("act {} of the log: {}", index + 1, refusal.message), ..refusal }
        })?;
        let known = scenario.variants.iter().position(|variant| variant.label == self.strategy);
        let variant = match known {
            Some(variant) => variant,
            None => {
                let parsed = catalog::parse(&self.strategy).map_err(|message| {
                    let (message, help) = message.split_once("\n  help: ").unwrap_or((&message, ""));
                    Refusal { help: Some(help.to_owned()).filter(|help| !help.is_empty()), ..Refusal::new(message) }
                })?;
                scenario.add_strategy(parsed)
            }
        };
        Ok(Plan { scenario, variant, replication: self.replication })
    }
}

/// Reads a scenario that can be simulated.
pub(crate) fn read(name: &str, source: &str, files: &BTreeMap<String, String>) -> Result<Scenario, Refusal> {
    let file =
        |path: &str| files.get(path).cloned().ok_or_else(|| format!("there is no file `{path}` beside the scenario"));
    let scenario = Scenario::parse(name, source, &file).map_err(|problems| Refusal::of(source, &problems))?;
    match scenario.refusals.is_empty() {
        true => Ok(scenario),
        false => Err(Refusal::of(source, &scenario.refusals)),
    }
}

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// It goes on.
    Going = 0,
    /// It is over.
    Over = 1,
    /// It has grown too large and cannot go on; [`Session::failure`] says why.
    Failed = 2,
}

type Running<'m> = Run<'m, Watch<'m>>;
/// `None` once the run has been closed for its record.
type Slot<'m> = Option<Running<'m>>;

self_cell!(
    /// A run beside the scenario that it borrows.
    struct Cell {
        owner: Plan,
        #[not_covariant]
        dependent: Slot,
    }
);

/// A run in progress with its scenario.
pub struct Session {
    cell: Cell,
    series: Series,
    /// What is left of a run that has been closed.
    closed: Option<Closed>,
}

/// What the page can still ask of a closed run.
struct Closed {
    result: RunResult,
    frame: Vec<f64>,
    events: Vec<f64>,
    metrics: LiveMetrics,
    why: Option<Why>,
}

impl Session {
    /// Opens a run at its start.
    ///
    /// # Errors
    /// What is wrong with the scenario, the strategy or an act.
    pub fn open(request: &OpenRequest) -> Result<Session, Refusal> {
        let mut plan = request.plan()?;
        plan.scenario.model.bins = BINS;
        let cell = Cell::new(plan, |Plan { scenario, variant, replication }| {
            Some(Run::new(&scenario.setup(*variant, *replication), Watch::new(&scenario.model)))
        });
        Ok(Session { cell, series: Series::default(), closed: None })
    }

    /// The scenario that runs.
    pub fn scenario(&self) -> &Scenario {
        &self.cell.borrow_owner().scenario
    }

    /// Calls with the run; `None` if it has been closed.
    fn with<T>(&mut self, call: impl FnOnce(&Scenario, &mut Running<'_>) -> T) -> Option<T> {
        self.cell.with_dependent_mut(|plan, run| run.as_mut().map(|run| call(&plan.scenario, run)))
    }

    /// Handles one event.
    pub fn step(&mut self) -> Stepped {
        let stepped = self.with(|_, run| match run.step() {
            Ok(Some(_)) if !run.is_over() => Stepped::Going,
            Ok(_) => Stepped::Over,
            Err(_) => Stepped::Failed,
        });
        stepped.unwrap_or(Stepped::Over)
    }

    /// Advances to a time; to the end for one after it.
    pub fn step_until(&mut self, time: Nanos) -> Stepped {
        let stepped = self.with(|_, run| match run.step_until(time) {
            Ok(()) if run.is_over() => Stepped::Over,
            Ok(()) => Stepped::Going,
            Err(_) => Stepped::Failed,
        });
        stepped.unwrap_or(Stepped::Over)
    }

    /// Why the run cannot go on; `None` where it can, or is over.
    pub fn failure(&mut self) -> Option<String> {
        self.with(|_, run| match run.step_until(Nanos::ZERO) {
            Err(Stopped::TooLarge(size)) => Some(size.to_string()),
            _ => None,
        })?
    }

    /// Applies an act at the present time; returns that time and the faults that it began, numbered as in events.
    ///
    /// # Errors
    /// What is wrong with the act.
    pub fn act(&mut self, act: &Act) -> Result<(Nanos, Vec<(u32, Fault)>), Refusal> {
        let acted = self.with(|_, run| {
            let first = run.faults();
            let at = run.act(act)?;
            Ok((at, (first..run.faults()).map(|fault| (fault, run.fault(fault).clone())).collect()))
        });
        acted.unwrap_or_else(|| Err(Refusal::new("the run is over")))
    }

    /// Whether events are collected, and decisions explained.
    pub fn trace(&mut self, events: bool, decisions: bool) {
        let _ = self.with(|_, run| run.observer_mut().collect(events, decisions));
    }

    /// The latest decision for a job, of any job where it is `None`. `None` where it is not among the last ones that were explained.
    pub fn why(&mut self, job: Option<u32>) -> Option<Why> {
        match &self.closed {
            Some(closed) if job.is_none_or(|job| closed.why.as_ref().is_some_and(|why| why.job == job)) => {
                closed.why.clone()
            }
            Some(_) => None,
            None => self.with(|_, run| run.observer().decisions.find(job).cloned())?,
        }
    }

    /// What moves when a server leaves, numbered over all pools; `None` where the strategy does not hash.
    pub fn moves(&self, server: u32) -> Option<Moves> {
        let Plan { scenario, variant, .. } = self.cell.borrow_owner();
        moves(scenario, *variant, server)
    }

    /// The state of the run: [`crate::HEADER`], then [`crate::PER_SERVER`] for each server.
    pub fn frame(&mut self) -> Vec<f64> {
        match &self.closed {
            Some(closed) => closed.frame.clone(),
            None => self.with(|scenario, run| frame::frame(scenario, run)).unwrap_or_default(),
        }
    }

    /// The events since the last call, [`EVENT_VALUES`] numbers each.
    pub fn events(&mut self) -> Vec<f64> {
        if let Some(closed) = &mut self.closed {
            return std::mem::take(&mut closed.events);
        }
        let events = self.with(|_, run| {
            let now = run.now();
            let mut events = run.observer_mut().take_events(now);
            let bases = run.observer().bases.clone();
            for event in events.chunks_exact_mut(EVENT_VALUES) {
                let kind = event[0] as u8;
                if kind == EventKind::FaultStarted as u8 || kind == EventKind::FaultEnded as u8 {
                    (event[3], event[4]) = struck(&bases, run.fault(event[2] as u32).target);
                }
            }
            events
        });
        events.unwrap_or_default()
    }

    /// What has been measured so far.
    pub fn metrics(&mut self) -> LiveMetrics {
        if let Some(closed) = &self.closed {
            return closed.metrics.clone();
        }
        let mut series = std::mem::take(&mut self.series);
        let metrics = self.with(|scenario, run| LiveMetrics::of(scenario, run, &mut series));
        self.series = series;
        metrics.unwrap_or_default()
    }

    /// The result of the run, which must be over: as `evenkeel run` writes it.
    ///
    /// # Errors
    /// If the run is not over, or cannot end.
    pub fn record(&mut self) -> Result<RunResult, Refusal> {
        if let Some(closed) = &self.closed {
            return Ok(closed.result.clone());
        }
        if self.with(|_, run| run.is_over()) != Some(true) {
            let why = self.failure().unwrap_or_else(|| "the run is not over".to_owned());
            return Err(Refusal::new(why));
        }
        let (frame, events, metrics, why) = (self.frame(), self.events(), self.metrics(), self.why(None));
        let result = self.cell.with_dependent_mut(|plan, run| {
            let record = run.take().and_then(|run| run.finish().ok()).map(|(record, _)| record);
            record.map(|record| RunResult::of(&plan.scenario, &record))
        });
        let result = result.ok_or_else(|| Refusal::new("the run cannot end"))?;
        let metrics = LiveMetrics { values: result.values.clone(), count: result.measured, ..metrics };
        self.closed = Some(Closed { result: result.clone(), frame, events, metrics, why });
        Ok(result)
    }
}
