//! Reading a request: what is refused, its authority.

use std::rc::Rc;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Version, header};

use super::client::ClientConnection;
use crate::termination::Reason;
use evenkeel_config::proxy::LimitsTable;

/// Counts `Max-Forwards` of OPTIONS and TRACE down by one; false if it was used up (RFC 9110, 7.6.2).
pub(super) fn take_forward(parts: &mut http::request::Parts) -> Result<bool, Reason> {
    if !matches!(parts.method, Method::OPTIONS | Method::TRACE) {
        return Ok(true);
    }
    let mut values = parts.headers.get_all(header::MAX_FORWARDS).iter();
    let Some(value) = values.next() else { return Ok(true) };
    let digits = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if values.next().is_some() || !digits {
        return Err(Reason::BadRequest);
    }
    // Beyond numbers is still a number, and farther than anything goes.
    let left = value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(u64::MAX);
    if left == 0 {
        return Ok(false);
    }
    parts.headers.insert(header::MAX_FORWARDS, HeaderValue::from(left - 1));
    Ok(true)
}

/// Refuses what is no request to forward; gives its authority, which stands in `Host` when this returns.
pub(super) fn check(
    parts: &mut http::request::Parts,
    limits: &LimitsTable,
    client_connection: &ClientConnection,
) -> Result<Rc<str>, Reason> {
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
        // The library is content if the last one is `chunked`; what is below it would reach the server unnamed.
        return Err(Reason::AmbiguousLength);
    }
    let http2 = parts.version == Version::HTTP_2;
    if http2 {
        // What HTTP/1.1's reader has seen to, and what it would take off (RFC 9113, 8.2.1).
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        let padded = |value: &HeaderValue| is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last());
        if parts.headers.values().any(padded) {
            return Err(Reason::BadRequest);
        }
        let mut lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter();
        if let Some(length) = lengths.next() {
            if lengths.next().is_some() {
                return Err(Reason::AmbiguousLength);
            }
            if length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit) {
                return Err(Reason::BadRequest);
            }
        }
    }
    let path = parts.uri.path();
    let whole = path == "*" && parts.method == Method::OPTIONS;
    let rooted = path.starts_with('/') || path.is_empty() && parts.uri.scheme().is_some();
    if !rooted && !whole {
        return Err(Reason::BadRequest);
    }
    if climbs(path) {
        return Err(Reason::BadRequest);
    }
    let length = parts.headers.get(header::CONTENT_LENGTH);
    if let (Some(length), Some(most)) = (length, limits.body_bytes)
        && length.to_str().ok().and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > most)
    {
        return Err(Reason::BodyTooLarge);
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let (named, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(Reason::MissingHost);
    }
    // A client that names the authority in the target means that one (RFC 9112, 3.2.2).
    let authority = match (parts.uri.authority(), named) {
        (Some(authority), Some(named))
            if http2 && !named.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
        {
            return Err(Reason::MissingHost);
        }
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => match client_connection.known(host) {
            Some(known) => return Ok(known),
            None => Authority::try_from(host.as_bytes()).map_err(|_| Reason::MissingHost)?,
        },
        // HTTP/1.0 need not say.
        (None, None) if parts.version == Version::HTTP_10 => return Ok(Rc::from("")),
        (None, None) => return Err(Reason::MissingHost),
    };
    if !is_sound(&authority) {
        return Err(Reason::MissingHost);
    }
    if named.is_none_or(|named| named.as_bytes() != authority.as_str().as_bytes()) {
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Reason::MissingHost)?;
        parts.headers.insert(header::HOST, value);
    }
    let authority: Rc<str> = Rc::from(authority.as_str());
    *client_connection.named.borrow_mut() = Rc::clone(&authority);
    Ok(authority)
}

/// Whether it is a host and perhaps a port: a name, an address, no user. What else a URI may have there has no use but to
/// be read in another way by the next one.
pub(super) fn is_sound(authority: &Authority) -> bool {
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
pub(super) fn climbs(path: &str) -> bool {
    if !path.contains('.') && !path.contains("%2") {
        return false;
    }
    let plain =
        path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    plain.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// HTTP/2 may send a cookie in pieces; HTTP/1.1 has one line (RFC 9113, 8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
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
