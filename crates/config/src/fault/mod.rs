//! Faults: the `[[faults]]` table, and the catalogue of kinds. A simulated server and a test server take the same kinds.
//!
//! To add a kind: a file in this folder with a struct that holds the kind's keys and implements [`Fault`], and one row in
//! [`kinds!`](self) at the end of this file. Reading, schema, checks, labels in charts and timelines, and both kinds of servers
//! follow from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problem, Problems, Spanned};
use evenkeel_core::units::Nanos;

/// How a server works under the faults that are active at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Condition {
    /// Whether it accepts requests. A server that is down refuses connections, unless `silent`.
    pub up: bool,
    /// Whether a server that is down swallows requests without an answer instead of refusing them.
    pub silent: bool,
    /// Service takes this many times as long; 1 without faults, from 1e-6 to [`MAX_SLOWDOWN`].
    pub slowdown: f64,
    /// Share of the requests that are answered with an error, 0 to 1.
    pub error_ratio: f64,
    /// Time from a request's arrival to such an error.
    pub error_latency: Nanos,
    /// Whether health checks fail although the server is up.
    pub fails_checks: bool,
    /// Whether the server asks for no new requests and finishes those that it has.
    pub draining: bool,
}

impl Condition {
    /// Without any fault.
    pub const GOOD: Condition = Condition {
        up: true,
        silent: false,
        slowdown: 1.0,
        error_ratio: 0.0,
        error_latency: Nanos::ZERO,
        fails_checks: false,
        draining: false,
    };

    /// Applies all of these faults at once. Slowdowns multiply; of several faults that set the same value, the last one
    /// counts.
    pub fn under(faults: impl Iterator<Item = FaultKind>) -> Condition {
        let mut condition = Condition::GOOD;
        for fault in faults {
            fault.apply(&mut condition);
        }
        condition
    }
}

/// A kind of fault: its checks, its name and its effect on a server.
pub trait Fault {
    /// Checks the values of its keys.
    ///
    /// # Errors
    /// The problem with the values.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Changes how a server works while the fault is active. Faults may overlap, so this is called once per active fault,
    /// in the order of the file.
    fn apply(&self, condition: &mut Condition);

    /// Its name in charts and timelines, such as `4× slower`.
    fn label(&self) -> String;

    /// Whether the requests in the server, and its cache, are lost when the fault begins.
    fn loses_requests(&self) -> bool {
        false
    }

    /// Whether a balancer can have this fault. Most kinds apply to servers only.
    fn strikes_balancers(&self) -> bool {
        false
    }

    /// Why `twin` and `proxy --demo` cannot inject it over sockets; `None` where they can.
    fn unsupported_over_sockets(&self) -> Option<&'static str> {
        None
    }

    /// The simple faults that a compound one consists of; `None` for a simple one. A compound fault is never active itself.
    fn steps(&self) -> Option<Vec<Step>> {
        None
    }
}

/// A part of a compound fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Start, counted from the start of the compound fault.
    pub after: Nanos,
    /// Duration of the part.
    pub lasts: Nanos,
    /// A simple fault.
    pub kind: FaultKind,
    /// Its name in charts and timelines.
    pub label: &'static str,
}

/// A simple fault and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimedFault {
    /// Start, counted from the start of the run or of the test server.
    pub at: Nanos,
    /// End; `None` for never.
    pub until: Option<Nanos>,
    /// The fault itself; never a compound one.
    pub kind: FaultKind,
}

impl TimedFault {
    /// Whether the fault is active at this moment: from `at` on, until just before `until`.
    pub fn is_active(&self, now: Nanos) -> bool {
        self.at <= now && self.until.is_none_or(|until| until > now)
    }
}

/// `[[faults]]`: a target, a time, and one kind of fault.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultTable {
    /// `"pool/server"`, `"pool/*"` for all servers of the pool, `"balancer/2"`, or `"zone/a"` for everything in the zone. Balancers can only crash.
    pub target: Spanned<String>,
    /// When it begins, since the start of the run.
    pub at: Spanned<Nanos>,
    /// How long it lasts; to the end of the run unless given.
    #[serde(rename = "for")]
    pub lasts: Option<Spanned<Nanos>>,
    /// With `"pool/*"` or `"zone/a"`: time from one server (or group of `batch_size`) to the next, as in a rolling deploy; default 0.
    #[serde(default)]
    pub stagger: Nanos,
    /// With `stagger`: servers that the fault hits at the same time, at least 1; default 1.
    #[serde(default = "one")]
    pub batch_size: Spanned<u32>,
    /// The fault: a table with one key, its kind, such as `{ slow = { factor = 4 } }`.
    pub kind: Spanned<FaultKind>,
}

