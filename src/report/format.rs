//! Number formats for text: times, percentages, values in the unit of their metric.

use evenkeel_core::units::human_seconds;
use evenkeel_sim::measure::ENOUGH;
use evenkeel_sim::measure::interval::Estimate;
use evenkeel_sim::measure::metrics::Unit;

/// A value in the unit of its metric.
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        _ if !value.is_finite() => "–".to_owned(),
        Unit::Seconds => human_seconds(value),
        Unit::Rate => format!("{} /s", significant(value)),
        Unit::Share => percent(value),
        Unit::Index => format!("{value:.4}"),
        Unit::Number => significant(value),
    }
}

/// `0.12 %`; a dash for NaN.
pub fn percent(share: f64) -> String {
    match share {
        s if !s.is_finite() => "–".to_owned(),
        0.0 => "0".to_owned(),
        s if s < 0.0001 => "<0.01 %".to_owned(),
        s if s < 0.1 => format!("{:.2} %", s * 100.0),
        s => format!("{:.1} %", s * 100.0),
    }
}

/// Three decimals; a dash for NaN.
pub fn decimal(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "–".to_owned() }
}

/// `233 ms ±2.5 %`; the value alone without an interval, or with too few runs for a verdict.
pub fn with_spread(estimate: Estimate) -> String {
    let value = human_seconds(estimate.value);
    let spread = estimate.relative_half_width() * 100.0;
    match spread {
        s if !s.is_finite() || estimate.replications < ENOUGH => value,
        // Histograms have a precision of 0.1 %.
        s if s < 0.1 => format!("{value} ±<0.1 %"),
        s if s < 9.95 => format!("{value} ±{s:.1} %"),
        s => format!("{value} ±{s:.0} %"),
    }
}

/// `+1.2 ms`, `−300 µs`.
pub fn signed_seconds(seconds: f64) -> String {
    let size = human_seconds(seconds.abs());
    if seconds < 0.0 { format!("−{size}") } else { format!("+{size}") }
}

/// Three significant digits, without an exponent for values of ordinary size.
fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 => format!("{value:.2}"),
        v if v >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.2e}"),
    }
}

/// A number without trailing zeros.
pub fn trimmed(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A changed load: `2 times the rate`.
pub fn load(factor: f64) -> String {
    match factor {
        0.0 => "no arrivals".to_owned(),
        factor => format!("{} times the rate", trimmed(factor)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_their_units() {
        assert_eq!(value(0.0312, Unit::Seconds), "31.2 ms");
        assert_eq!(value(0.0312, Unit::Share), "3.12 %");
        assert_eq!(value(0.99876, Unit::Index), "0.9988");
        assert_eq!(value(899.6, Unit::Rate), "900 /s");
        assert_eq!(value(f64::NAN, Unit::Number), "–");
        assert_eq!(trimmed(0.1), "0.1");
    }
}
