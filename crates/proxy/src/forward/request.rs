//! Reading a request: what is refused, where it leads, and the head that a server is sent.

use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version, header};
use hyper::upgrade::OnUpgrade;

use super::client::ClientConnection;
use super::context::RequestContext;
use super::local_reply::{Refusal, last_recipient};
use super::plain::{self, PlainHead};
use crate::expect;
use crate::headers;
use crate::plain::{Content, PlainRequest};
use crate::pool::{RequestInfo, ShardPool};
use crate::state::ActiveConfig;
use crate::termination::Reason;
use evenkeel_config::proxy::{KeyTable, LimitsTable, Protocol};

/// A request that names this proxy in `Via` so many times is refused as a loop. Fewer are taken for a chain that was
/// built on purpose.
const MAX_TIMES_THROUGH: usize = 5;

/// A request that has been read, found valid and routed.
pub(super) struct Inbound {
    /// The pool that its route leads to.
    pub(super) pool: Rc<ShardPool>,
    pub(super) method: Method,
    /// As the client speaks it.
    pub(super) version: Version,
    /// Target and fields.
    pub(super) head: Head,
    /// Host and perhaps port; empty if a client of HTTP/1.0 has named none.
    pub(super) authority: Rc<str>,
    /// The client as trusted proxies name it, else the peer.
    pub(super) client: IpAddr,
    /// The affinity cookie that the client sent.
    pub(super) cookie: Option<String>,
    /// What is hashed, where that is a header or a cookie and the request has it.
    hash_value: Option<Bytes>,
    /// Whether the request asks for a tunnel.
    pub(super) upgrade: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub(super) expects: bool,
}

/// The head of a request on its way to a server.
pub(super) enum Head {
    /// As it is written.
    Plain(PlainHead),
    /// Of fields; in a box, so that the other form is small.
    Fields(Box<FieldsHead>),
}

/// A head of fields.
pub(super) struct FieldsHead {
    /// As the client sent it.
    uri: Uri,
    /// Path and query as the server is sent them, or `*`.
    pub(super) target: Uri,
    /// As the server is sent them, but for what depends on the connection to it.
    pub(super) headers: HeaderMap,
    /// The request's id; `None` if `headers.request_id` is off.
    id: Option<HeaderValue>,
    /// The client's side of the tunnel that the connection may become; `None` if the request asks for none.
    pub(super) tunnel: Option<OnUpgrade>,
}

