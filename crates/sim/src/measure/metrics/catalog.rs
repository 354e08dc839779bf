//! The catalogue of metrics. A new metric is a row here: results, `compare`, expectations, charts and documentation take its
//! unit, its direction and its text from it.

use super::view::{Part, View, at_quantile, jain, max_over_mean, mean, ratio};
use crate::sim::model::{Model, Pool};
use crate::sim::record::RequestOutcome;

/// The unit of a metric. It decides how values are shown and how tolerances apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Events per second.
    Rate,
    /// Part of a whole, from 0 to 1, shown as a percentage; its tolerance is absolute.
    Share,
    /// An index from 0 to 1, shown as it is; its tolerance is absolute.
    Index,
    /// Any other number.
    Number,
}

impl Unit {
    /// Whether a change is given relative to the old value.
    pub fn relative(self) -> bool {
        !matches!(self, Unit::Share | Unit::Index)
    }

    /// As in `metrics.csv`: `s`, `1/s` or `1` (a plain number).
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::Rate => "1/s",
            Unit::Share | Unit::Index | Unit::Number => "1",
        }
    }
}

/// Which values of a metric are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Lower is better.
    Lower,
    /// Higher is better.
    Higher,
    /// Neither: `compare` reports the change and never calls it better or worse.
    Neither,
}

impl Direction {
    /// `lower`, `higher` or `neither`.
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Lower => "lower",
            Direction::Higher => "higher",
            Direction::Neither => "neither",
        }
    }
}

/// A row of the catalogue.
pub struct Definition {
    /// Name without a path or pool before it. In results of several paths or pools, `path.PATH.` or `POOL.` stands before it.
    pub name: &'static str,
    /// Name on the axis of a chart.
    pub label: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// Whether lower or higher values are better.
    pub direction: Direction,
    /// Description, one sentence.
    pub doc: &'static str,
    /// Whether it is meaningful only in a steady state: otherwise it has no interval.
    pub needs_steady_state: bool,
    /// Which results have it, as text.
    pub present: &'static str,
    /// Whether a part of the results has it.
    pub(super) is_present: fn(&Model, Part) -> bool,
    /// Its value in a run; NaN where there is nothing to divide by. `None` if it is no column of the results but derived from
    /// two of them.
    pub(super) value: Option<fn(&View<'_>) -> f64>,
}

/// Requests without a good response: the sum of `errors.ratio` and `unfinished.ratio`.
pub const FAILED: &str = "failed";

/// The row of a metric, whatever path or pool stands before its name.
pub fn find(metric: &str) -> Option<&'static Definition> {
    let mut name = metric;
    loop {
        if let Some(row) = CATALOGUE.iter().find(|row| row.name == name) {
            return Some(row);
        }
        name = name.split_once('.')?.1;
    }
}

/// Unit and direction of a metric. A name that is not in the catalogue (of another version) is a number without a direction.
pub fn nature(metric: &str) -> (Direction, Unit) {
    find(metric).map_or((Direction::Neither, Unit::Number), |row| (row.direction, row.unit))
}

const ALWAYS: &str = "always; also by path and by pool, where there are several";

