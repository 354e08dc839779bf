//! Outlier ejection: servers are taken out for a while because of the responses to requests, not to checks.
//!
//! Four detectors: consecutive failures; a success rate below the mean of all servers by a number of standard deviations
//! (Envoy's rule); a share of failures above a threshold (failure percentage of Envoy and gRPC); a mean latency above a
//! multiple of the median of the servers. The last three are evaluated at the end of each interval, over that interval.
//!
//! An ejection lasts `base_ejection_time` × the server's number of ejections, at most `max_ejection_time`; each interval
//! without an ejection lowers the number by one (Envoy's and gRPC's rule). At most the share `max_ejected` of the servers is
//! ejected at a time, **but always at least one** where there are several: Envoy's default of 10 % ejects none of nine.
//!
//! The success rate's rule has no scale: of n servers, k equally bad ones lie √((n−k)/k) deviations below the mean, however
//! bad they are. At 1.9 deviations more than 21 % of bad servers are never detected, and a single one at 99.9 % among perfect
//! ones is. The rule of latency has a scale and detects up to half of the servers.

#[cfg(feature = "config")]
use schemars::JsonSchema;
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize};

use super::catalog::{Doc, Issues, Policy};
use crate::math;
use crate::units::Nanos;
#[cfg(feature = "config")]
use crate::units::Ratio;

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "outlier ejection",
    idea: "Ejects servers for a while because of failed or slow responses to requests; active health checks only see how they answer checks.",
    source: "Envoy's outlier detection; gRPC A50",
    scenario: Some("outlier-ejection"),
};

/// Which servers are ejected, for how long, and how many at most.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Outliers"))]
pub struct Rules {
    /// Failures in a row after which a server is ejected; default 5. Written as 0 for `None`: never. Envoy's
    /// `consecutive_5xx`.
    #[cfg_attr(feature = "config", serde(with = "zero_is_none"))]
    #[cfg_attr(feature = "config", schemars(with = "u32"))]
    pub consecutive_failures: Option<u32>,
    /// `success_rate = { deviations = 1.9, … }`: ejects for a low success rate. `None`: does not.
    pub success_rate: Option<SuccessRate>,
    /// `failure_percentage = { threshold = "85%", … }`: ejects for a large share of failures. `None`: does not.
    pub failure_percentage: Option<FailurePercentage>,
    /// `latency = { factor = 3, … }`: ejects for a high mean latency. `None`: does not.
    pub latency: Option<Latency>,
    /// Time over which `success_rate`, `failure_percentage` and `latency` are evaluated, at least 1 ms; default 10 s. Envoy's
    /// `interval`.
    pub interval: Nanos,
    /// Duration of a server's first ejection, above 0; the second lasts twice as long, the third three times. Default 30 s.
    /// Envoy's name.
    pub base_ejection_time: Nanos,
    /// Longest ejection, not below `base_ejection_time`. Default 300 s. Envoy's name.
    pub max_ejection_time: Nanos,
    /// Largest share of the servers that may be ejected at a time, 0 to 1; default 0.5. Envoy's `max_ejection_percent`, 10 %
    /// by default there.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub max_ejected: f64,
    /// How `max_ejected` is rounded to a number of servers: `"one_always"` (down, but at least one; the default), `"envoy"`
    /// (down: none of nine at 10 %) or `"grpc"` (another one while the share is not reached).
    pub max_ejected_rule: Cap,
}

impl Default for Rules {
    /// Envoy's, except `max_ejected`, which is 10 % there.
    fn default() -> Rules {
        Rules {
            consecutive_failures: Some(5),
            success_rate: None,
            failure_percentage: None,
            latency: None,
            interval: Nanos::from_secs(10),
            base_ejection_time: Nanos::from_secs(30),
            max_ejection_time: Nanos::from_secs(300),
            max_ejected: 0.5,
            max_ejected_rule: Cap::OneAlways,
        }
    }
}

