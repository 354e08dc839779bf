//! What is kept of a request until its response is over, and then counted and logged.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::access::Entry;
use crate::body::RequestBody;
use crate::client_io::ClientIoState;
use crate::headers::Peer;
use crate::pool::ShardPool;
use crate::shard::{ActiveConfig, Shard};
use crate::termination::Reason;
use crate::upstream::Upstream;
use evenkeel_core::units::Nanos;

/// What is kept of a request until its answer is over, and then counted and logged.
pub(super) struct RequestContext {
    pub(super) shard: Rc<Shard>,
    pub(super) active_config: Rc<ActiveConfig>,
    pub(super) client_io: Arc<ClientIoState>,
    pub(super) started: Instant,
    pub(super) pool: Option<Rc<ShardPool>>,
    pub(super) server: Option<Rc<Upstream>>,
    pub(super) status: StatusCode,
    pub(super) reason: Reason,
    pub(super) log_fields: Option<Box<LogFields>>,
    pub(super) body: RequestBody,
    pub(super) sent: u64,
    pub(super) attempts: u32,
}

/// What the access log wants to know of a request, while it is under way.
pub(super) struct LogFields {
    pub(super) time: Timestamp,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) host: Bytes,
    pub(super) version: Version,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) request_id: Option<HeaderValue>,
    pub(super) client: IpAddr,
    pub(super) tls: Option<&'static str>,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) connect: Option<Nanos>,
    pub(super) first_byte: Option<Nanos>,
    pub(super) answered: Option<Instant>,
}

impl LogFields {
    pub(super) fn new(parts: &http::request::Parts, peer: &Peer) -> LogFields {
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
    pub(super) fn hang_up(&self) {
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