impl Inbound {
    /// Reads a request's head; `asterisk` says that it is OPTIONS with a URI without path and query. Notes the pool, the client and the request's id in the context as soon as they are known.
    pub(super) fn read(
        mut parts: Parts,
        asterisk: bool,
        context: &mut RequestContext,
        client_connection: &ClientConnection,
    ) -> Result<Inbound, Refusal> {
        let active_config = &*context.active_config;
        let config = &*active_config.config;
        let peer = &client_connection.peer;
        let version = parts.version;
        let authority = check(&mut parts, &config.limits, client_connection).map_err(|reason| {
            // CONNECT is followed by bytes for the tunnel.
            Refusal::new(reason, reason.status() == StatusCode::BAD_REQUEST || reason == Reason::MethodRefused)
        })?;
        if !decrement_max_forwards(&mut parts).map_err(|reason| Refusal::new(reason, true))? {
            return Err(last_recipient(&parts));
        }
        let Some(pool) = route(active_config, &authority, &parts.uri) else {
            return Err(Refusal::new(Reason::NoRoute, false));
        };
        context.pool = Some(Rc::clone(&pool));
        // HTTP/1.0 has no upgrades, and a server that speaks HTTP/2 cannot be asked for one: there the field is ignored, as
        // RFC 9110, 7.8 allows.
        let upgrade = version == Version::HTTP_11
            && headers::wants_upgrade(&parts.headers)
            && pool.config().protocol == Protocol::Http1;
        let tunnel = if upgrade { parts.extensions.remove::<OnUpgrade>() } else { None };
        headers::strip_hop_by_hop(&mut parts.headers, upgrade);
        // HTTP/1.0 knows no expectations, and on HTTP/2 hyper cannot pass an invitation on.
        let expects = version == Version::HTTP_11 && !context.body.is_empty() && expect::is_expected(&parts.headers);
        parts.headers.remove(header::EXPECT);
        if config.headers.via && headers::times_through(&parts.headers) >= MAX_TIMES_THROUGH {
            return Err(Refusal::new(Reason::Loop, false));
        }
        let client = if config.headers.x_forwarded {
            headers::forward_claims(&mut parts.headers, peer, &active_config.trust, config.headers.forwarded)
        } else {
            headers::client_ip(&parts.headers, peer.address(), &active_config.trust)
        };
        if config.headers.via {
            headers::append_via(&mut parts.headers, version);
        }
        let id = config.headers.request_id.then(|| {
            let trusted = active_config.trust.trusts(peer.address());
            context.shard.with_rng(|rng| headers::request_id(&mut parts.headers, trusted, rng))
        });
        if version == Version::HTTP_2 && parts.headers.get_all(header::COOKIE).iter().count() > 1 {
            join_cookies(&mut parts.headers);
        }
        let sticky = pool.config();
        let sticky = sticky.rules.sticky.as_ref();
        let cookie = sticky.and_then(|sticky| headers::cookie(&parts.headers, &sticky.cookie)).map(str::to_owned);
        let fields = &parts.headers;
        let first = |name: &str| fields.get(name).map(HeaderValue::as_bytes);
        let hash_value = hash_value(&config.key, first, |name| headers::cookie(fields, name));
        if let Some(log_fields) = &mut context.log_fields {
            log_fields.client = client;
            log_fields.request_id.clone_from(&id);
            log_fields.host = Bytes::copy_from_slice(authority.as_bytes());
        }
        let Parts { method, uri, headers, .. } = parts;
        let target = sent_target(&uri, asterisk);
        let head = Head::Fields(Box::new(FieldsHead { uri, target, headers, id, tunnel }));
        Ok(Inbound { pool, method, version, head, authority, client, cookie, hash_value, upgrade, expects })
    }

    /// Reads a plain head, of which [`authority_of`] has given the authority.
    pub(super) fn read_plain(
        head: &PlainRequest<'_>,
        authority: Rc<str>,
        context: &mut RequestContext,
        client_connection: &ClientConnection,
    ) -> Result<Inbound, Refusal> {
        let active_config = Rc::clone(&context.active_config);
        let config = &*active_config.config;
        let Some(pool) = route_path(&active_config, &authority, head.path()) else {
            return Err(Refusal::new(Reason::NoRoute, false));
        };
        if head.claims || pool.config().protocol != Protocol::Http1 || !plain::has_plain_key(&config.key) {
            return Inbound::read(plain::parts(head), false, context, client_connection);
        }
        context.pool = Some(Rc::clone(&pool));
        let peer = &client_connection.peer;
        let plain = PlainHead::new(head, peer, &config.headers, &context.shard);
        let sticky = pool.config();
        let sticky = sticky.rules.sticky.as_ref();
        let cookie = sticky.and_then(|sticky| headers::cookie_in(head.values("cookie"), &sticky.cookie));
        let cookie = cookie.map(str::to_owned);
        let first = |name: &str| head.values(name).next();
        let hash_value = hash_value(&config.key, first, |name| headers::cookie_in(head.values("cookie"), name));
        if let Some(log_fields) = &mut context.log_fields {
            log_fields.request_id = plain.id().and_then(|id| HeaderValue::from_bytes(id).ok());
            log_fields.host = Bytes::copy_from_slice(authority.as_bytes());
        }
        Ok(Inbound {
            pool,
            method: head.method.clone(),
            version: Version::HTTP_11,
            head: Head::Plain(plain),
            authority,
            client: peer.address(),
            cookie,
            hash_value,
            upgrade: false,
            expects: false,
        })
    }

    /// The request's id.
    pub(super) fn id(&self) -> Option<&[u8]> {
        match &self.head {
            Head::Plain(plain) => plain.id(),
            Head::Fields(fields) => fields.id.as_ref().map(HeaderValue::as_bytes),
        }
    }

