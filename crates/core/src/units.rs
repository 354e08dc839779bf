//! Quantities with their units, as written in a scenario or a proxy's config: [`Nanos`] (`"5ms"`), [`Rate`] (`"900/s"`),
//! [`Ratio`] (`"80%"`).
//!
//! [`Nanos`] is a count of nanoseconds since the start of a run. It cannot read a clock, so code that uses it runs the same
//! in the simulator and in the proxy.

use core::time::Duration;
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

#[cfg(feature = "config")]
mod config;

/// Nanoseconds, as an instant since the start of a run or as a span. 2⁶⁴ ns is 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The start of a run, and the empty span.
    pub const ZERO: Nanos = Nanos(0);
    /// The latest time: used for "never".
    pub const MAX: Nanos = Nanos(u64::MAX);

    /// Whole seconds.
    #[inline]
    pub const fn from_secs(secs: u64) -> Nanos {
        Nanos(secs * 1_000_000_000)
    }

    /// Whole milliseconds.
    #[inline]
    pub const fn from_millis(millis: u64) -> Nanos {
        Nanos(millis * 1_000_000)
    }

    /// Seconds to the nearest nanosecond; negative numbers and NaN become zero, too large ones [`Nanos::MAX`].
    #[inline]
    pub fn from_secs_f64(secs: f64) -> Nanos {
        Nanos::from_nanos_f64(secs * 1e9)
    }

    /// Nanoseconds given as a float, to the nearest whole one (a saturating cast: no panic, NaN is zero).
    #[inline]
    pub fn from_nanos_f64(nanos: f64) -> Nanos {
        Nanos((nanos + 0.5) as u64)
    }

    /// The same in seconds.
    #[inline]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// `self - other`, or zero if `other` is later.
    #[inline]
    pub const fn saturating_sub(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(other.0))
    }

    /// `self + other`, or [`Nanos::MAX`].
    #[inline]
    pub const fn saturating_add(self, other: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(other.0))
    }
}

impl Add for Nanos {
    type Output = Nanos;
    /// Saturating: a time beyond 584 years is [`Nanos::MAX`] and not one long ago.
    #[inline]
    fn add(self, other: Nanos) -> Nanos {
        self.saturating_add(other)
    }
}

impl AddAssign for Nanos {
    #[inline]
    fn add_assign(&mut self, other: Nanos) {
        *self = self.saturating_add(other);
    }
}

impl Sub for Nanos {
    type Output = Nanos;
    #[inline]
    fn sub(self, other: Nanos) -> Nanos {
        Nanos(self.0 - other.0)
    }
}

impl From<Duration> for Nanos {
    /// Durations beyond 584 years become [`Nanos::MAX`].
    #[inline]
    fn from(duration: Duration) -> Nanos {
        Nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    #[inline]
    fn from(span: Nanos) -> Duration {
        Duration::from_nanos(span.0)
    }
}

impl fmt::Display for Nanos {
    /// Three significant digits in the unit that fits: `250 ns`, `1.50 ms`, `12.0 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&human_seconds(self.as_secs_f64()))
    }
}

/// A span in seconds, with three significant digits in the unit that fits: `250 ns`, `1.50 ms`, `12.0 s`; a dash for
/// infinity and NaN.
pub fn human_seconds(secs: f64) -> String {
    if !secs.is_finite() {
        return "–".to_owned();
    }
    let (value, unit) = match secs.abs() {
        0.0 => return "0 s".to_owned(),
        s if s < 999.5e-9 => (secs * 1e9, "ns"),
        s if s < 999.5e-6 => (secs * 1e6, "µs"),
        s if s < 999.5e-3 => (secs * 1e3, "ms"),
        _ => (secs, "s"),
    };
    let digits = match value.abs() {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// Splits `"12.5ms"` into 12.5 and `"ms"`; the number may have a sign, a fraction, an exponent and `_`.
fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let mut end = 0;
    while end < bytes.len() {
        let exponent = matches!(bytes[end], b'e' | b'E')
            && bytes.get(end + 1).is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+'));
        match bytes[end] {
            b'0'..=b'9' | b'.' | b'_' | b'+' | b'-' => end += 1,
            _ if exponent => end += 2,
            _ => break,
        }
    }
    let number: f64 = text[..end].replace('_', "").parse().ok()?;
    number.is_finite().then_some((number, text[end..].trim()))
}

/// Nanoseconds in each unit of time, the shortest first.
const TIME_UNITS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9), ("d", 86400e9)];

fn time_unit(unit: &str) -> Option<f64> {
    let unit = match unit {
        "µs" | "μs" => "us",
        "sec" => "s",
        "min" => "m",
        other => other,
    };
    TIME_UNITS.iter().find(|(name, _)| *name == unit).map(|&(_, nanos)| nanos)
}

impl FromStr for Nanos {
    type Err = String;
    fn from_str(text: &str) -> Result<Nanos, String> {
        let wanted = r#"a duration is a number with a unit, such as "250us", "5ms", "1.5s", "2m" or "1h""#;
        let (number, unit) = number_and_unit(text).ok_or_else(|| format!("`{text}` is not a duration: {wanted}"))?;
        let scale = match time_unit(unit) {
            Some(scale) => scale,
            None if unit.is_empty() && number == 0.0 => 1.0,
            None if unit.is_empty() => return Err(format!("`{text}` has no unit: {wanted}")),
            None => return Err(format!("`{unit}` is not a unit of time: {wanted}")),
        };
        if number < 0.0 {
            return Err(format!("`{text}` is negative: a duration must not be"));
        }
        if number * scale > 10.0 * 365.25 * 86400e9 {
            return Err(format!("`{text}` is too long: ten years are the limit"));
        }
        Ok(Nanos::from_nanos_f64(number * scale))
    }
}

