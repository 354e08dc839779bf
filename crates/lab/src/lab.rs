//! Everything that a page can ask, by handle or by the name of an operation.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::catalog::catalog;
use crate::describe::{self, Text};
use crate::edit::{Edit, edit};
use crate::session::{OpenRequest, Session, Stepped};
use crate::summary::{Results, summary};
use crate::{Refusal, RunResult};
use evenkeel_core::units::Nanos;
use evenkeel_sim::lesson::{Grade, GradeError, Lesson};
use evenkeel_sim::sim::act::Act;

/// Most runs that are open at a time.
const MOST_RUNS: usize = 64;

/// The answer of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A JSON document.
    Json(String),
    /// Numbers.
    Numbers(Vec<f64>),
}

impl Default for Output {
    fn default() -> Output {
        Output::Json(String::new())
    }
}

/// The open runs, and the answer of the last call. A handle counts from 1; those of closed runs are used again.
#[derive(Default)]
pub struct Lab {
    runs: Vec<Option<Box<Session>>>,
    output: Output,
}

/// A call by the name of its operation.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Call {
    Describe(Text),
    Catalog,
    Edit(Edit),
    Replication(OpenRequest),
    Summary(Results),
    Moves { handle: u32, server: u32 },
    Lesson { source: String },
    Grade { lesson: String, solution: String },
}

impl Lab {
    /// Without open runs.
    pub fn new() -> Lab {
        Lab::default()
    }

    /// The answer of the last call.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// The answer of the last call as text; empty where it is numbers.
    pub fn text(&self) -> &str {
        match &self.output {
            Output::Json(text) => text,
            Output::Numbers(_) => "",
        }
    }

    /// The answer of the last call as numbers; empty where it is text.
    pub fn numbers(&self) -> &[f64] {
        match &self.output {
            Output::Numbers(numbers) => numbers,
            Output::Json(_) => &[],
        }
    }

    /// Answers a call, given as JSON. Returns whether it was accepted; the answer is a [`Refusal`] if not.
    pub fn call(&mut self, request: &[u8]) -> bool {
        let answer = parsed::<Call>(request).and_then(|call| match call {
            Call::Describe(text) => describe::describe(&text).and_then(|found| json(&found)),
            Call::Catalog => json(&catalog()),
            Call::Edit(changes) => edit(&changes).and_then(|edited| json(&edited)),
            Call::Summary(results) => json(&summary(&results)),
            Call::Moves { handle, server } => self.session(handle).and_then(|run| json(&run.moves(server))),
            Call::Lesson { source } => read_lesson(&source).and_then(|lesson| json(&lesson)),
            Call::Grade { lesson, solution } => grade(&lesson, &solution).and_then(|grade| json(&grade)),
            Call::Replication(request) => RunResult::whole(&request).and_then(|result| json(&result)),
        });
        self.answer(answer)
    }

    /// Opens a run, given as JSON ([`OpenRequest`]). Returns its handle; 0 if it is refused.
    pub fn open(&mut self, request: &[u8]) -> u32 {
        let opened = parsed::<OpenRequest>(request).and_then(|request| Session::open(&request));
        let opened = opened.and_then(|session| {
            let free = self.runs.iter().position(Option::is_none);
            if free.is_none() && self.runs.len() >= MOST_RUNS {
                return Err(Refusal::new(format!("{MOST_RUNS} runs are open: close one")));
            }
            let index = free.unwrap_or_else(|| {
                self.runs.push(None);
                self.runs.len() - 1
            });
            self.runs[index] = Some(Box::new(session));
            Ok(index as u32 + 1)
        });
        match opened {
            Ok(handle) => {
                self.output = Output::Json(format!("{{\"handle\":{handle}}}"));
                handle
            }
            Err(refusal) => {
                self.answer(Err(refusal));
                0
            }
        }
    }

    /// Closes a run. Without effect for a handle that is not open.
    pub fn close(&mut self, handle: u32) {
        if let Some(run) = (handle as usize).checked_sub(1).and_then(|index| self.runs.get_mut(index)) {
            *run = None;
        }
    }

    fn session(&mut self, handle: u32) -> Result<&mut Session, Refusal> {
        let run = (handle as usize).checked_sub(1).and_then(|index| self.runs.get_mut(index));
        let run = run.and_then(Option::as_deref_mut);
        run.ok_or_else(|| Refusal::new(format!("no run has the handle {handle}")))
    }

