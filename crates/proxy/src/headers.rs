//! What a proxy does to heads: fields of one connection end here, and what says who asked is believed only from those who
//! are trusted.
//!
//! Sources: RFC 9110 sections 7.6.1 (Connection), 7.6.3 (Via) and 6.5 (trailers); RFC 7239 (Forwarded); RFC 6265 (cookies).
//! Where the RFCs leave room, the rules are these:
//!
//! * **What `Connection` names goes, unless it is meant for everybody.** A client that sends `Connection: X-Forwarded-For`
//!   would have the proxy delete what the proxy before it wrote ("hop-by-hop headers abuse", N. Davison, 2019). The RFC
//!   forbids to name fields that are for all recipients, so such names are passed over: see [`strip_hop_by_hop`]. Envoy
//!   protects in the same way, by refusing the request.
//! * **`Trailer` stays**, since trailers are forwarded (RFC 9110 took it from the list that RFC 2616 had), and what may not
//!   stand in trailers is taken out of them: [`strip_trailers`].
//! * **`Upgrade: h2c` never passes**: it would open a tunnel behind the proxy's back ("h2c smuggling", Bishop Fox, 2020).
//! * **The client is found from the right** of all `X-Forwarded-For` lines together, past trusted proxies only. `Forwarded`
//!   is written where wanted but never believed: a proxy that writes one of the two and passes the other on from the client
//!   is common, and believing both would let the client choose.
//! * Names with `_` for `-` count as the same, because servers behind CGI or WSGI cannot tell them apart.
//!
//! Nothing here allocates where nothing is to be done: usual values are made once and cloned, which copies a pointer.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use http::Version;
use http::header::{
    CONNECTION, COOKIE, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION,
    TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use ipnet::IpNet;

use evenkeel_core::rng::{Rng, Source};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// The field of a request's name.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// This proxy's pseudonym in `Via`.
const PSEUDONYM: &str = "evenkeel";
static VIA_1_0: HeaderValue = HeaderValue::from_static("1.0 evenkeel");
static VIA_1_1: HeaderValue = HeaderValue::from_static("1.1 evenkeel");
static VIA_2: HeaderValue = HeaderValue::from_static("2 evenkeel");
static TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
static UPGRADE_OPTION: HeaderValue = HeaderValue::from_static("upgrade");
static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

/// The elements of a list field over all its lines, trimmed, empty ones left out. Whoever puts commas into quotes gets
/// pieces; no field that is read here has quoted commas.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> + 'a {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|&b| b == b',')).map(<[u8]>::trim_ascii).filter(|e| !e.is_empty())
}

/// Whether a request asks to leave HTTP for another protocol (`Connection: upgrade` with an `Upgrade` that says to what),
/// one that a proxy may tunnel. `h2c` is not: see the module's text.
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && elements(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        && !elements(headers, &UPGRADE).any(|protocol| {
            let name = protocol.split(|&b| b == b'/').next().unwrap_or(protocol);
            name.eq_ignore_ascii_case(b"h2c") || name.eq_ignore_ascii_case(b"http")
        })
}

/// Fields that are for every recipient or that decide who may do what: `Connection` cannot have them deleted.
fn is_end_to_end(name: &[u8]) -> bool {
    const NAMES: [&str; 22] = [
        "age",
        "authorization",
        "cache-control",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "forwarded",
        "host",
        "location",
        "origin",
        "range",
        "set-cookie",
        "strict-transport-security",
        "traceparent",
        "tracestate",
        "trailer",
        "vary",
        "via",
        "x-real-ip",
        "x-request-id",
    ];
    const PREFIXES: [&str; 5] = ["x-forwarded-", "content-", "access-control-", "if-", "sec-"];
    let starts = |prefix: &str| name.get(..prefix.len()).is_some_and(|n| n.eq_ignore_ascii_case(prefix.as_bytes()));
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) || PREFIXES.into_iter().any(starts)
}

