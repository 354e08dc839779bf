//! A request on its way: checked, routed, placed, sent, sent again where that is right, answered.
//!
//! Rules that are not the strategy's: a request is sent again only if nothing of the answer has gone to the client, its body
//! can be given again, the pool's rules and budget allow it, and another server is left. A connection that was open before
//! and turns out to be closed is no failure of the server: an idempotent request goes out again on a new one (RFC 9112,
//! 9.3.1).

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use jiff::Timestamp;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::access::Entry;
use super::answer_timer::{self, Side, StreamTask};
use super::body::{BodyBounds, BodyFault, DownBody, End, OnEnd, RequestBody, UpBody};
use super::client_io::ClientIoState;
use super::clock::duration;
use super::expect::{self, Gate, Key};
use super::headers::{self, Peer};
use super::lazy_timeout::ReusableTimer;
use super::pool::{InFlight, RequestInfo, ShardPool};
use super::shard::{ActiveConfig, Shard};
use super::termination::Reason;
use super::tunnel;
use super::upstream::{ConnectError, Connection, PooledConnection, Upstream};
use evenkeel_config::proxy::{KeyTable, LimitsTable, Protocol};
use evenkeel_core::policy::retry::Failure;
use evenkeel_core::select::{self, Outcome};
use evenkeel_core::units::Nanos;

/// A request that has come through a proxy of this name so often goes in a circle; shorter chains of them are somebody's design.
const MOST_TIMES_THROUGH: usize = 5;

/// A kept connection that ends within this time of a request was closed by its server before the request came. The server
/// would have had to close it within one round trip; one that works on a request for longer and then closes has failed.
const STALE: std::time::Duration = std::time::Duration::from_secs(1);

/// What is kept of a request until its answer is over, and then counted and logged.
struct RequestContext {
    shard: Rc<Shard>,
    active_config: Rc<ActiveConfig>,
    client_io: Arc<ClientIoState>,
    started: Instant,
    pool: Option<Rc<ShardPool>>,
    server: Option<Rc<Upstream>>,
    status: StatusCode,
    reason: Reason,
    log_fields: Option<Box<LogFields>>,
    body: RequestBody,
    sent: u64,
    attempts: u32,
}

/// What the access log wants to know of a request, while it is under way.
struct LogFields {
    time: Timestamp,
    method: Method,
    uri: Uri,
    host: Bytes,
    version: Version,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    request_id: Option<HeaderValue>,
    client: IpAddr,
    tls: Option<&'static str>,
    upstream: Option<SocketAddr>,
    connect: Option<Nanos>,
    first_byte: Option<Nanos>,
    answered: Option<Instant>,
}

impl LogFields {
    fn new(parts: &http::request::Parts, peer: &Peer) -> LogFields {
        LogFields {
            time: Timestamp::now(),
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            host: Bytes::new(),
            version: parts.version,
            user_agent: parts.headers.get(header::USER_AGENT).cloned(),
            referer: parts.headers.get(header::REFERER).cloned(),
            request_id: None,
            client: peer.address(),
            tls: peer.tls_version(),
            upstream: None,
            connect: None,
            first_byte: None,
            answered: None,
        }
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        let now = Instant::now();
        self.client_io.finish(now);
        self.shard.ended();
        let took = now - self.started;
        if let Some(server) = self.server.as_ref().filter(|_| !self.reason.is_own_answer()) {
            server.metrics.request(self.status, took, self.body.received(), self.sent);
        } else if let Some(pool) = &self.pool {
            pool.metrics.own_answer(self.reason);
        } else {
            self.shard.metrics().own_answer(self.reason);
        }
        if let Some(log_fields) = self.log_fields.take() {
            self.log(&log_fields, now);
        }
    }
}

impl RequestContext {
    /// Ends the client's connection behind the answer: what comes next on it is the rest of a body that nobody wants.
    /// HTTP/2 ends the stream alone, by itself.
    fn hang_up(&self) {
        self.body.abandon();
        if !self.client_io.is_http2() {
            self.client_io.linger();
            self.client_io.close();
        }
    }

    fn log(&self, log_fields: &LogFields, now: Instant) {
        let config = self.pool.as_ref().map(|pool| pool.config());
        let since = |from: Instant| Nanos(u64::try_from((now - from).as_nanos()).unwrap_or(u64::MAX));
        self.shard.log(&Entry {
            time: log_fields.time,
            request_id: log_fields.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default(),
            client_ip: log_fields.client,
            method: log_fields.method.as_str(),
            host: &log_fields.host,
            path: log_fields.uri.path(),
            query: log_fields.uri.query(),
            protocol: log_fields.version,
            status: (self.reason.is_own_answer() || self.server.is_some()).then(|| self.status.as_u16()),
            bytes_in: self.body.received(),
            bytes_out: self.sent,
            duration: since(self.started),
            upstream: log_fields.upstream,
            server: self.server.as_ref().map(|server| server.name.as_str()),
            pool: config.as_ref().map(|config| config.name.as_str()),
            connect_time: log_fields.connect,
            first_byte_time: log_fields.first_byte,
            upstream_time: log_fields.answered.map(since).zip(log_fields.first_byte).map(|(rest, first)| rest + first),
            attempts: self.attempts,
            strategy: config.as_ref().map_or("", |config| config.strategy.name()),
            reason: self.reason,
            user_agent: log_fields.user_agent.as_ref().map(HeaderValue::as_bytes),
            referer: log_fields.referer.as_ref().map(HeaderValue::as_bytes),
            tls: log_fields.tls,
        });
    }
}