/// Events per second. Read from texts such as `"900/s"`; 0 to 1e9.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Rate(pub f64);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Rate, String> {
        let wanted = r#"a rate is a number and a time, such as "900/s", "5/m" or "2.5/ms""#;
        let bad = || format!("`{text}` is not a rate: {wanted}");
        let (number, rest) = number_and_unit(text).ok_or_else(bad)?;
        let unit = rest.strip_prefix('/').or_else(|| rest.strip_prefix("per ")).ok_or_else(bad)?;
        let scale = time_unit(unit.trim()).ok_or_else(|| format!("`{unit}` is not a unit of time: {wanted}"))?;
        if number < 0.0 {
            return Err(format!("`{text}` is negative: a rate must not be"));
        }
        let rate = number / (scale / 1e9);
        if rate > 1e9 {
            return Err(format!("`{text}` is too high: 1e9/s, one event per nanosecond, is the limit"));
        }
        Ok(Rate(rate))
    }
}

/// A share or a factor: `"80%"` and `0.8` are the same. Above 1 it must be a percentage (`"120%"`): a bare `65` is
/// far more often meant as 65 % than as a factor of 65.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Ratio(pub f64);

impl FromStr for Ratio {
    type Err = String;
    fn from_str(text: &str) -> Result<Ratio, String> {
        let wanted = r#"a ratio is a percentage or a number, such as "80%" or 0.8"#;
        match number_and_unit(text) {
            Some((number, _)) if number < 0.0 => Err(format!("`{text}` is negative: a ratio must not be")),
            Some((number, "%")) => Ok(Ratio(number / 100.0)),
            Some((number, "")) => Ratio::bare(number),
            _ => Err(format!("`{text}` is not a ratio: {wanted}")),
        }
    }
}

impl Ratio {
    /// From a number without a unit, at most 1.
    fn bare(number: f64) -> Result<Ratio, String> {
        if number <= 1.0 {
            return Ok(Ratio(number));
        }
        let percent = percent(number);
        Err(format!(
            "`{number}` has no unit: did you mean \"{number}%\"? (for {number} times as much write \"{percent}\")"
        ))
    }
}

/// A ratio as a percentage that is read as exactly the same number, where it came from a percentage.
fn percent(ratio: f64) -> String {
    let near = ratio * 100.0;
    let exact = [near, near.next_down(), near.next_up()].into_iter().find(|percent| percent / 100.0 == ratio);
    format!("{}%", exact.unwrap_or(near))
}

/// Bytes as hexadecimal digits, two for each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits in lower or upper case; `None` if they are not such digits, or an odd number of
/// them.
pub fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.chunks(2).map(|pair| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_rates_and_ratios_parse_from_text() {
        for (text, nanos) in [("5ms", 5_000_000), ("1.5 s", 1_500_000_000), ("250us", 250_000), ("2m", 120_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(Nanos(nanos)), "{text}");
        }
        assert_eq!("0".parse(), Ok(Nanos::ZERO));
        assert_eq!("900/s".parse(), Ok(Rate(900.0)));
        assert_eq!("30/m".parse(), Ok(Rate(0.5)));
        assert_eq!("80%".parse(), Ok(Ratio(0.8)));
        assert_eq!("150%".parse(), Ok(Ratio(1.5)));
        assert_eq!(("1".parse(), ".5".parse()), (Ok(Ratio(1.0)), Ok(Ratio(0.5))));
        assert_eq!("1e3/s".parse(), Ok(Rate(1000.0)));
    }

    #[test]
    fn invalid_quantities_have_a_reason() {
        for (text, why) in
            [("5", "no unit"), ("-5ms", "negative"), ("5 parsecs", "not a unit"), ("fast", "not a duration")]
        {
            let error = text.parse::<Nanos>().unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!("-900/s".parse::<Rate>().unwrap_err().contains("negative"));
        assert!("900".parse::<Rate>().unwrap_err().contains("not a rate"));
        for bare in ["65", "1.01", "2e0"] {
            assert!(bare.parse::<Ratio>().unwrap_err().contains("has no unit: did you mean"), "{bare}");
        }
        assert!("1e300d".parse::<Nanos>().unwrap_err().contains("too long"));
    }

    #[test]
    fn display_has_three_digits() {
        for (nanos, text) in [
            (0, "0 s"),
            (250, "250 ns"),
            (1_500_000, "1.50 ms"),
            (999_600_000, "1.00 s"),
            (12_000_000_000, "12.0 s"),
            (123_456_000, "123 ms"),
        ] {
            assert_eq!(Nanos(nanos).to_string(), text);
        }
    }

    #[test]
    fn floats_saturate_and_never_panic() {
        assert_eq!(Nanos::from_secs_f64(-1.0), Nanos::ZERO);
        assert_eq!(Nanos::from_secs_f64(f64::NAN), Nanos::ZERO);
        assert_eq!(Nanos::from_secs_f64(f64::INFINITY), Nanos::MAX);
        assert_eq!(Nanos::from_secs_f64(1.5e-9), Nanos(2));
    }

    #[test]
    fn hexadecimal_round_trips() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(hex(&bytes).as_bytes()), Some(bytes));
        assert_eq!((hex(&[0, 0xab]), unhex(b"")), ("00ab".to_owned(), Some(Vec::new())));
        for bad in [&b"0"[..], b"0g", b"+1", b"\xff0"] {
            assert_eq!(unhex(bad), None, "{bad:?}");
        }
    }
}