/// Takes out what concerns one connection only, of a request or a response: `Connection` and what it names, `Keep-Alive`,
/// `Proxy-Connection`, `Proxy-Authenticate`, `Proxy-Authorization`, `Proxy-Authentication-Info`, `Transfer-Encoding`,
/// `HTTP2-Settings`, `Upgrade`, and `TE` but for `trailers`, which is kept as the only value.
///
/// With `upgrade` (the request's [`wants_upgrade`], the response's status 101) `Upgrade` stays and `Connection: upgrade` is
/// put in anew.
pub fn strip_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    // Most heads have none: to see that, one look at the few names that are there costs less than to ask for each of these.
    if !headers.keys().any(concerns_connection) {
        return;
    }
    if headers.contains_key(CONNECTION) {
        strip_named(headers);
        headers.remove(CONNECTION);
    }
    if headers.contains_key(TE) {
        let trailers = elements(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
        if trailers {
            headers.insert(TE, TRAILERS.clone());
        } else {
            headers.remove(TE);
        }
    }
    for name in [
        &KEEP_ALIVE,
        &PROXY_CONNECTION,
        &PROXY_AUTHENTICATE,
        &PROXY_AUTHORIZATION,
        &PROXY_AUTHENTICATION_INFO,
        &TRANSFER_ENCODING,
        &HTTP2_SETTINGS,
    ] {
        headers.remove(name);
    }
    if !upgrade {
        headers.remove(UPGRADE);
    } else if headers.contains_key(UPGRADE) {
        headers.insert(CONNECTION, UPGRADE_OPTION.clone());
    }
}

/// The names of [`strip_hop_by_hop`].
fn concerns_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-authentication-info"
            | "transfer-encoding"
            | "http2-settings"
            | "upgrade"
    )
}

