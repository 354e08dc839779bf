//! Changes as one JSON object.

use serde_json::{Value, json};

use super::Compared;
use crate::report::export::{Exporter, Layout};
use evenkeel_sim::measure::comparison::{Basis, Change, Verdict};

/// `compare` as one JSON object.
pub struct Json;

impl Exporter<Compared<'_>> for Json {
    fn flag(&self) -> &'static str {
        "export-json"
    }

    fn purpose(&self) -> &'static str {
        "the JSON object to a file"
    }

    fn render(&self, compared: &Compared<'_>, _layout: Layout) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(&render(compared))?)
    }
}

/// The object: what was compared, how, and every comparison.
fn render(compared: &Compared<'_>) -> Value {
    let changes = compared.changes;
    let count = |verdict: Verdict| (name(verdict).to_owned(), Value::from(changes.count(verdict)));
    let counts: serde_json::Map<String, Value> = VERDICTS.into_iter().map(|(verdict, _)| count(verdict)).collect();
    let differences: Vec<Value> = compared
        .differences
        .iter()
        .map(|d| json!({ "what": d.what, "old": d.old, "new": d.new, "scenarios": d.scenarios }))
        .collect();
    let pairings: Vec<Value> =
        changes.pairings.iter().map(|p| json!({ "old": p.old, "new": p.new, "asked": p.asked })).collect();
    json!({
        "schema_version": 1,
        "old": compared.old,
        "new": compared.new,
        "passed": !compared.failed() && (!compared.undecided() || compared.allow_undecided),
        "decided": !compared.undecided(),
        "headline": compared.headline(),
        "counts": counts,
        "level": evenkeel_sim::measure::interval::LEVEL,
        "correction": "bonferroni",
        "comparisons": changes.comparisons,
        "level_each": changes.level,
        "tolerance": { "relative": changes.tolerance.relative, "share": changes.tolerance.share },
        "allow_missing": compared.allow_missing,
        "differences": differences,
        "pairings": pairings,
        "notes": compared.notes(),
        "changes": changes.all.iter().map(|change| entry(compared, change)).collect::<Vec<_>>(),
    })
}

fn entry(compared: &Compared<'_>, change: &Change) -> Value {
    let number = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
    let scale = if change.unit.relative() { change.old.abs() } else { f64::NAN };
    json!({
        "scenario": change.scenario,
        "point": change.point,
        "strategy": change.strategy,
        "strategy_new": change.renamed.as_ref().unwrap_or(&change.strategy),
        "metric": change.metric,
        "better": change.direction.as_str(),
        "unit": change.unit.as_str(),
        "basis": change.basis.map(|basis| match basis {
            Basis::SameRequests => "paired",
            Basis::SameSeeds => "paired by seed",
            Basis::Unpaired => "unpaired",
        }),
        "runs_old": change.runs.0,
        "runs_new": change.runs.1,
        "old": number(change.old),
        "new": number(change.new),
        "difference": number(change.difference),
        "low": number(change.low),
        "high": number(change.high),
        "relative": {
            "difference": number(change.difference / scale),
            "low": number(change.low / scale),
            "high": number(change.high / scale),
        },
        "tolerance": number(change.tolerance),
        "verdict": name(change.verdict),
        "fails": compared.fails(change),
        "more_fail": change.flattered,
    })
}

const VERDICTS: [(Verdict, &str); 9] = [
    (Verdict::Worse, "worse"),
    (Verdict::Missing, "missing"),
    (Verdict::Better, "better"),
    (Verdict::New, "new"),
    (Verdict::Unclear, "unclear"),
    (Verdict::TooFew, "too_few"),
    (Verdict::Same, "same"),
    (Verdict::Identical, "identical"),
    (Verdict::Reported, "not_judged"),
];

/// The name of a verdict in formats for machines.
pub fn name(verdict: Verdict) -> &'static str {
    VERDICTS.iter().find(|(known, _)| *known == verdict).map_or("", |(_, name)| name)
}
