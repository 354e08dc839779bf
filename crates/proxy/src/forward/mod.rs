//! A request on its way: checked, routed, placed, sent, sent again where that is right, answered.
//!
//! Rules that are not the strategy's: a request is sent again only if nothing of the answer has gone to the client, its body
//! can be given again, the pool's rules and budget allow it, and another server is left. A connection that was open before
//! and turns out to be closed is no failure of the server: an idempotent request goes out again on a new one (RFC 9112,
//! 9.3.1).

mod attempt;
mod client;
mod context;
mod local_reply;
mod request;
mod response;
mod retry;

pub use client::ClientConnection;

use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use tokio::time::{Instant, timeout_at};

use crate::answer_timer::{self, StreamTask};
use crate::body::{BodyBounds, DownBody, RequestBody};
use crate::client_io::ClientIoState;
use crate::clock::duration;
use crate::expect::{self};
use crate::headers::{self};
use crate::pool::RequestInfo;
use crate::shard::Shard;
use crate::termination::Reason;
use crate::tunnel;
use attempt::Call;
use context::{LogFields, RequestContext};
use evenkeel_config::proxy::{KeyTable, Protocol};
use evenkeel_core::select::Outcome;
use local_reply::{last_recipient, own};
use request::{check, join_cookies, take_forward};
use response::{ResponseGuard, finish_head, is_failure, is_plain};
use retry::run;
/// A request that has come through a proxy of this name so often goes in a circle; shorter chains of them are somebody's design.
const MOST_TIMES_THROUGH: usize = 5;

