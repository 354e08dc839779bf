//! Numbers and names in sentences.

use crate::sim::timeline::Timeline;

/// A part of a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratio {
    /// The part.
    pub part: u64,
    /// The whole.
    pub whole: u64,
}

impl Ratio {
    /// The quotient; 0 of nothing.
    pub fn value(self) -> f64 {
        if self.whole == 0 { 0.0 } else { self.part as f64 / self.whole as f64 }
    }

    /// Such as `1.9 %`.
    pub fn percent(self) -> String {
        percent(self.value())
    }
}

impl std::ops::Add for Ratio {
    type Output = Ratio;
    fn add(self, other: Ratio) -> Ratio {
        Ratio { part: self.part + other.part, whole: self.whole + other.whole }
    }
}

/// Such as `1.9 %`; below 1 % with two significant digits. Nothing is `none`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 {
        return "none".to_owned();
    }
    if share == 1.0 {
        return "100 %".to_owned();
    }
    if percent >= 0.995 {
        return format!("{percent:.1} %");
    }
    let mut digits = 2;
    while digits < 6 && format!("{percent:.digits$}").trim_start_matches(['0', '.']).len() < 2 {
        digits += 1;
    }
    format!("{percent:.digits$} %")
}

/// A time of the run, such as `20.4 s`.
pub fn time(ns: u64) -> String {
    format!("{:.1} s", ns as f64 / 1e9)
}

/// A length of time, such as `4.3 s` or `13 ms`.
pub fn length(ns: u64) -> String {
    match ns {
        0..1_000_000 => format!("{:.0} µs", ns as f64 / 1e3),
        1_000_000..10_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.0} ms", ns as f64 / 1e6),
        _ => format!("{:.1} s", ns as f64 / 1e9),
    }
}

/// Such as `1,210`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

/// A number of things: `1 request`, `1,210 requests`.
pub fn counted(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A server's name; with its pool where another pool has a server of this name.
pub fn server(timeline: &Timeline, server: u32) -> String {
    let Some(series) = timeline.servers.get(server as usize) else { return String::new() };
    let same = timeline.servers.iter().filter(|other| other.server == series.server).count();
    if same > 1 { timeline.server_name(server) } else { series.server.clone() }
}

/// Some servers of one pool: all by name if there are few, else their number.
pub fn servers(timeline: &Timeline, all: &[u32]) -> String {
    let Some(first) = all.first().and_then(|&server| timeline.servers.get(server as usize)) else {
        return "no server".to_owned();
    };
    let in_pool = timeline.servers_of(&first.pool).count();
    match all {
        [one] => server(timeline, *one),
        _ if all.len() == in_pool => format!("every server of {}", first.pool),
        _ if all.len() <= 3 => list(&all.iter().map(|&one| server(timeline, one)).collect::<Vec<_>>()),
        _ => format!("{} of {in_pool} servers of {}", all.len(), first.pool),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// What requests with this outcome did, after a number of them.
pub fn verb(outcome: &str, one: bool) -> &'static str {
    match (outcome, one) {
        ("timed_out", true) => "times out",
        ("timed_out", false) => "time out",
        ("error", true) => "is answered with an error",
        ("error", false) => "are answered with an error",
        ("rejected", true) => "is rejected",
        ("rejected", false) => "are rejected",
        ("no_healthy_server", true) => "finds no healthy server",
        ("no_healthy_server", false) => "find no healthy server",
        ("reset", true) => "is refused or reset",
        ("reset", false) => "are refused or reset",
        ("unreachable", true) => "reaches no balancer",
        ("unreachable", false) => "reach no balancer",
        (_, true) => "fails",
        (_, false) => "fail",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_keep_what_matters() {
        let percents = [0.0, 0.019, 0.1, 0.00994, 0.0012, 0.0000123, 1.0].map(percent);
        assert_eq!(percents, ["none", "1.9 %", "10.0 %", "0.99 %", "0.12 %", "0.0012 %", "100 %"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([400, 1_500_000, 13_000_000, 4_300_000_000].map(length), ["0 µs", "1.5 ms", "13 ms", "4.3 s"]);
        assert_eq!(counted(1, "request"), "1 request");
        assert_eq!(list(&["a", "b", "c"].map(str::to_owned)), "a, b and c");
    }
}