impl FaultTable {
    /// Checks the table and the values of its kind, as far as that needs no other part of the file.
    pub fn check(&self, problems: &mut Problems) -> bool {
        let checked = self.kind.get_ref().check();
        let sound = checked.is_ok();
        problems.extend(checked.err().map(|message| Problem::at(self.kind.span(), message)));
        if *self.batch_size.get_ref() == 0 {
            problems.push(Problem::at(self.batch_size.span(), "`batch_size` must be above zero"));
        }
        if let Some(lasts) = &self.lasts {
            if self.kind.get_ref().steps().is_some() {
                problems.push(Problem::at(lasts.span(), NO_FOR));
            }
            if *lasts.get_ref() == Nanos::ZERO {
                problems.push(Problem::at(lasts.span(), "`for` must be above zero"));
            }
        }
        sound
    }

    /// The faults of the target number `index`, counted from 0 where there are several: the simple ones, each with its name in
    /// charts and timelines.
    pub fn faults_of(&self, index: usize) -> Vec<(TimedFault, String)> {
        let kind = *self.kind.get_ref();
        let steps = kind.steps();
        let stagger = match &steps {
            // Without `stagger` one group follows when the one before is back.
            Some(steps) if self.stagger == Nanos::ZERO => {
                steps.iter().map(|step| step.after + step.lasts).max().unwrap_or(Nanos::ZERO)
            }
            _ => self.stagger,
        };
        let batch = (*self.batch_size.get_ref()).max(1) as usize;
        let at = *self.at.get_ref() + Nanos(stagger.0.saturating_mul((index / batch) as u64));
        timed(kind, at, self.lasts.as_ref().map(|lasts| *lasts.get_ref()))
    }
}

/// A fault of one test server: `{ at = "10s", for = "5s", kind = { slow = { factor = 4 } } }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultRequest {
    /// When it begins, since the start of the server or since the request; at once unless given.
    #[serde(default)]
    pub at: Nanos,
    /// How long it lasts; for good unless given.
    #[serde(rename = "for")]
    pub lasts: Option<Nanos>,
    /// The fault: a table with one key, its kind, such as `{ slow = { factor = 4 } }`.
    pub kind: FaultKind,
}

impl FaultRequest {
    /// The simple faults that it consists of.
    ///
    /// # Errors
    /// The problem with the numbers.
    pub fn faults(&self) -> Result<Vec<TimedFault>, String> {
        self.kind.check()?;
        if self.lasts.is_some() && self.kind.steps().is_some() {
            return Err(NO_FOR.to_owned());
        }
        Ok(timed(self.kind, self.at, self.lasts).into_iter().map(|(fault, _)| fault).collect())
    }
}

/// Error for a compound fault that has a duration of its own.
const NO_FOR: &str = "a deploy lasts `drain` and `restart`, and has no `for`";

/// The simple faults of this kind from `at` on, each with its name. `lasts` is for simple kinds.
pub fn timed(kind: FaultKind, at: Nanos, lasts: Option<Nanos>) -> Vec<(TimedFault, String)> {
    let Some(steps) = kind.steps() else {
        return vec![(TimedFault { at, until: lasts.map(|lasts| at + lasts), kind }, kind.label())];
    };
    let step = |Step { after, lasts, kind, label }: Step| {
        let fault = TimedFault { at: at + after, until: Some(at + after + lasts), kind };
        (fault, label.to_owned())
    };
    steps.into_iter().map(step).collect()
}

fn one() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

/// Declares the modules and the enum of all kinds.
macro_rules! kinds {
    ($($module:ident::$kind:ident,)*) => {
        $(
            mod $module;
            pub use $module::$kind;

            impl From<$kind> for FaultKind {
                fn from(kind: $kind) -> FaultKind {
                    FaultKind::$kind(kind)
                }
            }
        )*

        /// A fault of one of the kinds of the catalogue. In a file it is a table with one key, the kind's name.
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[allow(missing_docs, reason = "each kind's text stands above its struct")]
        pub enum FaultKind {
            $($kind($kind),)*
        }

        impl FaultKind {
            fn get(&self) -> &dyn Fault {
                match self {
                    $(FaultKind::$kind(kind) => kind,)*
                }
            }
        }
    };
}

