//! Malicious and faulty clients and servers, over raw sockets: what the proxy answers, and that no server behind it
//! sees a smuggled request.

#![allow(clippy::disallowed_methods, reason = "hostile clients take their time, and tests measure it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::rig::{Rig, Script, eventually, verdict};
use crate::support;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// A request that a client would like to hide in the body of another.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn is(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

// ---- Clients ----

/// What cannot be read in one way only is refused and never sent on, and the connection ends: nothing behind it is read.
#[test]
fn ambiguous_and_malformed_requests_are_refused() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}{SMUGGLED}");
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{SMUGGLED}");
    let ambiguous = is(400, "ambiguous_length");
    let bad = is(400, "bad_request");
    let host = is(400, "missing_host");
    let cases: Vec<(&str, String, (u16, String))> = vec![
        ("lengths that differ", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abc"), bad.clone()),
        ("the same length twice", post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), ambiguous.clone()),
        ("a list of lengths", post("Content-Length: 3, 3\r\n", "abc"), bad.clone()),
        ("a length with a sign", post("Content-Length: +3\r\n", "abc"), bad.clone()),
        ("a negative length", post("Content-Length: -3\r\n", "abc"), bad.clone()),
        ("a length in hex", post("Content-Length: 0x3\r\n", "abc"), bad.clone()),
        ("an empty length", post("Content-Length:\r\n", "abc"), bad.clone()),
        ("a length beyond numbers", post("Content-Length: 99999999999999999999\r\n", "abc"), bad.clone()),
        ("CL.TE", post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), ambiguous.clone()),
        ("TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"), ambiguous.clone()),
        (
            "CL.TE in odd cases",
            post("content-LENGTH: 3\r\ntransfer-ENCODING: Chunked\r\n", "0\r\n\r\n"),
            ambiguous.clone(),
        ),
        (
            "chunked twice",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            ambiguous.clone(),
        ),
        ("chunked in chunked", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), ambiguous.clone()),
        ("a coding below", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), ambiguous.clone()),
        (
            "a coding in another line",
            post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            ambiguous.clone(),
        ),
        ("xchunked", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), bad.clone()),
        ("chunked, identity", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), bad.clone()),
        ("identity", post("Transfer-Encoding: identity\r\n", ""), bad.clone()),
        ("a quoted coding", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), bad.clone()),
        (
            "a tab before chunked is white space, a vertical one is not",
            post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
            bad.clone(),
        ),
        (
            "TE in HTTP/1.0",
            format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
            bad.clone(),
        ),
        ("a folded line", get("X-A: b\r\n c\r\n"), bad.clone()),
        ("a folded coding", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"), bad.clone()),
        ("a bare CR in a value", get("X-A: b\rc\r\n"), bad.clone()),
        ("a bare LF", get("X-A: b\nX-B: c\r\n"), bad.clone()),
        ("bare LFs everywhere", "GET / HTTP/1.1\nHost: a\n\n".to_owned(), bad.clone()),
        ("NUL in a value", get("X-A: b\0c\r\n"), bad.clone()),
        ("NUL in a name", get("X\0A: b\r\n"), bad.clone()),
        ("white space before a colon", get("X-A : b\r\n"), bad.clone()),
        ("white space before the colon of a length", post("Content-Length : 3\r\n", "abc"), bad.clone()),
        ("white space before the first field", "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n".to_owned(), bad.clone()),
        ("a line without a colon", get("X-A\r\n"), bad.clone()),
        ("an empty name", get(": b\r\n"), bad.clone()),
        ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), bad.clone()),
        ("a CR in the target", "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), bad.clone()),
        ("a method that is no token", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), bad.clone()),
        ("HTTP/0.9", "GET /\r\n\r\n".to_owned(), bad.clone()),
        ("HTTP/3.7", "GET / HTTP/3.7\r\nHost: a\r\n\r\n".to_owned(), bad.clone()),
        ("HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(), bad.clone()),
        ("another protocol", "EHLO mail\r\n\r\n".to_owned(), bad.clone()),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".to_owned(), host.clone()),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(), host.clone()),
        ("the same Host twice", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n".to_owned(), host.clone()),
        ("a user in Host", "GET / HTTP/1.1\r\nHost: b@a\r\n\r\n".to_owned(), host.clone()),
        ("a path in Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), host.clone()),
        ("a list in Host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned(), host.clone()),
        ("a port that is none", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".to_owned(), host.clone()),
        ("a port beyond ports", "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n".to_owned(), host.clone()),
        ("half an address", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n".to_owned(), host.clone()),
        ("quotes in Host", "GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n".to_owned(), host.clone()),
        ("an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), host.clone()),
        ("a user in the target", "GET http://b@a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), host.clone()),
        ("an authority as target", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), bad.clone()),
        ("a target without a slash", "GET a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), bad.clone()),
        ("everything, but not by OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), bad.clone()),
    ];
    for (name, request, expected) in &cases {
        let text = rig.talk(request);
        assert_eq!(verdict(&text), *expected, "{name}: {text:?}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{name}: one answer: {text:?}");
        assert!(text.contains("connection: close"), "{name}: {text:?}");
        assert_eq!(script.got(), "", "{name}: the server saw it");
    }
}

#[test]
fn paths_that_climb_are_refused_in_every_spelling() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    for path in [
        "/a/../b",
        "/..",
        "/.",
        "/a/.",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/%2e/b",
        "/a/..;x=1/b",
        "/a%2f../b",
        "/a/..%2fb",
        "/a/..%5cb",
        "/a\\..\\b",
        "/a/..\\b",
        "/a/%2e%2e%2fb",
    ] {
        for version in ["1.1", "1.0"] {
            for host in ["Host: a\r\n", ""] {
                if version == "1.1" && host.is_empty() {
                    continue;
                }
                let text = rig.talk(format!("GET {path} HTTP/{version}\r\n{host}Connection: close\r\n\r\n"));
                assert_eq!(verdict(&text), is(400, "bad_request"), "{path} HTTP/{version}");
            }
        }
    }
    assert_eq!(script.got(), "");
    for path in ["/a..b", "/...", "/a/b.c", "/a?../b", "/a%2fb", "/%252e%252e/b"] {
        let text = rig.talk(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert_eq!(verdict(&text).0, 200, "{path}");
        assert!(script.got().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{path}");
        script.forget();
    }
}

/// A body that is broken off or malformed: the server sees the beginning of a request and a closed connection, never its end,
/// and never what comes behind.
#[test]
fn bad_chunks_never_become_a_request() {
    for (name, body) in [
        ("a size in C", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("a negative size", "-3\r\nabc\r\n0\r\n\r\n"),
        ("a size with a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("a size beyond numbers", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("no size", "\r\nabc\r\n0\r\n\r\n"),
        ("no end of line behind a chunk", "3\r\nabc0\r\n\r\n"),
        ("a chunk longer than its size", "3\r\nabcdef\r\n0\r\n\r\n"),
        ("a bare LF behind a size", "3\nabc\r\n0\r\n\r\n"),
        ("a bare LF behind a chunk", "3\r\nabc\n0\r\n\r\n"),
        ("a bare CR in an extension", "3;a=\rb\r\nabc\r\n0\r\n\r\n"),
        ("a bare LF in an extension", "3;a=\nb\r\nabc\r\n0\r\n\r\n"),
        ("a space in a size", "3 3\r\nabc\r\n0\r\n\r\n"),
        ("no last chunk's end", "3\r\nabc\r\n0\r\nX"),
    ] {
        // The last chunk's end makes the request: before it the script must not answer.
        let strict = Script::new(|visit| {
            if visit.until(b"\r\n0\r\n\r\n").is_some() {
                visit.say(OK);
            }
        });
        let rig = Rig::new("[timeouts]\nbody = \"300ms\"", "", &[strict.server()]);
        let mut client = rig.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"));
        client.shut();
        let text = client.rest();
        assert_eq!(verdict(&text), is(400, "body_broken"), "{name}: {text:?}");
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{name}: {text:?}");
        assert!(
            !strict.got().contains("smuggled") && !strict.got().contains("\r\n0\r\n\r\n"),
            "{name}: {}",
            strict.got()
        );
        eventually("the server's connection is closed", || strict.closed() == strict.connections());
        rig.settles();
    }
}

/// Extensions of chunks are legal, of this hop, and so they end here.
#[test]
fn chunk_extensions_do_not_pass() {
    let script = Script::new(|visit| {
        if visit.until(b"\r\n0\r\n\r\n").is_some() {
            visit.say(OK);
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b;c=\"d\"\r\nabc\r\n0;e\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(script.got().ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{}", script.got());
    let long = "x".repeat(100_000);
    let mut client = rig.client();
    client
        .send(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;{long}\r\nabc\r\n0\r\n\r\n"));
    let text = client.rest();
    assert_eq!(verdict(&text), is(400, "body_broken"), "{text:?}");
}

#[test]
fn heads_have_limits() {
    let script = Script::answering(OK);
    let rig = Rig::new("[limits]\nheader_bytes = 16384\nheaders = 20", "", &[script.server()]);
    let field = |n: usize| format!("X-A: {}\r\n", "b".repeat(n));
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    assert_eq!(verdict(&rig.talk(get(&field(12_000)))).0, 200);
    script.forget();
    let many: String = (0..19).map(|i| format!("X-{i}: b\r\n")).collect();
    for (request, expected) in [
        (get(&field(70_000)), is(431, "header_too_large")),
        (get(&field(20_000_000)), is(431, "header_too_large")),
        (get(&many), is(431, "header_too_large")),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000)), is(431, "header_too_large")),
    ] {
        let text = rig.talk(&request);
        assert_eq!(verdict(&text), expected, "{} bytes: {text:?}", request.len());
    }
    assert_eq!(script.got(), "");
    let rig = Rig::new("[limits]\nheader_bytes = 200000", "", &[script.server()]);
    let text = rig.talk(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000)));
    assert_eq!(verdict(&text), is(414, "uri_too_long"));
    assert_eq!(script.got(), "");
}

/// A head that arrives byte by byte is ended by its time-out, even if bytes keep coming; a connection without a request
/// just closes.
#[test]
fn slow_heads_and_idle_connections() {
    let script = Script::answering(OK);
    let rig = Rig::new("[timeouts]\nheader = \"300ms\"\nkeep_alive = \"150ms\"", "", &[script.server()]);
    let mut client = rig.client();
    let start = Instant::now();
    let mut slow = client.stream.try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        for byte in b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ".iter().chain(std::iter::repeat(&b'x')) {
            if std::io::Write::write_all(&mut slow, &[*byte]).is_err() || start.elapsed() > Duration::from_secs(3) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let text = client.rest();
    assert_eq!(verdict(&text), is(408, "header_timeout"), "{text:?}");
    assert!((300..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    drop(client);
    dripping.join().unwrap();

    assert!(rig.client().is_over(), "nothing was sent, nothing is said");
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert!(client.is_over(), "idle after an answer");
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /half HTTP/1.1\r\n");
    assert_eq!(client.answer().status, 200);
    client.send("Host: a\r\n");
    let text = client.rest();
    assert_eq!(verdict(&text), is(408, "header_timeout"), "{text:?}");
    assert!(!script.got().contains("half"));
}

#[test]
fn slow_bodies_end_at_their_time_out() {
    for framing in ["Content-Length: 10\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"] {
        let script = Script::new(|visit| visit.wait_for_end());
        let rig = Rig::new("[timeouts]\nbody = \"200ms\"", "", &[script.server()]);
        let answer = rig.talk(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}"));
        assert_eq!(verdict(&answer), is(408, "body_timeout"), "{answer:?}");
        assert!(answer.contains("connection: close"));
        eventually("the server sees a close", || script.closed() == 1);
        rig.settles();
    }
}

#[test]
fn bodies_over_the_limit() {
    let script = Script::new(|visit| visit.wait_for_end());
    let rig = Rig::new("[limits]\nbody_bytes = 1000", "", &[script.server()]);
    let text = rig.talk("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(verdict(&text), is(413, "body_too_large"), "{text:?}");
    assert_eq!(script.got(), "", "said beforehand, so nothing went out");
    // The client is still sending when the answer comes; it must be able to read it.
    let body = "x".repeat(3_000_000);
    let text = rig.talk(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n{body}"));
    assert_eq!(verdict(&text), is(413, "body_too_large"), "{text:?}");
    let text = rig
        .talk(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2dc6c0\r\n{body}\r\n0\r\n\r\n"));
    assert_eq!(verdict(&text), is(413, "body_too_large"), "{text:?}");
    assert!(!script.got().contains("\r\n0\r\n\r\n"), "the server never sees an end");
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
    assert_eq!(client.answer().verdict(), is(413, "body_too_large"), "and no invitation before");
    rig.settles();
}

/// A client that shuts its write side cannot be distinguished from one that is gone, until something is written to it.
/// The proxy treats it as gone, as nginx does, and abandons its request. An answer that is already there is sent.
#[test]
fn a_half_closed_client_is_taken_for_gone() {
    let script = Script::new(|visit| {
        visit.request();
        visit.wait_for_end();
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is at the server", || script.got().contains("\r\n\r\n"));
    client.shut();
    assert!(client.is_over());
    eventually("the server sees the close", || script.closed() == 1);
    rig.settles();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let script = Script::new(|visit| {
        while let Some(request) = visit.request() {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            visit.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len()));
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    let mut all: String = (0..50).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    all.push_str("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n");
    all.push_str(&format!("{SMUGGLED:40}"));
    all.push_str("GET /last HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send(&all);
    for i in 0..50 {
        assert_eq!(client.answer().text(), format!("/{i}"));
    }
    assert_eq!(client.answer().text(), "/post");
    assert_eq!(client.answer().text(), "/last");
    // A head behind a body in the same piece is read as strictly as any other.
    let mut client = rig.client();
    script.forget();
    client.send(format!(
        "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
    ));
    assert_eq!(client.answer().text(), "/1");
    let rest = client.rest();
    assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{rest:?}");
    assert_eq!(verdict(&rest), is(400, "ambiguous_length"), "{rest:?}");
    assert!(!script.got().contains("/smuggled") && !script.got().contains("/2"), "{}", script.got());
}

#[test]
fn methods_that_are_not_forwarded_and_some_that_are() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let text = rig.talk(format!("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n{SMUGGLED}"));
    assert_eq!(verdict(&text), is(405, "method_refused"), "{text:?}");
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text:?}");
    assert_eq!(script.got(), "");
    for method in ["TRACE", "OPTIONS", "PROPFIND", "x"] {
        let text = rig.talk(format!("{method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert_eq!(verdict(&text).0, 200, "{method}: {text:?}");
        assert!(script.got().starts_with(&format!("{method} / HTTP/1.1\r\n")));
        script.forget();
    }
    let text = rig.talk("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(verdict(&text).0, 200);
    assert!(script.got().starts_with("OPTIONS * HTTP/1.1\r\n"), "{}", script.got());
}

/// Hop-by-hop fields and an untrusted client's forwarding fields do not reach the server; end-to-end fields do.
#[test]
fn heads_reach_the_server_clean() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let text = rig.talk(
        "GET http://real.example/x HTTP/1.1\r\nHost: other.example\r\nConnection: close, Host, X-Forwarded-For, Content-Length, \
         X-Gone, Authorization\r\nX-Gone: 1\r\nAuthorization: me\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\r\n",
    );
    assert_eq!(verdict(&text).0, 200);
    let got = script.got();
    let (line, fields) = got.split_once("\r\n").unwrap();
    assert_eq!(line, "GET /x HTTP/1.1");
    let mut fields: Vec<&str> = fields.lines().filter(|l| !l.is_empty() && !l.starts_with("x-request-id: ")).collect();
    fields.sort_unstable();
    let port = format!("x-forwarded-port: {}", rig.address.port());
    assert_eq!(
        fields,
        [
            "authorization: me",
            "host: real.example",
            "via: 1.1 evenkeel",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: real.example",
            port.as_str(),
            "x-forwarded-proto: http"
        ]
    );
}

#[test]
fn expectations_are_met_before_the_body_comes() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_eq!(client.head().unwrap().status, 100);
    client.send("abc");
    assert_eq!(client.answer().status, 200);
    assert!(script.got().contains("\r\nexpect: 100-continue\r\n") && script.got().ends_with("abc"), "{}", script.got());
}

#[test]
fn proxy_loops_are_refused() {
    // A proxy whose only server is itself.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let rig = Rig::of(format!(
        "shards = 1\nstrategy = \"random\"\n[[listeners]]\naddress = \"127.0.0.1:{port}\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [[pools]]\nname = \"web\"\n[[pools.servers]]\nname = \"me\"\naddress = \"127.0.0.1:{port}\"\n"
    ));
    let text = rig.talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(verdict(&text), is(508, "loop"), "{text:?}");
}

/// A client that does not read its answer does not hold a server's connection for ever.
#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let script = Script::new(|visit| {
        visit.request();
        visit.say("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
        let block = [b'x'; 65536];
        while visit.say(block) {}
    });
    let rig = Rig::new("[timeouts]\nidle = \"300ms\"", "", &[script.server()]);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the server's connection is closed", || script.closed() == 1);
    rig.settles();
    drop(client);
}

// ---- Servers ----

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An invalid answer becomes a local reply, and the connection to the server is not used again.
#[test]
fn invalid_answers_become_local_replies() {
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1_000_000));
    let many: String = (0..500).map(|i| format!("x-{i}: y\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    for (name, bytes, expected) in [
        ("rubbish", "SSH-2.0-OpenSSH\r\n", is(502, "bad_answer")),
        ("binary rubbish", "\u{16}\u{3}\u{1}\0\0\r\n\r\n", is(502, "bad_answer")),
        ("another version", "HTTP/3.0 200 OK\r\n\r\n", is(502, "bad_answer")),
        ("no status", "HTTP/1.1 abc\r\n\r\n", is(502, "bad_answer")),
        (
            "lengths that differ",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
            is(502, "bad_answer"),
        ),
        ("a list of lengths that differ", "HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nabc", is(502, "bad_answer")),
        ("a length that is none", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nabc", is(502, "bad_answer")),
        ("a length with a sign", "HTTP/1.1 200 OK\r\ncontent-length: +3\r\n\r\nabc", is(502, "bad_answer")),
        (
            "length and chunks",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            is(502, "bad_answer"),
        ),
        (
            "chunks and length",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            is(502, "bad_answer"),
        ),
        (
            "an unrequested coding",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            is(502, "bad_answer"),
        ),
        ("a coding without chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nabc", is(502, "bad_answer")),
        ("chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", is(502, "bad_answer")),
        ("NUL in a value", "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n", is(502, "bad_answer")),
        ("white space before a colon", "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n", is(502, "bad_answer")),
        (
            "an unrequested protocol",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
            is(502, "bad_answer"),
        ),
        ("a huge head", huge.as_str(), is(502, "bad_answer")),
        ("too many fields", many.as_str(), is(502, "bad_answer")),
        ("nothing", "", is(502, "upstream_reset")),
        ("half a head", "HTTP/1.1 200 OK\r\nx: y\r\n", is(502, "upstream_reset")),
    ] {
        let script = Script::answering_once(bytes.to_owned());
        let rig = Rig::new("", "", &[script.server()]);
        let mut client = rig.client();
        client.send(GET);
        assert_eq!(client.answer().verdict(), expected, "{name}");
        client.send(GET);
        assert_eq!(client.answer().verdict(), expected, "{name}: again, on the same client connection");
        // With hyper the first head that is too large is asked for once more, with room for more fields.
        let more = usize::from(!support::own_http1_client() && ["a huge head", "too many fields"].contains(&name));
        assert_eq!(script.connections(), 2 + more, "{name}: never reused");
        rig.settles();
    }
}

/// The second of two answers to one request is dropped: the next request on any connection does not get it.
#[test]
fn two_answers_for_one_request() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-evil: 1\r\n\r\nevil";
    for (name, first) in [
        ("with a length", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        ("in chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("without a body", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ("204 with a body", "HTTP/1.1 204 No Content\r\ncontent-length: 60\r\n\r\n"),
        ("304 with a body", "HTTP/1.1 304 Not Modified\r\ncontent-length: 60\r\n\r\n"),
        ("an error", "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"),
    ] {
        for apart in [false, true] {
            let said = Arc::new(AtomicUsize::new(0));
            let counter = Arc::clone(&said);
            let script = Script::new(move |visit| {
                while visit.request().is_some() {
                    if apart {
                        visit.say(first);
                        std::thread::sleep(Duration::from_millis(20));
                        visit.say(EVIL);
                        counter.fetch_add(1, Ordering::SeqCst);
                    } else {
                        visit.say(format!("{first}{EVIL}"));
                    }
                }
            });
            let rig = Rig::new("", "", &[script.server()]);
            for round in 0..3 {
                let mut client = rig.client();
                for request in 1..=3 {
                    client.send(GET);
                    let answer = client.try_answer(false).unwrap();
                    assert!(
                        answer.header("x-evil").is_empty() && answer.text() != "evil",
                        "{name} {apart} {round}: {answer:?}"
                    );
                    if apart {
                        // The second is out before the next request, and the proxy has had the time to see it.
                        while said.load(Ordering::SeqCst) < 3 * round + request {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        std::thread::sleep(Duration::from_millis(40));
                    }
                }
            }
            rig.settles();
        }
    }
    // HEAD with a body is the same thing.
    let script = Script::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\nx-evil: 1\r\n\r\nevil",
    );
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    for _ in 0..5 {
        client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.try_answer(true).unwrap();
        assert_eq!((answer.status, answer.header("content-length")), (200, "60".to_owned()));
        assert!(answer.header("x-evil").is_empty());
    }
}

/// The same length twice is one length, and goes on as one.
#[test]
fn equal_lengths_become_one() {
    for lengths in ["content-length: 2\r\ncontent-length: 2", "content-length: 2, 2"] {
        let script = Script::answering(format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nok"));
        let rig = Rig::new("", "", &[script.server()]);
        let text = rig.talk("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(text.matches("content-length: 2\r\n").count(), 1, "{text:?}");
        assert!(text.ends_with("\r\n\r\nok"), "{text:?}");
    }
}

#[test]
fn no_answer_in_time() {
    let script = Script::new(|visit| visit.wait_for_end());
    let rig = Rig::new("[timeouts]\nresponse_header = \"200ms\"", "", &[script.server()]);
    let mut client = rig.client();
    client.send(GET);
    assert_eq!(client.answer().verdict(), is(504, "first_byte_timeout"));
    eventually("the connection is closed", || script.closed() == 1);
    // One that takes nothing either, so that the upload never ends.
    let deaf = Script::new(|_| std::thread::sleep(Duration::from_secs(3)));
    let rig = Rig::new("[timeouts]\nresponse_header = \"200ms\"", "", &[deaf.server()]);
    let start = Instant::now();
    let mut client = rig.client();
    let mut sender = client.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let _ =
            std::io::Write::write_all(&mut sender, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
        let block = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            if std::io::Write::write_all(&mut sender, &block).is_err() {
                return;
            }
        }
    });
    assert_eq!(client.answer().verdict(), is(504, "first_byte_timeout"));
    assert!(start.elapsed() < Duration::from_millis(2500), "{:?}", start.elapsed());
    drop(client);
    sending.join().unwrap();
    rig.settles();
}

/// Endless interim answers: the time-out of the response header still runs, and few of them are kept.
#[test]
fn a_flood_of_interim_answers() {
    let script = Script::new(|visit| {
        visit.request();
        let flood = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n".repeat(100);
        while visit.say(&flood) {}
    });
    let rig = Rig::new("[timeouts]\nresponse_header = \"300ms\"", "", &[script.server()]);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let last = loop {
        let head = client.try_answer(false).unwrap();
        if head.status >= 200 {
            break head;
        }
        assert_eq!(head.status, 103);
    };
    assert_eq!(last.verdict(), is(504, "first_byte_timeout"));
    assert!(client.is_over());
    rig.settles();
}

/// An answer that breaks off breaks off for the client, too: it never looks complete.
#[test]
fn answers_that_break_off_look_broken() {
    for (name, bytes) in [
        ("in a body of known length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"),
        ("before a body of known length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"),
        ("in a chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"),
        ("between chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"),
        ("before the end of chunks", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n"),
        ("a bad chunk size", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\nxyz\r\n0\r\n\r\n"),
        ("a chunk longer than said", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n"),
    ] {
        let script = Script::answering_once(bytes);
        let rig = Rig::new("", "", &[script.server()]);
        let mut client = rig.client();
        client.send(GET);
        let answer = client.try_answer(false);
        assert!(answer.is_err(), "{name}: {answer:?}");
        rig.settles();
    }
    // Delimited by its end: chunks for the client, and a clean end, since a missing rest cannot be detected.
    let script = Script::answering_once("HTTP/1.1 200 OK\r\n\r\nabc");
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send(GET);
    assert_eq!(client.answer().text(), "abc");
    client.send(GET);
    assert_eq!(client.answer().text(), "abc", "the client's connection outlives the server's");
}

#[test]
fn bodies_that_stall_or_drip() {
    let script = Script::new(|visit| {
        visit.request();
        visit.say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        visit.wait_for_end();
    });
    let rig = Rig::new("[timeouts]\nidle = \"200ms\"", "", &[script.server()]);
    let mut client = rig.client();
    client.send(GET);
    assert!(client.try_answer(false).is_err());
    eventually("the server's connection is closed", || script.closed() == 1);
    rig.settles();
    // A slow trickle is not a stall, up to the total time-out.
    let drip = Script::new(|visit| {
        visit.request();
        visit.say("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n");
        while visit.say("x") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let rig = Rig::new("[timeouts]\nidle = \"200ms\"\ntotal = \"500ms\"", "", &[drip.server()]);
    let start = Instant::now();
    let mut client = rig.client();
    client.send(GET);
    assert!(client.try_answer(false).is_err());
    assert!((450..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    eventually("the server's connection is closed", || drip.closed() == 1);
    rig.settles();
}

/// An answer before the request is there: it is passed on, and neither connection is used again, since the rest of the body
/// is somewhere in them.
#[test]
fn answers_before_the_request_is_complete() {
    let script = Script::new(|visit| {
        visit.until(b"\r\n\r\n");
        visit.say("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
        visit.wait_for_end();
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = rig.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc");
    assert_eq!(client.answer().status, 403);
    client.send(SMUGGLED);
    let rest = client.rest();
    assert_eq!(rest, "", "what comes behind is a body, not a request");
    eventually("the server's connection is closed", || script.closed() == 1);
    assert!(!script.got().contains("smuggled"), "{}", script.got());
    rig.settles();
}

// ---- HTTP/2 ----

/// A frame: kind, flags, stream, payload.
pub type Frame = (u8, u8, u32, Vec<u8>);

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RESET: u8 = 3;
pub const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
const PROTOCOL_ERROR: u8 = 1;
const ENHANCE_YOUR_CALM: u8 = 11;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Fields as literals: no table, no Huffman code.
pub fn fields(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in pairs {
        assert!(name.len() < 127 && value.len() < 127);
        bytes.push(0);
        for text in [name, value] {
            bytes.push(text.len() as u8);
            bytes.extend(text.as_bytes());
        }
    }
    bytes
}

pub const BASIC: [(&str, &str); 4] = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

pub fn basic(more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&BASIC[..], more].concat())
}

/// A connection with the preface and empty settings sent.
pub fn http2(rig: &Rig) -> crate::rig::Client {
    let mut client = rig.client();
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send(frame(4, 0, 0, &[]));
    client
}

pub fn next_frame(client: &mut crate::rig::Client) -> Option<Frame> {
    let head = client.try_exactly(9)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some((head[3], head[4], stream, client.try_exactly(length)?))
}

/// The first frame that is one of these.
pub fn first_of(client: &mut crate::rig::Client, kinds: &[u8]) -> Option<Frame> {
    loop {
        let frame = next_frame(client)?;
        if kinds.contains(&frame.0) {
            return Some(frame);
        }
    }
}

/// What HTTP/2 forbids ends the stream, and no server sees a request that is complete.
#[test]
fn http2_requests_that_are_malformed_end_their_stream() {
    let script = Script::new(|visit| {
        if visit.until(b"\r\n\r\n").is_some() && visit.until(b"\r\n0\r\n\r\n").is_some() {
            visit.say(OK);
        }
    });
    let rig = Rig::new("", "", &[script.server()]);
    for (name, more) in [
        ("Transfer-Encoding", [("transfer-encoding", "chunked")]),
        ("Connection", [("connection", "x-a")]),
        ("Upgrade", [("upgrade", "websocket")]),
        ("Keep-Alive", [("keep-alive", "5")]),
        ("TE beyond trailers", [("te", "gzip")]),
        ("upper case", [("X-A", "b")]),
        ("CRLF in a value", [("x-a", "b\r\nx-evil: 1")]),
        ("NUL in a value", [("x-a", "b\0c")]),
        ("a space in a name", [("x a", "b")]),
        ("a colon in a name", [("x:a", "b")]),
        ("a pseudo field behind", [(":path", "/evil")]),
        ("an unknown pseudo field", [(":evil", "1")]),
        ("a length that is none", [("content-length", "x")]),
    ] {
        let mut client = http2(&rig);
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &basic(&more)));
        let (kind, _, _, payload) = first_of(&mut client, &[HEADERS, RESET, GOAWAY]).unwrap();
        // The library resets the stream, or ends the connection where its state of compression is in doubt.
        assert!(kind == RESET && payload[3] == PROTOCOL_ERROR || kind == GOAWAY, "{name}: {kind} {payload:?}");
        assert_eq!(script.got(), "", "{name}");
    }
    for (name, length, data) in [("longer than said", "2", &b"abc"[..]), ("shorter than said", "5", b"abc")] {
        let mut client = http2(&rig);
        client.send(frame(HEADERS, END_HEADERS, 1, &basic(&[("content-length", length)])));
        client.send(frame(DATA, END_STREAM, 1, data));
        let (kind, _, stream, payload) = first_of(&mut client, &[RESET, GOAWAY]).unwrap();
        assert_eq!((kind, stream, payload[3]), (RESET, 1, PROTOCOL_ERROR), "{name}");
        assert!(!script.got().ends_with("abc") || length == "5", "{name}: {}", script.got());
        rig.settles();
    }
}

/// A request that only a proxy must refuse gets an answer, and the connection stays open: many clients may share it.
#[test]
fn http2_requests_that_are_refused_leave_the_connection_alone() {
    const STATUS_200: u8 = 0x88;
    const STATUS_400: u8 = 0x8c;
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = http2(&rig);
    let get = |path: &str, authority: &str, more: &[(&str, &str)]| {
        let all =
            [&[(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", authority)], more].concat();
        fields(&all)
    };
    let refused = [
        get("/", "a", &[("host", "b")]),
        get("/", "b@a", &[]),
        get("/../x", "a", &[]),
        get("/a/%2e%2e/x", "a", &[]),
        fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/")]),
    ];
    for (i, head) in refused.iter().enumerate() {
        let stream = 2 * i as u32 + 1;
        client.send(frame(HEADERS, END_STREAM | END_HEADERS, stream, head));
        let (kind, _, of, payload) = first_of(&mut client, &[HEADERS, RESET, GOAWAY]).unwrap();
        assert!(
            of == stream && (kind == HEADERS && payload[0] == STATUS_400 || kind == RESET),
            "{i}: {kind} {payload:?}"
        );
        assert_eq!(script.got(), "", "{i}");
    }
    client.send(frame(HEADERS, END_STREAM | END_HEADERS, 99, &get("/", "a", &[("host", "a")])));
    let (kind, _, of, payload) = first_of(&mut client, &[HEADERS, RESET, GOAWAY]).unwrap();
    assert_eq!((kind, of, payload[0]), (HEADERS, 99, STATUS_200));
}

/// CVE-2024-27316 and its family: a head without end.
#[test]
fn a_flood_of_continuations_ends_the_connection() {
    let script = Script::answering(OK);
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = http2(&rig);
    client.send(frame(HEADERS, END_STREAM, 1, &basic(&[])));
    let mut sender = client.stream.try_clone().unwrap();
    let flooding = std::thread::spawn(move || {
        let piece = frame(CONTINUATION, 0, 1, &fields(&[("x-a", &"b".repeat(100))]));
        let many = piece.repeat(100);
        let mut sent = 0_usize;
        while sent < 100_000_000 && std::io::Write::write_all(&mut sender, &many).is_ok() {
            sent += many.len();
        }
        sent
    });
    while next_frame(&mut client).is_some() {}
    let sent = flooding.join().unwrap();
    assert!(sent < 20_000_000, "cut off after {sent} bytes");
    assert_eq!(script.got(), "");
}

#[test]
fn http2_heads_have_limits() {
    let script = Script::answering(OK);
    let rig = Rig::new("[limits]\nheader_bytes = 16384", "", &[script.server()]);
    let mut client = http2(&rig);
    client.send(frame(HEADERS, END_STREAM, 1, &basic(&[])));
    let value = "b".repeat(100);
    let many: Vec<(&str, &str)> = (0..130).map(|_| ("x-a", value.as_str())).collect();
    client.send(frame(CONTINUATION, 0, 1, &fields(&many)));
    client.send(frame(CONTINUATION, END_HEADERS, 1, &fields(&many)));
    let (kind, _, _, payload) = first_of(&mut client, &[HEADERS, RESET, GOAWAY]).unwrap();
    // 431 has no place in the table: a literal value behind an indexed name.
    assert!(kind != HEADERS || payload[0] != 0x88, "{payload:?}");
    assert_eq!(script.got(), "");
}

/// CVE-2023-44487: requests that are reset at once. The connection is closed with ENHANCE_YOUR_CALM, and the servers
/// soon get no more of them.
#[test]
fn rapid_reset_ends_the_connection() {
    let script = Script::new(|visit| {
        visit.request();
        visit.wait_for_end();
    });
    let rig = Rig::new("", "", &[script.server()]);
    let mut client = http2(&rig);
    let get = fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]);
    let mut sender = client.stream.try_clone().unwrap();
    let flooding = std::thread::spawn(move || {
        for i in 0..20_000_u32 {
            let mut both = frame(HEADERS, END_STREAM | END_HEADERS, 2 * i + 1, &get);
            both.extend(frame(RESET, 0, 2 * i + 1, &[0, 0, 0, 8]));
            if std::io::Write::write_all(&mut sender, &both).is_err() {
                return i;
            }
        }
        20_000
    });
    let mut calm = false;
    while let Some((kind, _, _, payload)) = next_frame(&mut client) {
        calm |= kind == GOAWAY && payload[7] == ENHANCE_YOUR_CALM;
    }
    let sent = flooding.join().unwrap();
    assert!(calm || sent < 20_000, "no ENHANCE_YOUR_CALM");
    assert!(script.connections() < 5_000, "{}", script.connections());
    eventually("every connection to the server is closed", || script.closed() == script.connections());
    rig.settles();
}
