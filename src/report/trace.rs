//! Every request of a run, a line each, as CSV; and a part of that file as a Chrome trace, which Perfetto (ui.perfetto.dev)
//! opens: the waiting times of each request, and what each server was doing meanwhile.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use evenkeel_core::units::Nanos;
use evenkeel_sim::sim::model::Model;
use evenkeel_sim::sim::observer::{Arrival, Decision, Observer, Step};
use evenkeel_sim::sim::record::{ENDS, RequestOutcome};

/// A line of a trace: a request, or a call that a server made to its second tier on behalf of one. Times are nanoseconds
/// since the start of the run, and empty for events that did not happen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Number of the request. (In a closed loop: client × 2³² + the number of requests that the client had sent before.)
    pub request: u64,
    /// 0 for a request, 1 for a call to a second tier.
    pub tier: u8,
    /// Number of attempts, this one included. Where a pool has retries or hedges, a request has a line of its own with
    /// attempt 0 and without server, and each attempt has a line, which ends with its return.
    pub attempt: u32,
    /// Whether it is in the measured span.
    pub measured: bool,
    /// Address of the client.
    pub client: String,
    /// Path of the request.
    pub path: String,
    /// Hash key, 16 hexadecimal digits.
    pub key: String,
    /// The balancer, from 1.
    pub balancer: u32,
    /// The pool it was sent to; empty if none.
    pub pool: String,
    /// Name of the server; empty if none.
    pub server: String,
    /// Service time on a server of speed 1 without cache, nanoseconds.
    pub demand_ns: u64,
    /// Time when the client sent it, or the call was made.
    pub arrived_ns: u64,
    /// Time of the pick.
    pub picked_ns: Option<u64>,
    /// Time of arrival at the server.
    pub entered_ns: Option<u64>,
    /// Time when service began.
    pub started_ns: Option<u64>,
    /// Time when it left the server.
    pub left_ns: Option<u64>,
    /// Time when the response was back at the balancer, or at the caller.
    pub returned_ns: Option<u64>,
    /// Its end for the client: the response, the timeout, the error; for an unfinished one the end of the run. Empty for
    /// calls and for attempts, which end with their return.
    pub ended_ns: Option<u64>,
    /// The outcome: `ok`, `error`, `rejected`, `no_healthy_server`, `reset`, `timed_out`, `unreachable`, `unfinished`; for
    /// an attempt whose result was no longer needed, `abandoned`.
    pub outcome: String,
    /// Whether the server's cache had the response; empty without a cache or a look-up.
    pub hit: Option<bool>,
}

/// The name of an outcome.
fn outcome_name(end: RequestOutcome) -> &'static str {
    ENDS[end as usize].1
}

/// Writes the line of each request when its last job is released.
pub struct Tracer<W: Write> {
    writer: csv::Writer<W>,
    /// (pool, server) by the numbering over all pools.
    servers: Vec<(String, String)>,
    /// By index of the job in the engine; `None` for a free index.
    lines: Vec<Option<Line>>,
    error: Option<csv::Error>,
    /// By job index of the engine: whether it is an attempt of a request that has a line of its own.
    attempts: Vec<bool>,
}

impl<W: Write> Tracer<W> {
    /// A writer to `to`.
    pub fn new(model: &Model, to: W) -> csv::Result<Tracer<W>> {
        let names = |pool: &evenkeel_sim::sim::model::Pool| {
            pool.servers.iter().map(|server| (pool.name.clone(), server.name.clone())).collect::<Vec<_>>()
        };
        Ok(Tracer {
            writer: csv::Writer::from_writer(to),
            servers: model.pools.iter().flat_map(names).collect(),
            lines: Vec::new(),
            error: None,
            attempts: Vec::new(),
        })
    }

    /// Returns the writer; an error if any line could not be written.
    pub fn finish(self) -> io::Result<W> {
        match self.error {
            Some(error) => Err(error.into()),
            None => self.writer.into_inner().map_err(csv::IntoInnerError::into_error),
        }
    }

    fn line(&mut self, job: u32) -> Option<&mut Line> {
        self.lines.get_mut(job as usize)?.as_mut()
    }

    /// Whether a line is of a call or an attempt, which end with their return.
    fn ends_with_return(&self, job: u32) -> bool {
        let place = job as usize;
        self.attempts.get(place).copied().unwrap_or(false)
            || self.lines.get(place).and_then(Option::as_ref).is_some_and(|line| line.tier > 0)
    }

    fn write(&mut self, job: u32) {
        let Some(line) = self.lines.get_mut(job as usize).and_then(Option::take) else { return };
        if self.error.is_none() {
            self.error = self.writer.serialize(line).err();
        }
    }
}

