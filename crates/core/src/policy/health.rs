//! Active health checks: a server is down after `fall` failed checks in a row and up after `rise` passed ones (HAProxy's
//! terms and defaults: every 2 s, rise 2, fall 3). Jitter spreads the checks of many balancers, which otherwise stay
//! synchronised when they were started together.

#[cfg(feature = "config")]
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

#[cfg(feature = "config")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
#[cfg(feature = "config")]
use serde::de::{self, Deserializer};
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize, Serializer};

use super::catalog::{Doc, Issues, Policy};
use crate::rng::Source;
use crate::units::Nanos;
#[cfg(feature = "config")]
use crate::units::Ratio;

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "active health checks",
    idea: "Sends a check to every server at an interval; a server that fails several in a row gets no requests until it passes several.",
    source: "HAProxy (inter, rise, fall)",
    scenario: Some("crash"),
};

/// How servers are checked.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Health"))]
pub struct Rules {
    /// Time from the start of a check to the start of the next, at least 1 ms; default 2 s. HAProxy's `inter`.
    pub interval: Nanos,
    /// A check without an answer after this time has failed: above 0; default 1 s.
    pub timeout: Nanos,
    /// Passed checks in a row after which a server is up, at least 1; default 2. HAProxy's `rise`.
    pub rise: u32,
    /// Failed checks in a row after which a server is down, at least 1; default 3. HAProxy's `fall`.
    pub fall: u32,
    /// Random variation of each interval, longer or shorter by up to this share of it: from 0, below 1; default 0.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub jitter: f64,
    /// State of a server before its first checks: `"up"` (the default), or `"down"` until it has risen.
    pub initial: Initial,
    /// Path that the proxy requests, such as `"/health"`. `None`: a TCP connection is enough. The simulator's servers answer
    /// either kind alike.
    pub path: Option<String>,
    /// Statuses with which such a request passes, as in `"200-399"` or `"200,204"`. `None`: 200 to 399.
    pub status: Option<Statuses>,
    /// Whether a TCP connection is enough, said explicitly; excludes `path`. `None`: it is where there is no `path`.
    pub tcp: Option<bool>,
}

impl Default for Rules {
    /// HAProxy's: every 2 s, rise 2, fall 3.
    fn default() -> Rules {
        Rules {
            interval: Nanos::from_secs(2),
            timeout: Nanos::from_secs(1),
            rise: 2,
            fall: 3,
            jitter: 0.0,
            initial: Initial::Up,
            path: None,
            status: None,
            tcp: None,
        }
    }
}

/// State of a server before its first checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "config", schemars(rename = "HealthInitial"))]
pub enum Initial {
    /// Up until checks fail.
    #[default]
    Up,
    /// Down until it has risen.
    Down,
}

/// What the proxy does to check a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Opens a TCP connection.
    Tcp,
    /// Sends `GET` of this path; the status must be in one of these ranges.
    Http {
        /// Begins with `/`.
        path: String,
        /// First and last status of each range, both included.
        status: Vec<(u16, u16)>,
    },
}

/// Ranges of HTTP statuses, first and last included, as `"200-399"` or `"200,204"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(pub Vec<(u16, u16)>);

impl FromStr for Statuses {
    type Err = String;
    fn from_str(text: &str) -> Result<Statuses, String> {
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|code| (100..=599).contains(code));
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some((first, last))
        };
        let ranges = text.split(',').map(range).collect::<Option<Vec<_>>>();
        ranges
            .map(Statuses)
            .ok_or_else(|| format!("`{text}` is not a list of statuses: write \"200-399\" or \"200,204\""))
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |&(first, last): &(u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        f.write_str(&self.0.iter().map(range).collect::<Vec<_>>().join(","))
    }
}

#[cfg(feature = "config")]
impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(feature = "config")]
impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Statuses, D::Error> {
        Cow::<str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "config")]
impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "HTTP statuses and ranges of them.", "type": "string", "examples": ["200-399", "200,204"],
        })
    }
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        issues.require(self.interval >= Nanos::from_millis(1), "interval", "`interval` must be at least 1ms");
        issues.require(self.timeout > Nanos::ZERO, "timeout", "`timeout` must be above zero");
        issues.require(self.rise > 0, "rise", "`rise` must be above zero");
        issues.require(self.fall > 0, "fall", "`fall` must be above zero");
        issues.require(self.jitter < 1.0, "jitter", "`jitter` must be below 100 %");
        if self.tcp == Some(true) {
            let other = self.path.is_some() || self.status.is_some();
            issues.require(!other, "tcp", "a check is either `tcp` or has a `path`").help("leave one of them out");
        } else if let Some(path) = &self.path {
            let sound = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic());
            issues.require(sound, "path", "a `path` begins with `/` and has only visible ASCII characters");
        } else {
            let message = "`status` has no meaning without a `path`";
            issues.require(self.status.is_none(), "status", message).help("add `path = \"/health\"`");
        }
    }
}

impl Rules {
    /// What the proxy does to check a server.
    pub fn check_kind(&self) -> Check {
        match &self.path {
            Some(path) if self.tcp != Some(true) => {
                let status = self.status.as_ref().map_or_else(|| vec![(200, 399)], |status| status.0.clone());
                Check::Http { path: path.clone(), status }
            }
            _ => Check::Tcp,
        }
    }

    /// Time to the next check: uniform in interval × (1 ± jitter). Without jitter no random number is drawn.
    pub fn wait(&self, rng: &mut impl Source) -> Nanos {
        if self.jitter <= 0.0 {
            return self.interval;
        }
        let factor = 1.0 + self.jitter * (2.0 * rng.unit() - 1.0);
        Nanos::from_nanos_f64(self.interval.0 as f64 * factor).max(Nanos(1))
    }
}

/// Health of one server according to its checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    up: bool,
    /// Checks in a row that contradict `up`.
    against: u32,
}

impl Default for State {
    /// Up: the state of every server without checks.
    fn default() -> State {
        State { up: true, against: 0 }
    }
}

impl State {
    /// State before the first check.
    pub fn new(rules: &Rules) -> State {
        State { up: rules.initial == Initial::Up, against: 0 }
    }

    /// Whether the server is up.
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Records the result of a check. `Some(up)` when the state changes.
    pub fn observe(&mut self, passed: bool, rules: &Rules) -> Option<bool> {
        if passed == self.up {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < if self.up { rules.fall } else { rules.rise } {
            return None;
        }
        *self = State { up: passed, against: 0 };
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn down_after_three_failures_and_up_after_two_passes() {
        let mut state = State::new(&Rules::default());
        let results = [false, false, true, false, false, false, true, false, true, true];
        let changes: Vec<_> = results.iter().map(|&ok| state.observe(ok, &Rules::default())).collect();
        let mut expected = [None; 10];
        (expected[5], expected[9]) = (Some(false), Some(true));
        assert_eq!(changes, expected);
    }

    #[test]
    fn a_server_that_starts_down_must_pass_checks_first() {
        let rules = Rules { initial: Initial::Down, ..Rules::default() };
        let mut state = State::new(&rules);
        assert!(!state.is_up());
        assert_eq!([true, true].map(|ok| state.observe(ok, &rules)), [None, Some(true)]);
    }

    #[test]
    fn jitter_is_uniform_and_without_it_nothing_is_drawn() {
        let mut rng = Rng::stream(1, "test", 0);
        let before = rng.clone();
        assert_eq!(Rules::default().wait(&mut rng), Nanos::from_secs(2));
        assert_eq!(rng, before);
        let rules = Rules { jitter: 0.1, ..Rules::default() };
        let waits: Vec<f64> = (0..10_000).map(|_| rules.wait(&mut rng).as_secs_f64()).collect();
        let least = waits.iter().copied().fold(f64::INFINITY, f64::min);
        let most = waits.iter().copied().fold(0.0, f64::max);
        assert!((1.8..1.801).contains(&least) && (2.199..=2.2).contains(&most), "{least} {most}");
        // Uniform on [1.8, 2.2]: mean 2, standard error 0.4/√12/√10000 = 0.00115; four of them.
        let mean = waits.iter().sum::<f64>() / 1e4;
        assert!((mean - 2.0).abs() < 0.0047, "{mean}");
    }
}