/// Follows an answer's body to its end.
struct ResponseGuard {
    context: RequestContext,
    in_flight: Option<InFlight>,
    connection: Option<PooledConnection>,
    outcome: Outcome,
}

impl OnEnd for ResponseGuard {
    fn end(mut self: Box<Self>, end: End) {
        let Some(in_flight) = self.in_flight.take() else { return };
        match end {
            End::Complete => {
                // A server that answers before it has read the request has a connection with the rest of it inside.
                if self.context.body.is_complete() {
                    if let Some(pooled) = self.connection.take() {
                        in_flight.server.give_back(pooled);
                    }
                } else {
                    self.context.hang_up();
                }
                in_flight.finish(self.outcome);
            }
            End::Cut | End::TimedOut(_) | End::ClientGone => {
                let reason = match end {
                    // The client's own body broke off, and the exchange with it.
                    End::Cut if self.context.body.fault().is_some() => Reason::ClientGone,
                    End::Cut => Reason::Cut,
                    End::TimedOut(Side::Server) => Reason::Stalled,
                    End::TimedOut(Side::Client) => Reason::ClientStalled,
                    End::ClientGone | End::Complete => Reason::ClientGone,
                };
                self.context.reason = reason;
                in_flight.finish(reason.fault().outcome());
            }
        }
    }

    fn passed(&mut self, bytes: usize) {
        self.context.sent += bytes as u64;
    }
}

/// A request as attempts need it.
struct Call<'a> {
    active_config: &'a ActiveConfig,
    method: &'a Method,
    /// Path and query.
    target: Uri,
    authority: &'a str,
    headers: HeaderMap,
    body: &'a RequestBody,
    idempotent: bool,
    upgrade: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    expects: bool,
    /// Whether the client can be given interim answers. HTTP/1.0 knows none; on HTTP/2 the library cannot.
    interim: bool,
    client_io: &'a Arc<ClientIoState>,
    client_connection: &'a ClientConnection,
    /// When the request must be over.
    deadline: Option<Instant>,
    shard: &'a Shard,
}

/// How an attempt went.
#[allow(clippy::large_enum_variant, reason = "nearly all of them are answered; a box for each would cost more")]
enum Attempt {
    Answered {
        response: Response<Incoming>,
        in_flight: InFlight,
        connection: Option<PooledConnection>,
    },
    Failed {
        failure: Failure,
        reason: Reason,
        sent: bool,
        slot: u32,
        server: Rc<Upstream>,
    },
    /// No server is to blame, or no time is left: another attempt would be of no use.
    GivenUp(Reason),
}

/// A client's connection, as its requests share it.
pub struct ClientConnection {
    /// Who is at its other end.
    pub peer: Peer,
    /// The timer that bounds the wait for an answer.
    reusable: ReusableTimer,
    /// The request that the library is about to make a task for: HTTP/2 only.
    next_stream: RefCell<Option<StreamTask>>,
    /// The authority that its last request named, found sound. The next one will name the same.
    named: RefCell<Rc<str>>,
}

impl ClientConnection {
    /// A new connection of this peer's.
    pub fn new(peer: Peer) -> ClientConnection {
        ClientConnection {
            peer,
            reusable: ReusableTimer::default(),
            next_stream: RefCell::new(None),
            named: RefCell::new(Rc::from("")),
        }
    }

    /// A request of HTTP/2 has come: the next task that is made is the one that answers it.
    pub fn expect_stream(&self) -> StreamTask {
        let stream = StreamTask::default();
        *self.next_stream.borrow_mut() = Some(Rc::clone(&stream));
        stream
    }

    /// The task was made.
    pub fn stream_began(&self, task: AbortHandle) {
        if let Some(stream) = self.next_stream.take() {
            stream.set(Some(task));
        }
    }

    /// The authority, if it is the one of the last request.
    fn known(&self, host: &HeaderValue) -> Option<Rc<str>> {
        let named = self.named.borrow();
        (!named.is_empty() && named.as_bytes() == host.as_bytes()).then(|| Rc::clone(&named))
    }
}