const fn request(
    name: &'static str,
    label: &'static str,
    unit: Unit,
    direction: Direction,
    doc: &'static str,
    value: fn(&View<'_>) -> f64,
) -> Definition {
    Definition {
        name,
        label,
        unit,
        direction,
        doc,
        needs_steady_state: false,
        present: ALWAYS,
        is_present: |model, part| part.has_requests(model),
        value: Some(value),
    }
}

const fn latency(
    name: &'static str,
    label: &'static str,
    doc: &'static str,
    value: fn(&View<'_>) -> f64,
) -> Definition {
    let row = request(name, label, Unit::Seconds, Direction::Lower, doc, value);
    Definition { needs_steady_state: true, ..row }
}

const fn error(name: &'static str, label: &'static str, doc: &'static str, value: fn(&View<'_>) -> f64) -> Definition {
    request(name, label, Unit::Share, Direction::Lower, doc, value)
}

/// A metric of all requests together, in results where an entry pool has a policy.
const fn policy(
    (name, label): (&'static str, &'static str),
    (unit, direction): (Unit, Direction),
    doc: &'static str,
    present: &'static str,
    is_present: fn(&Model, Part) -> bool,
    value: fn(&View<'_>) -> f64,
) -> Definition {
    let needs_steady_state = false;
    Definition { name, label, unit, direction, doc, needs_steady_state, present, is_present, value: Some(value) }
}

const NEUTRAL: (Unit, Direction) = (Unit::Number, Direction::Neither);

fn has_retries(pool: &Pool) -> bool {
    pool.policy.retries.is_some()
}

fn has_hedge(pool: &Pool) -> bool {
    pool.policy.hedge.is_some()
}

fn has_queue(pool: &Pool) -> bool {
    pool.policy.queue.is_some()
}

fn has_cache(pool: &Pool) -> bool {
    pool.servers.iter().any(|server| server.cache.is_some())
}

/// All metrics, in the order of `metrics.csv`.
pub const CATALOGUE: [Definition; 32] = [
    latency("latency.mean", "mean latency", "Mean latency.", |v| match v.requests().latency.len() {
        0 => f64::NAN,
        n => v.requests().latency_sum as f64 / 1e9 / n as f64,
    }),
    latency("latency.p50", "p50 latency", "Median latency.", |v| at_quantile(&v.requests().latency, 0.5)),
    latency("latency.p90", "p90 latency", "90th percentile of the latency.", |v| {
        at_quantile(&v.requests().latency, 0.9)
    }),
    latency("latency.p99", "p99 latency", "99th percentile of the latency.", |v| {
        at_quantile(&v.requests().latency, 0.99)
    }),
    latency("latency.p999", "p99.9 latency", "99.9th percentile of the latency.", |v| {
        at_quantile(&v.requests().latency, 0.999)
    }),
    request(
        "throughput",
        "throughput",
        Unit::Rate,
        Direction::Higher,
        "Requests that ended, in whatever way, per second.",
        |v| (v.requests().requests() - v.requests().unfinished) as f64 / v.seconds,
    ),
    request("goodput", "goodput", Unit::Rate, Direction::Higher, "Requests with a good response per second.", |v| {
        v.requests().ok() as f64 / v.seconds
    }),
    error("errors.ratio", "error rate", "Share of requests that failed, for any of the causes below.", |v| {
        let c = v.requests();
        ratio(c.requests() - c.unfinished - c.ok(), c.requests())
    }),
    error("errors.error", "error responses", "Share of requests that a server answered with an error.", |v| {
        v.ended(RequestOutcome::Error)
    }),
    error(
        "errors.rejected",
        "rejected requests",
        "Share of requests rejected: a queue was full, a limit reached, or admission rejected them.",
        |v| v.ended(RequestOutcome::Rejected),
    ),
    error(
        "errors.no_healthy_server",
        "requests without a server",
        "Share of requests for which the balancer had no healthy server.",
        |v| v.ended(RequestOutcome::NoServer),
    ),
    error("errors.reset", "resets", "Share of requests whose server refused or closed the connection.", |v| {
        v.ended(RequestOutcome::Reset)
    }),
    error("errors.timed_out", "timeouts", "Share of requests whose client gave up waiting.", |v| {
        v.ended(RequestOutcome::TimedOut)
    }),
    error(
        "errors.unreachable",
        "unreachable",
        "Share of requests whose client could not connect to a balancer.",
        |v| v.ended(RequestOutcome::Unreachable),
    ),
    error(
        "unfinished.ratio",
        "unfinished requests",
        "Share of requests still in the system when the run ended.",
        |v| ratio(v.requests().unfinished, v.requests().requests()),
    ),
    Definition {
        name: FAILED,
        label: "failed requests",
        unit: Unit::Share,
        direction: Direction::Lower,
        doc: "Sum of `errors.ratio` and `unfinished.ratio`.",
        needs_steady_state: false,
        present: "in `compare` only",
        is_present: |_, _| false,
        value: None,
    },
    policy(
        ("fairness.jain", "fairness (Jain's index)"),
        (Unit::Index, Direction::Higher),
        "Jain's index of each server's share of requests relative to its share of capacity: 1 is fair, 1/n is all on one.",
        "always, over the servers of the pools that routes lead to; also by pool, where there are several",
        |_, part| part.has_servers(),
        |v| jain(&v.loads()),
    ),
    policy(
        ("fairness.max_over_mean", "busiest server's load / mean"),
        (Unit::Number, Direction::Lower),
        "Requests relative to capacity on the busiest server, over the mean of all servers.",
        "always",
        |_, part| part == Part::Whole,
        |v| max_over_mean(&v.loads()),
    ),
    policy(
        ("cache.hit_ratio", "cache hit ratio"),
        (Unit::Share, Direction::Higher),
        "Share of cache look-ups that hit: of requests that arrived once caches are warm; of a pool, of all look-ups in it.",
        "if a server has a cache; also by pool, where there are several",
        |model, part| match part {
            Part::Whole => model.pools.iter().any(has_cache),
            Part::Path(_) => false,
            Part::Pool(p) => has_cache(&model.pools[p]),
        },
        |v| match v.part {
            Part::Pool(_) => {
                let lookups = v.servers().fold((0, 0), |(hits, misses), s| (hits + s.hits, misses + s.misses));
                ratio(lookups.0, lookups.0 + lookups.1)
            }
            _ => ratio(v.requests().hits, v.requests().hits + v.requests().misses),
        },
    ),
    policy(
        ("utilisation.mean", "utilisation"),
        (Unit::Share, Direction::Neither),
        "Used capacity over capacity.",
        "always; also by pool, where there are several",
        |_, part| part.has_servers(),
        |v| v.utilisation(),
    ),
    policy(
        ("utilisation.max", "utilisation of the busiest server"),
        (Unit::Share, Direction::Neither),
        "Busy share of the busiest server.",
        "always",
        |_, part| part == Part::Whole,
        |v| v.servers().map(|s| s.utilisation).fold(0.0, f64::max),
    ),
    Definition {
        name: "in_server.mean",
        label: "requests in a server",
        unit: Unit::Number,
        direction: Direction::Lower,
        doc: "Mean number of requests in a server, in service included.",
        needs_steady_state: true,
        present: "always; also by pool, where there are several",
        is_present: |_, part| part.has_servers(),
        value: Some(|v| mean(v.servers().map(|s| s.number))),
    },
    policy(
        ("attempts.mean", "attempts per request"),
        NEUTRAL,
        "Attempts per request.",
        "if a pool has retries or hedging",
        |model, part| part.any_entry(model, Pool::tries),
        |v| ratio(v.measured.efforts.attempts, v.requests_of(Pool::tries)),
    ),
    policy(
        ("retries.ratio", "retries per request"),
        NEUTRAL,
        "Retries per request.",
        "if a pool has retries",
        |model, part| part.any_entry(model, has_retries),
        |v| ratio(v.measured.efforts.retries, v.requests_of(has_retries)),
    ),
    policy(
        ("hedges.ratio", "hedges per request"),
        NEUTRAL,
        "Hedged requests per request.",
        "if a pool has hedging",
        |model, part| part.any_entry(model, has_hedge),
        |v| ratio(v.measured.efforts.hedges, v.requests_of(has_hedge)),
    ),
    policy(
        ("hedges.win_ratio", "hedges that won"),
        (Unit::Share, Direction::Neither),
        "Share of hedged requests whose response came first.",
        "if a pool has hedging",
        |model, part| part.any_entry(model, has_hedge),
        |v| ratio(v.measured.efforts.hedges_won, v.measured.efforts.hedges),
    ),
    policy(
        ("balancer_queue.ratio", "queued attempts per request"),
        NEUTRAL,
        "Attempts that waited in a balancer's queue, per request.",
        "if a pool has a queue",
        |model, part| part.any_entry(model, has_queue),
        |v| ratio(v.measured.efforts.waited, v.requests_of(has_queue)),
    ),
    policy(
        ("balancer_queue.mean", "time in the balancer's queue"),
        (Unit::Seconds, Direction::Lower),
        "Mean time in a balancer's queue of attempts that waited there and were sent on; 0 if none waited.",
        "if a pool has a queue",
        |model, part| part.any_entry(model, has_queue),
        |v| match v.measured.efforts.waited {
            0 => 0.0,
            n => v.measured.efforts.wait_sum as f64 / 1e9 / n as f64,
        },
    ),
    policy(
        ("ejections", "ejections"),
        NEUTRAL,
        "Ejections of servers; each balancer's count.",
        "if a pool has outlier detection",
        |model, part| part == Part::Whole && model.pools.iter().any(|pool| pool.policy.outliers.is_some()),
        |v| v.measured.efforts.ejections as f64,
    ),
    policy(
        ("probes.ratio", "probes per request"),
        NEUTRAL,
        "Probes that selectors sent to servers, per request.",
        "if a pool probes its servers' load",
        |model, part| part.any_entry(model, |pool| pool.probes.is_some()),
        |v| ratio(v.measured.efforts.probes, v.requests().requests()),
    ),
    policy(
        ("servers", "servers"),
        NEUTRAL,
        "Mean number of servers, draining ones included.",
        "for each pool that is autoscaled",
        |model, part| part.only_pool(model).is_some_and(|p| model.pools[p].autoscale.is_some()),
        |v| v.server_count(),
    ),
    policy(
        ("zones.cross_ratio", "attempts to other zones"),
        (Unit::Share, Direction::Neither),
        "Share of attempts sent to a server outside the balancer's zone.",
        "if balancers and servers have zones",
        |model, part| part == Part::Whole && model.has_zones(),
        |v| ratio(v.measured.efforts.crossed, v.entry_picks()),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_documented_and_unambiguous() {
        for (i, row) in CATALOGUE.iter().enumerate() {
            for text in [row.label, row.doc, row.present] {
                assert!(!text.is_empty(), "{}", row.name);
            }
            assert!(row.doc.ends_with('.'), "{}", row.name);
            let suffix = |other: &Definition| row.name == other.name || row.name.ends_with(&format!(".{}", other.name));
            assert_eq!(CATALOGUE.iter().position(suffix), Some(i), "{}: found by another row's name", row.name);
        }
    }

    #[test]
    fn a_prefix_does_not_change_the_row() {
        for (metric, direction, unit) in [
            ("latency.p99", Direction::Lower, Unit::Seconds),
            ("payments.latency.p99", Direction::Lower, Unit::Seconds),
            ("path.pay.errors.timed_out", Direction::Lower, Unit::Share),
            ("failed", Direction::Lower, Unit::Share),
            ("payments.failed", Direction::Lower, Unit::Share),
            ("fairness.max_over_mean", Direction::Lower, Unit::Number),
            ("fairness.jain", Direction::Higher, Unit::Index),
            ("web.cache.hit_ratio", Direction::Higher, Unit::Share),
            ("path.pay.goodput", Direction::Higher, Unit::Rate),
            ("utilisation.max", Direction::Neither, Unit::Share),
            ("db.in_server.mean", Direction::Lower, Unit::Number),
            ("balancer_queue.mean", Direction::Lower, Unit::Seconds),
            ("web.servers", Direction::Neither, Unit::Number),
            ("something.else", Direction::Neither, Unit::Number),
        ] {
            assert_eq!(nature(metric), (direction, unit), "{metric}");
        }
    }
}
