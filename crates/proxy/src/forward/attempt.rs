//! One attempt: the request as a server is sent it, and the wait for the head of the response.

use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};

use hyper::Request;
use tokio::time::Instant;

use super::client::ClientConnection;
use super::request::{FieldsHead, Head, Inbound};
use crate::body::{BodyFault, RequestBody, UpBody};
use crate::client_io::ClientIoState;
use crate::clock::duration;
use crate::expect::{self, Gate, Key};
use crate::headers;
use crate::http1_client::{Additions, Answer, Lead, RequestHead};
use crate::pool::{Attempt, Exchange, InFlight, ShardPool};
use crate::server_body::ServerBody;
use crate::state::{ActiveConfig, ShardState};
use crate::termination::Reason;
use crate::upstream::{Connection, Upstream};
use crate::upstream_error::{ConnectError, SendError};
use evenkeel_core::policy::retry::Failure;

/// A kept connection that ends within this time of a request was closed by its server before the request came. The server
/// would have had to close it within one round trip; one that works on a request for longer and then closes has failed.
const STALE: Duration = Duration::from_secs(1);

/// A request as attempts need it.
pub(super) struct Call<'a> {
    pub(super) active_config: &'a ActiveConfig,
    pub(super) inbound: &'a Inbound,
    pub(super) body: &'a RequestBody,
    /// Whether its method is idempotent (RFC 9110, 9.2.2).
    pub(super) idempotent: bool,
    /// Whether it asks for a tunnel, which needs a connection of its own.
    pub(super) upgrade: bool,
    /// A plain response may come as it is written.
    pub(super) plain: bool,
    pub(super) client_io: &'a Arc<ClientIoState>,
    pub(super) client_connection: &'a ClientConnection,
    /// When the request must be over; `None` without `timeouts.total`.
    pub(super) deadline: Option<Instant>,
    pub(super) shard: &'a ShardState,
}

/// What follows when a connection fails before the head of a response.
enum AfterReset {
    /// The same server is sent the request once more, on another connection.
    SendAgain,
    /// See [`Attempt::GivenUp`].
    GivenUp(Reason),
    /// See [`Attempt::Failed`].
    Failed(Reason),
}

