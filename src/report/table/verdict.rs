//! Verdicts on strategies: a cell of the table.

use crate::report::answer::{Field, Place};
use evenkeel_sim::measure::Comparison;

/// The verdict on a strategy of this index; `short` for a narrow terminal.
pub fn verdict(field: &Field, which: usize, short: bool) -> String {
    let row = &field.rows[which];
    if row.oracle {
        return if short { "–".to_owned() } else { "baseline with perfect information".to_owned() };
    }
    if let [only] = &row.places[..] {
        return stand_text(only.stand, short);
    }
    if !row.ranks {
        return stand_text(Some(Comparison::Overloaded), short);
    }
    let in_pools = || row.places.iter().zip(&field.pools);
    let mut parts = Vec::new();
    let pools = |is: fn(&Comparison) -> bool| -> Vec<&str> {
        let stands = in_pools().filter(|(place, _)| place.stand.as_ref().is_some_and(is));
        stands.map(|(_, pool)| pool.as_str()).collect()
    };
    let mut count = |verb: &str, pools: Vec<&str>| match pools.len() {
        0 => {}
        n if n == field.pools.len() => parts.push(format!("{verb} in all pools")),
        n if short || field.pools.len() > MOST_NAMED => parts.push(format!("{verb} in {n}")),
        _ => parts.push(format!("{verb} in {}", pools.join(", "))),
    };
    count("best", pools(|stands| *stands == Comparison::Best));
    count("ties", pools(|stands| *stands == Comparison::Tied));
    // The largest of the values that are worse.
    let most = |of: fn(Comparison) -> Option<f64>| {
        let all = in_pools().filter_map(|(place, pool)| Some((of(place.stand?)?, place, pool)));
        all.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let worse = most(|stands| match stands {
        Comparison::Worse(times) | Comparison::Unknown(times) => Some(times),
        _ => None,
    });
    let failing = most(|stands| match stands {
        Comparison::Fails(more) => Some(more),
        _ => None,
    });
    let both: [Option<(f64, &Place, &String)>; 2] = [worse, failing];
    for (_, place, pool) in both.into_iter().flatten() {
        let text = stand_text(place.stand, true);
        parts.push(if short { text } else { format!("{text} in {pool}") });
    }
    if parts.is_empty() { stand_text(None, short) } else { parts.join("; ") }
}

/// With more pools than this a verdict gives their number instead of their names.
const MOST_NAMED: usize = 3;

/// A comparison with the best in a few words.
pub fn stand_text(stands: Option<Comparison>, short: bool) -> String {
    match (stands, short) {
        (Some(Comparison::Best), _) => "best".to_owned(),
        (Some(Comparison::Tied), false) => "ties with the best".to_owned(),
        (Some(Comparison::Tied), true) => "ties".to_owned(),
        (Some(Comparison::Worse(times)), false) => format!("{} slower", times_text(times)),
        (Some(Comparison::Worse(times)), true) => times_text(times),
        (Some(Comparison::Unknown(times)), false) if times < 1.0005 => "as fast, but too few runs to tell".to_owned(),
        (Some(Comparison::Unknown(times)), true) if times < 1.0005 => "ties?".to_owned(),
        (Some(Comparison::Unknown(times)), false) => format!("{} slower, but too few runs to tell", times_text(times)),
        (Some(Comparison::Unknown(times)), true) => format!("{}?", times_text(times)),
        (Some(Comparison::Fails(more)), _) => errors_text(more),
        (Some(Comparison::Overloaded), false) => "not ranked: overloaded".to_owned(),
        (Some(Comparison::Overloaded), true) => "overloaded".to_owned(),
        (None, _) => "nothing to compare".to_owned(),
    }
}

/// `3.4x`, `1.07x`: three digits at most, and never 1.00.
fn times_text(times: f64) -> String {
    match times {
        t if t >= 9.95 => format!("{t:.0}x"),
        t if t >= 1.995 => format!("{t:.1}x"),
        t if t >= 1.005 => format!("{t:.2}x"),
        t => format!("{t:.3}x"),
    }
}

/// `+7.69 pp errors`.
fn errors_text(more: f64) -> String {
    let points = more * 100.0;
    if points >= 9.995 { format!("+{points:.1} pp errors") } else { format!("+{points:.2} pp errors") }
}
