//! The server's response on its way to the client.

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use hyper::Response;

use super::context::RequestContext;
use crate::answer_timer::Side;
use crate::body::{DownBody, End, OnEnd};
use crate::headers::{self};
use crate::pool::InFlight;
use crate::shard::ActiveConfig;
use crate::termination::Reason;
use crate::upstream::PooledConnection;
use evenkeel_core::select::Outcome;

/// Follows an answer's body to its end.
pub(super) struct ResponseGuard {
    pub(super) context: RequestContext,
    pub(super) in_flight: Option<InFlight>,
    pub(super) connection: Option<PooledConnection>,
    pub(super) outcome: Outcome,
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

/// Whether a status says that the server failed. 501 and 505 say that the client asked for what the server does not do, and
/// HAProxy's `observe layer7` does not count them either.
pub(super) fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() && !matches!(status, StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED)
}

/// Whether the end of an answer can be told in one way only, which is then the only one in its head: a length, said once, or
/// chunks. Of an answer that has both the client would be told the length and sent the chunks' content (RFC 9112, 6.3).
pub(super) fn is_plain(headers: &mut HeaderMap) -> bool {
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
pub(super) fn finish_head(
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
