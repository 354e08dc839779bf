//! The proxy's own front and hyper's, side by side: the same bytes of clients, in pieces of several sizes, become the same
//! requests at the server and the same responses, and both refuse the same with the same reason.

#![allow(clippy::disallowed_methods, reason = "what talks to real sockets reads the clock")]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::front::Process;
use crate::rig::{Client, Script};
use crate::support::Folder;

/// The last request of a connection.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Answers each request with what came of it, in the form that its path asks for.
fn echo() -> Script {
    Script::new(|visit| {
        while let Some(mut head) = visit.until(b"\r\n\r\n") {
            if head.contains("\r\ntransfer-encoding: chunked\r\n") {
                let Some(body) = visit.until(b"0\r\n\r\n") else { return };
                // The pieces may differ, and what is in them may not.
                head += &body.lines().filter(|line| u32::from_str_radix(line, 16).is_err()).collect::<String>();
            } else if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length: ")) {
                let Some(body) = visit.exactly(length.parse().unwrap()) else { return };
                head += &String::from_utf8_lossy(&body);
            }
            let text = sorted(&head).join("|");
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let (is_head, length) = (head.starts_with("HEAD "), text.len());
            let answer = match path.split('?').next().unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\nX-A: b\r\nContent-Length: 0\r\n\r\n".to_owned(),
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n".to_owned(),
                "/chunked" => format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n\
                     {length:x};ext\r\n{text}\r\n0\r\nX-Trailer: t\r\n\r\n"
                ),
                "/slow" => {
                    visit.say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 Fine \r\nContent-Length:");
                    std::thread::sleep(Duration::from_millis(2));
                    visit.say(format!("{length}  \r\nX-Pad: \t y \r\n\r\n{}", &text[..20]));
                    std::thread::sleep(Duration::from_millis(2));
                    text[20..].to_owned()
                }
                "/via" => format!(
                    "HTTP/1.1 500 Oops\r\nVia: 1.1 x\r\nX-Request-ID: y\r\nContent-Length: {length}\r\n\r\n{text}"
                ),
                "/long" => {
                    let long = "0123456789".repeat(9_000);
                    format!("HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: {}\r\n\r\n{long}", long.len())
                }
                "/until-close" => format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{text}"),
                "/bad" => "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc".to_owned(),
                _ => format!("HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: {length}\r\nKeep-Alive: 5\r\n\r\n{text}"),
            };
            let answer = match answer.split_once("\r\n\r\n") {
                Some((head, _)) if is_head => format!("{head}\r\n\r\n"),
                _ => answer,
            };
            if !visit.say(answer) || path.starts_with("/until-close") {
                return;
            }
        }
    })
}

/// The lines of a head in alphabetical order, but for what is different each time.
fn sorted(head: &str) -> Vec<String> {
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with("x-request-id: ") && !line.starts_with("date: ") && !line.is_empty());
    lines[1..].sort();
    // The two proxies listen at ports of their own.
    lines.iter_mut().filter(|line| line.starts_with("x-forwarded-port: ")).for_each(|line| line.truncate(17));
    lines
}

