//! The request handler of a test server.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Write;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::payload::Payload;
use super::server_model::{Entry, JobOutcome, JobRef};
use super::shared::{Shared, State};
use evenkeel_config::fault::{Fault, FaultRequest, TimedFault};
use evenkeel_config::{Diagnostic, diagnostic};
use evenkeel_core::rng::{Source, mix};
use evenkeel_core::select::LoadReport;
use evenkeel_core::units::{Nanos, unhex};
use evenkeel_sim::sim::server::CHECK_WORK;

const SERVER: HeaderName = HeaderName::from_static("x-server");
const CACHE: HeaderName = HeaderName::from_static("x-cache");
const KEY: HeaderName = HeaderName::from_static("x-key");
const DEMAND: HeaderName = HeaderName::from_static("x-demand");
const ECHO: HeaderName = HeaderName::from_static("x-echo");
const REPORT: HeaderName = HeaderName::from_static("endpoint-load-metrics");
/// A probe's request key, in hexadecimal: the load reported depends on whether it is cached.
const PROBE_KEY: HeaderName = HeaderName::from_static("x-probe-key");

/// Maximum age of the cached load report of a server without work.
const STALE: Nanos = Nanos::from_millis(100);

type Answer = Response<Payload>;

/// Answers a request, after its delay; never, if the server is down.
pub(super) async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    match at_once(&shared, &request) {
        Some(answer) => Ok(answer),
        None => Ok(Box::pin(in_full(shared, request)).await),
    }
}

/// The fast path for benchmarks: no work, no cache, no fault, and no options in the request.
fn at_once(shared: &Shared, request: &Request<Incoming>) -> Option<Answer> {
    let spec = &shared.spec;
    let plain = spec.service.is_none() && spec.paths.is_empty() && spec.server.cache.is_none();
    let (headers, uri) = (request.headers(), request.uri());
    let asks = [&ECHO, &DEMAND, &header::UPGRADE].iter().any(|name| headers.contains_key(*name));
    if !plain || asks || uri.query().is_some() || !request.body().is_end_stream() {
        return None;
    }
    if uri.path() == "/health" || spec.control && uri.path() == "/_fault" {
        return None;
    }
    let now = shared.now();
    let mut state = shared.state();
    let condition = state.server_model.condition();
    if !condition.up || condition.error_ratio > 0.0 {
        return None;
    }
    state.server_model.passes(now);
    let report = report(&mut state, now, STALE, None);
    drop(state);
    let mut answer = Response::new(Payload::filling(spec.bytes));
    answer.headers_mut().insert(SERVER, shared.name.clone());
    answer.headers_mut().insert(REPORT, report);
    Some(answer)
}

/// The load report as a header value; the last one if it is younger than `good_for`.
fn report(state: &mut State, now: Nanos, good_for: Nanos, key: Option<u64>) -> HeaderValue {
    if let Some((written, report)) = &state.report
        && now.saturating_sub(*written) < good_for
    {
        return report.clone();
    }
    let text = orca(&state.server_model.report(now, key));
    let report = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("TEXT"));
    if key.is_none() {
        state.report = Some((now, report.clone()));
    }
    report
}

/// A load report in ORCA's text form. Values without a field of ORCA's are named metrics.
fn orca(report: &LoadReport) -> String {
    let LoadReport { window, throughput, response_time, utilisation, errors, in_server, latency, by: _ } = *report;
    let in_flight = in_server.map_or_else(String::new, |number| format!("named_metrics.in_flight={number},"));
    format!(
        "TEXT rps_fractional={throughput:.3},application_utilization={utilisation:.4},eps={:.3},\
         {in_flight}named_metrics.response_time={response_time:.6},\
         named_metrics.latency={latency:.6},named_metrics.window={window:.3}",
        errors * throughput,
    )
}

/// The options in a request's query.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wishes {
    bytes: Option<u64>,
    status: Option<StatusCode>,
    delay: Option<Nanos>,
    every: Option<Nanos>,
    events: Option<u64>,
    chunked: bool,
    trailers: bool,
}

impl Wishes {
    /// Parses a query; unknown parameters are ignored.
    fn of(query: &str) -> Result<Wishes, String> {
        let mut wishes = Wishes::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let bad = || format!("`{value}` is no good as `{name}`");
            match name {
                "bytes" => wishes.bytes = Some(value.parse().map_err(|_| bad())?),
                "status" => {
                    let code = value.parse().ok().filter(|code| (200..600).contains(code));
                    wishes.status = Some(code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(bad)?);
                }
                "delay" => wishes.delay = Some(value.parse()?),
                "every" => wishes.every = Some(value.parse()?),
                "sse" => wishes.events = Some(value.parse().map_err(|_| bad())?),
                "chunked" => wishes.chunked = value == "1",
                "trailers" => wishes.trailers = value == "1",
                _ => {}
            }
        }
        Ok(wishes)
    }
}

