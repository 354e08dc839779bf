//! An experiment: a scenario with the settings of the command line, and the points at which it is run. Its [`Plan`] is
//! written next to its runs, so that parts that ran elsewhere are merged under the same settings.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::inputs::Loaded;
use super::{Failure, inputs};
use crate::report::html;
use evenkeel_config::Diagnostic;
use evenkeel_sim::scenario::Scenario;
use evenkeel_sim::scenario::overrides::{self, Axis, SweepPoint};
use evenkeel_sim::sim::act::TimedAct;

/// Settings of the command line. Those that are `None`, empty or false are as in the scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Labels of the strategies to run; all of the scenario's when empty.
    pub strategies: Vec<String>,
    /// Replications of each strategy.
    pub replications: Option<u32>,
    /// Seed of all randomness.
    pub seed: Option<u64>,
    /// Five short replications, for a first look.
    pub quick: bool,
    /// Number of batches of one long run.
    pub batches: Option<u32>,
    /// Replications are added until the intervals are this narrow.
    pub precision: Option<Precision>,
    /// Axes of a sweep: their grid is the points.
    pub axes: Vec<Axis>,
    /// Acts of a log, which every run repeats, ascending in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts: Vec<TimedAct>,
    /// Whether each constant is decreased and increased, one at a time.
    pub sensitivity: bool,
}

/// Replications are added until half the interval's width over the mean is at most `target`, for the mean and the p99 of
/// every strategy that can be ranked, or `most` have run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    /// Relative half width of the 95 % interval, between 0 and 1.
    pub target: f64,
    /// Maximum number of replications.
    pub most: u32,
}

/// An experiment as written to disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this format: 1.
    pub schema_version: u32,
    /// The scenario's name.
    pub name: String,
    /// The scenario's text.
    pub source: String,
    /// Texts of the files it refers to.
    pub files: BTreeMap<String, String>,
    /// Settings of the command line.
    pub settings: Settings,
}

/// A point of an experiment.
#[derive(Clone, Debug)]
pub struct Point {
    /// `base`, or the values that differ: `arrivals.poisson.load=80%`.
    pub name: String,
    /// The changed values: for each axis its keys and their value.
    pub place: SweepPoint,
    /// The scenario with these values.
    pub scenario: Scenario,
}

/// The name of the only point of a run, and of the unchanged point of a sensitivity analysis.
pub const BASE: &str = "base";

/// A scenario with settings, and the points at which it is run.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The plan it was built from.
    pub plan: Plan,
    /// At least one.
    pub points: Vec<Point>,
    /// Points that could not be built, with the errors.
    pub skipped: Vec<(String, String)>,
}

impl Experiment {
    /// Builds an experiment from a scenario that was read.
    pub fn new(loaded: Loaded, settings: &Settings) -> Result<Experiment, Failure> {
        let Loaded { scenario, source, files, .. } = loaded;
        let plan = Plan { schema_version: 1, name: scenario.name.clone(), source, files, settings: settings.clone() };
        let mut experiment = Experiment { plan, points: Vec::new(), skipped: Vec::new() };
        // Each point is parsed from the text without the others' values: a sweep of n points costs n times one point.
        let common = overrides::without_values(&experiment.plan.source);
        let middle = experiment.point(Vec::new(), scenario).map_err(Failure::Usage)?;
        if settings.sensitivity {
            let nudges = nudges(&experiment.plan.source, &middle.scenario)?;
            experiment.points.push(middle);
            for place in nudges {
                match experiment.varied(&common, &place) {
                    Ok(point) => experiment.points.push(point),
                    Err(problem) => experiment.skipped.push((overrides::name(&place), problem.plain())),
                }
            }
        } else if settings.axes.is_empty() {
            experiment.points.push(middle);
        } else {
            for place in overrides::grid(&settings.axes) {
                let point = experiment.varied(&common, &place).map_err(|problem| {
                    Failure::Usage(format!("at {}\n{}", overrides::name(&place), problem.render(false)))
                })?;
                experiment.points.push(point);
            }
        }
        experiment.points.iter_mut().for_each(|point| point.scenario.sweep = Vec::new());
        // Results are stored under the names of points; two points of one name would write the same files at once.
        let mut names = BTreeSet::new();
        if let Some(point) = experiment.points.iter().find(|point| !names.insert(point.name.as_str())) {
            return Err(Failure::Usage(format!("the point {} is there twice: give each value once", point.name)));
        }
        Ok(experiment)
    }

    /// Builds an experiment from its plan.
    pub fn from_plan(plan: Plan) -> Result<Experiment, Failure> {
        let scenario = plan.parse(&plan.source).map_err(|problem| Failure::Usage(problem.render(false)))?;
        let settings = plan.settings.clone();
        Experiment::new(Loaded { scenario, source: plan.source, files: plan.files, path: None }, &settings)
    }

