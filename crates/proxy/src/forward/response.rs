//! A server's response on its way to the client: its head, and what follows its body to the end.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use hyper::Response;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use super::context::RequestContext;
use super::local_reply::Refusal;
use super::request::{Head, Inbound, is_number};
use crate::body::{DownBody, End, OnEnd};
use crate::clock::duration;
use crate::headers::{self, Peer};
use crate::pool::InFlight;
use crate::response_timer::{self, Side, StreamTask};
use crate::server_body::ServerBody;
use crate::state::ActiveConfig;
use crate::termination::Reason;
use crate::tunnel;
use crate::upstream::PooledConnection;
use evenkeel_core::select::Outcome;

/// Tracks a response's body to its end.
pub(super) struct ResponseGuard {
    context: RequestContext,
    /// `None` for a response of the proxy's own.
    in_flight: Option<InFlight>,
    /// Goes back to its pool when the body is complete.
    connection: Option<PooledConnection>,
    /// The outcome that the status means for the server.
    outcome: Outcome,
}

impl ResponseGuard {
    /// Follows a response of a server.
    pub(super) fn new(
        context: RequestContext,
        in_flight: InFlight,
        connection: Option<PooledConnection>,
        outcome: Outcome,
    ) -> ResponseGuard {
        ResponseGuard { context, in_flight: Some(in_flight), connection, outcome }
    }

    /// Follows a response of the proxy's own.
    pub(super) fn local(context: RequestContext) -> ResponseGuard {
        ResponseGuard { context, in_flight: None, connection: None, outcome: Outcome::Ok }
    }
}

