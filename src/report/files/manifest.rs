//! `manifest.json`.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::number;
use crate::report::answer::{Field, sentences};
use crate::report::html::model::Fault;
use crate::report::table::{self, Note};
use crate::report::{Outcome, Reached, format};
use evenkeel_core::units::Nanos;
use evenkeel_sim::measure::Verdict;
use evenkeel_sim::measure::interval::LEVEL;
use evenkeel_sim::scenario::{Kind, Scenario};

/// How and on which machine a run was made.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Version of evenkeel.
    pub version: String,
    /// The commit it was built from; `None` where it is not known.
    pub commit: Option<String>,
    /// A command line that reproduces the results.
    pub command: String,
    /// The machine that ran it.
    pub machine: Machine,
}

/// A machine. Results do not depend on it, but run times do.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Operating system, for example `linux`.
    pub os: String,
    /// Architecture, for example `x86_64`.
    pub arch: String,
    /// Number of processors.
    pub cpus: usize,
}

#[derive(Serialize)]
struct Manifest<'a> {
    schema_version: u32,
    scenario: &'a str,
    title: &'a str,
    question: &'a str,
    /// The sentences that the statistics support; of a sweep the report finds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Vec<String>>,
    /// What limits the meaning of the results at the first point.
    notes: Vec<Note>,
    /// The findings that the scenario's author explains.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<&'a str>,
    /// Whether the scenario claims a steady state.
    steady: bool,
    faults: Vec<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sensitivity: Option<SensitivityEntry<'a>>,
    scenario_sha256: &'a str,
    seed: u64,
    interval_level: f64,
    /// Source of the intervals: replications or batches.
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    precision: Option<&'a Reached>,
    #[serde(flatten)]
    first: PointEntry<'a>,
    /// The other points of a sweep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    points: Vec<PointEntry<'a>>,
    /// Points that could not be built, with the errors.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    skipped: &'a [(String, String)],
    /// Hash that identifies all runs in these results.
    runs: &'a str,
    #[serde(flatten)]
    provenance: &'a Provenance,
    /// SHA-256 of every other file of the run, by name.
    files: &'a BTreeMap<String, String>,
}

/// The settings of a sensitivity analysis, in the results of one.
#[derive(Serialize)]
struct SensitivityEntry<'a> {
    metric: &'a str,
    by: f64,
}

#[derive(Serialize)]
struct PointEntry<'a> {
    point: &'a str,
    /// The changed values: for each axis its keys and their value.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    place: &'a [(Vec<String>, String)],
    replications: u32,
    warmup_s: f64,
    cache_warmup_s: f64,
    duration_s: f64,
    offered_load: Option<f64>,
    /// By replication; the same for every strategy unless clients wait for answers (closed loop).
    workload_hashes: Vec<String>,
    workload_same_for_all: bool,
    strategies: Vec<StrategyEntry<'a>>,
}

#[derive(Serialize)]
struct StrategyEntry<'a> {
    label: &'a str,
    parameters: &'a evenkeel_core::select::catalog::StrategyConfig,
    verdict: Verdict,
    /// Utilisation of the busiest pool.
    utilisation: Option<f64>,
    requests_simulated: u64,
    pick_hashes: Vec<String>,
}

/// `manifest.json`: the settings that reproduce the results. `runs` identifies all runs; `files` has the SHA-256 of every
/// other file of the run by name, in hexadecimal digits.
pub fn manifest(
    outcomes: &[Outcome<'_>],
    skipped: &[(String, String)],
    runs: &str,
    provenance: &Provenance,
    files: &BTreeMap<String, String>,
) -> serde_json::Result<Vec<u8>> {
    let Some(first) = outcomes.first() else { return Ok(Vec::new()) };
    let scenario = first.scenario;
    let nudged = outcomes.len() > 1 && first.place.is_empty();
    let sensitivity = scenario.sensitivity.as_ref().filter(|_| nudged);
    let manifest = Manifest {
        schema_version: 4,
        scenario: &scenario.name,
        title: &scenario.title,
        question: &scenario.question,
        answer: first.place.is_empty().then(|| sentences(&Field::new(first, &table::rankings(first)))),
        notes: table::notes(first),
        explanation: scenario.answer.as_deref(),
        steady: scenario.kind == Kind::Steady,
        faults: faults(scenario),
        sensitivity: sensitivity.map(|s| SensitivityEntry { metric: &s.metric, by: s.by }),
        scenario_sha256: &scenario.hash,
        seed: scenario.seed,
        interval_level: LEVEL,
        method: if scenario.model.batches > 1 { "batch means" } else { "replications" },
        precision: first.precision.as_ref(),
        first: point(first),
        points: outcomes[1..].iter().map(point).collect(),
        skipped,
        runs,
        provenance,
        files,
    };
    let mut text = serde_json::to_vec_pretty(&manifest)?;
    let _ = text.write_all(b"\n");
    Ok(text)
}

fn faults(scenario: &Scenario) -> Vec<Fault> {
    let fault = |fault: &evenkeel_sim::sim::model::Fault| {
        let (target, text) = fault.label.split_once(": ").unwrap_or((&fault.label, ""));
        Fault {
            start: fault.at.as_secs_f64(),
            end: fault.until.map(|until| until.as_secs_f64()),
            target: target.to_owned(),
            text: text.to_owned(),
        }
    };
    let load = |(at, until, factor): (Nanos, Option<Nanos>, f64)| Fault {
        start: at.as_secs_f64(),
        end: until.map(Nanos::as_secs_f64),
        target: "load".to_owned(),
        text: format::load(factor),
    };
    let model = &scenario.model;
    model.faults.iter().map(fault).chain(model.load_spans().into_iter().map(load)).collect()
}

fn point<'a>(outcome: &'a Outcome<'_>) -> PointEntry<'a> {
    let model = &outcome.scenario.model;
    let hex = |hashes: &[u64]| hashes.iter().map(|hash| format!("{hash:016x}")).collect::<Vec<_>>();
    let workload = outcome.summaries.first().map(|summary| summary.workload_hashes.clone()).unwrap_or_default();
    let strategies = outcome.summaries.iter().zip(&outcome.scenario.variants);
    PointEntry {
        point: outcome.point,
        place: outcome.place,
        replications: outcome.replications,
        warmup_s: model.warmup.as_secs_f64(),
        cache_warmup_s: model.cache_warmup.as_secs_f64(),
        duration_s: model.duration.as_secs_f64(),
        offered_load: outcome.scenario.offered_load,
        workload_hashes: hex(&workload),
        workload_same_for_all: outcome.summaries.iter().all(|summary| summary.workload_hashes == workload),
        strategies: strategies
            .map(|(summary, variant)| StrategyEntry {
                label: &summary.label,
                parameters: &variant.table,
                verdict: summary.stability.verdict,
                utilisation: number(summary.utilisation(outcome.scenario)).parse().ok(),
                requests_simulated: summary.requests,
                pick_hashes: hex(&summary.pick_hashes),
            })
            .collect(),
    }
}