fn strip_named(headers: &mut HeaderMap) {
    /// Options that are no fields, and fields that are looked after anyway.
    fn is_usual(option: &[u8]) -> bool {
        ["keep-alive", "close", "upgrade", "te", "transfer-encoding", "http2-settings"]
            .iter()
            .any(|usual| option.eq_ignore_ascii_case(usual.as_bytes()))
    }
    let named: Vec<HeaderName> = elements(headers, &CONNECTION)
        .filter(|option| !is_usual(option) && !is_end_to_end(option))
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| headers.contains_key(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Takes out of trailers what must not stand there, for a recipient might merge it into the head: framing, routing, what
/// concerns a connection, authentication, what says how to treat the content (RFC 9110 section 6.5.1), and what says who
/// asked, where from, or for what, which servers take from the proxy before them. Names with `_` for `-` count as the same.
pub fn strip_trailers(trailers: &mut HeaderMap) {
    let forbidden: Vec<HeaderName> =
        trailers.keys().filter(|name| is_forbidden_in_trailers(name.as_str())).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

/// See [`strip_trailers`]; the name in lower case.
fn is_forbidden_in_trailers(name: &str) -> bool {
    /// Allowed to come late although others of their kind are not: RFC 9110 section 8.8.3, RFC 9530 section 6.5.
    const LATE: [&str; 2] = ["etag", "content-digest"];
    const NAMES: [&str; 31] = [
        "cache-control",
        "connection",
        "expect",
        "front-end-https",
        "http2-settings",
        "keep-alive",
        "max-forwards",
        "pragma",
        "proxy",
        "server-protocol",
        "set-cookie",
        "set-cookie2",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "www-authenticate",
        "x-correlation-id",
        "x-host",
        "x-method-override",
        "x-port",
        "x-proto",
        "x-scheme",
        "x-sendfile",
        "x-url-scheme",
        "x-user",
        "x-user-id",
        "x-username",
        "x-wap-profile",
        "remote-user",
    ];
    const PREFIXES: [&str; 14] = [
        "forwarded",
        "proxy-",
        "remote-",
        "ssl-",
        "x-accel-",
        "x-auth",
        "x-client-",
        "x-envoy-",
        "x-evenkeel-",
        "x-forwarded",
        "x-http-method",
        "x-original-",
        "x-remote-",
        "x-rewrite-",
    ];
    let plain = name.replace('_', "-");
    if LATE.contains(&&*plain) {
        return false;
    }
    is_end_to_end(plain.as_bytes())
        || NAMES.contains(&&*plain)
        || PREFIXES.iter().any(|prefix| plain.starts_with(prefix))
        || plain.starts_with("x-ssl-")
        || plain.ends_with("-ip")
        || plain.contains("client-ip")
}

/// Adds this proxy to `Via`: `1.1 evenkeel`, by the version in which the message came.
pub fn append_via(headers: &mut HeaderMap, received: Version) {
    let value = match received {
        Version::HTTP_09 | Version::HTTP_10 => &VIA_1_0,
        Version::HTTP_2 | Version::HTTP_3 => &VIA_2,
        _ => &VIA_1_1,
    };
    append(headers, &VIA, value.clone());
}

/// How often a message has come through a proxy of this name. More than a chain of them explains is a loop.
pub fn times_through(headers: &HeaderMap) -> usize {
    let by_us = |entry: &&[u8]| {
        entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1) == Some(PSEUDONYM.as_bytes())
    };
    elements(headers, &VIA).filter(by_us).count()
}

/// Makes one line of a list field with `value` at its end.
fn append(headers: &mut HeaderMap, name: &HeaderName, value: HeaderValue) {
    let mut joined = Vec::new();
    for line in headers.get_all(name) {
        let line = line.as_bytes().trim_ascii();
        if !line.is_empty() {
            joined.extend_from_slice(line);
            joined.extend_from_slice(b", ");
        }
    }
    if joined.is_empty() {
        headers.insert(name, value);
        return;
    }
    joined.extend_from_slice(value.as_bytes());
    // Pieces of valid values are a valid value; were they not, the end alone is what is known to be true.
    headers.insert(name, HeaderValue::from_maybe_shared(Bytes::from(joined)).unwrap_or(value));
}

/// Whose word is taken for where a request came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust(Vec<IpNet>);

impl Trust {
    /// Trusts the addresses in these networks. IPv4 addresses mapped into IPv6 count as IPv4.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Trust {
        Trust(networks.into_iter().collect())
    }

    /// Whether this address is trusted.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Who is at the other end of a connection: made once for each, cloned into its requests for nothing.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    tls: Option<&'static str>,
    /// The address as `X-Forwarded-For` has it, and the port that was connected to.
    forwarded_for: HeaderValue,
    port: HeaderValue,
}

impl Peer {
    /// The peer at `address` (that of the socket, or of the PROXY protocol) that has connected to our port, with this version
    /// of TLS if any.
    pub fn new(address: IpAddr, port: u16, tls: Option<&'static str>) -> Peer {
        let address = address.to_canonical();
        // Addresses and numbers are visible ASCII always.
        let value =
            |text: String| HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""));
        Peer { address, tls, forwarded_for: value(address.to_string()), port: value(port.to_string()) }
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Whether it speaks TLS to us.
    pub fn tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The version of TLS, such as `TLSv1.3`, if any.
    pub fn tls_version(&self) -> Option<&'static str> {
        self.tls
    }
}

/// Whether a field claims something about where a request came from, in a spelling that some server would take for it.
fn is_claim(name: &str) -> bool {
    let bytes = name.as_bytes();
    let matches = |known: &[u8], part: &[u8]| {
        part.len() == known.len() && part.iter().zip(known).all(|(&b, &k)| b == k || (b == b'_' && k == b'-'))
    };
    match bytes.first() {
        Some(b'f') => name == "forwarded",
        Some(b'x') => {
            matches(b"x-real-ip", bytes)
                || matches(b"x-forwarded", bytes)
                || bytes.get(..12).is_some_and(|start| matches(b"x-forwarded-", start))
        }
        _ => false,
    }
}

/// Takes out what an untrusted peer says about where a request came from: `X-Forwarded-*`, `Forwarded`, `X-Real-IP`.
pub fn strip_claims(headers: &mut HeaderMap) {
    if headers.keys().any(|name| is_claim(name.as_str())) {
        let claims: Vec<HeaderName> = headers.keys().filter(|name| is_claim(name.as_str())).cloned().collect();
        for name in claims {
            headers.remove(name);
        }
    }
}