impl<W: Write> Observer for Tracer<W> {
    fn arrived(&mut self, job: u32, arrival: &Arrival<'_>) {
        let job = job as usize;
        if self.lines.len() <= job {
            self.lines.resize(job + 1, None);
            self.attempts.resize(job + 1, false);
        }
        self.attempts[job] = arrival.attempt.is_some();
        if let Some(line) = arrival.attempt.and_then(|(request, _)| self.line(request)) {
            line.attempt = 0;
        }
        self.lines[job] = Some(Line {
            request: arrival.id,
            tier: u8::from(arrival.parent.is_some()),
            attempt: arrival.attempt.map_or(1, |(_, number)| number),
            measured: arrival.measured,
            client: arrival.client.to_string(),
            path: arrival.path.to_owned(),
            key: format!("{:016x}", arrival.key),
            balancer: arrival.balancer + 1,
            demand_ns: arrival.demand.0,
            arrived_ns: arrival.at.0,
            ..Line::default()
        });
    }

    fn deciding(&mut self, _decision: &Decision<'_>) {}

    fn decided(&mut self, job: u32, server: Option<u32>, now: Nanos) {
        let names = server.map(|server| self.servers[server as usize].clone());
        let inner = self.ends_with_return(job);
        let Some(line) = self.line(job) else { return };
        match names {
            Some((pool, server)) => (line.pool, line.server, line.picked_ns) = (pool, server, Some(now.0)),
            // The caller of a second tier gets it at once, so this is the call's return; a client gets it later.
            None if inner => {
                (line.returned_ns, line.outcome) = (Some(now.0), outcome_name(RequestOutcome::NoServer).to_owned());
            }
            None => {}
        }
    }

    fn step(&mut self, job: u32, step: Step, now: Nanos) {
        let inner = self.ends_with_return(job);
        let Some(line) = self.line(job) else { return };
        let now = Some(now.0);
        match step {
            Step::AtBalancer => {}
            Step::Entered => line.entered_ns = now,
            Step::Started(hit) => (line.started_ns, line.hit) = (now, hit),
            Step::Left => line.left_ns = now,
            Step::Returned(end) => {
                line.returned_ns = now;
                if inner && line.outcome != "abandoned" {
                    line.outcome = outcome_name(end).to_owned();
                }
            }
            Step::Abandoned => "abandoned".clone_into(&mut line.outcome),
            Step::Ended(end) => (line.ended_ns, line.outcome) = (now, outcome_name(end).to_owned()),
            Step::Released => self.write(job),
        }
    }

    fn closed(&mut self, now: Nanos) {
        for job in 0..self.lines.len() as u32 {
            let inner = self.ends_with_return(job);
            if let Some(line) = self.line(job)
                && line.outcome.is_empty()
            {
                line.outcome = "unfinished".to_owned();
                line.ended_ns = (!inner).then_some(now.0);
            }
            self.write(job);
        }
    }
}

/// Reads the lines of a trace.
pub fn read(from: impl Read) -> csv::Result<impl Iterator<Item = csv::Result<Line>>> {
    let mut reader = csv::Reader::from_reader(from);
    // The iterator would hide an error in the header: an uncompressed file would look like an empty trace.
    reader.headers()?;
    Ok(reader.into_deserialize())
}

/// The part of a trace to convert.
#[derive(Clone, Copy, Debug)]
pub enum Window {
    /// One request, with its calls, and the activity of its servers meanwhile.
    Request(u64),
    /// Everything between two times, nanoseconds.
    Span(u64, u64),
}

/// One event of the trace format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
#[derive(Serialize)]
struct TraceEvent<'a> {
    name: &'a str,
    ph: &'static str,
    pid: u64,
    tid: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    args: serde_json::Value,
}

/// Lines as a Chrome trace (JSON). The first process has a thread per request, with its waiting times; each pool is a
/// process of its own with a thread per slot of each server. `None` if the part is not in the trace.
pub fn chrome(lines: &[Line], window: Window) -> Option<String> {
    let (from, to) = match window {
        Window::Span(from, to) => (from, to),
        Window::Request(wanted) => {
            let of = || lines.iter().filter(|line| line.request == wanted);
            let from = of().map(|line| line.arrived_ns).min()?;
            (from, of().filter_map(last).max()?.max(from + 1))
        }
    };
    let there = |line: &&Line| line.arrived_ns < to && last(line).is_none_or(|end| end >= from);
    let wanted = |line: &&Line| match window {
        Window::Request(wanted) => line.request == wanted,
        Window::Span(..) => true,
    };
    let shown: Vec<&Line> = lines.iter().filter(there).filter(wanted).collect();
    shown.first()?;
    let mut events = vec![name_event("process_name", 1, 0, "requests")];
    for (row, line) in shown.iter().enumerate() {
        request_events(line, row as u64 + 1, &mut events);
    }
    // For one request, only its servers: they could not be found among a thousand others.
    let met: BTreeSet<(&str, &str)> = shown.iter().map(|line| (line.pool.as_str(), line.server.as_str())).collect();
    let meanwhile = lines.iter().filter(there).filter(|line| met.contains(&(&line.pool, &line.server)));
    server_events(&meanwhile.collect::<Vec<_>>(), &mut events);
    serde_json::to_string(&serde_json::json!({ "displayTimeUnit": "ms", "traceEvents": events })).ok()
}

