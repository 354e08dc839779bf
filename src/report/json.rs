//! The results of a scenario as one JSON object.

use super::Outcome;
use evenkeel_sim::measure::{Summary, regret};

/// The object: every metric of every strategy, at every point.
pub fn render(outcomes: &[Outcome<'_>]) -> serde_json::Value {
    let number = |value: f64| if value.is_finite() { serde_json::json!(value) } else { serde_json::Value::Null };
    let strategies = |outcome: &Outcome<'_>| {
        let one = |summary: &Summary| {
            let metrics: serde_json::Map<String, serde_json::Value> = summary
                .metrics
                .iter()
                .map(|metric| {
                    let e = summary.estimate(&metric.name);
                    let value = serde_json::json!({
                        "unit": metric.unit.as_str(), "value": number(e.value), "low": number(e.low), "high": number(e.high),
                        "replications": e.replications,
                    });
                    (metric.name.clone(), value)
                })
                .collect();
            let regret = regret(&outcome.summaries, summary, "latency.mean");
            let regret = regret.map(|e| {
                serde_json::json!({
                    "value": number(e.value), "low": number(e.low), "high": number(e.high),
                })
            });
            let theory = summary.theory.as_ref().map(|exact| {
                serde_json::json!({
                    "theorem": exact.theorem, "latency.mean": exact.mean, "latency.p99": exact.p99,
                })
            });
            serde_json::json!({
                "strategy": summary.label, "oracle": summary.oracle, "verdict": summary.stability.verdict,
                "reason": summary.stability.reason, "utilisation": number(summary.utilisation(outcome.scenario)),
                "relaxation_s": summary.stability.relaxation, "theory": theory, "regret": regret, "metrics": metrics,
            })
        };
        outcome.summaries.iter().map(one).collect::<Vec<_>>()
    };
    let first = &outcomes[0];
    let mut value = serde_json::json!({
        "schema_version": 2, "scenario": first.scenario.name, "seed": first.scenario.seed,
        "question": first.scenario.question, "answer": first.scenario.answer,
        "replications": first.replications, "precision": first.precision, "offered_load": first.scenario.offered_load,
    });
    if let [only] = outcomes {
        value["strategies"] = strategies(only).into();
    } else {
        let point =
            |outcome: &Outcome<'_>| serde_json::json!({ "point": outcome.point, "strategies": strategies(outcome) });
        value["points"] = outcomes.iter().map(point).collect::<Vec<_>>().into();
    }
    value
}