/// All that comes back for these bytes, sent in pieces of this size, with the fields of each head in order.
fn talk(address: SocketAddr, text: &[u8], size: usize) -> Vec<String> {
    let mut client = Client::to(address);
    for piece in text.chunks(size) {
        client.send(piece);
        if size < text.len() {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    let all = client.rest().replace("HTTP/1.0 ", "HTTP/1.1 as 1.0 ");
    let mut parts = Vec::new();
    for answer in all.split("HTTP/1.1 ") {
        let (head, content) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        if !head.is_empty() {
            parts.extend(sorted(head));
        }
        // The sizes of chunks are the proxy's choice.
        let chunked = head.contains("transfer-encoding: chunked");
        let content = content.split("\r\n").filter(|line| !chunked || usize::from_str_radix(line, 16).is_err());
        parts.push(content.collect());
    }
    parts
}

/// Requests of every kind, and what is none. Connections end by themselves.
fn messages() -> Vec<String> {
    let mut messages = Vec::new();
    for path in
        ["/", "/204", "/304", "/chunked?x", "/slow", "/via", "/long", "/until-close", "/bad", "/a/../b", "/%2e", "//x?"]
    {
        for method in ["GET", "HEAD", "DELETE"] {
            messages.push(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nCookie: x=y\r\nCookie: z\r\n\r\n{LAST}"));
        }
        messages.push(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello{LAST}"));
        messages.push(format!(
            "PUT {path} HTTP/1.1\r\nhost:a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nphlox\r\n1\r\n!\r\n0\r\n\r\n{LAST}"
        ));
    }
    for fields in [
        "",
        "Host: b\r\n",
        "Host: b\r\nHost: b\r\n",
        "Host: b:99999\r\n",
        "Host:\r\n",
        "Host: b\r\nConnection: keep-alive, x-a\r\nX-A: b\r\n",
        "Host: b\r\nConnection: Keep-Alive\r\nKeep-Alive: timeout=5\r\nConnection: close\r\n",
        "Host: b\r\nProxy-Connection: keep-alive\r\n",
        "Host: b\r\nTE: trailers\r\n",
        "Host: b\r\nUpgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AA\r\n",
        "Host: b\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_Proto: x\r\nX-Real_IP: ::1\r\nForwarded: for=x\r\n",
        "Host: b\r\nVia: 1.1 x\r\nX-Request-Id: mine\r\n",
        "Host: b\r\nX-Empty:\r\nX-Blank: \t \r\nX-Pad: \t a\tb \r\n",
        "Host: b\r\nX-High: \u{e4}\r\n",
        "Host: b\r\nX-A: a\0b\r\n",
        "Host: b\r\nX-A: a\rb\r\n",
        "Host: b\r\nX-A: a\nX-B: b\r\n",
        "Host: b\r\nX-A: a\r\n folded\r\n",
        "Host: b\r\nX-A : b\r\n",
        "Host: b\r\n: b\r\n",
        "Host: b\r\nX A: b\r\n",
        "Host: b\r\nContent-Length: 0\r\n",
        "Host: b\r\nContent-Length: 3\r\nContent-Length: 3\r\n",
        "Host: b\r\nContent-Length: 3, 3\r\n",
        "Host: b\r\nContent-Length: +3\r\n",
        "Host: b\r\nContent-Length: 99999999999999999999\r\n",
        "Host: b\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Host: b\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: b\r\nTransfer-Encoding: gzip, chunked\r\n",
        "Host: b\r\nTransfer-Encoding: xchunked\r\n",
    ] {
        messages.push(format!("GET /x HTTP/1.1\r\n{fields}\r\n{LAST}"));
        messages.push(format!("GET /before HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\n{fields}\r\n{LAST}"));
    }
    for line in [
        "GET http://b/x HTTP/1.1",
        "GET * HTTP/1.1",
        "GET x HTTP/1.1",
        "GET /x#y HTTP/1.1",
        "GET /\"{}|\\^` HTTP/1.1",
        "GET /\u{e4} HTTP/1.1",
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        "GET /x y HTTP/1.1",
        "GET /x HTTP/1.0",
        "GET /x HTTP/1.2",
        "GET /x HTTP/2.0",
        "GET /x",
        "get /x HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "TRACE /x HTTP/1.1\r\nMax-Forwards: 0",
        "CONNECT a:80 HTTP/1.1",
        "\r\nGET /x HTTP/1.1",
        "\nGET /x HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        messages.push(format!("{line}\r\nHost: a\r\n\r\n{LAST}"));
        messages.push(format!("GET /before HTTP/1.1\r\nHost: a\r\n\r\n{line}\r\nHost: a\r\n\r\n{LAST}"));
    }
    for body in [
        "5\r\nhello\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "g\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
    ] {
        messages.push(format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{LAST}"));
    }
    let long = "x".repeat(9_000);
    messages.push(format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n{LAST}"));
    messages.push(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n{LAST}"));
    let mut many = String::new();
    (0..70).for_each(|i| write!(many, "X-{i}: y\r\n").unwrap());
    messages.push(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n{LAST}"));
    (0..70).for_each(|i| write!(many, "X-{i}: y\r\n").unwrap());
    messages.push(format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n{LAST}"));
    messages
}

#[test]
fn both_fronts_forward_answer_and_refuse_alike() {
    let (script, folder) = (echo(), Folder::new());
    let config = format!(
        "shards = 1\n[headers]\nupstream = true\n[[listeners]]\naddress = \"127.0.0.1:0\"\n[[pools]]\nname = \"web\"\n\
         strategy = \"round_robin\"\nsticky = {{ cookie = \"stay\" }}\n[[pools.servers]]\nname = \"s1\"\naddress = \"{}\"\n",
        script.server()
    );
    let file = folder.file("proxy.toml", &config);
    let file = file.to_str().unwrap();
    let start = |front| {
        let variable = ("EVENKEEL_HTTP1_FRONT", front);
        let mut proxy = Process::with_variable(variable, &["proxy", "--no-watch", "--config", file]);
        let address: SocketAddr = proxy.told("listening at ").parse().unwrap();
        (proxy, address)
    };
    let ((_own, own), (_hyper, hyper)) = (start("own"), start("hyper"));
    for message in messages() {
        for size in [usize::MAX, 1, 23] {
            if size == 1 && message.len() > 1_000 {
                continue;
            }
            let (ours, theirs) = (talk(own, message.as_bytes(), size), talk(hyper, message.as_bytes(), size));
            assert_eq!(ours, theirs, "own and hyper's, in pieces of {size}: {message:?}");
        }
    }
}
