//! Single requests hop by hop, and single picks with the scores beside the truth.

use serde::Serialize;

use super::format::{counted, server, time};
use super::{Subject, seconds};
use crate::sim::timeline::{Life, LifeStep, Part, PickSeen, ServerSeen, StepKind, Timeline};

/// The slowest requests of one strategy.
#[derive(Clone, Debug, Serialize)]
pub struct Slowest {
    /// The strategy.
    pub index: usize,
    /// The slowest first.
    pub requests: Vec<RequestLife>,
}

/// A request from its arrival to its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RequestLife {
    /// Its number.
    pub id: String,
    /// Its path.
    pub path: String,
    /// Seconds from its arrival to its end.
    pub latency: f64,
    /// Its outcome, or `unfinished`.
    pub outcome: String,
    /// In time order.
    pub steps: Vec<Step>,
}

/// A step of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Seconds since the start of the run.
    pub at: f64,
    /// What happened.
    pub text: String,
    /// Where it is from now on: `client`, `network`, `balancer`, `balancer queue`, `server queue`, `service`.
    pub place: &'static str,
    /// The server concerned, `pool/server`.
    pub server: Option<String>,
}

/// Some picks of one strategy.
#[derive(Clone, Debug, Serialize)]
pub struct PickViews {
    /// The strategy.
    pub index: usize,
    /// In time order.
    pub picks: Vec<PickView>,
}

/// A pick with what the strategy saw and what was true.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PickView {
    /// Seconds since the start of the run.
    pub time: f64,
    /// Number of the request.
    pub request: String,
    /// The pool.
    pub pool: String,
    /// Name of the server that was picked; `None` if there was none.
    pub picked: Option<String>,
    /// The servers of the pool.
    pub servers: Vec<PickedServer>,
    /// One sentence.
    pub text: String,
}

/// A server at a pick.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PickedServer {
    /// Its name.
    pub server: String,
    /// Whether it could be picked.
    pub eligible: bool,
    /// Its weight.
    pub weight: u32,
    /// Requests in flight as the balancer counts them.
    pub in_flight: u32,
    /// Requests really in it.
    pub truth: u32,
    /// The strategy's score, lower is better.
    pub score: Option<f64>,
}

pub(super) fn slowest(subject: &Subject<'_>) -> Slowest {
    let timeline = subject.timeline;
    Slowest { index: subject.index, requests: timeline.slowest.iter().map(|life| request(life, timeline)).collect() }
}

fn request(life: &Life, timeline: &Timeline) -> RequestLife {
    RequestLife {
        id: life.request.to_string(),
        path: life.path.clone(),
        latency: seconds(life.latency_ns),
        outcome: life.outcome.clone(),
        steps: life.steps.iter().map(|step| self::step(step, &life.outcome, timeline)).collect(),
    }
}

fn step(step: &LifeStep, outcome: &str, timeline: &Timeline) -> Step {
    let name = step.server.map_or_else(|| "the server".to_owned(), |of| server(timeline, of));
    let (text, place) = match step.what {
        StepKind::Arrived => match step.of {
            Part::Request => ("the client sends it".to_owned(), "network"),
            Part::Attempt(_) | Part::Hedge(_) => ("the balancer makes it".to_owned(), "balancer"),
            Part::Call => ("a server calls its second tier".to_owned(), "network"),
        },
        StepKind::AtBalancer => ("it is at the balancer".to_owned(), "balancer"),
        StepKind::Queued => ("it waits at the balancer: every server is at its limit".to_owned(), "balancer queue"),
        StepKind::Dequeued => ("it no longer waits at the balancer".to_owned(), "balancer"),
        StepKind::Picked => (format!("{name} is picked"), "network"),
        StepKind::Entered => (format!("{name} has it"), "server queue"),
        StepKind::Started => (format!("{name} begins service"), "service"),
        StepKind::StartedHit => (format!("{name} begins service: cache hit"), "service"),
        StepKind::StartedMiss => (format!("{name} begins service: cache miss"), "service"),
        StepKind::Failed => (format!("{name} fails it"), "network"),
        StepKind::Left => (format!("it leaves {name}"), "network"),
        StepKind::Returned if step.of == Part::Call => ("the answer is at the caller".to_owned(), "service"),
        StepKind::Returned if step.of == Part::Request => ("the answer is at the balancer".to_owned(), "network"),
        StepKind::Returned => ("the answer is at the balancer".to_owned(), "balancer"),
        StepKind::Abandoned => ("it is no longer wanted".to_owned(), "balancer"),
        StepKind::Ended => (end(outcome).to_owned(), "client"),
    };
    let text = match step.of {
        Part::Request => text,
        Part::Attempt(number) => format!("attempt {number}: {text}"),
        Part::Hedge(number) => format!("attempt {number}, a hedge: {text}"),
        Part::Call => format!("call: {text}"),
    };
    Step { at: seconds(step.at_ns), text, place, server: step.server.map(|of| timeline.server_name(of)) }
}

