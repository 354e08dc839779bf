//! The decisive difference between two strategies: what differs most of what matters.

use serde::Serialize;

use super::Subject;
use super::facts::Span;
use super::format::{Ratio, count, length, servers};
use super::incidents::Incident;
use super::series::Series;
use super::story::Run;
use crate::sim::model::Model;
use crate::sim::timeline::{Change, Timeline};

/// How two strategies differ.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// [`Subject::index`] of the first one.
    pub a: usize,
    /// Of the second one.
    pub b: usize,
    /// One sentence.
    pub text: String,
    /// What it says, as numbers.
    #[serde(skip)]
    pub clauses: Vec<Clause>,
}

/// A part of the sentence, with the numbers of both strategies. Where there is a fault, shares and queues are of the servers of one
/// pool that it strikes; everything else is of the measured span.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each variant says what its fields are")]
pub enum Clause {
    /// Share of the pool's requests that is sent to these servers during the fault.
    Share { servers: Vec<u32>, a: Ratio, b: Ratio, span: Span },
    /// The most requests in one of these servers from the fault to the next one.
    Queue { servers: Vec<u32>, a: u32, b: u32, span: Span },
    /// The most requests in any server.
    Longest { a: u32, b: u32, span: Span },
    /// Requests that failed.
    Failed { a: Ratio, b: Ratio, span: Span },
    /// Cache look-ups that hit.
    Hits { a: Ratio, b: Ratio, span: Span },
    /// Attempts per request.
    Attempts { a: Ratio, b: Ratio, span: Span },
    /// Mean latency of the requests that ended, nanoseconds.
    Mean { a: f64, b: f64, span: Span },
    /// Load of the busiest server: its share of the requests over its share of the capacity.
    Load { a: f64, b: f64, span: Span },
    /// Time from the fault to the first ejection of a struck server, or its first failed checks, nanoseconds.
    Noticed { a: u64, b: u64 },
}

/// What two strategies are compared by.
struct Features {
    struck: Option<(Vec<u32>, Span, Ratio, Span, u32)>,
    longest: u32,
    failed: Ratio,
    hits: Ratio,
    attempts: Ratio,
    mean: Option<f64>,
    load: Option<f64>,
    noticed: Option<u64>,
    span: Span,
}

/// The part of the first incident that strikes some servers of a pool, but not all.
fn struck(model: &Model, incidents: &[Incident]) -> Option<(usize, u32, Vec<u32>)> {
    incidents.iter().enumerate().find_map(|(i, incident)| {
        let some = |(pool, servers): &&(u32, Vec<u32>)| servers.len() < model.pools[*pool as usize].servers.len();
        incident.parts.iter().find(some).map(|(pool, servers)| (i, *pool, servers.clone()))
    })
}

fn features(model: &Model, timeline: &Timeline, incidents: &[Incident]) -> Features {
    let run = Run { model, timeline, series: Series::new(timeline), incidents };
    let span = run.measured();
    let series = &run.series;
    let pools = || 0..model.pools.len() as u32;
    let of_fault = struck(model, incidents).filter(|&(i, ..)| series.starts(incidents[i].at));
    let mut noticed = None;
    let of_fault = of_fault.map(|(i, pool, servers)| {
        let (during, after) = (run.during(&incidents[i]), run.aftermath(&incidents[i]));
        let told = series.events(during).find(|exact| match &exact.change {
            Change::Down { server, .. } | Change::Ejected { server, .. } => servers.contains(server),
            _ => false,
        });
        noticed = told.map(|exact| exact.at_ns - incidents[i].at);
        let queue = servers.iter().filter_map(|&server| series.peak_of(server, after)).map(|peak| peak.value).max();
        let share = series.picks(pool, &servers, during);
        (servers, during, share, after, queue.unwrap_or(0))
    });
    let (ended, outcomes) = series.outcomes(None, span);
    let entry = |&pool: &u32| model.paths.iter().any(|path| path.pool == pool as usize);
    Features {
        struck: of_fault,
        longest: pools().filter_map(|pool| series.longest(pool, span)).map(|(_, peak)| peak.value).max().unwrap_or(0),
        failed: Ratio { part: outcomes.values().map(|ends| ends.count).sum(), whole: ended },
        hits: pools().fold(Ratio::default(), |sum, pool| sum + series.hits(pool, span).0),
        attempts: pools().filter(entry).fold(Ratio::default(), |sum, pool| sum + series.attempts(pool, span)),
        mean: series.mean_latency(None, span),
        load: pools().filter_map(|pool| series.loads(model, pool, span)).map(|load| load.1).reduce(f64::max),
        noticed,
        span,
    }
}

/// How much two numbers differ: 0 for equal ones, 1 where one is zero.
fn relative(a: f64, b: f64) -> f64 {
    if a == b { 0.0 } else { (a - b).abs() / a.abs().max(b.abs()) }
}