/// `consecutive_failures` as a number, 0 for never.
#[cfg(feature = "config")]
mod zero_is_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(count: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
        count.unwrap_or(0).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
        u32::deserialize(from).map(|count| (count > 0).then_some(count))
    }
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        issues.require(self.interval >= Nanos::from_millis(1), "interval", "`interval` must be at least 1ms");
        let base = self.base_ejection_time;
        issues.require(base > Nanos::ZERO, "base_ejection_time", "`base_ejection_time` must be above zero");
        let message = format!("`max_ejection_time` is shorter than `base_ejection_time`, {base}");
        issues.require(self.max_ejection_time >= base, "max_ejection_time", message).help(
            "an ejection lasts `base_ejection_time` times how often the server was ejected, up to `max_ejection_time`",
        );
        let message = "`max_ejected` is a share of the servers: at most 100 %";
        issues.require(self.max_ejected <= 1.0, "max_ejected", message);
        if let Some(SuccessRate { deviations, min_servers, .. }) = self.success_rate {
            let sound = deviations > 0.0 && deviations.is_finite();
            issues.require(sound, "success_rate.deviations", "`deviations` must be above zero");
            issues
                .require(min_servers > 1, "success_rate.min_servers", "`min_servers` must be at least 2")
                .help("one server cannot be compared with others");
        }
        if let Some(FailurePercentage { threshold, .. }) = self.failure_percentage {
            let sound = threshold > 0.0 && threshold <= 1.0;
            let message = "`threshold` must be above zero and at most 100 %";
            issues.require(sound, "failure_percentage.threshold", message);
        }
        if let Some(Latency { factor, .. }) = self.latency {
            issues.require(factor > 1.0 && factor.is_finite(), "latency.factor", "`factor` must be above 1");
        }
        let any = self.consecutive_failures.is_some()
            || self.success_rate.is_some()
            || self.failure_percentage.is_some()
            || self.latency.is_some();
        issues.require(any, "", "nothing here would ever eject a server").help(
            "give `consecutive_failures`, `success_rate`, `failure_percentage` or `latency`, or leave the table out",
        );
    }
}

/// How `max_ejected` is rounded to a number of servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(rename_all = "snake_case"))]
#[cfg_attr(feature = "config", schemars(rename = "MaxEjectedRule"))]
pub enum Cap {
    /// The share, rounded down, but at least one where there are several.
    #[default]
    OneAlways,
    /// Envoy's since 1.28: another one is ejected if the share still holds with it. With 10 % none of fewer than ten is.
    Envoy,
    /// gRPC's (A50), and Envoy's before: another one is ejected while the share is not reached. With 10 % one of three is.
    Grpc,
}

/// Ejects a server that fails at least this share of its requests, whatever the others do.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "OutlierFailurePercentage"))]
pub struct FailurePercentage {
    /// Share of failed requests: above 0, at most 1; default 0.85. Envoy's `failure_percentage_threshold`.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub threshold: f64,
    /// Servers with at least `min_requests` that the comparison needs; with fewer none is ejected. Default 5. Envoy's
    /// `failure_percentage_minimum_hosts`.
    pub min_servers: u32,
    /// Requests in an interval below which a server is not judged. Default 50. Envoy's `failure_percentage_request_volume`.
    pub min_requests: u64,
}

impl Default for FailurePercentage {
    /// Envoy's.
    fn default() -> FailurePercentage {
        FailurePercentage { threshold: 0.85, min_servers: 5, min_requests: 50 }
    }
}

/// Ejects a server whose success rate lies below mean − `deviations` × standard deviation of the servers' success rates.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "OutlierSuccessRate"))]
pub struct SuccessRate {
    /// Number of standard deviations, above 0; default 1.9. Envoy's `success_rate_stdev_factor`, in thousandths there.
    pub deviations: f64,
    /// Servers with at least `min_requests` that the comparison needs, at least 2; with fewer none is ejected. Default 5.
    /// Envoy's `success_rate_minimum_hosts`.
    pub min_servers: u32,
    /// Requests in an interval below which a server is not judged. Default 100. Envoy's `success_rate_request_volume`.
    pub min_requests: u64,
}

impl Default for SuccessRate {
    /// Envoy's.
    fn default() -> SuccessRate {
        SuccessRate { deviations: 1.9, min_servers: 5, min_requests: 100 }
    }
}