/// The client's address: the peer's, or what trusted proxies say. The walk goes over all `X-Forwarded-For` lines from the
/// right to the first address that is not trusted; if all are, the leftmost counts. What is not an address ends the walk at
/// the last that was, since nothing left of it can be vouched for.
pub fn client_ip(headers: &HeaderMap, peer: IpAddr, trust: &Trust) -> IpAddr {
    let mut client = peer.to_canonical();
    for entry in elements(headers, &X_FORWARDED_FOR).rev() {
        if !trust.trusts(client) {
            break;
        }
        let Some(address) = node_address(entry) else { break };
        client = address;
    }
    client
}

/// The address in an entry such as `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `"[2001:db8::1]:80"`.
fn node_address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let text = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let is_port = |text: &str| (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let sound = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address: Ipv6Addr = address.parse().ok()?;
        return sound.then(|| IpAddr::V6(address).to_canonical());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    let address: std::net::Ipv4Addr = address.parse().ok()?;
    is_port(port).then_some(IpAddr::V4(address))
}

/// Writes into a request where it came from, and gives the client's address. Claims of an untrusted peer go, those of a
/// trusted one are added to.
///
/// * `X-Forwarded-For`: one line, the peer at its end.
/// * `X-Forwarded-Proto`, `-Host`, `-Port`: as the peer sees them; what a trusted peer says of them stays (of several lines
///   the last, which is that of the proxy nearest to us).
/// * `Forwarded` (RFC 7239), with `forwarded` only: one line with an element for the peer at its end.
///
/// Call it when `Host` stands in the head, also for HTTP/2, whose clients say `:authority` instead.
pub fn forward_claims(headers: &mut HeaderMap, peer: &Peer, trust: &Trust, forwarded: bool) -> IpAddr {
    let trusted = trust.trusts(peer.address);
    let client = if trusted { client_ip(headers, peer.address, trust) } else { peer.address };
    if !trusted {
        strip_claims(headers);
    }
    append(headers, &X_FORWARDED_FOR, peer.forwarded_for.clone());
    let scheme = if peer.tls() { &HTTPS } else { &HTTP };
    settle(headers, &X_FORWARDED_PROTO, Some(scheme), |value| value == HTTP || value == HTTPS);
    let host = headers.get(HOST).cloned();
    settle(headers, &X_FORWARDED_HOST, host.as_ref(), |value| !value.is_empty());
    let is_port = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.parse::<u16>().is_ok());
    settle(headers, &X_FORWARDED_PORT, Some(&peer.port), is_port);
    if forwarded && let Some(element) = forwarded_element(peer, host.as_ref()) {
        append(headers, &FORWARDED, element);
    }
    client
}

/// Leaves one line of a field: the last that is there if it is sound, else `value`.
fn settle(
    headers: &mut HeaderMap,
    name: &HeaderName,
    value: Option<&HeaderValue>,
    sound: impl Fn(&HeaderValue) -> bool,
) {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next_back()) {
        (Some(only), None) if sound(only) => return,
        (_, Some(last)) if sound(last) => {
            let last = last.clone();
            headers.insert(name, last);
            return;
        }
        _ => {}
    }
    match value {
        Some(value) => drop(headers.insert(name, value.clone())),
        None => drop(headers.remove(name)),
    }
}

