//! What is kept of a request until its response is over, and then counted and logged.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::access::Entry;
use crate::body::{BodyBounds, RequestBody};
use crate::client_io::ClientIoState;
use crate::clock::duration;
use crate::headers::Peer;
use crate::plain::PlainRequest;
use crate::pool::{InFlight, ShardPool};
use crate::request_stream::ClientBody;
use crate::state::{ActiveConfig, ShardState};
use crate::termination::Reason;
use crate::upstream::Upstream;
use evenkeel_core::units::Nanos;

/// What is kept of a request until its response is over. Counts and logs it when dropped.
pub(super) struct RequestContext {
    pub(super) shard: Rc<ShardState>,
    pub(super) active_config: Rc<ActiveConfig>,
    pub(super) client_io: Arc<ClientIoState>,
    /// When its head was read.
    pub(super) started: Instant,
    /// `None` until it is routed.
    pub(super) pool: Option<Rc<ShardPool>>,
    /// The server whose response the client gets; `None` for a local reply.
    pub(super) server: Option<Rc<Upstream>>,
    /// The status that the client is sent.
    pub(super) status: StatusCode,
    /// How it ended. [`Reason::ClientGone`] until it is known better: hyper drops what a client no longer waits for.
    pub(super) reason: Reason,
    /// `None` without an access log.
    pub(super) log_fields: Option<Box<LogFields>>,
    pub(super) body: RequestBody,
    /// Bytes of the response's body that were given to the client's connection.
    pub(super) sent: u64,
    /// How many times it was sent to a server, hedges among them.
    pub(super) attempts: u32,
}

/// What the access log gets of a request, while it is under way.
pub(super) struct LogFields {
    time: Timestamp,
    method: Method,
    uri: Uri,
    pub(super) host: Bytes,
    version: Version,
    user_agent: Option<HeaderValue>,
    referer: Option<HeaderValue>,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) client: IpAddr,
    tls: Option<&'static str>,
    upstream: Option<SocketAddr>,
    connect: Option<Nanos>,
    first_byte: Option<Nanos>,
    /// When the response's head was there.
    answered: Option<Instant>,
}

impl LogFields {
    /// Of a request that hyper has read.
    pub(super) fn of_parts(parts: &Parts, peer: &Peer) -> LogFields {
        LogFields {
            version: parts.version,
            user_agent: parts.headers.get(header::USER_AGENT).cloned(),
            referer: parts.headers.get(header::REFERER).cloned(),
            ..LogFields::new(parts.method.clone(), parts.uri.clone(), peer)
        }
    }

    /// Of a plain request.
    pub(super) fn of_plain(head: &PlainRequest<'_>, peer: &Peer) -> LogFields {
        let first = |name| head.values(name).next().and_then(|value| HeaderValue::from_bytes(value).ok());
        LogFields {
            user_agent: first("user-agent"),
            referer: first("referer"),
            ..LogFields::new(head.method.clone(), head.target.parse().unwrap_or_default(), peer)
        }
    }

    fn new(method: Method, uri: Uri, peer: &Peer) -> LogFields {
        LogFields {
            time: Timestamp::now(),
            method,
            uri,
            host: Bytes::new(),
            version: Version::HTTP_11,
            user_agent: None,
            referer: None,
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

impl RequestContext {
    /// A request that begins now. `log_fields` is called where there is an access log.
    pub(super) fn new(
        shard: Rc<ShardState>,
        client_io: Arc<ClientIoState>,
        started: Instant,
        body: Option<ClientBody>,
        log_fields: impl FnOnce() -> LogFields,
    ) -> RequestContext {
        shard.began();
        let active_config = shard.active_config();
        let config = &active_config.config;
        let bounds = BodyBounds {
            kept: config.limits.replay_bytes as usize,
            most: config.limits.body_bytes,
            timeout: duration(config.timeouts.body),
        };
        let log_fields = active_config.logs().then(|| Box::new(log_fields()));
        RequestContext {
            body: body.map_or_else(RequestBody::none, |body| RequestBody::new(body, bounds)),
            shard,
            active_config,
            client_io,
            started,
            pool: None,
            server: None,
            status: StatusCode::OK,
            reason: Reason::ClientGone,
            log_fields,
            sent: 0,
            attempts: 0,
        }
    }

    /// A server's response is to be passed on.
    pub(super) fn begin_response(&mut self, in_flight: &InFlight, status: StatusCode) {
        self.server = Some(Rc::clone(&in_flight.server));
        self.status = status;
        self.reason = Reason::Ok;
        if let Some(log_fields) = &mut self.log_fields {
            log_fields.connect = in_flight.connect_time();
            log_fields.first_byte = in_flight.time_to_first_byte();
            log_fields.answered = Some(Instant::now());
            log_fields.upstream = in_flight.server.address();
        }
    }

    /// Ends the client's connection behind the response: what comes next on it is the rest of a body that is not read.
    /// HTTP/2 ends the stream alone, by itself.
    pub(super) fn close_connection(&self) {
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
            status: (self.reason.is_local_reply() || self.server.is_some()).then(|| self.status.as_u16()),
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

impl Drop for RequestContext {
    fn drop(&mut self) {
        let now = Instant::now();
        self.client_io.finish(now);
        self.shard.ended();
        let took = now - self.started;
        if let Some(server) = self.server.as_ref().filter(|_| !self.reason.is_local_reply()) {
            server.metrics.request(self.status, took, self.body.received(), self.sent);
        } else if let Some(pool) = &self.pool {
            pool.metrics.local_reply(self.reason);
        } else {
            self.shard.metrics().local_reply(self.reason);
        }
        if let Some(log_fields) = self.log_fields.take() {
            self.log(&log_fields, now);
        }
    }
}