/// Answers a request. Never fails: what goes wrong is an answer, too.
pub async fn serve(
    shard: Rc<Shard>,
    client_io: Arc<ClientIoState>,
    client_connection: Rc<ClientConnection>,
    stream: Option<StreamTask>,
    request: Request<Incoming>,
) -> Result<Response<DownBody>, Infallible> {
    let started = Instant::now();
    let peer = &client_connection.peer;
    let version = request.version();
    let whole = client_io.begin(version == Version::HTTP_2);
    shard.began();
    let active_config = shard.active_config();
    let (mut parts, body) = request.into_parts();
    let timeouts = &active_config.config.timeouts;
    let bounds = BodyBounds {
        kept: active_config.config.limits.replay_bytes as usize,
        most: active_config.config.limits.body_bytes,
        timeout: duration(timeouts.body),
    };
    let body = RequestBody::new(body, bounds);
    let mut context = RequestContext {
        shard: Rc::clone(&shard),
        active_config: Rc::clone(&active_config),
        client_io,
        started,
        pool: None,
        server: None,
        status: StatusCode::OK,
        // Until it is known better: the library drops what a client no longer waits for.
        reason: Reason::ClientGone,
        log_fields: None,
        body: body.clone(),
        sent: 0,
        attempts: 0,
    };
    if active_config.logs() {
        context.log_fields = Some(Box::new(LogFields::new(&parts, peer)));
    }
    let authority = match check(&mut parts, &active_config.config.limits, &client_connection) {
        Ok(authority) => authority,
        Err(reason) => {
            // Behind CONNECT comes what was meant for the tunnel.
            let close = reason.status() == StatusCode::BAD_REQUEST || reason == Reason::MethodRefused;
            return Ok(own(context, stream, reason, close));
        }
    };
    match take_forward(&mut parts) {
        Ok(true) => {}
        Ok(false) => return Ok(last_recipient(context, stream, &parts)),
        Err(reason) => return Ok(own(context, stream, reason, true)),
    }
    let host_name = authority
        .rsplit_once(':')
        .map_or(&*authority, |(host, port)| if port.bytes().all(|b| b.is_ascii_digit()) { host } else { &*authority });
    let uri = parts.uri.clone();
    let path = if uri.path().is_empty() || uri.path() == "*" { "/" } else { uri.path() };
    let Some(pool) = active_config.config.routes.find(Some(host_name), path) else {
        return Ok(own(context, stream, Reason::NoRoute, false));
    };
    let pool = Rc::clone(&active_config.pools[pool]);
    context.pool = Some(Rc::clone(&pool));

    // What the server is told. What the client's connection is about ends here.
    // HTTP/1.0 has no upgrades, and a server that speaks HTTP/2 cannot be asked for one (RFC 9110, 7.8): there the field is
    // ignored, as a server may.
    let upgrade = version == Version::HTTP_11
        && headers::wants_upgrade(&parts.headers)
        && pool.config().protocol == Protocol::Http1;
    let client_side = if upgrade { parts.extensions.remove::<OnUpgrade>() } else { None };
    headers::strip_hop_by_hop(&mut parts.headers, upgrade);
    // HTTP/1.0 knows no expectations, and on HTTP/2 the library cannot pass an invitation on.
    let expects = version == Version::HTTP_11 && !body.is_empty() && expect::is_expected(&parts.headers);
    parts.headers.remove(header::EXPECT);
    let header_options = &active_config.config.headers;
    if header_options.via && headers::times_through(&parts.headers) >= MOST_TIMES_THROUGH {
        return Ok(own(context, stream, Reason::Loop, false));
    }
    let client = if header_options.x_forwarded {
        headers::forward_claims(&mut parts.headers, peer, &active_config.trust, header_options.forwarded)
    } else {
        headers::client_ip(&parts.headers, peer.address(), &active_config.trust)
    };
    if header_options.via {
        headers::append_via(&mut parts.headers, version);
    }
    let id = header_options.request_id.then(|| {
        let trusted = active_config.trust.trusts(peer.address());
        shard.with_rng(|rng| headers::request_id(&mut parts.headers, trusted, rng))
    });
    if let Some(log_fields) = &mut context.log_fields {
        log_fields.client = client;
        log_fields.request_id.clone_from(&id);
        log_fields.host = Bytes::copy_from_slice(authority.as_bytes());
    }
    let cookies = parts.headers.get_all(header::COOKIE).iter().count();
    if cookies > 1 && version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    let config = pool.config();
    let sticky = config.rules.sticky.as_ref();
    let cookie = sticky.and_then(|sticky| headers::cookie(&parts.headers, &sticky.cookie)).map(str::to_owned);
    let key_value = match &active_config.config.key {
        KeyTable::Path | KeyTable::Uri => None,
        KeyTable::Header(name) => parts.headers.get(name).map(|value| Bytes::copy_from_slice(value.as_bytes())),
        KeyTable::Bits(name) => {
            let digits = parts.headers.get(name).and_then(|value| value.to_str().ok());
            let bits = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            bits.map(|bits| Bytes::copy_from_slice(&bits.to_le_bytes()))
        }
        KeyTable::Cookie(name) => {
            headers::cookie(&parts.headers, name).map(|value| Bytes::copy_from_slice(value.as_bytes()))
        }
    };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let key = match (&active_config.config.key, &key_value) {
        (KeyTable::Uri, _) => target.as_bytes(),
        (_, Some(value)) => value,
        _ => path.as_bytes(),
    };
    let info = RequestInfo { client, path, key };
    let method = parts.method;
    let deadline = timeouts.total.map(|total| started + duration(total));
    let mut call = Call {
        active_config: &active_config,
        method: &method,
        // Of a URI without a path a proxy makes `*` (RFC 9112, 3.2.4); the library has made `/` of it.
        target: if whole {
            Uri::from_static("*")
        } else if uri.scheme().is_none() && uri.authority().is_none() && target.starts_with('/') {
            uri.clone()
        } else if target.starts_with('/') || target == "*" {
            target.parse().unwrap_or_default()
        } else {
            format!("/{target}").parse().unwrap_or_default()
        },
        authority: &authority,
        headers: parts.headers,
        body: &body,
        idempotent: method.is_idempotent(),
        upgrade,
        expects,
        interim: version == Version::HTTP_11,
        client_io: &context.client_io.clone(),
        client_connection: &client_connection,
        deadline,
        shard: &shard,
    };
    pool.arrived();
    let ran = {
        // Pinned here, so that it has one place whichever way it is waited for: see the test of sizes.
        let mut run = pin!(run(&mut call, &pool, &info, cookie.as_deref(), &mut context));
        match deadline {
            None => run.as_mut().await,
            Some(deadline) => timeout_at(deadline, run.as_mut()).await.unwrap_or(Err(Reason::TotalTimeout)),
        }
    };
    let (response, in_flight, connection) = match ran {
        Ok(answered) => answered,
        Err(reason) => {
            let close = matches!(reason, Reason::BodyTooLarge | Reason::BodyTimeout | Reason::BodyBroken);
            return Ok(own(context, stream, reason, close));
        }
    };
    drop(call);
    if context.client_io.has_interim() {
        // What is interim and came together with the answer: the connection's task writes it when this lets it.
        tokio::task::yield_now().await;
    }
    context.client_io.begin_answer();

    let slot = in_flight.slot();
    context.server = Some(Rc::clone(&in_flight.server));
    context.status = response.status();
    context.reason = Reason::Ok;
    if let Some(log_fields) = &mut context.log_fields {
        log_fields.connect = in_flight.connect_time();
        log_fields.first_byte = in_flight.time_to_first_byte();
        log_fields.answered = Some(Instant::now());
        log_fields.upstream = in_flight.server.address();
    }
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let (mut answer, inner) = {
        let mut response = response;
        let server_side = switching.then(|| hyper::upgrade::on(&mut response));
        if let (Some(client_side), Some(server_side)) = (client_side, server_side) {
            context.client_io.leave();
            headers::strip_hop_by_hop(response.headers_mut(), true);
            let (answer, _) = response.into_parts();
            let mut answer = Response::from_parts(answer, DownBody::own(Bytes::new(), None, None));
            finish_head(&mut answer, &active_config, id.as_ref(), None, version);
            context.reason = Reason::Tunnel;
            let shard = Rc::clone(&shard);
            tokio::task::spawn_local(async move {
                let idle = duration(context.active_config.config.timeouts.idle);
                let (sent, complete) = tunnel::run(client_side, server_side, idle, &shard).await;
                context.sent = sent;
                in_flight.finish(if complete { Outcome::Ok } else { Outcome::Cancelled });
                drop(context);
            });
            return Ok(answer);
        }
        response.into_parts()
    };
    if switching {
        // Nobody asked for it.
        in_flight.finish(Outcome::Failed);
        return Ok(own(context, stream, Reason::BadAnswer, false));
    }
    if !is_plain(&mut answer.headers) {
        in_flight.finish(Outcome::Failed);
        return Ok(own(context, stream, Reason::BadAnswer, false));
    }
    let load = in_flight.server.last_report.borrow_mut().take(&mut answer.headers);
    if let Some(load) = load {
        in_flight.pool().reported(in_flight.backend(), &load);
    }
    headers::strip_hop_by_hop(&mut answer.headers, false);
    if answer.status == StatusCode::NO_CONTENT {
        // It has no content, and so no length (RFC 9110, 8.6).
        answer.headers.remove(header::CONTENT_LENGTH);
    }
    let set_cookie = sticky.and_then(|sticky| {
        let value = pool.cookie(slot)?;
        if cookie.as_deref() == Some(value.as_str()) {
            return None;
        }
        headers::set_cookie(&sticky.cookie, &value, sticky.max_age.map(|age| age.0 / 1_000_000_000), peer.tls())
    });
    if active_config.config.headers.upstream
        && let Ok(name) = HeaderValue::from_str(&in_flight.server.name)
    {
        answer.headers.insert("x-upstream", name);
    }
    let outcome = if is_failure(answer.status) { Outcome::Failed } else { Outcome::Ok };
    let (client_io, request) = (Arc::clone(&context.client_io), body.clone());
    // A client that was not invited may or may not send its body now: what comes next is not known.
    let uninvited = expects && !context.body.is_complete();
    let closing = uninvited || context.client_io.is_closing() || shard.is_draining();
    let guard = ResponseGuard { context, in_flight: Some(in_flight), connection, outcome };
    let limits = answer_timer::Limits { idle: duration(timeouts.idle), until: deadline };
    let http2 = version == Version::HTTP_2;
    let body =
        DownBody::server(inner, Box::new(guard), http2, || shard.answers().enter(limits, client_io, stream, request));
    let mut response = Response::from_parts(answer, body);
    *response.version_mut() = Version::HTTP_11;
    finish_head(&mut response, &active_config, id.as_ref(), set_cookie, version);
    if closing && version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Whether a status says that the server failed. 501 and 505 say that the client asked for what the server does not do, and
/// HAProxy's `observe layer7` does not count them either.
fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() && !matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED)
}

