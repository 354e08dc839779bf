//! Why a request ended as it did, and the proxy's own responses (local replies, as Envoy calls them): status, and a word that
//! an operator can search for. Every local reply carries the word in `x-evenkeel-reason`; the access log and the metrics have
//! the same.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use hyper::Response;

use evenkeel_core::select::Outcome;

/// Who caused a request to fail. Only the server's counts against the server: with the outlier detector, with strategies
/// that learn from failures, with admission and with retry tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It succeeded.
    None,
    /// The client sent something that cannot be served, sent or read too slowly, or went away.
    Client,
    /// The proxy has no capacity, route or descriptor, or is not allowed to forward.
    Proxy,
    /// The server refused, broke off, was silent for too long or sent what is not valid HTTP.
    Server,
}

impl Fault {
    /// The outcome that outlier detection, strategies and admission control receive.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Fault::None => Outcome::Ok,
            Fault::Client | Fault::Proxy => Outcome::Cancelled,
            Fault::Server => Outcome::Failed,
        }
    }

    /// The name used in the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Fault::None => "none",
            Fault::Client => "client",
            Fault::Proxy => "proxy",
            Fault::Server => "server",
        }
    }
}

macro_rules! reasons {
    ($($variant:ident $status:ident $fault:ident $word:literal $text:literal)*) => {
        /// Why the proxy sent a local reply, or how a server's response ended.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Reason {
            $(#[doc = $text] $variant,)*
        }

        impl Reason {
            /// Every one, in the order of their numbers (`reason as usize`).
            pub const ALL: &[Reason] = &[$(Reason::$variant,)*];
        }

        /// The catalogue: reason, status, who caused it, word, sentence.
        pub const REASONS: &[(Reason, StatusCode, Fault, &str, &str)] =
            &[$((Reason::$variant, StatusCode::$status, Fault::$fault, $word, $text)),*];
    };
}

reasons! {
    Ok OK None "ok" "The server's response was passed on to its end."
    Tunnel OK None "tunnel" "The connection became a tunnel, which has ended."
    ClientGone OK Client "client_gone" "The client went away before the end."
    Cut OK Server "cut" "The server broke off its response."
    Stalled OK Server "stalled" "The server's response did not go on."
    ClientStalled OK Client "client_stalled" "The client did not take the response in time."
    MaxForwards OK None "max_forwards" "Max-Forwards was used up: the proxy responded as the last recipient."
    BadRequest BAD_REQUEST Client "bad_request" "The request is malformed."
    AmbiguousLength BAD_REQUEST Client "ambiguous_length" "The length of the body could be read in two ways."
    MissingHost BAD_REQUEST Client "missing_host" "There is no valid Host, or more than one."
    BodyBroken BAD_REQUEST Client "body_broken" "The request's body broke off."
    NoRoute NOT_FOUND Client "no_route" "No route leads from this host and path to a pool."
    MethodRefused METHOD_NOT_ALLOWED Client "method_refused" "This proxy tunnels nothing: CONNECT is refused."
    HeaderTimeout REQUEST_TIMEOUT Client "header_timeout" "The request's head did not come in time."
    BodyTimeout REQUEST_TIMEOUT Client "body_timeout" "The request's body did not come in time."
    BodyTooLarge PAYLOAD_TOO_LARGE Client "body_too_large" "The request's body is longer than the limit."
    UriTooLong URI_TOO_LONG Client "uri_too_long" "The request's target is longer than the limit."
    HeaderTooLarge REQUEST_HEADER_FIELDS_TOO_LARGE Client "header_too_large" "The request's head is larger than the limit."
    ConnectFailed BAD_GATEWAY Server "connect_failed" "The server refused the connection or cannot be reached."
    UpstreamReset BAD_GATEWAY Server "upstream_reset" "The server closed the connection before it responded."
    StaleConnection BAD_GATEWAY Proxy "stale_connection" "A kept connection closed as the request went out, and it may not be sent twice."
    BadResponse BAD_GATEWAY Server "bad_answer" "The server's response is not valid HTTP."
    NoServer SERVICE_UNAVAILABLE Server "no_healthy_server" "No server of the pool can be used now."
    QueueFull SERVICE_UNAVAILABLE Proxy "queue_full" "Every server is at its limit and the queue is full."
    QueueTimeout SERVICE_UNAVAILABLE Proxy "queue_timeout" "Every server was at its limit for too long."
    NoStream SERVICE_UNAVAILABLE Proxy "no_stream" "Every HTTP/2 stream of the server is taken."
    NotAdmitted SERVICE_UNAVAILABLE Proxy "not_admitted" "Too many requests fail now: this one was rejected."
    NoDescriptor SERVICE_UNAVAILABLE Proxy "no_descriptor" "The proxy is out of descriptors, ports or memory for connections."
    ConnectTimeout GATEWAY_TIMEOUT Server "connect_timeout" "The server did not accept the connection in time."
    FirstByteTimeout GATEWAY_TIMEOUT Server "first_byte_timeout" "The server did not begin to respond in time."
    TotalTimeout GATEWAY_TIMEOUT Server "total_timeout" "The request took too long as a whole."
    Loop LOOP_DETECTED Client "loop" "The request has come through this proxy too often."
}

impl Reason {
    fn row(self) -> &'static (Reason, StatusCode, Fault, &'static str, &'static str) {
        &REASONS[self as usize]
    }

    /// The status of the local reply; 200 if there is none.
    pub fn status(self) -> StatusCode {
        self.row().1
    }

    /// Whether the proxy replies by itself for this reason; the others say how a server's response ended.
    pub fn is_local_reply(self) -> bool {
        self.status() != StatusCode::OK || self == Reason::MaxForwards
    }

    /// Who caused the failure.
    pub fn fault(self) -> Fault {
        self.row().2
    }

    /// The word for headers, logs and metrics.
    pub fn as_str(self) -> &'static str {
        self.row().3
    }

    /// The local reply: a line of text, the reason, and for temporary failures `Retry-After`.
    pub(crate) fn response(self) -> Response<Bytes> {
        let mut text = String::with_capacity(self.row().4.len() + 1);
        text.push_str(self.row().4);
        text.push('\n');
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert("x-evenkeel-reason", HeaderValue::from_static(self.as_str()));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Reason::MethodRefused | Reason::MaxForwards) {
            let allowed = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE";
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

/// The reasons as a table in Markdown, for the reference of the proxy.
pub fn reference() -> String {
    let mut text = String::from("| reason | status | fault | meaning |\n|---|---|---|---|\n");
    for (reason, status, fault, word, meaning) in REASONS {
        let status = if reason.is_local_reply() { status.as_u16().to_string() } else { "the server's".to_owned() };
        text += &format!("| `{word}` | {status} | {} | {meaning} |\n", fault.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_variants_and_words_are_unique() {
        for (i, row) in REASONS.iter().enumerate() {
            assert_eq!(row.0 as usize, i);
            assert!(REASONS[..i].iter().all(|other| other.3 != row.3), "{}", row.3);
            assert!(row.1.is_client_error() || row.1.is_server_error() || row.1 == StatusCode::OK);
        }
        assert_eq!(Reason::NoServer.response().headers()["retry-after"], "1");
    }
}