/// Answers a request. Never fails: what goes wrong is an answer, too.
pub async fn serve(
    shard: Rc<Shard>,
    client_io: Arc<ClientIoState>,
    client_connection: Rc<ClientConnection>,
    stream: Option<StreamTask>,
    request: Request<Incoming>,
) -> Result<Response<DownBody>, Infallible> {
    let started = Instant::now();
    let peer = &client_connection.peer;
    let version = request.version();
    let whole = client_io.begin(version == Version::HTTP_2);
    shard.began();
    let active_config = shard.active_config();
    let (mut parts, body) = request.into_parts();
    let timeouts = &active_config.config.timeouts;
    let bounds = BodyBounds {
        kept: active_config.config.limits.replay_bytes as usize,
        most: active_config.config.limits.body_bytes,
        timeout: duration(timeouts.body),
    };
    let body = RequestBody::new(body, bounds);
    let mut context = RequestContext {
        shard: Rc::clone(&shard),
        active_config: Rc::clone(&active_config),
        client_io,
        started,
        pool: None,
        server: None,
        status: StatusCode::OK,
        // Until it is known better: the library drops what a client no longer waits for.
        reason: Reason::ClientGone,
        log_fields: None,
        body: body.clone(),
        sent: 0,
        attempts: 0,
    };
    if active_config.logs() {
        context.log_fields = Some(Box::new(LogFields::new(&parts, peer)));
    }
    let authority = match check(&mut parts, &active_config.config.limits, &client_connection) {
        Ok(authority) => authority,
        Err(reason) => {
            // Behind CONNECT comes what was meant for the tunnel.
            let close = reason.status() == StatusCode::BAD_REQUEST || reason == Reason::MethodRefused;
            return Ok(own(context, stream, reason, close));
        }
    };
    match take_forward(&mut parts) {
        Ok(true) => {}
        Ok(false) => return Ok(last_recipient(context, stream, &parts)),
        Err(reason) => return Ok(own(context, stream, reason, true)),
    }
    let host_name = authority
        .rsplit_once(':')
        .map_or(&*authority, |(host, port)| if port.bytes().all(|b| b.is_ascii_digit()) { host } else { &*authority });
    let uri = parts.uri.clone();
    let path = if uri.path().is_empty() || uri.path() == "*" { "/" } else { uri.path() };
    let Some(pool) = active_config.config.routes.find(Some(host_name), path) else {
        return Ok(own(context, stream, Reason::NoRoute, false));
    };
    let pool = Rc::clone(&active_config.pools[pool]);
    context.pool = Some(Rc::clone(&pool));

    // What the server is told. What the client's connection is about ends here.
    // HTTP/1.0 has no upgrades, and a server that speaks HTTP/2 cannot be asked for one (RFC 9110, 7.8): there the field is
    // ignored, as a server may.
    let upgrade = version == Version::HTTP_11
        && headers::wants_upgrade(&parts.headers)
        && pool.config().protocol == Protocol::Http1;
    let client_side = if upgrade { parts.extensions.remove::<OnUpgrade>() } else { None };
    headers::strip_hop_by_hop(&mut parts.headers, upgrade);
    // HTTP/1.0 knows no expectations, and on HTTP/2 the library cannot pass an invitation on.
    let expects = version == Version::HTTP_11 && !body.is_empty() && expect::is_expected(&parts.headers);
    parts.headers.remove(header::EXPECT);
    let header_options = &active_config.config.headers;
    if header_options.via && headers::times_through(&parts.headers) >= MOST_TIMES_THROUGH {
        return Ok(own(context, stream, Reason::Loop, false));
    }
    let client = if header_options.x_forwarded {
        headers::forward_claims(&mut parts.headers, peer, &active_config.trust, header_options.forwarded)
    } else {
        headers::client_ip(&parts.headers, peer.address(), &active_config.trust)
    };
    if header_options.via {
        headers::append_via(&mut parts.headers, version);
    }
    let id = header_options.request_id.then(|| {
        let trusted = active_config.trust.trusts(peer.address());
        shard.with_rng(|rng| headers::request_id(&mut parts.headers, trusted, rng))
    });
    if let Some(log_fields) = &mut context.log_fields {
        log_fields.client = client;
        log_fields.request_id.clone_from(&id);
        log_fields.host = Bytes::copy_from_slice(authority.as_bytes());
    }
    let cookies = parts.headers.get_all(header::COOKIE).iter().count();
    if cookies > 1 && version == Version::HTTP_2 {
        join_cookies(&mut parts.headers);
    }
    let config = pool.config();
    let sticky = config.rules.sticky.as_ref();
    let cookie = sticky.and_then(|sticky| headers::cookie(&parts.headers, &sticky.cookie)).map(str::to_owned);
    let key_value = match &active_config.config.key {
        KeyTable::Path | KeyTable::Uri => None,
        KeyTable::Header(name) => parts.headers.get(name).map(|value| Bytes::copy_from_slice(value.as_bytes())),
        KeyTable::Bits(name) => {
            let digits = parts.headers.get(name).and_then(|value| value.to_str().ok());
            let bits = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            bits.map(|bits| Bytes::copy_from_slice(&bits.to_le_bytes()))
        }
        KeyTable::Cookie(name) => {
            headers::cookie(&parts.headers, name).map(|value| Bytes::copy_from_slice(value.as_bytes()))
        }
    };
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let key = match (&active_config.config.key, &key_value) {
        (KeyTable::Uri, _) => target.as_bytes(),
        (_, Some(value)) => value,
        _ => path.as_bytes(),
    };
    let info = RequestInfo { client, path, key };
    let method = parts.method;
    let deadline = timeouts.total.map(|total| started + duration(total));
    let mut call = Call {
        active_config: &active_config,
        method: &method,
        // Of a URI without a path a proxy makes `*` (RFC 9112, 3.2.4); the library has made `/` of it.
        target: if whole {
            Uri::from_static("*")
        } else if uri.scheme().is_none() && uri.authority().is_none() && target.starts_with('/') {
            uri.clone()
        } else if target.starts_with('/') || target == "*" {
            target.parse().unwrap_or_default()
        } else {
            format!("/{target}").parse().unwrap_or_default()
        },
        authority: &authority,
        headers: parts.headers,
        body: &body,
        idempotent: method.is_idempotent(),
        upgrade,
        expects,
        interim: version == Version::HTTP_11,
        client_io: &context.client_io.clone(),
        client_connection: &client_connection,
        deadline,
        shard: &shard,
    };
    let ran = {
        // Pinned here, so that it has one place whichever way it is waited for: see the test of sizes.
        let mut run = pin!(run(&mut call, &pool, &info, cookie.as_deref(), &mut context));
        match deadline {
            None => run.as_mut().await,
            Some(deadline) => timeout_at(deadline, run.as_mut()).await.unwrap_or(Err(Reason::TotalTimeout)),
        }
    };
    let (response, in_flight, connection) = match ran {
        Ok(answered) => answered,
        Err(reason) => {
            let close = matches!(reason, Reason::BodyTooLarge | Reason::BodyTimeout | Reason::BodyBroken);
            return Ok(own(context, stream, reason, close));
        }
    };
    drop(call);
    if context.client_io.has_interim() {
        // What is interim and came together with the answer: the connection's task writes it when this lets it.
        tokio::task::yield_now().await;
    }
    context.client_io.begin_answer();

    let slot = in_flight.slot();
    context.server = Some(Rc::clone(&in_flight.server));
    context.status = response.status();
    context.reason = Reason::Ok;
    if let Some(log_fields) = &mut context.log_fields {
        log_fields.connect = in_flight.connect_time();
        log_fields.first_byte = in_flight.time_to_first_byte();
        log_fields.answered = Some(Instant::now());
        log_fields.upstream = in_flight.server.address();
    }
    let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let (mut answer, inner) = {
        let mut response = response;
        let server_side = switching.then(|| hyper::upgrade::on(&mut response));
        if let (Some(client_side), Some(server_side)) = (client_side, server_side) {
            context.client_io.leave();
            headers::strip_hop_by_hop(response.headers_mut(), true);
            let (answer, _) = response.into_parts();
            let mut answer = Response::from_parts(answer, DownBody::own(Bytes::new(), None, None));
            finish_head(&mut answer, &active_config, id.as_ref(), None, version);
            context.reason = Reason::Tunnel;
            let shard = Rc::clone(&shard);
            tokio::task::spawn_local(async move {
                let idle = duration(context.active_config.config.timeouts.idle);
                let (sent, complete) = tunnel::run(client_side, server_side, idle, &shard).await;
                context.sent = sent;
                in_flight.finish(if complete { Outcome::Ok } else { Outcome::Cancelled });
                drop(context);
            });
            return Ok(answer);
        }
        response.into_parts()
    };
    if switching {
        // Nobody asked for it.
        in_flight.finish(Outcome::Failed);
        return Ok(own(context, stream, Reason::BadAnswer, false));
    }
    if !is_plain(&mut answer.headers) {
        in_flight.finish(Outcome::Failed);
        return Ok(own(context, stream, Reason::BadAnswer, false));
    }
    let load = in_flight.server.last_report.borrow_mut().take(&mut answer.headers);
    if let Some(load) = load {
        in_flight.pool().reported(in_flight.backend(), &load);
    }
    headers::strip_hop_by_hop(&mut answer.headers, false);
    if answer.status == StatusCode::NO_CONTENT {
        // It has no content, and so no length (RFC 9110, 8.6).
        answer.headers.remove(header::CONTENT_LENGTH);
    }
    let set_cookie = sticky.and_then(|sticky| {
        let value = pool.cookie(slot)?;
        if cookie.as_deref() == Some(value.as_str()) {
            return None;
        }
        headers::set_cookie(&sticky.cookie, &value, sticky.max_age.map(|age| age.0 / 1_000_000_000), peer.tls())
    });
    if active_config.config.headers.upstream
        && let Ok(name) = HeaderValue::from_str(&in_flight.server.name)
    {
        answer.headers.insert("x-upstream", name);
    }
    let outcome = if is_failure(answer.status) { Outcome::Failed } else { Outcome::Ok };
    let (client_io, request) = (Arc::clone(&context.client_io), body.clone());
    // A client that was not invited may or may not send its body now: what comes next is not known.
    let uninvited = expects && !context.body.is_complete();
    let closing = uninvited || context.client_io.is_closing() || shard.is_draining();
    let guard = ResponseGuard { context, in_flight: Some(in_flight), connection, outcome };
    let limits = answer_timer::Limits { idle: duration(timeouts.idle), until: deadline };
    let http2 = version == Version::HTTP_2;
    let body =
        DownBody::server(inner, Box::new(guard), http2, || shard.answers().enter(limits, client_io, stream, request));
    let mut response = Response::from_parts(answer, body);
    *response.version_mut() = Version::HTTP_11;
    finish_head(&mut response, &active_config, id.as_ref(), set_cookie, version);
    if closing && version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The future of a request is moved when the library takes it up: what is rare in it must be boxed.
    #[test]
    fn the_future_of_a_request_is_small() {
        fn size<A, B, C, D, E, F>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(serve);
        assert!(size <= 4096, "{size} bytes");
    }
}