    /// The request's properties that a strategy can use.
    pub(super) fn info<'a>(&'a self, key: &KeyTable) -> RequestInfo<'a> {
        let (path, target) = match &self.head {
            Head::Plain(plain) => (plain.path(), plain.target()),
            Head::Fields(fields) => (path_of(&fields.uri), target_of(&fields.uri)),
        };
        let key = match (key, &self.hash_value) {
            (KeyTable::Uri, _) => target.as_bytes(),
            (_, Some(value)) => value,
            _ => path.as_bytes(),
        };
        RequestInfo { client: self.client, path, key }
    }
}

/// The target that the server is sent: path and query, or `*`.
fn sent_target(uri: &Uri, asterisk: bool) -> Uri {
    let target = target_of(uri);
    // Of a URI without a path a proxy makes `*` (RFC 9112, 3.2.4); hyper has made `/` of it.
    if asterisk {
        Uri::from_static("*")
    } else if uri.scheme().is_none() && uri.authority().is_none() && target.starts_with('/') {
        uri.clone()
    } else if target.starts_with('/') || target == "*" {
        target.parse().unwrap_or_default()
    } else {
        format!("/{target}").parse().unwrap_or_default()
    }
}

fn path_of(uri: &Uri) -> &str {
    if uri.path().is_empty() || uri.path() == "*" { "/" } else { uri.path() }
}

fn target_of(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

/// The pool that a route leads to.
fn route(active_config: &ActiveConfig, authority: &str, uri: &Uri) -> Option<Rc<ShardPool>> {
    route_path(active_config, authority, path_of(uri))
}

fn route_path(active_config: &ActiveConfig, authority: &str, path: &str) -> Option<Rc<ShardPool>> {
    let host_name = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    };
    let pool = active_config.config.routes.find(Some(host_name), path)?;
    Some(Rc::clone(&active_config.pools[pool]))
}

/// What is hashed of a request, where that is not in its URI: the first value of a field, or a cookie.
fn hash_value<'a>(
    key: &KeyTable,
    first: impl Fn(&str) -> Option<&'a [u8]>,
    cookie: impl Fn(&str) -> Option<&'a str>,
) -> Option<Bytes> {
    match key {
        KeyTable::Path | KeyTable::Uri => None,
        KeyTable::Header(name) => first(name).map(Bytes::copy_from_slice),
        KeyTable::Bits(name) => {
            let digits = first(name).and_then(|value| std::str::from_utf8(value).ok());
            let bits = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
            bits.map(|bits| Bytes::copy_from_slice(&bits.to_le_bytes()))
        }
        KeyTable::Cookie(name) => cookie(name).map(|value| Bytes::copy_from_slice(value.as_bytes())),
    }
}

/// Counts `Max-Forwards` of OPTIONS and TRACE down by one; `false` if it was used up (RFC 9110, 7.6.2).
fn decrement_max_forwards(parts: &mut Parts) -> Result<bool, Reason> {
    if !matches!(parts.method, Method::OPTIONS | Method::TRACE) {
        return Ok(true);
    }
    let mut values = parts.headers.get_all(header::MAX_FORWARDS).iter();
    let Some(value) = values.next() else { return Ok(true) };
    if values.next().is_some() || !is_number(value) {
        return Err(Reason::BadRequest);
    }
    // A number that does not fit is farther than any request goes.
    let left = value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(false);
    }
    parts.headers.insert(header::MAX_FORWARDS, HeaderValue::from(left - 1));
    Ok(true)
}

/// Refuses a request that cannot be forwarded. Returns its authority, which is in `Host` when this returns.
fn check(parts: &mut Parts, limits: &LimitsTable, client_connection: &ClientConnection) -> Result<Rc<str>, Reason> {
    if parts.method == Method::CONNECT {
        return Err(Reason::MethodRefused);
    }
    if parts.headers.len() > limits.headers as usize {
        return Err(Reason::HeaderTooLarge);
    }
    let mut codings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        // hyper asks only that the last coding is `chunked`; the others would reach the server unnamed.
        return Err(Reason::AmbiguousLength);
    }
    if parts.version == Version::HTTP_2 {
        check_http2_fields(&parts.headers)?;
    }
    let path = parts.uri.path();
    let asterisk = path == "*" && parts.method == Method::OPTIONS;
    let rooted = path.starts_with('/') || path.is_empty() && parts.uri.scheme().is_some();
    if !rooted && !asterisk || has_dot_segment(path) {
        return Err(Reason::BadRequest);
    }
    let length = parts.headers.get(header::CONTENT_LENGTH);
    if let (Some(length), Some(max)) = (length, limits.body_bytes)
        && length.to_str().ok().and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > max)
    {
        return Err(Reason::BodyTooLarge);
    }
    settle_authority(parts, client_connection)
}