    /// Handles one event of a run. Where the run has failed, the answer is a [`Refusal`].
    pub fn step(&mut self, handle: u32) -> Stepped {
        self.stepped(handle, Session::step)
    }

    /// Advances a run to a time, nanoseconds. What is no time advances nothing.
    pub fn step_until(&mut self, handle: u32, nanoseconds: f64) -> Stepped {
        self.stepped(handle, |session| session.step_until(Nanos::from_nanos_f64(nanoseconds)))
    }

    fn stepped(&mut self, handle: u32, call: impl FnOnce(&mut Session) -> Stepped) -> Stepped {
        let stepped = self.session(handle).and_then(|session| match call(session) {
            Stepped::Failed => Err(Refusal::new(session.failure().unwrap_or_default())),
            stepped => Ok(stepped),
        });
        stepped.unwrap_or_else(|refusal| {
            self.answer(Err(refusal));
            Stepped::Failed
        })
    }

    /// Applies an act, given as JSON, at the present time of a run.
    pub fn act(&mut self, handle: u32, act: &[u8]) -> bool {
        #[derive(Serialize)]
        struct Acted {
            at: u64,
            faults: Vec<describe::FaultText>,
        }
        let answer = parsed::<Act>(act).and_then(|act| {
            let session = self.session(handle)?;
            let (at, faults) = session.act(&act)?;
            let model = &session.scenario().model;
            let faults = faults.iter().map(|(number, fault)| describe::fault(model, *number, fault)).collect();
            json(&Acted { at: at.0, faults })
        });
        self.answer(answer)
    }

    /// Whether a run's events are collected, and its decisions explained.
    pub fn trace(&mut self, handle: u32, events: bool, decisions: bool) {
        if let Ok(session) = self.session(handle) {
            session.trace(events, decisions);
        }
    }

    /// The latest decision for a job of a run, of any job for a negative number; `null` where there is none.
    pub fn why(&mut self, handle: u32, job: i32) -> bool {
        let why = self.session(handle).map(|session| session.why(u32::try_from(job).ok()));
        let answer = why.and_then(|why| json(&why));
        self.answer(answer)
    }

    /// The state of a run, as numbers.
    pub fn frame(&mut self, handle: u32) {
        let frame = self.session(handle).map(Session::frame);
        self.give(frame);
    }

    /// The events of a run since the last call, as numbers.
    pub fn events(&mut self, handle: u32) {
        let events = self.session(handle).map(Session::events);
        self.give(events);
    }

    /// The metrics of a run so far.
    pub fn metrics(&mut self, handle: u32) -> bool {
        let answer = self.session(handle).and_then(|session| json(&session.metrics()));
        self.answer(answer)
    }

    /// The result of a run that is over.
    pub fn record(&mut self, handle: u32) -> bool {
        let answer = self.session(handle).and_then(Session::record).and_then(|result| json(&result));
        self.answer(answer)
    }

    fn give(&mut self, numbers: Result<Vec<f64>, Refusal>) {
        match numbers {
            Ok(numbers) => self.output = Output::Numbers(numbers),
            Err(refusal) => {
                self.answer(Err(refusal));
            }
        }
    }

    fn answer(&mut self, answer: Result<String, Refusal>) -> bool {
        let accepted = answer.is_ok();
        let text = answer.unwrap_or_else(|refusal| serde_json::to_string(&refusal).unwrap_or_default());
        self.output = Output::Json(text);
        accepted
    }
}

fn parsed<T: DeserializeOwned>(request: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(request).map_err(|error| Refusal::new(format!("the call cannot be read: {error}")))
}

fn read_lesson(source: &str) -> Result<Lesson, Refusal> {
    Lesson::parse(source).map_err(|problems| Refusal::of(source, &problems))
}

/// Grades a solution. Places in a refusal are those of the solution.
fn grade(lesson: &str, solution: &str) -> Result<Grade, Refusal> {
    read_lesson(lesson)?.grade(solution, &|| false).map_err(|error| match error {
        GradeError::Invalid(problems) => Refusal::of(solution, &problems),
        GradeError::Stopped(stopped) => Refusal::new(crate::results::stopped(&stopped)),
    })
}

fn json(value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| Refusal::new(format!("the answer cannot be written: {error}")))
}