/// The last known time of a line.
fn last(line: &Line) -> Option<u64> {
    [line.picked_ns, line.entered_ns, line.started_ns, line.left_ns, line.returned_ns, line.ended_ns]
        .into_iter()
        .flatten()
        .max()
}

fn name_event<'a>(what: &'a str, pid: u64, tid: u64, name: &str) -> TraceEvent<'a> {
    TraceEvent { name: what, ph: "M", pid, tid, ts: None, dur: None, args: serde_json::json!({ "name": name }) }
}

fn slice<'a>(name: &'a str, pid: u64, tid: u64, from: u64, to: u64, args: serde_json::Value) -> TraceEvent<'a> {
    let microseconds = |ns: u64| ns as f64 / 1e3;
    TraceEvent { name, ph: "X", pid, tid, ts: Some(microseconds(from)), dur: Some(microseconds(to - from)), args }
}

/// One request: the whole, and inside it each phase.
fn request_events(line: &Line, tid: u64, events: &mut Vec<TraceEvent<'_>>) {
    let what = match line {
        Line { tier: 1.., .. } => "call",
        Line { attempt: 2.., .. } => "attempt",
        _ => "request",
    };
    events.push(name_event("thread_name", 1, tid, &format!("{what} {} {}", line.request, line.path)));
    let end = last(line).unwrap_or(line.arrived_ns);
    let args = serde_json::json!({
        "client": line.client, "path": line.path, "key": line.key, "server": format!("{}/{}", line.pool, line.server),
        "outcome": line.outcome, "hit": line.hit, "demand_ns": line.demand_ns, "measured": line.measured,
    });
    events.push(slice(what, 1, tid, line.arrived_ns, end, args));
    let steps = [
        ("to the balancer", Some(line.arrived_ns), line.picked_ns),
        ("to the server", line.picked_ns, line.entered_ns),
        ("in the queue", line.entered_ns, line.started_ns.or(line.left_ns)),
        ("in service", line.started_ns, line.left_ns),
        ("back to the balancer", line.left_ns, line.returned_ns),
        ("back to the client", line.returned_ns, line.ended_ns),
    ];
    for (name, from, to) in steps {
        // A client that gave up ended before its response came back; then there is no return to show.
        if let (Some(from), Some(to)) = (from, to)
            && to > from
        {
            events.push(slice(name, 1, tid, from, to, serde_json::json!({})));
        }
    }
}

/// The activity of servers: a thread for each slot, since slices of a thread must not overlap.
fn server_events(lines: &[&Line], events: &mut Vec<TraceEvent<'_>>) {
    let mut served: Vec<(&str, &str, u64, u64, u64)> = lines
        .iter()
        .filter_map(|l| Some((l.pool.as_str(), l.server.as_str(), l.started_ns?, l.left_ns?, l.request)))
        .collect();
    served.sort_unstable();
    let mut pools: Vec<&str> = served.iter().map(|s| s.0).collect();
    pools.dedup();
    let mut tid = 0;
    for (i, pool) in pools.into_iter().enumerate() {
        let pid = i as u64 + 2;
        events.push(name_event("process_name", pid, 0, &format!("pool {pool}")));
        for of_server in served.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|chunk| chunk[0].0 == pool) {
            // (thread, free from): the first slot that is free takes the next request.
            let mut slots: Vec<(u64, u64)> = Vec::new();
            for &(_, server, from, to, request) in of_server {
                let slot = match slots.iter().position(|&(_, free)| free <= from) {
                    Some(slot) => slot,
                    None => {
                        tid += 1;
                        slots.push((tid, 0));
                        let name = if slots.len() == 1 {
                            server.to_owned()
                        } else {
                            format!("{server}, slot {}", slots.len())
                        };
                        events.push(name_event("thread_name", pid, tid, &name));
                        slots.len() - 1
                    }
                };
                slots[slot].1 = to;
                events.push(slice("serves", pid, slots[slot].0, from, to, serde_json::json!({ "request": request })));
            }
        }
    }
}
