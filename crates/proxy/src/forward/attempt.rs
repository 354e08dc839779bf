//! One attempt: the request as a server is sent it, and the wait for the head of the response.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use hyper::Request;
use tokio::time::Instant;

use super::client::ClientConnection;
use crate::body::{BodyFault, RequestBody, UpBody};
use crate::client_io::ClientIoState;
use crate::clock::duration;
use crate::expect::{self, Gate, Key};
use crate::headers::{self};
use crate::pool::{Attempt, Exchange, InFlight, ShardPool};
use crate::shard::{ActiveConfig, Shard};
use crate::termination::Reason;
use crate::upstream::{ConnectError, Connection, Upstream};
use evenkeel_core::policy::retry::Failure;

/// A kept connection that ends within this time of a request was closed by its server before the request came. The server
/// would have had to close it within one round trip; one that works on a request for longer and then closes has failed.
pub(super) const STALE: std::time::Duration = std::time::Duration::from_secs(1);

/// A request as attempts need it.
pub(super) struct Call<'a> {
    pub(super) active_config: &'a ActiveConfig,
    pub(super) method: &'a Method,
    /// Path and query.
    pub(super) target: Uri,
    pub(super) authority: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: &'a RequestBody,
    pub(super) idempotent: bool,
    pub(super) upgrade: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub(super) expects: bool,
    /// Whether the client can be given interim answers. HTTP/1.0 knows none; on HTTP/2 the library cannot.
    pub(super) interim: bool,
    pub(super) client_io: &'a Arc<ClientIoState>,
    pub(super) client_connection: &'a ClientConnection,
    /// When the request must be over.
    pub(super) deadline: Option<Instant>,
    pub(super) shard: &'a Shard,
}

impl Call<'_> {
    /// Sends the request to where it was placed and waits for the head of the answer.
    pub(super) async fn send(&self, in_flight: InFlight) -> Attempt<<Self as Exchange>::Answer> {
        let server = Rc::clone(&in_flight.server);
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
                        return Attempt::Failed { failure: Failure::Connect, reason, sent: false, in_flight };
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
                    return Attempt::Answered { answer: (response, Some(connection.pooled())), in_flight };
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
                    return Attempt::Failed { failure: Failure::Reset, reason, sent: !failed.unsent, in_flight };
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
                    return Attempt::Failed { failure: Failure::Timeout, reason, sent: true, in_flight };
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
