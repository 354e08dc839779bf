//! What a sentence says, as numbers; its text is made from nothing else.

use super::format::{Ratio, count, counted, length, server, servers, time, verb};
use crate::sim::timeline::Timeline;

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

    /// The sentence, with its time.
    pub fn text(&self, label: &str, timeline: &Timeline) -> String {
        let when = match self {
            Fact::MoreFaults { span, .. }
            | Fact::Hedges { span, .. }
            | Fact::Hits { span, .. }
            | Fact::NotNoticed { span, .. }
            | Fact::ShareStays { span, .. }
            | Fact::Latency { span, .. }
            | Fact::Load { span, .. } => format!("{} to {}", time(span.from), time(span.to)),
            _ => time(self.at()),
        };
        format!("{when}: {}.", self.says(label, timeline))
    }

    fn says(&self, label: &str, timeline: &Timeline) -> String {
        let pool = |pool: u32| timeline.pools.get(pool as usize).map_or("", |pool| pool.pool.as_str());
        let name = |one: u32| server(timeline, one);
        match self {
            Fact::Fault { at, until, who, what, .. } => match until {
                Some(until) => format!("{who} {what}, for {}", length(until - at)),
                None => format!("{who} {what}"),
            },
            Fact::MoreFaults { count: 1, .. } => "1 more fault begins".to_owned(),
            Fact::MoreFaults { count: number, .. } => format!("{} more faults begin", count(*number)),
            Fact::ShareFalls { servers: struck, before, window, then, during, .. } => {
                let struck = servers(timeline, struck);
                let window = length(window.to - window.from);
                let (then, during, before) = (then.percent(), during.percent(), before.percent());
                format!(
                    "{label} sends {then} of the requests to {struck} (over {window}), {before} before the fault; \
                     {during} over the whole fault"
                )
            }
            Fact::ShareStays { servers: struck, before, during, .. } => {
                let struck = servers(timeline, struck);
                let change = during.value() / before.value();
                let (during, before) = (during.percent(), before.percent());
                match change {
                    0.9..1.1 => {
                        format!(
                            "{label} goes on sending {during} of the requests to {struck} ({before} before the fault)"
                        )
                    }
                    _ if change > 1.0 => format!(
                        "during the fault {label} sends {during} of the requests to {struck}, more than the {before} before"
                    ),
                    _ => {
                        format!("during the fault {label} sends {during} of the requests to {struck}, {before} before")
                    }
                }
            }
            Fact::ShareReturns { servers: struck, then, after, before, .. } => {
                let struck = servers(timeline, struck);
                let (then, after, before) = (then.percent(), length(*after), before.percent());
                format!(
                    "{label} sends {then} of the requests to {struck} again, {after} after the end of the fault \
                     ({before} before it)"
                )
            }
            Fact::Queue { server, value, before, span, .. } => {
                let before =
                    before.map_or_else(String::new, |before| format!("; at most {} before", count(before.into())));
                format!(
                    "{} holds {}, waiting or in service: the most until {}{before}",
                    name(*server),
                    counted(u64::from(*value), "request"),
                    time(span.to)
                )
            }
            Fact::Failures { .. } => self.failures(timeline),
            Fact::Noticed { by, server, delay, views, told, last, .. } => {
                let who = match by {
                    By::Checks => "health checks take",
                    By::Outliers => "outlier detection ejects",
                };
                let out = if *by == By::Checks { " out" } else { "" };
                let all = match views {
                    0 | 1 => String::new(),
                    _ => format!("; {told} of {views} balancers do, the last one at {}", time(*last)),
                };
                format!("{who} {}{out}, {} after the fault began{all}", name(*server), length(*delay))
            }
            Fact::NotNoticed { servers: struck, .. } => {
                format!("no balancer takes {} out during the fault", servers(timeline, struck))
            }
            Fact::Ejections { pool: of, count: number, servers, most, at, .. } => {
                format!(
                    "the first of {} in {}, of {}; at {} {most} are ejected at once",
                    counted(*number, "ejection"),
                    pool(*of),
                    counted(*servers, "server"),
                    time(*at)
                )
            }
            Fact::Back { by, server, after, .. } => {
                let how = match by {
                    By::Checks => "passes its health checks again",
                    By::Outliers => "is no longer ejected",
                };
                format!("{} {how}, {} after the end of the fault", name(*server), length(*after))
            }
            Fact::Panic { pool: of, .. } => {
                format!("too few servers of {} are healthy: a balancer ignores health (panic)", pool(*of))
            }
            Fact::Scaling { .. } => self.scaling(timeline),
            Fact::Attempts { pool: of, window, then, before, retries, .. } => {
                let before = before.map_or_else(String::new, |before| format!(", {:.2} before", before.value()));
                format!(
                    "{:.2} attempts per request in {} (over {}): the most{before}; {} in all",
                    then.value(),
                    pool(*of),
                    length(window.to - window.from),
                    retry_count(*retries)
                )
            }
            Fact::Hedges { pool: of, ended, .. } => format!(
                "{} for {} of {} ({})",
                counted(ended.part, "hedge"),
                counted(ended.whole, "request"),
                pool(*of),
                ended.percent()
            ),
            Fact::Waiting { pool: of, value, .. } => {
                format!("{} at the balancers of {}: the most", wait(*value), pool(*of))
            }
            Fact::Hits { pool: of, ratio, before, evictions, .. } => {
                let before = before.map_or_else(String::new, |before| format!(", {} before", before.percent()));
                format!(
                    "{} of the cache look-ups in {} hit{before}; {}",
                    ratio.percent(),
                    pool(*of),
                    counted(*evictions, "eviction")
                )
            }
            Fact::Latency { pool: of, mean, before, .. } => {
                let before = before.map_or_else(String::new, |before| format!(", {} before", length(before as u64)));
                let of = if timeline.pools.len() > 1 { format!(" of {}", pool(*of)) } else { String::new() };
                format!("the mean latency{of} is {}{before}", length(*mean as u64))
            }
            Fact::Recovered { server, bound, after, .. } => format!(
                "{} holds at most {} again, {} after the end of the fault",
                name(*server),
                counted(u64::from(*bound), "request"),
                length(*after)
            ),
            Fact::NotRecovered { server, number, before, after, .. } => format!(
                "{} still holds {}, {} after the end of the fault; at most {} before it",
                name(*server),
                counted(u64::from(*number), "request"),
                length(*after),
                count(u64::from(*before))
            ),
            Fact::Load { busiest, most, idlest, least, .. } => format!(
                "{} gets {most:.2} times its share of the requests by capacity, {} {least:.2} times",
                name(*busiest),
                name(*idlest)
            ),
        }
    }

    fn failures(&self, timeline: &Timeline) -> String {
        let Fact::Failures { pool, outcome, at_server, ended, before, span, .. } = self else { return String::new() };
        let of = pool.and_then(|pool| timeline.pools.get(pool as usize)).map(|pool| pool.pool.as_str());
        let of = of.filter(|_| timeline.pools.len() > 1).map_or_else(String::new, |pool| format!(" of {pool}"));
        let server_ = at_server.map_or_else(String::new, |at| format!(" (sent to {})", server(timeline, at)));
        let first = format!("a request{of}{server_} {}", verb(outcome, true));
        let rest = match ended.part {
            1 => format!("the only one until {}", time(span.to)),
            number => format!("the first of {} until {} ({} of all)", count(number), time(span.to), ended.percent()),
        };
        let before = if before.part == 0 { String::new() } else { format!("; {} before", before.percent()) };
        format!("{first}: {rest}{before}")
    }

    fn scaling(&self, timeline: &Timeline) -> String {
        let Fact::Scaling { pool, started, joined, before, most, most_at, .. } = self else { return String::new() };
        let of = timeline.pools.get(*pool as usize).map_or("", |pool| pool.pool.as_str());
        let joined = match joined {
            Some(joined) => format!("the first joins at {}", time(*joined)),
            None => "none joins".to_owned(),
        };
        let most = match most > before {
            true => format!("; {most} servers at most, from {}", time(*most_at)),
            false => String::new(),
        };
        format!(
            "autoscaling starts {} for {of}, which has {before}; {joined}{most}",
            counted(u64::from(*started), "server")
        )
    }
}

fn retry_count(number: u64) -> String {
    if number == 1 { "1 retry".to_owned() } else { format!("{} retries", count(number)) }
}

fn wait(value: u32) -> String {
    if value == 1 { "1 request waits".to_owned() } else { format!("{} requests wait", count(u64::from(value))) }
}
