//! Fields that concern one connection (RFC 9110, 7.6.1), and what may not be in trailers (6.5.1).

use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
    UPGRADE,
};

use super::elements;

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
static PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
static HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
static TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
static UPGRADE_OPTION: HeaderValue = HeaderValue::from_static("upgrade");

/// Whether a request asks to leave HTTP for another protocol (`Connection: upgrade` with an `Upgrade` that says to
/// what), one that a proxy may tunnel. `h2c` is not accepted: it would open a tunnel that the proxy cannot inspect.
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(UPGRADE)
        && elements(headers, &CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        && !elements(headers, &UPGRADE).any(|protocol| {
            let name = protocol.split(|&b| b == b'/').next().unwrap_or(protocol);
            name.eq_ignore_ascii_case(b"h2c") || name.eq_ignore_ascii_case(b"http")
        })
}

/// Fields that are for every recipient or that decide about access: `Connection` cannot have them deleted.
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
/// With `upgrade` (the request's [`wants_upgrade`], the response's status 101) `Upgrade` stays and `Connection:
/// upgrade` is added again.
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

/// Takes out of trailers what must not be there, for a recipient might merge it into the head: framing, routing, what
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

#[cfg(test)]
mod tests {
    use super::super::tests::{head, lines};
    use super::*;

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
}