/// Ejects a server whose mean latency lies above `factor` × the median of the servers' mean latencies. Of an even number the
/// median is the lower of the two in the middle, so that two servers can be told apart.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "OutlierLatency"))]
pub struct Latency {
    /// Multiple of the median, above 1; default 3.
    pub factor: f64,
    /// Requests in an interval below which a server is not judged. Default 100.
    pub min_requests: u64,
}

impl Default for Latency {
    fn default() -> Latency {
        Latency { factor: 3.0, min_requests: 100 }
    }
}

/// Why a server was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Failures in a row.
    Consecutive,
    /// Its success rate.
    SuccessRate,
    /// Its share of failures.
    FailurePercentage,
    /// Its latency.
    Latency,
}

impl Reason {
    /// All of them, in the order of their numbers (`as usize`).
    pub const ALL: &[Reason] = &[Reason::Consecutive, Reason::SuccessRate, Reason::FailurePercentage, Reason::Latency];

    /// Name in logs and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Consecutive => "consecutive",
            Reason::SuccessRate => "success_rate",
            Reason::FailurePercentage => "failure_percentage",
            Reason::Latency => "latency",
        }
    }
}

/// A change that the detector found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The server of this slot is ejected until this time.
    Ejected(u32, Reason, Nanos),
    /// The ejection of this slot's server has ended.
    Returned(u32),
}

/// State of one server.
#[derive(Clone, Debug, Default)]
struct Record {
    present: bool,
    in_a_row: u32,
    good: u64,
    all: u64,
    latencies: u128,
    /// Number of ejections that still count.
    times: u32,
    ejected_until: Option<Nanos>,
    /// Whether it was ejected at some time in this interval.
    was_out: bool,
}

impl Record {
    fn forget_requests(&mut self) {
        (self.in_a_row, self.good, self.all, self.latencies) = (0, 0, 0, 0);
    }

    fn is_in(&self) -> bool {
        self.present && self.ejected_until.is_none()
    }
}

/// Detects outliers among the servers of a fleet, by slot.
#[derive(Clone, Debug)]
pub struct Detector {
    rules: Rules,
    records: Vec<Record>,
    present: usize,
    out: usize,
    interval_ends: Nanos,
}

impl Detector {
    /// A detector without servers; the first interval begins at `now`.
    pub fn new(rules: Rules, now: Nanos) -> Detector {
        let interval_ends = now.saturating_add(rules.interval);
        Detector { rules, records: Vec::new(), present: 0, out: 0, interval_ends }
    }

    /// Adds the server of this slot.
    pub fn joined(&mut self, slot: u32) {
        self.left(slot);
        let slot = slot as usize;
        if self.records.len() <= slot {
            self.records.resize(slot + 1, Record::default());
        }
        self.records[slot] = Record { present: true, ..Record::default() };
        self.present += 1;
    }

    /// Removes the server of this slot.
    pub fn left(&mut self, slot: u32) {
        if let Some(record) = self.records.get_mut(slot as usize).filter(|record| record.present) {
            self.out -= usize::from(record.ejected_until.is_some());
            self.present -= 1;
            *record = Record::default();
        }
    }

    /// End of the ejection of this slot's server; `None` if it is not ejected.
    pub fn ejected_until(&self, slot: u32) -> Option<Nanos> {
        self.records.get(slot as usize)?.ejected_until
    }

    /// Records the end of a request at this slot's server, successful or not, and its latency.
    pub fn ended(&mut self, slot: u32, good: bool, latency: Nanos, now: Nanos) -> Option<Finding> {
        // A late response of an ejected server adds nothing: the requests were sent before the ejection.
        let record = self.records.get_mut(slot as usize).filter(|record| record.is_in())?;
        record.all += 1;
        record.latencies += u128::from(latency.0);
        if good {
            record.good += 1;
            record.in_a_row = 0;
            return None;
        }
        record.in_a_row += 1;
        if record.in_a_row < self.rules.consecutive_failures? {
            return None;
        }
        record.in_a_row = 0;
        self.eject(slot, Reason::Consecutive, now)
    }

