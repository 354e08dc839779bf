//! Words of the sentences: lists, ratios, percentage points.

/// `a`, `a and b`, `a, b and c`; with more than `most` names the others are counted: `a, b and 4 more`.
pub fn list(names: &[&str], most: usize) -> String {
    // "and 1 more" would take as much room as the name.
    let shown = if names.len() > most + 1 { most } else { names.len() };
    let more = (names.len() > shown).then(|| format!("{} more", names.len() - shown));
    let mut parts: Vec<&str> = names[..shown].to_vec();
    parts.extend(more.as_deref());
    match &parts[..] {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `22 times lower`, `3.8 % lower`: how much lower a value is than another that is `times` as large.
pub fn lower(times: f64) -> String {
    ratio(times).map_or_else(|| format!("{} lower", small(1.0 - 1.0 / times)), |text| format!("{text} lower"))
}

/// `22 times higher`, `3.8 % higher`: how much higher a value is that is `times` as large as another.
pub fn higher(times: f64) -> String {
    ratio(times).map_or_else(|| format!("{} higher", small(times - 1.0)), |text| format!("{text} higher"))
}

/// `2.3 times`; `None` below 1.1, which is given in percent.
fn ratio(times: f64) -> Option<String> {
    match times {
        t if t >= 9.95 => Some(format!("{t:.0} times")),
        t if t >= 1.095 => Some(format!("{t:.1} times")),
        _ => None,
    }
}

fn small(share: f64) -> String {
    match share * 100.0 {
        p if p < 0.1 => "less than 0.1 %".to_owned(),
        p => format!("{p:.1} %"),
    }
}

/// `3.10`, `12.3`: a share in percentage points, without the unit.
pub fn points(share: f64) -> String {
    let points = share * 100.0;
    if points >= 9.995 { format!("{points:.1}") } else { format!("{points:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_count_what_they_do_not_name() {
        assert_eq!(list(&[], 3), "");
        assert_eq!(list(&["a"], 3), "a");
        assert_eq!(list(&["a", "b"], 3), "a and b");
        assert_eq!(list(&["a", "b", "c", "d"], 3), "a, b, c and d", "no \"and 1 more\"");
        assert_eq!(list(&["a", "b", "c", "d", "e"], 3), "a, b, c and 2 more");
    }

    #[test]
    fn ratios_are_times_or_percent() {
        assert_eq!(lower(22.4), "22 times lower");
        assert_eq!(lower(2.34), "2.3 times lower");
        assert_eq!(lower(1.6), "1.6 times lower");
        assert_eq!(lower(1.04), "3.8 % lower");
        assert_eq!(higher(1.04), "4.0 % higher");
        assert_eq!(higher(1.0001), "less than 0.1 % higher");
        assert_eq!(points(0.031), "3.10");
        assert_eq!(points(0.123), "12.3");
    }
}
