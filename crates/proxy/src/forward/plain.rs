//! Plain requests: taken from the client's bytes to the server's without a map of fields between, wherever nothing in the
//! config asks for one.

use std::rc::Rc;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use tokio::time::Instant;

use super::client::ClientConnection;
use super::context::{LogFields, RequestContext};
use super::local_reply::Refusal;
use super::request::{Inbound, authority_of};
use super::response::{Reply, ResponseGuard, complete, is_failure, set_cookie};
use super::{answer, failed};
use crate::body::DownBody;
use crate::client_io::ClientIoState;
use crate::clock::duration;
use crate::encode::{Ending, Outgoing, encode};
use crate::headers::{self, Peer, write_line};
use crate::http1_client::{Answer, Lead, PlainResponse};
use crate::plain::{self, Content, PlainRequest};
use crate::pool::InFlight;
use crate::request_stream::{self, ClientBody, Feed};
use crate::response_timer;
use crate::server_body::ServerBody;
use crate::state::ShardState;
use crate::termination::Reason;
use crate::upstream::PooledConnection;
use evenkeel_config::proxy::{HeadersTable, KeyTable};
use evenkeel_core::select::Outcome;

/// Room for what the proxy adds to a head, in bytes.
const ROOM: usize = 256;

/// A plain head as a server is sent it.
pub(super) struct PlainHead {
    /// All of it, ending with the empty line. All of a plain head is ASCII.
    text: String,
    /// Where the target begins, and the length of its path and of all of it.
    target: usize,
    path_len: usize,
    target_len: usize,
    /// Where the id begins.
    id: Option<usize>,
    is_head: bool,
    content: Content,
}

impl PlainHead {
    /// The client's head with what is for the connection alone left out and the proxy's own fields added.
    pub(super) fn new(head: &PlainRequest<'_>, peer: &Peer, fields: &HeadersTable, shard: &ShardState) -> PlainHead {
        let mut bytes = Vec::with_capacity(head.size + ROOM);
        head.write(&mut bytes);
        if head.content == Content::Chunked {
            write_line(&mut bytes, header::TRANSFER_ENCODING.as_str(), b"chunked");
        }
        if fields.x_forwarded {
            headers::write_claims(&mut bytes, peer, head.host, fields.forwarded);
        }
        if fields.via {
            write_line(&mut bytes, header::VIA.as_str(), headers::VIA_1_1.as_bytes());
        }
        let id = fields.request_id.then(|| {
            let id = shard.with_rng(headers::new_id);
            write_line(&mut bytes, headers::X_REQUEST_ID.as_str(), &id);
            bytes.len() - 2 - id.len()
        });
        bytes.extend_from_slice(b"\r\n");
        PlainHead {
            text: String::from_utf8(bytes).unwrap_or_default(),
            target: head.method.as_str().len() + 1,
            path_len: head.path().len(),
            target_len: head.target.len(),
            id,
            is_head: head.method == Method::HEAD,
            content: head.content,
        }
    }

    fn part(&self, from: usize, length: usize) -> &str {
        self.text.get(from..from + length).unwrap_or("/")
    }

    /// The target's path.
    pub(super) fn path(&self) -> &str {
        self.part(self.target, self.path_len)
    }

    /// Path and query.
    pub(super) fn target(&self) -> &str {
        self.part(self.target, self.target_len)
    }

    /// The request's id.
    pub(super) fn id(&self) -> Option<&[u8]> {
        self.text.as_bytes().get(self.id?..self.id? + 32)
    }

    /// As it is sent.
    pub(super) fn lead(&self) -> Lead<'_> {
        let length = match self.content {
            Content::Length(length) => Some(length),
            Content::Chunked => None,
        };
        Lead::Written { bytes: self.text.as_bytes(), is_head: self.is_head, length }
    }

    /// Its fields but for the coding, for a connection that takes no bytes.
    pub(super) fn fields(&self) -> HeaderMap {
        let mut found = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut found);
        match request.parse(self.text.as_bytes()) {
            Ok(_) => {
                let mut headers = map(request.headers.iter().map(|field| (field.name, field.value)));
                headers.remove(header::TRANSFER_ENCODING);
                headers
            }
            Err(_) => HeaderMap::new(),
        }
    }
}

fn map<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// A plain head as hyper would give it.
pub(super) fn parts(head: &PlainRequest<'_>) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = head.method.clone();
    parts.uri = head.target.parse().unwrap_or_default();
    parts.headers = map(head.fields());
    parts
}

/// Whether what is hashed is in the client's head as it came: a field that the proxy changes or removes is hashed as the
/// server gets it.
pub(super) fn has_plain_key(key: &KeyTable) -> bool {
    match key {
        KeyTable::Header(name) | KeyTable::Bits(name) => plain::is_unchanged(name),
        KeyTable::Path | KeyTable::Uri | KeyTable::Cookie(_) => true,
    }
}

/// A request that has begun, or the reason why it ends.
pub(crate) struct Begun {
    context: RequestContext,
    inbound: Result<Inbound, Refusal>,
    is_head: bool,
    /// The request leaves the client's connection open.
    lasts: bool,
}