async fn in_full(shared: Arc<Shared>, mut request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if path == "/health" {
        let mut answer = check(&shared).await;
        if let Some(key) = request.headers().get(&PROBE_KEY).and_then(|text| unhex(text.as_bytes())) {
            let report = report(&mut shared.state(), shared.now(), Nanos::ZERO, Some(key_of(&key)));
            answer.headers_mut().insert(REPORT, report);
        }
        return answer;
    }
    if shared.spec.control && path == "/_fault" {
        return faults(&shared, request).await;
    }
    let wishes = match Wishes::of(request.uri().query().unwrap_or_default()) {
        Ok(wishes) => wishes,
        Err(message) => return plain(&shared, StatusCode::BAD_REQUEST, message),
    };
    if let Some(protocol) = tunnel_asked(&request) {
        return tunnel(shared, request, protocol);
    }
    let echo = request.headers().contains_key(&ECHO);
    let Ok(body) = read(request.body_mut(), echo).await else {
        // The client disconnected in the middle; this response is not read.
        return plain(&shared, StatusCode::BAD_REQUEST, "the body broke off".to_owned());
    };
    let hit = match serve(&shared, &request).await {
        Outcome::Served(hit) => hit,
        Outcome::Failed(status) => return plain(&shared, status, format!("{status}\n")),
    };
    if let Some(delay) = wishes.delay {
        tokio::time::sleep(Duration::from_nanos(delay.0)).await;
    }
    let mut answer = Response::new(payload(&shared, &request, &wishes, echo, &body));
    *answer.status_mut() = wishes.status.unwrap_or(StatusCode::OK);
    let headers = answer.headers_mut();
    if let Some(hit) = hit {
        headers.insert(CACHE, HeaderValue::from_static(if hit { "hit" } else { "miss" }));
    }
    let kind = match (echo, wishes.events) {
        (true, _) => "application/json",
        (_, Some(_)) => "text/event-stream",
        _ => "text/plain",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if wishes.trailers {
        headers.insert(header::TRAILER, HeaderValue::from_static("x-bytes"));
    }
    sign(&shared, answer)
}

/// Adds the server's name and its load report.
fn sign(shared: &Shared, mut answer: Answer) -> Answer {
    let report = report(&mut shared.state(), shared.now(), Nanos::ZERO, None);
    answer.headers_mut().insert(SERVER, shared.name.clone());
    answer.headers_mut().insert(REPORT, report);
    answer
}

fn plain(shared: &Shared, status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Payload::text(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    sign(shared, answer)
}

fn payload(shared: &Shared, request: &Request<Incoming>, wishes: &Wishes, echo: bool, body: &Received) -> Payload {
    if echo {
        return Payload::text(received(request, body));
    }
    if let Some(count) = wishes.events {
        return Payload::events(count, Duration::from_nanos(wishes.every.unwrap_or(Nanos::from_millis(10)).0));
    }
    let bytes = wishes.bytes.unwrap_or(shared.spec.bytes);
    if !wishes.chunked && !wishes.trailers {
        return Payload::filling(bytes);
    }
    // In two pieces, so that it is more than one chunk.
    let whole = Bytes::from(vec![b'.'; usize::try_from(bytes.min(1 << 26)).unwrap_or(0)]);
    let half = whole.len() / 2;
    let pieces = [whole.slice(..half), whole.slice(half..)].into_iter().filter(|piece| !piece.is_empty());
    let mut frames: VecDeque<Frame<Bytes>> = pieces.map(Frame::data).collect();
    if wishes.trailers {
        let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-bytes"), HeaderValue::from(whole.len()))]);
        frames.push_back(Frame::trailers(trailers));
    }
    Payload::Pieces(frames)
}

/// A request's body as it was received.
#[derive(Default)]
struct Received {
    length: u64,
    sha256: String,
    trailers: Option<HeaderMap>,
}

async fn read(body: &mut Incoming, hashed: bool) -> Result<Received, hyper::Error> {
    let mut received = Received::default();
    let mut hasher = Sha256::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                received.length += data.len() as u64;
                if hashed {
                    hasher.update(&data);
                }
            }
            Err(frame) => received.trailers = frame.into_trailers().ok(),
        }
    }
    if hashed {
        received.sha256 = hasher.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
    }
    Ok(received)
}

