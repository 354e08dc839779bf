//! What a sentence says, as numbers; its text is made from nothing else.

use super::format::Ratio;

/// A span of time, nanoseconds since the start of the run: `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Start.
    pub from: u64,
    /// End.
    pub to: u64,
}

/// How balancers learn that a server is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Active health checks.
    Checks,
    /// Outlier detection.
    Outliers,
}

/// A statement about a run, with its numbers. Times are nanoseconds since the start of the run; servers are numbered over all
/// pools. Counts are of the whole `span`.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Fact {
    /// Faults begin: those who have them, as text, and what they do.
    Fault { at: u64, until: Option<u64>, who: String, what: String, servers: Vec<u32> },
    /// Faults that the story does not tell one by one.
    MoreFaults { count: u64, span: Span },
    /// The share of a pool's requests that is sent to these servers is below half of what it was: first in `window`, and over the
    /// whole fault.
    ShareFalls { servers: Vec<u32>, before: Ratio, window: Span, then: Ratio, span: Span, during: Ratio },
    /// The share over the whole fault, where it is not half of what it was.
    ShareStays { servers: Vec<u32>, before: Ratio, span: Span, during: Ratio },
    /// After the fault the share is above half of what it was again: first in `window`.
    ShareReturns { servers: Vec<u32>, before: Ratio, window: Span, then: Ratio, after: u64 },
    /// The highest number of requests in a server of the pool, and when it was reached first; before the span at most `before`.
    Queue { server: u32, value: u32, at: u64, before: Option<u32>, span: Span },
    /// Requests of a pool (of all pools if `None`) that ended so in the span, the first of them, and how many ended in all;
    /// `before` of them ended so in an equal view of the time before.
    Failures {
        pool: Option<u32>,
        outcome: String,
        first: u64,
        at_server: Option<u32>,
        ended: Ratio,
        before: Ratio,
        span: Span,
    },
    /// The first of `views` balancers takes a struck server out, `delay` after the fault's start; `told` of them do, the last at
    /// `last`.
    Noticed { by: By, server: u32, at: u64, delay: u64, views: u32, told: u32, last: u64, span: Span },
    /// No balancer takes a struck server out during the fault, neither by health checks nor by outlier detection.
    NotNoticed { servers: Vec<u32>, span: Span },
    /// Ejections of a pool in the span, of so many different servers; the most at once in one view, and when.
    Ejections { pool: u32, count: u64, servers: u64, most: u32, at: u64, first: u64, span: Span },
    /// The first balancer uses a struck server again, `after` the end of the fault.
    Back { by: By, server: u32, at: u64, after: u64 },
    /// Too few servers of the pool are healthy: a balancer ignores health.
    Panic { pool: u32, at: u64, span: Span },
    /// Autoscaling: the first decision to start servers and how many, when the first of them joins, the number of servers before,
    /// and the most in the span and when.
    Scaling { pool: u32, at: u64, started: u32, joined: Option<u64>, before: u32, most: u32, most_at: u64, span: Span },
    /// The most attempts per request of a pool, over one second or more; and over the time before.
    Attempts { pool: u32, window: Span, then: Ratio, before: Option<Ratio>, retries: u64, span: Span },
    /// Hedges of a pool.
    Hedges { pool: u32, ended: Ratio, span: Span },
    /// The most requests that waited at balancers of a pool.
    Waiting { pool: u32, value: u32, at: u64, span: Span },
    /// Cache look-ups of a pool that hit; and over the time before.
    Hits { pool: u32, ratio: Ratio, before: Option<Ratio>, evictions: u64, span: Span },
    /// Mean latency of the requests of a pool that ended, nanoseconds; and over the time before.
    Latency { pool: u32, mean: f64, before: Option<f64>, span: Span },
    /// From `at` on, and for a second at least, no more than `bound` requests are in the server, `after` the end of the fault.
    Recovered { server: u32, bound: u32, at: u64, after: u64 },
    /// In the last bin of the span, `after` the end of the fault, so many requests are in the server at once; at most `before` were
    /// before the fault.
    NotRecovered { server: u32, number: u32, before: u32, window: Span, after: u64 },
    /// The servers with the highest and the lowest share of a pool's requests over their share of its capacity.
    Load { pool: u32, busiest: u32, most: f64, idlest: u32, least: f64, span: Span },
}

impl Fact {
    /// When: the time of the sentence.
    pub fn at(&self) -> u64 {
        match self {
            Fact::Fault { at, .. } | Fact::Queue { at, .. } | Fact::Noticed { at, .. } | Fact::Back { at, .. } => *at,
            Fact::Panic { at, .. } | Fact::Scaling { at, .. } | Fact::Waiting { at, .. } => *at,
            Fact::Recovered { at, .. } => *at,
            Fact::Failures { first, .. } | Fact::Ejections { first, .. } => *first,
            Fact::ShareFalls { window, .. } | Fact::ShareReturns { window, .. } | Fact::Attempts { window, .. } => {
                window.to
            }
            Fact::NotRecovered { window, .. } => window.to,
            Fact::NotNoticed { span, .. } => span.from,
            Fact::MoreFaults { span, .. } | Fact::ShareStays { span, .. } | Fact::Hedges { span, .. } => span.from,
            Fact::Hits { span, .. } | Fact::Load { span, .. } | Fact::Latency { span, .. } => span.from,
        }
    }

    /// Its kind, one word.
    pub fn kind(&self) -> &'static str {
        match self {
            Fact::Fault { .. } | Fact::MoreFaults { .. } => "fault",
            Fact::ShareFalls { .. } | Fact::ShareStays { .. } | Fact::ShareReturns { .. } => "share",
            Fact::Queue { .. } | Fact::Waiting { .. } => "queue",
            Fact::Failures { outcome, .. } if outcome == "timed_out" => "timeout",
            Fact::Failures { .. } => "error",
            Fact::NotNoticed { .. } => "health",
            Fact::Noticed { by: By::Checks, .. } | Fact::Back { by: By::Checks, .. } | Fact::Panic { .. } => "health",
            Fact::Noticed { .. } | Fact::Back { .. } | Fact::Ejections { .. } => "ejection",
            Fact::Scaling { .. } => "scale",
            Fact::Attempts { .. } => "retry",
            Fact::Hedges { .. } => "hedge",
            Fact::Hits { .. } => "cache",
            Fact::Recovered { .. } | Fact::NotRecovered { .. } => "recovery",
            Fact::Load { .. } => "load",
            Fact::Latency { .. } => "latency",
        }
    }

    /// The server that it is about, if it is about one.
    pub fn server(&self) -> Option<u32> {
        match self {
            Fact::Fault { servers, .. }
            | Fact::ShareFalls { servers, .. }
            | Fact::ShareStays { servers, .. }
            | Fact::NotNoticed { servers, .. }
            | Fact::ShareReturns { servers, .. } => match servers[..] {
                [one] => Some(one),
                _ => None,
            },
            Fact::Queue { server, .. } | Fact::Noticed { server, .. } | Fact::Back { server, .. } => Some(*server),
            Fact::Recovered { server, .. } | Fact::NotRecovered { server, .. } => Some(*server),
            Fact::Load { busiest, .. } => Some(*busiest),
            Fact::Failures { at_server, .. } => *at_server,
            _ => None,
        }
    }
}