/// `for=192.0.2.1;host=example.org;proto=https`; what is no token is quoted, as IPv6 addresses and ports must be.
fn forwarded_element(peer: &Peer, host: Option<&HeaderValue>) -> Option<HeaderValue> {
    let mut text = String::with_capacity(96);
    let written = match peer.address {
        IpAddr::V4(address) => write!(text, "for={address}"),
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\""),
    };
    debug_assert!(written.is_ok());
    if let Some(host) = host.and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty()) {
        text.push_str(";host=");
        if host.bytes().all(is_token) {
            text.push_str(host);
        } else {
            text.push('"');
            for c in host.chars() {
                if matches!(c, '"' | '\\') {
                    text.push('\\');
                }
                text.push(c);
            }
            text.push('"');
        }
    }
    text.push_str(if peer.tls() { ";proto=https" } else { ";proto=http" });
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// A character of a token (RFC 9110 section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The request's name, which is in the head when this returns: the peer's if it is trusted and its name is sound (one line
/// of 1 to 128 characters that need no escaping anywhere), else 128 random bits. A name is no secret: `rng` is no source of
/// secrets.
pub fn request_id(headers: &mut HeaderMap, trusted: bool, rng: &mut Rng) -> HeaderValue {
    fn is_sound(value: &HeaderValue) -> bool {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(b))
    }
    if trusted {
        let mut lines = headers.get_all(&X_REQUEST_ID).iter();
        if let (Some(only), None) = (lines.next(), lines.next())
            && is_sound(only)
        {
            return only.clone();
        }
    }
    // Digit by digit: the library's way with numbers is a tenth of what all that is done to a head costs.
    let mut digits = [0; 32];
    for (half, bits) in digits.chunks_exact_mut(16).zip([rng.bits(), rng.bits()]) {
        for (i, digit) in half.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(bits >> (60 - 4 * i) & 15) as usize];
        }
    }
    let id = HeaderValue::from_bytes(&digits).unwrap_or(HeaderValue::from_static("0"));
    headers.insert(&X_REQUEST_ID, id.clone());
    id
}

/// The value of a cookie: the first of that name over all lines, without the quotes it may stand in.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(COOKIE).into_iter();
    lines.flat_map(|line| line.as_bytes().split(|&b| b == b';')).find_map(|pair| {
        let value =
            pair.trim_ascii().strip_prefix(name.as_bytes())?.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
        let value = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
        std::str::from_utf8(value).ok()
    })
}

/// The `Set-Cookie` that keeps a client on its server: `name=value; Path=/; HttpOnly; SameSite=Lax`, with `Max-Age` in seconds
/// (without it the cookie goes with the browser) and with `Secure` on TLS. `None` if name or value cannot stand in a cookie.
pub fn set_cookie(name: &str, value: &str, max_age: Option<u64>, secure: bool) -> Option<HeaderValue> {
    // cookie-octet of RFC 6265: visible ASCII but quote, comma, semicolon and backslash.
    let octet = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) || !value.bytes().all(octet) {
        return None;
    }
    let mut text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax");
    if let Some(seconds) = max_age {
        write!(text, "; Max-Age={seconds}").ok()?;
    }
    if secure {
        text.push_str("; Secure");
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}