/// The request as it was received, as JSON. Header fields are in the order of arrival, with those of one name together.
fn received(request: &Request<Incoming>, body: &Received) -> String {
    let pairs = |headers: &HeaderMap| {
        let pair = |(name, value): (&HeaderName, &HeaderValue)| {
            serde_json::json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
        };
        headers.iter().map(pair).collect::<Vec<_>>()
    };
    let value = serde_json::json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "version": format!("{:?}", request.version()),
        "headers": pairs(request.headers()),
        "body": { "length": body.length, "sha256": body.sha256 },
        "trailers": body.trailers.as_ref().map(pairs),
    });
    value.to_string()
}

enum Outcome {
    Served(Option<bool>),
    Failed(StatusCode),
}

/// Informs the server if the client disconnects before the response.
struct Waits {
    shared: Arc<Shared>,
    place: Option<JobRef>,
}

impl Drop for Waits {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.state().server_model.gave_up(self.shared.now(), place);
        }
    }
}

/// Passes a request through queue and service.
async fn serve(shared: &Arc<Shared>, request: &Request<Incoming>) -> Outcome {
    let entry = {
        let mut state = shared.state();
        let (key, work) = (key(request), work(shared, request, &mut state));
        let error_draw = state.rng.unit();
        let entry = state.server_model.enter(shared.now(), key, work, error_draw);
        shared.wake_driver(&state);
        entry
    };
    match entry {
        Entry::In(place, told) => {
            let mut waits = Waits { shared: shared.clone(), place: Some(place) };
            let told = told.await;
            waits.place = None;
            match told {
                Ok(JobOutcome::Served(hit)) => Outcome::Served(hit),
                Ok(JobOutcome::Lost) | Err(_) => pending().await,
            }
        }
        Entry::Error(after) => {
            tokio::time::sleep(Duration::from_nanos(after.0)).await;
            Outcome::Failed(StatusCode::INTERNAL_SERVER_ERROR)
        }
        Entry::Rejected => Outcome::Failed(StatusCode::SERVICE_UNAVAILABLE),
        Entry::Dead => pending().await,
    }
}

/// The cache key of a request: its header `x-key`, or else its path.
fn key(request: &Request<Incoming>) -> u64 {
    key_of(request.headers().get(&KEY).map_or_else(|| request.uri().path().as_bytes(), HeaderValue::as_bytes))
}

/// A key as the simulator writes it (16 hexadecimal digits), or any text, hashed as the simulator does.
fn key_of(text: &[u8]) -> u64 {
    let digits = std::str::from_utf8(text).ok().filter(|text| text.len() == 16);
    let hash = || text.iter().fold(0, |hash, &byte| mix(hash ^ u64::from(byte)));
    digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_else(hash)
}

/// The work of a request: its header `x-demand`, or else a draw from the distribution of its path.
fn work(shared: &Shared, request: &Request<Incoming>, state: &mut State) -> Nanos {
    if let Some(demand) = request.headers().get(&DEMAND)
        && let Some(nanos) = demand.to_str().ok().and_then(|text| text.parse().ok())
    {
        return Nanos(nanos);
    }
    let path = request.uri().path();
    let own = shared.spec.paths.iter().find(|(other, _)| other == path).map(|(_, sampler)| sampler);
    own.or(shared.spec.service.as_ref()).map_or(Nanos::ZERO, |sampler| sampler.sample(&mut state.rng))
}

/// A health check. It does not wait in the queue; on a server with work it takes a little time.
async fn check(shared: &Shared) -> Answer {
    let (condition, span) = {
        let mut state = shared.state();
        state.server_model.advance(shared.now());
        state.server_model.counters.checks += 1;
        (state.server_model.condition(), state.server_model.span(CHECK_WORK))
    };
    if !condition.up {
        return pending().await;
    }
    if shared.spec.service.is_some() {
        tokio::time::sleep(Duration::from_nanos(span.0)).await;
    }
    match condition.fails_checks || condition.draining {
        true => plain(shared, StatusCode::SERVICE_UNAVAILABLE, "unwell\n".to_owned()),
        false => plain(shared, StatusCode::OK, "well\n".to_owned()),
    }
}

/// Maximum size of a fault request, bytes.
const MAX_FAULT_REQUEST: usize = 4096;