/// Whether the end of an answer can be told in one way only, which is then the only one in its head: a length, said once, or
/// chunks. Of an answer that has both the client would be told the length and sent the chunks' content (RFC 9112, 6.3).
fn is_plain(headers: &mut HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        return codings.next().is_none()
            && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
            && !headers.contains_key(header::CONTENT_LENGTH);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return true };
    let digits = |value: &HeaderValue| !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if lengths.next().is_none() && digits(first) {
        return true;
    }
    // Equal ones, in lines or in a list, are one (RFC 9110, 8.6); the library has refused others.
    let one = first.as_bytes().split(|&b| b == b',').next().map(<[u8]>::trim_ascii).unwrap_or_default();
    match HeaderValue::from_bytes(one) {
        Ok(one) if digits(&one) => {
            headers.insert(header::CONTENT_LENGTH, one);
            true
        }
        _ => false,
    }
}

/// Puts into an answer's head what is the proxy's.
fn finish_head(
    response: &mut Response<DownBody>,
    active_config: &ActiveConfig,
    id: Option<&HeaderValue>,
    set_cookie: Option<HeaderValue>,
    version: Version,
) {
    let headers = response.headers_mut();
    if active_config.config.headers.via {
        headers::append_via(headers, Version::HTTP_11);
    }
    if let Some(id) = id {
        headers.insert(&headers::X_REQUEST_ID, id.clone());
    }
    if let Some(set_cookie) = set_cookie {
        headers.append(header::SET_COOKIE, set_cookie);
    }
    if version == Version::HTTP_2 {
        *response.version_mut() = Version::HTTP_2;
    }
}