/// Checks of HTTP/2 what the reader of HTTP/1.1 has checked, or would have trimmed (RFC 9113, 8.1.1 and 8.2.1).
fn check_http2_fields(headers: &HeaderMap) -> Result<(), Reason> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &HeaderValue| is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last());
    if headers.values().any(padded) {
        return Err(Reason::BadRequest);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(()),
        (Some(_), Some(_)) => Err(Reason::AmbiguousLength),
        (Some(length), None) if is_number(length) => Ok(()),
        (Some(_), None) => Err(Reason::BadRequest),
    }
}

/// The authority that a request names, in its target or in `Host`, and the same in `Host` from here on.
fn settle_authority(parts: &mut Parts, client_connection: &ClientConnection) -> Result<Rc<str>, Reason> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (named, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Reason::MissingHost);
    }
    // A client that names the authority in the target means that one (RFC 9112, 3.2.2).
    let authority = match (parts.uri.authority(), named) {
        (Some(authority), Some(named))
            if parts.version == Version::HTTP_2
                && !named.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            return Err(Reason::MissingHost);
        }
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => match client_connection.known_authority(host.as_bytes()) {
            Some(known) => return Ok(known),
            None => Authority::try_from(host.as_bytes()).map_err(|_| Reason::MissingHost)?,
        },
        // HTTP/1.0 need not name one.
        (None, None) if parts.version == Version::HTTP_10 => return Ok(Rc::from("")),
        (None, None) => return Err(Reason::MissingHost),
    };
    if !is_valid(&authority) {
        return Err(Reason::MissingHost);
    }
    if named.is_none_or(|named| named.as_bytes() != authority.as_str().as_bytes()) {
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::MissingHost)?;
        parts.headers.insert(header::HOST, value);
    }
    Ok(client_connection.remember_authority(authority.as_str()))
}

/// The authority in the `Host` of a plain head; `None` if the request is to be refused, which is left to [`Inbound::read`].
pub(super) fn authority_of(
    head: &PlainRequest<'_>,
    limits: &LimitsTable,
    client_connection: &ClientConnection,
) -> Option<Rc<str>> {
    let too_long = match head.content {
        Content::Length(length) => limits.body_bytes.is_some_and(|max| length > max),
        Content::Chunked => false,
    };
    if too_long || has_dot_segment(head.path()) {
        return None;
    }
    if let Some(known) = client_connection.known_authority(head.host) {
        return Some(known);
    }
    let authority = Authority::try_from(head.host).ok().filter(is_valid)?;
    (authority.as_str().as_bytes() == head.host).then(|| client_connection.remember_authority(authority.as_str()))
}

/// Whether an authority is a host and perhaps a port: a name or an address, no user. Anything else that a URI allows
/// there is rejected, because the next recipient might read it differently.
fn is_valid(authority: &Authority) -> bool {
    let text = authority.as_str();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, "0"),
    };
    let of_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let named = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(of_name),
    };
    named && (port.is_empty() || port.parse::<u16>().is_ok() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a path has segments `.` or `..`, encoded or not: the server might resolve them and serve another path than the
/// one that was routed. Slashes count in every spelling that some server takes for one.
fn has_dot_segment(path: &str) -> bool {
    if !path.contains('.') && !path.contains("%2") {
        return false;
    }
    let plain =
        path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    plain.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// Joins cookies that HTTP/2 has sent in several lines; HTTP/1.1 has one line (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut joined = Vec::new();
    for line in headers.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(line.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

/// Whether a value is digits and nothing else.
pub(super) fn is_number(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit)
}
