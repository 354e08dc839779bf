//! The sentences of facts, made from their numbers and the names of servers and pools.

use super::facts::{By, Fact};
use super::format::{count, counted, length, server, servers, time, verb};
use crate::sim::timeline::Timeline;

impl Fact {
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
        match self {
            Fact::Fault { .. } | Fact::MoreFaults { .. } => self.faults(),
            Fact::ShareFalls { .. } | Fact::ShareStays { .. } | Fact::ShareReturns { .. } => {
                self.shares(label, timeline)
            }
            Fact::Queue { .. }
            | Fact::Waiting { .. }
            | Fact::Recovered { .. }
            | Fact::NotRecovered { .. }
            | Fact::Latency { .. } => self.queues(timeline),
            Fact::Noticed { .. }
            | Fact::NotNoticed { .. }
            | Fact::Ejections { .. }
            | Fact::Back { .. }
            | Fact::Panic { .. } => self.health(timeline),
            Fact::Attempts { .. } | Fact::Hedges { .. } | Fact::Hits { .. } | Fact::Load { .. } => {
                self.counts(timeline)
            }
            Fact::Failures { .. } => self.failures(timeline),
            Fact::Scaling { .. } => self.scaling(timeline),
        }
    }

    fn faults(&self) -> String {
        match self {
            Fact::Fault { at, until, who, what, .. } => match until {
                Some(until) => format!("{who} {what}, for {}", length(until - at)),
                None => format!("{who} {what}"),
            },
            Fact::MoreFaults { count: 1, .. } => "1 more fault begins".to_owned(),
            Fact::MoreFaults { count: number, .. } => format!("{} more faults begin", count(*number)),
            _ => String::new(),
        }
    }

    fn shares(&self, label: &str, timeline: &Timeline) -> String {
        match self {
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
            _ => String::new(),
        }
    }

    fn queues(&self, timeline: &Timeline) -> String {
        let pool = |pool: u32| pool_name(timeline, pool);
        let name = |one: u32| server(timeline, one);
        match self {
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
            Fact::Waiting { pool: of, value, .. } => {
                format!("{} at the balancers of {}: the most", wait(*value), pool(*of))
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
            _ => String::new(),
        }
    }

    fn health(&self, timeline: &Timeline) -> String {
        let pool = |pool: u32| pool_name(timeline, pool);
        let name = |one: u32| server(timeline, one);
        match self {
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
            _ => String::new(),
        }
    }

    fn counts(&self, timeline: &Timeline) -> String {
        let pool = |pool: u32| pool_name(timeline, pool);
        let name = |one: u32| server(timeline, one);
        match self {
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
            Fact::Hits { pool: of, ratio, before, evictions, .. } => {
                let before = before.map_or_else(String::new, |before| format!(", {} before", before.percent()));
                format!(
                    "{} of the cache look-ups in {} hit{before}; {}",
                    ratio.percent(),
                    pool(*of),
                    counted(*evictions, "eviction")
                )
            }
            Fact::Load { busiest, most, idlest, least, .. } => format!(
                "{} gets {most:.2} times its share of the requests by capacity, {} {least:.2} times",
                name(*busiest),
                name(*idlest)
            ),
            _ => String::new(),
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

fn pool_name(timeline: &Timeline, pool: u32) -> &str {
    timeline.pools.get(pool as usize).map_or("", |pool| pool.pool.as_str())
}

fn retry_count(number: u64) -> String {
    if number == 1 { "1 retry".to_owned() } else { format!("{} retries", count(number)) }
}

fn wait(value: u32) -> String {
    if value == 1 { "1 request waits".to_owned() } else { format!("{} requests wait", count(u64::from(value))) }
}