/// An answer of the proxy's own.
fn own(context: RequestContext, stream: Option<StreamTask>, reason: Reason, close: bool) -> Response<DownBody> {
    own_answer(context, stream, reason, close, reason.answer())
}

fn own_answer(
    mut context: RequestContext,
    stream: Option<StreamTask>,
    reason: Reason,
    close: bool,
    answer: Response<Bytes>,
) -> Response<DownBody> {
    context.reason = reason;
    context.status = reason.status();
    let unread = !context.body.is_complete();
    let close = close || unread || context.client_io.is_closing() || context.shard.is_draining();
    context.client_io.begin_answer();
    let (mut parts, text) = answer.into_parts();
    if close && !context.client_io.is_http2() {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if close {
        context.hang_up();
    }
    context.sent = text.len() as u64;
    // On HTTP/1.1 the answer is written with its head; on HTTP/2 it waits for room in the client's window.
    let timed = stream.map(|stream| {
        let idle = duration(context.active_config.config.timeouts.idle);
        let limits = answer_timer::Limits { idle, until: None };
        context.shard.answers().enter(limits, Arc::clone(&context.client_io), Some(stream), context.body.clone())
    });
    let guard = ResponseGuard { context, in_flight: None, connection: None, outcome: Outcome::Ok };
    Response::from_parts(parts, DownBody::own(text, Some(Box::new(guard)), timed))
}

/// Counts `Max-Forwards` of OPTIONS and TRACE down by one; false if it was used up (RFC 9110, 7.6.2).
fn take_forward(parts: &mut http::request::Parts) -> Result<bool, Reason> {
    if !matches!(parts.method, Method::OPTIONS | Method::TRACE) {
        return Ok(true);
    }
    let mut values = parts.headers.get_all(header::MAX_FORWARDS).iter();
    let Some(value) = values.next() else { return Ok(true) };
    let digits = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if values.next().is_some() || !digits {
        return Err(Reason::BadRequest);
    }
    // Beyond numbers is still a number, and farther than anything goes.
    let left = value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(false);
    }
    parts.headers.insert(header::MAX_FORWARDS, HeaderValue::from(left - 1));
    Ok(true)
}

/// The answer of the last recipient: what OPTIONS may ask for, or the head of a TRACE as it came, without what is secret (RFC
/// 9110, 9.3.7 and 9.3.8).
fn last_recipient(
    context: RequestContext,
    stream: Option<StreamTask>,
    parts: &http::request::Parts,
) -> Response<DownBody> {
    let mut answer = Reason::MaxForwards.answer();
    if parts.method == Method::TRACE {
        let mut text = format!("TRACE {} {:?}\r\n", parts.uri, parts.version).into_bytes();
        for (name, value) in &parts.headers {
            if !matches!(*name, header::AUTHORIZATION | header::PROXY_AUTHORIZATION | header::COOKIE) {
                text.extend_from_slice(name.as_str().as_bytes());
                text.extend_from_slice(b": ");
                text.extend_from_slice(value.as_bytes());
                text.extend_from_slice(b"\r\n");
            }
        }
        text.extend_from_slice(b"\r\n");
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("message/http"));
        *answer.body_mut() = Bytes::from(text);
    }
    own_answer(context, stream, Reason::MaxForwards, false, answer)
}

