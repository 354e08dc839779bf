//! Responses of the proxy's own: failures, and the last recipient of `Max-Forwards`.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, header};
use hyper::Response;

use super::context::RequestContext;
use super::response::ResponseGuard;
use crate::answer_timer::{self, StreamTask};
use crate::body::DownBody;
use crate::clock::duration;
use crate::termination::Reason;
use evenkeel_core::select::Outcome;

/// An answer of the proxy's own.
pub(super) fn own(
    context: RequestContext,
    stream: Option<StreamTask>,
    reason: Reason,
    close: bool,
) -> Response<DownBody> {
    own_answer(context, stream, reason, close, reason.answer())
}

pub(super) fn own_answer(
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

/// The answer of the last recipient: what OPTIONS may ask for, or the head of a TRACE as it came, without what is secret (RFC
/// 9110, 9.3.7 and 9.3.8).
pub(super) fn last_recipient(
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