impl OnEnd for ResponseGuard {
    fn end(mut self: Box<Self>, end: End) {
        let Some(in_flight) = self.in_flight.take() else { return };
        match end {
            End::Complete => complete(&self.context, in_flight, self.connection.take(), self.outcome),
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

/// Ends an exchange whose response was passed on to its end.
pub(super) fn complete(
    context: &RequestContext,
    in_flight: InFlight,
    connection: Option<PooledConnection>,
    outcome: Outcome,
) {
    // A server that responds before it has read the request has a connection with the rest of it inside.
    if context.body.is_complete() {
        if let Some(pooled) = connection {
            in_flight.server.give_back(pooled);
        }
    } else {
        context.close_connection();
    }
    in_flight.finish(outcome);
}

/// The affinity cookie that the client is to be sent, if it has not sent the same.
pub(super) fn set_cookie(inbound: &Inbound, in_flight: &InFlight, peer: &Peer) -> Option<HeaderValue> {
    let pool = &inbound.pool;
    let config = pool.config();
    let sticky = config.rules.sticky.as_ref()?;
    let value = pool.cookie(in_flight.slot())?;
    if inbound.cookie.as_deref() == Some(value.as_str()) {
        return None;
    }
    headers::set_cookie(&sticky.cookie, &value, sticky.max_age.map(|age| age.0 / 1_000_000_000), peer.tls())
}

/// What the response to a request needs beside the server's.
pub(super) struct Reply {
    pub(super) context: RequestContext,
    pub(super) inbound: Inbound,
    /// The task of the stream; HTTP/2 only.
    pub(super) stream: Option<StreamTask>,
    /// When the request must be over; `None` without `timeouts.total`.
    pub(super) deadline: Option<Instant>,
}

impl Reply {
    /// Passes a server's response on.
    pub(super) fn pass_on(
        mut self,
        mut response: Response<ServerBody>,
        in_flight: InFlight,
        connection: Option<PooledConnection>,
        peer: &Peer,
    ) -> Response<DownBody> {
        self.context.begin_response(&in_flight, response.status());
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let tunnel = match &mut self.inbound.head {
                Head::Fields(fields) => fields.tunnel.take(),
                Head::Plain(_) => None,
            };
            return match tunnel {
                Some(client_side) => self.switch_protocols(client_side, response, in_flight),
                // The request did not ask for it.
                None => self.bad_response(in_flight),
            };
        }
        let active_config = Rc::clone(&self.context.active_config);
        if !has_one_length(response.headers_mut()) {
            return self.bad_response(in_flight);
        }
        let (mut head, inner) = response.into_parts();
        let load = in_flight.server.last_report.borrow_mut().take(&mut head.headers);
        if let Some(load) = load {
            in_flight.pool().reported(in_flight.backend(), &load);
        }
        let set_cookie = self.rewrite_head(&mut head, &in_flight, peer);
        let outcome = if is_failure(head.status) { Outcome::Failed } else { Outcome::Ok };
        let Reply { context, inbound, stream, deadline } = self;
        let (shard, client_io, body) =
            (Rc::clone(&context.shard), Arc::clone(&context.client_io), context.body.clone());
        // A client that was not invited may or may not send its body now: what comes next is not known.
        let uninvited = inbound.expects && !body.is_complete();
        let closing = uninvited || client_io.is_closing() || shard.is_draining();
        let guard = ResponseGuard::new(context, in_flight, connection, outcome);
        let limits = response_timer::Limits { idle: duration(active_config.config.timeouts.idle), until: deadline };
        let http2 = inbound.version == Version::HTTP_2;
        let body = DownBody::server(inner, Box::new(guard), http2, || {
            shard.response_timers().enter(limits, client_io, stream, body)
        });
        let mut response = Response::from_parts(head, body);
        *response.version_mut() = Version::HTTP_11;
        finish_head(&mut response, &active_config, &inbound, set_cookie);
        if closing && !http2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Takes from the head what is about the connection to the server, and names the server. Gives the affinity cookie that
    /// the client is to be sent, if it has not sent the same.
    fn rewrite_head(&self, head: &mut Parts, in_flight: &InFlight, peer: &Peer) -> Option<HeaderValue> {
        headers::strip_hop_by_hop(&mut head.headers, false);
        if head.status == StatusCode::NO_CONTENT {
            // It has no content, and so no length (RFC 9110, 8.6).
            head.headers.remove(header::CONTENT_LENGTH);
        }
        if self.context.active_config.config.headers.upstream
            && let Ok(name) = HeaderValue::from_str(&in_flight.server.name)
        {
            head.headers.insert("x-upstream", name);
        }
        set_cookie(&self.inbound, in_flight, peer)
    }

    /// Tells the client that its connection becomes a tunnel, and carries the tunnel's bytes in a task of its own.
    fn switch_protocols(
        self,
        client_side: OnUpgrade,
        mut response: Response<ServerBody>,
        in_flight: InFlight,
    ) -> Response<DownBody> {
        let Reply { mut context, inbound, .. } = self;
        let server_side = hyper::upgrade::on(&mut response);
        context.client_io.leave();
        headers::strip_hop_by_hop(response.headers_mut(), true);
        let (head, _) = response.into_parts();
        let mut response = Response::from_parts(head, DownBody::own(Bytes::new(), None, None));
        finish_head(&mut response, &context.active_config, &inbound, None);
        context.reason = Reason::Tunnel;
        tokio::task::spawn_local(async move {
            let idle = duration(context.active_config.config.timeouts.idle);
            let (sent, complete) = tunnel::run(client_side, server_side, idle, &context.shard).await;
            context.sent = sent;
            in_flight.finish(if complete { Outcome::Ok } else { Outcome::Cancelled });
            drop(context);
        });
        response
    }

    /// Replies instead of a server whose response cannot be passed on.
    pub(super) fn bad_response(self, in_flight: InFlight) -> Response<DownBody> {
        in_flight.finish(Outcome::Failed);
        Refusal::new(Reason::BadResponse, false).reply(self.context, self.stream)
    }
}

/// Whether a status says that the server failed. 501 and 505 say that the client asked for what the server does not do, and
/// HAProxy's `observe layer7` does not count them either.
pub(super) fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() && !matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED)
}

/// Whether the end of a response can be told in one way only, which is then the only one in its head: a length, said once,
/// or chunks. Of a response that has both the client would be told the length and sent the chunks' content (RFC 9112, 6.3).
fn has_one_length(headers: &mut HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        return codings.next().is_none()
            && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
            && !headers.contains_key(header::CONTENT_LENGTH);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return true };
    if lengths.next().is_none() && is_number(first) {
        return true;
    }
    // Equal ones, in lines or in a list, are one (RFC 9110, 8.6); hyper has refused others.
    let one = first.as_bytes().split(|&b| b == b',').next().map(<[u8]>::trim_ascii).unwrap_or_default();
    match HeaderValue::from_bytes(one) {
        Ok(one) if is_number(&one) => {
            headers.insert(header::CONTENT_LENGTH, one);
            true
        }
        _ => false,
    }
}

/// Puts the proxy's own fields into the head of a server's response.
fn finish_head(
    response: &mut Response<DownBody>,
    active_config: &ActiveConfig,
    inbound: &Inbound,
    set_cookie: Option<HeaderValue>,
) {
    let headers = response.headers_mut();
    if active_config.config.headers.via {
        headers::append_via(headers, Version::HTTP_11);
    }
    if let Some(id) = inbound.id().and_then(|id| HeaderValue::from_bytes(id).ok()) {
        headers.insert(&headers::X_REQUEST_ID, id);
    }
    if let Some(set_cookie) = set_cookie {
        headers.append(header::SET_COOKIE, set_cookie);
    }
    if inbound.version == Version::HTTP_2 {
        *response.version_mut() = Version::HTTP_2;
    }
}