/// Begins a plain request; `None` if it is hyper's to read. If it has a body, that is to be fed.
pub(crate) fn begin(
    shard: &Rc<ShardState>,
    client_io: &Arc<ClientIoState>,
    client_connection: &ClientConnection,
    head: &PlainRequest<'_>,
) -> Option<(Box<Begun>, Option<Feed>)> {
    let authority = authority_of(head, &shard.active_config().config.limits, client_connection)?;
    client_io.begin(false);
    let log_fields = || LogFields::of_plain(head, &client_connection.peer);
    let (shard, client_io) = (Rc::clone(shard), Arc::clone(client_io));
    let (feed, body) = match head.content {
        Content::Length(0) => (None, None),
        Content::Length(length) => Some(request_stream::new(Some(length))).unzip(),
        Content::Chunked => Some(request_stream::new(None)).unzip(),
    };
    let body = body.map(ClientBody::Own);
    let mut context = RequestContext::new(shard, client_io, Instant::now(), body, log_fields);
    let inbound = Inbound::read_plain(head, authority, &mut context, client_connection);
    let begun = Begun { context, inbound, is_head: head.method == Method::HEAD, lasts: head.keeps_alive };
    Some((Box::new(begun), feed))
}

impl Begun {
    /// Responds to it.
    pub(crate) async fn answer(mut self: Box<Self>, client_connection: &ClientConnection) -> Outgoing {
        let Begun { context, inbound: Ok(inbound), .. } = &mut *self else { return self.refused() };
        let (answered, deadline) = answer(context, inbound, client_connection, true).await;
        let peer = &client_connection.peer;
        match answered {
            Ok((Answer::Plain(head, body), in_flight, connection)) => {
                self.pass_on(head, body, (in_flight, connection), deadline, peer)
            }
            Ok((Answer::Fields(response), in_flight, connection)) => {
                let Begun { context, inbound, is_head, lasts } = *self;
                let inbound = match inbound {
                    Ok(inbound) => inbound,
                    Err(refusal) => return encode(refusal.reply(context, None), is_head, lasts),
                };
                let reply = Reply { context, inbound, stream: None, deadline };
                encode(reply.pass_on(*response, in_flight, connection, peer), is_head, lasts)
            }
            Err(reason) => encode(failed(reason).reply(self.context, None), self.is_head, self.lasts),
        }
    }

    /// The reply to a request that is not forwarded.
    fn refused(self) -> Outgoing {
        let Begun { context, inbound, is_head, lasts } = self;
        let refusal = inbound.err().unwrap_or_else(|| failed(Reason::BadRequest));
        encode(refusal.reply(context, None), is_head, lasts)
    }

    /// Passes on a plain response of a server.
    fn pass_on(
        mut self: Box<Self>,
        PlainResponse { status, mut lines, dated, sized }: PlainResponse,
        mut body: ServerBody,
        (in_flight, connection): (InFlight, Option<PooledConnection>),
        deadline: Option<Instant>,
        peer: &Peer,
    ) -> Outgoing {
        let Begun { context, inbound, is_head, lasts } = &mut *self;
        context.begin_response(&in_flight, status);
        let closes = !*lasts || context.client_io.is_closing() || context.shard.is_draining();
        let fields = &context.active_config.config.headers;
        if fields.upstream && HeaderValue::from_str(&in_flight.server.name).is_ok() {
            write_line(&mut lines, "x-upstream", in_flight.server.name.as_bytes());
        }
        if fields.via {
            write_line(&mut lines, header::VIA.as_str(), headers::VIA_1_1.as_bytes());
        }
        if let Ok(inbound) = inbound {
            if let Some(id) = inbound.id() {
                write_line(&mut lines, headers::X_REQUEST_ID.as_str(), id);
            }
            if let Some(set_cookie) = set_cookie(inbound, &in_flight, peer) {
                write_line(&mut lines, header::SET_COOKIE.as_str(), set_cookie.as_bytes());
            }
        }
        if closes {
            write_line(&mut lines, header::CONNECTION.as_str(), b"close");
        }
        let outcome = if is_failure(status) { Outcome::Failed } else { Outcome::Ok };
        let mut end = Ending { status, is_head: *is_head, dated, sized, exact: sized };
        match body.take_whole() {
            Some((content, exact)) => {
                end.exact = exact;
                context.sent += content.len() as u64;
                complete(context, in_flight, connection, outcome);
                Outgoing::whole(lines, &end, content, closes)
            }
            None => {
                let idle = duration(context.active_config.config.timeouts.idle);
                let limits = response_timer::Limits { idle, until: deadline };
                let (shard, client_io) = (Rc::clone(&context.shard), Arc::clone(&context.client_io));
                let request = context.body.clone();
                let guard = ResponseGuard::new(self.context, in_flight, connection, outcome);
                let body = DownBody::server(body, Box::new(guard), false, || {
                    shard.response_timers().enter(limits, client_io, None, request)
                });
                Outgoing::streamed(lines, &end, body, closes)
            }
        }
    }
}