kinds! {
    crash::Crash,
    slow::Slow,
    errors::Errors,
    drain::Drain,
    deploy::Deploy,
}

pub use slow::MAX_SLOWDOWN;

impl Fault for FaultKind {
    fn check(&self) -> Result<(), String> {
        self.get().check()
    }
    fn apply(&self, condition: &mut Condition) {
        self.get().apply(condition);
    }
    fn label(&self) -> String {
        self.get().label()
    }
    fn loses_requests(&self) -> bool {
        self.get().loses_requests()
    }
    fn strikes_balancers(&self) -> bool {
        self.get().strikes_balancers()
    }
    fn unsupported_over_sockets(&self) -> Option<&'static str> {
        self.get().unsupported_over_sockets()
    }
    fn steps(&self) -> Option<Vec<Step>> {
        self.get().steps()
    }
}

impl FaultKind {
    /// The state of a server under this fault alone.
    pub fn condition(&self) -> Condition {
        Condition::under(std::iter::once(*self))
    }

    /// Whether requests to a server with this fault get no answer at all.
    pub fn is_silent(&self) -> bool {
        let condition = self.condition();
        !condition.up && condition.silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evenkeel_core::units::Ratio;

    fn table(text: &str) -> FaultTable {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_deploy_drains_and_restarts_each_group() {
        let deploy =
            "target = \"web/*\"\nat = \"1s\"\nbatch_size = 2\nkind = { deploy = { drain = \"2s\", restart = \"3s\" } }";
        let faults = table(deploy).faults_of(3);
        let secs = Nanos::from_secs;
        let of = |at, until, kind| TimedFault { at: secs(at), until: Some(secs(until)), kind };
        let expected = [
            (of(8, 11, Crash { silent: false }.into()), "restart".to_owned()),
            (of(6, 11, Drain {}.into()), "deploy".to_owned()),
        ];
        assert_eq!(faults, expected);
        assert!(faults.iter().all(|(fault, _)| fault.kind.steps().is_none()));
    }

    #[test]
    fn wrong_numbers_are_named() {
        for (kind, rest, message) in [
            ("slow = { factor = 0 }", "", "`factor` must be from"),
            ("errors = { share = 1.0, latency = \"1ms\" }", "batch_size = 0", "`batch_size`"),
            ("errors = { share = \"101%\" }", "", "at most 100 %"),
            ("deploy = { drain = \"1s\", restart = \"0s\" }", "", "`restart` must be above zero"),
            ("deploy = { drain = \"1s\", restart = \"1s\" }", "for = \"1s\"", "has no `for`"),
            ("drain = {}", "for = \"0s\"", "`for` must be above zero"),
        ] {
            let mut problems = Problems::new();
            table(&format!("target = \"a/b\"\nat = \"0s\"\n{rest}\nkind = {{ {kind} }}")).check(&mut problems);
            assert!(problems.len() == 1 && problems[0].message.contains(message), "{kind}: {problems:?}");
            assert!(problems[0].span.is_some());
            let request: Result<FaultRequest, _> = toml::from_str(&format!("{rest}\nkind = {{ {kind} }}"));
            if let Ok(request) = request {
                assert!(request.lasts == Some(Nanos::ZERO) || request.faults().is_err(), "{kind}");
            }
        }
    }

    #[test]
    fn overlapping_faults_add_up() {
        let errors = Errors { share: Ratio(0.5), latency: Nanos(7), fails_checks: true };
        let all = [Slow { factor: 4.0 }.into(), Slow { factor: 2.0 }.into(), errors.into(), Drain {}.into()];
        let condition = Condition::under(all.into_iter());
        let expected = Condition {
            slowdown: 8.0,
            error_ratio: 0.5,
            error_latency: Nanos(7),
            fails_checks: true,
            draining: true,
            ..Condition::GOOD
        };
        assert_eq!(condition, expected);
        let most = Condition::under(std::iter::repeat_n(Slow { factor: MAX_SLOWDOWN }.into(), 3));
        assert_eq!(most.slowdown, MAX_SLOWDOWN);
        assert!(FaultKind::from(Crash { silent: true }).is_silent() && !all[0].is_silent());
    }
}
