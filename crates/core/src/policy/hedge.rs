//! Hedging: when a response takes longer than most, the request is sent to a second server as well, and the first response
//! is used (Dean and Barroso, "The tail at scale", CACM 2013). The delay is fixed, or a percentile of recent latencies: a
//! histogram in two halves that are swapped every ten seconds, as in tower's `hedge`. Under overload every response is slow
//! and every request would be sent twice: a budget of its own limits hedges to a share of the requests.
//!
//! *Tied* requests (the same article): each server knows of the other copy, and the one that begins service first cancels
//! the other copy, which has then cost only its place in a queue. Servers must support it; those of the simulator do.

#[cfg(feature = "config")]
use std::borrow::Cow;
#[cfg(feature = "config")]
use std::fmt;

use hdrhistogram::Histogram;
#[cfg(feature = "config")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
#[cfg(feature = "config")]
use serde::de::{self, Deserializer, Visitor};
#[cfg(feature = "config")]
use serde::{Deserialize, Serialize, Serializer};

use super::catalog::{Doc, Host, Invalid, Issues, Policy};
use super::retry::Budget;
use crate::units::Nanos;
#[cfg(feature = "config")]
use crate::units::Ratio;

/// For `evenkeel explain`.
pub const DOC: Doc = Doc {
    title: "hedging",
    idea: "When a response takes longer than most do, sends the request to a second server as well and takes the first response.",
    source: "Dean and Barroso, The tail at scale, CACM 2013; tower's hedge; gRPC A6",
    scenario: Some("hedging"),
};

/// When a second attempt is sent beside the first.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "config", derive(Serialize, Deserialize, JsonSchema))]
#[cfg_attr(feature = "config", serde(deny_unknown_fields, default))]
#[cfg_attr(feature = "config", schemars(rename = "Hedge"))]
pub struct Rules {
    /// Time after which the second attempt is sent: `"50ms"`, or `"p95"` (the default) for the 95th percentile of recent
    /// latencies.
    pub after: After,
    /// Hedges per request, over a sliding window of 10 s: at most 1; default 10 %.
    #[cfg_attr(feature = "config", serde(with = "super::serial::ratio"))]
    #[cfg_attr(feature = "config", schemars(with = "Ratio"))]
    pub budget: f64,
    /// Whether requests are tied: the copy that begins service first cancels the other; default false. Servers must take part:
    /// the simulator's do, the proxy refuses it.
    pub tied: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { after: After::Percentile(0.95), budget: 0.1, tied: false }
    }
}

impl Policy for Rules {
    fn check(&self, issues: &mut Issues) {
        issues.require(self.budget <= 1.0, "budget", "`budget` of hedges must be at most 100 %");
    }

    fn unsupported(&self, host: Host) -> Option<Invalid> {
        let message = "tied requests need servers that cancel each other's copies";
        let help =
            "the simulator's do; leave `tied` out here, and the slower copy is cancelled when the other has responded";
        (self.tied && host != Host::Simulator).then(|| Invalid::new("tied", message).help(help))
    }
}

/// When the second attempt is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum After {
    /// After this time.
    Fixed(Nanos),
    /// After this quantile of recent latencies, above 0 and below 1.
    Percentile(f64),
}

#[cfg(feature = "config")]
impl JsonSchema for After {
    fn schema_name() -> Cow<'static, str> {
        "HedgeAfter".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let percentile = json_schema!({ "type": "string", "pattern": "^p[0-9]+(\\.[0-9]+)?$", "examples": ["p95"] });
        let forms = [generator.subschema_for::<Nanos>(), percentile];
        json_schema!({ "description": "A duration, or a percentile of recent latencies.", "anyOf": forms })
    }
}

#[cfg(feature = "config")]
impl Serialize for After {
    /// The delay as it is written in a file.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            After::Fixed(delay) => delay.serialize(to),
            After::Percentile(share) => to.serialize_str(&format!("p{}", share * 100.0)),
        }
    }
}

#[cfg(feature = "config")]
impl<'de> Deserialize<'de> for After {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<After, D::Error> {
        struct Forms;
        impl Visitor<'_> for Forms {
            type Value = After;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"50ms\", or a percentile such as \"p95\" or \"p99.9\"")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<After, E> {
                let Some(percent) = text.strip_prefix('p') else {
                    return text.parse().map(After::Fixed).map_err(E::custom);
                };
                match percent.parse::<f64>() {
                    Ok(percent) if percent > 0.0 && percent < 100.0 => Ok(After::Percentile(percent / 100.0)),
                    _ => Err(E::custom(format!("`{text}` is not a percentile: write \"p95\" or \"p99.9\""))),
                }
            }
        }
        from.deserialize_str(Forms)
    }
}

/// Time for which a half of the histogram records latencies.
const HALF: Nanos = Nanos::from_secs(10);
/// Number of latencies below which no percentile is taken.
pub const LEAST_SAMPLES: u64 = 100;