/// Whether trailers may follow: the request accepts them, or names them itself.
pub fn speaks_of_trailers(headers: &HeaderMap) -> bool {
    headers.contains_key(TRAILER) || elements(headers, &TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A head from lines `name: value`.
    fn head(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    fn trust(networks: &[&str]) -> Trust {
        Trust::new(networks.iter().map(|network| network.parse().unwrap()))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_of_one_connection_goes() {
        let mut headers = head(&[
            ("connection", "keep-alive, X-Mine"),
            ("connection", "x-yours,, close"),
            ("x-mine", "1"),
            ("x-yours", "2"),
            ("x-kept", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eA=="),
            ("proxy-authenticate", "Basic"),
            ("te", "gzip, trailers"),
            ("trailer", "grpc-status"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
            ("host", "example.org"),
        ]);
        strip_hop_by_hop(&mut headers, false);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "te", "trailer", "x-kept"]);
        assert_eq!(lines(&headers, "te"), ["trailers"]);
        let mut headers = head(&[("te", "gzip;q=0.5"), ("te", "deflate")]);
        strip_hop_by_hop(&mut headers, false);
        assert!(headers.is_empty());
    }

    #[test]
    fn connection_cannot_delete_what_is_for_everybody() {
        let protected = head(&[
            ("host", "h"),
            ("content-length", "3"),
            ("authorization", "x"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-real-ip", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
            ("via", "1.1 edge"),
            ("cache-control", "no-store"),
            ("x-request-id", "7"),
            ("sec-websocket-key", "k"),
        ]);
        let mut headers = protected.clone();
        for name in protected.keys() {
            headers.append(CONNECTION, HeaderValue::from_str(&name.as_str().to_uppercase()).unwrap());
        }
        strip_hop_by_hop(&mut headers, false);
        assert_eq!(headers, protected);
    }

    #[test]
    fn upgrades_pass_but_not_h2c() {
        let mut websocket = head(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        assert!(wants_upgrade(&websocket));
        strip_hop_by_hop(&mut websocket, true);
        assert_eq!(websocket, head(&[("connection", "upgrade"), ("upgrade", "websocket")]));
        for not in [
            head(&[("connection", "upgrade"), ("upgrade", "h2c")]),
            head(&[("connection", "upgrade, http2-settings"), ("upgrade", "websocket, H2C")]),
            head(&[("connection", "upgrade"), ("upgrade", "HTTP/3.0")]),
            head(&[("connection", "keep-alive"), ("upgrade", "websocket")]),
            head(&[("connection", "upgrade")]),
        ] {
            assert!(!wants_upgrade(&not), "{not:?}");
        }
    }

    #[test]
    fn trailers_bring_no_framing() {
        let mut trailers = head(&[
            ("grpc-status", "0"),
            ("etag", "\"x\""),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("host", "evil"),
            ("authorization", "x"),
            ("set-cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers, head(&[("grpc-status", "0"), ("etag", "\"x\"")]));
    }

    #[test]
    fn via_grows_to_the_right_and_shows_loops() {
        let mut headers = HeaderMap::new();
        append_via(&mut headers, Version::HTTP_11);
        assert_eq!(lines(&headers, "via"), ["1.1 evenkeel"]);
        let mut headers = head(&[("via", "1.0 fred"), ("via", " "), ("via", "HTTP/1.1  evenkeel (x), 1.1 evenkeel2")]);
        append_via(&mut headers, Version::HTTP_2);
        assert_eq!(lines(&headers, "via"), ["1.0 fred, HTTP/1.1  evenkeel (x), 1.1 evenkeel2, 2 evenkeel"]);
        assert_eq!(times_through(&headers), 2);
    }

    #[test]
    fn the_client_is_the_first_untrusted_from_the_right() {
        let trust = trust(&["10.0.0.0/8", "2001:db8::/32"]);
        let peer = ip("10.0.0.1");
        for (field, client) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["1.2.3.4, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            // A spoofed line of its own stands left of what proxies wrote.
            (&["1.2.3.4", "203.0.113.7", "10.0.0.2,10.9.9.9"], "203.0.113.7"),
            (&["203.0.113.7:4711, 10.0.0.2"], "203.0.113.7"),
            (&["[2a00::7]:4711, [2001:db8::1]"], "2a00::7"),
            (&["2a00::7"], "2a00::7"),
            (&["\"[2a00::7]\""], "2a00::7"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            // All trusted: the leftmost.
            (&["10.0.0.3, , 10.0.0.2,"], "10.0.0.3"),
            (&[], "10.0.0.1"),
            // Rubbish ends the walk.
            (&["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["203.0.113.7, 10.0.0.2:99999999"], "10.0.0.1"),
            (&["203.0.113.7, [::1"], "10.0.0.1"),
            (&["_hidden"], "10.0.0.1"),
            (&["fe80::1%eth0"], "10.0.0.1"),
        ] {
            let headers = head(&field.iter().map(|&line| ("x-forwarded-for", line)).collect::<Vec<_>>());
            assert_eq!(client_ip(&headers, peer, &trust), ip(client), "{field:?}");
            // From a stranger none of it counts, also in IPv6's clothes.
            assert_eq!(client_ip(&headers, ip("::ffff:192.0.2.9"), &trust), ip("192.0.2.9"));
        }
        assert!(trust.trusts(ip("::ffff:10.1.1.1")) && !trust.trusts(ip("::10.1.1.1")));
    }

    #[test]
    fn a_strangers_claims_go_and_ours_are_put_in() {
        let mut headers = head(&[
            ("host", "example.org:8080"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-user", "root"),
            ("x_forwarded_host", "evil"),
            ("x-real-ip", "1.2.3.4"),
            ("x_real_ip", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("x-for-sale", "yes"),
        ]);
        let peer = Peer::new(ip("2001:db8::9"), 8443, None);
        let client = forward_claims(&mut headers, &peer, &trust(&["10.0.0.0/8"]), true);
        assert_eq!(client, ip("2001:db8::9"));
        let expected = head(&[
            ("host", "example.org:8080"),
            ("x-for-sale", "yes"),
            ("x-forwarded-for", "2001:db8::9"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "example.org:8080"),
            ("x-forwarded-port", "8443"),
            ("forwarded", "for=\"[2001:db8::9]\";host=\"example.org:8080\";proto=http"),
        ]);
        assert_eq!(headers, expected);
    }

    #[test]
    fn a_trusted_peers_claims_stay_and_become_one_line() {
        let mut headers = head(&[
            ("host", "inner"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outer"),
            ("x-forwarded-port", "many"),
            ("forwarded", "for=203.0.113.7"),
        ]);
        let peer = Peer::new(ip("10.0.0.1"), 80, None);
        let client = forward_claims(&mut headers, &peer, &trust(&["10.0.0.0/8"]), true);
        assert_eq!(client, ip("203.0.113.7"));
        assert_eq!(lines(&headers, "x-forwarded-for"), ["1.2.3.4, 203.0.113.7, 10.0.0.1"]);
        assert_eq!(lines(&headers, "x-forwarded-proto"), ["https"]);
        assert_eq!(lines(&headers, "x-forwarded-host"), ["outer"]);
        assert_eq!(lines(&headers, "x-forwarded-port"), ["80"]);
        assert_eq!(lines(&headers, "forwarded"), ["for=203.0.113.7, for=10.0.0.1;host=inner;proto=http"]);
        let mut again = head(&[("forwarded", "for=x")]);
        forward_claims(&mut again, &peer, &trust(&["10.0.0.0/8"]), false);
        assert_eq!(lines(&again, "forwarded"), ["for=x"], "not wanted, not touched");
    }

    #[test]
    fn request_ids_of_strangers_are_replaced() {
        let mut rng = Rng::stream(1, "test", 0);
        let mut given = head(&[("x-request-id", "abc-123")]);
        assert_eq!(request_id(&mut given, true, &mut rng), "abc-123");
        let made = request_id(&mut given, false, &mut rng);
        assert_eq!(given.get(&X_REQUEST_ID), Some(&made));
        assert!(made.len() == 32 && made.as_bytes().iter().all(u8::is_ascii_hexdigit));
        for bad in [
            head(&[("x-request-id", "a b")]),
            head(&[("x-request-id", "a\"b")]),
            head(&[("x-request-id", "")]),
            head(&[("x-request-id", "a"), ("x-request-id", "b")]),
            HeaderMap::new(),
        ] {
            let mut headers = bad.clone();
            let id = request_id(&mut headers, true, &mut rng);
            assert!(id.len() == 32 && id != made, "{bad:?}");
            assert_eq!(headers.get_all(&X_REQUEST_ID).iter().count(), 1);
        }
    }

    #[test]
    fn cookies_are_found_and_made() {
        let headers = head(&[("cookie", "evenkeel2=no; xevenkeel=no"), ("cookie", "a=1;evenkeel=\"s1\"; evenkeel=s2")]);
        assert_eq!(cookie(&headers, "evenkeel"), Some("s1"));
        assert_eq!(cookie(&headers, "a"), Some("1"));
        assert_eq!(cookie(&headers, "b"), None);
        assert_eq!(
            set_cookie("evenkeel", "0af3", Some(3600), true).unwrap(),
            "evenkeel=0af3; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure"
        );
        assert_eq!(set_cookie("k", "v", None, false).unwrap(), "k=v; Path=/; HttpOnly; SameSite=Lax");
        for (name, value) in [("", "v"), ("a b", "v"), ("k", "v;Domain=evil"), ("k", "v\r\nX: y"), ("k", "a,b")] {
            assert_eq!(set_cookie(name, value, None, false), None);
        }
    }
}