/// Refuses what is no request to forward; gives its authority, which stands in `Host` when this returns.
fn check(
    parts: &mut http::request::Parts,
    limits: &LimitsTable,
    client_connection: &ClientConnection,
) -> Result<Rc<str>, Reason> {
    if parts.method == Method::CONNECT {
        return Err(Reason::MethodRefused);
    }
    if parts.headers.len() > limits.headers as usize {
        return Err(Reason::HeaderTooLarge);
    }
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        // The library is content if the last one is `chunked`; what is below it would reach the server unnamed.
        return Err(Reason::AmbiguousLength);
    }
    let http2 = parts.version == Version::HTTP_2;
    if http2 {
        // What HTTP/1.1's reader has seen to, and what it would take off (RFC 9113, 8.2.1).
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let padded = |value: &HeaderValue| is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last());
        if parts.headers.values().any(padded) {
            return Err(Reason::BadRequest);
        }
        let mut lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter();
        if let Some(length) = lengths.next() {
            if lengths.next().is_some() {
                return Err(Reason::AmbiguousLength);
            }
            if length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit) {
                return Err(Reason::BadRequest);
            }
        }
    }
    let path = parts.uri.path();
    let whole = path == "*" && parts.method == Method::OPTIONS;
    let rooted = path.starts_with('/') || path.is_empty() && parts.uri.scheme().is_some();
    if !rooted && !whole {
        return Err(Reason::BadRequest);
    }
    if climbs(path) {
        return Err(Reason::BadRequest);
    }
    let length = parts.headers.get(header::CONTENT_LENGTH);
    if let (Some(length), Some(most)) = (length, limits.body_bytes)
        && length.to_str().ok().and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > most)
    {
        return Err(Reason::BodyTooLarge);
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (named, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Reason::MissingHost);
    }
    // A client that names the authority in the target means that one (RFC 9112, 3.2.2).
    let authority = match (parts.uri.authority(), named) {
        (Some(authority), Some(named))
            if http2 && !named.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            return Err(Reason::MissingHost);
        }
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => match client_connection.known(host) {
            Some(known) => return Ok(known),
            None => Authority::try_from(host.as_bytes()).map_err(|_| Reason::MissingHost)?,
        },
        // HTTP/1.0 need not say.
        (None, None) if parts.version == Version::HTTP_10 => return Ok(Rc::from("")),
        (None, None) => return Err(Reason::MissingHost),
    };
    if !is_sound(&authority) {
        return Err(Reason::MissingHost);
    }
    if named.is_none_or(|named| named.as_bytes() != authority.as_str().as_bytes()) {
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::MissingHost)?;
        parts.headers.insert(header::HOST, value);
    }
    let authority: Rc<str> = Rc::from(authority.as_str());
    *client_connection.named.borrow_mut() = Rc::clone(&authority);
    Ok(authority)
}