    /// The scenario at another point of this text; large data is shared with the previous point.
    fn varied(&self, common: &str, place: &SweepPoint) -> Result<Point, Box<Diagnostic>> {
        let of_file = |message: String| {
            let problems = vec![evenkeel_config::Problem::of_file(message)];
            Box::new(Diagnostic { file: format!("{}.toml", self.plan.name), source: String::new(), problems })
        };
        let source = overrides::replace(common, place).map_err(of_file)?;
        let mut scenario = self.plan.parse(&source)?;
        if let Some(before) = self.points.last() {
            scenario.share(&before.scenario);
        }
        self.point(place.clone(), scenario).map_err(of_file)
    }

    fn point(&self, place: SweepPoint, mut scenario: Scenario) -> Result<Point, String> {
        self.plan.settings.apply(&mut scenario)?;
        let name = if place.is_empty() { BASE.to_owned() } else { overrides::name(&place) };
        Ok(Point { name, place, scenario })
    }

    /// The folder of its results.
    pub fn folder(&self) -> String {
        self.plan.folder()
    }
}

/// The points of a sensitivity analysis: one constant at a time, decreased and increased.
fn nudges(source: &str, scenario: &Scenario) -> Result<Vec<SweepPoint>, Failure> {
    let Some(sensitivity) = &scenario.sensitivity else {
        let message = format!("`{}` does not say which constants to vary", scenario.name);
        let help = "add `sensitivity = { by = \"30%\" }` to the scenario; `keys` names some of them";
        return Err(Failure::Usage(format!("{message}\n  help: {help}")));
    };
    let mut places = Vec::new();
    for key in &sensitivity.keys {
        let span = overrides::find(source, key).map_err(Failure::Usage)?;
        for factor in [1.0 - sensitivity.by, 1.0 + sensitivity.by] {
            if let Some(value) = overrides::scaled(&source[span.clone()], factor) {
                places.push(vec![(vec![key.clone()], value)]);
            }
        }
    }
    Ok(places)
}

impl Plan {
    /// The folder of its results: a run, a sweep and a sensitivity analysis of one scenario have separate folders.
    pub fn folder(&self) -> String {
        let ending = match &self.settings {
            settings if settings.sensitivity => ".sensitivity",
            settings if settings.axes.is_empty() => "",
            _ => ".sweep",
        };
        format!("{}{ending}", self.name)
    }

    fn parse(&self, source: &str) -> Result<Scenario, Box<Diagnostic>> {
        let files = |name: &str| self.files.get(name).cloned().ok_or_else(|| format!("there is no file `{name}`"));
        let parsed = Scenario::parse(&self.name, source, &files);
        let can_run = |s: Scenario| if s.refusals.is_empty() { Ok(s) } else { Err(s.refusals) };
        parsed.and_then(can_run).map_err(|problems| {
            Box::new(Diagnostic { file: format!("{}.toml", self.name), source: source.to_owned(), problems })
        })
    }
}

impl Settings {
    /// Whether there is one point: neither a sweep nor a sensitivity analysis.
    pub fn is_run(&self) -> bool {
        self.axes.is_empty() && !self.sensitivity
    }

    fn apply(&self, scenario: &mut Scenario) -> Result<(), String> {
        inputs::choose(scenario, &self.strategies);
        let refused = |(index, error)| format!("act {} of {}: {error}", index + 1, self.acts.len());
        scenario.add_acts(&self.acts).map_err(refused)?;
        if self.quick {
            scenario.quick();
        }
        scenario.replications = self.replications.unwrap_or(scenario.replications);
        if let Some(precision) = self.precision {
            scenario.replications = scenario.replications.min(precision.most);
        }
        scenario.seed = self.seed.unwrap_or(scenario.seed);
        if let Some(batches) = self.batches {
            scenario.in_batches(batches);
        }
        Ok(())
    }

    /// The command that reproduces the results, for the manifest: it does not depend on the location of files or on how the
    /// work was divided.
    pub fn command(&self, name: &str) -> String {
        let verb = if self.is_run() { "run" } else { "sweep" };
        let mut words = vec!["evenkeel".to_owned(), verb.to_owned(), format!("{name}.toml")];
        let mut option = |name: &str, value: String| words.extend([format!("--{name}"), quote(&value)]);
        if !self.strategies.is_empty() {
            option("strategies", self.strategies.join(","));
        }
        if let Some(seed) = self.seed {
            option("seed", seed.to_string());
        }
        if let Some(replications) = self.replications {
            option("replications", replications.to_string());
        }
        if let Some(batches) = self.batches {
            option("batches", batches.to_string());
        }
        if let Some(precision) = self.precision {
            option("precision", format!("{}%", precision.target * 100.0));
            option("max-replications", precision.most.to_string());
        }
        if !self.acts.is_empty() {
            option("acts", html::ACTS.to_owned());
        }
        for axis in &self.axes {
            let values: Vec<&str> = axis.values.iter().map(|value| overrides::plain(value)).collect();
            option("vary", format!("{}={}", axis.keys.join("+"), values.join(",")));
        }
        words.extend(self.quick.then(|| "--quick".to_owned()));
        words.extend(self.sensitivity.then(|| "--sensitivity".to_owned()));
        words.join(" ")
    }
}

/// Quoted for a shell.
pub fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:%+".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}
