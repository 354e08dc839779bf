//! Responses of the proxy's own: to what is refused or has failed, and as the last recipient of `Max-Forwards`.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, header};
use hyper::Response;

use super::context::RequestContext;
use super::response::ResponseGuard;
use crate::body::DownBody;
use crate::clock::duration;
use crate::response_timer::{self, StreamTask};
use crate::termination::Reason;

/// Why a request is not forwarded, or has failed.
pub(super) struct Refusal {
    reason: Reason,
    /// Whether the client's connection must end behind the response.
    close: bool,
    /// Where it is not the reason's own.
    response: Option<Box<Response<Bytes>>>,
}

impl Refusal {
    pub(super) fn new(reason: Reason, close: bool) -> Refusal {
        Refusal { reason, close, response: None }
    }

    /// The response, which ends the request.
    pub(super) fn reply(self, mut context: RequestContext, stream: Option<StreamTask>) -> Response<DownBody> {
        context.reason = self.reason;
        context.status = self.reason.status();
        let unread = !context.body.is_complete();
        let close = self.close || unread || context.client_io.is_closing() || context.shard.is_draining();
        context.client_io.begin_response();
        let (mut head, text) = self.response.map_or_else(|| self.reason.response(), |response| *response).into_parts();
        if close && !context.client_io.is_http2() {
            head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if close {
            context.close_connection();
        }
        context.sent = text.len() as u64;
        // On HTTP/1.1 the text is written with its head; on HTTP/2 it waits for room in the client's window.
        let timed = stream.map(|stream| {
            let idle = duration(context.active_config.config.timeouts.idle);
            let limits = response_timer::Limits { idle, until: None };
            context.shard.response_timers().enter(
                limits,
                Arc::clone(&context.client_io),
                Some(stream),
                context.body.clone(),
            )
        });
        let guard = ResponseGuard::local(context);
        Response::from_parts(head, DownBody::own(text, Some(Box::new(guard)), timed))
    }
}

/// The response of the last recipient: what OPTIONS may ask for, or the head of a TRACE as it came, without credentials
/// (RFC 9110, 9.3.7 and 9.3.8).
pub(super) fn last_recipient(parts: &Parts) -> Refusal {
    let mut response = Reason::MaxForwards.response();
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
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("message/http"));
        *response.body_mut() = Bytes::from(text);
    }
    Refusal { reason: Reason::MaxForwards, close: false, response: Some(Box::new(response)) }
}