/// Latencies and hedging budget of one shard for one pool.
#[derive(Clone, Debug)]
pub struct State {
    rules: Rules,
    budget: Budget,
    /// The half that is filled, and the previous one.
    halves: [Histogram<u64>; 2],
    /// Start of the half that is filled.
    since: Nanos,
    /// The delay as last computed, and the number of latencies after which it is computed again.
    delay: Option<Nanos>,
    fresh: u64,
}

impl State {
    /// A state without latencies and with an empty budget.
    pub fn new(rules: Rules) -> State {
        // From a microsecond to an hour, two significant digits; values outside count as the bound.
        let half = || Histogram::new_with_bounds(1_000, 3_600_000_000_000, 2).expect("the bounds are valid");
        State {
            rules,
            budget: Budget::new(rules.budget, 0.0),
            halves: [half(), half()],
            since: Nanos::ZERO,
            delay: None,
            fresh: 0,
        }
    }

    /// Records a request: adds to the budget.
    pub fn arrived(&mut self, now: Nanos) {
        self.budget.deposit(now);
    }

    /// Records the latency of an attempt, from its placement. [`super::balancer`] says which attempts count.
    pub fn record(&mut self, latency: Nanos, now: Nanos) {
        let After::Percentile(share) = self.rules.after else { return };
        self.turn(now);
        self.halves[0].saturating_record(latency.0.max(1));
        self.fresh += 1;
        // Only at every hundredth latency: the percentile iterates over the buckets of both halves.
        if self.fresh >= LEAST_SAMPLES {
            self.work_out(share);
        }
    }

    /// Time to wait for the first response before the second attempt; `None` while too few latencies are known.
    pub fn delay(&mut self, now: Nanos) -> Option<Nanos> {
        match self.rules.after {
            After::Fixed(delay) => Some(delay),
            After::Percentile(_) => {
                self.turn(now);
                self.delay
            }
        }
    }

    /// Takes a hedge out of the budget; returns whether it was allowed.
    pub fn withdraw(&mut self, now: Nanos) -> bool {
        self.budget.withdraw(now)
    }

    /// Swaps the halves when due.
    fn turn(&mut self, now: Nanos) {
        let age = now.saturating_sub(self.since);
        if age < HALF {
            return;
        }
        self.halves.swap(0, 1);
        self.halves[0].reset();
        if age.0 >= 2 * HALF.0 {
            self.halves[1].reset();
        }
        // Halves start at multiples of their length, so that swaps do not depend on the times of the calls.
        self.since = Nanos(now.0 - now.0 % HALF.0);
        if let After::Percentile(share) = self.rules.after {
            self.work_out(share);
        }
    }

    fn work_out(&mut self, share: f64) {
        self.fresh = 0;
        let mut both = self.halves[0].clone();
        // The bounds are equal, so this cannot fail; if it did, the newer half would do.
        let _ = both.add(&self.halves[1]);
        self.delay = (both.len() >= LEAST_SAMPLES).then(|| Nanos(both.value_at_quantile(share)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p95() -> State {
        State::new(Rules { after: After::Percentile(0.95), budget: 0.1, tied: false })
    }

    #[test]
    fn a_fixed_delay_applies_at_once() {
        let delay = Nanos::from_millis(50);
        assert_eq!(
            State::new(Rules { after: After::Fixed(delay), budget: 0.1, tied: false }).delay(Nanos::ZERO),
            Some(delay)
        );
    }

    #[test]
    fn a_percentile_needs_a_hundred_latencies() {
        let mut state = p95();
        for millis in 1..=99 {
            state.record(Nanos::from_millis(millis), Nanos::from_secs(1));
        }
        assert_eq!(state.delay(Nanos::from_secs(1)), None);
        state.record(Nanos::from_millis(100), Nanos::from_secs(1));
        // The 95th of 1 … 100 ms, two digits.
        let delay = state.delay(Nanos::from_secs(1)).unwrap().as_secs_f64();
        assert!((delay - 0.095).abs() < 0.001, "{delay}");
    }

    #[test]
    fn latencies_older_than_both_halves_are_dropped() {
        let mut state = p95();
        (0..200).for_each(|_| state.record(Nanos::from_millis(10), Nanos::from_secs(1)));
        let millis = |delay: Option<Nanos>| delay.map(|d| (d.as_secs_f64() * 1e3).round());
        assert_eq!(millis(state.delay(Nanos::from_secs(12))), Some(10.0), "the half before still counts");
        (0..200).for_each(|_| state.record(Nanos::from_millis(80), Nanos::from_secs(12)));
        assert_eq!(millis(state.delay(Nanos::from_secs(12))), Some(80.0), "half of all are above 10 ms");
        assert_eq!(millis(state.delay(Nanos::from_secs(22))), Some(80.0));
        assert_eq!(state.delay(Nanos::from_secs(45)), None, "silent again");
    }

    #[test]
    fn hedges_are_a_share_of_the_requests() {
        let mut state = p95();
        let mut hedges = 0;
        for i in 0..10_000 {
            let now = Nanos::from_millis(i);
            state.arrived(now);
            hedges += u32::from(state.withdraw(now));
        }
        assert_eq!(hedges, 1000);
    }
}
