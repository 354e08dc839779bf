//! Acts: what a user changes while a run goes on. A fault strikes, or the arrival rate changes.
//!
//! An act with its time is an entry of a log. [`super::Run::act`] applies an act during a run; [`Model::add_act`] adds an entry
//! of a log to an experiment before its run. Both give the same run.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::{Arrivals, Fault, LoadChange, Model};
use super::targets::{self, Refusal, Site};
use evenkeel_config::fault::{FaultKind, FaultTable};
use evenkeel_config::{Problems, Spanned};
use evenkeel_core::units::Nanos;

/// The largest load factor.
const MAX_LOAD_FACTOR: f64 = 1000.0;

/// `[[acts]]`: an act and its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimedAct {
    /// When it takes effect, since the start of the run, the warm-up included: before any request or other event at this time.
    pub at: Nanos,
    /// The act: a table with one key, its kind, such as `{ set_load = { factor = 1.5 } }`.
    pub act: Act,
}

/// An act of one of two kinds. In a file it is a table with one key, the kind's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A fault begins, as by `[[faults]]` of a scenario.
    Strike(Strike),
    /// The arrival rate changes.
    SetLoad(SetLoad),
}

/// A fault begins: the keys of `[[faults]]` without `at`. It may overlap other faults of its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Strike {
    /// `"pool/server"`, `"pool/*"` for all servers of the pool, `"balancer/2"`, or `"zone/a"` for everything in the zone. Balancers can only crash.
    pub target: String,
    /// How long it lasts; to the end of the run unless given.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Nanos>,
    /// With `"pool/*"` or `"zone/a"`: time from one server (or group of `batch_size`) to the next; default 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stagger: Nanos,
    /// With `stagger`: servers that the fault hits at the same time, at least 1; default 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub batch_size: u32,
    /// The fault: a table with one key, its kind, such as `{ slow = { factor = 4 } }`.
    pub kind: FaultKind,
}

/// The arrival rate changes: from now on it is `factor` times what the scenario says for each time. Not for closed loops and
/// replayed logs, whose arrivals have no rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SetLoad {
    /// Multiple of the scenario's rate, not of the last one set: 0 to 1000; 0 stops arrivals, 1 is the scenario's rate.
    pub factor: f64,
}

fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_zero(time: &Nanos) -> bool {
    *time == Nanos::ZERO
}

/// Why an act is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActError {
    /// The problem.
    pub message: String,
    /// How to fix it.
    pub help: Option<String>,
}

impl ActError {
    fn new(message: impl Into<String>) -> ActError {
        ActError { message: message.into(), help: None }
    }

    /// The run itself cannot go on.
    pub(super) fn of_run(message: impl Into<String>) -> ActError {
        ActError::new(message)
    }
}

impl From<Refusal> for ActError {
    fn from(Refusal { message, help, .. }: Refusal) -> ActError {
        ActError { message, help }
    }
}

impl fmt::Display for ActError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "\n  help: {help}"))
    }
}

impl std::error::Error for ActError {}

impl Strike {
    /// The same as a table of a scenario.
    fn table(&self, at: Nanos) -> FaultTable {
        FaultTable {
            target: Spanned::new(0..0, self.target.clone()),
            at: Spanned::new(0..0, at),
            lasts: self.lasts.map(|lasts| Spanned::new(0..0, lasts)),
            stagger: self.stagger,
            batch_size: Spanned::new(0..0, self.batch_size),
            kind: Spanned::new(0..0, self.kind),
        }
    }
}

impl Model {
    /// What faults can hit.
    pub fn site(&self) -> Site<'_> {
        Site {
            pools: &self.pools,
            balancers: self.balancers.count,
            zones: &self.balancers.zones,
            has_timeout: self.clients.timeout.is_some(),
        }
    }

    /// Adds an act of a log, in the order of the log where times are equal.
    ///
    /// # Errors
    /// What is wrong with the act.
    pub fn add_act(&mut self, TimedAct { at, act }: &TimedAct) -> Result<(), ActError> {
        match act {
            Act::Strike(strike) => {
                let faults = faults(self, *at, strike)?;
                self.faults.extend(faults);
            }
            Act::SetLoad(load) => {
                check_load(self, *at, load)?;
                let after_faults = self.faults.len();
                self.load_changes.push(LoadChange { at: *at, factor: load.factor, after_faults });
            }
        }
        Ok(())
    }
}

fn check_time(model: &Model, at: Nanos) -> Result<(), ActError> {
    let end = model.warmup + model.duration;
    match at < end {
        true => Ok(()),
        false => Err(ActError::new(format!("{at} is after the end of the run, {end} with the warm-up"))),
    }
}

/// The faults of a strike at this time.
pub(super) fn faults(model: &Model, at: Nanos, strike: &Strike) -> Result<Vec<Fault>, ActError> {
    check_time(model, at)?;
    let table = strike.table(at);
    let mut problems = Problems::new();
    table.check(&mut problems);
    if let Some(problem) = problems.into_iter().next() {
        return Err(ActError { message: problem.message, help: problem.help });
    }
    let site = model.site();
    let targets = site.targets(&strike.target, strike.kind)?;
    site.is_noticed(strike.kind)?;
    site.can_hit(strike.kind, &targets)?;
    if strike.stagger > Nanos::ZERO && targets.len() == 1 {
        return Err(ActError {
            message: "`stagger` is the time from one server to the next, and this is one".to_owned(),
            help: Some("write `pool/*` for all servers of a pool".to_owned()),
        });
    }
    Ok(targets::faults(&table, &targets, &model.pools))
}

/// Checks a change of the load at this time.
pub(super) fn check_load(model: &Model, at: Nanos, load: &SetLoad) -> Result<(), ActError> {
    check_time(model, at)?;
    let fixed = match model.arrivals {
        Arrivals::Poisson(_) | Arrivals::Constant { .. } | Arrivals::Renewal { .. } => None,
        Arrivals::Closed { .. } => Some("clients of a closed loop send when they have been answered"),
        Arrivals::Replay(_) => Some("a replayed log has the arrivals that it has"),
    };
    if let Some(reason) = fixed {
        let message = format!("the load of this scenario cannot be set: {reason}");
        let help = "scenarios with poisson, constant, renewal, bursts or ramp arrivals have a rate that can change";
        return Err(ActError { message, help: Some(help.to_owned()) });
    }
    match (0.0..=MAX_LOAD_FACTOR).contains(&load.factor) {
        true => Ok(()),
        false => Err(ActError::new(format!("`factor` must be from 0 to {MAX_LOAD_FACTOR}"))),
    }
}
