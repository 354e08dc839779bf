//! `verdicts.csv`.

use super::{number, rows};
use crate::report::Outcome;
use evenkeel_sim::measure::warmup::{Clock, Settling};

/// `verdicts.csv`: whether there is a steady state, whether the start still affects it, and the exact values from theory, if
/// a theorem applies.
pub fn verdicts(outcomes: &[Outcome<'_>]) -> csv::Result<Vec<u8>> {
    let header = [
        "verdict",
        "reason",
        "growth",
        "growth_low",
        "growth_high",
        "warmup_s",
        "latency_settled_s",
        "latency_warmup",
        "cache_warmup_s",
        "cache_settled_s",
        "cache_warmup",
        "theorem",
        "exact_mean_s",
        "exact_p99_s",
        "relaxation_s",
        "offered_load",
        "utilisation",
    ];
    rows(outcomes, &header, |outcome, summary| {
        let model = &outcome.scenario.model;
        let stability = &summary.stability;
        let clock = |clock: Clock, warmup: f64| {
            let settling = summary.settling.iter().find(|s| s.clock == clock);
            let after = settling.and_then(|s| s.after).map_or_else(String::new, number);
            let word = settling.map_or("", |s| settled_word(s, summary.unsettled(clock)));
            [number(if settling.is_some() { warmup } else { f64::NAN }), after, word.to_owned()]
        };
        let theory = summary.theory.as_ref();
        let mut row = vec![stability.verdict.as_str().to_owned(), stability.reason.clone()];
        row.extend([stability.growth.value, stability.growth.low, stability.growth.high].map(number));
        row.extend(clock(Clock::Latency, model.warmup.as_secs_f64()));
        row.extend(clock(Clock::Cache, model.cache_warmup.as_secs_f64()));
        row.push(theory.map_or_else(String::new, |exact| exact.theorem.clone()));
        row.push(number(theory.map_or(f64::NAN, |exact| exact.mean)));
        row.push(number(theory.and_then(|exact| exact.p99).unwrap_or(f64::NAN)));
        row.push(number(stability.relaxation.unwrap_or(f64::NAN)));
        row.push(number(outcome.scenario.offered_load.unwrap_or(f64::NAN)));
        row.push(number(summary.utilisation(outcome.scenario)));
        vec![row]
    })
}

/// Whether a metric settled within the warm-up, as one word.
fn settled_word(settling: &Settling, unsettled: Option<Settling>) -> &'static str {
    match (unsettled, settling.after) {
        (None, _) => "settled",
        (Some(_), Some(_)) => "too_short",
        (Some(_), None) => "run_too_short",
    }
}