    /// Handles the timers that are due: ejections end, and at the end of an interval servers are ejected.
    pub fn tick(&mut self, now: Nanos) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (slot, record) in self.records.iter_mut().enumerate() {
            if record.ejected_until.is_some_and(|until| until <= now) {
                record.ejected_until = None;
                record.forget_requests();
                self.out -= 1;
                findings.push(Finding::Returned(slot as u32));
            }
        }
        if now >= self.interval_ends {
            self.judge(now, &mut findings);
            self.interval_ends = now.saturating_add(self.rules.interval);
        }
        findings
    }

    /// When [`Detector::tick`] is next due.
    pub fn next_tick(&self) -> Nanos {
        let returns = self.records.iter().filter_map(|record| record.ejected_until);
        returns.fold(self.interval_ends, Nanos::min)
    }

    /// Evaluates an interval at its end.
    fn judge(&mut self, now: Nanos, findings: &mut Vec<Finding>) {
        // Worst first: where not all may be ejected, the worst are.
        let mut suspects = self.slow_to_succeed();
        suspects.extend(self.failing());
        suspects.extend(self.slow_to_answer());
        for (slot, reason) in suspects {
            if self.records[slot as usize].is_in() {
                findings.extend(self.eject(slot, reason, now));
            }
        }
        for record in self.records.iter_mut().filter(|record| record.present) {
            let out = record.ejected_until.is_some();
            if !out && !record.was_out {
                record.times = record.times.saturating_sub(1);
            }
            record.was_out = out;
            (record.good, record.all, record.latencies) = (0, 0, 0);
        }
    }

    /// Servers that are not ejected and have enough requests, each with its value.
    fn measured(&self, least: u64, number: impl Fn(&Record) -> f64) -> Vec<(f64, u32)> {
        let seen = self.records.iter().enumerate().filter(|(_, record)| record.is_in() && record.all >= least.max(1));
        seen.map(|(slot, record)| (number(record), slot as u32)).collect()
    }

    fn slow_to_succeed(&self) -> Vec<(u32, Reason)> {
        let Some(rule) = self.rules.success_rate else { return Vec::new() };
        let mut rates = self.measured(rule.min_requests, |r| r.good as f64 / r.all as f64);
        if rates.is_empty() || rates.len() < rule.min_servers as usize {
            return Vec::new();
        }
        let n = rates.len() as f64;
        let mean = rates.iter().map(|&(rate, _)| rate).sum::<f64>() / n;
        let variance = rates.iter().map(|&(rate, _)| (rate - mean) * (rate - mean)).sum::<f64>() / n;
        let bound = mean - rule.deviations * math::sqrt(variance);
        rates.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        // Equal servers differ by rounding alone: that is no deviation.
        let below = rates.into_iter().filter(|&(rate, _)| rate < bound - 1e-12);
        below.map(|(_, slot)| (slot, Reason::SuccessRate)).collect()
    }

    fn failing(&self) -> Vec<(u32, Reason)> {
        let Some(rule) = self.rules.failure_percentage else { return Vec::new() };
        let mut shares = self.measured(rule.min_requests, |r| 1.0 - r.good as f64 / r.all as f64);
        if shares.len() < rule.min_servers as usize {
            return Vec::new();
        }
        shares.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let above = shares.into_iter().filter(|&(share, _)| share >= rule.threshold - 1e-12);
        above.map(|(_, slot)| (slot, Reason::FailurePercentage)).collect()
    }

    fn slow_to_answer(&self) -> Vec<(u32, Reason)> {
        let Some(rule) = self.rules.latency else { return Vec::new() };
        let mut means = self.measured(rule.min_requests, |r| r.latencies as f64 / r.all as f64);
        if means.len() < 2 {
            return Vec::new();
        }
        means.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        let bound = rule.factor * means[(means.len() - 1) / 2].0;
        let above = means.into_iter().rev().filter(|&(mean, _)| mean > bound);
        above.map(|(_, slot)| (slot, Reason::Latency)).collect()
    }

    /// Whether another server may be ejected.
    fn has_room(&self) -> bool {
        // A tolerance of 1e-9 for rounding: 30 % of ten are three.
        let share = self.rules.max_ejected * self.present as f64;
        let whole = (share + 1e-9) as usize;
        match self.rules.max_ejected_rule {
            Cap::OneAlways => self.out < if self.present > 1 { whole.max(1) } else { whole },
            Cap::Envoy => self.out < whole,
            Cap::Grpc => (self.out as f64) < share - 1e-9,
        }
    }

    fn eject(&mut self, slot: u32, reason: Reason, now: Nanos) -> Option<Finding> {
        if !self.has_room() {
            return None;
        }
        let record = &mut self.records[slot as usize];
        record.times = record.times.saturating_add(1);
        let span =
            self.rules.base_ejection_time.0.saturating_mul(u64::from(record.times)).min(self.rules.max_ejection_time.0);
        let until = now.saturating_add(Nanos(span));
        record.ejected_until = Some(until);
        record.was_out = true;
        record.forget_requests();
        self.out += 1;
        Some(Finding::Ejected(slot, reason, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        consecutive_failures: Some(5),
        success_rate: None,
        failure_percentage: None,
        latency: None,
        interval: Nanos::from_secs(10),
        base_ejection_time: Nanos::from_secs(30),
        max_ejection_time: Nanos::from_secs(70),
        max_ejected: 0.5,
        max_ejected_rule: Cap::OneAlways,
    };

    fn detector(rules: Rules, servers: u32) -> Detector {
        let mut detector = Detector::new(rules, Nanos::ZERO);
        (0..servers).for_each(|slot| detector.joined(slot));
        detector
    }

    const fn secs(secs: u64) -> Nanos {
        Nanos::from_secs(secs)
    }

    /// Ends `all` requests at a slot, `good` of them successfully; the failures are spread so that they are not consecutive.
    fn end(detector: &mut Detector, slot: u32, all: u64, good: u64, latency: Nanos) {
        for i in 0..all {
            let ok = (i + 1) * good / all > i * good / all;
            assert_eq!(detector.ended(slot, ok, latency, secs(1)), None);
        }
    }

    #[test]
    fn five_consecutive_failures_eject_and_four_do_not() {
        let mut d = detector(RULES, 4);
        let fail = |d: &mut Detector, at| d.ended(2, false, Nanos(1), at);
        (0..4).for_each(|_| assert_eq!(fail(&mut d, secs(1)), None));
        assert_eq!(d.ended(2, true, Nanos(1), secs(1)), None, "a success resets the count");
        (0..4).for_each(|_| assert_eq!(fail(&mut d, secs(2)), None));
        assert_eq!(fail(&mut d, secs(2)), Some(Finding::Ejected(2, Reason::Consecutive, secs(32))));
        assert_eq!(d.ejected_until(2), Some(secs(32)));
        assert_eq!(fail(&mut d, secs(3)), None, "late responses of an ejected server do not count");
    }

    #[test]
    fn ejections_grow_up_to_the_maximum_and_shrink_after_clean_intervals() {
        let mut d = detector(RULES, 4);
        let eject = |d: &mut Detector, now: Nanos| {
            let found = (0..5).filter_map(|_| d.ended(1, false, Nanos(1), now)).next();
            match found {
                Some(Finding::Ejected(1, _, until)) => until - now,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(eject(&mut d, secs(5)), secs(30));
        let mut now = secs(5);
        let mut back_at = |d: &mut Detector| {
            loop {
                now = d.next_tick();
                if d.tick(now).contains(&Finding::Returned(1)) {
                    return now;
                }
            }
        };
        assert_eq!(back_at(&mut d), secs(35));
        assert_eq!(eject(&mut d, secs(35)), secs(60), "twice the base");
        assert_eq!(back_at(&mut d), secs(95));
        assert_eq!(eject(&mut d, secs(95)), secs(70), "three times 30 s, but 70 s are the longest");
        assert_eq!(back_at(&mut d), secs(165));
        // Intervals end at every ten seconds. The one to 170 s contained a part of the ejection; those to 180, 190 and 200
        // are clean and take the count from 3 to 0; the next ejection counts as the first.
        while d.next_tick() <= secs(200) {
            let at = d.next_tick();
            assert_eq!(d.tick(at), []);
        }
        assert_eq!(eject(&mut d, secs(205)), secs(30));
    }

    #[test]
    fn max_ejected_holds_and_one_server_can_always_be_ejected() {
        let eject_all = |most, servers| {
            let mut d = detector(Rules { consecutive_failures: Some(1), max_ejected: most, ..RULES }, servers);
            (0..servers).filter(|&slot| d.ended(slot, false, Nanos(1), secs(1)).is_some()).count()
        };
        for (most, servers, out) in
            [(0.5, 10, 5), (0.5, 5, 2), (0.3, 10, 3), (0.1, 9, 1), (0.0, 2, 1), (0.5, 1, 0), (1.0, 1, 1), (1.0, 4, 4)]
        {
            assert_eq!(eject_all(most, servers), out, "{most} of {servers}");
        }
    }

    #[test]
    fn a_success_rate_below_mean_minus_deviations_is_ejected() {
        let rule = SuccessRate { deviations: 1.9, min_servers: 5, min_requests: 100 };
        let rules = Rules { consecutive_failures: None, success_rate: Some(rule), ..RULES };
        // One of five at 80 %: mean 0.96, deviation √(0.04²·4/5 + 0.16²/5) = 0.08; bound 0.96 − 0.152 = 0.808.
        let mut d = detector(rules, 5);
        (0..4).for_each(|slot| end(&mut d, slot, 100, 100, Nanos(1)));
        end(&mut d, 4, 100, 80, Nanos(1));
        assert_eq!(d.tick(secs(10)), [Finding::Ejected(4, Reason::SuccessRate, secs(40))]);
        // Two of nine: √(7/2) = 1.87 deviations at most, however bad they are.
        let mut d = detector(rules, 9);
        (0..7).for_each(|slot| end(&mut d, slot, 100, 100, Nanos(1)));
        (7..9).for_each(|slot| end(&mut d, slot, 100, 0, Nanos(1)));
        assert_eq!(d.tick(secs(10)), []);
        // Too few requests, too few servers.
        let mut d = detector(rules, 5);
        (0..4).for_each(|slot| end(&mut d, slot, 99 + u64::from(slot > 0), 100, Nanos(1)));
        end(&mut d, 4, 100, 0, Nanos(1));
        assert_eq!(d.tick(secs(10)), []);
        assert_eq!(d.next_tick(), secs(20));
    }

    #[test]
    fn latencies_above_a_multiple_of_the_median_are_ejected_worst_first() {
        let rules = Rules {
            consecutive_failures: None,
            latency: Some(Latency { factor: 3.0, min_requests: 10 }),
            max_ejected: 0.25,
            ..RULES
        };
        let millis = Nanos::from_millis;
        let mut d = detector(rules, 4);
        for (slot, latency) in [(0, 10), (1, 31), (2, 40), (3, 10)] {
            end(&mut d, slot, 10, 10, millis(latency));
        }
        // The lower median of 10, 10, 31, 40 is 10; the bound 30; of the two above it one may be ejected, the slower.
        assert_eq!(d.tick(secs(10)), [Finding::Ejected(2, Reason::Latency, secs(40))]);
        // A value at the bound is not above it; this is a new window.
        for (slot, latency) in [(0, 10), (1, 30), (3, 10)] {
            end(&mut d, slot, 10, 10, millis(latency));
        }
        assert_eq!(d.tick(secs(20)), []);
        let mut two = detector(rules, 2);
        end(&mut two, 0, 10, 10, millis(10));
        end(&mut two, 1, 10, 10, millis(31));
        assert_eq!(two.tick(secs(10)), [Finding::Ejected(1, Reason::Latency, secs(40))]);
    }

    #[test]
    fn a_removed_ejected_server_no_longer_counts_as_ejected() {
        let mut d = detector(Rules { consecutive_failures: Some(1), ..RULES }, 2);
        assert!(d.ended(0, false, Nanos(1), secs(1)).is_some());
        assert_eq!(d.ended(1, false, Nanos(1), secs(1)), None);
        d.left(0);
        d.joined(0);
        assert_eq!(d.ejected_until(0), None, "a new server in the slot has no ejection");
        assert!(d.ended(1, false, Nanos(1), secs(1)).is_some());
    }
}