/// Whether it is a host and perhaps a port: a name, an address, no user. What else a URI may have there has no use but to
/// be read in another way by the next one.
fn is_sound(authority: &Authority) -> bool {
    let text = authority.as_str();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, "0"),
    };
    let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let named = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(of_name),
    };
    named && (port.is_empty() || port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a path has segments `.` or `..`, encoded or not: the server might resolve them and serve another path than the
/// one that was routed. Slashes count in every spelling that some server takes for one.
fn climbs(path: &str) -> bool {
    if !path.contains('.') && !path.contains("%2") {
        return false;
    }
    let plain =
        path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    plain.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// HTTP/2 may send a cookie in pieces; HTTP/1.1 has one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut joined = Vec::new();
    for line in headers.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(line.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

type Answered = (Response<Incoming>, InFlight, Option<PooledConnection>);

/// Places a request and sends it, again where that is right.
async fn run(
    call: &mut Call<'_>,
    pool: &Rc<ShardPool>,
    info: &RequestInfo<'_>,
    cookie: Option<&str>,
    context: &mut RequestContext,
) -> Result<Answered, Reason> {
    if !pool.admits() {
        return Err(Reason::NotAdmitted);
    }
    let config = pool.config();
    let rules = config.rules.retries.as_ref();
    let mut tried: Vec<u32> = Vec::new();
    let mut last = None;
    loop {
        let placed = pool.place(info, &tried, if tried.is_empty() { cookie } else { None }).await;
        let in_flight = match placed {
            Ok(in_flight) => in_flight,
            // What went wrong before says more than that nobody is left.
            Err(reason) => return Err(last.unwrap_or(reason)),
        };
        context.attempts += 1;
        let may_follow = rules.is_some_and(|rules| context.attempts <= rules.max_retries);
        let attempt = match pool.hedge_delay() {
            Some(delay) if call.idempotent && call.body.is_empty() && !call.upgrade => {
                Box::pin(hedged(call, pool, info, &mut tried, in_flight, duration(delay), context)).await
            }
            _ => call.attempt(in_flight).await,
        };
        let (failure, reason, sent, slot) = match attempt {
            Attempt::Answered { response, in_flight, connection } => {
                let failure = match response.status() {
                    StatusCode::SERVICE_UNAVAILABLE => Failure::Rejected,
                    status if is_failure(status) => Failure::Error,
                    _ => return Ok((response, in_flight, connection)),
                };
                let slot = in_flight.slot();
                if !may_follow || !may_go_again(call, pool, failure, true, context.attempts, &tried, slot) {
                    return Ok((response, in_flight, connection));
                }
                in_flight.server.metrics.retried(failure);
                in_flight.finish(Outcome::Failed);
                (None, Reason::UpstreamReset, true, slot)
            }
            Attempt::Failed { failure, reason, sent, slot, server } => {
                context.server = None;
                if may_follow && may_go_again(call, pool, failure, sent, context.attempts, &tried, slot) {
                    server.metrics.retried(failure);
                    (None, reason, sent, slot)
                } else {
                    (Some(failure), reason, sent, slot)
                }
            }
            Attempt::GivenUp(reason) => return Err(reason),
        };
        let _ = sent;
        if failure.is_some() {
            return Err(reason);
        }
        let Some(pause) = pool.may_retry(context.attempts) else { return Err(reason) };
        last = Some(reason);
        select::insert_sorted(&mut tried, slot);
        if pause.0 > 0 {
            Box::pin(sleep(duration(pause))).await;
        }
    }
}

/// Whether rules, body and fleet allow another attempt. The budget is asked last, for asking spends it.
fn may_go_again(
    call: &Call<'_>,
    pool: &ShardPool,
    failure: Failure,
    sent: bool,
    attempts: u32,
    tried: &[u32],
    slot: u32,
) -> bool {
    let config = pool.config();
    let rules = config.rules.retries.as_ref();
    rules.is_some_and(|rules| rules.allows(failure, attempts, call.idempotent, sent))
        && call.body.can_be_sent_again()
        && pool.has_other(tried, slot)
}

/// Two copies where the first is slow: whichever answers first counts, the other is let go.
async fn hedged(
    call: &Call<'_>,
    pool: &Rc<ShardPool>,
    info: &RequestInfo<'_>,
    tried: &mut Vec<u32>,
    in_flight: InFlight,
    delay: std::time::Duration,
    context: &mut RequestContext,
) -> Attempt {
    let slot = in_flight.slot();
    let mut first = pin!(call.attempt(in_flight));
    if let Ok(attempt) = timeout(delay, first.as_mut()).await {
        return attempt;
    }
    if !pool.has_other(tried, slot) || !pool.may_hedge() {
        return first.await;
    }
    select::insert_sorted(tried, slot);
    // It does not wait for room; and while its strategy asks whom to send it to, the first may answer.
    let tried = &*tried;
    let second = async {
        let in_flight = pool.place_now(info, tried).await?;
        context.attempts += 1;
        in_flight.server.metrics.hedged();
        Some(call.attempt(in_flight).await)
    };
    let first = async { Some(first.await) };
    let (mut first, mut second) = (pin!(first), pin!(second));
    let mut lost: Option<Attempt> = None;
    let (mut first_over, mut second_over) = (false, false);
    std::future::poll_fn(move |cx| {
        for (over, attempt) in [
            (&mut first_over, first.as_mut() as std::pin::Pin<&mut dyn Future<Output = Option<Attempt>>>),
            (&mut second_over, second.as_mut()),
        ] {
            if *over {
                continue;
            }
            if let Poll::Ready(attempt) = attempt.poll(cx) {
                *over = true;
                // The second may have found no room.
                let Some(attempt) = attempt else { continue };
                if matches!(&attempt, Attempt::Answered { response, .. } if !is_failure(response.status())) {
                    return Poll::Ready(attempt);
                }
                lost = Some(attempt);
            }
        }
        match lost.take_if(|_| first_over && second_over) {
            Some(attempt) => Poll::Ready(attempt),
            None => Poll::Pending,
        }
    })
    .await
}

impl Call<'_> {
    /// Sends the request to where it was placed and waits for the head of the answer.
    async fn attempt(&self, in_flight: InFlight) -> Attempt {
        let server = Rc::clone(&in_flight.server);
        let slot = in_flight.slot();
        let mut open = if self.upgrade { None } else { server.reuse() };
        let mut made_room = false;
        loop {
            let mut connection = match open.take() {
                Some(connection) => connection,
                None => match Box::pin(in_flight.connecting(server.connect(self.upgrade))).await {
                    Ok(connection) => connection,
                    Err(error) if error.is_own() => {
                        // Idle connections hold what is missing.
                        if !std::mem::replace(&mut made_room, true) && self.shard.close_idle() {
                            tokio::task::yield_now().await;
                            continue;
                        }
                        self.shard.shortage(&error);
                        return Attempt::GivenUp(Reason::NoDescriptor);
                    }
                    Err(error) => {
                        let reason = match error {
                            ConnectError::TimedOut => Reason::ConnectTimeout,
                            ConnectError::NoStream => Reason::NoStream,
                            _ => Reason::ConnectFailed,
                        };
                        tracing::debug!(server = server.name, %error, "no connection");
                        in_flight.finish(reason.fault().outcome());
                        return Attempt::Failed { failure: Failure::Connect, reason, sent: false, slot, server };
                    }
                },
            };
            let again = connection.is_reused() && self.body.can_be_sent_again();
            let request = self.request(&connection, &server);
            let began = Instant::now();
            let sent = {
                let mut send = pin!(connection.send(request));
                let response_timeout = self.response_timeout(in_flight.pool());
                let mut received = self.body.received();
                let mut from = began;
                loop {
                    let until =
                        self.deadline.map_or(from + response_timeout, |deadline| deadline.min(from + response_timeout));
                    match self.client_connection.reusable.until(until, send.as_mut()).await {
                        // The clock of the first byte begins when the request is out; until then the client must send, on a
                        // clock of its own, or the server must take what the client sends.
                        None if !self.is_late() && (self.body.is_awaited() || self.body.received() != received) => {
                            received = self.body.received();
                            from = Instant::now();
                        }
                        sent => break sent,
                    }
                }
            };
            match sent {
                Some(Ok(response)) => {
                    in_flight.answered();
                    return Attempt::Answered { response, in_flight, connection: Some(connection.pooled()) };
                }
                Some(Err(failed)) => {
                    if let Some(fault) = self.body.fault() {
                        return Attempt::GivenUp(match fault {
                            BodyFault::TooLarge => Reason::BodyTooLarge,
                            BodyFault::TooSlow => Reason::BodyTimeout,
                            BodyFault::Broken | BodyFault::Gone => Reason::BodyBroken,
                        });
                    }
                    let untouched = failed.unsent || self.idempotent && !failed.error.is_parse();
                    if again && untouched && self.body.can_be_sent_again() && !failed.error.is_parse() {
                        // The connection was old; the server is not to blame.
                        server.discard(&connection);
                        continue;
                    }
                    if failed.error.is_parse_too_large()
                        && server.expect_many_fields()
                        && self.idempotent
                        && self.body.can_be_sent_again()
                    {
                        continue;
                    }
                    tracing::debug!(server = server.name, error = %failed.error, "no answer");
                    let reason = if failed.error.is_parse() {
                        Reason::BadAnswer
                    } else if connection.is_reused() && began.elapsed() < STALE {
                        server.discard(&connection);
                        Reason::StaleConnection
                    } else {
                        Reason::UpstreamReset
                    };
                    in_flight.finish(reason.fault().outcome());
                    return Attempt::Failed { failure: Failure::Reset, reason, sent: !failed.unsent, slot, server };
                }
                None if self.is_late() => {
                    // A client that is still sending is what was waited for.
                    if self.body.is_over() {
                        in_flight.finish(Reason::TotalTimeout.fault().outcome());
                    }
                    return Attempt::GivenUp(Reason::TotalTimeout);
                }
                None => {
                    let reason = Reason::FirstByteTimeout;
                    in_flight.finish(reason.fault().outcome());
                    return Attempt::Failed { failure: Failure::Timeout, reason, sent: true, slot, server };
                }
            }
        }
    }

    /// Whether the request must be over by now.
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The longest that a server may take to begin its answer.
    fn plan_patience(&self) -> std::time::Duration {
        duration(self.active_config.config.timeouts.response_header)
    }

    fn response_timeout(&self, pool: &ShardPool) -> std::time::Duration {
        let config = pool.config();
        let first_byte = self.active_config.config.timeouts.response_header;
        let per_try = config.rules.retries.as_ref().and_then(|rules| rules.per_try_timeout);
        duration(per_try.map_or(first_byte, |per_try| per_try.min(first_byte)))
    }

    /// The request for one attempt.
    fn request(&self, connection: &Connection, server: &Upstream) -> Request<UpBody> {
        let mut body = self.body.attempt();
        // Once the client has begun to send, it has been invited.
        let key = (self.expects && self.body.received() == 0).then(|| {
            let (gate, key) = Gate::new(expect::WAIT.min(self.plan_patience() / 2));
            body.wait_for(gate);
            key
        });
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        match connection {
            Connection::Http1(_) => {
                *request.uri_mut() = self.target.clone();
                let headers = request.headers_mut();
                if !self.body.is_empty() && !headers.contains_key(header::CONTENT_LENGTH) {
                    // Else the library takes it that a GET has no body, whatever the client has sent.
                    headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
                }
                if !headers.contains_key(header::HOST)
                    && let Some(address) = server.address()
                    && let Ok(value) = HeaderValue::try_from(address.to_string())
                {
                    // A client of HTTP/1.0 has named none, but HTTP/1.1 has to.
                    headers.insert(header::HOST, value);
                }
                if headers.contains_key(header::TE) {
                    // It is about this connection (RFC 9110, 10.1.4).
                    let options = if self.upgrade { "upgrade, te" } else { "te" };
                    headers.insert(header::CONNECTION, HeaderValue::from_static(options));
                }
                if key.is_some() {
                    headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
                }
            }
            Connection::Http2 { .. } => {
                *request.version_mut() = Version::HTTP_2;
                let mut parts = self.target.clone().into_parts();
                parts.scheme = Some(Scheme::HTTP);
                parts.authority = Authority::try_from(self.authority).ok().or(Authority::try_from("localhost").ok());
                *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
                request.headers_mut().remove(header::HOST);
            }
        }
        if self.interim {
            let client_io = Arc::clone(self.client_io);
            let answer = client_io.answer();
            hyper::ext::on_informational(&mut request, move |interim| {
                // `100 Continue` is about the body: the library says so when it asks for that.
                if interim.status() == StatusCode::CONTINUE {
                    key.iter().for_each(Key::open);
                    return;
                }
                let mut head = format!("HTTP/1.1 {}\r\n", interim.status()).into_bytes();
                let mut fields = interim.headers().clone();
                headers::strip_hop_by_hop(&mut fields, false);
                fields.remove(header::CONTENT_LENGTH);
                for (name, value) in &fields {
                    head.extend_from_slice(name.as_str().as_bytes());
                    head.extend_from_slice(b": ");
                    head.extend_from_slice(value.as_bytes());
                    head.extend_from_slice(b"\r\n");
                }
                head.extend_from_slice(b"\r\n");
                client_io.interim(answer, &head);
            });
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The future of a request is moved when the library takes it up: what is rare in it must be boxed.
    #[test]
    fn the_future_of_a_request_is_small() {
        fn size<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(serve);
        assert!(size <= 4096, "{size} bytes");
    }
}