impl Call<'_> {
    /// Sends the request to where it was placed and waits for the head of the response.
    pub(super) async fn send(&self, in_flight: InFlight) -> Attempt<<Self as Exchange>::Answer> {
        let server = Rc::clone(&in_flight.server);
        let mut open = if self.upgrade { None } else { server.reuse() };
        loop {
            let mut connection = match open.take() {
                Some(connection) => connection,
                None => match Box::pin(self.connect(&in_flight, &server)).await {
                    Ok(connection) => connection,
                    Err(error) => return self.not_connected(&error, in_flight),
                },
            };
            let again = connection.is_reused() && self.body.can_be_sent_again();
            let began = Instant::now();
            let head = {
                let send = pin!(self.exchange(&mut connection, &server));
                self.head(send, began, self.response_timeout(in_flight.pool())).await
            };
            match head {
                Some(Ok(response)) => {
                    in_flight.answered();
                    return Attempt::Answered { answer: (response, Some(connection.pooled())), in_flight };
                }
                Some(Err(failed)) => match self.after_reset(&failed, &connection, &server, again, began) {
                    AfterReset::SendAgain => {}
                    AfterReset::GivenUp(reason) => return Attempt::GivenUp(reason),
                    AfterReset::Failed(reason) => {
                        return Attempt::Failed { failure: Failure::Reset, reason, sent: !failed.unsent, in_flight };
                    }
                },
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

    /// Opens a connection. Where this machine lacks a descriptor for it, idle connections are closed first, and it is tried
    /// once more.
    async fn connect(&self, in_flight: &InFlight, server: &Upstream) -> Result<Connection, ConnectError> {
        let mut made_room = false;
        loop {
            match in_flight.connecting(server.connect(self.upgrade)).await {
                Err(error) if error.is_own() && !made_room && self.shard.close_idle() => made_room = true,
                opened => return opened,
            }
            tokio::task::yield_now().await;
        }
    }

    fn not_connected(&self, error: &ConnectError, in_flight: InFlight) -> Attempt<<Self as Exchange>::Answer> {
        if error.is_own() {
            self.shard.shortage(error);
            return Attempt::GivenUp(Reason::NoDescriptor);
        }
        let reason = match error {
            ConnectError::TimedOut => Reason::ConnectTimeout,
            ConnectError::NoStream => Reason::NoStream,
            _ => Reason::ConnectFailed,
        };
        tracing::debug!(server = in_flight.server.name, %error, "no connection");
        Attempt::Failed { failure: Failure::Connect, reason, sent: false, in_flight }
    }

    /// Waits for the head of the response, `None` if it does not come in time. The time runs once the request is out; until
    /// then the client must send, for which there is a time-out of its own, or the server must take what the client sends.
    async fn head<F: Future>(
        &self,
        mut send: Pin<&mut F>,
        began: Instant,
        response_timeout: Duration,
    ) -> Option<F::Output> {
        let mut received = self.body.received();
        let mut from = began;
        loop {
            let until = self.deadline.map_or(from + response_timeout, |deadline| deadline.min(from + response_timeout));
            match self.client_connection.response_timer.until(until, send.as_mut()).await {
                None if !self.is_late() && (self.body.is_awaited() || self.body.received() != received) => {
                    received = self.body.received();
                    from = Instant::now();
                }
                head => return head,
            }
        }
    }

    /// What comes after a connection that has failed before the head of a response.
    fn after_reset(
        &self,
        failed: &SendError,
        connection: &Connection,
        server: &Upstream,
        again: bool,
        began: Instant,
    ) -> AfterReset {
        if let Some(fault) = self.body.fault() {
            return AfterReset::GivenUp(match fault {
                BodyFault::TooLarge => Reason::BodyTooLarge,
                BodyFault::TooSlow => Reason::BodyTimeout,
                BodyFault::Broken | BodyFault::Gone => Reason::BodyBroken,
            });
        }
        let is_parse = failed.error.is_parse();
        let untouched = failed.unsent || self.idempotent && !is_parse;
        if again && untouched && self.body.can_be_sent_again() && !is_parse {
            // The connection was old; the server is not to blame.
            server.discard(connection);
            return AfterReset::SendAgain;
        }
        if failed.error.is_too_large_for_hyper()
            && server.expect_many_fields()
            && self.idempotent
            && self.body.can_be_sent_again()
        {
            return AfterReset::SendAgain;
        }
        tracing::debug!(server = server.name, error = %failed.error, "no response");
        AfterReset::Failed(if is_parse {
            Reason::BadResponse
        } else if connection.is_reused() && began.elapsed() < STALE {
            server.discard(connection);
            Reason::StaleConnection
        } else {
            Reason::UpstreamReset
        })
    }

    /// Whether the request must be over by now.
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The longest that a server may take to begin its response to one attempt.
    fn response_timeout(&self, pool: &ShardPool) -> Duration {
        let config = pool.config();
        let response_header = self.active_config.config.timeouts.response_header;
        let per_try = config.rules.retries.as_ref().and_then(|rules| rules.per_try_timeout);
        duration(per_try.map_or(response_header, |per_try| per_try.min(response_header)))
    }

    /// Sends the request of one attempt and waits for the head of the response.
    async fn exchange(&self, connection: &mut Connection, server: &Upstream) -> Result<Answer<ServerBody>, SendError> {
        let (body, key) = self.attempt_body();
        let Some(own) = connection.own() else {
            let request = self.request(connection, server, body, key);
            return connection.send(request).await.map(|response| Answer::Fields(Box::new(response)));
        };
        let fields = match &self.inbound.head {
            Head::Fields(fields) => fields,
            Head::Plain(plain) => {
                let answer = self.client_io.answer();
                let interim =
                    |status, fields: &HeaderMap| pass_on_interim(self.client_io, answer, None, status, fields);
                return own.send_own(plain.lead(), body, true, interim).await;
            }
        };
        let (Inbound { method, version, .. }, FieldsHead { headers, target, .. }) = (self.inbound, &**fields);
        let host = (!headers.contains_key(header::HOST)).then(|| host_of(server)).flatten();
        let additions = Additions {
            chunked: !self.body.is_empty() && !headers.contains_key(header::CONTENT_LENGTH),
            host: host.as_ref(),
            te: headers.contains_key(header::TE),
            expect: key.is_some(),
        };
        let head = RequestHead { method, target, headers, additions };
        let answer = self.client_io.answer();
        let interim = |status, fields: &HeaderMap| {
            if *version == Version::HTTP_11 {
                pass_on_interim(self.client_io, answer, key.as_ref(), status, fields);
            }
        };
        own.send_own(Lead::Head(&head), body, self.plain, interim).await
    }

    /// The body for an attempt, and the key to its gate if it waits for an invitation.
    fn attempt_body(&self) -> (UpBody, Option<Key>) {
        let mut body = self.body.attempt();
        // Once the client has begun to send, it has been invited.
        let key = (self.inbound.expects && self.body.received() == 0).then(|| {
            let response_header = duration(self.active_config.config.timeouts.response_header);
            let (gate, key) = Gate::new(expect::WAIT.min(response_header / 2));
            body.wait_for(gate);
            key
        });
        (body, key)
    }

    /// The request for one attempt, for hyper.
    fn request(&self, connection: &Connection, server: &Upstream, body: UpBody, key: Option<Key>) -> Request<UpBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.inbound.method.clone();
        let target = match &self.inbound.head {
            // Its connection turns out to be hyper's.
            Head::Plain(plain) => {
                *request.headers_mut() = plain.fields();
                plain.target().parse().unwrap_or_default()
            }
            Head::Fields(fields) => {
                *request.headers_mut() = fields.headers.clone();
                fields.target.clone()
            }
        };
        match connection {
            Connection::Http1(_) => self.http1_head(&mut request, target, server, key.is_some()),
            Connection::Http2 { .. } => self.http2_head(&mut request, target),
        }
        // HTTP/1.0 knows no interim responses, and to a client of HTTP/2 hyper cannot pass them on.
        if self.inbound.version == Version::HTTP_11 {
            let client_io = Arc::clone(self.client_io);
            let answer = client_io.answer();
            hyper::ext::on_informational(&mut request, move |interim| {
                pass_on_interim(&client_io, answer, key.as_ref(), interim.status(), interim.headers());
            });
        }
        request
    }

    fn http1_head(&self, request: &mut Request<UpBody>, target: Uri, server: &Upstream, expects: bool) {
        *request.uri_mut() = target;
        let headers = request.headers_mut();
        if !self.body.is_empty() && !headers.contains_key(header::CONTENT_LENGTH) {
            // Else hyper takes it that a GET has no body, whatever the client has sent.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        if !headers.contains_key(header::HOST)
            && let Some(value) = host_of(server)
        {
            headers.insert(header::HOST, value);
        }
        if headers.contains_key(header::TE) {
            // It is about this connection (RFC 9110, 10.1.4).
            let options = if self.upgrade { "upgrade, te" } else { "te" };
            headers.insert(header::CONNECTION, HeaderValue::from_static(options));
        }
        if expects {
            headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        }
    }

    fn http2_head(&self, request: &mut Request<UpBody>, target: Uri) {
        *request.version_mut() = Version::HTTP_2;
        let mut parts = target.into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Authority::try_from(&*self.inbound.authority).ok().or(Authority::try_from("localhost").ok());
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        request.headers_mut().remove(header::HOST);
    }
}

/// The server's address as `Host`: a client of HTTP/1.0 may have named none, but HTTP/1.1 has to (RFC 9112, 3.2).
fn host_of(server: &Upstream) -> Option<HeaderValue> {
    HeaderValue::try_from(server.address()?.to_string()).ok()
}

/// Has an interim response of the server written to the client (RFC 9110, 15.2).
fn pass_on_interim(client_io: &ClientIoState, answer: u32, key: Option<&Key>, status: StatusCode, fields: &HeaderMap) {
    // `100 Continue` is about the body: hyper sends it by itself when it polls the body.
    if status == StatusCode::CONTINUE {
        if let Some(key) = key {
            key.open();
        }
        return;
    }
    let mut head = format!("HTTP/1.1 {status}\r\n").into_bytes();
    let mut fields = fields.clone();
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
}