fn end(outcome: &str) -> &'static str {
    match outcome {
        "ok" => "the client has the answer",
        "timed_out" => "the client's time is over",
        "unreachable" => "the client reached no balancer",
        "unfinished" => "the run ends",
        "rejected" => "the client has the answer: rejected",
        "no_healthy_server" => "the client has the answer: no healthy server",
        "reset" => "the client's connection is refused or reset",
        _ => "the client has the answer: an error",
    }
}

pub(super) fn picks(subject: &Subject<'_>) -> PickViews {
    let views = subject.timeline.picks.iter().map(|pick| view(pick, subject));
    PickViews { index: subject.index, picks: views.collect() }
}

fn view(pick: &PickSeen, subject: &Subject<'_>) -> PickView {
    let timeline = subject.timeline;
    let name = |of: u32| timeline.servers.get(of as usize).map_or_else(String::new, |of| of.server.clone());
    let of = |seen: &ServerSeen| PickedServer {
        server: name(seen.server),
        eligible: seen.eligible,
        weight: seen.weight,
        in_flight: seen.in_flight,
        truth: seen.in_server,
        score: seen.score,
    };
    PickView {
        time: seconds(pick.at_ns),
        request: pick.request.to_string(),
        pool: timeline.pools.get(pick.pool as usize).map_or_else(String::new, |pool| pool.pool.clone()),
        picked: pick.picked.map(name),
        servers: pick.servers.iter().map(of).collect(),
        text: format!("{}: {}.", time(pick.at_ns), says(pick, subject)),
    }
}

/// What was picked, how it rates, and which server has the most requests in truth.
fn says(pick: &PickSeen, subject: &Subject<'_>) -> String {
    let timeline = subject.timeline;
    let Some(picked) = pick.servers.iter().find(|seen| Some(seen.server) == pick.picked) else {
        return format!("{} finds no server for request {}", subject.label, pick.request);
    };
    let numbers =
        |seen: &ServerSeen| format!("{} in flight by its count, {} in the server", seen.in_flight, seen.in_server);
    let eligible = || pick.servers.iter().filter(|seen| seen.eligible);
    let better = picked.score.map(|score| eligible().filter(|seen| seen.score.is_some_and(|s| s < score)).count());
    let rating = match better {
        Some(0) => ", no eligible server has a lower score".to_owned(),
        Some(better) => format!(", {} a lower score", have(better)),
        None => String::new(),
    };
    let mut text = format!(
        "{} picks {} for request {} ({}{rating})",
        subject.label,
        server(timeline, picked.server),
        pick.request,
        numbers(picked)
    );
    // Among equal ones the first.
    let most = pick.servers.iter().rev().max_by_key(|seen| seen.in_server);
    if let Some(most) = most.filter(|most| most.in_server > picked.in_server) {
        text += &format!("; {} has the most ({})", server(timeline, most.server), numbers(most));
    }
    text
}

fn have(number: usize) -> String {
    format!("{} {}", counted(number as u64, "server"), if number == 1 { "has" } else { "have" })
}