/// The clauses that say something, with a weight from 0 to 1.
fn clauses(a: &Features, b: &Features) -> Vec<(f64, Clause)> {
    // Spans end with the run where a run is too short for its faults; then the shorter one has less to compare.
    let span = a.span;
    let mut all = Vec::new();
    let mut add = |weight: f64, a: f64, b: f64, least: f64, clause: Clause| {
        if (a - b).abs() >= least {
            all.push((weight * relative(a, b), clause));
        }
    };
    if let (Some(a), Some(b)) = (&a.struck, &b.struck) {
        let servers = || a.0.clone();
        let clause = Clause::Share { servers: servers(), a: a.2, b: b.2, span: a.1 };
        add(0.95, a.2.value(), b.2.value(), 0.01, clause);
        let clause = Clause::Queue { servers: servers(), a: a.4, b: b.4, span: a.3 };
        add(0.9, f64::from(a.4), f64::from(b.4), 10.0, clause);
    } else {
        let clause = Clause::Longest { a: a.longest, b: b.longest, span };
        add(0.7, f64::from(a.longest), f64::from(b.longest), 5.0, clause);
    }
    let clause = Clause::Failed { a: a.failed, b: b.failed, span };
    add(1.0, a.failed.value(), b.failed.value(), 0.001, clause);
    if a.hits.whole > 0 && b.hits.whole > 0 {
        add(0.98, a.hits.value(), b.hits.value(), 0.02, Clause::Hits { a: a.hits, b: b.hits, span });
    }
    if a.attempts.whole > 0 && b.attempts.whole > 0 {
        let clause = Clause::Attempts { a: a.attempts, b: b.attempts, span };
        add(0.9, a.attempts.value(), b.attempts.value(), 0.05, clause);
    }
    if let (Some(a), Some(b)) = (a.load, b.load) {
        add(0.75, a, b, 0.05, Clause::Load { a, b, span });
    }
    if let (Some(a), Some(b)) = (a.noticed, b.noticed) {
        add(0.5, a as f64 / 1e9, b as f64 / 1e9, 1.0, Clause::Noticed { a, b });
    }
    if let (Some(a), Some(b)) = (a.mean, b.mean) {
        // What is left where nothing else differs.
        add(0.85, a, b, 0.0, Clause::Mean { a, b, span });
    }
    all
}

/// The decisive difference of each pair with different picks.
pub(super) fn differences(model: &Model, subjects: &[Subject<'_>], incidents: &[Incident]) -> Vec<Difference> {
    let all: Vec<Features> = subjects.iter().map(|subject| features(model, subject.timeline, incidents)).collect();
    let same = |a: &Timeline, b: &Timeline| a.servers == b.servers && a.phases == b.phases;
    let mut found = Vec::new();
    for (i, a) in subjects.iter().enumerate() {
        for (j, b) in subjects.iter().enumerate().skip(i + 1) {
            if same(a.timeline, b.timeline) {
                continue;
            }
            let mut clauses = clauses(&all[i], &all[j]);
            // Stable: causes come before effects where they differ as much.
            clauses.sort_by(|a, b| b.0.total_cmp(&a.0));
            let second = usize::from(clauses.get(1).is_some_and(|(weight, _)| *weight >= 0.3));
            clauses.truncate(1 + second);
            clauses.sort_by_key(|(_, clause)| clause.place());
            let clauses: Vec<Clause> = clauses.into_iter().map(|(_, clause)| clause).collect();
            if clauses.is_empty() {
                continue;
            }
            let texts: Vec<String> = clauses.iter().map(|clause| clause.text(a.label, b.label, a.timeline)).collect();
            let mut text = texts.join("; ") + ".";
            if clauses.first().is_some_and(|clause| !matches!(clause, Clause::Attempts { .. })) {
                text[..1].make_ascii_uppercase();
            }
            found.push(Difference { a: a.index, b: b.index, text, clauses });
        }
    }
    found
}

impl Clause {
    /// Its place in a sentence: causes first.
    fn place(&self) -> u8 {
        match self {
            Clause::Share { .. } => 0,
            Clause::Noticed { .. } => 1,
            Clause::Load { .. } => 2,
            Clause::Hits { .. } => 3,
            Clause::Attempts { .. } => 4,
            Clause::Queue { .. } | Clause::Longest { .. } => 5,
            Clause::Failed { .. } => 6,
            Clause::Mean { .. } => 7,
        }
    }

    fn text(&self, a_: &str, b_: &str, timeline: &Timeline) -> String {
        match self {
            Clause::Share { servers: struck, a, b, .. } => {
                let struck = servers(timeline, struck);
                format!("during the fault {a_} sends {} of the requests to {struck}, {b_} {}", a.percent(), b.percent())
            }
            Clause::Queue { servers: struck, a, b, .. } => {
                let struck = servers(timeline, struck);
                let (a, b) = (count(u64::from(*a)), count(u64::from(*b)));
                format!("the most requests in {struck} at once are {a} with {a_}, {b} with {b_}")
            }
            Clause::Longest { a, b, .. } => {
                let (a, b) = (count(u64::from(*a)), count(u64::from(*b)));
                format!("the most requests in one server at once are {a} with {a_}, {b} with {b_}")
            }
            Clause::Failed { a, b, .. } => {
                format!("with {a_} {} of the requests fail, with {b_} {}", a.percent(), b.percent())
            }
            Clause::Hits { a, b, .. } => {
                format!("with {a_} {} of the cache look-ups hit, with {b_} {}", a.percent(), b.percent())
            }
            Clause::Attempts { a, b, .. } => {
                format!("{a_} makes {:.2} attempts per request, {b_} {:.2}", a.value(), b.value())
            }
            Clause::Mean { a, b, .. } => {
                format!("the mean latency is {} with {a_}, {} with {b_}", length(*a as u64), length(*b as u64))
            }
            Clause::Load { a, b, .. } => format!(
                "the busiest server gets {a:.2} times its share of the requests by capacity with {a_}, {b:.2} times with {b_}"
            ),
            Clause::Noticed { a, b } => {
                format!("the fault is noticed after {} with {a_}, after {} with {b_}", length(*a), length(*b))
            }
        }
    }
}