/// Serves the control address: fault requests, and nothing else.
pub(super) async fn control(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    if request.uri().path() == "/_fault" {
        return Ok(faults(&shared, request).await);
    }
    Ok(plain(&shared, StatusCode::NOT_FOUND, "POST a fault to /_fault, or DELETE it to heal\n".to_owned()))
}

/// The body has the syntax of `--fault`: `kind = { slow = { factor = 4 } }` and, for a limited time, `for = "10s"`; `at`
/// counts from now.
async fn faults(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let done = |text: &str| plain(shared, StatusCode::OK, text.to_owned());
    match *request.method() {
        Method::DELETE => {
            shared.heal();
            done("healed\n")
        }
        Method::POST => match fault_request(request).await {
            Err(message) => plain(shared, StatusCode::BAD_REQUEST, format!("{message}\n")),
            Ok(faults) => {
                if faults.iter().any(|fault| fault.kind.loses_requests()) {
                    // The crash closes this very connection: the response is sent first.
                    let shared = shared.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        shared.inject_faults(faults);
                    });
                } else {
                    shared.inject_faults(faults);
                }
                done("struck\n")
            }
        },
        _ => plain(shared, StatusCode::METHOD_NOT_ALLOWED, "POST a fault, or DELETE to heal\n".to_owned()),
    }
}

/// The faults that a request's body asks for, or the error in it.
async fn fault_request(request: Request<Incoming>) -> Result<Vec<TimedFault>, String> {
    let body = http_body_util::Limited::new(request.into_body(), MAX_FAULT_REQUEST).collect().await;
    let source = String::from_utf8_lossy(&body.map_err(|error| error.to_string())?.to_bytes()).into_owned();
    match diagnostic::read::<FaultRequest>(&source) {
        Ok(request) => request.faults(),
        Err(problems) => Err(Diagnostic { file: "fault".to_owned(), source, problems }.render(false)),
    }
}

/// The protocol that a client wants to upgrade to. `h2c` is ignored: HTTP/2 is by prior knowledge here.
fn tunnel_asked(request: &Request<Incoming>) -> Option<HeaderValue> {
    let protocol = request.headers().get(header::UPGRADE)?;
    (!protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

/// Upgrades the connection and echoes every byte.
fn tunnel(shared: Arc<Shared>, mut request: Request<Incoming>, protocol: HeaderValue) -> Answer {
    let upgraded = hyper::upgrade::on(&mut request);
    shared.state().server_model.passes(shared.now());
    let mut answer = Response::new(Payload::Once(None));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.headers_mut().insert(header::UPGRADE, protocol);
    answer.headers_mut().insert(SERVER, shared.name.clone());
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let mut life = shared.watch();
        let born = life.borrow_and_update().deaths;
        let mut stream = TokioIo::new(upgraded);
        let mut buffer = vec![0; 16 * 1024];
        let fate = shared.watch();
        let echo = async {
            loop {
                match stream.read(&mut buffer).await {
                    _ if fate.borrow().silent => pending().await,
                    Ok(0) | Err(_) => break,
                    Ok(length) if stream.write_all(&buffer[..length]).await.is_err() => break,
                    Ok(_) => {}
                }
            }
            let _ = stream.shutdown().await;
        };
        tokio::select! {
            () = echo => {}
            _ = life.wait_for(|life| life.deaths != born && !life.silent || life.stopping) => {}
        }
    });
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_set_the_options() {
        let wishes = Wishes::of("bytes=12&x=1&delay=5ms&trailers=1&status=404").unwrap();
        let expected = Wishes {
            bytes: Some(12),
            delay: Some(Nanos::from_millis(5)),
            trailers: true,
            status: Some(StatusCode::NOT_FOUND),
            ..Wishes::default()
        };
        assert_eq!(wishes, expected);
        assert!(Wishes::of("delay=5").unwrap_err().contains("unit"));
        assert!(Wishes::of("bytes=many").unwrap_err().contains("many"));
        assert!(Wishes::of("status=101").is_err());
    }

    #[test]
    fn reports_are_orca_text() {
        let report = LoadReport {
            by: evenkeel_core::select::ReportSource::Answer,
            window: 0.75,
            throughput: 40.0,
            response_time: 0.0125,
            utilisation: 0.5,
            errors: 0.1,
            in_server: Some(3),
            latency: 0.011,
        };
        assert_eq!(
            orca(&report),
            "TEXT rps_fractional=40.000,application_utilization=0.5000,eps=4.000,named_metrics.in_flight=3,\
             named_metrics.response_time=0.012500,named_metrics.latency=0.011000,named_metrics.window=0.750"
        );
    }
}
