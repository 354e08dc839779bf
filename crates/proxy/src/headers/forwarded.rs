//! Where a request came from: `X-Forwarded-*`, `Forwarded` (RFC 7239), `X-Real-IP`, and the request's id.

use std::fmt::Write;
use std::net::{IpAddr, Ipv6Addr};

use bytes::Bytes;
use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::{append, elements, is_token};
use evenkeel_core::rng::{Rng, Source};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// The field of a request's id.
pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static HTTP: HeaderValue = HeaderValue::from_static("http");
static HTTPS: HeaderValue = HeaderValue::from_static("https");

/// The networks of trusted proxies: their `X-Forwarded-*` headers are used.
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

/// The other end of a client's connection, with its values for heads made once.
#[derive(Clone, Debug)]
pub struct Peer {
    address: IpAddr,
    tls: Option<&'static str>,
    /// The address as `X-Forwarded-For` has it.
    forwarded_for: HeaderValue,
    /// The port that was connected to.
    port: HeaderValue,
}

impl Peer {
    /// The peer at `address` (that of the socket, or of the PROXY protocol) that has connected to `port`, with
    /// this version of TLS if any.
    pub fn new(address: IpAddr, port: u16, tls: Option<&'static str>) -> Peer {
        let address = address.to_canonical();
        // Addresses and numbers are visible ASCII always.
        let value =
            |text: String| HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static(""));
        Peer { address, tls, forwarded_for: value(address.to_string()), port: value(port.to_string()) }
    }

    /// The peer's address.
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

/// The client's address: the peer's, or what trusted proxies say. The walk goes over all `X-Forwarded-For` lines from
/// the right to the first address that is not trusted; if all are, the leftmost counts. What is not an address ends the
/// walk at the last that was, since nothing to the left of it can be trusted.
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
        let valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address: Ipv6Addr = address.parse().ok()?;
        return valid.then(|| IpAddr::V6(address).to_canonical());
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
/// Call it when `Host` is in the head, also for HTTP/2, whose clients say `:authority` instead.
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
    if forwarded && let Some(element) = forwarded_element(peer, host.as_ref().and_then(|host| host.to_str().ok())) {
        append(headers, &FORWARDED, element);
    }
    client
}

/// Leaves one line of a field: the last that is there if it is valid, else `value`.
fn settle(
    headers: &mut HeaderMap,
    name: &HeaderName,
    value: Option<&HeaderValue>,
    valid: impl Fn(&HeaderValue) -> bool,
) {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next_back()) {
        (Some(only), None) if valid(only) => return,
        (_, Some(last)) if valid(last) => {
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

/// Appends to a head without any claims the lines that [`forward_claims`] would put in.
pub(crate) fn write_claims(out: &mut Vec<u8>, peer: &Peer, host: &[u8], forwarded: bool) {
    let scheme = if peer.tls() { &HTTPS } else { &HTTP };
    for (name, value) in [
        (&X_FORWARDED_FOR, peer.forwarded_for.as_bytes()),
        (&X_FORWARDED_PROTO, scheme.as_bytes()),
        (&X_FORWARDED_HOST, host),
        (&X_FORWARDED_PORT, peer.port.as_bytes()),
    ] {
        write_line(out, name.as_str(), value);
    }
    if forwarded && let Some(element) = forwarded_element(peer, std::str::from_utf8(host).ok()) {
        write_line(out, FORWARDED.as_str(), element.as_bytes());
    }
}

/// Appends a line of a head.
pub(crate) fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// `for=192.0.2.1;host=example.org;proto=https`; what is no token is quoted, as IPv6 addresses and ports must be.
fn forwarded_element(peer: &Peer, host: Option<&str>) -> Option<HeaderValue> {
    let mut text = String::with_capacity(96);
    let written = match peer.address {
        IpAddr::V4(address) => write!(text, "for={address}"),
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\""),
    };
    debug_assert!(written.is_ok());
    if let Some(host) = host.filter(|host| !host.is_empty()) {
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

/// The request's id, which is in the head when this returns: the peer's if it is trusted and its id is valid (one line of 1 to
/// 128 characters that need no escaping anywhere), else 128 random bits in hexadecimal. An id is no secret: `rng` is no source
/// of secrets.
pub fn request_id(headers: &mut HeaderMap, trusted: bool, rng: &mut Rng) -> HeaderValue {
    fn is_valid(value: &HeaderValue) -> bool {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:+/=@~".contains(b))
    }
    if trusted {
        let mut lines = headers.get_all(&X_REQUEST_ID).iter();
        if let (Some(only), None) = (lines.next(), lines.next())
            && is_valid(only)
        {
            return only.clone();
        }
    }
    let id = HeaderValue::from_bytes(&new_id(rng)).unwrap_or(HeaderValue::from_static("0"));
    headers.insert(&X_REQUEST_ID, id.clone());
    id
}

/// 128 random bits in hexadecimal.
pub(crate) fn new_id(rng: &mut Rng) -> [u8; 32] {
    // Digit by digit: `format!` is a tenth of what all that is done to a head costs.
    let mut digits = [0; 32];
    for (half, bits) in digits.chunks_exact_mut(16).zip([rng.bits(), rng.bits()]) {
        for (i, digit) in half.iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(bits >> (60 - 4 * i) & 15) as usize];
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::super::tests::{head, lines};
    use super::*;

    fn trust(networks: &[&str]) -> Trust {
        Trust::new(networks.iter().map(|network| network.parse().unwrap()))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
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
            // What is not an address ends the walk.
            (&["203.0.113.7, unknown, 10.0.0.2"], "10.0.0.2"),
            (&["203.0.113.7, 10.0.0.2:99999999"], "10.0.0.1"),
            (&["203.0.113.7, [::1"], "10.0.0.1"),
            (&["_hidden"], "10.0.0.1"),
            (&["fe80::1%eth0"], "10.0.0.1"),
        ] {
            let headers = head(&field.iter().map(|&line| ("x-forwarded-for", line)).collect::<Vec<_>>());
            assert_eq!(client_ip(&headers, peer, &trust), ip(client), "{field:?}");
            // An untrusted peer's headers are ignored, also from an IPv4-mapped IPv6 address.
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
}
