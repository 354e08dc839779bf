//! What there is: strategies, faults, metrics and outcomes, from the program's own catalogues.

use evenkeel_config::fault::{Crash, Deploy, Drain, Errors, Fault as _, FaultKind, Slow};
use evenkeel_core::select::catalog::{CATALOGUE, Family, Row};
use evenkeel_core::units::{Nanos, Ratio};
use evenkeel_sim::measure::metrics::{self, Unit};
use evenkeel_sim::sim::record::ENDS;
use serde::Serialize;

use crate::controls::{Shape, parameter_shape};

#[derive(Serialize)]
pub(crate) struct Catalog {
    version: &'static str,
    /// Which source the engine was built from.
    source: String,
    families: Vec<FamilyText>,
    strategies: Vec<StrategyText>,
    faults: Vec<FaultText>,
    metrics: Vec<MetricText>,
    outcomes: Vec<&'static str>,
}

#[derive(Serialize)]
struct FamilyText {
    name: &'static str,
    doc: &'static str,
}

#[derive(Serialize)]
struct StrategyText {
    name: &'static str,
    title: &'static str,
    family: &'static str,
    idea: &'static str,
    rule: &'static str,
    signals: String,
    weakness: &'static str,
    source: &'static str,
    aliases: &'static [&'static str],
    parameters: Vec<ParameterText>,
}

#[derive(Serialize)]
struct ParameterText {
    name: String,
    doc: String,
    /// TOML.
    default: String,
    values: Vec<(String, String)>,
    control: Option<Shape>,
}

#[derive(Serialize)]
struct FaultText {
    kind: &'static str,
    label: String,
    doc: &'static str,
    example: FaultKind,
    balancer: bool,
    /// Whether an act of this kind may have a duration: a compound fault has its own.
    lasts: bool,
}

#[derive(Serialize)]
struct MetricText {
    name: &'static str,
    label: &'static str,
    unit: &'static str,
    direction: &'static str,
    doc: &'static str,
}

const FAMILIES: [(Family, &str); 7] = [
    (Family::Random, "Randomness alone."),
    (Family::RoundRobin, "A rotation over the servers, in proportion to weights where it has them."),
    (Family::Load, "Requests in flight, as this balancer counts them."),
    (Family::Latency, "Latencies that this balancer measured."),
    (Family::Report, "Load reports and probe answers of the servers."),
    (Family::Hash, "A hash of the request's key, client address or path."),
    (Family::Oracle, "The true state of the servers, which only the simulator knows: a baseline."),
];

/// The hashes of the source that this engine was built from: the simulator's, and its own.
pub fn source() -> String {
    format!("{}-{}", evenkeel_sim::SOURCE_HASH, env!("EVENKEEL_LAB_SOURCE"))
}

/// The catalogue.
pub(crate) fn catalog() -> Catalog {
    Catalog {
        version: env!("CARGO_PKG_VERSION"),
        source: source(),
        families: FAMILIES.map(|(family, doc)| FamilyText { name: family.title(), doc }).into(),
        strategies: CATALOGUE.iter().map(strategy).collect(),
        faults: faults(),
        metrics: metrics::CATALOGUE.iter().map(metric).collect(),
        outcomes: ENDS.map(|(_, name)| name).into(),
    }
}

fn strategy(row: &'static Row) -> StrategyText {
    let parameters = row.parameters().into_iter().map(|parameter| ParameterText {
        control: parameter_shape(&parameter),
        default: parameter.default.to_string(),
        name: parameter.name,
        doc: parameter.text,
        values: parameter.values,
    });
    StrategyText {
        name: row.name,
        title: row.doc.title,
        family: row.doc.family.title(),
        idea: row.doc.idea,
        rule: row.doc.formula,
        signals: signals(row),
        weakness: row.doc.fails,
        source: row.doc.source,
        aliases: row.doc.aliases,
        parameters: parameters.collect(),
    }
}

fn signals(row: &Row) -> String {
    let needs = [
        (row.signals.notices, "a notice from a server that becomes idle"),
        (row.signals.with_answers, "a load report with each response"),
        (row.signals.probes, "answers of servers to probes"),
    ];
    let needs: Vec<&str> = needs.into_iter().filter(|(needed, _)| *needed).map(|(_, text)| text).collect();
    match (needs.is_empty(), row.doc.family) {
        (false, _) => needs.join(", "),
        (true, Family::Oracle) => "the true state of the servers".to_owned(),
        (true, Family::Load) => "this balancer's own count of requests in flight".to_owned(),
        (true, Family::Latency) => "latencies that this balancer measures".to_owned(),
        (true, Family::Hash) => "the request itself".to_owned(),
        (true, Family::Random | Family::RoundRobin) => "nothing".to_owned(),
        (true, Family::Report) => "load reports of the servers".to_owned(),
    }
}

fn faults() -> Vec<FaultText> {
    let text = |kind, doc, example: FaultKind| FaultText {
        kind,
        label: example.label(),
        doc,
        balancer: example.strikes_balancers(),
        lasts: example.steps().is_none(),
        example,
    };
    let second = Nanos::from_secs(1);
    vec![
        text(
            "crash",
            "Everything in the server is lost, and it refuses connections. It returns with an empty cache.",
            Crash { silent: false }.into(),
        ),
        text("stall", "As a crash, but requests get no answer at all.", Crash { silent: true }.into()),
        text("slow", "Service takes four times as long.", Slow { factor: 4.0 }.into()),
        text(
            "errors",
            "Every request is answered with an error after a millisecond, without waiting in the queue.",
            Errors { share: Ratio(1.0), latency: Nanos::from_millis(1), fails_checks: false }.into(),
        ),
        text(
            "drain",
            "Balancers send it nothing new, it finishes what it has, and it returns with an empty cache.",
            Drain {}.into(),
        ),
        text(
            "deploy",
            "The server is drained, stopped with whatever is still in it, and started again with an empty cache.",
            Deploy { drain: second, restart: second }.into(),
        ),
    ]
}

fn metric(row: &'static metrics::Definition) -> MetricText {
    MetricText {
        name: row.name,
        label: row.label,
        unit: match row.unit {
            Unit::Seconds => "s",
            Unit::Rate => "1/s",
            Unit::Share => "share",
            Unit::Index => "index",
            Unit::Number => "number",
        },
        direction: row.direction.as_str(),
        doc: row.doc,
    }
}
